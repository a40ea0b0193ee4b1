//! Where things lie: the checkout, cargo's target directory, the caches.
//!
//! Reads the environment and nothing else; makes no directory.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use cargo_metadata::MetadataCommand;

/// The root of the checkout.
///
/// `cargo run` says where this package lies now; the path baked in at compile time may be stale when
/// several checkouts share one target directory.
pub(crate) fn root() -> PathBuf {
    let xtask = env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    xtask.parent().map_or_else(|| PathBuf::from("."), Path::to_path_buf)
}

/// The user's cache directory: `$XDG_CACHE_HOME`, else `~/.cache`.
pub(crate) fn user_cache() -> Result<PathBuf> {
    let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("XDG_CACHE_HOME")
        .or_else(|| set("HOME").map(|home| home.join(".cache")))
        .context("neither XDG_CACHE_HOME nor HOME is set: no place for caches")
}

/// What Underpass keeps between runs: kernels and the set-up's lock.
pub(crate) fn cache() -> Result<PathBuf> {
    Ok(user_cache()?.join("underpass"))
}

/// Cargo's target directory, wherever the environment or cargo's configuration put it.
pub(crate) fn target() -> Result<PathBuf> {
    let metadata = MetadataCommand::new()
        .current_dir(root())
        .no_deps()
        .exec()
        .context("cargo metadata: where is the target directory")?;
    Ok(metadata.target_directory.into_std_path_buf())
}

/// Finds a program on PATH or where Debian keeps the administrator's programs.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(PathBuf::from))
        .map(|dir| dir.join(name))
        .find(|file| file.is_file())
}
