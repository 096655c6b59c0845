//! Names of folders and files that every file system takes, and that no two of them take for the same.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest as _, Sha256};
use unicode_normalization::UnicodeNormalization as _;

/// Lists the pages of a folder. No page's file has this name: those end in an id.
pub(super) const INDEX: &str = "index.md";

/// Longest name, in bytes. Most file systems take 255; eCryptfs, under which home directories are encrypted, takes 143.
const LONGEST_NAME: usize = 143;

/// Longest id that becomes part of a name as it is: the decimal digits of 64 bits.
const LONGEST_ID: usize = 20;

/// What is left for a title beside `_`, `-`, the longest id and `.md`.
const LONGEST_TITLE: usize = LONGEST_NAME - LONGEST_ID - 5;

/// What is left for a space key beside `_`, `-` and a digest.
const LONGEST_KEY: usize = LONGEST_NAME - 10;

/// The file of a page: `Title-ID.md`, or `ID.md` where nothing of the title is fit for a name.
pub(super) fn page_file(title: &str, id: &str) -> String {
    let title = safe(title, LONGEST_TITLE);
    let id = if is_number(id) { id.to_owned() } else { format!("x{}", digest(id, 16)) };
    if title.is_empty() { format!("{id}.md") } else { unreserved(format!("{title}-{id}.md")) }
}

/// What tells the file of one page from those of all others, whatever its title. None if it is no page's file.
pub(super) fn id_in(file: &str) -> Option<&str> {
    let id = file.strip_suffix(".md")?.rsplit('-').next()?;
    let is_digest =
        |text: &str| text.len() == 16 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    (is_number(id) || id.strip_prefix('x').is_some_and(is_digest)).then_some(id)
}

/// The folder of each space. A key that is a safe name itself names its folder; any other gets what is safe of it and a
/// digest, so that the name hangs on the key alone. Where names still clash, here or with what is `taken` (folded), the
/// later key gets a digest, too.
pub(super) fn folders<'a>(
    keys: impl IntoIterator<Item = &'a str>,
    mut taken: BTreeSet<String>,
) -> BTreeMap<&'a str, String> {
    let keys: BTreeSet<(bool, &str)> = keys.into_iter().map(|key| (!is_folder(key), key)).collect();
    let mut folders = BTreeMap::new();
    for (unsafe_key, key) in keys {
        let mut name = if unsafe_key { with_digest(key, 0) } else { key.to_owned() };
        let mut attempts = 0_u32;
        while !taken.insert(fold(&name)) {
            name = with_digest(key, attempts);
            attempts += 1;
        }
        folders.insert(key, name);
    }
    folders
}

/// The same for names that some file system takes for the same: without case, in one normalisation form.
pub(super) fn fold(name: &str) -> String {
    name.nfd().flat_map(char::to_uppercase).flat_map(char::to_lowercase).nfc().collect()
}

fn is_folder(key: &str) -> bool {
    !key.is_empty() && safe(key, LONGEST_KEY) == key && !is_reserved(key)
}

fn with_digest(key: &str, attempt: u32) -> String {
    let name = safe(key, LONGEST_KEY);
    let name = if name.is_empty() { "space" } else { &name };
    let digest = if attempt == 0 { digest(key, 8) } else { digest(&format!("{key}\n{attempt}"), 8) };
    unreserved(format!("{name}-{digest}"))
}

fn is_number(id: &str) -> bool {
    (1..=LONGEST_ID).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_digit())
}

fn digest(text: &str, digits: usize) -> String {
    let mut text: String = Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect();
    text.truncate(digits);
    text
}

