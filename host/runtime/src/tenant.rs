//! One tenant's way out: every request of its guests is judged, unsealed, queued at the gate, sent and sent again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{
    AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, DATE, HOST, HeaderName, LOCATION, RETRY_AFTER,
    TRANSFER_ENCODING,
};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tracing::{Instrument as _, debug, debug_span, info, warn};
use url::Url;
use wasmtime_wasi_http::Error;

use crate::client::{Answer, Client, Fault};
use crate::clock::CallClock;
use crate::credential::Credential;
use crate::egress::Egress;
use crate::gate::{Gate, TenantId};
use crate::metrics;
use crate::retry::RetryPolicy;
use crate::retry_after;

/// Redirects that one request follows at most; more are a loop.
const REDIRECTS: u32 = 5;

/// A site's warning that its limit is near (facts D1).
const NEAR_LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-nearlimit");

/// What all sessions of one account on one site share.
pub(crate) struct Tenant {
    pub(crate) id: TenantId,
    pub(crate) credential: Credential,
    pub(crate) gate: Arc<Gate>,
    pub(crate) egress: Egress,
    pub(crate) client: Client,
    pub(crate) retry: RetryPolicy,
    pub(crate) counters: Counters,
    /// Calls at once: a tenant with many keeps none of the others waiting.
    pub(crate) calls: Arc<Semaphore>,
}

/// What a tenant's guests did on the network since the tenant's first session.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub struct Statistics {
    /// Requests sent, each repetition counted.
    pub requests: u64,
    /// Of those, repetitions.
    pub retries: u64,
    /// Answers that asked to slow down (429, or 503 with a Retry-After).
    pub throttled: u64,
    /// Seconds that those answers asked for.
    pub throttled_seconds: f64,
    /// Most requests in flight at once to the site, other tenants' among them.
    pub max_in_flight: u64,
    /// Bytes of answers, decompressed.
    pub bytes: u64,
}

#[derive(Default)]
pub(crate) struct Counters {
    requests: AtomicU64,
    retries: AtomicU64,
    throttled: AtomicU64,
    throttled_milliseconds: AtomicU64,
    bytes: AtomicU64,
}

/// What the requests of one call have in common.
pub(crate) struct CallBudget {
    pub(crate) clock: CallClock,
    pub(crate) response_body: usize,
    /// Requests that the call may make, and those that it made.
    limit: u32,
    requests: AtomicU32,
    waited: Mutex<Duration>,
}

impl CallBudget {
    pub(crate) fn new(requests: u32, response_body: usize) -> Self {
        Self {
            clock: CallClock::start(),
            response_body,
            limit: requests,
            requests: AtomicU32::new(0),
            waited: Mutex::new(Duration::ZERO),
        }
    }

    /// The number of the call's next request, from 1; none where it has used them up.
    fn take_request(&self) -> Option<u32> {
        let one_more = |made: u32| (made < self.limit).then_some(made + 1);
        self.requests.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok().map(|made| made + 1)
    }

    fn waited(&self) -> Duration {
        *self.waited.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for `future` with the call's clock standing still.
    async fn wait<F: Future>(&self, future: F) -> F::Output {
        let began = Instant::now();
        let _standing_still = self.clock.wait();
        let output = future.await;
        *self.waited.lock().unwrap_or_else(PoisonError::into_inner) += began.elapsed();
        output
    }
}

/// What an attempt came to.
enum Outcome {
    /// To be handed to the guest.
    Final(Result<Answer, Fault>),
    /// The gate is closed for this long now.
    Throttled(Duration, Answer),
    /// The site says where else to ask, and that is a place where the source may ask.
    Redirected(Url, Answer),
    /// A fault that may be gone in a moment.
    Transient(Result<Answer, Fault>),
}

impl Tenant {
    /// Sends a guest's request, and sends it again until there is something to tell the guest.
    pub(crate) async fn send(
        &self,
        request: Request<()>,
        budget: &CallBudget,
    ) -> Result<Response<Bytes>, Error> {
        let Some(number) = budget.take_request() else {
            warn!("request denied: the call has used up its requests");
            return Err(Error::ConnectionLimitReached);
        };
        let url = self.egress.check(request.method(), request.uri()).map_err(|denial| {
            warn!(%denial, "request denied");
            Error::HttpRequestDenied
        })?;
        let headers = self.headers(request.headers()).ok_or(Error::HttpRequestDenied)?;
        // The query may be long and holds nothing that a path does not tell.
        let span = debug_span!("request", id = number, path = url.path());
        self.attempts(url, headers, budget).instrument(span).await
    }

