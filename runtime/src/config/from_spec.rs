//! The field's types into ours: only here, and in `restrictions`, are oci-spec's types touched.
//! Pure. Optional things end here: what follows asks no `Option` what its default is.

use super::attributes;
use super::mount_options::{MountOptions, ms};
use super::netdev;
use super::raw::{Raw, capability_number};
use super::rdt;
use super::resources::Seccomp;
use super::{
    Capabilities, Config, Device, Hook, Hooks, IdMapping, Mount, MountKind, Namespace,
    NamespaceKind, Process, Propagation, Rlimit, Root, Sysctl,
};
use crate::error::Error;
use oci_spec::runtime as oci;
use std::path::Path;

mod restrictions;

pub(super) use restrictions::convert_resources;
use restrictions::{resources, seccomp, seccomp_agent};

/// What engines expect when `process.user.umask` is not there.
const DEFAULT_UMASK: u32 = 0o022;

/// The kernel's PATH_MAX, without the NUL.
const MAX_PATH: usize = 4095;

/// Problems found so far; conversion goes on, so that all are told.
type Problems = Vec<Error>;

/// A value that is not of the field's type.
#[derive(Debug)]
pub(super) struct Unread {
    /// Where it is; of a field that is missing, the object that lacks it.
    pub(super) at: String,
    pub(super) error: Error,
}

pub(super) fn read(raw: &Raw) -> Result<oci::Spec, Unread> {
    serde_path_to_error::deserialize(&raw.value).map_err(|error| {
        let at = error.path().to_string();
        let error = parse_problem(&at, &error.into_inner().to_string());
        Unread { at, error }
    })
}

/// With problems found, it is nothing to create a container from.
pub(super) fn convert(spec: &oci::Spec, raw: &Raw, problems: &mut Problems) -> Config {
    version(spec, problems);
    let linux = spec
        .linux()
        .clone()
        .unwrap_or_else(|| oci::LinuxBuilder::default().build().unwrap_or_default());
    let linux = if spec.linux().is_some() {
        linux
    } else {
        bare(linux)
    };
    let process = process(spec, problems);
    let root = root(spec, problems);
    let filter = linux.seccomp().as_ref().map(seccomp);
    let notifies = filter.as_ref().is_some_and(Seccomp::notifies);
    Config {
        root,
        mounts: mounts(spec, problems),
        process,
        hostname: spec.hostname().clone(),
        domainname: spec.domainname().clone(),
        hooks: hooks(spec, problems),
        annotations: spec
            .annotations()
            .clone()
            .unwrap_or_default()
            .into_iter()
            .collect(),
        namespaces: namespaces(&linux),
        uid_mappings: mappings(linux.uid_mappings().as_ref()),
        gid_mappings: mappings(linux.gid_mappings().as_ref()),
        devices: devices(&linux, problems),
        net_devices: netdev::net_devices(&linux),
        cgroups_path: asked(&linux.cgroups_path().as_deref().map(text)),
        resources: linux
            .resources()
            .as_ref()
            .map(|given| resources(given, raw, problems))
            .unwrap_or_default(),
        sysctls: sysctls(&linux, problems),
        seccomp_agent: linux
            .seccomp()
            .as_ref()
            .and_then(|given| seccomp_agent(given, notifies, problems)),
        seccomp: filter,
        personality: attributes::personality(&linux, problems),
        memory_policy: attributes::memory_policy(&linux, problems),
        time_offsets: attributes::time_offsets(&linux, problems),
        rootfs_propagation: propagation(&linux, problems),
        masked_paths: linux.masked_paths().clone().unwrap_or_default(),
        readonly_paths: linux.readonly_paths().clone().unwrap_or_default(),
        rdt: rdt::convert(&linux, problems),
        mount_label: asked(linux.mount_label()),
        warnings: raw.warnings.clone(),
    }
}

/// serde names the object that lacks a field; we name the field.
fn parse_problem(path: &str, message: &str) -> Error {
    let path = if path == "." { "" } else { path };
    if let Some(field) = message
        .strip_prefix("missing field `")
        .and_then(|rest| rest.strip_suffix('`'))
    {
        let dot = if path.is_empty() { "" } else { "." };
        return Error::config(format!("{path}{dot}{field}"), "is required");
    }
    Error::config(if path.is_empty() { "config.json" } else { path }, message)
}

