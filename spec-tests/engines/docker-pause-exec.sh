# A program of exec's stands still with the container, and goes on with it.
docker run -d --name $n busybox sleep 300 >/dev/null
docker exec $n sh -c 'while :; do echo x; sleep 0.05; done' > $w/o &
soon test -s $w/o
docker pause $n >/dev/null
# What was on its way when it stood still.
a=$(stat -c %s $w/o)
while sleep 0.3; b=$(stat -c %s $w/o); [ $a != $b ]; do
    a=$b
done
sleep 1
[ $(stat -c %s $w/o) = $a ] && echo stands still
docker unpause $n >/dev/null
grown() { [ $(stat -c %s $w/o) -gt $a ]; }
soon grown && echo goes on
docker rm -f $n >/dev/null
wait
