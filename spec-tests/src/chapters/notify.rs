//! Readiness of the container's program: sd_notify(3)

use std::fs;

use serde_json::json;

use crate::config::{self, push, set};
use crate::notifier::{Heard, Supervisor, install};
use crate::property::{Scenario, scenario};
use crate::runtime::LIMIT;
use crate::scene::{Scene, until};
use crate::suite::{Check, ensure};

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario("notify.ready", ready),
    scenario("notify.barrier", barrier).deviates(&[("runc", "1.1 sends none")]),
    scenario("notify.environment", environment),
    scenario("notify.start-waits", start_waits),
    scenario("notify.ends-before", ends_before).deviates(&[("runc", "waits until it was reaped")]),
    scenario("notify.delete-meanwhile", delete_meanwhile)
        .deviates(&[("runc", "waits until it was reaped")]),
    scenario("notify.status", status).deviates(&[("runc", "hands on READY alone")]),
    scenario("notify.not-all-goes-on", not_all).deviates(&[("runc", "takes READY=0 for ready")]),
    scenario("notify.ordinary-user", ordinary_user).deviates(&[(
        "runc",
        "1.1 waits for ever where the caller's umask is strict",
    )]),
    scenario("notify.user-namespace", user_namespace),
    scenario("notify.tmpfs-on-run", tmpfs),
    scenario("notify.abstract", abstract_name),
    scenario("notify.start-by-another", start_by_another)
        .deviates(&[("runc", "goes by start's own environment")]),
    scenario("notify.nobody-there", nobody_there)
        .deviates(&[("runc", "looks when the program runs already")]),
    scenario("notify.run.detached", run_detached),
    scenario("notify.run.foreground", run_foreground),
    scenario("notify.run.foreground.later", run_later)
        .deviates(&[("runc", "hands on READY alone")]),
    scenario("notify.none", none),
    scenario("notify.delete", delete),
];

const SOCKET: &str = "sd.sock";
const SETUP: &str = "export NOTIFY_SOCKET=$PWD/sd.sock";

/// The caller has a supervisor, and the program something to tell it with.
fn supervised(scene: &mut Scene<'_>, script: &str) -> Check<Supervisor> {
    install(scene)?;
    scene.setup = SETUP;
    scene.script(script);
    Supervisor::listen(&scene.path(SOCKET))
}

const READY: &str = "notify READY=1; exec sleep 100";

/// In this order, each in a message of its own, and without a descriptor.
fn announced(supervisor: &Supervisor, main: i32) -> Check {
    let heard = supervisor.heard();
    let texts: Vec<_> = heard
        .iter()
        .map(|(text, fds)| (text.trim(), *fds))
        .collect();
    let main = format!("MAINPID={main}");
    let expect = [("READY=1", 0), (main.as_str(), 0)];
    ensure!(texts.starts_with(&expect), "{heard:?}, not {main}");
    let rest = &texts[expect.len()..];
    ensure!(
        rest.iter().all(|(text, _)| *text == "BARRIER=1"),
        "{heard:?}"
    );
    Ok(())
}

/// Who goes away at once is not known to a supervisor that reads later: so it asks whether all was read.
fn barrier(scene: &mut Scene<'_>) -> Check {
    let supervisor = supervised(scene, READY)?;
    scene.start()?;
    let last = supervisor.heard().pop();
    let expect: Heard = ("BARRIER=1".to_owned(), 1);
    ensure!(last == Some(expect), "{last:?}");
    Ok(())
}

fn ready(scene: &mut Scene<'_>) -> Check {
    let supervisor = supervised(scene, READY)?;
    let pid = scene.create()?;
    ensure!(supervisor.heard().is_empty(), "{:?}", supervisor.heard());
    scene.must("start")?;
    announced(&supervisor, pid)?;
    scene.must_be("running")
}

