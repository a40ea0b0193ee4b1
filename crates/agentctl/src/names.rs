//! Names for the numbers of the contract. A number this version does not know is shown as a number.

use agent_api::control::v1::{
    BpfHook, EndpointRef, FlowStatus, GatewayState, GuardMode, Outcome, Reason, Severity, Stage,
};

pub(crate) fn reason(number: i32) -> String {
    word(Reason::try_from(number).ok().map(|value| value.as_str_name()), "REASON_", number)
}

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
