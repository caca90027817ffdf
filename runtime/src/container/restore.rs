//! `restore`: a container that runs on from where a checkpoint has written it down.

use super::builder::ContainerBuilder;
use super::create::Watch;
use super::hooks;
use super::stdio::open_stdio;
use super::{Container, Process};
use crate::checkpoint::{
    self, Apart, Criu, CriuOptions, DESCRIPTORS, Directories, FIRST_PASSED, Listener, points, rpc,
};
use crate::config::NamespaceKind;
use crate::error::{Error, ErrorKind, Result};
use crate::launch::Progress;
use crate::launch::hooks::{Surroundings, run_all};
use crate::plan::Action;
use crate::sys::netlink::Socket;
use crate::sys::{pidfd, socket};
use nix::sched::{CloneFlags, setns};
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

/// How a container is restored: [`ContainerBuilder::restore`].
///
/// ```
/// let options = longshore::CriuOptions::new("/srv/checkpoints/web1");
/// let restore = longshore::Restore::new(options).tcp_close(true);
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Restore {
    options: CriuOptions,
    tcp_close: bool,
    lsm_profile: Option<String>,
    lsm_mount_context: Option<String>,
}

impl Restore {
    /// From the images that the options name.
    pub fn new(options: CriuOptions) -> Restore {
        Restore {
            options,
            tcp_close: false,
            lsm_profile: None,
            lsm_mount_context: None,
        }
    }

    /// TCP connections are there, but closed.
    pub fn tcp_close(mut self, yes: bool) -> Self {
        self.tcp_close = yes;
        self
    }

    /// `apparmor:NAME` or `selinux:LABEL` instead of what the processes had.
    pub fn lsm_profile(mut self, profile: impl Into<String>) -> Self {
        self.lsm_profile = Some(profile.into());
        self
    }

    /// SELinux's context of the filesystems that are mounted.
    pub fn lsm_mount_context(mut self, context: impl Into<String>) -> Self {
        self.lsm_mount_context = Some(context.into());
        self
    }
}

impl Restore {
    /// What CRIU is told of it and of the container.
    fn options(&self, watch: &Watch<'_>, directories: &Directories) -> rpc::Options {
        let (config, record) = (&watch.prepared.config, &*watch.record);
        rpc::Options {
            root: Some(record.rootfs.clone()),
            log_file: Some("restore.log".to_owned()),
            restore_sibling: Some(true),
            external_mounts: checkpoint::restored(config, &record.bundle, &record.cgroup),
            cgroup_roots: self.options.cgroup_roots(&record.cgroup),
            tcp_close: Some(self.tcp_close),
            lsm_profile: self.lsm_profile.clone(),
            lsm_mount_context: self.lsm_mount_context.clone(),
            config_file: checkpoint::configuration_file(&record.annotations, |path| {
                Path::new(path).exists()
            }),
            ..self.options.request(directories)
        }
    }
}

impl ContainerBuilder {
    /// Creates the container from images instead of from its program: it runs, or is paused, as when they were
    /// made. Its cgroup, limits and device rules, prestart and createRuntime hooks are as with `create`; poststart hooks
    /// don't run. What its processes are, their capabilities, filters, labels and limits of their own, is in the images,
    /// whatever the configuration says of it now.
    ///
    /// # Errors
    /// As `create`; `Criu` with the last complaints of its log. Nothing is left behind.
    ///
    /// ```no_run
    /// # fn main() -> longshore::Result<()> {
    /// # let runtime = longshore::Runtime::builder().build()?;
    /// use longshore::{CriuOptions, Restore};
    /// let restore = Restore::new(CriuOptions::new("/srv/checkpoints/web1"));
    /// let (container, process) = runtime.container("web1").bundle("/bundle").restore(&restore)?;
    /// # Ok(()) }
    /// ```
    pub fn restore(self, restore: &Restore) -> Result<(Container, Process)> {
        let trail = self.settings.trail("restore", &self.id);
        let restored = self.establish(&trail, |builder, watch| run(builder, watch, restore));
        let container = trail.end(restored)?;
        let (init, handle) = match &container.init {
            Some((init, handle)) => (init.pid, handle.try_clone()),
            None => return Err(super::kill::not_running()),
        };
        let handle =
            handle.map_err(|error| Error::system("cannot duplicate a descriptor", error))?;
        Ok((container, Process::new(init, handle, false)))
    }
}

