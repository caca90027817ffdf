//! config-linux.md#control-groups: placement and limits, read on the host while the container is created.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde_json::{Value, json};

use crate::cgroups;
use crate::config::{mount, namespace, set, strip, unmount, user_namespace};
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
pub(crate) fn disk() -> Check<(u32, u32)> {
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
pub(crate) fn controller(name: &str) -> Check {
    let all = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers")?;
    if all.split_whitespace().any(|known| known == name) {
        return Ok(());
    }
    Err(Stop::Skip(format!(
        "this cgroup2 has no {name} controller: a VM has it"
    )))
}

pub(crate) fn needs(controller: &str, file: &str) -> Check {
    if cgroups::offers(controller, file) {
        Ok(())
    } else {
        Err(Stop::Skip(format!(
            "the kernel has no {controller} cgroup file {file}"
        )))
    }
}

/// A cgroup has no more realtime than the one above, which is the run's and has none yet.
pub(crate) fn realtime(scene: &mut Scene<'_>) -> Check {
    needs("cpu", "cpu.rt_runtime_us")?;
    let above = Path::new("/sys/fs/cgroup/cpu").join(&scene.suite.tag);
    fs::create_dir_all(&above)?;
    fs::write(above.join("cpu.rt_runtime_us"), "10000")?;
    Ok(())
}

/// A kernel where memory can be counted cgroup by cgroup.
fn flat(_: &mut Scene<'_>) -> Check {
    needs("memory", "memory.use_hierarchy")?;
    match cgroups::read("memory", "/", "memory.use_hierarchy")?.trim() {
        "1" => Err(Stop::Skip(
            "the kernel counts by hierarchy in any case".to_owned(),
        )),
        _ => Ok(()),
    }
}

/// The only node is what a cpuset without the property has as well.
fn two_nodes(_: &mut Scene<'_>) -> Check {
    let online = fs::read_to_string("/sys/devices/system/node/online").unwrap_or_default();
    if online.trim() == "0-1" {
        return Ok(());
    }
    Err(Stop::Skip(
        "needs two memory nodes to tell one from the other".to_owned(),
    ))
}

/// Opening a device node for reading and for writing. It is /dev/loop-control,
/// which needs no capability and which no runtime allows by default.
const OPEN: Probe = Probe::Script(
    "mknod /tmp/node c 10 237; (exec 3</tmp/node) && echo opened; (exec 3>/tmp/node) && echo writable",
);

pub(super) fn loop_control(_: &mut Scene<'_>) -> Check {
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
    // config-linux.md#cgroup-ownership
    Property {
        name: "linux.cgroupsPath.owner",
        set: |_, config| {
            user_namespace(config);
            namespace(config, json!({ "type": "cgroup" }));
            mount(config, "/sys/fs/cgroup", "cgroup", "cgroup", &["rw"]);
            set(config, "/process/user/uid", json!(5));
        },
        strip: |config| {
            unmount(config, "/sys/fs/cgroup");
            mount(config, "/sys/fs/cgroup", "cgroup", "cgroup", &["ro"]);
        },
        probe: Probe::Created(|scene, _| {
            let dir = cgroups::directories(&scene.cgroup).remove(0);
            let given = ["cgroup.procs", "cgroup.subtree_control", "cgroup.threads"];
            let files = [".", "cgroup.max.depth"].into_iter().chain(given);
            let owners = files.map(|file| fs::metadata(dir.join(file)).map(|file| file.uid()));
            let owners: std::io::Result<Vec<_>> = owners.collect();
            Ok(format!("{:?}", owners?))
        }),
        expect: Expect::Is("[100005, 0, 100005, 100005, 100005]"),
        known: &[
            ("runc", "does so with systemd only"),
            ("crun", "gives it to the container's root"),
        ],
        view: View::V2,
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
        prepare: flat,
        ..limit!(
            "linux.resources.memory.useHierarchy",
            "memory/useHierarchy",
            json!(true),
            "memory",
            "memory.use_hierarchy",
            "1"
        )
    },
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
    Property {
        prepare: realtime,
        ..limit!(
            "linux.resources.cpu.realtimeRuntime",
            "cpu/realtimeRuntime",
            json!(1000),
            "cpu",
            "cpu.rt_runtime_us",
            "1000"
        )
    },
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
    Property {
        prepare: two_nodes,
        ..limit!(
            "linux.resources.cpu.mems",
            "cpu",
            json!({ "mems": "1" }),
            "cpuset",
            "cpuset.mems",
            "1"
        )
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
    Property {
        // As much as the program itself: nothing that a runtime needs may count.
        name: "linux.resources.pids.limit.one",
        prepare: |_| super::update::needs_pids(),
        set: |_, config| set(config, "/linux/resources/pids", json!({ "limit": 1 })),
        strip: |config| strip(config, "/linux/resources/pids"),
        probe: Probe::Script("(true); echo forked"),
        expect: Expect::Has("can't fork"),
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
    limit!(
        "linux.resources.blockIO.leafWeight",
        "blockIO/leafWeight",
        json!(321),
        "blkio",
        "blkio.leaf_weight",
        "321"
    ),
    throttle!("throttleReadBpsDevice", "read_bps"),
    throttle!("throttleWriteBpsDevice", "write_bps"),
    throttle!("throttleReadIOPSDevice", "read_iops"),
    throttle!("throttleWriteIOPSDevice", "write_iops"),
    limit!(
        "linux.resources.network.classID",
        "network/classID",
        json!(1_048_577),
        "net_cls",
        "net_cls.classid",
        "1048577"
    ),
    Property {
        expect: Expect::Has("lo 7\n"),
        ..limit!(
            "linux.resources.network.priorities",
            "network/priorities",
            json!([{ "name": "lo", "priority": 7 }]),
            "net_prio",
            "net_prio.ifpriomap",
            ""
        )
    },
    Property {
        prepare: |_| {
            needs("rdma", "rdma.max")?;
            match Path::new("/sys/class/infiniband/mlx5_0").exists() {
                true => Ok(()),
                false => Err(Stop::Skip("needs the RDMA device mlx5_0".to_owned())),
            }
        },
        expect: Expect::Has("mlx5_0 hca_handle=3"),
        ..limit!(
            "linux.resources.rdma",
            "rdma",
            json!({ "mlx5_0": { "hcaHandles": 3 } }),
            "rdma",
            "rdma.max",
            ""
        )
    },
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
    scenario("linux.resources.pids.limit.zero", no_pids)
        .on(View::V1)
        .deviates(&[
            ("runc", "takes 0 for no limit"),
            ("crun", "takes 0 for no limit"),
        ]),
    scenario("linux.resources.unified.each-line", each_line)
        .on(View::V2)
        .deviates(&[("runc", "1.1 writes the value at once")]),
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

/// config-linux.md#pids: 0 is a limit, not the lack of one: the program may run, and have no child.
fn no_pids(scene: &mut Scene<'_>) -> Check {
    let limit = json!({ "limit": 0 });
    set(&mut scene.config, "/linux/resources/pids", limit);
    scene.script("echo alone; /bin/true; echo never");
    scene.create()?;
    let limit = cgroups::read("pids", &scene.cgroup, "pids.max")?;
    ensure!(limit.trim() == "0", "0 gave {limit}");
    scene.must("delete")?;
    let ran = scene.run()?;
    ensure!(ran.stdout == "alone\n", "had a child: {}", ran.story());
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
