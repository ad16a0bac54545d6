//! What the program refuses before it does anything.

use std::process::Command;

#[test]
fn a_relative_runtime_root_is_refused() -> std::io::Result<()> {
    let flags = ["--node-name", "node1", "--runtime-root", "host/root"];
    let output = Command::new(env!("CARGO_BIN_EXE_nearfab-dra")).args(flags).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("'host/root' for '--runtime-root"), "{said}");
    Ok(())
}
