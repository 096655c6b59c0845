//! The server: takes requests from the network, counts them, and gives or spoils their answers.

use std::collections::{BTreeMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use std::{fmt, io};

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, DATE, LINK, LOCATION, RETRY_AFTER};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Sleep;

use crate::endpoints::{self, Answer, Body, Endpoint};
use crate::faults::{Condition, Fault, Faults, RetryAfter};
use crate::state::State;

/// How many requests the log holds unless told; older ones are forgotten.
const LOG_LENGTH: usize = 100_000;
/// Bodies are handed over in pieces, so that a caller who stops reading keeps its request in flight.
const PIECE: usize = 16 * 1024;

/// What the site saw.
#[derive(Debug, Clone, Default)]
pub struct Statistics {
    /// All requests.
    pub requests: u64,
    /// Requests that were read and whose bodies are not yet handed over or dropped.
    pub in_flight: u64,
    /// The highest value of `in_flight`.
    pub max_in_flight: u64,
    /// Body bytes handed over.
    pub bytes: u64,
    /// Requests without the accepted credential.
    pub rejected_credentials: u64,
    /// Requests for anything but the three endpoints.
    pub unknown_paths: u64,
    /// Requests that arrived between an answer with `Retry-After` and the end of the time it named.
    pub during_retry_after: u64,
    /// Requests by `spaces`, `space-pages`, `page`.
    pub by_endpoint: BTreeMap<String, u64>,
}

/// A request that the site saw.
#[derive(Debug, Clone)]
pub struct Seen {
    /// When it was read.
    pub at: Instant,
    /// Its method.
    pub method: String,
    /// Its path and query, as sent.
    pub path_and_query: String,
    /// Whether it carried the accepted credential.
    pub authorized: bool,
    /// The status it was answered with; 0 while there is none, and when the connection was closed instead.
    pub status: u16,
    /// Its `Authorization` header, as sent.
    pub authorization: Option<String>,
}

/// What sort of site to start. See [`Site::builder`].
#[derive(Debug, Clone)]
pub struct SiteBuilder {
    seed: u64,
    spaces: usize,
    pages: usize,
    page_bytes: usize,
    latency: Duration,
    port: u16,
    log_length: usize,
}

impl SiteBuilder {
    /// What the content is made from: 1 unless told.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// How many spaces: 3 unless told.
    pub fn spaces(mut self, spaces: usize) -> Self {
        self.spaces = spaces;
        self
    }

    /// How many current pages, over all spaces: 30 unless told. Archived, trashed and draft pages come on top.
    pub fn pages(mut self, pages: usize) -> Self {
        self.pages = pages;
        self
    }

    /// About how long the body of a page is: 2000 unless told.
    pub fn page_bytes(mut self, page_bytes: usize) -> Self {
        self.page_bytes = page_bytes;
        self
    }

    /// How long each answer takes: no time unless told.
    pub fn latency(mut self, latency: Duration) -> Self {
        self.latency = latency;
        self
    }

    /// The port on 127.0.0.1: a free one unless told.
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// How many requests the log holds, at least one: 100,000 unless told.
    pub fn log_length(mut self, requests: usize) -> Self {
        self.log_length = requests.max(1);
        self
    }

    /// The content alone, for those who need pages and no server.
    pub fn content(&self) -> State {
        State::new(self.seed, self.spaces, self.pages, self.page_bytes)
    }

    /// Makes the content and begins to listen.
    ///
    /// # Errors
    /// When the port cannot be had.
    pub async fn start(self) -> io::Result<Site> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, self.port)).await?;
        let address = listener.local_addr()?;
        let mut state = self.content();
        state.base_url = format!("http://{address}");
        let ledger = Ledger { latency: self.latency, log_length: self.log_length, ..Ledger::default() };
        let shared = Arc::new(Shared { state: Mutex::new(state), ledger: Mutex::new(ledger) });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Ok(Site(Arc::new(Running { shared, address, accepting })))
    }
}

/// A running site. Clones are handles to the same site; it stops when the last one is dropped.
#[derive(Clone)]
pub struct Site(Arc<Running>);

struct Running {
    shared: Arc<Shared>,
    address: SocketAddr,
    accepting: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        // The task owns the listener and all connections.
        self.accepting.abort();
    }
}

impl fmt::Debug for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Site").field("address", &self.0.address).finish_non_exhaustive()
    }
}

