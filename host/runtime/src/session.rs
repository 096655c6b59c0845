//! What an embedder works with: a loaded connector, and a session of one source on it.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use futures::stream::{self, Stream};
use secrecy::SecretString;
use tokio::task::JoinError;
use tracing::Instrument as _;
use wasmtime::Store;

use crate::bindings::{
    Batch, Carry, Confluence, ConfluencePre, Converted, Cursor, DeltaToken, Descriptor, Document, Error,
    Partition, Partitions, StoragePage,
};
use crate::error::{CallError, LoadError, SourceError};
use crate::host::{ComponentSource, Host};
use crate::limits::Limits;
use crate::metrics;
use crate::sandbox::{self, Calling, State};
use crate::source::Source;
use crate::tenant::{Statistics, Tenant};

/// What is known of a loaded component.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Artifact {
    /// SHA-256 of the file, in hex.
    pub digest: String,
    /// Bytes of the file.
    pub size: u64,
    /// What it asks for.
    pub imports: Vec<String>,
    /// What it offers.
    pub exports: Vec<String>,
}

/// A loaded component. Cheap to clone. Each call runs in a fresh instance, so calls may run side by side, and none
/// sees what another left behind.
#[derive(Clone)]
pub struct Connector(Arc<Shared>);

struct Shared {
    host: Host,
    /// Replaced by a new version; a running call keeps the one that it began with.
    current: RwLock<Arc<Loaded>>,
}

/// One version of a component.
pub(crate) struct Loaded {
    pub(crate) pre: ConfluencePre<State>,
    pub(crate) artifact: Artifact,
}

impl fmt::Debug for Connector {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Connector").field("artifact", &self.artifact()).finish_non_exhaustive()
    }
}

impl Connector {
    pub(crate) fn new(host: Host, loaded: Loaded) -> Self {
        Self(Arc::new(Shared { host, current: RwLock::new(Arc::new(loaded)) }))
    }

    /// What is known of the component without running it.
    #[must_use]
    pub fn artifact(&self) -> Artifact {
        self.current().artifact.clone()
    }

    /// Puts a new version in the place of this one, in all sessions: calls that begin from now on run on it, those that
    /// run already end on the old one.
    ///
    /// # Errors
    /// See [`LoadError`]; then the old version stays.
    pub async fn replace(&self, source: ComponentSource) -> Result<(), LoadError> {
        let loaded = Arc::new(self.0.host.compile(source).await?);
        *self.0.current.write().unwrap_or_else(PoisonError::into_inner) = loaded;
        Ok(())
    }

    fn current(&self) -> Arc<Loaded> {
        Arc::clone(&self.0.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// What the connector says of itself.
    ///
    /// # Errors
    /// The call did not come to its end.
    pub async fn describe(&self) -> Result<Descriptor, CallError> {
        self.call(None, self.0.host.limits(), "describe", move |connector, store| {
            Box::pin(async move { connector.kai_connector_connector().call_describe(store).await.map(Ok) })
        })
        .await
    }

    /// Turns storage format into Markdown. No network.
    ///
    /// # Errors
    /// The page is no text, or the call did not come to its end.
    pub async fn convert(&self, page: StoragePage) -> Result<Converted, CallError> {
        self.call(None, self.0.host.limits(), "convert", move |connector, store| {
            Box::pin(async move { connector.kai_connector_connector().call_convert(store, &page).await })
        })
        .await
    }

    /// A session of `source`. Sessions of the same account on the same site share connections and gate; the token of
    /// the newest is the one that counts. Nothing is sent yet: [`Session::validate`] asks the site.
    ///
    /// # Errors
    /// `base_url` leads nowhere that a session may go.
    pub fn session(&self, source: Source) -> Result<Session, SourceError> {
        let tenant = self.0.host.tenant(&source)?;
        let limits = self.0.host.limits();
        Ok(Session { connector: self.clone(), source: Arc::new(source), tenant, limits })
    }

    /// Runs a call in a task of its own: a panic in there stays there, and dropping the future ends the call.
    async fn call<T, F>(
        &self,
        tenant: Option<Arc<Tenant>>,
        limits: Limits,
        name: &'static str,
        call: F,
    ) -> Result<T, CallError>
    where
        T: Send + 'static,
        F: for<'a> FnOnce(&'a Confluence, &'a mut Store<State>) -> Calling<'a, Result<T, Error>>
            + Send
            + 'static,
    {
        let host = &self.0.host;
        // First the tenant's own turn, then the host's: a tenant with many calls holds one place a turn, not all.
        let own_turns = tenant.as_ref().map(|tenant| Arc::clone(&tenant.calls));
        let _own_turn = match &own_turns {
            Some(turns) => turns.acquire().await.ok(),
            None => None,
        };
        let _turn = host.turn().await?;
        let tenant_id = tenant.as_ref().map(|tenant| tenant.id);
        let span = tracing::debug_span!("call", id = host.call_number(), name, tenant = tenant_id);
        let (loaded, running_host) = (self.current(), host.clone());
        let task = async move {
            let began = Instant::now();
            let result = tokio::select! {
                result = sandbox::run(&loaded.pre, limits, tenant, call) => {
                    result.and_then(|said| said.map_err(CallError::from))
                }
                () = running_host.cancelled() => Err(CallError::ShuttingDown),
            };
            metrics::call(name, began.elapsed(), result.as_ref().map(|_| ()));
            result
        };
        let mut task = AbortOnDrop(host.running().spawn(task.instrument(span)));
        (&mut task.0).await.map_err(|error: JoinError| CallError::Host(error.to_string()))?
    }
}

struct AbortOnDrop<T>(tokio::task::JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// One source on one connector. Cheap to clone; every method may run side by side with others. Dropping a method's
/// future cancels its call.
#[derive(Clone)]
pub struct Session {
    connector: Connector,
    source: Arc<Source>,
    tenant: Arc<Tenant>,
    limits: Limits,
}

impl fmt::Debug for Session {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Session").field("source", &self.source).finish_non_exhaustive()
    }
}

impl Session {
    /// This session with narrower limits; wider ones than the host's have no effect.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = self.limits.narrowed_by(limits);
        self
    }

    /// Checks the source's fields, then its credential, then that a pinned space is visible.
    ///
    /// # Errors
    /// What is wrong, as [`CallError::Connector`].
    pub async fn validate(&self) -> Result<(), CallError> {
        let source = self.lower();
        self.call("validate", move |connector, store| {
            Box::pin(async move { connector.kai_connector_connector().call_validate(store, &source).await })
        })
        .await
    }

    /// One page of the spaces that a sync covers; go on with `next`. `scope_path` overrides the source's space.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn list_partitions(
        &self,
        scope_path: Option<String>,
        cursor: Option<Cursor>,
    ) -> Result<Partitions, CallError> {
        let source = self.lower();
        self.call("list-partitions", move |connector, store| {
            Box::pin(async move {
                let (scope_path, cursor) = (scope_path.as_deref(), cursor.as_ref());
                connector
                    .kai_connector_connector()
                    .call_list_partitions(store, &source, scope_path, cursor)
                    .await
            })
        })
        .await
    }

