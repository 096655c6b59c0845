//! The contract's types and the typed exports, generated from `wit/connector.wit`.

#![expect(missing_docs, reason = "generated; wit/connector.wit holds the documentation")]

wasmtime::component::bindgen!({
    path: "../../wit",
    world: "confluence",
    exports: { default: async },
    additional_derives: [Clone],
});

pub(crate) use self::exports::kai::connector::connector::Source as GuestSource;
pub use self::exports::kai::connector::connector::{
    Batch, Carry, Converted, Cursor, DeltaToken, Descriptor, Document, Error, Partition, Partitions,
    StoragePage,
};
pub use self::kai::connector::types::{Change, Failure, Metadata, Notice, Reference, Timestamp};
