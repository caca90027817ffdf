//! `exec` and the limits of the container's cgroup.

use serde_json::json;

use super::exec::{exec, process, sleeper};
use crate::cgroups;
use crate::config::set;
use crate::property::{Scenario, scenario};
use crate::scene::Scene;
use crate::suite::{Check, View, ensure};

pub(crate) const SCENARIOS: &[Scenario] =
    &[scenario("exec.oom-before-is-not-blamed", oom_before).on(View::V1)];

/// A process that dies on its way, in a container that has had another killed for want of memory.
fn oom_before(scene: &mut Scene<'_>) -> Check {
    // Without no_new_privs the filter comes before the last change of capabilities, which it kills.
    let rule = json!({ "names": ["capset"], "action": "SCMP_ACT_KILL_PROCESS" });
    let filter = json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule] });
    set(&mut scene.config, "/linux/seccomp", filter);
    set(&mut scene.config, "/process/noNewPrivileges", json!(true));
    let limit = json!(64 << 20);
    set(&mut scene.config, "/linux/resources/memory/limit", limit);
    sleeper(scene)?;
    let ran = exec(scene, &[], &["sh", "-c", "exec tail /dev/zero"]).run()?;
    ensure!(ran.code() == 137, "it was not killed: {}", ran.story());
    let control = cgroups::read("memory", &scene.cgroup, "memory.oom_control")?;
    ensure!(control.contains("oom_kill 1"), "not for memory: {control}");
    let dies = json!({ "user": { "uid": 0, "gid": 0 }, "cwd": "/", "args": ["true"], "env": ["PATH=/bin"] });
    let file = process(scene, &dies)?;
    let ran = exec(scene, &["--process", &file], &[]).run()?;
    let blamed = ran.stderr.contains("OOM");
    ensure!(!ran.ok() && !blamed, "{}", ran.story());
    Ok(())
}
