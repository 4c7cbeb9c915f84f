//! Hashes passwords with argon2id. Passwords are never printed.

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};

use crate::model::{Secret, StorageError};

/// Returns argon2id with the parameters of OWASP's cheat sheet, which are also the crate's defaults: 19 MiB, two
/// passes, one lane. A hash takes about 20 ms. With more memory for each hash, an attacker could use up the server's
/// memory more easily.
fn argon2id() -> Argon2<'static> {
    Argon2::default()
}

/// A hash of random bits, with the cost parameters of [`argon2id`]. The password for an unregistered nick is checked
/// against it, so the time of the check does not reveal which nicks are registered. No password is known to match it.
pub(super) const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$UmeJ+Ut4hDRl5uFNVbQiTg$G0yEEtgkK6r/K76JPwjaHFp44T4om6iNsAtfSqwkhX4";

/// Returns the hash of a password as a PHC string. Each hash has a salt of its own.
///
/// # Panics
/// When the system has no random bits.
pub(super) fn hash(secret: &Secret) -> String {
    let hash = argon2id().hash_password(secret.expose().as_bytes());
    hash.expect("a line's password is short enough, and the system has random bits")
        .to_string()
}

/// Returns whether `known` is the hash of `secret`.
pub(super) fn is_right(known: &str, secret: &Secret) -> bool {
    let Ok(known) = PasswordHash::new(known) else {
        return false;
    };
    let verified = argon2id().verify_password(secret.expose().as_bytes(), &known);
    verified.is_ok()
}

/// Returns 26 random characters of `[a-z0-9]`, like the tokens of Mattermost's hooks. They have 134 random bits.
pub(super) fn random_path() -> Result<String, StorageError> {
    const ALPHABET: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    let mut path = String::new();
    while path.len() < 26 {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).map_err(|e| StorageError::Io(e.into()))?;
        // Only values below 252 are used, so that each of the 36 characters is equally likely.
        let drawn = bytes.iter().filter(|byte| **byte < 252);
        let drawn = drawn.filter_map(|byte| ALPHABET.get(usize::from(*byte) % 36));
        path.extend(drawn.take(26 - path.len()).map(|byte| char::from(*byte)));
    }
    Ok(path)
}

/// Returns 256 random bits as a word of letters and digits.
pub(super) fn random_word() -> Result<String, StorageError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|e| StorageError::Io(e.into()))?;
    Ok(crate::protocol::Digest(bytes).to_string())
}

/// Checks that a hash is valid, so that a password is really compared with it. An invalid hash would be rejected at
/// once, so the response time would show that the nick is not registered.
#[cfg(test)]
pub(super) fn check_is_valid(hash: &str) {
    let hash = PasswordHash::new(hash).expect("a PHC string");
    let wrong = argon2id().verify_password(b"a guess", &hash);
    let expected = argon2::password_hash::Error::PasswordInvalid;
    assert_eq!(wrong, Err(expected), "it was computed and compared");
}
