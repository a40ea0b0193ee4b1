//! The ways from one namespace to another, and what was made for them.

use std::net::IpAddr;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use e2e::{Datapath, Lab, Neighbour, Netns, Pod};
use ebpf::Dataplane;

use super::alone;
use crate::tell;

/// Two ends and a name.
pub(super) struct Path<'lab> {
    pub(super) name: &'static str,
    ends: Ends<'lab>,
    pub(super) here_ip: IpAddr,
    pub(super) there_ip: IpAddr,
}

enum Ends<'lab> {
    /// Made here.
    Bare {
        ends: [Netns; 2],
        between: Option<Between>,
    },
    Foreign([Neighbour; 2]),
    Pods([Pod<'lab>; 2]),
}

/// A namespace that holds what is between two ends, and the programs that work there.
type Between = (Netns, Option<Box<Dataplane>>);

impl Path<'_> {
    pub(super) fn here(&self) -> &Netns {
        self.netns(0)
    }

    pub(super) fn there(&self) -> &Netns {
        self.netns(1)
    }

    fn netns(&self, at: usize) -> &Netns {
        match &self.ends {
            Ends::Bare { ends, .. } => &ends[at],
            Ends::Foreign(hosts) => hosts[at].netns(),
            Ends::Pods(pods) => pods[at].netns(),
        }
    }
}

/// Every path of this datapath, the floor first.
pub(super) fn all(lab: &Lab) -> Result<Vec<Path<'_>>> {
    let mut all = vec![bare(lab)?];
    match bridged(lab) {
        Ok(path) => all.push(path),
        Err(error) => tell(&format!("this kernel makes no Linux bridge: {error:#}")),
    }
    all.push(alone::guarded(lab)?);
    let hosts = [("na", "10.0.0.101"), ("nb", "10.0.0.102")];
    all.push(Path {
        name: "OVS NORMAL",
        ends: Ends::Foreign(hosts.map(|(name, ip)| lab.foreign_host(name, &[&format!("{ip}/24")]))),
        here_ip: hosts[0].1.parse()?,
        there_ip: hosts[1].1.parse()?,
    });
    let slow = ["sa", "sb"].map(|name| lab.pod(name).key("accelerate", false).up());
    all.push(between("guarded, through OVS", slow));
    // Its eBPF programs pass nothing by a bridge of the userspace datapath.
    if lab.datapath() == Datapath::Kernel {
        all.push(between("guarded, accelerated", ["fa", "fb"].map(|name| lab.pod(name).up())));
    }
    Ok(all)
}

/// Takes away what the lab does not know of, and deletes the pods.
pub(super) fn clear(paths: Vec<Path<'_>>) -> Result<()> {
    for path in paths {
        match path.ends {
            Ends::Bare { ends, between } => {
                ends.iter().chain(between.iter().map(|(netns, _)| netns)).try_for_each(Netns::delete)?;
            }
            Ends::Foreign(_) => {}
            Ends::Pods(pods) => {
                for pod in pods {
                    let answer = pod.del();
                    ensure!(answer.exit == Some(0), "DEL failed: {answer:?}");
                }
            }
        }
    }
    Ok(())
}

fn between<'lab>(name: &'static str, pods: [Pod<'lab>; 2]) -> Path<'lab> {
    let [here_ip, there_ip] = pods.each_ref().map(Pod::v4);
    Path { name, ends: Ends::Pods(pods), here_ip, there_ip }
}

/// Two namespaces and nothing between them.
fn bare(lab: &Lab) -> Result<Path<'_>> {
    let ends = [namespace(lab, "bare-a")?, namespace(lab, "bare-b")?];
    ip(&ends[0], &format!("link add eth0 type veth peer name eth0 netns {}", place(&ends[1])?))?;
    made_here("bare veth", "10.1.0", ends, None)
}

/// A Linux bridge in a namespace of its own.
fn bridged(lab: &Lab) -> Result<Path<'_>> {
    let ends = [namespace(lab, "bridged-a")?, namespace(lab, "bridged-b")?];
    let middle = namespace(lab, "bridge")?;
    let prepared = ip(&middle, "link add br0 type bridge").and_then(|()| ip(&middle, "link set br0 up"));
    if let Err(error) = prepared {
        ends.iter().chain([&middle]).try_for_each(Netns::delete)?;
        return Err(error);
    }
    for (end, port) in ends.iter().zip(["p0", "p1"]) {
        ip(&middle, &format!("link add {port} type veth peer name eth0 netns {}", place(end)?))?;
        ip(&middle, &format!("link set {port} master br0 up"))?;
    }
    made_here("Linux bridge", "10.2.0", ends, Some((middle, None)))
}

pub(super) fn made_here<'lab>(
    name: &'static str,
    net: &str,
    ends: [Netns; 2],
    between: Option<Between>,
) -> Result<Path<'lab>> {
    let addresses = [format!("{net}.1"), format!("{net}.2")];
    for (end, address) in ends.iter().zip(&addresses) {
        ip(end, &format!("addr add {address}/24 dev eth0"))?;
        ip(end, "link set eth0 up")?;
    }
    let [here_ip, there_ip] = addresses.map(|address| address.parse::<IpAddr>());
    Ok(Path {
        name,
        ends: Ends::Bare { ends, between },
        here_ip: here_ip.context("an address")?,
        there_ip: there_ip.context("an address")?,
    })
}

pub(super) fn namespace(lab: &Lab, name: &str) -> Result<Netns> {
    Netns::create(&lab.room_path(&format!("netns/{name}")))
}

pub(super) fn place(netns: &Netns) -> Result<&str> {
    netns.path().to_str().context("a path")
}

pub(super) fn ip(netns: &Netns, words: &str) -> Result<()> {
    netns.enter(|| {
        let done = Command::new("ip").args(words.split(' ')).output().context("ip")?;
        ensure!(done.status.success(), "ip {words}: {}", String::from_utf8_lossy(&done.stderr).trim());
        Ok(())
    })
}
