//! `delete --force` from every state of the record, and while create hangs in a hook.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{
    Stranger, alive, force_delete, longshore_only, one_line, start_time, start_with_slow_hook,
    wait_dead,
};
use crate::config::{push, set};
use crate::property::{Scenario, scenario};
use crate::runtime::{LIMIT, Running};
use crate::scene::{Scene, until};
use crate::suite::{Check, Stop, ensure};

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario("delete.force.record.truncated", |scene| {
        damaged(scene, |text| Some(text[..text.len() / 2].to_owned()))
    }),
    scenario("delete.force.record.empty", |scene| {
        damaged(scene, |_| Some(String::new()))
    }),
    scenario("delete.force.record.garbage", |scene| {
        damaged(scene, |_| Some("\u{1}\u{2}{{{".repeat(1000)))
    }),
    scenario("delete.force.record.newer", |scene| damaged(scene, newer)),
    scenario("delete.force.record.missing", |scene| {
        damaged(scene, |_| None)
    }),
    scenario("delete.force.record.other-pid", |scene| misled(scene, None)),
    scenario("delete.force.record.stale-boot-id", |scene| {
        misled(scene, Some("00000000-0000-0000-0000-000000000000"))
    }),
    scenario("delete.force.unknown-id", unknown),
    scenario("delete.force.slow-hook", slow_hook),
    scenario("delete.force.slow-hook.creator-killed", orphaned_hook),
    scenario("delete.force.poststart-hook", poststart_hook),
    scenario("delete.force.poststop-hook", poststop_hook),
    scenario("delete.force.start-hook", start_hook),
];

fn newer(text: &str) -> Option<String> {
    let mut record: Value = serde_json::from_str(text).ok()?;
    record["version"] = json!(1_000_000);
    record["complete"] = json!({ "in": "other words" });
    Some(record.to_string())
}

#[derive(Clone, Copy, Debug)]
enum Life {
    Created,
    Running,
    Dead,
}

fn begin(scene: &mut Scene<'_>, life: Life) -> Check<i32> {
    scene.script(if matches!(life, Life::Dead) {
        "exit 3"
    } else {
        "sleep 300 & sleep 300"
    });
    let pid = match life {
        Life::Created => scene.create()?,
        _ => scene.start()?,
    };
    if matches!(life, Life::Dead) {
        scene.wait_status("stopped")?;
    }
    Ok(pid)
}

/// Each damage to a container in each part of its life.
fn damaged(scene: &mut Scene<'_>, spoil: fn(&str) -> Option<String>) -> Check {
    longshore_only(scene)?;
    for life in [Life::Created, Life::Running, Life::Dead] {
        let pid = begin(scene, life)?;
        let record = scene.path("state").join(&scene.id).join("state.json");
        let text = fs::read_to_string(&record)?;
        match spoil(&text) {
            Some(text) => fs::write(&record, text)?,
            None => fs::remove_file(&record)?,
        }
        one_line(&scene.verb("state")?)?;
        let list = scene.call(&["list"]).run()?;
        ensure!(list.ok(), "{life:?}: {}", list.story());
        force_delete(scene).map_err(|stop| Stop::Fail(format!("{life:?}: {stop:?}")))?;
        ensure!(!alive(pid), "{life:?}: init is alive");
        fs::remove_file(scene.path("pid"))?;
    }
    Ok(())
}

/// A record that names another process: with its own start time, where the boot is another one.
fn misled(scene: &mut Scene<'_>, boot_id: Option<&str>) -> Check {
    longshore_only(scene)?;
    let stranger = Stranger::start()?;
    // Start times are counted in ticks of 10 ms: the stranger must have another one than the container.
    std::thread::sleep(std::time::Duration::from_millis(25));
    for verbs in [&["kill", "delete"][..], &[]] {
        let pid = begin(scene, Life::Running)?;
        let directory = scene.path("state").join(&scene.id);
        let mut record: Value =
            serde_json::from_str(&fs::read_to_string(directory.join("state.json"))?)?;
        let word = record["init"].as_str().unwrap_or_default().to_owned();
        let parts: Vec<&str> = word.splitn(3, '.').collect();
        ensure!(
            parts.len() == 3,
            "unknown form of init in the record: {word}"
        );
        let time = match boot_id {
            Some(_) => start_time(stranger.pid()).unwrap_or(0).to_string(),
            None => parts[1].to_owned(),
        };
        let word = format!("{}.{time}.{}", stranger.pid(), boot_id.unwrap_or(parts[2]));
        record["init"] = json!(word);
        fs::write(directory.join("state.json"), record.to_string())?;
        fs::remove_file(directory.join("init"))?;
        symlink(&word, directory.join("init"))?;
        for verb in verbs {
            scene.verb(verb)?; // whatever it says
            stranger.must_live()?;
        }
        force_delete(scene)?;
        stranger.must_live()?;
        // Not by its number, but by the mark on its cgroup.
        ensure!(!alive(pid), "init is alive");
        fs::remove_file(scene.path("pid"))?;
    }
    Ok(())
}

