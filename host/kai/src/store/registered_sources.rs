//! The sources of a store: registered with their sealed tokens, or known from the files that they were synced from.

use std::time::Duration;

use kai_host::Source;
use rusqlite::{OptionalExtension as _, Row, params};
use secrecy::SecretString;

use super::changes;
use super::sqlite::{mode, now, source_record};
use super::{SourceRecord, SqliteStore, StoreError};
use crate::master_key::MasterKey;
use crate::sealed_token::{SealedToken, SealedTokenError};
use crate::source_file::Registration;
use crate::summary::Mode;

/// A source of a store, and what the store has of it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SourceOverview {
    /// The source.
    pub source: SourceRecord,
    /// Whose it is.
    pub tenant_id: String,
    /// As it was registered.
    pub space_key: Option<String>,
    /// As it was registered: it wins over the `space_key`.
    pub scope_path: Option<String>,
    /// As it was registered.
    pub cloud_id: Option<String>,
    /// When the service begins runs by itself.
    pub schedule: Schedule,
    /// Number of documents.
    pub documents: u64,
    /// Number of pages that could not be had.
    pub failures: u64,
    /// The last run that came to its end.
    pub last_run: Option<CompletedRun>,
    /// Whether the store keeps its token, sealed. If not, it is known from a file only.
    pub token_kept: bool,
}

/// When runs of a source begin without being asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Schedule {
    /// From the end of a run to the next; none: never.
    pub run_every: Option<Duration>,
    /// How long ago the last full run may be before a run is full; none: [`DEFAULT_FULL_EVERY`].
    pub full_every: Option<Duration>,
    /// When the next run begins: RFC 3339, UTC.
    pub next_run_at: Option<String>,
}

/// Only a full run finds what was deleted.
pub const DEFAULT_FULL_EVERY: Duration = Duration::from_secs(24 * 60 * 60);

/// Which sources to look at.
#[derive(Debug, Clone, Copy, Default)]
pub struct SourceFilter<'a> {
    /// Of one tenant.
    pub tenant_id: Option<&'a str>,
    /// One source.
    pub id: Option<&'a str>,
}

/// A run that came to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompletedRun {
    /// Which kind it was.
    pub mode: Mode,
    /// When: RFC 3339, UTC.
    pub ended_at: String,
}

/// A source whose token the store keeps.
#[derive(Debug, Clone)]
pub struct RegisteredSource {
    id: String,
    /// Its token is missing.
    registration: Registration,
    sealed_token: SealedToken,
}

impl RegisteredSource {
    /// See [`Registration::id`].
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its registration without its token.
    #[must_use]
    pub fn registration(&self) -> &Registration {
        &self.registration
    }

    /// Whether its token is that of this registration's account on this site.
    #[must_use]
    pub fn shares_account(&self, registration: &Registration) -> bool {
        let account = |source: &Source| {
            (source.base_url.trim_end_matches('/').to_owned(), source.email.clone(), source.cloud_id.clone())
        };
        account(&self.registration.source) == account(&registration.source)
    }

    /// Its registration with the token that the store keeps.
    ///
    /// # Errors
    /// See [`SealedTokenError`].
    pub fn open(self, key: &MasterKey) -> Result<Registration, SealedTokenError> {
        let token = self.sealed_token.open(key, &self.registration)?;
        Ok(self.with(token))
    }

    /// Its registration with another token.
    ///
    /// # Errors
    /// [`SealedTokenError::Damaged`] where the source is not the one that was stored, which the old token tells as long as
    /// its key is there: no token may go there.
    pub fn with_token(self, token: SecretString, key: &MasterKey) -> Result<Registration, SealedTokenError> {
        match self.sealed_token.open(key, &self.registration) {
            // Without the seal, only the id says what was registered.
            Err(SealedTokenError::OtherKey { .. }) if self.registration.registered_as.is_some() => {
                Err(SealedTokenError::Damaged { source_id: self.id })
            }
            Err(damaged @ SealedTokenError::Damaged { .. }) => Err(damaged),
            Ok(_) | Err(SealedTokenError::OtherKey { .. }) => Ok(self.with(token)),
        }
    }

