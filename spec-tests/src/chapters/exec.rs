//! De facto, as engines use them: `exec`, `pause`, `resume` and `ps`.

use std::fs::{self, File};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use super::console::{CALLER_SEES, Terminal, in_a_terminal, on_the_callers_terminal, quoted};
use crate::config::{self, set};
use crate::holder::Holder;
use crate::property::{Scenario, scenario};
use crate::runtime::{Call, LIMIT, Ran};
use crate::scene::{Scene, until, while_reaping};
use crate::suite::{Case, Check, Known, Stop, Suite, View, ensure};

/// Something that an added process gets from a flag or from the container's configuration. Without both the
/// script must say something else.
pub(crate) struct Added {
    name: &'static str,
    set: fn(&mut Value),
    flags: &'static [&'static str],
    script: &'static str,
    expect: &'static str,
    known: Known,
}

const fn added(
    name: &'static str,
    flags: &'static [&'static str],
    script: &'static str,
    expect: &'static str,
) -> Added {
    Added {
        name,
        set: |_| {},
        flags,
        script,
        expect,
        known: &[],
    }
}

impl Added {
    const fn with(self, set: fn(&mut Value)) -> Added {
        Added { set, ..self }
    }

    const fn deviates(self, known: Known) -> Added {
        Added { known, ..self }
    }
}

impl Case for Added {
    fn name(&self) -> String {
        self.name.to_owned()
    }

    fn known(&self) -> Known {
        self.known
    }

    fn view(&self) -> View {
        View::Any
    }

    fn check(&self, suite: &Suite) -> Check {
        for with in [true, false] {
            let mut scene = Scene::new(suite)?;
            if with {
                (self.set)(&mut scene.config);
            }
            sleeper(&mut scene)?;
            let script = format!("exec 2>&1; echo probe:; {}", self.script);
            let flags = if with { self.flags } else { &[] };
            let ran = exec(&scene, flags, &["sh", "-c", &script]).run()?;
            let seen = ran.stdout.strip_prefix("probe:").map(str::trim);
            let seen = seen.ok_or_else(|| Stop::Fail(ran.story()))?;
            ensure!(
                (seen == self.expect) == with,
                "wanted {:?} with it only, saw with it {with}: {seen:?}",
                self.expect
            );
        }
        Ok(())
    }
}

fn deny_mkdir(config: &mut Value) {
    let rule = json!({ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95 });
    let filter = json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule] });
    set(config, "/linux/seccomp", filter);
}

const UMASK: Known = &[("runc", "1.1 takes the caller's umask")];

const IDS: &str = "echo $(id -u):$(id -g)";

