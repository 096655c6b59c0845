//! The runs that the service made, one an attempt: what was asked for, and what came of it.

use rusqlite::{OptionalExtension as _, Row, params};
use serde::Serialize;
use utoipa::ToSchema;

use super::sqlite::{mode, now};
use super::{SqliteStore, StoreError};
use crate::summary::Mode;

/// Ended runs that are kept of each source.
const KEPT: i64 = 1_000;

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum RunState {
    /// It waits for its turn.
    Queued,
    /// It is under way.
    Running,
    /// It came to its end. Pages that could not be had are counted in its summary.
    Completed,
    /// It did not; the next one goes on from there.
    Failed,
    /// Somebody stopped it; the next one goes on from there.
    Cancelled,
    /// The service ended before it did, and began another one in its place.
    Interrupted,
}

impl RunState {
    /// As the store and the API write it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Interrupted => "interrupted",
        }
    }

    /// Whether nothing more happens to it.
    #[must_use]
    pub fn ended(self) -> bool {
        !matches!(self, Self::Queued | Self::Running)
    }

    fn parse(name: &str) -> Self {
        let all = [Self::Queued, Self::Running, Self::Completed, Self::Cancelled, Self::Interrupted];
        all.into_iter().find(|state| state.name() == name).unwrap_or(Self::Failed)
    }
}

/// A run as it is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRun {
    /// Names it in the API.
    pub id: String,
    /// What is synced.
    pub source_id: String,
    /// Whether every page is compared.
    pub mode: Mode,
    /// Whether what is gone is removed however much that is.
    pub confirm_removals: bool,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
pub struct EndedRun {
    /// One that has [`RunState::ended`].
    pub state: RunState,
    /// JSON.
    pub summary: Option<String>,
    /// JSON.
    pub problem: Option<String>,
    /// Documents that the source has now.
    pub documents: u64,
}

/// A run of the service.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceRun {
    /// Later runs have higher numbers. Not for tenants: it tells what others do.
    pub number: i64,
    /// What was asked for.
    pub asked: NewRun,
    /// Where it stands.
    pub state: RunState,
    /// RFC 3339, UTC; likewise below.
    pub queued_at: String,
    /// When its turn came.
    pub started_at: Option<String>,
    /// When it ended.
    pub ended_at: Option<String>,
    /// JSON in the shape of `kai sync --json`.
    pub summary: Option<String>,
    /// JSON: why it did not come to its end.
    pub problem: Option<String>,
    /// Documents of its source at its end.
    pub documents: Option<u64>,
}

const COLUMNS: &str = "number, id, source_id, mode, confirm_removals, state, queued_at, started_at, ended_at, summary, problem, documents";

impl SqliteStore {
    /// Takes note of a run that waits for its turn. None where there is no such source.
    ///
    /// # Errors
    /// See [`StoreError`]; likewise of the methods below.
    pub fn queue_run(&mut self, run: &NewRun) -> Result<Option<ServiceRun>, StoreError> {
        let transaction = self.connection.transaction()?;
        transaction.execute(
            "INSERT INTO service_runs (id, source_id, mode, confirm_removals, state, queued_at)
             SELECT ?1, ?2, ?3, ?4, ?5, ?6 WHERE EXISTS (SELECT 1 FROM sources WHERE id = ?2)",
            params![
                run.id,
                run.source_id,
                run.mode.name(),
                run.confirm_removals,
                RunState::Queued.name(),
                now()
            ],
        )?;
        let queued = transaction
            .query_row(&format!("SELECT {COLUMNS} FROM service_runs WHERE id = ?1"), [&run.id], service_run)
            .optional()?;
        transaction.commit()?;
        Ok(queued)
    }

    /// A run has its turn.
    pub fn start_run(&mut self, id: &str) -> Result<(), StoreError> {
        self.connection.execute(
            "UPDATE service_runs SET state = ?2, started_at = ?3 WHERE id = ?1 AND ended_at IS NULL",
            params![id, RunState::Running.name(), now()],
        )?;
        Ok(())
    }

