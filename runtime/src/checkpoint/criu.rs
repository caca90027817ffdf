//! CRIU as a child of ours: `criu swrk FD`, and the conversation with it.
//!
//! It changes nothing of this process. Where CRIU needs mounts that only it should see, it is spawned by a thread
//! that has a mount namespace of its own for that one call; the mounts end with CRIU.

use super::rpc::{Features, Notify, Request, Response, Version, kind};
use crate::error::{Error, ErrorKind, Result};
use crate::sys::fd::duplicate_above;
use crate::sys::{pidfd, socket};
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawnp};
use nix::sys::signal::SigSet;
use nix::unistd::Pid;
use prost::Message;
use std::ffi::CString;
use std::fs;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;

/// CRIU's end of the socket.
const SOCKET: RawFd = 3;
/// Those that it inherits besides.
pub(crate) const FIRST_PASSED: RawFd = 4;

/// CRIU's name for the directory of cgroup2.
const YARD_CGROUP2: &str = "unified";

/// The first with all that is used here.
const OLDEST: Version = Version {
    major: 3,
    minor: 15,
};

/// A CRIU that waits for requests.
#[derive(Debug)]
pub(crate) struct Criu {
    socket: OwnedFd,
    pid: Pid,
    pidfd: OwnedFd,
    reaped: bool,
}

/// What CRIU sees of the host's mounts, and nobody else.
#[derive(Debug)]
pub(crate) struct Apart<'a> {
    /// The root filesystem to restore into: CRIU wants it to be a mount point.
    pub(crate) root: Option<&'a str>,
    /// The host's cgroup2, and a directory to show it in.
    pub(crate) yard: Option<(&'a str, &'a Path)>,
}

/// Who hears what CRIU does.
pub(crate) trait Listener {
    /// A point of its work: `script` is CRIU's name for it, `pid` the first restored process.
    fn notified(&mut self, script: &str, pid: i32, descriptor: Option<OwnedFd>) -> Result<()>;
}

impl Criu {
    /// With these three as its stdio, and `passed` from [`FIRST_PASSED`] on. What `open` opens is seen as CRIU sees
    /// it: of a directory that was opened elsewhere, CRIU could not make a mount point.
    pub(crate) fn spawn<T: Send>(
        stdio: [BorrowedFd<'_>; 3],
        passed: &[BorrowedFd<'_>],
        apart: &Apart<'_>,
        open: impl FnOnce() -> Result<T> + Send,
    ) -> Result<(Criu, T)> {
        let (ours, theirs) =
            socket::pair().map_err(|errno| Error::system("cannot make a socket pair", errno))?;
        let fds: Vec<_> = stdio
            .into_iter()
            .chain([theirs.as_fd()])
            .chain(passed.iter().copied())
            .collect();
        let spawned = std::thread::scope(|scope| {
            let spawning = scope.spawn(|| {
                separate(apart)?;
                let opened = open()?;
                Ok((spawn(&fds)?, opened))
            });
            spawning.join().unwrap_or_else(|_| {
                Err(Error::new(
                    ErrorKind::Died,
                    "the thread that starts CRIU died",
                ))
            })
        });
        let (pid, opened) = spawned?;
        let pidfd = pidfd::open(pid.as_raw());
        let pidfd = pidfd.map_err(|errno| Error::system("cannot open CRIU's pidfd", errno))?;
        let criu = Criu {
            socket: ours,
            pid,
            pidfd,
            reaped: false,
        };
        Ok((criu, opened))
    }

    pub(crate) fn pid(&self) -> i32 {
        self.pid.as_raw()
    }

    /// Refuses one that is too old, or can't do what is wanted.
    pub(crate) fn check(&self, wanted: Features) -> Result<()> {
        let ask = |request: Request| {
            let request = Request {
                keep_open: Some(true),
                ..request
            };
            self.send(&request)?;
            self.receive().map(|(response, _)| response)
        };
        let version = ask(Request {
            kind: kind::VERSION,
            ..Request::default()
        })?;
        let version = version.version.unwrap_or_default();
        if (version.major, version.minor) < (OLDEST.major, OLDEST.minor) {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!(
                    "CRIU {}.{} is too old: {}.{} is the oldest that will do",
                    version.major, version.minor, OLDEST.major, OLDEST.minor
                ),
            ));
        }
        if wanted == Features::default() {
            return Ok(());
        }
        let found = ask(Request {
            kind: kind::FEATURE_CHECK,
            features: Some(wanted),
            ..Request::default()
        })?;
        let found = found.features.unwrap_or_default();
        let lacks =
            |wanted: Option<bool>, found: Option<bool>| wanted == Some(true) && found != Some(true);
        if lacks(wanted.track_memory, found.track_memory) {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "CRIU can't track changes of memory on this host",
            ));
        }
        if lacks(wanted.lazy_pages, found.lazy_pages) {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "CRIU can't do lazy pages on this host",
            ));
        }
        Ok(())
    }

    /// One request, up to its answer. The listener's own error counts more than what CRIU makes of it.
    pub(crate) fn perform(
        mut self,
        request: &Request,
        listener: &mut dyn Listener,
    ) -> Result<Response> {
        self.send(request)?;
        let mut refused = None;
        loop {
            let (response, descriptor) = self.receive()?;
            if response.kind != kind::NOTIFY {
                self.reap();
                return match (refused, response.success) {
                    (Some(error), _) => Err(error),
                    (None, true) => Ok(response),
                    (None, false) => Err(failed(&response)),
                };
            }
            let Notify { script, pid } = response.notify.unwrap_or_default();
            let heard = listener.notified(
                script.as_deref().unwrap_or_default(),
                pid.unwrap_or(0),
                descriptor,
            );
            self.send(&Request {
                kind: kind::NOTIFY,
                notify_success: Some(heard.is_ok()),
                ..Request::default()
            })?;
            refused = refused.or(heard.err());
        }
    }

    fn send(&self, request: &Request) -> Result<()> {
        let bytes = request.encode_to_vec();
        socket::send_message(self.socket.as_fd(), &bytes)
            .map_err(|errno| Error::system("cannot send CRIU a request", errno))
    }

    /// CRIU has deadlines of its own for what it waits for; how long it writes, the size of the memory decides. Its
    /// death closes the socket.
    fn receive(&self) -> Result<(Response, Option<OwnedFd>)> {
        let refused = |errno| Error::system("cannot receive CRIU's answer", errno);
        let mut buffer = vec![0; 1 << 20];
        pidfd::poll_any(&[self.socket.as_fd()], None).map_err(refused)?;
        let (count, descriptor) =
            socket::receive_bytes(self.socket.as_fd(), &mut buffer).map_err(refused)?;
        if count == 0 {
            return Err(Error::new(ErrorKind::Died, "CRIU ended without an answer"));
        }
        let response = Response::decode(&buffer[..count]);
        let response = response.map_err(|error| {
            Error::new(
                ErrorKind::Died,
                format!("CRIU's answer is malformed: {error}"),
            )
        })?;
        Ok((response, descriptor))
    }

    fn reap(&mut self) {
        // After a pre-dump it would wait for the next request.
        let _ = socket::end(self.socket.as_fd()); // it has ended
        let _ = pidfd::wait(self.pidfd.as_fd(), true, true); // reaped by somebody else
        self.reaped = true;
    }
}

