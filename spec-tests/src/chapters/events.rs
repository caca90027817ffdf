//! De facto, as engines use it: `events`, once and as a stream.

use std::fs;

use serde_json::{Value, json};

use super::exec::{exec, sleeper};
use crate::cgroups;
use crate::config::set;
use crate::property::{Scenario, scenario};
use crate::runtime::Running;
use crate::scene::{Scene, until};
use crate::suite::{Check, Known, Stop, View, ensure};

/// It has no such command.
const NONE: Known = &[("crun", "has no events")];

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario("events.stats", stats).deviates(NONE),
    scenario("events.stats.files", files)
        .on(View::V1)
        .deviates(NONE),
    scenario("events.stats.cgroup2", unified)
        .on(View::V2)
        .deviates(NONE),
    scenario("events.stats.pressure", pressure)
        .deviates(&[("runc", "1.1 does not know it"), ("crun", "has no events")]),
    scenario("events.stats.disk", disk).deviates(NONE),
    scenario("events.stats.paused", paused).deviates(NONE),
    scenario("events.stream", stream)
        .on(View::V1)
        .deviates(NONE),
    scenario("events.stream.cgroup2", stream)
        .on(View::V2)
        .deviates(&[
            ("runc", "1.1 sends nothing where a controller is missing"),
            ("crun", "has no events"),
        ]),
    scenario("events.oom", oom).deviates(NONE),
    scenario("events.interval.refused", refused),
    scenario("events.stopped", stopped),
    scenario("events.unknown-id", unknown_id),
];

fn once(scene: &Scene<'_>) -> Check<Value> {
    let ran = scene
        .call(&["events", "--stats", &scene.id])
        .run()?
        .must()?;
    ensure!(ran.stdout.lines().count() == 1, "{}", ran.story());
    let event: Value = serde_json::from_str(&ran.stdout)?;
    ensure!(
        event["type"] == "stats" && event["id"] == *scene.id,
        "{event}"
    );
    Ok(event["data"].clone())
}

/// What runc has in each, whatever the host counts.
fn stats(scene: &mut Scene<'_>) -> Check {
    sleeper(scene)?;
    let data = once(scene)?;
    let members = |value: &Value| -> Vec<String> {
        value
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, _)| name.clone())
            .collect()
    };
    let mut all = members(&data);
    all.sort();
    let expect = [
        "blkio",
        "cpu",
        "cpuset",
        "hugetlb",
        "intel_rdt",
        "memory",
        "network_interfaces",
        "pids",
    ];
    ensure!(all == expect, "{all:?}");
    for pointer in [
        "/cpu/usage/kernel",
        "/cpu/usage/user",
        "/cpu/throttling",
        "/cpuset/cpu_exclusive",
        "/cpuset/sched_relax_domain_level",
        "/memory/usage/limit",
        "/memory/usage/failcnt",
        "/memory/swap/limit",
        "/memory/kernel/failcnt",
        "/memory/kernelTCP/failcnt",
    ] {
        ensure!(data.pointer(pointer).is_some(), "no {pointer}: {data}");
    }
    let huge = cgroups::directories(&scene.cgroup);
    let counted = ["hugetlb.2MB.usage_in_bytes", "hugetlb.2MB.current"];
    let of_layout = counted[usize::from(cgroups::unified())];
    if huge.iter().any(|dir| dir.join(of_layout).exists()) {
        ensure!(
            data["hugetlb"]["2MB"]["failcnt"] == 0,
            "{}",
            data["hugetlb"]
        );
    }
    ensure!(data["network_interfaces"].is_null(), "{data}");
    Ok(())
}

fn number(text: &str) -> u64 {
    text.trim().parse().unwrap_or(u64::MAX)
}

