//! Back-pressure by bytes: how much of a source's text is on its way between network and store.

use std::sync::Arc;

use kai_host::{Batch, Change};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Text of a source in memory at once, roughly: what the batches hold that are read or written. The connector asks for 3 MiB
/// of storage format at once, and more only where ten pages have more, of which two thirds are text.
const BUDGET: usize = 32 << 20;

/// What a batch of documents is taken for before one of its space was seen.
pub(crate) const UNKNOWN_BATCH: usize = 2 << 20;

/// The unit of permits: a semaphore counts fewer permits than there can be bytes.
const UNIT: usize = 1 << 10;

/// Lets batches be asked for as long as their bytes fit in.
#[derive(Debug)]
pub(crate) struct MemoryBudget(Arc<Semaphore>);

impl Default for MemoryBudget {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(BUDGET / UNIT)))
    }
}

impl MemoryBudget {
    /// Waits until a batch of about that many bytes fits in; it does until the share is dropped. A batch over the whole
    /// budget waits until it is the only one.
    pub(crate) async fn share(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let units = bytes.clamp(UNIT, BUDGET) / UNIT;
        // None only where the semaphore was closed, which nobody does.
        Arc::clone(&self.0).acquire_many_owned(u32::try_from(units).unwrap_or(u32::MAX)).await.ok()
    }
}

/// What the next batch of a space is expected to take: as much as the last one with documents did.
#[derive(Debug)]
pub(crate) struct Expected(usize);

impl Default for Expected {
    fn default() -> Self {
        Self(UNKNOWN_BATCH)
    }
}

impl Expected {
    pub(crate) fn bytes(&self) -> usize {
        self.0
    }

    pub(crate) fn learn(&mut self, batch: &Batch) {
        let documents = batch.changes.iter().filter_map(|change| match change {
            Change::Document(document) => Some(document.content.len()),
            Change::Reference(_) | Change::Failure(_) => None,
        });
        self.0 = documents.reduce(|sum, bytes| sum + bytes).unwrap_or(self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;

    #[test]
    fn batches_wait_until_others_are_written() {
        let budget = MemoryBudget::default();
        let share = |bytes| budget.share(bytes).now_or_never();
        let first = share(BUDGET / 2);
        let second = share(BUDGET / 2);
        assert!(first.is_some() && second.is_some());
        assert!(share(1).is_none());
        drop(first);
        assert!(share(BUDGET / 2 + UNIT).is_none());
        assert!(share(BUDGET / 2).is_some());
    }

    #[test]
    fn a_batch_over_the_budget_goes_alone() {
        let budget = MemoryBudget::default();
        let small = budget.share(1).now_or_never();
        assert!(small.is_some() && budget.share(usize::MAX).now_or_never().is_none());
        drop(small);
        assert!(budget.share(usize::MAX).now_or_never().is_some());
    }
}
