//! Groups of a mounted resctrl, which Intel RDT and its like are ruled by. Host side.
//! config-linux.md#intelrdt, Documentation/filesystems/resctrl.rst
//!
//! Nothing in there can be stamped: what is ours is known by the record alone,
//! which is written before anything is made.
#![forbid(unsafe_code)]

use crate::config::rdt::{Class, Rdt};
use crate::error::{Error, Result};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};
use serde_json::{Value, json};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;

mod stats;

const AT: &str = "linux.intelRdt";

const MODE: Mode = Mode::S_IRWXU;

/// Where the monitoring groups of a group are.
const MONITORING: &str = "mon_groups";

/// The groups of one container, and which of them go with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Where resctrl is mounted.
    pub(crate) root: String,
    /// Its name below the root; empty: the default class.
    group: String,
    /// Of the monitoring group.
    monitor: Option<String>,
    /// The group is named like the container, and was not there before.
    own: bool,
}

/// What `make` has made.
#[derive(Debug)]
pub(crate) struct Made {
    place: Place,
    group: bool,
    monitor: bool,
}

impl Place {
    /// Looks, and touches nothing.
    pub(crate) fn probe(rdt: &Rdt, id: &str, root: &str) -> Place {
        let group = match &rdt.class {
            Class::OfContainer => id.to_owned(),
            Class::Default => String::new(),
            Class::Named(name) => name.clone(),
        };
        let own = rdt.class == Class::OfContainer
            && directory(root).is_ok_and(|root| below(&root, &group).is_err());
        Place {
            root: root.to_owned(),
            group,
            monitor: rdt.monitoring.then(|| id.to_owned()),
            own,
        }
    }

    /// The group with what it grants, and the monitoring group.
    pub(crate) fn make(&self, rdt: &Rdt) -> Result<Made> {
        let root = directory(&self.root).map_err(refused("cannot open resctrl"))?;
        let mut made = Made {
            place: self.clone(),
            group: false,
            monitor: false,
        };
        let done = self.make_in(&root, rdt, &mut made);
        match done {
            Ok(()) => Ok(made),
            Err(error) => {
                let _ = made.undo(); // the first error is the one to tell
                Err(error)
            }
        }
    }

    fn make_in(&self, root: &OwnedFd, rdt: &Rdt, made: &mut Made) -> Result<()> {
        let must_be_there = matches!(rdt.class, Class::Named(_)) && rdt.schemata.is_empty();
        if !self.group.is_empty() && !must_be_there {
            made.group = match mkdirat(root, self.group.as_str(), MODE) {
                Ok(()) => true,
                Err(Errno::EEXIST) => false,
                Err(errno) => return Err(told(root, "cannot make the group", errno, AT)),
            };
        }
        let group = below(root, &self.group).map_err(|errno| {
            let words = format!("there is no group {:?}", self.group);
            Error::system(words, errno).at(format!("{AT}.closID"))
        })?;
        for text in &rdt.schemata {
            if made.group {
                write(&group, "schemata", &format!("{text}\n"))
                    .map_err(|errno| told(root, "the kernel refused it", errno, SCHEMATA))?;
            } else {
                compare(&group, text)?;
            }
        }
        if let Some(name) = &self.monitor {
            let at = format!("{AT}.enableMonitoring");
            let refused = |errno| told(root, "cannot make the monitoring group", errno, &at);
            let groups = below(&group, MONITORING).map_err(refused)?;
            mkdirat(&groups, name.as_str(), MODE).map_err(refused)?;
            made.monitor = true;
        }
        Ok(())
    }

    /// Puts the container's first process in both.
    pub(crate) fn join(&self, pid: i32) -> Result<()> {
        self.groups().try_for_each(|group| self.enter(&group, pid))
    }

    /// The same of one more process. Where somebody has removed a group, the first one is in it no more either.
    pub(crate) fn join_what_is_left(&self, pid: i32) -> Result<()> {
        let gone = |group: &String| self.open(group).err() == Some(Errno::ENOENT);
        let mut left = self.groups().filter(|group| !gone(group));
        left.try_for_each(|group| self.enter(&group, pid))
    }

    /// What the group grants that was made for this container: another one's is not ours to change.
    pub(crate) fn own_schemata(&self) -> Result<String> {
        if !self.own {
            let message = "the resctrl group was not made for this container";
            return Err(Error::unsupported(AT, message));
        }
        self.open(&self.group)
            .and_then(|group| read(&group, "schemata"))
            .map_err(refused("cannot read the group's schemata"))
    }

    pub(crate) fn rewrite(&self, schemata: &str) -> Result<()> {
        let root = directory(&self.root).map_err(refused("cannot open resctrl"))?;
        let lines = format!("{}\n", schemata.trim_end());
        below(&root, &self.group)
            .and_then(|group| write(&group, "schemata", &lines))
            .map_err(|errno| told(&root, "the kernel refused it", errno, SCHEMATA))
    }

    fn groups(&self) -> impl Iterator<Item = String> {
        let groups = [Some(self.group.clone()), self.monitoring()];
        groups.into_iter().flatten()
    }

    fn open(&self, group: &str) -> Result<OwnedFd, Errno> {
        below(&directory(&self.root)?, group)
    }

