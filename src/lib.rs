#![cfg_attr(
    feature = "server",
    doc = r##"
plainchat: `chatd`, a chat server that any program with a TCP socket can join, on a single port, and
`chatc`, its client.

The protocol is the product: `protocol.md` describes it, and its transcripts are tests. This page is
the map of the code. Start with [`session`], which is the protocol as seen by one connection.

# From a line to its readers

```text
socket ─> server::connection ─> protocol::line ─> protocol::request ─> session ─> Effect::Append ─> log
                                                                                                    │
socket <─ server::connection <─ session::output <─ tail (a cursor each) <─ chat::apply <─── kept ───┘
```

A message is encoded once and stored once, before anybody sees it. Some readers, such as IRC clients, need another form
of the message. It is encoded once more for each such [`Form`](dialect::Form), and all readers with that form share the
result. A reader has no queue, only a cursor: for a slow reader, the server stores just the reader's position, and reads
from the log what the reader has missed.

# What becomes of `MSG hello`

1. `server::connection` reads the bytes that have arrived, and takes the lock of `server::shared_state` for a few lines.
2. [`LineDecoder::next`](protocol::line::LineDecoder::next) finds the line in the bytes, and
   [`Session::apply`](session::Session::apply) has it parsed into a [`Request`](protocol::Request).
3. `session::gate` decides whether this connection may make the request now; `session::request` handles it. It asks
   [`Chat`](chat::Chat) whether the nick is in the room and may send there, and proposes an [`Entry`](model::Entry): an
   [`Effect::Append`](session::Effect::Append) with a [`Ticket`](model::Ticket). Nothing has been promised yet.
4. The connection passes the entry to the log ([`Log::append`](log::Log::append)). The log's thread commits all waiting
   entries in one transaction, gives each event its id and time, and only then reports what it has
   [applied](model::Applied).
5. [`Chat::apply`](chat::Chat::apply) encodes each event once and appends it to the room's [`Tail`](tail::Tail), and
   reports the outcome of the ticket to the author.
6. When the lock is released, `server::changes` wakes the author and the readers. The author's session turns the outcome
   into `OK MSG`, in the order of its requests. The readers' cursors are now behind the tail.
7. [`Session::fill`](session::Session::fill) collects in a [`Batch`](session::batch::Batch) what a connection is to be
   sent, without a copy of the shared lines; the lock is released, and one write passes the batch to the socket.
   [`Session::sent`](session::Session::sent) then moves the cursor past what the socket has accepted.

If the log refuses the entry, because the disk is full or the server stops, step 4 reports that instead, and the author
receives `ERR`.

# The modules

The modules are listed from the bottom up. Each uses only modules that are listed above it, which `tests/project/layers.rs`
checks.

| module | what it does | what it uses |
|---|---|---|
| [`protocol`] | bytes to values and back, for server and client | nothing |
| [`model`] | the types that the server's modules share: entries, access lists, bans, storage errors | `protocol` |
| [`config`] | settings and limits, each with its default and reason | `model`, `protocol` |
| [`tail`] | the newest events of a room, encoded once; knows no room and no connection | `model`, `protocol` |
| [`dialect`] | reads requests and writes replies and events: for programs, for people, for IRC clients, and as values; reads what tools post to a hook | `config`, `protocol` |
| [`files`] | the bytes of files by digest, on disk; knows no room | `model`, `protocol` |
| [`log`] | stores events on disk or in memory, reads them back, searches | `config`, `files`, `model`, `protocol` |
| [`accounts`] | accounts, tokens, access lists and bans, stored as the log is | `config`, `log`, `model`, `protocol` |
| [`offline`] | check, export, import and backup of a data folder; the owner of an ssh key | `accounts`, `files`, `log`, `model`, `protocol` |
| [`chat`] | nicks, rooms, members, quotas: the domain | `config`, `model`, `protocol`, `tail` |
| [`session`] | one connection's state, replies in order; queries the log and the accounts through effects | `accounts`, `chat`, `config`, `dialect`, `log`, `model`, `protocol`, `tail` |
| [`transport`] | carries a connection's bytes, whatever they mean, over a plain socket or a layer around it; for clients inside the process, carries values | `dialect`, `model`, `protocol` |
| [`cluster`] | the rules of several servers on one log: which messages count, what a server publishes when, and the form of the messages; a client of NATS (`cluster::nats`), which can be that log; what is written to that log | `model`, `protocol` |
| [`replica`] | one of several servers that share a chat: publishes what is to be stored, reads the log in NATS, and stores it in this server's replica | `accounts`, `cluster`, `config`, `log`, `model`, `protocol`, `transport` |
| [`web`] | the files of the page | nothing |
| [`server`] | connects all of these, and runs them on smol: accepts, reads, writes, runs timers; only `chatd` uses it, and tests use `server::simulation` | `accounts`, `chat`, `cluster`, `config`, `dialect`, `files`, `log`, `model`, `protocol`, `replica`, `session`, `transport`, `web` |
| [`client`] | connects, reconnects, sends, receives, moves files: for `chatc` and for bots | `protocol` |
| [`ui`] | `chatc`: the screen, the line client, pipes | `client`, `protocol` |

