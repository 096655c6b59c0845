//! Documents for tests.

use kai_host::{Document, Metadata, Reference};

pub(crate) fn document(id: &str, version_number: u32, content: &str) -> Document {
    Document {
        reference: reference(id, version_number),
        mime_type: "text/markdown".into(),
        content: content.into(),
    }
}

pub(crate) fn reference(id: &str, version_number: u32) -> Reference {
    Reference {
        id: id.into(),
        title: format!("Page {id}"),
        modified_at: "2026-01-01T00:00:00.000Z".into(),
        metadata: Metadata {
            web_url: format!("https://a.example/{id}"),
            space_key: "ENG".into(),
            version_number,
            created_at: None,
            created_by_display_name: None,
        },
    }
}
