//! De facto: `checkpoint` and `restore`, by CRIU. Where CRIU can't work (newer kernels than it knows) a VM has it.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::process::Command;
use std::time::Duration;

use serde_json::json;

use super::console::Terminal;
use crate::cgroups;
use crate::config::{mount, push, set};
use crate::property::{Scenario, scenario};
use crate::runtime::Ran;
use crate::scene::{Scene, until};
use crate::suite::{Check, Stop, View, ensure};

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario("checkpoint.goes-on-where-it-was", goes_on),
    scenario("checkpoint.ends-the-container", ends),
    scenario("checkpoint.leave-running", leave_running),
    scenario("checkpoint.pre-dump", pre_dump),
    scenario("checkpoint.twice", twice),
    scenario("checkpoint.tcp-established", tcp)
        .deviates(&[("runc", "the restored network namespace has its lo down")]),
    scenario("checkpoint.failure-leaves-it-running", failure),
    scenario("checkpoint.bind-mounts", binds),
    scenario("checkpoint.mount-points-in-another-root", mount_points),
    scenario("checkpoint.masked-paths", masks),
    scenario("checkpoint.terminal", terminal),
    scenario("checkpoint.pipes", pipes),
    scenario("checkpoint.null-stdio", null_stdio),
    scenario("checkpoint.another-id", another_id)
        .on(View::V2)
        .deviates(&[(
            "runc",
            "1.1 restores into the cgroup of the dumped container",
        )]),
    scenario("checkpoint.host-cgroup2-as-it-was", host_cgroups)
        .on(View::V2)
        .deviates(&[(
            "runc",
            "CRIU's own mount of cgroup2 takes the host's options",
        )]),
    scenario("checkpoint.network-namespace-by-path", network_by_path),
    scenario("checkpoint.hooks", hooks),
    scenario("checkpoint.work-path", work_path),
    scenario("checkpoint.paused", paused),
];

/// Counts on in a variable of its own, and says how far it is. Where it begins is told once: what begins anew is behind
/// what goes on.
const COUNTER: &str = "exec </dev/null >/dev/null 2>&1; i=$(cat /tmp/begin); \
    while :; do i=$((i+1)); echo $i > /tmp/count.new; mv /tmp/count.new /tmp/count; usleep 20000; done";
const BEGIN: u64 = 1_000_000;

/// CRIU takes its time, the more where the processor is emulated.
const PATIENCE: Duration = Duration::from_secs(60);

/// Is there a CRIU that works with this kernel?
pub(super) fn criu(scene: &mut Scene<'_>) -> Check {
    let elsewhere = |why: String| Err(Stop::Skip(format!("{why}; a VM has one that does")));
    match Command::new("criu").arg("check").output() {
        Err(_) => return elsewhere("no CRIU here".to_owned()),
        Ok(ran) if !ran.status.success() => {
            let words = String::from_utf8_lossy(&ran.stderr).into_owned();
            let last = words.lines().rev().find(|line| line.contains("Error"));
            return elsewhere(format!("criu check: {}", last.unwrap_or("failed")));
        }
        Ok(_) => {}
    }
    if scene.runtime().name == "crun" && !crun_can() {
        return Err(Stop::Skip("this crun was built without CRIU".to_owned()));
    }
    Ok(())
}

fn crun_can() -> bool {
    let version = Command::new("crun").arg("--version").output();
    version.is_ok_and(|ran| String::from_utf8_lossy(&ran.stdout).contains("+CRIU"))
}

pub(super) fn count(scene: &Scene<'_>) -> u64 {
    let text = fs::read_to_string(scene.path("rootfs/tmp/count")).unwrap_or_default();
    text.trim().parse().unwrap_or(0)
}

pub(super) fn counts_past(scene: &Scene<'_>, number: u64) -> Check {
    until(|| count(scene) > number, &format!("a count above {number}"))
}

/// A container that counts, and has begun.
pub(super) fn counting(scene: &mut Scene<'_>) -> Check<i32> {
    criu(scene)?;
    scene.script(COUNTER);
    let pid = begin(scene)?;
    counts_past(scene, BEGIN + 3)?;
    Ok(pid)
}

/// A container that can be told from one that begins anew: it alone finds a number in /tmp/begin.
pub(super) fn begin(scene: &Scene<'_>) -> Check<i32> {
    scene.file("rootfs/tmp/begin", &BEGIN.to_string())?;
    scene.start()
}

