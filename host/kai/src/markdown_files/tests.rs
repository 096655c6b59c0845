//! Whole runs on real files.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use kai_host::{Document, Metadata, Reference};

use super::*;
use crate::store::{DocumentName, SourceRecord, Store as _, Write};

pub(super) fn document(id: &str, title: &str, space_key: &str) -> StoredDocument {
    StoredDocument {
        source_id: "s".into(),
        id: id.into(),
        title: title.into(),
        mime_type: "text/markdown".into(),
        content: format!("# {title}\n"),
        modified_at: "2026-01-02T03:04:05.000Z".into(),
        web_url: format!("https://a.example/wiki/{id}"),
        space_key: space_key.into(),
        version_number: 3,
        created_at: None,
        created_by_display_name: None,
    }
}

pub(super) fn name(id: &str, title: &str, space_key: &str) -> DocumentName {
    let StoredDocument { id, title, space_key, web_url, .. } = document(id, title, space_key);
    DocumentName { id, title, space_key, web_url }
}

/// A store and a directory.
struct Bench {
    _data: tempfile::TempDir,
    store: SqliteStore,
    directory: tempfile::TempDir,
}

const SOURCE: &str = "0123456789ab";
const OTHER: &str = "ba9876543210";

impl Bench {
    fn new() -> Self {
        let data = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(data.path()).unwrap();
        Self { _data: data, store, directory: tempfile::tempdir().unwrap() }
    }

    fn path(&self, file: &str) -> PathBuf {
        self.directory.path().join(file)
    }

    /// Makes the source have these documents: id, title and space.
    fn hold(&mut self, source: &str, documents: &[(&str, &str, &str)]) {
        self.store
            .register(&SourceRecord {
                id: source.into(),
                kind: "CONFLUENCE".into(),
                base_url: "https://a.example".into(),
                email: "e".into(),
                scope: None,
            })
            .unwrap();
        let run = self.store.begin_run(source, true).unwrap();
        let mut gone = Vec::new();
        let filter = Filter { source_id: Some(source.into()), id: None };
        self.store
            .documents(&filter, |document| {
                gone.push(document.id);
                true
            })
            .unwrap();
        self.store.remove(source, &gone).unwrap();
        let writes: Vec<Write> = documents
            .iter()
            .map(|(id, title, space_key)| {
                let document = document(id, title, space_key);
                let reference = Reference {
                    id: document.id,
                    title: document.title,
                    modified_at: document.modified_at,
                    metadata: Metadata {
                        web_url: document.web_url,
                        space_key: document.space_key,
                        version_number: document.version_number,
                        created_at: None,
                        created_by_display_name: None,
                    },
                };
                let (mime_type, content) = (document.mime_type, document.content);
                Write::Document(Document { reference, mime_type, content })
            })
            .collect();
        self.store.write(source, run, &writes).unwrap();
        self.store.end_run(source, run).unwrap();
    }

    fn try_run(&self, source: &str) -> Result<(u64, u64, u64), Error> {
        let counts = write(&self.store, source, self.directory.path())?;
        Ok((counts.written, counts.unchanged, counts.removed))
    }

    /// Written, unchanged, removed.
    #[track_caller]
    fn run(&self, source: &str) -> (u64, u64, u64) {
        self.try_run(source).unwrap()
    }

    /// Holds the documents and writes them.
    #[track_caller]
    fn sync(&mut self, documents: &[(&str, &str, &str)]) -> (u64, u64, u64) {
        self.hold(SOURCE, documents);
        self.run(SOURCE)
    }

    /// All files but the lock: path, text or where it leads, and when it was written.
    fn files(&self) -> BTreeMap<String, (String, SystemTime)> {
        let mut files = BTreeMap::new();
        let mut folders = vec![self.directory.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let metadata = fs::symlink_metadata(&path).unwrap();
                let name = path.strip_prefix(self.directory.path()).unwrap().to_str().unwrap().to_owned();
                if metadata.is_dir() {
                    folders.push(path);
                } else if metadata.is_symlink() {
                    let target = fs::read_link(&path).unwrap().display().to_string();
                    files.insert(name, (target, metadata.modified().unwrap()));
                } else if name != ".kai.lock" {
                    files.insert(name, (fs::read_to_string(&path).unwrap(), metadata.modified().unwrap()));
                }
            }
        }
        files
    }

    fn names(&self) -> Vec<String> {
        self.files().into_keys().filter(|name| !name.starts_with('.')).collect()
    }

    fn text(&self, file: &str) -> String {
        fs::read_to_string(self.path(file)).unwrap()
    }

    #[track_caller]
    fn assert_refused(&self, file: &str) {
        let before = self.files();
        let error = self.try_run(SOURCE).unwrap_err();
        assert_eq!(error.exit_code(), crate::error::exit::USAGE);
        let message = error.to_string();
        assert!(message.starts_with(self.path(file).to_str().unwrap()), "{message}");
        assert!(message.contains("--markdown"), "{message}");
        assert_eq!(self.files(), before);
    }
}

