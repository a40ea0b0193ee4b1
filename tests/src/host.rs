//! A machine on the network: a namespace with one interface. Pods, gateways and foreign hosts are all of them.
//!
//! `Host` only talks; `Neighbour` is a host that the lab itself cabled to a bridge, as a bare port without the
//! agent: the gateway of the network, or someone who takes an address that is not theirs.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::errno::Errno;

use crate::machine::Datapath;
use crate::netns::Netns;
use crate::process::{run, run_with_input};
use crate::traffic::{EchoServer, Echoes, PingStream, tcp_echo, udp_echo};
use crate::wire::{self, Mac, Wire, arp};

/// The port on which every echo server of the lab listens.
const ECHO_PORT: u16 = 7;

/// One echo request is answered within this, or lost; the first one of a pair has neighbours to resolve.
const ECHO_DEADLINE: Duration = Duration::from_secs(1);

/// How often a reachable host is asked: the first requests may be lost while neighbours are resolved.
const TRIES_TO_REACH: u16 = 5;

/// How long a host that must stay silent is given to answer each of a few requests.
const SILENCE: Duration = Duration::from_millis(250);
const TRIES_IN_SILENCE: u16 = 3;

/// Gratuitous ARPs that a host sends when it takes an address.
const ANNOUNCEMENTS: usize = 1;

/// A namespace with an interface, and its owner's hands in it.
#[derive(Debug)]
pub struct Host {
    name: String,
    ifname: String,
    patience: u32,
    netns: Netns,
}

impl Host {
    /// Makes the namespace; the interface comes later.
    pub(crate) fn create(name: &str, ifname: &str, at: &Path, datapath: Datapath) -> Result<Self> {
        let netns = Netns::create(at)?;
        Ok(Self { name: name.to_owned(), ifname: ifname.to_owned(), patience: datapath.patience(), netns })
    }

    /// What the story calls it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The interface's name inside.
    pub fn ifname(&self) -> &str {
        &self.ifname
    }

    /// The namespace.
    pub fn netns(&self) -> &Netns {
        &self.netns
    }

    /// One round trip of an ICMP echo, `None` if it was lost.
    pub fn ping(&self, to: IpAddr) -> Result<Option<Duration>> {
        self.first_answer(to, 1, ECHO_DEADLINE * self.patience)
    }

    /// `count` round trips one after another over one socket, lost ones left out.
    pub fn pings(&self, to: IpAddr, count: u16) -> Result<Vec<Duration>> {
        let echoes = self.netns.enter(|| Echoes::open(to))?;
        let deadline = ECHO_DEADLINE * self.patience;
        let trips = (0..count).map(|sequence| echoes.round_trip(sequence, deadline));
        trips.filter_map(Result::transpose).collect()
    }

    /// Fails the story unless `to` answers an echo request soon.
    #[track_caller]
    pub fn assert_reaches(&self, to: IpAddr) {
        match self.first_answer(to, TRIES_TO_REACH, ECHO_DEADLINE * self.patience) {
            Ok(Some(_)) => {}
            Ok(None) => {
                panic!("{} cannot reach {to}: {TRIES_TO_REACH} echo requests without an answer", self.name)
            }
            Err(error) => panic!("{} cannot ping {to}: {error:#}", self.name),
        }
    }

    /// Fails the story if `to` answers any of three echo requests.
    #[track_caller]
    pub fn assert_cannot_reach(&self, to: IpAddr) {
        match self.first_answer(to, TRIES_IN_SILENCE, SILENCE) {
            Ok(None) => {}
            Ok(Some(after)) => panic!("{} reached {to} after {after:?}, but must not", self.name),
            Err(error) => panic!("{} cannot ping {to}: {error:#}", self.name),
        }
    }

    /// Echo requests at a steady pace until the stream is stopped.
    #[track_caller]
    pub fn ping_stream(&self, to: IpAddr, interval: Duration) -> PingStream {
        match self.netns.enter(|| Echoes::open(to)) {
            Ok(echoes) => PingStream::start(echoes, interval),
            Err(error) => panic!("{} cannot ping {to}: {error:#}", self.name),
        }
    }

