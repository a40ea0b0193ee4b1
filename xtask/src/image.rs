//! `cargo xtask image`: the container image, without a container engine.
//!
//! An OCI image archive (image-spec 1.1, one gzip layer) that `ctr images import`, `podman load` and
//! `docker load` take; older Dockers read its `manifest.json`. The binaries are linked statically, so
//! the image has nothing but them. The same sources give the same digest: names are sorted, times are
//! the epoch, and paths of this machine are mapped away in the binaries.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use xshell::{Shell, cmd};

use crate::build::{BUILD_DEADLINE, PRODUCT, SHIM, SHIM_PROFILE, cargo};
use crate::places;
use crate::process;
use crate::progress::Work;
use crate::setup::{self, Scope};

/// Everybody who pulls it at a DaemonSet's first roll-out pays for its size on every node at once.
const SIZE_LIMIT_MB: u64 = 15;

/// Packing takes a second.
const PACK_DEADLINE: Duration = Duration::from_mins(2);

/// Makes the container image, an OCI archive, without a container engine
///
/// Static binaries and nothing else; the same sources give the same digest. Import it with
/// `ctr -n k8s.io images import FILE` or `docker load -i FILE`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Name in the archive, with registry and tag [default: localhost/underpass:VERSION]
    #[arg(long, value_name = "REGISTRY/NAME:TAG")]
    name: Option<String>,
    /// The archive [default: underpass-image.tar in the target directory]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    setup::ensure(Scope::Build)?;
    let name = args.name.clone().unwrap_or_else(|| format!("localhost/underpass:{VERSION}"));
    let out = match &args.out {
        Some(out) => out.clone(),
        None => places::target()?.join("underpass-image.tar"),
    };
    let work = Work::begin("image");
    let digest = make(&work, &name, &out)?;
    work.done();
    println!("{name} {digest}\n{}", out.display());
    Ok(ExitCode::SUCCESS)
}

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Builds the image `name` into the archive `out`; gives the digest of its manifest.
pub(crate) fn make(work: &Work, name: &str, out: &Path) -> Result<String> {
    // Without a registry every runtime would add one of its own choice.
    let tag = name.rsplit_once(':').filter(|(rest, tag)| !tag.contains('/') && rest.contains('/'));
    let Some((_, tag)) = tag else {
        bail!("--name {name}: needs a registry and a tag, as in localhost/underpass:{VERSION}");
    };
    let binaries = static_binaries(work)?;
    let staging = tempfile::tempdir().context("no temporary directory")?;
    let layer = layer(staging.path(), &binaries)?;
    if layer.size > SIZE_LIMIT_MB * 1_000_000 {
        bail!("the image has {} bytes, more than {SIZE_LIMIT_MB} MB", layer.size);
    }
    archive(staging.path(), &layer, name, tag, out)
}

/// Builds the product so that it runs on an empty file system; gives the files.
///
/// `crt-static` needs an explicit target: without one it would apply to macros, too, which the
/// compiler loads as shared objects.
fn static_binaries(work: &Work) -> Result<Vec<PathBuf>> {
    let shell = Shell::new()?;
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| std::env::home_dir().map(|home| home.join(".cargo")));
    let mut flags = vec![
        "-Ctarget-feature=+crt-static".to_owned(),
        format!("--remap-path-prefix={}=/underpass", places::root().display()),
    ];
    flags.extend(home.map(|home| format!("--remap-path-prefix={}=/cargo", home.display())));
    let flags = flags.join("\x1f");
    let mut binaries = Vec::new();
    for name in PRODUCT {
        let profile = if name == SHIM { SHIM_PROFILE } else { "release" };
        let build =
            cargo(&shell, &["build", "--locked", "--profile", profile, "--target", &target, "-p", name])
                .env("CARGO_ENCODED_RUSTFLAGS", &flags);
        process::output_seen(build, BUILD_DEADLINE, |line| work.note(line))?;
        binaries.push(places::target()?.join(&target).join(profile).join(name));
    }
    Ok(binaries)
}

/// A blob of the archive.
struct Blob {
    /// `sha256:` and 64 hex digits.
    digest: String,
    /// Bytes.
    size: u64,
}

struct Layer {
    size: u64,
    /// As it is stored, compressed.
    blob: Blob,
    /// Digest of the plain tar.
    plain: String,
}

/// The one layer: `/bin` with our binaries, and `/tmp`.
fn layer(staging: &Path, binaries: &[PathBuf]) -> Result<Layer> {
    let shell = Shell::new()?;
    let root = staging.join("root");
    shell.create_dir(root.join("bin"))?;
    shell.create_dir(root.join("tmp"))?;
    for binary in binaries {
        let name = binary.file_name().context("a binary without a name")?;
        fs::copy(binary, root.join("bin").join(name))
            .with_context(|| format!("cannot copy {}", binary.display()))?;
    }
    let plain = staging.join("layer.tar");
    pack(&root, &plain)?;
    let plain_digest = digest(&plain)?;
    process::output(cmd!(shell, "gzip -9 --no-name {plain}"), PACK_DEADLINE)?;
    let blob = store(staging, &staging.join("layer.tar.gz"))?;
    Ok(Layer { size: blob.size, blob, plain: plain_digest })
}

