//! The runtime under engines: what their users do, and what they see.
//!
//! All engines of a run share a network namespace with lo up and a `/run` that nobody else sees. Each has
//! its own state and cgroup, is started when the first row asks for it, and ends with the run.

mod containerd;
mod cri;
mod ctr;
mod docker;
mod docker_long;
mod docker_run;
mod docker_tour;
mod dockerd;
mod podman;
mod podman_rows;
mod row;

use std::fmt::Debug;
use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use crate::cgroups;
use crate::suite::{Case, Check, Stop, Suite, cases};

/// All rows.
pub(crate) fn all() -> Vec<&'static dyn Case> {
    cases(&[
        docker_long::LONG,
        docker::PLAIN,
        docker_run::OPTIONS,
        docker_run::VOLUMES,
        docker_tour::TOUR,
        docker_tour::NETWORKS,
        docker_tour::BUILDS,
        docker_long::PROGRAMS,
        docker::REMAPPED,
        ctr::ROWS,
        cri::ROWS,
        podman_rows::ROOTFUL,
        podman_rows::ROOTLESS,
    ])
}

/// The engine of a row.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Which {
    /// dockerd.
    Docker,
    /// dockerd with `userns-remap`.
    Remapped,
    /// The first one, with the image `programs`.
    Programs,
    /// containerd.
    Containerd,
    /// containerd that is killed now and then.
    Mortal,
    /// podman.
    Podman,
    /// podman of an ordinary user.
    Podless,
}

/// How each is started, in the order of [`Which`].
const STARTS: [fn(&Suite) -> Started; 7] = [
    dockerd::plain,
    dockerd::remapped,
    dockerd::programs,
    containerd::lasting,
    containerd::mortal,
    podman::rootful,
    podman::rootless,
];

/// An engine that is up; it ends, with all its containers, when it is dropped.
pub(crate) trait Engine: Debug + Send {
    /// What a shell script needs to reach it.
    fn prelude(&self) -> String;
}

/// An engine, or why there is none.
type Started = Result<Box<dyn Engine>, String>;

/// The engines of a run.
#[derive(Debug, Default)]
pub(crate) struct Engines {
    slots: [Mutex<Option<Started>>; STARTS.len()],
}

impl Engines {
    /// What all of them share, before there are threads.
    pub(crate) fn prepare() -> io::Result<()> {
        const NONE: Option<&str> = None;
        unshare(CloneFlags::CLONE_NEWNET)?;
        mount(Some("tmpfs"), "/run", Some("tmpfs"), MsFlags::empty(), NONE)?;
        fs::create_dir("/run/lock")?;
        // Whom an ordinary user may be.
        for name in ["subuid", "subgid"] {
            let (own, hosts) = (format!("/run/{name}"), format!("/etc/{name}"));
            fs::write(&own, "nobody:300000:65536\n")?;
            mount(
                Some(own.as_str()),
                hosts.as_str(),
                NONE,
                MsFlags::MS_BIND,
                NONE,
            )?;
        }
        // podman 4.3 makes a plain directory for each controller that it misses in the tmpfs of the hierarchies:
        // on hosts with systemd that is read-only.
        if !cgroups::unified() {
            let flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY;
            mount(NONE, "/sys/fs/cgroup", NONE, flags, NONE)?;
        }
        // Which addresses are given away.
        if Path::new("/var/lib/cni").exists() {
            mount(
                Some("tmpfs"),
                "/var/lib/cni",
                Some("tmpfs"),
                MsFlags::empty(),
                NONE,
            )?;
        }
        let up = Command::new("ip")
            .args(["link", "set", "lo", "up"])
            .status()?;
        up.success()
            .then_some(())
            .ok_or_else(|| io::Error::other("ip link set lo up failed"))
    }

    /// What a script begins with to reach the engine.
    pub(crate) fn prelude(&self, suite: &Suite, which: Which) -> Check<String> {
        let slot = &self.slots[which as usize];
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        match slot.get_or_insert_with(|| STARTS[which as usize](suite)) {
            Ok(engine) => Ok(engine.prelude()),
            Err(error) => Err(Stop::Fail(error.clone())),
        }
    }

    /// Ends them all.
    pub(crate) fn stop(&self) {
        for slot in &self.slots {
            drop(slot.lock().unwrap_or_else(PoisonError::into_inner).take());
        }
    }
}
