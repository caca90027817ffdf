//! Messages from `path.to.field=value`, and fields of messages by `path.to.field`.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// A message with these fields over those it has. A value is JSON, or else a word.
pub(crate) fn with<M: Serialize + DeserializeOwned>(
    message: &M,
    fields: &[String],
) -> Result<M, String> {
    let mut tree = without_null(serde_json::to_value(message).map_err(|error| error.to_string())?);
    for field in fields {
        let (path, value) = field
            .split_once('=')
            .ok_or_else(|| format!("{field}: not FIELD=VALUE"))?;
        let value = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
        set(place(&mut tree, path)?, value);
    }
    let made: M =
        serde_json::from_value(tree).map_err(|error| format!("{}: {error}", fields.join(" ")))?;
    // serde passes over a name that no message has; a test must not.
    let back = serde_json::to_value(&made).map_err(|error| error.to_string())?;
    for field in fields {
        let path = field.split('=').next().unwrap_or_default();
        if find(&back, path).is_none() {
            return Err(format!("{path}: no such field"));
        }
    }
    Ok(made)
}

/// The fields with these paths, a word each; the whole message as JSON if there is none.
pub(crate) fn show<M: Serialize>(message: &M, paths: &[String]) -> Result<String, String> {
    let mut tree = serde_json::to_value(message).map_err(|error| error.to_string())?;
    // What containerd tells beyond the protocol is JSON in a string, most of it under "info" again.
    let beyond = tree.pointer("/info/info").and_then(Value::as_str);
    if let Some(beyond) = beyond.and_then(|text| serde_json::from_str(text).ok()) {
        tree["info"] = beyond;
    }
    if paths.is_empty() {
        return Ok(tree.to_string());
    }
    let word = |path: &String| match find(&tree, path) {
        Some(Value::String(word)) => Ok(word.clone()),
        Some(other) => Ok(other.to_string()),
        None => Err(format!("{path}: no such field")),
    };
    let words: Result<Vec<_>, _> = paths.iter().map(word).collect();
    Ok(words?.join(" "))
}

fn find<'a>(tree: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(tree, |at, name| match at {
        Value::Array(list) => list.get(name.parse::<usize>().ok()?),
        other => other.get(name),
    })
}

/// Sets a value; of an object, only what it has.
fn set(at: &mut Value, value: Value) {
    match (at, value) {
        (Value::Object(at), Value::Object(value)) => {
            for (name, value) in value {
                set(at.entry(name).or_insert(Value::Null), value);
            }
        }
        (at, value) => *at = value,
    }
}

/// The place of a field, which is made with all above it.
fn place<'a>(tree: &'a mut Value, path: &str) -> Result<&'a mut Value, String> {
    let mut at = tree;
    for name in path.split('.') {
        if at.is_null() {
            *at = Value::Object(Map::new());
        }
        let object = at
            .as_object_mut()
            .ok_or_else(|| format!("{path}: goes through what has no fields"))?;
        at = object.entry(name).or_insert(Value::Null);
    }
    Ok(at)
}

fn without_null(tree: Value) -> Value {
    match tree {
        Value::Object(map) => {
            let kept = map.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(
                kept.map(|(name, value)| (name, without_null(value)))
                    .collect(),
            )
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::{show, with};
    use crate::messages::{NamespaceOption, RunPodSandboxRequest};

    fn fields(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn sets_and_shows() {
        let check = |set: &[&str], asked: &[&str], expect: &str| {
            let made = with(&RunPodSandboxRequest::default(), &fields(set)).unwrap();
            assert_eq!(show(&made, &fields(asked)).unwrap(), expect);
        };
        let network = "config.linux.security_context.namespace_options.network";
        check(&[&format!("{network}=NODE")], &[network], "NODE");
        check(&[&format!("{network}=2")], &[network], "NODE");
        check(
            &["config.hostname=a", "runtime_handler=b"],
            &["runtime_handler", "config.hostname"],
            "b a",
        );
        check(
            &["config.linux.sysctls={\"a.b\":\"1\"}"],
            &["config.linux.sysctls"],
            "{\"a.b\":\"1\"}",
        );
    }

    #[test]
    fn refuses_what_nobody_reads() {
        for bad in [
            "networks=NODE",
            "network",
            "network=ELSEWHERE",
            "network.pid=1",
        ] {
            assert!(
                with(&NamespaceOption::default(), &fields(&[bad])).is_err(),
                "{bad}"
            );
        }
    }
}
