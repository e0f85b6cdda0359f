//! One entry of `when:`: what must hold of an event's body. PURE.

use std::cmp::Ordering;
use std::fmt;

use regex::Regex;
use serde_json::{Number, Value};

use crate::selector::{Selector, SelectorError};

/// A JSONPath and what is expected of what it selects.
#[derive(Clone, Debug)]
pub struct Condition {
    subject: Selector,
    negated: bool,
    /// Whether the subject must select something, or must not.
    exists: Option<bool>,
    /// All must hold of one value.
    operators: Vec<Operator>,
}

#[derive(Clone, Debug)]
enum Operator {
    OneOf(Vec<Value>),
    Matches(Regex),
    /// Compared with the number, the value is on this side, or on that.
    Compares(Number, [Ordering; 2]),
    Not(Vec<Operator>),
}

const OPERATORS: &str = "in, exists, matches, gt, gte, lt, lte, not";

impl Condition {
    /// `subject`: a JSONPath, negated by a leading `!`. `expected`: a plain value (equal), a list (any of them), or
    /// a mapping of operators that must all hold: `in`, `exists`, `matches`, `gt`, `gte`, `lt`, `lte`, `not`. What
    /// follows `not` is again a plain value, a list (none of them) or a mapping.
    ///
    /// # Errors
    /// A subject that is no JSONPath, an unknown operator, an operand of the wrong type.
    pub fn new(subject: &str, expected: &Value) -> Result<Self, SelectorError> {
        let (negated, path) = match subject.strip_prefix('!') {
            Some(path) => (true, path.trim_start()),
            None => (false, subject),
        };
        let shift = subject.len() - path.len();
        let subject = Selector::parse(path)
            .map_err(|error| SelectorError { at: error.at + shift, message: error.message })?;
        let refused = |message| SelectorError { at: 0, message };
        let mut rest = expected.clone();
        let exists = match rest.as_object_mut().and_then(|operators| operators.remove("exists")) {
            None => None,
            Some(Value::Bool(wanted)) => Some(wanted),
            Some(_) => return Err(refused("exists takes true or false".to_owned())),
        };
        let alone = exists.is_some() && rest.as_object().is_some_and(serde_json::Map::is_empty);
        let operators = if alone { Vec::new() } else { operators(&rest).map_err(refused)? };
        Ok(Self { subject, negated, exists, operators })
    }

    /// Whether it holds of a body. Of several values that the path selects, one is enough; a path that selects
    /// nothing is as good as `null` for all but `exists`. A leading `!` turns the whole round: no value does.
    pub fn holds(&self, body: &Value) -> bool {
        let found = self.subject.find(body);
        let as_wanted = self.exists.is_none_or(|wanted| wanted != found.is_empty());
        let some_value = match found.as_slice() {
            [] => all_hold(&self.operators, &Value::Null),
            found => found.iter().any(|value| all_hold(&self.operators, value)),
        };
        (as_wanted && some_value) != self.negated
    }
}

/// What it is about; not what is expected, which may be long.
impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.negated { "!" } else { "" }, self.subject)
    }
}

fn operators(expected: &Value) -> Result<Vec<Operator>, String> {
    match expected {
        Value::Array(values) => Ok(vec![Operator::OneOf(values.clone())]),
        Value::Object(named) if named.is_empty() => Err(format!("an operator is expected: {OPERATORS}")),
        Value::Object(named) => named.iter().map(|(name, operand)| Operator::new(name, operand)).collect(),
        plain => Ok(vec![Operator::OneOf(vec![plain.clone()])]),
    }
}

fn all_hold(operators: &[Operator], value: &Value) -> bool {
    operators.iter().all(|operator| operator.holds(value))
}

impl Operator {
    fn new(name: &str, operand: &Value) -> Result<Self, String> {
        let compares = |sides| match operand {
            Value::Number(bound) => Ok(Self::Compares(bound.clone(), sides)),
            _ => Err(format!("{name} compares with a number")),
        };
        match name {
            "in" => match operand {
                Value::Array(values) => Ok(Self::OneOf(values.clone())),
                _ => Err("in takes a list".into()),
            },
            "exists" => Err("exists stands on its own: write exists: false instead of a not".into()),
            "matches" => {
                let pattern = operand.as_str().ok_or("matches takes a regular expression")?;
                Regex::new(pattern).map(Self::Matches).map_err(|error| error.to_string())
            }
            "not" => operators(operand).map(Self::Not),
            "gt" => compares([Ordering::Greater; 2]),
            "gte" => compares([Ordering::Greater, Ordering::Equal]),
            "lt" => compares([Ordering::Less; 2]),
            "lte" => compares([Ordering::Less, Ordering::Equal]),
            unknown => Err(format!("{unknown:?} is no operator: {OPERATORS}")),
        }
    }

    fn holds(&self, value: &Value) -> bool {
        match self {
            Self::OneOf(values) => values.iter().any(|wanted| equal(wanted, value)),
            Self::Matches(pattern) => value.as_str().is_some_and(|text| pattern.is_match(text)),
            Self::Compares(bound, sides) => value
                .as_number()
                .and_then(|number| compare(number, bound))
                .is_some_and(|side| sides.contains(&side)),
            Self::Not(operators) => !all_hold(operators, value),
        }
    }
}

