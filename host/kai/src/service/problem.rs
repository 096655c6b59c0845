//! What the service answers where it cannot do what it was asked for: RFC 9457, with a kind that programs go by.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use kai_host::{CallError, Error as ConnectorError};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::error::Error;
use crate::sealed_token::SealedTokenError;
use crate::store::StoreError;

/// What is wrong. The words of the connector's contract mean what they mean there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// No key was given, or one that lets nobody in.
    Unauthorized,
    /// The key, or the account at Confluence, is good, but not for this.
    Forbidden,
    /// There is no such thing, or not for this key; or Confluence has no such space.
    NotFound,
    /// It does not go together with what is there, or with what is under way.
    Conflict,
    /// The request is not what the description of the API says.
    InvalidRequest,
    /// The registration document is wrong.
    InvalidSource,
    /// Confluence rejected the credential of the source.
    Authentication,
    /// Too many requests: of this client here, or of the source's account at Confluence.
    RateLimited,
    /// Confluence cannot be reached, or fails.
    Unavailable,
    /// Something is over a limit of size.
    TooLarge,
    /// Confluence answered what its API does not promise.
    Malformed,
    /// The connector took more time or memory than it may.
    Limit,
    /// More documents are gone from Confluence than are removed without being confirmed.
    RemovalsRefused,
    /// What Confluence shows now contradicts what it showed before.
    Implausible,
    /// A fault of the service.
    Internal,
}

impl Kind {
    /// All of them, for those who describe them.
    pub(crate) const ALL: [Self; 15] = [
        Self::Unauthorized,
        Self::Forbidden,
        Self::NotFound,
        Self::Conflict,
        Self::InvalidRequest,
        Self::InvalidSource,
        Self::Authentication,
        Self::RateLimited,
        Self::Unavailable,
        Self::TooLarge,
        Self::Malformed,
        Self::Limit,
        Self::RemovalsRefused,
        Self::Implausible,
        Self::Internal,
    ];

    /// As it is written in a problem.
    #[must_use]
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not-found",
            Self::Conflict => "conflict",
            Self::InvalidRequest => "invalid-request",
            Self::InvalidSource => "invalid-source",
            Self::Authentication => "authentication",
            Self::RateLimited => "rate-limited",
            Self::Unavailable => "unavailable",
            Self::TooLarge => "too-large",
            Self::Malformed => "malformed",
            Self::Limit => "limit",
            Self::RemovalsRefused => "removals-refused",
            Self::Implausible => "implausible",
            Self::Internal => "internal",
        }
    }

    /// In a few words.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Unauthorized => "A key is needed",
            Self::Forbidden => "Not allowed",
            Self::NotFound => "Not found",
            Self::Conflict => "Does not go together with what is there",
            Self::InvalidRequest => "The request cannot be understood",
            Self::InvalidSource => "The registration document is wrong",
            Self::Authentication => "Confluence rejected the credential",
            Self::RateLimited => "Too many requests",
            Self::Unavailable => "Confluence is not available",
            Self::TooLarge => "Too large",
            Self::Malformed => "Confluence gave an unexpected answer",
            Self::Limit => "The connector went over a limit",
            Self::RemovalsRefused => "Removals have to be confirmed",
            Self::Implausible => "Confluence contradicts itself",
            Self::Internal => "The service failed",
        }
    }

    /// What to do about it.
    pub(crate) fn remedy(self) -> &'static str {
        match self {
            Self::Unauthorized => "Send a key as `Authorization: Bearer kai_...`; `kai keys add` makes one.",
            Self::Forbidden => {
                "Use a key of the administration; or give the account access to the space in Confluence."
            }
            Self::NotFound => "Look for the right id in the list; check the key of the space.",
            Self::Conflict => "The detail says with what; wait for it, or change it first.",
            Self::InvalidRequest => "The detail names the field; /openapi.json says what is expected.",
            Self::InvalidSource => "The detail names the field and what to write instead.",
            Self::Authentication => {
                "Check the email address, and make a new API token at id.atlassian.com if need be."
            }
            Self::RateLimited => "Try again after the seconds in `retry_after`.",
            Self::Unavailable => "Try again later; a run that stopped goes on from where it was.",
            Self::TooLarge => "Ask for less at once.",
            Self::Malformed => "Check that base_url is the root of a Confluence Cloud workspace.",
            Self::Limit => "Try again; a page that is too much is listed among the failures.",
            Self::RemovalsRefused => "If the documents are really gone, confirm the removals of that run.",
            Self::Implausible => "Check the credential and the account's access to Confluence.",
            Self::Internal => "The log of the service says more.",
        }
    }
}

