//! Init's door to the kernel: one function per system call, nothing else.
//!
//! No libc: init is freestanding. Every function returns the errno as a value.
//! Structures are laid out as the kernel's headers have them.

use core::arch::asm;

/// A refused system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Errno(pub(crate) i32);

pub(crate) const EPERM: Errno = Errno(1);
pub(crate) const ENOENT: Errno = Errno(2);
pub(crate) const EINTR: Errno = Errno(4);
pub(crate) const EIO: Errno = Errno(5);
pub(crate) const EAGAIN: Errno = Errno(11);
pub(crate) const EACCES: Errno = Errno(13);
pub(crate) const EEXIST: Errno = Errno(17);
pub(crate) const ENOTDIR: Errno = Errno(20);
pub(crate) const EISDIR: Errno = Errno(21);
pub(crate) const EINVAL: Errno = Errno(22);
pub(crate) const ENOSYS: Errno = Errno(38);
pub(crate) const ELOOP: Errno = Errno(40);
pub(crate) const ENOTSUP: Errno = Errno(95);

/// A borrowed descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fd(pub(crate) i32);

impl Fd {
    /// The working directory, where a call takes one.
    pub(crate) const CWD: Fd = Fd(-100);

    /// A descriptor number as the host sends it.
    pub(crate) fn from_wire(number: u32) -> Fd {
        Fd(number.cast_signed())
    }
}

/// A descriptor that is closed when it goes out of scope.
#[derive(Debug)]
pub(crate) struct OwnedFd(Fd);

impl OwnedFd {
    pub(crate) fn new(fd: usize) -> OwnedFd {
        // The kernel's descriptors are small non-negative ints.
        OwnedFd(Fd(i32::try_from(fd).unwrap_or(-1)))
    }

    pub(crate) fn fd(&self) -> Fd {
        self.0
    }
}

impl Drop for OwnedFd {
    fn drop(&mut self) {
        let _ = close(self.0); // nothing can be done about a failed close
    }
}

pub(crate) type Result<T> = core::result::Result<T, Errno>;

/// Numbers of the system calls.
#[cfg(target_arch = "x86_64")]
mod nr {
    pub(crate) const READ: usize = 0;
    pub(crate) const WRITE: usize = 1;
    pub(crate) const CLOSE: usize = 3;
    pub(crate) const LSEEK: usize = 8;
    pub(crate) const NANOSLEEP: usize = 35;
    pub(crate) const MMAP: usize = 9;
    pub(crate) const RT_SIGACTION: usize = 13;
    pub(crate) const RT_SIGPROCMASK: usize = 14;
    pub(crate) const IOCTL: usize = 16;
    pub(crate) const DUP3: usize = 292;
    pub(crate) const SOCKET: usize = 41;
    pub(crate) const SENDMSG: usize = 46;
    pub(crate) const RECVMSG: usize = 47;
    pub(crate) const LISTEN: usize = 50;
    pub(crate) const GETSOCKOPT: usize = 55;
    pub(crate) const ACCEPT4: usize = 288;
    pub(crate) const CLONE: usize = 56;
    pub(crate) const CLONE3: usize = 435;
    pub(crate) const EXECVE: usize = 59;
    pub(crate) const EXECVEAT: usize = 322;
    pub(crate) const EXIT_GROUP: usize = 231;
    pub(crate) const WAIT4: usize = 61;
    pub(crate) const KILL: usize = 62;
    pub(crate) const FCNTL: usize = 72;
    pub(crate) const GETCWD: usize = 79;
    pub(crate) const FCHDIR: usize = 81;
    pub(crate) const CHDIR: usize = 80;
    pub(crate) const UMASK: usize = 95;
    pub(crate) const GETPID: usize = 39;
    pub(crate) const SETSID: usize = 112;
    pub(crate) const SETPGID: usize = 109;
    pub(crate) const SETGROUPS: usize = 116;
    pub(crate) const SETRESUID: usize = 117;
    pub(crate) const SETRESGID: usize = 119;
    pub(crate) const CAPSET: usize = 126;
    pub(crate) const CAPGET: usize = 125;
    pub(crate) const PIVOT_ROOT: usize = 155;
    pub(crate) const PRCTL: usize = 157;
    pub(crate) const CHROOT: usize = 161;
    pub(crate) const MOUNT: usize = 165;
    pub(crate) const UMOUNT2: usize = 166;
    pub(crate) const SETHOSTNAME: usize = 170;
    pub(crate) const SETDOMAINNAME: usize = 171;
    pub(crate) const KEYCTL: usize = 250;
    pub(crate) const OPENAT: usize = 257;
    pub(crate) const MKDIRAT: usize = 258;
    pub(crate) const MKNODAT: usize = 259;
    pub(crate) const FCHOWNAT: usize = 260;
    pub(crate) const NEWFSTATAT: usize = 262;
    pub(crate) const UNLINKAT: usize = 263;
    pub(crate) const SYMLINKAT: usize = 266;
    pub(crate) const READLINKAT: usize = 267;
    pub(crate) const UNSHARE: usize = 272;
    pub(crate) const PIPE2: usize = 293;
    pub(crate) const PRLIMIT64: usize = 302;
    pub(crate) const SETNS: usize = 308;
    pub(crate) const SECCOMP: usize = 317;
    pub(crate) const FSTATFS: usize = 138;
    pub(crate) const FACCESSAT: usize = 269;
    pub(crate) const CLOCK_GETTIME: usize = 228;
}

