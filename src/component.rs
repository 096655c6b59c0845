//! The component's exports: maps the contract's types to the crate's own and back, and nothing else.

#[expect(unsafe_code, reason = "generated from wit/connector.wit, which holds the documentation")]
mod bindings {
    wit_bindgen::generate!({ path: "wit", world: "confluence", generate_all });
    use super::Component;
    export!(Component);
}

use bindings::exports::kai::connector::connector::{
    Batch, Carry, Converted, Cursor, DeltaToken, Descriptor, Document, Error, Guest, Partition, Partitions,
    Source, StoragePage,
};
use bindings::kai::connector::types::{Change, Failure, Metadata, Notice, Reference};

use crate::wasi::WasiTransport;
use crate::{discovery, document, error, markdown, source};

struct Component;

impl Guest for Component {
    fn describe() -> Descriptor {
        Descriptor {
            kind: source::KIND.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            source_schema: source::SCHEMA.to_owned(),
            mime_type: document::MIME_TYPE.to_owned(),
            emits_deletions: false,
            acl_strategy: "mapped".to_owned(),
        }
    }

    fn validate(source: Source) -> Result<(), Error> {
        Ok(discovery::validate(&source.into(), &WasiTransport)?)
    }

    fn list_partitions(
        source: Source,
        scope_path: Option<String>,
        cursor: Option<Cursor>,
    ) -> Result<Partitions, Error> {
        let partitions = discovery::list_partitions(
            &source.into(),
            scope_path.as_deref(),
            cursor.as_deref(),
            &WasiTransport,
        )?;
        let items = partitions.items.into_iter().map(|document::Partition { id, key, name }| Partition {
            id,
            key,
            name,
        });
        Ok(Partitions { items: items.collect(), next: partitions.next })
    }

    fn discover(
        source: Source,
        partition: Partition,
        since: Option<DeltaToken>,
        carry: Carry,
        cursor: Option<Cursor>,
    ) -> Result<Batch, Error> {
        let Partition { id, key, name } = partition;
        let carry = match carry {
            Carry::Documents => document::Carry::Documents,
            Carry::References => document::Carry::References,
        };
        let batch = discovery::discover(
            &source.into(),
            &document::Partition { id, key, name },
            since.as_deref(),
            carry,
            cursor.as_deref(),
            &WasiTransport,
        )?;
        Ok(Batch {
            changes: batch.changes.into_iter().map(Change::from).collect(),
            notices: notices(batch.notices),
            next: batch.next,
            delta_token: batch.delta_token.map(|token| token.to_string()),
        })
    }

    fn fetch(source: Source, id: String) -> Result<Document, Error> {
        Ok(discovery::fetch(&source.into(), &id, &WasiTransport)?.into())
    }

    fn convert(page: StoragePage) -> Result<Converted, Error> {
        let converted = markdown::convert(&markdown::Page {
            id: &page.id,
            title: &page.title,
            space_key: &page.space_key,
            base_url: page.base_url.trim_end_matches('/'),
            storage: &page.storage,
        });
        Ok(Converted { markdown: converted.text, notices: notices(converted.notices) })
    }
}

impl From<Source> for source::Source {
    fn from(source: Source) -> Self {
        let Source { kind, base_url, email, api_token, space_key, cloud_id } = source;
        Self { kind, base_url, email, api_token, space_key, cloud_id }
    }
}

impl From<document::Change> for Change {
    fn from(change: document::Change) -> Self {
        match change {
            document::Change::Document(document) => Self::Document(document.into()),
            document::Change::Reference(reference) => Self::Reference(reference.into()),
            document::Change::Failure(document::Failure { id, title, cause }) => {
                Self::Failure(Failure { id, title, cause: cause.into() })
            }
        }
    }
}

impl From<document::Document> for Document {
    fn from(document: document::Document) -> Self {
        Self {
            reference: document.reference.into(),
            mime_type: document::MIME_TYPE.to_owned(),
            content: document.content,
        }
    }
}

impl From<document::Reference> for Reference {
    fn from(reference: document::Reference) -> Self {
        let document::Metadata { web_url, space_key, version_number, created_at, created_by_display_name } =
            reference.metadata;
        Self {
            id: reference.id,
            title: reference.title,
            modified_at: reference.modified_at.to_string(),
            metadata: Metadata {
                web_url,
                space_key,
                version_number,
                created_at: created_at.map(|moment| moment.to_string()),
                created_by_display_name,
            },
        }
    }
}

impl From<error::Error> for Error {
    fn from(error: error::Error) -> Self {
        match error {
            error::Error::InvalidSource(text) => Self::InvalidSource(text),
            error::Error::Authentication(text) => Self::Authentication(text),
            error::Error::Forbidden(text) => Self::Forbidden(text),
            error::Error::NotFound(text) => Self::NotFound(text),
            error::Error::RateLimited(seconds) => Self::RateLimited(seconds),
            error::Error::Unavailable(text) => Self::Unavailable(text),
            error::Error::TooLarge(text) => Self::TooLarge(text),
            error::Error::Malformed(text) => Self::Malformed(text),
            error::Error::StaleCursor => Self::StaleCursor,
        }
    }
}

fn notices(notices: Vec<markdown::Notice>) -> Vec<Notice> {
    notices.into_iter().map(|markdown::Notice { what, count }| Notice { what, count }).collect()
}
