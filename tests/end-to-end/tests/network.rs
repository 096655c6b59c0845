//! The way to the site: TLS, HTTP/2, compression, bodies without end, stalls, closed connections, and where a
//! credential must never go.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout
)]

mod support;

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use confluence_site::{Condition, Fault, Site};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::{Response, Version};
use kai_host::{CallError, Error, HostBuilder, HttpTimeouts, Limits, RetryPolicy, Session};

use support::server::{Server, body, certified, spaces};
use support::{host, load, registration_at};

async fn session(builder: HostBuilder, base_url: &str) -> Session {
    load(&builder.build().unwrap())
        .await
        .session(registration_at(base_url, serde_json::json!({})).source)
        .unwrap()
}

fn impatient() -> HostBuilder {
    let mut retry = RetryPolicy::default();
    retry.attempts = 1;
    host().retry(retry)
}

#[track_caller]
fn assert_unavailable(result: Result<(), CallError>, told: &str) {
    let Err(CallError::Connector(Error::Unavailable(text))) = &result else { panic!("{result:?}") };
    assert!(text.contains(told), "{text}");
}

#[tokio::test]
async fn a_private_authority_is_trusted_only_with_its_file_and_http2_is_spoken_where_it_is_offered() {
    let (directory, tls) = certified("localhost", false);
    let server = Server::start(Some(tls), |_| spaces()).await;
    let base_url = format!("https://localhost:{}", server.address.port());
    let without = session(host(), &base_url).await;
    assert_unavailable(without.validate().await, "certificate");
    assert_eq!(server.requests(), 0);
    let with = session(host().extra_ca_file(directory.path().join("ca.pem")), &base_url).await;
    with.validate().await.unwrap();
    with.validate().await.unwrap();
    assert_eq!(server.versions(), [Version::HTTP_2; 2]);
    // One connection that was refused, one that both requests used.
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn certificates_of_another_name_or_of_the_past_are_refused() {
    for (name, expired) in [("other.example", false), ("localhost", true)] {
        let (directory, tls) = certified(name, expired);
        let server = Server::start(Some(tls), |_| spaces()).await;
        let base_url = format!("https://localhost:{}", server.address.port());
        let session = session(host().extra_ca_file(directory.path().join("ca.pem")), &base_url).await;
        assert_unavailable(session.validate().await, "certificate");
        assert_eq!(server.requests(), 0);
    }
}

#[test]
fn a_file_that_holds_no_certificate_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("ca.pem");
    for text in ["", "hello", "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n"] {
        std::fs::write(&file, text).unwrap();
        let error = host().extra_ca_file(&file).build().unwrap_err().to_string();
        assert!(error.contains("ca.pem"), "{error}");
    }
    assert!(host().extra_ca_file("no/such/file").build().is_err());
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn gzip_and_brotli_are_understood() {
    for encoding in ["gzip", "br"] {
        let server = Server::start(None, move |request| {
            let accepted = request.headers()["accept-encoding"].to_str().unwrap();
            assert!(accepted.contains(encoding), "{accepted}");
            let text = support::server::SPACES.as_bytes();
            let packed = if encoding == "gzip" {
                gzip(text)
            } else {
                let mut packed = Vec::new();
                brotli::BrotliCompress(
                    &mut &text[..],
                    &mut packed,
                    &brotli::enc::BrotliEncoderParams::default(),
                )
                .unwrap();
                packed
            };
            Response::builder().header("content-encoding", encoding).body(body(packed)).unwrap()
        })
        .await;
        session(host(), &format!("http://{}", server.address)).await.validate().await.unwrap();
    }
}

#[tokio::test]
async fn bombs_and_bodies_without_end_are_cut_at_the_cap() {
    let mut limits = Limits::default();
    limits.response_body = 1 << 20;
    let bomb = Bytes::from(gzip(&vec![b' '; 64 << 20]));
    assert!(bomb.len() < 100_000);
    let bombs = Server::start(None, move |_| {
        Response::builder().header("content-encoding", "gzip").body(body(bomb.clone())).unwrap()
    })
    .await;
    let endless = Server::start(None, |_| {
        let pieces = futures::stream::repeat_with(|| {
            Ok::<_, std::io::Error>(hyper::body::Frame::data(Bytes::from(vec![b' '; 16 << 10])))
        });
        Response::new(StreamBody::new(pieces).boxed())
    })
    .await;
    for server in [&bombs, &endless] {
        let session = session(host().limits(limits), &format!("http://{}", server.address)).await;
        let error = session.validate().await.unwrap_err();
        assert!(matches!(error, CallError::Connector(Error::TooLarge(_))), "{error:?}");
        // It would be as large the next time.
        assert_eq!(server.requests(), 1);
    }
}

#[tokio::test]
async fn stalls_before_and_within_a_body_are_cut_by_their_timeouts() {
    let mut timeouts = HttpTimeouts::default();
    timeouts.first_byte = Duration::from_millis(200);
    timeouts.between_bytes = Duration::from_millis(200);
    let site = Site::builder().start().await.unwrap();
    for fault in [Fault::Stall(Duration::from_secs(60)), Fault::SlowBody(Duration::from_secs(60))] {
        site.inject(fault, usize::MAX, Condition::Any);
        let session = session(impatient().http_timeouts(timeouts), &site.base_url()).await;
        let began = Instant::now();
        assert_unavailable(session.validate().await, "in time");
        assert!(began.elapsed() < Duration::from_secs(20));
        site.heal();
    }
}

#[tokio::test]
async fn a_body_that_trickles_is_cut_by_the_total_timeout() {
    let mut timeouts = HttpTimeouts::default();
    timeouts.total = Duration::from_millis(500);
    let server = Server::start(None, |_| {
        let pieces = futures::stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            Some((Ok::<_, std::io::Error>(hyper::body::Frame::data(Bytes::from_static(b" "))), ()))
        });
        // A body that is shared between threads, as hyper wants it.
        Response::new(StreamBody::new(SyncStream(Box::pin(pieces))).boxed())
    })
    .await;
    let session = session(impatient().http_timeouts(timeouts), &format!("http://{}", server.address)).await;
    assert_unavailable(session.validate().await, "in time");
}

