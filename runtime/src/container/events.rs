//! What a container uses, and what befalls it.

use super::record::{InitId, Record};
use super::state::{self, Proven};
use super::{Container, Status};
use crate::cgroup::Cgroup;
use crate::cgroup::stats::Oom;
use crate::error::{Error, ErrorKind, Result};
use crate::stats::Stats;
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use serde_json::json;
use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

/// How often init is looked for where it has no pidfd.
const LOOK: Duration = Duration::from_millis(100);

/// What happens to a container.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// What it uses, once an interval.
    Stats(Box<Stats>),
    /// It was out of memory: the kernel has killed one of its processes, or holds them up.
    Oom,
}

impl Event {
    /// The object that runc's `events` prints, on one line.
    ///
    /// ```
    /// let line = longshore::Event::Oom.to_json("web1");
    /// assert_eq!(line, r#"{"type":"oom","id":"web1"}"#);
    /// ```
    #[must_use]
    pub fn to_json(&self, id: &str) -> String {
        let id = json!(id);
        match self {
            Event::Stats(stats) => {
                format!(r#"{{"type":"stats","id":{id},"data":{}}}"#, stats.to_json())
            }
            Event::Oom => format!(r#"{{"type":"oom","id":{id}}}"#),
        }
    }
}

/// The events of a container, until it ends. Made by [`Container::events`].
///
/// As an iterator it blocks; its descriptor ([`AsFd`]) is readable when there is something to take.
#[derive(Debug)]
pub struct Events {
    record: Record,
    init: Proven,
    cgroup: Cgroup,
    poll: Epoll,
    timer: Option<TimerFd>,
    oom: Option<Oom>,
    ready: VecDeque<Event>,
    ended: bool,
}

impl Container {
    /// What it uses now.
    ///
    /// # Errors
    /// `InvalidState` if it isn't running, with runc's words; `Unsupported` if it has no cgroup, which counts.
    ///
    /// ```no_run
    /// # fn main() -> longshore::Result<()> {
    /// # let runtime = longshore::Runtime::builder().build()?;
    /// println!("{} processes", runtime.open("web1")?.stats()?.pids.current);
    /// # Ok(()) }
    /// ```
    pub fn stats(&self) -> Result<Stats> {
        let (record, _) = self.observed()?;
        let cgroup = Cgroup::open(&record.cgroup, &record.nonce)?;
        Ok(stats(&record, &cgroup))
    }

    /// What happens to it from now on: statistics once an interval, if one is given, and lack of memory.
    ///
    /// # Errors
    /// As of [`stats`](Self::stats).
    ///
    /// ```no_run
    /// # fn main() -> longshore::Result<()> {
    /// # let runtime = longshore::Runtime::builder().build()?;
    /// use std::time::Duration;
    /// for event in runtime.open("web1")?.events(Some(Duration::from_secs(5)))? {
    ///     println!("{}", event?.to_json("web1"));
    /// }
    /// # Ok(()) }
    /// ```
    pub fn events(&self, interval: Option<Duration>) -> Result<Events> {
        if interval.is_some_and(|interval| interval.is_zero()) {
            let words = "duration interval must be greater than 0";
            return Err(Error::new(ErrorKind::InvalidConfig, words));
        }
        let (record, init) = self.observed()?;
        let cgroup = Cgroup::open(&record.cgroup, &record.nonce)?;
        let oom = cgroup.watch_oom()?;
        let refused = |errno| Error::system("cannot wait for events", errno);
        let timer = interval.map(every).transpose().map_err(refused)?;
        let poll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(refused)?;
        let events = Events {
            record,
            init,
            cgroup,
            poll,
            timer,
            oom,
            ready: VecDeque::new(),
            ended: false,
        };
        events.register().map_err(refused)?;
        Ok(events)
    }

    /// What there is to look at.
    fn observed(&self) -> Result<(Record, Proven)> {
        let entry = self.entry()?;
        let record = self.record(&entry)?;
        let not_running = || {
            let words = format!("container with id {} is not running", self.id);
            Error::new(ErrorKind::InvalidState, words)
        };
        if matches!(
            state::status(&entry, &record)?,
            Status::Creating | Status::Stopped
        ) {
            return Err(not_running());
        }
        if record.cgroup.0.is_empty() {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "the container has no cgroup of its own: nothing counts what it uses",
            ));
        }
        let init = record
            .init
            .as_ref()
            .and_then(state::prove)
            .ok_or_else(not_running)?;
        Ok((record, init))
    }
}

fn stats(record: &Record, cgroup: &Cgroup) -> Stats {
    let mut stats = cgroup.stats();
    if let Some(place) = &record.resctrl {
        stats.rdt = place.stats();
    }
    stats
}

fn every(interval: Duration) -> Result<TimerFd, Errno> {
    let flags = TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK;
    let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?;
    let expiration = Expiration::Interval(TimeSpec::from_duration(interval));
    timer.set(expiration, TimerSetTimeFlags::empty())?;
    Ok(timer)
}

impl Events {
    fn register(&self) -> Result<(), Errno> {
        let add = |fd: BorrowedFd<'_>, flags| self.poll.add(fd, EpollEvent::new(flags, 0));
        if !self.init.by_directory {
            add(self.init.handle.as_fd(), EpollFlags::EPOLLIN)?;
        }
        if let Some(timer) = &self.timer {
            add(timer.as_fd(), EpollFlags::EPOLLIN)?;
        }
        match &self.oom {
            Some(Oom::V1 { event, .. }) => add(event.as_fd(), EpollFlags::EPOLLIN),
            Some(Oom::V2 { events, .. }) => add(events.as_fd(), EpollFlags::EPOLLPRI),
            None => Ok(()),
        }
    }

    /// Waits for something, and takes all there is.
    fn wait(&mut self) -> Result<(), Errno> {
        let timeout = match self.init.by_directory {
            true => EpollTimeout::try_from(LOOK).map_err(|_| Errno::EINVAL)?,
            false => EpollTimeout::NONE,
        };
        match self.poll.wait(&mut [EpollEvent::empty(); 4], timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
        // In this order: who dies for want of memory has been told of it before.
        self.ended = !self.record.init.as_ref().is_some_and(lives);
        if let Some(oom) = &mut self.oom
            && oom.news()?
        {
            self.ready.push_back(Event::Oom);
        }
        let expired = self.timer.as_ref().is_some_and(read);
        if expired && !self.ended {
            let stats = stats(&self.record, &self.cgroup);
            self.ready.push_back(Event::Stats(Box::new(stats)));
        }
        Ok(())
    }
}

/// A zombie uses nothing any more.
fn lives(init: &InitId) -> bool {
    state::prove(init).is_some_and(|init| !init.stat.zombie)
}

/// Whether it has expired. Nix's own `wait` would block where it has not.
fn read(timer: &TimerFd) -> bool {
    nix::unistd::read(timer, &mut [0; 8]).is_ok()
}

impl Iterator for Events {
    type Item = Result<Event>;

    fn next(&mut self) -> Option<Result<Event>> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(Ok(event));
            }
            if self.ended {
                return None;
            }
            if let Err(errno) = self.wait() {
                self.ended = true;
                return Some(Err(Error::system("cannot wait for events", errno)));
            }
        }
    }
}

impl AsFd for Events {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.poll.0.as_fd()
    }
}
