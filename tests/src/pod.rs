//! A pod as the runtime sees it: a namespace, an attachment, and the verbs called on them.

use std::net::IpAddr;
use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use agent_api::control::v1::{Endpoint, EndpointRef};
use serde_json::{Value, json};

use crate::cni::{Answer, Attachment, Conf, Verb, call, call_into, call_late};
use crate::eventually::eventually;
use crate::host::{Host, must};
use crate::lab::Lab;
use crate::machine::CNI_PATH;

/// The Kubernetes namespace of every pod of a lab.
const KUBERNETES_NAMESPACE: &str = "lab";

/// The last number of the first address that host-local gives; the ones below are for the story to fix.
const FIRST_HOST: &str = "20";

/// A pod that is being drawn.
#[derive(Debug)]
pub struct PodDrawing<'lab> {
    lab: &'lab Lab,
    name: String,
    ifname: String,
    conf: Conf,
    addresses: Vec<String>,
    ipam: bool,
    path: String,
}

impl<'lab> PodDrawing<'lab> {
    pub(crate) fn new(lab: &'lab Lab, name: &str, bridge: &str) -> Self {
        let conf = Conf::on(bridge);
        Self {
            lab,
            name: name.to_owned(),
            ifname: "eth0".to_owned(),
            conf,
            addresses: Vec::new(),
            ipam: true,
            path: CNI_PATH.to_owned(),
        }
    }

    /// On another bridge than the first one drawn.
    #[must_use]
    pub fn bridge(self, bridge: &str) -> Self {
        self.key("bridge", bridge)
    }

    /// An access port of this VLAN.
    #[must_use]
    pub fn vlan(self, vlan: u16) -> Self {
        self.key("vlan", vlan)
    }

    /// A fixed address (`"10.0.0.5/24"`), given by the `static` plugin; without any, `host-local` gives one of
    /// each family.
    #[must_use]
    pub fn address(mut self, address: &str) -> Self {
        self.addresses.push(address.to_owned());
        self
    }

    /// No IPAM at all: an attachment of layer 2 only.
    #[must_use]
    pub fn without_ipam(mut self) -> Self {
        self.ipam = false;
        self
    }

    /// Any key of the CNI configuration.
    #[must_use]
    pub fn key(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.conf = self.conf.key(name, value);
        self
    }

    /// Another interface name than `eth0`.
    #[must_use]
    pub fn ifname(mut self, ifname: &str) -> Self {
        ifname.clone_into(&mut self.ifname);
        self
    }

    /// Its IPAM plugin is looked for in this directory first: a story's own stands in for the real one.
    #[must_use]
    pub fn plugins_from(mut self, dir: &Path) -> Self {
        self.path = format!("{}:{CNI_PATH}", dir.display());
        self
    }

    /// Makes the namespace and calls ADD, which must succeed.
    #[track_caller]
    pub fn up(self) -> Pod<'lab> {
        let pod = self.place();
        pod.add().succeeded();
        pod
    }

    /// Makes the namespace; ADD is the story's to call.
    #[track_caller]
    pub fn place(self) -> Pod<'lab> {
        let lab = self.lab;
        let conf = if self.ipam { self.conf.clone().key("ipam", self.ipam_conf()) } else { self.conf };
        let host = must(lab.keep_host(&self.name, &self.ifname), &format!("no namespace for {}", self.name));
        let attachment = Attachment {
            container: lab.container_id(&self.name),
            netns: host.netns().path().to_owned(),
            ifname: self.ifname,
            path: self.path,
            args: format!(
                "IgnoreUnknown=1;K8S_POD_NAMESPACE={KUBERNETES_NAMESPACE};K8S_POD_NAME={};K8S_POD_UID=uid-{}",
                self.name, self.name
            ),
            conf,
        };
        Pod { lab, host, attachment }
    }

    fn ipam_conf(&self) -> Value {
        let gateways = self.lab.gateway_addresses();
        if !self.addresses.is_empty() {
            let fixed = |address: &String| {
                let gateway = gateways.iter().find(|gateway| gateway.contains(':') == address.contains(':'));
                let mut entry = json!({ "address": address });
                if let Some(gateway) = gateway {
                    entry["gateway"] = json!(bare(gateway));
                }
                entry
            };
            let entries: Vec<Value> = self.addresses.iter().map(fixed).collect();
            return json!({ "type": "static", "addresses": entries });
        }
        let range = |gateway: &String| {
            let (address, length) = gateway.split_once('/').unwrap_or((gateway, "24"));
            // The network's own address is the gateway's with its last number cut off: the lab draws ".1".
            let cut = address.rfind(['.', ':']).map_or(0, |at| at + 1);
            let net = if address.contains(':') {
                address[..cut].to_owned()
            } else {
                format!("{}0", &address[..cut])
            };
            let start = format!("{}{FIRST_HOST}", &address[..cut]);
            json!([{ "subnet": format!("{net}/{length}"), "rangeStart": start, "gateway": address }])
        };
        let default =
            |gateway: &String| json!({ "dst": if gateway.contains(':') { "::/0" } else { "0.0.0.0/0" } });
        json!({
            "type": "host-local",
            "dataDir": self.lab.room_path("ipam"),
            "ranges": gateways.iter().map(range).collect::<Vec<_>>(),
            "routes": gateways.iter().map(default).collect::<Vec<_>>(),
        })
    }
}

