//! A Kubernetes cluster of real parts, for stories that need an API server and kubelets.
//!
//! `tests/cluster/up.sh` makes it: cells (namespaces of every kind) for a control plane and two nodes, each node with
//! its own containerd, kubelet and Open vSwitch, and one underlay between them. Here it is brought up with the product's
//! image, asked through `kubectl` and `helm`, and ended when the story ends, however it does.
//!
//! Owns everything below its directory. One at a time: stories that bring one up run one after another.

mod facts;
mod leftovers;

use std::cell::RefCell;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

pub use self::facts::Holdings;
use self::leftovers::Held;
use crate::eventually::eventually;
use crate::netns::inside;
use crate::traffic::{Echoes, PingStream};

/// Variables that `cargo xtask test cluster` sets.
const PARTS: &str = "CLUSTER_BIN";
const IMAGE: &str = "CLUSTER_IMAGE";

/// The whole of it: 10 s on a quiet machine.
const UP_DEADLINE: &str = "240";
const DOWN_DEADLINE: &str = "180";

/// One `kubectl` or `helm`; where they wait for something they have a shorter deadline of their own.
const COMMAND_DEADLINE: &str = "330";

/// Each look starts a `kubectl`, a tenth of a second of a processor that the cluster needs itself.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// Pods that are asked for are Running: pulled from nowhere, but on a loaded machine.
const PODS_DEADLINE: Duration = Duration::from_mins(2);

/// The chart, from this crate's directory.
const CHART: &str = "../charts/underpass";

/// The nodes' names.
pub const NODES: [&str; 2] = ["node1", "node2"];

/// The cluster, up until it is dropped.
#[derive(Debug)]
pub struct Cluster {
    state: PathBuf,
    scripts: PathBuf,
    held: RefCell<Held>,
}

impl Cluster {
    /// Brings the cluster up, its nodes still without a network.
    #[track_caller]
    pub fn up() -> Self {
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("cluster");
        let state = std::env::temp_dir().join("underpass-cluster");
        let cluster = Self { state, scripts, held: RefCell::default() };
        cluster.start().unwrap_or_else(|error| panic!("the cluster does not come up: {error:#}"));
        cluster
    }

    /// A cluster with the chart and the four pods of `pods.yaml`, two on each node, as [`running`](Self::running) has them.
    #[track_caller]
    pub fn with_shop() -> (Self, Vec<(String, String, String)>) {
        let cluster = Self::up();
        cluster.install();
        cluster.apply("pods.yaml");
        let pods = cluster.running("shop", 4);
        (cluster, pods)
    }

    fn start(&self) -> Result<()> {
        let variable = |name| std::env::var(name).with_context(|| format!("{name} is not set: run by xtask"));
        let (parts, image) = (variable(PARTS)?, variable(IMAGE)?);
        let mut up = Command::new("timeout");
        up.arg(UP_DEADLINE)
            .arg(self.scripts.join("up.sh"))
            .envs([("CLUSTER_BIN", parts), ("CLUSTER_IMAGES", image)]);
        self.run(up).map(drop)
    }

    /// `helm`, which must succeed.
    #[track_caller]
    pub fn helm(&self, words: &[&str]) -> String {
        self.must("helm", words)
    }

    /// Installs the chart as the primary network and waits until every agent is ready and every node too.
    #[track_caller]
    pub fn install(&self) {
        self.release("install", &[]);
        self.kubectl(&["wait", "--for=condition=Ready", "nodes", "--all", "--timeout=60s"]);
        eventually(PODS_DEADLINE, "the controller manager has made the service account", || {
            self.try_run("kubectl", &["get", "serviceaccount", "default"])
        });
        self.note_held().unwrap_or_else(|error| panic!("what the agents hold: {error:#}"));
    }

    /// Upgrades what [`install`](Self::install) made, with more words for Helm, and waits until every agent is ready.
    #[track_caller]
    pub fn upgrade(&self, more: &[&str]) {
        self.release("upgrade", more);
        self.rolled_out();
    }

    /// Waits until every agent is the newest and ready: Helm calls a DaemonSet ready one agent earlier.
    #[track_caller]
    pub fn rolled_out(&self) {
        let status = ["rollout", "status", "daemonset/underpass", "--timeout=100s"];
        self.kubectl(&[&["--namespace=kube-system"], &status[..]].concat());
    }

