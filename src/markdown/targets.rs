//! What links and images point to: `ri:*` identifiers and hrefs turned into addresses.

use std::borrow::Cow;

use super::Page;
use super::bytes::{self, SEGMENT};
use super::elements::Resource;
use super::entities::decode;
use super::tokenizer::Tag;

/// An address that must not be followed, such as `javascript:`.
const UNSAFE_ADDRESS: &str = "unsafe address";

/// Nothing says what the target is.
const NAMELESS: &str = "nameless";

/// Everything that `ri:*` elements say of one link or image, decoded.
#[derive(Debug, Default, Clone)]
pub(super) struct Target<'a> {
    kind: Option<Resource>,
    title: Option<Cow<'a, str>>,
    space: Option<Cow<'a, str>>,
    day: Option<Cow<'a, str>>,
    file: Option<Cow<'a, str>>,
    url: Option<Cow<'a, str>>,
    /// Id of the page or content.
    content: Option<Cow<'a, str>>,
    /// Account id; Data Center's user names and keys name nobody on Cloud.
    user: Option<Cow<'a, str>>,
    shortcut: Option<Cow<'a, str>>,
    /// Part of the page.
    pub(super) anchor: Option<Cow<'a, str>>,
}

/// The attributes of these names, decoded; none where one is missing or empty.
fn named<'a, const N: usize>(tag: &Tag<'a>, names: [&str; N]) -> [Option<Cow<'a, str>>; N] {
    let mut raw = [None; N];
    for (name, value) in tag.attributes() {
        for (slot, wanted) in raw.iter_mut().zip(names) {
            if name == wanted {
                slot.get_or_insert(value);
            }
        }
    }
    raw.map(|raw| raw.map(decode).filter(|value| !value.is_empty()))
}

impl<'a> Target<'a> {
    /// Takes in one `ri:*` element; a page inside of an attachment says which page holds the file.
    pub(super) fn add(&mut self, resource: Resource, tag: &Tag<'a>) {
        let attribute = |name: &str| tag.attribute(name).map(decode).filter(|value| !value.is_empty());
        match resource {
            Resource::Page | Resource::BlogPost => {
                let names = ["ri:content-title", "ri:space-key", "ri:posting-day", "ri:content-id"];
                let [title, space, day, content] = named(tag, names);
                self.title = title.or(self.title.take());
                self.space = space.or(self.space.take());
                self.day = day.or(self.day.take());
                self.content = content.or(self.content.take());
            }
            Resource::Attachment => self.file = attribute("ri:filename"),
            Resource::User => self.user = attribute("ri:account-id"),
            Resource::Space => self.space = attribute("ri:space-key"),
            Resource::Shortcut => self.shortcut = attribute("ri:parameter").or_else(|| attribute("ri:key")),
            Resource::ContentEntity => self.content = attribute("ri:content-id"),
            Resource::Url => self.url = attribute("ri:value"),
        }
        // Of nested identifiers the outer one says what the target is; a file is one wherever its page is named.
        if resource == Resource::Attachment {
            self.kind = Some(resource);
        }
        self.kind.get_or_insert(resource);
    }

    /// The page that a macro names in plain text: `Title`, or `KEY:Title`.
    pub(super) fn page_named(name: &'a str) -> Self {
        let is_key = |key: &str| {
            let letters = key.strip_prefix('~').unwrap_or(key);
            !letters.is_empty() && letters.bytes().all(|byte| byte.is_ascii_alphanumeric())
        };
        let (space, title) = match name.split_once(':') {
            Some((key, title)) if is_key(key) && !title.trim().is_empty() => {
                (Some(Cow::Borrowed(key)), title.trim())
            }
            _ => (None, name),
        };
        Self { kind: Some(Resource::Page), title: Some(Cow::Borrowed(title)), space, ..Self::default() }
    }

    /// The file of the page itself that a macro names in plain text.
    pub(super) fn file_named(name: &'a str) -> Self {
        Self { kind: Some(Resource::Attachment), file: Some(Cow::Borrowed(name)), ..Self::default() }
    }

    pub(super) fn is_some(&self) -> bool {
        self.kind.is_some()
    }

