//! ADD and DEL beside the floor, beside more and more ports: one by one from the exec of the shim until the port has its
//! number and until the shim's exit, with and without conflict probes; and many at once.

use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use e2e::{Answer, Lab, Pod, PodDrawing};
use serde_json::json;

use crate::effort::Effort;
use crate::floor::Floor;
use crate::processor::{agent_ms, children_ms};
use crate::samples::Row;
use crate::tell;

/// How many pods are there already.
const PORTS: [usize; 3] = [0, 100, 500];
/// Turns one by one; beside the most ports each takes long.
const TURNS: usize = 60;
const TURNS_BESIDE_MOST: usize = 25;
/// The ports that are only there are made and removed so many at once.
const GROUP: usize = 10;
/// So many at once, as when a node comes back.
const BURST: usize = 100;
const BURSTS: usize = 3;

/// The gateway is not asked about, so that what is left without conflict probes is plumbing and guard.
const CONFIG: &str = "[gateway]\npolicy = \"off\"\n[limits]\nmax_endpoints = 1000";

const PICTURE: &str = "one by one";
const BURST_PICTURE: &str = "many at once";

pub(crate) fn measure(effort: Effort) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for ports in effort.pick(&PORTS[..1], &PORTS) {
        let ports = *ports;
        tell(&format!("making {ports} ports"));
        let lab = Lab::with_config(CONFIG);
        let others: Vec<_> = (0..ports).map(|number| silent(&lab, &format!("other{number}"))).collect();
        for some in others.chunks(GROUP) {
            at_once(some, Pod::add).iter().try_for_each(|answer| good(answer).map(drop))?;
        }
        let turns = if ports > 100 { TURNS_BESIDE_MOST } else { TURNS };
        let mut floor = Floor::connect(&lab)?;
        rows.extend(one_by_one(&lab, &mut floor, ports, effort.pick(2, turns))?);
        let (bursts, size) = effort.pick((1, 5), (BURSTS, BURST));
        rows.extend(many_at_once(&lab, &mut floor, ports, (bursts, size))?);
        tell(&format!("removing {ports} ports"));
        for some in others.chunks(GROUP) {
            at_once(some, Pod::del).iter().try_for_each(|answer| good(answer).map(drop))?;
        }
        drop(others);
        lab.finish();
    }
    Ok(rows)
}

/// What each turn took, in ms.
#[derive(Default)]
struct Turns {
    floors: Vec<f64>,
    processes: Vec<f64>,
    numbered: Vec<f64>,
    without_ipam: Vec<f64>,
    with_static: Vec<f64>,
    dels: Vec<f64>,
    probed: Vec<f64>,
    /// Processor time of shim and plugin, and of the agent, over all turns.
    spent: [f64; 2],
}

fn one_by_one(lab: &Lab, floor: &mut Floor<'_>, ports: usize, turns: usize) -> Result<Vec<Row>> {
    let mut taken = Turns::default();
    for turn in 0..turns {
        tell(&format!("one by one beside {ports} ports, turn {} of {turns}", turn + 1));
        taken.floors.push(millis(floor.make(1)?));
        taken.processes.push(millis(bare_process()?));
        taken.one(lab, floor, turn)?;
    }
    Ok(taken.rows(ports))
}

impl Turns {
    fn one(&mut self, lab: &Lab, floor: &mut Floor<'_>, turn: usize) -> Result<()> {
        let pod = quiet(lab, &format!("pod{turn}")).address("10.0.0.200/24").place();
        let before = [children_ms()?, agent_ms(lab)?];
        self.with_static.push(millis(good(&pod.add())?));
        self.dels.push(millis(good(&pod.del())?));
        for (spent, (after, before)) in
            self.spent.iter_mut().zip([children_ms()?, agent_ms(lab)?].into_iter().zip(before))
        {
            *spent += after - before;
        }
        let pod = quiet(lab, &format!("plain{turn}")).place();
        let (answer, took) = floor.until_numbered(1, || pod.add())?;
        self.without_ipam.push(millis(good(&answer)?));
        self.numbered.push(millis(took.context("the port got no number")?));
        good(&pod.del())?;
        let pod = lab.pod(&format!("probed{turn}")).without_ipam().address("10.0.0.201/24").place();
        self.probed.push(millis(good(&pod.add())?));
        good(&pod.del()).map(drop)
    }

