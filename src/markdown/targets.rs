//! What links and images point to: `ri:*` identifiers and hrefs turned into addresses.

use std::borrow::Cow;

use super::Page;
use super::elements::Resource;
use super::entities::decode;
use super::tokenizer::Tag;

/// An address that must not be followed, such as `javascript:`.
const UNSAFE_ADDRESS: &str = "unsafe address";

/// Nothing says what the target is.
const NAMELESS: &str = "nameless";

/// Everything that `ri:*` elements say of one link or image, decoded.
#[derive(Debug, Default, Clone)]
pub(super) struct Target {
    kind: Option<Resource>,
    title: Option<String>,
    space: Option<String>,
    day: Option<String>,
    file: Option<String>,
    url: Option<String>,
    /// Id of the page or content.
    content: Option<String>,
    /// Account id; Data Center's user names and keys name nobody on Cloud.
    user: Option<String>,
    shortcut: Option<String>,
    /// Part of the page.
    pub(super) anchor: Option<String>,
}

impl Target {
    /// Takes in one `ri:*` element; a page inside of an attachment says which page holds the file.
    pub(super) fn add(&mut self, resource: Resource, tag: &Tag<'_>) {
        let attribute =
            |name: &str| tag.attribute(name).map(|raw| decode(raw).into_owned()).filter(|v| !v.is_empty());
        match resource {
            Resource::Page | Resource::BlogPost => {
                self.title = attribute("ri:content-title").or(self.title.take());
                self.space = attribute("ri:space-key").or(self.space.take());
                self.day = attribute("ri:posting-day").or(self.day.take());
                self.content = attribute("ri:content-id").or(self.content.take());
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
    pub(super) fn page_named(name: &str) -> Self {
        let is_key = |key: &str| {
            let letters = key.strip_prefix('~').unwrap_or(key);
            !letters.is_empty() && letters.bytes().all(|byte| byte.is_ascii_alphanumeric())
        };
        let (space, title) = match name.split_once(':') {
            Some((key, title)) if is_key(key) && !title.trim().is_empty() => {
                (Some(key.to_owned()), title.trim())
            }
            _ => (None, name),
        };
        Self { kind: Some(Resource::Page), title: Some(title.to_owned()), space, ..Self::default() }
    }

    /// The file of the page itself that a macro names in plain text.
    pub(super) fn file_named(name: &str) -> Self {
        Self { kind: Some(Resource::Attachment), file: Some(name.to_owned()), ..Self::default() }
    }

    pub(super) fn is_some(&self) -> bool {
        self.kind.is_some()
    }

    /// The address; none where the page does not say enough, or must not be linked to.
    pub(super) fn address(&self, page: &Page<'_>) -> Option<String> {
        let base = page.base_url;
        let of_page = || match (&self.content, &self.title) {
            (Some(id), _) => Some(format!("{base}/wiki/pages/viewpage.action?pageId={}", encoded(id))),
            (None, Some(title)) => {
                let space = encoded(self.space.as_deref().unwrap_or(page.space_key));
                let day = self.day.as_deref().map_or(String::new(), |day| format!("/{day}"));
                Some(format!("{base}/wiki/display/{space}{day}/{}", encoded(title).replace("%20", "+")))
            }
            (None, None) => None,
        };
        let address = match self.kind {
            Some(Resource::Page | Resource::BlogPost | Resource::ContentEntity) => of_page(),
            Some(Resource::Attachment) => match (&self.file, &self.content, &self.title) {
                // The file's own address needs the id of the page that holds it.
                (_, None, Some(_)) => of_page(),
                (Some(file), id, _) => {
                    let id = encoded(id.as_deref().unwrap_or(page.id));
                    Some(format!("{base}/wiki/download/attachments/{id}/{}", encoded(file)))
                }
                (None, ..) => None,
            },
            Some(Resource::User) => {
                self.user.as_ref().map(|id| format!("{base}/wiki/people/{}", encoded(id)))
            }
            Some(Resource::Space) => {
                self.space.as_ref().map(|key| format!("{base}/wiki/spaces/{}", encoded(key)))
            }
            Some(Resource::Url) => self.url.as_deref().and_then(|url| link(url, base)).map(Cow::into_owned),
            Some(Resource::Shortcut) => None,
            None => self.anchor.as_ref().map(|_| String::new()),
        }?;
        Some(match &self.anchor {
            Some(anchor) => format!("{address}#{anchor}"),
            None => address,
        })
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
    if trimmed.contains(['\t', '\n', '\r']) {
        let joined: String = trimmed.chars().filter(|c| !matches!(c, '\t' | '\n' | '\r')).collect();
        return link(&joined, base).map(|address| Cow::Owned(address.into_owned()));
    }
    // Browsers ignore white space and control characters inside of a scheme.
    let squeezed: String = trimmed
        .chars()
        .filter(|c| !c.is_whitespace() && !c.is_control())
        .take(12)
        .collect::<String>()
        .to_ascii_lowercase();
    if trimmed.is_empty()
        || ["javascript:", "data:", "vbscript:"].iter().any(|scheme| squeezed.starts_with(scheme))
    {
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

/// Percent-encodes a path segment; only RFC 3986's unreserved characters and the colon stay.
pub(super) fn encoded(segment: &str) -> String {
    let mut text = String::with_capacity(segment.len());
    let mut bytes = [0; 4];
    for c in segment.chars() {
        if c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | '~' | ':') {
            text.push(c);
        } else {
            for byte in c.encode_utf8(&mut bytes).bytes() {
                text.push('%');
                text.extend(
                    [byte >> 4, byte & 15].map(|digit| {
                        char::from_digit(u32::from(digit), 16).unwrap_or('0').to_ascii_uppercase()
                    }),
                );
            }
        }
    }
    text
}
