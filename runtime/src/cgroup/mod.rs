//! Control groups: where a container's processes are counted, limited, frozen
//! and found.
//!
//! ```text
//! Layout::probe          what the host has
//! directories            cgroupsPath -> one directory a hierarchy   pure
//! limits::compile        resources -> file writes                   pure
//! devices, device_filter device rules -> v1 lines, v2 program       pure
//! Cgroup::create         make and mark the directories
//! Cgroup::open, find     the same from the record, or without one
//! apply, apply_devices, join_file, v2_dir
//! note, restore           what limits were before a change
//! stats::read, stats::Oom what is used, and whether it was too much
//! processes, kill, remove, freeze, thaw, is_frozen, oom_kills
//! ```
//!
//! A directory is ours if it carries our nonce (`stamp.rs`). Only in such a
//! one, and below it, is anything killed; only such a one is removed for good.
//! Nothing here changes the calling process, and each wait has a deadline.

mod change;
mod create;
mod device_filter;
mod devices;
mod dir;
mod freezer;
mod kill;
mod layout;
mod limits;
mod one_more;
mod paths;
mod stamp;
pub(crate) mod stats;
#[cfg(test)]
mod tests;
mod v1;
mod v2;

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::AT_FDCWD;

pub(crate) use device_filter::program as device_program;
pub(crate) use devices::lines as device_lines;
#[cfg(any(test, feature = "_internals"))]
pub(crate) use layout::from_mountinfo;
pub(crate) use layout::{Layout, V2};
pub(crate) use layout::{Mount as HostMount, parse_mounts};
pub(crate) use limits::{Facts, Missing, Version, Write, compile, difference};
pub(crate) use paths::{Directories, Directory, directories};

use crate::Error;
use crate::config::resources::DeviceRule;
use stamp::Owner;

/// The cgroup of one container: a directory in each hierarchy.
#[derive(Debug)]
pub(crate) struct Cgroup {
    nodes: Vec<Node>,
}

/// One directory that exists.
#[derive(Debug)]
struct Node {
    place: Directory,
    owner: Owner,
    dir: OwnedFd,
}

impl Cgroup {
    /// The directories of a record, as many as exist: after a crash any part
    /// of them may, marked or not.
    pub(crate) fn open(dirs: &Directories, nonce: &str) -> Result<Cgroup, Error> {
        let mut nodes = Vec::with_capacity(dirs.0.len());
        for place in &dirs.0 {
            let node = Node::open(place, nonce).map_err(|errno| {
                Error::system(format!("cannot open cgroup {}", place.display()), errno)
            })?;
            nodes.extend(node);
        }
        Ok(Cgroup { nodes })
    }

    /// Only what freezing goes by: for those who ask for a state, which must be quick.
    pub(crate) fn open_freezer(dirs: &Directories, nonce: &str) -> Result<Cgroup, Error> {
        let place = dirs.freezer().cloned().into_iter().collect();
        Cgroup::open(&Directories(place), nonce)
    }

    /// What to keep in the record: the directories, with those that were
    /// there before told apart.
    pub(crate) fn directories(&self) -> Directories {
        Directories(self.nodes.iter().map(|node| node.place.clone()).collect())
    }

