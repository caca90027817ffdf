//! A user's home directory, as the container's `/etc/passwd` has it. passwd(5)
//!
//! The file is the image's: it may be a pipe, a device, or have no end. Only a
//! regular file is opened, and only so much of it is read.

use crate::paths;
use crate::run::{Init, Outcome};
use crate::sys::{self, Fd};
use alloc::vec::Vec;

/// No more of the file than this, and no more of a line.
const FILE_MAX: usize = 1 << 20;
const LINE_MAX: usize = 4096;

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

/// Lines are looked at as they come; a line that is too long is none.
struct Search {
    uid: u32,
    line: Vec<u8>,
}

impl Search {
    fn new(uid: u32) -> Search {
        Search {
            uid,
            line: Vec::with_capacity(LINE_MAX),
        }
    }

    /// The first line of this uid decides, also that there is no home.
    fn read(&mut self, bytes: &[u8]) -> Option<Option<Vec<u8>>> {
        for byte in bytes {
            if *byte != b'\n' {
                if self.line.len() < LINE_MAX {
                    self.line.push(*byte);
                }
            } else if let Some(home) = self.line_ends() {
                return Some(home);
            }
        }
        None
    }

    fn line_ends(&mut self) -> Option<Option<Vec<u8>>> {
        let found = (self.line.len() < LINE_MAX)
            .then(|| home_of(&self.line, self.uid))
            .flatten();
        self.line.clear();
        found
    }
}

/// `name:password:uid:gid:gecos:home:shell`. `None`: another user's line, or none at all.
fn home_of(line: &[u8], uid: u32) -> Option<Option<Vec<u8>>> {
    let fields: Vec<&[u8]> = line.split(|byte| *byte == b':').collect();
    let number = core::str::from_utf8(fields.get(2)?).ok()?;
    if number.parse::<u32>() != Ok(uid) {
        return None;
    }
    let home = *fields.get(5)?;
    Some((!home.is_empty() && !home.contains(&0)).then(|| home.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(file: &[u8], uid: u32, expect: Option<&[u8]>) {
        for step in [1, 3, 4096] {
            let mut search = Search::new(uid);
            let found = file.chunks(step).find_map(|chunk| search.read(chunk));
            let found = found.or_else(|| search.line_ends()).flatten();
            assert_eq!(found.as_deref(), expect, "{uid} in steps of {step}");
        }
    }

    #[test]
    fn the_first_line_of_the_uid_decides() {
        let file = b"# a comment\nroot:x:0:0:root:/root:/bin/sh\n\na:x:7:7::/a:/s\nb:x:7:7::/b:/s\nc:x:8:8:::\nd:x:9:9::/d";
        check(file, 0, Some(b"/root"));
        check(file, 7, Some(b"/a"));
        check(file, 8, None);
        check(file, 9, Some(b"/d"));
        check(file, 10, None);
        check(b"", 0, None);
    }

    #[test]
    fn what_is_no_line_is_passed_over() {
        let long = [
            b"root:x:0:0:",
            "x".repeat(LINE_MAX).as_bytes(),
            b":/long:\nr:x:0:0::/r:\n",
        ]
        .concat();
        check(&long, 0, Some(b"/r"));
        check(
            b"root:x:0\nroot:x:+0:0::/a:\nroot:x:00:0::/b:\n",
            0,
            Some(b"/a"),
        );
        check(b"root:x:0:0::/a\0b:\n", 0, None);
        check(b"\xff:\xff:\xff:::/a:\n", 0, None);
        check(&[0; 10_000], 0, None);
    }
}
