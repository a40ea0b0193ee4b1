//! What happens in the demo, step by step. Each step leaves the lab as the next one expects it.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use e2e::control::{GatewayState, Reason, ReasonCount};
use e2e::frames::{Hostile, Identity, hostile, udp};
use e2e::{Datapath, Host, Lab, Mac, Pod, wait_for};

use crate::screen::{Screen, span, spread};

/// Who plays.
pub(crate) struct Cast<'lab> {
    lab: &'lab Lab,
    cart: Pod<'lab>,
    till: Pod<'lab>,
    /// A pod whose frames always go through OVS, to compare with.
    depot: Pod<'lab>,
}

/// The steps in their order.
pub(crate) const STEPS: [fn(&Cast<'_>, &mut Screen); 6] =
    [they_talk, they_lie, someone_takes_an_address, the_gateway_goes, the_agent_dies, the_flows_have_names];

/// Echo requests behind each latency.
const PINGS: u16 = 200;

/// Everything that the agent must notice by itself is told within this.
const NOTICED_WITHIN: Duration = Duration::from_secs(10);

/// Lines of the flows dump that fit beside the rest, and how much of each.
const FLOWS_SHOWN: usize = 10;
const FLOW_WIDTH: usize = 110;

/// Makes the pods and draws what is there.
pub(crate) fn cast<'lab>(lab: &'lab Lab, screen: &mut Screen) -> Cast<'lab> {
    let began = Instant::now();
    let cart = lab.pod("cart").up();
    let first = began.elapsed();
    let till = lab.pod("till").up();
    let depot = lab.pod("depot").key("accelerate", false).up();
    let cast = Cast { lab, cart, till, depot };
    let line = |of: &dyn Fn(&Pod<'_>) -> String, gateway: &str| {
        let [cart, till, depot] = [&cast.cart, &cast.till, &cast.depot].map(of);
        Screen::say(format!("   {cart:<18} {till:<18} {depot:<18} {gateway}").trim_end());
    };
    let [v4, v6] = [0, 1].map(|family| lab.gateway_ips()[family].to_string());
    line(&|pod| format!("pod lab/{}", pod.name()), "gateway");
    line(&|pod| pod.v4().to_string(), &v4);
    line(&|pod| pod.v6().to_string(), &v6);
    line(&|pod| pod.mac().to_string(), &lab.gateway().mac().to_string());
    line(&|_| "      |".to_owned(), "   |");
    Screen::say("  -------+------------------+------------------+---------------+------ br1");
    line(&|pod| format!(" {}", pod.port()), "");
    Screen::chapter("Pods get real addresses of the network");
    screen.check("CNI ADD, with IPAM and a conflict probe of 300 ms", || Ok(span(first)));
    cast
}

fn they_talk(cast: &Cast<'_>, screen: &mut Screen) {
    Screen::chapter("They talk");
    let Cast { lab, cart, till, depot } = cast;
    let gateways = lab.gateway_ips();
    for (what, to) in [
        ("cart pings the gateway, IPv4", gateways[0]),
        ("cart pings the gateway, IPv6", gateways[1]),
        ("cart pings depot, through OVS", depot.v4()),
    ] {
        screen.check(what, || latency(cart, to));
    }
    // The userspace datapath will never accelerate; one look is enough for its reasons.
    let patience = if lab.datapath() == Datapath::Kernel { NOTICED_WITHIN } else { Duration::ZERO };
    let on = wait_for(patience, || accelerated(lab, cart).and_then(|()| accelerated(lab, till)));
    match on {
        Ok(_) => screen.check("cart pings till, accelerated past OVS", || latency(cart, till.v4())),
        Err(why) => {
            screen.check("cart pings till, through OVS too", || latency(cart, till.v4()));
            Screen::detail(&format!("not accelerated: {why}"));
        }
    }
    screen.check("UDP and TCP, cart to till", || {
        let _echo = till.serve_echo();
        let udp = cart.udp_echo(till.v4()).map_err(|error| format!("{error:#}"))?;
        let tcp = cart.tcp_echo(till.v6()).map_err(|error| format!("{error:#}"))?;
        Ok(format!("a datagram in {}, 256 KiB there and back in {}", span(udp), span(tcp)))
    });
}

