// A way to the server that takes as long as one over the sea: everything is half a round trip late, in both
// directions, and the server hears of a connection only when its handshake would be over.

import net from 'node:net';

/** A proxy for a server `{port}`: `{port, url}`. It ends with the test. */
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
		// SYN, SYN ACK, ACK: one round trip until the client may speak, and half of one until the server hears it.
		const arrived = wait(roundTrip + half).then(() => new Promise((done) => peer.connect(server.port, '127.0.0.1', done)));
		/** What comes at one end leaves at the other in the same order, half a round trip later at the earliest. */
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
