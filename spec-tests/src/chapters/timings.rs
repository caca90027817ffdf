//! Beyond runc: `--timings`, where the time of create, start, run and exec goes.

use std::fs;

use serde_json::{Value, json};

use super::exec::{exec, sleeper};
use crate::config::set;
use crate::property::{Scenario, scenario};
use crate::runtime::Call;
use crate::scene::Scene;
use crate::strace::traced;
use crate::suite::{Check, Stop, ensure};

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario("timings.lines", lines),
    scenario("timings.explain", explain),
    scenario("timings.init", inits),
    scenario("timings.errno", errno),
    scenario("timings.exec", added),
    scenario("timings.hooks.time", hooks_time),
    scenario("timings.traceparent", traceparent),
    scenario("timings.traceparent.invalid", invalid),
    scenario("timings.unwritable", unwritable),
];

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// The user's own time, which is no part of the runtime's.
const WAITED: &str = "wait for the program";

/// The file's lines.
fn told(scene: &Scene<'_>) -> Check<Vec<Value>> {
    let text = fs::read_to_string(scene.path("timings"))?;
    let lines: Result<Vec<Value>, _> = text.lines().map(serde_json::from_str).collect();
    Ok(lines?)
}

/// `run` with its timings.
fn run(scene: &Scene<'_>) -> Call {
    scene.call(&["run", "--timings", "timings", &scene.id])
}

fn duration(line: &Value) -> u64 {
    line["duration"].as_u64().unwrap_or(0)
}

/// Nanoseconds of a day.
const DAY: u64 = 86_400_000_000_000;

/// When it began, in nanoseconds of its day.
fn start(line: &Value) -> Check<u64> {
    let text = line["start"].as_str().unwrap_or_default();
    let bad = || Stop::Fail(format!("no time: {line}"));
    let time = text
        .split_once('T')
        .and_then(|(_, time)| time.strip_suffix('Z'));
    let (clock, fraction) = time.ok_or_else(bad)?.split_at(8);
    let numbers: Result<Vec<u64>, _> = clock.split(':').map(str::parse).collect();
    let nanos: u64 = format!("{:0<9}", fraction.trim_start_matches('.')).parse()?;
    let seconds = numbers?.iter().fold(0, |sum, number| sum * 60 + number);
    Ok(seconds * 1_000_000_000 + nanos)
}

/// Every member in every line; the host's lines of an operation follow each other without a gap.
fn lines(scene: &mut Scene<'_>) -> Check {
    scene.only_longshore()?;
    scene.write_config()?;
    run(scene).run()?.must()?;
    let lines = told(scene)?;
    for line in &lines {
        let good = line["id"] == *scene.id
            && line["operation"].is_string()
            && (line["side"] == "host" || line["side"] == "init")
            && line["step"].is_u64() == line["path"].is_string()
            && line["action"].is_string()
            && line["duration"].is_u64()
            && line["errno"] == 0
            && line["traceparent"].is_null();
        ensure!(good, "{line}");
    }
    for operation in ["create", "start", "delete"] {
        let ours = |line: &&Value| line["operation"] == operation && line["side"] == "host";
        let ours: Vec<&Value> = lines.iter().filter(ours).collect();
        ensure!(ours.len() > 3, "{operation}: {} lines", ours.len());
        for pair in ours.windows(2) {
            let end = (start(pair[0])? + duration(pair[0])) % DAY;
            ensure!(
                end == start(pair[1])?,
                "a gap between {} and {}",
                pair[0],
                pair[1]
            );
        }
    }
    Ok(())
}