`protocol`, `tail`, `chat`, `cluster` (except for `cluster::nats`) and `session` are pure: functions of their state, their
input, and the time that is passed to them (`tests/project/tidy.rs` checks it).

# Glossary

| word | what it means here |
|---|---|
| peer | a connection of this server (`model::PeerId`) |
| user | a nick that is in use or reserved, with its connections and its inbox (`chat::state::User`) |
| reservation | the password that protects an unregistered nick while it is in use, and for two minutes after its last connection has broken |
| account | a registered nick with its password and tokens (`accounts`) |
| hook | a token with which a tool posts to one room, under one nick |
| directory | what each server holds in memory of accounts, bans and access lists, without secrets |
| reader | a connection that reads a room, with a nick or without; a *named reader* has its position stored |
| member | a nick in a room, as others see it |
| access list | who owns a room, moderates it and may join it (`model::RoomAcl`) |
| casefolded | the form of a name that is compared: all spellings of the same name have the same casefolded form |
| look-alike | a nick that a person could mistake for another |
| entry | something that is proposed to the log (`model::Entry`); once it is applied, it is an event |
| change | a change of what all servers of a chat agree on, apart from events: who uses which nick, who is banned (`model::Change`); `chat::state::apply` decides on it: at once on a single server, or later (`chat::Chat::decide`) |
| ticket | names the request that waits for the outcome of an entry |
| event | what readers see: a message, a file, a change of topic, a join … (`protocol::Event`) |
| inbox | the direct messages of a nick; logged between registered nicks, otherwise in memory only |
| tail | the newest events of a room or an inbox in memory; each reader has a cursor in it |
| backlog | what a reader has missed, read from the log |
| effect | slow work that a session asks its driver to do: store, query, move a file |
| dialect | the form in which a connection sends and receives: plain, talker, IRC, or values inside the process |
| form | the dialect of a reader and its choices that change the bytes of an event (`dialect::Form`); readers with equal forms share those bytes |
| carrier | what moves a connection's bytes: TCP, TLS, WebSocket or a pipe in the process |
| live file | a file that can be followed while it is still being uploaded |
"##
)]
#![cfg_attr(
    not(any(feature = "client", feature = "server")),
    doc = "The types of the protocol of plainchat, a chat server on one TCP port: see [`protocol`]."
)]
#![cfg_attr(
    all(feature = "client", not(feature = "server")),
    doc = r##"
Clients and bots for plainchat, a chat server on one TCP port.

Start with [`client`]: it connects, sends, receives, reconnects and moves files. [`protocol`] has the lines that go over
the wire, as values.

```no_run
# async fn bot() -> Result<(), plainchat::client::Error> {
let mut client = plainchat::client::Client::connect("localhost:5002").await?;
client.enter("ci", "#ops").await?;
client.say("build done").await?;
client.bye().await?;
# Ok(())
# }
```
"##
)]

#[cfg(all(feature = "server", not(target_os = "linux")))]
compile_error!(
    "chatd needs Linux (epoll, sendfile); the client alone: --no-default-features --features chatc"
);

#[cfg(feature = "server")]
pub mod accounts;
#[cfg(feature = "server")]
pub mod chat;
#[cfg(feature = "client")]
pub mod client;
#[cfg(feature = "server")]
pub mod cluster;
#[cfg(feature = "server")]
pub mod config;
#[cfg(feature = "server")]
pub mod dialect;
#[cfg(feature = "server")]
pub mod files;
#[cfg(feature = "server")]
pub mod log;
#[cfg(feature = "server")]
pub mod model;
#[cfg(feature = "server")]
pub mod offline;
pub mod protocol;
#[cfg(feature = "server")]
pub mod replica;
#[cfg(feature = "server")]
pub mod server;
#[cfg(feature = "server")]
pub mod session;
#[cfg(feature = "server")]
pub mod tail;
#[cfg(feature = "server")]
pub mod transport;
#[cfg(feature = "chatc")]
pub mod ui;
#[cfg(feature = "server")]
pub mod web;
