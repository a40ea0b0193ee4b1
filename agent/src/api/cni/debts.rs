//! Debts: addresses that the agent has to give back itself, because nobody else will (the shim of a failed ADD died, a
//! DEL came through the spool).
//!
//! Each debt has a back-off of its own, and several are paid at once, few of them to the same plugin: one that hangs
//! holds up its own debts and no others.
//!
//! A debt that could not be paid is tried again for as long as the node runs. It does not stand in the way of the same
//! attachment meanwhile: an ADD ends it, as the store knows when nobody is about to pay it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use crate::api::Context;
use crate::clock::boottime;
use crate::cni::ipam::{Run, choose_version, stdin, succeeded};
use crate::cni::{CniError, Head};
use crate::limits::{
    DEBT_FIRST, DEBT_LAST, DEBTS_AT_ONCE, DEBTS_OF_A_PLUGIN, HEARTBEAT, IPAM_OUTPUT, IPAM_PATIENCE,
};
use crate::model::{EndpointId, Ipam, IpamState};

/// Pays what is owed, for ever.
pub async fn pay_debts(context: Context) {
    let mut intent = context.store.watch();
    let mut book = Book::default();
    let mut paying = FuturesUnordered::new();
    loop {
        let debts = intent.borrow_and_update().debts.clone();
        book.follow(&debts);
        for (id, ipam) in book.start(&debts, boottime()) {
            let store = context.store.clone();
            paying.push(async move {
                let outcome = if store.pay(&id, &ipam).await { Some(pay(&id, &ipam).await) } else { None };
                (id, ipam, outcome)
            });
        }
        // Both arms are cancel-safe; a pause that is over only means "look again".
        let settled = tokio::select! {
            changed = intent.changed() => match changed {
                Ok(()) => None,
                Err(_) => return,
            },
            settled = paying.next(), if !paying.is_empty() => settled,
            () = sleep(book.pause(boottime())) => None,
        };
        let Some((id, ipam, outcome)) = settled else { continue };
        match outcome {
            None => book.forget(&id),
            Some(Ok(())) => {
                tracing::info!(endpoint = %id, plugin = %ipam.plugin, "address given back");
                book.forget(&id);
                context.store.paid(id, ipam).await;
            }
            Some(Err(why)) => {
                let again_in = book.failed(&id, boottime());
                tracing::warn!(endpoint = %id, plugin = %ipam.plugin, %why, ?again_in, "address not given back yet");
                context.store.unpaid(id, ipam, why).await;
            }
        }
    }
}

/// Which debts are being paid, and when the others are tried again.
#[derive(Debug, Default)]
struct Book {
    tries: BTreeMap<EndpointId, Try>,
}

#[derive(Debug)]
struct Try {
    /// What is owed: another debt under the same name begins anew.
    ipam: Ipam,
    failures: u32,
    is_running: bool,
    /// On the boot clock.
    due: Duration,
}

impl Book {
    /// Forgets debts that are gone. One whose payment is under way stays in the book until that has ended.
    fn follow(&mut self, debts: &BTreeMap<EndpointId, Ipam>) {
        self.tries.retain(|id, entry| entry.is_running || debts.get(id) == Some(&entry.ipam));
    }

    /// The debts to be paid now: those that have waited longest, within the bounds.
    fn start(&mut self, debts: &BTreeMap<EndpointId, Ipam>, now: Duration) -> Vec<(EndpointId, Ipam)> {
        let due = |id: &EndpointId| match self.tries.get(id) {
            Some(entry) if entry.is_running => None,
            Some(entry) => Some(entry.due),
            None => Some(Duration::ZERO),
        };
        // A reservation that is held is settled by the ADD that is still under way.
        let owed = debts.iter().filter(|(_, ipam)| ipam.state == IpamState::Owed);
        let mut waiting: Vec<_> = owed
            .filter_map(|(id, ipam)| Some((due(id)?, id, ipam)))
            .filter(|(due, ..)| *due <= now)
            .collect();
        waiting.sort_by(|one, other| (one.0, one.1).cmp(&(other.0, other.1)));
        let mut started = Vec::new();
        for (_, id, ipam) in waiting {
            let running = || self.tries.values().filter(|entry| entry.is_running);
            let same = running().filter(|entry| entry.ipam.plugin == ipam.plugin).count();
            if running().count() >= DEBTS_AT_ONCE || same >= DEBTS_OF_A_PLUGIN {
                continue;
            }
            let failures = self.tries.get(id).map_or(0, |entry| entry.failures);
            let entry = Try { ipam: ipam.clone(), failures, is_running: true, due: now };
            self.tries.insert(id.clone(), entry);
            started.push((id.clone(), ipam.clone()));
        }
        started
    }

