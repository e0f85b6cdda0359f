//! `webhooks:` and `invalidation:`.

use super::super::Secret;
use super::super::diagnostics::{Problems, Span, quote};
use super::super::file::{self, ModeWord, OnErrorWord, PurgeTarget, RequireWord, Unknown};
use super::super::read::{Any, Either, Entries, Given, List, Optional, OptionalExt, Text, Word};
use super::dispatchers::INLINE;
use super::keys::Keys;
use super::presets;
use super::routes::{KeyOfRoute, Routes};
use super::{
    MIB, Names, Place, check_name, duration, entries, exactly_one, flag, items, length, size, tell_repeated,
    tell_unknown, tell_unknown_holes,
};
use crate::dispatch::DeferredSettings;
use crate::invalidation::Strength;
use crate::invalidation::rule::{
    Action, Condition, Dispatcher, Expression, OnError, Require, Rule, TargetTemplate, WatchUnknown,
};
use crate::invalidation::target::Where;
use crate::routes::Template;
use crate::selector::Selector;
use crate::webhooks::{Hook, Scheme, Verify};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// What the admin listener has there itself.
const TAKEN_PATHS: [&str; 4] = ["/v1", "/healthz", "/readyz", "/metrics"];

/// `webhooks:`.
pub(super) fn webhooks(file: &file::File, problems: &mut Problems) -> Vec<Hook> {
    // They are right: a test reads them.
    let presets = presets::all(&mut Problems::default());
    let mut paths: Vec<(&Text, Span)> = Vec::new();
    let mut hooks = Vec::new();
    for (entry, section) in entries(&file.webhooks) {
        check_name("webhook", &entry.name, entry.name_span, problems);
        if let Some(path) = section.path.value() {
            let span = section.path.span();
            check_hook_path(path, span, problems);
            match paths.iter().find(|(known, _)| ***known == **path) {
                Some((_, first)) => {
                    problems.add(span, "two webhooks have the same path").note(*first, "the other");
                }
                None => paths.push((path, span)),
            }
        }
        let known = presets.as_ref().and_then(|presets| presets::find(presets, &section.preset, problems));
        let verify = presets::verify(section, entry.name_span, known, problems);
        let delivery = presets::sources(&section.delivery, known.map(|preset| &preset.delivery));
        let delivery_source =
            presets::sources(&section.delivery_source, known.map(|preset| &preset.delivery_source));
        let event = presets::event(&section.event, known.and_then(|preset| preset.event.value()));
        let Some(verify) = verify else { continue };
        let secrets = secrets(section, &verify, entry.name_span, problems);
        let Some(path) = section.path.value() else { continue };
        hooks.push(Hook {
            name: entry.name.as_str().into(),
            path: path.to_string(),
            verify,
            secrets,
            delivery,
            delivery_source,
            max_body_bytes: length(&section.max_body, MIB),
            remember_deliveries: duration(&section.remember_deliveries, Duration::from_secs(24 * 60 * 60)),
            challenge: section.challenge.value().map(|challenge| challenge.0.clone()),
            keep_bytes: size(&section.keep_bodies, 0),
            event,
        });
    }
    hooks
}

fn check_hook_path(path: &Text, span: Span, problems: &mut Problems) {
    let shown = path.shown();
    if !path.starts_with('/') || path.len() < 2 {
        problems.add(span, format!("{shown} is not a path")).help("write it like /hooks/app");
    } else if let Some(taken) = TAKEN_PATHS
        .iter()
        .find(|taken| path.strip_prefix(**taken).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
    {
        problems.add(span, format!("`{taken}` belongs to the admin API")).help("write it like /hooks/app");
    } else if !path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte)) {
        problems
            .add(span, format!("{shown} has characters that a webhook's path cannot have"))
            .help("use letters, digits and - . _ ~");
    }
}

