//! The stack of open elements, and what each does when it begins and ends. What elements of one kind write stands in the
//! modules below.

mod adf;
mod links_and_images;
mod lists_and_tables;
mod macro_content;

use std::borrow::Cow;
use std::collections::BTreeMap;

use memchr::memchr;

use super::blocks::{Blocks, List};
use super::elements::{Element, Kind};
use super::entities::{decode, push_decoded};
use super::inline::{Inline, Mark};
use super::macros::{self, Becomes};
use super::tables::{Allowance, Section, Span, Table};
use super::targets::{self, Target};
use super::tokenizer::{Tag, Token, Tokenizer};
use super::{Markdown, Notice, Page};

/// How far up the stack an element looks for the one it belongs to. Deeper than any real page nests; bounded, so that
/// a page of crossed tags takes linear time.
const REACH: usize = 256;

/// Tables inside of tables inside of tables: deeper ones show their cells as blocks, because each level copies what
/// is inside of it.
const DEEPEST_TABLE: usize = 8;

/// The notice of lists, quotes and tables that are nested deeper than they are shown.
const LEVELS_FLATTENED: &str = "levels of nesting flattened";

/// An element that has not ended.
struct Frame<'a> {
    kind: &'static Kind,
    name: &'a str,
    state: State<'a>,
}

/// What an element keeps until it ends.
enum State<'a> {
    None,
    /// Its content is not shown; the elements inside of it do nothing.
    Hidden,
    /// Its text is captured.
    Captured,
    /// It was captured or hidden by one further up.
    Inert,
    Container,
    List(List),
    /// A list that goes on with the item before it, because it stands directly in another list.
    NestedList(List),
    /// A list item or table part that has lost its list or table.
    Stray,
    Table(Box<Table>),
    /// A table that is nested too deep to be one.
    FlatTable,
    Cell(Span),
    Strike,
    Code,
    Link(Box<LinkState<'a>>),
    Anchor(Box<AnchorState<'a>>),
    Image(Box<ImageState<'a>>),
    Macro(Box<MacroState<'a>>),
    Task {
        done: bool,
        open: bool,
    },
    Adf {
        shown: bool,
        /// Its panel, for the fallback.
        panel: Option<Panel>,
    },
    AdfNode(AdfNode),
}

/// A node of the new editor's own format.
enum AdfNode {
    Panel(Panel),
    DecisionItem,
    Other,
}

/// A panel of the new editor's own format: the kind of its alert, once that is known.
type Panel = Option<&'static str>;

struct AnchorState<'a> {
    href: Cow<'a, str>,
    counts: bool,
    card: bool,
}

struct LinkState<'a> {
    target: Target<'a>,
    counts: bool,
    /// What had been shown when the link began: a link that shows nothing shows the name of its target.
    shown: usize,
}

struct ImageState<'a> {
    tag: Tag<'a>,
    target: Target<'a>,
    written: bool,
}

struct MacroState<'a> {
    name: Cow<'a, str>,
    becomes: Becomes,
    parameters: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    target: Target<'a>,
    has_body: bool,
}

impl MacroState<'_> {
    fn parameter(&self, name: &str) -> Option<&str> {
        let found = self.parameters.iter().find(|(found, _)| found == name);
        found.map(|(_, value)| value.trim()).filter(|value| !value.is_empty())
    }
}

/// The document, or a table cell under way.
struct Level {
    blocks: Blocks,
    inline: Inline,
    /// The heading under way: what a block inside of it would make a paragraph stays a heading.
    heading: Option<u8>,
    /// What had been shown when an object ended that stands by itself, such as an image.
    object_end: Option<usize>,
}

impl Level {
    fn new(in_cell: bool) -> Self {
        Self { blocks: Blocks::new(in_cell), inline: Inline::new(in_cell), heading: None, object_end: None }
    }

    /// Makes it as if it were new, with the room that it has.
    fn reset(&mut self) {
        self.blocks.reset();
        self.inline.reset();
        (self.heading, self.object_end) = (None, None);
    }
}