impl Site {
    /// The email address of the account that is accepted at first.
    pub const EMAIL: &str = "ada@acme.example";
    /// The API token of that account.
    pub const TOKEN: &str = "site-token-4f1c";

    /// A site to be configured and started.
    pub fn builder() -> SiteBuilder {
        SiteBuilder {
            seed: 1,
            spaces: 3,
            pages: 30,
            page_bytes: 2000,
            latency: Duration::ZERO,
            port: 0,
            log_length: LOG_LENGTH,
        }
    }

    /// Its address, `http://127.0.0.1:PORT`.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.0.address)
    }

    /// Reads or changes the site's content, while no request does. `f` must not call this again.
    pub fn with_state<R>(&self, f: impl FnOnce(&mut State) -> R) -> R {
        f(&mut lock(&self.0.shared.state))
    }

    /// The next `times` requests that meet `condition` get `fault`; `usize::MAX` stands for all. Of several faults for
    /// one request, the one injected first is taken.
    pub fn inject(&self, fault: Fault, times: usize, condition: Condition) {
        self.ledger().faults.add(fault, times, condition);
    }

    /// Forgets all injected faults.
    pub fn heal(&self) {
        self.ledger().faults.clear();
    }

    /// How long each answer takes from now on.
    pub fn set_latency(&self, latency: Duration) {
        self.ledger().latency = latency;
    }

    /// Before each request is answered, `f` may change the content. The request's number counts from 1 since the start
    /// or the last [`forget`](Self::forget). `f` must not call [`with_state`](Self::with_state).
    pub fn before_each_request(&self, f: impl Fn(&mut State, u64) + Send + Sync + 'static) {
        self.ledger().hook = Some(Arc::new(f));
    }

    /// What the site saw so far.
    pub fn statistics(&self) -> Statistics {
        self.ledger().statistics.clone()
    }

    /// Every request, in the order in which they were read; of many the last ones (see
    /// [`log_length`](SiteBuilder::log_length)).
    pub fn log(&self) -> Vec<Seen> {
        self.ledger().log.iter().cloned().collect()
    }

    /// The end of the latest time that a `Retry-After` named, once one did.
    pub fn quiet_until(&self) -> Option<Instant> {
        self.ledger().quiet_until
    }

    /// Begins statistics and log anew. What is in flight stays counted as that.
    pub fn forget(&self) {
        let mut ledger = self.ledger();
        let in_flight = ledger.statistics.in_flight;
        ledger.statistics = Statistics { in_flight, max_in_flight: in_flight, ..Statistics::default() };
        ledger.first_logged += ledger.log.len() as u64;
        ledger.log.clear();
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        lock(&self.0.shared.ledger)
    }
}

type Hook = Arc<dyn Fn(&mut State, u64) + Send + Sync>;

/// What all connections share. Whoever takes both locks takes `state` first.
struct Shared {
    state: Mutex<State>,
    ledger: Mutex<Ledger>,
}

#[derive(Default)]
struct Ledger {
    statistics: Statistics,
    log: VecDeque<Seen>,
    log_length: usize,
    /// The serial number of the oldest logged request; serial numbers never start anew.
    first_logged: u64,
    faults: Faults,
    latency: Duration,
    hook: Option<Hook>,
    /// The end of the latest time that a `Retry-After` named.
    quiet_until: Option<Instant>,
}

impl Ledger {
    fn logged(&mut self, serial: u64) -> Option<&mut Seen> {
        let at = usize::try_from(serial.checked_sub(self.first_logged)?).ok()?;
        self.log.get_mut(at)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A test that panics while it holds the lock must not take the others' site with it.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(serve(stream, Arc::clone(&shared)));
                }
                // Out of file descriptors, most likely: they come back.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    // Without this a body in several pieces waits for the caller's delayed acknowledgement.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| handle(Arc::clone(&shared), request));
    // Errors are closed connections, by the caller or by an injected fault.
    let _ = http1::Builder::new()
        .auto_date_header(false)
        .header_read_timeout(None)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

/// Counts a request as in flight as long as it lives.
struct InFlight(Arc<Shared>);

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut ledger = lock(&self.0.ledger);
        ledger.statistics.in_flight = ledger.statistics.in_flight.saturating_sub(1);
    }
}

/// What was decided about a request when it arrived.
struct Arrival {
    serial: u64,
    latency: Duration,
    fault: Option<Fault>,
    answer: Answer,
    /// The server's clock.
    date: Option<std::time::SystemTime>,
}

