//! A request body on its way to the origin: bounded in bytes, in how long it may pause, and, if its client keeps it
//! back until it is asked for (RFC 9110 §10.1.1), asked for only when the origin does.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::sync::oneshot;
use tokio::time::Sleep;

use super::{BodyError, IdleTimer};
use crate::semantics::fields::trailer_fields;

/// How long an origin may take to ask for a body before it gets it unasked: it may not know of expectations.
const PATIENCE: Duration = Duration::from_secs(1);

/// See the [module](self). Hardly any request has one, and requests are handed on many times: hence the box.
#[derive(Debug)]
pub struct RequestBody(Option<Box<Content>>);

#[derive(Debug)]
struct Content {
    /// What was read of it before and goes first.
    ahead: VecDeque<Frame<Bytes>>,
    frames: Frames,
    left: u64,
    limit: u64,
    idle: IdleTimer,
    /// Dropped with the body: then it has been sent, or given up.
    unsent: Option<oneshot::Sender<()>>,
}

#[derive(Debug)]
enum Frames {
    Empty,
    Whole(Option<Bytes>),
    Incoming(Incoming),
    Awaited(Awaited),
}

impl RequestBody {
    /// No body.
    pub fn empty() -> Self {
        Self(None)
    }

    /// A body that is all there; nothing bounds it but itself.
    pub fn whole(bytes: Bytes) -> Self {
        if bytes.is_empty() {
            return Self::empty();
        }
        Self(Some(Content::of(Frames::Whole(Some(bytes)), u64::MAX, Duration::MAX)))
    }

    /// A body that a client sends: at most `limit` bytes, with pauses of at most `idle_timeout`.
    pub fn incoming(body: Incoming, limit: u64, idle_timeout: Duration) -> Self {
        if body.is_end_stream() {
            return Self::empty();
        }
        Self(Some(Content::of(Frames::Incoming(body), limit, idle_timeout)))
    }

    /// The same again, if it is all there.
    pub fn copy(&self) -> Option<Self> {
        let Some(content) = &self.0 else { return Some(Self::empty()) };
        match &content.frames {
            Frames::Empty if content.ahead.is_empty() => Some(Self::empty()),
            Frames::Whole(bytes) if content.ahead.is_empty() => {
                Some(Self::whole(bytes.clone().unwrap_or_default()))
            }
            _ => None,
        }
    }

    /// Its bytes, if it is all there and not empty.
    pub fn as_whole(&self) -> Option<&Bytes> {
        match self.0.as_deref() {
            Some(Content { frames: Frames::Whole(bytes), ahead, .. }) if ahead.is_empty() => bytes.as_ref(),
            _ => None,
        }
    }

    /// This body with what has been read of it already put back.
    pub fn preceded_by(self, read: impl IntoIterator<Item = Frame<Bytes>>) -> Self {
        let mut content = self.0.unwrap_or_else(|| Content::of(Frames::Empty, u64::MAX, Duration::MAX));
        content.ahead = read.into_iter().collect();
        Self(Some(content))
    }

    /// Ready once the body has been sent or given up; `None` if there is nothing to send.
    pub fn sent(&mut self) -> Option<impl Future<Output = ()> + Send + use<>> {
        if self.is_end_stream() {
            return None;
        }
        let (unsent, sent) = oneshot::channel();
        if let Some(content) = &mut self.0 {
            content.unsent = Some(unsent);
        }
        Some(async move {
            // It is never sent on: the end of the other side is the message.
            let _ = sent.await;
        })
    }

    /// Whether the client has announced more than the limit.
    pub fn exceeds_limit(&self) -> bool {
        matches!(self.0.as_deref(), Some(Content { frames: Frames::Incoming(body), limit, .. }) if body.size_hint().lower() > *limit)
    }

    /// Does not read the body until it is asked for, or until nothing was heard for too long. `None` if there is none
    /// that a client sends.
    ///
    /// Reading is what makes hyper's server say "100 Continue" to the client.
    pub fn wait_for_demand(&mut self) -> Option<Demand> {
        let Self(Some(content)) = self else { return None };
        match std::mem::replace(&mut content.frames, Frames::Empty) {
            Frames::Incoming(incoming) => {
                let size_hint = incoming.size_hint();
                let state = Demand(Arc::new(Mutex::new(State::Undecided(incoming, None))));
                let demand = state.clone();
                let patience = Box::pin(tokio::time::sleep(PATIENCE));
                content.frames = Frames::Awaited(Awaited { demand: state, size_hint, patience });
                Some(demand)
            }
            // Given back unsent by a connection that was closed.
            Frames::Awaited(mut awaited) => {
                awaited.patience = Box::pin(tokio::time::sleep(PATIENCE));
                let demand = awaited.demand.clone();
                content.frames = Frames::Awaited(awaited);
                Some(demand)
            }
            other => {
                content.frames = other;
                None
            }
        }
    }
}

