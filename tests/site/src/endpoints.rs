//! The three endpoints, without any I/O: the state and a request give an answer.

use std::cmp::Ordering;
use std::collections::HashSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::NaiveDateTime;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Value, json};

use crate::state::{Page, PageStatus, Space, State, rfc3339};

const DEFAULT_LIMIT: usize = 25;
const MAX_LIMIT: usize = 250;
/// As v2 does for `ids` and `keys`.
const MAX_VALUES: usize = 250;
const PAGE_SORTS: &[&str] =
    &["id", "-id", "created-date", "-created-date", "modified-date", "-modified-date", "title", "-title"];

/// What a path asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Endpoint {
    Spaces,
    SpacePages(String),
    Page(String),
    Unknown,
}

impl Endpoint {
    pub(crate) fn of(path: &str) -> Endpoint {
        // The gateway's addresses hold the site's own behind a prefix.
        let path = match path.strip_prefix("/ex/confluence/").and_then(|rest| rest.split_once('/')) {
            Some((cloud_id, rest)) if !cloud_id.is_empty() => rest,
            Some(_) => return Endpoint::Unknown,
            None => path.strip_prefix('/').unwrap_or(path),
        };
        let Some(path) = path.strip_prefix("wiki/api/v2/") else { return Endpoint::Unknown };
        match path.split('/').collect::<Vec<_>>().as_slice() {
            ["spaces"] => Endpoint::Spaces,
            ["spaces", id, "pages"] => Endpoint::SpacePages((*id).to_owned()),
            ["pages", id] => Endpoint::Page((*id).to_owned()),
            _ => Endpoint::Unknown,
        }
    }

    /// Its name in the statistics.
    pub(crate) fn name(&self) -> Option<&'static str> {
        match self {
            Endpoint::Spaces => Some("spaces"),
            Endpoint::SpacePages(_) => Some("space-pages"),
            Endpoint::Page(_) => Some("page"),
            Endpoint::Unknown => None,
        }
    }
}

/// An answer before it is bytes.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Body,
    /// The `Link` header.
    pub(crate) link: Option<String>,
}

#[derive(Debug)]
pub(crate) enum Body {
    Json(Vec<u8>),
    Html(String),
}

impl Body {
    /// Straight from what is borrowed: the bodies of a listing are megabytes.
    pub(crate) fn json(value: &impl Serialize) -> Body {
        Body::Json(serde_json::to_vec(value).unwrap_or_default())
    }

    /// Its content type and bytes.
    pub(crate) fn into_bytes(self) -> (&'static str, Vec<u8>) {
        match self {
            Body::Json(bytes) => ("application/json", bytes),
            Body::Html(text) => ("text/html;charset=UTF-8", text.into_bytes()),
        }
    }
}

impl Answer {
    pub(crate) fn html(status: u16, title: &str) -> Answer {
        let page = format!(
            "<!doctype html><html lang=\"en\"><head><title>{status} {title}</title></head>\
             <body><h1>HTTP Status {status} \u{2013} {title}</h1><hr class=\"line\" /></body></html>"
        );
        Answer { status, body: Body::Html(page), link: None }
    }

    fn error(status: u16, code: &str, title: &str, detail: Option<&str>) -> Answer {
        let error = json!({ "status": status, "code": code, "title": title, "detail": detail });
        Answer { status, body: Body::json(&json!({ "errors": [error] })), link: None }
    }

    /// What a rejected credential gets: it does not say what was not found.
    pub(crate) fn generic_not_found() -> Answer {
        Answer::error(404, "NOT_FOUND", "Not Found", None)
    }

    fn not_found(what: &str, id: &str) -> Answer {
        Answer::error(404, "NOT_FOUND", &format!("Cannot find a {what} with id [{id}]"), None)
    }

    fn wrong_type(value: &str, name: &str, expected: &str) -> Answer {
        let title = format!(
            "Provided value {{{value}}} for '{name}' is not the correct type. Expected type is {expected}."
        );
        Answer::error(400, "INVALID_REQUEST_PARAMETER", &title, None)
    }

    fn invalid_cursor() -> Answer {
        let title = "Provided value for 'cursor' is not the correct type. Expected type is Cursor.";
        let detail = "The cursor is invalid. Repeat the original request without it to get a new one.";
        Answer::error(400, "INVALID_REQUEST_PARAMETER", title, Some(detail))
    }
}

