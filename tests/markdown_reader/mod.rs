//! Reads Markdown as its reader does: parsed by comrak, an implementation of GitHub's Markdown that shares nothing
//! with the converter.

#![allow(dead_code, unreachable_pub, reason = "each test that includes this module reads another part of it")]

use comrak::arena_tree::NodeEdge;
use comrak::nodes::NodeValue;
use comrak::{Arena, Options, parse_document};

/// What a reader of the rendered Markdown sees.
#[derive(Debug, Default)]
pub struct Seen {
    /// All visible text. Blocks, cells and line breaks are separated by line ends.
    pub text: String,
    /// Level and text.
    pub headings: Vec<(u8, String)>,
    /// Language and code of each block.
    pub code: Vec<(String, String)>,
    /// Text and target.
    pub links: Vec<(String, String)>,
    /// Description and address.
    pub images: Vec<(String, String)>,
    /// Tables of rows of cells.
    pub tables: Vec<Vec<Vec<String>>>,
    /// How deep each list item is nested, and whether it is a task.
    pub items: Vec<(usize, Option<bool>)>,
    /// Raw HTML other than the line breaks, empty comments and code that the converter writes.
    pub html: Vec<String>,
    pub alerts: usize,
    pub quotes: usize,
}

/// GitHub's Markdown. Bare addresses are left alone, because their text is the same with and without a link.
pub fn options() -> Options<'static> {
    let mut options = Options::default();
    options.extension.table = true;
    options.extension.strikethrough = true;
    options.extension.tasklist = true;
    options.extension.alerts = true;
    options
}

/// Reads a document.
pub fn read(markdown: &str) -> Seen {
    let arena = Arena::new();
    let root = parse_document(&arena, markdown, &options());
    let mut seen = Seen::default();
    let mut starts: Vec<usize> = Vec::new();
    let mut depth = 0;
    let mut in_image = 0;
    for edge in root.traverse() {
        match edge {
            NodeEdge::Start(node) => {
                let data = node.data();
                if data.value.block() {
                    break_line(&mut seen.text);
                }
                starts.push(seen.text.len());
                match &data.value {
                    NodeValue::Text(text) if in_image == 0 => seen.text.push_str(text),
                    NodeValue::Code(code) if in_image == 0 => seen.text.push_str(&code.literal),
                    NodeValue::CodeBlock(code) => {
                        seen.text.push_str(&code.literal);
                        seen.code.push((code.info.clone(), code.literal.clone()));
                    }
                    NodeValue::SoftBreak | NodeValue::LineBreak => seen.text.push('\n'),
                    NodeValue::HtmlInline(html) if html == "<br>" => seen.text.push('\n'),
                    NodeValue::HtmlInline(html)
                        if matches!(html.as_str(), "<!-- -->" | "<code>" | "</code>") => {}
                    NodeValue::HtmlInline(html) => seen.html.push(html.clone()),
                    NodeValue::HtmlBlock(html) => seen.html.push(html.literal.clone()),
                    NodeValue::Image(_) => in_image += 1,
                    NodeValue::List(_) => depth += 1,
                    NodeValue::Item(_) => seen.items.push((depth, None)),
                    NodeValue::TaskItem(task) => seen.items.push((depth, Some(task.symbol.is_some()))),
                    NodeValue::Table(_) => seen.tables.push(Vec::new()),
                    NodeValue::TableRow(_) => {
                        if let Some(table) = seen.tables.last_mut() {
                            table.push(Vec::new());
                        }
                    }
                    NodeValue::Alert(_) => seen.alerts += 1,
                    NodeValue::BlockQuote => seen.quotes += 1,
                    _ => {}
                }
            }
            NodeEdge::End(node) => {
                let data = node.data();
                let start = starts.pop().unwrap_or_default();
                let inside = seen.text.get(start..).unwrap_or_default().trim().to_owned();
                match &data.value {
                    NodeValue::Heading(heading) => seen.headings.push((heading.level, inside)),
                    NodeValue::Link(link) => seen.links.push((inside, link.url.clone())),
                    NodeValue::Image(image) => {
                        in_image -= 1;
                        seen.images.push((image.title.clone(), image.url.clone()));
                    }
                    NodeValue::List(_) => depth -= 1,
                    NodeValue::TableCell => {
                        if let Some(row) = seen.tables.last_mut().and_then(|table| table.last_mut()) {
                            row.push(inside);
                        }
                    }
                    _ => {}
                }
                if data.value.block() {
                    break_line(&mut seen.text);
                }
            }
        }
    }
    seen
}

fn break_line(text: &mut String) {
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
}

/// The words of a text.
pub fn words(text: &str) -> Vec<&str> {
    text.split_whitespace().collect()
}

/// A text without the control characters that show nothing; U+0085 is white space to some.
pub fn without_controls(text: &str) -> String {
    text.replace(|c: char| c.is_control() && !matches!(c, '\t' | '\n' | '\r' | '\x0c' | '\u{85}'), "")
}
