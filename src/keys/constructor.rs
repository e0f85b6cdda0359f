//! The key constructor: fields in, an injective key out.

use super::encoding::{escape, replace_by_digest};
use super::normalizer::normalize;
use super::query::{QuerySelection, as_read};
use super::value::Reader;
use super::{Field, Key, KeyError, KeyInput, Part, Source};
use crate::clock::Timestamp;
use crate::routes::Captures;
use crate::uri::without_default_port;
use http::{HeaderMap, Method};
use smallvec::SmallVec;
use std::borrow::Cow;
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// One entry of `keys:`, compiled (`extends` already resolved).
#[derive(Debug)]
pub struct Constructor {
    /// Its name under `keys:`; the safe default is called `default`.
    pub name: Arc<str>,
    /// What keeps whole families of keys apart; may be empty.
    pub namespace: Arc<str>,
    /// A bump makes older keys unreachable.
    pub version: u32,
    /// Constructors (and routes) with the same id share stored responses. Default: the name.
    pub id: Arc<str>,
    /// In any order: the key does not depend on it.
    pub fields: Vec<Field>,
    /// In bytes.
    pub max_suffix_length: usize,
    /// What happens to a longer suffix.
    pub on_overflow: OnOverflow,
}

/// What happens to a suffix that is longer than it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnOverflow {
    /// The suffix is replaced by its digest.
    Hash,
    /// The request is not cached ([`KeyError::TooLong`]).
    Reject,
}

/// How long a suffix may be if nobody says otherwise, in bytes.
pub const DEFAULT_MAX_SUFFIX_LENGTH: usize = 512;

impl Constructor {
    /// The safe default key: scheme class, host, normalised path (its captures as partition), sorted query, without
    /// [tracking parameters](super::TRACKING) if `drop_tracking`. Under the route's name as its id: two routes that
    /// take the same URL by different conditions share nothing.
    pub fn safe_default(id: &str, drop_tracking: bool) -> Self {
        let field = |name: &str, source| Field {
            name: name.into(),
            partition: matches!(source, Source::PathAll),
            source,
            hash: false,
            sort: false,
            normalize: Vec::new(),
        };
        let query = QuerySelection { drop_tracking, sorted: true, ..QuerySelection::default() };
        Self {
            name: "default".into(),
            namespace: "".into(),
            version: 1,
            id: id.into(),
            fields: vec![
                field("scheme", Source::Scheme),
                field("host", Source::Host),
                field("path", Source::WholePath),
                field("captures", Source::PathAll),
                field("query", Source::Query(query)),
            ],
            max_suffix_length: DEFAULT_MAX_SUFFIX_LENGTH,
            on_overflow: OnOverflow::Hash,
        }
    }

    /// The request's key.
    ///
    /// # Errors
    ///
    /// The suffix is too long and may not be shortened, or a token cannot be believed.
    pub fn key(&self, input: &KeyInput<'_>) -> Result<Key, KeyError> {
        let mut text = String::with_capacity(128);
        self.write(input, &mut text)?;
        self.key_of(text.into(), input)
    }

    /// Adds the text of the request's key: all it takes to look something up.
    ///
    /// # Errors
    ///
    /// As [`key`](Self::key).
    pub fn write(&self, input: &KeyInput<'_>, text: &mut String) -> Result<(), KeyError> {
        let reader = Reader::new(input);
        self.push_head(text);
        text.push('|');
        for field in in_order(&self.fields, |field| field.partition) {
            reader.push(field, text, None)?;
        }
        text.push('|');
        let start = text.len();
        for field in in_order(&self.fields, |field| !field.partition) {
            reader.push(field, text, None)?;
        }
        let length = text.len() - start;
        if length > self.max_suffix_length {
            match self.on_overflow {
                OnOverflow::Hash => replace_by_digest(start, text),
                OnOverflow::Reject => {
                    return Err(KeyError::TooLong { length, limit: self.max_suffix_length });
                }
            }
        }
        Ok(())
    }

    /// The request's key, of which the text is [known](Self::write), whatever was added to it.
    ///
    /// # Errors
    ///
    /// As [`key`](Self::key).
    pub fn key_of(&self, text: Arc<str>, input: &KeyInput<'_>) -> Result<Key, KeyError> {
        let reader = Reader::new(input);
        let (mut encoded, mut partition) = (String::new(), Vec::new());
        for field in in_order(&self.fields, |field| field.partition) {
            encoded.clear();
            reader.push(field, &mut encoded, Some(&mut partition))?;
        }
        let partition = if partition.is_empty() { Arc::default() } else { partition.into() };
        Ok(Key { text, partition })
    }

