//! The program `nearfab`. Everything that it does is in the library `nearfab_cli`, so that tests can run it in their own process.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    nearfab_cli::main()
}
