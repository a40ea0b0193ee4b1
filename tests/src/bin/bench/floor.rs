//! The least that an ADD has to do, in this process: a veth pair born in the pod's namespace, an address, one OVSDB
//! transaction, until the port has its number. No process is started, nothing is checked or remembered.

use std::collections::BTreeSet;
use std::fs::File;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsRawFd as _;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use e2e::{Lab, Netns};
use ovsdb::{
    Cache, Client, Condition, Endpoint, Event, Events, Limits, MonitorId, MonitorSpec, Mutator, NamedUuid,
    Operation,
};
use rtnetlink::packet_route::link::{
    InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use tokio::runtime::Runtime;
use tokio::time::timeout;

const POD_END: &str = "eth0";
/// A hundred ports beside five hundred take a busy switch several seconds.
const DEADLINE: Duration = Duration::from_mins(1);

/// Connections that are there already when the clock starts, as the agent's are.
pub(crate) struct Floor<'lab> {
    lab: &'lab Lab,
    runtime: Runtime,
    links: rtnetlink::Handle,
    client: Client,
    events: Events,
    cache: Cache,
}

impl<'lab> Floor<'lab> {
    pub(crate) fn connect(lab: &'lab Lab) -> Result<Self> {
        let runtime = runtime()?;
        let remote = lab.switch().database_remote();
        let socket = Endpoint::unix(remote.trim_start_matches("unix:"));
        let (client, events, cache) = runtime.block_on(async {
            let (client, events, driver) = ovsdb::connect(&socket, Limits::default()).await?;
            runtime.spawn(driver.run());
            let spec = MonitorSpec::new().table("Interface", ["name", "ofport"]);
            let mut cache = Cache::new(std::sync::Arc::new(client.schema().await?), spec.clone());
            cache.start(client.monitor(MonitorId(1), &spec, None).await?)?;
            anyhow::Ok((client, events, cache))
        })?;
        let links = lab.node().enter(|| netlink(&runtime))?;
        Ok(Self { lab, runtime, links, client, events, cache })
    }

    /// Does it `count` times in fresh namespaces, one after the other, and takes all of it away again; how long the
    /// doing took until the last port had its number.
    pub(crate) fn make(&mut self, count: usize) -> Result<Duration> {
        let names: Vec<String> = (0..count).map(|number| format!("floor{number}")).collect();
        let make = |name: &String| Netns::create(&self.lab.room_path(&format!("netns/{name}")));
        let pods = names.iter().map(make).collect::<Result<Vec<_>>>()?;
        let began = Instant::now();
        for (pod, name) in pods.iter().zip(&names) {
            self.pair(pod, name)?;
            address(pod)?;
            self.port(name)?;
        }
        self.until_all(&names)?;
        let took = began.elapsed();
        self.clear(&names)?;
        pods.iter().try_for_each(Netns::delete)?;
        Ok(took)
    }

    /// Does something else that makes `count` ports; what it came to, and how long it took until they had their
    /// numbers: `None` where not all of them came.
    pub(crate) fn until_numbered<R>(
        &mut self,
        count: usize,
        act: impl FnOnce() -> R,
    ) -> Result<(R, Option<Duration>)> {
        let Self { runtime, client, events, cache, .. } = self;
        // The answer comes behind everything that happened before.
        runtime.block_on(client.transact(vec![Operation::comment("now")]))?;
        while let Some(event) = events.try_recv() {
            take(event, cache)?;
        }
        let before = numbered(cache);
        let began = Instant::now();
        std::thread::scope(|scope| {
            let watcher = scope.spawn(|| {
                let are_new = |cache: &Cache| numbered(cache).difference(&before).count() >= count;
                let followed = async { timeout(DEADLINE, until(events, cache, are_new)).await };
                let in_time = runtime.block_on(followed).ok();
                in_time.map(|ended| ended.map(|()| began.elapsed())).transpose()
            });
            let outcome = act();
            let Ok(took) = watcher.join() else { bail!("the watcher panicked") };
            Ok((outcome, took?))
        })
    }

