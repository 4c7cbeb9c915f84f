//! HTTP/1.1 (RFC 9112) on the same port: the page, rooms and files for `curl`, and the upgrade to WebSocket.
//!
//! A connection inside this process (`internal`) makes the requests on the client's behalf, so permissions, names and
//! errors are those of the chat protocol. A connection that begins with HTTP never changes to the line protocol.

mod body;
mod files;
mod follow;
mod format;
mod forwarded;
mod gotify;
mod guard;
mod help;
mod hooks;
mod internal;
mod login;
mod ntfy;
mod page;
mod post;
mod push;
mod query;
mod reply;
mod rooms;
mod sendfile;
mod socket;
mod upgrade;

use std::convert::Infallible;
use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::{Duration, Instant};

use base64::Engine;
use hyper::body::Incoming;
use hyper::header::{ACCEPT, ALLOW, ETAG, EXPECT, HeaderMap, HeaderValue, IF_MATCH};
use hyper::rt::{Sleep, Timer};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::{OnUpgrade, Parts};
use hyper::{Method, Request, StatusCode, Uri};
use smol_hyper::rt::FuturesIo;
use tracing::debug;

use super::Server;
use super::clock::{Alarm, Clock};
use super::metrics;
use crate::config::Protocols;
use crate::model::PeerId;
use crate::protocol::Code;
use crate::transport::stream::Replayed;
use crate::transport::{Gone, Stream};
use body::RequestBody;
use follow::Pieces;
use guard::Head;
pub use guard::Names;
use query::Query;
use reply::{Problem, Reply};
pub use sendfile::PendingParts;
use sendfile::SendfileIo;

/// The maximum size of the head of a request in bytes.
const HEAD_BYTES_MAX: usize = 16 << 10;
const FIELDS_MAX: usize = 64;

/// A request whose body has not been read.
type HttpRequest = Request<RequestBody>;

/// The client of a connection, or the client of a single request that a trusted proxy forwards.
#[derive(Clone)]
pub struct Client {
    pub server: Arc<Server>,
    /// The client's address.
    pub address: IpAddr,
    /// The address at which the server has accepted the connection.
    pub local: SocketAddr,
    /// The connection's slot, through which it is notified when the server stops.
    pub peer: PeerId,
    pub protocols: Protocols,
    /// Whether the connection itself uses TLS.
    pub is_tls: bool,
    /// Whether the request is known to be encrypted on its whole way from the client.
    pub is_secure: bool,
    /// Whether a proxy has reported that it forwards the request, so that the request does not come from this
    /// machine.
    pub is_passed_on: bool,
    /// The parts of files that are to be sent on the connection.
    pub pending_parts: PendingParts,
    /// Whether the client speaks IRC over WebSocket.
    pub speaks_irc: bool,
    /// Whether the client receives lines as JSON over WebSocket.
    pub receives_json: bool,
    /// A handle that reports when the client has gone, or sends nothing more.
    pub gone: Gone,
}

impl Client {
    /// Returns the client of a request with `headers`.
    fn behind_proxy(&self, headers: &HeaderMap) -> Result<Self, Problem> {
        let mut known = self.clone();
        known.is_passed_on = forwarded::is_passed_on(headers);
        let is_proxy = |address| self.server.state().chat.is_proxy(address);
        if known.is_passed_on && is_proxy(self.address) {
            if let Some(address) = forwarded::client(headers, is_proxy)? {
                known.address = address;
            }
            known.is_secure |= forwarded::is_secure(headers);
        }
        Ok(known)
    }

    /// Refuses a banned client that sends its request through a proxy on `connection`. If a banned client has a
    /// connection of its own, the ban itself ends that connection.
    fn not_banned(self, connection: &Self) -> Result<Self, Problem> {
        if self.address == connection.address {
            return Ok(self);
        }
        let time = self.server.clock.now().time;
        let ban = self.server.state().chat.ban_of_address(self.address, time);
        match ban {
            None => Ok(self),
            Some(reason) => Err(Problem::new(StatusCode::FORBIDDEN, Code::Banned, reason)),
        }
    }
}

/// A connection that was upgraded to WebSocket.
pub struct Upgraded {
    /// The connection's stream.
    pub stream: Stream,
    /// The bytes that were already read from the stream.
    pub held: Vec<u8>,
    /// The client that requested the upgrade.
    pub client: Client,
}

