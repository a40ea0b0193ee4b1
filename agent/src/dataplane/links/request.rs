//! One request to rtnetlink and its answer: the deadline, the kernel's own words, the retry of a torn dump.
//!
//! Owns: a cloneable handle on one NETLINK_ROUTE socket. The socket belongs to the namespace it was made in.
//!
//! Must not: know what a veth or a pod is.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::io;
use std::path::Path;
use std::pin::pin;
use std::time::Duration;

use futures::StreamExt as _;
use futures::channel::mpsc::UnboundedReceiver;
use futures::future::{Either, select};
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_ACK_TLVS, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
    NlasIterator,
};
use netlink_packet_route::RouteNetlinkMessage;
use nix::errno::Errno;
use rtnetlink::MulticastGroup;
use rtnetlink::proto::Connection;
use rtnetlink::sys::{AsyncSocket as _, SocketAddr};
use tokio::runtime::{self, Runtime};
use tokio::sync::oneshot;

use super::LinkError;
use crate::dataplane::netns::{Netns, NetnsError};

/// What the kernel multicasts, undecoded by us.
pub(super) type Events = UnboundedReceiver<(NetlinkMessage<RouteNetlinkMessage>, SocketAddr)>;

/// What drives a socket: it must be polled for any request to make progress.
type Driver = Connection<RouteNetlinkMessage>;

/// A handle on one rtnetlink socket.
#[derive(Clone, Debug)]
pub(super) struct Netlink {
    handle: rtnetlink::Handle,
}

/// How the kernel refused a request: the number, and its extended acknowledgement where it gave one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub errno: Errno,
    pub words: Option<String>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.words {
            Some(words) => write!(f, "{}: {words}", self.errno),
            None => write!(f, "{}", self.errno),
        }
    }
}

impl std::error::Error for Refusal {}

/// Opens a socket inside `netns`, driven by a thread of its own that ends with the last handle. The receiver hears
/// when it ends.
///
/// The thread is there because `sendmsg` on a netlink socket runs the request before it returns: the sender waits for
/// RTNL, 17 ms while somebody else removes a veth (measured), and a worker of the agent's runtime must not.
pub(super) async fn connect(netns: &Netns) -> Result<(Netlink, oneshot::Receiver<Infallible>), LinkError> {
    let (reply, answer) = oneshot::channel();
    let (end, ended) = oneshot::channel();
    let path = netns.path().to_owned();
    netns.spawn("netlink", move |entered| {
        let _end = end;
        let opened =
            entered.map_err(LinkError::from).and_then(|()| runtime().map_err(|e| socket_error(&path, e)));
        let runtime = match opened {
            Ok(runtime) => runtime,
            Err(error) => return drop(reply.send(Err(error))),
        };
        runtime.block_on(async {
            match open().map_err(|source| socket_error(&path, source)) {
                Ok((netlink, driver)) => {
                    drop(reply.send(Ok(netlink)));
                    driver.await;
                }
                Err(error) => drop(reply.send(Err(error))),
            }
        });
    })?;
    let closed = || LinkError::Closed { operation: "open a netlink socket".to_owned() };
    match tokio::time::timeout(DEADLINE, answer).await {
        Ok(answer) => Ok((answer.map_err(|_| closed())??, ended)),
        Err(_) => Err(NetnsError::Timeout { path: netns.path().to_owned(), after: DEADLINE }.into()),
    }
}

/// Does `work` with a socket of its own on a thread inside `netns`. Nothing of either is left afterwards.
pub(super) async fn visit<T, F, Fut>(netns: &Netns, work: F) -> Result<T, LinkError>
where
    T: Send + 'static,
    F: FnOnce(Netlink) -> Fut + Send + 'static,
    Fut: Future<Output = Result<T, LinkError>>,
{
    let path = netns.path().to_owned();
    let visit = move || {
        let runtime = runtime().map_err(|source| socket_error(&path, source))?;
        runtime.block_on(async {
            let (netlink, driver) = open().map_err(|source| socket_error(&path, source))?;
            match select(pin!(work(netlink)), driver).await {
                Either::Left((outcome, _)) => outcome,
                Either::Right(((), _)) => {
                    Err(LinkError::Closed { operation: "work with a netlink socket".to_owned() })
                }
            }
        })
    };
    netns.call(VISIT_DEADLINE, visit).await?
}

/// Opens a socket inside `netns` that hears of every change of a link. It only receives, so it blocks nobody.
pub(super) async fn listen(netns: &Netns) -> Result<(Events, impl Future<Output = ()> + use<>), LinkError> {
    // Another thread makes the socket; the caller's reactor drives it.
    let runtime = runtime::Handle::current();
    let made = netns
        .call(DEADLINE, move || {
            let _entered = runtime.enter();
            rtnetlink::new_multicast_connection(&[MulticastGroup::Link])
        })
        .await?;
    let (driver, _handle, events) = made.map_err(|source| socket_error(netns.path(), source))?;
    Ok((events, driver))
}

