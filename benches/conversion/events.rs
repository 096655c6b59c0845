//! The bare events of a parser.

use std::hint::black_box;

use quick_xml::Reader;
use quick_xml::events::Event;

/// Reads a page with a bare loop over the events of quick-xml: what any converter that parses spends before it has written
/// anything.
///
/// # Errors
/// The page is not well-formed.
pub(crate) fn events(storage: &str) -> Result<usize, quick_xml::Error> {
    let mut reader = Reader::from_str(storage);
    reader.config_mut().check_end_names = false;
    reader.config_mut().allow_unmatched_ends = true;
    let mut count = 0;
    loop {
        match reader.read_event()? {
            Event::Eof => return Ok(count),
            event => count += black_box(&event).len().min(1),
        }
    }
}
