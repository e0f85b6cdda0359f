//! The value of one field for one request.

use super::encoding::push_entry;
use super::normalizer::normalize;
use super::query::{self, Params, QuerySelection, decode_form};
use super::{Field, KeyError, KeyInput, Source, cookie, partition_text};
use crate::routes::joined_lines;
use http::{HeaderMap, HeaderName};
use ipnet::IpNet;
use percent_encoding::percent_decode_str;
use smallvec::SmallVec;
use std::borrow::Cow;
use std::cell::OnceCell;
use std::net::IpAddr;
use std::sync::Arc;

/// Bytes, because request fields need not be UTF-8; mostly borrowed from the request.
type Text<'a> = Cow<'a, [u8]>;

/// What a field says of a request, before it is encoded.
#[derive(Debug, PartialEq)]
pub(super) enum Value<'a> {
    /// There is none, which is not the same as an empty one.
    Missing,
    One(Text<'a>),
    List(SmallVec<[Text<'a>; 4]>),
    /// By name: parameters and captures. Never empty.
    Pairs(SmallVec<[(Text<'a>, Option<Text<'a>>); 4]>),
}

/// Reads the values of one request; the query is parsed once for all fields.
pub(super) struct Reader<'a> {
    input: KeyInput<'a>,
    params: OnceCell<Params<'a>>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(input: &KeyInput<'a>) -> Self {
        Self { input: *input, params: OnceCell::new() }
    }

    /// Adds what `field` contributes to the key's text, and to `partition` if it belongs there.
    pub(super) fn push<'r>(
        &'r self,
        field: &'r Field,
        text: &mut String,
        mut partition: Option<&mut Vec<(Arc<str>, String)>>,
    ) -> Result<(), KeyError>
    where
        'a: 'r,
    {
        if !field.is_spread() {
            let value = self.value(field)?;
            push_entry(field.name.as_bytes(), &value, field.hash, text);
            if let Some(partition) = partition {
                partition.push((Arc::clone(&field.name), self.partition_value(field, &value)));
            }
            return Ok(());
        }
        for (name, value) in captured(field, &self.input) {
            let value = value.map_or(Value::Missing, Value::One);
            push_entry(name.as_bytes(), &value, field.hash, text);
            if let Some(partition) = partition.as_deref_mut() {
                partition.push((Arc::clone(name), self.partition_value(field, &value)));
            }
        }
        Ok(())
    }

    fn value<'r>(&'r self, field: &'r Field) -> Result<Value<'r>, KeyError>
    where
        'a: 'r,
    {
        let input = &self.input;
        let mut value = match &field.source {
            Source::Path(_) | Source::PathAll => capture_value(field, input),
            Source::WholePath => path_text(Some(input.path), field).map_or(Value::Missing, Value::One),
            Source::Query(selection) => self.query_values(selection, field),
            Source::Header(name) => header_value(name, field, input.headers),
            Source::Cookie(name) => several(cookie::values(name, input.headers).map(Cow::Borrowed), field),
            Source::Host => plain(input.host, field),
            Source::Scheme => plain(input.scheme, field),
            Source::Method => plain(input.method.as_str(), field),
            Source::Constant(text) | Source::Fingerprint { digest: text } => plain(text, field),
            Source::ClientPrefix { v4, v6 } => {
                let prefix = Cow::Owned(network(input.client, *v4, *v6).into_bytes());
                several([prefix], field)
            }
            Source::Jwt(source) => {
                let unverified = |_| KeyError::Unverified { field: Arc::clone(&field.name) };
                match source.value(input.headers, input.now).map_err(unverified)? {
                    Value::Missing => several([], field),
                    Value::One(text) => several([text], field),
                    Value::List(items) => Value::List(
                        items
                            .into_iter()
                            .filter_map(|item| normalize(&field.normalize, Some(item)))
                            .collect(),
                    ),
                    pairs @ Value::Pairs(_) => pairs,
                }
            }
        };
        if let (true, Value::List(items)) = (field.sort, &mut value) {
            items.sort();
        }
        Ok(value)
    }

    fn query_values<'r>(&'r self, selection: &'r QuerySelection, field: &'r Field) -> Value<'r>
    where
        'a: 'r,
    {
        let params = self.params.get_or_init(|| query::parse(self.input.query));
        let steps = &field.normalize;
        // Sorted by the decoded name; in the key stands what was sent, unless steps make equivalent values equal.
        let mut taken: SmallVec<[(&[u8], Text<'r>, Option<Text<'r>>); 4]> = SmallVec::new();
        for param in params.iter().filter(|param| selection.takes(&param.name)) {
            let (name, value) = if steps.is_empty() {
                (param.raw_name.as_bytes(), param.raw_value.map(|raw| Cow::Borrowed(raw.as_bytes())))
            } else {
                (&*param.name, normalize(steps, param.raw_value.map(decode_form)))
            };
            taken.push((&param.name, Cow::Borrowed(name), value));
        }
        if !steps.is_empty() {
            let absent = |name: &&Arc<str>| !params.iter().any(|param| *param.name == *name.as_bytes());
            for name in selection.only.iter().flatten().filter(absent) {
                if let Some(value) = normalize(steps, None) {
                    taken.push((name.as_bytes(), Cow::Borrowed(name.as_bytes()), Some(value)));
                }
            }
        }
        if field.sort {
            taken.sort_by(|(a, _, a_value), (b, _, b_value)| (a, a_value).cmp(&(b, b_value)));
        } else if selection.sorted {
            taken.sort_by_key(|&(name, ..)| name);
        }
        if taken.is_empty() {
            return Value::Missing;
        }
        Value::Pairs(taken.into_iter().map(|(_, name, value)| (name, value)).collect())
    }

    /// A value as people write it. Several are joined: a purge may then reach more than it must, never less.
    fn partition_value(&self, field: &Field, value: &Value<'_>) -> String {
        let readable = |text: &[u8]| match &field.source {
            _ if !field.normalize.is_empty() => utf8(text),
            Source::Path(_) | Source::PathAll | Source::WholePath => partition_text(&utf8(text)),
            Source::Query(_) => {
                let raw = utf8(text);
                let decoded = String::from_utf8(decode_form(&raw).into_owned());
                decoded.unwrap_or(raw)
            }
            _ => utf8(text),
        };
        let one_name = match &field.source {
            Source::Query(selection) => selection.only.as_ref().is_some_and(|only| only.len() == 1),
            _ => false,
        };
        match value {
            Value::Missing => String::new(),
            Value::One(text) => readable(text),
            Value::List(items) => items.iter().map(|item| readable(item)).collect::<Vec<_>>().join(","),
            Value::Pairs(pairs) if one_name => {
                let values =
                    pairs.iter().map(|(_, value)| value.as_deref().map(readable).unwrap_or_default());
                values.collect::<Vec<_>>().join(",")
            }
            Value::Pairs(pairs) => {
                let written = pairs.iter().map(|(name, value)| match value {
                    Some(value) => format!("{}={}", readable(name), readable(value)),
                    None => readable(name),
                });
                written.collect::<Vec<_>>().join("&")
            }
        }
    }
}