pub(super) fn checkpoint(scene: &Scene<'_>, more: &[&str]) -> Check<Ran> {
    let images = scene.path("images").display().to_string();
    let mut args = vec!["checkpoint", "--image-path", &images];
    args.extend(more);
    args.push(&scene.id);
    let ran = scene.call(&args).spawn()?.wait(PATIENCE)?;
    scene.file("rootfs/tmp/begin", "0")?;
    Ok(ran)
}

pub(super) fn try_restore(scene: &Scene<'_>, more: &[&str]) -> Check<Ran> {
    let images = scene.path("images").display().to_string();
    let pid_file = scene.path("pid").display().to_string();
    let mut args = vec![
        "restore",
        "--detach",
        "--image-path",
        &images,
        "--pid-file",
        &pid_file,
    ];
    args.extend(more);
    args.push(&scene.id);
    let _ = fs::remove_file(&pid_file); // of the container that was checkpointed
    scene.finish_create_within(scene.call(&args), PATIENCE)
}

pub(super) fn restore(scene: &Scene<'_>, more: &[&str]) -> Check<i32> {
    try_restore(scene, more)?.must()?;
    let pid = fs::read_to_string(scene.path("pid"))?;
    pid.parse()
        .map_err(|_| Stop::Fail(format!("pid file: {pid:?}")))
}

/// What most chapters do with it.
pub(super) fn goes_on_from_here(scene: &mut Scene<'_>) -> Check<i32> {
    counting(scene)?;
    there_and_back(scene)
}

fn there_and_back(scene: &mut Scene<'_>) -> Check<i32> {
    checkpoint(scene, &[])?.must()?;
    let before = count(scene);
    let pid = restore(scene, &[])?;
    counts_past(scene, before)?;
    Ok(pid)
}

/// Away and back, while nothing else happened: it counts on from where it was.
fn goes_on(scene: &mut Scene<'_>) -> Check {
    counting(scene)?;
    checkpoint(scene, &[])?.must()?;
    for name in ["inventory.img", "descriptors.json", "dump.log"] {
        ensure!(scene.path("images").join(name).is_file(), "no {name}");
    }
    let before = count(scene);
    fs::remove_file(scene.path("rootfs/tmp/count"))?;
    let pid = restore(scene, &[])?;
    counts_past(scene, before)?;
    scene.must_be("running")?;
    ensure!(
        scene.state()?["pid"] == json!(pid),
        "another pid than in the pid file"
    );
    ensure!(scene.path("images/restore.log").is_file(), "no restore.log");
    scene
        .call(&["delete", "--force", &scene.id])
        .run()?
        .must()?;
    scene.leaves_nothing()
}

/// Without being told otherwise, and its poststop hooks run.
fn ends(scene: &mut Scene<'_>) -> Check {
    criu(scene)?;
    let hook = scene.executable("hook", "#!/bin/sh\ntouch \"$0.ran\"\n")?;
    push(
        &mut scene.config,
        "/hooks/poststop",
        json!({ "path": hook }),
    );
    counting(scene)?;
    checkpoint(scene, &[])?.must()?;
    let state = scene.verb("state")?;
    ensure!(!state.ok(), "still there: {}", state.story());
    ensure!(scene.path("hook.ran").exists(), "no poststop hook has run");
    scene.leaves_nothing()
}

fn leave_running(scene: &mut Scene<'_>) -> Check {
    let pid = counting(scene)?;
    checkpoint(scene, &["--leave-running"])?.must()?;
    scene.must_be("running")?;
    ensure!(scene.state()?["pid"] == json!(pid), "another process");
    counts_past(scene, count(scene) + 1)
}

/// Its pages are only in the pre-dump's directory.
fn pre_dump(scene: &mut Scene<'_>) -> Check {
    counting(scene)?;
    let parent = scene.path("pre").display().to_string();
    let pre = scene.call(&[
        "checkpoint",
        "--pre-dump",
        "--image-path",
        &parent,
        &scene.id,
    ]);
    pre.run()?.must()?;
    scene.must_be("running")?;
    checkpoint(scene, &["--parent-path", "../pre"])?.must()?;
    ensure!(
        scene.path("images/parent").is_symlink(),
        "the images do not build on the pre-dump"
    );
    let before = count(scene);
    restore(scene, &[])?;
    counts_past(scene, before)
}

