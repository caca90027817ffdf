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
    // Three answers on each of the two architectures, and one to the foreign one; and ENOSYS everywhere.
    assert_eq!(seen.len(), 10, "{seen:x?}");
}

/// The list for an architecture that lacks the first of its calls compares the others with the number of the
/// architecture: each was what the default says.
#[test]
fn of_calls_that_an_architecture_lacks() {
    let rules = vec![
        rule(&["open"], "ERRNO", &[]),
        rule(&["mount"], "ERRNO", &[(3, "EQ", 1, 0)]),
    ];
    let mut seccomp = filter("SCMP_ACT_ALLOW", rules);
    seccomp.architectures = vec!["SCMP_ARCH_AARCH64".into()];
    let mount = Call {
        arch: AARCH64,
        nr: 40,
        args: [0, 0, 0, 1, 0, 0],
    };
    assert_eq!(run(&compile(&seccomp).unwrap().program, &mount), EPERM);
    let list = compile_as(&seccomp, false).unwrap();
    assert_eq!(
        run(&list.program, &mount),
        ALLOW,
        "libseccomp does it right"
    );
}

/// libseccomp up to 2.5.3 forgot the default of an empty tree.
#[test]
fn of_no_rules() {
    let names = ["read"; TREE_FROM];
    let program = compile(&filter("SCMP_ACT_ALLOW", vec![rule(&names, "ALLOW", &[])])).unwrap();
    assert_eq!(run(&program.program, &call("read", &[])), ALLOW);
}

const ENOSYS: u32 = libc::SECCOMP_RET_ERRNO | 38;

/// Known to be newer than the profile; older than it, or from before numbers were shared, is what the default says.
#[test]
fn newer_calls_do_not_exist() {
    let answers = |seccomp: &Seccomp| {
        let program = compile(seccomp).unwrap().program;
        [83, 423, 424, 434, 439, 440, 4095, 4096, 0x4000_01b8].map(|nr| {
            let (arch, args) = (X86_64, [0; 6]);
            run(&program, &Call { arch, nr, args })
        })
    };
    // pidfd_open is 434, faccessat2 439.
    let rules = vec![rule(&["read", "faccessat2"], "ALLOW", &[])];
    let new = answers(&filter("SCMP_ACT_ERRNO", rules));
    let x32 = new[8];
    assert_ne!(x32, ENOSYS);
    let old = [EPERM, EPERM, EPERM, EPERM, ALLOW];
    assert_eq!(new, [&old[..], &[ENOSYS, ENOSYS, EPERM, x32]].concat()[..]);
    // A rule that says what the default says names its call all the same.
    let named = rule(&["faccessat2"], "ERRNO", &[]);
    let new = answers(&filter("SCMP_ACT_ERRNO", vec![named]));
    assert_eq!(new[2..6], [EPERM, EPERM, EPERM, ENOSYS]);
    let rules = vec![rule(&["read"], "ALLOW", &[])];
    let old = answers(&filter("SCMP_ACT_KILL_PROCESS", rules.clone()));
    assert_eq!(old[2..7], [ENOSYS; 5]);
    assert_eq!(old[1], libc::SECCOMP_RET_KILL_PROCESS);
    let open = answers(&filter("SCMP_ACT_LOG", rules));
    assert!(!open.contains(&ENOSYS));
}