async fn handle(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Response<Measured>, io::Error> {
    let (guard, arrival) = arrive(&shared, &request);
    // Also a sleep of no time waits for the next millisecond.
    if !arrival.latency.is_zero() {
        tokio::time::sleep(arrival.latency).await;
    }
    if let Some(Fault::Stall(pause)) = arrival.fault {
        tokio::time::sleep(pause).await;
    }
    if matches!(arrival.fault, Some(Fault::Reset)) {
        return Err(io::Error::from(io::ErrorKind::ConnectionReset));
    }
    Ok(respond(&shared, guard, arrival))
}

/// All that happens at once when a request has been read: it is counted, the hook runs, its fault and answer are found.
fn arrive(shared: &Arc<Shared>, request: &Request<Incoming>) -> (InFlight, Arrival) {
    let at = Instant::now();
    let path_and_query = request.uri().path_and_query().map_or("", |whole| whole.as_str()).to_owned();
    let authorization = request
        .headers()
        .get(AUTHORIZATION)
        .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let endpoint = Endpoint::of(request.uri().path());

    let mut state = lock(&shared.state);
    let (number, serial, hook) = {
        let mut ledger = lock(&shared.ledger);
        let quiet = ledger.quiet_until.is_some_and(|until| at < until);
        let seen = &mut ledger.statistics;
        seen.requests += 1;
        seen.in_flight += 1;
        seen.max_in_flight = seen.max_in_flight.max(seen.in_flight);
        seen.during_retry_after += u64::from(quiet);
        match endpoint.name() {
            Some(name) => *seen.by_endpoint.entry(name.to_owned()).or_default() += 1,
            None => seen.unknown_paths += 1,
        }
        let number = seen.requests;
        if ledger.log.len() >= ledger.log_length {
            ledger.log.pop_front();
            ledger.first_logged += 1;
        }
        let serial = ledger.first_logged + ledger.log.len() as u64;
        ledger.log.push_back(Seen {
            at,
            method: request.method().to_string(),
            path_and_query: path_and_query.clone(),
            authorized: false,
            status: 0,
            authorization: authorization.clone(),
        });
        (number, serial, ledger.hook.clone())
    };
    let guard = InFlight(Arc::clone(shared));
    if let Some(hook) = hook {
        hook(&mut state, number);
    }
    let authorized = state.accepts(authorization.as_deref());
    let (latency, fault) = {
        let mut ledger = lock(&shared.ledger);
        ledger.statistics.rejected_credentials += u64::from(!authorized);
        if let Some(seen) = ledger.logged(serial) {
            seen.authorized = authorized;
        }
        (ledger.latency, ledger.faults.take(number, &path_and_query))
    };
    let date = state.quirks.send_date.then(|| state.clock());
    let answer = match fault.as_ref().and_then(spoiled) {
        Some(answer) => answer,
        None if endpoint == Endpoint::Unknown => Answer::html(404, "Not Found"),
        None if request.method() != Method::GET => Answer::html(405, "Method Not Allowed"),
        None if !authorized => Answer::generic_not_found(),
        None => endpoints::answer(&state, &endpoint, request.uri().query().unwrap_or_default()),
    };
    (guard, Arrival { serial, latency, fault, answer, date })
}

/// The answer that a fault puts in the place of the normal one.
fn spoiled(fault: &Fault) -> Option<Answer> {
    Some(match fault {
        Fault::RateLimited(_) => {
            let body = serde_json::json!({ "code": 429, "message": "Rate limit exceeded" });
            Answer { status: 429, body: Body::json(&body), link: None }
        }
        Fault::Unavailable(_) => Answer::html(503, "Service Unavailable"),
        Fault::Status(status) => Answer::html(*status, "Something went wrong"),
        Fault::Json(status, text) => {
            Answer { status: *status, body: Body::Json(text.clone().into_bytes()), link: None }
        }
        Fault::Garbage => Answer::html(200, "Log in to continue"),
        Fault::GenericNotFound => Answer::generic_not_found(),
        Fault::Unauthorized => Answer::html(401, "Unauthorized"),
        Fault::Redirect(_) => Answer::html(302, "Found"),
        Fault::Reset | Fault::Truncate | Fault::Stall(_) | Fault::SlowBody(_) | Fault::NearLimit => {
            return None;
        }
    })
}

fn respond(shared: &Arc<Shared>, guard: InFlight, arrival: Arrival) -> Response<Measured> {
    let Arrival { serial, latency: _, fault, answer, date } = arrival;
    let (content_type, body) = answer.body.into_bytes();
    let mut headers: Vec<(HeaderName, String)> = vec![
        (CONTENT_TYPE, content_type.to_owned()),
        (CONTENT_LENGTH, body.len().to_string()),
        (HeaderName::from_static("atl-request-id"), format!("req-{serial:012x}")),
        (HeaderName::from_static("x-trace-id"), format!("{serial:032x}")),
    ];
    headers.extend(answer.link.map(|link| (LINK, link)));
    headers.extend(date.map(|date| (DATE, httpdate::fmt_http_date(date))));
    let near_limit = HeaderName::from_static("x-ratelimit-nearlimit");
    match &fault {
        Some(Fault::RateLimited(after)) => {
            headers.push((HeaderName::from_static("x-ratelimit-remaining"), "0".to_owned()));
            headers.push((HeaderName::from_static("ratelimit-reason"), "confluence-burst-based".to_owned()));
            headers.push((near_limit, "true".to_owned()));
            headers.extend(retry_after(shared, after, date));
        }
        Some(Fault::Unavailable(after)) => headers.extend(retry_after(shared, after, date)),
        Some(Fault::NearLimit) => headers.push((near_limit, "true".to_owned())),
        Some(Fault::Redirect(target)) => headers.push((LOCATION, target.clone())),
        _ => {}
    }
    if let Some(seen) = lock(&shared.ledger).logged(serial) {
        seen.status = answer.status;
    }
    let body = Measured::new(guard, body.into(), fault.as_ref());
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in headers {
        // Text that no header can hold is left out.
        if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

/// The header, after its time has been noted.
fn retry_after(
    shared: &Shared,
    after: &RetryAfter,
    date: Option<std::time::SystemTime>,
) -> Option<(HeaderName, String)> {
    let (text, wait) = after.header(date.unwrap_or_else(std::time::SystemTime::now));
    if let Some(until) = wait.and_then(|wait| Instant::now().checked_add(wait)) {
        let mut ledger = lock(&shared.ledger);
        ledger.quiet_until = Some(ledger.quiet_until.map_or(until, |other| other.max(until)));
    }
    Some((RETRY_AFTER, text?))
}

/// A body that counts its bytes, and keeps its request in flight until the last of them is handed over.
struct Measured {
    guard: Option<InFlight>,
    rest: Bytes,
    trouble: Option<Trouble>,
}

/// A pause in mid body, and perhaps no more after it.
struct Trouble {
    /// How much of the body is left when it comes.
    left: usize,
    pause: Duration,
    /// The pause, once it has begun.
    sleep: Option<Pin<Box<Sleep>>>,
    ends: bool,
}

impl Measured {
    fn new(guard: InFlight, whole: Bytes, fault: Option<&Fault>) -> Measured {
        let trouble = match fault {
            // An error right behind a piece would make hyper drop what it has not written yet.
            Some(Fault::Truncate) => Some((Duration::from_millis(5), true)),
            Some(Fault::SlowBody(pause)) => Some((*pause, false)),
            _ => None,
        };
        let left = whole.len() / 2;
        let trouble = trouble.map(|(pause, ends)| Trouble { left, pause, sleep: None, ends });
        Measured { guard: Some(guard), rest: whole, trouble }
    }
}

impl HttpBody for Measured {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let left = self.rest.len();
        let mut length = left.min(PIECE);
        match &mut self.trouble {
            Some(trouble) if left == trouble.left => {
                let pause = trouble.pause;
                let sleep = trouble.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep(pause)));
                ready!(sleep.as_mut().poll(cx));
                if trouble.ends {
                    return Poll::Ready(Some(Err(io::Error::from(io::ErrorKind::BrokenPipe))));
                }
                self.trouble = None;
            }
            Some(trouble) => length = length.min(left.saturating_sub(trouble.left)),
            None => {}
        }
        let piece = self.rest.split_to(length);
        if let Some(guard) = &self.guard {
            lock(&guard.0.ledger).statistics.bytes += piece.len() as u64;
        }
        if self.rest.is_empty() {
            self.guard = None;
        }
        Poll::Ready((!piece.is_empty()).then(|| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}
