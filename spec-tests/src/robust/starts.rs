//! `start` tells the truth: whether the program was executed, and if not, why.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::{filter, filtered, force_delete, longshore_only, one_line, start_with_slow_hook};
use crate::config::{no_namespace, push, set};
use crate::property::{Scenario, scenario};
use crate::runtime::LIMIT;
use crate::scene::{Scene, reap, until};
use crate::strace::traced;
use crate::suite::{Check, View, ensure};

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario("start.hook-fails", |scene| {
        hook(
            scene,
            json!({ "path": "/bin/false" }),
            "hooks.startContainer[0]",
        )
    }),
    scenario("start.hook-missing", |scene| {
        hook(
            scene,
            json!({ "path": "/no/hook" }),
            "hooks.startContainer[0]",
        )
    }),
    scenario("start.hook-times-out", |scene| {
        hook(
            scene,
            json!({ "path": "/bin/sleep", "args": ["sleep", "30"], "timeout": 1 }),
            "hooks.startContainer[0]",
        )
    }),
    scenario("start.program-vanished", vanished),
    scenario("start.refused-limit-is-named", refused_limit),
    scenario("start.hostile-passwd", hostile_passwd),
    scenario("start.init-killed", killed),
    scenario("start.init-killed-before-it-hears", killed_before_it_hears),
    scenario("start.program-killed-and-reaped", killed_and_reaped),
    scenario("start.seccomp.kills-execve", |scene| {
        filtered_execve(scene, json!({ "action": "SCMP_ACT_KILL_PROCESS" }))
    }),
    scenario("start.seccomp.kills-thread-at-execve", |scene| {
        filtered_execve(scene, json!({ "action": "SCMP_ACT_KILL_THREAD" }))
    }),
    scenario("start.seccomp.denies-execve", |scene| {
        filtered_execve(scene, json!({ "action": "SCMP_ACT_ERRNO", "errnoRet": 13 }))
    }),
    scenario("start.seccomp.denies-the-rest", denied_rest),
    scenario("start.pids.limit-1", |scene| {
        small(scene, "/linux/resources/pids", json!({ "limit": 1 }))
    })
    .on(View::V1),
    scenario("start.memory.limit-256k", smallest_memory)
        .deviates(&[("runc", "sets the limit on an init that has grown beyond it")])
        .on(View::V1),
];

/// Beyond fs.nr_open nobody may go.
fn refused_limit(scene: &mut Scene<'_>) -> Check {
    longshore_only(scene)?;
    let limit = |name: &str, hard: u64| json!({ "type": name, "soft": 9, "hard": hard });
    let limits = json!([
        limit("RLIMIT_CPU", 9),
        limit("RLIMIT_NOFILE", u64::MAX >> 1)
    ]);
    set(&mut scene.config, "/process/rlimits", limits);
    scene.create()?;
    let ran = scene.verb("start")?;
    one_line(&ran)?;
    let words = "process.rlimits: cannot set RLIMIT_NOFILE: EPERM";
    ensure!(ran.stderr.contains(words), "{}", ran.story());
    force_delete(scene)
}

/// A list of users that is none must neither hold us nor be read for ever.
fn hostile_passwd(scene: &mut Scene<'_>) -> Check {
    longshore_only(scene)?;
    scene.script("echo $HOME");
    let passwd = scene.path("rootfs/etc/passwd").display().to_string();
    let outside = scene.path("outside").display().to_string();
    fs::write(&outside, "root:x:0:0::/outside:\n")?;
    for make in [
        format!("mkfifo {passwd}"),
        format!("truncate -s 4G {passwd}"),
        format!("ln -s /dev/zero {passwd}"),
        format!("ln -s passwd {passwd}"),
        format!("ln -s {outside} {passwd}"),
        format!("mkdir {passwd}"),
        format!("mknod {passwd} c 1 5"),
    ] {
        let script = format!("rm -f {passwd}; {make}");
        let made = std::process::Command::new("sh")
            .args(["-c", &script])
            .status()?;
        ensure!(made.success(), "{make}");
        let ran = scene.run()?;
        ensure!(
            ran.ok() && ran.stdout.trim() == "/",
            "{make}: {}",
            ran.story()
        );
        ensure!(ran.took.as_millis() < 1000, "{make}: took {:?}", ran.took);
        let _ = fs::remove_dir(&passwd); // where it is one
    }
    Ok(())
}

/// The one line, and a container that is no more than stopped.
fn fails(scene: &Scene<'_>, place: &str) -> Check {
    let ran = scene.verb("start")?;
    one_line(&ran)?;
    ensure!(
        ran.stderr.contains(place),
        "does not name {place}: {}",
        ran.story()
    );
    scene.wait_status("stopped")?;
    force_delete(scene)
}

