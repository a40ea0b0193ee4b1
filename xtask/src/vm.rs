//! Virtual machines: this machine's own root file system under another kernel.
//!
//! The root comes in read-only by 9p below a tmpfs overlay, so the guest runs the host's programs
//! and what it writes is gone with it. No network card. Emulated (TCG) unless the processor really
//! has VMX or SVM: `/dev/kvm` alone proves nothing, a software KVM opens and then hangs on a stock
//! kernel. Inside, [`image`]'s init mounts, `vm/guest.sh` prepares and runs the command.
//!
//! As the verb `vm run` it passes the command's exit status on; as [`Guest`] it serves `test` and
//! `demo`.

pub(crate) mod image;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use xshell::{Shell, cmd};

use crate::process::{self, Ended};
use crate::progress::seconds;
use crate::setup::{self, Scope, kernels::Kernel};

const EXIT_TIMED_OUT: u8 = 124;
const EXIT_GUEST_DIED: u8 = 125;
const EXIT_NOT_STARTED: u8 = 126;

/// How often a guest is started that dies before it comes to its command.
const BOOTS: u32 = 3;

/// Lines of the guest's kernel log shown when it died.
const CONSOLE_LINES: usize = 30;

/// Runs commands in virtual machines
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
enum Verb {
    Run(RunArgs),
}

/// Runs a command as root under another kernel
///
/// The guest sees this machine's root file system; what it writes is lost, except below
/// /run/vm/out where --out names a directory. Exit status: the command's own; 124 the guest ran
/// past --timeout; 125 the guest died before the command ended; 126 it could not be started.
#[derive(clap::Args)]
struct RunArgs {
    /// Kernel series: 6.12 (TCX), 5.10 (clsact), 6.1
    #[arg(long, default_value = setup::kernels::TCX)]
    kernel: String,
    /// Virtual processors
    #[arg(long, default_value_t = 2)]
    smp: u32,
    /// Memory in MiB; half of it takes what the guest writes
    #[arg(long, default_value_t = 2048)]
    mem: u32,
    /// Environment variable for the command: NAME (handed on) or NAME=VALUE
    #[arg(long = "env", value_name = "NAME")]
    environment: Vec<String>,
    /// Seconds that the guest may live
    #[arg(long, default_value_t = 300)]
    timeout: u64,
    /// A directory that the guest may write, /run/vm/out inside
    #[arg(long)]
    out: Option<PathBuf>,
    /// How the processor is made: tcg (emulated), kvm, or icount: emulated, with a clock that
    /// counts instructions (2 ns each), so that times measured inside repeat
    #[arg(long, env = "VM_ACCEL")]
    accel: Option<Accel>,
    /// Do not wait until the guest is 10 s old (Open vSwitch 3.1 started earlier loses every upcall)
    #[arg(long)]
    now: bool,
    /// The command and its arguments
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Accel {
    Tcg,
    Kvm,
    Icount,
}

/// A virtual machine to be: a command, its surroundings and its bounds.
pub(crate) struct Guest {
    pub kernel: Kernel,
    pub smp: u32,
    pub mem_mib: u32,
    pub timeout: Duration,
    pub environment: Vec<(String, String)>,
    pub directory: PathBuf,
    pub out: Option<PathBuf>,
    pub accel: Accel,
    /// Whether the command waits until the guest is old enough for Open vSwitch.
    pub settled: bool,
}

/// How a guest ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Exited(u8),
    TimedOut,
    /// The kernel or QEMU went away before the command ended; with the end of the kernel's log.
    Died(String),
}

pub(crate) fn run(args: Args) -> Result<ExitCode> {
    let Verb::Run(args) = args.verb;
    let guest = args.prepare();
    let outcome = guest.and_then(|(guest, command)| guest.run(&command, |line| println!("{line}")));
    Ok(ExitCode::from(match outcome {
        Ok(Outcome::Exited(status)) => status,
        Ok(Outcome::TimedOut) => {
            eprintln!("error: the guest was not done after {} s", args.timeout);
            EXIT_TIMED_OUT
        }
        Ok(Outcome::Died(log)) => {
            eprintln!("error: the guest died; the end of its kernel log:\n{log}");
            EXIT_GUEST_DIED
        }
        Err(error) if process::interrupted() => return Err(error),
        Err(error) => {
            eprintln!("error: {error:#}");
            EXIT_NOT_STARTED
        }
    }))
}

