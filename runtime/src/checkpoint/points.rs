//! Mount points that a root filesystem has not: CRIU mounts onto what is there. It may be another root than that of
//! the checkpoint, without what `create` made in it.

use super::outside::point;
use crate::config::{Config, MountKind};
use crate::error::{Error, Result};
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat, openat2};
use nix::sys::stat::{Mode, mkdirat};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// Makes them. Those below other mounts are those mounts' affair.
pub(crate) fn make(config: &Config, bundle: &str, rootfs: &str) -> Result<()> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let root = open(rootfs, flags, Mode::empty())
        .map_err(|errno| Error::system(format!("cannot open {rootfs}"), errno).at("root.path"))?;
    let points: Vec<_> = config
        .mounts
        .iter()
        .map(|mount| point(&mount.destination))
        .collect();
    for (index, mount) in config.mounts.iter().enumerate() {
        let path = &points[index];
        let below = |other: &String| {
            path.strip_prefix(other)
                .is_some_and(|rest| rest.starts_with('/'))
        };
        if points.iter().any(below) {
            continue;
        }
        let file = matches!(mount.kind, MountKind::Bind { .. })
            && Path::new(&mount.source_on_host(bundle))
                .metadata()
                .is_ok_and(|found| !found.is_dir());
        make_one(root.as_fd(), path, file).map_err(|errno| {
            Error::system(format!("cannot make {path} in the root filesystem"), errno)
                .at(format!("mounts[{index}] ({})", mount.destination))
        })?;
    }
    Ok(())
}

/// Each part is looked up from the root, as the container will see it: no link leads outside.
fn make_one(root: BorrowedFd<'_>, path: &str, file: bool) -> Result<(), Errno> {
    let ends = path
        .match_indices('/')
        .map(|(at, _)| at)
        .skip(1)
        .chain([path.len()]);
    let mut parent = lookup(root, "/")?;
    for end in ends {
        let name = path[..end].rsplit('/').next().unwrap_or_default();
        parent = match lookup(root, &path[..end]) {
            Err(Errno::ENOENT) => {
                make_in(parent.as_fd(), name, file && end == path.len())?;
                lookup(root, &path[..end])?
            }
            found => found?,
        };
    }
    Ok(())
}

fn lookup(root: BorrowedFd<'_>, path: &str) -> Result<OwnedFd, Errno> {
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    openat2(root, path, how)
}

fn make_in(parent: BorrowedFd<'_>, name: &str, file: bool) -> Result<(), Errno> {
    if !file {
        return mkdirat(parent, name, Mode::from_bits_truncate(0o755));
    }
    let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    openat(parent, name, flags, Mode::from_bits_truncate(0o644)).map(drop)
}

#[cfg(test)]
mod tests {
    use super::make_one;
    use nix::errno::Errno;
    use std::fs;
    use std::os::fd::AsFd;
    use std::os::unix::fs::symlink;

    #[test]
    fn what_is_missing_is_made_inside() {
        let root =
            std::env::temp_dir().join(format!("longshore-test-points-{}", std::process::id()));
        fs::create_dir_all(root.join("etc")).unwrap();
        symlink("/etc", root.join("link")).unwrap();
        symlink("/nowhere", root.join("dangling")).unwrap();
        let directory = fs::File::open(&root).unwrap();
        make_one(directory.as_fd(), "/a/b", false).unwrap();
        make_one(directory.as_fd(), "/link/hosts", true).unwrap();
        make_one(directory.as_fd(), "/link/hosts", true).unwrap();
        assert!(root.join("a/b").is_dir() && root.join("etc/hosts").is_file());
        let refused = make_one(directory.as_fd(), "/dangling", false);
        assert_eq!(refused, Err(Errno::EEXIST));
        fs::remove_dir_all(&root).unwrap();
    }
}
