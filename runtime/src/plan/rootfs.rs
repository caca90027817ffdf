//! The root filesystem: mounts, devices, masks, and the switch into it. Pure.

use super::order::{Steps, default_rootfs};
use super::{Action, Facts, IdMap, Maps, NOTIFY_DIRECTORY, Request, Switch, TreeSource, labels};
use crate::cgroup::Version;
use crate::config::mount_options::{MOUNT2_DATA_MAX, MountOptions, attr, ms};
use crate::config::{Config, Device, Mount, MountKind, NamespaceKind};
use crate::error::Error;

/// config-linux.md#default-devices, as (name, major, minor).
pub(crate) const DEFAULT_DEVICES: [(&str, u32, u32); 6] = [
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
];

/// runtime-linux.md#dev-symbolic-links, and the multiplexer of the container's own devpts.
const DEFAULT_LINKS: [(&str, &str); 6] = [
    ("/proc/self/fd", "/dev/fd"),
    ("/proc/self/fd/0", "/dev/stdin"),
    ("/proc/self/fd/1", "/dev/stdout"),
    ("/proc/self/fd/2", "/dev/stderr"),
    ("/proc/kcore", "/dev/core"),
    ("pts/ptmx", "/dev/ptmx"),
];

fn source(path: String, recursive: bool, config: &Config, facts: &Facts) -> TreeSource {
    // Cloned by the host, it can't be swapped under init; without the rights or the calls, init opens its own view.
    TreeSource {
        path,
        recursive,
        by_host: facts.privileged && facts.new_api(),
        propagation: base_propagation(config),
        id_map: None,
        new: None,
    }
}

/// Made by the host, which rules it: whoever is root of a user namespace alone may not map its ids.
fn mapped_filesystem(
    path: &str,
    fstype: &str,
    mount: &Mount,
    config: &Config,
    facts: &Facts,
) -> Result<TreeSource, Error> {
    let id_map = id_map(path, mount, config, facts)?;
    let refused = |message| Err(Error::unsupported(path, message));
    if !facts.privileged {
        return refused("only the host's root can map the ids of a new filesystem");
    }
    if mount.options.needs_mount2() || mount.options.copy_up {
        return refused("not possible for an id-mapped filesystem with these options");
    }
    let mut options = mount.options.clone();
    labels::mount(config, fstype, &mut options);
    Ok(TreeSource {
        path: mount.source.clone().unwrap_or_else(|| fstype.to_owned()),
        recursive: false,
        by_host: true,
        propagation: 0,
        id_map,
        new: Some((fstype.to_owned(), options)),
    })
}

/// Without maps of its own a mount has the container's.
fn id_map(
    path: &str,
    mount: &Mount,
    config: &Config,
    facts: &Facts,
) -> Result<Option<IdMap>, Error> {
    if !mount.is_id_mapped() {
        return Ok(None);
    }
    if !facts.new_api() {
        return Err(Error::unsupported(
            path,
            "this host can't map ids of mounts",
        ));
    }
    let user = config.namespace(NamespaceKind::User);
    let joined = user.and_then(|namespace| namespace.path.clone());
    let maps = match (mount.uid_mappings.is_empty(), joined) {
        (true, Some(path)) => Maps::Of(path),
        (true, None) => Maps::These {
            uids: config.uid_mappings.clone(),
            gids: config.gid_mappings.clone(),
        },
        (false, _) => Maps::These {
            uids: mount.uid_mappings.clone(),
            gids: mount.gid_mappings.clone(),
        },
    };
    let recursive = mount.options.id_map.unwrap_or(false);
    Ok(Some(IdMap { maps, recursive }))
}

/// What all mounts of the container start from: as the host's slaves, unless the config says private, or
/// wants what is mounted here to be seen there.
fn base_propagation(config: &Config) -> u64 {
    match config
        .rootfs_propagation
        .map_or(ms::SLAVE, |propagation| propagation.0 & !ms::REC)
    {
        ms::SHARED => 0,
        ms::SLAVE => ms::SLAVE,
        _ => ms::PRIVATE,
    }
}

