//! config.md#posix-platform-hooks: the kinds around the program's life, and createContainer's.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::hooks::{hook, hook_state};
use crate::config::set;
use crate::property::{Scenario, scenario};
use crate::scene::Scene;
use crate::suite::{Check, ensure};

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario("hooks.prestart.before-createRuntime", prestart),
    scenario(
        "hooks.prestart.poststop-after-failure",
        poststop_after_failure,
    )
    .deviates(&[("crun", "runs no poststop hooks when create fails")]),
    scenario(
        "hooks.createContainer.namespaces",
        create_container_namespaces,
    ),
    scenario(
        "hooks.createContainer.sees-the-mounts",
        create_container_mounts,
    ),
    scenario(
        "hooks.createContainer.stdin-is-the-state",
        create_container_state,
    )
    .deviates(&[("crun", "tells created and pid 0")]),
    scenario("hooks.createContainer.env", create_container_env),
    scenario("hooks.createContainer.failure", create_container_failure),
    scenario(
        "hooks.createContainer.timeout.kills-descendants",
        create_container_timeout,
    )
    .deviates(&[("runc", "kills only the hook itself")]),
    scenario(
        "hooks.createContainer.device-rules-are-in-force",
        create_container_devices,
    ),
    scenario("hooks.poststart.after-the-program-is-executed", poststart).deviates(POSTSTART),
    scenario(
        "hooks.poststart.failure-stops-the-container",
        poststart_failure,
    )
    .deviates(POSTSTART_FAILS),
    scenario("hooks.poststop.after-all-is-gone", poststop)
        .deviates(&[("crun", "tells pid 0 and no status")]),
    scenario("hooks.poststop.failure-warns", poststop_failure).deviates(&[
        ("runc", "1.1 stops at the first failure, and fails"),
        ("crun", "1.8 says nothing"),
    ]),
    scenario("hooks.poststop.force", poststop_force),
];

const POSTSTART: crate::suite::Known = &[("runc", "1.1 runs poststart hooks at create")];
const POSTSTART_FAILS: crate::suite::Known = &[
    ("runc", "1.1 runs poststart hooks at create"),
    ("crun", "deletes the container"),
];

fn prestart(scene: &mut Scene<'_>) -> Check {
    hook(
        scene,
        "createRuntime",
        "second.sh",
        "echo createRuntime >> $B/order",
    )?;
    hook(
        scene,
        "prestart",
        "first.sh",
        "echo prestart >> $B/order; readlink /proc/self/ns/mnt > $B/ns",
    )?;
    scene.create()?;
    let seen = fs::read_to_string(scene.path("order"))?;
    ensure!(seen == "prestart\ncreateRuntime\n", "{seen}");
    let own = fs::read_link("/proc/self/ns/mnt")?;
    let seen = fs::read_to_string(scene.path("ns"))?;
    ensure!(Path::new(seen.trim()) == own, "in {seen}");
    Ok(())
}

/// runtime.md#lifecycle: a failed hook leads on to the poststop hooks.
fn poststop_after_failure(scene: &mut Scene<'_>) -> Check {
    hook(scene, "prestart", "first.sh", "exit 3")?;
    hook(scene, "poststop", "last.sh", "echo ran > $B/last")?;
    let ran = scene.try_create()?;
    ensure!(!ran.ok(), "create succeeded: {}", ran.story());
    ensure!(scene.path("last").exists(), "poststop did not run");
    let left = scene.left_behind();
    ensure!(left.is_empty(), "left: {left:?}");
    Ok(())
}

/// Its path is the host's, all its namespaces are the container's.
fn create_container_namespaces(scene: &mut Scene<'_>) -> Check {
    let look = "for n in mnt net uts ipc pid; do readlink /proc/self/ns/$n; done > $B/ns";
    hook(scene, "createContainer", "inside.sh", look)?;
    let pid = scene.create()?;
    let mut inits = String::new();
    for kind in ["mnt", "net", "uts", "ipc", "pid"] {
        let link = fs::read_link(format!("/proc/{pid}/ns/{kind}"))?;
        inits += &format!("{}\n", link.display());
    }
    let seen = fs::read_to_string(scene.path("ns"))?;
    ensure!(seen == inits, "hook: {seen} container: {inits}");
    Ok(())
}

