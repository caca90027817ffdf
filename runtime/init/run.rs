//! The loop: one operation after the other, each under the index of the plan's
//! step it belongs to, until the user's program is executed.
//!
//! A failure is numbers in the result page, then the end; the host writes the sentence.

use crate::filesystems::{Filesystem, Legacy};
use crate::mounts::Changes;
use crate::process::Prepared;
use crate::program::{
    self, Detail, MARKS_MAX, Op, PAGE_SIZE, Reader, ResultPage, TEXT_MAX, mark, phase,
};
use crate::sys::{self, Errno, Fd, OwnedFd};
use alloc::vec::Vec;

/// Why an operation failed.
#[derive(Debug)]
pub(crate) struct Failure {
    errno: Errno,
    detail: Detail,
    text: Vec<u8>,
}

pub(crate) type Outcome = Result<(), Failure>;

impl Failure {
    pub(crate) fn new(errno: Errno, detail: Detail) -> Failure {
        Failure {
            errno,
            detail,
            text: Vec::new(),
        }
    }

    pub(crate) fn with_text(mut self, text: &[u8]) -> Failure {
        self.text = text.to_vec();
        self
    }
}

impl From<Errno> for Failure {
    fn from(errno: Errno) -> Failure {
        Failure::new(errno, Detail::Failed)
    }
}

/// Says what a refused call was about.
pub(crate) trait Refused<T> {
    fn refused(self, detail: Detail) -> Result<T, Failure>;
    fn refused_text(self, detail: Detail, text: &[u8]) -> Result<T, Failure>;
}

impl<T> Refused<T> for sys::Result<T> {
    fn refused(self, detail: Detail) -> Result<T, Failure> {
        self.map_err(|errno| Failure::new(errno, detail))
    }

    fn refused_text(self, detail: Detail, text: &[u8]) -> Result<T, Failure> {
        self.map_err(|errno| Failure::new(errno, detail).with_text(text))
    }
}

/// All that init keeps between operations.
pub(crate) struct Init<'p> {
    /// The host's creating half; closed after COMMIT.
    pub(crate) control: Fd,
    page: &'p mut ResultPage,
    /// Operations leave the time of their end.
    marking: bool,
    /// What the host opened while we were on our way, in the order of the operations that use it.
    pub(crate) late: Vec<OwnedFd>,
    pub(crate) root: Option<OwnedFd>,
    pub(crate) proc: Option<OwnedFd>,
    pub(crate) mask_file: Option<OwnedFd>,
    pub(crate) mask_directory: Option<OwnedFd>,
    /// Who may start this container: the user that created it.
    pub(crate) creator: u32,
    pub(crate) listener: Option<Fd>,
    /// Lives until execve closes it, which is how `start` learns of the end.
    pub(crate) starter: Option<OwnedFd>,
    pub(crate) in_directory: bool,
    pub(crate) execution: Option<Prepared<'p>>,
}

/// Runs the program in `memory` (the result page, then the operations); doesn't return.
///
/// # Errors
/// Only the errno of a program that can't be read; all else ends in the result page.
pub(crate) fn run(memory: &'static mut [u8]) -> Errno {
    let (head, bytes) = memory.split_at_mut(PAGE_SIZE);
    let page_pointer: *mut ResultPage = head.as_mut_ptr().cast();
    // SAFETY: the head is a page, aligned as one, lives as long as the process, and any bytes are a valid page.
    let page = unsafe { &mut *page_pointer };
    let Some((control, operations)) = decode(bytes) else {
        page.errno = sys::EINVAL.0;
        page.detail = Detail::BadProgram as u32;
        return sys::EINVAL;
    };
    let mut init = Init::new(Fd::from_wire(control), page);
    init.begin_marks();
    // All that the last steps need is laid out now: after the filter nothing may be allocated.
    init.execution = operations.iter().find_map(|(_, op)| Prepared::new(op));
    for (step, op) in &operations {
        init.enter_step(*step);
        if let Err(failure) = init.perform(op) {
            init.fail(&failure);
        }
        // From then on the clock may be forbidden.
        init.marking &= !matches!(op, Op::Filter { .. });
        init.mark();
    }
    sys::EINVAL
}

fn decode(bytes: &'static [u8]) -> Option<(u32, Vec<(u32, Op<'static>)>)> {
    let mut input = Reader::new(bytes);
    let (control, count) = program::get_header(&mut input)?;
    let mut operations = Vec::with_capacity((count as usize).min(bytes.len() / 8));
    for _ in 0..count {
        operations.push(Op::get(&mut input)?);
    }
    Some((control, operations))
}

/// A store that the compiler may not drop or move: somebody else reads the page.
macro_rules! store {
    ($place:expr, $value:expr) => {{
        let place = &raw mut $place;
        // SAFETY: the place is a live, aligned field of a page that we have exclusively on our side.
        unsafe { place.write_volatile($value) }
    }};
}

impl<'p> Init<'p> {
    fn new(control: Fd, page: &'p mut ResultPage) -> Self {
        Init {
            control,
            page,
            marking: false,
            late: Vec::new(),
            root: None,
            proc: None,
            mask_file: None,
            mask_directory: None,
            creator: u32::MAX,
            listener: None,
            starter: None,
            in_directory: false,
            execution: None,
        }
    }

