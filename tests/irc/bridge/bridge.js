// A bridge between two rooms, by IRC, while chatd is restarted twice.
//
//   CHATD=<chatd> node bridge.js <seconds> [<milliseconds between messages>] [history|key]
//
// ann speaks in #one and bob in #two, by the line protocol. The bridge (irc-framework) repeats in each room what it hears in
// the other. After a restart the library connects again by itself; then the bridge asks for what it has missed with
// CHATHISTORY, or with `key` joins with a channel key, which names a reader. It recognizes a message by its id. Fails if a
// message of ann or bob is lost, doubled, changed or in another order, on its way to the bridge or to the other room.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import IRC from 'irc-framework';

const seconds = Number(process.argv[2] ?? 20);
const pause = Number(process.argv[3] ?? 1000);
const how = process.argv[4] ?? 'history';
const SECRET = 'long secret';
const PAGE = 100;
// The library connects again only if it had been connected for 5 seconds.
const SETTLED_MS = 5500;
const PATIENCE_MS = 60_000;

const wait = (ms) => new Promise((done) => setTimeout(done, ms));

async function until(what, condition) {
  for (const end = Date.now() + PATIENCE_MS; !condition();) {
    if (Date.now() > end) throw new Error(`this did not happen: ${what()}`);
    await wait(20);
  }
}

