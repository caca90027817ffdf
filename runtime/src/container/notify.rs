//! Readiness: what the program says on a socket of its own goes to the caller's. sd_notify(3)
//!
//! The program is not to be trusted with the caller's socket, on which a supervisor takes descriptors and orders:
//! of what it says only whole lines with names from a table go on, and nothing that came beside them.

use super::process::Process;
use super::store::Entry;
use crate::error::{Error, Result};
use crate::plan::NOTIFY_NAME;
use crate::sys::pidfd;
use crate::sys::socket;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

const PATH: &str = "NOTIFY_SOCKET";

/// A longer message is none: what is cut off would change what it says.
const MESSAGE_MAX: usize = 4096;

/// As many as may wait in a socket, about: a program that never stops talking can't keep us from seeing its end.
const BATCH: usize = 512;

/// A supervisor that doesn't take what we send.
const SEND_DEADLINE: Duration = Duration::from_secs(10);

/// For a supervisor to have read all that came before.
const BARRIER_DEADLINE: Duration = Duration::from_secs(30);

/// What a program may say of itself beside READY. Not MAINPID, which means nothing in another pid namespace and any process to
/// the supervisor; not what goes with descriptors, nor what changes who may speak.
const NAMES: [&str; 11] = [
    "STATUS",
    "ERRNO",
    "BUSERROR",
    "VARLINKERROR",
    "EXIT_STATUS",
    "RELOADING",
    "STOPPING",
    "MONOTONIC_USEC",
    "WATCHDOG",
    "WATCHDOG_USEC",
    "EXTEND_TIMEOUT_USEC",
];

const READY: &str = "READY=1";

/// What [`ContainerBuilder::notify_socket`](crate::ContainerBuilder::notify_socket) takes.
pub(super) fn check(address: &str) -> Result<()> {
    let path = address.starts_with('/')
        || address
            .strip_prefix('@')
            .is_some_and(|name| !name.is_empty());
    if !path || address.contains('\0') {
        let message = format!("{address:?} is neither an absolute path nor an abstract socket");
        return Err(Error::config(PATH, message));
    }
    Ok(())
}

/// Both sockets, ours and the caller's.
#[derive(Debug)]
pub(super) struct Channel {
    program: OwnedFd,
    host: OwnedFd,
}

impl Channel {
    /// Before anything is executed: the program finds its socket, and if nobody is there to listen to us, then
    /// nothing has happened yet.
    pub(super) fn open(entry: &Entry, address: Option<&str>) -> Result<Option<Channel>> {
        let Some(address) = address else {
            return Ok(None);
        };
        let host = socket::connect_datagram(address, SEND_DEADLINE).map_err(|errno| {
            Error::system(format!("cannot connect to {address}"), errno).at(PATH)
        })?;
        let directory = entry.notify_directory()?;
        let program = socket::bind_datagram(directory.as_fd(), NOTIFY_NAME)
            .map_err(|errno| Error::system("cannot make the container's socket", errno).at(PATH))?;
        Ok(Some(Channel { program, host }))
    }
}

/// What a started program says of itself, on its way to the socket that
/// [`ContainerBuilder::notify_socket`](crate::ContainerBuilder::notify_socket) named.
/// Dropped, the program's socket is closed.
///
/// ```no_run
/// # fn main() -> longshore::Result<()> {
/// # let runtime = longshore::Runtime::builder().build()?;
/// let container = runtime.container("web1").bundle("/bundle").notify_socket("@supervisor").create()?;
/// let mut process = container.start()?;
/// if let Some(mut notifications) = process.take_notifications() {
///     assert!(notifications.forward(process.pid())?, "it ended before it was ready");
/// }
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Notifications {
    channel: Channel,
    process: Box<Process>,
}

impl Notifications {
    pub(super) fn new(channel: Channel, process: Process) -> Notifications {
        let process = Box::new(process);
        Notifications { channel, process }
    }

