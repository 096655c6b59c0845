//! What a request brings, with a problem where it is not what was expected.

use axum::body::{Body, Bytes};
use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::problem::{Kind, Problem};

/// A body of JSON.
pub(crate) struct Json<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let request = Request::from_parts(parts.clone(), body);
        let bytes = Bytes::from_request(request, state).await;
        let bytes = bytes.map_err(|rejection| rejected(&rejection.into()))?;
        let request = Request::from_parts(parts, Body::from(bytes.clone()));
        let body = axum::Json::<T>::from_request(request, state).await;
        let axum::Json(body) = body.map_err(|rejection| rejected(&rejection))?;
        if has_list(&serde_json::from_slice(&bytes).unwrap_or_default()) {
            let detail = "the body has a list where an object is expected";
            return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, Kind::InvalidRequest, detail));
        }
        Ok(Self(body))
    }
}

/// No body of this API has one, and serde takes one for an object whose fields are left out.
fn has_list(value: &Value) -> bool {
    match value {
        Value::Array(_) => true,
        Value::Object(fields) => fields.values().any(has_list),
        _ => false,
    }
}

fn rejected(rejection: &JsonRejection) -> Problem {
    let kind = match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Kind::TooLarge,
        _ => Kind::InvalidRequest,
    };
    // The text of a syntax error can quote what stands there, which may be a token.
    let detail = match rejection {
        JsonRejection::JsonSyntaxError(_) => "the body is not JSON".to_owned(),
        other => without_value(&other.body_text()),
    };
    Problem::new(rejection.status(), kind, detail)
}

/// What serde says of a value that is none of those expected, without the value: it may be a token in the wrong place.
fn without_value(text: &str) -> String {
    for what in ["invalid type: ", "invalid value: ", "unknown variant "] {
        if let Some((before, rest)) = text.split_once(what)
            && let Some((_, expected)) = rest.rsplit_once(", expected ")
        {
            return format!("{before}{}: expected {expected}", what.trim_end_matches([':', ' ']));
        }
    }
    text.to_owned()
}

/// What a form of a page sends.
pub(crate) struct Form<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Form<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        match axum::Form::<T>::from_request(request, state).await {
            Ok(axum::Form(form)) => Ok(Self(form)),
            Err(rejection) => Err(Problem::invalid(rejection.body_text())),
        }
    }
}

/// The query of an address.
pub(crate) struct Query<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match axum::extract::Query::<T>::from_request_parts(parts, state).await {
            Ok(axum::extract::Query(query)) => Ok(Self(query)),
            Err(rejection) => Err(Problem::invalid(rejection.body_text())),
        }
    }
}

/// The variable parts of a path.
pub(crate) struct Path<T>(pub(crate) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match axum::extract::Path::<T>::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(path)) => Ok(Self(path)),
            Err(rejection) => Err(Problem::invalid(rejection.body_text())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_is_not_expected_is_not_repeated() {
        for (text, told) in [
            (
                "a: invalid type: string \"t, expected k\", expected u64 at line 1",
                "a: invalid type: expected u64 at line 1",
            ),
            (
                "mode: unknown variant `t`, expected `delta` or `full`",
                "mode: unknown variant: expected `delta` or `full`",
            ),
            ("unknown field `x`, expected one of `a`, `b`", "unknown field `x`, expected one of `a`, `b`"),
            ("missing field `kind`", "missing field `kind`"),
        ] {
            assert_eq!(without_value(text), told);
        }
    }
}
