//! What a signature covers: text with holes, such as `{header.webhook-id}.{sig.t}.{body}`. PURE.

use std::fmt;

use http::HeaderName;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::Value;

use super::raw::{NoSource, Raw};

/// What is signed.
#[derive(Clone, Debug)]
pub enum Signed {
    /// Text with holes.
    Template(Box<[Piece]>),
    /// Method, path, the fields that a field names, and the body, a line each.
    Contentful,
    /// The names and values of some members of the body, a line each.
    AwsSns,
}

/// A piece of a template.
#[derive(Clone, Debug)]
pub enum Piece {
    /// Always the same.
    Text(Box<str>),
    /// A hole.
    Hole(Hole, Vec<Filter>),
}

/// What fills a hole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hole {
    /// `{body}`
    Body,
    /// `{method}`
    Method,
    /// `{target}`: path and query.
    Target,
    /// `{path}`
    Path,
    /// `{query}`
    Query,
    /// `{header.x-id}`
    Header(HeaderName),
    /// `{sig.t}`: a member of the field that the signature is in.
    Signature(Box<str>),
}

/// What becomes of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filter {
    /// As a JSON string.
    Json,
    /// In lower case.
    Lower,
    /// Percent-encoded.
    Urlencode,
}

/// Why it cannot be said what was signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is missing, repeated or not text")]
pub struct Missing(pub String);

impl Signed {
    /// Reads `contentful`, `aws-sns`, or text with holes; `{{` and `}}` are braces.
    ///
    /// # Errors
    /// Where it goes wrong.
    pub fn parse(text: &str) -> Result<Self, NoSource> {
        if text == "contentful" {
            return Ok(Self::Contentful);
        }
        if text == "aws-sns" {
            return Ok(Self::AwsSns);
        }
        let (mut pieces, mut literal, mut at) = (Vec::new(), String::new(), 0);
        while let Some(found) = text[at..].find(['{', '}']) {
            let brace = at + found;
            literal.push_str(&text[at..brace]);
            let rest = &text[brace..];
            if rest.starts_with("{{") || rest.starts_with("}}") {
                literal.push_str(&rest[..1]);
                at = brace + 2;
                continue;
            }
            let wrong = |message: &str| NoSource { at: brace, message: message.to_owned() };
            let inner = rest.strip_prefix('{').ok_or_else(|| wrong("write }} for a literal brace"))?;
            let end = inner.find('}').ok_or_else(|| wrong("this brace is never closed; write {{ for one"))?;
            if !literal.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut literal).into()));
            }
            let (hole, filters) = hole(&inner[..end]).map_err(|why| wrong(&why))?;
            pieces.push(Piece::Hole(hole, filters));
            at = brace + end + 2;
        }
        literal.push_str(&text[at..]);
        if !literal.is_empty() {
            pieces.push(Piece::Text(literal.into()));
        }
        let covers_body = pieces.iter().any(|piece| matches!(piece, Piece::Hole(Hole::Body, _)));
        if !covers_body {
            let message = "the signature must cover {body}: anybody could change it".to_owned();
            return Err(NoSource { at: 0, message });
        }
        Ok(Self::Template(pieces.into()))
    }

    /// The fields that it covers.
    pub fn fields(&self) -> impl Iterator<Item = &HeaderName> {
        let pieces = match self {
            Self::Template(pieces) => &pieces[..],
            Self::Contentful | Self::AwsSns => &[],
        };
        pieces.iter().filter_map(|piece| match piece {
            Piece::Hole(Hole::Header(name), _) => Some(name),
            _ => None,
        })
    }

    /// Whether a field is covered, where the delivery itself says which are; else it is, as far as anybody says.
    pub(super) fn may_cover(&self, raw: &Raw<'_>, field: &HeaderName) -> bool {
        match self {
            Self::Contentful => {
                contentful_names(raw).is_ok_and(|names| names.iter().any(|name| *field == **name))
            }
            Self::Template(_) | Self::AwsSns => true,
        }
    }

    /// The octets. `member`: of the field that the signature is in.
    ///
    /// # Errors
    /// What is not there.
    pub fn octets<'r>(
        &self,
        raw: &'r Raw<'_>,
        member: impl Fn(&str) -> Option<&'r str>,
    ) -> Result<Vec<u8>, Missing> {
        let pieces = match self {
            Self::Contentful => return contentful(raw),
            Self::AwsSns => return aws_sns(raw),
            Self::Template(pieces) => pieces,
        };
        let mut octets = Vec::with_capacity(raw.body.len() + 128);
        for piece in pieces {
            let (hole, filters) = match piece {
                Piece::Text(text) => {
                    octets.extend_from_slice(text.as_bytes());
                    continue;
                }
                Piece::Hole(hole, filters) => (hole, filters),
            };
            let value: &[u8] = match hole {
                Hole::Body => raw.body,
                Hole::Method => raw.method.as_str().as_bytes(),
                Hole::Target => raw.target.as_bytes(),
                Hole::Path => raw.path().as_bytes(),
                Hole::Query => raw.query().as_bytes(),
                Hole::Header(name) => {
                    raw.field(name).ok_or_else(|| Missing(format!("the field {name}")))?.as_bytes()
                }
                Hole::Signature(name) => {
                    member(name).ok_or_else(|| Missing(format!("{name} in the signature")))?.as_bytes()
                }
            };
            if filters.is_empty() {
                octets.extend_from_slice(value);
                continue;
            }
            let text = std::str::from_utf8(value).map_err(|_| Missing("text in UTF-8".to_owned()))?;
            let filtered = filters.iter().try_fold(text.to_owned(), |text, filter| filter.apply(&text))?;
            octets.extend_from_slice(filtered.as_bytes());
        }
        Ok(octets)
    }
}

