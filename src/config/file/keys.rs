//! `keys:`.

use crate::config::read::{Either, Entries, OneOrMany, Optional, Required, Text, Word, choice, section};
use crate::config::scalars::{Count, Number, True};
use http::HeaderName;
use regex::Regex;

section! {
    /// How a cache key is built. Requests that give the same key share a stored response.
    struct KeyConstructor {
        /// Another key to begin with: its fields and settings, which may be replaced here.
        extends: Optional<Text>,
        /// Keeps families of keys apart, and can be purged as a whole. Default: none.
        namespace: Optional<Text>,
        /// A bump makes older entries unreachable. Default: 1.
        version: Optional<Word<Number>>,
        /// Routes whose keys have the same id share stored responses. Default: every route by itself.
        id: Optional<Text>,
        /// What is part of the key, by name. Without `extends` at least one.
        fields: Optional<Entries<KeyField>>,
        /// What is left out of the key although it is safe to have it in. Host and scheme are part of every key
        /// unless they are named here: only for applications that answer the same on all of their hosts.
        shared_across: Optional<OneOrMany<KeyPart>>,
        /// The longest suffix (all but the partition), in bytes. Default: 250.
        max_suffix_length: Optional<Word<Count>>,
        /// What happens to longer ones. Default: hash.
        on_overflow: Optional<KeyOverflow>,
    }
}

choice! {
    /// A part that every key has.
    enum KeyPart {
        /// The host, with port.
        Host = "host",
        /// http or https.
        Scheme = "scheme",
    }
}

choice! {
    /// What happens to a suffix that is too long.
    enum KeyOverflow {
        /// It is replaced by its digest.
        Hash = "hash",
        /// The request is not cached.
        Reject = "reject",
    }
}

section! {
    /// A field of a key: exactly one source, and what becomes of its value.
    struct KeyField {
        /// Captures of the route's path: a name, a list, or `"*"` for all.
        path: Optional<OneOrMany<Text>>,
        /// `true`: the whole path, normalised.
        whole_path: Optional<Word<True>>,
        /// Query parameters: a name, a list, `"*"` for all, or a mapping. What no key field takes of the query the app does not see,
        /// unless the answer cannot be stored: it would be stored for all who send it otherwise.
        query: Optional<Either<OneOrMany<Text>, QuerySection>>,
        /// A request field, such as accept-language.
        header: Optional<Word<HeaderName>>,
        /// A cookie.
        cookie: Optional<Text>,
        /// `true`: the host, with port.
        host: Optional<Word<True>>,
        /// `true`: http or https.
        scheme: Optional<Word<True>>,
        /// `true`: the method.
        method: Optional<Word<True>>,
        /// The same text for every request, such as `${GIT_SHA:-dev}`.
        constant: Optional<Text>,
        /// The client's network.
        client: Optional<ClientPrefix>,
        /// A claim of a JSON Web Token.
        jwt: Optional<Jwt>,
        /// The digest of a file, taken when the configuration is loaded.
        fingerprint: Optional<Fingerprint>,
        /// Stored responses that agree in all partition fields can be purged together. Default: false.
        partition: Optional<Word<bool>>,
        /// Whether the key has a digest in place of the value. Default: false.
        hash: Optional<Word<bool>>,
        /// Whether several values are sorted. Default: false.
        sort: Optional<Word<bool>>,
        /// Steps that make equivalent values equal, in order: one or a list. A step that fails keeps the value.
        normalize: Optional<OneOrMany<Either<NormalizeWord, NormalizeMapping>>>,
    }
}

section! {
    /// Which query parameters are part of the key.
    struct QuerySection {
        /// These; `"*"` for all. Default: all.
        only: Optional<OneOrMany<Text>>,
        /// Not these; a `*` at the end stands for any ending.
        exclude: Optional<OneOrMany<Text>>,
        /// Well-known parameters to leave out.
        preset: Optional<QueryPreset>,
        /// Default: sorted.
        order: Optional<QueryOrder>,
    }
}

