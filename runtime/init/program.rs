//! The program that init runs: typed operations and their bytes.
//!
//! The host links a plan into one of these and writes it into a memfd; init
//! reads it there. The module is shared by both sides, so it knows `core` and
//! `alloc` only and does no I/O. Decoding never panics on any input.

use alloc::vec::Vec;

/// Changes when an operation changes. A program is never kept: both sides are one build.
pub(crate) const MAGIC: u32 = 0x4c53_4801;

#[path = "page.rs"] // both sides include this file, by different paths
mod page;
#[allow(unused_imports)] // each side uses its half
pub(crate) use page::{MARKS_MAX, PAGE_SIZE, PAGE_VERSION, ResultPage, TEXT_MAX, mark, phase};

/// What exactly was refused; the host makes a sentence of it.
macro_rules! details {
    ($($number:literal $name:ident $words:literal),* $(,)?) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u32)]
        pub(crate) enum Detail { $($name = $number),* }

        impl Detail {
            pub(crate) fn words(number: u32) -> &'static str {
                match number {
                    $($number => $words,)*
                    _ => "failed",
                }
            }
        }
    };
}

details! {
    0 Failed "failed",
    1 OpenTarget "cannot open the target inside the root filesystem",
    2 MakeTarget "cannot create the target inside the root filesystem",
    3 OpenSource "cannot open the source",
    4 OpenFilesystem "cannot open a filesystem of this type",
    5 FilesystemOption "the filesystem refused option",
    6 CreateFilesystem "cannot create the filesystem",
    7 SetAttributes "cannot set the mount's attributes",
    8 Attach "cannot attach the mount",
    10 Occupied "something else is already at this path",
    11 HookFailed "exited with status",
    12 HookSignaled "was killed by signal",
    13 HookTimeout "ran past its timeout of seconds:",
    14 HookStart "cannot be started",
    15 CwdOutside "the working directory is outside of the root filesystem",
    16 NotFound "executable file not found in $PATH",
    17 ProgramMissing "stat",
    18 ProgramDenied "exec",
    19 Execve "execve",
    20 BadProgram "the host sent a program that init can't read",
    21 Propagation "cannot set the mount's propagation",
    22 NotDevpts "/dev/pts/ptmx is not a pseudo-terminal multiplexer",
    23 Pivot "cannot switch to the root filesystem",
    25 NotProcfs "the target of a proc or sysfs mount must be a real directory",
    26 ChangeDirectory "cannot change to the working directory",
    27 InsideProc "a link leads into /proc, where nothing may be mounted:",
    28 CopyUp "cannot copy what the directory holds:",
    29 Limit "cannot set a limit",
    30 Label "the kernel refused it",
}

/// A value with a wire form.
pub(crate) trait Wire<'a>: Sized {
    fn put(&self, out: &mut Vec<u8>);
    fn get(input: &mut Reader<'a>) -> Option<Self>;
}

/// Reads values off the front of a slice.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Reader { rest: bytes }
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        if self.rest.len() < count {
            return None;
        }
        let (head, rest) = self.rest.split_at(count);
        self.rest = rest;
        Some(head)
    }
}

macro_rules! wire_numbers {
    ($($number:ty),*) => {$(
        impl<'a> Wire<'a> for $number {
            fn put(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }
            fn get(input: &mut Reader<'a>) -> Option<Self> {
                let bytes = input.take(size_of::<$number>())?;
                Some(<$number>::from_le_bytes(bytes.try_into().ok()?))
            }
        }
    )*};
}

wire_numbers!(u32, i32, u64, i64);

impl<'a> Wire<'a> for bool {
    fn put(&self, out: &mut Vec<u8>) {
        u32::from(*self).put(out);
    }
    fn get(input: &mut Reader<'a>) -> Option<Self> {
        match u32::get(input)? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }
}

/// Bytes. Strings for the kernel carry their NUL (see [`Text`]).
impl<'a> Wire<'a> for &'a [u8] {
    fn put(&self, out: &mut Vec<u8>) {
        // A program's strings come from a config of at most 16 MiB.
        u32::try_from(self.len()).unwrap_or(u32::MAX).put(out);
        out.extend_from_slice(self);
    }
    fn get(input: &mut Reader<'a>) -> Option<Self> {
        let len = u32::get(input)?;
        input.take(len as usize)
    }
}

