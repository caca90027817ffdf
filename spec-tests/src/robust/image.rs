//! No process inside ever runs a file of the host's (CVE-2019-5736).

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, fcntl};
use serde_json::{Value, json};

use super::{longshore_only, may_ptrace};
use crate::config::{self, push};
use crate::onlooker::{self, Sight};
use crate::property::{Scenario, scenario};
use crate::runtime::{Call, LIMIT};
use crate::scene::{Scene, reap, until, while_reaping};
use crate::suite::{Check, ensure};

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario("image.created", created),
    scenario("image.during-hook", during_hook),
    scenario("image.stage1", stage1),
    scenario("image.proc-exe.host-pid-namespace", |scene| {
        looked_at(scene, json!(null))
    }),
    scenario("image.proc-exe.host-pid-namespace.path", |scene| {
        looked_at(scene, json!({ "type": "pid", "path": "/proc/self/ns/pid" }))
    }),
    scenario("image.proc-exe.host-pid-namespace.ordinary", ordinary),
];

const ALL_SEALS: i32 =
    libc::F_SEAL_SEAL | libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_WRITE;

fn sealed(pid: i32) -> Check {
    let exe = format!("/proc/{pid}/exe");
    let target = fs::read_link(&exe)?.display().to_string();
    ensure!(target.starts_with("/memfd:"), "init runs {target}");
    let seals = fcntl(&File::open(&exe)?, FcntlArg::F_GET_SEALS)?;
    ensure!(seals & ALL_SEALS == ALL_SEALS, "seals {seals:#x}");
    // Some kernels let the file be opened; none may let it be written.
    let written = OpenOptions::new()
        .write(true)
        .open(&exe)
        .and_then(|mut file| file.write_all(b"x"));
    ensure!(written.is_err(), "init's file was written to");
    Ok(())
}

fn created(scene: &mut Scene<'_>) -> Check {
    longshore_only(scene)?;
    sealed(scene.create()?)
}

fn during_hook(scene: &mut Scene<'_>) -> Check {
    longshore_only(scene)?;
    let (state, go) = (scene.path("hook-state"), scene.path("go"));
    let text = format!(
        "#!/bin/sh\ncat > {0}.new; mv {0}.new {0}\nwhile ! [ -e {1} ]; do sleep 0.01; done\n",
        state.display(),
        go.display()
    );
    let hook = scene.executable("hook", &text)?;
    push(
        &mut scene.config,
        "/hooks/createRuntime",
        json!({ "path": hook, "timeout": 10 }),
    );
    scene.write_config()?;
    let creating = scene.create_call(&[]).spawn()?;
    until(|| state.exists(), "the hook")?;
    let told: Value = serde_json::from_str(&fs::read_to_string(&state)?)?;
    let seen = sealed(i32::try_from(told["pid"].as_i64().unwrap_or(0))?);
    fs::write(go, "")?;
    let ran = creating.wait(LIMIT)?;
    seen?;
    ensure!(ran.ok(), "{}", ran.story());
    Ok(())
}

/// Looks at every child of the command while it creates: what is in a namespace of the
/// container's runs the sealed image. Before its first exec stage 1 is the command, in the caller's.
fn stage1(scene: &mut Scene<'_>) -> Check {
    longshore_only(scene)?;
    scene.write_config()?;
    let mut seen = 0;
    for _ in 0..if scene.suite.soak { 100 } else { 10 } {
        let creating = scene.create_call(&[]).spawn()?;
        let path = format!("/proc/{0}/task/{0}/children", creating.pid());
        let end = Instant::now() + Duration::from_secs(10);
        while let Ok(children) = fs::read_to_string(&path) {
            for pid in children.split_whitespace() {
                seen += usize::from(look(pid)?);
            }
            if children.is_empty()
                && fs::read_link(format!("/proc/{}/exe", creating.pid())).is_err()
            {
                break; // a zombie
            }
            ensure!(Instant::now() < end, "create hangs");
        }
        creating.wait(LIMIT)?.must()?;
        super::force_delete(scene)?;
        fs::remove_file(scene.path("pid"))?;
    }
    ensure!(seen > 0, "stage 1 was never seen");
    Ok(())
}

/// True if it ran the sealed image.
fn look(pid: &str) -> Check<bool> {
    let link = |path: String| {
        fs::read_link(path)
            .map(|target| target.display().to_string())
            .ok()
    };
    let Some(exe) = link(format!("/proc/{pid}/exe")) else {
        return Ok(false);
    };
    if exe.starts_with("/memfd:") {
        return Ok(true);
    }
    // The program itself comes after `start` only.
    for kind in ["mnt", "net", "user", "uts", "ipc", "pid"] {
        let theirs = link(format!("/proc/{pid}/ns/{kind}"));
        let again = link(format!("/proc/{pid}/exe"));
        let ours = link(format!("/proc/self/ns/{kind}"));
        ensure!(
            again.as_deref() != Some(&*exe) || theirs.is_none() || theirs == ours,
            "a process in another {kind} namespace runs {exe}"
        );
    }
    Ok(false)
}

