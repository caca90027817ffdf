//! The kernel calls that std and nix do not offer. Besides `kernel` the only module with unsafe code.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use nix::fcntl::{FcntlArg, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// [`pidfd_open(2)`](https://man7.org/linux/man-pages/man2/pidfd_open.2.html).
pub(crate) fn pidfd_open(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: takes two integers and touches no memory of ours.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    let fd = RawFd::try_from(fd).map_err(io::Error::other)?;
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just returned this descriptor and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// How many device filters are attached to a cgroup2 directory itself.
/// [`bpf(2)`](https://man7.org/linux/man-pages/man2/bpf.2.html), BPF_PROG_QUERY.
pub(crate) fn device_filters(dir: &std::path::Path) -> io::Result<u32> {
    const BPF_PROG_QUERY: libc::c_int = 16;
    const BPF_CGROUP_DEVICE: u32 = 6;
    #[repr(C, align(8))]
    struct Query {
        target_fd: u32,
        attach_type: u32,
        query_flags: u32,
        attach_flags: u32,
        prog_ids: u64,
        prog_cnt: u32,
        padding: u32,
    }
    let dir = File::open(dir)?;
    let mut query = Query {
        target_fd: dir.as_raw_fd().cast_unsigned(),
        attach_type: BPF_CGROUP_DEVICE,
        query_flags: 0,
        attach_flags: 0,
        prog_ids: 0,
        prog_cnt: 0,
        padding: 0,
    };
    // SAFETY: `query` is live and its size is passed; without room for ids the kernel writes the count alone.
    let ret = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_PROG_QUERY,
            &mut query,
            size_of::<Query>(),
        )
    };
    if ret < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(query.prog_cnt)
}

/// The end of a child, and its peak of memory in bytes: its own, or that of a child that it has waited for.
/// [`wait4(2)`](https://man7.org/linux/man-pages/man2/wait4.2.html).
pub(crate) fn wait4(pid: i32) -> io::Result<(ExitStatus, usize)> {
    let mut status = 0;
    // SAFETY: all zeros is a valid rusage.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to live variables of ours.
    while unsafe { libc::wait4(pid, &raw mut status, 0, &raw mut usage) } < 0 {
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    Ok((ExitStatus::from_raw(status), kilobytes(usage.ru_maxrss)))
}

/// How many BPF programs the kernel holds. bpf(2)
pub(crate) fn bpf_programs() -> io::Result<usize> {
    const BPF_PROG_GET_NEXT_ID: libc::c_int = 11;
    #[repr(C)]
    struct Ids {
        start: u32,
        next: u32,
        flags: u32,
    }
    let mut ids = Ids {
        start: 0,
        next: 0,
        flags: 0,
    };
    for count in 0.. {
        // SAFETY: `ids` lives over the call and its size is passed; the kernel writes `next` within it.
        let found = unsafe {
            libc::syscall(
                libc::SYS_bpf,
                BPF_PROG_GET_NEXT_ID,
                &raw mut ids,
                size_of::<Ids>(),
            )
        };
        if found < 0 {
            let error = io::Error::last_os_error();
            return match error.raw_os_error() {
                Some(libc::ENOENT) => Ok(count),
                _ => Err(error),
            };
        }
        ids.start = ids.next;
    }
    Ok(0)
}

/// Our own peak of memory, in bytes.
pub(crate) fn own_peak() -> usize {
    // SAFETY: all zeros is a valid rusage.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a live variable of ours.
    let _ = unsafe { libc::getrusage(libc::RUSAGE_SELF, &raw mut usage) }; // can't fail
    kilobytes(usage.ru_maxrss)
}

fn kilobytes(count: libc::c_long) -> usize {
    usize::try_from(count).unwrap_or(0) * 1024
}

/// Kills the very process that the pidfd names, even if its number was reused.
pub(crate) fn pidfd_kill(pidfd: BorrowedFd<'_>, signal: i32) {
    let info: *const libc::siginfo_t = std::ptr::null();
    // SAFETY: a null siginfo is allowed; the descriptor is borrowed for the call.
    let _ = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal,
            info,
            0,
        )
    };
}

/// Closes a descriptor that a message has brought.
pub(crate) fn close(fd: RawFd) {
    // SAFETY: the kernel has just installed it for us, and nobody else knows it.
    drop(unsafe { OwnedFd::from_raw_fd(fd) });
}

/// True when the descriptor became readable before the limit.
pub(crate) fn readable(fd: BorrowedFd<'_>, limit: Duration) -> bool {
    let mut fds = [PollFd::new(fd, PollFlags::POLLIN)];
    let limit = PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX);
    matches!(poll(&mut fds, limit), Ok(n) if n > 0)
}

