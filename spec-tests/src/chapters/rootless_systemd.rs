//! De facto: a caller without the host's root, whose own systemd (`systemd --user`) makes the container's cgroup.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::rootless::{hand_over_to, must_refuse};
use crate::cgroups;
use crate::config::set;
use crate::property::{Scenario, scenario};
use crate::runtime::{Call, Ran};
use crate::scene::{Scene, until};
use crate::suite::{Check, Stop, View, ensure};

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario("rootless.systemd.run", run).on(View::V2),
    scenario("rootless.systemd.exec", exec).on(View::V2),
    scenario("rootless.systemd.limits", limits).on(View::V2),
    scenario("rootless.systemd.update", update).on(View::V2),
    scenario("rootless.systemd.pause", pause).on(View::V2),
    scenario("rootless.systemd.dead", dead).on(View::V2),
];

/// The runtime is called as from a session of this user's: in a cgroup of its systemd's, which alone it can be moved
/// out of.
const ENTER: &str = "export XDG_RUNTIME_DIR=/run/user/$(cat user)
    echo 0 > \"$(cat manager)/init.scope/cgroup.procs\"";
const NO_MANAGER: &str = "export XDG_RUNTIME_DIR=/nonexistent
    echo 0 > \"$(cat manager)/init.scope/cgroup.procs\"";

/// Some user other than root, whose systemd runs.
fn user() -> Check<u32> {
    let uid = |entry: fs::DirEntry| entry.file_name().to_string_lossy().parse().ok();
    let users = fs::read_dir("/run/user").into_iter().flatten().flatten();
    let mut users = users.filter_map(uid).filter(|uid| *uid != 0);
    let runs = |uid: &u32| Path::new(&format!("/run/user/{uid}/systemd/private")).exists();
    let why = "no user's systemd runs here: a VM has one";
    users.find(runs).ok_or_else(|| Stop::Skip(why.to_owned()))
}

/// A container of this user's, in a scope of its systemd's; who that is.
fn given(scene: &mut Scene<'_>, script: &str) -> Check<u32> {
    let user = user()?;
    scene.script(script);
    let unit = scene.in_scope("user.slice");
    let path = scene.config["linux"]["cgroupsPath"].take();
    let map = json!([{ "containerID": 0, "hostID": user, "size": 1 }]);
    hand_over_to(scene, user, map)?;
    set(&mut scene.config, "/linux/cgroupsPath", path);
    scene.write_config()?;
    let manager = format!("/user.slice/user-{user}.slice/user@{user}.service");
    scene.cgroup = format!("{manager}/user.slice/{unit}");
    scene.file("user", &user.to_string())?;
    scene.file("manager", &format!("/sys/fs/cgroup{manager}"))?;
    scene.setup = ENTER;
    Ok(user)
}

fn call(scene: &Scene<'_>, args: &[&str]) -> Check<Call> {
    let user = fs::read_to_string(scene.path("user"))?;
    let mut call = scene.call(args);
    let become_user = ["--reuid", &user, "--regid", &user, "--clear-groups"];
    let head = become_user.map(str::to_owned).into_iter();
    call.args = head
        .chain([scene.program.display().to_string()])
        .chain(call.args)
        .collect();
    call.program = PathBuf::from("setpriv");
    Ok(call)
}

fn must(scene: &Scene<'_>, args: &[&str]) -> Check<Ran> {
    call(scene, args)?.run()?.must()
}

const SLEEPER: &str = "echo up > /tmp/up; exec sleep 100";

fn sleeps(scene: &Scene<'_>) -> Check {
    let call = call(scene, &["run", "--detach", "--pid-file", "pid", &scene.id])?;
    scene.finish_create(call)?.must()?;
    let started = || scene.path("rootfs/tmp/up").exists();
    until(started, "the container's start")
}

fn goes(scene: &Scene<'_>) -> Check {
    must(scene, &["delete", "--force", &scene.id])?;
    scene.leaves_nothing()
}

/// In a scope of the user's manager, and nothing to warn of.
fn run(scene: &mut Scene<'_>) -> Check {
    given(scene, "cat /proc/self/cgroup; exit 3")?;
    let ran = call(scene, &["run", &scene.id])?.run()?;
    let place = format!("0::{}", scene.cgroup);
    ensure!(
        ran.code() == 3 && ran.stdout.trim() == place && ran.stderr.is_empty(),
        "not in {place}: {}",
        ran.story()
    );
    scene.leaves_nothing()
}

fn exec(scene: &mut Scene<'_>) -> Check {
    given(scene, SLEEPER)?;
    sleeps(scene)?;
    let ran = must(scene, &["exec", &scene.id, "cat", "/proc/self/cgroup"])?;
    let place = format!("0::{}", scene.cgroup);
    ensure!(ran.stdout.trim() == place, "{}", ran.story());
    goes(scene)
}

fn limited(scene: &mut Scene<'_>) -> Check {
    given(scene, SLEEPER)?;
    let limits = json!({ "pids": { "limit": 20 }, "memory": { "limit": 33_554_432 } });
    set(&mut scene.config, "/linux/resources", limits);
    scene.write_config()?;
    sleeps(scene)
}

fn must_say(scene: &Scene<'_>, wanted: &[(&str, &str)]) -> Check {
    for (file, value) in wanted {
        let said = cgroups::read("", &scene.cgroup, file)?;
        ensure!(said.trim() == *value, "{file} says {said:?}");
    }
    Ok(())
}

fn limits(scene: &mut Scene<'_>) -> Check {
    limited(scene)?;
    must_say(scene, &[("pids.max", "20"), ("memory.max", "33554432")])?;
    goes(scene)
}

fn update(scene: &mut Scene<'_>) -> Check {
    limited(scene)?;
    must(scene, &["update", "--pids-limit", "30", &scene.id])?;
    must_say(scene, &[("pids.max", "30"), ("memory.max", "33554432")])?;
    goes(scene)
}

fn pause(scene: &mut Scene<'_>) -> Check {
    given(scene, SLEEPER)?;
    sleeps(scene)?;
    for (verb, frozen) in [("pause", "1"), ("resume", "0")] {
        must(scene, &[verb, &scene.id])?;
        must_say(scene, &[("cgroup.freeze", frozen)])?;
    }
    goes(scene)
}

/// Who asks for systemd gets it, or an error that names where it was looked for.
fn dead(scene: &mut Scene<'_>) -> Check {
    given(scene, "echo ran")?;
    scene.setup = NO_MANAGER;
    let ran = call(scene, &["run", &scene.id])?.run()?;
    must_refuse(scene, &ran, "/nonexistent")
}
