//! What only cgroup v1 asks for: a new cpuset has no CPU and no memory node
//! and takes no process until it is given some.

use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;

use super::dir;
use super::paths::parent;

const FILES: [&str; 2] = ["cpuset.cpus", "cpuset.mems"];

/// Gives each empty cpuset on the way down to `path` what its parent has.
/// `made` are those that were made just now.
pub(super) fn fill_cpuset(mount: BorrowedFd<'_>, path: &str, made: &[&str]) -> Result<(), Errno> {
    // The parent is nearly always filled: begin from below.
    let mut empty = Vec::new();
    let mut at = format!("/{path}");
    let values = loop {
        let values = read(mount, &at)?;
        if at == "/" || values.iter().all(|value| !value.is_empty()) {
            break values;
        }
        empty.push(at.clone());
        at = parent(&at).to_owned();
    };
    for path in empty.iter().rev() {
        let dir = dir::open(mount, &path[1..])?;
        for (file, value) in FILES.iter().zip(&values) {
            let ours = made.contains(&&path[1..]);
            if ours || dir::read_at(dir.as_fd(), file)?.trim().is_empty() {
                dir::write_at(dir.as_fd(), file, value)?;
            }
        }
    }
    Ok(())
}

fn read(mount: BorrowedFd<'_>, path: &str) -> Result<[String; 2], Errno> {
    let file = |name| {
        let file = format!("{path}/{name}");
        let text = dir::read_at(mount, file.trim_start_matches('/'))?;
        Ok::<_, Errno>(text.trim().to_owned())
    };
    Ok([file(FILES[0])?, file(FILES[1])?])
}
