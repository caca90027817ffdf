//! The commands.

use std::collections::HashMap;
use std::io::Write;
use std::time::Duration;

use serde::de::DeserializeOwned;

use crate::fields::{show, with};
use crate::messages::{
    ContainerConfig, ContainerFilter, ContainerMetadata, ContainerStatsResponse,
    ContainerStatusResponse, CreateContainerRequest, Empty, ExecSyncRequest, ExecSyncResponse, Id,
    ImageSpec, LinuxContainerConfig, LinuxContainerResources, LinuxContainerSecurityContext,
    LinuxPodSandboxConfig, LinuxSandboxSecurityContext, ListContainersRequest,
    ListContainersResponse, ListPodSandboxRequest, ListPodSandboxResponse, NamespaceOption,
    PodSandboxConfig, PodSandboxFilter, PodSandboxMetadata, PodSandboxStatusResponse,
    RunPodSandboxRequest, StatusOf, StatusRequest, StatusResponse, StopContainerRequest,
    UpdateContainerResourcesRequest, VersionRequest, VersionResponse,
};
use crate::{Done, Server, USAGE, probe};

/// How long `wait` waits.
const LIMIT: Duration = Duration::from_secs(60);

/// Runs a command line.
pub(crate) async fn run(args: &[String]) -> Done {
    let (word, rest) = args.split_first().ok_or(USAGE)?;
    let server = Server::connect().await?;
    match word.as_str() {
        "version" => print(
            &server
                .call::<_, VersionResponse>("Version", VersionRequest::default())
                .await?,
            rest,
        ),
        "info" => print(
            &server
                .call::<_, StatusResponse>("Status", StatusRequest { verbose: true })
                .await?,
            rest,
        ),
        "run-pod" => run_pod(&server, rest).await,
        "pod-status" => print(&pod_status(&server, first(rest)?).await?, &rest[1..]),
        "stop-pod" => each(&server, &["StopPodSandbox"], rest).await,
        "rm-pod" => each(&server, &["StopPodSandbox", "RemovePodSandbox"], rest).await,
        "pods" => pods(&server, rest).await,
        "create" => say(&create(&server, rest).await?),
        "run" => {
            let id = create(&server, rest).await?;
            each(&server, &["StartContainer"], std::slice::from_ref(&id)).await?;
            say(&id)
        }
        "start" => each(&server, &["StartContainer"], rest).await,
        "rm" => each(&server, &["RemoveContainer"], rest).await,
        "stop" => stop(&server, rest).await,
        "wait" => wait(&server, rest).await,
        "exec" => exec(&server, rest).await,
        "status" => print(&status(&server, first(rest)?).await?, &rest[1..]),
        "stats" => {
            let id = Id {
                id: first(rest)?.to_owned(),
            };
            print(
                &server
                    .call::<_, ContainerStatsResponse>("ContainerStats", id)
                    .await?,
                &rest[1..],
            )
        }
        "update" => update(&server, rest).await,
        "reopen-log" => each(&server, &["ReopenContainerLog"], rest).await,
        "ps" => containers(&server, rest).await,
        "probe" => probe::run(&server, rest).await,
        _ => Err(USAGE.to_owned()),
    }
}

fn first(rest: &[String]) -> Result<&str, String> {
    rest.first()
        .map(String::as_str)
        .ok_or_else(|| USAGE.to_owned())
}

fn say(line: &str) -> Done {
    println!("{line}");
    Ok(0)
}

fn print<M: serde::Serialize>(message: &M, paths: &[String]) -> Done {
    say(&show(message, paths)?)
}

/// Calls of pods or containers that ask for nothing but whom.
async fn each(server: &Server, methods: &[&str], ids: &[String]) -> Done {
    for id in ids {
        for method in methods {
            let _: Empty = server.call(method, Id { id: id.clone() }).await?;
        }
    }
    Ok(0)
}

/// A pod as the kubelet asks for one: a process namespace for each container. `CRI_CGROUP` is the parent of its cgroup.
async fn run_pod(server: &Server, rest: &[String]) -> Done {
    let (handler, rest) = option("--runtime", rest)?;
    let (name, fields) = rest.split_first().ok_or(USAGE)?;
    let namespaces = NamespaceOption {
        pid: 1,
        ..NamespaceOption::default()
    };
    let config = PodSandboxConfig {
        metadata: Some(PodSandboxMetadata {
            name: name.clone(),
            uid: name.clone(),
            namespace: "default".to_owned(),
            attempt: 0,
        }),
        hostname: name.clone(),
        linux: Some(LinuxPodSandboxConfig {
            cgroup_parent: std::env::var("CRI_CGROUP").unwrap_or_default(),
            security_context: Some(LinuxSandboxSecurityContext {
                namespace_options: Some(namespaces),
                ..LinuxSandboxSecurityContext::default()
            }),
            ..LinuxPodSandboxConfig::default()
        }),
        ..PodSandboxConfig::default()
    };
    let request = RunPodSandboxRequest {
        config: Some(with(&config, fields)?),
        runtime_handler: handler.unwrap_or_default(),
    };
    let made: Id = server.call("RunPodSandbox", request).await?;
    say(&made.id)
}

