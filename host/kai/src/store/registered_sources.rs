//! The sources of a store: registered with their sealed tokens, or known from the files that they were synced from.

use kai_host::Source;
use rusqlite::{OptionalExtension as _, params};
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
    /// Number of documents.
    pub documents: u64,
    /// Number of pages that could not be had.
    pub failures: u64,
    /// The last run that came to its end.
    pub last_run: Option<CompletedRun>,
    /// Whether the store keeps its token, sealed. If not, it is known from a file only.
    pub token_kept: bool,
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
        self.with(token)
    }

    /// Its registration with another token.
    ///
    /// # Errors
    /// [`SealedTokenError::Damaged`] where the source is not the one that was stored, which the old token tells as long as
    /// its key is there: no token may go there.
    pub fn with_token(self, token: SecretString, key: &MasterKey) -> Result<Registration, SealedTokenError> {
        match self.sealed_token.open(key, &self.registration) {
            Err(damaged @ SealedTokenError::Damaged { .. }) => Err(damaged),
            Ok(_) | Err(SealedTokenError::OtherKey { .. }) => self.with(token),
        }
    }

    fn with(mut self, token: SecretString) -> Result<Registration, SealedTokenError> {
        if self.registration.id() != self.id {
            return Err(SealedTokenError::Damaged { source_id: self.id });
        }
        self.registration.source.api_token = token;
        Ok(self.registration)
    }
}

impl SqliteStore {
    /// When the last full run of a source came to its end: RFC 3339, UTC.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn last_full_run(&self, source_id: &str) -> Result<Option<String>, StoreError> {
        let ended_at = self.connection.query_row(
            "SELECT max(ended_at) FROM runs WHERE source_id = ?1 AND mode = ?2",
            params![source_id, Mode::Full.name()],
            |row| row.get(0),
        )?;
        Ok(ended_at)
    }

    /// Registers a source, or updates it. Whether it is registered for the first time.
    ///
    /// # Errors
    /// See [`StoreError`]; likewise of the methods below.
    pub fn add_source(
        &mut self,
        registration: &Registration,
        sealed_token: &SealedToken,
    ) -> Result<bool, StoreError> {
        let (id, source) = (registration.id(), &registration.source);
        let transaction = self.connection.transaction()?;
        let known = "SELECT 1 FROM sources WHERE id = ?1 AND registered_at IS NOT NULL";
        let known = transaction.query_row(known, [&id], |_| Ok(())).optional()?.is_some();
        transaction.execute(
            "INSERT INTO sources (id, kind, base_url, email, scope, space_key, scope_path, cloud_id, sealed_token,
                                  registered_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
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
            ],
        )?;
        transaction.commit()?;
        Ok(!known)
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
        for table in ["failures", "spaces", "runs"] {
            transaction.execute(&format!("DELETE FROM {table} WHERE source_id = ?1"), [id])?;
        }
        let removed = transaction.execute("DELETE FROM sources WHERE id = ?1", [id])?;
        transaction.commit()?;
        Ok((removed > 0).then_some(documents as u64))
    }

    /// The sources whose tokens the store keeps, in the order in which they were registered.
    pub fn registered_sources(&self) -> Result<Vec<RegisteredSource>, StoreError> {
        let mut statement = self.connection.prepare(
            "SELECT id, kind, base_url, email, space_key, scope_path, cloud_id, sealed_token FROM sources
             WHERE sealed_token IS NOT NULL ORDER BY registered_at, id",
        )?;
        let sources = statement.query_map([], |row| {
            Ok(RegisteredSource {
                id: row.get(0)?,
                registration: Registration {
                    source: Source {
                        kind: row.get(1)?,
                        base_url: row.get(2)?,
                        email: row.get(3)?,
                        api_token: SecretString::default(),
                        space_key: row.get(4)?,
                        cloud_id: row.get(6)?,
                    },
                    scope_path: row.get(5)?,
                },
                sealed_token: row.get::<_, Vec<u8>>(7)?.into(),
            })
        })?;
        Ok(sources.collect::<Result<_, _>>()?)
    }

    /// All sources, with what the store has of each.
    pub fn source_overviews(&self) -> Result<Vec<SourceOverview>, StoreError> {
        let mut statement = self.connection.prepare(
            "SELECT sources.id, kind, base_url, email, scope, sealed_token IS NOT NULL,
                    (SELECT count(*) FROM documents WHERE source_id = sources.id),
                    (SELECT count(*) FROM failures WHERE source_id = sources.id),
                    last.mode, last.ended_at
             FROM sources LEFT JOIN runs AS last ON last.id =
                 (SELECT max(id) FROM runs WHERE source_id = sources.id AND ended_at IS NOT NULL)
             ORDER BY coalesce(registered_at, ''), sources.id",
        )?;
        let sources = statement.query_map([], |row| {
            let last_mode: Option<String> = row.get(8)?;
            let ended_at: Option<String> = row.get(9)?;
            Ok(SourceOverview {
                source: source_record(row)?,
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Checkpoint, FailedPage, Progress, Store as _, Write};
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
        store.add_source(registration, &SealedToken::seal(&key(1), registration).unwrap()).unwrap()
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
        let Registration { source: Source { api_token, space_key, cloud_id, .. }, scope_path } = found;
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