    /// Books a failure; after how long the next try comes.
    fn failed(&mut self, id: &EndpointId, now: Duration) -> Duration {
        let Some(entry) = self.tries.get_mut(id) else { return Duration::ZERO };
        let wait = DEBT_FIRST.saturating_mul(1 << entry.failures.min(16)).min(DEBT_LAST);
        entry.failures += 1;
        entry.is_running = false;
        entry.due = now + wait;
        wait
    }

    fn forget(&mut self, id: &EndpointId) {
        self.tries.remove(id);
    }

    /// How long nothing becomes due by itself.
    fn pause(&self, now: Duration) -> Duration {
        let due = self.tries.values().filter(|entry| !entry.is_running).map(|entry| entry.due).min();
        // What is due and not under way waits for a place, which the end of another payment makes.
        due.map(|due| due.saturating_sub(now)).filter(|wait| !wait.is_zero()).unwrap_or(HEARTBEAT)
    }
}

/// Runs the plugin's DEL as the runtime would have.
async fn pay(id: &EndpointId, ipam: &Ipam) -> Result<(), String> {
    let said = |error: CniError| format!("{}: {}", error.msg, error.details);
    let head = Head::parse(ipam.stdin.as_bytes()).map_err(said)?;
    let answer = execute(id, ipam, "VERSION", b"{\"cniVersion\":\"1.0.0\"}", IPAM_PATIENCE).await?;
    let version = choose_version(outcome_of(ipam, &answer), head.version).map_err(said)?;
    let answer = execute(id, ipam, "DEL", &stdin(&head, version, None), IPAM_PATIENCE).await?;
    succeeded(outcome_of(ipam, &answer)).map_err(said)
}

async fn execute(
    id: &EndpointId,
    ipam: &Ipam,
    verb: &str,
    input: &[u8],
    patience: Duration,
) -> Result<Output, String> {
    let program =
        find(&ipam.path, &ipam.plugin).ok_or_else(|| format!("no {} in {}", ipam.plugin, ipam.path))?;
    let child = Command::new(program)
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
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("starting it failed: {error}"))?;
    let output = timeout(patience, converse(child, input)).await;
    output.map_err(|_| format!("it did not end within {patience:?}"))?.map_err(|e| e.to_string())
}

/// Feeds the plugin and hears it out at once, for it may do these in any order, then waits for its end. If that is given
/// up, the plugin is killed with all that it started.
async fn converse(mut child: Child, input: &[u8]) -> std::io::Result<Output> {
    let mut group = Group::of(&child);
    let (mut to, from, errors) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let feed = async {
        if let Some(pipe) = &mut to {
            // A plugin that does not read its input says so by its exit status.
            pipe.write_all(input).await.ok();
        }
        drop(to.take());
    };
    let ((), stdout, stderr) = tokio::join!(feed, hear(from), hear(errors));
    let status = child.wait().await?;
    group.has_ended();
    Ok(Output { status, stdout: stdout?, stderr: stderr? })
}

/// A plugin's process group, killed when it is dropped. Its number is the plugin's, which nobody else gets before the plugin
/// was waited for.
struct Group(Option<Pid>);

impl Group {
    fn of(plugin: &Child) -> Self {
        Self(plugin.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw))
    }

    /// The plugin was waited for.
    fn has_ended(&mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // Nobody is left to kill, or nobody is left to tell.
            killpg(group, Signal::SIGKILL).ok();
        }
    }
}

