# A privileged container may all that containerd itself may, and sees the host's devices.
p=$($pod "$n" linux.security_context.privileged=true)
c=$(cri run "$p" c linux.security_context.privileged=true -- sleep 60)
pid=$(cri status "$c" info.pid)
grep CapPrm "/proc/$(cat "$engine/pid")/status" | cut -f2 >"$w/ours"
grep CapEff "/proc/$pid/status" | cut -f2 | cmp - "$w/ours" && echo same
grep Seccomp: "/proc/$pid/status"
cri exec "$c" sh -c 'echo pier.local > /proc/sys/kernel/domainname && echo writable'
cri exec "$c" sh -c 'mknod /log c 1 11 && (: >>/log) && echo read'
cri rm-pod "$p"
