//! The allow-list: which room may know which. Everything that is not here is forbidden.
//!
//! A new crate or module of the agent is entered here, with the arrows it needs; ARCHITECTURE.md
//! draws the same picture.

/// Our crates and which of ours each may depend on, for building, running and testing.
pub(super) const CRATES: &[(&str, &[&str])] = &[
    // ebpf-abi: the plan speaks of map entries as the values that they are, without aya.
    ("underpass-agent", &["agent-api", "openflow", "ovsdb", "ebpf", "ebpf-abi"]),
    ("underpass-cni", &["agent-api"]),
    ("agentctl", &["agent-api", "openflow"]),
    ("agent-api", &[]),
    ("openflow", &[]),
    ("ovsdb", &[]),
    ("ebpf", &["ebpf-abi"]),
    ("ebpf-abi", &[]),
    // The programs of the kernel side, a workspace of their own.
    ("ebpf-programs", &["ebpf-abi"]),
    // The lab knows the product by its contracts and its binaries, never the agent's insides.
    ("e2e", &["agent-api", "openflow", "ovsdb", "ebpf"]),
    // Runs everything as processes.
    ("xtask", &[]),
];

/// Foreign crates that only some rooms may depend on directly. A name stands for its family:
/// `tonic` also for `tonic-health`.
pub(super) const GUARDED: &[(&str, &[&str])] = &[
    ("tonic", &["agent-api", "underpass-agent", "underpass-cni", "agentctl"]),
    ("aya", &["ebpf", "ebpf-programs"]),
    ("kube", &["underpass-agent"]),
    ("k8s-openapi", &["underpass-agent"]),
    // The benchmark of ADD makes the floor itself.
    ("rtnetlink", &["underpass-agent", "e2e"]),
];

/// Rooms that work without an executor: not even an indirect dependency on one.
pub(super) const SANS_IO: &[&str] = &["openflow", "ebpf-abi"];

/// What makes a crate async.
pub(super) const ASYNC: &[&str] =
    &["tokio", "futures", "async-std", "async-io", "smol", "mio", "hyper", "tower"];

/// Modules of the agent and which of its modules each may name. `app` alone names every part.
pub(super) const MODULES: &[(&str, &[&str])] = &[
    ("main", &["app", "args", "config", "health", "report"]),
    ("lib", &[]),
    ("app", EVERY),
    // Ground: bounds, words, clocks, counts. They know no part.
    ("args", &[]),
    ("clock", &[]),
    ("limits", &[]),
    ("report", &[]),
    ("config", &["limits", "model"]),
    ("events", &["clock", "limits", "model"]),
    ("health", &["limits", "report"]),
    ("install", &["config"]),
    ("metrics", &["limits", "model"]),
    // Values only, and pure: World in, plan out.
    ("model", &["limits"]),
    ("plan", &["limits", "model"]),
    // The runtime's contract: versions, requests, results.
    ("cni", &["limits", "model"]),
    // The two owners, and the adapters that the second one drives.
    ("store", &["clock", "config", "events", "limits", "metrics", "model", "report"]),
    ("dataplane", &["clock", "config", "events", "limits", "metrics", "model", "plan", "report"]),
    (
        "reconcile",
        &[
            "clock",
            "config",
            "dataplane",
            "events",
            "health",
            "limits",
            "metrics",
            "model",
            "plan",
            "report",
            "store",
        ],
    ),
    // Facts and watchers; they speak to the owners by handles.
    (
        "probe",
        &[
            "clock",
            "config",
            "dataplane",
            "events",
            "limits",
            "metrics",
            "model",
            "plan",
            "reconcile",
            "report",
        ],
    ),
    (
        "observe",
        &[
            "clock",
            "config",
            "dataplane",
            "events",
            "kube",
            "limits",
            "metrics",
            "model",
            "reconcile",
            "report",
            "store",
        ],
    ),
    ("kube", &["clock", "config", "events", "limits", "metrics", "model", "report", "store"]),
    // Requests: convert, call a handle, convert.
    (
        "api",
        &[
            "clock",
            "cni",
            "config",
            "dataplane",
            "events",
            "health",
            "limits",
            "metrics",
            "model",
            "observe",
            "plan",
            "probe",
            "reconcile",
            "report",
            "store",
        ],
    ),
];

/// The modules of the agent that are parts.
const EVERY: &[&str] = &[
    "api",
    "args",
    "clock",
    "cni",
    "config",
    "dataplane",
    "events",
    "health",
    "install",
    "kube",
    "limits",
    "metrics",
    "model",
    "observe",
    "plan",
    "probe",
    "reconcile",
    "report",
    "store",
];

/// Foreign paths that only some modules of the agent may name. As above, a name stands for its family.
pub(super) const MODULE_GUARDED: &[(&str, &[&str])] = &[
    ("tonic", &["api"]),
    ("prost", &["api"]),
    ("kube", &["kube", "observe"]),
    ("k8s_openapi", &["kube", "observe"]),
    ("rtnetlink", &["dataplane"]),
    ("netlink_packet_core", &["dataplane"]),
    ("netlink_packet_route", &["dataplane"]),
    ("aya", &[]),
];

/// Modules that take values and give values.
pub(super) const PURE_MODULES: &[&str] = &["model", "plan"];

/// What they must not name: IO, executors, clocks, the environment.
pub(super) const IMPURE: &[&str] = &[
    "tokio",
    "tokio_util",
    "tokio_stream",
    "futures",
    "nix",
    "ovsdb",
    "std::env",
    "std::fs",
    "std::io",
    "std::net::TcpListener",
    "std::net::TcpStream",
    "std::net::UdpSocket",
    "std::os",
    "std::process",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
];
