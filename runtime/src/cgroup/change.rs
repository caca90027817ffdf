//! Limits of a container that runs: what is known of its cgroup without asking the host, and what its files said
//! before, to be put back when an update fails.

use super::{Cgroup, Facts, Missing, Version, Write, dir};
use crate::Error;

/// What a file said before a write.
#[derive(Debug)]
pub(crate) struct Before {
    write: Write,
    text: String,
}

impl Cgroup {
    /// What `compile` asks, of the directories that this container has.
    pub(crate) fn facts(&self) -> Facts {
        if let Some(node) = self.pure_v2() {
            let all = dir::read_path(&format!("{}/cgroup.controllers", node.place.mount));
            return Facts {
                version: Version::V2,
                controllers: all
                    .unwrap_or_default()
                    .split_whitespace()
                    .map(str::to_owned)
                    .collect(),
            };
        }
        let names = self
            .nodes
            .iter()
            .map(|node| node.place.controllers.split(','));
        Facts {
            version: Version::V1,
            controllers: names.flatten().map(str::to_owned).collect(),
        }
    }

    /// Quota (-1: none) and period: of one file, in cgroup2.
    pub(crate) fn cpu_max(&self) -> Option<(i64, u64)> {
        let text = dir::read_at(self.pure_v2()?.dir(), "cpu.max").ok()?;
        let (quota, period) = text.trim().split_once(' ')?;
        let quota = if quota == "max" {
            Some(-1)
        } else {
            quota.parse().ok()
        };
        Some((quota?, period.parse().ok()?))
    }

    /// What the files of these writes say now. What can't be read can't be put back either.
    pub(crate) fn note(&self, writes: &[Write]) -> Vec<Before> {
        let noted = writes.iter().filter_map(|write| {
            let (file, text) = self.reading(write)?;
            let write = Write {
                file,
                ..write.clone()
            };
            Some(Before { write, text })
        });
        noted.collect()
    }

    /// Puts back what says something else now, the last one first.
    pub(crate) fn restore(&self, before: &[Before]) -> Result<(), Error> {
        let changed = before.iter().rev().filter(|before| {
            let now = self.reading(&before.write);
            now.is_some_and(|(_, now)| now != before.text)
        });
        let writes: Vec<Write> = changed
            .filter_map(|Before { write, text }| {
                Some(Write {
                    value: former(&write.file, &write.value, text)?,
                    missing: Missing::Fails,
                    usage: None,
                    ..write.clone()
                })
            })
            .collect();
        self.apply(&writes)
    }

    /// The file that a write goes to, and what it says.
    fn reading(&self, write: &Write) -> Option<(String, String)> {
        let node = self.controlling(&write.controller)?;
        let read = |file: &String| Some((file.clone(), dir::read_at(node.dir(), file).ok()?));
        read(&write.file).or_else(|| match &write.missing {
            Missing::Instead { file, .. } => read(file),
            _ => None,
        })
    }
}

/// Files with a line for each device or the like, and what lifts the limit of one that has no line.
const LISTS: &[(&str, &str)] = &[
    ("blkio.throttle.read_bps_device", "0"),
    ("blkio.throttle.write_bps_device", "0"),
    ("blkio.throttle.read_iops_device", "0"),
    ("blkio.throttle.write_iops_device", "0"),
    ("blkio.weight_device", "0"),
    ("blkio.leaf_weight_device", "0"),
    ("blkio.bfq.weight_device", "0"),
    ("io.max", "rbps=max wbps=max riops=max wiops=max"),
    ("io.weight", "default"),
    ("io.bfq.weight", "default"),
    ("net_prio.ifpriomap", "0"),
    ("rdma.max", "hca_handle=max hca_object=max"),
];

/// What to write into a file, over `value`, to have it say `text` again.
fn former(file: &str, value: &str, text: &str) -> Option<String> {
    if file == "memory.oom_control" {
        return Some(dir::keyed(text, "oom_kill_disable")?.to_string());
    }
    let first = |line: &str| line.split(' ').next().map(str::to_owned);
    let (key, list) = (first(value)?, LISTS.iter().find(|(name, _)| *name == file));
    let line = text.lines().find(|line| first(line).as_ref() == Some(&key));
    match (line, list) {
        (Some(line), _) => Some(line.to_owned()),
        (None, Some((_, lifted))) if value.contains(' ') => Some(format!("{key} {lifted}")),
        // One value; or the first line, which is for all devices.
        (None, _) => Some(text.lines().next()?.trim().to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::former;

    #[test]
    fn what_a_file_said_before() {
        for (file, value, text, expect) in [
            ("pids.max", "5", "max\n", "max"),
            ("cpu.max", "5000 10000", "max 100000\n", "max 100000"),
            ("cpuset.cpus", "0", "0-1\n", "0-1"),
            (
                "memory.oom_control",
                "1",
                "oom_kill_disable 0\nunder_oom 0\n",
                "0",
            ),
            (
                "blkio.throttle.read_bps_device",
                "8:0 5",
                "8:16 7\n8:0 6\n",
                "8:0 6",
            ),
            ("blkio.throttle.read_bps_device", "8:0 5", "", "8:0 0"),
            (
                "io.max",
                "8:0 rbps=5",
                "8:0 rbps=max wbps=9 riops=max wiops=max\n",
                "8:0 rbps=max wbps=9 riops=max wiops=max",
            ),
            (
                "io.max",
                "8:0 rbps=5",
                "8:1 rbps=1\n",
                "8:0 rbps=max wbps=max riops=max wiops=max",
            ),
            ("io.weight", "50", "default 100\n8:0 5\n", "default 100"),
            (
                "io.weight",
                "8:16 50",
                "default 100\n8:0 5\n",
                "8:16 default",
            ),
            ("misc.max", "res_a 5", "res_a max\nres_b 3\n", "res_a max"),
        ] {
            assert_eq!(
                former(file, value, text).as_deref(),
                Some(expect),
                "{file} {value}"
            );
        }
    }
}
