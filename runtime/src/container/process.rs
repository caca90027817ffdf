//! The user's process, from outside: wait for it, poll it.

use super::notify::{Channel, Notifications};
use super::{Container, state};
use crate::error::{Error, ErrorKind, Result};
use crate::sys::pidfd::{self, Ended};
use crate::sys::proc;
use nix::errno::Errno;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// A started container's init process.
///
/// Readable (`AsFd`) when it has ended, so an event loop can wait for it.
///
/// ```no_run
/// # fn main() -> longshore::Result<()> {
/// # let runtime = longshore::Runtime::builder().build()?;
/// let process = runtime.container("web1").bundle("/bundle").create()?.start()?;
/// println!("ended: {:?}", process.wait()?);
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Process {
    pid: i32,
    handle: OwnedFd,
    /// The handle is a directory of /proc: no poll (pidfd_open(2) is missing, and another process made the container).
    by_directory: bool,
    notifications: Option<Notifications>,
}

/// How a process ended.
///
/// ```
/// use longshore::ExitStatus;
/// assert_eq!(ExitStatus::Signaled(9).shell_code(), Some(137));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitStatus {
    /// It exited with this status.
    Exited(i32),
    /// This signal ended it.
    Signaled(i32),
    /// Somebody else reaped it, and the kernel (before 6.15) doesn't say.
    Unknown,
}

impl ExitStatus {
    /// As a shell has it: 128 + the signal's number.
    #[must_use]
    pub fn shell_code(self) -> Option<i32> {
        match self {
            ExitStatus::Exited(status) => Some(status),
            ExitStatus::Signaled(signal) => Some(128 + signal),
            ExitStatus::Unknown => None,
        }
    }
}

impl From<Ended> for ExitStatus {
    fn from(ended: Ended) -> ExitStatus {
        match ended {
            Ended::Exited(status) => ExitStatus::Exited(status),
            Ended::Signaled(signal) => ExitStatus::Signaled(signal),
        }
    }
}

impl Process {
    pub(crate) fn new(pid: i32, handle: OwnedFd, by_directory: bool) -> Process {
        Process {
            pid,
            handle,
            by_directory,
            notifications: None,
        }
    }

    pub(super) fn with_notifications(mut self, channel: Channel) -> Result<Process> {
        let handle = self.handle.try_clone();
        let handle =
            handle.map_err(|error| Error::system("cannot duplicate a descriptor", error))?;
        let same = Process::new(self.pid, handle, self.by_directory);
        self.notifications = Some(Notifications::new(channel, same));
        Ok(self)
    }

    /// What the program says of its readiness, if
    /// [`notify_socket`](crate::ContainerBuilder::notify_socket) asked for it, once.
    ///
    /// ```no_run
    /// # fn main() -> longshore::Result<()> {
    /// # let runtime = longshore::Runtime::builder().build()?;
    /// let mut process = runtime.open("web1")?.start()?;
    /// if let Some(mut notifications) = process.take_notifications() {
    ///     let ready = notifications.forward(process.pid())?;
    /// }
    /// # Ok(()) }
    /// ```
    pub fn take_notifications(&mut self) -> Option<Notifications> {
        self.notifications.take()
    }

    /// Its pid in the caller's pid namespace.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Waits until the process ends, and reaps it if it is a child of this program.
    ///
    /// # Errors
    /// The kernel refused the wait.
    pub fn wait(&self) -> Result<ExitStatus> {
        let refused = |errno| Error::system("cannot wait for the container's process", errno);
        if self.by_directory {
            while !self.has_ended() {
                std::thread::sleep(Duration::from_millis(5));
            }
        } else {
            pidfd::poll_any(&[self.handle.as_fd()], None).map_err(refused)?;
        }
        // It has ended; a debugger may still hold it back from its parent.
        self.status(true)
            .map(|status| status.unwrap_or(ExitStatus::Unknown))
    }

    /// The same without waiting: `None` while it runs.
    ///
    /// # Errors
    /// The kernel refused the wait.
    pub fn try_wait(&self) -> Result<Option<ExitStatus>> {
        let refused = |errno| Error::system("cannot wait for the container's process", errno);
        let ended = match self.by_directory {
            true => self.has_ended(),
            false => {
                pidfd::poll_any(&[self.handle.as_fd()], Some(Instant::now())).map_err(refused)?[0]
            }
        };
        if ended { self.status(false) } else { Ok(None) }
    }

    /// As /proc tells it. While the directory takes a signal, the number means this process.
    fn has_ended(&self) -> bool {
        let stat = pidfd::send_signal(self.handle.as_fd(), 0)
            .ok()
            .and_then(|()| proc::stat(self.pid));
        stat.is_none_or(|stat| stat.zombie)
    }

    fn status(&self, block: bool) -> Result<Option<ExitStatus>> {
        let ended = if self.by_directory {
            pidfd::wait_child(self.pid, block, true)
        } else {
            pidfd::wait(self.handle.as_fd(), block, true)
        };
        match ended {
            Ok(ended) => Ok(ended.map(ExitStatus::from)),
            // Not our child: a container that was created by another process.
            Err(Errno::ECHILD) => Ok(Some(self.status_of_anothers())),
            Err(errno) => Err(Error::system(
                "cannot wait for the container's process",
                errno,
            )),
        }
    }
}

impl Process {
    /// The kernel tells of a process that its parent has reaped, and /proc of one that it hasn't. Which of them it is
    /// may change while we ask.
    fn status_of_anothers(&self) -> ExitStatus {
        let reaped = || pidfd::exit_info(self.handle.as_fd());
        let zombie = || {
            let ended = proc::stat(self.pid)?.ended;
            // It is not reaped yet: the number means it.
            pidfd::send_signal(self.handle.as_fd(), 0).ok()?;
            ended
        };
        let ended = reaped().or_else(zombie).or_else(reaped);
        ended.map_or(ExitStatus::Unknown, ExitStatus::from)
    }

    /// Waits until one of the socket and the process's end is there, or a moment where the end can't be waited for.
    pub(super) fn ended_or_readable(&self, socket: BorrowedFd<'_>) -> Result<bool> {
        let refused = |errno| Error::system("cannot wait for the container's process", errno);
        if self.by_directory {
            let soon = Instant::now() + Duration::from_millis(20);
            pidfd::poll_any(&[socket], Some(soon)).map_err(refused)?;
            return Ok(self.has_ended());
        }
        let ready = pidfd::poll_any(&[self.handle.as_fd(), socket], None).map_err(refused)?;
        Ok(ready[0])
    }
}

impl Container {
    /// Init's process, for whoever has not started the container itself.
    ///
    /// ```no_run
    /// # fn main() -> longshore::Result<()> {
    /// # let runtime = longshore::Runtime::builder().build()?;
    /// let status = runtime.open("web1")?.process()?.wait()?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// `InvalidState` when it has ended and its parent has reaped it, or there is none yet.
    pub fn process(&self) -> Result<Process> {
        let record = self.record(&self.entry()?)?;
        let init = record.init.as_ref().filter(|_| record.complete);
        let proven = init.and_then(|init| Some((init.pid, state::prove(init)?)));
        let (pid, init) =
            proven.ok_or_else(|| Error::new(ErrorKind::InvalidState, "container not running"))?;
        Ok(Process::new(pid, init.handle, init.by_directory))
    }
}

impl AsFd for Process {
    /// The pidfd.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }
}
