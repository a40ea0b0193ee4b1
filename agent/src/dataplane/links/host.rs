//! The host's end of a veth: made, observed, opened and closed, removed.

use std::os::fd::AsRawFd as _;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{
    AfSpecInet, AfSpecUnspec, InetDevConf, InfoData, InfoKind, InfoVeth, LinkAttribute, LinkExtentMask,
    LinkFlags, LinkInfo, LinkMessage,
};
use nix::errno::Errno;

use super::request::{self, DEADLINE, Netlink};
use super::{
    HostVeth, HostVeths, IfIndex, LinkError, Links, Mac, VethSpec, check_ifname, is_host_end_name, sysctl,
};

impl Links {
    /// All host ends: every veth whose name has our form, ours by alias or not.
    pub async fn observe(&self) -> Result<HostVeths, LinkError> {
        let mut message = LinkMessage::default();
        message.attributes = vec![
            // The kernel filters the dump by kind, and leaves out the statistics, most of each link's 1.5 KiB.
            LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Veth)]),
            LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]),
        ];
        let replies =
            self.netlink.dump("RTM_GETLINK of all veths", RouteNetlinkMessage::GetLink(message)).await?;
        Ok(replies.iter().filter_map(new_link).filter_map(parse).collect())
    }

    /// The root qdisc of a host end: anything but `noqueue` (and `noop`, while it is down) forbids acceleration.
    pub async fn host_qdisc(&self, ifname: &str) -> Result<String, LinkError> {
        match self.host_end(ifname).await? {
            Some(veth) => Ok(veth.qdisc),
            None => Err(LinkError::NoSuchLink { ifname: ifname.to_owned() }),
        }
    }

    /// Makes the pair: the pod's end inside the pod's namespace under its final name, the host end down.
    ///
    /// A stale pair with the same alias is replaced. Returns once the host end bears its alias and is silenced.
    pub async fn create_veth(&self, spec: &VethSpec<'_>) -> Result<HostVeth, LinkError> {
        check_ifname(spec.host_ifname)?;
        check_ifname(spec.pod_ifname)?;
        match self.request_veth(spec).await {
            Err(error) if error.errno() == Some(Errno::EEXIST) => {
                self.clear_way(spec).await?;
                self.request_veth(spec).await?;
            }
            outcome => outcome?,
        }
        let finished = self.finish_host_end(spec).await;
        if finished.is_err() {
            // Half-made is worse than absent. The error that matters is the first one.
            let operation = format!("RTM_DELLINK {}", spec.host_ifname);
            drop(self.request_delete(&operation, spec.host_ifname).await);
        }
        finished
    }

    /// Opens or closes the gate's last door: the administrative state of the host end.
    pub async fn set_host_up(&self, ifname: &str, is_up: bool) -> Result<(), LinkError> {
        let operation = format!("RTM_SETLINK {ifname} {}", if is_up { "up" } else { "down" });
        let message = RouteNetlinkMessage::SetLink(up_down(ifname, is_up));
        missing(ifname, self.netlink.change(&operation, message, 0).await)
    }

    /// Removes the pair. Missing is success; a link of that name with another alias is left alone.
    pub async fn delete_veth(&self, ifname: &str, alias: &str) -> Result<(), LinkError> {
        match self.host_end(ifname).await? {
            None => Ok(()),
            Some(veth) if is_ours(&veth, alias) => {
                match self.request_delete(&format!("RTM_DELLINK {ifname}"), ifname).await {
                    Err(error) if error.errno() == Some(Errno::ENODEV) => Ok(()),
                    outcome => outcome,
                }
            }
            Some(veth) => Err(taken(ifname, &veth)),
        }
    }

    /// Makes room after EEXIST: removes what is left of an earlier pair of ours, or says who is in the way.
    async fn clear_way(&self, spec: &VethSpec<'_>) -> Result<(), LinkError> {
        if let Some(veth) = self.host_end(spec.host_ifname).await? {
            if !is_ours(&veth, spec.alias) {
                return Err(taken(spec.host_ifname, &veth));
            }
            return self.delete_veth(spec.host_ifname, spec.alias).await;
        }
        let netns = spec.pod_netns;
        let socket = request::connect(netns).await?;
        let ifname = spec.pod_ifname;
        let look = |netlink: Netlink| async move { link_named(&netlink, ifname).await };
        match request::with_socket(socket, look).await? {
            Some(_) => {
                Err(LinkError::PodNameTaken { ifname: ifname.to_owned(), netns: netns.path().to_owned() })
            }
            // Whoever was in the way has gone meanwhile.
            None => Ok(()),
        }
    }

    async fn request_veth(&self, spec: &VethSpec<'_>) -> Result<(), LinkError> {
        let mut peer = LinkMessage::default();
        peer.attributes = vec![
            LinkAttribute::IfName(spec.pod_ifname.to_owned()),
            LinkAttribute::NetNsFd(spec.pod_netns.as_raw_fd()),
            LinkAttribute::Address(spec.mac.0.to_vec()),
            LinkAttribute::Mtu(spec.mtu),
        ];
        let mut message = LinkMessage::default();
        message.attributes = vec![
            LinkAttribute::IfName(spec.host_ifname.to_owned()),
            LinkAttribute::Mtu(spec.mtu),
            LinkAttribute::LinkInfo(vec![
                LinkInfo::Kind(InfoKind::Veth),
                LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
            ]),
        ];
        let operation = format!(
            "RTM_NEWLINK veth {} with peer {} in {}, mtu {}",
            spec.host_ifname,
            spec.pod_ifname,
            spec.pod_netns.path().display(),
            spec.mtu
        );
        self.netlink
            .change(&operation, RouteNetlinkMessage::NewLink(message), NLM_F_CREATE | NLM_F_EXCL)
            .await
    }

    /// The alias (ignored at creation by every kernel up to 6.18), arp_ignore and disable_ipv6; then reads it back.
    async fn finish_host_end(&self, spec: &VethSpec<'_>) -> Result<HostVeth, LinkError> {
        let mut conf = InetDevConf::default();
        conf.arp_ignore = ARP_IGNORE_ALL;
        let mut message = LinkMessage::default();
        message.attributes = vec![
            LinkAttribute::IfName(spec.host_ifname.to_owned()),
            LinkAttribute::IfAlias(spec.alias.to_owned()),
            LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet(vec![AfSpecInet::DevConfRequest(conf)])]),
        ];
        let operation = format!("RTM_SETLINK {} alias, arp_ignore", spec.host_ifname);
        self.netlink.change(&operation, RouteNetlinkMessage::SetLink(message), 0).await?;
        let (proc, ifname) = (self.proc.clone(), spec.host_ifname.to_owned());
        self.host.call(DEADLINE, move || sysctl::silence_host_end(&proc, &ifname)).await??;
        let veth = self.host_end(spec.host_ifname).await?;
        veth.ok_or_else(|| LinkError::NoSuchLink { ifname: spec.host_ifname.to_owned() })
    }

    /// The first of the two steps of making a pair, as a crash between them leaves it.
    #[cfg(test)]
    pub(super) async fn request_veth_for_tests(&self, spec: &VethSpec<'_>) {
        self.request_veth(spec).await.unwrap();
    }

    async fn host_end(&self, ifname: &str) -> Result<Option<HostVeth>, LinkError> {
        let link = link_named(&self.netlink, ifname).await?;
        Ok(link.as_ref().and_then(parse).map(|(_, veth)| veth))
    }

    async fn request_delete(&self, operation: &str, ifname: &str) -> Result<(), LinkError> {
        let mut message = LinkMessage::default();
        message.attributes = vec![LinkAttribute::IfName(ifname.to_owned())];
        self.netlink.change(operation, RouteNetlinkMessage::DelLink(message), 0).await
    }
}

