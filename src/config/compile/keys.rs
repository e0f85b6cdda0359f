//! `keys:`, and keys written in a route.
//!
//! `extends` is resolved, and what is missing for a safe key is added: host and scheme are part of every key unless
//! the file says that the application answers the same on all of them.

use super::super::diagnostics::{Problems, Span, list, quote};
use super::super::file::{self, KeyConstructor, KeyField, KeyOverflow, KeyPart};
use super::super::read::{Entries, Given, Named, Optional, OptionalExt, Text, Word};
use super::super::scalars::Number;
use super::field::field;
use super::routes::Routes;
use super::{Names, check_name, count, entries, items, tell_unknown};
use crate::keys::{Constructor, Field, OnOverflow, Source};
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

/// The longest suffix, unless the file says otherwise.
const MAX_SUFFIX_LENGTH: usize = 250;

/// How many keys may be made of each other by `extends`, the last included.
const MAX_CHAIN: usize = 32;

/// The safe default key's name.
pub(super) const DEFAULT: &str = "default";

/// `keys:`, checked.
pub(super) struct Keys<'f> {
    given: &'f Optional<Entries<KeyConstructor>>,
    names: Names<'f>,
    by_name: HashMap<&'f str, &'f Named<KeyConstructor>>,
    /// What keys without an id go by.
    routes: Vec<&'f str>,
    directory: &'f Path,
}

impl<'f> Keys<'f> {
    /// Tells everything that is wrong with the keys by themselves.
    pub(super) fn new(file: &'f file::File, directory: &'f Path, problems: &mut Problems) -> Self {
        let routes = file.routes.value().map(|list| &**list).unwrap_or_default();
        let routes = items(routes).filter_map(|(route, _)| Some(&**route.name.value()?)).collect();
        let names = Names::of_optional("key", &file.keys);
        // The first of a name; that there are others is told by itself.
        let by_name = file.keys.value().map(|list| &**list).unwrap_or_default();
        let by_name = by_name.iter().rev().map(|entry| (&*entry.name, entry)).collect();
        let keys = Self { given: &file.keys, names, by_name, routes, directory };
        for (entry, key) in entries(keys.given) {
            check_name("key", &entry.name, entry.name_span, problems);
            if entry.name == DEFAULT {
                problems
                    .add(entry.name_span, "`default` is the key of routes that name none")
                    .help("give this key another name");
            }
            keys.check_cycle(entry, problems);
            keys.check(key, entry.name_span, problems);
        }
        keys
    }

    /// Tells everything that is wrong with a key by itself. `name` is what to point at.
    pub(super) fn check(&self, key: &KeyConstructor, name: Span, problems: &mut Problems) {
        if let Some(Given { span, value: Some(base), .. }) = &key.extends {
            self.names.find(base, *span, problems);
        }
        for (what, text) in [("namespace", &key.namespace), ("id", &key.id)] {
            if let Some(Given { span, value: Some(text), .. }) = text
                && text.is_empty()
            {
                problems.add(*span, format!("an empty {what}")).help("leave it out");
            }
        }
        if let Some(Given { span, value: Some(id), .. }) = &key.id
            && self.routes.contains(&&**id)
        {
            problems
                .add(*span, format!("the id {} is the name of a route", id.shown()))
                .help("a key without an id goes by its route's name; give this one another id");
        }
        for (entry, section) in entries(&key.fields) {
            check_name("field", &entry.name, entry.name_span, problems);
            field(&entry.name, entry.name_span, section, self.directory, problems);
        }
        let Some(fields) = self.fields(key) else { return };
        if fields.is_empty() {
            problems
                .add(name, "a key without fields: all requests would share one stored response")
                .help("give `fields`, or `extends`");
        }
        self.check_partition(&fields, problems);
    }