    fn with(mut self, token: SecretString) -> Registration {
        self.registration.source.api_token = token;
        self.registration
    }
}

impl SqliteStore {
    /// Whether what only a full run finds (deletions, moves) was not looked for since that long. Not of a source that
    /// never was: its next run is full anyway.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn is_full_run_due(&self, source_id: &str, every: Duration) -> Result<bool, StoreError> {
        let ended_at: Option<String> = self.connection.query_row(
            "SELECT max(ended_at) FROM runs WHERE source_id = ?1 AND mode = ?2",
            params![source_id, Mode::Full.name()],
            |row| row.get(0),
        )?;
        let Some(ended_at) = ended_at else { return Ok(false) };
        let every = chrono::TimeDelta::from_std(every).unwrap_or(chrono::TimeDelta::MAX);
        let ended_at = chrono::DateTime::parse_from_rfc3339(&ended_at);
        // One from the future is from before the clock was set back.
        Ok(ended_at.is_ok_and(|ended_at| {
            !(chrono::TimeDelta::zero()..every).contains(&(chrono::Utc::now() - ended_at.to_utc()))
        }))
    }

    /// Registers a source of a tenant, or updates it. Whether it is registered for the first time.
    ///
    /// # Errors
    /// See [`StoreError`]; likewise of the methods below.
    pub fn add_source(
        &mut self,
        tenant_id: &str,
        registration: &Registration,
        sealed_token: &SealedToken,
    ) -> Result<bool, StoreError> {
        let (id, source) = (registration.id(), &registration.source);
        let transaction = self.connection.transaction()?;
        let known = "SELECT 1 FROM sources WHERE id = ?1 AND registered_at IS NOT NULL";
        let known = transaction.query_row(known, [&id], |_| Ok(())).optional()?.is_some();
        transaction.execute(
            "INSERT INTO sources (id, kind, base_url, email, scope, space_key, scope_path, cloud_id, sealed_token,
                                  registered_at, tenant_id)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
             ON CONFLICT (id) DO UPDATE SET
                 base_url = excluded.base_url, email = excluded.email, scope = excluded.scope,
                 space_key = excluded.space_key, scope_path = excluded.scope_path, cloud_id = excluded.cloud_id,
                 sealed_token = excluded.sealed_token,
                 registered_at = coalesce(registered_at, excluded.registered_at)",
            params![
                id,
                source.kind,
                source.base_url,
                source.email,
                registration.scope(),
                source.space_key,
                registration.scope_path,
                source.cloud_id,
                sealed_token.as_bytes(),
                now(),
                tenant_id,
            ],
        )?;
        transaction.commit()?;
        Ok(!known)
    }

    /// The source that a tenant has with this account, site and scope already.
    pub fn same_source(
        &self,
        tenant_id: &str,
        registration: &Registration,
    ) -> Result<Option<String>, StoreError> {
        let wanted = registration.own_id();
        let filter = SourceFilter { tenant_id: Some(tenant_id), id: None };
        let sources = self.registered_sources_of(filter)?;
        Ok(sources.into_iter().find(|source| source.registration.own_id() == wanted).map(|source| source.id))
    }

    /// Whether there is a source of this id, of whomever.
    pub fn has_source(&self, id: &str) -> Result<bool, StoreError> {
        let found = self.connection.query_row("SELECT 1 FROM sources WHERE id = ?1", [id], |_| Ok(()));
        Ok(found.optional()?.is_some())
    }

    /// Reads a registered source in another scope from now on. Its next run is a full one that begins anew; what is out
    /// of the new scope is removed by it. Whether there is one of this id.
    pub fn change_scope(&mut self, registration: &Registration) -> Result<bool, StoreError> {
        let id = registration.id();
        let transaction = self.connection.transaction()?;
        let changed = transaction.execute(
            "UPDATE sources SET space_key = ?2, scope_path = ?3, scope = ?4, full_crawls = 0 WHERE id = ?1",
            params![id, registration.source.space_key, registration.scope_path, registration.scope()],
        )?;
        transaction.execute(
            "UPDATE spaces SET delta_token = NULL, cursor = NULL, cursor_since = NULL WHERE source_id = ?1",
            [&id],
        )?;
        transaction.execute("DELETE FROM runs WHERE source_id = ?1 AND ended_at IS NULL", [&id])?;
        transaction.commit()?;
        Ok(changed > 0)
    }

    /// Sets when runs of a source begin by themselves. Whether there is one of this id.
    pub fn set_schedule(&mut self, id: &str, schedule: &Schedule) -> Result<bool, StoreError> {
        let seconds = |every: Option<Duration>| every.and_then(|every| i64::try_from(every.as_secs()).ok());
        let changed = self.connection.execute(
            "UPDATE sources SET run_every = ?2, full_every = ?3, next_run_at = ?4 WHERE id = ?1",
            params![id, seconds(schedule.run_every), seconds(schedule.full_every), schedule.next_run_at],
        )?;
        Ok(changed > 0)
    }

    /// Keeps another token for a registered source. Whether there is one of this id.
    pub fn replace_token(&mut self, id: &str, sealed_token: &SealedToken) -> Result<bool, StoreError> {
        let replaced = self.connection.execute(
            "UPDATE sources SET sealed_token = ?2 WHERE id = ?1 AND registered_at IS NOT NULL",
            params![id, sealed_token.as_bytes()],
        )?;
        Ok(replaced > 0)
    }

    /// Removes a source with everything that the store has of it. The number of its documents; none where there is no
    /// source of this id.
    pub fn remove_source(&mut self, id: &str) -> Result<Option<u64>, StoreError> {
        let transaction = self.connection.transaction()?;
        changes::note_removals(&transaction, id, None)?;
        let documents = transaction.execute("DELETE FROM documents WHERE source_id = ?1", [id])?;
        for table in ["failures", "spaces", "runs", "service_runs"] {
            transaction.execute(&format!("DELETE FROM {table} WHERE source_id = ?1"), [id])?;
        }
        let removed = transaction.execute("DELETE FROM sources WHERE id = ?1", [id])?;
        transaction.commit()?;
        Ok((removed > 0).then_some(documents as u64))
    }

    /// The sources whose tokens the store keeps, in the order in which they were registered.
    pub fn registered_sources(&self) -> Result<Vec<RegisteredSource>, StoreError> {
        self.registered_sources_of(SourceFilter::default())
    }

    /// Those of them that the filter lets through.
    pub fn registered_sources_of(
        &self,
        filter: SourceFilter<'_>,
    ) -> Result<Vec<RegisteredSource>, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT id, kind, base_url, email, space_key, scope_path, cloud_id, sealed_token FROM sources
             WHERE sealed_token IS NOT NULL AND (?1 IS NULL OR tenant_id = ?1) AND (?2 IS NULL OR id = ?2)
             ORDER BY registered_at, id",
        )?;
        let sources = statement.query_map(params![filter.tenant_id, filter.id], |row| {
            let id: String = row.get(0)?;
            let mut registration = Registration {
                source: Source {
                    kind: row.get(1)?,
                    base_url: row.get(2)?,
                    email: row.get(3)?,
                    api_token: SecretString::default(),
                    space_key: row.get(4)?,
                    cloud_id: row.get(6)?,
                },
                scope_path: row.get(5)?,
                registered_as: None,
            };
            if registration.own_id() != id {
                registration.registered_as = Some(id.clone());
            }
            Ok(RegisteredSource { id, registration, sealed_token: row.get::<_, Vec<u8>>(7)?.into() })
        })?;
        Ok(sources.collect::<Result<_, _>>()?)
    }

    /// All sources, with what the store has of each.
    pub fn source_overviews(&self) -> Result<Vec<SourceOverview>, StoreError> {
        self.source_overviews_of(SourceFilter::default())
    }

    /// Those of them that the filter lets through.
    pub fn source_overviews_of(&self, filter: SourceFilter<'_>) -> Result<Vec<SourceOverview>, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT sources.id, kind, base_url, email, scope, sealed_token IS NOT NULL,
                    (SELECT count(*) FROM documents WHERE source_id = sources.id),
                    (SELECT count(*) FROM failures WHERE source_id = sources.id),
                    last.mode, last.ended_at, tenant_id, space_key, scope_path, cloud_id, run_every, full_every,
                    next_run_at
             FROM sources LEFT JOIN runs AS last ON last.id =
                 (SELECT max(id) FROM runs WHERE source_id = sources.id AND ended_at IS NOT NULL)
             WHERE (?1 IS NULL OR tenant_id = ?1) AND (?2 IS NULL OR sources.id = ?2)
             ORDER BY coalesce(registered_at, ''), sources.id",
        )?;
        let sources = statement.query_map(params![filter.tenant_id, filter.id], |row| {
            let last_mode: Option<String> = row.get(8)?;
            let ended_at: Option<String> = row.get(9)?;
            Ok(SourceOverview {
                source: source_record(row)?,
                tenant_id: row.get(10)?,
                space_key: row.get(11)?,
                scope_path: row.get(12)?,
                cloud_id: row.get(13)?,
                schedule: Schedule {
                    run_every: duration(row, 14)?,
                    full_every: duration(row, 15)?,
                    next_run_at: row.get(16)?,
                },
                token_kept: row.get(5)?,
                documents: row.get::<_, i64>(6)?.unsigned_abs(),
                failures: row.get::<_, i64>(7)?.unsigned_abs(),
                last_run: last_mode
                    .zip(ended_at)
                    .map(|(name, ended_at)| CompletedRun { mode: mode(&name), ended_at }),
            })
        })?;
        Ok(sources.collect::<Result<_, _>>()?)
    }

    /// The source that the filter lets through and whose it is, without counting what there is of it.
    pub fn source_and_tenant(
        &self,
        filter: SourceFilter<'_>,
    ) -> Result<Option<(SourceRecord, String)>, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT id, kind, base_url, email, scope, tenant_id FROM sources
             WHERE (?1 IS NULL OR tenant_id = ?1) AND (?2 IS NULL OR id = ?2)",
        )?;
        let found = statement
            .query_row(params![filter.tenant_id, filter.id], |row| Ok((source_record(row)?, row.get(5)?)));
        Ok(found.optional()?)
    }

    /// The ids of the sources of a tenant, or of all.
    pub fn source_ids(&self, tenant_id: Option<&str>) -> Result<Vec<String>, StoreError> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT id FROM sources WHERE ?1 IS NULL OR tenant_id = ?1 ORDER BY id")?;
        let ids = statement.query_map([tenant_id], |row| row.get(0))?;
        Ok(ids.collect::<Result<_, _>>()?)
    }
}

