//! The scene of one test: bundle, state root and cgroup of its own, all removed afterwards.

use std::cell::{Cell, RefCell};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use serde_json::Value;

use crate::disk::Disk;
use crate::holder::Holder;
use crate::runtime::{Call, LIMIT, Ran, RuntimeUnderTest};
use crate::suite::{Check, Stop, Suite, ensure};
use crate::{cgroups, config, rootfs};

/// Everything a test works with.
#[derive(Debug)]
pub(crate) struct Scene<'s> {
    /// The whole run.
    pub suite: &'s Suite,
    /// The container's id, unique on the host.
    pub id: String,
    /// The bundle directory.
    pub dir: PathBuf,
    /// The container's cgroup, as `linux.cgroupsPath` of the base config names it or, with systemd, its scope.
    pub cgroup: String,
    /// What is written to config.json before create and run.
    pub config: Value,
    /// The binary to call: the runtime under test, or a control.
    pub program: PathBuf,
    /// Shell commands run as the runtime's caller in a mount namespace of their own.
    pub setup: &'static str,
    /// Signals that the runtime's caller ignores.
    pub ignored: &'static [i32],
    /// A process whose namespaces the config may name.
    pub holder: Option<Holder>,
    /// A disk that the config may name.
    pub disk: Option<Disk>,
    /// The runtime uses the systemd driver.
    pub systemd: bool,
    /// Processes to reap at the end: we are the subreaper of detached containers.
    pids: RefCell<Vec<i32>>,
    used: Cell<bool>,
}

impl<'s> Scene<'s> {
    /// Builds a fresh bundle with a busybox root.
    pub(crate) fn new(suite: &'s Suite) -> Check<Scene<'s>> {
        let n = suite.next();
        let id = format!("{}-{n}", suite.tag);
        let dir = suite.dir.join(n.to_string());
        let cgroup = format!("/{}/{n}", suite.tag);
        fs::create_dir(&dir)?;
        rootfs::busybox(suite, &dir.join("rootfs"))?;
        let config = config::base(&cgroup);
        let mut scene = Scene {
            suite,
            id,
            dir,
            cgroup,
            config,
            program: suite.runtime.path.clone(),
            setup: "",
            ignored: &[],
            holder: None,
            disk: None,
            systemd: false,
            pids: RefCell::default(),
            used: Cell::new(false),
        };
        if suite.systemd {
            scene.in_scope("system.slice");
        }
        Ok(scene)
    }

    /// Has the runtime ask systemd for the container's cgroup, in a slice; the unit's name.
    pub(crate) fn in_scope(&mut self, slice: &str) -> String {
        let (prefix, name) = self.id.rsplit_once('-').unwrap_or(("spec", &self.id));
        let unit = format!("{}.scope", self.id);
        let path = format!("{slice}:{prefix}:{name}");
        self.cgroup = format!("/{slice}/{unit}");
        config::set(&mut self.config, "/linux/cgroupsPath", path.into());
        self.systemd = true;
        unit
    }

    /// Has Debian's runc do what follows, as a control.
    pub(crate) fn use_runc(&mut self) -> Check {
        let places = ["/usr/sbin/runc", "/usr/bin/runc"].map(PathBuf::from);
        let runc = places.into_iter().find(|path| path.exists());
        self.program = runc.ok_or_else(|| Stop::Skip("no runc here".to_owned()))?;
        Ok(())
    }

    /// Skips what no other runtime has.
    pub(crate) fn only_longshore(&self) -> Check {
        match self.runtime().name.as_str() {
            "longshore" => Ok(()),
            _ => Err(Stop::Skip("is about longshore".to_owned())),
        }
    }

    /// The runtime under test.
    pub(crate) fn runtime(&self) -> &RuntimeUnderTest {
        &self.suite.runtime
    }

    /// Host path of a file in the bundle.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Writes a file in the bundle, with its directories.
    pub(crate) fn file(&self, name: &str, text: &str) -> Check {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap_or(&self.dir))?;
        fs::write(path, text)?;
        Ok(())
    }

