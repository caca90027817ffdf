//! config-linux.md#control-groups: placement and limits, read on the host while the container is created.

use std::fs;

use serde_json::{Value, json};

use crate::cgroups;
use crate::config::{set, strip};
use crate::property::{Expect, PROPERTY, Probe, Property, Scenario, scenario};
use crate::scene::Scene;
use crate::suite::{Check, Stop, View, ensure};

/// A v1 limit: pointer under linux.resources, value, controller, file, what the file must say.
macro_rules! limit {
    ($name:literal, $pointer:literal, $value:expr, $controller:literal, $file:literal, $expect:literal) => {
        Property {
            name: $name,
            prepare: |_| needs($controller, $file),
            set: |_, config| set(config, concat!("/linux/resources/", $pointer), $value),
            strip: |config| strip(config, concat!("/linux/resources/", $pointer)),
            probe: Probe::Created(|scene, _| Ok(cgroups::read($controller, &scene.cgroup, $file)?)),
            expect: Expect::Is($expect),
            view: View::V1,
            ..PROPERTY
        }
    };
}

/// A v1 limit on the first disk.
macro_rules! throttle {
    ($name:literal, $file:literal) => {
        Property {
            name: concat!("linux.resources.blockIO.", $name),
            prepare: |_| disk().map(drop),
            set: |_, config| {
                let Ok((major, minor)) = disk() else { return };
                let list = json!([{ "major": major, "minor": minor, "rate": 1_048_576 }]);
                let pointer = concat!("/linux/resources/blockIO/", $name);
                set(config, pointer, list);
            },
            strip: |config| strip(config, concat!("/linux/resources/blockIO/", $name)),
            probe: Probe::Created(|scene, _| {
                let file = concat!("blkio.throttle.", $file, "_device");
                Ok(cgroups::read("blkio", &scene.cgroup, file)?)
            }),
            expect: Expect::That(|_, seen| {
                disk().is_ok_and(|(major, minor)| seen == format!("{major}:{minor} 1048576"))
            }),
            view: View::V1,
            ..PROPERTY
        }
    };
}

/// The numbers of some whole disk.
fn disk() -> Check<(u32, u32)> {
    let disks = fs::read_dir("/sys/block").into_iter().flatten().flatten();
    let numbers = disks.filter_map(|disk| {
        let text = fs::read_to_string(disk.path().join("dev")).ok()?;
        let (major, minor) = text.trim().split_once(':')?;
        Some((major.parse().ok()?, minor.parse().ok()?))
    });
    // Sorted, so that each call finds the same one.
    let first = numbers.min();
    first.ok_or_else(|| Stop::Skip("this host has no disk".to_owned()))
}

/// A controller of this host's cgroup2.
fn controller(name: &str) -> Check {
    let all = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers")?;
    if all.split_whitespace().any(|known| known == name) {
        return Ok(());
    }
    Err(Stop::Skip(format!("this cgroup2 has no {name} controller")))
}

fn needs(controller: &str, file: &str) -> Check {
    if cgroups::offers(controller, file) {
        Ok(())
    } else {
        Err(Stop::Skip(format!(
            "the kernel has no {controller} cgroup file {file}"
        )))
    }
}

/// Opening a device node for reading and for writing. It is /dev/loop-control,
/// which needs no capability and which no runtime allows by default.
const OPEN: Probe = Probe::Script(
    "mknod /tmp/node c 10 237; (exec 3</tmp/node) && echo opened; (exec 3>/tmp/node) && echo writable",
);

fn loop_control(_: &mut Scene<'_>) -> Check {
    let misc = fs::read_to_string("/proc/misc")?;
    if misc.contains("237 loop-control") {
        Ok(())
    } else {
        Err(Stop::Skip(
            "the kernel has no loop-control device".to_owned(),
        ))
    }
}

fn rules(config: &mut Value, rules: Value) {
    set(config, "/linux/resources/devices", rules);
}

