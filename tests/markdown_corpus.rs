//! Real pages, other projects' samples and generated pages: the words of the rendered Markdown are the visible words of
//! the page, and its headings, lists, tables, code blocks, links and images are those of the page.
//!
//! The real ones lie beside the project, in `../shared/corpus`, and are no part of it: without them the test says so and
//! passes. What a page shows is told by `storage_reader`, which shares no code with the converter.

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod markdown_reader;
mod storage_reader;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::fs;
use std::path::{Path, PathBuf};

use confluence_connector::markdown::{Page, convert};
use confluence_site::Site;
use markdown_reader::{Seen, read, words};
use storage_reader::{BASE, Place, Shape, tree};

/// The space of every page.
const SPACE: &str = "K";

fn corpus() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus");
    let Ok(entries) = fs::read_dir(&root) else { return Vec::new() };
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// How a page and its Markdown differ, and what was compared.
struct Found {
    differences: Vec<String>,
    words: usize,
    /// Backslashes in the Markdown outside of code.
    escapes: usize,
}

fn compare(storage: &str) -> Found {
    let page = Page { id: "1", title: "", space_key: SPACE, base_url: BASE, storage };
    let markdown = convert(&page).text;
    let page = tree(storage);
    let (mut visible, mut shape) = (String::new(), Shape::default());
    page.visible_children(&mut visible);
    page.structure(Place::top(SPACE), &mut shape);
    let seen = read(&markdown);
    let mut differences = Vec::new();
    compare_lists("word", &words(&visible), &words(&seen.text), &mut differences);
    compare_lists::<&str, _>("HTML", &[], &seen.html, &mut differences);
    compare_lists("heading", &shape.headings, &joined_headings(&seen), &mut differences);
    compare_lists("item", &shape.items, &seen.items, &mut differences);
    // The line end behind the last line is the fence's; every kind of line end is one `\n`.
    let code = |code: &String| code.replace("\r\n", "\n").trim_end_matches('\n').to_owned();
    let found: Vec<String> = seen.code.iter().map(|(_, found)| code(found)).collect();
    compare_lists("code", &shape.code.iter().map(code).collect::<Vec<_>>(), &found, &mut differences);
    compare_lists("table", &shape.tables, &joined_tables(&seen), &mut differences);
    let found: Vec<String> = seen.links.iter().map(|(_, address)| plain(address)).collect();
    let expected: Vec<String> = shape.links.iter().map(|address| plain(address)).collect();
    compare_lists("link", &expected, &found, &mut differences);
    let found: Vec<String> = seen.images.iter().map(|(_, address)| plain(address)).collect();
    let expected: Vec<String> = shape.images.iter().map(|address| plain(address)).collect();
    compare_lists("image", &expected, &found, &mut differences);
    let words = words(&seen.text).len();
    Found { differences, words, escapes: escapes(&markdown, &seen) }
}

/// Says where two lists begin to differ.
fn compare_lists<L, R>(what: &str, expected: &[L], found: &[R], differences: &mut Vec<String>)
where
    L: Debug + PartialEq<R>,
    R: Debug,
{
    if expected.len() == found.len() && expected.iter().zip(found).all(|(left, right)| left == right) {
        return;
    }
    let at = expected.iter().zip(found).take_while(|(left, right)| left == right).count();
    differences.push(format!(
        "{what} {at} of {} and {}\n  page     {:?}\n  markdown {:?}",
        expected.len(),
        found.len(),
        expected.iter().skip(at.saturating_sub(2)).take(8).collect::<Vec<_>>(),
        found.iter().skip(at.saturating_sub(2)).take(8).collect::<Vec<_>>()
    ));
}

fn joined_headings(seen: &Seen) -> Vec<(u8, String)> {
    seen.headings.iter().map(|(level, text)| (*level, words(text).join(" "))).collect()
}

fn joined_tables(seen: &Seen) -> Vec<Vec<Vec<String>>> {
    let cell = |text: &String| words(text).join(" ");
    let row = |row: &Vec<String>| row.iter().map(cell).collect();
    seen.tables.iter().map(|table| table.iter().map(row).collect()).collect()
}

/// An address without percent-encoding, which may be written in several ways.
fn plain(address: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = address.trim();
    while let Some((before, after)) = rest.split_once('%') {
        bytes.extend_from_slice(before.as_bytes());
        let code = after.get(..2).and_then(|code| u8::from_str_radix(code, 16).ok());
        bytes.push(code.unwrap_or(b'%'));
        rest = after.get(if code.is_some() { 2 } else { 0 }..).unwrap_or_default();
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Backslashes that stand before something, outside of code blocks and spans.
fn escapes(markdown: &str, seen: &Seen) -> usize {
    let count = |text: &str| text.matches('\\').count();
    let in_code: usize = seen.code.iter().map(|(_, code)| count(code)).sum();
    let breaks = markdown.matches("\\\n").count();
    // A backslash of the text itself is shown, whether or not it has one of its own.
    count(markdown).saturating_sub(in_code + breaks)
}

#[test]
fn the_words_of_the_markdown_are_the_visible_words_of_the_page() {
    let files = corpus();
    if files.is_empty() {
        println!("skipped: there is no ../shared/corpus");
        return;
    }
    let mut tally: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    let (mut all_words, mut escapes) = (0, 0);
    let mut failures = Vec::new();
    for file in &files {
        let name = file.file_name().unwrap().to_str().unwrap();
        if !name.ends_with(".xml") && !name.ends_with(".xhtml") {
            println!("skipped: {name} holds no storage format");
            continue;
        }
        let storage = fs::read_to_string(file).unwrap();
        let found = compare(&storage);
        failures.extend(found.differences.iter().map(|difference| format!("{name}: {difference}")));
        escapes += found.escapes;
        let kind = name.split('+').next().unwrap_or_default();
        let (pages, count) = tally.entry(kind).or_default();
        *pages += 1;
        *count += found.words;
        all_words += found.words;
    }
    for (kind, (pages, count)) in &tally {
        println!("{kind}: {pages} pages, {count} words");
    }
    println!("{escapes} backslashes for {all_words} words");
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(escapes * 200 <= all_words, "{escapes} backslashes for {all_words} words");
}

#[test]
fn generated_pages_keep_their_words_and_structure() {
    let (mut pages, mut count) = (0, 0);
    for (seed, page_bytes) in [(1, 2_000), (2, 15_000), (3, 60_000)] {
        let site = Site::builder().seed(seed).pages(150).page_bytes(page_bytes).content();
        for page in site.visible_pages() {
            let found = compare(&page.storage);
            assert!(
                found.differences.is_empty(),
                "seed {seed}, {}: {}",
                page.title,
                found.differences.join("\n")
            );
            pages += 1;
            count += found.words;
        }
    }
    println!("{pages} pages, {count} words");
}