fn hole(text: &str) -> Result<(Hole, Vec<Filter>), String> {
    let mut parts = text.split('|').map(str::trim);
    let name = parts.next().unwrap_or_default();
    let hole = match (name, name.split_once('.')) {
        ("body", _) => Hole::Body,
        ("method", _) => Hole::Method,
        ("target", _) => Hole::Target,
        ("path", _) => Hole::Path,
        ("query", _) => Hole::Query,
        (_, Some(("header", field))) => {
            Hole::Header(HeaderName::try_from(field).map_err(|_| format!("{field:?} is no field name"))?)
        }
        (_, Some(("sig", member))) if !member.is_empty() => Hole::Signature(member.into()),
        _ => {
            return Err("there are body, method, target, path, query, header.NAME and sig.NAME".to_owned());
        }
    };
    let filters = parts.map(|name| match name {
        "json" => Ok(Filter::Json),
        "lower" => Ok(Filter::Lower),
        "urlencode" => Ok(Filter::Urlencode),
        _ => Err(format!("there is no filter {name:?}; there are json, lower and urlencode")),
    });
    Ok((hole, filters.collect::<Result<_, _>>()?))
}

/// What `encodeURI` encodes of a path with a query.
const URI: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// What `encodeURIComponent` encodes: what separates the parts of a URL as well.
const COMPONENT: &AsciiSet = &URI
    .add(b'#')
    .add(b'$')
    .add(b'&')
    .add(b'+')
    .add(b',')
    .add(b'/')
    .add(b':')
    .add(b';')
    .add(b'=')
    .add(b'?')
    .add(b'@');

impl Filter {
    fn apply(self, text: &str) -> Result<String, Missing> {
        Ok(match self {
            Self::Lower => text.to_lowercase(),
            Self::Urlencode => utf8_percent_encode(text, COMPONENT).to_string(),
            Self::Json => serde_json::to_string(text).map_err(|_| Missing("text".to_owned()))?,
        })
    }
}

/// Which fields a delivery of Contentful says are signed.
const CONTENTFUL_NAMES: HeaderName = HeaderName::from_static("x-contentful-signed-headers");

/// What must be among them: which they are, and when that was.
const CONTENTFUL_ALWAYS: [HeaderName; 2] =
    [CONTENTFUL_NAMES, HeaderName::from_static("x-contentful-timestamp")];

/// And what must be if it is there: what the event is.
const CONTENTFUL_TOPIC: HeaderName = HeaderName::from_static("x-contentful-topic");

fn contentful_names(raw: &Raw<'_>) -> Result<Vec<String>, Missing> {
    let named =
        raw.field(&CONTENTFUL_NAMES).ok_or_else(|| Missing(format!("the field {CONTENTFUL_NAMES}")))?;
    Ok(named.split(',').map(|name| name.trim().to_ascii_lowercase()).collect())
}

/// As Contentful's own library writes it: the fields that `x-contentful-signed-headers` names, in order of their names. Who
/// sends it names them: what the rest relies on must be there.
fn contentful(raw: &Raw<'_>) -> Result<Vec<u8>, Missing> {
    let names = contentful_names(raw)?;
    let topic = raw.headers.contains_key(&CONTENTFUL_TOPIC).then_some(CONTENTFUL_TOPIC);
    let unsigned =
        CONTENTFUL_ALWAYS.into_iter().chain(topic).find(|field| !names.iter().any(|name| *field == **name));
    if let Some(field) = unsigned {
        return Err(Missing(format!("{field} among the fields that are signed")));
    }
    let mut fields = Vec::new();
    for name in names {
        let missing = || Missing(format!("the field {name:?}"));
        let field = HeaderName::try_from(&name).ok().and_then(|field| raw.field(&field));
        let value = field.ok_or_else(missing)?.trim();
        fields.push((name, value));
    }
    fields.sort();
    let fields: Vec<_> = fields.iter().map(|(name, value)| format!("{name}:{value}")).collect();
    let mut parts = raw.target.split('?');
    let path = parts.next().unwrap_or_default();
    // What is escaped once as a value, and once more as a part of the URL.
    let query = parts.next().filter(|query| !query.is_empty());
    let query = query.map(|query| format!("?{}", utf8_percent_encode(query, COMPONENT))).unwrap_or_default();
    let target = format!("{path}{query}");
    // What is encoded is encoded again.
    let target = utf8_percent_encode(&target, URI);
    let mut octets = format!("{}\n{target}\n{}\n", raw.method, fields.join(";")).into_bytes();
    octets.extend_from_slice(raw.body);
    Ok(octets)
}