/// A string for the kernel: no NUL inside, one at the end.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Text<'a>(&'a [u8]);

impl core::fmt::Debug for Text<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(
            f,
            "{:?}",
            alloc::string::String::from_utf8_lossy(self.bytes())
        )
    }
}

impl<'a> Text<'a> {
    /// `None` unless `bytes` ends with its only NUL.
    pub(crate) fn new(bytes: &'a [u8]) -> Option<Self> {
        let end = bytes.iter().position(|byte| *byte == 0)?;
        (end + 1 == bytes.len()).then_some(Text(bytes))
    }

    /// Without the NUL.
    pub(crate) fn bytes(self) -> &'a [u8] {
        &self.0[..self.0.len() - 1]
    }

    /// With the NUL: what a system call takes.
    #[cfg_attr(test, allow(dead_code))]
    pub(crate) fn with_nul(self) -> &'a [u8] {
        self.0
    }
}

impl<'a> Wire<'a> for Text<'a> {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
    }
    fn get(input: &mut Reader<'a>) -> Option<Self> {
        Text::new(<&[u8]>::get(input)?)
    }
}

impl<'a, T: Wire<'a>> Wire<'a> for Vec<T> {
    fn put(&self, out: &mut Vec<u8>) {
        u32::try_from(self.len()).unwrap_or(u32::MAX).put(out);
        for item in self {
            item.put(out);
        }
    }
    fn get(input: &mut Reader<'a>) -> Option<Self> {
        let count = u32::get(input)? as usize;
        // Every item takes at least four bytes: a lying count can't make us allocate.
        if count > input.rest.len() / 4 {
            return None;
        }
        let mut items = Vec::with_capacity(count);
        for _ in 0..count {
            items.push(T::get(input)?);
        }
        Some(items)
    }
}

impl<'a, T: Wire<'a>> Wire<'a> for Option<T> {
    fn put(&self, out: &mut Vec<u8>) {
        self.is_some().put(out);
        if let Some(value) = self {
            value.put(out);
        }
    }
    fn get(input: &mut Reader<'a>) -> Option<Self> {
        match bool::get(input)? {
            false => Some(None),
            true => T::get(input).map(Some),
        }
    }
}

impl<'a, A: Wire<'a>, B: Wire<'a>> Wire<'a> for (A, B) {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
        self.1.put(out);
    }
    fn get(input: &mut Reader<'a>) -> Option<Self> {
        Some((A::get(input)?, B::get(input)?))
    }
}