    fn enter(&self, group: &str, pid: i32) -> Result<()> {
        let entered = self
            .open(group)
            .and_then(|group| write(&group, "tasks", &pid.to_string()));
        entered.map_err(refused("cannot put the process into its group"))
    }

    /// What was made for this container alone; done already is as good.
    pub(crate) fn remove(&self) -> Result<()> {
        let group = self.own.then(|| self.group.clone());
        self.remove_these([self.monitoring(), group])
    }

    fn monitoring(&self) -> Option<String> {
        let name = self.monitor.as_ref()?;
        Some(
            format!("{}/{MONITORING}/{name}", self.group)
                .trim_start_matches('/')
                .to_owned(),
        )
    }

    /// Never what is in them: resctrl's groups go with their files, and nothing else does.
    fn remove_these(&self, groups: [Option<String>; 2]) -> Result<()> {
        let root = match directory(&self.root) {
            Err(Errno::ENOENT) => return Ok(()),
            root => root.map_err(refused("cannot open resctrl"))?,
        };
        for group in groups.into_iter().flatten() {
            match unlinkat(&root, group.as_str(), UnlinkatFlags::RemoveDir) {
                Ok(()) | Err(Errno::ENOENT) => {}
                Err(errno) => return Err(refused("cannot remove the group")(errno)),
            }
        }
        Ok(())
    }

    pub(crate) fn to_json(&self) -> Value {
        json!({ "root": self.root, "group": self.group, "monitor": self.monitor, "own": self.own })
    }

    pub(crate) fn from_json(value: &Value) -> Option<Place> {
        let text = |name: &str| value.get(name)?.as_str().map(str::to_owned);
        Some(Place {
            root: text("root")?,
            group: text("group")?,
            monitor: text("monitor"),
            own: value.get("own")?.as_bool()?,
        })
    }
}

impl Made {
    /// Takes back just what was made.
    pub(crate) fn undo(&self) -> Result<()> {
        let monitor = self.place.monitoring().filter(|_| self.monitor);
        let group = self.group.then(|| self.place.group.clone());
        self.place.remove_these([monitor, group])
    }
}

const SCHEMATA: &str = "linux.intelRdt.schemata";

/// A group that is there may not be changed under those who are in it: it must grant what is asked for.
fn compare(group: &OwnedFd, asked: &str) -> Result<()> {
    let found = read(group, "schemata").map_err(refused("cannot read the group's schemata"))?;
    let grants: Vec<_> = found.lines().flat_map(parse).collect();
    for part in asked.lines().flat_map(parse) {
        if !grants.contains(&part) {
            let (resource, domain, value) = part;
            let words =
                format!("the group is there, and does not have {resource}:{domain}={value}");
            return Err(Error::config(SCHEMATA, words));
        }
    }
    Ok(())
}

/// `L3:0=00f;1=ff` as (L3, 0, f), (L3, 1, ff): masks are filled up with zeros, and lines with blanks.
fn parse(line: &str) -> Vec<(String, String, String)> {
    let (resource, domains) = line.split_once(':').unwrap_or((line, ""));
    let part = |domain: &str| {
        let (number, value) = domain.split_once('=').unwrap_or((domain, ""));
        let value = value.trim().to_lowercase();
        let digits = value.trim_start_matches('0');
        let value = if digits.is_empty() { "0" } else { digits };
        let resource = resource.trim().to_owned();
        (resource, number.trim().to_owned(), value.to_owned())
    };
    domains.split(';').map(part).collect()
}

/// Why, in the kernel's own words, where it has some.
fn told(root: &OwnedFd, words: &str, errno: Errno, at: &str) -> Error {
    let status = below(root, "info").and_then(|info| read(&info, "last_cmd_status"));
    let status = status.unwrap_or_default();
    let status = status.trim();
    if status.is_empty() || status == "ok" {
        return Error::system(words, errno).at(at);
    }
    Error::system(format!("{words} ({status})"), errno).at(at)
}

fn refused(words: &'static str) -> impl Fn(Errno) -> Error {
    move |errno| Error::system(words, errno).at(AT)
}

fn directory(path: &str) -> Result<OwnedFd, Errno> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    openat(AT_FDCWD, path, flags, Mode::empty())
}

fn below(root: &OwnedFd, name: &str) -> Result<OwnedFd, Errno> {
    let name = if name.is_empty() { "." } else { name };
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    openat(root, name, flags, Mode::empty())
}

fn write(group: &OwnedFd, file: &str, text: &str) -> Result<(), Errno> {
    // Of resctrl's own files none is ever missing; a directory that stands for it has none.
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_CLOEXEC;
    let file = openat(group, file, flags, Mode::S_IRUSR | Mode::S_IWUSR)?;
    // One call: the kernel reads a whole command in each.
    let written = File::from(file).write_all(text.as_bytes());
    written.map_err(errno)
}

fn read(group: &OwnedFd, file: &str) -> Result<String, Errno> {
    let file = openat(
        group,
        file,
        OFlag::O_RDONLY | OFlag::O_CLOEXEC,
        Mode::empty(),
    )?;
    let mut text = String::new();
    File::from(file).read_to_string(&mut text).map_err(errno)?;
    Ok(text)
}

fn errno(error: std::io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO))
}

#[cfg(test)]
mod tests;
