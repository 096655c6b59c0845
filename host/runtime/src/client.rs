//! The HTTP client of a tenant, and that for registries: pooled, TLS with our own roots, addresses checked after DNS,
//! bodies read whole under a cap.

use std::error::Error as StdError;
use std::fs;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use crate::egress::Egress;
use crate::error::BuildError;

/// How long each part of a request may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct HttpTimeouts {
    /// DNS, TCP and TLS. Default 10 s.
    pub connect: Duration,
    /// From the request to the head of the answer. Default 60 s.
    pub first_byte: Duration,
    /// Between two pieces of the body. Default 30 s.
    pub between_bytes: Duration,
    /// The whole request. Default 3 minutes.
    pub total: Duration,
}

impl Default for HttpTimeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            first_byte: Duration::from_secs(60),
            between_bytes: Duration::from_secs(30),
            total: Duration::from_secs(180),
        }
    }
}

/// An answer, its body decompressed and whole.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    #[error("the name leads to the private address {0}")]
    Prohibited(IpAddr),
    #[error("the name cannot be resolved")]
    Dns,
    #[error("the connection is refused")]
    Refused,
    /// The site closed the connection before it answered, as it may do with one that was kept for too long.
    #[error("the connection was closed")]
    Closed,
    #[error("no answer in time")]
    Timeout,
    #[error("the TLS certificate is not trusted: {0}")]
    Certificate(String),
    #[error("the answer is over {0} bytes")]
    TooLarge(usize),
    #[error("{0}")]
    Broken(String),
}

impl Fault {
    /// Whether the same request may well succeed in a moment.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Prohibited(_) | Self::Certificate(_) | Self::TooLarge(_) => false,
            Self::Dns | Self::Refused | Self::Closed | Self::Timeout | Self::Broken(_) => true,
        }
    }
}

/// TLS as every client of a host speaks it: the system's roots and those of `extra_ca_file`.
pub(crate) fn tls(extra_ca_file: Option<&Path>) -> Result<rustls::ClientConfig, BuildError> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in rustls_native_certs::load_native_certs().certs {
        // A system store may hold certificates that nobody can read; the others count.
        roots.add(certificate).ok();
    }
    if let Some(path) = extra_ca_file {
        let unusable = |reason: String| BuildError::CaFile { path: path.to_owned(), reason };
        let pem = fs::read(path).map_err(|error| unusable(error.to_string()))?;
        let certificates: Vec<_> = CertificateDer::pem_slice_iter(&pem)
            .collect::<Result<_, _>>()
            .map_err(|error| unusable(format!("it is not PEM: {error}")))?;
        if certificates.is_empty() {
            return Err(unusable("it holds no certificate in PEM form".to_owned()));
        }
        for certificate in certificates {
            roots.add(certificate).map_err(|error| unusable(error.to_string()))?;
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| BuildError::Engine(format!("TLS: {error}")))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// A pool of connections: one tenant's, they never cross tenants, or that of a pull from a registry.
pub(crate) struct Client {
    http: reqwest::Client,
    first_byte: Duration,
    between_bytes: Duration,
}

impl Client {
    pub(crate) fn new(
        tls: rustls::ClientConfig,
        timeouts: HttpTimeouts,
        egress: &Egress,
    ) -> Result<Self, reqwest::Error> {
        let resolver = Resolver { egress: Some(egress.clone()) };
        Self::build(builder(tls, timeouts).dns_resolver(resolver), timeouts)
    }

    /// For registries, which the operator names: they may well have private addresses. Bodies are left as they are sent,
    /// since digests are of that.
    pub(crate) fn for_registry(
        tls: rustls::ClientConfig,
        timeouts: HttpTimeouts,
    ) -> Result<Self, reqwest::Error> {
        let resolver = Resolver { egress: None };
        Self::build(builder(tls, timeouts).dns_resolver(resolver).no_gzip().no_brotli(), timeouts)
    }

    fn build(builder: reqwest::ClientBuilder, timeouts: HttpTimeouts) -> Result<Self, reqwest::Error> {
        let HttpTimeouts { first_byte, between_bytes, .. } = timeouts;
        Ok(Self { http: builder.build()?, first_byte, between_bytes })
    }

    /// Sends a GET and reads the answer to its end.
    pub(crate) async fn get(&self, url: url::Url, headers: HeaderMap, cap: usize) -> Result<Answer, Fault> {
        let send = self.http.get(url).headers(headers).send();
        let response = tokio::time::timeout(self.first_byte, send).await.map_err(|_| Fault::Timeout)?;
        let mut response = response.map_err(|error| fault(&error))?;
        let too_large = || Fault::TooLarge(cap);
        // Of a compressed body nobody knows it.
        let length = usize::try_from(response.content_length().unwrap_or(0)).unwrap_or(usize::MAX);
        if length > cap {
            return Err(too_large());
        }
        let mut body = BytesMut::with_capacity(length);
        loop {
            let piece = tokio::time::timeout(self.between_bytes, response.chunk()).await;
            let piece = piece.map_err(|_| Fault::Timeout)?.map_err(|error| fault(&error))?;
            let Some(piece) = piece else { break };
            if body.len() + piece.len() > cap {
                return Err(too_large());
            }
            body.extend_from_slice(&piece);
        }
        Ok(Answer {
            status: response.status(),
            headers: std::mem::take(response.headers_mut()),
            body: body.freeze(),
        })
    }
}

fn builder(tls: rustls::ClientConfig, timeouts: HttpTimeouts) -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .connect_timeout(timeouts.connect)
        .timeout(timeouts.total)
        // Redirects are for whoever asks to judge and to follow.
        .redirect(reqwest::redirect::Policy::none())
}

