//! Common clients, as shell commands.

/// Clients that never tell the server that their input has ended.
pub const NEVER_HALF_CLOSING: [&str; 6] = [
    "nc.openbsd $HOST $PORT",
    "nc.traditional $HOST $PORT",
    "ncat --no-shutdown $HOST $PORT",
    "socat -,ignoreeof TCP:$HOST:$PORT",
    "curl -sN telnet://$HOST:$PORT",
    "{ exec 3<>/dev/tcp/$HOST/$PORT; cat <&3 & cat >&3; wait; }",
];

/// Clients that tell the server that their input has ended. Then they wait for replies, for longer than a busy
/// machine needs. The first client with `-q` always waits for that whole time.
pub const HALF_CLOSING: [&str; 6] = [
    "nc.openbsd -N $HOST $PORT",
    "nc.openbsd -q 5 $HOST $PORT",
    "nc.traditional -q 20 $HOST $PORT",
    "ncat $HOST $PORT",
    "socat -t 20 - TCP:$HOST:$PORT",
    "busybox nc $HOST $PORT",
];

/// Returns all clients of both kinds, each with a nick of its own.
pub fn every_client() -> impl Iterator<Item = (String, &'static str)> {
    let all = NEVER_HALF_CLOSING.into_iter().chain(HALF_CLOSING);
    all.enumerate().map(|(n, client)| (format!("c{n}"), client))
}
