//! De facto, as engines use it: `exec`. What a further process gets, and what is refused.

use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::config::set;
use crate::property::{Scenario, scenario};
use crate::runtime::{Call, LIMIT, Ran};
use crate::scene::{Scene, until, while_reaping};
use crate::suite::{Check, Known, ensure};

pub(super) const UMASK: Known = &[("runc", "1.1 takes the caller's umask")];

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario("exec.exit-status", exit_status),
    scenario("exec.signal-status", signal_status),
    scenario("exec.program.missing", |scene| {
        refused(scene, &["/no/such/tool"], "no such file or directory")
    }),
    scenario("exec.program.missing-in-path", |scene| {
        refused(
            scene,
            &["no-such-tool"],
            "executable file not found in $PATH",
        )
    }),
    scenario("exec.program.not-executable", |scene| {
        refused(scene, &["/etc/passwd"], "permission denied")
    }),
    scenario("exec.program.is-a-directory", |scene| {
        refused(
            scene,
            &["/etc"],
            "exec failed: unable to start container process",
        )
    }),
    scenario("exec.usage", usage),
    scenario("exec.unknown-id", unknown_id),
    scenario("exec.stopped", stopped),
    scenario("exec.created", created),
    scenario("exec.process-file", process_file).deviates(UMASK),
    scenario("exec.process-file.invalid", process_file_invalid),
    scenario("exec.process-file.duplicate-name", process_file_duplicate)
        .deviates(&[("runc", "takes the last")]),
    scenario("exec.config-is-read-once", read_once)
        .deviates(&[("runc", "reads the bundle's config.json again")]),
    scenario("exec.environment.nothing-of-the-callers", exact_env),
    scenario("exec.umask.not-the-callers", umask).deviates(UMASK),
    scenario("exec.detach", detach),
    scenario("exec.detach.pid-file.is-whole", pid_file_unwritable),
    scenario("exec.is-not-init", not_init),
];

/// Who looks on, starts and stays.
pub(super) fn sleeper(scene: &mut Scene<'_>) -> Check<i32> {
    set(
        &mut scene.config,
        "/process/args",
        json!(["/bin/sleep", "300"]),
    );
    let pid = scene.start()?;
    // runc returns from start a moment before the program is executed.
    let command = || fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    until(|| command().starts_with("/bin/sleep"), "the program")?;
    Ok(pid)
}

/// `exec FLAGS ID COMMAND`.
pub(super) fn exec(scene: &Scene<'_>, flags: &[&str], command: &[&str]) -> Call {
    let mut args = vec!["exec"];
    args.extend(flags);
    args.push(&scene.id);
    args.extend(command);
    scene.call(&args)
}

/// What a script says in the container.
pub(super) fn says(scene: &Scene<'_>, flags: &[&str], script: &str) -> Check<String> {
    let ran = exec(scene, flags, &["sh", "-c", script]).run()?.must()?;
    Ok(ran.stdout.trim().to_owned())
}

/// The process of a detached exec, which is ours to reap.
pub(super) struct Detached(pub(super) i32);

impl Detached {
    pub(super) fn start(scene: &Scene<'_>, flags: &[&str], command: &[&str]) -> Check<Detached> {
        let file = scene.path("exec-pid").display().to_string();
        let mut all = vec!["--detach", "--pid-file", &file];
        all.extend(flags);
        exec(scene, &all, command).run()?.must()?;
        Ok(Detached(fs::read_to_string(file)?.parse()?))
    }

    pub(super) fn proc(&self, name: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{name}", self.0)).unwrap_or_default()
    }
}

impl Drop for Detached {
    fn drop(&mut self) {
        let pid = Pid::from_raw(self.0);
        let _ = kill(pid, Signal::SIGKILL); // may have ended
        let _ = nix::sys::wait::waitpid(pid, None); // reaped by another, perhaps
    }
}

/// An error of the runtime's own, with these words.
pub(super) fn failed(ran: &Ran, words: &str) -> Check {
    ensure!(ran.code() == 255, "exit status: {}", ran.story());
    ensure!(
        ran.stderr.contains(words),
        "wanted {words:?}: {}",
        ran.story()
    );
    Ok(())
}

fn exit_status(scene: &mut Scene<'_>) -> Check {
    sleeper(scene)?;
    for status in [0, 1, 42, 255] {
        let ran = exec(scene, &[], &["sh", "-c", &format!("exit {status}")]).run()?;
        ensure!(
            ran.code() == status && ran.output().is_empty(),
            "wanted {status}: {}",
            ran.story()
        );
    }
    scene.must_be("running")
}

