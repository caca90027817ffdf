//! `cri`: a client of the container runtime interface of Kubernetes, as small as the engine tests allow.
//!
//! Fields have the names of `runtime.v1`: `cri run-pod web linux.security_context.namespace_options.network=NODE`.
//! What is left out is streaming (exec, attach and port-forward of kubectl), and images.
#![forbid(unsafe_code)]

mod fields;
mod messages;
mod probe;
mod words;

use std::process::ExitCode;

use http::uri::PathAndQuery;
use prost::Message;
use tonic::Status;
use tonic::client::Grpc;
use tonic::transport::{Channel, Endpoint};

const USAGE: &str = "usage: CRI_SOCKET=/path cri COMMAND

  version | info [PATH...]
  run-pod [--runtime HANDLER] NAME [FIELD=VALUE...]
  pod-status POD [PATH...]
  stop-pod | rm-pod POD...
  pods [LABEL=VALUE...]
  create POD NAME [FIELD=VALUE...] [-- ARG...]
  run POD NAME [FIELD=VALUE...] [-- ARG...]
  start | rm CONTAINER...
  stop CONTAINER [SECONDS]
  wait CONTAINER STATE
  exec [--timeout SECONDS] CONTAINER ARG...
  status | stats CONTAINER [PATH...]
  update CONTAINER FIELD=VALUE...
  reopen-log CONTAINER
  ps [LABEL=VALUE...]
  probe SECONDS CONTAINER...

A PATH is path.to.field of what the server answers, a FIELD the same of what it is asked.";

/// What a command comes to: its status, or why there is none.
type Done = Result<u8, String>;

/// The server.
#[derive(Clone, Debug)]
struct Server(Grpc<Channel>);

impl Server {
    async fn connect() -> Result<Server, String> {
        let path = std::env::var("CRI_SOCKET").map_err(|_| "CRI_SOCKET is not set".to_owned())?;
        let endpoint = Endpoint::from_shared(format!("unix://{path}"))
            .map_err(|error| format!("{path}: {error}"))?;
        let channel = endpoint
            .connect()
            .await
            .map_err(|error| format!("{path}: {error}"))?;
        // Lists of a hundred containers with their specs are longer than the default.
        Ok(Server(
            Grpc::new(channel).max_decoding_message_size(64 << 20),
        ))
    }

    /// One call of the runtime service.
    async fn call<Q, A>(&self, method: &str, request: Q) -> Result<A, String>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        self.try_call(method, request)
            .await
            .map_err(|status| format!("{method}: {:?}: {}", status.code(), status.message()))
    }

    async fn try_call<Q, A>(&self, method: &str, request: Q) -> Result<A, Status>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let mut grpc = self.0.clone();
        let unready = |error| Status::unavailable(format!("{error}"));
        grpc.ready().await.map_err(unready)?;
        let path: PathAndQuery = format!("/runtime.v1.RuntimeService/{method}")
            .parse()
            .map_err(|error| Status::internal(format!("{error}")))?;
        let codec = tonic_prost::ProstCodec::<Q, A>::default();
        let answer = grpc
            .unary(tonic::Request::new(request), path, codec)
            .await?;
        Ok(answer.into_inner())
    }
}

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let args: Vec<String> = std::env::args().skip(1).collect();
    let done = match runtime {
        Ok(runtime) => runtime.block_on(words::run(&args)),
        Err(error) => Err(error.to_string()),
    };
    match done {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            eprintln!("cri: {error}");
            ExitCode::from(255)
        }
    }
}
