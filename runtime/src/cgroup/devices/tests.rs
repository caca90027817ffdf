//! Device rules as lists of cgroup v1 and as an order for the filter of v2.

use super::*;

/// `+c 1:3 rw` allows, `-a *:* rwm` denies.
pub(in super::super) fn rule(text: &str) -> DeviceRule {
    let fields: Vec<&str> = text[1..].split([' ', ':']).collect();
    let number = |text: &str| text.parse().ok();
    let has = |letter| fields[3].contains(letter);
    DeviceRule {
        allow: text.starts_with('+'),
        kind: match fields[0] {
            "a" => DeviceKind::All,
            "b" => DeviceKind::Block,
            _ => DeviceKind::Char,
        },
        major: number(fields[1]),
        minor: number(fields[2]),
        access: Access {
            read: has('r'),
            write: has('w'),
            mknod: has('m'),
        },
    }
}

/// The meaning of a rule list, bit by bit.
pub(in super::super) fn allowed(
    rules: &[DeviceRule],
    kind: DeviceKind,
    major: u32,
    minor: u32,
    access: Access,
) -> bool {
    let device = DeviceRule {
        allow: true,
        kind,
        major: Some(major),
        minor: Some(minor),
        access,
    };
    let decided = |bit: Access| {
        let last = rules.iter().rev().find(|rule| {
            let one_kind = DeviceRule { kind, ..**rule };
            kinds(rule.kind).any(|k| k == kind)
                && covers(&one_kind, &device)
                && both(rule.access, bit) == bit
        });
        last.is_some_and(|rule| rule.allow)
    };
    let bits = [
        Access {
            read: true,
            ..NOTHING
        },
        Access {
            write: true,
            ..NOTHING
        },
        MKNOD,
    ];
    bits.into_iter()
        .filter(|&bit| both(access, bit) == bit)
        .all(decided)
}

/// A small random generator with a fixed seed.
pub(in super::super) struct Random(pub(in super::super) u64);

impl Random {
    pub(in super::super) fn below(&mut self, n: u32) -> u32 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        u32::try_from(self.0 >> 33).unwrap() % n
    }

    fn number(&mut self) -> Option<u32> {
        Some(self.below(4)).filter(|&n| n != 3)
    }

    pub(in super::super) fn access(&mut self) -> Access {
        let bits = self.below(7) + 1;
        Access {
            read: bits & 1 != 0,
            write: bits & 2 != 0,
            mknod: bits & 4 != 0,
        }
    }

    pub(in super::super) fn kind(&mut self) -> DeviceKind {
        [DeviceKind::Char, DeviceKind::Block][self.below(2) as usize]
    }

    pub(in super::super) fn rules(&mut self) -> Vec<DeviceRule> {
        let count = self.below(6) + 1;
        (0..count)
            .map(|_| match self.below(5) {
                0 => DeviceRule {
                    allow: self.below(2) == 0,
                    ..rule("+a *:* rwm")
                },
                _ => DeviceRule {
                    allow: self.below(2) == 0,
                    kind: [DeviceKind::All, DeviceKind::Char, DeviceKind::Block]
                        [self.below(3) as usize],
                    major: self.number(),
                    minor: self.number(),
                    access: self.access(),
                },
            })
            .collect()
    }
}

fn check(rules: &[&str], expect: &[&str]) {
    let rules: Vec<DeviceRule> = rules.iter().map(|text| rule(text)).collect();
    let found = match lines(&rules) {
        Ok(lines) => lines
            .iter()
            .map(|l| format!("{} {}", l.file, l.value))
            .collect(),
        Err(error) => vec![error.to_string()],
    };
    assert_eq!(found[..expect.len()], *expect, "{found:?}");
}

#[test]
fn lines_for_v1() {
    assert_eq!(lines(&[]).unwrap(), []);
    // What engines pass.
    check(
        &["-a *:* rwm"],
        &[
            "devices.deny a",
            "devices.allow c *:* m",
            "devices.allow b *:* m",
            "devices.allow c 1:3 rwm",
        ],
    );
    check(
        &["-a *:* rwm", "+c 10:229 rw"],
        &[
            "devices.deny a",
            "devices.allow c 10:229 rw",
            "devices.allow c *:* m",
        ],
    );
    check(&["-a *:* rwm", "+a *:* rwm"], &["devices.allow a"]);
    assert_eq!(lines(&[rule("+a *:* rwm")]).unwrap().len(), 1);
    // A later rule takes back a part of the access, or cuts into "all".
    check(
        &["+b 8:0 rwm", "-b 8:0 w"],
        &["devices.deny a", "devices.allow b 8:0 rm"],
    );
    check(
        &["+a *:* rwm", "-b 8:0 w"],
        &["devices.allow a", "devices.deny b 8:0 w"],
    );
    check(
        &["+a *:* rwm", "-c *:* rwm"],
        &["devices.deny a", "devices.allow b *:* rwm"],
    );
    // Read from one rule and write from another are read and write.
    check(
        &["+b 8:0 r", "+b 8:* w"],
        &[
            "devices.deny a",
            "devices.allow b 8:0 rw",
            "devices.allow b 8:* w",
        ],
    );
    check(
        &["-a *:* rwm", "+b 8:* rwm", "-b 8:0 w"],
        &[
            "linux.resources.devices[2]: this host's cgroup v1 can't exempt a part of an earlier rule's devices",
        ],
    );
}

/// The kernel's own decision over a v1 list, security/device_cgroup.c.
fn kernel_allows(lines: &[Line], device: &DeviceRule) -> bool {
    let default_allow = lines[0].file == "devices.allow";
    let mut exceptions = lines[1..].iter().map(|l| rule(&format!("+{}", l.value)));
    let (wants, meets) = (device.access, |e: &DeviceRule| covers(e, device));
    match default_allow {
        true => !exceptions.any(|e| meets(&e) && both(e.access, wants) != NOTHING),
        false => exceptions.any(|e| meets(&e) && both(e.access, wants) == wants),
    }
}

#[test]
fn v1_lists_mean_what_the_rules_mean() {
    let (mut random, mut compiled) = (Random(1), 0);
    for _ in 0..3000 {
        let rules = random.rules();
        let Ok(lines) = lines(&rules) else { continue };
        compiled += 1;
        let all = with_defaults(&rules);
        for _ in 0..50 {
            let (kind, major, minor) = (random.kind(), random.below(4), random.below(9));
            let access = random.access();
            let device = DeviceRule {
                allow: true,
                kind,
                major: Some(major),
                minor: Some(minor),
                access,
            };
            let (ours, kernel) = (
                allowed(&all, kind, major, minor, access),
                kernel_allows(&lines, &device),
            );
            // Two exceptions that only overlap don't add up in the
            // kernel: stricter than asked, never laxer.
            let single = [access.read, access.write, access.mknod]
                .iter()
                .filter(|b| **b)
                .count()
                == 1;
            assert!(ours || !kernel, "{rules:?} {device:?}");
            assert!(kernel == ours || !single, "{rules:?} {device:?} {lines:?}");
        }
    }
    assert!(compiled > 1000, "{compiled}");
}
