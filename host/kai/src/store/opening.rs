//! How a data directory is opened: the lock of its one writer, and what its database has to be.
//!
//! The lock file names its holder. A name in a lock that nobody holds is that of a writer that did not come to its end;
//! the next one then looks at the whole database before it goes on.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};
use tracing::info;

use super::StoreError;

pub(super) const DATABASE: &str = "kai.sqlite";
const LOCK: &str = "kai.lock";

/// What brings a store from one format to the next, the first from nothing to format 1. A new store goes all the way,
/// too, so that it is like one that was brought along.
const MIGRATIONS: [&str; 4] = [
    include_str!("schema/1.sql"),
    include_str!("schema/2.sql"),
    include_str!("schema/3.sql"),
    include_str!("schema/4.sql"),
];

/// Newest format, and the only one that is read and written.
pub(super) const FORMAT: i64 = MIGRATIONS.len() as i64;

/// Marks the file as one of ours ("KAI" and a zero).
const APPLICATION_ID: i64 = 0x4b41_4900;

/// How long a transaction waits for that of another process: a source may be added while another one is synced.
const BUSY: Duration = Duration::from_secs(30);

/// How often, and how far apart, it is looked whether another process has made the store by now.
const ATTEMPTS: u32 = 20;
const PAUSE: Duration = Duration::from_millis(100);

/// The lock of a data directory. Goes with this process however it ends; its end in good order empties the file.
#[derive(Debug)]
pub(super) struct Lock(pub(super) File);

impl Drop for Lock {
    fn drop(&mut self) {
        // Where it fails, the next writer looks at the database without need.
        self.0.set_len(0).ok();
    }
}

/// Opens for the one writer; makes directory and database where they do not exist, and brings an older format along.
pub(super) fn for_writing(directory: &Path) -> Result<(Connection, Lock), StoreError> {
    fs::create_dir_all(directory)
        .map_err(|error| StoreError::Directory { path: directory.to_owned(), error })?;
    let (file, holder) = lock(directory)?;
    let mut connection = Connection::open(directory.join(DATABASE))?;
    // Before anything is written: what is damaged, or is not ours, stays as it is.
    let found = format(&connection, directory)?;
    if !holder.is_empty() {
        info!(holder, "the last writer did not come to its end: the database is checked");
        check(&connection, directory)?;
    }
    // With a write-ahead log this survives the end of the process at any moment, and a power cut without damage.
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    prepare_for_writes(&mut connection)?;
    migrate(&mut connection, found).map_err(|error| failed(error, directory))?;
    // Only now: whoever finds damage leaves the name, so that the next one finds the damage, too.
    Ok((connection, Lock(file)))
}

/// Opens for short transactions beside the one writer; becomes that one for a moment where there is no store yet, or
/// one of an older format.
pub(super) fn beside_writer(directory: &Path) -> Result<Connection, StoreError> {
    let mut attempts = 1;
    let mut connection = loop {
        match existing(directory) {
            Err(StoreError::Missing { .. } | StoreError::Older { .. }) => {}
            opened => break opened?,
        }
        match for_writing(directory) {
            // It may be about to make what is missing.
            Err(StoreError::Locked { .. }) if attempts < ATTEMPTS => {
                attempts += 1;
                std::thread::sleep(PAUSE);
            }
            opened => drop(opened?),
        }
    };
    // Of what a person stores by hand, nothing is lost in a power cut.
    connection.pragma_update(None, "synchronous", "FULL")?;
    prepare_for_writes(&mut connection)?;
    Ok(connection)
}