/// From the root filesystem to the last device, in a mount namespace of our own.
pub(crate) fn build(
    config: &Config,
    request: &Request,
    facts: &Facts,
    steps: &mut Steps,
) -> Result<(), Error> {
    let new_api = facts.new_api();
    // Nothing that is mounted here may travel back to the host, and pivot_root refuses a shared parent.
    let flags = if base_propagation(config) == ms::PRIVATE {
        ms::PRIVATE
    } else {
        ms::SLAVE
    };
    steps.push(
        "linux.rootfsPropagation",
        Action::SetPropagation { flags, new_api },
    );
    let rootfs = source(default_rootfs(config, &request.bundle), true, config, facts);
    steps.push(
        "root.path",
        Action::AttachRoot {
            source: rootfs,
            in_place: config.hooks.see_the_mounts(),
            new_api,
        },
    );
    for (index, mount) in config.mounts.iter().enumerate() {
        let path = format!("mounts[{index}] ({})", mount.destination);
        one_mount(&path, mount, (config, request), facts, steps)?;
    }
    if let Some(directory) = &request.notify {
        notify(directory, config, facts, steps);
    }
    if !device_directory_is_bound(config) {
        devices(config, facts, steps);
    }
    let devices = config.devices.iter().enumerate();
    // A list of all that the host has includes its multiplexer: the container's own is a link, and runc passes over it too.
    for (index, device) in devices.filter(|(_, device)| device.path != "/dev/ptmx") {
        device_node(
            format!("linux.devices[{index}] ({})", device.path),
            device.clone(),
            config,
            facts,
            steps,
        );
    }
    if let Some(index) = deferred_readonly(config) {
        let target = config.mounts[index].destination.clone();
        steps.push(
            format!("mounts[{index}] ({target})"),
            Action::TargetReadonly { target, new_api },
        );
    }
    Ok(())
}

/// The directory, in which `start` makes the socket, and not the socket, which is not there yet. On top of what the
/// configuration mounts, which may be a /run of its own.
fn notify(directory: &str, config: &Config, facts: &Facts, steps: &mut Steps) {
    let options = MountOptions {
        set: attr::RDONLY | attr::NOSUID | attr::NODEV | attr::NOEXEC,
        ..MountOptions::default()
    };
    let bind = Action::Bind {
        source: source(directory.to_owned(), false, config, facts),
        options,
        target: NOTIFY_DIRECTORY.to_owned(),
        new_api: facts.new_api(),
    };
    steps.push("mounts (notify)", bind);
}

/// A read-only /dev gets its devices first.
fn deferred_readonly(config: &Config) -> Option<usize> {
    config.mounts.iter().position(|mount| {
        is_dev(mount) && mount.options.set & attr::RDONLY != 0 && mount.kind_is_filesystem()
    })
}

fn is_dev(mount: &Mount) -> bool {
    mount.destination.trim_end_matches('/') == "/dev"
}

impl Mount {
    fn kind_is_filesystem(&self) -> bool {
        matches!(self.kind, MountKind::Filesystem(_))
    }
}

fn one_mount(
    path: &str,
    mount: &Mount,
    (config, request): (&Config, &Request),
    facts: &Facts,
    steps: &mut Steps,
) -> Result<(), Error> {
    let target = mount.destination.clone();
    let mut options = mount.options.clone();
    let new_api = facts.new_api();
    match &mount.kind {
        MountKind::Bind { recursive } => {
            let from = mount.source_on_host(&request.bundle);
            let mut source = source(from, *recursive, config, facts);
            source.id_map = id_map(path, mount, config, facts)?;
            // Only who rules the filesystem may map its ids: the host, on its own clone.
            source.by_host |= source.id_map.is_some();
            steps.push(
                path,
                Action::Bind {
                    source,
                    options,
                    target: target.clone(),
                    new_api,
                },
            );
        }
        MountKind::Remount { bind } => steps.push(
            path,
            Action::Remount {
                options,
                bind: *bind,
                target: target.clone(),
                new_api,
            },
        ),
        MountKind::Cgroup => cgroup_mount(path, mount, config, facts, steps),
        MountKind::Filesystem(fstype) if mount.is_id_mapped() => steps.push(
            path,
            Action::Bind {
                source: mapped_filesystem(path, fstype, mount, config, facts)?,
                options,
                target: target.clone(),
                new_api,
            },
        ),
        MountKind::Filesystem(fstype) => {
            if is_dev(mount) {
                options.set &= !attr::RDONLY;
            }
            labels::mount(config, fstype, &mut options);
            let real_directory = ["proc", "sysfs"].contains(&fstype.as_str());
            let (fstype, source) = (fstype.clone(), mount.source.clone());
            let new_api = by_fsconfig(path, fstype.as_str(), &mut options, new_api)?;
            steps.push(
                path,
                Action::MountFilesystem {
                    fstype,
                    source,
                    options,
                    target: target.clone(),
                    real_directory,
                    new_api,
                },
            );
        }
    }
    if !mount.options.propagation.is_empty() {
        let flags = mount.options.propagation.clone();
        steps.push(
            path,
            Action::TargetPropagation {
                target,
                flags,
                new_api,
            },
        );
    }
    Ok(())
}

