//! Configs that must be refused: create fails with one line, and nothing is left.

use std::fs;

use serde_json::{Value, json};

use crate::config::{mount, namespace, no_namespace, push, set, strip};
use crate::property::{Scenario, scenario};
use crate::runtime::Ran;
use crate::scene::Scene;
use crate::suite::{Case, Check, Known, Suite, View, ensure};

/// A config with one mistake.
pub(crate) struct BadConfig {
    name: &'static str,
    /// Makes the mistake.
    spoil: fn(&mut Value),
    /// The place in the config that longshore's message must name.
    place: &'static str,
    known: Known,
}

const ALL: Known = &[
    ("runc", "accepts it (the specification says otherwise)"),
    ("crun", "accepts it (the specification says otherwise)"),
];
const CRUN: Known = &[("crun", "accepts it (the specification says otherwise)")];

macro_rules! bad {
    ($name:literal, $place:literal, $spoil:expr) => {
        bad!($name, $place, $spoil, &[])
    };
    ($name:literal, $place:literal, $spoil:expr, $known:expr) => {
        BadConfig {
            name: $name,
            spoil: $spoil,
            place: $place,
            known: $known,
        }
    };
}

pub(crate) const CONFIGS: &[BadConfig] = &[
    // None is defined, so that each is an unsupported value.
    bad!(
        "errors.linux.personality.flags",
        "linux.personality.flags[0]",
        |c| set(
            c,
            "/linux/personality",
            json!({ "domain": "LINUX", "flags": ["ADDR_NO_RANDOMIZE"] })
        ),
        ALL
    ),
    bad!(
        "errors.ociVersion.not-semver",
        "ociVersion",
        |c| set(c, "/ociVersion", json!("bogus")),
        &[("runc", "does not look at it")]
    ),
    bad!("errors.root.missing", "root", |c| strip(c, "/root")),
    bad!("errors.root.path.not-there", "root.path", |c| set(
        c,
        "/root/path",
        json!("nowhere")
    )),
    bad!("errors.process.args.missing", "process.args", |c| strip(
        c,
        "/process/args"
    )),
    bad!("errors.process.args.empty", "process.args", |c| set(
        c,
        "/process/args",
        json!([])
    )),
    bad!("errors.process.cwd.relative", "process.cwd", |c| set(
        c,
        "/process/cwd",
        json!("tmp")
    )),
    bad!("errors.process.cwd.missing", "process.cwd", |c| strip(
        c,
        "/process/cwd"
    )),
    bad!("errors.process.rlimits.unknown", "process.rlimits", |c| {
        push(
            c,
            "/process/rlimits",
            json!({ "type": "RLIMIT_BOGUS", "soft": 1, "hard": 1 }),
        );
    }),
    bad!(
        "errors.process.rlimits.duplicate",
        "process.rlimits",
        |c| {
            push(
                c,
                "/process/rlimits",
                json!({ "type": "RLIMIT_NOFILE", "soft": 100, "hard": 100 }),
            );
            push(
                c,
                "/process/rlimits",
                json!({ "type": "RLIMIT_NOFILE", "soft": 90, "hard": 90 }),
            );
        },
        ALL
    ),
    bad!(
        "errors.process.rlimits.soft-above-hard",
        "process.rlimits",
        |c| {
            push(
                c,
                "/process/rlimits",
                json!({ "type": "RLIMIT_NOFILE", "soft": 100, "hard": 10 }),
            );
        }
    ),
    bad!(
        "errors.process.oomScoreAdj.range",
        "process.oomScoreAdj",
        |c| set(c, "/process/oomScoreAdj", json!(5000))
    ),
    bad!(
        "errors.process.noNewPrivileges.type",
        "process.noNewPrivileges",
        |c| set(c, "/process/noNewPrivileges", json!("yes")),
        CRUN
    ),
    bad!(
        "errors.process.user.uid.negative",
        "process.user.uid",
        |c| set(c, "/process/user/uid", json!(-1))
    ),
    bad!("errors.hostname.without-uts", "hostname", |c| {
        set(c, "/hostname", json!("pier"));
        no_namespace(c, "uts");
    }),
    bad!("errors.mounts.type.unknown", "mounts[5]", |c| mount(
        c,
        "/m",
        "nosuchfs",
        "x",
        &[]
    )),
    bad!("errors.mounts.source.missing", "mounts[5]", |c| mount(
        c,
        "/m",
        "bind",
        "nowhere",
        &["bind"]
    )),
    bad!("errors.mounts.options.data", "mounts[5]", |c| mount(
        c,
        "/m",
        "tmpfs",
        "tmpfs",
        &["size=lots"]
    )),
    bad!(
        "errors.linux.namespaces.duplicate",
        "linux.namespaces",
        |c| push(c, "/linux/namespaces", json!({ "type": "pid" }))
    ),
    bad!("errors.linux.namespaces.unknown", "linux.namespaces", |c| {
        push(c, "/linux/namespaces", json!({ "type": "harbour" }))
    }),
    bad!(
        "errors.linux.namespaces.path.wrong-type",
        "linux.namespaces",
        |c| namespace(c, json!({ "type": "network", "path": "/proc/self/ns/uts" }))
    ),
    bad!(
        "errors.linux.namespaces.path.missing",
        "linux.namespaces",
        |c| namespace(
            c,
            json!({ "type": "network", "path": "/proc/1/ns/nothing" })
        )
    ),
    bad!(
        "errors.linux.uidMappings.without-user",
        "linux.uidMappings",
        |c| {
            set(
                c,
                "/linux/uidMappings",
                json!([{ "containerID": 0, "hostID": 100_000, "size": 10 }]),
            );
        },
        ALL
    ),
    bad!(
        "errors.linux.uidMappings.missing",
        "linux.uidMappings",
        |c| namespace(c, json!({ "type": "user" }))
    ),
    bad!(
        "errors.linux.rootfsPropagation.unknown",
        "linux.rootfsPropagation",
        |c| set(c, "/linux/rootfsPropagation", json!("sideways"))
    ),
    bad!("errors.linux.sysctl.not-namespaced", "linux.sysctl", |c| {
        set(c, "/linux/sysctl", json!({ "vm.swappiness": "10" }))
    }),
    bad!("errors.linux.sysctl.hostname", "linux.sysctl", |c| set(
        c,
        "/linux/sysctl",
        json!({ "kernel.hostname": "pier" })
    )),
    bad!(
        "errors.linux.sysctl.host-network",
        "linux.sysctl",
        |c| {
            namespace(c, json!({ "type": "network", "path": "/proc/self/ns/net" }));
            set(
                c,
                "/linux/sysctl",
                json!({ "net.ipv4.ip_default_ttl": "77" }),
            );
        },
        CRUN
    ),
    bad!(
        "errors.linux.sysctl.without-namespace",
        "linux.sysctl",
        |c| {
            no_namespace(c, "ipc");
            set(c, "/linux/sysctl", json!({ "kernel.msgmax": "4096" }));
        }
    ),
    bad!("errors.linux.devices.type", "linux.devices[0]", |c| {
        push(
            c,
            "/linux/devices",
            json!({ "path": "/dev/x", "type": "x", "major": 1, "minor": 3 }),
        );
    }),
    bad!(
        "errors.linux.devices.occupied",
        "linux.devices[0]",
        |c| {
            push(
                c,
                "/linux/devices",
                json!({ "path": "/etc/passwd", "type": "c", "major": 1, "minor": 3 }),
            );
        },
        ALL
    ),
    bad!("errors.linux.seccomp.action", "linux.seccomp", |c| set(
        c,
        "/linux/seccomp",
        json!({ "defaultAction": "SCMP_ACT_SHRUG" })
    )),
    bad!("errors.linux.seccomp.arch", "linux.seccomp", |c| {
        set(
            c,
            "/linux/seccomp",
            json!({ "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_PDP11"],
            "syscalls": [{ "names": ["mkdir"], "action": "SCMP_ACT_ERRNO" }] }),
        );
    }),
    bad!("errors.linux.seccomp.operator", "linux.seccomp", |c| {
        let arg = json!({ "index": 0, "value": 1, "op": "SCMP_CMP_ALMOST" });
        set(
            c,
            "/linux/seccomp",
            json!({ "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{ "names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "args": [arg] }] }),
        );
    }),
    bad!(
        "errors.linux.seccomp.errnoRet-without-errno",
        "linux.seccomp",
        |c| {
            set(
                c,
                "/linux/seccomp",
                json!({ "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{ "names": ["mkdir"], "action": "SCMP_ACT_KILL", "errnoRet": 5 }] }),
            );
        },
        &[("runc", "ignores it (the specification says otherwise)")]
    ),
    bad!(
        "errors.linux.seccomp.notify-without-listenerPath",
        "linux.seccomp.listenerPath",
        super::seccomp_notify::without_path
    ),
    bad!(
        "errors.linux.seccomp.listenerPath.relative",
        "linux.seccomp.listenerPath",
        |c| {
            super::seccomp_notify::without_path(c);
            set(c, "/linux/seccomp/listenerPath", json!("agent.sock"));
        }
    ),
    bad!(
        "errors.linux.seccomp.listenerMetadata-without-path",
        "linux.seccomp",
        |c| {
            set(
                c,
                "/linux/seccomp",
                json!({ "defaultAction": "SCMP_ACT_ALLOW", "listenerMetadata": "x" }),
            );
        },
        ALL
    ),
    bad!(
        "errors.linux.resources.type",
        "linux.resources.memory.limit",
        |c| set(c, "/linux/resources/memory", json!({ "limit": "much" })),
        CRUN
    ),
    bad!(
        "errors.linux.resources.devices.access",
        "linux.resources.devices",
        |c| {
            set(
                c,
                "/linux/resources/devices",
                json!([{ "allow": false, "access": "xyz" }]),
            );
        },
        &[("runc", "1.1 drops letters it does not know")]
    ),
    bad!(
        "errors.hooks.path.relative",
        "hooks.createRuntime[0].path",
        |c| set(
            c,
            "/hooks",
            json!({ "createRuntime": [{ "path": "true" }] })
        ),
        CRUN
    ),
    bad!("errors.hooks.path.missing", "hooks.createRuntime[0]", |c| {
        set(
            c,
            "/hooks",
            json!({ "createRuntime": [{ "path": "/no/such/hook" }] }),
        )
    }),
    bad!(
        "errors.hooks.timeout.zero",
        "hooks.createRuntime[0].timeout",
        |c| {
            set(
                c,
                "/hooks",
                json!({ "createRuntime": [{ "path": "/bin/sleep", "args": ["sleep", "1"], "timeout": 0 }] }),
            );
        },
        CRUN
    ),
];

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario("errors.config.missing", |scene| raw(scene, None)),
    scenario("errors.config.empty", |scene| raw(scene, Some(""))),
    scenario("errors.config.truncated", |scene| {
        raw(scene, Some("{\"ociVersion\": \"1.0.2\", \"process\": {"))
    }),
    scenario("errors.config.not-an-object", |scene| {
        raw(scene, Some("[]"))
    }),
    scenario("errors.config.unknown-fields-are-ignored", unknown_fields),
    scenario("errors.ociVersion.compatible-ones-are-taken", versions)
        .deviates(&[("crun", "1.8 takes only versions that begin with 1.0")]),
    scenario(
        "errors.linux.resources.cpu.cpus.impossible",
        impossible_cpus,
    )
    .on(View::V1),
    scenario("errors.linux.namespaces.path.dead", dead_namespace),
];

