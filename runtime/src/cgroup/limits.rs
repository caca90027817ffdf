//! `linux.resources` as file writes, for either version of cgroups.
//!
//! Pure. What this host or this version can't do is an error that names the
//! property: a limit that was asked for is in force or create fails. A zero
//! counts as unset where engines write zeros for "nothing asked": memory
//! values, `cpu.shares`, `cpu.quota` and `cpu.period`, but not `pids.limit`.
#![forbid(unsafe_code)]

use crate::Error;
use crate::config::resources::{Cpu, Memory, Resources};

mod io;
mod rest;

/// One write to one control file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Write {
    pub(crate) controller: String,
    pub(crate) file: String,
    pub(crate) value: String,
    /// The property it came from.
    pub(crate) config_path: String,
    pub(crate) missing: Missing,
    /// A file with what is in use, which the value must not be below.
    pub(crate) usage: Option<&'static str>,
}

/// What it means that a kernel doesn't have the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    /// It can't do what was asked.
    Fails,
    /// The value is in force already: no swap accounting and "no limit on swap".
    InForce,
    /// It has another file for it.
    Instead { file: String, value: String },
}

/// What the compiler has to know of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) version: Version,
    pub(crate) controllers: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    V1,
    V2,
    /// No cgroups.
    Absent,
}

/// The writes for `resources`, in the order to make them in a new cgroup, or
/// everything that stands against it.
pub(crate) fn compile(resources: &Resources, facts: &Facts) -> Result<Vec<Write>, Vec<Error>> {
    let mut out = Output {
        facts,
        writes: Vec::new(),
        errors: Vec::new(),
    };
    pids(resources.pids_limit, &mut out);
    match facts.version {
        Version::V1 => {
            memory_v1(&resources.memory, &mut out);
            cpu_v1(&resources.cpu, &mut out);
        }
        Version::V2 | Version::Absent => {
            memory_v2(&resources.memory, &mut out);
            cpu_v2(&resources.cpu, &mut out);
        }
    }
    io::compile(&resources.block_io, &mut out);
    rest::hugepages(&resources.hugepages, &mut out);
    rest::network(&resources.network, &mut out);
    rest::rdma(&resources.rdma, &mut out);
    // Last: who names a file means it.
    rest::unified(&resources.unified, &mut out);
    if out.errors.is_empty() {
        Ok(out.writes)
    } else {
        Err(out.errors)
    }
}

/// The writes that make `after` of `before`: what differs, and what is `asked` for once more, since somebody else
/// may have changed the file meanwhile.
pub(crate) fn difference(
    before: &Resources,
    after: &Resources,
    asked: impl Fn(&str) -> bool,
    facts: &Facts,
) -> Result<Vec<Write>, Vec<Error>> {
    let old = compile(before, facts).unwrap_or_default();
    let mut writes = compile(after, facts)?;
    writes.retain(|write| {
        let same = |old: &Write| (&old.file, &old.value) == (&write.file, &write.value);
        asked(&write.config_path) || !old.iter().any(same)
    });
    // The one limit that is in force by a word, and out of force by another.
    if before.memory.disable_oom_killer && !after.memory.disable_oom_killer {
        let oom = old.into_iter().filter(|write| write.config_path == OOM);
        writes.extend(oom.map(|write| Write {
            value: "0".to_owned(),
            ..write
        }));
    }
    Ok(writes)
}

