//! What a resctrl group grants and uses. Documentation/filesystems/resctrl.rst

use super::{Place, below, directory, read};
use crate::stats::{Bandwidth, BandwidthInfo, CacheInfo, Occupancy, Rdt};
use std::os::fd::OwnedFd;

impl Place {
    /// What is there of it: a processor has any part of resctrl.
    pub(crate) fn stats(&self) -> Rdt {
        let Ok(root) = directory(&self.root) else {
            return Rdt::default();
        };
        let text = |file: &str| read(&root, file).unwrap_or_default().trim().to_owned();
        let number = |file: &str| text(file).parse().unwrap_or(0);
        let (has_cache, has_bandwidth) = (below(&root, "info/L3"), below(&root, "info/MB"));
        let own = self.open(&self.group).ok();
        let own = own
            .and_then(|own| read(&own, "schemata").ok())
            .unwrap_or_default();
        let all = text("schemata");
        let mut stats = Rdt {
            l3_cache_info: has_cache.is_ok().then(|| CacheInfo {
                cbm_mask: text("info/L3/cbm_mask"),
                min_cbm_bits: number("info/L3/min_cbm_bits"),
                num_closids: number("info/L3/num_closids"),
            }),
            l3_cache_schema_root: line(&all, "L3:"),
            l3_cache_schema: line(&own, "L3:"),
            mem_bw_info: has_bandwidth.is_ok().then(|| BandwidthInfo {
                bandwidth_gran: number("info/MB/bandwidth_gran"),
                delay_linear: number("info/MB/delay_linear"),
                min_bandwidth: number("info/MB/min_bandwidth"),
                num_closids: number("info/MB/num_closids"),
            }),
            mem_bw_schema_root: line(&all, "MB:"),
            mem_bw_schema: line(&own, "MB:"),
            ..Rdt::default()
        };
        let used = self.monitoring().unwrap_or_else(|| self.group.clone());
        if let Ok(group) = self.open(&used) {
            domains(&group, &mut stats);
        }
        stats
    }
}

/// `mon_data/mon_L3_00` and so on, one a cache.
fn domains(group: &OwnedFd, stats: &mut Rdt) {
    for index in 0.. {
        let domain = format!("mon_data/mon_L3_{index:02}");
        if below(group, &domain).is_err() {
            return;
        }
        let number = |file: &str| {
            let text = read(group, &format!("{domain}/{file}")).ok()?;
            text.trim().parse::<u64>().ok()
        };
        if let Some(mbm_total_bytes) = number("mbm_total_bytes") {
            stats.mbm_stats.push(Bandwidth {
                mbm_total_bytes,
                mbm_local_bytes: number("mbm_local_bytes").unwrap_or(0),
            });
        }
        if let Some(llc_occupancy) = number("llc_occupancy") {
            stats.cmt_stats.push(Occupancy { llc_occupancy });
        }
    }
}

/// The line about one resource; the kernel fills lines up with blanks.
fn line(schemata: &str, resource: &str) -> String {
    let mut lines = schemata.lines().map(str::trim);
    lines
        .find(|line| line.starts_with(resource))
        .unwrap_or_default()
        .to_owned()
}