pub(crate) const ADDED: &[Added] = &[
    added(
        "exec.env",
        &["-e", "CARGO=two tons", "-e", "HOLD=3"],
        "echo $CARGO $HOLD",
        "two tons 3",
    ),
    added(
        "exec.env.last-one-wins",
        &["--env", "TERM=ship"],
        "echo $TERM",
        "ship",
    ),
    added(
        "exec.cwd",
        &["--cwd", "/tmp"],
        "readlink /proc/self/cwd",
        "/tmp",
    ),
    added("exec.user", &["--user", "1234:4321"], IDS, "1234:4321"),
    added("exec.user.group-stays", &["-u", "1234"], IDS, "1234:7")
        .with(|config| set(config, "/process/user/gid", json!(7))),
    added(
        "exec.user.home",
        &["-u", "1000"],
        "echo $HOME",
        "/home/user",
    ),
    added(
        "exec.additional-gids",
        &["-g", "11", "-g", "22"],
        "id -G",
        "0 5 11 22",
    )
    .with(|config| set(config, "/process/user/additionalGids", json!([5]))),
    added(
        "exec.cap",
        &["--cap", "CAP_SYS_TIME"],
        "grep -c -E '^Cap(Bnd|Prm|Eff).*aa0425fb' /proc/self/status",
        "3",
    ),
    added(
        "exec.no-new-privs",
        &["--no-new-privs"],
        "grep -c NoNewPrivs:.1 /proc/self/status",
        "1",
    ),
    added(
        "exec.process.noNewPrivileges",
        &[],
        "grep -c NoNewPrivs:.1 /proc/self/status",
        "1",
    )
    .with(|config| set(config, "/process/noNewPrivileges", json!(true))),
    added(
        "exec.process.rlimits",
        &[],
        "ulimit -Sn; ulimit -Hn",
        "300\n400",
    )
    .with(|config| {
        let limit = json!({ "type": "RLIMIT_NOFILE", "soft": 300, "hard": 400 });
        set(config, "/process/rlimits", json!([limit]));
    }),
    added("exec.process.user.umask", &[], "umask", "0027")
        .deviates(UMASK)
        .with(|config| set(config, "/process/user/umask", json!(0o027))),
    added(
        "exec.process.oomScoreAdj",
        &[],
        "cat /proc/self/oom_score_adj",
        "765",
    )
    .with(|config| set(config, "/process/oomScoreAdj", json!(765))),
    added("exec.process.cwd", &[], "readlink /proc/self/cwd", "/var")
        .with(|config| set(config, "/process/cwd", json!("/var"))),
    added(
        "exec.process.capabilities",
        &[],
        "grep -c ^Cap.*00000000$ /proc/self/status",
        "5",
    )
    .with(|config| set(config, "/process/capabilities", json!({}))),
    added(
        "exec.process.capabilities.ambient",
        &[],
        "grep -c ^Cap.*00000020$ /proc/self/status",
        "5",
    )
    .with(|config| {
        set(config, "/process/user/uid", json!(1000));
        for kind in [
            "bounding",
            "effective",
            "permitted",
            "inheritable",
            "ambient",
        ] {
            set(
                config,
                &format!("/process/capabilities/{kind}"),
                json!(["CAP_KILL"]),
            );
        }
    }),
    added(
        "exec.linux.seccomp",
        &[],
        "mkdir /tmp/new; grep ^Seccomp: /proc/self/status",
        "mkdir: can't create directory '/tmp/new': Operation not supported\nSeccomp:\t2",
    )
    .with(deny_mkdir),
    added(
        "exec.linux.seccomp.ordinary-user",
        &["-u", "1000"],
        "mkdir /tmp/new; grep NoNewPrivs /proc/self/status",
        "mkdir: can't create directory '/tmp/new': Operation not supported\nNoNewPrivs:\t0",
    )
    .with(deny_mkdir),
    added(
        "exec.linux.readonlyPaths",
        &[],
        "echo x 2>&1 > /proc/sys/kernel/hostname",
        "sh: can't create /proc/sys/kernel/hostname: Read-only file system",
    )
    .with(|config| set(config, "/linux/readonlyPaths", json!(["/proc/sys"]))),
];

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
    scenario("exec.config-is-read-once", read_once)
        .deviates(&[("runc", "reads the bundle's config.json again")]),
    scenario("exec.environment.nothing-of-the-callers", exact_env),
    scenario("exec.umask.not-the-callers", umask).deviates(UMASK),
    scenario("exec.detach", detach),
    scenario("exec.detach.pid-file.is-whole", pid_file_unwritable),
    scenario("exec.cgroups", cgroups),
    scenario("exec.namespaces", namespaces),
    scenario("exec.namespaces.time", time_namespace)
        .deviates(&[("runc", "1.1 knows no time namespaces")]),
    scenario("exec.namespaces.user", user_namespace),
    scenario("exec.namespaces.user.path", user_namespace_by_path),
    scenario("exec.namespaces.no-pid", no_pid_namespace),
    scenario("exec.namespaces.no-mount", no_mount_namespace),
    scenario("exec.fds.no-leak", no_leak),
    scenario("exec.fds.preserve-fds", preserve_fds),
    scenario("exec.signals.none-ignored-or-blocked", signals),
    scenario("exec.forwards-signals", forwards),
    scenario("exec.stdio", stdio),
    scenario("exec.tty.console-socket", console_socket),
    scenario("exec.tty.process-file", console_process_file),
    scenario("exec.tty.foreground.size-from-the-first", first_size)
        .deviates(&[("runc", "sets the size when the program runs already")]),
    scenario("exec.tty.foreground", foreground_terminal)
        .deviates(&[("runc", "sets the size when the program runs already")]),
    scenario(
        "exec.tty.detached-without-socket-is-refused",
        detached_terminal,
    ),
    scenario("exec.is-not-init", not_init),
];

