//! Devices move into the container's network namespace, and back if the container comes to nothing.
//! docs/decisions/0010-netdevices.md
//!
//! The host does it all, with two sockets: its own, and one that init made in the container's namespace. What
//! that socket holds outlives init, so that a device can be fetched back from a container that is dead.

use crate::config::NetDevice;
use crate::error::{Error, Result};
use crate::sys::netlink::{Address, Link, Socket};
use nix::errno::Errno;
use std::hash::{BuildHasher, Hasher};
use std::os::fd::{AsFd, OwnedFd};

/// The devices of one launch.
#[derive(Debug)]
pub(crate) struct Moves {
    here: Socket,
    there: Socket,
    namespace_here: OwnedFd,
    namespace_there: OwnedFd,
    done: Vec<Moved>,
}

/// A device that is no longer the host's.
#[derive(Debug)]
struct Moved {
    /// Its place in config.json.
    place: String,
    /// As it was on the host.
    before: Link,
    addresses: Vec<Address>,
    /// Its number in the container.
    index: i32,
}

impl Moves {
    pub(super) fn new(there: OwnedFd) -> Result<Moves> {
        let (here, there) = (Socket::open(), Socket::from(there));
        let here = here.map_err(|errno| Error::system("cannot open a netlink socket", errno))?;
        // The kernel asks for the same right as for the moves: CAP_NET_ADMIN over the namespace.
        let namespace = |socket: &Socket, what: &str| {
            let namespace = socket.namespace();
            namespace
                .map_err(|errno| Error::system(format!("cannot {what} network namespace"), errno))
        };
        Ok(Moves {
            namespace_here: namespace(&here, "take devices out of the runtime's")?,
            namespace_there: namespace(&there, "put devices into the container's")?,
            here,
            there,
            done: Vec::new(),
        })
    }

    /// Moves a device, with the addresses that move, and sets it up. What of it is done when it fails, `undo` knows.
    pub(super) fn go(&mut self, device: &NetDevice) -> Result<()> {
        let host = &device.host;
        let before = self.here.link_named(host).map_err(|errno| {
            let what = format!("cannot find {host} in the runtime's network namespace");
            Error::system(what, errno)
        })?;
        if before.name != *host {
            let message = format!("is an alternative name of {}", before.name);
            return Err(Error::config(device.place(), message));
        }
        let addresses = self.here.addresses(&before);
        let addresses = addresses.map_err(|errno| {
            Error::system(format!("cannot list the addresses of {host}"), errno)
        })?;
        // The kernel would move it first and then find the name taken.
        if !device.is_template() {
            self.is_free(device)?;
        }
        let index = self.cross(device, before, addresses)?;
        let refused = |what: &str| {
            let what = format!("cannot {what} {host} in the container's network namespace");
            move |errno: Errno| Error::system(what, errno)
        };
        if device.is_template() {
            let named = self.there.rename(index, &device.name);
            named.map_err(refused(&format!("make a name from {} for", device.name)))?;
        }
        let link = self.there.link(index).map_err(refused("find"))?;
        let addresses = self.done.last().map(|moved| &moved.addresses);
        let addresses = addresses.into_iter().flatten();
        for address in addresses.filter(|address| address.moves()) {
            let added = self.there.add_address(&link, address);
            added.map_err(refused("add an address to"))?;
        }
        self.there.set_up(index).map_err(refused("set up"))
    }

    fn is_free(&self, device: &NetDevice) -> Result<()> {
        let name = &device.name;
        match self.there.link_named(name) {
            Err(Errno::ENODEV) => Ok(()),
            Ok(_) => {
                let what = format!("{name} is in the container's network namespace already");
                Err(Error::system(what, Errno::EEXIST).at(format!("{}.name", device.place())))
            }
            Err(errno) => {
                let what = format!("cannot look for {name} in the container's network namespace");
                Err(Error::system(what, errno))
            }
        }
    }

    /// Its number in the container. The kernel takes the device down, drops its addresses, moves it under its old
    /// name if that is free there, and renames it.
    fn cross(&mut self, device: &NetDevice, before: Link, addresses: Vec<Address>) -> Result<i32> {
        // By its name it is found there, since its number may be another. A template's name can't be known; and the
        // kernel would count the name that the device comes with among the taken ones: eth0 as eth%d would be eth1.
        let arrival = if device.is_template() {
            passing_name()
        } else {
            device.name.clone()
        };
        let was_free = self.there.link_named(&before.name) == Err(Errno::ENODEV);
        let to = self.namespace_there.as_fd();
        let sent = self.here.move_link(before.index, &arrival, to);
        let crossed = match sent {
            Ok(()) => self.there.link_named(&arrival),
            // Gone before it could be moved: what has its name there is another.
            Err(Errno::ENODEV) => Err(Errno::ENODEV),
            // Moved, and then not renamed: it has its old name there, which it can have only if nobody had it before.
            Err(_) if was_free && self.here.link(before.index) == Err(Errno::ENODEV) => {
                self.there.link_named(&before.name)
            }
            Err(errno) => Err(errno),
        };
        let refused = |errno| {
            let (host, name) = (&device.host, &device.name);
            let what = format!("cannot move {host} to the container as {name}");
            Error::system(what, sent.err().unwrap_or(errno))
        };
        let index = crossed.map_err(refused)?.index;
        self.done.push(Moved {
            place: device.place(),
            before,
            addresses,
            index,
        });
        match sent {
            Ok(()) => Ok(index),
            Err(errno) => Err(refused(errno)),
        }
    }

    /// Moves them all back, the last one first. What is refused is told; the others are moved all the same.
    pub(super) fn undo(&self) -> Vec<Error> {
        let back = self.done.iter().rev().map(|moved| self.back(moved));
        back.filter_map(Result::err).collect()
    }

    fn back(&self, moved: &Moved) -> Result<()> {
        let name = &moved.before.name;
        let refused = |what: &str| {
            let what = format!("cannot {what} {name}");
            move |errno: Errno| Error::system(what, errno).at(&moved.place)
        };
        let to = self.namespace_here.as_fd();
        let sent = self.there.move_link(moved.index, name, to);
        sent.map_err(refused("move back"))?;
        let link = self.here.link_named(name).map_err(refused("find again"))?;
        let mut worst = Ok(());
        for address in moved.addresses.iter().filter(|address| address.returns()) {
            match self.here.add_address(&link, address) {
                // The kernel had it already: it makes some of them itself.
                Ok(()) | Err(Errno::EEXIST) => {}
                Err(errno) => worst = Err(errno),
            }
        }
        if moved.before.up {
            self.here.set_up(link.index).map_err(refused("set up"))?;
        }
        worst.map_err(refused("give back an address to"))
    }
}

/// A name that no device has, until it gets its own.
fn passing_name() -> String {
    // std's keys are random, and different each time.
    let random = std::hash::RandomState::new().build_hasher().finish();
    format!("ls{:012x}", random >> 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passing_names_are_names() {
        let names = [passing_name(), passing_name()];
        assert_ne!(names[0], names[1]);
        assert_eq!(names.map(|name| name.len()), [14, 14]);
    }
}
