//! The demo: the story of Underpass on one screen, told with the real binaries in a lab.
//!
//! `--cluster` tells it on a Kubernetes cluster of real parts, which xtask has built. `--keep` leaves it running with
//! commands to try, until Ctrl-C. The exit status is 0 when every check held,
//! 1 when one did not, 130 after Ctrl-C; in every case the lab is taken away. It runs the story and prints; what the
//! story does stands in `story` and `cluster`, how it looks in `screen`.

mod cluster;
mod screen;
mod story;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use e2e::Lab;
use screen::Screen;

/// Set by Ctrl-C and by SIGTERM; looked at between two steps.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// What a shell says of a process that Ctrl-C ended.
const INTERRUPTED_STATUS: u8 = 130;

/// A gateway's death is told within two seconds instead of seven; the rest are defaults.
const CONFIG: &str = "[gateway]\ninterval = \"200ms\"\ntimeout = \"400ms\"";

const USAGE: &str = "usage: demo [--cluster] [--keep]\n  --cluster  on a Kubernetes cluster\n  --keep     leave it running, with commands to try, until Ctrl-C";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| !["--cluster", "--keep"].contains(&argument.as_str())) {
        Screen::say(USAGE);
        return ExitCode::from(2);
    }
    let [on_cluster, keep] =
        ["--cluster", "--keep"].map(|flag| arguments.iter().any(|argument| argument == flag));
    watch_for_ctrl_c();
    let tell = if on_cluster { cluster::tell } else { tell };
    let told = catch_unwind(AssertUnwindSafe(|| tell(keep)));
    let interrupted = interrupted();
    match told {
        _ if interrupted && !keep => {
            Screen::say("\nInterrupted; the lab is taken away.");
            ExitCode::from(INTERRUPTED_STATUS)
        }
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        // The panic has printed what it is about; the lab was cleared while it unwound.
        Err(_) => {
            Screen::say("\nVerdict: the demo could not be told to its end.");
            ExitCode::FAILURE
        }
    }
}

fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

/// Until Ctrl-C.
fn stay() {
    while !interrupted() {
        thread::sleep(Duration::from_millis(50));
    }
}

/// Tells the story; true when every check held.
fn tell(keep: bool) -> bool {
    let lab = Lab::draw().bridge("br1").gateway("10.0.0.1/24", "fd00::1/64").config(CONFIG).agent().build();
    let mut screen = Screen::begin_lab(&lab);
    let cast = story::cast(&lab, &mut screen);
    for step in story::STEPS {
        if interrupted() {
            break;
        }
        step(&cast, &mut screen);
    }
    // The pods' handles go before the lab can.
    drop(cast);
    if keep && !interrupted() {
        Screen::things_to_try(&lab);
        stay();
    }
    screen.check("Everything is taken away again", || {
        catch_unwind(AssertUnwindSafe(|| lab.finish())).map_or_else(
            |_| Err("something was left behind, see above".to_owned()),
            |()| Ok("no port, veth, flow, map entry, ledger entry or process is left".to_owned()),
        )
    });
    screen.verdict()
}

/// Children get process groups of their own, so that Ctrl-C reaches this process alone and the lab ends in order.
fn watch_for_ctrl_c() {
    e2e::shield_children_from_ctrl_c();
    thread::spawn(|| {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
        runtime.block_on(async {
            use tokio::signal::unix::{SignalKind, signal};
            let Ok(mut terminate) = signal(SignalKind::terminate()) else { return };
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            INTERRUPTED.store(true, Ordering::Relaxed);
        });
    });
}
