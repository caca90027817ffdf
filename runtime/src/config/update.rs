//! What `update` asks for, and all that a container is asked to hold then. Pure.
//!
//! As JSON throughout: the field's types can't tell what is there from what is not.

use serde_json::{Map, Value};

/// Of these a zero, or an empty text, asks for nothing: engines write them for all that they know.
/// cgroup/limits.rs has the same rule.
const UNSET: &[&str] = &[
    "memory.limit",
    "memory.swap",
    "memory.reservation",
    "memory.kernel",
    "memory.kernelTCP",
    "cpu.shares",
    "cpu.quota",
    "cpu.period",
    "cpu.realtimeRuntime",
    "cpu.realtimePeriod",
    "cpu.cpus",
    "cpu.mems",
    "blockIO.weight",
    "blockIO.leafWeight",
    "network.classID",
];

/// Lists in which each item is about something else, and the members that say about what.
const ABOUT: &[(&str, &[&str])] = &[
    ("blockIO.weightDevice", DEVICE),
    ("blockIO.throttleReadBpsDevice", DEVICE),
    ("blockIO.throttleWriteBpsDevice", DEVICE),
    ("blockIO.throttleReadIOPSDevice", DEVICE),
    ("blockIO.throttleWriteIOPSDevice", DEVICE),
    ("hugepageLimits", &["pageSize"]),
    ("network.priorities", &["name"]),
];
const DEVICE: &[&str] = &["major", "minor"];

/// An update of `linux.resources` without what asks for nothing, and without devices, which no update
/// touches: what else has rules there, for a GPU, would lose them.
pub(crate) fn asked(update: &Value) -> Value {
    let Value::Object(members) = update else {
        return Value::Object(Map::new());
    };
    let members = members.iter().filter(|(name, _)| *name != "devices");
    pruned(members, "")
}

fn pruned<'a>(members: impl Iterator<Item = (&'a String, &'a Value)>, at: &str) -> Value {
    let kept = members.filter_map(|(name, value)| {
        let at = join(at, name);
        let nothing = |value: &Value| value.as_f64() == Some(0.0) || *value == "";
        match value {
            Value::Null => None,
            Value::Object(members) => Some((name.clone(), pruned(members.iter(), &at))),
            value if UNSET.contains(&&*at) && nothing(value) => None,
            value => Some((name.clone(), value.clone())),
        }
    });
    Value::Object(kept.collect())
}

/// All that holds after the update: what it leaves out stays. Items of lists that it has come first, so that
/// their paths are the update's own.
pub(crate) fn merged(stored: &Value, asked: &Value) -> Value {
    let mut merged = stored.clone();
    let memory = |name: &str| asked.pointer(&format!("/memory/{name}"));
    // Who lifts the limit on memory and says nothing of swap means both.
    if memory("limit").and_then(Value::as_i64) == Some(-1)
        && memory("swap").is_none()
        && let Some(Value::Object(memory)) = merged.pointer_mut("/memory")
    {
        memory.remove("swap");
    }
    merge(&mut merged, asked, "");
    merged
}

fn merge(into: &mut Value, update: &Value, at: &str) {
    let about = ABOUT.iter().find(|(list, _)| *list == at);
    match (&mut *into, update, about) {
        (Value::Object(into), Value::Object(update), _) => {
            for (name, value) in update {
                let slot = into.entry(name.clone()).or_insert(Value::Null);
                merge(slot, value, &join(at, name));
            }
        }
        (Value::Array(old), Value::Array(new), Some((_, keys))) => {
            let same = |a: &Value, b: &Value| keys.iter().all(|key| a.get(key) == b.get(key));
            let mut items = new.clone();
            for item in &mut items {
                if let Some(index) = old.iter().position(|old| same(old, item)) {
                    let mut before = old.remove(index);
                    merge(&mut before, item, "");
                    *item = before;
                }
            }
            items.append(old);
            *old = items;
        }
        _ => *into = update.clone(),
    }
}

