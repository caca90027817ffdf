//! The host's half of a launch: spawn stage 1, learn init's pid, do the host's
//! turns, hear READY. Every wait also watches init, and has a deadline.

use super::hooks::{Surroundings, run_all};
use super::idmap::{self, Mapped};
use super::link::{Late, Program};
use super::netdev::Moves;
use super::{image, spawn};
use crate::cgroup::Cgroup;
use crate::config::{RLIMITS, Rlimit};
use crate::error::{Error, ErrorKind, Result};
use crate::plan::{Action, Described, HostTask, Plan, Side, Step};
use crate::sys::socket::{self, Received};
use crate::sys::{pidfd, proc};
use crate::timings::Trail;
use crate::wire::{Detail, Frame, ResultPage, frame, phase};
use nix::errno::Errno;
use std::cell::OnceCell;
use std::ffi::CString;
use std::fs::File;
use std::mem::offset_of;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long init may take for any one stretch of work between two words to the host.
pub(crate) const SETUP_DEADLINE: Duration = Duration::from_secs(120);

/// How long a killed init may take to end.
const UNDO_DEADLINE: Duration = Duration::from_secs(2);

/// An init that has been set up, or was on its way when it failed.
#[derive(Debug)]
pub(crate) struct Created {
    pub(crate) pid: i32,
    pub(crate) pidfd: OwnedFd,
    /// Where it leaves its result.
    pub(crate) page: File,
    /// The devices that it has of ours: kept up to COMMIT, to move them back.
    pub(crate) devices: Option<Moves>,
}

impl Created {
    /// Kills and reaps: used to undo only, before anybody else knows this process. In a frozen v1 cgroup it
    /// ends when that is thawed. The devices come back, or that they don't is told with the cause.
    pub(crate) fn undo(&self, cause: Error) -> Error {
        let _ = pidfd::send_signal(self.pidfd.as_fd(), libc::SIGKILL); // already dead
        let deadline = Instant::now() + UNDO_DEADLINE;
        let _ = pidfd::poll_any(&[self.pidfd.as_fd()], Some(deadline)); // then its parent's affair
        let _ = pidfd::wait(self.pidfd.as_fd(), false, true); // reaped by somebody else
        let lost = self.devices.as_ref().map(Moves::undo).unwrap_or_default();
        lost.iter().fold(cause, Error::and)
    }
}

/// What the caller does at the points of a launch.
pub(crate) trait Progress {
    /// Stage 1 is on its way: make the container's cgroup, with its limits, and the start socket, which is the
    /// result. Without a `start` to come there is none. With `init`, that is cloned already, and waits for it.
    fn meanwhile(&mut self, init: Option<i32>) -> Result<Option<OwnedFd>>;
    /// Init lives: write its identity down.
    fn started(&mut self, created: &Created) -> Result<()>;
    /// A hook of the runtime's runs: write its identity down.
    fn hook_started(&self, pid: i32) -> Result<()>;
    /// The state that the runtime's hooks get.
    fn state(&self, pid: i32) -> String;
}

/// What a launch needs besides its program.
pub(crate) struct Surround<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) bundle: &'a str,
    pub(crate) state_root: &'a Path,
    /// Empty up to `Progress::meanwhile`.
    pub(crate) cgroup: &'a OnceCell<Cgroup>,
    pub(crate) control: OwnedFd,
    /// For any one stretch of init's work between two words to the host.
    pub(crate) deadline: Duration,
    pub(crate) trail: &'a Trail,
}

