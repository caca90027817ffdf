//! `linux.resources.devices` (config-linux.md#allowed-device-list) as lines
//! for cgroup v1. The filter for cgroup v2 is in `device_filter.rs`.
//!
//! Pure. The rules mean the same in both: nothing is allowed at first, each of
//! read, write and mknod is decided by the last rule that covers it, and the
//! devices every container has are allowed after the user's rules. Without any
//! rule of the user nothing is restricted.
#![forbid(unsafe_code)]

use crate::Error;
use crate::config::resources::{Access, DeviceKind, DeviceRule};

const fn allow(
    kind: DeviceKind,
    major: Option<u32>,
    minor: Option<u32>,
    access: Access,
) -> DeviceRule {
    DeviceRule {
        allow: true,
        kind,
        major,
        minor,
        access,
    }
}

const MKNOD: Access = Access {
    read: false,
    write: false,
    mknod: true,
};
const RWM: Access = Access {
    read: true,
    write: true,
    mknod: true,
};

/// What every container may use, as in runc: creating any node, the default
/// devices (config-linux.md#default-devices), pseudo terminals and tun.
pub(crate) const DEFAULT_RULES: [DeviceRule; 11] = [
    allow(DeviceKind::Char, None, None, MKNOD),
    allow(DeviceKind::Block, None, None, MKNOD),
    allow(DeviceKind::Char, Some(1), Some(3), RWM), // null
    allow(DeviceKind::Char, Some(1), Some(8), RWM), // random
    allow(DeviceKind::Char, Some(1), Some(7), RWM), // full
    allow(DeviceKind::Char, Some(5), Some(0), RWM), // tty
    allow(DeviceKind::Char, Some(1), Some(5), RWM), // zero
    allow(DeviceKind::Char, Some(1), Some(9), RWM), // urandom
    allow(DeviceKind::Char, Some(136), None, RWM),  // pts/*
    allow(DeviceKind::Char, Some(5), Some(2), RWM), // ptmx
    allow(DeviceKind::Char, Some(10), Some(200), RWM), // net/tun
];

/// The user's rules and the default ones after them.
pub(super) fn with_defaults(rules: &[DeviceRule]) -> Vec<DeviceRule> {
    [rules, &DEFAULT_RULES].concat()
}

/// One write to `devices.allow` or `devices.deny`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) file: &'static str,
    pub(crate) value: String,
}

/// The writes that bring a v1 devices cgroup from any state to the meaning of
/// `rules`, none for no rules.
///
/// The kernel keeps "all but these" or "none but these", and forgets an entry
/// only when exactly it is named. So the rules are evaluated here, and what no
/// such list can say (`c 1:* rwm` without `c 1:3`) is refused: written line by
/// line the kernel would drop the denial silently.
pub(crate) fn lines(rules: &[DeviceRule]) -> Result<Vec<Line>, Error> {
    if rules.is_empty() {
        return Ok(Vec::new());
    }
    let all = with_defaults(rules);
    let list = AccessList::of(&all, true).or_else(|_| AccessList::of(&all, false));
    list.map(|list| list.lines()).map_err(|index| {
        // A default rule in the way is there because of the user's rules.
        let path = match index {
            index if index < rules.len() => format!("linux.resources.devices[{index}]"),
            _ => "linux.resources.devices".to_owned(),
        };
        Error::unsupported(
            path,
            "this host's cgroup v1 can't exempt a part of an earlier rule's devices",
        )
    })
}

/// The kernel's list: a default and the exceptions from it.
struct AccessList {
    default_allow: bool,
    exceptions: Vec<DeviceRule>,
}

impl AccessList {
    /// Evaluates the rules. With `flips`, a rule for everything turns the list
    /// round; without, "all allowed" is two exceptions from "none", which
    /// other rules may cut into. `Err` names the rule that doesn't fit.
    fn of(rules: &[DeviceRule], flips: bool) -> Result<AccessList, usize> {
        let mut list = AccessList {
            default_allow: false,
            exceptions: Vec::new(),
        };
        for (index, rule) in rules.iter().enumerate() {
            if is_everything(rule) && (flips || !rule.allow) {
                list = AccessList {
                    default_allow: rule.allow,
                    exceptions: Vec::new(),
                };
                continue;
            }
            for kind in kinds(rule.kind) {
                let rule = DeviceRule { kind, ..*rule };
                if rule.allow == list.default_allow {
                    list.lift(&rule).ok_or(index)?;
                } else {
                    list.except(rule);
                }
            }
        }
        Ok(list)
    }

