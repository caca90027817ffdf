//! De facto: a caller without the host's root who was given a cgroup2 directory, and is in it itself, one below.
//! cgroups(7), "Delegation"

use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::rootless::{USER, call, detached, hand_over};
use crate::cgroups;
use crate::config::{no_namespace, set, unmount};
use crate::property::{Scenario, scenario};
use crate::scene::{Scene, until};
use crate::suite::{Check, Stop, View, ensure};

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario("rootless.cgroup.beside-the-caller", beside).on(View::V2),
    scenario("rootless.cgroup.path", path).on(View::V2),
    scenario("rootless.cgroup.exec", exec).on(View::V2),
    scenario("rootless.cgroup.limits", limits).on(View::V2),
    scenario("rootless.cgroup.limits.in-force", in_force).on(View::V2),
    scenario("rootless.cgroup.update", update).on(View::V2),
    scenario("rootless.cgroup.pause", pause).on(View::V2),
    scenario("rootless.cgroup.kills-what-is-in-it", kills)
        .on(View::V2)
        .deviates(&[("runc", "1.1 needs a /proc in the container")]),
    scenario("rootless.cgroup.not-delegated", not_delegated)
        .on(View::V2)
        .deviates(&[(
            "runc",
            "1.1 fails where it can make a cgroup, and not enter it",
        )]),
];

const MOUNT: &str = "/sys/fs/cgroup";

/// The runtime's caller goes there, in a shell that has the scene's directory as its own.
const ENTER: &str = "echo 0 > \"$(cat delegated)/caller/cgroup.procs\"";

/// What makes a directory the user's.
const FILES: [&str; 4] = [
    "",
    "cgroup.procs",
    "cgroup.subtree_control",
    "cgroup.threads",
];

/// A user with a cgroup2 directory, as far as `files` go.
fn given(scene: &mut Scene<'_>, files: &[&str]) -> Check<PathBuf> {
    let directory = Path::new(MOUNT).join(&scene.cgroup[1..]);
    fs::create_dir_all(directory.join("caller"))?;
    for controller in ["pids", "memory"].iter().filter(|name| cgroups::has(name)) {
        enable(directory.parent().unwrap_or(&directory), controller)?;
    }
    for file in files {
        chown(directory.join(file), Some(USER), Some(USER))?;
    }
    scene.file("delegated", &directory.display().to_string())?;
    let map = json!([{ "containerID": 0, "hostID": USER, "size": 1 }]);
    hand_over(scene, map)?;
    scene.setup = ENTER;
    Ok(directory)
}

/// In this directory and, before it, in those above.
fn enable(directory: &Path, controller: &str) -> Check {
    if directory != Path::new(MOUNT) {
        enable(directory.parent().unwrap_or(directory), controller)?;
    }
    fs::write(
        directory.join("cgroup.subtree_control"),
        format!("+{controller}"),
    )?;
    Ok(())
}

fn needs(controller: &str) -> Check {
    match cgroups::has(controller) {
        true => Ok(()),
        false => Err(Stop::Skip(format!("cgroup2 has no {controller} here"))),
    }
}

/// What is in the user's directory besides the caller.
fn besides(directory: &Path) -> Check<Vec<String>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.file_type()?.is_dir() && name != "caller" {
            found.push(name);
        }
    }
    Ok(found)
}

fn leaves_nothing(scene: &Scene<'_>, directory: &Path) -> Check {
    let left = besides(directory)?;
    let state = scene.path("state").join(&scene.id);
    ensure!(left.is_empty() && !state.exists(), "left {left:?}");
    Ok(())
}

/// Where a script finds itself.
fn must_be_in(scene: &Scene<'_>, seen: &str, name: &str) -> Check {
    let expected = format!("0::{}/{name}", scene.cgroup);
    ensure!(
        seen.lines().any(|line| line == expected),
        "{seen:?} has no line {expected:?}"
    );
    Ok(())
}

/// No cgroupsPath: one of its own in the user's directory, and nothing to warn of.
fn beside(scene: &mut Scene<'_>) -> Check {
    scene.script("cat /proc/self/cgroup");
    let directory = given(scene, &FILES)?;
    let ran = call(scene, &["run", &scene.id]).run()?.must()?;
    must_be_in(scene, &ran.stdout, &scene.id)?;
    ensure!(!ran.stderr.contains("cgroup"), "{}", ran.story());
    leaves_nothing(scene, &directory)
}

fn named(scene: &mut Scene<'_>) -> Check {
    let path = format!("{}/named", scene.cgroup);
    set(&mut scene.config, "/linux/cgroupsPath", json!(path));
    scene.write_config()
}

