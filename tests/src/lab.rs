//! The lab: one node drawn from a bridge, a gateway, an agent and pods, each part real.
//!
//! ```text
//!   pod a     pod b     gateway   foreign host        one namespace each
//!     |         |          |           |              veth pairs
//!  ---+---------+----------+-----------+---  br1      Open vSwitch of this lab ┐ in the node's
//!              underpass-agent                        run_dir, bpffs of its own ┘ namespace
//! ```
//!
//! Labs share nothing, so stories run in parallel. `finish` deletes the pods, checks that nothing is left and takes
//! everything away; a story that panics gets the same taken away, and the logs printed, by `Drop`.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;

use crate::agent::Agent;
use crate::cni::{Attachment, Verb, call, call_at, container_id};
use crate::eventually::eventually;
use crate::flows::{self, Flow};
use crate::ground::Ground;
use crate::host::{Host, Neighbour, must, set_sysctl, sysctl};
use crate::leftovers;
use crate::machine::{Datapath, require_cni_plugins};
use crate::netns::Netns;
use crate::pod::{PodDrawing, bare};
use crate::switch::Switch;
use crate::wire::link_names;

/// A lab that is being drawn.
#[derive(Debug, Default)]
pub struct Drawing {
    bridges: Vec<String>,
    gateway: Vec<String>,
    agent: bool,
    config: String,
    node_sysctls: Vec<(String, String)>,
}

impl Drawing {
    /// A bridge; the first one is where everything goes that names no other.
    #[must_use]
    pub fn bridge(mut self, name: &str) -> Self {
        self.bridges.push(name.to_owned());
        self
    }

    /// The network's gateway on the first bridge: `gateway("10.0.0.1/24", "fd00::1/64")`.
    #[must_use]
    pub fn gateway(mut self, v4: &str, v6: &str) -> Self {
        self.gateway = vec![v4.to_owned(), v6.to_owned()];
        self
    }

    /// The agent, started and ready.
    #[must_use]
    pub fn agent(mut self) -> Self {
        self.agent = true;
        self
    }

    /// Further TOML for the agent's configuration.
    #[must_use]
    pub fn config(mut self, toml: &str) -> Self {
        self.config.push_str(toml);
        self.config.push('\n');
        self
    }

    /// A sysctl of the node's namespace, set before anything is made in it.
    #[must_use]
    pub fn node_sysctl(mut self, key: &str, value: &str) -> Self {
        self.node_sysctls.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Makes it real.
    #[track_caller]
    pub fn build(self) -> Lab {
        must(Lab::build(self), "the lab cannot be built")
    }
}

/// One node and its network, real until `finish`.
#[derive(Debug)]
pub struct Lab {
    ground: Arc<Ground>,
    switch: Switch,
    agent: Agent,
    bridges: Vec<String>,
    gateway: Option<Neighbour>,
    gateway_addresses: Vec<String>,
    /// The namespaces of pods and neighbours: a story that drops a handle has not lost what it names.
    hosts: Mutex<Vec<Arc<Host>>>,
    /// What ADD was called for and no DEL succeeded since.
    added: Mutex<Vec<Attachment>>,
    finished: bool,
}

impl Lab {
    /// Begins a drawing.
    pub fn draw() -> Drawing {
        Drawing::default()
    }

    /// The usual drawing: one bridge, a gateway for both families, an agent that is ready.
    #[track_caller]
    pub fn usual() -> Self {
        Self::with_config("")
    }

    /// The usual drawing with further TOML in the agent's configuration.
    #[track_caller]
    pub fn with_config(toml: &str) -> Self {
        Self::draw().bridge("br1").gateway("10.0.0.1/24", "fd00::1/64").config(toml).agent().build()
    }

    fn build(drawing: Drawing) -> Result<Self> {
        if drawing.agent {
            require_cni_plugins()?;
        }
        let ground = Arc::new(Ground::prepare()?);
        for (key, value) in &drawing.node_sysctls {
            set_sysctl(&ground.node, key, value)?;
        }
        let switch = Switch::start(Arc::clone(&ground))?;
        let agent = Agent::configure(Arc::clone(&ground), &drawing.bridges, &drawing.config)?;
        let mut lab = Self {
            ground,
            switch,
            agent,
            bridges: drawing.bridges,
            gateway: None,
            gateway_addresses: drawing.gateway,
            hosts: Mutex::default(),
            added: Mutex::default(),
            finished: false,
        };
        // From here on a failure is cleaned up by the lab's own Drop.
        for bridge in &lab.bridges {
            lab.add_bridge(bridge)?;
        }
        if !lab.gateway_addresses.is_empty() {
            let addresses: Vec<&str> = lab.gateway_addresses.iter().map(String::as_str).collect();
            lab.gateway = Some(lab.try_foreign_host("gw", lab.bridge(), 0, &addresses)?);
        }
        if drawing.agent {
            lab.agent.start()?;
        }
        Ok(lab)
    }

