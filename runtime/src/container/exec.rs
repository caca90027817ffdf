//! `exec`: one more process in a container. The same stage 1, clone and last
//! steps as create and start, over a configuration in which every namespace of
//! the container's is joined by path.

use super::agent::{Agent, Whose, until_executed};
use super::announce::{self, Announce};
use super::builder::Pty;
use super::edits::Edits;
use super::judge::judge;
use super::record::Record;
use super::state::{self, Proven};
use super::stdio::{Pipes, Stdio, open_stdio, receive_terminal, socket_pair, terminal_sockets};
use super::store::LOCK_DEADLINE;
use super::{Container, Process, Status};
use crate::cgroup::{Cgroup, Layout};
use crate::config::{Config, NamespaceKind, strict};
use crate::error::{Error, ErrorKind, Result};
use crate::launch::{self, Created, Link, Progress, Surround};
use crate::plan::{self, Plan, Request};
use crate::resctrl::Place;
use crate::sys::proc;
use crate::timings::Trail;
use serde_json::{Map, Value, json};
use std::cell::OnceCell;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// A frozen cgroup would hold the process, and us, for good.
const DEADLINE: Duration = Duration::from_secs(10);

/// A process to be added to a container. Made by [`Container::exec`].
///
/// Unset, each property is that of the container's own process, but the terminal: there is none.
///
/// ```no_run
/// # fn main() -> longshore::Result<()> {
/// # let runtime = longshore::Runtime::builder().build()?;
/// let executed = runtime.open("web1")?.exec().args(["ps"]).env("TERM=xterm").spawn()?;
/// println!("{:?}", executed.process().wait()?);
/// # Ok(()) }
/// ```
#[derive(Debug)]
#[must_use]
pub struct Exec<'c> {
    container: &'c Container,
    process: Option<Value>,
    edits: Edits,
    stdio: [Stdio; 3],
    extra: Vec<OwnedFd>,
    console: Option<OwnedFd>,
    pty: Pty,
    announce: Announce,
    ignore_paused: bool,
    cgroups: Vec<String>,
}

/// A process that was added to a container.
///
/// ```no_run
/// # fn main() -> longshore::Result<()> {
/// # let runtime = longshore::Runtime::builder().build()?;
/// use longshore::Stdio;
/// let mut executed = runtime.open("web1")?.exec().args(["id"]).stdout(Stdio::piped()).spawn()?;
/// let output = executed.pipes().stdout.take();
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Executed {
    process: Process,
    pipes: Pipes,
    terminal: Option<File>,
    warnings: Vec<String>,
}

impl Executed {
    /// To wait for it.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// The host's ends of the pipes that [`Stdio::piped`] asked for.
    pub fn pipes(&mut self) -> &mut Pipes {
        &mut self.pipes
    }

    /// The terminal's master, once, after [`Exec::pty`].
    pub fn take_terminal(&mut self) -> Option<File> {
        self.terminal.take()
    }

    /// What was left out because the spec says to warn only.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

impl Container {
    /// Describes one more process of this container.
    pub fn exec(&self) -> Exec<'_> {
        Exec {
            container: self,
            process: None,
            edits: Edits::default(),
            stdio: [Stdio::inherit(), Stdio::inherit(), Stdio::inherit()],
            extra: Vec::new(),
            console: None,
            pty: Pty::No,
            announce: Announce::default(),
            ignore_paused: false,
            cgroups: Vec::new(),
        }
    }
}

