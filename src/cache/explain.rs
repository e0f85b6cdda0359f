//! Why a request gets what it gets, asked of the rules that requests meet. Changes nothing.

use http::{HeaderMap, Method, StatusCode};

use super::receive;
use super::service::{Rooms, participates};
use crate::clock::Timestamp;
use crate::exchange::Routed;
use crate::explain::{Explanation, RuleLine, StoredLine, Storing, TermsLine};
use crate::invalidation::Standing;
use crate::routes::Ranges;
use crate::semantics::storing::{self, Exchanged};
use crate::semantics::targeted::Statement;
use crate::semantics::{NotStored, Reuse, Terms, reuse};
use crate::store::{Stored, Variants};

impl Rooms {
    /// What a request would get now, and why.
    pub fn explain(&self, routed: &Routed) -> Explanation {
        let now = self.clock.now();
        let request = &routed.request;
        let explanation = Explanation {
            request: format!(
                "{} {}://{}{}",
                request.head.method,
                request.scheme.as_str(),
                request.host,
                request.head.uri
            ),
            route: routed.route.name.to_string(),
            key: None,
            stored: Vec::new(),
            rules: Vec::new(),
            verdict: "BYPASS".to_owned(),
            why: String::new(),
        };
        let bypassed = |why: &str| Explanation { why: why.to_owned(), ..explanation.clone() };
        let Some(rule) = &routed.route.cache else { return bypassed("the route says `cache: off`") };
        if rule.query.is_some() && request.head.method == Method::QUERY {
            return bypassed("its key has the request's content, which is not given here");
        }
        if let Err(reason) = participates(routed) {
            return bypassed(reason.as_str());
        }
        let key = match self.key(routed, rule, now) {
            Ok(key) => key,
            Err(problem) => return bypassed(&problem.to_string()),
        };

        let variants = self.store.peek(&key.text);
        let stored = variants.as_ref().map(Variants::stored).unwrap_or_default();
        let (selected, exist) = self.select(stored, routed);
        let is_selected =
            |stored: &Stored| selected.is_some_and(|selected| std::ptr::eq(&**selected, stored));
        let lines = stored.iter().map(|stored| self.stored_line(stored, is_selected(stored), now));
        let mut rules = Vec::new();
        let terms = selected.map(|stored| self.terms(stored, now));
        let decision = reuse::reuse_told(
            terms.as_ref(),
            exist,
            &request.head.method,
            &request.head.headers,
            rule.policy.client_directives,
            now,
            |rule, holds| rules.push(RuleLine { rule: rule.to_owned(), holds }),
        );
        let (verdict, why) = match decision {
            Reuse::Serve => ("HIT", "it is served from the store"),
            Reuse::ServeStale => ("STALE", "it is served from the store, and the origin asked meanwhile"),
            Reuse::Validate(reason) => ("REFRESH", reason.as_str()),
            Reuse::Forward(reason) => ("MISS", reason.as_str()),
            Reuse::Refuse => ("MISS", "504: only-if-cached"),
        };
        let is_sliced = matches!(rule.ranges, Ranges::Slices(_)) && matches!(decision, Reuse::Forward(_));
        let why = if is_sliced { "it is put together from slices, stored or not" } else { why };
        let (key, stored) = (Some(key.text.to_string()), lines.collect());
        Explanation { key, stored, rules, verdict: verdict.to_owned(), why: why.to_owned(), ..explanation }
    }

    fn stored_line(&self, stored: &Stored, selected: bool, now: Timestamp) -> StoredLine {
        let response = &stored.response;
        let standing = stored.standing();
        StoredLine {
            selected,
            purged: standing == Standing::Dead,
            softened: standing == Standing::Softened,
            status: response.status.as_u16(),
            age_secs: response.terms.current_age(now).as_secs(),
            ttl_secs: response.terms.ttl_secs(now),
            received_at: response.terms.received_at.iso8601().to_string(),
            bytes: stored.body.len(),
            etag: response.entity_tag().map(|tag| tag.as_value().as_bytes().escape_ascii().to_string()),
            vary: response.selecting.names().map(ToString::to_string).collect(),
            tags: stored.carried.tags().len(),
            terms: terms_line(&response.terms),
        }
    }
}

/// Whether a response with this head would be stored, and why. `from_origin`: its fields as they come.
pub fn storing(routed: &Routed, status: StatusCode, from_origin: &HeaderMap, now: Timestamp) -> Storing {
    let mut rules = Vec::new();
    let mut tell = |rule: &str, holds| rules.push(RuleLine { rule: rule.to_owned(), holds });
    let Some(rule) = &routed.route.cache else {
        tell("the route caches", false);
        return Storing { rules, verdict: Err("the route says `cache: off`".to_owned()) };
    };
    if let Err(reason) = participates(routed) {
        tell("the request may be answered from the cache or fill it", false);
        return Storing { rules, verdict: Err(reason.to_string()) };
    }
    let fields = receive::fields(from_origin.clone(), now);
    let request = &routed.request.head;
    let exchanged = Exchanged { requested_at: now, received_at: now };
    let heard = Statement::of(&fields, &rule.policy.targeted_fields).targeted;
    let heard = heard.as_ref().map_or("Cache-Control", |name| name.as_str());
    tell(&format!("{heard} is the field that decides (RFC 9213)"), true);
    let terms = storing::terms_told(
        &request.method,
        &request.headers,
        status,
        &fields,
        &rule.policy,
        exchanged,
        |rule, refusal| tell(rule, refusal.is_none()),
    );
    let terms = terms.and_then(|terms| {
        let wanted = receive::is_wanted(rule, status, &fields);
        if rule.store_if.is_some() || rule.store_unless.is_some() {
            tell("the route's store_if and store_unless let it", wanted);
        }
        if wanted { Ok(terms) } else { Err(NotStored::Condition) }
    });
    Storing { rules, verdict: terms.map(|terms| terms_line(&terms)).map_err(|why| why.to_string()) }
}

fn terms_line(terms: &Terms) -> TermsLine {
    TermsLine {
        lifetime_secs: terms.lifetime.get().as_secs(),
        lifetime_from: terms.lifetime_from.as_str().to_owned(),
        initial_age_secs: terms.initial_age.get().as_secs(),
        always_validate: terms.always_validate,
        stale_while_revalidate_secs: terms.stale_while_revalidate.get().as_secs(),
        stale_if_error_secs: terms.stale_if_error.get().as_secs(),
    }
}
