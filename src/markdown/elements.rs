//! The elements of storage format that mean something to the converter.

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
    /// Machine data and hints of the editor: nothing inside is shown.
    Hidden,
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

impl Element {
    /// Looks a name up; Confluence writes them in lower case.
    pub(super) fn of(name: &str) -> Self {
        use Resource::{Attachment, BlogPost, ContentEntity, Page, Shortcut, Space, Url, User};
        match name.as_bytes() {
            b"p" => Self::Paragraph,
            b"strong" | b"b" => Self::Strong,
            b"em" | b"i" => Self::Emphasis,
            b"li" => Self::Item,
            b"td" => Self::Cell,
            b"th" => Self::HeaderCell,
            b"tr" => Self::Row,
            b"ul" => Self::BulletList,
            b"ol" => Self::OrderedList,
            b"a" => Self::Anchor,
            b"code" | b"tt" | b"kbd" | b"samp" => Self::Code,
            b"br" => Self::Break,
            b"ac:structured-macro" | b"ac:macro" => Self::Macro,
            b"ac:parameter" | b"ac:default-parameter" => Self::Parameter,
            b"ac:rich-text-body" => Self::RichTextBody,
            b"ac:plain-text-body" => Self::PlainTextBody,
            b"ac:link" => Self::Link,
            b"ac:link-body" => Self::LinkBody,
            b"ac:plain-text-link-body" => Self::PlainTextLinkBody,
            b"ac:image" => Self::Image,
            b"ac:caption" => Self::Caption,
            b"ac:emoticon" => Self::Emoticon,
            b"ac:task-list" => Self::TaskList,
            b"ac:task" => Self::Task,
            b"ac:task-status" => Self::TaskStatus,
            b"ac:task-body" => Self::TaskBody,
            b"ac:adf-extension" => Self::AdfExtension,
            b"ac:adf-node" => Self::AdfNode,
            b"ac:adf-attribute" => Self::AdfAttribute,
            b"ac:adf-content" => Self::AdfContent,
            b"ac:adf-fallback" => Self::AdfFallback,
            b"ac:placeholder"
            | b"ac:task-id"
            | b"ac:task-uuid"
            | b"ac:adf-parameter"
            | b"ac:adf-parameter-value"
            | b"ac:adf-mark"
            | b"ac:adf-fragment-mark"
            | b"ac:adf-fragment-mark-detail"
            | b"at:declarations"
            | b"script"
            | b"style"
            | b"head"
            | b"title"
            | b"template" => Self::Hidden,
            b"ri:page" => Self::Resource(Page),
            b"ri:blog-post" => Self::Resource(BlogPost),
            b"ri:attachment" => Self::Resource(Attachment),
            b"ri:user" => Self::Resource(User),
            b"ri:space" => Self::Resource(Space),
            b"ri:shortcut" => Self::Resource(Shortcut),
            b"ri:content-entity" => Self::Resource(ContentEntity),
            b"ri:url" => Self::Resource(Url),
            b"h1" => Self::Heading(1),
            b"h2" => Self::Heading(2),
            b"h3" => Self::Heading(3),
            b"h4" => Self::Heading(4),
            b"h5" => Self::Heading(5),
            b"h6" => Self::Heading(6),
            b"blockquote" => Self::Quote,
            b"pre" => Self::Preformatted,
            b"hr" => Self::Rule,
            b"table" => Self::Table,
            b"thead" | b"tbody" | b"tfoot" => Self::TableSection,
            b"s" | b"del" | b"strike" => Self::Strike,
            b"img" => Self::HtmlImage,
            b"time" => Self::Time,
            b"div" | b"section" | b"article" | b"header" | b"footer" | b"main" | b"nav" | b"aside"
            | b"address" | b"figure" | b"figcaption" | b"caption" | b"center" | b"dl" | b"dt" | b"dd"
            | b"fieldset" | b"form" | b"details" | b"summary" | b"body" | b"html" | b"ac:layout"
            | b"ac:layout-section" | b"ac:layout-cell" => Self::Block,
            b"col" | b"wbr" | b"input" | b"meta" | b"link" | b"area" | b"base" | b"embed" | b"param"
            | b"source" | b"track" => Self::Void,
            // Pasted HTML may shout.
            name if name.iter().any(u8::is_ascii_uppercase) => {
                Self::of(&String::from_utf8_lossy(name).to_ascii_lowercase())
            }
            _ => Self::Span,
        }
    }

    /// Whether it is a part of a table, whose end tag ends whatever was left open in its cells.
    pub(super) fn is_table_part(self) -> bool {
        matches!(self, Self::Table | Self::TableSection | Self::Row | Self::Cell | Self::HeaderCell)
    }

    /// Whether it may stand inside of text that is only read, such as a macro's parameter. Anything else inside of it
    /// says that its end tag is missing.
    pub(super) fn may_stand_in_parameter(self) -> bool {
        matches!(
            self,
            Self::Resource(_)
                | Self::Link
                | Self::LinkBody
                | Self::PlainTextLinkBody
                | Self::Anchor
                | Self::Span
                | Self::Strong
                | Self::Emphasis
                | Self::Strike
                | Self::Code
                | Self::Break
                | Self::Time
                | Self::Void
                | Self::Hidden
        )
    }

    /// Whether it may stand inside of preformatted text and stay a part of it.
    pub(super) fn may_stand_in_preformatted(self) -> bool {
        matches!(
            self,
            Self::Anchor
                | Self::Span
                | Self::Strong
                | Self::Emphasis
                | Self::Strike
                | Self::Code
                | Self::Break
                | Self::Time
                | Self::Void
                | Self::Hidden
                | Self::Paragraph
                | Self::Block
        )
    }

    /// Whether an HTML author may leave the end tag out, because there never is any content.
    pub(super) fn is_void(self) -> bool {
        matches!(self, Self::Break | Self::Rule | Self::HtmlImage | Self::Void)
    }
}
