//! `checkpoint`: CRIU writes a running container down, and ends it unless told otherwise.

use super::record::Record;
use super::state;
use super::store::{Entry, LOCK_DEADLINE};
use super::{Container, Status, first};
use crate::checkpoint::{self, Apart, Criu, CriuOptions, DESCRIPTORS, Directories, Listener, rpc};
use crate::config::Config;
use crate::error::{Error, ErrorKind, Result};
use crate::sys::pidfd;
use crate::timings::Trail;
use std::fs;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// A checkpoint to be taken. Made by [`Container::checkpoint`].
///
/// ```no_run
/// # fn main() -> longshore::Result<()> {
/// # let runtime = longshore::Runtime::builder().build()?;
/// let options = longshore::CriuOptions::new("/srv/checkpoints/web1");
/// runtime.open("web1")?.checkpoint(options).leave_running(true).dump()?;
/// # Ok(()) }
/// ```
#[derive(Debug)]
#[must_use]
pub struct Checkpoint<'a> {
    container: &'a Container,
    options: CriuOptions,
    parent: Option<String>,
    leave_running: bool,
    pre_dump: bool,
    link_remap: bool,
    tcp_skip_in_flight: bool,
    page_server: Option<(String, u16)>,
    status: Option<OwnedFd>,
}

impl Container {
    /// Describes a checkpoint of this container.
    ///
    /// ```no_run
    /// # fn main() -> longshore::Result<()> {
    /// # let runtime = longshore::Runtime::builder().build()?;
    /// runtime.open("web1")?.checkpoint(longshore::CriuOptions::new("/srv/web1")).dump()?;
    /// # Ok(()) }
    /// ```
    pub fn checkpoint(&self, options: CriuOptions) -> Checkpoint<'_> {
        Checkpoint {
            container: self,
            options,
            parent: None,
            leave_running: false,
            pre_dump: false,
            link_remap: false,
            tcp_skip_in_flight: false,
            page_server: None,
            status: None,
        }
    }
}

