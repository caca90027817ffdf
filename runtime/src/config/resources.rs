//! Limits and the syscall filter as config.json asks for them, normalised.
//! Pure data: no I/O.

use std::collections::BTreeMap;

/// `linux.resources`, config-linux.md#control-groups.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Resources {
    pub(crate) devices: Vec<DeviceRule>,
    pub(crate) memory: Memory,
    pub(crate) cpu: Cpu,
    /// `None`: unset. `Some(-1)`: unlimited. `Some(0)` is a real limit.
    pub(crate) pids_limit: Option<i64>,
    pub(crate) block_io: BlockIo,
    pub(crate) hugepages: Vec<HugepageLimit>,
    pub(crate) network: Network,
    /// By device.
    pub(crate) rdma: BTreeMap<String, Rdma>,
    /// File and value, of cgroup v2.
    pub(crate) unified: BTreeMap<String, String>,
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
    /// cgroup v1 only, and not there any more: warned of in `raw.rs`.
    pub(crate) kernel: Option<i64>,
    pub(crate) kernel_tcp: Option<i64>,
    pub(crate) use_hierarchy: bool,
    pub(crate) check_before_update: bool,
}

/// `linux.resources.cpu`; times in microseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cpu {
    pub(crate) shares: Option<u64>,
    pub(crate) quota: Option<i64>,
    pub(crate) burst: Option<u64>,
    pub(crate) period: Option<u64>,
    pub(crate) idle: Option<i64>,
    /// cgroup v1 only.
    pub(crate) realtime_runtime: Option<i64>,
    /// cgroup v1 only.
    pub(crate) realtime_period: Option<u64>,
    pub(crate) cpus: Option<String>,
    pub(crate) mems: Option<String>,
}

/// `linux.resources.blockIO`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct BlockIo {
    pub(crate) weight: Option<u16>,
    /// cgroup v1 only.
    pub(crate) leaf_weight: Option<u16>,
    pub(crate) weight_devices: Vec<WeightDevice>,
    pub(crate) read_bps: Vec<Throttle>,
    pub(crate) write_bps: Vec<Throttle>,
    pub(crate) read_iops: Vec<Throttle>,
    pub(crate) write_iops: Vec<Throttle>,
}

/// One entry of `linux.resources.blockIO.weightDevice`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WeightDevice {
    pub(crate) major: i64,
    pub(crate) minor: i64,
    pub(crate) weight: Option<u16>,
    pub(crate) leaf_weight: Option<u16>,
}

/// One entry of a `linux.resources.blockIO.throttle*Device`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Throttle {
    pub(crate) major: i64,
    pub(crate) minor: i64,
    /// Bytes or operations a second.
    pub(crate) rate: u64,
}

/// One entry of `linux.resources.hugepageLimits`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HugepageLimit {
    pub(crate) page_size: String,
    pub(crate) limit: i64,
}

/// `linux.resources.network`: cgroup v1 only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Network {
    pub(crate) class_id: Option<u32>,
    /// Interface and priority.
    pub(crate) priorities: Vec<(String, u32)>,
}

/// One device of `linux.resources.rdma`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rdma {
    pub(crate) handles: Option<u32>,
    pub(crate) objects: Option<u32>,
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

impl DeviceRule {
    /// What every list of an engine's begins with: nobody may do anything with any device.
    pub(crate) fn denies_everything(&self) -> bool {
        let Access { read, write, mknod } = self.access;
        let all = self.kind == DeviceKind::All && self.major.is_none() && self.minor.is_none();
        !self.allow && all && read && write && mknod
    }
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

impl Seccomp {
    /// Is there anything that an agent would be asked?
    pub(crate) fn notifies(&self) -> bool {
        let rules = self.syscalls.iter().map(|rule| &rule.action);
        rules
            .chain([&self.default_action])
            .any(|action| action == "SCMP_ACT_NOTIFY")
    }
}

/// Who answers SCMP_ACT_NOTIFY: `linux.seccomp.listenerPath` and `listenerMetadata`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SeccompAgent {
    /// Of a listening Unix stream socket; absolute.
    pub(crate) path: String,
    pub(crate) metadata: Option<String>,
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