/// The answer to a request with an accepted credential.
pub(crate) fn answer(state: &State, endpoint: &Endpoint, query: &str) -> Answer {
    let query = Query::parse(query);
    let result = match endpoint {
        Endpoint::Spaces => spaces(state, &query),
        Endpoint::SpacePages(id) => space_pages(state, id, &query),
        Endpoint::Page(id) => page(state, id, &query),
        Endpoint::Unknown => Ok(Answer::html(404, "Not Found")),
    };
    result.unwrap_or_else(|refusal| refusal)
}

struct Query(Vec<(String, String)>);

impl Query {
    fn parse(text: &str) -> Query {
        Query(url::form_urlencoded::parse(text.as_bytes()).into_owned().collect())
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Lists may be repeated parameters, one with commas, or both.
    fn list(&self, name: &str) -> Vec<&str> {
        let values = self.0.iter().filter(|(key, _)| key == name);
        values.flat_map(|(_, value)| value.split(',')).filter(|value| !value.is_empty()).collect()
    }

    fn one_of<'a>(
        &self,
        name: &str,
        allowed: &[&'a str],
        type_name: &str,
    ) -> Result<Option<&'a str>, Answer> {
        let Some(value) = self.get(name) else { return Ok(None) };
        match allowed.iter().find(|known| **known == value) {
            Some(known) => Ok(Some(known)),
            None => Err(Answer::wrong_type(value, name, type_name)),
        }
    }

    fn limit(&self, state: &State) -> Result<usize, Answer> {
        let cap = (state.quirks.page_cap as usize).max(1);
        let Some(text) = self.get("limit") else { return Ok(DEFAULT_LIMIT.min(cap)) };
        match text.parse::<usize>() {
            Ok(limit) if limit == 0 || (limit > MAX_LIMIT && state.quirks.limit_over_250_is_400) => {
                let title =
                    format!("Provided value {{{limit}}} for 'limit' is not between 1 and {MAX_LIMIT}.");
                Err(Answer::error(400, "INVALID_REQUEST_PARAMETER", &title, None))
            }
            Ok(limit) => Ok(limit.min(MAX_LIMIT).min(cap)),
            Err(_) => Err(Answer::wrong_type(text, "limit", "int")),
        }
    }
}

fn number(text: &str, name: &str) -> Result<u64, Answer> {
    text.parse::<i64>()
        .ok()
        .and_then(|id| u64::try_from(id).ok())
        .ok_or_else(|| Answer::wrong_type(text, name, "long"))
}

/// The value that a row is sorted by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
enum SortValue {
    Number(i64),
    Text(String),
}

/// A position in an order, not a snapshot: the last row that was given out, and how rows were sorted.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Cursor {
    id: String,
    content_order: String,
    content_order_value: SortValue,
}

impl Cursor {
    /// Base64 that always ends in `=`, and holds neither `+` nor `/`: other characters than letters, digits and `=`
    /// would have to be encoded even in a `next` that leaves the cursor raw.
    fn encode(&self) -> String {
        let mut text = String::new();
        for letter in serde_json::to_string(self).unwrap_or_default().chars() {
            match letter {
                '~' | '?' | '>' | '\u{7f}' => text.push_str(&format!("\\u{:04x}", u32::from(letter))),
                _ if letter.is_ascii() => text.push(letter),
                _ => {
                    for unit in letter.encode_utf16(&mut [0; 2]) {
                        text.push_str(&format!("\\u{unit:04x}"));
                    }
                }
            }
        }
        while text.len().is_multiple_of(3) {
            text.push(' ');
        }
        STANDARD.encode(text)
    }

    fn decode(text: &str) -> Option<Cursor> {
        let cursor: Cursor = serde_json::from_slice(&STANDARD.decode(text).ok()?).ok()?;
        cursor.id.parse::<u64>().ok()?;
        Some(cursor)
    }
}

/// How a list is sorted, and which part of it is asked for.
struct Order {
    /// As `sort` names it.
    name: &'static str,
    field: &'static str,
    descending: bool,
    limit: usize,
    cursor: Option<Cursor>,
}

/// A row with what it is sorted by: the value, then the id.
type Keyed<T> = (SortValue, u64, T);

