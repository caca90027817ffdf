# Pods made, used and removed, eight at a time; as many as a soak wants, or a tenth.
count=10
[ "$soak" ] && count=100
one() {
    p=$(timeout 60 $pod "$n-$1") || return
    c=$(timeout 60 cri run "$p" c -- sleep 600) && [ "$(timeout 60 cri exec "$c" echo "$1")" = "$1" ] || return
    # Half of the pods are removed while their containers run.
    [ $(($1 % 2)) = 0 ] || timeout 60 cri stop "$c" || return
    timeout 60 cri rm-pod "$p" || return
    echo "$p $c" >>"$w/made"
}
for at in $(seq 0 7); do
    (
        for number in $(seq "$at" 8 $((count - 1))); do
            one "$number" || echo "$number" >>"$w/failed"
        done
    ) &
    workers="$workers $!"
done
# shellcheck disable=SC2086 # a list of pids
wait $workers
echo "$(cat "$w/failed" 2>/dev/null | wc -l) failed"

# What a pod leaves has the id of the pod or of its container in its name, or in its command line.
[ "$(wc -l <"$w/made")" = "$count" ] || echo "made only $(wc -l <"$w/made")"
tr ' ' '\n' <"$w/made" >"$w/ids"
left() {
    cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\0' '\n'
    cat /proc/self/mountinfo
    ls /run/containerd/runc/k8s.io /sys/fs/cgroup/*"$CRI_CGROUP" "$engine"/state/io.containerd.runtime.v2.task/k8s.io \
        "$engine"/state/io.containerd.grpc.v1.cri/* "$engine"/root/io.containerd.grpc.v1.cri/* 2>/dev/null
    cri pods
    cri ps
    cat "$engine"/addresses/pods/* 2>/dev/null
}
# A shim ends a moment after its pod.
soon '! left | grep -qFf $w/ids'
left | grep -oFf "$w/ids" || echo nothing left
