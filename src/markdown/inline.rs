//! The text of one block: white space folded, marks and links placed so that they render.
//!
//! A mark opens just before its first visible character and closes just behind its last, because Markdown ignores
//! `** bold **`. Where a mark cannot open or close at all (next to a letter on one side and to punctuation on the
//! other, CommonMark 6.2), it is left out: text comes first.

use std::borrow::Cow;
use std::ops::Range;

use super::bytes::{self, CONTROL, DESTINATION, FOLDED, NO_AUTOLINK, SPECIAL};
use super::escape::{self, Surroundings};
use super::targets;

/// A hard line break in the buffer.
const HARD_BREAK: &str = "\\\n";

/// A comment shows nothing, and keeps apart what would be read as one.
const NOTHING: &str = "<!-- -->";

/// Backticks around a code span at most: Markdown readers in use give up on longer runs (cmark at 80).
const LONGEST_FENCE: usize = 64;

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

    /// The character of the delimiter.
    const fn kind(self) -> char {
        match self {
            Self::Strong | Self::Emphasis => '*',
            Self::Strike => '~',
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
    /// Whether its delimiter was written in one run with others.
    shares_run: bool,
    /// Its element has ended; the delimiter waits for the next character, which decides whether it can close.
    closing: bool,
}

/// A mark that has just been closed.
#[derive(Debug, Clone, Copy)]
struct Closed {
    /// The character before its delimiter, and before those that touch it.
    before: char,
    mark: Mark,
    /// Where its first delimiter begins.
    start: usize,
    /// How long the run of delimiters is that ends with its last one.
    run: usize,
}

/// The text of one block.
#[derive(Debug, Default)]
pub(super) struct Inline {
    text: String,
    /// Whether there may be a line end in it: a hard break, of which nothing else writes any.
    has_breaks: bool,
    /// White space was seen and is written before the next visible character.
    space: bool,
    marks: Vec<Active>,
    link: Option<OpenLink>,
    in_cell: bool,
    /// Elements of code that are open.
    code_depth: u32,
    /// Code that waits for its end: what touches becomes one span, because two would not be read as two.
    code: String,
    /// Whether the last character needs a backslash if the wrong one follows.
    undecided: bool,
    /// How often something visible was written, in this block and those before.
    shown: usize,
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
        Self { text: String::with_capacity(if in_cell { 128 } else { 1024 }), in_cell, ..Self::default() }
    }

    /// Whether nothing visible has been written.
    pub(super) fn is_empty(&self) -> bool {
        self.text.is_empty() && is_blank(&self.code)
    }

    /// Grows with everything visible that is written.
    pub(super) fn shown(&self) -> usize {
        self.shown + usize::from(!is_blank(&self.code))
    }

    /// Code begins: text becomes a code span until it ends.
    pub(super) fn begin_code(&mut self) {
        self.code_depth = self.code_depth.saturating_add(1);
    }

    /// Code ends.
    pub(super) fn end_code(&mut self) {
        self.code_depth = self.code_depth.saturating_sub(1);
    }

    /// Whether code is open.
    pub(super) fn in_code(&self) -> bool {
        self.code_depth > 0
    }

    #[inline]
    fn write_code(&mut self) {
        if !self.code.is_empty() {
            self.write_waiting_code();
        }
    }

    #[inline(never)]
    fn write_waiting_code(&mut self) {
        let mut code = std::mem::take(&mut self.code);
        self.write_code_of(&code);
        code.clear();
        self.code = code;
    }

    fn write_code_of(&mut self, code: &str) {
        let inside = code.trim_matches(is_blank_character);
        if code.starts_with(is_blank_character) {
            self.space = true;
        }
        if inside.is_empty() {
            return;
        }
        // `[...]:` at the beginning of a paragraph is a definition, even where the bracket is code.
        let in_label = !self.in_cell && (self.link.is_some() || self.text.starts_with('['));
        let span = if in_label && inside.contains("]:") {
            code_element(inside, self.in_cell)
        } else {
            code_span(inside, self.in_cell)
        };
        self.write(&span);
        self.space |= code.ends_with(is_blank_character);
    }

    /// Appends text with references decoded; folds white space and escapes what Markdown would read as markup.
    pub(super) fn push_text(&mut self, text: &str) {
        if self.in_code() {
            match bytes::find(text.as_bytes(), 0, CONTROL) {
                Some(_) => self.code.extend(text.split(shows_nothing)),
                None => self.code.push_str(text),
            }
            return;
        }
        self.write_code();
        let mut rest = text;
        loop {
            let (folded, has_space) = folded_start(rest);
            self.space |= has_space;
            let Some(visible) = rest.get(folded..).filter(|visible| !visible.is_empty()) else { return };
            // A stretch up to the next white space that does not fold into itself: single spaces stay inside.
            let (end, has_special) = stretch_end(visible);
            let (stretch, after) = visible.split_at_checked(end).unwrap_or((visible, ""));
            self.push_stretch(stretch, has_special);
            rest = after;
        }
    }

    /// `stretch` begins and ends with a visible character and holds no white space but single spaces.
    fn push_stretch(&mut self, stretch: &str, has_special: bool) {
        let Some(first) = stretch.chars().next() else { return };
        self.settle(first);
        self.shown += 1;
        if !has_special {
            self.text.push_str(stretch);
            return;
        }
        let surroundings = Surroundings {
            before: self.before(),
            in_link: self.link.is_some(),
            in_strike: self.marks.iter().any(|active| active.mark == Mark::Strike),
            in_cell: self.in_cell,
        };
        self.undecided = escape::push(&mut self.text, stretch, surroundings);
    }

    /// Appends Markdown that is right as it stands: an image, a link.
    pub(super) fn push_markdown(&mut self, markdown: &str) {
        self.write_code();
        self.write(markdown);
    }

    fn write(&mut self, markdown: &str) {
        let Some(first) = markdown.chars().next() else { return };
        self.settle(first);
        self.shown += 1;
        if first == '`' && self.text.ends_with('`') {
            self.text.push_str(NOTHING);
        }
        self.text.push_str(markdown);
    }

    /// Appends a line break.
    pub(super) fn push_break(&mut self) {
        self.write_code();
        self.space = false;
        if !self.text.is_empty() {
            self.text.push_str(if self.in_cell { "<br>" } else { HARD_BREAK });
            self.has_breaks = true;
        }
    }

    /// The last character, as far as Markdown is concerned; none at the beginning of a line.
    fn before(&self) -> Option<char> {
        self.text.chars().next_back().filter(|&c| c != '\n')
    }

    /// Writes what waits for a visible character: ends of marks, the white space, beginnings of marks and links.
    fn settle(&mut self, next: char) {
        let begins_link = self.link.is_some_and(|link| link.bracket.is_none());
        if self.marks.is_empty() && !begins_link && !self.undecided {
            if std::mem::take(&mut self.space) && !self.text.is_empty() && !self.ends_line() {
                self.text.push(' ');
            }
            return;
        }
        self.settle_marks(next);
    }

    #[inline(never)]
    fn settle_marks(&mut self, next: char) {
        let space = std::mem::take(&mut self.space) && !self.text.is_empty() && !self.ends_line();
        let pending_link = self.link.filter(|link| link.bracket.is_none());
        let follows = match pending_link {
            _ if space => ' ',
            Some(_) => '[',
            None => next,
        };
        self.decide(follows, next);
        let closed = self.close_ended(follows);
        if space {
            self.text.push(' ');
        }
        let closed = closed.filter(|_| !space).map(|closed| self.reopen(closed));
        if let Some(closed) = closed {
            self.drop_unreadable(closed);
        }
        // Delimiters that touch form one run, and what stands before the run decides.
        let before = closed.map(|closed| closed.before).or_else(|| self.text.chars().next_back());
        // Closing may have taken marks away from around the link.
        match self.link.filter(|link| link.bracket.is_none()) {
            None => self.open_marks(0..self.marks.len(), closed, before, next),
            Some(link) => {
                let around = link.marks_around;
                self.open_marks(0..around, closed, before, '[');
                self.escape_exclamation_mark();
                self.link = Some(OpenLink { bracket: Some(self.text.len()), ..link });
                self.text.push('[');
                self.open_marks(around..self.marks.len(), None, Some('['), next);
            }
        }
    }

    /// Gives the last character its backslash if it needs one before what follows it: a delimiter or a bracket, or the
    /// text behind them, because both may be taken away again.
    fn decide(&mut self, follows: char, next: char) {
        let undecided = std::mem::take(&mut self.undecided);
        let Some(last) = self.text.chars().next_back().filter(|_| undecided) else { return };
        if follows != ' ' && [follows, next].iter().any(|&c| escape::needs_backslash_before(last, c)) {
            self.text.insert(self.text.len() - last.len_utf8(), '\\');
        }
    }

    /// `!` before a link would make an image of it.
    fn escape_exclamation_mark(&mut self) {
        if self.text.ends_with('!') {
            self.text.pop();
            self.text.push_str("\\!");
        }
    }

    fn ends_line(&self) -> bool {
        self.text.ends_with('\n') || (self.in_cell && without_break(&self.text).is_some())
    }

    /// A mark that would begin where the same mark ends goes on instead: `****` is no end and no beginning.
    fn reopen(&mut self, closed: Closed) -> Closed {
        let first = self.pending_marks().next();
        let Some(active) = first.filter(|active| active.mark == closed.mark) else { return closed };
        active.state = State::Open(closed.start);
        active.shares_run = true;
        let length = closed.mark.delimiter().len();
        self.text.truncate(self.text.len() - length);
        Closed { run: closed.run - length, ..closed }
    }

    /// Leaves marks out that would open in one run with the delimiters that were just written, unless the run is of
    /// three or six: others may not match what they close or what closes them (CommonMark 6.2, rules 9 and 10).
    fn drop_unreadable(&mut self, closed: Closed) {
        let kind = closed.mark.kind();
        let opened: usize = self
            .pending_marks()
            .take_while(|active| active.mark.kind() == kind)
            .map(|active| active.mark.delimiter().len())
            .sum();
        if closed.run > 0 && !(closed.run + opened).is_multiple_of(3) {
            let same = self.pending_marks().take_while(|active| active.mark.kind() == kind);
            same.for_each(|active| active.state = State::Dropped);
        }
    }

    /// The marks that open next, before the bracket of a link that begins with them.
    fn pending_marks(&mut self) -> impl Iterator<Item = &mut Active> {
        let link = self.link.filter(|link| link.bracket.is_none());
        let around = link.map_or(usize::MAX, |link| link.marks_around);
        self.marks.iter_mut().take(around).filter(|active| active.state == State::Pending)
    }

    /// Opens the pending ones of the marks in `range`; `next` follows them, and before them stands what was `closed`.
    fn open_marks(&mut self, range: Range<usize>, closed: Option<Closed>, before: Option<char>, next: char) {
        let mut before = before;
        let mut run = None;
        let mut dropped = false;
        let shares_run = closed.is_some_and(|closed| closed.run > 0);
        for at in range.clone() {
            let around_shares_run = self.marks.iter().take(at).any(|active| {
                active.shares_run && active.mark.kind() == '*' && matches!(active.state, State::Open(_))
            });
            let rest = self.marks.get_mut(at..range.end);
            let Some((active, later)) = rest.and_then(<[Active]>::split_first_mut) else { return };
            if active.state != State::Pending {
                continue;
            }
            let kind = active.mark.kind();
            // A run of the other kind is punctuation to this one.
            let other = later.iter().any(|later| later.state == State::Pending && later.mark.kind() != kind);
            let after = if other { '*' } else { next };
            if run.is_some_and(|run| run != kind) {
                before = run;
            }
            // With nothing left in between, it would make one run with the delimiters of its kind before it.
            let touches = dropped
                && run.is_none()
                && closed.is_some_and(|closed| closed.run > 0 && closed.mark.kind() == kind);
            // Where it could close as well as open, it would close the mark around it, unless their runs add up to three
            // (CommonMark 6.2, rule 9).
            let only_opens = before.is_none_or(escape::is_space)
                || (before.is_some_and(is_punctuation) && escape::is_of_word(after));
            let closes = kind == '*' && run != Some(kind) && around_shares_run && !only_opens;
            let opens = !next.is_whitespace()
                && !touches
                && !closes
                && (!may_be_punctuation(after)
                    || before.is_none_or(|c| escape::is_space(c) || is_punctuation(c)));
            if opens {
                active.state = State::Open(self.text.len());
                active.shares_run = shares_run
                    || run == Some(kind)
                    || later.iter().any(|later| later.state == State::Pending && later.mark.kind() == kind);
                self.text.push_str(active.mark.delimiter());
                run = Some(kind);
            } else {
                active.state = State::Dropped;
                dropped = true;
            }
        }
    }

    /// Closes the marks that have ended, be there others that wait to begin.
    fn close_ended(&mut self, next: char) -> Option<Closed> {
        let last = self.marks.iter().rposition(|active| active.closing)?;
        if last + 1 == self.marks.len() {
            return self.close_marks(next);
        }
        let waiting = self.marks.split_off(last + 1);
        let closed = self.close_marks(next);
        self.marks.extend(waiting);
        closed
    }

    /// Writes the delimiters of the marks that have ended, from the innermost; `next` is what follows them. Answers
    /// with the last one that it closed, if its delimiter touches what follows.
    fn close_marks(&mut self, next: char) -> Option<Closed> {
        self.marks.last().filter(|active| active.closing)?;
        let mut end = self.visible_end();
        let visible = self.text.get(..end).and_then(|text| text.chars().next_back());
        // What stands before the run of delimiters, and the kind of the run.
        let (mut before, mut run) = (visible, None);
        let mut closed = None;
        while let Some(active) = self.marks.pop_if(|active| active.closing) {
            if let Some(link) = self.link.as_mut().filter(|link| link.marks_around > self.marks.len()) {
                link.marks_around -= 1;
            }
            let State::Open(start) = active.state else { continue };
            let (kind, content) = (active.mark.kind(), start + active.mark.delimiter().len());
            if run.is_some_and(|run| run != kind) {
                before = run;
            }
            let closes = end > content
                && before.is_some_and(|before| {
                    !may_be_punctuation(before)
                        || end < self.text.len()
                        || escape::is_space(next)
                        || is_punctuation(next)
                });
            if closes {
                self.text.insert_str(end, active.mark.delimiter());
                end += active.mark.delimiter().len();
                let touching = closed.filter(|_| run == Some(kind)).map_or(0, |closed: Closed| closed.run);
                run = Some(kind);
                closed = visible.map(|before| {
                    let run = touching + active.mark.delimiter().len();
                    Closed { before, mark: active.mark, start, run }
                });
            } else {
                // Two code spans must not touch.
                let apart = self.text.get(..start).is_some_and(|text| text.ends_with('`'))
                    && self.text.get(content..).is_some_and(|text| text.starts_with('`'));
                let instead = if apart { NOTHING } else { "" };
                self.text.replace_range(start..content, instead);
                let shifted = |at: usize| (at + instead.len()).saturating_sub(content - start);
                end = shifted(end);
                closed = closed.map(|closed: Closed| Closed { start: shifted(closed.start), ..closed });
            }
        }
        closed.filter(|_| end == self.text.len())
    }

    /// Offset behind the last visible character.
    fn visible_end(&self) -> usize {
        let mut text = self.text.as_str();
        // Only a line break of a cell ends visibly.
        if text
            .bytes()
            .next_back()
            .is_some_and(|last| last.is_ascii_graphic() && (last != b'>' || !self.in_cell))
        {
            return text.len();
        }
        loop {
            let trimmed = text.trim_end();
            let trimmed = match trimmed.strip_suffix('\\') {
                Some(before) if text.get(trimmed.len()..).is_some_and(|rest| rest.starts_with('\n')) => {
                    before
                }
                _ if self.in_cell => without_break(trimmed).unwrap_or(trimmed),
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
        self.write_code();
        // `<b><b>a</b></b>` is one mark.
        if let Some(active) =
            self.marks.iter_mut().rev().find(|active| active.mark == mark && !active.closing)
        {
            active.nested = active.nested.saturating_add(1);
            return;
        }
        // `<b>a</b><b>c</b>` is one mark, unless another one ends around it or begins in between, or a link does.
        let open = self.marks.iter().rposition(|active| !active.closing).map_or(0, |at| at + 1);
        let open = open.max(self.link.map_or(0, |link| link.marks_around));
        let ended = self.marks.get_mut(open).filter(|active| active.mark == mark);
        match ended.filter(|_| !self.space) {
            Some(active) => active.closing = false,
            None => {
                self.marks.push(Active {
                    mark,
                    state: State::Pending,
                    nested: 0,
                    closing: false,
                    shares_run: false,
                });
            }
        }
    }

    /// A mark ends.
    pub(super) fn end(&mut self, mark: Mark) {
        self.write_code();
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
        self.write_code();
        let counts = self.link.is_none();
        if counts {
            self.link = Some(OpenLink { marks_around: self.marks.len(), bracket: None });
        }
        counts
    }

    /// Whether the open link has shown anything.
    pub(super) fn link_has_text(&self) -> bool {
        self.link.is_some_and(|link| link.bracket.is_some() || !is_blank(&self.code))
    }

    /// The link ends. Without a target its text stays.
    pub(super) fn end_link(&mut self, target: Option<&str>) {
        self.write_code();
        let Some(OpenLink { bracket: Some(start), .. }) = self.link.take() else { return };
        self.close_marks(']');
        let end = self.visible_end().max(start + 1);
        match target {
            Some(target)
                if is_autolink(target) && self.text.get(start + 1..end).is_some_and(|t| shows(t, target)) =>
            {
                self.text.replace_range(start..end, &format!("<{target}>"));
            }
            Some(target) => {
                let after = self.text.split_off(end);
                self.text.push_str("](");
                push_destination(&mut self.text, target, self.in_cell);
                self.text.push(')');
                self.text.push_str(&after);
            }
            None => self.remove_brackets(start, end),
        }
    }

    /// A link turns out to have no target. Marks and code inside of it were written for text between brackets: where
    /// they touch a bracket, a comment takes its place.
    fn remove_brackets(&mut self, start: usize, end: usize) {
        let touches = |c: Option<char>| matches!(c, Some('*' | '~' | '`'));
        if touches(self.text.get(..end).and_then(|text| text.chars().next_back())) {
            self.text.insert_str(end, NOTHING);
        }
        let first = self.text.get(start + 1..).and_then(|text| text.chars().next());
        // At the beginning of a line a comment would be a block, and nothing stands before the bracket.
        let begins_line = self.text.get(..start).is_none_or(|text| text.is_empty() || text.ends_with('\n'));
        let instead = if touches(first) && !begins_line { NOTHING } else { "" };
        self.text.replace_range(start..=start, instead);
    }

    /// Ends the block and answers with its text, which stays until [`clear`](Self::clear). Marks and a link that are
    /// still open close here and open again in the next block.
    pub(super) fn finish(&mut self, link_target: Option<&str>) -> &str {
        self.write_code();
        if !self.marks.is_empty() || self.link.is_some() {
            self.suspend(link_target);
        }
        self.space = false;
        let end = self.visible_end();
        self.text.truncate(end);
        &self.text
    }

    /// Whether the text may have more than one line.
    pub(super) fn has_breaks(&self) -> bool {
        self.has_breaks
    }

    /// Begins the next block.
    pub(super) fn clear(&mut self) {
        self.text.clear();
        self.has_breaks = false;
    }

    /// Whether there is nothing to end: no text, and nothing that was begun.
    pub(super) fn is_idle(&self) -> bool {
        self.text.is_empty() && self.code.is_empty() && self.marks.is_empty() && self.link.is_none()
    }

    /// Forgets white space that waits for text.
    pub(super) fn drop_space(&mut self) {
        self.space = false;
    }

    /// Makes it as if it were new, with the room that it has.
    pub(super) fn reset(&mut self) {
        self.clear();
        self.marks.clear();
        self.code.clear();
        (self.space, self.undecided, self.link) = (false, false, None);
        (self.code_depth, self.shown) = (0, 0);
    }

    /// Closes marks and a link that are open, and lets them wait for the next block.
    #[inline(never)]
    fn suspend(&mut self, link_target: Option<&str>) {
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
        // Where nothing waits, the room that there is stays.
        self.marks.clear();
        self.marks.extend(marks_around);
        self.marks.extend(marks_inside);
    }
}

/// White space that HTML folds, and the no-break space, which a Markdown reader would not miss.
fn is_white_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0c' | '\u{a0}')
}

/// Control characters, white space among them. U+0085 is a letter to some Markdown readers and white space to others.
fn is_invisible_control(c: char) -> bool {
    c.is_control() && c != '\u{85}'
}

/// Control characters that are not written: a browser shows none, and they must not reach a terminal.
pub(super) fn shows_nothing(c: char) -> bool {
    is_invisible_control(c) && !is_white_space(c)
}

/// Whether the second byte of U+0080 to U+00BF is that of one that is folded: a control character or the no-break space.
fn is_folded_latin(second: Option<&u8>) -> bool {
    second.is_some_and(|second| matches!(second, 0x80..=0xa0) && *second != 0x85)
}

/// Whether the character at `at` is folded.
fn is_folded_at(bytes: &[u8], at: usize) -> bool {
    match bytes.get(at) {
        Some(0xc2) => is_folded_latin(bytes.get(at + 1)),
        Some(&byte) => bytes::is(byte, FOLDED),
        None => false,
    }
}

/// How long the beginning of the text is that is folded, and whether there is white space in it.
fn folded_start(text: &str) -> (usize, bool) {
    let bytes = text.as_bytes();
    let (mut at, mut has_space) = (0, false);
    while is_folded_at(bytes, at) {
        at += usize::from(bytes.get(at) == Some(&0xc2));
        has_space |= matches!(bytes.get(at), Some(b' ' | b'\t' | b'\n' | b'\r' | b'\x0c' | 0xa0));
        at += 1;
    }
    (at, has_space)
}

/// Where the stretch ends: before white space that is more than one space between visible characters. And whether a
/// character of it may need a backslash.
fn stretch_end(text: &str) -> (usize, bool) {
    let bytes = text.as_bytes();
    let (mut at, mut has_special) = (0, false);
    loop {
        at += plain_length(bytes.get(at..).unwrap_or_default());
        let looked_at = at + PLAIN_STEP;
        while at < looked_at {
            let Some(&byte) = bytes.get(at) else { return (at, has_special) };
            if bytes::is(byte, FOLDED | SPECIAL) {
                let stays = match byte {
                    b' ' => at + 1 < bytes.len() && !is_folded_at(bytes, at + 1),
                    _ => !is_folded_at(bytes, at),
                };
                if !stays {
                    return (at, has_special);
                }
                has_special |= bytes::is(byte, SPECIAL);
            }
            at += 1;
        }
    }
}

/// How many bytes [`plain_length`] looks at in one step.
const PLAIN_STEP: usize = 16;

/// How many bytes at the beginning surely stay as they are: what is neither folded nor special, and single spaces.
fn plain_length(bytes: &[u8]) -> usize {
    let mut length = 0;
    while let Some(window) = bytes.get(length..).and_then(<[u8]>::first_chunk) {
        if !is_plain(window) {
            return length;
        }
        length += PLAIN_STEP;
    }
    // What is left is shorter than a step: a step that ends with it looks at some bytes once more.
    if bytes.last_chunk().is_some_and(is_plain) { bytes.len() - 1 } else { length }
}

/// Whether all bytes but the last surely stay as they are; the last one is looked at for the one before it.
fn is_plain(window: &[u8; PLAIN_STEP + 1]) -> bool {
    let [step @ .., _] = window;
    let [_, next @ ..] = window;
    // Without a branch for each byte, so that the compiler looks at all of them at once.
    let mut other = false;
    for (&byte, &next) in step.iter().zip(next) {
        other |= (byte < b' ') | (byte == 0xc2) | (byte == b'&') | (byte == b'*') | (byte == b'<');
        other |= (byte.wrapping_sub(b'[') <= b'`' - b'[') | (byte.wrapping_sub(b'|') <= 0x7f - b'|');
        other |= (byte == b' ') & ((next <= b' ') | (next == 0x7f) | (next == 0xc2));
    }
    !other
}

/// Surely punctuation for every Markdown reader.
fn is_punctuation(c: char) -> bool {
    c.is_ascii_punctuation()
        || matches!(c, '\u{2010}'..='\u{2027}' | '\u{2030}'..='\u{205e}' | '\u{3001}'..='\u{3003}' | '\u{3008}'..='\u{3011}' | '\u{ff01}'..='\u{ff0f}')
}

/// Perhaps punctuation or a symbol for some Markdown reader.
fn may_be_punctuation(c: char) -> bool {
    !escape::is_of_word(c)
}

/// Whether this Markdown is nothing but the text, with or without backslashes.
fn shows(markdown: &str, text: &str) -> bool {
    let mut rest = text;
    let mut characters = markdown.chars().peekable();
    while let Some(c) = characters.next() {
        let is_escape = c == '\\' && characters.peek().is_some_and(char::is_ascii_punctuation);
        let shown = if is_escape { characters.next().unwrap_or(c) } else { c };
        let Some(after) = rest.strip_prefix(shown) else { return false };
        rest = after;
    }
    rest.is_empty()
}

/// Whether `<url>` means the same as `[url](url)`.
fn is_autolink(target: &str) -> bool {
    (target.starts_with("https://") || target.starts_with("http://"))
        && bytes::find(target.as_bytes(), 0, NO_AUTOLINK).is_none()
}

/// Appends a link destination: what would end it or be read as markup is escaped or percent-encoded.
pub(super) fn push_destination(written: &mut String, target: &str, in_cell: bool) {
    let mut rest = target;
    while let Some(at) = bytes::find(rest.as_bytes(), 0, DESTINATION) {
        let (head, tail) = rest.split_at_checked(at).unwrap_or((rest, ""));
        written.push_str(head);
        let Some(c) = tail.chars().next() else { return };
        rest = tail.get(c.len_utf8()..).unwrap_or_default();
        match c {
            '(' | ')' | '\\' => written.extend(['\\', c]),
            '<' => written.push_str("%3C"),
            '>' => written.push_str("%3E"),
            '`' => written.push_str("%60"),
            '|' if in_cell => written.push_str("%7C"),
            '&' if super::entities::looks_like_reference(rest) => written.push_str("&amp;"),
            c if c.is_whitespace() || c.is_control() => {
                for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                    targets::push_percent(written, byte);
                }
            }
            c => written.push(c),
        }
    }
    written.push_str(rest);
}