impl Order {
    fn of(state: &State, query: &Query, sorts: &[&'static str], sort_type: &str) -> Result<Order, Answer> {
        let asked = query.one_of("sort", sorts, sort_type)?;
        let limit = query.limit(state)?;
        let cursor = match query.get("cursor") {
            Some(text) => Some(Cursor::decode(text).ok_or_else(Answer::invalid_cursor)?),
            None => None,
        };
        // The cursor holds the order too. It must be one of this list's, and the one that is asked for, if any is.
        let name = match (&cursor, asked) {
            (Some(cursor), asked) => {
                let held = sorts.iter().find(|sort| **sort == cursor.content_order).copied();
                match held {
                    Some(held) if asked.is_none_or(|asked| asked == held) => held,
                    _ => return Err(Answer::invalid_cursor()),
                }
            }
            (None, asked) => asked.unwrap_or("id"),
        };
        let (field, descending) = match name.strip_prefix('-') {
            Some(field) => (field, true),
            None => (name, false),
        };
        Ok(Order { name, field, descending, limit, cursor })
    }

    /// The row that the rows asked for come after.
    fn after(&self) -> Option<(&SortValue, u64)> {
        let cursor = self.cursor.as_ref()?;
        Some((&cursor.content_order_value, cursor.id.parse().unwrap_or_default()))
    }

    /// The same where rows are sorted by a number; none where the cursor is of another order.
    fn after_number(&self) -> Option<Option<(i64, u64)>> {
        match self.after() {
            None => Some(None),
            Some((SortValue::Number(value), id)) => Some(Some((*value, id))),
            Some((SortValue::Text(_), _)) => None,
        }
    }

    fn compare(&self, a: (&SortValue, u64), b: (&SortValue, u64)) -> Ordering {
        let ordering = a.cmp(&b);
        if self.descending { ordering.reverse() } else { ordering }
    }

    /// Sorts rows that come in any order, and takes those behind the cursor.
    fn sort<T>(&self, rows: impl Iterator<Item = Keyed<T>>) -> Vec<Keyed<T>> {
        let mut rows: Vec<Keyed<T>> = match self.after() {
            Some(after) => {
                rows.filter(|row| self.compare((&row.0, row.1), after) == Ordering::Greater).collect()
            }
            None => rows.collect(),
        };
        rows.sort_by(|a, b| self.compare((&a.0, a.1), (&b.0, b.1)));
        rows
    }

    /// Of rows in this order, those of one answer, and the cursor of the next.
    fn cut<T>(&self, state: &State, query: &Query, mut rows: Vec<Keyed<T>>) -> Slice<T> {
        let more = rows.len() > self.limit;
        rows.truncate(self.limit);
        let last = rows.last().map(|(value, id, _)| {
            let (value, order) = (value.clone(), self.name.to_owned());
            Cursor { id: id.to_string(), content_order: order, content_order_value: value }.encode()
        });
        let next = match (state.quirks.loop_cursor, query.get("cursor")) {
            (true, Some(same)) => Some(same.to_owned()),
            (true, None) => last,
            (false, _) => last.filter(|_| more),
        };
        Slice { rows: rows.into_iter().map(|(_, _, row)| row).collect(), next }
    }
}

/// One page of a list.
struct Slice<T> {
    rows: Vec<T>,
    next: Option<String>,
}

/// `{"results": …, "_links": …}` and the `Link` header.
fn envelope<T: Serialize>(
    state: &State,
    path: &str,
    query: &Query,
    results: Vec<T>,
    next: Option<String>,
) -> Answer {
    #[derive(Serialize)]
    struct Envelope<T> {
        results: Vec<T>,
        #[serde(rename = "_links")]
        links: Value,
    }

    let base = format!("{}/wiki", state.base_url);
    let mut links = json!({ "base": base });
    let mut link = format!("<{base}>; rel=\"base\"");
    if let Some(cursor) = next {
        let mut parameters = url::form_urlencoded::Serializer::new(String::new());
        for (name, value) in query.0.iter().filter(|(name, _)| name != "cursor") {
            parameters.append_pair(name, value);
        }
        if query.get("limit").is_none() {
            parameters.append_pair("limit", &DEFAULT_LIMIT.to_string());
        }
        let parameters = parameters.finish();
        let encoded = cursor.replace('=', "%3D");
        let cursor = if state.quirks.cursor_in_next_encoded { encoded } else { cursor };
        // Through the gateway, too, the path is the one on the site's own domain.
        let next = format!("{path}?{parameters}&cursor={cursor}");
        let next = match (state.quirks.foreign_next, state.quirks.absolute_next) {
            (true, _) => format!("http://127.0.0.1:9{next}"),
            (false, true) => format!("{}{next}", state.base_url),
            (false, false) => next,
        };
        link = format!("<{next}>; rel=\"next\", {link}");
        if let Some(links) = links.as_object_mut() {
            links.insert("next".to_owned(), next.into());
        }
    }
    Answer { status: 200, body: Body::json(&Envelope { results, links }), link: Some(link) }
}

fn spaces(state: &State, query: &Query) -> Result<Answer, Answer> {
    const TYPES: &[&str] = &[
        "global",
        "collaboration",
        "knowledge_base",
        "personal",
        "system",
        "onboarding",
        "xflow_sample_space",
    ];
    let ids = query.list("ids").into_iter().map(|id| number(id, "ids")).collect::<Result<HashSet<_>, _>>()?;
    let keys: HashSet<String> = query.list("keys").into_iter().map(str::to_lowercase).collect();
    for (name, count) in [("ids", ids.len()), ("keys", keys.len())] {
        if count > MAX_VALUES {
            let title = format!("Provided value for '{name}' has more than {MAX_VALUES} entries.");
            return Err(Answer::error(400, "INVALID_REQUEST_PARAMETER", &title, None));
        }
    }
    let kind = query.one_of("type", TYPES, "SpaceType")?;
    let status = query.one_of("status", &["current", "archived"], "SpaceStatus")?;
    let order = Order::of(state, query, &["id", "-id", "key", "-key", "name", "-name"], "SpaceSortOrder")?;
    let rows = state
        .visible_spaces()
        .filter(|space| ids.is_empty() || ids.contains(&space.id))
        .filter(|space| keys.is_empty() || keys.contains(&space.key.to_lowercase()))
        .filter(|space| kind.is_none_or(|kind| kind == space_type(space)))
        .filter(|space| status.is_none_or(|status| status == space.status.as_str()))
        .map(|space| {
            let value = match order.field {
                "key" => SortValue::Text(space.key.to_lowercase()),
                "name" => SortValue::Text(space.name.to_lowercase()),
                _ => SortValue::Number(space.id as i64),
            };
            (value, space.id, space)
        });
    let slice = order.cut(state, query, order.sort(rows));
    let results = slice.rows.into_iter().map(space_json).collect();
    Ok(envelope(state, "/wiki/api/v2/spaces", query, results, slice.next))
}

fn space_type(space: &Space) -> &'static str {
    if space.key.starts_with('~') { "personal" } else { "global" }
}

