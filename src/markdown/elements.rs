//! The elements of storage format that mean something to the converter.

use super::bytes;

/// What an element is to a reader of the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Element {
    Paragraph,
    /// Level 1 to 6.
    Heading(u8),
    BulletList,
    OrderedList,
    Item,
    Quote,
    Preformatted,
    Rule,
    Break,
    Table,
    TableSection,
    Row,
    HeaderCell,
    Cell,
    Strong,
    Emphasis,
    Strike,
    Code,
    Anchor,
    HtmlImage,
    Time,
    /// Any element that begins and ends a block and shows nothing of its own.
    Block,
    Macro,
    Parameter,
    RichTextBody,
    PlainTextBody,
    Link,
    LinkBody,
    PlainTextLinkBody,
    Image,
    Caption,
    Emoticon,
    TaskList,
    Task,
    TaskStatus,
    TaskBody,
    AdfExtension,
    AdfNode,
    AdfAttribute,
    AdfContent,
    AdfFallback,
    /// `ri:*`: what a link or an image points to.
    Resource(Resource),
    /// Shows nothing and has no content.
    Void,
    /// Machine data: nothing inside is shown.
    Hidden,
    /// Machine data and hints of the editor that are plain text: the same, and no element stands inside.
    HiddenText,
    /// Shows its text only.
    Span,
}

/// What a resource identifier identifies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Resource {
    Page,
    BlogPost,
    Attachment,
    User,
    Space,
    Shortcut,
    ContentEntity,
    Url,
}

/// An element, with what the converter asks of it at every tag.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kind {
    pub(super) element: Element,
    traits: u8,
}

// A bit for each question that a kind answers.
const VOID: u8 = 1;
const READ_ONLY: u8 = 1 << 1;
const SCOPE: u8 = 1 << 2;
const TABLE_PART: u8 = 1 << 3;
const ENDS_OTHERS: u8 = 1 << 4;
const IN_PARAMETER: u8 = 1 << 5;
const IN_PREFORMATTED: u8 = 1 << 6;

impl Kind {
    /// Looks a name up; Confluence writes them in lower case.
    pub(super) fn of(name: &str) -> &'static Self {
        let mut place = place(name.as_bytes());
        while let Some((known, kind)) =
            PLACES.get(place).and_then(|&number| KINDS.get(usize::from(number.checked_sub(1)?)))
        {
            if bytes::equal(known.as_bytes(), name.as_bytes()) {
                return kind;
            }
            place = (place + 1) % PLACES.len();
        }
        if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Self::of_upper_case(name);
        }
        const { &Self::new(Element::Span) }
    }

    /// Pasted HTML may shout.
    #[cold]
    fn of_upper_case(name: &str) -> &'static Self {
        Self::of(&name.to_ascii_lowercase())
    }

    const fn new(element: Element) -> Self {
        use Element as E;
        let mut traits = 0;
        if matches!(element, E::Break | E::Rule | E::HtmlImage | E::Void) {
            traits |= VOID;
        }
        if matches!(element, E::Parameter | E::TaskStatus | E::AdfAttribute | E::HiddenText) {
            traits |= READ_ONLY;
        }
        if matches!(element, E::Cell | E::HeaderCell | E::RichTextBody | E::AdfContent | E::TaskBody) {
            traits |= SCOPE;
        }
        if matches!(element, E::Table | E::TableSection | E::Row | E::Cell | E::HeaderCell) {
            traits |= TABLE_PART;
        }
        if matches!(element, E::Item | E::Cell | E::HeaderCell | E::Row | E::Paragraph | E::Anchor | E::Link)
        {
            traits |= ENDS_OTHERS;
        }
        let is_inline = matches!(
            element,
            E::Anchor
                | E::Span
                | E::Strong
                | E::Emphasis
                | E::Strike
                | E::Code
                | E::Break
                | E::Time
                | E::Void
                | E::Hidden
                | E::HiddenText
        );
        if is_inline || matches!(element, E::Paragraph | E::Block) {
            traits |= IN_PREFORMATTED;
        }
        if is_inline || matches!(element, E::Resource(_) | E::Link | E::LinkBody | E::PlainTextLinkBody) {
            traits |= IN_PARAMETER;
        }
        Self { element, traits }
    }

    /// Whether an HTML author may leave the end tag out, because there never is any content.
    pub(super) fn is_void(&self) -> bool {
        self.traits & VOID != 0
    }

    /// Whether it holds machine data as plain text and nothing else.
    pub(super) fn is_read_only(&self) -> bool {
        self.traits & READ_ONLY != 0
    }

    /// Whether what is inside of it is a document of its own, so that end tags of text do not reach beyond it.
    pub(super) fn is_scope(&self) -> bool {
        self.traits & SCOPE != 0
    }

    /// Whether it is a part of a table, whose end tag ends whatever was left open in its cells.
    pub(super) fn is_table_part(&self) -> bool {
        self.traits & TABLE_PART != 0
    }

    /// Whether its beginning may end an element before it that has no end tag.
    pub(super) fn ends_others(&self) -> bool {
        self.traits & ENDS_OTHERS != 0
    }

    /// Whether it may stand inside of text that is only read, such as a macro's parameter. Anything else inside of it
    /// says that its end tag is missing.
    pub(super) fn may_stand_in_parameter(&self) -> bool {
        self.traits & IN_PARAMETER != 0
    }

    /// Whether it may stand inside of preformatted text and stay a part of it.
    pub(super) fn may_stand_in_preformatted(&self) -> bool {
        self.traits & IN_PREFORMATTED != 0
    }
}

