//! `start`: lets a created container execute its program, and says truthfully
//! whether it did (docs/decisions/0001-start-handshake.md).

use super::agent::{Agent, Whose, until_executed};
use super::judge::judge;
use super::notify::Channel;
use super::record::Record;
use super::state::{self, Proven};
use super::store::{Entry, LOCK_DEADLINE};
use super::{Container, Process, Status, delete, explain_oom, hooks};
use crate::cgroup::Cgroup;
use crate::error::{Error, ErrorKind, Result};
use crate::launch::{fresh_page, read_page};
use crate::sys::socket;
use crate::timings::Trail;
use crate::wire::{Frame, frame};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

impl Container {
    /// Runs the startContainer hooks and executes the program. Returns once it has been executed
    /// and the poststart hooks have run. Whether it is ready is asked of the [`Process`].
    ///
    /// # Errors
    /// `InvalidState` unless the container is created; `InvalidConfig` if it was created without a `process`; `Hook`, `Exec` or `Died` when the program
    /// was not executed, with the step at which init ended. `Hook` too when a poststart hook failed:
    /// the program has been killed then.
    ///
    /// ```no_run
    /// # fn main() -> longshore::Result<()> {
    /// # let runtime = longshore::Runtime::builder().build()?;
    /// let process = runtime.open("web1")?.start()?;
    /// # Ok(()) }
    /// ```
    pub fn start(&self) -> Result<Process> {
        let trail = self.settings.trail("start", &self.id);
        trail.end(self.start_on(&trail))
    }

    fn start_on(&self, trail: &Trail) -> Result<Process> {
        let entry = self.entry()?;
        let _lock = entry.lock(Instant::now() + LOCK_DEADLINE)?;
        trail.point("lock");
        let record = self.record(&entry)?;
        // Our own connection answers whether it is created: one wake-up of init, not two.
        let init = state::alive(&record)?.map_err(refusal)?;
        if !record.has_program() {
            return Err(Error::config(
                "process",
                "is required to start the container",
            ));
        }
        let connection = entry.connect_start_socket()?;
        let connection = connection.ok_or_else(|| refusal(state::unheard(&record)))?;
        trail.point("connect to init");
        let agent = Agent::connect(record.seccomp_agent.as_ref())?;
        let notify = Channel::open(&entry, record.notify_socket.as_deref())?;
        if notify.is_some() {
            trail.point("make the notify socket");
        }
        let page = fresh_page(
            first_step(&record),
            trail.timed(),
            &self.settings.state_root,
        )?;
        let request = Frame {
            kind: frame::START,
            step: 0,
            value: 0,
        };
        socket::send(connection.as_fd(), request, &[page.as_fd()])
            .map_err(|errno| Error::system("cannot reach init", errno))?;
        trail.point("say START");
        let (handle, by_directory) = self.best_handle(&record, init)?;
        let pid = record.init.as_ref().map_or(0, |init| init.pid);
        let whose = Whose {
            id: &self.id,
            record: &record,
            status: "created",
            pid,
        };
        // startContainer hooks take as long as they take.
        let process = (!by_directory).then(|| handle.as_fd());
        let executed = until_executed(connection.as_fd(), process, None, agent, &whose);
        trail.point("wait until the program is executed");
        trail.init(&page, &record.steps);
        executed?;
        let whom = (record.steps.as_slice(), record.init.as_ref());
        judge(&read_page(&page), handle.as_fd(), pid, whom).map_err(|error| {
            let cgroup = Cgroup::open(&record.cgroup, &record.nonce);
            explain_oom(error, cgroup.ok().as_ref())
        })?;
        trail.lap("see that it was executed");
        self.poststart(&entry, &record, pid, trail)?;
        trail.lap("run poststart hooks");
        let process = Process::new(pid, handle, by_directory);
        match notify {
            Some(channel) => process.with_notifications(channel),
            None => Ok(process),
        }
    }

    /// config.md#poststart: a failure stops the container.
    fn poststart(&self, entry: &Entry, record: &Record, pid: i32, trail: &Trail) -> Result<()> {
        let started = |pid| {
            hooks::note(entry, pid)?;
            trail.may_stop();
            Ok(())
        };
        let subject = hooks::Subject {
            id: &self.id,
            record,
            state_root: &self.settings.state_root,
            started: &started,
        };
        subject.poststart(pid).inspect_err(|_| delete::stop(record))
    }

    /// A real pidfd if there is any: of `/proc`'s directory nobody can ask for the end.
    fn best_handle(&self, record: &Record, proven: Proven) -> Result<(OwnedFd, bool)> {
        match &self.init {
            Some((id, pidfd)) if proven.by_directory && record.init.as_ref() == Some(id) => {
                let copy = pidfd
                    .try_clone()
                    .map_err(|error| Error::system("cannot duplicate a descriptor", error))?;
                Ok((copy, false))
            }
            _ => Ok((proven.handle, proven.by_directory)),
        }
    }
}

/// Where init is when it hears of `start`, or never does.
fn first_step(record: &Record) -> u32 {
    let first = record.steps.iter().position(|step| !step.action.is_empty());
    first.and_then(|step| u32::try_from(step).ok()).unwrap_or(0)
}

fn stopped() -> Error {
    Error::new(
        ErrorKind::InvalidState,
        "cannot start a container that has stopped",
    )
}

fn already_running() -> Error {
    Error::new(
        ErrorKind::InvalidState,
        "cannot start an already running container",
    )
}

fn refusal(status: Status) -> Error {
    match status {
        Status::Stopped => stopped(),
        Status::Created | Status::Running => already_running(),
        Status::Paused => Error::new(
            ErrorKind::InvalidState,
            "cannot start a container in the paused state",
        ),
        Status::Creating => Error::new(
            ErrorKind::InvalidState,
            "cannot start a container that is being created",
        ),
    }
}
