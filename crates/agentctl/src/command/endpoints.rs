//! `endpoints`: every interface of every pod; one of them in full. Exit status 1 if one failed or is not gone yet.

mod printed;

use agent_api::control::v1::endpoint_state::State;
use agent_api::control::v1::vlan::Mode;
use agent_api::control::v1::{Endpoint, EndpointsRequest, Vlan};

use crate::failure::{Failure, Found};
use crate::grid::{Field, Grid, Mood};
use crate::screen::Screen;
use crate::session::{Session, answer};
use crate::{names, time};
use printed::Printed;

pub(super) async fn run(
    mut session: Session,
    screen: &Screen,
    endpoint: String,
    bridge: String,
) -> Result<Found, Failure> {
    let in_full = !endpoint.is_empty();
    let endpoints = answer(session.agent.endpoints(EndpointsRequest { endpoint, bridge })).await?.endpoints;
    let found = Found::if_any(endpoints.iter().any(|endpoint| trouble(endpoint).is_some()));
    if screen.is_json() {
        screen.json(&endpoints.into_iter().map(Printed::from).collect::<Vec<_>>())?;
    } else if in_full {
        for (index, endpoint) in endpoints.iter().enumerate() {
            if index > 0 {
                screen.line("")?;
            }
            screen.grid(&full(endpoint), "")?;
        }
    } else {
        screen.grid(&grid(&endpoints), "no endpoints")?;
        for more in [troubles(&endpoints), conditions(&endpoints)] {
            if !more.is_empty() {
                screen.line("")?;
                screen.grid(&more, "")?;
            }
        }
    }
    Ok(found)
}

