//! How engines are told of a new process: by its pid in a file, by its pidfd over a socket.

use crate::error::{Error, Result};
use crate::sys::socket;
use std::fs::{self, File};
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Who wants to be told.
#[derive(Debug, Default)]
pub(super) struct Announce {
    pub(super) pid_file: Option<PathBuf>,
    pub(super) pidfd_socket: Option<OwnedFd>,
}

/// What the message with the pidfd says: runc's words, which tell whose it is.
pub(super) const INIT: &[u8] = b"standard";
pub(super) const ADDED: &[u8] = b"setns";

impl Announce {
    /// The socket first: what fails leaves no file.
    pub(super) fn tell(&self, pid: i32, pidfd: BorrowedFd<'_>, whose: &[u8]) -> Result<()> {
        if let Some(socket) = &self.pidfd_socket {
            socket::send_all(socket.as_fd(), whose, pidfd)
                .map_err(|errno| Error::system("cannot send the pidfd", errno))?;
        }
        let file = self.pid_file.as_deref();
        file.map_or(Ok(()), |path| write_pid_file(path, pid))
    }
}

/// Whole or not at all: engines read it as soon as it has its name.
fn write_pid_file(path: &Path, pid: i32) -> Result<()> {
    let refused = |error| Error::system(format!("cannot write pid file {}", path.display()), error);
    let name = path
        .file_name()
        .ok_or_else(|| refused(std::io::Error::from_raw_os_error(libc::EISDIR)))?;
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    let hidden = path.with_file_name(hidden);
    let _ = fs::remove_file(&hidden); // of a create that was killed in between
    let mut file = File::options()
        .write(true)
        .create_new(true)
        .open(&hidden)
        .map_err(refused)?;
    let written = file
        .write_all(pid.to_string().as_bytes())
        .and_then(|()| fs::rename(&hidden, path));
    written.map_err(|error| {
        let _ = fs::remove_file(&hidden); // ours: it was made exclusively
        refused(error)
    })
}
