//! config-linux.md#seccomp: SCMP_ACT_NOTIFY, `listenerPath`, `listenerMetadata`

use std::fs;
use std::os::unix::net::UnixListener;

use serde_json::{Value, json};

use crate::agent::{Agent, Handed, WORDS};
use crate::config::set;
use crate::property::{Scenario, scenario};
use crate::scene::Scene;
use crate::suite::{Check, Stop, ensure};

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario("linux.seccomp.listenerPath.agent-answers", answers),
    scenario(
        "linux.seccomp.listenerPath.with-noNewPrivileges",
        answers_without_privileges,
    ),
    scenario("linux.seccomp.listenerPath.state", state),
    scenario("linux.seccomp.listenerPath.closed-after-the-state", closed)
        .deviates(&[("runc", "1.1 closes it when it ends")]),
    scenario("linux.seccomp.listenerMetadata", metadata),
    scenario("linux.seccomp.listenerPath.exec", added_process),
    scenario("linux.seccomp.defaultAction.notify", all_calls)
        .deviates(&[("runc", "refuses NOTIFY as the default")]),
    scenario("linux.seccomp.listenerPath.long", long_path)
        .deviates(&[("runc", "connects by the path alone")]),
    scenario("linux.seccomp.listenerPath.nobody-there", nobody_there),
    scenario("linux.seccomp.listenerPath.ignored-without-notify", ignored),
];

const SOCKET: &str = "agent.sock";

/// mkdir asks the agent.
fn notify(scene: &mut Scene<'_>, socket: &str) {
    let rule = json!({ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_NOTIFY" });
    let path = scene.path(socket).display().to_string();
    let seccomp =
        json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule], "listenerPath": path });
    set(&mut scene.config, "/linux/seccomp", seccomp);
}

const MKDIR: &str = "mkdir /tmp/new 2>&1 && echo made";

fn answers(scene: &mut Scene<'_>) -> Check {
    scene.script(MKDIR);
    let without = scene.run()?.must()?.stdout;
    ensure!(without == "made\n", "without the rule: {without}");
    answered(scene)
}

fn answers_without_privileges(scene: &mut Scene<'_>) -> Check {
    scene.script(MKDIR);
    set(&mut scene.config, "/process/noNewPrivileges", json!(true));
    set(
        &mut scene.config,
        "/process/user",
        json!({ "uid": 1000, "gid": 1000 }),
    );
    answered(scene)
}

fn answered(scene: &mut Scene<'_>) -> Check {
    let handed = asked(scene)?;
    ensure!(
        handed.calls.len() == 1,
        "asked {} times",
        handed.calls.len()
    );
    Ok(())
}

fn asked(scene: &mut Scene<'_>) -> Check<Handed> {
    notify(scene, SOCKET);
    let agent = Agent::listen(&scene.path(SOCKET))?;
    let ran = scene.run()?;
    ensure!(ran.stdout.contains(WORDS), "with it: {}", ran.story());
    one(agent.report()?)
}

/// "The connection MUST NOT be reused and it MUST be closed after sending a seccomp state."
fn closed(scene: &mut Scene<'_>) -> Check {
    scene.script(MKDIR);
    ensure!(asked(scene)?.closed, "it was still open");
    Ok(())
}

/// "The runtime MUST send exactly one container process state per connection."
fn one(mut handed: Vec<Handed>) -> Check<Handed> {
    ensure!(handed.len() == 1, "{} connections", handed.len());
    handed.pop().ok_or_else(|| Stop::Fail(String::new()))
}

fn state(scene: &mut Scene<'_>) -> Check {
    notify(scene, SOCKET);
    let agent = Agent::listen(&scene.path(SOCKET))?;
    scene.script("exec sleep 100");
    let pid = scene.start()?;
    let told = scene.state()?;
    let handed = one(agent.report()?)?;
    let state = &handed.state;
    ensure!(
        handed.descriptors == 1,
        "{} descriptors",
        handed.descriptors
    );
    ensure!(state["fds"] == json!(["seccompFd"]), "fds: {state}");
    ensure!(state["pid"] == json!(pid), "pid: {state}");
    ensure!(state["ociVersion"].is_string(), "ociVersion: {state}");
    ensure!(
        state.get("metadata").is_none_or(|data| data == ""),
        "metadata: {state}"
    );
    for name in ["id", "bundle", "pid", "ociVersion"] {
        ensure!(
            state["state"][name] == told[name],
            "state.{name}: {state}, not {told}"
        );
    }
    let status = &state["state"]["status"];
    ensure!(
        status == "creating" || status == "created",
        "status: {state}"
    );
    Ok(())
}

