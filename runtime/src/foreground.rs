//! For a program that is nothing but a container's foreground: the one module
//! that changes the calling process, entered by name, undone on drop.

use crate::error::{Error, Result};
use crate::sys::pidfd;
use crate::terminal::Terminal;
use crate::{ExitStatus, Process};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::fs::File;
use std::os::fd::AsFd;

/// Blocks this thread's signals to forward them, and makes this process a child subreaper.
/// Enter it before `create`, on the thread that will wait; threads made later inherit the mask.
///
/// ```no_run
/// # fn main() -> longshore::Result<()> {
/// # let runtime = longshore::Runtime::builder().build()?;
/// let foreground = longshore::foreground::Foreground::enter(true)?;
/// let process = runtime.container("job").bundle("/bundle").create()?.start()?;
/// let status = foreground.wait(&process)?;
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Foreground {
    before: SigSet,
    signals: SignalFd,
    was_subreaper: bool,
}

impl Foreground {
    /// Takes signals over; with `subreaper`, orphans of the container come to us.
    ///
    /// # Errors
    /// The kernel refused.
    pub fn enter(subreaper: bool) -> Result<Foreground> {
        let refused = |errno| Error::system("cannot take over signals", errno);
        let mut mask = SigSet::all();
        // Ours to die of, not the container's business.
        for signal in [
            Signal::SIGSEGV,
            Signal::SIGBUS,
            Signal::SIGFPE,
            Signal::SIGILL,
            Signal::SIGABRT,
            Signal::SIGSYS,
        ] {
            mask.remove(signal);
        }
        let was_subreaper = prctl::get_child_subreaper().map_err(refused)?;
        let signals = SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
            .map_err(refused)?;
        let before = mask
            .thread_swap_mask(SigmaskHow::SIG_SETMASK)
            .map_err(refused)?;
        let foreground = Foreground {
            before,
            signals,
            was_subreaper,
        };
        if subreaper {
            prctl::set_child_subreaper(true).map_err(refused)?;
        }
        Ok(foreground)
    }

    /// Waits for a container's process and forwards every signal to it meanwhile.
    ///
    /// # Errors
    /// The kernel refused the wait.
    pub fn wait(&self, process: &Process) -> Result<ExitStatus> {
        let refused = |errno| Error::system("cannot wait for signals", errno);
        loop {
            let ready =
                pidfd::poll_any(&[process.as_fd(), self.signals.as_fd()], None).map_err(refused)?;
            self.forward(process, None)?;
            if ready[0] {
                return process.wait();
            }
        }
    }

    /// The same in front of the process's terminal, of which `master` is the one end: what is typed on stdin goes
    /// there, what it shows comes to stdout, and it has the size of the caller's, which is in raw mode meanwhile.
    ///
    /// # Errors
    /// Stdin or stdout is closed; the kernel refused the wait.
    ///
    /// ```no_run
    /// # fn main() -> longshore::Result<()> {
    /// # let runtime = longshore::Runtime::builder().build()?;
    /// let foreground = longshore::foreground::Foreground::enter(true)?;
    /// let mut container = runtime.container("job").bundle("/bundle").pty().create()?;
    /// let master = container.take_terminal();
    /// let process = container.start()?;
    /// if let Some(master) = master {
    ///     foreground.wait_in_terminal(&process, &master)?;
    /// }
    /// # Ok(()) }
    /// ```
    pub fn wait_in_terminal(&self, process: &Process, master: &File) -> Result<ExitStatus> {
        let mut terminal = Terminal::enter(master.as_fd())?;
        loop {
            let [ended, signaled] = terminal.relay([process.as_fd(), self.signals.as_fd()])?;
            if signaled {
                self.forward(process, Some(&terminal))?;
            }
            if ended {
                terminal.drain()?;
                return process.wait();
            }
        }
    }

    /// All signals that have come, but those that are ours.
    fn forward(&self, process: &Process, terminal: Option<&Terminal<'_>>) -> Result<()> {
        let refused = |errno| Error::system("cannot read signals", errno);
        while let Some(info) = self.signals.read_signal().map_err(refused)? {
            match (info.ssi_signo.cast_signed(), terminal) {
                (libc::SIGCHLD | libc::SIGURG, _) => {}
                (libc::SIGWINCH, Some(terminal)) => terminal.resize(),
                (number, _) => {
                    let _ = pidfd::send_signal(process.as_fd(), number); // it has just ended
                }
            }
        }
        Ok(())
    }
}

impl Drop for Foreground {
    fn drop(&mut self) {
        let _ = self.before.thread_set_mask(); // it was this thread's mask before
        let _ = prctl::set_child_subreaper(self.was_subreaper); // it was this process's setting before
    }
}
