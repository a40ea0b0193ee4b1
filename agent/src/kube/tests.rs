//! Requests as the API server sees them: a service in its place answers and writes down what it was asked.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use kube::client::Body;
use serde_json::{Value, json};

use super::Cluster;
use crate::config::{InCluster, Kubernetes};

const DAEMONSET: &str = "/apis/apps/v1/namespaces/kube-system/daemonsets/underpass";

/// What was asked: method, path with query, body.
type Asked = Arc<Mutex<Vec<(String, String, Value)>>>;

/// A cluster whose API server answers everything with `status` and `body`.
fn cluster(status: u16, body: Value) -> (Cluster, Asked) {
    let asked = Asked::default();
    let seen = Arc::clone(&asked);
    let service = tower::service_fn(move |request: http::Request<Body>| {
        let (seen, body) = (Arc::clone(&seen), body.to_string());
        async move {
            let (head, content) = request.into_parts();
            let content = content.collect_bytes().await.unwrap();
            let content = serde_json::from_slice(&content).unwrap_or(Value::Null);
            seen.lock().unwrap().push((head.method.to_string(), head.uri.to_string(), content));
            let response = http::Response::builder().status(status);
            Ok::<_, Infallible>(response.body(Body::from(body.into_bytes())).unwrap())
        }
    });
    let settings = Kubernetes {
        enabled: InCluster::Yes,
        node: None,
        daemonset: Some(("kube-system".to_owned(), "underpass".to_owned())),
        startup_taint: Some("underpass/starting".to_owned()),
        resources: true,
    };
    let client = kube::Client::new(service, "default");
    (Cluster { client, node: "node1".to_owned(), settings }, asked)
}

fn asked(asked: &Asked) -> Vec<(String, String)> {
    asked.lock().unwrap().iter().map(|(method, uri, _)| (method.clone(), uri.clone())).collect()
}

fn not_found() -> Value {
    json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404,
            "message": "daemonsets.apps \"underpass\" not found", "metadata": {} })
}

#[tokio::test]
async fn a_daemonset_that_is_there_means_a_restart() {
    let (cluster, requests) = cluster(200, json!({ "metadata": { "name": "underpass" } }));
    assert!(!cluster.leaves_for_good().await.unwrap());
    assert_eq!(asked(&requests), [("GET".to_owned(), DAEMONSET.to_owned())]);
}

#[tokio::test]
async fn a_daemonset_that_is_gone_or_going_means_for_good() {
    let (gone, _) = cluster(404, not_found());
    assert!(gone.leaves_for_good().await.unwrap());
    let metadata = json!({ "name": "underpass", "deletionTimestamp": "2026-01-01T00:00:00Z" });
    let (going, _) = cluster(200, json!({ "metadata": metadata }));
    assert!(going.leaves_for_good().await.unwrap());
}

#[tokio::test]
async fn who_may_not_ask_does_not_know() {
    let (cluster, _) = cluster(403, json!({ "kind": "Status", "status": "Failure", "code": 403 }));
    let error = cluster.leaves_for_good().await.unwrap_err();
    assert_eq!(error.to_string(), "reading the agent's DaemonSet failed");
}

#[tokio::test]
async fn an_uninstall_waits_in_the_foreground_and_is_done_when_nothing_is_there() {
    let (cluster, requests) = cluster(404, not_found());
    cluster.uninstall().await.unwrap();
    let requests = requests.lock().unwrap();
    assert_eq!((requests[0].0.as_str(), requests[0].1.as_str()), ("DELETE", &format!("{DAEMONSET}?")[..]));
    assert_eq!(requests[0].2["propagationPolicy"], "Foreground");
}

#[tokio::test]
async fn only_our_taint_is_taken_off() {
    let taints = json!([{ "key": "underpass/starting", "effect": "NoSchedule" },
                        { "key": "theirs", "effect": "NoExecute", "value": "x" }]);
    let node =
        json!({ "metadata": { "name": "node1", "resourceVersion": "7" }, "spec": { "taints": taints } });
    let (cluster, requests) = cluster(200, node);
    cluster.remove_startup_taint().await.unwrap();
    let requests = requests.lock().unwrap();
    let (method, _, patch) = &requests[1];
    assert_eq!(method, "PATCH");
    assert_eq!(patch["metadata"]["resourceVersion"], "7");
    assert_eq!(patch["spec"]["taints"], json!([{ "key": "theirs", "effect": "NoExecute", "value": "x" }]));
}

#[tokio::test]
async fn a_node_without_our_taint_is_not_written() {
    let (cluster, requests) = cluster(200, json!({ "metadata": { "name": "node1" }, "spec": {} }));
    cluster.remove_startup_taint().await.unwrap();
    assert_eq!(asked(&requests), [("GET".to_owned(), "/api/v1/nodes/node1".to_owned())]);
}

#[tokio::test]
async fn bridges_become_resources_and_cease_to_be() {
    let (cluster, requests) = cluster(200, json!({ "metadata": { "name": "node1" } }));
    let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    cluster.offer_bridges(&set(&["br1"]), &set(&["br0", "br1"])).await.unwrap();
    let requests = requests.lock().unwrap();
    assert!(requests[0].1.starts_with("/api/v1/nodes/node1/status"), "{}", requests[0].1);
    let capacity =
        json!({ "ovs-cni.network.kubevirt.io/br1": "1k", "ovs-cni.network.kubevirt.io/br0": null });
    assert_eq!(requests[0].2["status"]["capacity"], capacity);
}
