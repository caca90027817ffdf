//! Frames and descriptors over Unix sockets.
#![allow(unsafe_code)]

use super::fd::proc_path;
use crate::wire::{FRAME_SIZE, Frame};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat};
use nix::sys::socket::sockopt::SendTimeout;
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, Shutdown, SockFlag, SockType,
    UnixAddr, bind, connect, recv, recvmsg, sendmsg, setsockopt, shutdown, socket, socketpair,
};
use nix::sys::stat::{FchmodatFlags, Mode, SFlag, fchmodat, fstat};
use nix::sys::time::{TimeVal, TimeValLike};
use nix::unistd::{UnlinkatFlags, unlinkat};
use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;

/// Two connected ends that keep the bounds of messages, close-on-exec.
pub(crate) fn pair() -> Result<(OwnedFd, OwnedFd), Errno> {
    socketpair(
        AddressFamily::Unix,
        SockType::SeqPacket,
        None,
        SockFlag::SOCK_CLOEXEC,
    )
}

/// Sends one frame, with descriptors.
pub(crate) fn send(
    socket: BorrowedFd<'_>,
    frame: Frame,
    descriptors: &[BorrowedFd<'_>],
) -> Result<(), Errno> {
    let bytes = frame.to_bytes();
    let raw: Vec<_> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&raw)];
    let control = if raw.is_empty() { &[] } else { &rights[..] };
    sendmsg::<()>(
        socket.as_raw_fd(),
        &[IoSlice::new(&bytes)],
        control,
        MsgFlags::MSG_NOSIGNAL,
        None,
    )
    .map(drop)
}

/// Sends one message without descriptors.
pub(crate) fn send_message(socket: BorrowedFd<'_>, bytes: &[u8]) -> Result<(), Errno> {
    let slices = [IoSlice::new(bytes)];
    sendmsg::<()>(
        socket.as_raw_fd(),
        &slices,
        &[],
        MsgFlags::MSG_NOSIGNAL,
        None,
    )
    .map(drop)
}

/// Connects to a listening stream socket, whatever the length of its path; no call on it takes longer than
/// `deadline`. unix(7)
pub(crate) fn connect_stream(path: &str, deadline: Duration) -> Result<OwnedFd, Errno> {
    let there = open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?;
    let flags = SockFlag::SOCK_CLOEXEC;
    let peer = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    let seconds = TimeVal::seconds(deadline.as_secs().cast_signed());
    setsockopt(&peer, SendTimeout, &seconds)?;
    let address = UnixAddr::new(&*format!("/proc/self/fd/{}", there.as_raw_fd()))?;
    connect(peer.as_raw_fd(), &address)?;
    Ok(peer)
}

/// Sends all bytes over a stream; the descriptor goes with the first.
pub(crate) fn send_all(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    descriptor: BorrowedFd<'_>,
) -> Result<(), Errno> {
    let raw = [descriptor.as_raw_fd()];
    let mut control = &[ControlMessage::ScmRights(&raw)][..];
    let mut rest = bytes;
    while !rest.is_empty() {
        let slices = [IoSlice::new(rest)];
        let flags = MsgFlags::MSG_NOSIGNAL;
        match sendmsg::<()>(socket.as_raw_fd(), &slices, control, flags, None) {
            Ok(count) => rest = &rest[count..],
            Err(Errno::EINTR) => continue,
            Err(errno) => return Err(errno),
        }
        control = &[];
    }
    Ok(())
}

/// Nothing more will be sent: the peer reads end of file. shutdown(2)
pub(crate) fn end(socket: BorrowedFd<'_>) -> Result<(), Errno> {
    shutdown(socket.as_raw_fd(), Shutdown::Write)
}

/// What came over a socket.
#[derive(Debug)]
pub(crate) enum Received {
    Frame(Frame, Option<OwnedFd>),
    EndOfFile,
    /// Another length or version: not our init.
    Garbage,
}

/// Receives one frame and the descriptor that may come with it.
pub(crate) fn receive(socket: BorrowedFd<'_>) -> Result<Received, Errno> {
    let mut bytes = [0u8; FRAME_SIZE];
    let (count, descriptor) = receive_bytes(socket, &mut bytes)?;
    Ok(match (count, Frame::from_bytes(&bytes[..count])) {
        (0, _) => Received::EndOfFile,
        (_, Some(frame)) => Received::Frame(frame, descriptor),
        (_, None) => Received::Garbage,
    })
}