fn run(builder: ContainerBuilder, watch: &mut Watch<'_>, restore: &Restore) -> Result<Container> {
    watch.write_ahead()?;
    let prepared = watch.prepared;
    let config = &prepared.config;
    let namespaces = checkpoint::namespaces(config);
    let passed = open_namespaces(&namespaces.inherited)?;
    let rootfs = watch.record.rootfs.clone();
    points::make(config, &watch.record.bundle, &rootfs)?;
    let (streams, pipes) = open_stdio(builder.stdio)?;
    let (entry, yard) = (watch.entry, watch.record.cgroup.pure_v2_mount());
    let yard = yard.map(str::to_owned);
    let apart = Apart {
        root: Some(&rootfs),
        yard: yard.as_deref().map(|cgroups| (cgroups, entry.path())),
    };
    let stdio = [streams[0].as_fd(), streams[1].as_fd(), streams[2].as_fd()];
    let passed: Vec<_> = passed.iter().map(AsFd::as_fd).collect();
    let open = || Directories::open(&restore.options);
    let (criu, directories) = Criu::spawn(stdio, &passed, &apart, open)?;
    watch.trail.point("start CRIU");
    // What CRIU makes is born where CRIU is, and a unit of systemd's is made around it.
    drop(watch.meanwhile(Some(criu.pid()))?); // nobody will wait for `start`
    if let Some(cgroup) = watch.cgroup.get() {
        cgroup.add(criu.pid())?;
    }
    apply_devices(watch)?;
    criu.check(rpc::Features::default())?;
    let request = rpc::Request {
        kind: rpc::kind::RESTORE,
        options: Some(rpc::Options {
            cgroup_yard: yard.map(|_| entry.path().display().to_string()),
            joined: namespaces.joined,
            inherited: inherited(&namespaces.inherited, &directories)?,
            ..restore.options(watch, &directories)
        }),
        ..rpc::Request::default()
    };
    let settings = builder.settings.clone();
    let mut restoring = Restoring {
        watch,
        state_root: &settings.state_root,
        terminal: None,
    };
    let log = restore.options.work_path().join("restore.log");
    let restored = criu.perform(&request, &mut restoring);
    let terminal = restoring.terminal.take();
    let restored = restored.map_err(|error| checkpoint::explain(error, &log))?;
    let pid = restored.restored.unwrap_or_default().pid;
    let handle =
        pidfd::open(pid).map_err(|errno| Error::system("cannot open init's pidfd", errno))?;
    let keep = builder.pty.wanted(config.process.terminal);
    let finished = hand_over(terminal, builder.console.as_ref(), keep).and_then(|terminal| {
        if watch.record.init.is_none() {
            watch.note_init(pid)?;
        }
        watch.complete(pid, handle.as_fd(), &builder.announce)?;
        Ok(terminal)
    });
    let terminal = finished.inspect_err(|_| {
        let _ = pidfd::send_signal(handle.as_fd(), libc::SIGKILL); // ended by itself
        let _ = pidfd::wait(handle.as_fd(), true, true); // the same
    })?;
    Ok(Container {
        settings: builder.settings,
        id: builder.id,
        pipes,
        terminal,
        init: watch.record.init.clone().map(|init| (init, handle)),
        created: None,
        warnings: prepared.plan.warnings.clone(),
    })
}

/// What create does while init mounts.
fn apply_devices(watch: &Watch<'_>) -> Result<()> {
    let Some(cgroup) = watch.cgroup.get().filter(|cgroup| cgroup.is_pure_v2()) else {
        return Ok(());
    };
    for step in &watch.prepared.plan.steps {
        if let Action::CgroupDevices(rules) = &step.action {
            cgroup
                .apply_devices(rules)
                .map_err(|error| error.at(&step.path))?;
        }
    }
    watch.trail.point("set the device rules");
    Ok(())
}

