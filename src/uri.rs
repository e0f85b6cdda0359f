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
    bytes.iter().all(|&byte| byte != b'%' && is_path_byte(byte)) && !has_dot_segments(bytes)
}

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
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut normal = String::with_capacity(path.len());
    let encode = |byte: u8, normal: &mut String| {
        normal.push('%');
        normal.push(char::from(HEX[usize::from(byte >> 4)]));
        normal.push(char::from(HEX[usize::from(byte & 15)]));
    };
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
                let (Some(high), Some(low)) = (digit(bytes.next()), digit(bytes.next())) else {
                    return Err(UriError::PercentEncoding);
                };
                let octet = u8::try_from(high * 16 + low).unwrap_or(u8::MAX);
                if is_unreserved(octet) {
                    normal.push(char::from(octet));
                } else {
                    encode(octet, &mut normal);
                }
            }
            _ if is_path_byte(byte) => normal.push(char::from(byte)),
            0..=b' ' | 0x7f | b'?' | b'#' => return Err(UriError::Character(char::from(byte))),
            _ => encode(byte, &mut normal),
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

/// The host, lower-case, with its port unless it is the default of `scheme`; borrowed if it was so already.
///
/// # Errors
/// Anything that is not `uri-host [ ":" port ]` (RFC 9110 §7.2): user information, spaces, lists, bad ports.
pub fn normalize_authority<'a>(authority: &'a str, scheme: &str) -> Result<Cow<'a, str>, UriError> {
    let (host, port) = split_port(authority)?;
    let valid = match host.strip_prefix('[') {
        Some(literal) => literal.strip_suffix(']').is_some_and(|address| address.parse::<Ipv6Addr>().is_ok()),
        // Registered names and IPv4 addresses. Underscores are no host names, yet containers are called so.
        None => !host.is_empty() && host.len() <= 255 && host.bytes().all(is_unreserved),
    };
    if !valid {
        return Err(UriError::Authority);
    }
    let default = match scheme {
        "https" => 443,
        _ => 80,
    };
    let kept = match port {
        Some(port) if port != default => authority,
        _ => host,
    };
    let port_is_plain = port.is_none_or(|port| port == default || kept.ends_with(&format!(":{port}")));
    if port_is_plain && !kept.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Ok(Cow::Borrowed(kept));
    }
    let host = host.to_ascii_lowercase();
    Ok(Cow::Owned(match port.filter(|&port| port != default) {
        Some(port) => format!("{host}:{port}"),
        None => host,
    }))
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
            ("my_app", "http", "my_app"),
        ] {
            assert_eq!(normalize_authority(authority, scheme).as_deref(), Ok(normal), "{authority}");
        }
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for authority in
            ["", ":80", "a b", "a,b", "u@a", "a/b", "a:99999", "a:b", "[::1", "::1", "[x]", "a\u{e9}"]
        {
            assert_eq!(normalize_authority(authority, "http"), Err(UriError::Authority), "{authority:?}");
        }
    }
}