pub(crate) const PROPERTIES: &[Property] = &[
    Property {
        name: "linux.cgroupsPath",
        set: |scene, config| {
            set(
                config,
                "/linux/cgroupsPath",
                json!(format!("{}/deep/er", scene.cgroup)),
            )
        },
        strip: |config| strip(config, "/linux/cgroupsPath"),
        probe: Probe::Created(|_, pid| Ok(fs::read_to_string(format!("/proc/{pid}/cgroup"))?)),
        expect: Expect::That(|scene, seen| {
            let path = format!(":{}/deep/er", scene.cgroup);
            seen.contains(&path) && placed(seen).all(|line| line.ends_with(&path))
        }),
        ..PROPERTY
    },
    limit!(
        "linux.resources.memory.limit",
        "memory/limit",
        json!(67_108_864),
        "memory",
        "memory.limit_in_bytes",
        "67108864"
    ),
    limit!(
        "linux.resources.memory.reservation",
        "memory/reservation",
        json!(33_554_432),
        "memory",
        "memory.soft_limit_in_bytes",
        "33554432"
    ),
    limit!(
        "linux.resources.memory.swappiness",
        "memory/swappiness",
        json!(7),
        "memory",
        "memory.swappiness",
        "7"
    ),
    limit!(
        "linux.resources.memory.swap",
        "memory",
        json!({ "limit": 67_108_864, "swap": 134_217_728 }),
        "memory",
        "memory.memsw.limit_in_bytes",
        "134217728"
    ),
    Property {
        expect: Expect::Has("oom_kill_disable 1"),
        ..limit!(
            "linux.resources.memory.disableOOMKiller",
            "memory",
            json!({ "disableOOMKiller": true }),
            "memory",
            "memory.oom_control",
            ""
        )
    },
    limit!(
        "linux.resources.cpu.shares",
        "cpu/shares",
        json!(512),
        "cpu",
        "cpu.shares",
        "512"
    ),
    limit!(
        "linux.resources.cpu.quota",
        "cpu/quota",
        json!(50_000),
        "cpu",
        "cpu.cfs_quota_us",
        "50000"
    ),
    limit!(
        "linux.resources.cpu.period",
        "cpu/period",
        json!(50_000),
        "cpu",
        "cpu.cfs_period_us",
        "50000"
    ),
    Property {
        known: &[("runc", "1.1 does not know it")],
        ..limit!(
            "linux.resources.cpu.burst",
            "cpu",
            json!({ "quota": 50_000, "period": 100_000, "burst": 20_000 }),
            "cpu",
            "cpu.cfs_burst_us",
            "20000"
        )
    },
    Property {
        known: &[("runc", "1.1 does not know it")],
        ..limit!(
            "linux.resources.cpu.idle",
            "cpu/idle",
            json!(1),
            "cpu",
            "cpu.idle",
            "1"
        )
    },
    limit!(
        "linux.resources.cpu.realtimePeriod",
        "cpu/realtimePeriod",
        json!(900_000),
        "cpu",
        "cpu.rt_period_us",
        "900000"
    ),
    limit!(
        "linux.resources.cpu.cpus",
        "cpu/cpus",
        json!("0"),
        "cpuset",
        "cpuset.cpus",
        "0"
    ),
    Property {
        // A host with one memory node can't show a difference, hence the set is looked at as a whole.
        name: "linux.resources.cpu.cpus.in-effect",
        prepare: |_| needs("cpuset", "cpuset.cpus"),
        set: |_, config| {
            set(
                config,
                "/linux/resources/cpu",
                json!({ "cpus": "1", "mems": "0" }),
            )
        },
        strip: |config| strip(config, "/linux/resources/cpu"),
        probe: Probe::Script("grep Cpus_allowed_list /proc/self/status | cut -f2"),
        expect: Expect::Is("1"),
        view: View::V1,
        ..PROPERTY
    },
    limit!(
        "linux.resources.pids.limit",
        "pids/limit",
        json!(77),
        "pids",
        "pids.max",
        "77"
    ),
    Property {
        name: "linux.resources.pids.limit.in-effect",
        set: |_, config| set(config, "/linux/resources/pids", json!({ "limit": 9 })),
        strip: |config| strip(config, "/linux/resources/pids"),
        probe: Probe::Script(
            "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 0.2 & done; wait; echo end",
        ),
        expect: Expect::Has("can't fork"),
        view: View::V1,
        ..PROPERTY
    },
    limit!(
        "linux.resources.blockIO.weight",
        "blockIO/weight",
        json!(321),
        "blkio",
        "blkio.bfq.weight",
        "321"
    ),
    throttle!("throttleReadBpsDevice", "read_bps"),
    throttle!("throttleWriteBpsDevice", "write_bps"),
    throttle!("throttleReadIOPSDevice", "read_iops"),
    throttle!("throttleWriteIOPSDevice", "write_iops"),
    Property {
        prepare: |_| controller("hugetlb"),
        view: View::V2,
        ..limit!(
            "linux.resources.hugepageLimits",
            "hugepageLimits",
            json!([{ "pageSize": "2MB", "limit": 4_194_304 }]),
            "hugetlb",
            "hugetlb.2MB.max",
            "4194304"
        )
    },
    Property {
        prepare: |_| controller("hugetlb"),
        view: View::V2,
        known: &[("runc", "1.1 limits page faults alone")],
        ..limit!(
            "linux.resources.hugepageLimits.reservations",
            "hugepageLimits",
            json!([{ "pageSize": "2MB", "limit": 4_194_304 }]),
            "hugetlb",
            "hugetlb.2MB.rsvd.max",
            "4194304"
        )
    },
    Property {
        prepare: |_| controller("hugetlb"),
        view: View::V2,
        ..limit!(
            "linux.resources.unified",
            "unified",
            json!({ "hugetlb.2MB.max": "6291456", "cgroup.max.depth": "3" }),
            "hugetlb",
            "hugetlb.2MB.max",
            "6291456"
        )
    },
    Property {
        // The host's list, before and after the rules: allowed is what the config allows.
        name: "linux.resources.devices.list",
        set: |_, config| {
            let list = json!([{ "allow": false, "access": "rwm" }, { "allow": true, "type": "c", "major": 10, "minor": 229, "access": "rw" }]);
            rules(config, list);
        },
        strip: |config| rules(config, json!([{ "allow": false, "access": "rwm" }])),
        probe: Probe::Created(|scene, _| {
            Ok(cgroups::read("devices", &scene.cgroup, "devices.list")?)
        }),
        expect: Expect::Has("c 10:229 rw\n"),
        view: View::V1,
        ..PROPERTY
    },
    Property {
        name: "linux.resources.devices.deny",
        prepare: loop_control,
        set: |_, config| rules(config, json!([{ "allow": false, "access": "rwm" }])),
        strip: |config| rules(config, json!([{ "allow": true, "access": "rwm" }])),
        probe: OPEN,
        expect: Expect::That(|_, seen| {
            seen.contains("Operation not permitted") && !seen.contains("opened")
        }),
        ..PROPERTY
    },
    Property {
        // Rules apply in order, and only for the access they name.
        name: "linux.resources.devices.allow",
        prepare: loop_control,
        set: |_, config| {
            let list = json!([{ "allow": false, "access": "rwm" }, { "allow": true, "type": "c", "major": 10, "minor": 237, "access": "r" }]);
            rules(config, list);
        },
        strip: |config| strip(config, "/linux/resources/devices/1"),
        probe: OPEN,
        expect: Expect::That(|_, seen| seen.contains("opened") && !seen.contains("writable")),
        ..PROPERTY
    },
];

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario("linux.cgroupsPath.every-hierarchy", every_hierarchy),
    scenario("linux.cgroupsPath.removed-by-delete", removed),
    scenario("linux.resources.pids.limit.unlimited", unlimited_pids).on(View::V1),
    scenario("linux.resources.unified.on-v1-is-refused", |scene| {
        refused(scene, json!({ "unified": { "pids.max": "10" } }), "")
    })
    .on(View::V1),
    scenario("linux.resources.unified.each-line", each_line)
        .on(View::V2)
        .deviates(&[("runc", "1.1 writes the value at once")]),
    scenario("linux.resources.unified.unknown-is-refused", |scene| {
        let unknown = json!({ "unified": { "cgroup.no_such_file": "1" } });
        refused(scene, unknown, "no_such_file")?;
        let elsewhere = json!({ "unified": { "nosuch.max": "1" } });
        refused(scene, elsewhere, "nosuch")?;
        refused(
            scene,
            json!({ "unified": { "../cgroup.max.depth": "1" } }),
            "",
        )
    })
    .on(View::V2),
    scenario("linux.resources.without-controller-is-refused", |scene| {
        refused_by_us(scene, WITHOUT_CONTROLLER)
    }),
    scenario("linux.resources.of-v1-alone-is-refused", |scene| {
        refused_by_us(scene, OF_V1_ALONE)
    })
    .on(View::V2),
];

