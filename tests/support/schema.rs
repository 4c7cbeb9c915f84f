//! Checks JSON against `http.schema.json`. Only the keywords of JSON Schema that occur there are supported.

use serde_json::Value;

/// Returns the schema.
pub fn http_schema() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/http.schema.json");
    let text = std::fs::read_to_string(path).expect("the schema");
    serde_json::from_str(&text).expect("JSON")
}

/// Returns whether `value` is what `schema`, a part of `root`, describes. Panics if the schema uses an unknown keyword.
pub fn fits(root: &Value, schema: &Value, value: &Value) -> bool {
    let keywords = schema.as_object().expect("an object");
    keywords
        .iter()
        .all(|(keyword, rule)| match keyword.as_str() {
            "$schema" | "title" | "description" | "$defs" => true,
            "$ref" => {
                let path = rule.as_str().and_then(|path| path.strip_prefix('#'));
                let target = path.and_then(|path| root.pointer(path));
                fits(root, target.expect("a part of the schema"), value)
            }
            "oneOf" => {
                let kinds = rule.as_array().expect("an array");
                kinds.iter().filter(|kind| fits(root, kind, value)).count() == 1
            }
            "type" => match rule {
                Value::Array(types) => types.iter().any(|one| is_of_type(one, value)),
                one => is_of_type(one, value),
            },
            "enum" => rule.as_array().expect("an array").contains(value),
            "required" => {
                let mut names = rule.as_array().expect("an array").iter();
                names.all(|name| value.get(name.as_str().expect("a name")).is_some())
            }
            "properties" => {
                let mut rules = rule.as_object().expect("an object").iter();
                rules
                    .all(|(name, rule)| value.get(name).is_none_or(|value| fits(root, rule, value)))
            }
            "additionalProperties" => {
                let known = schema.get("properties");
                let is_known = |name: &str| known.is_some_and(|known| known.get(name).is_some());
                let mut members = value.as_object().into_iter().flatten();
                members.all(|(name, value)| {
                    is_known(name) || (*rule != Value::Bool(false) && fits(root, rule, value))
                })
            }
            keyword => panic!("{keyword} is not checked"),
        })
}

fn is_of_type(name: &Value, value: &Value) -> bool {
    match name.as_str().expect("a type") {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64(),
        "string" => value.is_string(),
        "object" => value.is_object(),
        name => panic!("{name} is not checked"),
    }
}
