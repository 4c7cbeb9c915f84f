//! protocol.md 11.1, 11.3, 11.4, http.md 1, shell.md 3, chatd.md 3: clients that use TLS, HTTP or WebSocket, and a proxy in between.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use plainchat::client::Client;
use rustix::process::Signal;

use crate::support::server::Chatd;
use crate::support::spawn::Program;

/// Clients that use TLS and end their input.
const TLS: [&str; 5] = [
    "openssl s_client -quiet -tls1_3 -connect $HOST:$PORT 2>/dev/null",
    "openssl s_client -quiet -tls1_2 -connect $HOST:$PORT 2>/dev/null",
    "ncat --ssl $HOST $PORT",
    "socat - OPENSSL:$HOST:$PORT,verify=0",
    "socat -t5 - OPENSSL:$HOST:$PORT,verify=0",
];

#[test]
fn every_tls_client_talks_with_a_plain_client() {
    let chatd = Chatd::start();
    let mut alice = chatd.member("alice");
    for (n, client) in TLS.into_iter().enumerate() {
        let typed = format!("printf 'NICK tls-{n}\\nMSG hello\\nBYE\\n' | {client}");
        chatd.client(&typed).finish().expect(&[
            &format!("OK NICK tls-{n} #lobby <id>"),
            "OK MSG <id> <time>",
            "OK BYE",
        ]);
        alice.expect(&format!("MSG #lobby tls-{n} hello"));
    }
}

/// http.md 2: jobs that run at the same time may use one nick.
#[test]
fn twenty_jobs_of_a_shell_post_at_once_under_one_nick() {
    let chatd = Chatd::start();
    let room = "http://$HOST:$PORT/rooms/ops";
    let jobs = format!("for i in $(seq 20); do curl -fsS -u ci: -d \"job $i\" {room} & done; wait");
    let replies = chatd.client(&jobs).finish();
    replies.expect(&["OK MSG <id> <time>"; 20]);
    let read = chatd.client(&format!("curl -fsS \"{room}?count=100\""));
    let read = read.finish().lines().join("\n");
    for n in 1..=20 {
        let message = format!(" MSG #ops ci job {n}\n");
        assert_eq!(format!("{read}\n").matches(&message).count(), 1, "{read}");
    }
}

#[test]
fn openssl_cannot_negotiate_a_weak_version_cipher_or_renegotiation() {
    let chatd = Chatd::start();
    let talk = |options: &str| {
        let typed = format!(
            "printf 'PING\\nBYE\\n' | openssl s_client {options} -quiet -connect $HOST:$PORT 2>&1"
        );
        chatd.client(&typed).finish().lines().join("\n")
    };
    for good in [
        "-tls1_2 -cipher ECDHE-ECDSA-AES128-GCM-SHA256",
        "-tls1_2 -cipher ECDHE-ECDSA-CHACHA20-POLY1305",
        "-tls1_3 -ciphersuites TLS_AES_256_GCM_SHA384",
        "-tls1_3 -groups X25519",
        "-tls1_3 -groups P-384",
        "-servername another.example",
    ] {
        let reply = talk(good);
        assert!(reply.ends_with("OK PING\nOK BYE"), "{good}: {reply}");
    }
    // Security level 0 lets openssl itself offer old ciphers.
    for bad in [
        "-tls1 -cipher ALL:@SECLEVEL=0",
        "-tls1_1 -cipher ALL:@SECLEVEL=0",
        "-tls1_2 -cipher AES128-GCM-SHA256", // no forward secrecy
        "-tls1_2 -cipher ECDHE-ECDSA-AES128-SHA", // CBC
        "-tls1_2 -cipher aNULL:eNULL:@SECLEVEL=0", // no authentication, or no cipher
        "-tls1_2 -cipher DHE-RSA-AES128-GCM-SHA256",
    ] {
        let reply = talk(bad);
        assert!(
            reply.contains("alert") && !reply.contains("OK"),
            "{bad}: {reply}"
        );
    }
    // Without -quiet, openssl takes a line that begins with R as an order to renegotiate (RFC 5746); compression is
    // CRIME.
    let mut asks = chatd.client("openssl s_client -tls1_2 -connect $HOST:$PORT 2>&1");
    asks.inbox.find(|line| line == "Compression: NONE");
    asks.send("R\n");
    asks.inbox.find(|line| line.contains("no renegotiation"));
    drop(asks);
    assert!(talk("").ends_with("OK BYE"));
}

