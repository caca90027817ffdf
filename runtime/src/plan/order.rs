//! The order of steps, once, with the reason for each place. Pure.
//!
//! docs/decisions/0003-order-of-steps.md has the long form.

use super::{
    Action, Facts, HostTask, Plan, Request, Side, Step, labels, namespaces, process, rootfs,
};
use crate::cgroup;
use crate::config::mount_options::attr;
use crate::config::{Config, Mount, MountKind, NamespaceKind};
use crate::error::Error;
use crate::systemd;

/// Collects steps for one side after the other.
pub(crate) struct Steps {
    side: Side,
    steps: Vec<Step>,
}

impl Steps {
    pub(crate) fn push(&mut self, path: impl Into<String>, action: Action) {
        self.steps.push(Step {
            side: self.side,
            path: path.into(),
            action,
        });
    }
}

/// Compiles a configuration into the plan of `create` and `start`.
pub(crate) fn compile(
    config: &Config,
    request: &Request,
    facts: &Facts,
) -> Result<Plan, Vec<Error>> {
    let mut problems = labels::refused(config, facts);
    let mut warnings = config.warnings.clone();
    let mut steps = Steps {
        side: Side::Stage1,
        steps: Vec::new(),
    };
    steps.push("process", Action::Descriptors);
    steps.side = Side::Host;
    // While stage 1 is executed and, but for cgroup2, clones init: each takes as long as the other.
    let by_systemd = facts.unit.is_some();
    let limits = |steps: &mut Steps| cgroup_steps(config, facts, steps).err().unwrap_or_default();
    if !by_systemd {
        problems.extend(limits(&mut steps));
    }
    if let Some(rdt) = &config.rdt {
        if facts.resctrl.is_none() {
            let message = "resctrl is not mounted on this host";
            problems.push(Error::unsupported("linux.intelRdt", message));
        }
        steps.push("linux.intelRdt", Action::Resctrl(rdt.clone()));
    }
    problems.extend(namespaces::foreign_groups(config, facts, &mut warnings).err());
    steps.side = Side::Stage1;
    namespaces::stage1(config, facts, &mut steps);

    steps.side = Side::Host;
    // It takes a process to put into it, and init waits for that.
    if by_systemd {
        problems.extend(limits(&mut steps));
    }
    // cgroup v2, while init mounts: loading a filter takes as long as several mounts, and it comes into force at
    // once. Before READY, and before any program of the container's or its hooks'.
    if facts.cgroup.version == cgroup::Version::V2 {
        device_rules(config, facts, &mut steps);
    }
    enter(config, facts, Some(Action::Affinity(None)), &mut steps);
    problems.extend(net_devices(config, facts, &mut steps).err());
    if config.makes(NamespaceKind::Mount) {
        problems.extend(rootfs::build(config, request, facts, &mut steps).err());
    }
    hooks(config, facts, &mut steps);
    problems.extend(sysctls(config, facts, &mut steps).err());
    labels::process(config, &mut steps);
    rootfs::switch(config, request, facts, &mut steps);
    rootfs::finish(config, request, facts, &mut steps);
    process::prepare(config, request, &mut steps);
    steps.push("process", Action::Ready);

    steps.side = Side::Exec;
    process::last_steps(config, request, facts, &mut steps, &mut warnings);
    steps.side = Side::After;
    late_hooks(config, &mut steps);
    if !problems.is_empty() {
        return Err(problems);
    }
    Ok(Plan {
        steps: steps.steps,
        warnings,
    })
}

/// The plan of `exec`: of a configuration whose namespaces are all the container's own, by path.
pub(crate) fn compile_exec(
    config: &Config,
    request: &Request,
    facts: &Facts,
) -> Result<Plan, Vec<Error>> {
    let problems = labels::refused(config, facts);
    if !problems.is_empty() {
        return Err(problems);
    }
    let mut warnings = config.warnings.clone();
    let mut steps = Steps {
        side: Side::Stage1,
        steps: Vec::new(),
    };
    steps.push("process", Action::Descriptors);
    let affinity = &config.process.affinity;
    if let Some(cpus) = &affinity.initial {
        let cpus = Action::Affinity(Some(cpus.clone()));
        steps.push("process.execCPUAffinity.initial", cpus);
    }
    labels::hold_procfs(config, &mut steps);
    namespaces::stage1(config, facts, &mut steps);
    steps.side = Side::Host;
    // Only who asks for neither is given what the cgroup has.
    let last = match (&affinity.initial, &affinity.last) {
        (Some(_), None) => None,
        (_, last) => Some(Action::Affinity(last.clone())),
    };
    enter(config, facts, last, &mut steps);
    let root = match config.namespace(NamespaceKind::Mount) {
        Some(_) => super::Switch::Joined,
        None => super::Switch::Chroot,
    };
    steps.push("process", Action::SwitchRoot(root));
    rootfs::terminal(config, request, &mut steps);
    labels::process(config, &mut steps);
    rootfs::keyring(request, &mut steps);
    process::prepare(config, request, &mut steps);
    steps.push("process", Action::ReadyToExecute);
    steps.side = Side::Exec;
    process::last_steps(config, request, facts, &mut steps, &mut warnings);
    Ok(Plan {
        steps: steps.steps,
        warnings,
    })
}

