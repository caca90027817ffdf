# Containers with an exec probe a second: a few for some seconds, or as many as a soak wants for a minute.
count=8 seconds=5
[ "$soak" ] && count=20 seconds=60
p=$($pod "$n")
for number in $(seq $count); do
    # shellcheck disable=SC2030
    ids="$ids $(cri run "$p" "c$number" -- sleep 600)"
done
# shellcheck disable=SC2086 # a list of ids
cri probe $seconds $ids >"$w/probes"
awk -v all=$((count * seconds)) '{ print all - $1, $2 }' "$w/probes"
for id in $ids; do
    cri status "$id" status.state
done | sort -u
cri rm-pod "$p"