/// config.md#specification-version: SemVer, and compatible within a major version.
fn version(spec: &oci::Spec, problems: &mut Problems) {
    let version = spec.version();
    let core = version.split(['-', '+']).next().unwrap_or_default();
    let numbers: Vec<_> = core.split('.').map(str::parse::<u32>).collect();
    match numbers.as_slice() {
        [Ok(1), Ok(_), Ok(_)] => {}
        [Ok(_), Ok(_), Ok(_)] => problems.push(Error::unsupported(
            "ociVersion",
            format!("{version} is not a 1.x version"),
        )),
        _ => problems.push(Error::config(
            "ociVersion",
            format!("{version:?} is not a semantic version"),
        )),
    }
}

/// oci-spec fills a missing `linux` with defaults of its own; the spec has none.
fn bare(mut linux: oci::Linux) -> oci::Linux {
    linux
        .set_namespaces(None)
        .set_masked_paths(None)
        .set_readonly_paths(None)
        .set_resources(None);
    linux
}

fn text(path: &Path) -> String {
    // It came out of JSON, so it is UTF-8.
    path.to_string_lossy().into_owned()
}

fn root(spec: &oci::Spec, problems: &mut Problems) -> Root {
    match spec.root() {
        Some(root) => Root {
            path: text(root.path()),
            readonly: root.readonly().unwrap_or(false),
        },
        None => {
            problems.push(Error::config("root", "is required"));
            Root {
                path: String::new(),
                readonly: false,
            }
        }
    }
}

fn process(spec: &oci::Spec, problems: &mut Problems) -> Process {
    // config.md#process: start requires it, create does not.
    let Some(given) = spec.process() else {
        return Process {
            cwd: "/".to_owned(),
            umask: DEFAULT_UMASK,
            ..Process::default()
        };
    };
    let user = given.user();
    Process {
        given: true,
        terminal: given.terminal().unwrap_or(false),
        args: given.args().clone().unwrap_or_default(),
        env: given.env().clone().unwrap_or_default(),
        cwd: text(given.cwd()),
        uid: user.uid(),
        gid: user.gid(),
        additional_gids: user.additional_gids().clone().unwrap_or_default(),
        umask: user.umask().unwrap_or(DEFAULT_UMASK),
        capabilities: capabilities(given.capabilities().as_ref()),
        rlimits: given.rlimits().iter().flatten().map(rlimit).collect(),
        no_new_privileges: given.no_new_privileges().unwrap_or(false),
        oom_score_adj: given.oom_score_adj(),
        scheduler: attributes::scheduler(given, problems),
        io_priority: attributes::io_priority(given, problems),
        affinity: attributes::affinity(given, problems),
        console_size: attributes::console_size(given, problems),
        apparmor_profile: asked(given.apparmor_profile()),
        selinux_label: asked(given.selinux_label()),
    }
}

/// Engines write empty strings for what they don't ask for.
fn asked(given: &Option<String>) -> Option<String> {
    given.clone().filter(|text| !text.is_empty())
}

fn capabilities(given: Option<&oci::LinuxCapabilities>) -> Capabilities {
    let Some(given) = given else {
        return Capabilities::default();
    };
    let bits = |set: &Option<oci::Capabilities>| {
        let numbers = set
            .iter()
            .flatten()
            .filter_map(|capability| capability_number(&format!("CAP_{capability}")));
        numbers.fold(0u64, |bits, number| bits | 1 << number)
    };
    Capabilities {
        bounding: bits(given.bounding()),
        effective: bits(given.effective()),
        inheritable: bits(given.inheritable()),
        permitted: bits(given.permitted()),
        ambient: bits(given.ambient()),
    }
}

/// RLIMIT_* numbers. getrlimit(2)
pub(crate) const RLIMITS: [(&str, u32); 16] = [
    ("RLIMIT_CPU", 0),
    ("RLIMIT_FSIZE", 1),
    ("RLIMIT_DATA", 2),
    ("RLIMIT_STACK", 3),
    ("RLIMIT_CORE", 4),
    ("RLIMIT_RSS", 5),
    ("RLIMIT_NPROC", 6),
    ("RLIMIT_NOFILE", 7),
    ("RLIMIT_MEMLOCK", 8),
    ("RLIMIT_AS", 9),
    ("RLIMIT_LOCKS", 10),
    ("RLIMIT_SIGPENDING", 11),
    ("RLIMIT_MSGQUEUE", 12),
    ("RLIMIT_NICE", 13),
    ("RLIMIT_RTPRIO", 14),
    ("RLIMIT_RTTIME", 15),
];