    #[track_caller]
    fn release(&self, verb: &str, more: &[&str]) {
        let chart = text(&Path::new(env!("CARGO_MANIFEST_DIR")).join(CHART));
        let values = self.file("values.yaml");
        let words = [verb, "underpass", &chart, "--namespace", "kube-system", "--values", &values];
        self.helm(&[&words[..], &["--wait", "--timeout", "100s"], more].concat());
    }

    /// Puts Multus before the network that is installed, with the networks of a file of values in `tests/cluster`, or
    /// of one that [`keep`](Self::keep) made.
    #[track_caller]
    pub fn add_multus(&self, networks: &str) {
        self.apply("multus.yaml");
        let established = ["wait", "--for=condition=Established", "crd", "--all", "--timeout=30s"];
        self.kubectl(&established);
        self.upgrade(&["--values", &self.file(networks)]);
        let mut script = Command::new("timeout");
        script.arg(COMMAND_DEADLINE).arg(self.scripts.join("multus.sh"));
        self.run(script).unwrap_or_else(|error| panic!("Multus is not there: {error:#}"));
    }

    /// `kubectl`, which must succeed.
    #[track_caller]
    pub fn kubectl(&self, words: &[&str]) -> String {
        self.must("kubectl", words)
    }

    /// `kubectl` with JSON as its answer.
    pub fn get(&self, words: &[&str]) -> Result<Value> {
        let answer = self.try_run("kubectl", &[&["get", "--output=json"], words].concat())?;
        serde_json::from_str(&answer).context("kubectl's JSON")
    }

    /// Makes what a manifest in `tests/cluster` says, or one that [`keep`](Self::keep) made.
    #[track_caller]
    pub fn apply(&self, manifest: &str) {
        self.kubectl(&["apply", "--filename", &self.file(manifest)]);
    }

    /// Writes a file that goes with the cluster; gives its path.
    #[track_caller]
    pub fn keep(&self, name: &str, content: &str) -> String {
        let path = self.state.join(name);
        fs::write(&path, content).unwrap_or_else(|error| panic!("writing {}: {error}", path.display()));
        text(&path)
    }

    /// A path that is absolute stays as it is.
    fn file(&self, name: &str) -> String {
        text(&self.scripts.join(name))
    }

    /// The path of `kubectl`, `helm`, or `in`, which runs a command inside a node.
    pub fn program(&self, name: &str) -> String {
        text(&self.state.join(name))
    }

    /// A command in a pod's only container; the answer, or what it failed with.
    pub fn exec(&self, pod: &str, words: &[&str]) -> Result<String> {
        self.try_run("kubectl", &[&["exec", pod, "--"], words].concat())
    }

    /// A command inside a node (or `cp`, the control plane), in all of its namespaces.
    pub fn on(&self, node: &str, words: &[&str]) -> Result<String> {
        self.try_run("in", &[&[node], words].concat())
    }

    /// Sends a signal to the process that bears this name inside a node (or `cp`).
    #[track_caller]
    pub fn signal(&self, node: &str, name: &str, signal: &str) {
        let pids = self.must("in", &[node, "busybox", "pidof", name]);
        let pid = pids.split_whitespace().next().expect("pidof succeeds only if there is one");
        self.must("in", &[node, "kill", signal, pid]);
    }

    /// Ends a service of a node without a word, and starts it again.
    #[track_caller]
    pub fn restart(&self, node: &str, service: &str) {
        self.signal(node, service, "-KILL");
        eventually(PODS_DEADLINE, &format!("{service} is gone"), || {
            let found = self.on(node, &["busybox", "pidof", service]);
            found.map_or(Ok(()), |pids| bail!("pid {pids}"))
        });
        self.must(&format!("{node}/start-{service}"), &[]);
    }

    /// Takes the power from a node, and gives it back: what it had in memory is gone, and it has another boot id.
    #[track_caller]
    pub fn reboot(&self, node: &str) {
        let mut script = Command::new("timeout");
        script.arg(COMMAND_DEADLINE).arg(self.scripts.join("reboot.sh")).arg(node.trim_start_matches("node"));
        self.run(script).unwrap_or_else(|error| panic!("{node} does not come back: {error:#}"));
    }

