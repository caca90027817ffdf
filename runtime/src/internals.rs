//! Doors for this project's fuzz targets and micro-benchmarks. No part of the interface.

use crate::cgroup::{self, Directories, Directory};
use crate::config::Config;
use crate::launch::{self, Link};
use crate::plan::{self, Facts, MapWriter, Plan, Request};
use std::os::fd::AsFd;

mod oracles;

pub use oracles::{
    bus, config_to_plan, cpusets, frames, id_maps, mount_options, mountinfo, netlink, passwd,
    property_value, state_record, sysctl,
};

fn facts() -> Facts {
    let controllers = ["memory", "cpu", "cpuset", "pids", "devices", "freezer"]
        .map(str::to_owned)
        .to_vec();
    Facts {
        privileged: false,
        device_nodes: false,
        map_writer: MapWriter::Ourselves,
        mount_api: false,
        mount_setattr: false,
        clone3: true,
        bounding: u64::MAX,
        cgroup: cgroup::Facts {
            version: cgroup::Version::V2,
            controllers,
        },
        cgroup_directories: Directories(vec![Directory {
            controllers: String::new(),
            mount: "/sys/fs/cgroup".into(),
            path: "fuzz".into(),
            existing: false,
        }]),
        unit: None,
        owned_by_user: Vec::new(),
        callers_own: Vec::new(),
        apparmor: true,
        selinux: true,
        resctrl: Some("/sys/fs/resctrl".to_owned()),
    }
}

fn request() -> Request {
    Request {
        id: "fuzz".into(),
        bundle: "/bundle".into(),
        no_pivot: false,
        new_keyring: true,
        console: true,
        extra_fds: 0,
        listen: None,
        notify: None,
        program_fd: false,
        exec: false,
    }
}

fn compile(json: &[u8]) -> Option<(Config, Plan)> {
    let config = Config::parse(json).ok()?;
    let plan = plan::compile(&config, &request(), &facts()).ok()?;
    Some((config, plan))
}

/// config.json → `Config`; whether it is one.
#[must_use]
pub fn parse(json: &[u8]) -> bool {
    Config::parse(json).is_ok()
}

/// config.json → plan → text.
#[must_use]
pub fn plan_text(json: &[u8]) -> Option<String> {
    compile(json).map(|(_, plan)| format!("{plan}{}", plan.to_json()))
}

/// config.json → plan → linked program, without anything of a host but a state root to keep filters in.
///
/// # Errors
/// As linking has them.
pub fn link(json: &[u8], state_root: &std::path::Path) -> crate::Result<bool> {
    let Some((config, plan)) = compile(json) else {
        return Ok(false);
    };
    let null = std::fs::File::open("/dev/null")
        .map_err(|error| crate::Error::system("cannot open /dev/null", error))?;
    let (_, control) = crate::sys::socket::pair()
        .map_err(|errno| crate::Error::system("cannot make a socket pair", errno))?;
    let facts = facts();
    let link = Link {
        config: &config,
        plan: &plan,
        facts: &facts,
        rootfs: "/bundle/rootfs",
        state_root,
        stdio: [null.as_fd(), null.as_fd(), null.as_fd()],
        extra: &[],
        console: Some(null.as_fd()),
        program: None,
        control,
        hook_state: &|_| (String::new(), String::new()),
        stop_at_steps: false,
        timed: false,
    };
    launch::link(link).map(|_| true)
}
