//! The tables: limits, annotations, and what comes of them together.

use super::*;
use crate::cgroup::Missing;

fn write(file: &str, value: &str) -> Write {
    Write {
        controller: String::new(),
        file: file.to_owned(),
        value: value.to_owned(),
        config_path: String::new(),
        missing: Missing::Fails,
        usage: None,
    }
}

fn shown(properties: &[Property]) -> String {
    let all: Vec<_> = properties.iter().map(ToString::to_string).collect();
    all.join(" ")
}

fn annotations(all: &[(&str, &str)]) -> BTreeMap<String, String> {
    let named = |(name, value): &(&str, &str)| (format!("{ANNOTATION}{name}"), (*value).to_owned());
    all.iter().map(named).collect()
}

#[test]
fn limits_as_properties() {
    for (file, value, expect) in [
        ("memory.max", "1048576", "MemoryMax=1048576"),
        ("memory.max", "max", "MemoryMax=infinity"),
        ("memory.max", "1G", ""), // the kernel's, not systemd's
        ("memory.low", "4096", "MemoryLow=4096"),
        ("memory.min", "4096", "MemoryMin=4096"),
        ("memory.high", "4096", "MemoryHigh=4096"),
        ("memory.swap.max", "0", "MemorySwapMax=0"),
        ("pids.max", "100", "TasksMax=100"),
        ("pids.max", "max", "TasksMax=infinity"),
        ("pids.max", "0", "TasksMax=1"),
        ("cpu.weight", "39", "CPUWeight=39"),
        ("cpu.idle", "1", "CPUWeight=0"),
        ("cpu.idle", "0", ""),
        (
            "cpu.max",
            "50000 100000",
            "CPUQuotaPerSecUSec=500000 CPUQuotaPeriodUSec=100000",
        ),
        (
            "cpu.max",
            "max 50000",
            "CPUQuotaPerSecUSec=infinity CPUQuotaPeriodUSec=50000",
        ),
        (
            "cpu.max",
            "50000",
            "CPUQuotaPerSecUSec=500000 CPUQuotaPeriodUSec=100000",
        ),
        (
            "cpu.max",
            "12345 100000",
            "CPUQuotaPerSecUSec=130000 CPUQuotaPeriodUSec=100000",
        ),
        ("cpu.max", "5 0", ""),
        ("cpuset.cpus", "0-2,4", "AllowedCPUs=17"),
        ("cpuset.cpus", "1,9", "AllowedCPUs=0202"),
        ("cpuset.cpus", "1-99999999", ""),
        ("cpuset.mems", "0", "AllowedMemoryNodes=01"),
        ("hugetlb.2MB.max", "0", ""),
        ("io.max", "8:0 rbps=1", ""),
    ] {
        assert_eq!(
            shown(&limits(&[write(file, value)])),
            expect,
            "{file} {value}"
        );
    }
    let twice = [
        write("pids.max", "5"),
        write("memory.max", "1"),
        write("pids.max", "7"),
    ];
    assert_eq!(shown(&limits(&twice)), "TasksMax=7 MemoryMax=1");
}

#[test]
fn quotas_agree_with_what_systemd_writes() {
    for (asked, written) in [
        ("50000 100000", "50000 100000"),
        ("12345 100000", "13000 100000"),
        ("1000 1000000", "10000 1000000"),
        ("33333 33333", "33333 33333"),
        ("max 100000", "max 100000"),
        ("nonsense", "nonsense"),
    ] {
        let mut writes = [write("cpu.max", asked), write("pids.max", "12345")];
        agree(&mut writes);
        assert_eq!(writes[0].value, written, "{asked}");
        assert_eq!(writes[1].value, "12345");
        // Once is enough.
        agree(&mut writes);
        assert_eq!(writes[0].value, written, "{asked}");
    }
}

#[test]
fn a_scope_and_a_slice() {
    let unit = |path| Unit::new(Some(path), "web", false).unwrap();
    let none = BTreeMap::new();
    let scope = properties(&unit("a.slice:p:web"), &none, &[write("pids.max", "5")]).unwrap();
    assert_eq!(
        shown(&scope),
        "Slice=\"a.slice\" Delegate=true TasksMax=5 MemoryAccounting=true CPUAccounting=true \
         IOAccounting=true TasksAccounting=true DefaultDependencies=false CollectMode=\"inactive-or-failed\""
    );
    let slice = shown(&properties(&unit("a.slice:p:a-b.slice"), &none, &[]).unwrap());
    assert!(
        slice.starts_with("Wants=[\"a.slice\"] MemoryAccounting=true"),
        "{slice}"
    );
}

#[test]
fn annotations_are_properties() {
    let unit = Unit::new(None, "web", false).unwrap();
    let given = annotations(&[
        ("TimeoutStopSec", "5"),
        ("TimeoutStopUSec", "uint64 123456789"),
        ("CollectMode", "'inactive'"),
        ("After", "['a.service']"),
    ]);
    let mut given = given;
    given.insert("org.example".to_owned(), "'x'".to_owned());
    let all = shown(&properties(&unit, &given, &[]).unwrap());
    assert!(
        all.contains("TimeoutStopUSec=123456789 ") || all.ends_with("TimeoutStopUSec=123456789")
    );
    assert!(all.contains("After=[\"a.service\"]"), "{all}");
    // Instead of ours, and once only.
    assert!(all.contains("CollectMode=\"inactive\"") && all.matches("CollectMode").count() == 1);
    let seconds = properties(&unit, &annotations(&[("TimeoutStopSec", "uint32 5")]), &[]).unwrap();
    assert!(shown(&seconds).ends_with("TimeoutStopUSec=5000000"));
}

#[test]
fn annotations_that_are_refused() {
    let unit = Unit::new(None, "web", false).unwrap();
    for (name, value) in [
        ("X", "1"),
        ("Ab", "true"),
        ("Memory_Max", "1"),
        ("Delegate", "false"),
        ("Slice", "'a.slice'"),
        ("PIDs", "['1']"),
        ("Description", "'x'"),
        ("TasksMax", "uint64 5"),
        ("FailureAction", "'reboot'"),
        ("SuccessAction", "'poweroff'"),
        ("JobTimeoutAction", "'reboot'"),
        ("RebootArgument", "'x'"),
        ("CollectMode", "inactive"),
        ("TimeoutStopSec", "'5'"),
        ("TimeoutStopSec", "-5"),
        ("TimeoutStopSec", "uint64 18446744073709551615"),
        ("DeviceAllow", "[('a', 'b')]"),
    ] {
        let given = annotations(&[(name, value)]);
        let errors = properties(&unit, &given, &[write("pids.max", "7")]).unwrap_err();
        let expect = format!("annotations ({ANNOTATION}{name})");
        assert_eq!(errors[0].config_path(), Some(&*expect), "{name} {value}");
    }
    // What the configuration doesn't limit, an annotation may.
    properties(&unit, &annotations(&[("TasksMax", "uint64 5")]), &[]).unwrap();
}
