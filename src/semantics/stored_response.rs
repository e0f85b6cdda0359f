//! What is remembered of a response, with everything worked out that can be when it is stored.
//!
//! Knows neither the key it is stored under, nor its content, nor its tags.

use super::lines::{self, Lines};
use super::policy::{Policy, SetCookie};
use super::storing::Terms;
use super::targeted::Statement;
use super::vary::Selecting;
use super::{EntityTag, Search, cache_status, dates, fields};
use crate::clock::Timestamp;
use http::header::{AGE, DATE, ETAG, LAST_MODIFIED, SET_COOKIE};
use http::{HeaderMap, HeaderName, StatusCode};

/// A stored response without its content.
#[derive(Clone, Debug)]
pub struct StoredResponse {
    /// The status code it is served with.
    pub status: StatusCode,
    /// End-to-end fields, ready to be sent (without `Age`); `Date` present.
    pub lines: Lines,
    /// None of these is what this cache says of itself: they can be sent as they are, and that after them.
    pub is_plain: bool,
    /// The fields that end here. A 304 may leave them as they are, and they still decide then.
    for_us: Option<Box<Lines>>,
    /// How long and under which conditions it may be reused.
    pub terms: Terms,
    /// Which requests it is for.
    pub selecting: Selecting,
    /// Which queries it answers, where that is not for the key alone to say.
    pub search: Option<Box<Search>>,
    last_modified: Option<Timestamp>,
}

impl StoredResponse {
    /// A response as it is stored. `headers` are its [`storable_fields`], `ends_here` says which of them no client
    /// is to see.
    ///
    /// They are copied into one piece of memory of their own: as they came, they kept alive the whole buffer that the
    /// connection read them into.
    pub fn new(
        status: StatusCode,
        headers: HeaderMap,
        ends_here: impl Fn(&HeaderName) -> bool,
        terms: Terms,
        selecting: Selecting,
    ) -> Self {
        let headers = fields::without(headers, &[AGE]);
        let for_us = fields::only(&headers, &ends_here);
        let for_us = (!for_us.is_empty()).then(|| Box::new(Lines::of(&for_us)));
        let headers = fields::without_where(headers, ends_here);
        let last_modified = dates::field(&headers, LAST_MODIFIED, terms.received_at);
        Self {
            status,
            lines: Lines::of(&headers),
            is_plain: is_plain(&headers),
            for_us,
            terms,
            selecting,
            search: None,
            last_modified,
        }
    }

    /// The same, for these queries only.
    pub fn with_search(self, search: Option<Search>) -> Self {
        Self { search: search.map(Box::new), ..self }
    }

    /// The same with other fields to be sent. Those that validate it stay as they are.
    pub fn with_headers(self, headers: &HeaderMap) -> Self {
        Self { lines: Lines::of(headers), is_plain: is_plain(headers), ..self }
    }

    /// End-to-end fields (without `Age`), to be changed.
    pub fn headers(&self) -> HeaderMap {
        self.lines.to_map()
    }

    /// All its fields, those that end here too: what a 304 updates.
    pub fn all_fields(&self) -> HeaderMap {
        let mut all = self.headers();
        if let Some(for_us) = &self.for_us {
            lines::append(for_us.as_bytes(), &mut all);
        }
        all
    }

    /// Its entity tag, if it has a valid one.
    pub fn entity_tag(&self) -> Option<EntityTag> {
        let mut tags = self.lines.iter().filter(|(name, _)| *name == ETAG.as_str().as_bytes());
        let ((_, tag), None) = (tags.next()?, tags.next()) else { return None };
        EntityTag::parse(tag)
    }

    /// Its `Last-Modified`, if it has a valid one.
    pub fn last_modified(&self) -> Option<Timestamp> {
        self.last_modified
    }

    /// Whether the origin can be asked if it still holds.
    pub fn has_validator(&self) -> bool {
        self.last_modified.is_some() || self.entity_tag().is_some()
    }

    /// What `If-Modified-Since` is compared with (§4.3.2); `None` if `Last-Modified` cannot be read.
    pub(super) fn modified_for_conditions(&self) -> Option<Timestamp> {
        if self.last_modified.is_some() || self.lines.has(&LAST_MODIFIED) {
            return self.last_modified;
        }
        // "the Last-Modified header field is not present": then Date, then the time of receipt (§4.3.2)
        let received_at = self.terms.received_at;
        dates::field(&self.headers(), DATE, received_at).or(Some(received_at))
    }

    /// The bytes it occupies, closely enough for a memory limit: itself, its fields, its selecting fields.
    pub fn byte_size(&self) -> usize {
        size_of::<Self>()
            + self.lines.as_bytes().len()
            + self.for_us.as_ref().map_or(0, |lines| size_of::<Lines>() + lines.as_bytes().len())
            + self.selecting.byte_size()
            + self.search.as_ref().map_or(0, |search| search.byte_size())
    }
}

fn is_plain(headers: &HeaderMap) -> bool {
    !cache_status::REPLACED.iter().any(|name| headers.contains_key(name))
}

/// The bytes that fields occupy, closely enough for a memory limit.
pub fn fields_byte_size(fields: &HeaderMap) -> usize {
    // An entry of a `HeaderMap`, with its share of the index and of the map's free room.
    const LINE_BYTES: usize = 128;
    fields.iter().map(|(name, value)| name.as_str().len() + value.len() + LINE_BYTES).sum()
}

/// What is stored of a response's end-to-end fields: not `Age`, which every reuse states anew, not what a qualified
/// `private` or `no-cache` names, and not `Set-Cookie` where the policy strips it. The client that caused the fetch gets
/// them all the same.
pub fn storable_fields(headers: HeaderMap, policy: &Policy) -> HeaderMap {
    let mut omitted = Statement::of(&headers, &policy.targeted_fields).withheld;
    omitted.push(AGE);
    if policy.set_cookie == SetCookie::Strip {
        omitted.push(SET_COOKIE);
    }
    fields::without(headers, &omitted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::semantics::samples::{at, date, fields, stored};

    #[test]
    fn validators_are_read_once() {
        let check = |lines: &[(&str, &str)], tag: Option<&str>, modified| {
            let stored = stored(lines);
            let seen = stored.entity_tag();
            let seen = seen.as_ref().map(|tag| tag.as_value().to_str().unwrap());
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
            let mut storable: Vec<_> =
                storable.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
            storable.sort_by_key(|&(name, _)| name);
            assert_eq!(storable, kept);
        };
        check(SetCookie::Strip, &[("x", "1"), ("y", "2")]);
        check(SetCookie::Store, &[("set-cookie", "a"), ("set-cookie", "b"), ("x", "1"), ("y", "2")]);
        check(SetCookie::Refuse, &[("set-cookie", "a"), ("set-cookie", "b"), ("x", "1"), ("y", "2")]);
        assert!(!stored(&received).lines.has(&AGE));
    }

    #[test]
    fn every_byte_of_a_field_is_counted() {
        let small = stored(&[("a", "1")]).byte_size();
        assert_eq!(stored(&[("a", &"1".repeat(1001))]).byte_size(), small + 1000);
        assert_eq!(stored(&[("a", "1"), ("a", "1")]).byte_size(), small + "a: 1\r\n".len());
    }
}
