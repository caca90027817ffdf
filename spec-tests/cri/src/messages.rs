//! The messages of the CRI, `runtime.v1`, as far as the tests need them.
//!
//! Names and numbers are the protocol's. Each can be read from JSON and written as JSON under the protocol's names,
//! enumerations by theirs or by number, as containerd has them in its own JSON.

use std::collections::HashMap;

use prost::Message;
use serde::{Deserialize, Serialize};

/// Words of an enumeration, in the order of their numbers.
macro_rules! words {
    ($name:ident, $words:expr) => {
        mod $name {
            use serde::{Deserialize, Deserializer, Serializer, de::Error};
            use serde_json::Value;

            const WORDS: &[&str] = &$words;

            #[allow(clippy::trivially_copy_pass_by_ref)] // what serde calls
            pub(super) fn serialize<S: Serializer>(number: &i32, to: S) -> Result<S::Ok, S::Error> {
                let word = usize::try_from(*number).ok().and_then(|at| WORDS.get(at));
                to.serialize_str(word.unwrap_or(&"?"))
            }

            pub(super) fn deserialize<'a, D: Deserializer<'a>>(from: D) -> Result<i32, D::Error> {
                let value = Value::deserialize(from)?;
                let at = match value.as_str() {
                    Some(word) => WORDS.iter().position(|known| *known == word),
                    None => value
                        .as_u64()
                        .and_then(|number| usize::try_from(number).ok()),
                };
                let at =
                    at.ok_or_else(|| D::Error::custom(format!("{value} is none of {WORDS:?}")))?;
                i32::try_from(at).map_err(D::Error::custom)
            }
        }
    };
}

words!(mode, ["POD", "CONTAINER", "NODE", "TARGET"]);
words!(profile, ["RuntimeDefault", "Unconfined", "Localhost"]);
words!(
    propagation,
    ["PRIVATE", "HOST_TO_CONTAINER", "BIDIRECTIONAL"]
);
words!(pod_state, ["READY", "NOTREADY"]);
words!(container_state, ["CREATED", "RUNNING", "EXITED", "UNKNOWN"]);

