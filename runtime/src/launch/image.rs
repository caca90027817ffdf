//! The executable file of init: a sealed memfd, made once a process. The
//! container never meets a file of the host's (CVE-2019-5736).
//!
//! The ladder where memfds can't be executed: an unnamed file in the state
//! root, reopened read-only; else an error that says what to change.

use crate::error::{Error, Result};
use crate::sys::fd;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::OnceLock;

/// Built by build.rs from `init/`.
const INIT: &[u8] = include_bytes!(env!("LONGSHORE_INIT"));

/// memfd_create(2): "may be executed", from Linux 6.3 on.
const MFD_EXEC: MFdFlags = MFdFlags::from_bits_retain(0x10);

static SEALED: OnceLock<OwnedFd> = OnceLock::new();

/// A descriptor to execute: the process's sealed one, or a copy for this launch.
pub(crate) enum Image {
    Sealed(&'static OwnedFd),
    Copy(OwnedFd),
}

impl AsFd for Image {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        match self {
            Image::Sealed(fd) => fd.as_fd(),
            Image::Copy(fd) => fd.as_fd(),
        }
    }
}

pub(crate) fn image(state_root: &Path) -> Result<Image> {
    if let Some(fd) = SEALED.get() {
        return Ok(Image::Sealed(fd));
    }
    match sealed() {
        // Another thread may have been faster: its file is as good.
        Ok(fd) => Ok(Image::Sealed(SEALED.get_or_init(|| fd))),
        Err(first) => unnamed(state_root).map(Image::Copy).map_err(|second| {
            Error::unsupported(
                "process",
                format!("no way to execute init: a memfd is refused ({first}; see sysctl vm.memfd_noexec), and {second}"),
            )
        }),
    }
}

fn sealed() -> Result<OwnedFd> {
    let refused = |errno| Error::system("cannot make a memfd for init", errno);
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let fd = match memfd_create(c"longshore-init", flags | MFD_EXEC) {
        Err(nix::errno::Errno::EINVAL) => memfd_create(c"longshore-init", flags),
        other => other,
    }
    .map_err(refused)?;
    let mut file = File::from(fd);
    file.write_all(INIT)
        .map_err(|error| Error::system("cannot write init's memfd", error))?;
    let seals = SealFlag::F_SEAL_SEAL
        | SealFlag::F_SEAL_SHRINK
        | SealFlag::F_SEAL_GROW
        | SealFlag::F_SEAL_WRITE;
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals)).map_err(refused)?;
    Ok(file.into())
}

/// Not sealed, but unlinked, ours alone, and open for reading only: ETXTBSY guards it while it runs.
fn unnamed(state_root: &Path) -> Result<OwnedFd> {
    let mut file = fd::unnamed_file(state_root, 0o500)?;
    file.write_all(INIT)
        .map_err(|error| Error::system("cannot write init's file", error))?;
    let path = fd::proc_path(file.as_raw_fd());
    let reopened = std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_CLOEXEC)
        .open(path);
    let reopened = reopened.map_err(|error| Error::system("cannot reopen init's file", error))?;
    let flags = nix::sys::statvfs::fstatvfs(&reopened)
        .map_err(|errno| Error::system("cannot look at the state root", errno))?
        .flags();
    if flags.contains(nix::sys::statvfs::FsFlags::ST_NOEXEC) {
        return Err(Error::new(
            crate::ErrorKind::Unsupported,
            format!("{} is mounted noexec", state_root.display()),
        ));
    }
    Ok(reopened.into())
}
