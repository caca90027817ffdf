//! config.md#posix-platform-hooks

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::config::{push, set};
use crate::property::{Scenario, scenario};
use crate::scene::{Scene, until};
use crate::suite::{Check, Stop, ensure};

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario("hooks.createRuntime.stdin-is-the-state", stdin),
    scenario("hooks.createRuntime.stdin-status-is-creating", stdin_status).deviates(STATUS),
    scenario("hooks.createRuntime.namespace", namespace),
    scenario("hooks.createRuntime.args", args),
    scenario("hooks.createRuntime.env", env),
    scenario("hooks.createRuntime.order", order),
    scenario("hooks.createRuntime.failure", failure),
    scenario("hooks.createRuntime.timeout", timeout),
    scenario(
        "hooks.createRuntime.timeout.kills-descendants",
        timeout_descendants,
    )
    .deviates(&[
        ("runc", "kills only the hook itself"),
        ("crun", "kills only the hook itself"),
    ]),
    scenario("hooks.createRuntime.before-start", before_start),
    scenario("hooks.startContainer.runs-inside", inside),
    scenario(
        "hooks.startContainer.process-environment",
        inside_environment,
    ),
    scenario("hooks.startContainer.not-at-create", not_at_create),
    scenario("hooks.startContainer.failure-stops-program", start_failure),
    scenario(
        "hooks.startContainer.failure-is-told-by-start",
        start_failure_told,
    )
    .deviates(&[
        ("runc", "start returns before startContainer hooks run"),
        ("crun", "start returns before startContainer hooks run"),
    ]),
];

const STATUS: crate::suite::Known = &[("crun", "tells created")];

/// Adds a hook of a kind: a shell script with the bundle as `$B`.
pub(super) fn hook(scene: &mut Scene<'_>, kind: &str, name: &str, body: &str) -> Check {
    let bundle = scene.dir.display().to_string();
    let path = scene.executable(name, &format!("#!/bin/sh\nB={bundle}\n{body}\n"))?;
    push(
        &mut scene.config,
        &format!("/hooks/{kind}"),
        json!({ "path": path }),
    );
    Ok(())
}

fn runtime_hook(scene: &mut Scene<'_>, body: &str) -> Check {
    hook(scene, "createRuntime", "hook.sh", body)
}

pub(super) fn hook_state(scene: &Scene<'_>) -> Check<Value> {
    let text = fs::read_to_string(scene.path("state.json"))?;
    serde_json::from_str(&text)
        .map_err(|error| Stop::Fail(format!("the hook read no JSON: {error}: {text}")))
}

fn stdin(scene: &mut Scene<'_>) -> Check {
    runtime_hook(scene, "/bin/cat > $B/state.json")?;
    set(
        &mut scene.config,
        "/annotations",
        json!({ "org.example.cargo": "tea" }),
    );
    let pid = scene.create()?;
    let state = hook_state(scene)?;
    ensure!(state["id"] == json!(scene.id), "id: {state}");
    ensure!(state["pid"] == json!(pid), "pid, init is {pid}: {state}");
    ensure!(state["bundle"] == json!(scene.dir), "bundle: {state}");
    ensure!(state["ociVersion"].is_string(), "ociVersion: {state}");
    ensure!(
        state["annotations"]["org.example.cargo"] == "tea",
        "annotations: {state}"
    );
    Ok(())
}

fn stdin_status(scene: &mut Scene<'_>) -> Check {
    runtime_hook(scene, "/bin/cat > $B/state.json")?;
    scene.create()?;
    let state = hook_state(scene)?;
    ensure!(state["status"] == "creating", "status: {state}");
    Ok(())
}

/// The path is resolved, and the hook runs, in the runtime's namespaces.
fn namespace(scene: &mut Scene<'_>) -> Check {
    runtime_hook(
        scene,
        "for n in mnt pid net uts ipc user; do readlink /proc/self/ns/$n; done > $B/ns",
    )?;
    scene.create()?;
    let mut own = String::new();
    for kind in ["mnt", "pid", "net", "uts", "ipc", "user"] {
        own += &format!(
            "{}\n",
            fs::read_link(format!("/proc/self/ns/{kind}"))?.display()
        );
    }
    let seen = fs::read_to_string(scene.path("ns"))?;
    ensure!(seen == own, "hook: {seen} runtime: {own}");
    Ok(())
}

