//! What of a container is not its own: mounts of the host's files, namespaces that it joined. CRIU leaves them out
//! of its images, and is told at a restore what takes their place. Pure.
#![forbid(unsafe_code)]

use super::rpc::{ExternalMount, JoinedNamespace};
use crate::cgroup::Directories;
use crate::config::{Config, Mount, MountKind, NamespaceKind};
use std::collections::BTreeMap;

/// `org.criu.config`: a configuration file of CRIU's for this container; empty for none.
const CONFIG_ANNOTATION: &str = "org.criu.config";

/// Read if there is no annotation.
const CONFIG_FILES: [&str; 2] = ["/etc/criu/longshore.conf", "/etc/criu/runc.conf"];

/// CRIU's configuration file for a container, of those that `exist`.
pub(crate) fn configuration_file(
    annotations: &BTreeMap<String, String>,
    exists: impl Fn(&str) -> bool,
) -> Option<String> {
    if let Some(path) = annotations.get(CONFIG_ANNOTATION) {
        return Some(path.clone()).filter(|path| !path.is_empty());
    }
    let found = CONFIG_FILES.into_iter().find(|path| exists(path));
    found.map(str::to_owned)
}

/// A line of a process's mountinfo. proc_pid_mountinfo(5)
struct Line<'a> {
    /// Within its filesystem.
    root: &'a str,
    point: &'a str,
    fstype: &'a str,
}

fn lines(mountinfo: &str) -> impl Iterator<Item = Line<'_>> {
    mountinfo.lines().filter_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let mut words = before.split(' ').skip(3);
        Some(Line {
            root: words.next()?,
            point: words.next()?,
            fstype: after.split(' ').next()?,
        })
    })
}

fn binds(config: &Config) -> impl Iterator<Item = &Mount> {
    let bind = |mount: &&Mount| matches!(mount.kind, MountKind::Bind { .. });
    config.mounts.iter().filter(bind)
}

/// config.md#mounts: a relative source is relative to the bundle.
pub(super) fn source(mount: &Mount, bundle: &str) -> String {
    match mount.source.as_deref().unwrap_or_default() {
        source if source.starts_with('/') => source.to_owned(),
        source => format!("{bundle}/{source}"),
    }
}

/// Where a destination is in the container, as mountinfo has it.
pub(super) fn point(destination: &str) -> String {
    format!("/{}", destination.trim_matches('/'))
}

/// The mounts that a dump leaves out: the configuration's binds, single devices of the host (masks, and device files
/// where none can be made), and cgroup v1's. By what is mounted, since a mask may be of a directory.
pub(crate) fn dumped(config: &Config, mountinfo: &str) -> Vec<ExternalMount> {
    let bound: Vec<_> = binds(config)
        .map(|mount| point(&mount.destination))
        .collect();
    let outside = |line: &Line<'_>| {
        let device = line.fstype == "devtmpfs" && line.root != "/";
        line.point != "/"
            && (device || line.fstype == "cgroup" || bound.iter().any(|at| at == line.point))
    };
    let external = |line: Line<'_>| ExternalMount {
        key: line.point.to_owned(),
        value: line.point.to_owned(),
    };
    lines(mountinfo).filter(outside).map(external).collect()
}

/// What takes their place. More than a dump may have left out, which CRIU doesn't mind.
pub(crate) fn restored(config: &Config, bundle: &str, cgroups: &Directories) -> Vec<ExternalMount> {
    let bind = |mount: &Mount| (point(&mount.destination), source(mount, bundle));
    let mask = |path: &String| (point(path), "/dev/null".to_owned());
    let device = |path: &str| (point(path), path.to_owned());
    let default_devices = ["null", "zero", "full", "random", "urandom", "tty"];
    let cgroup_mounts = config
        .mounts
        .iter()
        .filter(|mount| mount.kind == MountKind::Cgroup);
    let hierarchies = cgroup_mounts.flat_map(|mount| {
        let named = cgroups.0.iter().filter(|place| !place.is_v2());
        named.map(|place| {
            let name = place.mount.rsplit('/').next().unwrap_or_default();
            (
                point(&format!("{}/{name}", mount.destination)),
                place.display(),
            )
        })
    });
    let all = binds(config)
        .map(bind)
        .chain(config.masked_paths.iter().map(mask))
        .chain(default_devices.map(|name| device(&format!("/dev/{name}"))))
        .chain(config.devices.iter().map(|node| device(&node.path)))
        .chain(hierarchies);
    // The first counts: what the configuration binds is there for a reason.
    let mut seen = Vec::new();
    for (key, value) in all {
        if !seen.iter().any(|known: &ExternalMount| known.key == key) {
            seen.push(ExternalMount { key, value });
        }
    }
    seen
}

/// Namespaces that a configuration joins by path, by how CRIU treats them.
#[derive(Debug, Default)]
pub(crate) struct Namespaces {
    /// By a descriptor: (CRIU's name for it in the image, path).
    pub(crate) inherited: Vec<(&'static str, &'static str, String)>,
    /// By their path.
    pub(crate) joined: Vec<JoinedNamespace>,
}

/// CRIU can dump a process of a foreign network or pid namespace; of others it makes new ones, or is told a path.
pub(crate) fn namespaces(config: &Config) -> Namespaces {
    let mut found = Namespaces::default();
    for namespace in &config.namespaces {
        let Some(path) = namespace.path.clone() else {
            continue;
        };
        match namespace.kind {
            NamespaceKind::Network => found.inherited.push(("net", "extRootNetNS", path)),
            NamespaceKind::Pid => found.inherited.push(("pid", "extRootPidNS", path)),
            kind => found.joined.push(JoinedNamespace {
                kind: kind.file().to_owned(),
                file: path,
            }),
        }
    }
    found
}
