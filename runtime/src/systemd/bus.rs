//! A connection to systemd: one socket, no thread, and one deadline for all that is done on it.
//!
//! Calls are queued and leave together with the next wait: what a bus wants first, the match and the call
//! itself are one round trip.

use super::wire::{self, Arguments, Call, Message};
use crate::sys::socket;
use crate::{Error, ErrorKind};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, recv, send};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

/// The end of the socket of a manager itself, which is no bus: there is nobody to greet and nothing to subscribe to.
const DIRECT: &str = "/systemd/private";

/// What the peer may say before messages begin.
const LONGEST_LINE: usize = 4096;

pub(super) struct Bus {
    socket: OwnedFd,
    address: String,
    direct: bool,
    deadline: Instant,
    serial: u32,
    out: Vec<u8>,
    input: Vec<u8>,
    /// What came while an answer was waited for.
    signals: Vec<Message>,
}

impl Bus {
    /// The first of the addresses that somebody listens on. `unix:path=A;unix:path=B`, dbus-specification,
    /// "Server Addresses".
    pub(super) fn connect(addresses: &str, deadline: Instant) -> Result<Bus, Error> {
        let mut failed = None;
        for address in addresses.split(';').filter(|address| !address.is_empty()) {
            let Some(path) = path_of(address) else {
                failed.get_or_insert((address, Errno::EAFNOSUPPORT));
                continue;
            };
            let left = deadline.saturating_duration_since(Instant::now());
            // Of zero seconds the kernel would make an eternity.
            match socket::connect_stream(&path, left.max(Duration::from_secs(1))) {
                Ok(socket) => {
                    let mut bus = Bus {
                        socket,
                        address: address.to_owned(),
                        direct: path.ends_with(DIRECT),
                        deadline,
                        serial: 0,
                        out: Vec::new(),
                        input: Vec::new(),
                        signals: Vec::new(),
                    };
                    bus.greet()?;
                    return Ok(bus);
                }
                Err(errno) => failed = Some((address, errno)),
            }
            if Instant::now() >= deadline {
                break;
            }
        }
        let (address, errno) = failed.unwrap_or((addresses, Errno::EDESTADDRREQ));
        Err(Error::system(
            format!("cannot reach systemd at {address}"),
            errno,
        ))
    }

