//! Real pages and other projects' samples: the words of the rendered Markdown are the visible words of the page.
//!
//! The files lie beside the project, in `../shared/corpus`, and are no part of it: without them the test says so and
//! passes. What is visible on a page is told by a reader of its own, built on quick-xml, that shares no code with the
//! converter.

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod markdown_reader;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use confluence_connector::markdown::{Page, convert};
use markdown_reader::{read, words};
use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

/// What is shown of an element other than the text inside of it: the deliberate differences between the text of the
/// storage format and the text of the page. Everything that is not named here shows exactly its text.
#[derive(Clone, Copy)]
enum Shown {
    /// Machine data.
    Nothing,
    /// The value of an attribute.
    Attribute(&'static str),
    /// The storage holds no name of a person.
    User,
    /// Its own text, else the name of what it points to.
    TextOrTarget,
    /// A picture: only its caption is text. A picture of another page is a link to that page, by its description.
    Picture,
    /// The character, not its name.
    Emoji,
    /// The parameter of that name.
    Parameter(&'static str),
    /// The parameter of that name, then the body.
    ParameterAndBody(&'static str),
    /// The name of the page or file that a parameter points to.
    TargetOfParameter,
    /// The parameter of that name, else the name of the file that a parameter points to.
    ParameterOrTarget(&'static str),
}

const DIFFERENCES: &[(&str, Shown)] = &[
    ("ac:parameter", Shown::Nothing),
    ("ac:placeholder", Shown::Nothing),
    ("ac:task-id", Shown::Nothing),
    ("ac:task-uuid", Shown::Nothing),
    ("ac:task-status", Shown::Nothing),
    ("ac:adf-attribute", Shown::Nothing),
    ("ac:adf-parameter", Shown::Nothing),
    // Only beside the content that it repeats; see `visible`.
    ("ac:adf-fallback", Shown::Nothing),
    ("style", Shown::Nothing),
    ("script", Shown::Nothing),
    ("ac:image", Shown::Picture),
    ("ac:emoticon", Shown::Emoji),
    ("time", Shown::Attribute("datetime")),
    ("ri:user", Shown::User),
    ("ac:link", Shown::TextOrTarget),
    ("macro:status", Shown::Parameter("title")),
    ("macro:jira", Shown::Parameter("key")),
    ("macro:mathinline", Shown::Parameter("body")),
    ("macro:mathblock", Shown::Parameter("body")),
    ("macro:code", Shown::ParameterAndBody("title")),
    ("macro:info", Shown::ParameterAndBody("title")),
    ("macro:tip", Shown::ParameterAndBody("title")),
    ("macro:note", Shown::ParameterAndBody("title")),
    ("macro:warning", Shown::ParameterAndBody("title")),
    ("macro:panel", Shown::ParameterAndBody("title")),
    ("macro:expand", Shown::ParameterAndBody("title")),
    ("macro:include", Shown::TargetOfParameter),
    ("macro:excerpt-include", Shown::TargetOfParameter),
    ("macro:children", Shown::TargetOfParameter),
    ("macro:view-file", Shown::TargetOfParameter),
    ("macro:widget", Shown::ParameterOrTarget("url")),
    ("macro:iframe", Shown::ParameterOrTarget("src")),
];

#[derive(Debug, Default)]
struct Element {
    name: String,
    attributes: Vec<(String, String)>,
    children: Vec<Node>,
}

#[derive(Debug)]
enum Node {
    Element(Element),
    Text(String),
}

/// A character reference, resolved by the Markdown parser, which knows all of HTML's names.
fn reference(name: &str) -> String {
    let text = read(&format!("a&{name};b")).text;
    text.trim().strip_prefix('a').and_then(|text| text.strip_suffix('b')).unwrap_or_default().to_owned()
}

fn decoded(raw: &str) -> String {
    let mut parts = raw.split('&');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_once(';') {
            Some((name, rest)) => text += &(reference(name) + rest),
            None => text += &format!("&{part}"),
        }
    }
    text
}

fn element(tag: &BytesStart<'_>) -> Element {
    let name = tag.name().as_ref().to_owned();
    let attributes = tag
        .attributes()
        .with_checks(false)
        .flatten()
        .map(|attribute| (attribute.key.as_ref().to_owned(), decoded(&attribute.value)))
        .collect();
    Element { name, attributes, children: Vec::new() }
}

fn tree(storage: &str) -> Element {
    let mut reader = Reader::from_str(storage);
    reader.config_mut().check_end_names = false;
    reader.config_mut().allow_unmatched_ends = true;
    let mut open = vec![Element::default()];
    let push = |open: &mut Vec<Element>, node| open.last_mut().unwrap().children.push(node);
    loop {
        match reader.read_event().unwrap() {
            Event::Eof => break,
            Event::Start(tag) => open.push(element(&tag)),
            Event::Empty(tag) => push(&mut open, Node::Element(element(&tag))),
            Event::End(_) if open.len() > 1 => {
                let closed = open.pop().unwrap();
                push(&mut open, Node::Element(closed));
            }
            Event::Text(text) => push(&mut open, Node::Text(text.xml10_content().into_owned())),
            Event::CData(text) => push(&mut open, Node::Text(text.into_inner().into_owned())),
            Event::GeneralRef(name) => push(&mut open, Node::Text(reference(&name.into_inner()))),
            _ => {}
        }
    }
    while open.len() > 1 {
        let closed = open.pop().unwrap();
        push(&mut open, Node::Element(closed));
    }
    open.pop().unwrap()
}

impl Element {
    fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    fn elements(&self) -> impl Iterator<Item = &Element> {
        self.children.iter().filter_map(|child| match child {
            Node::Element(element) => Some(element),
            Node::Text(_) => None,
        })
    }

    /// All elements below this one.
    fn all(&self) -> Vec<&Element> {
        self.elements().flat_map(|element| std::iter::once(element).chain(element.all())).collect()
    }

    fn raw_text(&self) -> String {
        self.children
            .iter()
            .map(|child| match child {
                Node::Element(element) => element.raw_text(),
                Node::Text(text) => text.clone(),
            })
            .collect()
    }

    fn parameter(&self, name: &str) -> Option<String> {
        self.elements()
            .find(|child| child.name == "ac:parameter" && child.attribute("ac:name") == Some(name))
            .map(Element::raw_text)
            .filter(|text| !text.is_empty())
    }

    /// The name of what the first `ri:*` below this element points to.
    fn target(&self) -> String {
        let all = self.all();
        let Some(resource) = all.iter().find(|element| element.name.starts_with("ri:")) else {
            return self.attribute("ac:anchor").unwrap_or_default().to_owned();
        };
        let name = match resource.name.as_str() {
            "ri:user" => return "@user".to_owned(),
            "ri:attachment" => "ri:filename",
            "ri:space" => "ri:space-key",
            "ri:url" => "ri:value",
            "ri:content-entity" => "ri:content-id",
            "ri:shortcut" => "ri:parameter",
            _ => "ri:content-title",
        };
        resource.attribute(name).unwrap_or_default().to_owned()
    }

    fn is_inline(&self) -> bool {
        matches!(
            self.name.as_str(),
            "a" | "b"
                | "strong"
                | "i"
                | "em"
                | "u"
                | "s"
                | "del"
                | "ins"
                | "span"
                | "code"
                | "sub"
                | "sup"
                | "small"
                | "big"
                | "cite"
                | "tt"
                | "time"
                | "ac:link"
                | "ac:link-body"
                | "ac:plain-text-link-body"
                | "ac:emoticon"
                | "ac:inline-comment-marker"
                | "ac:placeholder"
                | "ac:structured-macro"
                | "ac:parameter"
                | "unknown-tag"
        ) || self.name.starts_with("ri:")
    }

    fn visible_children(&self, text: &mut String) {
        for child in &self.children {
            match child {
                Node::Text(own) => text.push_str(own),
                Node::Element(element) => element.visible(text),
            }
        }
    }

    fn visible(&self, text: &mut String) {
        if !self.is_inline() {
            text.push('\n');
        }
        let key = match (self.name.as_str(), self.attribute("ac:name")) {
            ("ac:structured-macro", Some(name)) => format!("macro:{name}"),
            (name, _) => name.to_owned(),
        };
        match DIFFERENCES.iter().find(|(name, _)| *name == key).map(|(_, shown)| *shown) {
            None if self.name == "table" => self.visible_table(text),
            None if self.name == "ac:adf-extension" => {
                let all = self.all();
                let content = all.iter().find(|element| element.name == "ac:adf-content");
                let fallback = all.iter().find(|element| element.name == "ac:adf-fallback");
                if let Some(shown) = content.or(fallback) {
                    shown.visible_children(text);
                }
            }
            None => self.visible_children(text),
            Some(Shown::Nothing) => {}
            Some(Shown::User) => text.push_str("@user"),
            Some(Shown::Attribute(name)) => text.push_str(self.attribute(name).unwrap_or_default()),
            Some(Shown::TextOrTarget) => {
                let mut own = String::new();
                let bodies = self.all().into_iter().filter(|element| element.name.ends_with("link-body"));
                bodies.for_each(|body| body.visible_children(&mut own));
                let has_image = self.all().iter().any(|element| element.name == "ac:image");
                text.push_str(if own.trim().is_empty() && !has_image { self.target() } else { own }.as_str());
            }
            Some(Shown::Emoji) => {
                text.push_str(match self.attribute("ac:emoji-fallback").unwrap_or_default() {
                    ":warning:" => "⚠️",
                    ":check_mark:" => "✅",
                    ":cross_mark:" => "❌",
                    character => character,
                })
            }
            Some(Shown::Picture) => {
                if self.elements().any(|child| child.elements().any(|page| page.name == "ri:page")) {
                    text.push_str(
                        self.attribute("ac:alt").map(str::to_owned).unwrap_or_else(|| self.target()).as_str(),
                    );
                }
                self.elements().filter(|child| child.name == "ac:caption").for_each(|caption| {
                    caption.visible(text);
                });
            }
            Some(Shown::Parameter(name)) => text.push_str(&self.parameter(name).unwrap_or_default()),
            Some(Shown::ParameterAndBody(name)) => {
                text.push_str(&format!("\n{}\n", self.parameter(name).unwrap_or_default()));
                self.visible_children(text);
                text.push('\n');
            }
            Some(Shown::TargetOfParameter) => text.push_str(&format!("\n{}\n", self.target())),
            Some(Shown::ParameterOrTarget(name)) => {
                text.push_str(&format!("\n{}\n", self.parameter(name).unwrap_or_else(|| self.target())));
            }
        }
        if !self.is_inline() {
            text.push('\n');
        }
    }

    /// Cell by cell; a cell of several rows is repeated in each, as far as the table has rows.
    fn visible_table(&self, text: &mut String) {
        let sections = self.elements().flat_map(|child| match child.name.as_str() {
            "tr" => vec![child],
            "thead" | "tbody" | "tfoot" => child.elements().filter(|row| row.name == "tr").collect(),
            _ => Vec::new(),
        });
        let mut above: BTreeMap<usize, (usize, String)> = BTreeMap::new();
        for row in sections {
            let mut cells = row.elements().filter(|cell| matches!(cell.name.as_str(), "td" | "th"));
            let mut column = 0;
            let mut line = String::new();
            loop {
                if let Some((rows, repeated)) = above.get_mut(&column).filter(|(rows, _)| *rows > 0) {
                    *rows -= 1;
                    line += &format!("\n{repeated}\n");
                    column += 1;
                } else if let Some(cell) = cells.next() {
                    let span = |name: &str| cell.attribute(name).and_then(|n| n.parse().ok()).unwrap_or(1);
                    let mut own = String::new();
                    cell.visible_children(&mut own);
                    line += &format!("\n{own}\n");
                    for offset in 0..span("colspan") {
                        let repeated = if offset == 0 { own.clone() } else { String::new() };
                        above.insert(column + offset, (span("rowspan") - 1, repeated));
                    }
                    column += span("colspan");
                } else if above.range(column..).any(|(_, (rows, _))| *rows > 0) {
                    column += 1;
                } else {
                    break;
                }
            }
            text.push_str(&line);
        }
    }
}

fn corpus() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus");
    let Ok(entries) = fs::read_dir(&root) else { return Vec::new() };
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn the_words_of_the_markdown_are_the_visible_words_of_the_page() {
    let files = corpus();
    if files.is_empty() {
        println!("skipped: there is no ../shared/corpus");
        return;
    }
    let mut tally: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    let mut failures = String::new();
    for file in &files {
        let name = file.file_name().unwrap().to_str().unwrap();
        if !name.ends_with(".xml") && !name.ends_with(".xhtml") {
            println!("skipped: {name} holds no storage format");
            continue;
        }
        let storage = fs::read_to_string(file).unwrap();
        let page = Page {
            id: "1",
            title: "",
            space_key: "K",
            base_url: "https://example.atlassian.net",
            storage: &storage,
        };
        let markdown = convert(&page);
        let mut visible = String::new();
        tree(&storage).visible_children(&mut visible);
        let seen = read(&markdown.text);
        let (expected, found) = (words(&visible), words(&seen.text));
        if expected != found {
            let at = expected.iter().zip(&found).take_while(|(left, right)| left == right).count();
            let around = |words: &[&str]| {
                words.iter().skip(at.saturating_sub(4)).take(14).copied().collect::<Vec<_>>().join(" ")
            };
            failures += &format!(
                "{name}: word {at}\n  page     {}\n  markdown {}\n",
                around(&expected),
                around(&found)
            );
        }
        if !seen.html.is_empty() {
            failures += &format!("{name}: raw HTML {:?}\n", seen.html);
        }
        let kind = name.split('+').next().unwrap_or_default();
        let (pages, count) = tally.entry(kind).or_default();
        *pages += 1;
        *count += found.len();
    }
    for (kind, (pages, count)) in &tally {
        println!("{kind}: {pages} pages, {count} words");
    }
    assert!(failures.is_empty(), "{failures}");
}
