//! config-linux.md#control-groups on cgroup2: each limit, converted, in the file that the kernel keeps it in.

use std::fs;

use serde_json::{Value, json};

use super::cgroups::{controller, disk};
use crate::cgroups;
use crate::config::{set, strip};
use crate::disk::Disk;
use crate::property::{Expect, PROPERTY, Probe, Property};
use crate::scene::Scene;
use crate::suite::{Check, Known, Stop, View};

const BURST: Known = &[
    ("runc", "1.1 does not know it"),
    ("crun", "1.8 does not know it"),
];
const IDLE: Known = &[("runc", "1.1 does not know it")];
const WEIGHT: Known = &[
    ("runc", "1.1 has the older conversion"),
    ("crun", "1.8 has the older conversion"),
];

/// The property's place below linux.resources, what is there besides, its value, the controller, the file, and what
/// the file says.
macro_rules! limit {
    ($name:literal, $besides:literal, $value:literal, $controller:literal, $file:literal, $expect:literal) => {
        Property {
            name: concat!("linux.resources.", $name, ".cgroup2"),
            prepare: |_| controller($controller),
            set: |_, config| {
                set(config, &part($name), parsed($besides));
                set(config, &whole($name), parsed($value));
            },
            strip: |config| strip(config, &whole($name)),
            probe: Probe::Created(|scene, _| Ok(said(scene, $file))),
            expect: Expect::Is($expect),
            view: View::V2,
            ..PROPERTY
        }
    };
}

/// A limit on the first disk, and its word in io.max.
macro_rules! throttle {
    ($name:literal, $expect:literal) => {
        Property {
            name: concat!("linux.resources.blockIO.", $name, ".cgroup2"),
            prepare: |_| {
                controller("io")?;
                disk().map(drop)
            },
            set: |_, config| {
                let Ok((major, minor)) = disk() else { return };
                let list = json!([{ "major": major, "minor": minor, "rate": 1_048_576 }]);
                set(config, concat!("/linux/resources/blockIO/", $name), list);
            },
            strip: |config| strip(config, concat!("/linux/resources/blockIO/", $name)),
            probe: Probe::Created(|scene, _| Ok(said(scene, "io.max"))),
            expect: Expect::That(|_, seen| {
                disk().is_ok_and(|(major, minor)| seen == format!("{major}:{minor} {}", $expect))
            }),
            view: View::V2,
            ..PROPERTY
        }
    };
}

#[rustfmt::skip] // a table: one row, one line
pub(crate) const PROPERTIES: &[Property] = &[
    limit!("memory.limit", "{}", "67108864", "memory", "memory.max", "67108864"),
    // Without the memory: the configuration has both together.
    limit!("memory.swap", r#"{"limit":67108864}"#, "100663296", "memory", "memory.swap.max", "33554432"),
    limit!("memory.reservation", "{}", "33554432", "memory", "memory.low", "33554432"),
    Property { known: WEIGHT, ..limit!("cpu.shares", "{}", "512", "cpu", "cpu.weight", "59") },
    limit!("cpu.quota", "{}", "50000", "cpu", "cpu.max", "50000 100000"),
    limit!("cpu.period", r#"{"quota":50000}"#, "200000", "cpu", "cpu.max", "50000 200000"),
    Property { known: BURST, ..limit!("cpu.burst", r#"{"quota":50000}"#, "20000", "cpu", "cpu.max.burst", "20000") },
    Property { known: IDLE, ..limit!("cpu.idle", "{}", "1", "cpu", "cpu.idle", "1") },
    limit!("cpu.cpus", "{}", r#""0""#, "cpuset", "cpuset.cpus", "0"),
    limit!("cpu.mems", "{}", r#""0""#, "cpuset", "cpuset.mems", "0"),
    limit!("pids.limit", "{}", "33", "pids", "pids.max", "33"),
    throttle!("throttleReadBpsDevice", "rbps=1048576 wbps=max riops=max wiops=max"),
    throttle!("throttleWriteBpsDevice", "rbps=max wbps=1048576 riops=max wiops=max"),
    throttle!("throttleReadIOPSDevice", "rbps=max wbps=max riops=1048576 wiops=max"),
    throttle!("throttleWriteIOPSDevice", "rbps=max wbps=max riops=max wiops=1048576"),
    // Where the kernel has BFQ's file, it has the numbers as they are; else io.weight has them on its own scale.
    Property {
        prepare: weights,
        probe: Probe::Created(|scene, _| Ok(said(scene, "io.bfq.weight"))),
        ..limit!("blockIO.weight", "{}", "321", "io", "", "default 321")
    },
    Property {
        name: "linux.resources.blockIO.weightDevice.weight.cgroup2",
        prepare: |scene| {
            weights(scene)?;
            scene.disk = Some(Disk::with_weights(&scene.path("disk"))?);
            Ok(())
        },
        set: |scene, config| {
            let Some(disk) = &scene.disk else { return };
            let given = json!([{ "major": disk.major, "minor": disk.minor, "weight": 321 }]);
            set(config, "/linux/resources/blockIO/weightDevice", given);
        },
        strip: |config| strip(config, "/linux/resources/blockIO/weightDevice"),
        probe: Probe::Created(|scene, _| Ok(said(scene, "io.bfq.weight"))),
        expect: Expect::That(|scene, seen| {
            let Some(disk) = &scene.disk else { return false };
            let wanted = format!("{}:{} 321", disk.major, disk.minor);
            seen.lines().any(|line| line == wanted)
        }),
        view: View::V2,
        ..PROPERTY
    },
];

/// BFQ brings the file when it is loaded, which the choice for some disk does.
fn weights(scene: &mut Scene<'_>) -> Check {
    controller("io")?;
    drop(Disk::with_weights(&scene.path("any-disk"))?);
    fs::write("/sys/fs/cgroup/cgroup.subtree_control", "+io")?;
    match cgroups::offers("", "io.bfq.weight") {
        true => Ok(()),
        false => Err(Stop::Skip("this kernel has no io.bfq.weight".to_owned())),
    }
}

/// Without the property the controller need not be there, and then its files are not.
fn said(scene: &Scene<'_>, file: &str) -> String {
    cgroups::read("", &scene.cgroup, file).unwrap_or_else(|error| error.to_string())
}

/// The pointer of `memory.limit`.
fn whole(name: &str) -> String {
    format!("/linux/resources/{}", name.replace('.', "/"))
}

/// The pointer of `memory`.
fn part(name: &str) -> String {
    whole(name.split('.').next().unwrap_or(name))
}

fn parsed(json: &str) -> Value {
    serde_json::from_str(json).unwrap_or_default()
}
