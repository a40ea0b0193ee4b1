//! `bench latency`: round trips between two endpoints of this node, and by which path they went.
//!
//! Runs where the pods' network namespaces can be entered: on the node, or in the agent's container.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use agent_api::control::v1::accel_request::Pair;
use agent_api::control::v1::{AccelReply, AccelRequest, Endpoint, EndpointsRequest};
use serde::Serialize;
use tokio::task;

use crate::failure::{Failure, Found};
use crate::grid::{Field, Grid};
use crate::names;
use crate::screen::Screen;
use crate::session::{Session, answer};
use crate::trips::{End, Load, Trips, measure};

const LOADS: [(Load, &str); 2] = [(Load::Udp, "UDP"), (Load::Tcp, "TCP")];

/// Shares of the samples in thousandths, and the words for them.
const PERCENTILES: [(usize, &str); 5] =
    [(500, "p50"), (900, "p90"), (990, "p99"), (999, "p99.9"), (1000, "max")];

#[derive(Serialize)]
struct Printed {
    from: String,
    to: String,
    from_address: IpAddr,
    to_address: IpAddr,
    size_bytes: usize,
    loads: Vec<PrintedLoad>,
    /// What stands in the way of acceleration; empty where nothing does.
    obstacles: Vec<String>,
}

#[derive(Serialize)]
struct PrintedLoad {
    load: &'static str,
    trips: usize,
    lost: u64,
    /// Frames of `from` that went past the bridge, of at least `sent` requests.
    past_bridge: u64,
    sent: u64,
    /// In the order of [`PERCENTILES`]; `None` where there are fewer samples than that share tells apart.
    microseconds: [Option<f64>; PERCENTILES.len()],
}