fn space_json(space: &Space) -> Value {
    let author = crate::storage_text::ACCOUNTS.first().copied().unwrap_or_default();
    let mut row = json!({
        "id": space.id.to_string(),
        "key": space.key,
        "name": space.name,
        "type": space_type(space),
        "status": space.status.as_str(),
        "authorId": author,
        "spaceOwnerId": author,
        "currentActiveAlias": space.address(),
        "createdAt": rfc3339(space.created),
        "description": null,
        "icon": null,
        "_links": { "webui": format!("/spaces/{}", space.address()) },
    });
    if let (Some(row), Some(homepage)) = (row.as_object_mut(), space.homepage) {
        row.insert("homepageId".to_owned(), homepage.to_string().into());
    }
    row
}

fn space_pages(state: &State, id: &str, query: &Query) -> Result<Answer, Answer> {
    let space_id = number(id, "id")?;
    query.one_of("depth", &["all", "root"], "DepthOption")?;
    let format =
        query.one_of("body-format", &["storage", "atlas_doc_format"], "PrimaryBodyRepresentation")?;
    let mut statuses = query.list("status");
    for status in &statuses {
        if !["current", "archived", "deleted", "trashed"].contains(status) {
            return Err(Answer::wrong_type(status, "status", "ContentStatus"));
        }
    }
    if statuses.is_empty() {
        statuses = vec!["current", "archived"];
    }
    let title = query.get("title").map(str::to_lowercase);
    let modified_after = cql(state, query)?;
    let Some(space) = state.space(space_id).filter(|space| space.visible) else {
        return Err(Answer::not_found("space", id));
    };
    let order = Order::of(state, query, PAGE_SORTS, "PageSortOrder")?;
    let listed = |page: &&Page| {
        !page.restricted
            && page.status != PageStatus::Draft
            && statuses.contains(&page.status.as_str())
            && title.as_ref().is_none_or(|title| page.title.to_lowercase() == *title)
            // The search index knows current pages only.
            && modified_after
                .is_none_or(|after| after.admits(page.modified) && page.status == PageStatus::Current)
    };
    let value = |page: &Page| match order.field {
        _ if state.quirks.broken_sort => {
            SortValue::Number((page.id.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 16) as i64)
        }
        "created-date" => SortValue::Number(page.created),
        "modified-date" => SortValue::Number(page.modified),
        "title" => SortValue::Text(page.title.to_lowercase()),
        _ => SortValue::Number(page.id as i64),
    };
    let keyed = |page| (value(page), page.id, page);
    let sorted = order
        .after_number()
        .filter(|_| !state.quirks.broken_sort)
        .and_then(|after| state.sorted_pages(space_id, order.field, order.descending, after));
    let rows = match sorted {
        // What a sync asks for costs what the answer holds, not what the space does.
        Some(pages) => pages.filter(listed).map(keyed).take(order.limit + 1).collect(),
        None => order.sort(state.listed_pages(space_id).into_iter().filter(listed).map(keyed)),
    };
    let slice = order.cut(state, query, rows);
    if format.is_some() && slice.rows.iter().any(|page| page.broken) {
        return Err(Answer::html(500, "Internal Server Error"));
    }
    let results = slice.rows.into_iter().map(|page| PageRow::new(space, page, format, None)).collect();
    Ok(envelope(state, &format!("/wiki/api/v2/spaces/{space_id}/pages"), query, results, slice.next))
}

