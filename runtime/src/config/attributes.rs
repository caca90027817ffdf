//! What one system call sets of a process: scheduler, I/O priority, CPU
//! affinity, personality, memory policy; and the clocks of a time namespace. Pure.

use super::{Config, NamespaceKind};
use crate::error::Error;
use oci_spec::runtime as oci;

type Problems = Vec<Error>;

/// `process.scheduler`, config.md#linux-process, for sched_setattr(2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Scheduler {
    /// Its name, and SCHED_* as a number.
    pub(crate) policy: (String, u32),
    pub(crate) flags: u64,
    pub(crate) nice: i32,
    pub(crate) priority: u32,
    /// Nanoseconds; of SCHED_DEADLINE.
    pub(crate) runtime: u64,
    pub(crate) deadline: u64,
    pub(crate) period: u64,
}

impl Scheduler {
    /// `struct sched_attr`, linux/sched/types.h: the length that has clamps only with one of them.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        const CLAMPS: u64 = 0x60;
        let size: u32 = if self.flags & CLAMPS == 0 { 48 } else { 56 };
        let mut bytes = [size.to_le_bytes(), self.policy.1.to_le_bytes()].concat();
        bytes.extend(self.flags.to_le_bytes());
        bytes.extend(self.nice.to_le_bytes());
        bytes.extend(self.priority.to_le_bytes());
        for time in [self.runtime, self.deadline, self.period] {
            bytes.extend(time.to_le_bytes());
        }
        bytes.resize(size as usize, 0);
        bytes
    }
}

/// `process.ioPriority`, for ioprio_set(2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IoPriority {
    pub(crate) class: (String, u32),
    pub(crate) priority: u32,
}

/// `linux.memoryPolicy`, for set_mempolicy(2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MemoryPolicy {
    pub(crate) mode: String,
    /// MPOL_* with its flags.
    pub(crate) bits: u32,
    /// As the configuration has it, and as a mask.
    pub(crate) nodes: (String, Vec<u8>),
}

/// `process.execCPUAffinity`: lists, and what they are as masks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Affinity {
    pub(crate) initial: Option<(String, Vec<u8>)>,
    pub(crate) last: Option<(String, Vec<u8>)>,
}

/// `linux.timeOffsets` of one clock, for /proc/PID/timens_offsets. time_namespaces(7)
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TimeOffset {
    pub(crate) clock: String,
    pub(crate) secs: i64,
    pub(crate) nanosecs: u32,
}

/// Rows and columns.
pub(crate) type ConsoleSize = (u16, u16);

const POLICIES: [(&str, u32); 6] = [
    ("SCHED_OTHER", 0),
    ("SCHED_FIFO", 1),
    ("SCHED_RR", 2),
    ("SCHED_BATCH", 3),
    ("SCHED_IDLE", 5),
    ("SCHED_DEADLINE", 6),
];

/// linux/sched.h
const SCHEDULER_FLAGS: [(oci::LinuxSchedulerFlag, u64); 7] = [
    (oci::LinuxSchedulerFlag::SchedResetOnFork, 0x01),
    (oci::LinuxSchedulerFlag::SchedFlagReclaim, 0x02),
    (oci::LinuxSchedulerFlag::SchedFlagDLOverrun, 0x04),
    (oci::LinuxSchedulerFlag::SchedFlagKeepPolicy, 0x08),
    (oci::LinuxSchedulerFlag::SchedFlagKeepParams, 0x10),
    (oci::LinuxSchedulerFlag::SchedFlagUtilClampMin, 0x20),
    (oci::LinuxSchedulerFlag::SchedFlagUtilClampMax, 0x40),
];

const IO_CLASSES: [(&str, u32); 3] = [
    ("IOPRIO_CLASS_RT", 1),
    ("IOPRIO_CLASS_BE", 2),
    ("IOPRIO_CLASS_IDLE", 3),
];

/// Their numbers, and whether they must, may or must not name nodes. set_mempolicy(2)
pub(crate) const MEMORY_MODES: [(&str, u32, Nodes); 7] = [
    ("MPOL_DEFAULT", 0, Nodes::None),
    ("MPOL_PREFERRED", 1, Nodes::Any),
    ("MPOL_BIND", 2, Nodes::Some),
    ("MPOL_INTERLEAVE", 3, Nodes::Some),
    ("MPOL_LOCAL", 4, Nodes::None),
    ("MPOL_PREFERRED_MANY", 5, Nodes::Some),
    ("MPOL_WEIGHTED_INTERLEAVE", 6, Nodes::Some),
];

#[derive(Clone, Copy)]
pub(crate) enum Nodes {
    None,
    Some,
    Any,
}

