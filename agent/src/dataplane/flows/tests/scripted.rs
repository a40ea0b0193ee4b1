//! What no real switch does on demand: silence, doubt, nonsense. The session is driven by bytes and a made-up clock.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use openflow::message::flow_mod::FlowMod;
use openflow::{Flow, FlowEntry, FlowKey, Match, OfPort, TableId};
use tokio::net::UnixListener;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::super::channel::Channel;
use super::super::counts::Counts;
use super::super::request::{Request, Work};
use super::super::session::Session;
use super::super::{ConnectError, DumpScope, SwitchError};
use crate::limits;
use crate::plan::flows::Block;

const ERROR: u8 = 1;
const ECHO_REQUEST: u8 = 2;
const ECHO_REPLY: u8 = 3;
const MULTIPART_REPLY: u8 = 19;
const BARRIER_REQUEST: u8 = 20;
const BARRIER_REPLY: u8 = 21;
const BUNDLE_CONTROL: u8 = 33;
const BUNDLE_ADD: u8 = 34;

/// Bundle control types (OpenFlow 1.5.1, 7.3.9.2).
const COMMIT_REQUEST: u16 = 4;
const COMMIT_REPLY: u16 = 5;
const DISCARD_REQUEST: u16 = 6;

#[test]
fn a_bundle_waits_for_the_barrier_before_it_commits() {
    let mut script = Script::new();
    let mut answer = script.bundle();
    let sent = script.sent();
    assert_eq!(kinds(&sent), [BUNDLE_CONTROL, BUNDLE_ADD, BUNDLE_ADD, BARRIER_REQUEST]);
    script.hear(BARRIER_REPLY, xid(&sent[3]), &[]);
    let commit = script.sent();
    assert_eq!(control(&commit[0]), COMMIT_REQUEST);
    assert!(answer.try_recv().is_err(), "answered before the switch confirmed");
    script.hear(BUNDLE_CONTROL, xid(&commit[0]), &bundle_body(COMMIT_REPLY));
    assert_eq!(answer.try_recv().unwrap().unwrap(), []);
}

#[test]
fn an_error_before_the_barrier_discards_and_names_the_flow() {
    let mut script = Script::new();
    let mut answer = script.bundle();
    let sent = script.sent();
    // OFPET_BAD_MATCH (4), OFPBMC_BAD_PREREQ (9).
    script.hear(ERROR, xid(&sent[2]), &[0, 4, 0, 9]);
    script.hear(BARRIER_REPLY, xid(&sent[3]), &[]);
    assert_eq!(control(&script.sent()[0]), DISCARD_REQUEST);
    assert_eq!(answer.try_recv().unwrap().unwrap(), [(flow(2).key(), "OFPBMC_BAD_PREREQ".to_owned())]);
}

#[test]
fn a_bundle_without_a_barrier_in_time_is_discarded() {
    let mut script = Script::new();
    let mut answer = script.bundle();
    let sent = script.sent();
    script.pass(limits::BARRIER_DEADLINE);
    assert_eq!(control(&script.sent()[0]), DISCARD_REQUEST);
    assert!(matches!(answer.try_recv().unwrap(), Err(SwitchError::TimedOut { .. })));
    // The barrier comes late, and finds nobody.
    script.hear(BARRIER_REPLY, xid(&sent[3]), &[]);
    assert_eq!(script.sent().len(), 0);
}

#[test]
fn a_commit_without_an_answer_in_time_is_in_doubt() {
    let mut script = Script::new();
    let mut answer = script.bundle();
    let sent = script.sent();
    script.hear(BARRIER_REPLY, xid(&sent[3]), &[]);
    script.sent();
    script.pass(limits::BARRIER_DEADLINE);
    let error = answer.try_recv().unwrap().unwrap_err();
    assert!(error.is_in_doubt(), "{error}");
    assert_eq!(script.sent().len(), 0);
}

