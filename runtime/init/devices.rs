//! Device nodes, links and the console in the container's `/dev`.

use crate::mounts::Changes;
use crate::paths::{self, Missing};
use crate::program::{Detail, Source, Text};
use crate::run::{Failure, Init, Outcome, Refused, decimal};
use crate::sys::{self, Fd};

const TYPE_BITS: u32 = 0o170_000;

impl Init<'_> {
    /// Makes the node; one that is there already must be the same device (config-linux.md#devices).
    pub(crate) fn device_node(
        &mut self,
        path: Text<'_>,
        mode: u32,
        number: (u32, u32),
        owner: (u32, u32),
    ) -> Outcome {
        let (parent, name) =
            paths::open_parent(self.root()?, path.bytes()).refused(Detail::MakeTarget)?;
        let device = makedev(number.0, number.1);
        match sys::mknodat(parent.fd(), &name, mode, device) {
            Err(sys::EEXIST) => {
                let found = sys::lstat_at(parent.fd(), &name)?;
                if found.mode & TYPE_BITS != mode & TYPE_BITS || found.rdev != device {
                    return Err(Failure::new(sys::EEXIST, Detail::Occupied));
                }
            }
            other => other.refused(Detail::MakeTarget)?,
        }
        if owner == (0, 0) {
            return Ok(());
        }
        // On the node that was just made or verified, never through a link.
        let node = sys::openat(parent.fd(), &name, sys::O_PATH | sys::o::NOFOLLOW, 0)?;
        sys::chown_fd(node.fd(), owner.0, owner.1).refused(Detail::MakeTarget)
    }

    /// In a user namespace no node can be made: the host's own is bound.
    pub(crate) fn device_bind(
        &mut self,
        source: &Source<'_>,
        path: Text<'_>,
        new_api: bool,
    ) -> Outcome {
        let unchanged = Changes {
            set: 0,
            clear: 0,
            recursive_set: 0,
            recursive_clear: 0,
        };
        self.bind(source, path, &unchanged, new_api)
    }

    /// The image's own file of that name gives way, as with the other runtimes, unless it is a directory.
    pub(crate) fn symlink(&mut self, contents: Text<'_>, path: Text<'_>) -> Outcome {
        let (parent, name) =
            paths::open_parent(self.root()?, path.bytes()).refused(Detail::MakeTarget)?;
        let make = || sys::symlinkat(contents.with_nul(), parent.fd(), &name);
        match make() {
            Err(sys::EEXIST) => {}
            other => return other.refused(Detail::MakeTarget),
        }
        let mut buffer = [0u8; 256];
        if sys::readlinkat(parent.fd(), &name, &mut buffer) == Ok(contents.bytes()) {
            return Ok(());
        }
        sys::remove_file(parent.fd(), &name).refused(Detail::Occupied)?;
        make().refused(Detail::MakeTarget)
    }

    /// Opens a pseudo-terminal of the container's own devpts, hands its master to the host over
    /// `socket`, and puts the other side on stdio (and on `/dev/console`).
    pub(crate) fn console(
        &mut self,
        socket: u32,
        mount: bool,
        uid: u32,
        size: Option<(u32, u32)>,
    ) -> Outcome {
        const TIOCSWINSZ: u32 = 0x5414;
        const TIOCSPTLCK: u32 = 0x4004_5431;
        const TIOCGPTN: u32 = 0x8004_5430;
        const TIOCGPTPEER: u32 = 0x5441;
        let flags = sys::O_RDWR | sys::O_NOCTTY;
        let multiplexer = self.multiplexer()?;
        let mut unlocked = 0i32;
        sys::ioctl(multiplexer.fd(), TIOCSPTLCK, &mut unlocked)?;
        let mut number = 0u32;
        sys::ioctl(multiplexer.fd(), TIOCGPTN, &mut number)?;
        // By descriptor: what the name /dev/pts/N means now may be somebody's trick (CVE-2025-52565).
        let peer = sys::OwnedFd::new(sys::ioctl_number(
            multiplexer.fd(),
            TIOCGPTPEER,
            (flags | sys::O_CLOEXEC) as usize,
        )?);
        let _ = sys::chown_fd(peer.fd(), uid, u32::MAX); // unmapped ids: the terminal stays root's
        if let Some((rows, columns)) = size {
            // struct winsize: rows, columns, and pixels that nobody knows.
            let mut window = [rows | columns << 16, 0];
            sys::ioctl(peer.fd(), TIOCSWINSZ, &mut window)?;
        }
        if mount {
            self.mount_console(peer.fd())?;
        }
        for stdio in 0..3 {
            sys::dup_to(peer.fd(), Fd(stdio))?;
        }
        let name = [b"/dev/pts/", decimal(number as usize).as_slice()].concat();
        Ok(sys::send(
            Fd::from_wire(socket),
            &name,
            Some(multiplexer.fd()),
        )?)
    }

    /// `/dev/pts/ptmx`, seen to be the multiplexer of a devpts.
    fn multiplexer(&self) -> Result<sys::OwnedFd, Failure> {
        const DEVPTS_SUPER_MAGIC: u64 = 0x1cd1;
        const PTMX: u64 = 5 << 8 | 2;
        let directory =
            paths::open(self.root()?, b"/dev/pts", Missing::Refuse).refused(Detail::NotDevpts)?;
        let flags = sys::O_RDWR | sys::O_NOCTTY | sys::o::NOFOLLOW;
        let file = sys::openat(directory.fd(), b"ptmx\0", flags, 0).refused(Detail::NotDevpts)?;
        let devpts = sys::filesystem_magic(file.fd())? == DEVPTS_SUPER_MAGIC;
        if devpts && sys::stat(file.fd())?.rdev == PTMX {
            return Ok(file);
        }
        Err(Failure::new(sys::ENOTSUP, Detail::NotDevpts))
    }

    fn mount_console(&mut self, peer: Fd) -> Outcome {
        let (parent, name) =
            paths::open_parent(self.root()?, b"/dev/console").refused(Detail::MakeTarget)?;
        let flags = sys::O_CREAT | sys::O_EXCL | sys::o::NOFOLLOW;
        match sys::openat(parent.fd(), &name, flags, 0o666) {
            Err(sys::EEXIST) => {}
            other => drop(other.refused(Detail::MakeTarget)?),
        }
        let target = sys::openat(parent.fd(), &name, sys::O_PATH | sys::o::NOFOLLOW, 0)
            .refused(Detail::OpenTarget)?;
        if sys::stat(target.fd())?.is_symlink() {
            return Err(Failure::new(sys::ELOOP, Detail::OpenTarget));
        }
        let tree = sys::clone_tree(peer, b"\0", false).refused(Detail::OpenSource)?;
        sys::attach(tree.fd(), target.fd()).refused(Detail::Attach)
    }

    pub(crate) fn own_null_device(&mut self) -> Outcome {
        let is_null = |stat: &sys::Stat| stat.is_char() && stat.rdev == makedev(1, 3);
        let null = |fd| sys::stat(fd).is_ok_and(|stat| is_null(&stat));
        if !(0..3).any(|stdio| null(Fd(stdio))) {
            return Ok(());
        }
        let Ok(directory) = paths::open(self.root()?, b"/dev", Missing::Refuse) else {
            return Ok(());
        };
        // Looked at before it is opened: whatever else an image has there is not to be touched.
        let name = b"null\0";
        if !sys::lstat_at(directory.fd(), name).is_ok_and(|stat| is_null(&stat)) {
            return Ok(());
        }
        let flags = sys::O_RDWR | sys::O_NOCTTY | sys::o::NOFOLLOW;
        let own = sys::openat(directory.fd(), name, flags, 0)?;
        if null(own.fd()) {
            for stdio in (0..3).map(Fd).filter(|stdio| null(*stdio)) {
                sys::dup_to(own.fd(), stdio)?;
            }
        }
        Ok(())
    }

    pub(crate) fn new_session(&mut self) -> Outcome {
        Ok(sys::setsid()?)
    }

    pub(crate) fn controlling_terminal(&mut self) -> Outcome {
        const TIOCSCTTY: u32 = 0x540e;
        Ok(sys::ioctl_number(Fd(0), TIOCSCTTY, 0).map(drop)?)
    }
}

/// The kernel's encoding of a device number, for mknod(2) and stat(2).
fn makedev(major: u32, minor: u32) -> u64 {
    let (major, minor) = (u64::from(major), u64::from(minor));
    (minor & 0xff) | (major & 0xfff) << 8 | (minor & !0xff) << 12 | (major & !0xfff) << 32
}

#[cfg(test)]
mod tests {
    use super::makedev;

    #[test]
    fn device_numbers_as_the_kernel_has_them() {
        for (major, minor, expect) in [
            (1, 3, 0x103),
            (5, 2, 0x502),
            (259, 300, 0x11_032c),
            (4095, 255, 0xf_ffff),
        ] {
            assert_eq!(makedev(major, minor), expect);
        }
    }
}
