//! The programs and the loader on this machine's kernel, in namespaces of their own.
//!
//! Needs root. The same binary runs on other kernels in a virtual machine; what a kernel lacks (TCX before
//! 6.6) is expected to fall back, never skipped.

mod accelerating;
mod attaching;
mod frames;
mod lab;
mod near;
mod pinning;
mod size;
mod watching;
