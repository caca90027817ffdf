//! The size of terminals.
#![allow(unsafe_code)]

use std::os::fd::{AsRawFd, BorrowedFd};

/// Gives one terminal the size of another; one that has none, or is gone, changes nothing. tty_ioctl(4)
pub(crate) fn copy_size(from: BorrowedFd<'_>, to: BorrowedFd<'_>) {
    let mut size = std::mem::MaybeUninit::<libc::winsize>::zeroed();
    // SAFETY: the request fills in one winsize, which lives over the call.
    let asked = unsafe { libc::ioctl(from.as_raw_fd(), libc::TIOCGWINSZ, size.as_mut_ptr()) };
    if asked == 0 {
        // SAFETY: the request reads one winsize, which is filled in.
        let _ = unsafe { libc::ioctl(to.as_raw_fd(), libc::TIOCSWINSZ, size.as_ptr()) }; // its program has just ended
    }
}
