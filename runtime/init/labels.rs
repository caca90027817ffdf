//! What init tells the security modules of itself. proc_pid_attr(5)

use crate::program::{Detail, Text};
use crate::run::{Init, Outcome};
use crate::sys;
use crate::sysctl::write_all;

impl Init<'_> {
    /// Writes `value` into the first of `files` that is there.
    pub(crate) fn attribute(&mut self, files: &[Text<'_>], value: Text<'_>) -> Outcome {
        let proc = self.proc()?;
        let flags = sys::O_WRONLY | sys::o::NOFOLLOW;
        let mut tries = files
            .iter()
            .map(|file| sys::openat(proc, file.with_nul(), flags, 0));
        let file = tries
            .find(|tried| !matches!(tried, Err(sys::ENOENT)))
            .unwrap_or(Err(sys::ENOENT))?;
        write_all(file.fd(), value, Detail::Label)
    }
}
