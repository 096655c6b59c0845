//! The service: sources are registered, runs begin and are watched, documents are read and changes followed, over HTTP.
//!
//! It stands on the same store and the same sync as the command line, holds the data directory's lock while it lives, and
//! reads by connections of its own. What a tenant sees is decided in one place, `access`: each question to the store
//! names the tenant whose answer it is.

mod access;
pub mod api;
mod background;
mod browser_sessions;
mod cursors;
mod extract;
mod failed_keys;
mod feed;
mod indexer;
mod listening;
mod live_run;
mod operation;
mod pages;
mod problem;
mod readers;
mod run_queue;
mod runner;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use kai_host::Connector;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;

use self::background::Background;
use self::browser_sessions::BrowserSessions;
use self::cursors::Cursors;
use self::failed_keys::FailedKeys;
use self::feed::Feed;
use self::problem::{Kind, Problem};
use self::readers::Readers;
use self::runner::Runner;
use crate::access_key::{AccessKey, KeyDigest, random_id};
use crate::error::Error;
use crate::master_key::MasterKey;
use crate::store::{SharedStore, SqliteStore, StoredKey};

/// How long a request may take to be answered. Streams are answered when they begin.
const REQUEST_TIME: Duration = Duration::from_secs(30);

/// Largest body of a request, in bytes: a registration document is far smaller.
const LARGEST_BODY: usize = 64 * 1024;

/// How long requests and runs have to come to an end when the service stops.
const GRACE: Duration = Duration::from_secs(10);

/// What the service is told by who starts it.
#[derive(Debug, Clone)]
pub struct Options {
    /// The data directory; made where there is none.
    pub data: PathBuf,
    /// Where to listen.
    pub listen: SocketAddr,
    /// Certificate chain and key, PEM, for TLS.
    pub tls: Option<(PathBuf, PathBuf)>,
}

/// What a service says when it listens.
#[derive(Debug)]
pub struct Ready {
    /// Where.
    pub address: SocketAddr,
    /// Whether it speaks TLS.
    pub tls: bool,
    /// The first key of the administration, where the store had none. It is not shown again.
    pub first_key: Option<AccessKey>,
}

/// Everything that answers requests. Clones are handles to the same.
#[derive(Clone)]
pub(crate) struct Service(Arc<Inner>);

impl std::ops::Deref for Service {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

pub(crate) struct Inner {
    pub(crate) store: SharedStore<SqliteStore>,
    pub(crate) readers: Readers,
    pub(crate) connector: Connector,
    pub(crate) master_key: Arc<MasterKey>,
    pub(crate) runner: Runner,
    pub(crate) feed: Feed,
    pub(crate) cursors: Cursors,
    pub(crate) sessions: BrowserSessions,
    pub(crate) failed_keys: FailedKeys,
    pub(crate) metrics: Option<PrometheusHandle>,
    pub(crate) stopping: CancellationToken,
}

impl Inner {
    pub(crate) async fn key_with(&self, digest: KeyDigest) -> Result<Option<StoredKey>, Problem> {
        self.readers.key_with(digest).await
    }
}

/// Serves until `stop` comes to its end; then lets requests end, and leaves runs to the next process.
///
/// # Errors
/// Where the store, the address or the certificate cannot be used.
pub async fn serve(
    options: &Options,
    connector: Connector,
    master_key: MasterKey,
    ready: impl FnOnce(Ready),
    stop: impl Future<Output = ()>,
) -> Result<(), Error> {
    // Before the store: what is wrong here leaves nothing behind.
    let listener = listening::bind(options.listen, options.tls.as_ref())?;
    let mut store = SqliteStore::open(&options.data)?;
    store.prepare_for_service()?;
    let first_key = first_key(&mut store)?;
    let random = || random_secret().map_err(|error| Error::Usage(format!("no random bytes: {error}")));
    let secret = store.service_secret(random()?)?;
    let store = SharedStore::new(store);
    let stopping = CancellationToken::new();
    let feed = Feed::default();
    let master_key = Arc::new(master_key);
    let unthreaded = |error: std::io::Error| Error::Usage(format!("no threads can be started: {error}"));
    let background = Background::start().map_err(unthreaded)?;
    let threads = background.handle();
    let runner = Runner::start(
        threads.clone(),
        store.clone(),
        connector.clone(),
        Arc::clone(&master_key),
        feed.clone(),
        stopping.clone(),
    )
    .await?;
    let service = Service(Arc::new(Inner {
        readers: Readers::open(&options.data)?,
        connector,
        master_key,
        runner: runner.clone(),
        feed,
        cursors: Cursors::new(secret),
        sessions: BrowserSessions::new(options.tls.is_some()),
        failed_keys: FailedKeys::default(),
        metrics: recorder(),
        stopping: stopping.clone(),
        store,
    }));
    let indexer = threads.spawn(indexer::run(service.clone()));
    let address = listener.address;
    ready(Ready { address, tls: options.tls.is_some(), first_key });
    let result = listener.serve(router(service), stop, stopping.clone(), GRACE).await;
    stopping.cancel();
    runner.stopped().await;
    indexer.await.ok();
    drop(background);
    result.map_err(|error| Error::Usage(format!("{address}: {error}")))
}

/// The key with which the administration begins.
fn first_key(store: &mut SqliteStore) -> Result<Option<AccessKey>, Error> {
    if store.keys(None)?.iter().any(|key| key.tenant_id.is_none()) {
        return Ok(None);
    }
    let random = |error| Error::Usage(format!("the system gives no random bytes: {error}"));
    let key = AccessKey::generate().map_err(random)?;
    store.add_key(&random_id().map_err(random)?, "first key", None, key.digest())?;
    Ok(Some(key))
}

fn random_secret() -> Result<[u8; 32], rand::rand_core::OsError> {
    use rand::TryRngCore as _;
    let mut secret = [0; 32];
    rand::rngs::OsRng.try_fill_bytes(&mut secret)?;
    Ok(secret)
}

/// What counts for `/metrics`; none where another part of the process counts already.
fn recorder() -> Option<PrometheusHandle> {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder).is_ok().then_some(handle)
}

