# Signals by name and by number arrive as what they are.
signals="HUP QUIT USR1 USR2 TERM WINCH 40"
docker run -d --name $n debian bash -c '
    for signal in HUP QUIT USR1 USR2 TERM WINCH 40; do
        trap "echo $signal" $signal
    done
    echo up
    while :; do sleep 0.05; done' >/dev/null
lines=1
for signal in $signals; do
    soon has_lines $n $lines
    docker kill -s $signal $n >/dev/null
    lines=$((lines + 1))
done
soon has_lines $n $lines
echo $(docker logs $n | tail -n +2)
docker rm -f $n >/dev/null
