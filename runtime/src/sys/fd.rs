//! Anonymous files, detached mounts, and duplicates of descriptors.
#![allow(unsafe_code)]

use crate::error::{Error, Result};
use nix::errno::Errno;
use nix::sys::memfd::{MFdFlags, memfd_create};
use std::ffi::{CStr, CString};
use std::fs::File;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// An unnamed file. Where memfd_create(2) is refused, an unnamed file in `fallback`. memfd_create(2)
pub(crate) fn anonymous_file(name: &CStr, fallback: &Path) -> Result<File> {
    match memfd_create(name, MFdFlags::MFD_CLOEXEC) {
        Ok(fd) => Ok(File::from(fd)),
        Err(_) => unnamed_file(fallback, 0o600),
    }
}

/// A file without a name in `directory`. open(2), O_TMPFILE
pub(crate) fn unnamed_file(directory: &Path, mode: u32) -> Result<File> {
    let mut options = std::fs::OpenOptions::new();
    options
        .read(true)
        .write(true)
        .mode(mode)
        .custom_flags(libc::O_TMPFILE | libc::O_CLOEXEC);
    options.open(directory).map_err(|error| {
        Error::system(
            format!("cannot make an unnamed file in {}", directory.display()),
            error,
        )
    })
}

/// A detached copy of the mount at `path`. open_tree(2)
pub(crate) fn clone_tree(path: &str, recursive: bool) -> std::result::Result<OwnedFd, Errno> {
    let path = CString::new(path).map_err(|_| Errno::EINVAL)?;
    // The kernel's headers have these flags as unsigned.
    let flags = libc::OPEN_TREE_CLONE
        | libc::OPEN_TREE_CLOEXEC
        | if recursive {
            libc::AT_RECURSIVE.cast_unsigned()
        } else {
            0
        };
    // SAFETY: `path` is NUL-terminated and lives over the call, which only reads it.
    let fd = unsafe { libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, path.as_ptr(), flags) };
    owned(fd)
}

/// A new filesystem, detached. fsopen(2), fsconfig(2), fsmount(2)
pub(crate) fn new_filesystem(
    fstype: &str,
    source: &str,
    options: &[(&str, Option<&str>)],
) -> std::result::Result<OwnedFd, Errno> {
    const FSCONFIG_SET_FLAG: libc::c_uint = 0;
    const FSCONFIG_SET_STRING: libc::c_uint = 1;
    const FSCONFIG_CMD_CREATE: libc::c_uint = 6;
    const FSOPEN_CLOEXEC: libc::c_uint = 1;
    const FSMOUNT_CLOEXEC: libc::c_uint = 1;
    let text = |text: &str| CString::new(text).map_err(|_| Errno::EINVAL);
    let fstype = text(fstype)?;
    // SAFETY: `fstype` is NUL-terminated and lives over the call, which only reads it.
    let context = unsafe { libc::syscall(libc::SYS_fsopen, fstype.as_ptr(), FSOPEN_CLOEXEC) };
    let context = owned(context)?;
    let configure = |command: libc::c_uint, key: Option<&CStr>, value: Option<&CStr>| {
        let pointer = |text: Option<&CStr>| text.map_or(std::ptr::null(), CStr::as_ptr);
        // SAFETY: both strings are NUL-terminated, or null where the command takes none, and live over the call.
        let done = unsafe {
            libc::syscall(
                libc::SYS_fsconfig,
                context.as_raw_fd(),
                command,
                pointer(key),
                pointer(value),
                0,
            )
        };
        Errno::result(done).map(drop)
    };
    for (key, value) in [("source", Some(source))].iter().chain(options) {
        let (key, value) = (text(key)?, value.map(text).transpose()?);
        let command = match &value {
            Some(_) => FSCONFIG_SET_STRING,
            None => FSCONFIG_SET_FLAG,
        };
        configure(command, Some(&key), value.as_deref())?;
    }
    configure(FSCONFIG_CMD_CREATE, None, None)?;
    // SAFETY: three numbers.
    let mount =
        unsafe { libc::syscall(libc::SYS_fsmount, context.as_raw_fd(), FSMOUNT_CLOEXEC, 0) };
    owned(mount)
}

/// The files of a detached mount get the ids that a user namespace gives them. mount_setattr(2), MOUNT_ATTR_IDMAP
pub(crate) fn map_ids(
    tree: BorrowedFd<'_>,
    recursive: bool,
    namespace: BorrowedFd<'_>,
) -> std::result::Result<(), Errno> {
    let attributes = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_IDMAP,
        attr_clr: 0,
        propagation: 0,
        userns_fd: u64::from(namespace.as_raw_fd().cast_unsigned()),
    };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is an empty string, and the structure as long as the call is told.
    let set = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    Errno::result(set).map(drop)
}

/// Takes a descriptor that a system call has just returned.
pub(crate) fn owned(result: libc::c_long) -> std::result::Result<OwnedFd, Errno> {
    let fd = RawFd::try_from(Errno::result(result)?).map_err(|_| Errno::EBADF)?;
    // SAFETY: the kernel has just made this descriptor for us; nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A duplicate numbered `from` or above, close-on-exec. fcntl(2)
pub(crate) fn duplicate_above(fd: BorrowedFd<'_>, from: RawFd) -> Result<OwnedFd> {
    // SAFETY: F_DUPFD_CLOEXEC takes a number and touches no memory.
    let copy = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, from) };
    owned(copy.into()).map_err(|errno| Error::system("cannot duplicate a descriptor", errno))
}

/// One of the caller's own stdio descriptors, if it is open.
pub(crate) fn stdio(number: RawFd) -> Option<BorrowedFd<'static>> {
    // SAFETY: F_GETFD touches no memory.
    let open = unsafe { libc::fcntl(number, libc::F_GETFD) };
    if open < 0 {
        return None;
    }
    // SAFETY: just seen open; 0 to 2 stay open in a process that is not about to break its own stdio.
    Some(unsafe { BorrowedFd::borrow_raw(number) })
}

/// Reopens what a descriptor is open on, by its link in /proc.
pub(crate) fn proc_path(fd: RawFd) -> String {
    format!("/proc/self/fd/{fd}")
}
