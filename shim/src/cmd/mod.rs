//! The commands: typed options, one library call, output.

mod check;
mod checkpoint;
mod create;
mod delete;
mod doctor;
mod events;
mod exec;
mod gc;
mod help;
mod kill;
mod list;
mod pause;
mod plan;
mod preserved;
mod spec;
mod start;
mod state;
mod update;

use crate::cli::Invocation;
use crate::log::Log;
use longshore::foreground::Foreground;
use longshore::{CgroupDriver, ExitStatus, Process, Runtime, Timings};
pub(crate) use preserved::Preserved;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::SystemTime;

/// Why a command failed, in one line and in parts.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) message: String,
    pub(crate) kind: Option<&'static str>,
    pub(crate) step: Option<String>,
    pub(crate) path: Option<String>,
    pub(crate) errno: Option<i32>,
    /// The command's exit status.
    pub(crate) status: i32,
}

impl Failure {
    pub(crate) fn plain(message: impl Into<String>) -> Failure {
        Failure {
            message: message.into(),
            kind: None,
            step: None,
            path: None,
            errno: None,
            status: 1,
        }
    }

    /// runc's words for where it failed, before ours.
    fn during(mut self, what: &str) -> Failure {
        self.message = format!("{what}: {}", self.message);
        self
    }
}

impl From<longshore::Error> for Failure {
    fn from(error: longshore::Error) -> Failure {
        Failure {
            message: error.to_string().replace('\n', " "),
            kind: Some(error.kind().as_str()),
            step: error.step().map(str::to_owned),
            path: error.config_path().map(str::to_owned),
            errno: error.errno(),
            status: 1,
        }
    }
}

type Outcome = Result<i32, Failure>;

/// The caller's descriptors that go to the program.
pub(crate) fn preserved(invocation: &Invocation) -> Result<Preserved, Failure> {
    let count = invocation
        .get("preserve-fds")
        .map_or(Ok(0), |text| number("preserve-fds", text))?;
    // Sockets are for a container's first program alone: `exec` counts from 3.
    let activated = ["create", "run", "plan"].contains(&invocation.command);
    let preserved = Preserved::take(activated, count)?;
    match invocation.get("status-fd") {
        Some(text) => preserved.with_status(number("status-fd", text)?),
        None => Ok(preserved),
    }
}

/// A socket of the engine's that gets the terminal.
fn console(invocation: &Invocation) -> Result<Option<OwnedFd>, Failure> {
    connected(invocation, "console-socket", "console socket")
}

/// A socket of the engine's that gets the pidfd.
fn pidfd_socket(invocation: &Invocation) -> Result<Option<OwnedFd>, Failure> {
    connected(invocation, "pidfd-socket", "pidfd socket")
}

fn connected(
    invocation: &Invocation,
    option: &str,
    what: &str,
) -> Result<Option<OwnedFd>, Failure> {
    let Some(path) = invocation.get(option) else {
        return Ok(None);
    };
    let socket = UnixStream::connect(path)
        .map_err(|error| Failure::plain(format!("cannot connect to {what} {path}: {error}")))?;
    Ok(Some(socket.into()))
}

/// Stands in front of a process until it ends.
fn wait(
    foreground: &Foreground,
    process: &Process,
    terminal: Option<&File>,
) -> longshore::Result<ExitStatus> {
    match terminal {
        Some(master) => foreground.wait_in_terminal(process, master),
        None => foreground.wait(process),
    }
}

/// Engines look for these words in front of what went wrong inside.
fn inside(error: longshore::Error, what: &str) -> Failure {
    let inside = error.kind() == longshore::ErrorKind::Exec;
    let failure = Failure::from(error);
    if inside {
        failure.during(what)
    } else {
        failure
    }
}

