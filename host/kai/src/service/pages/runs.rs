//! How runs look: under way, ended, and all that there were.

use chrono::DateTime;
use maud::{Markup, html};

use super::layout::{self, number, span, time};
use crate::service::Service;
use crate::service::api::runs::Run;
use crate::service::live_run::RunProgress;
use crate::service::problem::Kind;
use crate::store::RunState;
use crate::summary::Mode;

/// What a run under way has come to, where it is one.
pub(super) fn progress_of(service: &Service, run: &Run) -> Option<RunProgress> {
    let live = service.runner.live(&run.id)?;
    let progress = live.watch().borrow().clone();
    Some(progress)
}

/// The state of a run as a word with a mark.
pub(super) fn state(run: &Run) -> Markup {
    let (word, class) = match run.state {
        RunState::Queued => ("Waiting", "waiting"),
        RunState::Running => ("Running", "running"),
        RunState::Completed | RunState::Failed if refused_removals(run) => ("Removals refused", "doubtful"),
        RunState::Completed if failed(run) > 0 => ("Some pages failed", "doubtful"),
        RunState::Completed => ("Completed", "good"),
        RunState::Failed => ("Failed", "bad"),
        RunState::Cancelled => ("Cancelled", "neutral"),
        RunState::Interrupted => ("Interrupted", "neutral"),
    };
    html! { span class={ "state " (class) } { (word) } }
}

pub(super) fn refused_removals(run: &Run) -> bool {
    run.problem.as_ref().is_some_and(|problem| problem.kind == Kind::RemovalsRefused)
}

/// When something last happened to a run.
pub(super) fn last_moment(run: &Run) -> &str {
    run.ended_at.as_deref().or(run.started_at.as_deref()).unwrap_or(&run.queued_at)
}

/// A number of the summary, by its JSON pointer.
pub(super) fn figure(run: &Run, pointer: &str) -> Option<u64> {
    run.summary.as_ref()?.pointer(pointer)?.as_u64()
}

fn failed(run: &Run) -> u64 {
    figure(run, "/documents/failed").unwrap_or_default()
}

/// What was asked for, or what came of it: a source that was never read to its end is read in full.
fn mode(run: &Run) -> &'static str {
    let known = run.summary.as_ref().and_then(|summary| summary.pointer("/mode")?.as_str());
    match known {
        Some("full") => "full",
        Some("delta") => "delta",
        _ if run.mode == Mode::Full => "full",
        _ => "delta",
    }
}

fn took(run: &Run) -> Option<String> {
    let moment = |text: &Option<String>| DateTime::parse_from_rfc3339(text.as_deref()?).ok();
    let elapsed = moment(&run.ended_at)?.signed_duration_since(moment(&run.started_at)?);
    Some(span(elapsed.num_milliseconds().max(0) as f64 / 1000.0))
}

fn pages(progress: &RunProgress) -> u64 {
    progress.documents.upserted + progress.documents.unchanged + progress.documents.failed
}

/// The bar of a run under way; without a known end it only moves.
pub(super) fn bar(progress: &RunProgress) -> Markup {
    let expected = progress.expected.filter(|expected| *expected > 0);
    let done = pages(progress);
    html! {
        progress data-field="bar" aria-label="Progress of the run" max=[expected]
            value=[expected.map(|expected| done.min(expected))] {}
    }
}

/// A run under way in one line.
pub(super) fn brief(progress: &RunProgress) -> Markup {
    html! {
        div class="brief" {
            (bar(progress))
            span class="quiet" {
                @match progress.state.as_str() {
                    "queued" => { "waits for its turn" }
                    _ => {
                        (number(pages(progress)))
                        @if let Some(expected) = progress.expected { " of " (number(expected)) }
                        " pages"
                        @if let Some(until) = &progress.paused_until { ", paused until " (time(until)) }
                    }
                }
            }
        }
    }
}

