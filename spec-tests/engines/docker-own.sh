# A dockerd for the row alone, with live-restore: the row begins it and may end it.
# It goes without rules of iptables: another dockerd has its own in this network.
theirs=$DOCKER_HOST
dockerd=$w/d
mkdir $dockerd
export DOCKER_HOST=unix://$dockerd/socket
cat > $w/daemon.json <<END
{ "live-restore": true, "runtimes": { "tested": { "path": "$runtime" } }, "default-runtime": "tested",
  "bridge": "none", "iptables": false, "cgroup-parent": "$cgroup/$n", "data-root": "$dockerd/data", "exec-root": "$dockerd/exec",
  "pidfile": "$dockerd/pid", "hosts": ["$DOCKER_HOST"] }
END
begin() {
    dockerd --config-file $w/daemon.json >>$w/log 2>&1 </dev/null &
    daemon=$!
    soon docker version
}
end() {
    for state in /sys/fs/cgroup/freezer$cgroup/$n/*/freezer.state; do
        [ ! -e $state ] || echo THAWED > $state
    done
    docker ps -aq | xargs -r docker rm -f >/dev/null
    kill $daemon
    wait $daemon
    # What a killed one did not take away, and what none does.
    umount -l $dockerd/data $dockerd/exec/netns/default 2>/dev/null
}
begin
trap end EXIT
DOCKER_HOST=$theirs docker save busybox | docker load -q >/dev/null

