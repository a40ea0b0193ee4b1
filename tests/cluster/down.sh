#!/bin/bash
# down.sh: ends the cluster of CLUSTER_STATE and removes what it left. Idempotent.
# Ends only the first process of each cell, found by its own state folder in its command line; the kernel takes
# the rest of the cell with it.
# CLUSTER_KEEP_LOGS=1 keeps $CLUSTER_STATE/log.
set -u
S=${CLUSTER_STATE:-/tmp/underpass-cluster}; id=$(printf %s "$S" | cksum | cut -c1-6); CG=/underpass-cluster-$id
[ -d "$S" ] || exit 0
# every first process of a cell of this very state folder, also when up.sh was killed before it wrote the pid
for d in /proc/[0-9]*; do
  c=$( { tr '\0' ' ' < "$d/cmdline"; } 2>/dev/null) || continue
  [[ $c == bash\ */cell.sh\ *\ "$S"/*\  ]] || continue
  p=${d#/proc/}; kill -KILL "$p" 2>/dev/null
  for _ in $(seq 200); do [ -d "/proc/$p" ] || break; sleep 0.05; done
done
for l in $(ip -o link show type veth | awk -F'[ :@]+' '{print $2}'); do      # a pair that had not been moved yet
  case $l in [ce][0-9]*-"$id") ip link del "$l" 2>/dev/null;; esac
done
# empty cgroups, deepest first; a dying process can hold one for a moment
for _ in 1 2 3 4 5 6 7 8 9 10; do
  left=0
  for h in /sys/fs/cgroup "/sys/fs/cgroup"/*/; do
    d=${h%/}$CG; [ -d "$d" ] || continue
    find "$d" -depth -type d -exec rmdir {} \; 2>/dev/null; [ ! -d "$d" ] || left=1
  done
  [ $left = 1 ] || break; sleep 0.2
done
if [ -s "$S/sysctl.saved" ]; then while read -r l; do sysctl -qw "$l" 2>/dev/null; done < "$S/sysctl.saved"; fi
# the cells' mounts lived in their mount namespaces and are gone; never rm through a mount
if grep -qF " $S/" /proc/self/mountinfo; then echo "mounts left below $S:" >&2; grep -F " $S/" /proc/self/mountinfo >&2; exit 1; fi
if [ "${CLUSTER_KEEP_LOGS:-}" = 1 ]; then find "$S" -mindepth 1 -maxdepth 1 ! -name log -exec rm -rf {} +; else rm -rf "$S"; fi
