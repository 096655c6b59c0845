//! The contract with as little behind it as can be: `convert` reads the events of a page and forgets them, `discover`
//! has its documents ready. What the sandbox and the way through it take by themselves.
#![cfg(target_family = "wasm")]

#[expect(unsafe_code, reason = "generated from wit/connector.wit, which holds the documentation")]
mod bindings {
    wit_bindgen::generate!({ path: "../../../wit", world: "confluence", generate_all });
    use super::Component;
    export!(Component);
}

#[path = "../../../../benches/conversion/events.rs"]
mod events;

use bindings::exports::kai::connector::connector::{
    Batch, Carry, Converted, Cursor, DeltaToken, Descriptor, Document, Error, Guest, Partition, Partitions,
    Source, StoragePage,
};
use bindings::kai::connector::types::{Change, Metadata, Reference};

struct Component;

impl Guest for Component {
    fn describe() -> Descriptor {
        let none = String::new;
        Descriptor {
            kind: none(),
            version: none(),
            source_schema: none(),
            mime_type: none(),
            emits_deletions: false,
            acl_strategy: none(),
        }
    }

    fn validate(_: Source) -> Result<(), Error> {
        Ok(())
    }

    fn list_partitions(_: Source, _: Option<String>, _: Option<Cursor>) -> Result<Partitions, Error> {
        Ok(Partitions { items: Vec::new(), next: None })
    }

    /// The cursor is what the batch holds: `DOCUMENTS BYTES`, bytes being those of each.
    fn discover(
        _: Source,
        _: Partition,
        _: Option<DeltaToken>,
        _: Carry,
        cursor: Option<Cursor>,
    ) -> Result<Batch, Error> {
        let cursor = cursor.unwrap_or_default();
        let (documents, bytes) = cursor.split_once(' ').ok_or_else(|| malformed("a cursor"))?;
        let content = "x".repeat(bytes.parse().map_err(|_| malformed("a size"))?);
        let documents = 0..documents.parse().map_err(|_| malformed("a number"))?;
        let changes = documents.map(|number: u32| Change::Document(document(number, content.clone())));
        Ok(Batch { changes: changes.collect(), notices: Vec::new(), next: None, delta_token: None })
    }

    fn fetch(_: Source, _: String) -> Result<Document, Error> {
        Ok(document(0, String::new()))
    }

    /// Reads the page as many times as its id says, and answers with the number of events.
    fn convert(page: StoragePage) -> Result<Converted, Error> {
        let times: usize = page.id.parse().map_err(|_| malformed("an id"))?;
        let counts = (0..times).map(|_| events::events(&page.storage));
        let count: usize = counts.sum::<Result<_, _>>().map_err(|_| malformed("a page"))?;
        Ok(Converted { markdown: count.to_string(), notices: Vec::new() })
    }
}

fn document(number: u32, content: String) -> Document {
    Document {
        reference: Reference {
            id: number.to_string(),
            title: "Title of a page".to_owned(),
            modified_at: "2026-01-01T00:00:00.000Z".to_owned(),
            metadata: Metadata {
                web_url: "https://example.atlassian.net/wiki/spaces/ENG/pages/1/Title".to_owned(),
                space_key: "ENG".to_owned(),
                version_number: 1,
                created_at: Some("2026-01-01T00:00:00.000Z".to_owned()),
                created_by_display_name: None,
            },
        },
        mime_type: "text/markdown".to_owned(),
        content,
    }
}

fn malformed(what: &str) -> Error {
    Error::Malformed(what.to_owned())
}
