//! config.json as we mean it: every default filled in, every name resolved.
//!
//! Pure: nothing here, or in `plan`, does I/O (invariant 1). `raw` reads the
//! bytes, `from_spec` turns the field's types into these, `check` says what
//! can't be; everything after works on these types alone.

#![forbid(unsafe_code)]

pub(crate) mod attributes;
mod check;
pub(crate) mod examine;
mod fields;
mod from_spec;
pub(crate) mod id_maps;
pub(crate) mod mount_options;
mod netdev;
mod raw;
pub(crate) mod rdt;
pub(crate) mod resources;
mod strict;
mod sysctl;
pub(crate) mod update;

use crate::error::Error;
use attributes::{Affinity, ConsoleSize, IoPriority, MemoryPolicy, Scheduler, TimeOffset};
pub(crate) use from_spec::RLIMITS;
pub(crate) use id_maps::IdMapping;
use mount_options::MountOptions;
pub(crate) use netdev::NetDevice;
use resources::{Resources, Seccomp, SeccompAgent};
use std::collections::BTreeMap;
pub(crate) use strict::strict;
pub(crate) use sysctl::Sysctl;

/// A container's whole configuration.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) root: Root,
    pub(crate) mounts: Vec<Mount>,
    pub(crate) process: Process,
    pub(crate) hostname: Option<String>,
    pub(crate) domainname: Option<String>,
    pub(crate) hooks: Hooks,
    pub(crate) annotations: BTreeMap<String, String>,
    pub(crate) namespaces: Vec<Namespace>,
    pub(crate) uid_mappings: Vec<IdMapping>,
    pub(crate) gid_mappings: Vec<IdMapping>,
    pub(crate) devices: Vec<Device>,
    pub(crate) net_devices: Vec<NetDevice>,
    pub(crate) cgroups_path: Option<String>,
    pub(crate) resources: Resources,
    pub(crate) sysctls: Vec<Sysctl>,
    pub(crate) seccomp: Option<Seccomp>,
    /// Only where `seccomp` notifies.
    pub(crate) seccomp_agent: Option<SeccompAgent>,
    pub(crate) personality: Option<u32>,
    pub(crate) memory_policy: Option<MemoryPolicy>,
    pub(crate) time_offsets: Vec<TimeOffset>,
    pub(crate) rootfs_propagation: Option<Propagation>,
    pub(crate) masked_paths: Vec<String>,
    pub(crate) readonly_paths: Vec<String>,
    pub(crate) rdt: Option<rdt::Rdt>,
    /// SELinux's context of the container's filesystems.
    pub(crate) mount_label: Option<String>,
    /// What the spec tells us to say but not to fail for.
    pub(crate) warnings: Vec<String>,
}

/// config.md#root
#[derive(Clone, Debug)]
pub(crate) struct Root {
    /// Absolute, or relative to the bundle.
    pub(crate) path: String,
    pub(crate) readonly: bool,
}

/// config.md#mounts
#[derive(Clone, Debug)]
pub(crate) struct Mount {
    pub(crate) destination: String,
    pub(crate) source: Option<String>,
    pub(crate) kind: MountKind,
    pub(crate) options: MountOptions,
    /// Of an id-mapped mount; both empty: the container's own.
    pub(crate) uid_mappings: Vec<IdMapping>,
    pub(crate) gid_mappings: Vec<IdMapping>,
}

impl Mount {
    /// Of a bind mount. config.md#mounts: a relative source is relative to the bundle.
    pub(crate) fn source_on_host(&self, bundle: &str) -> String {
        match self.source.as_deref().unwrap_or_default() {
            source if source.starts_with('/') => source.to_owned(),
            source => format!("{bundle}/{source}"),
        }
    }

