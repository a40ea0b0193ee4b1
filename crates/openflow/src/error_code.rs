//! The error names of Open vSwitch 3.1 and their numbers in each version.
//!
//! Owns the one table of errors (`error_code/table.rs`). Must not decide when an error applies.

use std::fmt;
use std::str::FromStr;

use crate::Version;

pub use table::ErrorCode;

mod table;

/// Where an error stands on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WireError {
    /// 0 for OpenFlow's own errors, else the experimenter.
    pub vendor: u32,
    /// The error's type; of an experimenter's error the experimenter's own type.
    pub kind: u16,
    /// The error's code; 0 for experimenters, whose messages have no code from 1.2 on.
    pub code: u16,
}

impl ErrorCode {
    /// The number in `version`, `None` where the version cannot express the error.
    pub fn wire(self, version: Version) -> Option<WireError> {
        let [v13, v14, v15] = self.row();
        let row = match version {
            Version::V13 => v13,
            Version::V14 => v14,
            Version::V15 => v15,
        };
        row.map(|(vendor, kind, code)| WireError { vendor, kind, code })
    }

    /// The error with this number, if it has a name.
    pub fn from_wire(version: Version, wire: WireError) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.wire(version) == Some(wire))
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for ErrorCode {
    type Err = UnknownErrorName;

    fn from_str(name: &str) -> Result<Self, UnknownErrorName> {
        let found = Self::ALL.iter().copied().find(|code| code.name() == name);
        found.ok_or_else(|| UnknownErrorName(name.to_owned()))
    }
}

/// A text that names no error of the table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no OpenFlow error is called {0:?}")]
pub struct UnknownErrorName(pub String);

/// Vendor, type and code.
type Row = (u32, u16, u16);

/// OpenFlow's own errors.
const OF: u32 = 0;
/// Nicira's experimenter number.
const NX: u32 = 0x2320;
/// The Open Networking Foundation's experimenter number.
const ONF: u32 = 0x4f4e_4600;

const fn all(vendor: u32, kind: u16, code: u16) -> [Option<Row>; 3] {
    [Some((vendor, kind, code)); 3]
}

const fn since14(vendor: u32, kind: u16, code: u16) -> [Option<Row>; 3] {
    let row = Some((vendor, kind, code));
    [None, row, row]
}

const fn since15(vendor: u32, kind: u16, code: u16) -> [Option<Row>; 3] {
    [None, None, Some((vendor, kind, code))]
}

/// Turns rows `NAME = numbers;` into the enum, its names and its numbers.
macro_rules! errors {
    ($($name:ident = $row:expr;)*) => {
        /// An error as Open vSwitch names it.
        #[expect(non_camel_case_types, reason = "the protocol's own spelling, as operators search for it")]
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum ErrorCode {
            $(
                #[doc = concat!("`", stringify!($name), "`")]
                $name,
            )*
        }

        impl ErrorCode {
            /// Every error, in Open vSwitch's order.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The name, as `ovs-ofctl print-error` takes it.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* }
            }

            pub(super) const fn row(self) -> [Option<super::Row>; 3] {
                match self { $(Self::$name => $row,)* }
            }
        }
    };
}
use errors;
