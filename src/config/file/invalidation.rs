//! `webhooks:`, `invalidation:` and `dispatchers:`.

use super::keys::Algorithm as JwtAlgorithm;
use crate::config::read::{
    Any, Either, Entries, List, OneOrMany, Optional, Required, Text, Word, choice, section,
};
use crate::config::scalars::{Count, Size, True};
use crate::routes::Template;
use crate::selector::Selector;
use crate::webhooks::{Signed, Source, TimeSource};
use ipnet::IpNet;
use std::time::Duration;

section! {
    /// Who may say that something changed, and how they prove it.
    struct Webhook {
        /// Its path on the admin listener, such as /hooks/app.
        path: Required<Text>,
        /// The sender: `standard-webhooks`, `github`, `stripe`, `contentful`, … What it does is then known; each of the keys below
        /// can say otherwise.
        preset: Optional<Text>,
        /// The secret shared with the sender, one, or a list while it is replaced; as the sender shows it.
        secret: Optional<OneOrMany<Text>>,
        /// How a delivery proves where it comes from.
        verify: Optional<VerifySection>,
        /// How far the signed time may be from now, both ways. Default: 5m, or as long as its sender tries again with the same.
        tolerance: Optional<Word<Duration>>,
        /// Addresses or networks that deliveries may come from. Default: any.
        allow_from: Optional<OneOrMany<Word<IpNet>>>,
        /// By what a delivery is known again: `header.NAME`, `query.NAME` or a JSONPath, the first that is there of a list. Default:
        /// its body and when that was signed; without either, each is taken as a new one.
        delivery: Optional<OneOrMany<Word<Source>>>,
        /// Whose ids those are, where several senders count by themselves. Default: there is one.
        delivery_source: Optional<OneOrMany<Word<Source>>>,
        /// The largest body. Default: 1MiB.
        max_body: Optional<Word<Size>>,
        /// How long deliveries are remembered, so that none is taken twice. Default: 24h.
        remember_deliveries: Optional<Word<Duration>>,
        /// How much of what the last deliveries said is kept in memory, to be looked at and done again. Default: 0B.
        keep_bodies: Optional<Word<Size>>,
        /// What is said back to a handshake, such as `$.challenge`: a JSONPath. A body that has it is no event. Default: there are no
        /// handshakes.
        challenge: Optional<Word<Selector>>,
        /// Where the parts of an event are in its body.
        event: Optional<EventSection>,
    }
}

section! {
    /// What is known of a sender.
    struct PresetSection {
        /// How it proves where a delivery comes from.
        verify: Optional<VerifySection>,
        /// How far the signed time may be from now, where it tries again with the same.
        tolerance: Optional<Word<Duration>>,
        /// By what its deliveries are known again.
        delivery: Optional<OneOrMany<Word<Source>>>,
        /// Whose ids those are.
        delivery_source: Optional<OneOrMany<Word<Source>>>,
        /// Where the parts of its events are.
        event: Optional<EventSection>,
    }
}

