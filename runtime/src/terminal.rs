//! The caller's terminal in front of a container's: bytes both ways, raw mode,
//! and its size. For [`Foreground`](crate::foreground::Foreground) only.

use crate::error::{Error, Result};
use crate::sys::{fd, window};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::termios::{self, SetArg, Termios};
use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd};

/// Bytes on their way, one way. No more is read than can be put somewhere.
struct Channel<'f> {
    from: Option<BorrowedFd<'f>>,
    to: BorrowedFd<'f>,
    pending: VecDeque<u8>,
}

const MOST: usize = 4096;

impl<'f> Channel<'f> {
    fn new(from: Option<BorrowedFd<'f>>, to: BorrowedFd<'f>) -> Channel<'f> {
        Channel {
            from,
            to,
            pending: VecDeque::new(),
        }
    }

    /// What to wait for: room for what is pending, else more.
    fn wants(&self) -> Option<PollFd<'f>> {
        if self.pending.is_empty() {
            self.from.map(|from| PollFd::new(from, PollFlags::POLLIN))
        } else {
            Some(PollFd::new(self.to, PollFlags::POLLOUT))
        }
    }

    /// Moves what can be moved without waiting, after the descriptor waited for is ready.
    fn step(&mut self) -> Result<()> {
        if self.pending.is_empty() {
            return self.fill();
        }
        match nix::unistd::write(self.to, self.pending.make_contiguous()) {
            Ok(count) => drop(self.pending.drain(..count)),
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            // Nobody reads any more: what is left is for nobody.
            Err(_) => self.close(),
        }
        Ok(())
    }

    fn fill(&mut self) -> Result<()> {
        let Some(from) = self.from else { return Ok(()) };
        let mut buffer = [0; MOST];
        match nix::unistd::read(from, &mut buffer) {
            Ok(0) | Err(Errno::EIO) => self.from = None, // EIO: the last holder of the other side is gone
            Ok(count) => self.pending.extend(&buffer[..count]),
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(errno) => return Err(Error::system("cannot read from a terminal", errno)),
        }
        Ok(())
    }

    fn close(&mut self) {
        self.pending.clear();
        self.from = None;
    }

    fn is_done(&self) -> bool {
        self.from.is_none() && self.pending.is_empty()
    }
}

/// The caller's stdin and stdout, and a container's terminal by its master.
pub(crate) struct Terminal<'f> {
    master: BorrowedFd<'f>,
    input: Channel<'f>,
    output: Channel<'f>,
    /// The caller's terminal as it was; none if stdin isn't one.
    before: Option<Termios>,
}

impl<'f> Terminal<'f> {
    /// Puts the caller's terminal into raw mode: the container's has its own modes.
    pub(crate) fn enter(master: BorrowedFd<'f>) -> Result<Terminal<'f>> {
        let refused = |errno| Error::system("cannot set up the terminal", errno);
        let closed = || Error::system("cannot set up the terminal", Errno::EBADF);
        let stdin = fd::stdio(0).ok_or_else(closed)?;
        let stdout = fd::stdio(1).ok_or_else(closed)?;
        let flags = nix::fcntl::OFlag::O_NONBLOCK | nix::fcntl::OFlag::O_RDWR;
        nix::fcntl::fcntl(master, nix::fcntl::FcntlArg::F_SETFL(flags)).map_err(refused)?;
        let before = match termios::tcgetattr(stdin) {
            Ok(before) => {
                let mut raw = before.clone();
                termios::cfmakeraw(&mut raw);
                termios::tcsetattr(stdin, SetArg::TCSANOW, &raw).map_err(refused)?;
                Some(before)
            }
            Err(_) => None, // a pipe or a file: there is nothing to set
        };
        let terminal = Terminal {
            master,
            input: Channel::new(Some(stdin), master),
            output: Channel::new(Some(master), stdout),
            before,
        };
        terminal.resize();
        Ok(terminal)
    }

    /// The container's terminal gets the size of the caller's.
    pub(crate) fn resize(&self) {
        let Some(stdin) = fd::stdio(0).filter(|_| self.before.is_some()) else {
            return;
        };
        window::copy_size(stdin, self.master);
    }

    /// Waits for either of the others to be readable, and moves bytes meanwhile; which of them is.
    pub(crate) fn relay(&mut self, others: [BorrowedFd<'_>; 2]) -> Result<[bool; 2]> {
        let refused = |errno| Error::system("cannot wait for the terminal", errno);
        let [first, second] = others;
        let wants = [self.input.wants(), self.output.wants()];
        let mut set = vec![
            PollFd::new(first, PollFlags::POLLIN),
            PollFd::new(second, PollFlags::POLLIN),
        ];
        set.extend(wants.iter().flatten().cloned());
        match poll(&mut set, PollTimeout::NONE) {
            Err(Errno::EINTR) => return Ok([false, false]),
            polled => polled.map_err(refused)?,
        };
        let ready: Vec<bool> = set
            .iter()
            .map(|entry| entry.any().unwrap_or(false))
            .collect();
        let (mut channels, mut at) = ([&mut self.input, &mut self.output], 2);
        for (channel, want) in channels.iter_mut().zip(&wants) {
            if want.is_some() {
                if ready[at] {
                    channel.step()?;
                }
                at += 1;
            }
        }
        Ok([ready[0], ready[1]])
    }

    /// What the container wrote before it ended.
    pub(crate) fn drain(&mut self) -> Result<()> {
        while !self.output.is_done() {
            let Some(want) = self.output.wants() else {
                break;
            };
            let mut set = [want];
            // Somebody else may hold the terminal open: what is there now is what there is.
            let limit = PollTimeout::from(100u8);
            match poll(&mut set, limit) {
                Ok(0) => break,
                Ok(_) => self.output.step()?,
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(Error::system("cannot wait for the terminal", errno)),
            }
        }
        Ok(())
    }
}

impl Drop for Terminal<'_> {
    fn drop(&mut self) {
        if let (Some(before), Some(stdin)) = (&self.before, fd::stdio(0)) {
            let _ = termios::tcsetattr(stdin.as_fd(), SetArg::TCSADRAIN, before); // it was this terminal's mode before
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::{Read, Write};

    #[test]
    fn a_channel_holds_what_cannot_go_yet() {
        let (read, write) = nix::unistd::pipe().unwrap();
        let (out, into) = nix::unistd::pipe2(nix::fcntl::OFlag::O_NONBLOCK).unwrap();
        // Full but for nothing: the first write of the channel is refused.
        let mut filler = File::from(into.try_clone().unwrap());
        while filler.write(&[0; 4096]).is_ok() {}
        let mut source = File::from(write);
        source.write_all(b"hello").unwrap();
        let mut channel = Channel::new(Some(read.as_fd()), into.as_fd());
        channel.step().unwrap();
        channel.step().unwrap();
        assert_eq!(channel.pending, b"hello");
        let mut sink = File::from(out);
        let mut waste = vec![0; 1 << 20];
        let _ = sink.read(&mut waste).unwrap();
        channel.step().unwrap();
        assert!(channel.pending.is_empty());
        drop(source);
        channel.step().unwrap();
        assert!(channel.is_done());
    }
}
