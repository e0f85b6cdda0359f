//! The paths of the webhooks.

use std::error::Error as _;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http_body_util::LengthLimitError;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::api::answered;
use super::problem::Problem;
use super::{AdminState, Inner, Peer};
use crate::clock::Stopwatch;
use crate::exchange::RequestBody;
use crate::webhooks::{Accepted, Intake, Raw, Refused};

/// Every path that is not the API's: a webhook's, or nobody's.
pub(super) async fn deliver(State(state): State<AdminState>, request: Request) -> Response {
    let Some(intake) = state.0.intakes.get(request.uri().path()) else {
        return Problem::new(StatusCode::NOT_FOUND, "there is nothing here").into_response();
    };
    if *request.method() != Method::POST {
        let mut response =
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "webhooks are POSTed").into_response();
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
        return response;
    }
    receive(&state, intake, request).await
}

/// A delivery to one of them. In a task of its own: a sender that hangs up ends neither what is being done nor the account of it.
async fn receive(state: &AdminState, intake: &Arc<Intake>, request: Request) -> Response {
    let (state, intake) = (state.clone(), Arc::clone(intake));
    let received = tokio::spawn(async move {
        let (at, stopwatch) = (state.0.clock.now(), Stopwatch::start());
        let Taken { outcome, told, response } = take(&state, Arc::clone(&intake), request).await;
        let told = told.as_ref().map_err(String::as_str);
        intake.remember(at, stopwatch.elapsed(), outcome, told);
        state.0.metrics.webhook(&intake.hook.name, outcome);
        response
    });
    received.await.unwrap_or_else(|error| {
        tracing::error!(%error, "a delivery was cut off");
        cut_off().into_response()
    })
}

fn cut_off() -> Problem {
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "please try again")
}

/// Where deliveries that come by the public listener go. Nobody is there before the admin listener is, or after it.
#[derive(Clone, Debug, Default)]
pub struct Reception(Arc<OnceLock<Weak<Inner>>>);

impl Reception {
    /// From now on somebody is there.
    pub fn open(&self, state: &AdminState) {
        // It is opened once.
        let _ = self.0.set(Arc::downgrade(&state.0));
    }

    /// What is answered to a delivery to this path, from this client.
    pub async fn deliver(&self, head: Parts, body: RequestBody, client: IpAddr) -> http::Response<Bytes> {
        let state = self.0.get().and_then(Weak::upgrade).map(AdminState);
        let intake = state.as_ref().and_then(|state| state.0.intakes.get(head.uri.path()));
        let response = match (&state, intake) {
            (Some(state), Some(intake)) => {
                let mut request = Request::from_parts(head, Body::new(body));
                request.extensions_mut().insert(Peer(client));
                receive(state, intake, request).await
            }
            _ => refused(&Refused::TryAgain),
        };
        let (head, body) = response.into_parts();
        // It is one of ours: a few bytes, in memory.
        let body = to_bytes(body, usize::MAX).await.unwrap_or_default();
        http::Response::from_parts(head, body)
    }
}

/// How many deliveries are read at once, each for [`READING`] at most and as large as its webhook allows. Anybody can begin
/// one: those who are slow take no place from those whose deliveries are there.
const MAX_READ: usize = 1024;

/// How many are carried out at once.
const MAX_DONE: usize = 256;

/// How long a sender has for its body, all of it.
const READING: Duration = Duration::from_secs(10);

/// The places for them.
#[derive(Debug)]
pub(super) struct Places {
    reading: Semaphore,
    doing: Semaphore,
}

impl Default for Places {
    fn default() -> Self {
        Self { reading: Semaphore::new(MAX_READ), doing: Semaphore::new(MAX_DONE) }
    }
}

/// What became of a delivery.
struct Taken {
    /// For the counts.
    outcome: &'static str,
    /// What was accepted, or why it was not.
    told: Result<Accepted, String>,
    response: Response,
}

impl Taken {
    fn refused(outcome: &'static str, why: impl ToString, response: Response) -> Self {
        Self { outcome, told: Err(why.to_string()), response }
    }
}