    /// Makes a bridge on the lab's datapath.
    pub fn add_bridge(&self, name: &str) -> Result<()> {
        let datapath = format!("datapath_type={}", self.ground.datapath.ovs_name());
        let words = ["--", "add-br", name, "--", "set", "Bridge", name, &datapath, "fail_mode=standalone"];
        self.switch.vsctl(&words).map(drop)
    }

    /// Begins a pod on the first bridge.
    pub fn pod(&self, name: &str) -> PodDrawing<'_> {
        PodDrawing::new(self, name, self.bridge())
    }

    /// A host behind an untagged port of the first bridge that the agent knows nothing of.
    #[track_caller]
    pub fn foreign_host(&self, name: &str, addresses: &[&str]) -> Neighbour {
        must(self.try_foreign_host(name, self.bridge(), 0, addresses), &format!("no foreign host {name}"))
    }

    /// A host behind an access port of a VLAN of the first bridge that the agent knows nothing of.
    #[track_caller]
    pub fn foreign_host_on(&self, vlan: u16, name: &str, addresses: &[&str]) -> Neighbour {
        must(self.try_foreign_host(name, self.bridge(), vlan, addresses), &format!("no foreign host {name}"))
    }

    fn try_foreign_host(&self, name: &str, bridge: &str, vlan: u16, addresses: &[&str]) -> Result<Neighbour> {
        let host = self.keep_host(name, "eth0")?;
        let neighbour = Neighbour::cable(&self.ground.node, host, addresses, self.ground.datapath)?;
        let tag = format!("tag={vlan}");
        let words: &[&str] = if vlan == 0 { &[] } else { &[&tag, "vlan_mode=access"] };
        self.switch.vsctl(&[&["--", "add-port", bridge, neighbour.port()], words].concat())?;
        Ok(neighbour)
    }

    /// The gateway drawn.
    #[track_caller]
    pub fn gateway(&self) -> &Neighbour {
        self.gateway.as_ref().expect("the story asks for a gateway that it did not draw")
    }

    /// The gateway's addresses with their prefixes, as drawn.
    pub fn gateway_addresses(&self) -> &[String] {
        &self.gateway_addresses
    }

    /// The gateway's addresses, as drawn.
    #[track_caller]
    pub fn gateway_ips(&self) -> Vec<std::net::IpAddr> {
        let parse = |text: &String| bare(text).parse().unwrap_or_else(|_| panic!("{text} is no address"));
        self.gateway_addresses.iter().map(parse).collect()
    }

    /// The agent.
    pub fn agent(&self) -> &Agent {
        &self.agent
    }

    /// Another agent on the same Open vSwitch, with directories of its own; not started.
    #[track_caller]
    pub fn second_agent(&self) -> Agent {
        must(Agent::second(Arc::clone(&self.ground), &self.bridges), "no second agent")
    }

    /// Calls the plugin as configured for another agent than the lab's own.
    #[track_caller]
    pub fn cni_through(&self, agent: &Agent, verb: Verb, attachment: &Attachment) -> crate::cni::Answer {
        must(call_at(&self.ground, &agent.socket(), verb, attachment), &format!("{verb:?}"))
    }

    /// Open vSwitch.
    pub fn switch(&self) -> &Switch {
        &self.switch
    }

    /// The first bridge.
    #[track_caller]
    pub fn bridge(&self) -> &str {
        self.bridges.first().expect("the story did not draw a bridge")
    }

    /// The bridges drawn.
    pub fn bridges(&self) -> &[String] {
        &self.bridges
    }

    /// The datapath of its bridges.
    pub fn datapath(&self) -> Datapath {
        self.ground.datapath
    }

    /// The node's namespace.
    pub fn node(&self) -> &Netns {
        &self.ground.node
    }

    /// A deadline, stretched where the machine is emulated.
    pub fn within_seconds(&self, seconds: u64) -> Duration {
        self.ground.within(Duration::from_secs(seconds))
    }

    /// The names of all links of the node.
    #[track_caller]
    pub fn node_links(&self) -> Vec<String> {
        must(self.ground.node.enter(link_names), "the node's links")
    }

    /// Runs ip(8) on the node: `node_ip("link set dev br1 up")`.
    #[track_caller]
    pub fn node_ip(&self, words: &str) -> String {
        let words: Vec<&str> = words.split(' ').collect();
        must(self.ground.run("ip", &words), "the node")
    }

    /// A sysctl of the node's namespace.
    #[track_caller]
    pub fn node_sysctl(&self, key: &str) -> String {
        must(sysctl(&self.ground.node, key), "the node")
    }

    /// A file or directory of the lab's room.
    pub fn room_path(&self, name: &str) -> PathBuf {
        self.ground.room.join(name)
    }

    /// All flows of a bridge.
    #[track_caller]
    pub fn flows(&self, bridge: &str) -> Vec<Flow> {
        must(flows::of(&self.switch, bridge), &format!("no flows of {bridge}"))
    }

    /// The flows of the first bridge that the agent wrote.
    #[track_caller]
    pub fn our_flows(&self) -> Vec<Flow> {
        self.try_our_flows().unwrap_or_else(|error| panic!("no flows of {}: {error}", self.bridge()))
    }

