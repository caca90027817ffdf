//! Extended attributes of an open file.
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;

/// [fsetxattr(2)](https://man7.org/linux/man-pages/man2/fsetxattr.2.html).
pub(crate) fn set(file: BorrowedFd<'_>, name: &CStr, value: &[u8]) -> Result<(), Errno> {
    let (data, len) = (value.as_ptr().cast(), value.len());
    // SAFETY: `name` is NUL-terminated; `data` points at `len` readable bytes.
    let ret = unsafe { libc::fsetxattr(file.as_raw_fd(), name.as_ptr(), data, len, 0) };
    Errno::result(ret).map(drop)
}

/// [fgetxattr(2)](https://man7.org/linux/man-pages/man2/fgetxattr.2.html); a
/// value that doesn't fit is ERANGE.
pub(crate) fn get<'b>(
    file: BorrowedFd<'_>,
    name: &CStr,
    buffer: &'b mut [u8],
) -> Result<&'b [u8], Errno> {
    let (data, len) = (buffer.as_mut_ptr().cast(), buffer.len());
    // SAFETY: `name` is NUL-terminated; `data` points at `len` writable bytes,
    // borrowed for the length of the call.
    let ret = unsafe { libc::fgetxattr(file.as_raw_fd(), name.as_ptr(), data, len) };
    let len = usize::try_from(Errno::result(ret)?).map_err(|_| Errno::ERANGE)?;
    Ok(&buffer[..len])
}
