//! What init tells the security modules of itself. proc_pid_attr(5)

use crate::program::{Detail, Text};
use crate::run::{Failure, Init, Outcome, Refused};
use crate::sys;

const PROC_SUPER_MAGIC: u64 = 0x9fa0;

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
        // Somebody's mount over the caller's procfs would take the value in silence.
        if sys::filesystem_magic(file.fd())? != PROC_SUPER_MAGIC {
            return Err(Failure::new(sys::ENOTSUP, Detail::Failed));
        }
        match sys::write(file.fd(), value.bytes()).refused(Detail::Label)? {
            written if written == value.bytes().len() => Ok(()),
            _ => Err(Failure::new(sys::EINVAL, Detail::Label)),
        }
    }
}
