//! What cgroups the host has, and where the calling process is in them.
//!
//! Only looks: statfs(2), /proc/self/cgroup and, where cgroups are mounted
//! elsewhere than usual, /proc/self/mountinfo. On the way of every create, so
//! the usual layouts cost a few system calls and nothing is parsed twice.

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::sys::statfs::{CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC, FsType, statfs};
use nix::unistd::{AccessFlags, faccessat};

use super::dir;
use super::limits::{Facts, Version};
use super::paths::{clean, parent};
use crate::Error;

const ROOT: &str = "/sys/fs/cgroup";

/// The cgroups of this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    V2(V2),
    V1(V1),
    /// No cgroup filesystem is mounted.
    Absent,
}

/// A cgroup2 mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct V2 {
    pub(crate) mount: String,
    /// The caller's own cgroup below `mount`: absolute and clean.
    pub(crate) own: String,
    /// Of the mount's root; left empty for the unified part of a hybrid host,
    /// which is only used to find and kill processes.
    pub(crate) controllers: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct V1 {
    pub(crate) hierarchies: Vec<Hierarchy>,
    /// A hybrid host has a cgroup2 as well.
    pub(crate) unified: Option<V2>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hierarchy {
    /// As the kernel lists them: `cpu,cpuacct` or `name=systemd`.
    pub(crate) controllers: String,
    pub(crate) mount: String,
    /// The caller's own cgroup below `mount`: absolute and clean.
    pub(crate) own: String,
}

impl Layout {
    /// Looks at the host.
    pub(crate) fn probe() -> Result<Layout, Error> {
        let own = match dir::read_path("/proc/self/cgroup") {
            Err(Errno::ENOENT) => return Ok(Layout::Absent), // a kernel without cgroups
            read => read.map_err(|errno| Error::system("cannot read /proc/self/cgroup", errno))?,
        };
        let usual = match magic(ROOT) {
            Some(CGROUP2_SUPER_MAGIC) => usual_v2(&own),
            _ => usual_v1(&own).map(Layout::V1),
        };
        if let Some(layout) = usual {
            return Ok(layout);
        }
        let mounts = dir::read_bytes("/proc/self/mountinfo")
            .map_err(|errno| Error::system("cannot read /proc/self/mountinfo", errno))?;
        Ok(from_mountinfo(&own, &mounts, read_controllers))
    }

    /// As far as this user may make a cgroup beside or below our own, and the places where not.
    pub(crate) fn of_this_user(self) -> (Layout, Vec<String>) {
        let mut left_out = Vec::new();
        // To make a directory takes the right to one, to move a process below it that to the other.
        let mut may = |mount: &str, parent: &str| {
            let place = format!("{mount}{parent}");
            let (flags, access) = (AtFlags::AT_EACCESS, AccessFlags::W_OK);
            let may_write = |path: &str| faccessat(AT_FDCWD, path, access, flags).is_ok();
            let may = may_write(&place) && may_write(&format!("{place}/cgroup.procs"));
            if !may {
                left_out.push(place);
            }
            may
        };
        let layout = match self {
            Layout::V2(v2) if may(&v2.mount, parent(&v2.own)) => Layout::V2(v2),
            Layout::V1(mut v1) => {
                v1.hierarchies.retain(|h| may(&h.mount, &h.own));
                v1.unified = v1.unified.filter(|v2| may(&v2.mount, &v2.own));
                match (v1.hierarchies.is_empty(), v1.unified) {
                    (true, None) => Layout::Absent,
                    (_, unified) => Layout::V1(V1 { unified, ..v1 }),
                }
            }
            Layout::V2(_) | Layout::Absent => Layout::Absent,
        };
        (layout, left_out)
    }

    /// What `limits::compile` asks about the host.
    pub(crate) fn facts(&self) -> Facts {
        let (version, controllers) = match self {
            Layout::V2(v2) => (Version::V2, v2.controllers.clone()),
            Layout::V1(v1) => {
                let names = v1.hierarchies.iter().flat_map(|h| h.controllers.split(','));
                (Version::V1, names.map(str::to_owned).collect())
            }
            Layout::Absent => (Version::Absent, Vec::new()),
        };
        Facts {
            version,
            controllers,
        }
    }
}

/// One line of /proc/self/cgroup: the controllers, empty for cgroup2, and the
/// path.
pub(super) fn memberships(own: &str) -> impl Iterator<Item = (&str, String)> {
    // Not `lines`: a name may end with a carriage return.
    own.split('\n').filter_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        Some((fields.next()?, clean(fields.next()?)))
    })
}

