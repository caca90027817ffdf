//! The result page: what init leaves for the host, which may be of another build.

/// The result page sits at the head of the program's memory; the operations follow it.
pub(crate) const PAGE_SIZE: usize = 4096;

/// Longest context string in a result page.
pub(crate) const TEXT_MAX: usize = 512;

/// Where init says how far it came: written with plain stores, so no filter can hide an error.
/// The layout is the start protocol (docs/decisions/0001-start-handshake.md): append only.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct ResultPage {
    pub(crate) version: u32,
    /// Index of the plan's step in progress.
    pub(crate) step: u32,
    /// errno of the failed step; 0 while nothing failed.
    pub(crate) errno: i32,
    /// One of `Phase`, as a number.
    pub(crate) phase: u32,
    /// One of `Detail`, as a number: what exactly was refused.
    pub(crate) detail: u32,
    pub(crate) text_len: u32,
    pub(crate) text: [u8; TEXT_MAX],
    /// Not 0: the host wants to know when each operation ended.
    pub(crate) timed: u32,
    pub(crate) marks_len: u32,
    /// When init began, or heard of `start`: nanoseconds since 1970 by the real-time clock, which alone no time
    /// namespace changes.
    pub(crate) begin: u64,
    /// The ends of operations, see `mark`. What finds no place here isn't told.
    pub(crate) marks: [u64; MARKS_MAX],
}

/// How many operations can tell when they ended.
pub(crate) const MARKS_MAX: usize = 440;

const _: () = assert!(size_of::<ResultPage>() <= PAGE_SIZE, "the page is full");

/// The end of an operation: its step in the upper 16 bits, nanoseconds since `begin` in the lower 48.
pub(crate) mod mark {
    pub(crate) fn new(step: u32, nanos: u64) -> u64 {
        u64::from(step) << 48 | nanos & ((1 << 48) - 1)
    }
    pub(crate) fn step(mark: u64) -> u32 {
        (mark >> 48) as u32
    }
    pub(crate) fn nanos(mark: u64) -> u64 {
        mark & ((1 << 48) - 1)
    }
}

/// The version that a host writes into a fresh page.
pub(crate) const PAGE_VERSION: u32 = 1;

/// How far init has come, as kept in the result page.
pub(crate) mod phase {
    pub(crate) const SETUP: u32 = 0;
    pub(crate) const CREATED: u32 = 1;
    pub(crate) const STARTING: u32 = 2;
    pub(crate) const EXECING: u32 = 3;
}
