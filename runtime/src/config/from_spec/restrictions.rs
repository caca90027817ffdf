//! `linux.resources` and `linux.seccomp` into our types. Pure.

use super::{Problems, Raw, parse_problem, text};
use crate::config::resources::{
    Access, BlockIo, Cpu, DeviceKind, DeviceRule, HugepageLimit, Memory, Network, Rdma, Resources,
    Seccomp, SeccompAgent, SyscallArg, SyscallRule, Throttle, WeightDevice,
};
use crate::error::Error;
use oci_spec::runtime as oci;
use serde_json::Value;

/// `linux.resources` alone, as `update` is given it.
pub(in crate::config) fn convert_resources(raw: &Raw) -> Result<Resources, Problems> {
    let mut problems = Vec::new();
    let given = raw.get("linux.resources").filter(|given| !given.is_null());
    let given = given.map_or(Ok(oci::LinuxResources::default()), |given| {
        serde_path_to_error::deserialize(given).map_err(|error| {
            let path = format!("linux.resources.{}", error.path());
            vec![parse_problem(&path, &error.into_inner().to_string())]
        })
    })?;
    let resources = resources(&given, raw, &mut problems);
    if problems.is_empty() {
        Ok(resources)
    } else {
        Err(problems)
    }
}

pub(super) fn resources(
    given: &oci::LinuxResources,
    raw: &Raw,
    problems: &mut Problems,
) -> Resources {
    // oci-spec can't tell 0 from absent.
    let pids_limit = raw
        .get("linux.resources.pids.limit")
        .and_then(Value::as_i64);
    let rules = given.devices().iter().flatten().enumerate();
    let devices = rules.filter_map(|(index, rule)| match device_rule(rule) {
        Ok(rule) => Some(rule),
        Err(why) => {
            problems.push(Error::config(
                format!("linux.resources.devices[{index}]"),
                why,
            ));
            None
        }
    });
    let devices = devices.collect();
    let cpu = given.cpu().as_ref();
    let cpu = cpu.map(|given| cpu_of(given, problems)).unwrap_or_default();
    let rdma = |given: &oci::LinuxRdma| Rdma {
        handles: given.hca_handles(),
        objects: given.hca_objects(),
    };
    let rdmas = given.rdma().iter().flatten();
    let hugepages = given.hugepage_limits().iter().flatten();
    Resources {
        devices,
        memory: given.memory().as_ref().map(memory).unwrap_or_default(),
        cpu,
        pids_limit,
        block_io: given.block_io().as_ref().map(block_io).unwrap_or_default(),
        hugepages: hugepages
            .map(|given| HugepageLimit {
                page_size: given.page_size().clone(),
                limit: given.limit(),
            })
            .collect(),
        network: given.network().as_ref().map(network).unwrap_or_default(),
        rdma: rdmas
            .map(|(name, given)| (name.clone(), rdma(given)))
            .collect(),
        unified: given.unified().clone().into_iter().flatten().collect(),
    }
}

#[allow(deprecated)] // of kernel memory; that is said in a warning
fn memory(given: &oci::LinuxMemory) -> Memory {
    Memory {
        limit: given.limit(),
        reservation: given.reservation(),
        swap: given.swap(),
        swappiness: given.swappiness(),
        disable_oom_killer: given.disable_oom_killer().unwrap_or(false),
        kernel: given.kernel(),
        kernel_tcp: given.kernel_tcp(),
        use_hierarchy: given.use_hierarchy().unwrap_or(false),
        check_before_update: given.check_before_update().unwrap_or(false),
    }
}

fn cpu_of(given: &oci::LinuxCpu, problems: &mut Problems) -> Cpu {
    // The kernel takes a list up to a line's end and is silent about the rest.
    let mut list = |name: &str, list: &Option<String>| {
        let list = list.clone().filter(|list| !list.is_empty())?;
        if list.contains(char::is_control) {
            let at = format!("linux.resources.cpu.{name}");
            problems.push(Error::config(at, format!("{list:?} is no list of numbers")));
        }
        Some(list)
    };
    let (cpus, mems) = (list("cpus", given.cpus()), list("mems", given.mems()));
    Cpu {
        shares: given.shares(),
        quota: given.quota(),
        burst: given.burst(),
        period: given.period(),
        idle: given.idle(),
        realtime_runtime: given.realtime_runtime(),
        realtime_period: given.realtime_period(),
        cpus,
        mems,
    }
}

fn block_io(given: &oci::LinuxBlockIo) -> BlockIo {
    let device = |given: &oci::LinuxWeightDevice| WeightDevice {
        major: given.major(),
        minor: given.minor(),
        weight: given.weight(),
        leaf_weight: given.leaf_weight(),
    };
    let throttles = |list: &Option<Vec<oci::LinuxThrottleDevice>>| {
        let list = list.iter().flatten();
        list.map(|given| Throttle {
            major: given.major(),
            minor: given.minor(),
            rate: given.rate(),
        })
        .collect()
    };
    BlockIo {
        weight: given.weight(),
        leaf_weight: given.leaf_weight(),
        weight_devices: given.weight_device().iter().flatten().map(device).collect(),
        read_bps: throttles(given.throttle_read_bps_device()),
        write_bps: throttles(given.throttle_write_bps_device()),
        read_iops: throttles(given.throttle_read_iops_device()),
        write_iops: throttles(given.throttle_write_iops_device()),
    }
}

