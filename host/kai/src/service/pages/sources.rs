//! The sources at a glance.

use axum::extract::State;
use maud::{Markup, html};
use serde::Deserialize;

use super::layout::{self, Section, count, host, number, scope, time};
use super::runs;
use crate::service::Service;
use crate::service::access::Access;
use crate::service::api::sources::{self, Source};
use crate::service::extract::Query;
use crate::service::problem::Problem;

#[derive(Default, Deserialize)]
pub(super) struct SourcesQuery {
    tenant_id: Option<String>,
    #[serde(default)]
    done: String,
}

pub(super) async fn list(
    State(service): State<Service>,
    access: Access,
    Query(query): Query<SourcesQuery>,
) -> Result<Markup, Problem> {
    let tenant_id = query.tenant_id.as_deref().filter(|id| !id.is_empty());
    let mut found = sources::all(&service, &access, tenant_id).await?;
    found.sort_by(|one, other| {
        (&one.tenant_id, &one.base_url, &one.id).cmp(&(&other.tenant_id, &other.base_url, &other.id))
    });
    let administration = access.tenant_id().is_none();
    let documents: u64 = found.iter().map(|source| source.documents).sum();
    let content = html! {
        div class="head" {
            div {
                h1 { "Sources" }
                p class="quiet" {
                    @if let Some(tenant_id) = tenant_id { "of tenant " (tenant_id) " · " }
                    @if !found.is_empty() {
                        (count(found.len() as u64, "source")) " · " (count(documents, "document"))
                    }
                    @if administration { @if !found.is_empty() || tenant_id.is_some() { " · " }
                        a href="/keys" { "tenants and keys" }
                    }
                }
            }
            @if !found.is_empty() { a class="button primary" href="/sources/new" { "Register a source" } }
        }
        @if query.done == "deleted" { p class="notice good" role="status" { "The source is gone, with its documents." } }
        @if found.is_empty() {
            div class="panel empty" {
                h2 { "No source yet" }
                p {
                    "A source is a Confluence site, or one space of it, read with an account of yours. Register one, and its \
                     pages are kept here as Markdown: searchable, up to date, and ready for whoever follows the changes."
                }
                p { a class="button primary" href="/sources/new" { "Register a source" } }
            }
        } @else {
            ul class="sources" data-refresh {
                @for source in &found { (row(&service, source, administration)) }
            }
        }
    };
    let under_way = found.iter().any(|source| source.last_run.as_ref().is_some_and(|run| !run.state.ended()));
    Ok(if under_way {
        layout::live_page(&access, Section::Sources, "Sources", content)
    } else {
        layout::page(Some(&access), Section::Sources, "Sources", content)
    })
}

fn row(service: &Service, source: &Source, administration: bool) -> Markup {
    let progress = source.last_run.as_ref().and_then(|run| runs::progress_of(service, run));
    html! {
        li class="panel" {
            div class="what" {
                h2 { a href={ "/sources/" (source.id) } { (host(&source.base_url)) } }
                p class="quiet" {
                    (scope(source.scope()))
                    @if administration {
                        " · tenant " a href={ "/?tenant_id=" (source.tenant_id) } { (source.tenant_id) }
                    }
                }
            }
            div class="region" id={ "state-" (source.id) } data-region {
                dl class="figures" {
                    div { dt { "Documents" } dd { (number(source.documents)) } }
                    div { dt { "Failed" } dd class=[(source.failures > 0).then_some("doubtful")] { (number(source.failures)) } }
                    div { dt { "Last run" } dd { (last_run(source)) } }
                    div { dt { "Next run" } dd { (next_run(source)) } }
                }
                @if let Some(progress) = &progress { (runs::brief(progress)) }
            }
        }
    }
}

pub(super) fn last_run(source: &Source) -> Markup {
    html! {
        @match &source.last_run {
            Some(run) => { (runs::state(run)) " " span class="quiet" { (time(runs::last_moment(run))) } }
            None => { span class="quiet" { "never" } }
        }
    }
}

pub(super) fn next_run(source: &Source) -> Markup {
    html! {
        @match &source.next_run_at {
            Some(at) => { (time(at)) }
            None => { span class="quiet" { "when asked for" } }
        }
    }
}
