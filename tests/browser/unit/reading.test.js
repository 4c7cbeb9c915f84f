// How far the user has read is shared by the devices of a registered user.

import assert from 'node:assert/strict';
import test from 'node:test';
import { Reading } from '../../../src/web/reading.js';

const SETTLED = () => new Promise(setImmediate);

/** A `Reading` whose server knows `readers`, with the lines that it sends and what it reports. */
async function begun(t, { kind = 'registered', readers = [], refusal = null } = {}) {
	t.mock.timers.enable({ apis: ['setTimeout'] });
	const sent = [];
	const moved = [];
	const request = async (line, onrow) => {
		sent.push(line);
		if (line.startsWith('WHOIS')) return { ok: true, text: `ann ${kind} online` };
		if (line === 'READERS') {
			await SETTLED();
			for (const row of readers) onrow(row);
		}
		return line.startsWith('SEEN') && refusal ? { ok: false, code: refusal } : { ok: true, text: '' };
	};
	const reading = new Reading(request, (room, id) => moved.push([room, id]));
	await reading.start('ann');
	assert.deepEqual(sent.splice(0), ['WHOIS ann', 'READERS']);
	return { reading, sent, moved };
}

test('what other devices have read is known, at the beginning and as it happens', async (t) => {
	const readers = [{ room: '#ops', reader: 'me', seen: 7 }, { room: '#ops', reader: 'hourly', seen: 9 }];
	const { reading, moved } = await begun(t, { readers });
	assert.equal(reading.of('#OPS'), 7);
	for (const seen of [8, 8, 6]) reading.moved({ room: '#ops', reader: 'me', seen });
	reading.moved({ room: '#ops', reader: 'hourly', seen: 9 });
	assert.deepEqual(moved, [['#ops', 7], ['#ops', 8]]);
	reading.stop();
	assert.equal(reading.of('#ops'), undefined);
});

test('what the user reads is saved at most once a second for each room', async (t) => {
	const { reading, sent, moved } = await begun(t, { readers: [{ room: '#tea', reader: 'me', seen: 5 }] });
	reading.read('#tea', 5);
	for (let id = 1; id <= 100; id++) reading.read('#ops', id);
	reading.read('#tea', 6);
	assert.deepEqual(sent.splice(0), ['SEEN #ops 1 AS me', 'SEEN #tea 6 AS me']);
	t.mock.timers.tick(999);
	assert.deepEqual(sent, []);
	t.mock.timers.tick(1);
	reading.read('#ops', 101);
	assert.deepEqual(sent.splice(0), ['SEEN #ops 100 AS me']);
	t.mock.timers.tick(1000);
	assert.deepEqual(sent.splice(0), ['SEEN #ops 101 AS me']);
	t.mock.timers.tick(5000);
	reading.read('#ops', 102);
	reading.read('#ops', 103);
	// Another device has read further meanwhile.
	reading.moved({ room: '#ops', reader: 'me', seen: 104 });
	t.mock.timers.tick(5000);
	assert.deepEqual(sent, ['SEEN #ops 102 AS me']);
	assert.deepEqual(moved.at(-1), ['#ops', 104]);
});

test('nothing is saved for a name that is not registered, or after a refusal', async (t) => {
	const guest = await begun(t, { kind: 'guest', readers: [{ room: '#ops', reader: 'me', seen: 7 }] });
	guest.reading.read('#ops', 8);
	assert.deepEqual([guest.sent, guest.moved], [[], []]);
	t.mock.timers.reset();
	const full = await begun(t, { refusal: 'quota' });
	full.reading.read('#ops', 8);
	await SETTLED();
	full.reading.read('#tea', 9);
	assert.deepEqual(full.sent, ['SEEN #ops 8 AS me']);
	t.mock.timers.reset();
	const gone = await begun(t, { refusal: 'no-such-room' });
	gone.reading.read('#ops', 8);
	await SETTLED();
	gone.reading.read('#tea', 9);
	assert.deepEqual(gone.sent, ['SEEN #ops 8 AS me', 'SEEN #tea 9 AS me']);
});