section! {
    /// How a delivery proves where it comes from.
    struct VerifySection {
        /// What the proof is. Default: hmac.
        scheme: Optional<SchemeWord>,
        /// The function of an `hmac` or `rsa`. Default: sha256.
        algorithm: Optional<AlgorithmWord>,
        /// Whether `sha1` will do, where the sender has nothing better; of `rsa`, too. Default: false.
        allow_weak: Optional<Word<bool>>,
        /// Where the proof is: `header.NAME`, `query.NAME` or a JSONPath.
        from: Optional<Word<Source>>,
        /// What stands between several proofs, or members `name=value`, in one place.
        separator: Optional<Text>,
        /// What the proof begins with: `sha256=`, `v1=`.
        prefix: Optional<Text>,
        /// How its octets are written. Default: hex.
        encoding: Optional<EncodingWord>,
        /// What it covers: text with `{body}`, `{method}`, `{target}`, `{path}`, `{query}`, `{header.NAME}`, `{sig.NAME}` (a member beside
        /// the proof), each also `|json`, `|lower` or `|urlencode`; or `contentful`, `aws-sns`. Default: `{body}`.
        signed: Optional<Word<Signed>>,
        /// What the text of a secret stands for. Default: utf8.
        key: Optional<KeyFormatWord>,
        /// When it was signed. Default: nobody says.
        timestamp: Optional<TimestampSection>,
        /// What the body must say, beside the proof: by JSONPath, one value or a list of which one will do. For senders that sign for
        /// many, such as `aws-sns`: `{ "$.TopicArn": "arn:aws:sns:…" }`.
        must: Optional<Entries<OneOrMany<Text>>>,
        /// What a `jwt` may be signed by: one or a list. Default: HS256 by a shared secret; RS256, ES256 or EdDSA by a public key.
        algorithms: Optional<OneOrMany<JwtAlgorithm>>,
        /// Whom a `jwt` must be for: one or a list, of which one will do. A token for somebody is refused if it is not for one of
        /// these.
        audience: Optional<OneOrMany<Text>>,
        /// Who must have made a `jwt`.
        issuer: Optional<OneOrMany<Text>>,
    }
}

choice! {
    /// What a proof is.
    enum SchemeWord {
        /// A digest with a shared key.
        Hmac = "hmac",
        /// A signature; the secret is the sender's public key.
        Ed25519 = "ed25519",
        /// A signature by RSA; the secret is the sender's public key, or a certificate for it, in PEM.
        Rsa = "rsa",
        /// A JSON Web Token, which proves who sent it and nothing of what; the secret is shared, or a public key in PEM.
        Jwt = "jwt",
        /// The secret itself.
        Token = "token",
        /// `user:password`, which the secret is, in `Authorization`.
        Basic = "basic",
        /// Nothing: `allow_from` says who may.
        None = "none",
    }
}

choice! {
    /// The function of a keyed digest.
    enum AlgorithmWord {
        /// SHA-256.
        Sha256 = "sha256",
        /// SHA-1, with `allow_weak`.
        Sha1 = "sha1",
    }
}

choice! {
    /// How octets are written.
    enum EncodingWord {
        /// Hexadecimal.
        Hex = "hex",
        /// Base64.
        Base64 = "base64",
        /// Base64 for URLs.
        Base64Url = "base64url",
    }
}

choice! {
    /// What the text of a secret stands for.
    enum KeyFormatWord {
        /// Its own octets.
        Utf8 = "utf8",
        /// Base64.
        Base64 = "base64",
        /// Hexadecimal.
        Hex = "hex",
        /// `whsec_` and base64; any other text is itself.
        Whsec = "whsec",
    }
}

section! {
    /// When a delivery was signed.
    struct TimestampSection {
        /// Where that is: `sig.NAME` (a member beside the proof), `header.NAME`, `query.NAME` or a JSONPath.
        from: Required<Word<TimeSource>>,
        /// Its unit, since the Unix epoch; or `iso8601`. Default: s.
        unit: Optional<TimeUnit>,
    }
}

choice! {
    /// The unit of a time.
    enum TimeUnit {
        /// Seconds.
        Seconds = "s",
        /// Milliseconds.
        Millis = "ms",
        /// A date and a time in UTC.
        Iso8601 = "iso8601",
    }
}

section! {
    /// Where the parts of an event are. Of a list, the first that is there.
    struct EventSection {
        /// Where the body has a text that is JSON itself, and the event is in that: a JSONPath.
        inside: Optional<Word<Selector>>,
        /// Its events, where a body has several: a JSONPath. The other paths, and those of rules, are of each. Default: the items of a
        /// list.
        each: Optional<Word<Selector>>,
        /// The event's name: `header.NAME`, `query.NAME` or a JSONPath; of a list, all that are there with points between.
        name: Optional<OneOrMany<Word<Source>>>,
        /// `false`: of a list of names the first that is there. Default: true.
        join_names: Optional<Word<bool>>,
        /// The record before the change: a JSONPath.
        before: Optional<OneOrMany<Word<Selector>>>,
        /// The record after it.
        after: Optional<OneOrMany<Word<Selector>>>,
        /// What changed, where the sender says so: a list of names, or an object that has them.
        changed: Optional<OneOrMany<Word<Selector>>>,
        /// What was done to the record. Default: as the records or the last word of the event's name have it.
        kind: Optional<KindSection>,
    }
}

