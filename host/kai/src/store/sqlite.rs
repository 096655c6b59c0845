//! The store as one SQLite database in a data directory, with one writer at a time.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use rusqlite::{Connection, ErrorCode, OptionalExtension as _, Row, Transaction, params};

use super::changes;
use super::content::{Packer, Unpacker};
use super::opening::{self, Lock};
use super::{
    Checkpoint, DocumentName, FailedPage, Filter, Progress, Run, SourceRecord, SpaceState, Store, StoreError,
    StoredDocument, StoredFailure, WHEN_DAMAGED, Write,
};
use crate::summary::{DocumentCounts, Mode};
use kai_host::{Document, Partition, Reference};

/// Runs whose rows are kept, of all sources of a store together; of each source and mode the last one in any case.
const KEPT_RUNS: i64 = 10_000;

/// A store in a data directory. Holds the directory's lock until it is dropped, where it was opened for writing.
#[derive(Debug)]
pub struct SqliteStore {
    pub(super) connection: Connection,
    // Dropped after the connection, whose last act may be to write.
    _lock: Option<Lock>,
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                Self::Database(format!("{error}; {WHEN_DAMAGED}"))
            }
            _ => Self::Database(error.to_string()),
        }
    }
}

impl SqliteStore {
    /// Opens the store for writing; makes directory and database where they do not exist, and brings a store of an older
    /// format to the newest.
    ///
    /// # Errors
    /// [`StoreError::Locked`] while another process writes to it; [`StoreError::Damaged`] where it is no store, or the
    /// last writer did not come to its end and left damage; otherwise what keeps it from being used.
    pub fn open(directory: &Path) -> Result<Self, StoreError> {
        let (connection, lock) = opening::for_writing(directory)?;
        Ok(Self { connection, _lock: Some(lock) })
    }

    /// Opens the store for short transactions beside another process that writes to it, such as registering a source;
    /// makes directory and database where they do not exist.
    ///
    /// # Errors
    /// See [`StoreError`]; [`StoreError::Locked`] only where another process is about to make the store.
    pub fn open_beside_writer(directory: &Path) -> Result<Self, StoreError> {
        Ok(Self { connection: opening::beside_writer(directory)?, _lock: None })
    }

    /// Opens the store for reading, also while another process writes to it.
    ///
    /// # Errors
    /// [`StoreError::Missing`] where there is none, [`StoreError::Older`] where no writer has opened it since its format
    /// was the newest.
    pub fn open_for_reading(directory: &Path) -> Result<Self, StoreError> {
        Ok(Self { connection: opening::for_reading(directory)?, _lock: None })
    }

    /// Gives the documents that the filter lets through to `each`, by source and id, until it says no.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn documents(
        &self,
        filter: &Filter,
        mut each: impl FnMut(StoredDocument) -> bool,
    ) -> Result<(), StoreError> {
        // Put in order without their content, which would be sorted with them.
        let mut statement = self.connection.prepare(
            "SELECT rowid FROM documents
             WHERE (?1 IS NULL OR source_id = ?1) AND (?2 IS NULL OR id = ?2)
             ORDER BY source_id, length(id), id",
        )?;
        let rows = statement.query_map(params![filter.source_id, filter.id], |row| row.get::<_, i64>(0))?;
        let rows: Vec<i64> = rows.collect::<Result<_, _>>()?;
        let mut statement =
            self.connection.prepare(&format!("SELECT {DOCUMENT_COLUMNS} FROM documents WHERE rowid = ?1"))?;
        let mut unpacker = Unpacker::new().map_err(compression)?;
        for row in rows {
            let mut found = statement.query([row])?;
            // One that another process removes meanwhile is not there.
            let Some(row) = found.next()? else { continue };
            if !each(stored_document(row, &mut unpacker)?) {
                break;
            }
        }
        Ok(())
    }

    /// Gives what is known of a source's documents without their content to `each`, in no order.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn document_names(
        &self,
        source_id: &str,
        mut each: impl FnMut(DocumentName),
    ) -> Result<(), StoreError> {
        let mut statement = self
            .connection
            .prepare("SELECT id, title, space_key, web_url FROM documents WHERE source_id = ?1")?;
        let mut rows = statement.query([source_id])?;
        while let Some(row) = rows.next()? {
            each(DocumentName {
                id: row.get(0)?,
                title: row.get(1)?,
                space_key: row.get(2)?,
                web_url: row.get(3)?,
            });
        }
        Ok(())
    }

    /// The pages that could not be had and are tried again by the next run, of those that the filter lets through.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn failures(&self, filter: &Filter) -> Result<Vec<StoredFailure>, StoreError> {
        let mut statement = self.connection.prepare(
            "SELECT source_id, id, title, cause, attempts FROM failures
             WHERE (?1 IS NULL OR source_id = ?1) AND (?2 IS NULL OR id = ?2)
             ORDER BY source_id, length(id), id",
        )?;
        let failures = statement.query_map(params![filter.source_id, filter.id], |row| {
            Ok(StoredFailure {
                source_id: row.get(0)?,
                page: FailedPage { id: row.get(1)?, title: row.get(2)?, cause: row.get(3)? },
                attempts: row.get(4)?,
            })
        })?;
        Ok(failures.collect::<Result<_, _>>()?)
    }

    /// The sources of the store.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn sources(&self) -> Result<Vec<SourceRecord>, StoreError> {
        let mut statement =
            self.connection.prepare("SELECT id, kind, base_url, email, scope FROM sources ORDER BY id")?;
        let sources = statement.query_map([], source_record)?;
        Ok(sources.collect::<Result<_, _>>()?)
    }
}

