//! Scalars with a syntax of their own: durations, sizes, percentages, addresses, patterns.
//!
//! Decides what each may look like. A number without a unit is refused where a unit could be guessed wrongly.

use super::read::{Parse, Refusal};
use crate::config::RetryOn;
use crate::routes::{BodyTag, HostPattern, PathPattern, PatternError, Template};
use crate::selector::Selector;
use crate::webhooks::{Signed, Source, TimeSource};
use http::uri::Authority;
use http::{HeaderName, Method};
use ipnet::IpNet;
use schemars::{Schema, json_schema};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

impl Parse for Duration {
    const EXPECTED: &'static str = "a duration such as 5m";

    fn parse(text: &str) -> Result<Self, Refusal> {
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Refusal::new("a duration needs a unit").help(format!("did you mean `{text}s`?")));
        }
        if text.starts_with('-') {
            return Err(Refusal::new("a duration cannot be negative"));
        }
        humantime::parse_duration(text).map_err(|error| {
            Refusal::new(format!("this is not a duration: {error}"))
                .help("write it like 500ms, 30s, 5m, 1h 30m or 7d")
        })
    }
}

/// A duration that something is allowed to take: never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Timeout(pub(super) Duration);

impl Parse for Timeout {
    const EXPECTED: &'static str = "a duration such as 30s";

    fn parse(text: &str) -> Result<Self, Refusal> {
        match Duration::parse(text)? {
            Duration::ZERO => Err(Refusal::new("a time limit of zero would end everything at once")),
            duration => Ok(Self(duration)),
        }
    }
}

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Size(pub(super) u64);

impl Parse for Size {
    const EXPECTED: &'static str = "a size such as 64MiB";

    fn parse(text: &str) -> Result<Self, Refusal> {
        let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic()).trim_end();
        if !number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') || number.is_empty() {
            return Err(not_a_size());
        }
        let size: bytesize::ByteSize = text.parse().map_err(|_| not_a_size())?;
        Ok(Self(size.as_u64()))
    }

    fn schema() -> Schema {
        json_schema!({ "type": ["string", "integer"] })
    }
}

fn not_a_size() -> Refusal {
    Refusal::new("this is not a size").help("write it like 1024, 512KiB, 64MiB or 2GB")
}

/// From which size on, or never.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Threshold {
    Size(Size),
    Off,
}

impl Parse for Threshold {
    const EXPECTED: &'static str = "a size such as 64KiB, or off";

    fn parse(text: &str) -> Result<Self, Refusal> {
        match text {
            "off" => Ok(Self::Off),
            _ => Size::parse(text).map(Self::Size).map_err(|_| {
                Refusal::new("this is neither a size nor `off`").help("write it like 64KiB, or off")
            }),
        }
    }

    fn schema() -> Schema {
        json_schema!({ "type": ["string", "integer"] })
    }
}

/// A part of a whole, or a size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Capacity {
    /// From 1 to 100.
    Percent(u8),
    Size(Size),
}

impl Parse for Capacity {
    const EXPECTED: &'static str = "a percentage such as 25%, or a size such as 512MiB";

    fn parse(text: &str) -> Result<Self, Refusal> {
        let Some(number) = text.strip_suffix('%') else {
            return Size::parse(text).map(Self::Size).map_err(|_| {
                Refusal::new("this is neither a percentage nor a size").help("write it like 25% or 512MiB")
            });
        };
        match number.trim_end().parse() {
            Ok(percent @ 1..=100) => Ok(Self::Percent(percent)),
            _ => Err(Refusal::new("a percentage is a whole number from 1% to 100%")),
        }
    }

    fn schema() -> Schema {
        Size::schema()
    }
}

/// How many of what this process may use: so much of it, or a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Share {
    Percent(Percent),
    Count(Count),
}

impl Parse for Share {
    const EXPECTED: &'static str = "a percentage such as 100%, or a number such as 4";

    fn parse(text: &str) -> Result<Self, Refusal> {
        if text.ends_with('%') {
            Percent::parse(text).map(Self::Percent)
        } else {
            Count::parse(text).map(Self::Count)
        }
    }

    fn schema() -> Schema {
        Size::schema()
    }
}

