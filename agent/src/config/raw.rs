//! From TOML to [`Config`]: every key is looked up by its path, so that all faults can be named at once.
//!
//! A derived deserializer stops at the first fault; an operator who has to fix a ConfigMap wants them all. The
//! table of keys below is the whole schema.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use toml::{Table, Value};

use super::{
    Accel, Bridge, Cni, Config, Conflict, Fault, ForLife, Gateway, InCluster, Install, Kubernetes, Log,
    LogFormat, Ovs,
};
use crate::limits::GATEWAY_QUESTIONS;
use crate::model::{ConflictPolicy, GatewayPolicy, GuardMode, ProbeTiming};

/// Sections and their keys; the empty name is the top level.
const KEYS: &[(&str, &[&str])] = &[
    (
        "",
        &[
            "run_dir",
            "bpf_dir",
            "ovs",
            "bridge",
            "cni",
            "guard",
            "conflict",
            "gateway",
            "accel",
            "limits",
            "log",
            "kubernetes",
            "install",
        ],
    ),
    ("ovs", &["db", "run_dir", "table_base"]),
    ("bridge", &["name", "uplinks"]),
    ("cni", &["timeout"]),
    ("guard", &["mode"]),
    ("conflict", &["policy", "count", "interval", "wait", "for_life"]),
    ("gateway", &["policy", "interval", "timeout", "lost_after", "back_after"]),
    ("accel", &["enabled", "lease", "renew"]),
    ("limits", &["max_endpoints"]),
    ("metrics", &["listen"]),
    ("log", &["level", "format"]),
    ("kubernetes", &["enabled", "node", "daemonset", "startup_taint", "resources"]),
    ("install", &["bin_dir", "names", "conf", "conf_dir"]),
];

pub(super) fn parse(text: &str) -> Result<Config, Vec<Fault>> {
    let root: Table = text.parse().map_err(|e: toml::de::Error| vec![fault("", e.to_string().trim())])?;
    let mut reader = Reader { root, faults: Vec::new() };
    reader.refuse_unknown_keys();
    let config = read(&mut reader);
    if reader.faults.is_empty() { Ok(config) } else { Err(reader.faults) }
}

fn read(r: &mut Reader) -> Config {
    let second = Duration::from_secs(1);
    let db = r.path("ovs.db", "/var/run/openvswitch/db.sock");
    let ovs_run_dir = db.parent().map_or_else(|| PathBuf::from("/"), PathBuf::from);
    let renew = r.duration("accel.renew", 5 * second, second / 10..=LONGEST);
    let lease = r.duration("accel.lease", 30 * second, second..=LONGEST);
    if lease <= renew {
        r.fault("accel.lease", format!("{lease:?} must be longer than accel.renew, {renew:?}"));
    }
    let cni = Cni { timeout: r.duration("cni.timeout", CALL, second..=CALL) };
    let config = Config {
        run_dir: r.path("run_dir", "/run/underpass"),
        bpf_dir: r.path("bpf_dir", "/sys/fs/bpf/underpass"),
        ovs: Ovs {
            db,
            run_dir: r.path("ovs.run_dir", &ovs_run_dir.to_string_lossy()),
            // Ten tables fit up to 254; 255 means "all tables" on the wire, and 0 is the hook.
            table_base: u8::try_from(r.integer("ovs.table_base", 220, 1, 245)).unwrap_or(220),
        },
        bridges: r.bridges(),
        cni,
        guard_mode: r.choice(
            "guard.mode",
            &[
                ("full", GuardMode::Full),
                ("mac", GuardMode::Mac),
                ("observe", GuardMode::Observe),
                ("off", GuardMode::Off),
            ],
        ),
        conflict: conflict(r),
        gateway: gateway(r),
        accel: Accel { enabled: r.boolean("accel.enabled", true), lease, renew },
        max_endpoints: u32::try_from(r.integer("limits.max_endpoints", 512, 1, 8_192)).unwrap_or(512),
        metrics: r.listen("metrics.listen", METRICS),
        log: Log {
            level: r.text("log.level", "info"),
            format: r.choice("log.format", &[("text", LogFormat::Text), ("json", LogFormat::Json)]),
        },
        kubernetes: kubernetes(r),
        install: install(r),
    };
    refuse_slow_probes(r, &config);
    config
}