impl Exec<'_> {
    /// A whole `process` object as JSON, instead of the container's own. config.md#process
    ///
    /// # Errors
    /// It isn't a JSON object, or has a name twice.
    pub fn process_json(mut self, json: &[u8]) -> Result<Self> {
        self.process = Some(strict(json, "process")?);
        Ok(self)
    }

    /// The program and its arguments.
    pub fn args<T: Into<String>>(mut self, args: impl IntoIterator<Item = T>) -> Self {
        self.edits.args = Some(args.into_iter().map(Into::into).collect());
        self
    }

    /// One more `NAME=VALUE`.
    pub fn env(mut self, entry: impl Into<String>) -> Self {
        self.edits.env.push(entry.into());
        self
    }

    /// The working directory.
    pub fn cwd(mut self, directory: impl Into<String>) -> Self {
        self.edits.cwd = Some(directory.into());
        self
    }

    /// The user and, if given, the group: ids of the container.
    pub fn user(mut self, uid: u32, gid: Option<u32>) -> Self {
        self.edits.uid = Some(uid);
        self.edits.gid = gid;
        self
    }

    /// One more group.
    pub fn additional_gid(mut self, gid: u32) -> Self {
        self.edits.additional_gids.push(gid);
        self
    }

    /// One more capability: bounding, effective and permitted, and ambient where it is inheritable.
    pub fn capability(mut self, name: impl Into<String>) -> Self {
        self.edits.capabilities.push(name.into());
        self
    }

    /// Sets no_new_privs.
    pub fn no_new_privileges(mut self) -> Self {
        self.edits.no_new_privileges = true;
        self
    }

    /// The AppArmor profile, instead of the container's.
    ///
    /// ```no_run
    /// # fn main() -> longshore::Result<()> {
    /// # let runtime = longshore::Runtime::builder().build()?;
    /// let container = runtime.open("web1")?;
    /// let executed = container.exec().args(["id"]).apparmor_profile("docker-default").spawn()?;
    /// # Ok(()) }
    /// ```
    pub fn apparmor_profile(mut self, name: impl Into<String>) -> Self {
        self.edits.labels.push(("apparmorProfile", name.into()));
        self
    }

    /// The SELinux label, instead of the container's.
    ///
    /// ```no_run
    /// # fn main() -> longshore::Result<()> {
    /// # let runtime = longshore::Runtime::builder().build()?;
    /// let container = runtime.open("web1")?;
    /// let label = "system_u:system_r:container_t:s0:c1,c2";
    /// let executed = container.exec().args(["id"]).selinux_label(label).spawn()?;
    /// # Ok(()) }
    /// ```
    pub fn selinux_label(mut self, label: impl Into<String>) -> Self {
        self.edits.labels.push(("selinuxLabel", label.into()));
        self
    }

    /// A terminal for stdio: needs [`console`](Self::console) or [`pty`](Self::pty).
    pub fn terminal(mut self) -> Self {
        self.edits.terminal = true;
        self
    }

    /// Standard input. Inherited unless set.
    pub fn stdin(mut self, stdio: Stdio) -> Self {
        self.stdio[0] = stdio;
        self
    }

    /// Standard output. Inherited unless set.
    pub fn stdout(mut self, stdio: Stdio) -> Self {
        self.stdio[1] = stdio;
        self
    }

    /// Standard error. Inherited unless set.
    pub fn stderr(mut self, stdio: Stdio) -> Self {
        self.stdio[2] = stdio;
        self
    }

    /// Hands a descriptor to the program: the first becomes 3, the next 4.
    pub fn extra_fd(mut self, fd: OwnedFd) -> Self {
        self.extra.push(fd);
        self
    }

    /// A connected Unix stream socket that gets the terminal's master.
    pub fn console(mut self, socket: OwnedFd) -> Self {
        self.console = Some(socket);
        self
    }

    /// Keeps the terminal's master: [`Executed::take_terminal`]. It has the size of standard input's, if that is one.
    pub fn pty(mut self) -> Self {
        self.pty = Pty::Yes;
        self
    }

    /// The same if the process object asks for a terminal, nothing if not.
    pub fn pty_if_asked(mut self) -> Self {
        self.pty = Pty::IfAsked;
        self
    }

    /// Gets the process's pid, whole or not at all, once its program was executed.
    pub fn pid_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.announce.pid_file = Some(path.into());
        self
    }

    /// A connected Unix stream socket that gets the process's pidfd, with the word `setns`, once its program was executed.
    pub fn pidfd_socket(mut self, socket: OwnedFd) -> Self {
        self.announce.pidfd_socket = Some(socket);
        self
    }

    /// Tries it in a paused container too, which holds the process until it is resumed.
    pub fn ignore_paused(mut self) -> Self {
        self.ignore_paused = true;
        self
    }

    /// Puts it below the container's cgroup, where `place` exists: `PATH` in all hierarchies, or, with cgroup v1,
    /// `CONTROLLER[,CONTROLLER]:PATH` in that of these controllers, once for each. `..` can't lead out.
    ///
    /// ```no_run
    /// # fn main() -> longshore::Result<()> {
    /// # let runtime = longshore::Runtime::builder().build()?;
    /// let container = runtime.open("web1")?;
    /// let executed = container.exec().args(["backup"]).cgroup("cpu,memory:backup").spawn()?;
    /// # Ok(()) }
    /// ```
    pub fn cgroup(mut self, place: impl Into<String>) -> Self {
        self.cgroups.push(place.into());
        self
    }

    /// What [`spawn`](Self::spawn) would do.
    ///
    /// # Errors
    /// As `spawn`, for what can be known before.
    pub fn plan(&self) -> Result<crate::Plan> {
        let entry = self.container.entry()?;
        let record = self.container.record(&entry)?;
        let init = self.init(&record)?;
        let cgroup = self.joinable(&record, &init)?;
        let config = self.config(&entry.read_config()?, &init)?;
        let prepared = self.prepare(config, &record, &cgroup)?;
        Ok(crate::Plan::new(prepared.plan))
    }

    /// Adds the process. Returns once its program was executed.
    ///
    /// # Errors
    /// `InvalidState` in a container that is stopped or paused; `Exec` when the program can't be executed;
    /// `Timeout` when the container was frozen meanwhile.
    pub fn spawn(self) -> Result<Executed> {
        let trail = self.container.settings.trail("exec", &self.container.id);
        trail.end(self.spawn_on(&trail))
    }

    fn spawn_on(self, trail: &Trail) -> Result<Executed> {
        let container = self.container;
        let entry = container.entry()?;
        // Shared: execs go side by side, but not beside a delete.
        let _lock = entry.lock_shared(Instant::now() + LOCK_DEADLINE)?;
        trail.point("lock");
        let record = container.record(&entry)?;
        let init = self.init(&record)?;
        let cgroup = OnceCell::from(self.joinable(&record, &init)?);
        let config = self.config(&entry.read_config()?, &init)?;
        let prepared = self.prepare(config, &record, open(&cgroup)?)?;
        trail.lap("read the record, make the plan");
        let id = &container.id;
        let oom_kills = || cgroup.get().map_or(0, Cgroup::oom_kills);
        let before = oom_kills();
        let places = self.cgroups.join(" ");
        let executed = self.launch(&prepared, &record, (&init, &cgroup), trail);
        // Whatever init's end broke, that is what happened.
        executed.map_err(|error| match still_there(&init) {
            Err(stopped) => stopped,
            _ if error.kind() == ErrorKind::Timeout => Error::new(
                ErrorKind::Timeout,
                format!("the process did not get through its setup: is container {id} frozen?"),
            ),
            // Somebody's, and perhaps this one.
            _ if error.kind() == ErrorKind::Died && oom_kills() > before => {
                Error::new(ErrorKind::Died, format!("{error} (possibly OOM-killed)"))
            }
            // A v1 cpuset without CPUs, say.
            _ if !places.is_empty() && error.config_path() == Some("linux.cgroupsPath") => {
                let errno = error.errno().unwrap_or(libc::EIO);
                Error::system(format!("cannot join cgroup {places}"), errno)
            }
            _ => error,
        })
    }

    /// The container's init, proven, in a state in which something can be added to it.
    fn init(&self, record: &Record) -> Result<Proven> {
        let paused = || {
            Error::new(
                ErrorKind::InvalidState,
                "cannot exec in a paused container (use --ignore-paused to override)",
            )
        };
        match state::alive(record)? {
            Ok(init) if init.stat.exiting => Err(stopped()),
            Ok(init) => Ok(init),
            Err(Status::Paused) if self.ignore_paused => {
                let init = record.init.as_ref().and_then(state::prove);
                init.ok_or_else(stopped)
            }
            Err(Status::Paused) => Err(paused()),
            Err(Status::Creating) => Err(Error::new(
                ErrorKind::InvalidState,
                "cannot exec in a container that is being created",
            )),
            Err(_) => Err(stopped()),
        }
    }

    fn joinable(&self, record: &Record, init: &Proven) -> Result<Cgroup> {
        let own = Cgroup::open(&record.cgroup, &record.nonce)?;
        own.for_one_more(init.stat.pid, &self.cgroups)
    }

    /// The container's configuration as far as a further process goes by it.
    fn config(&self, saved: &[u8], init: &Proven) -> Result<Config> {
        let saved: Value = serde_json::from_slice(saved)
            .map_err(|error| Error::new(ErrorKind::DamagedState, error.to_string()))?;
        let process = self.edits.process(self.process.as_ref(), &saved["process"]);
        let mut namespaces = Vec::new();
        for namespace in saved["linux"]["namespaces"]
            .as_array()
            .into_iter()
            .flatten()
        {
            let kind = NamespaceKind::TABLE
                .iter()
                .find(|row| namespace["type"] == row.1);
            if let Some((_, name, _, file)) = kind {
                let path = format!("/proc/{}/ns/{file}", init.stat.pid);
                namespaces.push(json!({ "type": name, "path": path }));
            }
        }
        let mut linux = Map::new();
        linux.insert("namespaces".into(), namespaces.into());
        for name in ["seccomp", "personality", "memoryPolicy"] {
            if let Some(value) = saved["linux"].get(name) {
                linux.insert(name.into(), value.clone());
            }
        }
        let config = json!({
            "ociVersion": saved["ociVersion"],
            "root": { "path": format!("/proc/{}/root", init.stat.pid) },
            "process": process,
            "linux": linux,
        });
        let config = Config::parse_process(config.to_string().as_bytes());
        config.map_err(|problems| super::first(problems, "process"))
    }

    fn prepare(&self, config: Config, record: &Record, cgroup: &Cgroup) -> Result<Prepared> {
        let pty = self.pty.wanted(config.process.terminal);
        let console = self.console.is_some() || pty;
        super::check_terminal(config.process.terminal, console)?;
        let layout = match record.cgroup.0.is_empty() {
            true => Layout::Absent,
            false => Layout::probe()?,
        };
        let facts = crate::host::facts(&config, &layout, cgroup.directories())?;
        let request = Request {
            id: self.container.id.clone(),
            bundle: record.bundle.clone(),
            no_pivot: false,
            new_keyring: record.new_keyring,
            console,
            extra_fds: u32::try_from(self.extra.len()).unwrap_or(u32::MAX),
            // Sockets are for the program that was asked to listen on them: the container's first.
            listen: None,
            notify: None,
            program_fd: false,
            exec: true,
        };
        let plan = plan::compile_exec(&config, &request, &facts)
            .map_err(|problems| super::first(problems, "process"))?;
        Ok(Prepared {
            pty,
            config,
            facts,
            plan,
        })
    }

    fn launch(
        self,
        prepared: &Prepared,
        record: &Record,
        (init, cgroup): (&Proven, &OnceCell<Cgroup>),
        trail: &Trail,
    ) -> Result<Executed> {
        let settings = &self.container.settings;
        let (host_control, init_control) = socket_pair()?;
        let (terminal, console) = terminal_sockets(prepared.pty)?;
        let (streams, pipes) = open_stdio(self.stdio)?;
        let program = launch::link(Link {
            config: &prepared.config,
            plan: &prepared.plan,
            facts: &prepared.facts,
            rootfs: &prepared.config.root.path,
            state_root: &settings.state_root,
            stdio: [streams[0].as_fd(), streams[1].as_fd(), streams[2].as_fd()],
            extra: &self.extra.iter().map(AsFd::as_fd).collect::<Vec<_>>(),
            console: console.as_ref().or(self.console.as_ref()).map(AsFd::as_fd),
            program: None,
            control: init_control,
            hook_state: &|_| Default::default(),
            stop_at_steps: trail.stop_at.is_some(),
            timed: trail.timed(),
        })?;
        drop((streams, console));
        // All is open: if init is still the one it was, then none of it was somebody else's.
        still_there(init)?;
        let around = Surround {
            plan: &prepared.plan,
            bundle: &record.bundle,
            state_root: &settings.state_root,
            cgroup,
            control: host_control,
            deadline: DEADLINE,
            trail,
        };
        trail.lap("open what init needs");
        let agent = Agent::connect(prepared.config.seccomp_agent.as_ref())?;
        let resctrl = record.resctrl.as_ref();
        let created = launch::run(program, &around, &mut Watch { trail, resctrl })?;
        let whose = Whose {
            id: &self.container.id,
            record,
            status: "running",
            pid: created.pid,
        };
        // First the terminal: the program finds it in its size.
        let terminal = terminal.map(|socket| receive_terminal(&socket)).transpose();
        let executed = terminal.and_then(|terminal| {
            execute(&created, &around, prepared, agent, &whose)?;
            let whose = announce::ADDED;
            self.announce
                .tell(created.pid, created.pidfd.as_fd(), whose)?;
            trail.lap("write the pid file");
            Ok(terminal)
        });
        let terminal = match executed {
            Ok(terminal) => terminal,
            Err(error) => return Err(created.undo(error)),
        };
        Ok(Executed {
            process: Process::new(created.pid, created.pidfd, false),
            pipes,
            terminal: terminal.map(File::from),
            warnings: prepared.plan.warnings.clone(),
        })
    }
}