    /// [`Self::our_flows`] for the time in which the bridge may not be there.
    pub fn try_our_flows(&self) -> Result<Vec<Flow>, String> {
        let all = flows::of(&self.switch, self.bridge()).map_err(|error| format!("{error:#}"))?;
        Ok(all.into_iter().filter(Flow::is_ours).collect())
    }

    /// The names of the ports on a bridge.
    #[track_caller]
    pub fn ports(&self, bridge: &str) -> Vec<String> {
        let text = must(self.switch.vsctl(&["list-ports", bridge]), &format!("no ports of {bridge}"));
        text.lines().map(str::to_owned).collect()
    }

    /// Calls the plugin with an attachment that no pod of the story has.
    #[track_caller]
    pub fn cni(&self, verb: Verb, attachment: &Attachment) -> crate::cni::Answer {
        must(call(&self.ground, verb, attachment), &format!("{verb:?}"))
    }

    /// Fails the story if anything of ours is left; pods must have been deleted before.
    #[track_caller]
    pub fn assert_nothing_left(&self) {
        let left = leftovers::wait_until_none(self);
        assert!(left.is_empty(), "left behind:\n{}", left.join("\n"));
    }

    /// Deletes every pod, checks that nothing is left, ends every process and takes the room away.
    #[track_caller]
    pub fn finish(mut self) {
        let faults = self.end();
        assert!(faults.is_empty(), "the lab did not end cleanly:\n{}", faults.join("\n"));
    }

    fn end(&mut self) -> Vec<String> {
        self.finished = true;
        let mut faults = self.delete_pods();
        if self.agent.is_started() {
            faults.extend(leftovers::wait_until_none(self));
            if !faults.is_empty() {
                leftovers::tell_the_state(self);
            }
            faults.extend(self.agent.stop().err().map(|error| format!("{error:#}")));
            faults.extend(leftovers::after_the_agent(self));
            faults.extend(self.switch.check_upcalls().err().map(|error| format!("{error:#}")));
        }
        faults.extend(self.switch.check_running().err().map(|error| format!("{error:#}")));
        faults.extend(self.switch.stop().into_iter().map(|error| format!("{error:#}")));
        faults.extend(leftovers::processes(&self.ground.node));
        faults.extend(self.clear_ground());
        faults
    }

    fn delete_pods(&self) -> Vec<String> {
        let added = std::mem::take(&mut *self.added.lock().unwrap_or_else(PoisonError::into_inner));
        let delete = |attachment: &Attachment| match call(&self.ground, Verb::Del, attachment) {
            Ok(answer) if answer.exit == Some(0) => None,
            Ok(answer) => Some(format!("DEL failed at the end: {answer:?}")),
            Err(error) => Some(format!("DEL failed at the end: {error:#}")),
        };
        added.iter().filter_map(delete).collect()
    }

    fn clear_ground(&self) -> Vec<String> {
        let ended = [self.ground.node.delete(), self.ground.room.close()];
        ended.into_iter().filter_map(Result::err).map(|error| format!("{error:#}")).collect()
    }

    /// Waits until a fact holds; fails the story, with what was seen last, where it does not in `seconds`.
    #[track_caller]
    pub fn eventually<T>(&self, seconds: u64, what: &str, check: impl FnMut() -> Result<T, String>) -> T {
        eventually(self.within_seconds(seconds), what, check)
    }

    pub(crate) fn ground(&self) -> &Ground {
        &self.ground
    }

    pub(crate) fn keep_host(&self, name: &str, ifname: &str) -> Result<Arc<Host>> {
        let at = self.ground.room.join(&format!("netns/{name}"));
        let host = Arc::new(Host::create(name, ifname, &at, self.ground.datapath)?);
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&host));
        Ok(host)
    }

    pub(crate) fn container_id(&self, name: &str) -> String {
        container_id(self.ground.room.path(), name)
    }

    pub(crate) fn note_added(&self, attachment: &Attachment) {
        let mut added = self.added.lock().unwrap_or_else(PoisonError::into_inner);
        if !added.iter().any(|one| one.container == attachment.container && one.ifname == attachment.ifname) {
            added.push(attachment.clone());
        }
    }

    pub(crate) fn note_deleted(&self, attachment: &Attachment) {
        let mut added = self.added.lock().unwrap_or_else(PoisonError::into_inner);
        added.retain(|one| one.container != attachment.container || one.ifname != attachment.ifname);
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        if !std::thread::panicking() {
            let faults = self.end();
            assert!(faults.is_empty(), "the lab did not end cleanly:\n{}", faults.join("\n"));
            return;
        }
        leftovers::tell_the_state(self);
        self.finished = true;
        // The story has failed already: errors of taking things away would only hide why.
        drop(self.agent.kill9());
        drop(self.switch.stop());
        self.gateway = None;
        self.hosts.get_mut().unwrap_or_else(PoisonError::into_inner).clear();
        drop(self.clear_ground());
    }
}
