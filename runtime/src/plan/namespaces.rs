//! Which clone makes or joins which namespace. Pure.

use super::order::Steps;
use super::{Action, Facts, HostTask, MapWriter};
use crate::cgroup;
use crate::config::{Config, NamespaceKind};
use crate::error::Error;

use NamespaceKind::{Cgroup, Ipc, Mount, Network, Pid, Time, User, Uts};

/// Made by init itself, once it has its place: the user namespace must own the others only when
/// mapped, or lo's sysfs stays the host's root's.
const AFTER_MAPS: [NamespaceKind; 4] = [Mount, Network, Ipc, Uts];

fn made(config: &Config, kinds: &[NamespaceKind]) -> Vec<NamespaceKind> {
    kinds
        .iter()
        .copied()
        .filter(|kind| config.makes(*kind))
        .collect()
}

fn joined(config: &Config, kind: NamespaceKind) -> Option<&str> {
    config.namespace(kind)?.path.as_deref()
}

/// Can clone 2 put init straight into its cgroup2 directory? clone3 can, with the host's credentials, from
/// a cgroup namespace where both are seen. systemd makes one only with a process to put into it.
pub(crate) fn born_in_cgroup(config: &Config, facts: &Facts) -> bool {
    facts.clone3
        && facts.unit.is_none()
        && joined(config, User).is_none()
        && !joins_cgroup_first(config, facts)
        && facts
            .cgroup_directories
            .0
            .iter()
            .any(cgroup::Directory::is_v2)
}

/// To join one takes privileges over it, which its user namespace has not where another one made it.
fn joins_cgroup_first(config: &Config, facts: &Facts) -> bool {
    config.namespace(User).is_some()
        && joined(config, Cgroup).is_some()
        && !facts.owned_by_user.contains(&Cgroup)
}

/// Where setgroups(2) is denied, nobody can have other groups than the caller, nor fewer.
pub(crate) fn foreign_groups(
    config: &Config,
    facts: &Facts,
    warnings: &mut Vec<String>,
) -> Result<(), Error> {
    const PATH: &str = "process.user.additionalGids";
    let MapWriter::OwnIds { other_groups } = facts.map_writer else {
        return Ok(());
    };
    if !config.process.additional_gids.is_empty() {
        let message = "a user that maps its own ids alone can't change groups";
        return Err(Error::unsupported(PATH, message));
    }
    if other_groups {
        let warning = "the caller's other groups stay, it maps its own ids alone";
        warnings.push(format!("{PATH}: {warning}"));
    }
    Ok(())
}

fn path_of(config: &Config, kind: NamespaceKind) -> String {
    let index = config
        .namespaces
        .iter()
        .position(|namespace| namespace.kind == kind)
        .unwrap_or(0);
    format!("linux.namespaces[{index}] ({})", kind.name())
}

fn join(config: &Config, kind: NamespaceKind, steps: &mut Steps) {
    if let Some(path) = joined(config, kind) {
        steps.push(
            path_of(config, kind),
            Action::JoinNamespace {
                kind,
                path: path.to_owned(),
            },
        );
    }
}

pub(crate) fn stage1(config: &Config, facts: &Facts, steps: &mut Steps) {
    // A joined namespace has inhabitants that could look at us; a new one has none yet.
    if [Pid, User]
        .into_iter()
        .any(|kind| joined(config, kind).is_some())
    {
        steps.push("process", Action::DropDumpable);
    }
    // Whoever owns a namespace says who may join: the ones of the host first, then the user
    // namespace, then the ones that belong to it, which a new one has none of. Pid and time take
    // effect for children only.
    let inside = |kind: &NamespaceKind| facts.owned_by_user.contains(kind);
    let all = [Pid, Time, Ipc, Uts, Network, Mount];
    let early = if config.namespace(User).is_some() {
        &all[..]
    } else {
        &all[..2]
    };
    early
        .iter()
        .filter(|kind| !inside(kind))
        .for_each(|kind| join(config, *kind, steps));
    if joins_cgroup_first(config, facts) {
        join(config, Cgroup, steps);
    }
    join(config, User, steps);
    early
        .iter()
        .filter(|kind| inside(kind))
        .for_each(|kind| join(config, *kind, steps));
    if config.makes(Time) {
        steps.push(path_of(config, Time), Action::Unshare { kinds: vec![Time] });
    }
    // Before anybody is in it.
    if !config.time_offsets.is_empty() {
        let offsets = config.time_offsets.clone();
        steps.push("linux.timeOffsets", Action::TimeOffsets(offsets));
    }
    let kinds = if config.makes(User) {
        made(config, &[User, Pid])
    } else {
        made(config, &[Pid, Mount, Network, Ipc, Uts])
    };
    let into_cgroup = born_in_cgroup(config, facts);
    if into_cgroup {
        steps.push("process", Action::Receive);
    }
    steps.push(
        "linux.namespaces",
        Action::Clone {
            kinds,
            into_cgroup,
            clone3: facts.clone3,
        },
    );
}

pub(crate) fn init(config: &Config, facts: &Facts, steps: &mut Steps) {
    if config.makes(User) {
        let (uids, gids) = (config.uid_mappings.clone(), config.gid_mappings.clone());
        let writer = facts.map_writer.clone();
        let mut tasks = vec![HostTask::IdMaps { uids, gids, writer }];
        tasks.extend(config.process.oom_score_adj.map(HostTask::OomScore));
        steps.push("linux.uidMappings", Action::HostTurn(tasks));
    }
    if config.namespace(User).is_some() {
        steps.push(path_of(config, User), Action::BecomeRoot);
    }
    // From here on nobody in a namespace that we join may look into us.
    steps.push("process", Action::DropDumpable);
    if config.namespace(User).is_none() {
        [Ipc, Uts, Network, Mount]
            .into_iter()
            .for_each(|kind| join(config, kind, steps));
    }
    let late = if config.makes(User) {
        made(config, &AFTER_MAPS)
    } else {
        Vec::new()
    };
    if !late.is_empty() {
        steps.push("linux.namespaces", Action::Unshare { kinds: late });
    }
    // Last, and in the cgroup: its root is where we are when we make it.
    if !joins_cgroup_first(config, facts) {
        join(config, Cgroup, steps);
    }
    if config.makes(Cgroup) {
        steps.push(
            path_of(config, Cgroup),
            Action::Unshare {
                kinds: vec![Cgroup],
            },
        );
    }
    if config.makes(Network) {
        steps.push(path_of(config, Network), Action::LoopbackUp);
    }
}
