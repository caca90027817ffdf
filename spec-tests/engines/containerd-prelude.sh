# What rows of ctr and the CRI begin with, behind the paths of their engine.
pod="cri run-pod --runtime longshore"
run="ctr run --runc-binary $runtime"

# Removes a stopped task and tells its status, if that is not 0.
status_of() {
    ctr tasks rm "$1" 2>&1 | sed -n 's/.*exit with non-zero exit code \([0-9]*\).*/\1/p'
}

# Ends the daemon with a signal; whoever does that has the others wait, and starts it again.
end_daemon() {
    kill "-$1" "$(cat "$engine/pid")"
    soon '[ ! -e /proc/$(cat $engine/pid) ] || grep -q "^State:.[ZX]" /proc/$(cat $engine/pid)/status'
}

start_again() {
    sh "$engine/start" "$engine"
}
