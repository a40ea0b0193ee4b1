//! What a restart costs beside more and more pods: the agent is killed while packets flow, and started again.
//!
//! From exec until it is ready and until every pod is ready again; packets lost meanwhile; flows written, which none
//! should be, since what is there is right.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};
use e2e::{Datapath, Flow, Lab, Pod, PodDrawing, wait_for};
use serde_json::json;

use crate::effort::Effort;
use crate::samples::Row;
use crate::tell;

const PODS: [usize; 3] = [2, 100, 250];
const MOST_PODS: [usize; 4] = [2, 100, 250, 500];
/// The first two pods talk, the others are only there.
const TALKERS: usize = 2;
const KILLS: usize = 5;
/// How long packets flow before the kill and after everything is as before.
const AROUND: Duration = Duration::from_millis(500);
const DEADLINE: Duration = Duration::from_mins(1);

const PICTURE: &str = "restart by pods";

pub(crate) fn measure(effort: Effort) -> Result<Vec<Row>> {
    let lab = Lab::with_config("[gateway]\npolicy = \"off\"\n[limits]\nmax_endpoints = 1000");
    let make = |number: usize| {
        let pod = lab.pod(&format!("p{number}")).key("conflict", json!({ "policy": "off" }));
        if number < TALKERS { pod.up() } else { crowd(pod) }
    };
    let mut pods: Vec<Pod<'_>> = Vec::new();
    let counts = match effort {
        Effort::Quick => &PODS[..1],
        Effort::Usual => &PODS,
        Effort::Full => &MOST_PODS,
    };
    let mut rows = Vec::new();
    for count in counts {
        while pods.len() < *count {
            tell(&format!("pod {} of {count}", pods.len() + 1));
            pods.push(make(pods.len()));
        }
        rows.extend(restarts(&lab, &pods, effort.pick(1, KILLS))?);
    }
    drop(pods);
    lab.finish();
    Ok(rows)
}

/// A pod without IPAM and IPv6: hundreds that look for routers would keep vswitchd busy.
pub(crate) fn crowd(pod: PodDrawing<'_>) -> Pod<'_> {
    let pod = pod.without_ipam().place();
    pod.set_sysctl("net/ipv6/conf/default/disable_ipv6", "1");
    pod.add().succeeded();
    pod
}

fn restarts(lab: &Lab, pods: &[Pod<'_>], kills: usize) -> Result<Vec<Row>> {
    let count = pods.len();
    let [mut ready, mut whole, mut lost, mut written] = [const { Vec::new() }; 4];
    for kill in 0..kills {
        tell(&format!("{count} pods, kill {} of {kills}", kill + 1));
        let one = restart(lab, pods)?;
        ready.push(one.ready.as_secs_f64() * 1e3);
        whole.push(one.whole.as_secs_f64() * 1e3);
        lost.push(one.lost);
        written.push(one.written);
    }
    let row = |line: &str, unit, samples| Row::new(format!("{line}, {count} pods"), unit, samples);
    let (to_ready, to_whole) = ("from exec until ready", "from exec until every pod is ready");
    Ok(vec![
        row(to_ready, "ms", ready).point(PICTURE, to_ready, count, "pods"),
        row(to_whole, "ms", whole).point(PICTURE, to_whole, count, "pods"),
        row("lost around a kill", "packets", lost),
        row("written by a restart", "flows", written),
    ])
}

/// What one kill and start came to.
struct Restart {
    ready: Duration,
    whole: Duration,
    lost: f64,
    written: f64,
}

fn restart(lab: &Lab, pods: &[Pod<'_>]) -> Result<Restart> {
    let [from, to, ..] = pods else { return Err(anyhow!("fewer than two pods")) };
    let stream = from.ping_stream(to.v4(), interval(lab));
    thread::sleep(AROUND);
    lab.agent().kill9()?;
    let began = Instant::now();
    lab.agent().start()?;
    let ready = began.elapsed();
    let all_ready = || -> Result<()> {
        let tally = lab.agent().status()?.endpoints.unwrap_or_default();
        ensure!(usize::try_from(tally.ready)? == pods.len(), "{tally:?}");
        Ok(())
    };
    wait_for(DEADLINE, all_ready).map_err(|why| anyhow!("not every pod came back: {why}"))?;
    let whole = began.elapsed();
    thread::sleep(AROUND);
    let loss = stream.stop()?;
    let flows = lab.try_our_flows().map_err(|why| anyhow!("no flows: {why}"))?;
    let since = began.elapsed();
    let fresh = |flow: &&Flow| flow.age < since;
    #[expect(clippy::cast_precision_loss, reason = "some thousand at most")]
    let [lost, written] = [loss.lost(), flows.iter().filter(fresh).count()].map(|count| count as f64);
    Ok(Restart { ready, whole, lost, written })
}

/// 1 ms; an emulated guest manages one in 10 ms.
fn interval(lab: &Lab) -> Duration {
    match lab.datapath() {
        Datapath::Userspace => Duration::from_millis(1),
        Datapath::Kernel => Duration::from_millis(10),
    }
}
