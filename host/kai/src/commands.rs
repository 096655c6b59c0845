//! What the commands do: each takes what it needs, writes results to `out`, and gives the exit code.

use std::collections::BTreeMap;
use std::io::{self, Read as _, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use kai::error::Error;
use kai::master_key::KeyLocation;
use kai::source_file::Registration;
use kai::store::{FailedPage, Filter, SourceRecord, SqliteStore, StoredChange, StoredDocument, WhatChanged};
use kai::summary::Summary;
use kai::validation;
use kai_host::{ComponentSource, Connector, Host, Limits, StoragePage};
use secrecy::SecretString;
use serde::Serialize;

use crate::arguments::{Backup, Changes, Common};
use crate::messages;
use crate::progress_bar::counted;

/// The connector that is part of this program.
static BUILT_IN: &[u8] = include_bytes!(env!("KAI_BUILT_IN_COMPONENT"));

/// What comes from the environment; read once, in `main`.
#[derive(Debug, Default)]
pub(crate) struct Environment {
    /// Fills in a missing `api_token`, or is the new one.
    pub(crate) token: Option<SecretString>,
    /// Where the key is that seals the tokens of registered sources.
    pub(crate) key: KeyLocation,
    /// Where compiled components are kept.
    pub(crate) cache_directory: Option<PathBuf>,
}

/// What converting a file of one's own may take: pages from anywhere are held to the host's defaults, a person who waits
/// for one is not.
pub(crate) fn generous_limits() -> Limits {
    let mut limits = Limits::default();
    limits.memory = u32::MAX as usize;
    limits.result = 1 << 31;
    limits.cpu = Duration::from_secs(3600);
    limits.wall = Duration::from_secs(3600);
    limits
}

/// Loads the connector that the command line names.
pub(crate) async fn connector(
    common: &Common,
    environment: &Environment,
    limits: Limits,
) -> Result<Connector, Error> {
    let mut host = Host::builder().allow_local(common.allow_local).limits(limits);
    if let Some(directory) = &environment.cache_directory {
        host = host.cache_directory(directory);
    }
    if let Some(file) = &common.ca_file {
        host = host.extra_ca_file(file);
    }
    let (name, source) = match &common.component {
        Some(component) => (component.display().to_string(), component_source(component)?),
        None => ("(built in)".to_owned(), ComponentSource::Bytes(BUILT_IN.to_vec())),
    };
    host.build()?.load(source).await.map_err(|error| Error::Component { name, error })
}

/// A file, unless it says that it is in a registry.
fn component_source(component: &Path) -> Result<ComponentSource, Error> {
    match component.to_str().filter(|text| text.starts_with("oci://")) {
        None => Ok(ComponentSource::File(component.to_owned())),
        Some(text) => match text.parse() {
            Ok(reference) => Ok(ComponentSource::Registry(reference)),
            Err(error) => Err(Error::Usage(format!("component: {error}"))),
        },
    }
}

pub(crate) async fn validate(
    connector: &Connector,
    registration: &Registration,
    out: &mut impl Write,
) -> Result<u8, Error> {
    validation::validate(connector, registration).await?;
    let scope = scope(registration.scope());
    print(out, &format!("{} is good: {}, {scope}", registration.source.base_url, registration.source.email));
    Ok(0)
}

/// What is read, for people.
pub(crate) fn scope(scope: Option<&str>) -> String {
    scope.map_or("every visible space".to_owned(), |scope| format!("space {scope}"))
}

/// The sources that there are, for people who named another.
pub(crate) fn enumerate(sources: &[SourceRecord]) -> String {
    if sources.is_empty() {
        return "there is none".to_owned();
    }
    let known = sources.iter().map(|source| {
        let scope = source.scope.as_deref().map(|scope| format!(" {scope}")).unwrap_or_default();
        format!("{} ({} {}{scope})", source.id, source.base_url, source.email)
    });
    format!("there are: {}", known.collect::<Vec<_>>().join(", "))
}

/// The summary for people.
pub(crate) fn report(summary: &Summary, notices: &BTreeMap<String, u64>) -> String {
    let documents = summary.documents;
    let mut lines = vec![format!(
        "{} run {} in {:.1} s: {}, {} written, {} unchanged, {} removed, {} failed",
        summary.mode.name(),
        if summary.complete { "complete" } else { "not complete" },
        summary.seconds,
        counted(summary.partitions, "space"),
        counted(documents.upserted, "document"),
        documents.unchanged,
        documents.removed,
        documents.failed,
    )];
    let http = summary.http;
    let mut line = format!(
        "{}, {} repeated, at most {} in flight, {:.1} MB",
        counted(http.requests, "request"),
        http.retries,
        http.max_in_flight,
        http.bytes as f64 / 1e6
    );
    if http.throttled > 0 {
        line += &format!(", throttled {} times for {:.0} s", http.throttled, http.throttled_seconds);
    }
    lines.push(line);
    for (name, count) in &summary.unknown_macros {
        lines.push(format!("note: unknown macro: {name}: {count}"));
    }
    for (what, count) in notices {
        lines.push(format!("note: {what}: {count}"));
    }
    if documents.failed > 0 {
        lines.push(
            "Pages that failed are tried again by the next run; `kai documents --failed` lists them."
                .to_owned(),
        );
    }
    lines.join("\n")
}

/// Opens the store for reading; a source that it is asked for has to be in it.
fn open_for_reading(data: &Path, filter: &Filter) -> Result<SqliteStore, Error> {
    let store = SqliteStore::open_for_reading(data)?;
    if let Some(wanted) = &filter.source_id {
        let sources = store.sources()?;
        if !sources.iter().any(|source| source.id == *wanted) {
            return Err(Error::Usage(format!(
                "there is no source {wanted} in {}; {}",
                data.display(),
                enumerate(&sources)
            )));
        }
    }
    Ok(store)
}

pub(crate) fn documents(
    data: &Path,
    filter: &Filter,
    as_json: bool,
    out: &mut impl Write,
) -> Result<u8, Error> {
    let store = open_for_reading(data, filter)?;
    let mut found = 0_u64;
    let mut result = Ok(());
    store.documents(filter, |document| {
        found += 1;
        result = if as_json {
            writeln!(out, "{}", json(&JsonDocument::from(&document)))
        } else if filter.id.is_some() {
            out.write_all(document.content.as_bytes())
        } else {
            let StoredDocument { id, space_key, version_number, modified_at, title, .. } = &document;
            writeln!(out, "{id}\t{space_key}\tv{version_number}\t{modified_at}\t{title}")
        };
        result.is_ok()
    })?;
    // Whoever reads the output has had enough.
    if result.is_err() {
        return Ok(0);
    }
    match &filter.id {
        Some(id) if found == 0 => Err(Error::Usage(format!("there is no page {id} in {}", data.display()))),
        _ => Ok(0),
    }
}

/// Copies the store, and says what is in the copy.
pub(crate) async fn back_up(arguments: &Backup, out: &mut impl Write) -> Result<u8, Error> {
    // From here on Ctrl-C and SIGTERM are listened to, and what was written is removed.
    tokio::task::yield_now().await;
    let copied = kai::store::back_up(&arguments.data, &arguments.to, arguments.force).await?;
    let line = format!(
        "{} is in {}: {}, {}, {:.1} MB",
        arguments.data.display(),
        arguments.to.display(),
        counted(copied.sources, "source"),
        counted(copied.documents, "document"),
        copied.bytes as f64 / 1e6
    );
    print(out, &line);
    Ok(0)
}

/// How long a follower waits before it looks again.
const FOLLOW_PAUSE: Duration = Duration::from_millis(500);

/// What changed after a number, and with `follow` what changes from then on.
pub(crate) async fn changes(arguments: &Changes, out: &mut impl Write) -> Result<u8, Error> {
    let filter = Filter { source_id: arguments.source.clone(), id: None };
    let store = open_for_reading(&arguments.data, &filter)?;
    let mut after = arguments.after;
    loop {
        let mut written = Ok(());
        store.changes(after, arguments.source.as_deref(), |change| {
            written = writeln!(out, "{}", json(&JsonChange::from(&change)));
            after = change.number;
            written.is_ok()
        })?;
        // Whoever reads the output has had enough.
        if written.and_then(|()| out.flush()).is_err() || !arguments.follow {
            return Ok(0);
        }
        tokio::time::sleep(FOLLOW_PAUSE).await;
    }
}

/// A change in the shape that others read.
#[derive(Serialize)]
struct JsonChange<'a> {
    change: u64,
    source: &'a str,
    #[serde(flatten)]
    what: JsonWhatChanged<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum JsonWhatChanged<'a> {
    Written(JsonDocument<'a>),
    Removed { id: &'a str },
}

impl<'a> From<&'a StoredChange> for JsonChange<'a> {
    fn from(change: &'a StoredChange) -> Self {
        let (source, what) = match &change.what {
            WhatChanged::Written(document) => {
                (&document.source_id, JsonWhatChanged::Written(JsonDocument::from(document)))
            }
            WhatChanged::Removed { source_id, id } => (source_id, JsonWhatChanged::Removed { id }),
        };
        Self { change: change.number, source, what }
    }
}

/// The pages that could not be had and are tried again by the next run.
pub(crate) fn failures(
    data: &Path,
    filter: &Filter,
    as_json: bool,
    out: &mut impl Write,
) -> Result<u8, Error> {
    for failure in open_for_reading(data, filter)?.failures(filter)? {
        let FailedPage { id, title, cause } = &failure.page;
        let line = if as_json {
            json(&JsonFailure { id, title: title.as_deref(), cause, attempts: failure.attempts })
        } else {
            let title = title.as_deref().unwrap_or("(title unknown)");
            format!("{id}\t{}\t{title}\t{cause}", counted(failure.attempts.into(), "attempt"))
        };
        print(out, &line);
    }
    Ok(0)
}

/// A failure in the shape that others read.
#[derive(Serialize)]
struct JsonFailure<'a> {
    id: &'a str,
    title: Option<&'a str>,
    cause: &'a str,
    attempts: u32,
}

