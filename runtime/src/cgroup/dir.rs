//! Directories and control files of a cgroup filesystem, by descriptor.
//!
//! The tree below a container's cgroup may be the container's own work: of any
//! depth, and changing while it is read. A walk holds one directory open at a
//! time, and what vanishes meanwhile is no error.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::NixPath;
use nix::dir::{Dir, Type};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat, openat2};
use nix::sys::stat::{Mode, fstat};
use nix::unistd::{UnlinkatFlags, read, unlinkat, write};

/// A directory, usable for all that cgroups ask of one: CLONE_INTO_CGROUP and
/// xattrs refuse an O_PATH descriptor.
pub(super) fn open<P: NixPath + ?Sized>(at: BorrowedFd<'_>, path: &P) -> Result<OwnedFd, Errno> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    openat(at, path, flags, Mode::empty())
}

/// One below another, wherever `..` may lead.
pub(super) fn open_beneath(at: BorrowedFd<'_>, path: &str) -> Result<OwnedFd, Errno> {
    let how = OpenHow::new()
        .flags(OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS);
    openat2(at, path, how)
}

/// A mount point; unlike inside a cgroup filesystem there may be links on the
/// way.
pub(super) fn open_mount(path: &str) -> Result<OwnedFd, Errno> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    openat(AT_FDCWD, path, flags, Mode::empty())
}

pub(super) fn remove(at: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
    unlinkat(at, name, UnlinkatFlags::RemoveDir)
}

/// A whole file by its path.
pub(super) fn read_path(path: &str) -> Result<String, Errno> {
    read_at(AT_FDCWD, path)
}

/// The same of one that need not be text.
pub(super) fn read_bytes(path: &str) -> Result<Vec<u8>, Errno> {
    read_bytes_at(AT_FDCWD, path)
}

/// A whole control file.
pub(super) fn read_at(dir: BorrowedFd<'_>, file: &str) -> Result<String, Errno> {
    String::from_utf8(read_bytes_at(dir, file)?).map_err(|_| Errno::EILSEQ)
}

fn read_bytes_at(dir: BorrowedFd<'_>, file: &str) -> Result<Vec<u8>, Errno> {
    let fd = openat(dir, file, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?;
    let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        match read(&fd, &mut buffer) {
            Ok(0) => return Ok(bytes),
            Ok(n) => bytes.extend_from_slice(&buffer[..n]),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

pub(super) fn open_for_write(dir: BorrowedFd<'_>, file: &str) -> Result<OwnedFd, Errno> {
    openat(dir, file, OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty())
}

pub(super) fn write_at(dir: BorrowedFd<'_>, file: &str, value: &str) -> Result<(), Errno> {
    write_value(&open_for_write(dir, file)?, value)
}

/// One write: the kernel takes a value whole or not at all.
pub(super) fn write_value(file: &OwnedFd, value: &str) -> Result<(), Errno> {
    loop {
        match write(file, value.as_bytes()) {
            Err(Errno::EINTR) => {}
            written => return written.map(drop),
        }
    }
}

/// The value of a `key value` line, as in cgroup.events.
pub(super) fn keyed(text: &str, key: &str) -> Option<u64> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(' '))?;
    line.trim().parse().ok()
}

/// The processes of one cgroup, without those below it. Processes of another
/// pid namespace are listed by the kernel as 0 and left out.
pub(super) fn pids(dir: BorrowedFd<'_>) -> Result<Vec<i32>, Errno> {
    match read_at(dir, "cgroup.procs") {
        Ok(text) => Ok(text
            .lines()
            .filter_map(|line| line.parse().ok())
            .filter(|pid| *pid > 0)
            .collect()),
        Err(Errno::ENODEV | Errno::ENOENT) => Ok(Vec::new()), // removed
        Err(Errno::EOPNOTSUPP) => pids_of_threads(dir),
        Err(errno) => Err(errno),
    }
}

/// A threaded cgroup2 lists threads alone: to the kernel the processes are its
/// parent's. cgroups(7)
fn pids_of_threads(dir: BorrowedFd<'_>) -> Result<Vec<i32>, Errno> {
    let text = match read_at(dir, "cgroup.threads") {
        Err(Errno::ENODEV | Errno::ENOENT) => return Ok(Vec::new()),
        text => text?,
    };
    let threads = text.lines().filter_map(|line| line.parse::<i32>().ok());
    let process = |thread: i32| {
        let status = read_path(&format!("/proc/{thread}/status")).ok()?;
        let group = status.lines().find_map(|line| line.strip_prefix("Tgid:"));
        group?.trim().parse::<i32>().ok()
    };
    let mut pids: Vec<i32> = threads
        .filter(|thread| *thread > 0)
        .filter_map(process)
        .collect();
    pids.dedup();
    Ok(pids)
}

/// The names of its control files.
pub(super) fn files(dir: BorrowedFd<'_>) -> Result<Vec<String>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::from_fd(open(dir, ".")?)?.iter() {
        let entry = entry?;
        if entry.file_type() == Some(Type::File) {
            names.extend(entry.file_name().to_str().map(str::to_owned));
        }
    }
    Ok(names)
}

