//! UDP round trips between two namespaces, over every path that there is, in turn: a bare veth pair, two plain ports
//! on OVS, two guarded pods through OVS, two accelerated pods.
//!
//! One datagram is under way at a time. Both ends block in `recv`, so the processor's sleep and wake are in the figure,
//! on every path alike.

use std::net::{IpAddr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use e2e::{Datapath, Lab, Netns, control};

use crate::samples::Row;

/// Bytes of a datagram.
const SIZE: usize = 64;
const ROUNDS: usize = 8;
/// Round trips of one path in one round; the first tenth warms up.
const TRIPS: usize = 1_000;
const SILENCE: Duration = Duration::from_secs(5);
/// A new pod's programs hang in haste first, and for good some ten seconds later, one pod after the other.
const SETTLED_WITHIN_SECONDS: u64 = 90;

/// Two sockets and a name.
struct Way {
    name: &'static str,
    here: UdpSocket,
    there: UdpSocket,
}

impl Way {
    fn between(name: &'static str, here: (&Netns, IpAddr), there: (&Netns, IpAddr)) -> Result<Self> {
        let bind = |(netns, ip): (&Netns, IpAddr)| {
            netns.enter(|| UdpSocket::bind((ip, 0)).with_context(|| format!("{name}: binding {ip}")))
        };
        let (here, there) = (bind(here)?, bind(there)?);
        here.connect(there.local_addr()?)?;
        there.connect(here.local_addr()?)?;
        for socket in [&here, &there] {
            socket.set_read_timeout(Some(SILENCE))?;
        }
        Ok(Self { name, here, there })
    }

    /// One round; in µs.
    fn round(&self) -> Result<Vec<f64>> {
        thread::scope(|scope| {
            let echo = scope.spawn(|| -> Result<()> {
                let mut buffer = [0; SIZE];
                for _ in 0..TRIPS {
                    let length = self.there.recv(&mut buffer).context("the far end heard nothing")?;
                    self.there.send(&buffer[..length])?;
                }
                Ok(())
            });
            let mut took = Vec::with_capacity(TRIPS);
            let mut buffer = [0; SIZE];
            for _ in 0..TRIPS {
                let began = Instant::now();
                self.here.send(&buffer)?;
                self.here.recv(&mut buffer).with_context(|| format!("{}: no answer", self.name))?;
                took.push(began.elapsed().as_secs_f64() * 1e6);
            }
            echo.join().map_err(|_| anyhow::anyhow!("the far end panicked"))??;
            Ok(took.split_off(TRIPS / 10))
        })
    }
}

pub(crate) fn measure() -> Result<Vec<Row>> {
    let lab = Lab::usual();
    let [left, right] =
        ["left", "right"].map(|name| Netns::create(&lab.room_path(&format!("netns/bare-{name}"))));
    let (left, right) = (left?, right?);
    let bare = bare_pair(&left, &right)?;
    let (plain_a, plain_b) =
        (lab.foreign_host("na", &["10.0.0.101/24"]), lab.foreign_host("nb", &["10.0.0.102/24"]));
    let slow = |name| lab.pod(name).key("accelerate", false).up();
    let (slow_a, slow_b) = (slow("sa"), slow("sb"));
    let (fast_a, fast_b) = (lab.pod("fa").up(), lab.pod("fb").up());
    let ip = |text: &str| text.parse::<IpAddr>().context("an address");
    let mut ways = vec![
        Way::between("bare veth", (&left, bare[0]), (&right, bare[1]))?,
        Way::between(
            "OVS NORMAL",
            (plain_a.netns(), ip("10.0.0.101")?),
            (plain_b.netns(), ip("10.0.0.102")?),
        )?,
        Way::between("guarded, through OVS", (slow_a.netns(), slow_a.v4()), (slow_b.netns(), slow_b.v4()))?,
    ];
    if lab.datapath() == Datapath::Kernel {
        ways.push(Way::between(
            "guarded, accelerated",
            (fast_a.netns(), fast_a.v4()),
            (fast_b.netns(), fast_b.v4()),
        )?);
    }
    lab.eventually(SETTLED_WITHIN_SECONDS, "the programs hang for good", || settled(&lab));
    let mut taken: Vec<Vec<f64>> = ways.iter().map(|_| Vec::new()).collect();
    for _ in 0..ROUNDS {
        for (way, taken) in ways.iter().zip(&mut taken) {
            taken.extend(way.round()?);
        }
    }
    let rows = ways.iter().zip(taken).map(|(way, taken)| Row::new(way.name, "µs", taken).beside("bare veth"));
    let rows = rows.collect();
    drop(ways);
    left.delete()?;
    right.delete()?;
    for pod in [slow_a, slow_b, fast_a, fast_b] {
        pod.del().succeeded();
    }
    lab.finish();
    Ok(rows)
}

/// Every pod's programs hang by TCX.
fn settled(lab: &Lab) -> Result<(), String> {
    let endpoints = lab.agent().endpoints().map_err(|error| format!("{error:#}"))?;
    let hooks: Vec<_> = endpoints.iter().map(|one| one.guard.as_ref().map(control::Guard::ebpf)).collect();
    let good = hooks.iter().all(|hook| *hook == Some(control::BpfHook::Tcx));
    if good { Ok(()) } else { Err(format!("{hooks:?}")) }
}

/// Two namespaces and nothing between them.
fn bare_pair(left: &Netns, right: &Netns) -> Result<[IpAddr; 2]> {
    let ip = |netns: &Netns, words: &[&str]| {
        netns.enter(|| {
            let done = std::process::Command::new("ip").args(words).status().context("ip")?;
            ensure!(done.success(), "ip {words:?}: {done}");
            Ok(())
        })
    };
    let peer = right.path().to_str().context("a path")?;
    ip(left, &["link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", peer])?;
    let addresses = ["10.1.0.1", "10.1.0.2"];
    for (netns, address) in [left, right].into_iter().zip(addresses) {
        ip(netns, &["addr", "add", &format!("{address}/24"), "dev", "eth0"])?;
        ip(netns, &["link", "set", "eth0", "up"])?;
    }
    Ok([addresses[0].parse()?, addresses[1].parse()?])
}
