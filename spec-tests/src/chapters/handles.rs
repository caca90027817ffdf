//! De facto: pidfds for engines, and waiting for a container that somebody else has made.

use std::fs;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixListener;

use super::console::receive_named;
use super::exec::{exec, sleeper};
use crate::property::{Scenario, scenario};
use crate::runtime::Call;
use crate::scene::{Scene, while_reaping};
use crate::suite::{Check, Known, Stop, ensure};
use crate::sys;

const NO_SOCKET: Known = &[
    ("runc", "1.1 does not know it"),
    ("crun", "1.8 does not know it"),
];

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario("pidfd-socket.create", created).deviates(NO_SOCKET),
    scenario("pidfd-socket.exec", added).deviates(NO_SOCKET),
    scenario("pidfd-socket.nobody-listens", nobody).deviates(NO_SOCKET),
    scenario("wait.status", wait_status),
    scenario("wait.signal", wait_signal),
    scenario("wait.created", wait_created),
    scenario("wait.gone", wait_gone),
];

/// Whose pidfd comes, and with which word.
fn taken(listener: &UnixListener, call: Call, scene: &Scene<'_>) -> Check<(i32, String)> {
    scene.finish_create(call)?.must()?;
    ensure!(
        sys::readable(listener.as_fd(), std::time::Duration::from_secs(5)),
        "nobody connected to the pidfd socket"
    );
    let (pidfd, word) = receive_named(&listener.accept()?.0)?;
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd()))?;
    let pid = info.lines().find_map(|line| line.strip_prefix("Pid:"));
    let pid = pid.and_then(|pid| pid.trim().parse().ok());
    Ok((
        pid.ok_or_else(|| Stop::Fail(format!("no pidfd: {info}")))?,
        word,
    ))
}

fn created(scene: &mut Scene<'_>) -> Check {
    scene.write_config()?;
    let path = scene.path("socket");
    let listener = UnixListener::bind(&path)?;
    let call = scene.create_call(&["--pidfd-socket", &path.display().to_string()]);
    let (pid, word) = taken(&listener, call, scene)?;
    let init: i32 = fs::read_to_string(scene.path("pid"))?.parse()?;
    ensure!(
        pid == init && word == "standard",
        "{word} of {pid}, not {init}"
    );
    Ok(())
}

fn added(scene: &mut Scene<'_>) -> Check {
    sleeper(scene)?;
    let path = scene.path("socket");
    let listener = UnixListener::bind(&path)?;
    let file = scene.path("pid").display().to_string();
    let socket = path.display().to_string();
    let flags = ["--detach", "--pid-file", &file, "--pidfd-socket", &socket];
    let call = exec(scene, &flags, &["sleep", "100"]);
    let (pid, word) = taken(&listener, call, scene)?;
    let process: i32 = fs::read_to_string(&file)?.parse()?;
    ensure!(
        pid == process && word == "setns",
        "{word} of {pid}, not {process}"
    );
    Ok(())
}

/// Who asked to be told must be.
fn nobody(scene: &mut Scene<'_>) -> Check {
    scene.write_config()?;
    let path = scene.path("socket").display().to_string();
    let ran = scene.finish_create(scene.create_call(&["--pidfd-socket", &path]))?;
    ensure!(!ran.ok() && ran.stderr.contains(&path), "{}", ran.story());
    scene.leaves_nothing()
}

/// The status that `wait` exits with, after what ends the container.
fn waited(scene: &Scene<'_>, end: impl FnOnce() -> Check) -> Check<i32> {
    let waiting = scene.call(&["wait", &scene.id]).spawn()?;
    end()?;
    Ok(while_reaping(|| waiting.wait(crate::runtime::LIMIT))?.code())
}

fn wait_status(scene: &mut Scene<'_>) -> Check {
    scene.only_longshore()?;
    scene.script("while [ ! -e /tmp/go ]; do usleep 10000; done; exit 43");
    scene.start()?;
    let status = waited(scene, || scene.file("rootfs/tmp/go", ""))?;
    ensure!(status == 43, "{status}");
    Ok(())
}

fn wait_signal(scene: &mut Scene<'_>) -> Check {
    scene.only_longshore()?;
    sleeper(scene)?;
    let kill = || {
        scene.call(&["kill", &scene.id, "KILL"]).run()?.must()?;
        Ok(())
    };
    let status = waited(scene, kill)?;
    ensure!(status == 137, "{status}");
    // It has ended, and is there: the status too.
    let again = waited(scene, || Ok(()))?;
    ensure!(again == 137, "{again}");
    Ok(())
}

/// Its start is waited for as well.
fn wait_created(scene: &mut Scene<'_>) -> Check {
    scene.only_longshore()?;
    scene.script("exit 44");
    scene.create()?;
    let start = || {
        scene.must("start")?;
        Ok(())
    };
    let status = waited(scene, start)?;
    ensure!(status == 44, "{status}");
    Ok(())
}

fn wait_gone(scene: &mut Scene<'_>) -> Check {
    scene.only_longshore()?;
    let ran = scene.verb("wait")?;
    ensure!(
        !ran.ok() && ran.stderr.contains("does not exist"),
        "{}",
        ran.story()
    );
    Ok(())
}
