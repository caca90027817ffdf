//! Processes that are added to a container while it is frozen, ends, or is looked at.

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use super::kills::{forget_output, stopped};
use super::{filter, filtered, force_delete, longshore_only, may_ptrace, one_line};
use crate::cgroups;
use crate::config::{self, push, set};
use crate::property::{Scenario, scenario};
use crate::runtime::{Call, LIMIT, Ran};
use crate::scene::{Scene, until, while_reaping};
use crate::suite::{Check, ensure};

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario("exec.frozen-at-every-point", frozen),
    scenario("exec.frozen-before-execve", frozen_before_execve),
    scenario("exec.killed-before-its-commit", killed_before_commit),
    scenario("exec.race.ends", ends),
    scenario("exec.race.each-other", parallel),
    scenario("exec.proc-exe", proc_exe),
    scenario("exec.seccomp.kills-execve", |scene| {
        filtered_execve(
            scene,
            json!({ "action": "SCMP_ACT_KILL_PROCESS" }),
            "signal 31",
        )
    }),
    scenario("exec.seccomp.kills-thread-at-execve", |scene| {
        filtered_execve(
            scene,
            json!({ "action": "SCMP_ACT_KILL_THREAD" }),
            "signal 31",
        )
    }),
    scenario("exec.seccomp.denies-execve", |scene| {
        filtered_execve(
            scene,
            json!({ "action": "SCMP_ACT_ERRNO", "errnoRet": 13 }),
            "permission denied",
        )
    }),
    scenario("exec.seccomp.denies-the-rest", denied_rest),
];

/// A wait of ours, and the end of a process that cannot end.
const FROZEN: Duration = Duration::from_secs(14);

fn sleeper(scene: &mut Scene<'_>) -> Check<i32> {
    set(
        &mut scene.config,
        "/process/args",
        json!(["/bin/sleep", "300"]),
    );
    scene.start()
}

fn exec(scene: &Scene<'_>, command: &[&str]) -> Call {
    let mut args = vec!["exec", scene.id.as_str()];
    args.extend(command);
    scene.call(&args)
}

fn stopping_at(mut call: Call, point: usize) -> Call {
    call.args.splice(
        0..0,
        ["--stop-at-fault-point".to_owned(), point.to_string()],
    );
    call
}

/// The processes in the container besides init, after those that are dead are reaped.
fn others(scene: &Scene<'_>, init: i32) -> Vec<i32> {
    let mut pids = while_reaping(|| cgroups::processes(&scene.cgroup));
    pids.retain(|pid| *pid != init);
    pids
}

fn freeze(scene: &Scene<'_>, on: bool) -> Check {
    let (controller, file, word) = match (cgroups::unified(), on) {
        (true, true) => ("", "cgroup.freeze", "1"),
        (true, false) => ("", "cgroup.freeze", "0"),
        (false, true) => ("freezer", "freezer.state", "FROZEN"),
        (false, false) => ("freezer", "freezer.state", "THAWED"),
    };
    let root = std::path::Path::new("/sys/fs/cgroup").join(controller);
    fs::write(
        root.join(scene.cgroup.trim_start_matches('/')).join(file),
        word,
    )?;
    Ok(())
}

/// Not by `pause`, which an exec would wait for, and at each of its steps.
fn frozen(scene: &mut Scene<'_>) -> Check {
    longshore_only(scene)?;
    let init = sleeper(scene)?;
    let mut held = Vec::new();
    loop {
        let running = stopping_at(exec(scene, &["true"]), held.len()).spawn()?;
        if !stopped(&running)? {
            running.wait(LIMIT)?.must()?;
            break;
        }
        held.push(running);
    }
    ensure!(held.len() > 5, "only {} fault points", held.len());
    freeze(scene, true)?;
    for running in &held {
        running.signal(libc::SIGCONT);
    }
    let begin = Instant::now();
    let mut refused = 0;
    let mut wrong = Vec::new();
    // The last two come after the commit: those processes are the container's, and may have ended before it froze.
    let committed = held.split_off(held.len() - 2);
    for (point, running) in held.into_iter().enumerate() {
        let ran = running.wait(FROZEN.saturating_sub(begin.elapsed()))?;
        match ran.code() {
            255 => refused += 1,
            _ => wrong.push(format!("stopped at {point}: {}", ran.story())),
        }
    }
    freeze(scene, false)?;
    for running in committed {
        running.wait(LIMIT)?.must()?;
    }
    ensure!(
        wrong.is_empty() && refused > 5,
        "{refused} refused; {wrong:?}"
    );
    until(
        || others(scene, init).is_empty(),
        "the end of the processes",
    )?;
    exec(scene, &["true"]).run()?.must()?;
    force_delete(scene)
}

