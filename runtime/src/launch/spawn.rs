//! The only clone of the library: stage 1, made and exec'd without running
//! anything of the caller's program in between.
#![allow(unsafe_code)]

use crate::error::{Error, Result};
use nix::sys::signal::{SigSet, SigmaskHow};
use std::ffi::{CStr, c_void};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

/// Stage 1 as its parent sees it.
#[derive(Debug)]
pub(crate) struct Stage1 {
    pub(crate) pid: i32,
    pub(crate) pidfd: OwnedFd,
}

/// What the child reads, in the parent's memory, which it shares until it has exec'd.
struct Orders<'a> {
    image: RawFd,
    arguments: [*const libc::c_char; 3],
    environment: [*const libc::c_char; 1],
    pass: &'a [RawFd],
    errno: i32,
}

const STACK_SIZE: usize = 16 * 1024;

/// Executes `image` with one argument, in a child that gets the descriptors `pass` and nothing else of ours.
///
/// The child shares our memory while we are suspended (CLONE_VFORK), so it does
/// only this: clear close-on-exec flags, execveat, or note an errno and end.
/// Its exit signal is none: nobody's SIGCHLD handler hears of a failed exec.
pub(crate) fn spawn(image: BorrowedFd<'_>, argument: &CStr, pass: &[RawFd]) -> Result<Stage1> {
    let mut orders = Orders {
        image: image.as_raw_fd(),
        arguments: [
            c"longshore-init".as_ptr(),
            argument.as_ptr(),
            std::ptr::null(),
        ],
        environment: [std::ptr::null()],
        pass,
        errno: 0,
    };
    // A stack of its own: the parent's frames must survive the child (init-notes: return addresses didn't).
    let mut stack = vec![0u128; STACK_SIZE / size_of::<u128>()];
    let top: *mut c_void = stack.as_mut_ptr_range().end.cast();
    let mut pidfd: RawFd = -1;
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD;
    // A handler of the caller's must not run on the child's stack.
    let before = SigSet::all()
        .thread_swap_mask(SigmaskHow::SIG_SETMASK)
        .map_err(|errno| Error::system("cannot block signals", errno))?;
    // SAFETY: `child` and what it reads live in this frame, which CLONE_VFORK suspends until the child has exec'd
    // or ended; the stack is the child's alone, aligned to 16, and large enough for its few frames.
    let pid = unsafe { libc::clone(child, top, flags, (&raw mut orders).cast(), &raw mut pidfd) };
    let refused = nix::errno::Errno::last();
    let _ = before.thread_set_mask(); // it was this thread's mask a moment ago
    if pid < 0 {
        return Err(Error::system("cannot clone stage 1", refused));
    }
    let pidfd = crate::sys::fd::owned(pidfd.into())
        .map_err(|errno| Error::system("cannot clone stage 1", errno))?;
    if orders.errno != 0 {
        let _ = crate::sys::pidfd::wait(std::os::fd::AsFd::as_fd(&pidfd), true, true); // reaped, or taken by somebody
        return Err(Error::system("cannot execute init", orders.errno));
    }
    Ok(Stage1 { pid, pidfd })
}

/// Runs in the child, on its own stack, in the parent's memory. No allocation, no panic.
extern "C" fn child(orders: *mut c_void) -> libc::c_int {
    let orders: *mut Orders<'_> = orders.cast();
    // SAFETY: the parent is suspended and keeps `orders` alive; nobody else touches it.
    let orders = unsafe { &mut *orders };
    for fd in orders.pass {
        // SAFETY: F_SETFD takes a number and touches no memory; the table of descriptors is our own copy.
        unsafe { libc::fcntl(*fd, libc::F_SETFD, 0) };
    }
    let (arguments, environment) = (orders.arguments.as_ptr(), orders.environment.as_ptr());
    // SAFETY: the path is an empty string, both vectors end with NULL and point to live strings.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            orders.image,
            c"".as_ptr(),
            arguments,
            environment,
            libc::AT_EMPTY_PATH,
        )
    };
    orders.errno = nix::errno::Errno::last_raw();
    // SAFETY: ends this process without running anything of the parent's.
    unsafe { libc::_exit(127) }
}
