//! Backups: what a copy of a store holds that is written to meanwhile, and what one leaves that did not come to its end.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::io::{Seek as _, Write as _};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use confluence_site::Site;
use kai::store::{Filter, Progress, SourceRecord, SqliteStore, Store as _, Write};
use kai_host::{Document, Metadata, Partition, Reference};
use serde_json::json;

use support::{Bench, assert_exit, assert_refused, blocking, stderr, stdout};

const SOURCE: &str = "source";
const DATABASE: &str = "kai.sqlite";

fn document(id: u32, version_number: u32, bytes: usize) -> Write {
    // Nothing that could be compressed: pages of the database are what a backup has to do with.
    let mut state = u64::from(id) << 32 | u64::from(version_number) | 1;
    let content = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b' ' + ((state >> 33) % 95) as u8)
    });
    Write::Document(Document {
        reference: Reference {
            id: id.to_string(),
            title: format!("Page {id}"),
            modified_at: "2026-01-01T00:00:00.000Z".into(),
            metadata: Metadata {
                web_url: format!("https://acme.example/{id}"),
                space_key: "ENG".into(),
                version_number,
                created_at: None,
                created_by_display_name: None,
            },
        },
        mime_type: "text/markdown".into(),
        content: content.take(bytes).collect(),
    })
}

/// One batch: every page in the same version, which is also the delta token.
fn write_batch(store: &mut SqliteStore, pages: u32, version: u32, bytes: usize) {
    let run = store.begin_run(SOURCE, false).unwrap();
    let writes: Vec<_> = (1..=pages).map(|id| document(id, version, bytes)).collect();
    let space = Partition { id: "1".into(), key: "ENG".into(), name: "Engineering".into() };
    let progress = Progress::Ended { delta_token: Some(format!("{version:08}")) };
    store.commit(SOURCE, run, &space, &writes, &progress).unwrap();
}

fn store(data: &Path) -> SqliteStore {
    let mut store = SqliteStore::open(data).unwrap();
    store
        .register(&SourceRecord {
            id: SOURCE.into(),
            kind: "CONFLUENCE".into(),
            base_url: "https://acme.example".into(),
            email: "e".into(),
            scope: None,
        })
        .unwrap();
    store
}

/// The versions of all documents of a store, and its delta token.
fn state(data: &Path) -> (Vec<u32>, String) {
    let store = SqliteStore::open_for_reading(data).unwrap();
    let mut versions = Vec::new();
    store
        .documents(&Filter::default(), |document| {
            versions.push(document.version_number);
            true
        })
        .unwrap();
    (versions, store.delta_tokens(SOURCE).unwrap().swap_remove(0).1)
}

fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_backup_is_a_data_directory_with_sealed_tokens_and_without_their_key() {
    let site = Site::builder().spaces(3).pages(60).start().await.unwrap();
    let base_url = site.base_url();
    blocking(move || {
        let bench = Bench::new();
        let source = bench.source(&json!({"base_url": base_url}));
        assert_exit(&bench.kai(&["sources", "add", &source, "--allow-local"]), 0);
        assert_exit(&bench.kai(&["sync", "--allow-local", "--quiet"]), 0);
        let output = bench.kai(&["backup", "--to", "backups/monday"]);
        assert_exit(&output, 0);
        let line = stdout(&output);
        let copy = bench.path("backups/monday").join(DATABASE);
        let megabytes = copy.metadata().unwrap().len() as f64 / 1e6;
        let told = format!("kai-data is in backups/monday: 1 source, 60 documents, {megabytes:.1} MB\n");
        assert_eq!(line, told);

        assert_eq!(names(&bench.path("backups/monday")), ["kai.lock", DATABASE]);
        assert_eq!(std::fs::read(bench.path("backups/monday/kai.lock")).unwrap(), b"");
        let bytes = std::fs::read(&copy).unwrap();
        assert!(!bytes.windows(Site::TOKEN.len()).any(|window| window == Site::TOKEN.as_bytes()));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(copy.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        }
        let read = |data| stdout(&bench.kai(&["documents", "--json", "--data", data]));
        assert_eq!(read("backups/monday"), read("kai-data"));
        // With the key it is synced again; without, the sealed token stays closed.
        let sync = ["sync", "--allow-local", "--quiet", "--data", "backups/monday"];
        let other_key = [("KAI_MASTER_KEY", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")];
        assert_exit(&bench.kai_with(&sync, "", &other_key), 2);
        assert_exit(&bench.kai(&sync), 0);
    })
    .await;
}

#[test]
fn a_backup_of_a_store_that_is_written_all_the_time_ends_and_holds_every_batch_wholly() {
    let bench = Bench::new();
    let data = bench.path("kai-data");
    let mut store = store(&data);
    write_batch(&mut store, 400, 1, 20_000);
    let (stop, written) = (AtomicBool::new(false), AtomicU32::new(1));
    let during = std::thread::scope(|scope| {
        scope.spawn(|| {
            for version in 2.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                write_batch(&mut store, 400, version, 20_000);
                written.store(version, Ordering::Relaxed);
            }
        });
        let mut during = Vec::new();
        for round in 0..5 {
            let to = format!("backup-{round}");
            let before = written.load(Ordering::Relaxed);
            let output = bench.kai(&["backup", "--to", &to]);
            during.push((to, before, written.load(Ordering::Relaxed), output));
        }
        stop.store(true, Ordering::Relaxed);
        during
    });
    for (to, before, after, output) in &during {
        assert_exit(output, 0);
        assert!(stdout(output).contains("1 source, 400 documents"), "{}", stdout(output));
        let (versions, token) = state(&bench.path(to));
        let version = versions[0];
        assert_eq!(versions, vec![version; 400]);
        assert_eq!(token, format!("{version:08}"));
        // Not older than what was there when it began, and not of the time after it.
        assert!((*before..=after + 1).contains(&version), "{version} is not in {before}..={after}");
    }
    // Without batches meanwhile, nothing was shown.
    assert!(during.iter().any(|(_, before, after, _)| after > before));
}

#[test]
fn a_backup_that_is_killed_leaves_nothing_that_looks_like_one_and_the_next_one_nothing_of_it() {
    let bench = Bench::new();
    write_batch(&mut store(&bench.path("kai-data")), 3_000, 1, 20_000);
    let part = bench.path("copy/kai.sqlite.part");
    let mut died = 0;
    for round in 0..40 {
        std::fs::remove_dir_all(bench.path("copy")).ok();
        let mut child = bench.start(&["backup", "--to", "copy"], &[]);
        while !part.exists() && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_micros(200));
        }
        std::thread::sleep(Duration::from_millis(round));
        child.kill().unwrap();
        if child.wait().unwrap().success() {
            continue;
        }
        died += 1;
        assert!(part.exists());
        assert!(!bench.path("copy").join(DATABASE).exists(), "{:?}", names(&bench.path("copy")));
        assert_refused(&bench.kai(&["documents", "--data", "copy"]), 1, &["no store in copy"]);
        if died == 5 {
            break;
        }
    }
    assert_eq!(died, 5);
    assert_exit(&bench.kai(&["backup", "--to", "copy"]), 0);
    assert_eq!(names(&bench.path("copy")), ["kai.lock", DATABASE]);
    assert_eq!(state(&bench.path("copy")).0, vec![1; 3_000]);
}

#[cfg(unix)]
#[test]
fn a_backup_that_is_interrupted_removes_what_it_has_written() {
    let bench = Bench::new();
    write_batch(&mut store(&bench.path("kai-data")), 3_000, 1, 20_000);
    let mut interrupted = 0;
    for _ in 0..40 {
        std::fs::remove_dir_all(bench.path("copy")).ok();
        let mut child = bench.start(&["backup", "--to", "copy"], &[]);
        while !bench.path("copy/kai.sqlite.part").exists() && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_micros(200));
        }
        std::process::Command::new("kill").arg(child.id().to_string()).status().unwrap();
        let output = child.wait_with_output().unwrap();
        if output.status.code() == Some(143) {
            interrupted += 1;
            assert_eq!(names(&bench.path("copy")), ["kai.lock"]);
        } else {
            assert_exit(&output, 0);
        }
    }
    assert!(interrupted > 0);
}

/// No file may be longer than this many blocks of 512 bytes, as when the disk is full.
#[cfg(unix)]
fn kai_without_room(bench: &Bench, blocks: u32, arguments: &str) -> std::process::Output {
    // Without the trap the process would be ended by the signal.
    let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec {} {arguments}", env!("CARGO_BIN_EXE_kai"));
    let mut command = std::process::Command::new("sh");
    command.args(["-c", &script]).current_dir(bench.path("")).output().unwrap()
}

#[cfg(unix)]
#[test]
fn a_backup_without_room_says_so_and_leaves_the_old_one_as_it_was() {
    let bench = Bench::new();
    write_batch(&mut store(&bench.path("kai-data")), 100, 1, 20_000);
    let output = kai_without_room(&bench, 1_000, "backup --to copy");
    assert_refused(&output, 1, &["backup into copy failed", "make room", "--to"]);
    assert_eq!(names(&bench.path("copy")), ["kai.lock"]);

    assert_exit(&bench.kai(&["backup", "--to", "copy"]), 0);
    let before = std::fs::read(bench.path("copy").join(DATABASE)).unwrap();
    let output = kai_without_room(&bench, 1_000, "backup --to copy --force");
    assert_refused(&output, 1, &["backup into copy failed"]);
    assert_eq!(names(&bench.path("copy")), ["kai.lock", DATABASE]);
    assert!(std::fs::read(bench.path("copy").join(DATABASE)).unwrap() == before);
}

