//! What a container uses, by the files of its cgroup; and the kernel's word that it was out of memory.
//!
//! A file that is not there counts nothing: kernels and their configurations differ in what they count.

mod oom;

use super::{Cgroup, Node, dir};
use crate::stats::{
    Blkio, Cpu, CpuUsage, Cpuset, DiskEntry, Hugetlb, Memory, MemoryUsage, Pids, Pressure, Stalled,
    Stats, Throttling,
};
pub(crate) use oom::Oom;
use std::collections::BTreeMap;

impl Cgroup {
    /// All that is counted.
    pub(crate) fn stats(&self) -> Stats {
        let of = |controller| Files(self.controlling(controller));
        let mut stats = Stats::default();
        stats.pids = Pids {
            current: of("pids").number("pids.current"),
            // `max` is no number: none.
            limit: of("pids").parsed("pids.max").unwrap_or(0),
        };
        if self.pure_v2().is_some() {
            let node = of("cgroup");
            stats.cpu = node.cpu_v2();
            stats.cpuset = Cpuset {
                cpus: list(&node.text("cpuset.cpus.effective")),
                mems: list(&node.text("cpuset.mems.effective")),
                ..Cpuset::default()
            };
            stats.memory = node.memory_v2();
            stats.blkio = node.blkio_v2();
        } else {
            stats.cpu = cpu_v1(&of("cpu"), &of("cpuacct"));
            stats.cpuset = of("cpuset").cpuset_v1();
            stats.memory = of("memory").memory_v1();
            stats.blkio = of("blkio").blkio_v1();
        }
        stats.hugetlb = of("hugetlb").hugetlb();
        // Of cgroup2 beside v1 hierarchies too.
        let pressures = Files(self.nodes.iter().find(|node| node.place.is_v2()));
        stats.cpu.pressure = pressures.pressure("cpu.pressure");
        stats.memory.pressure = pressures.pressure("memory.pressure");
        stats.blkio.pressure = pressures.pressure("io.pressure");
        stats
    }
}

/// Control files of one directory, if the container has it.
struct Files<'a>(Option<&'a Node>);

