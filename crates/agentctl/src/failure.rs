//! What can go wrong, and the exit status that says so.

use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use agent_api::ConnectError;
use tonic::{Code, Status};

use crate::screen::harmless;
use crate::trips::TripError;

/// Whether a verb found something that a script would want to know of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Nothing,
    /// Something that is out of order now: a difference, a failing check, an endpoint that failed, a conflict that goes on.
    Something,
}

impl Found {
    pub(crate) fn if_any(found: bool) -> Self {
        if found { Self::Something } else { Self::Nothing }
    }

    pub(crate) fn exit_status(self) -> u8 {
        match self {
            Self::Nothing => 0,
            Self::Something => 1,
        }
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// With what to look at next.
    #[error("the agent is out of reach")]
    NoAgent(#[source] ConnectError),
    #[error("the agent did not answer within {seconds} s")]
    Late { seconds: u64 },
    /// What the agent said instead of an answer: its own words say enough.
    #[error("{}", .0.message())]
    Refused(Status),
    /// Part of the answer is missing, and the rest was shown.
    #[error("{0}")]
    Partial(String),
    #[error("{endpoint:?} names {count} interfaces, and one is wanted: namespace/pod:ifname")]
    Ambiguous { endpoint: String, count: usize },
    #[error("{endpoint:?} was deleted")]
    Gone { endpoint: String },
    #[error("the two have no addresses of the same family")]
    NoCommonFamily,
    #[error(transparent)]
    Unmeasurable(#[from] TripError),
    #[error("the measurement panicked")]
    Unmeasured,
    #[error("the switch is out of reach")]
    NoSwitch(#[source] io::Error),
    /// A failure of the switch behind this socket.
    #[error("{}", socket.display())]
    At { socket: PathBuf, source: Box<Failure> },
    #[error("the switch sent a message that cannot be read")]
    BadSwitch(#[source] openflow::DecodeError),
    #[error("-o json: what needs no agent prints text; `openflow` has --json-lines")]
    NoJson,
    #[error("{0} is not the number of a table, and names are the agent's")]
    NoTable(String),
    #[error("the switch answered: {0}")]
    SwitchRefused(String),
    #[error("the input cannot be read")]
    Input(#[source] io::Error),
    #[error("the answer cannot be printed")]
    Output(#[source] io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        Self::Refused(status)
    }
}

impl Failure {
    /// Prints the failure and its causes, and gives the exit status. A reader that went away is no failure: `| head`.
    pub(crate) fn report(&self) -> ExitCode {
        if matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe) {
            return ExitCode::SUCCESS;
        }
        let mut text = self.to_string();
        let mut next = self.source();
        while let Some(cause) = next {
            text.push_str(": ");
            text.push_str(&cause.to_string());
            next = cause.source();
        }
        let red = anstyle::AnsiColor::Red.on_default().bold();
        let mut stderr = anstream::stderr().lock();
        if let Some(hint) = self.hint() {
            text.push_str("\nhint: ");
            text.push_str(hint);
        }
        let text = harmless(&text);
        // Where standard error is closed too, the exit status has to do.
        drop(io::Write::write_fmt(&mut stderr, format_args!("{red}error:{red:#} {text}\n")));
        ExitCode::from(self.exit_status())
    }

    /// What to look at next, where the failure itself does not say it.
    fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoAgent(_) => Some(
                "does it run, and is this its socket? On a host: systemctl status underpass-agent. In a cluster the agent's \
                 pod of that node has agentctl: kubectl get pods -A -o wide -l app.kubernetes.io/name=underpass, then \
                 kubectl exec. --socket or UNDERPASS_SOCKET names another socket (run_dir/agent.sock)",
            ),
            Self::At { source, .. } => match **source {
                Self::NoSwitch(_) => {
                    Some("does ovs-vswitchd run, and is this the .mgmt socket of a bridge that exists?")
                }
                _ => None,
            },
            _ => None,
        }
    }

    fn exit_status(&self) -> u8 {
        match self {
            Self::Refused(status) => match status.code() {
                Code::NotFound => NO_SUCH,
                Code::InvalidArgument => USAGE,
                _ => OUT_OF_REACH,
            },
            Self::NoAgent(_)
            | Self::Late { .. }
            | Self::Partial(_)
            | Self::NoSwitch(_)
            | Self::BadSwitch(_)
            | Self::SwitchRefused(_) => OUT_OF_REACH,
            Self::At { source, .. } => source.exit_status(),
            Self::NoTable(_) | Self::NoJson | Self::Ambiguous { .. } => USAGE,
            Self::Gone { .. } => NO_SUCH,
            Self::Input(_)
            | Self::Output(_)
            | Self::NoCommonFamily
            | Self::Unmeasurable(_)
            | Self::Unmeasured => FAILED,
        }
    }
}

const FAILED: u8 = 1;
const USAGE: u8 = 2;
const OUT_OF_REACH: u8 = 3;
const NO_SUCH: u8 = 4;
