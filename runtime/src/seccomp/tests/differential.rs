//! Random profiles: what their filter answers against what config-linux.md#seccomp says they mean.
//!
//! The meaning is told by `Profile::answer`, from the rules and a table of system call numbers written down
//! here; it knows nothing of programs. What the specification leaves open, or libseccomp gets wrong, does not
//! occur, by construction:
//! - Rules of one call with different actions exclude each other: nobody says which of two comes first.
//! - NE is the only comparison that its call has (see `known_fault_of_not_equal`), and with less and greater go
//!   only comparisons that are no cause to refuse (see `refuse_miscompiled`).
//! - Where a 32-bit architecture is in the filter, values have 32 bits: of larger ones libseccomp takes the
//!   lower half there (see `known_fault_of_halves`).
//! - Calls that 32-bit x86 has as part of socketcall and ipc are not named: libseccomp adds rules for these.

use super::*;

/// Numbers on x86_64, x32, x86, aarch64 and arm, in this order, from the kernel's tables; x32's without its bit.
#[rustfmt::skip] // a table: one row, one line
const CALLS: &[(&str, [Option<u32>; 5])] = &[
    ("read", [Some(0), Some(0), Some(3), Some(63), Some(3)]),
    ("write", [Some(1), Some(1), Some(4), Some(64), Some(4)]),
    ("open", [Some(2), Some(2), Some(5), None, Some(5)]),
    ("close", [Some(3), Some(3), Some(6), Some(57), Some(6)]),
    ("mprotect", [Some(10), Some(10), Some(125), Some(226), Some(125)]),
    ("ioctl", [Some(16), Some(514), Some(54), Some(29), Some(54)]),
    ("getpid", [Some(39), Some(39), Some(20), Some(172), Some(20)]),
    ("clone", [Some(56), Some(56), Some(120), Some(220), Some(120)]),
    ("fork", [Some(57), Some(57), Some(2), None, Some(2)]),
    ("kill", [Some(62), Some(62), Some(37), Some(129), Some(37)]),
    ("uname", [Some(63), Some(63), Some(122), Some(160), Some(122)]),
    ("fcntl", [Some(72), Some(72), Some(55), Some(25), Some(55)]),
    ("mkdir", [Some(83), Some(83), Some(39), None, Some(39)]),
    ("personality", [Some(135), Some(135), Some(136), Some(92), Some(136)]),
    ("arch_prctl", [Some(158), Some(158), Some(384), None, None]),
    ("chroot", [Some(161), Some(161), Some(61), Some(51), Some(61)]),
    ("mount", [Some(165), Some(165), Some(21), Some(40), Some(21)]),
    ("reboot", [Some(169), Some(169), Some(88), Some(142), Some(88)]),
    ("getuid32", [None, None, Some(199), None, Some(199)]),
    ("openat", [Some(257), Some(257), Some(295), Some(56), Some(322)]),
    ("unshare", [Some(272), Some(272), Some(310), Some(97), Some(337)]),
    ("setns", [Some(308), Some(308), Some(346), Some(268), Some(375)]),
    ("bpf", [Some(321), Some(321), Some(357), Some(280), Some(386)]),
    ("execveat", [Some(322), Some(545), Some(358), Some(281), Some(387)]),
    ("statx", [Some(332), Some(332), Some(383), Some(291), Some(397)]),
    ("io_uring_setup", [Some(425); 5]),
    ("pidfd_open", [Some(434); 5]),
    ("clone3", [Some(435); 5]),
    ("openat2", [Some(437); 5]),
    ("faccessat2", [Some(439); 5]),
];

/// Names of no call.
const UNKNOWN: [&str; 2] = ["no_such_call", "readd"];

/// Architectures by their column in `CALLS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Arch {
    X8664,
    X32,
    X86,
    Aarch64,
    Arm,
}

use Arch::{Aarch64, Arm, X32, X86, X8664};

const X32_BIT: u32 = 0x4000_0000;

const NATIVE: Arch = if cfg!(target_arch = "x86_64") {
    X8664
} else {
    Aarch64
};

impl Arch {
    fn name(self) -> String {
        let name = match self {
            X8664 => "X86_64",
            X32 => "X32",
            X86 => "X86",
            Aarch64 => "AARCH64",
            Arm => "ARM",
        };
        format!("SCMP_ARCH_{name}")
    }

    /// AUDIT_ARCH_*, linux/audit.h.
    fn audit(self) -> u32 {
        match self {
            X8664 | X32 => X86_64,
            X86 => I386,
            Aarch64 => AARCH64,
            Arm => 0x4000_0028,
        }
    }

