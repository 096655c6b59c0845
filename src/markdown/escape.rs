//! Which characters of a text need a backslash so that they render as themselves, and no others.

use super::bytes::{self, SPECIAL};
use super::entities;

/// What the text stands next to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Surroundings {
    /// The character before the text in the output; none at the beginning of a line.
    pub(super) before: Option<char>,
    /// Whether the text is inside the brackets of a link.
    pub(super) in_link: bool,
    /// Whether the text is inside of `~~`.
    pub(super) in_strike: bool,
    /// Whether the text is inside a table cell.
    pub(super) in_cell: bool,
}

/// Appends the text with backslashes where they are needed. The beginning of a line is [`line_start`]'s matter.
///
/// Answers whether the last character waits for what follows it: [`needs_backslash_before`] tells then.
#[must_use]
pub(super) fn push(output: &mut String, text: &str, surroundings: Surroundings) -> bool {
    let mut waits = false;
    // What was looked at and is not written yet begins at `done`.
    let mut done = 0;
    let mut from = 0;
    while let Some(at) = bytes::find(text.as_bytes(), from, SPECIAL) {
        let Some(&byte) = text.as_bytes().get(at) else { break };
        from = at + 1;
        let tail = text.get(from..).unwrap_or_default();
        // Within the text the character before is read from the text itself.
        let before =
            || if at == 0 { surroundings.before } else { text.get(..at).and_then(|t| t.chars().next_back()) };
        waits = tail.is_empty() && matches!(byte, b'<' | b'&' | b']') && !surroundings.in_link;
        if !waits && needs_backslash(byte, before, tail, surroundings) {
            output.push_str(text.get(done..at).unwrap_or_default());
            output.push('\\');
            done = at;
        }
    }
    output.push_str(text.get(done..).unwrap_or_default());
    waits
}

/// Whether `last`, which was written without a backslash, needs one because `next` follows.
pub(super) fn needs_backslash_before(last: char, next: char) -> bool {
    match last {
        '<' => {
            next.is_ascii_alphanumeric() || (next.is_ascii_punctuation() && !matches!(next, '*' | '~' | '['))
        }
        '&' => next.is_ascii_alphanumeric() || next == '#',
        ']' => matches!(next, '(' | '[' | ':'),
        _ => false,
    }
}

/// `after` is the rest of this text; what follows an empty rest is not known and may be anything.
fn needs_backslash(
    byte: u8,
    before: impl Fn() -> Option<char>,
    after: &str,
    surroundings: Surroundings,
) -> bool {
    let next = after.chars().next();
    // What begins a piece of a cell may stand behind a `<br>`.
    let space_before = || before().map_or(!surroundings.in_cell, is_space);
    // White space that ends a text does not count: a delimiter can come before it.
    let space_after = || next == Some(' ') && after.chars().nth(1).is_some_and(|c| !c.is_whitespace());
    match byte {
        b'|' => surroundings.in_cell,
        b'`' => true,
        b'\\' => !space_after() && !next.is_some_and(is_of_word),
        // A mark of emphasis between spaces opens and closes nothing.
        b'*' => !(space_after() && space_before()),
        // The converter never writes `_` as a mark, so an opening one finds no partner if closing ones are escaped.
        b'_' => !(next.is_some_and(is_of_word) || (space_after() && space_before())),
        b'~' => surroundings.in_strike || !(next.is_some_and(is_of_word) && space_before()),
        b'<' => {
            let begins_tag = match next {
                Some('/') => after.chars().nth(1).is_none_or(|c| c.is_ascii_alphabetic()),
                next => next.is_none_or(|c| c.is_ascii_alphabetic() || matches!(c, '!' | '?')),
            };
            begins_tag || is_mail_address(after)
        }
        b'&' => next.is_none() || entities::looks_like_reference(after),
        b'[' => surroundings.in_link || before() == Some('!'),
        // Outside of a link a bracket only matters where a target, a label or a definition follows.
        b']' => surroundings.in_link || next.is_none_or(|c| matches!(c, '(' | '[' | ':')),
        _ => false,
    }
}

/// A letter or digit for every Markdown reader. Letters in circles and squares are symbols.
pub(super) fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() && !matches!(c, '\u{24b6}'..='\u{24e9}' | '\u{1f130}'..='\u{1f189}')
}

