//! The sync engine: lists the spaces of a source side by side, writes each batch with its checkpoint, and removes only
//! what Confluence says is gone.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use futures::stream::{self, StreamExt as _};
use kai_host::{CallError, Error as ConnectorError, Notice, Partition};
use tracing::warn;

use crate::calls::Calls;
use crate::error::Error;
use crate::memory_budget::MemoryBudget;
use crate::orphan_scan;
use crate::progress::{Event, Observer};
use crate::single_pages::{AT_ONCE, OtherKeys};
use crate::source_file::Registration;
use crate::space_listing::SpaceListing;
use crate::store::{Run, SharedStore, SourceRecord, Store, StoreError, Write};
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
pub async fn sync<C: Calls, S: Store>(
    calls: &C,
    registration: &Registration,
    store: &SharedStore<S>,
    options: SyncOptions,
    observer: &dyn Observer,
) -> Result<Outcome, StoreError> {
    let began = Instant::now();
    let before = calls.statistics();
    let source_id = registration.id();
    let record = SourceRecord {
        id: source_id.clone(),
        kind: registration.source.kind.clone(),
        base_url: registration.source.base_url.clone(),
        email: registration.source.email.clone(),
        scope: registration.scope().map(str::to_owned),
    };
    // The site is asked before anything is written: a source that cannot be read leaves the store as it was.
    let partitions = list_all_partitions(calls, registration.scope_path.clone()).await;
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
                let (id, partitions) = (source_id.clone(), partitions.clone());
                let begin = move |store: &mut S| {
                    store.register(&record)?;
                    // Seeing no space at all is more likely a lost access, which must change nothing.
                    if !partitions.is_empty() {
                        store.forget_other_spaces(&id, &partitions)?;
                    }
                    store.begin_run(&id, full)
                };
                store.with(begin).await?
            };
            outcome.summary.mode = run.mode;
            let pass = Pass {
                calls,
                store,
                source_id: &source_id,
                pinned: registration.scope().is_some(),
                partitions: &partitions,
                run,
                observer,
                budget: MemoryBudget::default(),
                other_keys: OtherKeys::default(),
                counted: Mutex::default(),
            };
            outcome.error = pass.all(options).await.err();
            let counted = pass.counted.into_inner().unwrap_or_else(PoisonError::into_inner);
            outcome.summary.documents = counted.documents;
            outcome.notices = counted.notices;
            outcome.summary.unknown_macros = counted.unknown_macros;
            outcome.summary.complete = matches!(outcome.error, None | Some(Error::RemovalsRefused { .. }));
            let id = source_id.clone();
            outcome.summary.delta_tokens =
                store.with(move |store| store.delta_tokens(&id)).await?.into_iter().collect();
        }
    }
    outcome.summary.http = HttpCounts::between(before, calls.statistics());
    outcome.summary.seconds = began.elapsed().as_secs_f64();
    Ok(outcome)
}

async fn list_all_partitions(
    calls: &impl Calls,
    scope_path: Option<String>,
) -> Result<Vec<Partition>, CallError> {
    let mut partitions = Vec::new();
    let mut cursor = None;
    loop {
        let page = calls.list_partitions(scope_path.clone(), cursor).await?;
        partitions.extend(page.items);
        cursor = page.next;
        if cursor.is_none() {
            return Ok(partitions);
        }
    }
}

/// One run over a source's spaces.
pub(crate) struct Pass<'a, C, S> {
    pub(crate) calls: &'a C,
    pub(crate) store: &'a SharedStore<S>,
    pub(crate) source_id: &'a str,
    /// Whether one space was asked for, and not every visible one.
    pub(crate) pinned: bool,
    pub(crate) partitions: &'a [Partition],
    pub(crate) run: Run,
    pub(crate) observer: &'a dyn Observer,
    pub(crate) budget: MemoryBudget,
    pub(crate) other_keys: OtherKeys,
    counted: Mutex<Counted>,
}

#[derive(Default)]
struct Counted {
    documents: DocumentCounts,
    /// Pages that failed.
    failed: HashSet<String>,
    notices: BTreeMap<String, u64>,
    unknown_macros: BTreeMap<String, u64>,
}

impl<C: Calls, S: Store> Pass<'_, C, S> {
    async fn all(&self, options: SyncOptions) -> Result<(), Error> {
        let partitions = self.partitions;
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
            let result = SpaceListing::run(self, &partition).await;
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
            if is_hopeless(&error) {
                // The other spaces would meet the same; what they have committed is kept.
                return Err(error);
            }
            first_error.get_or_insert(error);
        }
        // Also where one space fails for long: the pages of the others do not wait for it.
        self.retry_failures().await?;
        if let Some(error) = first_error {
            return Err(error);
        }
        let refused = match self.run.mode {
            Mode::Delta => None,
            Mode::Full => match orphan_scan::remove_orphans(self, options.confirm_removals).await {
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

    /// Tries the pages again that could not be had earlier, also earlier in a run that was taken up again.
    async fn retry_failures(&self) -> Result<(), Error> {
        let id = self.source_id.to_owned();
        let mut failures = self.store.with(move |store| store.failed_pages(&id)).await?;
        failures.retain(|page| !self.counted().failed.contains(&page.id));
        let pages: Vec<_> = failures.into_iter().map(|page| (page.id, page.title)).collect();
        for pages in pages.chunks(AT_ONCE) {
            let found = self.read_pages(pages).await.map_err(Error::call)?;
            let writes = found.into_iter().map(|(id, write)| write.unwrap_or(Write::FailureGone(id)));
            self.write(writes.collect()).await?;
        }
        Ok(())
    }

    pub(crate) async fn write(&self, writes: Vec<Write>) -> Result<(), Error> {
        if writes.is_empty() {
            return Ok(());
        }
        self.count_failures(&writes);
        let (id, run) = (self.source_id.to_owned(), self.run);
        let counts = self.store.with(move |store| store.write(&id, run, &writes)).await?;
        self.count(counts);
        Ok(())
    }

    fn counted(&self) -> MutexGuard<'_, Counted> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of pages that are about to be written as failures.
    pub(crate) fn count_failures(&self, writes: &[Write]) {
        let failed = writes.iter().filter_map(|write| match write {
            Write::Failed(page) => Some(page.id.clone()),
            _ => None,
        });
        self.counted().failed.extend(failed);
    }

    pub(crate) fn count(&self, counts: DocumentCounts) {
        self.counted().documents.add(counts);
        self.observer.event(Event::Committed(counts));
        if let Some(until) = self.calls.paused_until() {
            self.observer.event(Event::Paused(until));
        }
    }

    pub(crate) fn notice(&self, notices: Vec<Notice>) {
        let mut counted = self.counted();
        for notice in notices {
            let count = match notice.what.strip_prefix(UNKNOWN_MACRO) {
                Some(name) => counted.unknown_macros.entry(name.to_owned()).or_default(),
                None => counted.notices.entry(notice.what).or_default(),
            };
            *count += u64::from(notice.count);
        }
    }
}

/// Whether an error says nothing of the page that was asked for: any other request would meet the same.
pub(crate) fn is_about_the_run(error: &CallError) -> bool {
    matches!(
        error,
        CallError::ShuttingDown
            | CallError::Busy
            | CallError::Connector(
                ConnectorError::Authentication(_)
                    | ConnectorError::RateLimited(_)
                    | ConnectorError::InvalidSource(_)
            )
    )
}

pub(crate) fn describe(error: ConnectorError) -> String {
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
