//! `kai serve` as its clients meet it: a process of its own, asked over HTTP.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use confluence_site::Site;
use futures::StreamExt as _;
use reqwest::header::HeaderMap;
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};

use crate::support::{Bench, source_text};

/// Longer than anything takes that these tests wait for, also on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// What a service said to its clients and to its log. Whatever test it is, there is no token of Confluence in it.
#[derive(Clone, Default)]
pub(crate) struct Said(Arc<Mutex<String>>);

impl Said {
    pub(crate) fn add(&self, text: &str) {
        let mut said = self.0.lock().unwrap();
        said.push_str(text);
        said.push('\n');
    }

    pub(crate) fn text(&self) -> String {
        self.0.lock().unwrap().clone()
    }

    #[track_caller]
    pub(crate) fn assert_without(&self, token: &str) {
        let text = self.text();
        let header = BASE64_STANDARD.encode(format!("{}:{token}", Site::EMAIL));
        for secret in [token, header.as_str()] {
            let around = text.find(secret).map(|at| &text[at.saturating_sub(200)..at + secret.len()]);
            assert!(around.is_none(), "a token was told: {around:?}");
        }
    }
}

/// A running service. It ends with this, and then nothing it said may hold a token.
pub(crate) struct Service {
    pub(crate) bench: Arc<Bench>,
    pub(crate) address: String,
    /// The first key of the administration.
    pub(crate) key: String,
    pub(crate) said: Said,
    process: Option<Child>,
    log: Option<JoinHandle<String>>,
    http: reqwest::Client,
}

impl Service {
    /// With a store of its own, which has nothing in it.
    pub(crate) async fn start() -> Self {
        Self::start_with(Arc::new(Bench::new()), &["--allow-local", "--log", "info"]).await
    }

    pub(crate) async fn start_with(bench: Arc<Bench>, arguments: &[&str]) -> Self {
        Self::start_as(bench, arguments, String::new(), client(None)).await
    }

    pub(crate) async fn start_as(
        bench: Arc<Bench>,
        arguments: &[&str],
        key: String,
        http: reqwest::Client,
    ) -> Self {
        let serve = [&["serve", "--listen", "127.0.0.1:0"], arguments].concat();
        let mut process = bench.start(&serve, &[]);
        let said = Said::default();
        let (stderr, lines) = (process.stderr.take().unwrap(), said.clone());
        let log = std::thread::spawn(move || {
            let mut log = String::new();
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                lines.add(&line);
                log.push_str(&line);
                log.push('\n');
            }
            log
        });
        let began = Instant::now();
        let address = loop {
            if let Some(address) = word_after(&said.text(), "the service is at ") {
                break address.trim_end_matches('/').to_owned();
            }
            let ended = process.try_wait().unwrap();
            assert!(ended.is_none() && began.elapsed() < PATIENCE, "{ended:?}: {}", said.text());
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        // It is told right behind the address.
        let mut first = word_after(&said.text(), "not shown again: ");
        while key.is_empty() && first.is_none() {
            assert!(began.elapsed() < PATIENCE, "{}", said.text());
            tokio::time::sleep(Duration::from_millis(10)).await;
            first = word_after(&said.text(), "not shown again: ");
        }
        let key = first.unwrap_or(key);
        Self { bench, address, key, said, process: Some(process), log: Some(log), http }
    }

    /// A client with the first key of the administration.
    pub(crate) fn administration(&self) -> Client {
        self.client(Some(self.key.clone()))
    }

    pub(crate) fn client(&self, key: Option<String>) -> Client {
        Client { http: self.http.clone(), address: self.address.clone(), key, said: self.said.clone() }
    }

    /// A client with a key of a tenant, which is made if there is none.
    pub(crate) async fn tenant(&self, id: &str) -> Client {
        let administration = self.administration();
        let made = administration.post("/api/v1/tenants", &json!({"id": id, "name": id})).await;
        assert!([StatusCode::CREATED, StatusCode::CONFLICT].contains(&made.status), "{}", made.text);
        let key = administration.post("/api/v1/keys", &json!({"name": "test", "tenant_id": id})).await;
        self.client(Some(key.expect(201)["key"].as_str().unwrap().to_owned()))
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.as_ref().unwrap().id()
    }