/// Only ever polled through an exclusive borrow.
struct SyncStream<S>(std::pin::Pin<Box<S>>);

impl<S: futures::Stream> futures::Stream for SyncStream<S> {
    type Item = S::Item;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<S::Item>> {
        self.0.as_mut().poll_next(context)
    }
}

#[tokio::test]
async fn a_closed_connection_is_tried_again_without_burning_an_attempt() {
    let site = Site::builder().start().await.unwrap();
    let session = session(impatient(), &site.base_url()).await;
    session.validate().await.unwrap();
    site.forget();
    site.inject(Fault::Reset, 1, Condition::Any);
    session.validate().await.unwrap();
    // Twice in a row is a fault of the site.
    site.inject(Fault::Reset, 2, Condition::Any);
    assert_unavailable(session.validate().await, "");
}

/// Counts every connection; a credential could only arrive over one.
async fn elsewhere() -> (Server, String) {
    let server = Server::start(None, |_| spaces()).await;
    let address = format!("http://{}", server.address);
    (server, address)
}

#[tokio::test]
async fn a_redirect_that_leads_out_of_the_api_is_not_followed() {
    let (other, address) = elsewhere().await;
    let site = Site::builder().start().await.unwrap();
    for target in [format!("{address}/wiki/api/v2/spaces"), "/wiki/login".to_owned()] {
        site.forget();
        site.inject(Fault::Redirect(target), usize::MAX, Condition::Any);
        let error = session(host(), &site.base_url()).await.validate().await.unwrap_err();
        assert!(matches!(error, CallError::Connector(Error::Malformed(_))), "{error:?}");
        assert_eq!((other.connections(), site.statistics().requests), (0, 1));
        site.heal();
    }
}

#[tokio::test]
async fn a_redirect_within_the_api_is_followed_and_a_loop_of_them_ends() {
    let server = Server::start(None, |request| match request.uri().query() {
        Some("moved") => spaces(),
        _ => Response::builder().status(307).header("location", "spaces?moved").body(body("")).unwrap(),
    })
    .await;
    session(host(), &format!("http://{}", server.address)).await.validate().await.unwrap();
    assert_eq!(server.requests(), 2);
    let circle = Server::start(None, |_| {
        Response::builder().status(308).header("location", "/wiki/api/v2/spaces").body(body("")).unwrap()
    })
    .await;
    let error = session(host(), &format!("http://{}", circle.address)).await.validate().await.unwrap_err();
    assert!(matches!(error, CallError::Connector(Error::Malformed(_))), "{error:?}");
    assert_eq!(circle.requests(), 6);
}

