# Realtime for a container: who is above it must have it to give.
cpu=/sys/fs/cgroup/cpu
[ -e $cpu/cpu.rt_runtime_us ] || { echo "the kernel has no realtime scheduling of groups"; exit 77; }
above=$cgroup/$n
mkdir -p $cpu$above
dir=$cpu
for name in $(echo "$above" | tr / ' '); do
    dir=$dir/$name
    echo 100000 > $dir/cpu.rt_runtime_us || { echo "the host's groups have no realtime to give"; exit 77; }
done
docker run --rm --cgroup-parent $above --cpu-rt-period 500000 --cpu-rt-runtime 50000 --cap-add SYS_NICE debian sh -c '
    cat /sys/fs/cgroup/cpu/cpu.rt_period_us /sys/fs/cgroup/cpu/cpu.rt_runtime_us
    python3 -c "import os; os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(5)); print(os.sched_getscheduler(0))"'
