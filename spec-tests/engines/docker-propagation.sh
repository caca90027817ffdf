# A mount made in the container, seen outside or not, and one made outside, seen inside or not.
mount --bind $w $w
mount --make-shared $w
mkdir $w/out $w/in
for how in private slave shared; do
    docker run -d --name $n --cap-add SYS_ADMIN --mount type=bind,src=$w,dst=/v,bind-propagation=r$how busybox sleep 300 >/dev/null
    docker exec $n mount -t tmpfs x /v/out
    mount -t tmpfs x $w/in
    out=no in=no
    mountpoint -q $w/out && out=yes
    docker exec $n grep -q ' /v/in ' /proc/mounts && in=yes
    echo "$how: out $out, in $in"
    docker rm -f $n >/dev/null
    umount $w/in
    [ $out = no ] || umount $w/out
done
umount $w
