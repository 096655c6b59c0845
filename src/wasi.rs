//! [`Transport`] over `wasi:http`: one request at a time, the whole body read before the answer is given.
//!
//! The host keeps requests within its limits, retries what is transient and waits out a Retry-After; what arrives
//! here is its last word.

use wasip2::clocks::wall_clock;
use wasip2::http::outgoing_handler;
use wasip2::http::types::{
    ErrorCode, Fields, IncomingBody, IncomingResponse, Method, OutgoingRequest, Scheme,
};
use wasip2::io::streams::StreamError;

use crate::delta::Timestamp;
use crate::transport::{Request, Response, Transport, TransportError};

/// Largest body that is read: 250 pages of 5 MB (facts B1) would not fit, and are asked for in smaller stretches.
const MAXIMUM_BODY: usize = 64 << 20;

const USER_AGENT: &str = concat!("kai-confluence-connector/", env!("CARGO_PKG_VERSION"));

/// The host's HTTP client and clock.
pub(crate) struct WasiTransport;

impl Transport for WasiTransport {
    fn get(&self, request: Request<'_>) -> Result<Response, TransportError> {
        let response = send(request)?;
        let headers = response.headers();
        let header = |name: &str| {
            let values = headers.get(name);
            values.first().map(|value| String::from_utf8_lossy(value).into_owned())
        };
        let (date, retry_after, length) = (header("date"), header("retry-after"), header("content-length"));
        drop(headers);
        let status = response.status();
        let length = length.and_then(|value| value.parse().ok()).unwrap_or(0);
        Ok(Response { status, date, retry_after, body: read(&response, length)? })
    }

    fn now(&self) -> Timestamp {
        let now = wall_clock::now();
        i64::try_from(now.seconds)
            .ok()
            .and_then(|seconds| {
                seconds.checked_mul(1000)?.checked_add(i64::from(now.nanoseconds / 1_000_000))
            })
            .and_then(Timestamp::from_milliseconds)
            .unwrap_or_default()
    }
}

fn send(request: Request<'_>) -> Result<IncomingResponse, TransportError> {
    let unusable = |what: &str| TransportError::Denied(format!("{what} cannot be sent"));
    let fields = [
        ("accept", "application/json".as_bytes()),
        ("authorization", request.authorization.as_bytes()),
        ("user-agent", USER_AGENT.as_bytes()),
    ];
    let headers = Fields::new();
    for (name, value) in fields {
        headers.append(name, value).map_err(|_| unusable(&format!("the header {name}")))?;
    }
    let outgoing = OutgoingRequest::new(headers);
    let (scheme, rest) = match request.url.split_once("://") {
        Some(("http", rest)) => (Scheme::Http, rest),
        Some((_, rest)) => (Scheme::Https, rest),
        None => return Err(unusable("a URL without a scheme")),
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    outgoing.set_method(&Method::Get).map_err(|()| unusable("the method"))?;
    outgoing.set_scheme(Some(&scheme)).map_err(|()| unusable("the scheme"))?;
    outgoing.set_authority(Some(authority)).map_err(|()| unusable("the host name"))?;
    outgoing.set_path_with_query(Some(path)).map_err(|()| unusable("the path"))?;
    let future = outgoing_handler::handle(outgoing, None).map_err(failed)?;
    let pollable = future.subscribe();
    pollable.block();
    // The pollable is a child of the future and has to go before it.
    drop(pollable);
    match future.get() {
        Some(Ok(answer)) => answer.map_err(failed),
        _ => Err(TransportError::Unavailable("the host gave no answer".to_owned())),
    }
}

/// Reads the body to its end. `length` is only a hint to make room for it.
fn read(response: &IncomingResponse, length: usize) -> Result<Vec<u8>, TransportError> {
    let cut = |reason: &str| TransportError::Unavailable(format!("the answer broke off ({reason})"));
    let body: IncomingBody = response.consume().map_err(|()| cut("no body"))?;
    let stream = body.stream().map_err(|()| cut("no stream"))?;
    let mut bytes = Vec::new();
    let end = loop {
        match stream.blocking_read(MAXIMUM_BODY as u64 + 1) {
            Ok(piece) if bytes.len() + piece.len() > MAXIMUM_BODY => {
                break Err(TransportError::TooLarge(format!(
                    "the answer is over {} MiB",
                    MAXIMUM_BODY >> 20
                )));
            }
            // A host that has the whole body gives it at once, and then it is not copied.
            Ok(piece) if bytes.is_empty() => bytes = piece,
            Ok(piece) => {
                bytes.reserve(length.min(MAXIMUM_BODY).saturating_sub(bytes.len()).max(piece.len()));
                bytes.extend_from_slice(&piece);
            }
            Err(StreamError::Closed) => break Ok(bytes),
            Err(StreamError::LastOperationFailed(error)) => break Err(cut(&error.to_debug_string())),
        }
    };
    // The stream is a child of the body and has to go before it.
    drop(stream);
    end
}

fn failed(code: ErrorCode) -> TransportError {
    match code {
        ErrorCode::HttpRequestDenied => {
            TransportError::Denied("it leads outside what this source may reach".to_owned())
        }
        ErrorCode::DestinationIpProhibited => TransportError::Denied(
            "its address is private or local; allow local sites if this is a test site".to_owned(),
        ),
        ErrorCode::HttpRequestUriInvalid | ErrorCode::HttpProtocolError => {
            TransportError::Denied("it is not valid HTTP".to_owned())
        }
        ErrorCode::HttpResponseBodySize(_) => {
            TransportError::TooLarge("the answer is over the host's limit".to_owned())
        }
        ErrorCode::InternalError(Some(reason)) => TransportError::Unavailable(reason),
        ErrorCode::DnsError(_) => TransportError::Unavailable("its name cannot be resolved".to_owned()),
        ErrorCode::ConnectionRefused => TransportError::Unavailable("it refuses connections".to_owned()),
        ErrorCode::ConnectionTimeout | ErrorCode::ConnectionReadTimeout | ErrorCode::HttpResponseTimeout => {
            TransportError::Unavailable("it did not answer in time".to_owned())
        }
        ErrorCode::TlsCertificateError => {
            TransportError::Unavailable("its TLS certificate is not trusted".to_owned())
        }
        code => TransportError::Unavailable(format!("{code:?}")),
    }
}
