//! What asking the origin led to: the answer of the one who asked, and those of the others who may share it.

use std::sync::Arc;

use http::header::{AGE, SET_COOKIE};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};

use super::fetch::{Quest, answer};
use super::fill::{Fill, Pump, Seat};
use super::pending::Pending;
use super::service::Rooms;
use super::{part, serve};
use crate::clock::Timestamp;
use crate::exchange::{Answer, AnswerBody, CacheWord, Note, Routed};
use crate::invalidation::{Carried, Fetch, Position, Standing, Subject};
use crate::origin::{OriginBody, OriginError};
use crate::respond::Failure;
use crate::routes::CacheRule;
use crate::semantics::precondition::{self, Verdict};
use crate::semantics::{
    CacheStatus, ClientDirectives, ForwardReason, NotStored, Reuse, Search, SetCookie, StoredResponse, reuse,
};
use crate::store::{Asked, Stored};

/// What became of asking the origin.
#[derive(Debug)]
pub(super) enum Outcome {
    /// A response that may be stored.
    Kept(Box<Kept>),
    /// One that may not.
    Passed(Box<Passed>),
    /// What is stored still holds.
    Confirmed(Box<Confirmed>),
    /// What is stored takes the place of a failure. The status, if there was an answer.
    Stale(Arc<Stored>, Option<StatusCode>),
    /// There is no answer.
    Failed(Arc<OriginError>),
}

/// A response that may be stored, while it is coming.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) status: StatusCode,
    /// What the origin answered, if that is something else.
    pub(super) forward_status: StatusCode,
    /// The fields for the one who asked.
    pub(super) fields: HeaderMap,
    pub(super) sharing: Arc<Sharing>,
    pub(super) pump: Pump,
}

impl Kept {
    /// `forward_status`: what the origin answered. `fields`: for the one who asked.
    pub(super) fn new(
        forward_status: StatusCode,
        fields: HeaderMap,
        word: CacheWord,
        pump: Pump,
        pending: Pending,
        stored: Result<(), NotStored>,
    ) -> Self {
        let fill = Arc::clone(&pump.fill);
        let (response, carried) = (pending.response.clone(), pending.carried.again());
        let (fetch, asked) = (Arc::clone(&pending.fetch), Arc::clone(&pending.asked));
        let knows_tags = !pending.reads_tags();
        let sharing = Sharing { response, carried, fill, word, asked, stored, knows_tags, _fetch: fetch };
        let sharing = Arc::new(sharing);
        let status = sharing.response.status;
        let pump = if stored.is_ok() { pump.storing(pending) } else { pump };
        Self { status, forward_status, fields, sharing, pump }
    }
}

/// A response for the one who asked.
#[derive(Debug)]
pub(super) struct Passed {
    pub(super) status: StatusCode,
    pub(super) fields: HeaderMap,
    pub(super) body: OriginBody,
    pub(super) why: NotStored,
    pub(super) received_at: Timestamp,
}

/// A stored response that the origin has confirmed.
#[derive(Debug)]
pub(super) struct Confirmed {
    /// As it is from now on.
    pub(super) stored: Arc<Stored>,
    /// Whether it may be stored any longer.
    pub(super) kept: Result<(), NotStored>,
    /// The fields of the 304.
    pub(super) fields: HeaderMap,
    pub(super) received_at: Timestamp,
}

/// A response that several may read while it is coming.
#[derive(Debug)]
pub(super) struct Sharing {
    response: StoredResponse,
    carried: Carried,
    fill: Arc<Fill>,
    word: CacheWord,
    asked: Arc<Asked>,
    /// Whether it is to be stored.
    stored: Result<(), NotStored>,
    /// Whether no tags of it are still to come.
    knows_tags: bool,
    /// As long as somebody may come to share it, no invalidation since is forgotten.
    _fetch: Arc<Fetch>,
}

/// What a flight brings to those who did not cause it.
#[derive(Clone, Debug)]
pub(super) enum Landed {
    /// They read it while it comes.
    Filling(Arc<Sharing>),
    /// It lies in the store.
    Confirmed(Arc<Stored>),
    /// As [`Outcome::Stale`].
    Stale(Arc<Stored>, Option<StatusCode>),
    /// As [`Outcome::Failed`]; why the origin was asked.
    Failed(Arc<OriginError>, ForwardReason),
    /// Nothing.
    Alone,
}

impl Outcome {
    /// Whether others may have it, if their own requests allow.
    pub(super) fn is_for_others(&self) -> bool {
        // What must be validated by each who asks is not to be waited for.
        let serves = |response: &StoredResponse, now| {
            let (none, ignore) = (HeaderMap::new(), ClientDirectives::Ignore);
            reuse::reuse(Some(&response.terms), true, &Method::GET, &none, ignore, now) == Reuse::Serve
        };
        match self {
            Self::Kept(kept) => serves(&kept.sharing.response, kept.sharing.response.terms.received_at),
            Self::Confirmed(confirmed) => {
                confirmed.kept.is_ok() && serves(&confirmed.stored.response, confirmed.received_at)
            }
            Self::Stale(..) | Self::Failed(_) => true,
            Self::Passed(_) => false,
        }
    }

