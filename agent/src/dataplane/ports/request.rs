//! What can be asked of the database, as transactions built from values, and what their failures mean. Pure.
//!
//! Every transaction begins with guards, operations that fail it when the world is not as it was thought to
//! be: the lock is ours, the bridge exists, the port's row is still the one that was looked at. So a decision
//! made from a stale picture is refused by the database and can be made again, and a success is a success.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ovsdb::{
    CallError, Condition, Datum, LockName, Mutator, NamedUuid, Operation, Refusal, Row, TransactError, Until,
    Uuid,
};
use thiserror::Error;

use super::ovs::{Owner, Port, VlanMode};
use crate::dataplane::links::is_host_end_name;

/// A port to be on a bridge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewPort {
    /// The bridge's name; it must exist.
    pub bridge: String,
    /// The device's name in the host, and the port's.
    pub name: String,
    /// The VLANs it carries.
    pub vlan: PortVlan,
    /// What is written to the port, `owner` included.
    pub external_ids: BTreeMap<String, String>,
    /// The OpenFlow port number to ask for. OVS gives another when it is taken.
    pub ofport_request: Option<u16>,
}

impl NewPort {
    /// Whether the port is already what is asked for.
    pub fn is_satisfied_by(&self, port: &Port) -> bool {
        let requested = port.interface().and_then(|interface| interface.ofport_request);
        port.bridge == self.bridge
            && port.has_vlan(&self.vlan)
            && requested == self.ofport_request.map(i64::from)
            && self.external_ids.iter().all(|(key, value)| port.external_ids.get(key) == Some(value))
    }
}

/// What a port does with VLAN tags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PortVlan {
    /// Frames are untagged and belong to this VLAN; 0 is the untagged one of the bridge.
    Access(u16),
    /// Frames of these VLANs pass with their tags.
    Trunk {
        /// The VLANs; none means all.
        ids: BTreeSet<u16>,
        /// The VLAN that passes untagged.
        native: Option<u16>,
    },
    /// No setting at all, as ovs-cni leaves a port: OVS lets every tag pass.
    Unset,
}

/// The three columns of a port that make its VLAN setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct VlanColumns {
    pub(super) tag: Option<u16>,
    pub(super) mode: Option<VlanMode>,
    pub(super) trunks: BTreeSet<u16>,
}

impl PortVlan {
    pub(super) fn columns(&self) -> VlanColumns {
        let (tag, mode, trunks) = match self {
            Self::Access(vlan) => (Some(*vlan), Some(VlanMode::Access), BTreeSet::new()),
            Self::Trunk { ids, native: None } => (None, Some(VlanMode::Trunk), ids.clone()),
            Self::Trunk { ids, native } => (*native, Some(VlanMode::NativeUntagged), ids.clone()),
            Self::Unset => (None, None, BTreeSet::new()),
        };
        VlanColumns { tag, mode, trunks }
    }
}

/// Why a port is not as asked for.
#[derive(Clone, Debug, Error)]
pub enum PortError {
    /// The database is out of reach. Whether a request that was under way took effect is unknown; asking
    /// again is right.
    #[error("OVSDB is out of reach")]
    Unreachable(#[source] Outage),
    /// The database did not answer in time. Whether the request took effect is unknown; asking again is right.
    #[error("OVSDB gave no answer within {after:?}")]
    Deadline {
        /// How long was waited.
        after: Duration,
    },
    /// Another agent works on this database.
    #[error("another agent holds the OVSDB lock")]
    NotHeld,
    /// The bridge is not there.
    #[error("there is no bridge {name}; bridges here: {}", list(existing))]
    NoSuchBridge {
        /// The bridge asked for.
        name: String,
        /// Those that are there.
        existing: Vec<String>,
    },
    /// A port of this name belongs to somebody else.
    #[error("port {name} belongs to {}", owner_text(owner))]
    Foreign {
        /// The port.
        name: String,
        /// Who made it.
        owner: Owner,
    },
    /// The database refuses.
    #[error("OVSDB refused {op}: {error}{}", details_text(details.as_deref()))]
    Refused {
        /// The operation's name, or `commit`.
        op: String,
        /// OVSDB's words.
        error: String,
        /// OVSDB's explanation.
        details: Option<String>,
    },
}

/// Why there is no connection, causes included.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct Outage(pub String);

/// What is known of the row of an existing port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Known {
    uuid: Uuid,
    external_ids: Arc<BTreeMap<String, String>>,
}

impl Known {
    pub(super) fn of_port(port: &Port) -> Self {
        Self { uuid: port.uuid, external_ids: Arc::clone(&port.external_ids) }
    }