#[cfg(target_arch = "aarch64")]
mod nr {
    pub(crate) const READ: usize = 63;
    pub(crate) const WRITE: usize = 64;
    pub(crate) const CLOSE: usize = 57;
    pub(crate) const LSEEK: usize = 62;
    pub(crate) const NANOSLEEP: usize = 101;
    pub(crate) const MMAP: usize = 222;
    pub(crate) const RT_SIGACTION: usize = 134;
    pub(crate) const RT_SIGPROCMASK: usize = 135;
    pub(crate) const IOCTL: usize = 29;
    pub(crate) const DUP3: usize = 24;
    pub(crate) const SOCKET: usize = 198;
    pub(crate) const SENDMSG: usize = 211;
    pub(crate) const RECVMSG: usize = 212;
    pub(crate) const LISTEN: usize = 201;
    pub(crate) const GETSOCKOPT: usize = 209;
    pub(crate) const ACCEPT4: usize = 242;
    pub(crate) const CLONE: usize = 220;
    pub(crate) const CLONE3: usize = 435;
    pub(crate) const EXECVE: usize = 221;
    pub(crate) const EXECVEAT: usize = 281;
    pub(crate) const EXIT_GROUP: usize = 94;
    pub(crate) const WAIT4: usize = 260;
    pub(crate) const KILL: usize = 129;
    pub(crate) const FCNTL: usize = 25;
    pub(crate) const GETCWD: usize = 17;
    pub(crate) const FCHDIR: usize = 50;
    pub(crate) const CHDIR: usize = 49;
    pub(crate) const UMASK: usize = 166;
    pub(crate) const GETPID: usize = 172;
    pub(crate) const SETSID: usize = 157;
    pub(crate) const SETPGID: usize = 154;
    pub(crate) const SETGROUPS: usize = 159;
    pub(crate) const SETRESUID: usize = 147;
    pub(crate) const SETRESGID: usize = 149;
    pub(crate) const CAPSET: usize = 91;
    pub(crate) const CAPGET: usize = 90;
    pub(crate) const PIVOT_ROOT: usize = 41;
    pub(crate) const PRCTL: usize = 167;
    pub(crate) const CHROOT: usize = 51;
    pub(crate) const MOUNT: usize = 40;
    pub(crate) const UMOUNT2: usize = 39;
    pub(crate) const SETHOSTNAME: usize = 161;
    pub(crate) const SETDOMAINNAME: usize = 162;
    pub(crate) const KEYCTL: usize = 219;
    pub(crate) const OPENAT: usize = 56;
    pub(crate) const MKDIRAT: usize = 34;
    pub(crate) const MKNODAT: usize = 33;
    pub(crate) const FCHOWNAT: usize = 54;
    pub(crate) const NEWFSTATAT: usize = 79;
    pub(crate) const UNLINKAT: usize = 35;
    pub(crate) const SYMLINKAT: usize = 36;
    pub(crate) const READLINKAT: usize = 78;
    pub(crate) const UNSHARE: usize = 97;
    pub(crate) const PIPE2: usize = 59;
    pub(crate) const PRLIMIT64: usize = 261;
    pub(crate) const SETNS: usize = 268;
    pub(crate) const SECCOMP: usize = 277;
    pub(crate) const FSTATFS: usize = 44;
    pub(crate) const FACCESSAT: usize = 48;
    pub(crate) const CLOCK_GETTIME: usize = 113;
}

/// Numbers that are the same everywhere.
mod common {
    pub(crate) const OPEN_TREE: usize = 428;
    pub(crate) const MOVE_MOUNT: usize = 429;
    pub(crate) const FSOPEN: usize = 430;
    pub(crate) const FSCONFIG: usize = 431;
    pub(crate) const FSMOUNT: usize = 432;
    pub(crate) const CLOSE_RANGE: usize = 436;
    pub(crate) const OPENAT2: usize = 437;
    pub(crate) const MOUNT_SETATTR: usize = 442;
}

