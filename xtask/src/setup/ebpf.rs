//! The eBPF toolchain: what cargo needs to build for bpfel-unknown-none with a stable Rust that has
//! no core for that target.
//!
//! Makes, under ${EBPF_TOOLCHAIN_DIR:-${XDG_CACHE_HOME:-~/.cache}/ebpf-toolchain}:
//! ```text
//! sysroot-<rustc commit>/   core and compiler_builtins, compiled by plain rustc      (about 42 MB)
//! cargo/bin/bpf-linker      the linker, built by `cargo install`
//! bin/bpf-linker            a wrapper that lets it find rustc's own libLLVM
//! env                       EBPF_TOOLCHAIN, EBPF_SYSROOT, EBPF_LINKER for ebpf/build.rs
//! ```
//! `env` is written last, after a program was linked: where it names what this rustc needs, all is
//! there. The installed Rust toolchain stays as it is, except where rustup adds rust-src.
//! Rejected: `-Z build-std`, which wants rust-src in the toolchain and downloads std's dependencies.

mod core_source;

use std::env;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use xshell::{Shell, cmd};

use crate::places;
use crate::process;
use crate::progress::Work;

const TARGET: &str = "bpfel-unknown-none";
/// The last one that uses rustc's own libLLVM; from 0.11 on it wants LLVM's development files.
const LINKER_VERSION: &str = "0.10.3";
/// What that linker's default features are made for; rustc 1.95 has it.
const LINKER_LLVM: &str = "22";
/// The mark of a BPF program in an ELF header (EM_BPF), and where it stands.
const ELF_MACHINE_BPF: [u8; 2] = 247_u16.to_le_bytes();
const ELF_MACHINE_OFFSET: usize = 18;

const QUERY_DEADLINE: Duration = Duration::from_mins(1);
/// core takes 8 s on two cores.
const COMPILE_DEADLINE: Duration = Duration::from_mins(5);
/// bpf-linker takes 80 s on two cores, downloads included.
const INSTALL_DEADLINE: Duration = Duration::from_mins(20);

const SMOKE: &str = include_str!("ebpf/smoke.rs.txt");

/// The toolchain of this rustc and where its parts lie (whether they are there or not).
pub(crate) struct Toolchain {
    prefix: PathBuf,
    release: String,
    llvm: String,
    rust_sysroot: PathBuf,
    /// core for the BPF target.
    pub sysroot: PathBuf,
}

/// What is missing, in words.
pub(super) fn missing() -> Result<Option<String>> {
    let toolchain = Toolchain::locate()?;
    let release = &toolchain.release;
    Ok((!toolchain.is_complete())
        .then(|| format!("eBPF toolchain for Rust {release} in {}", toolchain.prefix.display())))
}

/// Makes what is missing. Needs no root.
pub(super) fn ensure() -> Result<()> {
    let toolchain = Toolchain::locate()?;
    if toolchain.is_complete() {
        return Ok(());
    }
    fs::create_dir_all(&toolchain.prefix)
        .with_context(|| format!("cannot make {}", toolchain.prefix.display()))?;
    // The cache may be shared by users of different `underpass` caches, hence a lock of its own.
    let lock = File::create(toolchain.prefix.join(".lock")).context("the eBPF toolchain's lock")?;
    lock.lock().context("the eBPF toolchain's lock")?;
    if !toolchain.is_complete() {
        toolchain.make().context("setting up the eBPF toolchain")?;
    }
    Ok(())
}

impl Toolchain {
    /// Asks rustc who it is; about 50 ms.
    pub(crate) fn locate() -> Result<Self> {
        let prefix = match env::var_os("EBPF_TOOLCHAIN_DIR").filter(|dir| !dir.is_empty()) {
            Some(dir) => std::path::absolute(dir)?,
            None => places::user_cache()?.join("ebpf-toolchain"),
        };
        let shell = Shell::new()?;
        shell.change_dir(places::root());
        let version = process::output(cmd!(shell, "rustc -vV"), QUERY_DEADLINE)?;
        let field = |name: &str| {
            version
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
                .with_context(|| format!("rustc -vV shows no {name}"))
        };
        let release = field("release")?.to_owned();
        let llvm = field("LLVM version")?.split('.').next().unwrap_or_default().to_owned();
        // A rustc of a distribution has no commit hash.
        let commit = field("commit-hash").ok().filter(|hash| *hash != "unknown").unwrap_or(&release);
        let sysroot = prefix.join(format!("sysroot-{}", &commit.get(..12).unwrap_or(commit)));
        let rust_sysroot = process::output(cmd!(shell, "rustc --print sysroot"), QUERY_DEADLINE)?;
        Ok(Self { prefix, release, llvm, rust_sysroot: rust_sysroot.trim().into(), sysroot })
    }

