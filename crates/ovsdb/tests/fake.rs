//! The client against a scripted server: what a real one rarely or never does.

use std::time::Duration;

use ovsdb::{
    CallError, Client, CloseReason, ConnectError, Driver, Endpoint, Event, Events, Limits, MonitorId,
    MonitorSpec, OpResult, Operation, RowUpdate, TransactError, TransactionId,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;

const ROW: &str = "00000000-0000-0000-0000-000000000001";

/// The server's side of one connection, driven by the test.
struct Fake {
    stream: UnixStream,
    received: Vec<u8>,
    _dir: TempDir,
}

impl Fake {
    async fn connect(limits: Limits) -> (Self, Client, Events, Driver) {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("db.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let (client, events, driver) = ovsdb::connect(&Endpoint::unix(&path), limits).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        (Self { stream, received: Vec::new(), _dir: dir }, client, events, driver)
    }

    async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    async fn message(&mut self) -> Value {
        loop {
            let mut stream = serde_json::Deserializer::from_slice(&self.received).into_iter::<Value>();
            if let Some(Ok(message)) = stream.next() {
                let used = stream.byte_offset();
                self.received.drain(..used);
                return message;
            }
            assert!(self.stream.read_buf(&mut self.received).await.unwrap() > 0, "the client closed");
        }
    }

    /// Answers the next request, which must be of this method.
    async fn answer(&mut self, method: &str, result: Value, error: Value) -> Value {
        let request = self.message().await;
        assert_eq!(request["method"], method);
        let reply = json!({"id": request["id"], "result": result, "error": error});
        self.send(reply.to_string().as_bytes()).await;
        request
    }
}

#[tokio::test]
async fn answers_out_of_order_and_in_pieces_reach_their_callers() {
    let (mut fake, client, _events, driver) = Fake::connect(Limits::default()).await;
    let mut tasks = JoinSet::new();
    tasks.spawn(driver.run());
    let script = async {
        let (first, second) = (fake.message().await, fake.message().await);
        let mut bytes = String::new();
        for request in [second, first] {
            let count = request["params"][1]["where"].as_array().unwrap().len();
            let reply = json!({"result": [{"count": count}], "error": null, "id": request["id"]});
            bytes.push_str(&reply.to_string());
        }
        for byte in bytes.into_bytes() {
            fake.send(&[byte]).await;
        }
    };
    let one = Operation::delete("Port", vec![ovsdb::Condition::equal("tag", 1)]);
    let none = Operation::delete("Port", vec![]);
    let (one, none, ()) = tokio::join!(client.transact(vec![one]), client.transact(vec![none]), script);
    assert_eq!(one.unwrap(), [OpResult::Count(1)]);
    assert_eq!(none.unwrap(), [OpResult::Count(0)]);
}

#[tokio::test]
async fn echo_requests_are_answered_whatever_their_id() {
    let (mut fake, _client, _events, driver) = Fake::connect(Limits::default()).await;
    let mut tasks = JoinSet::new();
    tasks.spawn(driver.run());
    // Two requests and a blank in one read, the second of a method that a client does not have.
    fake.send(
        br#"{"id":{"a":[1]},"method":"echo","params":["x"]} {"id":"echo","method":"list_dbs","params":[]}"#,
    )
    .await;
    assert_eq!(fake.message().await, json!({"id": {"a": [1]}, "result": ["x"], "error": null}));
    assert_eq!(fake.message().await, json!({"id": "echo", "result": null, "error": "unknown method"}));
}

#[tokio::test]
async fn a_silent_server_is_probed_and_then_given_up() {
    let [call_deadline, probe_interval, probe_deadline] = [30, 50, 50].map(Duration::from_millis);
    let limits = Limits { call_deadline, probe_interval, probe_deadline, ..Limits::default() };
    let (mut fake, client, mut events, driver) = Fake::connect(limits).await;
    let mut tasks = JoinSet::new();
    tasks.spawn(driver.run());
    let late = client.echo().await.unwrap_err();
    assert_eq!(late.to_string(), "echo: no answer within 30ms");
    assert!(matches!(events.recv().await, Some(Event::Closed(CloseReason::Silent(_)))));
    assert_eq!(fake.message().await["method"], "echo");
    assert_eq!(fake.message().await["id"], "probe");
}

#[tokio::test]
async fn a_stream_that_is_no_json_rpc_ends_the_connection() {
    for (bytes, reason) in [
        ("HTTP/1.1 400", "the server sent no JSON-RPC"),
        (r#"{"id":1]"#, "the server sent no JSON-RPC"),
        (r#"{"method":7}"#, "the server sent a message that cannot be read"),
        (
            r#"{"method":"update2","params":[1,{"Port":{"x":{}}}]}"#,
            "the server sent a message that cannot be read",
        ),
        (r#"{"method":"monitor_canceled","params":[1]}"#, "the server cancelled a monitor"),
    ] {
        let (mut fake, _client, _events, driver) = Fake::connect(Limits::default()).await;
        fake.send(bytes.as_bytes()).await;
        assert_eq!(driver.run().await.to_string(), reason, "{bytes}");
    }
}

#[tokio::test]
async fn sizes_and_queues_are_bounded() {
    let limits = Limits { max_message: 200, max_events: 2, ..Limits::default() };
    let (_fake, client, _events, _driver) = Fake::connect(limits.clone()).await;
    let long = client.transact(vec![Operation::comment(&"x".repeat(300))]).await.unwrap_err();
    assert!(matches!(long, TransactError::Call(CallError::TooLarge { limit: 200, .. })), "{long:?}");

    let (mut fake, _client, _events, driver) = Fake::connect(limits.clone()).await;
    fake.send(format!(r#"{{"id":"{}"#, "x".repeat(300)).as_bytes()).await;
    assert!(matches!(driver.run().await, CloseReason::Frame(_)));

    let (mut fake, _client, mut events, driver) = Fake::connect(limits).await;
    fake.send(br#"{"method":"locked","params":["l"]}"#.repeat(3).as_slice()).await;
    assert!(matches!(driver.run().await, CloseReason::EventsFull(2)));
    assert!(matches!(events.recv().await, Some(Event::Locked(_))));
    assert!(matches!(events.recv().await, Some(Event::Locked(_))));
    assert!(matches!(events.recv().await, Some(Event::Closed(CloseReason::EventsFull(2)))));
}

#[tokio::test]
async fn a_call_given_up_in_the_queue_is_never_sent() {
    let limits = Limits { call_deadline: Duration::from_millis(10), ..Limits::default() };
    let (mut fake, client, _events, driver) = Fake::connect(limits).await;
    // The driver does not run yet, so the call stays in the queue past its deadline.
    let late = client.transact(vec![Operation::comment("late")]).await.unwrap_err();
    assert!(matches!(late, TransactError::Call(CallError::Deadline { .. })), "{late:?}");
    let mut tasks = JoinSet::new();
    tasks.spawn(driver.run());
    let (echo, request) = tokio::join!(client.echo(), fake.answer("echo", json!([]), Value::Null));
    echo.unwrap();
    assert_eq!(request["params"], json!([]));
}

#[tokio::test]
async fn a_monitor_falls_back_to_what_the_server_knows() {
    let (mut fake, client, mut events, driver) = Fake::connect(Limits::default()).await;
    let mut tasks = JoinSet::new();
    tasks.spawn(driver.run());
    let spec = MonitorSpec::new().table("Port", ["tag"]);
    let old = async {
        fake.answer("monitor_cond_since", Value::Null, json!("unknown method")).await;
        fake.answer("monitor_cond", Value::Null, json!("unknown method")).await;
        fake.answer("monitor", json!({"Port": {ROW: {"new": {"tag": ["set", []]}}}}), Value::Null).await;
        fake.send(
            json!({"method": "update", "params": [4, {"Port": {ROW: {"old": {"tag": 1}}}}], "id": null})
                .to_string()
                .as_bytes(),
        )
        .await;
    };
    let (snapshot, ()) = tokio::join!(client.monitor(MonitorId(4), &spec, None), old);
    let snapshot = snapshot.unwrap();
    assert!(matches!(snapshot.updates.tables["Port"].values().next(), Some(RowUpdate::Replace(_))));
    let Some(Event::Update { monitor: MonitorId(4), last: None, updates }) = events.recv().await else {
        panic!("not an update");
    };
    assert!(matches!(updates.tables["Port"].values().next(), Some(RowUpdate::Delete)));
}

#[tokio::test]
async fn a_monitor_that_resumes_says_so() {
    let (mut fake, client, _events, driver) = Fake::connect(Limits::default()).await;
    let mut tasks = JoinSet::new();
    tasks.spawn(driver.run());
    let (spec, since) = (MonitorSpec::new().table("Port", ["tag"]), TransactionId("a".into()));
    let (snapshot, request) = tokio::join!(
        client.monitor(MonitorId(1), &spec, Some(&since)),
        fake.answer(
            "monitor_cond_since",
            json!([true, "b", {"Port": {ROW: {"modify": {"tag": 1}}}}]),
            Value::Null
        )
    );
    let snapshot = snapshot.unwrap();
    assert_eq!(request["params"], json!(["Open_vSwitch", 1, {"Port": [{"columns": ["tag"]}]}, "a"]));
    assert_eq!((snapshot.resumed, snapshot.last), (true, Some(TransactionId("b".into()))));
    assert!(matches!(snapshot.updates.tables["Port"].values().next(), Some(RowUpdate::Modify(_))));
}

#[tokio::test]
async fn answers_of_another_form_are_errors_of_the_call() {
    let (mut fake, client, _events, driver) = Fake::connect(Limits::default()).await;
    let mut tasks = JoinSet::new();
    tasks.spawn(driver.run());
    let spec = MonitorSpec::new();
    let (bad, _) = tokio::join!(
        client.monitor(MonitorId(1), &spec, None),
        fake.answer("monitor_cond_since", json!([true, "x"]), Value::Null)
    );
    assert!(matches!(bad, Err(CallError::Malformed { .. })), "{bad:?}");
    let (bad, _) =
        tokio::join!(client.schema(), fake.answer("get_schema", json!({"tables": 1}), Value::Null));
    assert!(matches!(bad, Err(CallError::Malformed { .. })), "{bad:?}");
}

#[tokio::test]
async fn a_missing_socket_is_named() {
    let error = ovsdb::connect(&Endpoint::unix("/nonexistent/db.sock"), Limits::default()).await.unwrap_err();
    assert!(matches!(error, ConnectError::Io { .. }));
    assert_eq!(error.to_string(), "connecting to /nonexistent/db.sock failed");
}