/// Do the options go to the filesystem by fsconfig(2), or in mount(2)'s page?
fn by_fsconfig(
    path: &str,
    fstype: &str,
    options: &mut MountOptions,
    new_api: bool,
) -> Result<bool, Error> {
    if new_api && !options.needs_mount2() {
        return Ok(true);
    }
    let length = options.mount2_data().len();
    if length <= MOUNT2_DATA_MAX {
        return Ok(false);
    }
    if new_api && fstype == "overlay" {
        options.split_layers();
    }
    if new_api && !options.needs_mount2() {
        return Ok(true);
    }
    let words = format!("{length} bytes of options are more than the kernel takes");
    Err(Error::unsupported(path, words))
}

/// cgroup v2: the tree as the container's cgroup namespace shows it, or the host's mount of it. v1: a tmpfs with
/// the container's own directory of each hierarchy.
fn cgroup_mount(path: &str, mount: &Mount, config: &Config, facts: &Facts, steps: &mut Steps) {
    let (target, new_api) = (mount.destination.clone(), facts.new_api());
    if let Some(from) = foreign_cgroups(config, facts) {
        bind_cgroups(path, mount, (from, target), (config, facts), steps);
        return;
    }
    if facts.cgroup.version == Version::V2 {
        let options = mount.options.clone();
        let (fstype, source) = ("cgroup2".to_owned(), Some("cgroup".to_owned()));
        steps.push(
            path,
            Action::MountFilesystem {
                fstype,
                source,
                options,
                target,
                real_directory: false,
                new_api,
            },
        );
        return;
    }
    let mut top = MountOptions {
        data: vec![("mode".into(), Some("755".into()))],
        ..MountOptions::default()
    };
    top.set = mount.options.set & !attr::RDONLY;
    let (fstype, source_name) = ("tmpfs".to_owned(), Some("tmpfs".to_owned()));
    steps.push(
        path,
        Action::MountFilesystem {
            fstype,
            source: source_name,
            options: top,
            target: target.clone(),
            real_directory: false,
            new_api,
        },
    );
    for directory in &facts.cgroup_directories.0 {
        // The last part of the hierarchy's place on the host is its name everywhere: cpu,cpuacct or systemd.
        let name = directory.mount.rsplit('/').next().unwrap_or_default();
        let places = (directory.display(), format!("{target}/{name}"));
        bind_cgroups(path, mount, places, (config, facts), steps);
        for alias in name.split(',').filter(|alias| *alias != name) {
            let path_of_alias = format!("{}/{alias}", mount.destination);
            steps.push(
                path,
                Action::Symlink {
                    contents: name.to_owned(),
                    path: path_of_alias,
                },
            );
        }
    }
    if mount.options.set & attr::RDONLY != 0 {
        steps.push(path, Action::TargetReadonly { target, new_api });
    }
}

/// A cgroup2 is mounted by who rules its cgroup namespace: not by a container with a user namespace that has joined
/// another's, nor by one that has kept the host's. There a new mount would take nsdelegate and the like from the
/// host's, since the first cgroup namespace sets them for all mounts. What the host has mounted is bound then, or,
/// below a root that we don't know, the container's own directory.
fn foreign_cgroups(config: &Config, facts: &Facts) -> Option<String> {
    let kind = NamespaceKind::Cgroup;
    let keeps_hosts = config.namespace(kind).is_none();
    let rules = config.namespace(NamespaceKind::User).is_none()
        || config.makes(kind)
        || facts.owned_by_user.contains(&kind);
    if facts.cgroup.version != Version::V2 || (rules && !keeps_hosts) {
        return None;
    }
    let directory = facts.cgroup_directories.0.first()?;
    Some(match config.namespace(kind) {
        None => directory.mount.clone(),
        Some(_) => directory.display(),
    })
}

fn bind_cgroups(
    path: &str,
    mount: &Mount,
    (from, target): (String, String),
    (config, facts): (&Config, &Facts),
    steps: &mut Steps,
) {
    let options = MountOptions {
        set: mount.options.set,
        clear: mount.options.clear,
        ..MountOptions::default()
    };
    let bind = Action::Bind {
        source: source(from, false, config, facts),
        options,
        target,
        new_api: facts.new_api(),
    };
    steps.push(path, bind);
}

/// The engine brought its own /dev: it is not ours to fill.
fn device_directory_is_bound(config: &Config) -> bool {
    config
        .mounts
        .iter()
        .any(|mount| is_dev(mount) && matches!(mount.kind, MountKind::Bind { .. }))
}