/// Where the search for a name begins in [`PLACES`]. The factors give each first letter, last letter and length that
/// there is a place of its own.
const fn place(name: &[u8]) -> usize {
    let (first, last) = match name {
        [first, .., last] => (*first, *last),
        [only] => (*only, *only),
        [] => (0, 0),
    };
    (first as usize * 190 + last as usize * 25 + name.len() * 235) % 512
}

/// At each place the number of an element in [`KINDS`], counted from one, or zero: a name that is not there ends the
/// search.
#[expect(clippy::indexing_slicing, reason = "the compiler evaluates it")]
static PLACES: [u8; 512] = {
    let mut places = [0; 512];
    let mut at = 0;
    while at < ELEMENTS.len() {
        let mut place = place(ELEMENTS[at].0.as_bytes());
        while places[place] != 0 {
            place = (place + 1) % places.len();
        }
        at += 1;
        places[place] = at as u8;
    }
    places
};

#[expect(clippy::indexing_slicing, reason = "the compiler evaluates it")]
static KINDS: [(&str, Kind); ELEMENTS.len()] = {
    let mut kinds = [("", Kind::new(Element::Span)); ELEMENTS.len()];
    let mut at = 0;
    while at < ELEMENTS.len() {
        kinds[at] = (ELEMENTS[at].0, Kind::new(ELEMENTS[at].1));
        at += 1;
    }
    kinds
};