const PIDS: &str = "linux.resources.pids.limit";
const LIMIT: &str = "linux.resources.memory.limit";
const SWAP: &str = "linux.resources.memory.swap";
const RESERVATION: &str = "linux.resources.memory.reservation";
const KERNEL: &str = "linux.resources.memory.kernel";
const KERNEL_TCP: &str = "linux.resources.memory.kernelTCP";
const HIERARCHY: &str = "linux.resources.memory.useHierarchy";
const SWAPPINESS: &str = "linux.resources.memory.swappiness";
const OOM: &str = "linux.resources.memory.disableOOMKiller";
const SHARES: &str = "linux.resources.cpu.shares";
const QUOTA: &str = "linux.resources.cpu.quota";
const PERIOD: &str = "linux.resources.cpu.period";
const BURST: &str = "linux.resources.cpu.burst";
const IDLE: &str = "linux.resources.cpu.idle";
const RT_PERIOD: &str = "linux.resources.cpu.realtimePeriod";
const RT_RUNTIME: &str = "linux.resources.cpu.realtimeRuntime";
const CPUS: &str = "linux.resources.cpu.cpus";
const MEMS: &str = "linux.resources.cpu.mems";

struct Output<'a> {
    facts: &'a Facts,
    writes: Vec<Write>,
    errors: Vec<Error>,
}

impl Output<'_> {
    fn set(&mut self, path: &str, controller: &str, file: &str, value: impl ToString) {
        let mut known = self.facts.controllers.iter();
        // `cgroup.*` are files of every cgroup2.
        let core = controller == "cgroup" && self.facts.version == Version::V2;
        if !core && !known.any(|name| name == controller) {
            return self.missing(path, controller);
        }
        self.writes.push(Write {
            controller: controller.to_owned(),
            file: file.to_owned(),
            value: value.to_string(),
            config_path: path.to_owned(),
            missing: Missing::Fails,
            usage: None,
        });
    }

    /// Changes the write that was just set, if the host has its controller.
    fn amend(&mut self, change: impl FnOnce(&mut Write)) {
        if let Some(write) = self.writes.last_mut() {
            change(write);
        }
    }

    /// config-linux.md#unified: what has no counterpart on v2 must be an error.
    fn v1_only(&mut self, path: &str) {
        self.errors.push(Error::unsupported(
            path,
            "this host's cgroup v2 has nothing like it",
        ));
    }

    fn missing(&mut self, path: &str, controller: &str) {
        let message = match self.facts.version {
            Version::V1 => format!("this host has no {controller} cgroup mounted"),
            Version::V2 => format!("this host's cgroup2 has no {controller} controller"),
            Version::Absent => "this host has no cgroups mounted".to_owned(),
        };
        // A property may become two writes; it is one problem.
        if !self
            .errors
            .iter()
            .any(|error| error.config_path() == Some(path))
        {
            self.errors.push(Error::unsupported(path, message));
        }
    }

    fn refuse(&mut self, path: &str, message: impl Into<String>) {
        self.errors.push(Error::config(path, message));
    }

    /// A limit of which -1 is "none" and less is nonsense.
    fn checked(&mut self, path: &str, value: Option<i64>) -> Option<i64> {
        let value = value?;
        if value < -1 {
            self.refuse(path, format!("{value} is neither a limit nor -1, no limit"));
            return None;
        }
        Some(value)
    }
}

fn pids(limit: Option<i64>, out: &mut Output<'_>) {
    if let Some(limit) = out.checked(PIDS, limit) {
        out.set(PIDS, "pids", "pids.max", or_max(limit));
    }
}

fn or_max(limit: i64) -> String {
    if limit < 0 {
        "max".to_owned()
    } else {
        limit.to_string()
    }
}

/// Limit and memory+swap, zero being unset; checked against each other.
fn limit_and_swap(memory: &Memory, out: &mut Output<'_>) -> (Option<i64>, Option<i64>) {
    let limit = out.checked(LIMIT, memory.limit).filter(|&limit| limit != 0);
    let swap = out.checked(SWAP, memory.swap).filter(|&swap| swap != 0);
    if let (Some(limit @ 0..), Some(swap @ 0..)) = (limit, swap)
        && swap < limit
    {
        out.refuse(SWAP, "memory+swap limit should be >= memory limit");
        return (None, None);
    }
    // Somebody who lifts the limit on memory and says nothing of swap means both.
    let swap = if limit == Some(-1) {
        swap.or(limit)
    } else {
        swap
    };
    (limit, swap)
}

