#!/bin/bash
# up.sh: a Kubernetes cluster on this machine, of real parts, without a container engine, a registry or a route to anywhere.
#   cell "cp":     etcd, kube-apiserver, kube-controller-manager, kube-scheduler, and what lies between the nodes: br0 joins
#                  their eth0 (the cluster's own network); br1, an Open vSwitch, their eth1: the underlay, with a gateway
#                  in each of its networks: untagged (on br1), VLAN 10 (on gw10), VLAN 20 (on gw20)
#   cell "nodeN":  containerd, runc, kubelet and an Open vSwitch with the bridge br1 over eth1; each cell has its own
#                  network, PID, mount, UTS and IPC namespaces
# Nodes stay NotReady until somebody puts a CNI configuration into /etc/cni/net.d: the product does.
# Needs: root, bash, iproute2, util-linux, openssl, openvswitch-switch; a kernel with overlayfs, veth, bridge.
# CLUSTER_STATE (default /tmp/underpass-cluster; not below /etc, /opt, /var), CLUSTER_NODES (2),
# CLUSTER_IMAGES="a.tar b.tar" (OCI archives to import on every node), CLUSTER_BIN (default: what build.sh prints)
# Leaves: $CLUSTER_STATE/{kubectl,helm,in} wrappers, $CLUSTER_STATE/admin.conf, $CLUSTER_STATE/CELL/start-NAME for each
# service: runs it anew, $CLUSTER_STATE/id: the number in names of its links and cgroups. Ends an older cluster of that state first.
. "$(dirname "$0")/common.sh"
case $S in /etc/*|/opt/*|/var/*) echo "CLUSTER_STATE must not lie below /etc, /opt or /var" >&2; exit 2;; esac
N=${CLUSTER_NODES:-2} B=${CLUSTER_BIN:-$("$here/build.sh")}
export PATH=$B:$PATH
"$here/down.sh"
mkdir -p "$S"/{pki,log,img}; chmod 700 "$S"; echo "$id" > "$S/id"
SVC=10.96.0 POD=10.244 POD6=fd00:244:
# Kubelets write these, and the first is written below; down.sh puts the old values back.
for k in net.core.rmem_default vm.overcommit_memory vm.panic_on_oom kernel.panic kernel.panic_on_oops kernel.keys.root_maxkeys kernel.keys.root_maxbytes; do
  echo "$k=$(sysctl -n $k)"; done > "$S/sysctl.saved"
# The userspace datapath reads its ports through packet sockets. A switch that waits for a processor for 0.3 s would lose
# what comes meanwhile at one frame a millisecond; this is room for 5 s.
sysctl -qw net.core.rmem_default=4194304

# --- cells ------------------------------------------------------------------------------------------
cat > "$S/in" <<X
#!/bin/sh
# in CELL CMD...: runs CMD inside the cell (all of its namespaces); in -n CELL CMD...: only its network
export PATH="$B:\$PATH"
if [ "\$1" = -n ]; then p=\$(cat "$S/\$2/pid"); shift 2; exec nsenter -t \$p -n "\$@"; fi
p=\$(cat "$S/\$1/pid"); shift; exec nsenter -t \$p -n -m -u -i -p --wd=/ "\$@"
X
for t in kubectl helm; do cat > "$S/$t" <<X
#!/bin/sh
export KUBECONFIG=$S/admin.conf HELM_CACHE_HOME=$S/helm-home HELM_CONFIG_HOME=$S/helm-home HELM_DATA_HOME=$S/helm-home
exec nsenter -t \$(cat "$S/cp/pid") -n "$B/$t" "\$@"
X
done; chmod +x "$S"/{in,kubectl,helm}
switch() {  # CELL PORT...: an Open vSwitch in the cell, and its bridge br1 with these ports
  local c=$1 ovs=$S/$1/ovs; shift; mkdir -p "$ovs"
  "$S/in" "$c" sh -ec "mkdir -p /run/openvswitch; ovsdb-tool create $ovs/conf.db /usr/share/openvswitch/vswitch.ovsschema"
  spawn "$c" ovsdb-server ovsdb-server "$ovs/conf.db" --remote=punix:/run/openvswitch/db.sock --unixctl=/run/openvswitch/ovsdb-server.ctl
  until_ok 20 "ovsdb-server $c" "$S/in" "$c" ovs-vsctl --no-wait init
  spawn "$c" ovs-vswitchd ovs-vswitchd unix:/run/openvswitch/db.sock --unixctl=/run/openvswitch/ovs-vswitchd.ctl --disable-system
  until_ok 20 "br1 of $c" "$S/in" "$c" ovs-vsctl --timeout=5 --may-exist add-br br1 -- set bridge br1 datapath_type=netdev
  for port in "$@"; do "$S/in" "$c" ovs-vsctl --timeout=20 add-port br1 "$port"; done
}
mkdir -p "$S/ipam"
cell cp
"$S/in" cp sh -c "ip link add br0 type bridge && ip addr add $FAB.1/24 dev br0 && ip link set br0 up && ip addr add $SVC.1/32 dev lo"
for i in $(seq "$N"); do
  cell "node$i"
  wire "$i"
done
say "cells and links"
switch cp $(seq -f up%g "$N")
# The kernel sees what the userspace datapath takes from up1, too, and would answer there for br1.
"$S/in" cp sysctl -qw net.ipv4.conf.all.arp_ignore=1
gateway() { "$S/in" cp sh -c "ip addr add $2 dev $1 && ip addr add $3 dev $1 nodad && ip link set $1 up"; }
gateway br1 $POD.0.1/16 $POD6:1/48
for v in 10 20; do
  "$S/in" cp ovs-vsctl --timeout=20 add-port br1 gw$v tag=$v -- set interface gw$v type=internal
  gateway gw$v 10.$v.0.1/16 fd00:$v::1/64
done; say "underlay"

# --- certificates -----------------------------------------------------------------------------------
cd "$S/pki"
ca() { openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -subj "/CN=$1" -keyout "$1.key" -out "$1.crt" 2>/dev/null; }
cert() {  # FILE SUBJECT [SAN]
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "$2" -keyout "$1.key" -out "$1.csr" 2>/dev/null
  { echo "extendedKeyUsage=clientAuth,serverAuth"; [ -z "${3:-}" ] || echo "subjectAltName=$3"; } > "$1.ext"
  openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 3650 -extfile "$1.ext" -out "$1.crt" 2>/dev/null
}
kubeconfig() {  # OUT CERT
  b() { base64 -w0 < "$1"; }
  cat > "$1" <<X
{"apiVersion":"v1","kind":"Config","current-context":"e2e","contexts":[{"name":"e2e","context":{"cluster":"e2e","user":"$2"}}],
"clusters":[{"name":"e2e","cluster":{"server":"https://$FAB.1:443","certificate-authority-data":"$(b ca.crt)"}}],
"users":[{"name":"$2","user":{"client-certificate-data":"$(b "$2.crt")","client-key-data":"$(b "$2.key")"}}]}
X
}
ca ca
openssl ecparam -name prime256v1 -genkey -noout -out sa.key; openssl ec -in sa.key -pubout -out sa.pub 2>/dev/null
cert apiserver /CN=kube-apiserver "IP:$FAB.1,IP:$SVC.1,IP:127.0.0.1,DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc"
cert kubelet-client "/O=system:masters/CN=kube-apiserver-kubelet-client"
cert admin "/O=system:masters/CN=admin"
cert kcm "/CN=system:kube-controller-manager"; cert ks "/CN=system:kube-scheduler"
for u in admin kcm ks; do kubeconfig "$S/$u.conf" $u; done
for i in $(seq "$N"); do
  cert "node$i" "/O=system:nodes/CN=system:node:node$i" "IP:$FAB.$((10+i)),DNS:node$i"; kubeconfig "$S/node$i.conf" "node$i"
done
cd "$here"; say "certificates"

# --- control plane ----------------------------------------------------------------------------------
spawn cp etcd etcd --data-dir=/run/etcd --unsafe-no-fsync --listen-client-urls=http://127.0.0.1:2379 --advertise-client-urls=http://127.0.0.1:2379 \
  --listen-peer-urls=http://127.0.0.1:2380 --initial-advertise-peer-urls=http://127.0.0.1:2380 --initial-cluster=default=http://127.0.0.1:2380 --log-level=warn
P=$S/pki
# every request of the agents, and of nobody else
cat > "$S/audit.yaml" <<X
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules: [{level: Metadata, users: ["system:serviceaccount:kube-system:underpass"]}, {level: None}]
X
# port 443, so that the Service address $SVC.1:443 is this very socket
spawn cp apiserver kube-apiserver --etcd-servers=http://127.0.0.1:2379 --advertise-address=$FAB.1 --bind-address=0.0.0.0 --secure-port=443 \
  --service-cluster-ip-range=$SVC.0/16 --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction --allow-privileged=true \
  --client-ca-file=$P/ca.crt --tls-cert-file=$P/apiserver.crt --tls-private-key-file=$P/apiserver.key \
  --kubelet-certificate-authority=$P/ca.crt --kubelet-client-certificate=$P/kubelet-client.crt --kubelet-client-key=$P/kubelet-client.key \
  --kubelet-preferred-address-types=InternalIP --enable-aggregator-routing=true \
  --audit-policy-file="$S/audit.yaml" --audit-log-path="$S/log/audit.log" \
  --service-account-issuer=https://kubernetes.default.svc --service-account-key-file=$P/sa.pub --service-account-signing-key-file=$P/sa.key
# --- nodes: runtime and images while the API server starts -------------------------------------------
idle="trap 'exit 0' TERM INT; while :; do sleep 3600 & wait; done"
"$here/image.sh" localhost/busybox:1 "$S/img/busybox.tar" "$B/busybox" /bin/sh -c "$idle"
"$here/image.sh" localhost/pause:1 "$S/img/pause.tar" "$B/busybox" /bin/sh -c "$idle"
for i in $(seq "$N"); do
  D=$S/node$i
  cat > "$D/containerd.toml" <<X
version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs"]
[grpc]
  address = "/run/containerd/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/pause:1"
  disable_tcp_service = true
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/opt/cni/bin"
    conf_dir = "/etc/cni/net.d"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.internal.v1.opt"]
  path = "/var/lib/containerd/opt"
X
  for x in loopback bridge host-local multus; do [ ! -x "$B/$x" ] || cp "$B/$x" "$D/opt/cni/bin/"; done
  switch "node$i" eth1
  spawn "node$i" containerd containerd --config "$D/containerd.toml" --log-level info
  # the kubelet wants its cgroup root to be there, in every hierarchy
  if [ -e /sys/fs/cgroup/cgroup.controllers ]; then mkdir -p "/sys/fs/cgroup$CG/node$i"
  else for h in /sys/fs/cgroup/*/; do [ -L "${h%/}" ] || mkdir -p "$h$CG/node$i" 2>/dev/null || true; done; fi
  cat > "$D/kubelet.yaml" <<X
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $P/ca.crt}}
authorization: {mode: Webhook}
tlsCertFile: $P/node$i.crt
tlsPrivateKeyFile: $P/node$i.key
cgroupDriver: cgroupfs
cgroupRoot: $CG/node$i
failCgroupV1: false
failSwapOn: false
registerWithTaints: [{key: underpass/starting, effect: NoSchedule}]
clusterDomain: cluster.local
clusterDNS: [$SVC.10]
volumePluginDir: /var/lib/kubelet/volumeplugins
nodeStatusUpdateFrequency: 2s
syncFrequency: 10s
evictionHard: {memory.available: 50Mi, nodefs.available: 1%, nodefs.inodesFree: 1%, imagefs.available: 1%}
imageGCHighThresholdPercent: 100
X
done
for i in $(seq "$N"); do
  until_ok 30 "containerd node$i" "$S/in" "node$i" ctr version
  for t in "$S"/img/pause.tar "$S"/img/busybox.tar ${CLUSTER_IMAGES:-}; do "$S/in" "node$i" ctr -n k8s.io images import "$t" >>"$S/log/node$i.import.log" 2>&1; done
