//! A dockerd of our own: its own state, cgroup and socket, with the runtime under test as its default runtime.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use super::{Engine, Started};
use crate::rootfs;
use crate::suite::Suite;

/// Whose root the remapped daemon's containers have.
const SUBIDS: [(&str, &str); 2] = [("/etc/subuid", "nobody"), ("/etc/subgid", "nobody")];

/// How long the daemon may take to come up or go down.
const LIMIT: Duration = Duration::from_secs(60);

/// One dockerd.
#[derive(Debug)]
pub(super) struct Daemon {
    child: Child,
    dir: PathBuf,
}

/// With its root as the containers' root.
pub(super) fn plain(suite: &Suite) -> Started {
    Ok(Box::new(Daemon::start(suite, false)?))
}

/// The one that maps root to somebody else.
pub(super) fn remapped(suite: &Suite) -> Started {
    Ok(Box::new(Daemon::start(suite, true)?))
}

impl Engine for Daemon {
    fn prelude(&self) -> String {
        format!("export DOCKER_HOST={}", self.socket())
    }
}

impl Daemon {
    fn start(suite: &Suite, remapped: bool) -> Result<Daemon, String> {
        let dir = suite.dir.join(if remapped {
            "dockerd-remapped"
        } else {
            "dockerd"
        });
        let failed = |error: io::Error| format!("dockerd: {error}");
        fs::create_dir(&dir).map_err(failed)?;
        let path = |name: &str| dir.join(name).display().to_string();
        // Each daemon has its own bridge: two of one name would take each other's addresses.
        let (bridge, subnet) = if remapped {
            ("longshore1", "172.31.2.1/24")
        } else {
            ("longshore0", "172.31.1.1/24")
        };
        add_bridge(bridge, subnet).map_err(failed)?;
        let mut config = json!({
            "runtimes": { "tested": { "path": suite.runtime.path } },
            "default-runtime": "tested",
            "bridge": bridge,
            "cgroup-parent": format!("/{}/docker", suite.tag),
            "data-root": path("data"),
            "exec-root": path("exec"),
            "pidfile": path("pid"),
            "hosts": [format!("unix://{}", path("socket"))],
            "log-driver": "json-file",
        });
        if remapped {
            config["userns-remap"] = json!("nobody:nogroup");
            allow_subids().map_err(failed)?;
        }
        fs::write(dir.join("daemon.json"), config.to_string()).map_err(failed)?;
        let log = File::create_new(dir.join("log")).map_err(failed)?;
        let child = Command::new("dockerd")
            .args(["--config-file", &path("daemon.json")])
            .stdin(Stdio::null())
            .stdout(log.try_clone().map_err(failed)?)
            .stderr(log)
            .spawn()
            .map_err(failed)?;
        let daemon = Daemon { child, dir };
        daemon.wait_until_up()?;
        daemon.import("busybox", &suite.dir.join("image"), suite)?;
        if !remapped {
            let failed = |error: io::Error| format!("docker import: {error}");
            daemon
                .import_tar("debian", &rootfs::debian()?)
                .map_err(failed)?;
        }
        Ok(daemon)
    }

    fn socket(&self) -> String {
        format!("unix://{}", self.dir.join("socket").display())
    }

    fn docker(&self, args: &[&str]) -> io::Result<std::process::Output> {
        Command::new("docker")
            .env("DOCKER_HOST", self.socket())
            .args(args)
            .stdin(Stdio::null())
            .output()
    }

    fn wait_until_up(&self) -> Result<(), String> {
        let end = Instant::now() + LIMIT;
        while !self
            .docker(&["version"])
            .is_ok_and(|output| output.status.success())
        {
            if Instant::now() > end {
                let log = fs::read_to_string(self.dir.join("log")).unwrap_or_default();
                let last = log.lines().last().unwrap_or_default();
                return Err(format!("dockerd did not come up: {last}"));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    /// An image of one layer from a busybox root.
    fn import(&self, name: &str, root: &Path, suite: &Suite) -> Result<(), String> {
        let failed = |error: io::Error| format!("docker import: {error}");
        if !root.exists() {
            rootfs::busybox(suite, root).map_err(|stop| format!("{stop:?}"))?;
        }
        self.import_tar(name, root).map_err(failed)
    }

    fn import_tar(&self, name: &str, root: &Path) -> io::Result<()> {
        let mut tar = Command::new("tar")
            .args([
                "-C",
                &root.display().to_string(),
                "--one-file-system",
                "-c",
                ".",
            ])
            .stdout(Stdio::piped())
            .spawn()?;
        let stdin = tar
            .stdout
            .take()
            .ok_or_else(|| io::Error::other("no pipe"))?;
        let status = Command::new("docker")
            .env("DOCKER_HOST", self.socket())
            .args(["import", "-", name])
            .stdin(stdin)
            .stdout(Stdio::null())
            .status()?;
        let packed = tar.wait()?.success();
        (packed && status.success())
            .then_some(())
            .ok_or_else(|| io::Error::other(format!("importing {name} failed")))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let list = self
            .docker(&["ps", "-aq"])
            .map(|output| output.stdout)
            .unwrap_or_default();
        let list = String::from_utf8_lossy(&list).into_owned();
        let ids: Vec<_> = list.split_whitespace().collect();
        if !ids.is_empty() {
            let _ = self.docker(&[&["rm", "-f", "-v"][..], &ids].concat()); // the leak check tells what stays
        }
        let _ = kill(
            Pid::from_raw(self.child.id().cast_signed()),
            Signal::SIGTERM,
        ); // ended already
        let end = Instant::now() + LIMIT;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(50));
        }
        let _ = self.child.kill(); // ended already
        let _ = self.child.wait(); // reaped already
        // dockerd leaves the handle of its network namespace; the two files were never there without a remapped daemon.
        let netns = self.dir.join("exec/netns/default");
        let _ = umount2(&netns, MntFlags::MNT_DETACH);
        for (name, _) in SUBIDS {
            let _ = umount2(name, MntFlags::MNT_DETACH);
        }
    }
}

fn add_bridge(name: &str, address: &str) -> io::Result<()> {
    let steps: [&[&str]; 3] = [
        &["link", "add", name, "type", "bridge"],
        &["address", "add", address, "dev", name],
        &["link", "set", name, "up"],
    ];
    for step in steps {
        if !Command::new("ip").args(step).status()?.success() {
            return Err(io::Error::other(format!("ip {} failed", step.join(" "))));
        }
    }
    Ok(())
}

/// dockerd reads whom it may be from these two files; in our mount namespace they are ours.
fn allow_subids() -> io::Result<()> {
    for (name, whom) in SUBIDS {
        let ours = format!("/run/{}", name.trim_start_matches("/etc/"));
        fs::write(&ours, format!("{whom}:300000:65536\n"))?;
        if !Path::new(name).exists() {
            return Err(io::Error::other(format!("{name} is missing")));
        }
        mount(
            Some(ours.as_str()),
            name,
            None::<&str>,
            MsFlags::MS_BIND,
            None::<&str>,
        )?;
    }
    Ok(())
}
