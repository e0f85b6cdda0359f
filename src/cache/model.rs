//! A model of fetching: random schedules of clients, an origin, purges and time, and a record of everything that happened,
//! over which the promises of `fetch`, `flight` and `fill` are checked. Time is virtual; a schedule is its seed.
//!
//! `MODEL_SEED=7 MODEL_SCHEDULES=1` runs one again, `MODEL_SCHEDULES=100000` many.

use std::collections::{HashMap, VecDeque};
use std::net::Ipv4Addr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;
use http::{HeaderMap, Method, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep, timeout};
use tower::{Layer, Service};

use super::{Cache, CacheLayer, Rooms};
use crate::clock::Clock;
use crate::config;
use crate::exchange::{BodyError, Outbound};
use crate::inspect::{Asked, fields};
use crate::invalidation::{Strength, Target};
use crate::origin::{OriginBody, OriginError, ScriptedBody};
use crate::server::{Assembled, assemble};

/// What a schedule is made of.
#[derive(Clone, Copy, Debug)]
struct Setting {
    /// The route's `cache:`.
    cache: &'static str,
    /// Whether every response is fresh, shareable and whole, and nobody purges or asks for the origin's word.
    calm: bool,
}

const SETTINGS: [Setting; 7] = [
    Setting { cache: "{}", calm: true },
    Setting { cache: "{}", calm: false },
    Setting { cache: "{ collapse: { outlive_client: false } }", calm: false },
    Setting { cache: "{ collapse: { wait: 300ms, parallel: 2, unshared_for: 1s } }", calm: false },
    Setting { cache: "{ collapse: off }", calm: false },
    Setting { cache: "{ stale_while_revalidate: 10s, stale_if_error: 1m, refresh_ahead: 50% }", calm: false },
    Setting { cache: "{ ranges: whole, min_uses: 2 }", calm: false },
];

/// All fills together; small enough to be met.
const FILLING_BYTES: u64 = 24 * 1024;

const MAX_OBJECT_BYTES: usize = 8 * 1024;

/// What the origin answers with.
#[derive(Clone, Debug)]
struct Plan {
    delay: Duration,
    kind: Kind,
    fields: &'static str,
    status: u16,
    frames: Vec<usize>,
    pause: Duration,
    breaks_off: bool,
    says_length: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Anyone may have it.
    Shared,
    /// Only the client that caused it.
    Own,
    /// There is no answer.
    None,
}

/// A fetch that the origin has seen.
#[derive(Debug)]
struct Fetched {
    client: String,
    page: String,
    began: u64,
    plan: Plan,
}

/// What a client has got.
#[derive(Debug)]
struct Got {
    client: String,
    page: String,
    came: u64,
    /// The fetch that its body is of; `None` if it has none of the origin's.
    serial: Option<u64>,
    body: Vec<u8>,
    /// The whole, or all that was wanted of it, came to a clean end.
    ended: bool,
    status: u16,
    is_part: bool,
}

/// Everything that has happened.
#[derive(Debug, Default)]
struct World {
    /// Orders what happens.
    now: u64,
    fetched: Vec<Fetched>,
    got: Vec<Got>,
    /// What was purged, and when that was acknowledged.
    purged: Vec<(String, u64)>,
    trace: Vec<String>,
    wrong: Option<String>,
}

#[derive(Clone)]
struct Origin {
    world: Arc<Mutex<World>>,
    rng: Arc<Mutex<Rng>>,
    setting: Setting,
    time: Time,
}

/// The proxy's clock, kept in step with tokio's.
#[derive(Clone)]
struct Time {
    clock: Clock,
    begun: Instant,
    told: Arc<Mutex<Duration>>,
}

impl Time {
    fn keep(&self) {
        let mut told = lock(&self.told);
        let elapsed = self.begun.elapsed();
        self.clock.advance(elapsed.saturating_sub(*told));
        *told = elapsed;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap()
}

impl World {
    fn happens(&mut self, what: String) -> u64 {
        self.now += 1;
        self.trace.push(format!("{}: {what}", self.now));
        self.now
    }
}

impl Plan {
    fn new(rng: &mut Rng, calm: bool) -> Self {
        let millis = |rng: &mut Rng, most| Duration::from_millis(rng.u64(0..most));
        let (kind, status, fields) = match rng.u8(0..if calm { 5 } else { 14 }) {
            0..3 => (Kind::Shared, 200, "cache-control: max-age=3600"),
            3..5 => (Kind::Shared, 200, "cache-control: max-age=3600\nvary: accept-language"),
            5 => (Kind::Shared, 200, "cache-control: max-age=1"),
            6 => (Kind::Shared, 404, "cache-control: max-age=5"),
            7 => (Kind::Own, 200, "cache-control: private, max-age=60"),
            8 => (Kind::Own, 200, "cache-control: no-store"),
            9 => (Kind::Own, 200, "cache-control: max-age=60\nset-cookie: a=b"),
            10 => (Kind::Own, 200, "cache-control: max-age=60\nvary: *"),
            11 => (Kind::Own, 200, "cache-control: max-age=0"),
            12 => (Kind::Own, 503, "cache-control: no-store"),
            _ => (Kind::None, 0, ""),
        };
        let breaks_off = !calm && rng.u8(0..8) == 0;
        let frames = (0..rng.usize(0..5))
            .map(|_| if !calm && rng.u8(0..12) == 0 { MAX_OBJECT_BYTES } else { rng.usize(1..2000) })
            .collect();
        Self {
            delay: millis(rng, 2000),
            kind,
            fields,
            status,
            frames,
            pause: millis(rng, 300),
            breaks_off,
            says_length: rng.bool(),
        }
    }

