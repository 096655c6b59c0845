//! Splits storage format into text, tags and CDATA.
//!
//! Storage format is an XHTML fragment with unbound prefixes, and not always well-formed: an XML parser stops at the
//! first fault, and the page with it. This tokenizer goes on where a browser would: a `<` that begins no tag is text,
//! a tag that never ends is text, attributes may lack quotes. It borrows from the input, allocates nothing, and looks
//! at each byte a bounded number of times: a search that failed once is not made again further on.

use memchr::{memchr, memmem, memrchr};

use super::bytes::{self, SPACE};

/// A piece of the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// Character data with its references.
    Text(&'a str),
    /// Character data as it stands.
    Cdata(&'a str),
    /// A start tag.
    Start(Tag<'a>),
    /// An end tag.
    End(&'a str),
}

/// A start tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tag<'a> {
    /// Name with its prefix.
    pub(super) name: &'a str,
    /// Whether it ends with `/>`.
    pub(super) empty: bool,
    attributes: &'a str,
}

impl<'a> Tag<'a> {
    /// The raw value of the first attribute of that name.
    pub(super) fn attribute(&self, name: &str) -> Option<&'a str> {
        self.attributes().find(|(found, _)| *found == name).map(|(_, value)| value)
    }

    /// All attributes in order, with their raw values.
    pub(super) fn attributes(&self) -> Attributes<'a> {
        Attributes { rest: self.attributes }
    }
}

/// Iterates over the attributes of a tag.
pub(super) struct Attributes<'a> {
    rest: &'a str,
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<(&'a str, &'a str)> {
        let bytes = self.rest.as_bytes();
        let start = bytes.iter().position(|&byte| byte != b'/' && !bytes::is(byte, SPACE))?;
        let end = bytes::find_space_or(bytes, start + 1, [b'=']).unwrap_or(bytes.len());
        let (found, after) = (self.rest.get(start..end)?, self.rest.get(end..)?);
        let Some(value) = after.strip_prefix('=').or_else(|| after.trim_start().strip_prefix('=')) else {
            self.rest = after;
            return Some((found, ""));
        };
        let value = if value.starts_with(['"', '\'']) { value } else { value.trim_start() };
        let (value, after) = match value.as_bytes().first() {
            Some(&quote @ (b'"' | b'\'')) => {
                let inner = value.get(1..)?;
                match memchr(quote, inner.as_bytes()) {
                    Some(end) => (inner.get(..end)?, inner.get(end + 1..)?),
                    None => (inner, ""),
                }
            }
            _ => value
                .split_at_checked(bytes::find_space_or(value.as_bytes(), 0, []).unwrap_or(value.len()))?,
        };
        self.rest = after;
        Some((found, value))
    }
}

/// Iterates over the tokens of a page.
#[derive(Clone)]
pub(super) struct Tokenizer<'a> {
    input: &'a str,
    at: usize,
    /// A `>`, `"` or `'` was searched for up to the end in vain: there is none further on.
    no_more: [bool; 3],
    /// The same of the end of a comment.
    no_more_comments: bool,
    /// Where the last `>` stands.
    last_close: Option<usize>,
    /// The start tag behind the text that was given last.
    ahead: Option<Extent>,
}

/// Where the parts of a start tag are.
#[derive(Clone, Copy)]
struct Extent {
    name_end: usize,
    /// Its `>`.
    close: usize,
}

impl<'a> Tokenizer<'a> {
    pub(super) fn new(input: &'a str) -> Self {
        let last_close = memrchr(b'>', input.as_bytes());
        Self { input, at: 0, no_more: [false; 3], no_more_comments: false, last_close, ahead: None }
    }

