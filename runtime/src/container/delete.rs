//! `delete`: undoes create, from wherever it stands. Only what is proven ours
//! is killed: init by its identity, a cgroup by its stamp.

use super::kill::KILL_DEADLINE;
use super::record::{InitId, Record};
use super::state::{self, Proven, prove};
use super::store::{Entry, LOCK_DEADLINE, Lock, Store, Stored};
use super::{Container, Status, hooks};
use crate::cgroup::{Cgroup, Layout};
use crate::error::{Error, ErrorKind, Result};
use crate::runtime::Settings;
use crate::sys::pidfd;
use crate::timings::Trail;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// How long a creator whose init was killed may take to undo its work.
const UNDO_DEADLINE: Duration = Duration::from_millis(900);

impl Container {
    /// Removes a stopped container, or one that was never started; then its poststop hooks run.
    /// Returns which of them failed, a line each.
    ///
    /// # Errors
    /// `InvalidState` while it runs, with runc's words.
    ///
    /// ```no_run
    /// # fn main() -> longshore::Result<()> {
    /// # let runtime = longshore::Runtime::builder().build()?;
    /// runtime.open("web1")?.delete()?;
    /// # Ok(()) }
    /// ```
    pub fn delete(&self) -> Result<Vec<String>> {
        let trail = self.settings.trail("delete", &self.id);
        trail.end(self.delete_on(&trail))
    }

    fn delete_on(&self, trail: &Trail) -> Result<Vec<String>> {
        let entry = self.entry()?;
        let _lock = entry.lock(Instant::now() + LOCK_DEADLINE)?;
        let record = self.record(&entry)?;
        match state::status(&entry, &record)? {
            Status::Stopped | Status::Created | Status::Creating => {}
            status => {
                let words = format!(
                    "cannot delete container {} that is not stopped: {status}",
                    self.id
                );
                return Err(Error::new(ErrorKind::InvalidState, words));
            }
        }
        remove(&self.settings, &entry, Some(record), trail)
    }
}

/// `delete --force`: kills what runs, finishes what was begun, takes a missing container for done.
pub(crate) fn force(settings: &Settings, id: &str) -> Result<Vec<String>> {
    let trail = settings.trail("delete", id);
    trail.end(force_on(settings, id, &trail))
}

