//! Golden plans: each config.json in `tests/golden`, compiled against fixed
//! facts, must give the plan beside it. `UPDATE_GOLDEN=1` rewrites them;
//! reviewers read the difference.

use super::{Facts, Listen, MapWriter, Request, compile};
use crate::cgroup::{self, Directories, Directory, Version};
use crate::config::{Config, NamespaceKind};
use crate::systemd::Unit;
use std::fs;
use std::path::PathBuf;

/// A host with all that there is, on cgroup v2.
fn facts(id: &str) -> Facts {
    let directory = Directory {
        controllers: String::new(),
        mount: "/sys/fs/cgroup".to_owned(),
        path: id.to_owned(),
        existing: false,
    };
    let controllers = ["cpuset", "cpu", "io", "memory", "hugetlb", "pids", "rdma"];
    Facts {
        privileged: true,
        device_nodes: true,
        map_writer: MapWriter::Ourselves,
        mount_api: true,
        mount_setattr: true,
        clone3: true,
        bounding: (1 << 41) - 1,
        cgroup: cgroup::Facts {
            version: Version::V2,
            controllers: controllers.map(str::to_owned).to_vec(),
        },
        cgroup_directories: Directories(vec![directory]),
        unit: None,
        owned_by_user: Vec::new(),
        callers_own: Vec::new(),
        apparmor: true,
        selinux: true,
        resctrl: Some("/sys/fs/resctrl".to_owned()),
    }
}

fn request() -> Request {
    Request {
        id: "golden".to_owned(),
        bundle: "/bundle".to_owned(),
        no_pivot: false,
        new_keyring: true,
        console: false,
        extra_fds: 0,
        listen: None,
        notify: None,
        program_fd: false,
        exec: false,
    }
}

fn on_v1(facts: &mut Facts) {
    let hierarchies = [
        ("cpu,cpuacct", "cpu,cpuacct"),
        ("cpuset", "cpuset"),
        ("memory", "memory"),
        ("pids", "pids"),
        ("blkio", "blkio"),
        ("hugetlb", "hugetlb"),
        ("net_cls,net_prio", "net_cls,net_prio"),
        ("rdma", "rdma"),
        ("name=systemd", "systemd"),
    ];
    let directory = |(controllers, name): (&str, &str)| Directory {
        controllers: controllers.to_owned(),
        mount: format!("/sys/fs/cgroup/{name}"),
        path: "golden".to_owned(),
        existing: false,
    };
    let controllers = hierarchies.iter().flat_map(|(names, _)| names.split(','));
    let controllers = controllers.map(str::to_owned).collect();
    facts.cgroup = cgroup::Facts {
        version: Version::V1,
        controllers,
    };
    facts.cgroup_directories = Directories(hierarchies.map(directory).to_vec());
}

/// What a case has of its own beside its configuration.
fn adjust(case: &str, facts: &mut Facts, request: &mut Request) {
    match case {
        "limits-v1" => on_v1(facts),
        "legacy-mounts" => {
            on_v1(facts);
            (facts.mount_api, facts.mount_setattr, facts.clone3) = (false, false, false);
        }
        "systemd" => {
            facts.unit = Unit::new(Some("machine-web.slice:pod:golden"), "golden", false).ok()
        }
        "joined-userns" => facts.owned_by_user = vec![NamespaceKind::Network],
        "no-pivot" => request.no_pivot = true,
        "no-mount-namespace" => {
            (request.new_keyring, facts.cgroup_directories) = (false, Directories(Vec::new()))
        }
        "capabilities-missing" => facts.bounding = 1, // CAP_CHOWN
        "terminal" => request.console = true,
        "umask" => (request.extra_fds, request.program_fd) = (2, true),
        "activation" => {
            let names = Some("http:admin".to_owned());
            request.notify = Some("/run/longshore/golden/notify".to_owned());
            (request.extra_fds, request.listen) = (3, Some(Listen { count: 2, names }));
        }
        "rootless" | "rootless-ranges" => {
            (facts.privileged, facts.device_nodes) = (false, false);
            facts.cgroup_directories = Directories(Vec::new());
            facts.map_writer = match case {
                "rootless" => MapWriter::OwnIds { other_groups: true },
                _ => MapWriter::Helpers {
                    newuidmap: "/usr/bin/newuidmap".to_owned(),
                    newgidmap: "/usr/bin/newgidmap".to_owned(),
                },
            };
        }
        _ => {}
    }
}

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// The names of the cases, sorted.
fn cases() -> Vec<String> {
    let names = fs::read_dir(directory())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut cases: Vec<_> = names
        .filter_map(|name| name.strip_suffix(".json").map(str::to_owned))
        .collect();
    cases.sort();
    cases
}

