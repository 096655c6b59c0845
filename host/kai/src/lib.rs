//! The sync engine of K-AI, for embedders: turns a registered source into a store of documents.
//!
//! [`sync::sync`] drives a [`kai_host::Session`] (or whatever else makes the contract's [`calls::Calls`]) into a
//! [`store::Store`]; an embedder brings its own store, or takes [`store::SqliteStore`]. The program `kai` is a thin layer
//! over this library.
//!
//! What holds whatever happens between two requests: a batch and its checkpoint are written together; a delta token is
//! written with the end of its space; a document is removed only where Confluence says that its page is gone.

pub mod access_key;
pub mod calls;
pub mod error;
pub mod markdown_files;
pub mod master_key;
mod memory_budget;
mod orphan_scan;
pub mod progress;
pub mod sealed_token;
pub mod service;
mod single_pages;
pub mod source_file;
mod space_listing;
pub mod store;
pub mod summary;
pub mod sync;
pub mod validation;
