//! `linux.seccomp` (config-linux.md#seccomp) as a filter for seccomp(2).
//!
//! Compiles with libseccomp and hands out bytes; never loads a filter and
//! never touches no_new_privs, which are init's to do. What engines rely on is
//! as in runc: unknown system calls are ignored, several conditions on one
//! argument are alternatives, a rule that says what the default says is left
//! out. What runc ignores but the spec forbids is an error.
//!
//! The meaning of several rules for one system call is libseccomp's, whose
//! tree of comparisons doesn't go back: 2.5.4 gets some sets of rules wrong in
//! which NE stands beside another comparison. Real profiles (podman's, for
//! `socket`) come near these, so they are not refused; the sets with LT, LE,
//! GE and GT that it gets wrong, or never finishes, are.

mod cache;
pub(crate) mod names;
mod newer;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Once;

use libseccomp::{
    ScmpAction, ScmpArch, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall,
};
use nix::sys::memfd::{MFdFlags, memfd_create};

use crate::config::resources::{Seccomp, SyscallArg, SyscallRule};
use crate::wire::NEW_LISTENER;
use crate::{Error, ErrorKind};

#[allow(unused_imports)] // for `features`
pub(crate) use names::{ACTIONS, ARCHITECTURES, FLAGS, OPERATORS, architectures};

/// A compiled filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Filter {
    /// `struct sock_filter` after `struct sock_filter`.
    pub(crate) program: Vec<u8>,
    /// For seccomp(2): SECCOMP_FILTER_FLAG_*.
    pub(crate) flags: u32,
}

/// As `compile`, or from the cache in the state root.
pub(crate) fn cached(seccomp: &Seccomp, state_root: &Path) -> Result<Filter, Error> {
    let Some(dir) = cache::open(state_root) else {
        return compile(seccomp);
    };
    let key = key(seccomp)?;
    if let Some(program) = cache::get(&dir, &key) {
        let flags = flags(seccomp)?;
        return Ok(Filter { program, flags });
    }
    let filter = compile(seccomp)?;
    cache::put(&dir, &key, &filter.program);
    Ok(filter)
}

/// The number is of how this module turns rules into libseccomp's: it goes up
/// with every change to that.
const FORMAT: u32 = 4;

/// All that decides what the program is, each part of the configuration too.
fn key(seccomp: &Seccomp) -> Result<String, Error> {
    detect();
    let version = libseccomp::ScmpVersion::current().map_err(|error| {
        Error::unsupported(
            "linux.seccomp",
            format!("libseccomp has no version: {error}"),
        )
    })?;
    let (arch, api) = (std::env::consts::ARCH, libseccomp::get_api());
    Ok(format!("{FORMAT} {version:?} {api} {arch} {seccomp:?}"))
}

/// From so many names on a filter is a binary tree of them: the kernel tries it out for each system call
/// when it is loaded, which takes half as long as with a list of Docker's length. libseccomp up to 2.5.3
/// makes a wrong tree of no rules at all (its issue 370).
const TREE_FROM: usize = 16;

/// Each rule is an instruction or more, and the kernel takes 4096 of these (BPF_MAXINSNS); some say the same
/// twice. libseccomp compares each with those before it, which takes minutes for as many as a config may hold.
const MOST_RULES: usize = 8192;

/// Compiles a filter; an error names the property that can't be honoured.
pub(crate) fn compile(seccomp: &Seccomp) -> Result<Filter, Error> {
    compile_as(seccomp, is_tree(seccomp))
}

fn is_tree(seccomp: &Seccomp) -> bool {
    let names: usize = seccomp.syscalls.iter().map(|rule| rule.names.len()).sum();
    names >= TREE_FROM || has_strange(seccomp)
}

/// Does one of the architectures lack a call that is named? Where that is the one libseccomp would look at
/// first, its list for the architecture never loads a call's number, and the default answers every call.
fn has_strange(seccomp: &Seccomp) -> bool {
    let listed = |arch: &&ScmpArch| {
        let known = ARCHITECTURES.iter().find(|(_, known)| known == *arch);
        known.is_some_and(|(name, _)| seccomp.architectures.iter().any(|given| given == name))
    };
    let all = ARCHITECTURES.iter().map(|(_, arch)| arch);
    let architectures: Vec<_> = all.filter(listed).chain([&ScmpArch::Native]).collect();
    let lacks = |name: &String| {
        let numbers = architectures
            .iter()
            .map(|arch| ScmpSyscall::from_name_by_arch(name, **arch));
        numbers.flatten().any(|number| i32::from(number) < 0)
    };
    let mut names = seccomp.syscalls.iter().flat_map(|rule| &rule.names);
    names.any(lacks)
}