    /// Waits until `count` pods of a Deployment are ready, without asking again and again.
    #[track_caller]
    pub fn ready(&self, deployment: &str, count: usize) {
        let ready = format!("--for=jsonpath={{.status.readyReplicas}}={count}");
        self.kubectl(&["wait", &ready, &format!("deployment/{deployment}"), "--timeout=300s"]);
    }

    /// The verbs and objects of the agents' requests to the API server so far, watches left out.
    pub fn requests(&self) -> Result<Vec<String>> {
        let audit = fs::read_to_string(self.state.join("log/audit.log")).context("the API server's audit")?;
        let mut requests = Vec::new();
        for line in audit.lines() {
            let event: Value = serde_json::from_str(line).context("the API server's audit")?;
            if event["verb"] != "watch" {
                requests.push(format!("{} {}", event["verb"], event["requestURI"]));
            }
        }
        Ok(requests)
    }

    /// Resident memory of a node's agent, in kB.
    pub fn agent_memory(&self, node: &str) -> Result<u64> {
        let status = self.on(node, &["sh", "-c", "cat /proc/$(busybox pidof underpass-agent)/status"])?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").parse()?)
    }

    /// The plugin as the runtime of a node calls it, with the node's own configuration: for when no API server can ask.
    pub fn cni(&self, node: &str, verb: &str, netns: &str) -> Result<String> {
        let conflist: Value =
            serde_json::from_str(&self.on(node, &["cat", "/etc/cni/net.d/10-underpass.conflist"])?)?;
        let mut conf = conflist["plugins"][0].clone();
        for key in ["name", "cniVersion"] {
            conf[key] = conflist[key].clone();
        }
        let call = format!(
            "echo '{conf}' | CNI_COMMAND={verb} CNI_CONTAINERID={netns} CNI_NETNS=/run/netns/{netns} CNI_IFNAME=eth0 \
             CNI_PATH=/opt/cni/bin /opt/cni/bin/underpass"
        );
        self.on(node, &["sh", "-c", &call])
    }

    /// Begins to ping from inside the pod that has the address `from`, 1 ms between two requests; a minute at most.
    #[track_caller]
    pub fn ping(&self, node: &str, from: &str, to: &str) -> PingStream {
        let stream = || {
            let path = self.netns(node, from)?;
            let file = File::open(&path).with_context(|| format!("opening {}", path.display()))?;
            let echoes = inside(&file, &path, || Echoes::open(to.parse().context("the address")?))?;
            Ok(PingStream::start(echoes, Duration::from_millis(1)))
        };
        stream().unwrap_or_else(|error: anyhow::Error| panic!("no ping from {from}: {error:#}"))
    }

    /// The namespace on a node in which this address is, as seen from here.
    fn netns(&self, node: &str, address: &str) -> Result<PathBuf> {
        let listed = self.on(node, &["ls", "/run/netns"])?;
        let has = |name: &&str| {
            let addresses = self.on(node, &["ip", "-n", name, "-o", "address"]);
            addresses.is_ok_and(|addresses| addresses.contains(&format!(" {address}/")))
        };
        let name = listed.lines().find(has).with_context(|| format!("{address} is nowhere on {node}"))?;
        self.path_in(node, &format!("/run/netns/{name}"))
    }

    /// A path inside a node, as seen from here.
    fn path_in(&self, node: &str, path: &str) -> Result<PathBuf> {
        let pid = fs::read_to_string(self.state.join(node).join("pid"))?;
        Ok(PathBuf::from(format!("/proc/{}/root{path}", pid.trim())))
    }

    /// The addresses that Multus reports for one network of a pod.
    #[track_caller]
    pub fn addresses(&self, pod: &str, network: &str) -> Vec<String> {
        let object = self.get(&["pod", pod]).unwrap_or_else(|error| panic!("{error:#}"));
        let status = &object["metadata"]["annotations"]["k8s.v1.cni.cncf.io/network-status"];
        let status: Value = serde_json::from_str(status.as_str().unwrap_or("[]")).expect("Multus' JSON");
        let found = status.as_array().into_iter().flatten().find(|entry| entry["name"] == network);
        let ips = found.unwrap_or_else(|| panic!("{pod} has no {network}: {status}"))["ips"].as_array();
        ips.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    }

