//! De facto, as engines use it: `update`. Each limit is changed while the program runs, by a flag and by JSON, and
//! read back where the kernel keeps it.

use super::cgroups::{controller, needs};
use super::exec::sleeper;
use super::update::{json_update, update};
use crate::cgroups;
use crate::scene::Scene;
use crate::suite::{Case, Check, Known, Suite, View, ensure};

/// A limit, changed twice.
pub(crate) struct Limit {
    name: &'static str,
    view: View,
    controller: &'static str,
    file: &'static str,
    flags: &'static [&'static str],
    expect: &'static str,
    json: &'static str,
    then: &'static str,
    known: Known,
}

const fn limit(
    view: View,
    name: &'static str,
    (controller, file): (&'static str, &'static str),
    (flags, expect): (&'static [&'static str], &'static str),
    (json, then): (&'static str, &'static str),
) -> Limit {
    Limit {
        name,
        view,
        controller,
        file,
        flags,
        expect,
        json,
        then,
        known: &[],
    }
}

impl Limit {
    const fn deviates(self, known: Known) -> Limit {
        Limit { known, ..self }
    }
}

const BURST: Known = &[
    ("runc", "1.1 does not know it"),
    ("crun", "1.8 does not know it"),
];
const WEIGHT: Known = &[
    ("runc", "1.1 has the older conversion"),
    ("crun", "1.8 has the older conversion"),
];

