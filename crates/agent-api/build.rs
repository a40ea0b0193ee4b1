//! Compiles the two contracts to Rust. protox stands in for `protoc`, so a builder needs nothing but cargo.
//!
//! Clients and servers are generated always and kept or left out by the features of this crate.

use std::error::Error;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    // The shim's client comes without the code that would connect a channel: it has a connection of its own.
    compile("cni", false)?;
    compile("control", true)
}

fn compile(contract: &str, connects_channels: bool) -> Result<(), Box<dyn Error>> {
    let file = format!("underpass/{contract}/v1/{contract}.proto");
    let package = format!("underpass.{contract}.v1");
    tonic_prost_build::configure()
        .build_transport(connects_channels)
        .client_mod_attribute(&package, format!("#[cfg(feature = \"{contract}-client\")]"))
        .server_mod_attribute(&package, "#[cfg(feature = \"server\")]")
        .compile_fds(protox::compile([file], [Path::new("proto")])?)?;
    Ok(())
}
