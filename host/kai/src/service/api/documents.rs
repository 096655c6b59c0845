//! Documents: listed, searched, counted, read.

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use chrono::{DateTime, SecondsFormat};
use serde::{Deserialize, Serialize};
use utoipa::openapi::schema::{AnyOfBuilder, KnownFormat, ObjectBuilder, Schema, SchemaFormat, Type};
use utoipa::{IntoParams, ToSchema};

use super::sources;
use crate::service::Service;
use crate::service::access::Access;
use crate::service::extract::{Path, Query};
use crate::service::problem::Problem;
use crate::store::{
    DEFAULT_TENANT, DocumentPlace, DocumentQuery, Filter, ListedDocument, SearchQuery, StoredDocument,
};

/// Documents of a page of a list, unless fewer are asked for.
const DOCUMENTS: u32 = 50;

const MOST_DOCUMENTS: u32 = 200;

/// Longest text that is searched for, in bytes.
const LONGEST_QUERY: usize = 400;

/// A document without its content.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DocumentEntry {
    /// Which source it is of.
    pub(crate) source_id: String,
    /// Id of the page in Confluence.
    pub(crate) id: String,
    pub(crate) title: String,
    /// `text/markdown`.
    pub(crate) mime_type: String,
    /// RFC 3339, UTC.
    pub(crate) modified_at: String,
    pub(crate) metadata: DocumentMetadata,
}

/// A document.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Document {
    #[serde(flatten)]
    pub(crate) entry: DocumentEntry,
    /// Markdown.
    pub(crate) content: String,
}

/// What Confluence says of a page.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DocumentMetadata {
    /// Where a person reads it.
    pub(crate) web_url: String,
    pub(crate) space_key: String,
    pub(crate) version_number: u32,
    /// RFC 3339, UTC.
    pub(crate) created_at: Option<String>,
    /// Where Confluence names the author.
    pub(crate) created_by_display_name: Option<String>,
}

impl DocumentEntry {
    /// With the content apart.
    pub(crate) fn split(document: StoredDocument) -> (Self, String) {
        let entry = Self {
            source_id: document.source_id,
            id: document.id,
            title: document.title,
            mime_type: document.mime_type,
            modified_at: document.modified_at,
            metadata: DocumentMetadata {
                web_url: document.web_url,
                space_key: document.space_key,
                version_number: document.version_number,
                created_at: document.created_at,
                created_by_display_name: document.created_by_display_name,
            },
        };
        (entry, document.content)
    }
}

impl From<StoredDocument> for Document {
    fn from(document: StoredDocument) -> Self {
        let (entry, content) = DocumentEntry::split(document);
        Self { entry, content }
    }
}

impl From<ListedDocument> for DocumentEntry {
    fn from(listed: ListedDocument) -> Self {
        Self::split(listed.document).0
    }
}

/// A page of a list of documents.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Documents {
    pub(crate) documents: Vec<DocumentEntry>,
    /// Goes on with the next page, as `cursor`; none: this was the last.
    pub(crate) next: Option<String>,
}

/// A number of documents.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Count {
    pub(crate) count: u64,
}

/// Which documents.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct DocumentFilter {
    /// Of this source.
    pub(crate) source_id: Option<String>,
    /// Of this space.
    pub(crate) space_key: Option<String>,
    /// Modified later than this: RFC 3339.
    #[param(schema_with = time_or_nothing)]
    pub(crate) modified_after: Option<String>,
    /// Of this tenant; for the administration.
    pub(crate) tenant_id: Option<String>,
}

/// A form sends what was left out as an empty text.
fn time_or_nothing() -> Schema {
    let text = |format| ObjectBuilder::new().schema_type(Type::String).format(format);
    let time = text(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)));
    AnyOfBuilder::new().item(time).item(text(None).max_length(Some(0))).into()
}

#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct DocumentsQuery {
    /// Words, the beginnings of words, and phrases in double quotes that have to be there; the best of the newest 1,000
    /// matches come first. Without it, the newest documents come first. The administration searches in one tenant:
    /// that of the source or of `tenant_id`, else `default`.
    #[param(max_length = 400)]
    pub(crate) q: Option<String>,
    /// Where the page before stopped: its `next`.
    pub(crate) cursor: Option<String>,
    /// At most so many.
    #[param(minimum = 1, maximum = 200, default = 50)]
    pub(crate) limit: Option<u32>,
}