    async fn attempts(
        &self,
        mut url: Url,
        headers: HeaderMap,
        budget: &CallBudget,
    ) -> Result<Response<Bytes>, Error> {
        let (mut failures, mut throttles, mut redirects, mut closed_once) = (0, 0, 0, false);
        loop {
            if let Some(closed) = self.closed_for()
                && (closed > self.retry.longest_wait || budget.waited() + closed > self.retry.total_wait)
            {
                return Ok(rate_limited(closed));
            }
            let left = self.retry.total_wait.saturating_sub(budget.waited());
            let turn = tokio::time::timeout(left, self.gate.acquire(self.id));
            let Ok(permit) = budget.wait(turn).await else {
                return Ok(rate_limited(self.closed_for().unwrap_or_default()));
            };
            Counters::add(&self.counters.requests, 1);
            let in_flight = metrics::InFlight::begin();
            let answer = self.client.get(url.clone(), headers.clone(), budget.response_body).await;
            drop(in_flight);
            metrics::request(answer.as_ref().ok().map(|answer| answer.status));
            let outcome = self.judge(answer, &url, throttles + 1);
            // Closed before the permit goes back, so that nobody slips through in between.
            if let Outcome::Throttled(wait, _) = &outcome {
                self.gate.close_for(*wait);
            }
            match outcome {
                Outcome::Final(answer) => {
                    if answer.is_ok() {
                        permit.succeeded();
                    }
                    return self.hand_over(answer);
                }
                Outcome::Redirected(to, answer) => {
                    permit.succeeded();
                    redirects += 1;
                    if redirects > REDIRECTS {
                        return self.hand_over(Ok(answer));
                    }
                    debug!(status = answer.status.as_u16(), "redirected within the API");
                    url = to;
                    continue;
                }
                Outcome::Throttled(wait, answer) => {
                    drop(permit);
                    throttles += 1;
                    info!(
                        status = answer.status.as_u16(),
                        seconds = wait.as_secs_f64(),
                        "throttled by the site"
                    );
                    if throttles >= self.retry.throttled_attempts {
                        return self.hand_over(Ok(answer));
                    }
                }
                // A kept connection that the site had given up already says nothing about the site.
                Outcome::Transient(Err(Fault::Closed)) if !closed_once => {
                    drop(permit);
                    closed_once = true;
                }
                Outcome::Transient(answer) => {
                    drop(permit);
                    failures += 1;
                    let wait = self.retry.backoff_after(failures);
                    if failures >= self.retry.attempts || budget.waited() + wait > self.retry.total_wait {
                        return self.hand_over(answer);
                    }
                    match &answer {
                        Ok(answer) => debug!(status = answer.status.as_u16(), "transient answer"),
                        Err(fault) => debug!(%fault, "transient fault"),
                    }
                    budget.wait(tokio::time::sleep(wait)).await;
                }
            }
            Counters::add(&self.counters.retries, 1);
            metrics::retry();
        }
    }

    pub(crate) fn statistics(&self) -> Statistics {
        let counters = &self.counters;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Statistics {
            requests: read(&counters.requests),
            retries: read(&counters.retries),
            throttled: read(&counters.throttled),
            throttled_seconds: Duration::from_millis(read(&counters.throttled_milliseconds)).as_secs_f64(),
            max_in_flight: self.gate.high_water() as u64,
            bytes: read(&counters.bytes),
        }
    }

    fn closed_for(&self) -> Option<Duration> {
        self.gate.closed_until().map(|until| until.saturating_duration_since(Instant::now()))
    }

    /// The guest's headers with the real credential. None where it cannot be put into a header.
    fn headers(&self, written: &HeaderMap) -> Option<HeaderMap> {
        let mut headers = written.clone();
        headers.remove(HOST);
        if let Some(authorization) = written.get(AUTHORIZATION) {
            headers.insert(AUTHORIZATION, self.credential.unseal(authorization)?);
        }
        Some(headers)
    }

