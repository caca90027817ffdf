//! Programs that the host half runs and waits for: a process group of their own that ends with them, their words in
//! an unnamed file, a deadline.

use crate::error::{Error, Result};
use crate::sys::{fd, pidfd};
use std::fs::File;
use std::io::{Read, Seek};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

/// How it ended.
pub(super) enum Ended {
    Itself(ExitStatus),
    TimedOut,
    InitDied,
}

/// What holds for it.
pub(super) struct Bounds<'a> {
    /// When init dies, it has nothing left to do.
    pub(super) init: Option<BorrowedFd<'a>>,
    pub(super) deadline: Option<Instant>,
    /// Hears of the process when it has begun.
    pub(super) started: &'a dyn Fn(i32) -> Result<()>,
    /// For an unnamed file where memfds are refused.
    pub(super) state_root: &'a Path,
}

/// Runs it to its end; how it ended, and what it wrote. `unstarted` has the words for one that doesn't begin.
pub(super) fn run(
    command: &mut Command,
    bounds: &Bounds<'_>,
    unstarted: impl FnOnce(std::io::Error) -> Error,
) -> Result<(Ended, String)> {
    let duplicate = |file: &File| {
        let refused = |error| Error::system("cannot duplicate a file", error);
        file.try_clone().map_err(refused)
    };
    // A file, not a pipe: what writes for ever can't hold us.
    let output = fd::anonymous_file(c"longshore-output", bounds.state_root)?;
    let (stdout, stderr) = (duplicate(&output)?, duplicate(&output)?);
    command.stdout(stdout).stderr(stderr).process_group(0);
    let mut child = command.spawn().map_err(unstarted)?;
    let noted = (bounds.started)(child.id().cast_signed());
    let cut_short = wait(&mut child, bounds);
    // What it left running in its group ends with it, whatever the outcome.
    let group = nix::unistd::Pid::from_raw(child.id().cast_signed());
    let _ = nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL); // mostly nobody is left
    let refused = |error| Error::system("cannot wait for a child", error);
    let status = child.wait().map_err(refused)?;
    noted?;
    let ended = cut_short?.unwrap_or(Ended::Itself(status));
    Ok((ended, last_words(output)))
}

/// Waits without reaping, so that the pid still names the group when the group is killed. `None`: it ended by itself.
fn wait(child: &mut Child, bounds: &Bounds<'_>) -> Result<Option<Ended>> {
    let refused = |errno| Error::system("cannot wait for a child", errno);
    let pidfd = match pidfd::open(child.id().cast_signed()) {
        Ok(pidfd) => pidfd,
        Err(_) => return wait_without_pidfd(child, bounds.deadline),
    };
    let mut fds = vec![pidfd.as_fd()];
    fds.extend(bounds.init);
    let ready = pidfd::poll_any(&fds, bounds.deadline).map_err(refused)?;
    Ok(match (ready[0], ready.get(1)) {
        (true, _) => None,
        (false, Some(true)) => Some(Ended::InitDied),
        (false, _) => Some(Ended::TimedOut),
    })
}

/// Where pidfd_open(2) is filtered: look every few milliseconds.
fn wait_without_pidfd(child: &mut Child, deadline: Option<Instant>) -> Result<Option<Ended>> {
    let refused = |error| Error::system("cannot wait for a child", error);
    loop {
        if child.try_wait().map_err(refused)?.is_some() {
            return Ok(None);
        }
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Ok(Some(Ended::TimedOut));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// What it wrote, on one line.
fn last_words(mut output: File) -> String {
    let mut text = Vec::new();
    let read = output
        .rewind()
        .and_then(|()| output.take(4096).read_to_end(&mut text));
    match read {
        Ok(_) => String::from_utf8_lossy(&text)
            .trim()
            .replace(['\n', '\r'], "; "),
        Err(_) => String::new(),
    }
}
