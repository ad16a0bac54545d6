//! Prints the bindings as they come from the installed headers; `cargo xtask bindings` keeps or compares them.

use std::io::{self, Write};

fn main() -> io::Result<()> {
    io::stdout().write_all(include_bytes!(concat!(env!("OUT_DIR"), "/verbs.rs")))
}