/// A requested upgrade.
struct Requested {
    on: OnUpgrade,
    client: Client,
    /// The events that are sent; `None` if the client speaks a protocol of the server.
    events: Option<Pieces>,
}

type Upgrade = Mutex<Option<Requested>>;

impl Requested {
    /// Notes that the request is answered with an upgrade.
    fn note(request: &mut HttpRequest, client: Client, events: Option<Pieces>, upgrade: &Upgrade) {
        let on = hyper::upgrade::on(request);
        if let Ok(mut upgrade) = upgrade.lock() {
            *upgrade = Some(Self { on, client, events });
        }
    }
}

/// The server's clock also wakes hyper.
impl Timer for Clock {
    fn sleep(&self, time: Duration) -> Pin<Box<dyn Sleep>> {
        Box::pin(self.alarm_in(time))
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        self.sleep(deadline.saturating_duration_since(self.instant()))
    }
}

impl Sleep for Alarm {}

/// Serves requests until there are no more, or the connection is upgraded to WebSocket.
pub async fn serve(client: Client, stream: Stream, first: Vec<u8>) -> Option<Upgraded> {
    let limits = &client.server.config.limits;
    let mut builder = http1::Builder::new();
    builder
        .timer(client.server.clock.clone())
        .header_read_timeout(limits.handshake_within)
        .max_headers(FIELDS_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        // The bytes of a file bypass hyper (`sendfile`). With TLS, it is better to copy them into one piece.
        .writev(!client.is_tls)
        // `printf 'GET / HTTP/1.0\r\n\r\n' | nc -N`, for example, ends its output before it reads.
        .half_close(true);
    let upgrade = Upgrade::default();
    let service = service_fn(|request: Request<Incoming>| async {
        let awaits_continue = request.headers().contains_key(EXPECT);
        let request = request.map(|body| RequestBody::new(&client.server, body, awaits_continue));
        let known = client.behind_proxy(request.headers());
        let reply = match known.and_then(|known| known.not_banned(&client)) {
            Ok(client) => answer(&client, request, &upgrade).await,
            Err(problem) => Err(problem),
        };
        Ok::<_, Infallible>(reply.unwrap_or_else(Problem::reply))
    });
    // A client that follows a room sends nothing, and may receive nothing for a long time.
    stream.socket().watch_closely();
    let gone = client.gone.clone();
    let stream = Replayed { first, stream };
    let io = FuturesIo::new(SendfileIo::new(stream, client.pending_parts.clone()));
    let served = {
        let mut connection = pin!(builder.serve_connection(io, service).with_upgrades());
        let mut is_stopping = false;
        poll_fn(|cx| {
            if !is_stopping {
                match order(&client, cx.waker()) {
                    Order::Continue => {}
                    Order::Stop => {
                        is_stopping = true;
                        connection.as_mut().graceful_shutdown();
                    }
                    Order::Close => return Poll::Ready(None),
                }
            }
            if gone.poll(cx).is_ready() {
                return Poll::Ready(None);
            }
            connection.as_mut().poll(cx).map(Some)
        })
        .await
    };
    if let Err(e) = served? {
        debug!("HTTP: {e}");
        return None;
    }
    let requested = upgrade.into_inner().ok()??;
    let upgraded = requested.on.await.ok()?;
    let Parts { io, read_buf, .. } = upgraded.downcast::<FuturesIo<SendfileIo>>().ok()?;
    let Replayed { first, stream } = io.into_inner().stream;
    // The bytes are copied, so that hyper's large buffer is freed.
    let held = [&read_buf[..], &first].concat();
    let Some(events) = requested.events else {
        return Some(Upgraded {
            stream,
            held,
            client: requested.client,
        });
    };
    socket::send(&client, stream, held, events).await;
    None
}

/// An order to a connection from the rest of the server.
enum Order {
    Continue,
    /// Finish the current requests and accept no more, because the server stops.
    Stop,
    /// Close at once, even during a transfer, because the client is banned.
    Close,
}

/// Returns the current order for a connection. When the order changes, `waker` is woken.
fn order(client: &Client, waker: &std::task::Waker) -> Order {
    let mut state = client.server.state();
    state.clear_wakeup(client.peer);
    let _: Poll<()> = state.poll_news(client.peer, waker);
    if state.chat.is_ended(client.peer) {
        Order::Close
    } else if state.is_stopping {
        Order::Stop
    } else {
        Order::Continue
    }
}

async fn answer(
    client: &Client,
    request: HttpRequest,
    upgrade: &Upgrade,
) -> Result<Reply, Problem> {
    let (uri, method) = (request.uri().clone(), request.method().clone());
    let head = Head {
        method: &method,
        version: request.version(),
        uri: &uri,
        headers: request.headers(),
        is_meant: hooks::is_meant(client, &uri, request.headers()),
    };
    if let Err(problem) = guard::check(head, &client.server.names) {
        let is_unknown = problem.status == StatusCode::MISDIRECTED_REQUEST;
        return if is_unknown && accepts(request.headers(), "text/html") {
            Ok(page::unknown_host(&guard::host_of(head)))
        } else {
            Err(problem)
        };
    }
    guard::check_understood(head)?;
    if !client.protocols.web {
        let text = if client.protocols.lines {
            "this port does not accept HTTP; use nc or chatc"
        } else {
            "this port accepts only IRC"
        };
        return Err(Problem::new(StatusCode::FORBIDDEN, Code::NotAllowed, text));
    }
    if !client.protocols.plain && !client.is_tls {
        let text = "this port accepts only TLS: use https://";
        return Err(Problem::new(StatusCode::FORBIDDEN, Code::NotAllowed, text));
    }
    let is_read = matches!(method, Method::GET | Method::HEAD);
    let wanted = if request.headers().contains_key(IF_MATCH) && is_read {
        request.headers().clone()
    } else {
        HeaderMap::new()
    };
    let reply = route(client, request, upgrade, &uri, method, is_read).await?;
    let tag = reply.headers().get(ETAG);
    let is_met = |known: &HeaderValue| {
        let known = known.to_str().unwrap_or_default().split(',').map(str::trim);
        let mut known = known.filter(|known| !known.is_empty());
        known.any(|known| known == "*" || tag.is_some_and(|tag| tag == known))
    };
    let mut lists = wanted.get_all(IF_MATCH).iter().peekable();
    if lists.peek().is_none() || lists.any(is_met) || reply.status().is_client_error() {
        Ok(reply)
    } else {
        Err(Problem::unmatched())
    }
}

/// Returns whether the client's `Accept` header names the type `kind`.
fn accepts(headers: &HeaderMap, kind: &str) -> bool {
    let values = headers.get_all(ACCEPT).iter();
    values
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.contains(kind))
}