fn rlimit(given: &oci::PosixRlimit) -> Rlimit {
    let name = given.typ().to_string();
    // Unknown names have failed the parse.
    let resource = RLIMITS
        .iter()
        .find(|(known, _)| *known == name)
        .map_or(u32::MAX, |(_, number)| *number);
    Rlimit {
        resource,
        name,
        soft: given.soft(),
        hard: given.hard(),
    }
}

fn mounts(spec: &oci::Spec, problems: &mut Problems) -> Vec<Mount> {
    let mut mounts = Vec::new();
    for (index, mount) in spec.mounts().iter().flatten().enumerate() {
        let mut destination = text(mount.destination());
        // It is part of each message and step of the mount: too long a one is not carried along.
        if destination.len() > MAX_PATH {
            let words = format!("destination is longer than {MAX_PATH} bytes");
            problems.push(Error::config(format!("mounts[{index}]"), words));
            destination = "/".to_owned();
        }
        let at = format!("mounts[{index}] ({destination})");
        let options = MountOptions::parse(mount.options().as_deref().unwrap_or_default());
        let fstype = mount.typ().clone().unwrap_or_default();
        let kind = match (options.bind, fstype.as_str()) {
            (bind, kind) if options.remount => MountKind::Remount {
                bind: bind.is_some() || kind == "bind",
            },
            (Some(recursive), _) => MountKind::Bind { recursive },
            (None, "bind") => MountKind::Bind { recursive: false },
            (None, "cgroup" | "cgroup2") => MountKind::Cgroup,
            (None, "") => {
                problems.push(Error::config(&at, "neither a type nor a bind mount"));
                // It keeps its place, so that the others keep their numbers.
                MountKind::Filesystem(fstype)
            }
            (None, _) => MountKind::Filesystem(fstype),
        };
        let destination = clean(&destination);
        mounts.push(Mount {
            destination,
            source: mount.source().as_deref().map(text),
            kind,
            options,
            uid_mappings: mappings(mount.uid_mappings().as_ref()),
            gid_mappings: mappings(mount.gid_mappings().as_ref()),
        });
    }
    mounts
}

/// A destination without `.` and `..`, which the engines' own paths may have; never above the root.
fn clean(destination: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in destination
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".")
    {
        if part == ".." {
            parts.pop();
        } else {
            parts.push(part);
        }
    }
    format!("/{}", parts.join("/"))
}

fn hooks(spec: &oci::Spec, problems: &mut Problems) -> Hooks {
    let Some(given) = spec.hooks() else {
        return Hooks::default();
    };
    let mut list = |kind: &str, hooks: &Option<Vec<oci::Hook>>| {
        let hooks = hooks.iter().flatten().enumerate();
        hooks
            .map(|(index, given)| hook(&format!("hooks.{kind}[{index}]"), given, problems))
            .collect()
    };
    #[allow(deprecated)] // by the spec, which demands it all the same
    let prestart = given.prestart();
    Hooks {
        prestart: list("prestart", prestart),
        create_runtime: list("createRuntime", given.create_runtime()),
        create_container: list("createContainer", given.create_container()),
        start_container: list("startContainer", given.start_container()),
        poststart: list("poststart", given.poststart()),
        poststop: list("poststop", given.poststop()),
    }
}

fn hook(at: &str, given: &oci::Hook, problems: &mut Problems) -> Hook {
    let path = text(given.path());
    let timeout = given.timeout().map(u32::try_from);
    if matches!(timeout, Some(Err(_) | Ok(0))) {
        problems.push(Error::config(
            format!("{at}.timeout"),
            "must be more than 0 seconds",
        ));
    }
    Hook {
        args: given
            .args()
            .clone()
            .filter(|args| !args.is_empty())
            .unwrap_or_else(|| vec![path.clone()]),
        path,
        env: given.env().clone(),
        timeout: timeout.and_then(Result::ok),
    }
}

fn namespaces(linux: &oci::Linux) -> Vec<Namespace> {
    let list = linux.namespaces().iter().flatten();
    list.map(|namespace| Namespace {
        kind: kind(namespace.typ()),
        path: path_of(namespace.path().as_deref()),
    })
    .collect()
}

