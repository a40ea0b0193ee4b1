//! The lab tried on itself: bare Open vSwitch without the agent, so that a story's failure is never the lab's.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use e2e::{Lab, Mac, arp};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn two_foreign_hosts_talk_over_a_bare_bridge() {
    let lab = Lab::draw().bridge("br1").gateway("10.0.0.1/24", "fd00::1/64").build();
    let a = lab.foreign_host("a", &["10.0.0.2/24", "fd00::2/64"]);
    let _echo = lab.gateway().serve_echo();
    for gateway in lab.gateway_ips() {
        a.assert_reaches(gateway);
        a.udp_echo(gateway).expect("UDP");
        a.tcp_echo(gateway).expect("TCP");
    }
    lab.finish();
}

#[test]
fn vlans_of_a_bare_bridge_keep_apart() {
    let lab = Lab::draw().bridge("br1").build();
    let a = lab.foreign_host_on(10, "a", &["10.0.0.2/24"]);
    let _b = lab.foreign_host_on(20, "b", &["10.0.0.3/24"]);
    let _c = lab.foreign_host_on(10, "c", &["10.0.0.4/24"]);
    a.assert_cannot_reach(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 3)));
    a.assert_reaches(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 4)));
    lab.finish();
}

#[test]
fn a_raw_frame_arrives_as_it_was_sent() {
    let lab = Lab::draw().bridge("br1").build();
    let (a, b) = (lab.foreign_host("a", &[]), lab.foreign_host("b", &[]));
    let seen = b.wire();
    let frame =
        arp(1, (a.mac(), Ipv4Addr::new(10, 0, 0, 2)), (Mac([0; 6]), Ipv4Addr::new(10, 0, 0, 3)), None);
    a.send_raw(&frame);
    let arrived = seen.until(SECOND, |got| got[..] == frame[..]).expect("capture");
    assert!(arrived.is_some());
    lab.finish();
}

#[test]
fn a_ping_stream_counts_what_a_dead_gateway_loses() {
    let lab = Lab::draw().bridge("br1").gateway("10.0.0.1/24", "fd00::1/64").build();
    let a = lab.foreign_host("a", &["10.0.0.2/24"]);
    let gateway = lab.gateway_ips()[0];
    a.assert_reaches(gateway);
    let stream = a.ping_stream(gateway, Duration::from_millis(10));
    std::thread::sleep(SECOND / 2);
    assert_eq!(stream.stop().expect("a stream").lost(), 0);

    let stream = a.ping_stream(gateway, Duration::from_millis(10));
    lab.gateway().kill();
    std::thread::sleep(SECOND / 5);
    lab.gateway().revive();
    std::thread::sleep(SECOND / 5);
    let loss = stream.stop().expect("a stream");
    assert!(loss.lost() > 5 && loss.received > 5, "{loss:?}");
    lab.finish();
}

#[test]
fn the_switch_comes_back_after_a_restart() {
    let lab = Lab::draw().bridge("br1").gateway("10.0.0.1/24", "fd00::1/64").build();
    let a = lab.foreign_host("a", &["10.0.0.2/24", "fd00::2/64"]);
    lab.switch().stop_vswitchd().expect("stopping vswitchd");
    lab.switch().start_vswitchd().expect("starting vswitchd");
    for gateway in lab.gateway_ips() {
        a.assert_reaches(gateway);
    }
    lab.finish();
}

#[test]
fn a_story_that_panics_leaves_no_room_behind() {
    let room = std::sync::Mutex::new(None);
    let story = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let lab = Lab::draw().bridge("br1").build();
        let _a = lab.foreign_host("a", &["10.0.0.2/24"]);
        *room.lock().expect("a lock") = Some(lab.room_path(""));
        panic!("as a story does that does not hold");
    }));
    assert!(story.is_err());
    let room = room.into_inner().expect("a lock").expect("the story got as far as its panic");
    assert!(!room.exists(), "{} is left", room.display());
}
