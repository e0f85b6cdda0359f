//! One field of a key: where its value comes from.

use super::Normalizer;
use http::HeaderName;
use std::sync::Arc;

#[derive(Debug)]
pub struct Field {
    pub name: Arc<str>,
    pub source: Source,
    /// Stored responses that agree in all partition fields can be wiped together.
    pub partition: bool,
    /// The value is replaced by its digest in the key.
    pub hash: bool,
    /// Values of a multi-valued source are sorted.
    pub sort: bool,
    pub normalize: Vec<Normalizer>,
}

#[derive(Debug)]
pub enum Source {
    /// These captures of the path pattern.
    Path(Vec<Arc<str>>),
    /// Every capture of the path pattern.
    PathAll,
    /// The whole normalised path.
    WholePath,
    Query(QuerySelection),
    Header(HeaderName),
    Cookie(Arc<str>),
    Host,
    Scheme,
    Method,
    Constant(Arc<str>),
    /// The client's network prefix.
    ClientPrefix {
        v4: u8,
        v6: u8,
    },
    Jwt(JwtSource),
    /// The digest of a file, taken when the configuration was compiled.
    Fingerprint {
        digest: Arc<str>,
    },
}

#[derive(Clone, Debug, Default)]
pub struct QuerySelection {
    /// `None`: every parameter (`"*"`).
    pub only: Option<Vec<Arc<str>>>,
    /// Names to leave out; a trailing `*` stands for any ending.
    pub exclude: Vec<Arc<str>>,
    /// Leave out utm_*, gclid, fbclid and their kin.
    pub drop_tracking: bool,
    /// Sorted by name (values of one name keep their order), or in the order of the request.
    pub sorted: bool,
}

pub struct JwtSource {
    /// The field that carries the token; `Bearer ` is skipped.
    pub header: Option<HeaderName>,
    pub cookie: Option<Arc<str>>,
    /// A claim's name or a dotted path.
    pub claim: Arc<str>,
    pub trust: JwtTrust,
}

pub enum JwtTrust {
    /// Something in front of Staleproof has verified the token.
    VerifiedInFront,
    /// Verified here, with the algorithms and key given.
    Key { key: jsonwebtoken::DecodingKey, validation: jsonwebtoken::Validation },
}

impl std::fmt::Debug for JwtSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JwtSource").field("claim", &self.claim).finish_non_exhaustive()
    }
}