    fn body(&self, serial: u64) -> Vec<u8> {
        let length = self.frames.iter().sum();
        format!("<{serial}>").bytes().cycle().take(length).collect()
    }
}

/// A body that the origin sends.
struct Script {
    frames: VecDeque<Bytes>,
    pause: Duration,
    breaks_off: bool,
    length: Option<u64>,
    sleep: Option<Pin<Box<Sleep>>>,
    time: Time,
}

impl std::fmt::Debug for Script {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Script")
    }
}

impl ScriptedBody for Script {}

impl Body for Script {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let pause = self.pause;
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep(pause)));
        std::task::ready!(sleep.as_mut().poll(cx));
        self.sleep = None;
        self.time.keep();
        Poll::Ready(match self.frames.pop_front() {
            Some(frame) => Some(Ok(Frame::data(frame))),
            None if self.breaks_off => Some(Err(BodyError::Incomplete)),
            None => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.frames.is_empty() && !self.breaks_off
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl Service<Outbound> for Origin {
    type Response = Response<OriginBody>;
    type Error = OriginError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, OriginError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), OriginError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, outbound: Outbound) -> Self::Future {
        let Self { world, rng, setting, time } = self.clone();
        let head = outbound.request.head;
        let plan = Plan::new(&mut lock(&rng), setting.calm);
        let serial = {
            let mut world = lock(&world);
            let client = text(&head.headers, "x-client");
            let page = page(head.uri.path(), &head.headers);
            let serial = world.fetched.len() as u64;
            let began =
                world.happens(format!("fetch {serial} for {client}: {} {page}: {plan:?}", head.method));
            world.fetched.push(Fetched { client, page, began, plan: plan.clone() });
            serial
        };
        Box::pin(async move {
            sleep(plan.delay).await;
            time.keep();
            if plan.kind == Kind::None {
                let authority = "origin.test".parse().unwrap();
                return Err(OriginError::HeadTimeout { authority, limit: plan.delay });
            }
            let body = plan.body(serial);
            let mut frames = VecDeque::new();
            let mut rest = Bytes::from(body);
            for length in &plan.frames {
                frames.push_back(rest.split_to(*length));
            }
            let whole: usize = plan.frames.iter().sum();
            let length = plan.says_length.then_some((whole + usize::from(plan.breaks_off)) as u64);
            let is_head = head.method == Method::HEAD;
            let mut response = Response::new(OriginBody::scripted(Script {
                frames: if is_head { VecDeque::new() } else { frames },
                pause: plan.pause,
                breaks_off: plan.breaks_off && !is_head,
                length: if is_head { Some(0) } else { length },
                sleep: None,
                time,
            }));
            *response.status_mut() = StatusCode::from_u16(plan.status).unwrap();
            *response.headers_mut() = fields(plan.fields.lines()).unwrap();
            response.headers_mut().insert("x-serial", serial.into());
            if let Some(length) = length {
                response.headers_mut().insert("content-length", length.into());
            }
            Ok(response)
        })
    }
}

fn text(headers: &HeaderMap, name: &str) -> String {
    headers.get(name).map_or(String::new(), |value| value.to_str().unwrap().to_owned())
}

/// What can be the same for two: the path, and the language.
fn page(path: &str, headers: &HeaderMap) -> String {
    format!("{path} {}", text(headers, "accept-language"))
}

/// A client: what it asks for, and how patient it is.
#[derive(Clone, Debug)]
struct Client {
    name: String,
    method: Method,
    path: &'static str,
    fields: Vec<String>,
    comes: Duration,
    leaves: Option<Duration>,
    pause: Duration,
}