#[test]
fn a_backup_where_nothing_can_be_written_says_so() {
    let bench = Bench::new();
    write_batch(&mut store(&bench.path("kai-data")), 1, 1, 10);
    bench.write("file", "mine");
    for to in ["file", "file/below"] {
        assert_refused(&bench.kai(&["backup", "--to", to]), 1, &["directory file", "cannot be used"]);
    }
    assert_eq!(std::fs::read_to_string(bench.path("file")).unwrap(), "mine");
    let missing = bench.kai(&["backup", "--data", "nothing", "--to", "copy"]);
    assert_refused(&missing, 1, &["no store in nothing"]);
    assert!(!bench.path("copy").exists());
}

#[test]
fn a_backup_replaces_another_only_when_asked_and_never_a_store_in_use() {
    let bench = Bench::new();
    let mut first = store(&bench.path("kai-data"));
    write_batch(&mut first, 10, 1, 100);
    let back_up = |more: &[&str]| bench.kai(&[&["backup", "--to", "copy"], more].concat());
    assert_exit(&back_up(&[]), 0);
    write_batch(&mut first, 10, 2, 100);
    let before = std::fs::read(bench.path("copy").join(DATABASE)).unwrap();
    assert_refused(&back_up(&[]), 2, &["nothing was copied into copy", "a store already", "--force"]);
    assert_eq!(std::fs::read(bench.path("copy").join(DATABASE)).unwrap(), before);
    assert_exit(&back_up(&["--force"]), 0);
    assert_eq!(state(&bench.path("copy")).0, vec![2; 10]);

    let onto_itself = bench.kai(&["backup", "--to", "./kai-data/", "--force"]);
    assert_refused(&onto_itself, 2, &["the data directory itself"]);
    let mut second = SqliteStore::open(&bench.path("copy")).unwrap();
    assert_refused(&back_up(&["--force"]), 1, &["copy is in use by process"]);
    write_batch(&mut second, 10, 3, 100);
    drop(second);
    // Its log went with its writer. That of one who died would be taken for a part of the copy.
    bench.write("copy/kai.sqlite-wal", "log");
    assert_refused(&back_up(&["--force"]), 2, &["kai.sqlite-wal", "another with --to"]);
    std::fs::remove_file(bench.path("copy/kai.sqlite-wal")).unwrap();
    assert_eq!(state(&bench.path("copy")).0, vec![3; 10]);
    assert_exit(&back_up(&["--force"]), 0);
    assert_eq!(state(&bench.path("copy")).0, vec![2; 10]);
}

#[test]
fn a_backup_of_a_damaged_store_is_none() {
    let bench = Bench::new();
    write_batch(&mut store(&bench.path("kai-data")), 100, 1, 20_000);
    let database = bench.path("kai-data").join(DATABASE);
    // The row that a page of the b-tree begins with, somewhere in the middle.
    let mut file = std::fs::OpenOptions::new().write(true).open(&database).unwrap();
    let middle = database.metadata().unwrap().len() / 2 / 4096 * 4096;
    for page in 0..20 {
        file.seek(std::io::SeekFrom::Start(middle + page * 4096)).unwrap();
        file.write_all(&[0xa5; 4096]).unwrap();
    }
    let output = bench.kai(&["backup", "--to", "copy"]);
    assert_refused(&output, 1, &["the store in kai-data is damaged", "put back a backup"]);
    assert_eq!(names(&bench.path("copy")), ["kai.lock"]);
}

#[test]
fn a_store_of_an_older_format_is_copied_as_it_is() {
    let bench = Bench::new();
    write_batch(&mut store(&bench.path("kai-data")), 10, 1, 100);
    let connection = rusqlite::Connection::open(bench.path("kai-data").join(DATABASE)).unwrap();
    connection.pragma_update(None, "user_version", 1).unwrap();
    drop(connection);
    let output = bench.kai(&["backup", "--to", "copy"]);
    assert_exit(&output, 0);
    assert_eq!(stderr(&output), "");
    assert_refused(&bench.kai(&["documents", "--data", "copy"]), 1, &["has format 1"]);
}

#[test]
fn a_backup_keeps_row_numbers_which_other_tables_may_refer_to() {
    let bench = Bench::new();
    let mut store = store(&bench.path("kai-data"));
    write_batch(&mut store, 50, 1, 100);
    store.remove(SOURCE, &["3".to_owned(), "17".to_owned()]).unwrap();
    assert_exit(&bench.kai(&["backup", "--to", "copy"]), 0);
    let rows = |data: &str| -> Vec<(i64, String)> {
        let connection = rusqlite::Connection::open(bench.path(data).join(DATABASE)).unwrap();
        let mut statement = connection.prepare("SELECT rowid, id FROM documents ORDER BY rowid").unwrap();
        statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().map(Result::unwrap).collect()
    };
    assert_eq!(rows("copy").len(), 48);
    assert_eq!(rows("copy"), rows("kai-data"));
}
