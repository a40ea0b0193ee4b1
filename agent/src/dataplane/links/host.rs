//! The host's end of a veth: observed, opened and closed, removed.

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkExtentMask, LinkFlags, LinkInfo, LinkMessage};
use nix::errno::Errno;

use super::request::{self, Netlink};
use super::{HostVeth, HostVeths, IfIndex, LinkError, Links, Mac, is_host_end_name};

impl Links {
    /// All host ends: every veth whose name has our form, ours by alias or not.
    pub async fn observe(&self) -> Result<HostVeths, LinkError> {
        let mut message = LinkMessage::default();
        message.attributes = vec![
            // The kernel filters the dump by kind, and leaves out the statistics.
            LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Veth)]),
            LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]),
        ];
        let request = RouteNetlinkMessage::GetLink(message);
        let replies = self.netlink.dump("RTM_GETLINK of all veths", request).await?;
        Ok(replies.iter().filter_map(new_link).filter_map(parse).collect())
    }

    /// One host end, `None` where there is none of that name.
    pub async fn observe_one(&self, ifname: &str) -> Result<Option<HostVeth>, LinkError> {
        host_end(&self.netlink, ifname).await
    }

    /// Opens or closes the gate's last door: the administrative state of the host end.
    pub async fn set_host_up(&self, ifname: &str, is_up: bool) -> Result<(), LinkError> {
        let operation = format!("RTM_SETLINK {ifname} {}", if is_up { "up" } else { "down" });
        let message = RouteNetlinkMessage::SetLink(up_down(ifname, is_up));
        missing(ifname, self.netlink.change(&operation, message, 0).await)
    }

    /// Writes the alias of a host end, by which it is known as ours.
    pub async fn mark(&self, ifname: &str, alias: &str) -> Result<(), LinkError> {
        let mut message = LinkMessage::default();
        message.attributes =
            vec![LinkAttribute::IfName(ifname.to_owned()), LinkAttribute::IfAlias(alias.to_owned())];
        let operation = format!("RTM_SETLINK {ifname} alias");
        missing(ifname, self.netlink.change(&operation, RouteNetlinkMessage::SetLink(message), 0).await)
    }

    /// Removes the pair. Missing is success; a link of that name with another alias is left alone.
    ///
    /// On a thread of its own: the kernel takes 17 ms (measured), and others' links need not wait for it.
    pub async fn delete_veth(&self, ifname: &str, alias: &str) -> Result<(), LinkError> {
        let (ifname, alias) = (ifname.to_owned(), alias.to_owned());
        request::visit(&self.host, |netlink| async move { delete(&netlink, &ifname, &alias).await }).await
    }
}

/// Removes the pair whose host end bears `alias`.
pub(super) async fn delete(netlink: &Netlink, ifname: &str, alias: &str) -> Result<(), LinkError> {
    match host_end(netlink, ifname).await? {
        None => Ok(()),
        Some(veth) if is_ours(&veth, alias) => match request_delete(netlink, ifname).await {
            Err(error) if error.errno() == Some(Errno::ENODEV) => Ok(()),
            outcome => outcome,
        },
        Some(veth) => Err(taken(ifname, &veth)),
    }
}

pub(super) async fn request_delete(netlink: &Netlink, ifname: &str) -> Result<(), LinkError> {
    let mut message = LinkMessage::default();
    message.attributes = vec![LinkAttribute::IfName(ifname.to_owned())];
    netlink.change(&format!("RTM_DELLINK {ifname}"), RouteNetlinkMessage::DelLink(message), 0).await
}

pub(super) async fn host_end(netlink: &Netlink, ifname: &str) -> Result<Option<HostVeth>, LinkError> {
    let link = link_named(netlink, ifname).await?;
    Ok(link.as_ref().and_then(parse).map(|(_, veth)| veth))
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
pub(super) fn is_ours(veth: &HostVeth, alias: &str) -> bool {
    match &veth.alias {
        Some(found) => found == alias,
        None => !veth.is_up && veth.master.is_none(),
    }
}

pub(super) fn taken(ifname: &str, veth: &HostVeth) -> LinkError {
    LinkError::HostNameTaken { ifname: ifname.to_owned(), alias: veth.alias.clone().unwrap_or_default() }
}