fn secrets(section: &file::Webhook, verify: &Verify, name: Span, problems: &mut Problems) -> Vec<Secret> {
    let needs_none = matches!(verify.scheme, Scheme::None);
    let Some(given) = section.secret.value() else {
        if section.secret.is_none() && !needs_none {
            problems.add(name, "a webhook needs a `secret`: anyone could send it");
        }
        return Vec::new();
    };
    if given.is_empty() && !needs_none {
        problems.add(section.secret.span().unwrap_or(name), "a webhook needs a secret: anyone could send it");
    }
    let mut secrets = Vec::new();
    for (secret, span) in items(given) {
        if let Err(error) = verify.check_secret(secret) {
            problems.add(span, error.to_string()).help("give it as the sender shows it");
        }
        secrets.push(Secret::new(&**secret));
    }
    secrets
}

/// `invalidation:`.
pub(super) fn rules(
    file: &file::File,
    keys: &Keys<'_>,
    routes: &Routes<'_>,
    dispatchers: &[DeferredSettings],
    problems: &mut Problems,
) -> Vec<Rule> {
    let webhooks = Names::of_optional("webhook", &file.webhooks);
    let list = file.invalidation.value().map(|list| &**list).unwrap_or_default();
    let names = items(list).filter_map(|(rule, _)| Some((rule.name.value()?, rule.name.span())));
    tell_repeated("rule", names, problems);
    items(list)
        .filter_map(|(section, _)| {
            RuleCompiler { section, webhooks: &webhooks, keys, routes, dispatchers }.compile(problems)
        })
        .collect()
}

struct RuleCompiler<'c, 'f> {
    section: &'c file::Rule,
    webhooks: &'c Names<'f>,
    keys: &'c Keys<'f>,
    routes: &'c Routes<'f>,
    dispatchers: &'c [DeferredSettings],
}

impl RuleCompiler<'_, '_> {
    fn compile(&self, problems: &mut Problems) -> Option<Rule> {
        let section = self.section;
        if let Some(name) = section.name.value() {
            check_name("rule", name, section.name.span(), problems);
        }
        let on = section.on.value();
        let webhook = on.and_then(|on| on.webhook.value());
        if let (Some(on), Some(webhook)) = (on, webhook) {
            self.webhooks.find(webhook, on.webhook.span(), problems);
        }
        let events = on.map(|on| events(on, problems)).unwrap_or_default();
        let fields = self.fields(problems);
        let (when, expression) = self.conditions(problems);
        let watch = section.watch.value().map(|list| &**list).unwrap_or_default();
        let require = self.require(problems);
        let actions = self.actions(problems);
        let dispatcher = self.dispatcher(problems);
        let debounce = self.debounce(dispatcher, problems);
        Some(Rule {
            name: (**section.name.value()?).into(),
            webhook: (**webhook?).into(),
            events,
            fields,
            when,
            expression,
            watch: items(watch).map(|(selector, _)| selector.0.clone()).collect(),
            watch_unknown: match section.watch_unknown.value_or(Unknown::Fire) {
                Unknown::Fire => WatchUnknown::Fire,
                Unknown::Skip => WatchUnknown::Skip,
            },
            on_create: flag(&section.on_create, false),
            strength: match section.mode.value_or(ModeWord::Hard) {
                ModeWord::Hard => Strength::Hard,
                ModeWord::Soft => Strength::Soft,
            },
            refresh_limit: section.refresh_limit.value().map(|limit| limit.0.0),
            require,
            actions,
            dispatcher,
            debounce,
            on_error: match section.on_error.value_or(OnErrorWord::Log) {
                OnErrorWord::Log => OnError::Log,
                OnErrorWord::Fail => OnError::Fail,
            },
        })
    }

    /// The names of the rule's fields, right or wrong; `None` if nobody knows.
    fn field_names(&self) -> Option<Vec<&str>> {
        match &self.section.fields {
            None => Some(Vec::new()),
            Some(given) => Some(given.value.as_ref()?.iter().map(|entry| &*entry.name).collect()),
        }
    }