/// Runs a program up to READY. On failure nothing of it is left running.
pub(crate) fn run(
    mut program: Program,
    around: &Surround<'_>,
    progress: &mut dyn Progress,
) -> Result<Created> {
    let image = image::image(around.state_root)?;
    let argument = CString::new(program.number.to_string()).unwrap_or_default(); // digits
    let mut pass = program.pass.clone();
    pass.sort_unstable();
    let stage1 = spawn::spawn(image.as_fd(), &argument, &pass)?;
    around.trail.lap("clone stage 1 of init");
    let page = program
        .memory
        .try_clone()
        .map_err(|error| Error::system("cannot duplicate a descriptor", error))?;
    let late = std::mem::take(&mut program.late);
    drop(program); // init's end of the control socket with it: end of file must mean what it says
    // systemd is given init to put into the cgroup: it is cloned first then.
    let by_systemd = around.plan.starts_unit();
    let handed_over = match by_systemd {
        true => Ok(()),
        false => hand_over(&late, around, progress, None),
    };
    if handed_over.is_err() {
        let _ = socket::end(around.control.as_fd()); // it is waited for, by stage 1 or by init
    }
    let mut early = None;
    let first = first_word(around, stage1.pidfd.as_fd(), &page, &mut early);
    around.trail.lap("wait for stage 1");
    // Stage 1 ended after its word; it is reaped when there is nothing to wait for.
    let reap = || pidfd::wait(stage1.pidfd.as_fd(), true, true);
    let (pid, pidfd) = match first {
        Ok(init) => init,
        Err(error) => {
            let _ = reap(); // it has failed; what counts is why
            around.trail.init(&page, &around.plan.steps);
            return Err(handed_over.err().unwrap_or(error));
        }
    };
    let mut created = Created {
        pid,
        pidfd,
        page,
        devices: None,
    };
    let handed_over = match by_systemd {
        true => hand_over(&late, around, progress, Some(pid))
            .map_err(|error| or_why_it_died(error, &created, around)),
        false => handed_over,
    };
    let finished = handed_over.and_then(|()| finish(&mut created, around, early, progress));
    let _ = reap(); // reaped by somebody else
    around.trail.init(&created.page, &around.plan.steps);
    match finished {
        Ok(()) => Ok(created),
        Err(error) => Err(created.undo(error)),
    }
}

/// What stage 1, or init, waits for, once it can be opened.
fn hand_over(
    late: &[(u32, Late)],
    around: &Surround<'_>,
    progress: &mut dyn Progress,
    init: Option<i32>,
) -> Result<()> {
    let listener = progress.meanwhile(init)?;
    let mut open = Vec::with_capacity(late.len());
    for (step, late) in late {
        let opened = late.open(around.cgroup.get(), listener.as_ref());
        open.push(
            opened.map_err(|error| match around.plan.steps.get(*step as usize) {
                Some(step) => error.at(&step.path).in_step(step.action.to_string()),
                None => error,
            })?,
        );
    }
    let here = Frame {
        kind: frame::DESCRIPTORS,
        step: 0,
        value: 0,
    };
    let open: Vec<_> = open.iter().map(AsFd::as_fd).collect();
    match socket::send(around.control.as_fd(), here, &open) {
        Err(Errno::EPIPE | Errno::ECONNRESET) => Ok(()), // it has died: its page says at what
        sent => sent.map_err(|errno| Error::system("cannot hand descriptors to init", errno)),
    }
}

/// What was said, and the descriptor that came along.
type Word = (Frame, Option<OwnedFd>);

/// Stage 1's word. Init shares its socket, and may be at its first turn before stage 1 has spoken:
/// that word is kept for later.
fn first_word(
    around: &Surround<'_>,
    stage1: BorrowedFd<'_>,
    page: &File,
    early: &mut Option<Word>,
) -> Result<(i32, OwnedFd)> {
    let deadline = Instant::now() + around.deadline;
    let mut word = hear(around, None, deadline)?;
    if let Received::Frame(
        frame @ Frame {
            kind: frame::SYNC | frame::READY,
            ..
        },
        descriptor,
    ) = word
    {
        *early = Some((frame, descriptor));
        word = hear(around, None, deadline)?;
    }
    match word {
        Received::Frame(
            Frame {
                kind: frame::STARTED,
                value: pid,
                ..
            },
            Some(pidfd),
        ) if pid > 0 => Ok((pid, pidfd)),
        Received::EndOfFile => Err(explain(&read_page(page), &around.plan.steps)),
        _ => {
            let _ = pidfd::send_signal(stage1, libc::SIGKILL); // it has failed in any case
            Err(Error::new(
                ErrorKind::Timeout,
                "stage 1 of init did not answer",
            ))
        }
    }
}