/// A part of a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Percent(pub(super) u8);

impl Parse for Percent {
    const EXPECTED: &'static str = "a percentage such as 25%";

    fn parse(text: &str) -> Result<Self, Refusal> {
        match text.strip_suffix('%').map(|number| number.trim_end().parse()) {
            Some(Ok(percent @ 0..=100)) => Ok(Self(percent)),
            _ => {
                Err(Refusal::new("a percentage is a whole number from 0% to 100%").help("write it like 10%"))
            }
        }
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "pattern": "^[0-9]+ *%$" })
    }
}

impl Parse for RetryOn {
    const EXPECTED: &'static str = "reset, timeout, or a status such as 503 or 5xx";

    fn parse(text: &str) -> Result<Self, Refusal> {
        let refusal = || {
            Refusal::new("this is no failure after which to ask again")
                .help("write reset, timeout, or the status of a failure such as 503, 5xx or 429")
        };
        match text {
            "reset" => Ok(Self::Reset),
            "timeout" => Ok(Self::Timeout),
            _ => match Statuses::parse(text) {
                Ok(Statuses(statuses)) if *statuses.start() >= 400 => Ok(Self::Status(statuses)),
                _ => Err(refusal()),
            },
        }
    }

    fn schema() -> Schema {
        Statuses::schema()
    }
}

/// A whole number that may be zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Number(pub(super) u32);

impl Parse for Number {
    const EXPECTED: &'static str = "a whole number";
    const NEVER_QUOTED: bool = true;

    fn parse(text: &str) -> Result<Self, Refusal> {
        let digits = text.replace('_', "");
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Refusal::new(format!(
                "expected {}, found {}",
                Self::EXPECTED,
                super::diagnostics::quote(text)
            )));
        }
        digits.parse().map(Self).map_err(|_| Refusal::new("this number is too large"))
    }

    fn schema() -> Schema {
        json_schema!({ "type": "integer", "minimum": 0 })
    }
}

/// A whole number from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Count(pub(super) usize);

impl Parse for Count {
    const EXPECTED: &'static str = "a whole number from 1";
    const NEVER_QUOTED: bool = true;

    fn parse(text: &str) -> Result<Self, Refusal> {
        match Number::parse(text)? {
            Number(0) => Err(Refusal::new("this must be at least 1")),
            Number(number) => {
                usize::try_from(number).map(Self).map_err(|_| Refusal::new("this number is too large"))
            }
        }
    }

    fn schema() -> Schema {
        json_schema!({ "type": "integer", "minimum": 1 })
    }
}

impl Parse for bool {
    const EXPECTED: &'static str = "true or false";
    const NEVER_QUOTED: bool = true;

    fn parse(text: &str) -> Result<Self, Refusal> {
        let refusal =
            Refusal::new(format!("expected true or false, found {}", super::diagnostics::quote(text)));
        match text {
            "true" => Ok(true),
            "false" => Ok(false),
            "yes" | "on" | "True" | "TRUE" => Err(refusal.help("did you mean `true`?")),
            "no" | "off" | "False" | "FALSE" => Err(refusal.help("did you mean `false`?")),
            _ => Err(refusal),
        }
    }

    fn schema() -> Schema {
        json_schema!({ "type": "boolean" })
    }
}

/// `true`, where leaving the key out is the other choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct True;

impl Parse for True {
    const EXPECTED: &'static str = "true";
    const NEVER_QUOTED: bool = true;

    fn parse(text: &str) -> Result<Self, Refusal> {
        match bool::parse(text)? {
            true => Ok(Self),
            false => Err(Refusal::new("this can only be true").help("leave the key out instead")),
        }
    }

    fn schema() -> Schema {
        json_schema!({ "const": true })
    }
}

impl Parse for SocketAddr {
    const EXPECTED: &'static str = "an address such as 0.0.0.0:8080";