#[test]
fn each_document_is_a_file_in_the_folder_of_its_space_beside_an_index() {
    let mut bench = Bench::new();
    assert_eq!(bench.sync(&[("1", "A b", "ENG"), ("2", "C", "ENG"), ("3", "D", "OPS")]), (3, 0, 0));
    assert_eq!(bench.names(), ["ENG/A b-1.md", "ENG/C-2.md", "ENG/index.md", "OPS/D-3.md", "OPS/index.md"]);
    let text = bench.text("ENG/A b-1.md");
    assert!(
        text.starts_with("---\nid: \"1\"\ntitle: \"A b\"\n") && text.ends_with("\n---\n\n# A b\n"),
        "{text}"
    );
    assert!(bench.text("ENG/index.md").ends_with("# ENG\n\n2 pages\n\n- [A b](A%20b-1.md)\n- [C](C-2.md)\n"));
}

#[test]
fn a_run_without_changes_touches_no_file() {
    let mut bench = Bench::new();
    bench.sync(&[("1", "A", "ENG"), ("2", "B", "CON"), ("3", "", "a/b")]);
    let before = bench.files();
    let folder = fs::metadata(bench.path("ENG")).unwrap().modified().unwrap();
    assert_eq!(bench.run(SOURCE), (0, 3, 0));
    assert_eq!(bench.files(), before);
    assert_eq!(fs::metadata(bench.path("ENG")).unwrap().modified().unwrap(), folder);
}

#[test]
fn a_file_goes_with_its_document_the_index_with_the_last_page_and_the_folder_with_the_last_file() {
    let mut bench = Bench::new();
    bench.sync(&[("1", "A", "ENG"), ("2", "B", "ENG"), ("3", "C", "OPS"), ("4", "D", "HR")]);
    fs::write(bench.path("HR/mine.md"), "mine").unwrap();
    assert_eq!(bench.sync(&[("1", "A", "ENG")]), (0, 1, 3));
    assert_eq!(bench.names(), ["ENG/A-1.md", "ENG/index.md", "HR/mine.md"]);
    assert!(!bench.path("OPS").exists());
    assert!(bench.text("ENG/index.md").contains("1 page\n"));
    assert_eq!(bench.sync(&[]), (0, 0, 1));
    assert_eq!(bench.files().into_keys().collect::<Vec<_>>(), ["HR/mine.md"]);
}

#[test]
fn a_file_follows_the_title_and_the_space_of_its_page() {
    let mut bench = Bench::new();
    bench.sync(&[("1", "Foo", "ENG"), ("2", "B", "ENG")]);
    assert_eq!(bench.sync(&[("1", "foo", "ENG"), ("2", "B", "OPS")]), (2, 0, 0));
    assert_eq!(bench.names(), ["ENG/foo-1.md", "ENG/index.md", "OPS/B-2.md", "OPS/index.md"]);
    assert!(bench.text("ENG/foo-1.md").contains("title: \"foo\""));
    assert!(bench.text("OPS/B-2.md").contains("space_key: \"OPS\""));
    assert_eq!(bench.sync(&[("1", "foo", "eng"), ("2", "B", "OPS")]), (1, 1, 0));
    assert_eq!(bench.names(), ["OPS/B-2.md", "OPS/index.md", "eng/foo-1.md", "eng/index.md"]);
    assert!(!bench.path("ENG").exists());
}

#[test]
fn a_space_whose_folder_another_needs_moves_with_its_files() {
    let mut bench = Bench::new();
    bench.sync(&[("1", "A", "eng")]);
    let text = bench.text("eng/A-1.md");
    assert_eq!(bench.sync(&[("1", "A", "eng"), ("2", "B", "ENG")]), (2, 0, 0));
    let file = bench.names().into_iter().find(|name| name.ends_with("/A-1.md")).unwrap();
    assert!(file.starts_with("eng-"), "{file}");
    assert_eq!(bench.text(&file), text);
    assert!(!bench.path("eng").exists());
}

