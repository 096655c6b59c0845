//! Whatever is asked: problems, limits, TLS, the log, and the end.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use confluence_site::Site;
use rcgen::{CertificateParams, CertifiedIssuer, KeyPair};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::client::{Answer, Service, client};
use crate::support::Bench;

/// What a connection answers to these bytes until it is closed, and when that was.
async fn raw(service: &Service, bytes: &[u8]) -> (String, Duration) {
    let began = Instant::now();
    let address = service.address.strip_prefix("http://").unwrap();
    let mut connection = TcpStream::connect(address).await.unwrap();
    connection.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    // Closed with an answer still to be read is closed, too.
    connection.read_to_end(&mut answer).await.ok();
    (String::from_utf8_lossy(&answer).into_owned(), began.elapsed())
}

#[tokio::test]
async fn whatever_is_wrong_is_a_problem() {
    let service = Service::start().await;
    let (client, nobody) = (service.administration(), service.client(None));
    for path in ["/nowhere", "/api/v1", "/api/v1/nowhere", "/api/v1/sources/a/b/c/d", "/api/v2/sources"] {
        client.get(path).await.problem(404, "not-found");
        client.post(path, &json!({})).await.problem(404, "not-found");
    }
    for (method, path, allowed) in [
        (Method::PUT, "/api/v1/sources", "GET,HEAD,POST"),
        (Method::DELETE, "/api/v1/documents", "GET,HEAD"),
        (Method::POST, "/api/v1/documents/count", "GET,HEAD"),
        (Method::GET, "/api/v1/validations", "POST"),
        (Method::POST, "/openapi.json", "GET,HEAD"),
    ] {
        let answer = client.with_body(method, path, String::new()).await;
        answer.problem(405, "invalid-request");
        let mut methods: Vec<_> = answer.header("allow").split(',').map(str::trim).collect();
        methods.sort_unstable();
        assert_eq!(methods.join(","), allowed, "{path}");
    }
    for (path, key) in [("/api/v1/sources", None), ("/api/v1/nowhere/../sources", None), ("/metrics", None)] {
        let answer = service.client(key).get(path).await;
        answer.problem(401, "unauthorized");
        assert_eq!(answer.header("www-authenticate"), "Bearer");
    }
    for key in ["Bearer", "Bearer x", "Basic YTpi", "kai_", "Bearer kai_AAAA", "\u{e4}"] {
        let request = nobody.request(Method::GET, "/api/v1/sources").header("authorization", key);
        nobody.send(request).await.problem(401, "unauthorized");
    }

    let post = async |kind: Option<&str>, body: Vec<u8>| -> Answer {
        let mut request = client.request(Method::POST, "/api/v1/sources").body(body);
        if let Some(kind) = kind {
            request = request.header("content-type", kind);
        }
        client.send(request).await
    };
    for kind in [None, Some("text/plain"), Some("application/x-www-form-urlencoded")] {
        post(kind, b"{}".to_vec()).await.problem(415, "invalid-request");
    }
    let json_type = Some("application/json");
    let secret = "token-in-broken-json";
    for broken in
        [format!("{{\"api_token\": \"{secret}\""), format!("{{{secret}"), secret.to_owned(), String::new()]
    {
        let detail = post(json_type, broken.into_bytes()).await.problem(400, "invalid-request");
        assert!(!detail.contains(secret), "{detail}");
    }
    post(json_type, vec![0xff, 0xfe]).await.problem(400, "invalid-request");
    post(json_type, b"{\"kind\": \"\xff\"}".to_vec()).await.problem(400, "invalid-request");
    // Values are not repeated: one may be a token in the wrong place.
    for misplaced in
        [format!("{{\"schedule\": \"{secret}\"}}"), format!("[\"{secret}\"]"), format!("\"{secret}\"")]
    {
        let detail = post(json_type, misplaced.into_bytes()).await.problem(422, "invalid-request");
        assert!(!detail.contains(secret), "{detail}");
    }
    // A list is no object, also where all fields may be left out.
    let source = client.register(&Site::builder().start().await.unwrap(), &json!({})).await;
    let path = format!("/api/v1/sources/{source}");
    client
        .with_body(Method::POST, &format!("{path}/runs"), "[]".to_owned())
        .await
        .problem(422, "invalid-request");
    client.with_body(Method::PATCH, &path, "[]".to_owned()).await.problem(422, "invalid-request");
    let nested = r#"{"schedule": [60, 60]}"#.to_owned();
    client.with_body(Method::PATCH, &path, nested).await.problem(422, "invalid-request");
    // 64 KiB are taken, and no more.
    let body = |length: usize| format!("{{\"kind\":\"{}\"}}", "x".repeat(length - 11)).into_bytes();
    assert_eq!(body(100).len(), 100);
    post(json_type, body(64 * 1024)).await.problem(422, "invalid-request");
    post(json_type, body(64 * 1024 + 1)).await.problem(413, "too-large");

    client.get("/api/v1/sources/%ff").await.problem(400, "invalid-request");
    client.get("/api/v1/sources/%00").await.problem(404, "not-found");
    client.delete("/api/v1/keys/unknown").await.problem(404, "not-found");
    client.delete("/api/v1/tenants/default").await.problem(409, "conflict");
}

