//! What benchmarks of conversion compare: our converter, and the bare events of a parser.

mod events;

use confluence_connector::markdown::{Page, convert};

pub(crate) use events::events;

/// The Markdown of a page without a title.
pub(crate) fn markdown(storage: &str) -> String {
    let (id, title, space_key, base_url) = ("1", "", "ENG", "https://example.atlassian.net");
    convert(&Page { id, title, space_key, base_url, storage }).text
}
