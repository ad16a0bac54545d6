//! Does nothing, unless asked by feature `generate` to compile the kubelet's protocols anew.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    #[cfg(feature = "generate")]
    generate()?;
    Ok(())
}

/// Without protoc, into OUT_DIR, from where `cargo xtask generate` takes them.
#[cfg(feature = "generate")]
fn generate() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let protocols = protox::compile(["proto/registration.proto", "proto/dra.proto"], ["proto"])?;
    tonic_prost_build::configure().build_client(false).compile_fds(protocols)?;
    Ok(())
}
