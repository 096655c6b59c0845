//! Splits storage format into text, tags and CDATA.
//!
//! Storage format is an XHTML fragment with unbound prefixes, and not always well-formed: an XML parser stops at the
//! first fault, and the page with it. This tokenizer goes on where a browser would: a `<` that begins no tag is text,
//! a tag that never ends is text, attributes may lack quotes. It borrows from the input, allocates nothing, and looks
//! at each byte a bounded number of times: a search that failed once is not made again further on.

use memchr::{memchr, memmem};

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
        let start = bytes.iter().position(|&byte| !byte.is_ascii_whitespace() && byte != b'/')?;
        let name = bytes.get(start + 1..)?;
        let length = name.iter().position(|&byte| byte == b'=' || byte.is_ascii_whitespace());
        let end = length.map_or(bytes.len(), |length| start + 1 + length);
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
            _ => value.split_at(value.find(|c: char| c.is_ascii_whitespace()).unwrap_or(value.len())),
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
    /// Markup behind the text that was given last.
    ahead: Option<(Option<Token<'a>>, usize)>,
}

impl<'a> Tokenizer<'a> {
    pub(super) fn new(input: &'a str) -> Self {
        Self { input, at: 0, no_more: [false; 3], no_more_comments: false, ahead: None }
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
            let found = bytes.get(at..)?.iter().position(|byte| matches!(byte, b'>' | b'"' | b'\''));
            let Some(found) = found.map(|offset| at + offset) else {
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

    /// Reads the markup at a `<`; none if it is text after all. Some(None) is markup that shows nothing.
    fn markup(&mut self, at: usize) -> Option<(Option<Token<'a>>, usize)> {
        let bytes = self.input.as_bytes();
        let first = *bytes.get(at + 1)?;
        if first == b'!' {
            return Some(self.declaration(at));
        }
        if self.no_more[0] {
            return None;
        }
        match first {
            b'/' => {
                if !bytes.get(at + 2)?.is_ascii_alphabetic() {
                    return None;
                }
                let length = bytes.get(at + 2..)?.iter().position(|&byte| ends_name(byte));
                let end = length.map_or(bytes.len(), |length| at + 2 + length);
                let close = if bytes.get(end) == Some(&b'>') { end } else { self.find(b'>', end)? };
                Some((Some(Token::End(self.slice(at + 2, end))), close + 1))
            }
            b'?' => {
                let close = self.find(b'>', at + 2)?;
                Some((None, close + 1))
            }
            _ if first.is_ascii_alphabetic() => {
                let start = at + 1;
                let stops = |&byte: &u8| ends_name(byte) || byte == b'=';
                let Some(length) = bytes.get(start..)?.iter().position(stops) else {
                    self.no_more[0] = true;
                    return None;
                };
                let mut end = start + length;
                if bytes.get(end) == Some(&b'>') {
                    let name = self.slice(start, end);
                    return Some((Some(Token::Start(Tag { name, empty: false, attributes: "" })), end + 1));
                }
                let close = self.tag_end(end)?;
                let inside = self.slice(start, close);
                if bytes.get(end) == Some(&b'=') {
                    let space = inside.bytes().position(|byte| byte.is_ascii_whitespace() || byte == b'/');
                    end = space.map_or(close, |length| start + length);
                }
                let (close_inside, empty) = match inside.strip_suffix('/') {
                    Some(inside) if !ends_in_bare_value(inside) => (close - 1, true),
                    _ => (close, false),
                };
                let name = self.slice(start, end);
                let tag = Tag { name, empty, attributes: self.slice(end, close_inside) };
                Some((Some(Token::Start(tag)), close + 1))
            }
            _ => None,
        }
    }

    fn declaration(&mut self, at: usize) -> (Option<Token<'a>>, usize) {
        const CDATA: &str = "<![CDATA[";
        let rest = self.slice(at, self.input.len());
        if rest.starts_with(CDATA) {
            let start = at + CDATA.len();
            let text = self.slice(start, self.input.len());
            let length = memmem::find(text.as_bytes(), b"]]>");
            let end = length.map_or(self.input.len(), |length| start + length);
            return (Some(Token::Cdata(self.slice(start, end))), length.map_or(end, |_| end + 3));
        }
        if rest.starts_with("<!--") {
            let end = if self.no_more_comments { None } else { memmem::find(rest.as_bytes(), b"-->") };
            self.no_more_comments |= end.is_none();
            // Nothing that follows may be lost to a comment that never ends.
            return (None, end.map_or(at + 4, |end| at + end + 3));
        }
        match self.find(b'>', at) {
            Some(close) => (None, close + 1),
            None => (Some(Token::Text(self.slice(at, at + 2))), at + 2),
        }
    }
}

/// Whether the byte ends the name of a tag.
fn ends_name(byte: u8) -> bool {
    matches!(byte, b'>' | b'/' | b' ' | b'\n' | b'\t' | b'\r' | b'\x0c')
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
        loop {
            if let Some((token, end)) = self.ahead.take() {
                self.at = end;
                if token.is_some() {
                    return token;
                }
            }
            let (start, bytes) = (self.at, self.input.as_bytes());
            let mut from = start;
            if *bytes.get(start)? == b'<' {
                if let Some((token, end)) = self.markup(start) {
                    self.at = end;
                    if token.is_some() {
                        return token;
                    }
                    continue;
                }
                from += 1;
            }
            loop {
                let Some(at) = memchr(b'<', bytes.get(from..)?).map(|offset| from + offset) else {
                    self.at = bytes.len();
                    break;
                };
                self.ahead = self.markup(at);
                if self.ahead.is_some() {
                    self.at = at;
                    break;
                }
                from = at + 1;
            }
            return Some(Token::Text(self.slice(start, self.at)));
        }
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