/// The system call instruction.
///
/// # Safety
/// The arguments must be what the call expects: live memory of the right size behind each pointer.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn raw(number: usize, args: [usize; 6]) -> isize {
    let result: isize;
    // SAFETY: the caller vouches for the arguments; the clobbers are the ABI's.
    unsafe {
        asm!("syscall", inlateout("rax") number => result, in("rdi") args[0], in("rsi") args[1], in("rdx") args[2],
             in("r10") args[3], in("r8") args[4], in("r9") args[5], lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    result
}

/// The system call instruction.
///
/// # Safety
/// The arguments must be what the call expects: live memory of the right size behind each pointer.
#[cfg(target_arch = "aarch64")]
#[inline(always)]
unsafe fn raw(number: usize, args: [usize; 6]) -> isize {
    let result: isize;
    // SAFETY: the caller vouches for the arguments; the clobbers are the ABI's.
    unsafe {
        asm!("svc 0", in("x8") number, inlateout("x0") args[0] => result, in("x1") args[1], in("x2") args[2],
             in("x3") args[3], in("x4") args[4], in("x5") args[5], options(nostack));
    }
    result
}

/// What may be passed to the kernel as one register.
trait Register {
    fn register(self) -> usize;
}

macro_rules! registers {
    ($($number:ty),*) => {$(
        impl Register for $number {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::unnecessary_cast)] // bits as they are
            fn register(self) -> usize { self as usize }
        }
    )*};
}

registers!(i32, u32, usize, u64, isize);

impl Register for Fd {
    fn register(self) -> usize {
        self.0.register()
    }
}

impl<T> Register for *const T {
    fn register(self) -> usize {
        self as usize
    }
}

impl<T> Register for *mut T {
    fn register(self) -> usize {
        self as usize
    }
}

/// A string for the kernel: its last byte is NUL.
pub(crate) type Path<'a> = &'a [u8];

impl Register for Path<'_> {
    fn register(self) -> usize {
        debug_assert_eq!(self.last(), Some(&0));
        self.as_ptr() as usize
    }
}

fn result(value: isize) -> Result<usize> {
    if (-4095..0).contains(&value) {
        return Err(Errno(i32::try_from(-value).unwrap_or(EIO.0)));
    }
    Ok(value.cast_unsigned())
}

/// One system call. Expands to the only `unsafe` block of a wrapper, which sees
/// to it that every pointer it passes is live and as long as the call expects.
macro_rules! syscall {
    ($number:expr $(, $arg:expr)* $(,)?) => {{
        let given = [$($arg.register()),*];
        let mut args = [0usize; 6];
        args[..given.len()].copy_from_slice(&given);
        // SAFETY: the wrapper around this line owns or borrows everything it points to for the whole
        // call; strings end with NUL, and lengths are those of the slices and structures.
        result(unsafe { raw($number, args) })
    }};
}

pub(crate) fn exit(status: i32) -> ! {
    loop {
        let given = [status.register(), 0, 0, 0, 0, 0];
        // SAFETY: takes a number only.
        let _ = unsafe { raw(nr::EXIT_GROUP, given) }; // never returns
        // Unless the container's own filter forbids it: no filter stops a trap, and the page has told why.
        trap();
    }
}

fn trap() {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: an undefined instruction raises SIGILL, which has its default action; nothing of ours runs after it.
    unsafe {
        core::arch::asm!("ud2")
    };
    #[cfg(target_arch = "aarch64")]
    // SAFETY: an undefined instruction raises SIGILL, which has its default action; nothing of ours runs after it.
    unsafe {
        core::arch::asm!("udf #0")
    };
}

pub(crate) fn close(fd: Fd) -> Result<()> {
    syscall!(nr::CLOSE, fd).map(drop)
}

pub(crate) fn read(fd: Fd, buffer: &mut [u8]) -> Result<usize> {
    syscall!(nr::READ, fd, buffer.as_mut_ptr(), buffer.len())
}

pub(crate) fn write(fd: Fd, bytes: &[u8]) -> Result<usize> {
    syscall!(nr::WRITE, fd, bytes.as_ptr(), bytes.len())
}

