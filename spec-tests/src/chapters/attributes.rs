//! config.md#linux-process, config-linux.md: what one system call sets of a process.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use crate::cgroups;
use crate::chapters::cgroups::realtime;
use crate::config::{set, strip};
use crate::property::{Expect, PROPERTY, Probe, Property, Scenario, scenario};
use crate::scene::{Scene, until};
use crate::suite::{Check, Known, Stop, ensure};

const OLD: Known = &[
    ("runc", "1.1 does not know it"),
    ("crun", "1.8 does not know it"),
];
const RUNC: Known = &[("runc", "1.1 does not know it")];

/// Nice value and policy, as proc_pid_stat(5) has them.
const SCHEDULING: Probe = Probe::Script("awk '{print $19, $41}' /proc/$$/stat");

/// Of the shell, and of a child that should not inherit.
const CHILDS: Probe = Probe::Script("awk '{print $19, $41}' /proc/$$/stat /proc/self/stat; true");

/// The kernel must let our own child have the policy, else it can't let a container have it.
fn policy(option: &[&str]) -> Check {
    let tried = Command::new("chrt").args(option).arg("true").output()?;
    if tried.status.success() {
        return Ok(());
    }
    let why = String::from_utf8_lossy(&tried.stderr).trim().to_owned();
    Err(Stop::Skip(format!("the kernel refuses the policy: {why}")))
}

/// Where cgroups share out realtime, a cgroup that has been given none can't have realtime processes.
fn shares_realtime() -> bool {
    !cgroups::unified() && cgroups::offers("cpu", "cpu.rt_runtime_us")
}

const DEADLINE: &[&str] = &[
    "--deadline",
    "--sched-runtime",
    "1000000",
    "--sched-deadline",
    "10000000",
    "--sched-period",
    "20000000",
    "0",
];

/// Its program is no shell: a process with a deadline may not have children.
fn deadline(config: &mut Value) {
    let given = json!({ "policy": "SCHED_DEADLINE", "runtime": 1_000_000, "deadline": 10_000_000, "period": 20_000_000 });
    set(config, "/process/scheduler", given);
    set(config, "/process/args", json!(["/bin/sleep", "60"]));
}

/// The last line of what the host is told of the program, not of what starts it.
fn scheduling_of(scene: &Scene<'_>, pid: i32) -> Check<String> {
    scene.must("start")?;
    let name = || fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    until(|| name().trim() == "sleep", "the program")?;
    let told = Command::new("chrt")
        .args(["-p", &pid.to_string()])
        .output()?;
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    let values = told.lines().last().and_then(|line| line.rsplit_once(": "));
    Ok(values
        .map(|(_, values)| values.to_owned())
        .unwrap_or_default())
}

/// Realtime priority and policy.
const REALTIME: Probe = Probe::Script("awk '{print $40, $41}' /proc/$$/stat");

macro_rules! realtime {
    ($name:literal, $policy:literal, $option:literal, $expect:literal) => {
        Property {
            name: $name,
            prepare: |scene| {
                policy(&[$option, "7"])?;
                if shares_realtime() {
                    realtime(scene)?;
                }
                Ok(())
            },
            set: |_, config| {
                let given = json!({ "policy": $policy, "priority": 7 });
                set(config, "/process/scheduler", given);
                if shares_realtime() {
                    set(config, "/linux/resources/cpu/realtimeRuntime", json!(1000));
                }
            },
            // A priority is required with these policies: another one is the least that can be asked.
            strip: |config| set(config, "/process/scheduler/priority", json!(1)),
            probe: REALTIME,
            expect: Expect::Is($expect),
            known: OLD,
            ..PROPERTY
        }
    };
}

