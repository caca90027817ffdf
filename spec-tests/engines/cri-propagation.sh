# A mount made on the host after the container started, and one made in the container, with each propagation.
mkdir "$w/v"
mount --bind "$w/v" "$w/v"
mount --make-rshared "$w/v"
mkdir "$w/v/late" "$w/v/back"
p=$($pod "$n" linux.security_context.privileged=true)
for kind in PRIVATE HOST_TO_CONTAINER BIDIRECTIONAL; do
    c=$(cri run "$p" "c$kind" mounts='[{"container_path":"/v","host_path":"'"$w/v"'","propagation":"'$kind'"}]' \
        'linux.security_context.capabilities.add_capabilities=["SYS_ADMIN"]' -- sleep 60)
    mount -t tmpfs -o size=4k none "$w/v/late"
    touch "$w/v/late/late"
    cri exec "$c" mount -t tmpfs -o size=4k none /v/back
    cri exec "$c" touch /v/back/back
    # shellcheck disable=SC2046 # words
    echo $kind $(cri exec "$c" ls /v/late) $(ls "$w/v/back")
    cri exec "$c" umount /v/back
    umount "$w/v/late"
done
cri rm-pod "$p"
umount "$w/v"