section! {
    /// By what word the sender says what was done to a record.
    struct KindSection {
        /// Where the word is; of a list, the first that is there.
        from: Required<OneOrMany<Word<Source>>>,
        /// It was created: one word or a list.
        create: Optional<OneOrMany<Text>>,
        /// It was changed.
        update: Optional<OneOrMany<Text>>,
        /// It was deleted.
        delete: Optional<OneOrMany<Text>>,
    }
}

section! {
    /// A rule: which events make which stored responses unusable.
    struct Rule {
        /// Its name in answers and logs.
        name: Required<Text>,
        /// The events it is about.
        on: Required<RuleEvents>,
        /// Field mapping: values for the holes in `do`, by name, from the event's body. Each takes every value that any of its JSONPaths
        /// finds, so `[$.data.before.slug, $.data.after.slug]` covers a renaming.
        fields: Optional<Entries<OneOrMany<Word<Selector>>>>,
        /// Conditions on the body by JSONPath, all of which must hold; `!` before the path negates. What is expected:
        /// a value, a list (any of them), or a mapping with operators, all of which must hold: `in`, `not`, `exists`,
        /// `matches`, `gt`, `gte`, `lt`, `lte`. And `cel`: an expression of the Common Expression Language on `body`, `event` (its
        /// name), `kind`, `before`, `after` and `changed`; one that cannot be evaluated is taken to hold.
        when: Optional<Entries<Any>>,
        /// The rule runs only if one of these parts of the record changed: JSONPaths in the record, such as `$.name`,
        /// one or a list. Default: always.
        watch: Optional<OneOrMany<Word<Selector>>>,
        /// What `watch` does if the sender does not say what changed. Default: fire.
        watch_unknown: Optional<Unknown>,
        /// Whether it runs when something is created. Events that `on` names without a star are heard anyway. Default: false.
        on_create: Optional<Word<bool>>,
        /// What its purges do. Default: hard.
        mode: Optional<ModeWord>,
        /// How many requests a `refresh` makes again, the most popular first; the rest is purged. Default, and most:
        /// admin.warm.max_urls.
        refresh_limit: Optional<Word<Count>>,
        /// Which fields must have a value for the rule to run: `all`, `none`, or a list. Default: all.
        require: Optional<Either<RequireWord, List<Text>>>,
        /// What happens: one action or a list.
        r#do: Required<OneOrMany<Action>>,
        /// Where it runs: a name from `dispatchers`. Default: inline.
        dispatcher: Optional<Text>,
        /// For how long what the rule names is collected, from the first event on, to be done in one go. Default: 0s.
        debounce: Optional<Word<Duration>>,
        /// What the sender is told if something could not be purged. Default: log.
        on_error: Optional<OnErrorWord>,
    }
}

section! {
    /// Events.
    struct RuleEvents {
        /// The webhook they come from.
        webhook: Required<Text>,
        /// Their names, one or a list; a `*` stands for anything. Default: every event.
        event: Optional<OneOrMany<Text>>,
    }
}

choice! {
    /// What `watch` does if the sender does not say what changed.
    enum Unknown {
        /// The rule runs: better one fetch too many than a page too old.
        Fire = "fire",
        /// The rule does not run.
        Skip = "skip",
    }
}

choice! {
    /// What a purge does.
    enum ModeWord {
        /// What it names is never served again.
        Hard = "hard",
        /// It is stale: served only as stale responses may be.
        Soft = "soft",
    }
}

choice! {
    /// Which fields must have a value.
    enum RequireWord {
        /// All.
        All = "all",
        /// None.
        None = "none",
    }
}