fn unknown(scene: &mut Scene<'_>) -> Check {
    for _ in 0..2 {
        scene
            .call(&["delete", "--force", &scene.id])
            .run()?
            .must()?;
    }
    Ok(())
}

/// A createRuntime hook that hangs, with a child of its own; create under way and the hook's pid.
fn hanging(scene: &mut Scene<'_>) -> Check<(Running, i32)> {
    let file = scene.path("hook-pid");
    let text = format!(
        "#!/bin/sh\nsleep 60 &\necho $$ > {0}.new; mv {0}.new {0}\nsleep 60\n",
        file.display()
    );
    let hook = scene.executable("hook", &text)?;
    push(
        &mut scene.config,
        "/hooks/createRuntime",
        json!({ "path": hook }),
    );
    scene.write_config()?;
    let creating = scene.create_call(&[]).spawn()?;
    until(|| file.exists(), "the hook")?;
    let pid = fs::read_to_string(&file)?.trim().parse()?;
    Ok((creating, pid))
}

/// The living processes of a group.
fn group(leader: i32) -> Vec<i32> {
    let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let of_group = |pid: &i32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit_once(") ")
            .is_some_and(|(_, rest)| rest.split(' ').nth(2) == Some(&leader.to_string()))
    };
    pids.filter(of_group).filter(|pid| alive(*pid)).collect()
}

/// `delete --force` gets through in time, and the call that holds the lock ends with its one line.
fn cut_short(scene: &Scene<'_>, holder: Running) -> Check {
    let begin = Instant::now();
    force_delete(scene)?;
    ensure!(
        begin.elapsed() < Duration::from_secs(11),
        "delete --force took {:?}",
        begin.elapsed()
    );
    one_line(&holder.wait(Duration::from_secs(1))?)
}

fn slow_hook(scene: &mut Scene<'_>) -> Check {
    longshore_only(scene)?;
    let (creating, hook) = hanging(scene)?;
    let mut fastest = Duration::MAX;
    for _ in 0..5 {
        let begin = Instant::now();
        ensure!(scene.status()? == "creating", "not creating");
        fastest = fastest.min(begin.elapsed());
    }
    ensure!(
        fastest < Duration::from_millis(50),
        "state took {fastest:?}"
    );
    cut_short(scene, creating)?;
    ensure!(
        group(hook).is_empty(),
        "left of the hook: {:?}",
        group(hook)
    );
    ensure!(!scene.path("pid").exists(), "a pid file was written");
    Ok(())
}

/// Nobody is left to end the hook but delete.
fn orphaned_hook(scene: &mut Scene<'_>) -> Check {
    longshore_only(scene)?;
    let (creating, hook) = hanging(scene)?;
    creating.signal(libc::SIGKILL);
    creating.wait(LIMIT)?;
    let deleted = force_delete(scene);
    let _ = until(|| group(hook).is_empty(), ""); // SIGKILL takes its moment; what stays is told below
    let left = group(hook);
    for pid in &left {
        let _ = nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(*pid),
            nix::sys::signal::Signal::SIGKILL,
        ); // ours: found by its group
    }
    deleted?;
    ensure!(left.is_empty(), "left of the hook: {left:?}");
    Ok(())
}

/// `start` holds the lock while its hook sleeps: delete --force gets through all the same.
fn start_hook(scene: &mut Scene<'_>) -> Check {
    longshore_only(scene)?;
    let (starting, pid) = start_with_slow_hook(scene)?;
    cut_short(scene, starting)?;
    wait_dead(pid)
}

/// A hook of the kind that hangs on its first run.
fn hang_once(scene: &mut Scene<'_>, kind: &str) -> Check {
    let file = scene.path("begun").display().to_string();
    let text = format!("#!/bin/sh\n[ -e {file} ] && exit\necho > {file}\nexec sleep 60\n");
    let hook = scene.executable("hook", &text)?;
    set(
        &mut scene.config,
        &format!("/hooks/{kind}"),
        json!([{ "path": hook }]),
    );
    scene.script("exec sleep 100");
    Ok(())
}

fn poststart_hook(scene: &mut Scene<'_>) -> Check {
    longshore_only(scene)?;
    hang_once(scene, "poststart")?;
    let pid = scene.create()?;
    let starting = scene.call(&["start", &scene.id]).spawn()?;
    until(|| scene.path("begun").exists(), "the hook")?;
    force_delete(scene)?;
    one_line(&starting.wait(Duration::from_secs(1))?)?;
    wait_dead(pid)
}

/// The first delete goes on without its hook, and finishes.
fn poststop_hook(scene: &mut Scene<'_>) -> Check {
    longshore_only(scene)?;
    hang_once(scene, "poststop")?;
    let pid = scene.create()?;
    let deleting = scene.call(&["delete", &scene.id]).spawn()?;
    until(|| scene.path("begun").exists(), "the hook")?;
    force_delete(scene)?;
    let ran = deleting.wait(Duration::from_secs(1))?;
    ensure!(ran.ok(), "{}", ran.story());
    wait_dead(pid)
}