/// One word of init's. With init known, its death counts as the end of file: somebody's forgotten
/// copy of the socket must not hold us.
fn hear(
    around: &Surround<'_>,
    init: Option<BorrowedFd<'_>>,
    deadline: Instant,
) -> Result<Received> {
    let refused = |errno| Error::system("cannot hear from init", errno);
    let mut fds = vec![around.control.as_fd()];
    fds.extend(init);
    let ready = pidfd::poll_any(&fds, Some(deadline)).map_err(refused)?;
    match (ready[0], ready.get(1)) {
        (true, _) => socket::receive(around.control.as_fd()).map_err(refused),
        (false, Some(true)) => Ok(Received::EndOfFile),
        (false, _) => Ok(Received::Garbage),
    }
}

fn finish(
    created: &mut Created,
    around: &Surround<'_>,
    mut early: Option<Word>,
    progress: &mut dyn Progress,
) -> Result<()> {
    // Where children are reaped at once, an init that has failed is gone already: it counts why.
    progress
        .started(created)
        .map_err(|error| or_why_it_died(error, created, around))?;
    let after_clone = around
        .plan
        .steps
        .iter()
        .enumerate()
        .skip_while(|(_, step)| !matches!(step.action, Action::Clone { .. }));
    let beside = |(_, step): &(usize, &Step)| {
        step.side == Side::Host && !matches!(step.action, Action::MoveDevice(_))
    };
    for (index, step) in after_clone.filter(beside) {
        around.trail.may_stop();
        host_step(created.pid, around.cgroup.get(), step)
            .map_err(|error| or_why_it_died(error, created, around))?;
        around.trail.step(index, Some(step));
    }
    loop {
        let deadline = Instant::now() + around.deadline;
        let word = match early.take() {
            Some((frame, descriptor)) => Received::Frame(frame, descriptor),
            None => hear(around, Some(created.pidfd.as_fd()), deadline)?,
        };
        around.trail.lap("wait for init");
        match word {
            Received::Frame(
                Frame {
                    kind: frame::READY, ..
                },
                _,
            ) => return Ok(()),
            Received::Frame(
                Frame {
                    kind: frame::SYNC,
                    step,
                    ..
                },
                descriptor,
            ) => {
                let index = step as usize;
                around.trail.may_stop();
                match descriptor {
                    Some(socket) => move_devices(created, around, socket)?,
                    None => turn(created, around, index, progress)?,
                }
                around.trail.step(index, around.plan.steps.get(index));
                let go = Frame {
                    kind: frame::GO,
                    step,
                    value: 0,
                };
                // A broken pipe is init's death: the next word says at which step.
                let _ = socket::send(around.control.as_fd(), go, &[]);
            }
            Received::EndOfFile => return Err(died(created, around)),
            _ => return Err(Error::new(ErrorKind::Timeout, "init did not answer")),
        }
    }
}

/// What the host can't do since init is dead, its cgroup removed by systemd perhaps, is not what went wrong.
fn or_why_it_died(error: Error, created: &Created, around: &Surround<'_>) -> Error {
    let now = Some(Instant::now());
    let ended = pidfd::poll_any(&[created.pidfd.as_fd()], now).is_ok_and(|ready| ready[0]);
    match ended || read_page(&created.page).errno != 0 {
        true => died(created, around),
        false => error,
    }
}

fn died(created: &Created, around: &Surround<'_>) -> Error {
    let page = read_page(&created.page);
    let error = explain(&page, &around.plan.steps);
    if page.errno != 0 {
        return error;
    }
    match pidfd::wait(created.pidfd.as_fd(), true, true) {
        Ok(Some(pidfd::Ended::Signaled(signal))) => Error::new(
            ErrorKind::Died,
            format!(
                "init was killed by signal {signal} at step {}: {}",
                page.step,
                words(page.step, &around.plan.steps)
            ),
        ),
        _ => error,
    }
}

