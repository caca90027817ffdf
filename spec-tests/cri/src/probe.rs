//! Probes as the kubelet makes them: an exec in each container once a second.

use std::time::{Duration, Instant};

use crate::messages::{ExecSyncRequest, ExecSyncResponse};
use crate::{Done, Server, USAGE};

const EACH: Duration = Duration::from_secs(1);

/// Probes the containers for so many seconds, and says how many probes were answered rightly, wrongly, and
/// how many seconds the last of them was late.
pub(crate) async fn run(server: &Server, rest: &[String]) -> Done {
    let (seconds, ids) = rest.split_first().ok_or(USAGE)?;
    let rounds: u32 = seconds.parse().map_err(|_| USAGE)?;
    let begin = Instant::now();
    let mut probes = tokio::task::JoinSet::new();
    for (number, id) in ids.iter().enumerate() {
        // The kubelet's probes have no common beat.
        let offset = EACH.mul_f64(fraction(number, ids.len()));
        probes.spawn(one(server.clone(), id.clone(), begin + offset, rounds));
    }
    let (mut good, mut bad) = (0, 0);
    while let Some(done) = probes.join_next().await {
        let (right, wrong) = done.map_err(|error| error.to_string())?;
        good += right;
        bad += wrong;
    }
    let late = begin.elapsed().saturating_sub(EACH * rounds);
    println!("{good} {bad} {:.1}", late.as_secs_f64());
    Ok(u8::from(bad != 0))
}

#[allow(clippy::cast_precision_loss)] // hundreds
fn fraction(number: usize, of: usize) -> f64 {
    number as f64 / of as f64
}

/// The probes of one container. The next is not made before the last has ended, which is what the kubelet does.
async fn one(server: Server, id: String, begin: Instant, rounds: u32) -> (u32, u32) {
    let (mut good, mut bad) = (0, 0);
    for round in 0..rounds {
        tokio::time::sleep_until((begin + EACH * round).into()).await;
        let request = ExecSyncRequest {
            container_id: id.clone(),
            cmd: vec!["true".to_owned()],
            timeout: 60,
        };
        let ran: Result<ExecSyncResponse, String> = server.call("ExecSync", request).await;
        match ran {
            Ok(ran) if ran.exit_code == 0 => good += 1,
            Ok(ran) => {
                eprintln!("cri: {id}: exit code {}", ran.exit_code);
                bad += 1;
            }
            Err(error) => {
                eprintln!("cri: {error}");
                bad += 1;
            }
        }
    }
    (good, bad)
}