/// Defines a struct with its wire form: the fields in order.
macro_rules! wire_struct {
    ($(#[$doc:meta])* $name:ident { $($(#[$fdoc:meta])* $field:ident: $type:ty),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub(crate) struct $name<'a> {
            $($(#[$fdoc])* pub(crate) $field: $type,)*
            pub(crate) lifetime: core::marker::PhantomData<&'a ()>,
        }
        impl<'a> Wire<'a> for $name<'a> {
            fn put(&self, out: &mut Vec<u8>) { $(self.$field.put(out);)* }
            fn get(input: &mut Reader<'a>) -> Option<Self> {
                Some($name { $($field: Wire::get(input)?,)* lifetime: core::marker::PhantomData })
            }
        }
    };
}

wire_struct! {
    /// Where the tree of a bind mount comes from.
    Source {
        /// A detached clone that the host made; preferred.
        tree: Option<u32>,
        /// A path in the caller's mount namespace, which init still sees: for
        /// callers without CAP_SYS_ADMIN and kernels without open_tree(2).
        path: Option<Text<'a>>,
        recursive: bool,
        /// MS_SLAVE or MS_PRIVATE for all of the clone, so that nothing travels back to the host; 0: as it is.
        propagation: u64,
    }
}

wire_struct! {
    /// A program to run besides the container's own.
    HookCall {
        path: Text<'a>,
        args: Vec<Text<'a>>,
        /// Absent: that of the container's own program.
        env: Option<Vec<Text<'a>>>,
        /// Milliseconds; absent: no limit.
        timeout: Option<u32>,
        /// The state on stdin is `before`, the hook's own view of the pid, `after`.
        before: &'a [u8],
        after: &'a [u8],
    }
}

wire_struct! {
    /// What a tmpfs takes from the directory below it.
    Tmpfs {
        mode: bool,
        contents: bool,
    }
}

wire_struct! {
    /// Who a hook runs as.
    HookIdentity {
        uid: u32,
        gid: u32,
        groups: Option<Vec<u32>>,
        bounding: u64,
        inheritable: u64,
    }
}

/// Defines the operations: number, name, fields.
macro_rules! operations {
    ($($(#[$doc:meta])* $number:literal $name:ident { $($field:ident: $type:ty),* $(,)? })*) => {
        /// One operation of init.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub(crate) enum Op<'a> { $($(#[$doc])* $name { $($field: $type),* },)* }

        impl<'a> Op<'a> {
            /// The operation's bytes, after the index of the step it belongs to.
            pub(crate) fn put(&self, step: u32, out: &mut Vec<u8>) {
                step.put(out);
                match self {
                    $(Op::$name { $($field),* } => {
                        let number: u32 = $number;
                        number.put(out);
                        $($field.put(out);)*
                    })*
                }
            }

            pub(crate) fn get(input: &mut Reader<'a>) -> Option<(u32, Self)> {
                let step = u32::get(input)?;
                let op = match u32::get(input)? {
                    $($number => Op::$name { $($field: Wire::get(input)?),* },)*
                    _ => return None,
                };
                Some((step, op))
            }
        }
    };
}

operations! {
    /// Close what the host's program leaked, and put stdio in place.
    1 Descriptors { keep: Vec<u32>, move_to: Vec<(u32, u32)> }
    2 JoinNamespace { fd: u32, kind: u64 }
    3 Unshare { flags: u64 }
    /// The second clone; stage 1 ends here.
    4 Clone { flags: u64, cgroup: Option<u32>, clone3: bool }
    /// Write "0" into each file.
    5 JoinCgroup { files: Vec<u32> }
    /// The host does its half of the step.
    6 Sync {}
    7 BecomeRoot {}
    8 DropDumpable {}
    9 LoopbackUp {}
    /// Of everything below `/`.
    10 SetPropagation { flags: u64, new_api: bool }
    11 AttachRoot { source: Source<'a>, in_place: bool, new_api: bool }
    12 MountFilesystem { fstype: Text<'a>, source: Option<Text<'a>>, options: Vec<(Text<'a>, Option<Text<'a>>)>, attributes: u64, target: Text<'a>, real_directory: bool, tmpfs: Option<Tmpfs<'a>> }
    13 MountLegacy { fstype: Text<'a>, source: Text<'a>, flags: u64, data: Text<'a>, target: Text<'a>, real_directory: bool, tmpfs: Option<Tmpfs<'a>> }
    14 Bind { source: Source<'a>, target: Text<'a>, set: u64, clear: u64, recursive_set: u64, recursive_clear: u64, new_api: bool }
    /// Of the mount at `target`; `flags` are MS_PRIVATE and friends.
    15 TargetPropagation { target: Text<'a>, flags: Vec<u64>, new_api: bool }
    16 DeviceNode { path: Text<'a>, mode: u32, major: u32, minor: u32, uid: u32, gid: u32 }
    17 DeviceBind { source: Source<'a>, path: Text<'a>, new_api: bool }
    18 Symlink { contents: Text<'a>, path: Text<'a> }
    /// 0: pivot_root; 1: chroot, into the attached root or the given one; 2: we have joined one.
    19 SwitchRoot { how: u32, root: Option<u32> }
    20 RootReadonly { new_api: bool }
    21 ReadonlyPath { path: Text<'a>, new_api: bool }
    22 MaskPath { null: Source<'a>, path: Text<'a>, new_api: bool }
    23 Hostname { name: Text<'a> }
    24 Domainname { name: Text<'a> }
    25 SessionKeyring { name: Text<'a> }
    /// Opens a terminal, sends its master over `socket`, makes it stdio.
    26 Console { socket: u32, mount: bool, uid: u32, size: Option<(u32, u32)> }
    27 EnsureDirectory { path: Text<'a> }
    28 FindProgram { name: Text<'a>, search: Text<'a>, cwd: Text<'a> }
    /// Listen, if there will be a `start`; say READY, wait for COMMIT.
    29 Ready { listener: Option<u32> }
    30 WaitStart {}
    /// Without an identity: as init, in the root filesystem that is not the root yet.
    31 Hook { call: HookCall<'a>, identity: Option<HookIdentity<'a>> }
    32 Limits { limits: Vec<(u32, (u64, u64))> }
    33 Umask { mask: u32 }
    34 DropBounding { keep: u64 }
    35 Identity { uid: u32, gid: u32, groups: Option<Vec<u32>> }
    36 Capabilities { effective: u64, permitted: u64, inheritable: u64 }
    /// Permitted stays full: what is left to do needs it.
    37 InheritableCapabilities { inheritable: u64 }
    38 AmbientCapabilities { ambient: u64 }
    39 CloseOnExec { keep: Vec<u32> }
    40 NoNewPrivileges {}
    /// With NEW_LISTENER among the flags, the listener goes to the host before anything else is done.
    41 Filter { flags: u32, program: &'a [u8] }
    42 Execute { name: Text<'a>, search: Text<'a>, args: Vec<Text<'a>>, env: Vec<Text<'a>>, program: Option<u32> }
    /// Planned before and after the change of ids; the last refusal counts.
    43 WorkingDirectory { path: Text<'a>, last: bool }
    44 NewSession {}
    45 Baseline {}
    46 ControllingTerminal {}
    47 TargetReadonly { target: Text<'a>, new_api: bool }
    /// HOME from the container's own list of users, after the switch of root.
    49 Home { uid: u32 }
    50 Sysctl { path: Text<'a>, value: Text<'a>, new_api: bool }
    /// Of the mount at `target`; without `bind` of its filesystem too, with MS_* flags and options for it.
    51 Remount { target: Text<'a>, bind: bool, flags: u64, data: Text<'a>, set: u64, clear: u64, recursive_set: u64, recursive_clear: u64, new_api: bool }
    /// The lines of /proc/self/timens_offsets.
    52 TimeOffsets { lines: Text<'a> }
    /// Of the process; absent: all that its cgroup has.
    53 Affinity { mask: Option<&'a [u8]> }
    /// A `struct sched_attr`.
    54 Scheduler { attributes: &'a [u8] }
    55 IoPriority { value: u32 }
    56 MemoryPolicy { mode: u32, nodes: &'a [u8] }
    57 Personality { persona: u32 }
    /// The caller's procfs, for later.
    58 HoldProcfs {}
    /// Of init itself, in the first of the files that is there, below the caller's procfs. proc_pid_attr(5)
    59 Attribute { files: Vec<Text<'a>>, value: Text<'a> }
    /// One of this network namespace goes to the host, which does its half of the step with it.
    60 NetlinkSocket {}
    /// The program gets these too, and what is in front of its own pid.
    61 Environment { entries: Vec<Text<'a>>, own_pid: Option<Text<'a>> }
    /// The host's null device is of a mount that the container can't see, and what it can't see no checkpoint can
    /// name. Without a null device of its own it keeps the host's.
    62 OwnNullDevice {}
    /// Take what the host has opened meanwhile: operations name it by `LATE` and up.
    48 Receive { count: u32 }
}

/// What init and stage 1 tell the host: four numbers, descriptors beside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u32,
    pub(crate) step: u32,
    pub(crate) value: i32,
}

/// From here on a number of a descriptor means one that came with `Receive`: the first, the second and so on.
pub(crate) const LATE: u32 = 1 << 31;

/// Kinds of frames.
pub(crate) mod frame {
    /// Stage 1: init lives; `value` is its pid, its pidfd comes along.
    pub(crate) const STARTED: u32 = 1;
    /// Init waits until the host has done `step`.
    pub(crate) const SYNC: u32 = 2;
    /// Init is set up and listens.
    pub(crate) const READY: u32 = 3;
    /// Host: go on.
    pub(crate) const GO: u32 = 4;
    /// Host: the record is written; end of file means nothing any more.
    pub(crate) const COMMIT: u32 = 5;
    /// `start`: execute the program; a fresh result page comes along.
    pub(crate) const START: u32 = 6;
    /// Host: what depends on the cgroup is open, and comes along.
    pub(crate) const DESCRIPTORS: u32 = 7;
    /// Init: the filter is in force, and its listener comes along; it goes on after GO.
    pub(crate) const LISTENER: u32 = 8;
}

/// SECCOMP_FILTER_FLAG_NEW_LISTENER. seccomp(2)
pub(crate) const NEW_LISTENER: u32 = 1 << 3;

/// Bytes of a frame.
pub(crate) const FRAME_SIZE: usize = 16;

/// Version of the frames, sent in each.
pub(crate) const PROTOCOL: u32 = 1;

impl Frame {
    pub(crate) fn to_bytes(self) -> [u8; FRAME_SIZE] {
        let mut bytes = [0; FRAME_SIZE];
        bytes[0..4].copy_from_slice(&PROTOCOL.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.kind.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.step.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.value.to_le_bytes());
        bytes
    }

    /// `None` for another length or protocol version.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Frame> {
        let mut input = Reader::new(bytes);
        let (version, kind) = (u32::get(&mut input)?, u32::get(&mut input)?);
        let (step, value) = (u32::get(&mut input)?, i32::get(&mut input)?);
        (version == PROTOCOL && input.rest.is_empty()).then_some(Frame { kind, step, value })
    }
}

/// The head of a program: magic, control socket, number of operations.
pub(crate) fn put_header(control: u32, count: u32, out: &mut Vec<u8>) {
    MAGIC.put(out);
    control.put(out);
    count.put(out);
}

/// Control socket, number of operations.
pub(crate) fn get_header(input: &mut Reader<'_>) -> Option<(u32, u32)> {
    if u32::get(input)? != MAGIC {
        return None;
    }
    Some((u32::get(input)?, u32::get(input)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &[u8]) -> Text<'_> {
        Text::new(bytes).unwrap()
    }

    #[test]
    fn operations_survive_the_wire() {
        let source = Source {
            tree: Some(7),
            path: None,
            recursive: true,
            propagation: 0,
            lifetime: core::marker::PhantomData,
        };
        let ops = [
            Op::Umask { mask: 0o22 },
            Op::Bind {
                source,
                target: text(b"/data\0"),
                set: 1,
                clear: 2,
                recursive_set: 0,
                recursive_clear: 0,
                new_api: true,
            },
            Op::Limits {
                limits: vec![(7, (10, 20))],
            },
        ];
        let mut bytes = Vec::new();
        for (step, op) in ops.iter().enumerate() {
            op.put(u32::try_from(step).unwrap(), &mut bytes);
        }
        let mut reader = Reader::new(&bytes);
        for (step, op) in ops.iter().enumerate() {
            let (got_step, got) = Op::get(&mut reader).unwrap();
            assert_eq!((got_step as usize, &got), (step, op));
        }
        assert!(Op::get(&mut reader).is_none());
    }

    #[test]
    fn every_truncation_is_refused() {
        let mut bytes = Vec::new();
        Op::Symlink {
            contents: text(b"/proc/self/fd\0"),
            path: text(b"/dev/fd\0"),
        }
        .put(3, &mut bytes);
        for len in 0..bytes.len() {
            assert!(Op::get(&mut Reader::new(&bytes[..len])).is_none(), "{len}");
        }
    }

    #[test]
    fn a_text_has_one_nul_at_its_end() {
        assert!(Text::new(b"a\0").is_some());
        for bad in [&b""[..], b"a", b"a\0b\0"] {
            assert!(Text::new(bad).is_none());
        }
    }

    #[test]
    fn frames_survive_the_wire() {
        let sent = Frame {
            kind: frame::SYNC,
            step: 9,
            value: -3,
        };
        assert_eq!(Frame::from_bytes(&sent.to_bytes()), Some(sent));
        assert_eq!(Frame::from_bytes(&sent.to_bytes()[..15]), None);
        assert_eq!(Frame::from_bytes(&[0; FRAME_SIZE]), None);
    }
}
