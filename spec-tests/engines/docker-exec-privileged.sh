# Every capability that dockerd knows, for one more process. Where the host keeps one back, a runtime gives the rest,
# or it refuses for that reason, and the container is none the worse.
bound=$(sed -n 's/CapBnd:\t//p' /proc/self/status)
docker run -d --name $n busybox sleep 300 >/dev/null
seen=$(docker exec --privileged $n sed -n 's/CapEff:\t//p' /proc/self/status 2>$w/e)
status=$?
known=$((0x1fffffffff)) # the first 37: those that all of its versions know
if [ $status = 0 ]; then
    [ $((0x$seen & known)) = $((0x$bound & known)) ] && good=yes
elif [ $((0x$bound & known)) != $known ]; then
    # docker exec writes the runtime's words to standard output.
    grep -qi 'operation not permitted' $w/e || echo "$seen" | grep -qi 'operation not permitted' && good=yes
fi
docker exec $n true || good=
[ -n "$good" ] && echo as it should be || echo "$seen"
docker rm -f $n >/dev/null
