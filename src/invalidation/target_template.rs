//! What a rule's `do` names, before an event fills its holes. PURE.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::Target;
use super::spelling::{patterns, urls};
use super::target::Where;
use crate::routes::Template;

/// A purge target whose names are fixed and whose values have holes (`{field}`), filled from the rule's fields.
#[derive(Clone, Debug)]
pub enum TargetTemplate {
    /// An absolute URL.
    Url(Template),
    /// An application tag.
    Tag(Template),
    /// A host.
    Host(Template),
    /// All of a route.
    Route(String),
    /// A partition of a route.
    RoutePartition {
        /// The route's name.
        route: String,
        /// Values by partition field.
        values: BTreeMap<String, Template>,
    },
    /// All of a key constructor.
    Key(String),
    /// A partition of a key constructor.
    KeyPartition {
        /// The constructor's name.
        key: String,
        /// Values by partition field.
        values: BTreeMap<String, Template>,
    },
    /// All of a namespace.
    Namespace(String),
    /// What carries one of these application tags.
    AnyTag(Vec<Template>),
    /// What carries all of these application tags.
    AllTags(Vec<Template>),
    /// URLs that begin so: absolute, or of any host.
    Prefix(Template),
    /// URLs like this; a `*` of the template stands for anything, one in a value for itself.
    Glob(Template),
    /// Of what the target names, what such responses are.
    Where(Box<TargetTemplate>, Where),
    /// All of it.
    Everything,
}

/// The values of each field.
pub(super) type Values<'r> = BTreeMap<&'r str, Vec<String>>;

/// One value for each field that a template asks for.
pub(super) type Combination<'v> = BTreeMap<&'v str, &'v str>;

impl TargetTemplate {
    /// The templates with holes.
    fn templates(&self) -> Vec<&Template> {
        match self {
            Self::Url(template)
            | Self::Tag(template)
            | Self::Host(template)
            | Self::Prefix(template)
            | Self::Glob(template) => vec![template],
            Self::AnyTag(templates) | Self::AllTags(templates) => templates.iter().collect(),
            Self::Where(target, _) => target.templates(),
            Self::RoutePartition { values, .. } | Self::KeyPartition { values, .. } => {
                values.values().collect()
            }
            Self::Route(_) | Self::Key(_) | Self::Namespace(_) | Self::Everything => Vec::new(),
        }
    }