/// Reads a row that begins with id, kind, base_url, email and scope.
pub(super) fn source_record(row: &Row<'_>) -> rusqlite::Result<SourceRecord> {
    Ok(SourceRecord {
        id: row.get(0)?,
        kind: row.get(1)?,
        base_url: row.get(2)?,
        email: row.get(3)?,
        scope: row.get(4)?,
    })
}

/// What [`stored_document`] reads.
pub(super) const DOCUMENT_COLUMNS: &str = "source_id, id, title, mime_type, content, modified_at, web_url, space_key, version_number, created_at, created_by, content_zstd";

pub(super) fn stored_document(row: &Row<'_>, unpacker: &mut Unpacker) -> Result<StoredDocument, StoreError> {
    let id: String = row.get(1)?;
    let frame = row.get_ref(11)?.as_blob_or_null().map_err(rusqlite::Error::from)?;
    let content = unpacker.unpack(row.get(4)?, frame).map_err(|error| {
        StoreError::Database(format!("the content of page {id} is damaged ({error}); {WHEN_DAMAGED}"))
    })?;
    Ok(StoredDocument {
        source_id: row.get(0)?,
        id,
        title: row.get(2)?,
        mime_type: row.get(3)?,
        content,
        modified_at: row.get(5)?,
        web_url: row.get(6)?,
        space_key: row.get(7)?,
        version_number: row.get(8)?,
        created_at: row.get(9)?,
        created_by_display_name: row.get(10)?,
    })
}

pub(super) fn compression(error: std::io::Error) -> StoreError {
    StoreError::Database(format!("zstd: {error}"))
}

impl Store for SqliteStore {
    fn register(&mut self, source: &SourceRecord) -> Result<(), StoreError> {
        self.connection.execute(
            "INSERT INTO sources (id, kind, base_url, email, scope) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (id) DO NOTHING",
            params![source.id, source.kind, source.base_url, source.email, source.scope],
        )?;
        Ok(())
    }

    fn forget_other_spaces(&mut self, source_id: &str, partitions: &[Partition]) -> Result<(), StoreError> {
        let transaction = self.connection.transaction()?;
        {
            let listed: HashSet<&str> = partitions.iter().map(|partition| partition.id.as_str()).collect();
            let mut select = transaction.prepare_cached(
                "SELECT partition_id FROM spaces
                 WHERE source_id = ?1 AND (delta_token IS NOT NULL OR cursor IS NOT NULL)",
            )?;
            let ids = select.query_map([source_id], |row| row.get::<_, String>(0))?;
            let ids: Vec<String> = ids.collect::<Result<_, _>>()?;
            // An end that belongs to no run: it was listed once, but counts as not listed in every run.
            let mut forget = transaction.prepare_cached(
                "UPDATE spaces SET delta_token = NULL, cursor = NULL, cursor_since = NULL,
                     ended_run = CASE WHEN ended_run IS NULL THEN NULL ELSE 0 END
                 WHERE source_id = ?1 AND partition_id = ?2",
            )?;
            for id in ids.iter().filter(|id| !listed.contains(id.as_str())) {
                forget.execute(params![source_id, id])?;
            }
        }
        transaction.commit()?;
        Ok(())
    }

