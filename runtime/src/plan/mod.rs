//! The plan: what will be done for a configuration on a host, as data.
//!
//! Pure (invariant 1): `(Config, Request, Facts)` in, a list of typed steps
//! out, each with the property of config.json that it came from. Dry runs,
//! errors, fault injection and golden tests all read this list; `launch` links
//! it to descriptors and runs it.

#![forbid(unsafe_code)]

#[cfg(test)]
mod golden_tests;
mod labels;
mod namespaces;
mod order;
mod process;
mod rootfs;
mod show;

use crate::cgroup;
use crate::config::attributes::{ConsoleSize, IoPriority, MemoryPolicy, Scheduler, TimeOffset};
use crate::config::mount_options::MountOptions;
use crate::config::resources::DeviceRule;
use crate::config::{Hook, IdMapping, NamespaceKind, Rlimit};
use crate::systemd::{Property, Unit};

pub(crate) use rootfs::DEFAULT_DEVICES;

pub(crate) use order::{compile, compile_exec, default_rootfs};

/// Who does a step, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// The host, beside stage 1 up to init's first use of it, or beside init.
    Host,
    /// The first clone, in the caller's namespaces.
    Stage1,
    /// Init, up to "created".
    Init,
    /// Init, from `start` to execve.
    Exec,
    /// The host, when the program runs, or when the container is gone.
    After,
}

/// One step of a plan.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) side: Side,
    /// The property of config.json that asks for it.
    pub(crate) path: String,
    pub(crate) action: Action,
}

/// What the plan, or the record of it, says about a step: config path and action.
pub(crate) trait Described {
    fn path(&self) -> &str;
    fn action(&self) -> String;
}

impl Described for Step {
    fn path(&self) -> &str {
        &self.path
    }
    fn action(&self) -> String {
        self.action.to_string()
    }
}

/// What a caller asks for beside the configuration.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) id: String,
    /// Absolute.
    pub(crate) bundle: String,
    pub(crate) no_pivot: bool,
    pub(crate) new_keyring: bool,
    /// A descriptor will take the terminal's master.
    pub(crate) console: bool,
    /// Descriptors from 3 on that the program gets.
    pub(crate) extra_fds: u32,
    /// The first of them are sockets that the program is told of.
    pub(crate) listen: Option<Listen>,
    /// The directory on the host with the socket on which the program says that it is ready.
    pub(crate) notify: Option<String>,
    /// The program is a descriptor of the caller's instead of `args[0]`.
    pub(crate) program_fd: bool,
    /// One more process of a container that there is.
    pub(crate) exec: bool,
}

/// Where the program finds the socket on which it says that it is ready, and its name there: de facto.
pub(crate) const NOTIFY_DIRECTORY: &str = "/run/notify";
pub(crate) const NOTIFY_NAME: &str = "notify.sock";

/// sd_listen_fds(3)
#[derive(Clone, Debug)]
pub(crate) struct Listen {
    pub(crate) count: usize,
    /// Between colons, as the caller has them.
    pub(crate) names: Option<String>,
}

/// What the plan depends on of the host. Plain data.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    /// May this process use the kernel's mount calls and open what it likes: CAP_SYS_ADMIN.
    pub(crate) privileged: bool,
    /// The same, and not of a user namespace alone: it can make device nodes.
    pub(crate) device_nodes: bool,
    /// For the user namespace that the container gets.
    pub(crate) map_writer: MapWriter,
    /// fsopen(2), open_tree(2), move_mount(2).
    pub(crate) mount_api: bool,
    pub(crate) mount_setattr: bool,
    pub(crate) clone3: bool,
    /// Capabilities that this process can hand on.
    pub(crate) bounding: u64,
    pub(crate) cgroup: cgroup::Facts,
    /// The directories the container's cgroup will have.
    pub(crate) cgroup_directories: cgroup::Directories,
    /// The unit that systemd makes it for, if it does.
    pub(crate) unit: Option<Unit>,
    /// Namespaces joined by path that belong to the user namespace that is joined too.
    pub(crate) owned_by_user: Vec<NamespaceKind>,
    /// Namespaces joined by path that are the caller's own.
    pub(crate) callers_own: Vec<NamespaceKind>,
    /// The security modules in force, of those that a label was asked of.
    pub(crate) apparmor: bool,
    pub(crate) selinux: bool,
    /// Where resctrl is mounted, if the container is to be in a group of it.
    pub(crate) resctrl: Option<String>,
}

