//! Paths inside the container's root filesystem, reached from its descriptor.
//!
//! Nothing here follows a link out of the root: the kernel walks with
//! `RESOLVE_IN_ROOT`, and where something has to be made, or openat2(2) is
//! missing, we walk component by component over `O_NOFOLLOW` descriptors.

use crate::sys::{self, ENOENT, ENOTDIR, Errno, Fd, OwnedFd, Result};
use alloc::vec::Vec;

/// As many links as the kernel follows in one walk.
const MAX_LINKS: usize = 40;

/// What to do about a component that isn't there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    Refuse,
    /// Directories all the way.
    MakeDirectory,
    /// Directories, and an empty file at the end.
    MakeFile,
}

/// An `O_PATH` descriptor of `path` below `root`; links are followed inside the root.
pub(crate) fn open(root: Fd, path: &[u8], missing: Missing) -> Result<OwnedFd> {
    let mut relative: Vec<u8> = b"./".to_vec();
    relative.extend_from_slice(path);
    relative.push(0);
    match sys::openat2(root, &relative, sys::O_PATH) {
        Ok(fd) => return Ok(fd),
        Err(ENOENT) if missing != Missing::Refuse => {
            if let Some(made) = make_last(root, path, missing) {
                return Ok(made);
            }
        }
        // No openat2, or a filter that refuses it: the walk below keeps the same promise.
        Err(sys::ENOSYS | sys::EPERM) => {}
        Err(errno) => return Err(errno),
    }
    Walk::new(root).go(path, missing)
}

/// A regular file, to be read. It is looked at before it is opened, since opening a device may do
/// something, and after, since the name may mean something else by then.
pub(crate) fn open_file(root: Fd, path: &[u8]) -> Result<OwnedFd> {
    let seen = sys::stat(open(root, path, Missing::Refuse)?.fd())?;
    if !seen.is_file() {
        return Err(sys::EINVAL);
    }
    let flags = sys::O_RDONLY | sys::O_NONBLOCK | sys::O_NOCTTY;
    let relative = [b"./", path, b"\0"].concat();
    let file = match sys::openat2(root, &relative, flags) {
        // The walk gives no more than the directory: the name in it must not be a link.
        Err(sys::ENOSYS | sys::EPERM) => {
            let (parent, name) = open_parent(root, path)?;
            sys::openat(parent.fd(), &name, flags | sys::o::NOFOLLOW, 0)?
        }
        other => other?,
    };
    if sys::stat(file.fd())?.is_file() {
        Ok(file)
    } else {
        Err(sys::EINVAL)
    }
}

/// The usual case: only the last component is missing. `None`: it isn't so simple, and the walk decides.
fn make_last(root: Fd, path: &[u8], missing: Missing) -> Option<OwnedFd> {
    let mut components = components(path);
    let mut name = components.pop().filter(|name| *name != b"..")?.to_vec();
    name.push(0);
    let parent = [b"./", components.join(&b'/').as_slice(), b"\0"].concat();
    let parent = sys::openat2(root, &parent, sys::O_PATH | sys::o::DIRECTORY).ok()?;
    if missing == Missing::MakeFile {
        let flags = sys::O_CREAT | sys::O_EXCL | sys::o::NOFOLLOW;
        return sys::openat(parent.fd(), &name, flags, 0o644).ok();
    }
    sys::mkdirat(parent.fd(), &name, 0o755).ok()?;
    let flags = sys::O_PATH | sys::o::NOFOLLOW | sys::o::DIRECTORY;
    sys::openat(parent.fd(), &name, flags, 0).ok()
}

/// The directory that holds `path`'s last component, made if missing, and that component with a NUL.
pub(crate) fn open_parent(root: Fd, path: &[u8]) -> Result<(OwnedFd, Vec<u8>)> {
    let mut components = components(path);
    let mut name = components.pop().ok_or(sys::EISDIR)?.to_vec();
    if name == b".." {
        return Err(sys::EINVAL);
    }
    name.push(0);
    let parent = components.join(&b'/');
    Ok((open(root, &parent, Missing::MakeDirectory)?, name))
}

/// The components of a path, without empty ones and dots.
fn components(path: &[u8]) -> Vec<&[u8]> {
    path.split(|byte| *byte == b'/')
        .filter(|part| !part.is_empty() && *part != b".")
        .collect()
}

/// A walk below `root`. `above` holds the directories from the root (excluded) down to where we are,
/// so `..` never asks the filesystem.
struct Walk {
    root: Fd,
    above: Vec<OwnedFd>,
    links: usize,
}

impl Walk {
    fn new(root: Fd) -> Walk {
        Walk {
            root,
            above: Vec::new(),
            links: 0,
        }
    }

    fn here(&self) -> Fd {
        self.above.last().map_or(self.root, OwnedFd::fd)
    }

    fn go(mut self, path: &[u8], missing: Missing) -> Result<OwnedFd> {
        let mut todo: Vec<Vec<u8>> = components(path)
            .iter()
            .rev()
            .map(|part| part.to_vec())
            .collect();
        while let Some(mut name) = todo.pop() {
            if name == b".." {
                self.above.pop();
                continue;
            }
            name.push(0);
            let fd = self.enter(&name, missing, todo.is_empty())?;
            let stat = sys::stat(fd.fd())?;
            if stat.is_symlink() {
                self.follow(fd.fd(), &mut todo)?;
            } else if stat.is_dir() {
                self.above.push(fd);
            } else if todo.is_empty() {
                return Ok(fd);
            } else {
                return Err(ENOTDIR);
            }
        }
        match self.above.pop() {
            Some(fd) => Ok(fd),
            None => sys::openat(self.root, b".\0", sys::O_PATH, 0),
        }
    }

