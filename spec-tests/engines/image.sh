# Makes an image archive, as `docker save` writes it, of the root $1: one layer, a name, and `sleep` as what it runs.
# The third argument is the name. The sandbox of a pod runs it too.
set -eu
dir=$(mktemp -d "$2.XXXXXX")
tar -C "$1" -cf "$dir/layer.tar" .
sum=$(sha256sum "$dir/layer.tar" | cut -d' ' -f1)
architecture=$(dpkg --print-architecture)
cat >"$dir/config.json" <<END
{"architecture":"$architecture","os":"linux","config":{"Env":["PATH=/bin"],"Cmd":["sleep","1000000"]},"rootfs":{"type":"layers","diff_ids":["sha256:$sum"]}}
END
cat >"$dir/manifest.json" <<END
[{"Config":"config.json","RepoTags":["$3"],"Layers":["layer.tar"]}]
END
tar -C "$dir" -cf "$2" manifest.json config.json layer.tar
rm -r "$dir"
