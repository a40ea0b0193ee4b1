#!/bin/bash
# Builds the parts of the lab's Kubernetes once and keeps them; prints the folder they are in, all else goes to stderr.
#   from Go modules:  hyper (etcd, kube-apiserver, kube-controller-manager, kube-scheduler, kubelet, kubectl in one binary
#                     with links), helm, the reference plugins loopback, bridge, host-local; multus
#   from Debian:      containerd, ctr, its shim, runc, busybox; unpacked, not installed
# Safe to stop at any time and to call twice at once. ONLY="helm hyper" builds a part of the list; `build.sh --there`
# builds nothing and fails if anything is missing.
# CLUSTER_CACHE (default ~/.cache/underpass/cluster) is where; GOMAXPROCS and GOFLAGS are the caller's.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cache=${CLUSTER_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/underpass/cluster}
version() { awk -v m="$2" '$1==m{print $2; exit} $2==m{print $3; exit}' "$here/$1/go.mod"; }
kubernetes=$(version parts k8s.io/kubernetes) helm=$(version parts helm.sh/helm/v3)
# The flags below are not in the key: who changes them counts this up.
recipe=1
key=$( (echo $recipe; cat "$here"/{parts,multus}/go.{mod,sum} "$here/parts/hyper/main.go") | sha256sum | cut -c1-12)
bin=$cache/$kubernetes-$key
if [ "${1:-}" = --there ]; then
  for part in helm hyper loopback bridge host-local multus containerd; do [ -x "$bin/$part" ] || exit 1; done
  echo "$bin"; exit 0
fi
mkdir -p "$bin"
exec 9>"$bin/.lock"; flock 9

# Without the version strings the kubelet registers as v0.0.0-master. buildDate must parse as a date.
minor=${kubernetes#v1.}; minor=${minor%%.*}
v=k8s.io/component-base/version c=helm.sh/helm/v3
strings="-X $v.gitVersion=$kubernetes -X $v.gitMajor=1 -X $v.gitMinor=$minor -X $v.gitTreeState=clean \
-X $v.gitCommit=0000000000000000000000000000000000000000 -X $v.buildDate=1970-01-01T00:00:00Z \
-X $c/internal/version.version=$helm -X $c/pkg/chartutil.k8sVersionMajor=1 -X $c/pkg/chartutil.k8sVersionMinor=$minor"
export CGO_ENABLED=0 GOTOOLCHAIN=local GOFLAGS="-mod=readonly -buildvcs=false -trimpath ${GOFLAGS:-}"
part() {  # NAME MODULE PACKAGE
  [ -z "${ONLY:-}" ] || [[ " $ONLY " == *" $1 "* ]] || return 0
  [ ! -x "$bin/$1" ] || return 0
  local since=$SECONDS
  (cd "$here/$2" && nice -n 19 go build -ldflags "-s -w $strings" -o "$bin/$1.$$.tmp" "$3") >&2
  mv "$bin/$1.$$.tmp" "$bin/$1"
  echo "built $1: $((SECONDS-since)) s, $(($(stat -c %s "$bin/$1")/1000000)) MB" >&2
}
plugins=github.com/containernetworking/plugins/plugins
part helm       parts  helm.sh/helm/v3/cmd/helm
part hyper      parts  ./hyper
for name in etcd kube-apiserver kube-controller-manager kube-scheduler kubelet kubectl; do ln -sfn hyper "$bin/$name"; done
part loopback   parts  $plugins/main/loopback
part bridge     parts  $plugins/main/bridge
part host-local parts  $plugins/ipam/host-local
# Multus does not compile against this Kubernetes' kubelet API, hence a module of its own.
part multus     multus gopkg.in/k8snetworkplumbingwg/multus-cni.v4/cmd/multus

if [ ! -x "$bin/containerd" ]; then
  unpacked=$(mktemp -d "$cache/deb.XXXXXX"); trap 'rm -rf "$unpacked"' EXIT; chmod 755 "$unpacked"
  fetch() { (cd "$unpacked" && apt-get -qq download containerd runc busybox-static) >&2; }
  fetch || { apt-get -qq update >&2; fetch; }
  for deb in "$unpacked"/*.deb; do dpkg-deb -x "$deb" "$unpacked/root"; done
  install "$unpacked"/root/usr/bin/{ctr,containerd-shim-runc-v2} "$unpacked/root/usr/sbin/runc" "$unpacked/root/bin/busybox" "$bin"
  install "$unpacked/root/usr/bin/containerd" "$bin"
fi
echo "$bin"
