//! chatd.md 3: chatc sends no password to a server that claims to have no TLS any more.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::mpsc;
use std::thread;

use super::target::Target;
use crate::support::script::{Ended, chatc, run};

/// Runs a man in the middle that ends each TLS handshake and answers everything else; returns what it received in
/// plain text.
fn in_the_middle(listener: TcpListener) -> mpsc::Receiver<String> {
    let (tell, received) = mpsc::channel();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let tell = tell.clone();
            thread::spawn(move || serve(stream, &tell));
        }
    });
    received
}

fn serve(mut stream: TcpStream, tell: &mpsc::Sender<String>) {
    let mut first = [0];
    if !matches!(stream.peek(&mut first), Ok(1)) || first[0] == 0x16 {
        // All of it is read, so that the connection closes as with a server without TLS.
        let mut hello = [0; 16 << 10];
        let _ = stream.read(&mut hello);
        return;
    }
    let Ok(mut writer) = stream.try_clone() else {
        return;
    };
    for line in BufReader::new(stream).lines().map_while(Result::ok) {
        let verb = line.split(' ').next().unwrap_or_default().to_owned();
        let _ = tell.send(line);
        let reply = match &*verb {
            "MSG" | "TELL" => format!("OK {verb} 1 2026-11-27T12:00:00.000Z\n"),
            "NICK" => "OK NICK ann #lobby 0\n".to_owned(),
            "JOIN" => "OK JOIN #lobby 0\n".to_owned(),
            _ => format!("OK {verb}\n"),
        };
        if writer.write_all(reply.as_bytes()).is_err() {
            return;
        }
    }
}

/// Creates a certificate authority that a client trusts through `SSL_CERT_FILE`, and its certificate for 0.0.0.0, in
/// `folder`.
fn certificate(folder: &Path) {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    let authority_key = KeyPair::generate().expect("a key");
    let mut authority = CertificateParams::new(Vec::new()).expect("no names");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root = authority.self_signed(&authority_key).expect("signed");
    let issuer = Issuer::new(authority, authority_key);
    let key = KeyPair::generate().expect("a key");
    let leaf = CertificateParams::new(vec!["0.0.0.0".to_owned()]).expect("an address");
    let leaf = leaf.signed_by(&key, &issuer).expect("signed");
    fs::write(folder.join("root.pem"), root.pem()).expect("written");
    fs::write(folder.join("cert.pem"), leaf.pem()).expect("written");
    fs::write(folder.join("key.pem"), key.serialize_pem()).expect("written");
}

/// Regression test. With a certificate that the system trusts, the client once remembered nothing; the next time it
/// sent the password in plain text without a warning.
#[test]
fn chatc_sends_no_password_when_tls_is_stripped() {
    for is_vouched_for in [true, false] {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name).display().to_string();
        certificate(folder.path());
        let (cert, key) = (path("cert.pem"), path("key.pem"));
        let flags = ["--cert", &cert, "--key", &key];
        let target = Target::start(if is_vouched_for { &flags } else { &[] });
        drop(target.owner("ann"));
        // chatc does not use TLS with 127.0.0.1; 0.0.0.0 is this machine too, which it does not know.
        let address = target.chatd.address;
        let host = format!("0.0.0.0:{}", address.port());
        fs::write(path("password"), "my secret\n").expect("written");
        let send = |text: &str| -> Ended {
            let password = path("password");
            let mut command = chatc(&[
                "send",
                "--host",
                &host,
                "--nick",
                "ann",
                "--password-file",
                &password,
            ]);
            command.args(["#lobby", text]).env("HOME", folder.path());
            if is_vouched_for {
                command.env("SSL_CERT_FILE", path("root.pem"));
            }
            run(&mut command, b"")
        };
        let first = send("hello");
        assert_eq!(first.code, Some(0), "{first:?}");
        drop(target);
        let received = in_the_middle(TcpListener::bind(address).expect("the port is free"));
        let second = send("secret message");
        let received: Vec<String> = received.try_iter().collect();
        println!("vouched for: {is_vouched_for}: {received:?}, {second:?}");
        let leaked = received.iter().any(|line| line.contains("secret"));
        assert!(!leaked, "vouched for: {is_vouched_for}: {received:?}");
        assert!(second.code != Some(0), "{second:?}");
    }
}