const ELEMENTS: [(&str, Element); 114] = [
    ("p", Element::Paragraph),
    ("strong", Element::Strong),
    ("b", Element::Strong),
    ("em", Element::Emphasis),
    ("i", Element::Emphasis),
    ("li", Element::Item),
    ("td", Element::Cell),
    ("th", Element::HeaderCell),
    ("tr", Element::Row),
    ("ul", Element::BulletList),
    ("ol", Element::OrderedList),
    ("a", Element::Anchor),
    ("code", Element::Code),
    ("tt", Element::Code),
    ("kbd", Element::Code),
    ("samp", Element::Code),
    ("br", Element::Break),
    ("ac:structured-macro", Element::Macro),
    ("ac:macro", Element::Macro),
    ("ac:parameter", Element::Parameter),
    ("ac:default-parameter", Element::Parameter),
    ("ac:rich-text-body", Element::RichTextBody),
    ("ac:plain-text-body", Element::PlainTextBody),
    ("ac:link", Element::Link),
    ("ac:link-body", Element::LinkBody),
    ("ac:plain-text-link-body", Element::PlainTextLinkBody),
    ("ac:image", Element::Image),
    ("ac:caption", Element::Caption),
    ("ac:emoticon", Element::Emoticon),
    ("ac:task-list", Element::TaskList),
    ("ac:task", Element::Task),
    ("ac:task-status", Element::TaskStatus),
    ("ac:task-body", Element::TaskBody),
    ("ac:adf-extension", Element::AdfExtension),
    ("ac:adf-node", Element::AdfNode),
    ("ac:adf-attribute", Element::AdfAttribute),
    ("ac:adf-content", Element::AdfContent),
    ("ac:adf-fallback", Element::AdfFallback),
    ("ac:placeholder", Element::HiddenText),
    ("ac:task-id", Element::HiddenText),
    ("ac:task-uuid", Element::HiddenText),
    ("ac:adf-parameter", Element::Hidden),
    ("ac:adf-parameter-value", Element::Hidden),
    ("ac:adf-mark", Element::Hidden),
    ("ac:adf-fragment-mark", Element::Hidden),
    ("ac:adf-fragment-mark-detail", Element::Hidden),
    ("at:declarations", Element::Hidden),
    ("script", Element::Hidden),
    ("style", Element::Hidden),
    ("head", Element::Hidden),
    ("title", Element::Hidden),
    ("template", Element::Hidden),
    ("ri:page", Element::Resource(Resource::Page)),
    ("ri:blog-post", Element::Resource(Resource::BlogPost)),
    ("ri:attachment", Element::Resource(Resource::Attachment)),
    ("ri:user", Element::Resource(Resource::User)),
    ("ri:space", Element::Resource(Resource::Space)),
    ("ri:shortcut", Element::Resource(Resource::Shortcut)),
    ("ri:content-entity", Element::Resource(Resource::ContentEntity)),
    ("ri:url", Element::Resource(Resource::Url)),
    ("h1", Element::Heading(1)),
    ("h2", Element::Heading(2)),
    ("h3", Element::Heading(3)),
    ("h4", Element::Heading(4)),
    ("h5", Element::Heading(5)),
    ("h6", Element::Heading(6)),
    ("blockquote", Element::Quote),
    ("pre", Element::Preformatted),
    ("hr", Element::Rule),
    ("table", Element::Table),
    ("thead", Element::TableSection),
    ("tbody", Element::TableSection),
    ("tfoot", Element::TableSection),
    ("s", Element::Strike),
    ("del", Element::Strike),
    ("strike", Element::Strike),
    ("img", Element::HtmlImage),
    ("time", Element::Time),
    ("div", Element::Block),
    ("section", Element::Block),
    ("article", Element::Block),
    ("header", Element::Block),
    ("footer", Element::Block),
    ("main", Element::Block),
    ("nav", Element::Block),
    ("aside", Element::Block),
    ("address", Element::Block),
    ("figure", Element::Block),
    ("figcaption", Element::Block),
    ("caption", Element::Block),
    ("center", Element::Block),
    ("dl", Element::Block),
    ("dt", Element::Block),
    ("dd", Element::Block),
    ("fieldset", Element::Block),
    ("form", Element::Block),
    ("details", Element::Block),
    ("summary", Element::Block),
    ("body", Element::Block),
    ("html", Element::Block),
    ("ac:layout", Element::Block),
    ("ac:layout-section", Element::Block),
    ("ac:layout-cell", Element::Block),
    ("col", Element::Void),
    ("wbr", Element::Void),
    ("input", Element::Void),
    ("meta", Element::Void),
    ("link", Element::Void),
    ("area", Element::Void),
    ("base", Element::Void),
    ("embed", Element::Void),
    ("param", Element::Void),
    ("source", Element::Void),
    ("track", Element::Void),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_element_is_found_by_its_name_in_lower_and_upper_case() {
        for (name, element) in ELEMENTS {
            assert_eq!(Kind::of(name).element, element, "{name}");
            assert_eq!(Kind::of(&name.to_ascii_uppercase()).element, element, "{name}");
            assert_eq!(Kind::of(&format!("{name}x1")).element, Element::Span, "{name}");
        }
    }
}
