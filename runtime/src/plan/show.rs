//! A plan as text and JSON: `longshore plan`, golden tests, the words of errors. Pure.

use super::{
    Action, HostTask, IdMap, Identity, MapWriter, Maps, Plan, Side, Step, Switch, TreeSource,
};
use crate::cgroup::Missing;
use crate::config::mount_options::{ATTRIBUTES, MountOptions, SUPERBLOCK, attr, ms};
use crate::config::rdt::Class;
use crate::config::{IdMapping, NamespaceKind, Rlimit};
use std::fmt;

impl Side {
    fn name(self) -> &'static str {
        match self {
            Side::Host => "host",
            Side::Stage1 => "stage1",
            Side::Init => "init",
            Side::Exec => "exec",
            Side::After => "after",
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.steps {
            writeln!(f, "{step}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:<6} {:<33} {}",
            self.side.name(),
            self.path,
            self.action
        )
    }
}

impl Plan {
    pub(crate) fn to_json(&self) -> serde_json::Value {
        let steps = self.steps.iter().map(|step| {
            serde_json::json!({"side": step.side.name(), "path": step.path, "action": step.action.to_string()})
        });
        serde_json::json!({"steps": steps.collect::<Vec<_>>(), "warnings": self.warnings})
    }
}

fn list<T>(items: &[T], name: impl Fn(&T) -> String) -> String {
    items.iter().map(name).collect::<Vec<_>>().join(" ")
}

fn kinds(kinds: &[NamespaceKind]) -> String {
    list(kinds, |kind| kind.name().to_owned())
}

fn tree(source: &TreeSource) -> String {
    let recursive = if source.recursive { ", recursive" } else { "" };
    let by = if source.by_host { "" } else { ", by path" };
    format!("{}{recursive}{by}", source.path)
}

/// `: nosuid nodev`, or nothing.
fn options(options: &MountOptions) -> String {
    let mut words = Vec::new();
    for (prefix, set, clear) in [
        ("", options.set, options.clear),
        ("r", options.recursive_set, options.recursive_clear),
    ] {
        for (attribute, _, name) in ATTRIBUTES {
            if set & attribute != 0 {
                words.push(format!("{prefix}{name}"));
            } else if clear & attribute != 0 {
                words.push(format!("{prefix}{name}=off"));
            }
        }
        match (set & attr::ATIME, clear & attr::ATIME) {
            (attr::NOATIME, _) => words.push(format!("{prefix}noatime")),
            (attr::STRICTATIME, _) => words.push(format!("{prefix}strictatime")),
            (0, 0) => {}
            _ => words.push(format!("{prefix}relatime")),
        }
    }
    for (flag, name) in SUPERBLOCK {
        if options.superblock & flag != 0 {
            words.push(
                name.unwrap_or(if flag == ms::SILENT {
                    "silent"
                } else {
                    "iversion"
                })
                .to_owned(),
            );
        }
    }
    if options.copy_up {
        words.push("tmpcopyup".to_owned());
    }
    words.extend(options.data.iter().map(|(key, value)| match value {
        Some(value) => format!("{key}={value}"),
        None => key.clone(),
    }));
    if words.is_empty() {
        String::new()
    } else {
        format!(": {}", words.join(" "))
    }
}

fn propagation(flags: u64) -> &'static str {
    match flags & !ms::REC {
        ms::SHARED => "shared",
        ms::SLAVE => "slave",
        ms::PRIVATE => "private",
        _ => "unbindable",
    }
}

fn limits(limits: &[Rlimit]) -> String {
    list(limits, |limit| {
        format!("{}={}:{}", limit.name, limit.soft, limit.hard)
    })
}

fn maps(maps: &[IdMapping]) -> String {
    list(maps, |map| {
        format!("{}:{}:{}", map.container, map.host, map.size)
    })
}

fn id_map(map: &IdMap, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let all = if map.recursive { ", all below too" } else { "" };
    match &map.maps {
        Maps::These { uids, gids } => {
            write!(f, ", uids mapped {}, gids {}{all}", maps(uids), maps(gids))
        }
        Maps::Of(path) => write!(f, ", ids mapped as in {path}{all}"),
    }
}

