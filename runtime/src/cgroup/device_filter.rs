//! `linux.resources.devices` as an eBPF program for cgroup v2.
//!
//! Pure; `sys::bpf` loads what comes out. What the rules mean is said in
//! `devices.rs`. The program is straight: the last rule comes first, and each
//! bit of access is decided by the first rule that it meets.
#![forbid(unsafe_code)]

use super::devices::with_defaults;
use crate::config::resources::{Access, DeviceKind, DeviceRule};

/// The program for the user's rules with the default ones after them, one
/// `struct bpf_insn` a word; `None` for no rules: nothing is restricted.
pub(crate) fn program(rules: &[DeviceRule]) -> Option<Vec<u64>> {
    if rules.is_empty() {
        return None;
    }
    Some(
        compile(&with_defaults(rules))
            .into_iter()
            .map(Insn::encode)
            .collect(),
    )
}

/// `struct bpf_insn`, linux/bpf.h.
#[derive(Clone, Copy, Debug)]
struct Insn {
    code: u8,
    dst: u8,
    src: u8,
    off: i16,
    imm: i32,
}

// Opcodes: class, size or source, operation.
const LOAD_U32: u8 = 0x61;
const MOV_REG: u8 = 0xbf;
const MOV: u8 = 0xb7;
const AND: u8 = 0x57;
const SHIFT_RIGHT: u8 = 0x77;
const JUMP: u8 = 0x05;
const EXIT: u8 = 0x95;
// Of 32 bits (Linux 5.1): a 64-bit compare would sign-extend the immediate.
const JUMP_NE: u8 = 0x56;
const JUMP_SET: u8 = 0x46;

const RESULT: u8 = 0;
const CONTEXT: u8 = 1;
const KIND: u8 = 2;
/// The bits of access that no rule has decided yet.
const WANTED: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;

const KIND_BLOCK: i32 = 1;
const KIND_CHAR: i32 = 2;
const ALL_ACCESS: i32 = 7;

impl Insn {
    fn encode(self) -> u64 {
        // The two register nibbles are a bit field: their order is the CPU's.
        let registers = match cfg!(target_endian = "little") {
            true => self.src << 4 | self.dst,
            false => self.dst << 4 | self.src,
        };
        let [o0, o1] = self.off.to_ne_bytes();
        let [i0, i1, i2, i3] = self.imm.to_ne_bytes();
        u64::from_ne_bytes([self.code, registers, o0, o1, i0, i1, i2, i3])
    }
}

fn insn(code: u8, dst: u8, imm: i32) -> Insn {
    Insn {
        code,
        dst,
        src: 0,
        off: 0,
        imm,
    }
}

fn compile(rules: &[DeviceRule]) -> Vec<Insn> {
    let load = |dst, off| Insn {
        code: LOAD_U32,
        dst,
        src: CONTEXT,
        off,
        imm: 0,
    };
    // struct bpf_cgroup_dev_ctx: access << 16 | type, major, minor.
    let mut code = vec![
        load(KIND, 0),
        Insn {
            code: MOV_REG,
            dst: WANTED,
            src: KIND,
            off: 0,
            imm: 0,
        },
        insn(AND, KIND, 0xffff),
        insn(SHIFT_RIGHT, WANTED, 16),
        load(MAJOR, 4),
        load(MINOR, 8),
    ];
    for rule in rules.iter().rev() {
        let block = block(rule);
        // A rule for everything decides; the verifier refuses dead code.
        let decides = matches!(block.first(), Some(Insn { code: MOV, .. }));
        code.extend(block);
        if decides {
            return code;
        }
    }
    code.extend(answer(false));
    code
}

fn answer(allow: bool) -> [Insn; 2] {
    [insn(MOV, RESULT, i32::from(allow)), insn(EXIT, 0, 0)]
}

/// One rule: skipped unless kind and numbers match.
fn block(rule: &DeviceRule) -> Vec<Insn> {
    let kind = match rule.kind {
        DeviceKind::All => None,
        DeviceKind::Block => Some(KIND_BLOCK),
        DeviceKind::Char => Some(KIND_CHAR),
    };
    let conditions = [
        (KIND, kind),
        (MAJOR, rule.major.map(u32::cast_signed)),
        (MINOR, rule.minor.map(u32::cast_signed)),
    ];
    let mut block: Vec<Insn> = conditions
        .into_iter()
        .filter_map(|(register, value)| Some(insn(JUMP_NE, register, value?)))
        .collect();
    let tests = block.len();
    block.extend(verdict(rule.allow, mask(rule.access)));
    let end = block.len();
    for (at, test) in block[..tests].iter_mut().enumerate() {
        test.off = distance(at, end);
    }
    block
}