fn words(step: u32, steps: &[Step]) -> String {
    steps
        .get(step as usize)
        .map_or_else(|| "unknown".to_owned(), |step| step.action.to_string())
}

/// What the host does beside init, which goes on meanwhile.
fn host_step(pid: i32, cgroup: Option<&Cgroup>, step: &Step) -> Result<()> {
    match (&step.action, cgroup) {
        (Action::OomScore(score), _) => oom_score(pid, *score),
        (Action::CgroupDevices(rules), Some(cgroup)) => cgroup
            .apply_devices(rules)
            .map_err(|error| error.at(&step.path)),
        _ => Ok(()),
    }
}

fn oom_score(pid: i32, score: i32) -> Result<()> {
    std::fs::write(format!("/proc/{pid}/oom_score_adj"), score.to_string()).map_err(|error| {
        Error::system(format!("cannot set oom_score_adj to {score}"), error)
            .at("process.oomScoreAdj")
    })
}

/// The host's part of a step at which init waits.
fn turn(
    created: &Created,
    around: &Surround<'_>,
    index: usize,
    progress: &dyn Progress,
) -> Result<()> {
    let Some(Action::HostTurn(tasks)) = around.plan.steps.get(index).map(|step| &step.action)
    else {
        return Ok(()); // a fault point: nothing to do but to be there
    };
    for task in tasks {
        match task {
            HostTask::IdMaps { uids, gids, writer } => {
                let process = Mapped {
                    pid: created.pid,
                    pidfd: created.pidfd.as_fd(),
                    state_root: around.state_root,
                };
                idmap::write(&process, uids, gids, writer)?;
            }
            HostTask::OomScore(score) => oom_score(created.pid, *score)?,
            HostTask::Limits(limits) => set_limits(created.pid, limits)?,
            HostTask::CatchUp => {}
            HostTask::Hooks { kind, hooks } => {
                let state = progress.state(created.pid);
                let init = Some(created.pidfd.as_fd());
                let started = &|pid| progress.hook_started(pid);
                let surroundings = Surroundings {
                    state,
                    bundle: around.bundle,
                    state_root: around.state_root,
                    init,
                    started,
                };
                run_all(kind, hooks, &surroundings)?;
            }
        }
    }
    Ok(())
}

/// The host's part of `NetlinkSocket`: the only step at which init sends something along.
fn move_devices(created: &mut Created, around: &Surround<'_>, socket: OwnedFd) -> Result<()> {
    let moves = Moves::new(socket).map_err(|error| error.at("linux.netDevices"))?;
    let moves = created.devices.insert(moves);
    for (index, step) in around.plan.steps.iter().enumerate() {
        if let Action::MoveDevice(device) = &step.action {
            around.trail.may_stop();
            let moved = moves.go(device);
            moved.map_err(|error| error.at(&step.path).in_step(step.action.to_string()))?;
            around.trail.step(index, Some(step));
        }
    }
    Ok(())
}

fn set_limits(pid: i32, limits: &[Rlimit]) -> Result<()> {
    for limit in limits {
        proc::set_limit(pid, limit.resource, limit.soft, limit.hard).map_err(|errno| {
            Error::system(format!("cannot set {} of init", limit.name), errno).at("process.rlimits")
        })?;
    }
    Ok(())
}

/// The result page as read from its file.
#[derive(Debug, Default)]
pub(crate) struct PageResult {
    pub(crate) step: u32,
    pub(crate) errno: i32,
    pub(crate) phase: u32,
    detail: u32,
    text: Vec<u8>,
}

