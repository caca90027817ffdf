# What a container may read and write of a disk, in bytes and in operations a second.
for dir in /sys/block/*; do
    [ -b /dev/${dir##*/} ] && disk=/dev/${dir##*/} number=$(cat $dir/dev)
done
[ -n "$disk" ] || { echo "the host has no disk"; exit 77; }
docker run --rm --device-read-bps $disk:1mb --device-write-bps $disk:2mb \
    --device-read-iops $disk:11 --device-write-iops $disk:12 busybox sh -c "
    cd /sys/fs/cgroup/blkio
    for unit in bps iops; do
        sed -n 's/^$number /'\$unit' /p' blkio.throttle.read_\${unit}_device blkio.throttle.write_\${unit}_device
    done"
