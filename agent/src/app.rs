//! The boot story, top to bottom. The only file that names every part, and the only one that spawns tasks.
//!
//! Order matters: the lock before anything is read, the ledger before any fact, the data plane before the socket,
//! and the spool before "ready". A task that ends before it was told to ends the process: a supervisor restarts it,
//! and a restart is an ordinary event.

mod cluster;

use std::fs;
use std::io::IsTerminal as _;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use crate::api;
use crate::args::Args;
use crate::config::{Config, LogFormat};
use crate::dataplane::bpf::Bpf;
use crate::dataplane::flows::Switches;
use crate::dataplane::links::{HostVeths, Links, monitor};
use crate::dataplane::netns::{Netns, ProcRoot};
use crate::dataplane::ports::PortsHandle;
use crate::dataplane::{flows, hooks, ports};
use crate::events::Events;
use crate::health::{self, Readiness};
use crate::install;
use crate::kube::Cluster;
use crate::metrics::CallTimes;
use crate::observe;
use crate::observe::drops::Reader;
use crate::probe::driver;
use crate::reconcile::{Parts, Reconciler};
use crate::store::{self, Ledger, Store};

const DEFAULT_CONFIG: &str = "/etc/underpass/agent.toml";

/// `underpass-agent`: until a signal or a fatal fault.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let config = load(args)?;
    start_logging(log_filter(args, &config)?, config.log.format);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(serve(Arc::new(config)))
}

/// `underpass-agent check`.
pub fn check(args: &Args) -> anyhow::Result<()> {
    log_filter(args, &load(args)?).map(drop)
}

/// `underpass-agent health`: for exec probes.
pub fn health(args: &Args, ready: bool) -> anyhow::Result<()> {
    let config = load(args)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(api::ask_health(&config.socket(), ready))
}

/// `underpass-agent uninstall`: for the chart.
pub fn uninstall(args: &Args) -> anyhow::Result<()> {
    let config = load(args)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let cluster = Cluster::join(&config.kubernetes)?.context("this is no pod of a cluster")?;
        Ok(cluster.uninstall().await?)
    })
}

/// Shows a fatal error with its causes.
#[expect(clippy::print_stderr, reason = "the last words of the process; logging may not have begun")]
pub fn complain(error: &anyhow::Error) {
    eprintln!("underpass-agent: {error:#}");
}

async fn serve(config: Arc<Config>) -> anyhow::Result<()> {
    let cluster = Cluster::join(&config.kubernetes).context("taking part in the cluster")?;
    make_private(&config.run_dir)?;
    make_private(&config.bpf_dir).context("setting up eBPF: is a bpffs mounted there?")?;
    let _locks = health::lock(&config.run_dir, &config.bpf_dir).await?;
    let stop = CancellationToken::new();
    let mut tasks: JoinSet<&'static str> = JoinSet::new();
    let context = start_parts(&mut tasks, &config, &stop).await?;
    observe(&mut tasks, &context, cluster.clone(), &stop);
    let leaving = cluster::Leaving {
        config: Arc::clone(&config),
        cluster: cluster.clone(),
        store: context.store.clone(),
        reconcile: context.reconcile.clone(),
        ovs: context.ports.watch(),
    };
    install::plugin(&config.install).context("installing the plugin")?;
    let arrival = cluster::arrive(Arc::clone(&config), cluster, context.ports.watch());
    let (calls, readiness) = (context.calls.clone(), context.readiness.clone());
    open_socket(&mut tasks, context, &stop).await?;
    tasks.spawn(named("arrival", arrival));

    let outcome = until_stopped(&mut tasks).await;
    readiness.set_stopping();
    health::notify("STOPPING=1");
    leaving.drain(&calls, outcome.is_ok()).await;
    stop.cancel();
    // What is in the kernel and on the switch stays: the guard holds without the agent.
    fs::remove_file(config.socket()).ok();
    tasks.shutdown().await;
    outcome
}