#[test]
fn a_bundle_whose_caller_went_away_is_discarded() {
    let mut script = Script::new();
    drop(script.bundle());
    let sent = script.sent();
    script.hear(BARRIER_REPLY, xid(&sent[3]), &[]);
    assert_eq!(control(&script.sent()[0]), DISCARD_REQUEST);
}

#[test]
fn a_request_that_waited_too_long_is_not_sent() {
    let mut script = Script::new();
    script.now += limits::BARRIER_DEADLINE;
    let (reply, mut answer) = oneshot::channel();
    let work = Work::Dump { scope: DumpScope::Guard(Block::new(220)), reply };
    script.session.start(Request { deadline: script.now, work }, script.now);
    assert_eq!(script.sent().len(), 0);
    assert!(matches!(answer.try_recv().unwrap(), Err(SwitchError::Busy { .. })));
}

#[test]
fn a_silent_switch_is_asked_and_then_given_up() {
    let mut script = Script::new();
    script.pass(limits::ECHO_AFTER);
    let sent = script.sent();
    assert_eq!(kinds(&sent), [ECHO_REQUEST]);
    script.hear(ECHO_REPLY, xid(&sent[0]), &[]);
    script.pass(limits::ECHO_AFTER);
    assert_eq!(kinds(&script.sent()), [ECHO_REQUEST]);
    script.now += limits::ECHO_AFTER;
    let error = script.session.tick(script.now).unwrap_err();
    assert!(matches!(error, ConnectError::Silent(_)), "{error}");
}

#[test]
fn an_echo_request_gets_its_own_bytes_back() {
    let mut script = Script::new();
    script.hear(ECHO_REQUEST, 77, b"still there?");
    let sent = script.sent();
    assert_eq!((kinds(&sent), xid(&sent[0])), (vec![ECHO_REPLY], 77));
    assert_eq!(&sent[0][8..], b"still there?");
}

#[test]
fn messages_may_come_in_any_pieces() {
    let mut script = Script::new();
    let mut answer = script.dump();
    let mut bytes = BytesMut::new();
    for request in script.sent_after_monitor() {
        bytes.extend(message(MULTIPART_REPLY, xid(&request), &[0, 1, 0, 0, 0, 0, 0, 0]));
    }
    let mut received = BytesMut::new();
    for byte in bytes {
        assert!(answer.try_recv().is_err(), "answered before the last byte");
        received.extend([byte]);
        script.session.received(&mut received, script.now).unwrap();
    }
    assert_eq!(answer.try_recv().unwrap().unwrap(), []);
}

#[test]
fn a_reply_that_cannot_be_read_costs_its_conversation_only() {
    let mut script = Script::new();
    let mut answer = script.dump();
    let sent = script.sent_after_monitor();
    // A flow whose length says one byte.
    script.hear(MULTIPART_REPLY, xid(&sent[0]), &[0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0]);
    let error = answer.try_recv().unwrap().unwrap_err();
    assert!(matches!(error, SwitchError::Malformed { .. }), "{error}");
    let mut answer = script.bundle();
    assert_eq!(script.sent().len(), 4);
    assert!(answer.try_recv().is_err());
}

#[test]
fn a_stream_without_frames_ends_the_connection() {
    let mut script = Script::new();
    let mut received = BytesMut::from(&b"\x06\x03\x00\x04\x00\x00\x00\x00"[..]);
    let error = script.session.received(&mut received, script.now).unwrap_err();
    assert!(matches!(error, ConnectError::Malformed(_)), "{error}");
}