impl RunArgs {
    fn prepare(&self) -> Result<(Guest, Vec<String>)> {
        setup::ensure(Scope::Vm)?;
        setup::kernels::ensure_series(&self.kernel)?;
        let environment = self.environment.iter().map(|text| variable(text)).collect::<Result<_>>()?;
        let guest = Guest {
            smp: self.smp,
            mem_mib: self.mem,
            timeout: Duration::from_secs(self.timeout),
            environment,
            out: self.out.clone(),
            accel: self.accel.unwrap_or_else(Accel::of_this_machine),
            settled: !self.now,
            ..Guest::new(&self.kernel)?
        };
        Ok((guest, self.command.clone()))
    }
}

impl Guest {
    /// A guest of the size that the lab needs, in the current directory.
    pub(crate) fn new(series: &str) -> Result<Self> {
        Ok(Self {
            kernel: Kernel::of(series)?,
            smp: 2,
            mem_mib: 2048,
            timeout: Duration::from_mins(15),
            environment: Vec::new(),
            directory: env::current_dir()?,
            out: None,
            accel: Accel::of_this_machine(),
            settled: true,
        })
    }

    /// Boots, runs the command, hands each line of its output to `on_line`, and powers off.
    ///
    /// An emulated processor now and then brings a kernel down while it boots; a guest that never came to the command
    /// is started again.
    pub(crate) fn run(&self, command: &[String], mut on_line: impl FnMut(&str)) -> Result<Outcome> {
        for _ in 1..BOOTS {
            let (outcome, booted) = self.run_once(command, &mut on_line)?;
            match outcome {
                Outcome::Died(log) if !booted => {
                    eprintln!("vm: the guest died while booting, once more\n{log}");
                }
                outcome => return Ok(outcome),
            }
        }
        Ok(self.run_once(command, on_line)?.0)
    }

    /// One boot: how it ended, and whether it came to the command.
    fn run_once(&self, command: &[String], mut on_line: impl FnMut(&str)) -> Result<(Outcome, bool)> {
        let work = tempfile::Builder::new().prefix("underpass-vm.").tempdir()?;
        let control = work.path().join("control");
        fs::create_dir(&control)?;
        fs::write(control.join("guest.sh"), include_str!("vm/guest.sh"))?;
        fs::write(control.join("command.sh"), self.script(command))?;
        let console = work.path().join("console");
        let initramfs = work.path().join("initramfs");
        fs::write(&initramfs, image::initramfs(&self.kernel)?)?;

        let begun = Instant::now();
        let mut errors = String::new();
        let out = self.out.clone().unwrap_or_else(|| work.path().join("out"));
        fs::create_dir_all(&out).with_context(|| format!("cannot make {}", out.display()))?;
        let qemu = self.qemu(&initramfs, &console, &control, &out)?;
        // QEMU's own words and the guest's share a pipe; hers begin with her name.
        let ended =
            process::lines(qemu, self.timeout, |line| match line.strip_prefix("qemu-system-x86_64: ") {
                Some(error) => errors = format!("{errors}qemu: {error}\n"),
                None => on_line(line),
            })?;
        let said = |name: &str| fs::read_to_string(control.join(name)).unwrap_or_default().trim().to_owned();
        if let Ok(status) = said("status").parse() {
            eprintln!(
                "vm: {}, {:?}, {} processors: booted at {} s, command ended at {} s of uptime, {} in all",
                self.kernel.version,
                self.accel,
                self.smp,
                said("booted"),
                said("ended"),
                seconds(begun.elapsed())
            );
            return Ok((Outcome::Exited(status), true));
        }
        let booted = !said("booted").is_empty();
        if ended == Ended::TimedOut {
            return Ok((Outcome::TimedOut, booted));
        }
        let log = String::from_utf8_lossy(&fs::read(&console).unwrap_or_default()).into_owned();
        Ok((Outcome::Died(format!("{}\n{errors}", process::last_lines(&log, CONSOLE_LINES))), booted))
    }

