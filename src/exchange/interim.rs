//! Interim responses (RFC 9110 §15.2) on their way from the origin to the client.
//!
//! hyper's server writes final responses only. What an origin says before is put into the *outlet* of the client's
//! connection, and the stream below hyper writes it when hyper flushes. Nothing of hyper's can be torn apart by it:
//!
//! - hyper flushes its stream once all it had to write has been written, and at no other time;
//! - it has one request in hand at a time. The *turn* of that request begins when the response before it has been
//!   encoded whole, and ends before the head of its own is encoded ([`Answering`]);
//! - what is not taken during its turn is not written at all.
//!
//! So whatever is taken at a flush stands between the end of the last response and the head of the next, and
//! belongs to the latter.
//!
//! The fields of a stored response go the same way: they are lines already, and to have hyper make them from a map, the map
//! would have to be made first. hyper is given a response with one field, whose value is a *mark*, and the stream below it
//! writes the lines in the place of the marked one. Responses are written in the order of their requests, so the lines wait
//! in a queue; the marks are numbered, lest anything ever be mistaken.
//!
//! Knows neither hyper nor the stream.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Version};
use memchr::memmem;
use pin_project_lite::pin_project;

use crate::semantics::fields::end_to_end;

/// How many interim responses of one exchange are passed on; what an origin says beyond that is dropped.
const MAX_INTERIMS: usize = 32;

/// How many bytes they may be together.
const MAX_INTERIM_BYTES: usize = 32 * 1024;

/// What goes before the final responses on one connection. See the [module](self).
#[derive(Debug, Default)]
pub struct Outlet {
    /// Goes up when a turn begins and when it ends, so that it names the turn there is, if any. Only the connection's
    /// own task writes it.
    turn: AtomicU64,
    /// Something is in the queue. Spares a flush the lock.
    waiting: AtomicBool,
    queue: Mutex<Queue>,
    /// How many wait to be written. Only the connection's own task changes it.
    heads_waiting: AtomicUsize,
    heads: Mutex<Heads>,
}

/// Lines that wait for the head they belong to.
#[derive(Debug, Default)]
struct Heads {
    waiting: VecDeque<Vec<u8>>,
    /// How many there were, and how many of them have been written.
    given: usize,
    written: usize,
}

/// How many marks there are. So many responses at once do not wait on one connection.
const MARKS: usize = 8;

/// The beginning of a line that stands for others, before the number of the mark. Nobody can guess it, and no client ever sees one:
/// a body that says the same is no head.
static MARKED_LINE: LazyLock<String> = LazyLock::new(|| {
    let random = || RandomState::new().hash_one(0);
    format!("{MARKED}: {:016x}{:016x}-", random(), random())
});

/// The values of these lines, one after the other.
static MARK: LazyLock<[&str; MARKS]> = LazyLock::new(|| {
    let value = MARKED_LINE.split_once(": ").map_or("", |(_, value)| value);
    // Kept for ever, once: a value that is not shared is cheaper to copy.
    std::array::from_fn(|number| &*Box::leak(format!("{value}{number}").into_boxed_str()))
});

/// In how many bytes a mark is looked for at once.
const MAX_SEARCHED: usize = 64 * 1024;

/// How long the first line of a head is at most, in bytes.
const MAX_STATUS_LINE: usize = 128;

/// The field that is marked. hyper adds one of its own unless there is one, and the lines have it.
pub const MARKED: HeaderName = http::header::DATE;

/// Where the next lines belong, in what hyper writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextLines {
    /// In the place of this.
    At(Mark),
    /// Behind so many bytes, if not behind all of them.
    After(usize),
}

/// Where a mark is in what hyper writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Where the marked line begins.
    pub start: usize,
    /// Where the next one does.
    pub end: usize,
}

/// How much room is kept for the lines of the next head, in bytes, and how many buffers by one thread.
const KEPT_HEAD: usize = 4096;
const KEPT_HEADS: usize = 16;

