//! Linking: a plan's steps become operations, its paths and sockets become
//! descriptors. What can be opened on the host is opened here.

use crate::cgroup::Cgroup;
use crate::config::mount_options::{MountOptions, SUPERBLOCK, ms::PRIVATE as MS_PRIVATE};
use crate::config::{Config, NamespaceKind};
use crate::error::{Error, Result};
use crate::plan::{Action, Facts, Plan, Side, Switch, TreeSource};
use crate::seccomp;
use crate::sys::fd;
use crate::wire::{self, HookCall, Op, PAGE_SIZE, PAGE_VERSION, ResultPage, Source, Text};
use std::fs::File;
use std::io::Write;
use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;

/// What the plan's symbolic things stand for in this launch.
pub(crate) struct Link<'a> {
    pub(crate) config: &'a Config,
    pub(crate) plan: &'a Plan,
    pub(crate) facts: &'a Facts,
    pub(crate) rootfs: &'a str,
    pub(crate) state_root: &'a Path,
    pub(crate) cgroup: Option<&'a Cgroup>,
    pub(crate) stdio: [BorrowedFd<'a>; 3],
    /// Become 3, 4, … in the program.
    pub(crate) extra: &'a [BorrowedFd<'a>],
    /// A connected socket for the terminal's master.
    pub(crate) console: Option<BorrowedFd<'a>>,
    pub(crate) program: Option<BorrowedFd<'a>>,
    /// Bound, not listening yet.
    pub(crate) listener: OwnedFd,
    /// Init's end of the control socket.
    pub(crate) control: OwnedFd,
    /// The state that hooks inside get: before the pid, after it.
    pub(crate) hook_state: (String, String),
    /// Let init wait for the host before each step, for fault injection.
    pub(crate) stop_at_steps: bool,
}

/// A linked program, ready to spawn.
#[derive(Debug)]
pub(crate) struct Program {
    /// The result page and the operations.
    pub(crate) memory: File,
    /// Its number in the child.
    pub(crate) number: RawFd,
    /// All that the child must inherit.
    pub(crate) pass: Vec<RawFd>,
    /// Keeps them open until the child has them.
    #[allow(dead_code)] // held, not read
    held: Vec<OwnedFd>,
}

/// Opens and encodes everything.
pub(crate) fn link(link: Link<'_>) -> Result<Program> {
    // Descriptors of ours must not sit where the program's own will go.
    let lowest = 3 + RawFd::try_from(link.extra.len()).unwrap_or(0);
    let mut linker = Linker { link: &link, lowest, held: Vec::new(), keep: Vec::new(), moves: Vec::new(), bytes: Vec::new(), count: 0, null: None };
    let control = linker.pass(link.control.as_fd())?;
    let listener = linker.pass(link.listener.as_fd())?;
    linker.stdio()?;
    let memory = fd::anonymous_file(c"longshore-program", link.state_root)?;
    let number = linker.pass(memory.as_fd())?;
    for (index, step) in link.plan.steps.iter().enumerate() {
        if step.side == Side::Host {
            continue;
        }
        let step_number = u32::try_from(index).unwrap_or(u32::MAX);
        // "Descriptors" names all that is kept, which is known at the end only.
        if !matches!(step.action, Action::Descriptors) {
            let waits = matches!(step.action, Action::HostTurn(_));
            if link.stop_at_steps && step.side == Side::Init && !waits {
                linker.put(step_number, &Op::Sync {});
            }
            linker.step(step_number, &step.action, listener).map_err(|error| error.at(&step.path).in_step(step.action.to_string()))?;
        }
    }
    linker.finish(memory, control, number)
}

struct Linker<'a, 'l> {
    link: &'l Link<'a>,
    lowest: RawFd,
    held: Vec<OwnedFd>,
    keep: Vec<u32>,
    moves: Vec<(u32, u32)>,
    bytes: Vec<u8>,
    count: u32,
    null: Option<u32>,
}

/// A string with its NUL. `config::check` has refused any inside.
struct Nul(Vec<u8>);

