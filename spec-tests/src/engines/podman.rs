//! podman, and buildah in it: nothing runs but what is called. Its own storage and runtime table, for root or,
//! without any privilege, for `nobody`.

use std::fs;
use std::io;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use nix::mount::{MntFlags, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{Engine, Started};
use crate::cgroups;
use crate::rootfs;
use crate::suite::Suite;

/// The user of the rootless one; [`super::Engines::prepare`] gives it a range of ids.
const NOBODY: u32 = 65534;

/// Where podman puts its cgroups.
const PARENT: &str = "libpod_parent";

#[derive(Debug)]
struct Podman {
    dir: PathBuf,
    runtime: PathBuf,
    rootless: bool,
}

/// As root.
pub(super) fn rootful(suite: &Suite) -> Started {
    start(suite, false)
}

/// As somebody.
pub(super) fn rootless(suite: &Suite) -> Started {
    start(suite, true)
}

fn start(suite: &Suite, rootless: bool) -> Started {
    let failed = |error: io::Error| format!("podman: {error}");
    let podman = Podman::configured(suite, rootless).map_err(failed)?;
    let image = podman.dir.join("image");
    rootfs::busybox(suite, &image).map_err(|stop| format!("{stop:?}"))?;
    podman.import("busybox", &image).map_err(failed)?;
    if !rootless {
        podman
            .import("debian", &rootfs::debian()?)
            .map_err(failed)?;
    }
    Ok(Box::new(podman))
}

impl Podman {
    fn configured(suite: &Suite, rootless: bool) -> io::Result<Podman> {
        let dir = suite.dir.join(if rootless { "podless" } else { "podman" });
        fs::create_dir(&dir)?;
        // A user has no way through the directories above the runtime, perhaps.
        let name = suite.runtime.path.file_name().unwrap_or_default();
        let runtime = dir.join(name);
        fs::copy(&suite.runtime.path, &runtime)?;
        let place = dir.display();
        // Limits that a caller without CAP_SYS_RESOURCE may set: podman's own are above those that it leaves itself.
        let configuration = format!(
            "[containers]\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=1024:1024\"]\n\n{}\n[network]\nnetwork_config_dir = \"{place}/networks\"\n",
            include_str!("../../../docs/engines/podman/containers.conf")
                .replace("/usr/local/bin/longshore", &runtime.display().to_string())
        );
        fs::write(dir.join("containers.conf"), configuration)?;
        let storage = format!(
            "[storage]\ndriver = \"overlay\"\ngraphroot = \"{place}/graph\"\nrunroot = \"{place}/run\"\n"
        );
        fs::write(dir.join("storage.conf"), storage)?;
        if rootless {
            for path in [dir.join("home"), "/run/user".into(), runtime_dir().into()] {
                fs::create_dir_all(&path)?;
            }
            for path in [dir.as_path(), &dir.join("home"), Path::new(&runtime_dir())] {
                chown(path, Some(NOBODY), Some(NOBODY))?;
            }
        }
        Ok(Podman {
            dir,
            runtime,
            rootless,
        })
    }

    fn shell(&self, script: &str) -> io::Result<Output> {
        let script = format!("w={}; {}\n{script}", self.dir.display(), self.prelude());
        Command::new("/bin/sh").args(["-c", &script]).output()
    }

    fn import(&self, name: &str, root: &Path) -> io::Result<()> {
        let tar = self.dir.join(format!("{name}.tar"));
        let (root, tar) = (root.display(), tar.display());
        let script = format!(
            "set -e; tar -C {root} --one-file-system -cf {tar} .; podman import {tar} {name}; rm {tar}"
        );
        let ran = self.shell(&script)?;
        let words = String::from_utf8_lossy(&ran.stderr).into_owned();
        ran.status
            .success()
            .then_some(())
            .ok_or_else(|| io::Error::other(format!("podman import {name}: {words}")))
    }
}

impl Engine for Podman {
    fn prelude(&self) -> String {
        let dir = self.dir.display();
        let own = format!(
            "export CONTAINERS_CONF={dir}/containers.conf CONTAINERS_STORAGE_CONF={dir}/storage.conf BUILDAH_RUNTIME={}",
            self.runtime.display()
        );
        if !self.rootless {
            return format!("{own} BUILDAH_ISOLATION=oci");
        }
        // In the working directory that others may not see.
        format!(
            "{own} BUILDAH_ISOLATION=rootless HOME={dir}/home XDG_RUNTIME_DIR={}\nnobody() {{ setpriv --reuid {NOBODY} --regid {NOBODY} --clear-groups \"$@\"; }}\npodman() {{ chown {NOBODY}:{NOBODY} $w; nobody podman \"$@\"; }}",
            runtime_dir()
        )
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        let _ = self.shell("podman pod rm -fa -t 0; podman rm -fa -t 0; podman rmi -fa"); // the leak check tells what stays
        // A rootless podman keeps a process that holds its namespaces.
        let pause = format!("{}/libpod/tmp/pause.pid", runtime_dir());
        let pid = fs::read_to_string(pause).ok();
        if let Some(pid) = pid.and_then(|pid| pid.trim().parse().ok()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL); // ended already
            crate::scene::reap(pid);
        }
        if !self.rootless {
            let _ = umount2("/run/netns", MntFlags::MNT_DETACH); // no network was made
            cgroups::remove(&format!("/{PARENT}"));
            let _ = Command::new("ip")
                .args(["link", "del", "cni-podman0"])
                .output(); // with the last network
        }
    }
}

fn runtime_dir() -> String {
    format!("/run/user/{NOBODY}")
}