/// A code span: fenced by one backtick more than it holds. The code shows something and does not end with a space.
pub(super) fn code_span(code: &str, in_cell: bool) -> String {
    let code = in_one_line(code);
    if in_cell && code.contains("\\|") {
        // Markdown readers disagree on a backslash and a pipe in a code span in a table.
        return code_element(&code, in_cell);
    }
    let longest = bytes::longest_run(b'`', &code);
    if longest >= LONGEST_FENCE {
        return code_element(&code, in_cell);
    }
    let pad = if code.starts_with('`') || code.ends_with('`') { " " } else { "" };
    let mut span = String::with_capacity(code.len() + 2 * longest + 16);
    span.extend(std::iter::repeat_n('`', longest + 1));
    span.push_str(pad);
    if in_cell && code.contains('|') {
        span.push_str(&code.replace('|', "\\|"));
    } else {
        span.push_str(&code);
    }
    span.push_str(pad);
    span.extend(std::iter::repeat_n('`', longest + 1));
    span
}

fn in_one_line(code: &str) -> Cow<'_, str> {
    match bytes::find(code.as_bytes(), 0, CONTROL) {
        Some(_) => code.chars().map(|c| if is_invisible_control(c) { ' ' } else { c }).collect(),
        None => Cow::Borrowed(code),
    }
}

/// Code where no span can hold it.
fn code_element(code: &str, in_cell: bool) -> String {
    let mut markdown = "<code>".to_owned();
    let surroundings = Surroundings { before: Some('>'), in_link: true, in_strike: true, in_cell };
    // What follows is the end tag, which makes a tag of nothing before it.
    let _ = escape::push(&mut markdown, &in_one_line(code), surroundings);
    markdown.push_str("</code>");
    markdown
}

fn is_blank_character(c: char) -> bool {
    c.is_whitespace() || c.is_control()
}

fn is_blank(text: &str) -> bool {
    text.chars().all(is_blank_character)
}

/// The text of a cell before the line break at its end; none if it ends otherwise, be it with an escaped `<br>`.
fn without_break(text: &str) -> Option<&str> {
    let before = text.strip_suffix("<br>")?;
    let backslashes = before.len() - before.trim_end_matches('\\').len();
    (backslashes % 2 == 0).then_some(before)
}