fn hook(scene: &mut Scene<'_>, hook: Value, place: &str) -> Check {
    longshore_only(scene)?;
    push(&mut scene.config, "/hooks/startContainer", hook);
    scene.create()?;
    fails(scene, place)
}

fn vanished(scene: &mut Scene<'_>) -> Check {
    longshore_only(scene)?;
    scene.executable("rootfs/program", "#!/bin/sh\nexit 0\n")?;
    set(&mut scene.config, "/process/args", json!(["/program"]));
    scene.create()?;
    fs::remove_file(scene.path("rootfs/program"))?;
    fails(scene, "process.args")
}

fn killed(scene: &mut Scene<'_>) -> Check {
    longshore_only(scene)?;
    let (starting, pid) = start_with_slow_hook(scene)?;
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(pid),
        nix::sys::signal::Signal::SIGKILL,
    )?;
    let ran = starting.wait(LIMIT)?;
    one_line(&ran)?;
    ensure!(ran.stderr.contains("signal 9"), "{}", ran.story());
    force_delete(scene)
}

/// It may be killed before it knows that somebody starts it.
fn killed_before_it_hears(scene: &mut Scene<'_>) -> Check {
    use nix::sys::signal::{Signal, kill};
    longshore_only(scene)?;
    let pid = nix::unistd::Pid::from_raw(scene.create()?);
    kill(pid, Signal::SIGSTOP)?;
    let starting = scene.call(&["start", &scene.id]).spawn()?;
    std::thread::sleep(std::time::Duration::from_millis(100));
    kill(pid, Signal::SIGKILL)?;
    let ran = starting.wait(LIMIT)?;
    one_line(&ran)?;
    for word in ["signal 9", "wait for start"] {
        ensure!(ran.stderr.contains(word), "no {word}: {}", ran.story());
    }
    force_delete(scene)
}

/// A program that dies of SIGKILL and is reaped before anybody looks at it was started.
fn killed_and_reaped(scene: &mut Scene<'_>) -> Check {
    longshore_only(scene)?;
    no_namespace(&mut scene.config, "pid"); // whose init can't kill itself
    scene.script("kill -KILL $$");
    let pid = scene.create()?;
    let delay = "inject=poll,ppoll,epoll_wait,epoll_pwait:delay_exit=500000"; // microseconds
    let start = scene.call(&["start", &scene.id]);
    let start = traced(start, &["-f", "-o", "trace", "-e", delay])?.spawn()?;
    let gone = || {
        reap(pid);
        !Path::new(&format!("/proc/{pid}")).exists()
    };
    until(gone, "its end")?;
    start.wait(LIMIT)?.must()?;
    let trace = fs::read_to_string(scene.path("trace"))?;
    ensure!(trace.contains("(DELAYED)"), "nothing was delayed: {trace}");
    force_delete(scene)
}

fn filtered_execve(scene: &mut Scene<'_>, rule: Value) -> Check {
    longshore_only(scene)?;
    filtered(scene, filter(rule, &["execve", "execveat"]), |scene| {
        scene.create()?;
        fails(scene, "")
    })
}

/// Init needs nothing of these once the filter is there.
fn denied_rest(scene: &mut Scene<'_>) -> Check {
    longshore_only(scene)?;
    let rule = json!({ "action": "SCMP_ACT_ERRNO" });
    let names = [
        "write",
        "sendmsg",
        "sendto",
        "close",
        "exit_group",
        "mmap",
        "munmap",
        "fcntl",
        "prctl",
    ];
    set(
        &mut scene.config,
        "/process/args",
        json!(["/bin/sleep", "300"]),
    );
    filtered(scene, filter(rule, &names), |scene| {
        scene.create()?;
        scene.must("start").map(drop)
    })?;
    // A missing program is still told, though init can't write or even exit any more.
    vanished(scene)
}

/// Init itself must not need more than the program.
fn small(scene: &mut Scene<'_>, pointer: &str, value: Value) -> Check {
    set(&mut scene.config, pointer, value);
    scene.create()?;
    scene.must("start")?;
    Ok(())
}

/// The kernel charges memory 64 pages at a time to each CPU's stock: a whole limit of 256 KiB. An init that
/// is moved to another CPU meanwhile is killed before the first one's stock is given back, in one of
/// some hundred creates. So it may need another try, and must say why.
fn smallest_memory(scene: &mut Scene<'_>) -> Check {
    set(
        &mut scene.config,
        "/linux/resources/memory",
        json!({ "limit": 256 << 10 }),
    );
    scene.write_config()?;
    let mut ran = scene.verb("create")?;
    for _ in 0..2 {
        if ran.ok() {
            break;
        }
        one_line(&ran)?;
        ensure!(
            ran.stderr.contains("linux.resources.memory.limit"),
            "{}",
            ran.story()
        );
        ran = scene.verb("create")?;
    }
    ensure!(ran.ok(), "{}", ran.story());
    scene.must("start")?;
    Ok(())
}
