// "Add a hook" in the panel of a room: creates an address for a tool, shows what to paste into the tool, and deletes
// old addresses.

import { el } from './dom.js';

/** What to paste into each tool, with the address. */
const TOOLS = {
	'Alertmanager': (url) => `receivers:\n- name: chat\n  webhook_configs:\n  - url: ${url}\n    send_resolved: true`,
	'Grafana': (url) => `Contact point, type Webhook, URL:\n${url}`,
	'GitHub': (url) => `- if: failure()\n  run: curl -sd '{"text":"\${{ github.workflow }} failed"}' ${url}`,
	'GitLab': (url) => `Settings, Integrations, Mattermost notifications, Webhook:\n${url}`,
	'curl': (url) => `uptime | curl -s --data-urlencode text@- ${url}`,
	'cron': (url) => `0 3 * * * backup 2>&1 | curl -s --data-urlencode text@- ${url}`,
	'systemd': (url) => `# tell@.service, for OnFailure=tell@%n in the [Unit] of others\n[Service]\nType=oneshot\nExecStart=sh -c "journalctl -n 20 -o cat -u %i | curl -s --data-urlencode text@- ${url}"`,
};

/** Returns the form for the hooks of a room. */
export function hooks(chat, ui, room) {
	const label = el('input', { placeholder: 'alerts', maxLength: 32, spellcheck: false, 'aria-label': 'Name of the hook' });
	const error = el('p.error', { role: 'alert' });
	const made = el('div', { role: 'status' });
	const list = el('ul');

	async function show() {
		const { events } = await chat.list('HOOKS');
		list.replaceChildren(...events.filter((hook) => hook.room === room.name).map((hook) => el('li.both', {},
			el('span.name', { dir: 'auto' }, hook.label),
			el('button.plain', { type: 'button', 'aria-label': `Delete ${hook.label}`, onclick: () => revoke(hook.label) }, 'Delete'))));
	}

	async function revoke(name) {
		error.textContent = (await chat.list(`REVOKE ${name}`)).error;
		await show();
	}

	async function onsubmit(event) {
		event.preventDefault();
		const name = label.value.trim();
		const found = await chat.list(`HOOK ${name} ${room.name}`, { room: room.name });
		error.textContent = found.error;
		if (found.error) return;
		const url = location.origin + found.text.split(' ')[1];
		const lines = el('pre');
		const tool = el('select', { 'aria-label': 'Tool', onchange: paste }, ...Object.keys(TOOLS).map((name) => el('option', {}, name)));
		function paste() {
			lines.textContent = TOOLS[tool.value](url);
		}
		paste();
		made.replaceChildren(
			el('p.small', {}, 'This address is shown only now. Anyone who has it can write here under your name.'),
			el('pre', {}, url), tool, lines,
			el('div.acts', {}, el('button.plain', { type: 'button', onclick: () => ui.copy(lines.textContent) }, 'Copy')));
		label.value = '';
		await show();
	}

	return el('details', { ontoggle: show }, el('summary', {}, 'Add a hook'),
		el('p.small', {}, 'Alerts, builds and scripts write to this room, under your name.'),
		el('form', { onsubmit }, el('div.both', {}, label, el('button.primary', {}, 'Add')), error), made, list);
}
