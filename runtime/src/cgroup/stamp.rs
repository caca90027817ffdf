//! The mark that says whose a cgroup directory is: an xattr with the nonce of
//! the container that made it. Only in a directory with our own mark is
//! anything killed.

use std::os::fd::BorrowedFd;

use nix::errno::Errno;

use crate::sys::xattr;

/// `trusted.` needs CAP_SYS_ADMIN in the first user namespace; `user.` is for
/// those who run in another (cgroup v2, Linux 5.7).
const NAMES: [&std::ffi::CStr; 2] = [c"trusted.longshore", c"user.longshore"];

/// Whose a directory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// Made for the container with this nonce.
    Ours,
    /// Made for another container.
    Foreign,
    /// Not marked: somebody else's, or ours from a create that was killed
    /// between mkdir and mark.
    Nobody,
}

pub(super) fn set(dir: BorrowedFd<'_>, nonce: &str) -> Result<(), Errno> {
    match xattr::set(dir, NAMES[0], nonce.as_bytes()) {
        Err(Errno::EPERM | Errno::EOPNOTSUPP) => xattr::set(dir, NAMES[1], nonce.as_bytes()),
        set => set,
    }
}

pub(super) fn owner(dir: BorrowedFd<'_>, nonce: &str) -> Result<Owner, Errno> {
    Ok(match read(dir)? {
        None => Owner::Nobody,
        Some(mark) if mark == nonce.as_bytes() => Owner::Ours,
        Some(_) => Owner::Foreign,
    })
}

/// The mark, if there is one: a nonce, unless somebody else has written it.
pub(super) fn read(dir: BorrowedFd<'_>) -> Result<Option<Vec<u8>>, Errno> {
    let mut buffer = [0; 256];
    for name in NAMES {
        match xattr::get(dir, name, &mut buffer) {
            Ok(mark) => return Ok(Some(mark.to_vec())),
            Err(Errno::ERANGE) => return Ok(Some(Vec::new())),
            Err(Errno::ENODATA | Errno::EOPNOTSUPP | Errno::EPERM) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(None)
}