    /// Two partition fields of one name could not be told apart by a purge: several captures in one field stand in
    /// the partition by their own names.
    fn check_partition(&self, fields: &[&Named<KeyField>], problems: &mut Problems) {
        let mut seen: Vec<(String, Span)> = Vec::new();
        for entry in fields {
            let Some(field) = self.quiet_field(entry) else { continue };
            let names: Vec<String> = match &field.source {
                _ if !field.partition => continue,
                Source::PathAll => continue,
                Source::Path(captures) if captures.len() > 1 => {
                    captures.iter().map(|name| name.as_ref().to_owned()).collect()
                }
                _ => vec![entry.name.clone()],
            };
            for name in names {
                match seen.iter().find(|(known, _)| *known == name) {
                    Some((_, first)) => {
                        problems
                            .add(entry.name_span, format!("two partition fields are called {}", quote(&name)))
                            .note(*first, "the other");
                    }
                    None => seen.push((name, entry.name_span)),
                }
            }
        }
    }

    fn check_cycle(&self, start: &Named<KeyConstructor>, problems: &mut Problems) {
        let mut way = vec![&*start.name];
        let mut current = start;
        while let Some(base) = current.value.as_ref().and_then(|key| key.extends.value()) {
            if **base == *start.name {
                // Told once for all of a cycle, at the one that comes first.
                if self.position(&start.name) == way.iter().map(|name| self.position(name)).min().flatten()
                    && let Some(span) = start.value.as_ref().and_then(|key| key.extends.span())
                {
                    let message = match way.as_slice() {
                        [_] => format!("{} extends itself", quote(&start.name)),
                        [_, between @ ..] => {
                            format!(
                                "{} extends itself by way of {}",
                                quote(&start.name),
                                list(between, "and")
                            )
                        }
                        [] => return,
                    };
                    problems.add(span, message);
                }
                return;
            }
            let Some(next) = self.entry(base).filter(|next| !way.contains(&&*next.name)) else { return };
            way.push(&next.name);
            current = next;
            if way.len() > MAX_CHAIN + 1 {
                return;
            }
        }
        // Told where the chain becomes too long, and not for all that extend this one.
        if way.len() == MAX_CHAIN + 1
            && let Some(span) = start.value.as_ref().and_then(|key| key.extends.span())
        {
            problems.add(span, format!("{} extends more than {} keys", quote(&start.name), MAX_CHAIN - 1));
        }
    }

    fn position(&self, name: &str) -> Option<usize> {
        self.given.value()?.iter().position(|entry| entry.name == name)
    }