    /// Reads a row of [`lookup`].
    pub(super) fn of_row(row: &Row) -> Option<Self> {
        Some(Self { uuid: row.uuid("_uuid")?, external_ids: Arc::new(row.map("external_ids")) })
    }

    /// Refuses a row that is not ours to touch. One that says nothing but bears the name of one of our host ends, a hash
    /// of the endpoint, is a port of ours that somebody cleared.
    pub(super) fn check_owner(&self, name: &str) -> Result<(), PortError> {
        let owner = Owner::of(&self.external_ids);
        let is_cleared = owner == Owner::Unnamed && is_host_end_name(name);
        if owner.is_ours() || is_cleared {
            Ok(())
        } else {
            Err(PortError::Foreign { name: name.to_owned(), owner })
        }
    }

    /// Fails the transaction unless the row is there with the external_ids that were seen: whose it is, and
    /// which keys an update has to clear, is decided from them.
    fn guard(&self, name: &str) -> Operation {
        let same = vec![Condition::row(self.uuid), Condition::equal("external_ids", &*self.external_ids)];
        Operation::wait("Port", same, Until::Equal).set("name", name)
    }
}

/// Asks the database itself for a port, when the published picture may be behind.
pub(super) fn lookup(name: &str) -> Operation {
    Operation::select("Port", vec![Condition::equal("name", name)], ["_uuid", "external_ids"])
}

/// Operations, the first of which are guards.
#[derive(Debug)]
pub(super) struct Transaction {
    pub(super) operations: Vec<Operation>,
    pub(super) guards: Vec<Guard>,
}

/// What a guard guards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Guard {
    /// The lock is ours.
    Lock,
    /// The bridge of this name exists.
    Bridge(String),
    /// The port's row is there with the external_ids that were seen.
    Row,
}

impl Transaction {
    /// A port that is not there.
    pub(super) fn insert(lock: &LockName, port: &NewPort) -> Self {
        const INTERFACE: NamedUuid = NamedUuid(1);
        const PORT: NamedUuid = NamedUuid(2);
        let mut interface = Operation::insert("Interface").named(INTERFACE).set("name", port.name.as_str());
        if let Some(number) = port.ofport_request {
            interface = interface.set("ofport_request", number);
        }
        let row = Operation::insert("Port")
            .named(PORT)
            .set("name", port.name.as_str())
            .set("interfaces", INTERFACE)
            .set("external_ids", &port.external_ids);
        let operations = vec![
            Operation::assert(lock),
            bridge_exists(&port.bridge),
            interface,
            set_vlan(row, &port.vlan),
            Operation::mutate("Bridge", named(&port.bridge)).mutation("ports", Mutator::Insert, PORT),
            next_cfg(),
        ];
        Self { operations, guards: vec![Guard::Lock, Guard::Bridge(port.bridge.clone())] }
    }

    /// A port that is there, on this or another bridge, to be as asked for.
    pub(super) fn update(lock: &LockName, port: &NewPort, known: &Known) -> Self {
        let elsewhere =
            vec![Condition::includes("ports", known.uuid), Condition::differs("name", port.bridge.as_str())];
        let row = vec![Condition::row(known.uuid)];
        let request = port.ofport_request.map_or_else(Datum::empty, Datum::from);
        let operations = vec![
            Operation::assert(lock),
            bridge_exists(&port.bridge),
            known.guard(&port.name),
            Operation::mutate("Bridge", elsewhere).mutation("ports", Mutator::Delete, known.uuid),
            Operation::mutate("Bridge", named(&port.bridge)).mutation("ports", Mutator::Insert, known.uuid),
            set_vlan(Operation::update("Port", row.clone()), &port.vlan),
            // A map's insert does not overwrite, so the keys go first. Keys of others stay.
            Operation::mutate("Port", row)
                .mutation("external_ids", Mutator::Delete, Datum::set(our_keys(known, port)))
                .mutation("external_ids", Mutator::Insert, &port.external_ids),
            Operation::update("Interface", named(&port.name)).set("ofport_request", request),
            next_cfg(),
        ];
        Self { operations, guards: vec![Guard::Lock, Guard::Bridge(port.bridge.clone()), Guard::Row] }
    }

    /// A port that is there, to be gone. Its Port and Interface rows are collected by the database when no
    /// bridge refers to them.
    pub(super) fn remove(lock: &LockName, name: &str, known: &Known) -> Self {
        let holder = vec![Condition::includes("ports", known.uuid)];
        let operations = vec![
            Operation::assert(lock),
            known.guard(name),
            Operation::mutate("Bridge", holder).mutation("ports", Mutator::Delete, known.uuid),
            next_cfg(),
        ];
        Self { operations, guards: vec![Guard::Lock, Guard::Row] }
    }
}