/// A private anonymous mapping, or `len` bytes of a file shared with the host. mmap(2)
#[cfg_attr(test, allow(dead_code))]
pub(crate) fn map(len: usize, shared_file: Option<Fd>) -> Result<*mut u8> {
    const PROT_READ_WRITE: usize = 3;
    const MAP_SHARED: usize = 1;
    const MAP_PRIVATE_ANONYMOUS: usize = 0x22;
    let (flags, fd) = match shared_file {
        Some(fd) => (MAP_SHARED, fd),
        None => (MAP_PRIVATE_ANONYMOUS, Fd(-1)),
    };
    syscall!(nr::MMAP, 0usize, len, PROT_READ_WRITE, flags, fd, 0usize).map(|address| address as *mut u8)
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

/// Bytes in a file. lseek(2)
pub(crate) fn size(fd: Fd) -> Result<u64> {
    const SEEK_END: usize = 2;
    syscall!(nr::LSEEK, fd, 0usize, SEEK_END).map(|size| size as u64)
}

pub(crate) fn set_nonblocking(fd: Fd) -> Result<()> {
    const F_SETFL: usize = 4;
    const O_NONBLOCK: usize = 0o4000;
    syscall!(nr::FCNTL, fd, F_SETFL, O_NONBLOCK).map(drop)
}

pub(crate) fn unblock_signals() -> Result<()> {
    const SIG_SETMASK: usize = 2;
    let mask = 0u64;
    syscall!(nr::RT_SIGPROCMASK, SIG_SETMASK, &raw const mask, 0usize, 8usize).map(drop)
}

/// An ioctl that takes a number.
pub(crate) fn ioctl_number(fd: Fd, request: u32, number: usize) -> Result<usize> {
    syscall!(nr::IOCTL, fd, request, number)
}

/// An ioctl that reads or writes a plain structure.
pub(crate) fn ioctl<T>(fd: Fd, request: u32, value: &mut T) -> Result<usize> {
    syscall!(nr::IOCTL, fd, request, &raw mut *value)
}

pub(crate) const O_CLOEXEC: u32 = 0o2_000_000;

/// dup3(2); a descriptor already in place loses its close-on-exec flag.
pub(crate) fn dup_to(fd: Fd, target: Fd) -> Result<()> {
    if fd == target {
        return set_cloexec(fd, false);
    }
    syscall!(nr::DUP3, fd, target, 0usize).map(drop)
}

pub(crate) fn set_cloexec(fd: Fd, on: bool) -> Result<()> {
    const F_SETFD: usize = 2;
    syscall!(nr::FCNTL, fd, F_SETFD, usize::from(on)).map(drop)
}

/// A copy at the lowest number from `from` on, close-on-exec. fcntl(2)
pub(crate) fn dup_from(fd: Fd, from: u32) -> Result<OwnedFd> {
    const F_DUPFD_CLOEXEC: usize = 1030;
    syscall!(nr::FCNTL, fd, F_DUPFD_CLOEXEC, from).map(OwnedFd::new)
}

/// A datagram socket for interface requests.
pub(crate) fn inet_socket() -> Result<OwnedFd> {
    const AF_INET: usize = 2;
    const SOCK_DGRAM_CLOEXEC: usize = 2 | 0o2_000_000;
    syscall!(nr::SOCKET, AF_INET, SOCK_DGRAM_CLOEXEC, 0usize).map(OwnedFd::new)
}

#[repr(C)]
struct IoVec {
    base: *const u8,
    len: usize,
}

#[repr(C)]
struct MsgHdr {
    name: *const u8,
    name_len: u32,
    iov: *mut IoVec,
    iov_len: usize,
    control: *mut u8,
    control_len: usize,
    flags: i32,
}

/// A control message that carries one descriptor. cmsg(3)
#[repr(C, align(8))]
struct Rights {
    len: usize,
    level: i32,
    kind: i32,
    fd: i32,
    pad: i32,
}

const SOL_SOCKET: i32 = 1;
const SCM_RIGHTS: i32 = 1;
const RIGHTS_LEN: usize = 20;

/// Sends `bytes` with at most one descriptor. sendmsg(2)
pub(crate) fn send(socket: Fd, bytes: &[u8], descriptor: Option<Fd>) -> Result<()> {
    const MSG_NOSIGNAL: usize = 0x4000;
    let fd = descriptor.map_or(-1, |fd| fd.0);
    let mut rights = Rights { len: RIGHTS_LEN, level: SOL_SOCKET, kind: SCM_RIGHTS, fd, pad: 0 };
    let mut iov = IoVec { base: bytes.as_ptr(), len: bytes.len() };
    let message = MsgHdr {
        name: core::ptr::null(),
        name_len: 0,
        iov: &raw mut iov,
        iov_len: 1,
        control: (&raw mut rights).cast(),
        control_len: if descriptor.is_some() { size_of::<Rights>() } else { 0 },
        flags: 0,
    };
    loop {
        match syscall!(nr::SENDMSG, socket, &raw const message, MSG_NOSIGNAL) {
            Err(EINTR) => {}
            other => return other.map(drop),
        }
    }
}

/// Receives a message and the one descriptor that may come with it; 0 bytes at end of file. recvmsg(2)
pub(crate) fn receive(socket: Fd, buffer: &mut [u8]) -> Result<(usize, Option<OwnedFd>)> {
    const MSG_CMSG_CLOEXEC: usize = 0x4000_0000;
    let mut rights = Rights { len: 0, level: 0, kind: 0, fd: -1, pad: 0 };
    let mut iov = IoVec { base: buffer.as_mut_ptr(), len: buffer.len() };
    let mut message = MsgHdr {
        name: core::ptr::null(),
        name_len: 0,
        iov: &raw mut iov,
        iov_len: 1,
        control: (&raw mut rights).cast(),
        control_len: size_of::<Rights>(),
        flags: 0,
    };
    let count = loop {
        match syscall!(nr::RECVMSG, socket, &raw mut message, MSG_CMSG_CLOEXEC) {
            Err(EINTR) => {}
            other => break other?,
        }
    };
    let came = message.control_len >= RIGHTS_LEN && rights.level == SOL_SOCKET && rights.kind == SCM_RIGHTS;
    Ok((count, came.then_some(OwnedFd(Fd(rights.fd)))))
}

pub(crate) fn listen(socket: Fd, backlog: usize) -> Result<()> {
    syscall!(nr::LISTEN, socket, backlog).map(drop)
}

pub(crate) fn accept(socket: Fd) -> Result<OwnedFd> {
    syscall!(nr::ACCEPT4, socket, 0usize, 0usize, O_CLOEXEC).map(OwnedFd::new)
}

/// The user id behind the other end, in this process's user namespace. unix(7)
pub(crate) fn peer_uid(socket: Fd) -> Result<u32> {
    const SO_PEERCRED: usize = 17;
    let mut credentials = [0u32; 3]; // pid, uid, gid
    let mut len = 12u32;
    syscall!(nr::GETSOCKOPT, socket, SOL_SOCKET, SO_PEERCRED, credentials.as_mut_ptr(), &raw mut len)?;
    Ok(credentials[1])
}

/// clone(2)'s flags that init uses.
pub(crate) mod clone {
    pub(crate) const PIDFD: u64 = 0x1000;
    pub(crate) const PARENT: u64 = 0x8000;
    pub(crate) const NEWCGROUP: u64 = 0x0200_0000;
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
        flags: flags | clone::PIDFD | clone::PARENT | if cgroup.is_some() { clone::INTO_CGROUP } else { 0 },
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
    let pid = syscall!(nr::CLONE, flags | clone::PIDFD | clone::PARENT, 0usize, &raw mut pidfd, 0usize, 0usize)?;
    Ok((pid != 0).then_some((pid, OwnedFd(Fd(pidfd)))))
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
        match syscall!(nr::WAIT4, pid, &raw mut status, usize::from(no_hang), 0usize) {
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
        Vector { pointers, strings: core::marker::PhantomData }
    }
}

/// Returns only on failure.
pub(crate) fn execve(path: Path<'_>, args: &Vector<'_>, env: &Vector<'_>) -> Errno {
    match syscall!(nr::EXECVE, path, args.pointers.as_ptr(), env.pointers.as_ptr()) {
        Err(errno) => errno,
        Ok(_) => EIO,
    }
}

/// Executes an open file. Returns only on failure. execveat(2)
pub(crate) fn execve_fd(fd: Fd, args: &Vector<'_>, env: &Vector<'_>) -> Errno {
    const AT_EMPTY_PATH: usize = 0x1000;
    match syscall!(nr::EXECVEAT, fd, &b"\0"[..], args.pointers.as_ptr(), env.pointers.as_ptr(), AT_EMPTY_PATH) {
        Err(errno) => errno,
        Ok(_) => EIO,
    }
}

/// The working directory, with its NUL, as a part of `buffer`; "(unreachable)…" when outside of the root. getcwd(2)
pub(crate) fn getcwd(buffer: &mut [u8]) -> Result<&[u8]> {
    let len = syscall!(nr::GETCWD, buffer.as_mut_ptr(), buffer.len())?;
    Ok(&buffer[..len])
}

pub(crate) fn fchdir(fd: Fd) -> Result<()> {
    syscall!(nr::FCHDIR, fd).map(drop)
}

pub(crate) fn chdir(path: Path<'_>) -> Result<()> {
    syscall!(nr::CHDIR, path).map(drop)
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
    [u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h])]
}

