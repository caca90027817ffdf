#!/bin/sh
# Builds a Debian root filesystem that some tests run in, once, outside the
# checkout. A rename publishes it, so that a reader never sees half of it.
# Argument: debian, or programs for the one with servers.
set -eu
case ${1:-debian} in
debian) name=debian-bookworm include=python3 ;;
programs) name=programs-bookworm include=nginx-light,mariadb-server,php-cli,php-mysql,redis-server,memcached,docker-registry,curl ;;
esac
cache=${XDG_CACHE_HOME:-$HOME/.cache}/longshore
root=$cache/$name
if [ ! -d "$root" ]; then
    mkdir -p "$cache"
    build=$(mktemp -d "$cache/build.XXXXXX")
    trap 'rm -rf --one-file-system "$build"' EXIT
    mmdebstrap --quiet --variant=minbase --include="$include" \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' bookworm "$build/root" >&2
    # mmdebstrap makes device nodes; the runtimes bring their own /dev.
    rm -rf "$build/root/dev" && mkdir "$build/root/dev"
    # -T: if another builder was faster, this fails instead of nesting.
    mv -T "$build/root" "$root" 2>/dev/null || [ -d "$root" ]
fi
echo "$root"