/// An empty path is what some engines write for a new namespace.
fn path_of(path: Option<&Path>) -> Option<String> {
    path.map(text).filter(|path| !path.is_empty())
}

fn kind(given: oci::LinuxNamespaceType) -> NamespaceKind {
    match given {
        oci::LinuxNamespaceType::Pid => NamespaceKind::Pid,
        oci::LinuxNamespaceType::Network => NamespaceKind::Network,
        oci::LinuxNamespaceType::Mount => NamespaceKind::Mount,
        oci::LinuxNamespaceType::Ipc => NamespaceKind::Ipc,
        oci::LinuxNamespaceType::Uts => NamespaceKind::Uts,
        oci::LinuxNamespaceType::User => NamespaceKind::User,
        oci::LinuxNamespaceType::Cgroup => NamespaceKind::Cgroup,
        oci::LinuxNamespaceType::Time => NamespaceKind::Time,
    }
}

fn mappings(given: Option<&Vec<oci::LinuxIdMapping>>) -> Vec<IdMapping> {
    let list = given.into_iter().flatten();
    list.map(|map| IdMapping {
        container: map.container_id(),
        host: map.host_id(),
        size: map.size(),
    })
    .collect()
}

fn devices(linux: &oci::Linux, problems: &mut Problems) -> Vec<Device> {
    let list = linux.devices().iter().flatten().enumerate();
    list.map(|(index, given)| {
        let device = device(given);
        device.unwrap_or_else(|why| {
            problems.push(Error::config(format!("linux.devices[{index}]"), why));
            // It keeps its place, so that the others keep their numbers.
            Device {
                path: text(given.path()),
                kind: libc::S_IFIFO,
                major: 0,
                minor: 0,
                mode: 0,
                uid: 0,
                gid: 0,
            }
        })
    })
    .collect()
}

fn device(given: &oci::LinuxDevice) -> Result<Device, &'static str> {
    let kind = match given.typ() {
        oci::LinuxDeviceType::C | oci::LinuxDeviceType::U => libc::S_IFCHR,
        oci::LinuxDeviceType::B => libc::S_IFBLK,
        oci::LinuxDeviceType::P => libc::S_IFIFO,
        oci::LinuxDeviceType::A => return Err("type must be c, u, b or p"),
    };
    let fifo = kind == libc::S_IFIFO;
    let number = |number: i64| {
        if fifo {
            Ok(0)
        } else {
            u32::try_from(number).map_err(|_| "device number out of range")
        }
    };
    Ok(Device {
        path: text(given.path()),
        kind,
        major: number(given.major())?,
        minor: number(given.minor())?,
        // fileMode may carry the file type's bits, which `type` has said already.
        mode: given.file_mode().unwrap_or(0o666) & 0o7777,
        uid: given.uid().unwrap_or(0),
        gid: given.gid().unwrap_or(0),
    })
}

/// In the order of their names: oci-spec knows no other.
fn sysctls(linux: &oci::Linux, problems: &mut Problems) -> Vec<Sysctl> {
    let mut given: Vec<_> = linux.sysctl().iter().flatten().collect();
    given.sort();
    let parameters = given
        .into_iter()
        .map(|(key, value)| Sysctl::new(key, value));
    parameters
        .filter_map(|parameter| parameter.map_err(|error| problems.push(error)).ok())
        .collect()
}

/// config-linux.md#rootfs-mount-propagation
const PROPAGATIONS: [(&str, u64); 8] = [
    ("private", ms::PRIVATE),
    ("rprivate", ms::PRIVATE | ms::REC),
    ("rshared", ms::SHARED | ms::REC),
    ("rslave", ms::SLAVE | ms::REC),
    ("runbindable", ms::UNBINDABLE | ms::REC),
    ("shared", ms::SHARED),
    ("slave", ms::SLAVE),
    ("unbindable", ms::UNBINDABLE),
];

fn propagation(linux: &oci::Linux, problems: &mut Problems) -> Option<Propagation> {
    let word = linux
        .rootfs_propagation()
        .as_deref()
        .filter(|word| !word.is_empty())?;
    let known = PROPAGATIONS
        .iter()
        .find(|(name, _)| *name == word)
        .map(|(_, flags)| Propagation(*flags));
    if known.is_none() {
        problems.push(Error::config(
            "linux.rootfsPropagation",
            format!("{word:?} is none of shared, slave, private and unbindable"),
        ));
    }
    known
}
