//! From "created" to execve. Pure. Each wrong order of the last steps was tried and fails on the kernel.

use super::order::Steps;
use super::{Action, Facts, HostTask, Identity, Listen, NOTIFY_DIRECTORY, NOTIFY_NAME, Request};
use crate::config::{Capabilities, Config, NamespaceKind};
use std::collections::BTreeSet;

/// Where execvp(3) looks when the environment has no PATH.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The last things before "created": the program must be there, and the umask is the container's.
pub(crate) fn prepare(config: &Config, request: &Request, steps: &mut Steps) {
    if !config.process.given {
        return;
    }
    if home(&environment(config, request)).is_none() {
        let uid = config.process.uid;
        steps.push("process.env", Action::Home { uid });
    }
    for (entries, own_pid) in added(request) {
        steps.push("process.env", Action::Environment { entries, own_pid });
    }
    if !request.program_fd {
        let (name, search, cwd) = (program(config), search(config), config.process.cwd.clone());
        steps.push("process.args", Action::FindProgram { name, search, cwd });
    }
    steps.push("process.user.umask", Action::Umask(config.process.umask));
    // Raising a limit needs rights in the first user namespace: the host's turn.
    if config.namespace(NamespaceKind::User).is_some() && !config.process.rlimits.is_empty() {
        let limits = HostTask::Limits(config.process.rlimits.clone());
        steps.push("process.rlimits", Action::HostTurn(vec![limits]));
    }
}

fn program(config: &Config) -> String {
    config.process.args.first().cloned().unwrap_or_default()
}

/// What the caller tells the program beside its configuration: entries, and a name for the program's own pid.
fn added(request: &Request) -> Vec<(Vec<String>, Option<&'static str>)> {
    let mut added = Vec::new();
    if let Some(Listen { count, names }) = &request.listen {
        let mut entries = vec![format!("LISTEN_FDS={count}")];
        entries.extend(
            names
                .as_ref()
                .map(|names| format!("LISTEN_FDNAMES={names}")),
        );
        added.push((entries, Some("LISTEN_PID")));
    }
    if request.notify.is_some() {
        let entry = format!("NOTIFY_SOCKET={NOTIFY_DIRECTORY}/{NOTIFY_NAME}");
        added.push((vec![entry], None));
    }
    added
}

/// Of an entry given twice the last one counts, and an empty HOME is none: what engines expect.
/// What is added takes the place of the configuration's; other names for sockets than the caller's would mislead.
fn environment(config: &Config, request: &Request) -> Vec<String> {
    let given = &config.process.env;
    let name = |entry: &str| entry.split('=').next().unwrap_or_default().to_owned();
    let mut names = BTreeSet::new();
    for (entries, own_pid) in added(request) {
        names.extend(entries.iter().map(|entry| name(entry)));
        names.extend(own_pid.map(str::to_owned));
    }
    if request.listen.is_some() {
        names.insert("LISTEN_FDNAMES".to_owned());
    }
    let last = given.iter().rev().filter(|entry| names.insert(name(entry)));
    let mut environment: Vec<_> = last.filter(|entry| *entry != "HOME=").cloned().collect();
    environment.reverse();
    environment
}

fn home(environment: &[String]) -> Option<&String> {
    environment.iter().find(|entry| entry.starts_with("HOME="))
}

fn search(config: &Config) -> String {
    let path = config
        .process
        .env
        .iter()
        .rev()
        .find_map(|entry| entry.strip_prefix("PATH="));
    path.unwrap_or(DEFAULT_PATH).to_owned()
}

pub(crate) fn last_steps(
    config: &Config,
    request: &Request,
    facts: &Facts,
    steps: &mut Steps,
    warnings: &mut Vec<String>,
) {
    let process = &config.process;
    let caps = grantable(process.capabilities, facts.bounding, warnings);
    let identity = identity(config, facts);
    if !request.exec {
        start(config, caps, &identity, steps);
    }
    // `start` refuses such a container: there is nothing to go on to.
    if !config.process.given {
        return;
    }
    // In a user namespace the host has set them.
    if !process.rlimits.is_empty() && config.namespace(NamespaceKind::User).is_none() {
        steps.push("process.rlimits", Action::Limits(process.rlimits.clone()));
    }
    attributes(config, steps);
    // Needs CAP_SETPCAP in the effective set: before the ids.
    steps.push(
        "process.capabilities.bounding",
        Action::DropBounding {
            keep: caps.bounding,
        },
    );
    let cwd = |last| Action::WorkingDirectory {
        path: process.cwd.clone(),
        last,
    };
    steps.push("process.cwd", cwd(false));
    steps.push("process.user", Action::Identity(identity));
    steps.push("process.cwd", cwd(true));
    // The change of uid emptied the effective set, and ambient needs inheritable.
    steps.push(
        "process.capabilities.inheritable",
        Action::InheritableCapabilities(caps.inheritable),
    );
    steps.push(
        "process.capabilities.ambient",
        Action::AmbientCapabilities(caps.ambient),
    );
    steps.push(
        "process",
        Action::CloseOnExec {
            extra: request.extra_fds,
        },
    );
    give_up(config, caps, steps);
    let (name, search) = (program(config), search(config));
    let (args, environment) = (process.args.clone(), environment(config, request));
    steps.push(
        "process.args",
        Action::Execute {
            name,
            search,
            args,
            environment,
            descriptor: request.program_fd,
        },
    );
}

