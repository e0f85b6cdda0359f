//! Cookies of a request: RFC 6265 §4.2.1 and §5.4, read leniently as servers do.

use http::HeaderMap;
use http::header::COOKIE;

/// The values of all cookies of exactly this name, in order, over all `Cookie` lines (RFC 9113 §8.2.3 splits them).
/// Quotes belong to the value.
pub fn values<'h>(name: &'h str, headers: &'h HeaderMap) -> impl Iterator<Item = &'h [u8]> {
    headers.get_all(COOKIE).iter().flat_map(|line| line.as_bytes().split(|&byte| byte == b';')).filter_map(
        move |pair| {
            let equals = pair.iter().position(|&byte| byte == b'=')?;
            let (found, value) = (&pair[..equals], &pair[equals + 1..]);
            (found.trim_ascii() == name.as_bytes()).then(|| value.trim_ascii())
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, lines: &[&str], expected: &[&str]) {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(COOKIE, line.parse().unwrap());
        }
        let found: Vec<_> = values(name, &headers).map(|value| str::from_utf8(value).unwrap()).collect();
        assert_eq!(found, expected, "{lines:?}");
    }

    #[test]
    fn a_cookie_is_found_by_its_exact_name() {
        check("lang", &["a=1; lang=de; b=2"], &["de"]);
        check("lang", &["xlang=1; Lang=2; langx=3; lang"], &[]);
        check("lang", &["lang=a=b;lang=; lang=\"q\""], &["a=b", "", "\"q\""]);
        check("lang", &["a=1", "lang=de"], &["de"]);
        check("lang", &[";;  lang = de ;"], &["de"]);
        check("lang", &[], &[]);
    }
}
