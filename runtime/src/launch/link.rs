//! Linking: a plan's steps become operations, its paths and sockets become
//! descriptors. What can be opened on the host is opened here.

use crate::cgroup::Cgroup;
use crate::config::{Config, NamespaceKind};
use crate::error::{Error, Result};
use crate::plan::{Action, Facts, Plan, Side, TreeSource};
use crate::sys::fd;
use crate::wire::{self, Op, PAGE_SIZE, PAGE_VERSION, ResultPage, Source, Text};
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
    let mut linker = Linker {
        link: &link,
        lowest,
        held: Vec::new(),
        keep: Vec::new(),
        moves: Vec::new(),
        bytes: Vec::new(),
        count: 0,
        null: None,
    };
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
            linker
                .step(step_number, &step.action, listener)
                .map_err(|error| error.at(&step.path).in_step(step.action.to_string()))?;
        }
    }
    linker.finish(memory, control, number)
}

pub(super) struct Linker<'a, 'l> {
    pub(super) link: &'l Link<'a>,
    pub(super) lowest: RawFd,
    pub(super) held: Vec<OwnedFd>,
    pub(super) keep: Vec<u32>,
    pub(super) moves: Vec<(u32, u32)>,
    pub(super) bytes: Vec<u8>,
    pub(super) count: u32,
    pub(super) null: Option<u32>,
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

    fn finish(mut self, mut memory: File, control: u32, program: u32) -> Result<Program> {
        self.keep.sort_unstable();
        let mut head = Vec::with_capacity(PAGE_SIZE + self.bytes.len() + 256);
        head.extend_from_slice(&fresh_page());
        wire::put_header(control, self.count + 1, &mut head);
        let step = self
            .link
            .plan
            .steps
            .iter()
            .position(|step| matches!(step.action, Action::Descriptors));
        let descriptors = Op::Descriptors {
            keep: self.keep.clone(),
            move_to: self.moves.clone(),
        };
        descriptors.put(
            step.and_then(|step| u32::try_from(step).ok()).unwrap_or(0),
            &mut head,
        );
        head.extend_from_slice(&self.bytes);
        memory
            .write_all(&head)
            .map_err(|error| Error::system("cannot write init's program", error))?;
        let pass = self.held.iter().map(AsRawFd::as_raw_fd).collect();
        Ok(Program {
            memory,
            number: program.cast_signed(),
            pass,
            held: self.held,
        })
    }

    pub(super) fn tree(&mut self, source: &TreeSource) -> Result<(Option<u32>, Nul)> {
        let path = nul(&source.path);
        if !source.by_host {
            return Ok((None, path));
        }
        let tree = fd::clone_tree(&source.path, source.recursive).map_err(|errno| {
            Error::system(format!("cannot clone the tree {}", source.path), errno)
        })?;
        Ok((Some(self.pass_ours(tree)?), path))
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
pub(super) fn fresh_page() -> [u8; PAGE_SIZE] {
    let mut page = [0; PAGE_SIZE];
    let version = std::mem::offset_of!(ResultPage, version);
    page[version..version + 4].copy_from_slice(&PAGE_VERSION.to_le_bytes());
    page
}