/// As Amazon's own libraries write it. All but the subject must be there.
fn aws_sns(raw: &Raw<'_>) -> Result<Vec<u8>, Missing> {
    let json = raw.json().map_err(|_| Missing("JSON".to_owned()))?;
    let confirms = json.get("Type").and_then(Value::as_str).is_some_and(|kind| kind != "Notification");
    let names: &[&str] = if confirms {
        &["Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"]
    } else {
        &["Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"]
    };
    let mut octets = Vec::new();
    for &name in names {
        match json.get(name).and_then(Value::as_str) {
            Some(value) => octets.extend_from_slice(format!("{name}\n{value}\n").as_bytes()),
            None if name == "Subject" => {}
            None => return Err(Missing(format!("{name} in the body"))),
        }
    }
    Ok(octets)
}

impl fmt::Display for Signed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Template(_) => "a template",
            Self::Contentful => "contentful",
            Self::AwsSns => "aws-sns",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use http::{HeaderMap, HeaderValue, Method};

    fn octets(template: &str) -> Result<String, Missing> {
        let mut headers = HeaderMap::new();
        headers.insert("x-id", HeaderValue::from_static("ID 1"));
        let body = Bytes::from_static("{\"a\": \"\u{e9}\n\"}".as_bytes());
        let raw = Raw::new(&Method::POST, "/hook?a=b", &headers, &body);
        let member = |name: &str| (name == "t").then_some("17");
        let octets = Signed::parse(template).unwrap().octets(&raw, member)?;
        Ok(String::from_utf8(octets).unwrap())
    }

    #[test]
    fn a_template_says_what_is_signed() {
        let body = "{\"a\": \"\u{e9}\n\"}";
        for (template, expected) in [
            ("{body}", body.to_owned()),
            ("{header.x-id}.{sig.t}.{body}", format!("ID 1.17.{body}")),
            ("{body}{sig.t}", format!("{body}17")),
            ("{method} {target} {path} {query} {body}", format!("POST /hook?a=b /hook a=b {body}")),
            ("{header.x-id|lower|urlencode}{body}", format!("id%201{body}")),
            (
                r#"{{"Body":{body|json},"T":{sig.t}}}"#,
                "{\"Body\":\"{\\\"a\\\": \\\"\u{e9}\\n\\\"}\",\"T\":17}".to_owned(),
            ),
        ] {
            assert_eq!(octets(template), Ok(expected), "{template}");
        }
        assert_eq!(octets("{header.x-none}{body}"), Err(Missing("the field x-none".into())));
        assert_eq!(octets("{sig.v}{body}"), Err(Missing("v in the signature".into())));
    }

    #[test]
    fn contentful_signs_when_it_was_what_it_is_and_which_fields_say_so() {
        let check = |names: &'static str| {
            let mut headers = HeaderMap::new();
            for (name, value) in [
                ("x-contentful-signed-headers", names),
                ("x-contentful-timestamp", "1700000000000"),
                ("x-contentful-topic", "ContentManagement.Entry.publish"),
                ("x-contentful-idempotency-key", "abc"),
            ] {
                headers.insert(name, HeaderValue::from_static(value));
            }
            let body = Bytes::from_static(b"{}");
            let raw = Raw::new(&Method::POST, "/hook", &headers, &body);
            let key = HeaderName::from_static("x-contentful-idempotency-key");
            let told = Signed::Contentful.octets(&raw, |_| None).map_err(|Missing(what)| what);
            (told.map(drop), Signed::Contentful.may_cover(&raw, &key))
        };
        let all = "x-contentful-topic, X-Contentful-Timestamp,x-contentful-signed-headers";
        assert_eq!(check(all), (Ok(()), false));
        let with_key = "x-contentful-idempotency-key,x-contentful-topic,x-contentful-timestamp,x-contentful-signed-headers";
        assert_eq!(check(with_key), (Ok(()), true));
        for (names, missing) in [
            ("x-contentful-topic,x-contentful-signed-headers", "x-contentful-timestamp"),
            ("x-contentful-topic,x-contentful-timestamp", "x-contentful-signed-headers"),
            ("x-contentful-timestamp,x-contentful-signed-headers", "x-contentful-topic"),
            ("", "x-contentful-signed-headers"),
        ] {
            let told = check(names).0.unwrap_err();
            assert!(told.starts_with(missing), "{names}: {told}");
        }
    }

    #[test]
    fn what_is_no_template_is_refused() {
        for (text, why) in [
            ("{sig.t}", "must cover {body}"),
            ("{body", "never closed"),
            ("body}", "literal brace"),
            ("{boddy}", "there are body"),
            ("{body|upper}", "no filter"),
            ("{header. }{body}", "no field name"),
        ] {
            assert!(Signed::parse(text).unwrap_err().message.contains(why), "{text}");
        }
    }
}
