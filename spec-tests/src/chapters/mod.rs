//! The tests, one file per chapter.

mod baseline;
mod cgroups;
mod console;
mod debian;
mod devices;
mod errors;
mod hooks;
mod lifecycle;
mod masks;
mod mounts;
mod namespaces;
mod process;
mod programs;
mod root;
mod seccomp;

use crate::property::{Property, Scenario};
use crate::suite::Case;

/// All tests, chapter by chapter.
pub(crate) fn all() -> Vec<&'static dyn Case> {
    const PROPERTIES: &[&[Property]] = &[
        root::PROPERTIES,
        mounts::PROPERTIES,
        namespaces::PROPERTIES,
        process::PROPERTIES,
        devices::PROPERTIES,
        masks::PROPERTIES,
        cgroups::PROPERTIES,
        seccomp::PROPERTIES,
    ];
    const SCENARIOS: &[&[Scenario]] = &[
        mounts::SCENARIOS,
        process::SCENARIOS,
        baseline::SCENARIOS,
        console::SCENARIOS,
        devices::SCENARIOS,
        cgroups::SCENARIOS,
        hooks::SCENARIOS,
        lifecycle::SCENARIOS,
        programs::SCENARIOS,
        debian::SCENARIOS,
        errors::SCENARIOS,
    ];
    let mut all: Vec<&dyn Case> = Vec::new();
    all.extend(
        PROPERTIES
            .iter()
            .copied()
            .flatten()
            .map(|case| case as &dyn Case),
    );
    all.extend(
        SCENARIOS
            .iter()
            .copied()
            .flatten()
            .map(|case| case as &dyn Case),
    );
    all.extend(errors::CONFIGS.iter().map(|case| case as &dyn Case));
    all
}
