//! What strace(1) tells of the last steps before a program, and what a slowed
//! down host must not change.

use std::fs;

use serde_json::{Value, json};

use super::{filter, filtered, longshore_only};
use crate::config::{push, set};
use crate::property::{Scenario, scenario};
use crate::runtime::LIMIT;
use crate::scene::{Scene, until};
use crate::strace::{attached, is_filter, lines, traced};
use crate::suite::{Check, Stop, View, ensure};

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario("start.trace.after-the-filter", start),
    scenario("exec.trace.after-the-filter", exec),
    scenario("exec.trace.control.runc", control),
    scenario("hooks.createContainer.device-rules.slow-host", slow_host).on(View::V2),
];

/// What may follow the filter. A filter need allow nothing else.
const LAST: &[&str] = &["capset(", "execve("];

/// What else the one process that was filtered called between the filter and its program, and before.
struct Others {
    after: Vec<String>,
    before: Vec<String>,
}

fn others(scene: &Scene<'_>, prefix: &str) -> Check<Others> {
    let mut all = lines(scene, prefix)?;
    all.retain(|lines| lines.iter().any(|line| is_filter(line)));
    let [process] = &all[..] else {
        return Err(Stop::Fail(format!("{} processes are filtered", all.len())));
    };
    let executed = |line: &&String| line.starts_with("execve(") && line.ends_with("= 0");
    let is_other = |line: &&String| !LAST.iter().any(|call| line.starts_with(call));
    // Init itself is executed too, by execveat(2); strace's own begins with an execve(2).
    let filter = process.iter().position(|line| is_filter(line)).unwrap_or(0);
    let (before, after) = process.split_at(filter);
    let Some(program) = after.iter().position(|line| executed(&line)) else {
        return Err(Stop::Fail(format!(
            "no program after the filter: {after:?}"
        )));
    };
    Ok(Others {
        after: after[1..program].iter().filter(is_other).cloned().collect(),
        before: before.iter().filter(is_other).cloned().collect(),
    })
}

fn judge(scene: &Scene<'_>, prefix: &str) -> Check {
    let others = others(scene, prefix)?;
    ensure!(others.after.is_empty(), "{prefix}: {:?}", others.after);
    ensure!(others.before.len() > 5, "only {:?} before", others.before);
    Ok(())
}

fn no_mkdir() -> Value {
    filter(json!({ "action": "SCMP_ACT_ERRNO" }), &["mkdir"])
}

fn start(scene: &mut Scene<'_>) -> Check {
    longshore_only(scene)?;
    filtered(scene, no_mkdir(), |scene| {
        let init = scene.create()?;
        let prefix = format!("trace-of-{init}");
        let strace = attached(scene, init, &prefix)?.spawn()?;
        let status = || fs::read_to_string(format!("/proc/{init}/status")).unwrap_or_default();
        until(|| !status().contains("TracerPid:\t0\n"), "strace")?;
        scene.must("start")?;
        strace.wait(LIMIT)?;
        judge(scene, &prefix)
    })
}

fn exec(scene: &mut Scene<'_>) -> Check {
    longshore_only(scene)?;
    filtered(scene, no_mkdir(), |scene| {
        let prefix = trace_exec(scene)?;
        judge(scene, &prefix)
    })
}

fn trace_exec(scene: &mut Scene<'_>) -> Check<String> {
    let sleep = json!(["/bin/sleep", "300"]);
    set(&mut scene.config, "/process/args", sleep);
    let prefix = format!("trace-beside-{}", scene.start()?);
    let call = scene.call(&["exec", &scene.id, "true"]);
    traced(call, &["-ff", "-o", &prefix])?.run()?.must()?;
    Ok(prefix)
}

/// The look must find other calls where there are some: without no_new_privs runc has much to do yet.
fn control(scene: &mut Scene<'_>) -> Check {
    scene.use_runc()?;
    set(&mut scene.config, "/linux/seccomp", no_mkdir());
    let prefix = trace_exec(scene)?;
    let others = others(scene, &prefix)?;
    ensure!(!others.after.is_empty(), "runc called nothing else");
    Ok(())
}

/// The host loads the rules while init mounts. However long it takes, a hook comes later.
fn slow_host(scene: &mut Scene<'_>) -> Check {
    longshore_only(scene)?;
    let bundle = scene.dir.display();
    let body = format!("exec 2> {bundle}/why; mknod {bundle}/fuse c 10 229; : < {bundle}/fuse");
    push(
        &mut scene.config,
        "/hooks/createContainer",
        json!({ "path": "/bin/sh", "args": ["sh", "-c", body] }),
    );
    scene.write_config()?;
    let delay = "inject=bpf:delay_enter=500000"; // microseconds, for each of its calls
    let options = ["-o", "trace", "-e", "trace=bpf", "-e", delay];
    scene.finish_create(traced(scene.create_call(&[]), &options)?)?; // the hook fails, which is its affair
    let trace = fs::read_to_string(scene.path("trace"))?;
    ensure!(
        trace.contains("bpf(BPF_PROG_ATTACH") || trace.contains("bpf(BPF_LINK_CREATE"),
        "no rules were loaded: {trace}"
    );
    let why = fs::read_to_string(scene.path("why"))?;
    ensure!(why.contains("Operation not permitted"), "{why}");
    Ok(())
}