    fn begin_run(&mut self, source_id: &str, full: bool) -> Result<Run, StoreError> {
        let transaction = self.connection.transaction()?;
        let crawls: i64 =
            transaction
                .query_row("SELECT full_crawls FROM sources WHERE id = ?1", [source_id], |row| row.get(0))?;
        let open: Option<(i64, String)> = transaction
            .query_row(
                "SELECT id, mode FROM runs WHERE source_id = ?1 AND ended_at IS NULL ORDER BY id DESC LIMIT 1",
                [source_id],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .optional()?;
        let open = open.map(|(id, name)| (id, mode(&name)));
        let wanted = if full || crawls == 0 { Mode::Full } else { Mode::Delta };
        let run = match open {
            Some((id, mode)) if mode == Mode::Full || mode == wanted => Run { id, mode, resumed: true },
            _ => {
                // Given up for a full run. Its number does not come again.
                transaction
                    .execute("DELETE FROM runs WHERE source_id = ?1 AND ended_at IS NULL", [source_id])?;
                transaction.execute(
                    "INSERT INTO runs (source_id, mode, begun_at) VALUES (?1, ?2, ?3)",
                    params![source_id, wanted.name(), now()],
                )?;
                Run { id: transaction.last_insert_rowid(), mode: wanted, resumed: false }
            }
        };
        transaction.commit()?;
        Ok(run)
    }

    fn space(&self, source_id: &str, run: Run, partition: &Partition) -> Result<SpaceState, StoreError> {
        let state = self
            .connection
            .query_row(
                "SELECT delta_token, cursor, cursor_since, listing_run, ended_run FROM spaces
                 WHERE source_id = ?1 AND partition_id = ?2",
                params![source_id, partition.id],
                |row| {
                    let cursor: Option<String> = row.get(1)?;
                    let since: Option<String> = row.get(2)?;
                    let checkpoint = cursor.map(|cursor| Checkpoint { cursor, since });
                    let of_this_run = row.get::<_, Option<i64>>(3)? == Some(run.id);
                    let ended_run: Option<i64> = row.get(4)?;
                    Ok(SpaceState {
                        delta_token: row.get(0)?,
                        checkpoint: checkpoint.filter(|_| of_this_run),
                        ended: ended_run == Some(run.id),
                        known: ended_run.is_some(),
                    })
                },
            )
            .optional()?;
        Ok(state.unwrap_or_default())
    }

    fn versions(&self, source_id: &str, ids: &[String]) -> Result<HashMap<String, u32>, StoreError> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT version_number FROM documents WHERE source_id = ?1 AND id = ?2")?;
        let mut versions = HashMap::new();
        for id in ids {
            if let Some(version) = statement.query_row(params![source_id, id], |row| row.get(0)).optional()? {
                versions.insert(id.clone(), version);
            }
        }
        Ok(versions)
    }