fn devices(config: &Config, facts: &Facts, steps: &mut Steps) {
    for (name, major, minor) in DEFAULT_DEVICES {
        let path = format!("/dev/{name}");
        if config.devices.iter().any(|device| device.path == path) {
            continue; // the config has its own idea of it
        }
        let device = Device {
            path,
            kind: libc::S_IFCHR,
            major,
            minor,
            mode: 0o666,
            uid: 0,
            gid: 0,
        };
        device_node(
            "linux.devices (default)".to_owned(),
            device,
            config,
            facts,
            steps,
        );
    }
    for (contents, path) in DEFAULT_LINKS {
        steps.push(
            "linux.devices (default)",
            Action::Symlink {
                contents: contents.to_owned(),
                path: path.to_owned(),
            },
        );
    }
}

fn device_node(path: String, device: Device, config: &Config, facts: &Facts, steps: &mut Steps) {
    // No node can be made in a user namespace: the host's own is bound.
    let bound = config.namespace(NamespaceKind::User).is_some() || !facts.device_nodes;
    if bound && device.kind != libc::S_IFIFO {
        let target = device.path.clone();
        steps.push(
            path,
            Action::DeviceBind {
                source: device.path,
                path: target,
            },
        );
    } else {
        steps.push(path, Action::DeviceNode(device));
    }
}

/// Into the root filesystem.
pub(crate) fn switch(config: &Config, request: &Request, facts: &Facts, steps: &mut Steps) {
    let switch = match (config.makes(NamespaceKind::Mount), request.no_pivot) {
        (false, _) => Switch::Chroot,
        (true, true) => Switch::Move,
        (true, false) => Switch::Pivot,
    };
    steps.push("root.path", Action::SwitchRoot(switch));
    // Shared or unbindable from here on: before the switch it would have kept the switch from working.
    let late = config
        .rootfs_propagation
        .map(|propagation| propagation.0)
        .filter(|flags| flags & (ms::SHARED | ms::UNBINDABLE) != 0);
    if let Some(flags) = late {
        let new_api = facts.new_api();
        steps.push(
            "linux.rootfsPropagation",
            Action::TargetPropagation {
                target: "/".to_owned(),
                flags: vec![flags],
                new_api,
            },
        );
        // What the root's word reached recursively has a word of its own again.
        let own = config
            .mounts
            .iter()
            .enumerate()
            .filter(|(_, mount)| flags & ms::REC != 0 && !mount.options.propagation.is_empty());
        for (index, mount) in own {
            let (target, flags) = (mount.destination.clone(), mount.options.propagation.clone());
            steps.push(
                format!("mounts[{index}] ({target})"),
                Action::TargetPropagation {
                    target,
                    flags,
                    new_api,
                },
            );
        }
    }
}

/// What is changed from inside: the terminal, names, what may be seen and written.
pub(crate) fn finish(config: &Config, request: &Request, facts: &Facts, steps: &mut Steps) {
    let new_api = facts.new_api();
    terminal(config, request, steps);
    // Made while the root can still be written.
    if config.makes(NamespaceKind::Mount) {
        steps.push(
            "process.cwd",
            Action::EnsureDirectory(config.process.cwd.clone()),
        );
    }
    if config.root.readonly {
        steps.push("root.readonly", Action::RootReadonly { new_api });
    }
    if let Some(name) = config.hostname.clone().filter(|name| !name.is_empty()) {
        steps.push("hostname", Action::Hostname(name));
    }
    if let Some(name) = config.domainname.clone().filter(|name| !name.is_empty()) {
        steps.push("domainname", Action::Domainname(name));
    }
    for (index, path) in config.readonly_paths.iter().enumerate() {
        steps.push(
            format!("linux.readonlyPaths[{index}]"),
            Action::ReadonlyPath {
                path: path.clone(),
                new_api,
            },
        );
    }
    let by_host = facts.privileged && new_api;
    for (index, path) in config.masked_paths.iter().enumerate() {
        steps.push(
            format!("linux.maskedPaths[{index}]"),
            Action::MaskPath {
                path: path.clone(),
                new_api,
                by_host,
            },
        );
    }
    keyring(request, steps);
}

/// On the container's own devpts, so after the switch of root.
pub(crate) fn terminal(config: &Config, request: &Request, steps: &mut Steps) {
    if config.process.terminal && request.console {
        let (uid, mount) = (config.process.uid, !request.exec);
        let size = config.process.console_size;
        steps.push("process.terminal", Action::Console { uid, mount, size });
        steps.push("process.terminal", Action::ControllingTerminal);
    } else if config.namespace(NamespaceKind::Mount).is_some() {
        steps.push("process", Action::OwnNullDevice);
    }
}

pub(crate) fn keyring(request: &Request, steps: &mut Steps) {
    if request.new_keyring {
        let name = format!("_ses.{}", request.id);
        steps.push("process", Action::SessionKeyring(name));
    }
}
