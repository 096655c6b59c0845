//! Documents: searched, filtered, leafed through.

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use chrono::NaiveDate;
use maud::{Markup, html};
use serde::Deserialize;
use url::form_urlencoded::Serializer;

use super::layout::{self, Section, count, host, scope, time};
use super::with_status;
use crate::service::Service;
use crate::service::access::Access;
use crate::service::api::documents::{self, DocumentEntry, DocumentFilter, Documents, DocumentsQuery};
use crate::service::api::keys::{self, Tenant};
use crate::service::api::sources::{self, Source};
use crate::service::extract::Query;
use crate::service::problem::Problem;
use crate::store::DEFAULT_TENANT;

/// Documents of a page.
const SHOWN: u32 = 30;

/// Of so many sources at most the spaces are offered; of more, their keys are typed.
const SOURCES_WITH_SPACES: usize = 10;

/// As the form sends it: what is empty was not asked for.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Asked {
    q: String,
    source_id: String,
    space_key: String,
    /// A day.
    modified_after: String,
    tenant_id: String,
    cursor: String,
}

impl Asked {
    fn filter(&self) -> Result<DocumentFilter, Problem> {
        let given = |text: &String| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        let day = given(&self.modified_after).map(|day| {
            let parsed = day.parse::<NaiveDate>();
            parsed.map_err(|_| Problem::invalid("modified after is no day: write it as 2026-01-31"))
        });
        Ok(DocumentFilter {
            source_id: given(&self.source_id),
            space_key: given(&self.space_key),
            modified_after: day.transpose()?.map(|day| format!("{day}T00:00:00Z")),
            tenant_id: given(&self.tenant_id),
        })
    }

    /// The same question, from a place on.
    fn from(&self, cursor: &str) -> String {
        let mut query = Serializer::new(String::new());
        let pairs = [
            ("q", &self.q),
            ("source_id", &self.source_id),
            ("space_key", &self.space_key),
            ("modified_after", &self.modified_after),
            ("tenant_id", &self.tenant_id),
        ];
        for (name, value) in pairs.into_iter().filter(|(_, value)| !value.is_empty()) {
            query.append_pair(name, value);
        }
        if !cursor.is_empty() {
            query.append_pair("cursor", cursor);
        }
        format!("/documents?{}", query.finish())
    }

    fn searches(&self) -> bool {
        !self.q.trim().is_empty()
    }

    fn narrows(&self) -> bool {
        [&self.q, &self.source_id, &self.space_key, &self.modified_after, &self.tenant_id]
            .iter()
            .any(|text| !text.is_empty())
    }
}

pub(super) async fn list(
    State(service): State<Service>,
    access: Access,
    Query(asked): Query<Asked>,
) -> Result<Response, Problem> {
    let found = match asked.filter() {
        Ok(filter) => found(&service, &access, &asked, &filter).await,
        Err(problem) => Err(problem),
    };
    let sources = sources::all(&service, &access, None).await?;
    let spaces = spaces(&service, &access, &asked, &sources).await;
    let tenants = match access.tenant_id() {
        None => keys::all_tenants(&service, &access).await?,
        Some(_) => Vec::new(),
    };
    let content = html! {
        h1 { "Documents" }
        (form(&asked, &sources, &spaces, &tenants))
        @match &found {
            Err(problem) => { (layout::notice(problem)) }
            Ok((documents, total)) => { (results(&asked, documents, *total, &sources)) }
        }
    };
    let title = if asked.searches() {
        format!("“{}” in documents", asked.q.trim())
    } else {
        "Documents".to_owned()
    };
    let page = layout::page(Some(&access), Section::Documents, &title, content);
    Ok(match found {
        Ok(_) => page.into_response(),
        Err(problem) => with_status(&problem, page),
    })
}

/// A page of documents, and how many there are where none is searched for.
async fn found(
    service: &Service,
    access: &Access,
    asked: &Asked,
    filter: &DocumentFilter,
) -> Result<(Documents, Option<u64>), Problem> {
    let query =
        DocumentsQuery { q: Some(asked.q.clone()), cursor: Some(asked.cursor.clone()), limit: Some(SHOWN) };
    let documents = documents::page(service, access, filter, &query).await?;
    let total = match asked.searches() {
        true => None,
        false => Some(documents::number(service, access, filter).await?),
    };
    Ok((documents, total))
}

