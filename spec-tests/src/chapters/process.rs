//! config.md#process

use serde_json::{Value, json};

use crate::config::{set, strip};
use crate::property::{Expect, PROPERTY, Probe, Property, Scenario, scenario};
use crate::scene::Scene;
use crate::suite::{Check, ensure};

/// The capability sets in `/proc/self/status`, each as a hexadecimal mask.
const SETS: Probe = Probe::Script("grep ^Cap /proc/self/status");

fn mask(seen: &str, field: &str) -> Option<u64> {
    let line = seen.lines().find_map(|line| line.strip_prefix(field))?;
    u64::from_str_radix(line.trim_start_matches(':').trim(), 16).ok()
}

const KILL: u64 = 1 << 5;
const NET_BIND: u64 = 1 << 10;

/// All five sets hold CAP_KILL and CAP_NET_BIND_SERVICE.
fn five_sets(config: &mut Value) {
    for kind in [
        "bounding",
        "effective",
        "permitted",
        "inheritable",
        "ambient",
    ] {
        set(
            config,
            &format!("/process/capabilities/{kind}"),
            json!(["CAP_KILL", "CAP_NET_BIND_SERVICE"]),
        );
    }
}

fn ordinary_user(config: &mut Value) {
    set(config, "/process/user", json!({ "uid": 1000, "gid": 1000 }));
}

/// One of the five sets, for root: at execve the kernel gives uid 0 the union
/// of its inheritable and bounding sets as permitted and effective sets.
macro_rules! root_set {
    ($name:literal, $field:literal, $strip:expr) => {
        Property {
            name: $name,
            set: |_, config| five_sets(config),
            strip: $strip,
            probe: SETS,
            expect: Expect::That(|_, seen| mask(seen, $field) == Some(KILL | NET_BIND)),
            ..PROPERTY
        }
    };
}

const FOURTEEN: [&str; 3] = ["CAP_CHOWN", "CAP_KILL", "CAP_NET_BIND_SERVICE"];

fn more(config: &mut Value) {
    for kind in ["bounding", "effective", "permitted"] {
        set(
            config,
            &format!("/process/capabilities/{kind}"),
            json!(FOURTEEN),
        );
    }
}

fn id_property(config: &mut Value, key: &str, value: Value) {
    set(config, &format!("/process/user/{key}"), value);
}

/// Limits that may only be lowered: raising them needs CAP_SYS_RESOURCE.
const LIMITS: &[(&str, &str, u64)] = &[
    ("RLIMIT_AS", "Max address space", 8_589_934_592),
    ("RLIMIT_CORE", "Max core file size", 4096),
    ("RLIMIT_CPU", "Max cpu time", 1000),
    ("RLIMIT_DATA", "Max data size", 4_294_967_296),
    ("RLIMIT_FSIZE", "Max file size", 1_073_741_824),
    ("RLIMIT_LOCKS", "Max file locks", 99),
    ("RLIMIT_MEMLOCK", "Max locked memory", 8192),
    ("RLIMIT_MSGQUEUE", "Max msgqueue size", 4096),
    ("RLIMIT_NICE", "Max nice priority", 0),
    ("RLIMIT_NOFILE", "Max open files", 512),
    ("RLIMIT_NPROC", "Max processes", 500),
    ("RLIMIT_RSS", "Max resident set", 123_456_789),
    ("RLIMIT_RTPRIO", "Max realtime priority", 0),
    ("RLIMIT_RTTIME", "Max realtime timeout", 1_000_000),
    ("RLIMIT_SIGPENDING", "Max pending signals", 77),
    ("RLIMIT_STACK", "Max stack size", 4_194_304),
];

fn limits_hold(_: &Scene<'_>, seen: &str) -> bool {
    LIMITS.iter().all(|(_, words, value)| {
        let line = seen
            .lines()
            .find_map(|line| line.strip_prefix(words))
            .unwrap_or_default();
        let numbers: Vec<&str> = line.split_whitespace().take(2).collect();
        numbers == [value.to_string(), value.to_string()]
    })
}