/// Whether a data directory has the tokens of sources, which only the key opens that sealed them.
///
/// # Errors
/// See [`crate::store::StoreError`].
pub fn has_sealed_tokens(data: &Path) -> Result<bool, Error> {
    use crate::store::StoreError;
    let store = match SqliteStore::open_for_reading(data) {
        Err(StoreError::Missing { .. }) => return Ok(false),
        // Only one of the present format says what is in it.
        Err(StoreError::Older { .. }) => SqliteStore::open_beside_writer(data)?,
        opened => opened?,
    };
    Ok(!store.registered_sources()?.is_empty())
}

fn router(service: Service) -> Router {
    Router::new()
        .merge(api::router(service.clone()))
        .merge(operation::router(service.clone()))
        .merge(pages::router(service.clone()))
        .fallback(async || Problem::not_found("page"))
        .method_not_allowed_fallback(async || {
            let detail = "this address does not take that method; /openapi.json says which ones it takes";
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, Kind::InvalidRequest, detail)
        })
        .layer(middleware::from_fn(in_time))
        .layer(CatchPanicLayer::custom(|_: Box<dyn std::any::Any + Send>| {
            Problem::internal("a panic").into_response()
        }))
        .layer(axum::extract::DefaultBodyLimit::max(LARGEST_BODY))
        .layer(middleware::from_fn_with_state(service.clone(), pages::problems_as_pages))
        .layer(CompressionLayer::new())
        .layer(middleware::from_fn_with_state(service, with_headers))
}

async fn in_time(request: Request, next: Next) -> Response {
    match tokio::time::timeout(REQUEST_TIME, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let detail = "the request took too long; try again, or ask for less at once";
            let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, Kind::Limit, detail);
            Problem { retry_after: Some(5), ..problem }.into_response()
        }
    }
}

/// No script, style or frame but our own; nothing that a browser or a proxy keeps, unless it says so itself.
async fn with_headers(
    axum::extract::State(service): axum::extract::State<Service>,
    request: Request,
    next: Next,
) -> Response {
    let began = std::time::Instant::now();
    let mut response = next.run(request).await;
    metrics::histogram!("kai_service_request_seconds", "status" => status_class(response.status()))
        .record(began.elapsed().as_secs_f64());
    let headers = response.headers_mut();
    let mut set = |name: HeaderName, value: &'static str| {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    };
    set(
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    );
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(header::X_FRAME_OPTIONS, "DENY");
    set(header::REFERRER_POLICY, "same-origin");
    set(header::CACHE_CONTROL, "no-store");
    set(HeaderName::from_static("cross-origin-opener-policy"), "same-origin");
    if service.sessions.is_secure() {
        set(header::STRICT_TRANSPORT_SECURITY, "max-age=31536000");
    }
    response
}

fn status_class(status: StatusCode) -> &'static str {
    match status.as_u16() / 100 {
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        _ => "5xx",
    }
}