    /// Every combination of the values that the holes ask for; none if one has no value, `None` if there are
    /// more than `limit`.
    pub(super) fn combinations<'v>(
        &'v self,
        values: &'v Values<'_>,
        limit: usize,
    ) -> Option<Vec<Combination<'v>>> {
        let mut names: Vec<&str> = self.templates().into_iter().flat_map(Template::names).collect();
        names.sort_unstable();
        names.dedup();
        let mut combinations = vec![Combination::new()];
        for &name in &names {
            let found = values.get(name).map(Vec::as_slice).unwrap_or_default();
            if combinations.len() * found.len() > limit {
                // Unless another hole has no value, and nothing is named.
                let is_filled = |name: &&str| values.get(name).is_some_and(|found| !found.is_empty());
                return if names.iter().all(is_filled) { None } else { Some(Vec::new()) };
            }
            let with = |known: &Combination<'v>, value| {
                let mut known = known.clone();
                known.insert(name, value);
                known
            };
            combinations = combinations
                .iter()
                .flat_map(|known| found.iter().map(move |value| with(known, value)))
                .collect();
        }
        (combinations.len() <= limit).then_some(combinations)
    }

    /// What everything belongs to that it can name.
    pub(super) fn wider(&self) -> Target {
        match self {
            Self::Url(template) | Self::Prefix(template) | Self::Glob(template) => {
                host_of(template).map_or(Target::Everything, Target::Host)
            }
            Self::Where(target, like) => Target::Where(Box::new(target.wider()), like.clone()),
            Self::Route(route) | Self::RoutePartition { route, .. } => Target::Route(route.clone()),
            Self::Key(key) | Self::KeyPartition { key, .. } => Target::Key(key.clone()),
            Self::Namespace(namespace) => Target::Namespace(namespace.clone()),
            Self::Tag(_) | Self::AnyTag(_) | Self::AllTags(_) | Self::Host(_) | Self::Everything => {
                Target::Everything
            }
        }
    }

    /// What it names with these values. A URL can be written in several ways, and all of them are named.
    pub(super) fn fill(&self, values: &Combination<'_>) -> Vec<Target> {
        match self {
            Self::Url(template) => urls(template, values).into_iter().map(Target::Url).collect(),
            Self::Prefix(template) => patterns(template, values).into_iter().map(Target::Prefix).collect(),
            Self::Glob(template) => patterns(template, values).into_iter().map(Target::Glob).collect(),
            Self::Where(target, like) => {
                let restricted = |target| Target::Where(Box::new(target), like.clone());
                target.fill(values).into_iter().map(restricted).collect()
            }
            other => other.plain(values).into_iter().collect(),
        }
    }

    /// Why nothing is named with values that are there.
    pub(super) fn unnamed(&self, values: &Combination<'_>) -> String {
        let templates: Vec<_> = self.templates().iter().map(ToString::to_string).collect();
        format!("no URL can be made of {} with {values:?}", templates.join(", "))
    }

    fn plain(&self, values: &Combination<'_>) -> Option<Target> {
        let filled =
            |template: &Template| template.render(|name| values.get(name).map(|&value| Cow::Borrowed(value)));
        let all = |templates: &BTreeMap<String, Template>| -> Option<BTreeMap<String, String>> {
            templates.iter().map(|(name, template)| Some((name.clone(), filled(template)?))).collect()
        };
        Some(match self {
            // These can be written in several ways, or are made of others.
            Self::Url(_) | Self::Prefix(_) | Self::Glob(_) | Self::Where(..) => return None,
            Self::AnyTag(templates) => Target::AnyTag(templates.iter().map(filled).collect::<Option<_>>()?),
            Self::AllTags(templates) => Target::AllTags(templates.iter().map(filled).collect::<Option<_>>()?),
            Self::Tag(template) => Target::Tag(filled(template)?),
            Self::Host(template) => Target::Host(filled(template)?),
            Self::Route(route) => Target::Route(route.clone()),
            Self::RoutePartition { route, values } => {
                Target::RoutePartition { route: route.clone(), values: all(values)? }
            }
            Self::Key(key) => Target::Key(key.clone()),
            Self::KeyPartition { key, values } => {
                Target::KeyPartition { key: key.clone(), values: all(values)? }
            }
            Self::Namespace(namespace) => Target::Namespace(namespace.clone()),
            Self::Everything => Target::Everything,
        })
    }
}