pub(crate) const PROPERTIES: &[Property] = &[
    Property {
        name: "process.args",
        set: |_, config| {
            set(
                config,
                "/process/args",
                json!(["/bin/echo", "a b", "", "c"]),
            )
        },
        strip: |config| set(config, "/process/args", json!(["/bin/echo"])),
        probe: Probe::Args,
        expect: Expect::Is("a b  c"),
        ..PROPERTY
    },
    Property {
        name: "process.env",
        set: |_, config| {
            set(
                config,
                "/process/env",
                json!(["PATH=/bin", "CARGO=two tons", "HOME=/h"]),
            )
        },
        strip: |config| set(config, "/process/env", json!(["PATH=/bin", "HOME=/h"])),
        probe: Probe::Script("echo $CARGO"),
        expect: Expect::Is("two tons"),
        ..PROPERTY
    },
    Property {
        // Not in the specification, but all engines count on it: the user's directory by the container's passwd.
        name: "process.env.home",
        set: |_, config| ordinary_user(config),
        strip: |config| crate::config::push(config, "/process/env", json!("HOME=/given")),
        probe: Probe::Script("echo $HOME"),
        expect: Expect::Is("/home/user"),
        ..PROPERTY
    },
    Property {
        name: "process.cwd",
        set: |_, config| set(config, "/process/cwd", json!("/tmp")),
        strip: |config| set(config, "/process/cwd", json!("/")),
        probe: Probe::Script("readlink /proc/self/cwd"),
        expect: Expect::Is("/tmp"),
        ..PROPERTY
    },
    Property {
        name: "process.user.uid",
        set: |_, config| id_property(config, "uid", json!(1234)),
        strip: |config| id_property(config, "uid", json!(0)),
        probe: Probe::Script("grep ^Uid: /proc/self/status | tr '\\t' ' '"),
        expect: Expect::Is("Uid: 1234 1234 1234 1234"),
        ..PROPERTY
    },
    Property {
        name: "process.user.gid",
        set: |_, config| id_property(config, "gid", json!(4321)),
        strip: |config| id_property(config, "gid", json!(0)),
        probe: Probe::Script("grep ^Gid: /proc/self/status | tr '\\t' ' '"),
        expect: Expect::Is("Gid: 4321 4321 4321 4321"),
        ..PROPERTY
    },
    Property {
        name: "process.user.additionalGids",
        set: |_, config| id_property(config, "additionalGids", json!([11, 22])),
        strip: |config| strip(config, "/process/user/additionalGids"),
        probe: Probe::Script("grep ^Groups: /proc/self/status"),
        expect: Expect::Has("11 22"),
        ..PROPERTY
    },
    Property {
        name: "process.user.umask",
        set: |_, config| id_property(config, "umask", json!(0o027)),
        strip: |config| strip(config, "/process/user/umask"),
        probe: Probe::Script("umask"),
        expect: Expect::Is("0027"),
        ..PROPERTY
    },
    root_set!("process.capabilities.bounding", "CapBnd", more),
    root_set!("process.capabilities.permitted", "CapPrm", more),
    root_set!("process.capabilities.effective", "CapEff", more),
    root_set!("process.capabilities.inheritable", "CapInh", |config| {
        strip(config, "/process/capabilities/inheritable");
        strip(config, "/process/capabilities/ambient");
    }),
    Property {
        // Only the ambient set survives the exec of an ordinary user.
        name: "process.capabilities.ambient",
        set: |_, config| {
            ordinary_user(config);
            five_sets(config);
        },
        strip: |config| strip(config, "/process/capabilities/ambient"),
        probe: SETS,
        expect: Expect::That(|_, seen| {
            ["CapAmb", "CapPrm", "CapEff"]
                .iter()
                .all(|field| mask(seen, field) == Some(KILL | NET_BIND))
        }),
        ..PROPERTY
    },
    Property {
        // In effect: without CAP_NET_BIND_SERVICE the port is refused.
        name: "process.capabilities.in-effect",
        set: |_, config| set(config, "/process/capabilities", json!({})),
        strip: |config| five_sets(config),
        probe: Probe::Script("timeout 1 nc -l -p 80 -w 1; chown 5 /tmp; kill -0 1 && echo ran"),
        expect: Expect::Has("bind: Permission denied"),
        ..PROPERTY
    },
    Property {
        name: "process.rlimits",
        set: |_, config| {
            let limits = LIMITS
                .iter()
                .map(|(kind, _, value)| json!({ "type": kind, "soft": value, "hard": value }));
            set(config, "/process/rlimits", limits.collect());
        },
        strip: |config| strip(config, "/process/rlimits"),
        probe: Probe::Script("cat /proc/self/limits"),
        expect: Expect::That(limits_hold),
        ..PROPERTY
    },
    Property {
        name: "process.rlimits.soft-and-hard",
        set: |_, config| {
            set(
                config,
                "/process/rlimits",
                json!([{ "type": "RLIMIT_NOFILE", "soft": 300, "hard": 400 }]),
            )
        },
        strip: |config| strip(config, "/process/rlimits"),
        probe: Probe::Script("ulimit -Sn; ulimit -Hn"),
        expect: Expect::Is("300\n400"),
        ..PROPERTY
    },
    Property {
        name: "process.noNewPrivileges",
        set: |_, config| set(config, "/process/noNewPrivileges", json!(true)),
        strip: |config| strip(config, "/process/noNewPrivileges"),
        probe: Probe::Script("grep NoNewPrivs /proc/self/status"),
        expect: Expect::Has("1"),
        ..PROPERTY
    },
    Property {
        name: "process.oomScoreAdj",
        set: |_, config| set(config, "/process/oomScoreAdj", json!(765)),
        strip: |config| strip(config, "/process/oomScoreAdj"),
        probe: Probe::Script("cat /proc/self/oom_score_adj"),
        expect: Expect::Is("765"),
        ..PROPERTY
    },
];

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario("process.args.searched-in-path", searched),
    scenario("process.env.exact", exact_env),
    scenario("process.env.home.not-found", home_not_found),
    scenario("process.env.last-one-wins", last_one_wins),
    scenario(
        "process.capabilities.unknown-is-no-error",
        unknown_capability,
    ),
    scenario("process.capabilities.none", no_capabilities),
];