async fn take(state: &AdminState, intake: Arc<Intake>, request: Request) -> Taken {
    let hook = intake.hook.name.clone();
    let (head, body): (_, Body) = request.into_parts();
    let body = match read(state, &intake, body).await {
        Ok(body) => body,
        Err(taken) => return taken,
    };
    let Ok(_place) = state.0.delivery_places.doing.try_acquire() else { return too_many(&hook) };
    let client = head.extensions.get::<Peer>().map_or(Ipv4Addr::UNSPECIFIED.into(), |Peer(address)| *address);
    let inner = Arc::clone(&state.0);
    let now = inner.clock.now();
    // Purging counts what was stored, which may take a while; not on a worker that serves.
    let taken = tokio::task::spawn_blocking(move || {
        let target = head.uri.path_and_query().map_or("/", PathAndQuery::as_str);
        let raw = Raw::new(&head.method, target, &head.headers, &body);
        intake.take(&raw, client, &inner.dispatchers, now)
    })
    .await;
    match taken {
        Ok(Ok(accepted)) => {
            let response = answered(&accepted);
            Taken { outcome: outcome(&accepted), told: Ok(accepted), response }
        }
        Ok(Err(Refused::Unbelieved(reason))) => {
            // The sender, whoever it is, learns nothing.
            tracing::warn!(%hook, %reason, "a delivery was not believed");
            let problem = Problem::new(StatusCode::UNAUTHORIZED, "not accepted");
            Taken::refused("bad-signature", reason, problem.into_response())
        }
        Ok(Err(refused)) => {
            tracing::warn!(%hook, reason = %refused, "a delivery was refused");
            let outcome = if matches!(refused, Refused::TryAgain) { "failed" } else { "malformed" };
            let response = self::refused(&refused);
            Taken::refused(outcome, refused, response)
        }
        Err(error) => {
            tracing::error!(%hook, %error, "a delivery's work was cut off");
            Taken::refused("failed", error, cut_off().into_response())
        }
    }
}

/// All of its body, or what is answered.
async fn read(state: &AdminState, intake: &Intake, body: Body) -> Result<Bytes, Taken> {
    let hook = &intake.hook.name;
    let Ok(_place) = state.0.delivery_places.reading.try_acquire() else { return Err(too_many(hook)) };
    let limit = intake.hook.max_body_bytes;
    match timeout(READING, to_bytes(body, limit)).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(error)) if error.source().is_some_and(|source| source.is::<LengthLimitError>()) => {
            tracing::warn!(%hook, limit, "a delivery was too large");
            let problem = Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large");
            Err(Taken::refused("too-large", "the body is too large", problem.into_response()))
        }
        Ok(Err(error)) => {
            tracing::warn!(%hook, %error, "a delivery broke off");
            let problem = Problem::new(StatusCode::BAD_REQUEST, "the body could not be read to its end");
            Err(Taken::refused("malformed", error, problem.into_response()))
        }
        Err(_) => {
            tracing::warn!(%hook, limit = ?READING, "a delivery took too long to come");
            let why = "the body took too long to come";
            let problem = Problem::new(StatusCode::REQUEST_TIMEOUT, why);
            Err(Taken::refused("too-slow", why, problem.into_response()))
        }
    }
}

fn too_many(hook: &str) -> Taken {
    tracing::warn!(%hook, "a delivery is one too many at once");
    let why = Refused::TryAgain;
    let response = refused(&why);
    Taken::refused("failed", why, response)
}

/// What is told of a delivery that was believed, and refused.
pub(super) fn refused(refused: &Refused) -> Response {
    let status = match refused {
        Refused::TryAgain => StatusCode::SERVICE_UNAVAILABLE,
        Refused::NotKept => StatusCode::CONFLICT,
        Refused::Unbelieved(_) => StatusCode::UNAUTHORIZED,
        Refused::Json(_) | Refused::TooMany(_) => StatusCode::BAD_REQUEST,
    };
    let mut response = Problem::new(status, refused.to_string()).into_response();
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

fn outcome(accepted: &Accepted) -> &'static str {
    if accepted.challenge.is_some() {
        "handshake"
    } else if accepted.duplicate {
        "duplicate"
    } else if accepted.is_incomplete {
        "incomplete"
    } else {
        "accepted"
    }
}

#[cfg(test)]
mod tests {
    use super::{MAX_DONE, READING};
    use crate::admin::router;
    use crate::admin::testing::{Admin, accepted, article_changed, changed};
    use crate::invalidation::rule::{Action, Rule, TargetTemplate};
    use crate::routes::Template;
    use axum::body::Body;
    use axum::http::{HeaderValue, Request, StatusCode};
    use serde_json::json;
    use std::future::poll_fn;
    use std::pin::Pin;
    use std::task::{Context, Poll};
    use std::time::Duration;
    use tokio::task::JoinSet;
    use tokio::time::Interval;
    use tower::ServiceExt;

