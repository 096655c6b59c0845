//! The sealed credential: the guest holds a stand-in, the real token is put in its place on the way out.

use std::sync::{PoisonError, RwLock};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use rand::Rng as _;
use rand::distr::Alphanumeric;
use secrecy::{ExposeSecret, SecretString};

/// Characters of randomness in a stand-in: not to be guessed, and not to be met by accident in a page.
const STAND_IN_RANDOM: usize = 32;

/// The token of one tenant and what its guests know it as.
pub(crate) struct Credential {
    stand_in: String,
    token: RwLock<SecretString>,
}

impl Credential {
    pub(crate) fn new(token: SecretString) -> Self {
        let random = rand::rng().sample_iter(Alphanumeric).take(STAND_IN_RANDOM).map(char::from);
        let stand_in = "sealed-".chars().chain(random).collect();
        Self { stand_in, token: RwLock::new(token) }
    }

    /// What the guest gets for a token. A blank token has nothing to hide, and the guest should see the mistake.
    pub(crate) fn stand_in(&self) -> &str {
        let blank = self.read(|token| token.trim().is_empty());
        if blank { "" } else { &self.stand_in }
    }

    /// Requests that leave from now on carry `token`.
    pub(crate) fn rotate(&self, token: SecretString) {
        *self.token.write().unwrap_or_else(PoisonError::into_inner) = token;
    }

    /// The header to send for the one that the guest wrote: `Basic` is looked into, everything else taken as text.
    /// None where the real token cannot be in a header.
    pub(crate) fn unseal(&self, written: &HeaderValue) -> Option<HeaderValue> {
        let text = written.to_str().ok()?;
        let unsealed = match text.split_once(' ') {
            Some((scheme, encoded)) if scheme.eq_ignore_ascii_case("basic") => {
                let pair = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
                SecretString::from(format!(
                    "{scheme} {}",
                    STANDARD.encode(self.put_in_place(&pair).expose_secret())
                ))
            }
            _ => self.put_in_place(text),
        };
        let mut header = HeaderValue::from_str(unsealed.expose_secret()).ok()?;
        // Keeps the value out of the client's own logs.
        header.set_sensitive(true);
        Some(header)
    }

    fn put_in_place(&self, text: &str) -> SecretString {
        self.read(|token| SecretString::from(text.replace(&self.stand_in, token)))
    }

    fn read<R>(&self, look: impl FnOnce(&str) -> R) -> R {
        look(self.token.read().unwrap_or_else(PoisonError::into_inner).expose_secret())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn basic(pair: &str) -> HeaderValue {
        HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(pair))).unwrap()
    }

    #[test]
    fn the_stand_in_becomes_the_token_only_on_the_way_out() {
        let credential = Credential::new("tökén".into());
        assert!(!credential.stand_in().contains("tökén"));
        let written = basic(&format!("ada@acme.example:{}", credential.stand_in()));
        let sent = credential.unseal(&written).unwrap();
        assert_eq!(sent, basic("ada@acme.example:tökén"));
        assert!(sent.is_sensitive() && format!("{sent:?}") == "Sensitive");
        credential.rotate("other".into());
        assert_eq!(credential.unseal(&written).unwrap(), basic("ada@acme.example:other"));
    }

    #[test]
    fn bearer_tokens_are_unsealed_too() {
        let credential = Credential::new("token".into());
        let written = HeaderValue::from_str(&format!("Bearer {}", credential.stand_in())).unwrap();
        assert_eq!(credential.unseal(&written).unwrap(), "Bearer token");
    }

    #[test]
    fn a_blank_token_stays_visible_as_blank() {
        assert_eq!(Credential::new("  ".into()).stand_in(), "");
    }

    #[test]
    fn two_tenants_have_two_stand_ins() {
        assert_ne!(Credential::new("t".into()).stand_in(), Credential::new("t".into()).stand_in());
    }
}
