//! The verbs. Each asks, turns the answer into a printed value, and shows it.

mod accel;
mod bench;
mod completions;
mod conflicts;
mod doctor;
mod drops;
mod endpoints;
mod events;
mod flows;
mod gateways;
mod openflow;
mod status;

use std::time::Duration;

use crate::cli::{AccelVerb, BenchVerb, Cli, FlowsVerb, Format, Verb};
use crate::failure::{Failure, Found};
use crate::screen::Screen;
use crate::session::Session;

/// Carries out one command line.
pub(crate) async fn run(cli: Cli) -> Result<Found, Failure> {
    if let Verb::Completions { shell } = cli.verb {
        return completions::run(shell);
    }
    if cli.output == Format::Json && has_no_json(&cli.verb) {
        return Err(Failure::NoJson);
    }
    if let Verb::OpenFlow { options, verb } = cli.verb {
        return openflow::run(options, verb);
    }
    if let Verb::Flows(FlowsVerb::Dump { switch: Some(socket), table, names, .. }) = &cli.verb {
        return flows::from_switch(socket, table.as_deref(), *names);
    }
    let screen = Screen::new(cli.output);
    let session = Session::open(&cli.socket).await?;
    let text = Option::unwrap_or_default;
    match cli.verb {
        Verb::Status => status::run(session, &screen).await,
        Verb::Endpoints { endpoint, bridge } => {
            endpoints::run(session, &screen, text(endpoint), text(bridge)).await
        }
        Verb::Flows(FlowsVerb::Dump { pod, table, bridge, diff, .. }) => {
            flows::run(session, &screen, text(pod), text(table), text(bridge), diff).await
        }
        Verb::Drops { endpoint, watch } => drops::run(session, &screen, text(endpoint), watch).await,
        Verb::Conflicts { endpoint } => conflicts::run(session, &screen, text(endpoint)).await,
        Verb::Gateways { bridge } => gateways::run(session, &screen, text(bridge)).await,
        Verb::Accel { verb: None } => accel::list(session, &screen).await,
        Verb::Accel { verb: Some(AccelVerb::Explain { from, to }) } => {
            accel::explain(session, &screen, from, to).await
        }
        Verb::Bench(BenchVerb::Latency { from, to, size, seconds }) => {
            let time = Duration::from_secs(seconds.into());
            bench::latency(session, &screen, [from, to], size.into(), time).await
        }
        Verb::Doctor => doctor::run(session, &screen).await,
        Verb::Events { endpoint, follow } => events::run(session, &screen, text(endpoint), follow).await,
        Verb::OpenFlow { options, verb } => openflow::run(options, verb),
        Verb::Completions { shell } => completions::run(shell),
    }
}

/// Verbs that speak the language of `ovs-ofctl`.
fn has_no_json(verb: &Verb) -> bool {
    matches!(verb, Verb::OpenFlow { .. } | Verb::Flows(FlowsVerb::Dump { switch: Some(_), .. }))
}
