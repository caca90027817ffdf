# Ends the containerd of the directory $1 with all that runs under it; $2 is the namespace of ctr's containers.
cd "$1" || exit
export CONTAINERD_ADDRESS=$1/socket CRI_SOCKET=$1/socket
timeout 60 cri pods | while read -r id _; do
    timeout 60 cri rm-pod "$id"
done
for namespace in "$2" k8s.io; do
    for id in $(timeout 20 ctr -n "$namespace" tasks ls -q); do
        timeout 20 ctr -n "$namespace" tasks rm -f "$id"
    done
    for id in $(timeout 20 ctr -n "$namespace" containers ls -q); do
        timeout 20 ctr -n "$namespace" containers rm "$id"
    done
done

# A process is gone when nobody but its parent would still know.
gone() {
    [ ! -e "/proc/$1" ] || grep -q '^State:.[ZX]' "/proc/$1/status" 2>/dev/null
}

shims() {
    grep -lz "^$1/socket$" /proc/[0-9]*/cmdline 2>/dev/null | cut -d/ -f3 | while read -r id; do
        grep -q containerd-shim "/proc/$id/comm" && echo "$id"
    done
}

pid=$(cat pid)
kill "$pid"
tries=0
until gone "$pid"; do
    tries=$((tries + 1))
    [ $tries -lt 300 ] || kill -9 "$pid"
    sleep 0.1
done
for id in $(shims "$1"); do
    kill -9 "$id"
done
true