    /// By its words, or by having maps of its own.
    pub(crate) fn is_id_mapped(&self) -> bool {
        self.options.id_map.is_some() || !self.uid_mappings.is_empty()
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum MountKind {
    Bind {
        recursive: bool,
    },
    /// Of a mount that is there: of its flags alone, or of its filesystem too.
    Remount {
        bind: bool,
    },
    /// The container's own view of its cgroup.
    Cgroup,
    Filesystem(String),
}

/// config.md#process
#[derive(Clone, Debug, Default)]
pub(crate) struct Process {
    /// Without it the container can be created, not started.
    pub(crate) given: bool,
    pub(crate) terminal: bool,
    pub(crate) args: Vec<String>,
    pub(crate) env: Vec<String>,
    pub(crate) cwd: String,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) additional_gids: Vec<u32>,
    pub(crate) umask: u32,
    pub(crate) capabilities: Capabilities,
    pub(crate) rlimits: Vec<Rlimit>,
    pub(crate) no_new_privileges: bool,
    pub(crate) oom_score_adj: Option<i32>,
    pub(crate) scheduler: Option<Scheduler>,
    pub(crate) io_priority: Option<IoPriority>,
    /// For `exec` alone.
    pub(crate) affinity: Affinity,
    pub(crate) console_size: Option<ConsoleSize>,
    pub(crate) apparmor_profile: Option<String>,
    pub(crate) selinux_label: Option<String>,
}

/// Five sets, a bit per capability number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Capabilities {
    pub(crate) bounding: u64,
    pub(crate) effective: u64,
    pub(crate) inheritable: u64,
    pub(crate) permitted: u64,
    pub(crate) ambient: u64,
}

