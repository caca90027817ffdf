# The window changes while the container runs; that it got its first size may be told late.
{
    soon has_lines $n 1
    client=$(pgrep -f "docker run -it --name $n ")
    for pid in $client; do
        [ "$(cat /proc/$pid/comm)" = docker ] && tty=$(readlink /proc/$pid/fd/0)
    done
    stty rows 44 cols 55 < $tty
    soon has_lines $n 2
} | script -qec "docker run -it --name $n busybox sh -c 'trap \"stty size | grep -x \\\"44 55\\\" && exit\" WINCH; echo up; while :; do sleep 0.1; done'" /dev/null
docker rm $n >/dev/null