fn force_on(settings: &Settings, id: &str, trail: &Trail) -> Result<Vec<String>> {
    let entry = match Store::new(&settings.state_root).open(id) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    match lock(&entry) {
        Ok(_lock) => remove(settings, &entry, None, trail),
        // Its creator has undone everything meanwhile.
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Who holds the lock too long (a slow hook) loses that hook, and init: it cleans up after it, or goes on.
fn lock(entry: &Entry) -> Result<Lock> {
    let error = match entry.lock(Instant::now() + LOCK_DEADLINE) {
        Err(error) if error.kind() == ErrorKind::Timeout => error,
        other => return other,
    };
    let init = entry.read_init().as_ref().and_then(prove);
    if let Some(init) = &init {
        let _ = pidfd::send_signal(init.handle.as_fd(), libc::SIGKILL); // ended meanwhile
    }
    if !end_hook(entry) && init.is_none() {
        return Err(error);
    }
    entry.lock(Instant::now() + UNDO_DEADLINE)
}

/// Kills, empties, removes; each part is done or harmless to do again.
pub(super) fn remove(
    settings: &Settings,
    entry: &Entry,
    known: Option<Record>,
    trail: &Trail,
) -> Result<Vec<String>> {
    let deadline = Instant::now() + KILL_DEADLINE;
    let record = known.or_else(|| match entry.read() {
        Stored::Whole(record) => Some(*record),
        Stored::Damaged => None,
    });
    let (init, cgroup) = match &record {
        Some(record) => from_record(entry, record)?,
        None => from_links(entry)?,
    };
    trail.point("read the record");
    let _ = end_hook(entry); // mostly there is none
    if let Some(id) = &init
        && let Some(proven) = prove(id)
    {
        end(id, &proven, &cgroup, deadline)?;
    }
    trail.point("end init");
    let unit = record.as_ref().and_then(|record| record.systemd.as_ref());
    if unit.is_some() || !cgroup.remove_if_empty() {
        cgroup.kill(deadline)?;
        trail.point("end what is in the cgroup");
        // systemd wouldn't notice the end of a unit whose directory somebody else has removed.
        if let (Some(unit), Some(record)) = (unit, &record) {
            unit.stop(&record.nonce)?;
            trail.point("stop the unit");
        }
        cgroup.remove(deadline)?;
    }
    trail.point("remove the cgroup");
    if let Some(place) = record.as_ref().and_then(|record| record.resctrl.as_ref()) {
        place.remove()?;
        trail.point("remove the resctrl group");
    }
    let warnings = poststop(settings, entry, record.as_ref(), trail);
    trail.lap("run poststop hooks");
    entry.remove()?;
    debug_assert!(!entry.exists());
    trail.point("remove the state directory");
    Ok(warnings)
}

/// Before the record goes: a delete that is killed meanwhile is done again, with all of its hooks.
/// A container that was never created has none.
fn poststop(
    settings: &Settings,
    entry: &Entry,
    record: Option<&Record>,
    trail: &Trail,
) -> Vec<String> {
    let Some(record) = record.filter(|record| record.complete) else {
        return Vec::new();
    };
    let started = |pid| {
        hooks::note(entry, pid)?;
        trail.may_stop();
        Ok(())
    };
    let subject = hooks::Subject {
        id: &entry.id,
        record,
        state_root: &settings.state_root,
        started: &started,
    };
    subject.poststop()
}

/// Kills what runs and leaves the container stopped.
pub(super) fn stop(record: &Record) {
    let deadline = Instant::now() + KILL_DEADLINE;
    let (Some(id), Ok(cgroup)) = (&record.init, Cgroup::open(&record.cgroup, &record.nonce)) else {
        return;
    };
    if let Some(proven) = prove(id) {
        let _ = end(id, &proven, &cgroup, deadline); // the caller has the error to tell
    }
    if !record.own_pid_namespace {
        let _ = cgroup.kill(deadline); // the same
    }
}

/// A creator that was killed leaves its hook running, in a group of its own. With the lock held no
/// other creator's hook can be meant. Was there one?
fn end_hook(entry: &Entry) -> bool {
    let Some(id) = entry.read_hook().filter(|id| prove(id).is_some()) else {
        return false;
    };
    let group = nix::unistd::Pid::from_raw(id.pid);
    let _ = nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL); // ended meanwhile
    true
}

fn from_record(entry: &Entry, record: &Record) -> Result<(Option<InitId>, Cgroup)> {
    let cgroup = Cgroup::open(&record.cgroup, &record.nonce)?;
    Ok((record.init.clone().or_else(|| entry.read_init()), cgroup))
}

/// Where the record is damaged: from the two links and the stamps on the cgroups.
fn from_links(entry: &Entry) -> Result<(Option<InitId>, Cgroup)> {
    let layout = Layout::probe()?;
    // Without a nonce nothing was made yet: it is written before the first side effect.
    let nonce = entry.read_nonce().unwrap_or_else(|| "none".to_owned());
    Ok((entry.read_init(), Cgroup::find(&layout, &nonce)?))
}

fn end(id: &InitId, init: &Proven, cgroup: &Cgroup, deadline: Instant) -> Result<()> {
    if init.stat.zombie {
        reap(id, init);
        return Ok(());
    }
    match pidfd::send_signal(init.handle.as_fd(), libc::SIGKILL) {
        Ok(()) | Err(nix::errno::Errno::ESRCH) => {}
        Err(errno) => return Err(Error::system("cannot kill init", errno)),
    }
    // A frozen v1 cgroup holds even SIGKILL back.
    if cgroup.is_frozen()? {
        cgroup.thaw()?;
    }
    wait_for_end(id, init, deadline)?;
    reap(id, init);
    Ok(())
}

fn wait_for_end(id: &InitId, init: &Proven, deadline: Instant) -> Result<()> {
    let refused = |errno| Error::system("cannot wait for init", errno);
    if !init.by_directory {
        let ended = pidfd::poll_any(&[init.handle.as_fd()], Some(deadline)).map_err(refused)?;
        return if ended[0] { Ok(()) } else { Err(survived()) };
    }
    // A directory of /proc can't be polled.
    while prove(id).is_some_and(|init| !init.stat.zombie) {
        if Instant::now() >= deadline {
            return Err(survived());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

fn survived() -> Error {
    Error::new(ErrorKind::Timeout, "init did not end after SIGKILL")
}

/// A child of ours that nobody has waited for would stay a zombie. Its status is taken from whoever
/// might still ask; a deleted container has none.
fn reap(id: &InitId, init: &Proven) {
    // Not our child: its parent's affair.
    let _ = if init.by_directory {
        pidfd::wait_child(id.pid, false, true)
    } else {
        pidfd::wait(init.handle.as_fd(), false, true)
    };
}
