//! What the security modules are told: AppArmor's profile, SELinux's labels. Pure.

use super::order::Steps;
use super::{Action, Facts};
use crate::config::Config;
use crate::config::mount_options::MountOptions;
use crate::error::Error;

/// The kernel labels these itself, and takes no other word for it.
const LABELLED_BY_POLICY: [&str; 5] = ["proc", "sysfs", "mqueue", "cgroup", "cgroup2"];

/// A label that nobody enforces is none: its module must be in force.
pub(crate) fn refused(config: &Config, facts: &Facts) -> Vec<Error> {
    let process = &config.process;
    let asked = [
        (
            "process.apparmorProfile",
            process.apparmor_profile.is_some(),
            facts.apparmor,
            "AppArmor",
        ),
        (
            "process.selinuxLabel",
            process.selinux_label.is_some(),
            facts.selinux,
            "SELinux",
        ),
        (
            "linux.mountLabel",
            config.mount_label.is_some(),
            facts.selinux,
            "SELinux",
        ),
    ];
    let refused = asked
        .into_iter()
        .filter(|(_, asked, there, _)| *asked && !there);
    refused
        .map(|(path, _, _, module)| {
            Error::unsupported(path, format!("{module} is not enabled on this host"))
        })
        .collect()
}

/// Takes effect at the next execve: of a startContainer hook, or the program's. Told by init itself, through the
/// caller's procfs: what the container has at /proc may be anything (CVE-2019-16884).
pub(crate) fn process(config: &Config, steps: &mut Steps) {
    if let Some(profile) = config.process.apparmor_profile.clone() {
        steps.push("process.apparmorProfile", Action::AppArmorProfile(profile));
    }
    if let Some(label) = config.process.selinux_label.clone() {
        steps.push("process.selinuxLabel", Action::SelinuxLabel(label));
    }
}

/// For a process that joins a mount namespace: there the procfs is the container's.
pub(crate) fn hold_procfs(config: &Config, steps: &mut Steps) {
    let process = &config.process;
    if process.apparmor_profile.is_some() || process.selinux_label.is_some() {
        steps.push("process", Action::HoldProcfs);
    }
}

/// selinux(8): all files of the filesystem have the label.
pub(crate) fn mount(config: &Config, fstype: &str, options: &mut MountOptions) {
    let given = options.data.iter().any(|(key, _)| key == "context");
    if let Some(label) = config.mount_label.clone()
        && !given
        && !LABELLED_BY_POLICY.contains(&fstype)
    {
        options.data.push(("context".to_owned(), Some(label)));
    }
}
