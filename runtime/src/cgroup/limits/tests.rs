//! The limits of config.json as the files of cgroup v1 and v2.

use super::*;

fn facts(version: Version) -> Facts {
    let controllers = ["cpu", "cpuset", "memory", "pids"]
        .map(str::to_owned)
        .to_vec();
    Facts {
        version,
        controllers,
    }
}

fn check(version: Version, resources: &Resources, expect: &[&str]) {
    let lines: Vec<String> = match compile(resources, &facts(version)) {
        Ok(writes) => writes
            .iter()
            .map(|w| format!("{}={}", w.file, w.value))
            .collect(),
        Err(errors) => errors.iter().map(ToString::to_string).collect(),
    };
    assert_eq!(lines, expect, "{resources:?}");
}

fn memory(limit: Option<i64>, swap: Option<i64>) -> Resources {
    Resources {
        memory: Memory {
            limit,
            swap,
            ..Memory::default()
        },
        ..Resources::default()
    }
}

fn cpu(cpu: Cpu) -> Resources {
    Resources {
        cpu,
        ..Resources::default()
    }
}

#[test]
fn shares_to_weight() {
    for (shares, expect) in [
        (0, 1),
        (1, 1),
        (2, 1),
        (3, 2),
        (10, 4),
        (102, 17),
        (256, 35),
        (512, 59),
        (1000, 99),
        (1024, 100),
        (2048, 174),
        (4096, 303),
        (10_240, 639),
        (65_536, 3023),
        (262_144, 10_000),
        (u64::MAX, 10_000),
    ] {
        assert_eq!(weight(shares), expect, "{shares}");
    }
    let curve: Vec<u64> = (2..262_145).step_by(7).map(weight).collect();
    assert!(curve.is_sorted() && curve.iter().all(|w| (1..=10_000).contains(w)));
}

#[test]
fn pids_limit() {
    let pids = |limit| Resources {
        pids_limit: Some(limit),
        ..Resources::default()
    };
    for version in [Version::V1, Version::V2] {
        check(version, &pids(0), &["pids.max=0"]);
        check(version, &pids(100), &["pids.max=100"]);
        check(version, &pids(-1), &["pids.max=max"]);
        check(
            version,
            &pids(-2),
            &["linux.resources.pids.limit: -2 is neither a limit nor -1, no limit"],
        );
        check(version, &Resources::default(), &[]);
    }
}

#[test]
fn memory_and_swap_v2() {
    let check = |limit, swap, expect: &[&str]| check(Version::V2, &memory(limit, swap), expect);
    check(Some(100), None, &["memory.max=100"]);
    check(
        Some(100),
        Some(300),
        &["memory.swap.max=200", "memory.max=100"],
    );
    check(
        Some(100),
        Some(100),
        &["memory.swap.max=0", "memory.max=100"],
    );
    check(
        Some(100),
        Some(-1),
        &["memory.swap.max=max", "memory.max=100"],
    );
    check(Some(-1), None, &["memory.swap.max=max", "memory.max=max"]);
    check(
        Some(-1),
        Some(300),
        &["memory.swap.max=300", "memory.max=max"],
    );
    check(Some(0), Some(0), &[]);
    check(None, Some(-1), &["memory.swap.max=max"]);
    check(
        None,
        Some(5),
        &["linux.resources.memory.swap: unable to set swap limit without memory limit"],
    );
    check(
        Some(100),
        Some(50),
        &["linux.resources.memory.swap: memory+swap limit should be >= memory limit"],
    );
}

#[test]
fn memory_v1_limit_before_memsw() {
    let check = |limit, swap, expect: &[&str]| check(Version::V1, &memory(limit, swap), expect);
    check(
        Some(100),
        Some(300),
        &[
            "memory.limit_in_bytes=100",
            "memory.memsw.limit_in_bytes=300",
        ],
    );
    check(
        Some(-1),
        None,
        &["memory.limit_in_bytes=-1", "memory.memsw.limit_in_bytes=-1"],
    );
    check(None, Some(300), &["memory.memsw.limit_in_bytes=300"]);
    check(
        Some(100),
        Some(50),
        &["linux.resources.memory.swap: memory+swap limit should be >= memory limit"],
    );
}

