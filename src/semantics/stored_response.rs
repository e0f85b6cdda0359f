//! What is remembered of a response, with everything worked out that can be when it is stored.
//!
//! Knows neither the key it is stored under, nor its content, nor its tags.

use super::policy::{Policy, SetCookie};
use super::storing::Terms;
use super::targeted::Statement;
use super::vary::Selecting;
use super::{EntityTag, Search, dates, fields};
use crate::clock::Timestamp;
use bytes::{Bytes, BytesMut};
use http::header::{AGE, DATE, LAST_MODIFIED, SET_COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use std::borrow::Cow;

/// A stored response without its content.
#[derive(Clone, Debug)]
pub struct StoredResponse {
    /// The status code it is served with.
    pub status: StatusCode,
    /// End-to-end fields, ready to be sent (without `Age`); `Date` present.
    pub headers: HeaderMap,
    /// The fields that end here. A 304 may leave them as they are, and they still decide then.
    pub for_us: HeaderMap,
    /// How long and under which conditions it may be reused.
    pub terms: Terms,
    /// Which requests it is for.
    pub selecting: Selecting,
    /// Which queries it answers, where that is not for the key alone to say.
    pub search: Option<Box<Search>>,
    entity_tag: Option<EntityTag>,
    last_modified: Option<Timestamp>,
    modified_for_conditions: Option<Timestamp>,
}

impl StoredResponse {
    /// A response as it is stored. `headers` are its [`storable_fields`], `ends_here` says which of them no client
    /// is to see.
    ///
    /// The values are copied into one piece of memory of their own: as they came, they kept alive the whole
    /// buffer that the connection read them into.
    pub fn new(
        status: StatusCode,
        headers: HeaderMap,
        ends_here: impl Fn(&HeaderName) -> bool,
        terms: Terms,
        selecting: Selecting,
    ) -> Self {
        let headers = fields::without(headers, &[AGE]);
        let for_us = fields::only(&headers, &ends_here);
        let headers = packed(fields::without_where(headers, ends_here));
        let last_modified = dates::field(&headers, LAST_MODIFIED, terms.received_at);
        // "the Last-Modified header field is not present": then Date, then the time of receipt (§4.3.2)
        let modified_for_conditions = if headers.contains_key(LAST_MODIFIED) {
            last_modified
        } else {
            dates::field(&headers, DATE, terms.received_at).or(Some(terms.received_at))
        };
        let entity_tag = EntityTag::of(&headers);
        Self {
            status,
            headers,
            for_us,
            terms,
            selecting,
            search: None,
            entity_tag,
            last_modified,
            modified_for_conditions,
        }
    }

    /// The same, for these queries only.
    pub fn with_search(self, search: Option<Search>) -> Self {
        Self { search: search.map(Box::new), ..self }
    }

    /// The same with other fields to be sent. Those that validate it stay as they are.
    pub fn with_headers(self, headers: HeaderMap) -> Self {
        Self { headers: packed(headers), ..self }
    }

    /// All its fields, those that end here too: what a 304 updates.
    pub fn all_fields(&self) -> Cow<'_, HeaderMap> {
        if self.for_us.is_empty() {
            return Cow::Borrowed(&self.headers);
        }
        let mut all = self.headers.clone();
        all.extend(self.for_us.clone());
        Cow::Owned(all)
    }

    /// Its entity tag, if it has a valid one.
    pub fn entity_tag(&self) -> Option<&EntityTag> {
        self.entity_tag.as_ref()
    }

    /// Its `Last-Modified`, if it has a valid one.
    pub fn last_modified(&self) -> Option<Timestamp> {
        self.last_modified
    }

    /// Whether the origin can be asked if it still holds.
    pub fn has_validator(&self) -> bool {
        self.entity_tag.is_some() || self.last_modified.is_some()
    }

    /// What `If-Modified-Since` is compared with (§4.3.2); `None` if `Last-Modified` cannot be read.
    pub(super) fn modified_for_conditions(&self) -> Option<Timestamp> {
        self.modified_for_conditions
    }

    /// The bytes it occupies, closely enough for a memory limit: itself, its fields, its selecting fields.
    pub fn byte_size(&self) -> usize {
        size_of::<Self>()
            + fields_byte_size(&self.headers)
            + fields_byte_size(&self.for_us)
            + self.selecting.byte_size()
            + self.search.as_ref().map_or(0, |search| search.byte_size())
    }
}

/// The bytes that fields occupy, closely enough for a memory limit.
pub fn fields_byte_size(fields: &HeaderMap) -> usize {
    // An entry of a `HeaderMap`, with its share of the index and of the map's free room.
    const LINE_BYTES: usize = 128;
    fields.iter().map(|(name, value)| name.as_str().len() + value.len() + LINE_BYTES).sum()
}

