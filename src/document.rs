//! What the connector yields: the contract's records as plain Rust types.

use crate::delta::Timestamp;
use crate::error::Error;
use crate::markdown::Notice;

/// Media type of every document's content.
pub const MIME_TYPE: &str = "text/markdown";

/// One space: listed, checkpointed and resumed by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// Digits, as Confluence gives them.
    pub id: String,
    /// Space key.
    pub key: String,
    /// Space name.
    pub name: String,
}

/// One page of the list of spaces.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Partitions {
    /// At most 250.
    pub items: Vec<Partition>,
    /// None on the last page.
    pub next: Option<String>,
}

/// The five metadata keys of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    /// Where a person reads the page.
    pub web_url: String,
    /// Key of the space that holds the page.
    pub space_key: String,
    /// Counts up with every edit.
    pub version_number: u32,
    /// When the page was made.
    pub created_at: Option<Timestamp>,
    /// REST v2 names no author in a page (facts A4), so this is none unless an answer happens to hold it.
    pub created_by_display_name: Option<String>,
}

/// A page without its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// Digits, as Confluence gives them.
    pub id: String,
    /// Page title.
    pub title: String,
    /// When the latest version was made.
    pub modified_at: Timestamp,
    /// The five keys.
    pub metadata: Metadata,
}

/// A page as Markdown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// The page without its body.
    pub reference: Reference,
    /// Markdown, [`MIME_TYPE`].
    pub content: String,
}

/// A page that exists and could not be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Page id.
    pub id: String,
    /// Page title where the listing named it.
    pub title: Option<String>,
    /// Why.
    pub cause: Error,
}

/// One item of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The page as it is now.
    Document(Document),
    /// The page as it is now, without its body.
    Reference(Reference),
    /// The page exists, but is not to be had.
    Failure(Failure),
}

/// One stretch of a listing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Batch {
    /// In the order of the listing; may be empty although more follows.
    pub changes: Vec<Change>,
    /// What the converter wants an operator to know, added up over the batch.
    pub notices: Vec<Notice>,
    /// None: the listing ended cleanly.
    pub next: Option<String>,
    /// Only with the last batch.
    pub delta_token: Option<Timestamp>,
}

/// Whether a listing brings bodies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Carry {
    /// Changes are documents.
    Documents,
    /// Changes are references.
    References,
}
