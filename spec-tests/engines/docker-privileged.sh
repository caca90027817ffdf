# Privileged is every capability that dockerd knows, and every device. Where the host keeps a capability back, a
# runtime gives the rest, or it refuses for that reason and leaves nothing.
bound=$(sed -n 's/CapBnd:\t//p' /proc/self/status)
docker run --rm --cidfile $w/id --privileged busybox sh -c '
    sed -n "s/CapEff:\t//p" /proc/self/status
    grep Seccomp: /proc/self/status
    ls -l /dev/kmsg | cut -c1
    readlink /dev/ptmx
    grep " /proc/" /proc/mounts
    mount -t tmpfs x /tmp && echo mounted' > $w/o 2>$w/e
status=$?
read seen < $w/o
known=$((0x1fffffffff)) # the first 37: those that all of its versions know
if [ $status = 0 ]; then
    [ $((0x$seen & known)) = $((0x$bound & known)) ] && [ "$(echo $(tail -n +2 $w/o))" = "Seccomp: 0 c pts/ptmx mounted" ] && good=yes
elif [ $((0x$bound & known)) != $known ]; then
    grep -qi 'operation not permitted' $w/e && good=yes
fi
remains $(cat $w/id) | grep . && good=
[ -n "$good" ] && echo as it should be || cat $w/o $w/e