    fn commit(
        &mut self,
        source_id: &str,
        run: Run,
        partition: &Partition,
        writes: &[Write],
        progress: &Progress,
    ) -> Result<DocumentCounts, StoreError> {
        let transaction = self.connection.transaction()?;
        let counts = write_all(&transaction, source_id, run, writes)?;
        let (checkpoint, delta_token, ended) = match progress {
            Progress::Continues(checkpoint) => (Some(checkpoint), None, None),
            Progress::Ended { delta_token } => (None, delta_token.as_ref(), Some(run.id)),
        };
        // A token never moves backwards; tokens sort as text.
        transaction.prepare_cached(
            "INSERT INTO spaces (source_id, partition_id, key, delta_token, cursor, cursor_since, listing_run, ended_run,
                                 name)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
             ON CONFLICT (source_id, partition_id) DO UPDATE SET
                 key = excluded.key,
                 name = excluded.name,
                 delta_token = CASE
                     WHEN excluded.delta_token IS NULL THEN delta_token
                     ELSE max(coalesce(delta_token, ''), excluded.delta_token)
                 END,
                 cursor = excluded.cursor,
                 cursor_since = excluded.cursor_since,
                 listing_run = excluded.listing_run,
                 ended_run = coalesce(excluded.ended_run, ended_run)",
        )?.execute(params![
            source_id,
            partition.id,
            partition.key,
            delta_token,
            checkpoint.map(|checkpoint| &checkpoint.cursor),
            checkpoint.and_then(|checkpoint| checkpoint.since.as_ref()),
            run.id,
            ended,
            partition.name,
        ])?;
        transaction.commit()?;
        Ok(counts)
    }

    fn write(&mut self, source_id: &str, run: Run, writes: &[Write]) -> Result<DocumentCounts, StoreError> {
        let transaction = self.connection.transaction()?;
        let counts = write_all(&transaction, source_id, run, writes)?;
        transaction.commit()?;
        Ok(counts)
    }

    fn failed_pages(&self, source_id: &str) -> Result<Vec<FailedPage>, StoreError> {
        let filter = Filter { source_id: Some(source_id.to_owned()), id: None };
        Ok(self.failures(&filter)?.into_iter().map(|failure| failure.page).collect())
    }

    fn unseen(&self, source_id: &str, run: Run) -> Result<Vec<String>, StoreError> {
        let mut statement = self
            .connection
            .prepare("SELECT id FROM documents WHERE source_id = ?1 AND seen_run <> ?2 ORDER BY id")?;
        let ids = statement.query_map(params![source_id, run.id], |row| row.get(0))?;
        Ok(ids.collect::<Result<_, _>>()?)
    }

    fn remove(&mut self, source_id: &str, ids: &[String]) -> Result<u64, StoreError> {
        let transaction = self.connection.transaction()?;
        let mut removed = 0;
        {
            let mut document =
                transaction.prepare_cached("DELETE FROM documents WHERE source_id = ?1 AND id = ?2")?;
            let mut failure =
                transaction.prepare_cached("DELETE FROM failures WHERE source_id = ?1 AND id = ?2")?;
            for id in ids {
                changes::note_removals(&transaction, source_id, Some(id))?;
                removed += document.execute(params![source_id, id])? as u64;
                failure.execute(params![source_id, id])?;
            }
        }
        transaction.commit()?;
        Ok(removed)
    }

    fn end_run(&mut self, source_id: &str, run: Run) -> Result<(), StoreError> {
        let transaction = self.connection.transaction()?;
        transaction.execute("UPDATE runs SET ended_at = ?2 WHERE id = ?1", params![run.id, now()])?;
        transaction.execute(
            "DELETE FROM runs WHERE source_id = ?1 AND mode = ?2 AND id <= ?3 - ?4 AND ended_at IS NOT NULL",
            params![source_id, run.mode.name(), run.id, KEPT_RUNS],
        )?;
        if run.mode == Mode::Full {
            transaction
                .execute("UPDATE sources SET full_crawls = full_crawls + 1 WHERE id = ?1", [source_id])?;
        }
        transaction.commit()?;
        Ok(())
    }

    fn count(&self, source_id: &str) -> Result<u64, StoreError> {
        let count = self.connection.query_row(
            "SELECT count(*) FROM documents WHERE source_id = ?1",
            [source_id],
            |row| row.get::<_, i64>(0),
        )?;
        Ok(count.unsigned_abs())
    }

    fn delta_tokens(&self, source_id: &str) -> Result<Vec<(String, String)>, StoreError> {
        let mut statement = self.connection.prepare(
            "SELECT key, delta_token FROM spaces WHERE source_id = ?1 AND delta_token IS NOT NULL ORDER BY key",
        )?;
        let tokens = statement.query_map([source_id], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(tokens.collect::<Result<_, _>>()?)
    }
}

fn write_all(
    transaction: &Transaction<'_>,
    source_id: &str,
    run: Run,
    writes: &[Write],
) -> Result<DocumentCounts, StoreError> {
    let mut counts = DocumentCounts::default();
    let mut packer = Packer::new().map_err(compression)?;
    for write in writes {
        match write {
            Write::Document(document) => {
                if upsert(transaction, source_id, run, document, &mut packer)? {
                    counts.upserted += 1;
                } else {
                    counts.unchanged += 1;
                }
                forget_failure(transaction, source_id, &document.reference.id)?;
            }
            Write::Unchanged(reference) => {
                refresh(transaction, source_id, run, reference)?;
                counts.unchanged += 1;
            }
            Write::Failed(page) => {
                fail(transaction, source_id, run, page)?;
                counts.failed += 1;
            }
            Write::FailureGone(id) => forget_failure(transaction, source_id, id)?,
        }
    }
    Ok(counts)
}

