//! Signals, only to what is proven to be this container's.

use super::record::Record;
use super::state::{self, prove};
use super::{Container, Status};
use crate::cgroup::Cgroup;
use crate::error::{Error, ErrorKind, Result};
use crate::sys::pidfd;
use nix::errno::Errno;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// How long killing a whole cgroup may take.
pub(super) const KILL_DEADLINE: Duration = Duration::from_secs(10);

pub(super) fn not_running() -> Error {
    Error::new(ErrorKind::InvalidState, "container not running")
}

impl Container {
    /// Sends a signal to the container's init.
    ///
    /// SIGKILL ends a container without a pid namespace of its own whole.
    ///
    /// # Errors
    /// `InvalidState` if it isn't running, with runc's words.
    ///
    /// ```no_run
    /// # fn main() -> longshore::Result<()> {
    /// # let runtime = longshore::Runtime::builder().build()?;
    /// runtime.open("web1")?.kill(15)?;
    /// # Ok(()) }
    /// ```
    pub fn kill(&self, signal: i32) -> Result<()> {
        let entry = self.entry()?;
        let record = entry.record()?;
        let init = record
            .init
            .as_ref()
            .and_then(prove)
            .filter(|init| !init.stat.zombie)
            .ok_or_else(not_running)?;
        match pidfd::send_signal(init.handle.as_fd(), signal) {
            Ok(()) => {}
            Err(Errno::ESRCH) => return Err(not_running()),
            Err(Errno::EINVAL) => {
                return Err(Error::new(
                    ErrorKind::InvalidConfig,
                    format!("invalid signal {signal}"),
                ));
            }
            Err(errno) => return Err(Error::system("cannot signal init", errno)),
        }
        if signal == libc::SIGKILL {
            let cgroup = Cgroup::open(&record.cgroup, &record.nonce)?;
            if !record.own_pid_namespace {
                cgroup.kill(Instant::now() + KILL_DEADLINE)?;
            }
            // A frozen v1 cgroup holds even SIGKILL back.
            if cgroup.is_frozen()? {
                cgroup.thaw()?;
            }
        }
        Ok(())
    }

    /// Sends a signal to every process of the container's own cgroup; no error if none is left.
    ///
    /// # Errors
    /// The container is gone, or the cgroup can't be read.
    ///
    /// ```no_run
    /// # fn main() -> longshore::Result<()> {
    /// # let runtime = longshore::Runtime::builder().build()?;
    /// runtime.open("web1")?.kill_all(9)?;
    /// # Ok(()) }
    /// ```
    pub fn kill_all(&self, signal: i32) -> Result<()> {
        let entry = self.entry()?;
        let record = entry.record()?;
        signal_all(&record, signal)?;
        match state::status(&entry, &record)? {
            Status::Stopped => Ok(()),
            _ => self.kill(signal).or_else(|error| {
                if error.kind() == ErrorKind::InvalidState {
                    Ok(())
                } else {
                    Err(error)
                }
            }),
        }
    }
}

fn signal_all(record: &Record, signal: i32) -> Result<()> {
    let cgroup = Cgroup::open(&record.cgroup, &record.nonce)?;
    if signal == libc::SIGKILL {
        return cgroup.kill(Instant::now() + KILL_DEADLINE);
    }
    for pid in cgroup.processes()? {
        let Ok(handle) = pidfd::open(pid) else {
            continue;
        };
        // Only if it still is in the cgroup does the number mean the process that was listed.
        if cgroup.processes()?.contains(&pid) {
            let _ = pidfd::send_signal(handle.as_fd(), signal); // ended in between
        }
    }
    Ok(())
}