/// The lines of /proc/PID/cgroup that count: the one hierarchy, or all v1 hierarchies.
/// Hybrid hosts have an almost empty cgroup2 besides, which a runtime need not use.
fn placed(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .filter(|line| cgroups::unified() == line.starts_with("0::"))
}

fn every_hierarchy(scene: &mut Scene<'_>) -> Check {
    let pid = scene.create()?;
    let directories = cgroups::directories(&scene.cgroup);
    ensure!(!directories.is_empty(), "no cgroup was made");
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    for line in placed(&text) {
        ensure!(
            line.ends_with(&scene.cgroup),
            "init is not in its cgroup: {line}"
        );
    }
    Ok(())
}

fn removed(scene: &mut Scene<'_>) -> Check {
    scene.script("exit 0");
    scene.start()?;
    scene.wait_status("stopped")?;
    scene.must("delete")?;
    scene.leaves_nothing()
}

fn unlimited_pids(scene: &mut Scene<'_>) -> Check {
    set(
        &mut scene.config,
        "/linux/resources/pids",
        json!({ "limit": -1 }),
    );
    scene.create()?;
    let limit = cgroups::read("pids", &scene.cgroup, "pids.max")?;
    ensure!(limit.trim() == "max", "-1 gave {limit}");
    Ok(())
}

