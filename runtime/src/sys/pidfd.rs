//! pidfds: naming a process so that its number can't be reused meanwhile.
#![allow(unsafe_code)]

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;

/// [pidfd_open(2)](https://man7.org/linux/man-pages/man2/pidfd_open.2.html), close-on-exec.
pub(crate) fn open(pid: i32) -> Result<OwnedFd, Errno> {
    // SAFETY: two integers; no memory is passed.
    let ret = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    let fd = i32::try_from(Errno::result(ret)?).map_err(|_| Errno::EBADF)?;
    // SAFETY: pidfd_open returned this descriptor a line ago and nothing else
    // has seen it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// [pidfd_send_signal(2)](https://man7.org/linux/man-pages/man2/pidfd_send_signal.2.html).
pub(crate) fn send_signal(process: BorrowedFd<'_>, signal: i32) -> Result<(), Errno> {
    let info = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: a null siginfo asks the kernel to fill in its own; nothing else
    // is a pointer.
    let ret = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            process.as_raw_fd(),
            signal,
            info,
            0,
        )
    };
    Errno::result(ret).map(drop)
}
