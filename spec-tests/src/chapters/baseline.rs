//! What a program may count on whatever the caller was like.

use std::fs::{self, File};
use std::os::fd::{OwnedFd, RawFd};

use serde_json::json;

use crate::config::set;
use crate::property::{Scenario, scenario};
use crate::scene::Scene;
use crate::suite::{Check, ensure};

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario("baseline.signals.sigpipe-kills", pipe),
    scenario("baseline.signals.none-ignored-or-blocked", |scene| {
        dispositions(scene, &[])
    }),
    scenario("baseline.signals.caller-ignores-some", |scene| {
        dispositions(
            scene,
            &[libc::SIGPIPE, libc::SIGUSR1, libc::SIGHUP, libc::SIGINT],
        )
    }),
    scenario("baseline.signals.caller-ignores-libcs-own", |scene| {
        dispositions(scene, &[32, 33, 34])
    })
    .deviates(&[("runc", "leaves 32 to 34 as the caller had them")]),
    scenario("baseline.fds.no-leak", no_leak),
    scenario("baseline.fds.preserve-fds", preserve_fds),
    scenario("baseline.fds.preserve-fds.missing", preserve_missing)
        .deviates(&[("runc", "takes descriptors of its own for the caller's")]),
    scenario("baseline.fds.preserve-fds.gap", preserve_gap)
        .deviates(&[("runc", "takes descriptors of its own for the caller's")]),
    scenario("baseline.keyring", keyring).deviates(&[("crun", "names it otherwise")]),
    scenario("baseline.umask", umask),
    scenario("baseline.groups", groups),
    scenario("baseline.oom-score-untouched", oom_score),
    scenario("baseline.stdio.devices", stdio_devices),
];

fn pipe(scene: &mut Scene<'_>) -> Check {
    scene.script("yes | head -1; echo done");
    let ran = scene.run()?;
    ensure!(ran.ok() && ran.stdout == "y\ndone\n", "{}", ran.story());
    Ok(())
}

fn dispositions(scene: &mut Scene<'_>, ignored: &'static [i32]) -> Check {
    scene.ignored = ignored;
    set(
        &mut scene.config,
        "/process/args",
        json!(["/bin/grep", "^Sig", "/proc/self/status"]),
    );
    let ran = scene.run()?.must()?;
    for field in ["SigIgn", "SigBlk", "SigPnd"] {
        ensure!(
            ran.stdout.contains(&format!("{field}:\t0000000000000000")),
            "{}",
            ran.story()
        );
    }
    Ok(())
}

/// The caller's file of that name, under a number.
pub(crate) fn open(scene: &Scene<'_>, name: &str, number: RawFd) -> Check<(OwnedFd, RawFd)> {
    scene.file(name, name)?;
    Ok((File::open(scene.path(name))?.into(), number))
}

/// The caller holds descriptors 9 and 10 open, as careless engines do.
fn no_leak(scene: &mut Scene<'_>) -> Check {
    set(
        &mut scene.config,
        "/process/args",
        json!(["/bin/ls", "/proc/self/fd"]),
    );
    scene.write_config()?;
    let mut call = scene.call(&["run", &scene.id]);
    call.fds = vec![open(scene, "nine", 9)?, open(scene, "ten", 10)?];
    let ran = call.run()?;
    let fds: Vec<&str> = ran.stdout.split_whitespace().collect();
    ensure!(fds == ["0", "1", "2", "3"], "{}", ran.story());
    Ok(())
}

fn preserve_fds(scene: &mut Scene<'_>) -> Check {
    scene.script("cat <&3; cat <&4; ls /proc/self/fd | tr '\\n' ' '");
    scene.write_config()?;
    let mut call = scene.call(&["run", "--preserve-fds", "2", &scene.id]);
    call.fds = vec![
        open(scene, "three", 3)?,
        open(scene, "four", 4)?,
        open(scene, "five", 5)?,
    ];
    let ran = call.run()?;
    ensure!(
        ran.ok() && ran.stdout.trim() == "threefour0 1 2 3 4 5",
        "{}",
        ran.story()
    );
    // 5 is the directory that ls reads; had the caller's fifth come through, it would be 6.
    ensure!(!ran.stdout.contains('6'), "{}", ran.story());
    Ok(())
}

