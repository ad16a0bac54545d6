//! The program `nearfab`. All of its code is in the library `nearfab_cli`, so that a test can run commands in the
//! process of the test.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    nearfab_cli::main()
}
