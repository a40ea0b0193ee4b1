//! Making a pair: one visit to the host's namespace, from the request to the finished host end.
//!
//! The visit owns all it needs, the descriptor of the pod's namespace above all: the kernel is told that descriptor by
//! number, so it must stay open until the answer, even if the caller has lost interest by then.

use std::os::fd::AsRawFd as _;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{
    AfSpecInet, AfSpecUnspec, InetDevConf, InfoData, InfoKind, InfoVeth, LinkAttribute, LinkInfo, LinkMessage,
};
use nix::errno::Errno;

use super::host::{delete, host_end, is_ours, link_named, request_delete, taken};
use super::request::{self, Netlink};
use super::{HostVeth, LinkError, Links, Mac, VethSpec, check_ifname, sysctl};
use crate::dataplane::netns::{Netns, ProcRoot};

impl Links {
    /// Makes the pair: the pod's end inside the pod's namespace under its final name, the host end down.
    ///
    /// A stale pair with the same alias is replaced. Returns once the host end bears its alias and is silenced.
    pub async fn create_veth(&self, spec: &VethSpec<'_>) -> Result<HostVeth, LinkError> {
        check_ifname(spec.host_ifname)?;
        check_ifname(spec.pod_ifname)?;
        let making = Making::new(spec, &self.proc);
        request::visit(&self.host, |netlink| async move { making.run(&netlink).await }).await
    }
}

/// An order for a pair, with everything it names.
pub(super) struct Making {
    host_ifname: String,
    alias: String,
    pod_ifname: String,
    pod_netns: Netns,
    mtu: u32,
    mac: Mac,
    proc: ProcRoot,
}

impl Making {
    pub(super) fn new(spec: &VethSpec<'_>, proc: &ProcRoot) -> Self {
        Self {
            host_ifname: spec.host_ifname.to_owned(),
            alias: spec.alias.to_owned(),
            pod_ifname: spec.pod_ifname.to_owned(),
            pod_netns: spec.pod_netns.clone(),
            mtu: spec.mtu,
            mac: spec.mac,
            proc: proc.clone(),
        }
    }

    async fn run(&self, netlink: &Netlink) -> Result<HostVeth, LinkError> {
        match self.request(netlink).await {
            Err(error) if error.errno() == Some(Errno::EEXIST) => {
                self.clear_way(netlink).await?;
                self.request(netlink).await?;
            }
            outcome => outcome?,
        }
        let finished = self.finish(netlink).await;
        if finished.is_err() {
            // Half-made is worse than absent. The error that matters is the first one.
            drop(request_delete(netlink, &self.host_ifname).await);
        }
        finished
    }

    /// One request for both ends.
    pub(super) async fn request(&self, netlink: &Netlink) -> Result<(), LinkError> {
        let mut peer = LinkMessage::default();
        peer.attributes = vec![
            LinkAttribute::IfName(self.pod_ifname.clone()),
            LinkAttribute::NetNsFd(self.pod_netns.as_raw_fd()),
            LinkAttribute::Address(self.mac.0.to_vec()),
            LinkAttribute::Mtu(self.mtu),
        ];
        let mut message = LinkMessage::default();
        message.attributes = vec![
            LinkAttribute::IfName(self.host_ifname.clone()),
            LinkAttribute::Mtu(self.mtu),
            LinkAttribute::LinkInfo(vec![
                LinkInfo::Kind(InfoKind::Veth),
                LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
            ]),
        ];
        let (host, pod, netns) = (&self.host_ifname, &self.pod_ifname, self.pod_netns.path().display());
        let operation = format!("RTM_NEWLINK veth {host} with peer {pod} in {netns}, mtu {}", self.mtu);
        netlink.change(&operation, RouteNetlinkMessage::NewLink(message), NLM_F_CREATE | NLM_F_EXCL).await
    }

    /// The alias (ignored at creation by every kernel up to 6.18), arp_ignore and disable_ipv6; then reads it back.
    async fn finish(&self, netlink: &Netlink) -> Result<HostVeth, LinkError> {
        let mut conf = InetDevConf::default();
        conf.arp_ignore = ARP_IGNORE_ALL;
        let mut message = LinkMessage::default();
        message.attributes = vec![
            LinkAttribute::IfName(self.host_ifname.clone()),
            LinkAttribute::IfAlias(self.alias.clone()),
            LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet(vec![AfSpecInet::DevConfRequest(conf)])]),
        ];
        let operation = format!("RTM_SETLINK {} alias, arp_ignore", self.host_ifname);
        netlink.change(&operation, RouteNetlinkMessage::SetLink(message), 0).await?;
        sysctl::silence_host_end(&self.proc, &self.host_ifname)?;
        let veth = host_end(netlink, &self.host_ifname).await?;
        veth.ok_or_else(|| LinkError::NoSuchLink { ifname: self.host_ifname.clone() })
    }

    /// Makes room after EEXIST: removes what is left of an earlier pair of ours, or says who is in the way.
    async fn clear_way(&self, netlink: &Netlink) -> Result<(), LinkError> {
        match host_end(netlink, &self.host_ifname).await? {
            Some(veth) if is_ours(&veth, &self.alias) => {
                return delete(netlink, &self.host_ifname, &self.alias).await;
            }
            Some(veth) => return Err(taken(&self.host_ifname, &veth)),
            None => {}
        }
        let ifname = self.pod_ifname.clone();
        let look = |netlink: Netlink| async move { link_named(&netlink, &ifname).await };
        match request::visit(&self.pod_netns, look).await? {
            Some(_) => Err(LinkError::PodNameTaken {
                ifname: self.pod_ifname.clone(),
                netns: self.pod_netns.path().to_owned(),
            }),
            // Whoever was in the way has gone meanwhile.
            None => Ok(()),
        }
    }
}

/// `arp_ignore`: answer no ARP at all (Documentation/networking/ip-sysctl.rst). By netlink, so that it is there
/// before the link can be up and needs no writable `/proc/sys`.
const ARP_IGNORE_ALL: i32 = 8;