/// A document in the shape that others read.
#[derive(Serialize)]
struct JsonDocument<'a> {
    id: &'a str,
    title: &'a str,
    mime_type: &'a str,
    content: &'a str,
    modified_at: &'a str,
    metadata: JsonMetadata<'a>,
}

#[derive(Serialize)]
struct JsonMetadata<'a> {
    web_url: &'a str,
    space_key: &'a str,
    version_number: u32,
    created_at: Option<&'a str>,
    created_by_display_name: Option<&'a str>,
}

impl<'a> From<&'a StoredDocument> for JsonDocument<'a> {
    fn from(document: &'a StoredDocument) -> Self {
        Self {
            id: &document.id,
            title: &document.title,
            mime_type: &document.mime_type,
            content: &document.content,
            modified_at: &document.modified_at,
            metadata: JsonMetadata {
                web_url: &document.web_url,
                space_key: &document.space_key,
                version_number: document.version_number,
                created_at: document.created_at.as_deref(),
                created_by_display_name: document.created_by_display_name.as_deref(),
            },
        }
    }
}

/// Converts one page. To `out` goes its Markdown, or with `check` what was not understood or dropped; without, that
/// goes to stderr.
pub(crate) async fn convert(
    connector: &Connector,
    file: Option<&Path>,
    page: StoragePage,
    check: bool,
    out: &mut impl Write,
) -> Result<u8, Error> {
    let storage = read_text(file)?;
    let converted = connector.convert(StoragePage { storage, ..page }).await;
    let converted = converted.map_err(|error| Error::Call { space: None, error })?;
    if !check {
        out.write_all(converted.markdown.as_bytes()).ok();
    }
    for notice in converted.notices {
        let line = format!("{}: {}", notice.what, notice.count);
        if check {
            print(out, &format!("warning: {line}"));
        } else {
            messages::note(format_args!("note: {line}"));
        }
    }
    Ok(0)
}

