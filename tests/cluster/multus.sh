#!/bin/bash
# multus.sh: puts Multus before the network that the product installed, on every node. After `multus.yaml` and the product.
# CLUSTER_STATE as in up.sh.
set -euo pipefail
S=${CLUSTER_STATE:-/tmp/underpass-cluster}
token=$("$S/kubectl" --namespace=kube-system create token multus --duration=24h)
ca=$(base64 -w0 < "$S/pki/ca.crt")
for pid in "$S"/node*/pid; do
  node=$(basename "$(dirname "$pid")")
  "$S/in" "$node" mkdir -p /etc/cni/net.d/multus.d
  "$S/in" "$node" sh -c 'umask 077; cat > /etc/cni/net.d/multus.d/kubeconfig' <<X
{"apiVersion":"v1","kind":"Config","current-context":"m","contexts":[{"name":"m","context":{"cluster":"m","user":"m"}}],
"clusters":[{"name":"m","cluster":{"server":"https://10.96.0.1:443","certificate-authority-data":"$ca"}}],"users":[{"name":"m","user":{"token":"$token"}}]}
X
  # Under its name at once: the runtime reads the file as soon as it is there.
  "$S/in" "$node" sh -c 'cat > /etc/cni/net.d/.multus && mv /etc/cni/net.d/.multus /etc/cni/net.d/00-multus.conf' <<X
{"cniVersion":"1.0.0","name":"multus","type":"multus","kubeconfig":"/etc/cni/net.d/multus.d/kubeconfig",
"delegates":[$("$S/in" "$node" cat /etc/cni/net.d/10-underpass.conflist)]}
X
done
