# Containers that live for a moment, by the hundred, two at a time; each ends with a status that chance has chosen.
count=100
[ -z "$soak" ] || count=10000
status() { od -An -N1 -tu1 /dev/urandom | tr -d ' '; }
told() { # WANTED SEEN WHAT
    [ $1 = $2 ] || echo "$3: $2 instead of $1"
}
fresh() {
    for i in $(seq $((count / 4))); do
        s=$(status)
        docker run --rm --cidfile $w/id.$i --label short=$n --net none busybox sh -c "exit $s"
        told $s $? run
    done
}
again() {
    docker create --name $n --cidfile $w/id.0 --label short=$n --net none -v $w:/w:ro busybox sh -c 'exit $(cat /w/status)' >/dev/null
    for i in $(seq $((count * 3 / 4))); do
        s=$(status)
        echo $s > $w/status
        docker start -a $n
        told $s $? start
    done
    docker rm $n >/dev/null
}
fresh & again > $w/o
wait
cat $w/o
docker ps -aq -f label=short=$n
for id in $w/id.*; do cat $id; echo; done > $w/ids
{
    find /sys/fs/cgroup -type d -path "*$cgroup/*"
    find $dockerd/exec $dockerd/data/containers
    cat /proc/self/mountinfo
    cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\0' '\n'
} | grep -F -f $w/ids
[ $(wc -l < $w/ids) = $((count / 4 + 1)) ] && echo every status right, nothing left
