//! What a person and a script see: the real binary, against an agent whose answers are written down.

#[path = "answers/fake_agent.rs"]
mod fake_agent;
#[path = "answers/node.rs"]
mod node;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use fake_agent::FakeAgent;
use insta::assert_snapshot;

/// A node with everything on it, and the words of one command line.
fn ask(line: &str) -> Output {
    let agent = FakeAgent::start();
    run(agent.socket(), line)
}

fn run(socket: &Path, line: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_agentctl"))
        .args(line.split(' '))
        .env("UNDERPASS_SOCKET", socket)
        .env("COLUMNS", "80")
        .env("TZ", "UTC")
        .output()
        .unwrap()
}

/// Standard output of a command line that succeeds.
fn told(line: &str) -> String {
    told_with(0, line)
}

/// Standard output of a command line with this exit status.
fn told_with(status: i32, line: &str) -> String {
    let output = ask(line);
    assert_eq!(output.status.code(), Some(status), "agentctl {line}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[track_caller]
fn check_exit(output: &Output, status: i32, stderr: &str) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), text.as_ref()), (Some(status), stderr));
}

#[test]
fn tables_read_well() {
    // Exit status 1 where something of the node with everything on it is out of order now.
    for (status, line) in [
        (1, "status"),
        (1, "endpoints"),
        (0, "endpoints shop/cart"),
        (1, "endpoints deadbeef"),
        (0, "flows dump"),
        (0, "drops"),
        (0, "drops shop/cart"),
        (1, "conflicts"),
        (1, "gateways"),
        (0, "accel"),
        (0, "accel explain shop/cart shop/till"),
        (0, "events"),
    ] {
        let text = told_with(status, line);
        let wide = text.lines().find(|line| line.chars().count() > 80);
        assert!(wide.is_none() || line == "flows dump", "agentctl {line}: {wide:?}");
        assert!(!text.contains('\u{1b}'), "colours in a pipe: {text}");
        assert_snapshot!(file_name(line), text);
    }
}

#[test]
fn json_has_every_field() {
    for line in ["endpoints shop/cart -o json", "flows dump -o json", "drops --output json"] {
        assert_snapshot!(file_name(line), without_times(&told(line)));
    }
}

#[test]
fn every_answer_is_json_when_asked() {
    for (status, line) in [
        (1, "status"),
        (1, "conflicts"),
        (1, "gateways"),
        (0, "accel"),
        (0, "accel explain shop/cart shop/till"),
        (0, "events"),
    ] {
        let text = told_with(status, &format!("{line} -o json"));
        assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok(), "agentctl {line}: {text}");
    }
}

#[test]
fn what_goes_on_is_one_line_each() {
    assert_snapshot!("drops_watch", told("drops --watch"));
    assert_snapshot!("events_follow", told("events --follow"));
    for line in told("drops --watch -o json").lines() {
        assert!(serde_json::from_str::<serde_json::Value>(line).is_ok(), "{line}");
    }
}

#[test]
fn a_failing_check_is_found() {
    let output = ask("doctor");
    check_exit(&output, 1, "");
    assert_snapshot!("doctor", String::from_utf8(output.stdout).unwrap());
    check_exit(&ask("doctor -o json"), 1, "");
}

#[test]
fn a_difference_of_flows_is_found() {
    let output = ask("flows dump --diff");
    check_exit(&output, 1, "");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("missing") && text.contains("drift") && !text.contains(" ok "), "{text}");
    let none = ask("flows dump --diff --table 229");
    check_exit(&none, 0, "");
    assert_eq!(none.stdout, b"no difference\n");
}

#[test]
fn a_bridge_that_cannot_be_read_is_not_said_to_have_no_difference() {
    let none = ask("flows dump --diff --bridge down --table 229");
    check_exit(&none, 3, "error: bridge down: it does not answer\n");
    assert_eq!(none.stdout, b"nothing is known: no bridge could be read\n");
    let half = ask("flows dump --diff --bridge half --table 229");
    check_exit(&half, 3, "error: bridge half: it does not answer\n");
    assert_eq!(half.stdout, b"no difference on the bridges that could be read\n");
}

#[test]
fn every_reason_is_explained() {
    let help = told("drops --help");
    for word in
        ["dhcp4_server", "new_destination_rate", "router advertisements", "FRAMES counts each frame once"]
    {
        assert!(help.contains(word), "{word}: {help}");
    }
}

#[test]
fn what_does_not_exist_is_named() {
    check_exit(&ask("endpoints shop/nobody"), 4, "error: no endpoint shop/nobody on this node\n");
    check_exit(&ask("endpoints --bridge nobr"), 4, "error: no bridge `nobr`\n");
}

#[test]
fn an_agent_out_of_reach_is_told_from_a_wrong_word() {
    let socket = PathBuf::from("/nonexistent/agent.sock");
    let output = run(&socket, "status");
    let stderr = String::from_utf8(output.stderr).unwrap();
    let (error, hint) = stderr.split_once('\n').unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(
        error,
        "error: the agent is out of reach: agent socket /nonexistent/agent.sock does not answer: \
         No such file or directory (os error 2)"
    );
    for word in ["hint: ", "systemctl status underpass-agent", "kubectl", "--socket"] {
        assert!(hint.contains(word), "{hint}");
    }
    assert_eq!(run(&socket, "flaws").status.code(), Some(2));
    assert_eq!(run(&socket, "accel explain one").status.code(), Some(2));
}

#[test]
fn a_switch_out_of_reach_is_told() {
    check_exit(&ask("flows dump --bridge gone"), 3, "error: bridge gone does not answer\n");
}

#[test]
fn a_bridge_that_cannot_be_read_takes_nothing_from_the_others() {
    let output = ask("flows dump --bridge half");
    check_exit(&output, 3, "error: bridge half: it does not answer\n");
    assert!(String::from_utf8(output.stdout).unwrap().starts_with("bridge br1, table 0"));
}

#[test]
fn a_bridge_without_flows_of_ours_is_said_to_have_none() {
    assert_eq!(told("flows dump --bridge empty"), "bridge empty: no flows of ours\n");
    let other = told("flows dump --table 77");
    assert_eq!(other, "bridge br1: none of its 6 flows of ours is what was asked for\n");
}

#[test]
fn completions_need_no_agent() {
    for shell in ["bash", "zsh", "fish"] {
        let output = run(Path::new("/nonexistent"), &format!("completions {shell}"));
        check_exit(&output, 0, "");
        assert!(String::from_utf8(output.stdout).unwrap().contains("gateways"));
    }
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let agent = FakeAgent::start();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let status = Command::new(env!("CARGO_BIN_EXE_agentctl"))
        .args(["--socket", agent.socket().to_str().unwrap(), "status"])
        .stdout(writer)
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(0));
}

/// The words of a command line as the name of its snapshot.
fn file_name(line: &str) -> String {
    line.replace(" --", "_").replace(" -", "_").replace([' ', '/'], "_")
}

/// The times of the fake node are relative to now; in JSON they are whole, so they are left out here.
fn without_times(json: &str) -> String {
    let is_time = |line: &&str| {
        ["\"since\"", "\"added\"", "\"at\"", "\"retry_at\""]
            .iter()
            .any(|key| line.trim_start().starts_with(key))
    };
    json.lines().filter(|line| !is_time(line)).collect::<Vec<_>>().join("\n")
}
