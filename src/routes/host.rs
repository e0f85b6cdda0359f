//! Host patterns: `example.com`, `example.com:8080`, `*.example.com`.
//!
//! Hosts are compared in lower case, as RFC 3986 §3.2.2 has it, and in ASCII. Knows nothing of paths.

use super::PatternError;
use std::fmt;

/// `example.com`, `example.com:8080`, `*.example.com`.
///
/// Without a port it takes requests to any port; `*.` stands for one or more labels, so `*.example.com` takes
/// `a.example.com` and `a.b.example.com`, but not `example.com`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostPattern {
    /// In lower case.
    text: Box<str>,
}

impl HostPattern {
    /// Reads a pattern as people write it; letters of either case mean the same.
    ///
    /// # Errors
    ///
    /// Where the pattern is malformed, and what to write instead.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let refuse = |at: usize, message: &str| Err(PatternError::new(at, message));
        if text.is_empty() {
            return refuse(0, "a host cannot be empty; leave it out to match every host");
        }
        if text == "*" {
            return refuse(0, "leave the host out to match every host");
        }
        if let Some(at) = text.find("://") {
            return refuse(at, "a host has no scheme: write example.com");
        }
        if let Some(at) = text.find('/') {
            return refuse(at, "a host has no path: match that with `path`");
        }
        let (name, port) = split_port(text);
        if let Some(port) = port
            && (!port.bytes().all(|byte| byte.is_ascii_digit())
                || !port.parse().is_ok_and(|port: u16| port > 0))
        {
            return refuse(name.len() + 1, "a port is a number from 1 to 65535");
        }
        if let Some(address) = name.strip_prefix('[') {
            let address = address.strip_suffix(']').unwrap_or_default();
            let Ok(address) = address.parse::<std::net::Ipv6Addr>() else {
                return refuse(0, "this is not an IPv6 address in brackets, such as [::1]");
            };
            let port = port.map(|port| format!(":{port}")).unwrap_or_default();
            return Ok(Self { text: format!("[{address}]{port}").into() });
        }
        let labels = name.strip_prefix("*.").unwrap_or(name);
        let start = name.len() - labels.len();
        if let Some(at) = labels.find('*') {
            return refuse(start + at, "a star can only stand for whole labels at the start: *.example.com");
        }
        if let Some(at) = labels.find(|c: char| !c.is_ascii()) {
            return refuse(start + at, "write international names in their ASCII form (xn--…)");
        }
        if let Some(at) = labels.find(|c: char| !c.is_ascii_alphanumeric() && !"-._".contains(c)) {
            return refuse(start + at, "this character cannot stand in a host");
        }
        if labels.split('.').any(str::is_empty) {
            return refuse(start, "a host has no empty labels: write example.com");
        }
        Ok(Self { text: text.to_ascii_lowercase().into() })
    }

    /// Whether it takes requests for this host (in lower case); without a port, for this host on any port.
    pub fn could_take(&self, host: &str) -> bool {
        let ((pattern, pattern_port), (name, port)) = (split_port(&self.text), split_port(host));
        let same_port = pattern_port.zip(port).is_none_or(|(one, other)| one == other);
        same_port
            && match pattern.strip_prefix('*') {
                Some(ending) => name.len() > ending.len() && name.ends_with(ending),
                None => pattern == name,
            }
    }

    /// What a wildcard pattern's hosts end with, dot first; `None` for an exact pattern.
    pub(super) fn ending(&self) -> Option<&str> {
        self.text.strip_prefix('*')
    }

    pub(super) fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// `example.com:80` → `example.com`, `80`; an IPv6 address keeps its brackets.
pub(super) fn split_port(host: &str) -> (&str, Option<&str>) {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, Some(port)),
        _ => (host, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_kept_in_lower_case() {
        for (text, kept) in [
            ("Example.COM", "example.com"),
            ("example.com:8080", "example.com:8080"),
            ("*.Example.com", "*.example.com"),
            ("[::1]", "[::1]"),
            ("[2001:DB8:0::1]:80", "[2001:db8::1]:80"),
            ("localhost", "localhost"),
        ] {
            assert_eq!(HostPattern::parse(text).unwrap().to_string(), kept);
        }
    }

    #[test]
    fn a_host_without_a_port_is_that_host_on_any_port() {
        for (pattern, host, could) in [
            ("a.test", "a.test", true),
            ("a.test", "a.test:8080", true),
            ("a.test:8080", "a.test", true),
            ("a.test:8080", "a.test:8080", true),
            ("a.test:8080", "a.test:80", false),
            ("a.test", "b.a.test", false),
            ("*.a.test", "b.a.test", true),
            ("*.a.test", "c.b.a.test:1", true),
            ("*.a.test", "a.test", false),
            ("*.a.test", ".a.test", false),
            ("[::1]", "[::1]:80", true),
        ] {
            assert_eq!(HostPattern::parse(pattern).unwrap().could_take(host), could, "{pattern} {host}");
        }
    }

    #[test]
    fn a_malformed_host_says_where_and_what_to_do() {
        for (text, at, hint) in [
            ("", 0, "leave it out"),
            ("*", 0, "leave the host out"),
            ("http://example.com", 4, "no scheme"),
            ("example.com/a", 11, "no path"),
            ("example.com:x", 12, "a port is a number"),
            ("example.com:0", 12, "a port is a number"),
            ("example.com:+80", 12, "a port is a number"),
            ("a.*.com", 2, "at the start"),
            ("münchen.de", 1, "ASCII form"),
            ("a b", 1, "cannot stand"),
            ("example..com", 0, "empty labels"),
            ("*.", 2, "empty labels"),
            ("[::1", 0, "not an IPv6 address"),
            ("[nope]", 0, "not an IPv6 address"),
        ] {
            let error = HostPattern::parse(text).unwrap_err();
            assert!(error.message.contains(hint), "{text}: {error}");
            assert_eq!(error.at, at, "{text}: {error}");
        }
    }
}
