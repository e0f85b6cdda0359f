//! Slices: what is too large to be kept as one is fetched, stored and served in pieces of one size.
//!
//! Each slice is a response of its own: asked for by its `Range`, together with others who want it, stored under its own
//! key, validated, purged. What the client gets is put together from them; all must be of the same representation, by
//! strong validators (RFC 9110 §15.3.7.3). An origin that knows no ranges sends the whole, which is served and stored as
//! anywhere else.

use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, IF_RANGE, RANGE};
use http::{HeaderValue, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use tokio::sync::mpsc;
use tower::Service;

use super::fetch::{self, Quest};
use super::fill::cut;
use super::service::{Errand, Found};
use super::{Rooms, part, refresh};
use crate::exchange::{
    Answer, AnswerBody, BodyError, CacheWord, Cause, Interims, Outbound, RequestBody, Routed,
};
use crate::origin::{OriginBody, OriginError};
use crate::semantics::fields::without_where;
use crate::semantics::range::{self, ContentRange, Slice, Validators, Wanted};
use crate::semantics::validation::strip_conditions;
use crate::semantics::{CacheStatus, ForwardReason, NotStored};

/// How many pieces of a body wait for their client.
const AHEAD: usize = 4;

/// Answers a GET from slices of `size` bytes.
pub(super) async fn run<F>(
    rooms: &Arc<Rooms>,
    forward: F,
    routed: Routed,
    reason: ForwardReason,
    size: u64,
) -> Answer
where
    F: Service<Outbound, Response = Response<OriginBody>, Error = OriginError> + Clone + Send + 'static,
    F::Future: Send,
{
    let slice = Slice::wanted_first(&routed.request.head.headers, size);
    let mut answer = one(rooms, forward.clone(), routed.only(slice, Cause::Client)).await;
    let asked = &routed.request.head.headers;
    let is_own_range = asked.contains_key(RANGE) && !asked.contains_key(IF_RANGE);
    if answer.response.status() == StatusCode::RANGE_NOT_SATISFIABLE && !is_own_range {
        // The client has not asked for it: nothing is there, or less than there was.
        return fetch::run(rooms, forward, routed, Errand::Pass { reason, detail: Some(NotStored::Partial) })
            .await;
    }
    if answer.response.status() != StatusCode::PARTIAL_CONTENT {
        // Not modified, gone, failed; or whole.
        return answer;
    }
    let Some(kind) = Kind::of(&answer, slice, rooms) else {
        // What has no validator cannot be put together, and what is not the slice cannot be used.
        return fetch::run(
            rooms,
            forward,
            routed,
            Errand::Pass { reason, detail: Some(NotStored::NoValidator) },
        )
        .await;
    };
    let (head, body) = std::mem::replace(&mut answer.response, Response::new(AnswerBody::Empty)).into_parts();
    let (headers, complete) = (&routed.request.head.headers, kind.complete);
    let wanted = match range::asked(headers, complete) {
        wanted if kind.validators.hold(headers, rooms.clock.now()) => wanted,
        _ => Wanted::Whole,
    };
    let (status, fields, bytes) = match wanted {
        Wanted::Unsatisfiable => {
            answer.response = part::unsatisfiable(&head.headers, complete);
            return answer;
        }
        Wanted::Parts(parts) if parts.len() == 1 => {
            let bytes = parts[0].clone();
            let has = ContentRange { bytes: bytes.clone(), complete };
            let fields = part::single_fields(head.headers.clone(), &has).unwrap_or_default();
            (StatusCode::PARTIAL_CONTENT, fields, bytes)
        }
        // Several parts of what is large are answered with all of it, which is always allowed.
        Wanted::Parts(_) | Wanted::Whole => {
            let mut fields = without_where(head.headers.clone(), range::describes_whole);
            fields.insert(CONTENT_LENGTH, HeaderValue::from(complete));
            (StatusCode::OK, fields, 0..complete)
        }
    };
    if let Some(note) = &mut answer.note
        && note.word == CacheWord::Hit
        && !are_stored(rooms, &routed, size, &bytes)
    {
        // What is said goes for all of it.
        note.word = CacheWord::Miss;
        note.status = CacheStatus { forward: Some(ForwardReason::Partial), ..CacheStatus::default() };
    }
    let (sender, pieces) = mpsc::channel(AHEAD);
    let joined = Joined { pieces, left: bytes.end - bytes.start };
    *answer.response.body_mut() = AnswerBody::Joined(Box::new(joined));
    *answer.response.status_mut() = status;
    *answer.response.headers_mut() = fields;
    let feeder = Feeder {
        rooms: Arc::clone(rooms),
        forward,
        routed,
        kind,
        origin: slice,
        head: Some((slice, body)),
        sender,
    };
    tokio::spawn(feeder.run(bytes));
    answer
}

/// Whether there are slices for all of these bytes, for whomever.
fn are_stored(rooms: &Rooms, routed: &Routed, size: u64, bytes: &Range<u64>) -> bool {
    let key = routed.rule().and_then(|rule| rooms.key(routed, rule, rooms.clock.now()).ok());
    let last = Slice::with(bytes.end.saturating_sub(1), size).index;
    let mut indices = Slice::with(bytes.start, size).index..=last;
    key.is_some_and(|key| {
        indices.all(|index| rooms.store.peek(&key.for_slice(Slice { index, size }).text).is_some())
    })
}

/// Fetches one slice, or finds it.
async fn one<F>(rooms: &Arc<Rooms>, forward: F, routed: Routed) -> Answer
where
    F: Service<Outbound, Response = Response<OriginBody>, Error = OriginError> + Clone + Send + 'static,
    F::Future: Send,
{
    let found = match routed.rule() {
        Some(rule) => rooms.find(&routed, rule, None),
        None => Found::Errand(Errand::Pass { reason: ForwardReason::Bypass, detail: None }),
    };
    match found {
        Found::Answer(answer) => answer,
        Found::Behind { answer, stored, errand } => {
            refresh::spawn(rooms, forward, routed, &stored, errand);
            answer
        }
        Found::Errand(Errand::Fetch { reason, key, candidates, part }) => {
            let quest = Quest { reason, key, candidates, part };
            fetch::carry_out(rooms, forward, &Arc::new(routed), quest).await
        }
        Found::Errand(errand @ Errand::Pass { .. }) => fetch::run(rooms, forward, routed, errand).await,
        // What is looked for is a slice already.
        Found::Errand(Errand::Slices { reason, .. } | Errand::Part { reason, .. }) => {
            fetch::run(rooms, forward, routed, Errand::Pass { reason, detail: None }).await
        }
    }
}

impl Routed {
    /// The request for a slice of it. Only the first one is the client's own: with its conditions.
    fn only(&self, slice: Slice, cause: Cause) -> Self {
        let mut headers = self.request.head.headers.clone();
        headers.remove(IF_RANGE);
        headers.insert(RANGE, slice.to_range());
        let mut request = self.request.with(headers, RequestBody::empty());
        if self.request.cause != Cause::Refresh {
            request.cause = cause;
        }
        Self { request, route: Arc::clone(&self.route), captures: self.captures.clone(), slice: Some(slice) }
    }

    /// The request for a further slice.
    fn further(&self, slice: Slice, cause: Cause) -> Self {
        let mut further = self.only(slice, cause);
        strip_conditions(&mut further.request.head.headers);
        further.request.head.headers.insert(RANGE, slice.to_range());
        further.request.is_plain = false;
        further.request.interims = Interims::none();
        further
    }
}

/// What all slices have in common.
#[derive(Debug)]
struct Kind {
    validators: Validators,
    complete: u64,
}

impl Kind {
    fn agrees(&self, other: &Self) -> bool {
        self.complete == other.complete && self.validators.agree(&other.validators)
    }

    /// Of an answer; `None` if it is not this slice of something that can be put together.
    fn of(answer: &Answer, slice: Slice, rooms: &Rooms) -> Option<Self> {
        let headers = answer.response.headers();
        let ContentRange { bytes, complete } = ContentRange::of(headers)?;
        let validators = Validators::of(headers, rooms.clock.now())?;
        let is_partial = answer.response.status() == StatusCode::PARTIAL_CONTENT;
        (is_partial && bytes == slice.within(complete)).then_some(Self { validators, complete })
    }
}

/// Sends one slice after another to a client, as fast as it takes them.
struct Feeder<F> {
    rooms: Arc<Rooms>,
    forward: F,
    routed: Routed,
    kind: Kind,
    /// The slice that this was told by.
    origin: Slice,
    /// A slice that is there already.
    head: Option<(Slice, AnswerBody)>,
    sender: mpsc::Sender<Bytes>,
}

impl<F> Feeder<F>
where
    F: Service<Outbound, Response = Response<OriginBody>, Error = OriginError> + Clone + Send + 'static,
    F::Future: Send,
{
    /// Ends early if the client has left, or if it cannot have the rest: then its connection breaks off.
    async fn run(mut self, bytes: Range<u64>) {
        let size = self.head.as_ref().map_or(1, |(slice, _)| slice.size);
        let mut at = bytes.start;
        while at < bytes.end {
            let slice = Slice::with(at, size);
            let Some(body) = self.body(slice, Slice::with(bytes.start, size)).await else { return };
            let end = slice.within(bytes.end).end;
            if !send(&self.sender, body, slice.within(self.kind.complete).start, at..end).await {
                return;
            }
            at = end;
        }
    }

    /// `first`: the first one that was sent.
    async fn body(&mut self, slice: Slice, first: Slice) -> Option<AnswerBody> {
        if let Some((_, body)) = self.head.take_if(|(head, _)| *head == slice) {
            return Some(body);
        }
        for cause in [Cause::Client, Cause::Refresh] {
            let answer = one(&self.rooms, self.forward.clone(), self.routed.further(slice, cause)).await;
            if Kind::of(&answer, slice, &self.rooms).is_some_and(|kind| kind.agrees(&self.kind)) {
                return Some(answer.response.into_body());
            }
            // What was stored of it may be older than the rest.
        }
        // The others are older than it: whoever comes next is to get them anew.
        tracing::debug!(route = %self.routed.route.name, "what was to be put together from slices has changed");
        let origin = self.origin.index;
        self.forget((first.index..slice.index).chain([origin]), slice.size);
        None
    }

    fn forget(&self, indices: impl Iterator<Item = u64>, size: u64) {
        let Some(rule) = self.routed.rule() else { return };
        let Ok(key) = self.rooms.key(&self.routed, rule, self.rooms.clock.now()) else { return };
        for index in indices {
            self.rooms.store.retain(&key.for_slice(Slice { index, size }).text, |stored| {
                let response = &stored.response;
                let validators = Validators::of(&response.headers(), response.terms.received_at);
                !validators.is_some_and(|validators| validators.agree(&self.kind.validators))
            });
        }
    }
}

/// Sends the `wanted` bytes of a body that begins at the byte `at`. `false`: not all of them.
async fn send(sender: &mpsc::Sender<Bytes>, mut body: AnswerBody, mut at: u64, wanted: Range<u64>) -> bool {
    while at < wanted.end {
        let frame = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await;
        let Some(Ok(frame)) = frame else { return false };
        let Ok(data) = frame.into_data() else { continue };
        let start = at;
        at += data.len() as u64;
        if let Some(data) = cut(&data, start, &wanted)
            && sender.send(data).await.is_err()
        {
            return false;
        }
    }
    true
}

/// A body that is put together.
#[derive(Debug)]
pub struct Joined {
    pieces: mpsc::Receiver<Bytes>,
    left: u64,
}

impl Body for Joined {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        Poll::Ready(Some(match ready!(self.pieces.poll_recv(cx)) {
            Some(data) => {
                self.left = self.left.saturating_sub(data.len() as u64);
                Ok(Frame::data(data))
            }
            None => {
                self.left = 0;
                Err(BodyError::Incomplete)
            }
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