/// A pod that has its namespace.
#[derive(Debug)]
pub struct Pod<'lab> {
    lab: &'lab Lab,
    host: Arc<Host>,
    attachment: Attachment,
}

impl Deref for Pod<'_> {
    type Target = Host;

    fn deref(&self) -> &Host {
        &self.host
    }
}

impl Pod<'_> {
    /// What the runtime repeats with every verb; a story may lie in it.
    pub fn attachment(&self) -> &Attachment {
        &self.attachment
    }

    /// Calls ADD.
    #[track_caller]
    pub fn add(&self) -> Answer {
        // Noted before the call: whatever ADD leaves behind, `finish` must be able to take away.
        self.lab.note_added(&self.attachment);
        self.call(Verb::Add)
    }

    /// Calls ADD by a shim that was started `late` ago and held up.
    #[track_caller]
    pub fn add_late(&self, late: Duration) -> Answer {
        self.lab.note_added(&self.attachment);
        must(call_late(self.lab.ground(), Verb::Add, &self.attachment, late), "a late ADD")
    }

    /// Calls ADD by a runtime that reads its result from the file at `out`, or does not.
    #[track_caller]
    pub fn add_into(&self, out: &Path) -> Answer {
        self.lab.note_added(&self.attachment);
        must(call_into(self.lab.ground(), Verb::Add, &self.attachment, out), "an ADD")
    }

    /// Calls DEL.
    #[track_caller]
    pub fn del(&self) -> Answer {
        let answer = self.call(Verb::Del);
        if answer.exit == Some(0) {
            self.lab.note_deleted(&self.attachment);
        }
        answer
    }

    /// Calls CHECK with the result of an ADD as `prevResult`.
    #[track_caller]
    pub fn check(&self, result: &Value) -> Answer {
        let mut attachment = self.attachment.clone();
        attachment.conf = attachment.conf.key("prevResult", result.clone());
        must(call(self.lab.ground(), Verb::Check, &attachment), "CHECK")
    }

    /// Calls any verb with the pod's attachment.
    #[track_caller]
    pub fn call(&self, verb: Verb) -> Answer {
        must(call(self.lab.ground(), verb, &self.attachment), &format!("{verb:?} of {}", self.name()))
    }

    /// Takes the namespace away, as a runtime that crashed between two calls.
    pub fn lose_netns(&self) {
        must(self.host.netns().delete(), &format!("the namespace of {}", self.name()));
    }

    /// The first IPv4 address.
    #[track_caller]
    pub fn v4(&self) -> IpAddr {
        self.address_where("IPv4", IpAddr::is_ipv4)
    }

    /// The first IPv6 address that is not link-local.
    #[track_caller]
    pub fn v6(&self) -> IpAddr {
        self.address_where("IPv6", |ip| matches!(ip, IpAddr::V6(v6) if !v6.is_unicast_link_local()))
    }

    /// Both: IPv4, then IPv6.
    #[track_caller]
    pub fn both(&self) -> [IpAddr; 2] {
        [self.v4(), self.v6()]
    }

    /// How the agent prints the endpoint.
    pub fn endpoint_id(&self) -> String {
        format!("{KUBERNETES_NAMESPACE}/{}:{}", self.name(), self.attachment.ifname)
    }

    /// True where this pod is who the agent's answer speaks of.
    pub fn is_in(&self, named: Option<&EndpointRef>) -> bool {
        named.is_some_and(|named| named.container_id == self.attachment.container)
    }

    /// What the agent knows about it.
    #[track_caller]
    pub fn endpoint(&self) -> Endpoint {
        let id = self.endpoint_id();
        eventually(self.lab.within_seconds(5), &format!("the agent lists {id}"), || {
            let all = self.lab.agent().endpoints().map_err(|error| format!("{error:#}"))?;
            let known: Vec<String> =
                all.iter().filter_map(|one| one.r#ref.as_ref().map(|r| r.id.clone())).collect();
            let ours = all.into_iter().find(|one| self.is_in(one.r#ref.as_ref()));
            ours.ok_or_else(|| format!("it lists only {known:?}"))
        })
    }

    /// Name of the host's end of the veth pair.
    #[track_caller]
    pub fn port(&self) -> String {
        self.endpoint().host_ifname
    }

    #[track_caller]
    fn address_where(&self, family: &str, wanted: impl Fn(&IpAddr) -> bool) -> IpAddr {
        let all = self.addresses();
        let Some(found) = all.iter().copied().find(wanted) else {
            panic!("{} has no {family} address, only {all:?}", self.name());
        };
        found
    }
}

/// An address without its prefix length.
pub(crate) fn bare(address: &str) -> &str {
    address.split_once('/').map_or(address, |(ip, _)| ip)
}
