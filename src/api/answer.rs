//! What an answer means that is not the expected one: error bodies in three shapes, or no JSON at all (facts A6).

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{RequestError, rejected};
use crate::error::Error;
use crate::transport::Response;

/// Longest piece of an answer that is shown to people, in characters.
const EXCERPT: usize = 160;

/// Turns an answer other than 200 into the error that it stands for.
pub(super) fn refusal(response: &Response) -> RequestError {
    let text = message(&response.body);
    let shown = || text.clone().unwrap_or_else(|| "no reason given".to_owned());
    RequestError::Other(match response.status {
        400 => return RequestError::BadRequest(shown()),
        401 if text.as_deref().is_some_and(|text| text.contains("scope")) => rejected(&format!(
            "Confluence answered 401 ({}): the token lacks a scope (read:space:confluence and read:page:confluence are needed), or it is a scoped token and cloud_id is missing",
            shown()
        )),
        401 => rejected("Confluence answered 401"),
        403 => Error::Forbidden(format!("Confluence answered 403 ({})", shown())),
        404 => return RequestError::Missing(text.filter(|text| !is_generic(text))),
        413 => Error::TooLarge("Confluence answered 413".to_owned()),
        429 => {
            Error::RateLimited(response.retry_after.as_deref().and_then(|value| value.trim().parse().ok()))
        }
        status @ (408 | 425 | 500..=599) => {
            Error::Unavailable(format!("Confluence answered {status} ({})", shown()))
        }
        status @ 300..=399 => Error::Malformed(format!(
            "the answer is a redirect ({status}): base_url must be the workspace root itself, as the browser shows it"
        )),
        410 => Error::Malformed("Confluence answered 410: REST v2 is gone from this site".to_owned()),
        status => Error::Malformed(format!("Confluence answered {status} ({})", shown())),
    })
}

/// The answer to a 200 that is not the JSON that the API promises.
pub(super) fn not_promised(body: &[u8], error: &serde_json::Error) -> Error {
    let first = body.iter().find(|byte| !byte.is_ascii_whitespace());
    Error::Malformed(match first {
        None => "the answer is empty".to_owned(),
        Some(b'<') => {
            "the answer is a web page, not JSON: base_url is not a Confluence Cloud workspace, or a proxy or log-in page is in between"
                .to_owned()
        }
        Some(_) => format!("the answer is not what REST v2 promises: {error}"),
    })
}

/// What the error body says, in one line; none where it is no JSON or says nothing.
fn message(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Body<'a> {
        #[serde(borrow, default)]
        errors: Vec<Item<'a>>,
        #[serde(borrow, default)]
        message: Option<Cow<'a, str>>,
    }
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Item<'a> {
        Named {
            #[serde(borrow, default)]
            title: Option<Cow<'a, str>>,
            #[serde(borrow, default)]
            detail: Option<Cow<'a, str>>,
        },
        Other(IgnoredAny),
    }
    let body: Body<'_> = serde_json::from_slice(body).ok()?;
    let mut parts: Vec<&str> = Vec::new();
    for item in &body.errors {
        if let Item::Named { title, detail } = item {
            parts.extend(title.as_deref());
            parts.extend(detail.as_deref());
        }
    }
    parts.extend(body.message.as_deref());
    parts.retain(|part| !part.trim().is_empty());
    (!parts.is_empty()).then(|| excerpt(&parts.join(": ")))
}

fn is_generic(text: &str) -> bool {
    text.trim().eq_ignore_ascii_case("not found")
}

fn excerpt(text: &str) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(EXCERPT).collect();
    if text.chars().nth(EXCERPT).is_some() { line + "..." } else { line }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::missing;

    fn refused(status: u16, body: &str) -> RequestError {
        refusal(&Response { status, body: body.as_bytes().to_vec(), ..Response::default() })
    }

    fn error(status: u16, body: &str) -> Error {
        match refused(status, body) {
            RequestError::Other(error) => error,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn only_a_404_that_names_the_id_means_not_found() {
        let found = |body: &str| match refused(404, body) {
            RequestError::Missing(named) => missing("page", "123", named),
            other => panic!("{other:?}"),
        };
        let named = r#"{"errors":[{"status":404,"code":"NOT_FOUND","title":"Cannot find a page with id [123]","detail":null}]}"#;
        assert!(matches!(found(named), Error::NotFound(text) if text.contains("123")));
        for generic in [
            r#"{"errors":[{"status":404,"code":"NOT_FOUND","title":"Not Found","detail":null}]}"#,
            r#"{"errors":[{"status":404,"code":"NOT_FOUND","title":"Cannot find a page with id [999]"}]}"#,
            r#"{"message":"no route"}"#,
            "<html>Not here: 123</html>",
            "",
        ] {
            assert!(matches!(found(generic), Error::Authentication(_)), "{generic}");
        }
    }

    #[test]
    fn a_status_becomes_the_error_that_it_stands_for() {
        assert!(matches!(error(401, "<html>"), Error::Authentication(_)));
        let scope = error(401, r#"{"code":401,"message":"Unauthorized; scope does not match"}"#);
        assert!(matches!(scope, Error::Authentication(text) if text.contains("cloud_id")));
        assert!(matches!(error(403, ""), Error::Forbidden(_)));
        assert!(matches!(error(503, "<html>busy</html>"), Error::Unavailable(_)));
        assert!(matches!(error(302, ""), Error::Malformed(_)));
        assert!(matches!(error(418, ""), Error::Malformed(_)));
        assert!(matches!(refused(400, r#"{"errors":["odd"]}"#), RequestError::BadRequest(_)));
    }

    #[test]
    fn a_429_keeps_the_seconds_that_it_names() {
        for (header, seconds) in
            [(Some("17"), Some(17)), (None, None), (Some("soon"), None), (Some("-1"), None)]
        {
            let response =
                Response { status: 429, retry_after: header.map(str::to_owned), ..Response::default() };
            assert!(
                matches!(refusal(&response), RequestError::Other(Error::RateLimited(found)) if found == seconds)
            );
        }
    }

    #[test]
    fn what_confluence_says_is_shown_in_one_short_line() {
        let long = format!(r#"{{"message":"a\nb{}"}}"#, "x".repeat(1000));
        let Error::Unavailable(text) = error(500, &long) else { panic!() };
        assert!(text.contains("a b") && text.len() < 300 && !text.contains('\n'), "{text}");
    }
}
