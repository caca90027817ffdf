//! Processes: making, ending, executing, and what they may do.

use super::*;

pub(crate) fn exit(status: i32) -> ! {
    loop {
        let given = [status.register(), 0, 0, 0, 0, 0];
        // SAFETY: takes a number only.
        let _ = unsafe { raw(nr::EXIT_GROUP, given) }; // never returns
        // Unless the container's own filter forbids it: no filter stops a trap, and the page has told why.
        trap();
    }
}

/// Default disposition for one signal. rt_sigaction(2)
pub(crate) fn default_signal(signal: usize) -> Result<()> {
    set_disposition(signal, 0)
}

/// A write into a closed pipe is an error, not the end.
pub(crate) fn ignore_broken_pipes() -> Result<()> {
    const SIGPIPE: usize = 13;
    const SIG_IGN: u64 = 1;
    set_disposition(SIGPIPE, SIG_IGN)
}

fn set_disposition(signal: usize, disposition: u64) -> Result<()> {
    let action = [disposition, 0, 0, 0]; // no flags, no restorer, empty mask
    syscall!(nr::RT_SIGACTION, signal, action.as_ptr(), 0usize, 8usize).map(drop)
}

/// nanosleep(2); may be cut short.
pub(crate) fn sleep(milliseconds: u64) {
    let time = [milliseconds / 1000, milliseconds % 1000 * 1_000_000];
    let _ = syscall!(nr::NANOSLEEP, time.as_ptr(), 0usize); // the caller looks again in any case
}

pub(crate) fn unblock_signals() -> Result<()> {
    const SIG_SETMASK: usize = 2;
    let mask = 0u64;
    syscall!(
        nr::RT_SIGPROCMASK,
        SIG_SETMASK,
        &raw const mask,
        0usize,
        8usize
    )
    .map(drop)
}

/// clone(2)'s flags that init uses.
pub(crate) mod clone {
    pub(crate) const PIDFD: u64 = 0x1000;
    pub(crate) const PARENT: u64 = 0x8000;
    pub(crate) const INTO_CGROUP: u64 = 0x2_0000_0000;
}

#[repr(C)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// A copy of this process: `None` in the child, pid and pidfd in the parent.
///
/// With `CLONE_PARENT` the exit signal must be 0; the kernel takes the parent's own.
pub(crate) fn clone3(flags: u64, cgroup: Option<Fd>) -> Result<Option<(usize, OwnedFd)>> {
    let mut pidfd = -1i32;
    let args = CloneArgs {
        flags: flags
            | clone::PIDFD
            | clone::PARENT
            | if cgroup.is_some() {
                clone::INTO_CGROUP
            } else {
                0
            },
        pidfd: (&raw mut pidfd) as u64,
        child_tid: 0,
        parent_tid: 0,
        exit_signal: 0,
        stack: 0,
        stack_size: 0,
        tls: 0,
        set_tid: 0,
        set_tid_size: 0,
        cgroup: cgroup.map_or(0, |fd| u64::from(fd.0.cast_unsigned())),
    };
    let pid = syscall!(nr::CLONE3, &raw const args, size_of::<CloneArgs>())?;
    Ok((pid != 0).then_some((pid, OwnedFd(Fd(pidfd)))))
}

/// The same by clone(2), where clone3 is filtered: no cgroup.
pub(crate) fn clone_legacy(flags: u64) -> Result<Option<(usize, OwnedFd)>> {
    let mut pidfd = -1i32;
    let pid = syscall!(
        nr::CLONE,
        flags | clone::PIDFD | clone::PARENT,
        0usize,
        &raw mut pidfd,
        0usize,
        0usize
    )?;
    Ok((pid != 0).then_some((pid, OwnedFd(Fd(pidfd)))))
}