    fn fields(&self, problems: &mut Problems) -> Vec<(Arc<str>, Vec<Selector>)> {
        let mut fields = Vec::new();
        for (entry, selectors) in entries(&self.section.fields) {
            if Template::parse(&format!("{{{}}}", entry.name)).is_err() {
                problems
                    .add(entry.name_span, format!("{} cannot be the name of a field", quote(&entry.name)))
                    .help("use letters, digits, _, - and ., such as user_id");
            }
            if selectors.is_empty() {
                problems.add(entry.name_span, "a field without a JSONPath never has a value");
            }
            let selectors = items(selectors).map(|(selector, _)| selector.0.clone()).collect();
            fields.push((entry.name.as_str().into(), selectors));
        }
        fields
    }

    fn conditions(&self, problems: &mut Problems) -> (Vec<Condition>, Option<Expression>) {
        let (mut conditions, mut expression) = (Vec::new(), None);
        for (entry, expected) in entries(&self.section.when) {
            // No path: those begin with a dollar.
            if entry.name == "cel" {
                let parsed = match expected.json.as_str() {
                    Some(text) => Expression::parse(text),
                    None => Err("an expression is a text, such as \"body.data.price > 10\"".to_owned()),
                };
                match parsed {
                    Ok(parsed) => expression = Some(parsed),
                    Err(_) if expected.filled => {
                        problems.add(entry.span, "with its variables filled in, this is not an expression");
                    }
                    Err(why) => {
                        problems.add(entry.span, why);
                    }
                }
                continue;
            }
            // The path by itself first, so that the right one of the two is pointed at.
            let path = entry.name.strip_prefix('!').unwrap_or(&entry.name).trim_start();
            if let Err(error) = Selector::parse(path) {
                problems.add(entry.name_span, error.message);
                continue;
            }
            match Condition::new(&entry.name, &expected.json) {
                Ok(condition) => conditions.push(condition),
                Err(_) if expected.filled => {
                    problems.add(entry.span, "with its variables filled in, this is not a condition");
                }
                Err(error) => {
                    // A regular expression's error shows it first, over several lines.
                    let reason = error.message.lines().last().unwrap_or_default().trim();
                    problems.add(entry.span, reason.strip_prefix("error: ").unwrap_or(reason));
                }
            }
        }
        (conditions, expression)
    }

    fn require(&self, problems: &mut Problems) -> Require {
        match self.section.require.value() {
            None | Some(Either::First(RequireWord::All)) => Require::All,
            Some(Either::First(RequireWord::None)) => Require::None,
            Some(Either::Second(names)) => {
                if let Some(known) = self.field_names() {
                    for (name, span) in items(names).filter(|(name, _)| !known.contains(&&***name)) {
                        tell_unknown("field", name, span, known.iter().copied(), problems);
                    }
                }
                Require::These(items(names).map(|(name, _)| (**name).into()).collect())
            }
        }
    }