/// Starts the ledger, the doors of the data plane, and who works on them; what the API needs of all that.
async fn start_parts(
    tasks: &mut JoinSet<&'static str>,
    config: &Arc<Config>,
    stop: &CancellationToken,
) -> anyhow::Result<api::Context> {
    let proc_root = proc_root();
    let boot_id = boot_id(&proc_root)?;
    let events = Events::default();
    let bpf = Arc::new(Bpf::open(&config.bpf_dir, config.max_endpoints).context("setting up eBPF")?);
    let ledger = Ledger::open(&config.run_dir, &boot_id)?;
    let (store_task, store) = Store::open(ledger, config.max_endpoints, crate::clock::boottime)?;
    tasks.spawn(named("store", store::run(store_task)));

    let (links, veths) = connect_links(tasks, proc_root.clone()).await?;
    let (ports, switches) = connect_switch(tasks, config);
    let (outcomes_out, outcomes) = watch::channel(Arc::default());
    let (stations_out, stations) = watch::channel(Arc::default());
    let prober = driver::Driver::new(driver::Parts {
        config: Arc::clone(config),
        bpf: Arc::clone(&bpf),
        switches: switches.clone(),
        stations,
        outcomes: outcomes_out,
        events: events.clone(),
    })?;
    tasks.spawn(named("prober", prober.run(stop.child_token())));

    let (hooks, hooks_worker) = hooks::new(Arc::clone(&bpf));
    tasks.spawn_blocking(|| {
        hooks_worker.run();
        "hooks"
    });
    let (reconciler, reconcile) = Reconciler::new(Parts {
        config: Arc::clone(config),
        boot_id,
        store: store.clone(),
        links: links.clone(),
        veths,
        bpf: Arc::clone(&bpf),
        hooks,
        ports: ports.clone(),
        switches: switches.clone(),
        outcomes: outcomes.clone(),
        stations: stations_out,
        clock: crate::clock::boottime,
    });
    tasks.spawn(named("reconciler", reconciler.run(stop.child_token())));

    let [calls, questions] = ["calls", "questions"].map(|name| {
        let (calls, runner) = api::Calls::new();
        tasks.spawn(named(name, runner.run()));
        calls
    });
    let (drop_reader, drops) = Reader::new(bpf.drops()?)?;
    tasks.spawn(named("drops", drop_reader.run(stop.child_token())));
    Ok(api::Context {
        config: Arc::clone(config),
        store,
        reconcile,
        ports,
        links,
        proc_root,
        bpf,
        switches,
        outcomes,
        events,
        readiness: Readiness::default(),
        calls,
        questions,
        drops,
        plugins: api::PluginVersions::default(),
        call_times: CallTimes::default(),
        started: crate::clock::boottime(),
    })
}

/// Names this boot of the node.
fn boot_id(proc: &ProcRoot) -> anyhow::Result<String> {
    let path = proc.join("sys/kernel/random/boot_id");
    let id = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    Ok(id.trim().to_owned())
}

/// Binds the socket, works off the spool, and only then is ready.
async fn open_socket(
    tasks: &mut JoinSet<&'static str>,
    context: api::Context,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let (socket, readiness) = (context.config.socket(), context.readiness.clone());
    let (debts, spooler) = (context.clone(), context.clone());
    tasks.spawn(named("debts", async move { api::pay_debts(debts).await }));
    let server = api::bind(&socket).context("binding the agent's socket")?;
    if let Some(address) = context.config.metrics {
        let metrics = api::serve_metrics(address, context.clone(), stop.child_token());
        tasks.spawn(named("metrics", metrics));
    }
    tasks.spawn(named("api", api::serve(server, context, stop.child_token())));
    api::drain_spool(&spooler).await;
    tasks.spawn(named("spool", api::watch_spool(spooler)));
    readiness.set_ready();
    health::notify("READY=1");
    tracing::info!(socket = %socket.display(), "ready");
    Ok(())
}

/// The door to the kernel's links, and what is there.
async fn connect_links(
    tasks: &mut JoinSet<&'static str>,
    proc_root: ProcRoot,
) -> anyhow::Result<(Links, watch::Receiver<Arc<HostVeths>>)> {
    let (links, netlink) =
        Links::connect(Netns::current()?, proc_root).await.context("connecting to netlink")?;
    tasks.spawn(named("netlink", netlink));
    let first = Arc::new(links.observe().await.context("listing the links")?);
    let (veths_out, veths) = watch::channel(first);
    let watched = links.clone();
    tasks.spawn(named("link monitor", async move { match monitor::run(watched, veths_out).await {} }));
    Ok((links, veths))
}

