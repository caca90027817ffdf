//! What releases have left on hosts is read by this one: a directory for each below `tests/releases`, kept for
//! good. Whoever changes the record or the start protocol finds out here.

use super::record::{Record, VERSION};
use crate::wire::{Frame, ResultPage, frame};
use serde_json::Value;
use std::fs;
use std::mem::offset_of;
use std::path::Path;

/// Each release's record, by the release's number.
fn records() -> Vec<(String, Value)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/releases");
    let releases = fs::read_dir(directory).unwrap().map(Result::unwrap);
    let record = |path: &Path| fs::read(path.join("state.json")).unwrap();
    releases
        .map(|release| {
            let name = release.file_name().into_string().unwrap();
            let json = serde_json::from_slice(&record(&release.path())).unwrap();
            (name, json)
        })
        .collect()
}

#[test]
fn every_releases_record_is_read() {
    for (release, json) in records() {
        let record = Record::from_json(&json).unwrap_or_else(|| panic!("{release}"));
        assert!(record.complete && record.has_program(), "{release}");
        assert_eq!(record.bundle, "/srv/web1", "{release}");
        assert_eq!(record.init.unwrap().pid, 4711, "{release}");
        assert!(record.cgroup.0.len() > 1, "{release}");
        assert_eq!(record.poststop.len(), 1, "{release}");
    }
}

#[test]
fn this_release_writes_what_its_fixture_has() {
    let own = records();
    let own = own
        .iter()
        .find(|(name, _)| name == env!("CARGO_PKG_VERSION"));
    let (_, json) = own.expect("a release keeps its record: tests/releases");
    assert_eq!(json["version"], VERSION);
    assert_eq!(Record::from_json(json).unwrap().to_json(), *json);
}

/// An init that waits is of the release that created it: it knows the page and the frames of then.
#[test]
fn the_start_protocol_only_grows() {
    let places = [
        offset_of!(ResultPage, version),
        offset_of!(ResultPage, step),
        offset_of!(ResultPage, errno),
        offset_of!(ResultPage, phase),
        offset_of!(ResultPage, detail),
        offset_of!(ResultPage, text_len),
        offset_of!(ResultPage, text),
        offset_of!(ResultPage, timed),
        offset_of!(ResultPage, marks_len),
        offset_of!(ResultPage, begin),
        offset_of!(ResultPage, marks),
    ];
    assert_eq!(places, [0, 4, 8, 12, 16, 20, 24, 536, 540, 544, 552]);
    let start = Frame {
        kind: frame::START,
        step: 2,
        value: -3,
    };
    let bytes = [1, 0, 0, 0, 6, 0, 0, 0, 2, 0, 0, 0, 0xfd, 0xff, 0xff, 0xff];
    assert_eq!(start.to_bytes(), bytes);
}
