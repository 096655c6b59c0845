//! Runs connectors: WebAssembly components that export `kai:connector/connector`, sandboxed, for many tenants in one
//! process.
//!
//! A [`Host`] holds the engine and what all tenants share. It loads a component into a [`Connector`]; a [`Session`] is
//! one registered [`Source`] on it. Each call runs in a fresh instance, within [`Limits`], and whatever it does (trap,
//! loop, allocate without end) costs that call only.
//!
//! ```no_run
//! use futures::TryStreamExt as _;
//! use kai_host::{Carry, Change, ComponentSource, Host, Source};
//!
//! # async fn sync() -> Result<(), Box<dyn std::error::Error>> {
//! let host = Host::builder().cache_directory("/var/cache/kai").build()?;
//! let connector = host.load(ComponentSource::File("confluence_connector.wasm".into())).await?;
//! let session = connector.session(Source {
//!     kind: "CONFLUENCE".into(),
//!     base_url: "https://acme.atlassian.net".into(),
//!     email: "ada@acme.example".into(),
//!     api_token: std::env::var("KAI_API_TOKEN")?.into(),
//!     space_key: None,
//!     cloud_id: None,
//! })?;
//! session.validate().await?;
//! for space in session.list_partitions(None, None).await?.items {
//!     let mut batches = std::pin::pin!(session.batches(space, None, Carry::Documents, None));
//!     while let Some(batch) = batches.try_next().await? {
//!         for change in batch.changes {
//!             if let Change::Document(document) = change {
//!                 println!("{}: {} bytes", document.reference.title, document.content.len());
//!             }
//!         }
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! The examples of this crate go further: `list_pages` reads a site, `many_tenants` runs twenty tenants in one process and
//! rotates a token, `custom_policy` narrows hosts, limits and waits.
//!
//! # What a guest gets
//! WASI's io, clocks, random, cli (stdio, no environment, no arguments) and http; a component that imports anything else
//! is refused at load. Its HTTP requests are GET, to the source's own origin, below `/wiki/api/v2/`, and so are the
//! redirects that they follow (five at most); its token is a random stand-in that is replaced outside of the sandbox.
//!
//! # What a site gets
//! Per site, whatever the number of sessions: 8 requests in flight at most, none while a Retry-After runs, a slow start
//! after it. Transient faults are retried by the [`RetryPolicy`]; waits do not count against a call's limits.
//!
//! # What an operator sees
//! Spans through `tracing`: `call` (number, name, tenant) and in it `request` (number, path). Through the `metrics` facade,
//! for whatever exporter the embedder installs: `kai_http_requests_total` by status, `kai_http_retries_total`,
//! `kai_http_throttled_total`, `kai_http_throttled_seconds`, `kai_http_requests_in_flight`, `kai_call_seconds` by call and
//! outcome, `kai_limits_hit_total` by limit, `kai_guest_memory_bytes`. Neither names an account or holds a secret.

mod address;
mod bindings;
mod client;
mod clock;
mod credential;
mod digest;
mod egress;
mod error;
mod gate;
mod guest_log;
mod host;
mod limits;
mod metrics;
mod reference;
mod registry;
mod retry;
mod retry_after;
mod sandbox;
mod session;
mod source;
mod tenant;

pub use bindings::{
    Batch, Carry, Change, Converted, Cursor, DeltaToken, Descriptor, Document, Error, Failure, Metadata,
    Notice, Partition, Partitions, Reference, StoragePage, Timestamp,
};
pub use client::HttpTimeouts;
pub use error::{BuildError, CallError, LoadError, ReferenceError, RegistryError, SourceError};
pub use host::{CONTRACT, ComponentSource, Host, HostBuilder};
pub use limits::{Limit, Limits};
pub use reference::RegistryReference;
pub use registry::RegistryCredential;
pub use retry::RetryPolicy;
pub use secrecy::SecretString;
pub use session::{Artifact, Connector, Session};
pub use source::Source;
pub use tenant::Statistics;
