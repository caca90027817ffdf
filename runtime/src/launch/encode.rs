//! Encoding: the table from a plan's actions to init's operations.

use super::link::{Late, Linker, Nul, flags, nul, nuls, texts, wire_source};
use crate::config::attributes::TimeOffset;
use crate::config::mount_options::ms::PRIVATE as MS_PRIVATE;
use crate::error::{Error, Result};
use crate::plan::{Action, Switch, TreeSource};
use crate::wire::{HookIdentity, Op};
use std::marker::PhantomData;

mod parts;

impl Linker<'_, '_> {
    /// One step's operations: a table.
    #[allow(clippy::too_many_lines)] // a table: a few lines an action
    pub(super) fn step(&mut self, step: u32, action: &Action) -> Result<()> {
        let simple = match action {
            // The host's own, or put at the end.
            Action::CreateCgroup { .. }
            | Action::StartUnit { .. }
            | Action::CgroupWrite(_)
            | Action::CgroupDevices(_)
            | Action::CgroupOwner(_)
            | Action::OomScore(_)
            | Action::Resctrl(_)
            | Action::MoveDevice(_)
            | Action::LateHook(_)
            | Action::Descriptors => return Ok(()),
            Action::Receive => {
                self.receive_here(step);
                return Ok(());
            }
            Action::JoinNamespace { kind, path } => {
                let fd = self.open_path(path)?;
                Op::JoinNamespace {
                    fd,
                    kind: kind.flag(),
                }
            }
            Action::Unshare { kinds } => Op::Unshare {
                flags: flags(kinds),
            },
            Action::Clone {
                kinds,
                into_cgroup,
                clone3,
            } => {
                let cgroup = into_cgroup.then(|| self.later(Late::CgroupDirectory));
                Op::Clone {
                    flags: flags(kinds),
                    cgroup,
                    clone3: *clone3,
                }
            }
            Action::Baseline => Op::Baseline {},
            Action::NewSession => Op::NewSession {},
            Action::JoinCgroup { born_in_v2 } => {
                let directories = self.link.facts.cgroup_directories.0.iter().enumerate();
                let files = directories
                    .filter(|(_, directory)| !(*born_in_v2 && directory.is_v2()))
                    .map(|(index, _)| self.later(Late::CgroupJoin(index)))
                    .collect();
                Op::JoinCgroup { files }
            }
            Action::HostTurn(_) => Op::Sync {},
            Action::BecomeRoot => Op::BecomeRoot {},
            Action::DropDumpable => Op::DropDumpable {},
            Action::LoopbackUp => Op::LoopbackUp {},
            Action::NetlinkSocket => Op::NetlinkSocket {},
            Action::SetPropagation { flags, new_api } => Op::SetPropagation {
                flags: *flags,
                new_api: *new_api,
            },
            Action::AttachRoot {
                source,
                in_place,
                new_api,
            } => {
                let (tree, path) = self.tree(source)?;
                self.put(
                    step,
                    &Op::AttachRoot {
                        source: wire_source(tree, &path, source),
                        in_place: *in_place,
                        new_api: *new_api,
                    },
                );
                return Ok(());
            }
            Action::MountFilesystem {
                fstype,
                source,
                options,
                target,
                real_directory,
                new_api,
            } => {
                self.filesystem(
                    step,
                    fstype,
                    source.as_deref(),
                    options,
                    target,
                    (*real_directory, *new_api),
                );
                return Ok(());
            }
            Action::Bind {
                source,
                options,
                target,
                new_api,
            } => {
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
            Action::Remount {
                options,
                bind,
                target,
                new_api,
            } => {
                let (target, data) = (nul(target), nul(&options.mount2_data()));
                let op = Op::Remount {
                    target: target.text(),
                    bind: *bind,
                    flags: options.superblock,
                    data: data.text(),
                    set: options.set,
                    clear: options.clear,
                    recursive_set: options.recursive_set,
                    recursive_clear: options.recursive_clear,
                    new_api: *new_api,
                };
                self.put(step, &op);
                return Ok(());
            }
            Action::TargetPropagation {
                target,
                flags,
                new_api,
            } => {
                let target = nul(target);
                self.put(
                    step,
                    &Op::TargetPropagation {
                        target: target.text(),
                        flags: flags.clone(),
                        new_api: *new_api,
                    },
                );
                return Ok(());
            }
            Action::TargetReadonly { target, new_api } => {
                let target = nul(target);
                self.put(
                    step,
                    &Op::TargetReadonly {
                        target: target.text(),
                        new_api: *new_api,
                    },
                );
                return Ok(());
            }
            Action::DeviceNode(device) => {
                let path = nul(&device.path);
                let (major, minor, uid, gid) = (device.major, device.minor, device.uid, device.gid);
                self.put(
                    step,
                    &Op::DeviceNode {
                        path: path.text(),
                        mode: device.kind | device.mode,
                        major,
                        minor,
                        uid,
                        gid,
                    },
                );
                return Ok(());
            }
            Action::DeviceBind { source, path } => {
                let by_host = self.link.facts.privileged && self.link.facts.new_api();
                let source = TreeSource {
                    path: source.clone(),
                    recursive: false,
                    by_host,
                    propagation: MS_PRIVATE,
                    id_map: None,
                    new: None,
                };
                let (tree, source_path) = self.tree(&source)?;
                let path = nul(path);
                self.put(
                    step,
                    &Op::DeviceBind {
                        source: wire_source(tree, &source_path, &source),
                        path: path.text(),
                        new_api: self.link.facts.new_api(),
                    },
                );
                return Ok(());
            }
            Action::Symlink { contents, path } => {
                let (contents, path) = (nul(contents), nul(path));
                self.put(
                    step,
                    &Op::Symlink {
                        contents: contents.text(),
                        path: path.text(),
                    },
                );
                return Ok(());
            }
            Action::SwitchRoot(switch) => {
                let root = match switch {
                    Switch::Chroot => Some(self.open_path(self.link.rootfs)?),
                    Switch::Pivot | Switch::Move | Switch::Joined => None,
                };
                Op::SwitchRoot {
                    how: match switch {
                        Switch::Pivot => 0,
                        Switch::Move | Switch::Chroot => 1,
                        Switch::Joined => 2,
                    },
                    root,
                }
            }
            Action::Console { uid, mount, size } => {
                let socket = self
                    .link
                    .console
                    .ok_or_else(|| Error::config("process.terminal", "no console socket"))?;
                let socket = self.pass(socket)?;
                Op::Console {
                    socket,
                    mount: *mount,
                    uid: *uid,
                    size: size.map(|(rows, columns)| (rows.into(), columns.into())),
                }
            }
            Action::ControllingTerminal => Op::ControllingTerminal {},
            Action::OwnNullDevice => Op::OwnNullDevice {},
            Action::EnsureDirectory(path) => {
                return self.path_op(step, path, |path| Op::EnsureDirectory { path });
            }
            Action::RootReadonly { new_api } => Op::RootReadonly { new_api: *new_api },
            Action::ReadonlyPath { path, new_api } => {
                return self.path_op(step, path, |path| Op::ReadonlyPath {
                    path,
                    new_api: *new_api,
                });
            }
            Action::MaskPath {
                path,
                new_api,
                by_host,
            } => {
                let source = TreeSource {
                    path: "/dev/null".to_owned(),
                    recursive: false,
                    by_host: *by_host,
                    propagation: 0,
                    id_map: None,
                    new: None,
                };
                let tree = new_api.then(|| self.null_device(&source)).transpose()?;
                let (null_path, path) = (nul("/dev/null"), nul(path));
                let null = wire_source(tree, &null_path, &source);
                self.put(
                    step,
                    &Op::MaskPath {
                        null,
                        path: path.text(),
                        new_api: *new_api,
                    },
                );
                return Ok(());
            }
            Action::Hostname(name) => {
                return self.path_op(step, name, |name| Op::Hostname { name });
            }
            Action::Domainname(name) => {
                return self.path_op(step, name, |name| Op::Domainname { name });
            }
            Action::SessionKeyring(name) => {
                return self.path_op(step, name, |name| Op::SessionKeyring { name });
            }
            Action::Sysctl { parameter, new_api } => {
                let (path, value) = (nul(&parameter.path), nul(&parameter.value));
                self.put(
                    step,
                    &Op::Sysctl {
                        path: path.text(),
                        value: value.text(),
                        new_api: *new_api,
                    },
                );
                return Ok(());
            }
            Action::HoldProcfs => Op::HoldProcfs {},
            Action::AppArmorProfile(name) => {
                let value = format!("exec {name}");
                // One file for whichever module is there, on kernels that don't have the other yet.
                let files = ["self/attr/apparmor/exec", "self/attr/exec"];
                return self.attribute(step, &files, &value);
            }
            Action::SelinuxLabel(label) => {
                self.attribute(step, &["self/attr/keycreate"], label)?;
                return self.attribute(step, &["self/attr/exec"], label);
            }
            Action::Home { uid } => Op::Home { uid: *uid },
            Action::Environment { entries, own_pid } => {
                let (entries, own_pid) = (nuls(entries), own_pid.map(nul));
                let op = Op::Environment {
                    entries: texts(&entries),
                    own_pid: own_pid.as_ref().map(Nul::text),
                };
                self.put(step, &op);
                return Ok(());
            }
            Action::FindProgram { name, search, cwd } => {
                let (name, search, cwd) = (nul(name), nul(search), nul(cwd));
                self.put(
                    step,
                    &Op::FindProgram {
                        name: name.text(),
                        search: search.text(),
                        cwd: cwd.text(),
                    },
                );
                return Ok(());
            }
            Action::Umask(mask) => Op::Umask { mask: *mask },
            Action::Ready => Op::Ready {
                listener: Some(self.later(Late::Listener)),
            },
            Action::ReadyToExecute => Op::Ready { listener: None },
            Action::WaitStart => Op::WaitStart {},
            Action::CreateHook(hook) => {
                let environment = hook.env.clone().unwrap_or_else(callers_environment);
                self.hook(step, hook, "creating", None, Some(&environment));
                return Ok(());
            }
            Action::StartHook {
                hook,
                identity,
                bounding,
                inheritable,
            } => {
                let identity = HookIdentity {
                    uid: identity.uid,
                    gid: identity.gid,
                    groups: identity.groups.clone(),
                    bounding: *bounding,
                    inheritable: *inheritable,
                    lifetime: PhantomData,
                };
                // De facto: without an environment of its own the hook gets the process's, HOME and all.
                self.hook(step, hook, "created", Some(identity), hook.env.as_deref());
                return Ok(());
            }
            Action::Limits(limits) => Op::Limits {
                limits: limits
                    .iter()
                    .map(|limit| (limit.resource, (limit.soft, limit.hard)))
                    .collect(),
            },
            Action::TimeOffsets(offsets) => {
                let line = |o: &TimeOffset| format!("{} {} {}\n", o.clock, o.secs, o.nanosecs);
                let lines: String = offsets.iter().map(line).collect();
                return self.path_op(step, &lines, |lines| Op::TimeOffsets { lines });
            }
            Action::Affinity(cpus) => {
                let mask = cpus.as_ref().map(|(_, mask)| mask.as_slice());
                self.put(step, &Op::Affinity { mask });
                return Ok(());
            }
            Action::Scheduler(given) => {
                let attributes = &given.to_bytes();
                self.put(step, &Op::Scheduler { attributes });
                return Ok(());
            }
            Action::IoPriority(given) => Op::IoPriority {
                value: given.class.1 << 13 | given.priority,
            },
            Action::MemoryPolicy(given) => {
                let (mode, nodes) = (given.bits, given.nodes.1.as_slice());
                self.put(step, &Op::MemoryPolicy { mode, nodes });
                return Ok(());
            }
            Action::Personality(persona) => Op::Personality { persona: *persona },
            Action::DropBounding { keep } => Op::DropBounding { keep: *keep },
            Action::Identity(identity) => Op::Identity {
                uid: identity.uid,
                gid: identity.gid,
                groups: identity.groups.clone(),
            },
            Action::WorkingDirectory { path, last } => {
                return self.path_op(step, path, |path| Op::WorkingDirectory {
                    path,
                    last: *last,
                });
            }
            Action::InheritableCapabilities(set) => {
                Op::InheritableCapabilities { inheritable: *set }
            }
            Action::AmbientCapabilities(set) => Op::AmbientCapabilities { ambient: *set },
            Action::Capabilities {
                effective,
                permitted,
                inheritable,
            } => Op::Capabilities {
                effective: *effective,
                permitted: *permitted,
                inheritable: *inheritable,
            },
            Action::CloseOnExec { extra } => Op::CloseOnExec {
                keep: (3..3 + extra).collect(),
            },
            Action::NoNewPrivileges => Op::NoNewPrivileges {},
            Action::Filter { .. } => return self.filter(step),
            Action::Execute {
                name,
                search,
                args,
                environment,
                ..
            } => {
                let program = self
                    .link
                    .program
                    .map(|program| self.pass(program))
                    .transpose()?;
                let (name, search, args, env) =
                    (nul(name), nul(search), nuls(args), nuls(environment));
                let (args, env) = (texts(&args), texts(&env));
                self.put(
                    step,
                    &Op::Execute {
                        name: name.text(),
                        search: search.text(),
                        args,
                        env,
                        program,
                    },
                );
                return Ok(());
            }
        };
        self.put(step, &simple);
        Ok(())
    }
}

/// De facto: a hook of the runtime's without an environment of its own has the runtime's.
fn callers_environment() -> Vec<String> {
    let entries = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    entries
        .map(|(name, value)| format!("{name}={value}"))
        .collect()
}
