//! What a running sync tells those who watch it.

use std::time::Instant;

use crate::summary::{DocumentCounts, Mode};

/// Something that happened during a sync.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event {
    /// The spaces are known. `expected` is the number of documents that the store has of them, where every page will
    /// be met again.
    Started {
        /// Which kind of run.
        mode: Mode,
        /// Whether an interrupted run goes on.
        resumed: bool,
        /// Number of spaces.
        spaces: usize,
        /// Pages to be met, where that is known.
        expected: Option<u64>,
    },
    /// A batch is in the store.
    Committed(DocumentCounts),
    /// A space was listed to its end.
    SpaceEnded(String),
    /// A space could not be listed to its end.
    SpaceFailed {
        /// The space's key.
        key: String,
        /// Why.
        reason: String,
    },
    /// The site asked to be left alone until then.
    Paused(Instant),
    /// Pages that were not met are looked up, one by one, before they are removed.
    Confirming(usize),
}

/// Watches a sync. Called from its tasks: must not block.
pub trait Observer: Send + Sync {
    /// Something happened.
    fn event(&self, event: Event);
}

/// Watches nothing.
impl Observer for () {
    fn event(&self, _: Event) {}
}