/// Writes the archive: the layer, what describes it, and the index that names it.
fn archive(staging: &Path, layer: &Layer, name: &str, tag: &str, out: &Path) -> Result<String> {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let config = format!(
        r#"{{"architecture":"{architecture}","os":"linux","config":{{"Entrypoint":["/bin/underpass-agent"],"Env":["PATH=/bin"],"Labels":{{"org.opencontainers.image.title":"underpass","org.opencontainers.image.description":"Underlay networking for Kubernetes pods on Open vSwitch","org.opencontainers.image.licenses":"Apache-2.0","org.opencontainers.image.version":"{VERSION}"}}}},"rootfs":{{"type":"layers","diff_ids":["{}"]}},"history":[{{"created_by":"cargo xtask image"}}]}}"#,
        layer.plain
    );
    let config = store_text(staging, &config)?;
    let Blob { digest, size } = &layer.blob;
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"{OCI}.manifest.v1+json","config":{{"mediaType":"{OCI}.config.v1+json","digest":"{}","size":{}}},"layers":[{{"mediaType":"{OCI}.layer.v1.tar+gzip","digest":"{digest}","size":{size}}}]}}"#,
        config.digest, config.size
    );
    let manifest = store_text(staging, &manifest)?;
    let root = staging.join("archive");
    let index = format!(
        r#"{{"schemaVersion":2,"mediaType":"{OCI}.index.v1+json","manifests":[{{"mediaType":"{OCI}.manifest.v1+json","digest":"{}","size":{},"annotations":{{"io.containerd.image.name":"{}","org.opencontainers.image.ref.name":"{tag}"}}}}]}}"#,
        manifest.digest, manifest.size, name,
    );
    fs::write(root.join("index.json"), index)?;
    fs::write(root.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)?;
    let for_docker = format!(
        r#"[{{"Config":"{}","RepoTags":["{name}"],"Layers":["{}"]}}]"#,
        blob_path(&config.digest),
        blob_path(digest)
    );
    fs::write(root.join("manifest.json"), for_docker)?;
    pack(&root, out)?;
    Ok(manifest.digest)
}

/// Prefix of the media types.
const OCI: &str = "application/vnd.oci.image";

/// A tar whose bytes depend on the names, modes and contents below `root` alone.
fn pack(root: &Path, out: &Path) -> Result<()> {
    let shell = Shell::new()?;
    let mut names = Vec::new();
    for entry in fs::read_dir(root).with_context(|| format!("cannot list {}", root.display()))? {
        names.push(entry?.file_name());
    }
    names.sort();
    let owner = ["--owner=0", "--group=0", "--numeric-owner", "--mode=a=rX,u+w"];
    let tar = cmd!(
        shell,
        "tar --create --file {out} --directory {root} --format=ustar --sort=name --mtime=@0 {owner...} {names...}"
    );
    process::output(tar, PACK_DEADLINE).map(drop)
}

fn store_text(staging: &Path, text: &str) -> Result<Blob> {
    let file = staging.join("text");
    fs::write(&file, text)?;
    store(staging, &file)
}

/// Moves a file to where the archive has it.
fn store(staging: &Path, file: &Path) -> Result<Blob> {
    let digest = digest(file)?;
    let size = fs::metadata(file)?.len();
    let stored = staging.join("archive").join(blob_path(&digest));
    fs::create_dir_all(stored.parent().context("a blob lies in a directory")?)?;
    fs::rename(file, stored)?;
    Ok(Blob { digest, size })
}

fn blob_path(digest: &str) -> String {
    format!("blobs/{}", digest.replace(':', "/"))
}

fn digest(file: &Path) -> Result<String> {
    let shell = Shell::new()?;
    let sum = process::output(cmd!(shell, "sha256sum {file}"), PACK_DEADLINE)?;
    let sum = sum.split_whitespace().next().context("sha256sum printed nothing")?;
    Ok(format!("sha256:{sum}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_files_pack_to_the_same_bytes() {
        let staging = tempfile::tempdir().unwrap();
        let root = staging.path().join("root");
        fs::create_dir_all(root.join("bin")).unwrap();
        fs::write(root.join("bin/b"), "b").unwrap();
        fs::write(root.join("bin/a"), "a").unwrap();
        let (one, two) = (staging.path().join("1"), staging.path().join("2"));
        pack(&root, &one).unwrap();
        fs::write(root.join("bin/a"), "a").unwrap();
        pack(&root, &two).unwrap();
        assert_eq!(digest(&one).unwrap(), digest(&two).unwrap());
        let shell = Shell::new().unwrap();
        let names = process::output(cmd!(shell, "tar tf {one}"), PACK_DEADLINE).unwrap();
        assert_eq!(names, "bin/\nbin/a\nbin/b\n");
    }
}
