//! Two ends behind the guard and its way past the bridge, and no bridge: what the programs make of a bare veth pair.
//!
//! The whole guard of mode full judges each frame and sends it on to the other's end. Nobody else is on the link, so
//! the ends are told of each other.

use std::net::Ipv4Addr;

use anyhow::{Result, anyhow};
use e2e::Lab;
use ebpf::abi::{BridgeFlags, L2Key, Local, LocalFlags, Mode, Port, PortFlags, Stage};
use ebpf::{AttachKind, Dataplane};
use nix::net::if_::if_nametoindex;

use super::paths::{Path, ip, made_here, namespace, place};

const BRIDGE: u16 = 1;
const MTU: u32 = 1_500;
const ENDPOINTS: u32 = 16;
const NET: &str = "10.3.0";
/// Longer than any run of this.
const LEASE_NS: u64 = 3_600_000_000_000;

pub(super) fn guarded(lab: &Lab) -> Result<Path<'_>> {
    let ends = [namespace(lab, "alone-a")?, namespace(lab, "alone-b")?];
    let middle = namespace(lab, "alone")?;
    for (end, number) in ends.iter().zip(1_u8..) {
        let (mac, place) = (text(mac(number)), place(end)?);
        ip(&middle, &format!("link add p{number} type veth peer name eth0 address {mac} netns {place}"))?;
        ip(&middle, &format!("link set p{number} up"))?;
    }
    let bpf_dir = lab.room_path("bpf/alone");
    let programs = middle.enter(|| {
        let mut programs = Dataplane::open(&bpf_dir, ENDPOINTS)?;
        [1, 2].into_iter().try_for_each(|number| join(&mut programs, number))?;
        programs.set_bridge(BRIDGE, BridgeFlags::ACCEL_OK)?;
        programs.set_lease(ebpf::ktime_ns() + LEASE_NS)?;
        Ok(programs)
    })?;
    let path = made_here("guarded, past no bridge", NET, ends, Some((middle, Some(Box::new(programs)))))?;
    for (end, other) in [(path.here(), 2), (path.there(), 1)] {
        ip(end, &format!("neigh replace {NET}.{other} lladdr {} dev eth0", text(mac(other))))?;
    }
    Ok(path)
}

/// Hangs the programs on an end's device and lets its pod speak.
fn join(programs: &mut Dataplane, number: u8) -> Result<()> {
    let ifname = format!("p{number}");
    let ifindex = if_nametoindex(ifname.as_str())?;
    let address: Ipv4Addr = format!("{NET}.{number}").parse()?;
    let slot = u32::from(number);
    let port = Port {
        slot,
        generation: 1,
        bridge: BRIDGE,
        vlan: 0,
        mac: mac(number),
        mode: Mode::FULL,
        stage: Stage::OPEN,
        flags: PortFlags::ACCEL,
        mtu: MTU,
        ip4: address.octets(),
        ip6: [0; 16],
        ll6: [0; 16],
    };
    programs.set_port(ifindex, &port)?;
    let local = Local { ifindex, slot, mtu: MTU, flags: LocalFlags::NONE };
    programs.set_local(&L2Key::new(BRIDGE, 0, mac(number)), &local)?;
    let hung = programs.hooks.attach_pod(ifindex, &ifname, AttachKind::Tcx);
    hung.map(drop).map_err(|error| anyhow!(error).context(format!("hanging the programs on {ifname}")))
}

fn mac(number: u8) -> [u8; 6] {
    [2, 0, 0x5e, 0, 0x53, number]
}

fn text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}
