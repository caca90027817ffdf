//! The state root: a directory a container, 0700. One lock an id (flock of the
//! directory), records that are replaced whole, and two links that can't be
//! half written, for the day the record is.

use super::check_id;
use super::record::{InitId, Record};
use crate::error::{Error, ErrorKind, Result};
use crate::sys::fd::proc_path;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, Flock, FlockArg};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, bind, connect, socket};
use serde_json::{Value, json};
use std::fs::{DirBuilder, File};
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const RECORD: &str = "state.json";
/// The first record has a name of its own: a rename over a file makes some filesystems write at once.
const INTENT: &str = "intent.json";
const PREPARED: &str = ".state.json.new";
/// As it was when the container was made.
const CONFIG: &str = "config.json";
/// What was updated since: members of `linux`.
const UPDATED: &str = "updated.json";
const NEWLY_UPDATED: &str = ".updated.json.new";
const NONCE: &str = "nonce";
const INIT: &str = "init";
const HOOK: &str = "hook";
/// Holds the socket on which the program says that it is ready.
const NOTIFY: &str = "notify";
/// Short: it goes into sun_path after /proc/self/fd/N/.
const SOCKET: &str = "s";

/// How long an operation waits for another one of the same id.
pub(crate) const LOCK_DEADLINE: Duration = Duration::from_secs(10);

/// Larger than any record that we write; a planted one can't exhaust us.
const RECORD_MAX: u64 = 64 << 20;

/// All containers of a state root.
#[derive(Debug)]
pub(crate) struct Store {
    root: PathBuf,
}

/// One container's directory, open.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) id: String,
    path: PathBuf,
    directory: File,
}

/// Held until dropped.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: Flock<File>,
}

/// What is known of a container whose record may be damaged.
#[derive(Debug)]
pub(crate) enum Stored {
    Whole(Box<Record>),
    Damaged,
}

impl Store {
    pub(crate) fn new(root: &Path) -> Store {
        Store {
            root: root.to_path_buf(),
        }
    }

    /// The winner of this mkdir owns the id. Locked before anybody else can be.
    pub(crate) fn make(&self, id: &str) -> Result<(Entry, Lock)> {
        check_id(id)?;
        let refused = |error| {
            Error::system(
                format!("cannot make the state root {}", self.root.display()),
                error,
            )
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.root)
            .map_err(refused)?;
        let path = self.root.join(id);
        DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .map_err(|error| match error.kind() {
                std::io::ErrorKind::AlreadyExists => Error::new(
                    ErrorKind::AlreadyExists,
                    format!("container with id {id} already exists"),
                ),
                _ => Error::system(format!("cannot make {}", path.display()), error),
            })?;
        let entry = self.open(id)?;
        let lock = entry.lock(Instant::now() + LOCK_DEADLINE)?;
        Ok((entry, lock))
    }

    pub(crate) fn open(&self, id: &str) -> Result<Entry> {
        check_id(id)?;
        let path = self.root.join(id);
        let directory = open_directory(&path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory => missing(),
            _ => Error::system(format!("cannot open {}", path.display()), error),
        })?;
        Ok(Entry {
            id: id.to_owned(),
            path,
            directory,
        })
    }

    /// Where a container's program says that it is ready; known before there is a container.
    pub(crate) fn notify_path(&self, id: &str) -> PathBuf {
        self.root.join(id).join(NOTIFY)
    }

    /// Ids in the root; none if there is no root.
    pub(crate) fn ids(&self) -> Result<Vec<String>> {
        let list = match std::fs::read_dir(&self.root) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(|error| {
                Error::system(format!("cannot read {}", self.root.display()), error)
            })?,
        };
        let names = list.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut ids: Vec<_> = names.filter(|name| check_id(name).is_ok()).collect();
        ids.sort();
        Ok(ids)
    }
}

fn missing() -> Error {
    Error::new(ErrorKind::NotFound, "container does not exist")
}

fn open_directory(path: &Path) -> std::io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    let flags = libc::O_DIRECTORY | libc::O_NOFOLLOW | libc::O_CLOEXEC;
    std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(path)
}

impl Entry {
    /// Excludes other changes of this id. The directory must still be the one with this name.
    pub(crate) fn lock(&self, deadline: Instant) -> Result<Lock> {
        self.lock_as(FlockArg::LockExclusiveNonblock, deadline)
    }

    /// Excludes changes only: what adds a process takes this one.
    pub(crate) fn lock_shared(&self, deadline: Instant) -> Result<Lock> {
        self.lock_as(FlockArg::LockSharedNonblock, deadline)
    }