/// Writes the document unless the store has this version or a newer one; then it only counts as met. Whether it was
/// written.
fn upsert(
    transaction: &Transaction<'_>,
    source_id: &str,
    run: Run,
    document: &Document,
    packer: &mut Packer,
) -> Result<bool, StoreError> {
    let reference = &document.reference;
    let (content, content_zstd) = packer.pack(&document.content).map_err(compression)?;
    let written = transaction
        .prepare_cached(
            "INSERT INTO documents (source_id, id, title, mime_type, content, modified_at, web_url, space_key,
                                    version_number, created_at, created_by, seen_run, content_zstd, change)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13,
                     (SELECT last + 1 FROM changes))
             ON CONFLICT (source_id, id) DO UPDATE SET
                 title = excluded.title, mime_type = excluded.mime_type, content = excluded.content,
                 modified_at = excluded.modified_at, web_url = excluded.web_url, space_key = excluded.space_key,
                 version_number = excluded.version_number, created_at = excluded.created_at,
                 created_by = excluded.created_by, seen_run = excluded.seen_run,
                 content_zstd = excluded.content_zstd, change = excluded.change
             WHERE excluded.version_number > version_number",
        )?
        .execute(params![
            source_id,
            reference.id,
            reference.title,
            document.mime_type,
            content,
            reference.modified_at,
            reference.metadata.web_url,
            reference.metadata.space_key,
            reference.metadata.version_number,
            reference.metadata.created_at,
            reference.metadata.created_by_display_name,
            run.id,
            content_zstd,
        ])?;
    if written == 0 {
        refresh(transaction, source_id, run, reference)?;
    } else {
        changes::note_written(transaction, source_id, &reference.id)?;
    }
    Ok(written > 0)
}

/// Marks a document as met by this run, and takes over what changes without a new version: a move changes space and
/// address.
fn refresh(
    transaction: &Transaction<'_>,
    source_id: &str,
    run: Run,
    reference: &Reference,
) -> Result<(), StoreError> {
    transaction
        .prepare_cached("UPDATE documents SET seen_run = ?3 WHERE source_id = ?1 AND id = ?2")?
        .execute(params![source_id, reference.id, run.id])?;
    let changed = transaction
        .prepare_cached(
            "UPDATE documents SET title = ?3, web_url = ?4, space_key = ?5,
                 change = (SELECT last + 1 FROM changes)
             WHERE source_id = ?1 AND id = ?2 AND version_number = ?6
               AND (title <> ?3 OR web_url <> ?4 OR space_key <> ?5)",
        )?
        .execute(params![
            source_id,
            reference.id,
            reference.title,
            reference.metadata.web_url,
            reference.metadata.space_key,
            reference.metadata.version_number,
        ])?;
    if changed > 0 {
        changes::note_written(transaction, source_id, &reference.id)?;
    }
    Ok(())
}

/// Keeps the failure, and the document as it was: a page that cannot be read is not gone.
fn fail(
    transaction: &Transaction<'_>,
    source_id: &str,
    run: Run,
    page: &FailedPage,
) -> Result<(), StoreError> {
    transaction
        .prepare_cached(
            "INSERT INTO failures (source_id, id, title, cause, last_run) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (source_id, id) DO UPDATE SET
                 title = coalesce(excluded.title, title), cause = excluded.cause, attempts = attempts + 1,
                 last_run = excluded.last_run",
        )?
        .execute(params![source_id, page.id, page.title, page.cause, run.id])?;
    transaction
        .prepare_cached("UPDATE documents SET seen_run = ?3 WHERE source_id = ?1 AND id = ?2")?
        .execute(params![source_id, page.id, run.id])?;
    Ok(())
}

fn forget_failure(transaction: &Transaction<'_>, source_id: &str, id: &str) -> Result<(), StoreError> {
    transaction
        .prepare_cached("DELETE FROM failures WHERE source_id = ?1 AND id = ?2")?
        .execute(params![source_id, id])?;
    Ok(())
}

/// As [`Mode::name`] wrote it.
pub(super) fn mode(name: &str) -> Mode {
    if name == Mode::Full.name() { Mode::Full } else { Mode::Delta }
}

