//! Which unit a container becomes: `linux.cgroupsPath` as `slice:prefix:name`.
//!
//! Pure. systemd.unit(5) and systemd.slice(5) have the names.
#![forbid(unsafe_code)]

use crate::Error;
use crate::cgroup::{Directory, V2};

const PATH: &str = "linux.cgroupsPath";
const SCOPE: &str = ".scope";
const SLICE: &str = ".slice";
/// The root of all slices.
const ROOT: &str = "-.slice";

/// A scope, or a slice, that is started for one container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unit {
    pub(crate) name: String,
    /// The slice it is in.
    pub(crate) slice: String,
}

impl Unit {
    /// `user`: by a user's own manager.
    pub(crate) fn new(cgroups_path: Option<&str>, id: &str, user: bool) -> Result<Unit, Error> {
        let asked = cgroups_path.filter(|path| !path.is_empty());
        let parts = asked.map(|path| path.split(':').collect::<Vec<_>>());
        let (slice, prefix, name) = match parts.as_deref() {
            None => ("", "longshore", escaped(id)),
            Some([slice, prefix, name]) => (*slice, *prefix, (*name).to_owned()),
            Some(_) => {
                let message = "is not slice:prefix:name, which systemd cgroups need";
                return Err(Error::config(PATH, message));
            }
        };
        let slice = match (slice, user) {
            ("", false) => "system.slice",
            ("", true) => "user.slice",
            ("-", _) => ROOT,
            (slice, _) => slice,
        };
        expand(slice)?;
        let name = match (prefix, name) {
            (_, name) if name.ends_with(SLICE) => name,
            (_, name) if name.is_empty() => return Err(Error::config(PATH, "names no unit")),
            ("", name) => name + SCOPE,
            (prefix, name) => format!("{prefix}-{name}{SCOPE}"),
        };
        let unit = Unit {
            name,
            slice: slice.to_owned(),
        };
        if unit.is_slice() {
            expand(&unit.name)?;
        }
        check(&unit.name)?;
        Ok(unit)
    }

    /// A slice holds no processes of its own for systemd: init joins its cgroup itself.
    pub(crate) fn is_slice(&self) -> bool {
        self.name.ends_with(SLICE)
    }

    /// Its directory, where `manager` is the cgroup of the manager that starts it.
    pub(crate) fn directory(&self, v2: &V2, manager: &str) -> Directory {
        // Both names were expanded once already.
        let slice = expand(&self.slice).unwrap_or_default();
        let below = match self.is_slice() {
            true => expand(&self.name).unwrap_or_default(),
            false => format!("{slice}/{}", self.name),
        };
        Directory {
            controllers: String::new(),
            mount: v2.mount.clone(),
            path: format!("{manager}{below}")[1..].to_owned(),
            existing: false,
        }
    }
}

/// `a-b.slice` as `/a.slice/a-b.slice`: each dash is a level. The root is empty.
fn expand(slice: &str) -> Result<String, Error> {
    if slice == ROOT {
        return Ok(String::new());
    }
    let refused = || Error::config(PATH, format!("{slice:?} is not the name of a slice"));
    let stem = slice.strip_suffix(SLICE).ok_or_else(refused)?;
    if stem.split('-').any(str::is_empty) {
        return Err(refused());
    }
    check(slice)?;
    let ends = stem.match_indices('-').map(|(at, _)| at);
    let levels = ends.chain([stem.len()]);
    Ok(levels
        .map(|end| format!("/{}{SLICE}", &stem[..end]))
        .collect())
}

/// systemd.unit(5): what a name may be made of.
fn check(name: &str) -> Result<(), Error> {
    let fine = |character: char| character.is_ascii_alphanumeric() || ":-_.\\".contains(character);
    if name.len() > 255 || !name.chars().all(fine) {
        return Err(Error::config(
            PATH,
            format!("{name:?} is not the name of a unit"),
        ));
    }
    Ok(())
}

/// The one character that an id may have and a unit's name may not, as systemd-escape(1) writes it.
fn escaped(id: &str) -> String {
    id.replace('+', "\\x2b")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(cgroups_path: Option<&str>, user: bool, manager: &str) -> Result<String, Error> {
        let v2 = V2 {
            mount: "/m".into(),
            own: "/".into(),
            controllers: vec![],
        };
        let unit = Unit::new(cgroups_path, "web+1", user)?;
        Ok(unit.directory(&v2, manager).display())
    }

    #[test]
    fn places() {
        for (path, expect) in [
            (None, "/m/system.slice/longshore-web\\x2b1.scope"),
            (Some(""), "/m/system.slice/longshore-web\\x2b1.scope"),
            (Some("::x"), "/m/system.slice/x.scope"),
            (
                Some("system.slice:docker:x"),
                "/m/system.slice/docker-x.scope",
            ),
            (
                Some("a-b-c.slice:p:x"),
                "/m/a.slice/a-b.slice/a-b-c.slice/p-x.scope",
            ),
            (Some("-.slice:p:x"), "/m/p-x.scope"),
            (Some("-:p:x"), "/m/p-x.scope"),
            (Some("a.slice:p:a-x.slice"), "/m/a.slice/a-x.slice"),
        ] {
            assert_eq!(place(path, false, "").unwrap(), expect, "{path:?}");
        }
        let user = place(Some(":p:x"), true, "/user.slice/u.service").unwrap();
        assert_eq!(user, "/m/user.slice/u.service/user.slice/p-x.scope");
    }

    #[test]
    fn refused() {
        for path in [
            "/abs",
            "relative",
            "a:b",
            "a:b:c:d",
            "system.slice:p:",
            "system:p:x",
            ".slice:p:x",
            "a--b.slice:p:x",
            "-a.slice:p:x",
            "a-.slice:p:x",
            "a/b.slice:p:x",
            "system.slice:p:a/b",
            "system.slice:p:..\u{e9}",
            "system.slice:p:x y",
            "system.slice:p:a\0b",
            "system.slice:p:-x.slice",
        ] {
            let error = place(Some(path), false, "").unwrap_err();
            assert_eq!(error.config_path(), Some(PATH), "{path}");
        }
        let long = format!(":p:{}", "x".repeat(255));
        place(Some(&long), false, "").unwrap_err();
    }
}