    /// Opens one component, which may be a link; makes it if it is missing and that is wanted.
    fn enter(&self, name: &[u8], missing: Missing, last: bool) -> Result<OwnedFd> {
        let open = || sys::openat(self.here(), name, sys::O_PATH | sys::o::NOFOLLOW, 0);
        match open() {
            Err(ENOENT) if missing != Missing::Refuse => {}
            other => return other,
        }
        if last && missing == Missing::MakeFile {
            let flags = sys::O_CREAT | sys::O_EXCL | sys::o::NOFOLLOW;
            made(sys::openat(self.here(), name, flags, 0o644).map(drop))?;
        } else {
            made(sys::mkdirat(self.here(), name, 0o755))?;
        }
        open()
    }

    /// Puts a link's components in front of what is left to walk.
    fn follow(&mut self, link: Fd, todo: &mut Vec<Vec<u8>>) -> Result<()> {
        self.links += 1;
        if self.links > MAX_LINKS {
            return Err(sys::ELOOP);
        }
        let mut buffer = [0u8; 4096];
        let contents = sys::readlinkat(link, b"\0", &mut buffer)?;
        if contents.first() == Some(&b'/') {
            self.above.clear();
        }
        todo.extend(components(contents).iter().rev().map(|part| part.to_vec()));
        Ok(())
    }
}

/// Somebody else made it in between: as good as made by us, and opened without following links.
fn made(result: Result<()>) -> Result<()> {
    match result {
        Err(sys::EEXIST) => Ok(()),
        Err(Errno(errno)) => Err(Errno(errno)),
        Ok(()) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::{MetadataExt, symlink};
    use std::path::{Path, PathBuf};

    fn fresh(name: &str) -> PathBuf {
        let dir =
            std::env::temp_dir().join(format!("longshore-paths-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir); // may be left by an earlier run
        std::fs::create_dir_all(dir.join("root/real")).unwrap();
        std::fs::create_dir_all(dir.join("outside")).unwrap();
        dir
    }

    /// Both the kernel's walk and ours must land on the same inode.
    fn check(dir: &Path, path: &str, expect: Option<&str>) {
        let root = std::fs::File::open(dir.join("root")).unwrap();
        let root = Fd(root.as_raw_fd());
        let ours = Walk::new(root).go(path.as_bytes(), Missing::Refuse);
        let either = open(root, path.as_bytes(), Missing::Refuse);
        let expect = expect.map(|path| {
            std::fs::metadata(dir.join("root").join(path))
                .unwrap()
                .ino()
        });
        for got in [ours, either] {
            assert_eq!(
                got.ok().map(|fd| sys::stat(fd.fd()).unwrap().inode),
                expect,
                "{path}"
            );
        }
    }

    #[test]
    fn links_stay_inside() {
        let dir = fresh("links");
        let root = dir.join("root");
        symlink("/real", root.join("absolute")).unwrap();
        symlink("../../../real", root.join("climbing")).unwrap();
        symlink(dir.join("outside"), root.join("escape")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        std::fs::write(root.join("real/file"), "x").unwrap();
        check(&dir, "/absolute", Some("real"));
        check(&dir, "climbing/file", Some("real/file"));
        check(&dir, "/../../real", Some("real"));
        check(&dir, "real/file/below", None);
        check(&dir, "escape", None);
        check(&dir, "loop", None);
        check(&dir, "/", Some("."));
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn only_files_are_opened() {
        let dir = fresh("files");
        let root_path = dir.join("root");
        std::fs::write(root_path.join("real/file"), "x").unwrap();
        symlink("/real/file", root_path.join("link")).unwrap();
        symlink("/dev/zero", root_path.join("zero")).unwrap();
        nix_fifo(&root_path.join("fifo"));
        let root = std::fs::File::open(&root_path).unwrap();
        let root = Fd(root.as_raw_fd());
        for (path, file) in [
            ("/real/file", true),
            ("/link", true),
            ("/zero", false),
            ("/fifo", false),
            ("/real", false),
        ] {
            assert_eq!(open_file(root, path.as_bytes()).is_ok(), file, "{path}");
        }
        std::fs::remove_dir_all(dir).unwrap();
    }

    fn nix_fifo(path: &Path) {
        let made = std::process::Command::new("mkfifo").arg(path).status();
        assert!(made.unwrap().success());
    }

    #[test]
    fn targets_are_made_inside() {
        let dir = fresh("make");
        let root_path = dir.join("root");
        symlink(dir.join("outside"), root_path.join("escape")).unwrap();
        let root = std::fs::File::open(&root_path).unwrap();
        let root = Fd(root.as_raw_fd());
        open(root, b"/escape/deep/dir", Missing::MakeDirectory).unwrap();
        open(root, b"/a/b/file", Missing::MakeFile).unwrap();
        assert!(
            std::fs::read_dir(dir.join("outside"))
                .unwrap()
                .next()
                .is_none()
        );
        assert!(root_path.join("a/b/file").is_file());
        let (parent, name) = open_parent(root, b"/dev/net/tun").unwrap();
        assert_eq!(name, b"tun\0");
        assert!(sys::stat(parent.fd()).unwrap().is_dir());
        assert_eq!(open_parent(root, b"/").unwrap_err(), sys::EISDIR);
        std::fs::remove_dir_all(dir).unwrap();
    }
}
