//! A process that holds namespaces open for configs that join them by path.
//!
//! It is this program again: it unshares, tells the pid of the process whose
//! `/proc/PID/ns` shows the new namespace, and ends when its stdin closes, so
//! that it can't outlive the suite.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};

use nix::sched::{CloneFlags, unshare};

use crate::suite::{Check, Stop};
use crate::sys;

/// The argument by which this program becomes the holder.
pub(crate) const ARGUMENT: &str = "--hold-namespace";

/// Names of the namespace types: in config.json, in /proc, and as a flag.
pub(crate) const TYPES: &[(&str, &str, CloneFlags)] = &[
    ("cgroup", "cgroup", CloneFlags::CLONE_NEWCGROUP),
    ("ipc", "ipc", CloneFlags::CLONE_NEWIPC),
    ("mount", "mnt", CloneFlags::CLONE_NEWNS),
    ("network", "net", CloneFlags::CLONE_NEWNET),
    ("pid", "pid", CloneFlags::CLONE_NEWPID),
    // The bit lies in clone's signal byte, so nix has no name for it.
    ("time", "time", CloneFlags::from_bits_retain(0x80)),
    ("user", "user", CloneFlags::CLONE_NEWUSER),
    ("uts", "uts", CloneFlags::CLONE_NEWUTS),
];

/// A living holder.
#[derive(Debug)]
pub(crate) struct Holder {
    child: Child,
    /// The process that is in the namespace.
    pub pid: i32,
}

impl Holder {
    /// Starts a holder of one new namespace.
    pub(crate) fn start(kind: &str) -> Check<Holder> {
        let mut command = Command::new("/proc/self/exe");
        command
            .args([ARGUMENT, kind])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        let pid = line
            .trim()
            .parse()
            .map_err(|_| Stop::Fail(format!("the holder of a {kind} namespace said {line:?}")))?;
        if kind == "user" {
            fs::write(format!("/proc/{pid}/uid_map"), "0 100000 65536")?;
            fs::write(format!("/proc/{pid}/gid_map"), "0 100000 65536")?;
        }
        Ok(Holder { child, pid })
    }

    /// The path to put into the config.
    pub(crate) fn path(&self, kind: &str) -> String {
        format!("/proc/{}/ns/{}", self.pid, proc_name(kind))
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait(); // it ends at the end of its input
    }
}

/// The name of a namespace type under `/proc/PID/ns`.
pub(crate) fn proc_name(kind: &str) -> &'static str {
    TYPES
        .iter()
        .find(|entry| entry.0 == kind)
        .map_or("none", |entry| entry.1)
}

/// The holder's main.
pub(crate) fn hold(kind: &str) -> std::io::Result<()> {
    let flag = TYPES
        .iter()
        .find(|entry| entry.0 == kind)
        .map_or(CloneFlags::empty(), |entry| entry.2);
    unshare(flag)?;
    // Only children enter a new pid or time namespace.
    if matches!(kind, "pid" | "time") {
        let mut command = Command::new("/proc/self/exe");
        command.args([ARGUMENT, "none"]).stdout(Stdio::null());
        sys::fork(&mut command);
        let mut child = command.spawn()?;
        println!("{}", child.id());
        std::io::stdout().flush()?;
        child.wait()?;
        return Ok(());
    }
    println!("{}", std::process::id());
    std::io::stdout().flush()?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
