//! Hooks that run in the container's namespaces: a child, with the container's
//! ids once it is started, the state on stdin, a deadline for it and its whole process group.

use crate::process::Prepared;
use crate::program::{Detail, HookCall, HookIdentity};
use crate::run::{Failure, Init, Outcome, decimal, drop_bounding};
use crate::sys::{self, Fd, OwnedFd, Vector};
use alloc::vec::Vec;

impl Init<'_> {
    pub(crate) fn hook(
        &mut self,
        call: &HookCall<'_>,
        identity: Option<&HookIdentity<'_>>,
    ) -> Outcome {
        let root = self.root().ok();
        let given = call.env.as_ref();
        let given = given.map(|env| Vector::new(env.iter().map(|text| text.with_nul())));
        let programs = self.execution.as_ref().map(Prepared::environment);
        let env = given.as_ref().or(programs).ok_or(sys::EINVAL)?;
        let (input, output) = sys::pipe()?;
        let (status_read, status_write) = sys::pipe()?;
        let pid = sys::fork()?;
        if pid == 0 {
            drop(output);
            let errno = become_hook((call, env), identity, root, input.fd());
            let _ = sys::write(status_write.fd(), &errno.0.to_le_bytes()); // the parent sees the exit at least
            sys::exit(127);
        }
        drop(input);
        drop(status_write);
        let state = [call.before, &decimal(sys::getpid()), call.after].concat();
        let ended = supervise(pid, output, &state, call.timeout)?;
        let _ = sys::kill(-pid.cast_signed(), 9); // what the hook left behind in its group goes too
        let mut errno = [0u8; 4];
        if sys::read(status_read.fd(), &mut errno) == Ok(4) {
            return Err(
                Failure::new(sys::Errno(i32::from_le_bytes(errno)), Detail::HookStart)
                    .with_text(call.path.bytes()),
            );
        }
        judge(ended, call)
    }
}

/// Runs in the child; returns only when the hook could not be executed.
fn become_hook(
    (call, env): (&HookCall<'_>, &Vector<'_>),
    identity: Option<&HookIdentity<'_>>,
    root: Option<Fd>,
    stdin: Fd,
) -> sys::Errno {
    let prepared = prepare_hook(stdin).and_then(|()| match identity {
        Some(identity) => take_identity(identity),
        None => enter_root(root),
    });
    match prepared {
        Err(errno) => errno,
        Ok(()) => {
            let args = Vector::new(call.args.iter().map(|text| text.with_nul()));
            sys::execve(call.path.with_nul(), &args, env)
        }
    }
}

fn prepare_hook(stdin: Fd) -> sys::Result<()> {
    const SIGPIPE: usize = 13;
    sys::new_process_group()?;
    sys::default_signal(SIGPIPE)?;
    sys::dup_to(stdin, Fd(0))?;
    let _ = sys::close_range(3, u32::MAX, true); // all of init's own are close-on-exec already
    Ok(())
}

fn take_identity(identity: &HookIdentity<'_>) -> sys::Result<()> {
    drop_bounding(identity.bounding)?;
    if let Some(groups) = &identity.groups {
        sys::setgroups(groups)?;
    }
    sys::setresgid(identity.gid)?;
    sys::setresuid(identity.uid)?;
    let mut held = sys::capget()?;
    held.inheritable &= identity.inheritable;
    sys::capset(held)?;
    sys::prctl(sys::prctl::SET_DUMPABLE, 1, 0).map(drop)
}

/// Before the switch a hook starts where the mounts are; init's own umask is none.
fn enter_root(root: Option<Fd>) -> sys::Result<()> {
    sys::umask(0o022);
    root.map_or(Ok(()), sys::fchdir)
}

enum Ended {
    Status(u32),
    TimedOut,
}

/// Feeds the state and waits, looking every few milliseconds at most: a hook that never reads,
/// or closes its stdin, must not hold us.
fn supervise(pid: usize, stdin: OwnedFd, state: &[u8], timeout: Option<u32>) -> sys::Result<Ended> {
    let deadline = timeout.map(|milliseconds| sys::now() + u64::from(milliseconds));
    sys::set_nonblocking(stdin.fd())?;
    sys::ignore_broken_pipes()?;
    let mut feed = Some(stdin);
    let mut written = 0;
    let mut pause = 0;
    loop {
        if let Some(pipe) = &feed {
            match sys::write(pipe.fd(), &state[written..]) {
                Ok(count) => written += count,
                Err(sys::EAGAIN) => {}
                Err(_) => written = state.len(), // the hook doesn't want it
            }
            if written == state.len() {
                feed = None;
            }
        }
        if let Some(status) = sys::wait(pid, true)? {
            return Ok(Ended::Status(status));
        }
        if deadline.is_some_and(|deadline| sys::now() >= deadline) {
            let _ = sys::kill(-pid.cast_signed(), 9); // the group, with all that the hook started
            sys::wait(pid, false)?;
            return Ok(Ended::TimedOut);
        }
        pause = (pause + 1).min(10);
        sys::sleep(pause);
    }
}

fn judge(ended: Ended, call: &HookCall<'_>) -> Outcome {
    let (detail, number) = match ended {
        Ended::TimedOut => (Detail::HookTimeout, call.timeout.unwrap_or(0) / 1000),
        Ended::Status(0) => return Ok(()),
        Ended::Status(status) if status & 0x7f == 0 => (Detail::HookFailed, status >> 8 & 0xff),
        Ended::Status(status) => (Detail::HookSignaled, status & 0x7f),
    };
    let mut text: Vec<u8> = call.path.bytes().to_vec();
    text.push(0);
    text.extend_from_slice(&decimal(number as usize));
    Err(Failure::new(sys::EIO, detail).with_text(&text))
}