pub(crate) const MEMORY_FLAGS: [(&str, u32); 3] = [
    ("MPOL_F_NUMA_BALANCING", 1 << 13),
    ("MPOL_F_RELATIVE_NODES", 1 << 14),
    ("MPOL_F_STATIC_NODES", 1 << 15),
];

const CLOCKS: [&str; 2] = ["monotonic", "boottime"];

/// The largest numbers that lists may name: the kernel's own bounds.
const MOST_CPUS: usize = 1 << 16;
const MOST_NODES: usize = 1 << 10;

fn number<T: Copy>(table: &[(&str, T)], name: &str) -> Option<T> {
    let row = table.iter().find(|row| row.0 == name);
    row.map(|row| row.1)
}

/// config.md#linux-process: what the policy has no use for must not be there.
pub(super) fn scheduler(given: &oci::Process, problems: &mut Problems) -> Option<Scheduler> {
    const AT: &str = "process.scheduler";
    let given = given.scheduler().as_ref()?;
    let name = given.policy().to_string();
    let Some(policy) = number(&POLICIES, &name) else {
        let message = format!("Linux has no {name}");
        problems.push(Error::unsupported(format!("{AT}.policy"), message));
        return None;
    };
    let mut bad = |field: &str, message: String| {
        problems.push(Error::config(format!("{AT}.{field}"), message));
    };
    let nice = given.nice().unwrap_or(0);
    if !(-20..=19).contains(&nice) {
        bad("nice", format!("{nice} is not within -20 and 19"));
    }
    let realtime = ["SCHED_FIFO", "SCHED_RR"].contains(&&*name);
    let priority = given.priority().unwrap_or(0);
    if !realtime && priority != 0 {
        bad("priority", format!("{name} has none"));
    }
    if realtime && !(1..=99).contains(&priority) {
        bad("priority", format!("{priority} is not within 1 and 99"));
    }
    let times = [
        ("runtime", *given.runtime()),
        ("deadline", *given.deadline()),
        ("period", *given.period()),
    ];
    for (field, _) in times.iter().filter(|(_, time)| time.unwrap_or(0) != 0) {
        if name != "SCHED_DEADLINE" {
            bad(field, format!("{name} has none"));
        }
    }
    let flags = given.flags().iter().flatten();
    let bits = flags.filter_map(|flag| SCHEDULER_FLAGS.iter().find(|row| row.0 == *flag));
    let [runtime, deadline, period] = times.map(|(_, time)| time.unwrap_or(0));
    Some(Scheduler {
        policy: (name, policy),
        flags: bits.fold(0, |bits, row| bits | row.1),
        nice,
        priority: u32::try_from(priority).unwrap_or(0), // refused above
        runtime,
        deadline,
        period,
    })
}

pub(super) fn io_priority(given: &oci::Process, problems: &mut Problems) -> Option<IoPriority> {
    let given = given.io_priority().as_ref()?;
    let name = given.class().to_string();
    let class = number(&IO_CLASSES, &name)?; // unknown names have failed the parse
    let priority = u32::try_from(given.priority()).ok().filter(|n| *n <= 7);
    if priority.is_none() {
        let message = format!("{} is not within 0 and 7", given.priority());
        problems.push(Error::config("process.ioPriority.priority", message));
    }
    Some(IoPriority {
        class: (name, class),
        priority: priority?,
    })
}

pub(super) fn affinity(given: &oci::Process, problems: &mut Problems) -> Affinity {
    let Some(given) = given.exec_cpu_affinity() else {
        return Affinity::default();
    };
    let mut cpus = |field: &str, text: &Option<String>| {
        let text = text.as_ref().filter(|text| !text.is_empty())?;
        let Some(mask) = mask(text, MOST_CPUS) else {
            let at = format!("process.execCPUAffinity.{field}");
            problems.push(Error::config(at, format!("{text:?} is no list of CPUs")));
            return None;
        };
        Some((text.clone(), mask))
    };
    Affinity {
        initial: cpus("initial", given.initial()),
        last: cpus("final", given.cpu_affinity_final()),
    }
}

/// Must be ignored without a terminal; all zeros is what engines write for none.
pub(super) fn console_size(given: &oci::Process, problems: &mut Problems) -> Option<ConsoleSize> {
    let size = given.console_size()?;
    if !given.terminal().unwrap_or(false) || (size.height(), size.width()) == (0, 0) {
        return None;
    }
    let mut side = |field: &str, length: u64| {
        let fits = u16::try_from(length).ok();
        if fits.is_none() {
            let message = format!("{length} is larger than {}", u16::MAX);
            problems.push(Error::config(
                format!("process.consoleSize.{field}"),
                message,
            ));
        }
        fits
    };
    let (height, width) = (side("height", size.height()), side("width", size.width()));
    Some((height?, width?))
}

