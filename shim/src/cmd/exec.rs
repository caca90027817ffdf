//! `exec`.

use super::{
    Failure, Outcome, Preserved, WAITED, console, inside, note, number, pidfd_socket, wait,
};
use crate::cli::Invocation;
use crate::log::Log;
use longshore::foreground::Foreground;
use longshore::{Container, Exec, Runtime, Timings};
use std::time::SystemTime;

/// Engines tell an error of ours from the process's own status by this.
const FAILED: i32 = 255;

pub(crate) fn exec(
    runtime: &Runtime,
    invocation: &Invocation,
    log: &Log,
    preserved: Preserved,
    timings: Option<&Timings>,
) -> Outcome {
    added(runtime, invocation, log, preserved, timings).map_err(|failure| Failure {
        status: FAILED,
        ..failure
    })
}

fn added(
    runtime: &Runtime,
    invocation: &Invocation,
    log: &Log,
    preserved: Preserved,
    timings: Option<&Timings>,
) -> Outcome {
    let detach = invocation.has("detach");
    let foreground = (!detach).then(|| Foreground::enter(false)).transpose()?;
    let container = runtime.open(invocation.id())?;
    let mut exec = described(&container, invocation)?;
    exec = preserved.others.into_iter().fold(exec, Exec::extra_fd);
    if let Some(socket) = console(invocation)? {
        exec = exec.console(socket);
    } else if !detach {
        exec = exec.pty_if_asked();
    }
    if let Some(path) = invocation.get("pid-file") {
        exec = exec.pid_file(path);
    }
    if let Some(socket) = pidfd_socket(invocation)? {
        exec = exec.pidfd_socket(socket);
    }
    for place in invocation.all("cgroup") {
        exec = exec.cgroup(place);
    }
    if invocation.has("ignore-paused") {
        exec = exec.ignore_paused();
    }
    let mut executed = exec
        .spawn()
        .map_err(|error| inside(error, "exec failed: unable to start container process"))?;
    executed
        .warnings()
        .iter()
        .for_each(|warning| log.warning(warning));
    let Some(foreground) = foreground else {
        return Ok(0);
    };
    let terminal = executed.take_terminal();
    let since = SystemTime::now();
    let status = wait(&foreground, executed.process(), terminal.as_ref())?;
    note(timings, invocation, WAITED, since);
    Ok(status.shell_code().unwrap_or(FAILED))
}

/// The process: from a file, or the container's own with the changes of the flags.
fn described<'c>(container: &'c Container, invocation: &Invocation) -> Result<Exec<'c>, Failure> {
    let mut exec = container.exec();
    if let Some(path) = invocation.get("process") {
        let json = std::fs::read(path)
            .map_err(|error| Failure::plain(format!("cannot read {path}: {error}")))?;
        return Ok(exec.process_json(&json)?);
    }
    let args = &invocation.words[1..];
    if args.is_empty() {
        return Err(Failure::plain("process args cannot be empty"));
    }
    exec = exec.args(args);
    for entry in invocation.all("env") {
        exec = exec.env(entry);
    }
    if let Some(cwd) = invocation.get("cwd") {
        exec = exec.cwd(cwd);
    }
    if let Some(user) = invocation.get("user") {
        let (uid, gid) = match user.split_once(':') {
            Some((uid, gid)) => (uid, Some(number("user", gid)?)),
            None => (user, None),
        };
        exec = exec.user(number("user", uid)?, gid);
    }
    for gid in invocation.all("additional-gids") {
        exec = exec.additional_gid(number("additional-gids", gid)?);
    }
    for capability in invocation.all("cap") {
        exec = exec.capability(capability);
    }
    if invocation.has("no-new-privs") {
        exec = exec.no_new_privileges();
    }
    if invocation.has("tty") {
        exec = exec.terminal();
    }
    // An empty one is none, as engines have it.
    let given = |name| invocation.get(name).filter(|value| !value.is_empty());
    if let Some(profile) = given("apparmor") {
        exec = exec.apparmor_profile(profile);
    }
    if let Some(label) = given("process-label") {
        exec = exec.selinux_label(label);
    }
    Ok(exec)
}
