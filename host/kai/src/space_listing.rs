//! One space, listed to its end: each batch is written with its checkpoint while the next one is under way.

use std::collections::{BTreeMap, HashMap};

use kai_host::{Batch, CallError, Carry, Change, Error as ConnectorError, Failure, Partition, Reference};
use tokio::sync::OwnedSemaphorePermit;
use tracing::info;

use crate::calls::Calls;
use crate::error::Error;
use crate::memory_budget::Expected;
use crate::store::{Checkpoint, FailedPage, Progress, Store, Write};
use crate::summary::Mode;
use crate::sync::{Pass, describe, is_about_the_run, page_write};

/// From so many differing pages of a stretch on, the stretch is read again with bodies: a stretch of references is 250
/// pages, which is one or two requests with bodies.
const READ_AS_STRETCH: usize = 3;

/// One space of a run.
pub(crate) struct SpaceListing<'a, C, S> {
    pass: &'a Pass<'a, C, S>,
    partition: &'a Partition,
    since: Option<String>,
    carry: Carry,
}

/// A batch, where its stretch began, and its share of the memory.
struct Stretch {
    at: Option<String>,
    batch: Batch,
    _share: Option<OwnedSemaphorePermit>,
}

impl<'a, C: Calls, S: Store> SpaceListing<'a, C, S> {
    /// Lists the space to its end, from where this run left it.
    pub(crate) async fn run(pass: &'a Pass<'a, C, S>, partition: &'a Partition) -> Result<(), Error> {
        let state = {
            let (id, run, partition) = (pass.source_id.to_owned(), pass.run, partition.clone());
            pass.store.with(move |store| store.space(&id, run, &partition)).await?
        };
        // A delta listing costs next to nothing, so a run that is taken up looks again for what came meanwhile.
        if state.ended && pass.run.mode == Mode::Full {
            return Ok(());
        }
        let since = state.delta_token.filter(|_| pass.run.mode == Mode::Delta);
        // Of a space that was listed before, the store has most: versions are compared, and what differs is read.
        let carry = if state.known && since.is_none() { Carry::References } else { Carry::Documents };
        let cursor = state.checkpoint.filter(|checkpoint| checkpoint.since == since).map(|c| c.cursor);
        Self { pass, partition, since, carry }.from(cursor).await
    }

    async fn from(&self, cursor: Option<String>) -> Result<(), Error> {
        let mut expected = Expected::default();
        let mut stretch = self.discover(cursor, &mut expected).await?;
        loop {
            let Some(next) = stretch.batch.next.clone() else { return self.take(stretch).await };
            let (taken, following) =
                futures::join!(self.take(stretch), self.discover(Some(next), &mut expected));
            taken?;
            stretch = following?;
        }
    }

    /// The stretch at the cursor; the first one where the cursor is stale.
    async fn discover(&self, at: Option<String>, expected: &mut Expected) -> Result<Stretch, Error> {
        let share = self.pass.budget.share(expected.bytes()).await;
        let (at, batch) = match self.call(self.since.clone(), self.carry, at.clone()).await {
            Err(CallError::Connector(ConnectorError::StaleCursor)) if at.is_some() => {
                info!(space = self.partition.key, "the cursor is stale: the space starts over");
                (None, self.call(self.since.clone(), self.carry, None).await)
            }
            other => (at, other),
        };
        let batch = batch.map_err(|error| self.failed(error))?;
        expected.learn(&batch);
        Ok(Stretch { at, batch, _share: share })
    }

    async fn call(
        &self,
        since: Option<String>,
        carry: Carry,
        cursor: Option<String>,
    ) -> Result<Batch, CallError> {
        self.pass.calls.discover(self.partition.clone(), since, carry, cursor).await
    }

