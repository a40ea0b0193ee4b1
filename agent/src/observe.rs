//! Watching the node's own data plane: what the guard stopped, and telling the cluster what a person should know.

mod bucket;
pub mod cluster;
pub mod drops;
pub mod node;
pub mod offenders;
