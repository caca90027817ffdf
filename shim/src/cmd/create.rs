//! `create` and `run`.

use super::{Failure, Outcome, Preserved, console, inside};
use crate::cli::Invocation;
use crate::log::Log;
use longshore::foreground::Foreground;
use longshore::{Container, ContainerBuilder, Runtime};

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
    Ok(preserved
        .others
        .into_iter()
        .fold(builder, ContainerBuilder::extra_fd))
}