    /// Whose call the kernel says it is.
    fn of(call: &Call) -> Option<Arch> {
        // -1 is what a tracer leaves of a call that it has skipped.
        let x32 = call.nr >= X32_BIT && call.nr != u32::MAX;
        match call.arch {
            X86_64 if x32 => Some(X32),
            X86_64 => Some(X8664),
            I386 => Some(X86),
            AARCH64 => Some(Aarch64),
            0x4000_0028 => Some(Arm),
            _ => None,
        }
    }

    fn is_narrow(self) -> bool {
        matches!(self, X32 | X86 | Arm)
    }

    /// The number of a row of `CALLS`.
    fn number(self, call: &(&str, [Option<u32>; 5])) -> Option<u32> {
        let bit = if self == X32 { X32_BIT } else { 0 };
        Some(call.1[self as usize]? | bit)
    }
}

/// The sets of architectures that profiles list; the host's own is part of each.
const SETS: [&[Arch]; 6] = [
    &[],
    &[X8664],
    &[X8664, X86, X32],
    &[Aarch64, Arm],
    &[X86, X8664],
    &[Aarch64, X8664],
];

struct Profile {
    seccomp: Seccomp,
    architectures: Vec<Arch>,
}

impl Profile {
    /// What the profile means for a call.
    fn answer(&self, call: &Call) -> u32 {
        let default = value(&self.seccomp.default_action, self.seccomp.default_errno);
        if !lets_pass(default) && call.nr > self.newest() && call.nr < 4096 {
            return ENOSYS;
        }
        let arch = Arch::of(call).filter(|arch| self.architectures.contains(arch));
        let Some(arch) = arch else {
            return libc::SECCOMP_RET_KILL_THREAD;
        };
        let is_call = |row: &&(&str, _)| arch.number(row) == Some(call.nr);
        let Some((name, _)) = CALLS.iter().find(is_call) else {
            return default;
        };
        let applies = |rule: &&SyscallRule| {
            rule.names.iter().any(|known| known == name) && matches(rule, &call.args)
        };
        let applies = self.seccomp.syscalls.iter().find(applies);
        applies.map_or(default, |rule| value(&rule.action, rule.errno))
    }

    /// The newest call that the profile names, or the last whose number differs between architectures.
    fn newest(&self) -> u32 {
        let rules = &self.seccomp.syscalls;
        let named = |name: &str| {
            rules
                .iter()
                .any(|rule| rule.names.iter().any(|n| n == name))
        };
        let named = CALLS.iter().filter(|(name, _)| named(name));
        let newest = named.filter_map(|row| NATIVE.number(row)).max();
        newest.unwrap_or(0).max(423)
    }
}

const ENOSYS: u32 = libc::SECCOMP_RET_ERRNO | 38;

/// What seccomp(2) answers for an action.
fn value(action: &str, errno: Option<u32>) -> u32 {
    match &action["SCMP_ACT_".len()..] {
        "ALLOW" => 0x7fff_0000,
        "LOG" => 0x7ffc_0000,
        "TRACE" => 0x7ff0_0000 | errno.unwrap_or(1),
        "NOTIFY" => 0x7fc0_0000,
        "ERRNO" => 0x0005_0000 | errno.unwrap_or(1),
        "TRAP" => 0x0003_0000,
        "KILL_PROCESS" => 0x8000_0000,
        "KILL" | "KILL_THREAD" => 0,
        other => panic!("{other}"),
    }
}

/// A call that such a profile doesn't know is made, or asked about.
fn lets_pass(answer: u32) -> bool {
    [0x7fff_0000, 0x7ffc_0000, 0x7ff0_0000, 0x7fc0_0000].contains(&(answer & 0xffff_0000))
}

/// A number below the given one, each time another.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % n
    }

    fn of<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())]
    }

    fn number(&mut self, below: u32) -> u32 {
        u32::try_from(self.below(below as usize)).unwrap()
    }

    fn action(&mut self) -> (String, Option<u32>) {
        let action = self.of(&[
            "ALLOW",
            "ERRNO",
            "KILL",
            "KILL_THREAD",
            "KILL_PROCESS",
            "TRAP",
            "TRACE",
            "LOG",
            "NOTIFY",
        ]);
        let most = match action {
            "ERRNO" => 4096,
            "TRACE" => 65536,
            _ => 0,
        };
        let errno = (most > 0 && self.below(4) > 0).then(|| self.number(most.max(1)));
        (format!("SCMP_ACT_{action}"), errno)
    }

    /// A boundary value of 32 bits, and where it may be of 64 bits.
    fn value(&mut self, narrow: bool) -> u64 {
        let value = self.of(&BOUNDARIES);
        if narrow { value & 0xffff_ffff } else { value }
    }

    fn comparison(&mut self, index: u32, ops: &[&str], narrow: bool) -> SyscallArg {
        let op = self.of(ops);
        let (value, second) = (self.value(narrow), self.value(narrow));
        SyscallArg {
            index,
            value,
            // Bits beyond the mask would never be equal.
            value_two: if op == "MASKED_EQ" { second & value } else { 0 },
            op: format!("SCMP_CMP_{op}"),
        }
    }

    /// Comparisons of as many arguments, or with `again` of one.
    fn comparisons(&mut self, n: u32, again: bool, ops: &[&str], narrow: bool) -> Vec<SyscallArg> {
        let first = self.number(6 - n + 1);
        let index = |k| if again { first } else { first + k };
        (0..n)
            .map(|k| self.comparison(index(k), ops, narrow))
            .collect()
    }
}

