//! People who signed in with a key: their browsers get a random name for it in a cookie and never the key itself.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, Method, header};
use sha2::{Digest as _, Sha256};

use crate::access_key::{KeyDigest, random_text};

/// How long a session lasts that nobody uses.
const IDLE: Duration = Duration::from_secs(12 * 60 * 60);

/// Sessions at once. Beyond, the one that was idle longest ends.
const MOST: usize = 10_000;

const NAME_BYTES: usize = 32;

/// Who is signed in. Sessions end with the process, and each with its key.
pub(crate) struct BrowserSessions {
    /// By the digest of their names: what is in memory opens nothing.
    sessions: Mutex<HashMap<[u8; 32], Session>>,
    /// Whether the service speaks TLS, so that the cookie goes nowhere else.
    secure: bool,
}

#[derive(Clone, Copy)]
struct Session {
    key: KeyDigest,
    used: Instant,
}

impl BrowserSessions {
    pub(crate) fn new(secure: bool) -> Self {
        Self { sessions: Mutex::default(), secure }
    }

    pub(crate) fn is_secure(&self) -> bool {
        self.secure
    }

    fn cookie_name(&self) -> &'static str {
        // Browsers take a cookie of that name only with all that makes it safe.
        if self.secure { "__Host-kai" } else { "kai" }
    }

    /// The cookie of a new session.
    pub(crate) fn begin(&self, key: KeyDigest) -> Result<String, rand::rand_core::OsError> {
        let name = random_text(NAME_BYTES)?;
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.retain(|_, session| session.used.elapsed() < IDLE);
        if sessions.len() >= MOST {
            let oldest = sessions.iter().min_by_key(|(_, session)| session.used).map(|(name, _)| *name);
            oldest.map(|name| sessions.remove(&name));
        }
        sessions.insert(Sha256::digest(&name).into(), Session { key, used: Instant::now() });
        Ok(self.cookie(&name, IDLE.as_secs()))
    }

    /// The key of the session that a request names.
    pub(crate) fn key(&self, headers: &HeaderMap) -> Option<KeyDigest> {
        let name = self.named(headers)?;
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let session = sessions.get_mut(&<[u8; 32]>::from(Sha256::digest(name)))?;
        if session.used.elapsed() >= IDLE {
            return None;
        }
        session.used = Instant::now();
        Some(session.key)
    }

    /// Ends the session that a request names; gives the cookie that takes it away from the browser.
    pub(crate) fn end(&self, headers: &HeaderMap) -> String {
        if let Some(name) = self.named(headers) {
            let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
            sessions.remove(&<[u8; 32]>::from(Sha256::digest(name)));
        }
        self.cookie("", 0)
    }

    fn named<'a>(&self, headers: &'a HeaderMap) -> Option<&'a str> {
        let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        let mut pairs =
            cookies.flat_map(|text| text.split(';')).filter_map(|pair| pair.trim().split_once('='));
        pairs.find(|(name, _)| *name == self.cookie_name()).map(|(_, value)| value)
    }

    fn cookie(&self, value: &str, seconds: u64) -> String {
        let secure = if self.secure { "; Secure" } else { "" };
        let name = self.cookie_name();
        format!("{name}={value}; Path=/; HttpOnly; SameSite=Strict; Max-Age={seconds}{secure}")
    }
}

/// Whether a request that a browser makes by itself for its user may change anything: only where a page of this very
/// service made it. Browsers say so in `Sec-Fetch-Site`, older ones in `Origin`.
pub(crate) fn may_change(method: &Method, headers: &HeaderMap) -> bool {
    if method.is_safe() {
        return true;
    }
    let text = |name| headers.get(name).and_then(|value: &axum::http::HeaderValue| value.to_str().ok());
    match (text("sec-fetch-site"), text("origin")) {
        (Some(site), _) => site == "same-origin",
        (None, Some(origin)) => {
            let host = text("host");
            host.is_some() && origin.split_once("://").map(|(_, rest)| rest) == host
        }
        (None, None) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn a_session_is_known_by_its_cookie_until_it_ends() {
        let sessions = BrowserSessions::new(true);
        let cookie = sessions.begin([7; 32]).unwrap();
        assert!(cookie.contains("HttpOnly; SameSite=Strict") && cookie.contains("Secure"));
        let sent = format!("other=1; {}", cookie.split(';').next().unwrap());
        let with = headers(&[("cookie", &sent)]);
        assert_eq!(sessions.key(&with), Some([7; 32]));
        assert_eq!(sessions.key(&headers(&[("cookie", "__Host-kai=")])), None);
        assert_eq!(sessions.key(&headers(&[])), None);
        sessions.end(&with);
        assert_eq!(sessions.key(&with), None);
    }

    #[test]
    fn no_more_sessions_are_kept_than_fit() {
        let sessions = BrowserSessions::new(false);
        for _ in 0..MOST + 10 {
            sessions.begin([7; 32]).unwrap();
        }
        assert!(sessions.sessions.lock().unwrap().len() <= MOST);
    }

    #[test]
    fn only_pages_of_the_service_change_anything() {
        let may = |method, pairs: &[(&'static str, &str)]| may_change(&method, &headers(pairs));
        assert!(may(Method::GET, &[]));
        assert!(may(Method::POST, &[("sec-fetch-site", "same-origin")]));
        assert!(!may(
            Method::POST,
            &[("sec-fetch-site", "same-site"), ("origin", "https://a"), ("host", "a")]
        ));
        assert!(!may(Method::DELETE, &[("sec-fetch-site", "cross-site")]));
        assert!(!may(Method::POST, &[("sec-fetch-site", "none")]));
        assert!(may(Method::POST, &[("origin", "http://a:8080"), ("host", "a:8080")]));
        assert!(!may(Method::POST, &[("origin", "http://b"), ("host", "a")]));
        assert!(!may(Method::POST, &[("origin", "null"), ("host", "a")]));
        assert!(!may(Method::POST, &[]));
    }
}