/// The commit is sent to a process that can't take it: nobody may find it executed later.
fn frozen_before_execve(scene: &mut Scene<'_>) -> Check {
    longshore_only(scene)?;
    let init = sleeper(scene)?;
    let call = |point| stopping_at(exec(scene, &["touch", "/executed"]), point);
    let mut points = 0;
    loop {
        let running = call(points).spawn()?;
        if !stopped(&running)? {
            running.wait(LIMIT)?.must()?;
            break;
        }
        points += 1;
    }
    ensure!(points > 5, "only {points} fault points");
    until(
        || others(scene, init).is_empty(),
        "the end of the processes",
    )?;
    fs::remove_file(scene.path("rootfs/executed"))?;
    // The last three: before the commit, after it, and once the program is executed.
    let running = call(points - 3).spawn()?;
    ensure!(stopped(&running)?, "no fault point {}", points - 3);
    freeze(scene, true)?;
    running.signal(libc::SIGCONT);
    let ran = running.wait(FROZEN)?;
    freeze(scene, false)?;
    one_line(&ran)?;
    ensure!(ran.code() == 255, "{}", ran.story());
    until(|| others(scene, init).is_empty(), "the end of the process")?;
    let executed = scene.path("rootfs/executed").exists();
    ensure!(!executed, "it was executed: {}", ran.story());
    exec(scene, &["touch", "/executed"]).run()?.must()?;
    force_delete(scene)
}

/// Whoever asked for it is gone: it must not begin. After the commit it is the container's.
fn killed_before_commit(scene: &mut Scene<'_>) -> Check {
    longshore_only(scene)?;
    let init = sleeper(scene)?;
    let executed = |pid: &i32| {
        fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|path| path.ends_with("busybox"))
    };
    let mut stayed_from = None;
    for point in 0.. {
        let running = stopping_at(exec(scene, &["sleep", "291"]), point).spawn()?;
        if !stopped_or_there(scene, init, &running)? {
            break;
        }
        running.signal(libc::SIGKILL);
        running.wait(LIMIT)?;
        // Stage 1 may be on its way to the clone.
        std::thread::sleep(Duration::from_millis(50));
        until(
            || others(scene, init).iter().all(executed),
            &format!("the end of an exec that was killed at point {point}"),
        )?;
        let stays = !others(scene, init).is_empty();
        ensure!(
            stays || stayed_from.is_none(),
            "killed at point {point}, it ended though it was executed"
        );
        stayed_from = stayed_from.or(stays.then_some(point));
        for pid in others(scene, init) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL); // may have ended
        }
        until(|| others(scene, init).is_empty(), "the end of the process")?;
        forget_output(&scene.dir)?;
    }
    ensure!(
        stayed_from.is_some_and(|point| point > 5),
        "it stayed from point {stayed_from:?} on"
    );
    force_delete(scene)
}

/// True if it stopped at its point; false if its program runs, which is killed.
fn stopped_or_there(
    scene: &Scene<'_>,
    init: i32,
    running: &crate::runtime::Running,
) -> Check<bool> {
    let letter = || super::state_letter(running.pid());
    let comm = |pid: &i32| {
        fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default() == "sleep\n"
    };
    until(
        || letter() == Some('T') || (letter() == Some('S') && others(scene, init).iter().any(comm)),
        "the fault point or the program",
    )?;
    // It may be between the program's beginning and its last point.
    std::thread::sleep(Duration::from_millis(20));
    Ok(letter() == Some('T'))
}

const STOPPED: &str = "cannot exec in a stopped container";

/// A status of its own, init's end, or the words.
fn told(ran: &Ran, status: i32) -> Check<bool> {
    let right = ran.status.is_some()
        && match ran.code() {
            137 => true,
            255 => ran.stderr.contains(STOPPED) && ran.stderr.lines().count() == 1,
            code => code == status && ran.output().is_empty(),
        };
    ensure!(right, "wanted {status}: {}", ran.story());
    Ok(ran.code() == status)
}