    fn lock_as(&self, kind: FlockArg, deadline: Instant) -> Result<Lock> {
        let mut file = open_directory(&self.path).map_err(|_| missing())?;
        loop {
            match Flock::lock(file, kind) {
                Ok(locked) => {
                    let now = std::fs::symlink_metadata(&self.path).map_err(|_| missing())?;
                    let ours = locked
                        .metadata()
                        .map_err(|error| Error::system("cannot stat a state directory", error))?;
                    if (now.dev(), now.ino()) != (ours.dev(), ours.ino()) {
                        return Err(missing());
                    }
                    return Ok(Lock { _file: locked });
                }
                Err((back, Errno::EWOULDBLOCK)) if Instant::now() < deadline => {
                    file = back;
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err((_, Errno::EWOULDBLOCK)) => {
                    return Err(Error::new(
                        ErrorKind::Timeout,
                        format!("another operation on container {} is in progress", self.id),
                    ));
                }
                Err((_, errno)) => {
                    return Err(Error::system("cannot lock a state directory", errno));
                }
            }
        }
    }

    /// The first record. Half written it is a damaged one, which the links make good for.
    pub(crate) fn write_intent(&self, record: &Record) -> Result<()> {
        self.write_new(INTENT, record)
    }

    /// The record as it will be, under a name that nobody reads: written while init works.
    pub(crate) fn prepare(&self, record: &Record) -> Result<()> {
        self.write_new(PREPARED, record)
    }

    /// The prepared record becomes the record, whole or not at all.
    pub(crate) fn complete(&self) -> Result<()> {
        let renamed = std::fs::rename(self.path.join(PREPARED), self.path.join(RECORD));
        renamed.map_err(|error| {
            let what = format!("cannot write the state of container {}", self.id);
            Error::system(what, error)
        })?;
        // It would speak for a record that is lost later.
        let _ = std::fs::remove_file(self.path.join(INTENT)); // read only while there is no record
        Ok(())
    }

    fn write_new(&self, name: &str, record: &Record) -> Result<()> {
        let refused = |error: std::io::Error| {
            Error::system(
                format!("cannot write the state of container {}", self.id),
                error,
            )
        };
        self.write_file(name, record.to_json().to_string().as_bytes())
            .map_err(refused)
    }

    fn write_file(&self, name: &str, bytes: &[u8]) -> std::io::Result<()> {
        let mut file = File::options()
            .write(true)
            .create_new(true)
            .open(self.path.join(name))?;
        file.write_all(bytes)
    }

    pub(crate) fn write_config(&self, json: &[u8]) -> Result<()> {
        self.write_file(CONFIG, json).map_err(|error| {
            let what = format!("cannot keep the configuration of container {}", self.id);
            Error::system(what, error)
        })
    }

    pub(crate) fn read_config(&self) -> Result<Vec<u8>> {
        let mut json = Vec::new();
        let read = File::open(self.path.join(CONFIG))
            .and_then(|file| file.take(RECORD_MAX).read_to_end(&mut json));
        read.map(|_| json).map_err(|error| {
            let what = format!("cannot read the configuration of container {}", self.id);
            Error::system(what, error)
        })
    }

    /// Replaced whole, or not at all.
    pub(crate) fn write_updated(&self, linux: &Value) -> Result<()> {
        let fresh = self.path.join(NEWLY_UPDATED);
        let _ = std::fs::remove_file(&fresh); // of an update that was killed
        self.write_file(NEWLY_UPDATED, linux.to_string().as_bytes())
            .and_then(|()| std::fs::rename(fresh, self.path.join(UPDATED)))
            .map_err(|error| {
                let what = format!("cannot keep the limits of container {}", self.id);
                Error::system(what, error)
            })
    }

    /// `resources` and `intelRdt` of `linux` as the last update left them, or as create saw them.
    pub(crate) fn read_updated(&self) -> Result<Value> {
        let damaged = |_| {
            let message = format!("the limits kept for container {} are damaged", self.id);
            Error::new(ErrorKind::DamagedState, message)
        };
        match File::open(self.path.join(UPDATED)) {
            Ok(file) => serde_json::from_reader(file.take(RECORD_MAX)).map_err(damaged),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let config: Value =
                    serde_json::from_slice(&self.read_config()?).map_err(damaged)?;
                let part = |name: &str| config.pointer(&format!("/linux/{name}"));
                Ok(json!({ "resources": part("resources"), "intelRdt": part("intelRdt") }))
            }
            Err(error) => {
                let what = format!("cannot read the limits of container {}", self.id);
                Err(Error::system(what, error))
            }
        }
    }

    pub(crate) fn read(&self) -> Stored {
        let open =
            File::open(self.path.join(RECORD)).or_else(|_| File::open(self.path.join(INTENT)));
        let mut text = String::new();
        let read = open.and_then(|file| file.take(RECORD_MAX).read_to_string(&mut text));
        let value = read.ok().and_then(|_| serde_json::from_str(&text).ok());
        match value.as_ref().and_then(Record::from_json) {
            Some(record) => Stored::Whole(Box::new(record)),
            None => Stored::Damaged,
        }
    }

    /// The record, or the reason why there is none.
    pub(crate) fn record(&self) -> Result<Record> {
        match self.read() {
            Stored::Whole(record) => Ok(*record),
            Stored::Damaged => Err(Error::new(
                ErrorKind::DamagedState,
                format!(
                    "the state of container {} is damaged or of another version; delete --force removes it",
                    self.id
                ),
            )),
        }
    }

