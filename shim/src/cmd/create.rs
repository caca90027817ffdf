//! `create` and `run`.

use super::{Failure, Outcome, console, inside};
use crate::cli::Invocation;
use crate::log::Log;
use longshore::foreground::Foreground;
use longshore::{Container, ContainerBuilder, Runtime};
use std::os::fd::OwnedFd;

pub(crate) fn create(
    runtime: &Runtime,
    invocation: &Invocation,
    log: &Log,
    preserved: Vec<OwnedFd>,
) -> Outcome {
    created(runtime, invocation, log, preserved)?;
    Ok(0)
}

pub(crate) fn run(
    runtime: &Runtime,
    invocation: &Invocation,
    log: &Log,
    preserved: Vec<OwnedFd>,
) -> Outcome {
    let detach = invocation.has("detach");
    if !detach && invocation.has("console-socket") {
        return Err(Failure::plain(
            "cannot use console socket if runc will not detach or allocate tty",
        ));
    }
    let foreground = (!detach)
        .then(|| Foreground::enter(!invocation.has("no-subreaper")))
        .transpose()?;
    let mut container = created(runtime, invocation, log, preserved)?;
    let terminal = container.take_terminal();
    let process = match container.start() {
        Ok(process) => process,
        Err(error) => {
            let _ = runtime.force_delete(container.id()); // the first error is the one to tell
            return Err(
                Failure::from(error).during("runc run failed: unable to start container process")
            );
        }
    };
    let Some(foreground) = foreground else {
        return Ok(0);
    };
    let status = super::wait(&foreground, &process, terminal.as_ref())?;
    if !invocation.has("keep") {
        log.warnings(&container.delete()?);
    }
    Ok(status.shell_code().unwrap_or(1))
}

fn created(
    runtime: &Runtime,
    invocation: &Invocation,
    log: &Log,
    preserved: Vec<OwnedFd>,
) -> Result<Container, Failure> {
    let mut builder = builder(runtime, invocation, preserved)?;
    if let Some(socket) = console(invocation)? {
        builder = builder.console(socket);
    } else if invocation.command == "run" && !invocation.has("detach") {
        builder = builder.pty_if_asked();
    }
    if let Some(path) = invocation.get("pid-file") {
        builder = builder.pid_file(path);
    }
    let container = builder.create().map_err(|error| {
        inside(
            error,
            "runc create failed: unable to start container process",
        )
    })?;
    log.warnings(container.warnings());
    Ok(container)
}

/// The options that `plan` shares.
pub(super) fn builder(
    runtime: &Runtime,
    invocation: &Invocation,
    preserved: Vec<OwnedFd>,
) -> Result<ContainerBuilder, Failure> {
    let id = if invocation.words.is_empty() {
        "container"
    } else {
        invocation.id()
    };
    let bundle = invocation
        .get("bundle")
        .filter(|bundle| !bundle.is_empty())
        .unwrap_or(".");
    let mut builder = runtime.container(id).bundle(bundle);
    builder = builder
        .no_pivot(invocation.has("no-pivot"))
        .new_keyring(!invocation.has("no-new-keyring"));
    Ok(preserved
        .into_iter()
        .fold(builder, ContainerBuilder::extra_fd))
}

/// Copies of descriptors 3 and on, which the caller has promised to be there.
pub(super) fn preserved_fds(count: u32) -> Result<Vec<OwnedFd>, Failure> {
    let copy = |fd: u32| {
        let raw = i32::try_from(fd).unwrap_or(-1);
        duplicate(raw).map_err(|errno| {
            Failure::plain(format!(
                "unable to stat preserved-fd {raw} (of {count} fds): {errno}"
            ))
        })
    };
    // Above all that are wanted: a copy must not stand in for one that is missing.
    (3..3 + count).map(copy).collect()
}

#[allow(unsafe_code)]
fn duplicate(raw: i32) -> nix::Result<OwnedFd> {
    // SAFETY: takes two numbers and touches no memory; a number that isn't open is refused.
    let copy = unsafe { libc::fcntl(raw, libc::F_DUPFD_CLOEXEC, 3) };
    let copy = nix::errno::Errno::result(copy)?;
    // SAFETY: the kernel has just made this descriptor for us; nobody else knows it.
    Ok(unsafe { std::os::fd::FromRawFd::from_raw_fd(copy) })
}
