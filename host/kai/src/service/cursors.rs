//! Where a follower or a list stopped, in a form that only this service makes and reads.
//!
//! The numbers of changes count what all tenants do, so none is shown. A cursor is good for the one that it was given to:
//! for another it does not open.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chacha20poly1305::aead::{Aead as _, Payload};
use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};

use super::problem::Problem;

const NONCE_BYTES: usize = 24;

/// What is sealed is as long as a multiple of this, in bytes: by its length, the number of a change would still tell how
/// much all tenants do.
const BLOCK: usize = 32;

/// Longer than any cursor is.
const LONGEST: usize = 4 * 1024;

/// Makes and reads cursors.
#[derive(Clone)]
pub(crate) struct Cursors {
    secret: [u8; 32],
}

impl Cursors {
    pub(crate) fn new(secret: [u8; 32]) -> Self {
        Self { secret }
    }

    /// `purpose` says for what and for whom the cursor is. The same place gives the same cursor.
    pub(crate) fn seal(&self, purpose: &str, place: &impl Serialize) -> String {
        let mut message = serde_json::to_vec(place).unwrap_or_default();
        message.resize(message.len().next_multiple_of(BLOCK), b' ');
        // Of what is sealed and nothing else: two that differ never share a nonce.
        let mut nonce = Sha256::new();
        nonce.update(self.secret);
        nonce.update((purpose.len() as u64).to_le_bytes());
        nonce.update(purpose);
        nonce.update(&message);
        let nonce: [u8; 32] = nonce.finalize().into();
        let Some(nonce) = nonce.first_chunk::<NONCE_BYTES>() else { return String::new() };
        let payload = Payload { msg: &message, aad: purpose.as_bytes() };
        let sealed = XChaCha20Poly1305::new(&self.secret.into()).encrypt(nonce.into(), payload);
        URL_SAFE_NO_PAD.encode([&nonce[..], &sealed.unwrap_or_default()].concat())
    }

    /// An ETag that says nothing of the number.
    pub(crate) fn tag(&self, what: &str, number: u64) -> String {
        let mut digest = Sha256::new();
        digest.update(self.secret);
        digest.update(what);
        digest.update(number.to_le_bytes());
        let digest: [u8; 32] = digest.finalize().into();
        format!("\"{}\"", URL_SAFE_NO_PAD.encode(digest.first_chunk::<12>().unwrap_or(&[0; 12])))
    }

    /// What was sealed for this purpose.
    pub(crate) fn open<T: DeserializeOwned>(&self, purpose: &str, cursor: &str) -> Result<T, Problem> {
        let refused = || {
            Problem::invalid(
                "the cursor is not one that this service gave for this list; leave it out to begin anew",
            )
        };
        if cursor.len() > LONGEST {
            return Err(refused());
        }
        let bytes = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| refused())?;
        let (nonce, sealed) = bytes.split_first_chunk::<NONCE_BYTES>().ok_or_else(refused)?;
        let payload = Payload { msg: sealed, aad: purpose.as_bytes() };
        let message = XChaCha20Poly1305::new(&self.secret.into()).decrypt(nonce.into(), payload);
        serde_json::from_slice(&message.map_err(|_| refused())?).map_err(|_| refused())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_as_long_whatever_number_it_stands_for() {
        let cursors = Cursors::new([7; 32]);
        let lengths = [0, 9, 10, 123_456_789, u64::MAX].map(|number| cursors.seal("changes", &number).len());
        assert!(lengths.iter().all(|length| *length == lengths[0]), "{lengths:?}");
        assert_eq!(cursors.open::<u64>("changes", &cursors.seal("changes", &u64::MAX)).unwrap(), u64::MAX);
    }

    #[test]
    fn a_cursor_opens_for_its_purpose_alone_and_shows_nothing() {
        let cursors = Cursors::new([7; 32]);
        let cursor = cursors.seal("changes of acme", &123_456_789_u64);
        assert_eq!(cursors.seal("changes of acme", &123_456_789_u64), cursor);
        assert_eq!(cursors.open::<u64>("changes of acme", &cursor).unwrap(), 123_456_789);
        assert!(cursors.open::<u64>("changes of other", &cursor).is_err());
        assert!(Cursors::new([8; 32]).open::<u64>("changes of acme", &cursor).is_err());
        for odd in
            ["", "x", "%", &cursor[1..], &cursor.replace(&cursor[40..44], "AAAA"), &"A".repeat(100_000)]
        {
            assert!(cursors.open::<u64>("changes of acme", odd).is_err(), "{odd}");
        }
    }
}
