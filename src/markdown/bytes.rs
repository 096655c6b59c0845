//! What a byte is to those who look for it: one table for all of them.
//!
//! Comparing a byte with several others becomes a jump table in WebAssembly, which no processor foresees; looking it up
//! takes no jump at all.

use memchr::memchr_iter;

/// White space between attributes.
pub(super) const SPACE: u16 = 1;
/// May need a backslash in text.
pub(super) const SPECIAL: u16 = 1 << 1;
/// Is folded in text or may begin a character that is: a space, a control character, the first byte of U+0080 to U+00BF.
pub(super) const FOLDED: u16 = 1 << 2;
/// Is not written as it stands in a link's destination.
pub(super) const DESTINATION: u16 = 1 << 3;
/// Is percent-encoded in the segment of a path.
pub(super) const SEGMENT: u16 = 1 << 4;
/// Cannot stand in an address between angle brackets.
pub(super) const NO_AUTOLINK: u16 = 1 << 5;
/// Is a control character or may begin one.
pub(super) const CONTROL: u16 = 1 << 6;

#[expect(clippy::indexing_slicing, reason = "the compiler evaluates it")]
static CLASSES: [u16; 256] = {
    let mut classes = [0; 256];
    let mut byte = 0_u8;
    loop {
        let mut class = 0;
        if byte.is_ascii_whitespace() {
            class |= SPACE;
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

/// Every byte of a word.
const ALL: u64 = u64::MAX / 255;

/// Where the first of these bytes stands, at `from` or behind it. What is searched for in tags is near: eight bytes are
/// looked at at a time.
#[inline(always)]
pub(super) fn find_any<const N: usize>(bytes: &[u8], from: usize, wanted: [u8; N]) -> Option<usize> {
    find_in_words(bytes, from, |word| any_of(word, wanted), |byte| wanted.contains(&byte))
}

/// The same, or white space.
#[inline(always)]
pub(super) fn find_space_or<const N: usize>(bytes: &[u8], from: usize, wanted: [u8; N]) -> Option<usize> {
    let mut from = from;
    loop {
        // Control characters stand below the space, and are hardly ever met.
        let below = |word: u64| any_of(word, wanted) | (word.wrapping_sub(ALL * (b' ' as u64 + 1)) & !word);
        let at = find_in_words(bytes, from, below, |byte| byte <= b' ' || wanted.contains(&byte))?;
        let found = *bytes.get(at)?;
        if found > b' ' || is(found, SPACE) {
            return Some(at);
        }
        from = at + 1;
    }
}

/// In a word, the high bit of the first byte that is one of these, and those of some behind it.
#[inline(always)]
fn any_of<const N: usize>(word: u64, wanted: [u8; N]) -> u64 {
    wanted.iter().fold(0, |found, &byte| {
        let differs = word ^ (ALL * u64::from(byte));
        found | (differs.wrapping_sub(ALL) & !differs)
    })
}

#[inline(always)]
fn find_in_words(
    bytes: &[u8],
    from: usize,
    in_word: impl Fn(u64) -> u64,
    is_wanted: impl Fn(u8) -> bool,
) -> Option<usize> {
    let mut at = from;
    while let Some(word) = bytes.get(at..).and_then(<[u8]>::first_chunk) {
        let found = in_word(u64::from_le_bytes(*word)) & (ALL << 7);
        if found != 0 {
            return Some(at + found.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    let rest = bytes.get(at..)?;
    rest.iter().position(|&byte| is_wanted(byte)).map(|offset| at + offset)
}

/// Whether the two are equal. Names are short: without a call, and mostly without a loop.
#[inline]
pub(super) fn equal(left: &[u8], right: &[u8]) -> bool {
    if left.len() != right.len() {
        return false;
    }
    // The beginning and the end, which may overlap.
    if let (Some(first), Some(second), Some(third), Some(fourth)) =
        (left.first_chunk::<8>(), right.first_chunk::<8>(), left.last_chunk::<8>(), right.last_chunk::<8>())
    {
        return first == second && third == fourth && (left.len() <= 16 || left == right);
    }
    if let (Some(first), Some(second), Some(third), Some(fourth)) =
        (left.first_chunk::<4>(), right.first_chunk::<4>(), left.last_chunk::<4>(), right.last_chunk::<4>())
    {
        return first == second && third == fourth;
    }
    match (left, right) {
        ([first, .., last], [other_first, .., other_last]) => {
            first == other_first && last == other_last && left.get(1) == right.get(1)
        }
        _ => left.first() == right.first(),
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_search_finds_the_first(bytes in "[a-c =>\t\x0b\u{7f}-\u{81}]{0,40}", from in 0..50_usize) {
            let bytes = bytes.as_bytes();
            let first = |is_wanted: fn(u8) -> bool| {
                let mut found = bytes.iter().enumerate().skip(from).filter(|(_, byte)| is_wanted(**byte));
                found.next().map(|(at, _)| at)
            };
            prop_assert_eq!(find_any(bytes, from, [b'=', b'>']), first(|byte| matches!(byte, b'=' | b'>')));
            let expected = first(|byte| byte.is_ascii_whitespace() || byte == b'=');
            prop_assert_eq!(find_space_or(bytes, from, [b'=']), expected);
        }

        #[test]
        fn only_equal_names_are_equal(left in "[ab]{0,20}", right in "[ab]{0,20}", at in 0..20_usize) {
            let (left, right) = (left.as_bytes(), right.as_bytes());
            prop_assert_eq!(equal(left, right), left == right);
            prop_assert!(equal(left, left));
            let mut other = left.to_vec();
            if let Some(byte) = other.get_mut(at) {
                *byte = b'c';
                prop_assert!(!equal(left, &other));
            }
        }
    }
}
