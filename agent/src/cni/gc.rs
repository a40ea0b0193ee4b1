//! The attachments that GC must leave alone (specification §3, "GC").

use std::collections::BTreeSet;

use crate::model::EndpointId;

use super::conf::Head;
use super::error::CniError;
use super::fields::Fields;

/// Every attachment of the network that is still in use. All others of this network are to be removed.
///
/// The list must be there: a missing one would mean "remove everything", and no runtime means that by leaving it out.
/// libcni 1.2 also sends it under the name of the specification's drafts, older runtimes only under that one.
pub fn valid_attachments(head: &Head) -> Result<BTreeSet<EndpointId>, CniError> {
    let fields = Fields::root(head.raw());
    let key = if fields.get(KEY).is_some() { KEY } else { DRAFT_KEY };
    let list = fields.list(key)?.ok_or_else(|| CniError::config(format!("{KEY} is missing: GC needs it")))?;
    list.iter()
        .enumerate()
        .map(|(index, value)| {
            let item = Fields::of(format!("{key}[{index}]"), value)?;
            let part = |key: &str| item.filled(key)?.ok_or_else(|| item.wrong(key, "a name"));
            Ok(EndpointId::new(part("containerID")?, part("ifname")?))
        })
        .collect()
}

const KEY: &str = "cni.dev/valid-attachments";
const DRAFT_KEY: &str = "cni.dev/attachments";

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(list: &str) -> Result<BTreeSet<EndpointId>, String> {
        let config = format!(r#"{{"cniVersion":"1.1.0","name":"n","type":"underpass"{list}}}"#);
        valid_attachments(&Head::parse(config.as_bytes()).unwrap()).map_err(|error| error.msg)
    }

    #[test]
    fn attachments_are_read_under_both_names() {
        for key in [KEY, DRAFT_KEY] {
            let list = format!(r#","{key}":[{{"containerID":"a","ifname":"eth0"}}]"#);
            assert_eq!(parse(&list), Ok(BTreeSet::from([EndpointId::new("a", "eth0")])));
        }
        assert_eq!(parse(&format!(r#","{KEY}":[]"#)), Ok(BTreeSet::new()));
    }

    #[test]
    fn without_a_list_nothing_is_removed() {
        let missing = "cni.dev/valid-attachments is missing: GC needs it";
        assert_eq!(parse(""), Err(missing.to_owned()));
        assert_eq!(parse(&format!(r#","{KEY}":null"#)), Err(missing.to_owned()));
    }

    #[test]
    fn a_malformed_item_is_named() {
        let error = parse(&format!(r#","{KEY}":[{{"containerID":"a","ifname":7}}]"#)).unwrap_err();
        assert_eq!(error, "cni.dev/valid-attachments[0].ifname is 7: expected a text");
        let error = parse(&format!(r#","{KEY}":[{{"ifname":"eth0"}}]"#)).unwrap_err();
        assert_eq!(error, "cni.dev/valid-attachments[0].containerID is null: expected a name");
        let error = parse(&format!(r#","{KEY}":{{}}"#)).unwrap_err();
        assert_eq!(error, "cni.dev/valid-attachments is {}: expected a list");
    }
}
