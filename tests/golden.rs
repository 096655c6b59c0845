//! Golden conversions: each folder of `tests/golden` holds a page in storage format and the Markdown it becomes.
//!
//! `input.xml` is the body as Confluence stores it, `expected.md` the whole document, compared byte for byte.
//! `page.json`, where there is one, says what the page is called and where it lives; `notices.txt` what the operator is
//! told, one `what: count` a line. `UPDATE_GOLDENS=1` writes the expected files anew: read the difference before you
//! keep it.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test ends at the first surprise")]

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use confluence_connector::markdown::{Markdown, Page, convert};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Place {
    id: String,
    title: String,
    space_key: String,
    base_url: String,
}

impl Default for Place {
    fn default() -> Self {
        Self {
            id: "123".to_owned(),
            title: "Title".to_owned(),
            space_key: "DOCS".to_owned(),
            base_url: "https://example.atlassian.net".to_owned(),
        }
    }
}

fn folders() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut folders: Vec<PathBuf> = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    folders
}

fn converted(folder: &Path) -> Markdown {
    let storage = fs::read_to_string(folder.join("input.xml"))
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let place = match fs::read(folder.join("page.json")) {
        Ok(json) => serde_json::from_slice(&json).unwrap(),
        Err(_) => Place::default(),
    };
    // An editor's line end behind the last tag is no part of the page.
    let storage = storage.strip_suffix('\n').unwrap_or(&storage);
    let page = Page {
        id: &place.id,
        title: &place.title,
        space_key: &place.space_key,
        base_url: &place.base_url,
        storage,
    };
    convert(&page)
}

/// Each notice in a line; empty where there are none.
fn notices(markdown: &Markdown) -> String {
    let mut lines = String::new();
    for notice in &markdown.notices {
        writeln!(lines, "{}: {}", notice.what, notice.count).unwrap();
    }
    lines
}

/// The lines that differ, with white space made visible where it is all that differs.
fn difference(expected: &str, found: &str) -> String {
    let mut shown = String::new();
    let (expected, found): (Vec<&str>, Vec<&str>) =
        (expected.split('\n').collect(), found.split('\n').collect());
    for number in 0..expected.len().max(found.len()) {
        let (left, right) = (expected.get(number), found.get(number));
        if left != right {
            writeln!(shown, "  line {}", number + 1).unwrap();
            writeln!(shown, "    expected {}", left.map_or("nothing".to_owned(), |line| format!("{line:?}")))
                .unwrap();
            writeln!(
                shown,
                "    found    {}",
                right.map_or("nothing".to_owned(), |line| format!("{line:?}"))
            )
            .unwrap();
        }
    }
    shown
}

#[test]
fn every_page_becomes_its_expected_markdown() {
    let update = std::env::var_os("UPDATE_GOLDENS").is_some_and(|value| value == "1");
    let folders = folders();
    let mut differences = String::new();
    for folder in &folders {
        let markdown = converted(folder);
        for (name, found) in [("notices.txt", notices(&markdown)), ("expected.md", markdown.text)] {
            let file = folder.join(name);
            let expected = fs::read_to_string(&file);
            // A page may become nothing, and then its file says so; notices are only where there are any.
            if expected.as_deref().unwrap_or_default() == found && (expected.is_ok() || name == "notices.txt")
            {
                continue;
            }
            let expected = expected.unwrap_or_default();
            if !update {
                writeln!(differences, "{}\n{}", file.display(), difference(&expected, &found)).unwrap();
            } else if found.is_empty() && name == "notices.txt" {
                fs::remove_file(&file).unwrap();
            } else {
                fs::write(&file, &found).unwrap();
            }
        }
    }
    assert!(differences.is_empty(), "UPDATE_GOLDENS=1 accepts what is right:\n{differences}");
    println!("{} golden pages", folders.len());
}

#[test]
fn every_document_ends_with_one_line_end_and_has_no_second_blank_line_outside_of_code() {
    for folder in folders() {
        let document = converted(&folder).text;
        if document.is_empty() {
            continue;
        }
        assert!(document.ends_with('\n') && !document.ends_with("\n\n"), "{}", folder.display());
        assert!(!document.contains('\r'), "{}", folder.display());
        if !document.contains("```") {
            assert!(!document.contains("\n\n\n"), "{}", folder.display());
            assert!(document.lines().all(|line| line.trim_end() == line), "{}", folder.display());
        }
    }
}
