// A slow network: everything arrives half a round trip late, in both directions, and a connection reaches the server only
// after its handshake.

import net from 'node:net';

/** Starts a proxy for a server `{port}`. Returns its `{port, url}`; it ends with the test. */
export async function distant(t, server, roundTrip) {
	const sockets = new Set();
	const half = roundTrip / 2;
	const listener = net.createServer({ allowHalfOpen: true }, (client) => {
		const peer = new net.Socket({ allowHalfOpen: true });
		for (const socket of [client, peer]) {
			sockets.add(socket);
			socket.on('error', () => {});
			socket.on('close', () => sockets.delete(socket));
		}
		const wait = (ms) => new Promise((done) => setTimeout(done, ms));
		// SYN, SYN ACK, ACK: one round trip until the client may send, and half of one until that arrives.
		const arrived = wait(roundTrip + half).then(() => new Promise((done) => peer.connect(server.port, '127.0.0.1', done)));
		/** Passes bytes on in the same order, half a round trip later at the earliest. */
		const carry = (from, to, start) => {
			let way = start;
			const later = (act) => (way = Promise.all([way, wait(half)]).then(act));
			from.on('data', (bytes) => later(() => to.write(bytes)));
			from.on('end', () => later(() => to.end()));
			from.on('close', () => later(() => to.destroySoon()));
		};
		carry(client, peer, arrived);
		carry(peer, client, Promise.resolve());
	});
	await new Promise((done) => listener.listen(0, '127.0.0.1', done));
	t.after(() => {
		listener.close();
		for (const socket of sockets) socket.destroy();
	});
	const { port } = listener.address();
	return { port, url: `http://127.0.0.1:${port}/` };
}
