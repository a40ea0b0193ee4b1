//! STATUS: could an ADD succeed now?

use agent_api::cni::v1::{Start, Verb};
use tokio::time::timeout;

use super::ipam::{Delegate, run_of};
use super::request::{reachable, resolve_bridge};
use super::{Context, Outcome, outage};
use crate::api::shim::Shim;
use crate::cni::ipam::succeeded;
use crate::cni::{CniArgs, CniError, Code, NetConf};
use crate::limits;

pub(super) async fn run(context: &Context, start: &Start, shim: &mut Shim) -> Outcome {
    let conf = NetConf::parse(&start.stdin, &CniArgs::default())?;
    conf.head.version.require_status()?;
    let unavailable = |msg: String| CniError::new(Code::NOT_AVAILABLE, msg);
    let ovs = outage::database(context).await;
    reachable(&ovs).map_err(|why| unavailable("OVSDB is out of reach".to_owned()).because(why))?;
    let bridge =
        resolve_bridge(&conf.bridge, &ovs).map_err(|error| unavailable(error.msg).because(error.details))?;
    if let Some(error) = outage::known(context, &bridge) {
        return Err(unavailable(error.msg).because(error.details));
    }
    // A bridge without endpoints has no connection that would tell.
    if !context.switches.watch().borrow().contains_key(&bridge)
        && let Err(error) = context.switches.greet(&bridge).await
    {
        let msg = format!("bridge {bridge} does not answer");
        return Err(unavailable(msg).because(crate::report::chain(&error)));
    }
    // Every ADD is ahead of vswitchd for a moment.
    let asked = ovs.next_cfg;
    let mut watch = context.ports.watch();
    let carried_out = watch.wait_for(|ovs| ovs.cur_cfg >= asked);
    if timeout(limits::VSWITCHD_PATIENCE, carried_out).await.is_err() {
        return Err(unavailable("ovs-vswitchd does not carry out its configuration".to_owned())
            .because(format!("cur_cfg {} of next_cfg {asked}", ovs.cur_cfg)));
    }
    if let Some(plugin) = &conf.head.ipam {
        let delegate = Delegate { plugin, path: &start.path, head: &conf.head };
        if delegate.version(context, shim).await?.require_status().is_ok() {
            let done = delegate.run(context, shim, Verb::Status, None).await?;
            succeeded(run_of(plugin, &done))?;
        }
    }
    Ok(Vec::new())
}
