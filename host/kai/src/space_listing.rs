//! One space, listed to its end: each batch is written with its checkpoint while the next one is under way.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};

use kai_host::{Batch, CallError, Carry, Change, Error as ConnectorError, Failure, Partition, Reference};
use tokio::sync::OwnedSemaphorePermit;
use tracing::info;

use crate::calls::Calls;
use crate::error::Error;
use crate::memory_budget::Expected;
use crate::single_pages::AT_ONCE;
use crate::store::{Checkpoint, FailedPage, Progress, Store, Write};
use crate::summary::Mode;
use crate::sync::{Pass, describe, is_about_the_run};

/// From so many differing pages of a stretch on, the stretch is read again with bodies: a stretch of references is 250
/// pages, which is one or two requests with bodies.
const READ_AS_STRETCH: usize = 3;

/// One space of a run.
pub(crate) struct SpaceListing<'a, C, S> {
    pass: &'a Pass<'a, C, S>,
    partition: &'a Partition,
    since: Option<String>,
    carry: Carry,
    /// Whether the site refused a cursor: then the listing started over, once.
    started_over: Once,
    /// Whether a call with bodies came to no end: then pages are read one by one.
    one_by_one: Once,
}

/// What happens once in the listing of a space, if ever.
#[derive(Default)]
struct Once(AtomicBool);

