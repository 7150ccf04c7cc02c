//! Input validation as the server does it: a small zod with its messages, and the coercion of the REST adapter.
//! It must never be stricter or kinder than the recorded server: clients are tested against these answers.

use serde_json::{Map, Value, json};

pub(crate) type Input = Map<String, Value>;

#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// Text of at least this many characters.
    Text(usize),
    /// The base of an `appName`.
    AppName,
    Host,
    Number,
    /// A number between bounds, with the bound's own wording (`Port must be …`) when the flag is set.
    Between(i64, i64, bool),
    /// A number that the REST adapter does not coerce.
    Strict,
    Flag,
    OneOf(&'static [&'static str]),
    List(&'static Kind),
    /// Unknown keys are dropped.
    Object(&'static [Field]),
    /// Unknown keys are refused.
    Closed(&'static [Field]),
    Record(&'static Kind),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    Optional,
    Required,
    /// Required through `.required()` on an optional field: another message, no coercion.
    NonOptional,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Field {
    pub name: &'static str,
    pub kind: Kind,
    pub nullable: bool,
    pub need: Need,
}

pub(crate) const fn req(name: &'static str, kind: Kind) -> Field {
    Field { name, kind, nullable: false, need: Need::Required }
}

pub(crate) const fn opt(name: &'static str, kind: Kind) -> Field {
    Field { name, kind, nullable: false, need: Need::Optional }
}

pub(crate) const fn nul(name: &'static str, kind: Kind) -> Field {
    Field { name, kind, nullable: true, need: Need::Optional }
}

pub(crate) const fn must(name: &'static str, kind: Kind, nullable: bool) -> Field {
    Field { name, kind, nullable, need: Need::NonOptional }
}

#[derive(Debug, Default)]
struct Issues(Vec<Value>);

impl Issues {
    fn add(&mut self, path: &[Value], mut issue: Value, message: String) {
        issue["path"] = Value::from(path.to_vec());
        issue["message"] = Value::from(message);
        self.0.push(issue);
    }

    fn wrong(&mut self, path: &[Value], expected: &str, got: Option<&Value>) {
        let received = name_of(got);
        let issue = json!({"expected": expected, "code": "invalid_type"});
        self.add(path, issue, format!("Invalid input: expected {expected}, received {received}"));
    }

    fn not_a_number(&mut self, path: &[Value]) {
        let issue = json!({"expected": "number", "code": "invalid_type", "received": "NaN"});
        self.add(path, issue, "Invalid input: expected number, received NaN".to_owned());
    }
}

fn name_of(value: Option<&Value>) -> &'static str {
    match value {
        None => "undefined",
        Some(Value::Null) => "null",
        Some(Value::Bool(_)) => "boolean",
        Some(Value::Number(_)) => "number",
        Some(Value::String(_)) => "string",
        Some(Value::Array(_)) => "array",
        Some(Value::Object(_)) => "object",
    }
}

/// Checks an input object against a procedure's fields. Returns the known fields only, or the list of issues.
pub(crate) fn check(fields: &[Field], input: &Value, coerce: bool) -> Result<Input, Vec<Value>> {
    let mut issues = Issues::default();
    let Value::Object(given) = input else {
        issues.wrong(&[], "object", (!input.is_null()).then_some(input));
        return Err(issues.0);
    };
    let out = members(fields, given, &mut Vec::new(), coerce, &mut issues);
    if issues.0.is_empty() { Ok(out) } else { Err(issues.0) }
}

fn members(
    fields: &[Field],
    given: &Input,
    path: &mut Vec<Value>,
    coerce: bool,
    issues: &mut Issues,
) -> Input {
    let mut out = Input::new();
    for field in fields {
        let value = given.get(field.name);
        path.push(Value::from(field.name));
        let coerced = (coerce && field.need != Need::NonOptional).then(|| adapt(field, value)).flatten();
        match (coerced.as_ref().or(value), field.need) {
            (None, Need::Optional) => {}
            (None, Need::Required) => issues.wrong(path, expected(field.kind), None),
            (None, Need::NonOptional) => {
                let issue = json!({"code": "invalid_type", "expected": "nonoptional"});
                issues.add(path, issue, "Invalid input: expected nonoptional, received undefined".to_owned());
            }
            (Some(Value::Null), _) if field.nullable => {
                out.insert(field.name.to_owned(), Value::Null);
            }
            (Some(value), _) => {
                if let Some(value) = one(field.kind, value, path, coerced.is_some(), issues) {
                    out.insert(field.name.to_owned(), value);
                }
            }
        }
        path.pop();
    }
    out
}

const fn expected(kind: Kind) -> &'static str {
    match kind {
        Kind::Text(_) | Kind::AppName | Kind::Host => "string",
        Kind::Number | Kind::Strict | Kind::Between(..) => "number",
        Kind::Flag => "boolean",
        Kind::OneOf(_) => "option",
        Kind::List(_) => "array",
        Kind::Object(_) | Kind::Closed(_) => "object",
        Kind::Record(_) => "record",
    }
}

/// What JavaScript's `Number(x)` and `Boolean(x)` make of a value; a string stands for NaN.
fn adapt(field: &Field, value: Option<&Value>) -> Option<Value> {
    let null = matches!(value, Some(Value::Null));
    if field.nullable && null || field.need == Need::Optional && value.is_none() {
        return None;
    }
    match field.kind {
        Kind::Number | Kind::Between(..) => Some(number(value?).unwrap_or_else(|| Value::from("NaN"))),
        Kind::Flag => Some(Value::Bool(truthy(value))),
        // A single query value is wrapped when the schema wants a list.
        _ => None,
    }
}

fn number(value: &Value) -> Option<Value> {
    Some(match value {
        Value::Null => Value::from(0),
        Value::Bool(on) => Value::from(i64::from(*on)),
        Value::Number(_) => value.clone(),
        Value::String(text) => {
            let text = text.trim();
            if text.is_empty() {
                return Some(Value::from(0));
            }
            match text.parse::<i64>() {
                Ok(n) => Value::from(n),
                Err(_) => text.parse::<f64>().ok().filter(|n| n.is_finite()).map(Value::from)?,
            }
        }
        Value::Array(list) => match list.as_slice() {
            [] => Value::from(0),
            [only] => number(only)?,
            _ => return None,
        },
        Value::Object(_) => return None,
    })
}

fn truthy(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null) => false,
        Some(Value::Bool(on)) => *on,
        Some(Value::Number(n)) => n.as_f64() != Some(0.0),
        Some(Value::String(text)) => !text.is_empty(),
        Some(Value::Array(_) | Value::Object(_)) => true,
    }
}

