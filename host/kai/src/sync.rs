//! The sync engine: lists the spaces of a source side by side, writes each batch with its checkpoint, and removes only
//! what Confluence says is gone.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use futures::stream::{self, StreamExt as _};
use kai_host::{
    Batch, CallError, Carry, Change, Document, Error as ConnectorError, Notice, Partition, Reference, Session,
};
use tracing::{info, warn};

use crate::error::Error;
use crate::orphan_scan;
use crate::progress::{Event, Observer};
use crate::source_file::Registration;
use crate::store::{Checkpoint, FailedPage, Progress, Run, SourceRecord, Store, StoreError, Write};
use crate::summary::{DocumentCounts, HttpCounts, Mode, Summary};

/// Spaces, and pages of a space, that are asked for side by side: as many as the gate lets through.
pub(crate) const SIDE_BY_SIDE: usize = 8;

/// How the contract's notices begin that name a macro (`wit/connector.wit`, `notice`).
const UNKNOWN_MACRO: &str = "unknown macro: ";

/// How a sync is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SyncOptions {
    /// Compares every page, also where the source was crawled before.
    pub full: bool,
    /// Removes what is gone however much that is.
    pub confirm_removals: bool,
}

/// What a sync came to, also where it did not come to its end.
#[derive(Debug)]
pub struct Outcome {
    /// What was done, in any case.
    pub summary: Summary,
    /// What the connector noticed on the way, unknown macros apart, with the number of times.
    pub notices: BTreeMap<String, u64>,
    /// Why it did not come to its end, or what it refused to do. The store is as consistent as ever, and the next run
    /// goes on from there.
    pub error: Option<Error>,
}

/// Syncs a source into a store.
///
/// # Errors
/// [`StoreError`] where the store cannot even be begun with; everything later is in the [`Outcome`].
pub async fn sync<S: Store>(
    session: &Session,
    registration: &Registration,
    store: S,
    options: SyncOptions,
    observer: &dyn Observer,
) -> Result<(Outcome, S), Error> {
    let began = Instant::now();
    let before = session.statistics();
    let source_id = registration.id();
    let shared = SharedStore::new(store);
    let record = SourceRecord {
        id: source_id.clone(),
        kind: registration.source.kind.clone(),
        base_url: registration.source.base_url.clone(),
        email: registration.source.email.clone(),
        scope: registration.scope().map(str::to_owned),
    };
    // The site is asked before anything is written: a source that cannot be read leaves the store as it was.
    let partitions = list_all_partitions(session, registration.scope_path.clone()).await;
    let mut outcome = Outcome {
        summary: Summary {
            mode: Mode::Full,
            complete: false,
            partitions: 0,
            documents: DocumentCounts::default(),
            http: HttpCounts::default(),
            seconds: 0.0,
            delta_tokens: BTreeMap::new(),
            unknown_macros: BTreeMap::new(),
        },
        notices: BTreeMap::new(),
        error: None,
    };
    match partitions {
        Err(error) => outcome.error = Some(Error::call(error)),
        Ok(partitions) => {
            outcome.summary.partitions = partitions.len() as u64;
            let full = options.full;
            let run = {
                let (record, id) = (record.clone(), source_id.clone());
                shared.with(move |store| {
                    store.register(&record)?;
                    store.begin_run(&id, full)
                })
            }
            .await?;
            outcome.summary.mode = run.mode;
            let pass = Pass {
                session,
                store: &shared,
                source_id: &source_id,
                run,
                observer,
                counted: Mutex::default(),
            };
            outcome.error = pass.all(&partitions, options).await.err();
            let counted = pass.counted.into_inner().unwrap_or_else(PoisonError::into_inner);
            outcome.summary.documents = counted.documents;
            outcome.notices = counted.notices;
            outcome.summary.unknown_macros = counted.unknown_macros;
            outcome.summary.complete = matches!(outcome.error, None | Some(Error::RemovalsRefused { .. }));
            let id = source_id.clone();
            outcome.summary.delta_tokens =
                shared.with(move |store| store.delta_tokens(&id)).await?.into_iter().collect();
        }
    }
    outcome.summary.http = HttpCounts::between(before, session.statistics());
    outcome.summary.seconds = began.elapsed().as_secs_f64();
    Ok((outcome, shared.into_inner().await?))
}

