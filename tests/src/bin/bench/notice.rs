//! From a stranger's claim on a living pod's address until the agent tells of it.

use std::net::Ipv4Addr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use e2e::{Lab, Mac};

use crate::effort::Effort;
use crate::samples::Row;

const TURNS: u8 = 100;
const DEADLINE: Duration = Duration::from_secs(10);
/// How finely the agent is asked.
const STEP: Duration = Duration::from_micros(500);

pub(crate) fn measure(effort: Effort) -> Result<Vec<Row>> {
    let lab = Lab::usual();
    let pod = lab.pod("a").address("10.0.0.5/24").up();
    let stranger = lab.foreign_host("stranger", &["10.0.0.66/24"]);
    let mut took = Vec::new();
    for turn in 0..effort.pick(3, TURNS) {
        // Another MAC each time, so that each claim is a new one.
        let mac = Mac([0x02, 0, 0, 0, 0, turn]);
        stranger.change_mac(mac);
        thread::sleep(Duration::from_millis(20));
        let began = Instant::now();
        stranger.announce(Ipv4Addr::new(10, 0, 0, 5));
        while !told(&lab, mac)? {
            ensure!(began.elapsed() < DEADLINE, "nobody told of {mac} within {DEADLINE:?}");
            thread::sleep(STEP);
        }
        took.push(began.elapsed().as_secs_f64() * 1e3);
    }
    pod.del().succeeded();
    lab.finish();
    Ok(vec![Row::new("conflict noticed, from the frame to agentctl's answer", "ms", took)])
}

fn told(lab: &Lab, mac: Mac) -> Result<bool> {
    let text = format!("{:?}", lab.agent().conflicts()?);
    Ok(text.to_lowercase().contains(&mac.to_string().to_lowercase())
        || text.contains(&format!("{:?}", mac.0)))
}