    pub(crate) fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    /// How it ended, and after which time.
    pub(crate) async fn ended(&mut self) -> (ExitStatus, Duration) {
        let began = Instant::now();
        let mut process = self.process.take().unwrap();
        loop {
            if let Some(status) = process.try_wait().unwrap() {
                return (status, began.elapsed());
            }
            assert!(began.elapsed() < PATIENCE, "it goes on");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Ends it, as its administrator does; then another one goes on with the same store.
    pub(crate) async fn restart(mut self, between: impl FnOnce(&Bench)) -> Self {
        self.signal("TERM");
        assert!(self.ended().await.0.success(), "{}", self.said.text());
        between(&self.bench);
        let (bench, key) = (Arc::clone(&self.bench), self.key.clone());
        Self::start_as(bench, &["--allow-local", "--log", "info"], key, self.http.clone()).await
    }

    /// What it wrote to stderr, once it has ended.
    pub(crate) fn log(&mut self) -> String {
        self.log.take().unwrap().join().unwrap()
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.bench.path("kai-data")
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().ok();
            process.wait().ok();
        }
        self.log.take().map(JoinHandle::join);
        if std::thread::panicking() {
            let text = self.said.text();
            eprintln!(
                "what the service said last:\n{}",
                text.get(text.len().saturating_sub(4_000)..).unwrap_or(&text)
            );
        } else {
            self.said.assert_without(Site::TOKEN);
        }
    }
}

fn word_after(text: &str, mark: &str) -> Option<String> {
    let (_, rest) = text.split_once(mark)?;
    let (word, _) = rest.split_once(|letter: char| letter.is_whitespace() || letter == '"')?;
    Some(word.to_owned())
}

/// A client that trusts this authority, beside none.
pub(crate) fn client(authority: Option<&[u8]>) -> reqwest::Client {
    builder(authority).build().unwrap()
}

pub(crate) fn builder(authority: Option<&[u8]>) -> reqwest::ClientBuilder {
    use rustls::pki_types::pem::PemObject as _;
    let mut roots = rustls::RootCertStore::empty();
    if let Some(pem) = authority {
        roots.add(rustls::pki_types::CertificateDer::from_pem_slice(pem).unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    reqwest::Client::builder().tls_backend_preconfigured(tls).no_proxy()
}

/// What was answered.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    /// The body, of an answer with this status.
    #[track_caller]
    pub(crate) fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        if self.text.is_empty() { Value::Null } else { serde_json::from_str(&self.text).unwrap() }
    }

    /// The detail of a problem of this status and kind.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16, kind: &str) -> String {
        assert_eq!(self.header("content-type"), "application/problem+json", "{self:?}");
        let problem = self.expect(status);
        assert_eq!(problem["kind"], kind, "{problem}");
        assert_eq!(problem["status"], status, "{problem}");
        assert_eq!(problem["type"], format!("/api#{kind}"), "{problem}");
        assert!(problem["title"].as_str().is_some_and(|title| !title.is_empty()), "{problem}");
        problem["detail"].as_str().unwrap().to_owned()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// Somebody with a key, or without one.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) http: reqwest::Client,
    pub(crate) address: String,
    pub(crate) key: Option<String>,
    said: Said,
}

impl Client {
    pub(crate) fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.address)).timeout(PATIENCE);
        match &self.key {
            Some(key) => request.bearer_auth(key),
            None => request,
        }
    }

    pub(crate) async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let text = response.text().await.unwrap();
        self.said.add(&format!("{headers:?}\n{text}"));
        Answer { status, headers, text }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.send(self.request(Method::DELETE, path)).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.with_body(Method::POST, path, body.to_string()).await
    }

    pub(crate) async fn patch(&self, path: &str, body: &Value) -> Answer {
        self.with_body(Method::PATCH, path, body.to_string()).await
    }

    pub(crate) async fn with_body(&self, method: Method, path: &str, body: String) -> Answer {
        self.send(self.request(method, path).header("content-type", "application/json").body(body)).await
    }

    /// Events, from now on.
    pub(crate) async fn events(&self, path: &str, last: Option<&str>) -> Events {
        let mut request = self.request(Method::GET, path);
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Events { response, rest: Vec::new(), said: self.said.clone() }
    }

    /// Registers the source of a site with these fields beside; its id.
    pub(crate) async fn register(&self, site: &Site, fields: &Value) -> String {
        let answer = self.post("/api/v1/sources", &document(site, fields)).await;
        answer.expect(201)["id"].as_str().unwrap().to_owned()
    }

    /// Begins a run; its id.
    pub(crate) async fn begin(&self, source: &str, mode: &str) -> String {
        let answer = self.post(&format!("/api/v1/sources/{source}/runs"), &json!({"mode": mode})).await;
        answer.expect(202)["id"].as_str().unwrap().to_owned()
    }

    /// The run when it has ended.
    pub(crate) async fn ended(&self, source: &str, run: &str) -> Value {
        let path = format!("/api/v1/sources/{source}/runs/{run}");
        self.until(&path, |run| !["queued", "running"].contains(&run["state"].as_str().unwrap())).await
    }

    /// Syncs a source to its end; the run.
    pub(crate) async fn sync(&self, source: &str, mode: &str) -> Value {
        let run = self.begin(source, mode).await;
        let run = self.ended(source, &run).await;
        assert_eq!(run["state"], "completed", "{run}");
        run
    }

    /// What there is at a path, once it is so.
    pub(crate) async fn until(&self, path: &str, so: impl Fn(&Value) -> bool) -> Value {
        let began = Instant::now();
        loop {
            let seen = self.get(path).await.expect(200);
            if so(&seen) {
                return seen;
            }
            assert!(began.elapsed() < PATIENCE, "{path} stays {seen}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) async fn count(&self, query: &str) -> u64 {
        let answer = self.get(&format!("/api/v1/documents/count?{query}")).await;
        answer.expect(200)["count"].as_u64().unwrap()
    }
}

/// The registration document of a site with these fields beside.
pub(crate) fn document(site: &Site, fields: &Value) -> Value {
    let mut document: Value = serde_json::from_str(&source_text(fields)).unwrap();
    if fields.get("base_url").is_none() {
        document["base_url"] = site.base_url().into();
    }
    document
}

/// An event of a stream.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Event {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) data: Value,
}