fn they_lie(cast: &Cast<'_>, screen: &mut Screen) {
    Screen::chapter("They lie, and it dies at the port");
    let Cast { lab, cart, till, .. } = cast;
    let IpAddr::V4(gateway) = lab.gateway_ips()[0] else { unreachable!("the drawing names IPv4 first") };
    let frames = hostile(Identity::of(cart), Identity::of(till), gateway);
    let before = counts(lab, cart);
    let wires = [till.wire(), lab.gateway().wire()];
    let out = cart.wire();
    for hostile in &frames {
        drop(out.send(&hostile.frame));
    }
    // An honest datagram to everyone ends the volley: what has not arrived before it is dead.
    let everyone = Identity { mac: Mac([0xff; 6]), v4: Ipv4Addr::BROADCAST, ..Identity::of(till) };
    let marker = udp(Identity::of(cart), everyone, (4711, 9));
    drop(out.send(&marker));
    let seen: Vec<Vec<u8>> = wires
        .iter()
        .flat_map(|wire| wire.all_until(lab.within_seconds(3), |got| got == marker).unwrap_or_default())
        .collect();
    let dropped = |count: &ReasonCount| {
        let old = before.iter().find(|one| one.reason == count.reason).copied().unwrap_or_default();
        (count.ebpf - old.ebpf, count.openflow - old.openflow)
    };
    // OVS pushes the counters of a flow about twice a second.
    let complete = wait_for(lab.within_seconds(3), || {
        let now = counts(lab, cart);
        let sum: u64 = now.iter().map(|count| dropped(count).0.max(dropped(count).1)).sum();
        if usize::try_from(sum).unwrap_or(usize::MAX) >= frames.len() { Ok(now) } else { Err(now.len()) }
    });
    let now = complete.map_or_else(|_| counts(lab, cart), |(now, _)| now);
    Screen::say(&format!("        {:<27} {:<14} {}", "cart pretends", "dropped as", "stopped by"));
    for hostile in &frames {
        let (ebpf, openflow) = now.iter().find(|one| one.reason() == hostile.reason).map_or((0, 0), dropped);
        let reason = hostile.reason.as_str_name().trim_start_matches("REASON_").to_lowercase();
        screen.row(hostile.pretends, died(hostile, &seen, &reason, ebpf, openflow));
    }
}

fn died(
    hostile: &Hostile,
    seen: &[Vec<u8>],
    reason: &str,
    ebpf: u64,
    openflow: u64,
) -> Result<String, String> {
    if seen.contains(&hostile.frame) {
        return Err("it arrived".to_owned());
    }
    match (ebpf, openflow) {
        (0, 0) => Err(format!("it did not arrive, but nobody counted it as {reason}")),
        (_, 0) => Ok(format!("{reason:<14} eBPF")),
        (0, _) => Ok(format!("{reason:<14} OpenFlow")),
        (_, _) => Ok(format!("{reason:<14} OpenFlow, seen by eBPF too")),
    }
}

fn someone_takes_an_address(cast: &Cast<'_>, screen: &mut Screen) {
    Screen::chapter("Someone else takes an address");
    let Cast { lab, cart, .. } = cast;
    let stranger = lab.foreign_host("stranger", &["10.0.0.66/24"]);
    screen.check("a new pod asks for the stranger's address", || {
        let answer = lab.pod("twin").address("10.0.0.66/24").place().add();
        match answer.code() {
            Some(100) => Ok(format!("refused: {}", answer.json()["msg"].as_str().unwrap_or_default())),
            _ => Err(format!("{answer:?}")),
        }
    });
    screen.check("the stranger takes cart's", || {
        let IpAddr::V4(address) = cart.v4() else { unreachable!("v4 gives IPv4") };
        stranger.claim(&format!("{address}/24"));
        stranger.announce(address);
        let (told, took) = wait_for(NOTICED_WITHIN, || {
            let all = lab.agent().conflicts().map_err(|error| format!("{error:#}"))?;
            let ours = all
                .iter()
                .find(|one| cart.is_in(one.endpoint.as_ref()) && one.address == address.to_string());
            ours.map(|one| one.foreign_mac.clone()).ok_or_else(|| "nobody noticed".to_owned())
        })?;
        stranger.unclaim(&format!("{address}/24"));
        Ok(format!("{told} claims {address}, noticed after {}", span(took)))
    });
}

