//! What this host lets containers have: tried, not guessed. Each trial is a container of its own that asks for one
//! thing more than the plainest one, and is gone when it has been told.

use super::stdio::Stdio;
use crate::error::{Error, Result};
use crate::launch;
use crate::runtime::{CgroupDriver, Runtime};
use nix::sys::resource::{Resource, getrlimit};
use nix::unistd::{getegid, geteuid};
use serde_json::{Value, json};
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// One thing that containers may need of the host.
///
/// ```no_run
/// # fn main() -> longshore::Result<()> {
/// let runtime = longshore::Runtime::builder().build()?;
/// for finding in runtime.doctor()?.iter().filter(|finding| !finding.able) {
///     println!("{}: {}", finding.id, finding.detail);
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// Its name, which stays: `namespace.time`, `limit.memory`.
    pub id: &'static str,
    /// A container had it.
    pub able: bool,
    /// Why not, in a line; empty if there is nothing to say.
    pub detail: String,
}

struct Trial {
    id: &'static str,
    /// Into the plainest configuration.
    ask: fn(&mut Value, &Path),
}

const fn trial(id: &'static str, ask: fn(&mut Value, &Path)) -> Trial {
    Trial { id, ask }
}

const PLAIN: Trial = trial("container", |_, _| {});
const SYSTEMD: Trial = trial("cgroup.systemd", |_, _| {});

/// In the order in which they are told.
const TRIALS: &[Trial] = &[
    trial("namespace.cgroup", |config, _| namespace(config, "cgroup")),
    trial("namespace.ipc", |config, _| namespace(config, "ipc")),
    trial("namespace.network", |config, _| {
        namespace(config, "network")
    }),
    trial("namespace.time", |config, _| namespace(config, "time")),
    trial("namespace.user", |config, _| own_user(config)),
    trial("namespace.uts", |config, _| namespace(config, "uts")),
    trial("limit.cpu", |config, _| {
        limit(config, "cpu", json!({ "quota": 50_000 }));
    }),
    trial("limit.cpuset", |config, _| {
        limit(config, "cpu", json!({ "mems": "0" }));
    }),
    trial("limit.devices", |config, _| {
        limit(
            config,
            "devices",
            json!([{ "allow": false, "access": "rwm" }, { "allow": true, "type": "c", "major": 1, "minor": 3, "access": "rw" }]),
        );
    }),
    trial("limit.hugetlb", |config, _| {
        limit(
            config,
            "hugepageLimits",
            json!([{ "pageSize": "2MB", "limit": 0 }]),
        );
    }),
    trial("limit.io", |config, _| {
        limit(config, "blockIO", json!({ "weight": 500 }));
    }),
    trial("limit.memory", |config, _| {
        limit(config, "memory", json!({ "limit": 64 << 20 }));
    }),
    trial("limit.pids", |config, _| {
        limit(config, "pids", json!({ "limit": 10 }));
    }),
    trial("mount.bind.id-mapped", |config, directory| {
        let map = json!([{ "containerID": 0, "hostID": 1, "size": 1 }]);
        mount(
            config,
            json!({ "type": "bind", "source": source(directory), "options": ["bind", "idmap"], "uidMappings": map, "gidMappings": map }),
        );
    }),
    trial("mount.bind.recursively-read-only", |config, directory| {
        mount(
            config,
            json!({ "type": "bind", "source": source(directory), "options": ["rbind", "rro"] }),
        );
    }),
    trial("mount.cgroup", |config, _| {
        namespace(config, "cgroup");
        mount(config, json!({ "type": "cgroup", "source": "cgroup" }));
    }),
    trial("mount.mqueue", |config, _| {
        namespace(config, "ipc");
        mount(config, json!({ "type": "mqueue", "source": "mqueue" }));
    }),
    trial("mount.overlay", |config, directory| {
        let directory = source(directory);
        let option = |word, name| format!("{word}={directory}/{name}");
        let options = [
            option("lowerdir", "lower"),
            option("upperdir", "upper"),
            option("workdir", "work"),
        ];
        mount(
            config,
            json!({ "type": "overlay", "source": "overlay", "options": options }),
        );
    }),
    trial("mount.proc", |config, _| {
        mount(config, json!({ "type": "proc", "source": "proc" }));
    }),
    trial("mount.sysfs", |config, _| {
        namespace(config, "network");
        mount(
            config,
            json!({ "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"] }),
        );
    }),
    trial("capabilities.all", |config, _| {
        let all: Vec<_> = caps::all().iter().map(ToString::to_string).collect();
        config["process"]["capabilities"] =
            json!({ "bounding": all, "effective": all, "permitted": all });
    }),
    trial("rlimit.raised", |config, _| {
        let (soft, hard) = getrlimit(Resource::RLIMIT_MSGQUEUE).unwrap_or_default();
        let raised =
            json!([{ "type": "RLIMIT_MSGQUEUE", "soft": soft, "hard": hard.saturating_add(1) }]);
        config["process"]["rlimits"] = raised;
    }),
    trial("oom-score.lowered", |config, _| {
        let now = fs::read_to_string("/proc/self/oom_score_adj").unwrap_or_default();
        config["process"]["oomScoreAdj"] =
            json!(now.trim().parse::<i32>().unwrap_or(0).saturating_sub(1));
    }),
    trial("seccomp", |config, _| {
        let refuse = json!([{ "names": ["reboot"], "action": "SCMP_ACT_ERRNO" }]);
        config["linux"]["seccomp"] =
            json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": refuse });
    }),
    trial("apparmor", |config, _| {
        config["process"]["apparmorProfile"] = json!("unconfined");
    }),
];

