# BuildKit calls runc itself, and waits for it: what it finds of that name is the runtime under test.
cd $w
export DOCKER_BUILDKIT=1
cat > Dockerfile <<'END'
FROM busybox
RUN tail -n 1 /proc/self/cgroup | sed 's,.*/,,' > /id
RUN echo hello > /made
CMD cat /made
END
docker build --no-cache --progress plain -t $n-image . > log 2>&1 || cat log
docker run --rm $n-image
id=$(docker run --rm $n-image cat /id)
[ "$(grep -c " run --bundle .* $id\$" $calls)" = 1 ] && echo ran by the runtime under test

printf 'FROM busybox\nRUN exit 4\n' > Dockerfile
docker build --progress plain . 2>&1 | grep -q 'exit code: 4' && echo status 4 told

printf "FROM busybox\nRUN echo no network: \$(ls /sys/class/net) # $n\n" > Dockerfile
docker build --progress plain --network none . 2>&1 | grep -o 'no network: lo$'

for i in 1 2; do
    printf "FROM busybox\nRUN --mount=type=cache,id=$n,target=/c ls /c; touch /c/kept-$n # $i\n" > Dockerfile
    docker build --progress plain . > log 2>&1 || cat log
done
grep -q "[0-9.]* kept-$n\$" log && echo cache kept

echo read > secret
printf "FROM busybox\nRUN --mount=type=secret,id=word echo secret \$(cat /run/secrets/word) # $n\n" > Dockerfile
docker build --progress plain --secret id=word,src=secret . 2>&1 | grep -o 'secret read$'

printf "FROM busybox\nUSER user\nRUN echo no root: \$(id -u) # $n\n" > Dockerfile
docker build --progress plain . 2>&1 | grep -o 'no root: 1000$'
docker rmi $n-image >/dev/null
