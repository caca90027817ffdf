//! config.md#linux-process, config-linux.md#mount-label: AppArmor and SELinux.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::json;

use super::exec::{says, sleeper};
use crate::config::{set, strip};
use crate::property::{Expect, PROPERTY, Probe, Property, Scenario, scenario};
use crate::scene::Scene;
use crate::suite::{Check, Stop, ensure};

const NAME: &str = "longshore-spec-test";

/// All but writing in one place.
const PROFILE: &str = "profile longshore-spec-test flags=(attach_disconnected,mediate_deleted) {
  file, capability, mount, umount, pivot_root, signal, ptrace, network, unix, dbus,
  deny /tmp/forbidden w,
}
";

const WHO_AM_I: Probe = Probe::Script("cat /proc/self/attr/current; echo > /tmp/forbidden");
const CONFINED: &str =
    "longshore-spec-test (enforce)\n/bin/sh: can't create /tmp/forbidden: Permission denied";

pub(crate) const PROPERTIES: &[Property] = &[Property {
    name: "process.apparmorProfile",
    prepare: load,
    set: |_, config| set(config, "/process/apparmorProfile", json!(NAME)),
    strip: |config| strip(config, "/process/apparmorProfile"),
    probe: WHO_AM_I,
    expect: Expect::Has(CONFINED),
    ..PROPERTY
}];

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario("process.apparmorProfile.exec", exec),
    scenario(
        "process.apparmorProfile.no-new-privileges",
        no_new_privileges,
    ),
    scenario("process.apparmorProfile.missing", missing),
    scenario("process.apparmorProfile.without-apparmor", without_apparmor),
    scenario("process.selinuxLabel.without-selinux", without_selinux),
    scenario("linux.mountLabel.without-selinux", mounts_without_selinux)
        .deviates(&[("crun", "1.8 ignores it")]),
];

fn apparmor() -> bool {
    let enabled = fs::read("/sys/module/apparmor/parameters/enabled");
    enabled.is_ok_and(|text| text.starts_with(b"Y"))
}

fn load(scene: &mut Scene<'_>) -> Check {
    if !apparmor() {
        return Err(Stop::Skip("this host has no AppArmor, a VM has it".into()));
    }
    scene.file("profile", PROFILE)?;
    let loaded = Command::new("apparmor_parser")
        .arg("-r")
        .arg(scene.path("profile"))
        .status()?;
    ensure!(loaded.success(), "apparmor_parser: {loaded}");
    Ok(())
}

/// The container's own, and one that is given.
fn exec(scene: &mut Scene<'_>) -> Check {
    load(scene)?;
    set(&mut scene.config, "/process/apparmorProfile", json!(NAME));
    sleeper(scene)?;
    let denied =
        "longshore-spec-test (enforce)\nsh: can't create /tmp/forbidden: Permission denied";
    for (flags, expect) in [
        (&[][..], denied),
        (&["--apparmor", "unconfined"], "unconfined"),
    ] {
        let script = "exec 2>&1; cat /proc/self/attr/current; echo > /tmp/forbidden; true";
        let label = says(scene, flags, script)?;
        ensure!(label == expect, "{flags:?}: {label:?}");
    }
    Ok(())
}

fn no_new_privileges(scene: &mut Scene<'_>) -> Check {
    load(scene)?;
    set(&mut scene.config, "/process/apparmorProfile", json!(NAME));
    set(&mut scene.config, "/process/noNewPrivileges", json!(true));
    scene.script("cat /proc/self/attr/current");
    let label = scene.run()?.must()?.stdout;
    ensure!(label.trim() == "longshore-spec-test (enforce)", "{label:?}");
    Ok(())
}

fn missing(scene: &mut Scene<'_>) -> Check {
    if !apparmor() {
        return Err(Stop::Skip("this host has no AppArmor, a VM has it".into()));
    }
    refused(
        scene,
        "/process/apparmorProfile",
        "longshore-no-such-profile",
    )
}

fn without_apparmor(scene: &mut Scene<'_>) -> Check {
    if apparmor() {
        return Err(Stop::Skip("this host has AppArmor".into()));
    }
    refused(scene, "/process/apparmorProfile", NAME)
}

fn without_selinux(scene: &mut Scene<'_>) -> Check {
    unless_selinux()?;
    refused(
        scene,
        "/process/selinuxLabel",
        "system_u:system_r:container_t:s0",
    )
}

fn mounts_without_selinux(scene: &mut Scene<'_>) -> Check {
    unless_selinux()?;
    refused(
        scene,
        "/linux/mountLabel",
        "system_u:object_r:container_file_t:s0",
    )
}

fn unless_selinux() -> Check {
    if Path::new("/sys/fs/selinux/enforce").exists() {
        return Err(Stop::Skip("this host has SELinux".into()));
    }
    Ok(())
}

/// A label that nobody enforces, or nobody knows, is an error of create.
fn refused(scene: &mut Scene<'_>, pointer: &str, label: &str) -> Check {
    set(&mut scene.config, pointer, json!(label));
    let create = scene.try_create()?;
    ensure!(!create.ok(), "created: {}", create.story());
    scene.leaves_nothing()
}
