//! What a container uses, in the shape that runc's `events` made known: the serialised form of these types is that
//! JSON. Times are in nanoseconds, memory is in bytes; what the host doesn't count is 0, or left out.
//!
//! ```no_run
//! # fn main() -> longshore::Result<()> {
//! let runtime = longshore::Runtime::builder().build()?;
//! let stats = runtime.open("web1")?.stats()?;
//! println!("{} bytes, {} ns", stats.memory.usage.usage, stats.cpu.usage.total);
//! println!("{}", stats.to_json());
//! # Ok(()) }
//! ```

use serde::Serialize;
use std::collections::BTreeMap;

/// What a container uses. See the [module](self).
#[allow(clippy::manual_non_exhaustive)] // the last field is part of the shape
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Stats {
    /// Time of the CPUs.
    pub cpu: Cpu,
    /// Which CPUs and memory nodes it may use.
    pub cpuset: Cpuset,
    /// Memory and swap.
    pub memory: Memory,
    /// Processes, which here are threads.
    pub pids: Pids,
    /// Disks.
    pub blkio: Blkio,
    /// Huge pages, by their size: `2MB`.
    pub hugetlb: BTreeMap<String, Hugetlb>,
    /// Cache and memory bandwidth.
    #[serde(rename = "intel_rdt")]
    pub rdt: Rdt,
    /// Of network devices that runc's library made, and its command never did.
    network_interfaces: (),
}

impl Stats {
    /// The `data` of a `stats` event, on one line.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// How long processes stalled for want of something. Documentation/accounting/psi.rst
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Pressure {
    /// Some of them at a time.
    pub some: Stalled,
    /// All of them at a time.
    pub full: Stalled,
}

/// The share of time stalled, in per cent of the last seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Stalled {
    /// Of the last 10 seconds.
    pub avg10: f64,
    /// Of the last minute.
    pub avg60: f64,
    /// Of the last five minutes.
    pub avg300: f64,
    /// Microseconds in all.
    pub total: u64,
}

/// Time of the CPUs.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Cpu {
    /// How much was used.
    pub usage: CpuUsage,
    /// How much the quota withheld.
    pub throttling: Throttling,
    /// Waiting for a CPU.
    #[serde(rename = "psi", skip_serializing_if = "Option::is_none")]
    pub pressure: Option<Pressure>,
}

/// Nanoseconds of CPU time.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct CpuUsage {
    /// In all.
    #[serde(skip_serializing_if = "is_zero")]
    pub total: u64,
    /// By CPU. cgroup v1 only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub percpu: Vec<u64>,
    /// The same, of it in the kernel.
    #[serde(rename = "percpu_kernel", skip_serializing_if = "Vec::is_empty")]
    pub percpu_kernel: Vec<u64>,
    /// The same, of it in programs.
    #[serde(rename = "percpu_user", skip_serializing_if = "Vec::is_empty")]
    pub percpu_user: Vec<u64>,
    /// In the kernel.
    pub kernel: u64,
    /// In programs.
    pub user: u64,
}

/// What the CPU quota withheld.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Throttling {
    /// Periods that have passed.
    #[serde(skip_serializing_if = "is_zero")]
    pub periods: u64,
    /// Those in which the quota was used up.
    #[serde(skip_serializing_if = "is_zero")]
    pub throttled_periods: u64,
    /// Nanoseconds withheld.
    #[serde(skip_serializing_if = "is_zero")]
    pub throttled_time: u64,
}

/// CPUs and memory nodes, and the switches of cgroup v1's cpuset.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Cpuset {
    /// CPUs it may use.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cpus: Vec<u16>,
    /// `cpuset.cpu_exclusive`
    pub cpu_exclusive: u64,
    /// Memory nodes it may use.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mems: Vec<u16>,
    /// `cpuset.mem_hardwall`
    pub mem_hardwall: u64,
    /// `cpuset.mem_exclusive`
    pub mem_exclusive: u64,
    /// `cpuset.memory_migrate`
    pub memory_migrate: u64,
    /// `cpuset.memory_spread_page`
    pub memory_spread_page: u64,
    /// `cpuset.memory_spread_slab`
    pub memory_spread_slab: u64,
    /// `cpuset.memory_pressure`
    pub memory_pressure: u64,
    /// `cpuset.sched_load_balance`
    pub sched_load_balance: u64,
    /// `cpuset.sched_relax_domain_level`
    pub sched_relax_domain_level: i64,
}

/// Memory and swap, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Memory {
    /// Pages of files.
    #[serde(skip_serializing_if = "is_zero")]
    pub cache: u64,
    /// Memory.
    pub usage: MemoryUsage,
    /// Memory and swap together.
    pub swap: MemoryUsage,
    /// The kernel's, of it. cgroup v1 only.
    pub kernel: MemoryUsage,
    /// TCP's buffers, of it. cgroup v1 only.
    #[serde(rename = "kernelTCP")]
    pub kernel_tcp: MemoryUsage,
    /// `memory.stat`, by the kernel's names.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub raw: BTreeMap<String, u64>,
    /// Waiting for memory.
    #[serde(rename = "psi", skip_serializing_if = "Option::is_none")]
    pub pressure: Option<Pressure>,
}

/// One limit on memory, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct MemoryUsage {
    /// The limit; a number beyond any memory where there is none.
    pub limit: u64,
    /// Used now.
    #[serde(skip_serializing_if = "is_zero")]
    pub usage: u64,
    /// The most that was used.
    #[serde(skip_serializing_if = "is_zero")]
    pub max: u64,
    /// How many times the limit was met.
    pub failcnt: u64,
}

