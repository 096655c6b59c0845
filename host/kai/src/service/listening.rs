//! Where and how the service listens: one port, with TLS or without.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum_server::Handle;
use axum_server::tls_rustls::RustlsConfig;
use hyper_util::rt::TokioTimer;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_util::sync::CancellationToken;

use crate::error::Error;

/// How long a client may take to send the head of a request; also how long it may keep a connection that it does not use.
const HEAD_TIME: Duration = Duration::from_secs(30);

/// Largest head of a request, in bytes.
const LARGEST_HEAD: usize = 32 * 1024;

const MOST_HEADERS: usize = 64;

/// A bound port.
pub(super) struct Listener {
    pub(super) address: SocketAddr,
    socket: TcpListener,
    tls: Option<RustlsConfig>,
}

pub(super) fn bind(address: SocketAddr, tls: Option<&(PathBuf, PathBuf)>) -> Result<Listener, Error> {
    let refused = |error: std::io::Error| {
        Error::Usage(format!("{address} cannot be listened on: {error}; choose another with --listen"))
    };
    let tls = tls.map(|(certificates, key)| tls_config(certificates, key)).transpose()?;
    let socket = TcpListener::bind(address).map_err(refused)?;
    socket.set_nonblocking(true).map_err(refused)?;
    let address = socket.local_addr().map_err(refused)?;
    Ok(Listener { address, socket, tls })
}

fn tls_config(certificates: &Path, key: &Path) -> Result<RustlsConfig, Error> {
    let unusable = |path: &Path, why: String| Error::Usage(format!("{}: {why}", path.display()));
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(certificates)
        .and_then(Iterator::collect)
        .map_err(|error| unusable(certificates, format!("is no chain of certificates in PEM: {error}")))?;
    let private = PrivateKeyDer::from_pem_file(key)
        .map_err(|error| unusable(key, format!("is no private key in PEM: {error}")))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, private))
        .map_err(|error| unusable(certificates, format!("cannot be used with that key: {error}")))?;
    let mut config = config;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(RustlsConfig::from_config(Arc::new(config)))
}

impl Listener {
    /// Serves until `stop` comes to its end; then `stopping` tells those that stream to end, and all others have `grace`.
    pub(super) async fn serve(
        self,
        router: Router,
        stop: impl Future<Output = ()>,
        stopping: CancellationToken,
        grace: Duration,
    ) -> std::io::Result<()> {
        let handle = Handle::new();
        let service = router.into_make_service_with_connect_info::<SocketAddr>();
        let serving = async {
            match self.tls {
                None => {
                    let mut server = axum_server::from_tcp(self.socket)?.handle(handle.clone());
                    limit(server.http_builder());
                    server.serve(service).await
                }
                Some(tls) => {
                    let mut server = axum_server::from_tcp_rustls(self.socket, tls)?.handle(handle.clone());
                    limit(server.http_builder());
                    server.serve(service).await
                }
            }
        };
        let mut serving = std::pin::pin!(serving);
        tokio::select! {
            result = &mut serving => return result,
            () = stop => {}
        }
        stopping.cancel();
        handle.graceful_shutdown(Some(grace));
        serving.await
    }
}

fn limit<E>(builder: &mut hyper_util::server::conn::auto::Builder<E>) {
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(LARGEST_HEAD)
        .max_headers(MOST_HEADERS);
}