/// De facto, and nobody inside can put another socket there.
fn environment(scene: &mut Scene<'_>) -> Check {
    push(
        &mut scene.config,
        "/process/env",
        json!("NOTIFY_SOCKET=/old"),
    );
    let script = "env | grep ^NOTIFY_SOCKET=; touch /run/notify/new && echo made; notify READY=1";
    let _supervisor = supervised(scene, script)?;
    let ran = scene.run()?.must()?;
    let expect = "NOTIFY_SOCKET=/run/notify/notify.sock";
    ensure!(ran.stdout.trim() == expect, "{}", ran.story());
    ensure!(ran.stderr.contains("Read-only"), "{}", ran.story());
    Ok(())
}

fn start_waits(scene: &mut Scene<'_>) -> Check {
    let script = "touch /tmp/began; until [ -e /tmp/go ]; do sleep 0.02; done; notify READY=1; exec sleep 100";
    let supervisor = supervised(scene, script)?;
    scene.create()?;
    let start = scene.call(&["start", &scene.id]).spawn()?;
    until(|| scene.path("rootfs/tmp/began").exists(), "the program")?;
    scene.wait_status("running")?;
    for _ in 0..10 {
        scene.state()?;
        let stat = fs::read_to_string(format!("/proc/{}/stat", start.pid()))?;
        ensure!(!stat.contains(") Z "), "it did not wait");
    }
    ensure!(supervisor.heard().is_empty(), "{:?}", supervisor.heard());
    scene.file("rootfs/tmp/go", "")?;
    start.wait(LIMIT)?.must()?;
    ensure!(supervisor.has("READY=1"), "{:?}", supervisor.heard());
    Ok(())
}

fn ends_before(scene: &mut Scene<'_>) -> Check {
    let supervisor = supervised(scene, "exit 3")?;
    scene.create()?;
    scene.must("start")?;
    scene.wait_status("stopped")?;
    ensure!(supervisor.heard().is_empty(), "{:?}", supervisor.heard());
    Ok(())
}

/// The wait keeps nobody from ending it.
fn delete_meanwhile(scene: &mut Scene<'_>) -> Check {
    let _supervisor = supervised(scene, "touch /tmp/began; exec sleep 100")?;
    scene.create()?;
    let start = scene.call(&["start", &scene.id]).spawn()?;
    until(|| scene.path("rootfs/tmp/began").exists(), "the program")?;
    let delete = scene.call(&["delete", "--force", &scene.id]).run()?;
    delete.must()?;
    start.wait(LIMIT)?.must()?;
    scene.leaves_nothing()
}

fn status(scene: &mut Scene<'_>) -> Check {
    let script = "notify 'STATUS=warming up' WATCHDOG=1 'STATUS=here\nREADY=1'; exec sleep 100";
    let supervisor = supervised(scene, script)?;
    scene.start()?;
    let heard = supervisor.heard();
    let texts: Vec<&str> = heard.iter().map(|(text, _)| text.as_str()).collect();
    let expect = ["STATUS=warming up", "WATCHDOG=1", "STATUS=here\nREADY=1"];
    ensure!(texts.starts_with(&expect), "{texts:?}");
    Ok(())
}

/// The supervisor is the caller's: a program must not give it orders, nor descriptors.
fn not_all(scene: &mut Scene<'_>) -> Check {
    let long = "x".repeat(5000);
    let script = format!(
        "notify MAINPID=1 'FDSTORE=1\nFDNAME=a' NOTIFYACCESS=all BARRIER=1 READY=0 STATUS={long} 'MAINPID=1\nREADY=1'; exec sleep 100"
    );
    let supervisor = supervised(scene, &script)?;
    let pid = scene.create()?;
    scene.must("start")?;
    announced(&supervisor, pid)
}

fn ordinary_user(scene: &mut Scene<'_>) -> Check {
    let supervisor = supervised(scene, READY)?;
    // Whatever the caller's umask.
    scene.setup = "umask 077; export NOTIFY_SOCKET=$PWD/sd.sock";
    let user = json!({ "uid": 1000, "gid": 1000 });
    set(&mut scene.config, "/process/user", user);
    scene.config["process"]["capabilities"] = json!({});
    let pid = scene.create()?;
    scene.must("start")?;
    announced(&supervisor, pid)
}

