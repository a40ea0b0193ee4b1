//! Many pods: what is left of them.
//!
//! Run by `cargo xtask test --cluster`, as `cluster.rs` is.

use e2e::{Cluster, NODES};

#[test]
fn churn_and_forced_deletions_leave_nothing_behind() {
    let cluster = Cluster::up();
    cluster.install();
    cluster.apply("pods.yaml");
    cluster.running("shop", 4);
    cluster.kubectl(&["scale", "deployment", "shop", "--replicas=0"]);
    cluster.assert_gone("shop");
    let before = NODES.map(|node| cluster.holdings(node).expect("what it holds"));
    cluster.apply("job.yaml");
    cluster.kubectl(&["wait", "--for=condition=Complete", "job/errands", "--timeout=300s"]);
    cluster.kubectl(&["delete", "job", "errands"]);
    for _ in 0..3 {
        cluster.kubectl(&["scale", "deployment", "shop", "--replicas=20"]);
        cluster.running("shop", 20);
        cluster.kubectl(&[
            "delete",
            "pods",
            "--selector=app=shop",
            "--grace-period=0",
            "--force",
            "--wait=false",
        ]);
    }
    cluster.kubectl(&["scale", "deployment", "shop", "--replicas=0"]);
    cluster.assert_gone("shop");
    for (node, before) in NODES.into_iter().zip(before) {
        cluster.assert_holds(node, before);
    }
}
