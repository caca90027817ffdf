//! Init's door to the kernel: one function per system call, nothing else.
//!
//! No libc: init is freestanding. Every function returns the errno as a value.
//! Structures are laid out as the kernel's headers have them.

use alloc::vec::Vec;
use core::arch::asm;

mod numbers;
use numbers::{common, nr};

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
    syscall!(nr::MMAP, 0usize, len, PROT_READ_WRITE, flags, fd, 0usize)
        .map(|address| address as *mut u8)
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

pub(crate) const O_RDONLY: u32 = 0;
pub(crate) const O_WRONLY: u32 = 1;
pub(crate) const O_RDWR: u32 = 2;
pub(crate) const O_CREAT: u32 = 0o100;
pub(crate) const O_EXCL: u32 = 0o200;
pub(crate) const O_NOCTTY: u32 = 0o400;
pub(crate) const O_NONBLOCK: u32 = 0o4000;
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
    let how = [
        u64::from(flags | O_CLOEXEC),
        0,
        resolve::IN_ROOT | resolve::NO_MAGICLINKS,
    ];
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

/// chown of a directory entry, links not followed. fchownat(2)
pub(crate) fn chown_link(dir: Fd, name: Path<'_>, uid: u32, gid: u32) -> Result<()> {
    const AT_SYMLINK_NOFOLLOW: usize = 0x100;
    syscall!(nr::FCHOWNAT, dir, name, uid, gid, AT_SYMLINK_NOFOLLOW).map(drop)
}

pub(crate) fn chmod_fd(fd: Fd, mode: u32) -> Result<()> {
    syscall!(nr::FCHMOD, fd, mode).map(drop)
}

/// utimensat(2) of the open file itself.
pub(crate) fn set_times(fd: Fd, stat: &Stat) -> Result<()> {
    syscall!(nr::UTIMENSAT, fd, 0usize, stat.times.as_ptr(), 0usize).map(drop)
}

/// An extended attribute's bytes in the buffer. fgetxattr(2)
pub(crate) fn get_attribute(fd: Fd, name: Path<'_>, buffer: &mut [u8]) -> Result<usize> {
    let (place, len) = (buffer.as_mut_ptr(), buffer.len());
    syscall!(nr::FGETXATTR, fd, name, place, len)
}

pub(crate) fn set_attribute(fd: Fd, name: Path<'_>, value: &[u8]) -> Result<()> {
    let (place, len) = (value.as_ptr(), value.len());
    syscall!(nr::FSETXATTR, fd, name, place, len, 0usize).map(drop)
}

/// What a directory holds, each name with its NUL. getdents64(2)
pub(crate) fn names(directory: Fd, buffer: &mut [u8]) -> Result<Vec<Vec<u8>>> {
    /// Before the name: inode, offset, the record's length, the type.
    const NAME: usize = 19;
    let mut names = Vec::new();
    loop {
        let (place, len) = (buffer.as_mut_ptr(), buffer.len());
        let mut records = &buffer[..syscall!(nr::GETDENTS64, directory, place, len)?];
        if records.is_empty() {
            return Ok(names);
        }
        while records.len() > NAME {
            let length = usize::from(u16::from_le_bytes([records[16], records[17]]));
            let (record, rest) = records.split_at_checked(length).ok_or(EIO)?;
            let name = record.get(NAME..).ok_or(EIO)?;
            let end = name.iter().position(|byte| *byte == 0).ok_or(EIO)?;
            if ![&b"."[..], b".."].contains(&&name[..end]) {
                names.push(name[..=end].to_vec());
            }
            records = rest;
        }
    }
}

/// The parts of stat(2) that init looks at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stat {
    pub(crate) mode: u32,
    pub(crate) inode: u64,
    pub(crate) rdev: u64,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Seconds and nanoseconds, of the last access and of the last change of the contents.
    pub(crate) times: [u64; 4],
}

impl Stat {
    const FORMAT: u32 = 0o170_000;

    pub(crate) fn is_dir(self) -> bool {
        self.mode & Self::FORMAT == 0o040_000
    }

    pub(crate) fn is_symlink(self) -> bool {
        self.mode & Self::FORMAT == 0o120_000
    }

    pub(crate) fn is_file(self) -> bool {
        self.mode & Self::FORMAT == 0o100_000
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
    // After size, block size and blocks, and aarch64's padding.
    let time = |index: usize| stat.rest[if cfg!(target_arch = "aarch64") { 4 } else { 3 } + index];
    Ok(Stat {
        mode: stat.mode,
        inode: stat.inode,
        rdev: stat.rdev,
        uid: stat.uid,
        gid: stat.gid,
        times: [time(0), time(1), time(2), time(3)],
    })
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

/// close_range(2); with `mark`, the descriptors are only made close-on-exec.
pub(crate) fn close_range(first: u32, last: u32, mark: bool) -> Result<()> {
    const CLOSE_RANGE_CLOEXEC: usize = 4;
    let flags = if mark { CLOSE_RANGE_CLOEXEC } else { 0 };
    syscall!(common::CLOSE_RANGE, first, last, flags).map(drop)
}

// After the macro that they use.
mod mount;
mod process;
mod socket;

pub(crate) use mount::*;
pub(crate) use process::*;
pub(crate) use socket::*;