async fn list_all_partitions(
    session: &Session,
    scope_path: Option<String>,
) -> Result<Vec<Partition>, CallError> {
    let mut partitions = Vec::new();
    let mut cursor = None;
    loop {
        let page = session.list_partitions(scope_path.clone(), cursor).await?;
        partitions.extend(page.items);
        cursor = page.next;
        if cursor.is_none() {
            return Ok(partitions);
        }
    }
}

/// One run over a source's spaces.
pub(crate) struct Pass<'a, S> {
    pub(crate) session: &'a Session,
    pub(crate) store: &'a SharedStore<S>,
    pub(crate) source_id: &'a str,
    pub(crate) run: Run,
    pub(crate) observer: &'a dyn Observer,
    counted: Mutex<Counted>,
}

#[derive(Default)]
struct Counted {
    documents: DocumentCounts,
    notices: BTreeMap<String, u64>,
    unknown_macros: BTreeMap<String, u64>,
}

impl<S: Store> Pass<'_, S> {
    async fn all(&self, partitions: &[Partition], options: SyncOptions) -> Result<(), Error> {
        let id = self.source_id.to_owned();
        let stored = self.store.with(move |store| store.count(&id)).await?;
        if partitions.is_empty() && stored > 0 {
            return Err(Error::Implausible(format!(
                "the account sees no space any more, but the store has {stored} documents of this source; nothing was changed. Check the credential and the account's access to Confluence"
            )));
        }
        self.observer.event(Event::Started {
            mode: self.run.mode,
            resumed: self.run.resumed,
            spaces: partitions.len(),
            expected: (self.run.mode == Mode::Full && stored > 0).then_some(stored),
        });
        // By value: a closure over borrowed items is none that the compiler takes for `Send` in every case.
        let spaces = stream::iter(partitions.iter().cloned()).map(|partition| async move {
            let result = self.space(&partition).await;
            match &result {
                Ok(()) => self.observer.event(Event::SpaceEnded(partition.key)),
                Err(error) => {
                    warn!(space = partition.key, %error, "space not read to its end");
                    let reason = error.to_string();
                    self.observer.event(Event::SpaceFailed { key: partition.key, reason });
                }
            }
            result
        });
        let mut spaces = spaces.buffer_unordered(SIDE_BY_SIDE);
        let mut first_error = None;
        while let Some(result) = spaces.next().await {
            let Err(error) = result else { continue };
            let hopeless = is_hopeless(&error);
            first_error.get_or_insert(error);
            if hopeless {
                // The other spaces would meet the same; what they have committed is kept.
                break;
            }
        }
        drop(spaces);
        if let Some(error) = first_error {
            return Err(error);
        }
        self.retry_failures().await?;
        let refused = match self.run.mode {
            Mode::Delta => None,
            Mode::Full => match orphan_scan::remove_orphans(self, partitions, options.confirm_removals).await
            {
                Err(refused @ Error::RemovalsRefused { .. }) => Some(refused),
                other => {
                    other?;
                    None
                }
            },
        };
        let (id, run) = (self.source_id.to_owned(), self.run);
        self.store.with(move |store| store.end_run(&id, run)).await?;
        refused.map_or(Ok(()), Err)
    }

    /// Lists one space to its end.
    async fn space(&self, partition: &Partition) -> Result<(), Error> {
        let state = {
            let (id, run, partition) = (self.source_id.to_owned(), self.run, partition.clone());
            self.store.with(move |store| store.space(&id, run, &partition)).await?
        };
        // A delta listing costs next to nothing, so a run that is taken up looks again for what came meanwhile.
        if state.ended && self.run.mode == Mode::Full {
            return Ok(());
        }
        let (since, carry) = match (self.run.mode, &state.delta_token) {
            (Mode::Delta, token) => (token.clone(), Carry::Documents),
            (Mode::Full, None) => (None, Carry::Documents),
            // The store has most of it: versions are compared, and only what differs is fetched.
            (Mode::Full, Some(_)) => (None, Carry::References),
        };
        let mut cursor = state.checkpoint.filter(|checkpoint| checkpoint.since == since).map(|c| c.cursor);
        loop {
            let at = cursor.clone();
            let batch = self.session.discover(partition.clone(), since.clone(), carry, cursor).await;
            let batch = match batch {
                Err(CallError::Connector(ConnectorError::StaleCursor)) if at.is_some() => {
                    info!(space = partition.key, "the cursor is stale: the space starts over");
                    let (id, partition) = (self.source_id.to_owned(), partition.clone());
                    self.store.with(move |store| store.restart_space(&id, &partition)).await?;
                    cursor = None;
                    continue;
                }
                other => other.map_err(|error| self.failed(partition, error))?,
            };
            cursor = batch.next.clone();
            self.take(partition, batch, since.as_ref()).await?;
            if cursor.is_none() {
                return Ok(());
            }
        }
    }

    /// Writes a batch; references that differ from the store are fetched first.
    async fn take(&self, partition: &Partition, batch: Batch, since: Option<&String>) -> Result<(), Error> {
        let mut writes = Vec::with_capacity(batch.changes.len());
        let mut references = Vec::new();
        for change in batch.changes {
            match change {
                Change::Document(document) => writes.push(Write::Document(document)),
                Change::Reference(reference) => references.push(reference),
                Change::Failure(failure) => writes.push(Write::Failed(FailedPage {
                    id: failure.id,
                    title: failure.title,
                    cause: describe(failure.cause),
                })),
            }
        }
        self.compare(partition, references, &mut writes).await?;
        self.notice(batch.notices);
        let progress = match batch.next {
            Some(cursor) => Progress::Continues(Checkpoint { cursor, since: since.cloned() }),
            None => Progress::Ended { delta_token: batch.delta_token },
        };
        let (id, run, partition) = (self.source_id.to_owned(), self.run, partition.clone());
        let counts =
            self.store.with(move |store| store.commit(&id, run, &partition, &writes, &progress)).await?;
        self.count(counts);
        Ok(())
    }

    async fn compare(
        &self,
        partition: &Partition,
        references: Vec<Reference>,
        writes: &mut Vec<Write>,
    ) -> Result<(), Error> {
        if references.is_empty() {
            return Ok(());
        }
        let versions: HashMap<String, u32> = {
            let id = self.source_id.to_owned();
            let ids: Vec<String> = references.iter().map(|reference| reference.id.clone()).collect();
            self.store.with(move |store| store.versions(&id, &ids)).await?
        };
        let mut differing = Vec::new();
        for reference in references {
            if versions.get(&reference.id).is_some_and(|stored| *stored >= reference.metadata.version_number)
            {
                writes.push(Write::Unchanged(reference));
            } else {
                differing.push((reference.id, Some(reference.title)));
            }
        }
        let fetched = self.fetch_all(differing).await;
        for (id, title, fetched) in fetched {
            match page_write(id, title, fetched) {
                Ok(Some(write)) => writes.push(write),
                // It went between the listing and now.
                Ok(None) => {}
                Err(error) => return Err(self.failed(partition, error)),
            }
        }
        Ok(())
    }

    /// Tries the pages again that earlier runs could not have, unless this run had them.
    async fn retry_failures(&self) -> Result<(), Error> {
        let (id, run) = (self.source_id.to_owned(), self.run);
        let failures = self.store.with(move |store| store.earlier_failures(&id, run)).await?;
        let pages = failures.into_iter().map(|page| (page.id, page.title)).collect();
        let mut writes = Vec::new();
        for (id, title, fetched) in self.fetch_all(pages).await {
            match page_write(id.clone(), title, fetched) {
                Ok(write) => writes.push(write.unwrap_or(Write::FailureGone(id))),
                Err(error) => return Err(Error::call(error)),
            }
        }
        self.write(writes).await
    }

    pub(crate) async fn write(&self, writes: Vec<Write>) -> Result<(), Error> {
        if writes.is_empty() {
            return Ok(());
        }
        let (id, run) = (self.source_id.to_owned(), self.run);
        let counts = self.store.with(move |store| store.write(&id, run, &writes)).await?;
        self.count(counts);
        Ok(())
    }

    /// Reads pages one by one, several at a time.
    pub(crate) async fn fetch_all(
        &self,
        pages: Vec<(String, Option<String>)>,
    ) -> Vec<(String, Option<String>, Result<Document, CallError>)> {
        stream::iter(pages)
            .map(|(id, title)| async move {
                let fetched = self.session.fetch(id.clone()).await;
                (id, title, fetched)
            })
            .buffer_unordered(SIDE_BY_SIDE)
            .collect()
            .await
    }

    pub(crate) fn count(&self, counts: DocumentCounts) {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner).documents.add(counts);
        self.observer.event(Event::Committed(counts));
        if let Some(until) = self.session.paused_until() {
            self.observer.event(Event::Paused(until));
        }
    }

    fn notice(&self, notices: Vec<Notice>) {
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        for notice in notices {
            let count = match notice.what.strip_prefix(UNKNOWN_MACRO) {
                Some(name) => counted.unknown_macros.entry(name.to_owned()).or_default(),
                None => counted.notices.entry(notice.what).or_default(),
            };
            *count += u64::from(notice.count);
        }
    }

    fn failed(&self, partition: &Partition, error: CallError) -> Error {
        Error::Call { space: Some(partition.key.clone()), error }
    }
}

