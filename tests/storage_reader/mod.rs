//! Reads storage format as a person does who knows the editor: which words a page shows, in which headings, lists,
//! tables, code blocks and links. It walks a tree made by quick-xml and shares no code with the converter.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::collections::BTreeMap;

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use crate::markdown_reader::{read, words};

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
    ("macro:style", Shown::Nothing),
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
    ("macro:chart", Shown::ParameterAndBody("title")),
    ("macro:gallery", Shown::Parameter("title")),
    ("macro:include", Shown::TargetOfParameter),
    ("macro:excerpt-include", Shown::TargetOfParameter),
    ("macro:children", Shown::TargetOfParameter),
    ("macro:view-file", Shown::TargetOfParameter),
    ("macro:widget", Shown::ParameterOrTarget("url")),
    ("macro:iframe", Shown::ParameterOrTarget("src")),
];

#[derive(Debug, Default)]
pub struct Element {
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

/// Reads a page in storage format.
pub fn tree(storage: &str) -> Element {
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

    /// All text inside of it, whatever it is for.
    fn raw_text(&self) -> String {
        self.children
            .iter()
            .map(|child| match child {
                Node::Element(element) if element.name == "br" => "\n".to_owned(),
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

    /// Appends the words that a reader sees of what is inside of it.
    pub fn visible_children(&self, text: &mut String) {
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

    /// Cell by cell, row by row.
    fn visible_table(&self, text: &mut String) {
        for cell in self.grid().into_iter().flatten().flatten() {
            text.push('\n');
            cell.visible_children(text);
            text.push('\n');
        }
    }

    /// The rows of a table, and the section that each stands in.
    fn rows(&self) -> Vec<(&Element, &str)> {
        let sections = self.elements().flat_map(|child| match child.name.as_str() {
            "tr" => vec![(child, "")],
            "thead" | "tbody" | "tfoot" => {
                let rows = child.elements().filter(|row| row.name == "tr");
                rows.map(|row| (row, child.name.as_str())).collect()
            }
            _ => Vec::new(),
        });
        // A foot is at the bottom, wherever it is written.
        let (foot, mut rows): (Vec<_>, Vec<_>) = sections.partition(|(_, section)| *section == "tfoot");
        rows.extend(foot);
        rows
    }

    /// A table's cells where they are shown: a cell of several rows in each of them, as far as the table has rows; of
    /// a cell of several columns in the first, the others are empty.
    fn grid(&self) -> Vec<Vec<Option<&Element>>> {
        let mut above: BTreeMap<usize, (usize, Option<&Element>)> = BTreeMap::new();
        let mut grid = Vec::new();
        for (row, _) in self.rows() {
            let mut cells = row.elements().filter(|cell| matches!(cell.name.as_str(), "td" | "th"));
            let mut line = Vec::new();
            loop {
                let column = line.len();
                if let Some((rows, repeated)) = above.get_mut(&column).filter(|(rows, _)| *rows > 0) {
                    *rows -= 1;
                    line.push(*repeated);
                } else if let Some(cell) = cells.next() {
                    let span = |name: &str| cell.attribute(name).and_then(|n| n.parse().ok()).unwrap_or(1);
                    for offset in 0..span("colspan") {
                        let shown = (offset == 0).then_some(cell);
                        above.insert(column + offset, (span("rowspan") - 1, shown));
                        line.push(shown);
                    }
                } else if above.range(column..).any(|(_, (rows, _))| *rows > 0) {
                    line.push(None);
                } else {
                    break;
                }
            }
            if !line.is_empty() {
                grid.push(line);
            }
        }
        grid
    }

    /// Appends what it and all inside of it are to a reader.
    pub fn structure(&self, place: Place<'_>, shape: &mut Shape) {
        let children = |place: Place<'_>, shape: &mut Shape| {
            self.elements().for_each(|child| child.structure(place, shape));
        };
        let macro_name = self.attribute("ac:name").filter(|_| self.name == "ac:structured-macro");
        if let Some(name) = macro_name {
            return self.macro_structure(name, place, shape);
        }
        match self.name.as_str() {
            "ac:adf-extension" => {
                let all = self.all();
                let content = all.iter().find(|element| element.name == "ac:adf-content");
                if content.is_some() {
                    self.elements()
                        .filter(|child| child.name != "ac:adf-fallback")
                        .for_each(|child| child.structure(place, shape));
                } else {
                    children(place, shape);
                }
            }
            "ac:adf-node" if self.attribute("type") == Some("decision-list") => {
                children(place.deeper(), shape)
            }
            "ac:adf-node" if self.attribute("type") == Some("decision-item") => {
                shape.items.push((place.depth, None));
                children(place, shape);
            }
            "h1" | "h2" | "h3" | "h4" | "h5" | "h6" if !place.in_cell => {
                let mut text = String::new();
                self.visible_children(&mut text);
                let text = words(&text).join(" ");
                if !text.is_empty() {
                    let level = self.name.trim_start_matches('h').parse().unwrap();
                    shape.headings.push((level, text));
                }
                children(place, shape);
            }
            "ul" | "ol" | "ac:task-list" => children(place.deeper(), shape),
            "li" | "ac:task" => {
                let body = self.elements().find(|child| child.name == "ac:task-body");
                let status = self.elements().find(|child| child.name == "ac:task-status");
                let done = status.is_some_and(|status| status.raw_text().trim() == "complete");
                let has_text = body.is_some_and(|body| {
                    let mut text = String::new();
                    body.visible_children(&mut text);
                    !text.trim().is_empty()
                });
                if !place.in_cell && (self.name == "li" || body.is_some()) {
                    shape.items.push((place.depth, has_text.then_some(done)));
                }
                children(place, shape);
            }
            "table" if place.in_cell => children(place, shape),
            "table" => self.table_structure(place, shape),
            "pre" => {
                if !place.in_cell && !self.raw_text().trim().is_empty() {
                    shape.code.push(self.raw_text());
                }
            }
            "a" => {
                let href = self.attribute("href").unwrap_or_default().trim().to_owned();
                let mut text = String::new();
                self.visible_children(&mut text);
                let has_image =
                    self.all().iter().any(|inside| matches!(inside.name.as_str(), "img" | "ac:image"));
                let is_card = self.attribute("data-card-appearance").is_some();
                let is_safe = !["javascript:", "data:", "vbscript:"]
                    .iter()
                    .any(|scheme| href.to_lowercase().starts_with(scheme));
                children(place, shape);
                if !href.is_empty() && is_safe && (is_card || has_image || !text.trim().is_empty()) {
                    shape.links.push(if href.starts_with('/') { format!("{BASE}{href}") } else { href });
                }
            }
            "ac:link" => {
                children(place, shape);
                shape.links.extend(self.address(place));
            }
            "ac:image" => {
                children(place, shape);
                let of_other_page =
                    self.elements().any(|child| child.elements().any(|page| page.name == "ri:page"));
                let shown = if of_other_page { &mut shape.links } else { &mut shape.images };
                shown.extend(self.address(place));
            }
            "img" => shape.images.extend(self.attribute("src").map(str::to_owned)),
            "ac:placeholder" | "script" | "style" => {}
            _ => children(place, shape),
        }
    }

    fn macro_structure(&self, name: &str, place: Place<'_>, shape: &mut Shape) {
        if let Some(body) = self.elements().find(|child| child.name == "ac:plain-text-body") {
            let code = body.raw_text();
            if !place.in_cell && !code.trim().is_empty() {
                shape.code.push(code);
            }
            return;
        }
        match name {
            "jira" => {
                shape.links.extend(self.parameter("key").map(|key| format!("{BASE}/browse/{key}")));
            }
            "mathblock" if !place.in_cell => shape.code.extend(self.parameter("body")),
            "include" | "excerpt-include" | "children" | "view-file" => {
                shape.links.extend(self.address(place));
            }
            "widget" => shape.links.extend(self.parameter("url").or_else(|| self.address(place))),
            "iframe" => shape.links.extend(self.parameter("src").or_else(|| self.address(place))),
            "drawio" => {
                let file = self.parameter("diagramName").map(|name| match name.ends_with(".png") {
                    true => name,
                    false => name + ".png",
                });
                shape.images.extend(file.map(|file| format!("{BASE}/wiki/download/attachments/1/{file}")));
            }
            _ => {
                let bodies = self.elements().filter(|child| child.name == "ac:rich-text-body");
                bodies.for_each(|body| body.structure(place, shape));
            }
        }
    }

    fn table_structure(&self, place: Place<'_>, shape: &mut Shape) {
        let grid = self.grid();
        let width = grid.iter().map(Vec::len).max().unwrap_or(0);
        if width == 0 {
            return;
        }
        let text = |cell: Option<&Element>| {
            let mut text = String::new();
            if let Some(cell) = cell {
                cell.visible_children(&mut text);
            }
            words(&text).join(" ")
        };
        let mut table: Vec<Vec<String>> = grid
            .iter()
            .map(|row| (0..width).map(|column| text(row.get(column).copied().flatten())).collect())
            .collect();
        let has_head = self.rows().first().is_some_and(|(row, section)| {
            let mut cells = row.elements().filter(|cell| matches!(cell.name.as_str(), "td" | "th"));
            *section == "thead" || cells.all(|cell| cell.name == "th")
        });
        if !has_head {
            table.insert(0, vec![String::new(); width]);
        }
        shape.tables.push(table);
        let place = Place { in_cell: true, ..place };
        for cell in grid.into_iter().flatten().flatten() {
            cell.elements().for_each(|child| child.structure(place, shape));
        }
    }

    /// Where a link, an image or a macro that names a page or file leads to.
    fn address(&self, place: Place<'_>) -> Option<String> {
        let all = self.all();
        let Some(resource) = all.iter().find(|element| element.name.starts_with("ri:")) else {
            return self.attribute("ac:anchor").map(|anchor| format!("#{anchor}"));
        };
        let attribute = |name: &str| resource.attribute(name).filter(|value| !value.is_empty());
        let page = |page: &Element| {
            let title = page.attribute("ri:content-title")?;
            let space = page.attribute("ri:space-key").unwrap_or(place.space_key);
            let day = page.attribute("ri:posting-day").map(|day| format!("/{day}")).unwrap_or_default();
            Some(format!("{BASE}/wiki/display/{space}{day}/{}", title.replace('+', "%2B").replace(' ', "+")))
        };
        let by_id = |id: &str| format!("{BASE}/wiki/pages/viewpage.action?pageId={id}");
        let address = match resource.name.as_str() {
            "ri:page" | "ri:blog-post" => match attribute("ri:content-id") {
                Some(id) => Some(by_id(id)),
                None => page(resource),
            },
            "ri:attachment" => match resource.elements().find(|inside| inside.name.starts_with("ri:")) {
                Some(other) if other.attribute("ri:content-id").is_none() => page(other),
                other => {
                    let id = other.and_then(|other| other.attribute("ri:content-id")).unwrap_or("1");
                    attribute("ri:filename")
                        .map(|file| format!("{BASE}/wiki/download/attachments/{id}/{file}"))
                }
            },
            "ri:user" => attribute("ri:account-id").map(|id| format!("{BASE}/wiki/people/{id}")),
            "ri:space" => attribute("ri:space-key").map(|key| format!("{BASE}/wiki/spaces/{key}")),
            "ri:content-entity" => attribute("ri:content-id").map(by_id),
            "ri:url" => attribute("ri:value").map(str::to_owned),
            _ => None,
        }?;
        Some(match self.attribute("ac:anchor") {
            Some(anchor) => format!("{address}#{anchor}"),
            None => address,
        })
    }
}

/// The workspace of every page that is read.
pub const BASE: &str = "https://example.atlassian.net";

/// Where in a page an element stands.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// Lists around it, up to the cell that it stands in.
    depth: usize,
    in_cell: bool,
    space_key: &'a str,
}

impl<'a> Place<'a> {
    /// The top of a page of this space.
    pub fn top(space_key: &'a str) -> Self {
        Self { depth: 0, in_cell: false, space_key }
    }

    fn deeper(self) -> Self {
        Self { depth: self.depth + 1, ..self }
    }
}

/// What a page is made of. Headings, list items and code blocks count outside of table cells only, because a cell holds
/// one line.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// Level and words.
    pub headings: Vec<(u8, String)>,
    /// The code of each block, byte for byte.
    pub code: Vec<String>,
    /// How deep each list item is nested; whether it is done, if it is a task with text.
    pub items: Vec<(usize, Option<bool>)>,
    /// Tables of rows of cells: the words of each.
    pub tables: Vec<Vec<Vec<String>>>,
    /// Where each link leads to.
    pub links: Vec<String>,
    /// Where each image is.
    pub images: Vec<String>,
}