/// Answers a request that is permitted.
async fn route(
    client: &Client,
    mut request: HttpRequest,
    upgrade: &Upgrade,
    uri: &Uri,
    method: Method,
    is_read: bool,
) -> Result<Reply, Problem> {
    if let Some((asked, token)) = hooks::token(uri, request.headers()) {
        let token = token.to_owned();
        return Ok(hooks::post(client, asked, &token, request).await);
    }
    let path = uri.path();
    // A trailing slash has no meaning.
    let trimmed = path.strip_suffix('/').unwrap_or(path);
    let parts: Vec<&str> = trimmed.split('/').skip(1).collect();
    if let Some(call) = ntfy::Call::of(client, &request, &parts) {
        return Ok(ntfy::answer(client, call, request, upgrade).await);
    }
    match parts.as_slice() {
        ["rooms"] => {
            if is_read {
                rooms::list(client, &request).await
            } else {
                Ok(not_allowed("GET, HEAD"))
            }
        }
        ["rooms", own] if query::is_inbox(own) => {
            if is_read {
                rooms::search_inbox(client, &request).await
            } else {
                Ok(not_allowed("GET, HEAD"))
            }
        }
        ["rooms", room] => match method {
            Method::GET | Method::HEAD => rooms::read(client, room, &request).await,
            Method::POST => post::post(client, room, request).await,
            Method::PUT => Ok(file_name_missing("GET, HEAD, POST", room)),
            _ => Ok(not_allowed("GET, HEAD, POST")),
        },
        ["rooms", room, "files"] => match method {
            Method::GET | Method::HEAD => rooms::files(client, room, &request).await,
            Method::PUT => Ok(file_name_missing("GET, HEAD", room)),
            _ => Ok(not_allowed("GET, HEAD")),
        },
        ["rooms", room, "files", name] => match method {
            Method::PUT => files::put(client, room, name, request).await,
            _ => Ok(not_allowed("PUT")),
        },
        ["files", number] | ["files", number, _] => {
            if is_read {
                Query::of(uri, &[])?;
                files::get(client, number, request.headers()).await
            } else {
                Ok(not_allowed("GET, HEAD"))
            }
        }
        ["ws"] => {
            let receives_json = format::is_json(&Query::of(uri, &["format"])?)?;
            let (reply, speaks_irc) = upgrade::to_websocket(&request, client.protocols.irc)?;
            if speaks_irc && receives_json {
                return Err(query::bad("IRC has no JSON; leave out format"));
            }
            let time = client.server.clock.now().time;
            let ban = client
                .server
                .state()
                .chat
                .ban_of_address(client.address, time);
            if let Some(reason) = ban {
                return Err(Problem::new(StatusCode::FORBIDDEN, Code::Banned, reason));
            }
            let mut client = client.clone();
            client.speaks_irc = speaks_irc;
            client.receives_json = receives_json;
            Requested::note(&mut request, client, None, upgrade);
            Ok(reply)
        }
        ["push"] => push::answer(client, request).await,
        ["health"] => read_only(is_read, || match client.server.following.get() {
            Some(following) if following.is_cut_off() => {
                reply::text(StatusCode::SERVICE_UNAVAILABLE, "cut-off\n")
            }
            _ => reply::text(StatusCode::OK, "ok\n"),
        }),
        ["metrics"] => {
            if is_read {
                metrics(client).await
            } else {
                Ok(not_allowed("GET, HEAD"))
            }
        }
        ["help"] => {
            if is_read {
                login::check_server_password(client, request.headers()).await?;
            }
            read_only(is_read, || {
                let body = help::text(client, request.headers());
                reply::text(StatusCode::OK, body)
            })
        }
        _ => match page::find(path, request.headers()) {
            Some(reply) => read_only(is_read, || reply),
            None => Err(Problem::nothing_at(path)),
        },
    }
}