#[rustfmt::skip] // a table: one row, one line
pub(crate) const LIMITS: &[Limit] = &[
    limit(View::V1, "update.memory", ("memory", "memory.limit_in_bytes"), (&["--memory", "67108864"], "67108864"), (r#"{"memory":{"limit":50331648}}"#, "50331648")),
    limit(View::V1, "update.memory-reservation", ("memory", "memory.soft_limit_in_bytes"), (&["--memory-reservation", "33554432"], "33554432"), (r#"{"memory":{"reservation":50331648}}"#, "50331648")),
    limit(View::V1, "update.memory-swap", ("memory", "memory.memsw.limit_in_bytes"), (&["--memory", "67108864", "--memory-swap", "134217728"], "134217728"), (r#"{"memory":{"limit":50331648,"swap":100663296}}"#, "100663296")),
    limit(View::V1, "update.cpu-share", ("cpu", "cpu.shares"), (&["--cpu-share", "512"], "512"), (r#"{"cpu":{"shares":2048}}"#, "2048")),
    limit(View::V1, "update.cpu-quota", ("cpu", "cpu.cfs_quota_us"), (&["--cpu-quota", "50000"], "50000"), (r#"{"cpu":{"quota":70000}}"#, "70000")),
    limit(View::V1, "update.cpu-period", ("cpu", "cpu.cfs_period_us"), (&["--cpu-period", "50000"], "50000"), (r#"{"cpu":{"period":200000}}"#, "200000")),
    limit(View::V1, "update.cpu-burst", ("cpu", "cpu.cfs_burst_us"), (&["--cpu-quota", "50000", "--cpu-burst", "20000"], "20000"), (r#"{"cpu":{"burst":10000}}"#, "10000")).deviates(BURST),
    limit(View::V1, "update.cpu-idle", ("cpu", "cpu.idle"), (&["--cpu-idle", "1"], "1"), (r#"{"cpu":{"idle":0}}"#, "0")).deviates(BURST),
    limit(View::V1, "update.cpuset-cpus", ("cpuset", "cpuset.cpus"), (&["--cpuset-cpus", "0"], "0"), (r#"{"cpu":{"cpus":"0-1"}}"#, "0-1")),
    limit(View::V1, "update.cpuset-mems", ("cpuset", "cpuset.mems"), (&["--cpuset-mems", "0"], "0"), (r#"{"cpu":{"mems":"0"}}"#, "0")),
    limit(View::V1, "update.pids-limit", ("pids", "pids.max"), (&["--pids-limit", "20"], "20"), (r#"{"pids":{"limit":-1}}"#, "max")),
    limit(View::V1, "update.blkio-weight", ("blkio", "blkio.bfq.weight"), (&["--blkio-weight", "300"], "300"), (r#"{"blockIO":{"weight":400}}"#, "400")).deviates(&[("crun", "knows blkio.weight only, not blkio.bfq.weight")]),
    limit(View::V1, "update.hugepages", ("hugetlb", "hugetlb.2MB.limit_in_bytes"), NO_FLAG, (r#"{"hugepageLimits":[{"pageSize":"2MB","limit":4194304}]}"#, "4194304")).deviates(HUGE),

    limit(View::V2, "update.cgroup2.memory", ("memory", "memory.max"), (&["--memory", "67108864"], "67108864"), (r#"{"memory":{"limit":50331648}}"#, "50331648")),
    limit(View::V2, "update.cgroup2.memory-reservation", ("memory", "memory.low"), (&["--memory-reservation", "33554432"], "33554432"), (r#"{"memory":{"reservation":50331648}}"#, "50331648")),
    limit(View::V2, "update.cgroup2.memory-swap", ("memory", "memory.swap.max"), (&["--memory", "67108864", "--memory-swap", "134217728"], "67108864"), (r#"{"memory":{"limit":50331648,"swap":50331648}}"#, "0")),
    limit(View::V2, "update.cgroup2.cpu-share", ("cpu", "cpu.weight"), (&["--cpu-share", "512"], "59"), (r#"{"cpu":{"shares":1024}}"#, "100")).deviates(WEIGHT),
    limit(View::V2, "update.cgroup2.cpu-quota", ("cpu", "cpu.max"), (&["--cpu-quota", "50000"], "50000 100000"), (r#"{"cpu":{"period":200000}}"#, "50000 200000")),
    limit(View::V2, "update.cgroup2.cpu-burst", ("cpu", "cpu.max.burst"), (&["--cpu-quota", "50000", "--cpu-burst", "20000"], "20000"), (r#"{"cpu":{"burst":10000}}"#, "10000")).deviates(BURST),
    limit(View::V2, "update.cgroup2.cpu-idle", ("cpu", "cpu.idle"), (&["--cpu-idle", "1"], "1"), (r#"{"cpu":{"idle":0}}"#, "0")).deviates(BURST),
    limit(View::V2, "update.cgroup2.cpuset-cpus", ("cpuset", "cpuset.cpus"), (&["--cpuset-cpus", "0"], "0"), (r#"{"cpu":{"cpus":"0-1"}}"#, "0-1")),
    limit(View::V2, "update.cgroup2.pids-limit", ("pids", "pids.max"), (&["--pids-limit", "20"], "20"), (r#"{"pids":{"limit":-1}}"#, "max")),
    limit(View::V2, "update.cgroup2.hugepages", ("hugetlb", "hugetlb.2MB.max"), NO_FLAG, (r#"{"hugepageLimits":[{"pageSize":"2MB","limit":4194304}]}"#, "4194304")).deviates(HUGE),
    limit(View::V2, "update.cgroup2.unified", ("hugetlb", "hugetlb.2MB.max"), NO_FLAG, (r#"{"unified":{"hugetlb.2MB.max":"4194304"}}"#, "4194304")),
];

/// It can be given as JSON only.
const NO_FLAG: (&[&str], &str) = (&[], "");

const HUGE: Known = &[("runc", "leaves huge pages out of an update")];

impl Case for Limit {
    fn name(&self) -> String {
        self.name.to_owned()
    }

    fn known(&self) -> Known {
        self.known
    }

    fn view(&self) -> View {
        self.view
    }

    fn check(&self, suite: &Suite) -> Check {
        match self.view {
            View::V1 => needs(self.controller, self.file)?,
            _ => controller(self.controller)?,
        }
        let mut scene = Scene::new(suite)?;
        sleeper(&mut scene)?;
        let read = || cgroups::read(self.controller, &scene.cgroup, self.file);
        if !self.flags.is_empty() {
            update(&scene, self.flags).run()?.must()?;
            let seen = read()?;
            ensure!(seen.trim() == self.expect, "{:?} gave {seen}", self.flags);
        }
        json_update(&scene, self.json)?.must()?;
        let seen = read()?;
        ensure!(seen.trim() == self.then, "{} gave {seen}", self.json);
        scene.must_be("running")
    }
}
