//! Claims: the fields in which a client may say something of its own request that apps take for the truth. PURE.
//!
//! A key is built from the host, target, method and scheme of the request itself. Many apps, frameworks and gateways
//! believe certain fields instead; with these a client could have the answer to another request stored under the key
//! of this one, or pass for somebody else. So, for everything that goes to an origin:
//!
//! 1. What this proxy knows it writes itself (`Host`, `Forwarded`, `X-Forwarded-*`), over whatever came.
//! 2. Other fields that claim such a thing are dropped ([`passes`]), even if a trusted proxy sends them.
//! 3. So are fields whose names have more than letters, digits and hyphens: CGI, WSGI, PHP and their kin read
//!    `X_Forwarded_Host` as `X-Forwarded-Host`, and `Content_Length` as `Content-Length`.

use http::HeaderName;

/// Families of fields that claim something, each by its beginning.
const FAMILIES: [&str; 5] = [
    "x-forwarded",
    "x-original-",
    "x-rewrite-",
    // What Next.js tells itself.
    "x-middleware-",
    "x-invoke-",
];

/// The others, by what they claim.
const CLAIMS: [&str; 35] = [
    // Where the request came from.
    "cf-connecting-ip",
    "cf-connecting-ipv6",
    "client-ip",
    "fastly-client-ip",
    "forwarded",
    "true-client-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-originating-ip",
    "x-proxyuser-ip",
    "x-real-ip",
    "x-remote-addr",
    "x-remote-ip",
    // Its host.
    "x-host",
    "x-host-override",
    "x-http-host-override",
    // Its scheme.
    "front-end-https",
    "https",
    "x-arr-ssl",
    "x-scheme",
    "x-url-scheme",
    // Its path, or where the app is mounted.
    "request-uri",
    "script-name",
    "x-envoy-original-path",
    "x-http-path-override",
    "x-request-uri",
    "x-script-name",
    // Its method.
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    // How to get out: the environment variable HTTP_PROXY of a CGI program.
    "proxy",
    // What stands in front of the app and can be made use of: Rack::Sendfile, Edge Side Includes.
    "surrogate-capability",
    "x-accel-mapping",
    "x-sendfile-root",
    "x-sendfile-type",
];

/// Fields that this proxy writes, or that are about one hop: what a client sends of them never travels on.
const OURS: [&str; 14] = [
    "cdn-loop",
    "connection",
    "content-length",
    "expect",
    "forwarded",
    "host",
    "staleproof-token",
    "te",
    "transfer-encoding",
    "upgrade",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
];

/// Whether a field that a client, or a trusted proxy, sent may reach an origin.
///
/// `forward_fields` is the operator's way out. A proxy that is trusted passes on what it does not know, too, so not even
/// its claims pass unless the operator says that it sets or removes them itself; those of strangers never do.
pub(crate) fn passes(name: &HeaderName, trusted: bool, forward_fields: &[HeaderName]) -> bool {
    let text = name.as_str();
    if is_plain(text) && !is_claim(text) {
        return true;
    }
    forward_fields.contains(name) && (trusted || !is_claim(&folded(text)))
}

/// Whether this proxy tells by the field who sent a request: the one thing it writes that is in no key by itself.
pub(crate) fn tells_of_the_way(name: &HeaderName) -> bool {
    ["forwarded", "x-forwarded-for", "via"].contains(&name.as_str())
}

/// Whether nobody may let a field of this name pass.
pub(crate) fn is_ours(name: &HeaderName) -> bool {
    OURS.contains(&&*folded(name.as_str()))
}

fn is_claim(name: &str) -> bool {
    CLAIMS.contains(&name) || FAMILIES.iter().any(|family| name.starts_with(family))
}

/// Whether nobody can read the name in two ways.
fn is_plain(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// The plain name that the name may be read as.
fn folded(name: &str) -> String {
    name.replace(|character: char| !character.is_ascii_alphanumeric(), "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether these pass from trusted proxies, and whether from strangers.
    fn check(forward_fields: &[&'static str], names: &[&'static str], trusted: bool, stranger: bool) {
        let forward_fields: Vec<_> = forward_fields.iter().copied().map(HeaderName::from_static).collect();
        for &name in names {
            let field = HeaderName::from_static(name);
            let passes = |trusted| passes(&field, trusted, &forward_fields);
            assert_eq!((passes(true), passes(false)), (trusted, stranger), "{name}");
        }
    }

    const CLAIMED: &[&str] = &[
        "forwarded",
        "x-forwarded",
        "x-forwarded-host",
        "x-forwarded-prefix",
        "x-forwarded-uri",
        "x-original-url",
        "x-original-method",
        "x-rewrite-uri",
        "x-http-method-override",
        "x-real-ip",
        "script-name",
        "x-middleware-subrequest",
    ];

    #[test]
    fn nobody_claims_anything() {
        check(&[], CLAIMED, false, false);
        let others = ["accept", "cookie", "x-requested-with", "x-request-id", "original", "proxy-x"];
        check(&[], &others, true, true);
    }

    #[test]
    fn a_name_that_can_be_read_in_two_ways_does_not_pass() {
        let names =
            ["x_forwarded_host", "content_length", "transfer_encoding", "x.forwarded.host", "a_b", "$x"];
        check(&[], &names, false, false);
    }

    #[test]
    fn the_operator_lets_trusted_proxies_claim_and_clients_use_odd_names() {
        check(CLAIMED, CLAIMED, true, false);
        check(&["a_b"], &["a_b"], true, true);
        check(&["x_real_ip"], &["x_real_ip"], true, false);
        check(&["x_real_ip", "x.y"], &["x-real-ip", "x_y"], false, false);
    }

    #[test]
    fn what_is_written_here_is_ours_however_it_is_spelt() {
        for name in ["host", "x-forwarded-host", "x_forwarded_proto", "content_length", "via"] {
            assert!(is_ours(&HeaderName::from_static(name)), "{name}");
        }
        assert!(!is_ours(&HeaderName::from_static("x-forwarded-prefix")));
    }
}
