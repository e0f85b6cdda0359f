//! What the tests of this room write their tables with.

use super::storing::LifetimeSource;
use super::vary::Selecting;
use super::{StoredResponse, Terms, dates};
use crate::clock::Timestamp;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use std::time::Duration;

/// The moment so many seconds after the Unix epoch.
pub(super) fn at(seconds: f64) -> Timestamp {
    Timestamp::default().plus(Duration::from_secs_f64(seconds))
}

/// That moment as an HTTP date.
pub(super) fn date(seconds: u64) -> String {
    dates::to_value(Timestamp::from_secs(seconds)).to_str().unwrap().to_owned()
}

pub(super) fn fields(lines: &[(&str, &str)]) -> HeaderMap {
    lines
        .iter()
        .map(|(name, value)| {
            (name.parse::<HeaderName>().unwrap(), HeaderValue::from_bytes(value.as_bytes()).unwrap())
        })
        .collect()
}

/// All in seconds.
pub(super) fn terms(lifetime: u64, initial_age: u64, received_at: u64) -> Terms {
    Terms {
        lifetime: Duration::from_secs(lifetime).into(),
        lifetime_from: LifetimeSource::MaxAge,
        initial_age: Duration::from_secs(initial_age).into(),
        received_at: Timestamp::from_secs(received_at),
        always_validate: false,
        never_stale: false,
        stale_while_revalidate: Duration::ZERO.into(),
        stale_if_error: Duration::ZERO.into(),
        refresh_at: None,
    }
}

/// A 200 that arrived at 1000 and is fresh for 60 seconds.
pub(super) fn stored(lines: &[(&str, &str)]) -> StoredResponse {
    StoredResponse::new(StatusCode::OK, fields(lines), |_| false, terms(60, 0, 1000), Selecting::default())
}
