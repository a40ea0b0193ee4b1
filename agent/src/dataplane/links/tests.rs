//! A host and its pods, each a nameless namespace of the test's own: nothing is left behind, whatever fails.
#![expect(clippy::disallowed_methods, reason = "a test ends its tasks with its runtime")]

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use nix::errno::Errno;
use tokio::sync::watch;

use super::create::Making;
use super::{
    HostVeths, Ipv6Mode, LinkError, Links, Offloads, PodLinkSpec, PodRoute, VethSpec, is_host_end_name,
    monitor,
};
use crate::dataplane::netns::{Netns, ProcRoot, tests::fresh};
use crate::model::{Mac, Route};

const HOST_END: &str = "veth0123456789a";
const ALIAS: &str = "underpass/c0ffee/eth0";
const MAC: Mac = Mac([0x02, 0, 0, 0, 0, 0x11]);

struct Lab {
    links: Links,
    pod: Netns,
}

impl Lab {
    async fn new() -> Self {
        Self { links: connect(fresh()).await, pod: fresh() }
    }

    fn spec(&self) -> VethSpec<'_> {
        VethSpec {
            host_ifname: HOST_END,
            alias: ALIAS,
            pod_ifname: "eth0",
            pod_netns: &self.pod,
            mtu: 1400,
            mac: MAC,
        }
    }

    /// A pair made, prepared and open.
    async fn open_pod(&self, ipv6: Ipv6Mode) {
        self.links.create_veth(&self.spec()).await.unwrap();
        self.links.prepare_pod_link(&self.pod, pod_link(ipv6, Offloads::Keep)).await.unwrap();
        self.links.set_host_up(HOST_END, true).await.unwrap();
    }

    fn pod_sysctl(&self, key: &str) -> String {
        sysctl(&self.pod, "ipv6", "eth0", key)
    }
}

async fn connect(host: Netns) -> Links {
    let (links, driver) = Links::connect(host, ProcRoot::default()).await.unwrap();
    tokio::spawn(driver);
    links
}

fn pod_link(ipv6: Ipv6Mode, offloads: Offloads) -> PodLinkSpec<'static> {
    PodLinkSpec { ifname: "eth0", mac: MAC, mtu: 1400, ipv6, offloads }
}

fn sysctl(netns: &Netns, family: &str, ifname: &str, key: &str) -> String {
    let path = format!("/proc/sys/net/{family}/conf/{ifname}/{key}");
    netns.run(|| fs::read_to_string(&path).unwrap().trim().to_owned()).unwrap()
}

/// Runs a command in the namespace of the calling thread.
fn shell(command: &str) {
    let status = std::process::Command::new("sh").args(["-c", command]).status().unwrap();
    assert!(status.success(), "{command}: {status}");
}

fn nets(list: &[&str]) -> Vec<IpNet> {
    list.iter().map(|text| text.parse().unwrap()).collect()
}

fn route(destination: &str, gateway: &str) -> Route {
    Route { destination: destination.parse().unwrap(), gateway: gateway.parse().ok() }
}

fn seen(destination: &str, gateway: &str) -> PodRoute {
    PodRoute { destination: destination.parse().unwrap(), gateway: gateway.parse().ok() }
}

#[tokio::test]
async fn a_pair_is_born_down_marked_and_silent_with_its_peer_in_the_pod() {
    let lab = Lab::new().await;
    let made = lab.links.create_veth(&lab.spec()).await.unwrap();
    assert!(!made.is_up);
    assert_eq!(made.alias.as_deref(), Some(ALIAS));
    assert_eq!((made.mtu, made.qdisc.as_str(), made.master), (1400, "noop", None));
    assert_eq!(sysctl(lab.links.host(), "ipv6", HOST_END, "disable_ipv6"), "1");
    assert_eq!(sysctl(lab.links.host(), "ipv4", HOST_END, "arp_ignore"), "8");

    let end = lab.links.inspect_pod_link(&lab.pod, "eth0").await.unwrap().unwrap();
    assert_eq!((end.index, end.peer), (made.peer, made.index));
    assert_eq!((end.mac, end.mtu, end.is_up), (MAC, 1400, false));
    assert_eq!((end.addresses, end.routes), (vec![], vec![]));
    let observed = lab.links.observe().await.unwrap();
    assert_eq!(observed, HostVeths::from([(HOST_END.to_owned(), made)]));
}