pub(crate) fn capset(caps: Caps) -> Result<()> {
    let header = [CAPABILITY_VERSION_3, 0];
    let (e, p, i) = (halves(caps.effective), halves(caps.permitted), halves(caps.inheritable));
    let data = [e[0], p[0], i[0], e[1], p[1], i[1]];
    syscall!(nr::CAPSET, header.as_ptr(), data.as_ptr()).map(drop)
}

pub(crate) fn capget() -> Result<Caps> {
    let header = [CAPABILITY_VERSION_3, 0];
    let mut data = [0u32; 6];
    syscall!(nr::CAPGET, header.as_ptr(), data.as_mut_ptr())?;
    let join = |low: usize| u64::from(data[low]) | u64::from(data[low + 3]) << 32;
    Ok(Caps { effective: join(0), permitted: join(1), inheritable: join(2) })
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

pub(crate) fn pivot_root(new_root: Path<'_>, put_old: Path<'_>) -> Result<()> {
    syscall!(nr::PIVOT_ROOT, new_root, put_old).map(drop)
}

pub(crate) fn chroot(path: Path<'_>) -> Result<()> {
    syscall!(nr::CHROOT, path).map(drop)
}

/// mount(2)'s flags that init uses.
pub(crate) mod ms {
    pub(crate) const RDONLY: u64 = 1;
    pub(crate) const NOSUID: u64 = 2;
    pub(crate) const NODEV: u64 = 4;
    pub(crate) const NOEXEC: u64 = 8;
    pub(crate) const REMOUNT: u64 = 32;
    pub(crate) const NOSYMFOLLOW: u64 = 256;
    pub(crate) const NOATIME: u64 = 1024;
    pub(crate) const NODIRATIME: u64 = 2048;
    pub(crate) const BIND: u64 = 4096;
    pub(crate) const REC: u64 = 16384;
    pub(crate) const RELATIME: u64 = 1 << 21;
    pub(crate) const STRICTATIME: u64 = 1 << 24;
}

pub(crate) fn mount(source: Path<'_>, target: Path<'_>, fstype: Path<'_>, flags: u64, data: Path<'_>) -> Result<()> {
    syscall!(nr::MOUNT, source, target, fstype, flags, data).map(drop)
}

pub(crate) fn unmount_lazily(target: Path<'_>) -> Result<()> {
    const MNT_DETACH: usize = 2;
    syscall!(nr::UMOUNT2, target, MNT_DETACH).map(drop)
}

pub(crate) fn sethostname(name: &[u8]) -> Result<()> {
    syscall!(nr::SETHOSTNAME, name.as_ptr(), name.len()).map(drop)
}

pub(crate) fn setdomainname(name: &[u8]) -> Result<()> {
    syscall!(nr::SETDOMAINNAME, name.as_ptr(), name.len()).map(drop)
}

/// Joins or makes a session keyring of this name. keyctl(2)
pub(crate) fn join_session_keyring(name: Path<'_>) -> Result<usize> {
    const KEYCTL_JOIN_SESSION_KEYRING: usize = 1;
    syscall!(nr::KEYCTL, KEYCTL_JOIN_SESSION_KEYRING, name)
}

/// Lets the owner of the session keyring look it up. keyctl_setperm(3)
pub(crate) fn allow_keyring_search(keyring: usize) -> Result<()> {
    const KEYCTL_SETPERM: usize = 5;
    // possessor: all; owner: all; nobody else
    syscall!(nr::KEYCTL, KEYCTL_SETPERM, keyring, 0x3f3f_0000usize).map(drop)
}

/// open(2)'s flags that init uses.
#[cfg(target_arch = "x86_64")]
pub(crate) mod o {
    pub(crate) const DIRECTORY: u32 = 0o200_000;
    pub(crate) const NOFOLLOW: u32 = 0o400_000;
}

/// open(2)'s flags that init uses.
#[cfg(target_arch = "aarch64")]
pub(crate) mod o {
    pub(crate) const DIRECTORY: u32 = 0o40_000;
    pub(crate) const NOFOLLOW: u32 = 0o100_000;
}

pub(crate) const O_RDWR: u32 = 2;
pub(crate) const O_CREAT: u32 = 0o100;
pub(crate) const O_EXCL: u32 = 0o200;
pub(crate) const O_NOCTTY: u32 = 0o400;
pub(crate) const O_PATH: u32 = 0o10_000_000;

/// Always close-on-exec.
pub(crate) fn openat(dir: Fd, path: Path<'_>, flags: u32, mode: u32) -> Result<OwnedFd> {
    syscall!(nr::OPENAT, dir, path, flags | O_CLOEXEC, mode).map(OwnedFd::new)
}

/// openat2(2)'s restrictions that init uses.
pub(crate) mod resolve {
    pub(crate) const NO_MAGICLINKS: u64 = 2;
    pub(crate) const IN_ROOT: u64 = 0x10;
}

/// Always close-on-exec; `dir` is the root of the walk. openat2(2)
pub(crate) fn openat2(dir: Fd, path: Path<'_>, flags: u32) -> Result<OwnedFd> {
    let how = [u64::from(flags | O_CLOEXEC), 0, resolve::IN_ROOT | resolve::NO_MAGICLINKS];
    // The kernel answers EAGAIN when a rename or mount elsewhere raced with the walk.
    for _ in 0..128 {
        match syscall!(common::OPENAT2, dir, path, how.as_ptr(), 24usize) {
            Err(EAGAIN | EINTR) => {}
            other => return other.map(OwnedFd::new),
        }
    }
    Err(EAGAIN)
}

pub(crate) fn mkdirat(dir: Fd, name: Path<'_>, mode: u32) -> Result<()> {
    syscall!(nr::MKDIRAT, dir, name, mode).map(drop)
}

/// `device` as makedev(3) builds it.
pub(crate) fn mknodat(dir: Fd, name: Path<'_>, mode: u32, device: u64) -> Result<()> {
    syscall!(nr::MKNODAT, dir, name, mode, device).map(drop)
}

/// chown of the open file itself. fchownat(2)
pub(crate) fn chown_fd(fd: Fd, uid: u32, gid: u32) -> Result<()> {
    const AT_EMPTY_PATH: usize = 0x1000;
    syscall!(nr::FCHOWNAT, fd, &b"\0"[..], uid, gid, AT_EMPTY_PATH).map(drop)
}

/// The parts of stat(2) that init looks at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stat {
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) inode: u64,
    pub(crate) device: u64,
    pub(crate) rdev: u64,
}

