//! From a plan to a running init: link it, spawn stage 1, play the host's half.

pub(crate) mod hooks;
mod idmap;
mod image;
mod link;
mod parent;
mod spawn;

pub(crate) use link::{Link, Program, link};
pub(crate) use parent::{Created, PageResult, explain, read_page, run};
