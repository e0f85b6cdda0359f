//! Bearer tokens: who asks, and what they may.

use axum::http::{HeaderMap, header};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::problem::Problem;
use crate::config::{Scope, Token};

/// The token that has this secret. Takes the same time whichever it is, and whether there is one. The empty secret
/// is nobody's, not even a token's that was configured so.
pub fn token_named_by<'t>(tokens: &'t [Token], secret: &str) -> Option<&'t Token> {
    // Digests have one length, so that not even the length of a secret shows.
    let digest = |text: &str| Sha256::digest(text.as_bytes());
    let given = digest(secret);
    tokens.iter().filter(|token| !token.secret.reveal().is_empty()).fold(None, |found, token| {
        let same: bool = digest(token.secret.reveal()).as_slice().ct_eq(given.as_slice()).into();
        if same { Some(token) } else { found }
    })
}

/// The token of a request, if it may do what it asks for.
///
/// # Errors
/// 401 without a valid token, 403 without the scope.
pub(super) fn authorize<'t>(
    tokens: &'t [Token],
    headers: &HeaderMap,
    scope: Scope,
) -> Result<&'t Token, Problem> {
    let secret = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(|value| {
        let (scheme, secret) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| secret.trim())
    });
    let token = secret.and_then(|secret| token_named_by(tokens, secret)).ok_or_else(Problem::unauthorized)?;
    if token.may.contains(&scope) { Ok(token) } else { Err(Problem::forbidden(scope)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

    fn tokens() -> Vec<Token> {
        let token = |name: &str, secret: &str, may: &[Scope]| Token {
            name: name.into(),
            secret: Secret::new(secret),
            may: may.to_vec(),
        };
        vec![
            token("nobody", "", &[Scope::Purge]),
            token("reader", "r", &[Scope::Read]),
            token("deploy", "d", &[Scope::Purge, Scope::Read]),
        ]
    }

    #[test]
    fn a_token_is_found_by_its_whole_secret() {
        let name = |secret| token_named_by(&tokens(), secret).map(|token| token.name.to_string());
        assert_eq!(name("d"), Some("deploy".into()));
        assert_eq!(name("D"), None);
        assert_eq!(name(""), None);
    }

    #[test]
    fn a_token_may_do_what_its_scopes_say() {
        let status = |value: &'static str, scope| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, value.parse().unwrap());
            authorize(&tokens(), &headers, scope)
                .map(|token| token.name.to_string())
                .map_err(|problem| problem.status())
        };
        assert_eq!(status("Bearer d", Scope::Purge), Ok("deploy".into()));
        assert_eq!(status("bearer r", Scope::Read), Ok("reader".into()));
        assert_eq!(status("Bearer r", Scope::Purge), Err(403));
        assert_eq!(status("Bearer x", Scope::Purge), Err(401));
        assert_eq!(status("Basic d", Scope::Purge), Err(401));
    }
}