impl Stat {
    const FORMAT: u32 = 0o170_000;

    pub(crate) fn is_dir(self) -> bool {
        self.mode & Self::FORMAT == 0o040_000
    }

    pub(crate) fn is_symlink(self) -> bool {
        self.mode & Self::FORMAT == 0o120_000
    }

    pub(crate) fn is_char(self) -> bool {
        self.mode & Self::FORMAT == 0o020_000
    }
}

#[repr(C)]
struct KernelStat {
    device: u64,
    inode: u64,
    #[cfg(target_arch = "x86_64")]
    links: u64,
    mode: u32,
    #[cfg(target_arch = "aarch64")]
    links: u32,
    uid: u32,
    gid: u32,
    #[cfg(target_arch = "x86_64")]
    pad: u32,
    rdev: u64,
    rest: [u64; 13],
}

/// stat of the open file itself. newfstatat(2)
pub(crate) fn stat(fd: Fd) -> Result<Stat> {
    const AT_EMPTY_PATH: usize = 0x1000;
    stat_at(fd, b"\0", AT_EMPTY_PATH)
}

/// stat of a directory entry, links not followed.
pub(crate) fn lstat_at(dir: Fd, name: Path<'_>) -> Result<Stat> {
    const AT_SYMLINK_NOFOLLOW: usize = 0x100;
    stat_at(dir, name, AT_SYMLINK_NOFOLLOW)
}

