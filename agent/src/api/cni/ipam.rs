//! IPAM delegation: through the shim in the runtime's own context, or by the agent itself for what it owes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use agent_api::cni::v1::{IpamDone, Start, Verb};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio::time::timeout;

use super::Context;
use crate::api::shim::{Gone, Shim};
use crate::cni::ipam::{Run, choose_version, stdin, succeeded};
use crate::cni::{CniError, CniResult, Code, Head, Version};
use crate::limits::{DEBT_PAUSE, IPAM_PATIENCE};
use crate::model::{EndpointId, Ipam, IpamState};

/// Plugin, `CNI_PATH` and the caller's version, to the version that the plugin is spoken to in.
type Known = BTreeMap<(String, String, Version), Version>;

/// In which version each plugin is spoken to: asked once for each plugin and `CNI_PATH`.
#[derive(Clone, Debug, Default)]
pub struct PluginVersions(
    // A lock, not a task: a look-up in a map of a few entries.
    Arc<Mutex<Known>>,
);

/// One plugin of one call.
pub(super) struct Delegate<'a> {
    pub(super) plugin: &'a str,
    pub(super) path: &'a str,
    pub(super) head: &'a Head,
}

impl Delegate<'_> {
    /// Has the shim run the plugin; `previous` goes along as `prevResult`.
    pub(super) async fn run(
        &self,
        context: &Context,
        shim: &mut Shim,
        verb: Verb,
        previous: Option<&CniResult>,
    ) -> Result<IpamDone, CniError> {
        let version = self.version(context, shim).await?;
        let input = stdin(self.head, version, previous);
        shim.run_ipam(verb, self.plugin, input).await.map_err(gone_error)
    }

    /// The version to speak to the plugin.
    pub(super) async fn version(&self, context: &Context, shim: &mut Shim) -> Result<Version, CniError> {
        let caller = self.head.version;
        let key = (self.plugin.to_owned(), self.path.to_owned(), caller);
        if let Some(known) = lock(&context.plugins).get(&key) {
            return Ok(*known);
        }
        let done = shim.run_ipam(Verb::Version, self.plugin, b"{\"cniVersion\":\"1.0.0\"}".to_vec()).await;
        let done = done.map_err(gone_error)?;
        let version = choose_version(run_of(self.plugin, &done), caller)?;
        lock(&context.plugins).insert(key, version);
        Ok(version)
    }
}

/// What a shim reported, in the words of [`crate::cni::ipam`].
pub(super) fn run_of<'a>(plugin: &'a str, done: &'a IpamDone) -> Run<'a> {
    Run { plugin, exit: done.exit, stdout: &done.stdout, stderr: &done.stderr, failure: &done.failure }
}

pub(super) fn gone_error(gone: Gone) -> CniError {
    CniError::new(Code::TRY_AGAIN, "the call was given up").caused_by(&gone)
}

/// Gives back, one after the other, the addresses that nobody else will: of ADDs whose shim died, of spooled DELs.
pub async fn pay_debts(context: Context) {
    let mut intent = context.store.watch();
    loop {
        let due: Vec<_> =
            intent.borrow_and_update().debts.iter().map(|(id, i)| (id.clone(), i.clone())).collect();
        let mut failed = false;
        for (id, ipam) in due {
            match pay(&id, &ipam).await {
                Ok(()) => {
                    tracing::info!(endpoint = %id, plugin = %ipam.plugin, "address given back");
                    context.store.paid(id).await;
                }
                Err(why) => {
                    tracing::warn!(endpoint = %id, plugin = %ipam.plugin, %why, "address not given back yet");
                    failed = true;
                }
            }
        }
        let pause = if failed { DEBT_PAUSE } else { Duration::MAX };
        // A change or a pause: both only mean "look again".
        if let Ok(Err(_)) = timeout(pause, intent.changed()).await {
            return;
        }
    }
}

/// What the ledger keeps of a plugin that may hold an address for this call.
pub(super) fn held(plugin: &str, start: &Start) -> Ipam {
    Ipam {
        plugin: plugin.to_owned(),
        path: start.path.clone(),
        args: start.args.clone(),
        stdin: String::from_utf8_lossy(&start.stdin).into_owned(),
        result: None,
        state: IpamState::Held,
    }
}

/// Runs the plugin's DEL as the runtime would have.
async fn pay(id: &EndpointId, ipam: &Ipam) -> Result<(), String> {
    let said = |error: CniError| format!("{}: {}", error.msg, error.details);
    let head = Head::parse(ipam.stdin.as_bytes()).map_err(said)?;
    let answer = execute(id, ipam, "VERSION", b"{\"cniVersion\":\"1.0.0\"}").await?;
    let version = choose_version(outcome_of(ipam, &answer), head.version).map_err(said)?;
    let answer = execute(id, ipam, "DEL", &stdin(&head, version, None)).await?;
    succeeded(outcome_of(ipam, &answer)).map_err(said)
}

async fn execute(id: &EndpointId, ipam: &Ipam, verb: &str, input: &[u8]) -> Result<Output, String> {
    let program =
        find(&ipam.path, &ipam.plugin).ok_or_else(|| format!("no {} in {}", ipam.plugin, ipam.path))?;
    let mut child = Command::new(program)
        .env_clear()
        .env("CNI_COMMAND", verb)
        .env("CNI_CONTAINERID", &id.container)
        .env("CNI_IFNAME", &id.ifname)
        .env("CNI_NETNS", "")
        .env("CNI_ARGS", &ipam.args)
        .env("CNI_PATH", &ipam.path)
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("starting it failed: {error}"))?;
    if let Some(mut pipe) = child.stdin.take() {
        // A plugin that does not read its input says so by its exit status.
        pipe.write_all(input).await.ok();
    }
    let output = timeout(IPAM_PATIENCE, child.wait_with_output()).await;
    output.map_err(|_| "it did not end".to_owned())?.map_err(|e| e.to_string())
}

fn outcome_of<'a>(ipam: &'a Ipam, output: &'a Output) -> Run<'a> {
    Run {
        plugin: &ipam.plugin,
        exit: output.status.code().unwrap_or(128),
        stdout: &output.stdout,
        stderr: &output.stderr,
        failure: "",
    }
}

/// The first file of that name in `CNI_PATH`.
fn find(path: &str, plugin: &str) -> Option<PathBuf> {
    let candidates = path.split(':').filter(|d| !d.is_empty()).map(|d| Path::new(d).join(plugin));
    candidates.into_iter().find(|p| p.is_file())
}

fn lock(versions: &PluginVersions) -> std::sync::MutexGuard<'_, Known> {
    versions.0.lock().unwrap_or_else(PoisonError::into_inner)
}
