//! The root filesystem and the mounts in it.
//!
//! Mounts are built detached and attached onto a descriptor of their target.
//! Where the kernel or a filter lacks the new calls, mount(2) gets
//! `self/fd/N` of a verified procfs instead of a path (init-side `Legacy`).

use crate::paths::{self, Missing};
use crate::program::{Detail, Source, Text};
use crate::run::{Failure, Init, Outcome, Refused};
use crate::sys::{self, Fd, OwnedFd, attr, ms};
use alloc::vec::Vec;

const PROC_SUPER_MAGIC: u64 = 0x9fa0;

/// MOUNT_ATTR_* and the MS_* that means the same, for kernels without mount_setattr(2).
const ATTRIBUTE_FLAGS: [(u64, u64); 6] = [
    (0x1, ms::RDONLY),
    (0x2, ms::NOSUID),
    (0x4, ms::NODEV),
    (0x8, ms::NOEXEC),
    (0x80, ms::NODIRATIME),
    (0x20_0000, ms::NOSYMFOLLOW),
];

/// The access-time bits are one field, not flags.
const ATTRIBUTE_ATIME: u64 = 0x70;
const ATTRIBUTE_NOATIME: u64 = 0x10;
const ATTRIBUTE_STRICTATIME: u64 = 0x20;