    /// Takes `rule` out of the exceptions; `None` if it would leave a hole.
    fn lift(&mut self, rule: &DeviceRule) -> Option<()> {
        for held in &mut self.exceptions {
            let shared = both(held.access, rule.access);
            if shared == NOTHING || !overlaps(held, rule) {
                continue;
            }
            covers(rule, held).then_some(())?;
            held.access = without(held.access, shared);
        }
        self.exceptions.retain(|held| held.access != NOTHING);
        Some(())
    }

    /// Adds an exception. The kernel asks one exception for all of what an
    /// open wants, so one inside another carries the other's read and write.
    fn except(&mut self, mut rule: DeviceRule) {
        for held in &mut self.exceptions {
            if covers(held, &rule) {
                rule.access = either(rule.access, without(held.access, MKNOD));
            }
        }
        for held in &mut self.exceptions {
            if covers(&rule, held) {
                held.access = either(held.access, without(rule.access, MKNOD));
            }
        }
        let known = self.exceptions.contains(&rule);
        if !known && rule.access != NOTHING {
            self.exceptions.push(rule);
        }
    }

    fn lines(&self) -> Vec<Line> {
        let (default, exception) = match self.default_allow {
            true => ("devices.allow", "devices.deny"),
            false => ("devices.deny", "devices.allow"),
        };
        let start = Line {
            file: default,
            value: "a".to_owned(),
        };
        let rest = self.exceptions.iter().map(|rule| Line {
            file: exception,
            value: line(rule),
        });
        std::iter::once(start).chain(rest).collect()
    }
}

const NOTHING: Access = Access {
    read: false,
    write: false,
    mknod: false,
};

fn both(a: Access, b: Access) -> Access {
    Access {
        read: a.read && b.read,
        write: a.write && b.write,
        mknod: a.mknod && b.mknod,
    }
}

fn either(a: Access, b: Access) -> Access {
    Access {
        read: a.read || b.read,
        write: a.write || b.write,
        mknod: a.mknod || b.mknod,
    }
}

fn without(a: Access, b: Access) -> Access {
    Access {
        read: a.read && !b.read,
        write: a.write && !b.write,
        mknod: a.mknod && !b.mknod,
    }
}

pub(super) fn is_everything(rule: &DeviceRule) -> bool {
    rule.kind == DeviceKind::All
        && rule.major.is_none()
        && rule.minor.is_none()
        && rule.access == RWM
}

/// The kernel reads an `a` line as everything whatever follows, so a narrower
/// rule for both kinds becomes two.
fn kinds(kind: DeviceKind) -> impl Iterator<Item = DeviceKind> {
    let has = move |one| kind == one || kind == DeviceKind::All;
    [DeviceKind::Char, DeviceKind::Block]
        .into_iter()
        .filter(move |&one| has(one))
}

fn number_covers(a: Option<u32>, b: Option<u32>) -> bool {
    a.is_none() || a == b
}

/// Each device of `b` is one of `a`. Both are of one kind each.
fn covers(a: &DeviceRule, b: &DeviceRule) -> bool {
    a.kind == b.kind && number_covers(a.major, b.major) && number_covers(a.minor, b.minor)
}

fn overlaps(a: &DeviceRule, b: &DeviceRule) -> bool {
    let meet = |a, b| number_covers(a, b) || number_covers(b, a);
    a.kind == b.kind && meet(a.major, b.major) && meet(a.minor, b.minor)
}

/// `c 1:3 rwm`.
fn line(rule: &DeviceRule) -> String {
    let kind = if rule.kind == DeviceKind::Block {
        'b'
    } else {
        'c'
    };
    let number = |n: Option<u32>| n.map_or_else(|| "*".to_owned(), |n| n.to_string());
    let Access { read, write, mknod } = rule.access;
    let access: String = [(read, 'r'), (write, 'w'), (mknod, 'm')]
        .iter()
        .filter(|a| a.0)
        .map(|a| a.1)
        .collect();
    format!(
        "{kind} {}:{} {access}",
        number(rule.major),
        number(rule.minor)
    )
}

#[cfg(test)]
pub(super) mod tests;
