//! No process inside ever runs a file of the host's (CVE-2019-5736).

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, fcntl};
use serde_json::{Value, json};

use super::longshore_only;
use crate::config::push;
use crate::property::{Scenario, scenario};
use crate::runtime::LIMIT;
use crate::scene::{Scene, until};
use crate::suite::{Check, ensure};

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario("image.created", created),
    scenario("image.during-hook", during_hook),
    scenario("image.stage1", stage1),
];

const ALL_SEALS: i32 =
    libc::F_SEAL_SEAL | libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_WRITE;

fn sealed(pid: i32) -> Check {
    let exe = format!("/proc/{pid}/exe");
    let target = fs::read_link(&exe)?.display().to_string();
    ensure!(target.starts_with("/memfd:"), "init runs {target}");
    let seals = fcntl(&File::open(&exe)?, FcntlArg::F_GET_SEALS)?;
    ensure!(seals & ALL_SEALS == ALL_SEALS, "seals {seals:#x}");
    // Some kernels let the file be opened; none may let it be written.
    let written = OpenOptions::new()
        .write(true)
        .open(&exe)
        .and_then(|mut file| file.write_all(b"x"));
    ensure!(written.is_err(), "init's file was written to");
    Ok(())
}

fn created(scene: &mut Scene<'_>) -> Check {
    longshore_only(scene)?;
    sealed(scene.create()?)
}

fn during_hook(scene: &mut Scene<'_>) -> Check {
    longshore_only(scene)?;
    let (state, go) = (scene.path("hook-state"), scene.path("go"));
    let text = format!(
        "#!/bin/sh\ncat > {0}.new; mv {0}.new {0}\nwhile ! [ -e {1} ]; do sleep 0.01; done\n",
        state.display(),
        go.display()
    );
    let hook = scene.executable("hook", &text)?;
    push(
        &mut scene.config,
        "/hooks/createRuntime",
        json!({ "path": hook, "timeout": 10 }),
    );
    scene.write_config()?;
    let creating = scene.create_call(&[]).spawn()?;
    until(|| state.exists(), "the hook")?;
    let told: Value = serde_json::from_str(&fs::read_to_string(&state)?)?;
    let seen = sealed(i32::try_from(told["pid"].as_i64().unwrap_or(0))?);
    fs::write(go, "")?;
    let ran = creating.wait(LIMIT)?;
    seen?;
    ensure!(ran.ok(), "{}", ran.story());
    Ok(())
}

/// Looks at every child of the command while it creates: what is in a namespace of the
/// container's runs the sealed image. Before its first exec stage 1 is the command, in the caller's.
fn stage1(scene: &mut Scene<'_>) -> Check {
    longshore_only(scene)?;
    scene.write_config()?;
    let mut seen = 0;
    for _ in 0..if scene.suite.soak { 100 } else { 10 } {
        let creating = scene.create_call(&[]).spawn()?;
        let path = format!("/proc/{0}/task/{0}/children", creating.pid());
        let end = Instant::now() + Duration::from_secs(10);
        while let Ok(children) = fs::read_to_string(&path) {
            for pid in children.split_whitespace() {
                seen += usize::from(look(pid)?);
            }
            if children.is_empty()
                && fs::read_link(format!("/proc/{}/exe", creating.pid())).is_err()
            {
                break; // a zombie
            }
            ensure!(Instant::now() < end, "create hangs");
        }
        creating.wait(LIMIT)?.must()?;
        super::force_delete(scene)?;
        fs::remove_file(scene.path("pid"))?;
    }
    ensure!(seen > 0, "stage 1 was never seen");
    Ok(())
}

/// True if it ran the sealed image.
fn look(pid: &str) -> Check<bool> {
    let link = |path: String| {
        fs::read_link(path)
            .map(|target| target.display().to_string())
            .ok()
    };
    let Some(exe) = link(format!("/proc/{pid}/exe")) else {
        return Ok(false);
    };
    if exe.starts_with("/memfd:") {
        return Ok(true);
    }
    // The program itself comes after `start` only.
    for kind in ["mnt", "net", "user", "uts", "ipc", "pid"] {
        let theirs = link(format!("/proc/{pid}/ns/{kind}"));
        let again = link(format!("/proc/{pid}/exe"));
        let ours = link(format!("/proc/self/ns/{kind}"));
        ensure!(
            again.as_deref() != Some(&*exe) || theirs.is_none() || theirs == ours,
            "a process in another {kind} namespace runs {exe}"
        );
    }
    Ok(false)
}
