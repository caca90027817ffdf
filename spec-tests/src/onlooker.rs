//! A process that looks at what every process executes, as fast as it can: a
//! sweep of /proc takes it less than a millisecond, a shell's takes many.
//!
//! It is this program again, inside a container of a test's.

use std::collections::HashSet;
use std::fs;

/// The argument by which this program becomes the onlooker.
pub(crate) const ARGUMENT: &str = "--look-on";

/// The namespaces that are looked at, by their names in /proc.
const NAMESPACES: &[&str] = &["mnt", "net", "uts", "ipc", "pid", "user"];

/// What was seen of a process.
#[derive(Debug)]
pub(crate) struct Sight {
    /// Its pid, as the onlooker sees it.
    pub pid: i32,
    /// Its parent's.
    pub parent: i32,
    /// What it executed.
    pub exe: String,
    /// In which namespaces.
    pub namespaces: String,
}

/// The onlooker's main: a line for each new sight, for ever.
pub(crate) fn look_on() -> std::io::Result<()> {
    let mut seen = HashSet::new();
    loop {
        for entry in fs::read_dir("/proc")?.flatten() {
            let name = entry.file_name();
            let Some(pid) = name.to_str().filter(|name| name.parse::<i32>().is_ok()) else {
                continue;
            };
            let Some(exe) = link(pid, "exe") else {
                continue;
            };
            if seen.contains(&(pid.to_owned(), exe.clone())) {
                continue;
            }
            let (parent, namespaces) = (parent(pid), namespaces(pid));
            // It has executed something else meanwhile: the rest belongs to that.
            if link(pid, "exe").as_ref() == Some(&exe) {
                println!("{pid}\t{parent}\t{exe}\t{namespaces}");
                seen.insert((pid.to_owned(), exe));
            }
        }
    }
}

/// The sights that an onlooker has written down; the last line may be half written.
pub(crate) fn sights(text: &str) -> Vec<Sight> {
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    whole.lines().filter_map(sight).collect()
}

fn sight(line: &str) -> Option<Sight> {
    let mut fields = line.split('\t');
    Some(Sight {
        pid: fields.next()?.parse().ok()?,
        parent: fields.next()?.parse().ok()?,
        exe: fields.next()?.to_owned(),
        namespaces: fields.next()?.to_owned(),
    })
}

/// The namespaces of a process, by its name in /proc.
pub(crate) fn namespaces(pid: &str) -> String {
    let links = NAMESPACES
        .iter()
        .map(|kind| link(pid, &format!("ns/{kind}")));
    links
        .map(Option::unwrap_or_default)
        .collect::<Vec<_>>()
        .join(" ")
}

fn link(pid: &str, name: &str) -> Option<String> {
    let target = fs::read_link(format!("/proc/{pid}/{name}")).ok()?;
    Some(target.display().to_string())
}

fn parent(pid: &str) -> i32 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after = stat.rsplit_once(") ").map_or("", |(_, after)| after);
    let parent = after.split(' ').nth(1);
    parent.and_then(|parent| parent.parse().ok()).unwrap_or(0)
}
