//! Where purges are asked for [as other systems do](crate::dialects), on either listener: who may, and what they are told.

use std::net::IpAddr;
use std::sync::Arc;

use axum::http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use ipnet::IpNet;
use serde_json::{Map, Value, json};

use super::problem::Problem;
use super::token::token_named_by;
use crate::config::{Scope, Token};
use crate::dialects::{Misread, Reply};
use crate::invalidation::{Invalidator, Purged, Strength, Target};
use crate::telemetry::Metrics;

/// See the [module](self).
#[derive(Debug)]
pub struct Desk {
    tokens: Vec<Token>,
    invalidator: Arc<Invalidator>,
    metrics: Arc<Metrics>,
}

/// Why somebody may not purge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turned(Problem);

impl Turned {
    /// The answer.
    pub fn to_response(&self) -> Response<Bytes> {
        self.0.to_response()
    }
}

impl From<Turned> for Problem {
    fn from(turned: Turned) -> Self {
        turned.0
    }
}

impl From<Misread> for Problem {
    fn from(misread: Misread) -> Self {
        Self::new(StatusCode::BAD_REQUEST, misread.to_string())
    }
}

impl Desk {
    /// Where senders put the secret of a token: as a bearer token or a password, as to Fastly, and as to Cloudflare.
    pub const SECRET_FIELDS: [HeaderName; 3] =
        [header::AUTHORIZATION, HeaderName::from_static("fastly-key"), HeaderName::from_static("x-auth-key")];

    /// Holders of these tokens may purge.
    pub fn new(tokens: Vec<Token>, invalidator: Arc<Invalidator>, metrics: Arc<Metrics>) -> Self {
        Self { tokens, invalidator, metrics }
    }

    /// Who asks, if they may: by a token that may purge, or from an address that needs none.
    ///
    /// # Errors
    /// 401 and 403, as the API has them.
    pub fn who(&self, headers: &HeaderMap, client: IpAddr, from: &[IpNet]) -> Result<String, Turned> {
        let token = secret(headers).and_then(|secret| token_named_by(&self.tokens, &secret));
        if let Some(token) = token.filter(|token| token.may.contains(&Scope::Purge)) {
            return Ok(format!("token {:?}", token.name));
        }
        let client = client.to_canonical();
        // What it sends for a token may be meant for the app.
        if from.iter().any(|network| network.contains(&client)) {
            return Ok(format!("address {client}"));
        }
        Err(Turned(token.map_or_else(Problem::unauthorized, |_| Problem::forbidden(Scope::Purge))))
    }

    /// Purges, and says so as the sender wants to hear it. When it is answered, it has happened.
    pub async fn purge(
        &self,
        by: String,
        targets: Vec<Target>,
        strength: Strength,
        reply: &Reply,
    ) -> Response<Bytes> {
        let invalidator = Arc::clone(&self.invalidator);
        let work = move || invalidator.purge(&by, &targets, strength);
        let purged = match tokio::task::spawn_blocking(work).await {
            Ok(Ok(purged)) => purged,
            Ok(Err(error)) => return Problem::from(error).to_response(),
            Err(error) => {
                let problem = Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string());
                return problem.to_response();
            }
        };
        self.metrics.purge("api", purged.matched);
        told(&purged, strength, reply)
    }
}

fn told(purged: &Purged, strength: Strength, reply: &Reply) -> Response<Bytes> {
    let body = match reply {
        Reply::NoContent => None,
        Reply::Ok => Some(json!({
            "status": "ok",
            "position": purged.position.0,
            "soft": strength == Strength::Soft,
            "matched": purged.matched,
            "bytes": purged.bytes,
            "took_ms": purged.took.as_secs_f64() * 1000.0,
        })),
        Reply::Fastly(keys) if keys.is_empty() => {
            Some(json!({ "status": "ok", "id": purged.position.0.to_string() }))
        }
        Reply::Fastly(keys) => {
            let id = || Value::from(purged.position.0.to_string());
            Some(Value::Object(keys.iter().map(|key| (key.clone(), id())).collect::<Map<_, _>>()))
        }
        Reply::Cloudflare(zone) => {
            Some(json!({ "success": true, "errors": [], "messages": [], "result": { "id": zone } }))
        }
    };
    let mut response = Response::new(body.as_ref().map(Value::to_string).unwrap_or_default().into());
    if body.is_some() {
        let json = HeaderValue::from_static("application/json");
        response.headers_mut().insert(header::CONTENT_TYPE, json);
    } else {
        *response.status_mut() = StatusCode::NO_CONTENT;
    }
    response
}

fn secret(headers: &HeaderMap) -> Option<String> {
    let field = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let [authorization, others @ ..] = &Desk::SECRET_FIELDS;
    let Some(given) = field(authorization) else { return others.iter().find_map(field).map(str::to_owned) };
    let (scheme, credentials) = given.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("basic") {
        let decoded = String::from_utf8(STANDARD.decode(credentials.trim()).ok()?).ok()?;
        return decoded.split_once(':').map(|(_, password)| password.to_owned());
    }
    scheme.eq_ignore_ascii_case("bearer").then(|| credentials.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        fields
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect::<HeaderMap>()
    }

    #[test]
    fn a_secret_is_found_where_senders_put_it() {
        let basic = format!("Basic {}", STANDARD.encode("user:s:x"));
        for (fields, expected) in [
            (&[("authorization", "Bearer s")][..], Some("s")),
            (&[("authorization", basic.as_str())], Some("s:x")),
            (&[("fastly-key", "s")], Some("s")),
            (&[("x-auth-email", "a@b.test"), ("x-auth-key", "s")], Some("s")),
            (&[("authorization", "Digest s")], None),
            (&[], None),
        ] {
            assert_eq!(secret(&headers(fields)).as_deref(), expected, "{fields:?}");
        }
    }
}