/// A container of the busybox image with the namespaces of its pod, whose config the server has kept.
async fn create(server: &Server, rest: &[String]) -> Result<String, String> {
    let (rest, args) = match rest.iter().position(|word| word == "--") {
        Some(at) => (&rest[..at], &rest[at + 1..]),
        None => (rest, &[][..]),
    };
    let [pod, name, fields @ ..] = rest else {
        return Err(USAGE.to_owned());
    };
    let known = pod_status(server, pod).await?;
    let info = known
        .info
        .get("info")
        .ok_or("the server does not tell the config of the pod")?;
    let info: serde_json::Value = serde_json::from_str(info).map_err(|error| error.to_string())?;
    let sandbox: PodSandboxConfig = parse(info["config"].clone())?;
    let security = sandbox
        .linux
        .as_ref()
        .and_then(|linux| linux.security_context.as_ref());
    let config = ContainerConfig {
        metadata: Some(ContainerMetadata {
            name: name.clone(),
            attempt: 0,
        }),
        image: Some(ImageSpec {
            image: "busybox".to_owned(),
        }),
        command: args.to_vec(),
        log_path: format!("{name}.log"),
        linux: Some(LinuxContainerConfig {
            resources: Some(LinuxContainerResources::default()),
            security_context: Some(LinuxContainerSecurityContext {
                namespace_options: security.and_then(|security| security.namespace_options.clone()),
                ..LinuxContainerSecurityContext::default()
            }),
        }),
        ..ContainerConfig::default()
    };
    let request = CreateContainerRequest {
        pod_sandbox_id: pod.clone(),
        config: Some(with(&config, fields)?),
        sandbox_config: Some(sandbox),
    };
    let made: Id = server.call("CreateContainer", request).await?;
    Ok(made.id)
}

fn parse<M: DeserializeOwned>(value: serde_json::Value) -> Result<M, String> {
    serde_json::from_value(value).map_err(|error| error.to_string())
}

async fn pod_status(server: &Server, id: &str) -> Result<PodSandboxStatusResponse, String> {
    server
        .call(
            "PodSandboxStatus",
            StatusOf {
                id: id.to_owned(),
                verbose: true,
            },
        )
        .await
}

async fn status(server: &Server, id: &str) -> Result<ContainerStatusResponse, String> {
    server
        .call(
            "ContainerStatus",
            StatusOf {
                id: id.to_owned(),
                verbose: true,
            },
        )
        .await
}

async fn stop(server: &Server, rest: &[String]) -> Done {
    let seconds = rest.get(1).map_or("0", String::as_str);
    let timeout = seconds.parse().map_err(|_| USAGE)?;
    let request = StopContainerRequest {
        container_id: first(rest)?.to_owned(),
        timeout,
    };
    let _: Empty = server.call("StopContainer", request).await?;
    Ok(0)
}

async fn wait(server: &Server, rest: &[String]) -> Done {
    let [id, state] = rest else {
        return Err(USAGE.to_owned());
    };
    let paths = ["status.state".to_owned()];
    let reached = async {
        while show(&status(server, id).await?, &paths)? != *state {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(0)
    };
    let late = |_| Err(format!("{id} is not {state} within {LIMIT:?}"));
    tokio::time::timeout(LIMIT, reached)
        .await
        .unwrap_or_else(late)
}

async fn exec(server: &Server, rest: &[String]) -> Done {
    let (timeout, rest) = option("--timeout", rest)?;
    let timeout = timeout
        .as_deref()
        .unwrap_or("0")
        .parse()
        .map_err(|_| USAGE)?;
    let [id, cmd @ ..] = rest else {
        return Err(USAGE.to_owned());
    };
    let request = ExecSyncRequest {
        container_id: id.clone(),
        cmd: cmd.to_vec(),
        timeout,
    };
    let ran: ExecSyncResponse = server.call("ExecSync", request).await?;
    let failed = |error: std::io::Error| error.to_string();
    std::io::stdout().write_all(&ran.stdout).map_err(failed)?;
    std::io::stderr().write_all(&ran.stderr).map_err(failed)?;
    u8::try_from(ran.exit_code).map_err(|_| format!("exit code {}", ran.exit_code))
}

async fn update(server: &Server, rest: &[String]) -> Done {
    let linux = with(
        &LinuxContainerResources::default(),
        rest.get(1..).unwrap_or_default(),
    )?;
    let request = UpdateContainerResourcesRequest {
        container_id: first(rest)?.to_owned(),
        linux: Some(linux),
    };
    let _: Empty = server.call("UpdateContainerResources", request).await?;
    Ok(0)
}

async fn containers(server: &Server, labels: &[String]) -> Done {
    let filter = ContainerFilter {
        label_selector: selector(labels)?,
        ..ContainerFilter::default()
    };
    let request = ListContainersRequest {
        filter: Some(filter),
    };
    let listed: ListContainersResponse = server.call("ListContainers", request).await?;
    let paths = ["id", "metadata.name", "state"].map(str::to_owned);
    for container in &listed.containers {
        print(container, &paths)?;
    }
    Ok(0)
}

async fn pods(server: &Server, labels: &[String]) -> Done {
    let filter = PodSandboxFilter {
        label_selector: selector(labels)?,
        ..PodSandboxFilter::default()
    };
    let request = ListPodSandboxRequest {
        filter: Some(filter),
    };
    let listed: ListPodSandboxResponse = server.call("ListPodSandbox", request).await?;
    let paths = ["id", "metadata.name", "state"].map(str::to_owned);
    for pod in &listed.items {
        print(pod, &paths)?;
    }
    Ok(0)
}

fn selector(labels: &[String]) -> Result<HashMap<String, String>, String> {
    let pair = |label: &String| {
        let (name, value) = label.split_once('=').ok_or(USAGE)?;
        Ok((name.to_owned(), value.to_owned()))
    };
    labels.iter().map(pair).collect()
}

/// The value of an option, if it comes first, and what follows.
fn option<'a>(name: &str, rest: &'a [String]) -> Result<(Option<String>, &'a [String]), String> {
    match rest {
        [word, value, rest @ ..] if word == name => Ok((Some(value.clone()), rest)),
        [word, ..] if word.starts_with('-') => Err(USAGE.to_owned()),
        _ => Ok((None, rest)),
    }
}
