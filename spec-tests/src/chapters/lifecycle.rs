//! runtime.md: operations, their transitions and their words; foreground runs.

use std::fs;
use std::io::Read;
use std::os::fd::AsFd;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use super::exec::exec;
use crate::config::{set, strip};
use crate::property::{Scenario, scenario};
use crate::runtime::{Call, LIMIT, Ran};
use crate::scene::{Scene, reap, until};
use crate::suite::{Check, Known, Stop, ensure};
use crate::sys;

const CRUN_WORDS: Known = &[("crun", "has its own words")];

const NEEDS_PROCESS: Known = &[
    (
        "runc",
        "create refuses it (the specification says that start does)",
    ),
    (
        "crun",
        "start does not tell that there is nothing to execute",
    ),
];

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario("lifecycle.round", round),
    scenario("lifecycle.create.program-does-not-run", not_yet),
    scenario("lifecycle.create.config-is-read-once", read_once),
    scenario("lifecycle.create.without-process", create_without_process).deviates(NEEDS_PROCESS),
    scenario("lifecycle.create.same-id", same_id),
    scenario("lifecycle.create.invalid-ids", invalid_ids),
    scenario("lifecycle.start.twice", start_twice).deviates(CRUN_WORDS),
    scenario("lifecycle.start.stopped", start_stopped).deviates(CRUN_WORDS),
    scenario("lifecycle.start.dying", start_dying)
        .deviates(&[("crun", "waits for an init that is not there any more")]),
    scenario("lifecycle.start.without-process", without_process),
    scenario("lifecycle.unknown-id", unknown_id),
    scenario("lifecycle.kill.stopped", kill_stopped).deviates(CRUN_WORDS),
    scenario("lifecycle.kill.signals", kill_signals),
    scenario("lifecycle.kill.unknown-signal", kill_unknown),
    scenario("lifecycle.kill.created", kill_created),
    scenario("lifecycle.delete.running", delete_running).deviates(CRUN_WORDS),
    scenario("lifecycle.delete.created", delete_created),
    scenario("lifecycle.delete.force.running", delete_force),
    scenario("lifecycle.delete.force.unknown-id", delete_unknown),
    scenario("lifecycle.state.shape", state_shape),
    scenario("lifecycle.pid-file", pid_file),
    scenario("lifecycle.bundle-option", bundle_option),
    scenario("lifecycle.run.exit-status", exit_status),
    scenario("lifecycle.run.signal-status", signal_status),
    scenario("lifecycle.run.without-process", run_without_process).deviates(CRUN_WORDS),
    scenario("lifecycle.run.deletes", run_deletes),
    scenario("lifecycle.run.forwards-signals", forwards),
    scenario("lifecycle.run.detach", detach),
    scenario("lifecycle.run.keep", keep).deviates(&[("crun", "knows --keep only since 1.9")]),
    scenario("lifecycle.create.stdio-is-inherited", pipes),
];

/// config.md#process: optional for create, required for start.
fn create_without_process(scene: &mut Scene<'_>) -> Check {
    strip(&mut scene.config, "/process");
    scene.create()?;
    scene.must_be("created")?;
    refused(&scene.verb("start")?, "process")?;
    scene.must_be("created")?;
    scene.must("delete")?;
    scene.leaves_nothing()
}

fn run_without_process(scene: &mut Scene<'_>) -> Check {
    strip(&mut scene.config, "/process");
    refused(&scene.run()?, "process")?;
    scene.leaves_nothing()
}

fn refused(ran: &Ran, words: &str) -> Check {
    ensure!(
        !ran.ok() && ran.status.is_some(),
        "not refused: {}",
        ran.story()
    );
    ensure!(
        ran.output().contains(words),
        "wanted {words:?}: {}",
        ran.story()
    );
    Ok(())
}

fn sleeper(scene: &mut Scene<'_>) {
    set(
        &mut scene.config,
        "/process/args",
        json!(["/bin/sleep", "100"]),
    );
}

fn round(scene: &mut Scene<'_>) -> Check {
    sleeper(scene);
    scene.create()?;
    scene.must_be("created")?;
    scene.must("start")?;
    scene.must_be("running")?;
    scene.call(&["kill", &scene.id, "KILL"]).run()?.must()?;
    scene.wait_status("stopped")?;
    scene.must("delete")?;
    refused(&scene.verb("state")?, "does not exist")?;
    scene.leaves_nothing()
}

fn not_yet(scene: &mut Scene<'_>) -> Check {
    scene.script("echo ran > /ran");
    scene.create()?;
    ensure!(
        !scene.path("rootfs/ran").exists(),
        "the program ran at create"
    );
    scene.must("start")?;
    scene.wait_status("stopped")?;
    ensure!(
        scene.path("rootfs/ran").exists(),
        "the program did not run at start"
    );
    Ok(())
}

