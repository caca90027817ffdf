# The user gives up in the middle of a RUN: what runs there ends.
cd $w
seconds=$((3000 + ${n#t}))
printf "FROM busybox\nRUN echo began; exec sleep $seconds.7\n" > Dockerfile
DOCKER_BUILDKIT=1 docker build --no-cache --progress plain . > log 2>&1 &
runs() { pgrep -fx "sleep $seconds.7"; }
soon runs && echo began
kill -INT $!
wait $!
ended() { ! runs; }
soon ended && echo nothing left
