//! The difference of two maps: what to write and what to take away.

use std::collections::BTreeMap;

/// What turns one map into another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diff<K, V> {
    /// New or changed entries, in key order.
    pub to_set: Vec<(K, V)>,
    /// Entries that should not be there, in key order.
    pub to_remove: Vec<K>,
}

impl<K, V> Default for Diff<K, V> {
    fn default() -> Self {
        Self { to_set: Vec::new(), to_remove: Vec::new() }
    }
}

impl<K, V> Diff<K, V> {
    pub fn is_empty(&self) -> bool {
        self.to_set.is_empty() && self.to_remove.is_empty()
    }
}

/// Compares `desired` with `actual`.
pub fn diff<K: Ord + Clone, V: PartialEq + Clone>(
    desired: &BTreeMap<K, V>,
    actual: &BTreeMap<K, V>,
) -> Diff<K, V> {
    let to_set = desired.iter().filter(|(key, value)| actual.get(*key) != Some(*value));
    let to_remove = actual.keys().filter(|key| !desired.contains_key(*key));
    Diff {
        to_set: to_set.map(|(k, v)| (k.clone(), v.clone())).collect(),
        to_remove: to_remove.cloned().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_maps_have_no_difference() {
        let map = BTreeMap::from([(1, 'a')]);
        assert!(diff(&map, &map).is_empty());
    }

    #[test]
    fn new_changed_and_foreign_entries_are_told_apart() {
        let desired = BTreeMap::from([(1, 'a'), (2, 'b'), (3, 'c')]);
        let actual = BTreeMap::from([(1, 'a'), (2, 'x'), (4, 'd')]);
        let found = diff(&desired, &actual);
        assert_eq!(found.to_set, [(2, 'b'), (3, 'c')]);
        assert_eq!(found.to_remove, [4]);
    }
}