impl Init<'_> {
    /// `/proc` of the caller's mount namespace, seen to be a procfs: for `self/fd/N`.
    pub(crate) fn proc(&mut self) -> sys::Result<Fd> {
        if self.proc.is_none() {
            let proc = sys::openat(
                Fd::CWD,
                b"/proc\0",
                sys::O_PATH | sys::o::DIRECTORY | sys::o::NOFOLLOW,
                0,
            )?;
            if sys::filesystem_magic(proc.fd())? != PROC_SUPER_MAGIC
                || sys::stat(proc.fd())?.inode != 1
            {
                return Err(sys::ENOTSUP);
            }
            self.proc = Some(proc);
        }
        self.proc.as_ref().map(OwnedFd::fd).ok_or(sys::ENOTSUP)
    }

    /// mount(2) between descriptors: `source` is a descriptor or a name that the filesystem reads.
    pub(crate) fn mount_fd(
        &mut self,
        source: Result<Fd, &[u8]>,
        target: Fd,
        fstype: &[u8],
        flags: u64,
        data: &[u8],
    ) -> sys::Result<()> {
        let proc = self.proc()?;
        sys::fchdir(proc)?;
        let name = match source {
            Ok(fd) => fd_path(fd),
            Err(name) => name.to_vec(),
        };
        sys::mount(&name, &fd_path(target), fstype, flags, data)
    }

    pub(crate) fn set_propagation(&mut self, flags: u64, new_api: bool) -> Outcome {
        let root = sys::openat(Fd::CWD, b"/\0", sys::O_PATH | sys::o::DIRECTORY, 0)?;
        if new_api {
            sys::mount_setattr(root.fd(), true, 0, 0, flags)?;
        } else {
            sys::mount(b"\0", b"/\0", b"\0", flags | ms::REC, b"\0")?;
        }
        Ok(())
    }

    /// Puts the container's root filesystem on top of `/` of this mount namespace, or of itself, and keeps it open.
    pub(crate) fn attach_root(
        &mut self,
        source: &Source<'_>,
        in_place: bool,
        new_api: bool,
    ) -> Outcome {
        if new_api {
            let tree = self.tree(source)?;
            let place = source.path.filter(|_| in_place).map(Text::with_nul);
            let open = |path| sys::openat(Fd::CWD, path, sys::O_PATH | sys::o::DIRECTORY, 0);
            let onto = match open(place.unwrap_or(b"/\0")) {
                // Where this container's root may not go, none of its hooks can look.
                Err(sys::EACCES) => open(b"/\0")?,
                other => other.refused(Detail::OpenTarget)?,
            };
            sys::attach(tree.fd(), onto.fd()).refused(Detail::Attach)?;
            self.root = Some(tree);
            return Ok(());
        }
        // Over itself: only a mount point can become the root.
        let path = source.path.ok_or(Failure::from(sys::EINVAL))?;
        let open = || {
            sys::openat(Fd::CWD, path.with_nul(), sys::O_PATH | sys::o::DIRECTORY, 0)
                .refused(Detail::OpenSource)
        };
        let below = open()?;
        self.mount_fd(Ok(below.fd()), below.fd(), b"\0", ms::BIND | ms::REC, b"\0")
            .refused(Detail::Attach)?;
        self.root = Some(open()?);
        Ok(())
    }

    pub(crate) fn root(&self) -> sys::Result<Fd> {
        self.root.as_ref().map(OwnedFd::fd).ok_or(sys::EINVAL)
    }

    /// A detached tree: the host's clone, or our own of a path that we still see.
    fn tree(&self, source: &Source<'_>) -> Result<OwnedFd, Failure> {
        let tree = self.bare_tree(source)?;
        if source.propagation != 0 {
            // A clone is its original's peer: what is mounted in it here would appear on the host.
            sys::mount_setattr(tree.fd(), true, 0, 0, source.propagation)
                .refused(Detail::Propagation)?;
        }
        Ok(tree)
    }

    fn bare_tree(&self, source: &Source<'_>) -> Result<OwnedFd, Failure> {
        match (source.tree, source.path) {
            (Some(tree), _) => Ok(sys::dup_from(self.descriptor(tree), 3)?),
            (None, Some(path)) => sys::clone_tree(Fd::CWD, path.with_nul(), source.recursive)
                .refused_text(Detail::OpenSource, path.bytes()),
            (None, None) => Err(sys::EINVAL.into()),
        }
    }

    /// A target that a mount can be put on, made if it is missing.
    fn target(&self, target: Text<'_>, directory: bool) -> Result<OwnedFd, Failure> {
        let missing = if directory {
            Missing::MakeDirectory
        } else {
            Missing::MakeFile
        };
        let fd = paths::open(self.root()?, target.bytes(), missing)
            .refused_text(Detail::MakeTarget, target.bytes())?;
        // What the config may mount there is known by its name; here is who comes by another one.
        let named = target.bytes() == b"/proc" || target.bytes().starts_with(b"/proc/");
        if !named && sys::filesystem_magic(fd.fd())? == PROC_SUPER_MAGIC {
            let refused = Failure::new(sys::EPERM, Detail::InsideProc);
            return Err(refused.with_text(target.bytes()));
        }
        Ok(fd)
    }

    /// The target of a proc or sysfs mount: a link there would lead the masks astray.
    pub(crate) fn filesystem_target(
        &self,
        target: Text<'_>,
        real_directory: bool,
    ) -> Result<OwnedFd, Failure> {
        if real_directory {
            let (parent, name) =
                paths::open_parent(self.root()?, target.bytes()).refused(Detail::MakeTarget)?;
            if sys::lstat_at(parent.fd(), &name).is_ok_and(|stat| !stat.is_dir()) {
                return Err(Failure::new(sys::ENOTDIR, Detail::NotProcfs));
            }
        }
        self.target(target, true)
    }

    /// Changes a mount that is there; with flags and options for its filesystem too.
    pub(crate) fn remount_target(
        &mut self,
        target: Text<'_>,
        filesystem: Option<(u64, Text<'_>)>,
        changes: &Changes,
        new_api: bool,
    ) -> Outcome {
        let mounted = paths::open(self.root()?, target.bytes(), Missing::Refuse)
            .refused(Detail::OpenTarget)?;
        if changes.recursive_set | changes.recursive_clear != 0 {
            let (set, clear) = (changes.recursive_set, changes.recursive_clear);
            let all = |()| sys::mount_setattr(mounted.fd(), true, set, clear, 0);
            // mount(2) changes one mount only.
            let possible = if new_api { Ok(()) } else { Err(sys::ENOSYS) };
            possible.and_then(all).refused(Detail::SetAttributes)?;
        }
        let Some((flags, data)) = filesystem else {
            return self.remount(mounted.fd(), changes.set, changes.clear);
        };
        let now = sys::filesystem_flags(mounted.fd())?;
        let flags = ms::REMOUNT | flags | legacy_flags(now, changes.set, changes.clear);
        self.mount_fd(Err(b"\0"), mounted.fd(), b"\0", flags, data.with_nul())
            .refused(Detail::SetAttributes)
    }

    pub(crate) fn bind(
        &mut self,
        source: &Source<'_>,
        target: Text<'_>,
        changes: &Changes,
        new_api: bool,
    ) -> Outcome {
        if !new_api {
            return self.bind_legacy(source, target, changes);
        }
        let tree = self.bare_tree(source)?;
        let directory = sys::stat(tree.fd())?.is_dir();
        let onto = self.target(target, directory)?;
        if !source.recursive && changes.recursive_set | changes.recursive_clear == 0 {
            // One mount: its attributes and its propagation in one call.
            sys::mount_setattr(
                tree.fd(),
                false,
                changes.set,
                changes.clear,
                source.propagation,
            )
            .refused(Detail::SetAttributes)?;
            return attach_alike(tree.fd(), onto.fd(), directory);
        }
        if source.propagation != 0 {
            sys::mount_setattr(tree.fd(), true, 0, 0, source.propagation)
                .refused(Detail::Propagation)?;
        }
        if changes.recursive_set | changes.recursive_clear != 0 {
            sys::mount_setattr(
                tree.fd(),
                true,
                changes.recursive_set,
                changes.recursive_clear,
                0,
            )
            .refused(Detail::SetAttributes)?;
        }
        if changes.set | changes.clear != 0 {
            sys::mount_setattr(tree.fd(), false, changes.set, changes.clear, 0)
                .refused(Detail::SetAttributes)?;
        }
        attach_alike(tree.fd(), onto.fd(), directory)
    }

    fn bind_legacy(&mut self, source: &Source<'_>, target: Text<'_>, changes: &Changes) -> Outcome {
        let path = source.path.ok_or(Failure::from(sys::EINVAL))?;
        let from = sys::openat(Fd::CWD, path.with_nul(), sys::O_PATH, 0)
            .refused_text(Detail::OpenSource, path.bytes())?;
        let directory = sys::stat(from.fd())?.is_dir();
        let onto = self.target(target, directory)?;
        let recursive = if source.recursive { ms::REC } else { 0 };
        self.mount_fd(Ok(from.fd()), onto.fd(), b"\0", ms::BIND | recursive, b"\0")
            .refused(Detail::Attach)?;
        if changes.recursive_set | changes.recursive_clear != 0 {
            // mount(2) changes one mount only: the restriction would not be in force below.
            return Err(Failure::new(sys::ENOSYS, Detail::SetAttributes));
        }
        if changes.set | changes.clear == 0 {
            return Ok(());
        }
        let mounted = paths::open(self.root()?, target.bytes(), Missing::Refuse)
            .refused(Detail::OpenTarget)?;
        self.remount(mounted.fd(), changes.set, changes.clear)
    }

    /// Changes the flags of one mount with mount(2); what it has stays unless it is cleared.
    pub(crate) fn remount(&mut self, mounted: Fd, set: u64, clear: u64) -> Outcome {
        let now = sys::filesystem_flags(mounted)?;
        let flags = legacy_flags(now, set, clear);
        self.mount_fd(
            Err(b"\0"),
            mounted,
            b"\0",
            ms::REMOUNT | ms::BIND | flags,
            b"\0",
        )
        .refused(Detail::SetAttributes)
    }

    pub(crate) fn target_propagation(
        &mut self,
        target: Text<'_>,
        flags: &[u64],
        new_api: bool,
    ) -> Outcome {
        let mounted = paths::open(self.root()?, target.bytes(), Missing::Refuse)
            .refused(Detail::OpenTarget)?;
        for flag in flags {
            let (kind, recursive) = (flag & !ms::REC, flag & ms::REC != 0);
            if new_api {
                sys::mount_setattr(mounted.fd(), recursive, 0, 0, kind)
                    .refused(Detail::Propagation)?;
            } else {
                self.mount_fd(Err(b"\0"), mounted.fd(), b"\0", *flag, b"\0")
                    .refused(Detail::Propagation)?;
            }
        }
        Ok(())
    }

    /// Makes the attached root filesystem `/`.
    pub(crate) fn switch_root(&mut self, how: u32, root: Option<u32>) -> Outcome {
        if let Some(root) = root {
            self.root = Some(sys::dup_from(Fd::from_wire(root), 3)?);
        }
        if how == 2 {
            let root = sys::openat(Fd::CWD, b"/\0", sys::O_PATH | sys::o::DIRECTORY, 0);
            self.root = Some(root.refused(Detail::Pivot)?);
            return sys::chdir(b"/\0").refused(Detail::Pivot);
        }
        sys::fchdir(self.root()?)?;
        if how == 0 {
            // The old root lands on top of the new one, is then the topmost at ".", and goes.
            sys::pivot_root(b".\0", b".\0").refused(Detail::Pivot)?;
            sys::unmount_lazily(b".\0").refused(Detail::Pivot)?;
        } else {
            sys::chroot(b".\0").refused(Detail::Pivot)?;
        }
        sys::chdir(b"/\0").refused(Detail::Pivot)
    }

    pub(crate) fn root_readonly(&mut self, new_api: bool) -> Outcome {
        let root = self.root()?;
        if new_api {
            return sys::mount_setattr(root, false, attr::RDONLY, 0, 0)
                .refused(Detail::SetAttributes);
        }
        self.remount(root, attr::RDONLY, 0)
    }

    /// The mount at `target` itself, after what had to be made in it.
    pub(crate) fn target_readonly(&mut self, target: Text<'_>, new_api: bool) -> Outcome {
        let mounted = paths::open(self.root()?, target.bytes(), Missing::Refuse)
            .refused(Detail::OpenTarget)?;
        if new_api {
            return sys::mount_setattr(mounted.fd(), false, attr::RDONLY, 0, 0)
                .refused(Detail::SetAttributes);
        }
        self.remount(mounted.fd(), attr::RDONLY, 0)
    }

    /// A read-only bind of the path onto itself. A path that isn't there needs no protection.
    pub(crate) fn readonly_path(&mut self, path: Text<'_>, new_api: bool) -> Outcome {
        let Some(target) = self.existing(path)? else {
            return Ok(());
        };
        if new_api {
            let tree = sys::clone_tree(target.fd(), b"\0", true).refused(Detail::OpenSource)?;
            sys::mount_setattr(tree.fd(), false, attr::RDONLY, 0, 0)
                .refused(Detail::SetAttributes)?;
            return sys::attach(tree.fd(), target.fd()).refused(Detail::Attach);
        }
        self.mount_fd(
            Ok(target.fd()),
            target.fd(),
            b"\0",
            ms::BIND | ms::REC,
            b"\0",
        )
        .refused(Detail::Attach)?;
        let mounted =
            paths::open(self.root()?, path.bytes(), Missing::Refuse).refused(Detail::OpenTarget)?;
        self.remount(mounted.fd(), attr::RDONLY, 0)
    }

    fn existing(&self, path: Text<'_>) -> Result<Option<OwnedFd>, Failure> {
        match paths::open(self.root()?, path.bytes(), Missing::Refuse) {
            Ok(target) => Ok(Some(target)),
            Err(sys::ENOENT | sys::ENOTDIR) => Ok(None),
            Err(errno) => Err(Failure::new(errno, Detail::OpenTarget)),
        }
    }

    /// Hides a file behind the null device, a directory behind an empty read-only tmpfs.
    pub(crate) fn mask_path(
        &mut self,
        null: &Source<'_>,
        path: Text<'_>,
        new_api: bool,
    ) -> Outcome {
        let Some(target) = self.existing(path)? else {
            return Ok(());
        };
        let directory = sys::stat(target.fd())?.is_dir();
        if !new_api {
            return self.mask_legacy(target.fd(), directory);
        }
        let used = if directory {
            self.mask_directory.as_ref()
        } else {
            self.mask_file.as_ref()
        };
        // A detached mount can be attached once: the next mask clones the one that is in place.
        let mask = match used {
            Some(mask) => sys::clone_tree(mask.fd(), b"\0", false).refused(Detail::OpenSource)?,
            None if directory => empty_directory()?,
            None => self.null_device(null)?,
        };
        sys::attach(mask.fd(), target.fd()).refused(Detail::Attach)?;
        let slot = if directory {
            &mut self.mask_directory
        } else {
            &mut self.mask_file
        };
        *slot = Some(mask);
        Ok(())
    }

    fn null_device(&self, null: &Source<'_>) -> Result<OwnedFd, Failure> {
        let tree = self.tree(null)?;
        verify_null(tree.fd())?;
        Ok(tree)
    }

    /// mount(2) binds only what is mounted in our namespace, and the host's null device no longer is.
    fn mask_legacy(&mut self, target: Fd, directory: bool) -> Outcome {
        if directory {
            let data = b"nr_blocks=1,nr_inodes=1\0";
            return self
                .mount_fd(Err(b"tmpfs\0"), target, b"tmpfs\0", ms::RDONLY, data)
                .refused(Detail::Attach);
        }
        let null = paths::open(self.root()?, b"/dev/null", Missing::Refuse)
            .refused_text(Detail::OpenSource, b"/dev/null")?;
        verify_null(null.fd())?;
        self.mount_fd(Ok(null.fd()), target, b"\0", ms::BIND, b"\0")
            .refused(Detail::Attach)
    }

    pub(crate) fn ensure_directory(&mut self, path: Text<'_>) -> Outcome {
        let made = paths::open(self.root()?, path.bytes(), Missing::MakeDirectory);
        let made = made.refused_text(Detail::MakeTarget, path.bytes())?;
        let directory = sys::stat(made.fd())?.is_dir();
        if directory {
            Ok(())
        } else {
            Err(Failure::new(sys::ENOTDIR, Detail::MakeTarget).with_text(path.bytes()))
        }
    }
}

