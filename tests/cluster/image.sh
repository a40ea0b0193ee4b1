#!/bin/bash
# image.sh NAME:TAG OUT.tar BUSYBOX COMMAND...: an OCI image archive of one layer with busybox, for `ctr images import`.
set -euo pipefail
name=$1 out=$2 busybox=$3; shift 3
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
mkdir -p "$work"/root/{bin,dev,etc,proc,sys,tmp,run,var} "$work/archive/blobs/sha256"
install "$busybox" "$work/root/bin/busybox"
for applet in sh ls cat ip ping ping6 sleep echo mount hostname id ps pidof nc grep sed awk mkdir rm true false kill; do ln -s busybox "$work/root/bin/$applet"; done
echo 'root:x:0:0:root:/:/bin/sh' > "$work/root/etc/passwd"
pack() { tar --create --file "$2" --directory "$1" --format=ustar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner .; }
blob() {  # FILE: moves it to its place, then says digest and size: the reader goes on as soon as it has read
  local sum; sum=$(sha256sum < "$1"); sum=${sum%% *}
  mv "$1" "$work/archive/blobs/sha256/$sum"; stat -c "sha256:$sum %s" "$work/archive/blobs/sha256/$sum"
}
pack "$work/root" "$work/layer"
read -r layer layer_size < <(blob "$work/layer")
command=$(printf ',"%s"' "$@")
type=application/vnd.oci.image
cat > "$work/config" <<X
{"architecture":"$(dpkg --print-architecture)","os":"linux","config":{"Cmd":[${command:1}],"Env":["PATH=/bin"]},"rootfs":{"type":"layers","diff_ids":["$layer"]}}
X
read -r config config_size < <(blob "$work/config")
cat > "$work/manifest" <<X
{"schemaVersion":2,"mediaType":"$type.manifest.v1+json","config":{"mediaType":"$type.config.v1+json","digest":"$config","size":$config_size},
"layers":[{"mediaType":"$type.layer.v1.tar","digest":"$layer","size":$layer_size}]}
X
read -r manifest manifest_size < <(blob "$work/manifest")
cat > "$work/archive/index.json" <<X
{"schemaVersion":2,"manifests":[{"mediaType":"$type.manifest.v1+json","digest":"$manifest","size":$manifest_size,
"annotations":{"io.containerd.image.name":"$name","org.opencontainers.image.ref.name":"${name##*:}"}}]}
X
echo '{"imageLayoutVersion":"1.0.0"}' > "$work/archive/oci-layout"
pack "$work/archive" "$out"
