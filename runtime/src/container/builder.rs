//! The options of a container that is to be created. No I/O: `create.rs` acts on them.

use super::announce::Announce;
use super::stdio::Stdio;
use crate::error::{Error, Result};
use crate::runtime::Settings;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

/// A container to be created. Made by [`Runtime::container`](crate::Runtime::container).
///
/// ```no_run
/// # fn main() -> longshore::Result<()> {
/// use longshore::Stdio;
/// let runtime = longshore::Runtime::builder().build()?;
/// let container = runtime.container("web1").bundle("/bundle").stdin(Stdio::null()).create()?;
/// # Ok(()) }
/// ```
#[derive(Debug)]
#[must_use]
pub struct ContainerBuilder {
    pub(super) settings: Arc<Settings>,
    pub(super) id: String,
    pub(super) bundle: Option<PathBuf>,
    pub(super) spec: Option<Vec<u8>>,
    pub(super) rootfs: Option<Rootfs>,
    pub(super) stdio: [Stdio; 3],
    pub(super) extra: Vec<OwnedFd>,
    pub(super) listen: Vec<OwnedFd>,
    pub(super) listen_names: Option<String>,
    pub(super) notify: Option<String>,
    pub(super) console: Option<OwnedFd>,
    pub(super) pty: Pty,
    pub(super) program: Option<OwnedFd>,
    pub(super) announce: Announce,
    pub(super) no_pivot: bool,
    pub(super) new_keyring: bool,
}

/// Does the caller keep the terminal's master?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pty {
    No,
    Yes,
    IfAsked,
}

impl Pty {
    pub(super) fn wanted(self, terminal: bool) -> bool {
        match self {
            Pty::No => false,
            Pty::Yes => true,
            Pty::IfAsked => terminal,
        }
    }
}

#[derive(Debug)]
pub(super) enum Rootfs {
    Path(PathBuf),
    Directory(OwnedFd),
}

impl ContainerBuilder {
    pub(crate) fn new(settings: Arc<Settings>, id: &str) -> ContainerBuilder {
        ContainerBuilder {
            settings,
            id: id.to_owned(),
            bundle: None,
            spec: None,
            rootfs: None,
            stdio: [Stdio::inherit(), Stdio::inherit(), Stdio::inherit()],
            extra: Vec::new(),
            listen: Vec::new(),
            listen_names: None,
            notify: None,
            console: None,
            pty: Pty::No,
            program: None,
            announce: Announce::default(),
            no_pivot: false,
            new_keyring: true,
        }
    }

    /// The directory with config.json. Without a spec by value it is required.
    pub fn bundle(mut self, directory: impl Into<PathBuf>) -> Self {
        self.bundle = Some(directory.into());
        self
    }

    /// The configuration by value instead of the bundle's config.json.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let runtime = longshore::Runtime::builder().state_root(std::env::temp_dir()).build()?;
    /// let spec = longshore::oci_spec::runtime::Spec::default();
    /// let builder = runtime.container("web1").spec(&spec)?.rootfs("/srv/rootfs");
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// The spec can't be written as JSON.
    pub fn spec(mut self, spec: &oci_spec::runtime::Spec) -> Result<Self> {
        let json = serde_json::to_vec(spec)
            .map_err(|error| Error::config("config.json", error.to_string()))?;
        self.spec = Some(json);
        Ok(self)
    }

    /// The root filesystem, instead of `root.path`.
    pub fn rootfs(mut self, directory: impl Into<PathBuf>) -> Self {
        self.rootfs = Some(Rootfs::Path(directory.into()));
        self
    }

    /// The root filesystem as an open directory, instead of `root.path`.
    pub fn rootfs_fd(mut self, directory: OwnedFd) -> Self {
        self.rootfs = Some(Rootfs::Directory(directory));
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

    /// Hands sockets to the program to listen on, as systemd does: they are 3 and on, before those of
    /// [`extra_fd`](Self::extra_fd), and LISTEN_FDS, LISTEN_PID and, with `names` (`http:admin`), LISTEN_FDNAMES
    /// tell it so. LISTEN_PID is the pid that the program sees as its own. sd_listen_fds(3)
    ///
    /// ```no_run
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let runtime = longshore::Runtime::builder().build()?;
    /// let http = std::net::TcpListener::bind("[::]:80")?;
    /// let builder = runtime.container("web1").bundle("/bundle");
    /// let builder = builder.listen_fds(vec![http.into()], Some("http".into()));
    /// # Ok(()) }
    /// ```
    pub fn listen_fds(mut self, sockets: Vec<OwnedFd>, names: Option<String>) -> Self {
        (self.listen, self.listen_names) = (sockets, names);
        self
    }

    /// Lets the program tell that it is ready: it finds a socket of its own in NOTIFY_SOCKET, and what it says there
    /// goes to `address`, a datagram socket's path or, behind an `@`, abstract name, while
    /// [`Process::take_notifications`](crate::Process::take_notifications) is at work. Left out, with a warning,
    /// without a mount namespace of the container's own. sd_notify(3)
    ///
    /// ```no_run
    /// # fn main() -> longshore::Result<()> {
    /// # let runtime = longshore::Runtime::builder().build()?;
    /// let container = runtime.container("web1").bundle("/bundle").notify_socket("/run/systemd/notify").create()?;
    /// # Ok(()) }
    /// ```
    pub fn notify_socket(mut self, address: impl Into<String>) -> Self {
        self.notify = Some(address.into());
        self
    }

    /// Hands a descriptor to the program: the first becomes 3, the next 4.
    pub fn extra_fd(mut self, fd: OwnedFd) -> Self {
        self.extra.push(fd);
        self
    }

    /// A connected Unix stream socket that gets the terminal's master. For `process.terminal`.
    pub fn console(mut self, socket: OwnedFd) -> Self {
        self.console = Some(socket);
        self
    }

    /// Keeps the terminal's master: [`Container::take_terminal`](crate::Container::take_terminal). For `process.terminal`.
    /// It has the size of standard input's, if that is one.
    pub fn pty(mut self) -> Self {
        self.pty = Pty::Yes;
        self
    }

    /// The same if `process.terminal` asks for a terminal, nothing if not: for a foreground that takes what comes.
    pub fn pty_if_asked(mut self) -> Self {
        self.pty = Pty::IfAsked;
        self
    }

    /// Executes this file inside instead of `args[0]`: a wasm engine, say.
    pub fn program(mut self, file: OwnedFd) -> Self {
        self.program = Some(file);
        self
    }

    /// Gets init's pid, whole or not at all, before `create` returns.
    pub fn pid_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.announce.pid_file = Some(path.into());
        self
    }

    /// A connected Unix stream socket that gets init's pidfd before `create` returns, with the word `standard`.
    pub fn pidfd_socket(mut self, socket: OwnedFd) -> Self {
        self.announce.pidfd_socket = Some(socket);
        self
    }

    /// Changes root by chroot(2) instead of pivot_root(2), for hosts that run from an initramfs.
    pub fn no_pivot(mut self, no_pivot: bool) -> Self {
        self.no_pivot = no_pivot;
        self
    }

    /// A session keyring of the container's own, which is the default.
    pub fn new_keyring(mut self, new_keyring: bool) -> Self {
        self.new_keyring = new_keyring;
        self
    }
}
