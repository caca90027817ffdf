//! Limits and the syscall filter as config.json asks for them, normalised.
//! Pure data: no I/O.

/// `linux.resources`, config-linux.md#control-groups.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Resources {
    pub(crate) devices: Vec<DeviceRule>,
    pub(crate) memory: Memory,
    pub(crate) cpu: Cpu,
    /// `None`: unset. `Some(-1)`: unlimited. `Some(0)` is a real limit.
    pub(crate) pids_limit: Option<i64>,
}

/// `linux.resources.memory`, in bytes; -1 is unlimited.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Memory {
    pub(crate) limit: Option<i64>,
    pub(crate) reservation: Option<i64>,
    /// Memory and swap together.
    pub(crate) swap: Option<i64>,
    /// cgroup v1 only.
    pub(crate) swappiness: Option<u64>,
    /// cgroup v1 only.
    pub(crate) disable_oom_killer: bool,
}

/// `linux.resources.cpu`; times in microseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cpu {
    pub(crate) shares: Option<u64>,
    pub(crate) quota: Option<i64>,
    pub(crate) burst: Option<u64>,
    pub(crate) period: Option<u64>,
    pub(crate) idle: Option<i64>,
    pub(crate) cpus: Option<String>,
    pub(crate) mems: Option<String>,
}

/// One entry of `linux.resources.devices`, applied in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DeviceRule {
    pub(crate) allow: bool,
    pub(crate) kind: DeviceKind,
    /// `None`: every major number.
    pub(crate) major: Option<u32>,
    /// `None`: every minor number.
    pub(crate) minor: Option<u32>,
    pub(crate) access: Access,
}

/// Which kind of device a rule is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DeviceKind {
    All,
    Char,
    Block,
}

/// The `rwm` of a device rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Access {
    pub(crate) read: bool,
    pub(crate) write: bool,
    pub(crate) mknod: bool,
}

/// `linux.seccomp`, config-linux.md#seccomp. Names are kept as the config
/// spells them (`SCMP_ACT_ERRNO`, `SCMP_ARCH_X86_64`, `SCMP_CMP_MASKED_EQ`);
/// `seccomp.rs` turns them into a filter or an error naming the property.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seccomp {
    pub(crate) default_action: String,
    pub(crate) default_errno: Option<u32>,
    pub(crate) architectures: Vec<String>,
    pub(crate) flags: Option<Vec<String>>,
    pub(crate) syscalls: Vec<SyscallRule>,
}

/// One entry of `linux.seccomp.syscalls`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SyscallRule {
    pub(crate) names: Vec<String>,
    pub(crate) action: String,
    pub(crate) errno: Option<u32>,
    pub(crate) args: Vec<SyscallArg>,
}

/// One entry of `linux.seccomp.syscalls[].args`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SyscallArg {
    pub(crate) index: u32,
    pub(crate) value: u64,
    pub(crate) value_two: u64,
    pub(crate) op: String,
}