fn page(state: &State, id: &str, query: &Query) -> Result<Answer, Answer> {
    number(id, "id")?;
    let formats = [
        "storage",
        "atlas_doc_format",
        "view",
        "export_view",
        "anonymous_export_view",
        "styled_view",
        "editor",
    ];
    let format = query.one_of("body-format", &formats, "PrimaryBodyRepresentationSingle")?;
    let drafts = query.get("get-draft") == Some("true") || query.list("status").contains(&"draft");
    let found =
        state.find(id).filter(|page| !page.restricted && (page.status != PageStatus::Draft || drafts));
    let found = found.and_then(|page| Some((page, state.space(page.space).filter(|space| space.visible)?)));
    let Some((page, space)) = found else { return Err(Answer::not_found("page", id)) };
    if format.is_some() && page.broken {
        return Err(Answer::html(500, "Internal Server Error"));
    }
    let row = PageRow::new(space, page, format, Some(format!("{}/wiki", state.base_url)));
    Ok(Answer { status: 200, body: Body::json(&row), link: None })
}

/// A page as v2 writes it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PageRow<'a> {
    id: String,
    status: &'static str,
    title: &'a str,
    space_id: String,
    parent_id: Option<String>,
    parent_type: Option<&'static str>,
    position: Option<i64>,
    author_id: &'static str,
    owner_id: &'static str,
    last_owner_id: Option<()>,
    created_at: String,
    version: VersionRow,
    source_template_entity_id: Option<()>,
    body: BodyRow<'a>,
    #[serde(rename = "_links")]
    links: LinksRow,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct VersionRow {
    created_at: String,
    message: &'static str,
    number: u32,
    minor_edit: bool,
    author_id: &'static str,
    /// Not in the documentation, but there.
    ncs_step_version: Option<String>,
}

/// In one format, or none.
struct BodyRow<'a>(Option<(&'a str, &'a str)>);

impl Serialize for BodyRow<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Text<'a> {
            representation: &'a str,
            value: &'a str,
        }
        let text = self.0.map(|(format, value)| (format, Text { representation: format, value }));
        serializer.collect_map(text)
    }
}

#[derive(Serialize)]
struct LinksRow {
    #[serde(skip_serializing_if = "Option::is_none")]
    base: Option<String>,
    webui: String,
    editui: String,
    edituiv2: String,
    tinyui: String,
}

