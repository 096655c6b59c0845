//! Generated from `wit/connector.wit`, which holds the documentation: the contract's types and the typed exports.

#![expect(
    missing_docs,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "generated"
)]

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
