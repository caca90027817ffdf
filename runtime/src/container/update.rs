//! `update`: other limits for a container that is there. All of them, or none: what was written is put back
//! when the kernel refuses one.

use super::kill::not_running;
use super::record::Record;
use super::state;
use super::store::{Entry, LOCK_DEADLINE};
use super::{Container, Status, first};
use crate::cgroup::{Cgroup, Write, difference};
use crate::config::resources::Resources;
use crate::config::{rdt, strict, update};
use crate::error::{Error, ErrorKind, Result};
use crate::systemd;
use oci_spec::runtime::LinuxResources;
use serde_json::{Value, json};
use std::time::Instant;

/// Other limits for a container. Made by [`Container::update`].
///
/// What is left out stays as it is; of memory values, `cpu.shares`, `cpu.quota` and `cpu.period` a zero is left out
/// too. Device rules are never touched.
///
/// ```no_run
/// # fn main() -> longshore::Result<()> {
/// # let runtime = longshore::Runtime::builder().build()?;
/// use longshore::oci_spec::runtime::{LinuxPidsBuilder, LinuxResourcesBuilder};
/// let pids = LinuxPidsBuilder::default().limit(200).build().unwrap();
/// let limits = LinuxResourcesBuilder::default().pids(pids).build().unwrap();
/// runtime.open("web1")?.update().resources(&limits)?.apply()?;
/// # Ok(()) }
/// ```
#[derive(Debug)]
#[must_use]
pub struct Update<'c> {
    container: &'c Container,
    resources: Value,
    cache: Option<String>,
    bandwidth: Option<String>,
}

impl Container {
    /// Describes other limits for this container.
    pub fn update(&self) -> Update<'_> {
        Update {
            container: self,
            resources: json!({}),
            cache: None,
            bandwidth: None,
        }
    }
}

impl Update<'_> {
    /// `linux.resources`. config-linux.md#control-groups
    ///
    /// # Errors
    /// They can't be written as JSON.
    pub fn resources(mut self, resources: &LinuxResources) -> Result<Self> {
        self.resources = serde_json::to_value(resources)
            .map_err(|error| Error::config("linux.resources", error.to_string()))?;
        Ok(self)
    }

    /// The same as JSON.
    ///
    /// # Errors
    /// It isn't a JSON object, or has a name twice.
    pub fn resources_json(mut self, json: &[u8]) -> Result<Self> {
        self.resources = strict(json, "linux.resources")?;
        Ok(self)
    }

    /// The share of the L3 cache, for the resctrl group that was made for the container: `L3:0=f;1=f`.
    pub fn l3_cache_schema(mut self, schema: impl Into<String>) -> Self {
        self.cache = Some(schema.into());
        self
    }

    /// The same of memory bandwidth: `MB:0=20;1=70`.
    pub fn mem_bw_schema(mut self, schema: impl Into<String>) -> Self {
        self.bandwidth = Some(schema.into());
        self
    }

    /// Puts the limits in force; what there is to warn of.
    ///
    /// # Errors
    /// Names the property that can't be had; nothing has changed then. `InvalidState` if the container isn't created,
    /// running or paused.
    pub fn apply(self) -> Result<Vec<String>> {
        let entry = self.container.entry()?;
        let _lock = entry.lock(Instant::now() + LOCK_DEADLINE)?;
        let record = self.container.record(&entry)?;
        match state::status(&entry, &record)? {
            Status::Created | Status::Running | Status::Paused => {}
            Status::Creating | Status::Stopped => return Err(not_running()),
        }
        let cgroup = Cgroup::open(&record.cgroup, &record.nonce)?;
        let mut change = self.change(&entry.read_updated()?, &cgroup)?;
        if record.systemd.is_some() {
            systemd::agree(&mut change.writes);
        }
        change.put_in_force(&entry, &record, &cgroup)?;
        Ok(change.warnings)
    }

    /// What is to be written where, of what was kept for the container and what its cgroup says.
    fn change(&self, kept: &Value, cgroup: &Cgroup) -> Result<Change> {
        let problem = |problems| first(problems, "linux.resources");
        let asked = update::asked(&self.resources);
        // First alone: its own mistakes at its own places.
        let (_, warnings) = Resources::read(asked.clone()).map_err(problem)?;
        let mut resources = update::merged(&kept["resources"], &asked);
        keep_other_half(&mut resources, &asked, cgroup);
        let (before, _) = Resources::read(kept["resources"].clone()).map_err(problem)?;
        let (after, _) = Resources::read(resources.clone()).map_err(problem)?;
        let speaks_of = |path: &str| update::speaks_of(&asked, path);
        let writes = match asked.as_object().is_none_or(|members| members.is_empty()) {
            true => Vec::new(),
            false => difference(&before, &after, speaks_of, &cgroup.facts()).map_err(problem)?,
        };
        let mut linux = json!({ "resources": resources, "intelRdt": kept["intelRdt"] });
        for write in &writes {
            // Files that were given by name, and are given by their property now.
            let by_name = write.config_path.starts_with("linux.resources.unified");
            if let (false, Some(Value::Object(files))) =
                (by_name, linux.pointer_mut("/resources/unified"))
            {
                files.remove(&write.file);
            }
        }
        self.bandwidth
            .as_deref()
            .map_or(Ok(()), rdt::check_bandwidth)?;
        let mut schemata = Vec::new();
        let given = [
            ("l3CacheSchema", &self.cache),
            ("memBwSchema", &self.bandwidth),
        ];
        for (name, schema) in given {
            if let Some(schema) = schema {
                schemata.push(schema.as_str());
                linux["intelRdt"][name] = schema.clone().into();
            }
        }
        Ok(Change {
            writes,
            schemata: schemata.join("\n"),
            linux,
            warnings,
        })
    }
}