fn conflict(r: &mut Reader) -> Conflict {
    let probe = ProbeTiming::USUAL;
    Conflict {
        policy: r.choice(
            "conflict.policy",
            &[("fail", ConflictPolicy::Fail), ("warn", ConflictPolicy::Warn), ("off", ConflictPolicy::Off)],
        ),
        timing: ProbeTiming {
            count: u32::try_from(r.integer("conflict.count", probe.count.into(), 1, 10))
                .unwrap_or(probe.count),
            interval: r.duration("conflict.interval", probe.interval, PROBE_PAUSE),
            wait: r.duration("conflict.wait", probe.wait, PROBE_PAUSE),
        },
        for_life: r.choice("conflict.for_life", &[("notify", ForLife::Notify), ("off", ForLife::Off)]),
    }
}

fn gateway(r: &mut Reader) -> Gateway {
    let second = Duration::from_secs(1);
    Gateway {
        policy: r.choice(
            "gateway.policy",
            &[
                ("warn", GatewayPolicy::Warn),
                ("require", GatewayPolicy::Require),
                ("off", GatewayPolicy::Off),
            ],
        ),
        interval: r.duration("gateway.interval", 2 * second, second / 10..=LONGEST),
        timeout: r.duration("gateway.timeout", second, second / 100..=10 * second),
        lost_after: u32::try_from(r.integer("gateway.lost_after", 3, 1, 100)).unwrap_or(3),
        back_after: u32::try_from(r.integer("gateway.back_after", 2, 1, 100)).unwrap_or(2),
    }
}

/// An ADD waits for its probes, and if it must for its gateway: both have to end before its deadline.
fn refuse_slow_probes(r: &mut Reader, config: &Config) {
    let ProbeTiming { count, interval, wait } = config.conflict.timing;
    let gateway = match config.gateway.policy {
        GatewayPolicy::Require => config.gateway.timeout * GATEWAY_QUESTIONS,
        GatewayPolicy::Warn | GatewayPolicy::Off => Duration::ZERO,
    };
    let needed = interval * count + wait + gateway;
    if needed >= config.cni.timeout {
        let timeout = config.cni.timeout;
        r.fault("cni.timeout", format!("{timeout:?} is not longer than the probes of an ADD, {needed:?}"));
    }
}

/// The default, and the most: the plugin gives the agent up 5 s later, and the runtime should hear the agent.
const CALL: Duration = Duration::from_secs(55);

/// Between two probes and after the last, as in CNI configurations: from what a switch can answer in to RFC 5227's own
/// order of magnitude.
const PROBE_PAUSE: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(2);

/// Of this node alone: whom else it concerns is for the node's owner to say.
const METRICS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9476);

/// What nobody can wait for is a slip of the pen.
const LONGEST: Duration = Duration::from_hours(1);

fn kubernetes(r: &mut Reader) -> Kubernetes {
    let daemonset = r.optional("kubernetes.daemonset").and_then(|text| {
        let name = text.split_once('/').map(|(namespace, name)| (namespace.to_owned(), name.to_owned()));
        if name.is_none() {
            r.fault("kubernetes.daemonset", format!("`{text}` is not namespace/name"));
        }
        name
    });
    Kubernetes {
        enabled: r.choice(
            "kubernetes.enabled",
            &[("auto", InCluster::Auto), ("true", InCluster::Yes), ("false", InCluster::No)],
        ),
        node: r.optional("kubernetes.node"),
        daemonset,
        startup_taint: r.optional("kubernetes.startup_taint"),
        resources: r.boolean("kubernetes.resources", false),
    }
}

fn install(r: &mut Reader) -> Install {
    let names = match r.value("install.names") {
        None => vec!["underpass".to_owned()],
        Some(value) => strings(&value).unwrap_or_else(|| {
            r.wrong("install.names", &value, "a list of file names");
            Vec::new()
        }),
    };
    if let Some(name) = names.iter().find(|name| name.is_empty() || name.contains('/')) {
        r.fault("install.names", format!("`{name}` is not a file name"));
    }
    Install {
        bin_dir: r.optional_path("install.bin_dir"),
        names,
        conf: r.optional_path("install.conf"),
        conf_dir: r.path("install.conf_dir", "/etc/cni/net.d"),
    }
}