/// Checks the report of the scanner in Debian's `nmap`. nmap guesses the protocol from the port number, so its HTTP
/// scripts are forced with a `+`.
#[test]
fn nmap_finds_nothing_weak() {
    let chatd = Chatd::start();
    let scripts = "+ssl-enum-ciphers,+ssl-cert,+ssl-dh-params,+ssl-heartbleed,+ssl-poodle,+ssl-ccs-injection,\
        +http-security-headers,+http-methods,+http-trace,+http-cors";
    let typed = format!("nmap -Pn -n -p $PORT --script {scripts} $HOST");
    let ended = chatd.client(&typed).finish();
    let found = ended.lines().join("\n");
    for wanted in [
        "TLSv1.2:",
        "TLSv1.3:",
        "least strength: A",
        "Public Key type: ec",
        "X-Content-Type-Options: nosniff",
        "Content-Security-Policy: default-src 'none'",
        "Supported Methods: GET HEAD",
    ] {
        assert!(found.contains(wanted), "no {wanted}: {found}");
    }
    for bad in [
        "TLSv1.0",
        "TLSv1.1",
        "SSLv",
        "VULNERABLE",
        "warnings",
        "TRACE",
        "Access-Control",
    ] {
        assert!(!found.contains(bad), "{bad}: {found}");
    }
}

#[test]
fn a_file_passes_through_each_protocol_to_the_last_byte() {
    let chatd = Chatd::start();
    let folder = tempfile::tempdir().unwrap();
    let bytes: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
    fs::write(folder.path().join("a"), &bytes).unwrap();
    let within = |command: &str| {
        let command = format!("cd {} && {command}", folder.path().display());
        chatd.client(&command).finish()
    };
    let length = bytes.len();
    within("curl -sk -u ann: -T a https://$HOST:$PORT/rooms/lobby/files/").expect(&["OK UPLOAD …"]);
    within(&format!(
        "(printf 'NICK bob\\nUPLOAD b {length}\\n'; cat a; printf 'BYE\\n') | ncat --ssl $HOST $PORT"
    ))
    .expect(&["OK NICK bob #lobby <id>", "OK UPLOAD …", "OK BYE"]);
    let ended = within("curl -s http://$HOST:$PORT/rooms/lobby/files | cut -d' ' -f7");
    let numbers = ended.lines();
    assert_eq!(numbers.len(), 2);
    for number in numbers {
        for fetch in [
            format!("curl -s http://$HOST:$PORT/files/{number}"),
            format!("curl -sk https://$HOST:$PORT/files/{number}"),
            format!(
                "printf 'DOWNLOAD {number}\\nBYE\\n' | ncat --ssl $HOST $PORT | sed 1d | head -c {length}"
            ),
            format!(
                "printf 'DOWNLOAD {number}\\nBYE\\n' | nc -N $HOST $PORT | sed 1d | head -c {length}"
            ),
        ] {
            within(&format!("{fetch} | cmp - a && echo same")).expect(&["same"]);
        }
    }
    // One part of a file, and then the rest of it.
    within("curl -s -OJ http://$HOST:$PORT/files/$(curl -s http://$HOST:$PORT/rooms/lobby/files | head -1 | cut -d' ' -f7); ls")
        .expect(&["a"]);
}

#[test]
fn each_line_of_the_help_works_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().display();
    let secret = folder.path().join("password");
    fs::write(&secret, "sesame\n").unwrap();
    fs::write(folder.path().join("FILE"), "six by six").unwrap();
    let locked = ["--password-file", secret.to_str().unwrap()];
    for (flags, ask) in [
        (&[][..], "curl -s http://localhost:$PORT/help"),
        (&[], "curl -sk https://127.0.0.1:$PORT/help"),
        (&locked, "curl -s -u ann:sesame http://127.0.0.1:$PORT/help"),
    ] {
        let chatd = Chatd::with(flags);
        let help = chatd.client(ask).finish();
        let mut number = String::new();
        let mut count = 0;
        for line in help.lines().iter().filter(|line| line.contains("curl ")) {
            let (_, typed) = line.split_at(22);
            let typed = typed
                .replace("NICK:PASSWORD", "ann:sesame")
                .replace("NICK:", "ann:")
                .replace("make 2>&1", "echo made")
                .replace("WORDS", "done")
                .replace("-OJ", "-J -o fetched")
                .replace("NUMBER", &number)
                .replace("curl ", "curl -sf ");
            // A stream without end is ended by curl's `-m`.
            let is_endless = typed.contains("?follow");
            let typed = typed.replace(
                "curl ",
                if is_endless {
                    "curl -m 1 "
                } else {
                    "curl -m 30 "
                },
            );
            let ended = chatd.client(&format!("cd {at} && {typed}")).finish();
            let expected = if is_endless { 28 } else { 0 };
            assert_eq!(ended.code, Some(expected), "{typed}: {:?}", ended.lines());
            if let Some(file) = ended.lines().concat().strip_prefix("OK UPLOAD ") {
                number = file.split(' ').next().unwrap().to_owned();
            }
            count += 1;
        }
        assert_eq!(count, 9, "{:?}", help.lines());
        let fetched = folder.path().join("fetched");
        assert_eq!(fs::read_to_string(&fetched).unwrap(), "six by six");
        fs::remove_file(fetched).unwrap();
    }
}

