//! The tests' own test: a feature is taken out of what the runtime is told, and then each test of it must fail.

use serde_json::{Value, json};

use crate::config::{no_namespace, set, strip};
use crate::suite::Case;

/// What a container does without.
#[derive(Debug)]
pub(crate) struct Feature {
    /// In results, and for `--without`.
    pub name: &'static str,
    /// Names of tests, or how they begin where the last character is a dot.
    tests: &'static [&'static str],
    taken: Taken,
}

#[derive(Debug)]
enum Taken {
    /// Out of each config.json.
    Config(fn(&mut Value)),
    /// Out of each command line.
    Command(fn(&mut Vec<String>)),
}

use Taken::{Command, Config};

pub(crate) const FEATURES: &[Feature] = &[
    Feature {
        name: "restore",
        tests: &[
            "checkpoint.goes-on-where-it-was",
            "checkpoint.pre-dump",
            "checkpoint.tcp-established",
            "checkpoint.bind-mounts",
            "checkpoint.terminal",
            "checkpoint.pipes",
            "checkpoint.another-id",
            "restore.foreground",
        ],
        taken: Command(begin_anew),
    },
    Feature {
        name: "cgroup-of-its-own",
        tests: &["cgroup2.delegated", "systemd-inside."],
        taken: Config(read_only_cgroup),
    },
    Feature {
        name: "user-namespace",
        tests: &["rootless.run", "rootless.exec", "rootless.delete-force"],
        taken: Config(no_user_namespace),
    },
    Feature {
        name: "range-of-ids",
        tests: &[
            "rootless.ranges.run",
            "rootless.ranges.user",
            "rootless.ranges.exec",
            "rootless.ranges.files",
            "rootless.ranges.additionalGids",
        ],
        taken: Config(one_id),
    },
    Feature {
        name: "limits",
        tests: &[
            "rootless.cgroup.limits",
            "rootless.cgroup.limits.in-force",
            "rootless.cgroup.update",
            "systemd.limits",
            "restore.limits",
        ],
        taken: Config(|config| strip(config, "/linux/resources")),
    },
    Feature {
        name: "device-rules",
        tests: &["restore.device-rules", "linux.resources.devices.deny"],
        taken: Config(every_device),
    },
    Feature {
        name: "oom-group",
        tests: &["cgroup2.oom-group"],
        taken: Config(|config| strip(config, "/linux/resources/unified/memory.oom.group")),
    },
    Feature {
        name: "io-limits",
        tests: &[
            "linux.resources.blockIO.throttleReadBpsDevice",
            "linux.resources.blockIO.throttleWriteBpsDevice",
            "linux.resources.blockIO.throttleReadBpsDevice.in-effect",
            "linux.resources.blockIO.throttleReadBpsDevice.cgroup2",
            "linux.resources.blockIO.throttleWriteBpsDevice.cgroup2",
        ],
        taken: Config(|config| strip(config, "/linux/resources/blockIO")),
    },
    Feature {
        name: "apparmor-profile",
        tests: &[
            "process.apparmorProfile",
            "process.apparmorProfile.exec",
            "process.apparmorProfile.no-new-privileges",
            "process.apparmorProfile.missing",
        ],
        taken: Config(|config| strip(config, "/process/apparmorProfile")),
    },
    Feature {
        name: "apparmor-of-exec",
        tests: &["process.apparmorProfile.exec"],
        taken: Command(|args| drop_option(args, "--apparmor")),
    },
    Feature {
        name: "systemd-driver",
        tests: &[
            "rootless.systemd.run",
            "systemd.scope",
            "systemd.slice.nested",
            "systemd.limits",
            "systemd.update",
            "systemd.annotations",
            "systemd.devices.after-reload",
        ],
        taken: Command(|args| args.retain(|arg| arg != "--systemd-cgroup")),
    },
];

impl Feature {
    /// Of this name.
    pub(crate) fn named(name: &str) -> Option<&'static Feature> {
        FEATURES.iter().find(|feature| feature.name == name)
    }

    /// Does the case show that the feature is there?
    pub(crate) fn is_shown_by(&self, case: &dyn Case) -> bool {
        let name = case.name();
        let meant = |word: &&str| *word == name || word.ends_with('.') && name.starts_with(*word);
        self.tests.iter().any(meant)
    }

    /// A config.json without it.
    pub(crate) fn take_from_config(&self, config: &mut Value) {
        if let Config(take) = self.taken {
            take(config);
        }
    }

    /// A command without it.
    pub(crate) fn take_from_command(&self, args: &mut Vec<String>) {
        if let Command(take) = self.taken {
            take(args);
        }
    }
}

/// `run` in the place of `restore`, with what both know.
fn begin_anew(args: &mut Vec<String>) {
    let Some(verb) = args.iter_mut().find(|arg| *arg == "restore") else {
        return;
    };
    "run".clone_into(verb);
    args.retain(|arg| arg != "--tcp-established");
    drop_option(args, "--image-path");
    drop_option(args, "--work-path");
}

/// With its value.
fn drop_option(args: &mut Vec<String>, option: &str) {
    if let Some(at) = args.iter().position(|arg| arg == option) {
        args.drain(at..at + 2);
    }
}

/// Without rules the default ones would be in force.
fn every_device(config: &mut Value) {
    let all = json!([{ "allow": true, "access": "rwm" }]);
    set(config, "/linux/resources/devices", all);
}

/// It can be seen, and that is all.
fn read_only_cgroup(config: &mut Value) {
    for mount in config["mounts"].as_array_mut().into_iter().flatten() {
        if mount["type"] == "cgroup" {
            mount["options"] = json!(["ro"]);
        }
    }
}

fn no_user_namespace(config: &mut Value) {
    no_namespace(config, "user");
    strip(config, "/linux/uidMappings");
    strip(config, "/linux/gidMappings");
}

/// The caller's own, without the range.
fn one_id(config: &mut Value) {
    strip(config, "/linux/uidMappings/1");
    strip(config, "/linux/gidMappings/1");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_is_a_test() {
        let all = crate::chapters::all();
        for feature in FEATURES {
            for word in feature.tests {
                let meant =
                    |name: String| name == *word || word.ends_with('.') && name.starts_with(word);
                assert!(
                    all.iter().any(|case| meant(case.name())),
                    "{word} of {}",
                    feature.name
                );
            }
        }
    }

    #[test]
    fn a_restore_begins_anew() {
        let mut args: Vec<String> = [
            "--root",
            "/r",
            "restore",
            "--detach",
            "--image-path",
            "/i",
            "id",
        ]
        .map(str::to_owned)
        .into();
        begin_anew(&mut args);
        assert_eq!(args, ["--root", "/r", "run", "--detach", "id"]);
    }
}