    fn rows(self, ports: usize) -> Vec<Row> {
        #[expect(clippy::cast_precision_loss, reason = "some ten turns")]
        let turns = self.floors.len() as f64;
        let sums = self.floors.iter().zip(&self.processes).map(|(floor, process)| floor + process).collect();
        let floor_name = format!("floor and /bin/true, {ports} ports");
        let row = |line: &str, samples| {
            Row::new(format!("{line}, {ports} ports"), "ms", samples).point(PICTURE, line, ports, "ports")
        };
        let [shim, agent] = self.spent.map(|spent| vec![spent / turns]);
        let spent = |line: &str, samples| Row::new(format!("{line}, {ports} ports"), "ms", samples);
        vec![
            row("floor and /bin/true", sums),
            spent("floor", self.floors).beside(&floor_name),
            spent("/bin/true", self.processes).beside(&floor_name),
            row("ADD until the port has its number", self.numbered).beside(&floor_name),
            row("ADD without IPAM", self.without_ipam).beside(&floor_name),
            row("ADD with plugin static", self.with_static).beside(&floor_name),
            row("DEL with plugin static", self.dels).beside(&floor_name),
            // Most of it is waiting for answers that must not come: no floor makes that faster.
            spent("ADD with plugin static and conflict probes", self.probed),
            spent("processor time of shim and plugin for ADD and DEL", shim),
            spent("processor time of the agent for ADD and DEL", agent),
        ]
    }
}

fn many_at_once(
    lab: &Lab,
    floor: &mut Floor<'_>,
    ports: usize,
    (bursts, size): (usize, usize),
) -> Result<Vec<Row>> {
    let [mut floors, mut numbered, mut each, mut dels, mut failures] = [const { Vec::new() }; 5];
    for burst in 0..bursts {
        tell(&format!("{size} at once beside {ports} ports, {} of {bursts}", burst + 1));
        floors.push(millis(floor.make(size)?));
        let pods: Vec<_> = (0..size).map(|number| silent(lab, &format!("b{burst}n{number}"))).collect();
        let (answers, took) = floor.until_numbered(size, || at_once(&pods, Pod::add))?;
        numbered.extend(took.map(millis));
        let bad: Vec<_> = answers.iter().filter(|answer| answer.exit != Some(0)).collect();
        if let Some(first) = bad.first() {
            tell(&format!("{} of {size} ADDs failed, the first: {}", bad.len(), first.complaint()));
        }
        each.extend(answers.iter().map(|answer| millis(answer.took)));
        #[expect(clippy::cast_precision_loss, reason = "at most a hundred")]
        failures.push(bad.len() as f64);
        let began = Instant::now();
        let answers = at_once(&pods, Pod::del);
        dels.push(millis(began.elapsed()));
        // That of an ADD that failed must succeed too.
        answers.iter().try_for_each(|answer| good(answer).map(drop))?;
    }
    let floor_name = format!("floor of {size} at once, {ports} ports");
    let row = |line: String, samples| {
        Row::new(format!("{line}, {ports} ports"), "ms", samples).point(BURST_PICTURE, &line, ports, "ports")
    };
    Ok(vec![
        row(format!("floor of {size} at once"), floors),
        row(format!("{size} ADDs at once until the last port has its number"), numbered).beside(&floor_name),
        row(format!("{size} DELs at once"), dels),
        Row::new(format!("each of {size} ADDs at once, {ports} ports"), "ms", each).in_rounds_of(size),
        Row::new(format!("failed of {size} ADDs at once, {ports} ports"), "ADDs", failures),
    ])
}

/// Calls a verb for all of them, each on a thread of its own.
fn at_once<'lab>(pods: &[Pod<'lab>], verb: impl Fn(&Pod<'lab>) -> Answer + Sync) -> Vec<Answer> {
    thread::scope(|scope| {
        let calls: Vec<_> = pods.iter().map(|pod| scope.spawn(|| verb(pod))).collect();
        let joined = calls.into_iter().map(thread::ScopedJoinHandle::join);
        joined.map(|call| call.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    })
}

/// A pod without IPAM, probes and IPv6: hundreds of pods that look for routers, each flooded to all the others, keep
/// vswitchd busy for minutes, and it is not that what is measured.
fn silent<'lab>(lab: &'lab Lab, name: &str) -> Pod<'lab> {
    let pod = quiet(lab, name).place();
    pod.set_sysctl("net/ipv6/conf/default/disable_ipv6", "1");
    pod
}

/// A pod without IPAM and without probes.
fn quiet<'lab>(lab: &'lab Lab, name: &str) -> PodDrawing<'lab> {
    lab.pod(name).without_ipam().key("conflict", json!({ "policy": "off" }))
}

fn good(answer: &Answer) -> Result<Duration> {
    ensure!(answer.exit == Some(0), "a call failed: {answer:?}");
    Ok(answer.took)
}

fn bare_process() -> Result<Duration> {
    let began = Instant::now();
    let mut child = Command::new("/bin/true").stdout(Stdio::null()).spawn().context("/bin/true")?;
    child.wait()?;
    Ok(began.elapsed())
}

fn millis(took: Duration) -> f64 {
    took.as_secs_f64() * 1e3
}