fn signal_status(scene: &mut Scene<'_>) -> Check {
    sleeper(scene)?;
    for (signal, status) in [("KILL", 137), ("TERM", 143), ("USR1", 138)] {
        let ran = exec(
            scene,
            &[],
            &["sh", "-c", &format!("kill -{signal} $$; sleep 5")],
        )
        .run()?;
        ensure!(ran.code() == status, "wanted {status}: {}", ran.story());
    }
    Ok(())
}

/// The words by which engines tell 126 from 127; no pid file, and the container is none the worse.
fn refused(scene: &mut Scene<'_>, command: &[&str], words: &str) -> Check {
    sleeper(scene)?;
    let file = scene.path("exec-pid").display().to_string();
    for flags in [
        &["--pid-file", &file][..],
        &["--detach", "--pid-file", &file],
    ] {
        let ran = exec(scene, flags, command).run()?;
        failed(&ran, words)?;
        failed(&ran, "exec failed: unable to start container process")?;
        ensure!(!scene.path("exec-pid").exists(), "a pid file was written");
    }
    scene.must_be("running")?;
    ensure!(says(scene, &[], "echo well")? == "well", "no exec after it");
    Ok(())
}

fn usage(scene: &mut Scene<'_>) -> Check {
    sleeper(scene)?;
    for (flags, command) in [
        (&[][..], &[][..]),
        (&["--user", "captain"], &["true"]),
        (&["--additional-gids", "-3"], &["true"]),
        (&["--process", "/no/such/file"], &[]),
        (&["--console-socket", "/no/such/socket", "--tty"], &["true"]),
    ] {
        let ran = exec(scene, flags, command).run()?;
        ensure!(
            !ran.ok() && ran.status.is_some() && !ran.stderr.is_empty(),
            "{}",
            ran.story()
        );
    }
    Ok(())
}

fn unknown_id(scene: &mut Scene<'_>) -> Check {
    fs::create_dir_all(scene.path("state"))?;
    failed(&exec(scene, &[], &["true"]).run()?, "does not exist")
}

fn stopped(scene: &mut Scene<'_>) -> Check {
    scene.start()?;
    scene.wait_status("stopped")?;
    failed(
        &exec(scene, &[], &["true"]).run()?,
        "cannot exec in a stopped container",
    )
}

/// Before the program runs there is something to look into already.
fn created(scene: &mut Scene<'_>) -> Check {
    scene.script("touch /ran; sleep 300");
    scene.create()?;
    let seen = says(scene, &[], "ls /ran 2>&1; echo $HOME")?;
    ensure!(
        seen == "ls: /ran: No such file or directory\n/root",
        "{seen}"
    );
    scene.must_be("created")?;
    scene.must("start")?;
    until(|| scene.path("rootfs/ran").exists(), "the program")
}

pub(super) fn process(scene: &Scene<'_>, process: &Value) -> Check<String> {
    scene.file("process.json", &process.to_string())?;
    Ok(scene.path("process.json").display().to_string())
}

/// All of it is the file's, and nothing the container's own.
fn process_file(scene: &mut Scene<'_>) -> Check {
    set(&mut scene.config, "/process/noNewPrivileges", json!(true));
    set(
        &mut scene.config,
        "/process/env",
        json!(["PATH=/bin", "A=1"]),
    );
    sleeper(scene)?;
    let script = "pwd; id -u; id -g; umask; ulimit -n; grep -E '^(CapEff|NoNewPrivs)' /proc/self/status; env | sort";
    let path = process(
        scene,
        &json!({
            "terminal": false, "user": { "uid": 1000, "gid": 5, "umask": 0o007 }, "cwd": "/var",
            "args": ["sh", "-c", script], "env": ["PATH=/usr/bin", "B=2"],
            "capabilities": { "bounding": [], "effective": [], "permitted": [] },
            "rlimits": [{ "type": "RLIMIT_NOFILE", "soft": 77, "hard": 77 }],
        }),
    )?;
    let wanted = "/var\n1000\n5\n0007\n77\nCapEff:\t0000000000000000\nNoNewPrivs:\t0\n\
                  B=2\nHOME=/home/user\nPATH=/usr/bin\nPWD=/var\nSHLVL=1\n";
    for flag in ["--process", "-p"] {
        let ran = exec(scene, &[flag, &path], &[]).run()?.must()?;
        // The shell may or may not export these two.
        ensure!(
            ran.stdout.replace("OLDPWD=/\n", "") == wanted,
            "{}",
            ran.story()
        );
    }
    Ok(())
}