/// Whether an update speaks of the property, by the path that writes and errors have it under:
/// `linux.resources.blockIO.weightDevice[0].weight`, `linux.resources.unified (memory.max)`.
pub(crate) fn speaks_of(asked: &Value, path: &str) -> bool {
    let path = path.strip_prefix("linux.resources.").unwrap_or(path);
    let (path, member) = match path.split_once(" (") {
        Some((path, member)) => (path, member.strip_suffix(')')),
        None => (path, None),
    };
    let mut at = Some(asked);
    for part in path.split('.') {
        let (name, index) = part.split_once('[').unwrap_or((part, ""));
        at = at.and_then(|value| value.get(name));
        if let Ok(index) = index.trim_end_matches(']').parse::<usize>() {
            at = at.and_then(|value| value.get(index));
        }
    }
    match member {
        Some(member) => at.is_some_and(|value| value.get(member).is_some()),
        None => at.is_some(),
    }
}

fn join(at: &str, name: &str) -> String {
    let dot = if at.is_empty() { "" } else { "." };
    format!("{at}{dot}{name}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_asks_for_nothing_is_left_out() {
        let check = |update: Value, expect: Value| assert_eq!(asked(&update), expect);
        check(json!(null), json!({}));
        check(
            json!({"memory":{"limit":0,"swap":-1}}),
            json!({"memory":{"swap":-1}}),
        );
        check(
            json!({"cpu":{"cpus":"","mems":"0","idle":0,"burst":0}}),
            json!({"cpu":{"mems":"0","idle":0,"burst":0}}),
        );
        check(
            json!({"pids":{"limit":0},"devices":[{"allow":true}]}),
            json!({"pids":{"limit":0}}),
        );
        check(
            json!({"pids":null,"hugepageLimits":[{"pageSize":"2MB","limit":0}]}),
            json!({"hugepageLimits":[{"pageSize":"2MB","limit":0}]}),
        );
    }

    #[test]
    fn what_is_left_out_stays() {
        let check = |stored: Value, update: Value, expect: Value| {
            assert_eq!(merged(&stored, &asked(&update)), expect);
        };
        let all = json!({"cpu":{"burst":5,"idle":1,"cpus":"0"},"pids":{"limit":7},"devices":[1]});
        check(all.clone(), json!({}), all.clone());
        check(
            all,
            json!({"cpu":{"quota":9},"devices":[]}),
            json!({"cpu":{"burst":5,"idle":1,"cpus":"0","quota":9},"pids":{"limit":7},"devices":[1]}),
        );
        check(
            json!(null),
            json!({"pids":{"limit":1}}),
            json!({"pids":{"limit":1}}),
        );
        check(
            json!({"memory":{"limit":4,"swap":8}}),
            json!({"memory":{"limit":-1}}),
            json!({"memory":{"limit":-1}}),
        );
        check(
            json!({"memory":{"limit":4,"swap":8}}),
            json!({"memory":{"limit":-1,"swap":9}}),
            json!({"memory":{"limit":-1,"swap":9}}),
        );
        check(
            json!({"blockIO":{"weightDevice":[{"major":8,"minor":0,"weight":1,"leafWeight":2},{"major":8,"minor":1,"weight":3}]}}),
            json!({"blockIO":{"weightDevice":[{"major":9,"minor":0,"weight":5},{"major":8,"minor":0,"weight":4}]}}),
            json!({"blockIO":{"weightDevice":[{"major":9,"minor":0,"weight":5},
                {"major":8,"minor":0,"weight":4,"leafWeight":2},{"major":8,"minor":1,"weight":3}]}}),
        );
    }

    #[test]
    fn paths_of_an_update() {
        let update = json!({"memory":{"limit":1},"hugepageLimits":[{"limit":1}],"unified":{"memory.max":"1"},
            "blockIO":{"weightDevice":[{"weight":1}]},"rdma":{"mlx5_1":{}}});
        for path in [
            "memory.limit",
            "hugepageLimits[0]",
            "unified (memory.max)",
            "blockIO.weightDevice[0].weight",
            "rdma (mlx5_1)",
        ] {
            assert!(
                speaks_of(&update, &format!("linux.resources.{path}")),
                "{path}"
            );
        }
        for path in [
            "memory.swap",
            "hugepageLimits[1]",
            "unified (memory.low)",
            "blockIO.weightDevice[0].leafWeight",
            "pids.limit",
        ] {
            assert!(
                !speaks_of(&update, &format!("linux.resources.{path}")),
                "{path}"
            );
        }
    }
}
