//! The output of the command line for a host, in every form.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

mod completions;
mod console;
mod containers;
mod forms;
mod hosts;
mod options;
mod output;
mod quick;
mod rails;
#[path = "../support/mod.rs"]
mod support;