fn one(
    kind: Kind,
    value: &Value,
    path: &mut Vec<Value>,
    coerced: bool,
    issues: &mut Issues,
) -> Option<Value> {
    match (kind, value) {
        (Kind::Flag, Value::Bool(_)) => Some(value.clone()),
        (Kind::Text(_) | Kind::AppName | Kind::Host, Value::String(text)) => {
            text_rules(kind, text, path, issues);
            Some(value.clone())
        }
        (Kind::Number | Kind::Strict, Value::Number(_)) => Some(whole(value)),
        (Kind::Between(low, high, port), Value::Number(n)) => {
            let n = n.as_f64().unwrap_or_default();
            bounds(n, low, high, port, path, issues);
            Some(whole(value))
        }
        (Kind::Number | Kind::Between(..), Value::String(_)) if coerced => {
            issues.not_a_number(path);
            None
        }
        (Kind::OneOf(options), _) => {
            if value.as_str().is_some_and(|text| options.contains(&text)) {
                return Some(value.clone());
            }
            let list = options.iter().map(|o| format!("{o:?}")).collect::<Vec<_>>().join("|");
            let issue = json!({"code": "invalid_value", "values": options});
            issues.add(path, issue, format!("Invalid option: expected one of {list}"));
            None
        }
        (Kind::List(inner), Value::Array(list)) => {
            let mut out = Vec::with_capacity(list.len());
            for (at, item) in list.iter().enumerate() {
                path.push(Value::from(at));
                out.extend(one(*inner, item, path, false, issues));
                path.pop();
            }
            Some(Value::Array(out))
        }
        (Kind::Object(fields), Value::Object(given)) => {
            Some(Value::Object(members(fields, given, path, false, issues)))
        }
        (Kind::Closed(fields), Value::Object(given)) => {
            let out = members(fields, given, path, false, issues);
            let strange: Vec<&String> =
                given.keys().filter(|key| !fields.iter().any(|f| f.name == key.as_str())).collect();
            if !strange.is_empty() {
                let names = strange.iter().map(|k| format!("{k:?}")).collect::<Vec<_>>().join(", ");
                let plural = if strange.len() > 1 { "s" } else { "" };
                let issue = json!({"code": "unrecognized_keys", "keys": strange});
                issues.add(path, issue, format!("Unrecognized key{plural}: {names}"));
            }
            Some(Value::Object(out))
        }
        (Kind::Record(inner), Value::Object(given)) => {
            let mut out = Input::new();
            for (key, item) in given {
                path.push(Value::from(key.as_str()));
                if let Some(item) = one(*inner, item, path, false, issues) {
                    out.insert(key.clone(), item);
                }
                path.pop();
            }
            Some(Value::Object(out))
        }
        _ => {
            issues.wrong(path, expected(kind), Some(value));
            None
        }
    }
}

/// `1000.0` is `1000` once JavaScript has seen it.
fn whole(value: &Value) -> Value {
    match value.as_f64() {
        Some(n) if value.is_f64() && n.fract() == 0.0 && n.abs() < 9e15 => Value::from(n as i64),
        _ => value.clone(),
    }
}