/// Converts one page.
pub(super) struct Converter<'a> {
    page: &'a Page<'a>,
    tokens: Tokenizer<'a>,
    stack: Vec<Frame<'a>>,
    document: Level,
    /// Cells under way, innermost last, and behind them those that have ended, for the next ones.
    cells: Vec<Level>,
    /// How many of them are under way.
    open_cells: usize,
    /// How many open elements hide what is inside of them.
    hidden: usize,
    /// The text inside of the element that captures it.
    capture: Option<Cow<'a, str>>,
    /// Text whose references are replaced.
    decoded: String,
    tables: usize,
    /// A table that has ended, for the next one.
    spare_table: Option<Box<Table>>,
    /// The lines of the table that ended last.
    lines: String,
    /// For the spans of all tables.
    allowance: Allowance,
    notices: BTreeMap<String, u32>,
}

impl<'a> Converter<'a> {
    pub(super) fn new(page: &'a Page<'a>) -> Self {
        let mut document = Level::new(false);
        document.blocks.reserve(page.storage.len() / 2 + page.title.len() + 16);
        Self {
            page,
            // A byte order mark says how the page was stored.
            tokens: Tokenizer::new(page.storage.strip_prefix('\u{feff}').unwrap_or(page.storage)),
            stack: Vec::with_capacity(32),
            document,
            cells: Vec::new(),
            open_cells: 0,
            hidden: 0,
            capture: None,
            decoded: String::with_capacity(256),
            tables: 0,
            spare_table: None,
            lines: String::new(),
            allowance: Allowance::default(),
            notices: BTreeMap::new(),
        }
    }

    pub(super) fn run(mut self) -> Markdown {
        if !self.page.title.trim().is_empty() {
            self.document.inline.push_text(self.page.title);
            self.document.blocks.heading(1, self.document.inline.finish(None));
            self.document.inline.clear();
        }
        loop {
            if let Some(frame) = self.stack.last()
                && self.tokens.skip_end(frame.name)
            {
                self.close_innermost();
                continue;
            }
            let Some(token) = self.tokens.advance() else { break };
            match token {
                Token::Text(raw) => self.text(raw),
                Token::Cdata(text) => self.plain_text(text),
                Token::Start(tag) => self.start(tag),
                Token::End(name) => self.end(name),
            }
        }
        while let Some(frame) = self.stack.pop() {
            self.close(frame);
        }
        self.flush();
        let flattened = self.document.blocks.flattened();
        if flattened > 0 {
            self.notice(LEVELS_FLATTENED, flattened);
        }
        let notices = self.notices.into_iter().map(|(what, count)| Notice { what, count }).collect();
        Markdown { text: self.document.blocks.into_text(), notices }
    }

    fn level(&mut self) -> &mut Level {
        let cells = self.cells.get_mut(..self.open_cells).unwrap_or_default();
        cells.last_mut().unwrap_or(&mut self.document)
    }

    fn begin_cell(&mut self) {
        match self.cells.get_mut(self.open_cells) {
            Some(level) => level.reset(),
            None => self.cells.push(Level::new(true)),
        }
        self.open_cells += 1;
    }

    fn notice(&mut self, what: &str, count: usize) {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        match self.notices.get_mut(what) {
            Some(sum) => *sum = sum.saturating_add(count),
            None => {
                self.notices.insert(what.to_owned(), count);
            }
        }
    }