impl Client {
    fn new(rng: &mut Rng, number: usize, calm: bool) -> Self {
        let mut fields = vec![format!("x-client: {number}")];
        fields.push(format!("accept-language: {}", if rng.bool() { "en" } else { "fr" }));
        let method = if !calm && rng.u8(0..10) == 0 { Method::HEAD } else { Method::GET };
        if !calm && rng.u8(0..10) == 0 {
            fields.push("cache-control: no-cache".to_owned());
        }
        if !calm && rng.u8(0..8) == 0 {
            fields.push(format!("range: bytes={}-{}", rng.u8(0..9), rng.u16(9..3000)));
        }
        let rarely = |rng: &mut Rng, one_in, most| {
            (rng.u8(0..one_in) == 0).then(|| Duration::from_millis(rng.u64(0..most)))
        };
        Self {
            name: number.to_string(),
            method,
            path: if rng.u8(0..3) == 0 { "/b" } else { "/a" },
            fields,
            comes: Duration::from_millis(rng.u64(0..8000)),
            leaves: rarely(rng, 5, 2500),
            pause: rarely(rng, 4, 400).unwrap_or_default(),
        }
    }

    async fn run(self, rooms: Arc<Rooms>, mut cache: Cache<Origin>, world: Arc<Mutex<World>>, time: Time) {
        sleep(self.comes).await;
        time.keep();
        let headers = fields(&self.fields).unwrap();
        let page = page(self.path, &headers);
        let came = lock(&world)
            .happens(format!("client {} comes: {} {page} {:?}", self.name, self.method, self.fields));
        let url = format!("http://a.test{}", self.path);
        let asked = Asked { url, method: self.method.clone(), headers, client: Ipv4Addr::LOCALHOST.into() };
        let routed = asked.routed(&rooms.routes).unwrap();
        let exchange = async {
            let Ok(answer) = cache.call(routed).await;
            time.keep();
            let (head, mut body) = answer.response.into_parts();
            let serial = text(&head.headers, "x-serial").parse().ok();
            let is_part = head.status == StatusCode::PARTIAL_CONTENT;
            let mut bytes = Vec::new();
            let ended = loop {
                match std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
                    Some(Ok(frame)) => bytes.extend_from_slice(&frame.into_data().unwrap_or_default()),
                    Some(Err(_)) => break false,
                    None => break true,
                }
                sleep(self.pause).await;
                time.keep();
            };
            let (client, status) = (self.name.clone(), head.status.as_u16());
            let mut world = lock(&world);
            world.happens(format!(
                "client {client} got {status} of {serial:?}, {} bytes, ended: {ended}",
                bytes.len()
            ));
            let ended = ended && self.method != Method::HEAD;
            world.got.push(Got { client, page, came, serial, body: bytes, ended, status, is_part });
        };
        if timeout(self.leaves.unwrap_or(Duration::MAX), exchange).await.is_err() {
            time.keep();
            lock(&world).happens(format!("client {} leaves", self.name));
        }
    }
}

/// Runs a schedule; what went wrong, with all that happened.
fn run(seed: u64, setting: Setting, plan: &config::Plan) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.unwrap().block_on(async {
        let world = Arc::<Mutex<World>>::default();
        let ran = schedule(seed, setting, plan, Arc::clone(&world)).await;
        let world = lock(&world);
        let wrong = ran.err().or_else(|| world.wrong.clone()).or_else(|| check(&world, setting).err());
        match wrong {
            None => Ok(()),
            Some(wrong) => {
                Err(format!("{wrong}\nMODEL_SEED={seed} of {setting:?}\n{}", world.trace.join("\n")))
            }
        }
    })
}

impl Setting {
    fn plan(self) -> config::Plan {
        let text = format!(
            "server: {{ access_log: off }}\nupstreams: {{ app: {{ servers: 'http://origin.test' }} }}\n\
         store: {{ memory: {{ capacity: 1MiB, max_object: {MAX_OBJECT_BYTES}, filling: {FILLING_BYTES} }} }}\n\
         routes: [{{ name: all, match: {{ path: '/{{*rest}}' }}, upstream: app, cache: {} }}]\n",
            self.cache
        );
        config::compile_text("model.yaml", &text, &|_| None).unwrap()
    }
}

