//! What engines read: missing programs, logs, versions, lists.

use std::fs;

use serde_json::{Value, json};

use crate::config::set;
use crate::property::{Scenario, scenario};
use crate::scene::Scene;
use crate::suite::{Check, Stop, ensure};

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario("program.missing-in-path", |scene| {
        missing(scene, "no-such-tool", "executable file not found in $PATH")
    }),
    scenario("program.missing", |scene| {
        missing(scene, "/no/such/tool", "no such file or directory")
    })
    .deviates(CRUN),
    scenario("program.not-executable", |scene| {
        missing(scene, "/etc/passwd", "permission denied")
    })
    .deviates(CRUN),
    scenario("program.is-a-directory", |scene| missing(scene, "/etc", "")),
    scenario("log.json", json_log),
    scenario("log.json.appended", appended),
    scenario("log.unwritten-on-success", silent),
    scenario("log.format.invalid", bad_format),
    scenario("version", version),
    scenario("list.json", list_json),
    scenario("list.table", list_table),
    scenario("list.quiet", list_quiet),
    scenario("usage.unknown-command", |scene| {
        usage(scene, &["unheard-of"])
    }),
    scenario("usage.unknown-flag", |scene| {
        usage(scene, &["state", "--unheard-of", "x"])
    }),
    scenario("usage.missing-id", |scene| usage(scene, &["start"])),
];

const CRUN: crate::suite::Known = &[("crun", "begins the words with a capital letter")];

/// create fails, with the words by which engines tell 126 from 127, and leaves nothing.
fn missing(scene: &mut Scene<'_>, program: &str, words: &str) -> Check {
    set(&mut scene.config, "/process/args", json!([program]));
    let ran = scene.try_create()?;
    ensure!(ran.code() == 1, "exit status: {}", ran.story());
    ensure!(
        ran.stderr.contains(words),
        "wanted {words:?}: {}",
        ran.story()
    );
    ensure!(!scene.path("pid").exists(), "a pid file was written");
    scene.leaves_nothing()
}

/// `2026-11-21T00:21:22Z`, with or without a fraction and an offset.
pub(crate) fn is_rfc3339(text: &str) -> bool {
    let shape = "dddd-dd-ddTdd:dd:dd";
    let head = text.len() > shape.len()
        && shape.chars().zip(text.chars()).all(|(want, got)| {
            if want == 'd' {
                got.is_ascii_digit()
            } else {
                want == got
            }
        });
    let rest = text.get(shape.len()..).unwrap_or_default();
    let zone = rest.trim_start_matches(|c: char| c == '.' || c.is_ascii_digit());
    head && (zone == "Z"
        || (zone.len() == 6
            && zone.starts_with(['+', '-'])
            && zone.as_bytes().get(3) == Some(&b':')))
}

fn failing_call(scene: &mut Scene<'_>) -> Check<crate::runtime::Ran> {
    set(&mut scene.config, "/process/args", json!(["/no/such/tool"]));
    scene.write_config()?;
    let log = scene.path("log.json").display().to_string();
    Ok(scene
        .call(&["--log", &log, "--log-format", "json", "create", &scene.id])
        .run()?)
}

/// Every line is a JSON object; the last one is the error, as go-runc reads it.
fn json_log(scene: &mut Scene<'_>) -> Check {
    let ran = failing_call(scene)?;
    ensure!(ran.code() == 1, "{}", ran.story());
    let text = fs::read_to_string(scene.path("log.json"))?;
    let lines: Result<Vec<Value>, _> = text.lines().map(serde_json::from_str).collect();
    let lines = lines.map_err(|error| Stop::Fail(format!("{error} in {text}")))?;
    let last = lines
        .last()
        .ok_or_else(|| Stop::Fail("the log is empty".to_owned()))?;
    ensure!(last["level"] == "error", "{last}");
    ensure!(
        last["msg"]
            .as_str()
            .is_some_and(|msg| msg.to_lowercase().contains("no such file")),
        "{last}"
    );
    ensure!(last["time"].as_str().is_some_and(is_rfc3339), "{last}");
    // conmon reads stderr even when there is a log.
    ensure!(
        ran.stderr.to_lowercase().contains("no such file"),
        "stderr: {}",
        ran.story()
    );
    Ok(())
}