/// Edits of config.json after create have no effect.
fn read_once(scene: &mut Scene<'_>) -> Check {
    scene.script("echo first > /ran");
    scene.create()?;
    scene.script("echo second > /ran");
    scene.write_config()?;
    scene.must("start")?;
    scene.wait_status("stopped")?;
    ensure!(
        fs::read_to_string(scene.path("rootfs/ran"))? == "first\n",
        "the edit had an effect"
    );
    Ok(())
}

fn same_id(scene: &mut Scene<'_>) -> Check {
    sleeper(scene);
    scene.create()?;
    refused(&scene.call(&["create", &scene.id]).run()?, "exist")?;
    ensure!(
        scene.status()? == "created",
        "the first container suffered: {}",
        scene.status()?
    );
    Ok(())
}

fn invalid_ids(scene: &mut Scene<'_>) -> Check {
    scene.write_config()?;
    for id in [
        "",
        ".",
        "..",
        "a/b",
        "../up",
        "a b",
        "new\nline",
        "ü",
        "a\u{7}",
    ] {
        let ran = scene.call(&["create", id]).run()?;
        ensure!(!ran.ok(), "the id {id:?} was accepted");
    }
    let state = fs::read_dir(scene.path("state"))
        .map(Iterator::count)
        .unwrap_or(0);
    ensure!(state == 0, "something was left in the state root");
    Ok(())
}

fn start_twice(scene: &mut Scene<'_>) -> Check {
    sleeper(scene);
    scene.start()?;
    refused(
        &scene.verb("start")?,
        "cannot start an already running container",
    )?;
    scene.must_be("running")
}

fn start_stopped(scene: &mut Scene<'_>) -> Check {
    scene.start()?;
    scene.wait_status("stopped")?;
    refused(
        &scene.verb("start")?,
        "cannot start a container that has stopped",
    )
}

/// Killed before start, and not gone yet: the kernel keeps init until all others in its pid namespace are reaped, and
/// the parent of this one is stopped.
fn start_dying(scene: &mut Scene<'_>) -> Check {
    let pid = scene.create()?;
    let file = scene.path("added").display().to_string();
    let parent = exec(scene, &["--pid-file", &file], &["sleep", "298"]).spawn()?;
    until(|| scene.path("added").exists(), "an added process")?;
    let added: i32 = fs::read_to_string(&file)?.parse()?;
    // Stopped with the container's lock in its hands it would keep start waiting.
    let holder = format!(" {} ", parent.pid());
    let locks = || fs::read_to_string("/proc/locks").unwrap_or_default();
    until(|| !locks().contains(&holder), "the end of the lock")?;
    parent.signal(libc::SIGSTOP);
    kill(Pid::from_raw(pid), Signal::SIGKILL)?;
    let stat = || fs::read_to_string(format!("/proc/{added}/stat")).unwrap_or_default();
    until(|| stat().contains(") Z "), "the added process's end")?;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let ran = scene.verb("start")?;
    ensure!(!ran.ok() && ran.status.is_some(), "{}", ran.story());
    if scene.runtime().name == "longshore" {
        ensure!(!stat.contains(") Z "), "init is gone at once: {stat}");
        ensure!(ran.stderr.contains("stopped"), "{}", ran.story());
        scene.must_be("stopped")?;
    }
    drop(parent);
    reap(added);
    scene.wait_status("stopped")?;
    scene.must("delete")?;
    scene.leaves_nothing()
}

/// Whatever create says of it, it may not be started.
fn without_process(scene: &mut Scene<'_>) -> Check {
    strip(&mut scene.config, "/process");
    if scene.try_create()?.ok() {
        let ran = scene.verb("start")?;
        ensure!(!ran.ok(), "started: {}", ran.story());
    }
    Ok(())
}

fn unknown_id(scene: &mut Scene<'_>) -> Check {
    fs::create_dir_all(scene.path("state"))?;
    for verb in ["state", "start", "kill", "delete"] {
        let ran = scene.verb(verb)?;
        ensure!(ran.code() == 1, "exit status of {}", ran.story());
        refused(&ran, "does not exist")?;
    }
    Ok(())
}

fn kill_stopped(scene: &mut Scene<'_>) -> Check {
    scene.start()?;
    scene.wait_status("stopped")?;
    let ran = scene.call(&["kill", &scene.id, "9"]).run()?;
    ensure!(ran.code() == 1, "exit status of {}", ran.story());
    refused(&ran, "container not running")
}

