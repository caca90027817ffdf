//! One pass over the bytes of config.json, before the field's types see them:
//! duplicate names, what is present. Pure.
//!
//! oci-spec loses what the spec needs told apart (docs/decisions/packages.md):
//! duplicates vanish, an unknown capability fails the parse, `pids.limit` 0 and
//! absent are one. Such facts are read from here.

use super::strict::strict;
use crate::error::Error;
use serde_json::Value;

/// The most bytes a config.json may have.
const MAX_BYTES: usize = 16 << 20;

/// NOT RECOMMENDED by config-linux.md#memory; Linux has taken them away (5.16) or is about to.
/// cgroup v2 never had them: there it is an error.
const IGNORED: &[&str] = &[
    "linux.resources.memory.kernel",
    "linux.resources.memory.kernelTCP",
];

/// What must be an object, or a list of objects after `[]`, or a map of them after `.*`. serde reads a list as a structure too,
/// and an empty one as a structure that asks for nothing.
const OBJECTS: &[&str] = &[
    "root",
    "process",
    "process.user",
    "process.capabilities",
    "process.consoleSize",
    "process.scheduler",
    "process.ioPriority",
    "process.execCPUAffinity",
    "process.rlimits[]",
    "hooks",
    "hooks.prestart[]",
    "hooks.createRuntime[]",
    "hooks.createContainer[]",
    "hooks.startContainer[]",
    "hooks.poststart[]",
    "hooks.poststop[]",
    "mounts[]",
    "annotations",
    "linux",
    "linux.namespaces[]",
    "linux.uidMappings[]",
    "linux.gidMappings[]",
    "linux.devices[]",
    "linux.netDevices",
    "linux.netDevices.*",
    "linux.resources",
    "linux.resources.devices[]",
    "linux.resources.memory",
    "linux.resources.cpu",
    "linux.resources.pids",
    "linux.resources.blockIO",
    "linux.resources.blockIO.weightDevice[]",
    "linux.resources.blockIO.throttleReadBpsDevice[]",
    "linux.resources.blockIO.throttleWriteBpsDevice[]",
    "linux.resources.blockIO.throttleReadIOPSDevice[]",
    "linux.resources.blockIO.throttleWriteIOPSDevice[]",
    "linux.resources.hugepageLimits[]",
    "linux.resources.network",
    "linux.resources.network.priorities[]",
    "linux.resources.rdma",
    "linux.resources.unified",
    "linux.sysctl",
    "linux.personality",
    "linux.memoryPolicy",
    "linux.intelRdt",
    "linux.timeOffsets",
    "linux.timeOffsets.monotonic",
    "linux.timeOffsets.boottime",
    "linux.seccomp",
    "linux.seccomp.syscalls[]",
];

/// config.json as JSON, known to have no duplicate names.
#[derive(Debug)]
pub(crate) struct Raw {
    pub(crate) value: Value,
    pub(crate) warnings: Vec<String>,
}

impl Raw {
    pub(crate) fn parse(json: &[u8]) -> Result<Raw, Vec<Error>> {
        let raw = Raw::read(json).map_err(|error| vec![error])?;
        raw.of_objects()
    }

    /// Whatever it consists of: see `not_objects`.
    pub(crate) fn read(json: &[u8]) -> Result<Raw, Error> {
        if json.len() > MAX_BYTES {
            return Err(Error::config(
                "config.json",
                format!("larger than {MAX_BYTES} bytes"),
            ));
        }
        let mut raw = Raw::new(strict(json, "config.json")?);
        raw.drop_unknown_capabilities();
        raw.respell();
        Ok(raw)
    }

    /// `linux.resources` alone, in its place.
    pub(crate) fn of_resources(value: Value) -> Result<Raw, Vec<Error>> {
        Raw::new(serde_json::json!({ "linux": { "resources": value } })).of_objects()
    }

    fn new(value: Value) -> Raw {
        let mut raw = Raw {
            value,
            warnings: Vec::new(),
        };
        let ignored = IGNORED
            .iter()
            .filter(|path| raw.get(path).is_some_and(asks));
        raw.warnings = ignored
            .map(|path| format!("{path}: Linux has no such limit any more; ignored"))
            .collect();
        raw
    }

    fn of_objects(self) -> Result<Raw, Vec<Error>> {
        let problems = self.not_objects();
        if problems.is_empty() {
            Ok(self)
        } else {
            Err(problems)
        }
    }

