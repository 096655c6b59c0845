//! A source: its state, its runs, what failed, and its settings.

use axum::extract::State;
use axum::response::{IntoResponse as _, Redirect, Response};
use maud::{Markup, html};
use serde::Deserialize;

use super::layout::{self, Field, Section, count, host, number, outbound, scope};
use super::new_source::{schedule, schedule_field};
use super::sources::{last_run, next_run};
use super::{charts, runs, with_status};
use crate::service::Service;
use crate::service::access::Access;
use crate::service::api::documents::{self, Failure};
use crate::service::api::runs::{self as all_runs, Run, Runs, RunsQuery};
use crate::service::api::sources::{self, Source, SourceChange};
use crate::service::extract::{Form, Path, Query};
use crate::service::problem::Problem;
use crate::source_file::{SecretText, space_of};
use crate::summary::Mode;

/// Runs of the table.
const SHOWN_RUNS: u32 = 20;

/// Pages that failed and are shown at once.
const SHOWN_FAILURES: usize = 100;

#[derive(Default, Deserialize)]
pub(super) struct SourceQuery {
    /// Only runs before this one.
    before: Option<String>,
    /// What was just done, to be told once.
    done: Option<String>,
}

/// Where a problem is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Top,
    Token,
    Scope,
    Schedule,
    Deletion,
}

/// What could not be done, and what was typed.
struct Refusal {
    place: Place,
    problem: Problem,
    typed: String,
}

fn told(done: &str) -> Option<&'static str> {
    Some(match done {
        "registered" => "The source is registered. Begin its first run now, or leave it to the schedule.",
        "validated" => "The credential is good, and what the source reads is there.",
        "token" => "The new token is good and is used from now on.",
        "scope" => "The scope is changed. The next run is a full one.",
        "schedule" => "The schedule is changed.",
        _ => return None,
    })
}

pub(super) async fn read(
    State(service): State<Service>,
    access: Access,
    Path(id): Path<String>,
    Query(query): Query<SourceQuery>,
) -> Result<Markup, Problem> {
    page(&service, &access, &id, query, None).await
}

async fn page(
    service: &Service,
    access: &Access,
    id: &str,
    query: SourceQuery,
    refusal: Option<&Refusal>,
) -> Result<Markup, Problem> {
    let source = sources::one(service, access, id).await?;
    let drawn = all_runs::all(service, access, id, RunsQuery::default()).await?.runs;
    let before = query.before.clone().filter(|before| !before.is_empty());
    let asked = RunsQuery { before: before.clone(), limit: Some(SHOWN_RUNS) };
    let shown = all_runs::all(service, access, id, asked).await?;
    let failures = documents::failed(service, access, id).await?;
    let under_way = service.runner.live_of_source(id).and_then(|(run_id, live)| {
        let run = drawn.iter().find(|run| run.id == run_id)?;
        let progress = live.watch().borrow().clone();
        Some((run, progress))
    });
    // The page to look at again where this one is the answer to a form.
    let own = format!("/sources/{}", source.id);
    let title = format!("{}, {}", host(&source.base_url), scope(source.scope()));
    let content = html! {
        (head(&source, access, under_way.is_some()))
        @if let Some(text) = query.done.as_deref().and_then(told) {
            p class="notice good" role="status" { (text) }
        }
        @if let Some(refusal) = refusal.filter(|refusal| refusal.place == Place::Top) {
            (layout::notice(&refusal.problem))
        }
        @if !source.token_kept {
            p class="notice doubtful" {
                "This source was synced from a file by the command line, and its token is not kept here. "
                a href="/sources/new" { "Register it" } " to have it synced by the service."
            }
        }
        div id="now" data-region data-refresh=(refusal.map_or("", |_| own.as_str())) {
            @if let Some((run, progress)) = &under_way { (runs::under_way(run, progress)) }
            @else if let Some(run) = &source.last_run { (runs::trouble(run)) }
            dl class="panel figures" {
                div { dt { "Documents" } dd { a href={ "/documents?source_id=" (source.id) } { (number(source.documents)) } } }
                div { dt { "Failed" } dd {
                    @if failures.is_empty() { "0" } @else { a href="#failed-pages" { (number(failures.len() as u64)) } }
                } }
                div { dt { "Last run" } dd { (last_run(&source)) } }
                div { dt { "Next run" } dd { (next_run(&source)) } }
            }
            (charts::of_runs(&drawn))
        }
        div id="past" data-region {
            (failed_pages(&failures))
            (history(&source.id, &shown, before.is_some()))
        }
        @if source.token_kept { (settings(&source, refusal)) }
        (deletion(&source, refusal))
    };
    Ok(if under_way.is_some() && refusal.is_none() {
        layout::live_page(access, Section::Sources, &title, content)
    } else {
        layout::page(Some(access), Section::Sources, &title, content)
    })
}

