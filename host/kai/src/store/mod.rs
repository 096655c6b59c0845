//! Where documents are kept: what a sync needs of a store, whatever the engine.

mod backup;
mod changes;
mod content;
mod document_listing;
mod opening;
mod registered_sources;
#[cfg(test)]
pub(crate) mod samples;
mod search;
mod service_runs;
mod shared;
mod sqlite;
mod tenants;

use std::collections::HashMap;
use std::path::PathBuf;

use kai_host::{Document, Partition, Reference};

pub use self::backup::{BackedUp, back_up};
pub use self::changes::{StoredChange, WhatChanged};
pub use self::document_listing::{DocumentPlace, DocumentQuery, ListedDocument};
pub use self::registered_sources::{
    CompletedRun, DEFAULT_FULL_EVERY, RegisteredSource, Schedule, SourceFilter, SourceOverview,
};
pub use self::search::SearchQuery;
pub use self::service_runs::{EndedRun, NewRun, RunState, ServiceRun};
pub use self::shared::SharedStore;
pub use self::sqlite::SqliteStore;
pub use self::tenants::{DEFAULT_TENANT, KeyAdded, StoredKey, Tenant, is_tenant_id};
use crate::summary::{DocumentCounts, Mode};

/// What to do with a store that is damaged.
const WHEN_DAMAGED: &str =
    "put back a backup of the data directory, or move the directory away and sync again";

/// Why the store is not usable.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another process writes to it.
    #[error("the data directory {path} is in use by {holder}; wait until that is done, or choose another with --data", path = .path.display())]
    Locked {
        /// The data directory.
        path: PathBuf,
        /// Who writes to it.
        holder: String,
    },
    /// There is none.
    #[error("there is no store in {path}; run `kai sync` first, or name its directory with --data", path = .path.display())]
    Missing {
        /// The data directory.
        path: PathBuf,
    },
    /// It is no database of ours, or not what was written to it.
    #[error("the store in {path} is damaged ({detail}) and was left as it is; {WHEN_DAMAGED}", path = .path.display())]
    Damaged {
        /// The data directory.
        path: PathBuf,
        /// What was found.
        detail: String,
    },
    /// It was written by an older `kai`, and has to be brought along first.
    #[error("the store in {path} has format {found}, this kai reads {known}: run `kai sync --source FILE` with one of its sources once, which brings it along", path = .path.display())]
    Older {
        /// The data directory.
        path: PathBuf,
        /// Its format.
        found: i64,
        /// The format that this version reads.
        known: i64,
    },
    /// It was written by a newer `kai`.
    #[error("the store in {path} has format {found}, this kai knows {known}: use the newer kai that wrote it", path = .path.display())]
    Newer {
        /// The data directory.
        path: PathBuf,
        /// Its format.
        found: i64,
        /// The newest format that this version knows.
        known: i64,
    },
    /// The directory is not usable.
    #[error("the data directory {path} cannot be used: {error}", path = .path.display())]
    Directory {
        /// The data directory.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// A backup may not be put there.
    #[error("nothing was copied into {path}: {reason}", path = .path.display())]
    BackupRefused {
        /// The directory of the backup.
        path: PathBuf,
        /// Why, and what to do.
        reason: String,
    },
    /// A backup cannot be written.
    #[error("the backup into {path} failed and left nothing there ({detail}); make room, or choose another directory with --to", path = .path.display())]
    Backup {
        /// The directory of the backup.
        path: PathBuf,
        /// What the system or the database says.
        detail: String,
    },
    /// The database says no.
    #[error("the store failed: {0}")]
    Database(String),
}

/// A registered source as a store knows it. The token is not part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceRecord {
    /// See [`Registration::id`](crate::source_file::Registration::id).
    pub id: String,
    /// Such as `CONFLUENCE`.
    pub kind: String,
    /// Workspace root.
    pub base_url: String,
    /// Account.
    pub email: String,
    /// The one space that is read.
    pub scope: Option<String>,
}

/// A run that was begun, or taken up again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// Rises with each new run.
    pub id: i64,
    /// Which kind it is.
    pub mode: Mode,
    /// Whether an earlier process began it.
    pub resumed: bool,
}

/// What is known of a space before it is listed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SpaceState {
    /// Covers everything up to it.
    pub delta_token: Option<String>,
    /// Where the listing of this very run stopped.
    pub checkpoint: Option<Checkpoint>,
    /// Whether this very run listed it to its end.
    pub ended: bool,
    /// Whether any run ever did.
    pub known: bool,
}

/// Where a listing stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Goes on there.
    pub cursor: String,
    /// What the listing was begun with; the cursor is good for nothing else.
    pub since: Option<String>,
}

