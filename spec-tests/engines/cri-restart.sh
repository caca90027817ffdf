# A pod under a containerd that ends with $signal: one container is used afterwards, one ends while nobody is there.
exec 9>"$engine/lock"
flock 9
waits='trap "exit 5" TERM; trap "exit 3" USR1; trap "echo again" HUP; echo ready; while :; do sleep 0.1; done'
p=$($pod "$n" "log_directory=$w")
a=$(cri run "$p" a -- sh -c "$waits")
b=$(cri run "$p" b -- sh -c "$waits")
soon 'grep -q ready $w/a.log && grep -q ready $w/b.log'
pid=$(cri status "$b" info.pid)
end_daemon "$signal"
kill -USR1 "$pid"
soon '[ ! -e /proc/$pid ]'
start_again
cri pod-status "$p" status.state
cri status "$a" status.state
cri exec "$a" echo hello
cri exec "$a" sh -c 'exit 9'
echo $?
cri exec "$a" kill -HUP 1
soon 'grep -q "stdout F again" $w/a.log'
cri wait "$b" EXITED
cri status "$b" status.exit_code
cri stop "$a" 10
cri status "$a" status.state status.exit_code
c=$(cri run "$p" c -- sleep 60)
cri exec "$c" echo afterwards
cri rm-pod "$p"
{
    cri pods
    cri ps
} | grep -E "$p|$a|$b|$c" || echo nothing left
