//! Why the origin gave nothing usable.

use std::io;
use std::time::Duration;

use http::uri::Authority;

use crate::exchange::BodyError;

/// Why the origin gave nothing usable, told from the side of the one who asked.
#[derive(Debug, thiserror::Error)]
pub enum OriginError {
    /// Nobody listens there, or the network says no.
    #[error("cannot connect to {authority}")]
    Connect {
        /// The server that was tried last.
        authority: Authority,
        /// What the operating system said.
        source: io::Error,
    },
    /// No connection within the time allowed.
    #[error("no connection to {authority} within {limit:?}")]
    ConnectTimeout {
        /// The server that was tried last.
        authority: Authority,
        /// The limit.
        limit: Duration,
    },
    /// All connections are in use, and none came free within the time allowed.
    #[error("all {limit} connections to {authority} are in use")]
    Busy {
        /// The server.
        authority: Authority,
        /// How many connections are allowed.
        limit: usize,
    },
    /// The request was sent, and no response head came.
    #[error("no response head from {authority} within {limit:?}")]
    HeadTimeout {
        /// The server.
        authority: Authority,
        /// The limit.
        limit: Duration,
    },
    /// The connection ended before a response head was there.
    #[error("{authority} closed the connection without a response")]
    Closed {
        /// The server.
        authority: Authority,
        /// What hyper said.
        source: hyper::Error,
    },
    /// The response head is larger than the configuration allows.
    #[error("the response head of {authority} is too large")]
    HeadTooLarge {
        /// The server.
        authority: Authority,
    },
    /// What came is no HTTP, or its framing could be read in two ways.
    #[error("{authority} sent a malformed response: {reason}")]
    Malformed {
        /// The server.
        authority: Authority,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The client's own body broke off, stalled or was too large, so the request could not be completed.
    #[error("the request could not be sent whole: {0}")]
    RequestBody(RequestBodyFault),
}

/// What was wrong with the client's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestBodyFault {
    /// Larger than the configuration allows.
    #[error("its body is too large")]
    TooLarge,
    /// It paused for too long.
    #[error("its body stalled")]
    Stalled,
    /// The client's connection broke.
    #[error("its body broke off")]
    Broken,
}

impl From<&BodyError> for RequestBodyFault {
    fn from(error: &BodyError) -> Self {
        match error {
            BodyError::TooLarge { .. } => Self::TooLarge,
            BodyError::Idle { .. } => Self::Stalled,
            BodyError::Refused | BodyError::Incomplete | BodyError::Broken(_) => Self::Broken,
        }
    }
}

impl OriginError {
    /// Whether a server may have acted upon the request all the same. `idempotent`: it may have been asked twice, so
    /// that this is said of the second time only.
    pub fn may_have_been_acted_upon(&self, idempotent: bool) -> bool {
        let unsent = matches!(self, Self::Connect { .. } | Self::ConnectTimeout { .. } | Self::Busy { .. });
        !unsent || idempotent
    }

    /// The error type of RFC 9209 §2.3, which `Proxy-Status` and the metrics say; for the client's own fault, as far
    /// as there is one.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Connect { source, .. } if source.kind() == io::ErrorKind::ConnectionRefused => {
                "connection_refused"
            }
            Self::Connect { .. } => "destination_unavailable",
            Self::ConnectTimeout { .. } => "connection_timeout",
            Self::Busy { .. } => "connection_limit_reached",
            Self::HeadTimeout { .. } => "http_response_timeout",
            Self::Closed { .. } => "http_response_incomplete",
            Self::HeadTooLarge { .. } => "http_response_header_section_size",
            Self::Malformed { .. } => "http_protocol_error",
            Self::RequestBody(_) => "http_request_error",
        }
    }

    /// Whether the server has closed or broken the connection, and nothing else was wrong.
    pub(super) fn is_end_of_connection(error: &hyper::Error) -> bool {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected};
        let broken = |error: &io::Error| {
            matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | NotConnected)
        };
        let ended = error.is_canceled() || error.is_closed() || error.is_incomplete_message();
        cause::<BodyError>(error).is_none() && (ended || cause(error).is_some_and(broken))
    }

    /// Sorts a failure of hyper's client.
    pub(super) fn from_hyper(authority: &Authority, error: hyper::Error) -> Self {
        let authority = authority.clone();
        if let Some(body) = cause::<BodyError>(&error) {
            return Self::RequestBody(body.into());
        }
        if error.is_parse_too_large() {
            Self::HeadTooLarge { authority }
        } else if error.is_parse() {
            Self::Malformed { authority, reason: "it is not HTTP/1.1" }
        } else {
            Self::Closed { authority, source: error }
        }
    }
}

/// The first error of type `E` in a chain of causes.
fn cause<'e, E: std::error::Error + 'static>(error: &'e (dyn std::error::Error + 'static)) -> Option<&'e E> {
    std::iter::successors(Some(error), |error| error.source()).find_map(|error| error.downcast_ref())
}
