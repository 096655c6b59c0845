//! Writes blocks one below the other, inside of quotes and list items, or joined within a table cell.

use std::borrow::Cow;

use memchr::memchr;

use super::bytes;
use super::escape;
use super::inline::{code_span, shows_nothing};

/// Deeper quotes and lists are written at this depth: each level adds to every line, and output has to stay linear.
const DEEPEST: usize = 24;

/// By how much the widest marker, `999999999. `, is wider than a bullet.
const WIDER: &str = "         ";

/// What the lines of a block are indented with.
#[derive(Debug)]
struct Container {
    /// Before the first line; taken by it. As long as it waits, the container has left no trace.
    first: Option<Marker>,
    /// Whether it is a done or an open task, whose box stands behind `first`: only a paragraph can carry it.
    task: Option<bool>,
    /// The line of an alert, before the first block.
    alert: Option<&'static str>,
    /// Whether it follows what is before it without a blank line.
    tight: bool,
    /// By how many spaces an item's marker is wider than a bullet.
    wider: u8,
    /// Whether the container holds a block already.
    filled: bool,
    kind: ContainerKind,
    /// The list that it is an item of.
    list: Option<u32>,
    /// The list whose item ended last in this container, if nothing followed it.
    item_ended: Option<u32>,
    /// Whether that item was empty: it cannot be gone on with.
    item_was_empty: bool,
    /// The list that ended last in this container, if nothing followed it.
    last_list: Option<LastList>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ContainerKind {
    Document,
    Quote,
    Item,
}

/// What the first line of a container begins with.
#[derive(Debug, Clone, Copy)]
enum Marker {
    Quote,
    Bullet { alternate: bool },
    Number { number: u32, alternate: bool },
}

impl Marker {
    /// By how many spaces it is wider than a bullet.
    fn wider(self) -> u8 {
        match self {
            Self::Quote | Self::Bullet { .. } => 0,
            Self::Number { number, .. } => number.checked_ilog10().map_or(1, |log| log as u8 + 1),
        }
    }

