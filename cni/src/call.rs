//! What the runtime asks: the `CNI_*` variables and standard input, taken as they are.
//!
//! Only presence is checked here; what the values mean is the agent's business. Of standard input nothing is read but
//! `cniVersion`, which the shim's own errors need.

use std::env::{self, VarError};
use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

use agent_api::MAX_PAYLOAD;
use agent_api::cni::v1::{Start, Verb};

use crate::failure::{Failure, INVALID_ENVIRONMENT, UNDECODABLE};
use crate::version;

/// A request that can be read.
pub(crate) enum Request {
    /// Answered without the agent.
    Version { cni_version: String },
    /// Everything else.
    Call(Call),
}

/// One call for the agent.
pub(crate) struct Call {
    pub(crate) start: Start,
    /// How long the agent may take to take the call.
    pub(crate) accept_timeout: Duration,
    /// `cniVersion` of the configuration, or the newest one we speak: for errors of our own.
    pub(crate) cni_version: String,
}

impl Call {
    /// Whether the call only takes away, so that it may be worked off later.
    pub(crate) fn is_removal(&self) -> bool {
        matches!(self.start.verb(), Verb::Del | Verb::Gc)
    }
}

/// A request that cannot be read.
pub(crate) struct Unreadable {
    pub(crate) failure: Failure,
    pub(crate) cni_version: String,
}

/// Reads environment and standard input.
pub(crate) fn read(boottime_ns: u64) -> Result<Request, Unreadable> {
    let unreadable = |failure, cni_version: &str| Unreadable { failure, cni_version: cni_version.to_owned() };
    let stdin = read_stdin().map_err(|failure| unreadable(failure, version::NEWEST))?;
    let cni_version = version::of_config(&stdin).unwrap_or(version::NEWEST).to_owned();
    if stdin.len() > MAX_PAYLOAD {
        let msg = format!("standard input is longer than {MAX_PAYLOAD} bytes");
        return Err(unreadable(Failure::new(UNDECODABLE, msg), &cni_version));
    }
    match from_environment(boottime_ns, stdin) {
        Ok(None) => Ok(Request::Version { cni_version }),
        Ok(Some(start)) => match accept_timeout() {
            Ok(accept_timeout) => Ok(Request::Call(Call { start, accept_timeout, cni_version })),
            Err(failure) => Err(unreadable(failure, &cni_version)),
        },
        Err(failure) => Err(unreadable(failure, &cni_version)),
    }
}

/// The call as the environment says it; `None` for VERSION.
fn from_environment(boottime_ns: u64, stdin: Vec<u8>) -> Result<Option<Start>, Failure> {
    let command = variable("CNI_COMMAND")?.ok_or_else(|| missing(&["CNI_COMMAND"]))?;
    let (verb, required): (Verb, &[&'static str]) = match command.as_str() {
        "ADD" => (Verb::Add, &["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"]),
        "CHECK" => (Verb::Check, &["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"]),
        "DEL" => (Verb::Del, &["CNI_CONTAINERID", "CNI_IFNAME"]),
        "GC" => (Verb::Gc, &["CNI_PATH"]),
        "STATUS" => (Verb::Status, &[]),
        "VERSION" => return Ok(None),
        other => {
            return Err(Failure::new(INVALID_ENVIRONMENT, format!("CNI_COMMAND '{other}' is not known")));
        }
    };
    let mut absent = Vec::new();
    for name in required {
        if variable(name)?.is_none() {
            absent.push(*name);
        }
    }
    if !absent.is_empty() {
        return Err(missing(&absent));
    }
    let text = |name| variable(name).map(Option::unwrap_or_default);
    Ok(Some(Start {
        verb: verb.into(),
        container_id: text("CNI_CONTAINERID")?,
        netns: text("CNI_NETNS")?,
        ifname: text("CNI_IFNAME")?,
        args: text("CNI_ARGS")?,
        path: text("CNI_PATH")?,
        stdin,
        boottime_ns,
        argv0: called_as(),
    }))
}

fn accept_timeout() -> Result<Duration, Failure> {
    agent_api::accept_timeout().map_err(|value| {
        let shown: String = value.chars().take(SHOWN).collect();
        let (name, range) = (agent_api::ACCEPT_TIMEOUT_VARIABLE, agent_api::ACCEPT_TIMEOUT_MS);
        let msg =
            format!("{name} is {shown:?}: expected milliseconds from {} to {}", range.start(), range.end());
        Failure::new(INVALID_ENVIRONMENT, msg)
    })
}

/// Characters of a wrong value that an error repeats.
const SHOWN: usize = 80;

/// A variable that is set and not empty.
fn variable(name: &str) -> Result<Option<String>, Failure> {
    match env::var(name) {
        Ok(value) if value.is_empty() => Ok(None),
        Ok(value) => Ok(Some(value)),
        Err(VarError::NotPresent) => Ok(None),
        Err(VarError::NotUnicode(value)) => {
            let value = value.to_string_lossy().into_owned();
            Err(Failure::new(INVALID_ENVIRONMENT, format!("{name} is not UTF-8")).because(value))
        }
    }
}

fn missing(names: &[&str]) -> Failure {
    let (noun, verb) = if names.len() == 1 { ("variable", "is") } else { ("variables", "are") };
    Failure::new(
        INVALID_ENVIRONMENT,
        format!("required environment {noun} {} {verb} missing", names.join(", ")),
    )
}

/// Reads standard input to its end, or one byte past the limit. No deadline: the runtime writes before it waits, and it
/// bounds the whole call.
fn read_stdin() -> Result<Vec<u8>, Failure> {
    let limit = u64::try_from(MAX_PAYLOAD).unwrap_or(u64::MAX);
    let mut bytes = Vec::new();
    io::stdin()
        .lock()
        .take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::io("read standard input", &error))?;
    Ok(bytes)
}

/// The name we were called by: the runtime may know us as `ovs`.
fn called_as() -> String {
    env::args_os()
        .next()
        .and_then(|argv0| Path::new(&argv0).file_name().map(|name| name.to_string_lossy().into_owned()))
        .unwrap_or_default()
}
