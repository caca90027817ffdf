//! config-linux.md#block-io, of a disk with a weight; and config-linux.md#memory, of the kernel's own.

use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;

use super::cgroups::{controller, needs};
use super::exec::{exec, sleeper};
use crate::cgroups;
use crate::config::{push, set, strip};
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
    scenario(
        "linux.resources.blockIO.throttleReadBpsDevice.in-effect",
        throttled,
    ),
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

/// A disk that we may read: the last one, the least busy where there are several; or one of our own.
pub(super) fn readable(scene: &mut Scene<'_>) -> Check<(u32, u32)> {
    let disks = fs::read_dir("/sys/block").into_iter().flatten().flatten();
    let numbers = disks.filter_map(|disk| {
        let text = |file: &str| fs::read_to_string(disk.path().join(file)).ok();
        let sectors: u64 = text("size")?.trim().parse().ok()?;
        let numbers = text("dev")?;
        let (major, minor) = numbers.trim().split_once(':')?;
        // Loop devices are somebody's, and zram is no disk.
        let real = disk.path().join("device").exists() && sectors > 1 << 15;
        let may = real && File::open(Path::new("/dev").join(disk.file_name())).is_ok();
        may.then_some((major.parse().ok()?, minor.parse().ok()?))
    });
    if let Some(numbers) = numbers.max() {
        return Ok(numbers);
    }
    let own = Disk::new(&scene.path("disk"))?;
    let numbers = (own.major, own.minor);
    scene.disk = Some(own);
    Ok(numbers)
}

/// A node of the disk, and leave to read it.
pub(super) fn with_disk(scene: &mut Scene<'_>, major: u32, minor: u32) {
    let node = json!({ "path": "/dev/disk", "type": "b", "major": major, "minor": minor, "fileMode": 0o600, "uid": 0, "gid": 0 });
    push(&mut scene.config, "/linux/devices", node);
    let rule =
        json!({ "allow": true, "type": "b", "major": major, "minor": minor, "access": "rwm" });
    push(&mut scene.config, "/linux/resources/devices", rule);
}

/// Reads some MiB past every cache.
pub(super) fn read_disk(scene: &Scene<'_>, mebibytes: u32) -> Check<Duration> {
    let count = format!("count={}", mebibytes * 16);
    let begin = Instant::now();
    let dd = [
        "dd",
        "if=/dev/disk",
        "of=/dev/null",
        "bs=64k",
        "iflag=direct",
        &count,
    ];
    let ran = exec(scene, &[], &dd).run()?;
    ran.must()?;
    Ok(begin.elapsed())
}

/// 3 MiB at 1 MiB a second; without the limit it is over at once.
fn throttled(scene: &mut Scene<'_>) -> Check {
    if cgroups::unified() {
        controller("io")?;
    }
    let (major, minor) = readable(scene)?;
    with_disk(scene, major, minor);
    let free = {
        let mut other = Scene::new(scene.suite)?;
        with_disk(&mut other, major, minor);
        sleeper(&mut other)?;
        read_disk(&other, 3)?
    };
    let limit = json!([{ "major": major, "minor": minor, "rate": 1 << 20 }]);
    set(
        &mut scene.config,
        "/linux/resources/blockIO/throttleReadBpsDevice",
        limit,
    );
    sleeper(scene)?;
    let slow = read_disk(scene, 3)?;
    ensure!(
        slow >= Duration::from_secs(2) && slow > free * 2,
        "{slow:?}, without the limit {free:?}"
    );
    Ok(())
}
