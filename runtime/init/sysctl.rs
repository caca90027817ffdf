//! Kernel parameters of the container's namespaces. sysctl(8), proc_sys(5)
//!
//! Which namespace a parameter below `/proc/sys` is of depends on who opens it,
//! not on the procfs: it is reached through one that nothing in the container can cover.

use crate::program::{Detail, Text};
use crate::run::{Failure, Init, Outcome, Refused};
use crate::sys::{self, Fd, OwnedFd};

const PROC_SUPER_MAGIC: u64 = 0x9fa0;

impl Init<'_> {
    /// `path` is below `/proc/sys`. No component may be a link: the kernel has none there.
    pub(crate) fn sysctl(&mut self, path: Text<'_>, value: Text<'_>, new_api: bool) -> Outcome {
        let refused = Detail::Failed;
        let mut place = self.parameters(new_api)?;
        let mut components = path.bytes().split(|byte| *byte == b'/').peekable();
        while let Some(name) = components.next() {
            let name = [name, b"\0"].concat();
            let last = components.peek().is_none();
            let kind = if last {
                sys::O_WRONLY
            } else {
                sys::O_PATH | sys::o::DIRECTORY
            };
            place = sys::openat(place.fd(), &name, kind | sys::o::NOFOLLOW, 0).refused(refused)?;
        }
        write_all(place.fd(), value, refused)
    }

    /// `sys` of a procfs of our own; where none may be mounted, of the caller's, which is not covered up yet.
    fn parameters(&mut self, new_api: bool) -> Result<OwnedFd, Failure> {
        let own = new_api.then(own_procfs).and_then(sys::Result::ok);
        let top: Fd = match &own {
            Some(procfs) => procfs.fd(),
            None => self.proc()?,
        };
        let flags = sys::O_PATH | sys::o::DIRECTORY | sys::o::NOFOLLOW;
        Ok(sys::openat(top, b"sys\0", flags, 0)?)
    }
}

/// Somebody's mount over the host's procfs would take the value in silence.
pub(crate) fn write_all(file: Fd, value: Text<'_>, refused: Detail) -> Outcome {
    if sys::filesystem_magic(file)? != PROC_SUPER_MAGIC {
        return Err(Failure::new(sys::ENOTSUP, refused));
    }
    match sys::write(file, value.bytes()).refused(refused)? {
        written if written == value.bytes().len() => Ok(()),
        _ => Err(Failure::new(sys::EINVAL, refused)),
    }
}

fn own_procfs() -> sys::Result<OwnedFd> {
    let context = sys::fsopen(b"proc\0")?;
    sys::fsconfig_create(context.fd())?;
    sys::fsmount(context.fd(), 0)
}