/// A second thread, on a stack of its own: it runs `body` on `argument`, which must not return. clone(2)
#[cfg_attr(test, allow(dead_code))]
pub(crate) fn thread<T: Sync>(
    stack: &'static mut [u8],
    argument: &'static T,
    body: extern "C" fn(&'static T) -> !,
) -> Result<()> {
    /// CLONE_VM, FS, FILES, SIGHAND, THREAD, SYSVSEM
    const THREAD: usize = 0x100 | 0x200 | 0x400 | 0x800 | 0x1_0000 | 0x4_0000;
    const ALIGNMENT: usize = 16;
    let top = stack.as_mut_ptr_range().end as usize & !(ALIGNMENT - 1);
    let argument: *const T = argument;
    let value: isize;
    // The registers of clone's last arguments are free: no flag asks for them.
    // SAFETY: the new thread runs on memory that is its own for good, takes what may be shared, and never
    // comes back; in this one it is a system call like any other.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, rdx",
            "call r10",
            "ud2",
            "2:",
            inlateout("rax") nr::CLONE => value, in("rdi") THREAD, in("rsi") top, in("rdx") argument, in("r10") body,
            in("r8") 0usize, lateout("rcx") _, lateout("r11") _, options(nostack),
        );
    }
    // SAFETY: as above.
    #[cfg(target_arch = "aarch64")]
    unsafe {
        asm!(
            "svc 0",
            "cbnz x0, 2f",
            "mov x29, xzr",
            "mov x30, xzr",
            "mov x0, x2",
            "blr x3",
            "udf #0",
            "2:",
            in("x8") nr::CLONE, inlateout("x0") THREAD => value, in("x1") top, in("x2") argument, in("x3") body,
            in("x4") 0usize, options(nostack),
        );
    }
    result(value).map(drop)
}

/// Ends this thread alone. exit(2)
#[cfg_attr(test, allow(dead_code))]
pub(crate) fn exit_thread() -> ! {
    loop {
        let given = [0; 6];
        // SAFETY: takes a number only.
        let _ = unsafe { raw(nr::EXIT, given) }; // never returns
        trap();
    }
}

/// Lets others run first. sched_yield(2)
pub(crate) fn yield_processor() {
    let _ = syscall!(nr::SCHED_YIELD); // always succeeds
}

/// A child of our own; `0` in the child.
pub(crate) fn fork() -> Result<usize> {
    const SIGCHLD: usize = 17;
    syscall!(nr::CLONE, SIGCHLD, 0usize, 0usize, 0usize, 0usize)
}

/// Waits for one child; `None` if it hasn't ended and `no_hang` is set. The raw wait status. wait4(2)
pub(crate) fn wait(pid: usize, no_hang: bool) -> Result<Option<u32>> {
    let mut status = 0u32;
    loop {
        match syscall!(
            nr::WAIT4,
            pid,
            &raw mut status,
            usize::from(no_hang),
            0usize
        ) {
            Err(EINTR) => {}
            Ok(0) => return Ok(None),
            other => return other.map(|_| Some(status)),
        }
    }
}

/// kill(2); a negative pid is a process group.
pub(crate) fn kill(pid: isize, signal: usize) -> Result<()> {
    syscall!(nr::KILL, pid, signal).map(drop)
}

pub(crate) fn getpid() -> usize {
    syscall!(nr::GETPID).unwrap_or(0)
}

/// Vectors of pointers for execve(2): NULL-terminated, pointing to live NUL-terminated strings.
pub(crate) struct Vector<'a> {
    pointers: alloc::vec::Vec<*const u8>,
    strings: core::marker::PhantomData<&'a u8>,
}

impl<'a> Vector<'a> {
    pub(crate) fn new(strings: impl Iterator<Item = Path<'a>>) -> Self {
        let mut pointers: alloc::vec::Vec<*const u8> = strings.map(<[u8]>::as_ptr).collect();
        pointers.push(core::ptr::null());
        Vector {
            pointers,
            strings: core::marker::PhantomData,
        }
    }