    /// What each field contributes to the key, in the key's order.
    ///
    /// # Errors
    ///
    /// A token cannot be believed.
    pub fn parts(&self, input: &KeyInput<'_>) -> Result<Vec<Part>, KeyError> {
        let reader = Reader::new(input);
        let partition = in_order(&self.fields, |field| field.partition);
        let suffix = in_order(&self.fields, |field| !field.partition);
        let part = |field: &Field| {
            let mut encoded = "|".to_owned();
            reader.push(field, &mut encoded, None)?;
            encoded.remove(0);
            Ok(Part { field: Arc::clone(&field.name), partition: field.partition, encoded })
        };
        partition.into_iter().chain(suffix).map(part).collect()
    }

    /// Whether a field of the partition comes from the query.
    pub fn is_partitioned_by_query(&self) -> bool {
        self.fields.iter().any(|field| field.partition && matches!(field.source, Source::Query(_)))
    }

    /// Names of the partition fields, sorted. Where [every capture is one](Self::is_partitioned_by_captures), those of
    /// the route come on top.
    pub fn partition_fields(&self) -> impl Iterator<Item = &Arc<str>> {
        let mut names: Vec<_> = self
            .fields
            .iter()
            .filter(|field| field.partition)
            .flat_map(|field| match &field.source {
                Source::PathAll => &[],
                Source::Path(captures) if field.is_spread() => &captures[..],
                _ => std::slice::from_ref(&field.name),
            })
            .collect();
        names.sort();
        names.into_iter()
    }

    /// What the steps of a partition field make of a value, as they would if it came in a request.
    pub fn partition_value(&self, name: &str, value: &str) -> String {
        let field = self.fields.iter().filter(|field| field.partition).find(|field| match &field.source {
            Source::PathAll => true,
            Source::Path(captures) if field.is_spread() => captures.iter().any(|capture| **capture == *name),
            _ => *field.name == *name,
        });
        let steps = field.map_or(&[][..], |field| &field.normalize);
        let made = normalize(steps, Some(Cow::Borrowed(value.as_bytes())));
        made.map_or_else(|| value.to_owned(), |made| String::from_utf8_lossy(&made).into_owned())
    }

    /// Whether every capture of the route's path pattern is a partition field by its own name.
    pub fn is_partitioned_by_captures(&self) -> bool {
        self.fields.iter().any(|field| field.partition && matches!(field.source, Source::PathAll))
    }

    /// Whether nothing matters to it but the URL and the route.
    pub fn is_of_url_alone(&self) -> bool {
        self.fields.iter().all(|field| match field.source {
            Source::Path(_)
            | Source::PathAll
            | Source::WholePath
            | Source::Query(_)
            | Source::Host
            | Source::Scheme
            | Source::Constant(_)
            | Source::Fingerprint { .. } => true,
            Source::Header(_)
            | Source::Cookie(_)
            | Source::Method
            | Source::ClientPrefix { .. }
            | Source::Jwt(_) => false,
        })
    }

    /// Whether the key tells schemes apart.
    pub fn has_scheme(&self) -> bool {
        self.fields.iter().any(|field| matches!(field.source, Source::Scheme) && field.normalize.is_empty())
    }

    /// Whether the key tells hosts apart.
    pub fn has_host(&self) -> bool {
        self.fields.iter().any(|field| matches!(field.source, Source::Host) && field.normalize.is_empty())
    }

    /// Whether equal keys, one made by each, stand for one [resource](Self::resource) and one partition.
    pub fn agrees_with(&self, other: &Self) -> bool {
        let is_read = |field: &Field| field.partition || field.is_of_url();
        let (own, others) = (in_order(&self.fields, is_read), in_order(&other.fields, is_read));
        own.len() == others.len() && own.iter().zip(others).all(|(own, other)| own.is_read_like(other))
    }

    /// Whether two requests with one key have the same text for this capture.
    pub fn tells_capture(&self, name: &str) -> bool {
        self.fields.iter().filter(|field| field.normalize.is_empty()).any(|field| match &field.source {
            Source::PathAll => true,
            Source::Path(captures) => captures.iter().any(|capture| **capture == *name),
            _ => false,
        })
    }

    /// Whether two requests with one key have the same path.
    pub fn tells_path(&self) -> bool {
        let is_path = |field: &Field| matches!(field.source, Source::WholePath) && field.normalize.is_empty();
        self.fields.iter().any(is_path)
    }

