//! The words of `linux.seccomp` and what they stand for. `features` prints
//! these tables.

use libseccomp::{ScmpAction, ScmpArch, ScmpCompareOp, ScmpFilterContext};

use crate::{Error, ErrorKind};

/// An action; of ERRNO and TRACE it needs the number to return, and knows how
/// large that may be.
#[derive(Debug)]
pub(crate) struct Action {
    pub(crate) name: &'static str,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Plain(ScmpAction),
    /// The kernel cuts an errno at MAX_ERRNO.
    Errno,
    Trace,
}

const fn plain(name: &'static str, action: ScmpAction) -> Action {
    Action {
        name,
        kind: Kind::Plain(action),
    }
}

pub(crate) const ACTIONS: [Action; 9] = [
    plain("SCMP_ACT_KILL", ScmpAction::KillThread),
    plain("SCMP_ACT_KILL_PROCESS", ScmpAction::KillProcess),
    plain("SCMP_ACT_KILL_THREAD", ScmpAction::KillThread),
    plain("SCMP_ACT_TRAP", ScmpAction::Trap),
    Action {
        name: "SCMP_ACT_ERRNO",
        kind: Kind::Errno,
    },
    Action {
        name: "SCMP_ACT_TRACE",
        kind: Kind::Trace,
    },
    plain("SCMP_ACT_ALLOW", ScmpAction::Allow),
    plain("SCMP_ACT_LOG", ScmpAction::Log),
    plain(NOTIFY, ScmpAction::Notify),
];

pub(crate) const OPERATORS: [(&str, ScmpCompareOp); 7] = [
    ("SCMP_CMP_NE", ScmpCompareOp::NotEqual),
    ("SCMP_CMP_LT", ScmpCompareOp::Less),
    ("SCMP_CMP_LE", ScmpCompareOp::LessOrEqual),
    ("SCMP_CMP_EQ", ScmpCompareOp::Equal),
    ("SCMP_CMP_GE", ScmpCompareOp::GreaterEqual),
    ("SCMP_CMP_GT", ScmpCompareOp::Greater),
    ("SCMP_CMP_MASKED_EQ", ScmpCompareOp::MaskedEqual(0)),
];

/// All of the spec; which of them a filter of this host can hold,
/// `architectures` tells.
pub(crate) const ARCHITECTURES: [(&str, ScmpArch); 23] = [
    ("SCMP_ARCH_X86", ScmpArch::X86),
    ("SCMP_ARCH_X86_64", ScmpArch::X8664),
    ("SCMP_ARCH_X32", ScmpArch::X32),
    ("SCMP_ARCH_ARM", ScmpArch::Arm),
    ("SCMP_ARCH_AARCH64", ScmpArch::Aarch64),
    ("SCMP_ARCH_MIPS", ScmpArch::Mips),
    ("SCMP_ARCH_MIPS64", ScmpArch::Mips64),
    ("SCMP_ARCH_MIPS64N32", ScmpArch::Mips64N32),
    ("SCMP_ARCH_MIPSEL", ScmpArch::Mipsel),
    ("SCMP_ARCH_MIPSEL64", ScmpArch::Mipsel64),
    ("SCMP_ARCH_MIPSEL64N32", ScmpArch::Mipsel64N32),
    ("SCMP_ARCH_PPC", ScmpArch::Ppc),
    ("SCMP_ARCH_PPC64", ScmpArch::Ppc64),
    ("SCMP_ARCH_PPC64LE", ScmpArch::Ppc64Le),
    ("SCMP_ARCH_S390", ScmpArch::S390),
    ("SCMP_ARCH_S390X", ScmpArch::S390X),
    ("SCMP_ARCH_PARISC", ScmpArch::Parisc),
    ("SCMP_ARCH_PARISC64", ScmpArch::Parisc64),
    ("SCMP_ARCH_RISCV64", ScmpArch::Riscv64),
    ("SCMP_ARCH_LOONGARCH64", ScmpArch::Loongarch64),
    ("SCMP_ARCH_M68K", ScmpArch::M68k),
    ("SCMP_ARCH_SH", ScmpArch::Sh),
    ("SCMP_ARCH_SHEB", ScmpArch::Sheb),
];

pub(super) const SPEC_ALLOW: u32 = 1 << 2;

/// For seccomp(2), linux/seccomp.h.
pub(crate) const FLAGS: [(&str, u32); 4] = [
    ("SECCOMP_FILTER_FLAG_TSYNC", TSYNC),
    ("SECCOMP_FILTER_FLAG_LOG", 1 << 1),
    ("SECCOMP_FILTER_FLAG_SPEC_ALLOW", SPEC_ALLOW),
    ("SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", WAIT_KILLABLE),
];

pub(super) const TSYNC: u32 = 1 << 0;

/// Of use only with SCMP_ACT_NOTIFY.
pub(super) const WAIT_KILLABLE: u32 = 1 << 5;

pub(super) const NOTIFY: &str = "SCMP_ACT_NOTIFY";

/// The architectures that a filter of this host can hold: libseccomp must know
/// them, and their byte order must be the host's.
pub(crate) fn architectures() -> Vec<&'static str> {
    let fits = |arch: ScmpArch| {
        let Ok(mut filter) = ScmpFilterContext::new(ScmpAction::Allow) else {
            return false;
        };
        filter.is_arch_present(arch).is_ok_and(|present| present) || filter.add_arch(arch).is_ok()
    };
    ARCHITECTURES
        .iter()
        .filter(|(_, arch)| fits(*arch))
        .map(|(name, _)| *name)
        .collect()
}

/// Why an action can't be had: it is the name or the errno.
pub(super) struct BadAction {
    in_errno: bool,
    error: Error,
}

impl BadAction {
    pub(super) fn at(self, action: &str, errno: &str) -> Error {
        self.error.at(if self.in_errno { errno } else { action })
    }
}

/// An action by name; an errno that is needed and not given is EPERM.
pub(super) fn action(name: &str, errno: Option<u32>) -> Result<ScmpAction, BadAction> {
    let bad = |in_errno, kind, message| BadAction {
        in_errno,
        error: Error::new(kind, message),
    };
    let invalid = ErrorKind::InvalidConfig;
    let Some(action) = ACTIONS.iter().find(|action| action.name == name) else {
        return Err(bad(false, invalid, format!("unknown action {name}")));
    };
    let number = |max: u16| match u16::try_from(errno.unwrap_or(libc::EPERM.cast_unsigned())) {
        Ok(errno) if errno <= max => Ok(errno),
        _ => Err(bad(true, invalid, format!("is larger than {max}"))),
    };
    match (&action.kind, errno) {
        (Kind::Plain(_), Some(_)) => Err(bad(true, invalid, format!("{name} returns no errno"))),
        (Kind::Plain(action), None) => Ok(*action),
        (Kind::Errno, _) => Ok(ScmpAction::Errno(number(4095)?.into())),
        (Kind::Trace, _) => Ok(ScmpAction::Trace(number(u16::MAX)?)),
    }
}
