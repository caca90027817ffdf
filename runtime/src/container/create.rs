//! `create`: from a bundle to a container that waits for `start`. Everything
//! that is done is written down first, and undone when a later part fails.
//! runtime.md#create

use super::announce::{self, Announce};
use super::builder::{ContainerBuilder, Rootfs};
use super::place::{self, Place};
use super::record::{self, InitId, Record};
use super::stdio::{open_stdio, receive_terminal, socket_pair, terminal_sockets};
use super::store::{Entry, Store};
use super::{Container, check_terminal, explain_oom, first, hooks, notify, timestamp};
use crate::cgroup::{Cgroup, Layout};
use crate::config::{Config, NamespaceKind};
use crate::error::{Error, ErrorKind, Result};
use crate::launch::{self, Created, Link, Progress, Surround};
use crate::plan::{self, Action, Facts, Listen, Plan, Request};
use crate::resctrl::{self, Made};
use crate::sys::proc;
use crate::systemd::Started;
use crate::timings::{Timings, Trail};
use std::cell::OnceCell;
use std::fs;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};
impl ContainerBuilder {
    /// What `create` and `start` would do. Touches nothing.
    ///
    /// ```no_run
    /// # fn main() -> longshore::Result<()> {
    /// # let runtime = longshore::Runtime::builder().build()?;
    /// print!("{}", runtime.container("web1").bundle("/bundle").plan()?);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`create`](Self::create), for what can be known before.
    pub fn plan(&self) -> Result<crate::Plan> {
        let prepared = self.prepare()?;
        Ok(crate::Plan::new(prepared.plan))
    }

    /// Creates the container. Its program is not run before [`Container::start`].
    ///
    /// # Errors
    /// Names the property of config.json that can't be had. Nothing is left behind.
    pub fn create(self) -> Result<Container> {
        let trail = self.settings.trail("create", &self.id);
        trail.end(self.establish(&trail, Self::launch))
    }

