//! What the agent puts on its node in a cluster: the plugin's binary, and a CNI configuration.
//!
//! The plugin first, the configuration last and only when the agent is ready: a runtime that finds a configuration
//! without its plugin fails every ADD, and then every DEL of what it failed to add. Each file appears under its name
//! at once (temporary name, rename). Files that are right already are not written.
//!
//! Must not: decide when. The boot story does.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::config::Install;

/// The plugin lies beside the agent's own binary.
const PLUGIN: &str = "underpass-cni";

/// Why a file could not be put in its place or taken away.
#[derive(Debug, thiserror::Error)]
#[error("{what} {}", path.display())]
pub struct InstallError {
    what: &'static str,
    path: PathBuf,
    #[source]
    source: io::Error,
}

impl InstallError {
    fn of(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self { what, path, source }
    }
}

/// Puts the plugin where the runtime looks for it, under every name.
pub fn plugin(settings: &Install) -> Result<(), InstallError> {
    let Some(dir) = &settings.bin_dir else { return Ok(()) };
    let plugin = read_plugin()?;
    for name in &settings.names {
        put(&dir.join(name), &plugin, 0o755)?;
    }
    Ok(())
}

/// The text of the CNI configuration that is to be installed, if there is one.
pub fn configuration(settings: &Install) -> Result<Option<String>, InstallError> {
    let Some(conf) = &settings.conf else { return Ok(None) };
    fs::read_to_string(conf).map(Some).map_err(InstallError::of("reading", conf))
}

/// Puts the CNI configuration, with its placeholders filled in, where the runtime looks for it.
pub fn put_configuration(settings: &Install, text: &str) -> Result<(), InstallError> {
    installed_conf(settings).map_or(Ok(()), |path| put(&path, text.as_bytes(), 0o644))
}

/// Takes the CNI configuration away: the runtime asks for no more pods.
pub fn remove_configuration(settings: &Install) -> Result<(), InstallError> {
    installed_conf(settings).map_or(Ok(()), |path| remove(&path))
}

/// Takes the plugin away; what bears its name and is somebody else's stays.
pub fn remove_plugin(settings: &Install) -> Result<(), InstallError> {
    let Some(dir) = &settings.bin_dir else { return Ok(()) };
    let ours = read_plugin()?;
    for path in settings.names.iter().map(|name| dir.join(name)) {
        match fs::read(&path) {
            Ok(found) if found == ours => remove(&path)?,
            Ok(_) => tracing::info!(path = %path.display(), "not ours, left alone"),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(InstallError::of("reading", &path)(error)),
        }
    }
    Ok(())
}

fn installed_conf(settings: &Install) -> Option<PathBuf> {
    let name = settings.conf.as_ref()?.file_name()?;
    Some(settings.conf_dir.join(name))
}

fn read_plugin() -> Result<Vec<u8>, InstallError> {
    let own = std::env::current_exe().map_err(InstallError::of("finding", Path::new("/proc/self/exe")))?;
    let plugin = own.with_file_name(PLUGIN);
    fs::read(&plugin).map_err(InstallError::of("reading", &plugin))
}

/// Writes `content` under a name that no runtime reads, then gives it its own.
fn put(path: &Path, content: &[u8], mode: u32) -> Result<(), InstallError> {
    if fs::read(path).is_ok_and(|found| found == content) {
        return Ok(());
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = path.with_file_name(format!(".{name}.underpass"));
    let write = || {
        let mut file = File::create(&temporary)?;
        file.write_all(content)?;
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        // A plugin that is empty after a power cut would fail every pod of the node.
        file.sync_all()?;
        fs::rename(&temporary, path)
    };
    write().map_err(InstallError::of("writing", path))?;
    tracing::info!(path = %path.display(), "installed");
    Ok(())
}

fn remove(path: &Path) -> Result<(), InstallError> {
    match fs::remove_file(path) {
        Ok(()) => tracing::info!(path = %path.display(), "removed"),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(InstallError::of("removing", path)(error)),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(dir: &Path) -> Install {
        Install {
            bin_dir: None,
            names: Vec::new(),
            conf: Some(PathBuf::from("/somewhere/10-underpass.conflist")),
            conf_dir: dir.to_owned(),
        }
    }

    #[test]
    fn a_configuration_appears_under_its_name_alone_and_goes_again() {
        let dir = tempfile::tempdir().unwrap();
        let settings = settings(dir.path());
        put_configuration(&settings, "{}").unwrap();
        let names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names, ["10-underpass.conflist"]);
        remove_configuration(&settings).unwrap();
        remove_configuration(&settings).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_file_that_is_right_already_is_not_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        put(&path, b"1", 0o600).unwrap();
        put(&path, b"1", 0o755).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        put(&path, b"2", 0o755).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o755);
    }

    #[test]
    fn errors_name_the_path() {
        let error = put(Path::new("/nowhere/at/all"), b"", 0o600).unwrap_err();
        assert_eq!(error.to_string(), "writing /nowhere/at/all");
    }
}