    /// No directory of it exists.
    #[cfg(test)]
    fn is_absent(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Writes limits. A write that the kernel refuses for the value is tried
    /// again after the others, since many depend on each other: memory+swap is
    /// never below memory, the burst never above the quota.
    pub(crate) fn apply(&self, writes: &[Write]) -> Result<(), Error> {
        for write in writes {
            self.check_usage(write)?;
        }
        let mut again = Vec::new();
        for write in writes {
            match self.write(write) {
                Err((_, Errno::EINVAL | Errno::EBUSY)) => again.push(write),
                result => result.map_err(|(node, errno)| describe(node, write, errno))?,
            }
        }
        for write in again {
            self.write(write)
                .map_err(|(node, errno)| describe(node, write, errno))?;
        }
        Ok(())
    }

    fn write(&self, write: &Write) -> Result<(), (Option<&Node>, Errno)> {
        let Some(node) = self.controlling(&write.controller) else {
            return Err((None, Errno::ENOENT));
        };
        let written = match (
            dir::write_at(node.dir(), &write.file, &write.value),
            &write.missing,
        ) {
            (Err(Errno::ENOENT), Missing::InForce) => Ok(()),
            (Err(Errno::ENOENT), Missing::Instead { file, value }) => {
                dir::write_at(node.dir(), file, value)
            }
            (written, _) => written,
        };
        written.map_err(|errno| (Some(node), errno))
    }

    /// config-linux.md#memory, checkBeforeUpdate. Before any write: nothing is half done then.
    fn check_usage(&self, write: &Write) -> Result<(), Error> {
        let (Some(file), Some(node)) = (write.usage, self.controlling(&write.controller)) else {
            return Ok(());
        };
        let read = dir::read_at(node.dir(), file).map_err(|errno| {
            Error::system(format!("cannot read {file}"), errno).at(&*write.config_path)
        })?;
        let number = |text: &str| text.trim().parse::<u64>().unwrap_or(u64::MAX); // `max`
        if number(&write.value) < number(&read) {
            let message = format!("{} is below the {} in use", write.value, read.trim());
            return Err(Error::config(&*write.config_path, message));
        }
        Ok(())
    }

    /// Puts device rules in force; none restrict nothing.
    pub(crate) fn apply_devices(&self, rules: &[DeviceRule]) -> Result<(), Error> {
        const PATH: &str = "linux.resources.devices";
        let Some(program) = device_program(rules) else {
            return Ok(());
        };
        if let Some(node) = self.pure_v2() {
            return v2::filter_devices(node, &program).map_err(|errno| {
                Error::system("cannot install the device filter", errno).at(PATH)
            });
        }
        let Some(node) = self
            .nodes
            .iter()
            .find(|node| node.place.controls("devices"))
        else {
            return Err(Error::unsupported(
                PATH,
                "this host has no devices cgroup mounted",
            ));
        };
        let lines = device_lines(rules)?;
        // One open for each run of lines to one file: there are a dozen.
        for run in lines.chunk_by(|a, b| a.file == b.file) {
            let fail =
                |errno| Error::system(format!("cannot write {}", run[0].file), errno).at(PATH);
            let file = dir::open_for_write(node.dir(), run[0].file).map_err(fail)?;
            for line in run {
                dir::write_value(&file, &line.value).map_err(|errno| {
                    let what = format!("cannot write {} to {}", line.value, line.file);
                    Error::system(what, errno).at(PATH)
                })?;
            }
        }
        Ok(())
    }

    /// A process joins the `index`th directory by writing `0` into this file.
    /// `tasks` moves the writing thread, which for a process of one thread is
    /// all of it and spares the lock that `cgroup.procs` takes against every
    /// fork and exit of the machine; cgroup2 has only the latter.
    pub(crate) fn join_file(&self, index: usize) -> Result<OwnedFd, Error> {
        let Some(node) = self.nodes.get(index) else {
            return Err(Error::system("cannot join the cgroup", Errno::ENOENT));
        };
        let file = if node.place.is_v2() {
            "cgroup.procs"
        } else {
            "tasks"
        };
        dir::open_for_write(node.dir(), file)
            .map_err(|errno| node.error(&format!("cannot open {file} of"), errno))
    }

    /// Moves a process of one thread into it, which is not ours to write for itself.
    pub(crate) fn add(&self, pid: i32) -> Result<(), Error> {
        for (index, node) in self.nodes.iter().enumerate() {
            let file = self.join_file(index)?;
            dir::write_value(&file, &pid.to_string())
                .map_err(|errno| node.error("cannot join", errno))?;
        }
        Ok(())
    }

    /// cgroup2 alone, no v1 hierarchy.
    pub(crate) fn is_pure_v2(&self) -> bool {
        self.pure_v2().is_some()
    }

    /// For CLONE_INTO_CGROUP, which knows cgroup2 only, beside v1 hierarchies too.
    pub(crate) fn v2_dir(&self) -> Option<BorrowedFd<'_>> {
        self.nodes
            .iter()
            .find(|node| node.place.is_v2())
            .map(Node::dir)
    }