    fn entry(&self, name: &str) -> Option<&'f Named<KeyConstructor>> {
        self.by_name.get(name).copied()
    }

    /// The key and all that it extends, itself last; `None` if that cannot be known, which has been told.
    fn chain<'k>(&self, key: &'k KeyConstructor) -> Option<Vec<&'k KeyConstructor>>
    where
        'f: 'k,
    {
        let mut chain = vec![key];
        let mut current = key;
        while let Some(extends) = &current.extends {
            let base = self.entry(extends.value.as_ref()?)?.value.as_ref()?;
            if chain.len() == MAX_CHAIN || chain.iter().any(|known| std::ptr::eq(*known, base)) {
                return None;
            }
            chain.push(base);
            current = base;
        }
        chain.reverse();
        Some(chain)
    }

    /// The fields of a key and of all that it extends; those of the same name replace each other.
    pub(super) fn fields<'k>(&self, key: &'k KeyConstructor) -> Option<Vec<&'k Named<KeyField>>>
    where
        'f: 'k,
    {
        let mut fields: Vec<&Named<KeyField>> = Vec::new();
        for key in self.chain(key)? {
            let own: &[Named<KeyField>] = match &key.fields {
                None => &[],
                Some(given) => given.value.as_ref()?,
            };
            for field in own {
                match fields.iter_mut().find(|known| known.name == field.name) {
                    Some(known) => *known = field,
                    None => fields.push(field),
                }
            }
        }
        Some(fields)
    }

    /// The key that a route names; an unknown one is told.
    pub(super) fn find(&self, name: &Text, span: Span, problems: &mut Problems) -> Option<Found<'f>> {
        if **name == *DEFAULT {
            return Some(Found::Default);
        }
        self.names.names.as_ref()?;
        match self.entry(name) {
            Some(entry) => entry.value.as_ref().map(Found::Named),
            None => {
                tell_unknown("key", name, span, self.names().into_iter().flatten(), problems);
                None
            }
        }
    }

    /// The namespaces of the keys, but for those with variables in them, which are not for showing.
    pub(super) fn shown_namespaces(&self) -> impl Iterator<Item = &'f str> {
        let namespaces = entries(self.given).filter_map(|(_, key)| key.namespace.value());
        namespaces.filter(|namespace| !namespace.filled()).map(|namespace| &**namespace)
    }

    /// The names of the keys, the default's included; `None` if nobody knows.
    pub(super) fn names(&self) -> Option<impl Iterator<Item = &'f str>> {
        let names = self.names.names.as_ref()?.iter().copied();
        Some(names.filter(|name| *name != DEFAULT).chain([DEFAULT]))
    }

    /// Builds a key that has been checked. `id` applies unless the key has one of its own.
    pub(super) fn build(&self, name: &str, id: &str, key: &KeyConstructor) -> Option<Constructor> {
        let chain = self.chain(key)?;
        let mut fields: Vec<Field> =
            self.fields(key)?.into_iter().map(|entry| self.quiet_field(entry)).collect::<Option<_>>()?;
        // The last one that says something decides.
        let last = |part: fn(&KeyConstructor) -> bool| chain.iter().rev().find(|key| part(key)).copied();
        let shared_across: Vec<KeyPart> = last(|key| key.shared_across.is_some())
            .and_then(|key| key.shared_across.value())
            .map(|parts| items(parts).map(|(part, _)| *part).collect())
            .unwrap_or_default();
        if !shared_across.contains(&KeyPart::Host) {
            add_part("host", Source::Host, &mut fields);
        }
        if !shared_across.contains(&KeyPart::Scheme) {
            add_part("scheme", Source::Scheme, &mut fields);
        }
        let namespace = last(|key| key.namespace.is_some()).and_then(|key| key.namespace.value());
        let version =
            last(|key| key.version.is_some()).map_or(1, |key| key.version.value_or(Word(Number(1))).0.0);
        let max_suffix_length = last(|key| key.max_suffix_length.is_some())
            .map_or(MAX_SUFFIX_LENGTH, |key| count(&key.max_suffix_length, MAX_SUFFIX_LENGTH));
        let on_overflow = last(|key| key.on_overflow.is_some())
            .map_or(KeyOverflow::Hash, |key| key.on_overflow.value_or(KeyOverflow::Hash));
        Some(Constructor {
            name: name.into(),
            namespace: namespace.map_or("", |text| text).into(),
            version,
            // Not inherited: two keys with different fields must not share an id unknowingly.
            id: key.id.value().map_or(id, |id| id).into(),
            fields,
            max_suffix_length,
            on_overflow: match on_overflow {
                KeyOverflow::Hash => OnOverflow::Hash,
                KeyOverflow::Reject => OnOverflow::Reject,
            },
        })
    }

    /// A field whose problems have been told.
    fn quiet_field(&self, entry: &Named<KeyField>) -> Option<Field> {
        field(&entry.name, entry.name_span, entry.value.as_ref()?, self.directory, &mut Problems::default())
    }

    /// Every constructor by name: those of `keys:`, the safe default, and those written in routes.
    pub(super) fn constructors(&self, routes: &Routes<'_>) -> Vec<Arc<Constructor>> {
        let default = Arc::new(Constructor::safe_default(DEFAULT, false));
        let named = entries(self.given)
            .filter_map(|(entry, key)| self.build(&entry.name, &entry.name, key).map(Arc::new));
        let mut constructors: Vec<_> = std::iter::once(default).chain(named).collect();
        for constructor in routes.constructors() {
            if constructors.iter().all(|known| known.name != constructor.name) {
                constructors.push(Arc::clone(constructor));
            }
        }
        constructors
    }
}

/// What a route's `key` refers to.
pub(super) enum Found<'f> {
    Default,
    Named(&'f KeyConstructor),
}

/// Adds a source that the key must have, unless it has it.
fn add_part(name: &str, source: Source, fields: &mut Vec<Field>) {
    let same = |field: &Field| std::mem::discriminant(&field.source) == std::mem::discriminant(&source);
    if fields.iter().any(same) {
        return;
    }
    let taken = fields.iter().any(|field| &*field.name == name);
    let name = if taken { format!("_{name}").into() } else { name.into() };
    fields.push(Field { name, source, partition: false, hash: false, sort: false, normalize: Vec::new() });
}