/// Reads to the end, and keeps as much as an honest plugin has to say.
async fn hear(pipe: Option<impl AsyncRead + Unpin>) -> std::io::Result<Vec<u8>> {
    let mut kept = Vec::new();
    if let Some(mut pipe) = pipe {
        (&mut pipe).take(IPAM_OUTPUT).read_to_end(&mut kept).await?;
        tokio::io::copy(&mut pipe, &mut tokio::io::sink()).await?;
    }
    Ok(kept)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn debt(plugin: &str) -> Ipam {
        Ipam {
            plugin: plugin.to_owned(),
            path: "/nowhere".to_owned(),
            args: String::new(),
            stdin: "{}".to_owned(),
            result: None,
            state: IpamState::Owed,
        }
    }

    fn debts<'a>(of: impl IntoIterator<Item = (&'a str, &'a str)>) -> BTreeMap<EndpointId, Ipam> {
        of.into_iter().map(|(name, plugin)| (EndpointId::new(name, "eth0"), debt(plugin))).collect()
    }

    fn names(started: &[(EndpointId, Ipam)]) -> Vec<&str> {
        started.iter().map(|(id, _)| id.container.as_str()).collect()
    }

    const T0: Duration = Duration::from_secs(1_000);

    #[test]
    fn a_plugin_that_hangs_holds_up_no_others_debts() {
        let owed = debts([("a", "hangs"), ("b", "hangs"), ("c", "hangs"), ("d", "works")]);
        let mut book = Book::default();
        assert_eq!(names(&book.start(&owed, T0)), ["a", "b", "d"]);
        assert!(book.start(&owed, T0).is_empty(), "each is paid once at a time");
        assert_eq!(book.pause(T0), HEARTBEAT, "the end of one of them wakes the next");
        book.failed(&EndpointId::new("a", "eth0"), T0);
        assert_eq!(names(&book.start(&owed, T0)), ["c"], "the one that waited, not the one that just failed");
    }

    #[test]
    fn each_debt_backs_off_on_its_own_up_to_a_bound() {
        let owed = debts([("a", "p"), ("b", "p")]);
        let (id, other) = (EndpointId::new("a", "eth0"), EndpointId::new("b", "eth0"));
        let (mut book, mut now) = (Book::default(), T0);
        book.start(&owed, now);
        book.failed(&other, now);
        let mut waits = Vec::new();
        for _ in 0..9 {
            let wait = book.failed(&id, now);
            waits.push(wait.as_secs());
            now += wait;
            let started = book.start(&owed, now);
            assert!(names(&started).contains(&"a"), "due after {wait:?}");
        }
        assert_eq!(waits, [5, 10, 20, 40, 80, 160, 300, 300, 300]);
        assert_eq!(book.failed(&other, now), Duration::from_secs(10));
    }

    #[test]
    fn another_debt_under_the_same_name_begins_anew() {
        let (mut book, id) = (Book::default(), EndpointId::new("a", "eth0"));
        let first = debts([("a", "p")]);
        book.start(&first, T0);
        book.failed(&id, T0);
        assert!(book.start(&first, T0).is_empty());
        let second = debts([("a", "q")]);
        book.follow(&second);
        assert_eq!(names(&book.start(&second, T0)), ["a"]);
        book.forget(&id);
        book.follow(&debts([]));
        assert!(book.tries.is_empty());
    }

    #[test]
    fn what_an_add_still_holds_is_not_paid() {
        let mut owed = debts([("a", "p")]);
        for ipam in owed.values_mut() {
            ipam.state = IpamState::Held;
        }
        assert!(Book::default().start(&owed, T0).is_empty());
    }

    /// Runs a plugin that is this shell script.
    async fn run(script: &str, input: &[u8], patience: Duration) -> Result<Output, String> {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("plugin");
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
        let ipam = Ipam { path: dir.path().display().to_string(), ..debt("plugin") };
        execute(&EndpointId::new("c", "eth0"), &ipam, "DEL", input, patience).await
    }

    #[tokio::test]
    async fn a_plugin_that_neither_reads_nor_ends_is_given_up() {
        let big = vec![b' '; 1 << 20];
        let why = run("exec sleep 60", &big, Duration::from_millis(200)).await.unwrap_err();
        assert_eq!(why, "it did not end within 200ms");
    }

    #[tokio::test]
    async fn what_a_plugin_started_does_not_outlive_its_being_given_up() {
        let dir = tempfile::tempdir().unwrap();
        let pid = dir.path().join("pid");
        let script = format!("sleep 60 & echo $! > {}; wait", pid.display());
        run(&script, b"", Duration::from_secs(2)).await.unwrap_err();
        let started = std::fs::read_to_string(pid).unwrap();
        let status = PathBuf::from(format!("/proc/{}/status", started.trim()));
        // Who inherits it may not have waited for it yet.
        let lives = || std::fs::read_to_string(&status).is_ok_and(|text| !text.contains("State:\tZ"));
        for _ in 0..200 {
            if !lives() {
                return;
            }
            sleep(Duration::from_millis(10)).await;
        }
        panic!("process {started} lives on");
    }

    #[tokio::test]
    async fn a_plugin_that_talks_without_end_is_cut_short_and_heard_out() {
        let output =
            run("cat >&2; head -c 1000000 /dev/zero; exit 3", b"said", Duration::from_secs(20)).await;
        let output = output.unwrap();
        assert_eq!((output.stdout.len() as u64, output.status.code()), (IPAM_OUTPUT, Some(3)));
        assert_eq!(output.stderr, b"said");
    }
}
