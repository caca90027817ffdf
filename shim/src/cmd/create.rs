//! `create` and `run`.

use super::{Failure, Outcome, number};
use crate::cli::Invocation;
use crate::log::Log;
use longshore::foreground::Foreground;
use longshore::{Container, ContainerBuilder, Runtime};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

pub(crate) fn create(runtime: &Runtime, invocation: &Invocation, log: &Log) -> Outcome {
    created(runtime, invocation, log)?;
    Ok(0)
}

pub(crate) fn run(runtime: &Runtime, invocation: &Invocation, log: &Log) -> Outcome {
    let detach = invocation.has("detach");
    if !detach && invocation.has("console-socket") {
        return Err(Failure::plain("cannot use console socket if runc will not detach or allocate tty"));
    }
    let foreground = (!detach).then(|| Foreground::enter(!invocation.has("no-subreaper"))).transpose()?;
    let container = created(runtime, invocation, log)?;
    let process = match container.start() {
        Ok(process) => process,
        Err(error) => {
            let _ = runtime.force_delete(container.id()); // the first error is the one to tell
            return Err(Failure::from(error).during("runc run failed: unable to start container process"));
        }
    };
    let Some(foreground) = foreground else { return Ok(0) };
    let status = foreground.wait(&process)?;
    if !invocation.has("keep") {
        runtime.force_delete(container.id())?;
    }
    Ok(status.shell_code().unwrap_or(1))
}

fn created(runtime: &Runtime, invocation: &Invocation, log: &Log) -> Result<Container, Failure> {
    let mut builder = builder(runtime, invocation)?;
    if let Some(path) = invocation.get("console-socket") {
        let socket = UnixStream::connect(path).map_err(|error| Failure::plain(format!("cannot connect to console socket {path}: {error}")))?;
        builder = builder.console(socket.into());
    }
    if let Some(path) = invocation.get("pid-file") {
        builder = builder.pid_file(path);
    }
    let container = builder.create().map_err(|error| {
        // Engines look for these words in front of what went wrong inside.
        let inside = error.kind() == longshore::ErrorKind::Exec;
        let failure = Failure::from(error);
        if inside { failure.during("runc create failed: unable to start container process") } else { failure }
    })?;
    container.warnings().iter().for_each(|warning| log.warning(warning));
    Ok(container)
}

/// The options that `plan` shares.
pub(super) fn builder(runtime: &Runtime, invocation: &Invocation) -> Result<ContainerBuilder, Failure> {
    let id = if invocation.words.is_empty() { "container" } else { invocation.id() };
    let bundle = invocation.get("bundle").filter(|bundle| !bundle.is_empty()).unwrap_or(".");
    let mut builder = runtime.container(id).bundle(bundle);
    builder = builder.no_pivot(invocation.has("no-pivot")).new_keyring(!invocation.has("no-new-keyring"));
    let preserved = invocation.get("preserve-fds").map_or(Ok(0), |text| number("preserve-fds", text))?;
    for fd in preserved_fds(preserved)? {
        builder = builder.extra_fd(fd);
    }
    Ok(builder)
}

/// Copies of descriptors 3 and on, which the caller has promised to be there.
fn preserved_fds(count: u32) -> Result<Vec<OwnedFd>, Failure> {
    let copy = |fd: u32| {
        let raw = i32::try_from(fd).unwrap_or(-1);
        let known = std::fs::File::open(format!("/proc/self/fd/{raw}")).is_ok() || std::fs::symlink_metadata(format!("/proc/self/fd/{raw}")).is_ok();
        if !known {
            return Err(Failure::plain(format!("unable to stat preserved-fd {raw} (of {count} fds)")));
        }
        duplicate(raw).map_err(|errno| Failure::plain(format!("unable to duplicate preserved-fd {raw}: {errno}")))
    };
    (3..3 + count).map(copy).collect()
}

#[allow(unsafe_code)]
fn duplicate(raw: i32) -> nix::Result<OwnedFd> {
    // SAFETY: just seen open in this process, which has one thread and closes nothing in between.
    let fd = unsafe { std::os::fd::BorrowedFd::borrow_raw(raw) };
    fd.try_clone_to_owned().map_err(|error| nix::errno::Errno::from_raw(error.raw_os_error().unwrap_or(0)))
}