    /// One stretch of a space's pages: all of them, or those modified after `since`; go on with the batch's `next`.
    ///
    /// # Errors
    /// See [`CallError`]; on `Error::StaleCursor` the listing starts over.
    pub async fn discover(
        &self,
        partition: Partition,
        since: Option<DeltaToken>,
        carry: Carry,
        cursor: Option<Cursor>,
    ) -> Result<Batch, CallError> {
        let source = self.lower();
        self.call("discover", move |connector, store| {
            Box::pin(async move {
                let (since, cursor) = (since.as_ref(), cursor.as_ref());
                connector
                    .kai_connector_connector()
                    .call_discover(store, &source, &partition, since, carry, cursor)
                    .await
            })
        })
        .await
    }

    /// A space's listing from `cursor` to its end, a batch at a time. The next batch is asked for when it is polled
    /// for, so a slow consumer slows the listing. Ends after an error.
    pub fn batches(
        &self,
        partition: Partition,
        since: Option<DeltaToken>,
        carry: Carry,
        cursor: Option<Cursor>,
    ) -> impl Stream<Item = Result<Batch, CallError>> + Send + '_ {
        stream::try_unfold(Some(cursor), move |next| {
            let (partition, since) = (partition.clone(), since.clone());
            async move {
                let Some(cursor) = next else { return Ok(None) };
                let batch = self.discover(partition, since, carry, cursor).await?;
                let next = batch.next.clone().map(Some);
                Ok(Some((batch, next)))
            }
        })
    }

    /// Reads one page.
    ///
    /// # Errors
    /// `Error::NotFound` only where Confluence names the page as gone.
    pub async fn fetch(&self, id: String) -> Result<Document, CallError> {
        let source = self.lower();
        self.call("fetch", move |connector, store| {
            Box::pin(async move { connector.kai_connector_connector().call_fetch(store, &source, &id).await })
        })
        .await
    }

    /// Replaces the token in this and every other session of the account; requests that leave from now on carry it.
    pub fn rotate_token(&self, token: SecretString) {
        self.tenant.credential.rotate(token);
    }

    /// What the account's guests did on the network since its first session.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        self.tenant.statistics()
    }

    /// Until when the site asked to be left alone, where it did.
    #[must_use]
    pub fn paused_until(&self) -> Option<Instant> {
        self.tenant.gate.closed_until().map(tokio::time::Instant::into_std)
    }

    fn lower(&self) -> crate::bindings::GuestSource {
        self.source.lower(self.tenant.credential.stand_in())
    }

    async fn call<T, F>(&self, name: &'static str, call: F) -> Result<T, CallError>
    where
        T: Send + 'static,
        F: for<'a> FnOnce(&'a Confluence, &'a mut Store<State>) -> Calling<'a, Result<T, Error>>
            + Send
            + 'static,
    {
        self.connector.call(Some(Arc::clone(&self.tenant)), self.limits, name, call).await
    }
}
