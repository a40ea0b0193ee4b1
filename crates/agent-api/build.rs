//! Compiles the two contracts to Rust. protox stands in for `protoc`, so a builder needs nothing but cargo.
//!
//! Clients and servers are generated always and kept or left out by the features of this crate.

use std::error::Error;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let descriptors = protox::compile(
        ["underpass/cni/v1/cni.proto", "underpass/control/v1/control.proto"],
        [Path::new("proto")],
    )?;
    tonic_prost_build::configure()
        .client_mod_attribute("underpass.cni.v1", "#[cfg(feature = \"cni-client\")]")
        .client_mod_attribute("underpass.control.v1", "#[cfg(feature = \"control-client\")]")
        .server_mod_attribute("underpass.cni.v1", "#[cfg(feature = \"server\")]")
        .server_mod_attribute("underpass.control.v1", "#[cfg(feature = \"server\")]")
        .compile_fds(descriptors)?;
    Ok(())
}