/// Looks keys up by path and collects what is wrong; a faulty key reads as its default.
struct Reader {
    root: Table,
    faults: Vec<Fault>,
}

impl Reader {
    fn value(&self, path: &str) -> Option<Value> {
        match path.split_once('.') {
            Some((section, key)) => self.root.get(section)?.as_table()?.get(key).cloned(),
            None => self.root.get(path).cloned(),
        }
    }

    fn text(&mut self, path: &str, default: &str) -> String {
        match self.value(path) {
            None => default.to_owned(),
            Some(Value::String(text)) => text,
            Some(other) => {
                self.wrong(path, &other, "a string");
                default.to_owned()
            }
        }
    }

    /// Text that may be missing; empty text counts as missing.
    fn optional(&mut self, path: &str) -> Option<String> {
        Some(self.text(path, "")).filter(|text| !text.is_empty())
    }

    fn optional_path(&mut self, key: &str) -> Option<PathBuf> {
        self.optional(key).map(|_| self.path(key, "/"))
    }

    fn path(&mut self, key: &str, default: &str) -> PathBuf {
        let text = self.text(key, default);
        let path = PathBuf::from(text.strip_prefix("unix:").unwrap_or(&text));
        if !path.is_absolute() {
            self.fault(key, format!("`{text}` is not an absolute path"));
        }
        path
    }

    /// `None` where it says `off`.
    fn listen(&mut self, path: &str, default: SocketAddr) -> Option<SocketAddr> {
        match self.text(path, "").as_str() {
            "" => Some(default),
            "off" => None,
            text => {
                let address = text.parse().ok();
                if address.is_none() {
                    self.fault(
                        path,
                        format!("`{text}` is not an address and a port, such as {default}, or off"),
                    );
                }
                address
            }
        }
    }

    fn boolean(&mut self, path: &str, default: bool) -> bool {
        match self.value(path) {
            None => default,
            Some(Value::Boolean(value)) => value,
            Some(other) => {
                self.wrong(path, &other, "true or false");
                default
            }
        }
    }

    fn integer(&mut self, path: &str, default: i64, least: i64, most: i64) -> i64 {
        match self.value(path) {
            None => default,
            Some(Value::Integer(value)) if (least..=most).contains(&value) => value,
            Some(other) => {
                self.wrong(path, &other, &format!("a number from {least} to {most}"));
                default
            }
        }
    }

    /// Durations are text with a unit: `"100ms"`, `"2s"`, `"1m 30s"`.
    fn duration(&mut self, path: &str, default: Duration, range: RangeInclusive<Duration>) -> Duration {
        let parsed = match self.value(path) {
            None => return default,
            Some(Value::String(text)) => parse_duration(&text).filter(|d| range.contains(d)),
            Some(_) => None,
        };
        parsed.unwrap_or_else(|| {
            let value = self.value(path).map(|v| v.to_string()).unwrap_or_default();
            let (least, most) = (range.start(), range.end());
            self.fault(
                path,
                format!("{value} is not a duration from {least:?} to {most:?}, such as \"100ms\""),
            );
            default
        })
    }

    /// One of a few words; the first is the default.
    fn choice<T: Copy>(&mut self, path: &str, choices: &[(&str, T)]) -> T {
        let (default_word, default) = choices[0];
        let word = self.text(path, default_word);
        if let Some((_, value)) = choices.iter().find(|(name, _)| *name == word) {
            return *value;
        }
        let words: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
        self.fault(path, format!("`{word}` is none of {}", words.join(", ")));
        default
    }

