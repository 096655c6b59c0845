//! The text of one block: white space folded, marks and links placed so that they render.
//!
//! A mark opens just before its first visible character and closes just behind its last, because Markdown ignores
//! `** bold **`. Where a mark cannot open or close at all (next to a letter on one side and to punctuation on the
//! other, CommonMark 6.2), it is left out: text comes first.

use super::escape::{self, Surroundings};

/// A hard line break in the buffer.
const HARD_BREAK: &str = "\\\n";

/// A mark of emphasis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    Strong,
    Emphasis,
    Strike,
}

impl Mark {
    const fn delimiter(self) -> &'static str {
        match self {
            Self::Strong => "**",
            Self::Emphasis => "*",
            Self::Strike => "~~",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Waits for its first visible character.
    Pending,
    /// Its delimiter begins at this offset of the buffer.
    Open(usize),
    /// Could not open.
    Dropped,
}

#[derive(Debug, Clone, Copy)]
struct Active {
    mark: Mark,
    state: State,
    /// How many nested elements of the same mark stand for this one.
    nested: u32,
    /// Its element has ended; the delimiter waits for the next character, which decides whether it can close.
    closing: bool,
}

/// The text of one block.
#[derive(Debug, Default)]
pub(super) struct Inline {
    text: String,
    /// White space was seen and is written before the next visible character.
    space: bool,
    marks: Vec<Active>,
    link: Option<OpenLink>,
    in_cell: bool,
}

/// A link whose element has not ended.
#[derive(Debug, Clone, Copy)]
struct OpenLink {
    /// How many marks are around it, and not inside of its brackets.
    marks_around: usize,
    /// Offset of its `[`; none before its first visible character.
    bracket: Option<usize>,
}

impl Inline {
    pub(super) fn new(in_cell: bool) -> Self {
        Self { in_cell, ..Self::default() }
    }

    /// Whether nothing visible has been written.
    pub(super) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Bytes written so far.
    pub(super) fn len(&self) -> usize {
        self.text.len()
    }

    /// Appends text with references decoded; folds white space and escapes what Markdown would read as markup.
    pub(super) fn push_text(&mut self, text: &str) {
        let mut rest = text;
        while !rest.is_empty() {
            let run = rest.find(|c| !is_folded(c)).unwrap_or(rest.len());
            if run > 0 {
                self.space = true;
                rest = rest.get(run..).unwrap_or_default();
                continue;
            }
            // A stretch up to the next white space that does not fold into itself: single spaces stay inside.
            let end = folded_end(rest);
            let (stretch, after) = rest.split_at(end);
            self.push_stretch(stretch);
            rest = after;
        }
    }

    /// `stretch` begins and ends with a visible character and holds no white space but single spaces.
    fn push_stretch(&mut self, stretch: &str) {
        let Some(first) = stretch.chars().next() else { return };
        self.settle(first);
        let surroundings =
            Surroundings { before: self.before(), in_link: self.link.is_some(), in_cell: self.in_cell };
        escape::push(&mut self.text, stretch, surroundings);
    }

    /// Appends Markdown that is right as it stands: a code span, an image, a link.
    pub(super) fn push_markdown(&mut self, markdown: &str) {
        let Some(first) = markdown.chars().next() else { return };
        self.settle(first);
        if first == '[' && self.text.ends_with('!') {
            self.text.pop();
            self.text.push_str("\\!");
        }
        self.text.push_str(markdown);
    }

    /// Appends a line break.
    pub(super) fn push_break(&mut self) {
        self.space = false;
        if !self.text.is_empty() {
            self.text.push_str(if self.in_cell { "<br>" } else { HARD_BREAK });
        }
    }

    /// The last character, as far as Markdown is concerned; none at the beginning of a line.
    fn before(&self) -> Option<char> {
        self.text.chars().next_back().filter(|&c| c != '\n')
    }

    /// Writes what waits for a visible character: ends of marks, the white space, beginnings of marks and links.
    fn settle(&mut self, next: char) {
        let space = std::mem::take(&mut self.space) && !self.text.is_empty() && !self.ends_line();
        if self.marks.iter().any(|active| active.closing) {
            self.close_marks(if space { ' ' } else { next });
        }
        if space {
            self.text.push(' ');
        }
        self.open(next);
    }

    fn ends_line(&self) -> bool {
        self.text.ends_with('\n') || (self.in_cell && self.text.ends_with("<br>"))
    }