#[tokio::test]
async fn a_next_link_to_another_host_is_never_followed() {
    let (other, address) = elsewhere().await;
    let server = Server::start(None, move |_| {
        let answer =
            format!(r#"{{"results":[],"_links":{{"next":"{address}/wiki/api/v2/spaces?cursor=x"}}}}"#);
        Response::new(body(answer))
    })
    .await;
    let session = session(host(), &format!("http://{}", server.address)).await;
    let error = session.list_partitions(None, None).await.unwrap_err();
    assert!(matches!(error, CallError::Connector(Error::Malformed(_))), "{error:?}");
    assert_eq!(other.connections(), 0);
}

#[tokio::test]
async fn a_site_that_answers_all_requests_at_once_with_trouble_is_not_asked_without_end() {
    let count = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&count);
    let server = Server::start(None, move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
        Response::builder().status(429).body(body("")).unwrap()
    })
    .await;
    let error = session(host(), &format!("http://{}", server.address)).await.validate().await.unwrap_err();
    assert!(matches!(error, CallError::Connector(Error::RateLimited(None))), "{error:?}");
    assert_eq!(count.load(Ordering::SeqCst), u64::from(RetryPolicy::default().throttled_attempts));
}

#[tokio::test]
async fn the_credential_is_sealed_in_the_guest_and_real_on_the_wire() {
    let right = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&right);
    let server = Server::start(None, move |request| {
        let expected = "Basic YWRhQGFjbWUuZXhhbXBsZTpzaXRlLXRva2VuLTRmMWM=";
        seen.store(request.headers()["authorization"] == expected, Ordering::SeqCst);
        spaces()
    })
    .await;
    session(host(), &format!("http://{}", server.address)).await.validate().await.unwrap();
    assert!(right.load(Ordering::SeqCst));
}

/// A real proxy, where it is installed. Ends with its last handle.
struct Proxy {
    process: std::process::Child,
    port: u16,
    directory: tempfile::TempDir,
}

impl Proxy {
    fn start() -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let log = directory.path().join("proxy.log");
        let config = directory.path().join("proxy.conf");
        // CONNECT to any port: the servers of the tests take what they get.
        let text = format!(
            "Port {port}\nListen 127.0.0.1\nTimeout 60\nLogLevel Connect\nMaxClients 50\nLogFile \"{}\"\n",
            log.display()
        );
        std::fs::write(&config, text).unwrap();
        let spawned = std::process::Command::new("tinyproxy").arg("-d").arg("-c").arg(&config).spawn();
        let Ok(process) = spawned else {
            println!("skipped: tinyproxy is not installed");
            return None;
        };
        let began = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(began.elapsed() < Duration::from_secs(10), "the proxy does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(Self { process, port, directory })
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("proxy.log")).unwrap()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// In a process of its own, because the environment is a process's.
#[tokio::test]
async fn requests_go_through_the_proxy_of_the_environment() {
    let Some(proxy) = Proxy::start() else { return };
    let (directory, tls) = certified("localhost", false);
    let secure = Server::start(Some(tls), |_| spaces()).await;
    let plain = Server::start(None, |_| spaces()).await;
    let ca_file = directory.path().join("ca.pem");
    for (base_url, server) in [
        (format!("https://localhost:{}", secure.address.port()), &secure),
        (format!("http://{}", plain.address), &plain),
    ] {
        for (variable, through) in
            [("HTTPS_PROXY", base_url.starts_with("https")), ("HTTP_PROXY", !base_url.starts_with("https"))]
        {
            let (requests, before) =
                (server.requests(), proxy.log().matches("Request (file descriptor").count());
            let status = tokio::process::Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "validates_the_site_of_the_environment", "--ignored", "--nocapture"])
                .env(variable, format!("http://127.0.0.1:{}", proxy.port))
                .env("SITE_OF_THE_TEST", &base_url)
                .env("CA_FILE_OF_THE_TEST", &ca_file)
                .output()
                .await
                .unwrap();
            assert!(status.status.success(), "{}", String::from_utf8_lossy(&status.stdout));
            assert_eq!(server.requests(), requests + 1, "{variable}, {base_url}");
            let seen = proxy.log().matches("Request (file descriptor").count() - before;
            assert_eq!(seen, usize::from(through), "{variable}, {base_url}: {}", proxy.log());
        }
    }
    // Through the proxy TLS ends at the site: the proxy sees a name and a port, no credential.
    assert!(!proxy.log().contains("Basic "));
}

#[tokio::test]
#[ignore = "the other half of `requests_go_through_the_proxy_of_the_environment`"]
async fn validates_the_site_of_the_environment() {
    let variable = |name: &str| std::env::var(name).unwrap();
    let builder = impatient().extra_ca_file(variable("CA_FILE_OF_THE_TEST"));
    session(builder, &variable("SITE_OF_THE_TEST")).await.validate().await.unwrap();
}