    fn actions(&self, problems: &mut Problems) -> Vec<Action> {
        let Some(list) = self.section.r#do.value() else { return Vec::new() };
        if list.is_empty() {
            problems
                .add(self.section.r#do.span(), "a rule that does nothing")
                .help("give it a `purge` or a `refresh`");
        }
        items(list)
            .filter_map(|(action, span)| {
                let members = [("purge", action.purge.span()), ("refresh", action.refresh.span())];
                let (given, make): (_, fn(_) -> _) =
                    match exactly_one("what the rule does", span, &members, problems)? {
                        "purge" => (&action.purge, Action::Purge),
                        _ => (&action.refresh, Action::Refresh),
                    };
                self.target(given.value()?, given.span()?, problems).map(make)
            })
            .collect()
    }

    fn dispatcher(&self, problems: &mut Problems) -> Dispatcher {
        let Some(Given { span, value: Some(name), .. }) = &self.section.dispatcher else {
            return Dispatcher::Inline;
        };
        if let Some(index) = self.dispatchers.iter().position(|dispatcher| *dispatcher.name == **name) {
            return Dispatcher::Deferred(index);
        }
        if **name != *INLINE {
            let names = self.dispatchers.iter().map(|dispatcher| &*dispatcher.name);
            tell_unknown("dispatcher", name, *span, names.chain([INLINE]), problems);
        }
        Dispatcher::Inline
    }

    fn debounce(&self, dispatcher: Dispatcher, problems: &mut Problems) -> Duration {
        let debounce = duration(&self.section.debounce, Duration::ZERO);
        // A dispatcher that is not there has been told.
        let is_inline = dispatcher == Dispatcher::Inline
            && self.section.dispatcher.value().is_none_or(|name| **name == *INLINE);
        if let Some(span) = self.section.debounce.span().filter(|_| is_inline && !debounce.is_zero()) {
            problems
                .add(span, "what is done before the answer cannot be collected")
                .help("give the rule a `dispatcher` that works after it");
        }
        debounce
    }

    fn target(&self, target: &PurgeTarget, span: Span, problems: &mut Problems) -> Option<TargetTemplate> {
        let Some(Given { span: like_span, value, .. }) = &target.r#where else {
            return self.plain_target(target, span, problems);
        };
        let Any { json, filled } = value.as_ref()?;
        let like: Result<Where, _> = serde_json::from_value(json.clone());
        let like = like
            .map_err(|error| {
                let filled_in =
                    "with its variables filled in, this is not a condition on responses".to_owned();
                problems.add(*like_span, if *filled { filled_in } else { error.to_string() });
            })
            .ok()?;
        let inner = if target.members().iter().all(|(_, given)| given.is_none()) {
            TargetTemplate::Everything
        } else {
            self.plain_target(target, span, problems)?
        };
        Some(TargetTemplate::Where(Box::new(inner), like))
    }

    fn plain_target(
        &self,
        target: &PurgeTarget,
        span: Span,
        problems: &mut Problems,
    ) -> Option<TargetTemplate> {
        let members = target.members();
        let what = exactly_one("what is purged", span, &members, problems)?;
        if let Some(span) = target.partition.span()
            && !matches!(what, "route" | "key")
        {
            problems.add(span, "a partition is a part of a `route` or `key`").help("leave it out");
        }
        match what {
            "url" => Some(TargetTemplate::Url(self.url(&target.url, None, problems)?)),
            "prefix" => Some(TargetTemplate::Prefix(self.url(&target.prefix, Some('/'), problems)?)),
            "glob" => Some(TargetTemplate::Glob(self.url(&target.glob, Some('/'), problems)?)),
            "any_tag" => Some(TargetTemplate::AnyTag(self.tags(&target.any_tag, problems)?)),
            "all_tags" => Some(TargetTemplate::AllTags(self.tags(&target.all_tags, problems)?)),
            "tag" => Some(TargetTemplate::Tag(self.template(&target.tag, problems)?.0)),
            "host" => Some(TargetTemplate::Host(self.template(&target.host, problems)?.0)),
            "route" => self.route(target, problems),
            "key" => self.key(target, problems),
            "namespace" => {
                let name = target.namespace.value()?;
                if let Some(used) = self.routes.namespaces()
                    && !used.contains(&&**name)
                {
                    let shown = self.keys.shown_namespaces().filter(|known| used.contains(known));
                    tell_unknown("namespace", name, target.namespace.span()?, shown, problems);
                }
                Some(TargetTemplate::Namespace(name.to_string()))
            }
            _ => Some(TargetTemplate::Everything),
        }
    }

    fn tags(&self, given: &Optional<List<Word<Template>>>, problems: &mut Problems) -> Option<Vec<Template>> {
        let tags = given.value()?;
        if tags.is_empty() {
            problems.add(given.span()?, "no tag is given");
        }
        tags.iter().map(|tag| Some(self.template_of(tag, problems)?.0)).collect()
    }