    pub(crate) fn push(&mut self, string: Path<'a>) {
        let end = self.pointers.len() - 1;
        self.pointers.insert(end, string.as_ptr());
    }
}

/// Returns only on failure.
pub(crate) fn execve(path: Path<'_>, args: &Vector<'_>, env: &Vector<'_>) -> Errno {
    match syscall!(
        nr::EXECVE,
        path,
        args.pointers.as_ptr(),
        env.pointers.as_ptr()
    ) {
        Err(errno) => errno,
        Ok(_) => EIO,
    }
}

/// Executes an open file. Returns only on failure. execveat(2)
pub(crate) fn execve_fd(fd: Fd, args: &Vector<'_>, env: &Vector<'_>) -> Errno {
    const AT_EMPTY_PATH: usize = 0x1000;
    match syscall!(
        nr::EXECVEAT,
        fd,
        &b"\0"[..],
        args.pointers.as_ptr(),
        env.pointers.as_ptr(),
        AT_EMPTY_PATH
    ) {
        Err(errno) => errno,
        Ok(_) => EIO,
    }
}

pub(crate) fn umask(mask: u32) {
    let _ = syscall!(nr::UMASK, mask); // cannot fail
}

pub(crate) fn setsid() -> Result<()> {
    syscall!(nr::SETSID).map(drop)
}

pub(crate) fn new_process_group() -> Result<()> {
    syscall!(nr::SETPGID, 0usize, 0usize).map(drop)
}

pub(crate) fn setgroups(groups: &[u32]) -> Result<()> {
    syscall!(nr::SETGROUPS, groups.len(), groups.as_ptr()).map(drop)
}

pub(crate) fn setresuid(uid: u32) -> Result<()> {
    syscall!(nr::SETRESUID, uid, uid, uid).map(drop)
}

pub(crate) fn setresgid(gid: u32) -> Result<()> {
    syscall!(nr::SETRESGID, gid, gid, gid).map(drop)
}

/// The three sets of this process. capset(2), version 3.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Caps {
    pub(crate) effective: u64,
    pub(crate) permitted: u64,
    pub(crate) inheritable: u64,
}

const CAPABILITY_VERSION_3: u32 = 0x2008_0522;

fn halves(set: u64) -> [u32; 2] {
    let bytes = set.to_le_bytes();
    let [a, b, c, d, e, f, g, h] = bytes;
    [
        u32::from_le_bytes([a, b, c, d]),
        u32::from_le_bytes([e, f, g, h]),
    ]
}

pub(crate) fn capset(caps: Caps) -> Result<()> {
    let header = [CAPABILITY_VERSION_3, 0];
    let (e, p, i) = (
        halves(caps.effective),
        halves(caps.permitted),
        halves(caps.inheritable),
    );
    let data = [e[0], p[0], i[0], e[1], p[1], i[1]];
    syscall!(nr::CAPSET, header.as_ptr(), data.as_ptr()).map(drop)
}

pub(crate) fn capget() -> Result<Caps> {
    let header = [CAPABILITY_VERSION_3, 0];
    let mut data = [0u32; 6];
    syscall!(nr::CAPGET, header.as_ptr(), data.as_mut_ptr())?;
    let join = |low: usize| u64::from(data[low]) | u64::from(data[low + 3]) << 32;
    Ok(Caps {
        effective: join(0),
        permitted: join(1),
        inheritable: join(2),
    })
}

/// prctl(2)'s options that init uses.
pub(crate) mod prctl {
    pub(crate) const SET_DUMPABLE: usize = 4;
    pub(crate) const SET_KEEPCAPS: usize = 8;
    pub(crate) const CAPBSET_READ: usize = 23;
    pub(crate) const CAPBSET_DROP: usize = 24;
    pub(crate) const SET_NO_NEW_PRIVS: usize = 38;
    pub(crate) const CAP_AMBIENT: usize = 47;
    pub(crate) const CAP_AMBIENT_RAISE: usize = 2;
    pub(crate) const CAP_AMBIENT_CLEAR_ALL: usize = 4;
}