const BOUNDARIES: [u64; 14] = [
    0,
    1,
    2,
    0x5412,
    0x7fff_ffff,
    0x8000_0000,
    0x8000_0001,
    0xffff_fffe,
    0xffff_ffff,
    1 << 32,
    (1 << 32) + 1,
    0xffff_ffff_8000_0000,
    u64::MAX - 1,
    u64::MAX,
];

const ALL: [&str; 6] = ["LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"];
const EQUAL: [&str; 2] = ["EQ", "MASKED_EQ"];
const ORDER: [&str; 4] = ["LT", "LE", "GE", "GT"];

/// Rules for some calls, of one of the shapes that have a meaning.
fn rules(random: &mut Random, names: &[String], narrow: bool) -> Vec<SyscallRule> {
    let (action, errno) = random.action();
    let plain = SyscallRule {
        names: names.to_vec(),
        action,
        errno,
        args: vec![],
    };
    let with = |args| SyscallRule {
        args,
        ..plain.clone()
    };
    let n = random.number(3) + 1;
    match random.below(8) {
        0 => vec![with(random.comparisons(1, false, &["NE"], narrow))],
        1 => vec![with(random.comparisons(n, false, &ALL, narrow))],
        2 => vec![with(random.comparisons(n, true, &EQUAL, narrow))],
        // Alternatives in rules of their own.
        3 => (0..=n)
            .map(|_| with(random.comparisons(1, false, &EQUAL, narrow)))
            .collect(),
        // Of less and greater only with the same upper half.
        4 => {
            let index = random.number(6);
            let ops = [&ORDER[..], &EQUAL[..1]].concat();
            let mut one = || with(vec![random.comparison(index, &ops, true)]);
            (0..=n).map(|_| one()).collect()
        }
        // Different actions for different values.
        5 => {
            let index = random.number(6);
            let mut values: Vec<u64> = (0..=n).map(|_| random.value(narrow)).collect();
            values.sort_unstable();
            values.dedup();
            let mut one = |value| {
                let (action, errno) = random.action();
                let equal = SyscallArg {
                    index,
                    value,
                    value_two: 0,
                    op: "SCMP_CMP_EQ".into(),
                };
                SyscallRule {
                    names: names.to_vec(),
                    action,
                    errno,
                    args: vec![equal],
                }
            };
            values.into_iter().map(&mut one).collect()
        }
        _ => vec![plain],
    }
}

fn profile(random: &mut Random) -> Profile {
    let listed = random.of(&SETS);
    let mut architectures = listed.to_vec();
    architectures.push(NATIVE);
    let narrow = architectures.iter().any(|arch| arch.is_narrow());
    // Each call in one group, some in none. Every second profile is long enough for a tree.
    let groups = random.below(5) + 1 + 4 * random.below(2);
    // Some with calls that an architecture lacks, which are never lists.
    let strange = random.below(2) == 0;
    let mut names = vec![Vec::new(); groups + 1];
    for row @ (name, _) in CALLS {
        if !strange && architectures.iter().any(|arch| arch.number(row).is_none()) {
            continue;
        }
        names[random.below(groups + 1)].push((*name).to_owned());
    }
    names.pop();
    let mut all = Vec::new();
    for mut group in names {
        let few = random.below(2) == 0;
        if few {
            group.truncate(2);
        }
        if random.below(3) == 0 {
            group.push(random.of(&UNKNOWN).to_owned());
        }
        if !group.is_empty() {
            all.extend(rules(random, &group, narrow));
        }
    }
    let (default_action, default_errno) = random.action();
    Profile {
        seccomp: Seccomp {
            default_action,
            default_errno,
            architectures: listed.iter().map(|arch| arch.name()).collect(),
            flags: None,
            syscalls: all,
        },
        architectures,
    }
}

