# An image goes to a registry in a container and comes back. dockerd asks those at 127.0.0.0/8 without TLS.
cat > $w/config.yml <<'END'
version: 0.1
storage: { filesystem: { rootdirectory: /registry } }
http: { addr: ":5000" }
END
docker run -d --name $n -p 127.0.0.1::5000 -v $n:/registry -v $w/config.yml:/config.yml:ro programs docker-registry serve /config.yml >/dev/null
port=$(docker port $n 5000 | sed 's/.*://')
image=127.0.0.1:$port/$n
soon busybox wget -qO- http://127.0.0.1:$port/v2/
docker create --name $n-image busybox true >/dev/null
docker commit -c 'CMD echo hello from the registry' $n-image $image >/dev/null
docker rm $n-image >/dev/null
docker push -q $image >/dev/null && echo pushed
docker rmi $image >/dev/null
docker image inspect $image >/dev/null 2>&1 || echo gone here
docker pull -q $image >/dev/null && echo pulled
docker run --rm $image
docker rmi $image >/dev/null
docker rm -f $n >/dev/null
docker volume rm $n >/dev/null
