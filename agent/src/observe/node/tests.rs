//! What is told of a node to which things happen.

use super::*;

fn id(name: &str) -> EndpointId {
    EndpointId { container: name.to_owned(), ifname: "eth0".to_owned() }
}

fn row(number: u8) -> ovsdb::Uuid {
    format!("00000000-0000-0000-0000-0000000000{number:02x}").parse().unwrap()
}

/// A node where all is well: a bridge and so many pods on it.
fn well(pods: u8) -> Sight {
    let station = |n: u8| {
        let title = format!("lab/pod{n}:eth0");
        Station { title, bridge: "br1".to_owned(), port: format!("veth{n}"), row: Some(row(n)) }
    };
    Sight {
        database: Ok(()),
        bridges: [("br1".to_owned(), true)].into(),
        switches: [("br1".to_owned(), Ok(1))].into(),
        ports: (0..pods).map(|n| (id(&n.to_string()), station(n))).collect(),
        mended: [("br1".to_owned(), 0)].into(),
    }
}

/// What is told of these looks, a second apart.
fn told(looks: &[Sight]) -> Vec<String> {
    let mut node = Node::default();
    let all = looks.iter().enumerate().flat_map(|(second, sight)| {
        node.look(sight, Duration::from_secs(second as u64)).into_iter().map(|news| news.text)
    });
    all.collect()
}

fn changed(mut sight: Sight, change: impl FnOnce(&mut Sight)) -> Sight {
    change(&mut sight);
    sight
}

fn connected_as(epoch: u64) -> Sight {
    changed(well(1), |s| {
        s.switches.insert("br1".to_owned(), Ok(epoch));
    })
}

#[test]
fn a_start_is_no_news_nor_is_a_look_at_what_was_told() {
    let unknown = changed(well(2), |s| {
        s.database = Err("not connected yet".to_owned());
        s.switches.insert("br1".to_owned(), Err("not tried yet".to_owned()));
    });
    assert!(told(&[unknown, well(2), well(2)]).is_empty());
}

#[test]
fn daemons_that_go_and_come_are_told_once_each() {
    let away = changed(well(1), |s| {
        s.database = Err("connection refused".to_owned());
        s.switches.insert("br1".to_owned(), Err("no such file".to_owned()));
    });
    let back = connected_as(2);
    assert_eq!(
        told(&[well(1), away.clone(), away, back]),
        [
            "OVSDB is out of reach: connection refused",
            "ovs-vswitchd does not answer for bridge br1: no such file",
            "OVSDB is in reach again",
            "ovs-vswitchd answers again for bridge br1",
        ]
    );
}

#[test]
fn a_restart_between_two_looks_shows_by_its_connection() {
    let anew = connected_as(2);
    assert_eq!(told(&[well(1), anew]), ["the connection to ovs-vswitchd was made anew for bridge br1"]);
}

#[test]
fn a_port_that_goes_is_told_of_its_endpoint_and_one_that_was_made_anew_too() {
    let mut node = Node::default();
    node.look(&well(2), Duration::ZERO);
    let gone = changed(well(2), |s| s.ports.get_mut(&id("1")).unwrap().row = None);
    let news = node.look(&gone, Duration::ZERO);
    assert_eq!(news.len(), 1);
    assert_eq!(news[0].text, "port veth1 (lab/pod1:eth0) is gone from bridge br1");
    assert_eq!(news[0].subject.endpoint(), Some(&id("1")));
    let anew = changed(well(2), |s| {
        s.ports.get_mut(&id("0")).unwrap().row = Some(row(9));
        s.ports.get_mut(&id("1")).unwrap().row = Some(row(8));
    });
    let back: Vec<_> = node.look(&anew, Duration::ZERO).into_iter().map(|news| news.text).collect();
    assert_eq!(
        back,
        [
            "port veth0 (lab/pod0:eth0) is there again on bridge br1",
            "port veth1 (lab/pod1:eth0) is there again on bridge br1"
        ]
    );
}

#[test]
fn a_bridge_that_goes_takes_its_ports_without_a_word_and_they_come_back_together() {
    let gone = changed(well(20), |s| {
        s.bridges.insert("br1".to_owned(), false);
        s.switches.clear();
        s.ports.values_mut().for_each(|station| station.row = None);
    });
    assert_eq!(
        told(&[well(20), gone, well(20)]),
        [
            "bridge br1 is gone, and 20 endpoints live on it",
            "bridge br1 is there again",
            "20 ports are there again on their bridges: veth0 (lab/pod0:eth0), veth1 (lab/pod1:eth0), \
             veth10 (lab/pod10:eth0) and 17 more",
        ]
    );
}

#[test]
fn mended_flows_are_told_by_their_number() {
    let mended = |n| {
        changed(well(1), |s| {
            s.mended.insert("br1".to_owned(), n);
        })
    };
    let text = |n: u8| {
        format!("{n} flows in the agent's tables of bridge br1 were not as it had left them, and were mended")
    };
    assert_eq!(told(&[well(1), mended(3), mended(3), mended(5)]), [text(3), text(2)]);
}

#[test]
fn what_flaps_is_told_by_ration_and_at_last_by_what_came_of_it() {
    let away = changed(well(1), |s| s.database = Err("connection refused".to_owned()));
    let mut node = Node::default();
    let mut count = 0;
    for second in 0..600 {
        let sight = if second % 2 == 0 { well(1) } else { away.clone() };
        count += node.look(&sight, Duration::from_secs(second)).len();
    }
    assert!((60..=70).contains(&count), "{count}");
    node.look(&well(1), Duration::from_secs(700));
    assert_eq!(node.database, Some(true));
}
