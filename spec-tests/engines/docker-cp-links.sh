# A link is copied as a link, or followed inside of the container and never outside.
docker run -d --name $n busybox sleep 300 >/dev/null
echo "outside as it was" > $w/host
docker exec $n ln -s /etc/passwd /link
docker cp $n:/link $w/link
echo "a link to $(readlink $w/link)"
docker cp -L $n:/link $w/file
docker exec $n cat /etc/passwd | cmp - $w/file && echo its file
docker exec $n sh -c "mkdir -p $w; ln -s $w/host /trap"
echo "written inside" > $w/new
docker cp $w/new $n:/trap
docker exec $n cat $w/host
cat $w/host
docker rm -f $n >/dev/null