/// What a matching rule does with the bits it names.
fn verdict(allow: bool, mask: i32) -> Vec<Insn> {
    let jump = |code, dst, imm, off| Insn {
        code,
        dst,
        src: 0,
        off,
        imm,
    };
    let decide = match (allow, mask) {
        (_, 0) => return Vec::new(),
        (_, ALL_ACCESS) => Vec::new(),
        // All decided: allowed. Else on to the next rule.
        (true, mask) => vec![
            insn(AND, WANTED, ALL_ACCESS & !mask),
            jump(JUMP_NE, WANTED, 0, 2),
        ],
        // One of the bits is wanted: denied.
        (false, mask) => vec![jump(JUMP_SET, WANTED, mask, 1), jump(JUMP, 0, 0, 2)],
    };
    [decide, answer(allow).to_vec()].concat()
}

fn distance(from: usize, to: usize) -> i16 {
    // A block is at most seven instructions long.
    i16::try_from(to - from - 1).unwrap_or(i16::MAX)
}

fn mask(access: Access) -> i32 {
    let Access { read, write, mknod } = access;
    i32::from(mknod) | i32::from(read) << 1 | i32::from(write) << 2
}

#[cfg(test)]
mod tests {
    use super::super::devices::tests::{Random, allowed, rule};
    use super::*;

    /// Runs a program as the kernel would; panics at anything unknown.
    fn run(code: &[Insn], kind: DeviceKind, major: u32, minor: u32, access: Access) -> bool {
        let kind = if kind == DeviceKind::Block {
            KIND_BLOCK
        } else {
            KIND_CHAR
        };
        let context = [(mask(access) << 16 | kind).cast_unsigned(), major, minor];
        let (mut registers, mut at) = ([0u64; 6], 0usize);
        loop {
            let Insn {
                code,
                dst,
                src,
                off,
                imm,
            } = code[at];
            let (value, imm32) = (registers[dst as usize], imm.cast_unsigned());
            let low = u32::try_from(value & 0xffff_ffff).unwrap();
            at += 1;
            let jumps = match code {
                LOAD_U32 => {
                    registers[dst as usize] = context[usize::try_from(off).unwrap() / 4].into();
                    false
                }
                MOV_REG => {
                    registers[dst as usize] = registers[src as usize];
                    false
                }
                MOV => {
                    registers[dst as usize] = u64::from(imm32);
                    false
                }
                AND => {
                    registers[dst as usize] = value & u64::from(imm32);
                    false
                }
                SHIFT_RIGHT => {
                    registers[dst as usize] = value >> imm32;
                    false
                }
                JUMP => true,
                JUMP_NE => low != imm32,
                JUMP_SET => low & imm32 != 0,
                EXIT => return registers[0] == 1,
                other => panic!("{other:#x}"),
            };
            if jumps {
                at += usize::try_from(off).unwrap();
            }
        }
    }

    #[test]
    fn a_program_means_what_the_rules_mean() {
        let mut random = Random(7);
        for _ in 0..3000 {
            let rules = random.rules();
            for rules in [with_defaults(&rules), rules] {
                let code = compile(&rules);
                for _ in 0..60 {
                    let (kind, major, minor) = (random.kind(), random.below(4), random.below(9));
                    let access = random.access();
                    assert_eq!(
                        run(&code, kind, major, minor, access),
                        allowed(&rules, kind, major, minor, access),
                        "{rules:?} {kind:?} {major}:{minor} {access:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn numbers_past_31_bits_compare_as_unsigned() {
        let high = DeviceRule {
            major: Some(u32::MAX),
            minor: Some(1 << 31),
            ..rule("+c 0:0 rwm")
        };
        let code = compile(&[high]);
        assert!(run(&code, DeviceKind::Char, u32::MAX, 1 << 31, high.access));
        assert!(!run(&code, DeviceKind::Char, u32::MAX, 0, high.access));
    }

    #[test]
    fn no_dead_code_after_a_rule_for_everything() {
        let all = compile(&[rule("+c 1:3 rwm"), rule("-a *:* rwm")]);
        assert_eq!(all.len(), 8);
        assert_eq!(program(&[]), None);
        assert!(program(&[rule("-a *:* rwm")]).is_some());
    }
}
