#!/bin/bash
# common.sh: what up.sh and reboot.sh share, sourced by both: where things are, cells, their links and their services.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
S=${CLUSTER_STATE:-/tmp/underpass-cluster}
FAB=10.77.0
id=$(printf %s "$S" | cksum | cut -c1-6)           # tells two clusters on one machine apart; in interface and cgroup names
CG=/underpass-cluster-$id                          # below every hierarchy, with a group for each node
T0=${EPOCHREALTIME/./}; say() { local d=$(( ${EPOCHREALTIME/./} - T0 )); printf '%4d.%02d s  %s\n' $((d/1000000)) $((d/10000%100)) "$*" >&2; }
until_ok() {  # SECONDS WHAT CMD...: polls
  local end=$((SECONDS+$1)) what=$2; shift 2
  until "$@" >/dev/null 2>&1; do
    [ $SECONDS -lt $end ] || { echo "time-out: $what" >&2; return 1; }; sleep 0.1
  done; say "$what"
}
cell() {  # NAME: leaves the pid (as this machine counts) in $S/NAME/pid
  mkdir -p "$S/$1"; rm -f "$S/$1/ready"
  setsid unshare --net --uts --ipc --mount --pid --fork bash "$here/cell.sh" "$1" "$S/$1" </dev/null >"$S/log/$1.cell.log" 2>&1 9>&- &
  local u=$!; until_ok 20 "cell $1" test -e "$S/$1/ready" || { cat "$S/log/$1.cell.log" >&2; return 1; }
  local p; p=$(cat /proc/$u/task/$u/children); echo "${p% }" > "$S/$1/pid"
}
wire() {  # I: the two NICs of node I, each a cable into "cp"; both ends leave this machine's namespace at once
  local i=$1
  ip link add "c$i-$id" type veth peer name "e$i-$id"
  ip link set "c$i-$id" netns "$(cat "$S/cp/pid")"; ip link set "e$i-$id" netns "$(cat "$S/node$i/pid")"
  "$S/in" cp sh -c "ip link set c$i-$id name node$i master br0 up"
  # eth0 = the node's NIC. The default route leads to the control plane, which owns the address of the kubernetes
  # Service itself: in-cluster clients reach the API without kube-proxy.
  "$S/in" "node$i" sh -c "ip link set e$i-$id name eth0 && ip addr add $FAB.$((10+i))/24 dev eth0 && ip link set eth0 up && ip route add default via $FAB.1"
  # eth1 = a NIC without an address: the uplink into the underlay
  ip link add "c$i-$id" type veth peer name "e$i-$id"
  ip link set "c$i-$id" netns "$(cat "$S/cp/pid")"; ip link set "e$i-$id" netns "$(cat "$S/node$i/pid")"
  "$S/in" cp sh -c "ip link set c$i-$id name up$i up"
  "$S/in" "node$i" sh -c "ip link set e$i-$id name eth1 && ip link set eth1 up"
}
spawn() {  # CELL NAME CMD...: a service in a cell, log in $S/log; $S/CELL/start-NAME starts it again
  local c=$1 n=$2; shift 2
  # A child of the cell's first process: nsenter would stop and stay with a child that is stopped, and hold a dead one.
  printf '#!/bin/bash\nexec %q %q setsid --fork %s </dev/null >>%q 2>&1\n' "$S/in" "$c" "$(printf '%q ' "$@")" "$S/log/$c.$n.log" > "$S/$c/start-$n"
  chmod +x "$S/$c/start-$n"; "$S/$c/start-$n" 9>&-
}