fn plan(case: &str) -> String {
    let json = fs::read(directory().join(format!("{case}.json"))).unwrap();
    let config = Config::parse(&json).unwrap_or_else(|problems| panic!("{case}: {problems:?}"));
    let (mut facts, mut request) = (facts("golden"), request());
    adjust(case, &mut facts, &mut request);
    let plan = compile(&config, &request, &facts)
        .unwrap_or_else(|problems| panic!("{case}: {problems:?}"));
    let warnings: String = plan
        .warnings
        .iter()
        .map(|warning| format!("warning: {warning}\n"))
        .collect();
    format!("{plan}{warnings}")
}

#[test]
fn plans_are_as_written() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut wrong = Vec::new();
    for case in cases() {
        let (file, got) = (directory().join(format!("{case}.plan")), plan(&case));
        let expect = fs::read_to_string(&file).unwrap_or_default();
        if update && expect != got {
            fs::write(&file, &got).unwrap();
        } else if expect != got {
            let line = expect
                .lines()
                .zip(got.lines())
                .find(|(expect, got)| expect != got);
            wrong.push(format!(
                "{case}: {}",
                line.map_or("lines are missing".to_owned(), |(expect, got)| format!(
                    "\n- {expect}\n+ {got}"
                ))
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "UPDATE_GOLDEN=1 rewrites:\n{}",
        wrong.join("\n")
    );
}

/// Every property that this release acts on, as the plan's path (its beginning) and words of the action.
const PROPERTIES: &[(&str, &str)] = &[
    ("root.path", "attach root filesystem /bundle/rootfs"),
    ("root.path", "pivot"),
    ("root.path", "change root to the attached"),
    ("root.path", "change root to the root filesystem"),
    ("root.readonly", "read-only"),
    ("mounts[", "mount proc"),
    ("mounts[", "(mount)"),
    ("mounts[", "clone tree"),
    ("mounts[", "by path"),
    ("mounts[", "rnosuid"),
    ("mounts[", "make /b shared"),
    ("mounts[", "tmpcopyup"),
    ("mounts[", "change the mount at /c: ro nodev"),
    ("mounts[", "change the filesystem at /c: size=2m"),
    ("mounts[", "lowerdir+=/lower"),
    ("mounts[", "make /dev read-only"),
    ("hostname", "set hostname"),
    ("domainname", "set domainname"),
    ("process.terminal", "open a terminal"),
    ("process.terminal", "controlling"),
    ("process.args", "look up"),
    ("process.args", "execve sh"),
    ("process.args", "the caller's descriptor"),
    ("process", "but stdio and 2 more"),
    ("process.env", "find HOME of uid 1000"),
    (
        "process.env",
        "set LISTEN_FDS=2 LISTEN_FDNAMES=http:admin, LISTEN_PID to the program's pid",
    ),
    (
        "linux.sysctl[net.ipv4.ip_forward]",
        "write 1 to /proc/sys/net/ipv4/ip_forward",
    ),
    ("linux.sysctl[kernel/msgmax]", "/proc/sys/kernel/msgmax"),
    ("process.env", "set NOTIFY_SOCKET=/run/notify/notify.sock"),
    (
        "mounts (notify)",
        "clone tree /run/longshore/golden/notify onto /run/notify: ro nosuid nodev noexec",
    ),
    ("process.cwd", "make directory /work/here"),
    ("process.cwd", "change directory"),
    ("process.user.umask", "0077"),
    ("process.user.umask", "0022"),
    ("process.user", "uid 1000, gid 1000, groups 5 6"),
    ("process.user", "groups unchanged"),
    ("process.capabilities.bounding", "CAP_SYS_ADMIN"),
    ("process.capabilities.inheritable", "CAP_KILL"),
    ("process.capabilities.ambient", "CAP_KILL"),
    ("process.capabilities", "effective: CAP_CHOWN"),
    ("process.rlimits", "set RLIMIT_NOFILE"),
    ("process.rlimits", "wait: host sets RLIMIT_NOFILE"),
    ("process.noNewPrivileges", "no_new_privs"),
    ("process.oomScoreAdj", "set oom_score_adj"),
    (
        "linux.uidMappings",
        "uids 0:100000:65536, gids 0:100000:65536 host sets oom_score_adj = 300",
    ),
    ("root.path", "recursive, in its place"),
    ("hooks.prestart", "wait: host runs /bin/zero"),
    ("hooks.createRuntime", "/bin/one /bin/two"),
    ("linux.resources.devices", "wait: host ends its steps"),
    ("hooks.createContainer[0]", "run hook /bin/mounts"),
    ("hooks.poststart[0]", "run hook /bin/after"),
    ("hooks.poststop[0]", "run hook /bin/last"),
    ("hooks.startContainer[1]", "/bin/again"),
    (
        "linux.namespaces",
        "new namespaces: pid mount network ipc uts",
    ),
    ("linux.namespaces", "new namespaces: user pid"),
    ("linux.namespaces", "into its cgroup"),
    ("linux.namespaces[", "join network namespace /run/netns/web"),
    ("linux.namespaces[", "join pid namespace"),
    ("linux.namespaces[", "join user namespace"),
    ("linux.namespaces[", "new namespaces: time"),
    ("linux.namespaces[", "new namespaces: cgroup"),
    ("linux.namespaces[", "bring lo up"),
    ("linux.cgroupsPath", "create cgroup"),
    ("linux.cgroupsPath", "join the cgroup"),
    ("linux.resources.pids.limit", "pids.max = 100"),
    ("linux.resources.memory.limit", "memory.max = 134217728"),
    ("linux.resources.memory.limit", "memory.limit_in_bytes"),
    ("linux.resources.cpu", "cpu.max"),
    ("linux.resources.cpu", "cpu.cfs_quota_us"),
    ("linux.resources.devices", "device rules"),
    (
        "linux.devices[",
        "make /dev/fuse c 10:229 mode 666 owner 1:2",
    ),
    ("linux.devices[", "clone /dev/fuse onto"),
    ("linux.netDevices ", "open a netlink socket"),
    ("linux.netDevices.eth0", "move to the container as net0"),
    ("linux.netDevices.eth1", "move to the container as net%d"),
    (
        "mounts[",
        "uids mapped 0:1000:10, gids 0:2000:10, all below too",
    ),
    ("process.terminal", "24 rows and 80 columns"),
    (
        "process.scheduler",
        "schedule by SCHED_RR: nice 0 priority 9 flags 0x1",
    ),
    ("process.ioPriority", "IOPRIO_CLASS_RT 2"),
    ("linux.personality", "personality 0x8"),
    ("linux.memoryPolicy", "MPOL_BIND (0x8002), nodes \"0-1\""),
    ("linux.timeOffsets", "boottime 86400.000000000 s"),
    ("linux.timeOffsets", "monotonic -5.000000007 s"),
    (
        "process.apparmorProfile",
        "AppArmor profile docker-default from execve on",
    ),
    (
        "process.selinuxLabel",
        "SELinux label system_u:system_r:container_t:s0:c1,c2 from execve on",
    ),
    (
        "mounts[",
        "context=system_u:object_r:container_file_t:s0:c1,c2",
    ),
    ("linux.seccomp", "install filter"),
    ("linux.seccomp", "its listener to /run/agent.sock"),
    (
        "mounts[6] (/sys/fs/cgroup)",
        "clone tree /sys/fs/cgroup onto /sys/fs/cgroup",
    ),
    ("linux.maskedPaths[", "mask /proc/kcore"),
    ("linux.readonlyPaths[", "make /proc/sys read-only"),
    ("linux.rootfsPropagation", "make / shared"),
];

#[test]
fn every_property_is_in_a_golden_line() {
    let plans: String = cases().iter().map(|case| plan(case)).collect();
    let has = |(path, words): &&(&str, &str)| {
        plans.lines().any(|line| {
            line.split_once(' ')
                .is_some_and(|(_, rest)| rest.trim_start().starts_with(path))
                && line.contains(words)
        })
    };
    let missing: Vec<_> = PROPERTIES
        .iter()
        .filter(|property| !has(property))
        .collect();
    assert!(missing.is_empty(), "{missing:#?}");
}

/// mount(2) would cut it off in silence.
#[test]
fn options_longer_than_a_page_are_refused() {
    let long = "x".repeat(4100);
    let json = serde_json::json!({
        "ociVersion": "1.2.0",
        "process": {"user": {"uid": 0, "gid": 0}, "args": ["sh"], "cwd": "/"},
        "root": {"path": "rootfs"},
        "mounts": [{"destination": "/a", "type": "fuse", "source": "x", "options": [format!("context={long}")]}],
        "linux": {"namespaces": [{"type": "mount"}]},
    });
    let config = Config::parse(json.to_string().as_bytes()).unwrap();
    let problems = compile(&config, &request(), &facts("golden")).unwrap_err();
    assert_eq!(problems[0].config_path(), Some("mounts[0] (/a)"));
}

/// With no_new_privs the filter goes in last; without, before the capabilities are dropped.
#[test]
fn filters_and_capabilities_are_in_order() {
    for (case, expect) in [
        ("seccomp", ["install filter", "effective:", "execve"]),
        (
            "seccomp-no-new-privileges",
            ["no_new_privs", "install filter", "execve"],
        ),
    ] {
        let plan = plan(case);
        let places: Vec<_> = expect
            .iter()
            .map(|words| {
                plan.find(words)
                    .unwrap_or_else(|| panic!("{case}: no {words}"))
            })
            .collect();
        assert!(places.is_sorted(), "{case}: {places:?}");
    }
}
