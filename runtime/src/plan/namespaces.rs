//! Which clone makes or joins which namespace. Pure.

use super::order::Steps;
use super::{Action, Facts, HostTask};
use crate::cgroup::Version;
use crate::config::{Config, NamespaceKind};

use NamespaceKind::{Cgroup, Ipc, Mount, Network, Pid, Time, User, Uts};

/// Made by init itself, once it has its place: the user namespace must own the others only when
/// mapped, or lo's sysfs stays the host's root's.
const AFTER_MAPS: [NamespaceKind; 4] = [Mount, Network, Ipc, Uts];

fn made(config: &Config, kinds: &[NamespaceKind]) -> Vec<NamespaceKind> {
    kinds.iter().copied().filter(|kind| config.makes(*kind)).collect()
}

fn joined(config: &Config, kind: NamespaceKind) -> Option<&str> {
    config.namespace(kind)?.path.as_deref()
}

/// Can clone 2 put init straight into its cgroup? Only cgroup v2 and clone3 can.
pub(crate) fn born_in_cgroup(facts: &Facts) -> bool {
    facts.clone3 && facts.cgroup.version == Version::V2 && !facts.cgroup_directories.0.is_empty()
}

fn path_of(config: &Config, kind: NamespaceKind) -> String {
    let index = config.namespaces.iter().position(|namespace| namespace.kind == kind).unwrap_or(0);
    format!("linux.namespaces[{index}] ({})", kind.name())
}

fn join(config: &Config, kind: NamespaceKind, steps: &mut Steps) {
    if let Some(path) = joined(config, kind) {
        steps.push(path_of(config, kind), Action::JoinNamespace { kind, path: path.to_owned() });
    }
}

pub(crate) fn stage1(config: &Config, facts: &Facts, steps: &mut Steps) {
    // A joined pid namespace has inhabitants that could look at us; a new one has none yet.
    if joined(config, Pid).is_some() {
        steps.push(path_of(config, Pid), Action::DropDumpable);
    }
    // These two take effect for children only: hence before the clone.
    join(config, Pid, steps);
    join(config, Time, steps);
    if config.makes(Time) {
        steps.push(path_of(config, Time), Action::Unshare { kinds: vec![Time] });
    }
    let kinds = if config.makes(User) { made(config, &[User, Pid]) } else { made(config, &[Pid, Mount, Network, Ipc, Uts]) };
    let into_cgroup = born_in_cgroup(facts);
    steps.push("linux.namespaces", Action::Clone { kinds, into_cgroup, clone3: facts.clone3 });
}

pub(crate) fn init(config: &Config, facts: &Facts, steps: &mut Steps) {
    if config.makes(User) {
        let (uids, gids) = (config.uid_mappings.clone(), config.gid_mappings.clone());
        let mut tasks = vec![HostTask::IdMaps { uids, gids }];
        tasks.extend(config.process.oom_score_adj.map(HostTask::OomScore));
        steps.push("linux.uidMappings", Action::HostTurn(tasks));
        steps.push(path_of(config, User), Action::BecomeRoot);
    }
    // From here on nobody in a namespace that we join may look into us.
    steps.push("process", Action::DropDumpable);
    let others = [Ipc, Uts, Network, Mount];
    let after_user = |kind: &NamespaceKind| facts.owned_by_user.contains(kind);
    for kind in others.iter().filter(|kind| !after_user(kind)) {
        join(config, *kind, steps);
    }
    if joined(config, User).is_some() {
        join(config, User, steps);
        steps.push(path_of(config, User), Action::BecomeRoot);
    }
    for kind in others.iter().filter(|kind| after_user(kind)) {
        join(config, *kind, steps);
    }
    let late = if config.makes(User) { made(config, &AFTER_MAPS) } else { Vec::new() };
    if !late.is_empty() {
        steps.push("linux.namespaces", Action::Unshare { kinds: late });
    }
    // Last, and in the cgroup: its root is where we are when we make it.
    join(config, Cgroup, steps);
    if config.makes(Cgroup) {
        steps.push(path_of(config, Cgroup), Action::Unshare { kinds: vec![Cgroup] });
    }
    if config.makes(Network) {
        steps.push(path_of(config, Network), Action::LoopbackUp);
    }
}