impl DocumentFilter {
    /// What is asked of the store: of the sources of those who ask. A source of others is one that is not there.
    async fn resolve(&self, service: &Service, access: &Access) -> Result<(String, DocumentQuery), Problem> {
        let modified_after = self.modified_after.as_deref().filter(|text| !text.is_empty());
        let modified_after = modified_after.map(|text| {
            let parsed = DateTime::parse_from_rfc3339(text);
            let shown = |at: DateTime<_>| at.to_utc().to_rfc3339_opts(SecondsFormat::Millis, true);
            parsed.map(shown).map_err(|_| {
                Problem::invalid("modified_after is no time: write it as 2026-01-31T12:00:00Z (RFC 3339)")
            })
        });
        let (tenant_id, sources) = match self.source_id.as_deref().filter(|id| !id.is_empty()) {
            Some(id) => {
                let (source, tenant_id) = sources::owned(service, access, id).await?;
                (tenant_id, vec![source.id])
            }
            None => {
                let asked = self.tenant_id.as_deref().filter(|id| !id.is_empty());
                let one = match access.tenant_id() {
                    Some(_) => Some(access.tenant_for(asked)?),
                    None => asked.map(str::to_owned),
                };
                let of = one.clone();
                let ids =
                    service.readers.read(access.tenant_id(), move |store| store.source_ids(of.as_deref()));
                (one.unwrap_or_else(|| DEFAULT_TENANT.to_owned()), ids.await?)
            }
        };
        let space_key = self.space_key.clone().filter(|key| !key.is_empty());
        Ok((tenant_id, DocumentQuery { sources, space_key, modified_after: modified_after.transpose()? }))
    }
}

/// For whom a cursor is.
fn whose(access: &Access) -> &str {
    access.tenant_id().unwrap_or_default()
}

pub(crate) async fn page(
    service: &Service,
    access: &Access,
    filter: &DocumentFilter,
    query: &DocumentsQuery,
) -> Result<Documents, Problem> {
    let limit = query.limit.unwrap_or(DOCUMENTS);
    if !(1..=MOST_DOCUMENTS).contains(&limit) {
        return Err(Problem::invalid(format!("limit is {limit}: write 1 to {MOST_DOCUMENTS}")));
    }
    let cursor = query.cursor.as_deref().filter(|cursor| !cursor.is_empty());
    let (tenant_id, documents) = filter.resolve(service, access).await?;
    let Some(text) = query.q.clone().filter(|text| !text.trim().is_empty()) else {
        let purpose = format!("documents of {}", whose(access));
        let after: Option<(String, String, String)> =
            cursor.map(|cursor| service.cursors.open(&purpose, cursor)).transpose()?;
        let after = after.map(|(modified_at, id, source_id)| DocumentPlace { modified_at, id, source_id });
        // One more than is shown tells whether there is more.
        let found = service.readers.read(access.tenant_id(), move |store| {
            store.list_documents(&documents, after.as_ref(), limit + 1)
        });
        let mut found = found.await?;
        let more = found.len() > limit as usize;
        found.truncate(limit as usize);
        let next = found.last().filter(|_| more).map(|last| {
            let last = &last.document;
            service.cursors.seal(&purpose, &(&last.modified_at, &last.id, &last.source_id))
        });
        return Ok(Documents { documents: found.into_iter().map(DocumentEntry::from).collect(), next });
    };
    if text.len() > LONGEST_QUERY {
        return Err(Problem::invalid(format!("q is longer than {LONGEST_QUERY} bytes")));
    }
    let purpose = format!("search of {}", whose(access));
    let skip: usize = cursor.map(|cursor| service.cursors.open(&purpose, cursor)).transpose()?.unwrap_or(0);
    let shown = limit as usize;
    let search = SearchQuery { tenant_id, text, documents };
    let found = service.readers.read(access.tenant_id(), move |store| store.search(&search, skip, shown + 1));
    let mut found = found.await?;
    let more = found.len() > shown;
    found.truncate(shown);
    let next = more.then(|| service.cursors.seal(&purpose, &(skip + shown)));
    Ok(Documents { documents: found.into_iter().map(DocumentEntry::from).collect(), next })
}