    /// A run is over. Old runs of its source are forgotten.
    pub fn finish_run(&mut self, id: &str, ended: &EndedRun) -> Result<(), StoreError> {
        let transaction = self.connection.transaction()?;
        transaction.execute(
            "UPDATE service_runs SET state = ?2, ended_at = ?3, summary = ?4, problem = ?5, documents = ?6
             WHERE id = ?1 AND ended_at IS NULL",
            params![
                id,
                ended.state.name(),
                now(),
                ended.summary,
                ended.problem,
                i64::try_from(ended.documents).ok()
            ],
        )?;
        transaction.execute(
            "DELETE FROM service_runs WHERE ended_at IS NOT NULL AND number IN (
                 SELECT number FROM service_runs
                 WHERE source_id = (SELECT source_id FROM service_runs WHERE id = ?1)
                 ORDER BY number DESC LIMIT -1 OFFSET ?2)",
            params![id, KEPT],
        )?;
        transaction.commit()?;
        Ok(())
    }

    /// Takes note that an earlier process ended in the middle of runs, and gives what has to go on: those, anew, and
    /// those that still waited. Of each source one, that does what was asked of either.
    pub fn take_up_runs(
        &mut self,
        mut new_id: impl FnMut() -> String,
    ) -> Result<Vec<ServiceRun>, StoreError> {
        for run in self.unended_runs()?.into_iter().filter(|run| run.state == RunState::Running) {
            let asked = run.asked;
            let joined = self.connection.execute(
                "UPDATE service_runs SET mode = CASE ?2 WHEN 'full' THEN 'full' ELSE mode END,
                     confirm_removals = max(confirm_removals, ?3)
                 WHERE source_id = ?1 AND state = 'queued'",
                params![asked.source_id, asked.mode.name(), asked.confirm_removals],
            )?;
            if joined == 0 {
                self.queue_run(&NewRun { id: new_id(), ..asked.clone() })?;
            }
            let documents = super::Store::count(self, &asked.source_id)?;
            let ended = EndedRun { state: RunState::Interrupted, summary: None, problem: None, documents };
            self.finish_run(&asked.id, &ended)?;
        }
        self.unended_runs()
    }

    /// Runs that wait or are under way, in the order in which they were asked for.
    pub fn unended_runs(&self) -> Result<Vec<ServiceRun>, StoreError> {
        let mut statement = self
            .connection
            .prepare(&format!("SELECT {COLUMNS} FROM service_runs WHERE ended_at IS NULL ORDER BY number"))?;
        let runs = statement.query_map([], service_run)?;
        Ok(runs.collect::<Result<_, _>>()?)
    }

    /// Whether a run of the source waits or is under way.
    pub fn has_unended_run(&self, source_id: &str) -> Result<bool, StoreError> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT 1 FROM service_runs WHERE source_id = ?1 AND ended_at IS NULL")?;
        Ok(statement.exists([source_id])?)
    }

    /// The runs of a source, the newest first; only those before the named one, where one is.
    pub fn service_runs(
        &self,
        source_id: &str,
        before: Option<&str>,
        limit: u32,
    ) -> Result<Vec<ServiceRun>, StoreError> {
        let mut statement = self.connection.prepare_cached(&format!(
            "SELECT {COLUMNS} FROM service_runs
             WHERE source_id = ?1
               AND (?2 IS NULL OR number < (SELECT number FROM service_runs WHERE id = ?2 AND source_id = ?1))
             ORDER BY number DESC LIMIT ?3"
        ))?;
        let runs = statement.query_map(params![source_id, before, limit], service_run)?;
        Ok(runs.collect::<Result<_, _>>()?)
    }

    /// One run of a source.
    pub fn service_run(&self, source_id: &str, id: &str) -> Result<Option<ServiceRun>, StoreError> {
        let mut statement = self.connection.prepare_cached(&format!(
            "SELECT {COLUMNS} FROM service_runs WHERE id = ?1 AND source_id = ?2"
        ))?;
        Ok(statement.query_row([id, source_id], service_run).optional()?)
    }
}

