//! The agent of a lab: started, killed, restarted, and asked over its own gRPC contract.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use agent_api::control::v1 as control;
use agent_api::control::v1::control_client::ControlClient;
use anyhow::{Context as _, Result, anyhow, ensure};

use crate::eventually::wait_for;
use crate::ground::Ground;
use crate::machine::our_binary;
use crate::process::{Daemon, Output, finish, log_tail};

/// From exec to ready: programs loaded, OVSDB and every bridge read.
const READY_DEADLINE: Duration = Duration::from_secs(15);

/// A graceful drain: work in flight ends first.
const STOP_DEADLINE: Duration = Duration::from_secs(10);

/// One question over gRPC; the agent answers from memory, but a dump of flows may wait for the switch.
const QUESTION_DEADLINE: Duration = Duration::from_secs(5);

/// How long the agent may keep a stream on which nobody speaks.
const SILENCE_DEADLINE: Duration = Duration::from_secs(20);

/// One `agentctl` call.
const AGENTCTL_DEADLINE: Duration = Duration::from_secs(15);

/// The `run_dir` of a lab's second agent.
pub(crate) const SECOND_RUN_DIR: &str = "run2";

/// A client on a new connection. A macro, since the channel's type belongs to a crate that only agent-api may name.
macro_rules! client {
    ($socket:expr) => {
        ControlClient::new(agent_api::connect($socket).await?)
            .max_decoding_message_size(agent_api::MAX_MESSAGE)
    };
}

/// An agent of a lab, with a `run_dir` and `bpf_dir` of its own; not running until `start`.
#[derive(Debug)]
pub struct Agent {
    ground: Arc<Ground>,
    daemon: Mutex<Option<Daemon>>,
    bridges: Vec<String>,
    /// `run_dir` of this agent, in the room.
    run_dir: PathBuf,
    bpf_dir: PathBuf,
    config: PathBuf,
    log: PathBuf,
}

impl Agent {
    /// The lab's own agent: the lab's paths and bridges, then `more` TOML.
    pub(crate) fn configure(ground: Arc<Ground>, bridges: &[String], more: &str) -> Result<Self> {
        Self::at(ground, ("run", "bpf/underpass", "agent"), bridges, more)
    }

    /// Another agent on the same Open vSwitch, as one in another mount namespace: nothing of its own is shared.
    pub(crate) fn second(ground: Arc<Ground>, bridges: &[String]) -> Result<Self> {
        Self::at(ground, (SECOND_RUN_DIR, "bpf/second", "second"), bridges, "")
    }

    fn at(
        ground: Arc<Ground>,
        (run_dir, bpf_dir, name): (&str, &str, &str),
        bridges: &[String],
        more: &str,
    ) -> Result<Self> {
        let agent = Self {
            daemon: Mutex::default(),
            bridges: bridges.to_vec(),
            run_dir: ground.room.join(run_dir),
            bpf_dir: ground.room.join(bpf_dir),
            config: ground.room.join(&format!("{name}.toml")),
            log: ground.room.join(&format!("log/{name}.log")),
            ground,
        };
        agent.reconfigure(more)?;
        Ok(agent)
    }

    /// Writes the configuration anew; the next start reads it.
    pub fn reconfigure(&self, more: &str) -> Result<()> {
        self.configure_with(&self.bpf_dir, more)
    }

    /// [`Self::reconfigure`] with pins elsewhere.
    pub fn configure_with(&self, bpf_dir: &Path, more: &str) -> Result<()> {
        std::fs::write(&self.config, self.toml(bpf_dir, more)).context("writing the agent's configuration")
    }

    /// Where it listens.
    pub fn socket(&self) -> PathBuf {
        self.run_dir.join("agent.sock")
    }

    /// Starts the agent and waits until it is ready.
    pub fn start(&self) -> Result<()> {
        self.spawn()?;
        self.wait_ready()
    }

    /// Starts the agent and returns at once.
    pub fn spawn(&self) -> Result<()> {
        ensure!(self.daemon().is_none(), "the agent runs already");
        let mut command = Command::new(our_binary("underpass-agent")?);
        command.arg("--config").arg(&self.config).env("RUST_BACKTRACE", "1");
        let daemon = Daemon::start(&self.ground.node, "underpass-agent", &mut command, &self.log)?;
        self.ground.room.note_pid(daemon.pid())?;
        *self.daemon() = Some(daemon);
        Ok(())
    }

    /// Waits until the agent says that CNI calls are served.
    pub fn wait_ready(&self) -> Result<()> {
        let ready = wait_for(self.ground.within(READY_DEADLINE), || {
            self.check_running().map_err(|error| format!("{error:#}"))?;
            match self.status() {
                Ok(status) if status.ready => Ok(()),
                Ok(status) => Err(format!("it waits for: {}", status.not_ready.join(", "))),
                Err(error) => Err(format!("{error:#}")),
            }
        });
        ready.map(drop).map_err(|why| anyhow!("the agent is not ready: {why}\n{}", self.log_tail()))
    }

    /// Ends the agent as a crash would.
    pub fn kill9(&self) -> Result<()> {
        self.take()?.kill9()
    }

    /// Ends the agent as systemd or the kubelet would; a clean drain exits with 0.
    pub fn stop(&self) -> Result<()> {
        let status = self.take()?.stop(self.ground.within(STOP_DEADLINE))?;
        ensure!(status.success(), "the agent did not drain cleanly: {status}\n{}", self.log_tail());
        Ok(())
    }

    /// A clean stop and a start.
    pub fn restart(&self) -> Result<()> {
        self.stop()?;
        self.start()
    }

