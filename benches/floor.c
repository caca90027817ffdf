// The floor: the kernel work that any runtime must do to run the default bundle
// (config.json beside this file), in one static program that parses nothing,
// checks nothing and cleans up only its cgroup. What a runtime takes above it
// is the runtime's own.
//
// Usage: floor ROOTFS CGROUP_PARENT PROGRAM [ARG...]      (as root, cgroup2)
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <linux/sched.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#define LENGTH(array) (sizeof(array) / sizeof *(array))
#define MUST(call) do { if ((long)(call) < 0) { perror(#call); _exit(111); } } while (0)

static const struct { const char *target, *type, *options; unsigned long flags; } mounts[] = {
    {"proc", "proc", "", 0},
    {"dev", "tmpfs", "mode=755,size=65536k", MS_NOSUID | MS_STRICTATIME},
    {"dev/pts", "devpts", "newinstance,ptmxmode=0666,mode=0620,gid=5", MS_NOSUID | MS_NOEXEC},
    {"dev/shm", "tmpfs", "mode=1777,size=65536k", MS_NOSUID | MS_NOEXEC | MS_NODEV},
    {"dev/mqueue", "mqueue", "", MS_NOSUID | MS_NOEXEC | MS_NODEV},
    {"sys", "sysfs", "", MS_NOSUID | MS_NOEXEC | MS_NODEV | MS_RDONLY},
    {"sys/fs/cgroup", "cgroup2", "", MS_NOSUID | MS_NOEXEC | MS_NODEV | MS_RELATIME | MS_RDONLY},
};
static const struct { const char *path; int major, minor; } devices[] = {
    {"dev/null", 1, 3}, {"dev/zero", 1, 5}, {"dev/full", 1, 7},
    {"dev/random", 1, 8}, {"dev/urandom", 1, 9}, {"dev/tty", 5, 0},
};
static const char *const links[][2] = {
    {"/proc/self/fd", "dev/fd"}, {"/proc/self/fd/0", "dev/stdin"}, {"/proc/self/fd/1", "dev/stdout"},
    {"/proc/self/fd/2", "dev/stderr"}, {"pts/ptmx", "dev/ptmx"},
};
static const char *const readonly_paths[] = {"proc/bus", "proc/fs", "proc/irq", "proc/sys", "proc/sysrq-trigger"};
static const char *const masked_paths[] = {
    "proc/acpi", "proc/asound", "proc/kcore", "proc/keys", "proc/latency_stats", "proc/timer_list",
    "proc/timer_stats", "proc/sched_debug", "sys/firmware", "proc/scsi",
};
static const int kept_capabilities[] = {CAP_KILL, CAP_NET_BIND_SERVICE, CAP_AUDIT_WRITE};

static void loopback_up(void) {
    struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    MUST(fd);
    MUST(ioctl(fd, SIOCSIFFLAGS, &request));
}

static void fill_root(const char *rootfs) {
    MUST(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
    MUST(mount(rootfs, rootfs, NULL, MS_BIND | MS_REC, NULL));
    MUST(chdir(rootfs));
    for (unsigned i = 0; i < LENGTH(mounts); i++) {
        // The tmpfs on /dev is empty, so its mount points are made on the way.
        if (!strncmp(mounts[i].target, "dev/", 4)) MUST(mkdir(mounts[i].target, 0755));
        MUST(mount(mounts[i].type, mounts[i].target, mounts[i].type, mounts[i].flags, mounts[i].options));
    }
    umask(0);
    for (unsigned i = 0; i < LENGTH(devices); i++)
        MUST(mknod(devices[i].path, S_IFCHR | 0666, makedev(devices[i].major, devices[i].minor)));
    for (unsigned i = 0; i < LENGTH(links); i++)
        MUST(symlink(links[i][0], links[i][1]));
    umask(022);
}

static void restrict_paths(void) {
    for (unsigned i = 0; i < LENGTH(readonly_paths); i++) {
        const char *path = readonly_paths[i];
        if (access(path, F_OK)) continue;
        MUST(mount(path, path, NULL, MS_BIND | MS_REC, NULL));
        MUST(mount(NULL, path, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL));
    }
    for (unsigned i = 0; i < LENGTH(masked_paths); i++) {
        const char *path = masked_paths[i];
        struct stat found;
        if (stat(path, &found)) continue;
        if (S_ISDIR(found.st_mode)) MUST(mount("tmpfs", path, "tmpfs", MS_RDONLY, "nr_blocks=1,nr_inodes=1"));
        else MUST(mount("dev/null", path, NULL, MS_BIND, NULL));
    }
}

static void drop_capabilities(void) {
    unsigned long kept = 0;
    for (unsigned i = 0; i < LENGTH(kept_capabilities); i++) kept |= 1ul << kept_capabilities[i];
    for (int capability = 0; capability <= CAP_LAST_CAP; capability++)
        if (!(kept >> capability & 1)) MUST(prctl(PR_CAPBSET_DROP, capability, 0, 0, 0));
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    unsigned low = (unsigned)kept;
    struct __user_cap_data_struct data[2] = {{.effective = low, .permitted = low}};
    MUST(syscall(SYS_capset, &header, data));
}

static int child(const char *rootfs, char **argv) {
    loopback_up();
    fill_root(rootfs);
    restrict_paths();
    MUST(syscall(SYS_pivot_root, ".", "."));
    MUST(umount2(".", MNT_DETACH));
    MUST(chdir("/"));
    MUST(mount(NULL, "/", NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL));
    MUST(sethostname("bench", 5));
    struct rlimit files = {1024, 1024};
    MUST(setrlimit(RLIMIT_NOFILE, &files));
    drop_capabilities();
    MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    MUST(syscall(SYS_close_range, 3, ~0u, CLOSE_RANGE_CLOEXEC));
    execv(argv[0], argv);
    perror("execv");
    return 127;
}

// The smallest device filter; a real one is longer, but is loaded the same way.
static void filter_devices(int cgroup) {
    struct bpf_insn allow[] = {
        {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .imm = 1},
        {.code = BPF_JMP | BPF_EXIT},
    };
    union bpf_attr load = {.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE, .insn_cnt = LENGTH(allow),
        .insns = (unsigned long)allow, .license = (unsigned long)"GPL"};
    int program = (int)syscall(SYS_bpf, BPF_PROG_LOAD, &load, sizeof load);
    MUST(program);
    union bpf_attr attach = {.target_fd = (unsigned)cgroup, .attach_bpf_fd = (unsigned)program,
        .attach_type = BPF_CGROUP_DEVICE, .attach_flags = BPF_F_ALLOW_MULTI};
    MUST(syscall(SYS_bpf, BPF_PROG_ATTACH, &attach, sizeof attach));
}

int main(int argc, char **argv) {
    if (argc < 4) return 2;
    char directory[4096];
    snprintf(directory, sizeof directory, "%s/floor-%d", argv[2], getpid());
    MUST(mkdir(directory, 0755));
    int cgroup = open(directory, O_DIRECTORY | O_CLOEXEC);
    MUST(cgroup);
    filter_devices(cgroup);
    struct clone_args how = {
        .flags = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWCGROUP | CLONE_INTO_CGROUP,
        .exit_signal = SIGCHLD, .cgroup = (unsigned)cgroup,
    };
    long pid = syscall(SYS_clone3, &how, sizeof how);
    MUST(pid);
    if (!pid) _exit(child(argv[1], argv + 3));
    int status;
    MUST(waitpid((pid_t)pid, &status, 0));
    MUST(rmdir(directory));
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
