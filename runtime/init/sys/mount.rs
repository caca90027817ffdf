//! Mounts, and the switch of root.

use super::*;

pub(crate) fn pivot_root(new_root: Path<'_>, put_old: Path<'_>) -> Result<()> {
    syscall!(nr::PIVOT_ROOT, new_root, put_old).map(drop)
}

pub(crate) fn chroot(path: Path<'_>) -> Result<()> {
    syscall!(nr::CHROOT, path).map(drop)
}

/// mount(2)'s flags that init uses.
pub(crate) mod ms {
    pub(crate) const RDONLY: u64 = 1;
    pub(crate) const NOSUID: u64 = 2;
    pub(crate) const NODEV: u64 = 4;
    pub(crate) const NOEXEC: u64 = 8;
    pub(crate) const REMOUNT: u64 = 32;
    pub(crate) const NOSYMFOLLOW: u64 = 256;
    pub(crate) const NOATIME: u64 = 1024;
    pub(crate) const NODIRATIME: u64 = 2048;
    pub(crate) const BIND: u64 = 4096;
    pub(crate) const REC: u64 = 16384;
    pub(crate) const RELATIME: u64 = 1 << 21;
    pub(crate) const STRICTATIME: u64 = 1 << 24;
}

pub(crate) fn mount(
    source: Path<'_>,
    target: Path<'_>,
    fstype: Path<'_>,
    flags: u64,
    data: Path<'_>,
) -> Result<()> {
    syscall!(nr::MOUNT, source, target, fstype, flags, data).map(drop)
}

pub(crate) fn unmount_lazily(target: Path<'_>) -> Result<()> {
    const MNT_DETACH: usize = 2;
    syscall!(nr::UMOUNT2, target, MNT_DETACH).map(drop)
}

/// Attributes of mounts (MOUNT_ATTR_*). mount_setattr(2)
pub(crate) mod attr {
    pub(crate) const RDONLY: u64 = 1;
}

/// A detached copy of the mount at `path` below `dir`. open_tree(2)
pub(crate) fn clone_tree(dir: Fd, path: Path<'_>, recursive: bool) -> Result<OwnedFd> {
    const OPEN_TREE_CLONE: u32 = 1;
    const AT_EMPTY_PATH: u32 = 0x1000;
    const AT_RECURSIVE: u32 = 0x8000;
    let flags =
        OPEN_TREE_CLONE | O_CLOEXEC | AT_EMPTY_PATH | if recursive { AT_RECURSIVE } else { 0 };
    syscall!(common::OPEN_TREE, dir, path, flags).map(OwnedFd::new)
}

/// Attaches a detached mount on top of the open file `target`. move_mount(2)
pub(crate) fn attach(tree: Fd, target: Fd) -> Result<()> {
    const MOVE_MOUNT_F_EMPTY_PATH: usize = 4;
    const MOVE_MOUNT_T_EMPTY_PATH: usize = 0x40;
    let flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH;
    syscall!(
        common::MOVE_MOUNT,
        tree,
        &b"\0"[..],
        target,
        &b"\0"[..],
        flags
    )
    .map(drop)
}

pub(crate) fn fsopen(fstype: Path<'_>) -> Result<OwnedFd> {
    const FSOPEN_CLOEXEC: usize = 1;
    syscall!(common::FSOPEN, fstype, FSOPEN_CLOEXEC).map(OwnedFd::new)
}

/// A flag, or a key with its value. fsconfig(2)
pub(crate) fn fsconfig(context: Fd, key: Path<'_>, value: Option<Path<'_>>) -> Result<()> {
    const FSCONFIG_SET_FLAG: usize = 0;
    const FSCONFIG_SET_STRING: usize = 1;
    match value {
        None => syscall!(
            common::FSCONFIG,
            context,
            FSCONFIG_SET_FLAG,
            key,
            0usize,
            0usize
        ),
        Some(value) => syscall!(
            common::FSCONFIG,
            context,
            FSCONFIG_SET_STRING,
            key,
            value,
            0usize
        ),
    }
    .map(drop)
}

pub(crate) fn fsconfig_create(context: Fd) -> Result<()> {
    const FSCONFIG_CMD_CREATE: usize = 6;
    syscall!(
        common::FSCONFIG,
        context,
        FSCONFIG_CMD_CREATE,
        0usize,
        0usize,
        0usize
    )
    .map(drop)
}

pub(crate) fn fsmount(context: Fd, attributes: u64) -> Result<OwnedFd> {
    const FSMOUNT_CLOEXEC: usize = 1;
    syscall!(common::FSMOUNT, context, FSMOUNT_CLOEXEC, attributes).map(OwnedFd::new)
}

/// Of the mount that `fd` is open on, and of those below it when `recursive`. mount_setattr(2)
pub(crate) fn mount_setattr(
    fd: Fd,
    recursive: bool,
    set: u64,
    clear: u64,
    propagation: u64,
) -> Result<()> {
    const AT_EMPTY_PATH: u32 = 0x1000;
    const AT_RECURSIVE: u32 = 0x8000;
    let flags = AT_EMPTY_PATH | if recursive { AT_RECURSIVE } else { 0 };
    let attributes = [set, clear, propagation, 0];
    syscall!(
        common::MOUNT_SETATTR,
        fd,
        &b"\0"[..],
        flags,
        attributes.as_ptr(),
        32usize
    )
    .map(drop)
}
