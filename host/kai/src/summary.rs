//! What a sync came to, in the shape that `kai sync --json` prints.

use std::collections::BTreeMap;

use kai_host::Statistics;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Whether a run compared everything or asked for what changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = RunMode)]
pub enum Mode {
    /// Every page of every space: finds what was deleted.
    Full,
    /// What changed since each space's delta token. A source that was never read to its end is read in full.
    #[default]
    Delta,
}

impl Mode {
    /// As in the JSON summary.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Delta => "delta",
        }
    }
}

/// What a run came to.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Summary {
    /// Which kind of run it was.
    pub mode: Mode,
    /// Whether every space was listed to its end. If not, the next run goes on from there.
    pub complete: bool,
    /// Spaces.
    pub partitions: u64,
    /// What became of the documents.
    pub documents: DocumentCounts,
    /// What it took.
    pub http: HttpCounts,
    /// From start to end.
    pub seconds: f64,
    /// Each space's delta token, by key.
    pub delta_tokens: BTreeMap<String, String>,
    /// Macros that the connector does not know, by name, with the number of times that they were met. Their bodies
    /// are in the documents; what they generate is not.
    pub unknown_macros: BTreeMap<String, u64>,
}

/// What became of the documents of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, ToSchema)]
#[schema(as = Counts)]
#[non_exhaustive]
pub struct DocumentCounts {
    /// Written: new, or in a new version.
    pub upserted: u64,
    /// Met again in the version that the store has.
    pub unchanged: u64,
    /// Removed: gone from Confluence.
    pub removed: u64,
    /// Not to be had; kept in the store's list of failures and tried again by the next run.
    pub failed: u64,
}

impl DocumentCounts {
    pub(crate) fn add(&mut self, more: Self) {
        self.upserted += more.upserted;
        self.unchanged += more.unchanged;
        self.removed += more.removed;
        self.failed += more.failed;
    }
}

/// What a run took on the network.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
#[non_exhaustive]
pub struct HttpCounts {
    /// Requests, repetitions among them.
    pub requests: u64,
    /// Repetitions.
    pub retries: u64,
    /// Answers that asked to slow down.
    pub throttled: u64,
    /// Seconds that they asked for.
    pub throttled_seconds: f64,
    /// Most requests in flight at once.
    pub max_in_flight: u64,
    /// Bytes of answers, decompressed.
    pub bytes: u64,
}

impl HttpCounts {
    /// What happened between two looks at a session's statistics.
    #[must_use]
    pub fn between(before: Statistics, after: Statistics) -> Self {
        Self {
            requests: after.requests - before.requests,
            retries: after.retries - before.retries,
            throttled: after.throttled - before.throttled,
            throttled_seconds: after.throttled_seconds - before.throttled_seconds,
            max_in_flight: after.max_in_flight,
            bytes: after.bytes - before.bytes,
        }
    }
}