/// How a batch leaves its space.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// More follows.
    Continues(Checkpoint),
    /// The listing ended cleanly; the token may be stored.
    Ended {
        /// Covers what the listing saw.
        delta_token: Option<String>,
    },
}

/// A page that could not be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedPage {
    /// Page id.
    pub id: String,
    /// Where it is known.
    pub title: Option<String>,
    /// Why, for people.
    pub cause: String,
}

/// A page in the list of failures, as it is read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredFailure {
    /// Which source it belongs to.
    pub source_id: String,
    /// The page and why it could not be had the last time.
    pub page: FailedPage,
    /// Runs that tried it since it was last had.
    pub attempts: u32,
}

/// What a batch changes, in the order of the listing.
#[derive(Debug, Clone)]
pub enum Write {
    /// New, or in a new version.
    Document(Document),
    /// In the version that the store has: title, address and space may differ.
    Unchanged(Reference),
    /// Not to be had now.
    Failed(FailedPage),
    /// Was in the list of failures and is no page any more.
    FailureGone(String),
}

/// A document as it is read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredDocument {
    /// Which source it belongs to.
    pub source_id: String,
    /// Page id.
    pub id: String,
    /// Title.
    pub title: String,
    /// `text/markdown`.
    pub mime_type: String,
    /// The Markdown.
    pub content: String,
    /// RFC 3339.
    pub modified_at: String,
    /// Where a person reads it.
    pub web_url: String,
    /// Key of its space.
    pub space_key: String,
    /// Version.
    pub version_number: u32,
    /// RFC 3339.
    pub created_at: Option<String>,
    /// Where Confluence names the author.
    pub created_by_display_name: Option<String>,
}

/// What a document is called and where it is, without its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentName {
    /// Page id.
    pub id: String,
    /// Title.
    pub title: String,
    /// Key of its space.
    pub space_key: String,
    /// Where a person reads it.
    pub web_url: String,
}

/// Which documents or failures to read.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Of one source.
    pub source_id: Option<String>,
    /// One page.
    pub id: Option<String>,
}

/// What a sync asks of a store. Each method is one transaction: it happens wholly or not at all, and what it did
/// survives a crash.
pub trait Store: Send + 'static {
    /// Makes the source known.
    ///
    /// # Errors
    /// See [`StoreError`]; likewise below.
    fn register(&mut self, source: &SourceRecord) -> Result<(), StoreError>;

    /// Forgets delta tokens and checkpoints of all spaces but these. One that comes back was out of sight: what was
    /// edited, removed or restored in it meanwhile is not told by its token.
    fn forget_other_spaces(&mut self, source_id: &str, partitions: &[Partition]) -> Result<(), StoreError>;

    /// Begins a run, or takes up the one that did not end. Without a full crawl that ended, every run is full; a full
    /// run that did not end is never given up for a delta run.
    fn begin_run(&mut self, source_id: &str, full: bool) -> Result<Run, StoreError>;

    /// What is known of a space.
    fn space(&self, source_id: &str, run: Run, partition: &Partition) -> Result<SpaceState, StoreError>;

    /// The versions of those of these pages that the store has.
    fn versions(&self, source_id: &str, ids: &[String]) -> Result<HashMap<String, u32>, StoreError>;

    /// Writes a batch and where its space stands after it.
    fn commit(
        &mut self,
        source_id: &str,
        run: Run,
        partition: &Partition,
        writes: &[Write],
        progress: &Progress,
    ) -> Result<DocumentCounts, StoreError>;

    /// Writes what belongs to no listing: pages tried again, pages found by the orphan scan.
    fn write(&mut self, source_id: &str, run: Run, writes: &[Write]) -> Result<DocumentCounts, StoreError>;

    /// Pages that failed and were not written since.
    fn failed_pages(&self, source_id: &str) -> Result<Vec<FailedPage>, StoreError>;

    /// Documents that a full run did not meet.
    fn unseen(&self, source_id: &str, run: Run) -> Result<Vec<String>, StoreError>;

    /// Removes documents, and what is known of their failures.
    fn remove(&mut self, source_id: &str, ids: &[String]) -> Result<u64, StoreError>;

    /// Ends a run for good: the next one is a new one.
    fn end_run(&mut self, source_id: &str, run: Run) -> Result<(), StoreError>;

    /// Number of documents of a source.
    fn count(&self, source_id: &str) -> Result<u64, StoreError>;

    /// Each space's delta token, by key.
    fn delta_tokens(&self, source_id: &str) -> Result<Vec<(String, String)>, StoreError>;
}
