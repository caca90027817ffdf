//! Every field that config.json may have, and which of a configuration's own are none of them. Pure.
//!
//! An unknown field is legal (config.md#extensibility: it is ignored), so it can only be warned of.

use crate::error::Error;
use serde_json::Value;

/// Objects by their path, and what may be in them: `[]` is each item of a list, `*` each member of a map.
/// An object that isn't here is somebody else's, or has names of its own choice.
const FIELDS: &[(&str, &str)] = &[
    (
        "",
        "ociVersion process root hostname domainname mounts hooks annotations linux solaris windows vm zos freebsd",
    ),
    ("root", "path readonly"),
    (
        "process",
        "terminal consoleSize user args commandLine env cwd capabilities rlimits noNewPrivileges apparmorProfile \
         oomScoreAdj scheduler selinuxLabel ioPriority execCPUAffinity",
    ),
    ("process.consoleSize", "height width"),
    ("process.user", "uid gid umask additionalGids username"),
    (
        "process.capabilities",
        "bounding effective inheritable permitted ambient",
    ),
    ("process.rlimits[]", "type hard soft"),
    (
        "process.scheduler",
        "policy nice priority flags runtime deadline period",
    ),
    ("process.ioPriority", "class priority"),
    ("process.execCPUAffinity", "initial final"),
    (
        "mounts[]",
        "destination type source options uidMappings gidMappings",
    ),
    ("mounts[].uidMappings[]", "containerID hostID size"),
    ("mounts[].gidMappings[]", "containerID hostID size"),
    (
        "hooks",
        "prestart createRuntime createContainer startContainer poststart poststop",
    ),
    ("hooks.prestart[]", HOOK),
    ("hooks.createRuntime[]", HOOK),
    ("hooks.createContainer[]", HOOK),
    ("hooks.startContainer[]", HOOK),
    ("hooks.poststart[]", HOOK),
    ("hooks.poststop[]", HOOK),
    (
        "linux",
        "uidMappings gidMappings sysctl resources cgroupsPath namespaces devices netDevices seccomp \
         rootfsPropagation maskedPaths readonlyPaths mountLabel intelRdt memoryPolicy personality timeOffsets",
    ),
    ("linux.uidMappings[]", "containerID hostID size"),
    ("linux.gidMappings[]", "containerID hostID size"),
    ("linux.namespaces[]", "type path"),
    ("linux.devices[]", "path type major minor fileMode uid gid"),
    ("linux.netDevices", "*"),
    ("linux.netDevices.*", "name"),
    (
        "linux.intelRdt",
        "closID schemata l3CacheSchema memBwSchema enableMonitoring enableCMT enableMBM",
    ),
    ("linux.memoryPolicy", "mode nodes flags"),
    ("linux.personality", "domain flags"),
    ("linux.timeOffsets", "*"),
    ("linux.timeOffsets.*", "secs nanosecs"),
    (
        "linux.resources",
        "devices memory cpu pids blockIO hugepageLimits network rdma unified",
    ),
    ("linux.resources.devices[]", "allow type major minor access"),
    (
        "linux.resources.memory",
        "limit reservation swap kernel kernelTCP swappiness disableOOMKiller useHierarchy checkBeforeUpdate",
    ),
    (
        "linux.resources.cpu",
        "shares quota burst period realtimeRuntime realtimePeriod cpus mems idle",
    ),
    ("linux.resources.pids", "limit"),
    (
        "linux.resources.blockIO",
        "weight leafWeight weightDevice throttleReadBpsDevice throttleWriteBpsDevice throttleReadIOPSDevice \
         throttleWriteIOPSDevice",
    ),
    (
        "linux.resources.blockIO.weightDevice[]",
        "major minor weight leafWeight",
    ),
    ("linux.resources.blockIO.throttleReadBpsDevice[]", RATE),
    ("linux.resources.blockIO.throttleWriteBpsDevice[]", RATE),
    ("linux.resources.blockIO.throttleReadIOPSDevice[]", RATE),
    ("linux.resources.blockIO.throttleWriteIOPSDevice[]", RATE),
    ("linux.resources.hugepageLimits[]", "pageSize limit"),
    ("linux.resources.network", "classID priorities"),
    ("linux.resources.network.priorities[]", "name priority"),
    ("linux.resources.rdma", "*"),
    ("linux.resources.rdma.*", "hcaHandles hcaObjects"),
    (
        "linux.seccomp",
        "defaultAction defaultErrnoRet flags listenerPath listenerMetadata architectures syscalls",
    ),
    ("linux.seccomp.syscalls[]", "names action errnoRet args"),
    ("linux.seccomp.syscalls[].args[]", "index value valueTwo op"),
];

