//! Freezing a container's processes, and the way back.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::Mode;

use super::dir::{self, Visit};
use super::{Cgroup, Directory, Node};
use crate::{Error, ErrorKind};

const STATE: &str = "freezer.state";

impl Cgroup {
    /// Freezes everything in the cgroup; thaws it again on failure.
    pub(crate) fn freeze(&self, deadline: Instant) -> Result<(), Error> {
        let node = self.freezer()?;
        let frozen = match node.place.is_v2() {
            true => freeze_v2(node.dir(), deadline),
            false => freeze_v1(node.dir(), deadline),
        };
        frozen.map_err(|errno| {
            let _ = thaw(node); // the failure to freeze is told
            let error = node.error("cannot freeze", errno);
            if errno == Errno::ETIMEDOUT {
                error.with_kind(ErrorKind::Timeout)
            } else {
                error
            }
        })
    }

    pub(crate) fn thaw(&self) -> Result<(), Error> {
        let node = self.freezer()?;
        thaw(node).map_err(|errno| node.error("cannot thaw", errno))
    }

    /// False where there is no freezer to ask.
    pub(crate) fn is_frozen(&self) -> Result<bool, Error> {
        let Ok(node) = self.freezer() else {
            return Ok(false);
        };
        is_frozen_dir(node.dir(), &node.place).map_err(|errno| node.error("cannot examine", errno))
    }

    /// The v1 freezer or, where there is none, cgroup2, which has one built in.
    pub(super) fn freezer(&self) -> Result<&Node, Error> {
        let v1 = self
            .nodes
            .iter()
            .find(|node| node.place.controls("freezer"));
        v1.or_else(|| self.nodes.iter().find(|node| node.place.is_v2()))
            .ok_or_else(|| {
                Error::new(
                    ErrorKind::Unsupported,
                    "the container has no freezer cgroup",
                )
            })
    }
}

/// Whether a directory is frozen or on the way to it, by itself or by a parent.
pub(super) fn is_frozen_dir(dir: BorrowedFd<'_>, place: &Directory) -> Result<bool, Errno> {
    if place.controls("freezer") {
        return Ok(dir::read_at(dir, STATE)?.trim() != "THAWED");
    }
    if !place.is_v2() {
        return Ok(false);
    }
    match dir::read_at(dir, "cgroup.events") {
        Ok(events) if dir::keyed(&events, "frozen") == Some(1) => Ok(true),
        Ok(_) => match dir::read_at(dir, "cgroup.freeze") {
            Err(Errno::ENOENT | Errno::ENODEV) => Ok(false), // before Linux 5.2; or removed
            asked => Ok(asked?.trim() == "1"),
        },
        Err(Errno::ENOENT | Errno::ENODEV) => Ok(false),
        Err(errno) => Err(errno),
    }
}

fn thaw(node: &Node) -> Result<(), Errno> {
    match node.place.is_v2() {
        true => dir::write_at(node.dir(), "cgroup.freeze", "0"),
        false => dir::write_at(node.dir(), STATE, "THAWED"),
    }
}

fn freeze_v2(dir: BorrowedFd<'_>, deadline: Instant) -> Result<(), Errno> {
    dir::write_at(dir, "cgroup.freeze", "1")?;
    let events = openat(
        dir,
        "cgroup.events",
        OFlag::O_RDONLY | OFlag::O_CLOEXEC,
        Mode::empty(),
    )?;
    loop {
        let mut buffer = [0; 512];
        let n = nix::sys::uio::pread(&events, &mut buffer, 0)?;
        if dir::keyed(&String::from_utf8_lossy(&buffer[..n]), "frozen") == Some(1) {
            return Ok(());
        }
        // A change since the read makes the file ready at once.
        wait(
            events.as_fd(),
            PollFlags::POLLPRI,
            until(deadline).ok_or(Errno::ETIMEDOUT)?,
        )?;
    }
}

/// One write asks; the kernel finds out whether all stand still only when the
/// state is read. A process that forks meanwhile can leave the cgroup FREEZING
/// for good, so the request is taken back now and then and begun again.
fn freeze_v1(dir: BorrowedFd<'_>, deadline: Instant) -> Result<(), Errno> {
    for round in 1.. {
        dir::write_at(dir, STATE, "FROZEN")?;
        if dir::read_at(dir, STATE)?.trim() == "FROZEN" {
            return Ok(());
        }
        let left = until(deadline).ok_or(Errno::ETIMEDOUT)?;
        let pause = if round % 50 == 0 { 10 } else { 1 };
        if round % 50 == 0 {
            dir::write_at(dir, STATE, "THAWED")?;
        }
        std::thread::sleep(left.min(Duration::from_millis(pause)));
    }
    Ok(())
}

/// Thaws a v1 freezer and all below it, where SIGKILL waits until then.
pub(super) fn thaw_below(top: BorrowedFd<'_>) -> Result<(), Errno> {
    struct Thaw;
    impl Visit for Thaw {
        fn enter(&mut self, dir: BorrowedFd<'_>) -> Result<(), Errno> {
            match dir::write_at(dir, STATE, "THAWED") {
                Err(Errno::ENOENT | Errno::ENODEV) => Ok(()),
                written => written,
            }
        }
    }
    dir::walk(top, &mut Thaw)
}

/// The time left, `None` for none.
pub(super) fn until(deadline: Instant) -> Option<Duration> {
    deadline
        .checked_duration_since(Instant::now())
        .filter(|left| !left.is_zero())
}

pub(super) fn wait(fd: BorrowedFd<'_>, event: PollFlags, most: Duration) -> Result<(), Errno> {
    let millis = most.as_micros().div_ceil(1000);
    let timeout = PollTimeout::from(u16::try_from(millis).unwrap_or(u16::MAX));
    match poll(&mut [PollFd::new(fd, event)], timeout) {
        Err(Errno::EINTR) => Ok(()),
        polled => polled.map(drop),
    }
}