    /// Writes an executable script in the bundle and returns its host path.
    pub(crate) fn executable(&self, name: &str, text: &str) -> Check<String> {
        self.file(name, text)?;
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o755))?;
        Ok(self.path(name).display().to_string())
    }

    /// Makes a directory in the bundle that everybody may write to.
    pub(crate) fn open_dir(&self, name: &str) -> Check {
        fs::create_dir_all(self.path(name))?;
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o777))?;
        Ok(())
    }

    /// The script that the container runs.
    pub(crate) fn script(&mut self, text: &str) {
        config::script(&mut self.config, text);
    }

    /// Writes config.json as it stands.
    pub(crate) fn write_config(&self) -> Check {
        let mut config = self.config.clone();
        if let Some(feature) = self.suite.without {
            feature.take_from_config(&mut config);
        }
        fs::write(self.path("config.json"), config.to_string())?;
        Ok(())
    }

    /// A call with the state root of this scene; config.json is not written.
    pub(crate) fn call(&self, args: &[&str]) -> Call {
        self.used.set(true);
        let mut all = vec![
            "--root".to_owned(),
            self.path("state").display().to_string(),
        ];
        if self.systemd {
            all.push("--systemd-cgroup".to_owned());
        }
        all.extend(args.iter().map(|arg| (*arg).to_owned()));
        if let Some(feature) = self.suite.without {
            feature.take_from_command(&mut all);
        }
        Call {
            program: self.program.clone(),
            args: all,
            dir: self.dir.clone(),
            setup: self.setup.to_owned(),
            fds: Vec::new(),
            ignored: self.ignored,
            env: Vec::new(),
            stdin: None,
            stdout: None,
            stderr: None,
        }
    }

    /// `VERB ID`.
    pub(crate) fn verb(&self, verb: &str) -> Check<Ran> {
        Ok(self.call(&[verb, &self.id]).run()?)
    }

    /// A verb that is about no container.
    pub(crate) fn verb_alone(&self, verb: &str) -> Check<Ran> {
        Ok(self.call(&[verb]).run()?)
    }

    /// `run ID` in the foreground.
    pub(crate) fn run(&self) -> Check<Ran> {
        self.write_config()?;
        self.verb("run")
    }

    /// `create` with a pid file, whatever comes of it.
    pub(crate) fn try_create(&self) -> Check<Ran> {
        self.write_config()?;
        self.finish_create(self.create_call(&[]))
    }

    /// The call that `try_create` makes, for tests that change it.
    pub(crate) fn create_call(&self, extra: &[&str]) -> Call {
        let pid_file = self.path("pid").display().to_string();
        let mut args = vec!["create", "--pid-file", pid_file.as_str()];
        args.extend(extra);
        args.push(self.id.as_str());
        self.call(&args)
    }

    /// Makes a create call and remembers the pid to reap.
    pub(crate) fn finish_create(&self, call: Call) -> Check<Ran> {
        self.finish_create_within(call, LIMIT)
    }

    /// The same of a call that may take longer than others.
    pub(crate) fn finish_create_within(&self, call: Call, limit: Duration) -> Check<Ran> {
        let ran = call.spawn()?.wait(limit)?;
        self.note_pid();
        Ok(ran)
    }

    /// `create` that must succeed; returns init's pid on the host.
    pub(crate) fn create(&self) -> Check<i32> {
        self.try_create()?.must()?;
        self.note_pid()
            .ok_or_else(|| Stop::Fail("no pid file after create".to_owned()))
    }

    /// Create and start, both successful.
    pub(crate) fn start(&self) -> Check<i32> {
        let pid = self.create()?;
        self.must("start")?;
        Ok(pid)
    }

    /// A verb that must succeed.
    pub(crate) fn must(&self, verb: &str) -> Check<Ran> {
        self.verb(verb)?.must()
    }

    /// The state JSON.
    pub(crate) fn state(&self) -> Check<Value> {
        let ran = self.must("state")?;
        serde_json::from_str(&ran.stdout)
            .map_err(|error| Stop::Fail(format!("state is no JSON: {error}: {}", ran.stdout)))
    }

    /// The status that `state` tells.
    pub(crate) fn status(&self) -> Check<String> {
        Ok(self.state()?["status"]
            .as_str()
            .unwrap_or("none")
            .to_owned())
    }

    /// `state` must tell the status.
    pub(crate) fn must_be(&self, status: &str) -> Check {
        let now = self.status()?;
        ensure!(now == status, "not {status}, but {now}");
        Ok(())
    }

    /// Polls `state` until it tells the status.
    pub(crate) fn wait_status(&self, status: &str) -> Check {
        until(
            || self.status().is_ok_and(|now| now == status),
            &format!("status {status}"),
        )
    }

    /// What a failed create must not leave: state, cgroups, processes.
    pub(crate) fn left_behind(&self) -> Vec<String> {
        let mut left = Vec::new();
        if self.path("state").join(&self.id).exists() {
            left.push(format!("state directory {}", self.id));
        }
        left.extend(
            cgroups::directories(&self.cgroup)
                .iter()
                .map(|dir| format!("cgroup {}", dir.display())),
        );
        left.extend(
            cgroups::processes(&self.cgroup)
                .iter()
                .map(|pid| format!("process {pid}")),
        );
        left
    }

    /// Nothing of that may be there.
    pub(crate) fn leaves_nothing(&self) -> Check {
        let left = self.left_behind();
        ensure!(left.is_empty(), "left: {left:?}");
        Ok(())
    }

    fn note_pid(&self) -> Option<i32> {
        let pid = fs::read_to_string(self.path("pid"))
            .ok()?
            .trim()
            .parse()
            .ok()?;
        self.pids.borrow_mut().push(pid);
        Some(pid)
    }

    fn clean(&mut self) {
        if self.used.get() {
            let mut call = self.call(&["delete", "--force", &self.id.clone()]);
            call.setup.clear();
            let _ = while_reaping(|| call.run()); // what it leaves is found below or by the leak check
        }
        self.holder = None;
        self.disk = None;
        for pid in cgroups::processes(&self.cgroup) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL); // may have ended meanwhile
            self.pids.borrow_mut().push(pid);
        }
        for pid in self.pids.borrow().iter() {
            reap(*pid);
        }
        cgroups::remove(&self.cgroup);
        self.suite.clear_mounts(&self.dir);
        let _ = fs::remove_dir_all(&self.dir); // the suite's directory goes as a whole later
    }
}