done; say "images"
until_ok 90 "apiserver /readyz" "$S/kubectl" get --raw /readyz
spawn cp kcm kube-controller-manager --kubeconfig="$S/kcm.conf" --leader-elect=false --bind-address=127.0.0.1 --kube-api-qps=500 --kube-api-burst=1000 --use-service-account-credentials \
  --service-account-private-key-file=$P/sa.key --root-ca-file=$P/ca.crt --cluster-signing-cert-file=$P/ca.crt --cluster-signing-key-file=$P/ca.key \
  --allocate-node-cidrs --cluster-cidr=$POD.0.0/16,$POD6:/48 --flex-volume-plugin-dir=/var/lib/volumeplugins --node-monitor-period=1s --node-monitor-grace-period=20s
spawn cp scheduler kube-scheduler --kubeconfig="$S/ks.conf" --leader-elect=false --bind-address=127.0.0.1
for i in $(seq "$N"); do
  spawn "node$i" kubelet kubelet --config="$S/node$i/kubelet.yaml" --kubeconfig="$S/node$i.conf" --hostname-override="node$i" --node-ip="$FAB.$((10+i))" --v=2
done
cidr() { "$S/kubectl" get node "$1" -o 'jsonpath={.spec.podCIDR}' 2>/dev/null; }
for i in $(seq "$N"); do until_ok 60 "node$i registered" sh -c "'$S/kubectl' get node node$i -o 'jsonpath={.spec.podCIDR}' | grep -q /"; done
say "up: $S/kubectl get nodes"