fn duration(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Duration>> {
    let seconds: Option<i64> = row.get(column)?;
    Ok(seconds.map(|seconds| Duration::from_secs(seconds.unsigned_abs())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Checkpoint, DEFAULT_TENANT, FailedPage, Progress, Store as _, Write};
    use kai_host::{Document, Metadata, Partition, Reference};
    use secrecy::ExposeSecret as _;
    use std::path::Path;

    fn key(byte: u8) -> MasterKey {
        MasterKey::parse(&format!("{byte:02x}").repeat(32), "the test".to_owned()).unwrap()
    }

    fn registration(fields: &str) -> Registration {
        let document = format!(
            r#"{{"kind":"CONFLUENCE","base_url":"https://a.example","email":"e@a.example","api_token":"s3cret"{fields}}}"#
        );
        Registration::parse(document.as_bytes(), None).unwrap()
    }

    fn add(store: &mut SqliteStore, registration: &Registration) -> bool {
        store
            .add_source(DEFAULT_TENANT, registration, &SealedToken::seal(&key(1), registration).unwrap())
            .unwrap()
    }

    /// A run of the source that wrote one document, met one failure, and stopped in the middle of its one space.
    fn fill(store: &mut SqliteStore, registration: &Registration) {
        let id = registration.id();
        let run = store.begin_run(&id, false).unwrap();
        let metadata = Metadata {
            web_url: "w".into(),
            space_key: "ENG".into(),
            version_number: 1,
            created_at: None,
            created_by_display_name: None,
        };
        let reference = Reference { id: "7".into(), title: "T".into(), modified_at: "m".into(), metadata };
        let document = Document { reference, mime_type: "text/markdown".into(), content: "# T".into() };
        let failed = FailedPage { id: "8".into(), title: None, cause: "too large".into() };
        let partition = Partition { id: "1".into(), key: "ENG".into(), name: "Engineering".into() };
        let progress = Progress::Continues(Checkpoint { cursor: "c".into(), since: None });
        let writes = [Write::Document(document), Write::Failed(failed)];
        store.commit(&id, run, &partition, &writes, &progress).unwrap();
    }

    fn open(directory: &Path) -> SqliteStore {
        SqliteStore::open(directory).unwrap()
    }

    #[test]
    fn a_registered_source_comes_back_whole_and_may_be_added_again() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = open(directory.path());
        let mut source = registration(r#","space_key":"ENG","scope_path":"/spaces/OPS","cloud_id":"c-1""#);
        assert!(add(&mut store, &source));
        source.source.api_token = "rotated".into();
        assert!(!add(&mut store, &source));
        let [registered] = store.registered_sources().unwrap().try_into().unwrap();
        assert!(!format!("{registered:?}").contains("rotated"));
        let found = registered.open(&key(1)).unwrap();
        assert_eq!(found.id(), source.id());
        let Registration { source: Source { api_token, space_key, cloud_id, .. }, scope_path, .. } = found;
        assert_eq!(api_token.expose_secret(), "rotated");
        assert_eq!(
            (space_key.as_deref(), scope_path.as_deref(), cloud_id.as_deref()),
            (Some("ENG"), Some("/spaces/OPS"), Some("c-1"))
        );
    }

    #[test]
    fn a_source_that_was_synced_from_a_file_keeps_its_documents_when_it_is_registered() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = open(directory.path());
        let source = registration("");
        let record = SourceRecord {
            id: source.id(),
            kind: "CONFLUENCE".into(),
            base_url: "https://a.example".into(),
            email: "e@a.example".into(),
            scope: None,
        };
        store.register(&record).unwrap();
        fill(&mut store, &source);
        assert!(store.registered_sources().unwrap().is_empty());
        assert!(!store.source_overviews().unwrap()[0].token_kept);
        let sealed = SealedToken::seal(&key(1), &source).unwrap();
        assert!(!store.replace_token(&source.id(), &sealed).unwrap(), "it is not registered");
        assert!(add(&mut store, &source));
        let overview = store.source_overviews().unwrap().remove(0);
        assert_eq!((overview.documents, overview.failures, overview.token_kept), (1, 1, true));
        // A sync registers what it syncs; that takes nothing away.
        store.register(&record).unwrap();
        assert_eq!(store.registered_sources().unwrap().len(), 1);
    }

    #[test]
    fn an_overview_names_the_last_run_that_came_to_its_end() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = open(directory.path());
        let source = registration("");
        add(&mut store, &source);
        let last_mode = |store: &SqliteStore| {
            let overview = store.source_overviews().unwrap().remove(0);
            overview.last_run.map(|run| run.mode)
        };
        let full = store.begin_run(&source.id(), false).unwrap();
        assert_eq!(last_mode(&store), None);
        store.end_run(&source.id(), full).unwrap();
        assert_eq!(last_mode(&store), Some(Mode::Full));
        // Given up for a full run, so it never came to its end.
        assert_eq!(store.begin_run(&source.id(), false).unwrap().mode, Mode::Delta);
        let full = store.begin_run(&source.id(), true).unwrap();
        assert_eq!(last_mode(&store), Some(Mode::Full));
        store.end_run(&source.id(), full).unwrap();
        let delta = store.begin_run(&source.id(), false).unwrap();
        store.end_run(&source.id(), delta).unwrap();
        assert_eq!(last_mode(&store), Some(Mode::Delta));
    }

    #[test]
    fn a_source_is_removed_with_everything_of_it_and_nothing_of_others() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = open(directory.path());
        let (one, other) = (registration(""), registration(r#","space_key":"ENG""#));
        for source in [&one, &other] {
            add(&mut store, source);
            fill(&mut store, source);
        }
        let rows = |store: &SqliteStore, id: &str| {
            ["sources", "documents", "failures", "spaces", "runs"].map(|table| {
                let column = if table == "sources" { "id" } else { "source_id" };
                let query = format!("SELECT count(*) FROM {table} WHERE {column} = ?1");
                store.connection.query_row(&query, [id], |row| row.get::<_, i64>(0)).unwrap()
            })
        };
        assert_eq!(rows(&store, &one.id()), [1; 5]);
        assert_eq!(store.remove_source(&one.id()).unwrap(), Some(1));
        assert_eq!(rows(&store, &one.id()), [0; 5]);
        assert_eq!(rows(&store, &other.id()), [1; 5]);
        assert_eq!(store.remove_source(&one.id()).unwrap(), None);
    }

    #[test]
    fn a_source_that_was_changed_in_the_store_gets_no_token() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = open(directory.path());
        add(&mut store, &registration(""));
        store.connection.execute("UPDATE sources SET base_url = 'https://evil.example'", []).unwrap();
        let source = store.registered_sources().unwrap().remove(0);
        for refused in [source.clone().open(&key(1)), source.with_token("new".into(), &key(1))] {
            assert!(matches!(refused, Err(SealedTokenError::Damaged { .. })));
        }
    }

    #[test]
    fn a_source_is_added_and_its_token_rotated_while_another_process_writes() {
        let directory = tempfile::tempdir().unwrap();
        // Makes the store, too.
        let mut beside = SqliteStore::open_beside_writer(directory.path()).unwrap();
        let mut writer = open(directory.path());
        let (one, other) = (registration(""), registration(r#","space_key":"ENG""#));
        assert!(add(&mut beside, &one));
        let path = directory.path().to_owned();
        let syncing = std::thread::spawn({
            let one = one.clone();
            move || {
                for _ in 0..200 {
                    fill(&mut writer, &one);
                }
                writer
            }
        });
        for number in 0..50 {
            let mut beside = SqliteStore::open_beside_writer(&path).unwrap();
            add(&mut beside, &other);
            let sealed = SealedToken::seal(&key(number), &one).unwrap();
            assert!(beside.replace_token(&one.id(), &sealed).unwrap());
        }
        let writer = syncing.join().unwrap();
        let sources = writer.registered_sources().unwrap();
        assert_eq!(sources.len(), 2);
        assert!(sources[0].clone().open(&key(49)).is_ok());
        assert!(matches!(SqliteStore::open(&path), Err(StoreError::Locked { .. })));
    }

    #[test]
    fn several_processes_may_be_the_first_to_add_a_source() {
        let directory = tempfile::tempdir().unwrap();
        let keys = ["A", "B", "C", "D", "E", "F"];
        std::thread::scope(|scope| {
            for key in keys {
                let directory = directory.path();
                scope.spawn(move || {
                    let source = registration(&format!(r#","space_key":"{key}""#));
                    assert!(add(&mut SqliteStore::open_beside_writer(directory).unwrap(), &source));
                });
            }
        });
        assert_eq!(open(directory.path()).registered_sources().unwrap().len(), keys.len());
    }
}