fn memory_v1(memory: &Memory, out: &mut Output<'_>) {
    let (limit, swap) = limit_and_swap(memory, out);
    if memory.use_hierarchy {
        out.set(HIERARCHY, "memory", "memory.use_hierarchy", 1);
    }
    // The kernel keeps limit <= memsw, which is unlimited in a new cgroup.
    if let Some(limit) = limit {
        out.set(LIMIT, "memory", "memory.limit_in_bytes", limit);
    }
    if let Some(swap) = swap {
        out.set(
            swap_path(memory),
            "memory",
            "memory.memsw.limit_in_bytes",
            swap,
        );
        if swap == -1 {
            out.amend(|write| write.missing = Missing::InForce);
        }
    }
    let reservation = out.checked(RESERVATION, memory.reservation);
    if let Some(reservation) = reservation.filter(|&value| value != 0) {
        out.set(
            RESERVATION,
            "memory",
            "memory.soft_limit_in_bytes",
            reservation,
        );
    }
    match memory.swappiness {
        Some(value @ 0..=100) => out.set(SWAPPINESS, "memory", "memory.swappiness", value),
        Some(value) => out.refuse(SWAPPINESS, format!("{value} is not within 0 and 100")),
        None => {}
    }
    if memory.disable_oom_killer {
        out.set(OOM, "memory", "memory.oom_control", 1);
    }
}

fn memory_v2(memory: &Memory, out: &mut Output<'_>) {
    let (limit, swap) = limit_and_swap(memory, out);
    if let Some(value) = swap_v2(limit, swap, out) {
        out.set(
            swap_path(memory),
            "memory",
            "memory.swap.max",
            or_max(value),
        );
        if value <= 0 {
            out.amend(|write| write.missing = Missing::InForce);
        }
    }
    if let Some(limit) = limit {
        out.set(LIMIT, "memory", "memory.max", or_max(limit));
        // v1 refuses such a limit itself; v2 kills until it is kept.
        if memory.check_before_update {
            out.amend(|write| write.usage = Some("memory.current"));
        }
    }
    let reservation = out.checked(RESERVATION, memory.reservation);
    if let Some(reservation) = reservation.filter(|&value| value != 0) {
        out.set(RESERVATION, "memory", "memory.low", or_max(reservation));
    }
    // `use_hierarchy` is how v2 is.
    for (path, asked) in [
        (SWAPPINESS, memory.swappiness.is_some()),
        (OOM, memory.disable_oom_killer),
        (KERNEL, memory.kernel.is_some_and(|limit| limit > 0)),
        (KERNEL_TCP, memory.kernel_tcp.is_some_and(|limit| limit > 0)),
    ] {
        if asked {
            out.v1_only(path);
        }
    }
}

/// Where a swap limit came from: it may be implied by the memory limit.
fn swap_path(memory: &Memory) -> &'static str {
    if memory.swap.is_some_and(|swap| swap != 0) {
        SWAP
    } else {
        LIMIT
    }
}

/// cgroup v2 counts swap alone, config.json memory and swap together.
fn swap_v2(limit: Option<i64>, swap: Option<i64>, out: &mut Output<'_>) -> Option<i64> {
    match (limit, swap?) {
        (_, -1) => Some(-1),
        (Some(-1), swap) => Some(swap),
        (Some(limit), swap) => Some(swap - limit),
        (None, _) => {
            out.refuse(SWAP, "unable to set swap limit without memory limit");
            None
        }
    }
}