#[tokio::test]
async fn answers_say_what_a_browser_and_a_proxy_may_do_with_them() {
    let service = Service::start().await;
    let client = service.administration();
    for path in ["/api/v1/sources", "/nowhere", "/healthz", "/openapi.json", "/api"] {
        let answer = client.get(path).await;
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "same-origin"),
            ("cache-control", "no-store"),
            ("cross-origin-opener-policy", "same-origin"),
            // It would be believed over plain HTTP by nobody.
            ("strict-transport-security", ""),
        ] {
            assert_eq!(answer.header(name), value, "{path} {name}");
        }
        assert!(answer.header("content-security-policy").starts_with("default-src 'none'"), "{path}");
        assert_eq!(answer.header("access-control-allow-origin"), "", "{path}");
    }
    assert_eq!(client.get("/healthz").await.text, "ok\n");
    assert_eq!(client.get("/readyz").await.text, "ready\n");
    let metrics = client.get("/metrics").await;
    assert!(metrics.text.contains("kai_runs_running 0"), "{}", metrics.text);
    service.tenant("acme").await.get("/metrics").await.problem(403, "forbidden");
}

#[tokio::test]
async fn the_description_is_read_without_a_key_and_names_each_operation() {
    let service = Service::start().await;
    let nobody = service.client(None);
    let api = nobody.get("/openapi.json").await.expect(200);
    assert!(api["openapi"].as_str().unwrap().starts_with("3.1"));
    let page = nobody.get("/api").await;
    assert!(page.header("content-type").starts_with("text/html"));
    let mut names = BTreeSet::new();
    for (path, item) in api["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let name = operation["operationId"].as_str().unwrap();
            assert!(names.insert(name), "two operations are called {name}");
            let shown = format!("{} {path}", method.to_uppercase());
            assert!(page.text.contains(&shown), "{shown} is not shown to people");
        }
    }
}

