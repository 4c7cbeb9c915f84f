"""A server of level minimal-server (protocol.md, section 1.4), and nothing else: the conformance suite plays
the transcripts of that level against it. It saves nothing and knows no passwords.
    python3 minimal_server.py 5002         0 picks a free port; the first line printed is the address
"""

import asyncio, re, sys, time

LINE_BYTES_MAX = 4096
NAME = re.compile(r'[A-Za-z0-9][A-Za-z0-9._-]{0,31}')
# Section 3.3: escape sequences and control characters, which a terminal would act on.
UNSAFE = re.compile('\x1b\\[[^\x40-\x7e]*[\x40-\x7e]?|\x1b[]PX^_].*?(?:\x07|\x1b\\\\|$)|\x1b.?'
                    '|[\x01-\x08\x0a-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u2028\u2029]', re.DOTALL)
GREETING = 'HELLO 1 minimal Type NICK and a name, then MSG and your text; BYE leaves. Nothing is saved.'
nicks = {}  # the connection of each nick, by the nick in small letters
last_id = int(time.time() * 1e6)


class Refused(Exception):
    """Carries a code and a text for `ERR`."""


class Room:
    def __init__(self, name):
        self.name, self.last_id, self.members, self.announced = name, 0, [], set()

    def send(self, line, but=None):
        for member in [member for member in self.members if member is not but]:
            member.send(line)


rooms = {'lobby': Room('#lobby')}  # each by its name in small letters


def room_of(name):
    name = name.removeprefix('#')
    if not NAME.fullmatch(name):
        raise Refused('bad-name', 'a room is # and 1 to 32 of A-Z a-z 0-9 - _ .')
    return rooms.setdefault(name.lower(), Room('#' + name))


