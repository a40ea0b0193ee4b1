//! The ledger: one JSON file for each endpoint under `<run_dir>/ledger`, and tombstones of recent DELs.
//!
//! A file is replaced by a rename, never written in place; there is no fsync, for all it describes dies with the
//! boot. A file of a newer schema is read as far as it is known and never stops the agent from starting.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::{Endpoint, EndpointId, Generation, Ipam, Phase, Slot};

/// The schema this agent writes. Readers ignore keys that they do not know.
const SCHEMA: u32 = 1;

#[derive(Debug, thiserror::Error)]
#[error("{action} {path} failed")]
pub struct LedgerError {
    action: &'static str,
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// One file: an endpoint, its removal, or an address that the agent still owes to an IPAM plugin.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    #[serde(default)]
    pub(crate) schema: u32,
    pub(crate) boot_id: String,
    pub(crate) id: EndpointId,
    pub(crate) generation: Generation,
    pub(crate) slot: Option<Slot>,
    pub(crate) phase: Option<Phase>,
    pub(crate) endpoint: Option<Endpoint>,
    #[serde(default)]
    pub(crate) request: u64,
    #[serde(default)]
    pub(crate) asked_at: Duration,
    #[serde(default)]
    pub(crate) removing: bool,
    /// Where an endpoint that is being removed was.
    #[serde(default)]
    pub(crate) bridge: Option<String>,
    #[serde(default)]
    pub(crate) ipam: Option<Ipam>,
    /// See [`crate::model::Entry::rebuilt`].
    #[serde(default)]
    pub(crate) rebuilt: Option<Vec<String>>,
}

/// What the directory holds.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    pub(crate) records: Vec<Record>,
    /// Names of files that are none.
    pub(crate) unreadable: BTreeSet<String>,
}

/// The directory of the ledger.
#[derive(Debug)]
pub struct Ledger {
    dir: PathBuf,
    boot_id: String,
}

impl Ledger {
    /// Opens the ledger, creating its directory.
    pub fn open(run_dir: &Path, boot_id: impl Into<String>) -> Result<Self, LedgerError> {
        let dir = run_dir.join("ledger");
        fs::create_dir_all(&dir).map_err(|e| fault("creating", &dir, e))?;
        Ok(Self { dir, boot_id: boot_id.into() })
    }

    /// A record that carries nothing but its endpoint's name.
    pub(crate) fn record(&self, id: &EndpointId, generation: Generation) -> Record {
        Record {
            schema: SCHEMA,
            boot_id: self.boot_id.clone(),
            id: id.clone(),
            generation,
            slot: None,
            phase: None,
            endpoint: None,
            request: 0,
            asked_at: Duration::ZERO,
            removing: false,
            bridge: None,
            ipam: None,
            rebuilt: None,
        }
    }

    /// Every readable record of this boot. What cannot be read is reported and left where it is, for a person.
    pub(crate) fn load(&self) -> Result<Contents, LedgerError> {
        let mut contents = Contents::default();
        for path in self.files(None)? {
            match read_record(&path) {
                Ok(record) if record.boot_id == self.boot_id => contents.records.push(record),
                Ok(record) => {
                    tracing::info!(endpoint = %record.id, "ledger file of an earlier boot removed");
                    remove_file(&path)?;
                }
                Err(error) => {
                    tracing::error!(path = %path.display(), %error, "ledger file cannot be read and is passed over");
                    contents
                        .unreadable
                        .extend(path.file_name().map(|name| name.to_string_lossy().into_owned()));
                }
            }
        }
        Ok(contents)
    }

    /// Tombstones: when each endpoint was last deleted, on the boot clock.
    pub(crate) fn tombstones(&self) -> Result<BTreeMap<String, Duration>, LedgerError> {
        let mut tombstones = BTreeMap::new();
        for path in self.files(Some("del"))? {
            let Some(name) = path.file_stem().and_then(|s| s.to_str()) else { continue };
            let stamp = fs::read_to_string(&path).ok().and_then(|text| text.trim().parse().ok());
            tombstones.insert(name.to_owned(), Duration::from_nanos(stamp.unwrap_or(0)));
        }
        Ok(tombstones)
    }

    pub(crate) fn write(&self, record: &Record) -> Result<(), LedgerError> {
        let path = self.dir.join(record.id.digest());
        let text =
            serde_json::to_vec_pretty(record).map_err(|e| fault("encoding", &path, io::Error::other(e)))?;
        replace(&path, &text)
    }

    pub(crate) fn erase(&self, id: &EndpointId) -> Result<(), LedgerError> {
        remove_file(&self.dir.join(id.digest()))
    }

    pub(crate) fn bury(&self, digest: &str, deleted_at: Duration) -> Result<(), LedgerError> {
        replace(&self.dir.join(format!("{digest}.del")), format!("{}\n", deleted_at.as_nanos()).as_bytes())
    }

    pub(crate) fn exhume(&self, digest: &str) -> Result<(), LedgerError> {
        remove_file(&self.dir.join(format!("{digest}.del")))
    }

    fn files(&self, extension: Option<&str>) -> Result<Vec<PathBuf>, LedgerError> {
        let entries = fs::read_dir(&self.dir).map_err(|e| fault("reading", &self.dir, e))?;
        let mut paths = Vec::new();
        for entry in entries {
            let path = entry.map_err(|e| fault("reading", &self.dir, e))?.path();
            if path.extension().and_then(|e| e.to_str()) == extension {
                paths.push(path);
            }
        }
        paths.sort();
        Ok(paths)
    }
}

fn read_record(path: &Path) -> Result<Record, io::Error> {
    let text = fs::read(path)?;
    serde_json::from_slice(&text).map_err(io::Error::other)
}

/// Writes a file beside `path` and renames it over, so that a reader sees the old or the new one, never half.
fn replace(path: &Path, bytes: &[u8]) -> Result<(), LedgerError> {
    let temporary = path.with_extension("tmp");
    let write = || {
        let mut options = fs::OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(bytes)?;
        fs::rename(&temporary, path)
    };
    write().map_err(|e| fault("writing", path, e))
}

fn remove_file(path: &Path) -> Result<(), LedgerError> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(fault("removing", path, e)),
        _ => Ok(()),
    }
}

fn fault(action: &'static str, path: &Path, source: io::Error) -> LedgerError {
    LedgerError { action, path: path.to_owned(), source }
}