fn stat_at(dir: Fd, name: Path<'_>, flags: usize) -> Result<Stat> {
    let mut buffer = core::mem::MaybeUninit::<KernelStat>::zeroed();
    syscall!(nr::NEWFSTATAT, dir, name, buffer.as_mut_ptr(), flags)?;
    // SAFETY: zeroed integers are valid, and the kernel filled them in.
    let stat = unsafe { buffer.assume_init() };
    Ok(Stat { mode: stat.mode, uid: stat.uid, inode: stat.inode, device: stat.device, rdev: stat.rdev })
}

/// The filesystem's magic number. fstatfs(2)
pub(crate) fn filesystem_magic(fd: Fd) -> Result<u64> {
    let mut buffer = [0u64; 15];
    syscall!(nr::FSTATFS, fd, buffer.as_mut_ptr())?;
    Ok(buffer[0])
}

/// Mount flags of the filesystem (ST_*). fstatfs(2)
pub(crate) fn filesystem_flags(fd: Fd) -> Result<u64> {
    let mut buffer = [0u64; 15];
    syscall!(nr::FSTATFS, fd, buffer.as_mut_ptr())?;
    Ok(buffer[10])
}

pub(crate) fn remove_file(dir: Fd, name: Path<'_>) -> Result<()> {
    syscall!(nr::UNLINKAT, dir, name, 0usize).map(drop)
}

pub(crate) fn symlinkat(contents: Path<'_>, dir: Fd, name: Path<'_>) -> Result<()> {
    syscall!(nr::SYMLINKAT, contents, dir, name).map(drop)
}

/// The contents of a link, without a NUL. An empty name reads the link `dir` itself is open on.
pub(crate) fn readlinkat<'b>(dir: Fd, name: Path<'_>, buffer: &'b mut [u8]) -> Result<&'b [u8]> {
    let len = syscall!(nr::READLINKAT, dir, name, buffer.as_mut_ptr(), buffer.len())?;
    Ok(&buffer[..len])
}

/// May this process execute the file? access(2) with real ids, which init has not dropped yet.
pub(crate) fn executable(dir: Fd, path: Path<'_>) -> Result<()> {
    const X_OK: usize = 1;
    syscall!(nr::FACCESSAT, dir, path, X_OK).map(drop)
}

pub(crate) fn unshare(flags: u64) -> Result<()> {
    syscall!(nr::UNSHARE, flags).map(drop)
}

pub(crate) fn setns(fd: Fd, kind: u64) -> Result<()> {
    syscall!(nr::SETNS, fd, kind).map(drop)
}

/// Both ends close-on-exec: read, write. pipe2(2)
pub(crate) fn pipe() -> Result<(OwnedFd, OwnedFd)> {
    let mut ends = [0i32; 2];
    syscall!(nr::PIPE2, ends.as_mut_ptr(), O_CLOEXEC)?;
    Ok((OwnedFd(Fd(ends[0])), OwnedFd(Fd(ends[1]))))
}

/// Sets both halves of a limit of this process. prlimit(2)
pub(crate) fn set_limit(resource: u32, soft: u64, hard: u64) -> Result<()> {
    let limit = [soft, hard];
    syscall!(nr::PRLIMIT64, 0usize, resource, limit.as_ptr(), 0usize).map(drop)
}

