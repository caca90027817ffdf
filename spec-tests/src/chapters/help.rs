//! De facto: the command line itself: what `--help` lists, completions, manual pages.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use crate::property::{Scenario, scenario};
use crate::scene::Scene;
use crate::suite::{Check, Known, Stop, ensure};

const OTHERS: Known = &[
    ("runc", "1.1 has fewer"),
    ("crun", "1.8 has fewer, and some others"),
];

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario("help.flags", flags).deviates(OTHERS),
    scenario("help.of-each-command", each).deviates(&[("crun", "Debian's has no checkpoint")]),
    scenario("help.unknown-command", unknown),
    scenario("help.completions.bash", bash),
    scenario("help.completions.shells", shells),
    scenario("help.manual", manual),
];

/// runc's commands, and their flags but for those that it hides.
#[rustfmt::skip] // a table: one row, one line
const FLAGS: &[(&str, &str)] = &[
    ("", "--debug --log --log-format --root --systemd-cgroup --rootless --help -h --version -v"),
    ("checkpoint", "--image-path --work-path --parent-path --leave-running --tcp-established --tcp-skip-in-flight --link-remap --ext-unix-sk --shell-job --lazy-pages --status-fd --page-server --file-locks --pre-dump --manage-cgroups-mode --empty-ns --auto-dedup"),
    ("create", "--bundle -b --console-socket --pidfd-socket --pid-file --no-pivot --no-new-keyring --preserve-fds"),
    ("delete", "--force -f"),
    ("events", "--interval --stats"),
    ("exec", "--console-socket --pidfd-socket --cwd --env -e --tty -t --user -u --additional-gids -g --process -p --detach -d --pid-file --process-label --apparmor --no-new-privs --cap -c --preserve-fds --cgroup --ignore-paused"),
    ("features", ""),
    ("kill", ""),
    ("list", "--format -f --quiet -q"),
    ("pause", ""),
    ("ps", "--format -f"),
    ("restore", "--console-socket --image-path --work-path --tcp-established --ext-unix-sk --shell-job --file-locks --manage-cgroups-mode --bundle -b --detach -d --pid-file --no-subreaper --no-pivot --empty-ns --auto-dedup --lazy-pages --lsm-profile --lsm-mount-context"),
    ("resume", ""),
    ("run", "--bundle -b --console-socket --pidfd-socket --pid-file --no-pivot --no-new-keyring --preserve-fds --detach -d --keep --no-subreaper"),
    ("spec", "--bundle -b --rootless"),
    ("start", ""),
    ("state", ""),
    ("update", "--resources -r --blkio-weight --cpu-period --cpu-quota --cpu-burst --cpu-share --cpu-rt-period --cpu-rt-runtime --cpuset-cpus --cpuset-mems --cpu-idle --memory --memory-reservation --memory-swap --pids-limit --l3-cache-schema --mem-bw-schema"),
];

fn help(scene: &Scene<'_>, command: &str) -> Check<String> {
    let mut call = scene.call(&[]);
    call.args = [command, "--help"].map(str::to_owned).into();
    call.args.retain(|word| !word.is_empty());
    let ran = call.run()?.must()?;
    ensure!(!ran.stdout.is_empty(), "{}", ran.story());
    Ok(ran.stdout)
}

fn flags(scene: &mut Scene<'_>) -> Check {
    let mut missing = BTreeMap::new();
    for (command, flags) in FLAGS {
        let help = help(scene, command)?;
        let words: Vec<&str> = help.split([' ', ',', '\n', '\t']).collect();
        let lacks: Vec<_> = flags
            .split_whitespace()
            .filter(|flag| !words.contains(flag))
            .collect();
        if !lacks.is_empty() {
            missing.insert(command, lacks);
        }
    }
    ensure!(missing.is_empty(), "not in the help: {missing:?}");
    Ok(())
}

fn each(scene: &mut Scene<'_>) -> Check {
    for (command, _) in FLAGS {
        let text = help(scene, command)?;
        ensure!(text.contains(command), "{command}: {text}");
    }
    Ok(())
}

