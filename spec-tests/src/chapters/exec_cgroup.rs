//! `exec` and the container's cgroup: places below it, and its memory limit.

use std::fs;

use serde_json::json;

use super::exec::{Detached, exec, failed, process, sleeper};
use crate::cgroups;
use crate::config::set;
use crate::property::{Scenario, scenario};
use crate::scene::Scene;
use crate::suite::{Check, View, ensure};

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario("exec.cgroup.path", everywhere),
    scenario("exec.cgroup.controllers", controllers).on(View::V1),
    scenario("exec.cgroup.refused", refused),
    scenario("exec.oom-before-is-not-blamed", oom_before).on(View::V1),
];

/// Makes a cgroup below the container's, in each hierarchy.
fn below(scene: &Scene<'_>, name: &str) -> Check {
    for own in cgroups::directories(&scene.cgroup) {
        let dir = own.join(name);
        fs::create_dir(&dir)?;
        // A v1 cpuset takes no process as it is made.
        for file in ["cpuset.cpus", "cpuset.mems"] {
            if !cgroups::unified() && own.join(file).exists() {
                fs::write(dir.join(file), fs::read(own.join(file))?)?;
            }
        }
    }
    Ok(())
}

/// Where an added process is: controllers and path, without the cgroup2 that hybrid hosts have besides.
fn places(scene: &Scene<'_>, flags: &[&str]) -> Check<Vec<(String, String)>> {
    let detached = Detached::start(scene, flags, &["sleep", "295"])?;
    let text = detached.proc("cgroup");
    let lines = text.lines().filter_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        Some((fields.next()?.to_owned(), fields.next()?.to_owned()))
    });
    let counts = |(controllers, _): &(String, String)| cgroups::unified() == controllers.is_empty();
    Ok(lines.filter(counts).collect())
}

fn everywhere(scene: &mut Scene<'_>) -> Check {
    sleeper(scene)?;
    below(scene, "jobs")?;
    let jobs = format!("{}/jobs", scene.cgroup);
    for (path, wanted) in [
        ("jobs", &jobs),
        ("/jobs", &jobs),
        ("jobs/../jobs/", &jobs),
        ("/", &scene.cgroup),
    ] {
        let seen = places(scene, &["--cgroup", path])?;
        ensure!(
            !seen.is_empty() && seen.iter().all(|(_, at)| at == wanted),
            "{path}: it is in {seen:?}"
        );
    }
    scene.verb("kill")?;
    scene
        .call(&["delete", "--force", &scene.id])
        .run()?
        .must()?;
    scene.leaves_nothing()
}

/// Named ones go there, the others stay with init.
fn controllers(scene: &mut Scene<'_>) -> Check {
    sleeper(scene)?;
    below(scene, "jobs")?;
    below(scene, "more")?;
    let seen = places(
        scene,
        &["--cgroup", "pids,freezer:jobs", "--cgroup", "memory:/more"],
    )?;
    for (controllers, at) in seen {
        let wanted = match controllers.as_str() {
            "pids" | "freezer" => format!("{}/jobs", scene.cgroup),
            "memory" => format!("{}/more", scene.cgroup),
            _ => scene.cgroup.clone(),
        };
        ensure!(at == wanted, "{controllers}: it is in {at}");
    }
    Ok(())
}

/// No place but one that is there, below the container's own; the error names it.
fn refused(scene: &mut Scene<'_>) -> Check {
    sleeper(scene)?;
    below(scene, "jobs")?;
    for jobs in cgroups::directories(&format!("{}/jobs", scene.cgroup)) {
        fs::create_dir(jobs.join("no-cpu"))?;
    }
    let mut cases = vec![
        (vec!["--cgroup", "nowhere"], "nowhere"),
        (vec!["--cgroup", "jobs/nowhere"], "jobs/nowhere"),
        (vec!["--cgroup", ".."], ".."),
        (vec!["--cgroup", "jobs/../.."], "jobs/../.."),
        (vec!["--cgroup", "/../../"], ".."),
        (vec!["--cgroup", "cheese:jobs"], "cheese"),
    ];
    if scene.runtime().name != "runc" {
        cases.push((vec!["--cgroup", ":jobs"], ":jobs")); // 1.1 takes it
    }
    if !cgroups::unified() {
        cases.push((vec!["--cgroup", "pids:.."], ".."));
        cases.push((vec!["--cgroup", "cpuset:jobs/no-cpu"], "jobs/no-cpu"));
        cases.push((vec!["--cgroup", "jobs", "--cgroup", "pids:x"], "invalid"));
        cases.push((vec!["--cgroup", "pids:x", "--cgroup", "pids:y"], "pids"));
    }
    for (flags, words) in cases {
        failed(&exec(scene, &flags, &["true"]).run()?, words)?;
    }
    Ok(())
}

/// A process that dies on its way, in a container that has had another killed for want of memory.
fn oom_before(scene: &mut Scene<'_>) -> Check {
    // Without no_new_privs the filter comes before the last change of capabilities, which it kills.
    let rule = json!({ "names": ["capset"], "action": "SCMP_ACT_KILL_PROCESS" });
    let filter = json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule] });
    set(&mut scene.config, "/linux/seccomp", filter);
    set(&mut scene.config, "/process/noNewPrivileges", json!(true));
    let limit = json!(64 << 20);
    set(&mut scene.config, "/linux/resources/memory/limit", limit);
    sleeper(scene)?;
    let ran = exec(scene, &[], &["sh", "-c", "exec tail /dev/zero"]).run()?;
    ensure!(ran.code() == 137, "it was not killed: {}", ran.story());
    let control = cgroups::read("memory", &scene.cgroup, "memory.oom_control")?;
    ensure!(control.contains("oom_kill 1"), "not for memory: {control}");
    let dies = json!({ "user": { "uid": 0, "gid": 0 }, "cwd": "/", "args": ["true"], "env": ["PATH=/bin"] });
    let file = process(scene, &dies)?;
    let ran = exec(scene, &["--process", &file], &[]).run()?;
    let blamed = ran.stderr.contains("OOM");
    ensure!(!ran.ok() && !blamed, "{}", ran.story());
    Ok(())
}