fn compile_as(seccomp: &Seccomp, tree: bool) -> Result<Filter, Error> {
    let flags = flags(seccomp)?;
    let default = names::action(&seccomp.default_action, seccomp.default_errno).map_err(|bad| {
        bad.at(
            "linux.seccomp.defaultAction",
            "linux.seccomp.defaultErrnoRet",
        )
    })?;
    let mut filter = context(default)?;
    for (index, name) in seccomp.architectures.iter().enumerate() {
        let path = format!("linux.seccomp.architectures[{index}]");
        add_architecture(&mut filter, name).map_err(|error| error.at(path))?;
    }
    let mut builder = Builder {
        filter,
        default,
        newest: 0,
        rules: 0,
        seen: HashMap::new(),
    };
    for (index, rule) in seccomp.syscalls.iter().enumerate() {
        builder.add(rule, &format!("linux.seccomp.syscalls[{index}]"))?;
    }
    if tree && !builder.seen.is_empty() {
        let _ = builder.filter.set_ctl_optimize(2); // before 2.5 there are lists only
    }
    let mut program = export(&builder.filter)?;
    if !allows(default) {
        program.splice(..0, newer::answer_enosys(builder.newest));
    }
    Ok(Filter { program, flags })
}

/// Without the key, SPEC_ALLOW: what a filter costs by default since Linux
/// 4.20, and what engines expect. An empty list is no flags.
fn flags(seccomp: &Seccomp) -> Result<u32, Error> {
    let notifies = seccomp.notifies();
    let listener = if notifies { NEW_LISTENER } else { 0 };
    let Some(names) = seccomp.flags.as_deref() else {
        return Ok(names::SPEC_ALLOW | listener);
    };
    let mut flags = 0;
    for (index, name) in names.iter().enumerate() {
        let known = FLAGS.iter().find(|(known, _)| known == name);
        let path = || format!("linux.seccomp.flags[{index}]");
        flags |= match known {
            // One return value can't be both a listener and a thread out of step. Init has one thread.
            Some((_, names::TSYNC)) if notifies => 0,
            Some((_, names::WAIT_KILLABLE)) if !notifies => {
                let message = format!("{name} without {}", names::NOTIFY);
                return Err(Error::config(path(), message));
            }
            Some((_, bit)) => *bit,
            None => return Err(Error::config(path(), format!("unknown flag {name}"))),
        };
    }
    Ok(flags | listener)
}

/// Would a call that the profile doesn't know be made, or asked about?
fn allows(default: ScmpAction) -> bool {
    matches!(
        default,
        ScmpAction::Allow | ScmpAction::Log | ScmpAction::Trace(_) | ScmpAction::Notify
    )
}

fn context(default: ScmpAction) -> Result<ScmpFilterContext, Error> {
    detect();
    ScmpFilterContext::new(default).map_err(|error| {
        let message = format!("the kernel can't do this action: {error}");
        Error::unsupported("linux.seccomp.defaultAction", message)
    })
}

/// libseccomp finds out what the kernel can do at the first call, into plain
/// globals: let one thread do it before all others look.
fn detect() {
    static DETECT: Once = Once::new();
    DETECT.call_once(|| drop(ScmpFilterContext::new(ScmpAction::Allow)));
}

fn add_architecture(filter: &mut ScmpFilterContext, name: &str) -> Result<(), Error> {
    let invalid = |message| Error::new(ErrorKind::InvalidConfig, message);
    let known = ARCHITECTURES.iter().find(|(known, _)| *known == name);
    let Some((_, arch)) = known else {
        return Err(invalid(format!("unknown architecture {name}")));
    };
    let unsupported = |error: libseccomp::error::SeccompError| {
        let message = format!("a filter of this host can't hold {name}: {error}");
        Error::new(ErrorKind::Unsupported, message)
    };
    // The host's own is in every filter; named again, it would be refused.
    if !filter.is_arch_present(*arch).map_err(unsupported)? {
        filter.add_arch(*arch).map_err(unsupported)?;
    }
    Ok(())
}

struct Builder {
    filter: ScmpFilterContext,
    default: ScmpAction,
    /// The highest number that a rule names.
    newest: i32,
    /// How many libseccomp was given.
    rules: usize,
    /// For `refuse_miscompiled`.
    seen: HashMap<ScmpSyscall, Seen>,
}

impl Builder {
    /// Adds one entry for all its names.
    fn add(&mut self, rule: &SyscallRule, path: &str) -> Result<(), Error> {
        let action = names::action(&rule.action, rule.errno)
            .map_err(|bad| bad.at(&format!("{path}.action"), &format!("{path}.errnoRet")))?;
        let conditions = conditions(&rule.args, path)?;
        let mut before = HashSet::new();
        for (index, name) in rule.names.iter().enumerate() {
            // A profile names system calls of many kernels and architectures.
            let Ok(syscall) = ScmpSyscall::from_name(name) else {
                continue;
            };
            self.newest = self.newest.max(syscall.into());
            // libseccomp refuses a rule that changes nothing.
            if action == self.default || !before.insert(syscall) {
                continue;
            }
            self.rules += conditions.len();
            if self.rules > MOST_RULES {
                let message = format!("more than {MOST_RULES} rules with what is before it");
                return Err(Error::config(path, message));
            }
            self.refuse_miscompiled(syscall, &rule.args, &conditions)
                .map_err(|error| error.at(format!("{path}.args")))?;
            for comparators in &conditions {
                let added = self
                    .filter
                    .add_rule_conditional(action, syscall, comparators);
                added.map_err(|error| {
                    let message = format!("{name} can't have this rule: {error}");
                    Error::config(format!("{path}.names[{index}]"), message)
                })?;
            }
        }
        Ok(())
    }