/// Sends Prometheus metrics to this machine and to the networks that the operator has configured. A request that a
/// proxy on this machine forwards counts as coming from elsewhere.
async fn metrics(client: &Client) -> Result<Reply, Problem> {
    let is_here = client.address.is_loopback() && !client.is_passed_on;
    let from = &client.server.config.metrics_from;
    if !is_here && !from.iter().any(|from| from.contains(client.address)) {
        let text = "only this machine may read the metrics; chatd --metrics-from allows others";
        return Err(Problem::new(StatusCode::FORBIDDEN, Code::NotAllowed, text));
    }
    let server = client.server.clone();
    // Collecting the metrics takes time: it looks at every room and reads a file of the operating system.
    let text = smol::unblock(move || metrics::text(&server)).await;
    Ok(reply::complete(StatusCode::OK, metrics::CONTENT_TYPE, text))
}

fn read_only(is_read: bool, reply: impl FnOnce() -> Reply) -> Result<Reply, Problem> {
    if is_read {
        Ok(reply())
    } else {
        Ok(not_allowed("GET, HEAD"))
    }
}

/// Returns 405 for an upload without a file name. `curl -T FILE` appends the name only to a URL that ends in a slash.
fn file_name_missing(methods: &'static str, room: &str) -> Reply {
    let room = crate::protocol::text::clean(room);
    let text = format!(
        "a file goes to /rooms/{room}/files/NAME; curl -T FILE adds the name after the last /"
    );
    method_refused(methods, text)
}

/// Returns 405 with the allowed methods.
fn not_allowed(methods: &'static str) -> Reply {
    method_refused(
        methods,
        format!("this address accepts {methods}; GET /help shows how"),
    )
}

fn method_refused(methods: &'static str, text: String) -> Reply {
    let problem = Problem::new(StatusCode::METHOD_NOT_ALLOWED, Code::NotAllowed, text);
    let mut reply = problem.reply();
    reply
        .headers_mut()
        .insert(ALLOW, HeaderValue::from_static(methods));
    reply
}

fn base64_engine() -> impl Engine {
    base64::engine::general_purpose::STANDARD
}
