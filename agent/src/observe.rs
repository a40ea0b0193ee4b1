//! Watching the node's own data plane: what the guard stopped, and telling the cluster what a person should know.

pub mod cluster;
pub mod drops;
pub mod offenders;
