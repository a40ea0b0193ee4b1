//! Stage 1: the veth pair, made with its peer already in the pod's namespace; later the pod's end, prepared and up.
//!
//! The host end stays down: no frame of the pod can arrive before the guard is there. So the pod's end can wait until the
//! port was asked for, and is prepared while Open vSwitch takes the port in.

use std::sync::Arc;

use futures::StreamExt as _;

use super::Reconciler;
use super::pass::{Pass, Work};
use crate::dataplane::links::{HostVeth, Ipv6Mode, LinkError, Links, Offloads, PodLinkSpec, VethSpec};
use crate::dataplane::netns::Netns;
use crate::dataplane::ports::Bridge;
use crate::limits::LINK_CONCURRENCY;
use crate::model::{Endpoint, Entry, Phase, Site, Stage, StageError};
use crate::report::chain;

impl Reconciler {
    pub(super) async fn links(&mut self, pass: &mut Pass) {
        let jobs: Vec<_> = pass.works.values().filter_map(|work| self.to_make(pass, &work.entry)).collect();
        let links = &self.parts.links;
        let done: Vec<_> =
            futures::stream::iter(jobs)
                .map(|(endpoint, netns)| async move {
                    (endpoint.id.clone(), make(links, &endpoint, &netns).await)
                })
                .buffer_unordered(LINK_CONCURRENCY)
                .collect()
                .await;
        for (id, outcome) in done {
            match outcome {
                Ok(ifindex) => {
                    let memory = self.memories.get_mut(&id);
                    memory.succeed(Stage::Links);
                    memory.ifindex = Some(ifindex);
                }
                Err(error) => self.fail(pass, &id, Stage::Links, StageError::Other(chain(&error))),
            }
        }
        let (mut lost, mut unmarked) = (Vec::new(), Vec::new());
        for (id, work) in &mut pass.works {
            let name = work.entry.endpoint.host_ifname();
            let memory = self.memories.get_mut(id);
            let bears_mark = |veth: &HostVeth| veth.alias.as_deref() == Some(&id.alias());
            // One that was ours stays ours, whoever wrote over its mark.
            let seen = pass.veths.get(&name).filter(|v| bears_mark(v) || memory.ifindex == Some(v.index.0));
            // While an ADD is under way, what was seen may be older than the mark.
            if work.entry.phase == Phase::Live && seen.is_some_and(|veth| !bears_mark(veth)) {
                unmarked.push((id.clone(), name.clone()));
            }
            match seen {
                Some(veth) => {
                    if work.entry.phase == Phase::Live {
                        memory.succeed(Stage::Links);
                    }
                    memory.ifindex = Some(veth.index.0);
                }
                // The monitor may not have told of a link that was just made.
                None if work.entry.phase == Phase::Live => memory.ifindex = None,
                None => {}
            }
            work.ifindex = memory.ifindex;
            if work.ifindex.is_none() && work.entry.phase == Phase::Live {
                if !memory.backs_off(Stage::Links, pass.now) {
                    lost.push((id.clone(), name));
                }
            } else if work.ifindex.is_none() && memory.fault.is_none() {
                work.wait(Stage::Links, "the pod's network namespace is not known yet");
            }
        }
        for (id, name) in lost {
            self.fail(pass, &id, Stage::Links, StageError::Other(format!("host veth {name} is gone")));
        }
        for (id, name) in unmarked {
            tracing::warn!(endpoint = %id, link = %name, "somebody wrote over the mark of a host end, marking it again");
            if let Err(error) = self.parts.links.mark(&name, &id.alias()).await {
                pass.faults.insert(Site::HostVeth(name.clone()), chain(&error));
            }
        }
        let backing_off: Vec<_> = pass.works.keys().cloned().collect();
        for id in backing_off {
            self.recall(pass, &id, Stage::Links);
        }
    }

    /// The endpoint whose pair is missing, and where its pod's end belongs.
    fn to_make(&self, pass: &Pass, entry: &Entry) -> Option<(Endpoint, Netns)> {
        let endpoint = &entry.endpoint;
        let memory = self.memories.get(&endpoint.id)?;
        let netns = memory.netns.clone()?;
        let idle = memory.ifindex.is_some() || entry.phase == Phase::Live;
        (!idle && !memory.backs_off(Stage::Links, pass.now)).then(|| (endpoint.clone(), netns))
    }

    /// Prepares the pod's ends of endpoints whose addresses are known, and sets them up.
    pub(super) async fn prepare(&mut self, pass: &mut Pass) {
        let jobs: Vec<_> = pass.works.values().filter_map(|work| self.to_prepare(pass, work)).collect();
        let links = &self.parts.links;
        let done: Vec<_> = futures::stream::iter(jobs)
            .map(|(entry, netns, offloads)| async move {
                let endpoint = &entry.endpoint;
                let spec = PodLinkSpec {
                    ifname: &endpoint.id.ifname,
                    mac: endpoint.mac,
                    mtu: endpoint.mtu,
                    ipv6: ipv6_mode(endpoint),
                    offloads,
                };
                let outcome = links.prepare_pod_link(&netns, spec).await;
                (entry, outcome)
            })
            .buffer_unordered(LINK_CONCURRENCY)
            .collect()
            .await;
        for (entry, outcome) in done {
            let id = &entry.endpoint.id;
            match outcome {
                Ok(_) => {
                    let memory = self.memories.get_mut(id);
                    memory.succeed(Stage::Links);
                    memory.prepared = Some(entry.revision);
                }
                Err(error) => self.fail(pass, id, Stage::Links, StageError::Other(chain(&error))),
            }
        }
    }

    fn to_prepare(&self, pass: &Pass, work: &Work) -> Option<(Arc<Entry>, Netns, Offloads)> {
        let entry = &work.entry;
        let memory = self.memories.get(work.id())?;
        let netns = memory.netns.clone()?;
        let idle =
            work.ifindex.is_none() || entry.phase != Phase::Adding || memory.prepared == Some(entry.revision);
        if idle || memory.backs_off(Stage::Links, pass.now) {
            return None;
        }
        let userspace = pass.ovs.bridges.get(&entry.endpoint.bridge).is_some_and(Bridge::is_userspace);
        let offloads = if userspace { Offloads::TransmitOff } else { Offloads::Keep };
        Some((Arc::clone(entry), netns, offloads))
    }
}

async fn make(links: &Links, endpoint: &Endpoint, netns: &Netns) -> Result<u32, LinkError> {
    let spec = VethSpec {
        host_ifname: &endpoint.host_ifname(),
        alias: &endpoint.id.alias(),
        pod_ifname: &endpoint.id.ifname,
        pod_netns: netns,
        mtu: endpoint.mtu,
        mac: endpoint.mac,
    };
    Ok(links.create_veth(&spec).await?.index.0)
}

fn ipv6_mode(endpoint: &Endpoint) -> Ipv6Mode {
    let layer2 = endpoint.addresses.is_empty();
    match (endpoint.guard.slaac, endpoint.has_ipv6()) {
        (true, _) => Ipv6Mode::Slaac,
        (false, true) => Ipv6Mode::Static,
        // Without addresses the guard checks the MAC alone, and whoever owns the interface decides.
        (false, false) if layer2 => Ipv6Mode::Static,
        (false, false) => Ipv6Mode::Off,
    }
}
