//! URIs in one form: RFC 3986 §6.2.2, and the host that everything goes by. PURE.
//!
//! Equivalent URIs must have one key, and what the origin is asked for must be what the key was built from.
//! Only what is certain to mean the same is made the same: unreserved octets are decoded, hexadecimal digits are
//! upper-cased, dot segments are removed. Reserved characters stay as they were sent.

use std::borrow::Cow;
use std::net::Ipv6Addr;

/// Why a text is no path or authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UriError {
    /// A path must be absolute.
    #[error("a path begins with /")]
    NotAbsolute,
    /// `%` without two hexadecimal digits.
    #[error("% is not followed by two hexadecimal digits")]
    PercentEncoding,
    /// A character that must be percent-encoded in a URI.
    #[error("{0:?} must be percent-encoded")]
    Character(char),
    /// `.` or `..` that only some would take for a segment.
    #[error("it has a dot segment in disguise: next to an encoded slash, a backslash or a semicolon")]
    HiddenDotSegment,
    /// Not `host` or `host:port`.
    #[error("it is not a host with an optional port")]
    Authority,
}

/// The normalised path; borrowed if it was so already. The empty path becomes `/`.
///
/// # Errors
/// A path that is not absolute, has an invalid percent-encoding, a character no URI may have, or a dot segment in disguise.
pub fn normalize_path(path: &str) -> Result<Cow<'_, str>, UriError> {
    if path.is_empty() {
        return Ok(Cow::Borrowed("/"));
    }
    if !path.starts_with('/') {
        return Err(UriError::NotAbsolute);
    }
    if is_normal(path) {
        return Ok(Cow::Borrowed(path));
    }
    let decoded = normalize_percent_encoding(path)?;
    if hides_dot_segments(&decoded) {
        return Err(UriError::HiddenDotSegment);
    }
    Ok(Cow::Owned(remove_dot_segments(&decoded)))
}

/// Whether there is nothing to do: the common case, decided in one pass.
fn is_normal(path: &str) -> bool {
    let bytes = path.as_bytes();
    let mut follows_slash = false;
    let mut may_be_dots = false;
    let plain = bytes.iter().all(|&byte| {
        may_be_dots |= follows_slash && byte == b'.';
        follows_slash = byte == b'/';
        PLAIN[usize::from(byte)]
    });
    plain && !(may_be_dots && has_dot_segments(bytes))
}

/// What may stand in a path and be left as it is.
const PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        plain[byte] = is_path_byte(byte as u8) && byte != b'%' as usize;
        byte += 1;
    }
    plain
};

/// Whether there are any, with or without parameters (`..;a=b`).
fn has_dot_segments(path: &[u8]) -> bool {
    let segments = path.split(|&byte| byte == b'/');
    let mut names = segments.filter_map(|segment| segment.split(|&byte| byte == b';').next());
    names.any(|name| name == b"." || name == b"..")
}

/// Whether somebody who decodes slashes first, takes backslashes for slashes, or takes parameters off segments first
/// would find a dot segment where we find none. `/static/..%2Faccount` would be stored as one of the `/static/` here, and
/// be the account there. Of a path whose percent-encoding is normal.
fn hides_dot_segments(path: &str) -> bool {
    let is_dots = |text: &str| text == "." || text == "..";
    path.split('/').filter(|segment| !is_dots(segment)).any(|segment| {
        let parts = segment.split("%2F").flat_map(|part| part.split("%5C"));
        let mut names =
            parts.flat_map(|part| part.split("%3B").take(1)).flat_map(|part| part.split(';').take(1));
        names.any(is_dots)
    })
}

/// The normalised query; borrowed if it was so already. What is not ASCII is percent-encoded, which is what it means.
///
/// Apps read queries in ways of their own, so all else stays as it was sent: other characters that should be encoded,
/// and, where a percent sign stands by itself (`100%`), every percent-encoding, lest what is decoded complete it.
pub fn normalize_query(query: &str) -> Cow<'_, str> {
    let bytes = query.as_bytes();
    if bytes.iter().all(|&byte| byte != b'%' && byte.is_ascii()) {
        return Cow::Borrowed(query);
    }
    let octets: Option<Vec<Octet>> = octets(bytes).collect();
    let plain = || bytes.iter().copied().map(Octet::Written).collect();
    let mut normal = String::with_capacity(query.len());
    for octet in octets.unwrap_or_else(plain) {
        match octet {
            Octet::Written(byte) if byte.is_ascii() => normal.push(char::from(byte)),
            Octet::Encoded(byte) if is_unreserved(byte) => normal.push(char::from(byte)),
            Octet::Written(byte) | Octet::Encoded(byte) => push_encoded(byte, &mut normal),
        }
    }
    if normal == query { Cow::Borrowed(query) } else { Cow::Owned(normal) }
}

/// An octet of a URI and how it stands there.
#[derive(Clone, Copy)]
enum Octet {
    Written(u8),
    Encoded(u8),
}