pub(crate) fn read_page(page: &File) -> PageResult {
    let mut bytes = [0u8; offset_of!(ResultPage, timed)];
    if page.read_exact_at(&mut bytes, 0).is_err() {
        return PageResult::default();
    }
    let word = |offset: usize| {
        let mut word = [0; 4];
        word.copy_from_slice(&bytes[offset..offset + 4]);
        u32::from_le_bytes(word)
    };
    let text = offset_of!(ResultPage, text);
    let length = (word(offset_of!(ResultPage, text_len)) as usize).min(bytes.len() - text);
    PageResult {
        step: word(offset_of!(ResultPage, step)),
        errno: word(offset_of!(ResultPage, errno)).cast_signed(),
        phase: word(offset_of!(ResultPage, phase)),
        detail: word(offset_of!(ResultPage, detail)),
        text: bytes[text..text + length].to_vec(),
    }
}

/// The sentence for what init left in the page.
pub(crate) fn explain<S: Described>(page: &PageResult, steps: &[S]) -> Error {
    let step = steps.get(page.step as usize);
    let (path, action) = step.map_or(("process", "unknown step".to_owned()), |step| {
        (step.path(), step.action())
    });
    if page.errno == 0 {
        return Error::new(
            ErrorKind::Died,
            format!("init died at step {}: {action}", page.step),
        )
        .in_step(action);
    }
    let text = String::from_utf8_lossy(&page.text).into_owned();
    sentence(page, &text, &action).at(path).in_step(action)
}

fn sentence(page: &PageResult, text: &str, action: &str) -> Error {
    let is = |detail: Detail| page.detail == detail as u32;
    let words = Detail::words(page.detail);
    if is(Detail::NotFound) {
        return Error::new(ErrorKind::Exec, format!("exec: {text:?}: {words}"))
            .with_worded_errno(page.errno);
    }
    if is(Detail::ProgramMissing) {
        return Error::new(
            ErrorKind::Exec,
            format!("exec: {text:?}: stat {text}: no such file or directory"),
        )
        .with_worded_errno(page.errno);
    }
    if is(Detail::ProgramDenied) {
        let why = lower_case(page.errno);
        // Not every engine knows that a directory can't be executed either.
        let known = if page.errno == libc::EISDIR {
            ": permission denied"
        } else {
            ""
        };
        return Error::new(ErrorKind::Exec, format!("exec: {text:?}: {why}{known}"))
            .with_worded_errno(page.errno);
    }
    if is(Detail::Execve) {
        return Error::new(
            ErrorKind::Exec,
            format!("{action}: {}", lower_case(page.errno)),
        )
        .with_worded_errno(page.errno);
    }
    if [
        Detail::HookFailed,
        Detail::HookSignaled,
        Detail::HookTimeout,
    ]
    .into_iter()
    .any(is)
    {
        let (path, number) = text.split_once('\0').unwrap_or((text, "?"));
        return Error::new(ErrorKind::Hook, format!("hook {path} {words} {number}"));
    }
    if is(Detail::Limit) {
        let named = RLIMITS.iter().find(|row| row.1.to_string() == text);
        let name = named.map_or("a limit", |row| row.0);
        return Error::system(format!("cannot set {name}"), page.errno);
    }
    if is(Detail::HookStart) {
        return Error::new(ErrorKind::Hook, format!("hook {text} {words}")).with_errno(page.errno);
    }
    let text = if text.is_empty() {
        String::new()
    } else {
        format!(" {text}")
    };
    if is(Detail::Failed) {
        return Error::system(format!("cannot {action}{text}"), page.errno);
    }
    Error::system(format!("cannot {action}: {words}{text}"), page.errno)
}

/// Go's words for an errno, which engines look for.
fn lower_case(errno: i32) -> String {
    nix::errno::Errno::from_raw(errno).desc().to_lowercase()
}

/// Says something to init; a dead init is found out by the next read.
pub(crate) fn commit(control: BorrowedFd<'_>) -> Result<()> {
    let commit = Frame {
        kind: frame::COMMIT,
        step: 0,
        value: 0,
    };
    socket::send(control, commit, &[]).map_err(|errno| Error::system("cannot reach init", errno))
}

/// Did the page's process get as far as execve?
pub(crate) fn is_executing(page: &PageResult) -> bool {
    page.phase == phase::EXECING && page.errno == 0
}