/// A container in the host's pid namespace whose program looks at every process.
fn start_onlooker<'s>(scene: &Scene<'s>, pid: &Value, ptrace: bool) -> Check<Scene<'s>> {
    let mut onlooker = Scene::new(scene.suite)?;
    config::no_namespace(&mut onlooker.config, "pid");
    if !pid.is_null() {
        push(&mut onlooker.config, "/linux/namespaces", pid.clone());
    }
    if ptrace {
        may_ptrace(&mut onlooker.config);
    }
    fs::copy("/proc/self/exe", onlooker.path("rootfs/bin/onlooker"))?;
    onlooker.script(&format!("exec onlooker {} > /seen", onlooker::ARGUMENT));
    onlooker.start()?;
    until(|| !sights(&onlooker).is_empty(), "the onlooker")?;
    Ok(onlooker)
}

fn sights(onlooker: &Scene<'_>) -> Vec<Sight> {
    onlooker::sights(&fs::read_to_string(onlooker.path("rootfs/seen")).unwrap_or_default())
}

/// The runtime and its hooks under names that nobody else on the host runs, and what they are.
fn names_of_our_own(scene: &mut Scene<'_>) -> Check<(String, String)> {
    let (runtime, hook) = (scene.path("runtime"), scene.path("hook"));
    fs::copy(&scene.program, &runtime)?;
    fs::copy(scene.path("rootfs/bin/busybox"), &hook)?;
    scene.program = runtime.clone();
    for kind in ["createRuntime", "createContainer", "poststart", "poststop"] {
        push(
            &mut scene.config,
            &format!("/hooks/{kind}"),
            json!({ "path": hook, "args": ["sleep", "0.05"] }), // long enough to be seen
        );
    }
    push(
        &mut scene.config,
        "/hooks/startContainer",
        json!({ "path": "/bin/true" }),
    );
    config::set(
        &mut scene.config,
        "/process/args",
        json!(["/bin/sleep", "300"]),
    );
    scene.write_config()?;
    Ok((runtime.display().to_string(), hook.display().to_string()))
}

/// A container's whole life, a few times; the pids of the commands and of the inits.
fn lives(scene: &Scene<'_>) -> Check<(Vec<i32>, Vec<i32>)> {
    let (mut commands, mut inits) = (Vec::new(), Vec::new());
    let mut call = |call: Call| -> Check {
        let running = call.spawn()?;
        commands.push(running.pid());
        while_reaping(|| running.wait(LIMIT))?.must().map(drop)
    };
    for _ in 0..if scene.suite.soak { 50 } else { 5 } {
        call(scene.create_call(&[]))?;
        inits.push(fs::read_to_string(scene.path("pid"))?.trim().parse()?);
        call(scene.call(&["start", &scene.id]))?;
        for _ in 0..20 {
            call(scene.call(&["exec", &scene.id, "true"]))?;
        }
        call(scene.call(&["delete", "--force", &scene.id]))?;
        fs::remove_file(scene.path("pid"))?;
    }
    inits.iter().copied().for_each(reap);
    Ok((commands, inits))
}

/// Somebody who sees all processes of the host, with all rights over them: what is in a namespace of the
/// container's runs the sealed image or a program of its own. Before that it is the command, as `stage1` says.
fn looked_at(scene: &mut Scene<'_>, pid: Value) -> Check {
    longshore_only(scene)?;
    let (runtime, hook) = names_of_our_own(scene)?;
    let onlooker = start_onlooker(scene, &pid, true)?;
    let (commands, inits) = lives(scene)?;
    let callers = onlooker::namespaces("self");
    let mut family = [commands.as_slice(), &inits].concat();
    let (mut images, mut programs, mut hooks, mut runtimes) = (0, 0, 0, 0);
    for sight in sights(&onlooker) {
        let exe = sight.exe.as_str();
        if commands.contains(&sight.pid) {
            runtimes += usize::from(exe == runtime);
            continue;
        }
        if !family.contains(&sight.parent) && !family.contains(&sight.pid) {
            continue;
        }
        family.push(sight.pid);
        match exe {
            "/bin/busybox" => programs += 1,
            _ if exe == hook => hooks += 1,
            _ if exe.starts_with("/memfd:") => images += 1,
            _ => ensure!(
                exe == runtime && sight.namespaces == callers,
                "a process of the container's runs a file of the host's: {sight:?}"
            ),
        }
    }
    ensure!(
        [images, programs, hooks, runtimes]
            .iter()
            .all(|count| *count > 0),
        "it saw {images} images, {programs} programs, {hooks} hooks and {runtimes} runtimes"
    );
    Ok(())
}

/// With the rights that containers have, it is not even told what the commands run.
fn ordinary(scene: &mut Scene<'_>) -> Check {
    longshore_only(scene)?;
    let (runtime, hook) = names_of_our_own(scene)?;
    let onlooker = start_onlooker(scene, &json!(null), false)?;
    let (_, inits) = lives(scene)?;
    let sights = sights(&onlooker);
    let told = |sight: &&Sight| [&runtime, &hook].contains(&&sight.exe);
    let told: Vec<_> = sights.iter().filter(told).collect();
    ensure!(told.is_empty(), "it was told {told:?}");
    ensure!(
        sights.iter().any(|sight| inits.contains(&sight.pid)),
        "it saw no program of the container's"
    );
    Ok(())
}