/// Without separators, characters that Windows reserves, and what cannot be seen; no dot or space at its ends; in the
/// normalisation form that most systems type.
fn safe(text: &str, longest: usize) -> String {
    let mut name = String::new();
    for c in text.chars().filter(|c| !is_invisible(*c)).nfc() {
        let c = match c {
            '/' | '\\' | ':' | '*' | '?' | '"' | '<' | '>' | '|' => '-',
            c if c.is_control() || c.is_whitespace() => ' ',
            c => c,
        };
        if name.len() + c.len_utf8() > longest {
            break;
        }
        if !(c == ' ' && name.ends_with(' ')) {
            name.push(c);
        }
    }
    name.trim_matches([' ', '.']).to_owned()
}

/// Joiners, marks of direction, variation selectors, fillers, tags: with them two names look the same, or one looks
/// like another. Noncharacters, which some file systems refuse.
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{AD}' | '\u{34F}' | '\u{61C}' | '\u{115F}' | '\u{1160}' | '\u{17B4}' | '\u{17B5}' | '\u{3164}'
        | '\u{180B}'..='\u{180F}' | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{206F}'
        | '\u{FDD0}'..='\u{FDEF}' | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}' | '\u{FFA0}' | '\u{FFF0}'..='\u{FFFB}'
        | '\u{1BCA0}'..='\u{1BCA3}' | '\u{1D173}'..='\u{1D17A}' | '\u{E0000}'..='\u{E0FFF}')
        || u32::from(c) & 0xFFFE == 0xFFFE
}

/// Windows takes these names for devices, whatever their case and whatever follows the first dot.
fn is_reserved(name: &str) -> bool {
    let base = name.split('.').next().unwrap_or_default().trim_end().to_ascii_uppercase();
    let port = |text: &str| {
        let mut rest = text.chars();
        matches!((rest.next(), rest.next()), (Some('0'..='9' | '¹' | '²' | '³'), None))
    };
    matches!(base.as_str(), "CON" | "PRN" | "AUX" | "NUL" | "CONIN$" | "CONOUT$")
        || base.strip_prefix("COM").or_else(|| base.strip_prefix("LPT")).is_some_and(port)
}