/// The link of that name in the namespace of `netlink`.
pub(super) async fn link_named(netlink: &Netlink, ifname: &str) -> Result<Option<LinkMessage>, LinkError> {
    let mut message = LinkMessage::default();
    message.attributes = vec![
        LinkAttribute::IfName(ifname.to_owned()),
        LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]),
    ];
    match netlink.get(&format!("RTM_GETLINK {ifname}"), RouteNetlinkMessage::GetLink(message)).await {
        Ok(replies) => Ok(replies.iter().find_map(new_link).cloned()),
        Err(error) if error.errno() == Some(Errno::ENODEV) => Ok(None),
        Err(error) => Err(error),
    }
}

/// A change of the administrative state and of nothing else.
pub(super) fn up_down(ifname: &str, is_up: bool) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.flags = if is_up { LinkFlags::Up } else { LinkFlags::empty() };
    message.header.change_mask = LinkFlags::Up;
    message.attributes = vec![LinkAttribute::IfName(ifname.to_owned())];
    message
}

/// Turns ENODEV into the error that names the link.
pub(super) fn missing(ifname: &str, outcome: Result<(), LinkError>) -> Result<(), LinkError> {
    match outcome {
        Err(error) if error.errno() == Some(Errno::ENODEV) => {
            Err(LinkError::NoSuchLink { ifname: ifname.to_owned() })
        }
        outcome => outcome,
    }
}

