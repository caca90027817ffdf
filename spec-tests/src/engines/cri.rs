//! The CRI plugin, as the kubelet uses it: a row is what somebody types, and what they see.
//!
//! `cri` is our own small client (`spec-tests/cri`); fields have the names of the protocol. containerd 1.6 has no user
//! namespaces for pods, so that there is no row for them.

use super::Which;
use super::row::Sees::{Has, Is};
use super::row::{Row, Sees, row};

const fn cri(name: &'static str, script: &'static str, sees: Sees) -> Row {
    row(name, script, sees).under(Which::Containerd)
}

/// Under a containerd that ends and comes back while pods run.
const fn restarted(name: &'static str, script: &'static str, sees: Sees) -> Row {
    row(name, script, sees).under(Which::Mortal).within(180)
}

#[rustfmt::skip] // a row a line
pub(super) const ROWS: &[Row] = &[
    cri("cri.version", "cri version version runtime_name runtime_api_version", Is("0.1.0 containerd v1")),
    cri("cri.node-status", "cri info status.conditions.0.type status.conditions.0.status status.conditions.1.type status.conditions.1.status", Is("RuntimeReady true NetworkReady true")),
    cri("cri.runtime-class", "$pod $n > $w/p; p=$(cat $w/p); cri pod-status $p status.runtime_handler info.runtimeOptions.binary_name | sed \"s|$runtime|ours|\"; readlink /proc/$(cri pod-status $p info.pid)/ns/pid | cut -d: -f1; ls /run/containerd/runc/k8s.io/$p | grep -c state; cri rm-pod $p", Has("longshore ours\npid\n")),
    cri("cri.runtime-class.unknown", "cri run-pod --runtime nowhere $n 2>&1", Has("no runtime for \"nowhere\" is configured")),
    cri("cri.pod.ready", "p=$($pod $n); cri pod-status $p status.state; cri pods | grep -c \"^$p $n READY\"; cri stop-pod $p; cri pod-status $p status.state; cri rm-pod $p; cri pods | grep -c $p; ls -d /sys/fs/cgroup/*$CRI_CGROUP/$p /run/containerd/runc/k8s.io/$p 2>/dev/null; grep $p /proc/mounts", Is("READY\n1\nNOTREADY\n0")),
    cri("cri.pod.sandbox-killed", "p=$($pod $n); kill -9 $(cri pod-status $p info.pid); soon '[ $(cri pod-status $p status.state) = NOTREADY ]'; cri rm-pod $p; cri pods | grep -c $p", Is("0")),
    cri("cri.pod.labels", "p=$($pod $n labels.app=$n annotations.a/b=c); cri pods app=$n | grep -c \"^$p \"; cri pods app=other-$n | wc -l; cri pod-status $p status.annotations.a/b; cri rm-pod $p", Is("1\n0\nc")),
    cri("cri.pod.network", "p=$($pod $n); q=$($pod $n-b); a=$(cri pod-status $p status.network.ip); c=$(cri run $p web -- sh -c 'echo hello > /tmp/index.html; exec httpd -f -h /tmp'); d=$(cri run $q client -- sleep 60); soon \"cri exec $c wget -qO /dev/null http://127.0.0.1/\"; cri exec $d wget -qO- http://$a/; cri exec $d ip -o -4 address | grep -c $a; cri rm-pod $p $q", Is("hello\n0")),
    cri("cri.pod.host-network", "p=$($pod $n linux.security_context.namespace_options.network=NODE hostname=); c=$(cri run $p c -- sleep 60); cri exec $c readlink /proc/self/ns/net > $w/a; readlink /proc/self/ns/net | cmp - $w/a && echo same; cri rm-pod $p", Is("same")),
    cri("cri.pod.host-pid", "p=$($pod $n linux.security_context.namespace_options.pid=NODE); c=$(cri run $p c -- sleep 60); cri exec $c readlink /proc/self/ns/pid > $w/a; readlink /proc/self/ns/pid | cmp - $w/a && echo same; cri stop $c 0; cri status $c status.exit_code; cri rm-pod $p", Is("same\n137")),
    cri("cri.pod.host-ipc", "p=$($pod $n linux.security_context.namespace_options.ipc=NODE); c=$(cri run $p c -- sleep 60); cri exec $c readlink /proc/self/ns/ipc > $w/a; readlink /proc/self/ns/ipc | cmp - $w/a && echo same; cri rm-pod $p", Is("same")),
    cri("cri.pod.shared-pid", "p=$($pod $n linux.security_context.namespace_options.pid=POD); c=$(cri run $p c -- sleep 61); d=$(cri run $p d -- sleep 62); cri exec $d ps | grep -c 'sleep 6[12]$'; cri exec $d cat /proc/1/cmdline | tr '\\0' ' '; echo; cri stop $c 0; cri status $c status.exit_code; cri status $d status.state; cri rm-pod $p", Is("2\nsleep 1000000 \n137\nRUNNING")),
    cri("cri.pod.shared-pid.orphans", "p=$($pod $n linux.security_context.namespace_options.pid=POD); c=$(cri run $p c -- sh -c 'sleep 61 & sleep 62'); d=$(cri run $p d -- sleep 63); soon \"cri exec $d ps | grep -q 'sleep 61$'\"; cri stop $c 0; cri exec $d ps | grep -c 'sleep 6[12]$'; cri rm-pod $p", Is("0")),
    cri("cri.pod.namespaces-apart", "p=$($pod $n); c=$(cri run $p c -- sleep 61); d=$(cri run $p d -- sleep 62); cri exec $d ps | grep -c 'sleep 61$'; for s in net ipc uts; do [ $(cri exec $c readlink /proc/self/ns/$s) = $(cri exec $d readlink /proc/self/ns/$s) ] && echo $s; done; [ $(cri exec $c readlink /proc/self/ns/mnt) = $(cri exec $d readlink /proc/self/ns/mnt) ] || echo apart; cri rm-pod $p", Is("0\nnet\nipc\nuts\napart")),
    cri("cri.pod.hostname", "p=$($pod $n hostname=pier); c=$(cri run $p c -- sleep 60); cri exec $c sh -c 'hostname; grep -c pier /etc/hostname'; cri rm-pod $p", Is("pier\n1")),
    cri("cri.pod.dns", "p=$($pod $n dns_config.servers='[\"10.9.8.7\"]' dns_config.searches='[\"pier.local\"]' dns_config.options='[\"ndots:5\"]'); c=$(cri run $p c -- sleep 60); cri exec $c cat /etc/resolv.conf; cri rm-pod $p", Is("search pier.local\nnameserver 10.9.8.7\noptions ndots:5")),
    cri("cri.pod.sysctl", "p=$($pod $n linux.sysctls='{\"net.ipv4.ip_local_port_range\":\"1024 2048\",\"kernel.shm_rmid_forced\":\"1\"}'); c=$(cri run $p c -- sleep 60); cri exec $c cat /proc/sys/net/ipv4/ip_local_port_range /proc/sys/kernel/shm_rmid_forced | tr '\\t' ' '; cri rm-pod $p; cat /proc/sys/kernel/shm_rmid_forced", Is("1024 2048\n1\n0")),
    cri("cri.container.states", "p=$($pod $n); c=$(cri create $p c -- sleep 60); cri status $c status.state; cri start $c; cri status $c status.state; cri ps | grep -c \"^$c c RUNNING\"; cri stop $c; cri status $c status.state status.exit_code status.reason; cri rm $c; cri ps | grep -c $c; cri rm-pod $p", Is("CREATED\nRUNNING\n1\nEXITED 137 Error\n0")),
    cri("cri.container.completed", "p=$($pod $n); c=$(cri run $p c -- true); d=$(cri run $p d -- sh -c 'exit 3'); cri wait $c EXITED; cri wait $d EXITED; cri status $c status.exit_code status.reason; cri status $d status.exit_code status.reason; cri rm-pod $p", Is("0 Completed\n3 Error")),
    cri("cri.container.stop.grace", "p=$($pod $n log_directory=$w); c=$(cri run $p c -- sh -c 'trap \"exit 5\" TERM; echo ready; while :; do sleep 0.1; done'); d=$(cri run $p d -- sh -c 'trap \"\" TERM; echo ready; while :; do sleep 0.1; done'); e=$(cri run $p e linux.security_context.namespace_options.pid=NODE -- sleep 60); soon 'grep -q ready $w/c.log && grep -q ready $w/d.log'; for i in $c $d $e; do cri stop $i 1; cri status $i status.exit_code; done; cri rm-pod $p", Is("5\n137\n143")),
    cri("cri.container.restart", "p=$($pod $n); c=$(cri run $p c -- false); cri wait $c EXITED; d=$(cri run $p c metadata.attempt=1 -- sleep 60); cri status $d status.metadata.attempt status.state; cri rm $c; cri exec $d echo hello; cri rm-pod $p", Is("1 RUNNING\nhello")),
    cri("cri.container.missing-program", "p=$($pod $n); c=$(cri create $p c -- nowhere); cri start $c 2>&1 | grep -o 'exec: \"nowhere\": executable file not found in $PATH'; cri status $c status.state status.exit_code status.reason; cri rm-pod $p", Is("exec: \"nowhere\": executable file not found in $PATH\nEXITED 128 StartError")),
    cri("cri.container.environment", "p=$($pod $n); c=$(cri run $p c envs='[{\"key\":\"A\",\"value\":\"1 2\"}]' working_dir=/made/here -- sleep 60); cri exec $c sh -c 'pwd; echo $A $PATH $HOSTNAME' | sed \"s/$n/name/\"; cri rm-pod $p", Is("/made/here\n1 2 /bin name")),
    cri("cri.container.labels", "p=$($pod $n); c=$(cri create $p c labels.app=$n annotations.a/b=c -- true); cri ps app=$n | grep -c \"^$c \"; cri ps app=other-$n | wc -l; cri status $c status.annotations.a/b; cri rm-pod $p", Is("1\n0\nc")),
    cri("cri.container.logs", "p=$($pod $n log_directory=$w); c=$(cri run $p c -- sh -c 'echo out; echo err >&2; printf part'); cri wait $c EXITED; cri rm-pod $p; sed -E 's/^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+(Z|[+-][0-9:]+) /time /' $w/c.log | sort", Is("time stderr F err\ntime stdout F out\ntime stdout P part")),
    cri("cri.container.logs.rotated", "p=$($pod $n log_directory=$w); c=$(cri run $p c -- sh -c 'i=0; while :; do i=$((i + 1)); echo line $i; sleep 0.05; done'); soon '[ -s $w/c.log ]'; mv $w/c.log $w/old; cri reopen-log $c; soon '[ -s $w/c.log ]'; cri stop $c; cat $w/old $w/c.log | awk '{ if ($5 != NR) bad = 1 } END { print bad + 0 }'; cri rm-pod $p", Is("0")),
    cri("cri.container.tty", "p=$($pod $n log_directory=$w); c=$(cri run $p c tty=true -- sh -c 'tty; tty >&2'); cri wait $c EXITED; grep -c 'stdout F /dev/pts/0' $w/c.log; cri rm-pod $p", Is("2")),
    cri("cri.container.mounts", "mkdir $w/v; echo hello > $w/v/x; p=$($pod $n); c=$(cri run $p c mounts='[{\"container_path\":\"/rw\",\"host_path\":\"'$w/v'\"},{\"container_path\":\"/ro\",\"host_path\":\"'$w/v'\",\"readonly\":true}]' -- sleep 60); cri exec $c sh -c 'cat /ro/x; touch /ro/y; touch /rw/z' 2>&1; ls $w/v; cri status $c status.mounts.1.readonly; cri rm-pod $p", Is("hello\ntouch: /ro/y: Read-only file system\nx\nz\ntrue")),
    cri("cri.container.mounts.propagation", MOUNTS, Is("PRIVATE\nHOST_TO_CONTAINER late\nBIDIRECTIONAL late back")),
    cri("cri.container.termination-message", "touch $w/message; p=$($pod $n); c=$(cri run $p c mounts='[{\"container_path\":\"/dev/termination-log\",\"host_path\":\"'$w/message'\"}]' -- sh -c 'echo the end > /dev/termination-log'); cri wait $c EXITED; cat $w/message; cri rm-pod $p", Is("the end")),
    cri("cri.container.devices", "mknod $w/log c 1 11; p=$($pod $n); c=$(cri run $p c devices='[{\"container_path\":\"/dev/mine\",\"host_path\":\"'$w/log'\",\"permissions\":\"w\"}]' -- sleep 60); cri exec $c sh -c ': >>/dev/mine && echo open; head -c 1 /dev/mine; mknod /loop b 7 0; head -c 1 /loop' 2>&1; cri rm-pod $p", Is("open\nhead: /dev/mine: Operation not permitted\nhead: /loop: Operation not permitted")),
    cri("cri.container.limits", "p=$($pod $n); c=$(cri run $p c linux.resources='{\"memory_limit_in_bytes\":33554432,\"cpu_period\":100000,\"cpu_quota\":50000,\"cpu_shares\":512,\"cpuset_cpus\":\"0\",\"oom_score_adj\":900}' -- sleep 60); d=$CRI_CGROUP/$c; cd /sys/fs/cgroup; cat memory$d/memory.limit_in_bytes cpu$d/cpu.cfs_quota_us cpu$d/cpu.shares cpuset$d/cpuset.cpus /proc/$(cri status $c info.pid)/oom_score_adj; cri rm-pod $p", Is("33554432\n50000\n512\n0\n900")).on_v1(),
    cri("cri.container.update", "p=$($pod $n); c=$(cri run $p c linux.resources.memory_limit_in_bytes=33554432 -- sleep 60); cri update $c memory_limit_in_bytes=50331648 cpu_shares=512 cpu_period=100000 cpu_quota=20000 cpuset_cpus='\"0\"'; d=$CRI_CGROUP/$c; cd /sys/fs/cgroup; cat memory$d/memory.limit_in_bytes cpu$d/cpu.cfs_quota_us cpu$d/cpu.shares cpuset$d/cpuset.cpus; cri rm-pod $p", Is("50331648\n20000\n512\n0")).on_v1(),
    cri("cri.container.oom", "p=$($pod $n); c=$(cri run $p c linux.resources.memory_limit_in_bytes=16777216 -- sh -c 'dd if=/dev/zero of=/dev/null bs=64M count=1; sleep 2; exit 137'); cri wait $c EXITED; soon '[ $(cri status $c status.reason) = OOMKilled ]'; cri status $c status.exit_code status.reason; cri rm-pod $p", Is("137 OOMKilled")).on_v1(),
    cri("cri.container.stats", "p=$($pod $n); c=$(cri run $p c -- sleep 60); cri stats $c stats.cpu.usage_core_nano_seconds.value stats.memory.working_set_bytes.value | awk '{ print ($1 > 0), ($2 > 0) }'; cri rm-pod $p", Is("1 1")).on_v1(),
    cri("cri.exec.output", "p=$($pod $n); c=$(cri run $p c -- sleep 60); cri exec $c sh -c 'echo out; echo err >&2; exit 9' >$w/out 2>$w/err; echo $?; cat $w/out; cat $w/err; cri exec $c sh -c 'kill -9 $$'; echo $?; cri rm-pod $p", Is("9\nout\nerr\n137")),
    cri("cri.exec.long-output", "p=$($pod $n); c=$(cri run $p c -- sleep 60); cri exec $c sh -c 'head -c 3000000 /dev/zero' | wc -c; cri rm-pod $p", Is("3000000")),
    cri("cri.exec.timeout", "p=$($pod $n); c=$(cri run $p c -- sleep 60); cri exec --timeout 1 $c sleep 61 2>&1 | grep -o 'DeadlineExceeded\\|timeout 1s exceeded' | sort -u; cri exec $c ps | grep -c 'sleep 61$'; cri status $c status.state; cri rm-pod $p", Is("DeadlineExceeded\ntimeout 1s exceeded\n0\nRUNNING")),
    cri("cri.exec.missing-program", "p=$($pod $n); c=$(cri run $p c -- sleep 60); cri exec $c nowhere 2>&1 | grep -o 'exec: \"nowhere\": executable file not found in $PATH'; cri rm-pod $p", Is("exec: \"nowhere\": executable file not found in $PATH")),
    cri("cri.exec.stopped", "p=$($pod $n); c=$(cri run $p c -- true); cri wait $c EXITED; cri exec $c true 2>&1 | grep -o 'container is in CONTAINER_EXITED state'; cri rm-pod $p", Is("container is in CONTAINER_EXITED state")),
    cri("cri.exec.like-container", "p=$($pod $n); c=$(cri run $p c linux.security_context='{\"run_as_user\":{\"value\":5},\"run_as_group\":{\"value\":6},\"no_new_privs\":true,\"seccomp\":{\"profile_type\":\"RuntimeDefault\"}}' linux.resources.memory_limit_in_bytes=33554432 -- sleep 60); cri exec $c sh -c 'id; cmp /proc/1/cgroup /proc/self/cgroup; grep -hE \"Cap(Eff|Bnd)|NoNewPrivs|Seccomp:\" /proc/self/status' > $w/a; grep -hE 'Cap(Eff|Bnd)|NoNewPrivs|Seccomp:' /proc/$(cri status $c info.pid)/status > $w/b; tail -n 4 $w/a | cmp - $w/b && cat $w/a; cri rm-pod $p", Is("uid=5 gid=6 groups=6\nCapEff:\t0000000000000000\nCapBnd:\t00000000a80425fb\nNoNewPrivs:\t1\nSeccomp:\t2")),
    cri("cri.security.user", "p=$($pod $n); c=$(cri run $p c linux.security_context='{\"run_as_user\":{\"value\":5},\"run_as_group\":{\"value\":6},\"supplemental_groups\":[7,8]}' -- sleep 60); cri exec $c sh -c 'grep -E \"^(Uid|Gid|Groups)\" /proc/1/status' | tr -s '\\t ' ' ' | sed 's/ $//'; d=$(cri run $p d linux.security_context.run_as_username=user -- sleep 60); cri exec $d id -u; cri rm-pod $p", Is("Uid: 5 5 5 5\nGid: 6 6 6 6\nGroups: 6 7 8\n1000")),
    cri("cri.security.readonly-root", "p=$($pod $n); c=$(cri run $p c linux.security_context.readonly_rootfs=true -- sleep 60); cri exec $c sh -c 'touch /x 2>&1; touch /dev/shm/x && echo shm'; cri rm-pod $p", Is("touch: /x: Read-only file system\nshm")),
    cri("cri.security.capabilities", "p=$($pod $n); c=$(cri run $p c linux.security_context.capabilities='{\"add_capabilities\":[\"SYS_TIME\"],\"drop_capabilities\":[\"CHOWN\"]}' -- sleep 60); d=$(cri run $p d linux.security_context.capabilities='{\"add_capabilities\":[\"CHOWN\"],\"drop_capabilities\":[\"ALL\"]}' -- sleep 60); for i in $c $d; do grep -hE 'Cap(Eff|Bnd)' /proc/$(cri status $i info.pid)/status; done; cri rm-pod $p", Is("CapEff:\t00000000aa0425fa\nCapBnd:\t00000000aa0425fa\nCapEff:\t0000000000000001\nCapBnd:\t0000000000000001")),
    cri("cri.security.no-new-privs", "p=$($pod $n); c=$(cri run $p c linux.security_context.no_new_privs=true -- sleep 60); d=$(cri run $p d -- sleep 60); for i in $c $d; do grep NoNewPrivs /proc/$(cri status $i info.pid)/status; done; cri rm-pod $p", Is("NoNewPrivs:\t1\nNoNewPrivs:\t0")),
    cri("cri.security.seccomp", "echo '{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[{\"names\":[\"mkdir\",\"mkdirat\"],\"action\":\"SCMP_ACT_ERRNO\"}]}' > $w/filter; p=$($pod $n); for f in '{\"profile_type\":\"RuntimeDefault\"}' '{\"profile_type\":\"Unconfined\"}' '{\"profile_type\":\"Localhost\",\"localhost_ref\":\"'$w/filter'\"}'; do i=$((i + 1)); c=$(cri run $p c$i linux.security_context.seccomp=\"$f\" -- sleep 60); cri exec $c sh -c 'grep Seccomp: /proc/1/status; unshare -n true && echo unshared; mkdir /x && echo made' 2>/dev/null; done; cri rm-pod $p", Is("Seccomp:\t2\nmade\nSeccomp:\t0\nmade\nSeccomp:\t2")),
    cri("cri.security.masked", "p=$($pod $n); c=$(cri run $p c linux.security_context.masked_paths='[\"/proc/version\",\"/proc/sys/kernel\"]' linux.security_context.readonly_paths='[\"/proc/sys/vm\"]' -- sleep 60); cri exec $c sh -c 'wc -c < /proc/version; ls /proc/sys/kernel | wc -l; grep -c \" /proc/sys/vm proc ro\" /proc/mounts; wc -c < /proc/uptime | wc -l'; cri rm-pod $p", Is("0\n0\n1\n1")),
    cri("cri.security.privileged", PRIVILEGED, Is("same\nSeccomp:\t0\nwritable\nread")),
    restarted("cri.restart.term", RESTART_TERM, Is("READY\nRUNNING\nhello\n9\n3\nEXITED 5\nafterwards\nnothing left")),
    restarted("cri.restart.kill", RESTART_KILL, Is("READY\nRUNNING\nhello\n9\n3\nEXITED 5\nafterwards\nnothing left")),
    restarted("cri.installer", INSTALLER, Is("installed 0\nthe page's text\nhello\nagain 0\nnot restarted\npods still use it\nrolled back 1\nrolled back 0\nas before\nno runtime for \"longshore\" is configured\ncontainerd does not come up with it: rolled back\ninstalled 1\nas before\nready\ninstalled 0\nconfig of 2 runtimes\nrolled back 0\nnothing left\nconfig.toml is not of version 2\ninstalled 1")),
    cri("cri.many.pods", MANY, Is("0 failed\nnothing left")).within(600),
    cri("cri.many.probes", PROBES, Is("0 0\nRUNNING")).within(600),
];

const MOUNTS: &str = include_str!("../../engines/cri-propagation.sh");
const PRIVILEGED: &str = include_str!("../../engines/cri-privileged.sh");
const RESTART_TERM: &str = concat!(
    "signal=TERM\n",
    include_str!("../../engines/cri-restart.sh")
);
const RESTART_KILL: &str = concat!(
    "signal=KILL\n",
    include_str!("../../engines/cri-restart.sh")
);
const INSTALLER: &str = concat!(
    "cat >$w/installer.yaml <<'END_OF_YAML'\n",
    include_str!("../../../docs/engines/kubernetes/installer.yaml"),
    "END_OF_YAML\n",
    include_str!("../../engines/cri-installer.sh")
);
const MANY: &str = include_str!("../../engines/cri-many.sh");
const PROBES: &str = include_str!("../../engines/cri-probes.sh");
