//! The K-AI connector for Confluence Cloud: lists pages over REST v2, converts storage format to Markdown and finds
//! what changed since the last run.
//!
//! Built for `wasm32-wasip2` this crate is a component that exports `kai:connector/connector` (see
//! `wit/connector.wit`). Everything but the two wasm-only modules is plain Rust, tested natively: who may know whom is
//! `component`, `wasi` -> [`discovery`] -> {[`api`], [`markdown`], [`delta`], [`cursor`]} -> {[`transport`],
//! [`source`], [`error`]}.

pub mod api;
pub mod cursor;
pub mod delta;
pub mod discovery;
pub mod document;
pub mod error;
pub mod markdown;
pub mod source;
pub mod transport;

#[cfg(target_family = "wasm")]
mod component;
#[cfg(target_family = "wasm")]
mod wasi;