pub(crate) const PAUSES: &[Scenario] = &[
    scenario("pause.round", pause_round),
    scenario("pause.stops-everything", pause_stops),
    scenario("pause.created", pause_created),
    scenario("pause.words", pause_words),
    scenario("pause.exec.ignore-paused", ignore_paused).deviates(&[("runc", "waits for ever")]),
    scenario("ps.json", ps_json),
    scenario("ps.table", ps_table),
    scenario("ps.arguments", ps_arguments),
];

/// Who looks on, starts and stays.
fn sleeper(scene: &mut Scene<'_>) -> Check<i32> {
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
fn exec(scene: &Scene<'_>, flags: &[&str], command: &[&str]) -> Call {
    let mut args = vec!["exec"];
    args.extend(flags);
    args.push(&scene.id);
    args.extend(command);
    scene.call(&args)
}

/// What a script says in the container.
fn says(scene: &Scene<'_>, flags: &[&str], script: &str) -> Check<String> {
    let ran = exec(scene, flags, &["sh", "-c", script]).run()?.must()?;
    Ok(ran.stdout.trim().to_owned())
}

/// The process of a detached exec, which is ours to reap.
struct Detached(i32);

impl Detached {
    fn start(scene: &Scene<'_>, flags: &[&str], command: &[&str]) -> Check<Detached> {
        let file = scene.path("exec-pid").display().to_string();
        let mut all = vec!["--detach", "--pid-file", &file];
        all.extend(flags);
        exec(scene, &all, command).run()?.must()?;
        Ok(Detached(fs::read_to_string(file)?.parse()?))
    }

    fn proc(&self, name: &str) -> String {
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
fn failed(ran: &Ran, words: &str) -> Check {
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

fn process(scene: &Scene<'_>, process: &Value) -> Check<String> {
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

/// Each line of `/proc/PID/cgroup`: all v1 hierarchies and cgroup2.
fn cgroups(scene: &mut Scene<'_>) -> Check {
    let init = sleeper(scene)?;
    let detached = Detached::start(scene, &[], &["sleep", "297"])?;
    let (own, others) = (
        detached.proc("cgroup"),
        fs::read_to_string(format!("/proc/{init}/cgroup"))?,
    );
    ensure!(
        own == others && own.contains(&scene.cgroup),
        "it is in {own}, init in {others}"
    );
    Ok(())
}

fn links(pid: i32) -> Check<Vec<(String, PathBuf)>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(format!("/proc/{pid}/ns"))? {
        let entry = entry?;
        all.push((
            entry.file_name().to_string_lossy().into_owned(),
            fs::read_link(entry.path())?,
        ));
    }
    all.sort();
    Ok(all)
}

/// Init's in every kind; the number of those that are not the host's.
fn same_namespaces(scene: &Scene<'_>, init: i32) -> Check<usize> {
    let detached = Detached::start(scene, &[], &["sleep", "296"])?;
    let (its, inits) = (links(detached.0)?, links(init)?);
    ensure!(its == inits, "it is in {its:?}, init in {inits:?}");
    let host = links(i32::try_from(std::process::id())?)?;
    Ok(its.iter().filter(|link| !host.contains(link)).count())
}

fn namespaces(scene: &mut Scene<'_>) -> Check {
    config::namespace(&mut scene.config, json!({ "type": "cgroup" }));
    let init = sleeper(scene)?;
    // pid counts twice, for itself and for children.
    let own = same_namespaces(scene, init)?;
    ensure!(own == 7, "{own} of its namespaces are not the host's");
    Ok(())
}

fn time_namespace(scene: &mut Scene<'_>) -> Check {
    config::namespace(&mut scene.config, json!({ "type": "time" }));
    let init = sleeper(scene)?;
    let own = same_namespaces(scene, init)?;
    ensure!(own == 8, "{own} of its namespaces are not the host's");
    Ok(())
}

fn user_namespace(scene: &mut Scene<'_>) -> Check {
    config::user_namespace(&mut scene.config);
    let init = sleeper(scene)?;
    let own = same_namespaces(scene, init)?;
    ensure!(own == 7, "{own} of its namespaces are not the host's");
    let seen = says(
        scene,
        &["--user", "1000:5"],
        "id -u; id -g; cut -c1-40 /proc/self/uid_map | tr -s ' '",
    )?;
    ensure!(
        seen.starts_with("1000\n5\n") && seen.contains("100000"),
        "{seen}"
    );
    let ran = exec(scene, &[], &["/no/such/tool"]).run()?;
    failed(&ran, "no such file or directory")
}

fn user_namespace_by_path(scene: &mut Scene<'_>) -> Check {
    let holder = Holder::start("user")?;
    config::user_namespace(&mut scene.config);
    config::namespace(
        &mut scene.config,
        json!({ "type": "user", "path": holder.path("user") }),
    );
    scene.holder = Some(holder);
    let init = sleeper(scene)?;
    let own = same_namespaces(scene, init)?;
    ensure!(own == 7, "{own} of its namespaces are not the host's");
    let seen = says(scene, &[], "id -u; touch /tmp/x && stat -c %u /tmp/x")?;
    ensure!(seen == "0\n0", "{seen}");
    Ok(())
}

fn no_pid_namespace(scene: &mut Scene<'_>) -> Check {
    config::no_namespace(&mut scene.config, "pid");
    let init = sleeper(scene)?;
    same_namespaces(scene, init)?;
    let ran = exec(scene, &[], &["sh", "-c", "kill -TERM $$; sleep 5"]).run()?;
    ensure!(ran.code() == 143, "{}", ran.story());
    scene.must_be("running")
}

/// Its root is the container's, though its mount namespace is the host's.
fn no_mount_namespace(scene: &mut Scene<'_>) -> Check {
    if scene.runtime().name == "runc" {
        let why = "it needs a /proc there, and leaves the root mounted on the host";
        return Err(Stop::Skip(why.to_owned()));
    }
    config::no_namespace(&mut scene.config, "mount");
    set(&mut scene.config, "/mounts", json!([]));
    scene.file("rootfs/etc/mark", "chroot")?;
    let outside = scene.executable("outside", "#!/bin/sh\n")?;
    let init = sleeper(scene)?;
    same_namespaces(scene, init)?;
    let seen = says(
        scene,
        &["--cwd", "/etc"],
        "cat mark; ls -d ../../../../bin/busybox",
    )?;
    ensure!(seen == "chroot../../../../bin/busybox", "{seen}");
    failed(
        &exec(scene, &[], &[&outside]).run()?,
        "no such file or directory",
    )
}

fn open(scene: &Scene<'_>, number: i32) -> Check<(std::os::fd::OwnedFd, i32)> {
    let name = format!("fd{number}");
    scene.file(&name, &name)?;
    Ok((File::open(scene.path(&name))?.into(), number))
}

/// The caller holds descriptors 9 and 10 open, as careless engines do.
fn no_leak(scene: &mut Scene<'_>) -> Check {
    sleeper(scene)?;
    let mut call = exec(scene, &[], &["ls", "/proc/self/fd"]);
    call.fds = vec![open(scene, 9)?, open(scene, 10)?];
    let ran = call.run()?;
    let fds: Vec<&str> = ran.stdout.split_whitespace().collect();
    ensure!(fds == ["0", "1", "2", "3"], "{}", ran.story());
    Ok(())
}

fn preserve_fds(scene: &mut Scene<'_>) -> Check {
    sleeper(scene)?;
    let script = "cat <&3; cat <&4; ls /proc/self/fd | tr '\\n' ' '";
    let mut call = exec(scene, &["--preserve-fds", "2"], &["sh", "-c", script]);
    call.fds = vec![open(scene, 3)?, open(scene, 4)?, open(scene, 5)?];
    let ran = call.run()?;
    ensure!(
        ran.ok() && ran.stdout.trim() == "fd3fd40 1 2 3 4 5",
        "{}",
        ran.story()
    );
    Ok(())
}

fn signals(scene: &mut Scene<'_>) -> Check {
    sleeper(scene)?;
    scene.ignored = &[libc::SIGPIPE, libc::SIGUSR1, libc::SIGHUP, libc::SIGINT];
    let seen = says(
        scene,
        &[],
        "exec grep -E '^Sig(Ign|Blk|Pnd)' /proc/self/status",
    )?;
    ensure!(seen.matches("0000000000000000").count() == 3, "{seen}");
    Ok(())
}

fn forwards(scene: &mut Scene<'_>) -> Check {
    sleeper(scene)?;
    let script = "trap 'echo term; exit 7' TERM; trap 'echo usr1' USR1; echo ready; while :; do sleep 0.02; done";
    let running = exec(scene, &[], &["sh", "-c", script]).spawn()?;
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

fn stdio(scene: &mut Scene<'_>) -> Check {
    sleeper(scene)?;
    scene.file("input", "typed\n")?;
    let mut call = exec(
        scene,
        &[],
        &["sh", "-c", "read line; echo \"<$line>\"; echo err >&2"],
    );
    call.stdin = Some(File::open(scene.path("input"))?.into());
    let ran = call.run()?;
    ensure!(
        ran.ok() && ran.stdout == "<typed>\n" && ran.stderr == "err\n",
        "{}",
        ran.story()
    );
    Ok(())
}

const ON_A_TERMINAL: &str = "for n in 0 1 2; do [ -t $n ] && echo yes $n; done; (exec 3</dev/tty) && echo own; \
     trap 'echo interrupted' INT; read line; echo \"<$line>\"; while :; do sleep 0.02; done";

/// The master goes over the socket, and the terminal is a controlling one, of the container's own devpts.
fn on_a_terminal(scene: &Scene<'_>, flags: &[&str], command: &[&str]) -> Check {
    let path = scene.path("console");
    let listener = UnixListener::bind(&path)?;
    let socket = path.display().to_string();
    let mut all = vec!["--console-socket", &socket];
    all.extend(flags);
    let _detached = Detached::start(scene, &all, command)?;
    let mut terminal = Terminal::take(&listener)?;
    for text in ["yes 0", "yes 1", "yes 2", "own"] {
        terminal.expect(text)?;
    }
    std::io::Write::write_all(&mut terminal.master, b"ahoy\n")?;
    terminal.expect("<ahoy>\r\n")?;
    std::io::Write::write_all(&mut terminal.master, b"\x03")?;
    terminal.expect("interrupted")
}

fn console_socket(scene: &mut Scene<'_>) -> Check {
    sleeper(scene)?;
    on_a_terminal(scene, &["--tty"], &["sh", "-c", ON_A_TERMINAL])
}

/// As podman calls it: what counts is the file's `terminal`.
fn console_process_file(scene: &mut Scene<'_>) -> Check {
    config::user_namespace(&mut scene.config);
    sleeper(scene)?;
    let path = process(
        scene,
        &json!({
            "terminal": true, "user": { "uid": 0, "gid": 0 }, "cwd": "/",
            "args": ["sh", "-c", ON_A_TERMINAL], "env": ["PATH=/bin"],
        }),
    )?;
    on_a_terminal(scene, &["--tty", "--process", &path], &[])
}

fn foreground_terminal(scene: &mut Scene<'_>) -> Check {
    sleeper(scene)?;
    on_the_callers_terminal(scene, exec(scene, &["-t"], &["sh", "-c", CALLER_SEES]))
}

/// A program that asks at once, again and again: one that asks too early would be told 0 0.
fn first_size(scene: &mut Scene<'_>) -> Check {
    sleeper(scene)?;
    let inner = exec(scene, &["-t"], &["stty", "size"]);
    let times = 20;
    let again = format!("for n in $(seq {times}); do {}; done", quoted(&inner));
    let ran = in_a_terminal(scene, inner, &again, "")?.must()?;
    let told = ran.stdout.matches("17 61").count();
    ensure!(told == times, "{told} times of {times}: {}", ran.story());
    Ok(())
}

fn detached_terminal(scene: &mut Scene<'_>) -> Check {
    let init = sleeper(scene)?;
    let words = "cannot allocate tty if runc will detach without setting console socket";
    let ran = exec(scene, &["--tty", "--detach"], &["true"]).run()?;
    failed(&ran, words)?;
    ensure!(
        crate::cgroups::processes(&scene.cgroup) == [init],
        "a process stayed"
    );
    Ok(())
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

fn pause_round(scene: &mut Scene<'_>) -> Check {
    sleeper(scene)?;
    scene.must("pause")?;
    scene.must_be("paused")?;
    failed(
        &exec(scene, &[], &["true"]).run()?,
        "cannot exec in a paused container (use --ignore-paused to override)",
    )?;
    scene.must("resume")?;
    scene.must_be("running")?;
    ensure!(says(scene, &[], "echo well")? == "well", "no exec after it");
    Ok(())
}

/// The program and what was added to it; and both go on.
fn pause_stops(scene: &mut Scene<'_>) -> Check {
    scene.script("while :; do echo x >> /own; sleep 0.01; done");
    scene.start()?;
    let _detached = Detached::start(
        scene,
        &[],
        &["sh", "-c", "while :; do echo x >> /added; sleep 0.01; done"],
    )?;
    let lengths = || {
        ["rootfs/own", "rootfs/added"]
            .map(|name| fs::metadata(scene.path(name)).map_or(0, |file| file.len()))
    };
    until(
        || lengths().iter().all(|length| *length > 2),
        "both programs",
    )?;
    scene.must("pause")?;
    let before = lengths();
    std::thread::sleep(Duration::from_millis(200));
    ensure!(lengths() == before, "something runs in a paused container");
    scene.must("resume")?;
    until(
        || lengths().iter().zip(before).all(|(now, then)| *now > then),
        "both programs to go on",
    )
}

fn pause_created(scene: &mut Scene<'_>) -> Check {
    scene.create()?;
    scene.must("pause")?;
    scene.must_be("paused")?;
    scene.must("resume")?;
    scene.must_be("created")
}

fn pause_words(scene: &mut Scene<'_>) -> Check {
    sleeper(scene)?;
    let refused = |verb, words: &str| {
        let ran = scene.verb(verb)?;
        ensure!(
            ran.code() == 1 && ran.stderr.contains(words),
            "wanted {words:?}: {}",
            ran.story()
        );
        Ok(())
    };
    refused("resume", "container not paused")?;
    scene.must("pause")?;
    refused("pause", "container not running")?;
    scene.must_be("paused")?;
    scene.must("resume")?;
    refused("resume", "container not paused")?;
    scene.call(&["kill", &scene.id, "KILL"]).run()?.must()?;
    scene.wait_status("stopped")?;
    refused("pause", "container not running")?;
    refused("resume", "container not paused")
}

/// It is held until the container goes on, or the runtime gives up; it must not hang, and nothing stays.
fn ignore_paused(scene: &mut Scene<'_>) -> Check {
    let init = sleeper(scene)?;
    scene.must("pause")?;
    let ran = exec(scene, &["--ignore-paused"], &["true"]).run()?;
    ensure!(ran.status.is_some(), "{}", ran.story());
    failed(&ran, "")?;
    scene.must("resume")?;
    until(
        || while_reaping(|| crate::cgroups::processes(&scene.cgroup)) == [init],
        "the end of the process",
    )?;
    ensure!(says(scene, &[], "echo well")? == "well", "no exec after it");
    Ok(())
}

/// All processes, with the host's numbers.
fn ps_json(scene: &mut Scene<'_>) -> Check {
    let init = sleeper(scene)?;
    let detached = Detached::start(scene, &[], &["sleep", "294"])?;
    for args in [&["ps", "--format", "json"][..], &["ps", "-f=json"]] {
        let mut args = args.to_vec();
        args.push(&scene.id);
        let ran = scene.call(&args).run()?.must()?;
        let mut pids: Vec<i32> = serde_json::from_str(&ran.stdout)?;
        pids.sort_unstable();
        let mut wanted = [init, detached.0];
        wanted.sort_unstable();
        ensure!(pids == wanted, "wanted {wanted:?}: {}", ran.story());
    }
    Ok(())
}

fn ps_table(scene: &mut Scene<'_>) -> Check {
    let init = sleeper(scene)?;
    let _detached = Detached::start(scene, &[], &["sleep", "293"])?;
    let ran = scene.must("ps")?;
    let lines: Vec<&str> = ran.stdout.lines().collect();
    ensure!(lines.len() == 3, "{}", ran.story());
    ensure!(
        lines.first().is_some_and(|line| line.starts_with("UID ")),
        "{}",
        ran.story()
    );
    ensure!(
        ran.stdout.contains(&init.to_string()) && ran.stdout.contains("sleep 293"),
        "{}",
        ran.story()
    );
    Ok(())
}

fn ps_arguments(scene: &mut Scene<'_>) -> Check {
    let init = sleeper(scene)?;
    let ran = scene
        .call(&["ps", &scene.id, "-e", "-o", "pid,args"])
        .run()?
        .must()?;
    let words: Vec<&str> = ran.stdout.split_whitespace().collect();
    ensure!(
        words == ["PID", "COMMAND", &init.to_string(), "/bin/sleep", "300"],
        "{}",
        ran.story()
    );
    let ran = scene.call(&["ps", "--format", "runes", &scene.id]).run()?;
    ensure!(ran.code() == 1, "{}", ran.story());
    Ok(())
}
