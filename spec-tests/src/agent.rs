//! A seccomp agent: what stands behind `linux.seccomp.listenerPath`.

use std::io::{IoSliceMut, Read};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::cmsg_space;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use serde_json::Value;

use crate::suite::{Check, Stop};
use crate::sys;

/// What the agent answers to mkdir(2): an errno that nothing else gives. All other calls go on.
pub(crate) const ANSWER: i32 = libc::ENOTEMPTY;

/// How busybox says it.
pub(crate) const WORDS: &str = "Directory not empty";

const TICK: Duration = Duration::from_millis(20);

/// A thread that takes listeners and answers their calls, until it is asked for its report.
pub(crate) struct Agent {
    thread: Option<JoinHandle<Check<Vec<Handed>>>>,
    enough: Arc<AtomicBool>,
}

/// What came over one connection.
pub(crate) struct Handed {
    /// The container process state.
    pub state: Value,
    /// How many descriptors came along.
    pub descriptors: usize,
    /// Calls that were asked about: who and which.
    pub calls: Vec<(u32, i32)>,
    /// The connection was at its end when the first call was asked about.
    pub closed: bool,
}

/// One of the agent's clients.
struct Client {
    handed: Handed,
    connection: UnixStream,
    listener: Option<OwnedFd>,
}

impl Agent {
    /// Listens at a path.
    pub(crate) fn listen(path: &Path) -> Check<Agent> {
        let listener = UnixListener::bind(path)?;
        listener.set_nonblocking(true)?;
        let enough = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&enough);
        let thread = std::thread::spawn(move || serve(&listener, &asked));
        Ok(Agent {
            thread: Some(thread),
            enough,
        })
    }

    /// Ends it.
    pub(crate) fn report(mut self) -> Check<Vec<Handed>> {
        self.enough.store(true, Ordering::Relaxed);
        let thread = self.thread.take().map(JoinHandle::join);
        match thread {
            Some(Ok(handed)) => handed,
            _ => Err(Stop::Fail("the agent panicked".to_owned())),
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.enough.store(true, Ordering::Relaxed); // its listeners close with it: nobody waits for an answer
    }
}

fn serve(socket: &UnixListener, enough: &AtomicBool) -> Check<Vec<Handed>> {
    let mut clients: Vec<Client> = Vec::new();
    // One more look after the end was asked for: all that the container did is there by then.
    let mut last = false;
    while !last {
        last = enough.load(Ordering::Relaxed);
        while let Ok((connection, _)) = socket.accept() {
            clients.push(take(connection)?);
        }
        let mut idle = true;
        for client in &mut clients {
            while client.listener.as_ref().is_some_and(sys::notified) {
                idle = false;
                client.serve();
            }
        }
        if idle {
            std::thread::sleep(TICK);
        }
    }
    Ok(clients.into_iter().map(|client| client.handed).collect())
}

impl Client {
    fn serve(&mut self) {
        let Some(listener) = &self.listener else {
            return;
        };
        if self.handed.calls.is_empty() {
            self.handed.closed = matches!(self.connection.read(&mut [0]), Ok(0));
        }
        // Interrupted: the caller has died meanwhile.
        if let Ok(call) = sys::notification(listener) {
            self.handed.calls.push((call.pid, call.number));
            let mkdir = [libc::SYS_mkdir, libc::SYS_mkdirat].contains(&call.number.into());
            sys::answer(listener, &call, mkdir.then_some(ANSWER));
        }
    }
}

/// The first message holds all of the state, and the descriptors.
fn take(connection: UnixStream) -> Check<Client> {
    connection.set_nonblocking(false)?;
    connection.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut bytes = vec![0; 1 << 16];
    let mut space = cmsg_space!([RawFd; 8]);
    let mut descriptors = Vec::new();
    let count = {
        let mut slices = [IoSliceMut::new(&mut bytes)];
        let flags = MsgFlags::MSG_CMSG_CLOEXEC;
        let message = recvmsg::<()>(connection.as_raw_fd(), &mut slices, Some(&mut space), flags)?;
        for control in message.cmsgs()? {
            if let ControlMessageOwned::ScmRights(fds) = control {
                descriptors.extend(fds);
            }
        }
        message.bytes
    };
    let mut descriptors: Vec<_> = descriptors.into_iter().map(sys::own).collect();
    connection.set_nonblocking(true)?;
    let handed = Handed {
        state: serde_json::from_slice(&bytes[..count])?,
        descriptors: descriptors.len(),
        calls: Vec::new(),
        closed: false,
    };
    Ok(Client {
        handed,
        connection,
        listener: descriptors.pop(),
    })
}
