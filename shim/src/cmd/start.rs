//! `start`.

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

/// If somebody wants to be told; the container is the one to watch from then on.
pub(super) fn until_ready(mut process: Process, log: &Log) {
    if let Some(mut notifications) = process.take_notifications()
        && let Err(error) = notifications.forward(process.pid())
    {
        log.warning(&error.to_string()); // the program runs: `start` has done its work
    }
}
