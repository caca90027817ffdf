//! A filter as a tree must mean what it means as a list.

use super::*;

/// Four actions over all names that there are, some by their arguments: of each kind some neighbours.
fn profile() -> Seccomp {
    let names: Vec<_> = (0..470)
        .filter_map(|nr| ScmpSyscall::from(nr).get_name().ok())
        .collect();
    let of = |kind: usize| -> Vec<&str> {
        let names = names.iter().enumerate();
        let own = names.filter(|(n, _)| n / 3 % 5 == kind);
        own.map(|(_, name)| name.as_str()).collect()
    };
    let rules = vec![
        rule(&of(0), "ALLOW", &[]),
        rule(&of(1), "ALLOW", &[(0, "EQ", 40, 0)]),
        rule(&of(2), "KILL_PROCESS", &[]),
        rule(&of(3), "ALLOW", &[(0, "MASKED_EQ", 0x7e02_0000, 0)]),
        rule(&of(4), "ALLOW", &[(0, "NE", 1, 0), (2, "GE", 8, 0)]),
    ];
    let mut seccomp = filter("SCMP_ACT_ERRNO", rules);
    seccomp.architectures = ["X86_64", "X86", "X32"]
        .map(|a| format!("SCMP_ARCH_{a}"))
        .to_vec();
    seccomp
}

#[test]
fn a_tree_is_the_list() {
    let [tree, list] = [true, false].map(|tree| compile_as(&profile(), tree).unwrap().program);
    assert_ne!(tree, list);
    assert_eq!(tree, compile(&profile()).unwrap().program);
    let values = [0, 1, 7, 8, 40, 41, 0x2_0000, u64::MAX];
    let mut seen = BTreeSet::new();
    for arch in [X86_64, I386, AARCH64] {
        for nr in (0..600).chain(0x4000_0000..0x4000_0260).chain([u32::MAX]) {
            for value in values {
                let call = Call {
                    arch,
                    nr,
                    args: [value; 6],
                };
                let answer = run(&tree, &call);
                assert_eq!(answer, run(&list, &call), "{call:x?}");
                seen.insert((arch, answer));
            }
        }
    }
    // Three answers on each of the two architectures, and one to the foreign one.
    assert_eq!(seen.len(), 7, "{seen:x?}");
}

/// libseccomp up to 2.5.3 forgot the default of an empty tree.
#[test]
fn of_no_rules() {
    let names = ["read"; TREE_FROM];
    let program = compile(&filter("SCMP_ACT_ALLOW", vec![rule(&names, "ALLOW", &[])])).unwrap();
    assert_eq!(run(&program.program, &call("read", &[])), ALLOW);
}
