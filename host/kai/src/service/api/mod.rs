//! The API below `/api/v1`, and its own description.

pub(crate) mod changes;
pub(crate) mod documents;
pub(crate) mod keys;
mod page;
pub(crate) mod runs;
pub(crate) mod sources;

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::IntoResponse;
use axum::routing::get;
use maud::PreEscaped;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ContentBuilder, OpenApi, Ref, RefOr, ResponseBuilder};
use utoipa::{Modify, OpenApi as _};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Service;
use super::pages;
use super::pages::layout::{self, Section};
use super::problem::Problem;

const BASE: &str = "/api/v1";

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "kai",
        description = "Register Confluence sources, keep them synced, and read their documents as Markdown. \
                       Every answer that is none is a problem (RFC 9457) whose `kind` programs go by.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
        contact()
    ),
    servers((url = "/", description = "This service")),
    security(("key" = [])),
    tags(
        (name = "sources", description = "What is synced."),
        (name = "runs", description = "Syncs: asked for, watched, stopped."),
        (name = "documents", description = "What came of them."),
        (name = "changes", description = "What was written and removed, in order, for those who follow."),
        (name = "keys", description = "Tenants and the keys that let them in. Administration only.")
    ),
    components(schemas(Problem)),
    modifiers(&Key)
)]
struct Description;

struct Key;

impl Modify for Key {
    fn modify(&self, api: &mut OpenApi) {
        let components = api.components.get_or_insert_default();
        let mut scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        scheme.description = Some("A key that `kai keys add` or `POST /api/v1/keys` made.".to_owned());
        components.add_security_scheme("key", SecurityScheme::Http(scheme));
    }
}

/// Whatever else an operation answers is a problem, and every operation may answer one.
fn describe_problems(api: &mut OpenApi) {
    let problem = || {
        let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
        ResponseBuilder::new()
            .description("A problem: `kind` says which, `detail` what to do.")
            .content("application/problem+json", content)
            .build()
    };
    for path in api.paths.paths.values_mut() {
        let operations = [&mut path.get, &mut path.post, &mut path.patch, &mut path.delete];
        for operation in operations.into_iter().flatten() {
            for status in ["400", "401", "default"] {
                let responses = &mut operation.responses.responses;
                responses.entry(status.to_owned()).or_insert_with(|| RefOr::T(problem()));
            }
        }
    }
}

pub(super) fn router(service: Service) -> Router {
    let (router, mut api) = OpenApiRouter::with_openapi(Description::openapi())
        .nest(
            BASE,
            OpenApiRouter::new()
                .routes(routes!(sources::list, sources::register))
                .routes(routes!(sources::read, sources::change, sources::remove))
                .routes(routes!(sources::validate))
                .routes(routes!(sources::validate_document))
                .routes(routes!(runs::list, runs::begin))
                .routes(routes!(runs::read))
                .routes(routes!(runs::cancel))
                .routes(routes!(runs::confirm_removals))
                .routes(routes!(runs::events))
                .routes(routes!(documents::list))
                .routes(routes!(documents::count))
                .routes(routes!(documents::read))
                .routes(routes!(documents::failures))
                .routes(routes!(documents::spaces))
                .routes(routes!(changes::list))
                .routes(routes!(changes::stream))
                .routes(routes!(keys::list_tenants, keys::add_tenant))
                .routes(routes!(keys::remove_tenant))
                .routes(routes!(keys::list, keys::add))
                .routes(routes!(keys::remove)),
        )
        .split_for_parts();
    describe_problems(&mut api);
    let page: Arc<str> = page::content(&api).into_string().into();
    let description: Arc<str> = api.to_pretty_json().unwrap_or_default().into();
    router
        .route(
            "/openapi.json",
            get(async move || {
                ([(header::CONTENT_TYPE, "application/json")], description.to_string()).into_response()
            }),
        )
        .route(
            "/api",
            get(async move |State(service): State<Service>, headers: HeaderMap| {
                let access = pages::signed_in(&service, &headers).await;
                layout::page(access.as_ref(), Section::Api, "API", PreEscaped(page.to_string()))
            }),
        )
        .with_state(service)
}
