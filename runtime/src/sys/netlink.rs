//! Links and addresses of a network namespace, over one of its netlink sockets. rtnetlink(7)
//!
//! A socket belongs to the namespace that it was made in, whoever uses it, and keeps it alive. That is how this
//! process reaches another one without any of its threads entering it.
#![allow(unsafe_code)]

mod message;

use super::fd::owned;
use super::pidfd::poll_any;
#[cfg(any(test, feature = "_internals"))]
pub(crate) use message::read_all;
pub(crate) use message::{Address, Link};
use message::{Message, Request, flag, kind};
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recvmsg, sendto, socket,
};
use std::cell::Cell;
use std::io::IoSliceMut;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// For one answer. The kernel does what it is asked before the request's system call returns, so an answer is there.
const DEADLINE: Duration = Duration::from_secs(10);

/// The kernel sends no more at once (32 KiB), except for a link with very much to tell.
const BUFFER: usize = 256 << 10;

/// A list that changes while it is read is read again, so many times.
const TRIES: usize = 20;

/// The kernel's port: from nobody else anything is taken.
const KERNEL: u32 = 0;

/// A socket of NETLINK_ROUTE.
#[derive(Debug)]
pub(crate) struct Socket {
    fd: OwnedFd,
    sequence: Cell<u32>,
}

impl From<OwnedFd> for Socket {
    fn from(fd: OwnedFd) -> Socket {
        Socket {
            fd,
            sequence: Cell::new(0),
        }
    }
}

impl Socket {
    /// In the calling thread's network namespace.
    pub(crate) fn open() -> Result<Socket, Errno> {
        let protocol = SockProtocol::NetlinkRoute;
        let flags = SockFlag::SOCK_CLOEXEC;
        socket(AddressFamily::Netlink, SockType::Raw, flags, protocol).map(Socket::from)
    }

    /// Its network namespace: not by /proc, where a pid may be somebody else's. netdevice(7), SIOCGSKNS
    pub(crate) fn namespace(&self) -> Result<OwnedFd, Errno> {
        const SIOCGSKNS: libc::c_ulong = 0x894c;
        // SAFETY: the request takes no argument and returns a descriptor.
        let fd = unsafe { libc::ioctl(self.fd.as_raw_fd(), SIOCGSKNS) };
        owned(fd.into())
    }

    /// The link that has this name, or has it as an alternative one; without one ENODEV.
    pub(crate) fn link_named(&self, name: &str) -> Result<Link, Errno> {
        self.get_link(Request::get_link_named(name))
    }

    pub(crate) fn link(&self, index: i32) -> Result<Link, Errno> {
        self.get_link(Request::get_link(index))
    }

    /// All addresses of a link.
    pub(crate) fn addresses(&self, of: &Link) -> Result<Vec<Address>, Errno> {
        for _ in 0..TRIES {
            let (mut found, mut whole) = (Vec::new(), true);
            self.ask(Request::list_addresses(), |message| {
                whole &= message.flags & flag::INTERRUPTED == 0;
                if message.kind == kind::NEW_ADDRESS {
                    found.extend(Address::read(message.body, of)?);
                }
                Ok(())
            })?;
            if whole {
                return Ok(found);
            }
        }
        Err(Errno::EAGAIN)
    }

    /// Into another namespace, where it gets this name. It is down afterwards, and has no address.
    pub(crate) fn move_link(
        &self,
        index: i32,
        name: &str,
        to: BorrowedFd<'_>,
    ) -> Result<(), Errno> {
        self.tell(Request::move_link(index, name, to.as_raw_fd()))
    }

    /// With a `%d` in the name the kernel makes it.
    pub(crate) fn rename(&self, index: i32, name: &str) -> Result<(), Errno> {
        self.tell(Request::rename(index, name))
    }

    pub(crate) fn set_up(&self, index: i32) -> Result<(), Errno> {
        self.tell(Request::set_up(index))
    }

    pub(crate) fn add_address(&self, to: &Link, address: &Address) -> Result<(), Errno> {
        self.tell(Request::add_address(to.index, &to.name, address))
    }

    fn get_link(&self, request: Request) -> Result<Link, Errno> {
        let mut found = None;
        self.ask(request, |message| {
            if message.kind == kind::NEW_LINK {
                found = Some(Link::read(message.body)?);
            }
            Ok(())
        })?;
        found.ok_or(Errno::EBADMSG)
    }

    fn tell(&self, request: Request) -> Result<(), Errno> {
        self.ask(request, |_| Ok(()))
    }

    /// Sends a request and hands on each message of its answer, up to its last.
    fn ask(
        &self,
        request: Request,
        mut take: impl FnMut(&Message<'_>) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        let sequence = self.sequence.get().wrapping_add(1);
        self.sequence.set(sequence);
        // The address matters: of a message with one the kernel judges by who sends it. Without, who made the
        // socket needs the rights as well, and root of a user namespace has none over the host's.
        let kernel = NetlinkAddr::new(KERNEL, 0);
        let bytes = request.finish(sequence);
        while let Err(errno) = sendto(self.fd.as_raw_fd(), &bytes, &kernel, MsgFlags::empty()) {
            if errno != Errno::EINTR {
                return Err(errno);
            }
        }
        let deadline = Instant::now() + DEADLINE;
        let mut buffer = vec![0; BUFFER];
        loop {
            let length = self.receive(&mut buffer, deadline)?;
            for message in message::messages(&buffer[..length]) {
                let message = message?;
                // Of a request before this one, which was given up.
                if message.sequence != sequence {
                    continue;
                }
                match message.kind {
                    kind::ERROR | kind::DONE => return message.outcome(),
                    _ => take(&message)?,
                }
            }
        }
    }

    /// What the kernel sends next. Others can send to this socket too, if they have rights in its namespace.
    fn receive(&self, buffer: &mut [u8], deadline: Instant) -> Result<usize, Errno> {
        while Instant::now() < deadline {
            if poll_any(&[self.fd.as_fd()], Some(deadline))? != [true] {
                break;
            }
            let (mut slices, flags) = ([IoSliceMut::new(buffer)], MsgFlags::MSG_DONTWAIT);
            match recvmsg::<NetlinkAddr>(self.fd.as_raw_fd(), &mut slices, None, flags) {
                Ok(came) if came.address.is_none_or(|from| from.pid() != KERNEL) => {}
                Ok(came) if came.flags.contains(MsgFlags::MSG_TRUNC) => {
                    return Err(Errno::EMSGSIZE);
                }
                Ok(came) => return Ok(came.bytes),
                Err(Errno::EINTR | Errno::EAGAIN) => {}
                Err(errno) => return Err(errno),
            }
        }
        Err(Errno::ETIMEDOUT)
    }
}
