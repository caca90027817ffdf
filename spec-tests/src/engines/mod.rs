//! The runtime under an engine: what the engine's users do, and what they see.

mod daemon;
mod docker;

pub(crate) use daemon::Engines;

use crate::suite::{Case, cases};

/// All tests of Docker.
pub(crate) fn docker() -> Vec<&'static dyn Case> {
    cases(&[docker::PLAIN, docker::REMAPPED])
}