    /// What should be an object and isn't.
    pub(crate) fn not_objects(&self) -> Vec<Error> {
        let mut problems = Vec::new();
        let wrong = |value: &Value| !value.is_object() && !value.is_null();
        for path in OBJECTS {
            if let Some(map) = path.strip_suffix(".*") {
                let members = self.get(map).and_then(Value::as_object);
                let wrong = members
                    .into_iter()
                    .flatten()
                    .filter(|(_, member)| !member.is_object());
                problems.extend(
                    wrong.map(|(name, _)| {
                        Error::config(format!("{map}.{name}"), "is not an object")
                    }),
                );
                continue;
            }
            let Some(list) = path.strip_suffix("[]") else {
                if self.get(path).is_some_and(wrong) {
                    problems.push(Error::config(*path, "is not an object"));
                }
                continue;
            };
            let items = self.get(list).and_then(Value::as_array);
            if let Some(index) =
                items.and_then(|items| items.iter().position(|item| !item.is_object()))
            {
                problems.push(Error::config(
                    format!("{list}[{index}]"),
                    "is not an object",
                ));
            }
            // Each condition of a rule is an object as well.
            let arguments = items
                .into_iter()
                .flatten()
                .filter_map(|item| item.get("args")?.as_array());
            if *path == "linux.seccomp.syscalls[]"
                && arguments.flatten().any(|argument| !argument.is_object())
            {
                problems.push(Error::config(
                    "linux.seccomp.syscalls.args",
                    "is not a list of objects",
                ));
            }
        }
        problems
    }

    /// The value at a dotted path.
    pub(crate) fn get(&self, path: &str) -> Option<&Value> {
        path.split('.')
            .try_fold(&self.value, |value, name| value.get(name))
    }

    /// oci-spec reads this flag by a name that the spec doesn't have.
    fn respell(&mut self) {
        let flags = self.value.pointer_mut("/process/scheduler/flags");
        for flag in flags.and_then(Value::as_array_mut).into_iter().flatten() {
            if flag == "SCHED_FLAG_DL_OVERRUN" {
                *flag = "SCHED_FLAG_D_L_OVERRUN".into();
            }
        }
    }

    /// config.md#linux-process: an unknown capability warns and is left out.
    fn drop_unknown_capabilities(&mut self) {
        let Some(Value::Object(sets)) = self.value.pointer_mut("/process/capabilities") else {
            return;
        };
        for (set, names) in sets {
            let Value::Array(names) = names else { continue };
            names.retain(|name| {
                let known =
                    !name.is_string() || name.as_str().and_then(capability_number).is_some();
                if !known {
                    self.warnings.push(format!(
                        "process.capabilities.{set}: unknown capability {name} ignored"
                    ));
                }
                known
            });
        }
    }
}

/// `CAP_CHOWN` is 0.
pub(crate) fn capability_number(name: &str) -> Option<u8> {
    name.parse::<caps::Capability>()
        .ok()
        .map(|capability| capability.index())
}

/// Does this value ask for anything? Engines write empty ones for everything they know.
fn asks(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::Bool(true) => true,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => items.iter().any(|_| true),
        Value::Object(members) => members.values().any(asks),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str, expect: Result<(), &str>) {
        match (Raw::parse(json.as_bytes()), expect) {
            (Ok(_), Ok(())) => {}
            (Err(errors), Err(words)) => {
                assert!(errors[0].to_string().contains(words), "{errors:?}");
            }
            (got, _) => panic!("{json}: {got:?}"),
        }
    }

    #[test]
    fn the_bytes_are_judged_first() {
        check("{}", Ok(()));
        check("[]", Err("config.json: is not an object"));
        check(r#"{"a":1,"a":2}"#, Err("duplicate name \"a\""));
        check(&"[".repeat(100_000), Err("recursion limit"));
    }

    #[test]
    fn a_list_is_no_object() {
        check(r#"{"hooks":[]}"#, Err("hooks: is not an object"));
        check(r#"{"root":["rootfs"]}"#, Err("root: is not an object"));
        check(
            r#"{"linux":{"resources":{"pids":[5]}}}"#,
            Err("linux.resources.pids: is not an object"),
        );
        check(
            r#"{"mounts":[{}, ["/m"]]}"#,
            Err("mounts[1]: is not an object"),
        );
        check(r#"{"linux":{"resources":null}}"#, Ok(()));
    }

    #[test]
    fn kernel_memory_warns() {
        let memory = serde_json::json!({"memory":{"kernel":1,"kernelTCP":0}});
        let raw = Raw::of_resources(memory).unwrap();
        assert_eq!(raw.warnings.len(), 1);
        assert!(raw.warnings[0].starts_with("linux.resources.memory.kernel:"));
        let list = Raw::of_resources(serde_json::json!([])).unwrap_err()[0].to_string();
        assert_eq!(list, "linux.resources: is not an object");
    }

    #[test]
    fn unknown_capabilities_warn() {
        let raw =
            Raw::parse(br#"{"process":{"capabilities":{"bounding":["CAP_KILL","CAP_NEW"]}}}"#)
                .unwrap();
        assert_eq!(
            raw.get("process.capabilities.bounding"),
            Some(&serde_json::json!(["CAP_KILL"]))
        );
        assert_eq!(raw.warnings.len(), 1);
    }
}