#[expect(clippy::disallowed_methods, reason = "tokio's time is the virtual one here")]
async fn schedule(
    seed: u64,
    setting: Setting,
    plan: &config::Plan,
    world: Arc<Mutex<World>>,
) -> Result<(), String> {
    let mut rng = Rng::with_seed(seed);
    let clock = Clock::stopped();
    let Assembled { rooms, .. } = assemble(plan, &clock).map_err(|wrong| wrong.to_string())?;
    let time = Time { clock, begun: Instant::now(), told: Arc::default() };
    let origin = Origin {
        world: Arc::clone(&world),
        rng: Arc::new(Mutex::new(rng.fork())),
        setting,
        time: time.clone(),
    };
    let cache = CacheLayer::new(Arc::clone(&rooms)).layer(origin);
    let mut tasks = Vec::new();
    for number in 0..rng.usize(2..24) {
        let client = Client::new(&mut rng, number, setting.calm);
        tasks.push(tokio::spawn(client.run(
            Arc::clone(&rooms),
            cache.clone(),
            Arc::clone(&world),
            time.clone(),
        )));
    }
    for _ in 0..if setting.calm { 0 } else { rng.usize(0..5) } {
        let (path, at) = (if rng.bool() { "/a" } else { "/b" }, Duration::from_millis(rng.u64(0..9000)));
        let (rooms, world) = (Arc::clone(&rooms), Arc::clone(&world));
        let by_pattern = rng.bool();
        tasks.push(tokio::spawn(async move {
            sleep(at).await;
            let url = format!("http://a.test{path}");
            let target = if by_pattern { Target::Prefix(url) } else { Target::Url(url) };
            rooms.invalidator.purge("model", &[target], Strength::Hard).unwrap();
            let mut world = lock(&world);
            let acknowledged = world.happens(format!("{path} is purged"));
            world.purged.push((path.to_owned(), acknowledged));
        }));
    }
    // Looks in on the memory of the fills all along.
    let (watched, seen) = (Arc::clone(&rooms), Arc::clone(&world));
    let watch = tokio::spawn(async move {
        loop {
            if watched.fills.taken_bytes() > FILLING_BYTES {
                lock(&seen).wrong = Some("the fills keep more than they may".to_owned());
            }
            sleep(Duration::from_millis(7)).await;
        }
    });
    for task in tasks {
        match timeout(Duration::from_secs(3600), task).await {
            Ok(joined) => joined.map_err(|panic| format!("a panic: {panic}"))?,
            Err(_) => return Err("an exchange has no end".to_owned()),
        }
    }
    watch.abort();
    // What outlives its clients comes to its end too.
    sleep(Duration::from_secs(120)).await;
    let levels = rooms.levels();
    if (levels.fetches, levels.waiting, levels.filling_bytes) != (0, 0, 0) {
        return Err(format!("something is left: {levels:?}"));
    }
    Ok(())
}

/// Whether what happened is what may.
fn check(world: &World, setting: Setting) -> Result<(), String> {
    for got in &world.got {
        let wrong = |what: &str| Err(format!("{what}: client {} {:?}", got.client, got.serial));
        let Some(serial) = got.serial else {
            // Only a failure has none.
            if got.status < 400 {
                return wrong("an answer that nobody gave");
            }
            continue;
        };
        let fetched = &world.fetched[serial as usize];
        if fetched.page.split(' ').next() != got.page.split(' ').next() {
            return wrong("another page");
        }
        if fetched.plan.kind == Kind::Own && fetched.client != got.client {
            return wrong("what is another's own");
        }
        if fetched.plan.fields.contains("vary: accept-language") && fetched.page != got.page {
            return wrong("another language");
        }
        let purged = |(path, at): &(String, u64)| {
            got.page.starts_with(path.as_str()) && fetched.began < *at && *at < got.came
        };
        if world.purged.iter().any(purged) {
            return wrong("what was purged before it came");
        }
        let whole = fetched.plan.body(serial);
        if got.is_part {
            let is_in = |part: &[u8]| whole.windows(part.len().max(1)).any(|window| window == part);
            if !got.body.is_empty() && !is_in(&got.body) {
                return wrong("a part of something else");
            }
        } else if !whole.starts_with(&got.body) {
            return wrong("bytes of something else");
        } else if got.ended && got.body.len() != whole.len() {
            return wrong("a clean end before the end");
        }
        if got.ended && fetched.plan.breaks_off && !got.is_part {
            return wrong("a clean end of what broke off");
        }
    }
    if setting.calm {
        let mut fetches: HashMap<&str, usize> = HashMap::new();
        for fetched in &world.fetched {
            *fetches.entry(&fetched.page).or_default() += 1;
        }
        if let Some((page, number)) = fetches.iter().find(|(_, number)| **number > 1) {
            return Err(format!("{page} was fetched {number} times"));
        }
    }
    Ok(())
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |value| value.parse().unwrap())
}

#[test]
fn whatever_happens_every_exchange_ends_in_an_answer_that_it_may_have() {
    let first = number("MODEL_SEED", 0);
    for setting in SETTINGS {
        let plan = setting.plan();
        for seed in first..first + number("MODEL_SCHEDULES", 300) {
            if let Err(wrong) = run(seed, setting, &plan) {
                panic!("{wrong}");
            }
        }
    }
}