/// Names with and without SIG, in any case, and numbers.
fn kill_signals(scene: &mut Scene<'_>) -> Check {
    scene.script("trap 'echo u1 >> /got' USR1; trap 'echo u2 >> /got' USR2; trap 'echo term >> /got' TERM; touch /ready; while :; do sleep 0.02; done");
    scene.start()?;
    until(|| scene.path("rootfs/ready").exists(), "the program")?;
    let count = || {
        fs::read_to_string(scene.path("rootfs/got"))
            .unwrap_or_default()
            .lines()
            .count()
    };
    let forms: [&[&str]; 6] = [
        &["USR1"],
        &["SIGUSR2"],
        &["sigusr1"],
        &["12"],
        &["TERM"],
        &[],
    ];
    for (sent, form) in forms.iter().enumerate() {
        let id = scene.id.clone();
        let mut args = vec!["kill", id.as_str()];
        args.extend(*form);
        scene.call(&args).run()?.must()?;
        until(|| count() > sent, &format!("signal {form:?}"))?;
    }
    let got = fs::read_to_string(scene.path("rootfs/got"))?;
    ensure!(got == "u1\nu2\nu1\nu2\nterm\nterm\n", "{got}");
    Ok(())
}

fn kill_unknown(scene: &mut Scene<'_>) -> Check {
    sleeper(scene);
    scene.start()?;
    for signal in ["NOPE", "999", "-1"] {
        let ran = scene.call(&["kill", &scene.id, signal]).run()?;
        ensure!(!ran.ok(), "{signal:?} was accepted");
    }
    scene.must_be("running")
}

fn kill_created(scene: &mut Scene<'_>) -> Check {
    sleeper(scene);
    scene.create()?;
    scene.call(&["kill", &scene.id, "KILL"]).run()?.must()?;
    scene.wait_status("stopped")
}

fn delete_running(scene: &mut Scene<'_>) -> Check {
    sleeper(scene);
    scene.start()?;
    let words = format!(
        "cannot delete container {} that is not stopped: running",
        scene.id
    );
    refused(&scene.verb("delete")?, &words)?;
    scene.must_be("running")
}

fn delete_created(scene: &mut Scene<'_>) -> Check {
    sleeper(scene);
    scene.create()?;
    scene.must("delete")?;
    scene.leaves_nothing()
}

/// Everything in the container goes, not only init.
fn delete_force(scene: &mut Scene<'_>) -> Check {
    scene.script("sleep 100 & sleep 101 & wait");
    scene.start()?;
    scene
        .call(&["delete", "--force", &scene.id])
        .run()?
        .must()?;
    scene.leaves_nothing()
}

fn delete_unknown(scene: &mut Scene<'_>) -> Check {
    let ran = scene.call(&["delete", "--force", &scene.id]).run()?;
    ensure!(ran.ok() && ran.output().is_empty(), "{}", ran.story());
    Ok(())
}

fn state_shape(scene: &mut Scene<'_>) -> Check {
    set(
        &mut scene.config,
        "/annotations",
        json!({ "org.example.cargo": "tea" }),
    );
    sleeper(scene);
    let pid = scene.create()?;
    let state = scene.state()?;
    ensure!(state["ociVersion"].is_string(), "ociVersion: {state}");
    ensure!(state["id"] == json!(scene.id), "id: {state}");
    ensure!(state["status"] == "created", "status: {state}");
    ensure!(state["pid"] == json!(pid), "pid: {state}");
    ensure!(state["bundle"] == json!(scene.dir), "bundle: {state}");
    ensure!(
        state["rootfs"] == json!(scene.path("rootfs")),
        "rootfs: {state}"
    );
    ensure!(
        state["annotations"] == json!({ "org.example.cargo": "tea" }),
        "annotations: {state}"
    );
    ensure!(
        state["created"]
            .as_str()
            .is_some_and(super::programs::is_rfc3339),
        "created: {state}"
    );
    ensure!(state["owner"].is_string(), "owner: {state}");
    scene.call(&["kill", &scene.id, "KILL"]).run()?.must()?;
    scene.wait_status("stopped")?;
    let pid = scene.state()?["pid"].clone();
    ensure!(
        pid == json!(0) || pid.is_null(),
        "pid of a stopped container: {pid}"
    );
    Ok(())
}

/// The number in the runtime's pid namespace, and nothing else.
fn pid_file(scene: &mut Scene<'_>) -> Check {
    sleeper(scene);
    let pid = scene.create()?;
    let text = fs::read_to_string(scene.path("pid"))?;
    ensure!(text == pid.to_string(), "{text:?}");
    scene.must("start")?;
    // runc returns from start a moment before the program is executed.
    let command = || fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    until(
        || command().starts_with("/bin/sleep"),
        "the pid to be the program's",
    )
}

