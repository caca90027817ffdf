//! Which directories a container gets: `linux.cgroupsPath`
//! (config-linux.md#cgroups-path) against the host's layout.
//!
//! Pure. The result is plain data, small enough for the state record.
#![forbid(unsafe_code)]

use serde_json::{Value, json};

use super::layout::Layout;
use crate::Error;

const PATH: &str = "linux.cgroupsPath";

/// The directories of one container, one a hierarchy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Directories(pub(crate) Vec<Directory>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Directory {
    /// As the kernel lists them; empty for cgroup2.
    pub(crate) controllers: String,
    pub(crate) mount: String,
    /// Below `mount`, clean and without a leading slash.
    pub(crate) path: String,
    /// It was there before the container: used, never removed. False as long
    /// as create has not got that far.
    pub(crate) existing: bool,
}

/// The directories for `cgroups_path` or, without one, for a cgroup named
/// after the container beside or below our own.
pub(crate) fn directories(
    layout: &Layout,
    cgroups_path: Option<&str>,
    id: &str,
) -> Result<Directories, Error> {
    let asked = cgroups_path.filter(|path| !path.is_empty()).unwrap_or(id);
    if asked.contains('\0') {
        return Err(Error::config(PATH, "contains a NUL byte"));
    }
    if !asked.contains('/') && asked.split(':').count() == 3 {
        return Err(Error::unsupported(
            PATH,
            format!("{asked}: systemd's slice:prefix:name"),
        ));
    }
    let place = |controllers: &str, mount: &str, base: &str| {
        let below = if asked.starts_with('/') { "/" } else { base };
        // Cleaned before it is joined, so that `..` can't leave the base.
        let path = clean(&format!("{below}/{}", clean(asked)));
        Directory {
            controllers: controllers.to_owned(),
            mount: mount.to_owned(),
            path: path[1..].to_owned(),
            existing: false,
        }
    };
    Ok(Directories(match layout {
        // A process can't stay in a cgroup2 that has controlled children, so
        // ours can't be the parent.
        Layout::V2(v2) => vec![place("", &v2.mount, parent(&v2.own))],
        Layout::V1(v1) => {
            let named = v1
                .hierarchies
                .iter()
                .map(|h| place(&h.controllers, &h.mount, &h.own));
            named
                .chain(v1.unified.iter().map(|v2| place("", &v2.mount, &v2.own)))
                .collect()
        }
        Layout::Absent => Vec::new(),
    }))
}

impl Directory {
    /// The whole path, for messages.
    pub(crate) fn display(&self) -> String {
        format!("{}/{}", self.mount, self.path)
    }

    pub(crate) fn controls(&self, controller: &str) -> bool {
        self.controllers.split(',').any(|name| name == controller)
    }

    pub(crate) fn is_v2(&self) -> bool {
        self.controllers.is_empty()
    }
}

impl Directories {
    /// Where cgroup2 is mounted, on a host that has nothing else.
    pub(crate) fn pure_v2_mount(&self) -> Option<&str> {
        let only = self.0.first().filter(|_| self.0.len() == 1);
        only.filter(|place| place.is_v2())
            .map(|place| place.mount.as_str())
    }

    /// What freezing goes by.
    pub(crate) fn freezer(&self) -> Option<&Directory> {
        let freezer = self.0.iter().find(|place| place.controls("freezer"));
        freezer.or_else(|| self.0.iter().find(|place| place.is_v2()))
    }

    pub(crate) fn to_json(&self) -> Value {
        let entry = |d: &Directory| json!({"controllers": d.controllers, "mount": d.mount, "path": d.path, "existing": d.existing});
        self.0.iter().map(entry).collect()
    }

    /// `None` when the value isn't one that `to_json` makes. The path is
    /// cleaned again: a record is no licence to leave the mount.
    pub(crate) fn from_json(value: &Value) -> Option<Directories> {
        let entry = |value: &Value| {
            let text = |key| value.get(key)?.as_str().map(str::to_owned);
            Some(Directory {
                controllers: text("controllers")?,
                mount: text("mount").filter(|mount| mount.starts_with('/'))?,
                path: clean(&text("path")?)[1..].to_owned(),
                existing: value.get("existing")?.as_bool()?,
            })
        };
        value
            .as_array()?
            .iter()
            .map(entry)
            .collect::<Option<_>>()
            .map(Directories)
    }
}

/// The absolute form of a path without empty parts, `.` and `..`; above the
/// root is the root.
pub(super) fn clean(path: &str) -> String {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// The parent of a clean absolute path; the root is its own.
pub(super) fn parent(path: &str) -> &str {
    match path.rsplit_once('/') {
        Some(("", _)) | None => "/",
        Some((parent, _)) => parent,
    }
}

#[cfg(test)]
mod tests {
    use super::super::layout::{Hierarchy, V1, V2};
    use super::*;

    fn v2(own: &str) -> Layout {
        Layout::V2(V2 {
            mount: "/m".into(),
            own: own.into(),
            controllers: vec![],
        })
    }

    fn check(layout: &Layout, cgroups_path: Option<&str>, expect: &[&str]) {
        let found = directories(layout, cgroups_path, "web1").unwrap();
        let paths: Vec<_> = found.0.iter().map(Directory::display).collect();
        assert_eq!(paths, expect, "{cgroups_path:?}");
        assert_eq!(Directories::from_json(&found.to_json()), Some(found));
    }

    #[test]
    fn paths() {
        check(&v2("/a/b"), None, &["/m/a/web1"]);
        check(&v2("/a"), None, &["/m/web1"]);
        check(&v2("/"), None, &["/m/web1"]);
        check(&v2("/a/b"), Some(""), &["/m/a/web1"]);
        check(&v2("/a/b"), Some("/x//y/./z/"), &["/m/x/y/z"]);
        check(&v2("/a/b"), Some("x/y"), &["/m/a/x/y"]);
        check(&v2("/a/b"), Some("/../../x"), &["/m/x"]);
        check(&v2("/a/b"), Some("../../../x"), &["/m/a/x"]);
        check(&v2("/a/b"), Some("a/../../b"), &["/m/a/b"]);
        check(&v2("/a/b"), Some("/a:b:c"), &["/m/a:b:c"]);
        check(&Layout::Absent, Some("/x"), &[]);

        let hierarchies = vec![Hierarchy {
            controllers: "cpu".into(),
            mount: "/c".into(),
            own: "/o".into(),
        }];
        let unified = Some(V2 {
            mount: "/u".into(),
            own: "/p".into(),
            controllers: vec![],
        });
        let v1 = Layout::V1(V1 {
            hierarchies,
            unified,
        });
        check(&v1, None, &["/c/o/web1", "/u/p/web1"]);
        check(&v1, Some("/x"), &["/c/x", "/u/x"]);
    }

    #[test]
    fn refused() {
        for path in ["a\0b", "system.slice:longshore:web1"] {
            let error = directories(&v2("/"), Some(path), "web1").unwrap_err();
            assert_eq!(error.config_path(), Some(PATH));
        }
    }

    #[test]
    fn a_damaged_record_is_refused_or_stays_inside() {
        for damaged in [
            json!({}),
            json!([{}]),
            json!([{"controllers": "", "mount": "x", "path": "y", "existing": true}]),
        ] {
            assert_eq!(Directories::from_json(&damaged), None);
        }
        let sly =
            json!([{"controllers": "", "mount": "/m", "path": "../../etc", "existing": false}]);
        assert_eq!(Directories::from_json(&sly).unwrap().0[0].path, "etc");
    }
}