    fn enter_step(&mut self, step: u32) {
        store!(self.page.step, step);
    }

    pub(crate) fn step(&self) -> u32 {
        self.page.step
    }

    pub(crate) fn enter_phase(&mut self, phase: u32) {
        store!(self.page.phase, phase);
    }

    /// From now on the result goes to `start`'s page.
    pub(crate) fn use_page(&mut self, page: &'p mut ResultPage) {
        let step = self.page.step;
        self.page = page;
        self.enter_step(step);
        self.begin_marks();
    }

    /// If the host of this page wants to know.
    fn begin_marks(&mut self) {
        self.marking = self.page.timed != 0;
        if self.marking {
            store!(self.page.begin, sys::real_time());
        }
    }

    fn mark(&mut self) {
        let index = self.page.marks_len;
        if !self.marking || index as usize >= MARKS_MAX {
            return;
        }
        let nanos = sys::real_time().saturating_sub(self.page.begin);
        store!(
            self.page.marks[index as usize],
            mark::new(self.page.step, nanos)
        );
        store!(self.page.marks_len, index + 1);
    }

    /// Writes down why, then ends. The phase is set back: this is no execve in progress.
    pub(crate) fn fail(&mut self, failure: &Failure) -> ! {
        self.record(failure);
        sys::exit(1)
    }

    pub(crate) fn record(&mut self, failure: &Failure) {
        let text = &failure.text[..failure.text.len().min(TEXT_MAX)];
        for (place, byte) in self.page.text.iter_mut().zip(text) {
            *place = *byte;
        }
        store!(self.page.text_len, u32::try_from(text.len()).unwrap_or(0));
        store!(self.page.detail, failure.detail as u32);
        store!(self.page.errno, failure.errno.0);
    }

