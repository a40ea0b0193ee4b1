//! An agent that follows a script for one call, on a thread of its own.
#![expect(clippy::disallowed_methods, reason = "a test ends its tasks with its runtime")]

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use agent_api::MAX_MESSAGE;
use agent_api::cni::v1::cni_server::{Cni, CniServer};
use agent_api::cni::v1::{
    Accepted, Done, FromShim, IpamDone, RunIpam, Start, ToShim, Verb, from_shim, to_shim,
};
use tokio::net::UnixListener;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::{ReceiverStream, UnixListenerStream};
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};

/// One line of the script. Start is read before the first.
pub(crate) enum Line {
    Accept,
    RunIpam {
        verb: Verb,
        plugin: String,
        stdin: Vec<u8>,
    },
    ExpectIpam,
    WaitForFile(PathBuf),
    Done {
        exit: i32,
        stdout: Vec<u8>,
    },
    ExpectAck,
    /// The shim closes its side without an Ack.
    ExpectNoAck,
    /// The connection breaks.
    ExpectBroken,
    /// The agent ends the stream with an error.
    Break,
    /// Nothing more is said until the shim gives up.
    Hang,
}

/// What the agent heard.
#[derive(Default, Clone)]
pub(crate) struct Heard {
    pub(crate) start: Start,
    pub(crate) ipam: Vec<IpamDone>,
}

/// A running agent.
pub(crate) struct FakeAgent {
    thread: JoinHandle<Result<Heard, String>>,
    socket: PathBuf,
}

impl FakeAgent {
    pub(crate) fn start(socket: &Path, script: Vec<Line>) -> Self {
        let (ready, bound) = std::sync::mpsc::channel();
        let path = socket.to_owned();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(serve(path, script, ready))
        });
        bound.recv().unwrap();
        Self { thread, socket: socket.to_owned() }
    }

    /// Waits for the end of the script and gives what was heard.
    pub(crate) fn finish(self) -> Heard {
        let heard = self.thread.join().unwrap();
        std::fs::remove_file(self.socket).unwrap();
        heard.unwrap_or_else(|fault| panic!("{fault}"))
    }
}

async fn serve(
    socket: PathBuf,
    script: Vec<Line>,
    ready: std::sync::mpsc::Sender<()>,
) -> Result<Heard, String> {
    let listener = UnixListener::bind(socket).unwrap();
    ready.send(()).unwrap();
    let (told, ended) = oneshot::channel();
    let agent = Scripted { script: Arc::new(Mutex::new(Some((script, told)))) };
    let service =
        CniServer::new(agent).max_decoding_message_size(MAX_MESSAGE).max_encoding_message_size(MAX_MESSAGE);
    let server =
        Server::builder().add_service(service).serve_with_incoming(UnixListenerStream::new(listener));
    tokio::select! {
        result = server => panic!("the server ended: {result:?}"),
        heard = ended => {
            let heard = heard.unwrap();
            // The end of the stream must leave the socket before the runtime goes.
            tokio::time::sleep(Duration::from_millis(50)).await;
            heard
        }
        () = tokio::time::sleep(Duration::from_secs(30)) => Err("the script did not end".into()),
    }
}

type Script = (Vec<Line>, oneshot::Sender<Result<Heard, String>>);

struct Scripted {
    script: Arc<Mutex<Option<Script>>>,
}

#[tonic::async_trait]
impl Cni for Scripted {
    type RunStream = ReceiverStream<Result<ToShim, Status>>;

    async fn run(&self, request: Request<Streaming<FromShim>>) -> Result<Response<Self::RunStream>, Status> {
        let (script, told) = self.script.lock().unwrap().take().expect("one call");
        let (outbox, messages) = mpsc::channel(8);
        tokio::spawn(async move {
            let heard = follow(script, request.into_inner(), outbox).await;
            drop(told.send(heard));
        });
        Ok(Response::new(ReceiverStream::new(messages)))
    }
}

async fn follow(
    script: Vec<Line>,
    mut inbox: Streaming<FromShim>,
    outbox: mpsc::Sender<Result<ToShim, Status>>,
) -> Result<Heard, String> {
    let mut heard = Heard::default();
    let mut seq = 0;
    match next(&mut inbox).await? {
        Some(from_shim::Message::Start(start)) => heard.start = start,
        other => return Err(format!("expected Start, heard {other:?}")),
    }
    let say = async |message| {
        drop(outbox.send(Ok(ToShim { message: Some(message) })).await);
    };
    for line in script {
        match line {
            Line::Accept => say(to_shim::Message::Accepted(Accepted {})).await,
            Line::RunIpam { verb, plugin, stdin } => {
                seq += 1;
                let request = RunIpam { seq, verb: verb.into(), r#type: plugin, stdin };
                say(to_shim::Message::RunIpam(request)).await;
            }
            Line::ExpectIpam => match next(&mut inbox).await? {
                Some(from_shim::Message::IpamDone(done)) => heard.ipam.push(done),
                other => return Err(format!("expected IpamDone, heard {other:?}")),
            },
            Line::WaitForFile(path) => {
                while !path.exists() {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
            Line::Done { exit, stdout } => say(to_shim::Message::Done(Done { exit, stdout })).await,
            Line::ExpectAck => match next(&mut inbox).await? {
                Some(from_shim::Message::Ack(_)) => {}
                other => return Err(format!("expected Ack, heard {other:?}")),
            },
            Line::ExpectNoAck | Line::ExpectBroken | Line::Hang => {
                if let Ok(Some(message)) = next(&mut inbox).await {
                    return Err(format!("expected the end, heard {message:?}"));
                }
            }
            Line::Break => drop(outbox.send(Err(Status::unavailable("the script says so"))).await),
        }
    }
    Ok(heard)
}

async fn next(inbox: &mut Streaming<FromShim>) -> Result<Option<from_shim::Message>, String> {
    match inbox.message().await {
        Ok(Some(message)) => Ok(message.message),
        Ok(None) => Ok(None),
        Err(status) => Err(format!("the stream broke: {status}")),
    }
}