fn process_file_invalid(scene: &mut Scene<'_>) -> Check {
    sleeper(scene)?;
    let good = json!({ "user": { "uid": 0, "gid": 0 }, "cwd": "/", "args": ["true"], "env": ["PATH=/bin"] });
    for (pointer, value) in [
        ("/args", json!([])),
        ("/cwd", json!("here")),
        ("/args", json!("true")),
    ] {
        let mut bad = good.clone();
        set(&mut bad, pointer, value);
        let path = process(scene, &bad)?;
        let ran = exec(scene, &["--process", &path], &[]).run()?;
        ensure!(!ran.ok() && ran.status.is_some(), "{bad}: {}", ran.story());
    }
    let path = process(scene, &good)?;
    exec(scene, &["--process", &path], &[]).run()?.must()?;
    Ok(())
}

/// As in config.json: whoever checked the file may have seen the other one.
fn process_file_duplicate(scene: &mut Scene<'_>) -> Check {
    sleeper(scene)?;
    let file =
        r#"{"user":{"uid":1000,"uid":0,"gid":0},"cwd":"/","args":["true"],"env":["PATH=/bin"]}"#;
    scene.file("process.json", file)?;
    let path = scene.path("process.json").display().to_string();
    let ran = exec(scene, &["--process", &path], &[]).run()?;
    failed(&ran, "process: duplicate name")
}

/// The program is the file's, the rest of the process that of create.
fn read_once(scene: &mut Scene<'_>) -> Check {
    set(
        &mut scene.config,
        "/process/env",
        json!(["PATH=/bin", "CARGO=tea"]),
    );
    sleeper(scene)?;
    set(
        &mut scene.config,
        "/process/env",
        json!(["PATH=/bin", "CARGO=coal"]),
    );
    scene.write_config()?;
    let seen = says(scene, &[], "echo $CARGO")?;
    ensure!(seen == "tea", "saw {seen:?}");
    Ok(())
}

fn exact_env(scene: &mut Scene<'_>) -> Check {
    set(
        &mut scene.config,
        "/process/env",
        json!(["PATH=/bin", "A=1"]),
    );
    sleeper(scene)?;
    let mut call = exec(scene, &[], &["env"]);
    call.env.push(("SECRET", "leaked"));
    let ran = call.run()?;
    let mut lines: Vec<&str> = ran.stdout.lines().collect();
    lines.sort_unstable();
    ensure!(
        lines == ["A=1", "HOME=/root", "PATH=/bin"],
        "{}",
        ran.story()
    );
    Ok(())
}

fn umask(scene: &mut Scene<'_>) -> Check {
    sleeper(scene)?;
    scene.setup = "umask 077";
    let seen = says(scene, &[], "umask")?;
    ensure!(seen == "0022", "{seen}");
    Ok(())
}

/// The pid is the host's, whole and without a newline; the runtime does not stay.
fn detach(scene: &mut Scene<'_>) -> Check {
    let init = sleeper(scene)?;
    let detached = Detached::start(scene, &[], &["/bin/sleep", "299"])?;
    ensure!(detached.0 != init, "the pid file has init's pid");
    until(
        || detached.proc("cmdline") == "/bin/sleep\u{0}299\u{0}",
        "the program",
    )?;
    let parent = detached.proc("stat");
    let parent = parent
        .rsplit_once(") ")
        .and_then(|(_, rest)| rest.split(' ').nth(1));
    ensure!(
        parent == Some(&std::process::id().to_string()),
        "its parent is not the caller's reaper, but {parent:?}"
    );
    drop(detached);
    scene.must_be("running")
}

/// A pid file that cannot be written: nobody would know the process.
fn pid_file_unwritable(scene: &mut Scene<'_>) -> Check {
    let init = sleeper(scene)?;
    let ran = exec(
        scene,
        &["--detach", "--pid-file", "/proc/no/pid"],
        &["sleep", "298"],
    )
    .run()?;
    ensure!(!ran.ok() && ran.status.is_some(), "{}", ran.story());
    until(
        || while_reaping(|| crate::cgroups::processes(&scene.cgroup)) == [init],
        "the end of the process",
    )
}

/// Its end ends nothing else; init's end ends it.
fn not_init(scene: &mut Scene<'_>) -> Check {
    sleeper(scene)?;
    let running = exec(scene, &[], &["sh", "-c", "echo $$; exec sleep 295"]).spawn()?;
    until(|| running.stdout_so_far().contains('\n'), "the program")?;
    ensure!(running.stdout_so_far().trim() != "1", "it is pid 1");
    scene.call(&["kill", &scene.id, "KILL"]).run()?.must()?;
    let ran = running.wait(LIMIT)?;
    ensure!(ran.code() == 137, "{}", ran.story());
    scene.wait_status("stopped")
}