/// What a failed transaction means.
#[derive(Debug)]
pub(super) enum Failure {
    /// The picture that the transaction was built from was stale; look and try again.
    Stale(PortError),
    /// Anything else.
    Other(PortError),
}

impl Failure {
    /// The error for a caller who does not try again.
    pub(super) fn into_error(self) -> PortError {
        match self {
            Self::Stale(error) | Self::Other(error) => error,
        }
    }

    /// `bridges` are the names of those that are there, for the message.
    pub(super) fn new(guards: &[Guard], error: TransactError, bridges: Vec<String>) -> Self {
        match error {
            TransactError::Operation { index, op, refusal } => match guards.get(index) {
                Some(Guard::Lock) => Self::Other(PortError::NotHeld),
                Some(Guard::Bridge(name)) => {
                    Self::Other(PortError::NoSuchBridge { name: name.clone(), existing: bridges })
                }
                Some(Guard::Row) => Self::Stale(refused(op, refusal)),
                None => Self::Other(refused(op, refusal)),
            },
            // A name that is taken after all, or a row that vanished.
            TransactError::Commit(refusal) => Self::Stale(refused("commit", refusal)),
            TransactError::Call(error) => Self::Other(call_error(error)),
            TransactError::UndefinedName { op, name, .. } => {
                Self::Other(refused(op, Refusal { error: format!("{name} is not defined"), details: None }))
            }
        }
    }
}

/// What a failed call means.
fn call_error(error: CallError) -> PortError {
    match error {
        CallError::Closed { .. } => PortError::Unreachable(Outage(error.to_string())),
        CallError::Deadline { after, .. } => PortError::Deadline { after },
        CallError::Refused { method, refusal } => refused(&method, refusal),
        CallError::TooLarge { ref method, .. } => {
            refused(method, Refusal { error: error.to_string(), details: None })
        }
        CallError::Malformed { method, source } => refused(
            &method,
            Refusal { error: "unreadable answer".to_owned(), details: Some(source.to_string()) },
        ),
    }
}

fn refused(op: &str, refusal: Refusal) -> PortError {
    PortError::Refused { op: op.to_owned(), error: refusal.error, details: refusal.details }
}

fn bridge_exists(bridge: &str) -> Operation {
    Operation::wait("Bridge", named(bridge), Until::Equal).set("name", bridge)
}

fn named(name: &str) -> Vec<Condition> {
    vec![Condition::equal("name", name)]
}

/// Tells ovs-vswitchd that there is something to do, and lets anyone see (cur_cfg) when it is done.
fn next_cfg() -> Operation {
    Operation::mutate("Open_vSwitch", vec![]).mutation("next_cfg", Mutator::Add, 1)
}

fn set_vlan(operation: Operation, vlan: &PortVlan) -> Operation {
    let columns = vlan.columns();
    operation
        .set("tag", columns.tag.map_or_else(Datum::empty, Datum::from))
        .set("vlan_mode", columns.mode.map_or_else(Datum::empty, |mode| Datum::from(mode.as_str())))
        .set("trunks", Datum::set(columns.trunks))
}

/// The keys of `external_ids` that are ours to replace: those to be written, and those that an earlier writer
/// of ours or ovs-cni left.
fn our_keys<'a>(known: &'a Known, port: &'a NewPort) -> BTreeSet<&'a str> {
    let is_ours = |key: &&str| key.starts_with(KEY_PREFIX) || OVS_CNI_KEYS.contains(key);
    let left = known.external_ids.keys().map(String::as_str).filter(is_ours);
    left.chain(port.external_ids.keys().map(String::as_str)).collect()
}

/// What the keys of `external_ids` that only this agent writes begin with.
const KEY_PREFIX: &str = "underpass-";

/// What ovs-cni writes beside the owner.
const OVS_CNI_KEYS: [&str; 3] = ["contIface", "contNetns", "contPodUid"];

