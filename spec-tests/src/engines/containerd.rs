//! A containerd of our own: its own root, state, sockets and cgroup. `ctr` and the CRI plugin share it.
//!
//! What a node's administrator adds to config.toml is the text of `docs/engines/containerd.md`, with our path of the runtime.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::json;

use super::{Engine, Started};
use crate::rootfs;
use crate::suite::Suite;

/// The page whose first block of TOML is a part of the config.
const PAGE: &str = include_str!("../../../docs/engines/containerd.md");

/// Where the page says the runtime is.
const INSTALLED: &str = "/usr/local/bin/longshore";

/// The image of all containers and sandboxes.
const IMAGE: &str = "docker.io/library/busybox:latest";

/// One containerd; its pid is in a file, since rows may end it and start another.
#[derive(Debug)]
pub(super) struct Daemon {
    dir: PathBuf,
    tag: String,
}

/// The one that stays up.
pub(super) fn lasting(suite: &Suite) -> Started {
    Ok(Box::new(Daemon::start(suite, "containerd", 1)?))
}

/// The one that rows kill.
pub(super) fn mortal(suite: &Suite) -> Started {
    Ok(Box::new(Daemon::start(suite, "containerd-mortal", 2)?))
}

impl Engine for Daemon {
    fn prelude(&self) -> String {
        format!(". {}/prelude", self.dir.display())
    }
}

impl Daemon {
    fn start(suite: &Suite, name: &str, number: u8) -> Result<Daemon, String> {
        let failed = |error: io::Error| format!("{name}: {error}");
        let dir = suite.dir.join(name);
        fs::create_dir(&dir).map_err(failed)?;
        let tools = std::env::current_exe().map_err(failed)?;
        let tools = tools.parent().unwrap_or(Path::new("/")).to_owned();
        if !tools.join("cri").exists() {
            return Err(format!(
                "no cri in {}: cargo build --release -p longshore-cri",
                tools.display()
            ));
        }
        let runtime = suite.runtime.path.display().to_string();
        let page = page()?;
        let own = include_str!("../../engines/containerd.toml");
        let own = own.replace("@DIR@", &dir.display().to_string());
        let own = own.replace("@IMAGE@", IMAGE);
        let config = format!("{own}{}", page.replace(INSTALLED, &runtime));
        add_network(&dir, number).map_err(failed)?;
        let prelude = [
            format!("export PATH={}:$PATH", tools.display()),
            format!("export CONTAINERD_ADDRESS={}/socket", dir.display()),
            format!("export CONTAINERD_NAMESPACE={}", suite.tag),
            format!("export CRI_SOCKET={}/socket", dir.display()),
            format!("export CRI_CGROUP=/{}/cri", suite.tag),
            format!("engine={}", dir.display()),
            format!("image={IMAGE}"),
            format!("runtime={runtime}"),
            include_str!("../../engines/containerd-prelude.sh").to_owned(),
        ];
        let files = [
            ("config.toml", config.as_str()),
            ("own.toml", &own),
            ("page.toml", page),
            ("start", include_str!("../../engines/containerd-start.sh")),
            ("prelude", &prelude.join("\n")),
        ];
        for (name, text) in files {
            fs::write(dir.join(name), text).map_err(failed)?;
        }
        let daemon = Daemon {
            dir,
            tag: suite.tag.clone(),
        };
        daemon.sh("start_again")?;
        daemon.import(suite)?;
        Ok(daemon)
    }

    /// Runs a script as a row would.
    fn sh(&self, script: &str) -> Result<(), String> {
        let ran = Command::new("/bin/sh")
            .args(["-c", &format!("{}\n{script}", self.prelude())])
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("sh: {error}"))?;
        let said = String::from_utf8_lossy(&ran.stderr);
        ran.status
            .success()
            .then_some(())
            .ok_or_else(|| format!("containerd: {}", said.trim()))
    }

    fn import(&self, suite: &Suite) -> Result<(), String> {
        let root = self.dir.join("image");
        rootfs::busybox(suite, &root).map_err(|stop| format!("{stop:?}"))?;
        let make = include_str!("../../engines/image.sh");
        let archive = self.dir.join("image.tar").display().to_string();
        self.sh(&format!(
            "set -- {} {archive} {IMAGE}\n{make}",
            root.display()
        ))?;
        self.sh(&format!("ctr images import {archive}"))?;
        self.sh(&format!("ctr -n k8s.io images import {archive}"))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let end = include_str!("../../engines/containerd-end.sh");
        let _ = self.sh(&format!(
            "set -- {} {}\n{end}",
            self.dir.display(),
            self.tag
        )); // the leak check tells what stays
    }
}

/// What the page tells to paste.
fn page() -> Result<&'static str, String> {
    let page = PAGE.split("```toml\n").nth(1);
    let page = page.and_then(|rest| rest.split("```").next());
    page.filter(|text| text.contains(INSTALLED))
        .ok_or_else(|| format!("docs/engines/containerd.md has no TOML with {INSTALLED}"))
}

/// A bridge for the pods, as CNI's plugins make it.
fn add_network(dir: &Path, number: u8) -> io::Result<()> {
    let bridge = format!("longpods{number}");
    let conf = json!({
        "cniVersion": "0.4.0",
        "name": "pods",
        "plugins": [{
            "type": "bridge",
            "bridge": bridge,
            "isGateway": true,
            "ipam": {
                "type": "host-local",
                "dataDir": dir.join("addresses"),
                "subnet": format!("172.31.{}.0/24", 10 + number),
                "routes": [{ "dst": "0.0.0.0/0" }],
            },
        }],
    });
    fs::create_dir(dir.join("cni"))?;
    fs::write(dir.join("cni/pods.conflist"), conf.to_string())?;
    // A dockerd of the same run lets nothing through but its own.
    let rule = [
        "-w", "-I", "FORWARD", "-i", &bridge, "-o", &bridge, "-j", "ACCEPT",
    ];
    let set = Command::new("iptables").args(rule).status()?;
    set.success()
        .then_some(())
        .ok_or_else(|| io::Error::other("iptables failed"))
}
