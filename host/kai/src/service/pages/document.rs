//! A document: as it reads, or as the Markdown that it is.

use axum::extract::State;
use maud::{Markup, PreEscaped, html};
use serde::Deserialize;

use super::layout::{self, Section, host, outbound, time};
use super::rendered;
use crate::service::Service;
use crate::service::access::Access;
use crate::service::api::{documents, sources};
use crate::service::extract::{Path, Query};
use crate::service::problem::Problem;

#[derive(Default, Deserialize)]
pub(super) struct DocumentQuery {
    #[serde(default)]
    view: String,
}

pub(super) async fn read(
    State(service): State<Service>,
    access: Access,
    Path((source_id, id)): Path<(String, String)>,
    Query(query): Query<DocumentQuery>,
) -> Result<Markup, Problem> {
    let (source, _) = sources::owned(&service, &access, &source_id).await?;
    let mut document = documents::one(&service, &access, &source_id, &id).await?;
    let as_markdown = query.view == "markdown";
    let size = document.content.len() as u64;
    let content = std::mem::take(&mut document.content);
    let shown = if as_markdown {
        html! { pre class="panel source-text" tabindex="0" { code { (content) } } }
    } else {
        // Work of the processor, shared among tenants as reading is.
        let html = service.readers.read(access.tenant_id(), move |_| Ok(rendered::html(&content))).await?;
        html! { article class="panel prose" { (PreEscaped(html)) } }
    };
    let tab = |text: &str, query: &str, current: bool| {
        html! { a href=(query) aria-current=[current.then_some("true")] { (text) } }
    };
    let page = html! {
        p class="trail" { a href="/documents" { "Documents" } }
        div class="head" {
            h1 { (document.title) }
            p { (outbound(&document.web_url, "Open in Confluence")) }
        }
        div class="reader" {
            div {
                nav class="tabs" aria-label="View" {
                    (tab("Rendered", "?", !as_markdown))
                    (tab("Markdown", "?view=markdown", as_markdown))
                }
                (shown)
            }
            aside aria-label="About this document" {
                dl class="panel about" {
                    dt { "Space" } dd {
                        a href={ "/documents?space_key=" (percent_encoding::utf8_percent_encode(&document.space_key, percent_encoding::NON_ALPHANUMERIC)) } {
                            (document.space_key)
                        }
                    }
                    dt { "Source" } dd { a href={ "/sources/" (document.source_id) } { (host(&source.base_url)) } }
                    dt { "Modified" } dd { (time(&document.modified_at)) }
                    @if let Some(at) = &document.created_at { dt { "Created" } dd { (time(at)) } }
                    @if let Some(name) = &document.created_by_display_name { dt { "Author" } dd { (name) } }
                    dt { "Version" } dd { (document.version_number) }
                    dt { "Id" } dd { (document.id) }
                    dt { "Length" } dd { (layout::count(size, "byte")) }
                }
            }
        }
    };
    Ok(layout::page(Some(&access), Section::Documents, &document.title, page))
}