fn nul(text: &str) -> Nul {
    let mut bytes: Vec<u8> = text.bytes().filter(|byte| *byte != 0).collect();
    bytes.push(0);
    Nul(bytes)
}

impl Nul {
    fn text(&self) -> Text<'_> {
        // Made so that it has exactly one NUL, at its end.
        Text::new(&self.0).unwrap_or_else(|| unreachable!("a NUL inside a string"))
    }
}

fn nuls(list: &[String]) -> Vec<Nul> {
    list.iter().map(|text| nul(text)).collect()
}

fn texts(list: &[Nul]) -> Vec<Text<'_>> {
    list.iter().map(Nul::text).collect()
}

fn number(fd: RawFd) -> u32 {
    fd.cast_unsigned()
}

impl Linker<'_, '_> {
    /// Lets the child inherit a descriptor; its number there.
    fn pass(&mut self, fd: BorrowedFd<'_>) -> Result<u32> {
        let copy = fd::duplicate_above(fd, self.lowest)?;
        Ok(self.pass_owned(copy))
    }

    /// One that was opened for the child: as it is, if its number will do.
    fn pass_ours(&mut self, fd: OwnedFd) -> Result<u32> {
        if fd.as_raw_fd() < self.lowest { self.pass(fd.as_fd()) } else { Ok(self.pass_owned(fd)) }
    }

    fn pass_owned(&mut self, fd: OwnedFd) -> u32 {
        let raw = number(fd.as_raw_fd());
        self.keep.push(raw);
        self.held.push(fd);
        raw
    }

    fn stdio(&mut self) -> Result<()> {
        let wanted = self.link.stdio.iter().chain(self.link.extra).enumerate();
        for (target, fd) in wanted {
            let target = u32::try_from(target).unwrap_or(u32::MAX);
            // In place already: dup2 onto itself in the child, no copy here.
            if number(fd.as_raw_fd()) == target && target < 3 {
                self.moves.push((target, target));
                continue;
            }
            let copy = fd::duplicate_above(*fd, self.lowest)?;
            self.moves.push((number(copy.as_raw_fd()), target));
            self.held.push(copy);
        }
        Ok(())
    }

    fn put(&mut self, step: u32, op: &Op<'_>) {
        op.put(step, &mut self.bytes);
        self.count += 1;
    }

    fn finish(mut self, mut memory: File, control: u32, program: u32) -> Result<Program> {
        self.keep.sort_unstable();
        let mut head = Vec::with_capacity(PAGE_SIZE + self.bytes.len() + 256);
        head.extend_from_slice(&fresh_page());
        wire::put_header(control, self.count + 1, &mut head);
        let step = self.link.plan.steps.iter().position(|step| matches!(step.action, Action::Descriptors));
        let descriptors = Op::Descriptors { keep: self.keep.clone(), move_to: self.moves.clone() };
        descriptors.put(step.and_then(|step| u32::try_from(step).ok()).unwrap_or(0), &mut head);
        head.extend_from_slice(&self.bytes);
        memory.write_all(&head).map_err(|error| Error::system("cannot write init's program", error))?;
        let pass = self.held.iter().map(AsRawFd::as_raw_fd).collect();
        Ok(Program { memory, number: program.cast_signed(), pass, held: self.held })
    }

    fn tree(&mut self, source: &TreeSource) -> Result<(Option<u32>, Nul)> {
        let path = nul(&source.path);
        if !source.by_host {
            return Ok((None, path));
        }
        let tree = fd::clone_tree(&source.path, source.recursive)
            .map_err(|errno| Error::system(format!("cannot clone the tree {}", source.path), errno))?;
        Ok((Some(self.pass_ours(tree)?), path))
    }

    fn open_path(&mut self, path: &str) -> Result<u32> {
        let file = File::open(path).map_err(|error| Error::system(format!("cannot open {path}"), error))?;
        self.pass(file.as_fd())
    }