/// Processes; each thread counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Pids {
    /// How many there are.
    #[serde(skip_serializing_if = "is_zero")]
    pub current: u64,
    /// How many there may be; 0: any number.
    #[serde(skip_serializing_if = "is_zero")]
    pub limit: u64,
}

/// Disks, with what is below the container's cgroup.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Blkio {
    /// Bytes read, written and discarded.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_service_bytes_recursive: Vec<DiskEntry>,
    /// The same in operations.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_serviced_recursive: Vec<DiskEntry>,
    /// Operations that wait. This and the following: of the scheduler BFQ on cgroup v1 only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_queue_recursive: Vec<DiskEntry>,
    /// Nanoseconds that operations took on the disk.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_service_time_recursive: Vec<DiskEntry>,
    /// Nanoseconds that operations waited.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_wait_time_recursive: Vec<DiskEntry>,
    /// Operations that became part of others.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_merged_recursive: Vec<DiskEntry>,
    /// Milliseconds of the disk.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_time_recursive: Vec<DiskEntry>,
    /// Sectors of 512 bytes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sectors_recursive: Vec<DiskEntry>,
    /// Waiting for disks.
    #[serde(rename = "psi", skip_serializing_if = "Option::is_none")]
    pub pressure: Option<Pressure>,
}

/// One count of one disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DiskEntry {
    /// Which disk.
    #[serde(skip_serializing_if = "is_zero")]
    pub major: u64,
    /// Which disk.
    #[serde(skip_serializing_if = "is_zero")]
    pub minor: u64,
    /// `Read`, `Write`, `Discard` and what else the kernel has.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub op: String,
    /// How much.
    #[serde(skip_serializing_if = "is_zero")]
    pub value: u64,
}

/// Huge pages of one size, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Hugetlb {
    /// Used now.
    #[serde(skip_serializing_if = "is_zero")]
    pub usage: u64,
    /// The most that was used. cgroup v1 only.
    #[serde(skip_serializing_if = "is_zero")]
    pub max: u64,
    /// How many times the limit was met.
    pub failcnt: u64,
}

/// Of a container with `linux.intelRdt`: what its class has, and what its group uses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Rdt {
    /// Masks of the L3 cache.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub l3_cache_info: Option<CacheInfo>,
    /// The `L3:` line of the default class.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub l3_cache_schema_root: String,
    /// The same of the container's.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub l3_cache_schema: String,
    /// Shares of memory bandwidth.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mem_bw_info: Option<BandwidthInfo>,
    /// The `MB:` line of the default class.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub mem_bw_schema_root: String,
    /// The same of the container's.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub mem_bw_schema: String,
    /// Memory bandwidth, by domain.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mbm_stats: Vec<Bandwidth>,
    /// Use of the L3 cache, by domain.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cmt_stats: Vec<Occupancy>,
}

/// What masks of the L3 cache there can be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CacheInfo {
    /// The full one.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cbm_mask: String,
    /// The fewest bits.
    #[serde(skip_serializing_if = "is_zero")]
    pub min_cbm_bits: u64,
    /// How many classes.
    #[serde(skip_serializing_if = "is_zero")]
    pub num_closids: u64,
}

/// What shares of memory bandwidth there can be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct BandwidthInfo {
    /// The step, in per cent.
    #[serde(skip_serializing_if = "is_zero")]
    pub bandwidth_gran: u64,
    /// 1: delays grow with the share withheld.
    #[serde(skip_serializing_if = "is_zero")]
    pub delay_linear: u64,
    /// The least, in per cent.
    #[serde(skip_serializing_if = "is_zero")]
    pub min_bandwidth: u64,
    /// How many classes.
    #[serde(skip_serializing_if = "is_zero")]
    pub num_closids: u64,
}

/// Memory traffic of one domain, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Bandwidth {
    /// To all memory.
    pub mbm_total_bytes: u64,
    /// To the domain's own.
    pub mbm_local_bytes: u64,
}

/// Use of one L3 cache, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Occupancy {
    /// Bytes in it.
    pub llc_occupancy: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // as serde wants it
fn is_zero(value: &u64) -> bool {
    *value == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shape_that_is_known() {
        let mut stats = Stats::default();
        stats.cpu.usage.total = 5;
        stats.cpu.throttling.throttled_time = 6;
        stats.hugetlb.insert("2MB".into(), Hugetlb::default());
        let entry = DiskEntry {
            major: 8,
            op: "Read".into(),
            value: 9,
            ..DiskEntry::default()
        };
        stats.blkio.io_service_bytes_recursive.push(entry);
        stats.memory.pressure = Some(Pressure::default());
        let stalled = r#"{"avg10":0.0,"avg60":0.0,"avg300":0.0,"total":0}"#;
        let expect = format!(
            "{}{}{}{stalled},\"full\":{stalled}}}}},{}{}{}",
            r#"{"cpu":{"usage":{"total":5,"kernel":0,"user":0},"throttling":{"throttledTime":6}},"#,
            r#""cpuset":{"cpu_exclusive":0,"mem_hardwall":0,"mem_exclusive":0,"memory_migrate":0,"memory_spread_page":0,"memory_spread_slab":0,"memory_pressure":0,"sched_load_balance":0,"sched_relax_domain_level":0},"#,
            r#""memory":{"usage":{"limit":0,"failcnt":0},"swap":{"limit":0,"failcnt":0},"kernel":{"limit":0,"failcnt":0},"kernelTCP":{"limit":0,"failcnt":0},"psi":{"some":"#,
            r#""pids":{},"blkio":{"ioServiceBytesRecursive":[{"major":8,"op":"Read","value":9}]},"#,
            r#""hugetlb":{"2MB":{"failcnt":0}},"intel_rdt":{},"#,
            r#""network_interfaces":null}"#,
        );
        assert_eq!(stats.to_json(), expect);
    }
}