fn searched(scene: &mut Scene<'_>) -> Check {
    scene.executable("rootfs/opt/tools/greet", "#!/bin/sh\necho hello from $0")?;
    set(
        &mut scene.config,
        "/process/env",
        json!(["PATH=/nowhere:/opt/tools:/bin"]),
    );
    set(&mut scene.config, "/process/args", json!(["greet"]));
    let ran = scene.run()?;
    ensure!(
        ran.ok() && ran.stdout.trim() == "hello from /opt/tools/greet",
        "{}",
        ran.story()
    );
    Ok(())
}

/// Nothing of the caller's environment comes through.
fn exact_env(scene: &mut Scene<'_>) -> Check {
    set(
        &mut scene.config,
        "/process/env",
        json!(["PATH=/bin", "A=1", "HOME=/tmp"]),
    );
    set(&mut scene.config, "/process/args", json!(["/bin/env"]));
    scene.write_config()?;
    let mut call = scene.call(&["run", &scene.id]);
    call.env.push(("SECRET", "leaked"));
    let ran = call.run()?;
    let mut lines: Vec<&str> = ran.stdout.lines().collect();
    lines.sort_unstable();
    ensure!(
        lines == ["A=1", "HOME=/tmp", "PATH=/bin"],
        "{}",
        ran.story()
    );
    Ok(())
}

/// A user without a line has the root directory.
fn home_not_found(scene: &mut Scene<'_>) -> Check {
    set(
        &mut scene.config,
        "/process/user",
        json!({ "uid": 77, "gid": 77 }),
    );
    scene.script("echo $HOME");
    let ran = scene.run()?;
    ensure!(ran.stdout.trim() == "/", "{}", ran.story());
    Ok(())
}

/// De facto: of an entry given twice the last one counts.
fn last_one_wins(scene: &mut Scene<'_>) -> Check {
    set(
        &mut scene.config,
        "/process/env",
        json!(["A=1", "PATH=/nowhere", "HOME=/tmp", "PATH=/bin", "A=2"]),
    );
    set(
        &mut scene.config,
        "/process/args",
        json!(["sh", "-c", "echo $A $HOME"]),
    );
    let ran = scene.run()?;
    ensure!(ran.stdout.trim() == "2 /tmp", "{}", ran.story());
    Ok(())
}

fn unknown_capability(scene: &mut Scene<'_>) -> Check {
    crate::config::push(
        &mut scene.config,
        "/process/capabilities/bounding",
        json!("CAP_UNHEARD_OF"),
    );
    let ran = scene.run()?;
    ensure!(
        ran.ok(),
        "config.md#linux-process: should only warn: {}",
        ran.story()
    );
    Ok(())
}

fn no_capabilities(scene: &mut Scene<'_>) -> Check {
    set(&mut scene.config, "/process/capabilities", json!({}));
    scene.script("grep ^Cap /proc/self/status");
    let ran = scene.run()?;
    for field in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        ensure!(
            mask(&ran.stdout, field) == Some(0),
            "{field} is not empty: {}",
            ran.story()
        );
    }
    Ok(())
}