pub(super) fn for_reading(directory: &Path) -> Result<Connection, StoreError> {
    let connection = existing(directory)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

/// Opens for a copy of every page, of whatever format they are.
pub(super) fn for_copying(directory: &Path) -> Result<Connection, StoreError> {
    let (connection, _) = of_any_format(directory)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

/// A database of the present format.
fn existing(directory: &Path) -> Result<Connection, StoreError> {
    match of_any_format(directory)? {
        (connection, FORMAT) => Ok(connection),
        (_, found) => Err(StoreError::Older { path: directory.to_owned(), found, known: FORMAT }),
    }
}

/// A database that is there, and its format.
fn of_any_format(directory: &Path) -> Result<(Connection, i64), StoreError> {
    let path = directory.to_owned();
    let file = directory.join(DATABASE);
    if !file.is_file() {
        return Err(StoreError::Missing { path });
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(file, flags)?;
    connection.busy_timeout(BUSY)?;
    match format(&connection, directory)? {
        0 => Err(StoreError::Missing { path }),
        found => Ok((connection, found)),
    }
}

/// A transaction that reads first and writes then would be refused where another process wrote in between.
fn prepare_for_writes(connection: &mut Connection) -> Result<(), StoreError> {
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.busy_timeout(BUSY)?;
    connection.set_transaction_behavior(TransactionBehavior::Immediate);
    Ok(())
}

/// Takes the directory's lock. Also gives the name that it found there.
pub(super) fn lock(directory: &Path) -> Result<(File, String), StoreError> {
    let unusable = |error| StoreError::Directory { path: directory.to_owned(), error };
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(directory.join(LOCK))
        .map_err(unusable)?;
    let locked = file.try_lock();
    let mut holder = Vec::new();
    file.read_to_end(&mut holder).ok();
    let holder = String::from_utf8_lossy(&holder).into_owned();
    match locked {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let holder = if holder.is_empty() { "another process".to_owned() } else { holder };
            return Err(StoreError::Locked { path: directory.to_owned(), holder });
        }
        Err(TryLockError::Error(error)) => return Err(unusable(error)),
    }
    // Never empty in between.
    let name = format!("process {}", std::process::id());
    let note = file
        .rewind()
        .and_then(|()| file.write_all(name.as_bytes()))
        .and_then(|()| file.set_len(name.len() as u64))
        // Also a power cut is an end that the next writer has to know of.
        .and_then(|()| file.sync_data());
    note.map_err(unusable)?;
    Ok((file, holder))
}

/// 0: there is nothing in it.
fn format(connection: &Connection, directory: &Path) -> Result<i64, StoreError> {
    let number = |query| {
        let number = connection.query_row(query, [], |row| row.get::<_, i64>(0));
        number.map_err(|error| failed(error, directory))
    };
    let path = directory.to_owned();
    if number("SELECT count(*) FROM sqlite_schema")? == 0 {
        return Ok(0);
    }
    if number("PRAGMA application_id")? != APPLICATION_ID {
        let detail = format!("{DATABASE} is the database of another program");
        return Err(StoreError::Damaged { path, detail });
    }
    match number("PRAGMA user_version")? {
        found if found > FORMAT => Err(StoreError::Newer { path, found, known: FORMAT }),
        found if found < 1 => Err(StoreError::Damaged { path, detail: format!("it has format {found}") }),
        found => Ok(found),
    }
}

/// Looks at every page of the database.
pub(super) fn check(connection: &Connection, directory: &Path) -> Result<(), StoreError> {
    let result = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0));
    match result.map_err(|error| failed(error, directory))? {
        fine if fine == "ok" => Ok(()),
        detail => {
            // After a line that only names the database.
            let lines: Vec<&str> = detail.lines().filter(|line| !line.starts_with("***")).collect();
            Err(StoreError::Damaged { path: directory.to_owned(), detail: lines.join("; ") })
        }
    }
}

pub(super) fn failed(error: rusqlite::Error, directory: &Path) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            StoreError::Damaged { path: directory.to_owned(), detail: error.to_string() }
        }
        _ => error.into(),
    }
}