fn open_namespaces(namespaces: &[(&str, &str, String)]) -> Result<Vec<OwnedFd>> {
    let open = |(_, _, path): &(&str, &str, String)| {
        File::open(path).map(OwnedFd::from).map_err(|error| {
            Error::system(format!("cannot open {path}"), error).at("linux.namespaces")
        })
    };
    namespaces.iter().map(open).collect()
}

/// Pipes that were stdio: the new one has taken their numbers. Namespaces: behind the socket, in their order.
fn inherited(
    namespaces: &[(&str, &str, String)],
    directories: &Directories,
) -> Result<Vec<rpc::Inherited>> {
    let path = format!(
        "/proc/self/fd/{}/{DESCRIPTORS}",
        directories.images.as_raw_fd()
    );
    let text = std::fs::read_to_string(path)
        .map_err(|error| Error::system(format!("cannot read {DESCRIPTORS}"), error))?;
    let targets: Vec<String> = serde_json::from_str(&text).map_err(|error| {
        Error::new(
            ErrorKind::DamagedState,
            format!("{DESCRIPTORS} is malformed: {error}"),
        )
    })?;
    let pipes = (0..3)
        .zip(targets)
        .filter(|(_, target)| target.starts_with("pipe:"))
        .map(|(fd, key)| rpc::Inherited { key, fd });
    let names = (FIRST_PASSED..)
        .zip(namespaces)
        .map(|(fd, (_, name, _))| rpc::Inherited {
            key: (*name).to_owned(),
            fd,
        });
    Ok(pipes.chain(names).collect::<Vec<_>>())
}

/// The container's side of CRIU's work.
struct Restoring<'r, 'a> {
    watch: &'r mut Watch<'a>,
    state_root: &'r Path,
    /// The master of the terminal that the container had.
    terminal: Option<OwnedFd>,
}

impl Listener for Restoring<'_, '_> {
    fn notified(&mut self, script: &str, pid: i32, descriptor: Option<OwnedFd>) -> Result<()> {
        match script {
            "setup-namespaces" => self.namespaces_made(pid),
            "post-restore" => self.watch.note_init(pid),
            "orphan-pts-master" => {
                self.terminal = descriptor;
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

impl Restoring<'_, '_> {
    /// Nothing runs in them yet: what create's init and the hooks do beside it.
    fn namespaces_made(&self, pid: i32) -> Result<()> {
        let watch = &*self.watch;
        if watch.prepared.config.makes(NamespaceKind::Network) {
            set_loopback_up(pid)?;
        }
        let (before, after) = hooks::state(watch.id, watch.record, "creating");
        let started = |pid| hooks::note(watch.entry, pid);
        let around = Surroundings {
            state: format!("{before}{pid}{after}"),
            bundle: &watch.record.bundle,
            state_root: self.state_root,
            init: None,
            started: &started,
        };
        let given = &watch.prepared.config.hooks;
        run_all("prestart", &given.prestart, &around)?;
        run_all("createRuntime", &given.create_runtime, &around)
    }
}

/// A thread of its own enters the namespace, and ends there.
fn set_loopback_up(pid: i32) -> Result<()> {
    let refused = |errno| Error::system("cannot set lo up", errno).at("linux.namespaces");
    let namespace = File::open(format!("/proc/{pid}/ns/net"))
        .map_err(|error| Error::system("cannot open the network namespace", error))?;
    let inside = || {
        setns(&namespace, CloneFlags::CLONE_NEWNET)?;
        let socket = Socket::open()?;
        socket.set_up(socket.link_named("lo")?.index)
    };
    let done = std::thread::scope(|scope| scope.spawn(inside).join());
    done.unwrap_or(Err(nix::errno::Errno::EIO)).map_err(refused)
}

/// To whoever wants the terminal.
fn hand_over(
    terminal: Option<OwnedFd>,
    console: Option<&OwnedFd>,
    keep: bool,
) -> Result<Option<OwnedFd>> {
    match (terminal, console) {
        (Some(terminal), Some(console)) => {
            let name = b"/dev/pts/0";
            socket::send_all(console.as_fd(), name, terminal.as_fd())
                .map_err(|errno| Error::system("cannot send the terminal", errno))?;
            Ok(None)
        }
        (terminal, _) => Ok(terminal.filter(|_| keep)),
    }
}
