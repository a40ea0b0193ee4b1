//! Every metric family in one place, as the text that Prometheus scrapes.
//!
//! What can be read when somebody asks is read then: a [`Now`] becomes gauges and counters. What is over by then is
//! counted when it happens: [`CallTimes`]. Labels are bounded by the endpoints, bridges and reasons that there are; an
//! address or a MAC is never one.

use std::fmt;
use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// Names and values of labels, in the order in which they are printed.
pub type Labels = Vec<(&'static str, String)>;

/// Upper bounds in seconds: from an ADD on an idle node to the runtime's patience.
const CALL_SECONDS: [f64; 11] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// How long CNI calls took, from the start of the plugin's process until its answer was sent.
#[derive(Clone, Debug)]
pub struct CallTimes(Family<Labels, Histogram>);

impl Default for CallTimes {
    fn default() -> Self {
        let histogram: fn() -> Histogram = || Histogram::new(CALL_SECONDS);
        Self(Family::new_with_constructor(histogram))
    }
}

impl CallTimes {
    /// Counts a call of this verb that ended with this code of the CNI specification; 0 = success.
    pub fn observe(&self, verb: &'static str, code: u32, took: Duration) {
        let labels = vec![("verb", verb.to_owned()), ("code", code.to_string())];
        self.0.get_or_create(&labels).observe(took.as_secs_f64());
    }
}

/// What is so at the moment of a scrape.
#[derive(Debug, Default)]
pub struct Now {
    pub version: String,
    /// CNI calls are served.
    pub ready: bool,
    pub ovsdb_up: bool,
    /// Endpoints by state.
    pub endpoints: Vec<(&'static str, u32)>,
    /// Endpoints whose neighbours are reached past the bridge, and those whose are not.
    pub accelerated: [u32; 2],
    pub bridges: Vec<Bridge>,
    /// Gateways by state.
    pub gateways: Vec<(&'static str, u32)>,
    pub conflicts: u32,
    pub drops: Vec<Drops>,
    /// Addresses that wait to be given back to their IPAM plugin.
    pub ipam_debts: u32,
    /// Calls that wait in the spool.
    pub spooled: u32,
}

/// One bridge in use.
#[derive(Debug, Default)]
pub struct Bridge {
    pub name: String,
    /// Its OpenFlow connection stands.
    pub is_up: bool,
    pub endpoints: u32,
    pub flows_expected: u32,
    pub flows_present: u32,
    /// Flows that somebody changed and the agent mended, since it started.
    pub flows_mended: u64,
}

/// Frames of one endpoint that the guard dropped for one reason.
#[derive(Debug)]
pub struct Drops {
    pub namespace: String,
    pub pod: String,
    pub interface: String,
    pub reason: String,
    pub frames: u64,
}

/// Both together, in the OpenMetrics text format 1.0.
pub fn text(now: &Now, calls: &CallTimes) -> Result<String, fmt::Error> {
    let mut page = Page(Registry::with_prefix("underpass"));
    page.node(now);
    page.bridges(&now.bridges);
    page.guard(now);
    page.0.register_with_unit(
        "cni_call",
        "CNI calls, from the start of the plugin's process until its answer was sent",
        Unit::Seconds,
        calls.0.clone(),
    );
    let mut text = String::new();
    encode(&mut text, &page.0)?;
    Ok(text)
}

fn by_state(counts: &[(&'static str, u32)]) -> impl Iterator<Item = (Labels, i64)> {
    counts.iter().map(|(state, count)| (vec![("state", (*state).to_owned())], (*count).into()))
}

struct Page(Registry);

impl Page {
    fn node(&mut self, now: &Now) {
        let build = [(vec![("version", now.version.clone())], 1)];
        self.gauges("build", "The agent that runs", build);
        self.gauge("ready", "1 while CNI calls are served", now.ready);
        self.gauge("ovsdb_up", "1 while the database is connected", now.ovsdb_up);
        self.gauges("endpoints", "Interfaces of pods, by state", by_state(&now.endpoints));
        let [on, off] = now.accelerated;
        let by_path = [("past_bridge", on), ("through_bridge", off)]
            .map(|(path, count)| (vec![("path", path.to_owned())], count.into()));
        self.gauges("endpoint_paths", "Interfaces by the way to their neighbours on the node", by_path);
        self.gauge("ipam_debts", "Addresses not given back to their IPAM plugin yet", now.ipam_debts);
        self.gauge("spooled_calls", "DELs that came while no agent was there and wait", now.spooled);
    }

    fn bridges(&mut self, bridges: &[Bridge]) {
        let label = |bridge: &Bridge| vec![("bridge", bridge.name.clone())];
        let of = |value: fn(&Bridge) -> i64| bridges.iter().map(move |bridge| (label(bridge), value(bridge)));
        self.gauges("bridge_up", "1 while the bridge answers over OpenFlow", of(|b| b.is_up.into()));
        self.gauges("bridge_endpoints", "Interfaces of pods on the bridge", of(|b| b.endpoints.into()));
        self.gauges("bridge_flows_expected", "Flows that should be there", of(|b| b.flows_expected.into()));
        self.gauges("bridge_flows_present", "Flows at the last look", of(|b| b.flows_present.into()));
        let mended = bridges.iter().map(|bridge| (label(bridge), bridge.flows_mended));
        self.counters("bridge_flows_mended", "Flows that were not as the agent had left them", mended);
    }

    fn guard(&mut self, now: &Now) {
        let frames = now.drops.iter().map(|drops| {
            let labels = vec![
                ("namespace", drops.namespace.clone()),
                ("pod", drops.pod.clone()),
                ("interface", drops.interface.clone()),
                ("reason", drops.reason.clone()),
            ];
            (labels, drops.frames)
        });
        self.counters("dropped_frames", "Frames that the guard dropped, each counted once", frames);
        self.gauge("conflicts", "Foreign claims on addresses of pods that go on", now.conflicts);
        self.gauges("gateways", "Gateways that are watched, by state", by_state(&now.gateways));
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl Into<i64>) {
        let gauge = Gauge::<i64>::default();
        gauge.set(value.into());
        self.0.register(name, help, gauge);
    }

    fn gauges(&mut self, name: &str, help: &str, values: impl IntoIterator<Item = (Labels, i64)>) {
        let family = Family::<Labels, Gauge>::default();
        for (labels, value) in values {
            family.get_or_create(&labels).set(value);
        }
        self.0.register(name, help, family);
    }

    /// Printed with `_total` behind their names.
    fn counters(&mut self, name: &str, help: &str, values: impl IntoIterator<Item = (Labels, u64)>) {
        let family = Family::<Labels, Counter>::default();
        for (labels, value) in values {
            family.get_or_create(&labels).inc_by(value);
        }
        self.0.register(name, help, family);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_every_family_with_its_labels() {
        let calls = CallTimes::default();
        calls.observe("ADD", 0, Duration::from_millis(30));
        calls.observe("ADD", 11, Duration::from_secs(6));
        let bridge = Bridge { name: "br1".into(), is_up: true, flows_mended: 3, ..Bridge::default() };
        let drops = Drops {
            namespace: "shop".into(),
            pod: "cart".into(),
            interface: "eth0".into(),
            reason: "arp".into(),
            frames: 7,
        };
        let now = Now {
            version: "1.2.3".into(),
            endpoints: vec![("ready", 2), ("failed", 0)],
            bridges: vec![bridge],
            drops: vec![drops],
            ..Now::default()
        };
        let text = text(&now, &calls).expect("a text");
        for line in [
            "underpass_build{version=\"1.2.3\"} 1",
            "underpass_ready 0",
            "underpass_endpoints{state=\"ready\"} 2",
            "underpass_bridge_up{bridge=\"br1\"} 1",
            "underpass_bridge_flows_mended_total{bridge=\"br1\"} 3",
            "underpass_dropped_frames_total{namespace=\"shop\",pod=\"cart\",interface=\"eth0\",reason=\"arp\"} 7",
            "underpass_cni_call_seconds_count{verb=\"ADD\",code=\"0\"} 1",
            "underpass_cni_call_seconds_bucket{le=\"0.05\",verb=\"ADD\",code=\"0\"} 1",
            "underpass_cni_call_seconds_bucket{le=\"5.0\",verb=\"ADD\",code=\"11\"} 0",
        ] {
            assert!(text.lines().any(|there| there == line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn what_foreigners_named_cannot_break_a_line() {
        let bridge = Bridge { name: "a\"} 1\nevil 1".into(), ..Bridge::default() };
        let text =
            text(&Now { bridges: vec![bridge], ..Now::default() }, &CallTimes::default()).expect("a text");
        assert!(!text.lines().any(|line| line.starts_with("evil")), "{text}");
    }
}
