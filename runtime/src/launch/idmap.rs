//! User namespace maps, written from outside. user_namespaces(7)

use crate::config::{IdMapping, id_maps};
use crate::error::{Error, Result};
use std::process::Command;

/// Writes both maps of a process that has just got its user namespace. A creator without
/// CAP_SETUID asks the helpers newuidmap(1) and newgidmap(1), or maps its own single id.
pub(crate) fn write(
    pid: i32,
    uids: &[IdMapping],
    gids: &[IdMapping],
    privileged: bool,
) -> Result<()> {
    if privileged {
        write_map(pid, "gid_map", "linux.gidMappings", gids)?;
        return write_map(pid, "uid_map", "linux.uidMappings", uids);
    }
    if let ([_], [_]) = (uids, gids) {
        deny_setgroups(pid)?;
        if write_map(pid, "gid_map", "linux.gidMappings", gids).is_ok() {
            return write_map(pid, "uid_map", "linux.uidMappings", uids);
        }
    }
    helper("newgidmap", pid, "linux.gidMappings", gids)?;
    helper("newuidmap", pid, "linux.uidMappings", uids)
}

/// Without it the kernel refuses an unprivileged gid_map.
fn deny_setgroups(pid: i32) -> Result<()> {
    std::fs::write(format!("/proc/{pid}/setgroups"), "deny")
        .map_err(|error| Error::system("cannot deny setgroups", error).at("linux.gidMappings"))
}

fn write_map(pid: i32, file: &str, path: &str, maps: &[IdMapping]) -> Result<()> {
    std::fs::write(format!("/proc/{pid}/{file}"), id_maps::text(maps))
        .map_err(|error| Error::system(format!("cannot write {file}"), error).at(path))
}

fn helper(name: &str, pid: i32, path: &str, maps: &[IdMapping]) -> Result<()> {
    let numbers = maps
        .iter()
        .flat_map(|map| [map.container, map.host, map.size])
        .map(|number| number.to_string());
    let output = Command::new(name)
        .arg(pid.to_string())
        .args(numbers)
        .output();
    let output =
        output.map_err(|error| Error::system(format!("cannot run {name}"), error).at(path))?;
    if output.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr)
        .trim()
        .replace('\n', "; ");
    Err(Error::config(path, format!("{name} refused: {words}")))
}
