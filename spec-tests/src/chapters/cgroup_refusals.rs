//! config-linux.md#control-groups: a limit that can't be set is an error, and names itself.

use serde_json::{Value, json};

use crate::cgroups;
use crate::property::{Scenario, scenario};
use crate::scene::Scene;
use crate::suite::{Check, Stop, View, ensure};

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario("linux.resources.unified.on-v1-is-refused", |scene| {
        refused(scene, json!({ "unified": { "pids.max": "10" } }), "")
    })
    .on(View::V1),
    scenario("linux.resources.unified.unknown-is-refused", |scene| {
        let unknown = json!({ "unified": { "cgroup.no_such_file": "1" } });
        refused(scene, unknown, "no_such_file")?;
        let elsewhere = json!({ "unified": { "nosuch.max": "1" } });
        refused(scene, elsewhere, "nosuch")?;
        refused(
            scene,
            json!({ "unified": { "../cgroup.max.depth": "1" } }),
            "",
        )
    })
    .on(View::V2),
    scenario("linux.resources.without-controller-is-refused", |scene| {
        refused_by_us(scene, WITHOUT_CONTROLLER)
    }),
    scenario("linux.resources.of-v1-alone-is-refused", |scene| {
        refused_by_us(scene, OF_V1_ALONE)
    })
    .on(View::V2),
];

fn refused(scene: &mut Scene<'_>, resources: Value, words: &str) -> Check {
    scene.config["linux"]["resources"] = resources;
    let ran = scene.try_create()?;
    ensure!(
        !ran.ok() && ran.stderr.contains(words),
        "a limit that can't be set was accepted or not named: {}",
        ran.story()
    );
    scene.leaves_nothing()
}

/// A limit that can't be set here must not be dropped in silence: the controller that it
/// needs, where in `linux.resources` it stands, and the value.
type Refusals = &'static [(&'static str, &'static str, &'static str)];

const WITHOUT_CONTROLLER: Refusals = &[
    ("memory", "memory.limit", r#"{"memory":{"limit":67108864}}"#),
    ("pids", "pids.limit", r#"{"pids":{"limit":100}}"#),
    (
        "blkio io",
        "blockIO.weight",
        r#"{"blockIO":{"weight":100}}"#,
    ),
    (
        "hugetlb",
        "hugepageLimits[0]",
        r#"{"hugepageLimits":[{"pageSize":"2MB","limit":0}]}"#,
    ),
    (
        "rdma",
        "rdma (mlx5_1)",
        r#"{"rdma":{"mlx5_1":{"hcaHandles":3}}}"#,
    ),
    (
        "net_cls",
        "network.classID",
        r#"{"network":{"classID":1048577}}"#,
    ),
    (
        "net_prio",
        "network.priorities[0]",
        r#"{"network":{"priorities":[{"name":"lo","priority":1}]}}"#,
    ),
];

const OF_V1_ALONE: Refusals = &[
    ("", "memory.swappiness", r#"{"memory":{"swappiness":10}}"#),
    (
        "",
        "memory.disableOOMKiller",
        r#"{"memory":{"disableOOMKiller":true}}"#,
    ),
    ("", "memory.kernel", r#"{"memory":{"kernel":67108864}}"#),
    (
        "",
        "memory.kernelTCP",
        r#"{"memory":{"kernelTCP":67108864}}"#,
    ),
    (
        "",
        "cpu.realtimeRuntime",
        r#"{"cpu":{"realtimeRuntime":1000}}"#,
    ),
    (
        "",
        "cpu.realtimePeriod",
        r#"{"cpu":{"realtimePeriod":1000000}}"#,
    ),
    (
        "",
        "blockIO.leafWeight",
        r#"{"blockIO":{"leafWeight":100}}"#,
    ),
    ("", "network.classID", r#"{"network":{"classID":1048577}}"#),
];

fn refused_by_us(scene: &mut Scene<'_>, refusals: Refusals) -> Check {
    if scene.runtime().name != "longshore" {
        return Err(Stop::Skip(
            "only longshore promises to refuse a limit that it can't set".to_owned(),
        ));
    }
    for (controllers, path, resources) in refusals {
        if !controllers.split(' ').any(cgroups::has) {
            let words = format!("linux.resources.{path}");
            refused(scene, serde_json::from_str(resources)?, &words)?;
        }
    }
    Ok(())
}
