//! longshore: an OCI container runtime as a library.
//!
//! It implements the lifecycle of the OCI runtime specification (create, start,
//! kill, delete) for use inside other programs: threaded, async, long-lived.
//! It asks nothing of the program's `main`, and changes nothing of the calling
//! process. A container's first process is a program of its own (`init`), so no
//! code of the embedder ever runs between clone and exec.
//!
//! Blocking calls, `Send + Sync` types; for an event loop, a started
//! [`Process`] is a pidfd (`AsFd`) that becomes readable at its end.
//!
//! ```no_run
//! # fn main() -> longshore::Result<()> {
//! use longshore::{Runtime, Stdio};
//! let runtime = Runtime::builder().state_root("/run/example").build()?;
//! let container = runtime.container("web1").bundle("/bundle").stdout(Stdio::piped()).create()?;
//! let process = container.start()?;
//! let status = process.wait()?;
//! container.delete()?;
//! # Ok(()) }
//! ```
//!
//! What a container will be is compiled to a [`Plan`] first; [`ContainerBuilder::plan`] shows it.

#![deny(unsafe_code)]
#![warn(clippy::print_stdout, clippy::print_stderr)]

extern crate alloc;

mod cgroup;
mod checkpoint;
mod config;
mod container;
mod error;
mod features;
pub mod foreground;
#[cfg(any(test, feature = "_internals"))]
#[path = "../init/home.rs"]
mod home;
mod host;
#[cfg(any(test, feature = "_internals"))]
#[doc(hidden)]
pub mod internals;
mod launch;
mod plan;
mod resctrl;
mod runtime;
mod seccomp;
pub mod stats;
mod sys;
mod systemd;
mod terminal;
mod timings;
#[path = "../init/program.rs"]
#[allow(dead_code)] // each side uses its half
mod wire;

pub use checkpoint::{CgroupsMode, CriuOptions};
pub use container::{
    Checkpoint, Container, ContainerBuilder, Event, Events, Exec, Executed, ExitStatus, Finding,
    Garbage, Notifications, Pipes, Problem, Process, Restore, Severity, State, Status, Stdio,
    Update, timestamp,
};
pub use error::{Error, ErrorKind, Result};
pub use features::features;
pub use oci_spec;
pub use runtime::{CgroupDriver, Runtime, RuntimeBuilder};
pub use timings::Timings;

/// The version of the runtime specification that is implemented; what is missing of it, [`features`] tells.
///
/// ```
/// assert!(longshore::SPEC_VERSION.starts_with("1."));
/// ```
pub const SPEC_VERSION: &str = "1.3.0";

/// What `create` and `start` will do, step by step. Prints as text.
///
/// ```no_run
/// # fn main() -> longshore::Result<()> {
/// # let runtime = longshore::Runtime::builder().build()?;
/// let plan = runtime.container("web1").bundle("/bundle").plan()?;
/// println!("{plan}");
/// println!("{}", plan.to_json());
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Plan(plan::Plan);

impl Plan {
    pub(crate) fn new(plan: plan::Plan) -> Plan {
        Plan(plan)
    }

    /// `{"steps": [{"side", "path", "action"}], "warnings": []}` on one line.
    #[must_use]
    pub fn to_json(&self) -> String {
        self.0.to_json().to_string()
    }

    /// What was left out because the spec says to warn only.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.0.warnings
    }
}

impl std::fmt::Display for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}