fn head(source: &Source, access: &Access, busy: bool) -> Markup {
    let base = format!("/sources/{}", source.id);
    html! {
        p class="trail" { a href="/" { "Sources" } }
        div class="head" {
            div {
                h1 { (host(&source.base_url)) }
                p class="quiet" {
                    (scope(source.scope())) " · as " (source.email) " · "
                    (outbound(&source.base_url, "open the site"))
                    @if access.tenant_id().is_none() { " · tenant " (source.tenant_id) }
                }
            }
            @if source.token_kept {
                div class="actions" id="actions" data-region {
                    form method="post" action={ (base) "/runs" } {
                        input type="hidden" name="mode" value="delta";
                        button id="sync" class=[(!busy).then_some("primary")] { "Sync now" }
                    }
                    form method="post" action={ (base) "/runs" } {
                        input type="hidden" name="mode" value="full";
                        button id="sync-full" title="Compares every page; finds what was deleted" { "Full sync" }
                    }
                    form method="post" action={ (base) "/validate" } {
                        button id="validate" title="Asks Confluence whether the credential and the scope are still good" {
                            "Validate again"
                        }
                    }
                }
            }
        }
    }
}

fn failed_pages(failures: &[Failure]) -> Markup {
    html! {
        @if !failures.is_empty() {
            section id="failed-pages" aria-labelledby="failed-title" {
                h2 id="failed-title" { (count(failures.len() as u64, "page")) " could not be had" }
                p class="quiet" { "The next run tries them again." }
                div class="wide" tabindex="0" role="group" aria-label="Pages that could not be had" {
                    table {
                        thead { tr {
                            th scope="col" { "Page" }
                            th scope="col" { "Cause" }
                            th scope="col" class="number" { "Tried" }
                        } }
                        tbody {
                            @for failure in failures.iter().take(SHOWN_FAILURES) {
                                tr {
                                    td { (outbound(&failure.web_url, failure.title.as_deref().unwrap_or(&failure.id))) }
                                    td class="text" { (layout::sentence(&failure.cause)) }
                                    td class="number" { (failure.attempts) "×" }
                                }
                            }
                        }
                    }
                }
                @if failures.len() > SHOWN_FAILURES {
                    p class="quiet" { "The first " (SHOWN_FAILURES) " of them." }
                }
            }
        }
    }
}

fn history(source_id: &str, shown: &Runs, older: bool) -> Markup {
    html! {
        section aria-labelledby="runs-title" id="runs" {
            h2 id="runs-title" { @if older { "Earlier runs" } @else { "Runs" } }
            @if shown.runs.is_empty() {
                p class="quiet" { @if older { "There are no earlier ones." } @else { "None yet." } }
            } @else {
                (runs::table(&shown.runs))
            }
            p class="pages" {
                @if older { a href={ "/sources/" (source_id) "#runs" } { "Newest runs" } }
                @if let Some(next) = &shown.next {
                    a href={ "/sources/" (source_id) "?before=" (next) "#runs" } { "Older runs" }
                }
            }
        }
    }
}