fn the_gateway_goes(cast: &Cast<'_>, screen: &mut Screen) {
    Screen::chapter("The gateway goes and comes back");
    let Cast { lab, cart, .. } = cast;
    let becomes = |state: GatewayState| {
        let ((), took) = wait_for(NOTICED_WITHIN, || {
            let all = lab.agent().gateways().map_err(|error| format!("{error:#}"))?;
            let states: Vec<GatewayState> = all.iter().map(e2e::control::Gateway::state).collect();
            let is_so = !states.is_empty() && states.iter().all(|one| *one == state);
            if is_so { Ok(()) } else { Err(format!("{states:?}")) }
        })?;
        Ok::<_, String>(took)
    };
    screen.check("it is watched over both families", || {
        becomes(GatewayState::Reachable).map(|_| "reachable".into())
    });
    lab.gateway().kill();
    screen.check("it dies", || {
        becomes(GatewayState::Lost).map(|took| format!("lost, told after {}", span(took)))
    });
    lab.gateway().revive();
    screen.check("it comes back", || {
        becomes(GatewayState::Reachable).map(|took| format!("reachable, told after {}", span(took)))
    });
    screen.check("cart reaches it", || latency(cart, lab.gateway_ips()[0]));
}

fn the_agent_dies(cast: &Cast<'_>, screen: &mut Screen) {
    Screen::chapter("The agent is killed and started again");
    let Cast { lab, cart, till, .. } = cast;
    let before = lab.our_flows().len();
    let at = Instant::now();
    let stream = cart.ping_stream(till.v4(), Duration::from_millis(10));
    let restarted = lab.agent().kill9().and_then(|()| lab.agent().start());
    screen.check("kill -9 and a start", || match restarted {
        Ok(()) => Ok(format!("ready again after {}", span(at.elapsed()))),
        Err(error) => Err(format!("{error:#}")),
    });
    screen.check("a ping every 10 ms meanwhile", || {
        let loss = stream.stop().map_err(|error| format!("{error:#}"))?;
        let told = format!("{} of {} lost", loss.lost(), loss.sent);
        if loss.lost() == 0 { Ok(told) } else { Err(told) }
    });
    screen.check("flows written by the restart", || {
        let flows = lab.our_flows();
        let written = flows.iter().filter(|flow| flow.age < at.elapsed()).count();
        let told = format!("{written} of {}", flows.len());
        if written == 0 && flows.len() == before { Ok(told) } else { Err(told) }
    });
}

fn the_flows_have_names(cast: &Cast<'_>, screen: &mut Screen) {
    Screen::chapter("The flows have names: agentctl flows dump --pod lab/cart");
    let dump = cast.lab.agent().agentctl(&["flows", "dump", "--pod", "lab/cart"]);
    screen.check("the dump", || {
        let dump = dump.map_err(|error| format!("{error:#}"))?;
        let lines: Vec<&str> = dump.stdout.lines().collect();
        if !dump.status.success() || !dump.stdout.contains("lab/cart:eth0") {
            return Err(format!("{}: {}{}", dump.status, dump.stdout, dump.stderr));
        }
        for line in lines.iter().filter(|line| !line.is_empty()).take(FLOWS_SHOWN) {
            Screen::say(&format!("  {}", line.chars().take(FLOW_WIDTH).collect::<String>()));
        }
        Ok(format!("{} lines, the first {} of them above", lines.len(), FLOWS_SHOWN.min(lines.len())))
    });
}

fn latency(from: &Host, to: IpAddr) -> Result<String, String> {
    let error = |error| format!("{error:#}");
    // The first request resolves the neighbour; it may take a retransmission.
    (0..3).find_map(|_| from.ping(to).transpose()).transpose().map_err(error)?.ok_or("no answer")?;
    let times = from.pings(to, PINGS).map_err(error)?;
    let answered = times.len();
    if answered == usize::from(PINGS) {
        Ok(spread(times))
    } else {
        Err(format!("{answered} of {PINGS} answered"))
    }
}

fn accelerated(lab: &Lab, pod: &Pod<'_>) -> Result<(), String> {
    let all = lab.agent().accel().map_err(|error| format!("{error:#}"))?.endpoints;
    let ours = all.into_iter().find(|one| pod.is_in(one.endpoint.as_ref())).and_then(|one| one.accel);
    match ours {
        Some(accel) if accel.on => Ok(()),
        Some(accel) => Err(accel.reasons.iter().map(|one| one.text.clone()).collect::<Vec<_>>().join("; ")),
        None => Err(format!("{} is not listed", pod.name())),
    }
}

/// The drops of one pod by reason, as both walls count them.
fn counts(lab: &Lab, pod: &Pod<'_>) -> Vec<ReasonCount> {
    let all = lab.agent().drops().unwrap_or_default();
    let ours = all.into_iter().filter(|one| pod.is_in(one.endpoint.as_ref()));
    ours.flat_map(|one| one.reasons).filter(|count| count.reason() != Reason::Allow).collect()
}
