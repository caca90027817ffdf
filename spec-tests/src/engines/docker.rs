//! Docker: a row is what somebody types, and what they see.

use std::time::Duration;

use crate::runtime::Call;
use crate::suite::{Case, Check, Known, Suite, View, ensure};

/// What a script must print.
#[derive(Clone, Copy)]
pub(crate) enum Sees {
    /// Exactly this.
    Is(&'static str),
    /// This among other things.
    Has(&'static str),
}

use Sees::{Has, Is};

/// One test: a shell script over `docker`; `$n` is a name of its own.
pub(crate) struct Row {
    name: &'static str,
    script: &'static str,
    sees: Sees,
    remapped: bool,
    view: View,
}

const fn row(name: &'static str, script: &'static str, sees: Sees) -> Row {
    Row {
        name,
        script,
        sees,
        remapped: false,
        view: View::Any,
    }
}

impl Row {
    /// With limits or the like of cgroup v1.
    const fn on_v1(self) -> Row {
        Row {
            view: View::V1,
            ..self
        }
    }

    /// Under the daemon with `userns-remap`.
    const fn remapped(self) -> Row {
        Row {
            remapped: true,
            ..self
        }
    }
}

/// How long a script may take.
const LIMIT: Duration = Duration::from_secs(90);

impl Case for Row {
    fn name(&self) -> String {
        format!("docker.{}", self.name)
    }

    fn known(&self) -> Known {
        &[]
    }

    fn view(&self) -> View {
        self.view
    }

    fn check(&self, suite: &Suite) -> Check {
        let socket = suite.engines.socket(suite, self.remapped)?;
        let name = format!("t{}", suite.next());
        let dir = suite.dir.join(&name);
        std::fs::create_dir(&dir)?;
        let script = format!(
            "export DOCKER_HOST={socket}; n={name}; w={}; {}",
            dir.display(),
            self.script
        );
        let call = Call {
            program: "/bin/sh".into(),
            args: vec!["-c".into(), script],
            dir,
            setup: String::new(),
            fds: Vec::new(),
            ignored: &[],
            env: Vec::new(),
            stdin: None,
            stdout: None,
            stderr: None,
        };
        let ran = call.spawn()?.wait(LIMIT)?;
        let seen = ran.stdout.replace('\r', "");
        let seen = seen.trim();
        let good = match self.sees {
            Is(text) => seen == text,
            Has(text) => seen.contains(text),
        };
        ensure!(good, "{}", ran.story());
        Ok(())
    }
}

#[rustfmt::skip] // a row a line
pub(crate) const PLAIN: &[Row] = &[
    row("info.default-runtime", "docker info -f '{{.DefaultRuntime}}'", Is("tested")),
    row("run.output", "docker run --rm busybox echo hello", Is("hello")),
    row("run.stderr", "docker run --rm busybox sh -c 'echo no >&2' 2>&1", Is("no")),
    row("run.status", "docker run --rm busybox sh -c 'exit 7'; echo $?", Is("7")),
    row("run.status.signal", "docker run --rm --pid host busybox sh -c 'kill -9 $$'; echo $?", Is("137")),
    row("run.missing-program", "docker run --rm busybox nowhere 2>$w/e; echo $?; grep -o 'executable file not found in $PATH' $w/e", Is("127\nexecutable file not found in $PATH")),
    row("run.missing-path", "docker run --rm busybox /no/where 2>$w/e; echo $?; grep -o 'no such file or directory' $w/e", Is("127\nno such file or directory")),
    row("run.not-executable", "docker run --rm busybox /etc/passwd 2>$w/e; echo $?; grep -o 'permission denied' $w/e", Is("126\npermission denied")),
    row("run.directory", "docker run --rm busybox /etc 2>/dev/null; echo $?", Is("126")),
    row("run.other-error", "docker run --rm -v /dev/null:/proc/kcore/x busybox true 2>/dev/null; echo $?", Is("125")),
    row("run.stdin", "echo hello | docker run --rm -i busybox cat", Is("hello")),
    row("run.tty", "script -qec 'docker run --rm -it busybox tty' /dev/null </dev/null", Has("/dev/pts/0")),
    row("run.tty.size", "script -qec 'stty rows 33 cols 77; docker run --rm -it busybox sh -c \"sleep 0.5; stty size\"' /dev/null </dev/null", Has("33 77")),
    row("run.detach.logs", "docker run -d --name $n busybox echo hello >/dev/null; docker wait $n; docker logs $n; docker rm $n >/dev/null", Is("0\nhello")),
    row("run.rm", "docker run --rm --name $n busybox true; docker ps -aq -f name=$n", Is("")),
    row("run.env", "docker run --rm -e A=1 busybox env", Has("A=1")),
    row("run.env.home", "docker run --rm busybox sh -c 'echo $HOME'", Is("/root")),
    row("run.env.home.user", "docker run --rm -u user busybox sh -c 'echo $HOME'", Is("/home/user")),
    row("run.workdir", "docker run --rm -w /made/here busybox pwd", Is("/made/here")),
    row("run.hostname", "docker run --rm -h pier busybox hostname", Is("pier")),
    row("run.pid-1", "docker run --rm busybox sh -c 'echo $$'", Is("1")),
    row("run.user", "docker run --rm -u 5:6 --group-add 7 busybox id", Is("uid=5 gid=6 groups=6,7")),
    row("run.user.name", "docker run --rm -u user busybox id -u", Is("1000")),
    row("run.init", "docker run --rm --init busybox sh -c 'cat /proc/1/comm'", Has("init")),
    row("run.eight-at-once", "for i in 1 2 3 4 5 6 7 8; do docker run --rm busybox echo $i & done | sort | tr -d '\\n'; wait", Is("12345678")),
    row("run.restart-policy", "docker run -d --name $n --restart on-failure:2 busybox false >/dev/null; for i in $(seq 50); do [ $(docker inspect -f '{{.RestartCount}}{{.State.Running}}' $n) = 2false ] && break; sleep 0.2; done; docker inspect -f '{{.RestartCount}}' $n; docker rm -f $n >/dev/null", Is("2")),
    row("run.healthcheck", "docker run -d --name $n --health-cmd true --health-interval 0.2s busybox sleep 60 >/dev/null; for i in $(seq 50); do [ $(docker inspect -f '{{.State.Health.Status}}' $n) = healthy ] && break; sleep 0.2; done; docker inspect -f '{{.State.Health.Status}}' $n; docker rm -f $n >/dev/null", Is("healthy")),
    row("exec.output", "docker run -d --name $n busybox sleep 60 >/dev/null; docker exec $n hostname | wc -c; docker rm -f $n >/dev/null", Is("13")),
    row("exec.status", "docker run -d --name $n busybox sleep 60 >/dev/null; docker exec $n sh -c 'exit 9'; echo $?; docker rm -f $n >/dev/null", Is("9")),
    row("exec.missing-program", "docker run -d --name $n busybox sleep 60 >/dev/null; docker exec $n nowhere >$w/e 2>&1; echo $?; grep -o 'executable file not found in $PATH' $w/e; docker rm -f $n >/dev/null", Has("executable file not found in $PATH")),
    row("exec.stdin", "docker run -d --name $n busybox sleep 60 >/dev/null; echo hello | docker exec -i $n cat; docker rm -f $n >/dev/null", Is("hello")),
    row("exec.tty", "docker run -d --name $n busybox sleep 60 >/dev/null; script -qec \"docker exec -it $n tty\" /dev/null </dev/null; docker rm -f $n >/dev/null", Has("/dev/pts/")),
    row("exec.user", "docker run -d --name $n busybox sleep 60 >/dev/null; docker exec -u 5:6 $n id; docker rm -f $n >/dev/null", Is("uid=5 gid=6 groups=6")),
    row("exec.environment", "docker run -d --name $n busybox sleep 60 >/dev/null; docker exec -w /tmp -e A=1 $n sh -c 'pwd; echo $A $HOME'; docker rm -f $n >/dev/null", Is("/tmp\n1 /root")),
    row("exec.detach", "docker run -d --name $n busybox sleep 60 >/dev/null; docker exec -d $n touch /made; sleep 1; docker exec $n ls /made; docker rm -f $n >/dev/null", Is("/made")),
    row("exec.same-cgroup", "docker run -d --name $n busybox sleep 60 >/dev/null; docker exec $n cat /proc/1/cgroup > $w/a; docker exec $n cat /proc/self/cgroup > $w/b; cmp $w/a $w/b && echo same; docker rm -f $n >/dev/null", Is("same")),
    row("exec.same-filter", "docker run -d --name $n busybox sleep 60 >/dev/null; docker exec $n grep Seccomp: /proc/self/status; docker rm -f $n >/dev/null", Is("Seccomp:\t2")),
    row("exec.stopped", "docker run --name $n busybox true; docker exec $n true 2>/dev/null; echo $?; docker rm $n >/dev/null", Is("1")),
    row("ps", "docker run -d --name $n busybox sleep 60 >/dev/null; docker ps -f name=$n --format '{{.Names}} {{.Status}}' | cut -d' ' -f2; docker rm -f $n >/dev/null", Is("Up")),
    row("inspect.state", "docker run -d --name $n busybox sleep 60 >/dev/null; p=$(docker inspect -f '{{.State.Pid}}' $n); cat /proc/$p/comm; docker rm -f $n >/dev/null", Is("sleep")),
    row("diff", "docker run --name $n busybox touch /made; docker diff $n; docker rm $n >/dev/null", Has("A /made")),
    row("top", "docker run -d --name $n busybox sleep 60 >/dev/null; docker top $n; docker rm -f $n >/dev/null", Has("sleep 60")),
    row("stats", "docker run -d --name $n busybox sleep 60 >/dev/null; docker stats --no-stream --format '{{.PIDs}}' $n; docker rm -f $n >/dev/null", Is("1")).on_v1(),
    row("stop", "docker run -d --name $n busybox sh -c 'trap \"exit 5\" TERM; while :; do sleep 0.1; done' >/dev/null; sleep 0.5; docker stop $n >/dev/null; docker inspect -f '{{.State.ExitCode}}' $n; docker rm $n >/dev/null", Is("5")),
    row("stop.deadline", "docker run -d --name $n busybox sleep 60 >/dev/null; docker stop -t 1 $n >/dev/null; docker inspect -f '{{.State.ExitCode}}' $n; docker rm $n >/dev/null", Is("137")),
    row("stop.signal", "docker run -d --stop-signal USR1 --name $n busybox sh -c 'trap \"exit 6\" USR1; while :; do sleep 0.1; done' >/dev/null; sleep 0.5; docker stop $n >/dev/null; docker inspect -f '{{.State.ExitCode}}' $n; docker rm $n >/dev/null", Is("6")),
    row("kill", "docker run -d --name $n busybox sleep 60 >/dev/null; docker kill $n >/dev/null; docker wait $n; docker rm $n >/dev/null", Is("137")),
    row("kill.signal", "docker run -d --name $n busybox sh -c 'trap \"echo got\" HUP; while :; do sleep 0.1; done' >/dev/null; sleep 0.5; docker kill -s HUP $n >/dev/null; sleep 0.5; docker logs $n; docker rm -f $n >/dev/null", Is("got")),
    row("kill.stopped", "docker run --name $n busybox true; docker kill $n 2>&1; docker rm $n >/dev/null", Has("is not running")),
    row("restart", "docker run -d --name $n busybox sh -c 'echo once; sleep 60' >/dev/null; docker restart -t 0 $n >/dev/null; sleep 0.5; docker logs $n; docker rm -f $n >/dev/null", Is("once\nonce")),
    row("start.again", "docker run --name $n busybox echo hello; docker start -a $n; docker rm $n >/dev/null", Is("hello\nhello")),
    row("rm.running", "docker run -d --name $n busybox sleep 60 >/dev/null; docker rm -f $n >/dev/null; docker ps -aq -f name=$n", Is("")),
    row("pause", "docker run -d --name $n busybox sleep 60 >/dev/null; docker pause $n >/dev/null; docker inspect -f '{{.State.Status}}' $n; docker unpause $n >/dev/null; docker exec $n echo on; docker rm -f $n >/dev/null", Is("paused\non")),
    row("pause.exec", "docker run -d --name $n busybox sleep 60 >/dev/null; docker pause $n >/dev/null; docker exec $n true 2>&1; docker rm -f $n >/dev/null", Has("is paused")),
    row("publish", "docker run -d --name $n -p 127.0.0.1:18080:80 busybox sh -c 'echo hello > /tmp/index.html; exec httpd -f -h /tmp' >/dev/null; for i in $(seq 20); do busybox wget -qO- http://127.0.0.1:18080/ 2>/dev/null && break; sleep 0.2; done; docker port $n; docker rm -f $n >/dev/null", Is("hello\n80/tcp -> 127.0.0.1:18080")),
    row("net.bridge", "docker run -d --name $n busybox sh -c 'echo hello > /tmp/index.html; exec httpd -f -h /tmp' >/dev/null; a=$(docker inspect -f '{{.NetworkSettings.IPAddress}}' $n); sleep 0.5; docker run --rm busybox wget -qO- http://$a/; docker rm -f $n >/dev/null", Is("hello")),
    row("net.none", "docker run --rm --net none busybox ls /sys/class/net", Is("lo")),
    row("net.host", "docker run --rm --net host busybox ls /sys/class/net", Has("longshore0")),
    row("net.container", "docker run -d --name $n busybox sleep 60 >/dev/null; a=$(docker exec $n readlink /proc/self/ns/net); b=$(docker run --rm --net container:$n busybox readlink /proc/self/ns/net); [ $a = $b ] && echo same; docker rm -f $n >/dev/null", Is("same")),
    row("pid.host", "docker run --rm --pid host busybox readlink /proc/self/ns/pid > $w/a; readlink /proc/self/ns/pid | cmp - $w/a && echo same", Is("same")),
    row("pid.container", "docker run -d --name $n busybox sleep 61 >/dev/null; docker run --rm --pid container:$n busybox ps | grep -c 'sleep 61$'; docker rm -f $n >/dev/null", Is("1")),
    row("ipc.host", "docker run --rm --ipc host busybox readlink /proc/self/ns/ipc > $w/a; readlink /proc/self/ns/ipc | cmp - $w/a && echo same", Is("same")),
    row("ipc.container", "docker run -d --name $n --ipc shareable busybox sleep 60 >/dev/null; docker exec $n touch /dev/shm/x; docker run --rm --ipc container:$n busybox ls /dev/shm; docker rm -f $n >/dev/null", Is("x")),
    row("uts.host", "docker run --rm --uts host busybox hostname > $w/a; hostname | cmp - $w/a && echo same", Is("same")),
    row("volume.bind", "docker run --rm -v $w:/v busybox sh -c 'echo hello > /v/x'; cat $w/x", Is("hello")),
    row("volume.readonly", "docker run --rm -v $w:/v:ro busybox touch /v/x 2>&1; ls $w | grep x", Has("Read-only file system")),
    row("volume.named", "docker volume create $n >/dev/null; docker run --rm -v $n:/v busybox sh -c 'echo hello > /v/x'; docker run --rm -v $n:/v busybox cat /v/x; docker volume rm $n >/dev/null", Is("hello")),
    row("volume.from", "docker run -v /v --name $n busybox sh -c 'echo hello > /v/x'; docker run --rm --volumes-from $n busybox cat /v/x; docker rm -v $n >/dev/null", Is("hello")),
    row("volume.file", "echo hello > $w/f; docker run --rm -v $w/f:/etc/motd busybox cat /etc/motd", Is("hello")),
    row("tmpfs", "docker run --rm --tmpfs /t:size=64k,mode=1777 busybox sh -c 'df -k /t | tail -1; stat -c %a /t'", Has("1777")),
    row("shm-size", "docker run --rm --shm-size 1m busybox df -k /dev/shm | tail -1 | awk '{print $2}'", Is("1024")),
    row("readonly", "docker run --rm --read-only busybox touch /x 2>&1", Has("Read-only file system")),
    row("capabilities.default", "docker run --rm busybox grep CapEff /proc/self/status", Is("CapEff:\t00000000a80425fb")),
    row("capabilities.drop", "docker run --rm --cap-drop ALL --cap-add CHOWN busybox grep CapEff /proc/self/status", Is("CapEff:\t0000000000000001")),
    row("capabilities.add", "docker run --rm --cap-add SYS_TIME busybox grep CapEff /proc/self/status", Is("CapEff:\t00000000aa0425fb")),
    row("security.no-new-privileges", "docker run --rm --security-opt no-new-privileges busybox grep NoNewPrivs /proc/self/status", Is("NoNewPrivs:\t1")),
    row("security.seccomp.default", "docker run --rm busybox sh -c 'grep Seccomp: /proc/self/status; unshare -n true 2>&1'", Has("Seccomp:\t2\nunshare: unshare(0x40000000): Operation not permitted")),
    row("security.seccomp.unconfined", "docker run --rm --security-opt seccomp=unconfined busybox grep Seccomp: /proc/self/status", Is("Seccomp:\t0")),
    row("security.seccomp.custom", "echo '{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[{\"names\":[\"mkdir\",\"mkdirat\"],\"action\":\"SCMP_ACT_ERRNO\"}]}' > $w/p; docker run --rm --security-opt seccomp=$w/p busybox mkdir /x 2>&1", Has("Operation not permitted")),
    row("limits.memory", "docker run --rm -m 32m busybox cat /sys/fs/cgroup/memory/memory.limit_in_bytes", Is("33554432")).on_v1(),
    row("limits.memory.oom", "docker run -m 8m --memory-swap 8m --name $n busybox sh -c 'sleep 1; dd if=/dev/zero of=/dev/null bs=32M count=1; sleep 1' >/dev/null 2>&1; docker inspect -f '{{.State.OOMKilled}}' $n; docker rm $n >/dev/null", Is("true")).on_v1(),
    row("limits.cpus", "docker run --rm --cpus 0.5 busybox cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us", Is("50000")).on_v1(),
    row("limits.cpu-shares", "docker run --rm -c 512 busybox cat /sys/fs/cgroup/cpu/cpu.shares", Is("512")).on_v1(),
    row("limits.cpuset", "docker run --rm --cpuset-cpus 0 busybox cat /sys/fs/cgroup/cpuset/cpuset.cpus", Is("0")).on_v1(),
    row("limits.pids", "docker run --rm --pids-limit 20 busybox cat /sys/fs/cgroup/pids/pids.max", Is("20")).on_v1(),
    row("update", "docker run -d --name $n -m 32m busybox sleep 60 >/dev/null; docker update -m 48m --memory-swap 48m --cpu-shares 512 --pids-limit 30 $n >/dev/null; docker exec $n sh -c 'cd /sys/fs/cgroup; cat memory/memory.limit_in_bytes cpu/cpu.shares pids/pids.max'; docker rm -f $n >/dev/null", Is("50331648\n512\n30")).on_v1(),
    row("limits.ulimit", "docker run --rm --ulimit nofile=100:200 busybox sh -c 'ulimit -n; ulimit -Hn'", Is("100\n200")),
    row("limits.oom-score", "docker run --rm --oom-score-adj 321 busybox cat /proc/self/oom_score_adj", Is("321")),
    row("devices.given", "docker run --rm --device /dev/zero:/dev/mine busybox head -c 1 /dev/mine | wc -c", Is("1")),
    row("devices.denied", "docker run --rm --cap-add MKNOD busybox sh -c 'mknod /x b 7 0; cat /x 2>&1'", Has("Operation not permitted")),
    row("sysctl", "docker run --rm --sysctl net.ipv4.ip_forward=0 busybox cat /proc/sys/net/ipv4/ip_forward", Is("0")),
    row("masked", "docker run --rm busybox sh -c 'wc -c < /proc/keys; touch /proc/sys/kernel/x 2>&1'", Has("0\n")),
    row("cp", "echo hello > $w/f; docker create --name $n busybox cat /f >/dev/null; docker cp $w/f $n:/f; docker start -a $n; docker cp $n:/f - | tar -xO; docker rm $n >/dev/null", Is("hello\nhello")),
    row("commit", "docker run --name $n busybox touch /made; docker commit $n $n-image >/dev/null; docker run --rm $n-image ls /made; docker rm $n >/dev/null; docker rmi $n-image >/dev/null", Is("/made")),
    row("build", "printf 'FROM busybox\\nRUN echo hello > /made\\nRUN test -s /made\\nCMD cat /made\\n' > $w/Dockerfile; DOCKER_BUILDKIT=0 docker build -q -t $n-image $w >/dev/null 2>&1; docker run --rm $n-image; docker rmi $n-image >/dev/null", Is("hello")),
    row("build.fails", "printf 'FROM busybox\\nRUN exit 4\\n' > $w/Dockerfile; DOCKER_BUILDKIT=0 docker build $w 2>&1 | tail -1", Has("returned a non-zero code: 4")),
    row("attach", "docker run -d -i --name $n busybox sh -c 'read x; echo got $x' >/dev/null; (echo hello; sleep 1) | docker attach $n; docker rm -f $n >/dev/null", Is("got hello")),
    row("wait", "docker run -d --name $n busybox sh -c 'sleep 1; exit 3' >/dev/null; docker wait $n; docker rm $n >/dev/null", Is("3")),
    row("debian.bash", "docker run --rm debian bash -c 'echo $BASH_VERSION | cut -d. -f1'", Is("5")),
    row("debian.apt", "docker run --rm debian apt-get --version | head -1 | cut -d' ' -f1", Is("apt")),
];

#[rustfmt::skip] // a row a line
pub(crate) const REMAPPED: &[Row] = &[
    row("userns-remap.map", "docker run --rm busybox cat /proc/self/uid_map | tr -s ' ' | sed 's/^ //'", Is("0 300000 65536")).remapped(),
    row("userns-remap.root", "docker run --rm busybox sh -c 'id -u; touch /x && stat -c %u /x'", Is("0\n0")).remapped(),
    row("userns-remap.exec", "docker run -d --name $n busybox sleep 60 >/dev/null; docker exec $n sh -c 'id -u; cat /proc/self/uid_map' | tr -s ' ' | sed 's/^ //'; docker rm -f $n >/dev/null", Is("0\n0 300000 65536")).remapped(),
    row("userns-remap.exec.tty", "docker run -d --name $n busybox sleep 60 >/dev/null; script -qec \"docker exec -it $n tty\" /dev/null </dev/null; docker rm -f $n >/dev/null", Has("/dev/pts/")).remapped(),
    row("userns-remap.host-process", "docker run -d --name $n busybox sleep 60 >/dev/null; stat -c %u /proc/$(docker inspect -f '{{.State.Pid}}' $n); docker rm -f $n >/dev/null", Is("300000")).remapped(),
    row("userns-remap.volume", "docker run --rm -v /v busybox touch /v/x && echo written", Is("written")).remapped(),
];