pub(super) async fn latency(
    mut session: Session,
    screen: &Screen,
    [from, to]: [String; 2],
    size: usize,
    time: Duration,
) -> Result<Found, Failure> {
    let near = one(&mut session, &from).await?;
    let far = one(&mut session, &to).await?;
    let (from_address, to_address) = addresses(&near, &far).ok_or(Failure::NoCommonFamily)?;
    let ends = Arc::new([End::open(&near.netns, from_address)?, End::open(&far.netns, to_address)?]);
    let [from, to] = [&near, &far].map(|endpoint| names::endpoint(endpoint.r#ref.as_ref()));
    let explained = AccelRequest { explain: Some(Pair { from: from.clone(), to: to.clone() }) };
    let obstacles = obstacles(answer(session.agent.accel(explained)).await?);
    let mut loads = Vec::new();
    for (load, name) in LOADS {
        let before = past_bridge(&one(&mut session, &from).await?);
        let both = Arc::clone(&ends);
        let measured = task::spawn_blocking(move || measure(load, &both[0], &both[1], size, time));
        let trips = measured.await.map_err(|_| Failure::Unmeasured)??;
        let after = past_bridge(&one(&mut session, &from).await?);
        loads.push(PrintedLoad::new(name, trips, after.saturating_sub(before)));
    }
    let printed = Printed { from, to, from_address, to_address, size_bytes: size, loads, obstacles };
    if screen.is_json() {
        screen.json(&printed)?;
    } else {
        printed.show(screen)?;
    }
    Ok(Found::Nothing)
}

/// The one interface that the words name.
async fn one(session: &mut Session, words: &str) -> Result<Endpoint, Failure> {
    let request = EndpointsRequest { endpoint: words.to_owned(), bridge: String::new() };
    let found = answer(session.agent.endpoints(request)).await?.endpoints;
    let count = found.len();
    let mut found = found.into_iter();
    match (found.next(), found.next()) {
        (Some(endpoint), None) if !endpoint.netns.is_empty() => Ok(endpoint),
        (Some(_), None) => Err(Failure::Gone { endpoint: words.to_owned() }),
        _ => Err(Failure::Ambiguous { endpoint: words.to_owned(), count }),
    }
}

/// The first address of each that has the other's family.
fn addresses(near: &Endpoint, far: &Endpoint) -> Option<(IpAddr, IpAddr)> {
    let all = |endpoint: &Endpoint| -> Vec<IpAddr> {
        let parse = |text: &String| text.split('/').next()?.parse().ok();
        endpoint.addresses.iter().filter_map(parse).collect()
    };
    let fars = all(far);
    all(near).into_iter().find_map(|near| {
        let far = fars.iter().find(|far| far.is_ipv4() == near.is_ipv4())?;
        Some((near, *far))
    })
}

fn past_bridge(endpoint: &Endpoint) -> u64 {
    endpoint.accel.as_ref().map(|accel| accel.tx_packets).unwrap_or_default()
}

fn obstacles(reply: AccelReply) -> Vec<String> {
    let conditions = reply.pairs.into_iter().flat_map(|pair| pair.conditions);
    conditions
        .filter(|condition| !condition.met)
        .filter_map(|condition| Some(condition.reason?.text))
        .collect()
}

impl PrintedLoad {
    fn new(load: &'static str, mut trips: Trips, past_bridge: u64) -> Self {
        trips.took.sort_unstable();
        let microseconds = PERCENTILES.map(|(share, _)| percentile(&trips.took, share));
        Self { load, trips: trips.took.len(), lost: trips.lost, past_bridge, sent: trips.sent, microseconds }
    }

    fn path(&self) -> String {
        match self.past_bridge {
            0 => "through the bridge".to_owned(),
            past if past >= self.sent => "past the bridge".to_owned(),
            past => format!("both: {past} of {} past the bridge", self.sent),
        }
    }
}

/// The sample that a share of all does not exceed, in µs.
fn percentile(sorted: &[Duration], thousandths: usize) -> Option<f64> {
    // One sample beyond it at least, but for the largest itself.
    let told_apart = thousandths == 1000 || sorted.len() * (1000 - thousandths) >= 1000;
    let rank = (sorted.len() * thousandths).div_ceil(1000).checked_sub(1)?;
    let sample = sorted.get(rank).filter(|_| told_apart)?;
    Some(sample.div_duration_f64(Duration::from_micros(1)))
}

impl Printed {
    fn show(&self, screen: &Screen) -> Result<(), Failure> {
        let Self { from, to, from_address, to_address, size_bytes, .. } = self;
        screen.line(&format!(
            "{from} ({from_address}) to {to} ({to_address}) and back, {size_bytes} bytes, in µs"
        ))?;
        let percentiles = PERCENTILES.map(|(_, word)| word);
        let mut grid = Grid::new(["LOAD", "TRIPS", "LOST"].into_iter().chain(percentiles).chain(["PATH"]))
            .whole(&["PATH"]);
        for load in &self.loads {
            let times = load.microseconds.map(|time| match time {
                Some(time) => Field::right(format!("{time:.1}")),
                None => Field::right("-"),
            });
            let head = [load.load.into(), Field::right(load.trips.to_string()), Field::number(load.lost)];
            grid.row(head.into_iter().chain(times).chain([load.path().into()]));
        }
        screen.grid(&grid, "")?;
        for obstacle in &self.obstacles {
            screen.line(&format!("not past the bridge: {obstacle}"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(addresses: &[&str]) -> Endpoint {
        Endpoint { addresses: addresses.iter().map(ToString::to_string).collect(), ..Endpoint::default() }
    }

    #[test]
    fn a_percentile_is_a_sample_and_is_told_only_where_samples_tell_it_apart() {
        let samples: Vec<_> = (1..=1000).map(Duration::from_micros).collect();
        let told = |count: usize| PERCENTILES.map(|(share, _)| percentile(&samples[..count], share));
        assert_eq!(told(1000), [500.0, 900.0, 990.0, 999.0, 1000.0].map(Some));
        assert_eq!(told(10), [Some(5.0), Some(9.0), None, None, Some(10.0)]);
        assert_eq!(told(0), [None; 5]);
    }

    #[test]
    fn the_first_family_that_both_have_is_measured() {
        let near = endpoint(&["10.0.0.1/24", "fd00::1/64"]);
        let both = |far: &[&str]| {
            addresses(&near, &endpoint(far)).map(|(near, far)| (near.to_string(), far.to_string()))
        };
        assert_eq!(both(&["fd00::2/64"]), Some(("fd00::1".into(), "fd00::2".into())));
        assert_eq!(both(&["fd00::2/64", "10.0.0.2/24"]), Some(("10.0.0.1".into(), "10.0.0.2".into())));
        assert_eq!(both(&[]), None);
    }

    #[test]
    fn the_path_is_what_the_counters_say() {
        let load =
            |past_bridge| PrintedLoad::new("UDP", Trips { took: vec![], sent: 10, lost: 0 }, past_bridge);
        assert_eq!(load(0).path(), "through the bridge");
        assert_eq!(load(11).path(), "past the bridge");
        assert_eq!(load(4).path(), "both: 4 of 10 past the bridge");
    }
}
