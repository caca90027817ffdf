# dockerd ends, politely or not, and comes again; its containers don't notice, and it hears of what has ended meanwhile.
state() { docker inspect -f "{{.State.$2}}" $1; }
for how in TERM KILL; do
    docker run -d --name loop --cidfile $w/id.$how busybox sh -c 'trap "exit 5" TERM; while :; do echo up; sleep 0.1; done' >/dev/null
    docker run -d --name ends -v $w:/w busybox sh -c "while [ ! -e /w/go.$how ]; do sleep 0.1; done; exit 6" >/dev/null
    docker run -d --name dies busybox sleep 300 >/dev/null
    loop=$(state loop Pid) ends=$(state ends Pid) dies=$(state dies Pid)
    soon has_lines loop 1

    kill -$how $daemon
    wait $daemon
    touch $w/go.$how
    kill -9 $dies
    gone() { [ ! -e /proc/$ends ] && [ ! -e /proc/$dies ]; }
    soon gone
    # A killed dockerd takes its containerd along. Whose parent does not reap it, as an init does, seems alive.
    containerd=$(cat $dockerd/exec/containerd/containerd.pid 2>/dev/null)
    dead() { ! grep -q '^State:.[^Z]' /proc/$containerd/status; }
    [ $how = TERM ] || { soon dead && rm -f $dockerd/exec/containerd/containerd.pid; }

    begin
    printf "$how: "
    [ "$(state loop Running) $(state loop Pid)" = "true $loop" ] && printf 'same process, '
    docker exec loop test -e /proc/1 && printf 'exec works, '
    lines=$(docker logs loop | wc -l)
    soon has_lines loop $((lines + 3)) && printf 'logs go on, '
    printf "ended $(docker wait ends) $(docker wait dies), "
    docker stop loop >/dev/null
    printf "stopped $(state loop ExitCode), "
    docker rm loop ends dies >/dev/null
    remains $(cat $w/id.$how) | grep . || echo left nothing
done
