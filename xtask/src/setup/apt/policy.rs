//! Keeps apt from starting daemons while it installs: a policy-rc.d that says no.
//!
//! In place only while [`NoDaemons`] lives; an existing one is kept aside and put back, also after
//! an error and Ctrl-C. What a killed run left behind is recognised and cleared by the next.

use std::fs::{self, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::progress;

const POLICY: &str = "/usr/sbin/policy-rc.d";
const MARK: &str = "# Put here by `cargo xtask setup` of Underpass while it installs packages.";

/// While it lives, maintainer scripts start no daemon (invoke-rc.d reads 101 as "forbidden").
pub(super) struct NoDaemons {
    policy: PathBuf,
    saved: PathBuf,
}

impl NoDaemons {
    pub(super) fn begin() -> Result<Self> {
        Self::at(Path::new(POLICY))
    }

    fn at(policy: &Path) -> Result<Self> {
        let this = Self { policy: policy.to_owned(), saved: policy.with_extension("d.underpass-saved") };
        this.restore().context("a policy-rc.d of an earlier set-up is in the way")?;
        if exists(&this.policy) {
            fs::rename(&this.policy, &this.saved)
                .with_context(|| format!("cannot put {} aside", this.policy.display()))?;
        }
        // From here on a failure drops `this`, which puts the saved one back.
        fs::write(&this.policy, format!("#!/bin/sh\n{MARK}\nexit 101\n"))
            .and_then(|()| fs::set_permissions(&this.policy, Permissions::from_mode(0o755)))
            .with_context(|| format!("cannot write {}", this.policy.display()))?;
        Ok(this)
    }

    /// Removes ours, puts the saved one back. Does nothing where neither is there.
    fn restore(&self) -> std::io::Result<()> {
        if fs::read_to_string(&self.policy).is_ok_and(|text| text.contains(MARK)) {
            fs::remove_file(&self.policy)?;
        }
        if exists(&self.saved) && !exists(&self.policy) {
            fs::rename(&self.saved, &self.policy)?;
        }
        Ok(())
    }
}

impl Drop for NoDaemons {
    fn drop(&mut self) {
        if let Err(error) = self.restore() {
            progress::warn(&format!("{} could not be put back: {error}", self.policy.display()));
        }
    }
}

/// Whether the path is there, a dangling link included.
fn exists(path: &Path) -> bool {
    !matches!(fs::symlink_metadata(path), Err(error) if error.kind() == ErrorKind::NotFound)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_existing_policy_is_put_back() {
        let dir = tempfile::tempdir().unwrap();
        let policy = dir.path().join("policy-rc.d");
        fs::write(&policy, "the machine's own").unwrap();
        let guard = NoDaemons::at(&policy).unwrap();
        assert!(fs::read_to_string(&policy).unwrap().contains("exit 101"));
        drop(guard);
        assert_eq!(fs::read_to_string(&policy).unwrap(), "the machine's own");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn without_one_before_nothing_is_left() {
        let dir = tempfile::tempdir().unwrap();
        drop(NoDaemons::at(&dir.path().join("policy-rc.d")).unwrap());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_a_killed_run_left_is_cleared() {
        let dir = tempfile::tempdir().unwrap();
        let policy = dir.path().join("policy-rc.d");
        fs::write(&policy, "the machine's own").unwrap();
        std::mem::forget(NoDaemons::at(&policy).unwrap());
        drop(NoDaemons::at(&policy).unwrap());
        assert_eq!(fs::read_to_string(&policy).unwrap(), "the machine's own");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
