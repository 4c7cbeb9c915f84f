//! The public keys with which users log in over ssh, and the secrets that represent them.
//!
//! `sshd` checks that a client has the private key. `chatc --ssh`, which it then starts, proves this to `chatd` with
//! [`login_token`]: a password that both programs compute from a shared secret.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use ring::hmac;
use sha2::{Digest as _, Sha256};

use super::{Digest, Nick};

/// The prefix of every token. People and secret scanners recognize tokens by it.
pub const TOKEN_PREFIX: &str = "pct_";

/// The types of keys that are accepted: those that OpenSSH makes. A certificate does not stand for one key, so
/// certificates are not accepted.
const KINDS: [&str; 7] = [
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "ssh-rsa",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
];

/// The maximum length of a key in bytes. An RSA key of 8192 bits takes half of that.
const KEY_BYTES_MAX: usize = 2048;

/// A public key of OpenSSH.
///
/// `Display` writes it as in `authorized_keys`, without options and comment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    kind: &'static str,
    key: Vec<u8>,
}

impl PublicKey {
    /// Parses a line of a `.pub` file: the type, the key in base64, and perhaps a comment, which is dropped.
    pub fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_ascii_whitespace();
        let (kind, key) = (words.next()?, words.next()?);
        let kind = KINDS.into_iter().find(|known| *known == kind)?;
        let key = STANDARD.decode(key).ok()?;
        // The key begins with its type, as a string of RFC 4251.
        let length = u32::try_from(kind.len()).ok()?.to_be_bytes();
        let rest = key.strip_prefix(&length)?.strip_prefix(kind.as_bytes())?;
        (!rest.is_empty() && key.len() <= KEY_BYTES_MAX).then_some(Self { kind, key })
    }

    /// Returns the fingerprint as `ssh-keygen -l` shows it: `SHA256:` and 43 characters.
    pub fn fingerprint(&self) -> String {
        let digest = Sha256::digest(&self.key);
        format!("SHA256:{}", STANDARD_NO_PAD.encode(digest))
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, STANDARD.encode(&self.key))
    }
}

/// The word that replaces the nick in the command of `chatc --ssh` when several nicks have added the key. Then the
/// client must name one of them.
pub const SEVERAL_NICKS: &str = "*";

/// The beginning of the last field in the header that `chatc --ssh` sends to `chatd`. It is the type of the field,
/// which the PROXY protocol reserves for applications, and the field's length. The value of the field is [`seal`].
pub const SEAL_FIELD: [u8; 3] = [0xe0, 0, 32];

/// Returns the value of the last field of a header. It proves that the program that wrote the header knows the shared
/// secret. `header` contains all bytes before the value.
pub fn seal(secret: &str, header: &[u8]) -> [u8; 32] {
    let tag = hmac::sign(&key_of(secret), &[ABOUT_A_HEADER, header].concat());
    tag.as_ref().try_into().expect("a SHA-256 has 32 bytes")
}

/// Returns whether a header of the PROXY protocol ends with its seal.
pub fn is_sealed(secret: &str, header: &[u8]) -> bool {
    header
        .split_last_chunk::<32>()
        .is_some_and(|(before, tag)| {
            let sealed = [ABOUT_A_HEADER, before].concat();
            before.ends_with(&SEAL_FIELD) && hmac::verify(&key_of(secret), &sealed, tag).is_ok()
        })
}

/// The beginning of the text that is signed for a header. It differs from the text that is signed for a login, so
/// that neither signature can be used for the other.
const ABOUT_A_HEADER: &[u8] = b"plainchat ssh header\n";

fn key_of(secret: &str) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes())
}

/// Returns the token with which `chatc --ssh` logs in as `nick` for a client with the key `fingerprint`.
pub fn login_token(secret: &str, nick: &Nick, fingerprint: &str) -> String {
    let about = format!("plainchat ssh login\n{}\n{fingerprint}", nick.casefolded());
    let tag = hmac::sign(&key_of(secret), about.as_bytes());
    let bytes = tag.as_ref().try_into().expect("a SHA-256 has 32 bytes");
    format!("{TOKEN_PREFIX}{}", Digest(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl";

    #[test]
    fn a_key_is_read_with_and_without_its_comment() {
        let key = PublicKey::parse(KEY).unwrap();
        assert_eq!(key.to_string(), KEY);
        // As `ssh-keygen -l` prints it; GitHub publishes this key with this fingerprint.
        let fingerprint = "SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU";
        assert_eq!(key.fingerprint(), fingerprint);
        assert_eq!(
            PublicKey::parse(&format!("  {KEY}  ann@laptop home\n")),
            Some(key)
        );
    }

    #[test]
    fn a_line_that_is_not_a_key_is_refused() {
        let (kind, blob) = KEY.split_once(' ').unwrap();
        let long = STANDARD.encode([b"\0\0\0\x07ssh-rsa".as_slice(), &[1; 4096]].concat());
        for wrong in [
            "",
            kind,
            blob,
            &format!("ssh-rsa {blob}"),
            &format!("ssh-dss {blob}"),
            &format!("command=\"sh\" {KEY}"),
            &format!("{kind} {blob}="),
            &format!("{kind} {}", &blob[..61]),
            &format!("{kind} AAAAC3NzaC1lZDI1NTE5"),
            &format!("ssh-ed25519-cert-v01@openssh.com {blob}"),
            &format!("ssh-rsa {long}"),
        ] {
            assert_eq!(PublicKey::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn only_the_secret_seals_a_header_and_nothing_in_it_can_be_changed() {
        let mut header = [b"a header".as_slice(), &SEAL_FIELD].concat();
        header.extend(seal("secret", &header));
        assert!(is_sealed("secret", &header));
        assert!(!is_sealed("other", &header));
        for at in 0..header.len() {
            let mut changed = header.clone();
            changed[at] ^= 1;
            assert!(!is_sealed("secret", &changed), "{at}");
        }
        for count in 0..header.len() {
            assert!(!is_sealed("secret", &header[..count]), "{count}");
        }
    }

    #[test]
    fn each_nick_and_key_has_its_own_token() {
        let nick = |text| Nick::parse(text).unwrap();
        let token = login_token("secret", &nick("Ann"), "SHA256:a");
        assert_eq!(token, login_token("secret", &nick("ann"), "SHA256:a"));
        assert_eq!(token.len(), TOKEN_PREFIX.len() + 64);
        for other in [
            login_token("secret", &nick("bob"), "SHA256:a"),
            login_token("secret", &nick("ann"), "SHA256:b"),
            login_token("other", &nick("ann"), "SHA256:a"),
        ] {
            assert_ne!(token, other);
        }
    }
}
