//! IPAM delegation through the shim, in the runtime's own context.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use agent_api::cni::v1::{IpamDone, Start, Verb};

use super::Context;
use crate::api::shim::{Gone, Shim};
use crate::cni::ipam::{Run, choose_version, stdin};
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