fn grid(endpoints: &[Endpoint]) -> Grid {
    let mut grid = Grid::new(["ENDPOINT", "BRIDGE", "VLAN", "ADDRESSES", "GUARD", "DROPS", "STATE"])
        .whole(&["ADDRESSES", "ENDPOINT", "GUARD", "STATE"]);
    for endpoint in endpoints {
        let (state, mood) = state(endpoint);
        grid.row([
            names::endpoint(endpoint.r#ref.as_ref()).into(),
            endpoint.bridge.as_str().into(),
            vlan(endpoint.vlan.as_ref()).into(),
            names::or_dash(&endpoint.addresses.join("\n")).into(),
            endpoint.guard.as_ref().map_or_else(String::new, |guard| names::guard_mode(guard.mode)).into(),
            Field::number(endpoint.dropped),
            Field::new(state, mood),
        ]);
    }
    grid
}

/// Those that failed and those that wait to be gone, with room for their reasons.
fn troubles(endpoints: &[Endpoint]) -> Grid {
    let mut grid = Grid::new(["ENDPOINT", "WHY"]);
    for endpoint in endpoints {
        if let Some(trouble) = trouble(endpoint) {
            grid.row([names::endpoint(endpoint.r#ref.as_ref()).into(), Field::new(trouble, Mood::Bad)]);
        }
    }
    grid
}

/// What is to be known of the ones that work.
fn conditions(endpoints: &[Endpoint]) -> Grid {
    let mut grid = Grid::new(["ENDPOINT", "CONDITION"]);
    for endpoint in endpoints {
        for condition in &endpoint.conditions {
            let id = names::endpoint(endpoint.r#ref.as_ref());
            grid.row([id.into(), Field::new(condition.clone(), Mood::Warning)]);
        }
    }
    grid
}

fn full(endpoint: &Endpoint) -> Grid {
    let mut grid = Grid::new([]);
    let reference = endpoint.r#ref.clone().unwrap_or_default();
    let mut say = |name: &str, value: Field| grid.row([name.into(), value]);
    say("endpoint", reference.id.into());
    let (state, mood) = state(endpoint);
    say("state", Field::new(trouble(endpoint).unwrap_or(state), mood));
    for condition in &endpoint.conditions {
        say("condition", Field::new(condition.clone(), Mood::Warning));
    }
    say("container", reference.container_id.into());
    if is_removed(endpoint) {
        say("port", format!("{} on {}", endpoint.host_ifname, names::or_dash(&endpoint.bridge)).into());
        return grid;
    }
    if let Some(uid) = reference.pod.map(|pod| pod.uid).filter(|uid| !uid.is_empty()) {
        say("pod uid", uid.into());
    }
    say("netns", names::or_dash(&endpoint.netns).into());
    say("network", format!("{} (type {})", endpoint.network, endpoint.cni_type).into());
    let vlan = vlan(endpoint.vlan.as_ref());
    say("port", format!("{} on {}, VLAN {vlan}", endpoint.host_ifname, endpoint.bridge).into());
    say("numbers", format!("ofport {}, slot {}", endpoint.ofport, endpoint.slot).into());
    say("mac", endpoint.mac.as_str().into());
    say("mtu", endpoint.mtu.to_string().into());
    say("addresses", names::or_dash(&endpoint.addresses.join(", ")).into());
    say("gateways", names::or_dash(&endpoint.gateways.join(", ")).into());
    say("guard", guard(endpoint).into());
    say("passed", format!("{} ebpf, {} openflow", endpoint.passed, endpoint.passed_openflow).into());
    for count in &endpoint.drops {
        let reason = names::reason(count.reason);
        let walls = format!("{} ebpf, {} openflow", count.ebpf, count.openflow);
        let text = format!("{} for {reason} ({walls}): {}", count.frames, names::meaning(count.reason));
        say("dropped", Field::new(text, Mood::Warning));
    }
    let accel = endpoint.accel.clone().unwrap_or_default();
    let counters = format!("{} sent, {} received past the bridge", accel.tx_packets, accel.rx_packets);
    say("accel", format!("{}; {counters}", if accel.on { "on" } else { "off" }).into());
    for reason in accel.reasons {
        say("no accel", reason.text.into());
    }
    say(
        "added",
        format!("{} ago, generation {}", time::age(endpoint.added_unix_ns), endpoint.generation).into(),
    );
    grid
}

/// Of what the runtime deleted little is known but what is left of it.
fn is_removed(endpoint: &Endpoint) -> bool {
    matches!(endpoint.state.as_ref().and_then(|state| state.state.as_ref()), Some(State::Removing(_)))
}

/// `full, ebpf by tcx, openflow, may: dhcp slaac`
fn guard(endpoint: &Endpoint) -> String {
    let Some(guard) = &endpoint.guard else { return "-".to_owned() };
    let openflow = if guard.openflow { "openflow" } else { "no openflow" };
    let mut text =
        format!("{}, ebpf by {}, {openflow}", names::guard_mode(guard.mode), names::hook(guard.ebpf));
    let flags = [(guard.dhcp, " dhcp"), (guard.slaac, " slaac"), (guard.vm, " vm")];
    let allowed: String = flags.iter().filter(|(set, _)| *set).map(|(_, name)| *name).collect();
    if !allowed.is_empty() {
        text.push_str(", may:");
        text.push_str(&allowed);
    }
    text
}

/// Where an endpoint stands, in two words and a colour.
fn state(endpoint: &Endpoint) -> (String, Mood) {
    match endpoint.state.as_ref().and_then(|state| state.state.as_ref()) {
        Some(State::Ready(_)) => ("ready".to_owned(), Mood::Good),
        Some(State::Pending(pending)) => {
            let (stage, age) = (names::stage(pending.stage), time::age(pending.since_unix_ns));
            (format!("{stage} {age}"), Mood::Warning)
        }
        Some(State::Failed(failed)) => (format!("{} failed", names::stage(failed.stage)), Mood::Bad),
        Some(State::Removing(removing)) => {
            (format!("removing {}", time::age(removing.since_unix_ns)), Mood::Warning)
        }
        None => ("unknown".to_owned(), Mood::Plain),
    }
}

/// Why an endpoint failed, and when it is tried again; what one that was deleted waits for.
fn trouble(endpoint: &Endpoint) -> Option<String> {
    match endpoint.state.as_ref()?.state.as_ref()? {
        State::Failed(failed) => {
            let (stage, again) = (names::stage(failed.stage), time::until(failed.retry_at_unix_ns));
            Some(format!("{stage} failed: {}; again in {again}", failed.error))
        }
        State::Removing(removing) if !removing.why.is_empty() => {
            let age = time::age(removing.since_unix_ns);
            Some(format!("deleted {age} ago and not gone yet: {}", removing.why))
        }
        State::Ready(_) | State::Pending(_) | State::Removing(_) => None,
    }
}

/// `100`, `-` for untagged, `trunk 10,20 native 5`, `all`.
fn vlan(vlan: Option<&Vlan>) -> String {
    let Some(vlan) = vlan else { return "-".to_owned() };
    match vlan.mode() {
        Mode::Access => {
            vlan.tag.filter(|tag| *tag != 0).map_or_else(|| "-".to_owned(), |tag| tag.to_string())
        }
        Mode::Trunk => {
            let native = vlan.tag.map(|tag| format!(" native {tag}")).unwrap_or_default();
            format!("trunk {}{native}", ranges(&vlan.trunks))
        }
        Mode::Unset => "all".to_owned(),
        Mode::Unspecified => "?".to_owned(),
    }
}

/// `5,10-12` for 5, 10, 11, 12.
fn ranges(vlans: &[u32]) -> String {
    let runs = vlans.chunk_by(|left, right| left.checked_add(1) == Some(*right));
    let texts: Vec<_> = runs
        .filter_map(|run| match (run.first()?, run.last()?) {
            (first, last) if first == last => Some(first.to_string()),
            (first, last) => Some(format!("{first}-{last}")),
        })
        .collect();
    texts.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vlans_that_follow_each_other_are_a_range() {
        assert_eq!(ranges(&[5, 10, 11, 12, 14, 15]), "5,10-12,14-15");
        assert_eq!(ranges(&[]), "");
    }
}
