//! The lifecycle: create, start, kill, delete, and the state between.
//! runtime.md#lifecycle

mod agent;
mod announce;
mod builder;
mod check;
mod checkpoint;
mod create;
mod delete;
mod doctor;
mod edits;
mod events;
mod exec;
mod garbage;
mod hooks;
mod judge;
mod kill;
mod notify;
mod pause;
mod place;
mod process;
pub(crate) mod record;
#[cfg(test)]
mod releases;
mod restore;
mod start;
mod state;
mod stdio;
mod store;
mod time;
mod update;

pub use builder::ContainerBuilder;
pub use check::{Problem, Severity};
pub use checkpoint::Checkpoint;
pub use doctor::Finding;
pub use events::{Event, Events};
pub use exec::{Exec, Executed};
pub use garbage::Garbage;
pub use notify::Notifications;
pub use process::{ExitStatus, Process};
pub use restore::Restore;
pub use state::{State, Status};
pub use stdio::{Pipes, Stdio};
pub use time::timestamp;
pub use update::Update;

use crate::cgroup::Cgroup;
use crate::error::{Error, ErrorKind, Result};
use crate::runtime::Settings;
use record::{InitId, Record};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use store::{Entry, Store};

pub(crate) use delete::force as force_delete;
pub(crate) use state::list;

/// A container of a [`Runtime`](crate::Runtime): created, running or stopped.
///
/// A handle is a name, not an owner: dropping it leaves the container alone.
///
/// ```no_run
/// # fn main() -> longshore::Result<()> {
/// let runtime = longshore::Runtime::builder().build()?;
/// let container = runtime.open("web1")?;
/// println!("{} is {}", container.id(), container.state()?.status());
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Container {
    settings: Arc<Settings>,
    id: String,
    pipes: Pipes,
    terminal: Option<OwnedFd>,
    /// From the clone, when this handle's `create` made it: needs no pidfd_open(2).
    init: Option<(InitId, OwnedFd)>,
    /// What this handle's `create` wrote: a complete record never changes.
    created: Option<Record>,
    warnings: Vec<String>,
}

impl Container {
    pub(crate) fn open(settings: Arc<Settings>, id: &str) -> Result<Container> {
        let container = Container {
            settings,
            id: id.to_owned(),
            pipes: Pipes::default(),
            terminal: None,
            init: None,
            created: None,
            warnings: Vec::new(),
        };
        container.entry()?;
        Ok(container)
    }

    /// The id it was created with.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The host's ends of the pipes that [`Stdio::piped`] asked for. Each can be taken once.
    ///
    /// ```no_run
    /// # fn main() -> longshore::Result<()> {
    /// # let runtime = longshore::Runtime::builder().build()?;
    /// use longshore::Stdio;
    /// let mut container = runtime.container("web1").bundle("/bundle").stdout(Stdio::piped()).create()?;
    /// let output = container.pipes().stdout.take();
    /// # Ok(()) }
    /// ```
    pub fn pipes(&mut self) -> &mut Pipes {
        &mut self.pipes
    }

    /// The master of the terminal that [`ContainerBuilder::pty`] asked for, once.
    ///
    /// ```no_run
    /// # fn main() -> longshore::Result<()> {
    /// # let runtime = longshore::Runtime::builder().build()?;
    /// let mut container = runtime.container("shell").bundle("/bundle").pty().create()?;
    /// let master = container.take_terminal();
    /// # Ok(()) }
    /// ```
    pub fn take_terminal(&mut self) -> Option<File> {
        self.terminal.take().map(File::from)
    }

    /// What was left out because the spec says to warn only (capabilities that can't be granted).
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The record, from memory if the directory still is the container that this handle created.
    fn record(&self, entry: &Entry) -> Result<Record> {
        match &self.created {
            Some(record) if entry.read_nonce().as_ref() == Some(&record.nonce) => {
                Ok(record.clone())
            }
            _ => entry.record(),
        }
    }

    fn store(&self) -> Store {
        Store::new(&self.settings.state_root)
    }

    fn entry(&self) -> Result<Entry> {
        self.store().open(&self.id)
    }
}

/// runc's rule: what may be a file name, and is no path.
pub(crate) fn check_id(id: &str) -> Result<()> {
    let fine = |character: char| character.is_ascii_alphanumeric() || "_+.-".contains(character);
    if id.is_empty() || id.len() > 1024 || !id.chars().all(fine) || id == "." || id == ".." {
        return Err(Error::new(
            ErrorKind::InvalidConfig,
            format!("invalid container id {id:?}: must match [A-Za-z0-9_+.-]+"),
        ));
    }
    Ok(())
}

/// Of all that is wrong with a configuration, what is told.
fn first(mut problems: Vec<Error>, path: &str) -> Error {
    if problems.is_empty() {
        Error::config(path, "is invalid")
    } else {
        problems.remove(0)
    }
}

/// runc's words: engines look for them.
fn check_terminal(terminal: bool, console: bool) -> Result<()> {
    match (terminal, console) {
        (true, false) => Err(Error::config(
            "process.terminal",
            "cannot allocate tty if runc will detach without setting console socket",
        )),
        (false, true) => Err(Error::config(
            "process.terminal",
            "cannot use console socket if runc will not detach or allocate tty",
        )),
        _ => Ok(()),
    }
}

/// A container that is too small for its own init says so.
fn explain_oom(error: Error, cgroup: Option<&Cgroup>) -> Error {
    if error.kind() == ErrorKind::Died && cgroup.is_some_and(|cgroup| cgroup.oom_kills() > 0) {
        return Error::new(
            ErrorKind::Died,
            "container init was OOM-killed (memory limit too low?)",
        )
        .at("linux.resources.memory.limit");
    }
    error
}

#[cfg(test)]
mod tests {
    use super::check_id;

    #[test]
    fn ids_are_plain_names() {
        for good in ["a", "web-1", "A_b+c.d", "..."] {
            check_id(good).unwrap();
        }
        for bad in ["", ".", "..", "a/b", "a b", "é", "a\0"] {
            check_id(bad).unwrap_err();
        }
    }
}
