//! Killing what is in a container's cgroup, and removing it.
//!
//! Nothing outside a directory with our mark is ever signalled. A process is
//! signalled through a pidfd that was opened before the process was seen in
//! the cgroup: a reused number can't hit a stranger.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::PollFlags;

use super::dir::{self, Visit};
use super::freezer::{self, until};
use super::stamp::Owner;
use super::{Cgroup, Node};
use crate::sys::pidfd;
use crate::{Error, ErrorKind};

/// Between two looks: from this, doubled each time.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

impl Cgroup {
    /// Kills everything in our own directories and below, and returns when
    /// nothing is left there.
    pub(crate) fn kill(&self, deadline: Instant) -> Result<(), Error> {
        let mut pause = FIRST_PAUSE;
        let mut round = 0;
        loop {
            let left = self.left()?;
            if left.is_empty() {
                return Ok(());
            }
            let time = until(deadline).ok_or_else(|| timeout("killed", &left))?;
            let by_kernel = round == 0 && self.kill_by_kernel()?;
            let signalled = if by_kernel {
                open_some(&left)
            } else {
                self.signal_all(round > 0)?
            };
            self.thaw_ours()?;
            await_exits(&signalled, time.min(LONGEST_PAUSE))?;
            // The dead leave the list about when they can be reaped. What is
            // listed after that is stuck, or new.
            if round > 0 {
                std::thread::sleep(pause.min(time));
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            round += 1;
        }
    }

    /// Removes the directories if all are ours and nothing is in them, and says whether that is so:
    /// the usual end, for which nobody needs to be looked for.
    pub(crate) fn remove_if_empty(&self) -> bool {
        let gone = |node: &Node| matches!(node.rmdir(), Ok(()) | Err(Errno::ENOENT));
        self.nodes.iter().all(|node| node.owner == Owner::Ours) && self.nodes.iter().all(gone)
    }

    /// Removes our own directories with what is below them, waiting until
    /// `deadline` for dying processes to leave. One that may be ours, since
    /// this container's create may have been killed between making and
    /// marking it, is removed if it is empty.
    pub(crate) fn remove(&self, deadline: Instant) -> Result<(), Error> {
        for node in &self.nodes {
            match (node.owner, node.place.existing) {
                (Owner::Ours, _) => remove_ours(node, deadline)?,
                (Owner::Nobody, false) => {
                    let _ = node.rmdir(); // in use: it isn't ours
                }
                (Owner::Nobody, true) | (Owner::Foreign, _) => {}
            }
        }
        Ok(())
    }

    /// The processes in our own directories and below.
    fn left(&self) -> Result<Vec<i32>, Error> {
        let mut found = Vec::new();
        for node in self.ours() {
            let pids = dir::pids_below(node.dir());
            found.extend(pids.map_err(|errno| node.error("cannot list", errno))?);
        }
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }

    /// cgroup.kill, Linux 5.14: everything at once, forks included.
    fn kill_by_kernel(&self) -> Result<bool, Error> {
        let Some(node) = self.ours().find(|node| node.place.is_v2()) else {
            return Ok(false);
        };
        match dir::write_at(node.dir(), "cgroup.kill", "1") {
            Ok(()) => Ok(true),
            // Not there, or threaded.
            Err(Errno::ENOENT | Errno::EOPNOTSUPP) => Ok(false),
            Err(errno) => Err(node.error("cannot kill", errno)),
        }
    }

    /// SIGKILLs one by one. From the second round on what forks faster than we
    /// kill is frozen meanwhile.
    pub(super) fn signal_all(&self, freeze: bool) -> Result<Vec<OwnedFd>, Error> {
        let freezer = self
            .freezer()
            .ok()
            .filter(|node| freeze && node.owner == Owner::Ours);
        let frozen = freezer.map(|_| self.freeze(Instant::now() + LONGEST_PAUSE));
        let mut kill = Kill {
            signalled: Vec::new(),
        };
        let mut failed = None;
        for node in self.ours() {
            if let Err(errno) = dir::walk(node.dir(), &mut kill) {
                failed.get_or_insert_with(|| node.error("cannot kill", errno));
            }
        }
        // A freeze that failed is undone already; what forked on meanwhile is
        // found in the next round.
        if frozen.is_some_and(|frozen| frozen.is_ok()) {
            self.thaw()?;
        }
        failed.map_or(Ok(kill.signalled), Err)
    }

    /// SIGKILL takes effect in a frozen v1 cgroup only when it is thawed, and
    /// the container may have frozen children of its own.
    fn thaw_ours(&self) -> Result<(), Error> {
        for node in self.ours().filter(|node| node.place.controls("freezer")) {
            freezer::thaw_below(node.dir()).map_err(|errno| node.error("cannot thaw", errno))?;
        }
        Ok(())
    }
}

/// How many pidfds are held at a time: the limit may be as low as 1024.
const CHUNK: usize = 64;

struct Kill {
    /// Some of those that were signalled, to wait for.
    signalled: Vec<OwnedFd>,
}

impl Visit for Kill {
    fn enter(&mut self, dir: BorrowedFd<'_>) -> Result<(), Errno> {
        for chunk in dir::pids(dir)?.chunks(CHUNK) {
            let opened = chunk
                .iter()
                .filter_map(|&pid| Some((pid, pidfd::open(pid).ok()?)));
            let opened: Vec<(i32, OwnedFd)> = opened.collect();
            let listed = dir::pids(dir)?;
            for (_, process) in opened.iter().filter(|(pid, _)| listed.contains(pid)) {
                match pidfd::send_signal(process.as_fd(), libc::SIGKILL) {
                    Ok(()) | Err(Errno::ESRCH) => {}
                    Err(errno) => return Err(errno),
                }
            }
            self.signalled = opened.into_iter().map(|(_, process)| process).collect();
        }
        Ok(())
    }
}

/// To wait for, when the kernel did the killing.
fn open_some(pids: &[i32]) -> Vec<OwnedFd> {
    pids.iter()
        .take(CHUNK)
        .filter_map(|&pid| pidfd::open(pid).ok())
        .collect()
}

fn await_exits(processes: &[OwnedFd], time: Duration) -> Result<(), Error> {
    let end = Instant::now() + time;
    for process in processes {
        let Some(left) = until(end) else { break };
        freezer::wait(process.as_fd(), PollFlags::POLLIN, left)
            .map_err(|errno| Error::system("cannot wait for a killed process", errno))?;
    }
    Ok(())
}

fn remove_ours(node: &Node, deadline: Instant) -> Result<(), Error> {
    let fail = |errno| node.error("cannot remove", errno);
    let mut pause = FIRST_PAUSE;
    loop {
        match node.rmdir() {
            Ok(()) | Err(Errno::ENOENT) => return Ok(()),
            Err(Errno::EBUSY) => {}
            Err(errno) => return Err(fail(errno)),
        }
        dir::remove_below(node.dir()).map_err(fail)?;
        // Without children it goes at once.
        if node.rmdir().is_ok() {
            return Ok(());
        }
        let Some(left) = until(deadline) else {
            let pids = dir::pids_below(node.dir()).unwrap_or_default();
            let error = fail(Errno::EBUSY);
            return Err(if pids.is_empty() {
                error
            } else {
                timeout("removed", &pids)
            });
        };
        std::thread::sleep(pause.min(left));
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

fn timeout(what: &str, pids: &[i32]) -> Error {
    let some: Vec<String> = pids.iter().take(10).map(ToString::to_string).collect();
    let message = format!(
        "the cgroup could not be {what} in time: {} process(es) left, {}",
        pids.len(),
        some.join(", ")
    );
    Error::new(ErrorKind::Timeout, message)
}
