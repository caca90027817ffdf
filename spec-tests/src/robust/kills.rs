//! SIGKILL at every step of create, start, exec and delete: after `delete --force`
//! nothing of the container is left.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;
use serde_json::json;

use super::{alive, longshore_only};
use crate::property::{Scenario, scenario};
use crate::runtime::{Call, LIMIT, Running};
use crate::scene::{Scene, reap, while_reaping};
use crate::suite::{Check, Stop, ensure};
use crate::{cgroups, config, leak};

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario("kill.create.every-point", |scene| {
        sweep(scene, Verb::Create, false)
    }),
    scenario("kill.create.every-point.user-namespace", |scene| {
        sweep(scene, Verb::Create, true)
    }),
    scenario("kill.start.every-point", |scene| {
        sweep(scene, Verb::Start, false)
    }),
    scenario("kill.delete.every-point", |scene| {
        sweep(scene, Verb::Delete, false)
    }),
    scenario("kill.exec.every-point", |scene| {
        sweep(scene, Verb::Exec, false)
    }),
    scenario("kill.exec.every-point.user-namespace", |scene| {
        sweep(scene, Verb::Exec, true)
    }),
    scenario("kill.exec.any-time", |scene| any_time(scene, Verb::Exec)),
    scenario("kill.create.any-time", |scene| {
        any_time(scene, Verb::Create)
    }),
    scenario("kill.start.any-time", |scene| any_time(scene, Verb::Start)),
    scenario("kill.delete.any-time", |scene| {
        any_time(scene, Verb::Delete)
    }),
    scenario("kill.control.runc", control),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    Create,
    Start,
    Exec,
    Delete,
}

/// How often a kill must have hit.
fn wanted(scene: &Scene<'_>) -> usize {
    if scene.suite.soak { 200 } else { 20 }
}

/// A config with many steps.
fn furnish(scene: &mut Scene<'_>, user_namespace: bool) -> Check {
    let hook = scene.executable("hook", "#!/bin/sh\ncat > /dev/null\n")?;
    scene.file("src/file", "x")?;
    fs::create_dir_all(scene.path("rootfs/data"))?; // root of a user namespace can't make it
    let config = &mut scene.config;
    config::set(config, "/process/args", json!(["/bin/sleep", "300"]));
    config::set(
        config,
        "/process/rlimits",
        json!([{ "type": "RLIMIT_NOFILE", "soft": 100, "hard": 200 }]),
    );
    config::set(config, "/process/oomScoreAdj", json!(100));
    config::set(config, "/hostname", json!("pier"));
    config::set(
        config,
        "/linux/maskedPaths",
        json!(["/proc/keys", "/proc/acpi"]),
    );
    config::set(config, "/linux/readonlyPaths", json!(["/proc/sys"]));
    config::bind(config, &["bind", "ro"]);
    config::push(
        config,
        "/linux/devices",
        json!({ "path": "/dev/fuse", "type": "c", "major": 10, "minor": 229 }),
    );
    config::set(
        config,
        "/hooks",
        json!({
            "createRuntime": [{ "path": hook }],
            "createContainer": [{ "path": "/bin/true" }],
            "startContainer": [{ "path": "/bin/true" }],
            "poststart": [{ "path": hook }],
            "poststop": [{ "path": hook }],
        }),
    );
    if !cgroups::unified() {
        config::set(config, "/linux/resources/pids", json!({ "limit": 50 }));
        config::set(
            config,
            "/linux/resources/memory",
            json!({ "limit": 64 << 20 }),
        );
        config::set(config, "/linux/resources/cpu", json!({ "shares": 512 }));
    }
    if user_namespace {
        config::user_namespace(config);
        config::strip(config, "/linux/devices"); // /dev/fuse need not be on this host to be bound
    }
    scene.write_config()
}

/// The caller's cgroup: what a call leaves and no container's cgroup holds is found there.
struct Mark(PathBuf);

impl Mark {
    fn make(scene: &Scene<'_>) -> Check<Mark> {
        let roots = cgroups::roots();
        let root = roots
            .iter()
            .find(|root| root.ends_with("pids"))
            .or(roots.first());
        let root = root.ok_or_else(|| Stop::Skip("needs cgroups".to_owned()))?;
        let dir = root
            .join(&scene.suite.tag)
            .join(format!("mark-{}", scene.suite.next()));
        fs::create_dir_all(&dir)?;
        Ok(Mark(dir))
    }

