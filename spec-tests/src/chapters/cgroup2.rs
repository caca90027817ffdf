//! cgroup2: what the container makes of its own cgroup, threaded ones, and what only this version has.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::cgroups::controller;
use super::exec::{exec, says, sleeper};
use crate::cgroups;
use crate::config::{mount, namespace, no_namespace, set, user_namespace};
use crate::property::{Scenario, scenario};
use crate::scene::{Scene, until, while_reaping};
use crate::suite::{Check, View, ensure};
use crate::sys;

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario("cgroup2.delegated", delegated)
        .on(View::V2)
        .deviates(&[("runc", "delegates with systemd only")]),
    scenario("cgroup2.exec-where-init-has-gone", exec_below).on(View::V2),
    scenario("cgroup2.namespace-root", namespace_root).on(View::V2),
    scenario("cgroup2.threaded", threaded).on(View::V2),
    scenario("cgroup2.threaded.needs-a-domain", no_domain).on(View::V2),
    scenario("cgroup2.kill", kill)
        .on(View::V2)
        .deviates(&[("runc", "1.1 leaves a cgroup that has others below")]),
    scenario("cgroup2.frozen.parent", parent_frozen)
        .on(View::V2)
        .deviates(&[("runc", "looks at what its own cgroup was asked")]),
    scenario("cgroup2.frozen.child", child_frozen).on(View::V2),
    scenario("cgroup2.unified", unified).on(View::V2),
    scenario("cgroup2.oom-group", oom_group).on(View::V2),
    scenario("cgroup2.devices.one-after-the-other", device_filters).on(View::V2),
];

/// Of the container, or of what is below it.
fn dir(scene: &Scene<'_>, below: &str) -> PathBuf {
    Path::new("/sys/fs/cgroup")
        .join(scene.cgroup.trim_start_matches('/'))
        .join(below)
}

fn read(scene: &Scene<'_>, file: &str) -> Check<String> {
    Ok(fs::read_to_string(dir(scene, file))?.trim().to_owned())
}

/// Its root makes cgroups, moves into one, and limits another: no limit of its own changes.
fn delegated(scene: &mut Scene<'_>) -> Check {
    controller("pids")?;
    user_namespace(&mut scene.config);
    namespace(&mut scene.config, json!({ "type": "cgroup" }));
    mount(
        &mut scene.config,
        "/sys/fs/cgroup",
        "cgroup",
        "cgroup",
        &["rw"],
    );
    set(
        &mut scene.config,
        "/linux/resources/pids",
        json!({ "limit": 40 }),
    );
    scene.script(
        "cd /sys/fs/cgroup; set -e; mkdir own limited; echo 0 > own/cgroup.procs; echo +pids > cgroup.subtree_control
         echo 7 > limited/pids.max; echo limited $(cat limited/pids.max)
         echo 999 > pids.max 2>/dev/null && echo more; cat pids.max; exec sleep 300",
    );
    let ran = scene.try_create()?.must()?;
    drop(ran);
    scene.must("start")?;
    until(
        || read(scene, "limited/pids.max").is_ok_and(|limit| limit == "7"),
        "the limit below",
    )?;
    ensure!(read(scene, "pids.max")? == "40", "it changed its own limit");
    ensure!(
        read(scene, "cgroup.subtree_control")?.contains("pids"),
        "not enabled"
    );
    ensure!(
        says(scene, &[], "cat /proc/self/cgroup")?.ends_with("/own"),
        "an added process is elsewhere"
    );
    while_reaping(|| scene.call(&["delete", "--force", &scene.id]).run())?.must()?;
    scene.leaves_nothing()
}

/// A cgroup that has controllers enabled below takes no processes.
fn exec_below(scene: &mut Scene<'_>) -> Check {
    controller("hugetlb")?;
    let init = sleeper(scene)?;
    fs::create_dir(dir(scene, "own"))?;
    fs::write(dir(scene, "own/cgroup.procs"), init.to_string())?;
    fs::write(dir(scene, "cgroup.subtree_control"), "+hugetlb")?;
    let seen = says(scene, &[], "cat /proc/self/cgroup")?;
    ensure!(seen.ends_with(&format!("{}/own", scene.cgroup)), "{seen}");
    Ok(())
}

