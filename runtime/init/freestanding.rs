//! What a program without libc must bring: its entry, an allocator, a panic
//! handler, and the memory functions that the compiler calls.

use crate::program::PAGE_SIZE;
use crate::{run, sys};
use core::alloc::{GlobalAlloc, Layout};
use core::cell::Cell;

#[cfg(target_arch = "x86_64")]
core::arch::global_asm!(
    ".globl _start",
    "_start:",
    "xor ebp, ebp",
    "mov rdi, rsp",
    "and rsp, -16",
    "call {entry}",
    "ud2",
    entry = sym entry,
);

#[cfg(target_arch = "aarch64")]
core::arch::global_asm!(
    ".globl _start",
    "_start:",
    "mov x29, xzr",
    "mov x30, xzr",
    "mov x0, sp",
    "bl {entry}",
    "brk #1",
    entry = sym entry,
);

/// The kernel's stack: argc, then argv.
///
/// # Safety
/// `stack` is what the kernel left in the stack pointer.
unsafe extern "C" fn entry(stack: *const usize) -> ! {
    // SAFETY: argc is the first word of the initial stack.
    let argc = unsafe { *stack };
    if argc != 2 {
        sys::exit(126);
    }
    // SAFETY: argv[1] is the third word, since argc is 2.
    let argument = unsafe { *stack.wrapping_add(2) } as *const u8;
    match program(argument) {
        Ok(errno) | Err(errno) => sys::exit(errno.0),
    }
}

/// Maps the program that the argument's digits name, and runs it.
fn program(argument: *const u8) -> sys::Result<sys::Errno> {
    let mut number = 0u32;
    let mut at = argument;
    loop {
        // SAFETY: argv's strings end with NUL, where this loop ends.
        let byte = unsafe { *at };
        if !byte.is_ascii_digit() {
            break;
        }
        number = number.wrapping_mul(10).wrapping_add(u32::from(byte - b'0'));
        // SAFETY: the NUL has not been reached yet.
        at = unsafe { at.add(1) };
    }
    let file = sys::Fd::from_wire(number);
    let length = usize::try_from(sys::size(file)?).map_err(|_| sys::EINVAL)?;
    if length <= PAGE_SIZE {
        return Err(sys::EINVAL);
    }
    let memory = sys::map(length, Some(file))?;
    // SAFETY: a fresh mapping of that many bytes, never unmapped; the host writes nothing to it any more.
    let memory = unsafe { core::slice::from_raw_parts_mut(memory, length) };
    Ok(run::run(memory))
}

/// Hands out memory and takes none back: init lives for some milliseconds.
struct Bump {
    next: Cell<usize>,
    end: Cell<usize>,
}

// SAFETY: init has one thread; the first waits while the second of `listener.rs` does anything but look.
unsafe impl Sync for Bump {}

const CHUNK: usize = 64 * 1024;

// SAFETY: each block is carved once from a mapping that stays, aligned as asked; null when there is no memory.
unsafe impl GlobalAlloc for Bump {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let start = self.next.get().next_multiple_of(layout.align());
        if start + layout.size() <= self.end.get() {
            self.next.set(start + layout.size());
            return start as *mut u8;
        }
        let length = (layout.size() + layout.align()).next_multiple_of(CHUNK);
        let Ok(chunk) = sys::map(length, None) else {
            return core::ptr::null_mut();
        };
        let start = (chunk as usize).next_multiple_of(layout.align());
        self.next.set(start + layout.size());
        self.end.set(chunk as usize + length);
        start as *mut u8
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}

#[global_allocator]
static ALLOCATOR: Bump = Bump {
    next: Cell::new(0),
    end: Cell::new(0),
};

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    sys::exit(125)
}

/// Unwinding is off; `alloc` as built for this target still names these.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

#[unsafe(no_mangle)]
#[allow(non_snake_case)]
extern "C" fn _Unwind_Resume() {}

// The loops below must not be compiled into calls of themselves: volatile keeps them loops.

/// # Safety
/// As memcpy(3).
#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(target: *mut u8, source: *const u8, count: usize) -> *mut u8 {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: both regions are valid for `count` bytes by memcpy's contract; the direction flag is clear by the ABI.
    unsafe {
        core::arch::asm!("rep movsb", inout("rcx") count => _, inout("rdi") target => _, inout("rsi") source => _, options(nostack, preserves_flags));
    }
    #[cfg(not(target_arch = "x86_64"))]
    for at in 0..count {
        // SAFETY: inside of both regions by memcpy's contract.
        unsafe {
            target
                .wrapping_add(at)
                .write_volatile(source.wrapping_add(at).read_volatile())
        };
    }
    target
}

/// # Safety
/// As memmove(3).
#[unsafe(no_mangle)]
unsafe extern "C" fn memmove(target: *mut u8, source: *const u8, count: usize) -> *mut u8 {
    if (target as usize).wrapping_sub(source as usize) >= count {
        // SAFETY: a forward copy reads each byte before it is overwritten.
        return unsafe { memcpy(target, source, count) };
    }
    for at in (0..count).rev() {
        // SAFETY: inside the source by memmove's contract.
        let byte = unsafe { source.wrapping_add(at).read_volatile() };
        // SAFETY: inside the target by memmove's contract.
        unsafe { target.wrapping_add(at).write_volatile(byte) };
    }
    target
}

/// # Safety
/// As memset(3).
#[unsafe(no_mangle)]
unsafe extern "C" fn memset(target: *mut u8, byte: i32, count: usize) -> *mut u8 {
    let [byte, ..] = byte.to_le_bytes();
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the region is valid for `count` bytes by memset's contract; the direction flag is clear by the ABI.
    unsafe {
        core::arch::asm!("rep stosb", inout("rcx") count => _, inout("rdi") target => _, in("al") byte, options(nostack, preserves_flags));
    }
    #[cfg(not(target_arch = "x86_64"))]
    for at in 0..count {
        // SAFETY: inside the region by memset's contract.
        unsafe { target.wrapping_add(at).write_volatile(byte) };
    }
    target
}

/// # Safety
/// As memcmp(3).
#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(left: *const u8, right: *const u8, count: usize) -> i32 {
    for at in 0..count {
        // SAFETY: inside the region by memcmp's contract.
        let a = unsafe { left.wrapping_add(at).read_volatile() };
        // SAFETY: inside the region by memcmp's contract.
        let b = unsafe { right.wrapping_add(at).read_volatile() };
        if a != b {
            return i32::from(a) - i32::from(b);
        }
    }
    0
}

/// # Safety
/// As bcmp(3).
#[unsafe(no_mangle)]
unsafe extern "C" fn bcmp(left: *const u8, right: *const u8, count: usize) -> i32 {
    // SAFETY: the same contract.
    unsafe { memcmp(left, right, count) }
}

/// # Safety
/// As strlen(3).
#[unsafe(no_mangle)]
unsafe extern "C" fn strlen(text: *const u8) -> usize {
    let mut len = 0;
    loop {
        // SAFETY: the NUL has not been reached yet.
        let at = unsafe { text.add(len) };
        // SAFETY: not beyond the NUL.
        if unsafe { at.read_volatile() } == 0 {
            return len;
        }
        len += 1;
    }
}