/// Looks names up with the system's resolver and refuses what the egress rule, where there is one, forbids. The
/// addresses that pass are the ones dialled, so a name cannot change its mind in between.
struct Resolver {
    egress: Option<Egress>,
}

/// Carries the refused address through the client's own error types.
#[derive(Debug, thiserror::Error)]
#[error("private address {0}")]
struct Prohibited(IpAddr);

#[derive(Debug, thiserror::Error)]
#[error("name not resolved")]
struct NotResolved;

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let egress = self.egress.clone();
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await.map_err(|_| NotResolved)?;
            let (allowed, refused): (Vec<SocketAddr>, Vec<SocketAddr>) =
                found.partition(|address| match &egress {
                    Some(egress) => egress.allows_address(name.as_str(), address.ip()),
                    None => true,
                });
            match refused.first() {
                Some(address) if allowed.is_empty() => Err(Prohibited(address.ip()).into()),
                None if allowed.is_empty() => Err(NotResolved.into()),
                _ => Ok(Box::new(allowed.into_iter()) as Addrs),
            }
        })
    }
}

fn fault(error: &reqwest::Error) -> Fault {
    if let Some(Prohibited(address)) = cause(error) {
        return Fault::Prohibited(*address);
    }
    if cause::<NotResolved>(error).is_some() {
        return Fault::Dns;
    }
    if let Some(rustls::Error::InvalidCertificate(reason)) = cause(error) {
        return Fault::Certificate(format!("{reason}"));
    }
    if error.is_timeout() {
        return Fault::Timeout;
    }
    match cause::<std::io::Error>(error).map(std::io::Error::kind) {
        Some(ErrorKind::ConnectionRefused) => return Fault::Refused,
        Some(ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) if error.is_request() => {
            return Fault::Closed;
        }
        _ => {}
    }
    if cause::<hyper::Error>(error).is_some_and(hyper::Error::is_incomplete_message) {
        return Fault::Closed;
    }
    // The deepest cause is the one that says something; the URL is left out, it may be long.
    let deepest = causes(error).last();
    Fault::Broken(deepest.map_or_else(|| error.to_string(), ToString::to_string))
}

/// The first error of this type in the chain of causes.
fn cause<E: StdError + 'static>(error: &reqwest::Error) -> Option<&E> {
    causes(error).find_map(|error| error.downcast_ref::<E>())
}

/// The error and what caused it, outermost first. An [`std::io::Error`] passes over what it wraps in its own `source`,
/// and what it wraps is where TLS says what is wrong.
fn causes(error: &reqwest::Error) -> impl Iterator<Item = &(dyn StdError + 'static)> {
    let outermost: &(dyn StdError + 'static) = error;
    std::iter::successors(Some(outermost), |error| {
        // Copied out of the closure's own borrow, so that what it leads to lives as long as the error.
        let error: &(dyn StdError + 'static) = *error;
        match error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
            Some(wrapped) => Some(wrapped),
            None => error.source(),
        }
    })
}
