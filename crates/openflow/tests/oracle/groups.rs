//! Groups and meters from text: the bytes that `ovs-ofctl` sends.

use bytes::BytesMut;
use openflow::message::group::{GroupCommand, GroupMod};
use openflow::message::meter::{MeterCommand, MeterMod};
use openflow::{FrameText, Named, OfPort, PortNames, Version};

use crate::{hex, lines, ovs};

/// Our bytes for a command line of `ovs-ofctl`.
fn ours(version: Version, command: &str, text: &str) -> Result<Vec<u8>, String> {
    let mut buf = BytesMut::new();
    let group = |command| GroupMod::parse(text, command, version).map_err(|e| e.to_string());
    let meter = |command| MeterMod::parse(text, command).map_err(|e| e.to_string());
    let encoded = match command {
        "add-group" => group(GroupCommand::Add)?.encode(version, 0, &mut buf),
        "mod-group" => group(GroupCommand::Modify)?.encode(version, 0, &mut buf),
        "del-groups" => group(GroupCommand::Delete)?.encode(version, 0, &mut buf),
        "insert-buckets" => group(GroupCommand::InsertBucket)?.encode(version, 0, &mut buf),
        "remove-buckets" => group(GroupCommand::RemoveBucket)?.encode(version, 0, &mut buf),
        "add-meter" => meter(MeterCommand::Add)?.encode(version, 0, &mut buf),
        "mod-meter" => meter(MeterCommand::Modify)?.encode(version, 0, &mut buf),
        "del-meter" | "del-meters" => meter(MeterCommand::Delete)?.encode(version, 0, &mut buf),
        _ => return Err("no such command".to_owned()),
    };
    encoded.map(|()| buf.to_vec()).map_err(|e| e.to_string())
}

fn check(version: Version, list: &str) {
    let mut wrong = Vec::new();
    for line in lines(list) {
        let (command, text) = line.split_once(' ').unwrap_or((&line, ""));
        let Ok(mut theirs) = ovs::sent(version, command, text).map_err(|e| wrong.push(e)) else { continue };
        // The xid is ovs-ofctl's own.
        theirs[4..8].fill(0);
        match ours(version, command, text) {
            Ok(bytes) if bytes == theirs => {}
            Ok(bytes) => wrong.push(format!("{version} {line}\n  {}\n  {}\n", hex(&theirs), hex(&bytes))),
            Err(error) => wrong.push(format!("{version} {line}\n  {error}\n")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.concat());
}

#[test]
fn groups_and_meters_are_the_bytes_that_ovs_ofctl_sends() {
    for version in Version::ALL {
        check(version, include_str!("groups.txt"));
    }
    check(Version::V15, include_str!("groups15.txt"));
}

#[test]
fn ports_of_groups_have_names_both_ways() {
    let ports: PortNames = [(OfPort(1), "p1"), (OfPort(2), "veth-a")].into_iter().collect();
    let head = "group_id=1,type=ff";
    let read = |text| GroupMod::parse_named(text, GroupCommand::Add, Version::V15, &ports).unwrap();
    let named =
        read("group_id=1,type=ff,bucket=watch_port:p1,p1,bucket=watch_port:veth-a,actions=output:veth-a");
    let numbered = "group_id=1,type=ff,bucket=watch_port:1,output:1,bucket=watch_port:2,actions=output:2";
    assert_eq!(named, GroupMod::parse(numbered, GroupCommand::Add, Version::V15).unwrap());
    let mut buf = BytesMut::new();
    named.encode(Version::V15, 7, &mut buf).unwrap();
    let first = "bucket=bucket_id:0,watch_port:p1,actions=output:p1";
    let second = "bucket=bucket_id:1,watch_port:\"veth-a\",actions=output:\"veth-a\"";
    let printed = format!("OFPT_GROUP_MOD (OF1.5) (xid=0x7):\n ADD {head},{first},{second}\n");
    assert_eq!(Named(&FrameText(&buf), &ports).to_string(), printed);
}

#[test]
fn mistakes_in_groups_and_meters_are_told() {
    for text in [
        "type=all",
        "group_id=1,type=none",
        "group_id=1,type=ff,bucket=output:1",
        "group_id=1,foo=1,bucket=output:1",
    ] {
        assert!(GroupMod::parse(text, GroupCommand::Add, Version::V15).is_err(), "{text}");
    }
    for text in [
        "kbps",
        "meter=1",
        "meter=1,band=type=drop",
        "meter=1,kbps,pktps,band=type=drop,rate=1",
        "meter=1,foo",
    ] {
        assert!(MeterMod::parse(text, MeterCommand::Add).is_err(), "{text}");
    }
}