/// The numbers are the kernel's.
fn files(scene: &mut Scene<'_>) -> Check {
    let limits = json!({ "pids": { "limit": 30 }, "memory": { "limit": 64 << 20 }, "cpu": { "quota": 20_000, "period": 100_000, "cpus": "0" } });
    set(&mut scene.config, "/linux/resources", limits);
    scene.script(
        "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; echo done > /done; exec sleep 300",
    );
    scene.start()?;
    until(|| scene.path("rootfs/done").exists(), "some work")?;
    let data = once(scene)?;
    let read =
        |controller, file| cgroups::read(controller, &scene.cgroup, file).unwrap_or_default();
    ensure!(
        data["pids"] == json!({ "current": 1, "limit": 30 }),
        "{}",
        data["pids"]
    );
    ensure!(data["cpuset"]["cpus"] == json!([0]), "{}", data["cpuset"]);
    ensure!(
        data["memory"]["usage"]["limit"] == 64 << 20,
        "{}",
        data["memory"]["usage"]
    );
    let used = data["memory"]["usage"]["usage"].as_u64().unwrap_or(0);
    ensure!(used > 0 && used < 64 << 20, "{used} bytes");
    ensure!(
        data["memory"]["raw"]["hierarchical_memory_limit"] == 64 << 20,
        "{}",
        data["memory"]["raw"]
    );
    let total = data["cpu"]["usage"]["total"].as_u64().unwrap_or(0);
    let now = number(&read("cpuacct", "cpuacct.usage"));
    ensure!(total > 1_000_000 && total <= now, "{total} ns of {now}");
    let percpu = data["cpu"]["usage"]["percpu"]
        .as_array()
        .map_or(0, Vec::len);
    ensure!(percpu > 0, "no CPUs: {}", data["cpu"]["usage"]);
    let throttled = &data["cpu"]["throttling"];
    ensure!(
        throttled["throttledPeriods"].as_u64() > Some(0),
        "{throttled}"
    );
    Ok(())
}

fn unified(scene: &mut Scene<'_>) -> Check {
    for name in ["memory", "pids", "cpu", "cpuset"] {
        super::cgroups::controller(name)?;
    }
    let limits = json!({ "pids": { "limit": 30 }, "memory": { "limit": 64 << 20, "swap": 96 << 20 }, "cpu": { "quota": 20_000, "period": 100_000 } });
    set(&mut scene.config, "/linux/resources", limits);
    scene.script(
        "i=0; while [ $i -lt 5000 ]; do i=$((i+1)); done; echo done > /done; exec sleep 300",
    );
    scene.start()?;
    until(|| scene.path("rootfs/done").exists(), "some work")?;
    let data = once(scene)?;
    ensure!(
        data["pids"] == json!({ "current": 1, "limit": 30 }),
        "{}",
        data["pids"]
    );
    ensure!(
        data["memory"]["usage"]["limit"] == 64 << 20,
        "{}",
        data["memory"]["usage"]
    );
    // Memory and swap together, as on cgroup v1.
    ensure!(
        data["memory"]["swap"]["limit"] == 96 << 20,
        "{}",
        data["memory"]["swap"]
    );
    let cache = &data["memory"]["raw"]["file"];
    ensure!(
        data["memory"]["cache"] == *cache || cache == 0,
        "{}",
        data["memory"]
    );
    let usage = &data["cpu"]["usage"];
    let parts = usage["user"].as_u64().unwrap_or(0) + usage["kernel"].as_u64().unwrap_or(0);
    ensure!(
        usage["total"].as_u64() >= Some(1_000_000) && parts > 0,
        "{usage}"
    );
    ensure!(usage.get("percpu").is_none(), "{usage}");
    let throttled = &data["cpu"]["throttling"];
    ensure!(
        throttled["throttledTime"].as_u64() > Some(1000),
        "{throttled}"
    );
    Ok(())
}

/// Where the kernel counts it: in cgroup2, beside v1 hierarchies too.
fn pressure(scene: &mut Scene<'_>) -> Check {
    sleeper(scene)?;
    let own = cgroups::directories(&scene.cgroup);
    if !own
        .iter()
        .any(|dir| fs::read(dir.join("cpu.pressure")).is_ok())
    {
        return Err(Stop::Skip("the kernel counts no pressure".to_owned()));
    }
    let data = once(scene)?;
    for part in ["cpu", "memory", "blkio"] {
        let pressure = &data[part]["psi"];
        for who in ["some", "full"] {
            for field in ["avg10", "avg60", "avg300", "total"] {
                ensure!(pressure[who][field].is_number(), "{part}: {pressure}");
            }
        }
    }
    Ok(())
}