fn cpu_v1(cpu: &Cpu, out: &mut Output<'_>) {
    idle(cpu, out);
    match cpu.shares {
        None | Some(0) => {}
        // The kernel clamps silently, which would be another limit than asked.
        Some(shares @ 2..=262_144) if !is_idle(cpu) => out.set(SHARES, "cpu", "cpu.shares", shares),
        Some(2..=262_144) => {}
        Some(shares) => out.refuse(SHARES, format!("{shares} is not within 2 and 262144")),
    }
    // The quota is judged by the period, the burst by the quota.
    if let Some(period) = cpu.period.filter(|&period| period != 0) {
        out.set(PERIOD, "cpu", "cpu.cfs_period_us", period);
    }
    if let Some(quota) = cpu.quota.filter(|&quota| quota != 0) {
        out.set(QUOTA, "cpu", "cpu.cfs_quota_us", quota.max(-1));
    }
    if let Some(burst) = cpu.burst {
        out.set(BURST, "cpu", "cpu.cfs_burst_us", burst);
    }
    // The runtime, nothing in a new cgroup, is judged by the period.
    if let Some(period) = cpu.realtime_period.filter(|&period| period != 0) {
        out.set(RT_PERIOD, "cpu", "cpu.rt_period_us", period);
    }
    if let Some(runtime) = cpu.realtime_runtime.filter(|&runtime| runtime != 0) {
        out.set(RT_RUNTIME, "cpu", "cpu.rt_runtime_us", runtime);
    }
    cpuset(cpu, out);
}

fn cpu_v2(cpu: &Cpu, out: &mut Output<'_>) {
    idle(cpu, out);
    if let Some(shares) = cpu.shares.filter(|&shares| shares != 0 && !is_idle(cpu)) {
        out.set(SHARES, "cpu", "cpu.weight", weight(shares));
    }
    let quota = cpu.quota.filter(|&quota| quota != 0);
    let period = cpu.period.filter(|&period| period != 0);
    if quota.is_some() || period.is_some() {
        let path = if quota.is_some() { QUOTA } else { PERIOD };
        let quota = or_max(quota.unwrap_or(-1));
        out.set(
            path,
            "cpu",
            "cpu.max",
            format!("{quota} {}", period.unwrap_or(100_000)),
        );
    }
    if let Some(burst) = cpu.burst {
        out.set(BURST, "cpu", "cpu.max.burst", burst);
    }
    for (path, asked) in [
        (
            RT_PERIOD,
            cpu.realtime_period.is_some_and(|period| period != 0),
        ),
        (
            RT_RUNTIME,
            cpu.realtime_runtime.is_some_and(|runtime| runtime != 0),
        ),
    ] {
        if asked {
            out.v1_only(path);
        }
    }
    cpuset(cpu, out);
}

fn is_idle(cpu: &Cpu) -> bool {
    cpu.idle == Some(1)
}

/// Before the weight, which the kernel refuses (and doesn't use) in an idle
/// cgroup.
fn idle(cpu: &Cpu, out: &mut Output<'_>) {
    if let Some(idle) = cpu.idle {
        out.set(IDLE, "cpu", "cpu.idle", idle);
    }
}

fn cpuset(cpu: &Cpu, out: &mut Output<'_>) {
    for (path, file, value) in [
        (CPUS, "cpuset.cpus", &cpu.cpus),
        (MEMS, "cpuset.mems", &cpu.mems),
    ] {
        if let Some(value) = value.as_ref().filter(|value| !value.is_empty()) {
            out.set(path, "cpuset", file, value);
        }
    }
}

/// `cpu.shares` (2 to 262144, usually 1024) as `cpu.weight` (1 to 10000,
/// usually 100): the quadratic curve in the exponent that runc and crun agreed
/// on, which meets both ends and the default.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss
)]
fn weight(shares: u64) -> u64 {
    match shares {
        0..=2 => 1,
        262_144.. => 10_000,
        shares => {
            let l = (shares as f64).log2();
            let exponent = (l * l + 125.0 * l) / 612.0 - 7.0 / 34.0;
            10f64.powf(exponent).ceil() as u64
        }
    }
}

#[cfg(test)]
mod tests;
