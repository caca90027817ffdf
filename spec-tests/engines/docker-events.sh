# What dockerd tells of a container's life, which it has from the runtime and the shim.
begin=$(date +%s)
docker run -d --name $n --cidfile $w/id busybox sleep 300 >/dev/null
docker exec $n true
docker pause $n >/dev/null
docker unpause $n >/dev/null
docker restart -t 0 $n >/dev/null
docker rename $n $n-new
docker rm -f $n-new >/dev/null
echo $(docker events --since $begin --until $(($(date +%s) + 1)) -f container=$(cat $w/id) --format '{{.Action}}')
