//! `create` and `run`.

use super::{Failure, Outcome, Preserved, WAITED, console, inside, note, pidfd_socket, start};
use crate::cli::Invocation;
use crate::log::Log;
use longshore::foreground::Foreground;
use longshore::{Container, ContainerBuilder, Notifications, Runtime, Timings};
use std::thread::JoinHandle;
use std::time::SystemTime;

pub(crate) fn create(
    runtime: &Runtime,
    invocation: &Invocation,
    log: &Log,
    preserved: Preserved,
) -> Outcome {
    created(runtime, invocation, log, preserved)?;
    Ok(0)
}

pub(crate) fn run(
    runtime: &Runtime,
    invocation: &Invocation,
    log: &Log,
    preserved: Preserved,
    timings: Option<&Timings>,
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
    let mut process = match container.start() {
        Ok(process) => process,
        Err(error) => {
            let _ = runtime.force_delete(container.id()); // the first error is the one to tell
            return Err(
                Failure::from(error).during("runc run failed: unable to start container process")
            );
        }
    };
    let Some(foreground) = foreground else {
        start::until_ready(process, log);
        return Ok(0);
    };
    let notifier = process.take_notifications().map(notifier);
    let since = SystemTime::now();
    let status = super::wait(&foreground, &process, terminal.as_ref())?;
    note(timings, invocation, WAITED, since);
    if let Some(Ok(Err(error))) = notifier.map(JoinHandle::join) {
        log.warning(&error.to_string());
    }
    if !invocation.has("keep") {
        log.warnings(&container.delete()?);
    }
    Ok(status.shell_code().unwrap_or(1))
}

/// Beside what the foreground does, which can't wait for it. We are who to watch: the container's end is ours.
fn notifier(mut notifications: Notifications) -> JoinHandle<longshore::Result<()>> {
    let own = std::process::id().cast_signed();
    std::thread::spawn(move || {
        while notifications.forward(own)? {}
        Ok(())
    })
}

fn created(
    runtime: &Runtime,
    invocation: &Invocation,
    log: &Log,
    preserved: Preserved,
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
    if let Some(socket) = pidfd_socket(invocation)? {
        builder = builder.pidfd_socket(socket);
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
    preserved: Preserved,
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
    builder = builder.listen_fds(preserved.listening, preserved.names);
    if let Some(address) = notify_socket() {
        builder = builder.notify_socket(address);
    }
    Ok(preserved
        .others
        .into_iter()
        .fold(builder, ContainerBuilder::extra_fd))
}

/// Who wants to be told when the program is ready: sd_notify(3).
fn notify_socket() -> Option<String> {
    std::env::var("NOTIFY_SOCKET")
        .ok()
        .filter(|address| !address.is_empty())
}
