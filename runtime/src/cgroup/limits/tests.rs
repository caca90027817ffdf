//! The limits of config.json as the files of cgroup v1 and v2.

use super::*;

fn facts(version: Version) -> Facts {
    let all = [
        "cpu", "cpuset", "memory", "pids", "blkio", "io", "hugetlb", "net_cls", "net_prio", "rdma",
    ];
    let controllers = all.map(str::to_owned).to_vec();
    Facts {
        version,
        controllers,
    }
}

fn check(version: Version, resources: &Resources, expect: &[&str]) {
    let lines: Vec<String> = match compile(resources, &facts(version)) {
        Ok(writes) => writes
            .iter()
            .map(|w| match &w.missing {
                Missing::Instead { file, value } => {
                    format!("{}={}|{file}={value}", w.file, w.value)
                }
                _ => format!("{}={}", w.file, w.value),
            })
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
            "linux.resources.memory.swappiness: this host's cgroup v2 has nothing like it",
            "linux.resources.memory.disableOOMKiller: this host's cgroup v2 has nothing like it",
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

/// From JSON, as `update` gives it.
fn check_json(version: Version, json: &str, expect: &[&str]) {
    let (resources, _) = Resources::parse(json.as_bytes()).unwrap();
    check(version, &resources, expect);
}

#[test]
fn block_io() {
    let weights = r#"{"blockIO":{"weight":500,"leafWeight":0,"weightDevice":[{"major":8,"minor":0,"weight":17}]}}"#;
    check_json(
        Version::V1,
        weights,
        &[
            "blkio.weight=500|blkio.bfq.weight=500",
            "blkio.weight_device=8:0 17|blkio.bfq.weight_device=8:0 17",
        ],
    );
    check_json(
        Version::V2,
        weights,
        &[
            "io.bfq.weight=500|io.weight=4950",
            "io.bfq.weight=8:0 17|io.weight=8:0 71",
        ],
    );
    let leaf =
        r#"{"blockIO":{"leafWeight":10,"weightDevice":[{"major":8,"minor":0,"leafWeight":20}]}}"#;
    let v1 = ["blkio.leaf_weight=10", "blkio.leaf_weight_device=8:0 20"];
    check_json(Version::V1, leaf, &v1);
    check_json(
        Version::V2,
        leaf,
        &[
            "linux.resources.blockIO.leafWeight: this host's cgroup v2 has nothing like it",
            "linux.resources.blockIO.weightDevice[0].leafWeight: this host's cgroup v2 has nothing like it",
        ],
    );
    let wrong = "linux.resources.blockIO.weight: 9 is not within 10 and 1000";
    check_json(Version::V2, r#"{"blockIO":{"weight":9}}"#, &[wrong]);
}

#[test]
fn block_io_throttles() {
    let json = r#"{"blockIO":{
        "throttleReadBpsDevice":[{"major":8,"minor":0,"rate":100},{"major":8,"minor":16,"rate":0}],
        "throttleWriteBpsDevice":[{"major":8,"minor":0,"rate":200}],
        "throttleReadIOPSDevice":[{"major":8,"minor":0,"rate":300}],
        "throttleWriteIOPSDevice":[{"major":8,"minor":0,"rate":18446744073709551615}]}}"#;
    check_json(
        Version::V1,
        json,
        &[
            "blkio.throttle.read_bps_device=8:0 100",
            "blkio.throttle.read_bps_device=8:16 0",
            "blkio.throttle.write_bps_device=8:0 200",
            "blkio.throttle.read_iops_device=8:0 300",
            "blkio.throttle.write_iops_device=8:0 18446744073709551615",
        ],
    );
    check_json(
        Version::V2,
        json,
        &[
            "io.max=8:0 rbps=100",
            "io.max=8:16 rbps=max",
            "io.max=8:0 wbps=200",
            "io.max=8:0 riops=300",
            "io.max=8:0 wiops=18446744073709551615",
        ],
    );
}

#[test]
fn hugepages() {
    let json = r#"{"hugepageLimits":[{"pageSize":"2MB","limit":0},{"pageSize":"64KB","limit":5}]}"#;
    check_json(
        Version::V1,
        json,
        &[
            "hugetlb.2MB.limit_in_bytes=0",
            "hugetlb.2MB.rsvd.limit_in_bytes=0",
            "hugetlb.64KB.limit_in_bytes=5",
            "hugetlb.64KB.rsvd.limit_in_bytes=5",
        ],
    );
    check_json(
        Version::V2,
        json,
        &[
            "hugetlb.2MB.max=0",
            "hugetlb.2MB.rsvd.max=0",
            "hugetlb.64KB.max=5",
            "hugetlb.64KB.rsvd.max=5",
        ],
    );
    let wrong = r#"{"hugepageLimits":[{"pageSize":"2MB/../../x","limit":0},{"pageSize":"2MB","limit":-1}]}"#;
    check_json(
        Version::V2,
        wrong,
        &[
            "linux.resources.hugepageLimits[0].pageSize: \"2MB/../../x\" is not a page size, such as 2MB",
            "linux.resources.hugepageLimits[1].limit: -1 is not a limit",
        ],
    );
}

#[test]
fn network_is_of_v1() {
    let json = r#"{"network":{"classID":1048577,"priorities":[{"name":"eth0","priority":5},{"name":"a b","priority":1}]}}"#;
    let bad = "linux.resources.network.priorities[1].name: is not the name of an interface";
    check_json(Version::V1, json, &[bad]);
    check_json(
        Version::V1,
        r#"{"network":{"classID":1048577,"priorities":[{"name":"eth0","priority":5}]}}"#,
        &["net_cls.classid=1048577", "net_prio.ifpriomap=eth0 5"],
    );
    check_json(
        Version::V2,
        json,
        &[
            "linux.resources.network.classID: this host's cgroup v2 has nothing like it",
            "linux.resources.network.priorities[0]: this host's cgroup v2 has nothing like it",
            "linux.resources.network.priorities[1]: this host's cgroup v2 has nothing like it",
        ],
    );
    check_json(
        Version::V2,
        r#"{"network":{"classID":0,"priorities":[]}}"#,
        &[],
    );
}

#[test]
fn rdma_is_of_both() {
    let json = r#"{"rdma":{"mlx5_1":{"hcaHandles":3,"hcaObjects":0},"hfi1_0":{"hcaObjects":7},"none":{}}}"#;
    for version in [Version::V1, Version::V2] {
        let expect = [
            "rdma.max=hfi1_0 hca_object=7",
            "rdma.max=mlx5_1 hca_handle=3 hca_object=0",
        ];
        check_json(version, json, &expect);
    }
}

#[test]
fn unified_is_of_v2() {
    let json = r#"{"pids":{"limit":5},"unified":{"pids.max":"10","io.max":"8:0 rbps=1\n8:16 wbps=2\n","memory.unknown":"x","cgroup.max.depth":"3"}}"#;
    check_json(
        Version::V2,
        json,
        &[
            "pids.max=5",
            "cgroup.max.depth=3",
            "io.max=8:0 rbps=1",
            "io.max=8:16 wbps=2",
            "memory.unknown=x",
            "pids.max=10",
        ],
    );
    check_json(
        Version::V1,
        json,
        &["linux.resources.unified: this host has cgroup v1"],
    );
    check_json(Version::V1, r#"{"unified":{}}"#, &[]);
    check_json(
        Version::V2,
        r#"{"unified":{"../memory.max":"1",".max":"1","a":"1","misc.max":"1","pids.max/x":"1"}}"#,
        &[
            "linux.resources.unified (../memory.max): is not CONTROLLER.PARAMETER",
            "linux.resources.unified (.max): is not CONTROLLER.PARAMETER",
            "linux.resources.unified (a): is not CONTROLLER.PARAMETER",
            "linux.resources.unified (misc.max): this host's cgroup2 has no misc controller",
            "linux.resources.unified (pids.max/x): is not CONTROLLER.PARAMETER",
        ],
    );
}

#[test]
fn memory_rest() {
    let json = r#"{"memory":{"kernel":1,"kernelTCP":2,"useHierarchy":true,"limit":9,"checkBeforeUpdate":true}}"#;
    let v1 = ["memory.use_hierarchy=1", "memory.limit_in_bytes=9"];
    check_json(Version::V1, json, &v1);
    check_json(
        Version::V2,
        json,
        &[
            "linux.resources.memory.kernel: this host's cgroup v2 has nothing like it",
            "linux.resources.memory.kernelTCP: this host's cgroup v2 has nothing like it",
        ],
    );
    let json = r#"{"memory":{"kernel":-1,"useHierarchy":true,"limit":9,"checkBeforeUpdate":true}}"#;
    let (resources, warnings) = Resources::parse(json.as_bytes()).unwrap();
    let writes = compile(&resources, &facts(Version::V2)).unwrap();
    assert_eq!((writes.len(), writes[0].usage), (1, Some("memory.current")));
    assert_eq!(warnings.len(), 1);
}

#[test]
fn real_time_is_of_v1() {
    let json = r#"{"cpu":{"realtimeRuntime":950000,"realtimePeriod":1000000}}"#;
    check_json(
        Version::V1,
        json,
        &["cpu.rt_period_us=1000000", "cpu.rt_runtime_us=950000"],
    );
    check_json(
        Version::V2,
        json,
        &[
            "linux.resources.cpu.realtimePeriod: this host's cgroup v2 has nothing like it",
            "linux.resources.cpu.realtimeRuntime: this host's cgroup v2 has nothing like it",
        ],
    );
}

/// As others had them: a weight that overflowed, a limit without swap that left swap unlimited, a swap limit
/// that counted memory too, a reservation that was not limited.
#[test]
fn defect_3_weights() {
    for (given, expect) in [(10, 1), (17, 71), (100, 910), (500, 4950), (1000, 10_000)] {
        let json = format!(r#"{{"blockIO":{{"weight":{given}}}}}"#);
        let expect = format!("io.bfq.weight={given}|io.weight={expect}");
        check_json(Version::V2, &json, &[&expect]);
    }
}

#[test]
fn defect_4_no_swap_beyond_the_limit() {
    let expect = ["memory.swap.max=0", "memory.max=100"];
    check(Version::V2, &memory(Some(100), Some(100)), &expect);
}

#[test]
fn defect_7_swap_without_the_memory() {
    let expect = ["memory.swap.max=200", "memory.max=100"];
    check(Version::V2, &memory(Some(100), Some(300)), &expect);
}

#[test]
fn defect_8_reservations_of_huge_pages() {
    let json = r#"{"hugepageLimits":[{"pageSize":"2MB","limit":4}]}"#;
    let v2 = ["hugetlb.2MB.max=4", "hugetlb.2MB.rsvd.max=4"];
    check_json(Version::V2, json, &v2);
}
