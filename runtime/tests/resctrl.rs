//! `linux.intelRdt` through the public API, with a directory that stands for resctrl: hardly a machine of ours has one.
#![allow(clippy::unwrap_used)]

mod common;

use common::Stage;
use longshore::{ErrorKind, Runtime};
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;

/// A stage whose runtime takes `resctrl` in it for the mounted one.
fn stage() -> Option<(Stage, PathBuf)> {
    let mut stage = Stage::ready()?;
    let resctrl = stage.dir.join("resctrl");
    fs::create_dir_all(resctrl.join("gold/mon_groups")).unwrap();
    fs::write(resctrl.join("gold/schemata"), "L3:0=ff\n").unwrap();
    stage.runtime = Runtime::builder()
        .state_root(stage.dir.join("state"))
        .resctrl_stand_in(resctrl.to_str().unwrap())
        .build()
        .unwrap();
    Some((stage, resctrl))
}

fn config(stage: &Stage, id: &str, rdt: &Value) -> Value {
    let mut config = stage.config(id, &["/bin/sleep", "1000"]);
    config["linux"]["intelRdt"] = rdt.clone();
    config
}

#[test]
fn its_processes_are_in_the_group() {
    let Some((stage, resctrl)) = stage() else {
        return;
    };
    let read = |path: &str| fs::read_to_string(resctrl.join(path)).unwrap();
    let given = json!({ "l3CacheSchema": "L3:0=f", "memBwSchema": "MB:0=20" });
    let own = stage.container("a", &config(&stage, "a", &given)).create();
    let own = own.unwrap();
    let pid = own.state().unwrap().pid().unwrap().to_string();
    assert_eq!(read("a/schemata"), "L3:0=f\nMB:0=20\n");
    assert_eq!(read("a/tasks"), pid);
    own.start().unwrap();
    fs::write(resctrl.join("a/tasks"), "").unwrap();
    let added = own.exec().args(["/bin/true"]).spawn().unwrap();
    assert_eq!(read("a/tasks"), added.process().pid().to_string());
    common::wait(added.process());
    // resctrl's own files go with their group.
    let error = stage.runtime.force_delete("a").unwrap_err();
    assert_eq!(error.config_path(), Some("linux.intelRdt"));
    for file in ["a/tasks", "a/schemata"] {
        fs::remove_file(resctrl.join(file)).unwrap();
    }
    stage.runtime.force_delete("a").unwrap();
    assert!(!resctrl.join("a").exists());
    let given = json!({ "closID": "gold", "enableMonitoring": true });
    let monitored = stage.container("m", &config(&stage, "m", &given)).create();
    let pid = monitored
        .unwrap()
        .state()
        .unwrap()
        .pid()
        .unwrap()
        .to_string();
    assert_eq!(read("gold/tasks"), pid);
    assert_eq!(read("gold/mon_groups/m/tasks"), pid);
    fs::remove_file(resctrl.join("gold/mon_groups/m/tasks")).unwrap();
    stage.runtime.force_delete("m").unwrap();
    assert!(!resctrl.join("gold/mon_groups/m").exists() && resctrl.join("gold").exists());
    stage.assert_clean();
}

#[test]
fn a_create_that_fails_leaves_nothing() {
    let Some((stage, resctrl)) = stage() else {
        return;
    };
    let refused = |id: &str, rdt: Value, args: &str| {
        let mut config = config(&stage, id, &rdt);
        config["process"]["args"] = json!([args]);
        let error = stage.container(id, &config).create().unwrap_err();
        error.config_path().unwrap_or_default().to_owned()
    };
    let wrong = json!({ "closID": "gold", "schemata": ["L3:0=f"] });
    assert_eq!(refused("b", wrong, "/bin/sh"), "linux.intelRdt.schemata");
    let missing = json!({ "closID": "silver" });
    assert_eq!(refused("c", missing, "/bin/sh"), "linux.intelRdt.closID");
    // After its group was made.
    assert_eq!(refused("d", json!({}), "/bin/nothing"), "process.args");
    assert!(!resctrl.join("silver").exists());
    // A file that resctrl itself would have taken along is in the way: what can't be undone stays recorded.
    fs::remove_file(resctrl.join("d/tasks")).unwrap();
    stage.runtime.force_delete("d").unwrap();
    assert_eq!(fs::read_dir(&resctrl).unwrap().count(), 1);
    stage.assert_clean();
}

#[test]
fn without_resctrl_it_is_refused() {
    let Some(stage) = Stage::ready() else { return };
    let mounted = fs::read_to_string("/proc/self/mountinfo").unwrap();
    if mounted.contains(" - resctrl ") {
        common::skip("this host has a resctrl");
        return;
    }
    let error = stage.container("e", &config(&stage, "e", &json!({})));
    let error = error.create().unwrap_err();
    assert_eq!(error.config_path(), Some("linux.intelRdt"));
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    stage.assert_clean();
}

/// Elsewhere only the process that had made the group knew that it had.
#[test]
fn defect_9_a_later_delete_removes_the_group() {
    let Some((stage, resctrl)) = stage() else {
        return;
    };
    let mut config = config(&stage, "f", &json!({}));
    config["process"]["args"] = json!(["/bin/true"]);
    let container = stage.container("f", &config).create().unwrap();
    common::wait(&container.start().unwrap());
    drop(container);
    fs::remove_file(resctrl.join("f/tasks")).unwrap();
    let later = Runtime::builder().state_root(stage.dir.join("state"));
    later.build().unwrap().open("f").unwrap().delete().unwrap();
    assert!(!resctrl.join("f").exists());
    stage.assert_clean();
}
