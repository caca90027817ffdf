//! `linux.resources.blockIO` as file writes, config-linux.md#block-io. Pure.

use super::{Missing, Output, Version};
use crate::config::resources::{BlockIo, Throttle, WeightDevice};

const BASE: &str = "linux.resources.blockIO";

pub(super) fn compile(io: &BlockIo, out: &mut Output<'_>) {
    for weight in weights(io) {
        match out.facts.version {
            _ if !(10..=1000).contains(&weight.value) => {
                let message = format!("{} is not within 10 and 1000", weight.value);
                out.refuse(&weight.path, message);
            }
            Version::V1 => weight_v1(&weight, out),
            Version::V2 | Version::Absent => weight_v2(&weight, out),
        }
    }
    for (name, v1, v2, list) in [
        ("throttleReadBpsDevice", "read_bps", "rbps", &io.read_bps),
        ("throttleWriteBpsDevice", "write_bps", "wbps", &io.write_bps),
        (
            "throttleReadIOPSDevice",
            "read_iops",
            "riops",
            &io.read_iops,
        ),
        (
            "throttleWriteIOPSDevice",
            "write_iops",
            "wiops",
            &io.write_iops,
        ),
    ] {
        for (index, throttle) in list.iter().enumerate() {
            let path = format!("{BASE}.{name}[{index}]");
            let Throttle { major, minor, rate } = throttle;
            if out.facts.version == Version::V1 {
                let file = format!("blkio.throttle.{v1}_device");
                out.set(&path, "blkio", &file, format!("{major}:{minor} {rate}"));
            } else {
                // On v1 a rate of 0 lifts the limit; v2 has a word for that.
                let rate = if *rate == 0 {
                    "max".to_owned()
                } else {
                    rate.to_string()
                };
                out.set(
                    &path,
                    "io",
                    "io.max",
                    format!("{major}:{minor} {v2}={rate}"),
                );
            }
        }
    }
}

/// The share of a cgroup, or of its own processes beside its children (`leaf`).
struct Weight {
    path: String,
    value: u16,
    leaf: bool,
    /// `major:minor `; empty for all devices.
    device: String,
}

/// A zero is unset.
fn weights(io: &BlockIo) -> impl Iterator<Item = Weight> {
    let all = weight_pair(BASE, "", io.weight, io.leaf_weight);
    let devices = io.weight_devices.iter().enumerate();
    let devices = devices.flat_map(|(index, given)| {
        let WeightDevice {
            major,
            minor,
            weight,
            leaf_weight,
        } = given;
        let (path, device) = (
            format!("{BASE}.weightDevice[{index}]"),
            format!("{major}:{minor} "),
        );
        weight_pair(&path, &device, *weight, *leaf_weight)
    });
    all.into_iter()
        .chain(devices)
        .filter(|weight| weight.value != 0)
}

fn weight_pair(path: &str, device: &str, weight: Option<u16>, leaf: Option<u16>) -> [Weight; 2] {
    [("weight", weight, false), ("leafWeight", leaf, true)].map(|(name, value, leaf)| Weight {
        path: format!("{path}.{name}"),
        value: value.unwrap_or(0),
        leaf,
        device: device.to_owned(),
    })
}

/// Files of CFQ, which went with Linux 5.0; BFQ's, the scheduler that has weights since, have no leaf weight.
fn weight_v1(weight: &Weight, out: &mut Output<'_>) {
    let leaf = if weight.leaf { "leaf_" } else { "" };
    let of = if weight.device.is_empty() {
        ""
    } else {
        "_device"
    };
    let value = format!("{}{}", weight.device, weight.value);
    out.set(
        &weight.path,
        "blkio",
        &format!("blkio.{leaf}weight{of}"),
        &value,
    );
    if !weight.leaf {
        out.or_else(format!("blkio.bfq.weight{of}"), value);
    }
}

fn weight_v2(weight: &Weight, out: &mut Output<'_>) {
    if weight.leaf {
        return out.v1_only(&weight.path);
    }
    let Weight { device, value, .. } = weight;
    out.set(
        &weight.path,
        "io",
        "io.bfq.weight",
        format!("{device}{value}"),
    );
    out.or_else(
        "io.weight".to_owned(),
        format!("{device}{}", io_weight(*value)),
    );
}

/// 10 to 1000 as `io.weight`, 1 to 10000: a straight line, as runc and crun draw it.
fn io_weight(weight: u16) -> u64 {
    1 + (u64::from(weight) - 10) * 9999 / 990
}

impl Output<'_> {
    /// Where the last write's file isn't there, this one takes its place.
    fn or_else(&mut self, file: String, value: String) {
        self.amend(|write| write.missing = Missing::Instead { file, value });
    }
}

#[cfg(test)]
mod tests {
    use super::io_weight;

    #[test]
    fn weight_to_io_weight() {
        for (weight, expect) in [(10, 1), (17, 71), (100, 910), (500, 4950), (1000, 10_000)] {
            assert_eq!(io_weight(weight), expect, "{weight}");
        }
    }
}