impl Content {
    fn of(frames: Frames, limit: u64, idle_timeout: Duration) -> Box<Self> {
        let (ahead, idle) = (VecDeque::new(), IdleTimer::new(idle_timeout));
        Box::new(Self { ahead, frames, left: limit, limit, idle, unsent: None })
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(this) = self.0.as_deref_mut() else { return Poll::Ready(None) };
        if let Some(frame) = this.ahead.pop_front() {
            return Poll::Ready(Some(Ok(frame)));
        }
        if let Frames::Awaited(awaited) = &mut this.frames {
            match ready!(awaited.poll_incoming(cx)) {
                Ok(incoming) => this.frames = Frames::Incoming(incoming),
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
        }
        let incoming = match &mut this.frames {
            Frames::Empty | Frames::Awaited(_) => return Poll::Ready(None),
            Frames::Whole(bytes) => return Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Frames::Incoming(incoming) => incoming,
        };
        let polled = Pin::new(incoming).poll_frame(cx);
        match this.idle.watch(polled.map_err(BodyError::Broken), cx) {
            Poll::Ready(Some(Ok(frame))) => {
                let length = frame.data_ref().map_or(0, |data| data.len() as u64);
                match this.left.checked_sub(length) {
                    Some(left) => this.left = left,
                    None => return Poll::Ready(Some(Err(BodyError::TooLarge { limit: this.limit }))),
                }
                Poll::Ready(Some(Ok(onward(frame))))
            }
            other => other,
        }
    }

    fn is_end_stream(&self) -> bool {
        let Some(content) = &self.0 else { return true };
        content.ahead.is_empty()
            && match &content.frames {
                Frames::Empty => true,
                Frames::Whole(bytes) => bytes.is_none(),
                Frames::Incoming(incoming) => incoming.is_end_stream(),
                Frames::Awaited(_) => false,
            }
    }

    fn size_hint(&self) -> SizeHint {
        let Some(content) = &self.0 else { return SizeHint::with_exact(0) };
        let lengths = content.ahead.iter().filter_map(Frame::data_ref).map(|data| data.len() as u64);
        let ahead: u64 = lengths.sum();
        let hint = match &content.frames {
            Frames::Empty => SizeHint::with_exact(0),
            Frames::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Frames::Incoming(incoming) => incoming.size_hint(),
            Frames::Awaited(awaited) => awaited.size_hint,
        };
        let mut whole = SizeHint::new();
        if let Some(upper) = hint.upper() {
            whole.set_upper(upper.saturating_add(ahead));
        }
        whole.set_lower(hint.lower().saturating_add(ahead));
        whole
    }
}

/// A frame as it travels on: of its trailer fields, those that may.
pub(crate) fn onward(frame: Frame<Bytes>) -> Frame<Bytes> {
    match frame.into_trailers() {
        Ok(trailers) => Frame::trailers(trailer_fields(trailers)),
        Err(frame) => frame,
    }
}

/// A body that is not read yet.
#[derive(Debug)]
struct Awaited {
    demand: Demand,
    size_hint: SizeHint,
    patience: Pin<Box<Sleep>>,
}

/// Decides whether a body that its client keeps back is read.
#[derive(Clone, Debug)]
pub struct Demand(Arc<Mutex<State>>);

#[derive(Debug)]
enum State {
    /// Not yet; who waits for it.
    Undecided(Incoming, Option<Waker>),
    /// The origin asks for it, and it has not been fetched yet.
    Asked(Incoming),
    /// It is being read.
    Read,
    /// The final response came first, and is still on its way.
    Refused(Option<Waker>),
    /// The final response came first, and is over.
    Over,
}

impl Demand {
    /// The origin asks for the body.
    pub fn ask(&self) {
        let mut state = self.state();
        match std::mem::replace(&mut *state, State::Read) {
            State::Undecided(incoming, waiting) => {
                *state = State::Asked(incoming);
                drop(state);
                waiting.into_iter().for_each(Waker::wake);
            }
            other => *state = other,
        }
    }

    /// The origin's final response is there. If it came without the body, that is given up: the client need not send it,
    /// and the origin waits for it as long as [`Refused`] lives.
    pub fn refuse(&self) -> Option<Refused> {
        let mut state = self.state();
        match std::mem::replace(&mut *state, State::Read) {
            State::Undecided(_, waiting) => {
                *state = State::Refused(waiting);
                Some(Refused(self.clone()))
            }
            other => {
                *state = other;
                None
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that holds this lock can panic half-way through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Awaited {
    fn poll_incoming(&mut self, cx: &mut Context<'_>) -> Poll<Result<Incoming, BodyError>> {
        let overdue = self.patience.as_mut().poll(cx).is_ready();
        let mut state = self.demand.state();
        match std::mem::replace(&mut *state, State::Read) {
            State::Undecided(incoming, _) if overdue => Poll::Ready(Ok(incoming)),
            State::Asked(incoming) => Poll::Ready(Ok(incoming)),
            State::Undecided(incoming, _) => {
                *state = State::Undecided(incoming, Some(cx.waker().clone()));
                Poll::Pending
            }
            State::Refused(_) => {
                *state = State::Refused(Some(cx.waker().clone()));
                Poll::Pending
            }
            State::Over | State::Read => Poll::Ready(Err(BodyError::Refused)),
        }
    }
}

/// A body that its client need not send. While this lives, the connection to the origin stands, for the response is still
/// on it; then the connection must be closed, since the next request on it would be taken for the body.
#[derive(Debug)]
pub struct Refused(Demand);

impl Drop for Refused {
    fn drop(&mut self) {
        let state = std::mem::replace(&mut *self.0.state(), State::Over);
        if let State::Refused(Some(waiting)) = state {
            waiting.wake();
        }
    }
}