pub(crate) fn prctl(option: usize, first: usize, second: usize) -> Result<usize> {
    syscall!(nr::PRCTL, option, first, second, 0usize, 0usize)
}

pub(crate) fn unshare(flags: u64) -> Result<()> {
    syscall!(nr::UNSHARE, flags).map(drop)
}

pub(crate) fn setns(fd: Fd, kind: u64) -> Result<()> {
    syscall!(nr::SETNS, fd, kind).map(drop)
}

/// Sets both halves of a limit of this process. prlimit(2)
pub(crate) fn set_limit(resource: u32, soft: u64, hard: u64) -> Result<()> {
    let limit = [soft, hard];
    syscall!(nr::PRLIMIT64, 0usize, resource, limit.as_ptr(), 0usize).map(drop)
}

/// Which CPUs this process may run on; the kernel leaves out those that there aren't. sched_setaffinity(2)
pub(crate) fn set_affinity(mask: &[u8]) -> Result<()> {
    syscall!(nr::SCHED_SETAFFINITY, 0usize, mask.len(), mask.as_ptr()).map(drop)
}

/// Of this process; `attributes` is a `struct sched_attr` that says its own length. sched_setattr(2)
pub(crate) fn set_scheduler(attributes: &[u8]) -> Result<()> {
    syscall!(nr::SCHED_SETATTR, 0usize, attributes.as_ptr(), 0usize).map(drop)
}

/// Of this process group. ioprio_set(2)
pub(crate) fn set_io_priority(value: u32) -> Result<()> {
    const IOPRIO_WHO_PGRP: usize = 2;
    syscall!(nr::IOPRIO_SET, IOPRIO_WHO_PGRP, 0usize, value).map(drop)
}

/// Of this process; the kernel reads one bit less than it is told of. set_mempolicy(2)
pub(crate) fn set_memory_policy(mode: u32, nodes: &[u8]) -> Result<()> {
    // The kernel takes one bit less than it is told, and none only of no mask at all.
    let (mask, bits) = match nodes.len() {
        0 => (core::ptr::null(), 0),
        bytes => (nodes.as_ptr(), bytes * 8 + 1),
    };
    syscall!(nr::SET_MEMPOLICY, mode, mask, bits).map(drop)
}

/// personality(2)
pub(crate) fn personality(persona: u32) -> Result<()> {
    syscall!(nr::PERSONALITY, persona).map(drop)
}

#[repr(C)]
struct SockFprog {
    len: u16,
    filter: *const u8,
}

/// Installs a BPF filter: eight bytes an instruction. The listener's number, if the flags ask for one. seccomp(2)
pub(crate) fn install_filter(flags: u32, program: &[u8]) -> Result<usize> {
    const SECCOMP_SET_MODE_FILTER: usize = 1;
    let len = u16::try_from(program.len() / 8).map_err(|_| EINVAL)?;
    let program = SockFprog {
        len,
        filter: program.as_ptr(),
    };
    syscall!(
        nr::SECCOMP,
        SECCOMP_SET_MODE_FILTER,
        flags,
        &raw const program
    )
}

/// Milliseconds of the monotonic clock.
pub(crate) fn now() -> u64 {
    const CLOCK_MONOTONIC: usize = 1;
    let [seconds, nanos] = clock(CLOCK_MONOTONIC);
    seconds * 1000 + nanos / 1_000_000
}

/// Nanoseconds since 1970.
pub(crate) fn real_time() -> u64 {
    const CLOCK_REALTIME: usize = 0;
    let [seconds, nanos] = clock(CLOCK_REALTIME);
    seconds * 1_000_000_000 + nanos
}

fn clock(which: usize) -> [u64; 2] {
    let mut time = [0u64; 2];
    match syscall!(nr::CLOCK_GETTIME, which, time.as_mut_ptr()) {
        Ok(_) => time,
        Err(_) => [0; 2],
    }
}
