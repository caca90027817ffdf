//! `ctr`, containerd's own command: a row is what somebody types, and what they see.

use super::Which;
use super::row::Sees::{Has, Is};
use super::row::{Row, Sees, row};

const fn ctr(name: &'static str, script: &'static str, sees: Sees) -> Row {
    row(name, script, sees).under(Which::Containerd)
}

/// Under a containerd that ends and comes back while containers run.
const fn restarted(name: &'static str, script: &'static str, sees: Sees) -> Row {
    row(name, script, sees).under(Which::Mortal).within(180)
}

#[rustfmt::skip] // a row a line
pub(super) const ROWS: &[Row] = &[
    ctr("ctr.run.output", "$run --rm $image $n echo hello", Is("hello")),
    ctr("ctr.run.stderr", "$run --rm $image $n sh -c 'echo no >&2' 2>&1", Is("no")),
    ctr("ctr.run.status", "$run --rm $image $n sh -c 'exit 7'; echo $?", Is("7")),
    ctr("ctr.run.rm", "$run --rm $image $n true; ctr containers ls -q | grep $n; ls -d /sys/fs/cgroup/*/$CONTAINERD_NAMESPACE/$n 2>/dev/null; ls /run/containerd/runc/$CONTAINERD_NAMESPACE | grep $n", Is("")),
    ctr("ctr.run.stdin", "echo hello | $run --rm $image $n head -n 1", Is("hello")),
    ctr("ctr.run.tty", "on_terminal \"$run --rm -t $image $n tty\"", Has("/dev/pts/0")),
    ctr("ctr.run.tty.size", "on_terminal \"stty rows 33 cols 77; $run --rm -t $image $n sh -c 'until stty size | grep -x 33.77; do sleep 0.1; done'\"", Has("33 77")),
    ctr("ctr.run.env", "$run --rm --env A=1 $image $n sh -c 'echo $A $PATH'", Is("1 /bin")),
    ctr("ctr.run.cwd", "$run --rm --cwd /made/here $image $n pwd", Is("/made/here")),
    ctr("ctr.run.missing-program", "$run --rm $image $n nowhere 2>$w/e; echo $?; grep -o 'OCI runtime create failed: .*' $w/e | grep -o 'exec: \"nowhere\": executable file not found in $PATH'; ctr containers ls -q | grep $n", Is("1\nexec: \"nowhere\": executable file not found in $PATH")),
    ctr("ctr.run.missing-path", "$run --rm $image $n /no/where 2>&1 | grep -o 'exec: \"/no/where\": stat /no/where: no such file or directory'", Is("exec: \"/no/where\": stat /no/where: no such file or directory")),
    ctr("ctr.run.not-executable", "$run --rm $image $n /etc/passwd 2>&1 | grep -o 'exec: \"/etc/passwd\": permission denied'", Is("exec: \"/etc/passwd\": permission denied")),
    ctr("ctr.run.mount", "$run --rm --mount type=bind,src=$w,dst=/v,options=rbind:rw $image $n sh -c 'echo hello > /v/x'; cat $w/x", Is("hello")),
    ctr("ctr.run.mount.readonly", "$run --rm --mount type=bind,src=$w,dst=/v,options=rbind:ro $image $n touch /v/x 2>&1; ls $w | grep x", Is("touch: /v/x: Read-only file system")),
    ctr("ctr.run.mount.tmpfs", "$run --rm --mount type=tmpfs,src=tmpfs,dst=/t,options=size=64k:mode=1711 $image $n sh -c 'stat -c %a /t; df -k /t | awk \"END { print \\$2 }\"'", Is("1711\n64")),
    ctr("ctr.run.read-only", "$run --rm --read-only $image $n touch /x 2>&1", Is("touch: /x: Read-only file system")),
    ctr("ctr.run.capabilities.default", "$run --rm $image $n grep -E 'CapEff|NoNewPrivs' /proc/self/status", Is("CapEff:\t00000000a80425fb\nNoNewPrivs:\t1")),
    ctr("ctr.run.capabilities", "$run --rm --cap-add CAP_SYS_TIME --cap-drop CAP_CHOWN $image $n grep CapEff /proc/self/status", Is("CapEff:\t00000000aa0425fa")),
    ctr("ctr.run.allow-new-privs", "$run --rm --allow-new-privs $image $n grep NoNewPrivs /proc/self/status", Is("NoNewPrivs:\t0")),
    ctr("ctr.run.privileged", "grep CapPrm /proc/self/status | cut -f2 > $w/ours; $run --rm --privileged $image $n grep CapEff /proc/self/status | cut -f2 | cmp - $w/ours && echo same; $run --rm --privileged $image $n sh -c 'touch /proc/sys/kernel/domainname && echo writable'", Is("same\nwritable")),
    ctr("ctr.run.seccomp", "$run --rm --seccomp $image $n sh -c 'grep Seccomp: /proc/self/status; unshare -n true 2>&1'; $run --rm $image $n grep Seccomp: /proc/self/status", Is("Seccomp:\t2\nunshare: unshare(0x40000000): Operation not permitted\nSeccomp:\t0")),
    ctr("ctr.run.seccomp.profile", "echo '{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[{\"names\":[\"mkdir\",\"mkdirat\"],\"action\":\"SCMP_ACT_ERRNO\"}]}' > $w/p; $run --rm --seccomp --seccomp-profile $w/p $image $n sh -c 'mkdir /x 2>&1; touch /y && echo made'", Is("mkdir: can't create directory '/x': Operation not permitted\nmade")),
    ctr("ctr.run.limits", "$run -d --memory-limit 33554432 --cpus 0.5 --cpu-shares 512 $image $n sleep 60; cd /sys/fs/cgroup; cat memory/$CONTAINERD_NAMESPACE/$n/memory.limit_in_bytes cpu/$CONTAINERD_NAMESPACE/$n/cpu.cfs_quota_us cpu/$CONTAINERD_NAMESPACE/$n/cpu.shares; ctr tasks rm -f $n; ctr containers rm $n", Is("33554432\n50000\n512")).on_v1(),
    ctr("ctr.run.cgroup", "$run -d --cgroup /$CONTAINERD_NAMESPACE/of-$n/deeper $image $n sleep 60; grep -c /$CONTAINERD_NAMESPACE/of-$n/deeper$ /proc/$(ctr tasks ls | awk \"/^$n /{print \\$2}\")/cgroup >$w/c; [ $(cat $w/c) -gt 0 ] && echo there; ctr tasks rm -f $n; ctr containers rm $n", Is("there")),
    ctr("ctr.run.device", "mknod $w/log c 1 11; $run --rm --device $w/log $image $n sh -c \": >>$w/log && echo open\"; $run --rm $image $n sh -c 'mknod /log c 1 11; : >>/log' 2>&1", Is("open\nsh: can't create /log: Operation not permitted")),
    ctr("ctr.run.pid-file", "$run -d --pid-file $w/pid $image $n sleep 60; cat /proc/$(cat $w/pid)/comm; ctr tasks rm -f $n; ctr containers rm $n", Is("sleep")),
    ctr("ctr.run.spec", "ctr oci spec | sed -e 's|\"path\": \"rootfs\"|\"path\": \"'$engine/image'\"|' -e 's|\"cwd\": \"/\"|\"cwd\": \"/\", \"args\": [\"/bin/hostname\"]|' -e 's|\"cgroupsPath\": \".*\"|\"cgroupsPath\": \"/'$CONTAINERD_NAMESPACE/$n'\"|' -e 's|\"linux\": {|\"hostname\": \"pier\", \"linux\": {|' > $w/spec; $run --rm --config $w/spec $n", Is("pier")),
    ctr("ctr.run.runc-root", "$run -d --runc-root $w/root $image $n sleep 60; ls $w/root/$CONTAINERD_NAMESPACE; ctr tasks exec --exec-id e $n echo hello; ctr tasks rm -f $n; ctr containers rm $n; ls $w/root/$CONTAINERD_NAMESPACE | wc -l", Has("\nhello\n0")),
    ctr("ctr.run.no-pivot", "$run --rm --no-pivot $image $n sh -c 'ls /bin/busybox; ls -d /sys/fs/cgroup /work 2>&1 | wc -l'", Has("/bin/busybox")),
    ctr("ctr.run.net-host", "$run --rm --net-host $image $n readlink /proc/self/ns/net > $w/a; readlink /proc/self/ns/net | cmp - $w/a && echo same; $run --rm $image $n ls /sys/class/net", Is("same\nlo")),
    ctr("ctr.run.with-ns", "$run -d $image $n sleep 60; p=$(ctr tasks ls | awk \"/^$n /{print \\$2}\"); $run --rm --with-ns network:/proc/$p/ns/net $image $n-b readlink /proc/self/ns/net > $w/a; readlink /proc/$p/ns/net | cmp - $w/a && echo same; ctr tasks rm -f $n; ctr containers rm $n", Is("same")),
    ctr("ctr.run.rootfs", "$run --rm --rootfs $engine/image $n /bin/ls /bin/busybox", Is("/bin/busybox")),
    ctr("ctr.run.uidmap", "$run --rm --uidmap 0:300000:65536 --gidmap 0:400000:65536 $image $n sh -c 'id -u; id -g; touch /x && stat -c %u:%g /x; cat /proc/self/uid_map /proc/self/gid_map' | tr -s ' '", Is("0\n0\n0:0\n 0 300000 65536\n 0 400000 65536")),
    ctr("ctr.run.annotation", "$run -d --annotation a.b=c --label d=e $image $n sleep 60; ctr containers ls -q 'labels.d==e'; ctr containers info $n | grep -o '\"a.b\": \"c\"'; ctr tasks rm -f $n; ctr containers rm $n", Has("\n\"a.b\": \"c\"")),
    ctr("ctr.run.log-uri", "$run -d --log-uri file://$w/log $image $n echo hello; soon 'grep -q hello $w/log'; cat $w/log; ctr tasks rm -f $n; ctr containers rm $n", Is("hello")),
    ctr("ctr.run.eight-at-once", "for i in 1 2 3 4 5 6 7 8; do $run --rm $image $n-$i echo $i & done | sort | tr -d '\\n'; wait", Is("12345678")),
    ctr("ctr.tasks.start", "$run $image $n echo hello; ctr tasks ls -q | grep $n; for i in 1 2; do ctr tasks start $n; ctr tasks ls -q | grep $n; done; ctr containers rm $n", Is("hello\nhello\nhello")),
    ctr("ctr.tasks.ls", "$run -d $image $n sleep 60; ctr tasks ls | awk \"/^$n /{print \\$3}\"; ctr tasks kill -s KILL $n; soon 'ctr tasks ls | grep -q \"^$n .*STOPPED\"'; status_of $n; ctr containers rm $n", Is("RUNNING\n137")),
    ctr("ctr.tasks.rm", "$run -d $image $n sleep 60; ctr tasks rm $n 2>&1 | grep -o 'must be stopped before deletion' | head -1; ctr tasks rm -f $n; ctr tasks ls -q | grep $n; ctr containers rm $n", Is("must be stopped before deletion")),
    ctr("ctr.tasks.exec.output", "$run -d $image $n sleep 60; ctr tasks exec --exec-id e $n sh -c 'echo out; echo err >&2' 2>&1 | sort; ctr tasks rm -f $n; ctr containers rm $n", Is("err\nout")),
    ctr("ctr.tasks.exec.status", "$run -d $image $n sleep 60; ctr tasks exec --exec-id e $n sh -c 'exit 9'; echo $?; ctr tasks exec --exec-id f $n sh -c 'kill -9 $$'; echo $?; ctr tasks rm -f $n; ctr containers rm $n", Is("9\n137")),
    ctr("ctr.tasks.exec.missing-program", "$run -d $image $n sleep 60; ctr tasks exec --exec-id e $n nowhere 2>$w/e; echo $?; grep -o 'OCI runtime exec failed: .*' $w/e | grep -o 'exec: \"nowhere\": executable file not found in $PATH'; ctr tasks exec --exec-id f $n echo hello; ctr tasks rm -f $n; ctr containers rm $n", Is("1\nexec: \"nowhere\": executable file not found in $PATH\nhello")),
    ctr("ctr.tasks.exec.tty", "$run -d $image $n sleep 60; on_terminal \"ctr tasks exec -t --exec-id e $n tty\"; ctr tasks rm -f $n; ctr containers rm $n", Has("/dev/pts/0")),
    ctr("ctr.tasks.exec.user", "$run -d $image $n sleep 60; ctr tasks exec --user 5:6 --cwd /tmp --exec-id e $n sh -c 'id; pwd'; ctr tasks exec --user user --exec-id f $n id -u; ctr tasks rm -f $n; ctr containers rm $n", Is("uid=5 gid=6 groups=6\n/tmp\n1000")),
    ctr("ctr.tasks.exec.stdin", "$run -d $image $n sleep 60; echo hello | ctr tasks exec --exec-id e $n cat; ctr tasks rm -f $n; ctr containers rm $n", Is("hello")),
    ctr("ctr.tasks.exec.detach", "$run -d $image $n sleep 60; ctr tasks exec -d --exec-id e $n sleep 61; ctr tasks exec --exec-id f $n ps | grep -c 'sleep 6[01]$'; ctr tasks kill --exec-id e -s KILL $n; soon '! ctr tasks exec --exec-id g$(date +%N) $n ps | grep -q sleep.61'; ctr tasks ls | awk \"/^$n /{print \\$3}\"; ctr tasks rm -f $n; ctr containers rm $n", Is("2\nRUNNING")),
    ctr("ctr.tasks.exec.same-confinement", "$run -d --seccomp --cap-drop CAP_CHOWN $image $n sleep 60; ctr tasks exec --exec-id e $n sh -c 'cmp /proc/1/cgroup /proc/self/cgroup && grep -E \"CapEff|NoNewPrivs|Seccomp:\" /proc/self/status'; ctr tasks rm -f $n; ctr containers rm $n", Is("CapEff:\t00000000a80425fa\nNoNewPrivs:\t1\nSeccomp:\t2")),
    ctr("ctr.tasks.kill.signal", "$run -d --log-uri file://$w/log $image $n sh -c 'trap \"echo got\" HUP; trap \"exit 5\" TERM; echo ready; while :; do sleep 0.1; done'; soon 'grep -q ready $w/log'; ctr tasks kill -s HUP $n; soon 'grep -q got $w/log'; ctr tasks kill $n; soon 'ctr tasks ls | grep -q \"^$n .*STOPPED\"'; status_of $n; ctr containers rm $n; cat $w/log", Is("5\nready\ngot")),
    ctr("ctr.tasks.kill.stopped", "$run -d $image $n true; soon 'ctr tasks ls | grep -q \"^$n .*STOPPED\"'; ctr tasks kill $n 2>&1 | grep -o 'process already finished: not found'; ctr tasks rm $n; ctr containers rm $n", Is("process already finished: not found")),
    ctr("ctr.tasks.kill.all", "$run -d $image $n sh -c 'sleep 60 & sleep 61 & wait'; p=$(ctr tasks ls | awk \"/^$n /{print \\$2}\"); soon '[ $(ctr tasks ps $n | wc -l) = 4 ]'; ctr tasks kill --all -s KILL $n; soon 'ctr tasks ls | grep -q \"^$n .*STOPPED\"'; status_of $n; ctr containers rm $n", Is("137")),
    ctr("ctr.tasks.pause", "$run -d --log-uri file://$w/log $image $n sh -c 'while :; do echo; sleep 0.05; done'; soon '[ -s $w/log ]'; ctr tasks pause $n; ctr tasks ls | awk \"/^$n /{print \\$3}\"; a=$(wc -c <$w/log); sleep 0.3; [ $a = $(wc -c <$w/log) ] && echo still; ctr tasks resume $n; ctr tasks ls | awk \"/^$n /{print \\$3}\"; soon '[ $a -lt $(wc -c <$w/log) ]'; ctr tasks rm -f $n; ctr containers rm $n", Is("PAUSED\nstill\nRUNNING")),
    ctr("ctr.tasks.pause.kill", "$run -d $image $n sleep 60; ctr tasks pause $n; ctr tasks kill -s KILL $n; ctr tasks resume $n; soon 'ctr tasks ls | grep -q \"^$n .*STOPPED\"'; status_of $n; ctr containers rm $n", Has("137")),
    ctr("ctr.tasks.ps", "$run -d $image $n sh -c 'sleep 60 & wait'; soon '[ $(ctr tasks ps $n | wc -l) = 3 ]'; for p in $(ctr tasks ps $n | awk 'NR>1{print $1}'); do cat /proc/$p/comm; done; ctr tasks rm -f $n; ctr containers rm $n", Is("sh\nsleep")),
    ctr("ctr.tasks.metrics", "$run -d --memory-limit 33554432 $image $n sleep 60; ctr tasks metrics $n | awk '/memory.limit_in_bytes|memory.usage.limit|pids.current/{print $NF}'; ctr tasks rm -f $n; ctr containers rm $n", Has("33554432")).on_v1(),
    ctr("ctr.tasks.attach", "$run -d $image $n sh -c 'trap \"echo got; exit 4\" USR1; while :; do echo tick; sleep 0.1; done' >/dev/null; ctr tasks attach $n > $w/out & a=$!; soon 'grep -q tick $w/out'; ctr tasks kill -s USR1 $n; wait $a; echo $?; grep -v tick $w/out; ctr containers rm $n", Is("4\ngot")),
    restarted("ctr.restart.term", RESTART_TERM, Is("hello\n9\n5\n6")),
    restarted("ctr.restart.kill", RESTART_KILL, Is("hello\n9\n5\n6")),
];

const RESTART_TERM: &str = concat!(
    "signal=TERM\n",
    include_str!("../../engines/ctr-restart.sh")
);
const RESTART_KILL: &str = concat!(
    "signal=KILL\n",
    include_str!("../../engines/ctr-restart.sh")
);
