//! What takes its time under Docker: the daemon's own end, things at the same time, many runs, and servers.

use super::Which;
use super::row::Sees::{Has, Is};
use super::row::{Row, row};
use crate::suite::Known;

/// The new process stops in the container's freezer before it has told runc that it is there.
const PAUSED_EXEC: Known = &[(
    "runc",
    "an exec that meets a pause hangs, and with it whoever unpauses",
)];

#[rustfmt::skip] // a row a line
pub(super) const LONG: &[Row] = &[
    row("docker.live-restore", concat!(include_str!("../../engines/docker-own.sh"), include_str!("../../engines/docker-live-restore.sh")), Is("TERM: same process, exec works, logs go on, ended 6 137, stopped 5, left nothing\nKILL: same process, exec works, logs go on, ended 6 137, stopped 5, left nothing")).within(240),
    row("docker.races.exec", concat!("racers='exec exec kill'\n", include_str!("../../engines/docker-races.sh")), Is("nothing hung, nothing left")).within(240),
    row("docker.races.pause", concat!("racers='pause unpause kill'\n", include_str!("../../engines/docker-races.sh")), Is("nothing hung, nothing left")).within(240),
    row("docker.races.exec-and-pause", concat!(include_str!("../../engines/docker-own.sh"), "racers='exec exec pause unpause kill'\n", include_str!("../../engines/docker-races.sh")), Is("nothing hung, nothing left")).within(240).deviates(PAUSED_EXEC),
    row("docker.short-runs", include_str!("../../engines/docker-short-runs.sh"), Is("every status right, nothing left")).within(240),
];

#[rustfmt::skip] // a row a line
pub(super) const PROGRAMS: &[Row] = &[
    row("docker.programs.nginx", include_str!("../../engines/docker-nginx.sh"), Is("hello from nginx\nworkers are not root\nhello again\nended 0")).under(Which::Programs).within(180),
    row("docker.programs.mariadb-php", include_str!("../../engines/docker-mariadb.sh"), Is("rows: one two\nafter restart: one two\nafter rm and run: one two\nover http: one two\nwrong password refused")).under(Which::Programs).within(240),
    row("docker.programs.redis", "docker network create $n >/dev/null; docker run -d --name $n --net $n --net-alias redis -v $n:/var/lib/redis -w /var/lib/redis programs redis-server --bind 0.0.0.0 --protected-mode no --appendonly yes >/dev/null; ask() { docker run --rm --net $n programs redis-cli -h redis \"$@\"; }; soon ask ping; ask set word hello; docker restart $n >/dev/null; soon ask ping; ask get word; docker exec $n redis-cli incr count; docker stop $n >/dev/null; docker wait $n; docker rm $n >/dev/null; docker network rm $n >/dev/null; docker volume rm $n >/dev/null", Is("OK\nhello\n1\n0")).under(Which::Programs).within(180),
    row("docker.programs.memcached", "docker run -d --name $n -u memcache -p 127.0.0.1::11211 programs memcached -l 0.0.0.0 >/dev/null; p=$(docker port $n 11211 | sed 's/.*://'); soon busybox nc 127.0.0.1 $p -e true; printf 'set word 0 0 5\\r\\nhello\\r\\nget word\\r\\nquit\\r\\n' | busybox nc 127.0.0.1 $p; docker exec $n id -un; docker rm -f $n >/dev/null", Is("STORED\nVALUE word 0 5\nhello\nEND\nmemcache")).under(Which::Programs).within(180),
    row("docker.programs.registry", include_str!("../../engines/docker-registry.sh"), Has("pushed\ngone here\npulled\nhello from the registry")).under(Which::Programs).within(180),
];
