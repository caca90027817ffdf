//! What makes the user's process: descriptors, identity, capabilities, limits,
//! the filter, execve. The order is the plan's; see `plan/order.rs`.

use crate::program::{Detail, Op, Text};
use crate::run::{Failure, Init, Outcome, Refused, decimal};
use crate::sys::{self, Fd, Vector, prctl};
use alloc::vec::Vec;

const SIGPIPE: usize = 13;

/// Where close_range(2) is missing, descriptors above this are not looked for.
const LAST_DESCRIPTOR: u32 = 65_536;

/// execve's arguments, built before the filter goes in.
pub(crate) struct Prepared<'p> {
    candidates: Vec<Vec<u8>>,
    args: Vector<'p>,
    env: Vector<'p>,
    program: Option<Fd>,
}

impl<'p> Prepared<'p> {
    pub(crate) fn new(op: &Op<'p>) -> Option<Self> {
        let Op::Execute {
            name,
            search,
            args,
            env,
            program,
        } = op
        else {
            return None;
        };
        Some(Prepared {
            candidates: candidates(*name, *search),
            args: Vector::new(args.iter().map(|text| text.with_nul())),
            env: Vector::new(env.iter().map(|text| text.with_nul())),
            program: program.map(Fd::from_wire),
        })
    }

    pub(crate) fn environment(&self) -> &Vector<'p> {
        &self.env
    }

    /// What is known only inside the container.
    pub(crate) fn add_to_environment(&mut self, entry: &'p [u8]) {
        self.env.push(entry);
    }
}

/// The paths that execvp(3) would try, each with a NUL.
pub(crate) fn candidates(name: Text<'_>, search: Text<'_>) -> Vec<Vec<u8>> {
    if name.bytes().contains(&b'/') {
        return alloc::vec![name.with_nul().to_vec()];
    }
    let path = |directory: &[u8]| {
        // An empty entry is the working directory.
        let directory = if directory.is_empty() {
            b"."
        } else {
            directory
        };
        [directory, b"/", name.with_nul()].concat()
    };
    search
        .bytes()
        .split(|byte| *byte == b':')
        .map(path)
        .collect()
}

impl<'p> Init<'p> {
    /// Only here the pid is known that the program will see as its own: of the container's namespace, whichever that is.
    pub(crate) fn add_environment(&mut self, entries: &[Text<'p>], own_pid: Option<Text<'p>>) {
        let Some(execution) = &mut self.execution else {
            return;
        };
        for entry in entries {
            execution.add_to_environment(entry.with_nul());
        }
        if let Some(name) = own_pid {
            let entry = [name.bytes(), b"=", &decimal(sys::getpid()), b"\0"].concat();
            execution.add_to_environment(entry.leak());
        }
    }
}

impl Init<'_> {
    /// Stdio and handed-over descriptors in place, the host's own needs close-on-exec, the rest closed.
    pub(crate) fn descriptors(&mut self, keep: &[u32], move_to: &[(u32, u32)]) -> Outcome {
        for (from, to) in move_to {
            sys::dup_to(Fd::from_wire(*from), Fd::from_wire(*to))?;
        }
        for fd in keep {
            sys::set_cloexec(Fd::from_wire(*fd), true)?;
        }
        let mut wanted: Vec<u32> = keep
            .iter()
            .copied()
            .chain(move_to.iter().map(|(_, to)| *to))
            .collect();
        wanted.sort_unstable();
        let mut first = 3;
        for fd in wanted.into_iter().filter(|fd| *fd >= 3).chain([u32::MAX]) {
            if first < fd {
                close_between(first, fd - 1, false);
            }
            first = fd.saturating_add(1);
        }
        Ok(())
    }

    /// Whatever the caller ignored or blocked is not the container's affair.
    pub(crate) fn baseline(&mut self) -> Outcome {
        const SIGKILL: usize = 9;
        const SIGSTOP: usize = 19;
        for signal in (1..=64).filter(|signal| ![SIGKILL, SIGSTOP].contains(signal)) {
            sys::default_signal(signal)?;
        }
        sys::unblock_signals()?;
        // Modes are given exactly from here on; the container's own umask comes last.
        sys::umask(0);
        Ok(())
    }

    /// A process writing "0" moves itself: in v1's `tasks` that spares the kernel's global lock.
    pub(crate) fn join_cgroup(&mut self, files: &[u32]) -> Outcome {
        for file in files {
            let file = self.descriptor(*file);
            sys::write(file, b"0")?;
            sys::close(file)?;
        }
        Ok(())
    }