    /// The URL as far as this key can tell URLs apart, without request fields: host, path or captures, and the
    /// query parameters that take part, each only if the key has it. Two URLs with one resource are purged together.
    ///
    /// The scheme is left out, and with it the port that may be its default, so a purge reaches both. So does it what
    /// a query may say in other characters, and an empty query is none: forms and the apps that read them take these for
    /// the same, though keys do not. `captures` are those of `path` on the route that uses this
    /// key ([`Table::candidates`](crate::routes::Table::candidates) has them).
    pub fn resource(&self, host: &str, path: &str, query: Option<&str>, captures: &Captures) -> String {
        let headers = HeaderMap::new();
        let query = query.and_then(as_read);
        let reader = Reader::new(&KeyInput {
            host: without_default_port(host),
            path,
            query: query.as_deref(),
            captures,
            // No field of the URL looks at these.
            headers: &headers,
            method: &Method::GET,
            scheme: "",
            client: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            now: Timestamp::default(),
        });
        let mut text = String::with_capacity(128);
        self.push_head(&mut text);
        text.push('|');
        for field in in_order(&self.fields, Field::is_of_url) {
            if reader.push(field, &mut text, None).is_err() {
                // Only tokens fail, and no token is part of the URL.
                break;
            }
        }
        text
    }

    fn push_head(&self, text: &mut String) {
        if !self.namespace.is_empty() {
            escape(&self.namespace, text);
            text.push(':');
        }
        escape(&self.id, text);
        // Writing to a string does not fail.
        let _ = write!(text, ":v{}", self.version);
    }
}