/// What a mask binds must be the null device, whoever may have replaced it (CVE-2025-31133).
fn verify_null(fd: Fd) -> Outcome {
    let stat = sys::stat(fd)?;
    const NULL: u64 = 1 << 8 | 3;
    if stat.is_char() && stat.rdev == NULL {
        Ok(())
    } else {
        Err(Failure::new(sys::ENOTSUP, Detail::OpenSource))
    }
}

fn empty_directory() -> Result<OwnedFd, Failure> {
    let context = sys::fsopen(b"tmpfs\0").refused(Detail::OpenFilesystem)?;
    for key in [&b"nr_blocks\0"[..], b"nr_inodes\0"] {
        sys::fsconfig(context.fd(), key, Some(b"1\0")).refused(Detail::FilesystemOption)?;
    }
    sys::fsconfig_create(context.fd()).refused(Detail::CreateFilesystem)?;
    sys::fsmount(context.fd(), attr::RDONLY).refused(Detail::CreateFilesystem)
}

/// Attributes of a bind mount to set and to clear, of the mount itself and of all below.
pub(crate) struct Changes {
    pub(crate) set: u64,
    pub(crate) clear: u64,
    pub(crate) recursive_set: u64,
    pub(crate) recursive_clear: u64,
}

/// For a directory over a file, move_mount(2) says EINVAL, as for much else; engines look for what mount(2) says.
fn attach_alike(tree: Fd, onto: Fd, directory: bool) -> Outcome {
    let alike = |errno| match sys::stat(onto) {
        Ok(stat) if errno == sys::EINVAL && stat.is_dir() != directory => sys::ENOTDIR,
        _ => errno,
    };
    sys::attach(tree, onto)
        .map_err(alike)
        .refused(Detail::Attach)
}

