//! HTTP/1.1 (RFC 9112) on one connection, by hyper, and what it costs while nothing happens.
//!
//! hyper keeps buffers for a connection that has nothing to say. So a connection that has been idle for a second is taken
//! apart, and *sleeps*: all that is left is the stream, waiting for a byte, and who answers what comes then. It can be taken
//! apart only between two exchanges, with everything written; what hyper had read of a next head goes back before what
//! follows. Of one deadline both see the same end: from one exchange to the next head, asleep or awake.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::TokioIo;
use pin_project_lite::pin_project;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Sleep, sleep};

use super::connection::Terms;
use super::patient::Patient;
use super::preface::Peekable;
use crate::clock::Stopwatch;
use crate::config;

/// How long a connection is idle before it sleeps. Who asks again sooner than this finds everything in place.
const WAKEFULNESS: Duration = Duration::from_secs(1);

/// What goes on on a connection, for whoever polls it to see: hyper has stream and service to itself.
#[derive(Debug, Default)]
pub(super) struct Activity {
    /// An exchange has begun since this was asked last.
    begun: AtomicBool,
    /// An exchange is under way.
    exchange: AtomicBool,
    /// The last request had content, and nothing tells whether hyper has read it all.
    content: AtomicBool,
    /// What is to be written waits for the client.
    held_up: AtomicBool,
}

impl Activity {
    /// Whether what is to be written waits for the client.
    pub(super) fn set_held_up(&self, held_up: bool) {
        self.held_up.store(held_up, Ordering::Relaxed);
    }

    fn has_begun(&self) -> bool {
        self.begun.swap(false, Ordering::Relaxed)
    }

    fn is_busy(&self) -> bool {
        self.exchange.load(Ordering::Relaxed) || self.held_up.load(Ordering::Relaxed)
    }

    fn is_between_messages(&self) -> bool {
        !self.is_busy() && !self.content.load(Ordering::Relaxed)
    }
}

/// The end of a connection's idleness: when nothing more is waited for.
#[derive(Debug)]
pub(super) struct Patience {
    limit: Duration,
    since: Stopwatch,
    timer: Pin<Box<Sleep>>,
}

impl Patience {
    /// Begins now.
    pub(super) fn new(limit: Duration) -> Self {
        Self { limit, since: Stopwatch::start(), timer: Box::pin(sleep(limit)) }
    }

    /// Ready at its end.
    pub(super) async fn over(&mut self) {
        while !self.left().is_zero() {
            poll_fn(|cx| self.timer.as_mut().poll(cx)).await;
            self.look_again_in(self.left());
        }
    }

    fn left(&self) -> Duration {
        self.less(self.limit)
    }

    /// What is left of a time that began when this did.
    fn less(&self, time: Duration) -> Duration {
        time.saturating_sub(self.since.elapsed())
    }

    fn begin(&mut self) {
        self.since = Stopwatch::start();
    }

    fn look_again_in(&mut self, time: Duration) {
        self.timer.as_mut().set(sleep(time));
    }
}

/// How a connection stopped being awake.
enum Outcome {
    Ended(hyper::Result<()>),
    Sleeps,
}