fn list(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

fn owner_text(owner: &Owner) -> &str {
    match owner {
        Owner::Underpass => "underpass",
        Owner::OvsCni => "ovs-cni",
        Owner::Other(name) => name,
        Owner::Unnamed => "somebody who does not say",
    }
}

fn details_text(details: Option<&str>) -> String {
    details.map(|details| format!(" ({details})")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::ovs::tests::{interface, port};
    use super::*;

    fn wanted() -> NewPort {
        NewPort {
            bridge: "br1".to_owned(),
            name: "v1".to_owned(),
            vlan: PortVlan::Access(0),
            external_ids: BTreeMap::from([("owner".to_owned(), "underpass".to_owned())]),
            ofport_request: None,
        }
    }

    #[test]
    fn a_port_satisfies_a_request_only_when_all_of_it_agrees() {
        assert!(wanted().is_satisfied_by(&port()));
        let changes: [fn(&mut Port); 6] = [
            |port| port.bridge = "br2".to_owned(),
            |port| port.tag = Some(5),
            |port| port.vlan_mode = None,
            |port| port.trunks = BTreeSet::from([5]),
            |port| port.external_ids = Arc::default(),
            |port| interface(port).ofport_request = Some(5),
        ];
        for change in changes {
            let mut port = port();
            change(&mut port);
            assert!(!wanted().is_satisfied_by(&port), "{port:?}");
        }
        let mut port = port();
        Arc::make_mut(&mut port.external_ids).insert("iface-id".to_owned(), "x".to_owned());
        assert!(wanted().is_satisfied_by(&port), "keys of others do not matter");
    }

    #[test]
    fn each_vlan_setting_has_its_columns() {
        let columns =
            |tag, mode, trunks: &[u16]| VlanColumns { tag, mode, trunks: trunks.iter().copied().collect() };
        let trunk = |native| PortVlan::Trunk { ids: BTreeSet::from([5, 6]), native };
        assert_eq!(PortVlan::Access(0).columns(), columns(Some(0), Some(VlanMode::Access), &[]));
        assert_eq!(trunk(None).columns(), columns(None, Some(VlanMode::Trunk), &[5, 6]));
        assert_eq!(trunk(Some(9)).columns(), columns(Some(9), Some(VlanMode::NativeUntagged), &[5, 6]));
        assert_eq!(PortVlan::Unset.columns(), columns(None, None, &[]));
    }

    #[test]
    fn only_ports_of_ours_or_of_ovs_cni_may_be_touched() {
        let check = |owner: Option<&str>, expected: Result<(), &str>| {
            let key = owner.map(|owner| ("owner".to_owned(), owner.to_owned()));
            let external_ids = Arc::new(key.into_iter().collect());
            let outcome =
                Known { uuid: Uuid(1), external_ids }.check_owner("v1").map_err(|error| error.to_string());
            assert_eq!(outcome, expected.map_err(str::to_owned));
        };
        check(Some("underpass"), Ok(()));
        check(Some("ovs-cni.network.kubevirt.io"), Ok(()));
        check(Some("neutron"), Err("port v1 belongs to neutron"));
        check(None, Err("port v1 belongs to somebody who does not say"));
    }

    #[test]
    fn an_update_replaces_our_keys_and_leaves_those_of_others() {
        let known =
            ["owner", "underpass-ips", "contNetns", "iface-id"].map(|key| (key.to_owned(), String::new()));
        let known = Known { uuid: Uuid(1), external_ids: Arc::new(BTreeMap::from(known)) };
        assert_eq!(our_keys(&known, &wanted()), BTreeSet::from(["contNetns", "owner", "underpass-ips"]));
    }

    #[test]
    fn a_failed_guard_says_what_was_not_as_thought() {
        let guards = [Guard::Lock, Guard::Bridge("br1".to_owned()), Guard::Row];
        let refusal = || Refusal { error: "timed out".to_owned(), details: None };
        let failure = |error| Failure::new(&guards, error, vec!["br2".to_owned()]);
        let at = |index| failure(TransactError::Operation { index, op: "wait", refusal: refusal() });
        assert!(matches!(at(0), Failure::Other(PortError::NotHeld)));
        assert_eq!(at(1).into_error().to_string(), "there is no bridge br1; bridges here: br2");
        assert!(matches!(at(2), Failure::Stale(_)));
        assert!(matches!(at(3), Failure::Other(PortError::Refused { .. })));
        assert!(matches!(failure(TransactError::Commit(refusal())), Failure::Stale(_)));
    }

    #[test]
    fn errors_are_sentences_for_people() {
        let missing = |existing: &[&str]| PortError::NoSuchBridge {
            name: "br9".to_owned(),
            existing: existing.iter().map(ToString::to_string).collect(),
        };
        assert_eq!(missing(&["br1", "br2"]).to_string(), "there is no bridge br9; bridges here: br1, br2");
        assert_eq!(missing(&[]).to_string(), "there is no bridge br9; bridges here: none");
        let refused =
            PortError::Refused { op: "insert".into(), error: "range".into(), details: Some("x".into()) };
        assert_eq!(refused.to_string(), "OVSDB refused insert: range (x)");
    }
}
