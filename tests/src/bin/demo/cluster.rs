//! The demo on a cluster: Helm, two nodes, pods that talk, one that lies, agents that die.
//!
//! Each step leaves the cluster as the next one expects it. What must succeed for the rest to make sense panics; the
//! cluster is taken away then, too.

use std::time::{Duration, Instant};

use e2e::{Cluster, NODES, wait_for};
use serde_json::Value;

use crate::screen::Screen;
use crate::{interrupted, stay};

/// An Event is written at once; the API server may be slow.
const NOTICED_WITHIN: Duration = Duration::from_mins(1);

/// Lines of the flows dump that fit beside the rest, and how much of each.
const FLOWS_SHOWN: usize = 6;
const FLOW_WIDTH: usize = 110;

/// Name, node and address of each, sorted by node: two on each.
type Pods = [(String, String, String)];

const STEPS: [fn(&Cluster, &Pods, &mut Screen); 4] =
    [they_talk, one_lies, the_agents_die, the_flows_have_names];

/// Tells the story; true when every check held.
pub(crate) fn tell(keep: bool) -> bool {
    let mut screen = Screen::begin(
        "Underpass on Kubernetes: two nodes, an Open vSwitch on each, one underlay between them",
    );
    Screen::chapter("helm install");
    let cluster = timed(&mut screen, "etcd, API server, two kubelets are up", Cluster::up);
    timed(&mut screen, "the chart is installed, both nodes are Ready", || cluster.install());
    let pods = timed(&mut screen, "a Deployment of four pods is Running", || {
        cluster.apply("pods.yaml");
        cluster.running("shop", 4)
    });
    for (pod, node, address) in &pods {
        Screen::detail(&format!("{node}  {address:<12}  {pod}"));
    }
    for step in STEPS {
        if interrupted() {
            break;
        }
        step(&cluster, &pods, &mut screen);
    }
    if keep && !interrupted() {
        things_to_try(&cluster);
        stay();
    }
    drop(cluster);
    screen.verdict()
}

fn timed<T>(screen: &mut Screen, what: &str, step: impl FnOnce() -> T) -> T {
    let began = Instant::now();
    let done = step();
    screen.check(what, || Ok(format!("{:.1} s", began.elapsed().as_secs_f32())));
    done
}

fn they_talk(cluster: &Cluster, pods: &Pods, screen: &mut Screen) {
    Screen::chapter("They talk");
    let gateways = ["10.244.0.1", "fd00:244::1"];
    let across = cluster.pod_addresses(&pods[2].0);
    let paths = [
        ("within a node", pods[1].2.as_str()),
        ("the gateway, IPv4", gateways[0]),
        ("the gateway, IPv6", gateways[1]),
    ];
    let across = across.iter().map(|address| ("across nodes", address.as_str()));
    for (what, to) in paths.into_iter().chain(across) {
        screen.check(what, || {
            let program = if to.contains(':') { "ping6" } else { "ping" };
            let pinged =
                wait_for(NOTICED_WITHIN, || cluster.exec(&pods[0].0, &[program, "-c", "3", "-W", "2", to]));
            let (said, _) = pinged?;
            Ok(format!("{to}, {}", said.lines().last().unwrap_or_default()))
        });
    }
}

fn one_lies(cluster: &Cluster, pods: &Pods, screen: &mut Screen) {
    Screen::chapter("One lies, and kubectl tells it");
    let (liar, victim) = (&pods[0].0, &pods[2].2);
    screen.check("a ping from an address that is not its own", || {
        let lie = ["ip", "address", "add", "10.244.9.9/16", "dev", "eth0"];
        cluster.exec(liar, &lie).map_err(|error| format!("{error:#}"))?;
        let ping = ["ping", "-c", "20", "-i", "0.2", "-W", "1", "-I", "10.244.9.9", victim];
        match cluster.exec(liar, &ping) {
            Ok(said) => Err(said),
            Err(_) => Ok("stopped".to_owned()),
        }
    });
    screen.check("its Event", || {
        let field = format!("--field-selector=involvedObject.name={liar},reason=GuardDrops");
        let (message, _) = wait_for(NOTICED_WITHIN, || {
            let events = cluster.get(&["events", &field]).map_err(|error| format!("{error:#}"))?;
            let message = events["items"][0]["message"].as_str().map(str::to_owned);
            message.ok_or_else(|| "there is none".to_owned())
        })?;
        Ok(message)
    });
}

fn the_agents_die(cluster: &Cluster, pods: &Pods, screen: &mut Screen) {
    Screen::chapter("The agents are killed");
    let ping = cluster.ping(NODES[0], &pods[0].2, &pods[2].2);
    for node in NODES {
        cluster.signal(node, "underpass-agent", "-KILL");
    }
    let began = Instant::now();
    let agents = ["pods", "--namespace=kube-system", "--selector=app.kubernetes.io/name=underpass"];
    let back = wait_for(NOTICED_WITHIN, || {
        let pods = cluster.get(&agents).map_err(|error| format!("{error:#}"))?;
        let statuses = pods["items"].as_array().into_iter().flatten();
        let statuses = statuses.map(|pod| &pod["status"]["containerStatuses"][0]);
        let back = |status: &&Value| status["restartCount"] != 0 && status["ready"] == true;
        let back = statuses.filter(back).count();
        if back == NODES.len() { Ok(()) } else { Err(format!("{back} of {}", NODES.len())) }
    });
    screen.check("they are back", || back.map(|((), took)| format!("after {:.1} s", took.as_secs_f32())));
    let took = began.elapsed().as_secs_f32();
    screen.check("a ping across nodes each millisecond meanwhile", || {
        let loss = ping.stop().map_err(|error| format!("{error:#}"))?;
        if loss.lost() == 0 {
            Ok(format!("none of {} lost in {took:.1} s", loss.sent))
        } else {
            Err(format!("{loss:?}"))
        }
    });
}

fn the_flows_have_names(cluster: &Cluster, pods: &Pods, screen: &mut Screen) {
    Screen::chapter("agentctl flows dump, in the agent's pod");
    let dump = cluster.agentctl(NODES[0], &["flows", "dump"]);
    let named = pods.iter().filter(|pod| dump.contains(&format!("default/{}", pod.0))).count();
    for line in dump.lines().take(FLOWS_SHOWN) {
        Screen::detail(&line.chars().take(FLOW_WIDTH).collect::<String>());
    }
    screen.check("it names the node's pods", || {
        if named == 2 { Ok("both".to_owned()) } else { Err(format!("{named} of 2")) }
    });
}

fn things_to_try(cluster: &Cluster) {
    let [kubectl, helm, inside] = ["kubectl", "helm", "in"].map(|name| cluster.program(name));
    Screen::chapter("It stays until Ctrl-C. Things to try in another terminal:");
    for words in ["get nodes,pods -A -o wide", "get events", "exec deployment/shop -- ping 10.244.0.1"] {
        Screen::say(&format!("  {kubectl} {words}"));
    }
    for words in ["status", "flows dump", "doctor"] {
        Screen::say(&format!("  {kubectl} -n kube-system exec ds/underpass -- agentctl {words}"));
    }
    Screen::say(&format!("  {helm} -n kube-system get values underpass"));
    Screen::say(&format!("  {inside} node1 ovs-vsctl show"));
}