pub(crate) async fn number(
    service: &Service,
    access: &Access,
    filter: &DocumentFilter,
) -> Result<u64, Problem> {
    let (_, documents) = filter.resolve(service, access).await?;
    service.readers.read(access.tenant_id(), move |store| store.count_documents(&documents)).await
}

pub(crate) async fn one(
    service: &Service,
    access: &Access,
    source_id: &str,
    id: &str,
) -> Result<StoredDocument, Problem> {
    sources::owned(service, access, source_id).await?;
    let (source_id, id) = (source_id.to_owned(), id.to_owned());
    let found = service.readers.read(access.tenant_id(), move |store| store.document(&source_id, &id));
    found.await?.ok_or_else(|| Problem::not_found("document"))
}

/// A page that could not be had.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Failure {
    /// Id of the page in Confluence.
    pub(crate) id: String,
    /// Where it is known.
    pub(crate) title: Option<String>,
    /// Why.
    pub(crate) cause: String,
    /// Runs that tried it.
    pub(crate) attempts: u32,
    /// Where a person looks at it.
    pub(crate) web_url: String,
}

/// The pages of a source that could not be had. The next run tries them again.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Failures {
    pub(crate) failures: Vec<Failure>,
}

pub(crate) async fn failed(
    service: &Service,
    access: &Access,
    source_id: &str,
) -> Result<Vec<Failure>, Problem> {
    let (source, _) = sources::owned(service, access, source_id).await?;
    let base_url = source.base_url.trim_end_matches('/').to_owned();
    let filter = Filter { source_id: Some(source.id), id: None };
    let found = service.readers.read(access.tenant_id(), move |store| store.failures(&filter)).await?;
    Ok(found
        .into_iter()
        .map(|failure| Failure {
            web_url: format!("{base_url}/wiki/pages/viewpage.action?pageId={}", failure.page.id),
            id: failure.page.id,
            title: failure.page.title,
            cause: failure.page.cause,
            attempts: failure.attempts,
        })
        .collect())
}

/// A space, and how much there is of it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Space {
    pub(crate) key: String,
    pub(crate) documents: u64,
}

/// The spaces of a source that have documents.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Spaces {
    pub(crate) spaces: Vec<Space>,
}

pub(crate) async fn all_spaces(
    service: &Service,
    access: &Access,
    source_id: &str,
) -> Result<Vec<Space>, Problem> {
    sources::owned(service, access, source_id).await?;
    let id = source_id.to_owned();
    let found = service.readers.read(access.tenant_id(), move |store| store.spaces_with_documents(&id));
    Ok(found.await?.into_iter().map(|(key, documents)| Space { key, documents }).collect())
}

/// Lists or searches documents
#[utoipa::path(get, path = "/documents", operation_id = "list_documents", tag = "documents", params(DocumentFilter, DocumentsQuery),
    responses((status = 200, description = "A page of documents, without their content.", body = Documents)))]
pub(crate) async fn list(
    State(service): State<Service>,
    access: Access,
    Query(filter): Query<DocumentFilter>,
    Query(query): Query<DocumentsQuery>,
) -> Result<axum::Json<Documents>, Problem> {
    Ok(axum::Json(page(&service, &access, &filter, &query).await?))
}

/// Counts documents
#[utoipa::path(get, path = "/documents/count", operation_id = "count_documents", tag = "documents", params(DocumentFilter),
    responses((status = 200, description = "How many there are.", body = Count)))]
pub(crate) async fn count(
    State(service): State<Service>,
    access: Access,
    Query(filter): Query<DocumentFilter>,
) -> Result<axum::Json<Count>, Problem> {
    Ok(axum::Json(Count { count: number(&service, &access, &filter).await? }))
}

/// Reads a document
///
/// As JSON, or as its Markdown alone where `Accept` prefers `text/markdown`. The ETag is another one after each change.
#[utoipa::path(get, path = "/sources/{source_id}/documents/{document_id}", operation_id = "read_document", tag = "documents",
    params(("source_id" = String, Path), ("document_id" = String, Path),
           ("if-none-match" = Option<String>, Header, description = "An ETag: no content where it still holds.")),
    responses(
        (status = 200, description = "The document.", headers(("etag" = String)),
         content((Document = "application/json"), (String = "text/markdown"))),
        (status = 304, description = "It did not change."),
    ))]