#[repr(C)]
struct SockFprog {
    len: u16,
    filter: *const u8,
}

/// Installs a BPF filter: eight bytes an instruction. seccomp(2)
pub(crate) fn install_filter(flags: u32, program: &[u8]) -> Result<()> {
    const SECCOMP_SET_MODE_FILTER: usize = 1;
    let len = u16::try_from(program.len() / 8).map_err(|_| EINVAL)?;
    let program = SockFprog { len, filter: program.as_ptr() };
    syscall!(nr::SECCOMP, SECCOMP_SET_MODE_FILTER, flags, &raw const program).map(drop)
}

/// Milliseconds of the monotonic clock.
pub(crate) fn now() -> u64 {
    const CLOCK_MONOTONIC: usize = 1;
    let mut time = [0u64; 2];
    match syscall!(nr::CLOCK_GETTIME, CLOCK_MONOTONIC, time.as_mut_ptr()) {
        Ok(_) => time[0] * 1000 + time[1] / 1_000_000,
        Err(_) => 0,
    }
}

/// close_range(2); with `mark`, the descriptors are only made close-on-exec.
pub(crate) fn close_range(first: u32, last: u32, mark: bool) -> Result<()> {
    const CLOSE_RANGE_CLOEXEC: usize = 4;
    let flags = if mark { CLOSE_RANGE_CLOEXEC } else { 0 };
    syscall!(common::CLOSE_RANGE, first, last, flags).map(drop)
}

/// Attributes of mounts (MOUNT_ATTR_*). mount_setattr(2)
pub(crate) mod attr {
    pub(crate) const RDONLY: u64 = 1;
}

/// A detached copy of the mount at `path` below `dir`. open_tree(2)
pub(crate) fn clone_tree(dir: Fd, path: Path<'_>, recursive: bool) -> Result<OwnedFd> {
    const OPEN_TREE_CLONE: u32 = 1;
    const AT_EMPTY_PATH: u32 = 0x1000;
    const AT_RECURSIVE: u32 = 0x8000;
    let flags = OPEN_TREE_CLONE | O_CLOEXEC | AT_EMPTY_PATH | if recursive { AT_RECURSIVE } else { 0 };
    syscall!(common::OPEN_TREE, dir, path, flags).map(OwnedFd::new)
}

/// Attaches a detached mount on top of the open file `target`. move_mount(2)
pub(crate) fn attach(tree: Fd, target: Fd) -> Result<()> {
    const MOVE_MOUNT_F_EMPTY_PATH: usize = 4;
    const MOVE_MOUNT_T_EMPTY_PATH: usize = 0x40;
    let flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH;
    syscall!(common::MOVE_MOUNT, tree, &b"\0"[..], target, &b"\0"[..], flags).map(drop)
}

pub(crate) fn fsopen(fstype: Path<'_>) -> Result<OwnedFd> {
    const FSOPEN_CLOEXEC: usize = 1;
    syscall!(common::FSOPEN, fstype, FSOPEN_CLOEXEC).map(OwnedFd::new)
}

/// A flag, or a key with its value. fsconfig(2)
pub(crate) fn fsconfig(context: Fd, key: Path<'_>, value: Option<Path<'_>>) -> Result<()> {
    const FSCONFIG_SET_FLAG: usize = 0;
    const FSCONFIG_SET_STRING: usize = 1;
    match value {
        None => syscall!(common::FSCONFIG, context, FSCONFIG_SET_FLAG, key, 0usize, 0usize),
        Some(value) => syscall!(common::FSCONFIG, context, FSCONFIG_SET_STRING, key, value, 0usize),
    }
    .map(drop)
}

pub(crate) fn fsconfig_create(context: Fd) -> Result<()> {
    const FSCONFIG_CMD_CREATE: usize = 6;
    syscall!(common::FSCONFIG, context, FSCONFIG_CMD_CREATE, 0usize, 0usize, 0usize).map(drop)
}

pub(crate) fn fsmount(context: Fd, attributes: u64) -> Result<OwnedFd> {
    const FSMOUNT_CLOEXEC: usize = 1;
    syscall!(common::FSMOUNT, context, FSMOUNT_CLOEXEC, attributes).map(OwnedFd::new)
}

/// Of the mount that `fd` is open on, and of those below it when `recursive`. mount_setattr(2)
pub(crate) fn mount_setattr(fd: Fd, recursive: bool, set: u64, clear: u64, propagation: u64) -> Result<()> {
    const AT_EMPTY_PATH: u32 = 0x1000;
    const AT_RECURSIVE: u32 = 0x8000;
    let flags = AT_EMPTY_PATH | if recursive { AT_RECURSIVE } else { 0 };
    let attributes = [set, clear, propagation, 0];
    syscall!(common::MOUNT_SETATTR, fd, &b"\0"[..], flags, attributes.as_ptr(), 32usize).map(drop)
}