    /// Links: written whole or not at all, and nothing truncates them.
    pub(crate) fn write_nonce(&self, nonce: &str) -> Result<()> {
        self.link(NONCE, nonce)
    }

    pub(crate) fn write_init(&self, init: &InitId) -> Result<()> {
        self.link(INIT, &init.to_word())
    }

    /// The hook that runs; there is one at a time, and each replaces the one before it.
    pub(crate) fn write_hook(&self, hook: &InitId) -> Result<()> {
        const NEW: &str = ".hook.new";
        self.link(NEW, &hook.to_word())?;
        let renamed = std::fs::rename(self.path.join(NEW), self.path.join(HOOK));
        renamed.map_err(|error| {
            Error::system(
                format!("cannot write the state of container {}", self.id),
                error,
            )
        })
    }

    pub(crate) fn read_hook(&self) -> Option<InitId> {
        self.read_link(HOOK).as_deref().and_then(InitId::from_word)
    }

    fn link(&self, name: &str, word: &str) -> Result<()> {
        symlink(word, self.path.join(name)).map_err(|error| {
            Error::system(
                format!("cannot write the state of container {}", self.id),
                error,
            )
        })
    }

    pub(crate) fn read_nonce(&self) -> Option<String> {
        self.read_link(NONCE)
    }

    pub(crate) fn read_init(&self) -> Option<InitId> {
        self.read_link(INIT).as_deref().and_then(InitId::from_word)
    }

    fn read_link(&self, name: &str) -> Option<String> {
        std::fs::read_link(self.path.join(name))
            .ok()?
            .into_os_string()
            .into_string()
            .ok()
    }

    /// The directory and all in it: the last act of a delete.
    pub(crate) fn remove(&self) -> Result<()> {
        match std::fs::remove_dir_all(&self.path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::system(
                format!("cannot remove {}", self.path.display()),
                error,
            )),
            _ => Ok(()),
        }
    }

    /// Is there still a directory of this name?
    pub(crate) fn exists(&self) -> bool {
        self.path.exists()
    }

    /// For every user of the container's to pass through, whatever the caller's umask.
    pub(crate) fn make_notify_directory(&self) -> Result<()> {
        use std::os::unix::fs::PermissionsExt;
        let path = self.path.join(NOTIFY);
        let everybody = std::fs::Permissions::from_mode(0o755);
        std::fs::create_dir(&path)
            .and_then(|()| std::fs::set_permissions(&path, everybody))
            .map_err(|error| Error::system(format!("cannot make {}", path.display()), error))
    }

    pub(crate) fn notify_directory(&self) -> Result<OwnedFd> {
        let path = self.path.join(NOTIFY);
        open_directory(&path)
            .map(OwnedFd::from)
            .map_err(|error| Error::system(format!("cannot open {}", path.display()), error))
    }

    /// sun_path has 108 bytes and state roots are long: the address goes by the descriptor.
    fn address(&self) -> Result<UnixAddr> {
        let path = format!("{}/{SOCKET}", proc_path(self.directory.as_raw_fd()));
        UnixAddr::new(path.as_str())
            .map_err(|errno| Error::system("cannot name the start socket", errno))
    }

    /// The start socket, bound; init listens on it when it is ready.
    pub(crate) fn bind_start_socket(&self) -> Result<OwnedFd> {
        let refused = |errno| Error::system("cannot bind the start socket", errno);
        let listener = socket(
            AddressFamily::Unix,
            SockType::SeqPacket,
            SockFlag::SOCK_CLOEXEC,
            None,
        )
        .map_err(refused)?;
        bind(listener.as_raw_fd(), &self.address()?).map_err(refused)?;
        Ok(listener)
    }

    /// `Ok(None)`: nobody listens, so the container isn't waiting for `start`.
    pub(crate) fn connect_start_socket(&self) -> Result<Option<OwnedFd>> {
        let refused = |errno| Error::system("cannot reach the start socket", errno);
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let peer =
            socket(AddressFamily::Unix, SockType::SeqPacket, flags, None).map_err(refused)?;
        match connect(peer.as_raw_fd(), &self.address()?) {
            Ok(()) => Ok(Some(peer)),
            Err(Errno::ECONNREFUSED | Errno::ENOENT) => Ok(None),
            Err(errno) => Err(refused(errno)),
        }
    }

    /// Its directory.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A full backlog is still somebody listening.
    pub(crate) fn is_listening(&self) -> Result<bool> {
        match self.connect_start_socket() {
            Ok(peer) => Ok(peer.is_some()),
            Err(error) if error.errno() == Some(libc::EAGAIN) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Who made this container: the owner of its directory.
    pub(crate) fn owner(&self) -> u32 {
        let stat = nix::sys::stat::fstatat(self.directory.as_fd(), "", AtFlags::AT_EMPTY_PATH);
        stat.map(|stat| stat.st_uid).unwrap_or(u32::MAX)
    }
}
