//! One field of a key: where its value comes from.

use super::{JwtSource, Normalizer, QuerySelection};
use http::HeaderName;
use std::sync::Arc;

/// One entry of `fields:`, compiled.
#[derive(Debug)]
pub struct Field {
    /// Its name: unique among the fields of its constructor.
    pub name: Arc<str>,
    /// Where the value comes from.
    pub source: Source,
    /// Stored responses that agree in all partition fields can be wiped together.
    pub partition: bool,
    /// The value is replaced by its digest in the key.
    pub hash: bool,
    /// Values of a multi-valued source are sorted: parameters of the query by name and value, members of a
    /// comma-separated request field, cookies of one name, items of a claim.
    pub sort: bool,
    /// Steps that make equivalent values equal, in order. They work on decoded text, so a field with steps no longer
    /// tells apart what differs only in its percent-encoding.
    pub normalize: Vec<Normalizer>,
}

/// Where the value of a field comes from.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one per key field of the configuration")]
pub enum Source {
    /// These captures of the path pattern. In a partition several captures stand there by their own names.
    Path(Vec<Arc<str>>),
    /// Every capture of the path pattern. In a partition each stands there by its own name.
    PathAll,
    /// The whole normalised path.
    WholePath,
    /// Parameters of the query.
    Query(QuerySelection),
    /// A request field, all its lines.
    Header(HeaderName),
    /// The cookies of exactly this name (RFC 6265).
    Cookie(Arc<str>),
    /// The host, with port.
    Host,
    /// `http` or `https`.
    Scheme,
    /// The request's method.
    Method,
    /// Always the same.
    Constant(Arc<str>),
    /// The client's network prefix. An IPv4 address written as an IPv6 one counts as IPv4.
    ClientPrefix {
        /// Bits of an IPv4 address, at most 32.
        v4: u8,
        /// Bits of an IPv6 address, at most 128.
        v6: u8,
    },
    /// A claim of a JSON Web Token.
    Jwt(JwtSource),
    /// The digest of a file, taken when the configuration was compiled.
    Fingerprint {
        /// As [`digest_hex`](super::digest_hex) makes it.
        digest: Arc<str>,
    },
}

impl Field {
    /// Whether its values stand in the partition by their own names instead of the field's.
    pub(super) fn is_spread(&self) -> bool {
        self.partition
            && match &self.source {
                Source::PathAll => true,
                Source::Path(captures) => captures.len() > 1,
                _ => false,
            }
    }

    /// Whether what stands in a key for either field is read in the same way: as the same part of a URL, and as the
    /// same partition value.
    pub(super) fn is_read_like(&self, other: &Self) -> bool {
        let same_source = match (&self.source, &other.source) {
            (Source::Path(one), Source::Path(other)) => one == other,
            (Source::Query(one), Source::Query(other)) => one.only == other.only,
            (one, other) => std::mem::discriminant(one) == std::mem::discriminant(other),
        };
        same_source
            && self.name == other.name
            && self.partition == other.partition
            && self.normalize.is_empty() == other.normalize.is_empty()
    }

    /// Whether its value comes from the URL, its scheme aside.
    pub(super) fn is_of_url(&self) -> bool {
        matches!(
            self.source,
            Source::Path(_) | Source::PathAll | Source::WholePath | Source::Query(_) | Source::Host
        )
    }
}