fn metadata(scene: &mut Scene<'_>) -> Check {
    for given in [Some("a \"b\" \u{e9}"), None] {
        notify(scene, SOCKET);
        if let Some(data) = given {
            set(
                &mut scene.config,
                "/linux/seccomp/listenerMetadata",
                json!(data),
            );
        }
        let agent = Agent::listen(&scene.path(SOCKET))?;
        scene.script("true");
        scene.run()?.must()?;
        fs::remove_file(scene.path(SOCKET))?;
        let handed = one(agent.report()?)?;
        let told = handed.state["metadata"].as_str().unwrap_or_default();
        ensure!(
            told == given.unwrap_or_default(),
            "{given:?} became {told:?}"
        );
    }
    Ok(())
}

/// Each process has a listener of its own.
fn added_process(scene: &mut Scene<'_>) -> Check {
    notify(scene, SOCKET);
    let agent = Agent::listen(&scene.path(SOCKET))?;
    scene.script("exec sleep 100");
    let pid = scene.start()?;
    let ran = scene.call(&["exec", &scene.id, "sh", "-c", MKDIR]).run()?;
    ensure!(ran.stdout.contains(WORDS), "{}", ran.story());
    let mut handed = agent.report()?;
    ensure!(handed.len() == 2, "{} connections", handed.len());
    let added = handed.pop().map(|handed| handed.state).unwrap_or_default();
    ensure!(added["state"]["status"] == "running", "{added}");
    ensure!(added["state"]["pid"] == json!(pid), "{added}");
    let own = added["pid"].as_i64().unwrap_or_default();
    ensure!(own > 0 && own != i64::from(pid), "{added}");
    Ok(())
}

/// execve and all that the runtime does after the filter ask too.
fn all_calls(scene: &mut Scene<'_>) -> Check {
    let path = scene.path(SOCKET).display().to_string();
    let seccomp = json!({ "defaultAction": "SCMP_ACT_NOTIFY", "listenerPath": path });
    set(&mut scene.config, "/linux/seccomp", seccomp);
    let agent = Agent::listen(&scene.path(SOCKET))?;
    scene.script(MKDIR);
    let ran = scene.run()?;
    ensure!(ran.stdout.contains(WORDS), "{}", ran.story());
    let handed = one(agent.report()?)?;
    let execve = i32::try_from(libc::SYS_execve)?;
    let first: Vec<_> = handed.calls.iter().map(|(_, number)| *number).collect();
    ensure!(first.contains(&execve), "execve is not among {first:?}");
    Ok(())
}

/// Longer than a socket address can be.
fn long_path(scene: &mut Scene<'_>) -> Check {
    let deep = ["d"; 4].map(|name| name.repeat(60)).join("/");
    fs::create_dir_all(scene.path(&deep))?;
    let agent = Agent::listen(&scene.path(SOCKET))?;
    let long = format!("{deep}/{SOCKET}");
    fs::rename(scene.path(SOCKET), scene.path(&long))?;
    notify(scene, &long);
    scene.script(MKDIR);
    let ran = scene.run()?;
    ensure!(ran.stdout.contains(WORDS), "{}", ran.story());
    one(agent.report()?).map(drop)
}

/// "If sending to this socket fails, the runtime MUST generate an error." Nothing is executed.
fn nobody_there(scene: &mut Scene<'_>) -> Check {
    scene.file("plain", "")?;
    drop(UnixListener::bind(scene.path("left"))?);
    let ours = scene.runtime().name == "longshore";
    for socket in ["missing", "plain", "left"] {
        notify(scene, socket);
        scene.script("echo executed");
        let ran = scene.run()?;
        ensure!(
            !ran.ok() && ran.stdout.is_empty(),
            "{socket}: {}",
            ran.story()
        );
        let named = ran.stderr.contains("linux.seccomp.listenerPath");
        ensure!(named || !ours, "{socket}: {}", ran.story());
        let left = scene.left_behind();
        ensure!(left.is_empty(), "{socket}: left {left:?}");
    }
    Ok(())
}

fn ignored(scene: &mut Scene<'_>) -> Check {
    notify(scene, "missing");
    set(
        &mut scene.config,
        "/linux/seccomp/syscalls/0/action",
        json!("SCMP_ACT_ERRNO"),
    );
    scene.script(MKDIR);
    let ran = scene.run()?;
    ensure!(ran.stdout.contains("not permitted"), "{}", ran.story());
    Ok(())
}

/// For errors.rs: nobody could be asked.
pub(crate) fn without_path(config: &mut Value) {
    let rule = json!({ "names": ["mkdir"], "action": "SCMP_ACT_NOTIFY" });
    let seccomp = json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule] });
    set(config, "/linux/seccomp", seccomp);
}
