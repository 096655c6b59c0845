//! Components from an OCI registry: from one whose answers a test decides, and from the real `docker-registry`.

#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, clippy::indexing_slicing)]

mod support;

use std::io::Write as _;
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use kai_host::{
    ComponentSource, Connector, Host, HostBuilder, HttpTimeouts, LoadError, RegistryCredential, RegistryError,
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncBufReadExt as _, BufReader};

use support::host;
use support::server::{Body, Server, body, certified};

const REPOSITORY: &str = "team/confluence-connector";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &[u8] = b"{}";
const USER: &str = "ada";
const PASSWORD: &str = "registry-password";

fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// What a registry holds of a component.
#[derive(Clone)]
struct Stored {
    manifest: Bytes,
    layer: Bytes,
}

impl Stored {
    /// The real component, as `wkg oci push` stores it.
    fn component() -> Self {
        let layer = Bytes::from(std::fs::read(support::component()).unwrap());
        let manifest = Self::manifest(&json!([Self::layer("application/wasm", &layer, layer.len() as u64)]));
        Self { manifest, layer }
    }

    fn layer(media_type: &str, bytes: &[u8], size: u64) -> Value {
        json!({"mediaType": media_type, "digest": digest(bytes), "size": size})
    }

    fn manifest(layers: &Value) -> Bytes {
        let config = Self::layer("application/vnd.wasm.config.v0+json", CONFIG, CONFIG.len() as u64);
        let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers})
            .to_string();
        Bytes::from(manifest)
    }

    /// Answers like a registry that holds this and lets everybody pull it.
    fn answer(&self, request: &Request<Incoming>) -> Response<Body> {
        let path = request.uri().path();
        if path == format!("/v2/{REPOSITORY}/manifests/{}", digest(&self.manifest)) {
            assert!(request.headers()["accept"].to_str().unwrap().contains(MANIFEST));
            Response::builder().header("content-type", MANIFEST).body(body(self.manifest.clone())).unwrap()
        } else if path == format!("/v2/{REPOSITORY}/blobs/{}", digest(&self.layer)) {
            Response::new(body(self.layer.clone()))
        } else {
            status(404)
        }
    }

    fn is_layer(&self, request: &Request<Incoming>) -> bool {
        request.uri().path().ends_with(&digest(&self.layer))
    }

    fn source(&self, registry: impl std::fmt::Display) -> ComponentSource {
        source(registry, &self.manifest)
    }
}

fn source(registry: impl std::fmt::Display, manifest: &[u8]) -> ComponentSource {
    let reference = format!("{registry}/{REPOSITORY}:0.1.0@{}", digest(manifest));
    ComponentSource::Registry(reference.parse().unwrap())
}