    fn slice(&self, from: usize, to: usize) -> &'a str {
        self.input.get(from..to).unwrap_or_default()
    }

    fn find(&mut self, byte: u8, from: usize) -> Option<usize> {
        let memo = match byte {
            b'>' => 0,
            b'"' => 1,
            _ => 2,
        };
        if self.no_more.get(memo).copied().unwrap_or(true) {
            return None;
        }
        let found = memchr(byte, self.input.as_bytes().get(from..)?).map(|at| from + at);
        if let (None, Some(memo)) = (found, self.no_more.get_mut(memo)) {
            *memo = true;
        }
        found
    }

    /// The end of a tag whose name ends at `from`: the first `>` outside of quotes, or the first `>` at all where a
    /// quote never ends.
    fn tag_end(&mut self, from: usize) -> Option<usize> {
        let bytes = self.input.as_bytes();
        let mut at = from;
        loop {
            let Some(found) = bytes::find_any(bytes, at, [b'>', b'"', b'\'']) else {
                self.no_more[0] = true;
                return None;
            };
            let kind = *bytes.get(found)?;
            if kind == b'>' {
                return Some(found);
            }
            at = found + 1;
            // A quote only opens a value behind an equals sign.
            let before = bytes.get(from..found)?;
            if before.iter().rev().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'=') {
                match self.find(kind, at) {
                    Some(end) => at = end + 1,
                    None => return self.find(b'>', at),
                }
            }
        }
    }

    /// Goes past the end tag of that name if it comes next and is written as it mostly is.
    #[inline]
    pub(super) fn skip_end(&mut self, name: &str) -> bool {
        let rest = self.input.as_bytes().get(self.at..).unwrap_or_default();
        let Some(rest) = rest.strip_prefix(b"</") else { return false };
        let Some((found, after)) = rest.split_at_checked(name.len()) else { return false };
        let is_end = after.first() == Some(&b'>') && bytes::equal(found, name.as_bytes()) && !self.no_more[0];
        if is_end {
            self.at += name.len() + 3;
        }
        is_end
    }

    /// Whether a `<` begins markup. What is found out of a start tag is kept for reading it.
    #[inline(always)]
    fn begins_markup(&mut self, at: usize) -> bool {
        let bytes = self.input.as_bytes();
        let Some(&first) = bytes.get(at + 1) else { return false };
        let has_close = !self.no_more[0] && self.last_close.is_some_and(|last| last > at);
        if first.is_ascii_alphabetic() {
            self.ahead = if has_close { self.start_tag(at + 1) } else { None };
            return self.ahead.is_some();
        }
        match first {
            b'/' => has_close && bytes.get(at + 2).is_some_and(u8::is_ascii_alphabetic),
            b'?' => has_close,
            _ => first == b'!',
        }
    }

    /// Finds the parts of a start tag whose name begins at `start`; none if it is text after all.
    #[inline(always)]
    fn start_tag(&mut self, start: usize) -> Option<Extent> {
        let bytes = self.input.as_bytes();
        let name_end = bytes::find_space_or(bytes, start, [b'>', b'/', b'='])?;
        if bytes.get(name_end) == Some(&b'>') {
            return Some(Extent { name_end, close: name_end });
        }
        let close = self.tag_end(name_end)?;
        if bytes.get(name_end) != Some(&b'=') {
            return Some(Extent { name_end, close });
        }
        let length = bytes.get(start..close)?.iter().position(|&byte| byte == b'/' || bytes::is(byte, SPACE));
        Some(Extent { name_end: length.map_or(close, |length| start + length), close })
    }

    /// Reads the markup at a `<`; none if it shows nothing.
    #[inline(always)]
    fn markup(&mut self, at: usize) -> Option<Token<'a>> {
        let bytes = self.input.as_bytes();
        if let Some(Extent { name_end, close }) = self.ahead.take() {
            self.at = close + 1;
            let name = self.slice(at + 1, name_end);
            if name_end == close {
                return Some(Token::Start(Tag { name, empty: false, attributes: "" }));
            }
            let empty =
                bytes.get(close - 1) == Some(&b'/') && !ends_in_bare_value(self.slice(at + 1, close - 1));
            let attributes = self.slice(name_end, close - usize::from(empty));
            return Some(Token::Start(Tag { name, empty, attributes }));
        }
        match bytes.get(at + 1) {
            Some(b'!') => self.declaration(at),
            Some(b'/') => {
                let name = bytes.get(at + 2..)?;
                let length =
                    name.iter().position(|&byte| matches!(byte, b'>' | b'/') || bytes::is(byte, SPACE))?;
                let end = at + 2 + length;
                self.at = self.find(b'>', end).map_or(bytes.len(), |close| close + 1);
                Some(Token::End(self.slice(at + 2, end)))
            }
            _ => {
                self.at = self.find(b'>', at).map_or(bytes.len(), |close| close + 1);
                None
            }
        }
    }

    fn declaration(&mut self, at: usize) -> Option<Token<'a>> {
        const CDATA: &str = "<![CDATA[";
        let rest = self.slice(at, self.input.len());
        if let Some(text) = rest.strip_prefix(CDATA) {
            let length = memmem::find(text.as_bytes(), b"]]>");
            let start = at + CDATA.len();
            let end = length.map_or(self.input.len(), |length| start + length);
            self.at = length.map_or(end, |_| end + 3);
            return Some(Token::Cdata(self.slice(start, end)));
        }
        if rest.starts_with("<!--") {
            let end = if self.no_more_comments { None } else { memmem::find(rest.as_bytes(), b"-->") };
            self.no_more_comments |= end.is_none();
            // Nothing that follows may be lost to a comment that never ends.
            self.at = end.map_or(at + 4, |end| at + end + 3);
            return None;
        }
        let close = self.find(b'>', at);
        self.at = close.map_or(at + 2, |close| close + 1);
        close.is_none().then(|| Token::Text(self.slice(at, at + 2)))
    }

    /// The next token. In place where every token of a page passes: one that is returned is written in small pieces and
    /// read in large ones, and the reading waits for the writing.
    #[inline(always)]
    pub(super) fn advance(&mut self) -> Option<Token<'a>> {
        let bytes = self.input.as_bytes();
        loop {
            let start = self.at;
            let mut at = start;
            let first = *bytes.get(start)?;
            let mut may_begin = first == b'<';
            let begins = loop {
                if may_begin && (self.ahead.is_some() || self.begins_markup(at)) {
                    break true;
                }
                let from = at + usize::from(may_begin);
                let Some(offset) = memchr(b'<', bytes.get(from..)?) else {
                    at = bytes.len();
                    break false;
                };
                at = from + offset;
                may_begin = true;
            };
            if at > start || !begins {
                self.at = at;
                return Some(Token::Text(self.slice(start, at)));
            }
            if let Some(token) = self.markup(at) {
                return Some(token);
            }
        }
    }
}