    /// The address; none where the page does not say enough, or must not be linked to.
    pub(super) fn address(&self, page: &Page<'_>) -> Option<String> {
        let base = page.base_url;
        let begin = |path: &str, more: usize| {
            let anchor = self.anchor.as_ref().map_or(0, |anchor| anchor.len() + 1);
            let mut address = String::with_capacity(base.len() + path.len() + more + anchor);
            address.push_str(base);
            address.push_str(path);
            address
        };
        let of_page = || match (&self.content, &self.title) {
            (Some(id), _) => {
                let mut address = begin("/wiki/pages/viewpage.action?pageId=", id.len());
                push_encoded(&mut address, id, "%20");
                Some(address)
            }
            (None, Some(title)) => {
                let space = self.space.as_deref().unwrap_or(page.space_key);
                let mut address = begin("/wiki/display/", space.len() + title.len() + 16);
                push_encoded(&mut address, space, "%20");
                if let Some(day) = &self.day {
                    address.push('/');
                    address.push_str(day);
                }
                address.push('/');
                push_encoded(&mut address, title, "+");
                Some(address)
            }
            (None, None) => None,
        };
        let of_one = |path: &str, name: &Option<Cow<'_, str>>| {
            name.as_ref().map(|name| {
                let mut address = begin(path, name.len());
                push_encoded(&mut address, name, "%20");
                address
            })
        };
        let mut address = match self.kind {
            Some(Resource::Page | Resource::BlogPost | Resource::ContentEntity) => of_page(),
            Some(Resource::Attachment) => match (&self.file, &self.content, &self.title) {
                // The file's own address needs the id of the page that holds it.
                (_, None, Some(_)) => of_page(),
                (Some(file), id, _) => {
                    let id = id.as_deref().unwrap_or(page.id);
                    let mut address = begin("/wiki/download/attachments/", id.len() + file.len() + 9);
                    push_encoded(&mut address, id, "%20");
                    address.push('/');
                    push_encoded(&mut address, file, "%20");
                    Some(address)
                }
                (None, ..) => None,
            },
            Some(Resource::User) => of_one("/wiki/people/", &self.user),
            Some(Resource::Space) => of_one("/wiki/spaces/", &self.space),
            Some(Resource::Url) => self.url.as_deref().and_then(|url| link(url, base)).map(Cow::into_owned),
            Some(Resource::Shortcut) => None,
            None => self.anchor.as_ref().map(|_| String::new()),
        }?;
        if let Some(anchor) = &self.anchor {
            address.push('#');
            address.push_str(anchor);
        }
        Some(address)
    }

    /// Whether it names a file that only its page is known of: no address of the file can be told.
    pub(super) fn is_file_of_other_page(&self) -> bool {
        self.kind == Some(Resource::Attachment) && self.content.is_none() && self.title.is_some()
    }

    /// Why nobody gets to the target by this `address`, which is its own: one of a few words for the operator.
    pub(super) fn unresolved(&self, address: Option<&str>) -> Option<&'static str> {
        if self.is_file_of_other_page() {
            return Some("file of another page");
        }
        match (address, self.kind) {
            (Some(_), _) => None,
            (None, Some(Resource::Shortcut)) => Some("shortcut"),
            (None, Some(Resource::User)) => Some("user"),
            (None, Some(Resource::Url)) => Some(missing(self.url.as_deref().unwrap_or_default())),
            (None, _) => Some(NAMELESS),
        }
    }

    /// What describes an image that has no text: the name of its file.
    pub(super) fn file_name(&self) -> Option<&str> {
        match (self.kind, &self.url) {
            (Some(Resource::Url), Some(url)) => {
                let path = url.split(['?', '#']).next().unwrap_or_default();
                path.rsplit('/').next().filter(|name| !name.is_empty())
            }
            _ => self.name(),
        }
    }

    /// What is shown where the link has no text of its own.
    pub(super) fn name(&self) -> Option<&str> {
        match self.kind {
            Some(Resource::Page | Resource::BlogPost) => self.title.as_deref(),
            Some(Resource::Attachment) => self.file.as_deref(),
            // The storage holds no name of the person (facts E6).
            Some(Resource::User) => Some("@user"),
            Some(Resource::Space) => self.space.as_deref(),
            Some(Resource::Shortcut) => self.shortcut.as_deref(),
            Some(Resource::Url) => self.url.as_deref(),
            Some(Resource::ContentEntity) => self.title.as_deref().or(self.content.as_deref()),
            None => self.anchor.as_deref(),
        }
    }
}

