//! Changes to a `process` object of config.json, as `exec`'s caller asks for them. Pure.

use serde_json::{Value, json};

/// Changes to the `process` object.
#[derive(Debug, Default)]
pub(super) struct Edits {
    pub(super) args: Option<Vec<String>>,
    pub(super) env: Vec<String>,
    pub(super) cwd: Option<String>,
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
    pub(super) additional_gids: Vec<u32>,
    pub(super) capabilities: Vec<String>,
    pub(super) no_new_privileges: bool,
    pub(super) terminal: bool,
    /// Of the security modules: name and value.
    pub(super) labels: Vec<(&'static str, String)>,
}

/// What a process that says nothing of it has of its container's first one.
const INHERITED: [&str; 3] = ["oomScoreAdj", "apparmorProfile", "selinuxLabel"];

impl Edits {
    /// A further process of a container: as given, or as the container's `own`.
    pub(super) fn process(&self, given: Option<&Value>, own: &Value) -> Value {
        let mut process = given.cloned().unwrap_or_else(|| {
            let mut process = own.clone();
            process["terminal"] = false.into();
            process
        });
        for name in INHERITED {
            let given = process.get(name).is_some_and(|value| *value != "");
            if let (false, Some(own)) = (given, own.get(name)) {
                process[name] = own.clone();
            }
        }
        self.apply(&mut process);
        process
    }

    fn apply(&self, process: &mut Value) {
        if let Some(args) = &self.args {
            process["args"] = json!(args);
        }
        extend(process, "env", &self.env);
        if let Some(cwd) = &self.cwd {
            process["cwd"] = json!(cwd);
        }
        if let Some(uid) = self.uid {
            process["user"]["uid"] = json!(uid);
        }
        if let Some(gid) = self.gid {
            process["user"]["gid"] = json!(gid);
        }
        if !self.additional_gids.is_empty() {
            extend(
                &mut process["user"],
                "additionalGids",
                &self.additional_gids,
            );
        }
        if !self.capabilities.is_empty() {
            self.add_capabilities(&mut process["capabilities"]);
        }
        if self.no_new_privileges {
            process["noNewPrivileges"] = true.into();
        }
        if self.terminal {
            process["terminal"] = true.into();
        }
        for (name, value) in &self.labels {
            process[*name] = json!(value);
        }
    }

    fn add_capabilities(&self, sets: &mut Value) {
        for set in ["bounding", "effective", "permitted"] {
            extend(sets, set, &self.capabilities);
        }
        let inheritable = sets["inheritable"].as_array().cloned().unwrap_or_default();
        let ambient = self
            .capabilities
            .iter()
            .filter(|name| inheritable.contains(&json!(name)));
        let ambient: Vec<_> = ambient.collect();
        if !ambient.is_empty() {
            extend(sets, "ambient", &ambient);
        }
    }
}

fn extend<T: serde::Serialize>(object: &mut Value, name: &str, more: &[T]) {
    let mut list = object
        .get(name)
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    list.extend(more.iter().map(|item| json!(item)));
    object[name] = list.into();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_add_to_the_container_process() {
        let mut process = json!({
            "args": ["sh"], "env": ["A=1"], "cwd": "/", "user": { "uid": 0, "gid": 5 },
            "capabilities": { "bounding": ["CAP_KILL"], "inheritable": ["CAP_CHOWN"] },
        });
        let edits = Edits {
            args: Some(vec!["id".into(), "-u".into()]),
            env: vec!["B=2".into()],
            uid: Some(7),
            additional_gids: vec![9],
            capabilities: vec!["CAP_CHOWN".into(), "CAP_SYS_TIME".into()],
            no_new_privileges: true,
            ..Edits::default()
        };
        edits.apply(&mut process);
        let expect = json!({
            "args": ["id", "-u"], "env": ["A=1", "B=2"], "cwd": "/",
            "user": { "uid": 7, "gid": 5, "additionalGids": [9] },
            "capabilities": {
                "bounding": ["CAP_KILL", "CAP_CHOWN", "CAP_SYS_TIME"],
                "effective": ["CAP_CHOWN", "CAP_SYS_TIME"],
                "permitted": ["CAP_CHOWN", "CAP_SYS_TIME"],
                "inheritable": ["CAP_CHOWN"],
                "ambient": ["CAP_CHOWN"],
            },
            "noNewPrivileges": true,
        });
        assert_eq!(process, expect);
    }
}
