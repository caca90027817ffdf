//! What can't be: every problem of a configuration, not the first. Pure.

use super::id_maps::ranges;
use super::{Config, Hook, MountKind, Namespace, NamespaceKind};
use crate::error::Error;

type Check = fn(&Config, &mut Vec<Error>);

const CHECKS: &[Check] = &[
    strings,
    process,
    paths,
    namespaces,
    identity,
    mount_namespace,
    mounts,
    mount_label,
    id_maps,
    devices,
    hooks,
    super::sysctl::check,
    super::attributes::check,
    super::netdev::check,
];

/// Those that a further process of a container can fail.
const PROCESS_CHECKS: &[Check] = &[strings, process, paths];

pub(crate) fn check(config: &Config) -> Vec<Error> {
    all(CHECKS, config)
}

pub(crate) fn check_process(config: &Config) -> Vec<Error> {
    all(PROCESS_CHECKS, config)
}

fn all(checks: &[Check], config: &Config) -> Vec<Error> {
    let mut problems = Vec::new();
    for check in checks {
        check(config, &mut problems);
    }
    problems
}

/// The kernel's strings end at a NUL: one inside would cut what was asked for.
fn strings(config: &Config, problems: &mut Vec<Error>) {
    let process = &config.process;
    let one = |text: &String, path: &str, problems: &mut Vec<Error>| {
        if text.contains('\0') {
            problems.push(Error::config(path, "contains a NUL character"));
        }
    };
    let lists = [
        ("process.args", &process.args),
        ("process.env", &process.env),
        ("linux.maskedPaths", &config.masked_paths),
        ("linux.readonlyPaths", &config.readonly_paths),
    ];
    for (path, list) in lists {
        for (index, text) in list.iter().enumerate() {
            one(text, &format!("{path}[{index}]"), problems);
        }
    }
    one(&process.cwd, "process.cwd", problems);
    one(&config.root.path, "root.path", problems);
    for (path, text) in [
        ("hostname", &config.hostname),
        ("domainname", &config.domainname),
        ("linux.cgroupsPath", &config.cgroups_path),
        ("linux.mountLabel", &config.mount_label),
        ("process.apparmorProfile", &process.apparmor_profile),
        ("process.selinuxLabel", &process.selinux_label),
    ] {
        if let Some(text) = text {
            one(text, path, problems);
        }
    }
    for (index, mount) in config.mounts.iter().enumerate() {
        let words = mount
            .options
            .data
            .iter()
            .flat_map(|(key, value)| [Some(key), value.as_ref()]);
        for text in words
            .chain([Some(&mount.destination), mount.source.as_ref()])
            .flatten()
        {
            one(text, &format!("mounts[{index}]"), problems);
        }
    }
}

/// It would end its own quotes.
fn mount_label(config: &Config, problems: &mut Vec<Error>) {
    if config.mount_label.iter().any(|label| label.contains('"')) {
        problems.push(Error::config("linux.mountLabel", "has a quote in it"));
    }
}

/// execve(2): 32 pages, and no kernel has larger ones than 64 KiB.
const MAX_ARGUMENT: usize = 32 << 16;

fn too_long(list: &str, texts: &[String], problems: &mut Vec<Error>) {
    let texts = texts.iter().enumerate();
    for (index, _) in texts.filter(|(_, text)| text.len() >= MAX_ARGUMENT) {
        let message = "is longer than any kernel takes for execve";
        problems.push(Error::config(format!("{list}[{index}]"), message));
    }
}

fn process(config: &Config, problems: &mut Vec<Error>) {
    let process = &config.process;
    if !process.given {
        return;
    }
    if process.args.first().is_none_or(String::is_empty) {
        problems.push(Error::config("process.args", "must name a program"));
    }
    for (list, texts) in [("args", &process.args), ("env", &process.env)] {
        too_long(&format!("process.{list}"), texts, problems);
    }
    for (index, entry) in process.env.iter().enumerate() {
        if !entry.contains('=') || entry.starts_with('=') {
            problems.push(Error::config(
                format!("process.env[{index}]"),
                "must be NAME=VALUE",
            ));
        }
    }
    for (index, limit) in process.rlimits.iter().enumerate() {
        let at = format!("process.rlimits[{index}] ({})", limit.name);
        if config.process.rlimits[..index]
            .iter()
            .any(|other| other.resource == limit.resource)
        {
            problems.push(Error::config(&at, "is given twice"));
        }
        if limit.soft > limit.hard {
            problems.push(Error::config(&at, "soft limit is above the hard limit"));
        }
    }
    if process.umask > 0o777 {
        problems.push(Error::config("process.user.umask", "must be at most 0777"));
    }
    if let Some(score) = process
        .oom_score_adj
        .filter(|score| !(-1000..=1000).contains(score))
    {
        problems.push(Error::config(
            "process.oomScoreAdj",
            format!("{score} is not within -1000 and 1000"),
        ));
    }
    for (path, id) in [
        ("process.user.uid", process.uid),
        ("process.user.gid", process.gid),
    ] {
        if id == u32::MAX {
            problems.push(Error::config(path, "is not an id"));
        }
    }
}