impl Files<'_> {
    fn text(&self, file: &str) -> String {
        let read = self.0.map(|node| dir::read_at(node.dir(), file));
        read.and_then(Result::ok).unwrap_or_default()
    }

    fn parsed<T: std::str::FromStr>(&self, file: &str) -> Option<T> {
        self.text(file).trim().parse().ok()
    }

    fn number(&self, file: &str) -> u64 {
        self.parsed(file).unwrap_or(0)
    }

    /// `max` is more than there can be.
    fn limit(&self, file: &str) -> u64 {
        let text = self.text(file);
        if text.trim() == "max" {
            u64::MAX
        } else {
            text.trim().parse().unwrap_or(0)
        }
    }

    /// Lines of `key value`.
    fn keyed(&self, file: &str) -> BTreeMap<String, u64> {
        let text = self.text(file);
        let lines = text.lines().filter_map(|line| {
            let (key, value) = line.split_once(' ')?;
            Some((key.to_owned(), value.trim().parse().ok()?))
        });
        lines.collect()
    }

    fn pressure(&self, file: &str) -> Option<Pressure> {
        pressure(&self.text(file))
    }

    fn cpu_v2(&self) -> Cpu {
        let stat = self.keyed("cpu.stat");
        let number = |name: &str| stat.get(name).copied().unwrap_or(0);
        Cpu {
            usage: CpuUsage {
                total: nanoseconds(number("usage_usec")),
                kernel: nanoseconds(number("system_usec")),
                user: nanoseconds(number("user_usec")),
                ..CpuUsage::default()
            },
            throttling: Throttling {
                periods: number("nr_periods"),
                throttled_periods: number("nr_throttled"),
                throttled_time: nanoseconds(number("throttled_usec")),
            },
            pressure: None,
        }
    }

    fn cpuset_v1(&self) -> Cpuset {
        Cpuset {
            cpus: list(&self.text("cpuset.cpus")),
            cpu_exclusive: self.number("cpuset.cpu_exclusive"),
            mems: list(&self.text("cpuset.mems")),
            mem_hardwall: self.number("cpuset.mem_hardwall"),
            mem_exclusive: self.number("cpuset.mem_exclusive"),
            memory_migrate: self.number("cpuset.memory_migrate"),
            memory_spread_page: self.number("cpuset.memory_spread_page"),
            memory_spread_slab: self.number("cpuset.memory_spread_slab"),
            memory_pressure: self.number("cpuset.memory_pressure"),
            sched_load_balance: self.number("cpuset.sched_load_balance"),
            sched_relax_domain_level: self.parsed("cpuset.sched_relax_domain_level").unwrap_or(0),
        }
    }

    fn memory_v1(&self) -> Memory {
        let raw = self.keyed("memory.stat");
        let usage = |of: &str| MemoryUsage {
            limit: self.number(&format!("{of}.limit_in_bytes")),
            usage: self.number(&format!("{of}.usage_in_bytes")),
            max: self.number(&format!("{of}.max_usage_in_bytes")),
            failcnt: self.number(&format!("{of}.failcnt")),
        };
        Memory {
            cache: raw.get("cache").copied().unwrap_or(0),
            usage: usage("memory"),
            swap: usage("memory.memsw"),
            kernel: usage("memory.kmem"),
            kernel_tcp: usage("memory.kmem.tcp"),
            raw,
            pressure: None,
        }
    }

    /// cgroup2 counts swap alone; the shape wants it with memory.
    fn memory_v2(&self) -> Memory {
        let raw = self.keyed("memory.stat");
        let met = |file: &str| self.keyed(file).get("max").copied().unwrap_or(0);
        let usage = MemoryUsage {
            limit: self.limit("memory.max"),
            usage: self.number("memory.current"),
            max: self.number("memory.peak"),
            failcnt: met("memory.events"),
        };
        let swap = MemoryUsage {
            limit: self.limit("memory.swap.max").saturating_add(usage.limit),
            usage: self
                .number("memory.swap.current")
                .saturating_add(usage.usage),
            max: 0,
            failcnt: met("memory.swap.events"),
        };
        Memory {
            cache: raw.get("file").copied().unwrap_or(0),
            usage,
            swap,
            raw,
            ..Memory::default()
        }
    }

    /// BFQ's and CFQ's files count only what went through that scheduler; the throttle's count all.
    fn blkio_v1(&self) -> Blkio {
        let count = |name: &str| {
            let files = ["blkio.bfq", "blkio", "blkio.throttle"]
                .map(|prefix| format!("{prefix}.{name}_recursive"));
            let counts = files.iter().map(|file| disk_entries(&self.text(file)));
            let counted = |entries: &Vec<DiskEntry>| entries.iter().any(|entry| entry.value != 0);
            counts.fold(
                Vec::new(),
                |best, next| if counted(&best) { best } else { next },
            )
        };
        Blkio {
            io_service_bytes_recursive: count("io_service_bytes"),
            io_serviced_recursive: count("io_serviced"),
            io_queue_recursive: count("io_queued"),
            io_service_time_recursive: count("io_service_time"),
            io_wait_time_recursive: count("io_wait_time"),
            io_merged_recursive: count("io_merged"),
            io_time_recursive: count("time"),
            sectors_recursive: count("sectors"),
            pressure: None,
        }
    }

    fn blkio_v2(&self) -> Blkio {
        let (bytes, operations) = io_stat(&self.text("io.stat"));
        Blkio {
            io_service_bytes_recursive: bytes,
            io_serviced_recursive: operations,
            ..Blkio::default()
        }
    }

    fn hugetlb(&self) -> BTreeMap<String, Hugetlb> {
        let Some(node) = self.0 else {
            return BTreeMap::new();
        };
        let names = dir::files(node.dir()).unwrap_or_default();
        let of = |name: &str| {
            let (v1, v2) = (
                name.strip_suffix(".usage_in_bytes"),
                name.strip_suffix(".current"),
            );
            let size = v1.or(v2)?.strip_prefix("hugetlb.")?;
            let file = |what: &str| format!("hugetlb.{size}.{what}");
            let met = || self.keyed(&file("events")).get("max").copied().unwrap_or(0);
            let usage = self.number(name);
            let usage = match v1 {
                Some(_) => Hugetlb {
                    usage,
                    max: self.number(&file("max_usage_in_bytes")),
                    failcnt: self.number(&file("failcnt")),
                },
                None => Hugetlb {
                    usage,
                    max: 0,
                    failcnt: met(),
                },
            };
            // `2MB.rsvd` is another limit of the same pages.
            (!size.contains('.')).then(|| (size.to_owned(), usage))
        };
        names.iter().filter_map(|name| of(name)).collect()
    }
}

/// The accounts may be in another hierarchy than the limits.
fn cpu_v1(cpu: &Files<'_>, account: &Files<'_>) -> Cpu {
    let all = account.text("cpuacct.usage_all");
    let column = |index: usize| {
        let lines = all.lines().skip(1);
        let numbers = lines.filter_map(|line| line.split(' ').nth(index)?.parse().ok());
        numbers.collect::<Vec<u64>>()
    };
    let stat = cpu.keyed("cpu.stat");
    let number = |name: &str| stat.get(name).copied().unwrap_or(0);
    let percpu = account.text("cpuacct.usage_percpu");
    Cpu {
        usage: CpuUsage {
            total: account.number("cpuacct.usage"),
            percpu: percpu
                .split_whitespace()
                .filter_map(|word| word.parse().ok())
                .collect(),
            percpu_kernel: column(2),
            percpu_user: column(1),
            kernel: account.number("cpuacct.usage_sys"),
            user: account.number("cpuacct.usage_user"),
        },
        throttling: Throttling {
            periods: number("nr_periods"),
            throttled_periods: number("nr_throttled"),
            throttled_time: number("throttled_time"),
        },
        pressure: None,
    }
}

