//! The entrance: where state is kept, and how cgroups are driven.

use crate::container::{self, Container, ContainerBuilder, State};
use crate::error::{Error, ErrorKind, Result};
use crate::systemd::Manager;
use crate::timings::{Timings, Trail};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How containers get their cgroups.
///
/// ```
/// use longshore::{CgroupDriver, Runtime};
/// let runtime = Runtime::builder().state_root(std::env::temp_dir()).cgroups(CgroupDriver::None).build();
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum CgroupDriver {
    /// What the host has: the filesystem.
    #[default]
    Auto,
    /// Directories in /sys/fs/cgroup, v1 or v2.
    Fs,
    /// A scope of systemd's, where cgroup v2 is: `linux.cgroupsPath` is `slice:prefix:name` then.
    Systemd,
    /// No cgroup: containers stay in the caller's. Limits are refused.
    None,
}

/// A container runtime: a state root and how to use the host.
///
/// Cheap to clone, usable from any thread of any program. It changes nothing of
/// the calling process: no signal handler, no working directory, no environment.
///
/// ```no_run
/// # fn main() -> longshore::Result<()> {
/// use longshore::{Runtime, Stdio};
/// let runtime = Runtime::builder().state_root("/run/example").build()?;
/// let container = runtime.container("web1").bundle("/bundle").stdout(Stdio::piped()).create()?;
/// let process = container.start()?;
/// let status = process.wait()?;
/// container.delete()?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Runtime {
    settings: Arc<Settings>,
}

/// What all containers of a runtime share.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) state_root: PathBuf,
    pub(crate) cgroups: CgroupDriver,
    pub(crate) rootless: Option<bool>,
    pub(crate) stop_at: Option<u32>,
    pub(crate) resctrl: Option<String>,
    pub(crate) timings: Option<Timings>,
    /// Who makes cgroups, with [`CgroupDriver::Systemd`].
    pub(crate) manager: Option<Manager>,
}

impl Settings {
    /// The way of one operation.
    pub(crate) fn trail(&self, operation: &'static str, id: &str) -> Trail {
        Trail::new(self.stop_at, self.timings.as_ref(), operation, id)
    }
}

/// Options of a [`Runtime`].
///
/// ```
/// let builder = longshore::Runtime::builder().state_root("/run/example");
/// ```
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct RuntimeBuilder {
    state_root: Option<PathBuf>,
    cgroups: CgroupDriver,
    rootless: Option<bool>,
    stop_at: Option<u32>,
    resctrl: Option<String>,
    bus: Option<String>,
    timings: Option<Timings>,
}

impl RuntimeBuilder {
    /// The directory that holds a directory for each container. Unset: `/run/longshore`, or for
    /// other users than the host's root `$XDG_RUNTIME_DIR/longshore`.
    pub fn state_root(mut self, directory: impl Into<PathBuf>) -> Self {
        self.state_root = Some(directory.into());
        self
    }

    /// How containers get their cgroups.
    pub fn cgroups(mut self, driver: CgroupDriver) -> Self {
        self.cgroups = driver;
        self
    }

    /// Where systemd is reached, as a D-Bus address (`unix:path=PATH`, several parted by semicolons), for
    /// [`CgroupDriver::Systemd`]. Unset: `DBUS_SYSTEM_BUS_ADDRESS`, else the host's manager at its private socket
    /// or at the system bus. Rootless: `DBUS_SESSION_BUS_ADDRESS`, else the user's manager below `XDG_RUNTIME_DIR`, at
    /// `systemd/private` or at `bus`.
    ///
    /// ```
    /// use longshore::{CgroupDriver, Runtime};
    /// let builder = Runtime::builder().cgroups(CgroupDriver::Systemd).systemd_bus("unix:path=/run/dbus/system_bus_socket");
    /// ```
    pub fn systemd_bus(mut self, address: impl Into<String>) -> Self {
        self.bus = Some(address.into());
        self
    }

    /// Whether a container that names no cgroup may stay in the caller's where this user can't make one:
    /// that is a warning then, and an error otherwise. Limits there are an error in any case.
    /// Unset: for all but the host's root.
    ///
    /// ```
    /// let builder = longshore::Runtime::builder().rootless(true);
    /// ```
    pub fn rootless(mut self, rootless: bool) -> Self {
        self.rootless = Some(rootless);
        self
    }

    /// Tells where the time of its operations goes.
    pub fn timings(mut self, timings: Timings) -> Self {
        self.timings = Some(timings);
        self
    }

    /// For tests: stop the process (SIGSTOP) at the n-th fault point of each operation.
    #[doc(hidden)]
    pub fn stop_at_fault_point(mut self, point: u32) -> Self {
        self.stop_at = Some(point);
        self
    }