/// The doors to Open vSwitch: its database, and its bridges.
fn connect_switch(tasks: &mut JoinSet<&'static str>, config: &Config) -> (PortsHandle, Switches) {
    let database = ovsdb::Endpoint::unix(&config.ovs.db);
    let (ports, ports_task) =
        ports::ports(ports::PortsConfig::new(database, ovsdb::LockName::from_text("underpass")));
    tasks.spawn(named("ports", ports_task.run()));
    let (switches, switches_task) = flows::new(flows::Settings { run_dir: config.ovs.run_dir.clone() });
    tasks.spawn(named("switches", flows::run(switches_task)));
    (ports, switches)
}

/// Who looks at what happens, and tells of it.
fn observe(
    tasks: &mut JoinSet<&'static str>,
    context: &api::Context,
    cluster: Option<Cluster>,
    stop: &CancellationToken,
) {
    let (store, events) = (context.store.clone(), context.events.clone());
    let offenders =
        observe::offenders::run(context.drops.clone(), store.clone(), events.clone(), stop.child_token());
    tasks.spawn(named("offenders", offenders));
    let sources = observe::node::Sources {
        ovs: context.ports.watch(),
        switches: context.switches.watch(),
        status: context.reconcile.watch(),
        store: store.clone(),
    };
    tasks.spawn(named("node", observe::node::run(sources, events.clone(), stop.child_token())));
    if let Some(cluster) = cluster {
        let told = observe::cluster::run(cluster, events, store, stop.child_token());
        tasks.spawn(named("events for the cluster", told));
    }
}

/// Waits for a signal, or for a task that should not have ended.
async fn until_stopped(tasks: &mut JoinSet<&'static str>) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => tracing::info!("terminated, draining"),
        _ = interrupt.recv() => tracing::info!("interrupted, draining"),
        ended = tasks.join_next() => match ended {
            Some(Ok(name)) => bail!("the task `{name}` ended"),
            Some(Err(error)) => return Err(error).context("a task ended by a panic"),
            None => bail!("no tasks"),
        },
    }
    Ok(())
}

async fn named(name: &'static str, task: impl Future<Output = ()>) -> &'static str {
    task.await;
    name
}

fn load(args: &Args) -> anyhow::Result<Config> {
    let path = args.config.as_deref().unwrap_or_else(|| Path::new(DEFAULT_CONFIG));
    Ok(Config::load(path, args.config.is_some())?)
}

/// What is logged; a filter that cannot be read is refused, for the log would lack what was asked for.
fn log_filter(args: &Args, config: &Config) -> anyhow::Result<EnvFilter> {
    let (text, from) = match &args.log {
        Some(text) => (text, "--log (or UNDERPASS_LOG)"),
        None => (&config.log.level, "log.level"),
    };
    EnvFilter::builder().parse(text).with_context(|| format!("{from}: `{text}` is no log filter"))
}

fn start_logging(filter: EnvFilter, format: LogFormat) {
    let out = std::io::stderr();
    // Colours belong on terminals: files and the journal keep the bytes (no-color.org for the variable).
    let coloured = out.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(coloured);
    let builder = builder.with_writer(std::io::stderr);
    match format {
        LogFormat::Text => builder.init(),
        LogFormat::Json => builder.json().init(),
    }
}

fn make_private(dir: &Path) -> anyhow::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .and_then(|()| fs::set_permissions(dir, fs::Permissions::from_mode(0o700)))
        .with_context(|| format!("making {}", dir.display()))
}

/// A container's own `/proc/sys` is read-only; the chart mounts the host's at `/host/proc`.
fn proc_root() -> ProcRoot {
    let mounted = Path::new("/host/proc/sys/net");
    if mounted.is_dir() { ProcRoot::new("/host/proc") } else { ProcRoot::default() }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[test]
    fn a_log_filter_that_cannot_be_read_is_refused_by_its_name() {
        let config = Config::load(Path::new("/nonexistent"), false).unwrap();
        let with = |filter: &str| {
            let args = Args::parse_from(["underpass-agent", "--log", filter]);
            log_filter(&args, &config).map(drop).map_err(|error| error.to_string())
        };
        assert_eq!(with("underpass_agent=debug,info"), Ok(()));
        let refused = "--log (or UNDERPASS_LOG): `underpass_agent=loud` is no log filter";
        assert_eq!(with("underpass_agent=loud"), Err(refused.to_owned()));
    }
}