    /// The processes in it, and in what is below where the directory is ours.
    pub(crate) fn processes(&self) -> Result<Vec<i32>, Error> {
        let mut found = Vec::new();
        for node in &self.nodes {
            let pids = match node.owner {
                Owner::Ours => dir::pids_below(node.dir()),
                _ => dir::pids(node.dir()),
            };
            found.extend(pids.map_err(|errno| node.error("cannot list", errno))?);
        }
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }

    /// How many processes in it the kernel has killed for want of memory; 0 if
    /// that can't be known.
    pub(crate) fn oom_kills(&self) -> u64 {
        let Some(node) = self.controlling("memory") else {
            return 0;
        };
        let file = if node.place.is_v2() {
            "memory.events"
        } else {
            "memory.oom_control"
        };
        let text = dir::read_at(node.dir(), file).unwrap_or_default();
        dir::keyed(&text, "oom_kill").unwrap_or(0)
    }

    fn pure_v2(&self) -> Option<&Node> {
        self.nodes
            .first()
            .filter(|node| self.nodes.len() == 1 && node.place.is_v2())
    }

    /// The directory with a controller's files.
    fn controlling(&self, controller: &str) -> Option<&Node> {
        let named = self
            .nodes
            .iter()
            .find(|node| node.place.controls(controller));
        named.or_else(|| self.pure_v2())
    }

    fn ours(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|node| node.owner == Owner::Ours)
    }
}

impl Node {
    /// `None` if there is no such directory or no such mount any more.
    fn open(place: &Directory, nonce: &str) -> Result<Option<Node>, Errno> {
        // By its path: the mount is the host's own, and every command opens all hierarchies.
        let dir = match dir::open(AT_FDCWD, &*place.display()) {
            Err(Errno::ENOENT | Errno::ENOTDIR) => return Ok(None),
            opened => opened?,
        };
        let owner = stamp::owner(dir.as_fd(), nonce)?;
        // Our mark says that it is a cgroup, too: only a cgroup is ever marked.
        if owner != Owner::Ours && !is_cgroup(dir.as_fd(), place)? {
            return Ok(None);
        }
        Ok(Some(Node {
            place: place.clone(),
            owner,
            dir,
        }))
    }

    fn dir(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// Of cgroup2: without a controller that the host has.
    fn lacks(&self, controller: &str) -> bool {
        let enabled = || dir::read_at(self.dir(), "cgroup.controllers").unwrap_or_default();
        self.place.is_v2() && !enabled().split_whitespace().any(|name| name == controller)
    }

    fn rmdir(&self) -> Result<(), Errno> {
        let path = CString::new(self.place.display()).map_err(|_| Errno::EINVAL)?;
        dir::remove(AT_FDCWD, &path)
    }

    fn error(&self, what: &str, errno: Errno) -> Error {
        Error::system(format!("{what} cgroup {}", self.place.display()), errno)
    }
}

/// Guards against a mount point that now holds something else.
fn is_cgroup(dir: BorrowedFd<'_>, place: &Directory) -> Result<bool, Errno> {
    use nix::sys::statfs::{CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC, fstatfs};
    let expect = if place.is_v2() {
        CGROUP2_SUPER_MAGIC
    } else {
        CGROUP_SUPER_MAGIC
    };
    Ok(fstatfs(dir)?.filesystem_type() == expect)
}

fn describe(node: Option<&Node>, write: &Write, errno: Errno) -> Error {
    let Write {
        file,
        value,
        controller,
        ..
    } = write;
    let what = match node {
        None => format!("cannot set {file} to {value}: the container has no {controller} cgroup"),
        // Enabled for none of our children by some ancestor, which often
        // holds processes itself.
        Some(node) if errno == Errno::ENOENT && node.lacks(controller) => format!(
            "cannot set {file} to {value}: {}{} has no {controller} controller",
            if v2::is_threaded(node.dir()) {
                "the threaded "
            } else {
                ""
            },
            node.place.display()
        ),
        Some(_) => format!("cannot set {file} to {value}"),
    };
    Error::system(what, errno).at(&*write.config_path)
}
