//! The origin has confirmed stored responses: their fields are updated (RFC 9111 §3.2), their bodies stay.

use std::sync::Arc;

use http::header::VARY;
use http::{HeaderMap, StatusCode};

use super::fetch::stored_method;
use super::{Rooms, receive};
use crate::exchange::Routed;
use crate::invalidation::{Fetch, Standing};
use crate::keys::Key;
use crate::routes::CacheRule;
use crate::semantics::storing::{self, Exchanged};
use crate::semantics::validation::HeadSays;
use crate::semantics::{NoVarySearch, NotStored, StoredResponse, validation};
use crate::store::Stored;

/// What the origin said, and to whom.
pub(super) struct Confirmation<'a> {
    pub(super) rooms: &'a Rooms,
    pub(super) routed: &'a Routed,
    pub(super) rule: &'a CacheRule,
    pub(super) key: &'a Key,
    /// The fields of the 304, or of the 200 that answers a HEAD.
    pub(super) fields: &'a HeaderMap,
    pub(super) exchanged: Exchanged,
    /// Kept until all is stored, so that no invalidation since its beginning is forgotten.
    pub(super) fetch: &'a Fetch,
}

impl Confirmation<'_> {
    /// The stored response as it is from now on; or why it is none any more: then it is gone from the store.
    pub(super) fn freshen(&self, stored: &Stored) -> Result<Arc<Stored>, NotStored> {
        let fields = self.freshened(&stored.response);
        let status = stored.response.status;
        let mut response = receive::storable(
            stored_method(self.routed),
            self.routed,
            self.rule,
            if status == StatusCode::PARTIAL_CONTENT { StatusCode::OK } else { status },
            &fields,
            self.exchanged,
        )
        .inspect_err(|_| self.forget(stored))?;
        // A part may be stored as its whole may (§3.3).
        response.status = status;
        let fresh = self.replace(stored, response, &fields);
        if self.selects(stored) {
            // The fresh one is in its place, also if its `Vary` is another now.
            self.forget(stored);
        }
        Ok(fresh)
    }

    /// Updates what else the answer identifies: the variants with the same strong tag (§4.3.4).
    pub(super) fn freshen_others(&self) {
        let Some(variants) = self.rooms.store.peek(&self.key.text) else { return };
        for stored in variants.stored() {
            // One that stands now stood when this fetch began, too.
            let is_other = !self.selects(stored)
                && validation::identifies(self.fields, &stored.response)
                && stored.standing() != Standing::Dead;
            if is_other {
                self.freshen_other(stored);
            }
        }
    }

    /// A 200 to a HEAD: updates or ends the stored response that the request selects (§4.3.5).
    pub(super) fn heed_head(&self, stored: &Stored) {
        match validation::head_says(&stored.response, self.fields) {
            // Why it is not stored any more is no news to a client that asked for something else.
            HeadSays::Same => drop(self.freshen(stored)),
            HeadSays::Changed => self.forget(stored),
            HeadSays::Nothing => {}
        }
    }

    fn freshen_other(&self, stored: &Stored) {
        let StoredResponse { status, lines, selecting, .. } = &stored.response;
        let fields = self.freshened(&stored.response);
        let search = stored.response.search.as_deref();
        let same_queries = search.is_none_or(|search| search.rule() == NoVarySearch::of(&fields).as_ref());
        if !same_queries || !fields.get_all(VARY).iter().eq(lines.to_map().get_all(VARY).iter()) {
            // Which requests it is for now depends on a request that nobody remembers.
            return self.forget(stored);
        }
        let request = &self.routed.request.head.headers;
        match storing::terms(
            stored_method(self.routed),
            request,
            *status,
            &fields,
            &self.rule.policy,
            self.exchanged,
        ) {
            Ok(terms) => {
                let storable =
                    receive::storable_response(self.rule, *status, &fields, terms, selecting.clone())
                        .with_search(search.cloned());
                self.replace(stored, storable, &fields);
            }
            Err(_) => self.forget(stored),
        }
    }

    fn freshened(&self, stored: &StoredResponse) -> HeaderMap {
        validation::freshened_fields(&stored.all_fields(), self.fields, self.rule.policy.set_cookie)
    }

    fn replace(&self, stored: &Stored, response: StoredResponse, fields: &HeaderMap) -> Arc<Stored> {
        let Self { rooms, routed, rule, key, fetch, .. } = self;
        // The body is the old one: what could invalidate it can still, though it may have lost a tag just now.
        let carried = rooms.log.carry(fetch, receive::tags(routed, rule, key, fields));
        let carried = carried.with_tags_of(&stored.carried);
        let asked = Arc::clone(&stored.asked);
        let fresh = Stored::new(Arc::clone(&key.text), response, stored.body.clone(), carried, asked);
        let fresh = Arc::new(fresh.with_trailers(stored.trailers.clone()));
        rooms.keep(Arc::clone(&fresh));
        fresh
    }

    fn selects(&self, stored: &Stored) -> bool {
        stored.response.selecting.selects(&self.routed.request.head.headers)
    }

    fn forget(&self, stored: &Stored) {
        self.rooms.store.retain(&self.key.text, |kept| !std::ptr::eq(kept, stored));
    }
}