    /// One step's operations: a table.
    #[allow(clippy::too_many_lines)] // a table: a few lines an action
    fn step(&mut self, step: u32, action: &Action, listener: u32) -> Result<()> {
        let simple = match action {
            // The host's own, or put at the end.
            Action::CreateCgroup { .. } | Action::CgroupWrite(_) | Action::CgroupDevices(_) | Action::OomScore(_) | Action::Descriptors => return Ok(()),
            Action::JoinNamespace { kind, path } => {
                let fd = self.open_path(path)?;
                Op::JoinNamespace { fd, kind: kind.flag() }
            }
            Action::Unshare { kinds } => Op::Unshare { flags: flags(kinds) },
            Action::Clone { kinds, into_cgroup, clone3 } => {
                let directory = self.link.cgroup.and_then(Cgroup::v2_dir).filter(|_| *into_cgroup);
                let cgroup = directory.map(|directory| self.pass(directory)).transpose()?;
                Op::Clone { flags: flags(kinds), cgroup, clone3: *clone3 }
            }
            Action::Baseline => Op::Baseline {},
            Action::NewSession => Op::NewSession {},
            Action::JoinCgroup { born_in_v2 } => {
                let files = self.link.cgroup.map(|cgroup| cgroup.join_files(*born_in_v2)).transpose()?.unwrap_or_default();
                let files = files.into_iter().map(|file| self.pass_ours(file)).collect::<Result<_>>()?;
                Op::JoinCgroup { files }
            }
            Action::HostTurn(_) => Op::Sync {},
            Action::BecomeRoot => Op::BecomeRoot {},
            Action::DropDumpable => Op::DropDumpable {},
            Action::LoopbackUp => Op::LoopbackUp {},
            Action::SetPropagation { flags, new_api } => Op::SetPropagation { flags: *flags, new_api: *new_api },
            Action::AttachRoot { source, new_api } => {
                let (tree, path) = self.tree(source)?;
                self.put(step, &Op::AttachRoot { source: wire_source(tree, &path, source), new_api: *new_api });
                return Ok(());
            }
            Action::MountFilesystem { fstype, source, options, target, real_directory, new_api } => {
                self.filesystem(step, fstype, source.as_deref(), options, target, (*real_directory, *new_api));
                return Ok(());
            }
            Action::Bind { source, options, target, new_api } => {
                let (tree, path) = self.tree(source)?;
                let target = nul(target);
                let op = Op::Bind {
                    source: wire_source(tree, &path, source),
                    target: target.text(),
                    set: options.set,
                    clear: options.clear,
                    recursive_set: options.recursive_set,
                    recursive_clear: options.recursive_clear,
                    new_api: *new_api,
                };
                self.put(step, &op);
                return Ok(());
            }
            Action::TargetPropagation { target, flags, new_api } => {
                let target = nul(target);
                self.put(step, &Op::TargetPropagation { target: target.text(), flags: flags.clone(), new_api: *new_api });
                return Ok(());
            }
            Action::TargetReadonly { target, new_api } => {
                let target = nul(target);
                self.put(step, &Op::TargetReadonly { target: target.text(), new_api: *new_api });
                return Ok(());
            }
            Action::DeviceNode(device) => {
                let path = nul(&device.path);
                let (major, minor, uid, gid) = (device.major, device.minor, device.uid, device.gid);
                self.put(step, &Op::DeviceNode { path: path.text(), mode: device.kind | device.mode, major, minor, uid, gid });
                return Ok(());
            }
            Action::DeviceBind { source, path } => {
                let by_host = self.link.facts.privileged && self.link.facts.new_api();
                let source = TreeSource { path: source.clone(), recursive: false, by_host, propagation: MS_PRIVATE };
                let (tree, source_path) = self.tree(&source)?;
                let path = nul(path);
                self.put(step, &Op::DeviceBind { source: wire_source(tree, &source_path, &source), path: path.text(), new_api: self.link.facts.new_api() });
                return Ok(());
            }
            Action::Symlink { contents, path } => {
                let (contents, path) = (nul(contents), nul(path));
                self.put(step, &Op::Symlink { contents: contents.text(), path: path.text() });
                return Ok(());
            }
            Action::SwitchRoot(switch) => {
                let root = match switch {
                    Switch::Chroot => Some(self.open_path(self.link.rootfs)?),
                    Switch::Pivot | Switch::Move => None,
                };
                Op::SwitchRoot { how: u32::from(*switch != Switch::Pivot), root }
            }
            Action::Console { uid } => {
                let socket = self.link.console.ok_or_else(|| Error::config("process.terminal", "no console socket"))?;
                let socket = self.pass(socket)?;
                Op::Console { socket, mount: true, uid: *uid }
            }
            Action::ControllingTerminal => Op::ControllingTerminal {},
            Action::EnsureDirectory(path) => return self.path_op(step, path, |path| Op::EnsureDirectory { path }),
            Action::RootReadonly { new_api } => Op::RootReadonly { new_api: *new_api },
            Action::ReadonlyPath { path, new_api } => {
                return self.path_op(step, path, |path| Op::ReadonlyPath { path, new_api: *new_api });
            }
            Action::MaskPath { path, new_api, by_host } => {
                let source = TreeSource { path: "/dev/null".to_owned(), recursive: false, by_host: *by_host, propagation: 0 };
                let tree = new_api.then(|| self.null_device(&source)).transpose()?;
                let (null_path, path) = (nul("/dev/null"), nul(path));
                let null = wire_source(tree, &null_path, &source);
                self.put(step, &Op::MaskPath { null, path: path.text(), new_api: *new_api });
                return Ok(());
            }
            Action::Hostname(name) => return self.path_op(step, name, |name| Op::Hostname { name }),
            Action::Domainname(name) => return self.path_op(step, name, |name| Op::Domainname { name }),
            Action::SessionKeyring(name) => return self.path_op(step, name, |name| Op::SessionKeyring { name }),
            Action::FindProgram { name, search, cwd } => {
                let (name, search, cwd) = (nul(name), nul(search), nul(cwd));
                self.put(step, &Op::FindProgram { name: name.text(), search: search.text(), cwd: cwd.text() });
                return Ok(());
            }
            Action::Umask(mask) => Op::Umask { mask: *mask },
            Action::Ready => Op::Ready { listener },
            Action::WaitStart => Op::WaitStart {},
            Action::StartHook { hook, identity, bounding, inheritable, environment } => {
                self.hook(step, hook, (identity, *bounding, *inheritable), environment);
                return Ok(());
            }
            Action::Limits(limits) => {
                Op::Limits { limits: limits.iter().map(|limit| (limit.resource, (limit.soft, limit.hard))).collect() }
            }
            Action::DropBounding { keep } => Op::DropBounding { keep: *keep },
            Action::Identity(identity) => Op::Identity { uid: identity.uid, gid: identity.gid, groups: identity.groups.clone() },
            Action::WorkingDirectory { path, last } => {
                return self.path_op(step, path, |path| Op::WorkingDirectory { path, last: *last });
            }
            Action::InheritableCapabilities(set) => Op::InheritableCapabilities { inheritable: *set },
            Action::AmbientCapabilities(set) => Op::AmbientCapabilities { ambient: *set },
            Action::Capabilities { effective, permitted, inheritable } => {
                Op::Capabilities { effective: *effective, permitted: *permitted, inheritable: *inheritable }
            }
            Action::CloseOnExec { extra } => Op::CloseOnExec { keep: (3..3 + extra).collect() },
            Action::NoNewPrivileges => Op::NoNewPrivileges {},
            Action::Filter { .. } => return self.filter(step),
            Action::Execute { name, search, args, environment, .. } => {
                let program = self.link.program.map(|program| self.pass(program)).transpose()?;
                let (name, search, args, env) = (nul(name), nul(search), nuls(args), nuls(environment));
                let (args, env) = (texts(&args), texts(&env));
                self.put(step, &Op::Execute { name: name.text(), search: search.text(), args, env, program });
                return Ok(());
            }
        };
        self.put(step, &simple);
        Ok(())
    }

