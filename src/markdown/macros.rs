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
    match name {
        "code" | "noformat" | "code-block" => Code(""),
        "html" | "html-include" => Code("html"),
        "markdown" | "markdown-from-url" => Code("markdown"),
        "plantuml" | "plantumlrender" => Code("plantuml"),
        "style" => Hidden,
        // The names in storage are older than those in the editor (facts E5): `note` is its yellow warning.
        "info" => Alert("NOTE"),
        "tip" => Alert("TIP"),
        "note" => Alert("WARNING"),
        "warning" => Alert("CAUTION"),
        "panel" | "panelbox" => Quote,
        "expand" | "ui-expand" | "ui-tab" | "tab" | "tab-pane" | "aura-tab" | "aura-panel" | "localtab"
        | "chart" | "gallery" => Titled,
        "status" | "status-handy" => Status,
        "jira" | "jiraissues" => Issue,
        "include"
        | "excerpt-include"
        | "children"
        | "multiexcerpt-include"
        | "multiexcerpt-include-macro" => PageLink,
        "view-file" | "viewpdf" | "viewdoc" | "viewxls" | "viewppt" | "multimedia" | "widget" | "iframe" => {
            FileLink
        }
        "drawio" | "drawio-sketch" | "inc-drawio" | "gliffy" => Diagram(".png"),
        "mathblock"
        | "mathinline"
        | "mathjax-block-macro"
        | "mathjax-inline-macro"
        | "easy-math-block"
        | "eazy-math-inline"
        | "latex"
        | "latex-formatting" => Formula,
        "excerpt" | "details" | "section" | "column" | "toc-zone" | "ui-tabs" | "tabs-group"
        | "aura-tabs" | "localtabgroup" | "bgcolor" | "table-filter" | "table-excerpt" | "pivot-table"
        | "table-chart" | "multiexcerpt" | "multiexcerpt-macro" | "div" | "span" | "center"
        | "loremipsum" | "highlight" | "numberedheadings" | "footnote" | "display-footnotes"
        | "details-summary" => Body,
        "toc"
        | "anchor"
        | "pagetree"
        | "pagetreesearch"
        | "content-tree"
        | "detailssummary"
        | "attachments"
        | "recently-updated"
        | "contentbylabel"
        | "livesearch"
        | "blog-posts"
        | "listlabels"
        | "tasks-report-macro"
        | "create-from-template"
        | "contributors"
        | "popular-labels"
        | "profile"
        | "profile-picture"
        | "change-history"
        | "excerpt-include-list"
        | "lucidchart"
        | "spaces"
        | "index"
        | "rss"
        | "loading"
        | "navmap"
        | "related-labels"
        | "space-details"
        | "userlister"
        | "favpages"
        | "junitreport"
        | "roadmap"
        | "team-calendar"
        | "calendar" => Generated,
        // Whiteboards, databases, videos and what else can be embedded.
        name if name.starts_with("native-embed:") => FileLink,
        // What an export does with its body is nothing to the page.
        name if name.starts_with("scroll-") => Body,
        // Mermaid macros of several vendors begin alike.
        name if name.starts_with("mermaid") => Code("mermaid"),
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
