//! The host's cgroup hierarchies, seen from outside the container.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const MOUNT: &str = "/sys/fs/cgroup";

/// The roots of all hierarchies: one on a unified host, one per controller else.
pub(crate) fn roots() -> Vec<PathBuf> {
    if Path::new(MOUNT).join("cgroup.procs").exists() {
        return vec![PathBuf::from(MOUNT)];
    }
    let entries = fs::read_dir(MOUNT).into_iter().flatten().flatten();
    let mut roots: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|path| path.join("cgroup.procs").exists())
        .collect();
    // Merged hierarchies have symlinks for each name; one name is enough.
    roots.retain(|path| !path.is_symlink());
    roots.sort();
    roots
}

/// True when `/sys/fs/cgroup` is a cgroup2.
pub(crate) fn unified() -> bool {
    Path::new(MOUNT).join("cgroup.controllers").exists()
}

/// The text of a cgroup file in a v1 hierarchy, or in the one hierarchy.
pub(crate) fn read(controller: &str, cgroup: &str, file: &str) -> std::io::Result<String> {
    let root = if unified() {
        PathBuf::from(MOUNT)
    } else {
        Path::new(MOUNT).join(controller)
    };
    fs::read_to_string(root.join(cgroup.trim_start_matches('/')).join(file))
}

/// Whether the host has a controller, in a v1 hierarchy or in the one hierarchy.
pub(crate) fn has(controller: &str) -> bool {
    let all = fs::read_to_string(Path::new(MOUNT).join("cgroup.controllers"));
    match all {
        Ok(all) => all.split_whitespace().any(|name| name == controller),
        Err(_) => !controller.is_empty() && Path::new(MOUNT).join(controller).exists(),
    }
}

/// Whether the kernel offers a file in cgroups of the controller.
pub(crate) fn offers(controller: &str, file: &str) -> bool {
    let root = Path::new(MOUNT).join(controller);
    // Some files do not exist in the root cgroup, so a probe cgroup is asked.
    let probe = root.join(format!(
        "longshore-spec-probe-{:?}",
        std::thread::current().id()
    ));
    let made = fs::create_dir(&probe).is_ok();
    let found = probe.join(file).exists();
    if made {
        let _ = fs::remove_dir(&probe); // nobody can have entered it
    }
    found
}

/// The directories of a cgroup, in each hierarchy where it exists.
pub(crate) fn directories(cgroup: &str) -> Vec<PathBuf> {
    let relative = cgroup.trim_start_matches('/');
    roots()
        .iter()
        .map(|root| root.join(relative))
        .filter(|dir| dir.exists())
        .collect()
}

/// The processes in a cgroup and below it, in any hierarchy.
pub(crate) fn processes(cgroup: &str) -> Vec<i32> {
    let mut pids = Vec::new();
    for dir in directories(cgroup) {
        walk(&dir, &mut |dir| {
            let text = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
            pids.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()));
        });
    }
    pids.sort_unstable();
    pids.dedup();
    pids
}

/// Removes a cgroup with all below it. A process that has just died may still
/// keep its cgroup busy, hence the patience.
pub(crate) fn remove(cgroup: &str) {
    for dir in directories(cgroup) {
        let mut dirs = Vec::new();
        walk(&dir, &mut |dir| dirs.push(dir.to_owned()));
        let end = Instant::now() + Duration::from_secs(2);
        for dir in dirs.iter().rev() {
            while fs::remove_dir(dir).is_err() && dir.exists() && Instant::now() < end {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }
}

/// All cgroup directories whose path holds the word.
pub(crate) fn named(word: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for root in roots() {
        walk(&root, &mut |dir| {
            if dir.to_string_lossy().contains(word) {
                found.push(dir.to_owned());
            }
        });
    }
    found
}

/// Visits a directory and then those below it.
fn walk(dir: &Path, visit: &mut dyn FnMut(&Path)) {
    visit(dir);
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            walk(&entry.path(), visit);
        }
    }
}