/// While init may still raise them.
fn attributes(config: &Config, steps: &mut Steps) {
    let process = &config.process;
    let all = [
        (
            "process.scheduler",
            process.scheduler.clone().map(Action::Scheduler),
        ),
        (
            "process.ioPriority",
            process.io_priority.clone().map(Action::IoPriority),
        ),
        (
            "linux.memoryPolicy",
            config.memory_policy.clone().map(Action::MemoryPolicy),
        ),
        (
            "linux.personality",
            config.personality.map(Action::Personality),
        ),
    ];
    for (path, action) in all {
        if let Some(action) = action {
            steps.push(path, action);
        }
    }
}

/// The word of `start`, and what it runs first.
fn start(config: &Config, caps: Capabilities, identity: &Identity, steps: &mut Steps) {
    steps.push("process", Action::WaitStart);
    for (index, hook) in config.hooks.start_container.iter().enumerate() {
        let (bounding, inheritable) = (caps.bounding, caps.inheritable);
        let hook = Action::StartHook {
            hook: hook.clone(),
            identity: identity.clone(),
            bounding,
            inheritable,
        };
        steps.push(format!("hooks.startContainer[{index}]"), hook);
    }
}

/// The last capabilities, no_new_privs and the filter.
fn give_up(config: &Config, caps: Capabilities, steps: &mut Steps) {
    let final_caps = Action::Capabilities {
        effective: caps.effective,
        permitted: caps.permitted,
        inheritable: caps.inheritable,
    };
    let filter = config.seccomp.as_ref().map(|seccomp| Action::Filter {
        rules: seccomp.syscalls.iter().map(|rule| rule.names.len()).sum(),
        architectures: seccomp.architectures.len().max(1),
        default_action: seccomp.default_action.clone(),
        agent: config
            .seccomp_agent
            .as_ref()
            .map(|agent| agent.path.clone()),
    });
    if config.process.no_new_privileges {
        steps.push("process.capabilities", final_caps);
        steps.push("process.noNewPrivileges", Action::NoNewPrivileges);
        if let Some(filter) = filter {
            steps.push("linux.seccomp", filter);
        }
    } else {
        // Without no_new_privs, installing a filter needs CAP_SYS_ADMIN, so it must precede the capability drop.
        if let Some(filter) = filter {
            steps.push("linux.seccomp", filter);
        }
        steps.push("process.capabilities", final_caps);
    }
}

/// config.md#linux-process: what can't be granted warns and is left out.
fn grantable(asked: Capabilities, bounding: u64, warnings: &mut Vec<String>) -> Capabilities {
    let wanted = asked.all();
    let missing = wanted & !bounding;
    if missing != 0 {
        warnings.push(format!(
            "process.capabilities: {} can't be granted here and was left out",
            super::show::capabilities(missing)
        ));
    }
    let held = asked.permitted & bounding;
    Capabilities {
        bounding: asked.bounding & bounding,
        effective: asked.effective & held,
        inheritable: asked.inheritable & bounding,
        permitted: held,
        // The kernel refuses an ambient capability that isn't both permitted and inheritable.
        ambient: asked.ambient & held & asked.inheritable,
    }
}

/// An unprivileged creator's namespace denies setgroups(2): to leave them alone is not to ask.
fn identity(config: &Config, facts: &Facts) -> Identity {
    let process = &config.process;
    let unprivileged = !facts.privileged && config.namespace(NamespaceKind::User).is_some();
    let denied = unprivileged && process.additional_gids.is_empty();
    let groups = (!denied).then(|| process.additional_gids.clone());
    Identity {
        uid: process.uid,
        gid: process.gid,
        groups,
    }
}