    fn judge(&self, answer: Result<Answer, Fault>, url: &Url, throttles: u32) -> Outcome {
        let answer = match answer {
            Ok(answer) => answer,
            Err(fault) if fault.is_transient() => return Outcome::Transient(Err(fault)),
            Err(fault) => return Outcome::Final(Err(fault)),
        };
        Counters::add(&self.counters.bytes, answer.body.len() as u64);
        if answer.headers.get(NEAR_LIMIT).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"true"))
        {
            self.gate.near_limit();
        }
        let text = |name: HeaderName| answer.headers.get(name).and_then(|value| value.to_str().ok());
        let asked = retry_after::wait(text(RETRY_AFTER), text(DATE), SystemTime::now());
        let redirect = text(LOCATION).filter(|_| answer.status.is_redirection());
        if let Some(redirect) = redirect {
            // Where the source may not go, the guest gets the redirect itself; it carries no credential.
            return match self.egress.check_redirect(url, redirect) {
                Ok(to) => Outcome::Redirected(to, answer),
                Err(denial) => {
                    warn!(%denial, "redirect not followed");
                    Outcome::Final(Ok(answer))
                }
            };
        }
        match (answer.status, asked) {
            (StatusCode::TOO_MANY_REQUESTS, _) | (StatusCode::SERVICE_UNAVAILABLE, Some(_)) => {
                let wait = match asked {
                    Some(asked) => self.retry.with_jitter(asked),
                    None => self.retry.backoff_after(throttles),
                };
                Counters::add(&self.counters.throttled, 1);
                metrics::throttled(wait);
                let milliseconds = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
                Counters::add(&self.counters.throttled_milliseconds, milliseconds);
                Outcome::Throttled(wait, answer)
            }
            (StatusCode::NOT_IMPLEMENTED, _) => Outcome::Final(Ok(answer)),
            (status, _) if status.is_server_error() || status == StatusCode::REQUEST_TIMEOUT => {
                Outcome::Transient(Ok(answer))
            }
            _ => Outcome::Final(Ok(answer)),
        }
    }

    fn hand_over(&self, answer: Result<Answer, Fault>) -> Result<Response<Bytes>, Error> {
        let answer = answer.map_err(|fault| {
            warn!(origin = self.egress.origin(), %fault, "request failed");
            match fault {
                Fault::Prohibited(_) => Error::DestinationIpProhibited,
                Fault::Dns => Error::DnsError { rcode: None, info_code: None },
                Fault::Refused => Error::ConnectionRefused,
                Fault::Closed => Error::ConnectionTerminated,
                Fault::Timeout => Error::HttpResponseTimeout,
                Fault::Certificate(_) => Error::TlsCertificateError,
                Fault::TooLarge(cap) => Error::HttpResponseBodySize(Some(cap as u64)),
                Fault::Broken(reason) => Error::InternalError(Some(reason)),
            }
        })?;
        let mut response = Response::new(answer.body);
        *response.status_mut() = answer.status;
        *response.headers_mut() = answer.headers;
        let headers = response.headers_mut();
        // The body is decompressed and whole; what it was on the wire is of no use to the guest.
        headers.remove(CONTENT_ENCODING);
        headers.remove(TRANSFER_ENCODING);
        headers.remove(CONTENT_LENGTH);
        let length = response.body().len();
        response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
        Ok(response)
    }
}

impl Counters {
    fn add(counter: &AtomicU64, more: u64) {
        counter.fetch_add(more, Ordering::Relaxed);
    }
}

/// What the site would answer, had it been asked while the gate is closed.
fn rate_limited(wait: Duration) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds.max(1)));
    response
}

#[cfg(test)]
mod tests {
    use confluence_site::{Condition, Fault, RetryAfter, Site};

    use super::*;
    use crate::client::{self, HttpTimeouts};

    fn tenant(site: &Site, retry: RetryPolicy) -> Tenant {
        let egress = Egress::new(&site.base_url(), None, true).unwrap();
        let client = Client::new(client::tls(None).unwrap(), HttpTimeouts::default(), &egress).unwrap();
        Tenant {
            id: 1,
            credential: Credential::new(Site::TOKEN.into()),
            gate: Gate::new(),
            egress,
            client,
            retry,
            counters: Counters::default(),
            calls: Arc::new(Semaphore::new(1)),
        }
    }