    /// Writes a batch and where the space stands after it; pages that came as references and differ from the store are
    /// read first.
    async fn take(&self, stretch: Stretch) -> Result<(), Error> {
        let Stretch { at, batch, _share } = stretch;
        let mut writes = Vec::with_capacity(batch.changes.len());
        let mut references = Vec::new();
        for change in batch.changes {
            match change {
                Change::Reference(reference) => references.push(reference),
                Change::Document(document) => writes.push(Write::Document(document)),
                Change::Failure(failure) => writes.push(failed_page(failure)),
            }
        }
        self.pass.notice(batch.notices);
        self.compare(at, references, &mut writes).await?;
        self.pass.count_failures(&writes);
        let progress = match batch.next {
            Some(cursor) => Progress::Continues(Checkpoint { cursor, since: self.since.clone() }),
            None => Progress::Ended { delta_token: batch.delta_token },
        };
        let (id, run, partition) = (self.pass.source_id.to_owned(), self.pass.run, self.partition.clone());
        let commit = move |store: &mut S| store.commit(&id, run, &partition, &writes, &progress);
        self.pass.count(self.pass.store.with(commit).await?);
        Ok(())
    }

    async fn compare(
        &self,
        at: Option<String>,
        references: Vec<Reference>,
        writes: &mut Vec<Write>,
    ) -> Result<(), Error> {
        if references.is_empty() {
            return Ok(());
        }
        let stretch = references.len();
        let versions: HashMap<String, u32> = {
            let id = self.pass.source_id.to_owned();
            let ids: Vec<String> = references.iter().map(|reference| reference.id.clone()).collect();
            self.pass.store.with(move |store| store.versions(&id, &ids)).await?
        };
        let mut differing = BTreeMap::new();
        for reference in references {
            let stored = versions.get(&reference.id);
            if stored.is_some_and(|stored| *stored >= reference.metadata.version_number) {
                writes.push(Write::Unchanged(reference));
            } else {
                differing.insert(reference.id, Some(reference.title));
            }
        }
        if differing.len() >= READ_AS_STRETCH {
            self.read_stretch(at, stretch, &mut differing, writes).await?;
        }
        for (id, title, fetched) in self.pass.fetch_all(differing.into_iter().collect()).await {
            match page_write(id, title, fetched) {
                Ok(Some(write)) => writes.push(write),
                // It went between the listing and now.
                Ok(None) => {}
                Err(error) => return Err(self.failed(error)),
            }
        }
        Ok(())
    }

    /// Reads a stretch of `length` references again with bodies, and takes out of `wanted` what came. What did not (it
    /// changed meanwhile, or the site cannot deliver it so) is left there.
    async fn read_stretch(
        &self,
        at: Option<String>,
        length: usize,
        wanted: &mut BTreeMap<String, Option<String>>,
        writes: &mut Vec<Write>,
    ) -> Result<(), Error> {
        let (mut cursor, mut read) = (at, 0);
        while read < length && !wanted.is_empty() {
            let batch = match self.call(None, Carry::Documents, cursor).await {
                Ok(batch) => batch,
                Err(error) if is_about_the_run(&error) => return Err(self.failed(error)),
                Err(_) => return Ok(()),
            };
            read += batch.changes.len().max(1);
            for change in batch.changes {
                match change {
                    Change::Document(document) if wanted.remove(&document.reference.id).is_some() => {
                        writes.push(Write::Document(document));
                    }
                    Change::Failure(failure) if wanted.remove(&failure.id).is_some() => {
                        writes.push(failed_page(failure));
                    }
                    _ => {}
                }
            }
            self.pass.notice(batch.notices);
            cursor = batch.next;
            if cursor.is_none() {
                break;
            }
        }
        Ok(())
    }

    fn failed(&self, error: CallError) -> Error {
        Error::Call { space: Some(self.partition.key.clone()), error }
    }
}

fn failed_page(Failure { id, title, cause }: Failure) -> Write {
    Write::Failed(FailedPage { id, title, cause: describe(cause) })
}
