//! The flags of `update`: the numbers of `linux.resources` that people change by hand.

use super::commands::{Flag, option};

/// What a flag's value is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Property {
    /// A whole number, maybe below zero.
    Number,
    /// Bytes, with `k`, `m` or `g` behind them or without; -1: no limit.
    Bytes,
    Text,
}

const fn number(name: &'static str, help: &'static str) -> Flag {
    option(name, None, "N", help)
}

const fn bytes(name: &'static str, help: &'static str) -> Flag {
    option(name, None, "BYTES", help)
}

const fn text(name: &'static str, value: &'static str, help: &'static str) -> Flag {
    option(name, None, value, help)
}

#[rustfmt::skip] // a table: one row, one line
pub(super) const FLAGS: &[Flag] = &[
    option("resources", Some('r'), "FILE", "linux.resources as JSON, - for standard input; other flags are ignored then"),
    number("blkio-weight", "share of disks, 10 to 1000"),
    number("cpu-period", "period of the CPU quota, in microseconds"),
    number("cpu-quota", "CPU time in a period, in microseconds; -1: no limit"),
    number("cpu-burst", "unused quota that may be kept, in microseconds"),
    number("cpu-share", "share of CPU time, 2 to 262144"),
    number("cpu-rt-period", "period of the realtime limit, in microseconds"),
    number("cpu-rt-runtime", "realtime CPU time in a period, in microseconds"),
    text("cpuset-cpus", "LIST", "CPUs to use, such as 0-2,4"),
    text("cpuset-mems", "LIST", "memory nodes to use"),
    number("cpu-idle", "1: only CPU time that nobody else wants"),
    bytes("memory", "limit on memory; -1: none, on swap neither"),
    bytes("memory-reservation", "soft limit on memory"),
    bytes("memory-swap", "limit on memory and swap together; -1: none"),
    // No kernel heeds them any more; engines of before still give them.
    bytes("kernel-memory", ""),
    bytes("kernel-memory-tcp", ""),
    number("pids-limit", "number of processes; -1: any"),
    text("l3-cache-schema", "SCHEMA", "share of the L3 cache, such as L3:0=f;1=f"),
    text("mem-bw-schema", "SCHEMA", "share of memory bandwidth, such as MB:0=20;1=70"),
];

/// Flag, object of `linux.resources`, its member, and how it is written.
pub(crate) const UPDATES: &[(&str, &str, &str, Property)] = &[
    ("blkio-weight", "blockIO", "weight", Property::Number),
    ("cpu-period", "cpu", "period", Property::Number),
    ("cpu-quota", "cpu", "quota", Property::Number),
    ("cpu-burst", "cpu", "burst", Property::Number),
    ("cpu-share", "cpu", "shares", Property::Number),
    ("cpu-rt-period", "cpu", "realtimePeriod", Property::Number),
    ("cpu-rt-runtime", "cpu", "realtimeRuntime", Property::Number),
    ("cpuset-cpus", "cpu", "cpus", Property::Text),
    ("cpuset-mems", "cpu", "mems", Property::Text),
    ("cpu-idle", "cpu", "idle", Property::Number),
    ("memory", "memory", "limit", Property::Bytes),
    (
        "memory-reservation",
        "memory",
        "reservation",
        Property::Bytes,
    ),
    ("memory-swap", "memory", "swap", Property::Bytes),
    ("pids-limit", "pids", "limit", Property::Number),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_property_has_its_flag() {
        for (name, ..) in UPDATES {
            assert!(FLAGS.iter().any(|flag| flag.name == *name), "{name}");
        }
    }
}