/// What a page that was asked for by its id comes to; none where it is gone.
///
/// # Errors
/// What says nothing of the page: its listing has to be taken up again.
pub(crate) fn page_write(
    id: String,
    title: Option<String>,
    fetched: Result<Document, CallError>,
) -> Result<Option<Write>, CallError> {
    let cause = match fetched {
        Ok(document) => return Ok(Some(Write::Document(document))),
        Err(CallError::Connector(ConnectorError::NotFound(_))) => return Ok(None),
        Err(CallError::Connector(
            error @ (ConnectorError::Authentication(_)
            | ConnectorError::RateLimited(_)
            | ConnectorError::InvalidSource(_)),
        )) => return Err(error.into()),
        // Also a page that makes the connector crash or run into its limits is a failure of that page.
        Err(error) => error.to_string(),
    };
    Ok(Some(Write::Failed(FailedPage { id, title, cause })))
}

fn describe(error: ConnectorError) -> String {
    CallError::from(error).to_string()
}

/// Whether every other space would fail in the same way.
fn is_hopeless(error: &Error) -> bool {
    match error {
        Error::Call { error, .. } => matches!(
            error.connector(),
            Some(ConnectorError::Authentication(_) | ConnectorError::RateLimited(_))
        ),
        _ => true,
    }
}