fn bundle_option(scene: &mut Scene<'_>) -> Check {
    scene.script("echo here");
    scene.write_config()?;
    let bundle = scene.dir.display().to_string();
    scene.open_dir("elsewhere")?;
    for form in [vec!["--bundle", &bundle], vec!["-b", &bundle]] {
        let mut call = scene.call(&[]);
        call.args.push("run".to_owned());
        call.args.extend(form.iter().map(|&arg| arg.to_owned()));
        call.args.push(scene.id.clone());
        call.dir = scene.path("elsewhere");
        let ran = call.run()?;
        ensure!(ran.ok() && ran.stdout == "here\n", "{}", ran.story());
    }
    Ok(())
}

fn exit_status(scene: &mut Scene<'_>) -> Check {
    for status in [0, 1, 42, 255] {
        scene.script(&format!("exit {status}"));
        let ran = scene.run()?;
        ensure!(ran.code() == status, "wanted {status}: {}", ran.story());
    }
    Ok(())
}

fn signal_status(scene: &mut Scene<'_>) -> Check {
    // As pid 1 it could not kill itself, so this container shares the host's pid namespace.
    crate::config::no_namespace(&mut scene.config, "pid");
    for (signal, status) in [("KILL", 137), ("TERM", 143), ("USR1", 138)] {
        scene.script(&format!("kill -{signal} $$; sleep 5"));
        let ran = scene.run()?;
        ensure!(ran.code() == status, "wanted {status}: {}", ran.story());
    }
    Ok(())
}

fn run_deletes(scene: &mut Scene<'_>) -> Check {
    scene.run()?.must()?;
    scene.leaves_nothing()
}

/// A program that tells which signals it gets, and ends at SIGTERM.
pub(super) const TRAPS: &str = "trap 'echo term; exit 7' TERM; trap 'echo usr1' USR1; echo ready; while :; do sleep 0.02; done";

/// What the foreground command of that program gets comes through to it.
pub(super) fn passes_signals_on(call: Call) -> Check {
    let running = call.spawn()?;
    until(|| running.stdout_so_far().contains("ready"), "the program")?;
    running.signal(libc::SIGUSR1);
    until(|| running.stdout_so_far().contains("usr1"), "SIGUSR1")?;
    running.signal(libc::SIGTERM);
    let ran = running.wait(LIMIT)?;
    ensure!(
        ran.code() == 7 && ran.stdout == "ready\nusr1\nterm\n",
        "{}",
        ran.story()
    );
    Ok(())
}

fn forwards(scene: &mut Scene<'_>) -> Check {
    scene.script(TRAPS);
    scene.write_config()?;
    passes_signals_on(scene.call(&["run", &scene.id]))
}

fn detach(scene: &mut Scene<'_>) -> Check {
    sleeper(scene);
    scene.write_config()?;
    let pid_file = scene.path("pid").display().to_string();
    scene
        .finish_create(scene.call(&["run", "--detach", "--pid-file", &pid_file, &scene.id]))?
        .must()?;
    scene.must_be("running")?;
    let text = fs::read_to_string(pid_file)?;
    ensure!(
        scene.state()?["pid"].as_i64() == text.parse().ok(),
        "the pid file says {text:?}"
    );
    Ok(())
}

fn keep(scene: &mut Scene<'_>) -> Check {
    scene.write_config()?;
    let ran = scene.call(&["run", "--keep", &scene.id]).run()?;
    if ran.output().contains("not defined") {
        return Err(Stop::Skip("this version has no run --keep".to_owned()));
    }
    ensure!(ran.ok(), "{}", ran.story());
    scene.must_be("stopped")
}

/// The runtime's own stdout becomes the container's: what the program writes
/// after start arrives in the pipe that was given to create.
fn pipes(scene: &mut Scene<'_>) -> Check {
    scene.script("echo through the pipe");
    scene.write_config()?;
    let (mut reader, writer) = std::io::pipe()?;
    let mut call = scene.create_call(&[]);
    call.stdout = Some(writer.into());
    scene.finish_create(call)?.must()?;
    scene.must("start")?;
    ensure!(
        sys::readable(reader.as_fd(), Duration::from_secs(5)),
        "nothing came"
    );
    let mut buffer = [0; 64];
    let length = reader.read(&mut buffer)?;
    ensure!(
        buffer.get(..length) == Some(b"through the pipe\n"),
        "{buffer:?}"
    );
    Ok(())
}
