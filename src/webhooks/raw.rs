//! A delivery as it came in, and where in it something is. PURE.

use std::cell::OnceCell;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Method};
use percent_encoding::percent_decode_str;
use serde_json::Value;

use crate::selector::{self, Selector, SelectorError};

/// See the [module](self).
#[derive(Debug)]
pub struct Raw<'a> {
    /// The method.
    pub method: &'a Method,
    /// Path and query, as sent.
    pub target: &'a str,
    /// The fields.
    pub headers: &'a HeaderMap,
    /// The body, as sent.
    pub body: &'a Bytes,
    json: OnceCell<Result<Value, String>>,
}

impl<'a> Raw<'a> {
    /// Nothing of it is read yet.
    pub fn new(method: &'a Method, target: &'a str, headers: &'a HeaderMap, body: &'a Bytes) -> Self {
        Self { method, target, headers, body, json: OnceCell::new() }
    }

    /// The body, read. What is nested more than 128 deep is none.
    ///
    /// # Errors
    /// Why it is no JSON.
    pub fn json(&self) -> Result<&Value, &str> {
        let read = || serde_json::from_slice(self.body).map_err(|error| error.to_string());
        self.json.get_or_init(read).as_ref().map_err(String::as_str)
    }

    /// The path, without the query.
    pub fn path(&self) -> &'a str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// What follows the question mark.
    pub fn query(&self) -> &'a str {
        self.target.split_once('?').map_or("", |(_, query)| query)
    }

    /// The one line of a field. Of several nobody knows which was meant.
    pub fn field(&self, name: &HeaderName) -> Option<&'a str> {
        let mut lines = self.headers.get_all(name).iter();
        let line = lines.next().and_then(|line| std::str::from_utf8(line.as_bytes()).ok());
        line.filter(|_| lines.next().is_none())
    }
}

/// Where something is in a delivery.
#[derive(Clone, Debug)]
pub enum Source {
    /// `header.x-event`
    Header(HeaderName),
    /// `query.token`
    Query(Box<str>),
    /// `$.type`
    Body(Selector),
}

/// Why a text is no source: where it goes wrong, and what to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoSource {
    /// Byte offset into the text.
    pub at: usize,
    /// What is wrong.
    pub message: String,
}

impl From<SelectorError> for NoSource {
    fn from(SelectorError { at, message }: SelectorError) -> Self {
        Self { at, message }
    }
}

impl Source {
    /// Reads `header.NAME`, `query.NAME` or a JSONPath.
    ///
    /// # Errors
    /// What it could be.
    pub fn parse(text: &str) -> Result<Self, NoSource> {
        if text.starts_with('$') {
            return Ok(Self::Body(Selector::parse(text)?));
        }
        match text.split_once('.') {
            Some(("header", name)) => {
                let wrong = |_| NoSource { at: 7, message: format!("{name:?} is no field name") };
                HeaderName::try_from(name).map(Self::Header).map_err(wrong)
            }
            Some(("query", name)) if !name.is_empty() => Ok(Self::Query(name.into())),
            _ => {
                let message = "write header.NAME, query.NAME or a JSONPath such as $.type".to_owned();
                Err(NoSource { at: 0, message })
            }
        }
    }

    /// The text that is there; of a body, the first of what is selected in `item`, and if there is none in the whole.
    pub fn text(&self, raw: &Raw<'_>, item: Option<&Value>) -> Option<String> {
        let text = match self {
            Self::Header(name) => raw.field(name).map(str::to_owned),
            Self::Query(name) => {
                let params = raw.query().split('&').map(|param| param.split_once('=').unwrap_or((param, "")));
                let mut named = params.filter(|(known, _)| *known == &**name);
                let value = named.next().map(|(_, value)| value);
                let value = value.filter(|_| named.next().is_none())?;
                Some(percent_decode_str(value).decode_utf8_lossy().into_owned())
            }
            Self::Body(selector) => {
                let first = |value| selector.find(value).into_iter().find_map(selector::text);
                item.and_then(first).or_else(|| raw.json().ok().and_then(first))
            }
        };
        text.filter(|text| !text.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn something_is_where_it_is_said_to_be() {
        let mut headers = HeaderMap::new();
        headers.insert("x-event", HeaderValue::from_static("push"));
        headers.append("x-twice", HeaderValue::from_static("a"));
        headers.append("x-twice", HeaderValue::from_static("b"));
        let body = Bytes::from_static(br#"{"a": {"b": 1}, "c": ""}"#);
        let raw = Raw::new(&Method::POST, "/hook?token=s%20t&x=1&x=2", &headers, &body);
        let item = serde_json::json!({"a": {"b": 2}});
        for (source, expected) in [
            ("header.x-event", Some("push")),
            ("header.X-Event", Some("push")),
            ("header.x-twice", None),
            ("header.x-none", None),
            ("query.token", Some("s t")),
            ("query.x", None),
            ("query.none", None),
            ("$.a.b", Some("2")),
            ("$.c", None),
            ("$.a", None),
        ] {
            let found = Source::parse(source).unwrap().text(&raw, Some(&item));
            assert_eq!(found.as_deref(), expected, "{source}");
        }
        assert_eq!(Source::parse("$.a.b").unwrap().text(&raw, None).as_deref(), Some("1"));
        for (text, why) in
            [("type", "JSONPath"), ("header.", "no field name"), ("query.", "query.NAME"), ("$.[", "")]
        {
            assert!(Source::parse(text).unwrap_err().message.contains(why), "{text}");
        }
    }
}