/// Keys of spaces to choose from.
async fn spaces(service: &Service, access: &Access, asked: &Asked, sources: &[Source]) -> Vec<String> {
    let chosen: Vec<&Source> = sources
        .iter()
        .filter(|source| asked.source_id.is_empty() || source.id == asked.source_id)
        .take(SOURCES_WITH_SPACES)
        .collect();
    let mut keys = Vec::new();
    for source in chosen {
        let spaces = documents::all_spaces(service, access, &source.id).await;
        keys.extend(spaces.unwrap_or_default().into_iter().map(|space| space.key));
    }
    keys.sort();
    keys.dedup();
    keys
}

fn form(asked: &Asked, sources: &[Source], spaces: &[String], tenants: &[Tenant]) -> Markup {
    html! {
        form method="get" action="/documents" class="search" role="search" {
            div class="question" {
            div class="field" {
                    label for="q" { "Search" }
                    input id="q" name="q" type="search" value=(asked.q) maxlength="400" placeholder="Words, or a \"phrase\"";
                }
                button class="primary" { "Search" }
            }
            div class="field" {
                label for="source_id" { "Source" }
                select id="source_id" name="source_id" {
                    option value="" { "All" }
                    @for source in sources {
                        option value=(source.id) selected[source.id == asked.source_id] {
                            (host(&source.base_url)) ", " (scope(source.scope()))
                        }
                    }
                }
            }
            div class="field" {
                label for="space_key" { "Space" }
                input id="space_key" name="space_key" value=(asked.space_key) list="spaces" autocomplete="off" placeholder="All";
                datalist id="spaces" { @for key in spaces { option value=(key) {} } }
            }
            div class="field" {
                label for="modified_after" { "Modified since" }
                input id="modified_after" name="modified_after" type="date" value=(asked.modified_after);
            }
            @if tenants.len() > 1 {
                div class="field" {
                    label for="tenant_id" { "Tenant" }
                    select id="tenant_id" name="tenant_id" {
                        option value="" { "All; searches in " (DEFAULT_TENANT) }
                        @for tenant in tenants {
                            option value=(tenant.id) selected[tenant.id == asked.tenant_id] { (tenant.name) }
                        }
                    }
                }
            }
        }
    }
}

fn results(asked: &Asked, found: &Documents, total: Option<u64>, sources: &[Source]) -> Markup {
    let of = |entry: &DocumentEntry| sources.iter().find(|source| source.id == entry.source_id);
    html! {
        @if found.documents.is_empty() {
            div class="panel empty" {
                @if asked.narrows() || !asked.cursor.is_empty() {
                    h2 { "Nothing found" }
                    p { "No document has all of that. Try fewer words, or another space." }
                    p { a class="button" href="/documents" { "All documents" } }
                } @else {
                    h2 { "No documents yet" }
                    p { "They come with the first run of a source." }
                    p { a class="button primary" href="/" { "To the sources" } }
                }
            }
        } @else {
            p class="quiet" role="status" {
                @match total {
                    Some(total) => { (count(total, "document")) ", the newest first" }
                    None => { "The best matches first" }
                }
            }
            ul class="documents panel" {
                @for entry in &found.documents {
                    li {
                        a href={ "/documents/" (segment(&entry.source_id)) "/" (segment(&entry.id)) } { (entry.title) }
                        p class="quiet" {
                            span class="key" { (entry.metadata.space_key) } " "
                            @if sources.len() > 1 { @if let Some(source) = of(entry) { (host(&source.base_url)) " · " } }
                            (time(&entry.modified_at))
                        }
                    }
                }
            }
        }
        p class="pages" {
            @if !asked.cursor.is_empty() { a href=(asked.from("")) { "First page" } }
            @if let Some(next) = &found.next { a href=(asked.from(next)) rel="next" { "Next page" } }
        }
    }
}

/// A part of a path.
fn segment(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}
