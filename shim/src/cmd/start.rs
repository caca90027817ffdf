//! `start` and `wait`.

use super::{Failure, Outcome};
use crate::cli::Invocation;
use crate::log::Log;
use longshore::{Process, Runtime};

pub(crate) fn start(runtime: &Runtime, invocation: &Invocation, log: &Log) -> Outcome {
    let process = runtime
        .open(invocation.id())?
        .start()
        .map_err(Failure::from)?;
    until_ready(process, log);
    Ok(0)
}

/// The container goes on when we are killed: it isn't ours.
pub(crate) fn wait(runtime: &Runtime, invocation: &Invocation) -> Outcome {
    let status = runtime.open(invocation.id())?.process()?.wait()?;
    status.shell_code().ok_or_else(|| {
        Failure::plain(
            "the container has ended, and this kernel doesn't tell how: its parent has reaped it",
        )
    })
}

/// If somebody wants to be told; the container is the one to watch from then on.
pub(super) fn until_ready(mut process: Process, log: &Log) {
    if let Some(mut notifications) = process.take_notifications()
        && let Err(error) = notifications.forward(process.pid())
    {
        log.warning(&error.to_string()); // the program runs: `start` has done its work
    }
}
