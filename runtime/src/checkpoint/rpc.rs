//! The messages that CRIU's `swrk` mode exchanges: what is used of its `rpc.proto`, whose field numbers are its
//! protocol. Pure. <https://criu.org/RPC>
#![forbid(unsafe_code)]
#![allow(missing_docs)] // the fields are CRIU's, and documented there

use prost::Message;

/// `criu_req_type`.
pub(crate) mod kind {
    pub(crate) const DUMP: i32 = 1;
    pub(crate) const RESTORE: i32 = 2;
    pub(crate) const PRE_DUMP: i32 = 4;
    pub(crate) const NOTIFY: i32 = 6;
    pub(crate) const FEATURE_CHECK: i32 = 9;
    pub(crate) const VERSION: i32 = 10;
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Request {
    #[prost(int32, required, tag = "1")]
    pub(crate) kind: i32,
    #[prost(message, optional, tag = "2")]
    pub(crate) options: Option<Options>,
    #[prost(bool, optional, tag = "3")]
    pub(crate) notify_success: Option<bool>,
    /// One more request will follow.
    #[prost(bool, optional, tag = "4")]
    pub(crate) keep_open: Option<bool>,
    #[prost(message, optional, tag = "5")]
    pub(crate) features: Option<Features>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Response {
    #[prost(int32, required, tag = "1")]
    pub(crate) kind: i32,
    #[prost(bool, required, tag = "2")]
    pub(crate) success: bool,
    #[prost(message, optional, tag = "4")]
    pub(crate) restored: Option<Restored>,
    #[prost(message, optional, tag = "5")]
    pub(crate) notify: Option<Notify>,
    #[prost(int32, optional, tag = "7")]
    pub(crate) errno: Option<i32>,
    #[prost(message, optional, tag = "8")]
    pub(crate) features: Option<Features>,
    #[prost(string, optional, tag = "9")]
    pub(crate) message: Option<String>,
    #[prost(message, optional, tag = "10")]
    pub(crate) version: Option<Version>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Options {
    /// A descriptor of the process that made the socket; `work_dir` too.
    #[prost(int32, required, tag = "1")]
    pub(crate) images_dir: i32,
    #[prost(int32, optional, tag = "2")]
    pub(crate) pid: Option<i32>,
    #[prost(bool, optional, tag = "3")]
    pub(crate) leave_running: Option<bool>,
    #[prost(bool, optional, tag = "4")]
    pub(crate) ext_unix_sk: Option<bool>,
    #[prost(bool, optional, tag = "5")]
    pub(crate) tcp_established: Option<bool>,
    #[prost(bool, optional, tag = "7")]
    pub(crate) shell_job: Option<bool>,
    #[prost(bool, optional, tag = "8")]
    pub(crate) file_locks: Option<bool>,
    #[prost(int32, optional, tag = "9")]
    pub(crate) log_level: Option<i32>,
    #[prost(string, optional, tag = "10")]
    pub(crate) log_file: Option<String>,
    #[prost(message, optional, tag = "11")]
    pub(crate) page_server: Option<PageServer>,
    #[prost(bool, optional, tag = "12")]
    pub(crate) notify_scripts: Option<bool>,
    #[prost(string, optional, tag = "13")]
    pub(crate) root: Option<String>,
    #[prost(string, optional, tag = "14")]
    pub(crate) parent_image: Option<String>,
    #[prost(bool, optional, tag = "15")]
    pub(crate) track_memory: Option<bool>,
    #[prost(bool, optional, tag = "16")]
    pub(crate) auto_dedup: Option<bool>,
    #[prost(int32, optional, tag = "17")]
    pub(crate) work_dir: Option<i32>,
    #[prost(bool, optional, tag = "18")]
    pub(crate) link_remap: Option<bool>,
    #[prost(message, repeated, tag = "23")]
    pub(crate) external_mounts: Vec<ExternalMount>,
    #[prost(bool, optional, tag = "24")]
    pub(crate) manage_cgroups: Option<bool>,
    #[prost(message, repeated, tag = "25")]
    pub(crate) cgroup_roots: Vec<CgroupRoot>,
    /// The restored process is our child, and not CRIU's.
    #[prost(bool, optional, tag = "26")]
    pub(crate) restore_sibling: Option<bool>,
    #[prost(message, repeated, tag = "27")]
    pub(crate) inherited: Vec<Inherited>,
    #[prost(int32, optional, tag = "34")]
    pub(crate) cgroups_mode: Option<i32>,
    #[prost(string, repeated, tag = "37")]
    pub(crate) external: Vec<String>,
    #[prost(uint32, optional, tag = "38")]
    pub(crate) empty_namespaces: Option<u32>,
    #[prost(message, repeated, tag = "39")]
    pub(crate) joined: Vec<JoinedNamespace>,
    #[prost(string, optional, tag = "44")]
    pub(crate) freeze_cgroup: Option<String>,
    #[prost(bool, optional, tag = "46")]
    pub(crate) tcp_skip_in_flight: Option<bool>,
    #[prost(bool, optional, tag = "48")]
    pub(crate) lazy_pages: Option<bool>,
    #[prost(bool, optional, tag = "50")]
    pub(crate) orphan_pts_master: Option<bool>,
    #[prost(string, optional, tag = "51")]
    pub(crate) config_file: Option<String>,
    #[prost(bool, optional, tag = "52")]
    pub(crate) tcp_close: Option<bool>,
    #[prost(string, optional, tag = "53")]
    pub(crate) lsm_profile: Option<String>,
    /// Where cgroups are mounted already.
    #[prost(string, optional, tag = "60")]
    pub(crate) cgroup_yard: Option<String>,
    #[prost(string, optional, tag = "63")]
    pub(crate) lsm_mount_context: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct PageServer {
    #[prost(string, optional, tag = "1")]
    pub(crate) address: Option<String>,
    /// In host byte order.
    #[prost(int32, optional, tag = "2")]
    pub(crate) port: Option<i32>,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct ExternalMount {
    /// The mount point inside of the container.
    #[prost(string, required, tag = "1")]
    pub(crate) key: String,
    /// When dumped: a name. When restored: what to bind there.
    #[prost(string, required, tag = "2")]
    pub(crate) value: String,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct CgroupRoot {
    /// All of them, without.
    #[prost(string, optional, tag = "1")]
    pub(crate) controller: Option<String>,
    #[prost(string, required, tag = "2")]
    pub(crate) path: String,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct Inherited {
    #[prost(string, required, tag = "1")]
    pub(crate) key: String,
    /// A descriptor of CRIU's own.
    #[prost(int32, required, tag = "2")]
    pub(crate) fd: i32,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct JoinedNamespace {
    #[prost(string, required, tag = "1")]
    pub(crate) kind: String,
    #[prost(string, required, tag = "2")]
    pub(crate) file: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(crate) struct Features {
    #[prost(bool, optional, tag = "1")]
    pub(crate) track_memory: Option<bool>,
    #[prost(bool, optional, tag = "2")]
    pub(crate) lazy_pages: Option<bool>,
}

#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(crate) struct Restored {
    #[prost(int32, required, tag = "1")]
    pub(crate) pid: i32,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct Notify {
    #[prost(string, optional, tag = "1")]
    pub(crate) script: Option<String>,
    #[prost(int32, optional, tag = "2")]
    pub(crate) pid: Option<i32>,
}

#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(crate) struct Version {
    #[prost(int32, required, tag = "1")]
    pub(crate) major: i32,
    #[prost(int32, required, tag = "2")]
    pub(crate) minor: i32,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes as protobuf's documentation makes them.
    #[test]
    fn a_request_is_what_criu_reads() {
        let request = Request {
            kind: kind::DUMP,
            options: Some(Options {
                images_dir: 5,
                pid: Some(300),
                external_mounts: vec![ExternalMount {
                    key: "/a".into(),
                    value: "b".into(),
                }],
                lsm_mount_context: Some("x".into()),
                ..Options::default()
            }),
            ..Request::default()
        };
        let expect = [
            &[0x08, 1, 0x12, 19][..],
            &[0x08, 5, 0x10, 0xac, 2],
            &[0xba, 1, 7, 0x0a, 2, b'/', b'a', 0x12, 1, b'b'],
            &[0xfa, 3, 1, b'x'],
        ];
        assert_eq!(request.encode_to_vec(), expect.concat());
    }

    #[test]
    fn an_answer_of_a_later_criu_is_understood() {
        // type 10, success, version {3, 17}, and a field 77 that we don't know.
        let bytes = [8, 10, 16, 1, 0x52, 4, 8, 3, 16, 17, 0xe8, 4, 1];
        let response = Response::decode(&bytes[..]).unwrap();
        assert!(response.success);
        assert_eq!(
            response.version,
            Some(Version {
                major: 3,
                minor: 17
            })
        );
        Response::decode(&[8][..]).unwrap_err();
    }
}
