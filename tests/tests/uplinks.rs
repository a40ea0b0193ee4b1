//! The way outside comes back, and the network outside is told where the pods are.

use std::cell::Cell;
use std::process::Command;
use std::time::Duration;

use e2e::{Lab, Mac, Wire};

/// A bridge whose uplink is named, since a veth would not be taken for one.
const UPLINK: &str = "[[bridge]]\nname = \"br2\"\nuplinks = [\"x-outside\"]";

/// Two announcements come two seconds apart.
const TOLD_WITHIN: Duration = Duration::from_secs(10);

/// An ARP frame of a pod that names its own address as sender and target (RFC 5227, section 2.3).
fn is_announcement(frame: &[u8], pod: Mac) -> bool {
    let part = |from: usize, to: usize| frame.get(from..to).unwrap_or_default();
    part(6, 12) == pod.0 && part(12, 14) == [8, 6] && part(28, 32) == part(38, 42)
}

/// Reads until each of the pods has announced itself so many times.
#[track_caller]
fn assert_told(wire: &Wire, macs: [Mac; 2], times: usize) {
    let heard = Cell::new([0; 2]);
    let all = wire.all_until(TOLD_WITHIN, |frame| {
        let mut counts = heard.get();
        for (count, mac) in counts.iter_mut().zip(macs) {
            *count += usize::from(is_announcement(frame, mac));
        }
        heard.set(counts);
        counts.iter().all(|count| *count >= times)
    });
    assert!(all.is_ok(), "announced {:?} times, {times} were due", heard.get());
}

#[test]
fn an_uplink_that_comes_back_hears_where_every_pod_is() {
    let lab = Lab::with_config(UPLINK);
    lab.add_bridge("br2").expect("a second bridge");
    let outside = lab.foreign_host("outside", &["10.0.0.2/24"]);
    let move_it = ["del-port", "br1", outside.port(), "--", "add-port", "br2", outside.port()];
    lab.switch().vsctl(&move_it).expect("moving the uplink's port");
    let wire = outside.wire();
    let pods = [lab.pod("a").bridge("br2").up(), lab.pod("b").bridge("br2").up()];
    let macs = pods.each_ref().map(|pod| pod.mac());
    assert_told(&wire, macs, 2);
    for state in ["down", "up"] {
        let ip = || Ok(Command::new("ip").args(["link", "set", outside.port(), state]).status()?);
        assert!(lab.node().enter(ip).expect("ip link set").success());
        let link_state = ["get", "Interface", outside.port(), "link_state"];
        lab.eventually(10, "Open vSwitch sees it", || {
            let seen = lab.switch().vsctl(&link_state).map_err(|error| format!("{error:#}"))?;
            if seen.trim() == state { Ok(()) } else { Err(seen) }
        });
    }
    assert_told(&wire, macs, 2);
    lab.finish();
}