/// A stream of events.
pub(crate) struct Events {
    response: Response,
    rest: Vec<u8>,
    said: Said,
}

impl Events {
    /// The next event; none: the stream is over.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        loop {
            while let Some(end) = self.rest.windows(2).position(|two| two == b"\n\n") {
                let rest = self.rest.split_off(end + 2);
                let block = String::from_utf8(std::mem::replace(&mut self.rest, rest)).unwrap();
                self.said.add(&block);
                if let Some(event) = parse(&block) {
                    return Some(event);
                }
            }
            let piece = tokio::time::timeout(PATIENCE, self.response.chunk()).await.expect("no event came");
            let piece = piece.ok().flatten()?;
            self.rest.extend_from_slice(&piece);
        }
    }

    /// All that are left.
    pub(crate) async fn rest(mut self) -> Vec<Event> {
        let mut events = Vec::new();
        while let Some(event) = self.next().await {
            events.push(event);
        }
        events
    }

    pub(crate) async fn take(&mut self, count: usize) -> Vec<Event> {
        let events = futures::stream::unfold(self, async |events| Some((events.next().await?, events)));
        events.take(count).collect().await
    }
}

/// None: a comment, which keeps the connection alive.
fn parse(block: &str) -> Option<Event> {
    let field = |name: &str| {
        let value = |line: &str| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim_start().to_owned());
        block.lines().find_map(value)
    };
    let data = serde_json::from_str(&field("data")?).unwrap();
    Some(Event { id: field("id").unwrap_or_default(), name: field("event").unwrap_or_default(), data })
}
