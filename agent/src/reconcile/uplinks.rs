//! Which uplinks of a bridge are up, from pass to pass. When one came back or another took over, the switches outside
//! may send frames for our pods to a port where they are not any more: the prober then announces them again.

use std::collections::{BTreeMap, BTreeSet};

/// What is known of the uplinks of bridges in use.
#[derive(Debug, Default)]
pub(super) struct Uplinks {
    up: BTreeMap<String, BTreeSet<String>>,
    /// How often the pods of a bridge had to be announced again.
    changes: BTreeMap<String, u64>,
}

impl Uplinks {
    /// Takes notice of the uplinks that are up. The first look tells nothing, nor does the loss of the last one: there
    /// is nobody to tell.
    pub(super) fn follow(&mut self, bridge: &str, up: BTreeSet<String>) {
        let is_news = self.up.get(bridge).is_some_and(|before| *before != up) && !up.is_empty();
        if is_news {
            tracing::info!(bridge, ?up, "uplinks came back or took over: the pods are announced again");
            *self.changes.entry(bridge.to_owned()).or_default() += 1;
        }
        self.up.insert(bridge.to_owned(), up);
    }

    /// Raised numbers say "announce".
    pub(super) fn changes(&self) -> BTreeMap<String, u64> {
        self.changes.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(looks: &[&[&str]]) -> u64 {
        let mut uplinks = Uplinks::default();
        for up in looks {
            uplinks.follow("br1", up.iter().map(|name| (*name).to_owned()).collect());
        }
        uplinks.changes().get("br1").copied().unwrap_or_default()
    }

    #[test]
    fn what_was_up_at_the_first_look_is_no_news() {
        assert_eq!(changes(&[&["eth0"], &["eth0"]]), 0);
        assert_eq!(changes(&[&[], &[]]), 0);
    }

    #[test]
    fn an_uplink_that_comes_back_or_takes_over_is_told_once() {
        assert_eq!(changes(&[&["eth0"], &[], &[]]), 0, "nobody can hear it");
        assert_eq!(changes(&[&["eth0"], &[], &["eth0"], &["eth0"]]), 1);
        assert_eq!(changes(&[&["eth0", "eth1"], &["eth1"], &["eth0", "eth1"]]), 2);
    }
}
