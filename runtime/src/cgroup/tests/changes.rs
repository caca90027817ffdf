//! Limits of a cgroup that has some already.

use super::*;

/// What `update` does: limits depend on each other, and on those in force.
#[test]
fn limits_are_changed_alone() {
    on_hosts(|layout| {
        let dirs = dirs(layout, &name());
        let cgroup = Cgroup::create(layout, &dirs, "nonce-7").unwrap();
        let update = |json: &str| {
            let (resources, _) = Resources::parse(json.as_bytes()).unwrap();
            cgroup.apply(&compile(&resources, &layout.facts()).unwrap())
        };
        let read = |controller: &str, file: &str| {
            let node = cgroup.controlling(controller).unwrap();
            dir::read_at(node.dir(), file).unwrap().trim().to_owned()
        };
        if matches!(layout, Layout::V2(_)) {
            if layout
                .facts()
                .controllers
                .iter()
                .any(|name| name == "hugetlb")
            {
                let max = "hugetlb.2MB.max";
                update(&format!(r#"{{"unified":{{"{max}":"4194304"}}}}"#)).unwrap();
                assert_eq!(read("hugetlb", max), "4194304");
                update(r#"{"hugepageLimits":[{"pageSize":"2MB","limit":2097152}]}"#).unwrap();
                assert_eq!(read("hugetlb", max), "2097152");
                let error = update(r#"{"hugepageLimits":[{"pageSize":"3MB","limit":0}]}"#);
                let error = error.unwrap_err().to_string();
                assert!(
                    error.contains("hugepageLimits[0]") && !error.contains("controller"),
                    "{error}"
                );
            }
        } else {
            // Up, where memory+swap must go first; down, where memory must.
            for (limit, swap) in [(1, 2), (4, 8), (2, 2), (8, 9)] {
                let (limit, swap) = (limit << 20, swap << 20);
                update(&format!(
                    r#"{{"memory":{{"limit":{limit},"swap":{swap}}}}}"#
                ))
                .unwrap();
                assert_eq!(read("memory", "memory.limit_in_bytes"), limit.to_string());
                assert_eq!(
                    read("memory", "memory.memsw.limit_in_bytes"),
                    swap.to_string()
                );
            }
            // The burst may not be above the quota, on either side of the change.
            for (quota, burst) in [(50_000, 40_000), (20_000, 10_000), (90_000, 80_000)] {
                update(&format!(r#"{{"cpu":{{"quota":{quota},"burst":{burst}}}}}"#)).unwrap();
                assert_eq!(read("cpu", "cpu.cfs_quota_us"), quota.to_string());
                assert_eq!(read("cpu", "cpu.cfs_burst_us"), burst.to_string());
            }
        }
        cgroup.remove(soon()).unwrap();
    });
}

/// A file that the kernel has not is another's place; what is in use is looked at first.
#[test]
fn the_other_file_and_the_usage() {
    on_hosts(|layout| {
        let dirs = dirs(layout, &name());
        let cgroup = Cgroup::create(layout, &dirs, "nonce-8").unwrap();
        let (controller, file) = match layout {
            Layout::V2(_) => ("cgroup", "cgroup.max.depth"),
            _ => ("pids", "pids.max"),
        };
        let write = |value: &str, usage| Write {
            controller: controller.into(),
            file: "no.such".into(),
            value: value.into(),
            config_path: "linux.resources.none".into(),
            missing: Missing::Instead {
                file: file.into(),
                value: "77".into(),
            },
            usage,
        };
        cgroup.apply(&[write("1", None)]).unwrap();
        let node = cgroup.controlling(controller).unwrap();
        assert_eq!(dir::read_at(node.dir(), file).unwrap(), "77\n");
        let fits = [write("77", Some(file)), write("max", Some(file))];
        cgroup.apply(&fits).unwrap();
        let error = cgroup.apply(&[write("76", Some(file))]).unwrap_err();
        let expect = "linux.resources.none: 76 is below the 77 in use";
        assert_eq!(error.to_string(), expect);
        cgroup.remove(soon()).unwrap();
    });
}
