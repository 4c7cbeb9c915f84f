// The service worker: shows notifications while the page is closed (http.md, section 6).

addEventListener('install', () => skipWaiting());
addEventListener('activate', (event) => event.waitUntil(clients.claim()));

addEventListener('push', (event) => {
	const { title, body, room } = event.data.json();
	event.waitUntil(registration.showNotification(title, { body, tag: room, renotify: true, icon: 'icon-192.png', data: room }));
});

addEventListener('notificationclick', (event) => {
	const { notification } = event;
	notification.close();
	event.waitUntil(show(notification.data));
});

/** Shows a room or conversation in the page, which may be closed. */
async function show(room) {
	const [page] = await clients.matchAll({ type: 'window', includeUncontrolled: true });
	if (!page) return clients.openWindow(`./#${encodeURIComponent(room.startsWith('#') ? room.slice(1) : `@${room}`)}`);
	page.postMessage({ room });
	return page.focus();
}