impl Case for BadConfig {
    fn name(&self) -> String {
        self.name.to_owned()
    }

    fn known(&self) -> Known {
        self.known
    }

    fn view(&self) -> View {
        View::Any
    }

    fn check(&self, suite: &Suite) -> Check {
        let mut scene = Scene::new(suite)?;
        let mut config = scene.config.clone();
        (self.spoil)(&mut config);
        scene.config = config;
        let ran = scene.try_create()?;
        refused(&scene, &ran)?;
        if scene.runtime().name == "longshore" {
            ensure!(
                ran.stderr.contains(self.place),
                "does not name {}: {}",
                self.place,
                ran.story()
            );
        }
        Ok(())
    }
}

fn refused(scene: &Scene<'_>, ran: &Ran) -> Check {
    ensure!(
        !ran.ok() && ran.status.is_some(),
        "not refused: {}",
        ran.story()
    );
    ensure!(ran.code() == 1, "exit status: {}", ran.story());
    // Besides the error, runc's first stages log lines of other levels.
    let noise = |line: &&str| line.starts_with("time=") && !line.contains("level=error");
    let lines = ran.stderr.lines().filter(|line| !noise(line)).count();
    ensure!(lines == 1, "{lines} lines: {}", ran.story());
    ensure!(!scene.path("pid").exists(), "a pid file was written");
    scene.leaves_nothing()
}