fn usual_v2(own: &str) -> Option<Layout> {
    let own = memberships(own)
        .find(|(controllers, _)| controllers.is_empty())?
        .1;
    // The own path doesn't exist below the mount when the mount shows a part
    // of the tree and there is no cgroup namespace.
    (magic(&format!("{ROOT}{own}"))? == CGROUP2_SUPER_MAGIC).then_some(())?;
    let controllers = read_controllers(ROOT);
    Some(Layout::V2(V2 {
        mount: ROOT.to_owned(),
        own,
        controllers,
    }))
}

/// `None` unless each hierarchy is at its usual place.
fn usual_v1(own: &str) -> Option<V1> {
    let mut v1 = V1 {
        hierarchies: Vec::new(),
        unified: None,
    };
    for (controllers, own) in memberships(own) {
        let name = match controllers {
            "" => "unified",
            named => named.strip_prefix("name=").unwrap_or(named),
        };
        let mount = format!("{ROOT}/{name}");
        let found = magic(&format!("{mount}{own}"));
        match (controllers, found) {
            ("", Some(CGROUP2_SUPER_MAGIC)) => {
                v1.unified = Some(V2 {
                    mount,
                    own,
                    controllers: Vec::new(),
                });
            }
            ("", _) => {}
            (_, Some(CGROUP_SUPER_MAGIC)) => {
                v1.hierarchies.push(Hierarchy {
                    controllers: controllers.to_owned(),
                    mount,
                    own,
                });
            }
            _ => return None,
        }
    }
    (!v1.hierarchies.is_empty()).then_some(v1)
}

fn magic(path: &str) -> Option<FsType> {
    statfs(path).ok().map(|stat| stat.filesystem_type())
}