/// A run under way in full; script keeps it up to date.
pub(super) fn under_way(run: &Run, progress: &RunProgress) -> Markup {
    let base = format!("/sources/{}/runs/{}", run.source_id, run.id);
    let waits = progress.state == "queued";
    let figures: [(&str, &str, String); 6] = [
        ("mode", "Mode", progress.mode.clone().unwrap_or_else(|| "–".to_owned())),
        (
            "pages",
            "Pages",
            match progress.expected {
                Some(expected) => format!("{} of {}", number(pages(progress)), number(expected)),
                None => number(pages(progress)),
            },
        ),
        ("rate", "Pages a second", format!("{:.1}", progress.pages_per_second)),
        (
            "spaces",
            "Spaces read",
            format!("{} of {}", number(progress.spaces_ended), number(progress.spaces)),
        ),
        ("written", "Written", number(progress.documents.upserted)),
        ("failed", "Failed", number(progress.documents.failed)),
    ];
    html! {
        section class="panel under-way" aria-labelledby="under-way" data-events={ "/api/v1" (base) "/events" }
            data-state=(progress.state) {
            div class="panel-head" {
                h2 id="under-way" {
                    @if waits { "A run waits for its turn" } @else {
                        "A run is under way"
                    }
                }
                form method="post" action={ (base) "/cancel" } {
                    button id="cancel" { "Cancel" }
                }
            }
            (bar(progress))
            dl class="figures" {
                @for (field, label, value) in &figures {
                    div { dt { (label) } dd data-field=(field) { (value) } }
                }
            }
            p class="doubtful" hidden[progress.paused_until.is_none()] {
                "Confluence asks to be left alone until "
                span data-field="paused" { @if let Some(until) = &progress.paused_until { (time(until)) } }
            }
            p class="quiet" hidden[progress.confirming == 0] {
                "Documents not met, looked up one by one before anything is removed: "
                span data-field="confirming" { (number(progress.confirming)) }
            }
            ul class="failures" data-field="failures" {
                @for failure in &progress.failures {
                    li { strong { "Space " (failure.space_key) } " " (failure.detail) }
                }
            }
        }
    }
}

/// What there is to say of the last run where it did not go well.
pub(super) fn trouble(run: &Run) -> Markup {
    let Some(problem) = &run.problem else { return html! {} };
    html! {
        div class={ "notice " (if refused_removals(run) { "doubtful" } else { "bad" }) } {
            p { strong { (problem.kind.title()) } }
            p { (layout::sentence(&problem.detail)) }
            @if refused_removals(run) {
                form method="post" action={ "/sources/" (run.source_id) "/runs/" (run.id) "/confirm-removals" } {
                    button id="confirm" { "Confirm the removals" }
                }
            } @else {
                p class="quiet" { (problem.kind.remedy()) }
            }
        }
    }
}

/// Runs as rows.
pub(super) fn table(runs: &[Run]) -> Markup {
    let figures = ["upserted", "unchanged", "removed", "failed"];
    let shown = |run: &Run, pointer: &str| figure(run, pointer).map_or_else(|| "–".to_owned(), number);
    html! {
        div class="wide" tabindex="0" role="group" aria-label="Runs" {
            table {
                thead {
                    tr {
                        th scope="col" { "Began" }
                        th scope="col" { "Mode" }
                        th scope="col" { "State" }
                        th scope="col" class="number" { "Took" }
                        th scope="col" class="number" { "Written" }
                        th scope="col" class="number" { "Unchanged" }
                        th scope="col" class="number" { "Removed" }
                        th scope="col" class="number" { "Failed" }
                        th scope="col" class="number" { "Requests" }
                        th scope="col" class="number" { "Throttled" }
                    }
                }
                tbody {
                    @for run in runs {
                        tr {
                            td { (time(run.started_at.as_deref().unwrap_or(&run.queued_at))) }
                            td { (mode(run)) @if run.confirm_removals { span class="quiet below" { "removals confirmed" } } }
                            td { (state(run)) }
                            td class="number" { (took(run).unwrap_or_else(|| "–".to_owned())) }
                            @for name in figures {
                                td class="number" { (shown(run, &format!("/documents/{name}"))) }
                            }
                            td class="number" { (shown(run, "/http/requests")) }
                            td class="number" { (throttled(run)) }
                        }
                        @if let Some(problem) = &run.problem {
                            tr class="of-above" {
                                td colspan="10" {
                                    p { strong { (problem.kind.title()) } ": " (layout::sentence(&problem.detail)) }
                                    @if !refused_removals(run) { p class="quiet" { (problem.kind.remedy()) } }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn throttled(run: &Run) -> String {
    let seconds =
        run.summary.as_ref().and_then(|summary| summary.pointer("/http/throttled_seconds")?.as_f64());
    match (figure(run, "/http/throttled"), seconds) {
        (None, _) => "–".to_owned(),
        (Some(0), _) => "0".to_owned(),
        (Some(times), seconds) => format!("{}×, {}", number(times), span(seconds.unwrap_or_default())),
    }
}
