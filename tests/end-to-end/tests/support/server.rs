//! A server whose answers a test decides, over plain TCP or TLS.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, combinators::BoxBody};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rcgen::{CertificateParams, CertifiedIssuer, KeyPair};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

pub(crate) type Body = BoxBody<Bytes, std::io::Error>;
type Answer = dyn Fn(&Request<Incoming>) -> Response<Body> + Send + Sync;

/// Runs until it is dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    seen: Arc<Seen>,
    task: tokio::task::JoinHandle<()>,
}

#[derive(Default)]
struct Seen {
    connections: AtomicU64,
    requests: AtomicU64,
    versions: Mutex<Vec<Version>>,
}

impl Server {
    pub(crate) async fn start(
        tls: Option<rustls::ServerConfig>,
        answer: impl Fn(&Request<Incoming>) -> Response<Body> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Seen::default());
        let acceptor = tls.map(|config| TlsAcceptor::from(Arc::new(config)));
        let answer: Arc<Answer> = Arc::new(answer);
        let task = tokio::spawn(accept(listener, acceptor, answer, Arc::clone(&seen)));
        Self { address, seen, task }
    }

    pub(crate) fn connections(&self) -> u64 {
        self.seen.connections.load(Ordering::SeqCst)
    }

    pub(crate) fn requests(&self) -> u64 {
        self.seen.requests.load(Ordering::SeqCst)
    }

    pub(crate) fn versions(&self) -> Vec<Version> {
        self.seen.versions.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, acceptor: Option<TlsAcceptor>, answer: Arc<Answer>, seen: Arc<Seen>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { return };
        seen.connections.fetch_add(1, Ordering::SeqCst);
        let (acceptor, answer, seen) = (acceptor.clone(), Arc::clone(&answer), Arc::clone(&seen));
        tokio::spawn(async move {
            let service = service_fn(move |request: Request<Incoming>| {
                seen.requests.fetch_add(1, Ordering::SeqCst);
                seen.versions.lock().unwrap().push(request.version());
                let response = answer(&request);
                async move { Ok::<_, Infallible>(response) }
            });
            let server = auto::Builder::new(TokioExecutor::new());
            match acceptor {
                None => server.serve_connection(TokioIo::new(stream), service).await.ok(),
                Some(acceptor) => match acceptor.accept(stream).await {
                    Ok(stream) => server.serve_connection(TokioIo::new(stream), service).await.ok(),
                    Err(_) => None,
                },
            }
        });
    }
}

/// A certificate authority of its own, and what it signed for `name`.
pub(crate) fn certified(name: &str, expired: bool) -> (tempfile::TempDir, rustls::ServerConfig) {
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let mut leaf = CertificateParams::new([name.to_owned()]).unwrap();
    if expired {
        leaf.not_before = rcgen::date_time_ymd(2020, 1, 1);
        leaf.not_after = rcgen::date_time_ymd(2021, 1, 1);
    }
    let leaf = leaf.signed_by(&key, &authority).unwrap();
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("ca.pem"), authority.pem()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = rustls::pki_types::PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    (directory, config)
}

pub(crate) fn body(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed()
}

/// The one space that these servers have.
pub(crate) const SPACES: &str = r#"{"results":[{"id":"1","key":"ENG","name":"Engineering","status":"current"}],"_links":{"base":"https://localhost/wiki"}}"#;

pub(crate) fn spaces() -> Response<Body> {
    Response::new(body(SPACES))
}