#[test]
fn a_file_of_somebody_else_is_never_overwritten() {
    let mut bench = Bench::new();
    bench.hold(SOURCE, &[("1", "A", "ENG"), ("2", "B", "OPS")]);
    fs::create_dir(bench.path("OPS")).unwrap();
    fs::write(bench.path("OPS/B-2.md"), "mine").unwrap();
    bench.assert_refused("OPS/B-2.md");
    assert_eq!(bench.names(), ["OPS/B-2.md"]);
    fs::rename(bench.path("OPS/B-2.md"), bench.path("OPS/mine.md")).unwrap();
    fs::write(bench.path("OPS/index.md"), "mine").unwrap();
    bench.assert_refused("OPS/index.md");
    fs::rename(bench.path("OPS/index.md"), bench.path("OPS/mine too.md")).unwrap();
    assert_eq!(bench.run(SOURCE), (2, 0, 0));
    // A rename does not overwrite one, either.
    fs::write(bench.path("OPS/C-2.md"), "mine").unwrap();
    bench.hold(SOURCE, &[("1", "A", "ENG"), ("2", "C", "OPS")]);
    bench.assert_refused("OPS/C-2.md");
    // Nor does a page of another site that has the same id and title.
    fs::write(bench.path("OPS/C-2.md"), "---\nid: \"2\"\nweb_url: \"https://b.example/2\"\n---\n").unwrap();
    bench.assert_refused("OPS/C-2.md");
    fs::remove_file(bench.path("OPS/C-2.md")).unwrap();
    fs::create_dir(bench.path("OPS/C-2.md")).unwrap();
    bench.assert_refused("OPS/C-2.md");
    fs::remove_dir(bench.path("OPS/C-2.md")).unwrap();
    assert_eq!(bench.run(SOURCE), (1, 1, 0));
    // Nor does a change of case, where that is another file.
    bench.hold(SOURCE, &[("1", "A", "ENG"), ("2", "c", "OPS")]);
    if !bench.path("OPS/c-2.md").exists() {
        fs::write(bench.path("OPS/c-2.md"), "mine").unwrap();
        bench.assert_refused("OPS/c-2.md");
        fs::remove_file(bench.path("OPS/c-2.md")).unwrap();
    }
    assert_eq!(bench.run(SOURCE), (1, 1, 0));
    assert_eq!(bench.text("OPS/mine.md"), "mine");
}

#[test]
fn a_file_in_place_of_a_folder_is_never_overwritten() {
    let mut bench = Bench::new();
    bench.hold(SOURCE, &[("1", "A", "ENG")]);
    fs::write(bench.path("ENG"), "mine").unwrap();
    bench.assert_refused("ENG");
}

#[test]
fn files_of_the_same_pages_are_taken_over_where_the_manifest_is_lost() {
    let mut bench = Bench::new();
    bench.sync(&[("1", "A", "ENG"), ("2", "B", "ENG")]);
    let before = bench.files();
    fs::remove_file(bench.path(".kai-0123456789ab")).unwrap();
    bench.run(SOURCE);
    assert!(bench.files().keys().eq(before.keys()));
    for (name, (_, written)) in bench.files() {
        assert!(name.starts_with('.') || written == before[&name].1, "{name} was touched");
    }
    assert_eq!(bench.sync(&[]), (0, 0, 2));
}

#[test]
fn sources_that_share_a_directory_leave_each_others_files_alone() {
    let mut bench = Bench::new();
    bench.hold(OTHER, &[("1", "A", "ENG"), ("9", "Z", "OPS")]);
    bench.run(OTHER);
    let before = bench.files();
    assert_eq!(bench.sync(&[("1", "A", "eng"), ("2", "B", "HR")]), (2, 0, 0));
    let own: Vec<String> = bench.names().into_iter().filter(|name| !before.contains_key(name)).collect();
    assert_eq!(own.len(), 4, "{own:?}");
    assert!(own.iter().all(|name| name.starts_with("eng-") || name.starts_with("HR/")), "{own:?}");
    assert_eq!(bench.run(SOURCE), (0, 2, 0));
    assert_eq!(bench.run(OTHER), (0, 2, 0));
    bench.sync(&[]);
    assert_eq!(bench.files(), before);
}

#[test]
fn what_a_crash_leaves_is_mended_by_the_next_run() {
    let mut bench = Bench::new();
    bench.sync(&[("1", "A", "ENG"), ("2", "B", "ENG"), ("3", "C", "OPS")]);
    // The page 2 can be neither renamed nor written: a folder that is not empty has its name.
    fs::remove_file(bench.path("ENG/B-2.md")).unwrap();
    fs::create_dir_all(bench.path("ENG/B-2.md/x")).unwrap();
    bench.hold(SOURCE, &[("1", "A new", "ENG"), ("2", "B", "ENG"), ("4", "D", "HR")]);
    assert!(matches!(bench.try_run(SOURCE), Err(Error::File { .. })));
    assert!(bench.path("ENG/A new-1.md").exists() && !bench.path("ENG/A-1.md").exists());
    fs::remove_dir_all(bench.path("ENG/B-2.md")).unwrap();
    for leftover in [".kai-aBcDeF.tmp", "ENG/.kai-aBcDeF.tmp", "OPS/.kai-012345.tmp"] {
        fs::write(bench.path(leftover), "half").unwrap();
    }
    // A backup put an old name back.
    fs::copy(bench.path("ENG/A new-1.md"), bench.path("ENG/A-1.md")).unwrap();
    assert_eq!(bench.run(SOURCE).2, 1);
    assert_eq!(
        bench.files().into_keys().collect::<Vec<_>>(),
        [".kai-0123456789ab", "ENG/A new-1.md", "ENG/B-2.md", "ENG/index.md", "HR/D-4.md", "HR/index.md"]
    );
    assert!(bench.text("ENG/A new-1.md").contains("title: \"A new\""));
    assert!(!bench.path("OPS").exists());
    assert_eq!(bench.run(SOURCE), (0, 3, 0));
}