/// The keys and ids of the spaces of a run.
pub(crate) fn ids(partitions: &[Partition]) -> HashSet<&str> {
    partitions.iter().map(|partition| partition.id.as_str()).collect()
}

/// A store used by many tasks, off the threads that drive the network. Empty once it was given back.
pub(crate) struct SharedStore<S>(Arc<Mutex<Option<S>>>);

impl<S: Send + 'static> SharedStore<S> {
    fn new(store: S) -> Self {
        Self(Arc::new(Mutex::new(Some(store))))
    }

    /// Runs `work` with the store.
    pub(crate) async fn with<R: Send + 'static>(
        &self,
        work: impl FnOnce(&mut S) -> Result<R, StoreError> + Send + 'static,
    ) -> Result<R, StoreError> {
        self.locked(|store| store.as_mut().map_or_else(|| Err(gone()), work)).await
    }

    /// Gives the store back. Work that is under way yet, as that of a space that was dropped, ends first.
    async fn into_inner(self) -> Result<S, StoreError> {
        self.locked(|store| store.take().ok_or_else(gone)).await
    }

    async fn locked<R: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Option<S>) -> Result<R, StoreError> + Send + 'static,
    ) -> Result<R, StoreError> {
        let store = Arc::clone(&self.0);
        let task = tokio::task::spawn_blocking(move || {
            let mut store = store.lock().unwrap_or_else(PoisonError::into_inner);
            work(&mut store)
        });
        task.await.map_err(|error| StoreError::Database(error.to_string()))?
    }
}

fn gone() -> StoreError {
    StoreError::Database("the sync is over".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;
    use std::sync::mpsc;
    use std::time::Duration;

    #[tokio::test]
    async fn a_store_comes_back_also_when_work_that_nobody_waits_for_is_under_way() {
        let store = SharedStore::new(0);
        let (begun, begins) = mpsc::channel();
        let work = store.with(move |number| {
            begun.send(()).unwrap();
            std::thread::sleep(Duration::from_millis(100));
            *number += 1;
            Ok(())
        });
        // Begun, and dropped, as the spaces of a run are when another one shows that there is no hope.
        assert!(work.now_or_never().is_none());
        begins.recv().unwrap();
        assert_eq!(store.into_inner().await.unwrap(), 1);
    }
}