fn network(given: &oci::LinuxNetwork) -> Network {
    let priorities = given.priorities().iter().flatten();
    Network {
        class_id: given.class_id(),
        priorities: priorities
            .map(|given| (given.name().clone(), given.priority()))
            .collect(),
    }
}

fn device_rule(given: &oci::LinuxDeviceCgroup) -> Result<DeviceRule, &'static str> {
    let kind = match given.typ().unwrap_or_default() {
        oci::LinuxDeviceType::A => DeviceKind::All,
        oci::LinuxDeviceType::B => DeviceKind::Block,
        oci::LinuxDeviceType::C | oci::LinuxDeviceType::U => DeviceKind::Char,
        oci::LinuxDeviceType::P => return Err("type must be a, b or c"),
    };
    // -1 is what engines write for "all".
    let number = |number: Option<i64>| match number {
        None | Some(-1) => Ok(None),
        Some(number) => u32::try_from(number)
            .map(Some)
            .map_err(|_| "device number out of range"),
    };
    let access = given.access().clone().unwrap_or_else(|| "rwm".to_owned());
    if access.is_empty() || access.chars().any(|letter| !"rwm".contains(letter)) {
        return Err("access must be made of r, w and m");
    }
    let access = Access {
        read: access.contains('r'),
        write: access.contains('w'),
        mknod: access.contains('m'),
    };
    Ok(DeviceRule {
        allow: given.allow(),
        kind,
        major: number(given.major())?,
        minor: number(given.minor())?,
        access,
    })
}

pub(super) fn seccomp(given: &oci::LinuxSeccomp) -> Seccomp {
    Seccomp {
        default_action: given.default_action().to_string(),
        default_errno: given.default_errno_ret(),
        architectures: given
            .architectures()
            .iter()
            .flatten()
            .map(ToString::to_string)
            .collect(),
        flags: given
            .flags()
            .as_ref()
            .map(|flags| flags.iter().map(ToString::to_string).collect()),
        syscalls: given
            .syscalls()
            .iter()
            .flatten()
            .map(syscall_rule)
            .collect(),
    }
}

/// config-linux.md#seccomp: without SCMP_ACT_NOTIFY the path is ignored; metadata alone are an error.
pub(super) fn seccomp_agent(
    given: &oci::LinuxSeccomp,
    notifies: bool,
    problems: &mut Vec<Error>,
) -> Option<SeccompAgent> {
    const PATH: &str = "linux.seccomp.listenerPath";
    let path = given.listener_path().as_deref().map(text);
    let path = path.filter(|path| !path.is_empty());
    let metadata = given.listener_metadata().clone();
    let metadata = metadata.filter(|metadata| !metadata.is_empty());
    let mut problem = |at: &str, message: &str| problems.push(Error::config(at, message));
    match &path {
        None if metadata.is_some() => problem(
            "linux.seccomp.listenerMetadata",
            "must not be set without listenerPath",
        ),
        None if notifies => problem(PATH, "is required by SCMP_ACT_NOTIFY"),
        Some(path) if notifies && !path.starts_with('/') => {
            problem(PATH, &format!("{path:?} is not an absolute path"));
        }
        _ => {}
    }
    path.filter(|_| notifies)
        .map(|path| SeccompAgent { path, metadata })
}

fn syscall_rule(given: &oci::LinuxSyscall) -> SyscallRule {
    let args = given.args().iter().flatten().map(|arg| SyscallArg {
        // More than 5 is refused where the filter is built.
        index: u32::try_from(arg.index()).unwrap_or(u32::MAX),
        value: arg.value(),
        value_two: arg.value_two().unwrap_or(0),
        op: arg.op().to_string(),
    });
    SyscallRule {
        names: given.names().clone(),
        action: given.action().to_string(),
        errno: given.errno_ret(),
        args: args.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn none_are_none() {
        let (read, warnings) = Resources::read(Value::Null).unwrap();
        assert_eq!((read, warnings), (Resources::default(), Vec::new()));
    }

    #[test]
    fn a_list_is_one_line() {
        let parse = |json: &str| Resources::parse(json.as_bytes());
        assert!(parse(r#"{"cpu":{"cpus":"0-1","mems":"0"}}"#).is_ok());
        for (field, json) in [
            ("cpus", r#"{"cpu":{"cpus":"0\n,1"}}"#),
            ("mems", r#"{"cpu":{"mems":"0\u0000,1"}}"#),
        ] {
            let problem = parse(json).unwrap_err()[0].to_string();
            assert!(problem.starts_with(&format!("linux.resources.cpu.{field}: ")));
        }
    }
}
