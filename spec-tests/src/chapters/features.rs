//! `features` is truthful: what it lists, a container can have. features.md

use std::fs;

use serde_json::{Value, json};

use crate::config::{mount, namespace, set, user_namespace};
use crate::kernel;
use crate::property::{Scenario, scenario};
use crate::scene::Scene;
use crate::suite::{Check, Stop, ensure};

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario("features.mountOptions", mount_options)
        .deviates(&[("runc", "1.1 lists defaults, and hands it to the filesystem")]),
    scenario("features.linux.namespaces", namespaces),
    scenario("features.linux.memoryPolicy", memory_policies).deviates(&[
        ("crun", "1.8 does not know it"),
        ("runc", "1.1 does not know it"),
    ]),
    scenario("features.linux.capabilities", capabilities)
        .deviates(&[("runc", "fails where its caller lacks one")]),
];

/// The words that `features` has in a list.
fn listed(scene: &Scene<'_>, pointer: &str) -> Check<Vec<String>> {
    let ran = scene.verb_alone("features")?;
    if !ran.ok() {
        return Err(Stop::Skip("has no features command".to_owned()));
    }
    let features: Value = serde_json::from_str(&ran.stdout)?;
    let list = features.pointer(pointer).and_then(Value::as_array);
    let words = list.into_iter().flatten().filter_map(Value::as_str);
    let words: Vec<_> = words.map(str::to_owned).collect();
    ensure!(words.len() > 2, "features lists too little: {words:?}");
    Ok(words)
}

/// Modes that not every kernel has, by their numbers: since 5.15 and 6.9. What `features` lists, a runtime knows.
const NEW_MODES: [(&str, libc::c_int); 2] =
    [("MPOL_PREFERRED_MANY", 5), ("MPOL_WEIGHTED_INTERLEAVE", 6)];

/// Each mode, and each flag that goes with one that takes nodes. What the kernel does not have is refused.
fn memory_policies(scene: &mut Scene<'_>) -> Check {
    let modes = listed(scene, "/linux/memoryPolicy/modes")?;
    let flags = listed(scene, "/linux/memoryPolicy/flags")?;
    let nodeless = ["MPOL_DEFAULT", "MPOL_LOCAL"];
    let each = modes.iter().map(|mode| (mode.as_str(), None));
    let bind = flags.iter().map(|flag| ("MPOL_BIND", Some(flag)));
    for (mode, flag) in each.chain(bind) {
        let nodes = if nodeless.contains(&mode) { "" } else { "0" };
        let flags: Vec<_> = flag.into_iter().collect();
        let policy = json!({ "mode": mode, "nodes": nodes, "flags": flags });
        set(&mut scene.config, "/linux/memoryPolicy", policy);
        scene.script("true");
        let mut new = NEW_MODES.iter().filter(|(name, _)| *name == mode);
        let lacking = new.any(|(_, number)| !kernel::has_memory_policy(*number));
        let ran = scene.run()?;
        ensure!(ran.ok() != lacking, "{mode}: {}", ran.story());
        ensure!(!lacking || ran.stderr.contains(mode), "{}", ran.story());
        scene.call(&["delete", "--force", &scene.id]).run()?;
    }
    Ok(())
}

/// Each word on a mount of its own, but those that need another to work on.
fn mount_options(scene: &mut Scene<'_>) -> Check {
    let words = listed(scene, "/mountOptions")?;
    scene.open_dir("src")?;
    mount(&mut scene.config, "/m/below", "tmpfs", "tmpfs", &[]);
    for (index, word) in words.iter().enumerate() {
        let place = format!("/m/{index}");
        match word.as_str() {
            "bind" | "rbind" => mount(&mut scene.config, &place, "none", "src", &[word]),
            "remount" => mount(
                &mut scene.config,
                "/m/below",
                "tmpfs",
                "tmpfs",
                &[word, "ro"],
            ),
            "idmap" | "ridmap" => {
                let map = json!([{ "containerID": 0, "hostID": 100_000, "size": 65536 }]);
                mount(&mut scene.config, &place, "none", "src", &["rbind", word]);
                let mounts = scene.config["mounts"].as_array_mut();
                if let Some(mapped) = mounts.and_then(|mounts| mounts.last_mut()) {
                    mapped["uidMappings"] = map.clone();
                    mapped["gidMappings"] = map;
                }
            }
            _ => mount(&mut scene.config, &place, "tmpfs", "tmpfs", &[word]),
        }
    }
    scene.script("grep -c ' /m/' /proc/self/mountinfo");
    let ran = scene.run()?.must()?;
    // A remount adds none, and the one below is one more.
    let expected = words.len() + 1 - usize::from(words.iter().any(|word| word == "remount"));
    ensure!(
        ran.stdout.trim() == expected.to_string(),
        "not {expected}: {}",
        ran.story()
    );
    // Or anything would do.
    mount(
        &mut scene.config,
        "/m/more",
        "tmpfs",
        "tmpfs",
        &["nosuchoption"],
    );
    ensure!(!scene.run()?.ok(), "an unknown option is taken");
    Ok(())
}

fn namespaces(scene: &mut Scene<'_>) -> Check {
    // The names below /proc/PID/ns, where they are others.
    const FILES: [(&str, &str); 2] = [("network", "net"), ("mount", "mnt")];
    let kinds = listed(scene, "/linux/namespaces")?;
    user_namespace(&mut scene.config);
    for kind in &kinds {
        namespace(&mut scene.config, json!({ "type": kind }));
    }
    scene.script("cd /proc/self/ns && for n in *; do echo $n $(readlink $n); done");
    let ran = scene.run()?.must()?;
    for kind in &kinds {
        let other = FILES.iter().find(|(name, _)| name == kind);
        let file = other.map_or(kind.as_str(), |(_, file)| *file);
        let own = fs::read_link(format!("/proc/self/ns/{file}"))?
            .display()
            .to_string();
        let inside = ran
            .stdout
            .lines()
            .find_map(|line| line.strip_prefix(&format!("{file} ")));
        ensure!(
            inside.is_some_and(|inside| inside != own),
            "the {kind} namespace is not its own: {}",
            ran.story()
        );
    }
    Ok(())
}

fn capabilities(scene: &mut Scene<'_>) -> Check {
    let names = listed(scene, "/linux/capabilities")?;
    for set_name in [
        "bounding",
        "effective",
        "inheritable",
        "permitted",
        "ambient",
    ] {
        set(
            &mut scene.config,
            &format!("/process/capabilities/{set_name}"),
            json!(names),
        );
    }
    scene.script("cat /proc/self/status");
    let ran = scene.run()?.must()?;
    let own = count(&fs::read_to_string("/proc/self/status")?, "CapBnd");
    // Those that this kernel, or our caller, has not are left out.
    let expected = own.min(u32::try_from(names.len())?);
    for line in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        let got = count(&ran.stdout, line);
        ensure!(
            got == expected,
            "{line} has {got} of {expected}: {}",
            ran.story()
        );
    }
    Ok(())
}

/// How many bits a line of status has.
fn count(status: &str, name: &str) -> u32 {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let digits = line.unwrap_or_default().trim_start_matches(':').trim();
    u64::from_str_radix(digits, 16).unwrap_or(0).count_ones()
}