/// Containers end while execs begin and end.
fn ends(scene: &mut Scene<'_>) -> Check {
    longshore_only(scene)?;
    let wanted = if scene.suite.soak { 2000 } else { 200 };
    let (mut done, mut good) = (0, 0);
    while done < wanted {
        let pid = sleeper(scene)?;
        let mut running = Vec::new();
        for n in 0..5 {
            let script = format!("exit {n}");
            running.push((n, exec(scene, &["sh", "-c", &script]).spawn()?));
            running.push((0, exec(scene, &["true"]).spawn()?));
        }
        let share = (f64::from(done) * 0.061_803).fract();
        std::thread::sleep(Duration::from_millis(60).mul_f64(share));
        kill(Pid::from_raw(pid), Signal::SIGKILL)?;
        for (status, running) in running {
            good += usize::from(told(&running.wait(LIMIT)?, status)?);
            done += 1;
        }
        scene.wait_status("stopped")?;
        told(&exec(scene, &["true"]).run()?, 255)?;
        force_delete(scene)?;
        forget_output(&scene.dir)?;
    }
    let all = usize::try_from(done)?;
    ensure!(
        good > 0 && good < all,
        "{good} of {all} ended by themselves: no race"
    );
    Ok(())
}

fn parallel(scene: &mut Scene<'_>) -> Check {
    sleeper(scene)?;
    let mut running = Vec::new();
    for n in 0..20 {
        let script = format!("echo {n}; exit {n}");
        running.push(exec(scene, &["sh", "-c", &script]).spawn()?);
    }
    for (n, running) in (0..).zip(running) {
        let ran = running.wait(LIMIT)?;
        ensure!(
            ran.code() == n && ran.stdout == format!("{n}\n"),
            "{}",
            ran.story()
        );
    }
    scene.must_be("running")
}

/// Somebody in the pid namespace, with all rights over its processes, gets hold of no file of the host's.
fn proc_exe(scene: &mut Scene<'_>) -> Check {
    let init = sleeper(scene)?;
    let pid_namespace = json!({ "type": "pid", "path": format!("/proc/{init}/ns/pid") });
    let mut onlooker = Scene::new(scene.suite)?;
    config::namespace(&mut onlooker.config, pid_namespace.clone());
    may_ptrace(&mut onlooker.config);
    onlooker.script("while :; do ls -l /proc/[0-9]*/exe; done 2>/dev/null >> /seen");
    onlooker.start()?;
    let mut hooked = Scene::new(scene.suite)?;
    config::namespace(&mut hooked.config, pid_namespace);
    push(
        &mut hooked.config,
        "/hooks/startContainer",
        json!({ "path": "/bin/true" }),
    );
    let mut seen = BTreeSet::new();
    let mut image = false;
    for round in 0..300 {
        exec(scene, &["true"]).run()?.must()?;
        if round % 5 == 0 {
            hooked.run()?.must()?;
        }
        let text = fs::read_to_string(onlooker.path("rootfs/seen")).unwrap_or_default();
        seen.extend(
            text.lines()
                .filter_map(|line| Some(line.split_once(" -> ")?.1.to_owned())),
        );
        image = seen.iter().any(|path| path.starts_with("/memfd:"));
        if round >= 50 && image {
            break;
        }
    }
    let host = |path: &&String| *path != "/bin/busybox" && !path.starts_with("/memfd:");
    let found: Vec<_> = seen.iter().filter(host).collect();
    ensure!(found.is_empty(), "it saw {found:?}");
    ensure!(
        image && seen.contains("/bin/busybox"),
        "it saw only {seen:?}"
    );
    Ok(())
}

/// In a container that is created: its own program could not be executed either.
fn filtered_execve(scene: &mut Scene<'_>, rule: Value, words: &str) -> Check {
    longshore_only(scene)?;
    filtered(scene, filter(rule, &["execve", "execveat"]), |scene| {
        let init = scene.create()?;
        refused(scene, init, "true", words)?;
        scene.must_be("created")
    })
}

/// The one line with the words, and nothing of the process.
fn refused(scene: &Scene<'_>, init: i32, program: &str, words: &str) -> Check {
    let ran = exec(scene, &[program]).run()?;
    one_line(&ran)?;
    ensure!(
        ran.code() == 255 && ran.stderr.contains(words),
        "wanted {words:?}: {}",
        ran.story()
    );
    ensure!(others(scene, init).is_empty(), "a process stayed");
    Ok(())
}

/// Nothing of these is needed once the filter is there, neither to go on nor to tell why not.
fn denied_rest(scene: &mut Scene<'_>) -> Check {
    longshore_only(scene)?;
    let rule = json!({ "action": "SCMP_ACT_ERRNO" });
    scene.executable("rootfs/bin/formless", "\u{1}\u{2}\u{3}")?;
    let names = ["write", "sendmsg", "sendto", "close"];
    filtered(scene, filter(rule, &names), |scene| {
        let init = sleeper(scene)?;
        exec(scene, &["true"]).run()?.must()?;
        refused(scene, init, "formless", "exec format error")
    })
}