fn refused(scene: &mut Scene<'_>, resources: Value, words: &str) -> Check {
    scene.config["linux"]["resources"] = resources;
    let ran = scene.try_create()?;
    ensure!(
        !ran.ok() && ran.stderr.contains(words),
        "a limit that can't be set was accepted or not named: {}",
        ran.story()
    );
    scene.leaves_nothing()
}

/// A limit that can't be set here must not be dropped in silence: the controller that it
/// needs, where in `linux.resources` it stands, and the value.
type Refusals = &'static [(&'static str, &'static str, &'static str)];

const WITHOUT_CONTROLLER: Refusals = &[
    ("memory", "memory.limit", r#"{"memory":{"limit":67108864}}"#),
    ("pids", "pids.limit", r#"{"pids":{"limit":100}}"#),
    (
        "blkio io",
        "blockIO.weight",
        r#"{"blockIO":{"weight":100}}"#,
    ),
    (
        "hugetlb",
        "hugepageLimits[0]",
        r#"{"hugepageLimits":[{"pageSize":"2MB","limit":0}]}"#,
    ),
    (
        "rdma",
        "rdma (mlx5_1)",
        r#"{"rdma":{"mlx5_1":{"hcaHandles":3}}}"#,
    ),
    (
        "net_cls",
        "network.classID",
        r#"{"network":{"classID":1048577}}"#,
    ),
    (
        "net_prio",
        "network.priorities[0]",
        r#"{"network":{"priorities":[{"name":"lo","priority":1}]}}"#,
    ),
];

const OF_V1_ALONE: Refusals = &[
    ("", "memory.swappiness", r#"{"memory":{"swappiness":10}}"#),
    (
        "",
        "memory.disableOOMKiller",
        r#"{"memory":{"disableOOMKiller":true}}"#,
    ),
    ("", "memory.kernel", r#"{"memory":{"kernel":67108864}}"#),
    (
        "",
        "memory.kernelTCP",
        r#"{"memory":{"kernelTCP":67108864}}"#,
    ),
    (
        "",
        "cpu.realtimeRuntime",
        r#"{"cpu":{"realtimeRuntime":1000}}"#,
    ),
    (
        "",
        "cpu.realtimePeriod",
        r#"{"cpu":{"realtimePeriod":1000000}}"#,
    ),
    (
        "",
        "blockIO.leafWeight",
        r#"{"blockIO":{"leafWeight":100}}"#,
    ),
    ("", "network.classID", r#"{"network":{"classID":1048577}}"#),
];

fn refused_by_us(scene: &mut Scene<'_>, refusals: Refusals) -> Check {
    if scene.runtime().name != "longshore" {
        return Err(Stop::Skip(
            "only longshore promises to refuse a limit that it can't set".to_owned(),
        ));
    }
    for (controllers, path, resources) in refusals {
        if !controllers.split(' ').any(cgroups::has) {
            let words = format!("linux.resources.{path}");
            refused(scene, serde_json::from_str(resources)?, &words)?;
        }
    }
    Ok(())
}

fn each_line(scene: &mut Scene<'_>) -> Check {
    controller("hugetlb")?;
    let lines = "2097152\n6291456\n";
    scene.config["linux"]["resources"] = json!({ "unified": { "hugetlb.2MB.max": lines } });
    scene.create()?;
    let limit = cgroups::read("hugetlb", &scene.cgroup, "hugetlb.2MB.max")?;
    ensure!(limit.trim() == "6291456", "two lines gave {limit}");
    Ok(())
}
