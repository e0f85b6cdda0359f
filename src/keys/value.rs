//! The value of one field for one request.

use super::encoding::{push_entry, push_text};
use super::normalizer::normalize;
use super::query::{self, Params, QuerySelection, decode_form};
use super::reading::push_readings;
use super::{Field, KeyError, KeyInput, Source, cookie};
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

/// A name, and its value if there is one.
pub(super) type Pair<'a> = (Text<'a>, Option<Text<'a>>);

/// What a field says of a request, before it is encoded.
#[derive(Debug, PartialEq)]
pub(super) enum Value<'a> {
    /// There is none, which is not the same as an empty one.
    Missing,
    One(Text<'a>),
    List(SmallVec<[Text<'a>; 4]>),
    /// By name: parameters and captures. Never empty.
    Pairs(SmallVec<[Pair<'a>; 4]>),
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
    ) -> Result<(), KeyError> {
        if partition.is_none() && self.push_plain(field, text) {
            return Ok(());
        }
        if !field.is_spread() {
            let value = self.value(field)?;
            push_entry(field.name.as_bytes(), &value, field.hash, text);
            if let Some(partition) = partition {
                push_readings(&field.name, field, &value, partition);
            }
            return Ok(());
        }
        for (name, value) in captured(field, &self.input) {
            let value = value.map_or(Value::Missing, Value::One);
            push_entry(name.as_bytes(), &value, field.hash, text);
            if let Some(partition) = partition.as_deref_mut() {
                push_readings(name, field, &value, partition);
            }
        }
        Ok(())
    }

    /// The same for what stands in the key as it stands in the URL, which is most of what hits are looked up by.
    fn push_plain(&self, field: &Field, text: &mut String) -> bool {
        if field.hash || !field.normalize.is_empty() {
            return false;
        }
        let input = &self.input;
        let value = match &field.source {
            Source::WholePath => input.path,
            Source::Host => input.host,
            Source::Scheme => input.scheme,
            Source::Constant(text) | Source::Fingerprint { digest: text } => text,
            Source::Query(_) if input.query.is_none() => {
                push_text(&field.name, None, text);
                return true;
            }
            Source::PathAll if field.is_spread() => {
                let mut captured: SmallVec<[(&Arc<str>, &str); 4]> =
                    input.captures.entries(input.path).collect();
                captured.sort_by_key(|&(name, _)| name);
                captured.iter().for_each(|(name, value)| push_text(name, Some(value), text));
                return true;
            }
            _ => return false,
        };
        push_text(&field.name, Some(value), text);
        true
    }

    fn value<'r>(&'r self, field: &'r Field) -> Result<Value<'r>, KeyError> {
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

    fn query_values<'r>(&'r self, selection: &'r QuerySelection, field: &'r Field) -> Value<'r> {
        let params = self.params.get_or_init(|| query::parse(self.input.query));
        let steps = &field.normalize;
        // Sorted by the decoded name; in the key stands what was sent, unless steps make equivalent values equal.
        type Taken<'r> = (&'r [u8], Text<'r>, Option<Text<'r>>);
        let mut taken: SmallVec<[Taken<'r>; 4]> = SmallVec::new();
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
pub(super) fn members(value: &[u8]) -> impl Iterator<Item = &[u8]> {
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

#[cfg(test)]
mod tests {
    use crate::keys::testing::{Sample, constructor, field};
    use crate::keys::{Field, Normalizer, QuerySelection, Source, digest_hex};
    use std::sync::Arc;

    /// `expected`: everything behind the key's head.
    fn check(field: Field, sample: &Sample, expected: &str) {
        let key = constructor(vec![field]).key(&sample.input()).unwrap();
        assert_eq!(key.text.strip_prefix("id:v1|"), Some(expected));
    }

    fn f(source: Source) -> Field {
        field("f", source)
    }

    fn names(names: &[&str]) -> Vec<Arc<str>> {
        names.iter().map(|&name| name.into()).collect()
    }

    fn query(only: &[&str], sorted: bool) -> Source {
        let only = (!only.is_empty()).then(|| names(only));
        Source::Query(QuerySelection { only, sorted, ..QuerySelection::default() })
    }

    fn header(name: &'static str) -> Source {
        Source::Header(http::HeaderName::from_static(name))
    }

    #[test]
    fn a_capture_stands_in_the_key_as_it_was_sent() {
        let sample = Sample::new("/u/4%2C2/b").captured("/u/{id}/{tab}");
        check(f(Source::Path(names(&["id"]))), &sample, "|f=4%252C2");
        check(f(Source::Path(names(&["tab", "id"]))), &sample, "|f={id=4%252C2,tab=b}");
        check(f(Source::Path(names(&["tab", "none"]))), &sample, "|f={none,tab=b}");
        check(f(Source::Path(names(&["none"]))), &sample, "|f");
        check(f(Source::PathAll), &sample, "|f={id=4%252C2,tab=b}");
        check(f(Source::WholePath), &sample, "|f=/u/4%252C2/b");
        check(f(Source::PathAll), &Sample::new("/u"), "|f");
        let lower = Field { normalize: vec![Normalizer::Lower], ..f(Source::Path(names(&["id"]))) };
        check(lower, &Sample::new("/CAF%C3%89%FF").captured("/{id}"), "|f=CAF%C3%89%FF");
        let lower = Field { normalize: vec![Normalizer::Lower], ..f(Source::Path(names(&["id"]))) };
        check(lower, &Sample::new("/CAF%C3%89").captured("/{id}"), "|f=caf%C3%A9");
    }

    #[test]
    fn parameters_of_the_query_are_kept_in_order_or_sorted_by_name() {
        let sample = Sample::new("/?b=2&a=2&a=1&c&d=&%61=0");
        check(f(query(&[], false)), &sample, "|f={b=2,a=2,a=1,c,d=,%2561=0}");
        check(f(query(&[], true)), &sample, "|f={a=2,a=1,%2561=0,b=2,c,d=}");
        check(f(query(&["c", "b"], false)), &sample, "|f={b=2,c}");
        check(f(query(&["e"], true)), &sample, "|f");
        let by_value = Field { sort: true, ..f(query(&["a", "b"], false)) };
        check(by_value, &sample, "|f={%2561=0,a=1,a=2,b=2}");
        check(f(query(&[], true)), &Sample::new("/"), "|f");
        check(f(query(&[], true)), &Sample::new("/?"), "|f={\"\"}");
        check(f(query(&[], true)), &Sample::new("/?&"), "|f={\"\",\"\"}");
        check(f(query(&[], true)), &Sample::new("/?a,b={}"), "|f={a%2Cb=%7B%7D}");
    }

    #[test]
    fn steps_on_the_query_see_decoded_text_and_supply_defaults() {
        let int = || vec![Normalizer::Int];
        let sample = Sample::new("/?page=%30%37&size=+1&page&x=1");
        let pages = Field { normalize: int(), ..f(query(&["page", "size"], true)) };
        check(pages, &sample, "|f={page=7,page,size=1}");
        let language = || vec![Normalizer::Language(names(&["en", "fr"]))];
        let lang = || Field { normalize: language(), ..f(query(&["lang"], true)) };
        check(lang(), &Sample::new("/?lang=fr-CA"), "|f={lang=fr}");
        check(lang(), &Sample::new("/"), "|f={lang=en}");
        check(lang(), &Sample::new("/?l%61ng"), "|f={lang=en}");
        let pages = Field { normalize: int(), ..f(query(&["page"], true)) };
        check(pages, &Sample::new("/"), "|f");
    }

    #[test]
    fn all_lines_of_a_request_field_count() {
        let none = Sample::new("/");
        let one = Sample::new("/").field("x-a", "b, a");
        let two = Sample::new("/").field("x-a", "b").field("x-a", "a");
        check(f(header("x-a")), &none, "|f");
        check(f(header("x-a")), &Sample::new("/").field("x-a", ""), "|f=");
        check(f(header("x-a")), &one, "|f=b%2C%20a");
        check(f(header("x-a")), &two, "|f=[b,a]");
        let sorted = || Field { sort: true, ..f(header("x-a")) };
        check(sorted(), &one, "|f=[a,b]");
        check(sorted(), &two, "|f=[a,b]");
        check(sorted(), &Sample::new("/").field("x-a", "\"b,\\\",\", a,,"), "|f=[%22b%2C%5C%22%2C%22,a]");
        let languages = || vec![Normalizer::Language(names(&["en", "b", "a"]))];
        let language = || Field { normalize: languages(), ..f(header("x-a")) };
        check(language(), &two, "|f=b");
        check(language(), &none, "|f=en");
    }

    #[test]
    fn cookies_of_one_name_are_a_list() {
        let cookie = || f(Source::Cookie("c".into()));
        check(cookie(), &Sample::new("/"), "|f");
        check(cookie(), &Sample::new("/").field("cookie", "a=1; c=2"), "|f=2");
        check(cookie(), &Sample::new("/").field("cookie", "c=2; c=").field("cookie", "c=1"), "|f=[2,\"\",1]");
        let sorted = Field { sort: true, ..cookie() };
        check(sorted, &Sample::new("/").field("cookie", "c=2;c=1"), "|f=[1,2]");
    }

    #[test]
    fn the_rest_is_taken_as_it_is() {
        let sample = Sample::new("/").field("x-a", "1");
        check(f(Source::Host), &sample, "|f=example.com%3A8080");
        check(f(Source::Scheme), &sample, "|f=https");
        check(f(Source::Method), &sample, "|f=GET");
        check(f(Source::Constant("a b".into())), &sample, "|f=a%20b");
        check(f(Source::Fingerprint { digest: "abc".into() }), &sample, "|f=abc");
    }

    #[test]
    fn a_client_counts_as_its_network() {
        let prefix = |v4, v6| f(Source::ClientPrefix { v4, v6 });
        for (client, v4, v6, expected) in [
            ("203.0.113.77", 24, 48, "|f=203.0.113.0/24"),
            ("::ffff:203.0.113.77", 24, 48, "|f=203.0.113.0/24"),
            ("203.0.113.77", 99, 48, "|f=203.0.113.77/32"),
            ("203.0.113.77", 0, 48, "|f=0.0.0.0/0"),
            ("2001:db8:1:2::3", 24, 48, "|f=2001%3Adb8%3A1%3A%3A/48"),
            ("2001:db8:1:2::3", 24, 200, "|f=2001%3Adb8%3A1%3A2%3A%3A3/128"),
        ] {
            check(prefix(v4, v6), &Sample::new("/").client(client), expected);
        }
    }

    #[test]
    fn a_hashed_value_is_replaced_by_its_digest() {
        let hashed = |source| Field { hash: true, ..f(source) };
        let sample = Sample::new("/").field("x-a", "secret value");
        check(hashed(header("x-a")), &sample, &format!("|f=#{}", digest_hex(b"secret%20value")));
        check(hashed(header("x-b")), &sample, "|f");
    }

    /// `expected`: the key's partition section, and what a purge names.
    fn check_partition(source: Source, sample: &Sample, section: &str, expected: &[(&str, &str)]) {
        let field = Field { partition: true, ..f(source) };
        let key = constructor(vec![field]).key(&sample.input()).unwrap();
        assert_eq!((key.partition_str(), key.suffix()), (section, ""));
        let partition: Vec<_> = key.partition.iter().map(|(name, value)| (&**name, &**value)).collect();
        assert_eq!(partition, expected);
    }

    #[test]
    fn partition_values_are_what_people_write() {
        let sample = Sample::new("/caf%C3%A9/b+c?q=a+b%26&r=1&q=c").captured("/{y}/{x}").field("x-a", "1");
        let path = |list: &[&str]| Source::Path(names(list));
        check_partition(path(&["y"]), &sample, "f=caf%25C3%25A9", &[("f", "café")]);
        check_partition(path(&["y", "x"]), &sample, "x=b+c,y=caf%25C3%25A9", &[("x", "b+c"), ("y", "café")]);
        check_partition(Source::PathAll, &sample, "x=b+c,y=caf%25C3%25A9", &[("x", "b+c"), ("y", "café")]);
        check_partition(Source::PathAll, &Sample::new("/"), "", &[]);
        check_partition(path(&["z"]), &sample, "f", &[("f", "")]);
        check_partition(query(&["r"], true), &sample, "f={r=1}", &[("f", "1")]);
        check_partition(
            query(&["q"], true),
            &sample,
            "f={q=a+b%2526,q=c}",
            &[("f", "a b&,c"), ("f", "a b&"), ("f", "c")],
        );
        check_partition(
            query(&["r", "q"], true),
            &Sample::new("/?r&q=%41"),
            "f={q=%2541,r}",
            &[("f", "q=A&r")],
        );
        check_partition(header("x-a"), &sample, "f=1", &[("f", "1")]);
    }

    #[test]
    fn a_hashed_partition_is_purged_by_its_value() {
        let sample = Sample::new("/42").captured("/{id}");
        let field = Field { partition: true, hash: true, ..f(Source::Path(names(&["id"]))) };
        let key = constructor(vec![field]).key(&sample.input()).unwrap();
        assert_eq!(key.partition_str(), format!("f=#{}", digest_hex(b"42")));
        assert_eq!(*key.partition, [("f".into(), "42".to_owned())]);
    }
}
