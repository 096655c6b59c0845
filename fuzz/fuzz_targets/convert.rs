//! Any bytes as a page: nothing panics, output and time stay in proportion, no HTML is written but the converter's own,
//! and the same bytes as the text of a paragraph or a cell are shown as they are.

#![no_main]

#[path = "../../tests/markdown_reader/mod.rs"]
mod markdown_reader;

use std::time::Duration;

use confluence_connector::markdown::{Page, convert};
use cpu_time::ThreadTime;
use libfuzzer_sys::fuzz_target;
use markdown_reader::read;

fn converted(title: &str, storage: &str) -> String {
    let page =
        Page { id: "1", title, space_key: "K", base_url: "https://example.atlassian.net", storage };
    convert(&page).text
}

/// Text without white space, and without what a Markdown reader may drop: a byte order mark at the beginning.
fn squeezed(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace() && !c.is_control() && *c != '\u{feff}').collect()
}

/// A page that is over and over the same takes time in proportion: what is quadratic takes minutes at this length. The
/// thread's own time counts, because a busy machine may let it wait.
fn assert_linear(storage: &str) {
    const LONG: usize = 1 << 19;
    const PLENTY: Duration = Duration::from_secs(5);
    let long = storage.repeat(LONG / storage.len().max(1));
    let began = ThreadTime::now();
    converted("", &long);
    assert!(began.elapsed() < PLENTY, "{:?} for {} bytes", began.elapsed(), long.len());
}

fuzz_target!(|bytes: &[u8]| {
    let storage = String::from_utf8_lossy(bytes);
    let markdown = converted("", &storage);
    // The bound of `tests/markdown_properties.rs`.
    assert!(markdown.len() <= 4096 * 4 + 40 * storage.len(), "{} bytes", markdown.len());
    assert!(markdown.is_empty() || (markdown.ends_with('\n') && !markdown.ends_with("\n\n")), "{markdown:?}");
    let seen = read(&markdown);
    assert!(seen.html.is_empty(), "raw HTML {:?} in\n{markdown}", seen.html);

    // Long pages are slow to try, so only some are: which ones depends on the page alone, for a crash to be repeatable.
    if bytes.iter().map(|byte| u32::from(*byte)).sum::<u32>() % 32 == 0 {
        assert_linear(&storage);
    }

    // As text everything shows as itself: which words a page of any markup shows, only a second converter could tell.
    let text = storage.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    for page in [
        format!("<p>{text}</p>"),
        format!("<ul><li><em>{text}</em></li></ul>"),
        format!("<table><tr><td><strong>{text}</strong></td></tr></table>"),
    ] {
        let markdown = converted("", &page);
        assert_eq!(squeezed(&read(&markdown).text), squeezed(&storage), "{page:?} became {markdown:?}");
    }
});