/// What is stored of a response's end-to-end fields: not `Age`, which every reuse states anew, not what a qualified
/// `private` or `no-cache` names, and not `Set-Cookie` where the policy strips it. The client that caused the fetch gets
/// them all the same. Order is kept.
pub fn storable_fields(headers: HeaderMap, policy: &Policy) -> HeaderMap {
    let mut omitted = Statement::of(&headers, &policy.targeted_fields).withheld;
    omitted.push(AGE);
    if policy.set_cookie == SetCookie::Strip {
        omitted.push(SET_COOKIE);
    }
    fields::without(headers, &omitted)
}

fn packed(mut headers: HeaderMap) -> HeaderMap {
    let mut buffer = BytesMut::with_capacity(headers.values().map(HeaderValue::len).sum());
    for value in headers.values() {
        buffer.extend_from_slice(value.as_bytes());
    }
    let mut buffer: Bytes = buffer.freeze();
    for value in headers.values_mut() {
        let bytes = buffer.split_to(value.len());
        // These bytes were a field value before; if they were not, the value would stay as it is.
        if let Ok(mut copy) = HeaderValue::from_maybe_shared(bytes) {
            copy.set_sensitive(value.is_sensitive());
            *value = copy;
        }
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::semantics::samples::{at, date, fields, stored};

    #[test]
    fn validators_are_read_once() {
        let check = |lines: &[(&str, &str)], tag: Option<&str>, modified| {
            let stored = stored(lines);
            let seen = stored.entity_tag().map(|tag| tag.as_value().to_str().unwrap());
            assert_eq!((seen, stored.last_modified()), (tag, modified), "{lines:?}");
            assert_eq!(stored.has_validator(), tag.is_some() || modified.is_some());
        };
        check(&[], None, None);
        check(&[("etag", "W/\"a\"")], Some("W/\"a\""), None);
        check(&[("etag", "a"), ("last-modified", &date(5))], None, Some(at(5.0)));
        check(&[("etag", "\"a\""), ("last-modified", "yesterday")], Some("\"a\""), None);
    }

    #[test]
    fn without_last_modified_date_stands_for_it() {
        let check = |lines: &[(&str, &str)], expected| {
            assert_eq!(stored(lines).modified_for_conditions(), expected, "{lines:?}");
        };
        check(&[("last-modified", &date(5)), ("date", &date(9))], Some(at(5.0)));
        check(&[("date", &date(9))], Some(at(9.0)));
        check(&[("date", "today")], Some(at(1000.0)));
        check(&[("last-modified", "yesterday"), ("date", &date(9))], None);
    }

    #[test]
    fn age_is_never_stored_and_set_cookie_as_the_policy_says() {
        let received = [("x", "1"), ("age", "5"), ("set-cookie", "a"), ("set-cookie", "b"), ("y", "2")];
        let check = |set_cookie, kept: &[(&str, &str)]| {
            let storable = storable_fields(fields(&received), &Policy { set_cookie, ..Policy::default() });
            let storable: Vec<_> =
                storable.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
            assert_eq!(storable, kept);
        };
        check(SetCookie::Strip, &[("x", "1"), ("y", "2")]);
        check(SetCookie::Store, &[("x", "1"), ("set-cookie", "a"), ("set-cookie", "b"), ("y", "2")]);
        check(SetCookie::Refuse, &[("x", "1"), ("set-cookie", "a"), ("set-cookie", "b"), ("y", "2")]);
        assert!(!stored(&received).headers.contains_key("age"));
    }

    #[test]
    fn stored_fields_are_those_received_in_memory_of_their_own() {
        let mut received = fields(&[("b", "first"), ("a", ""), ("b", "second"), ("c", "\u{fc}")]);
        let mut secret = HeaderValue::from_static("kept");
        secret.set_sensitive(true);
        received.insert("d", secret);
        let copy = packed(received.clone());
        assert_eq!(copy, received);
        assert!(copy["d"].is_sensitive() && !copy["a"].is_sensitive());
        assert_ne!(copy["d"].as_bytes().as_ptr(), received["d"].as_bytes().as_ptr());
    }

    #[test]
    fn every_byte_of_a_field_is_counted() {
        let small = stored(&[("a", "1")]).byte_size();
        assert_eq!(stored(&[("a", &"1".repeat(1001))]).byte_size(), small + 1000);
        assert!(stored(&[("a", "1"), ("a", "1")]).byte_size() > small + size_of::<HeaderValue>());
    }
}