impl<'a> PageRow<'a> {
    fn new(space: &Space, page: &'a Page, format: Option<&'a str>, base: Option<String>) -> PageRow<'a> {
        // What lies in the trash has lost its place.
        let parent = page.parent.filter(|_| page.status != PageStatus::Trashed);
        let value = |format| match format {
            "atlas_doc_format" => r#"{"type":"doc","version":1,"content":[]}"#,
            _ => &*page.storage,
        };
        PageRow {
            id: page.id.to_string(),
            status: page.status.as_str(),
            title: &page.title,
            space_id: page.space.to_string(),
            parent_id: parent.map(|(id, _)| id.to_string()),
            parent_type: parent.map(|(_, kind)| kind),
            position: page.position,
            author_id: page.author,
            owner_id: page.author,
            last_owner_id: None,
            created_at: rfc3339(page.created),
            version: VersionRow {
                created_at: rfc3339(page.modified),
                message: "",
                number: page.version,
                minor_edit: false,
                author_id: page.author,
                ncs_step_version: (!page.id.is_multiple_of(2)).then(|| page.version.to_string()),
            },
            source_template_entity_id: None,
            body: BodyRow(format.map(|format| (format, value(format)))),
            links: LinksRow {
                base,
                webui: web_path(space, page),
                editui: format!("/pages/resumedraft.action?draftId={}", page.id),
                edituiv2: format!("/spaces/{}/pages/edit-v2/{}", space.address(), page.id),
                tinyui: format!("/x/{}", tiny(page.id)),
            },
        }
    }
}

fn web_path(space: &Space, page: &Page) -> String {
    if space.homepage == Some(page.id) {
        return format!("/spaces/{}/overview", space.address());
    }
    let path = format!("/spaces/{}/pages/{}", space.address(), page.id);
    let words = page.title.split_whitespace().filter(|word| word.is_ascii());
    let slug: Vec<String> =
        words.map(|word| url::form_urlencoded::byte_serialize(word.as_bytes()).collect()).collect();
    if slug.is_empty() { path } else { format!("{path}/{}", slug.join("+")) }
}

/// The id's bytes, low first, in base64 whose two last letters are swapped compared to the usual URL form.
fn tiny(id: u64) -> String {
    let text = STANDARD.encode(id.to_le_bytes());
    text.trim_end_matches(['=', 'A']).replace('/', "-").replace('+', "_")
}

#[derive(Clone, Copy)]
struct After {
    from: i64,
    inclusive: bool,
}

impl After {
    fn admits(self, modified: i64) -> bool {
        if self.inclusive { modified >= self.from } else { modified > self.from }
    }
}

/// `lastModified > "YYYY-MM-DD HH:MM"`, which knows neither seconds nor a zone.
fn cql(state: &State, query: &Query) -> Result<Option<After>, Answer> {
    let Some(text) = query.get("cql") else { return Ok(None) };
    let refusal = || Answer::error(400, "INVALID_REQUEST_PARAMETER", "Could not parse cql", Some(text));
    if state.quirks.reject_cql {
        return Err(refusal());
    }
    if !state.quirks.honour_cql {
        return Ok(None);
    }
    let (field, rest) = text.split_once('>').ok_or_else(refusal)?;
    let (inclusive, rest) = match rest.strip_prefix('=') {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    let literal =
        rest.trim().strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).ok_or_else(refusal)?;
    let local = NaiveDateTime::parse_from_str(&literal.replace('/', "-"), "%Y-%m-%d %H:%M");
    match local {
        Ok(local) if field.trim().eq_ignore_ascii_case("lastmodified") => {
            let zone = i64::from(state.quirks.cql_zone_minutes) * 60_000;
            Ok(Some(After { from: local.and_utc().timestamp_millis() - zone, inclusive }))
        }
        _ => Err(refusal()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiny_links_are_those_of_real_pages() {
        assert_eq!(tiny(544_178_405), "5YBvI");
    }

    #[test]
    fn cursors_come_back_and_need_no_encoding() {
        for value in [SortValue::Number(-5), SortValue::Text("~?>\u{1f680} \u{fc}\"".to_owned())] {
            let (id, content_order) = ("7".to_owned(), "title".to_owned());
            let text = Cursor { id, content_order, content_order_value: value.clone() }.encode();
            assert!(text.ends_with('=') && !text.contains(['+', '/']), "{text}");
            assert_eq!(Cursor::decode(&text).unwrap().content_order_value, value);
        }
    }

    #[test]
    fn the_gateway_serves_the_same_paths() {
        assert_eq!(Endpoint::of("/ex/confluence/0a-1b/wiki/api/v2/spaces"), Endpoint::Spaces);
        assert_eq!(Endpoint::of("/wiki/api/v2/spaces/7/pages"), Endpoint::SpacePages("7".to_owned()));
        assert_eq!(Endpoint::of("/wiki/wiki/api/v2/spaces"), Endpoint::Unknown);
        assert_eq!(Endpoint::of("/wiki/api/v2/spaces/"), Endpoint::Unknown);
    }
}
