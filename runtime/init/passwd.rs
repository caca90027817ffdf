//! A user's home directory, as the container's `/etc/passwd` has it. passwd(5)
//!
//! The file is the image's: it may be a pipe, a device, or have no end. Only a
//! regular file is opened, and only so much of it is read.

use crate::home::Search;
use crate::paths;
use crate::run::{Init, Outcome};
use crate::sys::{self, Fd};
use alloc::vec::Vec;

/// No more of the file than this.
const FILE_MAX: usize = 1 << 20;

impl Init<'_> {
    /// Gives the program a HOME: `/` where the file has none to offer.
    pub(crate) fn home(&mut self, uid: u32) -> Outcome {
        let home = read_home(self.root()?, uid).unwrap_or_else(|| b"/".to_vec());
        let entry = [b"HOME=", home.as_slice(), b"\0"].concat();
        if let Some(execution) = &mut self.execution {
            execution.add_to_environment(entry.leak());
        }
        Ok(())
    }
}

/// Whatever keeps us from the answer: a container without users has no such file either.
fn read_home(root: Fd, uid: u32) -> Option<Vec<u8>> {
    let file = paths::open_file(root, b"/etc/passwd").ok()?;
    let mut search = Search::new(uid);
    let mut buffer = [0u8; 4096];
    let mut rest = FILE_MAX;
    while rest > 0 {
        match sys::read(file.fd(), &mut buffer) {
            Ok(0) | Err(_) => break,
            Ok(count) => {
                if let Some(home) = search.read(&buffer[..count]) {
                    return home;
                }
                rest = rest.saturating_sub(count);
            }
        }
    }
    search.line_ends().flatten()
}