/// From the clone to a process that is in its cgroup and in all its namespaces.
fn enter(config: &Config, facts: &Facts, affinity: Option<Action>, steps: &mut Steps) {
    // As soon as init lives: nobody but the host may lower it, and a full machine should hit the right one.
    // In a new user namespace it waits for the turn that writes the maps.
    let score = config
        .process
        .oom_score_adj
        .filter(|_| !config.makes(NamespaceKind::User));
    if let Some(score) = score {
        steps.push("process.oomScoreAdj", Action::OomScore(score));
    }

    steps.side = Side::Init;
    let born_in_v2 = namespaces::born_in_cgroup(config, facts);
    if !born_in_v2 {
        steps.push("process", Action::Receive);
    }
    steps.push("process", Action::Baseline);
    steps.push("process", Action::NewSession);
    // Before anything that a limit should count, and before the cgroup namespace is made. In a scope init is already.
    let in_scope = facts.unit.as_ref().is_some_and(|unit| !unit.is_slice());
    if !in_scope
        && facts
            .cgroup_directories
            .0
            .iter()
            .any(|directory| !(born_in_v2 && directory.is_v2()))
    {
        steps.push("linux.cgroupsPath", Action::JoinCgroup { born_in_v2 });
    }
    // Not before: a cpuset's CPUs are counted from those that a process may have.
    if let Some(affinity) = affinity {
        let path = match affinity {
            Action::Affinity(Some(_)) => "process.execCPUAffinity.final",
            _ => "process",
        };
        steps.push(path, affinity);
    }
    namespaces::init(config, facts, steps);
}

/// As soon as the network namespace is there: hooks, sysctls and the program find the devices in it. Before
/// the mounts, so that a device that can't be moved has cost nothing yet.
fn net_devices(config: &Config, facts: &Facts, steps: &mut Steps) -> Result<(), Error> {
    if config.net_devices.is_empty() {
        return Ok(());
    }
    let at = "linux.netDevices";
    if facts.callers_own.contains(&NamespaceKind::Network) {
        let message = "needs a network namespace other than the runtime's";
        return Err(Error::config(at, message));
    }
    steps.push(at, Action::NetlinkSocket);
    steps.side = Side::Host;
    for device in &config.net_devices {
        steps.push(device.place(), Action::MoveDevice(device.clone()));
    }
    steps.side = Side::Init;
    Ok(())
}

/// After the hooks, which may have brought in a network device with parameters of its own; before the
/// switch, since init may need the caller's procfs for it.
fn sysctls(config: &Config, facts: &Facts, steps: &mut Steps) -> Result<(), Error> {
    for parameter in &config.sysctls {
        if facts.callers_own.contains(&parameter.kind) {
            return Err(parameter.needs_namespace());
        }
        let (parameter, new_api) = (parameter.clone(), facts.new_api());
        steps.push(parameter.place(), Action::Sysctl { parameter, new_api });
    }
    Ok(())
}