/// Before pivot_root: the root filesystem is at its place on the host, with its mounts, and a mount is kept.
fn create_container_mounts(scene: &mut Scene<'_>) -> Check {
    scene.file("rootfs/extra/below", "hidden")?;
    let body = "grep \" $B/rootfs/dev \" /proc/self/mountinfo > $B/seen
mount -t tmpfs -o mode=755 extra $B/rootfs/extra && echo added > $B/rootfs/extra/file";
    hook(scene, "createContainer", "inside.sh", body)?;
    scene.script("ls /extra");
    let ran = scene.run()?;
    ensure!(ran.ok(), "{}", ran.story());
    let seen = fs::read_to_string(scene.path("seen"))?;
    ensure!(seen.contains("tmpfs"), "no /dev at its place: {seen}");
    ensure!(ran.stdout.trim() == "file", "inside: {}", ran.story());
    Ok(())
}

fn create_container_state(scene: &mut Scene<'_>) -> Check {
    hook(
        scene,
        "createContainer",
        "inside.sh",
        "/bin/cat > $B/state.json",
    )?;
    scene.create()?;
    let state = hook_state(scene)?;
    ensure!(state["id"] == json!(scene.id), "id: {state}");
    ensure!(
        state["pid"] == json!(1),
        "pid, as the container sees it: {state}"
    );
    ensure!(state["status"] == "creating", "status: {state}");
    ensure!(state["bundle"] == json!(scene.dir), "bundle: {state}");
    Ok(())
}

fn create_container_env(scene: &mut Scene<'_>) -> Check {
    let out = scene.path("env").display().to_string();
    let script = format!("tr '\\0' '\\n' < /proc/self/environ > {out}");
    let entry = json!({ "path": "/bin/sh", "args": ["sh", "-c", script], "env": ["A=1", "PATH=/usr/bin:/bin"] });
    set(
        &mut scene.config,
        "/hooks",
        json!({ "createContainer": [entry] }),
    );
    // What the container's environment says is none of a hook's affair.
    crate::config::push(&mut scene.config, "/process/env", json!("LD_PRELOAD=/evil"));
    scene.create()?;
    let seen = fs::read_to_string(&out)?;
    let shells = ["PWD=", "OLDPWD=", "SHLVL=", "_="];
    let mut seen: Vec<&str> = seen.lines().collect();
    seen.retain(|entry| !shells.iter().any(|own| entry.starts_with(own)));
    seen.sort_unstable();
    ensure!(seen == ["A=1", "PATH=/usr/bin:/bin"], "{seen:?}");
    Ok(())
}

fn create_container_failure(scene: &mut Scene<'_>) -> Check {
    hook(scene, "createContainer", "first.sh", "exit 3")?;
    hook(scene, "createContainer", "second.sh", "echo > $B/second")?;
    let ran = scene.try_create()?;
    ensure!(!ran.ok(), "create succeeded: {}", ran.story());
    ensure!(!scene.path("second").exists(), "the next hook ran");
    let left = scene.left_behind();
    ensure!(left.is_empty(), "left: {left:?}");
    Ok(())
}

fn create_container_timeout(scene: &mut Scene<'_>) -> Check {
    let body = "sleep 30 & echo begun > $B/begun\nexec sleep 30";
    hook(scene, "createContainer", "inside.sh", body)?;
    // Without a pid namespace nothing but the runtime ends what a hook started.
    crate::config::no_namespace(&mut scene.config, "pid");
    set(
        &mut scene.config,
        "/hooks/createContainer/0/timeout",
        json!(1),
    );
    let ran = scene.try_create()?;
    ensure!(!ran.ok() && ran.status.is_some(), "{}", ran.story());
    ensure!(scene.path("begun").exists(), "it never ran");
    ensure!(ran.took < Duration::from_secs(10), "took {:?}", ran.took);
    let left = scene.left_behind();
    ensure!(left.is_empty(), "left: {left:?}");
    Ok(())
}

