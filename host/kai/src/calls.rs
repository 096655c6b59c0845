//! What a sync asks of a connector.

use std::future::Future;
use std::time::Instant;

use kai_host::{Batch, CallError, Carry, Document, Partition, Partitions, Session, Statistics};

/// The contract's calls for one source, whoever makes them: [`Session`] does in a sandbox.
pub trait Calls: Send + Sync {
    /// See `list-partitions` in the contract.
    fn list_partitions(
        &self,
        scope_path: Option<String>,
        cursor: Option<String>,
    ) -> impl Future<Output = Result<Partitions, CallError>> + Send;

    /// See `discover` in the contract.
    fn discover(
        &self,
        partition: Partition,
        since: Option<String>,
        carry: Carry,
        cursor: Option<String>,
    ) -> impl Future<Output = Result<Batch, CallError>> + Send;

    /// See `fetch` in the contract.
    fn fetch(&self, id: String) -> impl Future<Output = Result<Document, CallError>> + Send;

    /// What the calls took on the network so far.
    fn statistics(&self) -> Statistics;

    /// Until when the site asked to be left alone, while it did.
    fn paused_until(&self) -> Option<Instant>;
}

impl Calls for Session {
    async fn list_partitions(
        &self,
        scope_path: Option<String>,
        cursor: Option<String>,
    ) -> Result<Partitions, CallError> {
        Self::list_partitions(self, scope_path, cursor).await
    }

    async fn discover(
        &self,
        partition: Partition,
        since: Option<String>,
        carry: Carry,
        cursor: Option<String>,
    ) -> Result<Batch, CallError> {
        Self::discover(self, partition, since, carry, cursor).await
    }

    async fn fetch(&self, id: String) -> Result<Document, CallError> {
        Self::fetch(self, id).await
    }

    fn statistics(&self) -> Statistics {
        Self::statistics(self)
    }

    fn paused_until(&self) -> Option<Instant> {
        Self::paused_until(self)
    }
}
