//! De facto, as engines use it: `update`, how it is called and what it leaves alone.

use std::fs::{self, File};

use serde_json::{Value, json};

use super::cgroups::{controller, needs, realtime};
use super::exec::{says, sleeper};
use crate::cgroups;
use crate::config::{set, strip};
use crate::property::{Scenario, scenario};
use crate::runtime::{Call, Ran};
use crate::scene::{Scene, until};
use crate::suite::{Check, View, ensure};

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario("update.resources.forms", forms),
    scenario("update.resources.ignores-flags", ignores_flags),
    scenario("update.resources.invalid", invalid),
    scenario("update.realtime", real_time).on(View::V1),
    scenario("update.memory.both-ways", both_ways).on(View::V1),
    scenario("update.memory.lifted", lifted),
    scenario("update.memory.units", units).deviates(&[("crun", "knows bytes alone")]),
    scenario("update.cpu.apart", apart),
    scenario("update.created-and-paused", created_and_paused),
    scenario("update.stopped", stopped),
    scenario("update.unknown-id", unknown_id),
    scenario("update.all-or-nothing", all_or_nothing)
        .deviates(&[("runc", "1.1 puts nothing back on cgroup2")]),
    scenario("update.one-after-the-other", one_after_the_other),
    scenario("update.lists", lists)
        .on(View::V1)
        .deviates(&[("runc", "leaves throttles out of an update")]),
    scenario("update.leaves-devices", leaves_devices),
    scenario("update.kernel-memory", kernel_memory),
    scenario("update.names-the-property", names_the_property).deviates(&[
        ("runc", "has words of its own"),
        ("crun", "has words of its own"),
    ]),
    scenario(
        "linux.resources.memory.checkBeforeUpdate",
        check_before_update,
    )
    .on(View::V2)
    .deviates(&[
        ("runc", "1.1 does not know it"),
        ("crun", "1.8 does not know it"),
    ]),
    scenario("linux.resources.memory.checkBeforeUpdate.v1", in_use).on(View::V1),
];

/// `update FLAGS ID`.
pub(super) fn update(scene: &Scene<'_>, flags: &[&str]) -> Call {
    let mut args = vec!["update"];
    args.extend(flags);
    args.push(&scene.id);
    scene.call(&args)
}

/// `update --resources - ID`
pub(super) fn json_update(scene: &Scene<'_>, json: &str) -> Check<Ran> {
    let mut call = update(scene, &["--resources", "-"]);
    scene.file("resources.json", json)?;
    call.stdin = Some(File::open(scene.path("resources.json"))?.into());
    Ok(call.run()?)
}

fn read(scene: &Scene<'_>, controller: &str, file: &str) -> Check<String> {
    Ok(cgroups::read(controller, &scene.cgroup, file)?
        .trim()
        .to_owned())
}

/// The number of processes, where it is to be had.
fn pids(scene: &Scene<'_>) -> Check<String> {
    read(scene, "pids", "pids.max")
}

pub(super) fn needs_pids() -> Check {
    if cgroups::unified() {
        controller("pids")
    } else {
        needs("pids", "pids.max")
    }
}