/// Replaces what is percent-encoded, if that gives text.
pub(super) fn decoded(segment: &str) -> Cow<'_, str> {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let digit = |at: usize| after.get(at).and_then(|&byte| char::from(byte).to_digit(16));
        rest = match (byte, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => {
                bytes.push(u8::try_from(high * 16 + low).unwrap_or_default());
                after.get(2..).unwrap_or_default()
            }
            _ => {
                bytes.push(byte);
                after
            }
        };
    }
    String::from_utf8(bytes).map_or(Cow::Borrowed(segment), Cow::Owned)
}

/// The address of an href that may be linked to; relative ones begin at the workspace.
pub(super) fn link<'a>(href: &'a str, base: &str) -> Option<Cow<'a, str>> {
    let trimmed = href.trim_matches(|c: char| c.is_whitespace() || c.is_control());
    // Browsers take line ends and tabs out of an address (WHATWG URL, 4.4).
    if memchr::memchr3(b'\t', b'\n', b'\r', trimmed.as_bytes()).is_some() {
        let joined: String = trimmed.chars().filter(|c| !matches!(c, '\t' | '\n' | '\r')).collect();
        return link(&joined, base).map(|address| Cow::Owned(address.into_owned()));
    }
    if trimmed.is_empty() || is_unsafe(trimmed) {
        return None;
    }
    // Without a scheme it is the one of the page.
    if trimmed.starts_with("//") {
        return Some(Cow::Owned(format!("https:{trimmed}")));
    }
    if trimmed.starts_with('/') {
        return Some(Cow::Owned(format!("{base}{trimmed}")));
    }
    Some(Cow::Borrowed(trimmed))
}

/// Why [`link`] gives none for this href.
pub(super) fn missing(href: &str) -> &'static str {
    if href.trim().is_empty() { NAMELESS } else { UNSAFE_ADDRESS }
}

/// Whether nobody may follow the address, which begins with a visible character.
fn is_unsafe(address: &str) -> bool {
    if !address.starts_with(['j', 'J', 'd', 'D', 'v', 'V']) {
        return false;
    }
    // Browsers ignore white space and control characters inside of a scheme.
    let visible = address.chars().filter(|c| !c.is_whitespace() && !c.is_control());
    let squeezed = visible.take(12).collect::<String>().to_ascii_lowercase();
    ["javascript:", "data:", "vbscript:"].iter().any(|scheme| squeezed.starts_with(scheme))
}

/// Percent-encodes a path segment; only RFC 3986's unreserved characters and the colon stay.
pub(super) fn encoded(segment: &str) -> String {
    let mut text = String::with_capacity(segment.len());
    push_encoded(&mut text, segment, "%20");
    text
}

/// Appends a percent-encoded path segment, with `space` for a space.
fn push_encoded(text: &mut String, segment: &str, space: &str) {
    let mut rest = segment;
    while let Some(at) = bytes::find(rest.as_bytes(), 0, SEGMENT) {
        // Every byte of a longer character is encoded, so a piece that stays ends between two characters.
        text.push_str(rest.get(..at).unwrap_or_default());
        let after = rest.get(at..).unwrap_or_default();
        let Some(c) = after.chars().next() else { return };
        rest = after.get(c.len_utf8()..).unwrap_or_default();
        if c == ' ' {
            text.push_str(space);
            continue;
        }
        for byte in c.encode_utf8(&mut [0; 4]).bytes() {
            push_percent(text, byte);
        }
    }
    text.push_str(rest);
}

/// Appends a percent-encoded byte.
pub(super) fn push_percent(text: &mut String, byte: u8) {
    let digit = |digit: u8| char::from(if digit < 10 { b'0' + digit } else { b'A' + digit - 10 });
    text.push('%');
    text.push(digit(byte >> 4));
    text.push(digit(byte & 15));
}
