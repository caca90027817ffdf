# What the script of each Docker row begins with.

# Debian's own docker, whatever else there is.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin

# Whether a container's state, or the like, is this.
is() { # NAME TEMPLATE VALUE
    [ "$(docker inspect -f "{{$2}}" "$1")" = "$3" ]
}

# Whether a container has written this many lines, or more.
has_lines() { # NAME COUNT
    [ "$(docker logs "$1" 2>/dev/null | wc -l)" -ge "$2" ]
}

# What there still is of a container that is gone.
remains() { # ID
    find /sys/fs/cgroup -depth -type d -name "*$1*"
    find "$dockerd/exec" "$dockerd/data/containers" -maxdepth 4 -name "*$1*"
    grep "$1" /proc/self/mountinfo
    grep -ls "$1" /proc/[0-9]*/cmdline
}