#[test]
fn updates_by_others_disturb_and_replies_show_flows() {
    let mut script = Script::new();
    let mut answer = script.dump();
    let sent = script.sent_after_monitor();
    script.hear(MULTIPART_REPLY, 0, UPDATE);
    assert!(script.session.take_disturbance());
    // The same as an abbreviation: what this connection asked for itself.
    script.hear(MULTIPART_REPLY, 0, &[0, 16, 0, 0, 0, 0, 0, 0, 0, 8, 0, 4, 0, 0, 0, 9]);
    assert!(!script.session.take_disturbance());
    for request in &sent {
        script.hear(MULTIPART_REPLY, xid(request), FLOW);
    }
    let flows = answer.try_recv().unwrap().unwrap();
    let expected = flow(1).priority(3).cookie(5);
    assert!(flows.iter().all(|entry| entry.flow == expected), "{flows:?}");
    assert_eq!(flows.len(), sent.len());
}

#[test]
fn no_flipped_byte_of_any_message_is_a_panic() {
    let heard: [(u8, &[u8]); 5] = [
        (MULTIPART_REPLY, UPDATE),
        (MULTIPART_REPLY, FLOW),
        (ERROR, &[0, 4, 0, 9]),
        (BARRIER_REPLY, &[]),
        (BUNDLE_CONTROL, &[0, 0, 0, 1, 0, 5, 0, 3]),
    ];
    for (kind, body) in heard {
        for at in 0..8 + body.len() {
            for flip in [1, 0x80, 0xff] {
                let mut script = Script::new();
                let answers = (script.dump(), script.bundle());
                for sent in script.sent() {
                    let mut bytes = message(kind, xid(&sent), body);
                    bytes[at] ^= flip;
                    let mut received = BytesMut::from(bytes.as_slice());
                    // Any verdict will do, and the connection may end of it.
                    drop(script.session.received(&mut received, script.now));
                }
                drop(answers);
            }
        }
    }
}

#[test]
fn a_full_session_leaves_requests_in_the_queue() {
    let mut script = Script::new();
    let mut answers = Vec::new();
    while script.session.has_room() {
        answers.push(script.dump());
        assert!(answers.len() <= limits::SWITCH_QUEUE, "no bound");
    }
    script.pass(super::super::DUMP_DEADLINE);
    assert!(script.session.has_room(), "the overdue still take room");
    for mut answer in answers {
        assert!(matches!(answer.try_recv().unwrap(), Err(SwitchError::TimedOut { .. })));
    }
}

#[test]
fn a_frame_too_long_for_a_message_is_an_error_of_its_sender() {
    let mut script = Script::new();
    let (reply, mut answer) = oneshot::channel();
    let work = Work::PacketOut { in_port: OfPort(1), frame: Bytes::from(vec![0; 70_000]), reply };
    script.request(work);
    assert!(matches!(answer.try_recv().unwrap(), Err(SwitchError::Encode { .. })));
    assert_eq!(script.sent().len(), 0);
}

#[tokio::test]
async fn a_switch_that_closes_at_once_is_told_apart_from_one_that_is_not_there() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("br0.mgmt");
    let absent = Channel::open("br0", &path).await.unwrap_err();
    assert!(matches!(absent, ConnectError::Socket { .. }), "{absent}");
    let listener = UnixListener::bind(&path).unwrap();
    let (opened, accepted) = tokio::join!(Channel::open("br0", &path), async {
        drop(listener.accept().await.unwrap());
    });
    let () = accepted;
    let error = opened.unwrap_err();
    assert!(matches!(error, ConnectError::Closed | ConnectError::Io(_)), "{error}");
}

#[tokio::test]
async fn a_switch_that_never_greets_is_not_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("br0.mgmt");
    let _listener = UnixListener::bind(&path).unwrap();
    let error = Channel::open("br0", &path).await.unwrap_err();
    assert!(matches!(error, ConnectError::NoGreeting { .. }), "{error}");
}

/// The body of a flow update: added, table 220, priority 3, cookie 5, in_port=1.
const UPDATE: &[u8] =
    b"\x00\x10\0\0\0\0\0\0\x00\x28\x00\x01\xdc\x00\0\0\0\0\x00\x03\0\0\0\0\0\0\0\0\0\0\0\x05\
    \x00\x01\x00\x0c\x80\x00\x00\x04\0\0\0\x01\0\0\0\0";