/// An update, ready.
struct Change {
    writes: Vec<Write>,
    /// Lines of the container's resctrl group.
    schemata: String,
    /// What is kept for the next one.
    linux: Value,
    warnings: Vec<String>,
}

impl Change {
    fn put_in_force(&self, entry: &Entry, record: &Record, cgroup: &Cgroup) -> Result<()> {
        if record.cgroup.0.is_empty() && !self.writes.is_empty() {
            let message = "the container has no cgroup of its own: nothing holds its limits";
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        let before = cgroup.note(&self.writes);
        let class = match (&record.resctrl, self.schemata.is_empty()) {
            (_, true) => None,
            (Some(place), false) => Some((place, place.own_schemata()?)),
            (None, false) => {
                let message = "the container has no resctrl group of its own";
                return Err(Error::unsupported("linux.intelRdt", message));
            }
        };
        let classes = || class.iter();
        cgroup
            .apply(&self.writes)
            .and_then(|()| classes().try_for_each(|(place, _)| place.rewrite(&self.schemata)))
            // Last: what the kernel has taken systemd takes too, and there is nothing to take back of it.
            .and_then(|()| self.tell_systemd(record))
            .and_then(|()| entry.write_updated(&self.linux))
            .map_err(|error| {
                let back = cgroup.restore(&before);
                let also = classes().try_for_each(|(place, lines)| place.rewrite(lines));
                let tell = |error: Error, more: Error| error.and(&more);
                let error = back.err().into_iter().fold(error, tell);
                also.err().into_iter().fold(error, tell)
            })
    }

    /// The container's unit holds its limits as well.
    fn tell_systemd(&self, record: &Record) -> Result<()> {
        match &record.systemd {
            Some(unit) if !self.writes.is_empty() => unit
                .set_limits(&self.writes)
                .map_err(|error| error.at("linux.resources")),
            _ => Ok(()),
        }
    }
}

/// cgroup2 has quota and period in one file: who changes one keeps the other, whoever has set it.
fn keep_other_half(resources: &mut Value, asked: &Value, cgroup: &Cgroup) {
    let says = |name: &str| asked.pointer(&format!("/cpu/{name}")).is_some();
    if says("quota") == says("period") {
        return;
    }
    let Some((quota, period)) = cgroup.cpu_max() else {
        return;
    };
    if says("quota") {
        resources["cpu"]["period"] = period.into();
    } else {
        resources["cpu"]["quota"] = quota.into();
    }
}
