//! Linking: a plan's steps become operations, its paths and sockets become
//! descriptors. What can be opened on the host is opened here.

use super::userns;
use crate::cgroup::Cgroup;
use crate::config::{Config, NamespaceKind};
use crate::error::{Error, Result};
use crate::plan::{Action, Facts, Maps, Plan, Side, TreeSource};
use crate::sys::fd;
use crate::wire::{self, LATE, Op, PAGE_SIZE, PAGE_VERSION, ResultPage, Source, Text};
use std::fs::File;
use std::io::Write;
use std::marker::PhantomData;
use std::mem::offset_of;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;
use std::rc::Rc;

/// What the plan's symbolic things stand for in this launch.
pub(crate) struct Link<'a> {
    pub(crate) config: &'a Config,
    pub(crate) plan: &'a Plan,
    pub(crate) facts: &'a Facts,
    pub(crate) rootfs: &'a str,
    pub(crate) state_root: &'a Path,
    pub(crate) stdio: [BorrowedFd<'a>; 3],
    /// Become 3, 4, … in the program.
    pub(crate) extra: &'a [BorrowedFd<'a>],
    /// A connected socket for the terminal's master.
    pub(crate) console: Option<BorrowedFd<'a>>,
    pub(crate) program: Option<BorrowedFd<'a>>,
    /// Init's end of the control socket.
    pub(crate) control: OwnedFd,
    /// The state of a given status that hooks inside get: before the pid, after it.
    pub(crate) hook_state: &'a dyn Fn(&str) -> (String, String),
    /// Let init wait for the host before each step, for fault injection.
    pub(crate) stop_at_steps: bool,
    /// Let init mark the end of each step.
    pub(crate) timed: bool,
}

/// What can be opened only when the container's cgroup is there. It is made while stage 1 is on its way.
#[derive(Debug)]
pub(crate) enum Late {
    CgroupDirectory,
    /// Of the cgroup's so manieth directory.
    CgroupJoin(usize),
    Tree {
        path: String,
        recursive: bool,
    },
    Listener,
}

impl Late {
    /// The cgroup is there if the plan has one.
    pub(crate) fn open(
        &self,
        cgroup: Option<&Cgroup>,
        listener: Option<&OwnedFd>,
    ) -> Result<OwnedFd> {
        let copy = |fd: BorrowedFd<'_>| {
            fd.try_clone_to_owned()
                .map_err(|error| Error::system("cannot duplicate a descriptor", error))
        };
        let missing = || Error::system("cannot open what init waits for", libc::ENOENT);
        let cgroup = || cgroup.ok_or_else(missing);
        match self {
            Late::CgroupDirectory => copy(cgroup()?.v2_dir().ok_or_else(missing)?),
            Late::CgroupJoin(index) => cgroup()?.join_file(*index),
            Late::Tree { path, recursive } => clone_tree(path, *recursive),
            Late::Listener => copy(listener.ok_or_else(missing)?.as_fd()),
        }
    }
}

fn clone_tree(path: &str, recursive: bool) -> Result<OwnedFd> {
    fd::clone_tree(path, recursive)
        .map_err(|errno| Error::system(format!("cannot clone the tree {path}"), errno))
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
    /// What it waits for later, with the step that needs it.
    pub(crate) late: Vec<(u32, Late)>,
    /// Keeps them open until the child has them.
    #[allow(dead_code)] // held, not read
    held: Vec<OwnedFd>,
}

