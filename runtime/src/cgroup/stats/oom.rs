//! The kernel's word that a container was out of memory: an eventfd in cgroup v1, a file to poll in cgroup2.

use super::super::{Cgroup, dir};
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::stat::Mode;
use std::os::fd::{AsRawFd, OwnedFd};

/// A watch of one container.
#[derive(Debug)]
pub(crate) enum Oom {
    V1 { event: EventFd, control: OwnedFd },
    V2 { events: OwnedFd, seen: u64 },
}

impl Cgroup {
    /// `None` where nothing counts memory.
    pub(crate) fn watch_oom(&self) -> Result<Option<Oom>, crate::Error> {
        let Some(node) = self.controlling("memory") else {
            return Ok(None);
        };
        let open = |file: &str| {
            let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
            openat(node.dir(), file, flags, Mode::empty())
        };
        let watch = || {
            if node.place.is_v2() {
                let mut watch = Oom::V2 {
                    events: open("memory.events")?,
                    seen: 0,
                };
                watch.news()?; // what was before
                return Ok(watch);
            }
            let event = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
            let control = open("memory.oom_control")?;
            let words = format!("{} {}", event.as_raw_fd(), control.as_raw_fd());
            dir::write_at(node.dir(), "cgroup.event_control", &words)?;
            Ok(Oom::V1 { event, control })
        };
        match watch() {
            Ok(watch) => Ok(Some(watch)),
            // A kernel without it, or cgroup2 without the controller.
            Err(Errno::ENOENT) => Ok(None),
            Err(errno) => Err(node.error("cannot watch the memory of", errno)),
        }
    }
}

impl Oom {
    /// Whether it was out of memory since the last look.
    pub(crate) fn news(&mut self) -> Result<bool, Errno> {
        let mut buffer = [0; 512];
        match self {
            Oom::V1 { event, control } => match event.read() {
                Err(Errno::EAGAIN) => Ok(false),
                Err(errno) => Err(errno),
                // The end of the cgroup is told in the same way.
                Ok(_) => Ok(nix::sys::uio::pread(control, &mut buffer, 0).is_ok()),
            },
            Oom::V2 { events, seen } => {
                let length = match nix::sys::uio::pread(&*events, &mut buffer, 0) {
                    Err(Errno::ENODEV) => return Ok(false), // the cgroup is gone
                    read => read?,
                };
                let text = String::from_utf8_lossy(&buffer[..length]);
                let count = dir::keyed(&text, "oom_kill").unwrap_or(0);
                Ok(std::mem::replace(seen, count) < count)
            }
        }
    }
}
