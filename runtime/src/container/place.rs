//! Where a new container's cgroup will be, and the making of it: directories of ours, or a unit of systemd's.

use super::create::Prepared;
use super::record::Record;
use crate::cgroup::{self, Cgroup, Directories, Layout};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::plan::{Action, Plan};
use crate::runtime::{CgroupDriver, Settings};
use crate::systemd::{Manager, Property, Started, Unit};

const PATH: &str = "linux.cgroupsPath";

/// Where it will be.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) layout: Layout,
    pub(super) directories: Directories,
    pub(super) unit: Option<Unit>,
    /// Why it has none, or not everywhere, and does without.
    pub(super) without: Option<String>,
}

impl Place {
    pub(super) fn find(settings: &Settings, config: &Config, id: &str) -> Result<Place> {
        let layout = match settings.cgroups {
            CgroupDriver::None => Layout::Absent,
            CgroupDriver::Auto | CgroupDriver::Fs | CgroupDriver::Systemd => Layout::probe()?,
        };
        let path = config.cgroups_path.as_deref();
        if let Some(manager) = &settings.manager {
            return by_systemd(manager, layout, path, id);
        }
        if layout == Layout::Absent && settings.cgroups != CgroupDriver::None {
            return Ok(Place::nowhere("no cgroups are mounted here"));
        }
        let rootless = || settings.rootless.unwrap_or_else(crate::host::rootless);
        let (layout, left_out) = match path {
            None if rootless() => layout.of_this_user(),
            _ => (layout, Vec::new()),
        };
        let directories = match layout {
            Layout::Absent => Directories(Vec::new()),
            _ => cgroup::directories(&layout, path, id)?,
        };
        let without = (!left_out.is_empty())
            .then(|| format!("this user can't make one in {}", left_out.join(", ")));
        Ok(Place {
            layout,
            directories,
            unit: None,
            without,
        })
    }

    fn nowhere(why: &str) -> Place {
        Place {
            layout: Layout::Absent,
            directories: Directories(Vec::new()),
            unit: None,
            without: Some(why.to_owned()),
        }
    }
}

fn by_systemd(manager: &Manager, layout: Layout, path: Option<&str>, id: &str) -> Result<Place> {
    let unit = Unit::new(path, id, manager.user)?;
    let Layout::V2(v2) = &layout else {
        let message = "the systemd driver needs a host with cgroup v2 on /sys/fs/cgroup";
        return Err(Error::unsupported(PATH, message));
    };
    if manager.bus.is_none() {
        let message = "no systemd: neither DBUS_SESSION_BUS_ADDRESS nor XDG_RUNTIME_DIR is set";
        return Err(Error::unsupported(PATH, message));
    }
    let directory = unit.directory(v2, &manager.cgroup());
    Ok(Place {
        layout,
        directories: Directories(vec![directory]),
        unit: Some(unit),
        without: None,
    })
}

/// What the record keeps of a unit.
pub(super) fn started(settings: &Settings, unit: Option<&Unit>) -> Option<Started> {
    let (manager, unit) = (settings.manager.as_ref()?, unit?);
    Some(Started {
        unit: unit.name.clone(),
        bus: manager.bus.clone()?,
    })
}

/// Makes it. A unit takes `init`, which is in it then.
pub(super) fn make(
    id: &str,
    prepared: &Prepared,
    record: &Record,
    init: Option<i32>,
) -> Result<Cgroup> {
    let layout = &prepared.layout;
    let (Some(started), Some((unit, properties))) = (&record.systemd, unit_of(&prepared.plan))
    else {
        return Cgroup::create(layout, &record.cgroup, &record.nonce);
    };
    // A slice's is where its name says, and init joins it itself.
    let init = init.filter(|_| !unit.is_slice());
    let place = record.cgroup.0.first().cloned();
    let place =
        place.ok_or_else(|| Error::system("cannot find the unit's cgroup", libc::ENOENT))?;
    started
        .start(id, &record.nonce, init, properties)
        .map_err(|error| error.at(PATH))?;
    Cgroup::adopt(layout, place, &record.nonce, init).inspect_err(|_| {
        let _ = started.stop(&record.nonce); // the failure to use it is told
    })
}

fn unit_of(plan: &Plan) -> Option<(&Unit, &[Property])> {
    plan.steps.iter().find_map(|step| match &step.action {
        Action::StartUnit { unit, properties } => Some((unit, &properties[..])),
        _ => None,
    })
}
