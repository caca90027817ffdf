# Everything at once with one container, again and again. Who comes too late is told so; nobody hangs.
rounds=${rounds:-5}
[ -z "$soak" ] || rounds=500
once() {
    timeout 30 docker "$@" >/dev/null 2>&1
    status=$?
    echo "$1 $status" >> $w/statuses
    [ $status != 124 ] || touch $w/hung
}
often() { # until the container is gone
    while [ ! -e $w/hung ] && timeout 30 docker inspect $n >/dev/null 2>&1; do
        once "$@"
    done
}
for round in $(seq $rounds); do
    rm -f $w/id
    docker run -d --name $n --cidfile $w/id busybox sh -c 'trap : USR1; while :; do sleep 0.05; done' >/dev/null
    pids=
    for what in $racers; do
        case $what in
        exec) often exec $n true & ;;
        kill) often kill -s USR1 $n & ;;
        *) often $what $n & ;;
        esac
        pids="$pids $!"
    done
    { sleep 0.$((round % 10)); once stop -t 1 $n; } &
    pids="$pids $!"
    { sleep 1.$((round % 7)); once rm -f $n; } &
    # Not for everything: a row's own dockerd is a job too.
    wait $pids $!
    [ ! -e $w/hung ] || break
    soon test ! -e $dockerd/data/containers/$(cat $w/id)
    remains $(cat $w/id)
done
sort $w/statuses | uniq -c >&2
# 1 is the daemon's no, 137 an exec that went down with the container, 126 and 128 one that came too late for it.
for what in $racers; do
    grep -q "^$what 0$" $w/statuses || echo "no $what was in time"
done
grep -vE '^(exec (0|1|126|128|137)|(kill|pause|unpause|stop|rm) [01])$' $w/statuses | sort | uniq -c | grep . || echo nothing hung, nothing left
