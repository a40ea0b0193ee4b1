//! Every bound of the agent, each with its reason. Nothing in the agent grows without one of these.

use std::time::Duration;

/// Requests waiting for the store. A full queue makes CNI calls wait, which is what they do anyway.
pub const STORE_QUEUE: usize = 256;

/// How long a DEL forbids older ADDs (design §8): runtimes give up on an ADD after at most 4 minutes.
pub const TOMBSTONE_LIFE: Duration = Duration::from_mins(15);

/// A pass at least this often, whatever the triggers say: a lost one costs this much.
pub const HEARTBEAT: Duration = Duration::from_secs(10);

/// Programs on host veths are looked at this often: another tool may have hung its own there, or removed ours.
pub const INSPECT: Duration = Duration::from_secs(10);

/// Programs that were hung in haste are hung for good this much later: most pods of a job are gone by then, and a burst
/// of ADDs is over. One interface at a time, since the kernel holds the RTNL lock meanwhile (24 ms, 6.18).
pub const SETTLE_AFTER: Duration = Duration::from_secs(10);
pub const SETTLE_PAUSE: Duration = Duration::from_secs(1);

/// Interfaces waiting for their programs: every endpoint can be due at once, more wait for a later pass.
pub const HOOK_ORDERS: usize = 1_024;

/// How long an agent that leaves for good waits for the interface whose programs are just being hung: two grace periods
/// of the kernel (24 ms), behind whoever else holds the RTNL lock.
pub const HOOKS_PATIENCE: Duration = Duration::from_secs(5);

/// Foreign flows of table 0 that change are looked at this much later, all that came meanwhile together.
pub const FOREIGN_FLOWS: Duration = Duration::from_secs(1);

/// The table block is read back this often as a backstop against drift that no monitor told of.
pub const READ_BACK: Duration = Duration::from_mins(1);

/// First and longest wait before a failed endpoint is tried again; doubled in between.
pub const RETRY_FIRST: Duration = Duration::from_millis(200);
pub const RETRY_LAST: Duration = Duration::from_secs(30);

/// A switch that has not answered a barrier by then is in doubt, and its tables are read back.
pub const BARRIER_DEADLINE: Duration = Duration::from_secs(2);

/// Flow changes sent in one bundle: above it the switch stalls other work for too long (measured: 270,000 a second).
pub const BUNDLE_FLOWS: usize = 2_000;

/// The biggest reply to a dump that is put together: 500,000 flows of 128 bytes.
pub const MULTIPART_BYTES: usize = 64 << 20;

/// Silence after which the switch is asked whether it lives, and after which the connection is given up.
pub const ECHO_AFTER: Duration = Duration::from_secs(5);
pub const ECHO_DEADLINE: Duration = Duration::from_secs(10);

/// Requests waiting for one bridge's connection. A full queue makes senders wait.
pub const SWITCH_QUEUE: usize = 64;

/// Waits between attempts to reach a bridge.
pub const RECONNECT_FIRST: Duration = Duration::from_millis(50);
pub const RECONNECT_LAST: Duration = Duration::from_secs(2);

/// CNI calls served at once; more wait for their turn inside the shim's patience.
pub const CNI_CALLS: usize = 256;

/// How long a DEL waits for the data plane; past it the removal goes on and the runtime is told that it is done.
pub const DEL_PATIENCE: Duration = Duration::from_secs(10);

/// How long the shim may take to acknowledge a printed result.
pub const ACK_PATIENCE: Duration = Duration::from_secs(5);

/// How long one run of an IPAM plugin may take when the agent pays a debt itself.
pub const IPAM_PATIENCE: Duration = Duration::from_secs(30);

/// Bytes kept of what such a run says on each of its outputs: an error and some lines of log.
pub const IPAM_OUTPUT: u64 = 64 << 10;

/// How long a stopping agent waits for the calls that are under way.
pub const DRAIN: Duration = Duration::from_secs(10);

/// The most recent events kept for `agentctl events` and late subscribers.
pub const EVENTS: usize = 1_024;

/// Namespaces on their way to the reconciler: as many as calls can be under way.
pub const HOLD_QUEUE: usize = CNI_CALLS;

/// Links made or removed at once: each waits for the kernel's RTNL lock, more only queue there.
pub const LINK_CONCURRENCY: usize = 16;

/// A port that was asked for and has no number is asked for again after this long.
pub const PORT_PATIENCE: Duration = Duration::from_secs(2);

/// How long an ADD that requires its gateway waits for the first answer, in unanswered questions.
pub const GATEWAY_QUESTIONS: u32 = 3;

/// The spool is looked at this often: a shim that just missed the socket leaves its DEL there.
pub const SPOOL_LOOK: Duration = Duration::from_secs(5);

/// First and longest wait before an address is offered to its plugin again; doubled in between.
pub const DEBT_FIRST: Duration = Duration::from_secs(5);
pub const DEBT_LAST: Duration = Duration::from_mins(5);

/// Debts paid at once, and those of them to the same plugin: one that hangs takes no more than these places.
pub const DEBTS_AT_ONCE: usize = 8;
pub const DEBTS_OF_A_PLUGIN: usize = 2;

/// An ADD waits this long for a database out of reach: a restart of it, or of the agent, takes well below a second.
pub const OVSDB_PATIENCE: Duration = Duration::from_secs(2);

/// How long the database, the bridge or its switch may be away under an ADD: a restart of vswitchd takes a second or two,
/// with thousands of ports some more. Past it the runtime is told to try again, and new ADDs at once.
pub const OUTAGE_PATIENCE: Duration = Duration::from_secs(5);

/// STATUS gives vswitchd this long to carry out what was asked for before: one that is well needs milliseconds.
pub const VSWITCHD_PATIENCE: Duration = Duration::from_secs(2);