    /// A container, by whatever sets its processes up; undone unless that succeeds.
    pub(super) fn establish(
        self,
        trail: &Trail,
        set_up: impl FnOnce(Self, &mut Watch<'_>) -> Result<Container>,
    ) -> Result<Container> {
        let prepared = self.prepare()?;
        trail.lap("read config.json, make the plan");
        let store = Store::new(&self.settings.state_root);
        let (entry, _lock) = store.make(&self.id)?;
        trail.point("make the state directory");
        let mut record = self.record(&prepared, &nonce()?);
        let mut undo = Undo {
            entry: &entry,
            cgroup: OnceCell::new(),
            resctrl: OnceCell::new(),
            systemd: record.systemd.clone(),
            nonce: record.nonce.clone(),
            armed: true,
        };
        let (id, settings) = (self.id.clone(), self.settings.clone());
        let mut watch = Watch {
            id: &id,
            entry: &entry,
            prepared: &prepared,
            cgroup: &undo.cgroup,
            resctrl: &undo.resctrl,
            record: &mut record,
            trail,
        };
        match set_up(self, &mut watch) {
            Ok(mut container) => {
                undo.armed = false;
                container.created = Some(record);
                Ok(container)
            }
            Err(error) => {
                let begun = error.kind() == ErrorKind::Hook || entry.read_hook().is_some();
                drop(undo);
                // runtime.md#lifecycle: what hooks have begun, poststop hooks end.
                if begun {
                    let subject = hooks::Subject {
                        id: &id,
                        record: &record,
                        state_root: &settings.state_root,
                        started: &|_| Ok(()), // there is nothing left to write it down in
                    };
                    let _ = subject.poststop(); // the first error is the one to tell
                }
                Err(error)
            }
        }
    }

    fn bundle_path(&self) -> Result<PathBuf> {
        let bundle = self.bundle.clone().unwrap_or_else(|| PathBuf::from("."));
        let refused = |error| {
            Error::system(
                format!("cannot find the bundle {}", bundle.display()),
                error,
            )
        };
        fs::canonicalize(&bundle).map_err(refused)
    }

    pub(super) fn config_bytes(&self) -> Result<Vec<u8>> {
        if let Some(spec) = &self.spec {
            return Ok(spec.clone());
        }
        let path = self.bundle_path()?.join("config.json");
        fs::read(&path).map_err(|error| {
            Error::system(format!("cannot read {}", path.display()), error)
                .with_kind(ErrorKind::InvalidConfig)
        })
    }

    /// The bundle, for a container whose id may be one.
    pub(super) fn place(&self) -> Result<String> {
        super::check_id(&self.id)?;
        let bundle = self.bundle_path()?;
        let bundle = bundle.into_os_string().into_string();
        bundle.map_err(|_| Error::config("bundle", "is not UTF-8"))
    }

    /// Everything that can be known without touching anything.
    fn prepare(&self) -> Result<Prepared> {
        let first = |problems| first(problems, "config.json");
        let bundle = self.place()?;
        let json = self.config_bytes()?;
        let config = Config::parse(&json).map_err(first)?;
        self.compile(config, json, bundle).map_err(first)
    }

    /// The configuration on this host, with all that this host says against it.
    pub(super) fn compile(
        &self,
        mut config: Config,
        json: Vec<u8>,
        bundle: String,
    ) -> Result<Prepared, Vec<Error>> {
        let mut problems = Vec::new();
        let alone = |error| vec![error];
        if let Some(variable) = self.settings.timings.as_ref().and_then(Timings::variable) {
            config.hooks.add_variable(&variable);
        }
        if let Some(rootfs) = &self.rootfs {
            config.root.path = rootfs_path(rootfs).map_err(alone)?;
        }
        let pty = self.pty.wanted(config.process.terminal);
        let console = self.console.is_some() || pty;
        problems.extend(check_terminal(config.process.terminal, console).err());
        if self
            .listen_names
            .as_ref()
            .is_some_and(|names| names.contains('\0'))
        {
            let message = "names of sockets contain a NUL character";
            problems.push(Error::config("process.env", message));
        }
        let place = Place::find(&self.settings, &config, &self.id).map_err(alone)?;
        let (layout, directories) = (place.layout, place.directories);
        let mut facts = crate::host::facts(&config, &layout, directories).map_err(alone)?;
        facts.unit = place.unit;
        if self.settings.resctrl.is_some() {
            facts.resctrl.clone_from(&self.settings.resctrl);
        }
        let request = Request {
            id: self.id.clone(),
            bundle,
            no_pivot: self.no_pivot,
            new_keyring: self.new_keyring,
            console,
            extra_fds: u32::try_from(self.listen.len() + self.extra.len()).unwrap_or(u32::MAX),
            listen: (!self.listen.is_empty()).then(|| Listen {
                count: self.listen.len(),
                names: self.listen_names.clone(),
            }),
            notify: self.notify_path(&config).map_err(alone)?,
            program_fd: self.program.is_some(),
            exec: false,
        };
        let mut plan = plan::compile(&config, &request, &facts).unwrap_or_else(|found| {
            problems.extend(found);
            Plan::default()
        });
        if let Some(why) = place.without {
            let warning = format!("linux.cgroupsPath: no cgroup of its own, {why}");
            plan.warnings.push(warning);
        }
        if self.notify.is_some() && request.notify.is_none() {
            plan.warnings.push(
                "NOTIFY_SOCKET: left out, the container has no mount namespace of its own".into(),
            );
        }
        let rootfs = plan::default_rootfs(&config, &request.bundle);
        problems.extend(missing_root(&rootfs));
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Prepared {
            json,
            pty,
            config,
            layout,
            facts,
            request,
            plan,
            rootfs,
        })
    }

