//! Compiles the kubelet's protocols, without protoc.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=proto");
    let protocols = protox::compile(["proto/registration.proto", "proto/dra.proto"], ["proto"])?;
    tonic_prost_build::configure().build_client(false).compile_fds(protocols)?;
    Ok(())
}