/// White space for every Markdown reader: line and paragraph separators are none to CommonMark, but to some.
pub(super) fn is_space(c: char) -> bool {
    c.is_whitespace() && !matches!(c, '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// Whether the text could go on to be `<1@example.org>`.
fn is_mail_address(after: &str) -> bool {
    let local = after
        .bytes()
        .take_while(|byte| {
            byte.is_ascii_graphic()
                && !matches!(
                    byte,
                    b'@' | b'<' | b'>' | b'(' | b')' | b'[' | b']' | b'\\' | b',' | b';' | b':' | b'"'
                )
        })
        .count();
    matches!(after.as_bytes().get(local), Some(b'@') | None)
}

/// Where in a line of escaped text a backslash is needed so that it begins no block; none: nowhere.
pub(super) fn line_start(line: &str) -> Option<usize> {
    let bytes = line.as_bytes();
    let ends_word = |at: usize| bytes.get(at).is_none_or(|byte| matches!(byte, b' ' | b'\n'));
    match bytes.first()? {
        b'#' => {
            let level = bytes.iter().take_while(|byte| **byte == b'#').count();
            (level <= 6 && ends_word(level)).then_some(0)
        }
        b'>' => Some(0),
        b'=' | b'-' | b'|' | b':' if is_underline(line) => Some(0),
        b'+' | b'-' | b'*' => ends_word(1).then_some(0),
        b'~' => line.starts_with("~~~").then_some(0),
        b'_' => bytes.iter().all(|byte| matches!(byte, b'_' | b' ')).then_some(0),
        // The box of a task, the line of an alert.
        b'[' => {
            let (inside, after) = line.get(1..)?.split_once(']')?;
            let is_label = matches!(inside, " " | "x" | "X") || inside.starts_with('!');
            // A link that the converter wrote goes on with its target.
            (is_label && !inside.contains(['[', '\\']) && !after.starts_with('(')).then_some(0)
        }
        byte if byte.is_ascii_digit() => {
            let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
            (digits <= 9 && matches!(bytes.get(digits), Some(b'.' | b')')) && ends_word(digits + 1))
                .then_some(digits)
        }
        _ => None,
    }
}

/// Whether the line could turn the one before it into a heading or into the head of a table.
fn is_underline(line: &str) -> bool {
    let line = line.split('\n').next().unwrap_or_default();
    line.bytes().all(|byte| matches!(byte, b'=' | b'-' | b'|' | b':' | b' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn escaped(text: &str) -> String {
        let mut output = String::new();
        let _ = push(
            &mut output,
            text,
            Surroundings { before: Some('a'), in_link: false, in_strike: false, in_cell: false },
        );
        output
    }

    #[test]
    fn ordinary_prose_has_no_backslashes() {
        for text in [
            "It's 5 * 3 = 15, isn't it? (Yes.) #1 & <3 - \"a\" | b",
            "snake_case_name and C:\\Users\\ada and ~5 km, [see] there; AT&T here",
            "a < b and b > a! 100 % {x} $y ^z",
        ] {
            assert_eq!(escaped(text), text);
        }
    }

    #[test]
    fn what_would_be_read_as_markup_is_escaped() {
        for (text, expected) in [
            ("*bold*", "\\*bold\\*"),
            ("a `code` b", "a \\`code\\` b"),
            ("[text](url)", "[text\\](url)"),
            ("<b> </b> <!-- -->", "\\<b> \\</b> \\<!-- -->"),
            ("&amp; &#65; & AT&T ", "\\&amp; \\&#65; & AT&T "),
            ("a~~b~~ ", "a\\~\\~b\\~\\~ "),
            ("x _a_ ", "x _a\\_ "),
            ("<1@a.b> <3 ", "\\<1@a.b> <3 "),
            ("\\* \\a", "\\\\\\* \\a"),
        ] {
            assert_eq!(escaped(text), expected, "{text}");
        }
    }

    #[test]
    fn a_line_that_would_begin_a_block_is_found() {
        for (line, at) in [
            ("# a", Some(0)),
            ("####### a", None),
            ("#a", None),
            ("#", Some(0)),
            ("> a", Some(0)),
            (">a", Some(0)),
            ("- a", Some(0)),
            ("-a", None),
            ("---", Some(0)),
            ("+", Some(0)),
            ("* a", Some(0)),
            ("1. a", Some(1)),
            ("12) a", Some(2)),
            ("1.5 a", None),
            ("1234567890. a", None),
            ("===", Some(0)),
            ("= a", None),
            ("|--|:-:|", Some(0)),
            ("_ _ _", Some(0)),
            ("_ a", None),
            ("[x] done", Some(0)),
            ("[!NOTE]", Some(0)),
            ("[see]", None),
            ("[x](y)", None),
            ("[![a](b)](c)", None),
            ("a", None),
            ("", None),
        ] {
            assert_eq!(line_start(line), at, "{line}");
        }
    }
}