    /// A URL, or what may begin otherwise for any host.
    fn url(
        &self,
        given: &Optional<Word<Template>>,
        otherwise: Option<char>,
        problems: &mut Problems,
    ) -> Option<Template> {
        let (template, text) = self.template(given, problems)?;
        // Not from a hole: there the colon would be escaped.
        let is_one = ["http://", "https://"].iter().any(|scheme| text.starts_with(scheme));
        if !is_one && !otherwise.is_some_and(|character| text.starts_with(character)) {
            let (what, help) = match otherwise {
                None => ("http:// or https://", "to purge a path on every host, purge its `route`"),
                Some(_) => ("http:// or https://, or / for every host", "write it so"),
            };
            problems.add(given.span()?, format!("a URL begins with {what}")).help(help);
        }
        Some(template)
    }

    /// The template and its text; holes without a field are told.
    fn template(
        &self,
        given: &Optional<Word<Template>>,
        problems: &mut Problems,
    ) -> Option<(Template, String)> {
        self.template_of(given.as_ref()?, problems)
    }

    fn template_of(
        &self,
        given: &Given<Word<Template>>,
        problems: &mut Problems,
    ) -> Option<(Template, String)> {
        let Given { span, text_at, value } = given;
        let template = value.as_ref()?;
        self.check_holes(template, (*span, *text_at), problems);
        let text = template.to_string();
        if text.is_empty() {
            problems.add(*span, "this is empty");
        }
        Some((template.0.clone(), text))
    }

    fn check_holes(&self, template: &Template, place: Place, problems: &mut Problems) {
        if let Some(known) = self.field_names() {
            tell_unknown_holes(template, place, ("rule", "field"), || known.iter().copied(), problems);
        }
    }

    fn route(&self, target: &PurgeTarget, problems: &mut Problems) -> Option<TargetTemplate> {
        let name = target.route.value()?;
        let values = self.values(&target.partition, problems);
        if let Some(routes) = self.routes.known() {
            // A name with variables in it is not for showing.
            let names = || {
                routes.iter().filter_map(|route| route.name).filter(|name| !name.filled()).map(|name| &**name)
            };
            let Some(route) = routes.iter().find(|route| route.name.is_some_and(|known| **known == **name))
            else {
                // A route whose name is wrong may be the one that is meant.
                if routes.iter().all(|route| route.name.is_some()) {
                    tell_unknown("route", name, target.route.span()?, names(), problems);
                }
                return None;
            };
            if matches!(route.key, KeyOfRoute::None) {
                problems.add(
                    target.route.span()?,
                    format!("nothing of the route {} is ever stored: it has `cache: off`", name.shown()),
                );
            }
            if let Some(partition) = route.key.partition(route.captures.as_deref()) {
                check_partition(&target.partition, &[partition], problems);
            }
        }
        Some(match values? {
            None => TargetTemplate::Route(name.to_string()),
            Some(values) => TargetTemplate::RoutePartition { route: name.to_string(), values },
        })
    }

    fn key(&self, target: &PurgeTarget, problems: &mut Problems) -> Option<TargetTemplate> {
        let name = target.key.value()?;
        let values = self.values(&target.partition, problems);
        if let Some(mut names) = self.keys.names() {
            if !names.any(|known| known == &**name) {
                tell_unknown(
                    "key",
                    name,
                    target.key.span()?,
                    self.keys.names().into_iter().flatten(),
                    problems,
                );
                return None;
            }
            if let Some(partitions) = self.partitions_of_key(name) {
                if partitions.is_empty() {
                    problems.add(
                        target.key.span()?,
                        format!("no route uses the key {}, so nothing is ever stored under it", name.shown()),
                    );
                } else {
                    check_partition(&target.partition, &partitions, problems);
                }
            }
        }
        Some(match values? {
            None => TargetTemplate::Key(name.to_string()),
            Some(values) => TargetTemplate::KeyPartition { key: name.to_string(), values },
        })
    }

