//! `pause`, `resume`, and which processes a container has.

use super::kill::{KILL_DEADLINE, not_running};
use super::state;
use super::store::LOCK_DEADLINE;
use super::{Container, Status};
use crate::cgroup::Cgroup;
use crate::error::{Error, ErrorKind, Result};
use std::time::Instant;

impl Container {
    /// Freezes all processes of the container.
    ///
    /// # Errors
    /// `InvalidState` if it isn't running, with runc's words; it has no cgroup to freeze.
    ///
    /// ```no_run
    /// # fn main() -> longshore::Result<()> {
    /// # let runtime = longshore::Runtime::builder().build()?;
    /// runtime.open("web1")?.pause()?;
    /// # Ok(()) }
    /// ```
    pub fn pause(&self) -> Result<()> {
        let entry = self.entry()?;
        let _lock = entry.lock(Instant::now() + LOCK_DEADLINE)?;
        let record = self.record(&entry)?;
        match state::status(&entry, &record)? {
            Status::Running | Status::Created => {}
            _ => return Err(not_running()),
        }
        let cgroup = Cgroup::open_freezer(&record.cgroup, &record.nonce)?;
        cgroup.freeze(Instant::now() + KILL_DEADLINE)
    }

    /// Thaws them again.
    ///
    /// # Errors
    /// `InvalidState` if it isn't paused, with runc's words.
    ///
    /// ```no_run
    /// # fn main() -> longshore::Result<()> {
    /// # let runtime = longshore::Runtime::builder().build()?;
    /// runtime.open("web1")?.resume()?;
    /// # Ok(()) }
    /// ```
    pub fn resume(&self) -> Result<()> {
        let entry = self.entry()?;
        let _lock = entry.lock(Instant::now() + LOCK_DEADLINE)?;
        let record = self.record(&entry)?;
        if state::status(&entry, &record)? != Status::Paused {
            let words = "container not paused";
            return Err(Error::new(ErrorKind::InvalidState, words));
        }
        Cgroup::open_freezer(&record.cgroup, &record.nonce)?.thaw()
    }

    /// The pids of all its processes, in the caller's pid namespace.
    ///
    /// # Errors
    /// The container is gone, or its cgroup can't be read.
    ///
    /// ```no_run
    /// # fn main() -> longshore::Result<()> {
    /// # let runtime = longshore::Runtime::builder().build()?;
    /// println!("{:?}", runtime.open("web1")?.processes()?);
    /// # Ok(()) }
    /// ```
    pub fn processes(&self) -> Result<Vec<i32>> {
        let entry = self.entry()?;
        let record = entry.record()?;
        if record.cgroup.0.is_empty() {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "the container has no cgroup of its own: nothing tells its processes",
            ));
        }
        Cgroup::open(&record.cgroup, &record.nonce)?.processes()
    }
}
