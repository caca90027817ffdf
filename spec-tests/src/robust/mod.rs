//! What happens when things go wrong: kills at every moment, damaged records,
//! races, hooks that hang, configs that can't be.

mod bystanders;
mod deletes;
mod execs;
mod hostile;
mod image;
mod kills;
mod mutants;
mod provoked;
mod races;
mod starts;
mod traced;

use serde_json::{Value, json};

use crate::config::{push, set};
use crate::property::Scenario;
use crate::runtime::{Ran, Running};
use crate::scene::{Scene, until, while_reaping};
use crate::suite::{Case, Check, Stop, cases, ensure};

/// All tests.
pub(crate) fn all() -> Vec<&'static dyn Case> {
    const SCENARIOS: &[&[Scenario]] = &[
        kills::SCENARIOS,
        deletes::SCENARIOS,
        hostile::SCENARIOS,
        races::SCENARIOS,
        starts::SCENARIOS,
        execs::SCENARIOS,
        image::SCENARIOS,
        traced::SCENARIOS,
        bystanders::SCENARIOS,
        mutants::SCENARIOS,
    ];
    [
        cases(SCENARIOS),
        cases(&[provoked::CONFIGS]),
        cases(&[provoked::SCENARIOS]),
    ]
    .concat()
}

/// For tests of what only longshore promises, or of its hidden flag.
fn longshore_only(scene: &Scene<'_>) -> Check {
    if scene.runtime().name == "longshore" {
        return Ok(());
    }
    Err(Stop::Skip("a promise of longshore's only".to_owned()))
}

/// A refusal or a failure: not zero, one line for people.
fn one_line(ran: &Ran) -> Check {
    ensure!(
        ran.status.is_some() && !ran.ok(),
        "not refused: {}",
        ran.story()
    );
    let lines = ran.stderr.lines().count();
    ensure!(lines == 1, "{lines} lines on stderr: {}", ran.story());
    Ok(())
}

/// `delete --force`, then nothing may be there any more.
fn force_delete(scene: &Scene<'_>) -> Check {
    let delete = scene.call(&["delete", "--force", &scene.id]);
    while_reaping(|| delete.run())?.must()?;
    scene.leaves_nothing()
}

/// What may be done to some system calls.
fn filter(rule: Value, names: &[&str]) -> Value {
    let mut rule = rule;
    rule["names"] = json!(names);
    json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule] })
}

/// A round without no_new_privs and one with it, which decides when the filter is installed.
fn filtered(
    scene: &mut Scene<'_>,
    filter: Value,
    round: impl Fn(&mut Scene<'_>) -> Check,
) -> Check {
    set(&mut scene.config, "/linux/seccomp", filter);
    for no_new_privileges in [false, true] {
        let value = json!(no_new_privileges);
        set(&mut scene.config, "/process/noNewPrivileges", value);
        round(scene)?;
        force_delete(scene)?;
        std::fs::remove_file(scene.path("pid"))?;
    }
    Ok(())
}

/// All rights over the processes that it sees.
fn may_ptrace(config: &mut Value) {
    for kind in ["bounding", "effective", "permitted"] {
        let set = format!("/process/capabilities/{kind}");
        push(config, &set, json!("CAP_SYS_PTRACE"));
    }
}

/// `start` under way, asleep in its hook, and init's pid.
fn start_with_slow_hook(scene: &mut Scene<'_>) -> Check<(Running, i32)> {
    let hook = json!({ "path": "/bin/sh", "args": ["sh", "-c", "touch /begun; sleep 60"] });
    push(&mut scene.config, "/hooks/startContainer", hook);
    let pid = scene.create()?;
    let starting = scene.call(&["start", &scene.id]).spawn()?;
    until(|| scene.path("rootfs/begun").exists(), "the hook")?;
    Ok((starting, pid))
}

/// Running, and neither dead nor a zombie.
fn alive(pid: i32) -> bool {
    state_letter(pid).is_some_and(|letter| !"ZX".contains(letter))
}

fn state_letter(pid: i32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

/// Field 22 of stat: clock ticks after boot.
fn start_time(pid: i32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.split(' ').nth(19)?.parse().ok()
}

fn wait_dead(pid: i32) -> Check {
    until(|| !alive(pid), &format!("the end of process {pid}"))
}

/// Somebody else's process: it must outlive what the test does, and ends with the test.
struct Stranger(std::process::Child);

impl Stranger {
    fn start() -> Check<Stranger> {
        let child = std::process::Command::new("sleep").arg("300").spawn()?;
        Ok(Stranger(child))
    }

    fn pid(&self) -> i32 {
        self.0.id().cast_signed()
    }

    fn must_live(&self) -> Check {
        ensure!(alive(self.pid()), "an unrelated process was killed");
        Ok(())
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let _ = self.0.kill(); // dead already: the test has said so
        let _ = self.0.wait();
    }
}