    /// The directory that is mounted for the program to notify us, where we mount anything at all.
    fn notify_path(&self, config: &Config) -> Result<Option<String>> {
        let Some(address) = &self.notify else {
            return Ok(None);
        };
        notify::check(address)?;
        if !config.makes(NamespaceKind::Mount) {
            return Ok(None);
        }
        let path = Store::new(&self.settings.state_root).notify_path(&self.id);
        let path = path.into_os_string().into_string();
        path.map(Some)
            .map_err(|_| Error::config("mounts (notify)", "the state root is not UTF-8"))
    }

    fn launch(self, watch: &mut Watch<'_>) -> Result<Container> {
        let prepared = watch.prepared;
        watch.write_ahead()?;
        let (host_control, init_control) = socket_pair()?;
        let (terminal, console) = terminal_sockets(prepared.pty)?;
        let (streams, pipes) = open_stdio(self.stdio)?;
        let extra = self.listen.iter().chain(&self.extra);
        let program = launch::link(Link {
            config: &prepared.config,
            plan: &prepared.plan,
            facts: &prepared.facts,
            rootfs: &prepared.rootfs,
            state_root: &self.settings.state_root,
            stdio: [streams[0].as_fd(), streams[1].as_fd(), streams[2].as_fd()],
            extra: &extra.map(AsFd::as_fd).collect::<Vec<_>>(),
            console: console.as_ref().or(self.console.as_ref()).map(AsFd::as_fd),
            program: self.program.as_ref().map(AsFd::as_fd),
            control: init_control,
            hook_state: &|status| hooks::state(&self.id, watch.record, status),
            stop_at_steps: watch.trail.stop_at.is_some(),
            timed: watch.trail.timed(),
        })?;
        watch.trail.lap("open what init needs");
        drop((streams, console));
        let around = Surround {
            plan: &prepared.plan,
            bundle: &prepared.request.bundle,
            state_root: &self.settings.state_root,
            cgroup: watch.cgroup,
            control: host_control,
            deadline: launch::SETUP_DEADLINE,
            trail: watch.trail,
        };
        let created = launch::run(program, &around, watch)
            .map_err(|error| explain_oom(error, around.cgroup.get()))?;
        let terminal = terminal.map(|socket| receive_terminal(&socket)).transpose();
        let finished = terminal.and_then(|terminal| {
            finish(&self.announce, &created, &around, watch)?;
            Ok(terminal)
        });
        let terminal = finished.map_err(|error| created.undo(error))?;
        let init = watch.record.init.clone().map(|id| (id, created.pidfd));
        Ok(Container {
            settings: self.settings,
            id: self.id,
            pipes,
            terminal,
            init,
            created: None,
            warnings: prepared.plan.warnings.clone(),
        })
    }

    fn record(&self, prepared: &Prepared, nonce: &str) -> Record {
        Record {
            complete: false,
            oci_version: crate::SPEC_VERSION.to_owned(),
            bundle: prepared.request.bundle.clone(),
            rootfs: prepared.rootfs.clone(),
            annotations: prepared.config.annotations.clone(),
            created: timestamp(SystemTime::now()),
            nonce: nonce.to_owned(),
            cgroup: prepared.facts.cgroup_directories.clone(),
            systemd: place::started(&self.settings, prepared.facts.unit.as_ref()),
            init: None,
            new_keyring: self.new_keyring,
            own_pid_namespace: prepared.config.makes(NamespaceKind::Pid),
            poststart: prepared.config.hooks.poststart.clone(),
            poststop: prepared.config.hooks.poststop.clone(),
            seccomp_agent: prepared.config.seccomp_agent.clone(),
            notify_socket: self
                .notify
                .clone()
                .filter(|_| prepared.request.notify.is_some()),
            resctrl: match (&prepared.config.rdt, &prepared.facts.resctrl) {
                (Some(rdt), Some(root)) => Some(resctrl::Place::probe(rdt, &self.id, root)),
                _ => None,
            },
            steps: record::steps(&prepared.plan),
        }
    }
}