fn unknown(scene: &mut Scene<'_>) -> Check {
    let ran = scene.verb_alone("no-such-command")?;
    ensure!(!ran.ok(), "{}", ran.story());
    Ok(())
}

/// What a shell offers after some words.
fn offers(scene: &Scene<'_>, words: &[&str]) -> Check<Vec<String>> {
    let script = "eval \"$(\"$0\" completion bash)\" || exit 1
        longshore() { \"$runtime\" \"$@\"; }
        runtime=$0; COMP_WORDS=(longshore \"$@\"); COMP_CWORD=$#
        _longshore || exit 1
        printf '%s\\n' \"${COMPREPLY[@]}\"";
    let mut call = scene.call(&[]);
    let program = scene.program.display().to_string();
    call.args = ["-euc", script, &program].map(str::to_owned).into();
    call.args
        .extend(words.iter().map(|word| (*word).to_owned()));
    call.program = "/bin/bash".into();
    let ran = call.run()?.must()?;
    ensure!(ran.stderr.is_empty(), "{}", ran.story());
    Ok(ran.stdout.lines().map(str::to_owned).collect())
}

fn bash(scene: &mut Scene<'_>) -> Check {
    scene.only_longshore()?;
    scene.create()?;
    scene.file("file", "")?;
    let root = scene.path("state").display().to_string();
    let root = root.as_str();
    for (words, expect) in [
        (&["cre"][..], "create"),
        (&["--roo"], "--root --rootless"),
        (&["--root", root, "exec", "--additi"], "--additional-gids"),
        (&["--root", root, "state", ""], &scene.id),
        (&["--root", root, "exec", "--env", ""], ""),
        (&["create", "--bundle", "rootf"], "rootfs"),
        (&["update", "--resources", "fil"], "file"),
        (&["--log", "create", "sta"], "start state"),
    ] {
        let mut found = offers(scene, words)?;
        found.sort();
        let found = found.join(" ");
        ensure!(found == expect, "after {words:?}: {found:?}");
    }
    Ok(())
}

/// Whatever is installed: the scripts are at least well formed.
fn shells(scene: &mut Scene<'_>) -> Check {
    scene.only_longshore()?;
    let mut asked = Vec::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = scene.call(&["completion", shell]).run()?.must()?.stdout;
        scene.file(shell, &script)?;
        if let Ok(ran) = Command::new(shell)
            .arg("-n")
            .arg(scene.path(shell))
            .output()
        {
            let words = String::from_utf8_lossy(&ran.stderr).into_owned();
            ensure!(ran.status.success() && words.is_empty(), "{shell}: {words}");
            asked.push(shell);
        }
    }
    ensure!(asked.contains(&"bash"), "there is not even a bash");
    let ran = scene.call(&["completion", "csh"]).run()?;
    ensure!(!ran.ok(), "{}", ran.story());
    Ok(())
}

/// Each renders without a complaint, and names itself.
fn manual(scene: &mut Scene<'_>) -> Check {
    scene.only_longshore()?;
    if Command::new("man").arg("--version").output().is_err() {
        return Err(Stop::Skip("no man here: install man-db".to_owned()));
    }
    for (command, _) in FLAGS {
        let page = match command.is_empty() {
            true => scene.verb_alone("man")?,
            false => scene.call(&["man", command]).run()?,
        };
        let path = scene.path("page.8");
        fs::write(&path, page.must()?.stdout)?;
        let rendered = Command::new("man")
            .args(["--warnings", "--local-file"])
            .arg(&path)
            .env("MANWIDTH", "80")
            .env("LC_ALL", "C.UTF-8")
            .output()?;
        let text = String::from_utf8_lossy(&rendered.stdout).into_owned();
        let words = String::from_utf8_lossy(&rendered.stderr).into_owned();
        let whole = text.contains("NAME") && text.contains("--help") && text.contains(command);
        ensure!(
            rendered.status.success() && words.is_empty() && whole,
            "{command}: {words}: {text}"
        );
    }
    Ok(())
}