/// Numbers are equal by value (1 is 1.0), everything else as JSON is.
fn equal(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => compare(one, other) == Some(Ordering::Equal),
        _ => one == other,
    }
}

/// Integers exactly: the ids of large tables are beyond what floating point can tell apart.
fn compare(one: &Number, other: &Number) -> Option<Ordering> {
    match (one.as_i128(), other.as_i128()) {
        (Some(one), Some(other)) => Some(one.cmp(&other)),
        _ => one.as_f64()?.partial_cmp(&other.as_f64()?),
    }
}

#[cfg(test)]
#[expect(clippy::needless_pass_by_value, reason = "json! makes values")]
mod tests {
    use super::*;
    use serde_json::json;

    fn holds(subject: &str, expected: Value, body: Value) -> bool {
        Condition::new(subject, &expected).unwrap().holds(&body)
    }

    #[test]
    fn a_plain_value_is_equal_and_a_list_is_any_of_them() {
        assert!(holds("$.status", json!("published"), json!({"status": "published"})));
        assert!(!holds("$.status", json!("published"), json!({"status": "draft"})));
        assert!(holds("$.status", json!(["a", "b"]), json!({"status": "b"})));
        assert!(holds("$.n", json!(1), json!({"n": 1.0})));
        assert!(!holds("$.n", json!(1), json!({"n": "1"})));
        assert!(!holds("$.n", json!(9_007_199_254_740_992_u64), json!({"n": 9_007_199_254_740_993_u64})));
    }

    #[test]
    fn an_exclamation_mark_says_the_opposite() {
        assert!(holds("!$.archived", json!(true), json!({"archived": false})));
        assert!(holds("!$.archived", json!(true), json!({})));
        assert!(!holds("!$.archived", json!(true), json!({"archived": true})));
    }

    #[test]
    fn what_is_missing_is_as_good_as_null() {
        assert!(holds("$.a", json!(null), json!({})));
        assert!(!holds("$.a", json!({"exists": true}), json!({})));
        assert!(holds("$.a", json!({"exists": true}), json!({"a": null})));
        assert!(holds("$.a", json!({"exists": false}), json!({})));
        assert!(holds("$.a", json!({"not": 1}), json!({})));
        assert!(!holds("$.a", json!({"exists": true, "not": 1}), json!({})));
        assert!(!holds("$.a", json!({"lt": 1}), json!({})));
    }

    #[test]
    fn operators_say_what_they_say() {
        for (expected, yes, no) in [
            (json!({"gt": 3}), json!(4), json!(3)),
            (json!({"gte": 3}), json!(3), json!(2)),
            (json!({"lt": 3}), json!(2), json!(3)),
            (json!({"lte": 3}), json!(3), json!(4)),
            (json!({"gt": 1, "lt": 3}), json!(2), json!(3)),
            (json!({"matches": "^a"}), json!("ab"), json!("ba")),
            (json!({"in": [1, 2]}), json!(2), json!(3)),
            (json!({"not": 1}), json!(2), json!(1)),
            (json!({"not": [1, 2]}), json!(3), json!(2)),
            (json!({"not": {"gt": 1, "lt": 3}}), json!(3), json!(2)),
            (json!({"exists": true, "matches": "b$"}), json!("ab"), json!("ba")),
            (
                json!({"gt": 9_007_199_254_740_992_u64}),
                json!(9_007_199_254_740_993_u64),
                json!(9_007_199_254_740_992_u64),
            ),
            (json!({"gt": 0}), json!(0.5), json!("1")),
        ] {
            assert!(holds("$.a", expected.clone(), json!({"a": yes})), "{expected}");
            assert!(!holds("$.a", expected.clone(), json!({"a": no})), "{expected}");
        }
    }

    #[test]
    fn of_several_values_one_is_enough() {
        assert!(holds("$.tags[*]", json!("b"), json!({"tags": ["a", "b"]})));
        assert!(holds("$.tags[*]", json!({"not": "b"}), json!({"tags": ["a", "b"]})));
        assert!(!holds("!$.tags[*]", json!("b"), json!({"tags": ["a", "b"]})));
        // Both bounds must hold of the same one.
        assert!(!holds("$.n[*]", json!({"gt": 1, "lt": 3}), json!({"n": [0, 4]})));
    }

    #[test]
    fn what_is_no_condition_is_refused() {
        for (subject, expected) in [
            ("status", json!(1)),
            ("$.a", json!({})),
            ("$.a", json!({"gt": "x"})),
            ("$.a", json!({"grater": 1})),
            ("$.a", json!({"matches": "("})),
            ("$.a", json!({"in": 1})),
            ("$.a", json!({"exists": "yes"})),
            ("$.a", json!({"not": {"exists": true}})),
            ("$.a", json!({"not": {}})),
        ] {
            assert!(Condition::new(subject, &expected).is_err(), "{subject} {expected}");
        }
    }
}