// The server. It is started again on the same port, with the same data.
const server = {
  async start() {
    this.child = spawn(process.env.CHATD, ['--data', this.folder, '--listen', `127.0.0.1:${this.port}`, '--log-level', 'off', '--no-announce'], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    for await (const line of createInterface({ input: this.child.stdout })) {
      if (line.startsWith('chatd: listening on ')) break;
    }
    this.child.stdout.resume();
  },
  async stop(signal) {
    const exits = once(this.child, 'exit');
    this.child.kill(signal);
    await exits;
  },
};

async function freePort() {
  const listener = createServer().listen(0, '127.0.0.1');
  await once(listener, 'listening');
  const { port } = listener.address();
  listener.close();
  return port;
}

// A client of the line protocol. It says each message until it is answered, with the same nonce.
class Speaker {
  constructor(nick, room) {
    Object.assign(this, { nick, room, said: [], n: 0, answered: true, again: 0, log: [] });
    this.connect();
  }
  connect() {
    this.socket = connect(server.port, '127.0.0.1');
    this.socket.on('error', () => {});
    this.socket.on('close', () => {
      if (!this.ended) setTimeout(() => this.connect(), 100);
    });
    this.socket.on('connect', () => {
      this.socket.write(this.n ? `NICK ${this.nick} ${SECRET}\nJOIN ${this.room}\n` : `NICK ${this.nick}\nREGISTER ${SECRET}\nJOIN ${this.room}\n`);
      if (!this.answered) {
        this.again += 1;
        this.socket.write(this.request);
      }
    });
    createInterface({ input: this.socket, crlfDelay: Infinity }).on('line', (line) => {
      this.last = line;
      if (/^OK (TELL|ME|TEXT) /.test(line)) this.answered = true;
      if (line === `OK REGISTER ${this.nick}`) this.isRegistered = true;
    }).on('error', () => {});
  }
  async say() {
    const n = (this.n += 1);
    const tags = `@nonce=${n}`;
    const { kind, lines } = message(n);
    const text = lines.join('\n') + '\n';
    this.request = {
      msg: `${tags} TELL ${this.room} ${text}`,
      me: `JOIN ${this.room}\n${tags} ME ${text}`,
      text: `${tags} TEXT ${Buffer.byteLength(text)} ${this.room}\n${text}`,
    }[kind];
    this.said.push({ kind, lines });
    this.answered = false;
    this.socket.write(this.request);
    await until(() => `an answer to ${this.nick}'s message ${n}, after ${this.last}`, () => this.answered);
  }
}

// A message of each kind, one after the other. Each has its number.
function message(n) {
  const words = (word, count) => Array(count).fill(word).join(' ');
  const all = [
    ['msg', `${n} hello`],
    ['msg', `${n} café ☕ 👩‍👩‍👧 日本語 العربية`],
    ['msg', `${n} :a colon, a #room, @a=b;c \\s and  two spaces`],
    ['me', `${n} waves`],
    ['text', `${n} it broke:`, '', '  at main.c', '\u{1F525}\u{1F525}', `${words('trace', 200)}`],
    ['msg', `${n} ${words('a long message', 90)}`],
    ['msg', `${n} ${'👍'.repeat(300)}`],
    ['me', `${n} ${words('raconte une très longue histoire', 30)}`],
    ['msg', `${n} ${'x'.repeat(1500)} ${words('日本語', 80)}`],
  ];
  const [kind, ...lines] = all[n % all.length];
  return { kind, lines };
}

// The bridge. It sends a line only after it has received its own previous one.
class Bridge {
  constructor(rooms) {
    this.rooms = new Map(rooms.map((name) => [name, { name, heard: [], waiting: [], isBack: false }]));
    Object.assign(this, { seen: new Set(), queue: [], said: [], skipped: 0, missed: 0, connects: 0, again: 0, isSaying: false });
    this.client = new IRC.Client();
    this.client.requestCap(['draft/chathistory', 'echo-message']);
    this.client.on('registered', () => this.begin());
    this.client.on('socket close', () => this.end());
    for (const kind of ['privmsg', 'action']) this.client.on(kind, (event) => this.hear(kind, event));
    this.client.on('batch end chathistory', (batch) => this.endPage(batch));
    this.client.on('pong', ({ message }) => {
      const room = this.rooms.get(message);
      if (room) this.endPast(room);
    });
    this.client.on('raw', ({ line, from_server: isHeard }) => {
      if (isHeard && / (FAIL|ERROR|4\d\d|5\d\d) /.test(line) && !/ PRIVMSG /.test(line)) this.trouble = line;
    });
    this.client.connect({
      host: '127.0.0.1', port: server.port, nick: 'relay', account: { account: 'relay', password: SECRET },
      auto_reconnect_max_wait: 1000, auto_reconnect_max_retries: 20,
    });
  }
  get isBack() {
    return [...this.rooms.values()].every((room) => room.isBack);
  }
  begin() {
    this.connects += 1;
    this.since = Date.now();
    for (const room of this.rooms.values()) {
      this.client.join(room.name, how === 'key' ? 'bridge' : undefined);
      if (how === 'key') this.client.raw('PING', room.name);
      else this.askPage(room);
    }
  }
  end() {
    this.since = undefined;
    this.isSaying = false;
    for (const room of this.rooms.values()) Object.assign(room, { isBack: false, waiting: [] });
  }
  askPage(room) {
    // A message may have been cut into lines, and the last line may be missing. So the bridge asks for it once more.
    const from = room.before ? `msgid=${room.before}` : 'timestamp=2000-01-01T00:00:00.000Z';
    room.page = 0;
    this.client.raw('CHATHISTORY', 'AFTER', room.name, from, `${PAGE}`);
  }
  endPage({ params: [name] }) {
    const room = this.rooms.get(name);
    if (room.page < PAGE) return this.endPast(room);
    room.before = room.id;
    this.askPage(room);
  }
  endPast(room) {
    room.isBack = true;
    for (const event of room.waiting.splice(0)) this.take(room, event);
    this.sayNext();
  }
  hear(kind, { nick, target, message: text, tags, batch }) {
    const room = this.rooms.get(target);
    if (!room) return;
    const event = { kind, nick, text, id: tags.msgid };
    if (batch?.type === 'chathistory') {
      if (event.id) room.page += 1;
      this.take(room, event, true);
    } else if (room.isBack || how === 'key') {
      this.take(room, event, !room.isBack);
    } else {
      room.waiting.push(event);
    }
  }
  take(room, { kind, nick, text, id }, isPast) {
    if (id && id !== room.id) room.before = room.id;
    // Only the first line of a message has the id.
    if (id) [room.id, room.line] = [id, 0];
    else room.line += 1;
    const key = `${room.id} ${room.line}`;
    if (this.seen.has(key)) {
      this.skipped += 1;
      return;
    }
    this.seen.add(key);
    if (isPast) this.missed += 1;
    if (nick === this.client.user.nick) {
      const [first] = this.queue;
      if (first?.room !== room.name || first.text !== text) throw new Error(`the bridge hears what it did not say: ${text}`);
      this.said.push(this.queue.shift());
      this.isSaying = false;
    } else {
      if (room.line === 0) room.heard.push({ kind, nick, text });
      else room.heard.at(-1).text += text;
      const [other] = [...this.rooms.keys()].filter((name) => name !== room.name);
      const relayed = kind === 'action' ? `* ${nick} ${text}` : `<${nick}> ${text}`;
      for (const piece of pieces(relayed)) this.queue.push({ room: other, text: piece });
    }
    this.sayNext();
  }
  sayNext() {
    if (this.isSaying || !this.isBack || !this.queue.length) return;
    this.isSaying = true;
    const [first] = this.queue;
    if (first.saidIn) this.again += 1;
    first.saidIn = this.connects;
    this.client.say(first.room, first.text);
  }
}

// Cuts a text to what the library sends in one line.
function pieces(text) {
  const all = [''];
  for (const letter of text) {
    if (Buffer.byteLength(all.at(-1) + letter) > 340) all.push('');
    all[all.length - 1] += letter;
  }
  return all;
}

// Returns all that a room has, from the log.
async function logOf(room) {
  const socket = connect(server.port, '127.0.0.1');
  socket.write(`STAMPS on\nNICK reader\nJOIN ${room} 0\n`);
  const lines = [];
  for await (const line of createInterface({ input: socket })) {
    if (line.startsWith(`GAP ${room}`)) throw new Error(line);
    if (line.startsWith(`OK JOIN ${room}`)) break;
    const found = /^PAST (\d+) \S+ (MSG|ME) (\S+) (\S+)(?: (.*))?$/.exec(line);
    if (found?.[3] === room) lines.push({ nick: found[4], verb: found[2], text: found[5] ?? '' });
  }
  socket.destroy();
  return lines;
}

function check(what, found, wanted) {
  const at = wanted.findIndex((one, n) => one !== found[n]);
  if (at >= 0 || found.length !== wanted.length) {
    const n = at >= 0 ? at : wanted.length;
    throw new Error(`${what}: ${found.length} of ${wanted.length}; number ${n} is\n${found[n]}\nand not\n${wanted[n]}`);
  }
}

async function main() {
  server.folder = await mkdtemp(join(tmpdir(), 'bridge-'));
  server.port = await freePort();
  await server.start();
  const speakers = [new Speaker('ann', '#one'), new Speaker('bob', '#two')];
  const registers = new Speaker('relay', '#one');
  await until(() => 'nicks are registered', () => [...speakers, registers].every((speaker) => speaker.isRegistered));
  registers.ended = true;
  registers.socket.destroy();
  const bridge = new Bridge(['#one', '#two']);
  await until(() => `the bridge joins; ${bridge.trouble}`, () => bridge.isBack);

  const end = Date.now() + seconds * 1000;
  const talk = async (speaker) => {
    while (Date.now() < end || server.restarts < 2) {
      await speaker.say();
      await wait(pause);
    }
  };
  server.restarts = 0;
  const restart = async () => {
    for (const signal of ['SIGTERM', 'SIGKILL']) {
      await wait((seconds * 1000) / 3);
      await until(() => `the bridge is connected for ${SETTLED_MS} ms`, () => bridge.isBack && Date.now() - bridge.since > SETTLED_MS);
      await server.stop(signal);
      await server.start();
      server.restarts += 1;
    }
    const connects = server.restarts + 1;
    await until(() => `the bridge is back; ${bridge.trouble}`, () => bridge.isBack && bridge.connects >= connects);
  };
  await Promise.all([restart(), ...speakers.map(talk)]);
  const sayable = (room) => speakers.find((speaker) => speaker.room === room);
  await until(() => `the bridge repeats all; ${bridge.queue.length} are left; ${bridge.trouble}`, () =>
    !bridge.queue.length && [...bridge.rooms.values()].every((room) => room.heard.length >= heard(sayable(room.name)).length));

  for (const speaker of speakers) {
    const room = bridge.rooms.get(speaker.room);
    check(`what the bridge has heard of ${speaker.nick}`, room.heard.map(({ kind, nick, text }) => `${kind} ${nick} ${text}`), heard(speaker));
    const log = await logOf(speaker.room);
    const verbs = { msg: 'MSG', me: 'ME', text: 'MSG' };
    const wanted = speaker.said.flatMap(({ kind, lines }) => lines.map((line) => `${verbs[kind]} ${line}`));
    check(`what ${speaker.nick} has said in the log`, log.filter(({ nick }) => nick === speaker.nick).map(({ verb, text }) => `${verb} ${text}`), wanted);
    const relayed = bridge.said.filter((line) => line.room === speaker.room).map(({ text }) => `MSG ${text}`);
    check(`what the bridge has said in ${speaker.room}`, log.filter(({ nick }) => nick === 'relay').map(({ verb, text }) => `${verb} ${text}`), relayed);
  }
  const count = (speaker) => `${speaker.said.length} messages of ${speaker.nick}`;
  console.log(`${speakers.map(count).join(' and ')} in ${Math.round(seconds)} s, ${bridge.said.length} lines of the bridge, ${server.restarts} restarts: `
    + `none lost, doubled or changed. After them ${bridge.missed} lines came by ${how}, ${bridge.skipped} known ones were skipped; `
    + `${bridge.again} lines of the bridge and ${speakers.reduce((sum, { again }) => sum + again, 0)} of the others were sent again.`);
  for (const speaker of speakers) {
    speaker.ended = true;
    speaker.socket.destroy();
  }
  bridge.client.quit('done');
}

// Returns what the bridge must have heard of a speaker.
function heard(speaker) {
  const of = ({ kind, lines }) => (kind === 'me' ? lines.map((line) => `action ${speaker.nick} ${line}`) : lines.map((line) => `privmsg ${speaker.nick} ${line || ' '}`));
  return speaker.said.flatMap(of);
}

let fail;
const failed = new Promise((_, reject) => (fail = reject));
process.on('uncaughtException', fail);
let code = 0;
try {
  await Promise.race([main(), failed]);
} catch (error) {
  console.error(error);
  code = 1;
} finally {
  server.child?.kill('SIGKILL');
  await rm(server.folder, { recursive: true, force: true, maxRetries: 10 });
}
process.exit(code);