    fn push(self, text: &mut String) {
        match self {
            Self::Quote => text.push_str("> "),
            Self::Bullet { alternate } => text.push_str(if alternate { "* " } else { "- " }),
            Self::Number { number, alternate } => {
                let mut unit = 10_u32.pow(number.checked_ilog10().unwrap_or(0));
                while unit > 0 {
                    text.extend(char::from_digit(number / unit % 10, 10));
                    unit /= 10;
                }
                text.push_str(if alternate { ") " } else { ". " });
            }
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct LastList {
    ordered: bool,
    alternate: bool,
}

/// A list under way.
#[derive(Debug, Clone, Copy)]
pub(super) struct List {
    /// The number of the next item; none for bullets.
    pub(super) number: Option<u32>,
    alternate: bool,
    /// How many items have begun, up to 255.
    pub(super) items: u8,
    /// By how much the content of the last item is indented further than that of a bullet.
    wider: u8,
    /// Tells it from the other lists of the page.
    id: u32,
}

/// Where blocks go.
#[derive(Debug)]
pub(super) struct Blocks {
    text: String,
    /// Joined with `<br>` instead of stacked.
    in_cell: bool,
    containers: Vec<Container>,
    /// Containers beyond [`DEEPEST`], which leave no trace.
    too_deep: usize,
    /// How many there were in all.
    flattened: usize,
    /// How many lists have begun.
    lists: u32,
    /// Whether the last block was a paragraph in an item, which a tight list may follow without a blank line.
    after_paragraph: bool,
}

impl Blocks {
    pub(super) fn new(in_cell: bool) -> Self {
        Self {
            text: String::new(),
            in_cell,
            containers: vec![Container::new(ContainerKind::Document, None, 0)],
            too_deep: 0,
            flattened: 0,
            lists: 0,
            after_paragraph: false,
        }
    }

    pub(super) fn in_cell(&self) -> bool {
        self.in_cell
    }

    pub(super) fn reserve(&mut self, bytes: usize) {
        self.text.reserve(bytes);
    }

    pub(super) fn into_text(self) -> String {
        self.text
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Makes it as if it were new, with the room that it has.
    pub(super) fn reset(&mut self) {
        self.text.clear();
        self.containers.clear();
        self.containers.push(Container::new(ContainerKind::Document, None, 0));
        (self.too_deep, self.flattened, self.lists, self.after_paragraph) = (0, 0, 0, false);
    }

    /// Levels of lists and quotes that are not shown, because they are too deep.
    pub(super) fn flattened(&self) -> usize {
        self.flattened
    }

    /// A paragraph of one line of escaped text.
    pub(super) fn paragraph(&mut self, line: &str) {
        if line.is_empty() {
            return;
        }
        self.begin_block(true);
        if self.in_cell {
            self.text.push_str(line);
            return;
        }
        debug_assert!(!line.contains('\n'), "{line:?} is no line");
        self.paragraph_line(line);
        self.after_paragraph = true;
    }

    /// A paragraph of escaped text with hard line breaks in it.
    pub(super) fn broken_paragraph(&mut self, text: &str) {
        if self.in_cell || text.is_empty() {
            self.paragraph(text);
            return;
        }
        self.begin_block(true);
        let mut rest = text;
        loop {
            let end = memchr(b'\n', rest.as_bytes());
            self.paragraph_line(end.and_then(|end| rest.get(..end)).unwrap_or(rest));
            let Some(end) = end else { break };
            rest = rest.get(end + 1..).unwrap_or_default();
            self.line_prefix(false);
        }
        self.after_paragraph = true;
    }

    fn paragraph_line(&mut self, line: &str) {
        if line.starts_with(|c: char| c.is_ascii_alphabetic()) {
            self.text.push_str(line);
            self.text.push('\n');
            return;
        }
        let line = line.trim_start_matches(' ');
        match escape::line_start(line).and_then(|at| line.split_at_checked(at)) {
            Some((head, tail)) => {
                self.text.push_str(head);
                self.text.push('\\');
                self.text.push_str(tail);
            }
            None => self.text.push_str(line),
        }
        self.text.push('\n');
    }

    /// A heading of escaped text.
    pub(super) fn heading(&mut self, level: u8, text: &str) {
        let line = match memchr(b'\n', text.as_bytes()) {
            Some(_) => Cow::Owned(text.replace("\\\n", " ")),
            None => Cow::Borrowed(text),
        };
        if line.is_empty() {
            return;
        }
        if self.in_cell {
            self.paragraph(&line);
            return;
        }
        self.begin_block(false);
        for _ in 0..level.clamp(1, 6) {
            self.text.push('#');
        }
        self.text.push(' ');
        // A run of `#` at the end would be taken for decoration, unless it touches a word.
        let kept = line.trim_end_matches('#');
        self.text.push_str(kept);
        if kept.len() < line.len() && (kept.is_empty() || kept.ends_with(' ')) {
            self.text.push('\\');
        }
        self.text.push_str(line.get(kept.len()..).unwrap_or_default());
        self.text.push('\n');
    }

    /// Lines that are Markdown as they stand, such as a table.
    pub(super) fn lines(&mut self, lines: &str) {
        if lines.is_empty() {
            return;
        }
        self.begin_block(false);
        self.push_lines(lines.trim_end_matches('\n'), false);
    }

    pub(super) fn rule(&mut self) {
        if self.in_cell {
            return;
        }
        let directly_in_item =
            self.containers.last().is_some_and(|c| c.kind == ContainerKind::Item && !c.filled);
        self.begin_block(false);
        // `- ---` is a rule and no item.
        self.text.push_str(if directly_in_item { "***\n" } else { "---\n" });
    }

    /// A code block. In a cell, a code span a line.
    pub(super) fn code(&mut self, code: &str, language: &str) {
        let code = shown_code(code);
        let code = code.strip_suffix('\n').unwrap_or(&code);
        if self.in_cell {
            let spans: Vec<String> = code
                .lines()
                .filter(|line| !line.trim().is_empty())
                .map(|line| code_span(line.trim_end(), true))
                .collect();
            self.paragraph(&spans.join("<br>"));
            return;
        }
        self.begin_block(false);
        let fence = (bytes::longest_run(b'`', code) + 1).max(3);
        self.text.extend(std::iter::repeat_n('`', fence));
        self.text.extend(language.chars().filter(|c| !c.is_whitespace() && !c.is_control() && *c != '`'));
        self.text.push('\n');
        if !code.is_empty() {
            self.line_prefix(code.starts_with('\n'));
            self.push_lines(code, true);
        }
        self.line_prefix(false);
        self.text.extend(std::iter::repeat_n('`', fence));
        self.text.push('\n');
    }

    /// Appends lines, of which the first has its prefix already. `blank`: an empty line's prefix has no space at its end.
    fn push_lines(&mut self, lines: &str, blank: bool) {
        if self.containers.len() > 1 {
            let mut rest = lines;
            while let Some(end) = memchr(b'\n', rest.as_bytes()) {
                let (line, after) = rest.split_at_checked(end + 1).unwrap_or((rest, ""));
                self.text.push_str(line);
                self.line_prefix(blank && (after.is_empty() || after.starts_with('\n')));
                rest = after;
            }
            self.text.push_str(rest);
        } else {
            self.text.push_str(lines);
        }
        self.text.push('\n');
    }

    /// A quote begins; `alert` is the kind of GitHub's alerts, which GitHub shows only where nothing is around them.
    pub(super) fn begin_quote(&mut self, alert: Option<&'static str>) {
        let mut container = Container::new(ContainerKind::Quote, Some(Marker::Quote), 0);
        container.alert = alert.filter(|_| self.containers.len() == 1);
        self.push(container);
    }

    /// A quote or an item ends.
    pub(super) fn end_container(&mut self) {
        if self.too_deep > 0 {
            self.too_deep -= 1;
            return;
        }
        if self.in_cell || self.containers.len() <= 1 {
            return;
        }
        // An empty item still shows its marker; an empty quote shows nothing.
        let empty_item = self.containers.last().is_some_and(|c| c.kind == ContainerKind::Item && !c.filled);
        if empty_item {
            self.begin_block(false);
            let end = self.text.trim_end_matches(' ').len();
            self.text.truncate(end);
            self.text.push('\n');
        }
        let ended = self.containers.pop();
        if let Some(container) = self.containers.last_mut() {
            container.item_ended = ended.and_then(|ended| ended.list);
            container.item_was_empty = empty_item;
        }
        self.after_paragraph = false;
    }

    /// A list begins.
    pub(super) fn begin_list(&mut self, start: Option<u32>) -> List {
        let last = self.containers.last().and_then(|container| container.last_list);
        // Two lists in a row would become one: the second takes the other marker.
        let alternate = last.is_some_and(|last| last.ordered == start.is_some() && !last.alternate);
        self.lists = self.lists.wrapping_add(1);
        List { number: start, alternate, items: 0, wider: 0, id: self.lists }
    }

    /// A list ends.
    pub(super) fn end_list(&mut self, list: List) {
        if list.items > 0
            && let Some(container) = self.containers.last_mut()
        {
            container.last_list =
                Some(LastList { ordered: list.number.is_some(), alternate: list.alternate });
        }
    }

    /// An item begins; `task` says whether it is a done or an open task.
    pub(super) fn begin_item(&mut self, list: &mut List, task: Option<bool>) {
        list.items = list.items.saturating_add(1);
        let alternate = list.alternate;
        let marker = match &mut list.number {
            Some(number) => {
                let marker = Marker::Number { number: *number, alternate };
                *number = number.saturating_add(1).min(999_999_999);
                marker
            }
            None => Marker::Bullet { alternate },
        };
        list.wider = marker.wider();
        // Between items, and between an item's own text and its list, there is no blank line; a numbered list that
        // does not begin with 1 needs one behind a paragraph.
        let starts_at_one = list.number.is_none_or(|next| next == 2);
        let parent_is_item = self.containers.last().is_some_and(|c| c.kind == ContainerKind::Item);
        // Text between two items ends their list.
        let follows_item =
            list.items > 1 && self.containers.last().is_some_and(|c| c.item_ended == Some(list.id));
        let tight = follows_item || (parent_is_item && self.after_paragraph && starts_at_one);
        let mut container = Container::new(ContainerKind::Item, Some(marker), list.wider);
        container.tight = tight;
        container.list = Some(list.id);
        container.task = task;
        self.push(container);
    }

    /// Goes on with the last item of the list: a list that stands between two items belongs to the first of them.
    /// Answers whether that could be; if so, it has to end like any other.
    pub(super) fn resume_item(&mut self, list: &List) -> bool {
        if !self
            .containers
            .last()
            .is_some_and(|container| container.item_ended == Some(list.id) && !container.item_was_empty)
        {
            return false;
        }
        let mut container = Container::new(ContainerKind::Item, None, list.wider);
        container.filled = true;
        container.list = Some(list.id);
        self.push(container);
        self.after_paragraph = true;
        true
    }

    fn push(&mut self, container: Container) {
        if self.in_cell {
            return;
        }
        if self.containers.len() > DEEPEST {
            self.too_deep += 1;
            self.flattened += 1;
            return;
        }
        self.after_paragraph = false;
        self.containers.push(container);
    }

    /// Makes room for a block: a blank line or a `<br>` before it, its prefix.
    fn begin_block(&mut self, is_paragraph: bool) {
        if self.in_cell {
            if !self.text.is_empty() {
                self.text.push_str("<br>");
            }
            return;
        }
        if let [document] = self.containers.as_mut_slice() {
            if document.filled {
                self.text.push('\n');
            }
            document.has_block();
            self.after_paragraph = false;
            return;
        }
        self.separate();
        // An alert has a line of its own; nothing but the document is around it.
        if let Some(alert) = self.containers.get_mut(1).and_then(|container| container.alert.take()) {
            self.prefix(2, false);
            self.text.push_str("[!");
            self.text.push_str(alert);
            self.text.push_str("]\n");
        }
        let begins = self.containers.last().is_some_and(|container| container.first.is_some());
        self.line_prefix(false);
        if let Some(container) = self.containers.last().filter(|_| begins && is_paragraph) {
            match container.task {
                Some(true) => self.text.push_str("[x] "),
                Some(false) => self.text.push_str("[ ] "),
                None => {}
            }
        }
        for container in &mut self.containers {
            container.has_block();
        }
        self.after_paragraph = false;
    }

    /// A blank line, unless the block is the first of what it stands in.
    fn separate(&mut self) {
        // The outermost container that begins with this block decides; those inside of it begin on the same line.
        let begins = self.containers.iter().position(|container| container.first.is_some());
        let (outside, tight) = match begins.and_then(|at| Some((at, self.containers.get(at)?))) {
            Some((at, container)) => (at, container.tight),
            None => (self.containers.len(), false),
        };
        let filled = self.containers.get(outside.saturating_sub(1)).is_some_and(|c| c.filled);
        if filled && !tight {
            self.prefix(outside, true);
            self.text.push('\n');
        }
    }

    /// The prefix of a line; of a blank one without trailing spaces.
    fn line_prefix(&mut self, blank: bool) {
        self.prefix(self.containers.len(), blank);
    }

    /// The part of a line's prefix that the outermost containers make.
    fn prefix(&mut self, containers: usize, blank: bool) {
        let start = self.text.len();
        for container in self.containers.iter_mut().take(containers) {
            match container.first.take() {
                Some(first) => first.push(&mut self.text),
                None => {
                    self.text.push_str(container.kind.rest());
                    self.text.push_str(WIDER.get(..usize::from(container.wider)).unwrap_or(WIDER));
                }
            }
        }
        if blank {
            let kept = self.text.get(start..).map_or(0, |prefix| prefix.trim_end().len());
            self.text.truncate(start + kept);
        }
    }
}

/// Code as it is shown: every kind of line end is one `\n`, as an XML reader has it, and what shows nothing is left out.
fn shown_code(code: &str) -> Cow<'_, str> {
    let is_plain = |byte: u8| byte >= b' ' && byte != 0x7f && byte != 0xc2 || matches!(byte, b'\n' | b'\t');
    if code.bytes().all(is_plain) {
        return Cow::Borrowed(code);
    }
    let code = code.replace("\r\n", "\n").replace('\r', "\n");
    Cow::Owned(code.replace(shows_nothing, ""))
}

impl ContainerKind {
    /// What every line but the first begins with.
    const fn rest(self) -> &'static str {
        match self {
            Self::Document => "",
            Self::Quote => "> ",
            Self::Item => "  ",
        }
    }
}

impl Container {
    fn new(kind: ContainerKind, first: Option<Marker>, wider: u8) -> Self {
        Self {
            first,
            task: None,
            alert: None,
            tight: false,
            wider,
            filled: false,
            kind,
            list: None,
            item_ended: None,
            item_was_empty: false,
            last_list: None,
        }
    }

    /// A block begins inside of it.
    fn has_block(&mut self) {
        (self.filled, self.item_ended, self.last_list) = (true, None, None);
    }
}