/// The body of a reply with the same flow, without statistics.
const FLOW: &[u8] = b"\x00\x01\0\0\0\0\0\0\x00\x30\0\0\xdc\0\x00\x03\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x05\
    \x00\x01\x00\x0c\x80\x00\x00\x04\0\0\0\x01\0\0\0\0\0\0\x00\x04\0\0\0\0";

/// A session, what it would write, and the time.
struct Script {
    session: Session,
    now: Instant,
}

type Answer<T> = oneshot::Receiver<Result<T, SwitchError>>;

impl Script {
    fn new() -> Self {
        let now = Instant::now();
        Self { session: Session::new("br0".into(), Counts::default(), now), now }
    }

    /// Asks for two flows.
    fn bundle(&mut self) -> Answer<Vec<(FlowKey, String)>> {
        let (reply, answer) = oneshot::channel();
        let changes = vec![FlowMod::add(flow(1)), FlowMod::add(flow(2))];
        self.request(Work::Bundle { changes, reply });
        answer
    }

    fn dump(&mut self) -> Answer<Vec<FlowEntry>> {
        let (reply, answer) = oneshot::channel();
        let work = Work::Dump { scope: DumpScope::Guard(Block::new(220)), reply };
        let deadline = self.now + super::super::DUMP_DEADLINE;
        self.session.start(Request { deadline, work }, self.now);
        answer
    }

    fn request(&mut self, work: Work) {
        let deadline = self.now + limits::BARRIER_DEADLINE;
        self.session.start(Request { deadline, work }, self.now);
    }

    /// Lets time go by.
    fn pass(&mut self, time: Duration) {
        self.now += time;
        assert!(self.session.due() <= self.now, "nothing would have woken the session");
        self.session.tick(self.now).unwrap();
    }

    fn hear(&mut self, kind: u8, xid: u32, body: &[u8]) {
        let mut received = BytesMut::from(message(kind, xid, body).as_slice());
        self.session.received(&mut received, self.now).unwrap();
        assert!(received.is_empty());
    }

    /// The requests of a dump, without those for the flow monitor that go ahead of the first: they are answered only
    /// when something changes.
    fn sent_after_monitor(&mut self) -> Vec<Vec<u8>> {
        self.sent().split_off(usize::from(Block::TABLES) + 1)
    }

    /// The messages written since the last call.
    fn sent(&mut self) -> Vec<Vec<u8>> {
        let mut rest = self.session.unsent();
        let mut messages = Vec::new();
        while !rest.is_empty() {
            let (message, tail) = rest.split_at(usize::from(u16::from_be_bytes([rest[2], rest[3]])));
            messages.push(message.to_vec());
            rest = tail;
        }
        let count = self.session.unsent().len();
        self.session.written(count);
        messages
    }
}

fn flow(port: u32) -> Flow {
    Flow::new(TableId(220)).priority(10).matching(Match::new().in_port(OfPort(port)))
}

fn message(kind: u8, xid: u32, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(8 + body.len()).unwrap();
    [&[6, kind], &length.to_be_bytes()[..], &xid.to_be_bytes(), body].concat()
}

/// Bundle id, type, flags; sessions do not look at the id of a reply.
fn bundle_body(control: u16) -> Vec<u8> {
    [&[0; 4], &control.to_be_bytes()[..], &[0, 3]].concat()
}

fn kinds(messages: &[Vec<u8>]) -> Vec<u8> {
    messages.iter().map(|message| message[1]).collect()
}

fn xid(message: &[u8]) -> u32 {
    u32::from_be_bytes([message[4], message[5], message[6], message[7]])
}

fn control(message: &[u8]) -> u16 {
    assert_eq!(message[1], BUNDLE_CONTROL);
    u16::from_be_bytes([message[12], message[13]])
}
