//! What /proc says of a process, and limits of another one.
#![allow(unsafe_code)]

use super::pidfd::Ended;
use nix::errno::Errno;
use procfs::FromRead;
use std::sync::OnceLock;

/// What tells a process from a later one with its number, and what it is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProcessStat {
    pub(crate) pid: i32,
    /// Clock ticks since boot.
    pub(crate) start_time: u64,
    pub(crate) zombie: bool,
    /// It is on its way out, which takes as long as its pid namespace has unreaped processes (PF_EXITING).
    pub(crate) exiting: bool,
    /// It was cloned and has not executed anything yet (PF_FORKNOEXEC).
    pub(crate) never_executed: bool,
    /// How a zombie ended, where we may know.
    pub(crate) ended: Option<Ended>,
}

/// `None`: no such process. proc_pid_stat(5)
pub(crate) fn stat(pid: i32) -> Option<ProcessStat> {
    const PF_EXITING: u32 = 0x4;
    const PF_FORKNOEXEC: u32 = 0x40;
    // The file alone: `Process::new` would open the directory, and ask for the kernel's version.
    let stat = procfs::process::Stat::from_file(format!("/proc/{pid}/stat")).ok()?;
    Some(ProcessStat {
        pid,
        start_time: stat.starttime,
        zombie: matches!(stat.state, 'Z' | 'X' | 'x'),
        exiting: stat.flags & PF_EXITING != 0,
        never_executed: stat.flags & PF_FORKNOEXEC != 0,
        ended: stat
            .exit_code
            .filter(|_| stat.state == 'Z')
            .map(|status| match status & 0x7f {
                0 => Ended::Exited(status >> 8 & 0xff),
                signal => Ended::Signaled(signal),
            }),
    })
}

/// Different after each boot. random(4)
pub(crate) fn boot_id() -> &'static str {
    static BOOT_ID: OnceLock<String> = OnceLock::new();
    BOOT_ID.get_or_init(|| {
        std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
            .unwrap_or_default()
            .trim()
            .to_owned()
    })
}

/// Sets both halves of a limit of another process. prlimit(2)
pub(crate) fn set_limit(pid: i32, resource: u32, soft: u64, hard: u64) -> Result<(), Errno> {
    let limit = libc::rlimit64 {
        rlim_cur: soft,
        rlim_max: hard,
    };
    // SAFETY: `limit` lives over the call, which only reads it; no old limit is asked for.
    let result = unsafe { libc::prlimit64(pid, resource, &raw const limit, std::ptr::null_mut()) };
    Errno::result(result).map(drop)
}
