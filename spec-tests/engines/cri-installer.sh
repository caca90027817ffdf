# The script of the installer's DaemonSet, with a directory as the node's root and our containerd as the node's.
exec 9>"$engine/lock"
flock 9
cp "$engine/config.toml" "$w/kept"
awk '/^  node: \|/ { found = 1; next } found && /^[^ ]/ { exit } found { sub(/^    /, ""); print }' "$w/installer.yaml" >"$w/script"
config=$w/node/etc/containerd/config.toml
mkdir -p "${config%/*}" "$w/node/run"
cp "$engine/own.toml" "$config"
ln -s "$engine/state" "$w/node/run/containerd"

# A command of the node's; systemctl fails where there is a file `broken`.
cat >"$w/command" <<END
. $engine/prelude
case "\$*" in
"systemctl restart containerd")
    rm "$w/broken" 2>/dev/null && exit 1
    end_daemon TERM
    sed "s|/usr/local/bin|$w/node&|" $config >$engine/config.toml
    start_again
    ;;
"ctr plugins ls") ctr plugins ls ;;
esac
END
node() {
    ROOT=$w/node NODE="sh $w/command" FROM=$runtime timeout 60 sh "$w/script" "$1"
}

node install
echo "installed $?"
sed -n '/^# longshore: begin$/,/^# longshore: end$/p' "$config" | grep -v '^# longshore:' | cmp - "$engine/page.toml" && echo "the page's text"
p=$($pod "$n")
c=$(cri run "$p" c -- sleep 60)
cri exec "$c" echo hello
pid=$(cat "$engine/pid")
node install
echo "again $?"
[ "$pid" = "$(cat "$engine/pid")" ] && echo not restarted
node rollback
echo "rolled back $?"
cri rm-pod "$p"
soon '! ls -d $engine/state/io.containerd.runtime.v2.task/k8s.io/$p 2>/dev/null'
node rollback
echo "rolled back $?"
cmp "$config" "$engine/own.toml" && [ ! -e "$w/node/usr/local/bin/longshore" ] && echo as before
$pod "$n" 2>&1 | grep -o 'no runtime for "longshore" is configured'
touch "$w/broken"
node install
echo "installed $?"
cmp "$config" "$engine/own.toml" && [ ! -e "$w/node/usr/local/bin/longshore" ] && echo as before
cri info status.conditions.0.status | sed 's/true/ready/'

# A node whose containerd has no config yet; this containerd can't be it.
rm "$config"
cat >"$w/command" <<END
[ "\$1" = systemctl ] || echo 'io.containerd.grpc.v1  cri  linux/amd64  ok'
END
node install
echo "installed $?"
echo "config of $(containerd --config "$config" config dump | grep -c 'runtimes\.[a-z]*\]$') runtimes"
node rollback
echo "rolled back $?"
[ -e "$config" ] || echo nothing left
echo 'version = 1' >"$config"
node install | sed 's|.*/||'
node install >/dev/null
echo "installed $?"

cp "$w/kept" "$engine/config.toml"
end_daemon TERM
start_again
