//! Making a container's cgroup, and finding it again without a record.
//!
//! Makes directories and marks them; undoes what it made when it fails. It
//! enables controllers and fills cpusets but sets no limit.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::SystemTime;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, readlink};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::dir::{self, Visit};
use super::layout::memberships;
use super::stamp::{self, Owner};
use super::{Cgroup, Directories, Directory, Layout, Node, freezer, is_cgroup, paths, v1, v2};
use crate::{Error, ErrorKind};

const PATH: &str = "linux.cgroupsPath";

impl Cgroup {
    /// Makes the directories, parents included. Those of which the last part
    /// is made here are marked with `nonce`; one that exists is used as it is,
    /// unless something is in it.
    pub(crate) fn create(
        layout: &Layout,
        dirs: &Directories,
        nonce: &str,
    ) -> Result<Cgroup, Error> {
        let mut cgroup = Cgroup {
            nodes: Vec::with_capacity(dirs.0.len()),
        };
        let mut made = Vec::new();
        for place in &dirs.0 {
            match create_one(layout, place, nonce, &mut made) {
                Ok(node) => cgroup.nodes.push(node),
                Err(error) => {
                    undo(&made);
                    return Err(error.at(PATH));
                }
            }
        }
        Ok(cgroup)
    }

    /// The directory that systemd has made for a unit of ours: nobody but `init`, or nobody at all, is in it.
    /// Marked as one that we made. What `place` says of where it is, init's own cgroup knows better.
    pub(crate) fn adopt(
        layout: &Layout,
        mut place: Directory,
        nonce: &str,
        init: Option<i32>,
    ) -> Result<Cgroup, Error> {
        if let Some(init) = init {
            place.path = in_unit(&place.path, init)?;
        }
        let fail =
            |errno| Error::system(format!("cannot use cgroup {}", place.display()), errno).at(PATH);
        let mount = dir::open_mount(&place.mount).map_err(fail)?;
        if !is_cgroup(mount.as_fd(), &place).map_err(fail)? {
            return Err(fail(Errno::ENODEV));
        }
        // Those that systemd doesn't know of.
        if let Layout::V2(host) = layout {
            v2::enable_controllers(mount.as_fd(), &place.path, &host.controllers);
        }
        let dir = dir::open(mount.as_fd(), &*place.path).map_err(fail)?;
        stamp::set(dir.as_fd(), nonce).map_err(fail)?;
        let owner = Owner::Ours;
        let nodes = vec![Node { place, owner, dir }];
        Ok(Cgroup { nodes })
    }

    /// Every directory that carries `nonce`, in all hierarchies. Reads the
    /// whole tree: for when a container's record is lost.
    pub(crate) fn find(layout: &Layout, nonce: &str) -> Result<Cgroup, Error> {
        let mut nodes = Vec::new();
        for mut place in paths::directories(layout, Some("/"), "")?.0 {
            let mount = place.mount.clone();
            let fail = |errno| Error::system(format!("cannot search {mount}"), errno);
            let top = dir::open_mount(&mount).map_err(fail)?;
            let mut search = Search::default();
            dir::walk(top.as_fd(), &mut search).map_err(fail)?;
            let prefix = name_of(top.as_fd()).map_err(fail)?;
            let ours = search.found.into_iter().filter(|found| found.0 == nonce);
            for (_, path) in ours {
                let below = path.strip_prefix(&prefix).unwrap_or_default();
                below.trim_start_matches('/').clone_into(&mut place.path);
                nodes.extend(Node::open(&place, nonce).map_err(fail)?);
            }
        }
        Ok(Cgroup { nodes })
    }

    /// The nonces of all containers that have a directory somewhere.
    pub(crate) fn nonces(layout: &Layout) -> Result<BTreeSet<String>, Error> {
        let mut search = Search::default();
        for place in paths::directories(layout, Some("/"), "")?.0 {
            let fail = |errno| Error::system(format!("cannot search {}", place.mount), errno);
            let top = dir::open_mount(&place.mount).map_err(fail)?;
            dir::walk(top.as_fd(), &mut search).map_err(fail)?;
        }
        Ok(search.found.into_iter().map(|found| found.0).collect())
    }

    /// When something was made or removed in it last.
    pub(crate) fn changed(&self) -> Option<SystemTime> {
        let changed = |node: &Node| {
            let directory = File::from(node.dir.try_clone().ok()?);
            directory.metadata().ok()?.modified().ok()
        };
        self.nodes.iter().filter_map(changed).max()
    }
}

/// Where a process is in cgroup2, which must be in the unit that the path ends with.
fn in_unit(path: &str, pid: i32) -> Result<String, Error> {
    let text = dir::read_path(&format!("/proc/{pid}/cgroup"));
    let text = text.map_err(|errno| Error::system("cannot read init's cgroup", errno))?;
    let own = memberships(&text).find(|(controllers, _)| controllers.is_empty());
    let own = own.map_or_else(|| "/".to_owned(), |(_, own)| own);
    let unit = path.rsplit_once('/').map_or(path, |(_, unit)| unit);
    match own.rsplit_once('/') {
        Some((_, name)) if name == unit => Ok(own[1..].to_owned()),
        _ => {
            let message = format!("systemd has put init into {own}, not into {unit}");
            Err(Error::new(ErrorKind::System, message).at(PATH))
        }
    }
}