    /// The same call, made from inside.
    fn wrap(&self, mut call: Call) -> Call {
        let script = format!("echo $$ > {}/cgroup.procs; exec \"$@\"", self.0.display());
        let mut args = vec![
            "-c".to_owned(),
            script,
            "sh".to_owned(),
            call.program.display().to_string(),
        ];
        args.append(&mut call.args);
        Call {
            program: "/bin/sh".into(),
            args,
            ..call
        }
    }

    fn processes(&self) -> Vec<i32> {
        let text = fs::read_to_string(self.0.join("cgroup.procs")).unwrap_or_default();
        text.lines()
            .filter_map(|line| line.parse().ok())
            .filter(|pid| alive(*pid))
            .collect()
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        for pid in self.processes() {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL); // what a runtime left; it may end by itself
        }
        let end = Instant::now() + Duration::from_secs(2);
        while fs::remove_dir(&self.0).is_err() && self.0.exists() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// The call that is killed, after all that must come before it.
fn prepared(scene: &Scene<'_>, verb: Verb) -> Check<Call> {
    if verb != Verb::Create {
        scene.create_call(&[]).run()?.must()?;
    }
    Ok(match verb {
        Verb::Create => scene.create_call(&[]),
        Verb::Start => scene.call(&["start", &scene.id]),
        Verb::Exec => {
            scene.must("start")?;
            scene.call(&["exec", &scene.id, "true"])
        }
        Verb::Delete => {
            scene.must("start")?;
            scene.call(&["delete", "--force", &scene.id])
        }
    })
}

/// True if it stopped, false if it ended.
pub(super) fn stopped(running: &Running) -> Check<bool> {
    let flags =
        WaitPidFlag::WSTOPPED | WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT | WaitPidFlag::WNOHANG;
    let end = Instant::now() + LIMIT;
    loop {
        match waitid(Id::Pid(Pid::from_raw(running.pid())), flags)? {
            WaitStatus::Stopped(..) => return Ok(true),
            WaitStatus::StillAlive if Instant::now() < end => {
                std::thread::sleep(Duration::from_micros(500))
            }
            WaitStatus::StillAlive => {
                return Err(Stop::Fail("neither stopped nor ended".to_owned()));
            }
            _ => return Ok(false),
        }
    }
}

fn init_pid(scene: &Scene<'_>) -> Option<i32> {
    let link = fs::read_link(scene.path("state").join(&scene.id).join("init")).ok()?;
    link.to_str()?.split('.').next()?.parse().ok()
}

/// What is left once `delete --force` has had its say. What dies by itself gets a moment.
fn leftovers(scene: &Scene<'_>, mark: &Mark, init: Option<i32>) -> Check<Vec<String>> {
    let delete = scene.call(&["delete", "--force", &scene.id]);
    let ran = while_reaping(|| delete.run())?;
    let mut left = Vec::new();
    if !ran.ok() {
        left.push(ran.story());
    }
    if let Some(pid) = init.filter(|pid| alive(*pid)) {
        left.push(format!("init {pid}"));
    }
    // A zombie keeps its session keyring, and a user may have 200 of these.
    init.into_iter().for_each(reap);
    let end = Instant::now() + Duration::from_millis(500);
    while !mark.processes().is_empty() && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(2));
    }
    left.extend(
        mark.processes()
            .iter()
            .map(|pid| format!("process {pid} ({})", command(*pid))),
    );
    left.extend(scene.left_behind());
    left.extend(leak::mounts_below(&scene.dir));
    Ok(left)
}

fn command(pid: i32) -> String {
    fs::read_to_string(format!("/proc/{pid}/cmdline"))
        .unwrap_or_default()
        .replace('\0', " ")
}

