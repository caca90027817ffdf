//! Was the program executed? What `start` and `exec` say goes by this alone.

use super::record::InitId;
use super::state::prove;
use crate::error::{Error, ErrorKind, Result};
use crate::launch::{PageResult, explain, is_executing};
use crate::plan::Described;
use crate::sys::pidfd::{self, Ended};
use crate::sys::proc;
use nix::errno::Errno;
use std::os::fd::BorrowedFd;
use std::time::Instant;

/// The end of file proves nothing, and neither does EXECING: the kernel's flag does.
pub(super) fn judge<S: Described>(
    page: &PageResult,
    handle: BorrowedFd<'_>,
    pid: i32,
    (steps, id): (&[S], Option<&InitId>),
) -> Result<()> {
    if !is_executing(page) {
        return Err(failed(page, handle, (steps, id)));
    }
    match proc::stat(pid) {
        Some(stat) if !stat.never_executed => Ok(()),
        Some(_) => Err(failed(page, handle, (steps, id))),
        // Reaped already. A filter's signal may have come before execve; SIGKILL, as far as one can tell, after it.
        None => match ended(handle) {
            Some(Ended::Signaled(libc::SIGSYS)) => Err(failed(page, handle, (steps, id))),
            _ => Ok(()),
        },
    }
}

fn ended(handle: BorrowedFd<'_>) -> Option<Ended> {
    match pidfd::wait(handle, false, false) {
        Ok(ended) => ended,
        Err(Errno::ECHILD) => pidfd::exit_info(handle),
        Err(_) => None,
    }
}

fn failed<S: Described>(
    page: &PageResult,
    handle: BorrowedFd<'_>,
    (steps, id): (&[S], Option<&InitId>),
) -> Error {
    let error = explain(page, steps);
    if page.errno != 0 {
        return error;
    }
    // It may take the kernel a moment to say of what it died.
    let _ = pidfd::poll_any(
        &[handle],
        Some(Instant::now() + std::time::Duration::from_secs(1)),
    ); // then unknown
    // A zombie that its parent has not waited for yet tells nobody else, but /proc does.
    let zombie = || id.and_then(prove).and_then(|init| init.stat.ended);
    match ended(handle).or_else(zombie) {
        Some(Ended::Signaled(signal)) => {
            let step = steps.get(page.step as usize).map(Described::action);
            let step = step.unwrap_or_default();
            Error::new(
                ErrorKind::Died,
                format!(
                    "init was killed by signal {signal} before its program was executed, at step {}: {step}",
                    page.step
                ),
            )
        }
        _ => error,
    }
}