/// The results of the pure part.
pub(super) struct Prepared {
    /// config.json, for `exec`: what it says when the container is made counts.
    json: Vec<u8>,
    /// The caller keeps the terminal's master.
    pty: bool,
    pub(super) config: Config,
    pub(super) layout: Layout,
    facts: Facts,
    request: Request,
    pub(super) plan: Plan,
    rootfs: String,
}

fn missing_root(rootfs: &str) -> Option<Error> {
    match fs::metadata(rootfs) {
        Err(error) => Some(Error::system(format!("cannot find {rootfs}"), error).at("root.path")),
        Ok(found) if !found.is_dir() => Some(Error::config(
            "root.path",
            format!("{rootfs} is not a directory"),
        )),
        Ok(_) => None,
    }
}

fn rootfs_path(rootfs: &Rootfs) -> Result<String> {
    let path = match rootfs {
        Rootfs::Path(path) => std::path::absolute(path)
            .map_err(|error| Error::system("cannot find the root filesystem", error))?,
        // By this process's number: init reads it from another process.
        Rootfs::Directory(directory) => PathBuf::from(format!(
            "/proc/{}/fd/{}",
            std::process::id(),
            directory.as_raw_fd()
        )),
    };
    path.into_os_string()
        .into_string()
        .map_err(|_| Error::config("root.path", "is not UTF-8"))
}

/// Different for every container that ever is.
fn nonce() -> Result<String> {
    let uuid = fs::read_to_string("/proc/sys/kernel/random/uuid");
    uuid.map(|uuid| uuid.trim().to_owned())
        .map_err(|error| Error::system("cannot read /proc/sys/kernel/random/uuid", error))
}

/// Writes down what happens while init is set up.
pub(super) struct Watch<'a> {
    pub(super) id: &'a str,
    pub(super) entry: &'a Entry,
    pub(super) prepared: &'a Prepared,
    pub(super) cgroup: &'a OnceCell<Cgroup>,
    resctrl: &'a OnceCell<Made>,
    pub(super) record: &'a mut Record,
    pub(super) trail: &'a Trail,
}

impl Watch<'_> {
    /// From here on `delete --force` can finish what we leave.
    pub(super) fn write_ahead(&self) -> Result<()> {
        self.entry.write_nonce(&self.record.nonce)?;
        self.entry.write_intent(self.record)?;
        self.trail.point("write the intent down");
        if self.record.notify_socket.is_some() {
            self.entry.make_notify_directory()?;
            self.trail.point("make the notify directory");
        }
        Ok(())
    }

    /// Init is known: this process, and no later one with its number.
    pub(super) fn note_init(&mut self, pid: i32) -> Result<()> {
        let stat = proc::stat(pid)
            .ok_or_else(|| Error::new(ErrorKind::Died, "init died as soon as it was cloned"))?;
        let init = InitId {
            pid,
            start_time: stat.start_time,
            boot_id: proc::boot_id().to_owned(),
        };
        self.entry.write_init(&init)?;
        self.record.init = Some(init);
        self.trail.point("write init down");
        if let Some(place) = &self.record.resctrl {
            place.join(pid)?;
            self.trail.point("join the resctrl group");
        }
        let complete = Record {
            complete: true,
            ..self.record.clone()
        };
        self.entry.prepare(&complete)?;
        self.entry.write_config(&self.prepared.json)?;
        self.trail.point("write the record and config.json");
        Ok(())
    }

    /// The prepared record takes its place: everybody sees the container.
    pub(super) fn complete(
        &mut self,
        pid: i32,
        pidfd: BorrowedFd<'_>,
        announce: &Announce,
    ) -> Result<()> {
        announce.tell(pid, pidfd, announce::INIT)?;
        self.trail.point("write the pid file");
        self.record.complete = true;
        self.entry.complete()?;
        self.trail.point("complete the record");
        Ok(())
    }

    /// The steps that init, or its clone, waits for. The limits in one go: some depend on each other.
    fn cgroup_steps(&self, cgroup: &Cgroup) -> Result<()> {
        let steps = &self.prepared.plan.steps;
        let writes = steps.iter().filter_map(|step| match &step.action {
            Action::CgroupWrite(write) => Some(write.clone()),
            _ => None,
        });
        cgroup.apply(&writes.collect::<Vec<_>>())?;
        self.trail.point("set the limits");
        let mut cloned = false;
        for (index, step) in steps.iter().enumerate() {
            let applied = match &step.action {
                // After the clone, they are the launch's own part.
                Action::CgroupDevices(rules) if !cloned => cgroup.apply_devices(rules),
                Action::CgroupOwner(uid) => cgroup.give_to(*uid),
                action => {
                    cloned |= matches!(action, Action::Clone { .. });
                    continue;
                }
            };
            applied.map_err(|error| error.at(&step.path))?;
            self.trail.step(index, Some(step));
            self.trail.may_stop();
        }
        Ok(())
    }
}

