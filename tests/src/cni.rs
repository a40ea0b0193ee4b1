//! Calling the CNI plugin as a container runtime does: the real shim, `CNI_*` variables, JSON on its input.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::{Map, Value, json};

use crate::ground::Ground;
use crate::machine::{Datapath, our_binary, program};
use crate::process::finish;

/// The agent's own deadline is 55 s and the shim's 60 s; past that the shim hangs.
const CALL_DEADLINE: Duration = Duration::from_secs(70);

/// The version that examples and chart say: older containerd refuses results of 1.1.0.
const CNI_VERSION: &str = "1.0.0";

/// How long the agent may need to take a call in an emulated guest, in milliseconds.
const EMULATED_ACCEPT_MS: &str = "20000";

/// What the runtime asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Make the interface.
    Add,
    /// Take it away.
    Del,
    /// Is it as it should be?
    Check,
    /// Take away what is not listed.
    Gc,
    /// Could an ADD succeed now?
    Status,
    /// Which versions are spoken?
    Version,
}

impl Verb {
    fn name(self) -> &'static str {
        match self {
            Self::Add => "ADD",
            Self::Del => "DEL",
            Self::Check => "CHECK",
            Self::Gc => "GC",
            Self::Status => "STATUS",
            Self::Version => "VERSION",
        }
    }
}

/// A CNI network configuration under construction.
#[derive(Clone, Debug)]
pub struct Conf(Map<String, Value>);

impl Conf {
    /// Type `underpass` on `bridge`, without IPAM.
    pub fn on(bridge: &str) -> Self {
        let start =
            json!({ "cniVersion": CNI_VERSION, "name": "lab", "type": "underpass", "bridge": bridge });
        let Value::Object(map) = start else { unreachable!("the literal above is an object") };
        Self(map)
    }

    /// Sets any key: `key("mtu", 1400)`.
    #[must_use]
    pub fn key(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.insert(name.to_owned(), value.into());
        self
    }

    /// The value of a key.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// The text for the plugin's standard input.
    pub fn text(&self) -> String {
        Value::Object(self.0.clone()).to_string()
    }
}

/// One attachment as the runtime knows it: what it repeats with every verb.
#[derive(Clone, Debug)]
pub struct Attachment {
    /// `CNI_CONTAINERID`.
    pub container: String,
    /// `CNI_NETNS`; empty where the runtime has none any more.
    pub netns: PathBuf,
    /// `CNI_IFNAME`.
    pub ifname: String,
    /// `CNI_ARGS`: the pod's names, mostly.
    pub args: String,
    /// `CNI_PATH`: where the IPAM plugin is found.
    pub path: String,
    /// Standard input.
    pub conf: Conf,
}

/// What the plugin said.
#[derive(Clone, Debug)]
pub struct Answer {
    verb: Verb,
    /// Exit status, `None` where a signal ended it.
    pub exit: Option<i32>,
    /// Standard output, whole.
    pub stdout: String,
    /// Standard error, whole.
    pub stderr: String,
    /// From exec to exit.
    pub took: Duration,
}

impl Answer {
    /// The JSON on standard output; null where there is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or(Value::Null)
    }

    /// The error's code, `None` on success.
    pub fn code(&self) -> Option<u64> {
        self.json()["code"].as_u64()
    }

    /// The error's message and details in one text; empty on success.
    pub fn complaint(&self) -> String {
        let json = self.json();
        let part = |name: &str| json[name].as_str().unwrap_or_default().to_owned();
        format!("{} {}", part("msg"), part("details")).trim().to_owned()
    }

    /// Fails the story unless the call succeeded; hands back its result.
    #[track_caller]
    pub fn succeeded(&self) -> Value {
        assert!(self.exit == Some(0), "{} failed: {self:#?}", self.verb.name());
        match self.verb {
            Verb::Add | Verb::Version => {
                assert!(self.json().is_object(), "{} printed no JSON object: {self:#?}", self.verb.name());
            }
            _ => assert!(self.stdout.is_empty(), "{} must print nothing: {self:#?}", self.verb.name()),
        }
        self.json()
    }

    /// Fails the story unless the call failed with this code; hands back message and details.
    #[track_caller]
    pub fn failed_with(&self, code: u64) -> String {
        assert!(self.exit != Some(0), "{} succeeded, code {code} was due: {self:#?}", self.verb.name());
        assert_eq!(self.code(), Some(code), "{} failed otherwise: {self:#?}", self.verb.name());
        assert!(self.json()["msg"].is_string(), "an error without msg: {self:#?}");
        self.complaint()
    }
}

/// Executes the shim for one verb.
pub(crate) fn call(ground: &Ground, verb: Verb, attachment: &Attachment) -> Result<Answer> {
    call_at(ground, &ground.socket(), verb, attachment)
}

/// [`call`] to an agent that listens elsewhere.
pub(crate) fn call_at(ground: &Ground, socket: &Path, verb: Verb, attachment: &Attachment) -> Result<Answer> {
    let mut command = Command::new(our_binary("underpass-cni")?);
    execute(ground, verb, attachment, at_socket(&mut command, socket))
}

/// [`call`] by a shim whose clock is `late` behind: as if it had been started that much earlier and held up.
pub(crate) fn call_late(
    ground: &Ground,
    verb: Verb,
    attachment: &Attachment,
    late: Duration,
) -> Result<Answer> {
    let mut command = Command::new(program("unshare")?);
    let behind = format!("--boottime=-{}", late.as_secs());
    command.args(["--time", &behind, "--fork", "--"]).arg(our_binary("underpass-cni")?);
    execute(ground, verb, attachment, at_socket(&mut command, &ground.socket()))
}

/// [`call`] by a shim whose standard output is the file at `out`.
pub(crate) fn call_into(ground: &Ground, verb: Verb, attachment: &Attachment, out: &Path) -> Result<Answer> {
    let mut command = Command::new(program("sh")?);
    command.args(["-c", "exec \"$0\" >\"$1\""]).arg(our_binary("underpass-cni")?).arg(out);
    execute(ground, verb, attachment, at_socket(&mut command, &ground.socket()))
}

fn at_socket<'a>(command: &'a mut Command, socket: &Path) -> &'a mut Command {
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("UNDERPASS_SOCKET", socket)
}

fn execute(ground: &Ground, verb: Verb, attachment: &Attachment, command: &mut Command) -> Result<Answer> {
    command.env("CNI_COMMAND", verb.name()).env("CNI_PATH", &attachment.path);
    if verb != Verb::Version {
        command.env("CNI_CONTAINERID", &attachment.container).env("CNI_IFNAME", &attachment.ifname);
        command.env("CNI_ARGS", &attachment.args).env("CNI_NETNS", &attachment.netns);
    }
    if ground.datapath == Datapath::Kernel {
        command.env(agent_api::ACCEPT_TIMEOUT_VARIABLE, EMULATED_ACCEPT_MS);
    }
    let output = finish(&ground.node, command, &attachment.conf.text(), CALL_DEADLINE)
        .with_context(|| format!("CNI {}", verb.name()))?;
    let (stdout, stderr) = (output.stdout, output.stderr);
    Ok(Answer { verb, exit: output.status.code(), stdout, stderr, took: output.took })
}

/// A container id as long as the real ones, the same for the same words.
pub(crate) fn container_id(room: &Path, name: &str) -> String {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};
    let word = |salt: u8| {
        let mut hasher = DefaultHasher::new();
        (room, name, salt).hash(&mut hasher);
        format!("{:016x}", hasher.finish())
    };
    (0..4).map(word).collect()
}
