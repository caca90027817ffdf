//! Against a directory that stands for resctrl: this kernel has none.

use super::*;
use std::fs;
use std::path::PathBuf;

struct StandIn(PathBuf);

impl StandIn {
    fn new(name: &str) -> StandIn {
        let path = format!("longshore-resctrl-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(path);
        let _ = fs::remove_dir_all(&path); // may be left by an earlier run
        fs::create_dir_all(path.join("info")).unwrap();
        fs::create_dir_all(path.join("gold/mon_groups")).unwrap();
        fs::create_dir_all(path.join("mon_groups")).unwrap();
        fs::write(
            path.join("gold/schemata"),
            "    MB:0=100;1= 20\n    L3:0=00f;1=0ff\n",
        )
        .unwrap();
        StandIn(path)
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.0.join(path)).unwrap_or_default()
    }

    fn probe(&self, rdt: &Rdt) -> Place {
        Place::probe(rdt, "web1", self.0.to_str().unwrap())
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0); // the next run's affair
    }
}

fn rdt(class: Class, schemata: &[&str], monitoring: bool) -> Rdt {
    let schemata = schemata.iter().map(|text| (*text).to_owned()).collect();
    Rdt {
        class,
        schemata,
        monitoring,
    }
}

fn gold() -> Class {
    Class::Named("gold".into())
}

#[test]
fn a_group_of_its_own_comes_and_goes() {
    let resctrl = StandIn::new("own");
    let rdt = rdt(Class::OfContainer, &["L3:0=f"], false);
    let place = resctrl.probe(&rdt);
    place.make(&rdt).unwrap();
    assert_eq!(resctrl.read("web1/schemata"), "L3:0=f\n");
    place.join(77).unwrap();
    assert_eq!(resctrl.read("web1/tasks"), "77");
    // As resctrl's own files would: with their group.
    fs::remove_file(resctrl.0.join("web1/tasks")).unwrap();
    fs::remove_file(resctrl.0.join("web1/schemata")).unwrap();
    let place = Place::from_json(&place.to_json()).unwrap();
    place.remove().unwrap();
    assert!(!resctrl.0.join("web1").exists());
    place.remove().unwrap();
    place.join(78).unwrap_err();
    place.join_what_is_left(78).unwrap();
}

#[test]
fn a_group_that_was_there_stays() {
    let resctrl = StandIn::new("stays");
    for rdt in [rdt(gold(), &[], true), rdt(Class::Default, &[], true)] {
        let place = resctrl.probe(&rdt);
        let made = place.make(&rdt).unwrap();
        assert!(!made.group);
        let group = if rdt.class == gold() { "gold/" } else { "" };
        let monitor = format!("{group}mon_groups/web1");
        place.join(5).unwrap();
        assert_eq!(resctrl.read(&format!("{group}tasks")), "5");
        assert_eq!(resctrl.read(&format!("{monitor}/tasks")), "5");
        // Somebody else's, then.
        assert!(place.make(&rdt).is_err());
        assert!(resctrl.0.join(&monitor).exists());
        fs::remove_file(resctrl.0.join(&monitor).join("tasks")).unwrap();
        place.remove().unwrap();
        assert!(!resctrl.0.join(&monitor).exists());
        assert!(resctrl.0.join(group).exists());
    }
    // One that has the container's name, but was made by somebody else.
    fs::create_dir(resctrl.0.join("web1")).unwrap();
    let rdt = rdt(Class::OfContainer, &[], false);
    let place = resctrl.probe(&rdt);
    place.make(&rdt).unwrap();
    place.remove().unwrap();
    assert!(resctrl.0.join("web1").exists());
}

#[test]
fn what_is_there_is_compared() {
    let resctrl = StandIn::new("compare");
    let before = resctrl.read("gold/schemata");
    let check = |schemata: &[&str], expect: Option<&str>| {
        let rdt = rdt(gold(), schemata, false);
        let made = resctrl.probe(&rdt).make(&rdt).map(|_| ());
        match (made, expect) {
            (Ok(()), None) => {}
            (Err(error), Some(words)) => {
                assert_eq!(error.config_path(), Some("linux.intelRdt.schemata"));
                assert!(error.to_string().contains(words), "{error}");
            }
            (made, _) => panic!("{schemata:?}: {made:?}"),
        }
    };
    check(&["L3:0=f"], None);
    check(&["L3:1=FF;0=f\nMB:1=20", "MB:0=100"], None);
    check(&["L3:0=f;1=f"], Some("L3:1=f"));
    check(&["L2:0=1"], Some("L2:0=1"));
    check(&["MB:0=100", "L3:2=1"], Some("L3:2=1"));
    assert_eq!(resctrl.read("gold/schemata"), before);
}

#[test]
fn a_class_that_must_be_there() {
    let resctrl = StandIn::new("missing");
    let rdt = rdt(Class::Named("silver".into()), &[], false);
    let error = resctrl.probe(&rdt).make(&rdt).unwrap_err();
    assert_eq!(error.config_path(), Some("linux.intelRdt.closID"));
    assert!(!resctrl.0.join("silver").exists());
}

#[test]
fn what_fails_is_taken_back() {
    let resctrl = StandIn::new("back");
    // A processor that monitors nothing: at the root, a directory of that name would be a class.
    fs::write(resctrl.0.join("info/last_cmd_status"), "not today\n").unwrap();
    fs::remove_dir(resctrl.0.join("mon_groups")).unwrap();
    let rdt = rdt(Class::Default, &[], true);
    let error = resctrl.probe(&rdt).make(&rdt).unwrap_err();
    assert_eq!(error.config_path(), Some("linux.intelRdt.enableMonitoring"));
    assert!(error.to_string().contains("not today"), "{error}");
    assert!(!resctrl.0.join("mon_groups").exists());
    // A named group that we made goes with a create that fails.
    let rdt = super::Rdt {
        class: Class::Named("silver".into()),
        schemata: vec!["L3:0=1".into()],
        monitoring: false,
    };
    let place = resctrl.probe(&rdt);
    let made = place.make(&rdt).unwrap();
    fs::remove_file(resctrl.0.join("silver/schemata")).unwrap();
    made.undo().unwrap();
    assert!(!resctrl.0.join("silver").exists());
    // And stays with one that succeeds.
    place.make(&rdt).unwrap();
    place.remove().unwrap();
    assert!(resctrl.0.join("silver").exists());
}