    /// The table of operations.
    fn perform(&mut self, op: &Op<'p>) -> Outcome {
        match op {
            Op::Descriptors { keep, move_to } => self.descriptors(keep, move_to),
            Op::Receive { count } => self.receive(*count),
            Op::Baseline {} => self.baseline(),
            Op::JoinNamespace { fd, kind } => Ok(sys::setns(Fd::from_wire(*fd), *kind)?),
            Op::Unshare { flags } => Ok(sys::unshare(*flags)?),
            Op::Clone {
                flags,
                cgroup,
                clone3,
            } => self.second_clone(*flags, *cgroup, *clone3),
            Op::JoinCgroup { files } => self.join_cgroup(files),
            Op::Sync {} => self.sync(),
            Op::BecomeRoot {} => self.become_root(),
            Op::DropDumpable {} => Ok(sys::prctl(sys::prctl::SET_DUMPABLE, 0, 0).map(drop)?),
            Op::LoopbackUp {} => self.loopback_up(),
            Op::NetlinkSocket {} => self.netlink_socket(),
            Op::SetPropagation { flags, new_api } => self.set_propagation(*flags, *new_api),
            Op::AttachRoot {
                source,
                in_place,
                new_api,
            } => self.attach_root(source, *in_place, *new_api),
            Op::MountFilesystem {
                fstype,
                source,
                options,
                attributes,
                target,
                real_directory,
                tmpfs,
            } => {
                let (fstype, source, attributes) = (*fstype, *source, *attributes);
                let (target, real_directory) = (*target, *real_directory);
                self.mount_filesystem(&Filesystem {
                    fstype,
                    source,
                    options,
                    attributes,
                    target,
                    real_directory,
                    tmpfs: tmpfs.as_ref(),
                })
            }
            Op::MountLegacy {
                fstype,
                source,
                flags,
                data,
                target,
                real_directory,
                tmpfs,
            } => {
                let (fstype, source, flags, data) = (*fstype, *source, *flags, *data);
                let (target, real_directory) = (*target, *real_directory);
                self.mount_legacy(&Legacy {
                    fstype,
                    source,
                    flags,
                    data,
                    target,
                    real_directory,
                    tmpfs: tmpfs.as_ref(),
                })
            }
            Op::Bind {
                source,
                target,
                set,
                clear,
                recursive_set,
                recursive_clear,
                new_api,
            } => {
                let (set, clear) = (*set, *clear);
                let (recursive_set, recursive_clear) = (*recursive_set, *recursive_clear);
                let changes = Changes {
                    set,
                    clear,
                    recursive_set,
                    recursive_clear,
                };
                self.bind(source, *target, &changes, *new_api)
            }
            Op::Remount {
                target,
                bind,
                flags,
                data,
                set,
                clear,
                recursive_set,
                recursive_clear,
                new_api,
            } => {
                let changes = Changes {
                    set: *set,
                    clear: *clear,
                    recursive_set: *recursive_set,
                    recursive_clear: *recursive_clear,
                };
                let filesystem = (!bind).then_some((*flags, *data));
                self.remount_target(*target, filesystem, &changes, *new_api)
            }
            Op::TargetPropagation {
                target,
                flags,
                new_api,
            } => self.target_propagation(*target, flags, *new_api),
            Op::TargetReadonly { target, new_api } => self.target_readonly(*target, *new_api),
            Op::DeviceNode {
                path,
                mode,
                major,
                minor,
                uid,
                gid,
            } => self.device_node(*path, *mode, (*major, *minor), (*uid, *gid)),
            Op::DeviceBind {
                source,
                path,
                new_api,
            } => self.device_bind(source, *path, *new_api),
            Op::Symlink { contents, path } => self.symlink(*contents, *path),
            Op::SwitchRoot { how, root } => self.switch_root(*how, *root),
            Op::RootReadonly { new_api } => self.root_readonly(*new_api),
            Op::ReadonlyPath { path, new_api } => self.readonly_path(*path, *new_api),
            Op::MaskPath {
                null,
                path,
                new_api,
            } => self.mask_path(null, *path, *new_api),
            Op::Hostname { name } => Ok(sys::sethostname(name.bytes())?),
            Op::Domainname { name } => Ok(sys::setdomainname(name.bytes())?),
            Op::SessionKeyring { name } => self.session_keyring(*name),
            Op::Console {
                socket,
                mount,
                uid,
                size,
            } => self.console(*socket, *mount, *uid, *size),
            Op::TimeOffsets { lines } => self.time_offsets(*lines),
            Op::Affinity { mask } => self.affinity(*mask),
            Op::Scheduler { attributes } => Ok(sys::set_scheduler(attributes)?),
            Op::IoPriority { value } => Ok(sys::set_io_priority(*value)?),
            Op::MemoryPolicy { mode, nodes } => Ok(sys::set_memory_policy(*mode, nodes)?),
            Op::Personality { persona } => Ok(sys::personality(*persona)?),
            Op::ControllingTerminal {} => self.controlling_terminal(),
            Op::OwnNullDevice {} => self.own_null_device(),
            Op::NewSession {} => self.new_session(),
            Op::EnsureDirectory { path } => self.ensure_directory(*path),
            Op::HoldProcfs {} => Ok(self.proc().map(drop)?),
            Op::Attribute { files, value } => self.attribute(files, *value),
            Op::Home { uid } => self.home(*uid),
            Op::Environment { entries, own_pid } => {
                self.add_environment(entries, *own_pid);
                Ok(())
            }
            Op::Sysctl {
                path,
                value,
                new_api,
            } => self.sysctl(*path, *value, *new_api),
            Op::FindProgram { name, search, cwd } => self.find_program(*name, *search, *cwd),
            Op::Ready { listener } => match listener {
                Some(listener) => self.ready(*listener),
                None => self.ready_to_execute(),
            },
            Op::WaitStart {} => self.wait_start(),
            Op::Hook { call, identity } => self.hook(call, identity.as_ref()),
            Op::Limits { limits } => self.limits(limits),
            Op::Umask { mask } => {
                sys::umask(*mask);
                Ok(())
            }
            Op::DropBounding { keep } => Ok(drop_bounding(*keep)?),
            Op::Identity { uid, gid, groups } => self.identity(*uid, *gid, groups.as_deref()),
            Op::InheritableCapabilities { inheritable } => {
                self.inheritable_capabilities(*inheritable)
            }
            Op::AmbientCapabilities { ambient } => self.ambient_capabilities(*ambient),
            Op::Capabilities {
                effective,
                permitted,
                inheritable,
            } => {
                let (effective, permitted, inheritable) = (*effective, *permitted, *inheritable);
                Ok(sys::capset(sys::Caps {
                    effective,
                    permitted,
                    inheritable,
                })?)
            }
            Op::WorkingDirectory { path, last } => self.working_directory(*path, *last),
            Op::CloseOnExec { keep } => self.close_on_exec(keep),
            Op::NoNewPrivileges {} => Ok(sys::prctl(sys::prctl::SET_NO_NEW_PRIVS, 1, 0).map(drop)?),
            Op::Filter { flags, program } => self.filter(*flags, program),
            Op::Execute { .. } => self.execute(),
        }
    }

    /// Everything is ready; the next system call is execve, or the filter's first.
    pub(crate) fn executing(&mut self) {
        self.enter_phase(phase::EXECING);
    }
}

/// Capabilities beyond the kernel's last one end the loop.
pub(crate) fn drop_bounding(keep: u64) -> sys::Result<()> {
    for capability in 0..64usize {
        if keep & (1 << capability) != 0 {
            continue;
        }
        match sys::prctl(sys::prctl::CAPBSET_DROP, capability, 0) {
            Err(sys::EINVAL) => break,
            // Not ours to drop, and not there either: nothing to take away.
            Err(sys::EPERM) if sys::prctl(sys::prctl::CAPBSET_READ, capability, 0) == Ok(0) => {}
            other => other.map(drop)?,
        }
    }
    Ok(())
}

/// A number's digits.
pub(crate) fn decimal(mut number: usize) -> Vec<u8> {
    let mut digits = Vec::new();
    loop {
        digits.push(b'0' + u8::try_from(number % 10).unwrap_or(0));
        number /= 10;
        if number == 0 {
            digits.reverse();
            return digits;
        }
    }
}
