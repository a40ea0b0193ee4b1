//! Stage 3: the port in OVSDB, and the number that the switch gave it.
//!
//! One transaction for each endpoint, pipelined: a bad one fails alone. The number arrives as a fact.

use std::sync::Arc;

use futures::StreamExt as _;

use super::Reconciler;
use super::database;
use super::pass::Pass;
use crate::dataplane::ports::{Bridge, NewPort, PortError};
use crate::limits::{LINK_CONCURRENCY, PORT_PATIENCE};
use crate::model::{EndpointId, Phase, Stage, StageError};

impl Reconciler {
    pub(super) async fn ports(&mut self, pass: &mut Pass) {
        self.sweep_former_boots(pass).await;
        let ids: Vec<_> = pass.works.keys().cloned().collect();
        let mut wanted = Vec::new();
        for id in ids {
            if let Some(port) = self.port_to_write(pass, &id) {
                wanted.push((id, port));
            }
        }
        let wanted = self.lowered(pass, wanted).await;
        let ports = &self.parts.ports;
        let done: Vec<_> = futures::stream::iter(wanted)
            .map(|(id, port)| async move { (id, ports.add_port(port).await) })
            .buffer_unordered(LINK_CONCURRENCY)
            .collect()
            .await;
        for (id, outcome) in done {
            match outcome {
                Ok(()) => self.memories.get_mut(&id).succeed(Stage::Ports),
                Err(PortError::Unreachable(_) | PortError::Deadline { .. } | PortError::NotHeld) => {
                    // Nobody's fault: whether it is there shows when the database is back.
                    self.memories.get_mut(&id).port_asked = None;
                }
                Err(error) => {
                    let text = crate::report::chain(&error);
                    self.fail(pass, &id, Stage::Ports, StageError::PortRefused(text));
                }
            }
        }
    }

    /// Sets host ends down that get a new port on the userspace datapath, where the flows are the only wall and come after
    /// the port. What cannot be set down gets no port.
    async fn lowered(
        &mut self,
        pass: &mut Pass,
        wanted: Vec<(EndpointId, NewPort)>,
    ) -> Vec<(EndpointId, NewPort)> {
        let open_to_all = |id: &EndpointId, port: &NewPort| {
            let userspace = pass.ovs.bridges.get(&port.bridge).is_some_and(Bridge::is_userspace);
            let is_new = pass.ovs.ports.get(&port.name).is_none_or(|there| there.bridge != port.bridge);
            let raised = self.memories.get(id).is_some_and(|memory| memory.raised);
            userspace && is_new && (raised || pass.veths.get(&port.name).is_some_and(|veth| veth.is_up))
        };
        let (up, mut ready): (Vec<_>, Vec<_>) =
            wanted.into_iter().partition(|(id, port)| open_to_all(id, port));
        let links = &self.parts.links;
        let done: Vec<_> = futures::stream::iter(up)
            .map(|(id, port)| async move {
                let outcome = links.set_host_up(&port.name, false).await;
                (id, port, outcome)
            })
            .buffer_unordered(LINK_CONCURRENCY)
            .collect()
            .await;
        for (id, port, outcome) in done {
            match outcome {
                Ok(()) => {
                    self.memories.get_mut(&id).raised = false;
                    ready.push((id, port));
                }
                Err(error) => {
                    self.memories.get_mut(&id).port_asked = None;
                    self.fail(pass, &id, Stage::Ports, StageError::Other(crate::report::chain(&error)));
                }
            }
        }
        ready
    }

    /// The port to be written for an endpoint, if it is not there as it should be.
    fn port_to_write(&mut self, pass: &mut Pass, id: &EndpointId) -> Option<NewPort> {
        let (now, ovs) = (pass.now, Arc::clone(&pass.ovs));
        let work = pass.works.get_mut(id)?;
        let memory = self.memories.get_mut(id);
        let port = database::wanted(&work.entry.endpoint, &self.parts.boot_id);
        let number = database::number(&ovs, &port.name);
        if work.entry.phase == Phase::Live {
            // Whatever is wrong with a stage before this one, the flows of a live endpoint stay.
            work.ofport = number.clone().ok().flatten();
        }
        work.ifindex?;
        if let Some(why) = ovs.outage() {
            work.wait(Stage::Ports, format!("OVSDB is out of reach: {why}"));
            // The number that it had still holds as long as the switch runs.
            work.ofport = number.ok().flatten();
            return None;
        }
        if !ovs.bridges.contains_key(&port.bridge) {
            work.wait(Stage::Ports, format!("there is no bridge {}", port.bridge));
            return None;
        }
        if ovs.ports.get(&port.name).is_some_and(|there| port.is_satisfied_by(there)) {
            match number {
                Ok(Some(ofport)) => work.ofport = Some(ofport),
                Ok(None) => work.wait(Stage::Ports, "the switch has not given the port a number yet"),
                Err(_) if memory.backs_off(Stage::Ports, now) => self.recall(pass, id, Stage::Ports),
                Err(text) => self.fail(pass, id, Stage::Ports, StageError::PortRefused(text)),
            }
            return None;
        }
        if memory.backs_off(Stage::Ports, now) {
            self.recall(pass, id, Stage::Ports);
            return None;
        }
        work.wait(Stage::Ports, "the port is being made");
        if memory.port_asked.as_ref().is_some_and(|(asked, at)| *asked == port && now < *at + PORT_PATIENCE) {
            return None;
        }
        memory.port_asked = Some((port.clone(), now));
        Some(port)
    }

    /// Once, as soon as the database is known: ports of ours that an earlier boot left behind.
    async fn sweep_former_boots(&mut self, pass: &Pass) {
        if self.swept || pass.ovs.outage().is_some() {
            return;
        }
        self.swept = true;
        for name in database::of_other_boots(&pass.ovs, &self.parts.boot_id) {
            match self.parts.ports.remove_port(&name).await {
                Ok(()) => tracing::info!(port = %name, "port of an earlier boot removed"),
                Err(error) => {
                    tracing::warn!(port = %name, error = crate::report::chain(&error), "port of an earlier boot stays");
                    self.swept = false;
                }
            }
        }
    }
}