    /// Whether what could not be shared says something of the next response, and not only of this request.
    pub(super) fn speaks_for_others(&self) -> bool {
        match self {
            // What only the request, or this one exchange, is the reason of, says nothing of the next.
            Self::Passed(passed) => !matches!(
                passed.why,
                NotStored::RequestNoStore
                    | NotStored::Authorization
                    | NotStored::RequestContent
                    | NotStored::Status
                    | NotStored::Partial
            ),
            Self::Kept(_) | Self::Confirmed(_) => true,
            Self::Stale(..) | Self::Failed(_) => false,
        }
    }

    /// What it is for others.
    pub(super) fn landed(&self, quest: &Quest) -> Landed {
        match self {
            Self::Kept(kept) => Landed::Filling(Arc::clone(&kept.sharing)),
            Self::Confirmed(confirmed) => Landed::Confirmed(Arc::clone(&confirmed.stored)),
            Self::Stale(stored, status) => Landed::Stale(Arc::clone(stored), *status),
            Self::Failed(error) => Landed::Failed(Arc::clone(error), quest.reason),
            Self::Passed(_) => Landed::Alone,
        }
    }

    /// The answer for the one who asked, and what drives its body if others may read it too.
    pub(super) fn own(
        self,
        rooms: &Rooms,
        routed: &Routed,
        rule: &CacheRule,
        quest: &Quest,
        seat: Seat,
    ) -> (Answer, Option<Pump>) {
        match self {
            Self::Kept(kept) => {
                let (answer, pump) = kept.own(routed, quest, seat);
                (answer, Some(pump))
            }
            Self::Passed(passed) => {
                let Passed { status, fields, body, why, received_at } = *passed;
                let note = quest.note(status, Err(why), received_at);
                (answer(routed, status, fields, AnswerBody::origin(body), note), None)
            }
            Self::Confirmed(confirmed) => (confirmed.own(routed, rule, quest), None),
            Self::Stale(stored, status) => {
                (serve::instead_of_failure(&stored, routed, rooms.clock.now(), status), None)
            }
            Self::Failed(error) => {
                let failure = Failure::Origin(&error);
                (serve::failed(&failure, routed, quest.word(), Some(quest.reason)), None)
            }
        }
    }
}

impl Kept {
    fn own(self, routed: &Routed, quest: &Quest, seat: Seat) -> (Answer, Pump) {
        let Self { status, forward_status, fields, sharing, pump } = self;
        let response = &sharing.response;
        let note = quest.note(forward_status, sharing.stored.map(|()| response), response.terms.received_at);
        let answer = match precondition::evaluate(response, &routed.request.head.headers) {
            // This client has it already; the next may not.
            Verdict::NotModified => {
                let fields = precondition::not_modified_fields(&fields);
                answer(routed, StatusCode::NOT_MODIFIED, fields, AnswerBody::Empty, note)
            }
            Verdict::Send => {
                let Some(reader) = sharing.fill.reader(seat, routed.request.takes_trailers) else {
                    return (answer(routed, status, fields, AnswerBody::Empty, note), pump);
                };
                let (head, body) = part::of_coming(response, fields, routed, reader).into_parts();
                answer(routed, head.status, head.headers, body, note)
            }
        };
        (answer, pump)
    }
}

impl Confirmed {
    fn own(self, routed: &Routed, rule: &CacheRule, quest: &Quest) -> Answer {
        let Self { stored, kept, fields, received_at } = self;
        let note = quest.note(StatusCode::NOT_MODIFIED, kept.map(|()| &stored.response), received_at);
        // What may not be stored any more serves this request, which is what the origin allowed.
        let mut answer = serve::from_store(&stored, routed, received_at, note.word, note.status);
        if rule.policy.set_cookie != SetCookie::Store {
            // A cookie that the origin sets now is for this client.
            let headers = answer.response.headers_mut();
            for cookie in fields.get_all(SET_COOKIE) {
                headers.append(SET_COOKIE, cookie.clone());
            }
        }
        answer
    }
}

impl Sharing {
    /// Whether a reader may still begin at the first byte.
    pub(super) fn is_open(&self) -> bool {
        self.fill.is_open()
    }

    /// Whether a request that came when the log stood at `arrival` may be answered with it.
    pub(super) fn suits(&self, routed: &Routed, rule: &CacheRule, arrival: Position, now: Timestamp) -> bool {
        let Self { response, carried, asked, knows_tags, .. } = self;
        // What it was fetched for counts, as with what is stored.
        let subject = || Subject {
            url: Some((&asked.host, &asked.target)),
            response: Some((response.status, &response.lines, response.terms.received_at)),
            bytes: None,
        };
        let standing = || match knows_tags {
            true => carried.standing_of(subject),
            // Any invalidation may have been meant for it.
            false => Standing::Dead,
        };
        suits(response, carried.as_of(), standing, routed, arrival)
            && reusable(&self.response, routed, rule, now)
    }
}