impl Once {
    fn happened(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Whether it had not happened before.
    fn happens(&self) -> bool {
        !self.0.swap(true, Ordering::Relaxed)
    }
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
        // A delta listing costs next to nothing, so a run that is taken up looks again for what came meanwhile, also in
        // a space that it has compared already: other spaces may keep it from its end for days.
        let compared = state.ended && pass.run.mode == Mode::Full;
        let since = state.delta_token.filter(|_| compared || pass.run.mode == Mode::Delta);
        // Of a space that was listed before, the store has most: versions are compared, and what differs is read.
        let carry = if state.known && since.is_none() { Carry::References } else { Carry::Documents };
        let cursor = state.checkpoint.filter(|checkpoint| checkpoint.since == since).map(|c| c.cursor);
        let (started_over, one_by_one) = (Once::default(), Once::default());
        Self { pass, partition, since, carry, started_over, one_by_one }.from(cursor).await
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

    /// The stretch at the cursor; the first one where the cursor is stale, once.
    async fn discover(&self, at: Option<String>, expected: &mut Expected) -> Result<Stretch, Error> {
        let mut at = at;
        loop {
            let carry = if self.one_by_one.happened() { Carry::References } else { self.carry };
            let share = match carry {
                Carry::Documents => self.pass.budget.share(expected.bytes()).await,
                // References are small, and the pages that differ have shares of their own.
                Carry::References => None,
            };
            match self.call(self.since.clone(), carry, at.clone()).await {
                Ok(batch) => {
                    expected.learn(&batch);
                    return Ok(Stretch { at, batch, _share: share });
                }
                Err(CallError::Connector(ConnectorError::StaleCursor))
                    if at.is_some() && self.started_over.happens() =>
                {
                    info!(space = self.partition.key, "the cursor is stale: the space starts over");
                    at = None;
                }
                // A page that makes the connector run into its limits, or a site that is slower than they allow.
                Err(error @ (CallError::Limit(_) | CallError::Crashed(_)))
                    if carry == Carry::Documents && self.one_by_one.happens() =>
                {
                    info!(space = self.partition.key, %error, "its pages are read one by one");
                    // A walk by id goes on at the same place; one that is newest first has other passes and begins anew.
                    at = at.filter(|_| self.since.is_none());
                }
                Err(error) => return Err(self.failed(error)),
            }
        }
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
    /// read and written first, so that not all of a stretch is in memory at once.
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
        if differing.len() >= READ_AS_STRETCH && self.since.is_none() && !self.one_by_one.happened() {
            self.read_stretch(at, stretch, &mut differing).await?;
        }
        let differing: Vec<_> = differing.into_iter().collect();
        for pages in differing.chunks(AT_ONCE) {
            let found = self.pass.read_pages(pages).await.map_err(|error| self.failed(error))?;
            // What went between the listing and now is looked up by the next full run.
            self.pass.write(found.into_iter().filter_map(|(_, write)| write).collect()).await?;
        }
        Ok(())
    }

    /// Reads a stretch of `length` references again with bodies, writes what is in `wanted`, and takes it out. What did
    /// not come (it changed meanwhile, or the site cannot deliver it so) is left there.
    async fn read_stretch(
        &self,
        at: Option<String>,
        length: usize,
        wanted: &mut BTreeMap<String, Option<String>>,
    ) -> Result<(), Error> {
        let (mut cursor, mut read) = (at, 0);
        let mut expected = Expected::default();
        while read < length && !wanted.is_empty() {
            let _share = self.pass.budget.share(expected.bytes()).await;
            let mut writes = Vec::new();
            let batch = match self.call(None, Carry::Documents, cursor).await {
                Ok(batch) => batch,
                Err(error) if is_about_the_run(&error) => return Err(self.failed(error)),
                Err(_) => return Ok(()),
            };
            expected.learn(&batch);
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
            self.pass.write(writes).await?;
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

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::Instant;

    use kai_host::{Document, Limit, Partitions, Statistics};

    use super::*;
    use crate::source_file::Registration;
    use crate::store::samples::{document, reference};
    use crate::store::{Filter, SharedStore, SqliteStore};
    use crate::sync::{SyncOptions, sync};

    /// A connector that runs into a limit wherever bodies are listed, and crashes at page 3.
    #[derive(Default)]
    struct Weak(Mutex<u32>);

    impl Calls for Weak {
        async fn list_partitions(
            &self,
            _: Option<String>,
            _: Option<String>,
        ) -> Result<Partitions, CallError> {
            let space =
                Partition { id: "1".to_owned(), key: "ENG".to_owned(), name: "Engineering".to_owned() };
            Ok(Partitions { items: vec![space], next: None })
        }

        async fn discover(
            &self,
            _: Partition,
            _: Option<String>,
            carry: Carry,
            _: Option<String>,
        ) -> Result<Batch, CallError> {
            match carry {
                Carry::Documents => {
                    *self.0.lock().unwrap() += 1;
                    Err(CallError::Limit(Limit::Wall))
                }
                Carry::References => Ok(Batch {
                    changes: (1..=5).map(|id| Change::Reference(reference(&id.to_string(), 1))).collect(),
                    notices: Vec::new(),
                    next: None,
                    delta_token: Some("2026-01-01T00:00:00.000Z".to_owned()),
                }),
            }
        }

        async fn fetch(&self, id: String) -> Result<Document, CallError> {
            match id.as_str() {
                "3" => Err(CallError::Crashed("unreachable".to_owned())),
                id => Ok(document(id, 1, "text")),
            }
        }

        fn statistics(&self) -> Statistics {
            Statistics::default()
        }

        fn paused_until(&self) -> Option<Instant> {
            None
        }
    }

    #[tokio::test]
    async fn a_page_that_makes_the_connector_crash_is_one_failure_and_the_rest_is_read_one_by_one() {
        let directory = tempfile::tempdir().unwrap();
        let store = SharedStore::new(SqliteStore::open(directory.path()).unwrap());
        let source = r#"{"kind":"CONFLUENCE","base_url":"https://a.example","email":"e","api_token":"t"}"#;
        let registration = Registration::parse(source.as_bytes(), None).unwrap();
        let calls = Weak::default();
        // A first run, a delta run, a full one.
        for full in [false, false, true] {
            let options = SyncOptions { full, confirm_removals: false };
            let outcome = sync(&calls, &registration, &store, options, &()).await.unwrap();
            assert!(outcome.error.is_none(), "{:?}", outcome.error);
            assert_eq!(outcome.summary.documents.failed, 1);
        }
        assert_eq!(*calls.0.lock().unwrap(), 2, "once a run that lists bodies");
        let mut stored = Vec::new();
        let store = SqliteStore::open_for_reading(directory.path()).unwrap();
        store
            .documents(&Filter::default(), |document| {
                stored.push(document.id);
                true
            })
            .unwrap();
        assert_eq!(stored, ["1", "2", "4", "5"]);
        assert_eq!(store.failures(&Filter::default()).unwrap()[0].attempts, 3);
    }
}