    fn parse(text: &str) -> Result<Self, Refusal> {
        text.parse().map_err(|_| {
            let refusal = Refusal::new("this is not an IP address with a port");
            match text.rsplit_once(':') {
                None if text.parse::<u16>().is_ok() => {
                    refusal.help(format!("did you mean `0.0.0.0:{text}`?"))
                }
                Some(("", port)) => refusal.help(format!("did you mean `0.0.0.0:{port}`?")),
                Some(("localhost", port)) => refusal.help(format!("did you mean `127.0.0.1:{port}`?")),
                None if text.parse::<IpAddr>().is_ok() => refusal.help("add a port, such as :8080"),
                _ => refusal.help("write it like 0.0.0.0:8080, 127.0.0.1:8080 or [::]:8080"),
            }
        })
    }
}

impl Parse for IpNet {
    const EXPECTED: &'static str = "an address or network such as 10.0.0.0/8";

    fn parse(text: &str) -> Result<Self, Refusal> {
        text.parse().or_else(|_| text.parse::<IpAddr>().map(Self::from)).map_err(|_| {
            Refusal::new("this is neither an IP address nor a network")
                .help("write it like 10.0.0.0/8, 192.0.2.7 or fd00::/8")
        })
    }
}

/// A server of an upstream: `http://host:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OriginUrl(pub(super) Authority);

impl Parse for OriginUrl {
    const EXPECTED: &'static str = "a server such as http://127.0.0.1:8000";

    fn parse(text: &str) -> Result<Self, Refusal> {
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(
                Refusal::new("a server is written as a URL").help(format!("did you mean `http://{text}`?"))
            );
        };
        match scheme {
            "http" => {}
            "https" => {
                return Err(Refusal::new("TLS to origins is not there yet")
                    .help("use http:// on a network that can be trusted, or a TLS proxy beside the origin"));
            }
            _ => return Err(Refusal::new("a server is reached by http://")),
        }
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if let Some(at) = authority.find(['/', '?', '#']) {
            return Err(Refusal::new("a server has no path: requests keep their own")
                .at(scheme.len() + 3 + at)
                .help(format!("did you mean `http://{}`?", &authority[..at])));
        }
        if authority.contains('@') {
            return Err(Refusal::new("a server has no user name or password"));
        }
        match authority.parse::<Authority>() {
            Ok(parsed) if parsed.host().is_empty() => Err(Refusal::new("the host is missing")),
            // `Authority` takes any port of digits, and none after the colon.
            Ok(parsed) if parsed.as_str().len() > parsed.host().len() && parsed.port_u16().is_none() => {
                Err(Refusal::new("a port is a number from 1 to 65535"))
            }
            Ok(parsed) if parsed.port_u16() == Some(0) => {
                Err(Refusal::new("a port is a number from 1 to 65535"))
            }
            Ok(parsed) => Ok(Self(parsed)),
            Err(_) => Err(Refusal::new("this is not a host and a port")),
        }
    }
}

impl Parse for Method {
    const EXPECTED: &'static str = "a method such as GET";

    fn parse(text: &str) -> Result<Self, Refusal> {
        let upper = text.to_ascii_uppercase();
        if upper != text {
            return Err(
                Refusal::new("methods are written in capitals").help(format!("did you mean `{upper}`?"))
            );
        }
        Self::from_bytes(text.as_bytes()).map_err(|_| Refusal::new("this is not a method"))
    }
}

impl Parse for HeaderName {
    const EXPECTED: &'static str = "a field name such as accept-language";

    fn parse(text: &str) -> Result<Self, Refusal> {
        Self::from_bytes(text.as_bytes())
            .map_err(|_| Refusal::new("this is not a field name").help("write it like accept-language"))
    }
}

impl Parse for regex::Regex {
    const EXPECTED: &'static str = "a regular expression";

    fn parse(text: &str) -> Result<Self, Refusal> {
        Self::new(text).map_err(|error| match error {
            // The rest of the text shows the expression, which stands in the file already.
            regex::Error::Syntax(text) => {
                let reason = text.lines().last().unwrap_or_default();
                Refusal::new(format!(
                    "this is not a regular expression: {}",
                    reason.strip_prefix("error: ").unwrap_or(reason)
                ))
            }
            _ => Refusal::new("this regular expression is too large"),
        })
    }
}

impl From<PatternError> for Refusal {
    fn from(error: PatternError) -> Self {
        Self::new(error.message).at(error.at)
    }
}

impl Parse for PathPattern {
    const EXPECTED: &'static str = "a path pattern such as /users/{user_id}";

