//! Builds `programs/` for the BPF target and leaves the object in `OUT_DIR`.
//!
//! What it needs is named in an `env` file that the set-up writes, looked for in `$EBPF_TOOLCHAIN_DIR`,
//! then in `${XDG_CACHE_HOME:-~/.cache}/ebpf-toolchain`. Variables of the same names override the file:
//!
//! | variable | meaning |
//! | --- | --- |
//! | `EBPF_SYSROOT` | sysroot that holds core for the BPF target; none: `-Z build-std=core` with rust-src |
//! | `EBPF_LINKER` | path of bpf-linker; none: `bpf-linker` on `PATH` |
//! | `EBPF_TOOLCHAIN` | rustup toolchain of the inner cargo; none: the outer one |
//! | `EBPF_OBJECT` | a prebuilt object: nothing is compiled, the checks stay |
//!
//! An object that can panic is refused here: no verifier takes it, and its own words ("last insn is not
//! an exit or jmp") do not say which panic it is, while the symbol does.

use std::{
    env,
    error::Error,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use object::{Object as _, ObjectSymbol as _};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The programs that user space looks up by name.
const PROGRAMS: [&str; 3] = ["up_from_pod", "up_to_pod", "up_uplink"];

fn main() {
    if let Err(e) = run() {
        // Cargo shows a build script's stderr on failure; a panic would bury the sentence in a backtrace.
        println!("cargo::error={e}");
    }
}

fn run() -> Result<()> {
    let settings = Settings::read();
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set: run by cargo only")?);
    let object = match settings.var("EBPF_OBJECT") {
        Some(path) => {
            println!("cargo::rerun-if-changed={path}");
            PathBuf::from(path)
        }
        None => compile(&settings, &out)?,
    };
    let bytes = fs::read(&object).map_err(|e| format!("reading {}: {e}", object.display()))?;
    check(&bytes).map_err(|e| format!("{}: {e}", object.display()))?;
    fs::write(out.join("underpass.bpf.o"), bytes)?;
    Ok(())
}

/// Where the toolchain is.
struct Settings {
    file: Option<PathBuf>,
    text: String,
}

impl Settings {
    fn read() -> Settings {
        for name in ["EBPF_SYSROOT", "EBPF_LINKER", "EBPF_TOOLCHAIN", "EBPF_OBJECT", "EBPF_TOOLCHAIN_DIR"] {
            println!("cargo::rerun-if-env-changed={name}");
        }
        let file = toolchain_dir().map(|dir| dir.join("env"));
        if let Some(file) = &file {
            println!("cargo::rerun-if-changed={}", file.display());
        }
        let text = file.as_ref().and_then(|f| fs::read_to_string(f).ok()).unwrap_or_default();
        Settings { file, text }
    }

    /// A variable of the environment, else the line `NAME='value'` of the file; empty is unset.
    fn var(&self, name: &str) -> Option<String> {
        let line = |l: &str| Some(l.strip_prefix(name)?.strip_prefix("='")?.strip_suffix('\'')?.to_owned());
        env::var(name).ok().or_else(|| self.text.lines().find_map(line)).filter(|v| !v.is_empty())
    }

    /// What to say when the inner build fails or cannot start.
    fn advice(&self) -> String {
        let file = self.file.as_ref().map_or("no home directory".into(), |f| f.display().to_string());
        if self.text.is_empty() {
            format!("the eBPF toolchain is not set up (no {file}): run `cargo xtask setup`")
        } else {
            format!("building ebpf/programs failed with the toolchain of {file}; its errors stand above")
        }
    }
}

fn toolchain_dir() -> Option<PathBuf> {
    let dir = |name| env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    dir("EBPF_TOOLCHAIN_DIR").or_else(|| {
        let cache = dir("XDG_CACHE_HOME").or_else(|| Some(dir("HOME")?.join(".cache")))?;
        Some(cache.join("ebpf-toolchain"))
    })
}

fn compile(settings: &Settings, out: &Path) -> Result<PathBuf> {
    let here = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").ok_or("CARGO_MANIFEST_DIR is not set")?);
    for path in [
        "programs/src",
        "programs/Cargo.toml",
        "programs/Cargo.lock",
        "abi/src",
        "abi/Cargo.toml",
        "build.rs",
    ] {
        println!("cargo::rerun-if-changed={}", here.join(path).display());
    }
    let target_dir = out.join("programs");
    let mut cargo = inner_cargo(settings)?;
    cargo
        .current_dir(here.join("programs"))
        .args(["build", "--release", "--locked", "--target", "bpfel-unknown-none", "--target-dir"])
        .arg(&target_dir);
    let arch = env::var("CARGO_CFG_TARGET_ARCH")?;
    let mut flags = vec![format!("--cfg=bpf_target_arch=\"{arch}\""), "-Clink-arg=--btf".to_owned()];
    if let Some(linker) = settings.var("EBPF_LINKER") {
        flags.push(format!("-Clinker={linker}"));
    }
    match settings.var("EBPF_SYSROOT") {
        Some(sysroot) => flags.push(format!("--sysroot={sysroot}")),
        None => {
            cargo.args(["-Z", "build-std=core"]);
        }
    }
    // aya-ebpf needs one unstable feature. Only this inner cargo gets the switch: set for the whole
    // workspace it changes what the build scripts of other crates detect.
    cargo.env("RUSTC_BOOTSTRAP", "1").env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"));
    // What the outer cargo, clippy or a coverage wrapper has set must not leak in.
    for name in ["RUSTC", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER", "RUSTFLAGS", "CARGO_BUILD_TARGET"] {
        cargo.env_remove(name);
    }
    let status = cargo.status().map_err(|e| format!("starting cargo: {e}; {}", settings.advice()))?;
    if !status.success() {
        return Err(settings.advice().into());
    }
    Ok(target_dir.join("bpfel-unknown-none/release/underpass"))
}

fn inner_cargo(settings: &Settings) -> Result<Command> {
    if let Some(toolchain) = settings.var("EBPF_TOOLCHAIN") {
        let mut rustup = Command::new("rustup");
        rustup.args(["run", &toolchain, "cargo"]).env_remove("RUSTUP_TOOLCHAIN");
        return Ok(rustup);
    }
    let cargo: OsString = env::var_os("CARGO").ok_or("CARGO is not set: run by cargo only")?;
    Ok(Command::new(cargo))
}

fn check(bytes: &[u8]) -> Result<()> {
    let elf = object::File::parse(bytes)?;
    let names: Vec<&str> = elf.symbols().filter_map(|s| s.name().ok()).collect();
    if let Some(panic) = names.iter().find(|n| n.contains("panicking")) {
        return Err(format!("the programs can panic, which no verifier takes: {panic}").into());
    }
    match PROGRAMS.iter().find(|p| !names.contains(p)) {
        Some(missing) => Err(format!("the program {missing} is missing").into()),
        None => Ok(()),
    }
}