/// The host of all URLs that a template makes; `None` if there is a hole in it.
fn host_of(template: &Template) -> Option<String> {
    let text = template.to_string();
    let (_, rest) = text.split_once("://")?;
    let (host, _) = rest.split_once('/')?;
    (!host.contains(['{', '}'])).then(|| host.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn hole(text: &str) -> Template {
        Template::parse(text).unwrap()
    }

    #[track_caller]
    fn check(template: &TargetTemplate, value: &str, expected: &[Target]) {
        let values = Values::from([("v", vec![value.to_owned()])]);
        let combinations = template.combinations(&values, 10).unwrap();
        let filled: Vec<_> = combinations.iter().flat_map(|values| template.fill(values)).collect();
        assert_eq!(filled, expected);
    }

    #[test]
    fn whatever_the_api_purges_has_holes() {
        let prefix = TargetTemplate::Prefix(hole("/blog/{v}/"));
        check(&prefix, "a b", &["/blog/a%20b/", "/blog/a+b/"].map(|text| Target::Prefix(text.into())));
        check(&TargetTemplate::Glob(hole("/*/{v}")), "*", &[Target::Glob("/*/%2A".into())]);
        let tags = TargetTemplate::AllTags(vec![hole("news"), hole("author:{v}")]);
        check(&tags, "a*", &[Target::AllTags(vec!["news".into(), "author:a*".into()])]);
        let tags = TargetTemplate::AnyTag(vec![hole("news"), hole("author:{v}")]);
        check(&tags, "a", &[Target::AnyTag(vec!["news".into(), "author:a".into()])]);
        let like: Where = serde_json::from_value(json!({ "status": 404 })).unwrap();
        let restricted = TargetTemplate::Where(Box::new(TargetTemplate::Tag(hole("{v}"))), like.clone());
        check(&restricted, "x", &[Target::Where(Box::new(Target::Tag("x".into())), like.clone())]);
        let wider = restricted.wider();
        assert_eq!(wider, Target::Where(Box::new(Target::Everything), like), "still only such responses");
        assert_eq!(TargetTemplate::Prefix(hole("http://a.test/{v}")).wider(), Target::Host("a.test".into()));
    }

    #[test]
    fn what_has_no_value_names_nothing() {
        let values = Values::from([("v", Vec::new())]);
        for template in
            [TargetTemplate::Prefix(hole("/{v}")), TargetTemplate::AllTags(vec![hole("a"), hole("{v}")])]
        {
            assert_eq!(template.combinations(&values, 10), Some(Vec::new()));
        }
    }

    /// Texts that are likely to go wrong.
    fn crafted() -> impl proptest::strategy::Strategy<Value = String> {
        use proptest::prelude::*;
        const PIECES: [&str; 16] = [
            "/",
            "..",
            ".",
            "*",
            "?",
            "#",
            "%2F",
            "%2e",
            "{v}",
            "@",
            "http://b.test/",
            "\r\n",
            "é",
            "a",
            " ",
            "\\",
        ];
        prop_oneof![
            any::<String>(),
            prop::collection::vec(prop::sample::select(&PIECES[..]), 0..6).prop_map(|all| all.concat())
        ]
    }

    proptest::proptest! {
        #[test]
        fn no_value_escapes_its_field(value in crafted()) {
            use crate::uri::normalize_path;
            use proptest::prelude::*;
            let values = Values::from([("v", vec![value.clone()])]);
            let fill = |template: &TargetTemplate| -> Vec<Target> {
                let combinations = template.combinations(&values, 10).unwrap();
                combinations.iter().flat_map(|values| template.fill(values)).collect()
            };
            for target in fill(&TargetTemplate::Url(hole("http://a.test/x/{v}/edit?q={v}&p=1"))) {
                let Target::Url(url) = target else { panic!("a URL") };
                let rest = url.strip_prefix("http://a.test/x/").expect(&url);
                let (path, query) = rest.split_once('?').expect(&url);
                prop_assert!(path.ends_with("/edit"), "{url}");
                let normal = normalize_path(&url["http://a.test".len()..url.len() - query.len() - 1]).unwrap();
                prop_assert!(normal.starts_with("/x/"), "{url}");
                prop_assert!(!query.contains('#') && query.split('&').count() == 2, "{url}");
            }
            for target in fill(&TargetTemplate::Glob(hole("http://a.test/*/{v}"))) {
                let Target::Glob(glob) = target else { panic!("a glob") };
                prop_assert_eq!(glob.matches('*').count(), 1, "{}", glob);
            }
            for target in fill(&TargetTemplate::Url(hole("http://{v}.a.test/"))) {
                let Target::Url(url) = target else { panic!("a URL") };
                let host = url.strip_prefix("http://").and_then(|url| url.strip_suffix('/')).expect(&url);
                prop_assert!(host.ends_with(".a.test") && !host.contains(['/', '@', '?', '#']), "{url}");
            }
            let tag = TargetTemplate::Tag(hole("page:{v}"));
            prop_assert_eq!(fill(&tag), vec![Target::Tag(format!("page:{value}"))]);
            let values = BTreeMap::from([("slug".to_owned(), hole("{v}"))]);
            let partition = TargetTemplate::RoutePartition { route: "r".into(), values };
            let expected = Target::RoutePartition { route: "r".into(), values: [("slug".to_owned(), value)].into() };
            prop_assert_eq!(fill(&partition), vec![expected]);
        }
    }
}