/// No, one or several values after their steps.
fn several<'r>(values: impl IntoIterator<Item = Text<'r>>, field: &'r Field) -> Value<'r> {
    let steps = &field.normalize;
    let mut items: SmallVec<[_; 4]> =
        values.into_iter().filter_map(|value| normalize(steps, Some(value))).collect();
    match items.len() {
        0 => normalize(steps, None).map_or(Value::Missing, Value::One),
        1 => items.pop().map_or(Value::Missing, Value::One),
        _ => Value::List(items),
    }
}

fn plain<'r>(text: &'r str, field: &'r Field) -> Value<'r> {
    several([Cow::Borrowed(text.as_bytes())], field)
}

/// Text of the path: as it stands there, or decoded and normalised.
fn path_text<'r>(raw: Option<&'r str>, field: &'r Field) -> Option<Text<'r>> {
    if field.normalize.is_empty() {
        raw.map(|raw| Cow::Borrowed(raw.as_bytes()))
    } else {
        normalize(&field.normalize, raw.map(|raw| percent_decode_str(raw).into()))
    }
}

/// Captures by name, sorted, so that the order in the pattern does not matter.
type Captured<'r> = SmallVec<[(&'r Arc<str>, Option<Text<'r>>); 4]>;

fn captured<'r>(field: &'r Field, input: &'r KeyInput<'_>) -> Captured<'r> {
    let mut captured: Captured<'r> = match &field.source {
        Source::Path(names) => {
            names.iter().map(|name| (name, path_text(input.captures.raw(input.path, name), field))).collect()
        }
        _ => {
            let entries = input.captures.entries(input.path);
            entries.map(|(name, raw)| (name, path_text(Some(raw), field))).collect()
        }
    };
    captured.sort_by_key(|&(name, _)| name);
    captured
}

fn capture_value<'r>(field: &'r Field, input: &'r KeyInput<'_>) -> Value<'r> {
    let mut captured = captured(field, input);
    if let Source::Path(names) = &field.source
        && names.len() == 1
    {
        return captured.pop().and_then(|(_, value)| value).map_or(Value::Missing, Value::One);
    }
    if captured.is_empty() {
        return Value::Missing;
    }
    Value::Pairs(captured.into_iter().map(|(name, value)| (Cow::Borrowed(name.as_bytes()), value)).collect())
}

fn header_value<'r>(name: &HeaderName, field: &'r Field, headers: &'r HeaderMap) -> Value<'r> {
    let lines = headers.get_all(name).iter().map(|line| line.as_bytes());
    if field.sort {
        several(lines.flat_map(members).map(Cow::Borrowed), field)
    } else if field.normalize.is_empty() {
        // Two lines mean the same as one with a comma (RFC 9110 §5.3), but not every origin reads them so.
        several(lines.map(Cow::Borrowed), field)
    } else {
        several(joined_lines(name, headers), field)
    }
}

/// The members of a comma-separated field value, commas in quoted strings left alone (RFC 9110 §5.6.1, §5.6.4).
fn members(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let (mut quoted, mut escaped) = (false, false);
    let is_comma = move |&byte: &u8| {
        let was_escaped = std::mem::take(&mut escaped);
        match byte {
            b'"' if !was_escaped => quoted = !quoted,
            b'\\' if quoted && !was_escaped => escaped = true,
            _ => {}
        }
        byte == b',' && !quoted
    };
    value.split(is_comma).map(<[u8]>::trim_ascii).filter(|member| !member.is_empty())
}

/// `203.0.113.0/24`, `2001:db8::/32`.
fn network(client: IpAddr, v4: u8, v6: u8) -> String {
    let client = client.to_canonical();
    let (bits, all) = if client.is_ipv4() { (v4, 32) } else { (v6, 128) };
    match IpNet::new(client, bits.min(all)) {
        Ok(network) => network.trunc().to_string(),
        // No address has fewer bits than the minimum just taken.
        Err(_) => client.to_string(),
    }
}

fn utf8(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}
