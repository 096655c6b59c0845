//! `kai serve` as its clients meet it, against the simulated site.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr
)]

mod changes;
mod client;
mod crash;
mod documents;
mod requests;
mod runs;
mod sources;
mod tenants;

#[path = "../support/mod.rs"]
mod support;