pub(crate) async fn read(
    State(service): State<Service>,
    access: Access,
    Path((source_id, id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    sources::owned(&service, &access, &source_id).await?;
    let (of, page) = (source_id.clone(), id.clone());
    let listed = service.readers.read(access.tenant_id(), move |store| store.listed_document(&of, &page));
    let listed = listed.await?.ok_or_else(|| Problem::not_found("document"))?;
    let markdown = prefers_markdown(&headers);
    // Of both forms: they are other bytes.
    let tag = service.cursors.tag(&format!("{source_id} {id} {markdown}"), listed.change);
    let vary = (header::VARY, HeaderValue::from_static("accept"));
    let etag = (header::ETAG, HeaderValue::from_str(&tag).map_err(Problem::internal)?);
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    let still = known.is_some_and(|known| {
        known.split(',').map(|one| one.trim().trim_start_matches("W/")).any(|one| one == tag || one == "*")
    });
    if still {
        return Ok((StatusCode::NOT_MODIFIED, [etag, vary]).into_response());
    }
    let found = service.readers.read(access.tenant_id(), move |store| store.document(&source_id, &id));
    let document = found.await?.ok_or_else(|| Problem::not_found("document"))?;
    if markdown {
        let kind = (header::CONTENT_TYPE, HeaderValue::from_static("text/markdown; charset=utf-8"));
        return Ok(([etag, vary, kind], document.content).into_response());
    }
    Ok(([etag, vary], axum::Json(Document::from(document))).into_response())
}

/// Whether the header `Accept` names Markdown before JSON, by its weights or else by its order.
fn prefers_markdown(headers: &HeaderMap) -> bool {
    let accept = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let ranges = accept.flat_map(|text| text.split(',')).map(|range| {
        let mut parts = range.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default().to_ascii_lowercase();
        let weight = parts.find_map(|part| part.strip_prefix("q=")?.parse::<f32>().ok());
        (name, weight.unwrap_or(1.0))
    });
    let (mut markdown, mut json) = (None::<f32>, None);
    for (name, weight) in ranges {
        match name.as_str() {
            "text/markdown" | "text/plain" | "text/*" => markdown = Some(weight.max(markdown.unwrap_or(0.0))),
            "application/json" | "application/*" | "*/*" if json.is_none() => json = Some(weight),
            _ => {}
        }
    }
    markdown.is_some_and(|weight| weight > 0.0 && json.is_none_or(|json| weight >= json))
}

/// Lists the pages of a source that could not be had
#[utoipa::path(get, path = "/sources/{source_id}/failures", operation_id = "list_failures", tag = "documents", params(("source_id" = String, Path)),
    responses((status = 200, description = "The pages. The next run tries them again.", body = Failures)))]
pub(crate) async fn failures(
    State(service): State<Service>,
    access: Access,
    Path(source_id): Path<String>,
) -> Result<axum::Json<Failures>, Problem> {
    Ok(axum::Json(Failures { failures: failed(&service, &access, &source_id).await? }))
}

/// Lists the spaces of a source that have documents
#[utoipa::path(get, path = "/sources/{source_id}/spaces", operation_id = "list_spaces", tag = "documents", params(("source_id" = String, Path)),
    responses((status = 200, description = "The spaces, by key.", body = Spaces)))]
pub(crate) async fn spaces(
    State(service): State<Service>,
    access: Access,
    Path(source_id): Path<String>,
) -> Result<axum::Json<Spaces>, Problem> {
    Ok(axum::Json(Spaces { spaces: all_spaces(&service, &access, &source_id).await? }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markdown_is_given_to_those_who_prefer_it() {
        let prefers = |accept: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, accept.parse().unwrap());
            prefers_markdown(&headers)
        };
        for accept in ["text/markdown", "Text/Markdown;q=0.9", "text/markdown, */*;q=0.8", "text/plain"] {
            assert!(prefers(accept), "{accept}");
        }
        for accept in
            ["*/*", "application/json", "text/markdown;q=0.5, application/json", "text/markdown;q=0"]
        {
            assert!(!prefers(accept), "{accept}");
        }
        assert!(!prefers_markdown(&HeaderMap::new()));
    }
}
