//! Paging links and query text.
//!
//! A `next` link is never followed as it stands: its cursor is taken out and asked for at our own endpoint, so that
//! no answer can send a request, let alone a credential, anywhere else (facts A5).

use serde::Deserialize;
use std::borrow::Cow;

use crate::error::Error;

/// `_links` of a listing.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Links<'a> {
    #[serde(borrow, default)]
    next: Option<Cow<'a, str>>,
}

impl Links<'_> {
    /// The decoded cursor of the `next` link; none at the end of the listing.
    pub(super) fn next_cursor(&self, origins: &[&str]) -> Result<Option<String>, Error> {
        let Some(next) = self.next.as_deref().filter(|next| !next.is_empty()) else { return Ok(None) };
        let path = match next.split_once("://") {
            Some(_) => match origins.iter().find_map(|origin| below(next, origin)) {
                Some(path) => path,
                None => return Err(elsewhere(next)),
            },
            None if next.starts_with("//") || next.starts_with('\\') || next.starts_with("/\\") => {
                return Err(elsewhere(next));
            }
            None => next,
        };
        let query = path.split_once('?').map_or("", |(_, query)| query.split('#').next().unwrap_or_default());
        query
            .split('&')
            .find_map(|pair| pair.strip_prefix("cursor="))
            .map(decode)
            .filter(|cursor| !cursor.is_empty())
            .map(Some)
            .ok_or_else(|| {
                Error::Malformed("the link to the next page of a listing holds no cursor".to_owned())
            })
    }
}

fn below<'a>(url: &'a str, origin: &str) -> Option<&'a str> {
    let (head, rest) = url.split_at_checked(origin.len())?;
    (head.eq_ignore_ascii_case(origin) && (rest.is_empty() || rest.starts_with(['/', '?']))).then_some(rest)
}

fn elsewhere(next: &str) -> Error {
    let shown: String = next.chars().filter(|c| !c.is_control()).take(80).collect();
    Error::Malformed(format!(
        "the link to the next page of a listing leads to another host ({shown:?}); it was not followed"
    ))
}

/// Percent-decodes a cursor. A raw `+` or `=` stays what it is: cursors are base64, in which both have a meaning.
fn decode(raw: &str) -> String {
    let bytes = raw.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&byte, tail)) = rest.split_first() {
        let escaped = match (byte, tail) {
            (b'%', [high, low, after @ ..]) => {
                hexadecimal(*high).zip(hexadecimal(*low)).map(|(h, l)| (h * 16 + l, after))
            }
            _ => None,
        };
        let (byte, tail) = escaped.unwrap_or((byte, tail));
        decoded.push(byte);
        rest = tail;
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

fn hexadecimal(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

/// Appends `name=value` to a query, the value percent-encoded but for RFC 3986's unreserved characters.
pub(super) fn push_parameter(path_and_query: &mut String, name: &str, value: &str) {
    path_and_query.push(if path_and_query.contains('?') { '&' } else { '?' });
    path_and_query.push_str(name);
    path_and_query.push('=');
    for &byte in value.as_bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            path_and_query.push(char::from(byte));
        } else {
            const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
            let digit = |value: u8| DIGITS.get(usize::from(value)).copied().map_or('0', char::from);
            path_and_query.extend(['%', digit(byte >> 4), digit(byte & 15)]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ORIGINS: [&str; 2] = ["https://acme.atlassian.net", "https://api.atlassian.com"];

    fn next(link: &str) -> Result<Option<String>, Error> {
        Links { next: Some(link.into()) }.next_cursor(&ORIGINS)
    }

    #[test]
    fn the_cursor_is_taken_from_every_form_of_the_link() {
        for link in [
            "/wiki/api/v2/spaces/1/pages?limit=25&cursor=eyJpZCI6MX0=",
            "/wiki/api/v2/spaces/1/pages?cursor=eyJpZCI6MX0%3D&limit=25",
            "/api/v2/spaces/1/pages?cursor=eyJpZCI6MX0%3d",
            "https://acme.atlassian.net/wiki/api/v2/spaces/1/pages?cursor=eyJpZCI6MX0%3D",
            "HTTPS://ACME.atlassian.net/wiki/api/v2/spaces/1/pages?cursor=eyJpZCI6MX0%3D#x",
            "https://api.atlassian.com/ex/confluence/1/wiki/api/v2/spaces?cursor=eyJpZCI6MX0%3D",
        ] {
            assert_eq!(next(link), Ok(Some("eyJpZCI6MX0=".to_owned())), "{link}");
        }
        assert_eq!(Links::default().next_cursor(&ORIGINS), Ok(None));
        assert_eq!(next("/x?cursor=a+b%2Fc"), Ok(Some("a+b/c".to_owned())));
    }

    #[test]
    fn a_link_to_another_host_is_an_error() {
        for link in [
            "https://evil.example/wiki/api/v2/spaces?cursor=x",
            "https://acme.atlassian.net.evil.example/?cursor=x",
            "https://acme.atlassian.net@evil.example/?cursor=x",
            "https://acme.atlassian.net:8443/?cursor=x",
            "http://acme.atlassian.net/?cursor=x",
            "//evil.example/?cursor=x",
            "/\\evil.example/?cursor=x",
        ] {
            assert!(
                matches!(next(link), Err(Error::Malformed(text)) if text.contains("another host")),
                "{link}"
            );
        }
    }

    #[test]
    fn a_link_without_a_cursor_is_an_error_and_not_the_end() {
        for link in ["/wiki/api/v2/spaces", "/wiki/api/v2/spaces?limit=1", "/x?cursor=", "?xcursor=1"] {
            assert!(matches!(next(link), Err(Error::Malformed(_))), "{link}");
        }
    }

    proptest! {
        #[test]
        fn a_cursor_survives_encoding_and_decoding(cursor in "\\PC{1,40}") {
            let mut query = "/x?limit=1".to_owned();
            push_parameter(&mut query, "cursor", &cursor);
            prop_assert!(query.is_ascii());
            prop_assert_eq!(next(&query), Ok(Some(cursor)));
        }
    }
}