/// Receives one message and the first descriptor that comes with it.
pub(crate) fn receive_bytes(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
) -> Result<(usize, Option<OwnedFd>), Errno> {
    let mut space = nix::cmsg_space!([std::os::fd::RawFd; 1]);
    let mut slices = [IoSliceMut::new(buffer)];
    let message = loop {
        match recvmsg::<()>(
            socket.as_raw_fd(),
            &mut slices,
            Some(&mut space),
            MsgFlags::MSG_CMSG_CLOEXEC,
        ) {
            Err(Errno::EINTR) => {}
            Err(Errno::ECONNRESET) => return Ok((0, None)), // the peer died with our message unread
            other => break other?,
        }
    };
    let mut descriptor = None;
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(fds) = control {
            for fd in fds {
                // SAFETY: the kernel has just installed this descriptor for us; nobody else knows it.
                descriptor.get_or_insert(unsafe { OwnedFd::from_raw_fd(fd) });
            }
        }
    }
    Ok((message.bytes, descriptor))
}

/// A datagram socket with this name in a directory, instead of one that is there; everybody may send to it. unix(7)
pub(crate) fn bind_datagram(directory: BorrowedFd<'_>, name: &str) -> Result<OwnedFd, Errno> {
    match unlinkat(directory, name, UnlinkatFlags::NoRemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => {}
        Err(errno) => return Err(errno),
    }
    let flags = SockFlag::SOCK_CLOEXEC;
    let socket = socket(AddressFamily::Unix, SockType::Datagram, flags, None)?;
    // sun_path has 108 bytes: the address goes by the descriptor.
    let path = format!("{}/{name}", proc_path(directory.as_raw_fd()));
    bind(socket.as_raw_fd(), &UnixAddr::new(path.as_str())?)?;
    // bind(2) heeds the caller's umask. By a descriptor: somebody else may write to the directory, and a link that
    // had taken the name would lead us to any file.
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let bound = openat(directory, name, flags, Mode::empty())?;
    if fstat(&bound)?.st_mode & SFlag::S_IFMT.bits() != SFlag::S_IFSOCK.bits() {
        return Err(Errno::ENOTSOCK);
    }
    let path = proc_path(bound.as_raw_fd());
    let everybody = Mode::from_bits_truncate(0o666);
    let follow = FchmodatFlags::FollowSymlink;
    fchmodat(nix::fcntl::AT_FDCWD, path.as_str(), everybody, follow)?;
    Ok(socket)
}

/// Connects to a datagram socket at a path of any length, or, behind an `@`, without one; no send takes longer than
/// `deadline`. unix(7)
pub(crate) fn connect_datagram(address: &str, deadline: Duration) -> Result<OwnedFd, Errno> {
    let flags = SockFlag::SOCK_CLOEXEC;
    let peer = socket(AddressFamily::Unix, SockType::Datagram, flags, None)?;
    let seconds = TimeVal::seconds(deadline.as_secs().cast_signed());
    setsockopt(&peer, SendTimeout, &seconds)?;
    if let Some(name) = address.strip_prefix('@') {
        connect(peer.as_raw_fd(), &UnixAddr::new_abstract(name.as_bytes())?)?;
        return Ok(peer);
    }
    let there = open(address, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?;
    let path = proc_path(there.as_raw_fd());
    connect(peer.as_raw_fd(), &UnixAddr::new(path.as_str())?)?;
    Ok(peer)
}

/// Sends one datagram to where the socket is connected to, with a descriptor.
pub(crate) fn send_datagram(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    descriptor: Option<BorrowedFd<'_>>,
) -> Result<(), Errno> {
    let raw: Vec<_> = descriptor.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&raw)];
    let control = if raw.is_empty() { &[] } else { &rights[..] };
    let flags = MsgFlags::MSG_NOSIGNAL;
    loop {
        let slices = [IoSlice::new(bytes)];
        match sendmsg::<()>(socket.as_raw_fd(), &slices, control, flags, None) {
            Err(Errno::EINTR) => {}
            other => return other.map(drop),
        }
    }
}

/// The next datagram, if there is one; how long it was, which may be more than there was room for. Descriptors that
/// came with it are closed by the kernel, since we make no room for them.
pub(crate) fn receive_datagram(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
) -> Result<Option<usize>, Errno> {
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_TRUNC;
    loop {
        match recv(socket.as_raw_fd(), buffer, flags) {
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => return Ok(None),
            other => return other.map(Some),
        }
    }
}
