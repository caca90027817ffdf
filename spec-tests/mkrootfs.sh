#!/bin/sh
# Builds the Debian root filesystem that some tests run in, once, outside the
# checkout. A rename publishes it, so that a reader never sees half of it.
set -eu
cache=${XDG_CACHE_HOME:-$HOME/.cache}/longshore
root=$cache/debian-bookworm
if [ ! -d "$root" ]; then
    mkdir -p "$cache"
    build=$(mktemp -d "$cache/build.XXXXXX")
    trap 'rm -rf --one-file-system "$build"' EXIT
    mmdebstrap --quiet --variant=minbase --include=python3 bookworm "$build/root" >&2
    # mmdebstrap makes device nodes; the runtimes bring their own /dev.
    rm -rf "$build/root/dev" && mkdir "$build/root/dev"
    # -T: if another builder was faster, this fails instead of nesting.
    mv -T "$build/root" "$root" 2>/dev/null || [ -d "$root" ]
fi
echo "$root"