fn user_namespace(scene: &mut Scene<'_>) -> Check {
    let supervisor = supervised(scene, READY)?;
    config::user_namespace(&mut scene.config);
    fs::create_dir_all(scene.path("rootfs/run/notify"))?;
    let pid = scene.create()?;
    scene.must("start")?;
    announced(&supervisor, pid)
}

/// What the configuration mounts there does not hide it.
fn tmpfs(scene: &mut Scene<'_>) -> Check {
    let supervisor = supervised(scene, READY)?;
    config::mount(&mut scene.config, "/run", "tmpfs", "tmpfs", &[]);
    let pid = scene.create()?;
    scene.must("start")?;
    announced(&supervisor, pid)
}

fn abstract_name(scene: &mut Scene<'_>) -> Check {
    install(scene)?;
    scene.setup = "export NOTIFY_SOCKET=@$PWD";
    scene.script(READY);
    let supervisor = Supervisor::listen_abstract(&scene.dir.display().to_string())?;
    let pid = scene.create()?;
    scene.must("start")?;
    announced(&supervisor, pid)
}

/// Who creates a container knows who wants to be told.
fn start_by_another(scene: &mut Scene<'_>) -> Check {
    let supervisor = supervised(scene, READY)?;
    let pid = scene.create()?;
    scene.setup = "";
    scene.must("start")?;
    announced(&supervisor, pid)
}

/// A supervisor that has gone is an error, and the container can still be started when it is back.
fn nobody_there(scene: &mut Scene<'_>) -> Check {
    install(scene)?;
    scene.setup = SETUP;
    scene.script(READY);
    let pid = scene.create()?;
    let ran = scene.verb("start")?;
    ensure!(!ran.ok(), "{}", ran.story());
    scene.must_be("created")?;
    let supervisor = Supervisor::listen(&scene.path(SOCKET))?;
    scene.must("start")?;
    announced(&supervisor, pid)
}

fn run_detached(scene: &mut Scene<'_>) -> Check {
    let supervisor = supervised(scene, READY)?;
    scene.write_config()?;
    let pid_file = scene.path("pid").display().to_string();
    let args = ["run", "--detach", "--pid-file", &pid_file, &scene.id];
    scene.finish_create(scene.call(&args))?.must()?;
    let pid: i32 = fs::read_to_string(&pid_file)?.trim().parse()?;
    announced(&supervisor, pid)
}

/// The command stays in front of the container, and is who to watch.
fn run_foreground(scene: &mut Scene<'_>) -> Check {
    let supervisor = supervised(scene, "notify READY=1; sleep 0.5; exit 3")?;
    scene.write_config()?;
    let run = scene.call(&["run", &scene.id]).spawn()?;
    let main = run.pid();
    let ran = run.wait(LIMIT)?;
    ensure!(ran.code() == 3, "{}", ran.story());
    announced(&supervisor, main)
}

/// As long as it stands there.
fn run_later(scene: &mut Scene<'_>) -> Check {
    let supervisor = supervised(scene, "notify READY=1 STATUS=later STOPPING=1")?;
    let ran = scene.run()?;
    ensure!(ran.ok(), "{}", ran.story());
    for line in ["READY=1", "STATUS=later", "STOPPING=1"] {
        ensure!(supervisor.has(line), "{line}: {:?}", supervisor.heard());
    }
    Ok(())
}

fn none(scene: &mut Scene<'_>) -> Check {
    scene.script("env | grep NOTIFY; ls /run");
    let ran = scene.run()?;
    ensure!(ran.ok() && ran.stdout.is_empty(), "{}", ran.story());
    Ok(())
}

fn delete(scene: &mut Scene<'_>) -> Check {
    let supervisor = supervised(scene, "notify READY=1")?;
    scene.start()?;
    ensure!(supervisor.has("READY=1"), "{:?}", supervisor.heard());
    scene.wait_status("stopped")?;
    scene.must("delete")?;
    scene.leaves_nothing()
}