fn bounds(n: f64, low: i64, high: i64, port: bool, path: &[Value], issues: &mut Issues) {
    if n < low as f64 {
        let message = if port {
            format!("Port must be at least {low}")
        } else {
            format!("Too small: expected number to be >={low}")
        };
        issues.add(
            path,
            json!({"origin": "number", "code": "too_small", "minimum": low, "inclusive": true}),
            message,
        );
    }
    if n > high as f64 {
        let message = if port {
            format!("Port must be {high} or below")
        } else {
            format!("Too big: expected number to be <={high}")
        };
        issues.add(
            path,
            json!({"origin": "number", "code": "too_big", "maximum": high, "inclusive": true}),
            message,
        );
    }
}

fn text_rules(kind: Kind, text: &str, path: &[Value], issues: &mut Issues) {
    let small =
        |min: usize| json!({"origin": "string", "code": "too_small", "minimum": min, "inclusive": true});
    let length = text.encode_utf16().count();
    match kind {
        Kind::Text(min) if length < min => {
            issues.add(path, small(min), format!("Too small: expected string to have >={min} characters"));
        }
        Kind::AppName => {
            if text.is_empty() {
                issues.add(path, small(1), "Too small: expected string to have >=1 characters".to_owned());
            }
            if length > 63 {
                let issue = json!({"origin": "string", "code": "too_big", "maximum": 63, "inclusive": true});
                issues.add(path, issue, "Too big: expected string to have <=63 characters".to_owned());
            }
            if text.is_empty()
                || !text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
            {
                let pattern = "/^[a-zA-Z0-9._-]+$/";
                let issue = json!({"origin": "string", "code": "invalid_format", "format": "regex", "pattern": pattern});
                let message = "App name can only contain letters, numbers, dots, underscores and hyphens";
                issues.add(path, issue, message.to_owned());
            }
        }
        Kind::Host => {
            if text.is_empty() {
                issues.add(path, small(1), "Add a hostname".to_owned());
            } else if text.trim() != text {
                let message = "Domain name cannot have leading or trailing spaces";
                issues.add(path, json!({"code": "custom"}), message.to_owned());
            } else if !host_ok(text) {
                let message = "Invalid domain name. Use only letters, numbers, hyphens and dots (e.g. example.com). \
                               Underscores are not allowed.";
                issues.add(path, json!({"code": "custom"}), message.to_owned());
            }
        }
        _ => {}
    }
}

fn host_ok(host: &str) -> bool {
    host.split('.').all(|label| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-')
    })
}

/// `data.zodError` for a list of issues.
pub(crate) fn flatten(issues: &[Value]) -> Value {
    let mut form = Vec::new();
    let mut fields = Input::new();
    for issue in issues {
        let message = issue["message"].clone();
        match issue["path"].get(0).and_then(Value::as_str) {
            None => form.push(message),
            Some(field) => {
                let list = fields.entry(field.to_owned()).or_insert_with(|| Value::Array(Vec::new()));
                if let Value::Array(list) = list {
                    list.push(message);
                }
            }
        }
    }
    json!({"formErrors": form, "fieldErrors": fields})
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIELDS: &[Field] =
        &[opt("replicas", Kind::Number), nul("autoDeploy", Kind::Flag), nul("port", Kind::Number)];

    fn rest(input: Value) -> Result<Input, Vec<Value>> {
        check(FIELDS, &input, true)
    }

    #[test]
    fn rest_coerces_as_javascript_does() {
        let seen = |v: Value| rest(json!({"replicas": v})).map(|out| out["replicas"].clone());
        for (given, stored) in
            [(json!(null), 0), (json!(""), 0), (json!([]), 0), (json!(true), 1), (json!([5]), 5)]
        {
            assert_eq!(seen(given), Ok(json!(stored)));
        }
        assert_eq!(seen(json!(" 7 ")), Ok(json!(7)));
        assert_eq!(seen(json!(1000.0)), Ok(json!(1000)));
        assert!(seen(json!({})).is_err() && seen(json!("abc")).is_err());
        let flag = |v: Value| rest(json!({"autoDeploy": v})).map(|out| out["autoDeploy"].clone());
        assert_eq!(flag(json!("false")), Ok(json!(true)));
        assert_eq!(flag(json!("")), Ok(json!(false)));
        assert_eq!(flag(json!(null)), Ok(json!(null)));
        assert_eq!(
            rest(json!({"port": null, "odd": 1})),
            Ok(Input::from_iter([("port".into(), json!(null))]))
        );
    }

    #[test]
    fn trpc_does_not_coerce() {
        let issues = check(FIELDS, &json!({"replicas": "3"}), false).unwrap_err();
        assert_eq!(issues[0]["message"], "Invalid input: expected number, received string");
    }
}
