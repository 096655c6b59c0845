//! API tokens at rest: encrypted with XChaCha20-Poly1305, and bound to the source that they belong to.

use chacha20poly1305::aead::{Aead as _, Payload};
use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305, XNonce};
use rand::TryRngCore as _;
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret as _, SecretString};

use crate::master_key::{KEY_VARIABLE, KeyError, KeyId, MasterKey};
use crate::source_file::Registration;

/// First byte of the sealed form; another layout gets another one.
const VERSION: u8 = 1;

const NONCE_BYTES: usize = 24;

/// Why a sealed token does not open. Holds nothing of it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SealedTokenError {
    /// It was sealed with another key.
    #[error(
        "the API token of source {source_id} is sealed with another key than that of {place}: give the right one in {KEY_VARIABLE} or in the key file, or store the token anew with `kai sources rotate-token {source_id}`"
    )]
    OtherKey {
        /// Which source's.
        source_id: String,
        /// Where the key came from.
        place: String,
    },
    /// Its bytes, or the source that it belongs to, are not what was stored.
    #[error(
        "the API token of source {source_id} is damaged, or its source was changed in the store: add the source again with `kai sources add`"
    )]
    Damaged {
        /// Which source's.
        source_id: String,
    },
}

/// An API token that only its master key opens, and only for its own source: version, id of the key, nonce, and the
/// encrypted token with its tag.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedToken(Vec<u8>);

impl std::fmt::Debug for SealedToken {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("SealedToken")
    }
}

impl SealedToken {
    /// Seals the token of a registration.
    ///
    /// # Errors
    /// [`KeyError::Random`].
    pub fn seal(key: &MasterKey, registration: &Registration) -> Result<Self, KeyError> {
        let mut nonce = XNonce::default();
        rand::rngs::OsRng.try_fill_bytes(&mut nonce).map_err(KeyError::Random)?;
        let mut sealed = vec![VERSION];
        sealed.extend(key.id());
        sealed.extend(nonce);
        let binding = binding(key.id(), registration);
        let payload =
            Payload { msg: registration.source.api_token.expose_secret().as_bytes(), aad: &binding };
        // Refuses nothing but messages of 256 GB.
        let encrypted =
            XChaCha20Poly1305::new(key.bytes().into()).encrypt(&nonce, payload).unwrap_or_default();
        sealed.extend(encrypted);
        Ok(Self(sealed))
    }

    /// The token, for the same source that it was sealed for.
    ///
    /// # Errors
    /// See [`SealedTokenError`].
    pub fn open(
        &self,
        key: &MasterKey,
        registration: &Registration,
    ) -> Result<SecretString, SealedTokenError> {
        let source_id = registration.id();
        let Some((key_id, nonce, encrypted)) = self.parts() else {
            return Err(SealedTokenError::Damaged { source_id });
        };
        if key_id != key.id() {
            return Err(SealedTokenError::OtherKey { source_id, place: key.place().to_owned() });
        }
        let payload = Payload { msg: encrypted, aad: &binding(key_id, registration) };
        let opened = XChaCha20Poly1305::new(key.bytes().into()).decrypt(&nonce.into(), payload);
        let opened = opened.map(Zeroizing::new);
        match opened.as_deref().map(|bytes| std::str::from_utf8(bytes)) {
            Ok(Ok(token)) => Ok(token.into()),
            _ => Err(SealedTokenError::Damaged { source_id }),
        }
    }

    /// As a store keeps it.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    fn parts(&self) -> Option<(KeyId, [u8; NONCE_BYTES], &[u8])> {
        let rest = self.0.strip_prefix(&[VERSION])?;
        let (key_id, rest) = rest.split_first_chunk()?;
        let (nonce, encrypted) = rest.split_first_chunk()?;
        Some((*key_id, *nonce, encrypted))
    }
}

/// What [`SealedToken::as_bytes`] gave.
impl From<Vec<u8>> for SealedToken {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

/// What the token is good for: whoever can write to the store cannot have it sent to another site. The same for all
/// that have the same id.
fn binding(key_id: KeyId, registration: &Registration) -> Vec<u8> {
    let source = &registration.source;
    let base_url = source.base_url.trim().trim_end_matches('/');
    let cloud_id = source.cloud_id.as_deref().unwrap_or_default();
    let mut binding = vec![VERSION];
    binding.extend(key_id);
    binding.extend([registration.id().as_str(), base_url, &source.email, cloud_id].join("\n").into_bytes());
    binding
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> MasterKey {
        MasterKey::parse(&format!("{byte:02x}").repeat(32), "the test".to_owned()).unwrap()
    }

    fn registration(base_url: &str) -> Registration {
        let document = serde_json::json!({
            "kind": "CONFLUENCE", "base_url": base_url, "email": "e@a.example", "api_token": "s3cret-töken",
        });
        Registration::parse(document.to_string().as_bytes(), None).unwrap()
    }

    fn refused(sealed: &SealedToken, key: &MasterKey, registration: &Registration) -> SealedTokenError {
        let error = sealed.open(key, registration).unwrap_err();
        assert!(!format!("{error} {error:?} {sealed:?}").contains("s3cret"));
        error
    }

    #[test]
    fn a_sealed_token_opens_with_its_key_for_its_source_and_does_not_show_it() {
        let source = registration("https://a.example");
        let sealed = SealedToken::seal(&key(1), &source).unwrap();
        let text = String::from_utf8_lossy(sealed.as_bytes()).into_owned();
        assert!(!text.contains("s3cret"));
        let read_back = SealedToken::from(sealed.as_bytes().to_vec());
        assert_eq!(read_back.open(&key(1), &source).unwrap().expose_secret(), "s3cret-töken");
    }

    #[test]
    fn the_same_token_is_never_sealed_alike() {
        let source = registration("https://a.example");
        let [one, two] = [(), ()].map(|()| SealedToken::seal(&key(1), &source).unwrap());
        assert_ne!(one, two);
    }

    #[test]
    fn another_key_is_told_apart_from_damage() {
        let source = registration("https://a.example");
        let sealed = SealedToken::seal(&key(1), &source).unwrap();
        let error = refused(&sealed, &key(2), &source);
        assert!(matches!(error, SealedTokenError::OtherKey { .. }));
        assert!(error.to_string().contains("another key than that of the test"), "{error}");
        for at in 0..sealed.as_bytes().len() {
            let mut bytes = sealed.as_bytes().to_vec();
            bytes[at] ^= 1;
            let error = refused(&bytes.into(), &key(1), &source);
            let of_key_id = (1..5).contains(&at);
            assert_eq!(matches!(error, SealedTokenError::OtherKey { .. }), of_key_id, "byte {at}: {error}");
        }
        for length in 0..sealed.as_bytes().len() {
            let error = refused(&sealed.as_bytes()[..length].to_vec().into(), &key(1), &source);
            assert!(matches!(error, SealedTokenError::Damaged { .. }), "{length} bytes: {error}");
        }
    }

    #[test]
    fn a_token_that_was_moved_to_another_source_does_not_open() {
        let source = registration("https://a.example");
        let sealed = SealedToken::seal(&key(1), &source).unwrap();
        let scoped = source.clone().with_scope_path(Some("ENG".to_owned()));
        let mut gateway = source.clone();
        gateway.source.cloud_id = Some("c".to_owned());
        for other in [registration("https://b.example"), scoped, gateway] {
            let error = refused(&sealed, &key(1), &other);
            assert!(matches!(error, SealedTokenError::Damaged { .. }), "{error}");
        }
    }
}
