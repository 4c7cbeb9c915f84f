//! Encrypts a notification for one browser (RFC 8291, with the encoding of RFC 8188), and signs the request that carries
//! it (RFC 8292). The cryptography is that of ring.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::agreement::{ECDH_P256, EphemeralPrivateKey, UnparsedPublicKey, agree_ephemeral};
use ring::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::json;

use crate::protocol::Time;

/// The size of a record in the header of an encrypted body. A notification fits into one record.
const RECORD_BYTES: u32 = 4096;

/// How long a signed request is valid. Push services accept a day at most.
const SIGNED_FOR_S: u64 = 12 * 3600;

/// Encrypts a text for the browser with the public key `key` and the secret `secret`. Returns `None` if the key is
/// not a point of P-256.
pub fn encrypt(key: &[u8], secret: &[u8; 16], text: &[u8]) -> Option<Vec<u8>> {
    let random = SystemRandom::new();
    let own = EphemeralPrivateKey::generate(&ECDH_P256, &random).ok()?;
    let public = own.compute_public_key().ok()?;
    let public = public.as_ref();
    let mut salt = [0; 16];
    random.fill(&mut salt).ok()?;
    let theirs = UnparsedPublicKey::new(&ECDH_P256, key);
    let derived = agree_ephemeral(own, &theirs, |shared| {
        derive(shared, secret, &salt, key, public)
    });
    let (content_key, nonce) = derived.ok()??;
    let mut body = text.to_vec();
    body.push(2); // the delimiter of the last record
    let content_key = LessSafeKey::new(content_key);
    content_key
        .seal_in_place_append_tag(nonce, Aad::empty(), &mut body)
        .ok()?;
    let id_bytes = u8::try_from(public.len()).ok()?;
    let header = [&salt[..], &RECORD_BYTES.to_be_bytes(), &[id_bytes], public];
    Some([&header.concat()[..], &body].concat())
}

/// Derives the key and the nonce of a message (RFC 8291, 3.4).
fn derive(
    shared: &[u8],
    secret: &[u8],
    salt: &[u8],
    theirs: &[u8],
    own: &[u8],
) -> Option<(UnboundKey, Nonce)> {
    let first = Salt::new(HKDF_SHA256, secret).extract(shared);
    let input: [u8; 32] = expand(&first, &[b"WebPush: info\0", theirs, own])?;
    let second = Salt::new(HKDF_SHA256, salt).extract(&input);
    let content_key: [u8; 16] = expand(&second, &[b"Content-Encoding: aes128gcm\0"])?;
    let nonce = expand(&second, &[b"Content-Encoding: nonce\0"])?;
    let content_key = UnboundKey::new(&AES_128_GCM, &content_key).ok()?;
    Some((content_key, Nonce::assume_unique_for_key(nonce)))
}

fn expand<const N: usize>(from: &Prk, info: &[&[u8]]) -> Option<[u8; N]> {
    let mut derived = [0; N];
    from.expand(info, Length(N)).ok()?.fill(&mut derived).ok()?;
    Some(derived)
}

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

/// The key with which push services recognize this server.
pub struct ServerKey {
    pair: EcdsaKeyPair,
    contact: String,
}

impl fmt::Debug for ServerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServerKey")
    }
}

impl ServerKey {
    /// Creates a new key as it is stored (PKCS #8). Returns `None` without random bits.
    pub fn create() -> Option<Vec<u8>> {
        let made =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
        Some(made.ok()?.as_ref().to_vec())
    }

    /// Reads a stored key. `contact` is the operator's address.
    pub fn read(stored: &[u8], contact: String) -> Option<Self> {
        let random = SystemRandom::new();
        let pair =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, stored, &random).ok()?;
        Some(Self { pair, contact })
    }

    /// Returns the public key in base64url, as browsers expect it.
    pub fn public(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.pair.public_key())
    }

    /// Returns the value of `Authorization` for a request to the push service `origin`, such as
    /// `https://push.example`.
    pub fn authorization(&self, origin: &str, now: Time) -> Option<String> {
        let until = now.0 / 1000 + SIGNED_FOR_S;
        let claims = json!({"aud": origin, "exp": until, "sub": self.contact}).to_string();
        let head = URL_SAFE_NO_PAD.encode(r#"{"typ":"JWT","alg":"ES256"}"#);
        let signed = format!("{head}.{}", URL_SAFE_NO_PAD.encode(claims));
        let signature = self
            .pair
            .sign(&SystemRandom::new(), signed.as_bytes())
            .ok()?;
        let signature = URL_SAFE_NO_PAD.encode(signature);
        Some(format!("vapid t={signed}.{signature},k={}", self.public()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_its_browser_can_read_a_message_and_no_two_are_alike() {
        let random = SystemRandom::new();
        let theirs = EphemeralPrivateKey::generate(&ECDH_P256, &random).expect("random bits");
        let key = theirs.compute_public_key().expect("a key");
        let key = key.as_ref();
        let secret = [7; 16];
        let body = encrypt(key, &secret, b"hello").expect("it is a key");
        assert_eq!(body.len(), 16 + 4 + 1 + 65 + "hello".len() + 1 + 16);
        assert_ne!(encrypt(key, &secret, b"hello"), Some(body.clone()));
        let (salt, public, sealed) = (&body[..16], &body[21..86], &body[86..]);
        let own = UnparsedPublicKey::new(&ECDH_P256, public);
        let open = |secret: &[u8], shared: &[u8]| {
            let (content_key, nonce) = derive(shared, secret, salt, key, public)?;
            let mut sealed = sealed.to_vec();
            let content_key = LessSafeKey::new(content_key);
            let opened = content_key.open_in_place(nonce, Aad::empty(), &mut sealed);
            opened.ok().map(|text| text.to_vec())
        };
        let opened = agree_ephemeral(theirs, &own, |shared| {
            (open(&secret, shared), open(&[8; 16], shared))
        });
        assert_eq!(opened, Ok((Some(b"hello\x02".to_vec()), None)));
        assert_eq!(
            encrypt(&[4; 65], &secret, b"hello"),
            None,
            "not on the curve"
        );
        assert_eq!(encrypt(&[], &secret, b"hello"), None);
    }

    #[test]
    fn a_stored_key_is_the_same_key() {
        let stored = ServerKey::create().expect("random bits");
        let key = || ServerKey::read(&stored, "mailto:root@example.org".into()).expect("a key");
        assert_eq!(key().public(), key().public());
        assert_eq!(key().public().len(), 87);
        assert!(ServerKey::read(b"x", String::new()).is_none());
    }
}
