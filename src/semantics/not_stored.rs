//! Why a response is not stored: the refusals of RFC 9111 §3, and those that only the fetch can find.
//!
//! A vocabulary and no more; the rules stand in [`storing`](super::storing).

use std::fmt;

/// Why a response may not be stored. One vocabulary for Cache-Status, logs, metrics, explain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NotStored {
    /// The request method is not GET; or it is POST, and the response is not what a GET would get.
    Method,
    /// The request had content, which no key contains; or it is a QUERY with more of it than the route allows.
    RequestContent,
    /// The request is a QUERY that does not say what its content is.
    ContentType,
    /// The status code is not final, or is about this one exchange, or needs a lifetime that is not stated.
    Status,
    /// A 206.
    Partial,
    /// `must-understand` with a status code whose caching rules we do not know.
    MustUnderstand,
    /// The response says `no-store`.
    NoStore,
    /// The request said `no-store`.
    RequestNoStore,
    /// The response says `private`.
    Private,
    /// The request had `Authorization` and nothing in the response allows to share it.
    Authorization,
    /// The response says nothing about freshness, and neither does the route.
    NoFreshness,
    /// It would have to be validated before every use, or put together from parts, and has no validator that allows it.
    NoValidator,
    /// `Vary` is `*`, cannot be read, or names a field that tells the origin who sent the request.
    VaryStar,
    /// It belongs to more cache groups, or to ones with longer names, than are remembered.
    CacheGroups,
    /// The tags in its body cannot be read. Found by the fetch.
    Tags,
    /// It sets a cookie.
    SetCookie,
    /// It ended before its end. Found by the fetch.
    Incomplete,
    /// It is larger than the store takes. Found by the fetch.
    TooLarge,
    /// The route's `store_unless` matches. Found by the fetch.
    Condition,
    /// An invalidation overtook the fetch. Found by the fetch.
    Purged,
    /// The key constructor rejects the request. Found by the route.
    KeyRejected,
    /// Its key has not been asked for often enough. Found by the fetch.
    MinUses,
    /// Its end was the connection's, so it cannot be known to be complete. Found by the fetch.
    CloseDelimited,
}

impl NotStored {
    /// The stable token shown in logs, metrics and `Cache-Status; detail=`, such as `no-store`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Method => "method",
            Self::RequestContent => "request-content",
            Self::ContentType => "content-type",
            Self::Status => "status",
            Self::Partial => "partial",
            Self::MustUnderstand => "must-understand",
            Self::NoStore => "no-store",
            Self::RequestNoStore => "request-no-store",
            Self::Private => "private",
            Self::Authorization => "authorization",
            Self::NoFreshness => "no-freshness",
            Self::NoValidator => "no-validator",
            Self::VaryStar => "vary-star",
            Self::CacheGroups => "cache-groups",
            Self::Tags => "tags",
            Self::SetCookie => "set-cookie",
            Self::Incomplete => "incomplete",
            Self::TooLarge => "too-large",
            Self::Condition => "store-condition",
            Self::Purged => "purged",
            Self::KeyRejected => "key-rejected",
            Self::MinUses => "min-uses",
            Self::CloseDelimited => "close-delimited",
        }
    }
}

impl fmt::Display for NotStored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::NotStored;

    #[test]
    fn refusals_are_shown_as_their_tokens() {
        assert_eq!(NotStored::Condition.to_string(), "store-condition");
        assert_eq!(NotStored::Purged.to_string(), "purged");
    }
}