    fn open(&mut self, next: char) {
        let pending_link = self.link.filter(|link| link.bracket.is_none());
        let around = pending_link.map_or(self.marks.len(), |link| link.marks_around);
        self.open_marks(0, around, if pending_link.is_some() { '[' } else { next });
        if let Some(link) = pending_link {
            if self.text.ends_with('!') {
                self.text.pop();
                self.text.push_str("\\!");
            }
            self.link = Some(OpenLink { bracket: Some(self.text.len()), ..link });
            self.text.push('[');
            self.open_marks(around, self.marks.len(), next);
        }
    }

    /// Opens the pending ones of the marks `from..to`; `next` follows them.
    fn open_marks(&mut self, from: usize, to: usize, next: char) {
        // Delimiters that touch form one run; what stands before the run decides.
        let before = self.text.chars().next_back();
        let opens = !next.is_whitespace()
            && (!may_be_punctuation(next) || before.is_none_or(|c| c.is_whitespace() || is_punctuation(c)));
        for active in
            self.marks.iter_mut().take(to).skip(from).filter(|active| active.state == State::Pending)
        {
            if opens {
                active.state = State::Open(self.text.len());
                self.text.push_str(active.mark.delimiter());
            } else {
                active.state = State::Dropped;
            }
        }
    }

    /// Writes the delimiters of the marks that have ended, from the innermost; `next` is what follows them.
    fn close_marks(&mut self, next: char) {
        while let Some(active) = self.marks.last().copied().filter(|active| active.closing) {
            self.marks.pop();
            let State::Open(start) = active.state else { continue };
            let end = self.visible_end();
            let last = self.text.get(..end).and_then(|text| text.chars().next_back());
            let closes = end > start + active.mark.delimiter().len()
                && last.is_some_and(|last| {
                    !may_be_punctuation(last)
                        || end < self.text.len()
                        || next.is_whitespace()
                        || is_punctuation(next)
                });
            if closes {
                self.text.insert_str(end, active.mark.delimiter());
            } else {
                self.text.replace_range(start..start + active.mark.delimiter().len(), "");
            }
        }
    }

    /// Offset behind the last visible character.
    fn visible_end(&self) -> usize {
        let mut text = self.text.as_str();
        loop {
            let trimmed = text.trim_end();
            let trimmed = match trimmed.strip_suffix('\\') {
                Some(before) if text.get(trimmed.len()..).is_some_and(|rest| rest.starts_with('\n')) => {
                    before
                }
                _ if self.in_cell => trimmed.strip_suffix("<br>").unwrap_or(trimmed),
                _ => trimmed,
            };
            if trimmed.len() == text.len() {
                return trimmed.len();
            }
            text = trimmed;
        }
    }

    /// A mark begins.
    pub(super) fn begin(&mut self, mark: Mark) {
        let inside = self.link.map_or(0, |link| link.marks_around);
        let found = self.marks.iter_mut().enumerate().find(|(_, active)| active.mark == mark);
        match found {
            // `<b><b>a</b></b>` is one mark.
            Some((_, active)) if !active.closing => active.nested = active.nested.saturating_add(1),
            // `<b>a</b><b>c</b>` is one mark, unless a link begins in between.
            Some((at, active)) if at >= inside && !self.space => active.closing = false,
            Some(_) => {
                self.close_marks(if self.space { ' ' } else { '[' });
                self.marks.push(Active { mark, state: State::Pending, nested: 0, closing: false });
            }
            None => self.marks.push(Active { mark, state: State::Pending, nested: 0, closing: false }),
        }
    }

    /// A mark ends.
    pub(super) fn end(&mut self, mark: Mark) {
        let Some(at) = self.marks.iter().rposition(|active| active.mark == mark && !active.closing) else {
            return;
        };
        let Some(active) = self.marks.get_mut(at) else { return };
        if active.nested > 0 {
            active.nested -= 1;
        } else if active.state == State::Pending {
            self.marks.remove(at);
        } else {
            active.closing = true;
        }
    }

    /// A link begins; links do not nest. Answers whether this one counts.
    pub(super) fn begin_link(&mut self) -> bool {
        let counts = self.link.is_none();
        if counts {
            if self.marks.iter().any(|active| active.closing) {
                self.close_marks(if self.space { ' ' } else { '[' });
            }
            self.link = Some(OpenLink { marks_around: self.marks.len(), bracket: None });
        }
        counts
    }

    /// Whether the open link has shown anything.
    pub(super) fn link_has_text(&self) -> bool {
        self.link.is_some_and(|link| link.bracket.is_some())
    }

    /// The link ends. Without a target its text stays.
    pub(super) fn end_link(&mut self, target: Option<&str>) {
        let Some(OpenLink { bracket: Some(start), .. }) = self.link.take() else { return };
        self.close_marks(']');
        let end = self.visible_end().max(start + 1);
        match target {
            Some(target) if self.text.get(start + 1..end) == Some(target) && is_autolink(target) => {
                self.text.replace_range(start..=start, "<");
                self.text.insert(end, '>');
            }
            Some(target) => {
                let destination = destination(target, self.in_cell);
                self.text.insert_str(end, &format!("]({destination})"));
            }
            None => self.text.replace_range(start..=start, ""),
        }
    }

