//! Watching the node's own data plane: what the guard stopped.

pub mod drops;