/// Serves one connection, of which the first bytes are there, until it ends or the server drains.
///
/// # Errors
/// Why it ended otherwise than between two requests.
pub(super) async fn serve<T, S, B>(
    mut stream: Patient<Peekable<T>>,
    service: S,
    activity: Arc<Activity>,
    mut patience: Patience,
    mut terms: Terms<'_>,
) -> hyper::Result<()>
where
    T: AsyncRead + AsyncWrite + Unpin,
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    B: Body<Error: Into<Box<dyn std::error::Error + Send + Sync>>> + 'static,
{
    let builder = builder(terms.settings);
    let mut service = Exchanges { service, activity };
    let mut stopped = pin!(terms.stopped());
    let mut leaving = false;
    // Not after it was woken for nothing: what hyper has read of a head it would read again, and again.
    let mut may_sleep = true;
    loop {
        let activity = Arc::clone(&service.activity);
        // On its own, so that it is gone while the connection sleeps.
        let mut connection = Box::new(builder.serve_connection(TokioIo::new(stream), service));
        let mut busy = false;
        patience.look_again_in(patience.left().min(WAKEFULNESS));
        let outcome = poll_fn(|cx| {
            loop {
                if let Poll::Ready(ended) = Pin::new(&mut *connection).poll(cx) {
                    return Poll::Ready(Outcome::Ended(ended));
                }
                if !leaving && stopped.as_mut().poll(cx).is_ready() {
                    leaving = true;
                    Pin::new(&mut *connection).graceful_shutdown();
                    continue;
                }
                let was_busy = std::mem::replace(&mut busy, activity.is_busy());
                if activity.has_begun() || was_busy {
                    patience.begin();
                    may_sleep = true;
                }
                ready!(patience.timer.as_mut().poll(cx));
                let (left, awake) = (patience.left(), patience.less(WAKEFULNESS));
                if busy {
                    patience.look_again_in(WAKEFULNESS);
                } else if left.is_zero() {
                    return Poll::Ready(Outcome::Ended(Ok(())));
                } else if leaving || !may_sleep || !activity.is_between_messages() {
                    patience.look_again_in(left);
                } else if awake.is_zero() {
                    return Poll::Ready(Outcome::Sleeps);
                } else {
                    patience.look_again_in(awake.min(left));
                }
            }
        });
        match outcome.await {
            Outcome::Ended(ended) => return ended,
            Outcome::Sleeps => {}
        }
        let http1::Parts { io, read_buf, service: taken, .. } = connection.into_parts();
        (stream, service) = (io.into_inner(), taken);
        if !read_buf.is_empty() {
            stream.inner().put_back(&read_buf);
            may_sleep = false;
            continue;
        }
        patience.look_again_in(patience.left());
        tokio::select! {
            biased;
            more = stream.inner().peek() => match more {
                Ok(true) => {}
                // It has left between two requests.
                Ok(false) | Err(_) => return Ok(()),
            },
            () = patience.over() => return Ok(()),
            () = stopped.as_mut() => return Ok(()),
        }
    }
}

fn builder(settings: &config::Server) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        // Without a timer: the time for a head is ours to take.
        .max_header_size(settings.max_head_bytes)
        .max_buf_size(settings.max_head_bytes.max(64 * 1024));
    // Not `pipeline_flush`: with it, hyper does not flush its answer to a head it cannot parse.
    builder
}

/// The service of one connection, noting what goes on.
#[derive(Debug)]
struct Exchanges<S> {
    service: S,
    activity: Arc<Activity>,
}

impl<S, B> Service<Request<Incoming>> for Exchanges<S>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
{
    type Response = Response<Noted<B>>;
    type Error = Infallible;
    type Future = Exchange<S::Future>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let activity = &self.activity;
        activity.begun.store(true, Ordering::Relaxed);
        activity.exchange.store(true, Ordering::Relaxed);
        activity.content.store(!request.body().is_end_stream(), Ordering::Relaxed);
        let over = Over(Arc::clone(activity));
        Exchange { answer: self.service.call(request), over: Some(over) }
    }
}

/// Ends an exchange when dropped.
#[derive(Debug)]
struct Over(Arc<Activity>);

impl Drop for Over {
    fn drop(&mut self) {
        self.0.exchange.store(false, Ordering::Relaxed);
    }
}

pin_project! {
    /// An answer on its way.
    struct Exchange<F> {
        #[pin]
        answer: F,
        over: Option<Over>,
    }
}

impl<F, B> Future for Exchange<F>
where
    F: Future<Output = Result<Response<B>, Infallible>>,
{
    type Output = Result<Response<Noted<B>>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Ok(response) = ready!(this.answer.poll(cx));
        let over = this.over.take();
        Poll::Ready(Ok(response.map(|body| Noted { body, over })))
    }
}

pin_project! {
    /// A body, and the exchange that ends with it.
    struct Noted<B> {
        #[pin]
        body: B,
        over: Option<Over>,
    }
}