/// What was restored can be checkpointed again.
fn twice(scene: &mut Scene<'_>) -> Check {
    counting(scene)?;
    for _ in 0..2 {
        there_and_back(scene)?;
        fs::remove_dir_all(scene.path("images"))?;
    }
    Ok(())
}

/// A server and a client in the container; what the client says after the restore comes back through the server.
const CONNECTED: &str = "exec </dev/null >/dev/null 2>&1; mkfifo /tmp/say; \
    nc -l -p 7777 -e cat & \
    until netstat -ltn | grep -q 7777; do usleep 100000; done; \
    (while :; do cat /tmp/say; done | nc 127.0.0.1 7777 > /tmp/heard) & \
    wait";

fn connected(scene: &mut Scene<'_>) -> Check {
    criu(scene)?;
    scene.script(CONNECTED);
    scene.start()?;
    say(scene, "one")?;
    heard(scene, "one\n")
}

/// Waits for the client, and for its pipe before that.
fn say(scene: &Scene<'_>, word: &str) -> Check {
    let script = format!("until [ -p /tmp/say ]; do usleep 20000; done; echo {word} > /tmp/say");
    let call = scene.call(&["exec", &scene.id, "sh", "-c", &script]);
    call.run()?.must()?;
    Ok(())
}

fn heard(scene: &Scene<'_>, text: &str) -> Check {
    let file = scene.path("rootfs/tmp/heard");
    until(
        || fs::read_to_string(&file).is_ok_and(|heard| heard == text),
        &format!("{text:?} over the connection"),
    )
}

fn tcp(scene: &mut Scene<'_>) -> Check {
    connected(scene)?;
    checkpoint(scene, &["--tcp-established"])?.must()?;
    restore(scene, &["--tcp-established"])?;
    say(scene, "two")?;
    heard(scene, "one\ntwo\n")
}

/// A connection is not taken along unasked.
fn failure(scene: &mut Scene<'_>) -> Check {
    connected(scene)?;
    let ran = checkpoint(scene, &[])?;
    ensure!(
        !ran.ok(),
        "a connection was dumped unasked: {}",
        ran.story()
    );
    if scene.runtime().name == "longshore" {
        let one_line = ran.stderr.lines().count() == 1;
        ensure!(
            one_line && ran.stderr.contains("dump.log"),
            "{}",
            ran.story()
        );
    }
    scene.must_be("running")?;
    say(scene, "two")?;
    heard(scene, "one\ntwo\n")
}

fn binds(scene: &mut Scene<'_>) -> Check {
    criu(scene)?;
    scene.open_dir("shared")?;
    scene.file("single", "of the host\n")?;
    let (directory, file) = (scene.path("shared"), scene.path("single"));
    mount(
        &mut scene.config,
        "/mnt/dir",
        "bind",
        &directory.display().to_string(),
        &["rbind"],
    );
    mount(
        &mut scene.config,
        "/mnt/file",
        "bind",
        &file.display().to_string(),
        &["bind", "ro"],
    );
    scene.script(
        "exec </dev/null >/dev/null 2>&1; begin=$(cat /tmp/begin); echo up > /mnt/dir/up; \
         while :; do [ -e /mnt/dir/ask ] && { echo $begin; cat /mnt/file; } > /mnt/dir/answer; usleep 20000; done",
    );
    begin(scene)?;
    until(|| scene.path("shared/up").exists(), "the program")?;
    checkpoint(scene, &[])?.must()?;
    restore(scene, &[])?;
    scene.file("single", "of the host, later\n")?;
    scene.file("shared/ask", "")?;
    let answer = scene.path("shared/answer");
    let wanted = format!("{BEGIN}\nof the host, later\n");
    until(
        || fs::read_to_string(&answer).is_ok_and(|text| text == wanted),
        "the host's file through the restored mounts",
    )
}

/// Engines carry images to hosts where the root filesystem is as it came.
fn mount_points(scene: &mut Scene<'_>) -> Check {
    criu(scene)?;
    scene.open_dir("shared")?;
    scene.file("single", "")?;
    let (directory, file) = (scene.path("shared"), scene.path("single"));
    mount(
        &mut scene.config,
        "/made/dir",
        "bind",
        &directory.display().to_string(),
        &["rbind"],
    );
    mount(
        &mut scene.config,
        "/made/file",
        "bind",
        &file.display().to_string(),
        &["bind"],
    );
    counting(scene)?;
    checkpoint(scene, &[])?.must()?;
    let before = count(scene);
    fs::remove_dir_all(scene.path("rootfs/made"))?;
    restore(scene, &[])?;
    counts_past(scene, before)
}