fn settings(source: &Source, refusal: Option<&Refusal>) -> Markup {
    let base = format!("/sources/{}", source.id);
    let at = |place: Place| refusal.filter(|refusal| refusal.place == place);
    let current = source.scope().map(space_of).unwrap_or_default();
    html! {
        section aria-labelledby="settings" class="settings" {
            h2 id="settings" { "Settings" }
            div class="panel parts" {
            form method="post" action={ (base) "/token#settings" } class="setting" {
                (Field {
                    name: "api_token", label: "New API token", kind: "password", required: true,
                    help: "Tried at Confluence first; if it is no good, the old one stays.",
                    problem: at(Place::Token).map(|refusal| &refusal.problem), ..Field::default()
                })
                button { "Rotate the token" }
            }
            form method="post" action={ (base) "/scope#settings" } class="setting" {
                (Field {
                    name: "space_key", label: "Space key",
                    value: at(Place::Scope).map_or(current, |refusal| &refusal.typed),
                    help: "Empty: every space that the account may see. Documents out of the new scope are removed by the next run.",
                    problem: at(Place::Scope).map(|refusal| &refusal.problem), ..Field::default()
                })
                button { "Change the scope" }
            }
            form method="post" action={ (base) "/schedule#settings" } class="setting" {
                div {
                    (schedule_field(source.schedule.map(|schedule| schedule.run_every_seconds)))
                    @if let Some(refusal) = at(Place::Schedule) { (layout::notice(&refusal.problem)) }
                    @if let Some(schedule) = source.schedule {
                        p class="help" {
                            "A full run, which finds what was deleted, at least every "
                            (layout::span(schedule.full_every_seconds as f64)) "."
                        }
                    }
                }
                button { "Change the schedule" }
            }
            }
        }
    }
}

/// Asks for the name of the site to be typed, so that nothing is lost by a slip.
fn deletion(source: &Source, refusal: Option<&Refusal>) -> Markup {
    let refusal = refusal.filter(|refusal| refusal.place == Place::Deletion);
    let name = host(&source.base_url);
    let label = format!("Type {name} to confirm");
    html! {
        section aria-labelledby="deletion" class="settings" {
            h2 id="deletion" { "Delete" }
            details class="panel" open[refusal.is_some()] {
                summary { "Delete this source with all its documents" }
                form method="post" action={ "/sources/" (source.id) "/delete#deletion" } class="setting" {
                    (Field {
                        name: "host", label: &label, required: true, problem: refusal.map(|refusal| &refusal.problem),
                        value: refusal.map_or("", |refusal| &refusal.typed),
                        help: "Whoever follows the changes is told that they are gone. Confluence keeps its pages.",
                        ..Field::default()
                    })
                    button class="danger" { "Delete the source" }
                }
            }
        }
    }
}

/// Back to the source, or the source with what was wrong.
async fn outcome<T>(
    service: &Service,
    access: &Access,
    id: &str,
    result: Result<T, Problem>,
    done: Option<&str>,
    (place, typed): (Place, String),
) -> Result<Response, Problem> {
    match result {
        Ok(_) => {
            let done = done.map(|done| format!("?done={done}")).unwrap_or_default();
            Ok(Redirect::to(&format!("/sources/{id}{done}")).into_response())
        }
        Err(problem) => {
            let refusal = Refusal { place, problem, typed };
            let page = page(service, access, id, SourceQuery::default(), Some(&refusal)).await?;
            Ok(with_status(&refusal.problem, page))
        }
    }
}

fn at_top() -> (Place, String) {
    (Place::Top, String::new())
}

#[derive(Deserialize)]
pub(super) struct RunForm {
    mode: Mode,
}

