//! A dockerd of our own: its own state, cgroup and socket, with the runtime under test as its default runtime.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::mount::{MntFlags, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use super::{Engine, Started, Which};
use crate::rootfs;
use crate::suite::Suite;

/// How long the daemon may take to come up or go down.
const LIMIT: Duration = Duration::from_secs(60);

/// What the scripts of rows begin with.
const PRELUDE: &str = include_str!("../../engines/docker.sh");

/// Where Debian's dockerd and what it calls are.
const DEBIANS: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// The daemon becomes this shell, which makes its bridge.
const START: &str = r#"
set -e
ip link set lo up
ip link add "$2" type bridge
ip address add "$3" dev "$2"
ip link set "$2" up
exec dockerd --config-file "$1"
"#;

/// One dockerd.
#[derive(Debug)]
pub(super) struct Daemon {
    child: Child,
    dir: PathBuf,
    prelude: String,
}

/// The plain daemon, with one image more.
#[derive(Debug)]
struct Programs {
    prelude: String,
}

/// With its root as the containers' root.
pub(super) fn plain(suite: &Suite) -> Started {
    let daemon = Daemon::start(suite, false)?;
    daemon.import("debian", &rootfs::debian()?)?;
    Ok(Box::new(daemon))
}

/// The one that maps root to somebody else.
pub(super) fn remapped(suite: &Suite) -> Started {
    Ok(Box::new(Daemon::start(suite, true)?))
}

/// The plain one, once it has the image of the servers, which is large: rows that need it pay for it.
pub(super) fn programs(suite: &Suite) -> Started {
    let plain = suite.engines.prelude(suite, Which::Docker);
    let prelude = plain.map_err(|stop| format!("{stop:?}"))?;
    import(&prelude, "programs", &rootfs::programs()?)?;
    Ok(Box::new(Programs { prelude }))
}

impl Engine for Daemon {
    fn prelude(&self) -> String {
        self.prelude.clone()
    }
}

impl Engine for Programs {
    fn prelude(&self) -> String {
        self.prelude.clone()
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
        let cgroup = format!("/{}/docker", suite.tag);
        let mut config = json!({
            "runtimes": { "tested": { "path": suite.runtime.path } },
            "default-runtime": "tested",
            "bridge": bridge,
            "cgroup-parent": cgroup,
            "data-root": path("data"),
            "exec-root": path("exec"),
            "pidfile": path("pid"),
            "hosts": [format!("unix://{}", path("socket"))],
            "log-driver": "json-file",
        });
        if remapped {
            config["userns-remap"] = json!("nobody:nogroup");
        }
        fs::write(dir.join("daemon.json"), config.to_string()).map_err(failed)?;
        let commands = stand_in(&dir, suite).map_err(failed)?;
        let log = File::create_new(dir.join("log")).map_err(failed)?;
        let shell = [
            "sh",
            "-c",
            START,
            "sh",
            &path("daemon.json"),
            bridge,
            subnet,
        ];
        // When it comes up, a dockerd takes away the rules that another one in the same network has made.
        let child = Command::new(if remapped { "unshare" } else { "env" })
            .args(remapped.then_some("--net"))
            .args(shell)
            .env("PATH", commands)
            .stdin(Stdio::null())
            .stdout(log.try_clone().map_err(failed)?)
            .stderr(log)
            .spawn()
            .map_err(failed)?;
        let prelude = format!(
            "{PRELUDE}\nexport DOCKER_HOST=unix://{}; dockerd={}; calls={}; cgroup={cgroup}; runtime={}",
            path("socket"),
            dir.display(),
            path("calls"),
            suite.runtime.path.display(),
        );
        let daemon = Daemon {
            child,
            dir,
            prelude,
        };
        daemon.wait_until_up()?;
        let busybox = suite.dir.join("image");
        if !busybox.exists() {
            rootfs::busybox(suite, &busybox).map_err(|stop| format!("{stop:?}"))?;
        }
        daemon.import("busybox", &busybox)?;
        Ok(daemon)
    }

    fn import(&self, name: &str, root: &Path) -> Result<(), String> {
        import(&self.prelude, name, root)
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
        // dockerd leaves the handle of its network namespace.
        let netns = self.dir.join("exec/netns/default");
        let _ = umount2(&netns, MntFlags::MNT_DETACH);
    }
}

/// BuildKit and `--runtime runc` look for runc in dockerd's PATH. What they find there is the runtime under test,
/// and a line in `calls` for each call.
fn stand_in(dir: &Path, suite: &Suite) -> io::Result<String> {
    let commands = dir.join("commands");
    fs::create_dir(&commands)?;
    let text = format!(
        "#!/bin/sh\necho \"$*\" >> {}\nexec {} \"$@\"\n",
        dir.join("calls").display(),
        suite.runtime.path.display()
    );
    let runc = commands.join("runc");
    fs::write(&runc, text)?;
    fs::set_permissions(&runc, fs::Permissions::from_mode(0o755))?;
    let path = std::env::var("PATH").unwrap_or_default();
    Ok(format!("{}:{DEBIANS}:{path}", commands.display()))
}

/// An image of one layer.
fn import(prelude: &str, name: &str, root: &Path) -> Result<(), String> {
    let script =
        format!("{prelude}\ntar -C \"$1\" --one-file-system -c . | docker import - \"$2\"");
    let output = Command::new("sh")
        .args(["-c", &script, "sh"])
        .arg(root)
        .arg(name)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("docker import: {error}"))?;
    output.status.success().then_some(()).ok_or_else(|| {
        let why = String::from_utf8_lossy(&output.stderr);
        format!("importing {name} failed: {}", why.trim())
    })
}
