//! The tests, one file per chapter.

mod activation;
mod attributes;
mod baseline;
mod cgroup2;
mod cgroup2_limits;
mod cgroup_disks;
mod cgroup_refusals;
mod cgroups;
mod checkpoint;
mod checkpoint_engines;
mod checkpoint_refusals;
mod console;
mod debian;
mod defects;
mod deletes;
mod devices;
mod doctor;
mod errors;
mod events;
mod exec;
mod exec_added;
mod exec_cgroup;
mod exec_joins;
mod exec_stdio;
mod features;
mod gc;
mod handles;
mod help;
mod hook_kinds;
mod hooks;
mod hooks_around;
mod idmaps;
mod labels;
mod lifecycle;
mod masks;
mod mount_points;
mod mounts;
mod namespaces;
mod netdevices;
mod notify;
mod pause;
mod process;
mod programs;
mod restore;
mod root;
mod rootless;
mod rootless_cgroups;
mod rootless_inside;
mod rootless_ranges;
mod rootless_systemd;
mod seccomp;
mod seccomp_notify;
mod systemd;
mod systemd_inside;
mod timings;
mod update;
mod update_limits;
mod upgrade;

use crate::property::{Property, Scenario};
use crate::suite::{Case, cases};

/// The tests of one property each.
pub(crate) fn properties() -> Vec<&'static dyn Case> {
    const PROPERTIES: &[&[Property]] = &[
        root::PROPERTIES,
        mounts::PROPERTIES,
        idmaps::PROPERTIES,
        namespaces::PROPERTIES,
        process::PROPERTIES,
        attributes::PROPERTIES,
        labels::PROPERTIES,
        devices::PROPERTIES,
        netdevices::PROPERTIES,
        masks::PROPERTIES,
        cgroups::PROPERTIES,
        cgroup2_limits::PROPERTIES,
        cgroup_disks::PROPERTIES,
        seccomp::PROPERTIES,
        hook_kinds::PROPERTIES,
    ];
    cases(PROPERTIES)
}

/// All tests, chapter by chapter.
pub(crate) fn all() -> Vec<&'static dyn Case> {
    const SCENARIOS: &[&[Scenario]] = &[
        mount_points::SCENARIOS,
        process::SCENARIOS,
        attributes::SCENARIOS,
        labels::SCENARIOS,
        baseline::SCENARIOS,
        activation::SCENARIOS,
        notify::SCENARIOS,
        console::SCENARIOS,
        devices::SCENARIOS,
        netdevices::SCENARIOS,
        cgroups::SCENARIOS,
        cgroup_disks::SCENARIOS,
        cgroup_refusals::SCENARIOS,
        seccomp::SCENARIOS,
        seccomp_notify::SCENARIOS,
        hooks::SCENARIOS,
        hooks_around::SCENARIOS,
        lifecycle::SCENARIOS,
        deletes::SCENARIOS,
        programs::SCENARIOS,
        handles::SCENARIOS,
        help::SCENARIOS,
        doctor::SCENARIOS,
        gc::SCENARIOS,
        debian::SCENARIOS,
        defects::SCENARIOS,
        errors::SCENARIOS,
        exec::SCENARIOS,
        exec_cgroup::SCENARIOS,
        exec_joins::SCENARIOS,
        exec_stdio::SCENARIOS,
        features::SCENARIOS,
        pause::SCENARIOS,
        update::SCENARIOS,
        upgrade::SCENARIOS,
        events::SCENARIOS,
        cgroup2::SCENARIOS,
        checkpoint::SCENARIOS,
        checkpoint_refusals::SCENARIOS,
        checkpoint_engines::SCENARIOS,
        restore::SCENARIOS,
        rootless::SCENARIOS,
        rootless_cgroups::SCENARIOS,
        rootless_inside::SCENARIOS,
        rootless_ranges::SCENARIOS,
        rootless_systemd::SCENARIOS,
        systemd::SCENARIOS,
        systemd_inside::SCENARIOS,
        timings::SCENARIOS,
    ];
    [
        properties(),
        cases(SCENARIOS),
        cases(&[errors::CONFIGS]),
        cases(&[exec_added::ADDED]),
        cases(&[update_limits::LIMITS]),
    ]
    .concat()
}
