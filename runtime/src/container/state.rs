//! What a container is doing: asked, never stored. runtime.md#state

use super::Container;
use super::record::{InitId, Record};
use super::store::{Entry, Store};
use crate::cgroup::Cgroup;
use crate::error::Result;
use crate::runtime::Settings;
use crate::sys::{pidfd, proc};
use nix::errno::Errno;
use std::collections::BTreeMap;
use std::fmt;
use std::os::fd::OwnedFd;

/// Where a container is in its life.
///
/// ```
/// assert_eq!(longshore::Status::Created.to_string(), "created");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Status {
    /// `create` is at work, or was killed at it.
    Creating,
    /// Set up; the program waits for `start`.
    Created,
    /// The program runs.
    Running,
    /// Frozen.
    Paused,
    /// The program has ended.
    Stopped,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Status::Creating => "creating",
            Status::Created => "created",
            Status::Running => "running",
            Status::Paused => "paused",
            Status::Stopped => "stopped",
        })
    }
}

/// A container's state at one moment. runtime.md#state
///
/// ```no_run
/// # fn main() -> longshore::Result<()> {
/// let runtime = longshore::Runtime::builder().build()?;
/// for state in runtime.list()? {
///     println!("{} {} {}", state.id(), state.pid().unwrap_or(0), state.status());
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct State {
    id: String,
    status: Status,
    pid: Option<i32>,
    oci_version: String,
    bundle: String,
    rootfs: String,
    created: String,
    annotations: BTreeMap<String, String>,
    owner: u32,
}

impl State {
    /// The id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Where the container is in its life.
    #[must_use]
    pub fn status(&self) -> Status {
        self.status
    }

    /// Init's pid in the caller's pid namespace, while it lives.
    #[must_use]
    pub fn pid(&self) -> Option<i32> {
        self.pid
    }

    /// The bundle's absolute path.
    #[must_use]
    pub fn bundle(&self) -> &str {
        &self.bundle
    }

    /// When it was created: RFC 3339.
    #[must_use]
    pub fn created(&self) -> &str {
        &self.created
    }

    /// `annotations` of config.json.
    #[must_use]
    pub fn annotations(&self) -> &BTreeMap<String, String> {
        &self.annotations
    }

    /// The user that created it: a uid of the caller's user namespace.
    #[must_use]
    pub fn owner(&self) -> u32 {
        self.owner
    }

    /// The object that engines read: runc's names in runc's order, two spaces of indent.
    #[must_use]
    pub fn to_json(&self) -> String {
        object(&self.members(), true)
    }

    /// The same on one line, with `owner` as the given user name.
    #[must_use]
    pub fn to_json_line(&self, owner: &str) -> String {
        let mut members = self.members();
        if let Some(last) = members.last_mut() {
            last.1 = serde_json::json!(owner);
        }
        object(&members, false)
    }

    fn members(&self) -> Vec<(&'static str, serde_json::Value)> {
        let mut members = vec![
            ("ociVersion", self.oci_version.clone().into()),
            ("id", self.id.clone().into()),
            ("pid", self.pid.unwrap_or(0).into()),
            ("status", self.status.to_string().into()),
            ("bundle", self.bundle.clone().into()),
            ("rootfs", self.rootfs.clone().into()),
            ("created", self.created.clone().into()),
        ];
        if !self.annotations.is_empty() {
            members.push(("annotations", serde_json::json!(self.annotations)));
        }
        members.push(("owner", "".into()));
        members
    }
}

/// serde_json would sort the names.
fn object(members: &[(&str, serde_json::Value)], pretty: bool) -> String {
    let (open, between, close) = if pretty {
        ("{\n  ", ",\n  ", "\n}")
    } else {
        ("{", ",", "}")
    };
    let lines = members.iter().map(|(name, value)| {
        let text = if pretty {
            serde_json::to_string_pretty(value)
        } else {
            serde_json::to_string(value)
        };
        let text = text.unwrap_or_default().replace('\n', "\n  ");
        if pretty {
            format!("\"{name}\": {text}")
        } else {
            format!("\"{name}\":{text}")
        }
    });
    format!("{open}{}{close}", lines.collect::<Vec<_>>().join(between))
}

/// A process that is proven to be this init, alive or a zombie nobody has reaped.
#[derive(Debug)]
pub(crate) struct Proven {
    pub(crate) handle: OwnedFd,
    /// The handle is a directory of /proc: no poll, but signals.
    pub(crate) by_directory: bool,
    pub(crate) stat: proc::ProcessStat,
}