#[test]
fn an_interrupted_upload_over_tls_differs_from_a_complete_one() {
    let chatd = Chatd::start();
    let mut watch = chatd.peer();
    watch.ask("JOIN #lobby", "OK JOIN #lobby <id>");
    let mut tls = chatd.client("openssl s_client -quiet -connect $HOST:$PORT 2>/dev/null");
    tls.send("NICK ann\nUPLOAD a *\nabc");
    watch.expect("FILE #lobby ann <id> * a");
    tls.signal(Signal::KILL);
    watch.expect("REMOVE #lobby ann <id>");
}

#[test]
fn a_hangup_signal_reloads_the_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let make = |name: &str| {
        let path = folder.path().display();
        let made = Program::start(
            &format!(
                "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN={name} \
                 -keyout {path}/key -out {path}/cert -days 2 2>/dev/null"
            ),
            SocketAddr::from(([127, 0, 0, 1], 0)),
        );
        assert_eq!(made.finish().code, Some(0));
    };
    let path = |name: &str| folder.path().join(name).display().to_string();
    make("one");
    let chatd = Chatd::with(&["--cert", &path("cert"), "--key", &path("key")]);
    let subject = || {
        let ended = chatd
            .client(
                "openssl s_client -connect $HOST:$PORT </dev/null 2>/dev/null | grep -a ^subject",
            )
            .finish();
        ended.lines().concat()
    };
    assert_eq!(subject(), "subject=CN = one");
    // An unusable certificate changes nothing.
    fs::write(folder.path().join("cert"), "no certificate").unwrap();
    chatd.signal(Signal::HUP);
    assert_eq!(subject(), "subject=CN = one");
    make("two");
    chatd.signal(Signal::HUP);
    let end = std::time::Instant::now() + crate::support::inbox::DEADLINE;
    while subject() != "subject=CN = two" {
        assert!(std::time::Instant::now() < end, "still {}", subject());
    }
}

#[test]
fn the_server_s_own_certificate_survives_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().display().to_string();
    let fingerprint = || {
        let chatd = Chatd::with(&["--data", &data]);
        let ended = chatd
            .client("openssl s_client -connect $HOST:$PORT </dev/null 2>/dev/null | openssl x509 -fingerprint -sha256 -noout")
            .finish();
        ended.lines().concat()
    };
    let first = fingerprint();
    assert!(first.contains("ingerprint="), "{first}");
    assert_eq!(fingerprint(), first);
    use std::os::unix::fs::PermissionsExt;
    let key = fs::metadata(folder.path().join("tls-key.pem")).unwrap();
    assert_eq!(key.permissions().mode() & 0o777, 0o600);
}

#[test]
fn chatc_remembers_a_server_and_refuses_another_in_its_place() {
    let chatd = Chatd::start();
    let state = tempfile::tempdir().unwrap();
    let chatc = env!("CARGO_BIN_EXE_chatc");
    let typed = |port: u16| {
        let state = state.path().display();
        format!("echo hello | XDG_STATE_HOME={state} {chatc} --nick joe tls://127.0.0.1:{port}")
    };
    let mut alice = chatd.member("alice");
    for _ in 0..2 {
        assert_eq!(
            chatd.client(&typed(chatd.address.port())).finish().code,
            Some(0)
        );
        alice.expect("MSG #lobby joe hello");
    }
    let known = state.path().join("chatc/known_hosts");
    let lines = fs::read_to_string(&known).unwrap();
    assert_eq!(lines.lines().count(), 1, "{lines}");
    // A server at the same address with another certificate.
    let zero = lines.rsplit_once(' ').unwrap().0;
    fs::write(&known, format!("{zero} 00:11\n")).unwrap();
    let ended = chatd.client(&typed(chatd.address.port())).finish();
    assert_ne!(ended.code, Some(0));
    assert!(ended.errors.contains("CERTIFICATE"), "{}", ended.errors);
    alice.ask("PING", "OK PING");
}