thread_local! {
    /// Buffers that have been written.
    static SPARE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

#[derive(Debug, Default)]
struct Queue {
    /// Whose interim responses these are.
    turn: u64,
    bytes: Vec<u8>,
    /// How many were accepted during the turn, written ones included, and how large they were together.
    accepted: usize,
    accepted_bytes: usize,
    /// The connection's task.
    task: Option<Waker>,
}

impl Outlet {
    /// Begins the turn of the next request. It lasts until the answer given to [`Interims::before`] is ready.
    pub fn begin(self: &Arc<Self>, version: Version) -> Interims {
        // "Since HTTP/1.0 did not define any 1xx status codes, a server MUST NOT send a 1xx response to an HTTP/1.0
        // client." And what is written here is HTTP/1.1.
        if version != Version::HTTP_11 {
            return Interims::none();
        }
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) + 1;
        Interims(Some(Turn { outlet: Arc::clone(self), number: turn }))
    }

    /// What is to be written now, if an answer may be waiting for it: whoever takes it wakes the connection's task.
    /// To be asked by that task, and only when hyper flushes.
    pub fn take(&self) -> Option<Bytes> {
        if !self.waiting.load(Ordering::Acquire) {
            return None;
        }
        let mut queue = self.queue();
        self.waiting.store(false, Ordering::Relaxed);
        let bytes = std::mem::take(&mut queue.bytes);
        let timely = queue.turn == self.turn.load(Ordering::Relaxed);
        Some(if timely { bytes.into() } else { Bytes::new() })
    }

    /// Whether lines wait for the head they belong to.
    pub fn has_lines(&self) -> bool {
        self.lines_waiting() > 0
    }

    /// For how many heads lines wait, the one that is being written included.
    pub fn lines_waiting(&self) -> usize {
        self.heads_waiting.load(Ordering::Relaxed)
    }

    /// What `bytes`, of which hyper wants as much written as can be, have of the next lines.
    ///
    /// # Errors
    /// They have a mark that is not the next one's.
    pub fn next_lines(&self, bytes: &[u8]) -> Result<NextLines, Unmarked> {
        // Mostly they begin with the head, and the marked line is its first. But other heads may wait before it.
        let first = bytes.iter().take(MAX_STATUS_LINE).position(|&byte| byte == b'\n').map(|end| end + 1);
        let is_marked = |start: &usize| bytes[*start..].starts_with(MARKED_LINE.as_bytes());
        let searched = &bytes[..bytes.len().min(MAX_SEARCHED)];
        let Some(start) = first.filter(is_marked).or_else(|| memmem::find(searched, MARKED_LINE.as_bytes()))
        else {
            // What is not searched may have it, or the rest of it.
            let certain =
                if searched.len() < bytes.len() { searched.len() - MARKED_LINE.len() } else { bytes.len() };
            return Ok(NextLines::After(certain));
        };
        let rest = &bytes[start + MARKED_LINE.len()..];
        let number = self.heads().written % MARKS;
        match rest {
            [digit, b'\r', b'\n', ..] if usize::from(digit.wrapping_sub(b'0')) == number => {
                Ok(NextLines::At(Mark { start, end: start + MARKED_LINE.len() + 3 }))
            }
            _ => Err(Unmarked),
        }
    }

    /// The lines that belong to the mark that was found.
    pub fn take_lines(&self) -> Vec<u8> {
        self.heads().waiting.pop_front().unwrap_or_default()
    }

    /// Something of them has been written, and the mark is no more.
    pub fn lines_written(&self) {
        let mut heads = self.heads();
        heads.written += 1;
        self.heads_waiting.store(heads.given - heads.written, Ordering::Relaxed);
    }

    /// Gives back the room of lines that have been written.
    pub fn spare(mut lines: Vec<u8>) {
        lines.clear();
        if lines.capacity() <= KEPT_HEAD {
            SPARE.with_borrow_mut(|spare| {
                if spare.len() < KEPT_HEADS {
                    spare.push(lines);
                }
            });
        }
    }

    fn heads(&self) -> MutexGuard<'_, Heads> {
        // Nothing that holds this lock can panic half-way through a change.
        self.heads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        // Nothing that holds this lock can panic half-way through a change.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where the interim responses of one exchange go. What comes too late, or for a client that cannot take any, goes
/// nowhere.
#[derive(Clone, Debug)]
pub struct Interims(Option<Turn>);

#[derive(Clone, Debug)]
struct Turn {
    outlet: Arc<Outlet>,
    number: u64,
}

/// A head stands in the place of another: the connection must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the lines of a head do not belong to it")]
pub struct Unmarked;

impl Interims {
    /// Whether the fields of a response can be given as lines.
    pub fn take_lines(&self) -> bool {
        self.0.is_some()
    }

    /// Gives the fields of a response as lines; the value of the field [`MARKED`] that stands for them. To be called by the
    /// connection's task, once, when the response is ready.
    pub fn lines(&self, write: impl FnOnce(&mut Vec<u8>)) -> Option<HeaderValue> {
        let Turn { outlet, .. } = self.0.as_ref()?;
        let mut lines = SPARE.with_borrow_mut(Vec::pop).unwrap_or_else(|| Vec::with_capacity(512));
        write(&mut lines);
        let mut heads = outlet.heads();
        let mark = MARK[heads.given % MARKS];
        heads.waiting.push_back(lines);
        heads.given += 1;
        outlet.heads_waiting.store(heads.given - heads.written, Ordering::Relaxed);
        Some(HeaderValue::from_static(mark))
    }

    /// Of an exchange that no client waits for, or one that cannot take them.
    pub fn none() -> Self {
        Self(None)
    }

    /// Passes on an interim response of the origin, made anew from its end-to-end fields.
    pub fn send(&self, status: StatusCode, fields: &HeaderMap) {
        let Some(Turn { outlet, number }) = &self.0 else { return };
        let interim = encode(status, fields);
        let mut queue = outlet.queue();
        if outlet.turn.load(Ordering::Relaxed) != *number {
            return;
        }
        if queue.turn != *number {
            *queue = Queue { turn: *number, task: queue.task.take(), ..Queue::default() };
        }
        if queue.accepted >= MAX_INTERIMS || queue.accepted_bytes + interim.len() > MAX_INTERIM_BYTES {
            return;
        }
        queue.accepted += 1;
        queue.accepted_bytes += interim.len();
        queue.bytes.extend_from_slice(&interim);
        outlet.waiting.store(true, Ordering::Release);
        let task = queue.task.take();
        drop(queue);
        if let Some(task) = task {
            task.wake();
        }
    }

    /// Whether the client has got any, or is about to.
    pub fn any(&self) -> bool {
        self.0.as_ref().is_some_and(|Turn { outlet, number }| {
            let queue = outlet.queue();
            queue.turn == *number && queue.accepted > 0
        })
    }

    /// The answer of this exchange, held back until the interim responses that came before it have been taken. Its turn
    /// ends when it is ready.
    pub fn before<F: Future>(self, answer: F) -> Answering<F> {
        Answering { answer, held: None, end: End(self.0) }
    }
}

impl Turn {
    fn is_waiting(&self) -> bool {
        self.outlet.waiting.load(Ordering::Acquire)
    }

    /// Has `task` woken when there is something to take.
    fn watch(&self, task: &Waker) {
        let mut queue = self.outlet.queue();
        match &mut queue.task {
            Some(known) => known.clone_from(task),
            None => queue.task = Some(task.clone()),
        }
    }
}

/// Ends a turn when dropped.
#[derive(Debug)]
struct End(Option<Turn>);

impl Drop for End {
    fn drop(&mut self) {
        if let Some(turn) = &self.0 {
            turn.outlet.turn.fetch_add(1, Ordering::Relaxed);
        }
    }
}

pin_project! {
    /// An answer on its way to hyper, and its turn. See [`Interims::before`].
    #[derive(Debug)]
    pub struct Answering<F: Future> {
        #[pin]
        answer: F,
        // Boxed, since hardly any answer is held.
        held: Option<Box<F::Output>>,
        end: End,
    }
}

impl<F: Future> Future for Answering<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let answer = match this.held.take() {
            Some(held) => held,
            None => match this.answer.poll(cx) {
                Poll::Ready(answer) => match &this.end.0 {
                    Some(turn) if turn.is_waiting() => Box::new(answer),
                    _ => {
                        *this.end = End(None);
                        return Poll::Ready(answer);
                    }
                },
                Poll::Pending => {
                    if let Some(turn) = &this.end.0 {
                        turn.watch(cx.waker());
                    }
                    return Poll::Pending;
                }
            },
        };
        if this.end.0.as_ref().is_some_and(Turn::is_waiting) {
            // hyper goes on to flush, and then this task is woken.
            *this.held = Some(answer);
            return Poll::Pending;
        }
        *this.end = End(None);
        Poll::Ready(*answer)
    }
}