impl<B: Body> Body for Noted<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        self.project().body.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use http_body_util::Full;
    use hyper::service::service_fn;
    use std::io;
    use std::sync::atomic::AtomicUsize;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadBuf, duplex};
    use tokio::sync::watch;
    use tokio::task::JoinHandle;

    use crate::exchange::Outlet;

    /// A pipe that knows for how many bytes it was asked last: hyper has room for many, and a sleeper for few.
    #[derive(Debug)]
    struct Pipe {
        stream: DuplexStream,
        asked: Arc<AtomicUsize>,
    }

    impl AsyncRead for Pipe {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            self.asked.store(buffer.remaining(), Ordering::Relaxed);
            Pin::new(&mut self.stream).poll_read(cx, buffer)
        }
    }

    impl AsyncWrite for Pipe {
        fn poll_write(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            Pin::new(&mut self.stream).poll_write(cx, bytes)
        }

        fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.stream).poll_flush(cx)
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.stream).poll_shutdown(cx)
        }
    }

    /// With the shipped limits.
    fn plan() -> config::Plan {
        let text = "upstreams: { app: { servers: 'http://127.0.0.1:1' } }\n\
                    routes: [{ name: all, match: { path: '/{*rest}' }, upstream: app }]\n";
        config::compile_text("test.yaml", text, &|_| None).unwrap()
    }

    struct Client {
        stream: DuplexStream,
        asked: Arc<AtomicUsize>,
        served: JoinHandle<bool>,
        stop: watch::Sender<bool>,
    }

    const GET: &str = "GET /5 HTTP/1.1\r\nHost: a.test\r\n\r\n";

    impl Client {
        /// `/500` is answered with 500 bytes.
        fn connect() -> Self {
            let (client, server) = duplex(1000);
            let asked = Arc::new(AtomicUsize::new(0));
            let pipe = Pipe { stream: server, asked: Arc::clone(&asked) };
            let (stop, stopping) = watch::channel(false);
            let served = tokio::spawn(async move {
                let plan = plan();
                let service = service_fn(|request: Request<Incoming>| async move {
                    let length = request.uri().path()[1..].parse().unwrap();
                    Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(vec![b'x'; length]))))
                });
                let patience = Patience::new(plan.server.head_timeout);
                let (outlet, activity) = (Arc::<Outlet>::default(), Arc::<Activity>::default());
                let limit = plan.server.write_stall_timeout;
                let stream = Patient::new(Peekable::new(pipe), limit, outlet, Arc::clone(&activity));
                let terms = Terms { settings: &plan.server, http2: false, stopping };
                serve(stream, service, activity, patience, terms).await.is_ok()
            });
            Self { stream: client, asked, served, stop }
        }

        async fn write(&mut self, bytes: &str) {
            self.stream.write_all(bytes.as_bytes()).await.unwrap();
        }

        /// Reads one response of five bytes.
        async fn read(&mut self) {
            let mut read = Vec::new();
            while !read.ends_with(b"\r\n\r\nxxxxx") {
                assert!(
                    self.stream.read_buf(&mut read).await.unwrap() > 0,
                    "{}",
                    String::from_utf8_lossy(&read)
                );
            }
            assert!(read.starts_with(b"HTTP/1.1 200 OK\r\n"));
        }

        fn sleeps(&self) -> bool {
            self.asked.load(Ordering::Relaxed) < 100
        }
    }

    #[tokio::test]
    async fn what_serves_a_connection_is_small() {
        let plan = plan();
        let service = service_fn(|_: Request<Incoming>| async {
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::new())))
        });
        let (outlet, activity) = (Arc::<Outlet>::default(), Arc::<Activity>::default());
        let stream = Peekable::new(duplex(1).0);
        let stream = Patient::new(stream, Duration::MAX, outlet, Arc::clone(&activity));
        let (_stop, stopping) = watch::channel(false);
        let terms = Terms { settings: &plan.server, http2: false, stopping };
        let serving = serve(stream, service, activity, Patience::new(Duration::MAX), terms);
        let size = size_of_val(&serving);
        assert!(size <= 1024, "{size}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_slept_serves_again() {
        let mut client = Client::connect();
        for _ in 0..5 {
            client.write(GET).await;
            client.read().await;
            sleep(WAKEFULNESS / 2).await;
            assert!(!client.sleeps());
            sleep(WAKEFULNESS * 2).await;
            assert!(client.sleeps());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_as_it_falls_asleep_is_not_lost() {
        let two = GET.repeat(2);
        for offset in 0..20 {
            for split in [1, 10, 23, 24, 25, GET.len() - 1, GET.len(), GET.len() + 1, two.len()] {
                let mut client = Client::connect();
                client.write(GET).await;
                client.read().await;
                sleep(WAKEFULNESS - Duration::from_millis(10) + Duration::from_millis(offset)).await;
                client.write(&two[..split]).await;
                sleep(WAKEFULNESS * 2).await;
                client.write(&two[split..]).await;
                let mut read = Vec::new();
                while String::from_utf8_lossy(&read).matches("xxxxx").count() < 2 {
                    assert!(client.stream.read_buf(&mut read).await.unwrap() > 0, "{offset} {split}");
                }
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn asleep_or_awake_it_waits_as_long_for_the_next_head() {
        for first in ["", "G", &GET[..GET.len() - 1]] {
            let mut client = Client::connect();
            client.write(GET).await;
            client.read().await;
            let begun = Stopwatch::start();
            sleep(WAKEFULNESS * 3).await;
            client.write(first).await;
            assert_eq!(client.stream.read(&mut [0; 10]).await.unwrap(), 0, "{first:?}");
            let waited = begun.elapsed();
            assert!((9_900..10_100).contains(&waited.as_millis()), "{first:?} {waited:?}");
            assert!(client.served.await.unwrap());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_shutdown_ends_a_connection_that_sleeps_at_once() {
        let mut client = Client::connect();
        client.write(GET).await;
        client.read().await;
        sleep(WAKEFULNESS * 2).await;
        assert!(client.sleeps());
        let begun = Stopwatch::start();
        client.stop.send(true).unwrap();
        assert_eq!(client.stream.read(&mut [0; 10]).await.unwrap(), 0);
        client.served.await.unwrap();
        assert!(begun.elapsed() < Duration::from_millis(10));
    }

    #[tokio::test(start_paused = true)]
    async fn a_response_that_is_read_slowly_is_neither_idleness_nor_sleep() {
        let mut client = Client::connect();
        client.write("GET /20000 HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
        let mut read = Vec::new();
        while read.iter().filter(|&&byte| byte == b'x').count() < 20_000 {
            sleep(WAKEFULNESS * 2).await;
            // What the pipe holds has been written.
            assert!(read.len() > 18_000 || !client.sleeps());
            assert!(client.stream.read_buf(&mut read).await.unwrap() > 0, "{}", read.len());
        }
        client.write(GET).await;
        client.read().await;
    }

    #[tokio::test(start_paused = true)]
    async fn content_that_is_still_coming_is_not_taken_for_a_head() {
        let mut client = Client::connect();
        client.write("POST /5 HTTP/1.1\r\nHost: a.test\r\nContent-Length: 40\r\n\r\n0123456789").await;
        client.read().await;
        sleep(WAKEFULNESS * 2).await;
        assert!(!client.sleeps());
        let _ = client.stream.write_all(b"GET /5 HTTP/1.1\r\nHost: b.test\r\n\r\n").await;
        let mut rest = Vec::new();
        let _ = client.stream.read_to_end(&mut rest).await;
        assert!(rest.is_empty(), "{}", String::from_utf8_lossy(&rest));
    }

    #[tokio::test(start_paused = true)]
    async fn a_last_response_is_no_reason_to_sleep() {
        let mut client = Client::connect();
        client.write("GET /5 HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n").await;
        client.read().await;
        let begun = Stopwatch::start();
        assert_eq!(client.stream.read(&mut [0; 10]).await.unwrap(), 0);
        // It lingers for what is still sent.
        assert!(client.served.await.unwrap());
        assert!(begun.elapsed() <= Duration::from_millis(1100));
    }
}