fn args(scene: &mut Scene<'_>) -> Check {
    let out = scene.path("args").display().to_string();
    let script = format!("printf '%s|' \"$0\" \"$@\" > {out}");
    let entry =
        json!({ "path": "/bin/sh", "args": ["shell", "-c", script, "zero", "one two", ""] });
    push(&mut scene.config, "/hooks/createRuntime", entry);
    scene.create()?;
    let seen = fs::read_to_string(&out)?;
    ensure!(seen == "zero|one two||", "{seen}");
    Ok(())
}

/// The environment is what the config says, and nothing of the caller's.
fn env(scene: &mut Scene<'_>) -> Check {
    let out = scene.path("env").display().to_string();
    let script = format!("/bin/cat /proc/$$/environ > {out}");
    let entry =
        json!({ "path": "/bin/sh", "args": ["sh", "-c", script], "env": ["A=1", "B=two words"] });
    push(&mut scene.config, "/hooks/createRuntime", entry);
    scene.create()?;
    let seen = fs::read_to_string(&out)?;
    let mut seen: Vec<&str> = seen.split_terminator('\0').collect();
    seen.sort_unstable();
    ensure!(seen == ["A=1", "B=two words"], "{seen:?}");
    Ok(())
}

fn order(scene: &mut Scene<'_>) -> Check {
    hook(scene, "createRuntime", "first.sh", "echo first >> $B/order")?;
    hook(
        scene,
        "createRuntime",
        "second.sh",
        "echo second >> $B/order",
    )?;
    scene.create()?;
    let seen = fs::read_to_string(scene.path("order"))?;
    ensure!(seen == "first\nsecond\n", "{seen}");
    Ok(())
}

fn failure(scene: &mut Scene<'_>) -> Check {
    hook(scene, "createRuntime", "first.sh", "exit 3")?;
    hook(
        scene,
        "createRuntime",
        "second.sh",
        "echo second > $B/second",
    )?;
    let ran = scene.try_create()?;
    ensure!(!ran.ok(), "create succeeded: {}", ran.story());
    ensure!(!scene.path("second").exists(), "the next hook ran");
    scene.leaves_nothing()
}

fn timeout_hook(scene: &mut Scene<'_>, body: &str) -> Check<Duration> {
    runtime_hook(scene, body)?;
    set(
        &mut scene.config,
        "/hooks/createRuntime/0/timeout",
        json!(1),
    );
    let ran = scene.try_create()?;
    ensure!(!ran.ok() && ran.status.is_some(), "{}", ran.story());
    Ok(ran.took)
}

fn timeout(scene: &mut Scene<'_>) -> Check {
    let took = timeout_hook(scene, "exec sleep 30")?;
    ensure!(took < Duration::from_secs(10), "took {took:?}");
    scene.leaves_nothing()
}

fn timeout_descendants(scene: &mut Scene<'_>) -> Check {
    let result = timeout_hook(scene, "sleep 30 & echo $! > $B/child\nexec sleep 30");
    let Ok(child) = fs::read_to_string(scene.path("child")) else {
        return result.map(drop);
    };
    let result = result.and_then(|_| until(|| gone(&child), "the hook's child to be killed"));
    kill_child(scene);
    result
}

/// A killed child of a killed hook is ours to reap, so a zombie counts as gone.
fn gone(pid: &str) -> bool {
    fs::read_to_string(format!("/proc/{}/stat", pid.trim()))
        .map_or(true, |stat| stat.contains(") Z"))
}

fn kill_child(scene: &Scene<'_>) {
    let pid = fs::read_to_string(scene.path("child"))
        .ok()
        .and_then(|text| text.trim().parse().ok());
    if let Some(pid) = pid {
        let _ = nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(pid),
            nix::sys::signal::Signal::SIGKILL,
        ); // may be gone
    }
}