section! {
    /// What a rule does: one of these.
    struct Action {
        /// Makes stored responses unusable.
        purge: Optional<PurgeTarget>,
        /// Fetches what is stored again, by the requests that led to it. Unless it is purged as well, it is served until the
        /// new is there. What cannot be fetched again is purged.
        refresh: Optional<PurgeTarget>,
    }
}

section! {
    /// What is purged: exactly one of these. Values may have holes, `{field}`, filled from the rule's fields.
    struct PurgeTarget {
        /// Everything stored for a URL, such as `https://shop.example/users/{user_id}`.
        url: Optional<Word<Template>>,
        /// Everything with this tag.
        tag: Optional<Word<Template>>,
        /// What has one of these tags.
        any_tag: Optional<List<Word<Template>>>,
        /// What has all of these tags.
        all_tags: Optional<List<Word<Template>>>,
        /// Everything stored for a URL that begins so: absolute, or of any host if it begins with a slash.
        prefix: Optional<Word<Template>>,
        /// Everything stored for a URL like this, in which `*` stands for anything.
        glob: Optional<Word<Template>>,
        /// Everything of a host.
        host: Optional<Word<Template>>,
        /// Everything of a route; with `partition` a part of it.
        route: Optional<Text>,
        /// Everything under a key; with `partition` a part of it.
        key: Optional<Text>,
        /// With `route` or `key`: values for one partition field, or for several: what agrees in each.
        partition: Optional<Entries<Word<Template>>>,
        /// Everything of the keys of a namespace.
        namespace: Optional<Text>,
        /// `true`: everything.
        everything: Optional<Word<True>>,
        /// Beside one of the others, or alone: what the responses are like, as the purge API has it: `status`, `content_type`, `fields`,
        /// `larger_than`, `older_than`.
        r#where: Optional<Any>,
    }
}

section! {
    /// Where the work of rules runs. `inline` is always there, and has no settings.
    struct Dispatcher {
        /// Needed of all but the dispatcher called `inline`.
        kind: Optional<KindWord>,
        /// How many pieces of work wait at most; what is more is refused, and its sender tries again. Default: 1000, of a durable one
        /// 100000.
        queue: Optional<Word<Count>>,
        /// How many bytes of them. Default: 64MiB, of a durable one 1GiB.
        queue_size: Optional<Word<Size>>,
        /// How many batches are done at once. Default: 1.
        workers: Optional<Word<Count>>,
        /// What is done in one go.
        batch: Optional<BatchSection>,
        /// The file of a durable one; relative paths start where the configuration is.
        path: Optional<Text>,
        /// Whether nothing starts if the file cannot be read. `false`: the proxy serves, and events that would go there are refused.
        /// Default: true.
        required: Optional<Word<bool>>,
        /// How often it is tried; then it is a dead letter. Default: 10.
        max_attempts: Optional<Word<Count>>,
        /// How long until the second attempt, then twice that, and so on. Default: 1s.
        backoff: Optional<Word<Duration>>,
        /// But no longer than this. Default: 5m.
        max_backoff: Optional<Word<Duration>>,
        /// How many that could not be done are kept. Default: 1000.
        dead_letters: Optional<Word<Count>>,
    }
}

section! {
    /// What is done in one go: equal purges are done once.
    struct BatchSection {
        /// Pieces of work, at most. Default: 100.
        max: Optional<Word<Count>>,
        /// How long more is waited for, once there is something. Default: 0s.
        linger: Optional<Word<Duration>>,
    }
}

choice! {
    /// A kind of dispatcher.
    enum KindWord {
        /// Before the webhook is answered.
        Inline = "inline",
        /// After it, from a queue in memory.
        Background = "background",
        /// After it, from a queue on disk that survives the process.
        Durable = "durable",
    }
}

choice! {
    /// What the sender is told if something could not be purged.
    enum OnErrorWord {
        /// That it was accepted; the log tells what went wrong.
        Log = "log",
        /// To try again (503).
        Fail = "fail",
    }
}