    #[tokio::test]
    async fn a_delivery_purges_what_its_event_names_and_says_so() {
        let admin = Admin::new();
        let said = accepted(&admin.deliver("msg_1", &changed(&json!({"slugs": ["a", "x"]}))).await);
        let rules = json!([{"rule": "article changed", "matched": 1, "targets": 4}]);
        let expected =
            json!({"ok": true, "id": "msg_1", "event": "article.updated", "matched": 1, "rules": rules});
        assert_eq!(said, expected);
        assert!(!admin.has("/articles/a") && admin.has("/articles/b"));
        let metrics = admin.metrics().await;
        assert!(
            metrics.contains("staleproof_webhooks_total{hook=\"app\",outcome=\"accepted\"} 1"),
            "{metrics}"
        );
        assert!(metrics.contains("staleproof_purged_total{source=\"webhook\"} 1"), "{metrics}");
    }

    #[tokio::test]
    async fn what_is_not_fetched_again_is_purged_and_the_answer_says_so() {
        for is_stopped in [false, true] {
            let refresh = Action::Refresh(TargetTemplate::Tag(Template::parse("article:{slug}").unwrap()));
            let admin = Admin::with(Rule { actions: vec![refresh], ..article_changed() }, &[]);
            if is_stopped {
                admin.state.0.warmer.stop();
            }
            // Its client alone can ask for it.
            let said = accepted(&admin.deliver("msg_1", &changed(&json!({"slugs": ["a"]}))).await);
            let rule = &said["rules"][0];
            assert_eq!((&said["matched"], &rule["not_refreshed"]), (&json!(1), &json!(1)), "{said}");
            assert_eq!(rule["refresh"].is_null(), is_stopped, "{said}");
            let because = rule["not_refreshed_because"].to_string();
            assert!(because.contains("their own clients"), "{said}");
            assert_eq!(because.contains("shutting down"), is_stopped, "{said}");
            assert!(!admin.has("/articles/a") && admin.has("/articles/b"));
        }
    }

