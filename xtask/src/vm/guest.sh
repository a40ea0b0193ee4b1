# The guest's second stage, PID 1 on the host's root: mounts, modules, then command.sh.
# ttyS0 is the kernel's log, ttyS1 the command's output; status, booted and ended are files.
exec </dev/null >/dev/console 2>&1
control=/run/vm/control
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 TERM=dumb HOME=/root
uptime() { cut -d' ' -f1 /proc/uptime; }
uptime >$control/booted
stty -F /dev/ttyS1 raw -echo

mount -t bpf bpf /sys/fs/bpf
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t tracefs tracefs /sys/kernel/tracing
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs tmpfs /var/tmp
ln -sfn /proc/self/fd /dev/fd
hostname vm
ip link set lo up
# The datapath under test, and what its guards hang on.
for module in openvswitch veth sch_ingress cls_bpf; do
    modprobe "$module" || echo "modprobe $module failed" >/dev/ttyS1
done

# Open vSwitch 3.1 started within the first 10 s of the machine's life counts no processor ("Overriding
# n-handler-threads to 0"): ports come up, but every upcall is lost and no packet passes. So whatever
# starts ovs-vswitchd calls this first. A time namespace would cure it too, but OVS compares its clock
# with the kernel's flow times.
settle() {
    sleep "$(awk '{ left = 10.2 - $1; print (left > 0) ? left : 0 }' /proc/uptime)"
}
export -f settle

setsid -w bash $control/command.sh </dev/null >/dev/ttyS1 2>&1
status=$?
uptime >$control/ended
sync
echo $status >$control/status
sleep 0.1 # The last bytes leave the serial line.
echo o >/proc/sysrq-trigger
sleep 60
