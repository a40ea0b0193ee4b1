//! The node agent of Underpass, as a library so that its parts can be tested on their own.
//!
//! ```text
//!  CNI ADD/DEL ─┐  mpsc   ┌─────────────┐  watch<Arc<Intent>>  ┌──────── reconcile task ────────┐
//!  spool, GC   ─┴───────> │ store actor │ ───────────────────> │ snapshot, plan, apply:         │
//!                         │ + ledger    │                      │ links → bpf → ports → flows    │
//!                         └─────────────┘                      │       → gate                   │
//!  ports::run  (OVSDB)     watch<Arc<Ovs>> ──────────────────> │                                │
//!  links::monitor::run     watch<Arc<HostVeths>> ────────────> │ only writer of the data plane  │
//!  probe::driver::run      watch<Arc<Outcomes>> ─────────────> └──────┬──────────────────┬──────┘
//!        ^                                       watch<Arc<Stations>> │                  │ watch<Arc<Status>>
//!        └────────────────────────────────────────────────────────────┘                  v
//!                                                             api (CNI waiters, control, health)
//! ```
//!
//! | task | owns | in | out |
//! | --- | --- | --- | --- |
//! | `store::run` | the intent and its ledger files | `mpsc` of requests | `watch<Arc<Intent>>` |
//! | `reconcile::run` | every write to links, eBPF maps, OVSDB ports and flows | `watch`es of intent and facts | `watch<Arc<Status>>`, `watch<Arc<Stations>>` |
//! | `dataplane::ports::run` | the OVSDB connection | `mpsc` of transactions | `watch<Arc<Ovs>>` |
//! | `dataplane::flows::run` | one OpenFlow connection for each bridge | `mpsc` of requests | replies |
//! | `probe::driver::run` | conflict probes, gateway watch, the book of conflicts | `watch<Arc<Stations>>`, eBPF facts | `watch<Arc<Outcomes>>` |
//! | `dataplane::hooks` (a thread) | hanging programs on host veths and uplinks | `mpsc` of orders | `mpsc` of outcomes |
//! | netlink (a future of `Links::connect`) | the rtnetlink socket's thread | – | ends when that does |
//! | `links::monitor::run` | the set of host veths | netlink's multicast | `watch<Arc<HostVeths>>` |
//! | `observe::drops` (`Reader::run`) | the ring of stopped frames | the ring | `broadcast` of offences |
//! | `api::serve` | the gRPC socket | calls | calls on the handles above |
//! | `api::serve_metrics` | the port for metrics and HTTP probes | HTTP | – |
//! | `api::CallRunner` ×2 | CNI calls under way; streams of the control service | `mpsc` of futures | – |
//! | `api::pay_debts` | IPAM plugins that the agent runs itself | `watch<Arc<Intent>>` | requests to the store |
//! | `api::watch_spool` | the spool's files | a timer | requests to the store |
//! | `observe::offenders::run` | who offends how often | `broadcast` of drops | events |
//! | `observe::node::run` | what was told of daemons, bridges, ports and mended flows | `watch`es of facts and status | events |
//! | `observe::cluster::run` | the ration of Kubernetes Events | `broadcast` of events | Events, in a cluster |
//! | `app::cluster::arrive` | what stands on the node while the agent does | | CNI configuration, Node |
//!
//! Tasks are spawned in [`app`] alone. The rules that hold everywhere stand in `ARCHITECTURE.md`.

#![forbid(unsafe_code)]

pub mod api;
pub mod app;
pub mod args;
pub mod clock;
pub mod cni;
pub mod config;
pub mod dataplane;
pub mod events;
pub mod health;
pub mod install;
pub mod kube;
pub mod limits;
pub mod metrics;
pub mod model;
pub mod observe;
pub mod plan;
pub mod probe;
pub mod reconcile;
pub mod report;
pub mod store;