/// A file and a directory that are hidden stay hidden.
fn masks(scene: &mut Scene<'_>) -> Check {
    criu(scene)?;
    scene.file("rootfs/secret", "secret\n")?;
    scene.file("rootfs/secrets/one", "secret\n")?;
    set(
        &mut scene.config,
        "/linux/maskedPaths",
        json!(["/secret", "/secrets", "/proc/kcore"]),
    );
    set(
        &mut scene.config,
        "/linux/readonlyPaths",
        json!(["/proc/sys"]),
    );
    goes_on_from_here(scene)?;
    let look = "cat /secret; ls /secrets; cat /proc/kcore; touch /secrets/x 2>/dev/null && echo writable; \
        echo 1 > /proc/sys/kernel/domainname 2>/dev/null && echo sysctl; true";
    let ran = scene
        .call(&["exec", &scene.id, "sh", "-c", look])
        .run()?
        .must()?;
    ensure!(ran.stdout.is_empty(), "not hidden: {}", ran.story());
    Ok(())
}

fn terminal(scene: &mut Scene<'_>) -> Check {
    criu(scene)?;
    set(&mut scene.config, "/process/terminal", json!(true));
    scene.script("i=0; while read line; do i=$((i+1)); echo \"<$i $line>\"; done");
    scene.write_config()?;
    let path = scene.path("console");
    let listener = UnixListener::bind(&path)?;
    let path = path.display().to_string();
    scene
        .finish_create(scene.create_call(&["--console-socket", &path]))?
        .must()?;
    let mut terminal = Terminal::take(&listener)?;
    scene.must("start")?;
    terminal.master.write_all(b"before\n")?;
    terminal.expect("<1 before>")?;
    checkpoint(scene, &[])?.must()?;
    drop(terminal);
    restore(scene, &["--console-socket", &path])?;
    let mut terminal = Terminal::take(&listener)?;
    terminal.master.write_all(b"after\n")?;
    terminal.expect("<2 after>")
}

/// What was a pipe of the engine's is the new engine's pipe.
fn pipes(scene: &mut Scene<'_>) -> Check {
    criu(scene)?;
    scene.script(
        "exec </dev/null 2>/dev/null; i=$(cat /tmp/begin); while :; do echo $i; usleep 20000; done",
    );
    scene.file("rootfs/tmp/begin", &BEGIN.to_string())?;
    scene.write_config()?;
    let (reader, writer) = std::io::pipe()?;
    let mut create = scene.create_call(&[]);
    create.stdout = Some(writer.into());
    scene.finish_create(create)?.must()?;
    scene.must("start")?;
    let mut text = [0; 7];
    (&reader).read_exact(&mut text)?;
    checkpoint(scene, &[])?.must()?;
    drop(reader);
    let (mut reader, writer) = std::io::pipe()?;
    let images = scene.path("images").display().to_string();
    let mut call = scene.call(&["restore", "--detach", "--image-path", &images, &scene.id]);
    call.stdout = Some(writer.into());
    call.run()?.must()?;
    reader.read_exact(&mut text)?;
    let text = String::from_utf8_lossy(&text);
    ensure!(text == BEGIN.to_string(), "over the pipe came {text:?}");
    Ok(())
}

/// Engines start programs so: the host's device must not be what a checkpoint finds.
fn null_stdio(scene: &mut Scene<'_>) -> Check {
    criu(scene)?;
    scene.script(COUNTER.trim_start_matches("exec </dev/null >/dev/null 2>&1; "));
    scene.write_config()?;
    let null = || fs::File::options().read(true).write(true).open("/dev/null");
    scene.file("rootfs/tmp/begin", &BEGIN.to_string())?;
    let mut create = scene.create_call(&[]);
    create.stdout = Some(null()?.into());
    create.stderr = Some(null()?.into());
    scene.finish_create(create)?.must()?;
    scene.must("start")?;
    counts_past(scene, BEGIN + 1)?;
    there_and_back(scene)?;
    Ok(())
}

