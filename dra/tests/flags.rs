//! Tests of the flags that the program refuses before the driver starts.

use std::process::Command;

#[test]
fn a_relative_runtime_root_is_refused() -> std::io::Result<()> {
    let flags = ["--node-name", "node1", "--runtime-root", "host/root"];
    let output = Command::new(env!("CARGO_BIN_EXE_nearfab-dra")).args(flags).output()?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("'host/root' for '--runtime-root"), "{stderr}");
    Ok(())
}
