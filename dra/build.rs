//! Compiles the kubelet's protocol files if the feature `generate` is on. Does nothing otherwise.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    #[cfg(feature = "generate")]
    generate()?;
    Ok(())
}

/// Compiles the protocol files into OUT_DIR without protoc. `cargo xtask generate` copies the result from there.
#[cfg(feature = "generate")]
fn generate() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let protocols = protox::compile(["proto/registration.proto", "proto/dra.proto"], ["proto"])?;
    tonic_prost_build::configure().build_client(false).compile_fds(protocols)?;
    Ok(())
}
