//! Namespaces made by the test itself: an unshared thread's, kept alive by the descriptor alone, so nothing is left.

use std::path::Path;
use std::time::Duration;

use nix::sched::{CloneFlags, unshare};
use nix::unistd::Pid;

use super::{Netns, NetnsError, ProcRoot};

/// A new, empty network namespace without a name. It goes away with its last descriptor.
pub(crate) fn fresh() -> Netns {
    std::thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).expect("these tests make network namespaces and must run as root");
        Netns::current().expect("a thread can open its own namespace")
    })
    .join()
    .expect("the thread that makes a namespace does not panic")
}

#[test]
fn work_runs_inside_and_the_caller_stays_outside() {
    let outside = Netns::current().unwrap();
    let pod = fresh();
    let seen = pod.run(|| Netns::current().unwrap()).unwrap();
    assert!(seen.same_as(&pod));
    assert!(!pod.same_as(&outside));
    assert!(Netns::current().unwrap().same_as(&outside));
}

#[tokio::test]
async fn work_for_a_task_has_a_deadline() {
    let pod = fresh();
    let seen = pod.call(Duration::from_secs(5), || Netns::current().unwrap()).await.unwrap();
    assert!(seen.same_as(&pod));
    let (release, held) = std::sync::mpsc::channel::<()>();
    let late = pod.call(Duration::from_millis(20), move || held.recv()).await;
    assert!(matches!(late, Err(NetnsError::Timeout { .. })), "{late:?}");
    drop(release);
}

#[test]
fn a_panic_inside_is_an_error_outside() {
    let outcome: Result<(), _> = fresh().run(|| panic!("on purpose"));
    assert!(matches!(outcome, Err(NetnsError::Panicked { .. })));
}

#[test]
fn what_is_no_network_namespace_is_refused_by_name() {
    for path in ["/etc/passwd", "/proc/self/ns/mnt", "/proc/self/status", "/dev/null"] {
        let error = Netns::open(Path::new(path)).unwrap_err();
        assert_eq!(error.to_string(), format!("{path} is not a network namespace"));
    }
    let error = Netns::open(Path::new("/run/netns/there-is-none")).unwrap_err();
    assert_eq!(error.to_string(), "open network namespace /run/netns/there-is-none");
}

#[test]
fn a_peers_path_is_opened_through_its_root() {
    let me = Pid::this();
    let magic = Netns::open_of_peer(&ProcRoot::default(), me, Path::new("/proc/self/ns/net")).unwrap();
    assert!(magic.same_as(&Netns::open(Path::new("/proc/self/ns/net")).unwrap()));
    let missing = Netns::open_of_peer(&ProcRoot::default(), me, Path::new("/nowhere/x")).unwrap_err();
    assert_eq!(missing.to_string(), "open network namespace /nowhere/x");
}

#[test]
fn absolute_links_count_from_the_peers_root() {
    let dir = std::env::temp_dir().join(format!("underpass-netns-{}", std::process::id()));
    std::fs::create_dir_all(dir.join("run")).unwrap();
    std::fs::write(dir.join("run/inside"), "").unwrap();
    let link = dir.join("link");
    std::os::unix::fs::symlink("/run/inside", &link).unwrap();
    let opened = super::open_below(&dir, Path::new("link"), &link);
    std::fs::remove_dir_all(&dir).unwrap();
    opened.expect("`/run/inside` exists below the root only");
}
