//! The line of one user in the text of an `/etc/passwd`. passwd(5)
//!
//! Pure, so that the library's tests and fuzz targets have it too.

use alloc::vec::Vec;

/// A longer line is none.
pub(crate) const LINE_MAX: usize = 4096;

/// Lines are looked at as they come; a line that is too long is none.
pub(crate) struct Search {
    uid: u32,
    line: Vec<u8>,
}

impl Search {
    pub(crate) fn new(uid: u32) -> Search {
        Search {
            uid,
            line: Vec::with_capacity(LINE_MAX),
        }
    }

    /// The first line of this uid decides, also that there is no home.
    pub(crate) fn read(&mut self, bytes: &[u8]) -> Option<Option<Vec<u8>>> {
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

    /// What an unfinished last line says.
    pub(crate) fn line_ends(&mut self) -> Option<Option<Vec<u8>>> {
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