    fn is_complete(&self) -> bool {
        let is = |file: PathBuf, text: &str| fs::read_to_string(file).is_ok_and(|found| found == text);
        self.sysroot.join(".done").exists()
            && self.linker_binary().exists()
            && is(self.linker_stamp(), &self.linker_identity())
            && is(self.linker(), &self.linker_wrapper())
            && is(self.prefix.join("env"), &self.environment())
    }

    fn make(&self) -> Result<()> {
        if self.llvm != LINKER_LLVM {
            bail!(
                "rustc {} has LLVM {}, bpf-linker {LINKER_VERSION} is made for {LINKER_LLVM}: use the Rust that rust-toolchain.toml names",
                self.release,
                self.llvm
            );
        }
        let work = tempfile::Builder::new().prefix(".work.").tempdir_in(&self.prefix)?;
        if !self.sysroot.join(".done").exists() {
            self.make_sysroot(work.path())?;
        }
        let stamp = fs::read_to_string(self.linker_stamp()).unwrap_or_default();
        if stamp != self.linker_identity() || !self.linker_binary().exists() {
            self.install_linker(work.path())?;
        }
        self.write_wrapper()?;
        self.link_smoke(work.path()).context("the toolchain does not link a program")?;
        replace(&self.prefix.join("env"), &self.environment())
    }

    fn make_sysroot(&self, work: &Path) -> Result<()> {
        let progress = Work::begin(format!("set-up: core of Rust {} for {TARGET}", self.release));
        let library = core_source::find(&self.release, &self.rust_sysroot, work, &progress)?;
        progress.note("compiling");
        let fresh = work.join("sysroot");
        compile_core(&library, &fresh)
            .with_context(|| format!("core from {} (is it of Rust {}?)", library.display(), self.release))?;
        fs::write(fresh.join(".done"), "")?;
        if self.sysroot.exists() {
            fs::remove_dir_all(&self.sysroot)?;
        }
        fs::rename(&fresh, &self.sysroot)?;
        progress.done();
        Ok(())
    }