fn raw(scene: &mut Scene<'_>, text: Option<&str>) -> Check {
    if let Some(text) = text {
        fs::write(scene.path("config.json"), text)?;
    }
    let ran = scene.finish_create(scene.create_call(&[]))?;
    refused(scene, &ran)
}

fn unknown_fields(scene: &mut Scene<'_>) -> Check {
    set(
        &mut scene.config,
        "/com.example.extension",
        json!({ "a": [1, 2, 3] }),
    );
    set(&mut scene.config, "/linux/futureFeature", json!(true));
    set(&mut scene.config, "/process/futureFeature", json!("x"));
    scene.run()?.must()?;
    Ok(())
}

/// config.md#specification-version: compatible within a major version, SemVer's suffixes included.
fn versions(scene: &mut Scene<'_>) -> Check {
    for version in [
        "1.0.0",
        "1.0.2-dev",
        "1.2.0-rc.1+build.5",
        "1.3.0",
        "1.99.7+x",
    ] {
        set(&mut scene.config, "/ociVersion", json!(version));
        scene.run()?.must()?;
    }
    Ok(())
}

/// The kernel refuses the value late, when the cgroup is there already.
fn impossible_cpus(scene: &mut Scene<'_>) -> Check {
    set(
        &mut scene.config,
        "/linux/resources/cpu",
        json!({ "cpus": "4000" }),
    );
    let ran = scene.try_create()?;
    refused(scene, &ran)
}

fn dead_namespace(scene: &mut Scene<'_>) -> Check {
    let holder = crate::holder::Holder::start("network")?;
    let path = holder.path("network");
    drop(holder);
    namespace(
        &mut scene.config,
        json!({ "type": "network", "path": path }),
    );
    let ran = scene.try_create()?;
    refused(scene, &ran)
}
