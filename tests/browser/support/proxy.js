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
		// SYN, SYN ACK, ACK: one round trip until the client may speak, and half of one until the server hears it.
		const opened = Date.now() + roundTrip;
		const later = (act) => setTimeout(act, Math.max(half, opened + half - Date.now()));
		later(() => !peer.destroyed && peer.connect(server.port, '127.0.0.1'));
		const carry = (from, to, later) => {
			from.on('data', (bytes) => later(() => to.write(bytes)));
			from.on('end', () => later(() => to.end()));
			from.on('close', () => later(() => to.destroySoon()));
		};
		carry(client, peer, later);
		carry(peer, client, (act) => setTimeout(act, half));
	});
	await new Promise((done) => listener.listen(0, '127.0.0.1', done));
	t.after(() => {
		listener.close();
		for (const socket of sockets) socket.destroy();
	});
	const { port } = listener.address();
	return { port, url: `http://127.0.0.1:${port}/` };
}
