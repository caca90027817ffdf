//! A filter that notifies: its listener goes to the host before anything else is done
//! (docs/decisions/0009-seccomp-listener.md).
//!
//! Once the filter is in force this thread may make no call, not even one to wait: any could be denied, or
//! be the first to be notified, with nobody there to answer. A second thread, made before and bound by no
//! filter, hands the listener over; this one spins until the host has it. execve, or exit, ends both.

use crate::program::{FRAME_SIZE, Frame, NEW_LISTENER, frame};
use crate::run::{Init, Outcome};
use crate::sys::{self, Fd, OwnedFd};
use alloc::boxed::Box;
use core::sync::atomic::{AtomicBool, AtomicI32, Ordering};

const STACK: usize = 16 * 1024;

/// No listener yet.
const NONE: i32 = -1;

/// What both threads see.
struct Handover {
    host: Fd,
    /// Stored by the filtered thread.
    listener: AtomicI32,
    /// Stored by the other.
    taken: AtomicBool,
}

impl Init<'_> {
    /// Nothing but capset and execve runs after it; what the page is told is told by plain stores, which no
    /// filter can deny.
    pub(crate) fn filter(&mut self, flags: u32, program: &[u8]) -> Outcome {
        if flags & NEW_LISTENER == 0 {
            return Ok(sys::install_filter(flags, program).map(drop)?);
        }
        let handover: &Handover = Box::leak(Box::new(Handover {
            host: self.starter.as_ref().map_or(self.control, OwnedFd::fd),
            listener: AtomicI32::new(NONE),
            taken: AtomicBool::new(false),
        }));
        let stack = Box::leak(alloc::vec![0; STACK].into_boxed_slice());
        sys::thread(stack, handover, hand_over)?;
        let listener = sys::install_filter(flags, program)?;
        let listener = i32::try_from(listener).unwrap_or(NONE);
        handover.listener.store(listener, Ordering::Release);
        while !handover.taken.load(Ordering::Acquire) {
            core::hint::spin_loop();
        }
        Ok(())
    }
}

/// The second thread. Without the host's word everything ends: the host says why.
extern "C" fn hand_over(handover: &'static Handover) -> ! {
    let listener = loop {
        match handover.listener.load(Ordering::Acquire) {
            NONE => sys::yield_processor(),
            listener => break Fd(listener),
        }
    };
    let here = Frame {
        kind: frame::LISTENER,
        step: 0,
        value: 0,
    };
    let sent = sys::send(handover.host, &here.to_bytes(), Some(listener));
    let mut bytes = [0; FRAME_SIZE];
    let heard = sent.and_then(|()| sys::receive(handover.host, &mut bytes));
    let go = heard.is_ok_and(|(len, _)| {
        Frame::from_bytes(&bytes[..len]).is_some_and(|frame| frame.kind == frame::GO)
    });
    if !go {
        sys::exit(1);
    }
    handover.taken.store(true, Ordering::Release);
    sys::exit_thread()
}