    /// The innermost open element that `pick` answers for.
    fn nearest<R>(&mut self, mut pick: impl FnMut(&mut Frame<'a>) -> Option<R>) -> Option<R> {
        self.stack.iter_mut().rev().take(REACH).find_map(&mut pick)
    }

    /// Text with references.
    fn text(&mut self, raw: &'a str) {
        if self.hidden > 0 {
        } else if self.capture.is_some() {
            self.capture_text(decode(raw));
        } else if let Some(first) = memchr(b'&', raw.as_bytes()) {
            let mut decoded = std::mem::take(&mut self.decoded);
            decoded.clear();
            push_decoded(&mut decoded, raw, first);
            self.level().inline.push_text(&decoded);
            self.decoded = decoded;
        } else {
            self.level().inline.push_text(raw);
        }
    }

    /// Text as it stands.
    fn plain_text(&mut self, text: &'a str) {
        if self.hidden > 0 {
        } else if self.capture.is_some() {
            self.capture_text(Cow::Borrowed(text));
        } else {
            self.level().inline.push_text(text);
        }
    }

    fn capture_text(&mut self, text: Cow<'a, str>) {
        match &mut self.capture {
            Some(capture) if capture.is_empty() => *capture = text,
            Some(capture) => capture.to_mut().push_str(&text),
            None => {}
        }
    }

    /// Ends the paragraph under way.
    #[inline]
    fn flush(&mut self) {
        let inline = &mut self.level().inline;
        if inline.is_idle() {
            inline.drop_space();
        } else {
            self.end_paragraph();
        }
    }

    #[inline(never)]
    fn end_paragraph(&mut self) {
        let inline = &self.level().inline;
        // Where nothing is written, white space and finished marks must not leak into the next block.
        let is_empty = inline.is_empty();
        let target = if !is_empty && inline.link_has_text() { self.open_link_address() } else { None };
        let level = self.level();
        let has_breaks = level.inline.has_breaks();
        let text = level.inline.finish(target.as_deref());
        match level.heading {
            _ if is_empty => {}
            Some(heading) => level.blocks.heading(heading, text),
            None if has_breaks => level.blocks.broken_paragraph(text),
            None => level.blocks.paragraph(text),
        }
        level.inline.clear();
    }

    /// Whether what begins now is a part of a line of text.
    fn in_text(&self) -> bool {
        let innermost = self.stack.iter().rev().take(REACH).find_map(|frame| match frame.kind.element {
            Element::Paragraph | Element::Heading(_) => Some(true),
            Element::Span
            | Element::Strong
            | Element::Emphasis
            | Element::Strike
            | Element::Code
            | Element::Anchor
            | Element::Link
            | Element::LinkBody
            | Element::Macro => None,
            Element::RichTextBody if !matches!(frame.state, State::Container) => None,
            _ => Some(false),
        });
        innermost.unwrap_or(false)
    }

    fn start(&mut self, tag: Tag<'a>) {
        let kind = Kind::of(tag.name);
        self.close_implied(kind);
        let state = if self.hidden > 0 {
            if matches!(kind.element, Element::Hidden | Element::HiddenText) {
                self.hidden += 1;
                State::Hidden
            } else {
                State::Inert
            }
        } else if self.capture.is_some() {
            self.begin_captured(kind.element, &tag)
        } else {
            self.begin(kind.element, tag)
        };
        // Made where it is needed: one for both would be made elsewhere and copied.
        if tag.empty || kind.is_void() {
            self.close(Frame { kind, name: tag.name, state });
        } else {
            self.stack.push(Frame { kind, name: tag.name, state });
        }
    }

    /// An end tag that may not be that of the innermost element.
    fn end(&mut self, name: &str) {
        if self.stack.last().is_some_and(|frame| frame.name == name) {
            if let Some(frame) = self.stack.pop() {
                self.close(frame);
            }
            return;
        }
        let kind = Kind::of(name);
        // A paragraph that was opened outside of a cell or a macro's body is not ended by a stray tag inside of it.
        let crosses = name.contains(':') || kind.is_table_part();
        let found = self
            .stack
            .iter()
            .rev()
            .take(REACH)
            .take_while(|frame| crosses || !frame.kind.is_scope())
            .position(|frame| frame.name.eq_ignore_ascii_case(name));
        let Some(depth) = found else {
            // As a browser does: an end without a beginning is a line break, an empty paragraph or nothing.
            if self.hidden == 0 && self.capture.is_none() {
                match kind.element {
                    Element::Break => self.level().inline.push_break(),
                    Element::Paragraph => self.flush(),
                    _ => {}
                }
            }
            return;
        };
        for _ in 0..=depth {
            if let Some(frame) = self.stack.pop() {
                self.close(frame);
            }
        }
    }

    /// Ends what an author may leave open: the item, cell or row before this one.
    fn close_implied(&mut self, kind: &Kind) {
        // Text that is only read ends where something begins that cannot be a part of it.
        while let Some(frame) =
            self.stack.pop_if(|frame| frame.kind.is_read_only() && !kind.may_stand_in_parameter())
        {
            self.close(frame);
        }
        if self.capture.is_some() && self.hidden == 0 && !kind.may_stand_in_preformatted() {
            self.break_preformatted();
        }
        if kind.ends_others() {
            self.close_others(kind);
        }
    }

    fn close_others(&mut self, kind: &Kind) {
        let element = kind.element;
        let (closes, within): (&[Element], &[Element]) = match element {
            // `<p>a<p>b`: only a paragraph that directly holds this one, or a macro's body would lose its place.
            Element::Paragraph => {
                if let Some(frame) = self.stack.pop_if(|frame| frame.kind.element == element) {
                    self.close(frame);
                }
                return;
            }
            Element::Item => (&[Element::Item], &[Element::BulletList, Element::OrderedList]),
            Element::Cell | Element::HeaderCell => (&[Element::Cell, Element::HeaderCell], &[Element::Table]),
            Element::Row => (&[Element::Row], &[Element::Table]),
            // Links do not nest: as in a browser, the outer one ends where the inner one begins.
            _ => (&[Element::Anchor], &[]),
        };
        let open = self
            .stack
            .iter()
            .rev()
            .take(REACH)
            .take_while(|frame| !within.contains(&frame.kind.element))
            .take_while(|frame| kind.is_table_part() || !frame.kind.is_scope())
            .position(|frame| closes.contains(&frame.kind.element));
        for _ in 0..open.map_or(0, |depth| depth + 1) {
            if let Some(frame) = self.stack.pop() {
                self.close(frame);
            }
        }
    }

    /// An element inside of captured text: only what a parameter names matters.
    fn begin_captured(&mut self, element: Element, tag: &Tag<'a>) -> State<'a> {
        match element {
            Element::Resource(resource) => {
                self.nearest(|frame| match &mut frame.state {
                    State::Macro(state) => {
                        state.target.add(resource, tag);
                        Some(())
                    }
                    _ => None,
                });
            }
            Element::Break => self.capture_text(Cow::Borrowed("\n")),
            Element::Paragraph | Element::Block
                if self.capture.as_ref().is_some_and(|text| !text.is_empty() && !text.ends_with('\n')) =>
            {
                self.capture_text(Cow::Borrowed("\n"));
            }
            Element::Time => self.capture_text(decode(tag.attribute("datetime").unwrap_or_default())),
            Element::Hidden | Element::HiddenText => {
                self.hidden += 1;
                return State::Hidden;
            }
            _ => {}
        }
        State::Inert
    }

    fn capture(&mut self) -> State<'a> {
        self.capture = Some(Cow::Borrowed(""));
        State::Captured
    }

    fn begin(&mut self, element: Element, tag: Tag<'a>) -> State<'a> {
        match element {
            Element::Span => {
                if tag.name == "span"
                    && tag.attribute("style").is_some_and(|style| style.contains("line-through"))
                {
                    return self.begin(Element::Strike, tag);
                }
            }
            // Marks inside of code would be a part of the code.
            Element::Strong | Element::Emphasis | Element::Strike if self.level().inline.in_code() => {
                return State::Inert;
            }
            Element::Heading(heading) => {
                self.flush();
                self.level().heading = Some(heading);
            }
            Element::Paragraph | Element::Block | Element::TableSection => self.flush(),
            Element::Strong => self.level().inline.begin(Mark::Strong),
            Element::Emphasis => self.level().inline.begin(Mark::Emphasis),
            Element::Strike => {
                self.level().inline.begin(Mark::Strike);
                return State::Strike;
            }
            Element::Code => {
                self.level().inline.begin_code();
                return State::Code;
            }
            Element::Break => self.level().inline.push_break(),
            Element::BulletList | Element::TaskList => return self.begin_list(None),
            Element::OrderedList => {
                let start = tag.attribute("start").and_then(|start| start.trim().parse().ok());
                return self.begin_list(Some(start.unwrap_or(1).min(999_999_999)));
            }
            Element::Item => return self.begin_item(None),
            Element::Quote => {
                self.flush();
                self.level().blocks.begin_quote(None);
                return State::Container;
            }
            Element::Preformatted => {
                self.flush();
                return self.capture();
            }
            Element::Rule => {
                self.flush();
                self.level().blocks.rule();
            }
            Element::Table => {
                self.flush();
                self.tables += 1;
                if self.tables > DEEPEST_TABLE {
                    self.notice(LEVELS_FLATTENED, 1);
                    return State::FlatTable;
                }
                return State::Table(self.spare_table.take().unwrap_or_default());
            }
            Element::Row => {
                let section = match self.stack.last().map(|frame| frame.name) {
                    Some(name) if name.eq_ignore_ascii_case("thead") => Section::Head,
                    Some(name) if name.eq_ignore_ascii_case("tfoot") => Section::Foot,
                    _ => Section::Body,
                };
                let table = self.nearest(|frame| match &mut frame.state {
                    State::Table(table) => {
                        table.begin_row(section);
                        Some(true)
                    }
                    State::FlatTable => Some(false),
                    _ => None,
                });
                if table != Some(true) {
                    self.flush();
                    return State::Stray;
                }
            }
            Element::Cell | Element::HeaderCell => {
                let table = self.nearest(|frame| match &frame.state {
                    State::Table(_) => Some(true),
                    State::FlatTable => Some(false),
                    _ => None,
                });
                if table != Some(true) {
                    self.flush();
                    return State::Stray;
                }
                self.begin_cell();
                return State::Cell(Span::of(tag.attribute("colspan"), tag.attribute("rowspan")));
            }
            Element::Anchor => {
                let card = tag.attribute("data-card-appearance").is_some();
                if tag.attribute("data-card-appearance") == Some("block") && !self.in_text() {
                    self.flush();
                }
                let href = decode(tag.attribute("href").unwrap_or_default());
                // Without a target it is text. Without any `href` it only names a place of the page.
                let has_target = targets::link(&href, self.page.base_url).is_some();
                if !has_target && tag.attribute("href").is_some() {
                    self.notice_link(Some(targets::missing(&href)));
                }
                let counts = has_target && self.level().inline.begin_link();
                return State::Anchor(Box::new(AnchorState { href, counts, card }));
            }
            Element::HtmlImage => {
                let alt = decode(tag.attribute("alt").unwrap_or_default());
                let source = decode(tag.attribute("src").unwrap_or_default());
                let address = targets::link(&source, self.page.base_url);
                if address.is_none() {
                    self.notice_image(Some(targets::missing(&source)));
                }
                self.image(&alt, address.as_deref());
            }
            Element::Time => {
                let date = decode(tag.attribute("datetime").unwrap_or_default());
                self.level().inline.push_text(&date);
                // The text of the element, if any, says the same.
                if !tag.empty && !date.is_empty() {
                    self.hidden += 1;
                    return State::Hidden;
                }
            }
            Element::Emoticon => self.emoticon(&tag),
            Element::Macro => {
                let name = decode(tag.attribute("ac:name").unwrap_or_default());
                let becomes = macros::becomes(&name);
                if becomes == Becomes::Unknown && !name.is_empty() {
                    self.notice(&format!("unknown macro: {name}"), 1);
                }
                return State::Macro(Box::new(MacroState {
                    name,
                    becomes,
                    parameters: Vec::new(),
                    target: Target::default(),
                    has_body: false,
                }));
            }
            Element::Parameter => {
                let name = decode(tag.attribute("ac:name").unwrap_or_default());
                self.nearest(|frame| match &mut frame.state {
                    State::Macro(state) => {
                        state.parameters.push((name.clone(), Cow::Borrowed("")));
                        Some(())
                    }
                    _ => None,
                });
                return self.capture();
            }
            Element::RichTextBody => return self.begin_body(),
            Element::PlainTextBody => return self.capture(),
            Element::Link => {
                let mut target = Target::default();
                target.anchor = tag.attribute("ac:anchor").map(decode).filter(|anchor| !anchor.is_empty());
                let shown = self.level().inline.shown();
                let counts = self.level().inline.begin_link();
                return State::Link(Box::new(LinkState { target, counts, shown }));
            }
            Element::LinkBody | Element::PlainTextLinkBody => {}
            Element::Image => {
                return State::Image(Box::new(ImageState { tag, target: Target::default(), written: false }));
            }
            Element::Caption => {
                self.write_image();
                self.flush();
            }
            Element::Resource(resource) => {
                self.nearest(|frame| {
                    match &mut frame.state {
                        State::Link(link) => link.target.add(resource, &tag),
                        State::Image(image) => image.target.add(resource, &tag),
                        State::Macro(state) => state.target.add(resource, &tag),
                        _ => return None,
                    }
                    Some(())
                });
            }
            Element::Task => return State::Task { done: false, open: false },
            Element::TaskStatus | Element::AdfAttribute => return self.capture(),
            Element::TaskBody => self.begin_task(),
            Element::AdfExtension => {
                self.flush();
                return State::Adf { shown: false, panel: None };
            }
            Element::AdfNode => return self.begin_adf_node(&tag),
            Element::AdfContent => return self.begin_adf_content(tag.empty),
            Element::AdfFallback => {
                let found = self.nearest(|frame| match &mut frame.state {
                    State::Adf { shown, panel } => Some((*shown, panel.take())),
                    _ => None,
                });
                self.flush();
                match found {
                    // The fallback repeats the content (facts E5).
                    Some((true, _)) => {
                        self.hidden += 1;
                        return State::Hidden;
                    }
                    Some((false, Some(panel))) => {
                        self.level().blocks.begin_quote(panel);
                        return State::Container;
                    }
                    _ => {}
                }
            }
            Element::Hidden | Element::HiddenText => {
                self.hidden += 1;
                return State::Hidden;
            }
            Element::Void => {}
        }
        State::None
    }

    /// Ends the innermost element.
    #[inline]
    fn close_innermost(&mut self) {
        match self.stack.last() {
            // What kept nothing need not be moved to be closed.
            Some(Frame { kind, state: State::None, .. }) => {
                let element = kind.element;
                self.stack.pop();
                self.close_plain(element);
            }
            _ => {
                if let Some(frame) = self.stack.pop() {
                    self.close(frame);
                }
            }
        }
    }

    fn close(&mut self, frame: Frame<'a>) {
        match frame.state {
            State::None => self.close_plain(frame.kind.element),
            State::Inert => {}
            // The body of a hidden macro is hidden, and is its body all the same.
            State::Hidden => self.hidden = self.hidden.saturating_sub(1),
            State::Captured => {
                let text = self.capture.take().unwrap_or_default();
                self.captured(frame.kind.element, frame.name, text);
            }
            State::Strike => self.level().inline.end(Mark::Strike),
            State::Code => self.level().inline.end_code(),
            State::Container => {
                self.flush();
                self.level().blocks.end_container();
            }
            State::List(list) => {
                self.flush();
                self.level().blocks.end_list(list);
            }
            State::NestedList(list) => {
                self.flush();
                self.level().blocks.end_list(list);
                self.level().blocks.end_container();
            }
            State::Table(table) => self.end_table(table),
            State::FlatTable => {
                self.flush();
                self.tables -= 1;
            }
            State::Cell(span) => {
                self.flush();
                self.open_cells = self.open_cells.saturating_sub(1);
                let Some(level) = self.cells.get(self.open_cells) else { return };
                let header = frame.kind.element == Element::HeaderCell;
                let table =
                    self.stack.iter_mut().rev().take(REACH).find_map(|frame| match &mut frame.state {
                        State::Table(table) => Some(table),
                        _ => None,
                    });
                if let Some(table) = table {
                    table.push_cell(level.blocks.text(), header, span);
                }
            }
            State::Link(link) => self.end_link(&link),
            State::Anchor(anchor) => {
                if !anchor.counts {
                    return;
                }
                let address = targets::link(&anchor.href, self.page.base_url);
                if anchor.card && !self.level().inline.link_has_text() {
                    self.level().inline.push_text(&anchor.href);
                }
                self.level().inline.end_link(address.as_deref());
            }
            State::Image(image) if !image.written => self.show_image(&image),
            State::AdfNode(AdfNode::Panel(panel)) => {
                self.nearest(|frame| match &mut frame.state {
                    State::Adf { panel: of_extension, .. } => {
                        *of_extension = Some(panel);
                        Some(())
                    }
                    _ => None,
                });
            }
            State::Macro(state) => self.end_macro(&state),
            State::Task { open, .. } => {
                self.flush();
                if open {
                    self.level().blocks.end_container();
                }
            }
            State::Stray | State::Adf { .. } => self.flush(),
            State::Image(_) | State::AdfNode(_) => {}
        }
    }

    /// The end of an element that kept nothing.
    fn close_plain(&mut self, element: Element) {
        match element {
            Element::Paragraph
            | Element::Block
            | Element::TableSection
            | Element::Caption
            | Element::RichTextBody
            | Element::TaskBody
            | Element::AdfContent
            | Element::AdfFallback => self.flush(),
            Element::Strong => self.level().inline.end(Mark::Strong),
            Element::Emphasis => self.level().inline.end(Mark::Emphasis),
            Element::Heading(_) => {
                self.flush();
                self.level().heading = None;
            }
            _ => {}
        }
    }

    /// What a captured text is for.
    fn captured(&mut self, element: Element, name: &str, text: Cow<'a, str>) {
        match element {
            Element::Preformatted => self.preformatted(&text),
            Element::Parameter => {
                let state =
                    self.stack.iter_mut().rev().take(REACH).find_map(|frame| match &mut frame.state {
                        State::Macro(state) => Some(state),
                        _ => None,
                    });
                if let Some((_, value)) = state.and_then(|state| state.parameters.last_mut()) {
                    *value = text;
                }
            }
            Element::PlainTextBody => self.plain_text_body(&text),
            Element::TaskStatus => {
                let complete = text.trim() == "complete";
                self.nearest(|frame| match &mut frame.state {
                    State::Task { done, .. } => {
                        *done = complete;
                        Some(())
                    }
                    _ => None,
                });
            }
            Element::AdfAttribute => {
                let alert = macros::panel_alert(text.trim());
                self.nearest(|frame| match &mut frame.state {
                    State::AdfNode(node) => {
                        // Of all attributes only the type of a panel is one of these words.
                        if let (AdfNode::Panel(panel), Some(_)) = (node, alert) {
                            *panel = alert;
                        }
                        Some(())
                    }
                    _ => None,
                });
            }
            _ => debug_assert!(false, "{name} is not captured"),
        }
    }

    fn preformatted(&mut self, text: &str) {
        // HTML drops the line break behind the tag.
        let text = text.strip_prefix('\n').unwrap_or(text);
        if !text.trim().is_empty() {
            self.level().blocks.code(text, "");
        }
    }

    /// A table, a macro or the like begins inside of preformatted text: what comes before it is written, what follows
    /// is ordinary text.
    fn break_preformatted(&mut self) {
        let broken = self.nearest(|frame| match (frame.kind.element, &frame.state) {
            (Element::Preformatted, State::Captured) => {
                frame.state = State::None;
                Some(true)
            }
            (_, State::Captured) => Some(false),
            _ => None,
        });
        if broken == Some(true) {
            let text = self.capture.take().unwrap_or_default();
            self.preformatted(&text);
        }
    }
}