fn children(dir: BorrowedFd<'_>) -> Result<Vec<CString>, Errno> {
    // kernfs counts subdirectories as links: a look spares reading the names
    // of some twenty control files, of nearly all cgroups.
    if fstat(dir)?.st_nlink == 2 {
        return Ok(Vec::new());
    }
    let mut names = Vec::new();
    for entry in Dir::from_fd(open(dir, ".")?)?.iter() {
        let entry = entry?;
        let name = entry.file_name();
        if entry.file_type() == Some(Type::Directory) && name != c"." && name != c".." {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

/// What a walk does on its way.
pub(super) trait Visit {
    /// At each directory, parents before children.
    fn enter(&mut self, dir: BorrowedFd<'_>) -> Result<(), Errno>;
    /// At each directory but the top one, children before parents.
    fn leave(&mut self, _parent: BorrowedFd<'_>, _name: &CStr) -> Result<(), Errno> {
        Ok(())
    }
}

/// Walks the tree at `top`.
pub(super) fn walk(top: BorrowedFd<'_>, visit: &mut impl Visit) -> Result<(), Errno> {
    visit.enter(top)?;
    let mut pending = vec![children(top)?];
    if pending[0].is_empty() {
        return Ok(());
    }
    let (mut here, mut names) = (open(top, ".")?, Vec::<CString>::new());
    while let Some(level) = pending.last_mut() {
        if let Some(name) = level.pop() {
            let child = match open(here.as_fd(), &*name) {
                Err(Errno::ENOENT | Errno::ENODEV) => continue,
                child => child?,
            };
            visit.enter(child.as_fd())?;
            pending.push(match children(child.as_fd()) {
                Err(Errno::ENOENT | Errno::ENODEV) => Vec::new(),
                found => found?,
            });
            (here, _) = (child, names.push(name));
            continue;
        }
        pending.pop();
        if let Some(name) = names.pop() {
            // A cgroup can't be moved to another parent, so this is the
            // directory we came from.
            here = open(here.as_fd(), "..")?;
            visit.leave(here.as_fd(), &name)?;
        }
    }
    Ok(())
}

/// All processes in a tree.
pub(super) fn pids_below(top: BorrowedFd<'_>) -> Result<Vec<i32>, Errno> {
    struct Pids(Vec<i32>);
    impl Visit for Pids {
        fn enter(&mut self, dir: BorrowedFd<'_>) -> Result<(), Errno> {
            self.0.extend(pids(dir)?);
            Ok(())
        }
    }
    let mut found = Pids(Vec::new());
    walk(top, &mut found)?;
    Ok(found.0)
}

/// Removes what is below `top`, as far as it is empty.
pub(super) fn remove_below(top: BorrowedFd<'_>) -> Result<(), Errno> {
    struct Remove;
    impl Visit for Remove {
        fn enter(&mut self, _: BorrowedFd<'_>) -> Result<(), Errno> {
            Ok(())
        }
        fn leave(&mut self, parent: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
            match remove(parent, name) {
                Err(Errno::ENOENT | Errno::EBUSY) => Ok(()), // gone, or tried again
                removed => removed,
            }
        }
    }
    walk(top, &mut Remove)
}
