//! How a data directory is opened: the lock of its one writer, and the format of its database.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::StoreError;

pub(super) const DATABASE: &str = "kai.sqlite";
const LOCK: &str = "kai.lock";

/// What brings a store from one format to the next, the first from nothing to format 1. A new store goes all the way,
/// too, so that it is like one that was brought along.
const MIGRATIONS: [&str; 2] = [include_str!("schema/1.sql"), include_str!("schema/2.sql")];

/// Newest format, and the only one that is read and written.
pub(super) const FORMAT: i64 = MIGRATIONS.len() as i64;

/// Marks the file as one of ours ("KAI" and a zero).
const APPLICATION_ID: i64 = 0x4b41_4900;

/// How long a transaction waits for that of another process: a source may be added while another one is synced.
const BUSY: Duration = Duration::from_secs(30);

/// Opens for the one writer; makes directory and database where they do not exist, and brings an older format along.
pub(super) fn for_writing(directory: &Path) -> Result<(Connection, File), StoreError> {
    fs::create_dir_all(directory)
        .map_err(|error| StoreError::Directory { path: directory.to_owned(), error })?;
    let lock = lock(directory)?;
    let mut connection = Connection::open(directory.join(DATABASE))?;
    // With a write-ahead log this survives the end of the process at any moment, and a power cut without damage.
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    prepare_for_writes(&mut connection)?;
    migrate(&mut connection, directory)?;
    Ok((connection, lock))
}

pub(super) fn for_reading(directory: &Path) -> Result<Connection, StoreError> {
    let connection = existing(directory)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

/// A database of the present format.
fn existing(directory: &Path) -> Result<Connection, StoreError> {
    let path = directory.to_owned();
    let file = directory.join(DATABASE);
    if !file.is_file() {
        return Err(StoreError::Missing { path });
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(file, flags)?;
    connection.busy_timeout(BUSY)?;
    match format(&connection)? {
        FORMAT => Ok(connection),
        0 => Err(StoreError::Missing { path }),
        found if found > FORMAT => Err(StoreError::Newer { path, found, known: FORMAT }),
        found => Err(StoreError::Older { path, found, known: FORMAT }),
    }
}

/// A transaction that reads first and writes then would be refused where another process wrote in between.
fn prepare_for_writes(connection: &mut Connection) -> Result<(), StoreError> {
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.busy_timeout(BUSY)?;
    connection.set_transaction_behavior(TransactionBehavior::Immediate);
    Ok(())
}

/// Takes the directory's lock, which goes with this process however it ends.
fn lock(directory: &Path) -> Result<File, StoreError> {
    let unusable = |error| StoreError::Directory { path: directory.to_owned(), error };
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(directory.join(LOCK))
        .map_err(unusable)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            file.read_to_string(&mut holder).ok();
            let holder = if holder.is_empty() { "another process".to_owned() } else { holder };
            return Err(StoreError::Locked { path: directory.to_owned(), holder });
        }
        Err(TryLockError::Error(error)) => return Err(unusable(error)),
    }
    let note = file
        .set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| write!(file, "process {}", std::process::id()));
    note.map_err(unusable)?;
    Ok(file)
}

/// 0: there is nothing in it.
fn format(connection: &Connection) -> Result<i64, StoreError> {
    Ok(connection.pragma_query_value(None, "user_version", |row| row.get(0))?)
}