/// mount(2)'s flags for a remount, from statfs's flags and MOUNT_ATTR_* changes.
fn legacy_flags(now: u64, set: u64, clear: u64) -> u64 {
    // ST_* and MS_* agree in these bits; ST_RELATIME and ST_NOSYMFOLLOW have places of their own.
    const ST_RELATIME: u64 = 4096;
    const ST_NOSYMFOLLOW: u64 = 8192;
    let mut flags =
        now & (ms::RDONLY | ms::NOSUID | ms::NODEV | ms::NOEXEC | ms::NOATIME | ms::NODIRATIME);
    if now & ST_NOSYMFOLLOW != 0 {
        flags |= ms::NOSYMFOLLOW;
    }
    for (attribute, flag) in ATTRIBUTE_FLAGS {
        if clear & attribute != 0 {
            flags &= !flag;
        }
        if set & attribute != 0 {
            flags |= flag;
        }
    }
    if clear & ATTRIBUTE_ATIME != 0 {
        flags &= !ms::NOATIME;
        flags |= match set & ATTRIBUTE_ATIME {
            ATTRIBUTE_NOATIME => ms::NOATIME,
            ATTRIBUTE_STRICTATIME => ms::STRICTATIME,
            _ => ms::RELATIME,
        };
    } else if now & ST_RELATIME != 0 {
        flags |= ms::RELATIME;
    }
    flags
}

/// `self/fd/N`, with its NUL, to be used from the top of a procfs.
fn fd_path(fd: Fd) -> Vec<u8> {
    let mut path = b"self/fd/".to_vec();
    path.extend_from_slice(&crate::run::decimal(fd.0.cast_unsigned() as usize));
    path.push(0);
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remount_keeps_what_it_does_not_change() {
        const ST_RELATIME: u64 = 4096;
        assert_eq!(
            legacy_flags(ms::NOSUID | ST_RELATIME, 1, 0),
            ms::NOSUID | ms::RDONLY | ms::RELATIME
        );
        assert_eq!(legacy_flags(ms::NODEV | ms::RDONLY, 0, 1), ms::NODEV);
        assert_eq!(
            legacy_flags(ms::NOATIME, ATTRIBUTE_STRICTATIME, ATTRIBUTE_ATIME),
            ms::STRICTATIME
        );
    }

    #[test]
    fn descriptors_have_proc_names() {
        assert_eq!(fd_path(Fd(12)), b"self/fd/12\0");
    }
}
