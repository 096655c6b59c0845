//! The pages of the service, for people with a browser.
//!
//! They call what the API calls, so what holds for it holds for them, and they work without script. Whatever comes from
//! Confluence, from an error or from a name is text in them: maud escapes it. Documents are rendered in one place,
//! [`rendered`].

mod assets;
mod charts;
mod document;
mod documents;
mod keys;
pub(super) mod layout;
mod new_source;
mod rendered;
mod runs;
mod sign_in;
mod source;
mod sources;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::{get, post};

use self::layout::Section;
use super::Service;
use super::access::Access;
use super::problem::Problem;

pub(super) fn router(service: Service) -> Router {
    Router::new()
        .route("/", get(sources::list))
        .route("/sign-in", get(sign_in::form).post(sign_in::begin))
        .route("/sign-out", post(sign_in::end))
        .route("/sources/new", get(new_source::form).post(new_source::register))
        .route("/sources/{source_id}", get(source::read))
        .route("/sources/{source_id}/runs", post(source::begin))
        .route("/sources/{source_id}/runs/{run_id}/cancel", post(source::cancel))
        .route("/sources/{source_id}/runs/{run_id}/confirm-removals", post(source::confirm_removals))
        .route("/sources/{source_id}/validate", post(source::validate))
        .route("/sources/{source_id}/token", post(source::rotate_token))
        .route("/sources/{source_id}/scope", post(source::change_scope))
        .route("/sources/{source_id}/schedule", post(source::change_schedule))
        .route("/sources/{source_id}/delete", post(source::delete))
        .route("/documents", get(documents::list))
        .route("/documents/{source_id}/{id}", get(document::read))
        .route("/keys", get(keys::list).post(keys::make))
        .route("/keys/{key_id}/revoke", post(keys::revoke))
        .route("/tenants", post(keys::make_tenant))
        .route("/tenants/{tenant_id}/remove", post(keys::remove_tenant))
        .with_state(service)
        .merge(assets::router())
}

/// Who asked for a page and got a problem gets a page that tells it; who is not signed in is asked to.
pub(super) async fn problems_as_pages(
    State(service): State<Service>,
    request: Request,
    next: Next,
) -> Response {
    let path = request.uri().path();
    if path.starts_with("/api/") || !wants_page(request.headers()) {
        return next.run(request).await;
    }
    // What was asked for by another method is no page to come back to.
    let target = match *request.method() {
        Method::GET => request.uri().path_and_query().map(ToString::to_string),
        _ => None,
    };
    let headers = request.headers().clone();
    let response = next.run(request).await;
    let Some(problem) = response.extensions().get::<Problem>() else { return response };
    if problem.status == StatusCode::UNAUTHORIZED.as_u16() {
        return Redirect::to(&sign_in::address(target.as_deref())).into_response();
    }
    let access = signed_in(&service, &headers).await;
    let content = layout::problem_page(problem);
    let page = layout::page(access.as_ref(), Section::None, &problem.title, content);
    let mut answer = (response.status(), page).into_response();
    if let Some(seconds) = response.headers().get(header::RETRY_AFTER) {
        answer.headers_mut().insert(header::RETRY_AFTER, seconds.clone());
    }
    answer
}

fn wants_page(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    accept.is_some_and(|accept| accept.contains("text/html"))
}

/// Who has a session.
pub(super) async fn signed_in(service: &Service, headers: &HeaderMap) -> Option<Access> {
    let digest = service.sessions.key(headers)?;
    let key = service.key_with(digest).await.ok()??;
    Some(Access { key })
}

/// A page that tells of a problem, with its status.
fn with_status(problem: &Problem, page: maud::Markup) -> Response {
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, page).into_response()
}
