//! Keys by which others are let in to the service: random, shown once, and kept as a digest only.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::TryRngCore as _;
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};

/// By which people, and programs that look for leaked secrets, know one.
const PREFIX: &str = "kai_";

const RANDOM_BYTES: usize = 32;

/// Longer than any key is: what is longer is not hashed.
const LONGEST: usize = 128;

/// What a store keeps of a key.
pub type KeyDigest = [u8; 32];

/// A new key.
#[derive(Debug)]
pub struct AccessKey(SecretString);

impl AccessKey {
    /// 256 random bits.
    ///
    /// # Errors
    /// Where the system has none.
    pub fn generate() -> Result<Self, rand::rand_core::OsError> {
        let text = random_text(RANDOM_BYTES)?;
        Ok(Self(format!("{PREFIX}{text}").into()))
    }

    /// The text, to be shown to the one who asked for it.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// What is kept.
    #[must_use]
    pub fn digest(&self) -> KeyDigest {
        Sha256::digest(self.expose()).into()
    }
}

/// The digest of what somebody gave as a key; none where it cannot be one.
#[must_use]
pub fn digest(given: &str) -> Option<KeyDigest> {
    let given = given.trim();
    (given.starts_with(PREFIX) && given.len() <= LONGEST).then(|| Sha256::digest(given).into())
}

/// An id that nobody guesses, and that tells nothing of how many others there are.
///
/// # Errors
/// Where the system has no random bits.
pub fn random_id() -> Result<String, rand::rand_core::OsError> {
    let mut bytes = [0; 8];
    rand::rngs::OsRng.try_fill_bytes(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// So many random bytes in base64url.
pub(crate) fn random_text(bytes: usize) -> Result<String, rand::rand_core::OsError> {
    let mut random = vec![0; bytes];
    rand::rngs::OsRng.try_fill_bytes(&mut random)?;
    Ok(URL_SAFE_NO_PAD.encode(random))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_known_by_its_digest_and_shown_by_nothing_else() {
        let (key, other) = (AccessKey::generate().unwrap(), AccessKey::generate().unwrap());
        assert_eq!(digest(&format!(" {}\n", key.expose())), Some(key.digest()));
        assert_ne!(key.digest(), other.digest());
        assert!(!format!("{key:?}").contains(key.expose()));
    }

    #[test]
    fn what_cannot_be_a_key_has_no_digest() {
        assert_eq!(digest(""), None);
        assert_eq!(digest("Bearer kai_x"), None);
        assert_eq!(digest(&format!("kai_{}", "x".repeat(1_000_000))), None);
    }
}
