//! config-linux.md#block-io, of a disk with a weight; and config-linux.md#memory, of the kernel's own.

use std::fs;

use serde_json::json;

use super::cgroups::needs;
use crate::cgroups;
use crate::config::{set, strip};
use crate::disk::Disk;
use crate::property::{Expect, Probe, Property, Scenario, scenario};
use crate::scene::Scene;
use crate::suite::{Check, Known, View, ensure};

/// A property of a disk's weight, and the file that says `MAJOR:MINOR 321`.
macro_rules! weight {
    ($name:literal, $file:literal, $known:expr) => {
        Property {
            name: concat!("linux.resources.blockIO.weightDevice.", $name),
            prepare: |scene| {
                needs("blkio", $file)?;
                scene.disk = Some(Disk::with_weights(&scene.path("disk"))?);
                Ok(())
            },
            set: |scene, config| {
                let Some(disk) = &scene.disk else { return };
                let given = json!([{ "major": disk.major, "minor": disk.minor, $name: 321 }]);
                set(config, "/linux/resources/blockIO/weightDevice", given);
            },
            strip: |config| strip(config, "/linux/resources/blockIO/weightDevice"),
            probe: Probe::Created(|scene, _| Ok(cgroups::read("blkio", &scene.cgroup, $file)?)),
            expect: Expect::That(|scene, seen| {
                let Some(disk) = &scene.disk else {
                    return false;
                };
                let wanted = format!("{}:{} 321", disk.major, disk.minor);
                seen.lines().any(|line| line == wanted)
            }),
            known: $known,
            view: View::V1,
        }
    };
}

const CFQ: Known = &[("crun", "knows blkio.weight_device only, not BFQ's")];

pub(crate) const PROPERTIES: &[Property] = &[
    weight!("weight", "blkio.bfq.weight_device", CFQ),
    weight!("leafWeight", "blkio.leaf_weight_device", &[]),
];

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario("linux.resources.memory.kernel", |scene| {
        given_or_warned(scene, "kernel", "memory.kmem.limit_in_bytes")
    })
    .on(View::V1)
    .deviates(&[(
        "crun",
        "writes what kernels no longer heed, and says nothing",
    )]),
    scenario("linux.resources.memory.kernelTCP", |scene| {
        given_or_warned(scene, "kernelTCP", "memory.kmem.tcp.limit_in_bytes")
    })
    .on(View::V1),
    scenario("linux.resources.memory.of-the-kernel-is-refused", refused)
        .on(View::V2)
        .deviates(&[("runc", "ignores them with a warning")]),
];

/// NOT RECOMMENDED, and kernels have stopped to heed them one by one: a runtime may leave them out, but says so.
fn given_or_warned(scene: &mut Scene<'_>, name: &str, file: &str) -> Check {
    let place = format!("/linux/resources/memory/{name}");
    set(&mut scene.config, &place, json!(33_554_432));
    let ran = scene.try_create()?.must()?;
    let limit = cgroups::read("memory", &scene.cgroup, file).unwrap_or_default();
    // runc speaks of both together.
    let warned = ran.stderr.to_lowercase().contains("kernel");
    ensure!(
        limit.trim() == "33554432" || warned,
        "neither a limit nor a warning: {}",
        ran.story()
    );
    Ok(())
}

/// config-linux.md#unified: what has no counterpart there is an error.
fn refused(scene: &mut Scene<'_>) -> Check {
    for name in ["kernel", "kernelTCP"] {
        scene.config["linux"]["resources"] = json!({ "memory": { name: 33_554_432 } });
        let ran = scene.try_create()?;
        ensure!(!ran.ok(), "{name} was accepted");
        ensure!(
            fs::metadata(scene.path("state").join(&scene.id)).is_err(),
            "a state directory was left"
        );
    }
    Ok(())
}