impl Capabilities {
    /// What is in any of the sets.
    pub(crate) fn all(self) -> u64 {
        self.bounding | self.effective | self.inheritable | self.permitted | self.ambient
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Rlimit {
    /// RLIMIT_* as a number, and its name.
    pub(crate) resource: u32,
    pub(crate) name: String,
    pub(crate) soft: u64,
    pub(crate) hard: u64,
}

/// config.md#posix-platform-hooks
#[derive(Clone, Debug, Default)]
pub(crate) struct Hooks {
    pub(crate) prestart: Vec<Hook>,
    pub(crate) create_runtime: Vec<Hook>,
    pub(crate) create_container: Vec<Hook>,
    pub(crate) start_container: Vec<Hook>,
    pub(crate) poststart: Vec<Hook>,
    pub(crate) poststop: Vec<Hook>,
}

impl Hooks {
    /// By their names in config.json, in the order in which they run.
    pub(crate) fn kinds(&self) -> [(&'static str, &[Hook]); 6] {
        [
            ("prestart", &self.prestart),
            ("createRuntime", &self.create_runtime),
            ("createContainer", &self.create_container),
            ("startContainer", &self.start_container),
            ("poststart", &self.poststart),
            ("poststop", &self.poststop),
        ]
    }

    /// To each environment that they bring along; without one they have the runtime's, or the process's.
    pub(crate) fn add_variable(&mut self, entry: &str) {
        let kinds = [
            &mut self.prestart,
            &mut self.create_runtime,
            &mut self.create_container,
            &mut self.start_container,
            &mut self.poststart,
            &mut self.poststop,
        ];
        let all = kinds.into_iter().flatten();
        for environment in all.filter_map(|hook| hook.env.as_mut()) {
            environment.push(entry.to_owned());
        }
    }

    /// Does any of them run while the root filesystem is mounted, but not yet the root?
    pub(crate) fn see_the_mounts(&self) -> bool {
        let kinds = [&self.prestart, &self.create_runtime, &self.create_container];
        kinds.into_iter().any(|hooks| !hooks.is_empty())
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hook {
    pub(crate) path: String,
    pub(crate) args: Vec<String>,
    /// `None`: not given.
    pub(crate) env: Option<Vec<String>>,
    /// Seconds, more than 0.
    pub(crate) timeout: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NamespaceKind {
    Pid,
    Network,
    Mount,
    Ipc,
    Uts,
    User,
    Cgroup,
    Time,
}

impl NamespaceKind {
    /// Name in config.json, clone(2) flag, name below /proc/PID/ns.
    pub(crate) const TABLE: [(NamespaceKind, &'static str, u64, &'static str); 8] = [
        (NamespaceKind::Pid, "pid", 0x2000_0000, "pid"),
        (NamespaceKind::Network, "network", 0x4000_0000, "net"),
        (NamespaceKind::Mount, "mount", 0x0002_0000, "mnt"),
        (NamespaceKind::Ipc, "ipc", 0x0800_0000, "ipc"),
        (NamespaceKind::Uts, "uts", 0x0400_0000, "uts"),
        (NamespaceKind::User, "user", 0x1000_0000, "user"),
        (NamespaceKind::Cgroup, "cgroup", 0x0200_0000, "cgroup"),
        (NamespaceKind::Time, "time", 0x80, "time"),
    ];

    fn row(self) -> &'static (NamespaceKind, &'static str, u64, &'static str) {
        // Every kind has its row: the table lists the enum.
        Self::TABLE
            .iter()
            .find(|row| row.0 == self)
            .unwrap_or(&Self::TABLE[0])
    }

    pub(crate) fn name(self) -> &'static str {
        self.row().1
    }

    pub(crate) fn flag(self) -> u64 {
        self.row().2
    }

    /// Its name below /proc/PID/ns.
    pub(crate) fn file(self) -> &'static str {
        self.row().3
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Namespace {
    pub(crate) kind: NamespaceKind,
    /// `None`: a new one.
    pub(crate) path: Option<String>,
}

/// config-linux.md#devices
#[derive(Clone, Debug)]
pub(crate) struct Device {
    pub(crate) path: String,
    /// S_IFCHR, S_IFBLK or S_IFIFO.
    pub(crate) kind: u32,
    pub(crate) major: u32,
    pub(crate) minor: u32,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// MS_SLAVE and friends, with MS_REC where the config says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Propagation(pub(crate) u64);

impl Resources {
    /// `linux.resources` alone, and what there is to say of it.
    pub(crate) fn read(json: serde_json::Value) -> Result<(Resources, Vec<String>), Vec<Error>> {
        let raw = raw::Raw::of_resources(json)?;
        let resources = from_spec::convert_resources(&raw)?;
        Ok((resources, raw.warnings))
    }

    /// The same of its text.
    #[cfg(test)]
    pub(crate) fn parse(json: &[u8]) -> Result<(Resources, Vec<String>), Vec<Error>> {
        Resources::read(strict(json, "linux.resources").map_err(|error| vec![error])?)
    }
}

impl Config {
    /// Parses and checks config.json.
    pub(crate) fn parse(json: &[u8]) -> Result<Config, Vec<Error>> {
        Config::parse_with(json, check::check)
    }

    /// The same of a further process of a container, whose namespaces are the container's, by path.
    pub(crate) fn parse_process(json: &[u8]) -> Result<Config, Vec<Error>> {
        Config::parse_with(json, check::check_process)
    }

    fn parse_with(json: &[u8], check: fn(&Config) -> Vec<Error>) -> Result<Config, Vec<Error>> {
        let raw = raw::Raw::parse(json)?;
        let spec = from_spec::read(&raw).map_err(|unread| vec![unread.error])?;
        let mut problems = Vec::new();
        let config = from_spec::convert(&spec, &raw, &mut problems);
        if problems.is_empty() {
            problems = check(&config);
        }
        if problems.is_empty() {
            Ok(config)
        } else {
            Err(problems)
        }
    }

    pub(crate) fn namespace(&self, kind: NamespaceKind) -> Option<&Namespace> {
        self.namespaces
            .iter()
            .find(|namespace| namespace.kind == kind)
    }

    /// Does the container get a namespace of this kind that we make?
    pub(crate) fn makes(&self, kind: NamespaceKind) -> bool {
        self.namespace(kind)
            .is_some_and(|namespace| namespace.path.is_none())
    }
}
