//! Who owns a namespace.
#![allow(unsafe_code)]

use super::fd::owned;
use std::fs::File;
use std::os::fd::AsRawFd;

/// The user namespace that owns this one; `None` when it is above ours. ioctl_ns(2)
pub(crate) fn owner(namespace: &File) -> Option<File> {
    const NS_GET_USERNS: libc::c_ulong = 0xb701;
    // SAFETY: the request takes no argument and returns a descriptor.
    let fd = unsafe { libc::ioctl(namespace.as_raw_fd(), NS_GET_USERNS) };
    owned(fd.into()).ok().map(File::from)
}