fn migrate(connection: &mut Connection, found: i64) -> rusqlite::Result<()> {
    if found == FORMAT {
        return Ok(());
    }
    let transaction = connection.transaction()?;
    for (script, format) in MIGRATIONS.into_iter().zip(1_i64..).skip_while(|(_, format)| *format <= found) {
        transaction.execute_batch(script)?;
        transaction.pragma_update(None, "user_version", format)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.commit()
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
        assert!(migrate(&mut connection, 1).is_err());
        assert_eq!(format(&connection, directory.path()).unwrap(), 1);
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
            assert!(matches!(refused, Err(StoreError::Newer { found, .. }) if found == FORMAT + 1));
        }
    }

    #[test]
    fn reading_where_there_is_no_store_makes_none() {
        let directory = tempfile::tempdir().unwrap();
        let missing = directory.path().join("nothing");
        assert!(matches!(SqliteStore::open_for_reading(&missing), Err(StoreError::Missing { .. })));
        assert!(!missing.exists());
    }

    /// Every byte of every file of the directory but the lock.
    fn bytes(directory: &Path) -> Vec<Vec<u8>> {
        let mut paths: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.retain(|path| !path.ends_with(LOCK));
        paths.sort();
        paths.iter().map(|path| fs::read(path).unwrap()).collect()
    }

    /// Both ways to open the directory find the damage, time after time, and change nothing.
    #[track_caller]
    fn assert_damaged(directory: &Path, told: &str) {
        let before = bytes(directory);
        for _ in 0..2 {
            for opened in [SqliteStore::open(directory), SqliteStore::open_for_reading(directory)] {
                let error = opened.unwrap_err();
                assert!(matches!(error, StoreError::Damaged { .. }), "{error:?}");
                let message = error.to_string();
                for part in [told, "backup", "move", &directory.display().to_string()] {
                    assert!(message.contains(part), "{part:?} is not in {message}");
                }
            }
        }
        assert_eq!(bytes(directory), before);
    }

    #[test]
    fn a_text_file_in_place_of_the_database_is_named_and_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(DATABASE), "not a database, but somebody's notes\n".repeat(100))
            .unwrap();
        assert_damaged(directory.path(), "file is not a database");
    }

    #[test]
    fn the_database_of_another_program_is_named_and_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let connection = Connection::open(directory.path().join(DATABASE)).unwrap();
        connection.execute_batch("CREATE TABLE sources (x); PRAGMA application_id = 7").unwrap();
        drop(connection);
        assert_damaged(directory.path(), "another program");
    }

    #[test]
    fn a_damaged_schema_is_found_by_everybody() {
        let directory = tempfile::tempdir().unwrap();
        drop(SqliteStore::open(directory.path()).unwrap());
        overwrite(&directory.path().join(DATABASE), 100, 300);
        assert_damaged(directory.path(), "malformed");
    }

    #[test]
    fn a_writer_after_one_that_died_looks_at_the_whole_database() {
        let directory = tempfile::tempdir().unwrap();
        let (lock, database) = (directory.path().join(LOCK), directory.path().join(DATABASE));
        let mut store = SqliteStore::open(directory.path()).unwrap();
        assert_eq!(fs::read_to_string(&lock).unwrap(), format!("process {}", std::process::id()));
        fill(&mut store);
        drop(store);
        assert_eq!(fs::read_to_string(&lock).unwrap(), "");

        // Damaged where only those look who read the documents.
        let length = fs::metadata(&database).unwrap().len();
        overwrite(&database, length / 2, 8192);
        drop(SqliteStore::open(directory.path()).unwrap());
        fs::write(&lock, "process 4194305, with a longer name than ours").unwrap();
        for _ in 0..2 {
            let error = SqliteStore::open(directory.path()).unwrap_err();
            assert!(matches!(error, StoreError::Damaged { .. }), "{error:?}");
            assert_eq!(fs::read_to_string(&lock).unwrap(), format!("process {}", std::process::id()));
        }
        let store = SqliteStore::open_for_reading(directory.path()).unwrap();
        let error = store.documents(&Filter::default(), |_| true).unwrap_err();
        assert!(error.to_string().contains("backup"), "{error}");
    }

    #[test]
    fn a_writer_after_one_that_died_goes_on_where_nothing_is_damaged() {
        let directory = tempfile::tempdir().unwrap();
        fill(&mut SqliteStore::open(directory.path()).unwrap());
        fs::write(directory.path().join(LOCK), "process 4194305").unwrap();
        let store = SqliteStore::open(directory.path()).unwrap();
        assert_eq!(store.count("s").unwrap(), 100);
    }

    fn fill(store: &mut SqliteStore) {
        store
            .connection
            .execute_batch(
                "INSERT INTO sources (id, kind, base_url, email) VALUES ('s', 'CONFLUENCE', 'https://a.example', 'e');
                 WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 100)
                 INSERT INTO documents (source_id, id, title, mime_type, modified_at, web_url, space_key, version_number, seen_run, content)
                 SELECT 's', n, 'T', 'text/markdown', 'm', 'w', 'ENG', 1, 1, hex(randomblob(500)) FROM numbers",
            )
            .unwrap();
    }

    fn overwrite(file: &Path, at: u64, length: usize) {
        let mut file = OpenOptions::new().write(true).open(file).unwrap();
        file.seek(std::io::SeekFrom::Start(at)).unwrap();
        file.write_all(&vec![0xa5; length]).unwrap();
    }
}
