//! Sockets that are handed to the container's program: sd_listen_fds(3)

use crate::config::no_namespace;
use crate::property::{Scenario, scenario};
use crate::runtime::Ran;
use crate::scene::Scene;
use crate::suite::{Check, ensure};

use super::baseline::open;

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario("activation.listen-fds", two),
    scenario("activation.listen-fds.for-another-process", another),
    scenario("activation.listen-fds.names", names)
        .deviates(&[("runc", "1.1 does not hand them on")]),
    scenario("activation.listen-fds.over-the-configuration", over)
        .deviates(&[("runc", "leaves the configuration's names")]),
    scenario("activation.listen-fds.with-preserve-fds", with_others),
    scenario("activation.listen-fds.shared-pid-namespace", shared)
        .deviates(&[("runc", "tells it to be 1 in any case")]),
    scenario("activation.listen-fds.not-for-exec", not_for_exec),
    scenario("activation.listen-fds.missing", missing)
        .deviates(&[("runc", "takes descriptors of its own for the caller's")]),
];

const TELL: &str = "cat <&3; cat <&4; echo; echo \"$LISTEN_FDS,$LISTEN_PID,$LISTEN_FDNAMES,$$\"; ls /proc/self/fd | tr '\\n' ' '";

fn told(scene: &mut Scene<'_>, setup: &'static str, flags: &[&str]) -> Check<Ran> {
    (scene.setup, scene.ignored) = (setup, &[]);
    scene.script(TELL);
    scene.write_config()?;
    let mut call = scene.call(&[&["run"], flags, &[scene.id.as_str()]].concat());
    call.fds = vec![open(scene, "three", 3)?, open(scene, "four", 4)?];
    Ok(call.run()?)
}

/// The last descriptor is the directory that ls reads.
fn is(ran: &Ran, expect: &str) -> Check {
    ensure!(ran.ok() && ran.stdout.trim() == expect, "{}", ran.story());
    Ok(())
}

fn two(scene: &mut Scene<'_>) -> Check {
    let ran = told(scene, "export LISTEN_FDS=2 LISTEN_PID=$$", &[])?;
    is(&ran, "threefour\n2,1,,1\n0 1 2 3 4 5")
}

/// Who passes on an environment that isn't meant for it hands over nothing.
fn another(scene: &mut Scene<'_>) -> Check {
    scene.setup = "export LISTEN_FDS=2 LISTEN_PID=$PPID LISTEN_FDNAMES=a:b";
    scene.script(
        "echo \"$LISTEN_FDS,$LISTEN_PID,$LISTEN_FDNAMES\"; ls /proc/self/fd | tr '\\n' ' '",
    );
    scene.write_config()?;
    let mut call = scene.call(&["run", &scene.id]);
    call.fds = vec![open(scene, "three", 3)?, open(scene, "four", 4)?];
    is(&call.run()?, ",,\n0 1 2 3")
}

fn names(scene: &mut Scene<'_>) -> Check {
    let setup = "export LISTEN_FDS=2 LISTEN_PID=$$ LISTEN_FDNAMES=http:admin";
    let ran = told(scene, setup, &[])?;
    is(&ran, "threefour\n2,1,http:admin,1\n0 1 2 3 4 5")
}

/// What the configuration has of another activation would be wrong.
fn over(scene: &mut Scene<'_>) -> Check {
    for entry in ["LISTEN_FDS=7", "LISTEN_PID=9", "LISTEN_FDNAMES=old"] {
        crate::config::push(&mut scene.config, "/process/env", entry.into());
    }
    let ran = told(scene, "export LISTEN_FDS=2 LISTEN_PID=$$", &[])?;
    is(&ran, "threefour\n2,1,,1\n0 1 2 3 4 5")
}

fn with_others(scene: &mut Scene<'_>) -> Check {
    let setup = "export LISTEN_FDS=1 LISTEN_PID=$$";
    let ran = told(scene, setup, &["--preserve-fds", "1"])?;
    is(&ran, "threefour\n1,1,,1\n0 1 2 3 4 5")
}

/// It is the program's pid, whatever that is: else no program takes the sockets for its own.
fn shared(scene: &mut Scene<'_>) -> Check {
    no_namespace(&mut scene.config, "pid");
    let ran = told(scene, "export LISTEN_FDS=2 LISTEN_PID=$$", &[])?;
    let line = ran.stdout.lines().nth(1).unwrap_or_default();
    let words: Vec<&str> = line.split(',').collect();
    ensure!(
        words.len() == 4 && words[1] == words[3] && words[1] != "1",
        "{}",
        ran.story()
    );
    Ok(())
}

fn not_for_exec(scene: &mut Scene<'_>) -> Check {
    scene.script("exec sleep 100");
    scene.start()?;
    scene.setup = "export LISTEN_FDS=1 LISTEN_PID=$$";
    let script = "echo \"$LISTEN_FDS,$LISTEN_PID\"; cat <&3; ls /proc/self/fd | tr '\\n' ' '";
    let args = ["exec", "--preserve-fds", "1", &scene.id, "sh", "-c", script];
    let mut call = scene.call(&args);
    call.fds = vec![open(scene, "three", 3)?, open(scene, "four", 4)?];
    is(&call.run()?, ",\nthree0 1 2 3 4")
}

fn missing(scene: &mut Scene<'_>) -> Check {
    let ran = told(scene, "export LISTEN_FDS=3 LISTEN_PID=$$", &[])?;
    ensure!(!ran.ok() && ran.stdout.is_empty(), "{}", ran.story());
    scene.leaves_nothing()
}