fn migrate(connection: &mut Connection, directory: &Path) -> Result<(), StoreError> {
    let found = format(connection)?;
    if found > FORMAT {
        return Err(StoreError::Newer { path: directory.to_owned(), found, known: FORMAT });
    }
    if found == FORMAT {
        return Ok(());
    }
    let transaction = connection.transaction()?;
    for (script, format) in MIGRATIONS.into_iter().zip(1_i64..).skip_while(|(_, format)| *format <= found) {
        transaction.execute_batch(script)?;
        transaction.pragma_update(None, "user_version", format)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.commit()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Filter, SqliteStore, Store as _};
    use crate::summary::Mode;

    /// A store as kai wrote it when format 1 was the newest, with a row or more of everything.
    fn format_1(directory: &Path) {
        let connection = Connection::open(directory.join(DATABASE)).unwrap();
        connection.pragma_update(None, "journal_mode", "WAL").unwrap();
        connection.execute_batch(MIGRATIONS[0]).unwrap();
        connection.pragma_update(None, "application_id", APPLICATION_ID).unwrap();
        connection.pragma_update(None, "user_version", 1).unwrap();
        connection
            .execute_batch(
                "INSERT INTO sources VALUES ('s', 'CONFLUENCE', 'https://a.example', 'e', 'ENG', 1);
                 INSERT INTO runs VALUES (1, 's', 'full', '2026-01-01', '2026-01-02'), (2, 's', 'delta', '2026-01-03', NULL);
                 INSERT INTO spaces VALUES ('s', '1', 'ENG', 't1', NULL, NULL, 1, 1), ('s', '2', 'OPS', 't2', 'c', 't2', 2, NULL);
                 INSERT INTO documents VALUES ('s', '7', 'T', 'text/markdown', 'm', 'w', 'ENG', 3, NULL, NULL, 1, '# T'),
                                              ('s', '8', 'U', 'text/markdown', 'm', 'w', 'ENG', 1, NULL, NULL, 1, '# U');
                 INSERT INTO failures VALUES ('s', '9', 'V', 'too large', 2, 1);",
            )
            .unwrap();
    }

    fn rows(connection: &Connection, query: &str) -> Vec<Vec<rusqlite::types::Value>> {
        let mut statement = connection.prepare(query).unwrap();
        let columns = statement.column_count();
        let rows = statement.query_map([], |row| (0..columns).map(|column| row.get(column)).collect());
        rows.unwrap().collect::<Result<_, _>>().unwrap()
    }

    #[test]
    fn a_store_of_format_1_keeps_everything_and_becomes_like_a_new_one() {
        let (old, new) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        format_1(old.path());
        let contents = |directory: &Path| {
            let connection = Connection::open(directory.join(DATABASE)).unwrap();
            [
                "id, kind, base_url, email, scope, full_crawls FROM sources",
                "* FROM runs",
                "source_id, partition_id, key, delta_token, cursor, cursor_since, listing_run, ended_run FROM spaces",
                "source_id, id, title, mime_type, modified_at, web_url, space_key, version_number, created_at, created_by, seen_run, content FROM documents",
                "* FROM failures",
            ]
            .map(|what| rows(&connection, &format!("SELECT {what}")))
        };
        let before = contents(old.path());
        assert_eq!(before.each_ref().map(Vec::len), [1, 2, 2, 2, 1]);
        let mut store = SqliteStore::open(old.path()).unwrap();
        drop(SqliteStore::open(new.path()).unwrap());
        assert_eq!(contents(old.path()), before);
        let schema = |directory: &Path| {
            let connection = Connection::open(directory.join(DATABASE)).unwrap();
            let pragmas = ["user_version", "application_id", "journal_mode"];
            let pragmas = pragmas.map(|name| rows(&connection, &format!("PRAGMA {name}")));
            (rows(&connection, "SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY name"), pragmas)
        };
        assert_eq!(schema(old.path()), schema(new.path()));

        let mut found = Vec::new();
        store
            .documents(&Filter::default(), |document| {
                found.push((document.id, document.content));
                true
            })
            .unwrap();
        assert_eq!(found, [("7".to_owned(), "# T".to_owned()), ("8".to_owned(), "# U".to_owned())]);
        let run = store.begin_run("s", false).unwrap();
        assert_eq!((run.id, run.mode, run.resumed), (2, Mode::Delta, true));
    }

    #[test]
    fn a_store_of_format_1_is_not_read_before_a_writer_brought_it_along() {
        let directory = tempfile::tempdir().unwrap();
        format_1(directory.path());
        let refused = SqliteStore::open_for_reading(directory.path()).unwrap_err();
        assert!(matches!(refused, StoreError::Older { found: 1, .. }));
        assert!(refused.to_string().contains("kai sync --source"), "{refused}");
        drop(SqliteStore::open(directory.path()).unwrap());
        SqliteStore::open_for_reading(directory.path()).unwrap();
    }

    #[test]
    fn a_migration_happens_wholly_or_not_at_all() {
        let directory = tempfile::tempdir().unwrap();
        format_1(directory.path());
        let mut connection = Connection::open(directory.path().join(DATABASE)).unwrap();
        // The last statement of the migration fails.
        connection.execute_batch("ALTER TABLE documents ADD COLUMN content_zstd TEXT").unwrap();
        assert!(migrate(&mut connection, directory.path()).is_err());
        assert_eq!(format(&connection).unwrap(), 1);
        assert!(connection.prepare("SELECT sealed_token FROM sources").is_err());
    }

    #[test]
    fn a_store_of_a_newer_format_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        drop(SqliteStore::open(directory.path()).unwrap());
        let connection = Connection::open(directory.path().join(DATABASE)).unwrap();
        connection.pragma_update(None, "user_version", FORMAT + 1).unwrap();
        drop(connection);
        for refused in [SqliteStore::open(directory.path()), SqliteStore::open_for_reading(directory.path())]
        {
            assert!(matches!(refused, Err(StoreError::Newer { found: 3, .. })));
        }
    }

    #[test]
    fn reading_where_there_is_no_store_makes_none() {
        let directory = tempfile::tempdir().unwrap();
        let missing = directory.path().join("nothing");
        assert!(matches!(SqliteStore::open_for_reading(&missing), Err(StoreError::Missing { .. })));
        assert!(!missing.exists());
    }
}