pub(super) fn mac_of(bytes: &[u8]) -> Option<Mac> {
    bytes.try_into().ok().map(Mac)
}

fn new_link(message: &RouteNetlinkMessage) -> Option<&LinkMessage> {
    match message {
        RouteNetlinkMessage::NewLink(link) => Some(link),
        _ => None,
    }
}

/// Reads a host end; `None` for a link whose name has another form or that is no veth.
fn parse(link: &LinkMessage) -> Option<(String, HostVeth)> {
    let mut name = None;
    let mut is_veth = false;
    let mut veth = HostVeth {
        index: IfIndex(link.header.index),
        alias: None,
        is_up: link.header.flags.contains(LinkFlags::Up),
        mtu: 0,
        mac: Mac([0; 6]),
        peer: IfIndex(0),
        peer_netnsid: None,
        qdisc: String::new(),
        master: None,
    };
    for attribute in &link.attributes {
        match attribute {
            LinkAttribute::IfName(text) if is_host_end_name(text) => name = Some(text.clone()),
            LinkAttribute::IfAlias(text) => veth.alias = Some(text.clone()),
            LinkAttribute::Mtu(mtu) => veth.mtu = *mtu,
            LinkAttribute::Address(bytes) => veth.mac = mac_of(bytes)?,
            LinkAttribute::Link(index) => veth.peer = IfIndex(*index),
            LinkAttribute::LinkNetNsId(id) => veth.peer_netnsid = Some(*id),
            LinkAttribute::Qdisc(text) => veth.qdisc.clone_from(text),
            LinkAttribute::Controller(index) => veth.master = Some(IfIndex(*index)),
            LinkAttribute::LinkInfo(infos) => is_veth = infos.contains(&LinkInfo::Kind(InfoKind::Veth)),
            _ => {}
        }
    }
    if is_veth { Some((name?, veth)) } else { None }
}

/// Whether we may replace or remove it: it bears the alias, or it is what a crash leaves between making the pair and
/// marking it: our name, no alias, down, nobody's port.
fn is_ours(veth: &HostVeth, alias: &str) -> bool {
    match &veth.alias {
        Some(found) => found == alias,
        None => !veth.is_up && veth.master.is_none(),
    }
}

fn taken(ifname: &str, veth: &HostVeth) -> LinkError {
    LinkError::HostNameTaken { ifname: ifname.to_owned(), alias: veth.alias.clone().unwrap_or_default() }
}

/// `arp_ignore`: answer no ARP at all (Documentation/networking/ip-sysctl.rst). By netlink, so that it is there
/// before the link can be up and needs no writable `/proc/sys`.
const ARP_IGNORE_ALL: i32 = 8;