/// The bytes of an interim response. They say nothing that frames a message, and no content follows them.
fn encode(status: StatusCode, fields: &HeaderMap) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(256);
    for part in ["HTTP/1.1 ", status.as_str(), " ", status.canonical_reason().unwrap_or(""), "\r\n"] {
        bytes.extend_from_slice(part.as_bytes());
    }
    for (name, value) in &end_to_end(fields.clone()) {
        // "A server MUST NOT send a Content-Length header field in any response with a status code of 1xx" (§8.6)
        if name == CONTENT_LENGTH {
            continue;
        }
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            bytes.extend_from_slice(part);
        }
    }
    bytes.extend_from_slice(b"\r\n");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};
    use std::future::{pending, ready};
    use std::pin::pin;

    fn hints(lines: &[(&str, &str)]) -> HeaderMap {
        let lines = lines.iter().map(|(name, value)| {
            (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap())
        });
        lines.collect()
    }

    fn text(bytes: Option<Bytes>) -> String {
        bytes.map(|bytes| String::from_utf8(bytes.to_vec()).unwrap()).unwrap_or_default()
    }

    fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn only_what_is_meant_for_everyone_is_passed_on() {
        let received = hints(&[
            ("link", "</a.css>; rel=preload"),
            ("connection", "close, x-hop"),
            ("x-hop", "1"),
            ("transfer-encoding", "chunked"),
            ("content-length", "5"),
            ("keep-alive", "1"),
        ]);
        let check = |status, expected: &str| {
            let bytes = encode(StatusCode::from_u16(status).unwrap(), &received);
            assert_eq!(String::from_utf8(bytes).unwrap(), expected);
        };
        check(103, "HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\n\r\n");
        check(199, "HTTP/1.1 199 \r\nlink: </a.css>; rel=preload\r\n\r\n");
    }

    #[test]
    fn an_answer_waits_until_what_came_before_it_is_taken() {
        let outlet = Arc::new(Outlet::default());
        let interims = outlet.begin(Version::HTTP_11);
        let mut answer = pin!(interims.clone().before(ready(())));
        interims.send(StatusCode::PROCESSING, &HeaderMap::new());
        assert_eq!(poll(answer.as_mut()), Poll::Pending);
        assert_eq!(poll(answer.as_mut()), Poll::Pending);
        assert_eq!(text(outlet.take()), "HTTP/1.1 102 Processing\r\n\r\n");
        assert_eq!(poll(answer.as_mut()), Poll::Ready(()));
    }

    #[test]
    fn what_comes_after_its_turn_is_written_into_no_other() {
        let outlet = Arc::new(Outlet::default());
        let first = outlet.begin(Version::HTTP_11);
        assert_eq!(poll(pin!(first.clone().before(ready(())))), Poll::Ready(()));
        let send_late = || first.send(StatusCode::EARLY_HINTS, &HeaderMap::new());
        send_late();
        assert_eq!(text(outlet.take()), "");
        let second = outlet.begin(Version::HTTP_11);
        send_late();
        assert_eq!(text(outlet.take()), "");
        second.send(StatusCode::PROCESSING, &HeaderMap::new());
        // Its exchange is given up before it was taken.
        drop(second.before(pending::<()>()));
        assert_eq!(text(outlet.take()), "");
    }

    #[test]
    fn an_origin_that_does_not_stop_is_not_remembered() {
        let outlet = Arc::new(Outlet::default());
        let interims = outlet.begin(Version::HTTP_11);
        let mut taken = String::new();
        for _ in 0..10_000 {
            interims.send(StatusCode::PROCESSING, &HeaderMap::new());
            taken.push_str(&text(outlet.take()));
        }
        assert_eq!(taken.matches("HTTP/1.1 102").count(), MAX_INTERIMS);
        drop(interims.before(pending::<()>()));

        let interims = outlet.begin(Version::HTTP_11);
        let large = hints(&[("link", &"x".repeat(MAX_INTERIM_BYTES - 100))]);
        interims.send(StatusCode::EARLY_HINTS, &large);
        interims.send(StatusCode::EARLY_HINTS, &large);
        interims.send(StatusCode::PROCESSING, &HeaderMap::new());
        let taken = text(outlet.take());
        assert_eq!((taken.matches("HTTP/1.1 103").count(), taken.matches("HTTP/1.1 102").count()), (1, 1));
    }

    #[test]
    fn a_client_of_another_version_gets_none() {
        let outlet = Arc::new(Outlet::default());
        for version in [Version::HTTP_10, Version::HTTP_2] {
            outlet.begin(version).send(StatusCode::EARLY_HINTS, &HeaderMap::new());
            assert_eq!(outlet.take(), None);
        }
    }

    #[test]
    fn lines_belong_where_their_mark_is() {
        let outlet = Arc::new(Outlet::default());
        let interims = outlet.begin(Version::HTTP_11);
        let mark = |outlet: &Arc<Outlet>| {
            let value =
                outlet.begin(Version::HTTP_11).lines(|lines| lines.extend_from_slice(b"a: 1\r\n")).unwrap();
            format!("{MARKED}: {}\r\n", value.to_str().unwrap())
        };
        assert!(interims.take_lines() && !outlet.has_lines());
        let (first, second) = (mark(&outlet), mark(&outlet));
        assert_eq!(outlet.lines_waiting(), 2);
        let status = "HTTP/1.1 200 OK\r\n";
        let check =
            |bytes: &str, expected| assert_eq!(outlet.next_lines(bytes.as_bytes()), expected, "{bytes}");
        let at = |start: usize| Ok(NextLines::At(Mark { start, end: start + first.len() }));
        check(&format!("{status}{first}content-length: 5\r\n\r\nhello"), at(status.len()));
        // What is left of a status line, and another head before it.
        check(&format!(" OK\r\n{first}\r\n"), at(5));
        let other = format!("{status}content-length: 0\r\n\r\n");
        check(&format!("{other}{status}{first}\r\n"), at(other.len() + status.len()));
        check(&other, Ok(NextLines::After(other.len())));
        // A large body is written up to where a mark could begin.
        let body = "x\n".repeat(100_000);
        let Ok(NextLines::After(plain)) = outlet.next_lines(body.as_bytes()) else { panic!("there is none") };
        assert!(0 < plain && plain + first.len() < MAX_SEARCHED + 10, "{plain}");
        check(&format!("{}{first}", "x".repeat(plain)), at(plain));
        // Not the next one's, and what anybody could have written.
        check(&format!("{status}{second}\r\n"), Err(Unmarked));
        check(&format!("{status}{}x\r\n", first.trim_end()), Err(Unmarked));
        let guessed = "HTTP/1.1 200 OK\r\ndate: 00000000000000000000000000000000-0\r\n";
        check(guessed, Ok(NextLines::After(guessed.len())));
        assert_eq!(outlet.take_lines(), b"a: 1\r\n");
        outlet.lines_written();
        check(&format!("{status}{second}\r\n"), at(status.len()));
    }
}
