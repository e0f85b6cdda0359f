//! Claims: the fields in which a client may say something of its own request that apps take for the truth. PURE.
//!
//! A key is built from the host, target, method and scheme of the request itself. Many apps, frameworks and gateways
//! believe certain fields instead; with these a client could have the answer to another request stored under the key
//! of this one, or pass for somebody else. So, for everything that goes to an origin:
//!
//! 1. What this proxy knows it writes itself (`Host`, `Forwarded`, `X-Forwarded-*`), over whatever came.
//! 2. Other fields that claim such a thing are dropped.
//! 3. So are fields whose names have more than letters, digits and hyphens: CGI, WSGI, PHP and their kin read
//!    `X_Forwarded_Host` as `X-Forwarded-Host`, and `Content_Length` as `Content-Length`.

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

/// Whether the field (in lower case) is one that claims something.
fn is_claim(name: &str) -> bool {
    CLAIMS.contains(&name) || FAMILIES.iter().any(|family| name.starts_with(family))
}

/// Whether nobody can read the name in two ways.
fn is_plain(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// Whether the field (in lower case) that a client sent may reach an origin.
pub(super) fn passes(name: &str, trusted: bool) -> bool {
    is_plain(name) && (trusted || !is_claim(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stranger_claims_nothing() {
        for claim in [
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
        ] {
            assert!(!passes(claim, false), "{claim}");
        }
        for other in ["accept", "cookie", "x-requested-with", "x-request-id", "original", "proxy-x"] {
            assert!(passes(other, false), "{other}");
        }
    }

    #[test]
    fn a_name_that_can_be_read_in_two_ways_never_passes() {
        for name in
            ["x_forwarded_host", "content_length", "transfer_encoding", "x.forwarded.host", "a_b", "$x"]
        {
            assert!(!passes(name, false) && !passes(name, true), "{name}");
        }
    }
}