    /// What follows must not come along: a manager doesn't look at it before more comes. systemd 252
    fn greet(&mut self) -> Result<(), Error> {
        // Who we are the socket says: in a user namespace our own number would be another one.
        self.out.extend(b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n");
        self.flush()?;
        while !self.greeting()? {}
        if !self.direct {
            self.ask_bus("Hello", Arguments::default());
        }
        Ok(())
    }

    fn ask_bus(&mut self, member: &'static str, arguments: Arguments) {
        self.call(&Call {
            destination: "org.freedesktop.DBus",
            path: "/org/freedesktop/DBus",
            interface: "org.freedesktop.DBus",
            member,
            arguments,
        });
    }

    /// Queues a call; its number is what the answer refers to.
    pub(super) fn call(&mut self, call: &Call) -> u32 {
        self.serial += 1;
        self.out.extend(call.encode(self.serial));
        self.serial
    }

    /// Queues a request for signals. A manager itself sends all of them anyway.
    pub(super) fn subscribe(&mut self, rule: &str) {
        if !self.direct {
            self.ask_bus("AddMatch", Arguments::default().text(rule));
        }
    }

    /// Waits for the answer to a call, an error perhaps.
    pub(super) fn answer(&mut self, serial: u32) -> Result<Message, Error> {
        loop {
            let message = self.receive()?;
            match message.kind {
                wire::METHOD_RETURN | wire::ERROR if message.answers == serial => {
                    return Ok(message);
                }
                // Of a greeting or a match, or of something else that nobody waits for.
                wire::ERROR if message.answers < serial => {
                    return Err(self.refused(&message));
                }
                wire::SIGNAL => self.signals.push(message),
                _ => {}
            }
        }
    }

    /// Waits for a signal, or takes one that came already.
    pub(super) fn signal(&mut self) -> Result<Message, Error> {
        loop {
            if !self.signals.is_empty() {
                return Ok(self.signals.remove(0));
            }
            let message = self.receive()?;
            if message.kind == wire::SIGNAL {
                return Ok(message);
            }
        }
    }

    pub(super) fn refused(&self, message: &Message) -> Error {
        let text = format!(
            "systemd refused at {}: {} ({})",
            self.address,
            message.text(),
            message.error
        );
        Error::new(ErrorKind::System, text)
    }

    pub(super) fn malformed(&self) -> Error {
        let text = format!("{} does not speak D-Bus as systemd does", self.address);
        Error::new(ErrorKind::System, text)
    }

    fn receive(&mut self) -> Result<Message, Error> {
        self.flush()?;
        loop {
            match wire::decode(&self.input) {
                Ok(Some((message, length))) => {
                    self.input.drain(..length);
                    return Ok(message);
                }
                Ok(None) => self.read()?,
                Err(wire::Malformed) => return Err(self.malformed()),
            }
        }
    }

    /// One line of the peer's before messages begin: is it the last? dbus-specification, "Authentication Protocol".
    fn greeting(&mut self) -> Result<bool, Error> {
        let Some(end) = self.input.windows(2).position(|two| two == b"\r\n") else {
            if self.input.len() > LONGEST_LINE {
                return Err(self.malformed());
            }
            self.read()?;
            return Ok(false);
        };
        let line: Vec<u8> = self.input.drain(..end + 2).collect();
        match line.split(|byte| b" \r".contains(byte)).next() {
            Some(b"DATA") => Ok(false),
            Some(b"OK") => Ok(true),
            Some(b"REJECTED") => {
                let text = format!("systemd at {} does not let this user in", self.address);
                Err(Error::new(ErrorKind::System, text).with_errno(Errno::EACCES))
            }
            _ => Err(self.malformed()),
        }
    }

    fn flush(&mut self) -> Result<(), Error> {
        let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
        while !self.out.is_empty() {
            match send(self.socket.as_raw_fd(), &self.out, flags) {
                Ok(count) => drop(self.out.drain(..count)),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => self.wait(PollFlags::POLLOUT)?,
                Err(errno) => return Err(self.lost(errno)),
            }
        }
        Ok(())
    }

    fn read(&mut self) -> Result<(), Error> {
        let mut buffer = [0; 4096];
        loop {
            match recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
                Ok(0) => return Err(self.lost(Errno::ECONNRESET)),
                Ok(count) => {
                    self.input.extend(&buffer[..count]);
                    return Ok(());
                }
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => self.wait(PollFlags::POLLIN)?,
                Err(errno) => return Err(self.lost(errno)),
            }
        }
    }

    fn wait(&self, event: PollFlags) -> Result<(), Error> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            let text = format!("systemd at {} did not answer in time", self.address);
            return Err(Error::new(ErrorKind::Timeout, text));
        }
        // Rounded up, or the last millisecond would be spent spinning.
        let timeout =
            PollTimeout::try_from(left + Duration::from_micros(999)).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(self.socket.as_fd(), event)], timeout) {
            Err(errno) if errno != Errno::EINTR => Err(self.lost(errno)),
            _ => Ok(()), // whoever waits tries again, and sees the deadline here
        }
    }

    fn lost(&self, errno: Errno) -> Error {
        Error::system(format!("cannot talk to systemd at {}", self.address), errno)
    }
}

/// The path of `unix:path=PATH,guid=...`, where `%XX` is a byte.
fn path_of(address: &str) -> Option<String> {
    let pairs = address.strip_prefix("unix:")?.split(',');
    let path = pairs.filter_map(|pair| pair.strip_prefix("path=")).next()?;
    let mut bytes = Vec::with_capacity(path.len());
    let mut parts = path.split('%');
    bytes.extend(parts.next()?.bytes());
    for part in parts {
        bytes.push(u8::from_str_radix(part.get(..2)?, 16).ok()?);
        bytes.extend(part[2..].bytes());
    }
    String::from_utf8(bytes)
        .ok()
        .filter(|path| path.starts_with('/'))
}

#[cfg(test)]
mod tests;
