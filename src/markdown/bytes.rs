//! What a byte is to those who look for it: one table for all of them.
//!
//! Comparing a byte with several others becomes a jump table in WebAssembly, which no processor foresees; looking it up
//! takes no jump at all.

use memchr::memchr_iter;

/// White space between attributes.
pub(super) const SPACE: u16 = 1;
/// May end the name of a tag: `>`, `/` and white space do, `=` is a part of it, but a value may begin behind it.
pub(super) const NAME_END: u16 = 1 << 1;
/// Ends a tag or may begin a value: `>` and quotes.
pub(super) const TAG_STOP: u16 = 1 << 2;
/// Ends the name of an attribute: `=` and white space.
pub(super) const ATTRIBUTE_END: u16 = 1 << 3;
/// May need a backslash in text.
pub(super) const SPECIAL: u16 = 1 << 4;
/// Is folded in text or may begin a character that is: a space, a control character, the first byte of U+0080 to U+00BF.
pub(super) const FOLDED: u16 = 1 << 5;
/// Is not written as it stands in a link's destination.
pub(super) const DESTINATION: u16 = 1 << 6;
/// Is percent-encoded in the segment of a path.
pub(super) const SEGMENT: u16 = 1 << 7;
/// Cannot stand in an address between angle brackets.
pub(super) const NO_AUTOLINK: u16 = 1 << 8;
/// Is a control character or may begin one.
pub(super) const CONTROL: u16 = 1 << 9;

#[expect(clippy::indexing_slicing, reason = "the compiler evaluates it")]
static CLASSES: [u16; 256] = {
    let mut classes = [0; 256];
    let mut byte = 0_u8;
    loop {
        let mut class = 0;
        if byte.is_ascii_whitespace() {
            class |= SPACE | NAME_END | ATTRIBUTE_END;
        }
        if matches!(byte, b'>' | b'/' | b'=') {
            class |= NAME_END;
        }
        if matches!(byte, b'>' | b'"' | b'\'') {
            class |= TAG_STOP;
        }
        if byte == b'=' {
            class |= ATTRIBUTE_END;
        }
        if matches!(byte, b'\\' | b'*' | b'_' | b'`' | b'[' | b']' | b'<' | b'&' | b'~' | b'|') {
            class |= SPECIAL;
        }
        if byte < b' ' || byte == 0x7f || byte == 0xc2 {
            class |= FOLDED | CONTROL;
        }
        if byte == b' ' {
            class |= FOLDED;
        }
        if !byte.is_ascii_graphic() || matches!(byte, b'(' | b')' | b'\\' | b'<' | b'>' | b'`' | b'|' | b'&')
        {
            class |= DESTINATION;
        }
        if !byte.is_ascii_alphanumeric() && !matches!(byte, b'-' | b'.' | b'_' | b'~' | b':') {
            class |= SEGMENT;
        }
        if !byte.is_ascii_graphic() || matches!(byte, b'<' | b'>' | b'[' | b']' | b'\\' | b'|' | b'`') {
            class |= NO_AUTOLINK;
        }
        classes[byte as usize] = class;
        if byte == u8::MAX {
            break classes;
        }
        byte += 1;
    }
};

/// Whether the byte is of one of these classes.
pub(super) fn is(byte: u8, classes: u16) -> bool {
    CLASSES.get(usize::from(byte)).is_some_and(|found| found & classes != 0)
}

/// Where the first byte of one of these classes stands, at `from` or behind it.
pub(super) fn find(bytes: &[u8], from: usize, classes: u16) -> Option<usize> {
    let rest = bytes.get(from..)?;
    rest.iter().position(|&byte| is(byte, classes)).map(|at| from + at)
}

/// Whether the two are equal. Names are short: without a call, eight bytes at a time.
pub(super) fn equal(left: &[u8], right: &[u8]) -> bool {
    let ((left_words, left), (right_words, right)) = (left.as_chunks::<8>(), right.as_chunks::<8>());
    left_words.len() == right_words.len()
        && left.len() == right.len()
        && left_words
            .iter()
            .zip(right_words)
            .all(|(left, right)| u64::from_ne_bytes(*left) == u64::from_ne_bytes(*right))
        && left.iter().zip(right).all(|(left, right)| left == right)
}

/// How long the longest run of the ASCII character is.
pub(super) fn longest_run(byte: u8, text: &str) -> usize {
    let (mut longest, mut run, mut behind) = (0, 0, 0);
    for at in memchr_iter(byte, text.as_bytes()) {
        run = if at == behind { run + 1 } else { 1 };
        behind = at + 1;
        longest = longest.max(run);
    }
    longest
}