fn namespace_root(scene: &mut Scene<'_>) -> Check {
    namespace(&mut scene.config, json!({ "type": "cgroup" }));
    mount(
        &mut scene.config,
        "/sys/fs/cgroup",
        "cgroup",
        "cgroup",
        &["ro"],
    );
    set(
        &mut scene.config,
        "/process/args",
        json!(["/bin/sleep", "300"]),
    );
    scene.start()?;
    let script = "cat /proc/self/cgroup; cat /proc/1/cgroup; grep -c 1 /sys/fs/cgroup/cgroup.procs";
    let seen = says(scene, &[], script)?;
    // Of the added process and of init; a host with v1 hierarchies has lines of theirs as well.
    let roots = seen.lines().filter(|line| *line == "0::/");
    ensure!(roots.count() == 2, "{seen}");
    Ok(())
}

/// A parent that is threaded, in a domain beside everything else.
fn threaded_parent(scene: &mut Scene<'_>) -> Check<PathBuf> {
    let parent = dir(scene, "");
    fs::create_dir_all(parent.join("threads"))?;
    fs::write(parent.join("threads/cgroup.type"), "threaded")?;
    let place = format!("{}/threads/inner", scene.cgroup);
    set(&mut scene.config, "/linux/cgroupsPath", json!(place));
    Ok(parent.join("threads/inner"))
}

/// Without a limit that only a domain can hold, the container is one more part of it.
fn threaded(scene: &mut Scene<'_>) -> Check {
    let place = threaded_parent(scene)?;
    scene.config["linux"]["resources"] = json!({});
    let init = sleeper(scene)?;
    let kind = fs::read_to_string(place.join("cgroup.type"))?;
    ensure!(kind.trim() == "threaded", "{kind}");
    let seen = fs::read_to_string(format!("/proc/{init}/cgroup"))?;
    ensure!(seen.trim().ends_with("/threads/inner"), "{seen}");
    ensure!(
        says(scene, &[], "cat /proc/self/cgroup")?.ends_with("/threads/inner"),
        "an added process is elsewhere"
    );
    if scene.runtime().name == "longshore" {
        let pids: Vec<i32> = serde_json::from_str(
            &scene
                .call(&["ps", "-f", "json", &scene.id])
                .run()?
                .must()?
                .stdout,
        )?;
        ensure!(pids == [init], "{pids:?}");
    }
    while_reaping(|| scene.call(&["delete", "--force", &scene.id]).run())?.must()?;
    ensure!(!place.exists(), "its cgroup is left");
    Ok(())
}

fn no_domain(scene: &mut Scene<'_>) -> Check {
    controller("memory")?;
    let place = threaded_parent(scene)?;
    scene.config["linux"]["resources"] = json!({ "memory": { "limit": 64 << 20 } });
    let ran = scene.try_create()?;
    ensure!(!ran.ok(), "{}", ran.story());
    if scene.runtime().name == "longshore" {
        ensure!(
            ran.stderr.contains("threaded") && ran.stderr.contains("memory"),
            "{}",
            ran.story()
        );
        ensure!(!place.exists(), "its cgroup is left");
    }
    Ok(())
}

/// All at once, what forks meanwhile and what is below too.
fn kill(scene: &mut Scene<'_>) -> Check {
    no_namespace(&mut scene.config, "pid");
    scene.script("(while :; do sleep 0.01 & done) & while :; do (sleep 300 &); sleep 0.05; done");
    let init = scene.start()?;
    until(
        || cgroups::processes(&scene.cgroup).len() > 4,
        "its processes",
    )?;
    fs::create_dir(dir(scene, "below"))?;
    let other = cgroups::processes(&scene.cgroup)
        .into_iter()
        .find(|pid| *pid != init);
    let other = other.unwrap_or(init).to_string();
    let _ = fs::write(dir(scene, "below/cgroup.procs"), other); // it may have ended
    while_reaping(|| scene.call(&["delete", "--force", &scene.id]).run())?.must()?;
    scene.leaves_nothing()
}