impl Facts {
    /// Mounts by descriptor all the way; else mount(2) onto verified procfs links.
    pub(crate) fn new_api(&self) -> bool {
        self.mount_api && self.mount_setattr
    }
}

/// Who writes the maps of a new user namespace. user_namespaces(7)
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum MapWriter {
    /// This process, which has CAP_SETUID and CAP_SETGID.
    Ourselves,
    /// This process without them. The kernel takes its own two ids, if setgroups(2) is denied for ever: what other
    /// groups it has, stay.
    OwnIds { other_groups: bool },
    /// newuidmap(1) and newgidmap(1), by these paths: they know what /etc/subuid and /etc/subgid give this user.
    Helpers {
        newuidmap: String,
        newgidmap: String,
    },
}

/// Where a mount's tree comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TreeSource {
    /// Absolute, on the host.
    pub(crate) path: String,
    pub(crate) recursive: bool,
    /// Cloned by the host and handed over, or by init from its own view.
    pub(crate) by_host: bool,
    /// What the clone becomes before it is attached; 0: it stays its original's peer.
    pub(crate) propagation: u64,
    pub(crate) id_map: Option<IdMap>,
    /// Not a copy of what is at `path`, which only names it, but a new filesystem of this type with these options.
    pub(crate) new: Option<(String, MountOptions)>,
}

