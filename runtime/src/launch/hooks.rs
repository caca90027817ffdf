//! Hooks that run in the runtime's namespaces: the state on stdin, the exact
//! environment, a process group of their own that ends with them.
//! config.md#posix-platform-hooks

use super::child::{self, Bounds, Ended};
use crate::config::Hook;
use crate::error::{Error, ErrorKind, Result};
use crate::sys::fd;
use std::io::{Seek, Write};
use std::os::fd::BorrowedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::Command;
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
    // A file, not a pipe: a hook that never reads can't hold us.
    let mut input = fd::anonymous_file(c"longshore-hook-state", around.state_root)?;
    let written = input
        .write_all(around.state.as_bytes())
        .and_then(|()| input.rewind());
    written.map_err(|error| Error::system("cannot write the state for a hook", error))?;
    let mut command = Command::new(&hook.path);
    if let Some((name, rest)) = hook.args.split_first() {
        command.arg0(name).args(rest);
    }
    if let Some(environment) = &hook.env {
        command
            .env_clear()
            .envs(environment.iter().filter_map(|entry| entry.split_once('=')));
    }
    command.current_dir(around.bundle).stdin(input);
    let timeout = hook
        .timeout
        .map(|seconds| Duration::from_secs(seconds.into()));
    let bounds = Bounds {
        init: around.init,
        deadline: timeout.map(|timeout| Instant::now() + timeout),
        started: around.started,
        state_root: around.state_root,
    };
    let unstarted = |error| failed("cannot be started").with_errno(error);
    let (ended, words) = child::run(&mut command, &bounds, unstarted)?;
    judge(&ended, hook, &words)
}

fn failed(what: impl Into<String>) -> Error {
    Error::new(ErrorKind::Hook, format!("hook {}", what.into()))
}

fn judge(ended: &Ended, hook: &Hook, words: &str) -> Result<()> {
    match ended {
        Ended::TimedOut => Err(failed(format!(
            "ran past its timeout of {} s",
            hook.timeout.unwrap_or(0)
        ))),
        Ended::InitDied => Err(Error::new(ErrorKind::Died, "init died while a hook ran")),
        Ended::Itself(status) if status.success() => Ok(()),
        Ended::Itself(status) => {
            let how = match (status.code(), status.signal()) {
                (Some(code), _) => format!("exited with status {code}"),
                (None, signal) => format!("was killed by signal {}", signal.unwrap_or(0)),
            };
            let colon = if words.is_empty() { "" } else { ": " };
            Err(failed(format!("{how}{colon}{words}")))
        }
    }
}
