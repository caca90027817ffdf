//! De facto: a caller without the host's root, who maps its own ids alone.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::config::{namespace, set, strip};
use crate::property::{Scenario, scenario};
use crate::runtime::{Call, Ran};
use crate::scene::{Scene, until};
use crate::suite::{Check, ensure};

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario("rootless.run", run),
    scenario("rootless.exec", exec),
    scenario("rootless.ps-without-a-cgroup", processes),
    scenario("rootless.delete-force", delete_force),
    scenario("rootless.cgroupsPath.refused", cgroup_refused),
    scenario("rootless.limits.refused", limits_refused),
    scenario("rootless.devices.deny-all", deny_all),
    scenario("rootless.devices.refused", rules_refused)
        .deviates(&[("runc", "takes any list"), ("crun", "takes any list")]),
    scenario("rootless.no.refused", no_refused),
    scenario("rootless.additionalGids.refused", groups_refused),
    scenario("rootless.other-groups", other_groups),
    scenario("rootless.netDevices.refused", devices_refused).deviates(&[
        ("runc", "1.1 does not know them"),
        ("crun", "1.8 does not know them"),
    ]),
    scenario("list.owner-without-a-name", owner_without_name),
];

/// Nobody in any list of users.
pub(super) const USER: u32 = 424_242;

/// A config for somebody who is root in its own user namespace only, and everything of the scene handed over.
fn rootless(scene: &mut Scene<'_>) -> Check {
    hand_over(
        scene,
        json!([{ "containerID": 0, "hostID": USER, "size": 1 }]),
    )
}

/// The same with maps of its choice.
pub(super) fn hand_over(scene: &mut Scene<'_>, map: Value) -> Check {
    hand_over_to(scene, USER, map)
}

/// The same for another user.
pub(super) fn hand_over_to(scene: &mut Scene<'_>, user: u32, map: Value) -> Check {
    let config = &mut scene.config;
    namespace(config, json!({ "type": "user" }));
    set(config, "/linux/uidMappings", map.clone());
    set(config, "/linux/gidMappings", map);
    strip(config, "/linux/cgroupsPath");
    strip(config, "/linux/resources");
    // The harness may be where only root gets in.
    let program = scene.path("runtime");
    fs::copy(&scene.program, &program)?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    for name in [".", "rootfs"] {
        chown(scene.path(name), Some(user), Some(user))?;
    }
    fs::create_dir_all(scene.path("state"))?;
    chown(scene.path("state"), Some(user), Some(user))?;
    scene.write_config()?;
    scene.program = program;
    Ok(())
}

pub(super) fn call(scene: &Scene<'_>, args: &[&str]) -> Call {
    call_in(scene, "--clear-groups", args)
}

/// With groups as an option of setpriv(1) says.
pub(super) fn call_in(scene: &Scene<'_>, groups: &str, args: &[&str]) -> Call {
    let mut call = scene.call(args);
    let id = USER.to_string();
    let become_user = ["--reuid", &id, "--regid", &id, groups];
    let runtime = scene.program.display().to_string();
    let head = become_user.map(str::to_owned).into_iter().chain([runtime]);
    call.args = head.chain(call.args).collect();
    call.program = PathBuf::from("setpriv");
    call
}

pub(super) fn must_refuse(scene: &Scene<'_>, ran: &Ran, place: &str) -> Check {
    ensure!(!ran.ok() && ran.stdout.is_empty(), "{}", ran.story());
    let ours = scene.runtime().name == "longshore";
    ensure!(
        !ours || ran.stderr.contains(place),
        "not {place}: {}",
        ran.story()
    );
    let left = scene.left_behind();
    ensure!(left.is_empty(), "left {left:?}");
    Ok(())
}

/// It stays in its caller's cgroup, and that is said.
fn run(scene: &mut Scene<'_>) -> Check {
    scene.script("id -u; id -g; cat /proc/self/uid_map; exit 3");
    rootless(scene)?;
    let ran = call(scene, &["run", &scene.id]).run()?;
    let words: Vec<_> = ran.stdout.split_whitespace().collect();
    let map = USER.to_string();
    ensure!(
        words == ["0", "0", "0", &map, "1"] && ran.code() == 3,
        "{}",
        ran.story()
    );
    let said = ran
        .stderr
        .contains("linux.cgroupsPath: no cgroup of its own");
    ensure!(
        said || scene.runtime().name != "longshore",
        "{}",
        ran.story()
    );
    Ok(())
}

fn running(scene: &mut Scene<'_>) -> Check {
    scene.script("echo up > /tmp/up; exec sleep 100");
    rootless(scene)?;
    detached(scene)
}

/// Until the script has made `/tmp/up`.
pub(super) fn detached(scene: &Scene<'_>) -> Check {
    let call = call(scene, &["run", "--detach", "--pid-file", "pid", &scene.id]);
    let ran = scene.finish_create(call)?;
    ran.must()?;
    until(
        || scene.path("rootfs/tmp/up").exists(),
        "the container's start",
    )
}