fn paths(config: &Config, problems: &mut Vec<Error>) {
    let absolute = |path: &str, at: String, problems: &mut Vec<Error>| {
        if !path.starts_with('/') {
            problems.push(Error::config(
                at,
                format!("{path:?} is not an absolute path"),
            ));
        }
    };
    if config.root.path.is_empty() {
        problems.push(Error::config("root.path", "is required"));
    }
    absolute(&config.process.cwd, "process.cwd".to_owned(), problems);
    for (list, name) in [
        (&config.masked_paths, "maskedPaths"),
        (&config.readonly_paths, "readonlyPaths"),
    ] {
        for (index, path) in list.iter().enumerate() {
            absolute(path, format!("linux.{name}[{index}]"), problems);
        }
    }
}

fn namespaces(config: &Config, problems: &mut Vec<Error>) {
    for (index, Namespace { kind, path }) in config.namespaces.iter().enumerate() {
        let at = format!("linux.namespaces[{index}] ({})", kind.name());
        if config.namespaces[..index]
            .iter()
            .any(|other| other.kind == *kind)
        {
            problems.push(Error::config(&at, "is given twice"));
        }
        if path
            .as_ref()
            .is_some_and(|path| !path.starts_with('/') || path.contains('\0'))
        {
            problems.push(Error::config(
                format!("{at}.path"),
                "is not an absolute path",
            ));
        }
    }
    let needs_uts = [
        ("hostname", &config.hostname),
        ("domainname", &config.domainname),
    ];
    for (path, name) in needs_uts {
        let Some(name) = name.as_ref().filter(|name| !name.is_empty()) else {
            continue;
        };
        if config.namespace(NamespaceKind::Uts).is_none() {
            problems.push(Error::config(path, "can't be set without a uts namespace"));
        }
        if name.len() > 64 {
            problems.push(Error::config(path, "is longer than 64 bytes"));
        }
    }
}

/// config.md#posix-platform-mounts: both lists or none, and without any those of the container's user namespace.
fn id_maps(config: &Config, problems: &mut Vec<Error>) {
    for (index, mount) in config.mounts.iter().enumerate() {
        let at = format!("mounts[{index}] ({})", mount.destination);
        let (uids, gids) = (&mount.uid_mappings, &mount.gid_mappings);
        if uids.is_empty() != gids.is_empty() {
            let message = "uidMappings and gidMappings must both be given";
            problems.push(Error::config(&at, message));
        }
        ranges(&format!("{at}.uidMappings"), uids, problems);
        ranges(&format!("{at}.gidMappings"), gids, problems);
        if !mount.is_id_mapped() {
            continue;
        }
        let can = match &mount.kind {
            MountKind::Bind { .. } => true,
            MountKind::Filesystem(fstype) => !["proc", "sysfs"].contains(&fstype.as_str()),
            MountKind::Remount { .. } | MountKind::Cgroup => false,
        };
        if !can {
            let message = "such a mount can't be id-mapped";
            problems.push(Error::unsupported(&at, message));
        }
        if uids.is_empty() && config.namespace(NamespaceKind::User).is_none() {
            let message = "an id-mapped mount needs mappings, or a user namespace";
            problems.push(Error::config(&at, message));
        }
    }
}

fn identity(config: &Config, problems: &mut Vec<Error>) {
    let lists = [
        ("linux.uidMappings", &config.uid_mappings),
        ("linux.gidMappings", &config.gid_mappings),
    ];
    let new_user = config.makes(NamespaceKind::User);
    for (path, list) in lists {
        if new_user && list.is_empty() {
            problems.push(Error::config(path, "a new user namespace needs a mapping"));
        }
        if config.namespace(NamespaceKind::User).is_none() && !list.is_empty() {
            problems.push(Error::config(path, "needs a user namespace"));
        }
        ranges(path, list, problems);
    }
    if !new_user || !config.process.given {
        return;
    }
    let user = &config.process;
    let mapped = |list: &[super::IdMapping], id: u32| {
        list.iter()
            .any(|map| id >= map.container && id - map.container < map.size)
    };
    for (path, list, id) in [
        ("process.user.uid", lists[0].1, user.uid),
        ("process.user.gid", lists[1].1, user.gid),
    ] {
        if !list.is_empty() && !mapped(list, id) {
            problems.push(Error::config(
                path,
                format!("{id} is not mapped in the user namespace"),
            ));
        }
    }
}