pub(super) fn now() -> String {
    chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::samples::{self, reference};

    const SOURCE: &str = "source";

    fn open(directory: &Path) -> SqliteStore {
        let mut store = SqliteStore::open(directory).unwrap();
        store
            .register(&SourceRecord {
                id: SOURCE.into(),
                kind: "CONFLUENCE".into(),
                base_url: "https://a.example".into(),
                email: "e".into(),
                scope: None,
            })
            .unwrap();
        store
    }

    fn space() -> Partition {
        Partition { id: "1".into(), key: "ENG".into(), name: "Engineering".into() }
    }

    fn document(id: &str, version_number: u32, content: &str) -> Write {
        Write::Document(samples::document(id, version_number, content))
    }

    fn contents(store: &SqliteStore) -> Vec<(String, u32, String)> {
        let mut found = Vec::new();
        store
            .documents(&Filter::default(), |document| {
                found.push((document.id, document.version_number, document.content));
                true
            })
            .unwrap();
        found
    }

    fn ended(token: &str) -> Progress {
        Progress::Ended { delta_token: Some(token.into()) }
    }

    #[test]
    fn a_batch_and_its_checkpoint_survive_together() {
        let directory = tempfile::tempdir().unwrap();
        let checkpoint = Checkpoint { cursor: "c1".into(), since: None };
        let run = {
            let mut store = open(directory.path());
            let run = store.begin_run(SOURCE, false).unwrap();
            assert_eq!((run.mode, run.resumed), (Mode::Full, false));
            let progress = Progress::Continues(checkpoint.clone());
            let counts = store.commit(SOURCE, run, &space(), &[document("7", 1, "a")], &progress).unwrap();
            assert_eq!(counts, DocumentCounts { upserted: 1, ..DocumentCounts::default() });
            run
        };
        let mut store = open(directory.path());
        let again = store.begin_run(SOURCE, false).unwrap();
        assert_eq!(again, Run { resumed: true, ..run });
        let state = store.space(SOURCE, again, &space()).unwrap();
        assert_eq!(state, SpaceState { checkpoint: Some(checkpoint), ..SpaceState::default() });
        assert_eq!(contents(&store), [("7".to_owned(), 1, "a".to_owned())]);
        store.commit(SOURCE, again, &space(), &[], &ended("t1")).unwrap();
        store.end_run(SOURCE, again).unwrap();
        let next = store.begin_run(SOURCE, false).unwrap();
        assert_eq!((next.mode, next.resumed), (Mode::Delta, false));
        assert_eq!(
            store.space(SOURCE, next, &space()).unwrap(),
            SpaceState { delta_token: Some("t1".into()), known: true, ..SpaceState::default() }
        );
    }

    #[test]
    fn a_full_run_that_did_not_end_is_not_given_up_for_a_delta_run() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = open(directory.path());
        let first = store.begin_run(SOURCE, false).unwrap();
        store.end_run(SOURCE, first).unwrap();
        let full = store.begin_run(SOURCE, true).unwrap();
        assert_eq!(store.begin_run(SOURCE, false).unwrap(), Run { resumed: true, ..full });
        store.end_run(SOURCE, full).unwrap();
        let delta = store.begin_run(SOURCE, false).unwrap();
        let wanted = store.begin_run(SOURCE, true).unwrap();
        assert_eq!((delta.mode, wanted.mode, wanted.resumed), (Mode::Delta, Mode::Full, false));
    }

    #[test]
    fn content_is_read_as_it_was_written_whether_it_was_compressed_or_not() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = open(directory.path());
        let run = store.begin_run(SOURCE, false).unwrap();
        let long = "A sentence that is in there many times over. ".repeat(1000);
        let mut bytes = Vec::new();
        for (version, content) in [(1, "short"), (2, &long), (3, "short again"), (4, "")] {
            store.write(SOURCE, run, &[document("7", version, content)]).unwrap();
            assert_eq!(contents(&store), [("7".to_owned(), version, content.to_owned())]);
            let lengths = "SELECT length(content) + coalesce(length(content_zstd), 0) FROM documents";
            bytes.push(store.connection.query_row(lengths, [], |row| row.get::<_, u32>(0)).unwrap());
        }
        assert!(matches!(bytes[..], [5, 1..1000, 11, 0]), "{bytes:?}");
    }

    #[test]
    fn tokens_and_versions_never_move_backwards() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = open(directory.path());
        let run = store.begin_run(SOURCE, false).unwrap();
        store.commit(SOURCE, run, &space(), &[document("7", 5, "new")], &ended("2026-02")).unwrap();
        let counts =
            store.commit(SOURCE, run, &space(), &[document("7", 4, "old")], &ended("2026-01")).unwrap();
        assert_eq!((counts.upserted, counts.unchanged), (0, 1));
        assert_eq!(contents(&store), [("7".to_owned(), 5, "new".to_owned())]);
        store.commit(SOURCE, run, &space(), &[], &Progress::Ended { delta_token: None }).unwrap();
        assert_eq!(store.delta_tokens(SOURCE).unwrap(), [("ENG".to_owned(), "2026-02".to_owned())]);
    }

    #[test]
    fn a_space_out_of_sight_is_listed_anew_when_it_comes_back() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = open(directory.path());
        let run = store.begin_run(SOURCE, true).unwrap();
        store.commit(SOURCE, run, &space(), &[document("7", 1, "a")], &ended("2026-01")).unwrap();
        store.forget_other_spaces(SOURCE, &[space()]).unwrap();
        assert!(store.space(SOURCE, run, &space()).unwrap().ended);
        store.forget_other_spaces(SOURCE, &[]).unwrap();
        let state = store.space(SOURCE, run, &space()).unwrap();
        assert_eq!(state, SpaceState { known: true, ..SpaceState::default() });
        assert_eq!(contents(&store).len(), 1);
    }

    #[test]
    fn a_page_that_moved_gets_its_new_address_without_a_new_version() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = open(directory.path());
        let run = store.begin_run(SOURCE, false).unwrap();
        store.write(SOURCE, run, &[document("7", 1, "a")]).unwrap();
        let mut moved = reference("7", 1);
        moved.metadata.space_key = "OPS".into();
        store.write(SOURCE, run, &[Write::Unchanged(moved)]).unwrap();
        let mut keys = Vec::new();
        store
            .documents(&Filter::default(), |document| {
                keys.push(document.space_key);
                true
            })
            .unwrap();
        assert_eq!(keys, ["OPS"]);
    }

    #[test]
    fn a_failure_keeps_the_document_and_goes_with_its_success() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = open(directory.path());
        let first = store.begin_run(SOURCE, false).unwrap();
        let failed = FailedPage { id: "7".into(), title: None, cause: "too large".into() };
        store.write(SOURCE, first, &[document("7", 1, "a")]).unwrap();
        store.end_run(SOURCE, first).unwrap();
        let second = store.begin_run(SOURCE, true).unwrap();
        store.write(SOURCE, second, &[Write::Failed(failed.clone())]).unwrap();
        assert_eq!(store.unseen(SOURCE, second).unwrap(), Vec::<String>::new());
        assert_eq!(contents(&store).len(), 1);
        store.end_run(SOURCE, second).unwrap();
        let third = store.begin_run(SOURCE, true).unwrap();
        assert_eq!(store.failed_pages(SOURCE).unwrap(), std::slice::from_ref(&failed));
        store.write(SOURCE, third, &[Write::Failed(failed.clone())]).unwrap();
        let listed = StoredFailure { source_id: SOURCE.to_owned(), page: failed, attempts: 2 };
        assert_eq!(store.failures(&Filter::default()).unwrap(), [listed]);
        let other = Filter { id: Some("8".to_owned()), ..Filter::default() };
        assert_eq!(store.failures(&other).unwrap(), []);
        let third = {
            store.end_run(SOURCE, third).unwrap();
            store.begin_run(SOURCE, true).unwrap()
        };
        assert_eq!(store.unseen(SOURCE, third).unwrap(), ["7"]);
        store.write(SOURCE, third, &[document("7", 2, "b")]).unwrap();
        assert_eq!(store.failed_pages(SOURCE).unwrap(), []);
    }

    #[test]
    fn a_second_writer_is_told_who_the_first_is_and_readers_are_let_in() {
        let directory = tempfile::tempdir().unwrap();
        let first = open(directory.path());
        let refused = SqliteStore::open(directory.path()).unwrap_err();
        assert!(refused.to_string().contains(&format!("process {}", std::process::id())), "{refused}");
        assert_eq!(SqliteStore::open_for_reading(directory.path()).unwrap().sources().unwrap().len(), 1);
        drop(first);
        SqliteStore::open(directory.path()).unwrap();
    }
}