    /// In a new user namespace, once mapped: be its root. A map needn't hold an id 0 (podman's keep-id).
    pub(crate) fn become_root(&mut self) -> Outcome {
        let _ = sys::setresgid(0); // unmapped: we stay who we are
        let _ = sys::setresuid(0); // unmapped: we stay who we are
        let _ = sys::setgroups(&[]); // denied for an unprivileged creator: user_namespaces(7)
        Ok(())
    }

    pub(crate) fn loopback_up(&mut self) -> Outcome {
        const SIOCSIFFLAGS: u32 = 0x8914;
        const IFF_UP_RUNNING: u16 = 0x41;
        #[repr(C, align(8))]
        struct InterfaceFlags {
            name: [u8; 16],
            flags: u16,
            rest: [u8; 22],
        }
        let socket = sys::inet_socket()?;
        let mut name = [0; 16];
        name[..2].copy_from_slice(b"lo");
        let mut request = InterfaceFlags {
            name,
            flags: IFF_UP_RUNNING,
            rest: [0; 22],
        };
        Ok(sys::ioctl(socket.fd(), SIOCSIFFLAGS, &mut request).map(drop)?)
    }

    pub(crate) fn session_keyring(&mut self, name: Text<'_>) -> Outcome {
        // A kernel without keys has none to leak.
        let keyring = match sys::join_session_keyring(name.with_nul()) {
            Err(sys::ENOSYS) => return Ok(()),
            other => other?,
        };
        Ok(sys::allow_keyring_search(keyring)?)
    }

    /// `args[0]` must be there before `create` says yes: engines tell 127 from 126 by these words.
    pub(crate) fn find_program(
        &mut self,
        name: Text<'_>,
        search: Text<'_>,
        cwd: Text<'_>,
    ) -> Outcome {
        sys::chdir(cwd.with_nul()).refused_text(Detail::ChangeDirectory, cwd.bytes())?;
        let found = look_up(name, search);
        sys::chdir(b"/\0")?;
        found
    }

    pub(crate) fn limits(&mut self, limits: &[(u32, (u64, u64))]) -> Outcome {
        for (resource, (soft, hard)) in limits {
            sys::set_limit(*resource, *soft, *hard)
                .refused_text(Detail::Limit, &decimal(*resource as usize))?;
        }
        Ok(())
    }

    /// In stage 1, while nobody is in the new namespace yet.
    pub(crate) fn time_offsets(&mut self, lines: Text<'_>) -> Outcome {
        let file = sys::openat(Fd::CWD, b"/proc/self/timens_offsets\0", sys::O_WRONLY, 0)?;
        Ok(sys::write(file.fd(), lines.bytes()).map(drop)?)
    }

    /// The caller's own CPUs are not the container's affair: without a mask its cgroup decides.
    pub(crate) fn affinity(&mut self, mask: Option<&[u8]>) -> Outcome {
        const ALL: [u8; 8192] = [0xff; 8192]; // of the 65536 CPUs that a kernel may know
        match mask {
            Some(mask) => Ok(sys::set_affinity(mask)?),
            None => {
                let _ = sys::set_affinity(&ALL); // where that is denied they stay the caller's
                Ok(())
            }
        }
    }

    /// Groups, then gid, then uid; permitted capabilities survive until the last capset.
    pub(crate) fn identity(&mut self, uid: u32, gid: u32, groups: Option<&[u32]>) -> Outcome {
        sys::prctl(prctl::SET_KEEPCAPS, 1, 0)?;
        if let Some(groups) = groups {
            sys::setgroups(groups)?;
        }
        sys::setresgid(gid)?;
        Ok(sys::setresuid(uid)?)
    }

    /// Effective = permitted again, since the change of uid emptied it.
    pub(crate) fn inheritable_capabilities(&mut self, inheritable: u64) -> Outcome {
        let permitted = sys::capget()?.permitted;
        sys::capset(sys::Caps {
            effective: permitted,
            permitted,
            inheritable,
        })?;
        Ok(sys::prctl(prctl::SET_KEEPCAPS, 0, 0).map(drop)?)
    }

    pub(crate) fn ambient_capabilities(&mut self, ambient: u64) -> Outcome {
        sys::prctl(prctl::CAP_AMBIENT, prctl::CAP_AMBIENT_CLEAR_ALL, 0)?;
        for capability in (0..64usize).filter(|capability| ambient & (1 << capability) != 0) {
            sys::prctl(prctl::CAP_AMBIENT, prctl::CAP_AMBIENT_RAISE, capability)?;
        }
        Ok(())
    }

