//! Readiness: who tells of it inside a container, and who is told. sd_notify(3)

use std::io::{self, IoSliceMut};
use std::os::fd::{AsRawFd, RawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nix::cmsg_space;
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, UnixAddr, recvmsg, sendmsg};

use crate::scene::Scene;
use crate::suite::Check;
use crate::sys;

/// The argument by which this program sends a datagram for each that follows.
pub(crate) const ARGUMENT: &str = "--notify";

/// The notifier's main: each message comes with a descriptor, as a program might try.
pub(crate) fn notify(messages: impl Iterator<Item = String>) -> io::Result<()> {
    let address = std::env::var("NOTIFY_SOCKET").map_err(io::Error::other)?;
    let socket = UnixDatagram::unbound()?;
    let address = UnixAddr::new(address.as_str())?;
    for message in messages {
        let (slices, fds) = ([io::IoSlice::new(message.as_bytes())], [1]);
        let rights = [ControlMessage::ScmRights(&fds)];
        let flags = MsgFlags::empty();
        sendmsg(socket.as_raw_fd(), &slices, &rights, flags, Some(&address))?;
    }
    Ok(())
}

/// Puts the notifier into the scene's root filesystem, as `notify`.
pub(crate) fn install(scene: &Scene<'_>) -> Check {
    std::fs::copy("/proc/self/exe", scene.path("rootfs/bin/notifier"))?;
    let script = format!("#!/bin/sh\nexec notifier {ARGUMENT} \"$@\"\n");
    scene.executable("rootfs/bin/notify", &script)?;
    Ok(())
}

/// What a message was, and how many descriptors came with it.
pub(crate) type Heard = (String, usize);

/// A thread that listens like a supervisor; it ends with the socket's last message or with the program.
pub(crate) struct Supervisor {
    heard: Arc<Mutex<Vec<Heard>>>,
}

impl Supervisor {
    /// At a path.
    pub(crate) fn listen(path: &Path) -> Check<Supervisor> {
        Supervisor::serve(UnixDatagram::bind(path)?)
    }

    /// Under an abstract name.
    pub(crate) fn listen_abstract(name: &str) -> Check<Supervisor> {
        let address = SocketAddr::from_abstract_name(name)?;
        Supervisor::serve(UnixDatagram::bind_addr(&address)?)
    }

    fn serve(socket: UnixDatagram) -> Check<Supervisor> {
        socket.set_read_timeout(Some(Duration::from_millis(50)))?;
        let heard = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::downgrade(&heard);
        std::thread::spawn(move || {
            // Until nobody wants to know any more.
            while let Some(told) = told.upgrade() {
                if let Ok(message) = receive(&socket) {
                    told.lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push(message);
                }
            }
        });
        Ok(Supervisor { heard })
    }

    /// What it was told so far.
    pub(crate) fn heard(&self) -> Vec<Heard> {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.clone()
    }

    /// Has it been told this line?
    pub(crate) fn has(&self, line: &str) -> bool {
        let heard = self.heard();
        heard
            .iter()
            .any(|(text, _)| text.lines().any(|said| said == line))
    }
}

/// Descriptors are closed at once: whoever sent a barrier goes on.
fn receive(socket: &UnixDatagram) -> nix::Result<Heard> {
    let mut bytes = [0; 8192];
    let mut space = cmsg_space!([RawFd; 8]);
    let mut slices = [IoSliceMut::new(&mut bytes)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut slices, Some(&mut space), flags)?;
    let mut count = 0;
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(fds) = control {
            count += fds.len();
            fds.into_iter().for_each(sys::close);
        }
    }
    let length = message.bytes;
    Ok((
        String::from_utf8_lossy(&bytes[..length]).into_owned(),
        count,
    ))
}
