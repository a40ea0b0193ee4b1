//! Versions of the CNI specification that we speak.

use std::fmt;

use super::error::{CniError, Code};

/// A version, older ones smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    V0_3_1,
    V0_4_0,
    V1_0_0,
    V1_1_0,
}

impl Version {
    /// Every version, oldest first.
    pub const ALL: [Self; 4] = [Self::V0_3_1, Self::V0_4_0, Self::V1_0_0, Self::V1_1_0];

    /// The newest version: what errors say when the caller's is not known.
    pub const NEWEST: Self = Self::V1_1_0;

    pub fn as_str(self) -> &'static str {
        match self {
            Self::V0_3_1 => "0.3.1",
            Self::V0_4_0 => "0.4.0",
            Self::V1_0_0 => "1.0.0",
            Self::V1_1_0 => "1.1.0",
        }
    }

    /// The version of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|version| version.as_str() == name)
    }

    /// CHECK came with 0.4.0.
    pub fn require_check(self) -> Result<(), CniError> {
        self.require(Self::V0_4_0, "CHECK")
    }

    /// GC came with 1.1.0.
    pub fn require_gc(self) -> Result<(), CniError> {
        self.require(Self::V1_1_0, "GC")
    }

    /// STATUS came with 1.1.0.
    pub fn require_status(self) -> Result<(), CniError> {
        self.require(Self::V1_1_0, "STATUS")
    }

    fn require(self, least: Self, verb: &str) -> Result<(), CniError> {
        if self >= least {
            return Ok(());
        }
        let msg = format!("cniVersion is {self}: {verb} exists from {least} on");
        Err(CniError::new(Code::INCOMPATIBLE_VERSION, msg))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
