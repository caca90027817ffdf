//! The state record: what `create` writes ahead, and every later command
//! reads. Versioned JSON (docs/decisions/0002-state-record.md). Pure.

use super::hooks;
use crate::cgroup::Directories;
use crate::config::Hook;
use crate::config::resources::SeccompAgent;
use crate::plan::Described;
use crate::plan::{Plan, Side};
use crate::resctrl::Place;
use crate::systemd::Started;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Readers take their own and the previous version.
pub(crate) const VERSION: u64 = 1;

/// A container on disk.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    /// `create` is done: init said READY and this was written.
    pub(crate) complete: bool,
    pub(crate) oci_version: String,
    pub(crate) bundle: String,
    pub(crate) rootfs: String,
    pub(crate) annotations: BTreeMap<String, String>,
    pub(crate) created: String,
    /// What stamps everything that is ours.
    pub(crate) nonce: String,
    pub(crate) cgroup: Directories,
    /// Who made it, if it wasn't us.
    pub(crate) systemd: Option<Started>,
    pub(crate) init: Option<InitId>,
    /// Its processes share a session keyring.
    pub(crate) new_keyring: bool,
    /// Without one, SIGKILL means the whole cgroup.
    pub(crate) own_pid_namespace: bool,
    /// What `start` runs after the program was executed, and `delete` at its end.
    pub(crate) poststart: Vec<Hook>,
    pub(crate) poststop: Vec<Hook>,
    /// Who gets the listener of a filter that notifies, at `start`.
    pub(crate) seccomp_agent: Option<SeccompAgent>,
    /// Where what the program says of its readiness goes: a path, or an abstract name behind an `@`.
    pub(crate) notify_socket: Option<String>,
    /// The resctrl groups that its processes are in.
    pub(crate) resctrl: Option<Place>,
    /// The steps that `start` may fail at, by their index in the plan.
    pub(crate) steps: Vec<RecordedStep>,
}

/// Which process is init, for good: a number, when it started, in which boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InitId {
    pub(crate) pid: i32,
    pub(crate) start_time: u64,
    pub(crate) boot_id: String,
}

/// Config path and action of one step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RecordedStep {
    pub(crate) path: String,
    pub(crate) action: String,
}

impl Described for RecordedStep {
    fn path(&self) -> &str {
        &self.path
    }
    fn action(&self) -> String {
        self.action.clone()
    }
}

/// All steps by index; those before `start`, which can't fail any more, are left blank.
pub(crate) fn steps(plan: &Plan) -> Vec<RecordedStep> {
    let steps = plan
        .steps
        .iter()
        .take_while(|step| step.side != Side::After);
    let steps = steps.map(|step| match step.side {
        Side::Exec => RecordedStep {
            path: step.path.clone(),
            action: step.action.to_string(),
        },
        _ => RecordedStep {
            path: String::new(),
            action: String::new(),
        },
    });
    steps.collect()
}

impl InitId {
    /// One word, for a link that can't be half written.
    pub(crate) fn to_word(&self) -> String {
        format!("{}.{}.{}", self.pid, self.start_time, self.boot_id)
    }

    pub(crate) fn from_word(word: &str) -> Option<InitId> {
        let mut parts = word.splitn(3, '.');
        let pid = parts.next()?.parse().ok().filter(|pid| *pid > 0)?;
        let start_time = parts.next()?.parse().ok()?;
        Some(InitId {
            pid,
            start_time,
            boot_id: parts.next()?.to_owned(),
        })
    }
}

impl Record {
    /// config.md#process: a container that was created without one has nothing to execute.
    pub(crate) fn has_program(&self) -> bool {
        self.steps.iter().any(|step| step.path == "process.args")
    }

    pub(crate) fn to_json(&self) -> Value {
        let blank = self
            .steps
            .iter()
            .take_while(|step| step.path.is_empty() && step.action.is_empty())
            .count();
        let steps: Vec<_> = self.steps[blank..]
            .iter()
            .map(|step| json!([step.path, step.action]))
            .collect();
        json!({
            "version": VERSION,
            "complete": self.complete,
            "ociVersion": self.oci_version,
            "bundle": self.bundle,
            "rootfs": self.rootfs,
            "annotations": self.annotations,
            "created": self.created,
            "nonce": self.nonce,
            "cgroup": self.cgroup.to_json(),
            "systemd": self.systemd.as_ref().map(|started| json!([started.unit, started.bus])),
            "init": self.init.as_ref().map(InitId::to_word),
            "newKeyring": self.new_keyring,
            "ownPidNamespace": self.own_pid_namespace,
            "poststart": hooks::to_json(&self.poststart),
            "poststop": hooks::to_json(&self.poststop),
            "seccompAgent": self.seccomp_agent.as_ref().map(|agent| json!([agent.path, agent.metadata])),
            "notifySocket": self.notify_socket,
            "resctrl": self.resctrl.as_ref().map(Place::to_json),
            "firstStep": blank,
            "steps": steps,
        })
    }