fn read_text(file: Option<&Path>) -> Result<String, Error> {
    let file = file.filter(|path| *path != Path::new("-"));
    let mut bytes = Vec::new();
    let (name, read) = match file {
        Some(path) => (path, std::fs::read(path).map(|read| bytes = read)),
        None => (Path::new("stdin"), io::stdin().read_to_end(&mut bytes).map(drop)),
    };
    read.map_err(|error| Error::Usage(format!("{} cannot be read: {error}", name.display())))?;
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        Error::Usage(format!("{} is not UTF-8 text (byte {at}); storage format is", name.display()))
    })
}

pub(crate) async fn inspect(connector: &Connector, out: &mut impl Write) -> Result<u8, Error> {
    let descriptor = connector.describe().await.map_err(|error| Error::Call { space: None, error })?;
    let artifact = connector.artifact();
    let mut text = format!(
        "kind      {}\nversion   {}\nemits     {}\nacl       {}\nsize      {} bytes\nsha256    {}\n",
        descriptor.kind,
        descriptor.version,
        descriptor.mime_type,
        descriptor.acl_strategy,
        artifact.size,
        artifact.digest
    );
    for (what, names) in [("exports", &artifact.exports), ("imports", &artifact.imports)] {
        for (index, name) in names.iter().enumerate() {
            text += &format!("{:<9} {name}\n", if index == 0 { what } else { "" });
        }
    }
    print(out, text.trim_end());
    Ok(0)
}

/// A line to stdout. Nobody left to read it is no fault.
pub(crate) fn print(out: &mut impl Write, text: &str) {
    writeln!(out, "{text}").ok();
}

pub(crate) fn json(value: &impl Serialize) -> String {
    // Strings, numbers and maps with string keys: there is nothing that JSON could not hold.
    serde_json::to_string(value).unwrap_or_default()
}
