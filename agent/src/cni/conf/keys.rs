//! Known keys and near misses. A misspelt key must not be ignored: with ovs-cni, `vlann` gives a pod every VLAN.

use super::super::error::CniError;
use super::super::fields::{Fields, shortened};
use super::Kind;

/// Looks for keys that nobody knows: an error for `underpass`; for `ovs` an error if the key is a near miss, else a
/// warning, since configurations written for ovs-cni may carry anything.
pub(super) fn report_unknown(
    fields: &Fields<'_>,
    kind: Kind,
    warnings: &mut Vec<String>,
) -> Result<(), CniError> {
    let known: Vec<&str> = match kind {
        Kind::Underpass => [OURS, CNI].concat(),
        Kind::Ovs => [OURS, OVS, CNI].concat(),
    };
    // A key with a slash belongs to whoever owns the domain before it.
    for key in fields.keys().filter(|key| !key.contains('/') && !known.contains(key)) {
        let near = nearest(key, &known).is_some_and(|(_, distance)| distance <= NEAR_MISS);
        if kind == Kind::Ovs && !near {
            warnings.push(format!("{} is not a known key and is ignored", shortened(key)));
        } else {
            return Err(unknown(&fields.path_of(key), key, &known));
        }
    }
    Ok(())
}

/// An error for the first key that is not in `known`.
pub(super) fn refuse_unknown(fields: &Fields<'_>, known: &[&str]) -> Result<(), CniError> {
    match fields.keys().find(|key| !known.contains(key)) {
        Some(key) => Err(unknown(&fields.path_of(key), key, known)),
        None => Ok(()),
    }
}

fn unknown(path: &str, key: &str, known: &[&str]) -> CniError {
    let path = shortened(path);
    match nearest(key, known) {
        Some((name, _)) => CniError::config(format!("{path} is not a known key; the nearest is {name}")),
        None => CniError::config(format!("{path} is not a known key")),
    }
}

fn nearest<'k>(key: &str, known: &[&'k str]) -> Option<(&'k str, usize)> {
    known.iter().map(|name| (*name, distance(key, name))).min_by_key(|(_, distance)| *distance)
}

/// How many letters must be added, taken away or replaced to make one text of the other (Levenshtein), in any case.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().flat_map(char::to_lowercase).collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (line, from) in left.chars().flat_map(char::to_lowercase).take(MAX_COMPARED).enumerate() {
        let mut diagonal = line;
        let mut before = line + 1;
        for (cell, to) in row.iter_mut().skip(1).zip(&right) {
            let above = *cell;
            let replaced = diagonal + usize::from(from != *to);
            before = replaced.min(above + 1).min(before + 1);
            (diagonal, *cell) = (above, before);
        }
        if let Some(first) = row.first_mut() {
            *first = line + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

/// Keys of `type: underpass`, taken by `type: ovs` too.
const OURS: &[&str] = &[
    "bridge",
    "uplink",
    "vlan",
    "trunk",
    "mtu",
    "ipam",
    "guard",
    "conflict",
    "gateway",
    "accelerate",
    "mac",
];

/// Keys of ovs-cni alone.
const OVS: &[&str] = &[
    "deviceID",
    "ofport_request",
    "interface_type",
    "configuration_path",
    "socket_file",
    "link_state_check_retries",
    "link_state_check_interval",
];

/// Keys of CNI itself.
const CNI: &[&str] = &[
    "type",
    "args",
    "runtimeConfig",
    "prevResult",
    "capabilities",
    "dns",
    "name",
    "cniVersion",
    "disableCheck",
];

/// A key this close to a known one was meant to be it.
const NEAR_MISS: usize = 2;

/// Letters of an unknown key that are compared: three times the longest known one.
const MAX_COMPARED: usize = 80;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_count_letters() {
        for (left, right, expected) in [
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "", 3),
            ("vlann", "vlan", 1),
            ("VLAN", "vlan", 0),
            ("ofportRequest", "ofport_request", 1),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(distance(left, right), expected, "{left} {right}");
        }
    }
}