fn unreserved(mut name: String) -> String {
    if is_reserved(&name) {
        name.insert(0, '_');
    }
    name
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn page_files_are_safe_on_every_file_system() {
        for (title, expected) in [
            ("Plain title", "Plain title-42.md"),
            ("a/b\\c:d*e?f\"g<h>i|j", "a-b-c-d-e-f-g-h-i-j-42.md"),
            ("../../etc/passwd", "-..-etc-passwd-42.md"),
            ("CON", "CON-42.md"),
            ("nul.txt", "_nul.txt-42.md"),
            ("Com1 .txt", "_Com1 .txt-42.md"),
            ("LPT².x", "_LPT².x-42.md"),
            ("COM10.x", "COM10.x-42.md"),
            ("tab\tand\nline\u{0}", "tab and line-42.md"),
            ("evil\u{202E}txt.exe\u{2066}", "eviltxt.exe-42.md"),
            ("zero\u{200B}width\u{FEFF}\u{AD}", "zerowidth-42.md"),
            ("\u{E0041}tag \u{FFFF}", "tag-42.md"),
            ("Cafe\u{301}", "Caf\u{E9}-42.md"),
            ("e\u{200D}\u{301}", "\u{E9}-42.md"),
            (" ... ", "42.md"),
            ("\u{202E}", "42.md"),
            ("", "42.md"),
        ] {
            assert_eq!(page_file(title, "42"), expected, "{title:?}");
        }
    }

    #[test]
    fn an_id_that_is_no_number_leads_nowhere_and_is_no_other_pages() {
        let ids = ["../../x", "index", "A", "a", "1-2", "", "123456789012345678901", "x", "٣"];
        let files: BTreeSet<String> = ids.iter().map(|id| fold(&page_file("", id))).collect();
        assert_eq!(files.len(), ids.len());
        for file in files {
            assert!(file.len() == 20 && file.starts_with('x') && id_in(&file).is_some(), "{file}");
        }
    }

    #[test]
    fn the_id_is_found_in_a_pages_file_and_in_no_other() {
        for (file, id) in [
            ("Title-with-7-42.md", Some("42")),
            ("42.md", Some("42")),
            (INDEX, None),
            ("notes-of-mine.md", None),
            ("x.md", None),
            ("42", None),
            ("42.txt", None),
        ] {
            assert_eq!(id_in(file), id, "{file}");
        }
    }

    fn folder(key: &str) -> String {
        folders([key], BTreeSet::new()).remove(key).unwrap()
    }

    #[test]
    fn folders_are_named_for_their_space_where_that_is_safe() {
        for key in ["ENG", "~712020ada", "COM10", "CONS", "日本"] {
            assert_eq!(folder(key), key);
        }
        for (key, start) in [
            ("CON", "CON-"),
            ("nul", "nul-"),
            ("PRN", "PRN-"),
            ("AUX", "AUX-"),
            ("COM1", "COM1-"),
            ("LPT9", "LPT9-"),
            ("NUL.x", "_NUL.x-"),
            ("..", "space-"),
            ("", "space-"),
            ("a/b", "a-b-"),
            ("END.", "END-"),
            ("END ", "END-"),
            ("E\u{202E}NG", "ENG-"),
            ("e\u{301}", "\u{E9}-"),
        ] {
            let name = folder(key);
            let digest = name.strip_prefix(start).unwrap_or_else(|| panic!("{key:?}: {name}"));
            assert!(digest.len() == 8 && !is_reserved(&name), "{name}");
        }
    }

    #[test]
    fn folders_that_some_file_system_takes_for_the_same_get_a_suffix_whatever_their_order() {
        let keys = ["eng", "ENG", "Eng", "a/b", "a:b", "CON", "con", "\u{E9}", "\u{C9}", "e\u{301}"];
        let names = folders(keys, BTreeSet::new());
        assert_eq!(names["ENG"], "ENG");
        let folded: BTreeSet<String> = names.values().map(|name| fold(name)).collect();
        assert_eq!(folded.len(), keys.len(), "{names:?}");
        let reversed = folders(keys.into_iter().rev(), BTreeSet::new());
        assert_eq!(names, reversed);
        let squatter = names["CON"].as_str();
        let names = folders(["CON", squatter], BTreeSet::new());
        assert_eq!(names[squatter], squatter);
        assert!(names["CON"].starts_with("CON-") && names["CON"] != squatter);
    }

    #[test]
    fn a_folder_that_is_taken_is_not_used() {
        let names = folders(["ENG"], BTreeSet::from([fold("Eng")]));
        assert!(names["ENG"].starts_with("ENG-"), "{names:?}");
        let both = BTreeSet::from([fold("Eng"), fold(&names["ENG"])]);
        assert!(!both.contains(&fold(&folders(["ENG"], both.clone())["ENG"])));
    }

    fn assert_safe(name: &str) {
        assert!(!name.is_empty() && name.len() <= LONGEST_NAME, "{name:?}");
        assert!(!name.ends_with(['.', ' ']) && !name.starts_with(['.', ' ']), "{name:?}");
        assert!(
            !name.chars().any(|c| c.is_control() || is_invisible(c) || "/\\:*?\"<>|".contains(c)),
            "{name:?}"
        );
        assert!(!is_reserved(name), "{name:?}");
        assert!(name.nfc().eq(name.chars()), "{name:?}");
    }

    proptest! {
        #[test]
        fn any_name_is_safe(text in "\\PC{0,60}|(?s).{0,300}", id in "[0-9]{1,20}|.{0,30}") {
            let file = page_file(&text, &id);
            assert_safe(&file);
            let again = page_file("", &id);
            prop_assert_eq!(id_in(&file), again.strip_suffix(".md"));
            assert_safe(&folder(&text));
        }
    }

    #[test]
    fn long_names_are_cut() {
        for c in ["a", "é", "日", "😀"] {
            assert_safe(&page_file(&c.repeat(500), "12345678901234567890"));
            assert_safe(&folder(&c.repeat(500)));
        }
    }
}
