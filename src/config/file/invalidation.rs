//! `webhooks:`, `invalidation:` and `dispatchers:`.

use crate::config::read::{
    Any, Either, Entries, List, OneOrMany, Optional, Required, Text, Word, choice, section,
};
use crate::config::scalars::{Size, True};
use crate::routes::Template;
use crate::selector::Selector;
use std::time::Duration;

section! {
    /// Who may say that something changed, and how they prove it.
    struct Webhook {
        /// Its path on the admin listener, such as /hooks/app.
        path: Required<Text>,
        /// The scheme of its signatures: `standard-webhooks`.
        preset: Required<WebhookPreset>,
        /// The secret shared with the sender, one, or a list while it is replaced: `whsec_` and the key in base64; any
        /// other text is the key itself.
        secret: Required<OneOrMany<Text>>,
        /// How far the signed time may be from now, both ways. Default: 5m.
        tolerance: Optional<Word<Duration>>,
        /// The largest body. Default: 1MiB.
        max_body: Optional<Word<Size>>,
        /// How long deliveries are remembered, so that none is taken twice. Default: 24h.
        remember_deliveries: Optional<Word<Duration>>,
        /// Where the parts of an event are in its body.
        event: Optional<EventSection>,
    }
}

choice! {
    /// A scheme of signatures.
    enum WebhookPreset {
        /// HMAC-SHA256 over id, time and body, as <https://www.standardwebhooks.com> has it.
        StandardWebhooks = "standard-webhooks",
    }
}

section! {
    /// Where the parts of an event are in its body: JSONPaths (RFC 9535).
    struct EventSection {
        /// The event's name. Default: `$.type`.
        name: Optional<Word<Selector>>,
        /// The record before the change. Default: `$.data.before`.
        before: Optional<Word<Selector>>,
        /// The record after it. Default: `$.data.after`.
        after: Optional<Word<Selector>>,
        /// The names of the fields that changed, where the sender says so. Default: `$.data.changed`.
        changed: Optional<Word<Selector>>,
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
        /// `matches`, `gt`, `gte`, `lt`, `lte`.
        when: Optional<Entries<Any>>,
        /// The rule runs only if one of these parts of the record changed: JSONPaths in the record, such as `$.name`,
        /// one or a list. Default: always.
        watch: Optional<OneOrMany<Word<Selector>>>,
        /// What `watch` does if the sender does not say what changed. Default: fire.
        watch_unknown: Optional<Unknown>,
        /// Which fields must have a value for the rule to run: `all`, `none`, or a list. Default: all.
        require: Optional<Either<RequireWord, List<Text>>>,
        /// What happens: one action or a list.
        r#do: Required<OneOrMany<Action>>,
        /// Where it runs: a name from `dispatchers`. Default: inline.
        dispatcher: Optional<Text>,
    }
}

section! {
    /// Events.
    struct RuleEvents {
        /// The webhook they come from.
        webhook: Required<Text>,
        /// Their names, one or a list; a `*` at the end stands for any ending. Default: every event.
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
        /// new is there.
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
        /// Everything of a host.
        host: Optional<Word<Template>>,
        /// Everything of a route; with `partition` a part of it.
        route: Optional<Text>,
        /// Everything under a key; with `partition` a part of it.
        key: Optional<Text>,
        /// With `route` or `key`: values for one partition field, or for all of them.
        partition: Optional<Entries<Word<Template>>>,
        /// Everything of the keys of a namespace.
        namespace: Optional<Text>,
        /// `true`: everything.
        everything: Optional<Word<True>>,
    }
}

section! {
    /// A dispatcher; `inline` has no settings.
    struct Dispatcher {
    }
}
