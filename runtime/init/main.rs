//! longshore's init: the small program that becomes a container's first process.
//!
//! It runs the operations that the host linked (`program.rs`), inside the
//! container, and ends as the user's program. It is freestanding: `core`,
//! `alloc` and raw system calls, so that nothing of the host's program, its
//! threads or its libc is inside a container. It may not format, print, or read
//! anything but what its operations name.
//!
//! Started as `init <program fd>`, by a process that has done nothing since its
//! clone but pass descriptors. The same file compiles as a library for clippy
//! and unit tests (`runtime/init-check`).

#![cfg_attr(not(test), no_std)]
#![cfg_attr(not(test), no_main)]
#![cfg_attr(test, allow(dead_code))] // tests have no entry that would use it all
#![allow(missing_docs)] // a program: nobody outside can see an item

extern crate alloc;

mod copy;
mod devices;
mod filesystems;
mod handshake;
mod home;
mod hooks;
mod labels;
mod listener;
mod mounts;
mod passwd;
mod paths;
mod process;
#[allow(dead_code)] // each side uses its half
mod program;
mod run;
mod sys;
mod sysctl;

#[cfg(not(test))]
mod freestanding;
