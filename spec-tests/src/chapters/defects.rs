//! What runtimes were seen to get wrong, a number each. The rest of the numbers are unit tests of the library:
//! 3, 4, 7 and 8 in cgroup/limits, 5 in seccomp/cache, 9 in tests/resctrl.rs.

use std::path::Path;

use serde_json::json;

use super::exec::sleeper;
use super::update::update;
use crate::config::{no_namespace, set};
use crate::property::{Scenario, scenario};
use crate::scene::Scene;
use crate::suite::{Check, Stop, View, ensure};

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario("defect.1.device-rules-on-cgroup2", device_rules).on(View::V2),
    scenario(
        "defect.2.no-new-privileges-false-and-a-filter",
        filter_without_privileges,
    ),
    scenario("defect.6.refused-flags-are-not-left-out", refused_flags)
        .deviates(&[("crun", "1.8 loads the filter without them")]),
    scenario("defect.10.an-update-forgets-nothing", forgets_nothing)
        .on(View::V1)
        .deviates(&[
            ("runc", "1.1 does not know the burst"),
            ("crun", "1.8 does not know the burst"),
        ]),
    scenario("defect.11.words-of-the-command-line", command_line)
        .deviates(&[("crun", "1.8 takes --rootless's value for the state root")]),
    scenario("defect.12.a-hybrid-host", hybrid).deviates(&[("crun", "1.8 refuses a hybrid host")]),
];

/// Denied rules are in force in every build. /dev/loop-control needs no capability.
fn device_rules(scene: &mut Scene<'_>) -> Check {
    let rules = json!([{ "allow": false, "access": "rwm" }]);
    set(&mut scene.config, "/linux/resources/devices", rules);
    scene.script("mknod /tmp/node c 10 237; (exec 3</tmp/node) 2>&1; cat /dev/null && echo null");
    let seen = scene.run()?.must()?.stdout;
    ensure!(
        seen.contains("not permitted") && seen.contains("null"),
        "{seen}"
    );
    Ok(())
}

/// `false` is not `true`: the filter goes in while that is still allowed.
fn filter_without_privileges(scene: &mut Scene<'_>) -> Check {
    let rule = json!({ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95 });
    let filter = json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule] });
    for (pointer, value) in [
        ("/process/noNewPrivileges", json!(false)),
        ("/process/capabilities", json!({})),
        ("/process/user", json!({ "uid": 1000, "gid": 1000 })),
        ("/linux/seccomp", filter),
    ] {
        set(&mut scene.config, pointer, value);
    }
    scene.script("mkdir /tmp/new 2>&1; grep NoNewPrivs /proc/self/status");
    let seen = scene.run()?.must()?.stdout;
    ensure!(
        seen.contains("not supported") && seen.contains("NoNewPrivs:\t0"),
        "{seen}"
    );
    Ok(())
}

/// The kernel takes this flag with a listener only.
fn refused_flags(scene: &mut Scene<'_>) -> Check {
    let filter = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "flags": ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"],
        "syscalls": [{ "names": ["mkdir"], "action": "SCMP_ACT_ERRNO" }],
    });
    set(&mut scene.config, "/linux/seccomp", filter);
    scene.script("echo it runs");
    let run = scene.run()?;
    ensure!(
        !run.ok() && !run.stdout.contains("it runs"),
        "{}",
        run.story()
    );
    scene.leaves_nothing()
}

/// Burst, idle, CPUs and processes of before: in force, and known to the next update, which goes back on a failure.
fn forgets_nothing(scene: &mut Scene<'_>) -> Check {
    super::cgroups::needs("cpu", "cpu.cfs_burst_us")?;
    let cpu = json!({ "quota": 50_000, "burst": 20_000, "cpus": "0" });
    let limits = json!({ "cpu": cpu, "pids": { "limit": 33 } });
    set(&mut scene.config, "/linux/resources", limits);
    sleeper(scene)?;
    let seen = || -> Check<Vec<String>> {
        let files = [
            ("cpu", "cpu.cfs_burst_us"),
            ("cpu", "cpu.cfs_quota_us"),
            ("cpuset", "cpuset.cpus"),
            ("pids", "pids.max"),
        ];
        let read = |(controller, file)| crate::cgroups::read(controller, &scene.cgroup, file);
        Ok(files
            .map(read)
            .into_iter()
            .map(|text| Ok(text?.trim().to_owned()))
            .collect::<std::io::Result<_>>()?)
    };
    let expect = |pids| ["20000", "50000", "0", pids].map(str::to_owned).to_vec();
    update(scene, &["--memory", "67108864"]).run()?.must()?;
    ensure!(seen()? == expect("33"), "{:?}", seen()?);
    update(scene, &["--pids-limit", "34"]).run()?.must()?;
    ensure!(seen()? == expect("34"), "{:?}", seen()?);
    // A runtime that goes back to what it remembers must remember all.
    let refused = update(scene, &["--cpuset-cpus", "4000"]).run()?;
    ensure!(!refused.ok(), "{}", refused.story());
    ensure!(seen()? == expect("34"), "after a failure: {:?}", seen()?);
    Ok(())
}

fn command_line(scene: &mut Scene<'_>) -> Check {
    no_namespace(&mut scene.config, "pid");
    sleeper(scene)?;
    let listed = scene.call(&["list", "--format", "json"]).run()?.must()?;
    ensure!(
        listed.stdout.trim_start().starts_with('['),
        "{}",
        listed.story()
    );
    let state = scene.call(&["--rootless=false", "state", &scene.id]);
    state.run()?.must()?;
    let wrong = scene.call(&["checkpointt", &scene.id]).run()?;
    ensure!(!wrong.ok(), "{}", wrong.story());
    scene.call(&["kill", &scene.id, "37"]).run()?.must()?;
    scene.wait_status("stopped")
}

/// cgroup v1, and a cgroup2 that has controllers too.
fn hybrid(scene: &mut Scene<'_>) -> Check {
    if !Path::new("/sys/fs/cgroup/unified/cgroup.controllers").exists() {
        return Err(Stop::Skip("this host is not hybrid".into()));
    }
    scene.script("echo hello");
    let seen = scene.run()?.must()?.stdout;
    ensure!(seen.trim() == "hello", "{seen}");
    Ok(())
}