    /// What the guest runs: environment, directory, command.
    fn script(&self, command: &[String]) -> String {
        let exports =
            self.environment.iter().map(|(name, value)| format!("export {name}={}\n", quoted(value)));
        let directory = quoted(&self.directory.to_string_lossy());
        let words: Vec<_> = command.iter().map(|word| quoted(word)).collect();
        let settle = if self.settled { "settle\n" } else { "" };
        format!("{}cd {directory} || cd /\n{settle}exec {}\n", exports.collect::<String>(), words.join(" "))
    }

    fn qemu(&self, initramfs: &Path, console: &Path, control: &Path, out: &Path) -> Result<Command> {
        let image = self.kernel.image();
        let (smp, mem) = (self.smp.to_string(), self.mem_mib.to_string());
        let share = |tag: &str, path: &Path, read_only: bool| -> Result<Vec<String>> {
            let path =
                path.to_str().filter(|path| !path.contains(',')).context("a path that QEMU cannot take")?;
            let read_only = if read_only { ",readonly=on" } else { "" };
            Ok(vec![
                "-fsdev".to_owned(),
                format!("local,id={tag},path={path},security_model=none,multidevs=remap{read_only}"),
                "-device".to_owned(),
                format!("virtio-9p-pci,fsdev={tag},mount_tag={tag}"),
            ])
        };
        let shares = [
            share("hostroot", Path::new("/"), true)?,
            share("modules", &self.kernel.modules(), true)?,
            share("control", control, false)?,
            share("out", out, false)?,
        ]
        .concat();
        let accel = self.accel.arguments();
        // cryptomgr, expedited RCU, no mitigations: seconds of an emulated boot. oops=panic: a guest
        // that oopsed has failed, whatever its command says.
        let append = "console=ttyS0 quiet loglevel=4 panic=-1 oops=panic net.ifnames=0 mitigations=off \
                      nokaslr tsc=reliable cryptomgr.notests rcupdate.rcu_expedited=1";
        let shell = Shell::new()?;
        Ok(cmd!(
            shell,
            "qemu-system-x86_64 -nodefaults -no-user-config -display none -no-reboot -M pc {accel...}
             -smp {smp} -m {mem} -kernel {image} -initrd {initramfs} -append {append}
             -chardev file,id=c0,path={console} -serial chardev:c0
             -chardev stdio,id=c1,signal=off -serial chardev:c1 {shares...}"
        )
        .into())
    }
}

impl Accel {
    pub(crate) fn of_this_machine() -> Self {
        let flags = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let has_virtualisation = flags.split_whitespace().any(|flag| flag == "vmx" || flag == "svm");
        let opens = fs::OpenOptions::new().read(true).write(true).open("/dev/kvm").is_ok();
        if has_virtualisation && opens { Self::Kvm } else { Self::Tcg }
    }

    fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Kvm => &["-accel", "kvm", "-cpu", "host"],
            Self::Tcg => &["-accel", "tcg,thread=multi,tb-size=256", "-cpu", "max"],
            Self::Icount => &[
                "-accel",
                "tcg,thread=single,tb-size=256",
                "-icount",
                "shift=1,sleep=off,align=off",
                "-cpu",
                "max",
            ],
        }
    }
}

fn variable(text: &str) -> Result<(String, String)> {
    if let Some((name, value)) = text.split_once('=') {
        return Ok((name.to_owned(), value.to_owned()));
    }
    match env::var(text) {
        Ok(value) => Ok((text.to_owned(), value)),
        Err(_) => bail!("--env {text}: no such variable here"),
    }
}

/// A word as a shell reads it literally.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}
