//! `SPACE/index.md`: the pages of a space by title, each a link to its file.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::layout::Page;
use super::{front_matter, names};

/// Only what no reader of Markdown or of URLs takes for anything else stands as it is.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The text of the index; the order does not hang on that of the pages.
pub(super) fn text(space_key: &str, pages: &[Page]) -> String {
    let mut pages: Vec<&Page> = pages.iter().collect();
    pages.sort_by_cached_key(|page| (names::fold(&page.title), page.id.len(), &page.id));
    let mut text = front_matter::index(space_key);
    let plural = if pages.len() == 1 { "" } else { "s" };
    text.push_str(&format!("# {}\n\n{} page{plural}\n\n", escaped(space_key), pages.len()));
    for page in pages {
        let title = escaped(&page.title);
        let title = if title.is_empty() { &page.id } else { &title };
        let file = names::page_file(&page.title, &page.id);
        text.push_str(&format!("- [{title}]({})\n", utf8_percent_encode(&file, ENCODED)));
    }
    text
}

/// Inline Markdown that shows the text as it is, on one line. Characters that turn the direction of what follows are
/// left out: they would turn the rest of the line, too.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.trim().chars() {
        match c {
            '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '&' | '~' | '|' | '$' | '=' | '^' | '#' => {
                escaped.extend(['\\', c]);
            }
            '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' => {}
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use comrak::nodes::NodeValue;
    use comrak::{Arena, Options, parse_document};
    use proptest::prelude::*;

    use super::*;

    fn page(title: &str, id: &str) -> Page {
        Page { title: title.into(), id: id.into() }
    }

    /// The heading, and of each link its text and its target, decoded, as a reader with every extension sees them.
    fn read_back(text: &str) -> (String, Vec<(String, String)>) {
        let mut options = Options::default();
        options.extension.autolink = true;
        options.extension.strikethrough = true;
        options.extension.table = true;
        options.extension.tasklist = true;
        options.extension.footnotes = true;
        options.extension.superscript = true;
        options.extension.subscript = true;
        options.extension.math_dollars = true;
        options.extension.highlight = true;
        options.extension.underline = true;
        options.extension.spoiler = true;
        options.extension.wikilinks_title_after_pipe = true;
        options.extension.front_matter_delimiter = Some("---".into());
        let arena = Arena::new();
        let root = parse_document(&arena, text, &options);
        let mut heading = String::new();
        let mut links = Vec::new();
        for node in root.descendants() {
            let shown = || -> String {
                node.descendants()
                    .skip(1)
                    .map(|child| match &child.data().value {
                        NodeValue::Text(text) => text.to_string(),
                        other => panic!("{other:?} in {text}"),
                    })
                    .collect()
            };
            match &node.data().value {
                NodeValue::Heading(_) => heading = shown(),
                NodeValue::Link(link) => {
                    let target = percent_encoding::percent_decode_str(&link.url).decode_utf8().unwrap();
                    links.push((shown(), target.into_owned()));
                }
                _ => {}
            }
        }
        (heading, links)
    }

    const TITLES: [&str; 22] = [
        "Plain",
        "[link](https://evil.example)",
        "a ] b [ c",
        "\\[x\\]",
        "*bold* _it_ **b** __u__ ~~s~~ ~sub~ ^sup^ ==mark== ||spoiler||",
        "`code` ``",
        "<b>html</b> <https://a.example> <!-- -->",
        "&amp; &#35; AT&T",
        "see https://a.example/x_y and www.a.example or me@a.example",
        "$math$ and $$math$$",
        "[[wiki]] [^1] ![image](x)",
        "# 1. - + heading #",
        "x",
        "100% (sure) + 'quotes' \"too\"",
        "pipe | table",
        "日本語 é 😀👩‍💻",
        "trailing \\",
        ":smile: {#id} {{ x }}",
        "--- ... ''",
        "a  b",
        "!",
        "http://a.example",
    ];

    #[test]
    fn a_title_shows_as_itself_and_its_link_leads_to_its_file() {
        let pages: Vec<Page> =
            TITLES.iter().enumerate().map(|(at, title)| page(title, &(100 + at).to_string())).collect();
        let (heading, links) = read_back(&text("~7_1#", &pages));
        assert_eq!(heading, "~7_1#");
        assert_eq!(links.len(), pages.len(), "{links:?}");
        for page in &pages {
            let expected = (page.title.clone(), names::page_file(&page.title, &page.id));
            assert!(links.contains(&expected), "{expected:?} is not in {links:?}");
        }
    }

    proptest! {
        #[test]
        fn any_title_shows_as_itself(title in "[ -~]{1,40}|\\PC{1,20}") {
            let (_, links) = read_back(&text("ENG", &[page(&title, "7")]));
            let turns = |c: &char| !matches!(c, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}');
            // Separators of lines are spaces on a line.
            let on_a_line = |c| if matches!(c, '\u{2028}' | '\u{2029}') { ' ' } else { c };
            let shown: String = title.trim().chars().filter(turns).map(on_a_line).collect();
            let shown = if shown.is_empty() { "7".to_owned() } else { shown };
            prop_assert_eq!(links, vec![(shown, names::page_file(&title, "7"))]);
        }
    }

    #[test]
    fn pages_are_in_the_order_of_their_titles_whatever_case_then_of_their_ids() {
        let mut pages = vec![page("b", "1"), page("B", "10"), page("b", "9"), page("a", "3"), page("C", "2")];
        let first = text("ENG", &pages);
        let targets: Vec<String> = read_back(&first).1.into_iter().map(|(_, target)| target).collect();
        assert_eq!(targets, ["a-3.md", "b-1.md", "b-9.md", "B-10.md", "C-2.md"]);
        pages.reverse();
        assert_eq!(text("ENG", &pages), first);
    }

    #[test]
    fn the_index_says_how_many_pages_there_are() {
        assert_eq!(
            text("ENG", &[page("A b", "1")]),
            "---\nspace_key: \"ENG\"\n---\n\n# ENG\n\n1 page\n\n- [A b](A%20b-1.md)\n"
        );
        assert!(
            text("ENG", &[page("", "2"), page("\u{202E}", "1")])
                .ends_with("2 pages\n\n- [2](2.md)\n- [1](1.md)\n")
        );
        assert!(!text("ENG", &[page("one\n\n- two\u{2028}", "1")]).contains("\n- two"));
    }
}
