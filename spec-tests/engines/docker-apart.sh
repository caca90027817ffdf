# Two networks: the neighbour in the same one is reached, the one in the other is not.
docker network create $n-a >/dev/null
docker network create $n-b >/dev/null
docker run -d --name $n --net $n-a busybox sh -c 'echo hello > /tmp/index.html; exec httpd -f -h /tmp' >/dev/null
address=$(docker inspect -f "{{(index .NetworkSettings.Networks \"$n-a\").IPAddress}}" $n)
soon docker exec $n busybox wget -qO- http://127.0.0.1/
for net in a b; do
    echo "$net: $(docker run --rm --net $n-$net busybox sh -c 'wget -qO- $0 & sleep 3; kill $! 2>/dev/null && echo refused' http://$address/ 2>/dev/null)"
done
docker rm -f $n >/dev/null
docker network rm $n-a $n-b >/dev/null
