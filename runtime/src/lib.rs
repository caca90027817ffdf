//! Skeleton.
#![allow(dead_code, missing_docs)]
#![deny(unsafe_code)]
mod cgroup;
mod config;
mod error;
mod seccomp;
mod sys;
pub use error::{Error, ErrorKind, Result};