    /// Serves UDP and TCP echoes until dropped.
    #[track_caller]
    pub fn serve_echo(&self) -> EchoServer {
        must(
            self.netns.enter(|| EchoServer::listen(ECHO_PORT)),
            &format!("{} cannot serve echoes", self.name),
        )
    }

    /// One datagram to `to`'s echo server and back.
    pub fn udp_echo(&self, to: IpAddr) -> Result<Duration> {
        self.netns.enter(|| udp_echo(SocketAddr::new(to, ECHO_PORT), ECHO_DEADLINE * self.patience))
    }

    /// A quarter of a megabyte to `to`'s echo server and back over TCP.
    pub fn tcp_echo(&self, to: IpAddr) -> Result<Duration> {
        self.netns.enter(|| tcp_echo(SocketAddr::new(to, ECHO_PORT), 5 * ECHO_DEADLINE * self.patience))
    }

    /// A raw socket on the interface: to send any frame, or to see what arrives.
    #[track_caller]
    pub fn wire(&self) -> Wire {
        must(self.netns.enter(|| Wire::open(&self.ifname)), &format!("no raw socket in {}", self.name))
    }

    /// Sends one frame as it is.
    #[track_caller]
    pub fn send_raw(&self, frame: &[u8]) {
        must(self.wire().send(frame), &format!("{} cannot send a frame", self.name));
    }

    /// The interface's MAC now.
    #[track_caller]
    pub fn mac(&self) -> Mac {
        must(self.netns.enter(|| wire::mac_of(&self.ifname)), &format!("no MAC in {}", self.name))
    }

    /// The interface's addresses now.
    #[track_caller]
    pub fn addresses(&self) -> Vec<IpAddr> {
        must(self.netns.enter(|| wire::addresses_of(&self.ifname)), &format!("no addresses in {}", self.name))
    }

    /// The names of all links in the namespace, `lo` included.
    #[track_caller]
    pub fn links(&self) -> Vec<String> {
        must(self.netns.enter(wire::link_names), &format!("no links in {}", self.name))
    }

    /// A sysctl of the namespace: `net/ipv4/conf/all/rp_filter`.
    #[track_caller]
    pub fn sysctl(&self, key: &str) -> String {
        must(sysctl(&self.netns, key), &self.name)
    }

    /// Sets a sysctl of the namespace.
    #[track_caller]
    pub fn set_sysctl(&self, key: &str, value: &str) {
        must(set_sysctl(&self.netns, key, value), &self.name);
    }

    /// Runs ip(8) inside: `ip("route show")`.
    #[track_caller]
    pub fn ip(&self, words: &str) -> String {
        let words: Vec<&str> = words.split(' ').collect();
        must(run(&self.netns, "ip", &words), &self.name)
    }

    fn first_answer(&self, to: IpAddr, tries: u16, each: Duration) -> Result<Option<Duration>> {
        let echoes = match self.netns.enter(|| Echoes::open(to)) {
            Ok(echoes) => echoes,
            // No route is no answer, as for ping(8): a withdrawn interface takes its routes along.
            Err(error) if matches!(error.downcast_ref(), Some(Errno::ENETUNREACH | Errno::EHOSTUNREACH)) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        (0..tries).find_map(|sequence| echoes.round_trip(sequence, each).transpose()).transpose()
    }
}

/// A host that the lab cabled to a bridge itself; the agent knows nothing of it.
#[derive(Debug)]
pub struct Neighbour {
    host: Arc<Host>,
    port: String,
    addresses: Vec<String>,
}

impl std::ops::Deref for Neighbour {
    type Target = Host;