/// A bundle as Docker makes it: from main() to exit, at least 95 % of the time is in the lines.
fn explain(scene: &mut Scene<'_>) -> Check {
    scene.only_longshore()?;
    let path = scene.config["linux"]["cgroupsPath"].clone();
    scene.config = serde_json::from_str(include_str!("../../../benches/docker.json"))?;
    scene.config["process"]["args"] = json!(["true"]);
    set(&mut scene.config, "/linux/cgroupsPath", path);
    for name in ["hosts", "hostname", "resolv.conf"] {
        scene.file(&format!("etc/{name}"), "")?;
    }
    scene.write_config()?;
    let mut ratios = Vec::new();
    for _ in 0..5 {
        let _ = fs::remove_file(scene.path("timings")); // the first time there is none
        // The only thing that is traced is the end.
        let options = [
            "-f",
            "--seccomp-bpf",
            "-ttt",
            "-e",
            "trace=exit_group",
            "-o",
            "trace",
        ];
        traced(run(scene), &options)?.run()?.must()?;
        let trace = fs::read_to_string(scene.path("trace"))?;
        let exit = trace.lines().rfind(|line| line.contains(" exit_group("));
        let exit = exit.and_then(|line| line.split_whitespace().nth(1)?.split_once('.'));
        let (seconds, micros) = exit.ok_or_else(|| Stop::Fail(trace.clone()))?;
        let exit = seconds.parse::<u64>()? * 1_000_000_000 + micros.parse::<u64>()? * 1000;
        let lines = told(scene)?;
        let hosts = || lines.iter().filter(|line| line["side"] == "host");
        let (waits, ours): (Vec<_>, Vec<_>) = hosts().partition(|line| line["action"] == WAITED);
        let sum = |lines: &[&Value]| lines.iter().map(|line| duration(line)).sum::<u64>();
        let whole = (exit % DAY + DAY - start(ours[0])?) % DAY;
        ratios.push(sum(&ours) * 1000 / (whole - sum(&waits)));
    }
    ratios.sort_unstable();
    ensure!(
        (950..=1000).contains(&ratios[2]),
        "per mille explained: {ratios:?}"
    );
    Ok(())
}

/// Each step that init has ended, up to the filter, has its line: what `plan` says is what was timed.
fn inits(scene: &mut Scene<'_>) -> Check {
    scene.only_longshore()?;
    scene.write_config()?;
    run(scene).run()?.must()?;
    let plan = scene.call(&["plan", "--format", "json", &scene.id]);
    let plan: Value = serde_json::from_str(&plan.run()?.must()?.stdout)?;
    let lines = told(scene)?;
    let steps = plan["steps"].as_array().cloned().unwrap_or_default();
    ensure!(steps.len() > 20, "{plan}");
    let mut marked = 0;
    for (number, step) in steps.iter().enumerate() {
        let line = lines
            .iter()
            .find(|line| line["side"] == "init" && line["step"] == number);
        if let Some(line) = line {
            ensure!(
                line["path"] == step["path"] && line["action"] == step["action"],
                "{line}: {step}"
            );
            marked += 1;
        }
        let last = ["execve", "filter", "created"].iter().any(|word| {
            step["action"]
                .as_str()
                .is_some_and(|action| action.contains(word))
        });
        let inside = step["side"] == "init" || step["side"] == "exec";
        ensure!(line.is_some() || !inside || last, "no line of {step}");
    }
    ensure!(marked > 15, "{marked} lines of init's");
    Ok(())
}

/// The step that failed, at its place.
fn errno(scene: &mut Scene<'_>) -> Check {
    scene.only_longshore()?;
    let mount = json!({ "destination": "/x", "type": "tmpfs", "source": "tmpfs", "options": ["size=none"] });
    let mounts = scene.config["mounts"].as_array_mut();
    mounts
        .ok_or_else(|| Stop::Fail("no mounts".to_owned()))?
        .push(mount);
    scene.write_config()?;
    let ran = run(scene).run()?;
    ensure!(!ran.ok(), "it runs");
    let lines = told(scene)?;
    let failed: Vec<_> = lines.iter().filter(|line| line["errno"] != 0).collect();
    let place = |side: &str| failed.iter().find(|line| line["side"] == side);
    let init = place("init").ok_or_else(|| Stop::Fail(format!("{failed:?}")))?;
    ensure!(
        init["path"]
            .as_str()
            .is_some_and(|path| path.contains("/x")),
        "{init}"
    );
    ensure!(init["errno"] == libc::EINVAL, "{init}");
    let host = place("host").ok_or_else(|| Stop::Fail(format!("{failed:?}")))?;
    ensure!(
        host["action"]
            .as_str()
            .is_some_and(|action| action.contains("/x")),
        "{host}"
    );
    Ok(())
}