/// Nothing is ever mounted in a namespace that we did not make.
fn mount_namespace(config: &Config, problems: &mut Vec<Error>) {
    if config.makes(NamespaceKind::Mount) {
        return;
    }
    let asked = [
        ("mounts", !config.mounts.is_empty()),
        ("linux.maskedPaths", !config.masked_paths.is_empty()),
        ("linux.readonlyPaths", !config.readonly_paths.is_empty()),
        ("root.readonly", config.root.readonly),
        (
            "linux.rootfsPropagation",
            config.rootfs_propagation.is_some(),
        ),
    ];
    for (path, asked) in asked {
        if asked {
            problems.push(Error::config(path, "needs a new mount namespace"));
        }
    }
}

/// What may be mounted inside /proc: files that stand for the machine (lxcfs).
const PROC_FILES: [&str; 10] = [
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/uptime",
    "/proc/loadavg",
    "/proc/slabinfo",
    "/proc/sys/kernel/ns_last_pid",
    "/proc/sys/crypto/fips_enabled",
];

fn mounts(config: &Config, problems: &mut Vec<Error>) {
    for (index, mount) in config.mounts.iter().enumerate() {
        let at = format!("mounts[{index}] ({})", mount.destination);
        let clean = mount.destination.as_str();
        let remount = matches!(mount.kind, MountKind::Remount { .. });
        if clean == "/" && !remount {
            problems.push(Error::config(
                &at,
                "destination is not a path below the root",
            ));
        }
        let bind = matches!(mount.kind, MountKind::Bind { .. });
        if bind && !mount.options.data.is_empty() {
            problems.push(Error::config(
                &at,
                "bind mounts cannot have any filesystem-specific options applied",
            ));
        }
        if bind && mount.source.as_ref().is_none_or(String::is_empty) {
            problems.push(Error::config(&at, "a bind mount needs a source"));
        }
        if mount.options.copy_up && mount.kind != MountKind::Filesystem("tmpfs".to_owned()) {
            problems.push(Error::config(&at, "tmpcopyup is for a tmpfs"));
        }
        let special = |name: &str| mount.kind == MountKind::Filesystem(name.to_owned());
        let over_proc = clean == "/proc" && !special("proc") && !bind;
        let inside_proc = clean.starts_with("/proc/") && !PROC_FILES.contains(&clean);
        if !remount && (over_proc || inside_proc) {
            problems.push(Error::config(
                &at,
                "nothing may be mounted there: it would redirect what is read from /proc",
            ));
        }
    }
    if config.process.terminal && !config.makes(NamespaceKind::Mount) {
        problems.push(Error::config(
            "process.terminal",
            "needs a new mount namespace",
        ));
    }
}

fn devices(config: &Config, problems: &mut Vec<Error>) {
    for (index, device) in config.devices.iter().enumerate() {
        if !device.path.starts_with('/') || device.path.ends_with('/') || device.path.contains('\0')
        {
            problems.push(Error::config(
                format!("linux.devices[{index}].path"),
                "is not an absolute path of a file",
            ));
        }
    }
}

fn hooks(config: &Config, problems: &mut Vec<Error>) {
    for (kind, list) in config.hooks.kinds() {
        for (
            index,
            Hook {
                path, args, env, ..
            },
        ) in list.iter().enumerate()
        {
            let at = format!("hooks.{kind}[{index}]");
            if !path.starts_with('/') {
                problems.push(Error::config(
                    format!("{at}.path"),
                    "is not an absolute path",
                ));
            }
            let given = env.as_deref().unwrap_or_default();
            for (list, texts) in [("args", args.as_slice()), ("env", given)] {
                too_long(&format!("{at}.{list}"), texts, problems);
            }
            let nameless = |entry: &String| !entry.contains('=') || entry.starts_with('=');
            if let Some(entry) = env.iter().flatten().position(nameless) {
                problems.push(Error::config(
                    format!("{at}.env[{entry}]"),
                    "must be NAME=VALUE",
                ));
            }
            let texts = args.iter().chain(env.iter().flatten()).chain([path]);
            if texts.into_iter().any(|text| text.contains('\0')) {
                problems.push(Error::config(at, "contains a NUL character"));
            }
        }
    }
}
