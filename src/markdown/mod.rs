//! Storage format to Markdown.
//!
//! One pass over the tokens of a page, with explicit state and no recursion: a stack of open elements
//! (`converter`, and what it writes of lists, links, macros and panels below it), the text of the block under way
//! (`inline`), the blocks written so far (`blocks`), tables buffered until they end (`tables`). What each macro becomes is
//! one table (`macros`).
//!
//! What must hold: the text that a reader of the rendered Markdown sees is the visible text of the page, in order;
//! time and output are linear in the input, whatever it is; nothing is an error.

mod blocks;
mod bytes;
mod converter;
mod elements;
mod emoji;
mod entities;
mod escape;
mod inline;
mod macros;
mod tables;
mod targets;
mod tokenizer;

/// A page to convert, with what its links need.
#[derive(Debug, Clone, Copy)]
pub struct Page<'a> {
    /// Id, for links to its attachments.
    pub id: &'a str,
    /// Title: the first heading. Empty for none.
    pub title: &'a str,
    /// Key of its space, for links to pages of the same space.
    pub space_key: &'a str,
    /// Workspace root without a trailing slash: `https://your-org.atlassian.net`.
    pub base_url: &'a str,
    /// The body in storage format.
    pub storage: &'a str,
}

/// Something that an operator should know of: `unknown macro: roadmap`, `link without target: shortcut`. Apart from the
/// names of macros there is only a handful.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// What happened.
    pub what: String,
    /// How often.
    pub count: u32,
}

/// The Markdown of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Markdown {
    /// GitHub-flavoured Markdown with one newline at its end; empty for an empty page without a title.
    pub text: String,
    /// Sorted by name.
    pub notices: Vec<Notice>,
}

/// Converts a page. There is no input that fails: malformed markup is read as a browser would read it.
#[must_use]
pub fn convert(page: &Page<'_>) -> Markdown {
    converter::Converter::new(page).run()
}
