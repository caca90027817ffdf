# What every row has, whatever its engine.

# Waits until a command succeeds, and says so if it never does.
soon() {
    for _ in $(seq 300); do
        eval "$@" >/dev/null 2>&1 && return
        sleep 0.1
    done
    echo "never: $*"
    return 1
}

# Runs a command on a terminal that nobody types at. That is not an input that has ended: there podman leaves before it
# has printed all, with any runtime, every other time.
on_terminal() {
    mkfifo "$w/keys"
    script -qec "$1" /dev/null <>"$w/keys"
}