/// Runs a command; its exit status.
pub(crate) fn run(
    invocation: &Invocation,
    log: &Log,
    preserved: Preserved,
    begun: SystemTime,
) -> Outcome {
    // These need no state root.
    match invocation.command {
        "completion" => return help::completion(invocation),
        "features" => return spec::features(),
        "man" => return help::manual(invocation),
        "spec" => return spec::spec(invocation),
        _ => {}
    }
    let timings = timings(invocation)?;
    let runtime = runtime(invocation, timings.clone())?;
    note(timings.as_ref(), invocation, "read the command line", begun);
    match invocation.command {
        "check" => check::check(&runtime, invocation),
        "checkpoint" => checkpoint::checkpoint(&runtime, invocation, log, preserved.status),
        "create" => create::create(&runtime, invocation, log, preserved),
        "run" => create::run(&runtime, invocation, log, preserved, timings.as_ref()),
        "exec" => exec::exec(&runtime, invocation, log, preserved, timings.as_ref()),
        "doctor" => doctor::doctor(&runtime, invocation),
        "gc" => gc::gc(&runtime, invocation, log),
        "delete" => delete::delete(&runtime, invocation, log),
        "kill" => kill::kill(&runtime, invocation),
        "list" => list::list(&runtime, invocation, log),
        "pause" => pause::pause(&runtime, invocation),
        "ps" => pause::ps(&runtime, invocation),
        "restore" => checkpoint::restore(&runtime, invocation, log),
        "resume" => pause::resume(&runtime, invocation),
        "plan" => plan::plan(&runtime, invocation, log, preserved),
        "events" => events::events(&runtime, invocation),
        "start" => start::start(&runtime, invocation, log),
        "state" => state::state(&runtime, invocation),
        "update" => update::update(&runtime, invocation, log),
        "wait" => start::wait(&runtime, invocation),
        other => Err(Failure::plain(format!("no such command: {other}"))),
    }
}

/// A file that gets to know where the time goes; one for many commands.
fn timings(invocation: &Invocation) -> Result<Option<Timings>, Failure> {
    let Some(path) = invocation.get("timings") else {
        return Ok(None);
    };
    let file = File::options().append(true).create(true).open(path);
    let file =
        file.map_err(|error| Failure::plain(format!("cannot open timings {path}: {error}")))?;
    let timings = Timings::to(file);
    Ok(Some(match std::env::var("TRACEPARENT") {
        Ok(parent) => timings.trace_parent(&parent),
        Err(_) => timings,
    }))
}

/// What the user's program takes is no part of ours.
const WAITED: &str = "wait for the program";

/// The command's own part.
fn note(timings: Option<&Timings>, invocation: &Invocation, action: &str, since: SystemTime) {
    if let Some(timings) = timings {
        timings.note(invocation.id(), invocation.command, action, since);
    }
}

fn runtime(invocation: &Invocation, timings: Option<Timings>) -> Result<Runtime, Failure> {
    let mut builder = Runtime::builder();
    if let Some(timings) = timings {
        builder = builder.timings(timings);
    }
    if let Some(root) = invocation.get("root") {
        builder = builder.state_root(root);
    }
    if let Some(rootless) = rootless(invocation.get("rootless").unwrap_or("auto"))? {
        builder = builder.rootless(rootless);
    }
    if invocation.has("systemd-cgroup") {
        builder = builder.cgroups(CgroupDriver::Systemd);
    }
    if let Some(point) = invocation.get("stop-at-fault-point") {
        builder = builder.stop_at_fault_point(number("stop-at-fault-point", point)?);
    }
    Ok(builder.build()?)
}

/// Go's words for a bool, or none.
fn rootless(word: &str) -> Result<Option<bool>, Failure> {
    match word {
        "auto" | "" => Ok(None),
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(Some(true)),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(Some(false)),
        other => Err(Failure::plain(format!(
            "invalid value {other:?} for --rootless: not true, false or auto"
        ))),
    }
}

fn number(name: &str, text: &str) -> Result<u32, Failure> {
    text.parse()
        .map_err(|_| Failure::plain(format!("invalid value {text:?} for --{name}: not a number")))
}
