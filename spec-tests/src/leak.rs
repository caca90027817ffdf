//! What the whole suite must not leave on the host.
//!
//! Processes and cgroups are compared by the tag of the run, since others may
//! use the host at the same time; mounts as a whole, since the suite has a
//! mount namespace to itself.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::errno::Errno;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::cgroups;
use crate::suite::{Check, Stop, Suite};

/// The host as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Snapshot {
    cgroups: Vec<PathBuf>,
    units: Vec<String>,
    mounts: Vec<String>,
}

impl Snapshot {
    /// Looks at the host.
    pub(crate) fn take(tag: &str) -> Snapshot {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        Snapshot {
            cgroups: cgroups::named(tag),
            units: units(tag),
            mounts: mounts.lines().map(str::to_owned).collect(),
        }
    }
}

/// The units of systemd's with a word in their names, where it runs.
pub(crate) fn units(word: &str) -> Vec<String> {
    if !Path::new("/run/systemd/system").exists() {
        return Vec::new();
    }
    let pattern = format!("*{word}*");
    let args = ["list-units", "--all", "--plain", "--no-legend", &pattern];
    let listed = Command::new("systemctl").args(args).output();
    let text = listed.map(|out| String::from_utf8_lossy(&out.stdout).into_owned());
    let lines = text.unwrap_or_default();
    lines.lines().map(str::to_owned).collect()
}

/// Lines of mountinfo for mounts below a directory, the innermost first.
pub(crate) fn mounts_below(dir: &Path) -> Vec<String> {
    let prefix = format!("{}/", dir.display());
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let below = |line: &&str| {
        line.split(' ')
            .nth(4)
            .is_some_and(|point| point.starts_with(&prefix))
    };
    text.lines()
        .rev()
        .filter(below)
        .map(str::to_owned)
        .collect()
}

/// Whose CRIU mounts a cgroup2 of its own, which takes the options of the host's: `checkpoint.host-cgroup2-as-it-was`
/// tells that, and is not to be told again of the whole run.
const TAKES_OPTIONS: &[&str] = &["runc"];

/// The mounts of cgroup2 without the options of their filesystem.
fn without_options(lines: &[String]) -> Vec<String> {
    let without = |line: &String| match line.split_once(" - cgroup2 ") {
        Some((mount, _)) => format!("{mount} - cgroup2"),
        None => line.clone(),
    };
    lines.iter().map(without).collect()
}

/// Compares the host with what it was before the suite.
pub(crate) fn check(before: &Snapshot, suite: &Suite) -> Check {
    let mut after = Snapshot::take(&suite.tag);
    let mut before = before.clone();
    if TAKES_OPTIONS.contains(&suite.runtime.name.as_str()) {
        after.mounts = without_options(&after.mounts);
        before.mounts = without_options(&before.mounts);
    }
    let mut found: Vec<String> = Vec::new();
    found.extend(
        after
            .cgroups
            .iter()
            .filter(|dir| !before.cgroups.contains(dir))
            .map(|dir| format!("cgroup {}", dir.display())),
    );
    found.extend(after.units.iter().map(|unit| format!("unit {unit}")));
    found.extend(
        after
            .mounts
            .iter()
            .filter(|line| !before.mounts.contains(line))
            .map(|line| format!("mount {line}")),
    );
    found.extend(
        before
            .mounts
            .iter()
            .filter(|line| !after.mounts.contains(line))
            .map(|line| format!("lost mount {line}")),
    );
    found.extend(suite.leaks().iter().map(|line| format!("mount {line}")));
    found.extend(living_children());
    if suite.dir.exists() {
        found.push(format!("directory {}", suite.dir.display()));
    }
    if found.is_empty() {
        Ok(())
    } else {
        Err(Stop::Fail(found.join("; ")))
    }
}

/// We are a subreaper, so that all that the runtimes left running is our child by now.
fn living_children() -> Vec<String> {
    loop {
        match waitpid(Pid::from_raw(-1), Some(WaitPidFlag::WNOHANG)) {
            Err(Errno::ECHILD) => return Vec::new(),
            Err(_) | Ok(WaitStatus::StillAlive) => break,
            Ok(_) => {} // a zombie is no leak: its parent here is the suite
        }
    }
    let own = std::process::id();
    let children =
        fs::read_to_string(format!("/proc/{own}/task/{own}/children")).unwrap_or_default();
    let command = |pid: &str| {
        fs::read_to_string(format!("/proc/{pid}/cmdline"))
            .unwrap_or_default()
            .replace('\0', " ")
    };
    children
        .split_whitespace()
        .map(|pid| format!("process {pid} ({})", command(pid)))
        .collect()
}
