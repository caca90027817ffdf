//! `gc`: what killed creates leave, and cgroups without a container.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::json;

use super::exec::sleeper;
use crate::cgroups;
use crate::config::set;
use crate::property::{Scenario, scenario};
use crate::runtime::Running;
use crate::scene::{Scene, until};
use crate::suite::{Check, ensure};

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario("gc.killed-create", killed_create),
    scenario("gc.create-at-work", at_work),
    scenario("gc.create-that-has-just-begun", just_begun),
    scenario("gc.containers-stay", containers_stay),
    scenario("gc.cgroup-without-a-container", forgotten),
    scenario("gc.cgroup-with-a-process", in_use),
];

/// The lines that are about this scene: the host may have more.
fn gc(scene: &Scene<'_>, flags: &[&str]) -> Check<Vec<String>> {
    let mut args = vec!["gc"];
    args.extend(flags);
    let ran = scene.call(&args).run()?.must()?;
    let own = |line: &&str| line.contains(&scene.id) || line.contains(&scene.cgroup);
    Ok(ran.stdout.lines().filter(own).map(str::to_owned).collect())
}

/// A create that waits for its hook.
fn creating(scene: &mut Scene<'_>) -> Check<Running> {
    let text = "#!/bin/sh\n: > \"$0.begun\"\nexec sleep 50\n";
    let hook = scene.executable("hook", text)?;
    let hooks = json!([{ "path": hook }]);
    set(&mut scene.config, "/hooks/createRuntime", hooks);
    scene.write_config()?;
    let running = scene.create_call(&[]).spawn()?;
    until(|| scene.path("hook.begun").exists(), "the hook")?;
    Ok(running)
}

fn killed_create(scene: &mut Scene<'_>) -> Check {
    scene.only_longshore()?;
    let running = creating(scene)?;
    running.signal(libc::SIGKILL);
    running.wait(Duration::from_secs(5))?;
    let wanted = [format!("container {}: its create was killed", scene.id)];
    let listed = gc(scene, &["--dry-run"])?;
    ensure!(listed == wanted, "{listed:?}");
    ensure!(!scene.left_behind().is_empty(), "a dry run removed it");
    let removed = gc(scene, &[])?;
    ensure!(removed == wanted, "{removed:?}");
    scene.leaves_nothing()?;
    let again = gc(scene, &[])?;
    ensure!(again.is_empty(), "{again:?}");
    Ok(())
}

fn at_work(scene: &mut Scene<'_>) -> Check {
    scene.only_longshore()?;
    let running = creating(scene)?;
    let found = gc(scene, &[])?;
    ensure!(found.is_empty(), "{found:?}");
    ensure!(!scene.left_behind().is_empty(), "it is gone");
    running.signal(libc::SIGKILL);
    running.wait(Duration::from_secs(5))?;
    Ok(())
}

/// The id is taken before anything is written, and before it is locked.
fn just_begun(scene: &mut Scene<'_>) -> Check {
    scene.only_longshore()?;
    let directory = scene.path("state").join(&scene.id);
    fs::create_dir_all(&directory)?;
    let found = gc(scene, &[])?;
    ensure!(found.is_empty() && directory.exists(), "{found:?}");
    touch(&directory)?;
    let found = gc(scene, &[])?;
    ensure!(found.len() == 1 && !directory.exists(), "{found:?}");
    Ok(())
}

fn containers_stay(scene: &mut Scene<'_>) -> Check {
    scene.only_longshore()?;
    scene.script("exec sleep 100");
    scene.create()?;
    for status in ["created", "running", "stopped"] {
        match status {
            "running" => drop(scene.must("start")?),
            "stopped" => drop(scene.call(&["kill", &scene.id, "KILL"]).run()?),
            _ => {}
        }
        scene.wait_status(status)?;
        age(scene)?;
        let found = gc(scene, &[])?;
        ensure!(found.is_empty(), "{status}: {found:?}");
        scene.must_be(status)?;
    }
    Ok(())
}

/// As if nothing had happened in its cgroup for a while.
fn age(scene: &Scene<'_>) -> Check {
    cgroups::directories(&scene.cgroup)
        .iter()
        .try_for_each(|directory| touch(directory))
}

fn touch(directory: &Path) -> Check {
    let before = ["-d", "2 minutes ago"];
    let touched = Command::new("touch").args(before).arg(directory).status()?;
    ensure!(touched.success(), "touch: {touched}");
    Ok(())
}

/// Its state is lost, as when /run was emptied.
fn lost(scene: &mut Scene<'_>) -> Check {
    scene.only_longshore()?;
    sleeper(scene)?;
    fs::remove_dir_all(scene.path("state").join(&scene.id))?;
    Ok(())
}

fn forgotten(scene: &mut Scene<'_>) -> Check {
    lost(scene)?;
    let pids = cgroups::processes(&scene.cgroup);
    for pid in &pids {
        let pid = nix::unistd::Pid::from_raw(*pid);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL)?;
    }
    pids.into_iter().for_each(crate::scene::reap);
    let empty = || cgroups::processes(&scene.cgroup).is_empty();
    until(empty, "its end")?;
    // It may be on its way to be a container's.
    let fresh = gc(scene, &[])?;
    ensure!(fresh.is_empty(), "{fresh:?}");
    age(scene)?;
    let removed = gc(scene, &[])?;
    ensure!(removed.len() == 1, "{removed:?}");
    scene.leaves_nothing()
}

/// Who is in it was never proven to be anybody's.
fn in_use(scene: &mut Scene<'_>) -> Check {
    lost(scene)?;
    age(scene)?;
    let found = gc(scene, &[])?;
    ensure!(found.is_empty(), "{found:?}");
    let pids = cgroups::processes(&scene.cgroup);
    ensure!(pids.len() == 1, "in the cgroup are {pids:?}");
    Ok(())
}