/// Whether the tag ends in the value of an attribute without quotes, which goes on up to the `>`: `<a href=x/>`.
fn ends_in_bare_value(inside: &str) -> bool {
    if inside.ends_with(['"', '\'', '=', ' ']) {
        return false;
    }
    inside.bytes().rev().take_while(|byte| !byte.is_ascii_whitespace()).any(|byte| byte == b'=')
}

impl<'a> Iterator for Tokenizer<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        self.advance()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(input: &str) -> String {
        let mut shown = String::new();
        for token in Tokenizer::new(input) {
            match token {
                Token::Text(text) => shown += &format!("[{text}]"),
                Token::Cdata(text) => shown += &format!("[={text}]"),
                Token::Start(tag) => shown += &format!("<{}{}>", tag.name, if tag.empty { "/" } else { "" }),
                Token::End(name) => shown += &format!("</{name}>"),
            }
        }
        shown
    }

    #[test]
    fn tags_text_and_cdata_are_told_apart() {
        assert_eq!(shown("a<b>c</b >d<br/><br />"), "[a]<b>[c]</b>[d]<br/><br/>");
        assert_eq!(shown("<![CDATA[a<b>]]]]><![CDATA[>c]]>"), "[=a<b>]]][=>c]");
        assert_eq!(shown("<?xml version='1.0'?><!DOCTYPE x><!-- <b> -->t"), "[t]");
        assert_eq!(shown("<ac:link ac:x=\"a > b\" y='<'>t"), "<ac:link>[t]");
        assert_eq!(
            shown("<a href=x/>t<i x='a=b'/><i x = \"y\"/><i nowrap/><i a=/>"),
            "<a>[t]<i/><i/><i/><i/>"
        );
    }

    #[test]
    fn what_is_no_markup_is_text() {
        for text in ["a < b", "1<2", "<", "a <", "<3", "</>", "< b>", "<b", "<b title=\"x", "</b", "<>"] {
            assert_eq!(shown(text), format!("[{text}]"), "{text}");
        }
        assert_eq!(shown("a < b <i>c"), "[a < b ]<i>[c]");
        assert_eq!(shown("<a title=\"x>text"), "<a>[text]", "a quote that never ends");
        assert_eq!(shown("<p isn't>text's"), "<p>[text's]", "a quote that opens no value");
        assert_eq!(shown("<![CDATA[never ends"), "[=never ends]");
        assert_eq!(shown("<!-- never ends"), "[ never ends]");
    }

    #[test]
    fn attributes_are_found_with_and_without_quotes() {
        let mut tokens =
            Tokenizer::new("<a one=\"1\" two = '2' three=3 four five=\"\" one=\"again\" six=x/y />");
        let Some(Token::Start(tag)) = tokens.next() else { panic!() };
        assert!(tag.empty);
        for (name, value) in
            [("one", "1"), ("two", "2"), ("three", "3"), ("four", ""), ("five", ""), ("six", "x/y")]
        {
            assert_eq!(tag.attribute(name), Some(value), "{name}");
        }
        assert_eq!(tag.attribute("seven"), None);
    }

    proptest! {
        #[test]
        fn any_input_is_read_to_its_end(input in "[<>/!?\\[\\]CDAT\"'=a b-]{0,60}|\\PC{0,40}") {
            let text: usize = Tokenizer::new(&input).map(|token| match token {
                Token::Text(text) | Token::Cdata(text) => text.len(),
                Token::Start(tag) => { let _ = tag.attribute("a"); 0 }
                Token::End(_) => 0,
            }).sum();
            prop_assert!(text <= input.len());
        }
    }
}