/// In its own cgroup, and not in the one of the container that it was.
fn another_id(scene: &mut Scene<'_>) -> Check {
    counting(scene)?;
    checkpoint(scene, &[])?.must()?;
    let before = count(scene);
    scene.id.push_str("-b");
    if scene.suite.systemd {
        scene.in_scope("system.slice");
    } else {
        scene.cgroup.push_str("-b");
        let cgroup = json!(scene.cgroup);
        set(&mut scene.config, "/linux/cgroupsPath", cgroup);
    }
    scene.write_config()?;
    let pid = restore(scene, &[])?;
    counts_past(scene, before)?;
    ensure!(
        cgroups::processes(&scene.cgroup).contains(&pid),
        "init is not in {}",
        scene.cgroup
    );
    Ok(())
}

/// nsdelegate above all: without it a container may move processes out of its cgroup namespace.
fn host_cgroups(scene: &mut Scene<'_>) -> Check {
    let options = || -> Check<String> {
        let mounts = fs::read_to_string("/proc/self/mountinfo")?;
        let line = mounts.lines().find(|line| line.contains(" - cgroup2 "));
        let options = line.and_then(|line| line.rsplit(' ').next());
        Ok(options.unwrap_or_default().to_owned())
    };
    if !options()?.contains("nsdelegate") {
        return Err(Stop::Skip("this host's cgroup2 has no nsdelegate".into()));
    }
    goes_on_from_here(scene)?;
    let after = options()?;
    ensure!(
        after.contains("nsdelegate"),
        "the host's cgroup2 has {after}"
    );
    Ok(())
}

/// It belongs to somebody else, and is not dumped.
fn network_by_path(scene: &mut Scene<'_>) -> Check {
    criu(scene)?;
    let holder = crate::holder::Holder::start("network")?;
    let path = holder.path("network");
    crate::config::no_namespace(&mut scene.config, "network");
    crate::config::namespace(
        &mut scene.config,
        json!({ "type": "network", "path": path }),
    );
    scene.holder = Some(holder);
    let pid = goes_on_from_here(scene)?;
    let now = fs::read_link(format!("/proc/{pid}/ns/net"))?;
    ensure!(
        now == fs::read_link(&path)?,
        "in network namespace {}",
        now.display()
    );
    Ok(())
}

/// Networks are theirs to bring again.
fn hooks(scene: &mut Scene<'_>) -> Check {
    criu(scene)?;
    let text = "#!/bin/sh\necho \"$1 $(cat)\" >> \"$0.log\"\n";
    let hook = scene.executable("hook", text)?;
    for kind in ["prestart", "createRuntime", "poststart"] {
        let place = format!("/hooks/{kind}");
        push(
            &mut scene.config,
            &place,
            json!({ "path": hook, "args": ["hook", kind] }),
        );
    }
    counting(scene)?;
    checkpoint(scene, &[])?.must()?;
    let before = count(scene);
    fs::write(scene.path("hook.log"), "")?;
    let pid = restore(scene, &[])?;
    counts_past(scene, before)?;
    let log = fs::read_to_string(scene.path("hook.log"))?;
    let kinds: Vec<_> = log
        .lines()
        .filter_map(|line| line.split(' ').next())
        .collect();
    ensure!(
        kinds == ["prestart", "createRuntime"],
        "hooks at restore: {log}"
    );
    let pid = format!("\"pid\":{pid},");
    ensure!(
        log.lines().all(|line| line.contains(&pid)),
        "not {pid}: {log}"
    );
    Ok(())
}

fn work_path(scene: &mut Scene<'_>) -> Check {
    counting(scene)?;
    let work = scene.path("work").display().to_string();
    checkpoint(scene, &["--work-path", &work])?.must()?;
    ensure!(
        scene.path("work/dump.log").is_file(),
        "no dump.log in the work path"
    );
    ensure!(
        !scene.path("images/dump.log").exists(),
        "dump.log among the images"
    );
    let before = count(scene);
    restore(scene, &["--work-path", &work])?;
    counts_past(scene, before)?;
    ensure!(
        scene.path("work/restore.log").is_file(),
        "no restore.log in the work path"
    );
    Ok(())
}

fn paused(scene: &mut Scene<'_>) -> Check {
    counting(scene)?;
    scene.must("pause")?;
    checkpoint(scene, &["--leave-running"])?.must()?;
    if scene.status()? == "paused" {
        scene.must("resume")?;
    }
    counts_past(scene, count(scene))
}
