#!/bin/bash
# reboot.sh I: node I of the cluster of CLUSTER_STATE loses its power and comes back: every process of it is killed, what
# it had in memory is gone (/run, links, BPF, cgroups), what it had on disk stays, and the boot id is another.
. "$(dirname "$0")/common.sh"
i=$1 node=node$1
"$S/in" cp ovs-vsctl --timeout=20 del-port br1 "up$i"
old=$(cat "$S/$node/pid"); kill -KILL "$old"
until_ok 20 "$node is off" test ! -d "/proc/$old"
# The kernel takes a namespace's links away in its own time.
for link in "$node" "up$i"; do until_ok 20 "no cable $link" sh -c "! '$S/in' -n cp ip link show $link"; done
# A kubelet that finds cgroups without a container asks for each of them, 3 s long, before its node is Ready.
no_groups() { ! find /sys/fs/cgroup/{,*}"$CG/$node" -mindepth 1 -depth -type d ! -exec rmdir {} \; -print 2>/dev/null | grep -q .; }
until_ok 20 "no cgroups of $node" no_groups
cell "$node"
wire "$i"
"$S/in" cp ovs-vsctl --timeout=20 add-port br1 "up$i"
"$S/in" "$node" mkdir -p /run/openvswitch
"$S/$node/start-ovsdb-server"
until_ok 20 ovsdb-server "$S/in" "$node" ovs-vsctl --no-wait init
for service in ovs-vswitchd containerd kubelet; do "$S/$node/start-$service"; done
until_ok 30 containerd "$S/in" "$node" ctr version
say "$node is on"
