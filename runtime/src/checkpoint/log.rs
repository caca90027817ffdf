//! What CRIU's log says of a failure: CRIU's own answer is a number.

use crate::error::{Error, ErrorKind};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// The end of a log is enough: it stops soon after what went wrong.
const END: u64 = 64 << 10;

/// How many of its lines an error holds.
const LINES: usize = 3;

/// The error with the log's last complaints, on the same line, and where to read on.
pub(crate) fn explain(error: Error, log: &Path) -> Error {
    if error.kind() != ErrorKind::Criu {
        return error;
    }
    let complaints = complaints(&end_of(log).unwrap_or_default());
    let words = match complaints.is_empty() {
        true => String::new(),
        false => format!(": {complaints}"),
    };
    Error::new(
        ErrorKind::Criu,
        format!("{error}{words} (log file: {})", log.display()),
    )
}

fn end_of(log: &Path) -> std::io::Result<String> {
    let mut file = File::open(log)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(END)))?;
    let mut bytes = Vec::new();
    file.take(END).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// `(00.123456) Error (criu/file.c:12): words` without the time.
fn complaints(log: &str) -> String {
    let errors = log
        .lines()
        .filter_map(|line| line.find("Error (").map(|at| &line[at..]));
    let mut last: Vec<_> = errors.rev().take(LINES).collect();
    last.reverse();
    last.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_complaints_are_quoted() {
        let line = |number| format!("(00.1) pie: Error (criu/a.c:{number}): no\n(00.2) more\n");
        let log: String = (1..=5).map(line).collect();
        assert_eq!(
            complaints(&log),
            "Error (criu/a.c:3): no; Error (criu/a.c:4): no; Error (criu/a.c:5): no"
        );
        assert_eq!(complaints("(00.1) fine\n"), "");
    }
}