/// Bytes that were read past every cache.
fn disk(scene: &mut Scene<'_>) -> Check {
    if cgroups::unified() {
        super::cgroups::controller("io")?;
    }
    let (major, minor) = super::cgroup_disks::readable(scene)?;
    super::cgroup_disks::with_disk(scene, major, minor);
    sleeper(scene)?;
    super::cgroup_disks::read_disk(scene, 1)?;
    let data = once(scene)?;
    let entries = data["blkio"]["ioServiceBytesRecursive"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let read = entries.iter().find(|entry| {
        let disk = (
            entry["major"].as_u64().unwrap_or(0),
            entry["minor"].as_u64().unwrap_or(0),
        );
        entry["op"] == "Read" && disk == (major.into(), minor.into())
    });
    let bytes = read.and_then(|entry| entry["value"].as_u64());
    ensure!(bytes >= Some(1 << 20), "{}", data["blkio"]);
    Ok(())
}

fn paused(scene: &mut Scene<'_>) -> Check {
    sleeper(scene)?;
    scene.must("pause")?;
    once(scene)?;
    scene.must("resume")?;
    Ok(())
}

/// `events` under way, once it has said something.
fn watch(scene: &Scene<'_>) -> Check<Running> {
    let running = scene
        .call(&["events", "--interval=100ms", &scene.id])
        .spawn()?;
    until(|| running.stdout_so_far().contains('\n'), "an event")?;
    Ok(running)
}

fn events(text: &str) -> Check<Vec<Value>> {
    let lines = text.lines().map(serde_json::from_str);
    Ok(lines.collect::<Result<_, _>>()?)
}

/// One after the other, until the container ends.
fn stream(scene: &mut Scene<'_>) -> Check {
    sleeper(scene)?;
    let running = watch(scene)?;
    until(
        || running.stdout_so_far().lines().count() > 3,
        "more events",
    )?;
    scene.call(&["kill", &scene.id, "KILL"]).run()?.must()?;
    scene.wait_status("stopped")?;
    scene.must("delete")?;
    let ran = running.wait(crate::runtime::LIMIT)?.must()?;
    for event in events(&ran.stdout)? {
        ensure!(
            event["type"] == "stats" && event["id"] == *scene.id,
            "{event}"
        );
        ensure!(event["data"]["cpu"].is_object(), "{event}");
    }
    Ok(())
}

fn oom(scene: &mut Scene<'_>) -> Check {
    if cgroups::unified() {
        super::cgroups::controller("memory")?;
    }
    set(
        &mut scene.config,
        "/linux/resources/memory",
        json!({ "limit": 32 << 20, "swap": 32 << 20 }),
    );
    sleeper(scene)?;
    let running = watch(scene)?;
    let told = || running.stdout_so_far().contains(r#""oom""#);
    ensure!(!told(), "before anything happened");
    let ran = exec(scene, &[], &["sh", "-c", "exec tail /dev/zero"]).run()?;
    ensure!(ran.code() == 137, "it was not killed: {}", ran.story());
    until(told, "the event")?;
    scene.must_be("running")?;
    scene.call(&["kill", &scene.id, "KILL"]).run()?.must()?;
    scene.wait_status("stopped")?;
    scene.must("delete")?;
    let ran = running.wait(crate::runtime::LIMIT)?.must()?;
    let events = events(&ran.stdout)?;
    let ooms: Vec<_> = events
        .iter()
        .filter(|event| event["type"] == "oom")
        .collect();
    ensure!(
        ooms.iter()
            .all(|event| **event == json!({ "type": "oom", "id": scene.id })),
        "{ooms:?}"
    );
    Ok(())
}

/// Go's durations; a number alone is none.
fn refused(scene: &mut Scene<'_>) -> Check {
    sleeper(scene)?;
    for interval in ["5", "0s", "-1s", "soon", ""] {
        let ran = scene
            .call(&["events", &format!("--interval={interval}"), &scene.id])
            .run()?;
        ensure!(
            !ran.ok() && ran.status.is_some(),
            "{interval:?}: {}",
            ran.story()
        );
    }
    Ok(())
}

fn stopped(scene: &mut Scene<'_>) -> Check {
    sleeper(scene)?;
    scene.call(&["kill", &scene.id, "KILL"]).run()?.must()?;
    scene.wait_status("stopped")?;
    for flag in ["--stats", "--interval=1s"] {
        let ran = scene.call(&["events", flag, &scene.id]).run()?;
        ensure!(!ran.ok() && ran.status.is_some(), "{}", ran.story());
        let words = format!("container with id {} is not running", scene.id);
        ensure!(
            ran.stderr.contains(&words) || scene.runtime().name == "crun",
            "{}",
            ran.story()
        );
    }
    Ok(())
}

fn unknown_id(scene: &mut Scene<'_>) -> Check {
    let ran = scene.call(&["events", "--stats", &scene.id]).run()?;
    ensure!(!ran.ok() && ran.status.is_some(), "{}", ran.story());
    Ok(())
}