impl Checkpoint<'_> {
    /// The images of a pre-dump to build on: relative to this checkpoint's.
    pub fn parent(mut self, path: impl Into<String>) -> Self {
        self.parent = Some(path.into());
        self
    }

    /// The container goes on after it.
    pub fn leave_running(mut self, yes: bool) -> Self {
        self.leave_running = yes;
        self
    }

    /// Memory alone, of a container that goes on: for a later checkpoint to build on.
    pub fn pre_dump(mut self, yes: bool) -> Self {
        self.pre_dump = yes;
        self
    }

    /// Files that have no name any more get one, beside where they were.
    pub fn link_remap(mut self, yes: bool) -> Self {
        self.link_remap = yes;
        self
    }

    /// TCP connections that are being made are left out.
    pub fn tcp_skip_in_flight(mut self, yes: bool) -> Self {
        self.tcp_skip_in_flight = yes;
        self
    }

    /// Memory goes to CRIU's page server there.
    pub fn page_server(mut self, address: impl Into<String>, port: u16) -> Self {
        self.page_server = Some((address.into(), port));
        self
    }

    /// Gets one NUL byte when the pages can be asked for, with `lazy_pages`.
    pub fn status_fd(mut self, status: OwnedFd) -> Self {
        self.status = Some(status);
        self
    }

    /// Takes it. Unless the container is to go on it is gone afterwards, and its poststop hooks have run:
    /// those that failed are returned, a line each.
    ///
    /// # Errors
    /// `InvalidState` unless it runs or is paused; `Criu` with the last complaints of its log;
    /// `Unsupported` where there is no CRIU, or one that can't. The container goes on then.
    pub fn dump(self) -> Result<Vec<String>> {
        let container = self.container;
        let trail = container.settings.trail("checkpoint", &container.id);
        trail.end(self.dump_on(&trail))
    }

    fn dump_on(self, trail: &Trail) -> Result<Vec<String>> {
        let container = self.container;
        let entry = container.entry()?;
        let _lock = entry.lock(Instant::now() + LOCK_DEADLINE)?;
        let record = container.record(&entry)?;
        match state::status(&entry, &record)? {
            Status::Running | Status::Paused => {}
            status => {
                let words = format!("cannot checkpoint a container that is {status}");
                return Err(Error::new(ErrorKind::InvalidState, words));
            }
        }
        self.dump_locked(&entry, &record)?;
        trail.point("have CRIU dump it");
        if self.leave_running || self.pre_dump {
            return Ok(Vec::new());
        }
        // CRIU has killed its processes; what else there is of it goes the way of every stopped container. Under the
        // same lock: the id must not be another container's by then.
        super::delete::remove(&container.settings, &entry, Some(record), trail)
    }

    fn dump_locked(&self, entry: &Entry, record: &Record) -> Result<()> {
        let refused = |problems| first(problems, "config.json");
        let config = Config::parse(&entry.read_config()?).map_err(refused)?;
        let init = record.init.as_ref().and_then(state::prove);
        let init = init.ok_or_else(super::kill::not_running)?;
        let pid = init.stat.pid;
        Directories::make(&self.options)?;
        self.check_parent()?;
        let null = super::stdio::null()?;
        let yard = record.cgroup.pure_v2_mount();
        let apart = Apart {
            root: None,
            yard: yard.map(|cgroups| (cgroups, entry.path())),
        };
        let stdio = [null.as_fd(), null.as_fd(), null.as_fd()];
        let open = || Directories::open(&self.options);
        let (criu, directories) = Criu::spawn(stdio, &[], &apart, open)?;
        criu.check(rpc::Features {
            track_memory: (self.pre_dump || self.parent.is_some()).then_some(true),
            lazy_pages: self.options.lazy_pages.then_some(true),
        })?;
        let namespaces = checkpoint::namespaces(&config);
        let mut options = rpc::Options {
            pid: Some(pid),
            root: Some(record.rootfs.clone()),
            log_file: Some("dump.log".to_owned()),
            leave_running: Some(self.leave_running),
            link_remap: Some(self.link_remap),
            tcp_skip_in_flight: Some(self.tcp_skip_in_flight),
            parent_image: self.parent.clone(),
            track_memory: Some(self.pre_dump || self.parent.is_some()),
            page_server: self
                .page_server
                .clone()
                .map(|(address, port)| rpc::PageServer {
                    address: Some(address),
                    port: Some(port.into()),
                }),
            cgroup_yard: yard.map(|_| entry.path().display().to_string()),
            freeze_cgroup: record.cgroup.freezer().map(|place| place.display()),
            config_file: checkpoint::configuration_file(&record.annotations, |path| {
                Path::new(path).exists()
            }),
            ..self.options.request(&directories)
        };
        for (kind, name, path) in &namespaces.inherited {
            let inode = inode(path)?;
            options.external.push(format!("{kind}[{inode}]:{name}"));
        }
        if !self.pre_dump {
            options.external_mounts = checkpoint::dumped(&config, &mountinfo(pid)?);
            write_descriptors(&directories, pid)?;
        }
        // What we read was init's if it is still there.
        pidfd::send_signal(init.handle.as_fd(), 0).map_err(|_| super::kill::not_running())?;
        let request = rpc::Request {
            kind: match self.pre_dump {
                true => rpc::kind::PRE_DUMP,
                false => rpc::kind::DUMP,
            },
            options: Some(options),
            ..rpc::Request::default()
        };
        let mut listener = Dumping {
            status: self.status.as_ref(),
        };
        let dumped = criu.perform(&request, &mut listener);
        let log = self.options.work_path().join("dump.log");
        dumped
            .map(drop)
            .map_err(|error| checkpoint::explain(error, &log))
    }

    /// CRIU follows it as it is, and finds nothing later if it is wrong.
    fn check_parent(&self) -> Result<()> {
        let Some(parent) = &self.parent else {
            return Ok(());
        };
        let refuse = |what| Err(Error::config("parent-path", format!("{parent} {what}")));
        if parent.starts_with('/') {
            return refuse("is not relative to the image path");
        }
        match self.options.images.join(parent).is_dir() {
            true => Ok(()),
            false => refuse("is not a directory"),
        }
    }
}

struct Dumping<'a> {
    status: Option<&'a OwnedFd>,
}

impl Listener for Dumping<'_> {
    fn notified(&mut self, script: &str, _: i32, _: Option<OwnedFd>) -> Result<()> {
        if let ("status-ready", Some(status)) = (script, self.status) {
            nix::unistd::write(status, &[0])
                .map_err(|errno| Error::system("cannot write to the status descriptor", errno))?;
        }
        Ok(())
    }
}

fn inode(path: &str) -> Result<u64> {
    use std::os::unix::fs::MetadataExt;
    let found = fs::metadata(path);
    let found = found.map_err(|error| Error::system(format!("cannot stat {path}"), error))?;
    Ok(found.ino())
}

fn mountinfo(pid: i32) -> Result<Vec<u8>> {
    let path = format!("/proc/{pid}/mountinfo");
    fs::read(&path).map_err(|error| Error::system(format!("cannot read {path}"), error))
}

/// What stdio is, for a restore to put something else in its place.
fn write_descriptors(directories: &Directories, pid: i32) -> Result<()> {
    let target = |fd: i32| {
        let link = fs::read_link(format!("/proc/{pid}/fd/{fd}"));
        link.unwrap_or_else(|_| PathBuf::new()) // closed by the program
            .to_string_lossy()
            .into_owned()
    };
    let json = serde_json::json!([target(0), target(1), target(2)]).to_string();
    let path = format!(
        "/proc/self/fd/{}/{DESCRIPTORS}",
        directories.images.as_raw_fd()
    );
    let written = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .open(path)
        .and_then(|mut file| file.write_all(json.as_bytes()));
    written.map_err(|error| Error::system(format!("cannot write {DESCRIPTORS}"), error))
}
