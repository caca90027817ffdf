//! Copies what a directory holds into a fresh filesystem: `tmpcopyup`.
//!
//! Level by level over descriptors, no link followed. A tree deeper than our
//! descriptors reach is an error.

use crate::program::Detail;
use crate::run::{Outcome, Refused};
use crate::sys::{self, Fd, OwnedFd, Stat};
use alloc::vec::Vec;

/// A directory on the way: what is left of it.
struct Level {
    from: OwnedFd,
    to: OwnedFd,
    names: Vec<Vec<u8>>,
    stat: Stat,
}

/// Everything below `from`, with owners, modes and times.
pub(crate) fn copy_tree(from: Fd, to: Fd) -> Outcome {
    let mut buffer = alloc::vec![0u8; 64 * 1024];
    let flags = sys::O_RDONLY | sys::o::DIRECTORY;
    let top = sys::openat(from, b".\0", flags, 0).refused(Detail::CopyUp)?;
    let onto = sys::openat(to, b".\0", flags, 0).refused(Detail::CopyUp)?;
    let mut levels = alloc::vec![open_level(top, onto, &mut buffer).refused(Detail::CopyUp)?];
    while let Some(level) = levels.last_mut() {
        let Some(name) = level.names.pop() else {
            // Last: what was made in it has changed them.
            let _ = sys::set_times(level.to.fd(), &level.stat); // a comfort
            levels.pop();
            continue;
        };
        let shown = &name[..name.len() - 1];
        if let Some(below) = entry(level, &name, &mut buffer).refused_text(Detail::CopyUp, shown)? {
            levels.push(below);
        }
    }
    Ok(())
}

fn open_level(from: OwnedFd, to: OwnedFd, buffer: &mut [u8]) -> sys::Result<Level> {
    let stat = sys::stat(from.fd())?;
    let names = sys::names(from.fd(), buffer)?;
    Ok(Level {
        from,
        to,
        names,
        stat,
    })
}

/// One entry; a directory is what is to be done next.
fn entry(level: &Level, name: &[u8], buffer: &mut [u8]) -> sys::Result<Option<Level>> {
    let (from, to) = (level.from.fd(), level.to.fd());
    let stat = sys::lstat_at(from, name)?;
    if stat.is_dir() {
        sys::mkdirat(to, name, 0o700)?;
        let flags = sys::O_RDONLY | sys::o::DIRECTORY | sys::o::NOFOLLOW;
        let made = sys::openat(to, name, flags, 0)?;
        give(made.fd(), &stat)?;
        return open_level(sys::openat(from, name, flags, 0)?, made, buffer).map(Some);
    }
    if stat.is_file() {
        file(from, to, name, buffer)?;
        return Ok(None);
    }
    if stat.is_symlink() {
        let length = sys::readlinkat(from, name, &mut buffer[..4096])?.len();
        buffer[length] = 0;
        sys::symlinkat(&buffer[..=length], to, name)?;
    } else {
        sys::mknodat(to, name, stat.mode, stat.rdev)?;
    }
    sys::chown_link(to, name, stat.uid, stat.gid)?;
    Ok(None)
}

fn file(from: Fd, to: Fd, name: &[u8], buffer: &mut [u8]) -> sys::Result<()> {
    let flags = sys::O_RDONLY | sys::O_NONBLOCK | sys::o::NOFOLLOW;
    let source = sys::openat(from, name, flags, 0)?;
    let stat = sys::stat(source.fd())?;
    if !stat.is_file() {
        return Err(sys::EINVAL);
    }
    let flags = sys::O_WRONLY | sys::O_CREAT | sys::O_EXCL | sys::o::NOFOLLOW;
    let made = sys::openat(to, name, flags, 0o600)?;
    loop {
        let count = sys::read(source.fd(), buffer)?;
        if count == 0 {
            break;
        }
        let mut written = 0;
        while written < count {
            written += sys::write(made.fd(), &buffer[written..count])?;
        }
    }
    give(made.fd(), &stat)?;
    // After the owner, whose change would take them away again.
    const CAPABILITIES: &[u8] = b"security.capability\0";
    if let Ok(count) = sys::get_attribute(source.fd(), CAPABILITIES, buffer) {
        sys::set_attribute(made.fd(), CAPABILITIES, &buffer[..count])?;
    }
    sys::set_times(made.fd(), &stat)
}

/// The owner first: a change of owner clears the setuid bit.
fn give(fd: Fd, stat: &Stat) -> sys::Result<()> {
    sys::chown_fd(fd, stat.uid, stat.gid)?;
    sys::chmod_fd(fd, stat.mode & 0o7777)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    #[test]
    fn a_tree_arrives_as_it_was() {
        let dir = std::env::temp_dir().join(format!("longshore-copy-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir); // may be left by an earlier run
        let deep = dir.join("from/a/b");
        std::fs::create_dir_all(&deep).unwrap();
        std::fs::create_dir(dir.join("to")).unwrap();
        let large = vec![7u8; 200_000];
        std::fs::write(deep.join("large"), &large).unwrap();
        std::fs::write(dir.join("from/tool"), "x").unwrap();
        let mode = std::fs::Permissions::from_mode(0o4751);
        std::fs::set_permissions(dir.join("from/tool"), mode).unwrap();
        symlink("/nowhere", dir.join("from/link")).unwrap();
        for index in 0..3000 {
            std::fs::write(dir.join(format!("from/a/{index}")), "").unwrap();
        }
        let open = |name: &str| std::fs::File::open(dir.join(name)).unwrap();
        let (from, to) = (open("from"), open("to"));
        copy_tree(Fd(from.as_raw_fd()), Fd(to.as_raw_fd())).unwrap();
        let at = |name: &str| dir.join("to").join(name);
        assert_eq!(std::fs::read(at("a/b/large")).unwrap(), large);
        assert_eq!(std::fs::read_dir(at("a")).unwrap().count(), 3001);
        assert_eq!(
            std::fs::read_link(at("link")).unwrap().to_str(),
            Some("/nowhere")
        );
        let (old, new) = (
            dir.join("from/tool").metadata().unwrap(),
            at("tool").metadata().unwrap(),
        );
        assert_eq!(
            (old.mode(), old.mtime(), old.mtime_nsec()),
            (new.mode(), new.mtime(), new.mtime_nsec())
        );
        let (old, new) = (
            dir.join("from/a").metadata().unwrap(),
            at("a").metadata().unwrap(),
        );
        assert_eq!(
            (old.mode(), old.mtime_nsec()),
            (new.mode(), new.mtime_nsec())
        );
        std::fs::remove_dir_all(dir).unwrap();
    }
}
