//! config.md#linux-process, config-linux.md: what one system call sets of a process.

use serde_json::json;

use crate::config::{set, strip};
use crate::property::{Expect, PROPERTY, Probe, Property, Scenario, scenario};
use crate::scene::Scene;
use crate::suite::{Check, Known, ensure};

const OLD: Known = &[
    ("runc", "1.1 does not know it"),
    ("crun", "1.8 does not know it"),
];
const RUNC: Known = &[("runc", "1.1 does not know it")];

/// Nice value and policy, as proc_pid_stat(5) has them.
const SCHEDULING: Probe = Probe::Script("awk '{print $19, $41}' /proc/$$/stat");

/// Of the shell, and of a child that should not inherit.
const CHILDS: Probe = Probe::Script("awk '{print $19, $41}' /proc/$$/stat /proc/self/stat; true");

pub(crate) const PROPERTIES: &[Property] = &[
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
