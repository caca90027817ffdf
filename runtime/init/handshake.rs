//! Talking with the host: stage 1's second clone, sync points, READY and
//! COMMIT, the start socket (docs/decisions/0001-start-handshake.md).

use crate::program::{FRAME_SIZE, Frame, LATE, PAGE_SIZE, ResultPage, frame, phase};
use crate::run::{Failure, Init, Outcome};
use crate::sys::{self, Fd, OwnedFd};
use alloc::vec::Vec;

impl Init<'_> {
    /// Stage 1 makes init, tells the host, and is done. The child goes on with the next operation.
    pub(crate) fn second_clone(
        &mut self,
        flags: u64,
        cgroup: Option<u32>,
        clone3: bool,
    ) -> Outcome {
        let child = if clone3 {
            sys::clone3(flags, cgroup.map(|cgroup| self.descriptor(cgroup)))?
        } else {
            sys::clone_legacy(flags)?
        };
        let Some((pid, pidfd)) = child else {
            return Ok(());
        };
        let started = Frame {
            kind: frame::STARTED,
            step: 0,
            value: i32::try_from(pid).unwrap_or(-1),
        };
        sys::send(self.control, &started.to_bytes(), Some(pidfd.fd()))?;
        sys::exit(0)
    }

    fn say(&self, kind: u32, step: u32) -> Outcome {
        self.say_with(kind, step, None)
    }

    fn say_with(&self, kind: u32, step: u32, descriptor: Option<Fd>) -> Outcome {
        Ok(sys::send(
            self.control,
            &Frame {
                kind,
                step,
                value: 0,
            }
            .to_bytes(),
            descriptor,
        )?)
    }

    /// Waits for the host's word. The host's end means: undo, and nothing of init is worth keeping.
    fn hear(&self, kind: u32) -> Result<Vec<OwnedFd>, Failure> {
        let mut bytes = [0u8; FRAME_SIZE];
        match sys::receive(self.control, &mut bytes)? {
            (0, _) => sys::exit(1),
            (len, descriptors)
                if Frame::from_bytes(&bytes[..len]).is_some_and(|frame| frame.kind == kind) =>
            {
                Ok(descriptors)
            }
            _ => Err(sys::EIO.into()),
        }
    }

    /// The host went on while we were on our way: what it has opened.
    pub(crate) fn receive(&mut self, count: u32) -> Outcome {
        self.late = self.hear(frame::DESCRIPTORS)?;
        if self.late.len() == count as usize {
            Ok(())
        } else {
            Err(sys::EIO.into())
        }
    }

    /// What an operation names: a number that we have inherited, or one of those that came later.
    pub(crate) fn descriptor(&self, number: u32) -> Fd {
        match number.checked_sub(LATE) {
            None => Fd::from_wire(number),
            Some(index) => self.late.get(index as usize).map_or(Fd(-1), OwnedFd::fd),
        }
    }

    /// The host does its half of the step that the page names.
    pub(crate) fn sync(&mut self) -> Outcome {
        let step = self.step();
        self.say(frame::SYNC, step)?;
        self.hear(frame::GO).map(drop)
    }

    /// No thread of the host's may enter this network namespace, and a socket stays in the one that it was made in.
    pub(crate) fn netlink_socket(&mut self) -> Outcome {
        let socket = sys::netlink_socket()?;
        self.say_with(frame::SYNC, self.step(), Some(socket.fd()))?;
        self.hear(frame::GO).map(drop)
    }

    /// Listening comes before READY: from then on a connect() proves "created".
    pub(crate) fn ready(&mut self, listener: u32) -> Outcome {
        const BACKLOG: usize = 8;
        let listener = self.descriptor(listener);
        sys::listen(listener, BACKLOG)?;
        self.enter_phase(phase::CREATED);
        self.listener = Some(listener);
        // Who made us, as seen from the namespaces that `start`'s peer will be seen from.
        self.creator = sys::peer_uid(self.control)?;
        self.say(frame::READY, 0)?;
        self.hear(frame::COMMIT)?;
        Ok(sys::close(self.control)?)
    }

    /// Nobody will say START: the host's next word is the last, and execve, or our end, is its end of file.
    pub(crate) fn ready_to_execute(&mut self) -> Outcome {
        self.say(frame::READY, 0)?;
        self.hear(frame::COMMIT)?;
        self.enter_phase(phase::STARTING);
        Ok(())
    }

    /// Accepts until somebody who may says START; whoever hangs up first doesn't count.
    pub(crate) fn wait_start(&mut self) -> Outcome {
        let listener = self.listener.ok_or(Failure::from(sys::EINVAL))?;
        let (connection, page) = loop {
            match sys::accept(listener) {
                Ok(connection) => {
                    if let Some(page) = self.start_request(&connection) {
                        break (connection, page);
                    }
                }
                Err(sys::EINTR | sys::EAGAIN) => {}
                Err(errno) => return Err(errno.into()),
            }
        };
        self.use_page(page);
        self.enter_phase(phase::STARTING);
        self.starter = Some(connection);
        Ok(sys::close(listener)?)
    }

    /// The starter's page, if this connection brings a START from the container's creator.
    fn start_request<'p>(&self, connection: &OwnedFd) -> Option<&'p mut ResultPage> {
        if sys::peer_uid(connection.fd()).ok()? != self.creator {
            return None;
        }
        let mut bytes = [0u8; FRAME_SIZE];
        let (len, descriptors) = sys::receive(connection.fd(), &mut bytes).ok()?;
        let request = Frame::from_bytes(&bytes[..len])?;
        if request.kind != frame::START {
            return None;
        }
        map_page(descriptors.first()?.fd())
    }
}

/// The page of a starter. It must be as long as a page, or touching it would kill us.
fn map_page<'p>(file: Fd) -> Option<&'p mut ResultPage> {
    let page: *mut ResultPage = sys::map(PAGE_SIZE, Some(file)).ok()?.cast();
    // SAFETY: a fresh shared mapping of one page, which is never unmapped; any bytes are a valid page.
    Some(unsafe { &mut *page })
}