fn read_controllers(mount: &str) -> Vec<String> {
    let read = dir::read_path(&format!("{mount}/cgroup.controllers"));
    read.unwrap_or_default()
        .split_whitespace()
        .map(str::to_owned)
        .collect()
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mount {
    pub(crate) root: String,
    pub(crate) point: String,
    pub(crate) kind: String,
    pub(crate) options: String,
}

/// The layout by /proc/self/mountinfo. A hierarchy that the kernel has but
/// nobody has mounted is left out: there is no way to use it.
pub(crate) fn from_mountinfo(
    own: &str,
    mounts: &[u8],
    controllers_of: fn(&str) -> Vec<String>,
) -> Layout {
    let mounts = parse_mounts(mounts);
    let mut v1 = V1 {
        hierarchies: Vec::new(),
        unified: None,
    };
    for (controllers, own) in memberships(own) {
        let Some(mount) = mounts.iter().find(|mount| mount.serves(controllers)) else {
            continue;
        };
        let own = mount.below(&own);
        let mount = mount.point.clone();
        if controllers.is_empty() {
            v1.unified = Some(V2 {
                mount,
                own,
                controllers: Vec::new(),
            });
        } else {
            v1.hierarchies.push(Hierarchy {
                controllers: controllers.to_owned(),
                mount,
                own,
            });
        }
    }
    match v1 {
        V1 {
            hierarchies,
            unified: Some(v2),
        } if hierarchies.is_empty() => {
            let controllers = controllers_of(&v2.mount);
            Layout::V2(V2 { controllers, ..v2 })
        }
        V1 {
            hierarchies,
            unified: None,
        } if hierarchies.is_empty() => Layout::Absent,
        v1 => Layout::V1(v1),
    }
}

impl Mount {
    fn serves(&self, controllers: &str) -> bool {
        let has = |name| self.options.split(',').any(|option| option == name);
        match controllers {
            "" => self.kind == "cgroup2",
            names => self.kind == "cgroup" && names.split(',').all(has),
        }
    }

    /// Where a path of the whole hierarchy is below this mount. A path that
    /// this mount doesn't show counts as its root, all that we can reach.
    fn below(&self, path: &str) -> String {
        let root = self.root.trim_end_matches('/');
        match path.strip_prefix(root) {
            Some(rest) if rest.starts_with('/') => rest.to_owned(),
            _ => "/".to_owned(),
        }
    }
}

/// Anybody may mount at a path that is no text: such a line is passed over, not the whole file refused.
pub(crate) fn parse_mounts(mountinfo: &[u8]) -> Vec<Mount> {
    let lines = mountinfo.split(|byte| *byte == b'\n');
    lines
        .filter_map(|line| parse_mount(std::str::from_utf8(line).ok()?))
        .collect()
}

/// `36 35 98:0 /root /point rw,noatime shared:1 - cgroup source rw,cpu`,
/// proc_pid_mountinfo(5).
fn parse_mount(line: &str) -> Option<Mount> {
    let (place, kind) = line.split_once(" - ")?;
    let mut place = place.split(' ').skip(3);
    let mut kind = kind.split(' ');
    Some(Mount {
        root: unescape(place.next()?),
        point: unescape(place.next()?),
        kind: kind.next()?.to_owned(),
        options: kind.nth(1)?.to_owned(),
    })
}

/// Blanks are written as `\040` and the like.
fn unescape(field: &str) -> String {
    const ESCAPES: [(&str, &str); 4] = [
        ("\\040", " "),
        ("\\011", "\t"),
        ("\\012", "\n"),
        ("\\134", "\\"),
    ];
    ESCAPES
        .iter()
        .fold(field.to_owned(), |text, (from, to)| text.replace(from, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "9:name=systemd:/\n4:cpu,cpuacct:/docker/abc\n3:pids:/\n0::/docker/abc\n";

    #[test]
    fn by_mountinfo() {
        let none = |_: &str| vec!["pids".to_owned()];
        let v2 = b"39 31 0:37 / /usb/\xff rw - vfat /dev/sdb rw\n\
                   40 31 0:38 / /cg\\0402 rw shared:9 - cgroup2 cgroup2 rw\n";
        let Layout::V2(found) = from_mountinfo("0::/a\n", v2, none) else {
            panic!("not v2")
        };
        assert_eq!((found.mount.as_str(), found.own.as_str()), ("/cg 2", "/a"));
        assert_eq!(found.controllers, ["pids"]);

        // Without a cgroup namespace the container's own path is that of the
        // host, while its mounts show only the part below it.
        let v1 = b"40 31 0:3 /docker/abc /c rw - cgroup c rw,cpuacct,cpu\n\
                  41 31 0:4 / /s rw - cgroup c rw,xattr,name=systemd\n";
        let Layout::V1(found) = from_mountinfo(OWN, v1, none) else {
            panic!("not v1")
        };
        let found: Vec<_> = found
            .hierarchies
            .iter()
            .map(|h| (&*h.controllers, &*h.mount, &*h.own))
            .collect();
        assert_eq!(
            found,
            [("name=systemd", "/s", "/"), ("cpu,cpuacct", "/c", "/")]
        );

        assert_eq!(from_mountinfo(OWN, b"", none), Layout::Absent);
    }

    #[test]
    fn this_host() {
        let layout = Layout::probe().unwrap();
        let own = dir::read_path("/proc/self/cgroup").unwrap();
        let mounts = dir::read_bytes("/proc/self/mountinfo").unwrap();
        // Both ways to find out agree.
        assert_eq!(layout, from_mountinfo(&own, &mounts, read_controllers));
    }
}