/// Marked directories: nonce and name.
#[derive(Default)]
struct Search {
    found: Vec<(String, String)>,
}

impl Visit for Search {
    fn enter(&mut self, dir: BorrowedFd<'_>) -> Result<(), Errno> {
        match stamp::read(dir) {
            Ok(Some(mark)) => {
                let nonce = String::from_utf8(mark).unwrap_or_default();
                self.found.push((nonce, name_of(dir)?));
            }
            Ok(None) | Err(Errno::ENOENT | Errno::ENODEV) => {}
            Err(errno) => return Err(errno),
        }
        Ok(())
    }
}

/// Read back rather than carried along a walk: a hit is rare.
fn name_of(dir: BorrowedFd<'_>) -> Result<String, Errno> {
    let name = readlink(&*format!("/proc/self/fd/{}", dir.as_raw_fd()))?;
    name.into_string().map_err(|_| Errno::EILSEQ)
}

/// What a create made and takes back when it fails.
struct Made {
    mount: String,
    path: String,
}

fn undo(made: &[Made]) {
    for Made { mount, path } in made.iter().rev() {
        // Without a process in it a cgroup can be removed; one that somebody
        // has begun to use meanwhile stays.
        let flag = UnlinkatFlags::RemoveDir;
        let _ = unlinkat(AT_FDCWD, &*format!("{mount}/{path}"), flag); // the create's own error is told
    }
}

fn create_one(
    layout: &Layout,
    place: &Directory,
    nonce: &str,
    made: &mut Vec<Made>,
) -> Result<Node, Error> {
    let fail = |errno| Error::system(format!("cannot create cgroup {}", place.display()), errno);
    if place.path.is_empty() {
        return Err(Error::config(
            PATH,
            format!("{} is the root of all cgroups", place.mount),
        ));
    }
    let mount = dir::open_mount(&place.mount).map_err(fail)?;
    if !is_cgroup(mount.as_fd(), place).map_err(fail)? {
        return Err(fail(Errno::ENODEV));
    }
    let before = made.len();
    let fresh = make(mount.as_fd(), place, made).map_err(fail)?;
    let own: Vec<&str> = made[before..].iter().map(|made| &*made.path).collect();
    if let Layout::V2(host) = layout {
        let enable = || v2::enable_controllers(mount.as_fd(), &place.path, &host.controllers);
        // Below a threaded cgroup, most can't be.
        if !enable() && v2::make_threaded(mount.as_fd(), &own).map_err(fail)? {
            enable();
        }
    }
    if place.controls("cpuset") {
        v1::fill_cpuset(mount.as_fd(), &place.path, &own).map_err(fail)?;
    }
    let dir = dir::open(mount.as_fd(), &*place.path).map_err(fail)?;
    if fresh {
        stamp::set(dir.as_fd(), nonce).map_err(fail)?;
    } else {
        refuse_if_used(dir.as_fd(), place, nonce)?;
    }
    let owner = if fresh { Owner::Ours } else { Owner::Nobody };
    Ok(Node {
        place: Directory {
            existing: !fresh,
            ..place.clone()
        },
        owner,
        dir,
    })
}

/// mkdir -p; whether the last part was made here.
fn make(mount: BorrowedFd<'_>, place: &Directory, made: &mut Vec<Made>) -> Result<bool, Errno> {
    let mut mkdir = |path: &str| match mkdirat(mount, path, Mode::from_bits_truncate(0o755)) {
        Ok(()) => {
            made.push(Made {
                mount: place.mount.clone(),
                path: path.to_owned(),
            });
            Ok(true)
        }
        Err(Errno::EEXIST) => Ok(false),
        Err(errno) => Err(errno),
    };
    match mkdir(&place.path) {
        Err(Errno::ENOENT) => {}
        result => return result,
    }
    let parents = place
        .path
        .match_indices('/')
        .map(|(at, _)| &place.path[..at]);
    for parent in parents {
        mkdir(parent)?;
    }
    mkdir(&place.path)
}

/// Two containers in one cgroup would kill and freeze each other, and what
/// joins a frozen one hangs.
fn refuse_if_used(dir: BorrowedFd<'_>, place: &Directory, nonce: &str) -> Result<(), Error> {
    let fail = |errno| Error::system(format!("cannot examine cgroup {}", place.display()), errno);
    let refuse = |what: &str| {
        let message = format!("cgroup {} {what}", place.display());
        Err(Error::config(PATH, message).with_kind(ErrorKind::AlreadyExists))
    };
    if stamp::owner(dir, nonce).map_err(fail)? == Owner::Foreign {
        return refuse("belongs to another container");
    }
    if freezer::is_frozen_dir(dir, place).map_err(fail)? {
        return refuse("is frozen");
    }
    match dir::pids_below(dir).map_err(fail)? {
        pids if pids.is_empty() => Ok(()),
        pids => refuse(&format!(
            "is in use by {} process(es), {} among them",
            pids.len(),
            pids[0]
        )),
    }
}