    /// Passes on what the program says until it says that it is ready (true) or has ended (false). Then the
    /// supervisor is told who to watch, `main_pid`: the container's process, or the caller if it stays in front of it.
    /// Returns when the supervisor has heard it, or after 30 seconds. To be called again for what comes later.
    ///
    /// # Errors
    /// The socket can't be sent to any more.
    pub fn forward(&mut self, main_pid: i32) -> Result<bool> {
        let mut ended = false;
        loop {
            for _ in 0..BATCH {
                let Some(lines) = self.receive()? else {
                    break;
                };
                if lines.is_empty() {
                    continue;
                }
                self.send(&lines.join("\n"))?;
                if lines.iter().any(|line| line == READY) {
                    self.send(&format!("MAINPID={main_pid}"))?;
                    return self.barrier().map(|()| true);
                }
            }
            if ended {
                return Ok(false);
            }
            // What it said last is still there to be read.
            ended = self
                .process
                .ended_or_readable(self.channel.program.as_fd())?;
        }
    }

    fn receive(&self) -> Result<Option<Vec<String>>> {
        let mut buffer = [0u8; MESSAGE_MAX];
        let length = socket::receive_datagram(self.channel.program.as_fd(), &mut buffer)
            .map_err(|errno| Error::system("cannot read the container's socket", errno).at(PATH))?;
        let message = length.map(|length| buffer.get(..length).unwrap_or_default());
        Ok(message.map(|message| allowed(message).map(str::to_owned).collect()))
    }

    fn send(&self, text: &str) -> Result<()> {
        socket::send_datagram(self.channel.host.as_fd(), text.as_bytes(), None).map_err(refused)
    }

    /// The supervisor closes its copy of a pipe when it comes to it: our process may end then, and with it what a
    /// supervisor knows us by.
    fn barrier(&self) -> Result<()> {
        let (ours, theirs) = nix::unistd::pipe2(OFlag::O_CLOEXEC).map_err(refused)?;
        let host = self.channel.host.as_fd();
        socket::send_datagram(host, b"BARRIER=1", Some(theirs.as_fd())).map_err(refused)?;
        drop(theirs);
        let deadline = Some(Instant::now() + BARRIER_DEADLINE);
        // One that never closes it has had READY all the same.
        pidfd::poll_any(&[ours.as_fd()], deadline).map_err(refused)?;
        Ok(())
    }
}

fn refused(errno: Errno) -> Error {
    Error::system("cannot pass on what the program says", errno).at(PATH)
}

/// The lines of a message that may go on: of a name in the table, and nothing that isn't plain text.
fn allowed(message: &[u8]) -> impl Iterator<Item = &str> {
    let lines = message.split(|byte| *byte == b'\n');
    let texts = lines.filter_map(|line| std::str::from_utf8(line).ok());
    texts.filter(|line| match line.split_once('=') {
        Some(("READY", value)) => value == "1", // there is no other
        Some((name, _)) => NAMES.contains(&name) && !line.contains(char::is_control),
        None => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lines_of_the_table_go_on() {
        let check = |message: &[u8], expect: &[&str]| {
            assert_eq!(allowed(message).collect::<Vec<_>>(), expect, "{message:?}");
        };
        check(b"READY=1", &["READY=1"]);
        check(
            b"STATUS=up \xc3\xa9\nREADY=1\n",
            &["STATUS=up \u{e9}", "READY=1"],
        );
        check(
            b"MAINPID=1\nFDSTORE=1\nNOTIFYACCESS=all\nBARRIER=1\nX_A=b",
            &[],
        );
        check(b"READY\n=1\n ready=1\nREADY =1\nREADY=1 \nREADY=0", &[]);
        check(
            b"STATUS=a\0b\nSTATUS=\x1b[31m\nSTATUS=\xff\nERRNO=2",
            &["ERRNO=2"],
        );
        check(b"", &[]);
    }

    #[test]
    fn an_address_is_a_path_or_a_name() {
        for good in ["/run/systemd/notify", "@a"] {
            check(good).unwrap();
        }
        for bad in ["", "@", "relative", "vsock:2:1", "/a\0b"] {
            check(bad).unwrap_err();
        }
    }
}
