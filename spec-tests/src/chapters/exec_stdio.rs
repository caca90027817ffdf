//! What a further process has from `exec`'s caller: descriptors, signals, a terminal.

use std::fs::File;
use std::os::unix::net::UnixListener;

use serde_json::json;

use super::console::{CALLER_SEES, Terminal, in_a_terminal, on_the_callers_terminal, quoted};
use super::exec::{Detached, exec, failed, process, says, sleeper};
use super::lifecycle::{TRAPS, passes_signals_on};
use crate::config;
use crate::property::{Scenario, scenario};
use crate::scene::Scene;
use crate::suite::{Check, ensure};

pub(crate) const SCENARIOS: &[Scenario] = &[
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
];

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
    passes_signals_on(exec(scene, &[], &["sh", "-c", TRAPS]))
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
