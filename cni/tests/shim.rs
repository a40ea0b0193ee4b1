//! The shim as the container runtime meets it: the real binary, against an agent that follows a script.

#[path = "shim/fake_agent.rs"]
mod fake_agent;
#[path = "shim/runtime.rs"]
mod runtime;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use agent_api::cni::v1::{Start, Verb};
use fake_agent::{FakeAgent, Line};
use prost::Message as _;
use runtime::{Outcome, Runtime};
use serde_json::{Value, json};

const CONFIG: &str = r#"{"cniVersion":"1.0.0","name":"n","type":"underpass"}"#;

/// A directory with a socket path in it, and a runtime that points the shim there.
struct Bench {
    dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn runtime(&self, verb: &str) -> Runtime {
        Runtime::new(verb, &self.dir.path().join("agent.sock"), self.dir.path()).stdin(CONFIG)
    }

    fn agent(&self, script: impl IntoIterator<Item = Line>) -> FakeAgent {
        FakeAgent::start(&self.dir.path().join("agent.sock"), script.into_iter().collect())
    }

    /// An IPAM plugin of that name: a shell script.
    fn plugin(&self, name: &str, body: &str) {
        let file = self.dir.path().join(name);
        fs::write(&file, format!("#!/bin/sh\n{body}\n")).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// A plugin that starts another process and does not end; tells both pids, its own last.
    fn slow_plugin(&self) -> Line {
        let [child, pid] = self.slow_pids().map(|file| file.display().to_string());
        self.plugin("slow", &format!("sleep 600 & echo $! > {child}; echo $$ > {pid}; wait"));
        Line::RunIpam { verb: Verb::Add, plugin: "slow".into(), stdin: Vec::new() }
    }

    /// Where it tells them.
    fn slow_pids(&self) -> [PathBuf; 2] {
        ["child", "pid"].map(|name| self.dir.path().join(name))
    }

    #[track_caller]
    fn assert_slow_plugin_ends(&self) {
        for file in self.slow_pids() {
            let pid = fs::read_to_string(file).unwrap();
            wait_for(|| is_gone(Path::new(&format!("/proc/{}/status", pid.trim()))).then_some(()));
        }
    }

    fn spooled(&self) -> Vec<Start> {
        let Ok(entries) = fs::read_dir(self.dir.path().join("spool")) else { return Vec::new() };
        entries
            .map(|entry| {
                let entry = entry.unwrap();
                assert!(agent_api::is_spool_file(entry.file_name().to_str().unwrap()), "{entry:?}");
                assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600);
                Start::decode(fs::read(entry.path()).unwrap().as_slice()).unwrap()
            })
            .collect()
    }
}

fn error_of(outcome: &Outcome) -> (u64, String, String) {
    assert_ne!(outcome.exit, Some(0), "{outcome:?}");
    let error: Value = serde_json::from_slice(&outcome.stdout).expect("one JSON object on stdout");
    let text = |key: &str| error.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    assert_eq!(text("cniVersion"), "1.0.0");
    (error["code"].as_u64().unwrap(), text("msg"), text("details"))
}

fn done(exit: i32, stdout: &str) -> Line {
    Line::Done { exit, stdout: stdout.as_bytes().to_vec() }
}

