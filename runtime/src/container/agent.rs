//! Where the listener of a filter that notifies goes: config-linux.md#seccomp,
//! and what is waited for until a program is executed (docs/decisions/0009-seccomp-listener.md).

use super::hooks;
use super::record::Record;
use crate::config::resources::SeccompAgent;
use crate::error::{Error, Result};
use crate::sys::pidfd;
use crate::sys::socket::{self, Received};
use crate::wire::{Frame, frame};
use nix::errno::Errno;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

const PATH: &str = "linux.seccomp.listenerPath";

/// An agent that doesn't read holds its container, not us.
const DEADLINE: Duration = Duration::from_secs(10);

/// A connection to the agent: for one listener.
#[derive(Debug)]
pub(super) struct Agent {
    connection: OwnedFd,
    metadata: Option<String>,
}

impl Agent {
    /// Before anything is executed: an agent that isn't there is an error, and nothing has happened.
    pub(super) fn connect(agent: Option<&SeccompAgent>) -> Result<Option<Agent>> {
        let Some(SeccompAgent { path, metadata }) = agent else {
            return Ok(None);
        };
        let connection = socket::connect_stream(path, DEADLINE).map_err(|errno| {
            Error::system(format!("cannot connect to the seccomp agent {path}"), errno).at(PATH)
        })?;
        Ok(Some(Agent {
            connection,
            metadata: metadata.clone(),
        }))
    }

    /// config-linux.md#containerprocessstate, with the listener as its only descriptor.
    fn hand_over(self, listener: BorrowedFd<'_>, whose: &Whose<'_>) -> Result<()> {
        let (before, after) = hooks::state(whose.id, whose.record, whose.status);
        let init = whose.record.init.as_ref().map_or(0, |init| init.pid);
        let text = |text: &str| serde_json::Value::from(text).to_string();
        let metadata = self.metadata.as_deref();
        let metadata = metadata.map(|data| format!("\"metadata\":{},", text(data)));
        let state = format!(
            "{{\"ociVersion\":{},\"fds\":[\"seccompFd\"],\"pid\":{},{}\"state\":{before}{init}{after}}}",
            text(&whose.record.oci_version),
            whose.pid,
            metadata.unwrap_or_default(),
        );
        socket::send_all(self.connection.as_fd(), state.as_bytes(), listener).map_err(|errno| {
            Error::system("cannot hand the listener to the seccomp agent", errno).at(PATH)
        })
    }
}

/// The process whose filter it is.
pub(super) struct Whose<'a> {
    pub(super) id: &'a str,
    pub(super) record: &'a Record,
    /// The container's.
    pub(super) status: &'a str,
    pub(super) pid: i32,
}

/// Waits for the end of the connection: that is execve, or the process's end. On the way the filter's
/// listener goes to its agent.
///
/// # Errors
/// `Timeout` at the deadline, and all that the agent can refuse. The process ends then, with the connection.
pub(super) fn until_executed(
    connection: BorrowedFd<'_>,
    process: Option<BorrowedFd<'_>>,
    deadline: Option<Instant>,
    mut agent: Option<Agent>,
    whose: &Whose<'_>,
) -> Result<()> {
    let refused = |errno| Error::system("cannot wait for the process", errno);
    let fds: Vec<_> = [connection].into_iter().chain(process).collect();
    loop {
        let ready = pidfd::poll_any(&fds, deadline).map_err(refused)?;
        if !ready.contains(&true) {
            return Err(Error::new(
                crate::ErrorKind::Timeout,
                "it was not executed in time",
            ));
        }
        let word = match ready.first() {
            Some(true) => socket::receive(connection).map_err(refused)?,
            _ => return Ok(()),
        };
        let (Received::Frame(word, Some(listener)), Some(agent)) = (word, agent.take()) else {
            return Ok(()); // the page tells what became of it
        };
        if word.kind == frame::LISTENER {
            agent.hand_over(listener.as_fd(), whose)?;
        }
        let go = Frame {
            kind: frame::GO,
            step: 0,
            value: 0,
        };
        match socket::send(connection, go, &[]) {
            Ok(()) | Err(Errno::EPIPE | Errno::ECONNRESET) => {} // dead: the page tells of what
            Err(errno) => return Err(refused(errno)),
        }
    }
}