    /// libseccomp compares 64 bits by halves and merges the rules of one
    /// system call into a tree. Where less and greater come in, 2.5 merges
    /// wrongly (`< 1` or `>= 1 << 32` then matches 0xffffffff) or never ends,
    /// unless each rule is a single comparison and the upper halves are the
    /// same. No known profile asks for more.
    fn refuse_miscompiled(
        &mut self,
        syscall: ScmpSyscall,
        args: &[SyscallArg],
        conditions: &[Vec<ScmpArgCompare>],
    ) -> Result<(), Error> {
        let seen = self.seen.entry(syscall).or_default();
        let ordered = args.iter().filter(|arg| ORDERS.contains(&&*arg.op));
        seen.halves.extend(ordered.map(|arg| arg.value >> 32));
        for condition in conditions {
            seen.longest = seen.longest.max(condition.len());
            seen.rules += 1;
        }
        let single = seen.longest <= 1 && seen.halves.len() == 1;
        if seen.halves.is_empty() || seen.rules == 1 || single {
            return Ok(());
        }
        let message = "libseccomp can't merge rules with less or greater of one system call";
        Err(Error::new(ErrorKind::Unsupported, message))
    }
}

/// The rules of one system call.
#[derive(Default)]
struct Seen {
    rules: usize,
    /// The most comparisons in a rule.
    longest: usize,
    /// The upper halves of values that are compared by less or greater.
    halves: BTreeSet<u64>,
}

const ORDERS: [&str; 4] = ["SCMP_CMP_LT", "SCMP_CMP_LE", "SCMP_CMP_GE", "SCMP_CMP_GT"];

/// The alternatives, each a list of comparisons that must all hold. Those with
/// two comparisons of one argument, which libseccomp doesn't take, have meant
/// "any of them" since the first runc.
fn conditions(args: &[SyscallArg], path: &str) -> Result<Vec<Vec<ScmpArgCompare>>, Error> {
    let mut comparators = Vec::with_capacity(args.len());
    for (index, arg) in args.iter().enumerate() {
        comparators.push(comparator(arg, &format!("{path}.args[{index}]"))?);
    }
    let repeated = (0..6).any(|n| args.iter().filter(|arg| arg.index == n).count() > 1);
    Ok(if repeated {
        comparators.into_iter().map(|one| vec![one]).collect()
    } else {
        vec![comparators]
    })
}

fn comparator(arg: &SyscallArg, path: &str) -> Result<ScmpArgCompare, Error> {
    if arg.index > 5 {
        let message = format!("{} is not one of a system call's six arguments", arg.index);
        return Err(Error::config(format!("{path}.index"), message));
    }
    let Some((_, op)) = OPERATORS.iter().find(|(name, _)| *name == arg.op) else {
        return Err(Error::config(
            format!("{path}.op"),
            format!("unknown operator {}", arg.op),
        ));
    };
    Ok(match op {
        // Here `value` is the mask and `valueTwo` what is compared with.
        ScmpCompareOp::MaskedEqual(_) => ScmpArgCompare::new(
            arg.index,
            ScmpCompareOp::MaskedEqual(arg.value),
            arg.value_two,
        ),
        op => ScmpArgCompare::new(arg.index, *op, arg.value),
    })
}

/// libseccomp before 2.6 writes a program only to a file.
fn export(filter: &ScmpFilterContext) -> Result<Vec<u8>, Error> {
    let fail = |errno| Error::system("cannot hold the seccomp filter in memory", errno);
    let memory = memfd_create(c"seccomp", MFdFlags::MFD_CLOEXEC).map_err(fail)?;
    filter.export_bpf(memory.as_fd()).map_err(|error| {
        Error::unsupported(
            "linux.seccomp",
            format!("libseccomp can't make a filter of it: {error}"),
        )
    })?;
    let memory = File::from(memory);
    let length = memory
        .metadata()
        .map(|meta| usize::try_from(meta.len()).unwrap_or(0));
    let mut program = vec![0; length.unwrap_or(0)];
    memory
        .read_exact_at(&mut program, 0)
        .map_err(|error| Error::system("cannot read the seccomp filter back", error))?;
    Ok(program)
}