/// The octets of a text; `None` for a percent sign without two hexadecimal digits.
fn octets(text: &[u8]) -> impl Iterator<Item = Option<Octet>> {
    let mut bytes = text.iter().copied();
    std::iter::from_fn(move || {
        let byte = bytes.next()?;
        if byte != b'%' {
            return Some(Some(Octet::Written(byte)));
        }
        let mut digit = || char::from(bytes.next()?).to_digit(16);
        let octet = digit().zip(digit()).and_then(|(high, low)| u8::try_from(high * 16 + low).ok());
        Some(octet.map(Octet::Encoded))
    })
}

fn push_encoded(byte: u8, normal: &mut String) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    normal.push('%');
    normal.push(char::from(HEX[usize::from(byte >> 4)]));
    normal.push(char::from(HEX[usize::from(byte & 15)]));
}

/// `pchar / "/"` (RFC 3986 §3.3), without the percent sign.
const fn is_path_byte(byte: u8) -> bool {
    is_unreserved(byte)
        || matches!(
            byte,
            b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' | b':' | b'@' | b'/'
        )
}

/// RFC 3986 §2.3.
const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// §6.2.2.1 and §6.2.2.2. Characters that apps do send though a path may not have them (`|`, `"`, `{`, raw UTF-8 …)
/// are percent-encoded, which is what they mean; control characters and spaces are refused.
fn normalize_percent_encoding(path: &str) -> Result<String, UriError> {
    let mut normal = String::with_capacity(path.len());
    for octet in octets(path.as_bytes()) {
        match octet.ok_or(UriError::PercentEncoding)? {
            Octet::Encoded(octet) if is_unreserved(octet) => normal.push(char::from(octet)),
            Octet::Written(byte) if is_path_byte(byte) => normal.push(char::from(byte)),
            Octet::Written(byte @ (0..=b' ' | 0x7f | b'?' | b'#')) => {
                return Err(UriError::Character(char::from(byte)));
            }
            Octet::Written(byte) | Octet::Encoded(byte) => push_encoded(byte, &mut normal),
        }
    }
    Ok(normal)
}

/// RFC 3986 §5.2.4, for an absolute path. Empty segments (`//`) are segments and stay.
fn remove_dot_segments(path: &str) -> String {
    if !has_dot_segments(path.as_bytes()) {
        return path.to_owned();
    }
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path[1..].split('/').peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." {
                    kept.pop();
                }
                if last {
                    kept.push("");
                }
            }
            _ => kept.push(segment),
        }
    }
    format!("/{}", kept.join("/"))
}

/// The host, lower-case, without a final dot, with its port unless it is the default of `scheme`; borrowed if it was so
/// already.
///
/// # Errors
/// Anything that is not `uri-host [ ":" port ]` (RFC 9110 §7.2): user information, spaces, lists, bad ports.
pub fn normalize_authority<'a>(authority: &'a str, scheme: &str) -> Result<Cow<'a, str>, UriError> {
    let (host, port) = split_port(authority)?;
    let host = normalize_host(host)?;
    let default = match scheme {
        "https" => 443,
        _ => 80,
    };
    let Some(port) = port.filter(|&port| port != default) else { return Ok(host) };
    let normal = format!("{host}:{port}");
    Ok(if normal == authority { Cow::Borrowed(authority) } else { Cow::Owned(normal) })
}

fn normalize_host(host: &str) -> Result<Cow<'_, str>, UriError> {
    if let Some(literal) = host.strip_prefix('[') {
        let address = literal.strip_suffix(']').and_then(|address| address.parse::<Ipv6Addr>().ok());
        let normal = format!("[{}]", address.ok_or(UriError::Authority)?);
        return Ok(if normal == host { Cow::Borrowed(host) } else { Cow::Owned(normal) });
    }
    // A final dot says that the name is complete, which it is without one.
    let host = host.strip_suffix('.').unwrap_or(host);
    // Registered names and IPv4 addresses. Underscores are no host names, yet containers are called so.
    let is_valid =
        !host.is_empty() && !host.ends_with('.') && host.len() <= 255 && host.bytes().all(is_unreserved);
    if !is_valid {
        return Err(UriError::Authority);
    }
    Ok(if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(host.to_ascii_lowercase())
    } else {
        Cow::Borrowed(host)
    })
}

/// A host without the port that is a scheme's default. Which scheme a client used may be known to a proxy before us
/// only, so for purging `example.com:443` is `example.com`, whatever the scheme is said to be.
pub fn without_default_port(host: &str) -> &str {
    host.strip_suffix(":443").or_else(|| host.strip_suffix(":80")).unwrap_or(host)
}

/// A host without its port.
pub fn without_port(host: &str) -> &str {
    split_port(host).map_or(host, |(name, _)| name)
}

