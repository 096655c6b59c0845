//! Writes blocks one below the other, inside of quotes and list items, or joined within a table cell.

use super::escape;

/// Deeper quotes and lists are written at this depth: each level adds to every line, and output has to stay linear.
const DEEPEST: usize = 24;

/// What the lines of a block are indented with.
#[derive(Debug)]
struct Container {
    /// Before the first line; taken by it.
    first: Option<String>,
    /// Before every other line.
    rest: &'static str,
    /// How many spaces `rest` is short of the marker's width (for numbers of more than one digit).
    wider: usize,
    /// Whether the container holds a block already.
    filled: bool,
    kind: ContainerKind,
    /// The list that ended last in this container, if nothing followed it.
    last_list: Option<LastList>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ContainerKind {
    Document,
    Quote,
    Item,
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
    items: u32,
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
    /// Whether the last block was a paragraph in an item, which a tight list may follow without a blank line.
    after_paragraph: bool,
}

impl Blocks {
    pub(super) fn new(in_cell: bool) -> Self {
        Self {
            text: String::new(),
            in_cell,
            containers: vec![Container::new(ContainerKind::Document, None, "", 0)],
            too_deep: 0,
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

    /// A paragraph of escaped text; line breaks in it are hard ones.
    pub(super) fn paragraph(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        self.begin_block();
        if self.in_cell {
            self.text.push_str(text);
            return;
        }
        for (number, line) in text.split('\n').enumerate() {
            if number > 0 {
                self.line_prefix(false);
            }
            let line = line.trim_start();
            let at = escape::line_start(line).unwrap_or(0);
            let (head, tail) = line.split_at_checked(at).unwrap_or(("", line));
            self.text.push_str(head);
            if escape::line_start(line).is_some() {
                self.text.push('\\');
            }
            self.text.push_str(tail);
            self.text.push('\n');
        }
        self.after_paragraph = true;
    }

    /// A heading of escaped text.
    pub(super) fn heading(&mut self, level: u8, text: &str) {
        let line = text.replace("\\\n", " ");
        if line.is_empty() {
            return;
        }
        if self.in_cell {
            self.paragraph(&line);
            return;
        }
        self.begin_block();
        for _ in 0..level.clamp(1, 6) {
            self.text.push('#');
        }
        self.text.push(' ');
        // A run of `#` at the end would be taken for decoration.
        let kept = line.trim_end_matches('#');
        self.text.push_str(kept);
        if kept.len() < line.len() {
            self.text.push('\\');
            self.text.push_str(line.get(kept.len()..).unwrap_or_default());
        }
        self.text.push('\n');
    }

    /// Lines that are Markdown as they stand, such as a table.
    pub(super) fn lines(&mut self, lines: &str) {
        if lines.is_empty() {
            return;
        }
        self.begin_block();
        for (number, line) in lines.trim_end_matches('\n').split('\n').enumerate() {
            if number > 0 {
                self.line_prefix(false);
            }
            self.text.push_str(line);
            self.text.push('\n');
        }
    }

    pub(super) fn rule(&mut self) {
        if self.in_cell {
            return;
        }
        let directly_in_item =
            self.containers.last().is_some_and(|c| c.kind == ContainerKind::Item && !c.filled);
        self.begin_block();
        // `- ---` is a rule and no item.
        self.text.push_str(if directly_in_item { "***\n" } else { "---\n" });
    }

    /// A code block. In a cell, a code span a line.
    pub(super) fn code(&mut self, code: &str, language: &str) {
        let code = code.strip_suffix('\n').unwrap_or(code);
        if self.in_cell {
            let spans: Vec<String> = code
                .lines()
                .map(|line| super::inline::code_span(line, true))
                .filter(|span| !span.is_empty())
                .collect();
            self.paragraph(&spans.join("<br>"));
            return;
        }
        self.begin_block();
        let longest = code.split(|c| c != '`').map(str::len).max().unwrap_or(0);
        let fence = "`".repeat((longest + 1).max(3));
        self.text.push_str(&fence);
        self.text.extend(language.chars().filter(|c| !c.is_whitespace() && !c.is_control() && *c != '`'));
        self.text.push('\n');
        if !code.is_empty() {
            for line in code.split('\n') {
                let line = line.strip_suffix('\r').unwrap_or(line);
                self.line_prefix(line.is_empty());
                // A NUL would be replaced, a lone carriage return would end the line for a Markdown reader.
                self.text.extend(line.chars().filter(|c| !matches!(c, '\0' | '\r')));
                self.text.push('\n');
            }
        }
        self.line_prefix(false);
        self.text.push_str(&fence);
        self.text.push('\n');
    }

    /// A quote begins; `alert` is the kind of GitHub's alerts.
    pub(super) fn begin_quote(&mut self, alert: Option<&str>) {
        if !self.push(ContainerKind::Quote, Some("> ".to_owned()), "> ", 0) {
            return;
        }
        if let Some(alert) = alert {
            self.begin_block();
            self.text.push_str("[!");
            self.text.push_str(alert);
            self.text.push_str("]\n");
            if let Some(container) = self.containers.last_mut() {
                // The first block follows without a blank line.
                container.first = Some("> ".to_owned());
                container.filled = false;
            }
        }
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
            self.begin_block();
            let end = self.text.trim_end_matches(' ').len();
            self.text.truncate(end);
            self.text.push('\n');
        }
        self.containers.pop();
        self.after_paragraph = false;
    }

    /// A list begins.
    pub(super) fn begin_list(&mut self, start: Option<u32>) -> List {
        let last = self.containers.last().and_then(|container| container.last_list);
        // Two lists in a row would become one: the second takes the other marker.
        let alternate = last.is_some_and(|last| last.ordered == start.is_some() && !last.alternate);
        List { number: start, alternate, items: 0 }
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
        let first_of_list = list.items == 0;
        list.items = list.items.saturating_add(1);
        let mut marker = match &mut list.number {
            Some(number) => {
                let marker = format!("{number}{} ", if list.alternate { ')' } else { '.' });
                *number = number.saturating_add(1).min(999_999_999);
                marker
            }
            None => (if list.alternate { "* " } else { "- " }).to_owned(),
        };
        let width = marker.len();
        match task {
            Some(true) => marker.push_str("[x] "),
            Some(false) => marker.push_str("[ ] "),
            None => {}
        }
        if self.in_cell || self.containers.len() > DEEPEST {
            self.too_deep += usize::from(!self.in_cell);
            return;
        }
        // Between items, and between an item's own text and its list, there is no blank line; a numbered list that
        // does not begin with 1 needs one behind a paragraph.
        let starts_at_one = list.number.is_none_or(|next| next == 2);
        let parent_is_item = self.containers.last().is_some_and(|c| c.kind == ContainerKind::Item);
        let tight = !first_of_list || (parent_is_item && self.after_paragraph && starts_at_one);
        if !tight {
            self.separate();
        }
        if let Some(container) = self.containers.last_mut() {
            container.filled = true;
            container.last_list = None;
        }
        self.after_paragraph = false;
        self.containers.push(Container::new(
            ContainerKind::Item,
            Some(marker),
            "  ",
            width.saturating_sub(2),
        ));
    }

    fn push(&mut self, kind: ContainerKind, first: Option<String>, rest: &'static str, wider: usize) -> bool {
        if self.in_cell {
            return false;
        }
        if self.containers.len() > DEEPEST {
            self.too_deep += 1;
            return false;
        }
        self.separate();
        if let Some(container) = self.containers.last_mut() {
            container.last_list = None;
        }
        self.after_paragraph = false;
        self.containers.push(Container::new(kind, first, rest, wider));
        true
    }

    /// Makes room for a block: a blank line or a `<br>` before it, its prefix.
    fn begin_block(&mut self) {
        if self.in_cell {
            if !self.text.is_empty() {
                self.text.push_str("<br>");
            }
            return;
        }
        self.separate();
        self.line_prefix(false);
        for container in &mut self.containers {
            container.filled = true;
        }
        if let Some(container) = self.containers.last_mut() {
            container.last_list = None;
        }
        self.after_paragraph = false;
    }

    /// A blank line, if the innermost container holds something already.
    fn separate(&mut self) {
        if self.containers.last().is_some_and(|container| container.filled) {
            self.line_prefix(true);
            self.text.push('\n');
        }
    }

    /// The prefix of a line; of a blank one without trailing spaces.
    fn line_prefix(&mut self, blank: bool) {
        let start = self.text.len();
        for container in &mut self.containers {
            match container.first.take() {
                Some(first) => self.text.push_str(&first),
                None => {
                    self.text.push_str(container.rest);
                    self.text.extend(std::iter::repeat_n(' ', container.wider));
                }
            }
        }
        if blank {
            let kept = self.text.get(start..).map_or(0, |prefix| prefix.trim_end().len());
            self.text.truncate(start + kept);
        }
    }
}

impl Container {
    fn new(kind: ContainerKind, first: Option<String>, rest: &'static str, wider: usize) -> Self {
        Self { first, rest, wider, filled: false, kind, last_list: None }
    }
}
