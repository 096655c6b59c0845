//! Registering a source. Script asks while one types whether it is good; without script the answer comes with the page.

use axum::extract::State;
use axum::response::{IntoResponse as _, Redirect, Response};
use maud::{Markup, html};
use secrecy::SecretString;
use serde::Deserialize;

use super::layout::{self, Field, Section};
use super::with_status;
use crate::service::Service;
use crate::service::access::Access;
use crate::service::api::keys::{self, Tenant};
use crate::service::api::sources::{self, NewSource, Schedule};
use crate::service::extract::Form;
use crate::service::problem::Problem;
use crate::source_file::SecretText;
use crate::store::{DEFAULT_FULL_EVERY, DEFAULT_TENANT};

/// What is offered for a schedule: seconds from the end of a run to the next.
const INTERVALS: [(u64, &str); 6] = [
    (300, "Every 5 minutes"),
    (900, "Every 15 minutes"),
    (3_600, "Every hour"),
    (21_600, "Every 6 hours"),
    (86_400, "Every day"),
    (604_800, "Every week"),
];

/// What is chosen until somebody chooses.
const INTERVAL: u64 = 900;

#[derive(Default, Deserialize)]
pub(super) struct SourceForm {
    #[serde(default)]
    kind: String,
    #[serde(default)]
    base_url: String,
    #[serde(default)]
    email: String,
    api_token: Option<SecretText>,
    #[serde(default)]
    space_key: String,
    #[serde(default)]
    cloud_id: String,
    tenant_id: Option<String>,
    #[serde(default)]
    run_every: String,
}

/// The schedule that a form chose; none: runs begin only when somebody asks for one.
pub(super) fn schedule(
    run_every: &str,
    full_every_seconds: Option<u64>,
) -> Result<Option<Schedule>, Problem> {
    if run_every.trim().is_empty() {
        return Ok(None);
    }
    let run_every_seconds = run_every.trim().parse().map_err(|_| {
        Problem::invalid("schedule is not a number of seconds: choose one of the list").at_field()
    })?;
    let full_every_seconds = full_every_seconds.unwrap_or(DEFAULT_FULL_EVERY.as_secs());
    Ok(Some(Schedule { run_every_seconds, full_every_seconds }))
}

/// The choice of a schedule.
pub(super) fn schedule_field(chosen: Option<u64>) -> Markup {
    let unlisted = chosen.filter(|chosen| INTERVALS.iter().all(|(seconds, _)| seconds != chosen));
    html! {
        div class="field" {
            label for="run_every" { "Schedule" }
            select id="run_every" name="run_every" {
                option value="" selected[chosen.is_none()] { "Only when somebody asks" }
                @for (seconds, text) in INTERVALS {
                    option value=(seconds) selected[chosen == Some(seconds)] { (text) }
                }
                @if let Some(seconds) = unlisted {
                    option value=(seconds) selected { "Every " (layout::span(seconds as f64)) }
                }
            }
        }
    }
}

pub(super) async fn form(State(service): State<Service>, access: Access) -> Result<Markup, Problem> {
    let given = SourceForm { run_every: INTERVAL.to_string(), ..SourceForm::default() };
    page(&service, &access, &given, None).await
}

async fn page(
    service: &Service,
    access: &Access,
    given: &SourceForm,
    problem: Option<&Problem>,
) -> Result<Markup, Problem> {
    let tenants = match access.tenant_id() {
        None => keys::all_tenants(service, access).await?,
        Some(_) => Vec::new(),
    };
    let at = |name: &str| problem.filter(|problem| problem.field == Some(name));
    let fields = ["base_url", "email", "api_token", "space_key", "cloud_id"];
    let elsewhere = problem.filter(|problem| problem.field.is_none_or(|field| !fields.contains(&field)));
    let content = html! {
        div class="narrow" {
            p class="trail" { a href="/" { "Sources" } }
            h1 { "Register a source" }
            p class="lead" {
                "The token is tried at Confluence before anything is kept; it is kept sealed and never shown again."
            }
            @if let Some(problem) = elsewhere { (layout::notice(problem)) }
            form method="post" action="/sources/new" class="panel stack" id="register" data-validate {
                div class="field" {
                    label for="kind" { "Kind" }
                    select id="kind" name="kind" { option value="CONFLUENCE" { "Confluence Cloud" } }
                }
                (Field {
                    name: "base_url", label: "Site", kind: "url", value: &given.base_url, required: true,
                    placeholder: "https://your-org.atlassian.net", problem: at("base_url"), ..Field::default()
                })
                (Field {
                    name: "email", label: "Email address of the account", kind: "email", value: &given.email,
                    required: true, problem: at("email"), ..Field::default()
                })
                (Field {
                    name: "api_token", label: "API token of the account", kind: "password", required: true,
                    help: "id.atlassian.com, Security, API tokens.", problem: at("api_token"), ..Field::default()
                })
                p class="check" id="check" role="status" {}
                (Field {
                    name: "space_key", label: "Space key", value: &given.space_key, placeholder: "ENG",
                    help: "Empty: every space that the account may see.", problem: at("space_key"), ..Field::default()
                })
                (schedule_field(given.run_every.parse().ok()))
                @if tenants.len() > 1 { (tenant_field(&tenants, given.tenant_id.as_deref())) }
                details open[!given.cloud_id.is_empty() || at("cloud_id").is_some()] {
                    summary { "More" }
                    (Field {
                        name: "cloud_id", label: "Cloud id", value: &given.cloud_id, problem: at("cloud_id"),
                        help: "Only for tokens with scopes; your-org.atlassian.net/_edge/tenant_info shows it.",
                        ..Field::default()
                    })
                }
                div class="actions" {
                    button class="primary" { "Register" }
                    a class="button" href="/" { "Cancel" }
                }
            }
        }
    };
    Ok(layout::page(Some(access), Section::Sources, "Register a source", content))
}

fn tenant_field(tenants: &[Tenant], chosen: Option<&str>) -> Markup {
    let chosen = chosen.unwrap_or(DEFAULT_TENANT);
    html! {
        div class="field" {
            label for="tenant_id" { "Tenant" }
            select id="tenant_id" name="tenant_id" {
                @for tenant in tenants {
                    option value=(tenant.id) selected[tenant.id == chosen] { (tenant.name) " (" (tenant.id) ")" }
                }
            }
        }
    }
}

pub(super) async fn register(
    State(service): State<Service>,
    access: Access,
    Form(mut given): Form<SourceForm>,
) -> Result<Response, Problem> {
    let token = given.api_token.take().unwrap_or_else(|| SecretText(SecretString::default()));
    let added = match schedule(&given.run_every, None) {
        Err(problem) => Err(problem),
        Ok(schedule) => {
            let new = NewSource {
                kind: given.kind.clone(),
                base_url: given.base_url.trim().to_owned(),
                email: given.email.trim().to_owned(),
                api_token: token,
                space_key: Some(given.space_key.trim().to_owned()),
                scope_path: None,
                cloud_id: Some(given.cloud_id.trim().to_owned()),
                tenant_id: given.tenant_id.clone().filter(|id| !id.is_empty()),
                schedule,
            };
            sources::add(&service, &access, new).await
        }
    };
    match added {
        Ok(source) => Ok(Redirect::to(&format!("/sources/{}?done=registered", source.id)).into_response()),
        Err(problem) => {
            let page = page(&service, &access, &given, Some(&problem)).await?;
            Ok(with_status(&problem, page))
        }
    }
}