    /// As a guest sends it that builds Basic authentication from its stand-in.
    fn request(tenant: &Tenant, method: http::Method, url: &str) -> Request<()> {
        use base64::Engine as _;
        let pair = format!("{}:{}", Site::EMAIL, tenant.credential.stand_in());
        let encoded = base64::engine::general_purpose::STANDARD.encode(pair);
        let request = Request::builder().method(method).uri(url);
        request.header(AUTHORIZATION, format!("Basic {encoded}")).body(()).unwrap()
    }

    #[tokio::test]
    async fn what_a_guest_sends_elsewhere_never_leaves() {
        let (site, elsewhere) =
            (Site::builder().start().await.unwrap(), Site::builder().start().await.unwrap());
        let tenant = tenant(&site, RetryPolicy::default());
        let budget = CallBudget::new(100, 1 << 20);
        let (own, other) = (site.base_url(), elsewhere.base_url());
        for (method, url) in [
            (http::Method::GET, format!("{other}/wiki/api/v2/spaces")),
            (http::Method::GET, format!("{own}/wiki/rest/api/user/current")),
            (http::Method::GET, format!("{own}/wiki/api/v2/%2e%2e/x")),
            (http::Method::POST, format!("{own}/wiki/api/v2/spaces")),
            (http::Method::CONNECT, format!("{own}/wiki/api/v2/spaces")),
        ] {
            let denied = tenant.send(request(&tenant, method.clone(), &url), &budget).await;
            assert!(matches!(denied, Err(Error::HttpRequestDenied)), "{method} {url}: {denied:?}");
        }
        assert_eq!((site.statistics().requests, elsewhere.statistics().requests), (0, 0));
        let url = format!("{own}/wiki/api/v2/spaces");
        let answer = tenant.send(request(&tenant, http::Method::GET, &url), &budget).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(site.statistics().rejected_credentials, 0);
    }

    #[tokio::test]
    async fn answers_that_nobody_reads_hold_up_no_request() {
        let site = Site::builder().start().await.unwrap();
        let tenant = tenant(&site, RetryPolicy::default());
        let budget = CallBudget::new(100, 1 << 20);
        let mut unread = Vec::new();
        for _ in 0..20 {
            let url = format!("{}/wiki/api/v2/spaces", site.base_url());
            unread.push(tenant.send(request(&tenant, http::Method::GET, &url), &budget).await.unwrap());
        }
        assert_eq!(unread.len(), 20);
    }

    #[tokio::test]
    async fn a_call_that_has_waited_its_share_is_told_so_instead_of_waiting_on() {
        let site = Site::builder().start().await.unwrap();
        site.inject(Fault::RateLimited(RetryAfter::Seconds(0.3)), usize::MAX, Condition::Any);
        let retry = RetryPolicy { total_wait: Duration::from_millis(800), ..RetryPolicy::default() };
        let tenant = tenant(&site, retry);
        let budget = CallBudget::new(100, 1 << 20);
        let url = format!("{}/wiki/api/v2/spaces", site.base_url());
        let answer = tenant.send(request(&tenant, http::Method::GET, &url), &budget).await.unwrap();
        assert_eq!(answer.status(), StatusCode::TOO_MANY_REQUESTS);
        assert!((2..=3).contains(&site.statistics().requests), "{}", site.statistics().requests);
        assert!(budget.waited() <= Duration::from_secs(1), "{:?}", budget.waited());
    }

    #[tokio::test]
    async fn a_call_has_a_number_of_requests() {
        let site = Site::builder().start().await.unwrap();
        let tenant = tenant(&site, RetryPolicy::default());
        let budget = CallBudget::new(2, 1 << 20);
        let url = format!("{}/wiki/api/v2/spaces", site.base_url());
        for _ in 0..2 {
            tenant.send(request(&tenant, http::Method::GET, &url), &budget).await.unwrap();
        }
        let denied = tenant.send(request(&tenant, http::Method::GET, &url), &budget).await;
        assert!(matches!(denied, Err(Error::ConnectionLimitReached)));
        assert_eq!(site.statistics().requests, 2);
    }
}