    /// For tests: a directory that stands for a mounted resctrl.
    #[doc(hidden)]
    pub fn resctrl_stand_in(mut self, directory: impl Into<String>) -> Self {
        self.resctrl = Some(directory.into());
        self
    }

    /// Checks the options. Makes no directory yet.
    ///
    /// # Errors
    /// The state root is `/`, or there is none to default to.
    pub fn build(self) -> Result<Runtime> {
        let root = match self.state_root {
            Some(root) => root,
            None => default_state_root()?,
        };
        let root = std::path::absolute(&root).map_err(|error| {
            Error::system(format!("cannot use state root {}", root.display()), error)
        })?;
        if root.components().all(|part| {
            matches!(
                part,
                std::path::Component::RootDir
                    | std::path::Component::CurDir
                    | std::path::Component::ParentDir
            )
        }) {
            return Err(Error::new(
                ErrorKind::InvalidConfig,
                "the state root must not be /",
            ));
        }
        let rootless = || self.rootless.unwrap_or_else(crate::host::rootless);
        let manager = match self.cgroups {
            CgroupDriver::Systemd => Some(Manager::new(self.bus, rootless())),
            _ => None,
        };
        Ok(Runtime {
            settings: Arc::new(Settings {
                state_root: root,
                cgroups: self.cgroups,
                rootless: self.rootless,
                stop_at: self.stop_at,
                resctrl: self.resctrl,
                timings: self.timings,
                manager,
            }),
        })
    }
}

fn default_state_root() -> Result<PathBuf> {
    // Engines may set it to nothing.
    let own = std::env::var_os("XDG_RUNTIME_DIR").filter(|directory| !directory.is_empty());
    let root = nix::unistd::geteuid().is_root();
    // Root of a user namespace, as an ordinary user's engine makes it, is that user still.
    if root && (own.is_none() || !crate::host::rootless()) {
        return Ok(PathBuf::from("/run/longshore"));
    }
    match own {
        Some(directory) => Ok(Path::new(&directory).join("longshore")),
        None => Err(Error::new(
            ErrorKind::InvalidConfig,
            "no state root: XDG_RUNTIME_DIR is not set",
        )),
    }
}

impl Runtime {
    /// Starts with the defaults.
    pub fn builder() -> RuntimeBuilder {
        RuntimeBuilder::default()
    }

    /// Describes a new container with this id.
    ///
    /// ```no_run
    /// # fn main() -> longshore::Result<()> {
    /// let runtime = longshore::Runtime::builder().build()?;
    /// runtime.container("web1").bundle("/bundle").create()?.start()?;
    /// # Ok(()) }
    /// ```
    pub fn container(&self, id: &str) -> ContainerBuilder {
        ContainerBuilder::new(self.settings.clone(), id)
    }

    /// A container that is there already.
    ///
    /// # Errors
    /// `NotFound`.
    ///
    /// ```
    /// let runtime = longshore::Runtime::builder().state_root(std::env::temp_dir().join("none")).build().unwrap();
    /// assert!(runtime.open("web1").is_err());
    /// ```
    pub fn open(&self, id: &str) -> Result<Container> {
        Container::open(self.settings.clone(), id)
    }

    /// The states of all containers, by id. One that can't be read is left out: see [`Runtime::list_all`].
    ///
    /// # Errors
    /// The state root can't be read.
    ///
    /// ```
    /// let runtime = longshore::Runtime::builder().state_root(std::env::temp_dir().join("none")).build().unwrap();
    /// assert!(runtime.list().unwrap().is_empty());
    /// ```
    pub fn list(&self) -> Result<Vec<State>> {
        self.list_all().map(|(states, _)| states)
    }

    /// The same, with an error for each container whose state can't be read.
    ///
    /// # Errors
    /// The state root can't be read.
    ///
    /// ```
    /// let runtime = longshore::Runtime::builder().state_root(std::env::temp_dir().join("none")).build().unwrap();
    /// assert!(runtime.list_all().unwrap().1.is_empty());
    /// ```
    pub fn list_all(&self) -> Result<(Vec<State>, Vec<Error>)> {
        container::list(&self.settings)
    }

    /// Removes a container in whatever state it is, killing what is proven to be its own.
    /// One that doesn't exist is a success. Returns which of its poststop hooks failed, a line each.
    ///
    /// # Errors
    /// Something of it can't be killed or removed; calling again goes on from there.
    ///
    /// ```
    /// let runtime = longshore::Runtime::builder().state_root(std::env::temp_dir().join("none")).build().unwrap();
    /// runtime.force_delete("web1").unwrap();
    /// ```
    pub fn force_delete(&self, id: &str) -> Result<Vec<String>> {
        container::force_delete(&self.settings, id)
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The directory that holds a directory for each container.
    #[must_use]
    pub fn state_root(&self) -> &Path {
        &self.settings.state_root
    }
}
