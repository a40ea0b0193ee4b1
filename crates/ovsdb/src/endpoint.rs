//! Where the database listens: `unix:PATH` or a bare absolute path.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use thiserror::Error;

/// A Unix socket that ovsdb-server listens on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    path: PathBuf,
}

impl Endpoint {
    /// The socket at `path`.
    pub fn unix(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// The socket's path.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unix:{}", self.path.display())
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let path = text.strip_prefix("unix:").unwrap_or(text);
        if path.is_empty() {
            return Err(EndpointError::Empty(text.to_owned()));
        }
        // Users write a bare path as often as a URL (ovs-cni accepts one and fails later on the other).
        if path.starts_with('/') || text.starts_with("unix:") {
            return Ok(Self::unix(path));
        }
        Err(EndpointError::Scheme(text.to_owned()))
    }
}

/// The text does not name a Unix socket.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EndpointError {
    /// There is no path in it.
    #[error("endpoint {0:?} has no path")]
    Empty(String),
    /// Neither a path nor `unix:`; `tcp:` and `ssl:` are not spoken.
    #[error("endpoint {0:?} is neither unix:PATH nor an absolute path")]
    Scheme(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_path_and_a_unix_url_name_the_same_socket() {
        let url: Endpoint = "unix:/run/db.sock".parse().unwrap();
        assert_eq!("/run/db.sock".parse(), Ok(url.clone()));
        assert_eq!(url.to_string(), "unix:/run/db.sock");
    }

    #[test]
    fn other_schemes_and_empty_texts_are_refused_by_name() {
        assert_eq!(
            "tcp:127.0.0.1:6640".parse::<Endpoint>(),
            Err(EndpointError::Scheme("tcp:127.0.0.1:6640".into()))
        );
        assert_eq!("unix:".parse::<Endpoint>(), Err(EndpointError::Empty("unix:".into())));
        assert_eq!("".parse::<Endpoint>(), Err(EndpointError::Empty(String::new())));
    }
}