    fn install_linker(&self, work: &Path) -> Result<()> {
        let progress = Work::begin(format!("set-up: bpf-linker {LINKER_VERSION} by cargo install"));
        let shell = rust_shell()?;
        let root = self.prefix.join("cargo");
        // Its release profile keeps debug information: 30 MB of the binary, 40 s of linking.
        let mut install = cmd!(
            shell,
            "cargo install bpf-linker --version ={LINKER_VERSION} --locked --force --root {root}"
        )
        .env("CARGO_TARGET_DIR", work.join("target"))
        .env("CARGO_PROFILE_RELEASE_DEBUG", "0")
        .env("CARGO_PROFILE_RELEASE_STRIP", "true")
        .env_remove("RUSTC_BOOTSTRAP");
        for flags in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_TARGET", "RUSTC_WRAPPER"] {
            install = install.env_remove(flags);
        }
        process::output_seen(install, INSTALL_DEADLINE, |line| progress.note(line))?;
        replace(&self.linker_stamp(), &self.linker_identity())?;
        progress.done();
        Ok(())
    }

    fn write_wrapper(&self) -> Result<()> {
        let wrapper = self.linker();
        fs::create_dir_all(self.prefix.join("bin"))?;
        replace(&wrapper, &self.linker_wrapper())?;
        fs::set_permissions(&wrapper, Permissions::from_mode(0o755))?;
        Ok(())
    }

    /// Links a program and looks whether it is one for BPF.
    fn link_smoke(&self, work: &Path) -> Result<()> {
        let source = work.join("smoke.rs");
        let object = work.join("smoke.o");
        fs::write(&source, SMOKE)?;
        let (shell, sysroot) = (rust_shell()?, &self.sysroot);
        let linker = format!("-Clinker={}", self.linker().display());
        process::output(
            cmd!(
                shell,
                "rustc --edition=2024 --target {TARGET} --sysroot {sysroot} {linker} -Cpanic=abort -O -Cdebuginfo=2 -Clink-arg=--btf -o {object} {source}"
            ),
            COMPILE_DEADLINE,
        )?;
        let elf = fs::read(&object)?;
        if elf.get(ELF_MACHINE_OFFSET..ELF_MACHINE_OFFSET + 2) != Some(&ELF_MACHINE_BPF) {
            bail!("{} is no BPF program", object.display());
        }
        Ok(())
    }

    fn linker(&self) -> PathBuf {
        self.prefix.join("bin/bpf-linker")
    }

    fn linker_binary(&self) -> PathBuf {
        self.prefix.join("cargo/bin/bpf-linker")
    }

    fn linker_stamp(&self) -> PathBuf {
        self.prefix.join("cargo/.version")
    }

    fn linker_identity(&self) -> String {
        format!("{LINKER_VERSION}-llvm{}\n", self.llvm)
    }

    /// The name must stay `bpf-linker`: rustc infers the linker's flavour from it.
    fn linker_wrapper(&self) -> String {
        format!(
            "#!/bin/sh\nLD_LIBRARY_PATH=\"{}/lib\" exec \"{}\" \"$@\"\n",
            self.rust_sysroot.display(),
            self.linker_binary().display()
        )
    }

    fn environment(&self) -> String {
        format!(
            "EBPF_TOOLCHAIN=''\nEBPF_SYSROOT='{}'\nEBPF_LINKER='{}'\nexport EBPF_TOOLCHAIN EBPF_SYSROOT EBPF_LINKER\n",
            self.sysroot.display(),
            self.linker().display()
        )
    }
}

/// Compiles core and compiler_builtins into a sysroot: two calls of rustc, no download.
fn compile_core(library: &Path, sysroot: &Path) -> Result<()> {
    let out = sysroot.join("lib/rustlib").join(TARGET).join("lib");
    fs::create_dir_all(&out)?;
    let shell = rust_shell()?;
    let prefix_map = format!("{}=/rust/library", library.display());
    let flags = [
        "--edition=2024",
        "--crate-type=rlib",
        "--target",
        TARGET,
        "-Cpanic=abort",
        "-Copt-level=3",
        "-Ccodegen-units=1",
        "-Cdebuginfo=0",
        "-Cmetadata=ebpf",
        "-Cextra-filename=-ebpf",
        "--cap-lints=allow",
        "-Zforce-unstable-if-unmarked",
        "--remap-path-prefix",
        &prefix_map,
    ];
    let core = library.join("core/src/lib.rs");
    process::output(
        cmd!(shell, "rustc --crate-name core {core} {flags...} --out-dir {out}"),
        COMPILE_DEADLINE,
    )?;
    let builtins = library.join("compiler-builtins/compiler-builtins/src/lib.rs");
    let features = ["compiler-builtins", "mem", "rustc-dep-of-std"]
        .map(|feature| format!("--cfg=feature=\"{feature}\""));
    process::output(
        cmd!(
            shell,
            "rustc --crate-name compiler_builtins {builtins} {flags...} --out-dir {out} --sysroot {sysroot} {features...}"
        ),
        COMPILE_DEADLINE,
    )?;
    Ok(())
}

/// A shell in the checkout (rust-toolchain.toml decides which rustc) with
/// RUSTC_BOOTSTRAP: core itself is made of unstable features.
fn rust_shell() -> Result<Shell> {
    let shell = Shell::new()?;
    shell.change_dir(places::root());
    shell.set_var("RUSTC_BOOTSTRAP", "1");
    Ok(shell)
}

/// Writes a file whole or not at all.
fn replace(path: &Path, text: &str) -> Result<()> {
    let fresh = path.with_extension("new");
    fs::write(&fresh, text)
        .and_then(|()| fs::rename(&fresh, path))
        .with_context(|| format!("cannot write {}", path.display()))
}