fn service_run(row: &Row<'_>) -> rusqlite::Result<ServiceRun> {
    Ok(ServiceRun {
        number: row.get(0)?,
        asked: NewRun {
            id: row.get(1)?,
            source_id: row.get(2)?,
            mode: mode(&row.get::<_, String>(3)?),
            confirm_removals: row.get(4)?,
        },
        state: RunState::parse(&row.get::<_, String>(5)?),
        queued_at: row.get(6)?,
        started_at: row.get(7)?,
        ended_at: row.get(8)?,
        summary: row.get(9)?,
        problem: row.get(10)?,
        documents: row.get::<_, Option<i64>>(11)?.map(i64::unsigned_abs),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{SourceRecord, Store as _};

    fn store(directory: &std::path::Path) -> SqliteStore {
        let mut store = SqliteStore::open(directory).unwrap();
        for id in ["s", "t"] {
            let record = SourceRecord {
                id: id.into(),
                kind: "CONFLUENCE".into(),
                base_url: "u".into(),
                email: "e".into(),
                scope: None,
            };
            store.register(&record).unwrap();
        }
        store
    }

    fn run(id: &str, source: &str) -> NewRun {
        NewRun { id: id.into(), source_id: source.into(), mode: Mode::Delta, confirm_removals: false }
    }

    fn ended(state: RunState) -> EndedRun {
        EndedRun { state, summary: Some("{}".into()), problem: None, documents: 7 }
    }

    #[test]
    fn a_run_is_queued_started_and_ended_once() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = store(directory.path());
        assert_eq!(store.queue_run(&run("1", "unknown")).unwrap(), None);
        assert_eq!(store.queue_run(&run("1", "s")).unwrap().unwrap().state, RunState::Queued);
        store.start_run("1").unwrap();
        assert_eq!(store.service_run("s", "1").unwrap().unwrap().state, RunState::Running);
        store.finish_run("1", &ended(RunState::Completed)).unwrap();
        store.finish_run("1", &ended(RunState::Failed)).unwrap();
        let stored = store.service_run("s", "1").unwrap().unwrap();
        assert_eq!((stored.state, stored.documents), (RunState::Completed, Some(7)));
        assert_eq!(store.service_run("t", "1").unwrap(), None, "it is a run of another source");
    }

    #[test]
    fn runs_are_listed_page_by_page_and_old_ones_forgotten() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = store(directory.path());
        store.queue_run(&run("other", "t")).unwrap();
        for number in 0..KEPT + 3 {
            let id = number.to_string();
            store.queue_run(&run(&id, "s")).unwrap();
            store.finish_run(&id, &ended(RunState::Completed)).unwrap();
        }
        let ids = |before: Option<&str>| -> Vec<String> {
            store.service_runs("s", before, 2).unwrap().into_iter().map(|run| run.asked.id).collect()
        };
        assert_eq!(ids(None), ["1002", "1001"]);
        assert_eq!(ids(Some("1001")), ["1000", "999"]);
        assert_eq!(ids(Some("3")), Vec::<String>::new(), "the run before was the last of those kept");
        assert_eq!(ids(Some("other")), Vec::<String>::new());
        assert_eq!(store.service_runs("t", None, 9).unwrap().len(), 1);
    }

    #[test]
    fn what_an_earlier_process_was_at_goes_on() {
        let directory = tempfile::tempdir().unwrap();
        let mut before = store(directory.path());
        before.queue_run(&run("1", "s")).unwrap();
        before.queue_run(&run("2", "t")).unwrap();
        before.start_run("1").unwrap();
        drop(before);
        let mut store = store(directory.path());
        let taken_up = store.take_up_runs(|| "3".to_owned()).unwrap();
        let taken_up: Vec<_> = taken_up.iter().map(|run| (run.asked.id.as_str(), run.state)).collect();
        assert_eq!(taken_up, [("2", RunState::Queued), ("3", RunState::Queued)]);
        assert_eq!(store.service_run("s", "1").unwrap().unwrap().state, RunState::Interrupted);
        assert_eq!(store.service_run("s", "3").unwrap().unwrap().state, RunState::Queued);
    }

    #[test]
    fn a_run_that_waited_does_also_what_the_interrupted_one_was_asked_for() {
        let directory = tempfile::tempdir().unwrap();
        let mut before = store(directory.path());
        let full = NewRun { mode: Mode::Full, confirm_removals: true, ..run("1", "s") };
        before.queue_run(&full).unwrap();
        before.start_run("1").unwrap();
        before.queue_run(&run("2", "s")).unwrap();
        before.queue_run(&run("3", "t")).unwrap();
        drop(before);
        let mut store = store(directory.path());
        let taken_up = store.take_up_runs(|| unreachable!("one waits already")).unwrap();
        let taken_up: Vec<_> = taken_up.into_iter().map(|run| run.asked).collect();
        assert_eq!(taken_up, [NewRun { id: "2".to_owned(), ..full }, run("3", "t")]);
    }
}