/// Opens and encodes everything.
pub(crate) fn link(link: Link<'_>) -> Result<Program> {
    // Descriptors of ours must not sit where the program's own will go.
    let lowest = 3 + RawFd::try_from(link.extra.len()).unwrap_or(0);
    let mut linker = Linker {
        link: &link,
        program: fd::anonymous_file(c"longshore-program", link.state_root)?,
        lowest,
        held: Vec::new(),
        keep: Vec::new(),
        moves: Vec::new(),
        bytes: Vec::new(),
        count: 0,
        null: None,
        late: Vec::new(),
        receive: (0, 0),
        current: 0,
        namespaces: Vec::new(),
    };
    let control = linker.pass(link.control.as_fd())?;
    linker.stdio()?;
    let copy = fd::duplicate_above(linker.program.as_fd(), lowest)?;
    let number = linker.pass_owned(copy);
    for (index, step) in link.plan.steps.iter().enumerate() {
        if [Side::Host, Side::After].contains(&step.side) {
            continue;
        }
        let step_number = u32::try_from(index).unwrap_or(u32::MAX);
        linker.current = step_number;
        let waits = matches!(
            step.action,
            Action::HostTurn(_) | Action::Receive | Action::NetlinkSocket
        );
        if link.stop_at_steps && step.side == Side::Init && !waits {
            linker.put(step_number, &Op::Sync {});
        }
        linker
            .step(step_number, &step.action)
            .map_err(|error| error.at(&step.path).in_step(step.action.to_string()))?;
    }
    linker.finish(control, number)
}

pub(super) struct Linker<'a, 'l> {
    pub(super) link: &'l Link<'a>,
    program: File,
    pub(super) lowest: RawFd,
    pub(super) held: Vec<OwnedFd>,
    pub(super) keep: Vec<u32>,
    pub(super) moves: Vec<(u32, u32)>,
    pub(super) bytes: Vec<u8>,
    pub(super) count: u32,
    pub(super) null: Option<u32>,
    late: Vec<(u32, Late)>,
    /// Step and place of the operation that receives them.
    receive: (u32, usize),
    /// The step that is being encoded.
    current: u32,
    /// User namespaces of id-mapped mounts.
    namespaces: Vec<(Maps, Rc<OwnedFd>)>,
}

/// A string with its NUL. `config::check` has refused any inside.
pub(super) struct Nul(Vec<u8>);

pub(super) fn nul(text: &str) -> Nul {
    let mut bytes: Vec<u8> = text.bytes().filter(|byte| *byte != 0).collect();
    bytes.push(0);
    Nul(bytes)
}

impl Nul {
    pub(super) fn text(&self) -> Text<'_> {
        // Made so that it has exactly one NUL, at its end.
        Text::new(&self.0).unwrap_or_else(|| unreachable!("a NUL inside a string"))
    }
}

pub(super) fn nuls(list: &[String]) -> Vec<Nul> {
    list.iter().map(|text| nul(text)).collect()
}

pub(super) fn texts(list: &[Nul]) -> Vec<Text<'_>> {
    list.iter().map(Nul::text).collect()
}

fn number(fd: RawFd) -> u32 {
    fd.cast_unsigned()
}

impl Linker<'_, '_> {
    /// Lets the child inherit a descriptor; its number there.
    pub(super) fn pass(&mut self, fd: BorrowedFd<'_>) -> Result<u32> {
        let copy = fd::duplicate_above(fd, self.lowest)?;
        Ok(self.pass_owned(copy))
    }