impl Drop for Scene<'_> {
    fn drop(&mut self) {
        self.clean();
    }
}

/// Waits for a condition that no file descriptor announces, at most 10 seconds.
pub(crate) fn until(condition: impl Fn() -> bool, what: &str) -> Check {
    let end = Instant::now() + Duration::from_secs(10);
    while !condition() {
        if Instant::now() > end {
            return Err(Stop::Fail(format!("waited in vain for {what}")));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// Does the work, and meanwhile reaps the processes that were added to containers and became ours: the kernel
/// keeps the init of a pid namespace until all others in it are reaped.
pub(crate) fn while_reaping<T>(work: impl FnOnce() -> T) -> T {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                for pid in added_and_dead() {
                    let _ = waitpid(Pid::from_raw(pid), Some(WaitPidFlag::WNOHANG)); // another thread's work, perhaps
                }
                std::thread::sleep(Duration::from_millis(2));
            }
        });
        let result = work();
        done.store(true, Ordering::Relaxed);
        result
    })
}

/// Zombies of ours that were in a pid namespace of their own, and not as its init.
fn added_and_dead() -> Vec<i32> {
    let own = std::process::id();
    let children = fs::read_to_string(format!("/proc/{own}/task/{own}/children"));
    let children = children.unwrap_or_default();
    let pids = children
        .split_whitespace()
        .filter_map(|pid| pid.parse().ok());
    pids.filter(|pid: &i32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
        let numbers: Vec<&str> = numbers.unwrap_or_default().split_whitespace().collect();
        status.contains("\nState:\tZ") && numbers.len() > 1 && numbers.last() != Some(&"1")
    })
    .collect()
}

/// Reaps one child of ours, if it is one and ends soon.
pub(crate) fn reap(pid: i32) {
    let end = Instant::now() + Duration::from_secs(2);
    while let Ok(status) = waitpid(Pid::from_raw(pid), Some(WaitPidFlag::WNOHANG)) {
        if status.pid().is_some() || Instant::now() > end {
            return;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}