/// Lets it execute its program, and sees whether it did.
fn execute(
    created: &Created,
    around: &Surround<'_>,
    prepared: &Prepared,
    agent: Option<Agent>,
    whose: &Whose<'_>,
) -> Result<()> {
    around.trail.may_stop();
    launch::commit(around.control.as_fd())?;
    around.trail.may_stop();
    let process = created.pidfd.as_fd();
    let deadline = Some(Instant::now() + DEADLINE);
    let executed = until_executed(
        around.control.as_fd(),
        Some(process),
        deadline,
        agent,
        whose,
    );
    around.trail.point("wait until the program is executed");
    around.trail.init(&created.page, &prepared.plan.steps);
    executed?;
    let page = launch::read_page(&created.page);
    judge(&page, process, created.pid, (&prepared.plan.steps, None))
}

/// The results of the part that touches nothing.
struct Prepared {
    /// The caller keeps the terminal's master.
    pty: bool,
    config: Config,
    facts: plan::Facts,
    plan: Plan,
}

/// The container's cgroup is there already, and nothing of this process's is written down: it ends with us
/// before the commit, and with its container after it.
struct Watch<'a> {
    trail: &'a Trail,
    resctrl: Option<&'a Place>,
}

impl Progress for Watch<'_> {
    fn meanwhile(&mut self, _: Option<i32>) -> Result<Option<OwnedFd>> {
        self.trail.may_stop();
        Ok(None)
    }

    fn started(&mut self, created: &Created) -> Result<()> {
        self.trail.may_stop();
        if let Some(place) = self.resctrl {
            place.join_what_is_left(created.pid)?;
            self.trail.point("join the resctrl group");
        }
        Ok(())
    }

    fn hook_started(&self, _: i32) -> Result<()> {
        Ok(())
    }

    fn state(&self, _: i32) -> String {
        String::new()
    }
}

fn open(cgroup: &OnceCell<Cgroup>) -> Result<&Cgroup> {
    cgroup.get().ok_or_else(stopped)
}

fn stopped() -> Error {
    Error::new(
        ErrorKind::InvalidState,
        "cannot exec in a stopped container",
    )
}

fn still_there(init: &Proven) -> Result<()> {
    let now = proc::stat(init.stat.pid).filter(|now| !now.zombie && !now.exiting);
    match now {
        Some(now) if now.start_time == init.stat.start_time => Ok(()),
        _ => Err(stopped()),
    }
}