    fn parse(text: &str) -> Result<Self, Refusal> {
        Ok(PathPattern::parse(text)?)
    }
}

impl Parse for HostPattern {
    const EXPECTED: &'static str = "a host such as example.com or *.example.com";

    fn parse(text: &str) -> Result<Self, Refusal> {
        Ok(HostPattern::parse(text)?)
    }
}

impl Parse for Template {
    const EXPECTED: &'static str = "text with holes such as user:{user_id}";

    fn parse(text: &str) -> Result<Self, Refusal> {
        Template::parse(text).map_err(|error| Refusal::new(error.message).at(error.at))
    }
}

impl Parse for BodyTag {
    const EXPECTED: &'static str = "text around a JSONPath such as product:{$.items[*].id}";

    fn parse(text: &str) -> Result<Self, Refusal> {
        BodyTag::parse(text).map_err(|error| Refusal::new(error.message).at(error.at))
    }
}

impl Parse for Source {
    const EXPECTED: &'static str = "header.NAME, query.NAME or a JSONPath";

    fn parse(text: &str) -> Result<Self, Refusal> {
        Source::parse(text).map_err(|error| Refusal::new(error.message).at(error.at))
    }
}

impl Parse for TimeSource {
    const EXPECTED: &'static str = "sig.NAME, header.NAME, query.NAME or a JSONPath";

    fn parse(text: &str) -> Result<Self, Refusal> {
        match text.strip_prefix("sig.").filter(|name| !name.is_empty()) {
            Some(name) => Ok(Self::Signature(name.into())),
            None => <Source as Parse>::parse(text).map(Self::Delivery),
        }
    }
}

impl Parse for Signed {
    const EXPECTED: &'static str = "text with holes such as {sig.t}.{body}";

    fn parse(text: &str) -> Result<Self, Refusal> {
        Signed::parse(text).map_err(|error| Refusal::new(error.message).at(error.at))
    }
}

impl Parse for Selector {
    const EXPECTED: &'static str = "a JSONPath such as $.data.id";

    fn parse(text: &str) -> Result<Self, Refusal> {
        Selector::parse(text).map_err(|error| {
            let named = error.message.contains("JSONPath");
            let message =
                if named { error.message } else { format!("this is not a JSONPath: {}", error.message) };
            Refusal::new(message).at(error.at)
        })
    }
}

/// Status codes: one, or a class such as `5xx`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Statuses(pub(super) std::ops::RangeInclusive<u16>);

impl Parse for Statuses {
    const EXPECTED: &'static str = "a status code such as 404, or a class such as 5xx";

    fn parse(text: &str) -> Result<Self, Refusal> {
        let refusal = || Refusal::new("this is not a status code").help("write it like 404 or 5xx");
        if let Some(class @ ("1" | "2" | "3" | "4" | "5")) =
            text.strip_suffix("xx").or(text.strip_suffix("XX"))
        {
            let class: u16 = class.parse().map_err(|_| refusal())?;
            return Ok(Self(class * 100..=class * 100 + 99));
        }
        match text.parse() {
            Ok(status @ 100..=599) if text.len() == 3 => Ok(Self(status..=status)),
            _ => Err(refusal()),
        }
    }