/// The program does not run before `start`, and the hook ran at `create`.
fn before_start(scene: &mut Scene<'_>) -> Check {
    runtime_hook(scene, "echo hook >> $B/rootfs/order")?;
    scene.script("echo program >> /order");
    scene.create()?;
    ensure!(
        fs::read_to_string(scene.path("rootfs/order"))? == "hook\n",
        "at create"
    );
    scene.must("start")?;
    scene.wait_status("stopped")?;
    ensure!(
        fs::read_to_string(scene.path("rootfs/order"))? == "hook\nprogram\n",
        "at start"
    );
    Ok(())
}

/// A startContainer hook, given as a path inside the container.
fn inner_hook(scene: &mut Scene<'_>, body: &str) -> Check {
    scene.executable("rootfs/opt/hook", &format!("#!/bin/sh\n{body}\n"))?;
    push(
        &mut scene.config,
        "/hooks/startContainer",
        json!({ "path": "/opt/hook", "env": ["PATH=/bin", "H=1"] }),
    );
    Ok(())
}

fn inside(scene: &mut Scene<'_>) -> Check {
    inner_hook(
        scene,
        "cat > /hook-state; readlink /proc/self/ns/mnt > /hook-ns; echo hook >> /order; echo $H > /hook-env",
    )?;
    scene.script("readlink /proc/self/ns/mnt; echo program >> /order");
    let ran = scene.run()?.must()?;
    let read = |name: &str| fs::read_to_string(scene.path(&format!("rootfs/{name}")));
    ensure!(
        read("order")? == "hook\nprogram\n",
        "order: {}",
        read("order")?
    );
    ensure!(
        read("hook-ns")? == ran.stdout,
        "not in the container's mount namespace"
    );
    ensure!(
        read("hook-env")?.trim() == "1",
        "its env is not what the config says"
    );
    let state: Value = serde_json::from_str(&read("hook-state")?)?;
    ensure!(state["id"] == json!(scene.id), "state: {state}");
    Ok(())
}

/// De facto: without an environment of its own it has the process's, with the HOME that this one gets.
fn inside_environment(scene: &mut Scene<'_>) -> Check {
    let body = "#!/bin/sh\necho $A:$HOME > /out/environment\n";
    scene.executable("rootfs/opt/hook", body)?;
    scene.open_dir("rootfs/out")?;
    let hook = json!({ "path": "/opt/hook" });
    push(&mut scene.config, "/hooks/startContainer", hook);
    let env = json!(["PATH=/bin", "A=1", "A=2", "HOME="]);
    set(&mut scene.config, "/process/env", env);
    set(&mut scene.config, "/process/user/uid", json!(1000));
    scene.script("echo $A:$HOME");
    let ran = scene.run()?.must()?;
    let seen = fs::read_to_string(scene.path("rootfs/out/environment"))?;
    ensure!(
        seen == "2:/home/user\n" && ran.stdout == seen,
        "hook: {seen}, program: {}",
        ran.stdout
    );
    Ok(())
}

fn not_at_create(scene: &mut Scene<'_>) -> Check {
    inner_hook(scene, "echo hook > /ran")?;
    scene.script("exec sleep 100");
    scene.create()?;
    ensure!(!scene.path("rootfs/ran").exists(), "it ran at create");
    scene.must("start")?;
    let ran = scene.path("rootfs/ran");
    until(|| Path::new(&ran).exists(), "the hook")
}

fn start_failure(scene: &mut Scene<'_>) -> Check {
    inner_hook(scene, "exit 5")?;
    scene.script("echo program > /ran");
    let ran = scene.run()?;
    ensure!(!ran.ok(), "{}", ran.story());
    ensure!(!scene.path("rootfs/ran").exists(), "the program ran");
    Ok(())
}

fn start_failure_told(scene: &mut Scene<'_>) -> Check {
    inner_hook(scene, "exit 5")?;
    scene.create()?;
    let ran = scene.verb("start")?;
    ensure!(!ran.ok(), "start said nothing: {}", ran.story());
    Ok(())
}