#[test]
fn a_person_who_asks_is_told_what_it_is() {
    let said = |word: &str| {
        let command = &mut std::process::Command::new(env!("CARGO_BIN_EXE_underpass-cni"));
        let output = command.arg(word).env_remove("CNI_COMMAND").output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(said("--help").contains("CNI plugin of Underpass"));
    assert_eq!(said("--version"), concat!("underpass-cni ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn an_add_passes_everything_on_and_prints_what_comes_back() {
    let bench = Bench::new();
    let agent = bench.agent([Line::Accept, done(0, r#"{"cniVersion":"1.0.0"}"#), Line::ExpectAck]);
    let outcome = bench.runtime("ADD").env("CNI_ARGS", "K8S_POD_NAME=a;X=b=c").run();
    assert_eq!((outcome.exit, outcome.text()), (Some(0), "{\"cniVersion\":\"1.0.0\"}\n"));
    let start = agent.finish().start;
    assert_eq!(start.verb(), Verb::Add);
    assert_eq!(start.container_id, "c0ffee");
    assert_eq!(start.netns, "/run/netns/x");
    assert_eq!(start.ifname, "net1");
    assert_eq!(start.args, "K8S_POD_NAME=a;X=b=c");
    assert_eq!(start.path, bench.dir.path().to_str().unwrap());
    assert_eq!(start.stdin, CONFIG.as_bytes());
    assert_eq!(start.argv0, "underpass-cni");
    assert!(start.boottime_ns <= agent_api::boottime_ns());
    assert!(
        agent_api::boottime_ns() - start.boottime_ns < 10_000_000_000,
        "stamped at the start of the call"
    );
}

#[test]
fn an_error_of_the_agent_is_printed_as_it_is() {
    let bench = Bench::new();
    let agent = bench.agent([Line::Accept, done(1, r#"{"code":100}"#), Line::ExpectAck]);
    let outcome = bench.runtime("ADD").run();
    assert_eq!((outcome.exit, outcome.text()), (Some(1), "{\"code\":100}\n"));
    agent.finish();
}

#[test]
fn version_is_answered_without_an_agent() {
    let outcome = Bench::new().runtime("VERSION").stdin(r#"{"cniVersion":"0.4.0"}"#).run();
    let answer: Value = serde_json::from_slice(&outcome.stdout).unwrap();
    let expected = json!({"cniVersion": "0.4.0", "supportedVersions": ["0.3.1", "0.4.0", "1.0.0", "1.1.0"]});
    assert_eq!((outcome.exit, answer), (Some(0), expected));
}

#[test]
fn missing_variables_are_named() {
    let bench = Bench::new();
    let outcome = bench.runtime("ADD").unset("CNI_IFNAME").env("CNI_NETNS", "").run();
    let (code, msg, _) = error_of(&outcome);
    assert_eq!((code, msg.as_str()), (4, "required environment variables CNI_NETNS, CNI_IFNAME are missing"));
    let (code, msg, _) = error_of(&bench.runtime("ADD").unset("CNI_COMMAND").run());
    assert_eq!((code, msg.as_str()), (4, "required environment variable CNI_COMMAND is missing"));
    let (code, msg, _) = error_of(&bench.runtime("MEND").run());
    assert_eq!((code, msg.as_str()), (4, "CNI_COMMAND 'MEND' is not known"));
}

#[test]
fn without_an_agent_add_and_check_say_try_again_and_status_says_not_available() {
    let bench = Bench::new();
    for (verb, expected) in [("ADD", 11), ("CHECK", 11), ("STATUS", 50)] {
        let outcome = bench.runtime(verb).run();
        let (code, msg, details) = error_of(&outcome);
        assert_eq!((code, msg.as_str()), (expected, "the agent is not running on this node"));
        assert!(details.contains("agent.sock"), "{details}");
        assert!(outcome.took < Duration::from_millis(500), "{outcome:?}");
    }
    assert_eq!(bench.spooled(), []);
}

#[test]
fn without_an_agent_del_and_gc_go_to_the_spool_and_succeed() {
    let bench = Bench::new();
    for verb in ["DEL", "GC"] {
        let outcome = bench.runtime(verb).run();
        assert_eq!((outcome.exit, outcome.text()), (Some(0), ""));
    }
    let mut starts = bench.spooled();
    starts.sort_by_key(|start| start.boottime_ns);
    assert_eq!(starts.iter().map(Start::verb).collect::<Vec<_>>(), [Verb::Del, Verb::Gc]);
    assert!(starts.iter().all(|start| start.stdin == CONFIG.as_bytes()));
    let mode = fs::metadata(bench.dir.path().join("spool")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[test]
fn a_call_too_large_for_the_spool_is_to_be_tried_again() {
    let bench = Bench::new();
    let (code, _, details) = error_of(&bench.runtime("DEL").stdin(&padded_config(70_000)).run());
    assert_eq!(code, 11);
    assert!(details.contains("the spool takes 65536"), "{details}");
    assert_eq!(bench.spooled(), []);
}

#[test]
fn a_full_spool_takes_no_more() {
    let bench = Bench::new();
    let spool = bench.dir.path().join("spool");
    fs::create_dir(&spool).unwrap();
    for number in 0..4096 {
        fs::write(spool.join(number.to_string()), "").unwrap();
    }
    let (code, _, details) = error_of(&bench.runtime("DEL").run());
    assert_eq!(code, 11);
    assert!(details.contains("holds 4096 calls already"), "{details}");
}

#[test]
fn an_agent_that_does_not_accept_in_time_is_away() {
    let bench = Bench::new();
    let agent = bench.agent([Line::Hang]);
    let outcome = bench.runtime("DEL").run();
    assert_eq!(outcome.exit, Some(0));
    assert_eq!(bench.spooled().len(), 1);
    let took = outcome.took.as_millis();
    assert!((500..1500).contains(&took), "{took} ms");
    agent.finish();
}

#[test]
fn a_time_to_accept_that_is_none_is_refused() {
    for value in ["x", "-1", "0", "60001", "1.5"] {
        let variable = agent_api::ACCEPT_TIMEOUT_VARIABLE;
        let (code, msg, _) = error_of(&Bench::new().runtime("DEL").env(variable, value).run());
        let expected = format!("{variable} is \"{value}\": expected milliseconds from 1 to 60000");
        assert_eq!((code, msg), (4, expected));
    }
}

#[test]
fn a_socket_that_nobody_serves_is_given_up_in_time() {
    let bench = Bench::new();
    let socket = std::os::unix::net::UnixListener::bind(bench.dir.path().join("agent.sock")).unwrap();
    let outcome = bench.runtime("ADD").run();
    assert_eq!(error_of(&outcome).0, 11);
    assert!((500..1500).contains(&outcome.took.as_millis()), "{outcome:?}");
    drop(socket);
}

#[test]
fn a_stream_that_breaks_before_the_result_is_an_error_of_add_and_a_spooled_del() {
    for (verb, spooled) in [("ADD", 0), ("DEL", 1)] {
        let bench = Bench::new();
        let agent = bench.agent([Line::Accept, Line::Break]);
        let outcome = bench.runtime(verb).run();
        if verb == "ADD" {
            let (code, msg, details) = error_of(&outcome);
            assert_eq!((code, msg.as_str()), (11, "the agent went away during the call"));
            // A sentence, not how Rust prints a value.
            assert!(!details.is_empty() && !details.contains(['(', '{', '"', '\'']), "{details}");
        } else {
            assert_eq!((outcome.exit, outcome.text()), (Some(0), ""));
        }
        assert_eq!(bench.spooled().len(), spooled);
        agent.finish();
    }
}

#[test]
fn large_input_and_output_pass_whole() {
    let bench = Bench::new();
    let result = "x".repeat(4 << 20);
    let agent = bench.agent([Line::Accept, done(0, &result), Line::ExpectAck]);
    let config = padded_config(4 << 20);
    assert_eq!(config.len(), 4 << 20);
    let outcome = bench.runtime("ADD").stdin(&config).run();
    assert_eq!((outcome.exit, outcome.stdout.len()), (Some(0), (4 << 20) + 1), "and a new line");
    assert_eq!(agent.finish().start.stdin.len(), 4 << 20);
}

#[test]
fn input_above_the_limit_is_refused() {
    let (code, msg, _) = error_of(&Bench::new().runtime("ADD").stdin(&padded_config((4 << 20) + 1)).run());
    assert_eq!((code, msg.as_str()), (6, "standard input is longer than 4194304 bytes"));
}

#[test]
fn a_runtime_that_does_not_listen_gets_no_ack_and_no_panic() {
    let bench = Bench::new();
    let agent = bench.agent([Line::Accept, done(0, "{}"), Line::ExpectNoAck]);
    let outcome = bench.runtime("ADD").run_with_closed_stdout();
    assert_eq!(outcome.exit, Some(1));
    assert_eq!(outcome.stderr, "");
    agent.finish();
}

#[test]
fn a_plugin_runs_in_the_environment_of_the_call() {
    let bench = Bench::new();
    bench.plugin(
        "fake",
        r#"echo "$CNI_COMMAND $CNI_CONTAINERID $CNI_IFNAME $EXTRA"; cat; echo oops >&2; exit 3"#,
    );
    let agent = bench.agent([
        Line::Accept,
        Line::RunIpam { verb: Verb::Del, plugin: "fake".into(), stdin: b"input".to_vec() },
        Line::ExpectIpam,
        done(0, ""),
        Line::ExpectAck,
    ]);
    let outcome = bench.runtime("ADD").env("EXTRA", "more").run();
    assert_eq!(outcome.exit, Some(0));
    let ran = agent.finish().ipam.remove(0);
    assert_eq!((ran.seq, ran.exit, ran.failure.as_str()), (1, 3, ""));
    assert_eq!(String::from_utf8(ran.stdout).unwrap(), "DEL c0ffee net1 more\ninput");
    assert_eq!(String::from_utf8(ran.stderr).unwrap(), "oops\n");
}

#[test]
fn several_plugins_run_one_after_another() {
    let bench = Bench::new();
    bench.plugin("first", "echo 1");
    bench.plugin("second", "kill -KILL $$");
    let run = |name: &str| Line::RunIpam { verb: Verb::Add, plugin: name.into(), stdin: Vec::new() };
    let agent = bench.agent([
        Line::Accept,
        run("first"),
        Line::ExpectIpam,
        run("second"),
        Line::ExpectIpam,
        done(0, ""),
        Line::ExpectAck,
    ]);
    assert_eq!(bench.runtime("ADD").run().exit, Some(0));
    let ran = agent.finish().ipam;
    assert_eq!(ran.iter().map(|run| (run.seq, run.exit)).collect::<Vec<_>>(), [(1, 0), (2, 128 + 9)]);
}

#[test]
fn a_plugin_that_cannot_run_is_an_outcome() {
    let bench = Bench::new();
    fs::write(bench.dir.path().join("plain"), "no program").unwrap();
    for name in ["absent", "plain", "../bin/sh", "", ".."] {
        let run = Line::RunIpam { verb: Verb::Add, plugin: name.into(), stdin: Vec::new() };
        let agent = bench.agent([Line::Accept, run, Line::ExpectIpam, done(0, ""), Line::ExpectAck]);
        assert_eq!(bench.runtime("ADD").run().exit, Some(0));
        let ran = agent.finish().ipam.remove(0);
        assert_eq!(ran.exit, 127);
        assert!(ran.failure.contains(&format!("'{name}'")), "{}", ran.failure);
    }
}

#[test]
fn the_output_of_plugins_is_bounded() {
    let bench = Bench::new();
    bench.plugin("loud", "head -c 5000000 /dev/zero; head -c 5000000 /dev/zero >&2");
    bench.plugin("chatty", "head -c 5000000 /dev/zero >&2; head -c 4194304 /dev/zero");
    let run = |name: &str| Line::RunIpam { verb: Verb::Add, plugin: name.into(), stdin: Vec::new() };
    let agent = bench.agent([
        Line::Accept,
        run("loud"),
        Line::ExpectIpam,
        run("chatty"),
        Line::ExpectIpam,
        done(0, ""),
        Line::ExpectAck,
    ]);
    assert_eq!(bench.runtime("ADD").run().exit, Some(0));
    let ran = agent.finish().ipam;
    assert!(ran[0].failure.ends_with("wrote more than 4194304 bytes"), "{}", ran[0].failure);
    assert_eq!((ran[1].exit, ran[1].stdout.len(), ran[1].stderr.len()), (0, 4 << 20, 64 << 10));
}

#[test]
fn a_plugin_and_what_it_started_die_when_the_shim_is_stopped() {
    let bench = Bench::new();
    let agent = bench.agent([Line::Accept, bench.slow_plugin(), Line::ExpectBroken]);
    let mut shim = bench.runtime("ADD").spawn();
    let [_, pid] = bench.slow_pids();
    wait_for(|| fs::read_to_string(&pid).ok().filter(|pid| pid.ends_with('\n')));
    shim.terminate();
    bench.assert_slow_plugin_ends();
    agent.finish();
}

#[test]
fn a_result_that_comes_while_a_plugin_runs_ends_the_plugin_and_what_it_started() {
    let bench = Bench::new();
    let [_, pid] = bench.slow_pids();
    let (run, started) = (bench.slow_plugin(), Line::WaitForFile(pid));
    let agent = bench.agent([Line::Accept, run, started, done(1, r#"{"code":11}"#), Line::ExpectAck]);
    let outcome = bench.runtime("ADD").run();
    assert_eq!((outcome.exit, outcome.text()), (Some(1), "{\"code\":11}\n"));
    bench.assert_slow_plugin_ends();
    agent.finish();
}

#[test]
fn a_plugin_that_was_about_to_end_gives_back_what_it_gave_though_the_agent_is_gone() {
    let bench = Bench::new();
    let log = bench.dir.path().join("log");
    let begun = bench.dir.path().join("begun");
    let body = format!(
        "echo $CNI_COMMAND >> {log}; [ $CNI_COMMAND = DEL ] || {{ touch {begun}; sleep 0.3; }}; cat >> {log}",
        log = log.display(),
        begun = begun.display()
    );
    bench.plugin("brief", &body);
    let run = Line::RunIpam { verb: Verb::Add, plugin: "brief".into(), stdin: b"{}\n".to_vec() };
    let agent = bench.agent([Line::Accept, run, Line::WaitForFile(begun), Line::Break]);
    let (code, _, _) = error_of(&bench.runtime("ADD").run());
    assert_eq!(code, 11);
    assert_eq!(fs::read_to_string(log).unwrap(), "ADD\n{}\nDEL\n{}\n");
    agent.finish();
}

#[test]
fn an_agent_that_speaks_out_of_turn_is_away() {
    let bench = Bench::new();
    let agent = bench.agent([done(0, "{}"), Line::Hang]);
    let (code, _, details) = error_of(&bench.runtime("ADD").run());
    assert_eq!((code, details.as_str()), (11, "the agent sent something before Accepted"));
    agent.finish();
}

/// A configuration of exactly that many bytes.
fn padded_config(length: usize) -> String {
    let frame = r#"{"cniVersion":"1.0.0","pad":""}"#.len();
    format!(r#"{{"cniVersion":"1.0.0","pad":"{}"}}"#, "x".repeat(length - frame))
}

/// Gone, or dead and not yet collected by its new parent.
fn is_gone(status: &Path) -> bool {
    fs::read_to_string(status).map_or(true, |text| text.contains("State:\tZ"))
}

fn wait_for<T>(mut probe: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(value) = probe() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited in vain");
        std::thread::sleep(Duration::from_millis(5));
    }
}