fn path(scene: &mut Scene<'_>) -> Check {
    scene.script("cat /proc/self/cgroup");
    let directory = given(scene, &FILES)?;
    named(scene)?;
    let ran = call(scene, &["run", &scene.id]).run()?.must()?;
    must_be_in(scene, &ran.stdout, "named")?;
    leaves_nothing(scene, &directory)
}

fn sleeper(scene: &mut Scene<'_>) -> Check<PathBuf> {
    scene.script("echo up > /tmp/up; exec sleep 100");
    let directory = given(scene, &FILES)?;
    named(scene)?;
    Ok(directory)
}

fn exec(scene: &mut Scene<'_>) -> Check {
    let directory = sleeper(scene)?;
    detached(scene)?;
    let args = ["exec", &scene.id, "cat", "/proc/self/cgroup"];
    let ran = call(scene, &args).run()?.must()?;
    must_be_in(scene, &ran.stdout, "named")?;
    delete(scene, &directory)
}

fn delete(scene: &Scene<'_>, directory: &Path) -> Check {
    let args = ["delete", "--force", &scene.id];
    call(scene, &args).run()?.must()?;
    leaves_nothing(scene, directory)
}

fn must_say(directory: &Path, file: &str, expected: &str) -> Check {
    let said = fs::read_to_string(directory.join("named").join(file))?;
    ensure!(said.trim() == expected, "{file} says {said:?}");
    Ok(())
}

fn limited(scene: &mut Scene<'_>) -> Check<PathBuf> {
    needs("pids")?;
    needs("memory")?;
    let directory = sleeper(scene)?;
    let limits = json!({ "pids": { "limit": 20 }, "memory": { "limit": 33_554_432 } });
    set(&mut scene.config, "/linux/resources", limits);
    scene.write_config()?;
    Ok(directory)
}

fn limits(scene: &mut Scene<'_>) -> Check {
    let directory = limited(scene)?;
    detached(scene)?;
    must_say(&directory, "pids.max", "20")?;
    must_say(&directory, "memory.max", "33554432")?;
    delete(scene, &directory)
}

fn in_force(scene: &mut Scene<'_>) -> Check {
    let directory = limited(scene)?;
    let limit = json!(3);
    set(&mut scene.config, "/linux/resources/pids/limit", limit);
    scene.script("for n in 1 2 3 4 5; do sleep 5 & done; echo all");
    scene.write_config()?;
    let ran = call(scene, &["run", &scene.id]).run()?;
    ensure!(!ran.ok() && ran.stderr.contains("fork"), "{}", ran.story());
    leaves_nothing(scene, &directory)
}

fn update(scene: &mut Scene<'_>) -> Check {
    let directory = limited(scene)?;
    detached(scene)?;
    let args = ["update", "--pids-limit", "30", &scene.id];
    call(scene, &args).run()?.must()?;
    must_say(&directory, "pids.max", "30")?;
    must_say(&directory, "memory.max", "33554432")?;
    delete(scene, &directory)
}

fn pause(scene: &mut Scene<'_>) -> Check {
    let directory = sleeper(scene)?;
    detached(scene)?;
    for (verb, frozen) in [("pause", "1"), ("resume", "0")] {
        call(scene, &[verb, &scene.id]).run()?.must()?;
        must_say(&directory, "cgroup.freeze", frozen)?;
    }
    delete(scene, &directory)
}

/// Without a pid namespace the cgroup alone tells who belongs to the container; that it is the container's tells a
/// mark that this user can set.
fn kills(scene: &mut Scene<'_>) -> Check {
    no_namespace(&mut scene.config, "pid");
    unmount(&mut scene.config, "/proc");
    let directory = sleeper(scene)?;
    scene.script("setsid sleep 200 & setsid sleep 200 & echo up > /tmp/up; exec sleep 100");
    scene.write_config()?;
    detached(scene)?;
    let there = || cgroups::processes(&format!("{}/named", scene.cgroup)).len();
    until(|| there() == 3, "three processes")?;
    delete(scene, &directory)
}

/// The directory is the user's, but not the right to move processes about in it.
fn not_delegated(scene: &mut Scene<'_>) -> Check {
    scene.script("echo ran; cat /proc/self/cgroup");
    let directory = given(scene, &FILES[..1])?;
    let ran = call(scene, &["run", &scene.id]).run()?.must()?;
    must_be_in(scene, &ran.stdout, "caller")?;
    let said = ran
        .stderr
        .contains("linux.cgroupsPath: no cgroup of its own");
    ensure!(
        said || scene.runtime().name != "longshore",
        "{}",
        ran.story()
    );
    leaves_nothing(scene, &directory)
}
