//! Signing in with a key, and out.

use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Redirect, Response};
use maud::{Markup, html};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::ExposeSecret as _;
use serde::Deserialize;

use super::layout::{self, Field, Section};
use super::{signed_in, with_status};
use crate::access_key;
use crate::service::Service;
use crate::service::access::{failed, heard};
use crate::service::browser_sessions::may_change;
use crate::service::extract::{Form, Query};
use crate::service::problem::{Kind, Problem};
use crate::source_file::SecretText;

/// Longest address that is come back to.
const LONGEST_ADDRESS: usize = 2_000;

#[derive(Default, Deserialize)]
pub(super) struct SignInQuery {
    next: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct SignIn {
    key: SecretText,
    next: Option<String>,
}

/// The head of a request, for the address that it comes from.
pub(super) struct Head(Parts);

impl FromRequestParts<Service> for Head {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &Service) -> Result<Self, Self::Rejection> {
        Ok(Self(parts.clone()))
    }
}

/// Where one signs in; with the page to come back to.
pub(super) fn address(target: Option<&str>) -> String {
    match target.filter(|target| is_local(target) && *target != "/") {
        Some(target) => format!("/sign-in?next={}", utf8_percent_encode(target, NON_ALPHANUMERIC)),
        None => "/sign-in".to_owned(),
    }
}

/// Whether an address leads to this very service, as every browser reads it.
fn is_local(address: &str) -> bool {
    address.len() <= LONGEST_ADDRESS
        && address.starts_with('/')
        && !address.starts_with("//")
        && address.bytes().all(|byte| (0x21..=0x7e).contains(&byte) && byte != b'\\')
}

fn page(next: Option<&str>, problem: Option<&Problem>) -> Markup {
    let content = html! {
        div class="narrow" {
            h1 { "Sign in" }
            form method="post" action="/sign-in" class="panel stack" {
                (Field {
                    name: "key",
                    label: "Key",
                    kind: "password",
                    autocomplete: "current-password",
                    placeholder: "kai_...",
                    required: true,
                    help: "The service tells the first key when it starts; kai keys add makes others.",
                    problem,
                    ..Field::default()
                })
                div class="actions" { button class="primary" { "Sign in" } }
                @if let Some(next) = next.filter(|next| is_local(next)) {
                    input type="hidden" name="next" value=(next);
                }
            }
        }
    };
    layout::page(None, Section::None, "Sign in", content)
}

pub(super) async fn form(
    State(service): State<Service>,
    headers: HeaderMap,
    Query(query): Query<SignInQuery>,
) -> Response {
    match signed_in(&service, &headers).await {
        Some(_) => go_on(query.next.as_deref()).into_response(),
        None => page(query.next.as_deref(), None).into_response(),
    }
}

fn go_on(next: Option<&str>) -> Redirect {
    Redirect::to(next.filter(|next| is_local(next)).unwrap_or("/"))
}

/// The session gets a name that nobody knew before, and the one that the browser had ends.
pub(super) async fn begin(
    State(service): State<Service>,
    Head(parts): Head,
    Form(given): Form<SignIn>,
) -> Result<Response, Problem> {
    from_here(&parts)?;
    let next = given.next.as_deref();
    let refused = |problem: &Problem| {
        let mut response = with_status(problem, page(next, Some(problem)));
        if let Some(seconds) = problem.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        response
    };
    let digest = access_key::digest(given.key.0.expose_secret());
    let known = match digest {
        Some(digest) => service.key_with(digest).await?.map(|_| digest),
        None => None,
    };
    let Some(digest) = known else {
        if let Err(problem) = heard(&parts, &service) {
            let seconds = problem.retry_after.unwrap_or(1);
            let detail = format!("{}; try again in {seconds} s", problem.detail);
            return Ok(refused(&Problem { detail, ..problem }));
        }
        failed(&parts, &service);
        let detail = "the key is not one of this service, or was revoked";
        return Ok(refused(&Problem::new(StatusCode::FORBIDDEN, Kind::Forbidden, detail)));
    };
    service.sessions.end(&parts.headers);
    let cookie = service.sessions.begin(digest).map_err(Problem::internal)?;
    Ok(([(header::SET_COOKIE, cookie)], go_on(next)).into_response())
}

pub(super) async fn end(State(service): State<Service>, Head(parts): Head) -> Result<Response, Problem> {
    from_here(&parts)?;
    let cookie = service.sessions.end(&parts.headers);
    Ok(([(header::SET_COOKIE, cookie)], Redirect::to("/sign-in")).into_response())
}

fn from_here(parts: &Parts) -> Result<(), Problem> {
    if may_change(&parts.method, &parts.headers) {
        return Ok(());
    }
    let detail = "the request came from another site; open the service itself and try again";
    Err(Problem::new(StatusCode::FORBIDDEN, Kind::Forbidden, detail))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_comes_back_to_pages_of_the_service_alone() {
        for local in ["/", "/sources/1?before=2", "/documents?q=%22a%22"] {
            assert!(is_local(local), "{local}");
        }
        for other in [
            "",
            "https://evil.example",
            "//evil.example",
            "/\\evil.example",
            "/\t/evil.example",
            "/a b",
            "\\\\evil",
            "javascript:alert(1)",
            "/ü",
        ] {
            assert!(!is_local(other), "{other}");
        }
        assert!(!is_local(&format!("/{}", "a".repeat(LONGEST_ADDRESS))));
        assert_eq!(address(Some("/documents?q=a&b")), "/sign-in?next=%2Fdocuments%3Fq%3Da%26b");
        assert_eq!(address(Some("//evil.example")), "/sign-in");
        assert_eq!(address(None), "/sign-in");
    }
}