fn added(scene: &mut Scene<'_>) -> Check {
    scene.only_longshore()?;
    sleeper(scene)?;
    exec(scene, &["--timings", "timings"], &["sleep", "0.2"])
        .run()?
        .must()?;
    let lines = told(scene)?;
    ensure!(
        lines.iter().all(|line| line["operation"] == "exec"),
        "{lines:?}"
    );
    let init = lines.iter().filter(|line| line["side"] == "init").count();
    ensure!(init > 5, "{init} lines of init's");
    let waited = lines.iter().find(|line| line["action"] == WAITED);
    ensure!(
        waited.is_some_and(|line| duration(line) > 150_000_000),
        "{waited:?}"
    );
    Ok(())
}

/// What is slow is seen where it is.
fn hooks_time(scene: &mut Scene<'_>) -> Check {
    scene.only_longshore()?;
    let hook = scene.executable("slow", "#!/bin/sh\nsleep 1\n")?;
    scene.config["hooks"] = json!({ "createRuntime": [{ "path": hook }] });
    scene.write_config()?;
    run(scene).run()?.must()?;
    let lines = told(scene)?;
    let slow: Vec<_> = lines
        .iter()
        .filter(|line| duration(line) > 900_000_000)
        .collect();
    let hooks = |line: &&&Value| {
        line["path"]
            .as_str()
            .is_some_and(|path| path.contains("hooks"))
    };
    ensure!(
        slow.iter()
            .any(|line| line["side"] == "host" && hooks(&line)),
        "{slow:?}"
    );
    ensure!(
        slow.len() == 2,
        "init waits for it, and nothing else is slow: {slow:?}"
    );
    Ok(())
}

/// In each line, and in the environment of every hook.
fn traceparent(scene: &mut Scene<'_>) -> Check {
    scene.only_longshore()?;
    let directory = scene.dir.display().to_string();
    let script = format!("#!/bin/sh\necho $TRACEPARENT $OTHER > {directory}/hook.$1\n");
    let hook = scene.executable("hook", &script)?;
    let kinds = ["prestart", "createRuntime", "poststart", "poststop"];
    for kind in kinds {
        let entry = json!([{ "path": hook, "args": ["hook", kind], "env": ["OTHER=1", "PATH=/usr/bin:/bin"] }]);
        set(&mut scene.config, &format!("/hooks/{kind}"), entry);
    }
    scene.write_config()?;
    let mut call = run(scene);
    call.env.push(("TRACEPARENT", PARENT));
    call.run()?.must()?;
    for line in told(scene)? {
        ensure!(line["traceparent"] == PARENT, "{line}");
    }
    for kind in kinds {
        let said = fs::read_to_string(scene.path(&format!("hook.{kind}")))?;
        ensure!(said == format!("{PARENT} 1\n"), "{kind}: {said}");
    }
    // Without --timings an environment is what config.json says.
    let mut call = scene.call(&["run", &scene.id]);
    call.env.push(("TRACEPARENT", PARENT));
    call.run()?.must()?;
    let said = fs::read_to_string(scene.path("hook.prestart"))?;
    ensure!(said == "1\n", "{said}");
    Ok(())
}

fn invalid(scene: &mut Scene<'_>) -> Check {
    scene.only_longshore()?;
    scene.write_config()?;
    let mut call = run(scene);
    call.env.push(("TRACEPARENT", "\"x\n"));
    call.run()?.must()?;
    for line in told(scene)? {
        ensure!(line["traceparent"].is_null(), "{line}");
    }
    Ok(())
}

/// A file that can't be opened is an error before anything is done.
fn unwritable(scene: &mut Scene<'_>) -> Check {
    scene.only_longshore()?;
    scene.write_config()?;
    let ran = scene
        .call(&["run", "--timings", "/no/where", &scene.id])
        .run()?;
    ensure!(
        !ran.ok() && ran.stderr.contains("/no/where"),
        "{}",
        ran.story()
    );
    scene.leaves_nothing()
}