/// A call of some architecture, in the profile or not.
fn some_call(random: &mut Random, profile: &Profile) -> Call {
    let arch = random.of(&[X8664, X32, X86, Aarch64, Arm]);
    let row = &CALLS[random.below(CALLS.len())];
    let known = arch.number(row).unwrap_or(600);
    let nr = match random.below(8) {
        0 => random.number(4200),
        1 => known.wrapping_add(1),
        2 => random.of(&[
            u32::MAX,
            423,
            424,
            4095,
            4096,
            X32_BIT,
            X32_BIT | 4095,
            1 << 31,
        ]),
        // Another architecture's number.
        3 => random
            .of(&[X8664, X86, Aarch64, Arm])
            .number(row)
            .unwrap_or(0),
        _ => known,
    };
    let narrow = profile.architectures.iter().any(|arch| arch.is_narrow());
    // Near what the rules compare with.
    let given: Vec<u64> = profile
        .seccomp
        .syscalls
        .iter()
        .flat_map(|rule| &rule.args)
        .flat_map(|arg| [arg.value, arg.value_two])
        .collect();
    let mut argument = || {
        let value = match random.below(3) {
            0 if !given.is_empty() => {
                random
                    .of(&given)
                    .wrapping_add(random.of(&[0, 0, 1, u64::MAX]))
            }
            1 => BOUNDARIES[random.below(BOUNDARIES.len())] ^ (1 << random.below(64)),
            _ => random.of(&BOUNDARIES),
        };
        if narrow { value & 0xffff_ffff } else { value }
    };
    Call {
        arch: arch.audit(),
        nr,
        args: [(); 6].map(|()| argument()),
    }
}

#[test]
fn random_profiles_against_their_meaning() {
    let soak = std::env::var_os("LONGSHORE_SOAK").is_some_and(|soak| soak == "1");
    let mut random = Random(7);
    let mut seen = BTreeSet::new();
    let (mut trees, mut refused) = (0, 0);
    let rounds = if soak { 40_000 } else { 800 };
    for round in 0..rounds {
        let profile = profile(&mut random);
        let filter = match compile(&profile.seccomp) {
            Ok(filter) => filter,
            // libseccomp can't merge some alternatives about several arguments, and says so.
            Err(error) if error.to_string().contains("can't have this rule") => {
                refused += 1;
                continue;
            }
            Err(error) => panic!("{error}: {:?}", profile.seccomp),
        };
        // The other form, of each fourth, where it has no fault.
        let (tree, faulty) = (is_tree(&profile.seccomp), has_strange(&profile.seccomp));
        let other = round % 4 == 0 && !(tree && faulty);
        let other = other.then(|| compile_as(&profile.seccomp, !tree).unwrap());
        trees += usize::from(tree);
        for _ in 0..150 {
            let call = some_call(&mut random, &profile);
            let expect = profile.answer(&call);
            for filter in [Some(&filter), other.as_ref()].into_iter().flatten() {
                let found = run(&filter.program, &call);
                assert_eq!(
                    found, expect,
                    "{found:#x}, not {expect:#x}: {call:x?} of {:?}",
                    profile.seccomp
                );
            }
            seen.insert(expect & 0xffff_0000);
        }
    }
    assert_eq!(seen.len(), 8, "every action answers: {seen:x?}");
    let lists = rounds - trees;
    assert!(trees.min(lists) > rounds / 8, "{trees} of {rounds}");
    assert!(refused < rounds / 10, "{refused} of {rounds}");
}

/// The table here is libseccomp's, where it knows the architecture.
#[test]
fn numbers_of_the_table() {
    let known = [
        (X8664, libseccomp::ScmpArch::X8664),
        (X86, libseccomp::ScmpArch::X86),
        (Aarch64, libseccomp::ScmpArch::Aarch64),
        (Arm, libseccomp::ScmpArch::Arm),
        (X32, libseccomp::ScmpArch::X32),
    ];
    for (arch, theirs) in known {
        for row in CALLS {
            let found = ScmpSyscall::from_name_by_arch(row.0, theirs).map(i32::from);
            let found = found.ok().and_then(|nr| u32::try_from(nr).ok());
            assert_eq!(found, arch.number(row), "{} of {arch:?}", row.0);
        }
    }
}

/// Of a value beyond 32 bits a 32-bit architecture sees the lower half: an argument that can never be as large
/// is taken to be. Fails when libseccomp compares with the whole: then values may be of any size here.
#[test]
#[cfg(target_arch = "x86_64")]
fn known_fault_of_halves() {
    let large = rule(&["ioctl"], "ALLOW", &[(0, "GE", 1 << 32, 0)]);
    let mut seccomp = filter("SCMP_ACT_ERRNO", vec![large]);
    seccomp.architectures = vec![X86.name()];
    let program = compile(&seccomp).unwrap().program;
    let of_x86 = Call {
        arch: I386,
        nr: 54,
        args: [0; 6],
    };
    assert_eq!(run(&program, &call("ioctl", &[0])), EPERM);
    assert_eq!(run(&program, &of_x86), ALLOW);
}
