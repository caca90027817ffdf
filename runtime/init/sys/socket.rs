//! Sockets and pipes.

use super::*;
use alloc::vec::Vec;

/// A datagram socket for interface requests.
pub(crate) fn inet_socket() -> Result<OwnedFd> {
    const AF_INET: usize = 2;
    const SOCK_DGRAM_CLOEXEC: usize = 2 | 0o2_000_000;
    syscall!(nr::SOCKET, AF_INET, SOCK_DGRAM_CLOEXEC, 0usize).map(OwnedFd::new)
}

/// A socket for requests about links and addresses. rtnetlink(7)
pub(crate) fn netlink_socket() -> Result<OwnedFd> {
    const AF_NETLINK: usize = 16;
    const SOCK_RAW_CLOEXEC: usize = 3 | 0o2_000_000;
    const NETLINK_ROUTE: usize = 0;
    syscall!(nr::SOCKET, AF_NETLINK, SOCK_RAW_CLOEXEC, NETLINK_ROUTE).map(OwnedFd::new)
}

#[repr(C)]
struct IoVec {
    base: *const u8,
    len: usize,
}

#[repr(C)]
struct MsgHdr {
    name: *const u8,
    name_len: u32,
    iov: *mut IoVec,
    iov_len: usize,
    control: *mut u8,
    control_len: usize,
    flags: i32,
}

/// A control message that carries descriptors, as many as the kernel lets one carry (SCM_MAX_FD, 253). cmsg(3)
#[repr(C, align(8))]
struct Rights {
    len: usize,
    level: i32,
    kind: i32,
    fds: [i32; 254],
}

const SOL_SOCKET: i32 = 1;

const SCM_RIGHTS: i32 = 1;

/// Bytes of a control message before its descriptors.
const RIGHTS_HEAD: usize = 16;

/// Sends `bytes` with at most one descriptor. sendmsg(2)
pub(crate) fn send(socket: Fd, bytes: &[u8], descriptor: Option<Fd>) -> Result<()> {
    const MSG_NOSIGNAL: usize = 0x4000;
    let mut rights = Rights {
        len: RIGHTS_HEAD + 4,
        level: SOL_SOCKET,
        kind: SCM_RIGHTS,
        fds: [descriptor.map_or(-1, |fd| fd.0); 254],
    };
    let mut iov = IoVec {
        base: bytes.as_ptr(),
        len: bytes.len(),
    };
    let message = MsgHdr {
        name: core::ptr::null(),
        name_len: 0,
        iov: &raw mut iov,
        iov_len: 1,
        control: (&raw mut rights).cast(),
        control_len: if descriptor.is_some() {
            RIGHTS_HEAD + 8
        } else {
            0
        },
        flags: 0,
    };
    loop {
        match syscall!(nr::SENDMSG, socket, &raw const message, MSG_NOSIGNAL) {
            Err(EINTR) => {}
            other => return other.map(drop),
        }
    }
}

/// Receives a message and the descriptors that come with it; 0 bytes at end of file. recvmsg(2)
pub(crate) fn receive(socket: Fd, buffer: &mut [u8]) -> Result<(usize, Vec<OwnedFd>)> {
    const MSG_CMSG_CLOEXEC: usize = 0x4000_0000;
    let mut rights = Rights {
        len: 0,
        level: 0,
        kind: 0,
        fds: [-1; 254],
    };
    let mut iov = IoVec {
        base: buffer.as_mut_ptr(),
        len: buffer.len(),
    };
    let mut message = MsgHdr {
        name: core::ptr::null(),
        name_len: 0,
        iov: &raw mut iov,
        iov_len: 1,
        control: (&raw mut rights).cast(),
        control_len: size_of::<Rights>(),
        flags: 0,
    };
    let count = loop {
        match syscall!(nr::RECVMSG, socket, &raw mut message, MSG_CMSG_CLOEXEC) {
            Err(EINTR) => {}
            other => break other?,
        }
    };
    let came = message.control_len >= RIGHTS_HEAD
        && rights.level == SOL_SOCKET
        && rights.kind == SCM_RIGHTS;
    let number = if came {
        rights.len.saturating_sub(RIGHTS_HEAD) / size_of::<i32>()
    } else {
        0
    };
    let descriptors = rights.fds.iter().take(number);
    Ok((count, descriptors.map(|fd| OwnedFd(Fd(*fd))).collect()))
}

pub(crate) fn listen(socket: Fd, backlog: usize) -> Result<()> {
    syscall!(nr::LISTEN, socket, backlog).map(drop)
}

pub(crate) fn accept(socket: Fd) -> Result<OwnedFd> {
    syscall!(nr::ACCEPT4, socket, 0usize, 0usize, O_CLOEXEC).map(OwnedFd::new)
}

/// The user id behind the other end, in this process's user namespace. unix(7)
pub(crate) fn peer_uid(socket: Fd) -> Result<u32> {
    const SO_PEERCRED: usize = 17;
    let mut credentials = [0u32; 3]; // pid, uid, gid
    let mut len = 12u32;
    syscall!(
        nr::GETSOCKOPT,
        socket,
        SOL_SOCKET,
        SO_PEERCRED,
        credentials.as_mut_ptr(),
        &raw mut len
    )?;
    Ok(credentials[1])
}

/// Both ends close-on-exec: read, write. pipe2(2)
pub(crate) fn pipe() -> Result<(OwnedFd, OwnedFd)> {
    let mut ends = [0i32; 2];
    syscall!(nr::PIPE2, ends.as_mut_ptr(), O_CLOEXEC)?;
    Ok((OwnedFd(Fd(ends[0])), OwnedFd(Fd(ends[1]))))
}