choice! {
    /// Well-known query parameters.
    enum QueryPreset {
        /// Leaves out utm_*, gclid, fbclid and their kin.
        Tracking = "tracking",
    }
}

choice! {
    /// Whether the order of query parameters makes a difference.
    enum QueryOrder {
        /// Sorted by name; values of one name keep their order.
        Sorted = "sorted",
        /// As the client sent them.
        AsSent = "as_sent",
    }
}

section! {
    /// How many bits of the client's address count.
    struct ClientPrefix {
        /// Of an IPv4 address, at most 32. Default: 24.
        v4: Optional<Word<Number>>,
        /// Of an IPv6 address, at most 128. Default: 48.
        v6: Optional<Word<Number>>,
    }
}

section! {
    /// A claim of a JSON Web Token: where the token is, and why it can be believed. Without a token the field is
    /// empty; a token that cannot be verified makes the request uncacheable.
    struct Jwt {
        /// The request field that carries it; `Bearer ` is skipped. Default: authorization, without `cookie`.
        header: Optional<Word<HeaderName>>,
        /// The cookie that carries it.
        cookie: Optional<Text>,
        /// The claim: its name, or a dotted path.
        claim: Required<Text>,
        /// `true`: something in front of Staleproof has verified the token, and lets no other through.
        verified_in_front: Optional<Word<True>>,
        /// Verify it with this shared secret (HS256, HS384, HS512).
        secret: Optional<Text>,
        /// Verify it with the public key in this PEM file; relative paths start where the configuration is.
        public_key_file: Optional<Text>,
        /// The algorithms that are accepted. Default with `secret`: HS256.
        algorithms: Optional<OneOrMany<Algorithm>>,
    }
}

choice! {
    /// A signature algorithm (RFC 7518 §3.1).
    enum Algorithm {
        /// HMAC with SHA-256.
        Hs256 = "HS256",
        /// HMAC with SHA-384.
        Hs384 = "HS384",
        /// HMAC with SHA-512.
        Hs512 = "HS512",
        /// RSASSA-PKCS1-v1_5 with SHA-256.
        Rs256 = "RS256",
        /// RSASSA-PKCS1-v1_5 with SHA-384.
        Rs384 = "RS384",
        /// RSASSA-PKCS1-v1_5 with SHA-512.
        Rs512 = "RS512",
        /// RSASSA-PSS with SHA-256.
        Ps256 = "PS256",
        /// RSASSA-PSS with SHA-384.
        Ps384 = "PS384",
        /// RSASSA-PSS with SHA-512.
        Ps512 = "PS512",
        /// ECDSA with P-256 and SHA-256.
        Es256 = "ES256",
        /// ECDSA with P-384 and SHA-384.
        Es384 = "ES384",
        /// Ed25519.
        EdDsa = "EdDSA",
    }
}

section! {
    /// The digest of a file.
    struct Fingerprint {
        /// The file; relative paths start where the configuration is.
        file: Required<Text>,
    }
}

choice! {
    /// A step that needs no settings.
    enum NormalizeWord {
        /// To lower case.
        Lower = "lower",
        /// Without white space around it.
        Trim = "trim",
        /// An integer in its canonical form: `007` becomes `7`.
        Int = "int",
        /// `true` for true, yes, on, 1; `false` for false, no, off, 0.
        Bool = "bool",
    }
}

section! {
    /// A step with settings: exactly one of these.
    struct NormalizeMapping {
        /// The best of these languages by the request's preferences; the first if none fits.
        language: Optional<OneOrMany<Text>>,
        /// The first of these content codings that the request accepts; `identity` if none.
        encoding: Optional<OneOrMany<Text>>,
        /// The first group of this regular expression, or all that it matches.
        capture: Optional<Word<Regex>>,
        /// From value to value.
        map: Optional<NormalizeMap>,
    }
}

section! {
    /// A table of values.
    struct NormalizeMap {
        /// From value to value.
        entries: Required<Entries<Text>>,
        /// What stands for all others. Default: they are kept.
        otherwise: Optional<Text>,
    }
}
