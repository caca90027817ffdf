//! What only cgroup v2 asks for: a directory has the files of those
//! controllers that all its ancestors enable for their children.

use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::unistd::{Uid, fchownat};

use super::{Cgroup, Node, dir};
use crate::Error;
use crate::sys::bpf;

const FILE: &str = "cgroup.subtree_control";
const TYPE: &str = "cgroup.type";

/// What the kernel says may be given away, and what the specification says
/// where it doesn't. cgroups(7)
const LIST: &str = "/sys/kernel/cgroup/delegate";
const DEFAULTS: &str = "cgroup.procs\ncgroup.subtree_control\ncgroup.threads\n";

impl Cgroup {
    /// config-linux.md#cgroup-ownership: the directory that we made and what
    /// delegates it; nothing that limits it.
    pub(crate) fn give_to(&self, uid: u32) -> Result<(), Error> {
        let Some(node) = self.pure_v2().filter(|node| !node.place.existing) else {
            return Ok(());
        };
        let list = dir::read_path(LIST).unwrap_or_else(|_| DEFAULTS.to_owned());
        for file in list.lines().chain([""]) {
            let flags = AtFlags::AT_SYMLINK_NOFOLLOW | AtFlags::AT_EMPTY_PATH;
            match fchownat(node.dir(), file, Some(Uid::from_raw(uid)), None, flags) {
                // The list is of all controllers, enabled or not.
                Ok(()) | Err(Errno::ENOENT) => {}
                Err(errno) => return Err(node.error(&format!("cannot give {file} of"), errno)),
            }
        }
        Ok(())
    }
}

/// Attaches a filter, and detaches those that earlier containers have left in
/// a directory that outlives them.
pub(super) fn filter_devices(node: &Node, program: &[u64]) -> Result<(), Errno> {
    let older = match node.place.existing {
        true => bpf::own_device_filters(node.dir())?,
        false => Vec::new(),
    };
    let program = bpf::load_device_filter(program)?;
    // First the new one: meanwhile an access must pass both.
    bpf::attach_device_filter(node.dir(), program.as_fd())?;
    let mut older = older.iter();
    older.try_for_each(|older| bpf::detach_device_filter(node.dir(), older.as_fd()))
}

pub(super) fn is_threaded(dir: BorrowedFd<'_>) -> bool {
    dir::read_at(dir, TYPE).is_ok_and(|kind| kind.trim() == "threaded")
}

/// What is made below a threaded cgroup takes no process until it is one, too;
/// whether any was.
/// cgroups(7)
pub(super) fn make_threaded(mount: BorrowedFd<'_>, made: &[&str]) -> Result<bool, Errno> {
    let mut any = false;
    for path in made {
        let file = format!("{path}/{TYPE}");
        if dir::read_at(mount, &file)?.trim() == "domain invalid" {
            dir::write_at(mount, &file, "threaded")?;
            any = true;
        }
    }
    Ok(any)
}

/// Enables all that can be in the ancestors of `path`, and says whether that is
/// all of them. A controller that can't
/// be enabled, usually since an ancestor holds processes, is missed only by a
/// limit that needs it, and that is where the error is told.
pub(super) fn enable_controllers(
    mount: BorrowedFd<'_>,
    path: &str,
    controllers: &[String],
) -> bool {
    let mut available: Vec<String> = controllers.to_vec();
    for end in std::iter::once(0).chain(path.match_indices('/').map(|(at, _)| at)) {
        let file = match &path[..end] {
            "" => FILE.to_owned(),
            ancestor => format!("{ancestor}/{FILE}"),
        };
        let Ok(enabled) = enable(mount, &file, &available) else {
            return false;
        };
        available = enabled;
    }
    controllers.iter().all(|name| available.contains(name))
}

/// Enables `wanted` in one ancestor; what is enabled in the end.
fn enable(mount: BorrowedFd<'_>, file: &str, wanted: &[String]) -> Result<Vec<String>, Errno> {
    let read = || -> Result<Vec<String>, Errno> {
        Ok(dir::read_at(mount, file)?
            .split_whitespace()
            .map(str::to_owned)
            .collect())
    };
    let enabled = read()?;
    let missing: Vec<String> = wanted
        .iter()
        .filter(|name| !enabled.contains(name))
        .map(|name| format!("+{name}"))
        .collect();
    if missing.is_empty() {
        return Ok(enabled);
    }
    // All or nothing, so what fails together is tried one by one.
    if dir::write_at(mount, file, &missing.join(" ")).is_err() {
        for one in &missing {
            let _ = dir::write_at(mount, file, one); // what is enabled is read back
        }
    }
    read()
}