/// Names of the capabilities in a set.
pub(crate) fn capabilities(bits: u64) -> String {
    let mut known: Vec<_> = caps::all().into_iter().collect();
    known.sort_by_key(caps::Capability::index);
    let names: Vec<_> = known
        .iter()
        .filter(|cap| bits & cap.bitmask() != 0)
        .map(ToString::to_string)
        .collect();
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(" ")
    }
}

impl fmt::Display for HostTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HostTask::IdMaps { uids, gids, writer } => {
                write!(f, "host maps uids {}, gids {}", maps(uids), maps(gids))?;
                match writer {
                    MapWriter::Ourselves => Ok(()),
                    MapWriter::OwnIds { .. } => f.write_str(", without setgroups"),
                    MapWriter::Helpers {
                        newuidmap,
                        newgidmap,
                    } => {
                        write!(f, ", by {newuidmap} and {newgidmap}")
                    }
                }
            }
            HostTask::OomScore(score) => write!(f, "host sets oom_score_adj = {score}"),
            HostTask::CatchUp => write!(f, "host ends its steps above"),
            HostTask::Hooks { hooks, .. } => {
                write!(f, "host runs {}", list(hooks, |hook| hook.path.clone()))
            }
            HostTask::Limits(given) => write!(f, "host sets {}", limits(given)),
        }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let groups = self
            .groups
            .as_ref()
            .map_or("unchanged".to_owned(), |groups| {
                list(groups, u32::to_string)
            });
        write!(
            f,
            "uid {}, gid {}, groups {}",
            self.uid,
            self.gid,
            if groups.is_empty() { "none" } else { &groups }
        )
    }
}