fn preserve_missing(scene: &mut Scene<'_>) -> Check {
    scene.write_config()?;
    let ran = scene
        .call(&["run", "--preserve-fds", "3", &scene.id])
        .run()?;
    ensure!(
        !ran.ok(),
        "descriptors that are not open must be refused: {}",
        ran.story()
    );
    scene.leaves_nothing()
}

/// The one that is missing is not the last.
fn preserve_gap(scene: &mut Scene<'_>) -> Check {
    scene.script("echo ran");
    scene.write_config()?;
    let mut call = scene.call(&["run", "--preserve-fds", "3", &scene.id]);
    call.fds = vec![open(scene, "three", 3)?, open(scene, "five", 5)?];
    let ran = call.run()?;
    ensure!(!ran.ok() && ran.stdout.is_empty(), "{}", ran.story());
    ensure!(ran.stderr.contains("preserved-fd"), "{}", ran.story());
    scene.leaves_nothing()
}

/// Unset in the config, the umask is 0022 whatever the caller's is: what engines count on.
/// De facto: a session keyring of its own, named after the container, unless the caller's is to stay. That
/// run comes first: a keyring outlives its container for a while.
fn keyring(scene: &mut Scene<'_>) -> Check {
    scene.script("cat /proc/keys");
    scene.write_config()?;
    for (own, flags) in [(false, &["--no-new-keyring"][..]), (true, &[])] {
        let args = [&["run"], flags, &[scene.id.as_str()]].concat();
        let ran = scene.call(&args).run()?;
        let has = ran.stdout.contains(&format!("_ses.{}", scene.id));
        ensure!(ran.ok() && has == own, "wanted one {own}: {}", ran.story());
    }
    Ok(())
}

fn umask(scene: &mut Scene<'_>) -> Check {
    scene.setup = "umask 077";
    scene.script("umask");
    let ran = scene.run()?;
    ensure!(ran.stdout.trim() == "0022", "{}", ran.story());
    Ok(())
}

/// No supplementary group of the caller comes through.
fn groups(scene: &mut Scene<'_>) -> Check {
    scene.setup = "exec setpriv --groups 4,20 -- \"$@\"";
    scene.script("grep ^Groups: /proc/self/status");
    let ran = scene.run()?;
    ensure!(
        ran.ok() && ran.stdout.trim() == "Groups:",
        "{}",
        ran.story()
    );
    Ok(())
}

/// config.md#process: if oomScoreAdj is unset, it must not be changed.
fn oom_score(scene: &mut Scene<'_>) -> Check {
    scene.setup = "echo 321 > /proc/self/oom_score_adj";
    scene.script("cat /proc/self/oom_score_adj");
    let ran = scene.run()?;
    ensure!(ran.stdout.trim() == "321", "{}", ran.story());
    Ok(())
}

/// An ordinary user can open /dev/stdout again when it is the runtime's pipe.
fn stdio_devices(scene: &mut Scene<'_>) -> Check {
    scene.script("cat > /tmp/in; echo out > /proc/self/fd/1; echo err >&2; cat /tmp/in");
    scene.write_config()?;
    scene.file("input", "typed")?;
    let mut call = scene.call(&["run", &scene.id]);
    call.stdin = Some(File::open(scene.path("input"))?.into());
    let ran = call.run()?;
    ensure!(
        ran.ok() && ran.stdout.contains("typed") && ran.stderr.trim() == "err",
        "{}",
        ran.story()
    );
    ensure!(
        fs::read_to_string(scene.path("rootfs/tmp/in"))? == "typed",
        "stdin did not arrive"
    );
    Ok(())
}