/// They see the finished mounts and may add to them; after this the old root is gone.
fn hooks(config: &Config, facts: &Facts, steps: &mut Steps) {
    let given = &config.hooks;
    // Deprecated, and said to be called before createRuntime hooks.
    let runtimes = [
        ("prestart", &given.prestart),
        ("createRuntime", &given.create_runtime),
    ];
    for (kind, hooks) in runtimes.into_iter().filter(|(_, hooks)| !hooks.is_empty()) {
        let hooks = hooks.clone();
        let turn = Action::HostTurn(vec![HostTask::Hooks { kind, hooks }]);
        steps.push(format!("hooks.{kind}"), turn);
    }
    // A turn of the host's is taken when its steps beside init are done: the device filter is in force.
    let turn = !given.prestart.is_empty() || !given.create_runtime.is_empty();
    let rules = !config.resources.devices.is_empty() && facts.cgroup.version == cgroup::Version::V2;
    if !given.create_container.is_empty() && !turn && rules {
        let turn = Action::HostTurn(vec![HostTask::CatchUp]);
        steps.push("linux.resources.devices", turn);
    }
    for (index, hook) in given.create_container.iter().enumerate() {
        let path = format!("hooks.createContainer[{index}]");
        steps.push(path, Action::CreateHook(hook.clone()));
    }
}

/// `start` and `delete` read them in the state record; here they are for who reads a plan.
fn late_hooks(config: &Config, steps: &mut Steps) {
    let given = [
        ("poststart", &config.hooks.poststart),
        ("poststop", &config.hooks.poststop),
    ];
    for (kind, hooks) in given {
        for (index, hook) in hooks.iter().enumerate() {
            let path = format!("hooks.{kind}[{index}]");
            steps.push(path, Action::LateHook(hook.clone()));
        }
    }
}

/// The cgroup with all its limits is there before init does anything.
fn cgroup_steps(config: &Config, facts: &Facts, steps: &mut Steps) -> Result<(), Vec<Error>> {
    let mut writes = cgroup::compile(&config.resources, &facts.cgroup)?;
    let directories = facts.cgroup_directories.clone();
    if directories.0.is_empty() {
        // Where nobody can make a device node, denying everything asks for what holds: docs/decisions/0007-limits.md.
        let mut rules = config.resources.devices.iter();
        if rules.any(|rule| facts.device_nodes || !rule.denies_everything()) {
            let path = "linux.resources.devices";
            return Err(vec![Error::unsupported(
                path,
                "the container has no cgroup on this host",
            )]);
        }
        if let Some(write) = writes.first() {
            return Err(vec![Error::unsupported(
                &write.config_path,
                "the container has no cgroup on this host",
            )]);
        }
        return Ok(());
    }
    let create = match &facts.unit {
        None => Action::CreateCgroup { directories },
        Some(unit) => {
            systemd::agree(&mut writes);
            let properties = systemd::properties(unit, &config.annotations, &writes)?;
            let unit = unit.clone();
            Action::StartUnit { unit, properties }
        }
    };
    steps.push("linux.cgroupsPath", create);
    for write in writes {
        steps.push(write.config_path.clone(), Action::CgroupWrite(write));
    }
    if let Some(uid) = cgroup_owner(config, facts) {
        steps.push("linux.cgroupsPath", Action::CgroupOwner(uid));
    }
    // A v1 list is written line by line, from "deny all" on: init must not meet it half written.
    if facts.cgroup.version != cgroup::Version::V2 {
        device_rules(config, facts, steps);
    }
    Ok(())
}

/// config-linux.md#cgroup-ownership: who runs the program, where the container has a cgroup2 of its own to write to.
fn cgroup_owner(config: &Config, facts: &Facts) -> Option<u32> {
    let writable = |mount: &Mount| {
        let readonly = mount.options.set | mount.options.recursive_set;
        mount.kind == MountKind::Cgroup && readonly & attr::RDONLY == 0
    };
    let own = facts.cgroup.version == cgroup::Version::V2 && config.makes(NamespaceKind::Cgroup);
    if !own || !config.mounts.iter().any(writable) {
        return None;
    }
    let uid = config.process.uid;
    let host = match config.namespace(NamespaceKind::User) {
        None => Some(uid),
        // Of one that is joined we don't know the maps.
        Some(_) => config.uid_mappings.iter().find_map(|map| map.to_host(uid)),
    };
    host.filter(|uid| *uid != 0)
}

fn device_rules(config: &Config, facts: &Facts, steps: &mut Steps) {
    if !config.resources.devices.is_empty() && !facts.cgroup_directories.0.is_empty() {
        let rules = config.resources.devices.clone();
        steps.push("linux.resources.devices", Action::CgroupDevices(rules));
    }
}

/// The root filesystem's place on the host.
pub(crate) fn default_rootfs(config: &Config, bundle: &str) -> String {
    if config.root.path.starts_with('/') {
        return config.root.path.clone();
    }
    format!("{}/{}", bundle.trim_end_matches('/'), config.root.path)
}
