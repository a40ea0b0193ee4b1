//! Names for the numbers of the contract. A number this version does not know is shown as a number.

use agent_api::control::v1::{
    BpfHook, EndpointRef, FlowStatus, GatewayState, GuardMode, Outcome, Reason, Severity, Stage,
};

pub(crate) fn reason(number: i32) -> String {
    word(Reason::try_from(number).ok().map(|value| value.as_str_name()), "REASON_", number)
}

/// What a reason means, in one line.
pub(crate) fn meaning(number: i32) -> &'static str {
    match Reason::try_from(number).unwrap_or_default() {
        Reason::Vlan => "a VLAN tag where none belongs, or a VLAN that the port does not carry",
        Reason::Linklocal => "sent to 01:80:c2:00:00:0x, which bridges and switches keep to themselves",
        Reason::Ethertype => "neither ARP nor IPv4 nor IPv6",
        Reason::Mac => "an Ethernet source that is not the endpoint's MAC",
        Reason::Arp => "ARP that speaks for another address or MAC, or is malformed",
        Reason::Dhcp4Server => "an answer of a DHCP server (UDP from port 67)",
        Reason::Ipv4 => "an IPv4 source that is not the endpoint's, or a malformed header",
        Reason::Ipv6 => "an IPv6 source that is not the endpoint's, or IPv6 where it has none",
        Reason::Icmp6Frag => "ICMPv6 in fragments, which could hide neighbour discovery",
        Reason::Dhcp6Server => "an answer of a DHCPv6 server (UDP from port 547)",
        Reason::Router => "what only routers send: router advertisements, redirects",
        Reason::Nd => "neighbour discovery that speaks for another address or MAC, or is malformed",
        Reason::Short => "a frame that ends inside a header",
        Reason::Ext => "too many or too long IPv6 extension headers",
        Reason::Unbound => "from a port that the agent has no entry for",
        Reason::Closed => "sent before the endpoint was ready",
        Reason::BroadcastRate => "above the limit of broadcasts",
        Reason::NewDestinationRate => "above the limit of new destinations",
        Reason::Allow | Reason::Unspecified => "of a kind that this version does not know",
    }
}

/// Every reason with its meaning, for `drops --help`.
pub(crate) fn reasons() -> String {
    let known = (1..=LAST_REASON).filter(|number| Reason::try_from(*number) != Ok(Reason::Allow));
    let lines = known.map(|number| format!("  {:21} {}", reason(number), meaning(number)));
    format!("Reasons:\n{}", lines.collect::<Vec<_>>().join("\n"))
}

/// The highest number of a reason.
const LAST_REASON: i32 = Reason::NewDestinationRate as i32;

pub(crate) fn stage(number: i32) -> String {
    word(Stage::try_from(number).ok().map(|value| value.as_str_name()), "STAGE_", number)
}

pub(crate) fn guard_mode(number: i32) -> String {
    word(GuardMode::try_from(number).ok().map(|value| value.as_str_name()), "GUARD_MODE_", number)
}

pub(crate) fn hook(number: i32) -> String {
    word(BpfHook::try_from(number).ok().map(|value| value.as_str_name()), "BPF_HOOK_", number)
}

pub(crate) fn flow_status(number: i32) -> String {
    word(FlowStatus::try_from(number).ok().map(|value| value.as_str_name()), "FLOW_STATUS_", number)
}

pub(crate) fn gateway_state(number: i32) -> String {
    word(GatewayState::try_from(number).ok().map(|value| value.as_str_name()), "GATEWAY_STATE_", number)
}

pub(crate) fn severity(number: i32) -> String {
    word(Severity::try_from(number).ok().map(|value| value.as_str_name()), "SEVERITY_", number)
}

pub(crate) fn outcome(number: i32) -> String {
    word(Outcome::try_from(number).ok().map(|value| value.as_str_name()), "OUTCOME_", number)
}

/// The printed id of an endpoint; `-` for none.
pub(crate) fn endpoint(endpoint: Option<&EndpointRef>) -> String {
    endpoint.map_or_else(|| "-".to_owned(), |endpoint| endpoint.id.clone())
}

/// A text, or `-` for an empty one.
pub(crate) fn or_dash(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { text.to_owned() }
}

/// `REASON_DHCP4_SERVER` becomes `dhcp4_server`.
fn word(name: Option<&str>, prefix: &str, number: i32) -> String {
    name.and_then(|name| name.strip_prefix(prefix)).map_or_else(|| number.to_string(), str::to_lowercase)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_names_and_unknown_ones_stay_numbers() {
        assert_eq!(reason(6), "dhcp4_server");
        assert_eq!(stage(5), "gate");
        assert_eq!(hook(0), "none");
        assert_eq!(reason(77), "77");
    }
}
