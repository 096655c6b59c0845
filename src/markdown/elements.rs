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
        match name {
            "p" => Self::Paragraph,
            "strong" | "b" => Self::Strong,
            "em" | "i" => Self::Emphasis,
            "li" => Self::Item,
            "td" => Self::Cell,
            "th" => Self::HeaderCell,
            "tr" => Self::Row,
            "ul" => Self::BulletList,
            "ol" => Self::OrderedList,
            "a" => Self::Anchor,
            "code" | "tt" | "kbd" | "samp" => Self::Code,
            "br" => Self::Break,
            "ac:structured-macro" | "ac:macro" => Self::Macro,
            "ac:parameter" | "ac:default-parameter" => Self::Parameter,
            "ac:rich-text-body" => Self::RichTextBody,
            "ac:plain-text-body" => Self::PlainTextBody,
            "ac:link" => Self::Link,
            "ac:link-body" => Self::LinkBody,
            "ac:plain-text-link-body" => Self::PlainTextLinkBody,
            "ac:image" => Self::Image,
            "ac:caption" => Self::Caption,
            "ac:emoticon" => Self::Emoticon,
            "ac:task-list" => Self::TaskList,
            "ac:task" => Self::Task,
            "ac:task-status" => Self::TaskStatus,
            "ac:task-body" => Self::TaskBody,
            "ac:adf-extension" => Self::AdfExtension,
            "ac:adf-node" => Self::AdfNode,
            "ac:adf-attribute" => Self::AdfAttribute,
            "ac:adf-content" => Self::AdfContent,
            "ac:adf-fallback" => Self::AdfFallback,
            "ac:placeholder"
            | "ac:task-id"
            | "ac:task-uuid"
            | "ac:adf-parameter"
            | "ac:adf-parameter-value"
            | "ac:adf-mark"
            | "ac:adf-fragment-mark"
            | "ac:adf-fragment-mark-detail"
            | "at:declarations"
            | "script"
            | "style"
            | "head"
            | "title"
            | "template" => Self::Hidden,
            "ri:page" => Self::Resource(Page),
            "ri:blog-post" => Self::Resource(BlogPost),
            "ri:attachment" => Self::Resource(Attachment),
            "ri:user" => Self::Resource(User),
            "ri:space" => Self::Resource(Space),
            "ri:shortcut" => Self::Resource(Shortcut),
            "ri:content-entity" => Self::Resource(ContentEntity),
            "ri:url" => Self::Resource(Url),
            "h1" => Self::Heading(1),
            "h2" => Self::Heading(2),
            "h3" => Self::Heading(3),
            "h4" => Self::Heading(4),
            "h5" => Self::Heading(5),
            "h6" => Self::Heading(6),
            "blockquote" => Self::Quote,
            "pre" => Self::Preformatted,
            "hr" => Self::Rule,
            "table" => Self::Table,
            "thead" | "tbody" | "tfoot" => Self::TableSection,
            "s" | "del" | "strike" => Self::Strike,
            "img" => Self::HtmlImage,
            "time" => Self::Time,
            "div" | "section" | "article" | "header" | "footer" | "main" | "nav" | "aside" | "address"
            | "figure" | "figcaption" | "caption" | "center" | "dl" | "dt" | "dd" | "fieldset" | "form"
            | "details" | "summary" | "body" | "html" | "ac:layout" | "ac:layout-section"
            | "ac:layout-cell" => Self::Block,
            "col" | "wbr" | "input" | "meta" | "link" | "area" | "base" | "embed" | "param" | "source"
            | "track" => Self::Void,
            // Pasted HTML may shout.
            name if name.bytes().any(|byte| byte.is_ascii_uppercase()) => {
                Self::of(&name.to_ascii_lowercase())
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
