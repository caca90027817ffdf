//! A user namespace for its maps alone, which id-mapped mounts are given.
//!
//! Nobody lives in it: a stage 1 makes it, waits until it is mapped and opened, and ends.

use super::{idmap, image, link, spawn};
use crate::config::IdMapping;
use crate::error::{Error, Result};
use crate::sys::socket::{self, Received};
use crate::sys::{fd, pidfd};
use crate::wire::{self, Op, frame};
use std::ffi::CString;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::path::Path;
use std::time::{Duration, Instant};

const DEADLINE: Duration = Duration::from_secs(10);

/// Standard input, output and error.
const FIRST: RawFd = 3;

pub(super) fn with_maps(
    uids: &[IdMapping],
    gids: &[IdMapping],
    state_root: &Path,
) -> Result<OwnedFd> {
    let refused = |errno| Error::system("cannot make a user namespace for its maps", errno);
    let (host, inits) = socket::pair().map_err(refused)?;
    let inits = fd::duplicate_above(inits.as_fd(), FIRST)?;
    let mut program = fd::anonymous_file(c"longshore-program", state_root)?;
    let mut bytes = link::fresh_page(0, false).to_vec();
    wire::put_header(inits.as_raw_fd().cast_unsigned(), 2, &mut bytes);
    let flags = crate::config::NamespaceKind::User.flag();
    Op::Unshare { flags }.put(0, &mut bytes);
    Op::Sync {}.put(1, &mut bytes);
    program
        .write_all(&bytes)
        .map_err(|error| Error::system("cannot write a program for stage 1", error))?;
    let program = fd::duplicate_above(program.as_fd(), FIRST)?;
    let argument = CString::new(program.as_raw_fd().to_string()).unwrap_or_default(); // digits
    let pass = [inits.as_raw_fd(), program.as_raw_fd()];
    let stage1 = spawn::spawn(image::image(state_root)?.as_fd(), &argument, &pass)?;
    drop((inits, program));
    let opened = meet(&host, stage1.pidfd.as_fd()).and_then(|()| {
        // Whoever may map the ids of a mount may write these.
        idmap::write_ourselves(stage1.pid, uids, gids).map_err(|error| {
            // It knows the container's own maps only.
            let errno = error.errno().unwrap_or(libc::EPERM);
            Error::system("cannot write the maps of the mount", errno)
        })?;
        let path = format!("/proc/{}/ns/user", stage1.pid);
        File::open(&path).map_err(|error| Error::system(format!("cannot open {path}"), error))
    });
    let _ = pidfd::send_signal(stage1.pidfd.as_fd(), libc::SIGKILL); // it has nothing more to do
    let _ = pidfd::wait(stage1.pidfd.as_fd(), true, true); // reaped, or taken by somebody
    opened.map(OwnedFd::from)
}

/// Stage 1 is in its namespace.
fn meet(host: &OwnedFd, stage1: std::os::fd::BorrowedFd<'_>) -> Result<()> {
    let refused = |errno| Error::system("cannot hear from stage 1", errno);
    let deadline = Some(Instant::now() + DEADLINE);
    let ready = pidfd::poll_any(&[host.as_fd(), stage1], deadline).map_err(refused)?;
    let word = match ready.first() {
        Some(true) => socket::receive(host.as_fd()).map_err(refused)?,
        _ => Received::EndOfFile,
    };
    match word {
        Received::Frame(word, _) if word.kind == frame::SYNC => Ok(()),
        _ => Err(Error::system(
            "cannot make a user namespace for its maps",
            libc::EPERM,
        )),
    }
}
