//! A fill: a response body that is read by any number of clients while it comes, each at its own pace, and stored once it
//! is complete.
//!
//! Complete means that the origin's message ended as its framing says: the `Content-Length` was met or the last
//! chunk was seen. A body that breaks off or stalls reaches its readers as far as it came, and breaks off for them as well.
//!
//! While a fill *keeps*, every frame of it stays, whoever has read it: new readers begin at the first byte, and a slow one
//! holds up nobody. It keeps within two bounds, one for each fill and one for all of them. Beyond either it stores nothing
//! any more and *passes on*: who reads goes on to do so, under back-pressure to the slowest of them, within a small window.
//!
//! One task drives a fill ([`Pump`]); readers never touch the origin.

use std::collections::VecDeque;
use std::ops::Range;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use slab::Slab;
use tokio::sync::Notify;

use super::pending::Pending;
use super::{Rooms, body_tags};
use crate::exchange::{AnswerBody, BodyError, Routed};
use crate::origin::OriginBody;
use crate::store::Memory;

/// How many bytes a fill that passes on runs ahead of its slowest reader.
const WINDOW_BYTES: u64 = 256 * 1024;

/// How long the slowest reader of a fill that passes on may hold up the others.
const MAX_STALL: Duration = Duration::from_secs(10);

/// What a frame costs beside its bytes.
const FRAME_OVERHEAD_BYTES: u64 = 64;

/// A stored body of more than this is put together where it holds up nobody, in bytes.
const LARGE_BODY_BYTES: u64 = 4 * 1024 * 1024;

/// The memory that all fills share.
#[derive(Debug)]
pub struct FillRoom {
    capacity_bytes: u64,
    taken_bytes: AtomicU64,
}

impl FillRoom {
    /// Room for so many bytes.
    pub fn new(capacity_bytes: u64) -> Self {
        Self { capacity_bytes, taken_bytes: AtomicU64::new(0) }
    }

    /// The bytes that fills keep at present.
    pub fn taken_bytes(&self) -> u64 {
        self.taken_bytes.load(Ordering::Relaxed)
    }

    fn take(&self, bytes: u64) -> bool {
        let fits = |taken: u64| taken.checked_add(bytes).filter(|taken| *taken <= self.capacity_bytes);
        self.taken_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok()
    }