class Connection:
    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer
        self.nick, self.joined, self.buffer = None, [], b''
        self.is_first, self.farewell = True, ''
        self.has_current = True  # until a JOIN is refused

    def send(self, line):
        if not self.writer.is_closing():
            self.writer.write(line.encode() + b'\n')

    async def line(self):
        """Returns the next line without its end, or None if it is too long, and whether the input has ended."""
        is_too_long = False
        while b'\n' not in self.buffer:
            if len(self.buffer) >= LINE_BYTES_MAX:
                self.buffer, is_too_long = b'', True
            more = await self.reader.read(65536)
            if not more:
                line, self.buffer = self.buffer, b''
                return (None if is_too_long else line), True
            self.buffer += more
        line, self.buffer = self.buffer.split(b'\n', 1)
        is_too_long = is_too_long or len(line) >= LINE_BYTES_MAX
        return (None if is_too_long else re.sub(b'\r\0?$', b'', line)), False

    async def run(self):
        is_open = True
        while is_open:
            line, at_end = await self.line()
            line = line.removeprefix(b'\xef\xbb\xbf') if line and self.is_first else line
            if line is None:
                self.send('ERR - too-long a line has at most 4096 bytes')
            elif line.strip(b' '):
                is_open = await self.answer(line)
            elif self.is_first and not at_end:
                self.send(GREETING)
            self.is_first = False
            is_open = is_open and not at_end
            await self.writer.drain()  # a client that does not read is not read
        self.end()
        self.writer.write_eof()
        while await asyncio.wait_for(self.reader.read(65536), 10):
            pass  # until the client has closed; otherwise the last line could be lost

    def end(self):
        for room in list(self.joined):
            self.leave(room)
        if self.nick:
            nicks.pop(self.nick.lower())
            self.nick = None

    async def answer(self, line):
        """Answers one request; returns whether the connection goes on."""
        line = line.lstrip(b' ')
        word, _, rest = line.partition(b' ')
        name = word.decode('ascii', 'replace').replace('\0', '')
        if name.startswith('/'):
            name = name[1:].upper()
        elif name.islower():
            name = name.upper()
        verb = getattr(self, 'do_' + name, None) if name.isupper() and name.isalpha() else None
        if not verb and self.is_first:
            self.send(GREETING)
        try:
            if b'\0' in line:
                raise Refused('not-utf8', 'there is a NUL in it; send UTF-8')
            rest = rest.decode()
            if not verb:
                raise Refused('unknown-verb', 'there are NICK, MSG, JOIN, PART, PING, HELLO and BYE')
            reply = verb(rest)
            if asyncio.iscoroutine(reply):  # of UPLOAD and TEXT
                return await reply
            self.send(f'OK {name} {reply}' if reply else f'OK {name}')
            return name != 'BYE'
        except (Refused, UnicodeDecodeError) as refused:
            self.has_current &= name != 'JOIN'  # a message for that room must not go to another
            code, text = refused.args if isinstance(refused, Refused) else ('not-utf8', 'send UTF-8')
            self.send(f'ERR {name if verb else "-"} {code} {text}')
            return True

    @staticmethod
    def fields(rest, least, most):
        words = [word for word in rest.split(' ') if word]
        if not least <= len(words) <= most:
            raise Refused('bad-syntax', 'this command has other fields')
        return words

    def do_NICK(self, rest):
        nick, *_ = self.fields(rest, 1, sys.maxsize)  # the password is ignored
        if not NAME.fullmatch(nick) or nick[0].isdigit():
            raise Refused('bad-name', 'a nick is 1 to 32 of A-Z a-z 0-9 - _ . and begins with a letter')
        if nicks.get(nick.lower(), self) is not self:
            raise Refused('nick-taken', f'{nick} is in use; choose another')
        before, self.nick = self.nick, nick
        if before:
            del nicks[before.lower()]
        elif not self.joined and self.has_current:
            self.join(rooms['lobby'])
        nicks[nick.lower()] = self
        for room in self.joined:
            if not before:
                self.arrive(room)
            elif before != nick:
                self.announce(room, before)
                room.send(f'NICK {room.name} {before} {nick}', self)
        return f'{nick} {self.joined[-1].name} {self.joined[-1].last_id}' if self.joined and self.has_current else nick

    def do_MSG(self, text):
        global last_id
        text = UNSAFE.sub('', text)
        if not text.strip(' '):
            raise Refused('bad-syntax', 'usage: MSG <text>')
        if not self.nick:
            raise Refused('need-nick', 'first NICK <nick>')
        if not self.joined or not self.has_current:
            raise Refused('not-in-room', 'first JOIN <room>')
        room, last_id = self.joined[-1], last_id + 1
        room.last_id = last_id
        room.send(f'MSG {room.name} {self.nick} {text}', self)
        return time.strftime(f'{last_id} %Y-%m-%dT%H:%M:%S.000Z', time.gmtime())

    def do_JOIN(self, rest):
        room = room_of(*self.fields(rest, 1, 1))
        self.join(room)
        self.has_current = True
        return f'{room.name} {room.last_id}'

    def do_PART(self, rest):
        named = self.fields(rest, 0, 1)
        current = self.joined[-1] if self.joined and self.has_current else None
        room = room_of(named[0]) if named else current
        if room not in self.joined:
            raise Refused('not-in-room', 'you are not in that room')
        self.leave(room)
        return room.name

    def do_PING(self, rest):
        return UNSAFE.sub('', ''.join(self.fields(rest, 0, 1)))

    def do_HELLO(self, rest):
        return '1 minimal'  # no capabilities

    def do_BYE(self, rest):
        self.farewell = UNSAFE.sub('', rest)
        return ''

    def do_UPLOAD(self, rest):
        fields = [word for word in rest.split(' ') if word]
        return self.refuse(next((word for word in fields[:0:-1] if len(word) < 64), ''))

    def do_TEXT(self, rest):
        return self.refuse(rest.split(' ')[0])

    async def refuse(self, length):
        """Refuses a file or a text, and drops its bytes: they are never requests."""
        self.send('ERR - unknown-verb this server has no files and no TEXT')
        if length != '*' and not re.fullmatch('[0-9]{1,15}', length):
            return False  # nobody can know where the bytes end
        left = float('inf') if length == '*' else int(length)
        while len(self.buffer) < left and not self.reader.at_eof():
            left -= len(self.buffer)
            self.buffer = await self.reader.read(65536)
        self.buffer = self.buffer[left:] if len(self.buffer) >= left else b''
        return True

    def join(self, room):
        if room in self.joined:
            self.joined.remove(room)
        else:
            room.members.append(self)
            if self.nick:
                self.arrive(room)
        self.joined.append(room)

    def arrive(self, room):
        asyncio.get_running_loop().call_later(1, self.announce, room, self.nick)

    def announce(self, room, nick):
        if self in room.members and self not in room.announced:
            room.announced.add(self)
            room.send(f'JOIN {room.name} {nick}', self)

    def leave(self, room):
        self.joined.remove(room)
        room.members.remove(self)
        if self in room.announced:
            room.announced.remove(self)
            room.send(f'PART {room.name} {self.nick} {self.farewell}'.rstrip())


async def serve(reader, writer):
    connection = Connection(reader, writer)
    try:
        await connection.run()
    except (OSError, asyncio.TimeoutError):
        pass  # the client has broken the connection, or does not close it
    finally:
        connection.end()
        writer.close()


async def main():
    server = await asyncio.start_server(serve, '127.0.0.1', int(sys.argv[1]))
    host, port = server.sockets[0].getsockname()
    print(f'{host}:{port}', flush=True)
    await server.serve_forever()


asyncio.run(main())
