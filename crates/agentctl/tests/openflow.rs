//! `agentctl openflow`: the real binary, without an agent.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

/// Runs the verb with these arguments and lines.
fn run(arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_agentctl"))
        .arg("openflow")
        .args(arguments)
        .env("UNDERPASS_SOCKET", "/nonexistent")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().unwrap();
    drop(writer.join());
    output
}

#[track_caller]
fn check(arguments: &[&str], input: &str, status: i32, stdout: &str) {
    let output = run(arguments, input);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!((output.status.code(), text.as_str()), (Some(status), stdout), "{arguments:?}");
}

const BARRIER: &str = "0614000800000003";

#[test]
fn messages_print_as_ovs_ofctl_prints_them() {
    let text = "OFPT_BARRIER_REQUEST (OF1.5) (xid=0x3):\n";
    check(&["print", BARRIER], "", 0, text);
    check(&["print"], &format!("06 14 00 08  00 00 00 03\n{BARRIER}\n"), 0, &text.repeat(2));
    let output = run(&["print", "0609000c0000000100070080"], "");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stdout).unwrap().starts_with(
        "OFPT_SET_CONFIG (OF1.5) (xid=0x1): ***decode error: OFPSCFC_BAD_FLAGS***\n00000000  06 09"
    ));
}

#[test]
fn actions_instructions_and_matches_go_both_ways() {
    let output = "00000010000000010000000000000000";
    check(&["actions", "output:1"], "", 0, &format!("{output}\n"));
    check(&["actions"], output, 0, "output:1\n");
    check(
        &["instructions", "write_actions(output:1),goto_table:2"],
        "",
        0,
        &format!("00030018000000{}{output}0001000802000000\n", "00"),
    );
    check(&["instructions", "0001000802000000"], "", 0, "goto_table:2\n");
    check(
        &["match", "ip,nw_src=10.0.0.0/8"],
        "",
        0,
        "80000a02080080001708 0a000000ff000000\n".replace(' ', "").as_str(),
    );
    check(&["match", "80000a020800"], "", 0, "ip\n");
    // A register of its own in 1.3, half a pair in 1.5.
    check(&["match", "reg0=1", "--of", "1.3"], "", 0, "0001000400000001\n");
    check(&["match", "reg0=1"], "", 0, "800101100000000100000000ffffffff00000000\n");
}

#[test]
fn flows_groups_and_meters_become_messages() {
    let starts = |arguments: &[&str], head: &str| {
        let output = run(arguments, "");
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && text.starts_with(head), "{arguments:?}: {text}");
    };
    starts(&["flow-mod", "table=1,ip,actions=output:1"], "060e005800000000");
    starts(&["--of", "1.3", "flow-mod", "ip,actions=drop"], "040e004000000000");
    starts(
        &["flow-mod", "--command", "delete", "ip"],
        "060e0040000000000000000000000000000000000000000 0ff03".replace(' ', "").as_str(),
    );
    starts(&["group-mod", "group_id=1,type=select,bucket=output:1"], "060f");
    starts(
        &["group-mod", "--command", "remove-bucket", "group_id=1,command_bucket_id=all"],
        "060f0018000000000005",
    );
    starts(&["meter-mod", "meter=1,kbps,band=type=drop,rate=5"], "061d0020000000000000000100000001");
}

#[test]
fn each_line_of_json_answers_one_line_whatever_it_says() {
    let input = format!("{BARRIER}\nnonsense\n\n0563000800000001\n{BARRIER}");
    let output = run(&["print", "--json-lines"], &input);
    assert_eq!(output.status.code(), Some(1));
    let lines: Vec<Value> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let barrier =
        json!({"text": "OFPT_BARRIER_REQUEST (OF1.5) (xid=0x3):", "reencoded": BARRIER, "error": null});
    assert_eq!(lines.len(), 5);
    assert_eq!((&lines[0], &lines[4]), (&barrier, &barrier));
    assert_eq!((&lines[1]["text"], &lines[1]["reencoded"]), (&json!("nonsense"), &Value::Null));
    assert_eq!(lines[1]["error"], "not a message in hexadecimal");
    assert_eq!(
        (&lines[3]["error"], &lines[3]["reencoded"]),
        (&json!("OFPBRC_BAD_TYPE"), &json!("0563000800000001"))
    );
    let output = run(&["actions", "--json-lines"], "output:1\nfoo(\n0000001000000001000000000000000f\n");
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.lines().count(), 3, "{text}");
    assert!(
        text.starts_with(
            r#"{"text":"output:1","reencoded":"00000010000000010000000000000000","error":null}"#
        )
    );
}

/// A TCP segment over IPv4 over Ethernet in a record of a pcap file.
fn record(source_port: u16, sequence: u32, flags: u8, data: &[u8]) -> Vec<u8> {
    let mut tcp =
        [&source_port.to_be_bytes()[..], &6653_u16.to_be_bytes(), &sequence.to_be_bytes(), &[0; 4]].concat();
    tcp.extend([0x50, flags, 0, 0, 0, 0, 0, 0]);
    tcp.extend(data);
    let total = u16::try_from(20 + tcp.len()).unwrap();
    let mut packet =
        [&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0][..], &total.to_be_bytes(), &[0; 5], &[6, 0, 0]]
            .concat();
    packet.extend([10, 0, 0, 1, 10, 0, 0, 2]);
    packet.extend(tcp);
    // Ethernet pads what is short.
    packet.resize(packet.len().max(60), 0);
    let len = u32::try_from(packet.len()).unwrap().to_le_bytes();
    [&[0; 8][..], &len, &len, &packet].concat()
}

#[test]
fn a_captured_channel_is_put_together() {
    let barrier = [6, 20, 0, 8, 0, 0, 0, 3];
    let echo = [6, 2, 0, 8, 0, 0, 0, 4];
    let mut file =
        [&0xa1b2_c3d4_u32.to_le_bytes()[..], &[2, 0, 4, 0], &[0; 12], &1_u32.to_le_bytes()].concat();
    file.extend(record(1000, u32::MAX - 3, 2, b""));
    // The end of a message before its beginning, across the wrap of sequence numbers, and sent twice.
    file.extend(record(1000, 1, 0x10, &[&barrier[4..], &echo[..]].concat()));
    file.extend(record(2000, 7, 0x10, &echo));
    file.extend(record(1000, u32::MAX - 2, 0x10, &barrier[..4]));
    file.extend(record(1000, u32::MAX - 2, 0x10, &barrier));
    file.extend(record(3000, 7, 0x10, b"GET / HTTP/1.1\r\n"));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("channel.pcap");
    std::fs::write(&path, &file).unwrap();
    let shown = |path: &Path| run(&["print", "--pcap", path.to_str().unwrap()], "");
    let output = shown(&path);
    let (ping, barrier) = (
        "OFPT_ECHO_REQUEST (OF1.5) (xid=0x4): 0 bytes of payload\n",
        "OFPT_BARRIER_REQUEST (OF1.5) (xid=0x3):\n",
    );
    assert_eq!(String::from_utf8(output.stdout).unwrap(), [ping, barrier, ping].concat());
    std::fs::write(&path, b"no capture at all, but long enough").unwrap();
    assert_eq!(shown(&path).status.code(), Some(1));
}