    fn path_op(&mut self, step: u32, path: &str, make: impl for<'x> FnOnce(Text<'x>) -> Op<'x>) -> Result<()> {
        let path: Nul = nul(path);
        let op = make(path.text());
        self.put(step, &op);
        Ok(())
    }

    /// One clone of the null device serves every mask.
    fn null_device(&mut self, source: &TreeSource) -> Result<u32> {
        if let Some(known) = self.null {
            return Ok(known);
        }
        let fd = match self.tree(source)? {
            (Some(tree), _) => tree,
            (None, _) => {
                let null = nix::fcntl::open("/dev/null", nix::fcntl::OFlag::O_PATH | nix::fcntl::OFlag::O_CLOEXEC, nix::sys::stat::Mode::empty());
                let null = null.map_err(|errno| Error::system("cannot open /dev/null", errno))?;
                self.pass(null.as_fd())?
            }
        };
        self.null = Some(fd);
        Ok(fd)
    }

    fn filesystem(&mut self, step: u32, fstype: &str, source: Option<&str>, options: &MountOptions, target: &str, (real_directory, new_api): (bool, bool)) {
        let (kind, target) = (nul(fstype), nul(target));
        if !new_api {
            let (source, data) = (nul(source.unwrap_or(fstype)), nul(&options.mount2_data()));
            let (fstype, source, data, target) = (kind.text(), source.text(), data.text(), target.text());
            self.put(step, &Op::MountLegacy { fstype, source, flags: options.mount2_flags(), data, target, real_directory });
            return;
        }
        let source = source.map(nul);
        let flags = SUPERBLOCK.iter().filter(|(flag, _)| options.superblock & flag != 0);
        let mut pairs: Vec<(Nul, Option<Nul>)> = flags.filter_map(|(_, name)| name.map(|name| (nul(name), None))).collect();
        pairs.extend(options.data.iter().map(|(key, value)| (nul(key), value.as_deref().map(nul))));
        let op = Op::MountFilesystem {
            fstype: kind.text(),
            source: source.as_ref().map(Nul::text),
            options: pairs.iter().map(|(key, value)| (key.text(), value.as_ref().map(Nul::text))).collect(),
            attributes: options.set,
            target: target.text(),
            real_directory,
        };
        self.put(step, &op);
    }

    fn hook(&mut self, step: u32, hook: &crate::config::Hook, (identity, bounding, inheritable): (&crate::plan::Identity, u64, u64), environment: &[String]) {
        let (path, args, env) = (nul(&hook.path), nuls(&hook.args), nuls(environment));
        let (before, after) = (&self.link.hook_state.0, &self.link.hook_state.1);
        let call = HookCall {
            path: path.text(),
            args: texts(&args),
            env: texts(&env),
            timeout: hook.timeout.map(|seconds| seconds.saturating_mul(1000)),
            before: before.as_bytes(),
            after: after.as_bytes(),
            lifetime: PhantomData,
        };
        let groups = identity.groups.clone();
        let op = Op::Hook { call, uid: identity.uid, gid: identity.gid, groups, bounding, inheritable };
        op.put(step, &mut self.bytes);
        self.count += 1;
    }

    fn filter(&mut self, step: u32) -> Result<()> {
        let Some(given) = &self.link.config.seccomp else { return Ok(()) };
        let filter = seccomp::compile(given)?;
        self.put(step, &Op::Filter { flags: filter.flags, program: &filter.program });
        Ok(())
    }
}

fn wire_source<'a>(tree: Option<u32>, path: &'a Nul, source: &TreeSource) -> Source<'a> {
    Source { tree, path: Some(path.text()), recursive: source.recursive, propagation: source.propagation, lifetime: PhantomData }
}

fn flags(kinds: &[NamespaceKind]) -> u64 {
    kinds.iter().fold(0, |flags, kind| flags | kind.flag())
}

/// A result page that says nothing has happened yet.
pub(super) fn fresh_page() -> [u8; PAGE_SIZE] {
    let mut page = [0; PAGE_SIZE];
    let version = std::mem::offset_of!(ResultPage, version);
    page[version..version + 4].copy_from_slice(&PAGE_VERSION.to_le_bytes());
    page
}