fn sweep(scene: &mut Scene<'_>, verb: Verb, user_namespace: bool) -> Check {
    longshore_only(scene)?;
    furnish(scene, user_namespace)?;
    let mark = Mark::make(scene)?;
    let mut hits = 0;
    while hits < wanted(scene) {
        let before = hits;
        for point in 0.. {
            let mut call = prepared(scene, verb)?;
            call.args.splice(
                0..0,
                ["--stop-at-fault-point".to_owned(), point.to_string()],
            );
            let running = mark.wrap(call).spawn()?;
            let hit = stopped(&running)?;
            let init = init_pid(scene);
            running.signal(libc::SIGKILL);
            let ran = running.wait(LIMIT)?;
            ensure!(hit || ran.ok(), "{}", ran.story());
            let left = leftovers(scene, &mark, init)?;
            ensure!(
                left.is_empty(),
                "killed at point {point} of {verb:?}: left {left:?}"
            );
            forget_output(&scene.dir)?;
            if !hit {
                break;
            }
            hits += 1;
        }
        ensure!(hits > before, "no fault point in {verb:?}");
    }
    Ok(())
}

/// Thousands of calls leave thousands of files, and each call counts them.
pub(super) fn forget_output(dir: &Path) -> Check {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with("stdout.") || name.starts_with("stderr.") || name == "pid" {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

/// Kills spread evenly over the time that the command takes; the leaks and the kills that hit.
fn spread(scene: &Scene<'_>, verb: Verb, stop_at_leak: bool) -> Check<(Vec<String>, usize)> {
    let mark = Mark::make(scene)?;
    let mut took = Duration::ZERO;
    for _ in 0..3 {
        let call = prepared(scene, verb)?;
        let begin = Instant::now();
        mark.wrap(call).run()?;
        took = took.max(begin.elapsed());
        leftovers(scene, &mark, None)?;
    }
    let (mut leaks, mut hits, mut tries) = (Vec::new(), 0, 0);
    let count = wanted(scene);
    while hits < count && tries < 10 * count {
        let call = prepared(scene, verb)?;
        let running = mark.wrap(call).spawn()?;
        // Golden section steps: near to even from the first on, and never the same moment twice.
        let share = (f64::from(u32::try_from(tries).unwrap_or(0)) * 0.618_034).fract();
        std::thread::sleep(took.mul_f64(share));
        let init = init_pid(scene);
        running.signal(libc::SIGKILL);
        let hit = running.wait(LIMIT)?.code() == -libc::SIGKILL;
        let left = leftovers(scene, &mark, init)?;
        if !left.is_empty() {
            leaks.push(format!(
                "killed after {:?} of {took:?}: {left:?}",
                took.mul_f64(share)
            ));
            clean(scene, &mark);
            if stop_at_leak {
                break;
            }
        }
        forget_output(&scene.dir)?;
        hits += usize::from(hit);
        tries += 1;
    }
    Ok((leaks, hits))
}

/// What a leaking runtime left, so that the next kill starts from nothing.
fn clean(scene: &Scene<'_>, mark: &Mark) {
    for pid in cgroups::processes(&scene.cgroup)
        .into_iter()
        .chain(mark.processes())
    {
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL); // may have ended meanwhile
    }
    cgroups::remove(&scene.cgroup);
    for line in leak::mounts_below(&scene.dir) {
        let point = line.split(' ').nth(4).unwrap_or_default().to_owned();
        let _ = nix::mount::umount2(point.as_str(), nix::mount::MntFlags::MNT_DETACH); // gone with its parent, perhaps
    }
    let _ = fs::remove_dir_all(scene.path("state")); // made again by the next create
}

fn any_time(scene: &mut Scene<'_>, verb: Verb) -> Check {
    longshore_only(scene)?;
    furnish(scene, false)?;
    let (leaks, hits) = spread(scene, verb, true)?;
    ensure!(leaks.is_empty(), "{}", leaks.join("; "));
    ensure!(hits >= wanted(scene), "only {hits} kills hit");
    Ok(())
}

/// The harness must find what it looks for in a runtime that is known to have it.
fn control(scene: &mut Scene<'_>) -> Check {
    scene.use_runc()?;
    furnish(scene, false)?;
    let (leaks, hits) = spread(scene, Verb::Create, false)?;
    eprintln!("control runc: {} leaks of {hits} kills", leaks.len());
    ensure!(
        !leaks.is_empty(),
        "runc left nothing after {hits} kills: does the harness look?"
    );
    Ok(())
}