    /// `agentctl` in the agent's pod of a node.
    #[track_caller]
    pub fn agentctl(&self, node: &str, words: &[&str]) -> String {
        let agent = self.agent(node);
        let exec = ["--namespace=kube-system", "exec", &agent, "--", "/bin/agentctl"];
        self.kubectl(&[&exec[..], words].concat())
    }

    /// The name of the agent's pod on a node.
    #[track_caller]
    pub fn agent(&self, node: &str) -> String {
        let selector = format!("--field-selector=spec.nodeName={node}");
        let label = "--selector=app.kubernetes.io/name=underpass";
        let name = "--output=jsonpath={.items[0].metadata.name}";
        self.kubectl(&["--namespace=kube-system", "get", "pods", label, &selector, name])
    }

    /// Waits until `count` pods with the label `app` are Running; gives (name, node, address) of each, sorted by node.
    #[track_caller]
    pub fn running(&self, app: &str, count: usize) -> Vec<(String, String, String)> {
        patiently(PODS_DEADLINE, &format!("{count} pods of {app} are Running"), || {
            let pods = self.get(&["pods", &format!("--selector=app={app}")])?;
            let mut running = Vec::new();
            for pod in pods["items"].as_array().into_iter().flatten() {
                if pod["status"]["phase"] == "Running" && pod["metadata"]["deletionTimestamp"].is_null() {
                    let field = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                    let (name, node) = (field(&pod["metadata"]["name"]), field(&pod["spec"]["nodeName"]));
                    running.push((name, node, field(&pod["status"]["podIP"])));
                }
            }
            running.sort_by(|a, b| a.1.cmp(&b.1));
            ensure!(running.len() == count, "{} are: {running:?}", running.len());
            Ok(running)
        })
    }

    #[track_caller]
    fn must(&self, name: &str, words: &[&str]) -> String {
        match self.try_run(name, words) {
            Ok(answer) => answer,
            Err(error) => panic!("{error:#}"),
        }
    }

    fn try_run(&self, name: &str, words: &[&str]) -> Result<String> {
        let mut command = Command::new("timeout");
        command.arg(COMMAND_DEADLINE).arg(self.state.join(name)).args(words);
        self.run(command)
    }

    fn run(&self, mut command: Command) -> Result<String> {
        command.env("CLUSTER_STATE", &self.state).stdin(Stdio::null());
        let output = command.output().with_context(|| format!("starting {command:?}"))?;
        let (said, complained) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        if !output.status.success() {
            bail!("{command:?}: {}\n{complained}{said}", output.status);
        }
        Ok(said.into_owned())
    }
}

impl Cluster {
    /// Shows what a person would ask for first.
    fn tell_the_state(&self) {
        let agents =
            ["--namespace=kube-system", "logs", "--selector=app.kubernetes.io/name=underpass", "--tail=40"];
        for words in [&agents[..], &["get", "pods", "--all-namespaces", "--output=wide"], &["get", "events"]]
        {
            let said = self.try_run("kubectl", words);
            crate::note(&said.unwrap_or_else(|error| format!("{error:#}")));
        }
    }

    /// Ends the cluster; gives what it left.
    fn down(&self) -> Vec<String> {
        let noted = self.note_held();
        let mut down = Command::new("timeout");
        down.arg(DOWN_DEADLINE).arg(self.scripts.join("down.sh"));
        let ended = self.run(down).map(drop);
        let mut faults: Vec<String> =
            [noted, ended].into_iter().filter_map(Result::err).map(|error| format!("{error:#}")).collect();
        faults.extend(self.held.borrow().left(&self.state));
        faults
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let failed = thread::panicking();
        if failed {
            self.tell_the_state();
        }
        let faults = self.down();
        if failed {
            crate::note(&faults.join("\n"));
        } else {
            assert!(faults.is_empty(), "the cluster did not end cleanly:\n{}", faults.join("\n"));
        }
    }
}

/// [`eventually`], with a pause after each look.
#[track_caller]
fn patiently<T>(deadline: Duration, what: &str, mut check: impl FnMut() -> Result<T>) -> T {
    eventually(deadline, what, || check().inspect_err(|_| thread::sleep(LOOK_AGAIN)))
}

fn text(path: &Path) -> String {
    path.display().to_string()
}