    /// `None`: damaged, or of a version that we don't know.
    pub(crate) fn from_json(value: &Value) -> Option<Record> {
        if value.get("version")?.as_u64()? != VERSION {
            return None;
        }
        let text = |name: &str| value.get(name)?.as_str().map(str::to_owned);
        let annotations = value.get("annotations")?.as_object()?.iter();
        let blank = usize::try_from(value.get("firstStep")?.as_u64()?)
            .ok()
            .filter(|count| *count < 1_000_000)?;
        let mut steps = vec![
            RecordedStep {
                path: String::new(),
                action: String::new()
            };
            blank
        ];
        for step in value.get("steps")?.as_array()? {
            let part = |index: usize| step.get(index)?.as_str().map(str::to_owned);
            steps.push(RecordedStep {
                path: part(0)?,
                action: part(1)?,
            });
        }
        Some(Record {
            complete: value.get("complete")?.as_bool()?,
            oci_version: text("ociVersion")?,
            bundle: text("bundle")?,
            rootfs: text("rootfs")?,
            annotations: annotations
                .map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
                .collect::<Option<_>>()?,
            created: text("created")?,
            nonce: text("nonce")?,
            cgroup: Directories::from_json(value.get("cgroup")?)?,
            systemd: match value.get("systemd") {
                None | Some(Value::Null) => None,
                Some(started) => Some(Started {
                    unit: started.get(0)?.as_str()?.to_owned(),
                    bus: started.get(1)?.as_str()?.to_owned(),
                }),
            },
            init: text("init").as_deref().and_then(InitId::from_word),
            new_keyring: value.get("newKeyring")?.as_bool()?,
            own_pid_namespace: value.get("ownPidNamespace")?.as_bool()?,
            poststart: hooks::from_json(value.get("poststart"))?,
            poststop: hooks::from_json(value.get("poststop"))?,
            seccomp_agent: match value.get("seccompAgent") {
                None | Some(Value::Null) => None,
                Some(agent) => Some(SeccompAgent {
                    path: agent.get(0)?.as_str()?.to_owned(),
                    metadata: agent.get(1)?.as_str().map(str::to_owned),
                }),
            },
            notify_socket: match value.get("notifySocket") {
                None | Some(Value::Null) => None,
                Some(address) => Some(address.as_str()?.to_owned()),
            },
            resctrl: match value.get("resctrl") {
                None | Some(Value::Null) => None,
                Some(place) => Some(Place::from_json(place)?),
            },
            steps,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        let blank = RecordedStep {
            path: String::new(),
            action: String::new(),
        };
        Record {
            complete: true,
            oci_version: "1.2.0".into(),
            bundle: "/b".into(),
            rootfs: "/b/rootfs".into(),
            annotations: BTreeMap::from([("a".to_owned(), "b".to_owned())]),
            created: "2026-11-21T00:00:00Z".into(),
            nonce: "n".into(),
            cgroup: Directories(Vec::new()),
            systemd: Some(Started {
                unit: "a.scope".into(),
                bus: "unix:path=/b".into(),
            }),
            init: Some(InitId {
                pid: 7,
                start_time: 9,
                boot_id: "x-y".into(),
            }),
            new_keyring: true,
            own_pid_namespace: true,
            poststart: vec![Hook {
                path: "/bin/a".into(),
                args: vec!["a".into()],
                env: Some(vec!["A=1".into()]),
                timeout: Some(3),
            }],
            poststop: vec![Hook {
                path: "/bin/b".into(),
                args: vec!["/bin/b".into()],
                env: None,
                timeout: None,
            }],
            seccomp_agent: Some(SeccompAgent {
                path: "/run/agent".into(),
                metadata: Some("m".into()),
            }),
            notify_socket: Some("@host".into()),
            resctrl: Place::from_json(
                &json!({"root": "/r", "group": "g", "monitor": "m", "own": true}),
            ),
            steps: vec![
                blank,
                RecordedStep {
                    path: "process".into(),
                    action: "wait for start".into(),
                },
            ],
        }
    }

    #[test]
    fn a_record_survives_the_disk() {
        let record = record();
        let again = Record::from_json(&record.to_json()).unwrap();
        assert_eq!(format!("{record:?}"), format!("{again:?}"));
    }

    #[test]
    fn a_step_without_words_keeps_its_path() {
        let mut record = record();
        record.steps.insert(
            1,
            RecordedStep {
                path: "process".into(),
                action: String::new(),
            },
        );
        let again = Record::from_json(&record.to_json()).unwrap();
        assert_eq!(again.steps, record.steps);
    }

    #[test]
    fn another_version_or_a_missing_field_is_no_record() {
        let whole = record().to_json();
        for name in whole.as_object().unwrap().keys().filter(|name| {
            let later = [
                "systemd",
                "init",
                "poststart",
                "poststop",
                "seccompAgent",
                "notifySocket",
                "resctrl",
            ];
            !later.contains(&name.as_str())
        }) {
            let mut damaged = whole.clone();
            damaged.as_object_mut().unwrap().remove(name);
            assert!(Record::from_json(&damaged).is_none(), "{name}");
        }
        // A record of a release that knew no such hooks.
        let mut older = whole.clone();
        older.as_object_mut().unwrap().remove("poststop");
        assert!(Record::from_json(&older).unwrap().poststop.is_empty());
        let mut newer = whole;
        newer["version"] = json!(2);
        assert!(Record::from_json(&newer).is_none());
    }
}