/// Of so many unknown fields we look for what was meant: comparing is dear, and nobody reads more.
const MOST: usize = 100;

const HOOK: &str = "path args env timeout";
const RATE: &str = "major minor rate";

/// A warning for each unknown field.
pub(crate) fn unknown(config: &Value) -> Vec<Error> {
    let mut found = Vec::new();
    walk(config, "", "", &mut found);
    found
}

/// `place` is the path in the table, `path` the configuration's own.
fn walk(value: &Value, place: &str, path: &str, found: &mut Vec<Error>) {
    match value {
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                walk(
                    item,
                    &format!("{place}[]"),
                    &format!("{path}[{index}]"),
                    found,
                );
            }
        }
        Value::Object(members) => {
            let Some((_, known)) = FIELDS.iter().find(|(object, _)| *object == place) else {
                return;
            };
            for (name, member) in members {
                let path = join(path, name);
                if *known == "*" {
                    walk(member, &join(place, "*"), &path, found);
                } else if known.split_whitespace().any(|field| field == name) {
                    walk(member, &join(place, name), &path, found);
                } else {
                    let known = if found.len() < MOST { known } else { "" };
                    found.push(Error::config(path, words(name, known)));
                }
            }
        }
        _ => {}
    }
}

fn join(path: &str, name: &str) -> String {
    let dot = if path.is_empty() { "" } else { "." };
    format!("{path}{dot}{name}")
}

fn words(name: &str, known: &str) -> String {
    let distances = known
        .split_whitespace()
        .map(|field| (distance(name, field), field));
    // Not all of a short name may be another.
    let near =
        |distance: usize| distance < name.len() && (distance <= 2 || distance <= name.len() / 3);
    match distances.min().filter(|(distance, _)| near(*distance)) {
        Some((_, field)) => format!("unknown field, ignored: did you mean {field}?"),
        None => "unknown field, ignored".to_owned(),
    }
}

/// How many letters must be changed, added or left out (Levenshtein). No known name is longer than `MOST`.
fn distance(one: &str, other: &str) -> usize {
    const MOST: usize = 64;
    if one.len() > MOST {
        return one.len();
    }
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for letter in one.chars() {
        let mut corner = row[0];
        row[0] += 1;
        for (index, known) in other.iter().enumerate() {
            let changed = corner + usize::from(letter != *known);
            corner = row[index + 1];
            row[index + 1] = changed.min(corner + 1).min(row[index] + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str, expect: &[&str]) {
        let got: Vec<_> = unknown(&serde_json::from_str(json).unwrap())
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(got, expect, "{json}");
    }

    #[test]
    fn near_names_are_told() {
        check(
            r#"{"process":{"argz":[]}}"#,
            &["process.argz: unknown field, ignored: did you mean args?"],
        );
        check(
            r#"{"linux":{"cgroup_path":"/x","namespaces":[{"type":"pid"},{"typ":"ipc"}]}}"#,
            &[
                "linux.cgroup_path: unknown field, ignored: did you mean cgroupsPath?",
                "linux.namespaces[1].typ: unknown field, ignored: did you mean type?",
            ],
        );
        check(
            r#"{"com.example.extension":{"a":1}}"#,
            &["com.example.extension: unknown field, ignored"],
        );
        check(
            r#"{"linux":{"resources":{"rdma":{"mlx5_1":{"hcaHandle":1}}}}}"#,
            &[
                "linux.resources.rdma.mlx5_1.hcaHandle: unknown field, ignored: did you mean hcaHandles?",
            ],
        );
    }

    #[test]
    fn maps_and_other_platforms_have_names_of_their_own() {
        check(
            r#"{"annotations":{"a.b":"c"},"linux":{"sysctl":{"net.x":"1"},"resources":{"unified":{"a":"b"}}},
                "windows":{"layerFolders":[]},"process":null}"#,
            &[],
        );
    }

    #[test]
    fn letters_are_counted() {
        for (one, other, expect) in [("", "ab", 2), ("ab", "ab", 0), ("kitten", "sitting", 3)] {
            assert_eq!(distance(one, other), expect, "{one} {other}");
        }
    }
}