fn exec(scene: &mut Scene<'_>) -> Check {
    running(scene)?;
    let ran = call(scene, &["exec", &scene.id, "sh", "-c", "id -u; exit 4"]).run()?;
    ensure!(
        ran.stdout.trim() == "0" && ran.code() == 4,
        "{}",
        ran.story()
    );
    Ok(())
}

/// Nothing is not the answer: there are processes.
fn processes(scene: &mut Scene<'_>) -> Check {
    running(scene)?;
    let ran = call(scene, &["ps", &scene.id]).run()?;
    ensure!(!ran.ok() && ran.stdout.is_empty(), "{}", ran.story());
    Ok(())
}

fn delete_force(scene: &mut Scene<'_>) -> Check {
    running(scene)?;
    call(scene, &["delete", "--force", &scene.id])
        .run()?
        .must()?;
    let left = scene.left_behind();
    ensure!(left.is_empty(), "left {left:?}");
    Ok(())
}

/// What is asked for must be had.
fn cgroup_refused(scene: &mut Scene<'_>) -> Check {
    scene.script("echo ran");
    let path = json!(scene.cgroup);
    rootless(scene)?;
    set(&mut scene.config, "/linux/cgroupsPath", path);
    scene.write_config()?;
    let ran = call(scene, &["run", &scene.id]).run()?;
    must_refuse(scene, &ran, "linux.cgroupsPath")
}

fn limits_refused(scene: &mut Scene<'_>) -> Check {
    scene.script("echo ran");
    rootless(scene)?;
    set(&mut scene.config, "/linux/resources/pids/limit", json!(10));
    scene.write_config()?;
    let ran = call(scene, &["run", &scene.id]).run()?;
    must_refuse(scene, &ran, "linux.resources.pids")
}

/// As buildah's users have it.
fn deny_all(scene: &mut Scene<'_>) -> Check {
    scene.script("mknod /x c 1 3 2>/dev/null && exit 9; exit 3");
    let deny = json!({ "devices": [{ "allow": false, "access": "rwm" }] });
    let ran = with_rules(scene, deny)?;
    ensure!(ran.code() == 3, "{}", ran.story());
    Ok(())
}

/// Nothing keeps a program to it.
fn rules_refused(scene: &mut Scene<'_>) -> Check {
    let deny = json!({ "devices": [{ "allow": false, "type": "c", "major": 1, "minor": 3, "access": "rwm" }] });
    let ran = with_rules(scene, deny)?;
    must_refuse(scene, &ran, "linux.resources.devices")
}

fn with_rules(scene: &mut Scene<'_>, resources: Value) -> Check<Ran> {
    rootless(scene)?;
    set(&mut scene.config, "/linux/resources", resources);
    scene.write_config()?;
    Ok(call(scene, &["run", &scene.id]).run()?)
}

fn no_refused(scene: &mut Scene<'_>) -> Check {
    scene.script("echo ran");
    rootless(scene)?;
    let mut call = call(scene, &["run", &scene.id]);
    let verb = call.args.len() - 2;
    call.args.insert(verb, "--rootless=false".to_owned());
    must_refuse(scene, &call.run()?, "linux.cgroupsPath")
}

/// setgroups(2) is denied in a user namespace that was mapped without privileges.
fn groups_refused(scene: &mut Scene<'_>) -> Check {
    scene.script("echo ran");
    rootless(scene)?;
    set(
        &mut scene.config,
        "/process/user/additionalGids",
        json!([0]),
    );
    scene.write_config()?;
    let ran = call(scene, &["run", &scene.id]).run()?;
    must_refuse(scene, &ran, "process.user")
}

/// Nor can they be left, which is said.
fn other_groups(scene: &mut Scene<'_>) -> Check {
    scene.script("grep ^Groups: /proc/self/status");
    rootless(scene)?;
    let ran = call_in(scene, "--groups=424243", &["run", &scene.id])
        .run()?
        .must()?;
    ensure!(ran.stdout.contains("65534"), "{}", ran.story());
    let said = ran.stderr.contains("process.user.additionalGids");
    ensure!(
        said || scene.runtime().name != "longshore",
        "{}",
        ran.story()
    );
    Ok(())
}

/// The runtime's network namespace is not this user's.
fn devices_refused(scene: &mut Scene<'_>) -> Check {
    scene.script("echo ran");
    rootless(scene)?;
    set(
        &mut scene.config,
        "/linux/netDevices",
        json!({ "lo": { "name": "lo7" } }),
    );
    scene.write_config()?;
    let ran = call(scene, &["run", &scene.id]).run()?;
    must_refuse(scene, &ran, "linux.netDevices")
}

fn owner_without_name(scene: &mut Scene<'_>) -> Check {
    scene.create()?;
    chown(scene.path("state").join(&scene.id), Some(USER), None)?;
    let ran = scene.call(&["list"]).run()?.must()?;
    chown(scene.path("state").join(&scene.id), Some(0), None)?;
    ensure!(ran.stdout.contains(&format!("#{USER}")), "{}", ran.story());
    Ok(())
}
