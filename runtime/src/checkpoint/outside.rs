//! What of a container is not its own: mounts of the host's files, namespaces that it joined. CRIU leaves them out
//! of its images, and is told at a restore what takes their place. Pure.
#![forbid(unsafe_code)]

use super::rpc::{ExternalMount, JoinedNamespace};
use crate::cgroup::{self, Directories};
use crate::config::{Config, Mount, MountKind, NamespaceKind};
use crate::plan::DEFAULT_DEVICES;
use std::collections::BTreeMap;

/// `org.criu.config`: a configuration file of CRIU's for this container; empty for none.
pub(crate) const ANNOTATION: &str = "org.criu.config";

/// Read if there is no annotation.
const CONFIG_FILES: [&str; 2] = ["/etc/criu/longshore.conf", "/etc/criu/runc.conf"];

/// CRIU's configuration file for a container, of those that `exist`.
pub(crate) fn configuration_file(
    annotations: &BTreeMap<String, String>,
    exists: impl Fn(&str) -> bool,
) -> Option<String> {
    if let Some(path) = annotations.get(ANNOTATION) {
        return Some(path.clone()).filter(|path| !path.is_empty());
    }
    let found = CONFIG_FILES.into_iter().find(|path| exists(path));
    found.map(str::to_owned)
}

fn binds(config: &Config) -> impl Iterator<Item = &Mount> {
    let bind = |mount: &&Mount| matches!(mount.kind, MountKind::Bind { .. });
    config.mounts.iter().filter(bind)
}

/// Where a destination is in the container, as mountinfo has it.
pub(super) fn point(destination: &str) -> String {
    format!("/{}", destination.trim_matches('/'))
}

/// The mounts that a dump leaves out: the configuration's binds, single devices of the host (masks, and device files
/// where none can be made), and cgroup v1's. By what is mounted, since a mask may be of a directory.
pub(crate) fn dumped(config: &Config, mountinfo: &[u8]) -> Vec<ExternalMount> {
    let bound: Vec<_> = binds(config)
        .map(|mount| point(&mount.destination))
        .collect();
    let outside = |mount: &cgroup::HostMount| {
        let device = mount.kind == "devtmpfs" && mount.root != "/";
        let named = device || mount.kind == "cgroup" || bound.contains(&mount.point);
        named && mount.point != "/"
    };
    let external = |mount: cgroup::HostMount| ExternalMount {
        value: mount.point.clone(),
        key: mount.point,
    };
    let mounts = cgroup::parse_mounts(mountinfo).into_iter();
    mounts.filter(outside).map(external).collect()
}

/// What takes their place. More than a dump may have left out, which CRIU doesn't mind.
pub(crate) fn restored(config: &Config, bundle: &str, cgroups: &Directories) -> Vec<ExternalMount> {
    let bind = |mount: &Mount| (point(&mount.destination), mount.source_on_host(bundle));
    let mask = |path: &String| (point(path), "/dev/null".to_owned());
    let device = |path: &str| (point(path), path.to_owned());
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
        .chain(DEFAULT_DEVICES.map(|(name, _, _)| device(&format!("/dev/{name}"))))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::Directory;

    const CONFIG: &str = r#"{"ociVersion":"1.2.0","root":{"path":"r"},"process":{"cwd":"/","args":["a"],"user":{"uid":0,"gid":0}},
        "mounts":[{"destination":"/mnt/a b","type":"bind","source":"src","options":["rbind"]},
            {"destination":"/dev/zero","type":"bind","source":"/z","options":["bind"]},
            {"destination":"/cg/","type":"cgroup","source":"cgroup"}],
        "linux":{"namespaces":[{"type":"mount"},{"type":"network","path":"/n"},{"type":"ipc","path":"/i"}],"maskedPaths":["/proc/kcore","/proc/acpi"]}}"#;

    fn config() -> Config {
        Config::parse(CONFIG.as_bytes()).unwrap()
    }

    /// The root, a bind with a blank in its name, a masked file and a masked directory, a hierarchy, a /dev.
    const MOUNTS: &[u8] = b"1 0 8:0 /r / rw - ext4 /dev/a rw\n\
        2 1 8:0 /src /mnt/a\\040b rw - ext4 /dev/a rw\n\
        3 1 0:5 /null /proc/kcore rw - devtmpfs dev rw\n\
        4 1 0:6 / /proc/acpi ro - tmpfs tmpfs rw\n\
        5 1 0:7 /x /cg/pids rw - cgroup cgroup rw,pids\n\
        6 1 0:5 / /dev rw - devtmpfs dev rw\n\
        7 1 0:8 / /usb/\xff rw - vfat usb rw\n";

    #[test]
    fn what_a_dump_leaves_out() {
        let found = dumped(&config(), MOUNTS);
        let keys: Vec<_> = found.iter().map(|mount| mount.key.as_str()).collect();
        assert_eq!(keys, ["/mnt/a b", "/proc/kcore", "/cg/pids"]);
    }

    #[test]
    fn what_takes_its_place() {
        let place = Directory {
            controllers: "pids".into(),
            mount: "/sys/fs/cgroup/pids".into(),
            path: "new".into(),
            existing: false,
        };
        let found = restored(&config(), "/b", &Directories(vec![place]));
        let value = |key: &str| {
            let mut all = found.iter().filter(|mount| mount.key == key);
            let value = all.next().map(|mount| mount.value.as_str());
            assert!(all.next().is_none(), "{key} twice");
            value
        };
        assert_eq!(value("/mnt/a b"), Some("/b/src"));
        assert_eq!(value("/dev/zero"), Some("/z"));
        assert_eq!(value("/dev/null"), Some("/dev/null"));
        assert_eq!(value("/proc/kcore"), Some("/dev/null"));
        assert_eq!(value("/cg/pids"), Some("/sys/fs/cgroup/pids/new"));
        assert_eq!(value("/cg"), None);
    }

    #[test]
    fn namespaces_by_path() {
        let found = namespaces(&config());
        assert_eq!(found.inherited, [("net", "extRootNetNS", "/n".to_owned())]);
        assert_eq!(found.joined.len(), 1);
        assert_eq!(
            (found.joined[0].kind.as_str(), found.joined[0].file.as_str()),
            ("ipc", "/i")
        );
    }

    #[test]
    fn which_configuration_file() {
        let of = |value: Option<&str>, exists: &str| {
            let annotation = value.map(|value| (ANNOTATION.to_owned(), value.to_owned()));
            configuration_file(&annotation.into_iter().collect(), |path| path == exists)
        };
        assert_eq!(of(None, ""), None);
        assert_eq!(of(None, CONFIG_FILES[1]).as_deref(), Some(CONFIG_FILES[1]));
        assert_eq!(of(Some("/c"), CONFIG_FILES[1]).as_deref(), Some("/c"));
        assert_eq!(of(Some(""), CONFIG_FILES[1]), None);
    }
}