fn namespace(config: &mut Value, kind: &str) {
    if let Some(list) = config["linux"]["namespaces"].as_array_mut() {
        list.push(json!({ "type": kind }));
    }
}

fn own_user(config: &mut Value) {
    let map = |id: u32| json!([{ "containerID": 0, "hostID": id, "size": 1 }]);
    let linux = &mut config["linux"];
    if linux["uidMappings"].is_array() {
        return;
    }
    linux["uidMappings"] = map(geteuid().as_raw());
    linux["gidMappings"] = map(getegid().as_raw());
    namespace(config, "user");
}

fn limit(config: &mut Value, name: &str, value: Value) {
    config["linux"]["resources"][name] = value;
}

fn mount(config: &mut Value, mut mount: Value) {
    mount["destination"] = json!("/there");
    config["mounts"] = json!([mount]);
}

fn source(directory: &Path) -> String {
    directory.display().to_string()
}

/// What all trials share; it goes with the value.
struct Bundle {
    /// In the state root, where no id can be.
    directory: PathBuf,
    /// How the trials' ids begin.
    name: String,
}

impl Bundle {
    fn open(state_root: &Path) -> Result<Bundle> {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("doctor-{}-{number}", std::process::id());
        let directory = state_root.join(format!("@{name}"));
        for below in ["rootfs", "lower", "upper", "work"] {
            let path = directory.join(below);
            let made = fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&path);
            made.map_err(|error| Error::system(format!("cannot make {}", path.display()), error))?;
        }
        Ok(Bundle { directory, name })
    }

    fn configuration(&self, rootless: bool) -> Value {
        let mut config = json!({
            "ociVersion": "1.0.0",
            "root": { "path": source(&self.directory.join("rootfs")) },
            "process": { "cwd": "/", "args": ["doctor"], "user": { "uid": 0, "gid": 0 } },
            "linux": { "namespaces": [{ "type": "mount" }, { "type": "pid" }], "resources": {} },
        });
        if rootless {
            own_user(&mut config);
        }
        config
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory); // what is left is ours, and in nobody's way
    }
}

impl Runtime {
    /// Tries what containers may have on this host, with this runtime's settings: a container for each thing, some
    /// milliseconds each, which leaves nothing.
    ///
    /// # Errors
    /// The state root can't be written to.
    pub fn doctor(&self) -> Result<Vec<Finding>> {
        let rootless = crate::host::rootless();
        let bundle = Bundle::open(self.state_root())?;
        let plain = self.tried(&PLAIN, &bundle, rootless)?;
        let mut findings = vec![finding(PLAIN.id, plain.as_ref().map(|_| None))];
        // Said of each container, if it is so: that it stays in its caller's cgroup.
        let stays = |warning: &&String| warning.starts_with("linux.cgroupsPath");
        let own = plain
            .as_ref()
            .map(|warnings| warnings.iter().find(stays).cloned());
        findings.push(finding("cgroup.own", own));
        let usual = plain.unwrap_or_default();
        let systemd = Runtime::builder().state_root(self.state_root());
        let systemd = systemd.cgroups(CgroupDriver::Systemd).build()?;
        let told = systemd.tried(&SYSTEMD, &bundle, rootless)?;
        findings.push(finding(SYSTEMD.id, told.as_ref().map(|_| None)));
        for trial in TRIALS {
            let told = self.tried(trial, &bundle, rootless)?;
            let new = |warnings: &Vec<String>| {
                warnings
                    .iter()
                    .find(|warning| !usual.contains(warning))
                    .cloned()
            };
            findings.push(finding(trial.id, told.as_ref().map(new)));
        }
        Ok(findings)
    }

    /// The warnings, or why there was no such container.
    fn tried(
        &self,
        trial: &Trial,
        bundle: &Bundle,
        rootless: bool,
    ) -> Result<std::result::Result<Vec<String>, Error>> {
        let mut config = bundle.configuration(rootless);
        (trial.ask)(&mut config, &bundle.directory);
        let id = format!("{}-{}", bundle.name, trial.id);
        let image = launch::image(self.state_root())?;
        let program = image.as_fd().try_clone_to_owned();
        let program =
            program.map_err(|error| Error::system("cannot duplicate a descriptor", error))?;
        let mut builder = self.container(&id).bundle(&bundle.directory);
        builder.spec = Some(config.to_string().into_bytes());
        builder.stdio = [Stdio::null(), Stdio::null(), Stdio::null()];
        let tried = builder.program(program).create().and_then(|container| {
            let warnings = container.warnings().to_vec();
            Ok((warnings, container.start()?))
        });
        self.force_delete(&id)?;
        Ok(tried.map(|(warnings, process)| {
            let _ = process.wait(); // it is dead by now: this reaps it
            warnings
        }))
    }
}

fn finding(id: &'static str, told: std::result::Result<Option<String>, &Error>) -> Finding {
    let (able, detail) = match told {
        Ok(None) => (true, String::new()),
        Ok(Some(warning)) => (false, warning),
        Err(error) => (false, error.to_string()),
    };
    Finding { id, able, detail }
}
