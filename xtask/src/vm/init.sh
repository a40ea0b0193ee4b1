#!/bin/busybox sh
# The initramfs: mounts the host's root below an overlay and hands over to guest.sh.
# 9p shares: hostroot (/ of the host, read-only), modules, control (ours), out (the caller's).
/bin/busybox --install -s /bin
PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
fail() {
    echo "init: $*" >/dev/console
    poweroff -f
}
for module in /modules/*.ko; do
    insmod "$module" || fail "insmod $module"
done
share() { # share TAG DIRECTORY OPTIONS
    mount -t 9p -o "trans=virtio,version=9p2000.L,msize=512000,$3" "$1" "$2" || fail "9p $1"
}
share hostroot /lower ro,cache=loose
mount -t tmpfs -o mode=755 tmpfs /upper
mkdir /upper/files /upper/work
mount -t overlay -o lowerdir=/lower,upperdir=/upper/files,workdir=/upper/work overlay /root || fail overlay
modules=/root/usr/lib/modules/$(uname -r)
mkdir -p "$modules" /root/dev /root/proc /root/sys /root/run
share modules "$modules" ro,cache=loose
mount -t tmpfs -o mode=755 tmpfs /root/run
mkdir -p /root/run/lock /root/run/netns /root/run/vm/control /root/run/vm/out
share control /root/run/vm/control cache=none
share out /root/run/vm/out cache=none
for dir in proc sys dev; do
    mount --move /$dir /root/$dir
done
exec switch_root /root /bin/bash /run/vm/control/guest.sh