/// One message: its fields as `type name = number`, where an enumeration has its words before it.
macro_rules! message {
    ($(#[$doc:meta])* $name:ident { $($(#[$words:meta])? [$($kind:tt)+] $field:ident: $type:ty = $tag:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Message, Serialize, Deserialize)]
        #[serde(default)]
        pub(crate) struct $name {
            $(
                $(#[$words])?
                #[prost($($kind)+, tag = $tag)]
                pub(crate) $field: $type,
            )*
        }
    };
}

type Words = HashMap<String, String>;

message!(Empty {});
message!(VersionRequest { [string] version: String = "1", });
message!(VersionResponse {
    [string] version: String = "1",
    [string] runtime_name: String = "2",
    [string] runtime_version: String = "3",
    [string] runtime_api_version: String = "4",
});
message!(/// Of the node.
StatusRequest { [bool] verbose: bool = "1", });
message!(StatusResponse {
    [message, optional] status: Option<RuntimeStatus> = "1",
    [map = "string, string"] info: Words = "2",
});
message!(RuntimeStatus { [message, repeated] conditions: Vec<RuntimeCondition> = "1", });
message!(RuntimeCondition {
    [string] r#type: String = "1",
    [bool] status: bool = "2",
    [string] reason: String = "3",
    [string] message: String = "4",
});

message!(NamespaceOption {
    #[serde(with = "mode")]
    [int32] network: i32 = "1",
    #[serde(with = "mode")]
    [int32] pid: i32 = "2",
    #[serde(with = "mode")]
    [int32] ipc: i32 = "3",
    [string] target_id: String = "4",
});
message!(Int64Value { [int64] value: i64 = "1", });
message!(UInt64Value { [uint64] value: u64 = "1", });
message!(SecurityProfile {
    #[serde(with = "profile")]
    [int32] profile_type: i32 = "1",
    [string] localhost_ref: String = "2",
});
message!(LinuxSandboxSecurityContext {
    [message, optional] namespace_options: Option<NamespaceOption> = "1",
    [message, optional] run_as_user: Option<Int64Value> = "3",
    [message, optional] run_as_group: Option<Int64Value> = "8",
    [bool] readonly_rootfs: bool = "4",
    [int64, repeated] supplemental_groups: Vec<i64> = "5",
    [bool] privileged: bool = "6",
    [message, optional] seccomp: Option<SecurityProfile> = "9",
});
message!(LinuxPodSandboxConfig {
    [string] cgroup_parent: String = "1",
    [message, optional] security_context: Option<LinuxSandboxSecurityContext> = "2",
    [map = "string, string"] sysctls: Words = "3",
});
message!(PodSandboxMetadata {
    [string] name: String = "1",
    [string] uid: String = "2",
    [string] namespace: String = "3",
    [uint32] attempt: u32 = "4",
});
message!(DnsConfig {
    [string, repeated] servers: Vec<String> = "1",
    [string, repeated] searches: Vec<String> = "2",
    [string, repeated] options: Vec<String> = "3",
});
message!(PodSandboxConfig {
    [message, optional] metadata: Option<PodSandboxMetadata> = "1",
    [string] hostname: String = "2",
    [string] log_directory: String = "3",
    [message, optional] dns_config: Option<DnsConfig> = "4",
    [map = "string, string"] labels: Words = "6",
    [map = "string, string"] annotations: Words = "7",
    [message, optional] linux: Option<LinuxPodSandboxConfig> = "8",
});
message!(RunPodSandboxRequest {
    [message, optional] config: Option<PodSandboxConfig> = "1",
    [string] runtime_handler: String = "2",
});
message!(/// What stopping, removing and the like of a pod or a container ask for, and what making one answers.
Id { [string] id: String = "1", });
message!(/// What asks for the status of a pod or a container.
StatusOf {
    [string] id: String = "1",
    [bool] verbose: bool = "2",
});
message!(PodSandboxNetworkStatus { [string] ip: String = "1", });
message!(PodSandboxStatus {
    [string] id: String = "1",
    [message, optional] metadata: Option<PodSandboxMetadata> = "2",
    #[serde(with = "pod_state")]
    [int32] state: i32 = "3",
    [int64] created_at: i64 = "4",
    [message, optional] network: Option<PodSandboxNetworkStatus> = "5",
    [map = "string, string"] labels: Words = "7",
    [map = "string, string"] annotations: Words = "8",
    [string] runtime_handler: String = "9",
});
message!(PodSandboxStatusResponse {
    [message, optional] status: Option<PodSandboxStatus> = "1",
    [map = "string, string"] info: Words = "2",
});
message!(PodSandboxFilter {
    [string] id: String = "1",
    [map = "string, string"] label_selector: Words = "3",
});
message!(ListPodSandboxRequest { [message, optional] filter: Option<PodSandboxFilter> = "1", });
message!(PodSandbox {
    [string] id: String = "1",
    [message, optional] metadata: Option<PodSandboxMetadata> = "2",
    #[serde(with = "pod_state")]
    [int32] state: i32 = "3",
});
message!(ListPodSandboxResponse { [message, repeated] items: Vec<PodSandbox> = "1", });

message!(ImageSpec { [string] image: String = "1", });
message!(KeyValue {
    [string] key: String = "1",
    [string] value: String = "2",
});
message!(LinuxContainerResources {
    [int64] cpu_period: i64 = "1",
    [int64] cpu_quota: i64 = "2",
    [int64] cpu_shares: i64 = "3",
    [int64] memory_limit_in_bytes: i64 = "4",
    [int64] oom_score_adj: i64 = "5",
    [string] cpuset_cpus: String = "6",
    [string] cpuset_mems: String = "7",
});
message!(Mount {
    [string] container_path: String = "1",
    [string] host_path: String = "2",
    [bool] readonly: bool = "3",
    #[serde(with = "propagation")]
    [int32] propagation: i32 = "5",
});
message!(Device {
    [string] container_path: String = "1",
    [string] host_path: String = "2",
    [string] permissions: String = "3",
});
message!(Capability {
    [string, repeated] add_capabilities: Vec<String> = "1",
    [string, repeated] drop_capabilities: Vec<String> = "2",
});
message!(LinuxContainerSecurityContext {
    [message, optional] capabilities: Option<Capability> = "1",
    [bool] privileged: bool = "2",
    [message, optional] namespace_options: Option<NamespaceOption> = "3",
    [message, optional] run_as_user: Option<Int64Value> = "5",
    [message, optional] run_as_group: Option<Int64Value> = "12",
    [string] run_as_username: String = "6",
    [bool] readonly_rootfs: bool = "7",
    [int64, repeated] supplemental_groups: Vec<i64> = "8",
    [bool] no_new_privs: bool = "11",
    [string, repeated] masked_paths: Vec<String> = "13",
    [string, repeated] readonly_paths: Vec<String> = "14",
    [message, optional] seccomp: Option<SecurityProfile> = "15",
});
message!(LinuxContainerConfig {
    [message, optional] resources: Option<LinuxContainerResources> = "1",
    [message, optional] security_context: Option<LinuxContainerSecurityContext> = "2",
});
message!(ContainerMetadata {
    [string] name: String = "1",
    [uint32] attempt: u32 = "2",
});
message!(ContainerConfig {
    [message, optional] metadata: Option<ContainerMetadata> = "1",
    [message, optional] image: Option<ImageSpec> = "2",
    [string, repeated] command: Vec<String> = "3",
    [string, repeated] args: Vec<String> = "4",
    [string] working_dir: String = "5",
    [message, repeated] envs: Vec<KeyValue> = "6",
    [message, repeated] mounts: Vec<Mount> = "7",
    [message, repeated] devices: Vec<Device> = "8",
    [map = "string, string"] labels: Words = "9",
    [map = "string, string"] annotations: Words = "10",
    [string] log_path: String = "11",
    [bool] stdin: bool = "12",
    [bool] stdin_once: bool = "13",
    [bool] tty: bool = "14",
    [message, optional] linux: Option<LinuxContainerConfig> = "15",
});
message!(CreateContainerRequest {
    [string] pod_sandbox_id: String = "1",
    [message, optional] config: Option<ContainerConfig> = "2",
    [message, optional] sandbox_config: Option<PodSandboxConfig> = "3",
});
message!(StopContainerRequest {
    [string] container_id: String = "1",
    [int64] timeout: i64 = "2",
});
message!(ContainerFilter {
    [string] id: String = "1",
    [string] pod_sandbox_id: String = "3",
    [map = "string, string"] label_selector: Words = "4",
});
message!(ListContainersRequest { [message, optional] filter: Option<ContainerFilter> = "1", });
message!(Container {
    [string] id: String = "1",
    [string] pod_sandbox_id: String = "2",
    [message, optional] metadata: Option<ContainerMetadata> = "3",
    #[serde(with = "container_state")]
    [int32] state: i32 = "6",
});
message!(ListContainersResponse { [message, repeated] containers: Vec<Container> = "1", });
message!(ContainerStatus {
    [string] id: String = "1",
    [message, optional] metadata: Option<ContainerMetadata> = "2",
    #[serde(with = "container_state")]
    [int32] state: i32 = "3",
    [int64] created_at: i64 = "4",
    [int64] started_at: i64 = "5",
    [int64] finished_at: i64 = "6",
    [int32] exit_code: i32 = "7",
    [string] reason: String = "10",
    [string] message: String = "11",
    [map = "string, string"] labels: Words = "12",
    [map = "string, string"] annotations: Words = "13",
    [message, repeated] mounts: Vec<Mount> = "14",
    [string] log_path: String = "15",
});
message!(ContainerStatusResponse {
    [message, optional] status: Option<ContainerStatus> = "1",
    [map = "string, string"] info: Words = "2",
});
message!(UpdateContainerResourcesRequest {
    [string] container_id: String = "1",
    [message, optional] linux: Option<LinuxContainerResources> = "2",
});
message!(ExecSyncRequest {
    [string] container_id: String = "1",
    [string, repeated] cmd: Vec<String> = "2",
    [int64] timeout: i64 = "3",
});
message!(ExecSyncResponse {
    [bytes = "vec"] stdout: Vec<u8> = "1",
    [bytes = "vec"] stderr: Vec<u8> = "2",
    [int32] exit_code: i32 = "3",
});
message!(ContainerStatsResponse { [message, optional] stats: Option<ContainerStats> = "1", });
message!(ContainerStats {
    [message, optional] cpu: Option<CpuUsage> = "2",
    [message, optional] memory: Option<MemoryUsage> = "3",
    [message, optional] writable_layer: Option<FilesystemUsage> = "4",
});
message!(CpuUsage {
    [int64] timestamp: i64 = "1",
    [message, optional] usage_core_nano_seconds: Option<UInt64Value> = "2",
});
message!(MemoryUsage {
    [int64] timestamp: i64 = "1",
    [message, optional] working_set_bytes: Option<UInt64Value> = "2",
    [message, optional] usage_bytes: Option<UInt64Value> = "4",
});
message!(FilesystemUsage {
    [int64] timestamp: i64 = "1",
    [message, optional] used_bytes: Option<UInt64Value> = "3",
});