#[test]
fn knobs_of_v1_alone() {
    let mut resources = memory(None, None);
    resources.memory.swappiness = Some(60);
    resources.memory.disable_oom_killer = true;
    check(
        Version::V1,
        &resources,
        &["memory.swappiness=60", "memory.oom_control=1"],
    );
    check(
        Version::V2,
        &resources,
        &[
            "linux.resources.memory.swappiness: cgroup v2 has nothing like it",
            "linux.resources.memory.disableOOMKiller: cgroup v2 has nothing like it",
        ],
    );
    resources.memory = Memory {
        swappiness: Some(101),
        reservation: Some(7),
        ..Memory::default()
    };
    check(
        Version::V1,
        &resources,
        &["linux.resources.memory.swappiness: 101 is not within 0 and 100"],
    );
}

#[test]
fn cpu_times() {
    let times = |quota, period| {
        cpu(Cpu {
            quota,
            period,
            ..Cpu::default()
        })
    };
    check(
        Version::V2,
        &times(Some(5000), None),
        &["cpu.max=5000 100000"],
    );
    check(
        Version::V2,
        &times(Some(5000), Some(9000)),
        &["cpu.max=5000 9000"],
    );
    check(
        Version::V2,
        &times(Some(-1), Some(9000)),
        &["cpu.max=max 9000"],
    );
    check(
        Version::V2,
        &times(Some(0), Some(9000)),
        &["cpu.max=max 9000"],
    );
    check(Version::V2, &times(Some(0), Some(0)), &[]);
    check(
        Version::V1,
        &times(Some(5000), Some(9000)),
        &["cpu.cfs_period_us=9000", "cpu.cfs_quota_us=5000"],
    );
    check(
        Version::V1,
        &times(Some(-5), None),
        &["cpu.cfs_quota_us=-1"],
    );
}

#[test]
fn cpu_rest() {
    let rest = |idle, shares| {
        cpu(Cpu {
            idle,
            shares,
            burst: Some(10),
            cpus: Some("0-1".into()),
            mems: Some("0".into()),
            ..Cpu::default()
        })
    };
    check(
        Version::V2,
        &rest(Some(0), Some(1024)),
        &[
            "cpu.idle=0",
            "cpu.weight=100",
            "cpu.max.burst=10",
            "cpuset.cpus=0-1",
            "cpuset.mems=0",
        ],
    );
    check(
        Version::V2,
        &rest(Some(1), Some(1024)),
        &[
            "cpu.idle=1",
            "cpu.max.burst=10",
            "cpuset.cpus=0-1",
            "cpuset.mems=0",
        ],
    );
    check(
        Version::V1,
        &rest(None, Some(512)),
        &[
            "cpu.shares=512",
            "cpu.cfs_burst_us=10",
            "cpuset.cpus=0-1",
            "cpuset.mems=0",
        ],
    );
    check(
        Version::V1,
        &rest(None, Some(1)),
        &["linux.resources.cpu.shares: 1 is not within 2 and 262144"],
    );
}

#[test]
fn every_missing_controller_is_named() {
    let mut resources = memory(Some(-1), None);
    resources.pids_limit = Some(5);
    let only = |version, name: &str| Facts {
        version,
        controllers: vec![name.to_owned()],
    };
    let errors = |facts| {
        compile(&resources, &facts)
            .unwrap_err()
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        errors(only(Version::V2, "hugetlb")),
        [
            "linux.resources.pids.limit: this host's cgroup2 has no pids controller",
            "linux.resources.memory.limit: this host's cgroup2 has no memory controller",
        ]
    );
    assert_eq!(
        errors(only(Version::V1, "memory")),
        ["linux.resources.pids.limit: this host has no pids cgroup mounted"]
    );
    assert_eq!(
        errors(only(Version::Absent, ""))[0],
        "linux.resources.pids.limit: this host has no cgroups mounted"
    );
}
