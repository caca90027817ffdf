//! What killed creates have left, and cgroups whose containers are no more. Looked for, and then removed one by one:
//! what is there is looked at again before it goes.

use super::delete;
use super::store::{Entry, Lock, Store, Stored};
use crate::cgroup::{Cgroup, Layout};
use crate::error::{Error, ErrorKind, Result};
use crate::runtime::Runtime;
use std::collections::BTreeSet;
use std::fmt;
use std::time::{Duration, Instant, SystemTime};

/// So long a cgroup or a state directory may be empty because its container is being made, by whatever runtime.
const FRESH: Duration = Duration::from_secs(60);

/// Something that nobody will come back for.
///
/// ```no_run
/// # fn main() -> longshore::Result<()> {
/// let runtime = longshore::Runtime::builder().build()?;
/// for garbage in runtime.garbage()? {
///     println!("{garbage}");
///     runtime.remove_garbage(&garbage)?;
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Garbage(Kind);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    /// Of this state root, with this id.
    Unfinished(String),
    /// Empty directories with this nonce, which is no container's of this state root.
    Cgroup { nonce: String, places: Vec<String> },
}

impl fmt::Display for Garbage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Unfinished(id) => write!(f, "container {id}: its create was killed"),
            Kind::Cgroup { places, .. } => {
                write!(
                    f,
                    "cgroup {}: empty, its container is gone",
                    places.join(", ")
                )
            }
        }
    }
}

impl Runtime {
    /// Containers of this state root whose create was killed, and empty cgroups that were made for containers which
    /// this state root doesn't have (any more). Nothing else: what a stopped container has is its engine's to delete.
    ///
    /// # Errors
    /// The state root or the cgroups can't be read.
    pub fn garbage(&self) -> Result<Vec<Garbage>> {
        let store = Store::new(self.state_root());
        let mut found = Vec::new();
        for id in store.ids()? {
            if is_unfinished(&store, &id)? {
                found.push(Garbage(Kind::Unfinished(id)));
            }
        }
        let layout = Layout::probe()?;
        let known = nonces(&store)?;
        for nonce in Cgroup::nonces(&layout)?.difference(&known) {
            let cgroup = Cgroup::find(&layout, nonce)?;
            if is_forgotten(&cgroup)? {
                let places = cgroup.directories().0;
                found.push(Garbage(Kind::Cgroup {
                    nonce: nonce.clone(),
                    places: places.iter().map(|place| place.display()).collect(),
                }));
            }
        }
        Ok(found)
    }

    /// Removes it, unless it has become something else: false then.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn remove_garbage(&self, garbage: &Garbage) -> Result<bool> {
        let store = Store::new(self.state_root());
        match &garbage.0 {
            Kind::Unfinished(id) => {
                let Some((entry, _lock)) = unfinished(&store, id)? else {
                    return Ok(false);
                };
                let settings = self.settings();
                let trail = settings.trail("delete", id);
                let removed = delete::remove(settings, &entry, None, &trail);
                trail.end(removed).map(|_| true)
            }
            Kind::Cgroup { nonce, .. } => {
                let cgroup = Cgroup::find(&Layout::probe()?, nonce)?;
                let forgotten = !nonces(&store)?.contains(nonce) && is_forgotten(&cgroup)?;
                Ok(forgotten && cgroup.remove_if_empty())
            }
        }
    }
}

fn is_unfinished(store: &Store, id: &str) -> Result<bool> {
    Ok(unfinished(store, id)?.is_some())
}

/// The container's directory, locked, if nobody is at work on it any more.
fn unfinished(store: &Store, id: &str) -> Result<Option<(Entry, Lock)>> {
    let none = |error: Error| match error.kind() {
        ErrorKind::NotFound | ErrorKind::Timeout => Ok(None),
        _ => Err(error),
    };
    let entry = match store.open(id) {
        Ok(entry) if is_begun(&entry) => entry,
        Ok(_) => return Ok(None),
        Err(error) => return none(error),
    };
    match entry.lock(Instant::now()) {
        // Meanwhile its creator may have come to an end.
        Ok(lock) => Ok(is_begun(&entry).then_some((entry, lock))),
        Err(error) => none(error),
    }
}

/// Its create has not ended, whether or not somebody is at it. Where nothing is written yet, somebody may be about to
/// lock it. What has a damaged record is for `delete --force`: it may have been a container.
fn is_begun(entry: &Entry) -> bool {
    match entry.read() {
        Stored::Whole(record) => !record.complete,
        Stored::Damaged => {
            let changed = entry.path().metadata().and_then(|found| found.modified());
            let empty = entry.read_nonce().is_none() && entry.read_init().is_none();
            empty && is_old(changed.ok())
        }
    }
}

fn is_old(changed: Option<SystemTime>) -> bool {
    let age = changed.map(|at| SystemTime::now().duration_since(at));
    matches!(age, Some(Ok(age)) if age > FRESH)
}

fn nonces(store: &Store) -> Result<BTreeSet<String>> {
    let ids = store.ids()?;
    let nonce = |id: &String| store.open(id).ok()?.read_nonce();
    Ok(ids.iter().filter_map(nonce).collect())
}

/// Nothing is in it, and nobody is making it.
fn is_forgotten(cgroup: &Cgroup) -> Result<bool> {
    Ok(is_old(cgroup.changed()) && cgroup.processes()?.is_empty())
}