/// As containerd, CRI-O and podman give them.
fn forms(scene: &mut Scene<'_>) -> Check {
    needs_pids()?;
    // Of a container that was made without any.
    strip(&mut scene.config, "/linux/resources");
    sleeper(scene)?;
    scene.file("limits", r#"{"pids":{"limit":31}}"#)?;
    let file = scene.path("limits").display().to_string();
    update(scene, &[&format!("--resources={file}")])
        .run()?
        .must()?;
    ensure!(
        pids(scene)? == "31",
        "--resources=FILE gave {}",
        pids(scene)?
    );
    for (flags, limit) in [
        (&["--resources", "-"][..], "32"),
        (&["--resources=-"], "33"),
        (&["-r", "-"], "34"),
    ] {
        scene.file("limits", &format!(r#"{{"pids":{{"limit":{limit}}}}}"#))?;
        let mut call = update(scene, flags);
        call.stdin = Some(File::open(&file)?.into());
        call.run()?.must()?;
        ensure!(pids(scene)? == limit, "{flags:?} gave {}", pids(scene)?);
    }
    Ok(())
}

fn ignores_flags(scene: &mut Scene<'_>) -> Check {
    needs_pids()?;
    sleeper(scene)?;
    scene.file("limits", r#"{"pids":{"limit":41}}"#)?;
    let file = scene.path("limits").display().to_string();
    update(scene, &["--pids-limit", "42", "-r", &file])
        .run()?
        .must()?;
    ensure!(pids(scene)? == "41", "{}", pids(scene)?);
    Ok(())
}

fn invalid(scene: &mut Scene<'_>) -> Check {
    needs_pids()?;
    sleeper(scene)?;
    let before = pids(scene)?;
    for json in [
        "",
        "[]",
        "{",
        r#"{"pids":{"limit":"many"}}"#,
        r#"{"pids":5}"#,
    ] {
        let ran = json_update(scene, json)?;
        ensure!(ran.code() == 1, "{json:?} was taken: {}", ran.story());
    }
    for flags in [
        &["--memory", "much"][..],
        &["--cpu-quota", "5m"],
        &["--pids-limit", ""],
        &["-r", "/no/such/file"],
    ] {
        let ran = update(scene, flags).run()?;
        ensure!(ran.code() == 1, "{flags:?} was taken: {}", ran.story());
    }
    ensure!(pids(scene)? == before, "{}", pids(scene)?);
    // config.md#extensibility
    json_update(scene, r#"{"pids":{"limit":43},"future":{"limit":1}}"#)?.must()?;
    ensure!(pids(scene)? == "43", "{}", pids(scene)?);
    Ok(())
}

fn real_time(scene: &mut Scene<'_>) -> Check {
    realtime(scene)?;
    sleeper(scene)?;
    update(
        scene,
        &["--cpu-rt-period", "900000", "--cpu-rt-runtime", "5000"],
    )
    .run()?
    .must()?;
    let seen = (
        read(scene, "cpu", "cpu.rt_period_us")?,
        read(scene, "cpu", "cpu.rt_runtime_us")?,
    );
    ensure!(seen == ("900000".into(), "5000".into()), "{seen:?}");
    Ok(())
}

/// The kernel keeps memory <= memory and swap: up, the one must be written first, and down the other.
fn both_ways(scene: &mut Scene<'_>) -> Check {
    needs("memory", "memory.memsw.limit_in_bytes")?;
    sleeper(scene)?;
    for (limit, swap) in [(64, 96), (128, 192), (32, 32), (96, 128)] {
        let (limit, swap) = (limit << 20, swap << 20);
        json_update(
            scene,
            &json!({ "memory": { "limit": limit, "swap": swap } }).to_string(),
        )?
        .must()?;
        let seen = (
            read(scene, "memory", "memory.limit_in_bytes")?,
            read(scene, "memory", "memory.memsw.limit_in_bytes")?,
        );
        ensure!(
            seen == (limit.to_string(), swap.to_string()),
            "{limit}, {swap}: {seen:?}"
        );
    }
    Ok(())
}

/// -1 for memory alone is for swap too.
fn lifted(scene: &mut Scene<'_>) -> Check {
    let (limit, swap, none) = if cgroups::unified() {
        controller("memory")?;
        ("memory.max", "memory.swap.max", "max")
    } else {
        needs("memory", "memory.memsw.limit_in_bytes")?;
        (
            "memory.limit_in_bytes",
            "memory.memsw.limit_in_bytes",
            "9223372036854771712",
        )
    };
    set(
        &mut scene.config,
        "/linux/resources/memory",
        json!({ "limit": 64 << 20, "swap": 96 << 20 }),
    );
    sleeper(scene)?;
    for flag in [true, false] {
        if flag {
            update(scene, &["--memory", "-1"]).run()?.must()?;
        } else {
            json_update(scene, r#"{"memory":{"limit":67108864,"swap":100663296}}"#)?.must()?;
            json_update(scene, r#"{"memory":{"limit":-1}}"#)?.must()?;
        }
        let seen = (read(scene, "memory", limit)?, read(scene, "memory", swap)?);
        ensure!(seen.0 == none && seen.1 == none, "{seen:?}");
    }
    Ok(())
}

/// As Docker writes sizes.
fn units(scene: &mut Scene<'_>) -> Check {
    let file = if cgroups::unified() {
        controller("memory")?;
        "memory.max"
    } else {
        "memory.limit_in_bytes"
    };
    sleeper(scene)?;
    for (size, bytes) in [
        ("64M", 64 << 20),
        ("96mb", 96 << 20),
        ("1g", 1 << 30),
        ("0.5G", 1 << 29),
    ] {
        update(scene, &["--memory", size]).run()?.must()?;
        let seen = read(scene, "memory", file)?;
        ensure!(seen == bytes.to_string(), "{size}: {seen}");
    }
    Ok(())
}

/// Quota and period, one without the other; whole percents, since systemd knows no others.
fn apart(scene: &mut Scene<'_>) -> Check {
    let seen = |scene: &Scene<'_>| -> Check<String> {
        if cgroups::unified() {
            return read(scene, "cpu", "cpu.max");
        }
        let file = |name| read(scene, "cpu", name);
        Ok(format!(
            "{} {}",
            file("cpu.cfs_quota_us")?,
            file("cpu.cfs_period_us")?
        ))
    };
    if cgroups::unified() {
        controller("cpu")?
    } else {
        needs("cpu", "cpu.cfs_quota_us")?
    }
    set(
        &mut scene.config,
        "/linux/resources/cpu",
        json!({ "quota": 30_000, "period": 60_000 }),
    );
    sleeper(scene)?;
    for (flags, expect) in [
        (&["--cpu-quota", "42000"][..], "42000 60000"),
        (&["--cpu-period", "50000"], "42000 50000"),
        (
            &["--cpu-quota", "45000", "--cpu-period", "90000"],
            "45000 90000",
        ),
        (&["--cpu-share", "1024"], "45000 90000"),
    ] {
        update(scene, flags).run()?.must()?;
        ensure!(
            seen(scene)? == expect,
            "{flags:?}: wanted {expect}, saw {}",
            seen(scene)?
        );
    }
    Ok(())
}

fn created_and_paused(scene: &mut Scene<'_>) -> Check {
    needs_pids()?;
    set(
        &mut scene.config,
        "/process/args",
        json!(["/bin/sleep", "300"]),
    );
    scene.create()?;
    update(scene, &["--pids-limit", "51"]).run()?.must()?;
    ensure!(pids(scene)? == "51", "created: {}", pids(scene)?);
    scene.must("start")?;
    scene.must("pause")?;
    update(scene, &["--pids-limit", "52"]).run()?.must()?;
    ensure!(pids(scene)? == "52", "paused: {}", pids(scene)?);
    if !cgroups::unified() {
        update(scene, &["--cpuset-cpus", "0"]).run()?.must()?;
        ensure!(read(scene, "cpuset", "cpuset.cpus")? == "0", "not the CPU");
    }
    scene.must_be("paused")?;
    scene.must("resume")?;
    ensure!(says(scene, &[], "echo well")? == "well", "no exec after it");
    Ok(())
}

fn stopped(scene: &mut Scene<'_>) -> Check {
    sleeper(scene)?;
    scene.call(&["kill", &scene.id, "KILL"]).run()?.must()?;
    scene.wait_status("stopped")?;
    let ran = update(scene, &["--pids-limit", "5"]).run()?;
    ensure!(
        ran.code() == 1 && ran.stderr.contains("not running"),
        "{}",
        ran.story()
    );
    Ok(())
}

fn unknown_id(scene: &mut Scene<'_>) -> Check {
    let ran = update(scene, &["--pids-limit", "5"]).run()?;
    ensure!(
        ran.code() == 1 && ran.stderr.contains("does not exist"),
        "{}",
        ran.story()
    );
    Ok(())
}

/// The kernel refuses a CPU that isn't there; what was written before it is put back.
fn all_or_nothing(scene: &mut Scene<'_>) -> Check {
    needs_pids()?;
    if cgroups::unified() {
        controller("cpuset")?
    }
    set(
        &mut scene.config,
        "/linux/resources/pids",
        json!({ "limit": 60 }),
    );
    sleeper(scene)?;
    let memory = if cgroups::unified() {
        "memory.max"
    } else {
        "memory.limit_in_bytes"
    };
    let before = read(scene, "memory", memory)?;
    let refused = json!({ "pids": { "limit": 61 }, "memory": { "limit": 64 << 20 }, "cpu": { "cpus": "4000" } });
    let ran = json_update(scene, &refused.to_string())?;
    ensure!(ran.code() == 1, "{}", ran.story());
    let after = (pids(scene)?, read(scene, "memory", memory)?);
    ensure!(
        after == ("60".to_owned(), before.clone()),
        "after a failure: {after:?}, before 60, {before}"
    );
    // And it is forgotten: the next update has nothing of it.
    update(scene, &["--cpuset-cpus", "0"]).run()?.must()?;
    ensure!(pids(scene)? == "60", "{}", pids(scene)?);
    Ok(())
}

/// Nothing of an earlier one, or of the configuration, is undone.
pub(super) fn one_after_the_other(scene: &mut Scene<'_>) -> Check {
    needs_pids()?;
    if cgroups::unified() {
        controller("memory")?;
    }
    set(
        &mut scene.config,
        "/linux/resources/pids",
        json!({ "limit": 70 }),
    );
    set(
        &mut scene.config,
        "/linux/resources/memory",
        json!({ "limit": 96 << 20 }),
    );
    sleeper(scene)?;
    let memory = if cgroups::unified() {
        "memory.max"
    } else {
        "memory.limit_in_bytes"
    };
    for (flags, expect) in [
        (&["--memory", "67108864"][..], ("70", "67108864")),
        (&["--pids-limit", "71"], ("71", "67108864")),
        (&["--cpu-share", "512"], ("71", "67108864")),
        (&["--memory", "0"], ("71", "67108864")),
    ] {
        update(scene, flags).run()?.must()?;
        let seen = (pids(scene)?, read(scene, "memory", memory)?);
        ensure!((&*seen.0, &*seen.1) == expect, "{flags:?}: {seen:?}");
    }
    // Not the bundle's: that is read once.
    ensure!(
        fs::read_to_string(scene.path("config.json"))?.contains("100663296"),
        "the bundle was changed"
    );
    Ok(())
}

/// Each item of a list is about a disk, and leaves the others alone.
fn lists(scene: &mut Scene<'_>) -> Check {
    let disk = super::cgroups::disk()?;
    let rate = |rate: u64| json!({ "blockIO": { "throttleReadBpsDevice": [{ "major": disk.0, "minor": disk.1, "rate": rate }] } });
    set(
        &mut scene.config,
        "/linux/resources/blockIO/throttleWriteBpsDevice",
        json!([{ "major": disk.0, "minor": disk.1, "rate": 1 << 20 }]),
    );
    sleeper(scene)?;
    json_update(scene, &rate(1 << 21).to_string())?.must()?;
    let file = |way: &str| read(scene, "blkio", &format!("blkio.throttle.{way}_bps_device"));
    let seen = (file("read")?, file("write")?);
    let expect = |rate: u64| format!("{}:{} {rate}", disk.0, disk.1);
    ensure!(seen == (expect(1 << 21), expect(1 << 20)), "{seen:?}");
    json_update(scene, &rate(0).to_string())?.must()?;
    ensure!(
        file("read")?.is_empty(),
        "a rate of 0 left {}",
        file("read")?
    );
    Ok(())
}

/// Not even when rules are given: what a plugin has added for a GPU is to stay.
fn leaves_devices(scene: &mut Scene<'_>) -> Check {
    needs_pids()?;
    sleeper(scene)?;
    json_update(
        scene,
        r#"{"pids":{"limit":81},"devices":[{"allow":false,"access":"rwm"}]}"#,
    )?
    .must()?;
    ensure!(pids(scene)? == "81", "{}", pids(scene)?);
    ensure!(
        says(scene, &[], "echo x > /dev/null && echo fine")? == "fine",
        "no /dev/null after it"
    );
    Ok(())
}

/// Of engines of before.
fn kernel_memory(scene: &mut Scene<'_>) -> Check {
    sleeper(scene)?;
    update(
        scene,
        &[
            "--kernel-memory",
            "52428800",
            "--kernel-memory-tcp",
            "52428800",
            "--cpu-share",
            "0",
        ],
    )
    .run()?
    .must()?;
    scene.must_be("running")
}

fn names_the_property(scene: &mut Scene<'_>) -> Check {
    needs_pids()?;
    if cgroups::unified() {
        controller("memory")?;
        controller("cpuset")?;
    }
    sleeper(scene)?;
    for (json, words) in [
        (r#"{"memory":{"limit":-5}}"#, "linux.resources.memory.limit"),
        (
            r#"{"memory":{"limit":200000000,"swap":100000000}}"#,
            "memory+swap limit should be >= memory limit",
        ),
        (r#"{"pids":{"limit":"x"}}"#, "linux.resources.pids.limit"),
        (
            r#"{"hugepageLimits":[{"pageSize":"2X","limit":1}]}"#,
            "linux.resources.hugepageLimits[0]",
        ),
        (
            r#"{"blockIO":{"weight":5000}}"#,
            "linux.resources.blockIO.weight",
        ),
        (r#"{"cpu":{"cpus":"4000"}}"#, "linux.resources.cpu.cpus"),
        ("[]", "linux.resources: is not an object"),
        (
            r#"{"pids":{"limit":1},"pids":{"limit":2}}"#,
            "linux.resources",
        ),
    ] {
        let ran = json_update(scene, json)?;
        ensure!(
            ran.code() == 1 && ran.stderr.contains(words),
            "{json}: {}",
            ran.story()
        );
    }
    Ok(())
}

/// Has some 9 MB of its own, and says so.
const EATER: &str =
    "x=$(head -c 9000000 /dev/zero | tr '\\0' x); echo there > /ate; while :; do sleep 1; done";

fn eater(scene: &mut Scene<'_>, memory: Value) -> Check {
    set(&mut scene.config, "/linux/resources/memory", memory);
    scene.script(EATER);
    scene.start()?;
    until(|| scene.path("rootfs/ate").exists(), "the use of memory")
}

/// cgroup2 kills until a limit is kept; asked to look first, the runtime refuses it.
fn check_before_update(scene: &mut Scene<'_>) -> Check {
    controller("memory")?;
    eater(
        scene,
        json!({ "limit": 256 << 20, "checkBeforeUpdate": true }),
    )?;
    let ran = update(scene, &["--memory", "4194304", "--memory-swap", "4194304"]).run()?;
    ensure!(ran.code() == 1, "{}", ran.story());
    ensure!(
        read(scene, "memory", "memory.max")? == "268435456",
        "the limit was changed"
    );
    scene.must_be("running")?;
    // Without the property it is the kernel's affair.
    let again =
        json!({ "memory": { "limit": 4 << 20, "swap": 4 << 20, "checkBeforeUpdate": false } });
    json_update(scene, &again.to_string())?.must()?;
    if scene.suite.systemd {
        // The kernel has killed what was above the limit, and the scope went with it.
        return scene.wait_status("stopped");
    }
    let now = read(scene, "memory", "memory.max")?;
    ensure!(now == "4194304", "stripped, it holds all the same: {now}");
    Ok(())
}

/// cgroup v1 looks itself.
fn in_use(scene: &mut Scene<'_>) -> Check {
    eater(
        scene,
        json!({ "limit": 256 << 20, "swap": 256 << 20, "checkBeforeUpdate": true }),
    )?;
    let ran = update(scene, &["--memory", "4194304", "--memory-swap", "4194304"]).run()?;
    ensure!(ran.code() == 1, "{}", ran.story());
    let now = read(scene, "memory", "memory.limit_in_bytes")?;
    ensure!(now == "268435456", "the limit was changed: {now}");
    scene.must_be("running")
}