    /// One that was opened for the child: as it is, if its number will do.
    pub(super) fn pass_ours(&mut self, fd: OwnedFd) -> Result<u32> {
        if fd.as_raw_fd() < self.lowest {
            self.pass(fd.as_fd())
        } else {
            Ok(self.pass_owned(fd))
        }
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

    pub(super) fn put(&mut self, step: u32, op: &Op<'_>) {
        op.put(step, &mut self.bytes);
        self.count += 1;
    }

    /// A number for what is opened later.
    pub(super) fn later(&mut self, late: Late) -> u32 {
        let index = u32::try_from(self.late.len()).unwrap_or(u32::MAX - LATE);
        self.late.push((self.current, late));
        LATE + index
    }

    pub(super) fn receive_here(&mut self, step: u32) {
        self.receive = (step, self.bytes.len());
    }

    /// Puts in the two operations that list what all the others need.
    fn finish(mut self, control: u32, program: u32) -> Result<Program> {
        self.keep.sort_unstable();
        let descriptors = Op::Descriptors {
            keep: self.keep,
            move_to: self.moves,
        };
        let count = u32::try_from(self.late.len()).unwrap_or(u32::MAX);
        let receive = Op::Receive { count };
        let (before, after) = self.bytes.split_at(self.receive.1);
        let mut all = Vec::with_capacity(PAGE_SIZE + self.bytes.len() + 512);
        all.extend_from_slice(&fresh_page(0, self.link.timed));
        wire::put_header(control, self.count + 2, &mut all);
        descriptors.put(0, &mut all);
        all.extend_from_slice(before);
        receive.put(self.receive.0, &mut all);
        all.extend_from_slice(after);
        self.program
            .write_all(&all)
            .map_err(|error| Error::system("cannot write init's program", error))?;
        Ok(Program {
            pass: self.held.iter().map(AsRawFd::as_raw_fd).collect(),
            memory: self.program,
            number: program.cast_signed(),
            late: self.late,
            held: self.held,
        })
    }

    pub(super) fn tree(&mut self, source: &TreeSource) -> Result<(Option<u32>, Nul)> {
        let path = nul(&source.path);
        if !source.by_host {
            return Ok((None, path));
        }
        if source.id_map.is_none() && self.in_cgroups(&source.path) {
            let tree = Late::Tree {
                path: source.path.clone(),
                recursive: source.recursive,
            };
            return Ok((Some(self.later(tree)), path));
        }
        let tree = match &source.new {
            None => clone_tree(&source.path, source.recursive)?,
            Some((fstype, options)) => {
                fd::new_filesystem(fstype, &source.path, &options.fsconfig()).map_err(|errno| {
                    Error::system(
                        format!("cannot create a filesystem of type {fstype}"),
                        errno,
                    )
                })?
            }
        };
        if let Some(map) = &source.id_map {
            let namespace = self.namespace_of(&map.maps)?;
            fd::map_ids(tree.as_fd(), map.recursive, namespace.as_fd())
                .map_err(|errno| Error::system("cannot map the ids of the mount", errno))?;
        }
        Ok((Some(self.pass_ours(tree)?), path))
    }

    /// Mounts with the same maps share one.
    fn namespace_of(&mut self, maps: &Maps) -> Result<Rc<OwnedFd>> {
        if let Some((_, namespace)) = self.namespaces.iter().find(|(known, _)| known == maps) {
            return Ok(namespace.clone());
        }
        let namespace = Rc::new(match maps {
            Maps::Of(path) => File::open(path)
                .map_err(|error| Error::system(format!("cannot open {path}"), error))?
                .into(),
            Maps::These { uids, gids } => userns::with_maps(uids, gids, self.link.state_root)?,
        });
        self.namespaces.push((maps.clone(), namespace.clone()));
        Ok(namespace)
    }

    /// It may be the container's own cgroup, which isn't there yet.
    fn in_cgroups(&self, path: &str) -> bool {
        let mut directories = self.link.facts.cgroup_directories.0.iter();
        directories.any(|directory| path.starts_with(&directory.mount))
    }

    pub(super) fn open_path(&mut self, path: &str) -> Result<u32> {
        let file = File::open(path)
            .map_err(|error| Error::system(format!("cannot open {path}"), error))?;
        self.pass(file.as_fd())
    }
}

pub(super) fn wire_source<'a>(tree: Option<u32>, path: &'a Nul, source: &TreeSource) -> Source<'a> {
    Source {
        tree,
        path: Some(path.text()),
        recursive: source.recursive,
        propagation: source.propagation,
        lifetime: PhantomData,
    }
}

pub(super) fn flags(kinds: &[NamespaceKind]) -> u64 {
    kinds.iter().fold(0, |flags, kind| flags | kind.flag())
}

/// A result page that says nothing has happened yet.
pub(super) fn fresh_page(step: u32, timed: bool) -> [u8; PAGE_SIZE] {
    let mut page = [0; PAGE_SIZE];
    for (place, word) in [
        (offset_of!(ResultPage, version), PAGE_VERSION),
        (offset_of!(ResultPage, step), step),
        (offset_of!(ResultPage, timed), timed.into()),
    ] {
        page[place..place + 4].copy_from_slice(&word.to_le_bytes());
    }
    page
}
