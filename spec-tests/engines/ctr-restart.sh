# Three tasks under a containerd that ends with $signal: one is used afterwards, one ends while nobody is there.
exec 9>"$engine/lock"
flock 9
waits='trap "exit 5" TERM; trap "exit 6" USR1; echo ready; while :; do sleep 0.1; done'
for task in a b; do
    $run -d --log-uri "file://$w/$task" "$image" "$n-$task" sh -c "$waits"
    soon 'grep -q ready $w/$task'
done
pid=$(ctr tasks ls | awk "/^$n-b /{print \$2}")
end_daemon "$signal"
kill -USR1 "$pid"
soon '[ ! -e /proc/$pid ]'
start_again
ctr tasks exec --exec-id e "$n-a" echo hello
ctr tasks exec --exec-id f "$n-a" sh -c 'exit 9'
echo $?
ctr tasks kill "$n-a"
for task in a b; do
    soon 'ctr tasks ls | grep -q "^$n-$task .*STOPPED"'
    status_of "$n-$task"
    ctr containers rm "$n-$task"
done