fn create_container_devices(scene: &mut Scene<'_>) -> Check {
    let body = "exec 2> $B/why; mknod $B/fuse c 10 229; : < $B/fuse && echo opened > $B/why";
    hook(scene, "createContainer", "inside.sh", body)?;
    set(
        &mut scene.config,
        "/linux/resources/devices",
        json!([{ "allow": false, "access": "rwm" }]),
    );
    let _ = scene.try_create()?; // the hook fails, which is its affair
    let why = fs::read_to_string(scene.path("why"))?;
    ensure!(why.contains("Operation not permitted"), "{why}");
    Ok(())
}

/// The pid on its stdin runs the program, and init no more.
fn poststart(scene: &mut Scene<'_>) -> Check {
    let body = "cat > $B/state.json
pid=$(sed 's/.*\"pid\": *\\([0-9]*\\).*/\\1/' $B/state.json)
tr '\\0' ' ' < /proc/$pid/cmdline > $B/program";
    hook(scene, "poststart", "after.sh", body)?;
    set(
        &mut scene.config,
        "/process/args",
        json!(["/bin/sleep", "77"]),
    );
    let pid = scene.create()?;
    ensure!(!scene.path("state.json").exists(), "it ran at create");
    scene.must("start")?;
    let state = hook_state(scene)?;
    ensure!(state["pid"] == json!(pid), "pid, init is {pid}: {state}");
    ensure!(state["status"] == "running", "status: {state}");
    let program = fs::read_to_string(scene.path("program"))?;
    ensure!(program == "/bin/sleep 77 ", "it saw {program}");
    Ok(())
}

fn poststart_failure(scene: &mut Scene<'_>) -> Check {
    hook(scene, "poststart", "after.sh", "exit 3")?;
    hook(scene, "poststart", "later.sh", "echo > $B/later")?;
    scene.script("exec sleep 100");
    scene.create()?;
    let ran = scene.verb("start")?;
    ensure!(!ran.ok(), "start said nothing: {}", ran.story());
    ensure!(!scene.path("later").exists(), "the next hook ran");
    scene.wait_status("stopped")?;
    scene.must("delete").map(drop)
}

fn poststop(scene: &mut Scene<'_>) -> Check {
    let body = "cat > $B/state.json; ls -d /sys/fs/cgroup/*/$C /sys/fs/cgroup/$C > $B/cgroups";
    let body = format!("C={}\n{body}", scene.cgroup.trim_start_matches('/'));
    hook(scene, "poststop", "last.sh", &body)?;
    scene.script("exit 0");
    scene.start()?;
    scene.wait_status("stopped")?;
    ensure!(!scene.path("state.json").exists(), "it ran before delete");
    scene.must("delete")?;
    let state = hook_state(scene)?;
    ensure!(state["id"] == json!(scene.id), "id: {state}");
    ensure!(state["status"] == "stopped", "status: {state}");
    let pid = state.get("pid").and_then(Value::as_i64).unwrap_or(0);
    ensure!(pid == 0, "pid: {state}");
    let cgroups = fs::read_to_string(scene.path("cgroups"))?;
    ensure!(cgroups.is_empty(), "there still is {cgroups}");
    Ok(())
}

fn poststop_failure(scene: &mut Scene<'_>) -> Check {
    hook(scene, "poststop", "last.sh", "exit 3")?;
    hook(scene, "poststop", "very-last.sh", "echo > $B/very-last")?;
    scene.create()?;
    scene.script("exit 0");
    let ran = scene.must("delete")?;
    ensure!(
        scene.path("very-last").exists(),
        "the next hook did not run"
    );
    ensure!(
        ran.stderr.contains("last.sh"),
        "no warning: {}",
        ran.story()
    );
    let left = scene.left_behind();
    ensure!(left.is_empty(), "left: {left:?}");
    Ok(())
}

fn poststop_force(scene: &mut Scene<'_>) -> Check {
    hook(scene, "poststop", "last.sh", "echo ran >> $B/last")?;
    scene.script("exec sleep 100");
    scene.start()?;
    for _ in 0..2 {
        let ran = scene.call(&["delete", "--force", &scene.id]).run()?;
        ensure!(ran.ok(), "{}", ran.story());
    }
    let seen = fs::read_to_string(scene.path("last"))?;
    ensure!(seen == "ran\n", "ran {seen}");
    Ok(())
}
