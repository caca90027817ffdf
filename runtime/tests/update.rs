//! `update` and `events` through the public API.
#![allow(clippy::unwrap_used)]

mod common;

use common::Stage;
use longshore::oci_spec::runtime::{LinuxPidsBuilder, LinuxResourcesBuilder};
use longshore::{ErrorKind, Event, Runtime};
use serde_json::json;
use std::fs;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

#[test]
fn limits_by_the_fields_own_types() {
    let Some(stage) = Stage::ready() else { return };
    let config = stage.config("u", &["/bin/sleep", "1000"]);
    let container = stage.container("u", &config).create().unwrap();
    container.start().unwrap();
    let pids = LinuxPidsBuilder::default().limit(77).build().unwrap();
    let limits = LinuxResourcesBuilder::default().pids(pids).build().unwrap();
    let warnings = container
        .update()
        .resources(&limits)
        .unwrap()
        .apply()
        .unwrap();
    assert!(warnings.is_empty());
    let stats = container.stats().unwrap();
    assert_eq!((stats.pids.current, stats.pids.limit), (1, 77));
    // Refused in the middle: what was written is put back, and the next update knows nothing of it.
    let refused = br#"{"pids":{"limit":5},"cpu":{"cpus":"4000"}}"#;
    let update = container.update().resources_json(refused).unwrap();
    let error = update.apply().unwrap_err();
    assert_eq!(error.config_path(), Some("linux.resources.cpu.cpus"));
    assert_eq!(container.stats().unwrap().pids.limit, 77);
    let error = container.update().resources_json(b"[]").unwrap_err();
    assert_eq!(error.to_string(), "linux.resources: is not an object");
    let update = container.update().mem_bw_schema("MB:0=20");
    let error = update.apply().unwrap_err();
    assert_eq!(
        (error.kind(), error.config_path()),
        (ErrorKind::Unsupported, Some("linux.intelRdt"))
    );
    container.kill(9).unwrap();
    let end = Instant::now() + Duration::from_secs(10);
    while container.stats().is_ok() {
        assert!(Instant::now() < end, "it does not end");
        std::thread::sleep(Duration::from_millis(5));
    }
    let error = container
        .update()
        .resources(&limits)
        .unwrap()
        .apply()
        .unwrap_err();
    assert_eq!(error.to_string(), "container not running");
    let error = container.events(None).unwrap_err();
    assert_eq!(error.to_string(), "container with id u is not running");
    stage.runtime.force_delete("u").unwrap();
}

#[test]
fn events_end_with_the_container() {
    let Some(stage) = Stage::ready() else { return };
    let config = stage.config("e", &["/bin/sleep", "1000"]);
    let container = stage.container("e", &config).create().unwrap();
    container.start().unwrap();
    let error = container.events(Some(Duration::ZERO)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "duration interval must be greater than 0"
    );
    let mut events = container.events(Some(Duration::from_millis(20))).unwrap();
    let mut watched = [nix::poll::PollFd::new(
        events.as_fd(),
        nix::poll::PollFlags::POLLIN,
    )];
    assert_eq!(nix::poll::poll(&mut watched, 5000_u16).unwrap(), 1);
    for _ in 0..3 {
        let Some(Ok(Event::Stats(stats))) = events.next() else {
            panic!("no statistics")
        };
        assert_eq!(stats.pids.current, 1);
    }
    let silent = container.events(None).unwrap();
    container.kill(9).unwrap();
    assert_eq!(silent.count(), 0);
    assert!(events.count() < 100);
    stage.runtime.force_delete("e").unwrap();
}

#[test]
fn the_group_of_its_own() {
    let Some(mut stage) = Stage::ready() else {
        return;
    };
    let resctrl = stage.dir.join("resctrl");
    let write = |file: &str, text: &str| {
        let path = resctrl.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write("info/L3/cbm_mask", "fff\n");
    write("info/L3/num_closids", "4\n");
    write("info/MB/min_bandwidth", "10\n");
    write("schemata", "    MB:0=100\n    L3:0=fff\n");
    stage.runtime = Runtime::builder()
        .state_root(stage.dir.join("state"))
        .resctrl_stand_in(resctrl.to_str().unwrap())
        .build()
        .unwrap();
    let mut config = stage.config("r", &["/bin/sleep", "1000"]);
    config["linux"]["intelRdt"] = json!({ "l3CacheSchema": "L3:0=f", "memBwSchema": "MB:0=20" });
    let container = stage.container("r", &config).create().unwrap();
    write("r/mon_data/mon_L3_00/llc_occupancy", "4096\n");
    write("r/mon_data/mon_L3_00/mbm_total_bytes", "7\n");
    let update = container
        .update()
        .l3_cache_schema("L3:0=3")
        .mem_bw_schema("MB:0=30");
    update.apply().unwrap();
    let stats = container.stats().unwrap().rdt;
    assert_eq!(
        (&*stats.l3_cache_schema, &*stats.mem_bw_schema),
        ("L3:0=3", "MB:0=30")
    );
    assert_eq!(
        (&*stats.l3_cache_schema_root, &*stats.mem_bw_schema_root),
        ("L3:0=fff", "MB:0=100")
    );
    assert_eq!(stats.l3_cache_info.unwrap().cbm_mask, "fff");
    assert_eq!(stats.mem_bw_info.unwrap().min_bandwidth, 10);
    assert_eq!(
        (
            stats.cmt_stats[0].llc_occupancy,
            stats.mbm_stats[0].mbm_total_bytes
        ),
        (4096, 7)
    );
    let error = container
        .update()
        .mem_bw_schema("L3:0=1")
        .apply()
        .unwrap_err();
    assert_eq!(error.config_path(), Some("linux.intelRdt.memBwSchema"));
    fs::remove_dir_all(resctrl.join("r")).unwrap();
    stage.runtime.force_delete("r").unwrap();
}