#[test]
fn chatc_remembers_each_server_of_a_list() {
    let (one, two) = (Chatd::start(), Chatd::start());
    let (first, second) = (one.address.to_string(), two.address.to_string());
    let state = tempfile::tempdir().unwrap();
    let chatc = env!("CARGO_BIN_EXE_chatc");
    let typed = format!(
        "XDG_STATE_HOME={} {chatc} rooms --host tls://{first},{second}",
        state.path().display()
    );
    let known = state.path().join("chatc/known_hosts");
    // Returns the address and certificate of each known server.
    let lines = || -> Vec<(String, String)> {
        let lines = fs::read_to_string(&known).unwrap();
        let lines = lines.lines().filter_map(|line| line.split_once(' '));
        lines.map(|(at, key)| (at.into(), key.into())).collect()
    };
    assert_eq!(two.client(&typed).finish().code, Some(0));
    let known_first = lines();
    assert!(
        matches!(&known_first[..], [(at, _)] if *at == first),
        "{known_first:?}"
    );
    drop(one);
    for _ in 0..2 {
        assert_eq!(two.client(&typed).finish().code, Some(0));
    }
    let all = lines();
    assert!(
        matches!(&all[..], [a, (at, key)] if *a == known_first[0] && *at == second && *key != a.1),
        "{all:?}"
    );
    fs::write(&known, format!("{second} 00:11\n")).unwrap();
    let ended = two.client(&typed).finish();
    assert_ne!(ended.code, Some(0));
    assert!(
        ended
            .errors
            .contains(&format!("THE CERTIFICATE OF tls://{second}")),
        "{}",
        ended.errors
    );
}

#[test]
fn the_client_library_uses_tls() {
    let chatd = Chatd::start();
    let state = tempfile::tempdir().unwrap();
    // Tested with the program, since the environment belongs to a process.
    let chatc = env!("CARGO_BIN_EXE_chatc");
    let ended = chatd
        .client(&format!(
            "printf 'HELLO\\nBYE\\n' | XDG_STATE_HOME={} {chatc} --raw tls://$HOST:$PORT",
            state.path().display()
        ))
        .finish();
    assert_eq!(
        ended
            .lines()
            .first()
            .map(|line| line.starts_with("OK HELLO 1 ")),
        Some(true)
    );
    let plain = smol::block_on(Client::connect(&format!("tcp://{}", chatd.address)));
    assert!(plain.is_ok());
}

/// A conversation with Debian's python3-websockets, at the URL that is passed to it.
const WEBSOCKETS: &str = r#"
import asyncio, sys, ssl, websockets
context = None
if sys.argv[1].startswith("wss"):
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
async def talk():
    async with websockets.connect(sys.argv[1], ssl=context) as chat:
        await chat.send("NICK web")
        print((await chat.recv()).split(" ")[1:4])
        await chat.send("MSG héllo")
        print((await chat.recv()).split(" ")[1])
        data = bytes(range(256)) * 2000
        await chat.send("UPLOAD every %d" % len(data))
        await chat.send([data[:7], data[7:100000], data[100000:]])
        number = (await chat.recv()).split(" ")[2]
        await chat.send("DOWNLOAD " + number)
        length = int((await chat.recv()).split(" ")[2])
        got = b""
        while len(got) < length:
            got += await chat.recv()
        print(got == data, (await chat.recv()).split(" ")[1])
        pong = await chat.ping()
        await pong
        await chat.send("BYE")
        print(await chat.recv())
        try:
            await chat.recv()
        except websockets.ConnectionClosed as end:
            print("closed", end.code)
asyncio.run(talk())
"#;

/// The output of [`WEBSOCKETS`].
const TALKED: [&str; 5] = [
    "['NICK', 'web', '#lobby']",
    "MSG",
    "True DOWNLOAD",
    "OK BYE",
    "closed 1000",
];

#[test]
fn a_websocket_client_talks_with_and_without_tls() {
    let chatd = Chatd::start();
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("talk.py");
    fs::write(&script, WEBSOCKETS).unwrap();
    for scheme in ["ws", "wss"] {
        let typed = format!(
            "/usr/bin/python3 {} {scheme}://$HOST:$PORT/ws",
            script.display()
        );
        chatd.client(&typed).finish().expect(&TALKED);
    }
}