impl Drop for Criu {
    /// One that wasn't let finish.
    fn drop(&mut self) {
        if !self.reaped {
            let _ = pidfd::send_signal(self.pidfd.as_fd(), libc::SIGKILL); // ended by itself
            self.reap();
        }
    }
}

fn failed(response: &Response) -> Error {
    let words = response.message.clone().unwrap_or_default();
    let words = match (words.is_empty(), response.errno) {
        (false, _) => format!("CRIU failed: {words}"),
        (true, Some(errno)) if errno != 0 => format!("CRIU failed: {}", Errno::from_raw(errno)),
        (true, _) => "CRIU failed".to_owned(),
    };
    Error::new(ErrorKind::Criu, words)
}

/// Of the calling thread alone.
fn separate(apart: &Apart<'_>) -> Result<()> {
    const NONE: Option<&str> = None;
    let refused = |errno| Error::system("cannot make a mount namespace for CRIU", errno);
    unshare(CloneFlags::CLONE_NEWNS).map_err(refused)?;
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_SLAVE, NONE).map_err(refused)?;
    let bind = MsFlags::MS_BIND | MsFlags::MS_REC;
    if let Some(root) = apart.root {
        mount(Some(root), root, NONE, bind, NONE).map_err(|errno| {
            Error::system(format!("cannot mount {root} for CRIU"), errno).at("root.path")
        })?;
    }
    // CRIU would mount a cgroup2 of its own, and with it take nsdelegate from the host's: they are one filesystem.
    if let Some((cgroups, at)) = apart.yard {
        let unified = at.join(YARD_CGROUP2);
        mount(Some("tmpfs"), at, Some("tmpfs"), MsFlags::empty(), NONE).map_err(refused)?;
        fs::create_dir(&unified)
            .map_err(|error| Error::system("cannot make a directory for CRIU", error))?;
        mount(Some(cgroups), &unified, NONE, bind, NONE).map_err(refused)?;
    }
    Ok(())
}

fn spawn(fds: &[BorrowedFd<'_>]) -> Result<Pid> {
    let refused = |errno| match errno {
        Errno::ENOENT => Error::new(
            ErrorKind::Unsupported,
            "criu: executable file not found in $PATH",
        ),
        errno => Error::system("cannot start criu", errno),
    };
    // Out of the way first: one may have the number that another is to get.
    let least = RawFd::try_from(fds.len()).unwrap_or(RawFd::MAX / 2);
    let high = |fd: &BorrowedFd<'_>| duplicate_above(*fd, least);
    let copies = fds.iter().map(high).collect::<Result<Vec<OwnedFd>>>()?;
    let mut actions = PosixSpawnFileActions::init().map_err(refused)?;
    for (number, copy) in (0..).zip(&copies) {
        actions
            .add_dup2(copy.as_raw_fd(), number)
            .map_err(refused)?;
    }
    let mut attributes = PosixSpawnAttr::init().map_err(refused)?;
    let flags = PosixSpawnFlags::POSIX_SPAWN_SETSIGMASK | PosixSpawnFlags::POSIX_SPAWN_SETSIGDEF;
    attributes.set_flags(flags).map_err(refused)?;
    attributes.set_sigmask(&SigSet::empty()).map_err(refused)?;
    attributes.set_sigdefault(&SigSet::all()).map_err(refused)?;
    let words = ["criu".to_owned(), "swrk".to_owned(), SOCKET.to_string()];
    let words = words.map(|word| CString::new(word).unwrap_or_default()); // no NUL in them
    // Its helpers (tar, ip, iptables) are where root has them.
    let path = std::env::var("PATH").unwrap_or_default();
    let environment = CString::new(format!(
        "PATH={path}:/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin"
    ));
    let environment = [environment.unwrap_or_default()]; // an environment has no NUL
    posix_spawnp(&words[0], &actions, &attributes, &words, &environment).map_err(refused)
}
