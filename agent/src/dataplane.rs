//! Adapters to the kernel, OVSDB and the switch; each owns one connection and speaks the agent's words.

pub mod bpf;
pub mod flows;
pub mod hooks;
pub mod links;
pub mod netns;
pub mod ports;
