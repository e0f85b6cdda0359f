//! What the types that are read say to the JSON Schema.

use super::{Any, Either, Entries, Given, List, OneOrMany, Parse, Required, Text, Word};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use std::borrow::Cow;

/// The schema of a choice: each word with its documentation.
pub(in crate::config) fn words_schema(words: &[(&str, &[&str])]) -> Schema {
    let words = words.iter().map(|(word, doc)| {
        let doc = doc.join("\n");
        json_schema!({ "const": word, "description": doc.trim() })
    });
    any_of(words.chain([variable_schema()]))
}

/// A variable stands for a value of any type.
fn variable_schema() -> Schema {
    json_schema!({ "type": "string", "pattern": r"\$\{" })
}

/// Alternatives, without alternatives in them.
fn any_of(schemas: impl IntoIterator<Item = Schema>) -> Schema {
    let mut flat: Vec<serde_json::Value> = Vec::new();
    for schema in schemas {
        match schema.get("anyOf") {
            Some(serde_json::Value::Array(inner)) => flat.extend(inner.iter().cloned()),
            _ => flat.push(schema.to_value()),
        }
    }
    json_schema!({ "anyOf": flat })
}

/// What a wrapper says to the schema: `$schema` is made of the schemas of its parameters.
macro_rules! wrapper_schema {
    ($name:ident<$($parameter:ident),+>, $generator:ident => $schema:expr) => {
        impl<$($parameter: JsonSchema),+> JsonSchema for $name<$($parameter),+> {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> Cow<'static, str> {
                [stringify!($name) $(, &$parameter::schema_name())+].join("_").into()
            }
            fn json_schema($generator: &mut SchemaGenerator) -> Schema {
                $schema
            }
        }
    };
}

wrapper_schema!(Given<T>, generator => generator.subschema_for::<T>());
wrapper_schema!(Required<T>, generator => generator.subschema_for::<T>());
wrapper_schema!(List<T>, generator => generator.subschema_for::<Vec<T>>());
wrapper_schema!(OneOrMany<T>, generator =>
    any_of([generator.subschema_for::<T>(), generator.subschema_for::<Vec<T>>()]));
wrapper_schema!(Entries<T>, generator =>
    json_schema!({ "type": "object", "additionalProperties": generator.subschema_for::<T>() }));
wrapper_schema!(Either<A, B>, generator =>
    any_of([generator.subschema_for::<A>(), generator.subschema_for::<B>()]));

impl<T: Parse> JsonSchema for Word<T> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Word".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        if T::NEVER_QUOTED { any_of([T::schema(), variable_schema()]) } else { T::schema() }
    }
}

impl JsonSchema for Text {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Text".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "number", "boolean"] })
    }
}

impl JsonSchema for Any {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Any".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!(true)
    }
}