/// Whose ids the files of a mount have. mount_setattr(2), MOUNT_ATTR_IDMAP
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IdMap {
    pub(crate) maps: Maps,
    /// Of the mounts below it too.
    pub(crate) recursive: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Maps {
    These {
        uids: Vec<IdMapping>,
        gids: Vec<IdMapping>,
    },
    /// Those of the user namespace at this path.
    Of(String),
}

/// What is done. The names are those of `init`'s operations where there is one.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    // Host
    CreateCgroup {
        directories: cgroup::Directories,
    },
    /// With init in it, which waits meanwhile.
    StartUnit {
        unit: Unit,
        properties: Vec<Property>,
    },
    CgroupWrite(cgroup::Write),
    CgroupDevices(Vec<DeviceRule>),
    /// The container's user may make cgroups below it, and move processes there: an id of the host's.
    CgroupOwner(u32),
    OomScore(i32),
    Resctrl(crate::config::rdt::Rdt),
    /// While init waits at `NetlinkSocket`.
    MoveDevice(crate::config::NetDevice),
    // Stage 1
    Descriptors,
    /// Keeps the caller's procfs at hand.
    HoldProcfs,
    /// What depends on the cgroup comes while we are on our way: in stage 1 if init is cloned into it, else in init;
    /// from systemd, init is put into it meanwhile.
    Receive,
    JoinNamespace {
        kind: NamespaceKind,
        path: String,
    },
    Unshare {
        kinds: Vec<NamespaceKind>,
    },
    Clone {
        kinds: Vec<NamespaceKind>,
        into_cgroup: bool,
        clone3: bool,
    },
    TimeOffsets(Vec<TimeOffset>),
    /// The CPUs to run on, as a list and as a mask; without one all that the cgroup has, whatever the caller's are.
    Affinity(Option<(String, Vec<u8>)>),
    // Init
    Baseline,
    NewSession,
    JoinCgroup {
        born_in_v2: bool,
    },
    /// Init waits while the host does these.
    HostTurn(Vec<HostTask>),
    BecomeRoot,
    DropDumpable,
    LoopbackUp,
    /// The host needs one of the container's network namespace, and init waits while it moves devices.
    NetlinkSocket,
    SetPropagation {
        flags: u64,
        new_api: bool,
    },
    AttachRoot {
        source: TreeSource,
        /// Where hooks look for it: at its path on the host, instead of on top of `/`.
        in_place: bool,
        new_api: bool,
    },
    MountFilesystem {
        fstype: String,
        source: Option<String>,
        options: MountOptions,
        target: String,
        real_directory: bool,
        new_api: bool,
    },
    Bind {
        source: TreeSource,
        options: MountOptions,
        target: String,
        new_api: bool,
    },
    Remount {
        options: MountOptions,
        bind: bool,
        target: String,
        new_api: bool,
    },
    TargetPropagation {
        target: String,
        flags: Vec<u64>,
        new_api: bool,
    },
    TargetReadonly {
        target: String,
        new_api: bool,
    },
    DeviceNode(crate::config::Device),
    DeviceBind {
        source: String,
        path: String,
    },
    Symlink {
        contents: String,
        path: String,
    },
    /// In the container's namespaces, with the runtime's files.
    CreateHook(Hook),
    SwitchRoot(Switch),
    Console {
        uid: u32,
        /// On /dev/console too.
        mount: bool,
        size: Option<ConsoleSize>,
    },
    ControllingTerminal,
    /// Where stdio is the host's null device.
    OwnNullDevice,
    EnsureDirectory(String),
    RootReadonly {
        new_api: bool,
    },
    ReadonlyPath {
        path: String,
        new_api: bool,
    },
    MaskPath {
        path: String,
        new_api: bool,
        by_host: bool,
    },
    Hostname(String),
    Domainname(String),
    SessionKeyring(String),
    Sysctl {
        parameter: crate::config::Sysctl,
        new_api: bool,
    },
    /// Of the program, from execve on.
    AppArmorProfile(String),
    /// The same, and of the keys that are made before.
    SelinuxLabel(String),
    Home {
        uid: u32,
    },
    /// Beside the configuration's; the last is a name, for the program's own pid.
    Environment {
        entries: Vec<String>,
        own_pid: Option<&'static str>,
    },
    FindProgram {
        name: String,
        search: String,
        cwd: String,
    },
    Umask(u32),
    Ready,
    /// The same for a process that no `start` follows.
    ReadyToExecute,
    // Exec
    WaitStart,
    StartHook {
        hook: Hook,
        identity: Identity,
        bounding: u64,
        inheritable: u64,
    },
    Limits(Vec<Rlimit>),
    Scheduler(Scheduler),
    IoPriority(IoPriority),
    MemoryPolicy(MemoryPolicy),
    Personality(u32),
    DropBounding {
        keep: u64,
    },
    Identity(Identity),
    WorkingDirectory {
        path: String,
        last: bool,
    },
    InheritableCapabilities(u64),
    AmbientCapabilities(u64),
    Capabilities {
        effective: u64,
        permitted: u64,
        inheritable: u64,
    },
    CloseOnExec {
        extra: u32,
    },
    NoNewPrivileges,
    Filter {
        rules: usize,
        architectures: usize,
        default_action: String,
        /// The socket that the listener goes to.
        agent: Option<String>,
    },
    Execute {
        name: String,
        search: String,
        args: Vec<String>,
        environment: Vec<String>,
        descriptor: bool,
    },
    // After
    LateHook(Hook),
}

/// The host's part of a turn.
#[derive(Clone, Debug)]
pub(crate) enum HostTask {
    IdMaps {
        uids: Vec<IdMapping>,
        gids: Vec<IdMapping>,
        writer: MapWriter,
    },
    OomScore(i32),
    Hooks {
        kind: &'static str,
        hooks: Vec<Hook>,
    },
    /// Nothing more than its steps beside init: those are done before it takes a turn.
    CatchUp,
    Limits(Vec<Rlimit>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Switch {
    Pivot,
    /// The attached root becomes the root by chroot(2) alone (`--no-pivot`).
    Move,
    /// No mount namespace of our own.
    Chroot,
    /// The mount namespace that was joined has its root.
    Joined,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// `None`: setgroups(2) is denied in this user namespace.
    pub(crate) groups: Option<Vec<u32>>,
}

/// A whole plan.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plan {
    pub(crate) steps: Vec<Step>,
    pub(crate) warnings: Vec<String>,
}

impl Plan {
    /// Does systemd put init into its cgroup? Then it must be cloned before.
    pub(crate) fn starts_unit(&self) -> bool {
        let starts = |step: &Step| matches!(step.action, Action::StartUnit { .. });
        self.steps.iter().any(starts)
    }
}
