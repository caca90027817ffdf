//! Hooks that run in the runtime's namespaces: the state on stdin, the exact
//! environment, a process group of their own that ends with them.
//! config.md#posix-platform-hooks

use crate::config::Hook;
use crate::error::{Error, ErrorKind, Result};
use crate::sys::{fd, pidfd};
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What every hook of a container gets.
pub(crate) struct Surroundings<'a> {
    /// JSON of the container's state.
    pub(crate) state: String,
    /// Hooks start in the bundle, as engines expect.
    pub(crate) bundle: &'a str,
    /// For unnamed files where memfds are refused.
    pub(crate) state_root: &'a Path,
    /// When init dies, the hook has nothing left to do.
    pub(crate) init: Option<BorrowedFd<'a>>,
    /// Writes down which process a hook is: when we are killed, `delete --force` must end it.
    pub(crate) started: &'a dyn Fn(i32) -> Result<()>,
}

/// Runs hooks in order; the first failure ends it.
pub(crate) fn run_all(kind: &str, hooks: &[Hook], around: &Surroundings<'_>) -> Result<()> {
    let mut each = hooks.iter().enumerate();
    each.try_for_each(|(index, hook)| one(kind, index, hook, around))
}

/// Runs hooks in order, whatever comes of each; what was wrong, a line for each failure.
pub(crate) fn run_each(kind: &str, hooks: &[Hook], around: &Surroundings<'_>) -> Vec<String> {
    let each = hooks.iter().enumerate();
    each.map(|(index, hook)| one(kind, index, hook, around))
        .filter_map(|result| Some(result.err()?.to_string()))
        .collect()
}

fn one(kind: &str, index: usize, hook: &Hook, around: &Surroundings<'_>) -> Result<()> {
    run(hook, around).map_err(|error| error.at(format!("hooks.{kind}[{index}] ({})", hook.path)))
}

fn run(hook: &Hook, around: &Surroundings<'_>) -> Result<()> {
    // Files, not pipes: a hook that never reads, or writes for ever, can't hold us.
    let mut input = fd::anonymous_file(c"longshore-hook-state", around.state_root)?;
    let written = input
        .write_all(around.state.as_bytes())
        .and_then(|()| input.rewind());
    written.map_err(|error| Error::system("cannot write the state for a hook", error))?;
    let output = fd::anonymous_file(c"longshore-hook-output", around.state_root)?;
    let output_copy = output
        .try_clone()
        .map_err(|error| Error::system("cannot duplicate a file", error))?;
    let errors = output
        .try_clone()
        .map_err(|error| Error::system("cannot duplicate a file", error))?;
    let mut command = Command::new(&hook.path);
    if let Some((name, rest)) = hook.args.split_first() {
        command.arg0(name).args(rest);
    }
    if let Some(environment) = &hook.env {
        command
            .env_clear()
            .envs(environment.iter().filter_map(|entry| entry.split_once('=')));
    }
    command.current_dir(around.bundle).process_group(0);
    command
        .stdin(Stdio::from(input))
        .stdout(Stdio::from(output_copy))
        .stderr(Stdio::from(errors));
    let child = command
        .spawn()
        .map_err(|error| failed("cannot be started").with_errno(error))?;
    let noted = (around.started)(child.id().cast_signed());
    let ended = supervise(child, hook, around, output);
    noted.and(ended)
}

fn failed(what: impl Into<String>) -> Error {
    Error::new(ErrorKind::Hook, format!("hook {}", what.into()))
}

fn supervise(mut child: Child, hook: &Hook, around: &Surroundings<'_>, output: File) -> Result<()> {
    let deadline = hook
        .timeout
        .map(|seconds| Instant::now() + Duration::from_secs(seconds.into()));
    let ended = wait(&mut child, around.init, deadline);
    // What the hook left running in its group ends with it, whatever the outcome.
    let group = nix::unistd::Pid::from_raw(child.id().cast_signed());
    let _ = nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL); // mostly nobody is left
    let status = child
        .wait()
        .map_err(|error| Error::system("cannot wait for a hook", error))?;
    match ended? {
        Ended::TimedOut => Err(failed(format!(
            "ran past its timeout of {} s",
            hook.timeout.unwrap_or(0)
        ))),
        Ended::InitDied => Err(Error::new(ErrorKind::Died, "init died while a hook ran")),
        Ended::Itself if status.success() => Ok(()),
        Ended::Itself => {
            let how = match (status.code(), status.signal()) {
                (Some(code), _) => format!("exited with status {code}"),
                (None, signal) => format!("was killed by signal {}", signal.unwrap_or(0)),
            };
            Err(failed(how + &last_words(output)))
        }
    }
}

enum Ended {
    Itself,
    TimedOut,
    InitDied,
}

/// Waits without reaping, so that the pid still names the group when the group is killed.
fn wait(
    child: &mut Child,
    init: Option<BorrowedFd<'_>>,
    deadline: Option<Instant>,
) -> Result<Ended> {
    let refused = |errno| Error::system("cannot wait for a hook", errno);
    let hook = match pidfd::open(child.id().cast_signed()) {
        Ok(hook) => hook,
        Err(_) => return wait_without_pidfd(child, deadline),
    };
    let mut fds = vec![hook.as_fd()];
    fds.extend(init);
    let ready = pidfd::poll_any(&fds, deadline).map_err(refused)?;
    Ok(match (ready[0], ready.get(1)) {
        (true, _) => Ended::Itself,
        (false, Some(true)) => Ended::InitDied,
        (false, _) => Ended::TimedOut,
    })
}

/// Where pidfd_open(2) is filtered: look every few milliseconds.
fn wait_without_pidfd(child: &mut Child, deadline: Option<Instant>) -> Result<Ended> {
    loop {
        if child
            .try_wait()
            .map_err(|error| Error::system("cannot wait for a hook", error))?
            .is_some()
        {
            return Ok(Ended::Itself);
        }
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Ok(Ended::TimedOut);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The end of what the hook wrote, on one line.
fn last_words(mut output: File) -> String {
    let mut text = String::new();
    let read = output
        .rewind()
        .and_then(|()| output.take(4096).read_to_string(&mut text));
    match (read, text.trim()) {
        (Ok(_), words) if !words.is_empty() => format!(": {}", words.replace(['\n', '\r'], "; ")),
        _ => String::new(),
    }
}