    fn deref(&self) -> &Host {
        &self.host
    }
}

impl Neighbour {
    /// Cables a new host by a veth pair into `node`; the caller puts the port on the bridge.
    pub(crate) fn cable(
        node: &Netns,
        host: Arc<Host>,
        addresses: &[&str],
        datapath: Datapath,
    ) -> Result<Self> {
        let port = format!("x-{}", host.name);
        let end = host.netns.path().display().to_string();
        let link = format!(
            "link add {port} type veth peer name {ifname} netns {end}\nlink set {port} up\n",
            ifname = host.ifname
        );
        run_with_input(node, "ip", &["-batch", "-"], &link)?;
        set_sysctl(node, &format!("net/ipv6/conf/{port}/disable_ipv6"), "1")?;
        run(&host.netns, "ip", &["link", "set", &host.ifname, "up"])?;
        if datapath == Datapath::Userspace {
            // The userspace datapath forwards partial checksums as they are: UDP and TCP would die of them.
            run(&host.netns, "ethtool", &["-K", &host.ifname, "tx", "off"])?;
        }
        let neighbour = Self { host, port, addresses: addresses.iter().map(|&one| one.to_owned()).collect() };
        neighbour.set_addresses("add")?;
        Ok(neighbour)
    }

    /// The port's name on the bridge.
    pub fn port(&self) -> &str {
        &self.port
    }

    /// Stops answering, as a dead router does behind a switch: the cable keeps its carrier.
    #[track_caller]
    pub fn kill(&self) {
        must(self.set_addresses("del"), &format!("{} cannot die", self.name));
    }

    /// Answers again.
    #[track_caller]
    pub fn revive(&self) {
        must(self.set_addresses("add"), &format!("{} cannot come back", self.name));
    }

    /// Takes another MAC, as a router that fails over; says nothing about it.
    #[track_caller]
    pub fn change_mac(&self, mac: Mac) {
        self.ip(&format!("link set {} address {mac}", self.ifname));
    }

    /// Takes an address that may be someone else's (`"10.0.0.5/24"`), without asking or telling anyone.
    #[track_caller]
    pub fn claim(&self, address: &str) {
        self.ip(&format!("address add {address} dev {}{}", self.ifname, nodad(address)));
    }

    /// Gives an address up.
    #[track_caller]
    pub fn unclaim(&self, address: &str) {
        self.ip(&format!("address del {address} dev {}", self.ifname));
    }

    /// Tells the network that `address` is here: a gratuitous ARP.
    #[track_caller]
    pub fn announce(&self, address: Ipv4Addr) {
        let frame = arp(1, (self.mac(), address), (Mac([0; 6]), address), None);
        let wire = self.wire();
        for _ in 0..ANNOUNCEMENTS {
            must(wire.send(&frame), &format!("{} cannot announce {address}", self.name));
        }
    }

    fn set_addresses(&self, verb: &str) -> Result<()> {
        let line = |address: &String| {
            let nodad = if verb == "add" { nodad(address) } else { "" };
            format!("address {verb} {address} dev {}{nodad}\n", self.host.ifname)
        };
        let batch: String = self.addresses.iter().map(line).collect();
        run_with_input(&self.host.netns, "ip", &["-batch", "-"], &batch).map(drop)
    }
}

/// IPv6 addresses of the lab are usable at once: the kernel's own duplicate check would take a second.
fn nodad(address: &str) -> &'static str {
    if address.contains(':') { " nodad" } else { "" }
}

/// Reads `/proc/sys/<key>` as `netns` sees it: `/proc/sys/net` belongs to the namespace of the reader.
pub(crate) fn sysctl(netns: &Netns, key: &str) -> Result<String> {
    let path = format!("/proc/sys/{key}");
    let text = netns.enter(|| std::fs::read_to_string(&path).with_context(|| format!("reading {path}")))?;
    Ok(text.trim().to_owned())
}

/// Writes `/proc/sys/<key>` as `netns` sees it.
pub(crate) fn set_sysctl(netns: &Netns, key: &str, value: &str) -> Result<()> {
    let path = format!("/proc/sys/{key}");
    netns.enter(|| std::fs::write(&path, value).with_context(|| format!("writing {value} to {path}")))
}

/// The value, or the end of the story with the whole chain of causes.
#[track_caller]
pub(crate) fn must<T>(result: Result<T>, what: &str) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("{what}: {error:#}"),
    }
}