#[tokio::test]
async fn a_stale_pair_of_ours_is_replaced() {
    let lab = Lab::new().await;
    let first = lab.links.create_veth(&lab.spec()).await.unwrap();
    let second = lab.links.create_veth(&lab.spec()).await.unwrap();
    assert_ne!(first.index, second.index);
    assert_eq!(lab.links.observe().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_pair_that_a_crash_left_without_its_mark_is_replaced() {
    let lab = Lab::new().await;
    let half = Making::new(&lab.spec(), &ProcRoot::default());
    half.request(&lab.links.netlink).await.unwrap();
    assert_eq!(lab.links.observe().await.unwrap()[HOST_END].alias, None);
    lab.links.create_veth(&lab.spec()).await.unwrap();
    assert_eq!(lab.links.observe().await.unwrap()[HOST_END].alias.as_deref(), Some(ALIAS));
}

#[tokio::test]
async fn foreign_links_are_in_the_way_and_stay() {
    let lab = Lab::new().await;
    let foreign = VethSpec { alias: "somebody/else", ..lab.spec() };
    lab.links.create_veth(&foreign).await.unwrap();

    let clash = lab.links.create_veth(&lab.spec()).await.unwrap_err();
    assert_eq!(
        clash.to_string(),
        format!("interface {HOST_END} exists on the host and is not ours (alias `somebody/else`)")
    );
    let clash = lab.links.delete_veth(HOST_END, ALIAS).await.unwrap_err();
    assert!(matches!(clash, LinkError::HostNameTaken { .. }), "{clash}");
    let other = VethSpec { host_ifname: "veth0123456789b", ..lab.spec() };
    let clash = lab.links.create_veth(&other).await.unwrap_err();
    assert!(clash.to_string().starts_with("interface eth0 already exists in "), "{clash}");
    assert_eq!(lab.links.observe().await.unwrap().len(), 1);
}

#[tokio::test]
async fn deleting_takes_both_ends_and_may_be_repeated() {
    let lab = Lab::new().await;
    lab.links.create_veth(&lab.spec()).await.unwrap();
    lab.links.delete_veth(HOST_END, ALIAS).await.unwrap();
    lab.links.delete_veth(HOST_END, ALIAS).await.unwrap();
    assert_eq!(lab.links.inspect_pod_link(&lab.pod, "eth0").await.unwrap(), None);
    let missing = lab.links.set_host_up(HOST_END, true).await.unwrap_err();
    assert_eq!(missing.to_string(), format!("no interface {HOST_END}"));
}

#[tokio::test]
async fn an_ipv4_pod_has_no_ipv6_at_all() {
    let lab = Lab::new().await;
    lab.open_pod(Ipv6Mode::Off).await;
    assert_eq!(lab.pod_sysctl("disable_ipv6"), "1");
    let addresses = nets(&["10.1.2.3/24"]);
    let routes = [route("0.0.0.0/0", "10.1.2.1")];
    lab.links.configure_pod(&lab.pod, "eth0", &addresses, &routes).await.unwrap();
    let end = lab.links.inspect_pod_link(&lab.pod, "eth0").await.unwrap().unwrap();
    assert!(end.is_up);
    assert_eq!(end.addresses, addresses);
    assert_eq!(end.routes, [seen("0.0.0.0/0", "10.1.2.1"), seen("10.1.2.0/24", "")]);
}

#[tokio::test]
async fn a_dual_stack_pod_listens_to_no_router_and_waits_for_no_dad() {
    let lab = Lab::new().await;
    lab.open_pod(Ipv6Mode::Static).await;
    let keys = ["disable_ipv6", "accept_ra", "autoconf", "addr_gen_mode"];
    assert_eq!(keys.map(|key| lab.pod_sysctl(key)), ["0", "0", "0", "0"]);
    let addresses = nets(&["10.1.2.3/24", "2001:db8::3/64"]);
    let routes = [route("0.0.0.0/0", "10.1.2.1"), route("::/0", "2001:db8::1")];
    lab.links.configure_pod(&lab.pod, "eth0", &addresses, &routes).await.unwrap();
    let flags = lab.pod.run(|| fs::read_to_string("/proc/thread-self/net/if_inet6").unwrap()).unwrap();
    let global = flags.lines().find(|line| line.starts_with("20010db8")).unwrap();
    // IFA_F_PERMANENT | IFA_F_NODAD, and not IFA_F_TENTATIVE (0x40).
    assert_eq!(global.split_whitespace().nth(4), Some("82"), "{global}");
    let end = lab.links.inspect_pod_link(&lab.pod, "eth0").await.unwrap().unwrap();
    for address in &addresses {
        assert!(end.addresses.contains(address), "{:?}", end.addresses);
    }
    assert!(end.routes.contains(&seen("::/0", "2001:db8::1")), "{:?}", end.routes);
}

#[tokio::test]
async fn a_slaac_pod_listens_to_routers() {
    let lab = Lab::new().await;
    lab.open_pod(Ipv6Mode::Slaac).await;
    let keys = ["disable_ipv6", "accept_ra", "autoconf", "addr_gen_mode"];
    assert_eq!(keys.map(|key| lab.pod_sysctl(key)), ["0", "1", "1", "0"]);
}

#[tokio::test]
async fn a_link_too_small_for_ipv6_still_carries_layer_2() {
    let lab = Lab::new().await;
    lab.links.create_veth(&VethSpec { mtu: 1000, ..lab.spec() }).await.unwrap();
    let spec = PodLinkSpec { mtu: 1000, ..pod_link(Ipv6Mode::Static, Offloads::Keep) };
    lab.links.prepare_pod_link(&lab.pod, spec).await.unwrap();
    assert!(lab.links.inspect_pod_link(&lab.pod, "eth0").await.unwrap().unwrap().is_up);
}

#[tokio::test]
async fn a_wrong_proc_root_is_an_error_and_leaves_no_pair() {
    let host = fresh();
    let (links, driver) = Links::connect(host.clone(), ProcRoot::new("/nowhere")).await.unwrap();
    tokio::spawn(driver);
    let pod = fresh();
    let spec = VethSpec {
        host_ifname: HOST_END,
        alias: ALIAS,
        pod_ifname: "eth0",
        pod_netns: &pod,
        mtu: 1400,
        mac: MAC,
    };
    let error = links.create_veth(&spec).await.unwrap_err();
    assert_eq!(error.to_string(), format!("write `1` to /nowhere/sys/net/ipv6/conf/{HOST_END}/disable_ipv6"));
    assert_eq!(links.observe().await.unwrap(), HostVeths::new());
}

#[tokio::test]
async fn configuring_twice_changes_nothing() {
    let lab = Lab::new().await;
    lab.open_pod(Ipv6Mode::Static).await;
    let addresses = nets(&["10.1.2.3/24", "2001:db8::3/64"]);
    let routes =
        [route("0.0.0.0/0", "10.1.2.1"), route("10.1.2.0/24", ""), route("2001:db8:1::/48", "2001:db8::1")];
    lab.links.configure_pod(&lab.pod, "eth0", &addresses, &routes).await.unwrap();
    let once = lab.links.inspect_pod_link(&lab.pod, "eth0").await.unwrap().unwrap();
    lab.links.configure_pod(&lab.pod, "eth0", &addresses, &routes).await.unwrap();
    lab.links.prepare_pod_link(&lab.pod, pod_link(Ipv6Mode::Static, Offloads::Keep)).await.unwrap();
    let twice = lab.links.inspect_pod_link(&lab.pod, "eth0").await.unwrap().unwrap();
    assert_eq!(once.routes, twice.routes);
}

#[tokio::test]
async fn refusals_carry_the_operation_and_the_kernels_words() {
    let lab = Lab::new().await;
    lab.open_pod(Ipv6Mode::Off).await;
    let refused =
        lab.links.configure_pod(&lab.pod, "eth0", &nets(&["2001:db8::3/64"]), &[]).await.unwrap_err();
    assert_eq!(refused.to_string(), "RTM_NEWADDR 2001:db8::3/64 on eth0");
    let LinkError::Refused { source, .. } = &refused else { panic!("{refused:?}") };
    assert!(matches!(source.errno, Errno::EACCES | Errno::EPERM), "{source}");
    let huge = VethSpec { host_ifname: "veth0123456789c", mtu: 100_000, ..lab.spec() };
    let refused = lab.links.create_veth(&huge).await.unwrap_err();
    assert!(
        refused.to_string().starts_with("RTM_NEWLINK veth veth0123456789c with peer eth0 in "),
        "{refused}"
    );
    let bad = lab.links.inspect_pod_link(&lab.pod, "../all").await.unwrap_err();
    assert_eq!(bad.to_string(), "`../all` is not an interface name");
}

#[tokio::test]
async fn rp_filter_of_no_interface_is_touched() {
    let lab = Lab::new().await;
    for value in ["0", "1", "2"] {
        lab.pod.run(|| fs::write("/proc/sys/net/ipv4/conf/default/rp_filter", value).unwrap()).unwrap();
        lab.open_pod(Ipv6Mode::Off).await;
        assert_eq!(sysctl(&lab.pod, "ipv4", "eth0", "rp_filter"), value);
        lab.links.delete_veth(HOST_END, ALIAS).await.unwrap();
    }
}

#[tokio::test]
async fn on_the_userspace_datapath_the_pod_finishes_its_own_frames() {
    let lab = Lab::new().await;
    lab.links.create_veth(&lab.spec()).await.unwrap();
    let spec = pod_link(Ipv6Mode::Off, Offloads::TransmitOff);
    let before = lab.pod.run(|| super::ethtool::active("eth0").unwrap()).unwrap();
    assert!(before.contains("tx-checksum-ip-generic"), "{before:?}");
    lab.links.prepare_pod_link(&lab.pod, spec).await.unwrap();
    lab.links.prepare_pod_link(&lab.pod, spec).await.unwrap();
    let after = lab.pod.run(|| super::ethtool::active("eth0").unwrap()).unwrap();
    let left: Vec<_> =
        super::ethtool::TRANSMIT_OFFLOADS.iter().filter(|name| after.contains(**name)).collect();
    assert!(left.is_empty(), "{left:?}");
    let missing = lab.pod.run(|| super::ethtool::turn_transmit_offloads_off("eth7")).unwrap().unwrap_err();
    assert_eq!(missing.raw_os_error(), Some(Errno::ENODEV as i32));
}

#[tokio::test]
async fn the_qdisc_of_an_open_host_end_is_noqueue() {
    let lab = Lab::new().await;
    lab.open_pod(Ipv6Mode::Off).await;
    let seen = lab.links.observe_one(HOST_END).await.unwrap().unwrap();
    assert_eq!(seen.qdisc, "noqueue");
}

#[tokio::test]
async fn the_monitor_tells_the_set_after_every_change() {
    let lab = Lab::new().await;
    let (facts, mut news) = watch::channel(Arc::new(HostVeths::new()));
    let task = tokio::spawn(monitor::run(lab.links.clone(), facts));
    let wait = async |news: &mut watch::Receiver<Arc<HostVeths>>, holds: fn(&HostVeths) -> bool| {
        let arrived = tokio::time::timeout(Duration::from_secs(5), news.wait_for(|set| holds(set))).await;
        drop(arrived.expect("the monitor tells within 5 s").unwrap());
    };
    lab.open_pod(Ipv6Mode::Off).await;
    wait(&mut news, |set| set.get(HOST_END).is_some_and(|veth| veth.is_up)).await;
    lab.links.set_host_up(HOST_END, false).await.unwrap();
    wait(&mut news, |set| set.get(HOST_END).is_some_and(|veth| !veth.is_up)).await;
    let rename = "exec ip link set veth0123456789a name elsewhere";
    lab.links.host().run(|| shell(rename)).unwrap();
    wait(&mut news, HostVeths::is_empty).await;
    lab.links.host().run(|| shell("exec ip link set elsewhere name veth0123456789a")).unwrap();
    wait(&mut news, |set| set.contains_key(HOST_END)).await;
    lab.links.delete_veth(HOST_END, ALIAS).await.unwrap();
    wait(&mut news, HostVeths::is_empty).await;
    task.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_pods_are_made_at_once_by_tasks_of_their_own() {
    let links = connect(fresh()).await;
    let mut tasks = tokio::task::JoinSet::new();
    for i in 0..20 {
        let links = links.clone();
        tasks.spawn(async move {
            let (pod, name) = (fresh(), format!("veth{i:011x}"));
            let spec = VethSpec {
                host_ifname: &name,
                alias: ALIAS,
                pod_ifname: "eth0",
                pod_netns: &pod,
                mtu: 1400,
                mac: MAC,
            };
            links.create_veth(&spec).await.unwrap();
            links.prepare_pod_link(&pod, pod_link(Ipv6Mode::Static, Offloads::Keep)).await.unwrap();
            links.set_host_up(&name, true).await.unwrap();
            links.configure_pod(&pod, "eth0", &nets(&["10.1.2.3/24", "2001:db8::3/64"]), &[]).await.unwrap();
            assert!(links.inspect_pod_link(&pod, "eth0").await.unwrap().unwrap().is_up);
            links.delete_veth(&name, ALIAS).await.unwrap();
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    assert_eq!(links.observe().await.unwrap(), HostVeths::new());
}

#[test]
fn only_names_of_our_form_are_candidates() {
    assert!(is_host_end_name("veth0123456789a"));
    for name in ["veth0123456789", "veth0123456789A", "eth0", "veth", "vethwxyz1234567", "vnet0123456789a"] {
        assert!(!is_host_end_name(name), "{name}");
    }
}
