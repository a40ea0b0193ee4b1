//! Many pods at once: the bad ones fail for their own reasons, the others do not notice.

use std::thread;
use std::time::Instant;

use e2e::{Answer, Lab, Pod};
use serde_json::json;

const PODS: usize = 30;

/// CNI error codes of two of the bad ones; the third is IPAM's own affair.
const BAD_CONFIG: u64 = 7;
const CONFLICT: u64 = 100;

#[test]
fn of_thirty_adds_at_once_three_bad_ones_fail_and_27_succeed() {
    let lab = Lab::usual();
    let thief = lab.foreign_host("thief", &["10.0.0.200/24"]);
    let exhausted = json!([[{ "subnet": "10.9.0.0/24", "rangeStart": "10.9.0.1", "rangeEnd": "10.9.0.1" }]]);
    let exhausted = json!({ "type": "host-local", "dataDir": lab.room_path("ipam"), "ranges": exhausted });
    let draw = |number: usize| {
        let pod = lab.pod(&format!("p{number}"));
        match number {
            5 => pod.key("vlann", 10),
            15 => pod.address("10.0.0.200/24"),
            25 => pod.without_ipam().key("ipam", exhausted.clone()),
            _ => pod,
        }
        .place()
    };
    let pods: Vec<Pod<'_>> = (0..PODS).map(draw).collect();

    let began = Instant::now();
    let answers: Vec<Answer> = thread::scope(|scope| {
        let calls: Vec<_> = pods.iter().map(|pod| scope.spawn(|| pod.add())).collect();
        calls.into_iter().map(|call| call.join().expect("an ADD")).collect()
    });
    e2e::note(&format!("{PODS} ADDs at once took {:?}", began.elapsed()));

    let spelling = answers[5].failed_with(BAD_CONFIG);
    assert!(spelling.contains("vlann"), "{spelling}");
    let conflict = answers[15].failed_with(CONFLICT);
    assert!(conflict.contains(&thief.mac().to_string()), "{conflict}");
    assert!(answers[25].complaint().contains("no IP addresses available"), "{:?}", answers[25]);
    for (number, answer) in answers.iter().enumerate().filter(|(number, _)| ![5, 15, 25].contains(number)) {
        assert_eq!(answer.exit, Some(0), "pod {number}: {answer:?}");
    }
    let good: Vec<&Pod<'_>> =
        pods.iter().enumerate().filter(|(n, _)| ![5, 15, 25].contains(n)).map(|(_, p)| p).collect();
    for pair in good.windows(2) {
        pair[0].assert_reaches(pair[1].v4());
    }
    lab.eventually(10, "nothing is left of the three bad ones", || {
        let tally = lab.agent().status().map_err(|error| format!("{error:#}"))?.endpoints.unwrap_or_default();
        let counts = (tally.ready, tally.pending, tally.failed);
        if counts == (27, 0, 0) { Ok(()) } else { Err(format!("{counts:?}")) }
    });

    thread::scope(|scope| {
        for pod in &pods {
            scope.spawn(|| pod.del().succeeded());
        }
    });
    lab.finish();
}