/// Whether the request selects the response, and no invalidation that came before the request condemns it.
fn suits(
    response: &StoredResponse,
    as_of: Position,
    standing: impl Fn() -> Standing,
    routed: &Routed,
    arrival: Position,
) -> bool {
    let request = &routed.request.head;
    let answers = |search: &Search| search.answers(request.uri.query());
    response.selecting.selects(&request.headers)
        && response.search.as_deref().is_none_or(answers)
        // If nothing was invalidated between the beginning of the fetch and the arrival, nothing can condemn it. Else
        // whatever has been invalidated until now is taken for having come before the request: too much is allowed.
        && (arrival <= as_of || standing() == Standing::Usable)
}

/// Whether the request may be answered with the response without asking anybody.
fn reusable(response: &StoredResponse, routed: &Routed, rule: &CacheRule, now: Timestamp) -> bool {
    let request = &routed.request.head;
    let directives = rule.policy.client_directives;
    reuse::reuse(Some(&response.terms), true, &request.method, &request.headers, directives, now)
        == Reuse::Serve
}

impl Landed {
    /// The answer for a follower; `None` if it is not for its request.
    pub(super) fn answer(
        self,
        rooms: &Rooms,
        routed: &Routed,
        rule: &CacheRule,
        arrival: Position,
        reason: ForwardReason,
        seat: Seat,
    ) -> Option<Answer> {
        let now = rooms.clock.now();
        match self {
            Self::Filling(sharing) => {
                let suits = sharing.suits(routed, rule, arrival, now);
                suits.then(|| sharing.answer(routed, reason, seat, now)).flatten()
            }
            Self::Confirmed(stored) => {
                let standing = || stored.standing();
                let suits = suits(&stored.response, stored.carried.as_of(), standing, routed, arrival)
                    && reusable(&stored.response, routed, rule, now);
                let status = CacheStatus {
                    stored: true,
                    ttl_secs: Some(stored.response.terms.ttl_secs(now)),
                    ..collapsed(reason, StatusCode::NOT_MODIFIED)
                };
                suits.then(|| serve::from_store(&stored, routed, now, CacheWord::Refresh, status))
            }
            Self::Stale(stored, status) => {
                let standing = || stored.standing();
                let suits = suits(&stored.response, stored.carried.as_of(), standing, routed, arrival)
                    && reason == ForwardReason::Stale;
                suits.then(|| serve::instead_of_failure(&stored, routed, now, status))
            }
            // Whoever asked for the origin's word got no stale response instead; others may.
            Self::Failed(_, ForwardReason::Request) if reason == ForwardReason::Stale => None,
            Self::Failed(error, _) => {
                Some(serve::failed(&Failure::Origin(&error), routed, CacheWord::Miss, Some(reason)))
            }
            Self::Alone => None,
        }
    }
}

fn collapsed(reason: ForwardReason, status: StatusCode) -> CacheStatus {
    CacheStatus {
        forward: Some(reason),
        forward_status: Some(status),
        collapsed: true,
        ..CacheStatus::default()
    }
}

impl Sharing {
    fn answer(&self, routed: &Routed, reason: ForwardReason, seat: Seat, now: Timestamp) -> Option<Answer> {
        let held = &self.response;
        let status = CacheStatus {
            stored: self.stored.is_ok(),
            ttl_secs: Some(held.terms.ttl_secs(now)),
            detail: self.stored.err().map(NotStored::as_str),
            ..collapsed(reason, held.status)
        };
        let mut response = match precondition::evaluate(held, &routed.request.head.headers) {
            Verdict::NotModified => {
                let mut response = Response::new(AnswerBody::Empty);
                *response.status_mut() = StatusCode::NOT_MODIFIED;
                *response.headers_mut() = precondition::not_modified_fields(&held.headers());
                response
            }
            Verdict::Send => {
                let request = &routed.request.head;
                if request.method == Method::HEAD {
                    let mut response = Response::new(AnswerBody::Empty);
                    *response.status_mut() = held.status;
                    *response.headers_mut() = held.headers();
                    response
                } else {
                    let reader = self.fill.reader(seat, routed.request.takes_trailers)?;
                    part::of_coming(held, held.headers(), routed, reader)
                }
            }
        };
        response.headers_mut().insert(AGE, HeaderValue::from(held.terms.current_age(now).as_secs()));
        let note = Note {
            word: self.word,
            status,
            age_secs: None,
            cached_at: Some(held.terms.received_at),
            reset_at: Some(held.terms.expires_at()),
        };
        Some(Answer::new(response, routed, note))
    }
}