/// The process that a record means, if it is still there. The order matters: first a handle, then
/// the check that the number meant it; a number that was reused fails the start time.
pub(crate) fn prove(init: &InitId) -> Option<Proven> {
    if init.boot_id != proc::boot_id() {
        return None;
    }
    let (handle, by_directory) = match pidfd::open(init.pid) {
        Ok(handle) => (handle, false),
        Err(Errno::ENOSYS | Errno::EPERM) => (pidfd::open_directory(init.pid).ok()?, true),
        Err(_) => return None,
    };
    let stat = proc::stat(init.pid)?;
    (stat.start_time == init.start_time).then_some(Proven {
        handle,
        by_directory,
        stat,
    })
}

pub(crate) fn status(entry: &Entry, record: &Record) -> Result<Status> {
    match alive(record)? {
        Err(status) => Ok(status),
        Ok(init) if !init.stat.never_executed => Ok(Status::Running),
        Ok(_) if entry.is_listening()? => Ok(Status::Created),
        Ok(_) => Ok(unheard(record)),
    }
}

/// When nobody listens any more: a start has come, or init has died since it was proven. Its socket goes before it does,
/// and long before where others in its pid namespace have not been reaped.
pub(crate) fn unheard(record: &Record) -> Status {
    let init = record.init.as_ref().and_then(prove);
    let gone = |stat: proc::ProcessStat| stat.zombie || stat.exiting && stat.never_executed;
    match init.is_none_or(|init| gone(init.stat)) {
        true => Status::Stopped,
        false => Status::Running,
    }
}

/// Init, if the container is created or running, which only the start socket tells apart; else
/// the status.
pub(crate) fn alive(record: &Record) -> Result<std::result::Result<Proven, Status>> {
    if !record.complete {
        return Ok(Err(Status::Creating));
    }
    let init = record.init.as_ref().and_then(prove);
    let Some(init) = init.filter(|init| !init.stat.zombie) else {
        return Ok(Err(Status::Stopped));
    };
    let frozen = Cgroup::open_freezer(&record.cgroup, &record.nonce)?.is_frozen()?;
    Ok(if frozen {
        Err(Status::Paused)
    } else {
        Ok(init)
    })
}

fn state_of(entry: &Entry, record: &Record) -> Result<State> {
    let status = status(entry, record)?;
    let alive = !matches!(status, Status::Stopped | Status::Creating);
    Ok(State {
        id: entry.id.clone(),
        status,
        pid: record.init.as_ref().filter(|_| alive).map(|init| init.pid),
        oci_version: record.oci_version.clone(),
        bundle: record.bundle.clone(),
        rootfs: record.rootfs.clone(),
        created: record.created.clone(),
        annotations: record.annotations.clone(),
        owner: entry.owner(),
    })
}

/// Every container of the root; what can't be read is left out and named.
pub(crate) fn list(settings: &Settings) -> Result<(Vec<State>, Vec<crate::Error>)> {
    let store = Store::new(&settings.state_root);
    let (mut states, mut broken) = (Vec::new(), Vec::new());
    for id in store.ids()? {
        let state = store
            .open(&id)
            .and_then(|entry| state_of(&entry, &entry.record()?));
        match state {
            Ok(state) => states.push(state),
            // Deleted since the directory was read.
            Err(error) if error.kind() == crate::ErrorKind::NotFound => {}
            Err(error) => broken.push(error),
        }
    }
    Ok((states, broken))
}

impl Container {
    /// What the container is doing now. Takes no lock and never waits.
    ///
    /// # Errors
    /// The container is gone, or its record can't be read.
    pub fn state(&self) -> Result<State> {
        let entry = self.entry()?;
        let record = entry.record()?;
        state_of(&entry, &record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_keeps_runcs_order() {
        let state = State {
            id: "a".into(),
            status: Status::Created,
            pid: Some(5),
            oci_version: "1.2.0".into(),
            bundle: "/b".into(),
            rootfs: "/b/r".into(),
            created: "2026-11-21T00:00:00Z".into(),
            annotations: BTreeMap::from([("k".to_owned(), "v".to_owned())]),
            owner: 0,
        };
        let expect = "{\n  \"ociVersion\": \"1.2.0\",\n  \"id\": \"a\",\n  \"pid\": 5,\n  \"status\": \"created\",\n  \"bundle\": \"/b\",\n  \"rootfs\": \"/b/r\",\n  \"created\": \"2026-11-21T00:00:00Z\",\n  \"annotations\": {\n    \"k\": \"v\"\n  },\n  \"owner\": \"\"\n}";
        assert_eq!(state.to_json(), expect);
        assert!(state.to_json_line("root").ends_with(",\"owner\":\"root\"}"));
    }
}
