//! The caller's descriptors that go to the program: sockets to listen on, and those of `--preserve-fds`.

use super::Failure;
use nix::errno::Errno;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

/// The first that a caller can hand over.
const FIRST: u32 = 3;

/// Copies of the caller's descriptors.
#[derive(Debug, Default)]
pub(crate) struct Preserved {
    /// sd_listen_fds(3)
    pub(super) listening: Vec<OwnedFd>,
    pub(super) names: Option<String>,
    pub(super) others: Vec<OwnedFd>,
    /// Of `--status-fd`.
    pub(super) status: Option<OwnedFd>,
}

impl Preserved {
    /// Descriptors 3 and on: what LISTEN_FDS announces, if it was told to us, then `count` more.
    pub(super) fn take(activated: bool, count: u32) -> Result<Preserved, Failure> {
        let announced = if activated { announced()? } else { 0 };
        let more = FIRST.saturating_add(announced);
        let (sockets, others) = (FIRST..more, more..more.saturating_add(count));
        // All first: a copy must not stand in for one that is missing.
        for fd in sockets.clone() {
            is_open(fd).map_err(|errno| {
                let what = format!("LISTEN_FDS: descriptor {fd} (of {announced}) is not open");
                Failure::plain(format!("{what}: {errno}"))
            })?;
        }
        let missing = |fd: u32, errno: Errno| {
            let words = format!("unable to stat preserved-fd {fd} (of {count} fds): {errno}");
            Failure::plain(words)
        };
        for fd in others.clone() {
            is_open(fd).map_err(|errno| missing(fd, errno))?;
        }
        let copy = |fd| duplicate(fd).map_err(|errno| missing(fd, errno));
        Ok(Preserved {
            listening: sockets.map(copy).collect::<Result<_, _>>()?,
            names: std::env::var("LISTEN_FDNAMES").ok(),
            others: others.map(copy).collect::<Result<_, _>>()?,
            status: None,
        })
    }

    /// The caller's descriptor that is told when lazy pages can be asked for.
    pub(super) fn with_status(mut self, fd: u32) -> Result<Preserved, Failure> {
        let copy = duplicate(fd);
        self.status = Some(copy.map_err(|errno| {
            Failure::plain(format!("invalid value {fd} for --status-fd: {errno}"))
        })?);
        Ok(self)
    }
}

/// How many sockets were handed to this very process; another's variables are none of ours.
fn announced() -> Result<u32, Failure> {
    let variable = |name| std::env::var(name).ok();
    let (Some(pid), Some(count)) = (variable("LISTEN_PID"), variable("LISTEN_FDS")) else {
        return Ok(0);
    };
    if pid.parse() != Ok(std::process::id()) {
        return Ok(0);
    }
    count
        .parse()
        .map_err(|_| Failure::plain(format!("LISTEN_FDS: {count:?} is not a number")))
}

fn raw(fd: u32) -> Result<RawFd, Errno> {
    RawFd::try_from(fd).map_err(|_| Errno::EBADF)
}

#[allow(unsafe_code)]
fn is_open(fd: u32) -> Result<(), Errno> {
    // SAFETY: takes two numbers and touches no memory; a number that isn't open is refused.
    let flags = unsafe { libc::fcntl(raw(fd)?, libc::F_GETFD) };
    Errno::result(flags).map(drop)
}

#[allow(unsafe_code)]
fn duplicate(fd: u32) -> Result<OwnedFd, Errno> {
    // SAFETY: takes numbers and touches no memory; a number that isn't open is refused.
    let copy = unsafe { libc::fcntl(raw(fd)?, libc::F_DUPFD_CLOEXEC, 3) };
    let copy = Errno::result(copy)?;
    // SAFETY: the kernel has just made this descriptor for us; nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}