#[test]
fn a_manifest_of_somebody_else_leads_nowhere() {
    let mut bench = Bench::new();
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("A-1.md"), "mine").unwrap();
    let outside_file = outside.path().join("A-1.md").display().to_string();
    fs::create_dir(bench.path("ENG")).unwrap();
    fs::write(bench.path("ENG/notes.md"), "mine").unwrap();
    fs::write(bench.path(".kai-0123456789ab"), format!("{outside_file}\nENG/notes.md\n\u{0}/../x-1.md\n"))
        .unwrap();
    assert_eq!(bench.sync(&[("7", "A", "HR")]), (1, 0, 0));
    assert_eq!(fs::read_to_string(outside_file).unwrap(), "mine");
    assert_eq!(bench.names(), ["ENG/notes.md", "HR/A-7.md", "HR/index.md"]);
}

#[cfg(unix)]
#[test]
fn links_are_not_followed_out_of_the_directory() {
    use std::os::unix::fs::symlink;

    let mut bench = Bench::new();
    let outside = tempfile::tempdir().unwrap();
    let kept = |name: &str| {
        let path = outside.path().join(name);
        fs::write(&path, "mine").unwrap();
        path
    };
    // A folder.
    kept("A-1.md");
    symlink(outside.path(), bench.path("ENG")).unwrap();
    bench.hold(SOURCE, &[("1", "A", "ENG")]);
    bench.assert_refused("ENG");
    fs::remove_file(bench.path("ENG")).unwrap();
    bench.run(SOURCE);
    fs::remove_dir_all(bench.path("ENG")).unwrap();
    symlink(outside.path(), bench.path("ENG")).unwrap();
    bench.assert_refused("ENG");
    assert_eq!(bench.sync(&[("1", "B", "OPS")]), (1, 0, 0));
    assert!(bench.path("ENG").is_symlink());
    // A file that is written, one that is renamed, one that is removed.
    bench.sync(&[("1", "B", "OPS"), ("2", "C", "OPS"), ("3", "D", "OPS")]);
    for (name, target) in [("OPS/B-1.md", "b"), ("OPS/C-2.md", "c"), ("OPS/D-3.md", "d")] {
        fs::remove_file(bench.path(name)).unwrap();
        symlink(kept(target), bench.path(name)).unwrap();
    }
    bench.sync(&[("1", "B", "OPS"), ("2", "Cc", "OPS")]);
    assert!(!bench.path("OPS/B-1.md").is_symlink() && !bench.path("OPS/Cc-2.md").is_symlink());
    assert!(!bench.path("OPS/C-2.md").is_symlink() && !bench.path("OPS/D-3.md").is_symlink());
    // One that stands where a new file goes, wherever it leads.
    symlink(outside.path().join("new"), bench.path("OPS/E-5.md")).unwrap();
    bench.hold(SOURCE, &[("5", "E", "OPS")]);
    assert!(bench.try_run(SOURCE).unwrap_err().to_string().contains("OPS/E-5.md"));
    let left: BTreeMap<String, String> = fs::read_dir(outside.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (name_of(&path), fs::read_to_string(&path).unwrap()))
        .collect();
    assert!(left.keys().eq(["A-1.md", "b", "c", "d"]), "{left:?}");
    assert!(left.values().all(|text| text == "mine"), "{left:?}");
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

#[test]
fn a_run_waits_for_another_that_writes_to_the_directory() {
    let mut bench = Bench::new();
    bench.hold(SOURCE, &[("1", "A", "ENG")]);
    let held = Directory::open(bench.directory.path()).unwrap();
    std::thread::scope(|scope| {
        let (done, ended) = std::sync::mpsc::channel();
        let root = bench.directory.path();
        scope.spawn(move || {
            let directory = Directory::open(root).unwrap();
            done.send(()).unwrap();
            drop(directory);
        });
        assert!(ended.recv_timeout(std::time::Duration::from_millis(200)).is_err());
        drop(held);
        ended.recv_timeout(std::time::Duration::from_secs(60)).unwrap();
    });
    assert_eq!(bench.run(SOURCE), (1, 0, 0));
}