/// The host and the port, if one is given; an empty port is none (RFC 3986 §3.2.3).
fn split_port(authority: &str) -> Result<(&str, Option<u16>), UriError> {
    let after_literal = authority.rfind(']').map_or(0, |end| end + 1);
    match authority[after_literal..].rfind(':') {
        None => Ok((authority, None)),
        Some(colon) => {
            let (host, port) = authority.split_at(after_literal + colon);
            match &port[1..] {
                "" => Ok((host, None)),
                digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                    digits.parse().map(|port| (host, Some(port))).map_err(|_| UriError::Authority)
                }
                _ => Err(UriError::Authority),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equivalent_paths_are_one_path() {
        for (path, normal) in [
            ("", "/"),
            ("/", "/"),
            ("/a/b", "/a/b"),
            ("/a/./b/../c", "/a/c"),
            ("/a/b/..", "/a/"),
            ("/a/b/.", "/a/b/"),
            ("/../a", "/a"),
            ("/%2e%2E/a", "/a"),
            ("/a//b", "/a//b"),
            ("/%7euser/%41", "/~user/A"),
            ("/%c3%a9", "/%C3%A9"),
            ("/é", "/%C3%A9"),
            ("/a|b", "/a%7Cb"),
        ] {
            assert_eq!(normalize_path(path).as_deref(), Ok(normal), "{path}");
        }
    }

    #[test]
    fn reserved_characters_stay_as_they_were_sent() {
        for path in ["/a%2Fb", "/a%3Bb", "/a;b", "/a%2Bb", "/a+b", "/%25"] {
            assert_eq!(normalize_path(path).as_deref(), Ok(path));
        }
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for path in ["a", "/%", "/%2", "/%zz", "/a b", "/a\u{7f}", "/a\n"] {
            assert!(normalize_path(path).is_err(), "{path:?}");
        }
    }

    #[test]
    fn dot_segments_in_disguise_are_refused() {
        for path in [
            "/static/..%2faccount",
            "/static/%2e%2e%2Faccount",
            "/static/..%5caccount",
            "/static/..\\account",
            "/static/x%2F..%2F..",
            "/static/a%2f.%2fb",
            "/static/..;/account",
            "/static/..;x=1/account",
            "/static/%2e%2E%3b/account",
            "/..;",
        ] {
            assert_eq!(normalize_path(path), Err(UriError::HiddenDotSegment), "{path}");
        }
        for path in ["/a%2Fb", "/a..%2Fb", "/...%2F", "/a;..", "/%2F", "/.a;b", "/..a%5C"] {
            assert_eq!(normalize_path(path).as_deref(), Ok(path));
        }
    }

    #[test]
    fn normalising_twice_changes_nothing() {
        for path in ["/a/./b/../c", "/%7e/%2f", "/é", "/..//../x/."] {
            let once = normalize_path(path).unwrap().into_owned();
            assert_eq!(normalize_path(&once).unwrap(), once);
        }
    }

    #[test]
    fn equivalent_authorities_are_one_host() {
        for (authority, scheme, normal) in [
            ("a.test", "http", "a.test"),
            ("A.Test:80", "http", "a.test"),
            ("a.test:443", "https", "a.test"),
            ("a.test:80", "https", "a.test:80"),
            ("a.test:08080", "http", "a.test:8080"),
            ("a.test:", "http", "a.test"),
            ("[::1]:8080", "http", "[::1]:8080"),
            ("[2001:DB8::1]", "http", "[2001:db8::1]"),
            ("[2001:db8:0:0:0:0:0:1]:80", "http", "[2001:db8::1]"),
            ("[0:0:0:0:0:0:0:1]:8080", "http", "[::1]:8080"),
            ("a.test.", "http", "a.test"),
            ("A.test.:8080", "http", "a.test:8080"),
            ("my_app", "http", "my_app"),
        ] {
            assert_eq!(normalize_authority(authority, scheme).as_deref(), Ok(normal), "{authority}");
        }
    }

    #[test]
    fn equivalent_queries_are_one_query() {
        for (query, normal) in [
            ("", ""),
            ("a=b&c", "a=b&c"),
            ("q=%c3%a9", "q=%C3%A9"),
            ("q=\u{e9}", "q=%C3%A9"),
            ("q=%7eme&%41=%2d", "q=~me&A=-"),
            // What may mean something stays as it was sent.
            ("a=%26&b=%3D&c=%2B+%20", "a=%26&b=%3D&c=%2B+%20"),
            ("a[]=1&b={|}", "a[]=1&b={|}"),
            ("q=100%&r=%7e", "q=100%&r=%7e"),
            ("q=%%34%31", "q=%%34%31"),
            ("q=%4\u{e9}", "q=%4%C3%A9"),
        ] {
            let once = normalize_query(query);
            assert_eq!(once, normal, "{query}");
            assert_eq!(normalize_query(&once), normal, "{query} twice");
        }
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for authority in [
            "", ":80", ".", "a..", "a b", "a,b", "u@a", "a/b", "a:99999", "a:b", "[::1", "::1", "[x]",
            "a\u{e9}",
        ] {
            assert_eq!(normalize_authority(authority, "http"), Err(UriError::Authority), "{authority:?}");
        }
    }
}
