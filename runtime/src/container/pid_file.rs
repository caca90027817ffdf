//! The file that tells engines init's pid.

use crate::error::{Error, Result};
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

/// Whole or not at all: engines read it as soon as it has its name.
pub(super) fn write_pid_file(path: &Path, pid: i32) -> Result<()> {
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
