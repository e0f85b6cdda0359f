//! An expression that must hold of an event, where conditions on paths do not reach: the Common Expression Language. PURE.

use std::fmt;
use std::sync::Arc;

use cel::{Context, Program, Value};

use super::event::{Event, Kind};

/// See the [module](self).
pub struct Expression {
    text: Arc<str>,
    program: Program,
}

/// What an expression can speak of.
const VARIABLES: [&str; 6] = ["body", "event", "kind", "before", "after", "changed"];

/// How long it may be, in bytes, and how deep: it is parsed by recursion.
const MAX_BYTES: usize = 4096;
const MAX_OPENINGS: usize = 64;

impl Expression {
    /// Reads `body.data.price > 10 && event.startsWith("product.")`.
    ///
    /// # Errors
    /// Why it is none.
    pub fn parse(text: &str) -> Result<Self, String> {
        let openings = text.matches(['(', '[', '{', '!', '-', '?']).count();
        if text.len() > MAX_BYTES || openings > MAX_OPENINGS {
            let what = format!("{MAX_BYTES} bytes and {MAX_OPENINGS} brackets, signs and choices");
            return Err(format!("an expression has at most {what}: write several rules"));
        }
        let program = Program::compile(text).map_err(|errors| {
            let told = errors.to_string();
            let first = told.lines().next().unwrap_or_default();
            format!("this is no expression of CEL: {}", first.strip_prefix("ERROR: ").unwrap_or(first))
        })?;
        let unknown: Vec<_> = {
            let references = program.references();
            let variables = references.variables().into_iter();
            // Those that the expression introduces itself have been told apart by the parser, but for their names.
            variables
                .filter(|name| !VARIABLES.contains(name) && !introduces(text, name))
                .map(str::to_owned)
                .collect()
        };
        match unknown.first() {
            Some(name) => {
                Err(format!("there is no {name:?} in an expression: there are {}", VARIABLES.join(", ")))
            }
            None => Ok(Self { text: text.into(), program }),
        }
    }

    /// Whether it holds of an event.
    ///
    /// # Errors
    /// Why that cannot be said: something that it speaks of is not there, or is of another type.
    pub fn holds(&self, event: &Event) -> Result<bool, String> {
        let mut context = Context::default();
        let failed = |error: &dyn fmt::Display| error.to_string();
        let mut set = |name: &str, value: &dyn Fn() -> Result<Value, String>| {
            context.add_variable_from_value(name, value()?);
            Ok::<_, String>(())
        };
        let json = |value: &serde_json::Value| cel::to_value(value).map_err(|error| failed(&error));
        let record = |value: &Option<serde_json::Value>| value.as_ref().map_or(Ok(Value::Null), json);
        set("body", &|| json(&event.body))?;
        set("event", &|| Ok(event.name.clone().into()))?;
        set("kind", &|| Ok(event.kind.map_or("", Kind::as_str).into()))?;
        set("before", &|| record(&event.before))?;
        set("after", &|| record(&event.after))?;
        set("changed", &|| cel::to_value(&event.changed).map_err(|error| failed(&error)))?;
        match self.program.execute(&context) {
            Ok(Value::Bool(holds)) => Ok(holds),
            Ok(other) => Err(format!("it is {:?}, and neither true nor false", other.type_of())),
            Err(error) => Err(failed(&error)),
        }
    }
}

/// Whether a macro such as `all(x, …)` names a variable so.
fn introduces(text: &str, name: &str) -> bool {
    let compact: String = text.split_whitespace().collect();
    compact.contains(&format!("({name},"))
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Expression").field(&self.text).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check(text: &str, expected: Result<bool, &str>) {
        let data = json!({"id": 7, "price": 12.5, "tags": ["new", "sale"], "before": {"slug": "a"}, "after": {"slug": "b"},
            "changed": ["slug"]});
        let event = Event::of_app(json!({"type": "product.updated", "data": data}));
        let holds = Expression::parse(text).unwrap().holds(&event);
        match expected {
            Ok(expected) => assert_eq!(holds, Ok(expected), "{text}"),
            Err(word) => assert!(holds.as_ref().unwrap_err().contains(word), "{text}: {holds:?}"),
        }
    }

    #[test]
    fn an_expression_speaks_of_all_that_is_known_of_an_event() {
        check("body.data.price > 10.0 && body.data.id == 7", Ok(true));
        check("event.startsWith('product.') && kind == 'update'", Ok(true));
        check("before.slug != after.slug && 'slug' in changed", Ok(true));
        check("body.data.tags.exists(tag, tag == 'sale') && size(body.data.tags) == 2", Ok(true));
        check("body.data.tags.all(t, t.matches('^n'))", Ok(false));
        check("has(body.data.missing) || body.data.id > 100", Ok(false));
    }

    #[test]
    fn what_cannot_be_said_is_told() {
        check("body.data.missing == 1", Err("missing"));
        check("body.data.id", Err("neither true nor false"));
        check("body.data.price > 'x'", Err(""));
    }

    #[test]
    fn what_is_no_expression_is_refused() {
        let long = "a".repeat(5000);
        let deep = "(".repeat(100);
        for (text, why) in [
            ("body.data.id ==", "no expression"),
            ("price > 10", "there is no \"price\""),
            ("", "no expression"),
            (&*long, "at most"),
            (&*deep, "at most"),
        ] {
            let told = Expression::parse(text).unwrap_err();
            assert!(told.contains(why) && !told.contains('\n'), "{text}: {told}");
        }
    }
}
