# Starts the containerd of the directory $1 and waits until both ctr and the kubelet would be answered.
set -eu
cd "$1"
# A row that holds a lock on descriptor 9 while it does this must not leave it to the daemon.
containerd --config config.toml </dev/null >>log 2>&1 9>&- &
echo $! >pid
tries=0
until timeout 5 ctr --address socket version >/dev/null 2>&1 && CRI_SOCKET=$1/socket timeout 5 cri info >/dev/null 2>>probe; do
    tries=$((tries + 1))
    if [ $tries -gt 200 ]; then
        { echo "containerd did not come up:"; tail -n 1 probe; grep "failed to load plugin" log | tail -n 1; } >&2
        exit 1
    fi
    sleep 0.1
done
