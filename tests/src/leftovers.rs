//! What may not be there after a story, and the state that a failed one is told with.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use ebpf::Dataplane;

use crate::agent::SECOND_RUN_DIR;
use crate::eventually::wait_for;
use crate::flows;
use crate::lab::Lab;
use crate::netns::Netns;
use crate::process::log_tail;
use crate::switch::Switch;
use crate::wire::link_names;

/// Withdrawal is over when DEL answers; this much is for the kernel, which takes links away behind us.
const GONE_WITHIN: Duration = Duration::from_secs(5);

/// `limits.max_endpoints` of every lab: the default, for the layout of the maps depends on it.
const MAX_ENDPOINTS: u32 = 512;

/// What is left although no pod is; waits for it to go first.
pub(crate) fn wait_until_none(lab: &Lab) -> Vec<String> {
    let looked = wait_for(lab.ground().within(GONE_WITHIN), || {
        let left = present(lab);
        if left.is_empty() { Ok(()) } else { Err(left.join("\n")) }
    });
    looked.err().map(|left| left.lines().map(str::to_owned).collect()).unwrap_or_default()
}

/// What may not outlive the agent's clean end when there is no pod.
pub(crate) fn after_the_agent(lab: &Lab) -> Vec<String> {
    let socket = lab.ground().socket();
    let mut left = map_entries(&lab.room_path("bpf/underpass"));
    if socket.exists() {
        left.push(format!("{} outlived the agent", socket.display()));
    }
    left
}

/// Entries of the pinned maps that speak of an endpoint. Read through the loader, once nobody else uses it.
fn map_entries(bpf_dir: &Path) -> Vec<String> {
    if !bpf_dir.exists() {
        return Vec::new();
    }
    match Dataplane::open(bpf_dir, MAX_ENDPOINTS).and_then(|maps| {
        Ok([
            format!("{:?}", maps.ports()?),
            format!("{:?}", maps.sources()?),
            format!("{:?}", maps.macs()?),
            format!("{:?}", maps.locals()?),
            format!("{:?}", maps.watches()?),
        ])
    }) {
        Ok(maps) => {
            maps.into_iter().filter(|map| map != "{}").map(|map| format!("map entries: {map}")).collect()
        }
        Err(error) => vec![format!("the pinned maps cannot be read: {error}")],
    }
}

/// Processes that still run in the node's namespace.
pub(crate) fn processes(node: &Netns) -> Vec<String> {
    let Ok(ours) = node.identity() else { return Vec::new() };
    let all = fs::read_dir("/proc").into_iter().flatten().flatten().map(|entry| entry.path());
    let in_node = |process: &std::path::PathBuf| {
        fs::metadata(process.join("ns/net")).is_ok_and(|meta| (meta.dev(), meta.ino()) == ours)
    };
    let told = |process: std::path::PathBuf| {
        let name = fs::read_to_string(process.join("comm")).unwrap_or_default();
        format!("process {} ({}) still runs in the node", process.display(), name.trim())
    };
    all.filter(in_node).map(told).collect()
}

/// Prints what a person would ask for first when a story has failed.
pub(crate) fn tell_the_state(lab: &Lab) {
    let tell = |what: &str, text: String| note(&format!("---- {what}\n{text}"));
    for bridge in lab.bridges() {
        let flows = lab.switch().ofctl("dump-flows", bridge, &[]);
        tell(&format!("flows of {bridge}"), flows.unwrap_or_else(|error| format!("{error:#}")));
    }
    tell("ovs-vsctl show", lab.switch().vsctl(&["show"]).unwrap_or_else(|error| format!("{error:#}")));
    tell(
        "links of the node",
        lab.ground().run("ip", &["-br", "link"]).unwrap_or_else(|error| format!("{error:#}")),
    );
    tell("ovs-vswitchd", log_tail(&lab.room_path("ovs/ovs-vswitchd.log")));
    tell("agent", lab.agent().log_tail());
}

/// Tells the reader of a test run something: a measured time, mostly.
#[expect(
    clippy::print_stderr,
    reason = "libtest captures it and shows it with the failure, or on --nocapture"
)]
pub fn note(text: &str) {
    eprintln!("{text}");
}

fn present(lab: &Lab) -> Vec<String> {
    let mut left = Vec::new();
    let mut look = |found: Result<Vec<String>>| match found {
        Ok(found) => left.extend(found),
        Err(error) => left.push(format!("{error:#}")),
    };
    look(ports(lab.switch()));
    look(veths(lab.node()));
    for bridge in existing_bridges(lab) {
        look(endpoint_flows(lab.switch(), &bridge));
    }
    for run_dir in ["run", SECOND_RUN_DIR] {
        let is_record = |name: &str| Path::new(name).extension() != Some("del".as_ref());
        look(files(&lab.room_path(&format!("{run_dir}/ledger")), is_record));
        look(files(&lab.room_path(&format!("{run_dir}/spool")), |_| true));
    }
    look(files(&lab.room_path("ipam/lab"), |name| name.parse::<std::net::IpAddr>().is_ok()));
    // Maps stay pinned for the next agent; links belong to veths and go with them.
    look(files(&lab.room_path("bpf/underpass/links"), |_| true));
    left
}

fn ports(switch: &Switch) -> Result<Vec<String>> {
    let found =
        switch.vsctl(&["--bare", "--columns=name", "find", "Port", "external_ids:owner=underpass"])?;
    let dangling = switch.vsctl(&["--bare", "--columns=name,error", "find", "Interface", "error!=[]"])?;
    let named = |text: String, what: &str| -> Vec<String> {
        text.lines().filter(|line| !line.is_empty()).map(|line| format!("{what}: {line}")).collect()
    };
    Ok([named(found, "port of ours"), named(dangling, "interface in error")].concat())
}

fn veths(node: &Netns) -> Result<Vec<String>> {
    let ours = |name: &String| {
        name.strip_prefix("veth")
            .is_some_and(|hash| hash.len() == 11 && hash.chars().all(|c| c.is_ascii_hexdigit()))
    };
    let names = node.enter(link_names)?;
    Ok(names.into_iter().filter(ours).map(|name| format!("host veth: {name}")).collect())
}

/// A bridge that the story deleted has no flows to ask for.
fn existing_bridges(lab: &Lab) -> Vec<String> {
    let known = lab.switch().vsctl(&["list-br"]).unwrap_or_default();
    lab.bridges().iter().filter(|bridge| known.lines().any(|line| line == *bridge)).cloned().collect()
}

/// The flows of slot 0 are shared by all endpoints and stay as long as the agent works on the bridge.
fn endpoint_flows(switch: &Switch, bridge: &str) -> Result<Vec<String>> {
    let left = flows::of(switch, bridge)?.into_iter().filter(|flow| flow.is_ours() && flow.slot() != 0);
    Ok(left.map(|flow| format!("flow of slot {}: table={} {}", flow.slot(), flow.table, flow.rule)).collect())
}

fn files(dir: &Path, is_left: impl Fn(&str) -> bool) -> Result<Vec<String>> {
    if !dir.exists() {
        return Ok(Vec::new());
    }
    let entries = fs::read_dir(dir).with_context(|| format!("listing {}", dir.display()))?;
    let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    Ok(names.filter(|name| is_left(name)).map(|name| format!("{}/{name}", dir.display())).collect())
}
