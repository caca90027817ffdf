//! What this kernel can do, tried with its own calls. A runtime can't have from it what we can't either, so a
//! test that needs it is skipped, or wants a refusal.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use crate::holder::Holder;
use crate::suite::{Check, Stop};

/// A tmpfs may have the ids of a user namespace: since 6.3.
pub(crate) fn maps_ids_of_tmpfs() -> Check {
    let holder = Holder::start("user")?;
    let namespace = std::fs::File::open(holder.path("user"))?;
    let tried = detached("tmpfs", &[]).and_then(|mount| map_ids(&mount, namespace.as_raw_fd()));
    unless(tried, "the kernel maps no ids of a tmpfs")
}

/// Overlays may be told of their layers one by one: since 6.7.
pub(crate) fn takes_layers_one_by_one(first: &str, second: &str) -> Check {
    let tried = detached("overlay", &[("lowerdir+", first), ("lowerdir+", second)]);
    unless(tried.map(drop), "the kernel has no lowerdir+ of overlays")
}

/// Whether a thread may have the memory policy, with the nodes that the mask names.
pub(crate) fn has_memory_policy(mode: libc::c_int) -> bool {
    // The policy is the thread's own, and ends with it.
    let tried = std::thread::spawn(move || {
        let nodes = 1_u64;
        // SAFETY: the kernel reads one word of the mask.
        unsafe { libc::syscall(libc::SYS_set_mempolicy, mode, &raw const nodes, 64) }
    });
    tried.join().is_ok_and(|result| result == 0)
}

fn unless(tried: io::Result<()>, reason: &str) -> Check {
    tried.map_err(|error| Stop::Skip(format!("{reason}: {error}")))
}

fn opened(fd: libc::c_long) -> io::Result<OwnedFd> {
    let fd = RawFd::try_from(fd).map_err(io::Error::other)?;
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just returned this descriptor and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A mount of a new filesystem, attached nowhere. fsopen(2), fsconfig(2), fsmount(2)
fn detached(kind: &str, options: &[(&str, &str)]) -> io::Result<OwnedFd> {
    const SET_STRING: libc::c_uint = 1;
    const CREATE: libc::c_uint = 6;
    let kind = CString::new(kind)?;
    // SAFETY: the kernel reads a string that lives over the call.
    let context = opened(unsafe { libc::syscall(libc::SYS_fsopen, kind.as_ptr(), 1) })?;
    let configure =
        |command: libc::c_uint, key: *const libc::c_char, value: *const libc::c_char| {
            // SAFETY: the kernel reads two strings that live over the call, or null where it wants none.
            match unsafe {
                libc::syscall(
                    libc::SYS_fsconfig,
                    context.as_raw_fd(),
                    command,
                    key,
                    value,
                    0,
                )
            } {
                0 => Ok(()),
                _ => Err(io::Error::last_os_error()),
            }
        };
    for (key, value) in options {
        let (key, value) = (CString::new(*key)?, CString::new(*value)?);
        configure(SET_STRING, key.as_ptr(), value.as_ptr())?;
    }
    configure(CREATE, std::ptr::null(), std::ptr::null())?;
    // SAFETY: takes numbers.
    opened(unsafe { libc::syscall(libc::SYS_fsmount, context.as_raw_fd(), 1, 0) })
}

/// mount_setattr(2)
fn map_ids(mount: &OwnedFd, namespace: RawFd) -> io::Result<()> {
    let attributes = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_IDMAP,
        attr_clr: 0,
        propagation: 0,
        userns_fd: u64::try_from(namespace).map_err(io::Error::other)?,
    };
    // SAFETY: the kernel reads an empty path and as much of the attributes as it is told.
    match unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            &raw const attributes,
            size_of_val(&attributes),
        )
    } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
