//! IPAM delegation through the shim, in the runtime's own context.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use agent_api::cni::v1::{IpamDone, Start, Verb};

use super::Context;
use crate::api::shim::{Gone, Shim};
use crate::cni::ipam::{Run, choose_version, refused, stdin, succeeded};
use crate::cni::{CniError, CniResult, Code, Head, Version};
use crate::model::{Ipam, IpamState};

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

    /// Has the plugin take the address back in the runtime's own context.
    pub(super) async fn give_back(&self, context: &Context, shim: &mut Shim) -> Returned {
        let version = match self.version(context, shim).await {
            Ok(version) => version,
            Err(error) if error.code == Code::TRY_AGAIN => return Returned::Unclear(error),
            Err(error) => return Returned::Refused(error),
        };
        let done = match shim.run_ipam(Verb::Del, self.plugin, stdin(self.head, version, None)).await {
            Ok(done) => done,
            Err(gone) => return Returned::Unclear(gone_error(gone)),
        };
        let run = run_of(self.plugin, &done);
        match succeeded(run) {
            Ok(()) => Returned::Yes,
            Err(error) if refused(run) || !run.failure.is_empty() => Returned::Refused(error),
            Err(error) => Returned::Unclear(error),
        }
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

/// How a plugin took it that an address goes back.
pub(super) enum Returned {
    /// It holds none any more.
    Yes,
    /// It cannot be run, or said no in its own words.
    Refused(CniError),
    /// The call was given up, or the plugin ended without a word.
    Unclear(CniError),
}

/// What a shim reported, in the words of [`crate::cni::ipam`].
pub(super) fn run_of<'a>(plugin: &'a str, done: &'a IpamDone) -> Run<'a> {
    Run { plugin, exit: done.exit, stdout: &done.stdout, stderr: &done.stderr, failure: &done.failure }
}

pub(super) fn gone_error(gone: Gone) -> CniError {
    CniError::new(Code::TRY_AGAIN, "the call was given up").caused_by(&gone)
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

fn lock(versions: &PluginVersions) -> std::sync::MutexGuard<'_, Known> {
    versions.0.lock().unwrap_or_else(PoisonError::into_inner)
}