/// The settings that nginx's documentation recommends for WebSocket, and no buffering.
const PASS_ON: &str = "proxy_http_version 1.1; proxy_set_header Host $http_host;
      proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $connection_upgrade;
      proxy_buffering off; proxy_request_buffering off;";

/// Starts nginx in front of `server`, with the lines `location` besides `proxy_pass`, on a port that was free just
/// now.
fn nginx(folder: &Path, server: SocketAddr, location: &str) -> (Program, u16) {
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let at = folder.display();
    let config = format!(
        "daemon off; master_process off; pid {at}/pid; error_log {at}/error;
events {{}}
http {{
  access_log off; client_body_temp_path {at}/b; proxy_temp_path {at}/p; fastcgi_temp_path {at}/f;
  uwsgi_temp_path {at}/u; scgi_temp_path {at}/s; client_max_body_size 0;
  map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://{server}; {location}
    }}
  }}
}}"
    );
    let path = folder.join("nginx.conf");
    fs::write(&path, config).unwrap();
    let program = Program::start(
        &format!("exec nginx -e {at}/error -p {at} -c {}", path.display()),
        server,
    );
    let end = std::time::Instant::now() + crate::support::inbox::DEADLINE;
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        let errors = fs::read_to_string(folder.join("error")).unwrap_or_default();
        assert!(
            std::time::Instant::now() < end,
            "nginx does not listen: {errors}"
        );
        std::thread::yield_now();
    }
    (program, port)
}

#[test]
fn the_server_works_behind_a_proxy() {
    let chatd = Chatd::start();
    let folder = tempfile::tempdir().unwrap();
    let (_nginx, port) = nginx(folder.path(), chatd.address, PASS_ON);
    let script = folder.path().join("talk.py");
    fs::write(&script, WEBSOCKETS).unwrap();
    let mut events = chatd.client(&format!(
        "curl -sN -H 'Accept: text/event-stream' http://127.0.0.1:{port}/rooms/lobby"
    ));
    events.inbox.find(|line| line == ": hello");
    let typed = format!(
        "/usr/bin/python3 {} ws://127.0.0.1:{port}/ws",
        script.display()
    );
    chatd.client(&typed).finish().expect(&TALKED);
    events
        .inbox
        .find(|line| line.ends_with("MSG #lobby web héllo"));
    let origin = format!("-H 'Origin: http://127.0.0.1:{port}'");
    let typed = format!("curl -s {origin} -u ann: -d hello http://127.0.0.1:{port}/rooms/lobby");
    chatd
        .client(&typed)
        .finish()
        .expect(&["OK MSG <id> <time>"]);
    events
        .inbox
        .find(|line| line.ends_with("MSG #lobby ann hello"));
    let typed = format!(
        "head -c 1000000 /dev/zero | curl -s -u ann: -T - http://127.0.0.1:{port}/rooms/lobby/files/zero"
    );
    chatd.client(&typed).finish().expect(&["OK UPLOAD …"]);
}

#[test]
fn streams_flow_through_nginx_with_its_default_settings() {
    let chatd = Chatd::start();
    let folder = tempfile::tempdir().unwrap();
    let (_nginx, port) = nginx(folder.path(), chatd.address, "");
    let room = format!("http://127.0.0.1:{port}/rooms/lobby");
    let mut ann = chatd.member("ann");
    ann.ask("MSG first", "OK MSG <id> <time>");
    let mut lines = chatd.client(&format!("curl -sN '{room}?follow&after=0'"));
    let mut events = chatd.client(&format!(
        "curl -sN -H 'Accept: text/event-stream' '{room}?after=0'"
    ));
    let mut objects = chatd.client(&format!(
        "curl -sN -H 'Accept: application/json' '{room}?follow&after=0'"
    ));
    for stream in [&mut lines, &mut events, &mut objects] {
        stream.inbox.find(|line| line.contains("first"));
    }
    ann.send("UPLOAD live *\nhello");
    let file = lines.inbox.find(|line| line.ends_with(" * live"));
    let number = file.split(' ').nth(6).unwrap();
    let mut live = chatd.client(&format!("curl -sN http://127.0.0.1:{port}/files/{number}"));
    for stream in [&mut events, &mut objects] {
        stream.inbox.find(|line| line.contains("live"));
    }
    // The upload has not ended, so everything was forwarded at once.
    assert_eq!(live.inbox.bytes(5), b"hello");
}