pub(crate) const PROPERTIES: &[Property] = &[
    realtime!("process.scheduler.priority", "SCHED_FIFO", "--fifo", "7 1"),
    realtime!("process.scheduler.priority.rr", "SCHED_RR", "--rr", "7 2"),
    Property {
        name: "process.scheduler.deadline",
        prepare: |_| policy(DEADLINE),
        set: |_, config| deadline(config),
        strip: |config| strip(config, "/process/scheduler"),
        probe: Probe::Created(scheduling_of),
        expect: Expect::Is("1000000/10000000/20000000"),
        known: OLD,
        ..PROPERTY
    },
    Property {
        // Without a period it is the deadline.
        name: "process.scheduler.period",
        prepare: |_| policy(DEADLINE),
        set: |_, config| deadline(config),
        strip: |config| strip(config, "/process/scheduler/period"),
        probe: Probe::Created(scheduling_of),
        expect: Expect::Is("1000000/10000000/20000000"),
        known: OLD,
        ..PROPERTY
    },
    Property {
        name: "process.scheduler",
        set: |_, config| {
            let given = json!({ "policy": "SCHED_BATCH", "nice": 7 });
            set(config, "/process/scheduler", given);
        },
        strip: |config| strip(config, "/process/scheduler"),
        probe: SCHEDULING,
        expect: Expect::Is("7 3"),
        known: OLD,
        ..PROPERTY
    },
    Property {
        name: "process.scheduler.flags",
        set: |_, config| {
            let flags = json!(["SCHED_RESET_ON_FORK"]);
            let given = json!({ "policy": "SCHED_OTHER", "nice": -3, "flags": flags });
            set(config, "/process/scheduler", given);
        },
        strip: |config| strip(config, "/process/scheduler/flags"),
        probe: CHILDS,
        expect: Expect::Is("-3 0\n0 0"),
        known: OLD,
        ..PROPERTY
    },
    Property {
        name: "process.ioPriority",
        set: |_, config| {
            let given = json!({ "class": "IOPRIO_CLASS_BE", "priority": 6 });
            set(config, "/process/ioPriority", given);
        },
        strip: |config| strip(config, "/process/ioPriority"),
        probe: Probe::Script("ionice -p $$"),
        expect: Expect::Is("best-effort: prio 6"),
        known: OLD,
        ..PROPERTY
    },
    Property {
        name: "linux.personality",
        set: |_, config| set(config, "/linux/personality", json!({ "domain": "LINUX32" })),
        strip: |config| strip(config, "/linux/personality"),
        probe: Probe::Script("uname -m"),
        expect: Expect::That(|_, seen| ["i686", "armv8l"].contains(&seen)),
        known: RUNC,
        ..PROPERTY
    },
    Property {
        name: "linux.memoryPolicy",
        set: |_, config| {
            let flags = json!(["MPOL_F_STATIC_NODES"]);
            let given = json!({ "mode": "MPOL_INTERLEAVE", "nodes": "0", "flags": flags });
            set(config, "/linux/memoryPolicy", given);
        },
        strip: |config| strip(config, "/linux/memoryPolicy"),
        probe: Probe::Script("cut -d' ' -f2 /proc/self/numa_maps | sort -u"),
        expect: Expect::Has("interleave=static:0"),
        known: OLD,
        ..PROPERTY
    },
];

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario("process.execCPUAffinity.not-for-init", not_for_init),
    scenario("baseline.affinity.callers-own", callers_affinity).deviates(RUNC_KEEPS),
];

const RUNC_KEEPS: Known = &[
    ("runc", "1.1 hands its own on"),
    ("crun", "1.8 hands its own on"),
];

const CPUS: &str = "awk '/^Cpus_allowed_list/ {print $2}' /proc/self/status";

fn not_for_init(scene: &mut Scene<'_>) -> Check {
    let given = json!({ "initial": "0", "final": "0" });
    set(&mut scene.config, "/process/execCPUAffinity", given);
    scene.script(CPUS);
    let ran = scene.run()?.must()?;
    ensure!(ran.stdout.trim() != "0", "{}", ran.story());
    Ok(())
}

/// Which CPUs the caller is kept on is not the container's affair.
fn callers_affinity(scene: &mut Scene<'_>) -> Check {
    scene.script(CPUS);
    let free = scene.run()?.must()?.stdout;
    scene.setup = "taskset -p -c 0 $$ > /dev/null";
    let kept = scene.run()?.must()?.stdout;
    ensure!(free.trim() != "0", "one CPU tells nothing: {free}");
    ensure!(kept == free, "{kept}, not {free}");
    Ok(())
}