    /// Planned twice, before and after the change of ids: root may not enter what the user may (a
    /// root-squashed share), and the other way round. The second refusal counts.
    pub(crate) fn working_directory(&mut self, path: Text<'_>, last: bool) -> Outcome {
        if self.in_directory {
            return Ok(());
        }
        match sys::chdir(path.with_nul()) {
            Err(sys::EACCES) if !last => return Ok(()),
            other => other.refused_text(Detail::ChangeDirectory, path.bytes())?,
        }
        // The kernel says "(unreachable)" of a directory outside of the root (CVE-2024-21626).
        let mut buffer = [0u8; 4096];
        if sys::getcwd(&mut buffer)?.first() != Some(&b'/') {
            return Err(Failure::new(sys::ENOENT, Detail::CwdOutside).with_text(path.bytes()));
        }
        self.in_directory = true;
        Ok(())
    }

    /// Marks, never closes: the start connection must live until execve.
    pub(crate) fn close_on_exec(&mut self, keep: &[u32]) -> Outcome {
        let mut first = 3;
        for fd in keep.iter().copied().chain([u32::MAX]) {
            if first < fd {
                close_between(first, fd - 1, true);
            }
            first = fd.saturating_add(1);
        }
        Ok(sys::default_signal(SIGPIPE)?)
    }

    /// execvp(3): the first that can be executed; of the refusals the most telling one.
    pub(crate) fn execute(&mut self) -> Outcome {
        let Some(prepared) = self.execution.take() else {
            return Err(sys::EINVAL.into());
        };
        self.executing();
        if let Some(program) = prepared.program {
            let errno = sys::execve_fd(program, &prepared.args, &prepared.env);
            return Err(Failure::new(errno, Detail::Execve));
        }
        let mut worst = sys::ENOENT;
        for path in &prepared.candidates {
            match sys::execve(path, &prepared.args, &prepared.env) {
                sys::ENOENT | sys::ENOTDIR => {}
                sys::EACCES => worst = sys::EACCES,
                errno => {
                    worst = errno;
                    break;
                }
            }
        }
        Err(Failure::new(worst, Detail::Execve))
    }
}

/// The first candidate that may be executed, or why not, in the field's words.
fn look_up(name: Text<'_>, search: Text<'_>) -> Outcome {
    let mut denied = None;
    for path in candidates(name, search) {
        match check_program(&path) {
            Ok(()) => return Ok(()),
            Err(sys::ENOENT | sys::ENOTDIR) => {}
            Err(errno) => denied = Some(errno),
        }
    }
    let failure = match denied {
        Some(errno) => Failure::new(errno, Detail::ProgramDenied),
        None if name.bytes().contains(&b'/') => Failure::new(sys::ENOENT, Detail::ProgramMissing),
        None => Failure::new(sys::ENOENT, Detail::NotFound),
    };
    Err(failure.with_text(name.bytes()))
}

fn check_program(path: &[u8]) -> sys::Result<()> {
    let file = sys::openat(Fd::CWD, path, sys::O_PATH, 0)?;
    if sys::stat(file.fd())?.is_dir() {
        return Err(sys::EISDIR);
    }
    sys::executable(Fd::CWD, path)
}

/// Closes or marks a range; one by one where close_range(2) is missing.
fn close_between(first: u32, last: u32, mark: bool) {
    if sys::close_range(first, last, mark).is_ok() {
        return;
    }
    for fd in first..=last.min(LAST_DESCRIPTOR) {
        let _ = if mark {
            sys::set_cloexec(Fd::from_wire(fd), true)
        } else {
            sys::close(Fd::from_wire(fd))
        }; // mostly not open
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &[u8], search: &[u8], expect: &[&[u8]]) {
        let got = candidates(Text::new(name).unwrap(), Text::new(search).unwrap());
        assert_eq!(got, expect);
    }

    #[test]
    fn programs_are_searched_like_execvp() {
        check(b"/bin/sh\0", b"/usr/bin\0", &[b"/bin/sh\0"]);
        check(b"a/b\0", b"/usr/bin\0", &[b"a/b\0"]);
        check(
            b"sh\0",
            b"/usr/bin:/bin\0",
            &[b"/usr/bin/sh\0", b"/bin/sh\0"],
        );
        check(b"sh\0", b":/bin\0", &[b"./sh\0", b"/bin/sh\0"]);
    }
}
