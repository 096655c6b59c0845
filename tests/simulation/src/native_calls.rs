//! The connector's own code behind the engine's calls: no sandbox, no network, and turns that follow the seed.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Instant;

use confluence_connector::delta::Timestamp;
use confluence_connector::discovery;
use confluence_connector::document;
use confluence_connector::error::Error as ConnectorError;
use confluence_connector::source::Source;
use confluence_connector::transport::{Request, Response, Transport, TransportError};
use kai::calls::Calls;
use kai_host::{
    Batch, CallError, Carry, Change, Document, Error, Failure, Metadata, Notice, Partition, Partitions,
    Reference, Statistics,
};

use crate::world::World;

pub(crate) type SharedWorld = Arc<Mutex<World>>;

pub(crate) fn lock(world: &SharedWorld) -> MutexGuard<'_, World> {
    world.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Calls of one source in one world.
pub(crate) struct NativeCalls {
    pub(crate) world: SharedWorld,
    pub(crate) source: Source,
}

impl NativeCalls {
    /// Lets other spaces go first, as often as the seed says.
    async fn turns(&self) {
        let turns = lock(&self.world).turns();
        for _ in 0..turns {
            Yield(false).await;
        }
    }

    async fn call<T>(
        &self,
        call: impl FnOnce(&WorldTransport) -> Result<T, ConnectorError>,
    ) -> Result<T, CallError> {
        self.turns().await;
        let result = call(&WorldTransport(Arc::clone(&self.world)));
        self.turns().await;
        result.map_err(|error| CallError::from(lift_error(error)))
    }
}

struct Yield(bool);

impl Future for Yield {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.0, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

struct WorldTransport(SharedWorld);

impl Transport for WorldTransport {
    fn get(&self, request: Request<'_>) -> Result<Response, TransportError> {
        lock(&self.0).request(request.url, request.authorization)
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_milliseconds(lock(&self.0).now()).unwrap_or_default()
    }
}

impl Calls for NativeCalls {
    async fn list_partitions(
        &self,
        scope_path: Option<String>,
        cursor: Option<String>,
    ) -> Result<Partitions, CallError> {
        let listed = self
            .call(|transport| {
                let (scope_path, cursor) = (scope_path.as_deref(), cursor.as_deref());
                discovery::list_partitions(&self.source, scope_path, cursor, transport)
            })
            .await?;
        let items = listed.items.into_iter();
        let items = items.map(|document::Partition { id, key, name }| Partition { id, key, name });
        Ok(Partitions { items: items.collect(), next: listed.next })
    }

    async fn discover(
        &self,
        partition: Partition,
        since: Option<String>,
        carry: Carry,
        cursor: Option<String>,
    ) -> Result<Batch, CallError> {
        let Partition { id, key, name } = partition;
        let partition = document::Partition { id, key, name };
        let carry = match carry {
            Carry::Documents => document::Carry::Documents,
            Carry::References => document::Carry::References,
        };
        let batch = self
            .call(|transport| {
                let (since, cursor) = (since.as_deref(), cursor.as_deref());
                discovery::discover(&self.source, &partition, since, carry, cursor, transport)
            })
            .await?;
        let notices = batch.notices.into_iter();
        Ok(Batch {
            changes: batch.changes.into_iter().map(lift_change).collect(),
            notices: notices.map(|notice| Notice { what: notice.what, count: notice.count }).collect(),
            next: batch.next,
            delta_token: batch.delta_token.map(|token| token.to_string()),
        })
    }

    async fn fetch(&self, id: String) -> Result<Document, CallError> {
        self.call(|transport| discovery::fetch(&self.source, &id, transport)).await.map(lift_document)
    }

    fn statistics(&self) -> Statistics {
        Statistics::default()
    }

    fn paused_until(&self) -> Option<Instant> {
        None
    }
}

fn lift_change(change: document::Change) -> Change {
    match change {
        document::Change::Document(document) => Change::Document(lift_document(document)),
        document::Change::Reference(reference) => Change::Reference(lift_reference(reference)),
        document::Change::Failure(document::Failure { id, title, cause }) => {
            Change::Failure(Failure { id, title, cause: lift_error(cause) })
        }
    }
}

fn lift_document(document: document::Document) -> Document {
    Document {
        reference: lift_reference(document.reference),
        mime_type: document::MIME_TYPE.to_owned(),
        content: document.content,
    }
}

fn lift_reference(reference: document::Reference) -> Reference {
    let document::Metadata { web_url, space_key, version_number, created_at, created_by_display_name } =
        reference.metadata;
    Reference {
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

fn lift_error(error: ConnectorError) -> Error {
    match error {
        ConnectorError::InvalidSource(text) => Error::InvalidSource(text),
        ConnectorError::Authentication(text) => Error::Authentication(text),
        ConnectorError::Forbidden(text) => Error::Forbidden(text),
        ConnectorError::NotFound(text) => Error::NotFound(text),
        ConnectorError::RateLimited(seconds) => Error::RateLimited(seconds),
        ConnectorError::Unavailable(text) => Error::Unavailable(text),
        ConnectorError::TooLarge(text) => Error::TooLarge(text),
        ConnectorError::Malformed(text) => Error::Malformed(text),
        ConnectorError::StaleCursor => Error::StaleCursor,
    }
}