    /// Takes the text of the block. Marks and a link that are still open close here and open again in the next block.
    pub(super) fn take(&mut self, link_target: Option<&str>) -> String {
        let link = self.link;
        let pending =
            |active: &Active| (!active.closing).then_some(Active { state: State::Pending, ..*active });
        let around = link.map_or(self.marks.len(), |link| link.marks_around);
        let marks_around: Vec<Active> = self.marks.iter().take(around).filter_map(pending).collect();
        let marks_inside: Vec<Active> = self.marks.iter().skip(around).filter_map(pending).collect();
        if self.link_has_text() {
            for active in self.marks.iter_mut().skip(around) {
                active.closing = true;
            }
            self.end_link(link_target);
        }
        for active in &mut self.marks {
            active.closing = true;
        }
        self.close_marks('\n');
        self.link = link.map(|_| OpenLink { marks_around: marks_around.len(), bracket: None });
        self.marks = marks_around;
        self.marks.extend(marks_inside);
        self.space = false;
        let end = self.visible_end();
        let mut text = std::mem::take(&mut self.text);
        text.truncate(end);
        text
    }
}

/// White space that HTML folds, and the no-break space, which a Markdown reader would not miss.
fn is_folded(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0c' | '\u{a0}') || is_invisible_control(c)
}

fn is_invisible_control(c: char) -> bool {
    c.is_control() && c != '\u{85}'
}

/// Where the stretch ends: before white space that is more than one space between visible characters.
fn folded_end(text: &str) -> usize {
    let mut previous_space: Option<usize> = None;
    for (at, c) in text.char_indices() {
        if is_folded(c) {
            if c != ' ' {
                return previous_space.unwrap_or(at);
            }
            if let Some(space) = previous_space {
                return space;
            }
            previous_space = Some(at);
        } else {
            previous_space = None;
        }
    }
    previous_space.unwrap_or(text.len())
}

/// Surely punctuation for every Markdown reader.
fn is_punctuation(c: char) -> bool {
    c.is_ascii_punctuation()
        || matches!(c, '\u{2010}'..='\u{2027}' | '\u{2030}'..='\u{205e}' | '\u{3001}'..='\u{3003}' | '\u{3008}'..='\u{3011}' | '\u{ff01}'..='\u{ff0f}')
}

/// Perhaps punctuation or a symbol for some Markdown reader.
fn may_be_punctuation(c: char) -> bool {
    !c.is_alphanumeric()
}

/// Whether `<url>` means the same as `[url](url)`.
fn is_autolink(target: &str) -> bool {
    (target.starts_with("https://") || target.starts_with("http://"))
        && target
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'<' | b'>' | b'\\' | b'|' | b'`'))
}

/// A link destination: what would end it or be read as markup is escaped or percent-encoded.
pub(super) fn destination(target: &str, in_cell: bool) -> String {
    let mut written = String::with_capacity(target.len() + 8);
    for (at, c) in target.char_indices() {
        match c {
            '(' | ')' | '\\' => written.extend(['\\', c]),
            '<' => written.push_str("%3C"),
            '>' => written.push_str("%3E"),
            '`' => written.push_str("%60"),
            '|' if in_cell => written.push_str("%7C"),
            '&' if super::entities::looks_like_reference(target.get(at + 1..).unwrap_or_default()) => {
                written.push_str("\\&");
            }
            c if c.is_whitespace() || c.is_control() => {
                let mut bytes = [0; 4];
                for byte in c.encode_utf8(&mut bytes).bytes() {
                    written.push_str(&format!("%{byte:02X}"));
                }
            }
            c => written.push(c),
        }
    }
    written
}

/// A code span: fenced by one backtick more than it holds.
pub(super) fn code_span(code: &str, in_cell: bool) -> String {
    let folded = code.split(['\n', '\r']).collect::<Vec<_>>().join(" ");
    let code = folded.trim_matches(|c: char| c.is_whitespace() || is_invisible_control(c));
    if code.is_empty() {
        return String::new();
    }
    let longest = code.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest + 1);
    let pad = if code.starts_with('`') || code.ends_with('`') { " " } else { "" };
    let code: String = code.chars().filter(|&c| !is_invisible_control(c)).collect();
    let code = if in_cell { code.replace('|', "\\|") } else { code };
    format!("{fence}{pad}{code}{pad}{fence}")
}