    fn pair(&self, pod: &Netns, name: &str) -> Result<()> {
        let file = File::open(pod.path())?;
        let mut peer = LinkMessage::default();
        peer.attributes =
            vec![LinkAttribute::IfName(POD_END.to_owned()), LinkAttribute::NetNsFd(file.as_raw_fd())];
        let mut message = LinkMessage::default();
        message.header.flags = LinkFlags::Up;
        message.header.change_mask = LinkFlags::Up;
        message.attributes = vec![
            LinkAttribute::IfName(name.to_owned()),
            LinkAttribute::LinkInfo(vec![
                LinkInfo::Kind(InfoKind::Veth),
                LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
            ]),
        ];
        self.runtime.block_on(self.links.link().add(message).execute()).context("making a pair")
    }

    fn port(&self, name: &str) -> Result<()> {
        const INTERFACE: NamedUuid = NamedUuid(1);
        const PORT: NamedUuid = NamedUuid(2);
        let bridge = vec![Condition::equal("name", self.lab.bridge())];
        let operations = vec![
            Operation::insert("Interface").named(INTERFACE).set("name", name),
            Operation::insert("Port").named(PORT).set("name", name).set("interfaces", INTERFACE),
            Operation::mutate("Bridge", bridge).mutation("ports", Mutator::Insert, PORT),
            Operation::mutate("Open_vSwitch", vec![]).mutation("next_cfg", Mutator::Add, 1),
        ];
        self.runtime.block_on(self.client.transact(operations)).map(drop).context("making a port")
    }

    fn until_all(&mut self, names: &[String]) -> Result<()> {
        let Self { runtime, events, cache, .. } = self;
        let are_there = |cache: &Cache| {
            let numbered = numbered(cache);
            names.iter().all(|name| numbered.contains(name))
        };
        let followed = async { timeout(DEADLINE, until(events, cache, are_there)).await };
        runtime.block_on(followed).context("a port got no number")?
    }

    fn clear(&self, names: &[String]) -> Result<()> {
        let mut words = Vec::new();
        for name in names {
            words.extend(["--", "del-port", name]);
        }
        self.lab.switch().vsctl(&words)?;
        self.runtime.block_on(async {
            use futures::TryStreamExt as _;
            for name in names {
                let mut found = self.links.link().get().match_name(name.clone()).execute();
                if let Some(link) = found.try_next().await? {
                    self.links.link().del(link.header.index).execute().await?;
                }
            }
            anyhow::Ok(())
        })
    }
}

/// The ports that have a number.
fn numbered(cache: &Cache) -> BTreeSet<String> {
    let rows = cache.rows("Interface").map(|(_, row)| row);
    let numbered = rows.filter(|row| row.integer("ofport").is_some_and(|port| port > 0));
    numbered.filter_map(|row| row.text("name").map(str::to_owned)).collect()
}

/// Follows the database until it says so.
async fn until(events: &mut Events, cache: &mut Cache, is_so: impl Fn(&Cache) -> bool) -> Result<()> {
    while !is_so(cache) {
        let event = events.recv().await.context("the database went away")?;
        take(event, cache)?;
    }
    Ok(())
}

fn take(event: Event, cache: &mut Cache) -> Result<()> {
    if let Event::Update { updates, .. } = event {
        cache.apply(updates)?;
    }
    Ok(())
}

/// Address and link up, by a connection into the namespace, as every CNI plugin needs one.
fn address(pod: &Netns) -> Result<()> {
    pod.enter(|| {
        let runtime = runtime()?;
        let netlink = netlink(&runtime)?;
        runtime.block_on(async {
            use futures::TryStreamExt as _;
            let mut found = netlink.link().get().match_name(POD_END.to_owned()).execute();
            let link = found.try_next().await?.context("no pod end")?;
            let index = link.header.index;
            let ip = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 250));
            netlink.address().add(index, ip, 24).execute().await?;
            let mut up = LinkMessage::default();
            up.header.index = index;
            up.header.flags = LinkFlags::Up;
            up.header.change_mask = LinkFlags::Up;
            netlink.link().set(up).execute().await?;
            anyhow::Ok(())
        })
    })
}

/// A connection into the namespace of the calling thread.
fn netlink(runtime: &Runtime) -> Result<rtnetlink::Handle> {
    let _entered = runtime.enter();
    let (connection, handle, _) = rtnetlink::new_connection().context("a netlink socket")?;
    runtime.spawn(connection);
    Ok(handle)
}

fn runtime() -> Result<Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("a runtime")
}