    fn schema() -> Schema {
        json_schema!({ "type": ["integer", "string"] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<T: Parse + std::fmt::Debug + PartialEq>(text: &str, expected: T) {
        assert_eq!(T::parse(text), Ok(expected), "{text}");
    }

    fn check_refused<T: Parse + std::fmt::Debug>(text: &str, expected: &str) {
        let refusal = T::parse(text).expect_err(text);
        let told = format!("{} {}", refusal.message, refusal.help.unwrap_or_default());
        assert!(told.contains(expected), "{text}: {told}");
    }

    #[test]
    fn durations_have_units() {
        check("5m", Duration::from_secs(300));
        check("1h 30m", Duration::from_secs(5400));
        check("1h30m", Duration::from_secs(5400));
        check("0s", Duration::ZERO);
        check("250ms", Duration::from_millis(250));
        check_refused::<Duration>("5", "did you mean `5s`?");
        check_refused::<Duration>("0", "did you mean `0s`?");
        check_refused::<Duration>("-5m", "negative");
        check_refused::<Duration>("5 minutos", "this is not a duration");
        check_refused::<Duration>("", "this is not a duration");
        check_refused::<Timeout>("0s", "would end everything at once");
    }

    #[test]
    fn sizes_are_bytes() {
        check("64MiB", Size(64 << 20));
        check("64MB", Size(64_000_000));
        check("1024", Size(1024));
        check("0", Size(0));
        check("1.5 KiB", Size(1536));
        check_refused::<Size>("64MX", "this is not a size");
        check_refused::<Size>("-1", "this is not a size");
        check_refused::<Size>("nan", "this is not a size");
        check_refused::<Size>("", "this is not a size");
    }

    #[test]
    fn a_capacity_is_a_part_or_a_size() {
        check("25%", Capacity::Percent(25));
        check("512MiB", Capacity::Size(Size(512 << 20)));
        check_refused::<Capacity>("0%", "from 1% to 100%");
        check_refused::<Capacity>("101%", "from 1% to 100%");
        check_refused::<Capacity>("much", "neither a percentage nor a size");
    }

    #[test]
    fn a_share_is_a_percentage_or_a_number() {
        check("50%", Share::Percent(Percent(50)));
        check("3", Share::Count(Count(3)));
        check_refused::<Share>("0", "at least 1");
        check_refused::<Share>("all", "expected a whole number");
    }

    #[test]
    fn numbers_are_whole() {
        check("10_000", Count(10_000));
        check_refused::<Count>("0", "at least 1");
        check_refused::<Number>("-1", "expected a whole number");
        check_refused::<Number>("1.5", "expected a whole number");
        check_refused::<Number>("99999999999", "too large");
        check_refused::<bool>("yes", "did you mean `true`?");
        check_refused::<True>("false", "leave the key out");
    }

    #[test]
    fn addresses_are_complete() {
        check("127.0.0.1:80", SocketAddr::from(([127, 0, 0, 1], 80)));
        check_refused::<SocketAddr>("8080", "did you mean `0.0.0.0:8080`?");
        check_refused::<SocketAddr>(":8080", "did you mean `0.0.0.0:8080`?");
        check_refused::<SocketAddr>("localhost:80", "did you mean `127.0.0.1:80`?");
        check_refused::<SocketAddr>("10.0.0.1", "add a port");
        check("10.0.0.0/8", "10.0.0.0/8".parse::<IpNet>().unwrap());
        check("::1", "::1/128".parse::<IpNet>().unwrap());
        check_refused::<IpNet>("10.0.0.0/33", "neither an IP address nor a network");
    }

    #[test]
    fn servers_are_reached_by_plain_http() {
        check("http://app:8000", OriginUrl(Authority::from_static("app:8000")));
        check("http://app", OriginUrl(Authority::from_static("app")));
        check("http://[::1]:8000/", OriginUrl(Authority::from_static("[::1]:8000")));
        check_refused::<OriginUrl>("app:8000", "did you mean `http://app:8000`?");
        check_refused::<OriginUrl>("https://app", "TLS to origins is not there yet");
        check_refused::<OriginUrl>("http://app/x", "did you mean `http://app`?");
        check_refused::<OriginUrl>("http://a:b@app", "no user name");
        check_refused::<OriginUrl>("http://", "host");
        check_refused::<OriginUrl>("http://app:", "a port is a number");
        check_refused::<OriginUrl>("http://app:0", "a port is a number");
        check_refused::<OriginUrl>("http://app:99999", "a port is a number");
    }

    #[test]
    fn statuses_are_codes_and_classes() {
        check("404", Statuses(404..=404));
        check("5xx", Statuses(500..=599));
        check_refused::<Statuses>("9xx", "not a status code");
        check_refused::<Statuses>("42", "not a status code");
    }

    #[test]
    fn words_of_http_are_checked() {
        check("PURGE", Method::from_bytes(b"PURGE").unwrap());
        check_refused::<Method>("get", "did you mean `GET`?");
        check_refused::<Method>("GET POST", "not a method");
        check_refused::<HeaderName>("a b", "not a field name");
        check_refused::<regex::Regex>("(", "unclosed group");
    }
}
