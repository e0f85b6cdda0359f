//! One entry of `when:`: what must hold of an event's body. PURE.

use regex::Regex;
use serde_json::Value;

use super::event::{Selector, SelectorError};

/// A JSONPath and what is expected of what it selects.
#[derive(Clone, Debug)]
pub struct Condition {
    subject: Selector,
    negated: bool,
    expected: Expected,
}

#[derive(Clone, Debug)]
enum Expected {
    OneOf(Vec<Value>),
    Exists(bool),
    Matches(Regex),
    Compares(Comparison, f64),
    Not(Value),
    /// What `"!$.archived": true` would say is never a list.
    All(Vec<Expected>),
}

#[derive(Clone, Copy, Debug)]
enum Comparison {
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
}

impl Condition {
    /// `subject`: a JSONPath, negated by a leading `!`. `expected`: a plain value (equal), a list (any of them), or
    /// a mapping of operators that must all hold: `in`, `exists`, `matches`, `gt`, `gte`, `lt`, `lte`, `not`.
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
        let expected = Expected::new(expected).map_err(|message| SelectorError { at: 0, message })?;
        Ok(Self { subject, negated, expected })
    }

    /// Whether it holds of a body. Of several values that the path selects, one is enough; a path that selects
    /// nothing is as good as `null`.
    pub fn holds(&self, body: &Value) -> bool {
        let found = self.subject.find(body);
        let holds = match (&self.expected, found.as_slice()) {
            (Expected::Exists(wanted), found) => !found.is_empty() == *wanted,
            (expected, []) => expected.holds(&Value::Null),
            (expected, found) => found.iter().any(|value| expected.holds(value)),
        };
        holds != self.negated
    }
}

impl Expected {
    fn new(value: &Value) -> Result<Self, String> {
        match value {
            Value::Array(values) => Ok(Self::OneOf(values.clone())),
            Value::Object(operators) if operators.is_empty() => {
                Err("an operator is expected: in, exists, matches, gt, gte, lt, lte, not".into())
            }
            Value::Object(operators) => {
                let all: Result<Vec<_>, _> =
                    operators.iter().map(|(operator, operand)| Self::operator(operator, operand)).collect();
                let mut all = all?;
                Ok(if all.len() == 1 { all.remove(0) } else { Self::All(all) })
            }
            plain => Ok(Self::OneOf(vec![plain.clone()])),
        }
    }

    fn operator(operator: &str, operand: &Value) -> Result<Self, String> {
        let number = |comparison| {
            let bound = operand.as_f64().ok_or_else(|| format!("{operator} compares with a number"))?;
            Ok(Self::Compares(comparison, bound))
        };
        match operator {
            "in" => match operand {
                Value::Array(values) => Ok(Self::OneOf(values.clone())),
                _ => Err("in takes a list".into()),
            },
            "exists" => {
                operand.as_bool().map(Self::Exists).ok_or_else(|| "exists takes true or false".into())
            }
            "matches" => {
                let pattern = operand.as_str().ok_or("matches takes a regular expression")?;
                Regex::new(pattern).map(Self::Matches).map_err(|error| error.to_string())
            }
            "not" => Ok(Self::Not(operand.clone())),
            "gt" => number(Comparison::Greater),
            "gte" => number(Comparison::GreaterOrEqual),
            "lt" => number(Comparison::Less),
            "lte" => number(Comparison::LessOrEqual),
            unknown => Err(format!("{unknown:?} is no operator: in, exists, matches, gt, gte, lt, lte, not")),
        }
    }

    fn holds(&self, value: &Value) -> bool {
        match self {
            Self::OneOf(values) => values.iter().any(|wanted| equal(wanted, value)),
            Self::Exists(wanted) => *wanted,
            Self::Matches(pattern) => value.as_str().is_some_and(|text| pattern.is_match(text)),
            Self::Compares(comparison, bound) => value.as_f64().is_some_and(|number| match comparison {
                Comparison::Greater => number > *bound,
                Comparison::GreaterOrEqual => number >= *bound,
                Comparison::Less => number < *bound,
                Comparison::LessOrEqual => number <= *bound,
            }),
            Self::Not(unwanted) => !equal(unwanted, value),
            Self::All(all) => all.iter().all(|expected| expected.holds(value)),
        }
    }
}

/// Numbers are equal by value (1 is 1.0), everything else as JSON is.
fn equal(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => one == other || one.as_f64() == other.as_f64(),
        _ => one == other,
    }
}

#[cfg(test)]
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
        assert!(holds("$.a", json!({"not": 1}), json!({})));
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
        ] {
            assert!(holds("$.a", expected.clone(), json!({"a": yes})), "{expected}");
            assert!(!holds("$.a", expected.clone(), json!({"a": no})), "{expected}");
        }
    }

    #[test]
    fn of_several_values_one_is_enough() {
        assert!(holds("$.tags[*]", json!("b"), json!({"tags": ["a", "b"]})));
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
        ] {
            assert!(Condition::new(subject, &expected).is_err(), "{subject} {expected}");
        }
    }
}