impl fmt::Display for Action {
    #[allow(clippy::too_many_lines)] // a table: one line an action
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Action::CreateCgroup { directories } => {
                let mut places: Vec<_> = directories
                    .0
                    .iter()
                    .map(|directory| format!("/{}", directory.path))
                    .collect();
                places.dedup();
                write!(f, "create cgroup {}", places.join(" "))
            }
            Action::StartUnit { unit, properties } => {
                write!(
                    f,
                    "systemd: start {} in {}, with init",
                    unit.name, unit.slice
                )?;
                properties
                    .iter()
                    .try_for_each(|property| write!(f, " {property}"))
            }
            Action::CgroupWrite(write) => {
                write!(f, "cgroup: {} = {}", write.file, write.value)?;
                match &write.missing {
                    Missing::Instead { file, value } => write!(f, ", or {file} = {value}"),
                    Missing::Fails | Missing::InForce => Ok(()),
                }
            }
            Action::CgroupOwner(uid) => write!(f, "cgroup: owner uid {uid}"),
            Action::CgroupDevices(rules) => write!(
                f,
                "cgroup: {} device rules, then the default devices",
                rules.len()
            ),
            Action::Resctrl(rdt) => {
                let class = match &rdt.class {
                    Class::OfContainer => "of its own".to_owned(),
                    Class::Default => "of all".to_owned(),
                    Class::Named(name) => name.clone(),
                };
                write!(f, "join resctrl group {class}")?;
                let lines = rdt.schemata.iter().flat_map(|text| text.lines());
                lines
                    .into_iter()
                    .try_for_each(|line| write!(f, ", {line}"))?;
                let monitored = if rdt.monitoring { ", monitored" } else { "" };
                write!(f, "{monitored}")
            }
            Action::OomScore(score) => write!(f, "set oom_score_adj = {score}"),
            Action::Descriptors => write!(f, "put stdio in place, close the caller's descriptors"),
            Action::HoldProcfs => write!(f, "keep the caller's procfs at hand"),
            Action::AppArmorProfile(name) => write!(f, "AppArmor profile {name} from execve on"),
            Action::SelinuxLabel(label) => {
                write!(f, "SELinux label {label} from execve on, and of keys")
            }
            Action::Receive => write!(f, "wait for the cgroup and the start socket"),
            Action::JoinNamespace { kind, path } => {
                write!(f, "join {} namespace {path}", kind.name())
            }
            Action::Unshare { kinds: list } => write!(f, "new namespaces: {}", kinds(list)),
            Action::Clone {
                kinds: list,
                into_cgroup,
                clone3,
            } => {
                let list = if list.is_empty() {
                    "none".to_owned()
                } else {
                    kinds(list)
                };
                let cgroup = if *into_cgroup {
                    ", into its cgroup2"
                } else {
                    ""
                };
                write!(
                    f,
                    "clone init, new namespaces: {list}{cgroup}{}",
                    if *clone3 { "" } else { " (clone)" }
                )
            }
            Action::Baseline => write!(f, "default signals, nothing blocked"),
            Action::NewSession => write!(f, "new session"),
            Action::JoinCgroup { born_in_v2 } => write!(
                f,
                "join the cgroup{}",
                if *born_in_v2 {
                    " of each v1 hierarchy"
                } else {
                    ""
                }
            ),
            Action::HostTurn(tasks) => write!(f, "wait: {}", list(tasks, ToString::to_string)),
            Action::BecomeRoot => write!(f, "become root of the user namespace"),
            Action::DropDumpable => write!(f, "hide from ptrace and /proc"),
            Action::LoopbackUp => write!(f, "bring lo up"),
            Action::NetlinkSocket => {
                write!(
                    f,
                    "open a netlink socket for the host, wait: host moves devices"
                )
            }
            Action::MoveDevice(device) => {
                write!(f, "move to the container as {}", device.name)
            }
            Action::SetPropagation { flags, .. } => {
                write!(f, "make / {}, recursive", propagation(*flags))
            }
            Action::AttachRoot {
                source, in_place, ..
            } => {
                let place = if *in_place { ", in its place" } else { "" };
                write!(f, "attach root filesystem {}{place}", tree(source))
            }
            Action::MountFilesystem {
                fstype,
                options: given,
                new_api,
                ..
            } => {
                write!(
                    f,
                    "mount {fstype}{}{}",
                    if *new_api { "" } else { " (mount)" },
                    options(given)
                )
            }
            Action::Bind {
                source,
                options: given,
                target,
                ..
            } => {
                match &source.new {
                    Some((fstype, given)) => {
                        write!(f, "mount {fstype} of the host's{}", options(given))?;
                    }
                    None => write!(
                        f,
                        "clone tree {} onto {target}{}",
                        tree(source),
                        options(given)
                    )?,
                }
                match &source.id_map {
                    Some(map) => id_map(map, f),
                    None => Ok(()),
                }
            }
            Action::Remount {
                options: given,
                bind,
                target,
                ..
            } => {
                let what = if *bind { "the mount" } else { "the filesystem" };
                write!(f, "change {what} at {target}{}", options(given))
            }
            Action::TargetPropagation { target, flags, .. } => {
                write!(
                    f,
                    "make {target} {}",
                    list(flags, |flag| propagation(*flag).to_owned())
                )
            }
            Action::TargetReadonly { target, .. } => write!(f, "make {target} read-only"),
            Action::DeviceNode(device) => {
                let kind = if device.kind == libc::S_IFIFO {
                    'p'
                } else if device.kind == libc::S_IFBLK {
                    'b'
                } else {
                    'c'
                };
                let (path, major, minor) = (&device.path, device.major, device.minor);
                write!(
                    f,
                    "make {path} {kind} {major}:{minor} mode {:o} owner {}:{}",
                    device.mode, device.uid, device.gid
                )
            }
            Action::DeviceBind { source, path } => write!(f, "clone {source} onto {path}"),
            Action::Symlink { contents, path } => write!(f, "link {path} to {contents}"),
            Action::SwitchRoot(Switch::Pivot) => {
                write!(f, "pivot to the root filesystem, detach the old root")
            }
            Action::SwitchRoot(Switch::Move) => {
                write!(f, "change root to the attached root filesystem")
            }
            Action::SwitchRoot(Switch::Joined) => write!(f, "take the joined namespace's root"),
            Action::SwitchRoot(Switch::Chroot) => write!(f, "change root to the root filesystem"),
            Action::Console { uid, size, .. } => {
                write!(f, "open a terminal for uid {uid}")?;
                if let Some((rows, columns)) = size {
                    write!(f, " of {rows} rows and {columns} columns")?;
                }
                write!(f, ", send its master to the console socket")
            }
            Action::ControllingTerminal => write!(f, "make it the controlling terminal"),
            Action::OwnNullDevice => write!(f, "/dev/null in place of the host's"),
            Action::EnsureDirectory(path) => write!(f, "make directory {path} unless it is there"),
            Action::RootReadonly { .. } => write!(f, "make the root filesystem read-only"),
            Action::ReadonlyPath { path, .. } => write!(f, "make {path} read-only"),
            Action::MaskPath { path, .. } => write!(f, "mask {path}"),
            Action::Hostname(name) => write!(f, "set hostname {name}"),
            Action::Domainname(name) => write!(f, "set domainname {name}"),
            Action::SessionKeyring(name) => write!(f, "join session keyring {name}"),
            Action::Sysctl { parameter, .. } => {
                write!(
                    f,
                    "write {} to /proc/sys/{}",
                    parameter.value, parameter.path
                )
            }
            Action::Home { uid } => write!(f, "find HOME of uid {uid} in /etc/passwd"),
            Action::Environment { entries, own_pid } => {
                write!(f, "set {}", entries.join(" "))?;
                match own_pid {
                    Some(name) => write!(f, ", {name} to the program's pid"),
                    None => Ok(()),
                }
            }
            Action::FindProgram { name, .. } => write!(f, "look up {name}"),
            Action::Umask(mask) => write!(f, "set umask {mask:04o}"),
            Action::Ready => write!(f, "listen on the start socket: created"),
            Action::ReadyToExecute => write!(f, "tell the host, wait for its word"),
            Action::WaitStart => write!(f, "wait for start"),
            Action::CreateHook(hook) | Action::LateHook(hook) | Action::StartHook { hook, .. } => {
                write!(f, "run hook {}", hook.path)
            }
            Action::Limits(given) => write!(f, "set {}", limits(given)),
            Action::DropBounding { keep } => write!(f, "bounding set: {}", capabilities(*keep)),
            Action::Identity(identity) => write!(f, "become {identity}"),
            Action::WorkingDirectory { path, last } => {
                write!(
                    f,
                    "change directory to {path}{}",
                    if *last { ", if not done" } else { "" }
                )
            }
            Action::InheritableCapabilities(set) => {
                write!(f, "inheritable: {}", capabilities(*set))
            }
            Action::AmbientCapabilities(set) => write!(f, "ambient: {}", capabilities(*set)),
            Action::Capabilities {
                effective,
                permitted,
                ..
            } => {
                write!(
                    f,
                    "effective: {}; permitted: {}",
                    capabilities(*effective),
                    capabilities(*permitted)
                )
            }
            Action::CloseOnExec { extra } => write!(
                f,
                "mark all descriptors close-on-exec but stdio and {extra} more"
            ),
            Action::NoNewPrivileges => write!(f, "set no_new_privs"),
            Action::TimeOffsets(offsets) => {
                write!(f, "set clocks ahead:")?;
                offsets
                    .iter()
                    .try_for_each(|o| write!(f, " {} {}.{:09} s", o.clock, o.secs, o.nanosecs))
            }
            Action::Affinity(Some((cpus, _))) => write!(f, "run on CPUs {cpus}"),
            Action::Affinity(None) => write!(f, "run on all CPUs of the cgroup"),
            Action::Scheduler(given) => write!(
                f,
                "schedule by {}: nice {} priority {} flags {:#x} runtime {} deadline {} period {}",
                given.policy.0,
                given.nice,
                given.priority,
                given.flags,
                given.runtime,
                given.deadline,
                given.period
            ),
            Action::IoPriority(given) => {
                write!(f, "set I/O priority {} {}", given.class.0, given.priority)
            }
            Action::MemoryPolicy(given) => write!(
                f,
                "set memory policy {} ({:#x}), nodes {:?}",
                given.mode, given.bits, given.nodes.0
            ),
            Action::Personality(persona) => write!(f, "set personality {persona:#x}"),
            Action::Filter {
                rules,
                architectures,
                default_action,
                agent,
            } => {
                write!(
                    f,
                    "install filter: {rules} rules, {architectures} architectures, default {default_action}"
                )?;
                match agent {
                    Some(path) => write!(f, ", its listener to {path}"),
                    None => Ok(()),
                }
            }
            Action::Execute {
                name, descriptor, ..
            } => {
                if *descriptor {
                    write!(f, "execute the caller's descriptor")
                } else {
                    write!(f, "execve {name}")
                }
            }
        }
    }
}