fn status(code: u16) -> Response<Body> {
    Response::builder().status(code).body(body(r#"{"errors":[]}"#)).unwrap()
}

async fn refused(host: &Host, source: ComponentSource) -> RegistryError {
    match host.load(source).await {
        Err(LoadError::Registry(error)) => error,
        other => panic!("{other:?}"),
    }
}

async fn assert_runs(connector: &Connector) {
    assert_eq!(connector.describe().await.unwrap().kind, "CONFLUENCE");
}

fn account(password: &str) -> RegistryCredential {
    RegistryCredential::Basic { username: USER.to_owned(), password: password.into() }
}

fn basic() -> String {
    format!("Basic {}", STANDARD.encode(format!("{USER}:{PASSWORD}")))
}

fn authorization(request: &Request<Incoming>) -> Option<&str> {
    request.headers().get("authorization").map(|value| value.to_str().unwrap())
}

fn challenge(text: &str) -> Response<Body> {
    Response::builder().status(401).header("www-authenticate", text).body(body("")).unwrap()
}

#[tokio::test]
async fn a_component_is_pulled_by_the_digest_of_its_manifest() {
    let stored = Stored::component();
    let served = stored.clone();
    let server = Server::start(None, move |request| {
        assert_eq!(authorization(request), None);
        served.answer(request)
    })
    .await;
    let connector = host().build().unwrap().load(stored.source(server.address)).await.unwrap();
    assert_eq!(format!("sha256:{}", connector.artifact().digest), digest(&stored.layer));
    assert_runs(&connector).await;
    assert_eq!(server.requests(), 2);
    connector.replace(stored.source(server.address)).await.unwrap();
}

#[tokio::test]
async fn what_does_not_have_its_digest_is_refused() {
    let stored = Stored::component();
    let host = host().build().unwrap();
    for (forged, what) in [("/manifests/", "manifest"), ("/blobs/", "layer")] {
        let served = stored.clone();
        let server = Server::start(None, move |request| {
            let mut other = served.manifest.to_vec();
            other.push(b'\n');
            if request.uri().path().contains(forged) {
                Response::new(body(other))
            } else {
                served.answer(request)
            }
        })
        .await;
        let error = refused(&host, stored.source(server.address)).await;
        let RegistryError::DigestMismatch { what: found, expected, .. } = &error else { panic!("{error:?}") };
        assert_eq!(*found, what);
        let right = if what == "manifest" { &stored.manifest } else { &stored.layer };
        assert_eq!(*expected, digest(right));
        assert!(error.to_string().contains(expected.as_str()), "{error}");
    }
}

#[tokio::test]
async fn what_the_registry_does_not_have_is_named() {
    let stored = Stored::component();
    let host = host().build().unwrap();
    for (missing, told) in [("/manifests/", digest(&stored.manifest)), ("/blobs/", digest(&stored.layer))] {
        let served = stored.clone();
        let server = Server::start(None, move |request| {
            if request.uri().path().contains(missing) { status(404) } else { served.answer(request) }
        })
        .await;
        let error = refused(&host, stored.source(server.address)).await;
        assert!(matches!(error, RegistryError::NotFound { .. }), "{error:?}");
        let text = error.to_string();
        assert!(text.contains(&told) && text.contains(REPOSITORY), "{text}");
    }
}

#[tokio::test]
async fn a_manifest_that_has_not_exactly_one_wasm_layer_is_refused() {
    let host = host().build().unwrap();
    let wasm = Stored::layer("application/wasm", b"a", 1);
    let other = Stored::layer("application/vnd.oci.image.layer.v1.tar+gzip", b"a", 1);
    let mut odd_digest = wasm.clone();
    odd_digest["digest"] = json!("sha256:../../x");
    for (manifest, told) in [
        (Stored::manifest(&json!([])), "nothing"),
        (Stored::manifest(&json!([other])), "tar+gzip"),
        (Stored::manifest(&json!([wasm, wasm])), "application/wasm, application/wasm"),
        (Stored::manifest(&json!([odd_digest])), "application/wasm"),
        // An index of images for several platforms, and no manifest at all.
        (Bytes::from(json!({"schemaVersion": 2, "manifests": [wasm]}).to_string()), "nothing"),
        (Bytes::from_static(b"hello"), "nothing"),
    ] {
        let served = manifest.clone();
        let server = Server::start(None, move |_| Response::new(body(served.clone()))).await;
        let error = refused(&host, source(server.address, &manifest)).await;
        assert!(matches!(error, RegistryError::Layers { .. }), "{error:?}");
        assert!(error.to_string().ends_with(told), "{error}");
        assert_eq!(server.requests(), 1);
    }
}

#[tokio::test]
async fn a_layer_larger_than_any_component_is_not_asked_for() {
    let manifest = Stored::manifest(&json!([Stored::layer("application/wasm", b"a", (64 << 20) + 1)]));
    let served = manifest.clone();
    let server = Server::start(None, move |_| Response::new(body(served.clone()))).await;
    let error = host().build().unwrap().load(source(server.address, &manifest)).await.unwrap_err();
    assert!(matches!(error, LoadError::TooLarge { size: 67_108_865, limit: 67_108_864 }), "{error:?}");
    assert_eq!(server.requests(), 1);
}

/// Bytes without end.
fn endless() -> Response<Body> {
    let pieces = futures::stream::repeat_with(|| {
        Ok::<_, std::io::Error>(Frame::data(Bytes::from(vec![b' '; 16 << 10])))
    });
    Response::new(StreamBody::new(pieces).boxed())
}

#[tokio::test]
async fn bodies_without_end_are_cut() {
    let stored = Stored::component();
    let host = host().build().unwrap();
    for part in ["/manifests/", "/blobs/"] {
        let served = stored.clone();
        let server = Server::start(None, move |request| {
            if request.uri().path().contains(part) { endless() } else { served.answer(request) }
        })
        .await;
        let error = refused(&host, stored.source(server.address)).await;
        assert!(matches!(error, RegistryError::Unexpected { .. }), "{part}: {error:?}");
    }
}

#[tokio::test]
async fn a_registry_that_stalls_or_refuses_connections_is_unavailable() {
    let stored = Stored::component();
    let mut timeouts = HttpTimeouts::default();
    timeouts.between_bytes = Duration::from_millis(200);
    let server = Server::start(None, |_| {
        Response::new(
            StreamBody::new(futures::stream::pending::<Result<Frame<Bytes>, std::io::Error>>()).boxed(),
        )
    })
    .await;
    let host = host().http_timeouts(timeouts).build().unwrap();
    for (registry, told) in [(server.address.to_string(), "in time"), ("127.0.0.1:9".to_owned(), "refused")] {
        let error = refused(&host, stored.source(&registry)).await;
        let RegistryError::Unavailable { registry: named, reason } = &error else { panic!("{error:?}") };
        assert_eq!(*named, format!("http://{registry}"));
        assert!(reason.contains(told), "{error}");
    }
}

#[tokio::test]
async fn a_registry_with_a_fault_is_told_from_one_without_the_component() {
    let server = Server::start(None, |_| status(503)).await;
    let error = refused(&host().build().unwrap(), Stored::component().source(server.address)).await;
    assert!(
        matches!(&error, RegistryError::Unavailable { reason, .. } if reason.contains("503")),
        "{error:?}"
    );
}

/// A registry and its token service, which lets these pull.
async fn with_token_service(stored: &Stored, accepted: Option<String>) -> (Server, Server) {
    let service = Server::start(None, move |request| {
        let query = request.uri().query().unwrap();
        assert!(query.contains("service=registry.example"), "{query}");
        assert!(query.contains("scope=repository%3Ateam%2Fconfluence-connector%3Apull"), "{query}");
        if authorization(request) == accepted.as_deref() {
            Response::new(body(r#"{"token":"granted"}"#))
        } else {
            status(401)
        }
    })
    .await;
    let (stored, realm) = (stored.clone(), service.address);
    let registry = Server::start(None, move |request| match authorization(request) {
        Some("Bearer granted") => stored.answer(request),
        None => challenge(&format!(
            r#"Bearer realm="http://{realm}/token",service="registry.example",scope="repository:{REPOSITORY}:pull,push""#
        )),
        Some(other) => panic!("{other}"),
    })
    .await;
    (registry, service)
}

#[tokio::test]
async fn a_token_is_fetched_where_the_registry_says_and_the_password_goes_there_only() {
    let stored = Stored::component();
    for (accepted, credential) in [(None, None), (Some(basic()), Some(account(PASSWORD)))] {
        let (registry, service) = with_token_service(&stored, accepted).await;
        let mut builder = host();
        if let Some(credential) = credential {
            builder = builder.registry_credential(&registry.address.to_string(), credential);
        }
        assert_runs(&builder.build().unwrap().load(stored.source(registry.address)).await.unwrap()).await;
        // The token serves for the layer, too.
        assert_eq!((registry.requests(), service.requests()), (3, 1));
    }
}

#[tokio::test]
async fn who_may_not_pull_is_told_so_without_the_credential_being_shown() {
    let stored = Stored::component();
    let (registry, _service) = with_token_service(&stored, Some(basic())).await;
    let address = registry.address.to_string();
    let cases: [(HostBuilder, &str); 4] = [
        (host(), "without a credential"),
        // Given for another registry.
        (host().registry_credential("registry.example", account(PASSWORD)), "without a credential"),
        (host().registry_credential(&address, account("wrong-password")), "with this credential"),
        (host().registry_credential(&address, account("not\na\nheader")), "with this credential"),
    ];
    for (builder, told) in cases {
        let shown = format!("{builder:?}");
        assert!(!shown.contains("-password"), "{shown}");
        let error = refused(&builder.build().unwrap(), stored.source(&address)).await;
        assert!(matches!(error, RegistryError::Unauthorized { .. }), "{error:?}");
        let text = error.to_string();
        assert!(text.contains(told) && text.contains(&address) && !text.contains("-password"), "{text}");
    }
}

#[tokio::test]
async fn a_bearer_token_is_sent_as_it_is_and_a_registry_that_refuses_it_is_believed() {
    let stored = Stored::component();
    let served = stored.clone();
    let server = Server::start(None, move |request| match authorization(request) {
        Some("Bearer right-token") => served.answer(request),
        _ => challenge(r#"Bearer realm="http://127.0.0.1:9/token""#),
    })
    .await;
    let address = server.address.to_string();
    let with = |token: &str| {
        host().registry_credential(&address, RegistryCredential::Token(token.into())).build().unwrap()
    };
    assert_runs(&with("right-token").load(stored.source(&address)).await.unwrap()).await;
    for wrong in ["wrong-token", "wrong\ntoken"] {
        let error = refused(&with(wrong), stored.source(&address)).await;
        assert!(matches!(error, RegistryError::Unauthorized { with_credential: true, .. }), "{error:?}");
        assert!(!error.to_string().contains("wrong"), "{error}");
    }
}

#[tokio::test]
async fn a_layer_that_lies_elsewhere_is_fetched_there_without_the_credential() {
    let stored = Stored::component();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (served, log) = (stored.clone(), Arc::clone(&seen));
    let storage = Server::start(None, move |request| {
        log.lock().unwrap().push(authorization(request).map(str::to_owned));
        Response::new(body(served.layer.clone()))
    })
    .await;
    let (served, elsewhere) = (stored.clone(), storage.address);
    let registry = Server::start(None, move |request| {
        if authorization(request) != Some(&basic()) {
            challenge("Basic realm=\"here\"")
        } else if served.is_layer(request) {
            let target = format!("http://{elsewhere}/bucket?signature=x");
            Response::builder().status(307).header("location", target).body(body("")).unwrap()
        } else {
            served.answer(request)
        }
    })
    .await;
    let address = registry.address.to_string();
    let host = host().registry_credential(&address, account(PASSWORD)).build().unwrap();
    assert_runs(&host.load(stored.source(&address)).await.unwrap()).await;
    assert_eq!(*seen.lock().unwrap(), [None]);
}

#[tokio::test]
async fn no_password_goes_to_a_token_service_that_the_storage_behind_a_redirect_names() {
    let stored = Stored::component();
    let thief = Server::start(None, |_| Response::new(body(r#"{"token":"granted"}"#))).await;
    let realm = thief.address;
    let storage =
        Server::start(None, move |_| challenge(&format!("Bearer realm=\"http://{realm}/token\""))).await;
    let elsewhere = storage.address;
    let registry = Server::start(None, move |_| {
        Response::builder()
            .status(307)
            .header("location", format!("http://{elsewhere}/"))
            .body(body(""))
            .unwrap()
    })
    .await;
    let address = registry.address.to_string();
    let host = host().registry_credential(&address, account(PASSWORD)).build().unwrap();
    let error = refused(&host, stored.source(&address)).await;
    assert!(matches!(error, RegistryError::Unauthorized { .. }), "{error:?}");
    assert_eq!(thief.requests(), 0);
}

#[tokio::test]
async fn redirects_and_token_services_without_https_and_redirects_without_end_are_refused() {
    let stored = Stored::component();
    let redirect = |target: &'static str| {
        move |_: &Request<Incoming>| {
            Response::builder().status(302).header("location", target).body(body("")).unwrap()
        }
    };
    let host = host().build().unwrap();
    let insecure = Server::start(None, redirect("http://registry.example/x?signature=hidden")).await;
    let file = Server::start(None, redirect("file:///etc/passwd")).await;
    let circle = Server::start(None, redirect("/v2/")).await;
    let service = Server::start(None, |_| challenge(r#"Bearer realm="http://registry.example/token""#)).await;
    for (server, told) in [
        (&insecure, "not https"),
        (&file, "not https"),
        (&circle, "more than 5 times"),
        (&service, "not https"),
    ] {
        let error = refused(&host, stored.source(server.address)).await;
        assert!(matches!(&error, RegistryError::Unexpected { what, .. } if what.contains(told)), "{error:?}");
        assert!(!error.to_string().contains("hidden"), "{error}");
    }
    assert_eq!(circle.requests(), 6);
}

#[tokio::test]
async fn without_permission_for_local_sites_a_registry_is_spoken_to_over_tls_only() {
    let stored = Stored::component();
    let served = stored.clone();
    let plain = Server::start(None, move |request| served.answer(request)).await;
    let strict = Host::builder().build().unwrap();
    let error = refused(&strict, stored.source(plain.address)).await;
    assert!(
        matches!(&error, RegistryError::Unavailable { registry, .. } if registry.starts_with("https://")),
        "{error:?}"
    );
    assert!(error.to_string().contains("local sites"), "{error}");
    assert_eq!(plain.requests(), 0);

    let (directory, tls) = certified("localhost", false);
    let served = stored.clone();
    let server = Server::start(Some(tls), move |request| served.answer(request)).await;
    let registry = format!("localhost:{}", server.address.port());
    let error = refused(&strict, stored.source(&registry)).await;
    assert!(error.to_string().contains("certificate"), "{error}");
    assert_eq!(server.requests(), 0);
    let trusting = Host::builder().extra_ca_file(directory.path().join("ca.pem")).build().unwrap();
    assert_runs(&trusting.load(stored.source(&registry)).await.unwrap()).await;
}

/// The real registry, on a port and in a directory of its own, until it is dropped.
struct DockerRegistry {
    address: SocketAddr,
    _process: tokio::process::Child,
    _directory: tempfile::TempDir,
}

impl DockerRegistry {
    /// None where the program is not installed. With a `login`, only [`USER`] with [`PASSWORD`] gets in.
    async fn start(login: bool) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name).display().to_string();
        let mut config = json!({
            "version": "0.1",
            "log": {"level": "info"},
            "storage": {"filesystem": {"rootdirectory": path("data")}},
            "http": {"addr": "127.0.0.1:0"},
        });
        if login {
            // Of PASSWORD, by bcrypt.
            let hash = "$2b$04$9NvuBFWzzDFhrqm3UV6vre87ANVCvB1AHWjKj3DbpRR6swBoEC5pG";
            std::fs::write(path("htpasswd"), format!("{USER}:{hash}\n")).unwrap();
            config["auth"] = json!({"htpasswd": {"realm": "test", "path": path("htpasswd")}});
        }
        // JSON is YAML.
        std::fs::write(path("config.yml"), config.to_string()).unwrap();
        let process = tokio::process::Command::new("docker-registry")
            .args(["serve", &path("config.yml")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn();
        let mut process = match process {
            Ok(process) => process,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                // Past the capture of tests that pass: nobody should believe that this ran.
                let line = "skipped: docker-registry is not installed";
                let mut stderr = std::io::stderr();
                writeln!(stderr, "{line}").unwrap();
                return None;
            }
            Err(error) => panic!("docker-registry: {error}"),
        };
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let listening = async {
            loop {
                let line = lines.next_line().await.unwrap().expect("it ended before it listened");
                if let Some((_, rest)) = line.split_once("listening on ") {
                    let end = rest.find(['"', ',', ' ']).unwrap_or(rest.len());
                    return rest[..end].parse().unwrap();
                }
            }
        };
        let address = tokio::time::timeout(Duration::from_secs(30), listening).await.unwrap();
        // Its log is read to the end, or it would stop at a full pipe.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Some(Self { address, _process: process, _directory: directory })
    }

    async fn send(&self, method: &str, target: &str, content_type: &str, bytes: Bytes) -> Response<Incoming> {
        let stream = tokio::net::TcpStream::connect(self.address).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(target)
            .header("host", self.address.to_string())
            .header("authorization", basic())
            .header("content-type", content_type)
            .body(Full::new(bytes))
            .unwrap();
        sender.send_request(request).await.unwrap()
    }

    /// Uploads in one piece each, as the specification calls it.
    async fn push(&self, stored: &Stored) {
        for blob in [Bytes::from_static(CONFIG), stored.layer.clone()] {
            let uploads = format!("/v2/{REPOSITORY}/blobs/uploads/");
            let begun = self.send("POST", &uploads, "text/plain", Bytes::new()).await;
            assert_eq!(begun.status(), 202);
            let location = begun.headers()["location"].to_str().unwrap();
            let location = location.trim_start_matches(&format!("http://{}", self.address)).to_owned();
            let target = format!("{location}&digest={}", digest(&blob));
            assert_eq!(self.send("PUT", &target, "application/octet-stream", blob).await.status(), 201);
        }
        let target = format!("/v2/{REPOSITORY}/manifests/0.1.0");
        let pushed = self.send("PUT", &target, MANIFEST, stored.manifest.clone()).await;
        assert_eq!(pushed.status(), 201);
        assert_eq!(pushed.headers()["docker-content-digest"], digest(&stored.manifest));
    }
}

#[tokio::test]
async fn the_real_registry_serves_a_component_that_runs() {
    let Some(registry) = DockerRegistry::start(false).await else { return };
    let stored = Stored::component();
    let host = host().build().unwrap();
    let error = refused(&host, stored.source(registry.address)).await;
    assert!(matches!(error, RegistryError::NotFound { .. }), "{error:?}");
    registry.push(&stored).await;
    assert_runs(&host.load(stored.source(registry.address)).await.unwrap()).await;
    let error = refused(&host, source(registry.address, b"another manifest")).await;
    assert!(matches!(error, RegistryError::NotFound { .. }), "{error:?}");
}

#[tokio::test]
async fn the_real_registry_with_a_login_serves_those_with_its_credential() {
    let Some(registry) = DockerRegistry::start(true).await else { return };
    let stored = Stored::component();
    registry.push(&stored).await;
    let address = registry.address.to_string();
    for (builder, with_credential) in
        [(host(), false), (host().registry_credential(&address, account("wrong")), true)]
    {
        let error = refused(&builder.build().unwrap(), stored.source(&address)).await;
        let RegistryError::Unauthorized { with_credential: told, .. } = error else { panic!("{error:?}") };
        assert_eq!(told, with_credential);
    }
    let host = host().registry_credential(&address, account(PASSWORD)).build().unwrap();
    assert_runs(&host.load(stored.source(&address)).await.unwrap()).await;
}