    #[tokio::test]
    async fn an_event_that_no_rule_is_about_is_accepted() {
        let admin = Admin::new();
        for (id, body) in [("1", r#"{"type": "user.updated"}"#), ("2", "{}"), ("3", "[]"), ("4", "null")] {
            let said = accepted(&admin.deliver(id, body).await);
            assert_eq!((&said["matched"], &said["rules"]), (&json!(0), &json!([])), "{body}");
        }
    }

    #[tokio::test]
    async fn a_rule_that_is_skipped_says_why() {
        let admin = Admin::new();
        for (id, data, reason) in [
            ("1", json!({"slugs": []}), json!({"field-missing": "slug"})),
            ("2", json!({"slugs": ["a"], "changed": ["views"]}), json!("nothing-watched")),
        ] {
            let said = accepted(&admin.deliver(id, &changed(&data)).await);
            assert_eq!((&said["matched"], &said["rules"][0]["skipped"]), (&json!(0), &reason));
        }
        assert!(admin.metrics().await.contains("outcome=\"accepted\"} 2"));
    }

    #[tokio::test]
    async fn an_event_that_names_too_much_purges_all_it_may_name() {
        let admin = Admin::new();
        let data = json!({"slugs": (0..2000).collect::<Vec<_>>()});
        let said = accepted(&admin.deliver("1", &changed(&data)).await);
        assert_eq!((&said["matched"], &said["rules"][0]["widened"]), (&json!(3), &json!(true)));
        assert!(!admin.has("/articles/a"));
    }

    #[tokio::test]
    async fn a_target_that_makes_no_url_keeps_no_other_from_being_purged() {
        let admin = Admin::new();
        let data = json!({"slugs": ["a"], "url": "/nowhere"});
        let said = accepted(&admin.deliver("msg_1", &changed(&data)).await);
        let rule = &said["rules"][0];
        assert_eq!((&rule["matched"], &rule["failed"]), (&json!(1), &json!(1)));
        assert!(rule["errors"][0].as_str().unwrap().contains("/nowhere"), "{rule}");
        assert!(!admin.has("/articles/a"));

        let urls: Vec<_> = (0..100).map(|number| format!("/{number}")).collect();
        let said = accepted(&admin.deliver("msg_2", &changed(&json!({"slugs": ["b"], "urls": urls}))).await);
        let rule = &said["rules"][0];
        assert_eq!((&rule["failed"], rule["errors"].as_array().unwrap().len()), (&json!(100), 5));
        assert!(admin.metrics().await.contains("outcome=\"incomplete\"} 2"));
    }

    #[tokio::test]
    async fn a_url_is_purged_however_its_app_writes_it() {
        let admin = Admin::new();
        assert!(admin.has("/articles/c++"));
        admin.deliver("msg_1", &changed(&json!({"slugs": ["c++"]}))).await;
        assert!(!admin.has("/articles/c++"));
    }

    #[tokio::test]
    async fn a_replay_is_accepted_and_does_nothing() {
        let admin = Admin::new();
        let body = changed(&json!({"slugs": ["a"]}));
        accepted(&admin.deliver("msg_1", &body).await);
        let head = admin.state.0.rooms.log.head();
        let said = accepted(&admin.deliver("msg_1", &body).await);
        assert_eq!((&said["duplicate"], &said["matched"]), (&json!(true), &json!(0)));
        assert_eq!(admin.state.0.rooms.log.head(), head);
        assert!(admin.metrics().await.contains("outcome=\"duplicate\"} 1"));
    }

    #[tokio::test]
    async fn what_is_not_believed_learns_nothing() {
        let admin = Admin::new();
        let body = changed(&json!({"slugs": ["a"]}));
        let unsigned = Request::post("/hooks/app").body(Body::from(body.clone())).unwrap();
        let mut forged = admin.delivery("msg_1", &body);
        forged.headers_mut().insert("webhook-signature", HeaderValue::from_static("v1,AAAA"));
        let mut altered = admin.delivery("msg_1", &body);
        *altered.body_mut() = Body::from(body.replace("\"a\"", "\"b\""));
        let old = admin.delivery("msg_1", &body);
        admin.state.0.clock.advance(Duration::from_secs(302));
        let mut answers = Vec::new();
        for request in [unsigned, forged, altered, old] {
            let answer = admin.send(request).await;
            answer.problem(401);
            answers.push(answer.text);
        }
        answers.dedup();
        assert_eq!(answers.len(), 1, "{answers:?}");
        assert!(admin.has("/articles/a") && admin.has("/articles/b"));
        assert!(admin.metrics().await.contains("outcome=\"bad-signature\"} 4"));
        // And its id is not taken.
        assert_eq!(accepted(&admin.deliver("msg_1", &body).await)["matched"], 1);
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_refused_and_may_be_tried_again() {
        let admin = Admin::new();
        let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
        for body in ["", "{", "{\"type\": }", "\u{feff}{}", deep.as_str()] {
            admin.deliver("msg_1", body).await.problem(400);
        }
        let shallow = format!("{}{}", "[".repeat(100), "]".repeat(100));
        accepted(&admin.deliver("msg_1", &shallow).await);
        let large = format!("\"{}\"", "x".repeat(64 * 1024));
        admin.deliver("msg_2", &large).await.problem(413);
        let metrics = admin.metrics().await;
        assert!(metrics.contains("outcome=\"malformed\"} 5") && metrics.contains("outcome=\"too-large\"} 1"));
    }

    #[tokio::test]
    async fn a_handshake_is_answered_to_whoever_is_believed_and_does_nothing() {
        let admin = Admin::new();
        let body = r#"{"type": "url_verification", "challenge": "3eZbrw1a", "data": {"slugs": ["a"]}}"#;
        let unsigned = Request::post("/hooks/app").body(Body::from(body)).unwrap();
        admin.send(unsigned).await.problem(401);
        let said = accepted(&admin.deliver("msg_1", body).await);
        assert_eq!(said["challenge"], "3eZbrw1a");
        assert!(admin.has("/articles/a"));
        assert!(admin.metrics().await.contains("outcome=\"handshake\"} 1"));
    }

    #[tokio::test]
    async fn more_events_than_are_taken_at_once_are_refused() {
        let admin = Admin::new();
        let list = |number: usize| format!("[{}]", vec!["1"; number].join(","));
        assert!(admin.deliver("msg_1", &list(10_001)).await.problem(400).contains("10001 events"));
        assert_eq!(accepted(&admin.deliver("msg_1", &list(10_000)).await)["events"], 10_000);
    }

    #[tokio::test]
    async fn of_many_reports_the_first_are_told_and_the_others_counted() {
        let admin = Admin::new();
        let events: Vec<_> = (0..150)
            .map(|number| {
                let url = if number == 140 { "/nowhere" } else { "http://a.test/articles/b" };
                json!({"type": "article.updated", "data": {"slugs": [number], "url": url}})
            })
            .collect();
        let said = accepted(&admin.deliver("msg_1", &json!(events).to_string()).await);
        assert_eq!((said["rules"].as_array().unwrap().len(), &said["more_rules"]), (100, &json!(50)));
        let intake = &admin.state.0.intakes["/hooks/app"];
        let seen = intake.seen().remove(0);
        assert_eq!((seen.rules.len(), seen.more_rules, seen.outcome), (100, 50, "incomplete"));
    }

    #[tokio::test]
    async fn what_a_report_tells_of_a_value_is_cut() {
        let admin = Admin::new();
        let data = json!({"slugs": ["a"], "url": format!("/{}", "x".repeat(50_000))});
        let said = accepted(&admin.deliver("msg_1", &changed(&data)).await);
        let error = said["rules"][0]["errors"][0].as_str().unwrap();
        assert!(error.len() < 1000 && error.ends_with('…'), "{error}");
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_is_no_body() {
        let admin = Admin::new();
        let mut request = admin.delivery("msg_1", "");
        *request.body_mut() = Body::new(BreaksOff);
        admin.send(request).await.problem(400);
    }

    #[tokio::test]
    async fn a_sender_that_hangs_up_ends_nothing() {
        let admin = Admin::new();
        let body = changed(&json!({"slugs": ["a"]}));
        {
            let mut delivering = Box::pin(admin.deliver("msg_1", &body));
            let polled = poll_fn(|context| Poll::Ready(delivering.as_mut().poll(context))).await;
            assert!(polled.is_pending(), "it is not done yet");
        }
        let intake = &admin.state.0.intakes["/hooks/app"];
        let told = async {
            while intake.seen().is_empty() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), told).await.unwrap();
        assert_eq!((intake.seen()[0].outcome, intake.seen()[0].matched), ("accepted", 1));
        assert!(admin.metrics().await.contains("outcome=\"accepted\"} 1"));
        assert!(!admin.has("/articles/a"));
    }

    #[tokio::test(start_paused = true)]
    async fn who_sends_slowly_is_not_waited_for_and_takes_no_place_from_others() {
        let admin = Admin::new();
        let mut slow = JoinSet::new();
        for _ in 0..MAX_DONE + 10 {
            let request = Request::post("/hooks/app").body(Body::new(Trickles::new())).unwrap();
            slow.spawn(router(admin.state.clone()).oneshot(request));
        }
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(accepted(&admin.deliver("msg_1", &changed(&json!({"slugs": ["a"]}))).await)["matched"], 1);
        tokio::time::sleep(READING).await;
        while let Some(response) = slow.join_next().await {
            assert_eq!(response.unwrap().unwrap().status(), StatusCode::REQUEST_TIMEOUT);
        }
        assert!(admin.metrics().await.contains("outcome=\"too-slow\"} 266"));
    }

    /// The body of a sender that never ends, and never stalls.
    struct Trickles(Interval);

    impl Trickles {
        fn new() -> Self {
            Self(tokio::time::interval(Duration::from_secs(1)))
        }
    }

    impl http_body::Body for Trickles {
        type Data = bytes::Bytes;
        type Error = std::io::Error;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
        ) -> Poll<Option<Result<http_body::Frame<Self::Data>, Self::Error>>> {
            self.0
                .poll_tick(context)
                .map(|_| Some(Ok(http_body::Frame::data(bytes::Bytes::from_static(b" ")))))
        }
    }

    /// The body of a connection that is gone.
    struct BreaksOff;

    impl http_body::Body for BreaksOff {
        type Data = bytes::Bytes;
        type Error = std::io::Error;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<http_body::Frame<Self::Data>, Self::Error>>> {
            Poll::Ready(Some(Err(std::io::ErrorKind::ConnectionReset.into())))
        }
    }
}
