//! What becomes of each macro: the one place to add one.
//!
//! A macro that is not named here keeps its rich text body, its plain text body becomes a code block, and the notice
//! `unknown macro: NAME` tells the operator.

/// What a macro becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Becomes {
    /// A code block in the language of the parameter `language`, else in this one; its title in bold.
    Code(&'static str),
    /// An alert of GitHub's; its title in bold.
    Alert(&'static str),
    /// A block quote; its title in bold.
    Quote,
    /// Its body, if it has one, under its title in bold.
    Titled,
    /// Its body, unless the parameter `hidden` is true.
    Body,
    /// The text of its parameter `title`.
    Status,
    /// A link to the issue of the parameter `key`.
    Issue,
    /// A link to the page that a parameter names.
    PageLink,
    /// A link to the attachment or address that a parameter names.
    FileLink,
    /// An image of the attachment that the parameter `diagramName` or `name` names, with this ending.
    Diagram(&'static str),
    /// A code span or block of the formula in its body or parameter.
    Formula,
    /// Nothing, whatever its body: it tells the browser how to show the page.
    Hidden,
    /// Its text or nothing: what Confluence generates for it is not stored in the page.
    Generated,
    /// Its body, with a notice.
    Unknown,
}

/// Looks a macro up by its name.
pub(super) fn becomes(name: &str) -> Becomes {
    use Becomes::{
        Alert, Body, Code, Diagram, FileLink, Formula, Generated, Hidden, Issue, PageLink, Quote, Status,
        Titled,
    };
    match name.as_bytes() {
        b"code" | b"noformat" | b"code-block" => Code(""),
        b"html" | b"html-include" => Code("html"),
        b"markdown" | b"markdown-from-url" => Code("markdown"),
        b"plantuml" | b"plantumlrender" => Code("plantuml"),
        b"style" => Hidden,
        // The names in storage are older than those in the editor (facts E5): `note` is its yellow warning.
        b"info" => Alert("NOTE"),
        b"tip" => Alert("TIP"),
        b"note" => Alert("WARNING"),
        b"warning" => Alert("CAUTION"),
        b"panel" | b"panelbox" => Quote,
        b"expand" | b"ui-expand" | b"ui-tab" | b"tab" | b"tab-pane" | b"aura-tab" | b"aura-panel"
        | b"localtab" | b"chart" | b"gallery" => Titled,
        b"status" | b"status-handy" => Status,
        b"jira" | b"jiraissues" => Issue,
        b"include"
        | b"excerpt-include"
        | b"children"
        | b"multiexcerpt-include"
        | b"multiexcerpt-include-macro" => PageLink,
        b"view-file" | b"viewpdf" | b"viewdoc" | b"viewxls" | b"viewppt" | b"multimedia" | b"widget"
        | b"iframe" => FileLink,
        b"drawio" | b"drawio-sketch" | b"inc-drawio" | b"gliffy" => Diagram(".png"),
        b"mathblock"
        | b"mathinline"
        | b"mathjax-block-macro"
        | b"mathjax-inline-macro"
        | b"easy-math-block"
        | b"eazy-math-inline"
        | b"latex"
        | b"latex-formatting" => Formula,
        b"excerpt"
        | b"details"
        | b"section"
        | b"column"
        | b"toc-zone"
        | b"ui-tabs"
        | b"tabs-group"
        | b"aura-tabs"
        | b"localtabgroup"
        | b"bgcolor"
        | b"table-filter"
        | b"table-excerpt"
        | b"pivot-table"
        | b"table-chart"
        | b"multiexcerpt"
        | b"multiexcerpt-macro"
        | b"div"
        | b"span"
        | b"center"
        | b"loremipsum"
        | b"highlight"
        | b"numberedheadings"
        | b"footnote"
        | b"display-footnotes"
        | b"details-summary" => Body,
        b"toc"
        | b"anchor"
        | b"pagetree"
        | b"pagetreesearch"
        | b"content-tree"
        | b"detailssummary"
        | b"attachments"
        | b"recently-updated"
        | b"contentbylabel"
        | b"livesearch"
        | b"blog-posts"
        | b"listlabels"
        | b"tasks-report-macro"
        | b"create-from-template"
        | b"contributors"
        | b"popular-labels"
        | b"profile"
        | b"profile-picture"
        | b"change-history"
        | b"excerpt-include-list"
        | b"lucidchart"
        | b"spaces"
        | b"index"
        | b"rss"
        | b"loading"
        | b"navmap"
        | b"related-labels"
        | b"space-details"
        | b"userlister"
        | b"favpages"
        | b"junitreport"
        | b"roadmap"
        | b"team-calendar"
        | b"calendar" => Generated,
        // Whiteboards, databases, videos and what else can be embedded.
        name if name.starts_with(b"native-embed:") => FileLink,
        // What an export does with its body is nothing to the page.
        name if name.starts_with(b"scroll-") => Body,
        // Mermaid macros of several vendors begin alike.
        name if name.starts_with(b"mermaid") => Code("mermaid"),
        _ => Becomes::Unknown,
    }
}

/// The alert of an ADF panel (facts E5); none is a plain block quote.
pub(super) fn panel_alert(panel_type: &str) -> Option<&'static str> {
    match panel_type {
        "info" => Some("NOTE"),
        "note" => Some("IMPORTANT"),
        "success" | "tip" => Some("TIP"),
        "warning" => Some("WARNING"),
        "error" => Some("CAUTION"),
        _ => None,
    }
}