    fn bridges(&mut self) -> Vec<Bridge> {
        let listed = match self.root.get("bridge").cloned() {
            None => return Vec::new(),
            Some(Value::Array(listed)) => listed,
            Some(other) => {
                self.wrong("bridge", &other, "a list of tables, each begun by [[bridge]]");
                return Vec::new();
            }
        };
        let mut bridges = Vec::new();
        for (index, item) in listed.iter().enumerate() {
            let name = item.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
            if name.is_empty() {
                self.fault(&format!("bridge[{index}].name"), "a bridge needs a name");
            } else if !is_interface_name(&name) {
                self.fault(&format!("bridge[{index}].name"), format!("{name:?} is not {AN_INTERFACE_NAME}"));
            }
            if bridges.iter().any(|b: &Bridge| b.name == name) {
                self.fault(&format!("bridge[{index}].name"), format!("`{name}` is there twice"));
            }
            let uplinks = item.get("uplinks").map_or(Some(Vec::new()), strings);
            let path = format!("bridge[{index}].uplinks");
            match &uplinks {
                None => self.fault(&path, "not a list of interface names"),
                Some(uplinks) => self.check_uplinks(&path, uplinks),
            }
            bridges.push(Bridge { name, uplinks: uplinks.unwrap_or_default() });
        }
        bridges
    }

    fn check_uplinks(&mut self, path: &str, uplinks: &[String]) {
        for (index, name) in uplinks.iter().enumerate() {
            if !is_interface_name(name) {
                self.fault(&format!("{path}[{index}]"), format!("{name:?} is not {AN_INTERFACE_NAME}"));
            } else if uplinks.iter().take(index).any(|other| other == name) {
                self.fault(&format!("{path}[{index}]"), format!("`{name}` is there twice"));
            }
        }
    }

    fn refuse_unknown_keys(&mut self) {
        let mut unknown = Vec::new();
        for (section, keys) in KEYS {
            let tables: Vec<&Table> = match self.root.get(*section) {
                _ if section.is_empty() => vec![&self.root],
                Some(Value::Table(table)) => vec![table],
                Some(Value::Array(items)) => items.iter().filter_map(Value::as_table).collect(),
                Some(other) => {
                    unknown.push(fault(section, &format!("`{other}` is not a section")));
                    continue;
                }
                None => continue,
            };
            for key in tables.iter().flat_map(|t| t.keys()).filter(|k| !keys.contains(&k.as_str())) {
                let path = if section.is_empty() { key.clone() } else { format!("{section}.{key}") };
                unknown.push(fault(&path, &format!("unknown key; known here: {}", keys.join(", "))));
            }
        }
        self.faults.extend(unknown);
    }

    fn wrong(&mut self, path: &str, value: &Value, wanted: &str) {
        self.fault(path, format!("`{value}` is not {wanted}"));
    }

    fn fault(&mut self, path: &str, what: impl Into<String>) {
        self.faults.push(Fault { path: path.to_owned(), what: what.into() });
    }
}

/// `100ms`, `2s`, `5m`, `1h`, or several with blanks between.
pub(crate) fn parse_duration(text: &str) -> Option<Duration> {
    let mut total = Duration::ZERO;
    let mut words = text.split_whitespace().peekable();
    words.peek()?;
    for word in words {
        let digits = word.find(|c: char| !c.is_ascii_digit())?;
        let (number, unit) = word.split_at(digits);
        let number: u32 = number.parse().ok()?;
        let unit = match unit {
            "ms" => Duration::from_millis(1),
            "s" => Duration::from_secs(1),
            "m" => Duration::from_mins(1),
            "h" => Duration::from_hours(1),
            _ => return None,
        };
        total = total.checked_add(unit.checked_mul(number)?)?;
    }
    Some(total)
}

/// Whether Linux has interfaces of this name (`dev_valid_name`; IFNAMSIZ less the closing zero): bridges of Open vSwitch
/// are interfaces too. Only ASCII, as everything else that names them.
fn is_interface_name(name: &str) -> bool {
    let fine = name.chars().all(|char| char.is_ascii_graphic() && char != '/' && char != ':');
    (1..=15).contains(&name.len()) && fine && name != "." && name != ".."
}

const AN_INTERFACE_NAME: &str = "the name of an interface: at most 15 visible characters without '/' and ':'";

fn strings(value: &Value) -> Option<Vec<String>> {
    value.as_array()?.iter().map(|v| v.as_str().map(str::to_owned)).collect()
}

fn fault(path: &str, what: &str) -> Fault {
    Fault { path: path.to_owned(), what: what.to_owned() }
}