pub(super) async fn begin(
    State(service): State<Service>,
    access: Access,
    Path(id): Path<String>,
    Form(form): Form<RunForm>,
) -> Result<Response, Problem> {
    let result: Result<Run, Problem> = all_runs::start(&service, &access, &id, form.mode, false).await;
    outcome(&service, &access, &id, result, None, at_top()).await
}

pub(super) async fn cancel(
    State(service): State<Service>,
    access: Access,
    Path((id, run_id)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let result = all_runs::stop(&service, &access, &id, &run_id).await;
    outcome(&service, &access, &id, result, None, at_top()).await
}

pub(super) async fn confirm_removals(
    State(service): State<Service>,
    access: Access,
    Path((id, run_id)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let result = all_runs::confirm(&service, &access, &id, &run_id).await;
    outcome(&service, &access, &id, result, None, at_top()).await
}

pub(super) async fn validate(
    State(service): State<Service>,
    access: Access,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let result = sources::try_again(&service, &access, &id).await;
    outcome(&service, &access, &id, result, Some("validated"), at_top()).await
}

#[derive(Deserialize)]
pub(super) struct TokenForm {
    api_token: SecretText,
}

pub(super) async fn rotate_token(
    State(service): State<Service>,
    access: Access,
    Path(id): Path<String>,
    Form(form): Form<TokenForm>,
) -> Result<Response, Problem> {
    let change = SourceChange { api_token: Some(form.api_token), ..SourceChange::default() };
    let result = sources::update(&service, &access, &id, change).await;
    outcome(&service, &access, &id, result, Some("token"), (Place::Token, String::new())).await
}

#[derive(Deserialize)]
pub(super) struct ScopeForm {
    #[serde(default)]
    space_key: String,
}

pub(super) async fn change_scope(
    State(service): State<Service>,
    access: Access,
    Path(id): Path<String>,
    Form(form): Form<ScopeForm>,
) -> Result<Response, Problem> {
    let typed = form.space_key.trim().to_owned();
    // A path would win over the key.
    let path = sources::find(&service, &access, &id).await?.scope_path.map(|_| None);
    let change =
        SourceChange { space_key: Some(Some(typed.clone())), scope_path: path, ..SourceChange::default() };
    let result = sources::update(&service, &access, &id, change).await;
    outcome(&service, &access, &id, result, Some("scope"), (Place::Scope, typed)).await
}

#[derive(Deserialize)]
pub(super) struct ScheduleForm {
    #[serde(default)]
    run_every: String,
}

pub(super) async fn change_schedule(
    State(service): State<Service>,
    access: Access,
    Path(id): Path<String>,
    Form(form): Form<ScheduleForm>,
) -> Result<Response, Problem> {
    // How often a run is a full one is not asked here, so it stays.
    let full_every =
        sources::one(&service, &access, &id).await?.schedule.map(|schedule| schedule.full_every_seconds);
    let result = match schedule(&form.run_every, full_every) {
        Ok(schedule) => {
            let change = SourceChange { schedule: Some(schedule), ..SourceChange::default() };
            sources::update(&service, &access, &id, change).await
        }
        Err(problem) => Err(problem),
    };
    outcome(&service, &access, &id, result, Some("schedule"), (Place::Schedule, String::new())).await
}

#[derive(Deserialize)]
pub(super) struct DeletionForm {
    #[serde(default)]
    host: String,
}

pub(super) async fn delete(
    State(service): State<Service>,
    access: Access,
    Path(id): Path<String>,
    Form(form): Form<DeletionForm>,
) -> Result<Response, Problem> {
    let name = host(&sources::owned(&service, &access, &id).await?.0.base_url);
    let result = if form.host.trim().eq_ignore_ascii_case(&name) {
        sources::delete(&service, &access, &id).await
    } else {
        Err(Problem::invalid(format!("nothing was deleted: type {name}")))
    };
    match result {
        Ok(_) => Ok(Redirect::to("/?done=deleted").into_response()),
        Err(_) => outcome(&service, &access, &id, result, None, (Place::Deletion, form.host)).await,
    }
}
