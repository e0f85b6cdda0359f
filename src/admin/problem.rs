//! Problem details (RFC 9457): what every refusal of the admin API looks like.

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, Response, StatusCode, header};
use axum::response::IntoResponse;

use crate::config::Scope;
use crate::invalidation::PurgeError;

/// A refusal: a status and a sentence that says what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    status: StatusCode,
    detail: String,
}

impl Problem {
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into() }
    }

    pub(super) fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "a valid bearer token is needed")
    }

    pub(super) fn forbidden(scope: Scope) -> Self {
        let scope = match scope {
            Scope::Purge => "purge",
            Scope::Read => "read",
            Scope::Warm => "warm",
        };
        Self::new(StatusCode::FORBIDDEN, format!("the token may not {scope}"))
    }

    /// For a path that has other methods; the router adds `Allow`.
    pub(super) fn method_not_allowed() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "the method is not one of those in Allow")
    }

    #[cfg(test)]
    pub(super) fn status(&self) -> u16 {
        self.status.as_u16()
    }
}

impl From<PurgeError> for Problem {
    fn from(error: PurgeError) -> Self {
        let status = match error {
            PurgeError::Unknown { .. } => StatusCode::NOT_FOUND,
            PurgeError::Invalid(_) => StatusCode::BAD_REQUEST,
        };
        Self::new(status, error.to_string())
    }
}

impl Problem {
    /// The answer.
    pub(super) fn to_response(&self) -> Response<Bytes> {
        let body = serde_json::json!({
            "type": "about:blank",
            "title": self.status.canonical_reason().unwrap_or("Error"),
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        let mut response = Response::new(Bytes::from(body.to_string()));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response<Body> {
        self.to_response().map(Body::from)
    }
}
