//! A copy of a store, made while others write to it.
//!
//! Its pages are copied from within one read transaction. What it sees of the write-ahead log stays as it is, however
//! much is written meanwhile: the copy is of one moment between two batches, it is never begun anew, and it holds no
//! writer up. (Outside of a transaction SQLite begins a copy anew whenever another process has written, and a store that
//! is written all the time would never be copied to its end.) Only the log grows until the copy is done. Pages and not
//! rows, as `VACUUM INTO` would copy: that may give rows new numbers, and what refers to them by number would be lost.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, ErrorCode, OpenFlags};
use tempfile::TempPath;

use super::StoreError;
use super::opening::{self, DATABASE, Lock};

/// Pages from one look at whether to go on to the next: a MiB.
const STEP: i32 = 256;

/// What the copy is called until it is whole. Nothing takes that for a store.
const PARTIAL: &str = "kai.sqlite.part";

/// What was copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackedUp {
    /// Number of sources.
    pub sources: u64,
    /// Number of documents.
    pub documents: u64,
    /// Length of the copy.
    pub bytes: u64,
}

/// Copies the store in `data` into the directory `to`, which is made where it does not exist and is a data directory
/// then, whatever is written to the store meanwhile. A store that is there already is replaced only if `replace` says so,
/// and by a whole copy only: it is looked at and on the disk before it gets its name. Dropped half way, nothing is left
/// but the lock file. Blocks between the points at which it can be dropped.
///
/// # Errors
/// [`StoreError::BackupRefused`] where `to` holds a store that is not to be replaced; [`StoreError::Locked`] where one is
/// written there; [`StoreError::Damaged`] where the store in `data` is damaged; [`StoreError::Backup`] where the copy
/// cannot be written; otherwise what keeps the store from being read.
pub async fn back_up(data: &Path, to: &Path, replace: bool) -> Result<BackedUp, StoreError> {
    let store = opening::for_copying(data)?;
    fs::create_dir_all(to).map_err(|error| StoreError::Directory { path: to.to_owned(), error })?;
    if same(data, to) {
        return Err(refused(to, "it is the data directory itself; choose another with --to"));
    }
    // Nobody writes to the store that is replaced, and no other backup to the same partial file.
    let (lock, holder) = opening::lock(to)?;
    let result = copy(&store, data, to, replace).await;
    // What a writer that died left is still to be checked where it was not replaced.
    if result.is_ok() || holder.is_empty() {
        drop(Lock(lock));
    }
    result
}

fn same(one: &Path, other: &Path) -> bool {
    matches!((one.canonicalize(), other.canonicalize()), (Ok(one), Ok(other)) if one == other)
}

/// Whether the copy may be put there.
fn check_target(to: &Path, replace: bool) -> Result<(), StoreError> {
    if to.join(DATABASE).exists() && !replace {
        return Err(refused(
            to,
            "there is a store already; choose another directory with --to, or replace it with --force",
        ));
    }
    // They would be taken for those of the copy. A backup has none.
    for left in ["kai.sqlite-wal", "kai.sqlite-journal"] {
        if to.join(left).exists() {
            let reason = format!(
                "{left} shows that the store there is being read, or that its writer died; choose another with --to"
            );
            return Err(refused(to, &reason));
        }
    }
    Ok(())
}

fn refused(to: &Path, reason: &str) -> StoreError {
    StoreError::BackupRefused { path: to.to_owned(), reason: reason.to_owned() }
}

async fn copy(store: &Connection, data: &Path, to: &Path, replace: bool) -> Result<BackedUp, StoreError> {
    // Anything but damage in the store is a fault of where the copy is written.
    let fault = |error: rusqlite::Error| match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => opening::failed(error, data),
        _ => StoreError::Backup { path: to.to_owned(), detail: error.to_string() },
    };
    let cannot = |error: io::Error| StoreError::Backup { path: to.to_owned(), detail: error.to_string() };

    check_target(to, replace)?;
    let partial = empty_partial(to).map_err(cannot)?;
    {
        let snapshot = store.unchecked_transaction()?;
        // The transaction begins with what is read first.
        snapshot.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0))?;
        let mut target = open(&partial, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(fault)?;
        // Nobody goes on with half a copy, and the whole one is synced below.
        target.pragma_update(None, "journal_mode", "OFF").map_err(fault)?;
        target.pragma_update(None, "synchronous", "OFF").map_err(fault)?;
        {
            let backup = Backup::new(&snapshot, &mut target).map_err(fault)?;
            loop {
                match backup.step(STEP).map_err(fault)? {
                    StepResult::Done => break,
                    StepResult::More => tokio::task::yield_now().await,
                    _ => {
                        let detail = "the copy is locked by another process".to_owned();
                        return Err(StoreError::Backup { path: to.to_owned(), detail });
                    }
                }
            }
        }
        // One file, which can be read also where nothing can be written. The first writer makes a log again.
        target.pragma_update(None, "journal_mode", "DELETE").map_err(fault)?;
    }
    File::open(&partial).and_then(|file| file.sync_all()).map_err(cannot)?;
    tokio::task::yield_now().await;

    let backed_up = look_at(&partial, data, fault)?;
    tokio::task::yield_now().await;
    check_target(to, replace)?;
    let target = to.join(DATABASE);
    let named = if replace { partial.persist(target) } else { partial.persist_noclobber(target) };
    named.map_err(|error| cannot(error.error))?;
    #[cfg(unix)]
    File::open(to).and_then(|directory| directory.sync_all()).map_err(cannot)?;
    Ok(backed_up)
}

/// Makes the file for its owner alone, anew: a backup that was killed may have left its own.
fn empty_partial(to: &Path) -> io::Result<TempPath> {
    let path = to.join(PARTIAL);
    for left in ["", "-wal", "-shm"] {
        match fs::remove_file(to.join(format!("{PARTIAL}{left}"))) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(&path)?;
    TempPath::try_from_path(path)
}

fn open(path: &Path, flags: OpenFlags) -> rusqlite::Result<Connection> {
    Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)
}

/// Reads every page of the copy as it lies in the file.
fn look_at(
    partial: &Path,
    data: &Path,
    fault: impl Fn(rusqlite::Error) -> StoreError,
) -> Result<BackedUp, StoreError> {
    let copy = open(partial, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(&fault)?;
    opening::check(&copy, data)?;
    let count = |table| {
        let query = format!("SELECT count(*) FROM {table}");
        copy.query_row(&query, [], |row| row.get::<_, i64>(0)).map(i64::unsigned_abs).map_err(&fault)
    };
    let bytes = fs::metadata(partial)
        .map_err(|error| StoreError::Backup { path: PathBuf::from(partial), detail: error.to_string() })?
        .len();
    Ok(BackedUp { sources: count("sources")?, documents: count("documents")?, bytes })
}