    /// The partitions that entries under a key can have: one for each route that uses it. `None` if nobody knows.
    fn partitions_of_key(&self, name: &str) -> Option<Vec<Vec<String>>> {
        let mut partitions = Vec::new();
        for route in self.routes.known()? {
            match &route.key {
                KeyOfRoute::Wrong => return None,
                KeyOfRoute::Built(key) if *key.name == *name => {
                    partitions.push(route.key.partition(route.captures.as_deref())?);
                }
                KeyOfRoute::Built(_) | KeyOfRoute::None => {}
            }
        }
        Some(partitions)
    }

    /// `Some(None)`: no partition is given.
    fn values(
        &self,
        given: &Optional<Entries<Word<Template>>>,
        problems: &mut Problems,
    ) -> Option<Option<BTreeMap<String, Template>>> {
        let Some(given) = given else { return Some(None) };
        let entries = given.value.as_ref()?;
        let mut values = BTreeMap::new();
        for entry in entries.iter() {
            let template = entry.value.as_ref()?;
            self.check_holes(template, (entry.span, entry.text_at), problems);
            values.insert(entry.name.clone(), template.0.clone());
        }
        Some(Some(values))
    }
}

impl PurgeTarget {
    /// What it can name, of which it names one.
    fn members(&self) -> [(&'static str, Option<Span>); 11] {
        [
            ("url", self.url.span()),
            ("tag", self.tag.span()),
            ("any_tag", self.any_tag.span()),
            ("all_tags", self.all_tags.span()),
            ("host", self.host.span()),
            ("route", self.route.span()),
            ("key", self.key.span()),
            ("namespace", self.namespace.span()),
            ("prefix", self.prefix.span()),
            ("glob", self.glob.span()),
            ("everything", self.everything.span()),
        ]
    }
}

/// A purge names one field of a partition, or several: what agrees in each of them is meant.
fn check_partition(
    given: &Optional<Entries<Word<Template>>>,
    partitions: &[Vec<String>],
    problems: &mut Problems,
) {
    let Some(Given { span, value: Some(entries), .. }) = given else { return };
    let mut known: Vec<&str> = partitions.iter().flatten().map(String::as_str).collect();
    known.sort_unstable();
    known.dedup();
    if entries.is_empty() {
        problems.add(*span, "no partition field is given").help("leave `partition` out to purge everything");
        return;
    }
    let mut unknown = false;
    for entry in entries.iter().filter(|entry| !known.contains(&&*entry.name)) {
        unknown = true;
        let problem =
            problems.add(entry.name_span, format!("there is no partition field {}", quote(&entry.name)));
        if known.is_empty() {
            problem.help("none of the key's fields has `partition: true`");
        } else {
            problem.suggest(&entry.name, known.iter().copied());
        }
    }
    let has_all = |partition: &Vec<String>| entries.iter().all(|entry| partition.contains(&entry.name));
    if !unknown && !partitions.iter().any(has_all) {
        let lists: BTreeSet<_> = partitions.iter().map(|fields| fields.join(" and ")).collect();
        let lists: Vec<_> = lists.into_iter().collect();
        problems
            .add(*span, "no partition has all of these fields")
            .help(format!("there are: {}", lists.join(", or ")));
    }
}

fn events(on: &file::RuleEvents, problems: &mut Problems) -> Vec<Arc<str>> {
    let list = on.event.value().map(|list| &**list).unwrap_or_default();
    if let Some(span) = on.event.span()
        && on.event.value().is_some_and(|list| list.is_empty())
    {
        problems.add(span, "no event is given").help("leave `event` out for every event");
    }
    for (event, span) in items(list) {
        if event.is_empty() {
            problems.add(span, "the name of the event is empty");
        }
    }
    items(list).map(|(event, _)| (**event).into()).collect()
}
