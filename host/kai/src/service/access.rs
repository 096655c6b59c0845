//! Who a request is from, and what of the store that is.

use std::net::SocketAddr;
use std::time::Instant;

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};

use super::Service;
use super::browser_sessions::may_change;
use super::problem::{Kind, Problem};
use crate::access_key::{self, KeyDigest};
use crate::store::{DEFAULT_TENANT, StoredKey};

/// Whoever made a request, let in by a key or by a session that a key began.
#[derive(Debug, Clone)]
pub(crate) struct Access {
    pub(crate) key: StoredKey,
}

impl Access {
    /// The tenant whose key it is; none: the administration.
    pub(crate) fn tenant_id(&self) -> Option<&str> {
        self.key.tenant_id.as_deref()
    }

    pub(crate) fn administration(&self) -> Result<(), Problem> {
        match self.tenant_id() {
            None => Ok(()),
            Some(_) => Err(Problem::new(
                StatusCode::FORBIDDEN,
                Kind::Forbidden,
                "only a key of the administration may do this",
            )),
        }
    }

    /// For whom something is made: a tenant's key makes it for its own, the administration says for whom.
    pub(crate) fn tenant_for(&self, asked: Option<&str>) -> Result<String, Problem> {
        match (self.tenant_id(), asked) {
            (Some(own), None) => Ok(own.to_owned()),
            (Some(own), Some(asked)) if own == asked => Ok(own.to_owned()),
            (Some(_), Some(_)) => Err(Problem::not_found("tenant")),
            (None, asked) => Ok(asked.unwrap_or(DEFAULT_TENANT).to_owned()),
        }
    }
}

impl FromRequestParts<Service> for Access {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, service: &Service) -> Result<Self, Problem> {
        if let Some(digest) = bearer(parts, service)? {
            return let_in(parts, service, digest?).await;
        }
        let Some(digest) = service.sessions.key(&parts.headers) else {
            return Err(unauthorized("this needs a key: send it as `Authorization: Bearer kai_...`"));
        };
        if !may_change(&parts.method, &parts.headers) {
            return Err(Problem::new(
                StatusCode::FORBIDDEN,
                Kind::Forbidden,
                "a browser's session changes nothing at the request of another site; programs send a key",
            ));
        }
        match service.key_with(digest).await? {
            Some(key) => Ok(Self { key }),
            None => Err(unauthorized("the key of this session was revoked")),
        }
    }
}

/// The digest of the key in the header; an error where it cannot be one.
#[allow(clippy::type_complexity, reason = "a missing header, a wrong one and a good one are three things")]
fn bearer(parts: &Parts, service: &Service) -> Result<Option<Result<KeyDigest, Problem>>, Problem> {
    let Some(value) = parts.headers.get(header::AUTHORIZATION) else { return Ok(None) };
    heard(parts, service)?;
    let digest = value
        .to_str()
        .ok()
        .and_then(|text| text.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .and_then(|(_, key)| access_key::digest(key));
    Ok(Some(digest.ok_or_else(|| {
        failed(parts, service);
        unauthorized("the Authorization header holds no key: send `Bearer kai_...`")
    })))
}

async fn let_in(parts: &Parts, service: &Service, digest: KeyDigest) -> Result<Access, Problem> {
    match service.key_with(digest).await? {
        Some(key) => Ok(Access { key }),
        None => {
            failed(parts, service);
            Err(unauthorized("the key is not one of this service, or was revoked"))
        }
    }
}

/// Whether the address may try a key now.
pub(crate) fn heard(parts: &Parts, service: &Service) -> Result<(), Problem> {
    match address(parts).and_then(|address| service.failed_keys.wait(address.ip(), Instant::now())) {
        None => Ok(()),
        Some(wait) => Err(Problem::too_many_requests(
            "too many wrong keys came from this address",
            wait.as_secs_f64().ceil() as u64,
        )),
    }
}

/// A key of this address let nobody in.
pub(crate) fn failed(parts: &Parts, service: &Service) {
    if let Some(address) = address(parts) {
        service.failed_keys.note(address.ip(), Instant::now());
    }
}

fn address(parts: &Parts) -> Option<SocketAddr> {
    parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0)
}

fn unauthorized(detail: &str) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, Kind::Unauthorized, detail)
}
