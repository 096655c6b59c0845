//! The store of a process that dies: at one of its operations, before that is done or after.

use std::collections::HashMap;

use kai::store::{
    FailedPage, Progress, Run, SourceRecord, SpaceState, SqliteStore, Store, StoreError, Write,
};
use kai::summary::DocumentCounts;
use kai_host::Partition;

use crate::native_calls::{SharedWorld, lock};

/// When the process dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Crash {
    /// Operations of the store that come before.
    pub(crate) after: u32,
    /// Whether the last one is done, though nobody learns of it.
    pub(crate) done: bool,
}

/// A SQLite store that fails from the crash on.
pub(crate) struct CrashingStore {
    pub(crate) store: SqliteStore,
    pub(crate) crash: Option<Crash>,
    pub(crate) world: SharedWorld,
}

impl CrashingStore {
    fn operate<R>(
        &mut self,
        operation: impl FnOnce(&mut SqliteStore) -> Result<R, StoreError>,
    ) -> Result<R, StoreError> {
        let dead = || Err(StoreError::Database("the process died".to_owned()));
        match &mut self.crash {
            None => operation(&mut self.store),
            Some(Crash { after: 0, done }) => {
                if std::mem::replace(done, false) {
                    operation(&mut self.store)?;
                }
                dead()
            }
            Some(crash) => {
                crash.after -= 1;
                operation(&mut self.store)
            }
        }
    }

    /// Reading changes nothing; a dead process does not read either.
    fn read<R>(
        &self,
        operation: impl FnOnce(&SqliteStore) -> Result<R, StoreError>,
    ) -> Result<R, StoreError> {
        match self.crash {
            Some(Crash { after: 0, .. }) => Err(StoreError::Database("the process died".to_owned())),
            _ => operation(&self.store),
        }
    }
}

impl Store for CrashingStore {
    fn register(&mut self, source: &SourceRecord) -> Result<(), StoreError> {
        self.operate(|store| store.register(source))
    }

    fn forget_other_spaces(&mut self, source_id: &str, partitions: &[Partition]) -> Result<(), StoreError> {
        self.operate(|store| store.forget_other_spaces(source_id, partitions))
    }

    fn begin_run(&mut self, source_id: &str, full: bool) -> Result<Run, StoreError> {
        self.operate(|store| store.begin_run(source_id, full))
    }

    fn space(&self, source_id: &str, run: Run, partition: &Partition) -> Result<SpaceState, StoreError> {
        self.read(|store| store.space(source_id, run, partition))
    }

    fn versions(&self, source_id: &str, ids: &[String]) -> Result<HashMap<String, u32>, StoreError> {
        self.read(|store| store.versions(source_id, ids))
    }

    fn commit(
        &mut self,
        source_id: &str,
        run: Run,
        partition: &Partition,
        writes: &[Write],
        progress: &Progress,
    ) -> Result<DocumentCounts, StoreError> {
        self.operate(|store| store.commit(source_id, run, partition, writes, progress))
    }

    fn write(&mut self, source_id: &str, run: Run, writes: &[Write]) -> Result<DocumentCounts, StoreError> {
        self.operate(|store| store.write(source_id, run, writes))
    }

    fn failed_pages(&self, source_id: &str) -> Result<Vec<FailedPage>, StoreError> {
        self.read(|store| store.failed_pages(source_id))
    }

    fn unseen(&self, source_id: &str, run: Run) -> Result<Vec<String>, StoreError> {
        self.read(|store| store.unseen(source_id, run))
    }

    fn remove(&mut self, source_id: &str, ids: &[String]) -> Result<u64, StoreError> {
        lock(&self.world).check_removal(ids);
        self.operate(|store| store.remove(source_id, ids))
    }

    fn end_run(&mut self, source_id: &str, run: Run) -> Result<(), StoreError> {
        self.operate(|store| store.end_run(source_id, run))
    }

    fn count(&self, source_id: &str) -> Result<u64, StoreError> {
        self.read(|store| store.count(source_id))
    }

    fn delta_tokens(&self, source_id: &str) -> Result<Vec<(String, String)>, StoreError> {
        self.read(|store| store.delta_tokens(source_id))
    }
}