fn appended(scene: &mut Scene<'_>) -> Check {
    fs::write(
        scene.path("log.json"),
        "{\"level\":\"info\",\"msg\":\"before\",\"time\":\"2026-01-01T00:00:00Z\"}\n",
    )?;
    failing_call(scene)?;
    let text = fs::read_to_string(scene.path("log.json"))?;
    ensure!(
        text.starts_with("{\"level\":\"info\",\"msg\":\"before\"") && text.lines().count() > 1,
        "{text}"
    );
    Ok(())
}

fn silent(scene: &mut Scene<'_>) -> Check {
    scene.write_config()?;
    let log = scene.path("log.json").display().to_string();
    let ran = scene
        .call(&["--log", &log, "--log-format", "json", "run", &scene.id])
        .run()?;
    ensure!(ran.ok() && ran.output().is_empty(), "{}", ran.story());
    let text = fs::read_to_string(log).unwrap_or_default();
    ensure!(text.is_empty(), "the log of a success: {text}");
    Ok(())
}

fn bad_format(scene: &mut Scene<'_>) -> Check {
    scene.write_config()?;
    let ran = scene
        .call(&["--log-format", "runes", "run", &scene.id])
        .run()?;
    ensure!(!ran.ok() && ran.status.is_some(), "{}", ran.story());
    Ok(())
}

/// Engines take the name before "version" and the lines `commit:` and `spec:`.
fn version(scene: &mut Scene<'_>) -> Check {
    let mut call = scene.call(&[]);
    call.args = vec!["--version".to_owned()];
    let ran = call.run()?;
    let first = ran.stdout.lines().next().unwrap_or_default();
    let words: Vec<&str> = first.split(' ').collect();
    ensure!(
        ran.ok() && words.len() == 3 && words.get(1) == Some(&"version"),
        "{}",
        ran.story()
    );
    ensure!(
        ran.stdout.lines().any(|line| line.starts_with("commit: ")),
        "no commit line: {}",
        ran.story()
    );
    ensure!(
        ran.stdout.lines().any(|line| line.starts_with("spec: ")),
        "no spec line: {}",
        ran.story()
    );
    Ok(())
}

fn list_json(scene: &mut Scene<'_>) -> Check {
    let pid = scene.create()?;
    let ran = scene.call(&["list", "--format", "json"]).run()?;
    let list: Value = serde_json::from_str(&ran.stdout)?;
    ensure!(
        list.as_array().is_some_and(|list| list.len() == 1),
        "{}",
        ran.story()
    );
    let entry = &list[0];
    ensure!(
        entry["id"] == json!(scene.id)
            && entry["pid"] == json!(pid)
            && entry["status"] == "created",
        "{entry}"
    );
    ensure!(
        entry["bundle"] == json!(scene.dir) && entry["created"].is_string(),
        "{entry}"
    );
    scene.must("delete")?;
    let ran = scene.call(&["list", "--format=json"]).run()?;
    let empty: Value = serde_json::from_str(&ran.stdout)?;
    ensure!(empty.is_null() || empty == json!([]), "{}", ran.story());
    Ok(())
}

fn list_table(scene: &mut Scene<'_>) -> Check {
    let pid = scene.create()?;
    let ran = scene.call(&["list"]).run()?;
    let rows: Vec<Vec<&str>> = ran
        .stdout
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    ensure!(
        rows.first()
            .is_some_and(|row| *row == ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]),
        "{}",
        ran.story()
    );
    let wanted = [
        scene.id.clone(),
        pid.to_string(),
        "created".to_owned(),
        scene.dir.display().to_string(),
    ];
    ensure!(
        rows.get(1)
            .is_some_and(|row| row.starts_with(&wanted.each_ref().map(String::as_str))),
        "{}",
        ran.story()
    );
    Ok(())
}

fn list_quiet(scene: &mut Scene<'_>) -> Check {
    scene.create()?;
    let ran = scene.call(&["list", "-q"]).run()?;
    ensure!(ran.ok() && ran.stdout.trim() == scene.id, "{}", ran.story());
    Ok(())
}

fn usage(scene: &mut Scene<'_>, args: &[&str]) -> Check {
    let ran = scene.call(args).run()?;
    ensure!(
        !ran.ok() && ran.status.is_some() && !ran.output().is_empty(),
        "{}",
        ran.story()
    );
    Ok(())
}