/// The fields of one section by name, so that the order of their declaration does not matter.
fn in_order(fields: &[Field], which: impl Fn(&Field) -> bool) -> SmallVec<[&Field; 8]> {
    let mut section: SmallVec<[&Field; 8]> = fields.iter().filter(|field| which(field)).collect();
    section.sort_by(|a, b| a.name.cmp(&b.name));
    section
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::testing::{Sample, constructor, field};
    use crate::keys::{JwtSource, JwtTrust, digest_hex};

    fn user_payload() -> Constructor {
        let query =
            QuerySelection { only: Some(vec!["page".into(), "size".into()]), ..QuerySelection::default() };
        let user = Field { partition: true, ..field("user", Source::Path(vec!["user_id".into()])) };
        Constructor {
            namespace: "users".into(),
            id: "user_payload".into(),
            ..constructor(vec![
                field("page", Source::Query(query)),
                user,
                field("lang", Source::Header(http::header::ACCEPT_LANGUAGE)),
            ])
        }
    }

    fn sample() -> Sample {
        Sample::new("/users/42?size=20&page=1&x=1")
            .captured("/users/{user_id}")
            .field("accept-language", "en")
    }

    #[test]
    fn a_key_reads_like_what_it_is_made_of() {
        let key = user_payload().key(&sample().input()).unwrap();
        assert_eq!(&*key.text, "users:user_payload:v1|user=42|lang=en,page={size=20,page=1}");
        assert_eq!(key.partition_str(), "user=42");
        assert_eq!(key.suffix(), "lang=en,page={size=20,page=1}");
        assert_eq!(*key.partition, [("user".into(), "42".to_owned())]);
        assert_eq!(key.digest(), digest_hex(key.text.as_bytes()));
    }

    #[test]
    fn namespace_id_and_version_are_part_of_the_key() {
        let head = |namespace: &str, id: &str, version| {
            let constructor = Constructor {
                namespace: namespace.into(),
                id: id.into(),
                version,
                ..constructor(Vec::new())
            };
            constructor.key(&sample().input()).unwrap().text.to_string()
        };
        assert_eq!(head("", "a", 2), "a:v2||");
        assert_eq!(head("n", "a", 2), "n:a:v2||");
        assert_eq!(head("", "n:a", 2), "n%3Aa:v2||");
        assert_eq!(head("a|b", "c", 2), "a%7Cb:c:v2||");
    }

    #[test]
    fn constructors_of_one_id_share_whatever_their_name() {
        let other = Constructor { name: "other".into(), ..user_payload() };
        assert_eq!(other.key(&sample().input()), user_payload().key(&sample().input()));
    }

    #[test]
    fn the_safe_default_is_the_url_with_its_query_sorted() {
        let sample = Sample::new("/users/42?b=1&utm_source=x&a=2").captured("/users/{user_id}");
        for (drop_tracking, query) in [(false, "{a=2,b=1,utm_source=x}"), (true, "{a=2,b=1}")] {
            let key = Constructor::safe_default("default", drop_tracking).key(&sample.input()).unwrap();
            let expected = format!(
                "default:v1|user_id=42|host=example.com%3A8080,path=/users/42,query={query},scheme=https"
            );
            assert_eq!(*key.text, *expected);
            assert_eq!(*key.partition, [("user_id".into(), "42".to_owned())]);
        }
        let key = Constructor::safe_default("default", true).key(&Sample::new("/").input()).unwrap();
        assert_eq!(&*key.text, "default:v1||host=example.com%3A8080,path=/,query,scheme=https");
    }

    #[test]
    fn a_suffix_that_is_too_long_is_hashed_or_refused() {
        let suffix = "lang=en,page={size=20,page=1}";
        let with = |max_suffix_length, on_overflow| {
            let constructor = Constructor { max_suffix_length, on_overflow, ..user_payload() };
            constructor.key(&sample().input())
        };
        let long = KeyError::TooLong { length: suffix.len(), limit: suffix.len() - 1 };
        assert_eq!(with(suffix.len() - 1, OnOverflow::Reject), Err(long));
        assert_eq!(with(suffix.len(), OnOverflow::Reject).unwrap().suffix(), suffix);
        assert_eq!(with(suffix.len(), OnOverflow::Hash).unwrap().suffix(), suffix);
        let hashed = with(suffix.len() - 1, OnOverflow::Hash).unwrap();
        assert_eq!(hashed.suffix(), format!("#{}", digest_hex(suffix.as_bytes())));
        assert_eq!(hashed.partition_str(), "user=42");
    }

    #[test]
    fn parts_show_each_field_in_the_order_of_the_key() {
        let parts = user_payload().parts(&sample().input()).unwrap();
        let parts: Vec<_> = parts.iter().map(|part| (&*part.field, part.partition, &*part.encoded)).collect();
        let expected =
            [("user", true, "user=42"), ("lang", false, "lang=en"), ("page", false, "page={size=20,page=1}")];
        assert_eq!(parts, expected);

        let parts = Constructor::safe_default("default", true).parts(&Sample::new("/").input()).unwrap();
        assert_eq!((&*parts[0].field, &*parts[0].encoded), ("captures", ""));
    }

    #[test]
    fn partition_fields_are_named_sorted() {
        let partition = |name, source| Field { partition: true, ..field(name, source) };
        let constructor = constructor(vec![
            partition("z", Source::Host),
            partition("one", Source::Path(vec!["a".into()])),
            partition("two", Source::Path(vec!["y".into(), "b".into()])),
            field("suffix", Source::Scheme),
        ]);
        let names: Vec<_> = constructor.partition_fields().map(|name| &**name).collect();
        assert_eq!(names, ["b", "one", "y", "z"]);
        assert!(!constructor.is_partitioned_by_captures());
        assert!(Constructor::safe_default("default", false).is_partitioned_by_captures());
    }

    #[test]
    fn a_resource_is_the_url_as_far_as_the_key_can_tell() {
        let resource = |target: &str, host: &str| {
            let sample = Sample::new(target).captured("/users/{user_id}");
            user_payload().resource(host, &sample.path, sample.query.as_deref(), &sample.captures)
        };
        assert_eq!(resource("/users/42?page=1&x=2", "a"), "users:user_payload:v1|page={page=1},user=42");
        assert_eq!(resource("/users/42?x=1", "a"), resource("/users/42", "b"));
        assert_ne!(resource("/users/42?page=1", "a"), resource("/users/42", "a"));
        assert_ne!(resource("/users/42", "a"), resource("/users/43", "a"));

        let default = Constructor::safe_default("default", true);
        let resource = |host, path, query| default.resource(host, path, query, &Captures::default());
        assert_eq!(resource("a", "/x", Some("utm_id=1")), resource("a", "/x", None));
        assert_eq!(resource("a", "/x", Some("b&a")), resource("a", "/x", Some("a&b")));
        assert_ne!(resource("a", "/x", Some("a=")), resource("a", "/x", Some("a")));
        assert_ne!(resource("a", "/x", None), resource("b", "/x", None));
    }

    #[test]
    fn a_token_that_cannot_be_believed_leaves_no_key() {
        let source = JwtSource {
            header: Some(http::header::AUTHORIZATION),
            cookie: None,
            claim: "sub".into(),
            trust: JwtTrust::hmac(b"secret", &[jsonwebtoken::Algorithm::HS256]).unwrap(),
        };
        let constructor = constructor(vec![field("user", Source::Jwt(source))]);
        let sample = Sample::new("/").field("authorization", "Bearer nonsense");
        let unverified = KeyError::Unverified { field: "user".into() };
        assert_eq!(constructor.key(&sample.input()), Err(unverified.clone()));
        assert_eq!(constructor.parts(&sample.input()), Err(unverified));
        assert_eq!(constructor.resource("a", "/", None, &Captures::default()), "id:v1|");
    }
}
