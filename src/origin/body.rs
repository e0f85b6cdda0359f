//! A response body as it comes from the origin.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::pool::Lease;
use crate::exchange::{self, BodyError, IdleTimer};

/// A response body as it comes from the origin, with the connection it comes on.
///
/// Read to its end, the connection goes back to the pool; dropped before, the connection is closed, since what
/// is still on it belongs to nobody.
#[derive(Debug)]
pub struct OriginBody {
    incoming: Source,
    connection: Option<Lease>,
    idle: IdleTimer,
    close_delimited: bool,
}

/// Where the bytes come from.
#[derive(Debug)]
enum Source {
    Connection(Incoming),
    /// A test says.
    #[cfg(test)]
    Script(Pin<Box<Script>>),
}

/// What a test says.
#[cfg(test)]
pub(crate) type Script = dyn ScriptedBody;

/// A body that a test makes.
#[cfg(test)]
pub(crate) trait ScriptedBody: Body<Data = Bytes, Error = BodyError> + Send + std::fmt::Debug {}

impl Source {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self {
            Self::Connection(incoming) => Pin::new(incoming).poll_frame(cx).map_err(BodyError::Broken),
            #[cfg(test)]
            Self::Script(body) => body.as_mut().poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Connection(incoming) => incoming.is_end_stream(),
            #[cfg(test)]
            Self::Script(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Connection(incoming) => incoming.size_hint(),
            #[cfg(test)]
            Self::Script(body) => body.size_hint(),
        }
    }
}

impl OriginBody {
    /// One that a test makes.
    #[cfg(test)]
    pub(crate) fn scripted(body: impl ScriptedBody + 'static) -> Self {
        let (incoming, idle) = (Source::Script(Box::pin(body)), IdleTimer::new(Duration::from_secs(30)));
        Self { incoming, connection: None, idle, close_delimited: false }
    }

    pub(super) fn new(
        incoming: Incoming,
        connection: Lease,
        idle_timeout: Duration,
        close_delimited: bool,
    ) -> Self {
        let mut body = Self {
            incoming: Source::Connection(incoming),
            connection: Some(connection),
            idle: IdleTimer::new(idle_timeout),
            close_delimited,
        };
        if body.incoming.is_end_stream() {
            body.give_back();
        }
        body
    }

    /// Whether only the end of the connection ends this body, so that a truncated one looks complete
    /// (RFC 9112 §6.3).
    pub fn is_close_delimited(&self) -> bool {
        self.close_delimited
    }

    fn give_back(&mut self) {
        if let Some(connection) = self.connection.take() {
            connection.give_back();
        }
    }
}

impl Body for OriginBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let polled = this.incoming.poll_frame(cx);
        let polled = this.idle.watch(polled, cx);
        let ended = match &polled {
            Poll::Ready(Some(Ok(frame))) => frame.is_trailers(),
            Poll::Ready(Some(Err(_))) | Poll::Pending => false,
            Poll::Ready(None) => true,
        };
        if ended || this.incoming.is_end_stream() {
            this.give_back();
        }
        polled.map_ok(exchange::onward)
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