    /// True between `start` and an end that the lab asked for.
    pub fn is_started(&self) -> bool {
        self.daemon().is_some()
    }

    /// Fails if the agent ended by itself.
    pub fn check_running(&self) -> Result<()> {
        self.daemon().as_mut().map_or(Ok(()), Daemon::check_running)
    }

    /// The process id, for measurements.
    pub fn pid(&self) -> Option<u32> {
        self.daemon().as_ref().map(Daemon::pid)
    }

    /// The end of the agent's log, over all its lives in this lab.
    pub fn log_tail(&self) -> String {
        log_tail(&self.log)
    }

    /// The whole log, over all its lives in this lab.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The agent at a glance.
    pub fn status(&self) -> Result<control::StatusReply> {
        self.ask(async |socket| Ok(client!(socket).status(control::StatusRequest {}).await?.into_inner()))
    }

    /// Every endpoint.
    pub fn endpoints(&self) -> Result<Vec<control::Endpoint>> {
        let request = control::EndpointsRequest::default();
        self.ask(async |socket| Ok(client!(socket).endpoints(request).await?.into_inner().endpoints))
    }

    /// Drop counters and last offenders of every endpoint.
    pub fn drops(&self) -> Result<Vec<control::EndpointDrops>> {
        self.ask(async |socket| {
            let mut stream = client!(socket).drops(control::DropsRequest::default()).await?.into_inner();
            let mut counters = Vec::new();
            while let Some(reply) = stream.message().await? {
                if let Some(control::drops_reply::Item::Counters(one)) = reply.item {
                    counters.push(one);
                }
            }
            Ok(counters)
        })
    }

    /// Foreign claims, newest first.
    pub fn conflicts(&self) -> Result<Vec<control::Conflict>> {
        let request = control::ConflictsRequest::default();
        self.ask(async |socket| Ok(client!(socket).conflicts(request).await?.into_inner().conflicts))
    }

    /// The gateways watched.
    pub fn gateways(&self) -> Result<Vec<control::Gateway>> {
        let request = control::GatewaysRequest::default();
        self.ask(async |socket| Ok(client!(socket).gateways(request).await?.into_inner().gateways))
    }

    /// Who is accelerated, and why not.
    pub fn accel(&self) -> Result<control::AccelReply> {
        self.ask(async |socket| {
            Ok(client!(socket).accel(control::AccelRequest::default()).await?.into_inner())
        })
    }

    /// Opens so many streams for CNI calls, each on a connection of its own, says nothing on them and waits until the agent
    /// has ended them all; `opened` is told when they stand.
    pub fn hold_silent_streams(&self, count: usize, opened: impl FnOnce()) -> Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let socket = self.socket();
        runtime.block_on(async {
            let mut lines = Vec::new();
            for _ in 0..count {
                lines.push(agent_api::dial(&socket).await?);
            }
            let calls = lines.iter_mut().map(|line| line.run(futures::stream::pending()));
            let mut ended = futures::future::join_all(calls);
            // One turn sends every request; the answer to a later question says that they were taken.
            tokio::select! {
                biased;
                _ = &mut ended => {}
                answer = agent_api::connect(&socket) => drop(answer?),
            }
            opened();
            let ended = tokio::time::timeout(self.ground.within(SILENCE_DEADLINE), ended).await;
            let ended = ended.context("the agent keeps streams on which nobody speaks")?;
            ensure!(ended.iter().all(Result::is_err), "the agent answered to nothing");
            Ok(())
        })
    }

    /// Runs the real `agentctl` with these words.
    pub fn agentctl(&self, words: &[&str]) -> Result<Output> {
        let mut command = Command::new(our_binary("agentctl")?);
        command.args(words).env("UNDERPASS_SOCKET", self.socket()).env("COLUMNS", "80");
        finish(&self.ground.node, &mut command, "", self.ground.within(AGENTCTL_DEADLINE))
    }

    /// The one place with a runtime in it: each question has a connection of its own and a deadline.
    fn ask<T>(&self, question: impl AsyncFnOnce(&Path) -> Result<T>) -> Result<T> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("a runtime for gRPC")?;
        let deadline = self.ground.within(QUESTION_DEADLINE);
        runtime.block_on(async {
            tokio::time::timeout(deadline, question(&self.socket()))
                .await
                .context("the agent did not answer in time")?
        })
    }

    fn take(&self) -> Result<Daemon> {
        self.daemon().take().ok_or_else(|| anyhow!("the agent is not running"))
    }

    /// A story that panicked with the lock held left nothing half done: every change is one assignment.
    fn daemon(&self) -> MutexGuard<'_, Option<Daemon>> {
        self.daemon.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn toml(&self, bpf_dir: &Path, more: &str) -> String {
        let (room, bridges) = (self.ground.room.path().display(), &self.bridges);
        let (run_dir, bpf_dir) = (self.run_dir.display(), bpf_dir.display());
        // Top-level keys of a story come before the first table, its tables behind ours.
        let (keys, tables) = more.split_at(more.find('[').unwrap_or(more.len()));
        let level = std::env::var("LAB_LOG").map(|level| format!("[log]\nlevel = \"{level}\"\n"));
        let log = level.unwrap_or_default();
        let bridges: String =
            bridges.iter().map(|bridge| ["[[bridge]]\nname = \"", bridge, "\"\n"].concat()).collect();
        format!(
            "run_dir = \"{run_dir}\"\nbpf_dir = \"{bpf_dir}\"\n{keys}\
             [ovs]\ndb = \"unix:{room}/ovs/db.sock\"\nrun_dir = \"{room}/ovs\"\n{log}{bridges}{tables}"
        )
    }
}