#[tokio::test]
async fn who_sends_a_request_too_slowly_or_too_large_a_head_is_not_waited_for() {
    let service = Service::start().await;
    let client = service.administration();
    let slow_head = raw(&service, b"GET /healthz HTTP/1.1\r\nhost: a\r\n");
    let head = format!(
        "POST /api/v1/sources HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{{",
        service.key
    );
    let slow_body = raw(&service, head.as_bytes());
    let large = format!("GET /healthz HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "x".repeat(64 * 1024));
    let large_head = raw(&service, large.as_bytes());
    let many: String = (0..100).map(|number| format!("x{number}: 1\r\n")).collect();
    let many = format!("GET /healthz HTTP/1.1\r\nhost: a\r\n{many}\r\n");
    let many_headers = raw(&service, many.as_bytes());
    let others = async {
        // Nobody else waits meanwhile.
        for _ in 0..20 {
            client.get("/api/v1/sources").await.expect(200);
        }
    };
    let (slow_head, slow_body, large_head, many_headers, ()) =
        tokio::join!(slow_head, slow_body, large_head, many_headers, others);
    assert!((25..45).contains(&slow_head.1.as_secs()), "{slow_head:?}");
    assert!(!slow_head.0.contains(" 200 "), "{slow_head:?}");
    assert!(slow_body.0.starts_with("HTTP/1.1 503") && slow_body.1.as_secs() < 70, "{slow_body:?}");
    for (answer, after) in [large_head, many_headers] {
        assert!(answer.starts_with("HTTP/1.1 431") && after.as_secs() < 10, "{answer} {after:?}");
    }
}

#[tokio::test]
async fn when_it_is_told_to_end_it_ends_streams_and_exits_with_0_in_time() {
    let site = Site::builder().spaces(3).pages(60).page_bytes(300).start().await.unwrap();
    let mut service = Service::start().await;
    let client = service.administration();
    let id = client.register(&site, &json!({})).await;
    client.sync(&id, "full").await;
    site.set_latency(Duration::from_secs(5));
    let run = client.begin(&id, "full").await;
    let of_run = client.events(&format!("/api/v1/sources/{id}/runs/{run}/events"), None).await;
    let mut changes = client.events("/api/v1/changes/stream", None).await;
    let cursor = changes.take(60).await[59].id.clone();
    let waiting = {
        let client = client.clone();
        tokio::spawn(async move { client.get(&format!("/api/v1/changes?after={cursor}&wait=25")).await })
    };
    // One that keeps its connection, and one that never finishes its request.
    let address = service.address.strip_prefix("http://").unwrap().to_owned();
    let mut half = TcpStream::connect(&address).await.unwrap();
    half.write_all(b"GET /healthz HTTP/1.1\r\n").await.unwrap();
    let _idle = TcpStream::connect(&address).await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;

    service.signal("TERM");
    assert_eq!(changes.next().await, None);
    of_run.rest().await;
    assert_eq!(waiting.await.unwrap().expect(200)["changes"], json!([]));
    let (status, after) = service.ended().await;
    assert!(status.success(), "{status}: {}", service.said.text());
    assert!(after < Duration::from_secs(15), "{after:?}");
    assert!(service.said.text().contains("stopped"));
    assert_eq!(std::fs::read_to_string(service.data().join("kai.lock")).unwrap(), "", "the lock is gone");
}

#[tokio::test]
async fn without_open_requests_it_ends_at_once() {
    let mut service = Service::start().await;
    service.administration().get("/api/v1/sources").await.expect(200);
    service.signal("TERM");
    let (status, after) = service.ended().await;
    assert!(status.success() && after < Duration::from_secs(5), "{status} {after:?}");
}

/// An authority, and what it signed for this machine, in files of the bench: certificate and key.
fn certified(bench: &Bench) -> (String, [String; 2]) {
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
    let files = [bench.write("cert.pem", &leaf.pem()), bench.write("key.pem", &key.serialize_pem())];
    (authority.pem(), files)
}

#[tokio::test]
async fn with_a_certificate_it_speaks_tls_and_nothing_else() {
    let bench = Arc::new(Bench::new());
    let (authority, [certificate, key]) = certified(&bench);
    let arguments = ["--tls-cert", &certificate, "--tls-key", &key];
    let http = client(Some(authority.as_bytes()));
    let service = Service::start_as(Arc::clone(&bench), &arguments, String::new(), http).await;
    assert!(service.address.starts_with("https://"), "{}", service.address);
    let answer = service.administration().get("/api/v1/sources").await;
    answer.expect(200);
    assert!(answer.header("strict-transport-security").starts_with("max-age="));
    // Who does not know the authority does not trust it.
    let mut stranger = service.administration();
    stranger.http = client(None);
    assert!(stranger.request(Method::GET, "/api/v1/sources").send().await.is_err());
    stranger.address = service.address.replace("https://", "http://");
    assert!(stranger.request(Method::GET, "/healthz").send().await.is_err());
}

#[test]
fn a_certificate_that_cannot_be_used_is_refused_before_anything_is_made() {
    let bench = Bench::new();
    let (_, [certificate, key]) = certified(&bench);
    let (_, [_, other_key]) = {
        let other = Bench::new();
        let (authority, files) = certified(&other);
        let [certificate, key] = files.map(|file| std::fs::read_to_string(file).unwrap());
        (authority, [bench.write("other-cert.pem", &certificate), bench.write("other-key.pem", &key)])
    };
    let nothing = bench.write("nothing.pem", "");
    for (certificate, key, told) in [
        (&certificate, &nothing, "nothing.pem"),
        (&certificate, &other_key, "cert.pem"),
        (&nothing, &key, "nothing.pem"),
        (&certificate, &"missing.pem".to_owned(), "missing.pem"),
    ] {
        let serve = ["serve", "--listen", "127.0.0.1:0", "--tls-cert", certificate, "--tls-key", key];
        crate::support::assert_refused(&bench.kai(&serve), 2, &[told]);
    }
    assert!(!bench.path("kai-data").exists());
}

#[tokio::test]
async fn with_a_log_of_json_every_line_is_an_object() {
    let site = Site::builder().spaces(3).pages(12).page_bytes(300).start().await.unwrap();
    let arguments = ["--allow-local", "--log", "debug", "--log-format", "json"];
    let mut service = Service::start_with(Arc::new(Bench::new()), &arguments).await;
    let client = service.administration();
    let id = client.register(&site, &json!({})).await;
    client.sync(&id, "full").await;
    site.with_state(|state| state.set_account(Site::EMAIL, "another"));
    let run = client.begin(&id, "full").await;
    client.ended(&id, &run).await;
    service.signal("TERM");
    assert!(service.ended().await.0.success());
    let log = service.log();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    for line in &lines {
        for field in ["timestamp", "level", "target", "message"] {
            assert!(line[field].is_string(), "no {field} in {line}");
        }
    }
    for told in ["the service is at", "not shown again", "a run is over", "stopped"] {
        let has = |line: &Value| line["message"].as_str().unwrap().contains(told);
        assert!(lines.iter().any(has), "{told:?} is not in {log}");
    }
}
