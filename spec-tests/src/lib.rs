//! Tests for any OCI runtime that speaks the commands of `runc`.
//!
//! The runtime is a black box: a path, the commands of `runc`, and what a
//! container then shows from inside and outside. `spec-tests` is conformance:
//! tables, one file per chapter of the runtime specification, under
//! `chapters/`. `robustness` is what happens when things go wrong, under `robust/`.
//! `engine-tests` is the runtime under engines, under `engines/`. `conformance` runs
//! `spec-tests` on several runtimes and tells by requirement what they did.
#![deny(unsafe_code)]

mod agent;
mod cgroups;
mod chapters;
mod command;
mod comparison;
mod config;
mod disk;
mod engines;
mod holder;
#[allow(unsafe_code)]
mod kernel;
mod known;
mod leak;
mod notifier;
mod onlooker;
mod property;
mod requirements;
mod robust;
mod rootfs;
mod runtime;
mod scene;
mod strace;
mod suite;
#[allow(unsafe_code)]
mod sys;
mod without;

use std::process::ExitCode;

/// The program `spec-tests`.
#[must_use]
pub fn conformance() -> ExitCode {
    command::run(chapters::all(), || Ok(()))
}

/// The program `conformance`.
#[must_use]
pub fn compare() -> ExitCode {
    comparison::run()
}

/// The program `robustness`.
#[must_use]
pub fn robustness() -> ExitCode {
    command::run(robust::all(), || Ok(()))
}

/// The program `engine-tests`.
#[must_use]
pub fn engines() -> ExitCode {
    command::run(engines::all(), engines::Engines::prepare)
}
