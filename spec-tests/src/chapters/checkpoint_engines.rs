//! De facto: checkpoints as Docker's and podman's users make them.

use std::process::Command;
use std::time::Duration;

use super::checkpoint::criu;
use crate::property::{Scenario, scenario};
use crate::scene::Scene;
use crate::suite::{Check, Stop, ensure};

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario("checkpoint.engines.docker", |scene| {
        engine(scene, "dockerd", DOCKER)
    }),
    scenario("checkpoint.engines.podman", |scene| {
        engine(scene, "podman", PODMAN)
    }),
];

/// An engine with a store of its own, and a program that counts on from a number which only its first start finds.
const COMMON: &str = r#"set -eu
runtime=$1; d=$PWD/engine; mkdir "$d"
count='i=$(cat /begin); echo 0 > /begin; while :; do i=$((i+1)); echo $i > /count; usleep 50000; done'
echo 1000000 > rootfs/begin
past() {
    for i in $(seq 100); do
        n=$($engine exec counter cat /count 2>/dev/null || echo 0)
        [ "${n:-0}" -gt "$1" ] && return
        sleep 0.1
    done
    echo "counts $n, not past $1"; exit 1
}
"#;

const DOCKER: &str = r#"engine="docker -H unix://$d/socket"
dockerd --experimental --bridge none --iptables=false --ip-forward=false --data-root "$d/data" --exec-root "$d/exec" \
    --pidfile "$d/pid" -H "unix://$d/socket" --add-runtime "tested=$runtime" --default-runtime tested > "$d/log" 2>&1 &
daemon=$!
trap '$engine rm -f counter >/dev/null 2>&1 || true; kill $daemon; wait $daemon || true' EXIT
until $engine version >/dev/null 2>&1; do kill -0 $daemon; sleep 0.2; done
tar -C rootfs -c . | $engine import - counter >/dev/null
$engine run -d --name counter --net none counter /bin/sh -c "$count" >/dev/null
past 1000000
$engine checkpoint create counter one >/dev/null
[ "$($engine inspect -f '{{.State.Running}}' counter)" = false ]
$engine start --checkpoint one counter >/dev/null
past 1000001
echo done"#;

const PODMAN: &str = r#"engine="podman --root $d/root --runroot $d/run --tmpdir $d/tmp --storage-driver vfs --cgroup-manager cgroupfs --runtime $runtime"
trap '$engine rm -f -t 0 counter >/dev/null 2>&1 || true' EXIT
tar -C rootfs -c . | $engine import - counter >/dev/null 2>&1
$engine run -d --name counter --network none counter /bin/sh -c "$count" >/dev/null
past 1000000
$engine container checkpoint counter >/dev/null
[ "$($engine inspect -f '{{.State.Running}}' counter)" = false ]
$engine container restore counter >/dev/null
past 1000001
$engine container checkpoint --export "$d/c.tar.gz" counter >/dev/null
$engine rm counter >/dev/null
$engine container restore --import "$d/c.tar.gz" --name counter >/dev/null
past 1000002
echo done"#;

fn engine(scene: &mut Scene<'_>, program: &str, script: &str) -> Check {
    criu(scene)?;
    if Command::new(program).arg("--version").output().is_err() {
        return Err(Stop::Skip(format!("no {program} here")));
    }
    scene.file("engine.sh", &format!("{COMMON}{script}"))?;
    let mut call = scene.call(&[]);
    let runtime = scene.program.display().to_string();
    call.args = vec!["engine.sh".to_owned(), runtime];
    call.program = "/bin/bash".into();
    // What it leaves mounted goes with this namespace.
    call.setup = "true".to_owned();
    let ran = call.spawn()?.wait(Duration::from_secs(150))?;
    ensure!(ran.ok() && ran.stdout.trim() == "done", "{}", ran.story());
    Ok(())
}
