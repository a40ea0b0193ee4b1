//! Stage 1: the veth pair, made with its peer already in the pod's namespace; the pod's end prepared and up.
//!
//! The host end stays down: no frame of the pod can arrive before the guard is there.

use futures::StreamExt as _;

use super::Reconciler;
use super::pass::Pass;
use crate::dataplane::links::{Ipv6Mode, LinkError, Links, Offloads, PodLinkSpec, VethSpec};
use crate::dataplane::netns::Netns;
use crate::limits::LINK_CONCURRENCY;
use crate::model::{Endpoint, EndpointId, Entry, Phase, Stage, StageError};

/// A link to be made or brought up to date.
struct Job {
    id: EndpointId,
    endpoint: Endpoint,
    phase: Phase,
    netns: Netns,
    ifindex: Option<u32>,
    offloads: Offloads,
}

impl Reconciler {
    pub(super) async fn links(&mut self, pass: &mut Pass) {
        let jobs: Vec<_> = pass.works.values().filter_map(|work| self.job(pass, &work.entry)).collect();
        let links = &self.parts.links;
        let done: Vec<_> = futures::stream::iter(jobs)
            .map(|job| async move { (job.id.clone(), job.phase, make(links, &job).await) })
            .buffer_unordered(LINK_CONCURRENCY)
            .collect()
            .await;
        for (id, phase, outcome) in done {
            self.made(pass, &id, phase, outcome);
        }
        let mut lost = Vec::new();
        for (id, work) in &mut pass.works {
            let name = work.entry.endpoint.host_ifname();
            let seen = pass.veths.get(&name).filter(|v| v.alias.as_deref() == Some(&id.alias()));
            let memory = self.memories.get_mut(id);
            match seen {
                Some(veth) => memory.ifindex = Some(veth.index.0),
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
        let backing_off: Vec<_> = pass.works.keys().cloned().collect();
        for id in backing_off {
            self.recall(pass, &id, Stage::Links);
        }
    }

    /// What there is to do for an endpoint, if anything.
    fn job(&self, pass: &Pass, entry: &Entry) -> Option<Job> {
        let endpoint = &entry.endpoint;
        let memory = self.memories.get(&endpoint.id)?;
        let netns = memory.netns.clone()?;
        let wanted = (entry.phase == Phase::Adding).then_some(entry.revision);
        let settled = memory.ifindex.is_some() && (wanted.is_none() || memory.prepared == wanted);
        if settled || entry.phase == Phase::Live || memory.backs_off(Stage::Links, pass.now) {
            return None;
        }
        let userspace =
            pass.ovs.bridges.get(&endpoint.bridge).is_some_and(crate::dataplane::ports::Bridge::is_userspace);
        Some(Job {
            id: endpoint.id.clone(),
            endpoint: endpoint.clone(),
            phase: entry.phase,
            netns,
            ifindex: memory.ifindex,
            offloads: if userspace { Offloads::TransmitOff } else { Offloads::Keep },
        })
    }

    fn made(&mut self, pass: &mut Pass, id: &EndpointId, phase: Phase, outcome: Result<u32, LinkError>) {
        match outcome {
            Ok(ifindex) => {
                let revision = pass.works.get(id).map(|w| w.entry.revision);
                let memory = self.memories.get_mut(id);
                memory.succeed(Stage::Links);
                memory.ifindex = Some(ifindex);
                if phase == Phase::Adding {
                    memory.prepared = revision;
                }
            }
            Err(error) => {
                let text = crate::report::chain(&error);
                self.fail(pass, id, Stage::Links, StageError::Other(text));
            }
        }
    }
}

/// Makes the pair if it is missing; once addresses are known, prepares the pod's end and sets it up.
async fn make(links: &Links, job: &Job) -> Result<u32, LinkError> {
    let Job { endpoint, netns, .. } = job;
    let ifindex = if let Some(ifindex) = job.ifindex {
        ifindex
    } else {
        let spec = VethSpec {
            host_ifname: &endpoint.host_ifname(),
            alias: &endpoint.id.alias(),
            pod_ifname: &endpoint.id.ifname,
            pod_netns: netns,
            mtu: endpoint.mtu,
            mac: endpoint.mac,
        };
        links.create_veth(&spec).await?.index.0
    };
    if job.phase == Phase::Adding {
        let spec = PodLinkSpec {
            ifname: &endpoint.id.ifname,
            mac: endpoint.mac,
            mtu: endpoint.mtu,
            ipv6: ipv6_mode(endpoint),
            offloads: job.offloads,
        };
        links.prepare_pod_link(netns, spec).await?;
    }
    Ok(ifindex)
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