impl Progress for Watch<'_> {
    fn meanwhile(&mut self, init: Option<i32>) -> Result<Option<OwnedFd>> {
        self.trail.may_stop();
        if !self.record.cgroup.0.is_empty() {
            let cgroup = place::make(self.id, self.prepared, self.record, init)?;
            self.record.cgroup = cgroup.directories();
            let cgroup = self.cgroup.get_or_init(|| cgroup);
            self.trail.point("make the cgroup");
            self.cgroup_steps(cgroup)?;
        }
        if let (Some(rdt), Some(place)) = (&self.prepared.config.rdt, &self.record.resctrl) {
            let _ = self.resctrl.set(place.make(rdt)?); // once only
            self.trail.point("make the resctrl group");
        }
        let listener = self.entry.bind_start_socket()?;
        self.trail.point("make the start socket");
        Ok(Some(listener))
    }

    fn started(&mut self, created: &Created) -> Result<()> {
        self.note_init(created.pid)
    }

    fn hook_started(&self, pid: i32) -> Result<()> {
        hooks::note(self.entry, pid)?;
        self.trail.may_stop();
        Ok(())
    }

    fn state(&self, pid: i32) -> String {
        let (before, after) = hooks::state(self.id, self.record, "creating");
        format!("{before}{pid}{after}")
    }
}

/// Init waits for our word: the container is written down as created, then it gets it.
fn finish(
    announce: &Announce,
    created: &Created,
    around: &Surround<'_>,
    watch: &mut Watch<'_>,
) -> Result<()> {
    watch.complete(created.pid, created.pidfd.as_fd(), announce)?;
    launch::commit(around.control.as_fd())?;
    watch.trail.point("let init wait for start");
    Ok(())
}

/// Takes everything back unless create succeeds.
struct Undo<'a> {
    entry: &'a Entry,
    cgroup: OnceCell<Cgroup>,
    resctrl: OnceCell<Made>,
    systemd: Option<Started>,
    nonce: String,
    armed: bool,
}

impl Drop for Undo<'_> {
    fn drop(&mut self) {
        if !self.armed {
            return;
        }
        let deadline = Instant::now() + Duration::from_secs(10);
        if let Some(cgroup) = self.cgroup.get() {
            let unit = self.systemd.as_ref();
            // What can't be undone stays recorded: `delete --force` goes on from there.
            if cgroup
                .kill(deadline)
                .and_then(|()| unit.map_or(Ok(()), |unit| unit.stop(&self.nonce)))
                .and_then(|()| cgroup.remove(deadline))
                .is_err()
            {
                return;
            }
        }
        if self.resctrl.get().is_some_and(|made| made.undo().is_err()) {
            return;
        }
        let _ = self.entry.remove(); // the next delete --force
    }
}