    fn give_back(&self, bytes: u64) {
        self.taken_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// Those who wait for a response or read it.
#[derive(Clone, Debug, Default)]
pub(super) struct Audience(Arc<Seats>);

#[derive(Debug, Default)]
struct Seats {
    taken: AtomicUsize,
    left: Notify,
}

/// One of an [`Audience`], until it is dropped.
#[derive(Debug)]
pub(super) struct Seat(Arc<Seats>);

impl Audience {
    /// One more.
    pub(super) fn seat(&self) -> Seat {
        self.0.taken.fetch_add(1, Ordering::Relaxed);
        Seat(Arc::clone(&self.0))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.taken.load(Ordering::Acquire) == 0
    }

    /// Ready once nobody is left.
    pub(super) async fn left(&self) {
        while !self.is_empty() {
            self.0.left.notified().await;
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if self.0.taken.fetch_sub(1, Ordering::AcqRel) == 1 {
            // Kept for the one who drives it, if it does not listen right now.
            self.0.left.notify_one();
        }
    }
}

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Fill {
    state: Mutex<State>,
    /// How many bytes the whole has, where that is known.
    length: Option<u64>,
    max_bytes: u64,
    room: Arc<FillRoom>,
}

#[derive(Debug)]
struct State {
    frames: VecDeque<Bytes>,
    /// How many frames there were before these.
    gone: u64,
    /// Of the frames.
    held_bytes: u64,
    /// Every frame is there, and stays.
    keeping: bool,
    /// The frames are parts of a body that is stored.
    shared: bool,
    end: Option<End>,
    places: Slab<Place>,
    writer: Option<Waker>,
}

#[derive(Clone, Debug)]
enum End {
    Complete(Option<Arc<HeaderMap>>),
    Broken,
}

/// Where a reader is.
#[derive(Debug)]
struct Place {
    /// The number of the next frame.
    next: u64,
    waker: Option<Waker>,
    /// It has held up others for too long.
    cut: bool,
}

/// What is there for a reader.
enum Next {
    Data(Bytes),
    End(Option<Arc<HeaderMap>>),
    Broken,
}

impl Fill {
    /// `length`: of the whole, where it is known. `ahead`: what is there already and goes first.
    pub(super) fn new(room: &Arc<FillRoom>, max_bytes: u64, length: Option<u64>, ahead: Bytes) -> Arc<Self> {
        let state = State {
            frames: VecDeque::new(),
            gone: 0,
            held_bytes: 0,
            keeping: true,
            shared: false,
            end: None,
            places: Slab::new(),
            writer: None,
        };
        let fill = Self { state: Mutex::new(state), length, max_bytes, room: Arc::clone(room) };
        fill.append(ahead);
        Arc::new(fill)
    }

    /// A reader that begins at the first byte. `None`: that is gone, or the body has broken off.
    pub(super) fn reader(self: &Arc<Self>, seat: Seat, takes_trailers: bool) -> Option<Reader> {
        let mut state = self.lock();
        if !state.is_open() {
            return None;
        }
        let place = state.places.insert(Place { next: 0, waker: None, cut: false });
        drop(state);
        let fill = Arc::clone(self);
        Some(Reader { fill, place, _seat: seat, takes_trailers, read: 0, part: None, done: false })
    }

    /// Whether a reader may still begin at the first byte.
    pub(super) fn is_open(&self) -> bool {
        self.lock().is_open()
    }

    /// Whether every frame is there, and stays.
    fn is_keeping(&self) -> bool {
        self.lock().keeping
    }

    /// Adds a frame. Readers are told of it by [`wake_readers`](State::wake_readers).
    fn append(&self, data: Bytes) {
        if data.is_empty() {
            return;
        }
        let mut state = self.lock();
        let bytes = data.len() as u64;
        if state.keeping
            && (state.held_bytes + bytes > self.max_bytes || !self.room.take(bytes + FRAME_OVERHEAD_BYTES))
        {
            self.room.give_back(state.cost());
            state.keeping = false;
            state.forget_read();
        }
        state.held_bytes += bytes;
        state.frames.push_back(data);
    }

    /// All that came, to be stored. A frame keeps alive the whole buffer that the connection read it into; a stored body takes
    /// what it weighs.
    fn body(&self, store: &Memory) -> Bytes {
        // Put together without the lock: readers need it meanwhile.
        let frames: Vec<Bytes> = self.lock().frames.iter().cloned().collect();
        store.gathered(&frames)
    }

    /// From now on the frames are parts of a body that is stored, and cost nothing of their own.
    fn share(&self, body: &Bytes) {
        let mut state = self.lock();
        let mut start = 0;
        for frame in &mut state.frames {
            let end = start + frame.len();
            *frame = body.slice(start..end);
            start = end;
        }
        self.room.give_back(state.cost());
        state.shared = true;
    }

    fn end(&self, end: End) {
        let mut state = self.lock();
        if state.end.is_none() {
            state.end = Some(end);
            state.wake_readers();
        }
    }

    /// Whether there is no room for another frame.
    fn is_full(&self) -> bool {
        let state = self.lock();
        !state.keeping && state.held_bytes >= WINDOW_BYTES
    }

    fn poll_room(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if state.keeping || state.held_bytes < WINDOW_BYTES {
            return Poll::Ready(());
        }
        state.writer = Some(cx.waker().clone());
        Poll::Pending
    }

    /// The slowest hold up the others: they break off.
    fn cut_slowest(&self) {
        let mut state = self.lock();
        let slowest = state.places.iter().filter(|(_, place)| !place.cut).map(|(_, place)| place.next).min();
        let fastest = state.places.iter().map(|(_, place)| place.next).max();
        if slowest == fastest {
            // Nobody else waits: it may take its time.
            return;
        }
        for (_, place) in &mut state.places {
            place.cut |= Some(place.next) == slowest;
        }
        state.forget_read();
        state.wake_readers();
    }

    fn poll_next(&self, place: usize, cx: &mut Context<'_>) -> Poll<Next> {
        let mut state = self.lock();
        let State { frames, gone, keeping, end, places, .. } = &mut *state;
        let Some(place) = places.get_mut(place).filter(|place| !place.cut) else {
            return Poll::Ready(Next::Broken);
        };
        let index = usize::try_from(place.next - *gone).unwrap_or(usize::MAX);
        if let Some(frame) = frames.get(index) {
            let frame = frame.clone();
            place.next += 1;
            if !*keeping {
                state.forget_read();
            }
            return Poll::Ready(Next::Data(frame));
        }
        match end {
            Some(End::Complete(trailers)) => Poll::Ready(Next::End(trailers.clone())),
            Some(End::Broken) => Poll::Ready(Next::Broken),
            None => {
                place.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    fn leave(&self, place: usize) {
        let mut state = self.lock();
        state.places.remove(place);
        if !state.keeping {
            state.forget_read();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that holds this lock can panic half-way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Fill {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        self.room.give_back(state.cost());
    }
}

impl State {
    fn is_open(&self) -> bool {
        self.gone == 0 && !matches!(self.end, Some(End::Broken))
    }

    /// What the frames take of the room of all fills.
    fn cost(&self) -> u64 {
        let kept = self.keeping && !self.shared;
        if kept { self.held_bytes + self.frames.len() as u64 * FRAME_OVERHEAD_BYTES } else { 0 }
    }

    /// Gives up the frames that everyone has read.
    fn forget_read(&mut self) {
        let slowest = self.places.iter().filter(|(_, place)| !place.cut).map(|(_, place)| place.next).min();
        let slowest = slowest.unwrap_or(self.gone + self.frames.len() as u64);
        while self.gone < slowest {
            let Some(frame) = self.frames.pop_front() else { break };
            self.held_bytes -= frame.len() as u64;
            self.gone += 1;
        }
        if self.held_bytes < WINDOW_BYTES
            && let Some(writer) = self.writer.take()
        {
            writer.wake();
        }
    }

    fn wake_readers(&mut self) {
        for (_, place) in &mut self.places {
            if let Some(waker) = place.waker.take() {
                waker.wake();
            }
        }
    }
}

/// What drives a fill.
#[derive(Debug)]
pub(super) struct Pump {
    pub(super) fill: Arc<Fill>,
    pub(super) origin: OriginBody,
    pub(super) pending: Option<Pending>,
    pub(super) audience: Audience,
    /// It goes on though nobody reads.
    pub(super) outlives: bool,
}

/// What a step of a [`Pump`] led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// There is more to come.
    More,
    /// There is more to come, but it is passed on only.
    GaveUp,
    /// Nobody reads it any more, and it would not be stored.
    Deserted,
    /// It is over, and stored if it was to be.
    Over,
}

impl Pump {
    /// A body that is read, and stored, by itself; ahead of it goes what is there already.
    pub(super) fn of(rooms: &Rooms, ahead: Bytes, origin: OriginBody, audience: &Audience) -> Self {
        let length = origin.size_hint().exact().map(|length| length + ahead.len() as u64);
        let fill = Fill::new(&rooms.fills, rooms.store.limits().max_object_bytes, length, ahead);
        Self { fill, origin, pending: None, audience: audience.clone(), outlives: false }
    }

    /// The same; what comes is stored in the end, though nobody may read it any more.
    pub(super) fn storing(mut self, pending: Pending) -> Self {
        (self.pending, self.outlives) = (Some(pending), true);
        self
    }

    /// Stores a body while one client reads it.
    pub(super) fn stream(rooms: &Rooms, origin: OriginBody, pending: Pending, routed: &Routed) -> AnswerBody {
        let audience = Audience::default();
        let pump = Self::of(rooms, Bytes::new(), origin, &audience).storing(pending);
        let reader = pump.fill.reader(audience.seat(), routed.request.takes_trailers);
        pump.spawn(rooms);
        reader.map_or(AnswerBody::Empty, |reader| AnswerBody::Fill(Box::new(reader)))
    }

    /// Drives it to its end in a task of its own.
    pub(super) fn spawn(mut self, rooms: &Rooms) {
        // Without a place it ends with its readers, and these have places of their own.
        let place = rooms.flights.place();
        self.outlives &= place.is_some();
        tokio::spawn(async move {
            let mut step = self.start().await;
            while !matches!(step, Step::Over | Step::Deserted) {
                step = self.step().await;
            }
            drop(place);
        });
    }

    /// A fill whose whole is there with its head is over before anyone reads of it.
    pub(super) async fn start(&mut self) -> Step {
        if self.origin.is_end_stream() { self.complete(None).await } else { Step::More }
    }

    /// Takes one frame.
    pub(super) async fn step(&mut self) -> Step {
        let keeping = self.fill.is_keeping();
        // Then it is a reader that is waited for, and not the origin.
        let is_full = self.fill.is_full();
        let outlives = keeping && self.outlives && self.is_worth_storing();
        let (fill, origin) = (&self.fill, &mut self.origin);
        let next = std::future::poll_fn(|cx| {
            ready!(fill.poll_room(cx));
            Pin::new(&mut *origin).poll_frame(cx)
        });
        let frame = tokio::select! {
            biased;
            frame = next => frame,
            () = self.audience.left(), if !outlives => return Step::Deserted,
            () = tokio::time::sleep(MAX_STALL), if is_full => {
                self.fill.cut_slowest();
                return Step::More;
            }
        };
        match frame {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => {
                    self.fill.append(data);
                    let gave_up = keeping && !self.fill.is_keeping();
                    if gave_up {
                        self.pending = None;
                    }
                    // Whoever reads by Content-Length does not ask again after the last byte, and may come back with its
                    // next request at once: so the last byte is stored before it is sent.
                    if self.origin.is_end_stream() {
                        return self.complete(None).await;
                    }
                    self.fill.lock().wake_readers();
                    if gave_up { Step::GaveUp } else { Step::More }
                }
                Err(frame) => {
                    let trailers = frame.into_trailers().ok().filter(|trailers| !trailers.is_empty());
                    self.complete(trailers).await
                }
            },
            Some(Err(error)) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "a response broke off");
                self.fill.end(End::Broken);
                Step::Over
            }
            None => self.complete(None).await,
        }
    }

    /// What nobody reads and what is stale before it is there is not: it may have no end.
    fn is_worth_storing(&self) -> bool {
        let is_fresh = |pending: &Pending| pending.response.terms.is_fresh(pending.rooms.clock.now());
        self.pending.as_ref().is_some_and(is_fresh)
    }

    async fn complete(&mut self, trailers: Option<HeaderMap>) -> Step {
        let trailers = trailers.map(Arc::new);
        if let Some(pending) = self.pending.take() {
            let (fill, trailers) = (Arc::clone(&self.fill), trailers.clone());
            let large = if pending.reads_tags() { body_tags::LARGE_BODY_BYTES } else { LARGE_BODY_BYTES };
            let is_large = fill.lock().held_bytes > large;
            let reading = match is_large && pending.reads_tags() {
                true => body_tags::READING.acquire().await.ok(),
                false => None,
            };
            let store = move || {
                let body = fill.body(&pending.rooms.store);
                fill.share(&body);
                pending.store(body, trailers);
            };
            if !is_large {
                store();
            } else if let Err(error) = tokio::task::spawn_blocking(store).await {
                tracing::error!(%error, "a response was not stored");
            }
            drop(reading);
        }
        self.fill.end(End::Complete(trailers));
        Step::Over
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        // Whatever ended it before its time.
        self.fill.end(End::Broken);
    }
}

/// One client's way through a fill.
#[derive(Debug)]
pub struct Reader {
    fill: Arc<Fill>,
    place: usize,
    _seat: Seat,
    takes_trailers: bool,
    read: u64,
    /// It reads only these bytes.
    part: Option<Range<u64>>,
    done: bool,
}

impl Reader {
    /// The same, for one part only. To be said before anything is read.
    pub(super) fn only(mut self, part: Range<u64>) -> Self {
        self.part = Some(part);
        self
    }
}

impl Body for Reader {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        while !this.done {
            return Poll::Ready(match ready!(this.fill.poll_next(this.place, cx)) {
                Next::Data(data) => {
                    let start = this.read;
                    this.read += data.len() as u64;
                    let Some(part) = &this.part else { return Poll::Ready(Some(Ok(Frame::data(data)))) };
                    this.done = this.read >= part.end;
                    match cut(&data, start, part) {
                        Some(data) => Some(Ok(Frame::data(data))),
                        None => continue,
                    }
                }
                Next::End(trailers) => {
                    this.done = true;
                    let trailers = trailers.filter(|_| this.takes_trailers);
                    trailers.map(|trailers| Ok(Frame::trailers(HeaderMap::clone(&trailers))))
                }
                Next::Broken => {
                    this.done = true;
                    Some(Err(BodyError::Incomplete))
                }
            });
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        if self.done {
            return true;
        }
        let state = self.fill.lock();
        let is_last = |place: &Place| place.next == state.gone + state.frames.len() as u64 && !place.cut;
        match &state.end {
            Some(End::Complete(trailers)) => {
                (trailers.is_none() || !self.takes_trailers)
                    && state.places.get(self.place).is_some_and(is_last)
            }
            _ => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        let left = match &self.part {
            Some(part) => Some(part.end.saturating_sub(self.read.max(part.start))),
            None => self.fill.length.map(|length| length.saturating_sub(self.read)),
        };
        left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// What of `data`, which begins at the byte `start`, is in `part`; `None`: nothing.
pub(super) fn cut(data: &Bytes, start: u64, part: &Range<u64>) -> Option<Bytes> {
    let end = start + data.len() as u64;
    let (from, to) = (part.start.clamp(start, end), part.end.clamp(start, end));
    let place = |byte: u64| usize::try_from(byte - start).ok();
    let (from, to) = (place(from)?, place(to)?);
    (from < to).then(|| data.slice(from..to))
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.fill.leave(self.place);
    }
}