/// A socket in the namespace of the calling thread.
fn open() -> io::Result<(Netlink, Driver)> {
    let (mut driver, handle, _unsolicited) = rtnetlink::new_connection_with_strict_check()?;
    // The kernel's words (Linux 4.12), and only the header of the request echoed back with them.
    let socket = driver.socket_mut().socket_mut();
    socket.set_ext_ack(true)?;
    socket.set_cap_ack(true)?;
    Ok((Netlink { handle }, driver))
}

fn runtime() -> io::Result<Runtime> {
    runtime::Builder::new_current_thread().enable_io().enable_time().build()
}

impl Netlink {
    /// Sends a change and waits for its acknowledgement.
    pub(super) async fn change(
        &self,
        operation: &str,
        message: RouteNetlinkMessage,
        flags: u16,
    ) -> Result<(), LinkError> {
        self.exchange(operation, message, NLM_F_ACK | flags).await.map(|_| ())
    }

    /// Asks for one object.
    pub(super) async fn get(
        &self,
        operation: &str,
        message: RouteNetlinkMessage,
    ) -> Result<Vec<RouteNetlinkMessage>, LinkError> {
        Ok(self.exchange(operation, message, 0).await?.messages)
    }

    /// Asks for all objects. A dump during which the table changed is asked for again.
    pub(super) async fn dump(
        &self,
        operation: &str,
        message: RouteNetlinkMessage,
    ) -> Result<Vec<RouteNetlinkMessage>, LinkError> {
        for _ in 0..DUMP_ATTEMPTS {
            let answer = self.exchange(operation, message.clone(), NLM_F_DUMP).await?;
            if !answer.torn {
                return Ok(answer.messages);
            }
        }
        Err(LinkError::Torn { operation: operation.to_owned(), attempts: DUMP_ATTEMPTS })
    }

    async fn exchange(
        &self,
        operation: &str,
        message: RouteNetlinkMessage,
        flags: u16,
    ) -> Result<Answer, LinkError> {
        let mut request = NetlinkMessage::from(message);
        request.header.flags = NLM_F_REQUEST | flags;
        let closed = || LinkError::Closed { operation: operation.to_owned() };
        let mut replies = self.handle.clone().request(request).map_err(|_| closed())?;
        let collect = async {
            let mut answer = Answer::default();
            while let Some(reply) = replies.next().await {
                answer.torn |= reply.header.flags & NLM_F_DUMP_INTR != 0;
                match reply.payload {
                    NetlinkPayload::InnerMessage(inner) => answer.messages.push(inner),
                    NetlinkPayload::Error(error) if error.raw_code() != 0 => {
                        let words = words(&error.header, reply.header.flags);
                        return Err(Refusal { errno: Errno::from_raw(error.raw_code().abs()), words });
                    }
                    _ => {}
                }
            }
            Ok(answer)
        };
        match tokio::time::timeout(DEADLINE, collect).await {
            Ok(outcome) => {
                outcome.map_err(|source| LinkError::Refused { operation: operation.to_owned(), source })
            }
            Err(_) => Err(LinkError::Timeout { operation: operation.to_owned(), after: DEADLINE }),
        }
    }
}

#[derive(Default)]
struct Answer {
    messages: Vec<RouteNetlinkMessage>,
    /// The kernel says that the table changed while it was walked.
    torn: bool,
}

fn socket_error(path: &Path, source: io::Error) -> LinkError {
    NetnsError::Socket { path: path.to_owned(), source }.into()
}

/// The extended acknowledgement's text: attributes after the 16 bytes of the request's header (NETLINK_CAP_ACK).
fn words(error_payload: &[u8], flags: u16) -> Option<String> {
    if flags & NLM_F_ACK_TLVS == 0 {
        return None;
    }
    let attributes = error_payload.get(NETLINK_HEADER_LEN..)?;
    let text =
        NlasIterator::new(attributes).filter_map(Result::ok).find(|nla| nla.kind() == NLMSGERR_ATTR_MSG)?;
    let text = text.value().split(|byte| *byte == 0).next()?;
    Some(String::from_utf8_lossy(text).into_owned())
}

/// How long one request may take. RTNL is one lock for the whole machine: deleting a
/// hundred veths holds it for two seconds (17 ms each, measured), so less would fail healthy work.
pub(super) const DEADLINE: Duration = Duration::from_secs(5);

/// How long a visit to a namespace may take: a dozen requests, each with its own deadline, none of them slow alone.
const VISIT_DEADLINE: Duration = Duration::from_secs(10);

/// How often a dump is repeated while links come and go. A burst of pods is over, or goes on and pokes us again.
const DUMP_ATTEMPTS: usize = 8;

const NETLINK_HEADER_LEN: usize = 16;
/// `NLMSGERR_ATTR_MSG` of linux/netlink.h.
const NLMSGERR_ATTR_MSG: u16 = 1;