/// Its state is what it can do.
fn parent_frozen(scene: &mut Scene<'_>) -> Check {
    let above = format!("{}/above", scene.cgroup);
    set(
        &mut scene.config,
        "/linux/cgroupsPath",
        json!(format!("{above}/own")),
    );
    sleeper(scene)?;
    let freeze = |word: &str| fs::write(dir(scene, "above/cgroup.freeze"), word);
    freeze("1")?;
    scene.wait_status("paused")?;
    freeze("0")?;
    scene.wait_status("running")?;
    scene.must("pause")?;
    freeze("1")?;
    freeze("0")?;
    scene.must_be("paused")?;
    scene.must("resume")?;
    scene.wait_status("running")
}

/// What the container has frozen itself stays so.
fn child_frozen(scene: &mut Scene<'_>) -> Check {
    sleeper(scene)?;
    let added = super::exec::Detached::start(scene, &[], &["sleep", "297"])?;
    fs::create_dir(dir(scene, "below"))?;
    fs::write(dir(scene, "below/cgroup.procs"), added.0.to_string())?;
    fs::write(dir(scene, "below/cgroup.freeze"), "1")?;
    let frozen =
        || read(scene, "below/cgroup.events").is_ok_and(|events| events.contains("frozen 1"));
    until(frozen, "the child")?;
    scene.must_be("running")?;
    scene.must("pause")?;
    scene.must_be("paused")?;
    scene.must("resume")?;
    scene.must_be("running")?;
    ensure!(frozen(), "the child was thawed");
    fs::write(dir(scene, "below/cgroup.freeze"), "0")?;
    Ok(())
}

fn unified(scene: &mut Scene<'_>) -> Check {
    for name in ["memory", "pids", "cpu"] {
        controller(name)?;
    }
    let files = [
        ("memory.high", "50331648"),
        ("memory.oom.group", "1"),
        ("pids.max", "21"),
        ("cpu.weight", "55"),
    ];
    let map: serde_json::Map<_, _> = files
        .iter()
        .map(|(file, value)| ((*file).to_owned(), json!(value)))
        .collect();
    set(&mut scene.config, "/linux/resources/unified", json!(map));
    // Who names a file means it.
    set(
        &mut scene.config,
        "/linux/resources/pids",
        json!({ "limit": 99 }),
    );
    sleeper(scene)?;
    for (file, value) in files {
        ensure!(
            read(scene, file)? == value,
            "{file}: {}",
            read(scene, file)?
        );
    }
    Ok(())
}

/// One is too large, and all are killed.
fn oom_group(scene: &mut Scene<'_>) -> Check {
    controller("memory")?;
    set(
        &mut scene.config,
        "/linux/resources/memory",
        json!({ "limit": 32 << 20, "swap": 32 << 20 }),
    );
    set(
        &mut scene.config,
        "/linux/resources/unified",
        json!({ "memory.oom.group": "1" }),
    );
    sleeper(scene)?;
    let ran = exec(scene, &[], &["sh", "-c", "exec tail /dev/zero"]).run()?;
    ensure!(ran.code() == 137, "{}", ran.story());
    scene.wait_status("stopped")
}

/// In a cgroup that outlives its containers, each leaves its filter; there must be one.
fn device_filters(scene: &mut Scene<'_>) -> Check {
    let mut place = dir(scene, "");
    place.push("kept");
    fs::create_dir_all(&place)?;
    set(
        &mut scene.config,
        "/linux/cgroupsPath",
        json!(format!("{}/kept", scene.cgroup)),
    );
    scene.script("cat /dev/null && echo fine");
    for round in 1..4 {
        let ran = scene.run()?.must()?;
        ensure!(ran.stdout.trim() == "fine", "{}", ran.story());
        // Some take away what they did not make: then it is fresh each time.
        let filters = match place.exists() {
            true => sys::device_filters(&place)?,
            false => 0,
        };
        ensure!(filters <= 1, "{filters} filters after {round} containers");
    }
    Ok(())
}
