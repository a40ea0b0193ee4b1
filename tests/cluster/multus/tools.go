//go:build tools

// Package multus pins Multus apart from parts/: v4.2.2 does not compile with the kubelet API of Kubernetes 1.37.
package multus

import _ "gopkg.in/k8snetworkplumbingwg/multus-cni.v4/cmd/multus"