fn nanoseconds(microseconds: u64) -> u64 {
    microseconds.saturating_mul(1000)
}

/// `0-1,3`
fn list(text: &str) -> Vec<u16> {
    let ranges = text.trim().split(',').filter_map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        Some(first.parse::<u16>().ok()?..=last.parse().ok()?)
    });
    ranges.flatten().collect()
}

/// `8:0 Read 512`, or `8:0 512`; a line of a total has no disk.
fn disk_entries(text: &str) -> Vec<DiskEntry> {
    let entries = text.lines().filter_map(|line| {
        let (disk, rest) = line.split_once(' ')?;
        let (major, minor) = disk.split_once(':')?;
        let (op, value) = rest.rsplit_once(' ').unwrap_or(("", rest));
        Some(DiskEntry {
            major: major.parse().ok()?,
            minor: minor.parse().ok()?,
            op: op.to_owned(),
            value: value.parse().ok()?,
        })
    });
    entries.collect()
}

/// Bytes and operations of `8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6`.
fn io_stat(text: &str) -> (Vec<DiskEntry>, Vec<DiskEntry>) {
    const OPERATIONS: [(&str, &str); 3] = [("r", "Read"), ("w", "Write"), ("d", "Discard")];
    let (mut bytes, mut operations) = (Vec::new(), Vec::new());
    for line in text.lines() {
        let Some((disk, counts)) = line.split_once(' ') else {
            continue;
        };
        for (letter, op) in OPERATIONS {
            let count = |unit: &str| {
                let prefix = format!("{letter}{unit}=");
                counts
                    .split(' ')
                    .find_map(|count| count.strip_prefix(&*prefix))
            };
            for (unit, list) in [("bytes", &mut bytes), ("ios", &mut operations)] {
                if let Some(value) = count(unit) {
                    list.extend(disk_entries(&format!("{disk} {op} {value}")));
                }
            }
        }
    }
    (bytes, operations)
}

/// `some avg10=0.00 avg60=0.00 avg300=0.00 total=0`, and the same of `full`.
fn pressure(text: &str) -> Option<Pressure> {
    let of = |who: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(who))?;
        let field = |name: &str| {
            line.split_whitespace()
                .find_map(|word| word.strip_prefix(name))
        };
        let average = |name: &str| {
            field(name)
                .and_then(|text| text.parse().ok())
                .unwrap_or(0.0)
        };
        Some(Stalled {
            avg10: average("avg10="),
            avg60: average("avg60="),
            avg300: average("avg300="),
            total: field("total=")
                .and_then(|text| text.parse().ok())
                .unwrap_or(0),
        })
    };
    // Older kernels have no `full` of CPUs.
    Some(Pressure {
        some: of("some ")?,
        full: of("full ").unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(major: u64, minor: u64, op: &str, value: u64) -> DiskEntry {
        DiskEntry {
            major,
            minor,
            op: op.into(),
            value,
        }
    }

    #[test]
    fn lists_of_numbers() {
        for (text, expect) in [
            ("", &[][..]),
            ("0\n", &[0]),
            ("0-2,5,7-8\n", &[0, 1, 2, 5, 7, 8]),
            ("x,3", &[3]),
        ] {
            assert_eq!(list(text), expect, "{text:?}");
        }
    }

    #[test]
    fn counts_of_disks() {
        let text = "8:0 Read 512\n8:0 Write 0\n8:16 7\nTotal 512\n";
        let expect = [
            entry(8, 0, "Read", 512),
            entry(8, 0, "Write", 0),
            entry(8, 16, "", 7),
        ];
        assert_eq!(disk_entries(text), expect);
        let (bytes, operations) =
            io_stat("254:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6\n7:0 \n");
        assert_eq!(
            bytes,
            [
                entry(254, 0, "Read", 1),
                entry(254, 0, "Write", 2),
                entry(254, 0, "Discard", 5)
            ]
        );
        assert_eq!(operations.len(), 3);
        assert_eq!(operations[1], entry(254, 0, "Write", 4));
    }

    #[test]
    fn pressures() {
        assert_eq!(pressure(""), None);
        let found = pressure("some avg10=1.50 avg60=0.25 avg300=0.00 total=77\n").unwrap();
        assert_eq!(
            (found.some.avg10, found.some.avg60, found.some.total),
            (1.5, 0.25, 77)
        );
        assert_eq!(found.full, Stalled::default());
    }
}