/// PER_LINUX or PER_LINUX32, personality(2). No flag is defined.
pub(super) fn personality(linux: &oci::Linux, problems: &mut Problems) -> Option<u32> {
    let given = linux.personality().as_ref()?;
    if let Some(flag) = given.flags().iter().flatten().next() {
        let message = format!("unknown flag {flag:?}");
        problems.push(Error::config("linux.personality.flags[0]", message));
    }
    Some(match given.domain() {
        oci::LinuxPersonalityDomain::PerLinux => 0,
        oci::LinuxPersonalityDomain::PerLinux32 => 8,
    })
}

pub(super) fn memory_policy(linux: &oci::Linux, problems: &mut Problems) -> Option<MemoryPolicy> {
    let given = linux.memory_policy().as_ref()?;
    let mode = given.mode().to_string();
    let (_, bits, takes) = MEMORY_MODES.iter().find(|row| row.0 == mode)?; // else the parse has failed
    let text = given.nodes().clone().unwrap_or_default();
    let mut bad = |message: String| {
        problems.push(Error::config("linux.memoryPolicy.nodes", message));
    };
    let Some(nodes) = mask(&text, MOST_NODES) else {
        bad(format!("{text:?} is no list of nodes"));
        return None;
    };
    match (takes, nodes.is_empty()) {
        (Nodes::None, false) => bad(format!("{mode} takes none")),
        (Nodes::Some, true) => bad(format!("{mode} needs some")),
        _ => {}
    }
    let flags = given.flags().iter().flatten();
    let flags = flags.filter_map(|flag| number(&MEMORY_FLAGS, &flag.to_string()));
    Some(MemoryPolicy {
        mode,
        bits: flags.fold(*bits, |bits, flag| bits | flag),
        nodes: (text, nodes),
    })
}

pub(super) fn time_offsets(linux: &oci::Linux, problems: &mut Problems) -> Vec<TimeOffset> {
    const AT: &str = "linux.timeOffsets";
    let mut offsets = Vec::new();
    let given = linux.time_offsets().iter().flatten();
    for (clock, offset) in given {
        let (secs, nanosecs) = (offset.secs().unwrap_or(0), offset.nanosecs().unwrap_or(0));
        if !CLOCKS.contains(&&**clock) {
            let message = "no time namespace has this clock";
            problems.push(Error::config(format!("{AT}.{clock}"), message));
        }
        if nanosecs >= 1_000_000_000 {
            let message = format!("{nanosecs} is a second or more");
            problems.push(Error::config(format!("{AT}.{clock}.nanosecs"), message));
        }
        offsets.push(TimeOffset {
            clock: clock.clone(),
            secs,
            nanosecs,
        });
    }
    offsets.sort_by(|a, b| a.clock.cmp(&b.clock));
    offsets
}

/// Clocks are set before anybody lives by them: in a namespace of our own only.
pub(super) fn check(config: &Config, problems: &mut Problems) {
    if !config.time_offsets.is_empty() && !config.makes(NamespaceKind::Time) {
        let message = "needs a new time namespace";
        problems.push(Error::config("linux.timeOffsets", message));
    }
}

/// `0-3,7` as a bit a number, the lowest first, in words of 64 bits; empty for an empty list.
pub(crate) fn mask(list: &str, most: usize) -> Option<Vec<u8>> {
    if list.trim().is_empty() {
        return Some(Vec::new());
    }
    // How many ranges begin at a number, less those that have ended: a list may name everything a million times.
    let mut edges = vec![0_i32; most + 1];
    let mut end = 0;
    for part in list.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let digits = |text: &str| -> Option<usize> {
            let text = text.trim();
            let plain = text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse().ok().filter(|_| plain)
        };
        let (first, last) = (digits(first)?, digits(last)?);
        if last < first || last >= most {
            return None;
        }
        edges[first] += 1;
        edges[last + 1] -= 1;
        end = end.max(last + 1);
    }
    let mut bytes = vec![0; end.div_ceil(64) * 8];
    let mut open = 0;
    for (number, edge) in edges[..end].iter().enumerate() {
        open += edge;
        if open > 0 {
            bytes[number / 8] |= 1 << (number % 8);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_masks() {
        let check = |list: &str, expect: Option<&[u8]>| {
            assert_eq!(mask(list, 1024).as_deref(), expect, "{list:?}");
        };
        check("", Some(&[]));
        check("0-3,7", Some(&[0x8f, 0, 0, 0, 0, 0, 0, 0]));
        check(
            " 1 , 64",
            Some(&[2, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]),
        );
        let everything = vec!["0-1023"; 100_000].join(",");
        check(&everything, Some(&[0xff; 128]));
        for bad in ["x", "3-1", "1024", "-1", "1-", "1,,2", "+1", "0x1", ","] {
            check(bad, None);
        }
    }
}