/// Gives the child each descriptor under the given number, not close-on-exec.
pub(crate) fn pass_fds(command: &mut Command, fds: &[(OwnedFd, RawFd)]) -> io::Result<()> {
    let mut high = Vec::new();
    for (fd, target) in fds {
        // Out of the way of all targets, so that no dup2 overwrites a source.
        let raw = fcntl(fd, FcntlArg::F_DUPFD_CLOEXEC(100))?;
        // SAFETY: fcntl has just made this descriptor.
        high.push((unsafe { OwnedFd::from_raw_fd(raw) }, *target));
    }
    let hook = move || {
        for (source, target) in &high {
            // SAFETY: dup2 is async-signal-safe and the source is owned by this closure.
            if unsafe { libc::dup2(source.as_raw_fd(), *target) } < 0 {
                return Err(io::Error::last_os_error());
            }
        }
        Ok(())
    };
    // SAFETY: between fork and exec the hook only calls dup2 and allocates nothing.
    unsafe { command.pre_exec(hook) };
    Ok(())
}

/// Gives the child the signals of a plain shell, whatever the harness was started with: all at their
/// defaults, but for those it shall ignore. By the system call: libc hides the two it uses itself.
pub(crate) fn ignore_only(command: &mut Command, ignored: &'static [i32]) {
    let hook = move || {
        for signal in (1..=64).filter(|signal| ![libc::SIGKILL, libc::SIGSTOP].contains(signal)) {
            let disposition = if ignored.contains(&signal) {
                libc::SIG_IGN
            } else {
                libc::SIG_DFL
            };
            let action = [disposition, 0, 0, 0]; // no flags, no restorer, empty mask
            // SAFETY: the kernel reads a struct sigaction of four words with an eight byte mask.
            let set =
                unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, &raw const action, 0, 8) };
            if set != 0 {
                return Err(io::Error::last_os_error());
            }
        }
        Ok(())
    };
    // SAFETY: between fork and exec the hook only makes a system call and allocates nothing.
    unsafe { command.pre_exec(hook) };
}

/// Has the child made by fork. std's own way shares memory with it until it is executed, which kernels before
/// 6.3 refuse to a process whose children get another time namespace.
pub(crate) fn fork(command: &mut Command) {
    // SAFETY: the hook does nothing; that there is one is enough.
    unsafe { command.pre_exec(|| Ok(())) };
}

/// Occupies the low descriptor numbers, so that neither std's exec-status pipe
/// nor a file of another thread sits on a number that a test hands out.
pub(crate) fn reserve_low_fds() -> io::Result<Vec<File>> {
    let mut held = Vec::new();
    loop {
        let file = File::open("/dev/null")?;
        let number = file.as_fd().as_raw_fd();
        held.push(file);
        if number >= 40 {
            return Ok(held);
        }
    }
}

/// A descriptor that came in a message.
pub(crate) fn own(fd: RawFd) -> OwnedFd {
    // SAFETY: the kernel has just installed it for us, and the caller has it from there only.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// A call that waits for its agent's answer: `struct seccomp_notif`, seccomp_unotify(2).
#[repr(C)]
#[derive(Default)]
pub(crate) struct Notification {
    id: u64,
    /// Who calls.
    pub pid: u32,
    flags: u32,
    /// Which call.
    pub number: i32,
    architecture: u32,
    instruction: u64,
    arguments: [u64; 6],
}

#[repr(C)]
struct Answer {
    id: u64,
    value: i64,
    error: i32,
    flags: u32,
}

nix::ioctl_readwrite!(seccomp_receive, b'!', 0, Notification);
nix::ioctl_readwrite!(seccomp_send, b'!', 1, Answer);

/// Does a call wait?
pub(crate) fn notified(listener: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
    matches!(poll(&mut fds, PollTimeout::ZERO), Ok(1))
        && fds[0]
            .revents()
            .is_some_and(|events| events.contains(PollFlags::POLLIN))
}

/// The call that waits.
pub(crate) fn notification(listener: &OwnedFd) -> nix::Result<Notification> {
    let mut call = Notification::default();
    // SAFETY: the structure is the kernel's own, zeroed as it asks for.
    unsafe { seccomp_receive(listener.as_raw_fd(), &raw mut call) }?;
    Ok(call)
}

/// Lets the call fail with an errno, or go on.
pub(crate) fn answer(listener: &OwnedFd, call: &Notification, errno: Option<i32>) {
    const CONTINUE: u32 = 1;
    let mut answer = Answer {
        id: call.id,
        value: 0,
        error: errno.map_or(0, |errno| -errno),
        flags: if errno.is_some() { 0 } else { CONTINUE },
    };
    // SAFETY: the structure is the kernel's own.
    let _ = unsafe { seccomp_send(listener.as_raw_fd(), &raw mut answer) }; // the caller may have died
}