/// An answer that is none.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Problem {
    /// Where the kind is described.
    #[serde(rename = "type")]
    pub type_uri: String,
    /// The kind in a few words.
    pub title: String,
    /// The status of the answer.
    pub status: u16,
    /// What happened, to what, and what to do.
    pub detail: String,
    /// What programs go by.
    pub kind: Kind,
    /// Seconds to wait before the next try, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u64>,
    /// Which field of the registration document it is about, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<&'static str>,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, kind: Kind, detail: impl Into<String>) -> Self {
        Self {
            type_uri: format!("/api#{}", kind.name()),
            title: kind.title().to_owned(),
            status: status.as_u16(),
            detail: detail.into(),
            kind,
            retry_after: None,
            field: None,
        }
    }

    /// Says of a problem with a registration document which field it is about.
    pub(crate) fn at_field(self) -> Self {
        let named = |detail: &str| {
            let fields =
                ["base_url", "email", "api_token", "space_key", "scope_path", "cloud_id", "schedule"];
            fields.into_iter().find(|field| detail.contains(field))
        };
        let field = match self.kind {
            Kind::Authentication => Some("api_token"),
            Kind::InvalidSource | Kind::InvalidRequest => named(&self.detail),
            Kind::NotFound if self.detail.contains("space") => Some("space_key"),
            Kind::Unavailable | Kind::Malformed => Some("base_url"),
            _ => None,
        };
        Self { field, ..self }
    }

    pub(crate) fn not_found(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, Kind::NotFound, format!("there is no such {what}"))
    }

    pub(crate) fn invalid(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, Kind::InvalidRequest, detail)
    }

    pub(crate) fn invalid_source(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, Kind::InvalidSource, detail)
    }

    pub(crate) fn conflict(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, Kind::Conflict, detail)
    }

    pub(crate) fn internal(error: impl std::fmt::Display) -> Self {
        tracing::error!(%error, "a request failed");
        let detail = "the service could not do it; its log says why";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, Kind::Internal, detail)
    }

    pub(crate) fn too_many_requests(detail: &str, seconds: u64) -> Self {
        let problem = Self::new(StatusCode::TOO_MANY_REQUESTS, Kind::RateLimited, detail);
        Self { retry_after: Some(seconds.max(1)), ..problem }
    }
}

/// Why a run did not come to its end.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct RunProblem {
    /// As in a problem of the API.
    pub(crate) kind: Kind,
    /// What happened, to what, and what to do.
    pub(crate) detail: String,
}

/// The kind of an error of a sync or of a check, and the status that says so.
pub(crate) fn classify(error: &Error) -> (StatusCode, Kind, Option<u64>) {
    let unprocessable = |kind| (StatusCode::UNPROCESSABLE_ENTITY, kind, None);
    match error {
        Error::Call { error: CallError::Connector(error), .. } => match error {
            ConnectorError::InvalidSource(_) => unprocessable(Kind::InvalidSource),
            ConnectorError::Authentication(_) => unprocessable(Kind::Authentication),
            ConnectorError::Forbidden(_) => unprocessable(Kind::Forbidden),
            ConnectorError::NotFound(_) => unprocessable(Kind::NotFound),
            ConnectorError::RateLimited(wait) => {
                (StatusCode::SERVICE_UNAVAILABLE, Kind::RateLimited, Some(wait.unwrap_or(60)))
            }
            ConnectorError::TooLarge(_) => (StatusCode::BAD_GATEWAY, Kind::TooLarge, None),
            ConnectorError::Malformed(_) => (StatusCode::BAD_GATEWAY, Kind::Malformed, None),
            ConnectorError::Unavailable(_) | ConnectorError::StaleCursor => {
                (StatusCode::BAD_GATEWAY, Kind::Unavailable, None)
            }
        },
        Error::Call { error: CallError::Limit(_) | CallError::Crashed(_), .. } => {
            (StatusCode::BAD_GATEWAY, Kind::Limit, None)
        }
        Error::Call { error: CallError::Busy | CallError::ShuttingDown, .. } => {
            (StatusCode::SERVICE_UNAVAILABLE, Kind::Unavailable, Some(5))
        }
        Error::Source(_) | Error::SourceFile(_) => unprocessable(Kind::InvalidSource),
        Error::RemovalsRefused { .. } => (StatusCode::CONFLICT, Kind::RemovalsRefused, None),
        Error::Implausible(_) => (StatusCode::BAD_GATEWAY, Kind::Implausible, None),
        Error::SealedToken(_) => (StatusCode::CONFLICT, Kind::Conflict, None),
        _ => (StatusCode::INTERNAL_SERVER_ERROR, Kind::Internal, None),
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match classify(&error) {
            (_, Kind::Internal, _) => Self::internal(error),
            (status, kind, retry_after) => Self { retry_after, ..Self::new(status, kind, error.to_string()) },
        }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        Self::internal(error)
    }
}

impl From<SealedTokenError> for Problem {
    fn from(error: SealedTokenError) -> Self {
        Error::from(error).into()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = (status, body).into_response();
        response.extensions_mut().insert(self.clone());
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
