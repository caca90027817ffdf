//! User namespace maps, written from outside. user_namespaces(7)

use super::child::{self, Bounds, Ended};
use crate::config::{IdMapping, id_maps};
use crate::error::{Error, ErrorKind, Result};
use crate::plan::MapWriter;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const UIDS: &str = "linux.uidMappings";
const GIDS: &str = "linux.gidMappings";

/// For a helper, which asks the directory of users, wherever that is.
const DEADLINE: Duration = Duration::from_secs(10);

/// A process that has just got its user namespace.
pub(crate) struct Mapped<'a> {
    pub(crate) pid: i32,
    pub(crate) pidfd: BorrowedFd<'a>,
    pub(crate) state_root: &'a Path,
}

/// Writes both maps.
pub(crate) fn write(
    process: &Mapped<'_>,
    uids: &[IdMapping],
    gids: &[IdMapping],
    writer: &MapWriter,
) -> Result<()> {
    match writer {
        MapWriter::Ourselves => write_ourselves(process.pid, uids, gids),
        MapWriter::OwnIds { .. } => {
            deny_setgroups(process.pid)?;
            write_ourselves(process.pid, uids, gids)
        }
        MapWriter::Helpers {
            newuidmap,
            newgidmap,
        } => {
            helper(newuidmap, process, UIDS, uids)?;
            helper(newgidmap, process, GIDS, gids)
        }
    }
}

/// The kernel takes them from a process with CAP_SETUID and CAP_SETGID over the namespace above, or if they are
/// its own ids alone.
pub(crate) fn write_ourselves(pid: i32, uids: &[IdMapping], gids: &[IdMapping]) -> Result<()> {
    write_map(pid, "gid_map", GIDS, gids)?;
    write_map(pid, "uid_map", UIDS, uids)
}

/// Without it the kernel refuses an unprivileged gid_map.
fn deny_setgroups(pid: i32) -> Result<()> {
    std::fs::write(format!("/proc/{pid}/setgroups"), "deny")
        .map_err(|error| Error::system("cannot deny setgroups", error).at(GIDS))
}

fn write_map(pid: i32, file: &str, path: &str, maps: &[IdMapping]) -> Result<()> {
    std::fs::write(format!("/proc/{pid}/{file}"), id_maps::text(maps))
        .map_err(|error| Error::system(format!("cannot write {file}"), error).at(path))
}

/// `newuidmap PID INSIDE OUTSIDE COUNT...`. Set-user-ID: what of our surroundings it doesn't need, it doesn't get.
fn helper(program: &str, process: &Mapped<'_>, path: &str, maps: &[IdMapping]) -> Result<()> {
    let name = program.rsplit('/').next().unwrap_or(program);
    let numbers = maps
        .iter()
        .flat_map(|map| [map.container, map.host, map.size])
        .map(|number| number.to_string());
    let mut command = Command::new(program);
    command.arg(process.pid.to_string()).args(numbers);
    command.env_clear().current_dir("/").stdin(Stdio::null());
    let bounds = Bounds {
        init: Some(process.pidfd),
        deadline: Some(Instant::now() + DEADLINE),
        started: &|_| Ok(()), // it does nothing but to init, and ends by itself
        state_root: process.state_root,
    };
    let unstarted = |error| Error::system(format!("cannot run {program}"), error).at(path);
    let (ended, words) = child::run(&mut command, &bounds, unstarted)?;
    let said = words.rsplit("; ").next().unwrap_or_default();
    let said = said.strip_prefix(&format!("{name}: ")).unwrap_or(said);
    let why = match ended {
        Ended::Itself(status) if status.success() => return Ok(()),
        Ended::Itself(status) if said.is_empty() => status.to_string(),
        Ended::Itself(_) => said.to_owned(),
        Ended::InitDied => "init died meanwhile".to_owned(),
        Ended::TimedOut => {
            let message = format!("{name}: no end after {} s", DEADLINE.as_secs());
            return Err(Error::new(ErrorKind::Timeout, message).at(path));
        }
    };
    Err(Error::new(ErrorKind::System, format!("{name}: {why}")).at(path))
}
