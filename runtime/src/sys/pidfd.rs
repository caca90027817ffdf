//! Processes by descriptor: a pid may be somebody else's by the time it is used.
#![allow(unsafe_code)]

use super::fd::owned;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// pidfd_open(2)
pub(crate) fn open(pid: i32) -> Result<OwnedFd, Errno> {
    // SAFETY: takes two numbers.
    owned(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })
}

/// The directory of a process in /proc: identifies it as well, where pidfd_open(2) is missing.
pub(crate) fn open_directory(pid: i32) -> Result<OwnedFd, Errno> {
    let file = std::fs::File::open(format!("/proc/{pid}"));
    file.map(OwnedFd::from)
        .map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(libc::ESRCH)))
}

/// pidfd_send_signal(2); also takes a directory of /proc.
pub(crate) fn send_signal(process: BorrowedFd<'_>, signal: i32) -> Result<(), Errno> {
    let no_info = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: takes numbers, and a null pointer for "as kill(2) would fill it".
    let sent = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            process.as_raw_fd(),
            signal,
            no_info,
            0,
        )
    };
    Errno::result(sent).map(drop)
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    Exited(i32),
    Signaled(i32),
}

/// Waits for a child's end, and takes it (`reap`) or leaves it. `None`: not ended yet (`block` unset),
/// `Err(ECHILD)`: not our child, or taken by somebody else. waitid(2)
pub(crate) fn wait(
    process: BorrowedFd<'_>,
    block: bool,
    reap: bool,
) -> Result<Option<Ended>, Errno> {
    let id = libc::id_t::try_from(process.as_raw_fd()).map_err(|_| Errno::EBADF)?;
    wait_for(libc::P_PIDFD, id, block, reap)
}

/// The same by number, which can't be somebody else's as long as the process is our child.
pub(crate) fn wait_child(pid: i32, block: bool, reap: bool) -> Result<Option<Ended>, Errno> {
    let id = libc::id_t::try_from(pid).map_err(|_| Errno::ECHILD)?;
    wait_for(libc::P_PID, id, block, reap)
}

fn wait_for(
    kind: libc::idtype_t,
    id: libc::id_t,
    block: bool,
    reap: bool,
) -> Result<Option<Ended>, Errno> {
    let mut info = std::mem::MaybeUninit::<libc::siginfo_t>::zeroed();
    let flags = libc::WEXITED
        | libc::__WALL
        | if block { 0 } else { libc::WNOHANG }
        | if reap { 0 } else { libc::WNOWAIT };
    loop {
        // SAFETY: `info` is a siginfo_t of the kernel's size, which the call fills in.
        let result = unsafe { libc::waitid(kind, id, info.as_mut_ptr(), flags) };
        match Errno::result(result) {
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
            Ok(_) => break,
        }
    }
    // SAFETY: zeroed is a valid siginfo_t, and the kernel has filled it in.
    let info = unsafe { info.assume_init() };
    // SAFETY: the pid field is valid for what waitid fills in, 0 meaning "nobody ended".
    if unsafe { info.si_pid() } == 0 {
        return Ok(None);
    }
    // SAFETY: as above, for the status.
    let status = unsafe { info.si_status() };
    Ok(Some(if info.si_code == libc::CLD_EXITED {
        Ended::Exited(status)
    } else {
        Ended::Signaled(status)
    }))
}

/// The exit status of a process that somebody else reaped, from Linux 6.15 on.
pub(crate) fn exit_info(process: BorrowedFd<'_>) -> Option<Ended> {
    const PIDFD_GET_INFO: libc::c_ulong = 0xc050_ff0b; // _IOWR(0xff, 11, 80 bytes)
    const PIDFD_INFO_EXIT: u64 = 1 << 3;
    #[repr(C)]
    struct Info {
        mask: u64,
        cgroup: u64,
        ids: [u32; 11],
        exit_code: i32,
        rest: [u32; 4],
    }
    let mut info = Info {
        mask: PIDFD_INFO_EXIT,
        cgroup: 0,
        ids: [0; 11],
        exit_code: 0,
        rest: [0; 4],
    };
    // SAFETY: the request names the size of `info`, which lives over the call.
    let result = unsafe { libc::ioctl(process.as_raw_fd(), PIDFD_GET_INFO, &raw mut info) };
    if result < 0 || info.mask & PIDFD_INFO_EXIT == 0 {
        return None;
    }
    let code = info.exit_code;
    Some(if code & 0x7f == 0 {
        Ended::Exited(code >> 8 & 0xff)
    } else {
        Ended::Signaled(code & 0x7f)
    })
}

/// Waits until one of the descriptors is readable or hung up; which ones are. Past the deadline: none.
pub(crate) fn poll_any(
    fds: &[BorrowedFd<'_>],
    deadline: Option<Instant>,
) -> Result<Vec<bool>, Errno> {
    loop {
        let mut set: Vec<_> = fds
            .iter()
            .map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN))
            .collect();
        let timeout = match deadline {
            None => PollTimeout::NONE,
            Some(deadline) => {
                // Rounded up, or the last millisecond would be spent spinning.
                let left =
                    deadline.saturating_duration_since(Instant::now()) + Duration::from_micros(999);
                PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
            }
        };
        match poll(&mut set, timeout) {
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
            Ok(0) if deadline.is_some_and(|deadline| Instant::now() < deadline) => {}
            Ok(_) => {
                return Ok(set
                    .iter()
                    .map(|entry| entry.any().unwrap_or(false))
                    .collect());
            }
        }
    }
}
