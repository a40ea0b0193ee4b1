//! The connections against a real ovs-vswitchd (dummy datapath, private directory), and against scripts.

mod ovs;
mod real;
mod scripted;
